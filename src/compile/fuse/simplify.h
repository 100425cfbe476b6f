/* SPDX-License-Identifier: Apache-2.0
 *
 * compile/fuse/simplify.h: what the passes over a program's graph share. They know ops by what these say of themselves.
 */
#ifndef SOMA_COMPILE_FUSE_SIMPLIFY_H
#define SOMA_COMPILE_FUSE_SIMPLIFY_H

#include "compile/plan.h"

typedef struct soma_pass {
    soma_graph *graph;
    int32_t *keep;
    int n_keep;
    int *uses; /* per value: readers, and one for each keep; with room for two more values per node */
} soma_pass;

/* Everybody who reads `from` reads `to`. */
void soma_pass_redirect(soma_pass *p, int32_t from, int32_t to);
void soma_pass_remove(soma_pass *p, soma_graph_node *node);

/* The node that makes a value, or NULL. */
static inline soma_graph_node *soma_pass_maker(const soma_pass *p, int32_t value)
{
    int node = value >= 0 ? p->graph->values[value].node : -1;
    return node >= 0 && p->graph->nodes[node].op ? &p->graph->nodes[node] : NULL;
}

/* The node's activation, or its gate's; NULL: it has none. Attributes of a copied graph are its own. */
static inline int *soma_pass_activation(const soma_graph_node *node)
{
    return (int *)(uintptr_t)soma_activation_in(node->op, node->attrs);
}

/* ---- simplify_tail.c ---- */

/* What comes behind an op becomes part of it. */
soma_status soma_merge_tails(soma_pass *p);

/* ---- simplify_fold.c ---- */

/* Outside training: a node that is affine becomes part of the product before it. */
soma_status soma_fold_affine(soma_pass *p);

#endif
