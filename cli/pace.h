/* SPDX-License-Identifier: Apache-2.0
 *
 * cli/pace.h: are a training's steps several times as slow as they can be? Then other processes hold the cores that its
 * threads need at the same time. Judges times that it is given; knows no clock and no library.
 */
#ifndef CLI_PACE_H
#define CLI_PACE_H

#include <stdbool.h>
#include <stdint.h>

typedef struct cli_pace {
    double best;         /* seconds of a step in the fastest interval so far; 0: none yet */
    bool begun;          /* the first interval, in which memory is touched and threads are started, is passed over */
    bool told;           /* once is enough */
    int intervals, slow; /* of the window under way; slow: steps took more than SLOW times the best */
    double seconds;      /* of the window */
    int64_t steps;
} cli_pace;

/* An interval of `steps` steps that took `seconds` together. True at most once: when the mean over a whole window of
 * seconds is slow, made of several slow intervals, so that neither a pause nor a few slow steps count. */
bool cli_pace_add(cli_pace *p, int64_t steps, double seconds);
/* Seconds of a step in the window that was found slow. */
double cli_pace_now(const cli_pace *p);
/* "the machine is busy: ...", the sentence for threads > 1 */
const char *cli_pace_text(const cli_pace *p, int threads, char text[320]);

#endif
