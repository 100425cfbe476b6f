/* SPDX-License-Identifier: Apache-2.0
 *
 * cli/pace.c: see pace.h.
 */
#include "pace.h"

#include <stdio.h>

#define SLOW 3              /* times the best */
#define WINDOW 3.0          /* seconds that a verdict is made of, at least */
#define HICCUP (WINDOW / 8) /* a longer interval counts as one of this length, or of 8 times the best step */
enum { INTERVALS = 16, SLOW_ONES = 8 }; /* at least, of a window */

bool cli_pace_add(cli_pace *p, int64_t steps, double seconds)
{
    if (p->told || steps < 1 || !(seconds > 0))
        return false;
    if (!p->begun) {
        p->begun = true;
        return false;
    }
    double each = seconds / (double)steps;
    if (p->best == 0 || each < p->best)
        p->best = each;
    p->intervals++;
    p->slow += each > SLOW * p->best;
    double most = 8 * p->best > HICCUP ? 8 * p->best : HICCUP;
    p->seconds += seconds < most ? seconds : most;
    p->steps += steps;
    if (p->seconds < WINDOW || p->intervals < INTERVALS)
        return false;
    p->told = p->slow >= SLOW_ONES && p->seconds > SLOW * p->best * (double)p->steps;
    if (!p->told) {
        p->intervals = p->slow = 0;
        p->seconds = 0;
        p->steps = 0;
    }
    return p->told;
}

double cli_pace_now(const cli_pace *p)
{
    return p->steps ? p->seconds / (double)p->steps : 0;
}

const char *cli_pace_text(const cli_pace *p, int threads, char text[320])
{
    snprintf(text, 320,
             "the machine is busy: a step takes %.3g ms, and %.3g ms at its best, because %d threads wait for each "
             "other while "
             "other programs hold their cores; --threads 1 waits for nobody and computes a step in about %.3g ms",
             1e3 * cli_pace_now(p), 1e3 * p->best, threads, 1e3 * p->best * threads);
    return text;
}
