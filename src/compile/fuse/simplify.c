/* SPDX-License-Identifier: Apache-2.0
 *
 * compile/fuse/simplify.c: a program's graph made smaller before kernels are chosen: ops that do nothing when
 * predicting, nodes that become part of others (simplify_tail.c, simplify_fold.c), dead code.
 */
#include "compile/fuse/simplify.h"

#include <string.h>

static void count_uses(soma_pass *p)
{
    memset(p->uses, 0, (size_t)p->graph->n_values * sizeof *p->uses);
    for (int i = 0; i < p->graph->n_nodes; i++) {
        const soma_graph_node *node = &p->graph->nodes[i];
        for (int j = 0; node->op && j < node->n_in; j++)
            if (node->in[j] >= 0)
                p->uses[node->in[j]]++;
    }
    for (int i = 0; i < p->n_keep; i++)
        if (p->keep[i] >= 0)
            p->uses[p->keep[i]]++;
}

void soma_pass_redirect(soma_pass *p, int32_t from, int32_t to)
{
    for (int i = 0; i < p->graph->n_nodes; i++) {
        soma_graph_node *node = &p->graph->nodes[i];
        for (int j = 0; node->op && j < node->n_in; j++)
            if (node->in[j] == from)
                node->in[j] = to;
    }
    for (int i = 0; i < p->n_keep; i++)
        if (p->keep[i] == from)
            p->keep[i] = to;
    p->uses[to] += p->uses[from];
    p->uses[from] = 0;
}

void soma_pass_remove(soma_pass *p, soma_graph_node *node)
{
    for (int j = 0; j < node->n_in; j++)
        if (node->in[j] >= 0)
            p->uses[node->in[j]]--;
    node->op = NULL;
}

/* When predicting: dropout(x) is x. */
static void drop_training_only(soma_pass *p)
{
    for (int i = 0; i < p->graph->n_nodes; i++) {
        soma_graph_node *node = &p->graph->nodes[i];
        if (!node->op || !node->op->training_only)
            continue;
        int32_t from = node->out[0], to = node->in[0];
        soma_pass_remove(p, node);
        soma_pass_redirect(p, from, to);
    }
}

/* When predicting: ops with statistics take those that they have. */
static void settle(soma_pass *p)
{
    for (int i = 0; i < p->graph->n_nodes; i++) {
        soma_graph_node *node = &p->graph->nodes[i];
        if (!node->op || !node->op->settle)
            continue;
        int made = node->op->settle((void *)(uintptr_t)node->attrs, node->n_out);
        for (int k = made; k < node->n_out; k++)
            if (node->out[k] >= 0)
                soma_pass_redirect(p, node->out[k], node->in[k]);
        node->n_out = made;
    }
}

/* From the end: a node none of whose outputs is read goes; an optional output nobody reads is absent from then on. */
static void remove_dead(soma_pass *p)
{
    for (int i = p->graph->n_nodes - 1; i >= 0; i--) {
        soma_graph_node *node = &p->graph->nodes[i];
        if (!node->op)
            continue;
        bool alive = false;
        for (int j = 0; j < node->n_out; j++)
            alive = alive || (node->out[j] >= 0 && p->uses[node->out[j]] > 0);
        if (!alive) {
            soma_pass_remove(p, node);
            continue;
        }
        while (!node->op->assign && node->n_out > node->op->required_out &&
               (node->out[node->n_out - 1] < 0 || !p->uses[node->out[node->n_out - 1]]))
            node->n_out--;
    }
}

soma_status soma_simplify(soma_graph *graph, int32_t *keep, int n, bool training)
{
    soma_pass p = {.graph = graph, .keep = keep, .n_keep = n};
    p.uses = soma_alloc_array(graph->s, (size_t)graph->n_values + 2 * (size_t)graph->n_nodes + 1, sizeof *p.uses);
    if (!p.uses)
        return SOMA_MEMORY;
    count_uses(&p);
    if (!training) {
        drop_training_only(&p);
        settle(&p);
    }
    remove_dead(&p);
    soma_status status = training ? SOMA_OK : soma_fold_affine(&p);
    if (status == SOMA_OK)
        status = soma_merge_tails(&p);
    remove_dead(&p);
    soma_release(graph->s, p.uses);
    return status;
}
