/* SPDX-License-Identifier: Apache-2.0
 *
 * base/zero.h: numbers of option structs, where 0 is "not said" and SOMA_ZERO is 0.
 */
#ifndef SOMA_BASE_ZERO_H
#define SOMA_BASE_ZERO_H

#include <soma/base.h>

/* What was said, 0 where nothing was. */
static inline double soma_plain(double said)
{
    return said == (double)SOMA_ZERO ? 0 : said;
}

/* What was said, else the preset. */
static inline double soma_said(double said, double preset)
{
    return said == 0 ? preset : soma_plain(said);
}

/* Of figures some of which are not 0, the others were said as well. */
static inline void soma_say_zeros(double *numbers, int n)
{
    bool any = false;
    for (int i = 0; i < n; i++)
        any = any || soma_plain(numbers[i]) != 0;
    for (int i = 0; any && i < n; i++)
        numbers[i] = numbers[i] == 0 ? SOMA_ZERO : numbers[i];
}

#endif
