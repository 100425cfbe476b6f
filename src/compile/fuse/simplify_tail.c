/* SPDX-License-Identifier: Apache-2.0
 *
 * compile/fuse/simplify_tail.c: additions, activations and their gradients that become part of the op before them, y =
 * gate(act(op(x) + bias + z)), or of the one behind them. Knows no op: ops say what they take (soma_op.tail,
 * take_gate) and which part they are (as_tail).
 */
#include "compile/fuse/simplify.h"

#include <string.h>

/* Does the node add up samples? Then an activation after it is none of the parts' business. */
static bool sums_samples(const soma_graph *graph, const soma_graph_node *node)
{
    const soma_shape *out = &graph->values[node->out[0]].type.shape;
    bool batched = false;
    for (int j = 0; j < node->n_in; j++) {
        const soma_shape *in = node->in[j] >= 0 ? &graph->values[node->in[j]].type.shape : NULL;
        batched = batched || (in && in->rank > 0 && in->dim[0] < 0);
    }
    return batched && !(out->rank > 0 && out->dim[0] < 0);
}

static bool same_type(const soma_graph *graph, int32_t a, int32_t b)
{
    const soma_type *x = &graph->values[a].type, *y = &graph->values[b].type;
    return x->dtype == y->dtype && x->shape.rank == y->shape.rank &&
           !memcmp(x->shape.dim, y->shape.dim, (size_t)x->shape.rank * sizeof x->shape.dim[0]);
}

static int made_at(const soma_pass *p, int32_t value)
{
    return value < 0 ? -1 : p->graph->values[value].node;
}

/* Is the value a slice that a kernel of an addition reads in its place, and none of this op's does? */
static bool better_apart(const soma_pass *p, int32_t value, const soma_op *op, int place)
{
    const soma_graph_node *maker = soma_pass_maker(p, value);
    soma_parts parts;
    if (!maker || !maker->op->parts || !maker->op->parts(maker->attrs, &parts) || parts.joins)
        return false;
    for (int k = 0; op->kernels[k]; k++)
        if (soma_takes_stride(op->kernels[k], place, place + 1))
            return false;
    return true;
}

/* Which input of the node does the op before it make, and what else does the node read? */
static int tail_of(const soma_pass *p, const soma_graph_node *node, int32_t *other)
{
    *other = -1;
    if (node->op->as_tail == SOMA_TAIL_ACT)
        return 0;
    int k = node->op->as_tail == SOMA_TAIL_GATE || made_at(p, node->in[0]) > made_at(p, node->in[1]) ? 0 : 1;
    *other = node->in[1 - k]; /* of two candidates for an addition the later one takes the other's result */
    return k;
}

/* Does a kernel pass the gradient by this gate where it writes it? A pass behind would be no better than the node
 * apart. */
static bool gates_in_place(const soma_op *op, int act)
{
    for (int k = 0; op->kernels[k]; k++)
        if (!op->kernels[k]->exact && op->kernels[k]->tail & SOMA_TAIL_GATE && op->kernels[k]->acts >> act & 1)
            return true;
    return false;
}

/* Can `part`, whose other input is `other`, become a part of the node that makes `value`? */
static bool takes(const soma_pass *p, const soma_graph_node *before, soma_tail_part part, int32_t value, int32_t other)
{
    int place = soma_tail_input(before->op, part);
    const int *act = soma_pass_activation(before);
    if (!(before->op->tail & part) || (before->op->takes_tail && !before->op->takes_tail(before->attrs)) ||
        (act && *act) || soma_node_in(before, place) >= 0 || p->uses[value] != 1 || before->out[0] != value)
        return false;
    if (part == SOMA_TAIL_ACT)
        return !sums_samples(p->graph, before);
    if (made_at(p, other) >= (int)(before - p->graph->nodes)) /* it must be there */
        return false;
    return part != SOMA_TAIL_ADD || (same_type(p->graph, value, other) && !better_apart(p, other, before->op, place));
}

/* The node's result comes from `before`, which reads `other` at its place. What the node made survives: gradients
 * read it. */
static soma_status merge(soma_pass *p, soma_graph_node *node, soma_graph_node *before, int32_t value, int32_t other)
{
    int place = soma_tail_input(before->op, (soma_tail_part)node->op->as_tail);
    int n = before->n_in > place + 1 ? before->n_in : place + 1;
    int32_t *in = place < 0 ? before->in : soma_arena_array(&p->graph->arena, (size_t)n, sizeof *in);
    if (!in)
        return SOMA_MEMORY;
    for (int j = 0; j < n && place >= 0; j++)
        in[j] = j == place ? other : soma_node_in(before, j);
    if (node->op->as_tail != SOMA_TAIL_ADD)
        *soma_pass_activation(before) = node->op->act;
    p->uses[value] = 0;
    p->graph->values[value].node = -1;
    before->in = in;
    before->n_in = n;
    before->out[0] = node->out[0];
    p->graph->values[before->out[0]].node = (int)(before - p->graph->nodes);
    node->op = NULL;
    return SOMA_OK;
}

static soma_status merge_all(soma_pass *p, soma_tail_part part)
{
    for (int i = 0; i < p->graph->n_nodes; i++) {
        soma_graph_node *node = &p->graph->nodes[i];
        if (!node->op || node->op->as_tail != part)
            continue;
        int32_t other, value = node->in[tail_of(p, node, &other)];
        soma_graph_node *before = soma_pass_maker(p, value);
        if (!before || !takes(p, before, part, value, other))
            continue;
        if (part == SOMA_TAIL_GATE && !gates_in_place(before->op, node->op->act))
            continue;
        soma_status status = merge(p, node, before, value, other);
        if (status != SOMA_OK)
            return status;
    }
    return SOMA_OK;
}

