/* SPDX-License-Identifier: Apache-2.0
 *
 * graph/gradient.c: reverse-mode differentiation that emits nodes, so a gradient is planned, fused, run and
 * differentiated like anything else.
 */
#include "graph/graph.h"

#include <string.h>

typedef struct pass {
    soma_graph *graph;
    int n_values, n_nodes; /* before the pass: what it emits is not looked at */
    bool *depends;         /* per value: does it depend on some x? */
    soma_value *gradient;  /* per value: the sum so far */
    soma_at at;
} pass;

/* Values computed from any x. Creation order is topological. */
static void mark_dependents(pass *p, const soma_value *x, int n)
{
    for (int i = 0; i < n; i++)
        p->depends[x[i].id] = true;
    for (int i = 0; i < p->n_nodes; i++) {
        const soma_graph_node *node = &p->graph->nodes[i];
        bool depends = false;
        for (int j = 0; j < node->n_in; j++)
            depends = depends || (node->in[j] >= 0 && p->depends[node->in[j]]);
        for (int j = 0; j < node->n_out && depends; j++)
            if (node->out[j] >= 0)
                p->depends[node->out[j]] = true;
    }
}

static soma_status accumulate(pass *p, int32_t id, soma_value gradient)
{
    soma_value *sum = &p->gradient[id];
    *sum = sum->graph ? soma_ops.sum(*sum, gradient, p->at) : gradient;
    return soma_ok(*sum) ? SOMA_OK : SOMA_INVALID;
}

/* The name of a value for a sentence: its own, or its layer's. */
static const char *name_of(const soma_graph *graph, int32_t id)
{
    const soma_graph_value *value = &graph->values[id];
    return value->name ? value->name : value->node >= 0 ? graph->nodes[value->node].layer : "a value";
}

static soma_status no_gradient(pass *p, const soma_graph_node *node, const soma_value *x, int n)
{
    const char *towards = n > 0 ? name_of(p->graph, x[0].id) : "";
    soma_value_fail(p->graph, node->at,
                    "%s \"%s\": has no gradient, but the gradient with respect to \"%s\" must pass through it; "
                    "take it out of the path or give the op a grad function",
                    node->op->name, node->layer, towards);
    return SOMA_INVALID;
}

/* One node: its op's grad, then the sums. `scratch` has room for the node's inputs and outputs. */
static soma_status differentiate(pass *p, int index, const soma_value *x, int n)
{
    soma_graph_node node = p->graph->nodes[index]; /* a copy: the array grows while grad emits */
    soma_arena *arena = &p->graph->arena;
    bool any_out = false, any_want = false;
    soma_value *out = soma_arena_array(arena, (size_t)(2 * node.n_out + 2 * node.n_in), sizeof *out);
    bool *want = soma_arena_array(arena, (size_t)node.n_in, sizeof *want);
    if (!out || !want)
        return SOMA_MEMORY;
    soma_value *dout = out + node.n_out, *in = dout + node.n_out, *din = in + node.n_in;
    for (int j = 0; j < node.n_out; j++) {
        out[j] = node.out[j] >= 0 ? soma_value_in(p->graph, node.out[j]) : soma_none();
        dout[j] = node.out[j] >= 0 ? p->gradient[node.out[j]] : soma_none();
        any_out = any_out || dout[j].graph;
    }
    for (int j = 0; j < node.n_in; j++) {
        in[j] = node.in[j] >= 0 ? soma_value_in(p->graph, node.in[j]) : soma_none();
        din[j] = soma_none();
        want[j] = node.in[j] >= 0 && p->depends[node.in[j]];
        any_want = any_want || want[j];
    }
    if (!any_out || !any_want)
        return SOMA_OK;
    if (!node.op->grad)
        return no_gradient(p, &node, x, n);
    p->graph->layer_override = node.layer;
    p->graph->site_override = node.site;
    soma_gradient g = {node.attrs, node.n_in, node.n_out, in, out, dout, want, din};
    node.op->grad(&g);
    soma_status status = p->graph->failed ? SOMA_INVALID : SOMA_OK;
    for (int j = 0; j < node.n_in && status == SOMA_OK; j++)
        if (want[j] && din[j].graph)
            status = accumulate(p, node.in[j], din[j]);
    p->graph->layer_override = NULL;
    return status;
}

