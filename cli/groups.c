/* SPDX-License-Identifier: Apache-2.0
 *
 * cli/groups.c: parameters that are trained in their own way, from a description and from the command line.
 */
#include "cli.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int n_patterns;

/* "PATTERN=0.001" or "PATTERN=x0.1"; the pattern lives as long as the process. */
static bool lr_group(const char *text, soma_param_group *group)
{
    static char *patterns[sizeof((cli_list *)0)->texts / sizeof(char *)]; /* as many as may be given */
    const char *equal = strrchr(text, '=');
    char *end = NULL;
    bool times = equal && equal[1] == 'x';
    double x = equal ? strtod(equal + 1 + times, &end) : 0; /* the command never sets a locale: the point is a point */
    if (!equal || equal == text || end == equal + 1 + times || *end || !(x >= 0 && x < 1e9))
        return cli_usage(
                   "--lr-group takes PATTERN=LR, such as \"features.*=0.001\", or PATTERN=xF for F times the others' "
                   "rate; got \"%s\"",
                   text) == 0;
    free(patterns[n_patterns]); /* of an earlier look at the same options */
    char *pattern = patterns[n_patterns++] = calloc((size_t)(equal - text) + 1, 1);
    if (!pattern)
        return cli_error(SOMA_MEMORY, "no memory for the patterns of --lr-group") == 0;
    memcpy(pattern, text, (size_t)(equal - text));
    x = x == 0 ? SOMA_ZERO : x; /* said */
    *group = (soma_param_group){.pattern = pattern, .lr = times ? 0 : x, .lr_scale = times ? x : 0};
    return true;
}

bool cli_sound_groups(const cli_groups *g)
{
    soma_param_group ignored;
    bool right = true;
    for (int i = 0; right && i < g->lr.n; i++)
        right = lr_group(g->lr.texts[i], &ignored);
    n_patterns = 0; /* they are read again */
    return right;
}

bool cli_make_groups(cli_groups *g, const soma_recipe *recipe)
{
    g->n = 0;
    for (int i = 0; i < recipe->n_groups; i++)
        g->list[g->n++] = recipe->groups[i];
    for (int i = 0; i < g->freeze.n; i++)
        g->list[g->n++] = (soma_param_group){.pattern = g->freeze.texts[i], .frozen = true};
    for (int i = 0; i < g->lr.n; i++)
        if (!lr_group(g->lr.texts[i], &g->list[g->n++]))
            return false;
    return true;
}
