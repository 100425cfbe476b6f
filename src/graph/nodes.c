/* SPDX-License-Identifier: Apache-2.0
 *
 * graph/nodes.c: a model's nodes as tables and drawings show them.
 */
#include "graph/graph.h"

int soma_model_nodes(const soma_model *m)
{
    return m ? m->graph->n_nodes : 0;
}

/* Does an earlier node read that tensor? */
static bool read_before(const soma_graph *g, int node, int32_t value)
{
    for (int i = 0; i < node; i++)
        for (int j = 0; j < g->nodes[i].n_in; j++)
            if (g->nodes[i].in[j] == value)
                return true;
    return false;
}

static soma_arg one_sample(const soma_graph *g, int32_t value)
{
    soma_arg arg = {.shape = {.rank = -1}};
    if (value < 0)
        return arg;
    const soma_type *type = &g->values[value].type;
    arg.dtype = type->dtype;
    arg.shape = type->shape;
    arg.elements = 1;
    for (int i = 0; i < type->shape.rank; i++) {
        arg.batched = arg.batched || (i == 0 && type->shape.dim[i] < 0);
        arg.shape.dim[i] = type->shape.dim[i] < 0 ? -type->shape.dim[i] : type->shape.dim[i];
        arg.elements *= arg.shape.dim[i];
    }
    return arg;
}

static double node_flops(const soma_graph *g, const soma_graph_node *node)
{
    soma_arg in[8], out[4];
    if (!node->op->flops || node->n_in > 8 || node->n_out > 4)
        return 0;
    for (int j = 0; j < node->n_in; j++)
        in[j] = one_sample(g, node->in[j]);
    for (int j = 0; j < node->n_out; j++)
        out[j] = one_sample(g, node->out[j]);
    return node->op->flops(node->attrs, in, node->n_in, out);
}

soma_model_node soma_model_node_at(const soma_model *m, int index)
{
    soma_model_node n = {.op = "", .layer = ""};
    if (!m || index < 0 || index >= m->graph->n_nodes)
        return n;
    const soma_graph *g = m->graph;
    const soma_graph_node *node = &g->nodes[index];
    n.op = node->op->name;
    n.layer = node->layer;
    if (node->out[0] >= 0)
        n.output = g->values[node->out[0]].type;
    n.flops = node_flops(g, node);
    for (int j = 0; j < node->n_in; j++) {
        int32_t id = node->in[j];
        if (id < 0 || g->values[id].kind != SOMA_VALUE_TENSOR || read_before(g, index, id))
            continue;
        const soma_model_tensor *t = &m->tensors[g->values[id].tensor];
        int64_t elements = soma_shape_elements(&t->type.shape);
        if (t->buffer) {
            n.buffers += elements;
            continue;
        }
        n.parameters += elements;
        n.trainable += t->frozen ? 0 : elements;
    }
    return n;
}
