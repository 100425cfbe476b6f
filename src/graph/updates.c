/* SPDX-License-Identifier: Apache-2.0
 *
 * graph/updates.c: state that a training step brings up to date beside its parameters, such as running statistics:
 * every op on the way may emit assigning nodes, as it emits gradients. Knows no single op.
 */
#include "graph/graph.h"

#include <string.h>

/* What node `index` updates, or -1. args: room for its inputs and outputs. */
static int32_t update_of(soma_graph *graph, int index, soma_value *args)
{
    soma_graph_node node = graph->nodes[index]; /* a copy: the array grows while update emits */
    for (int j = 0; j < node.n_in + node.n_out; j++) {
        int32_t id = j < node.n_in ? node.in[j] : node.out[j - node.n_in];
        args[j] = id >= 0 ? soma_value_in(graph, id) : soma_none();
    }
    graph->layer_override = node.layer;
    graph->site_override = node.site;
    soma_state_update u = {node.attrs, node.n_in, node.n_out, args, args + node.n_in, soma_none()};
    node.op->refresh(&u);
    graph->layer_override = NULL;
    return soma_ok(u.update) ? u.update.id : -1;
}

soma_status soma_add_updates(soma_graph *graph, int32_t *keep, int *n)
{
    int n_nodes = graph->n_nodes;
    bool *reached = soma_alloc_array(graph->s, (size_t)graph->n_values + 1, sizeof *reached);
    if (!reached)
        return SOMA_MEMORY;
    for (int i = 0; i < *n; i++)
        reached[keep[i]] = true;
    soma_reach(graph, reached);
    soma_status status = SOMA_OK;
    for (int i = 0; i < n_nodes && status == SOMA_OK; i++) {
        const soma_graph_node *node = &graph->nodes[i];
        if (!node->op->refresh || !soma_node_reached(node, reached))
            continue;
        soma_value *args = soma_arena_array(&graph->arena, (size_t)(node->n_in + node->n_out), sizeof *args);
        int32_t id = args ? update_of(graph, i, args) : -1;
        if (id >= 0)
            keep[(*n)++] = id;
        if (!args || graph->failed)
            status = args ? soma_error_status(graph->s) : SOMA_MEMORY;
    }
    soma_release(graph->s, reached);
    return status;
}