static soma_status run(pass *p, soma_value y, const soma_value *x, int n, soma_value *dx)
{
    mark_dependents(p, x, n);
    p->graph->layer_override = name_of(p->graph,
                                       y.id); /* no automatic names here: they would shift those of later layers */
    p->graph->site_override = 0;
    p->gradient[y.id] = soma_ops.one(y, p->at);
    soma_status status = soma_ok(p->gradient[y.id]) ? SOMA_OK : SOMA_MEMORY;
    int last = p->graph->values[y.id].node;
    for (int i = last; i >= 0 && status == SOMA_OK; i--)
        status = differentiate(p, i, x, n);
    p->graph->layer_override = name_of(p->graph, y.id);
    for (int i = 0; i < n && status == SOMA_OK; i++) {
        soma_value sum = p->gradient[x[i].id];
        dx[i] = sum.graph ? sum : soma_ops.zeros(x[i], p->at);
        status = soma_ok(dx[i]) ? SOMA_OK : SOMA_MEMORY;
    }
    p->graph->layer_override = NULL;
    return status;
}

static soma_status check(soma_value y, const soma_value *x, int n, soma_at at)
{
    if (!y.graph || y.id < 0)
        return SOMA_INVALID;
    soma_type type = soma_value_type(y);
    char text[96];
    if (type.dtype != SOMA_F32 && type.dtype != SOMA_F64) {
        soma_value_fail(y.graph, at, "gradient: only f32 and f64 can be differentiated, got %s",
                        soma_type_text(&type, text));
        return SOMA_INVALID;
    }
    if (soma_shape_elements(&type.shape) != 1) {
        soma_value_fail(y.graph, at,
                        "gradient: only a scalar can be differentiated, got %s; reduce it to one number first",
                        soma_type_text(&type, text));
        return SOMA_INVALID;
    }
    for (int i = 0; i < n; i++) {
        if (x[i].graph && x[i].id < 0)
            return SOMA_INVALID;
        if (x[i].graph != y.graph) {
            soma_value_fail(y.graph, at, "gradient: value %d belongs to another graph", i);
            return SOMA_INVALID;
        }
        type = soma_value_type(x[i]);
        if (type.dtype != SOMA_F32 && type.dtype != SOMA_F64) {
            soma_value_fail(y.graph, at, "gradient: value %d is %s, but only f32 and f64 have gradients", i,
                            soma_type_text(&type, text));
            return SOMA_INVALID;
        }
    }
    return SOMA_OK;
}

soma_status soma_grad_at(soma_value y, const soma_value *x, int n, soma_value *dx, soma_at at)
{
    for (int i = 0; i < n; i++)
        dx[i] = soma_value_in(y.graph, -1);
    soma_status status = check(y, x, n, at);
    if (status != SOMA_OK)
        return status;
    soma_graph *graph = y.graph;
    pass p = {.graph = graph, .n_values = graph->n_values, .n_nodes = graph->n_nodes, .at = at};
    p.depends = soma_alloc_array(graph->s, (size_t)p.n_values, sizeof *p.depends);
    p.gradient = soma_alloc_array(graph->s, (size_t)p.n_values, sizeof *p.gradient);
    status = p.depends && p.gradient ? run(&p, y, x, n, dx) : SOMA_MEMORY;
    soma_release(graph->s, p.depends);
    soma_release(graph->s, p.gradient);
    if (status != SOMA_OK) {
        graph->failed = true;
        graph->layer_override = NULL;
        for (int i = 0; i < n; i++)
            dx[i] = soma_value_in(graph, -1);
    }
    return status;
}
