/* SPDX-License-Identifier: Apache-2.0
 *
 * compile/fuse/simplify_fold.c: in programs that only predict, a node that multiplies and adds per channel (a
 * normalisation with known statistics) becomes part of the weights of the product before it: one node makes them, in
 * the prologue, whenever the parameters have changed. Knows no op: a product says that it folds (soma_op.folds_affine),
 * a node what it is (affine).
 */
#include "compile/fuse/simplify.h"

#include <string.h>

/* Does the number stay as it is from step to step? */
static bool stays(const soma_pass *p, int32_t value)
{
    soma_value_kind kind = value >= 0 ? p->graph->values[value].kind : SOMA_VALUE_TENSOR;
    return kind == SOMA_VALUE_TENSOR || kind == SOMA_VALUE_CONSTANT;
}

/* The product that can take the node in, or NULL; fills a. */
static soma_graph_node *product_before(const soma_pass *p, const soma_graph_node *node, soma_affine *a)
{
    soma_graph_node *product = node->op && node->op->affine ? soma_pass_maker(p, node->in[0]) : NULL;
    if (!product || !product->op->folds_affine || p->uses[node->in[0]] != 1 || *soma_pass_activation(product) ||
        soma_node_in(product, soma_tail_input(product->op, SOMA_TAIL_ADD)) >= 0)
        return NULL;
    a->w = product->in[1];
    a->b = soma_node_in(product, soma_tail_input(product->op, SOMA_TAIL_BIAS));
    if (!node->op->affine(node, a))
        return NULL;
    for (int j = 0; j < a->n_in; j++)
        if (!stays(p, a->in[j]))
            return NULL;
    return product;
}

/* A value made by output `out` of a node. Room for its uses was made when the pass began. */
static int32_t add_value(soma_pass *p, soma_type type, int node, int out)
{
    soma_graph *graph = p->graph;
    if (soma_grow(graph->s, &graph->values, &graph->value_capacity, graph->n_values + 1, sizeof *graph->values) !=
        SOMA_OK)
        return -1;
    graph->values[graph->n_values] = (soma_graph_value){
        .kind = SOMA_VALUE_COMPUTED, .type = type, .node = node, .out = out, .at = graph->nodes[node].at};
    p->uses[graph->n_values] = 1;
    return graph->n_values++;
}

/* The node that makes the weights takes the product's place, the product the node's: the order stays topological. */
static soma_status fold(soma_pass *p, soma_graph_node *product, soma_graph_node *node, const soma_affine *a)
{
    soma_graph *graph = p->graph;
    int weights_at = (int)(product - graph->nodes), product_at = (int)(node - graph->nodes);
    int place = soma_tail_input(product->op, SOMA_TAIL_BIAS);
    soma_type w = graph->values[a->w].type, b = {w.dtype, {.rank = 1, .dim = {w.shape.dim[0]}}};
    int32_t *in = soma_arena_array(&graph->arena, (size_t)(a->n_in + place + 1), sizeof *in);
    int32_t *out = soma_arena_array(&graph->arena, 2, sizeof *out), *ends = in ? in + a->n_in : NULL;
    char *attrs = soma_arena_alloc(&graph->arena, a->op->attrs_size);
    if (!in || !out || !attrs)
        return SOMA_MEMORY;
    out[0] = add_value(p, w, weights_at, 0);
    out[1] = out[0] >= 0 ? add_value(p, b, weights_at, 1) : -1;
    if (out[1] < 0)
        return SOMA_MEMORY;
    memcpy(in, a->in, (size_t)a->n_in * sizeof *in);
    memcpy(attrs, a->attrs, a->op->attrs_size);
    soma_graph_node weights = *product, after = *product;
    weights.op = a->op;
    weights.attrs = attrs;
    weights.in = in;
    weights.n_in = a->n_in;
    weights.out = out;
    weights.n_out = 2;
    for (int j = 0; j <= place; j++)
        ends[j] = j == 1 ? out[0] : j == place ? out[1] : product->in[j];
    after.in = ends;
    after.n_in = place + 1;
    p->uses[product->out[0]] = 0;
    graph->values[product->out[0]].node = -1;
    after.out[0] = node->out[0];
    graph->values[after.out[0]].node = product_at;
    *soma_pass_activation(&after) = a->act;
    graph->nodes[product_at] = after;
    graph->nodes[weights_at] = weights;
    return SOMA_OK;
}

soma_status soma_fold_affine(soma_pass *p)
{
    for (int i = 0; i < p->graph->n_nodes; i++) {
        soma_affine a = {0};
        soma_graph_node *node = &p->graph->nodes[i], *product = product_before(p, node, &a);
        soma_status status = product ? fold(p, product, node, &a) : SOMA_OK;
        if (status != SOMA_OK)
            return status;
    }
    return SOMA_OK;
}
