/* SPDX-License-Identifier: Apache-2.0
 *
 * cli/machine.h: what this machine can do, measured here and now: the scale of `soma plan --time` and `soma bench`.
 */
#ifndef SOMA_CLI_MACHINE_H
#define SOMA_CLI_MACHINE_H

typedef struct cli_machine {
    int threads;
    double gflops; /* f32 multiply-adds counted as two */
    double gbs;    /* y += a x over arrays beyond the cache */
} cli_machine;

cli_machine cli_measure_machine(int threads);
/* Says on standard error what measuring the bandwidth takes, and why. */
void cli_say_bandwidth(void);
/* One short sample each, to be taken between the rounds of what is measured. */
double cli_peak_sample(int threads);
double cli_bandwidth_sample(int threads);

#endif
