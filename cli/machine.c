/* SPDX-License-Identifier: Apache-2.0
 *
 * cli/machine.c: asks bench/machine, which is compiled into the command.
 */
#include "machine.h"

#include <stdio.h>

#include "../bench/machine/peak.h"

cli_machine cli_measure_machine(int threads)
{
    cli_machine m = {threads, soma_bench_peak_gflops(threads, 0.1), soma_bench_bandwidth_gbs(threads, 0.3)};
    return m;
}

double cli_peak_sample(int threads)
{
    return soma_bench_peak_sample(threads);
}

void cli_say_bandwidth(void)
{
    fprintf(
        stderr,
        "soma: memory bandwidth is measured on arrays that no cache holds; they take %.0f MB while they are streamed\n",
        soma_bench_bandwidth_bytes() / 1e6);
}

double cli_bandwidth_sample(int threads)
{
    return soma_bench_bandwidth_gbs(threads, 0);
}
