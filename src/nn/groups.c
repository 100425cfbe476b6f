/* SPDX-License-Identifier: Apache-2.0
 *
 * nn/groups.c: which tensors are trained, and how: patterns over names. Knows no optimizers and no ops but by their
 * attribute tables.
 */
#include "nn/nn.h"

#include "base/words.h"

#include "base/text.h"
#include "base/zero.h"

#include <string.h>

static void apply(soma_param_rule *way, const soma_param_group *group)
{
    if (group->lr != 0) {
        way->own = true;
        way->lr = soma_plain(group->lr);
        way->scale = 1;
    }
    if (group->lr_scale != 0) {
        way->own = false;
        way->lr = 0;
        way->scale = soma_plain(group->lr_scale);
    }
    if (group->weight_decay != 0 || group->no_weight_decay)
        way->weight_decay = group->no_weight_decay ? 0 : soma_plain(group->weight_decay);
    if (group->frozen || group->trained)
        way->frozen = group->frozen;
}

/* The tensor, or the layer above it, that the pattern nearly names; in the graph's arena, NULL: none. */
static const char *nearest(soma_graph *graph, const char *pattern)
{
    const soma_model *m = graph->model;
    const char *best = NULL;
    for (int i = 0; i < m->n_tensors; i++) {
        char *name = m->tensors[i].slot ? NULL : soma_arena_text(&graph->arena, m->tensors[i].name);
        for (char *end = name ? name + strlen(name) : NULL; end; end = strrchr(name, '.')) {
            *end = 0;
            const char *const pair[] = {best ? best : name, name, NULL}; /* the first of equals stays */
            if (soma_nearest_of(pattern, pair) == name || (!best && soma_nearest_of(pattern, pair)))
                best = soma_arena_text(&graph->arena, name);
        }
    }
    return best;
}

static soma_status no_match(soma_graph *graph, const char *pattern, soma_at at)
{
    const char *near = nearest(graph, pattern);
    soma_value_fail(graph, at,
                    SOMA_IN_C("group ")
                        SOMA_ELSEWHERE("the pattern ") "\"%s\": no tensor of the model \"%s\" has such a name%s%s%s",
                    pattern, graph->model->name, near ? "; did you mean \"" : "", near ? near : "", near ? "\"?" : "");
    return SOMA_INVALID;
}

static soma_status check_group(soma_graph *graph, const soma_param_group *group, soma_at at)
{
    const double huge = 1e30;
    const char *wrong = !group->pattern || !group->pattern[0] ? "a pattern is missing"
                        : !(group->lr >= 0 && group->lr < huge)
                            ? "lr must be at least 0" SOMA_IN_C(" (for a rate of zero write SOMA_ZERO)")
                        : !(group->lr_scale >= 0 && group->lr_scale < huge)
                            ? "lr_scale must be at least 0" SOMA_IN_C(" (for zero write SOMA_ZERO)")
                        : !(group->weight_decay >= 0 && group->weight_decay < huge)
                            ? "weight_decay must be at least 0" SOMA_IN_C(" (for zero write SOMA_ZERO)")
                        : group->lr != 0 && group->lr_scale != 0 ? "give lr or lr_scale, not both"
                        : group->weight_decay > 0 && group->weight_decay != (double)SOMA_ZERO && group->no_weight_decay
                            ? "give weight_decay or no_weight_decay, not both"
                        : group->frozen && group->trained ? "give frozen or trained, not both"
                                                          : NULL;
    if (!wrong)
        return SOMA_OK;
    char room[128];
    soma_value_fail(graph, at, "group \"%s\": %s", group->pattern ? group->pattern : "",
                    soma_words(graph->s, at, wrong, room, sizeof room));
    return SOMA_INVALID;
}

soma_status soma_groups_resolve(soma_graph *graph, const soma_optimizer *opt, const soma_updates_options *o,
                                soma_param_rule *ways)
{
    const soma_model *m = graph->model;
    for (int i = 0; i < m->n_tensors; i++)
        ways[i] = (soma_param_rule){.scale = 1, .weight_decay = opt->weight_decay};
    for (int g = 0; g < o->n_groups; g++) {
        soma_status status = check_group(graph, &o->groups[g], o->at);
        if (status != SOMA_OK)
            return status;
        bool any = false;
        for (int i = 0; i < m->n_tensors; i++)
            if (!m->tensors[i].slot && soma_tensor_matches(o->groups[g].pattern, m->tensors[i].name)) {
                apply(&ways[i], &o->groups[g]);
                any = true;
            }
        if (!any)
            return no_match(graph, o->groups[g].pattern, o->at);
    }
    return SOMA_OK;
}

void soma_groups_freeze_statistics(soma_graph *graph, const soma_param_rule *ways)
{
    for (int i = 0; i < graph->n_nodes; i++) {
        soma_graph_node *node = &graph->nodes[i];
        bool frozen = false;
        for (int j = 0; j < node->n_in && node->op->settle; j++) {
            const soma_graph_value *v = node->in[j] >= 0 ? &graph->values[node->in[j]] : NULL;
            bool statistic = v && v->kind == SOMA_VALUE_TENSOR && graph->model->tensors[v->tensor].frozen;
            frozen = frozen || (statistic && ways[v->tensor].frozen);
        }
        if (frozen) /* the batch's statistics are not computed any more */
            node->n_out = node->op->settle((void *)(uintptr_t)node->attrs, node->n_out);
    }
}
