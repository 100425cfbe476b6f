/* SPDX-License-Identifier: Apache-2.0
 *
 * graph/simplify.h: what the passes over a program's graph share.
 */
#ifndef SOMA_GRAPH_SIMPLIFY_H
#define SOMA_GRAPH_SIMPLIFY_H

#include "graph/plan.h"

#include <string.h>

typedef struct soma_pass {
    soma_graph *graph;
    int32_t *keep;
    int n_keep;
    int *uses; /* per value: readers, and one for each keep; with room for two more values per node */
} soma_pass;

/* Everybody who reads `from` reads `to`. */
void soma_pass_redirect(soma_pass *p, int32_t from, int32_t to);
void soma_pass_remove(soma_pass *p, soma_graph_node *node);
const soma_field *soma_pass_field(const soma_op *op, const char *name);

static inline bool soma_pass_is(const soma_graph_node *node, const char *op)
{
    return node->op && !strcmp(node->op->name, op);
}

/* The node that makes a value, or NULL. */
static inline soma_graph_node *soma_pass_maker(const soma_pass *p, int32_t value)
{
    int node = value >= 0 ? p->graph->values[value].node : -1;
    return node >= 0 && p->graph->nodes[node].op ? &p->graph->nodes[node] : NULL;
}

/* ---- simplify_norm.c ---- */

/* Outside training: batch normalisation by the running statistics. */
void soma_use_running(soma_pass *p);
/* The gradient of an activation merges into that of the batch normalisation before it. */
soma_status soma_merge_norm_gradients(soma_pass *p);

/* ---- simplify_fold.c ---- */

/* Outside training: a batch normalisation by the running statistics becomes part of the convolution before it. */
soma_status soma_fold_norms(soma_pass *p);

#endif