/* ---- gates that a gradient takes by a way of its own ---- */

static bool among(const int32_t *list, int n, int32_t value)
{
    for (int j = 0; j < n; j++)
        if (list[j] == value)
            return true;
    return false;
}

/* Does the merged node at `place` read what is made before it, and make what others than the two still read? */
static bool fits(const soma_pass *p, const soma_gate_merge *m, int place)
{
    int32_t between = m->behind ? m->gate->in[0] : m->gate->out[0];
    for (int j = 0; j < m->n_in; j++)
        if (made_at(p, m->in[j]) >= place)
            return false;
    return p->uses[between] == 1 || among(m->out, m->n_out, between);
}

/* The gradient with its gate. It stands where the first of the two stood: others may read what the gate made before
 * the gradient had come. */
static soma_status merge_gate(soma_pass *p, soma_graph_node *gate, soma_graph_node *gradient, bool behind)
{
    const soma_op *op = gradient->op;
    int n_in = op->required_in + op->optional_in, n_out = op->required_out + op->optional_out;
    int32_t *in = soma_arena_array(&p->graph->arena, (size_t)(n_in + n_out), sizeof *in);
    soma_gate_merge m = {p->graph,       gradient,        gate, behind,   gate->op->act,
                         gradient->n_in, gradient->n_out, in,   in + n_in};
    soma_graph_node *to = behind ? gradient : gate, *from = behind ? gate : gradient;
    if (!in)
        return SOMA_MEMORY;
    for (int j = 0; j < n_in; j++)
        m.in[j] = soma_node_in(gradient, j);
    for (int j = 0; j < n_out; j++)
        m.out[j] = j < gradient->n_out ? gradient->out[j] : -1;
    int place = (int)(to - p->graph->nodes);
    if (*soma_pass_activation(gradient) || !op->take_gate(&m) || !fits(p, &m, place))
        return SOMA_OK;
    int32_t between = behind ? gate->in[0] : gate->out[0];
    soma_graph_node merged = *gradient;
    soma_pass_remove(p, gate);
    soma_pass_remove(p, gradient);
    if (!among(m.out, m.n_out, between))
        p->graph->values[between].node = -1;
    merged.in = m.in;
    merged.out = m.out;
    merged.n_in = m.n_in;
    merged.n_out = m.n_out;
    from->op = NULL;
    *to = merged;
    *soma_pass_activation(to) = m.act;
    for (int j = 0; j < m.n_in; j++)
        if (m.in[j] >= 0)
            p->uses[m.in[j]]++;
    for (int j = 0; j < m.n_out; j++)
        if (m.out[j] >= 0) {
            p->graph->values[m.out[j]].node = place;
            p->graph->values[m.out[j]].out = j;
        }
    return SOMA_OK;
}

/* gradient(gate(dy, y), ...): the first such gradient that takes it. */
static soma_status merge_gate_before(soma_pass *p, int i)
{
    soma_graph_node *nodes = p->graph->nodes, *gate = &nodes[i];
    for (int k = i + 1; k < p->graph->n_nodes && gate->op && gate->op->as_tail == SOMA_TAIL_GATE; k++)
        if (nodes[k].op && nodes[k].op->take_gate && nodes[k].in[0] == gate->out[0]) {
            soma_status status = merge_gate(p, gate, &nodes[k], false);
            if (status != SOMA_OK)
                return status;
        }
    return SOMA_OK;
}

static soma_status merge_gates(soma_pass *p)
{
    soma_status status = SOMA_OK;
    for (int i = 0; i < p->graph->n_nodes && status == SOMA_OK; i++)
        status = merge_gate_before(p, i);
    for (int i = 0; i < p->graph->n_nodes && status == SOMA_OK; i++) {
        soma_graph_node *gate = &p->graph->nodes[i];
        if (!gate->op || gate->op->as_tail != SOMA_TAIL_GATE)
            continue;
        soma_graph_node *gradient = soma_pass_maker(p, gate->in[0]);
        if (gradient && gradient->op->take_gate)
            status = merge_gate(p, gate, gradient, true);
    }
    return status;
}

/* select(product(..., act)) becomes select(product(...), act), for example max-pooling behind a convolution: there
 * are fewer elements to clamp, and a library's product is slower with an activation that keeps NaN. Where a gradient
 * reads what the activation gave, all stays as it is. */
static void move_behind_selection(soma_pass *p)
{
    for (int i = 0; i < p->graph->n_nodes; i++) {
        soma_graph_node *pool = &p->graph->nodes[i];
        soma_graph_node *before = pool->op && pool->op->selects ? soma_pass_maker(p, pool->in[0]) : NULL;
        if (!before || !(before->op->tail & SOMA_TAIL_BIAS) || p->uses[pool->in[0]] != 1)
            continue;
        int *from = soma_pass_activation(before), *to = soma_pass_activation(pool);
        if (!*from || *to || !(pool->op->kernels[0]->acts >> *from & 1))
            continue;
        *to = *from;
        *from = 0;
    }
}

soma_status soma_merge_tails(soma_pass *p)
{
    soma_status status = merge_all(p, SOMA_TAIL_ADD);
    if (status == SOMA_OK)
        status = merge_all(p, SOMA_TAIL_ACT);
    if (status == SOMA_OK)
        status = merge_gates(p);
    if (status == SOMA_OK)
        status = merge_all(p, SOMA_TAIL_GATE);
    move_behind_selection(p);
    return status;
}
