/* SPDX-License-Identifier: Apache-2.0
 *
 * graph/simplify_fold.c: in programs that only predict, a batch normalisation behind a convolution becomes part of its
 * weights: one node makes them (op/batch_norm/batch_norm_fold.c), in the prologue, whenever the parameters have
 * changed. Knows both ops by their names, inputs and attribute tables, not by their structs.
 */
#include "graph/simplify.h"

/* Inputs of batch_norm: x, running mean, running variance, scale, shift, what is added. */
enum { NORM_X, NORM_MEAN, NORM_VARIANCE, NORM_SCALE, NORM_SHIFT, NORM_ADDED };
enum { FOLD_INPUTS = 6 }; /* w, mean, variance, b, scale, shift */

static int32_t input(const soma_graph_node *node, int j)
{
    return j < node->n_in ? node->in[j] : -1;
}

/* Does the number stay as it is from step to step? */
static bool stays(const soma_pass *p, int32_t value)
{
    soma_value_kind kind = value >= 0 ? p->graph->values[value].kind : SOMA_VALUE_TENSOR;
    return kind == SOMA_VALUE_TENSOR || kind == SOMA_VALUE_CONSTANT;
}

/* The convolution that can take the normalisation in, or NULL. */
static soma_graph_node *convolution_before(const soma_pass *p, const soma_graph_node *norm)
{
    const soma_field *running = soma_pass_is(norm, "batch_norm") ? soma_pass_field(norm->op, "use_running") : NULL;
    if (!running || !*(const bool *)((const char *)norm->attrs + running->offset) || input(norm, NORM_ADDED) >= 0)
        return NULL;
    soma_graph_node *conv = soma_pass_maker(p, norm->in[NORM_X]);
    if (!conv || !soma_pass_is(conv, "conv2d") || conv->n_in > 3 || p->uses[norm->in[NORM_X]] != 1 ||
        *soma_activation_of(conv) || !stays(p, conv->in[1]) || !stays(p, input(conv, 2)))
        return NULL;
    for (int j = NORM_MEAN; j <= NORM_SHIFT; j++)
        if (!stays(p, input(norm, j)))
            return NULL;
    return conv;
}

/* The convolution's choice of activation that means the normalisation's, or -1. */
static int same_activation(const soma_graph_node *conv, const soma_graph_node *norm)
{
    const soma_field *theirs = soma_pass_field(norm->op, "activation"), *ours = soma_pass_field(conv->op, "activation");
    const char *name = theirs->choices[*soma_activation_of(norm)];
    for (int k = 0; ours->choices[k]; k++)
        if (!strcmp(ours->choices[k], name))
            return k;
    return -1;
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

/* The node that makes the weights takes the convolution's place, the convolution the normalisation's: the order stays
 * topological. */
static soma_status fold(soma_pass *p, soma_graph_node *conv, soma_graph_node *norm, int activation)
{
    const soma_op *op = soma_op_find("batch_norm_fold");
    soma_graph *graph = p->graph;
    int weights_at = (int)(conv - graph->nodes), conv_at = (int)(norm - graph->nodes);
    soma_type w = graph->values[conv->in[1]].type, b = {w.dtype, {.rank = 1, .dim = {w.shape.dim[0]}}};
    int32_t *in = soma_arena_array(&graph->arena, FOLD_INPUTS + 3, sizeof *in), *ends = in ? in + FOLD_INPUTS : NULL;
    int32_t *out = soma_arena_array(&graph->arena, 2, sizeof *out);
    char *attrs = soma_arena_alloc(&graph->arena, op->attrs_size);
    if (!in || !out || !attrs)
        return SOMA_MEMORY;
    out[0] = add_value(p, w, weights_at, 0);
    out[1] = out[0] >= 0 ? add_value(p, b, weights_at, 1) : -1;
    if (out[1] < 0)
        return SOMA_MEMORY;
    const int32_t made_of[FOLD_INPUTS] = {conv->in[1],    norm->in[NORM_MEAN],     norm->in[NORM_VARIANCE],
                                          input(conv, 2), input(norm, NORM_SCALE), input(norm, NORM_SHIFT)};
    memcpy(in, made_of, sizeof made_of);
    memcpy(attrs + soma_pass_field(op, "epsilon")->offset,
           (const char *)norm->attrs + soma_pass_field(norm->op, "epsilon")->offset, sizeof(double));
    soma_graph_node weights = *conv, after = *conv;
    weights.op = op;
    weights.attrs = attrs;
    weights.in = in;
    weights.n_in = FOLD_INPUTS;
    weights.out = out;
    weights.n_out = 2;
    ends[0] = conv->in[0];
    ends[1] = out[0];
    ends[2] = out[1];
    after.in = ends;
    after.n_in = 3;
    p->uses[conv->out[0]] = 0;
    graph->values[conv->out[0]].node = -1;
    after.out[0] = norm->out[0];
    graph->values[after.out[0]].node = conv_at;
    *soma_activation_of(&after) = activation;
    graph->nodes[conv_at] = after;
    graph->nodes[weights_at] = weights;
    return SOMA_OK;
}

soma_status soma_fold_norms(soma_pass *p)
{
    for (int i = 0; i < p->graph->n_nodes; i++) {
        soma_graph_node *norm = &p->graph->nodes[i], *conv = norm->op ? convolution_before(p, norm) : NULL;
        int activation = conv ? same_activation(conv, norm) : -1;
        if (activation < 0)
            continue;
        soma_status status = fold(p, conv, norm, activation);
        if (status != SOMA_OK)
            return status;
    }
    return SOMA_OK;
}
