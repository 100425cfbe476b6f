/* SPDX-License-Identifier: Apache-2.0
 *
 * graph/simplify.c: a program's graph made smaller before kernels are chosen: ops that do nothing when predicting,
 * activations merged into the op before them or the pool behind them, relu's gradient merged into that of max-pooling
 * or of the convolution behind it, dead code. Knows ops by the fields of their attribute tables, not by their structs.
 */
#include "graph/simplify.h"

/* Grouped convolutions support no fused addition or gate, because their arrays may differ in layout. */
static bool is_input_gradient(const soma_graph_node *node)
{
    const soma_field *groups = soma_pass_is(node, "conv2d_input_grad") ? soma_pass_field(node->op, "groups") : NULL;
    return groups && *(const int64_t *)(const void *)((const char *)node->attrs + groups->offset) == 1;
}

/* The optional input that an op adds to its result before the activation, or its gate, or -1. */
static int added_input(const soma_graph_node *node)
{
    return soma_pass_is(node, "conv2d") || is_input_gradient(node) ? 3
           : soma_pass_is(node, "batch_norm")                      ? 5
           : soma_pass_is(node, "batch_norm_grad")                 ? 7
                                                                   : -1;
}

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

const soma_field *soma_pass_field(const soma_op *op, const char *name)
{
    for (const soma_field *field = op->fields; field && field->name; field++)
        if (!strcmp(field->name, name))
            return field;
    return NULL;
}

int *soma_activation_of(const soma_graph_node *node)
{
    const soma_field *field = soma_pass_field(node->op, "activation");
    return field && field->type == SOMA_FIELD_ENUM ? (int *)(void *)((char *)node->attrs + field->offset) : NULL;
}

/* Which of the node's activations the op is that is called like it, and then `suffix`: its index, 0 for none. */
static int choice_of(const soma_graph_node *node, const char *op, const char *suffix)
{
    const char *const *choices = soma_pass_field(node->op, "activation")->choices;
    for (int i = 1; choices[i]; i++) {
        size_t n = strlen(choices[i]);
        if (!strncmp(op, choices[i], n) && !strcmp(op + n, suffix))
            return i;
    }
    return 0;
}

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

static bool same_type(const soma_graph *graph, int32_t a, int32_t b)
{
    const soma_type *x = &graph->values[a].type, *y = &graph->values[b].type;
    return x->dtype == y->dtype && x->shape.rank == y->shape.rank &&
           !memcmp(x->shape.dim, y->shape.dim, (size_t)x->shape.rank * sizeof x->shape.dim[0]);
}

/* conv2d(x, w, b) + z becomes conv2d(x, w, b, z), and so for batch_norm: what a residual block adds is added before the
 * result is first written. Of two candidates the later one takes the other's result. */
static soma_status merge_adds(soma_pass *p)
{
    for (int i = 0; i < p->graph->n_nodes; i++) {
        soma_graph_node *add = &p->graph->nodes[i];
        if (!soma_pass_is(add, "add") || !same_type(p->graph, add->in[0], add->in[1]))
            continue;
        int made[2] = {p->graph->values[add->in[0]].node, p->graph->values[add->in[1]].node};
        int k = made[0] > made[1] ? 0 : 1;
        soma_graph_node *before = soma_pass_maker(p, add->in[k]);
        int place = before ? added_input(before) : -1;
        if (place < 0 || before->n_in > place || *soma_activation_of(before) || p->uses[add->in[k]] != 1 ||
            before->out[0] != add->in[k] || made[1 - k] >= made[k])
            continue;
        const soma_graph_node *other = soma_pass_maker(p, add->in[1 - k]);
        if (other && soma_pass_is(other, "slice") &&
            is_input_gradient(before)) /* the addition reads it where it lies */
            continue;
        int32_t *in = soma_arena_array(&p->graph->arena, (size_t)place + 1, sizeof *in);
        if (!in)
            return SOMA_MEMORY;
        for (int j = 0; j < place; j++)
            in[j] = j < before->n_in ? before->in[j] : -1;
        in[place] = add->in[1 - k];
        p->uses[add->in[k]] = 0;
        p->graph->values[add->in[k]].node = -1;
        add->op = NULL;
        before->in = in;
        before->n_in = place + 1;
        before->out[0] = add->out[0];
        p->graph->values[before->out[0]].node = made[k];
    }
    return SOMA_OK;
}

/* Gradients have the attribute, too: there it is their gate, not what is applied to the result. */
static int *applied_activation(const soma_graph_node *node)
{
    size_t n = strlen(node->op->name), suffix = strlen("_grad");
    bool gradient = n >= suffix && !strcmp(node->op->name + n - suffix, "_grad");
    return gradient ? NULL : soma_activation_of(node);
}

/* act(conv2d(...)) becomes conv2d(..., activation): when nobody else reads what the convolution made. The activation's
 * value survives (its gradient reads it); it now comes from the convolution. */
static void merge_activations(soma_pass *p)
{
    for (int i = 0; i < p->graph->n_nodes; i++) {
        soma_graph_node *act = &p->graph->nodes[i];
        if (!act->op || act->n_in != 1 || act->n_out != 1)
            continue;
        soma_graph_node *before = soma_pass_maker(p, act->in[0]);
        int *chosen = before ? applied_activation(before) : NULL; /* attrs of a copied graph are its own */
        if (!chosen || before->out[0] != act->in[0] || p->uses[act->in[0]] != 1 || sums_samples(p->graph, before))
            continue;
        int choice = choice_of(before, act->op->name, "");
        if (*chosen != 0 || !choice)
            continue;
        int32_t value = act->out[0];
        *chosen = choice;
        p->uses[act->in[0]] = 0;
        p->graph->values[act->in[0]].node = -1;
        act->op = NULL;
        before->out[0] = value;
        p->graph->values[value].node = (int)(before - p->graph->nodes);
    }
}

/* relu_grad(max_pool2d_grad(dy, index), relu's y), where the pool read that y: the pool's gradient can itself leave out
 * what relu stopped, by looking at the pooled y (a window's largest y is > 0 or nothing of it passes). */
static soma_status merge_pool_relu(soma_pass *p)
{
    for (int i = 0; i < p->graph->n_nodes; i++) {
        soma_graph_node *relu = &p->graph->nodes[i];
        if (!soma_pass_is(relu, "relu_grad") || p->uses[relu->in[0]] != 1)
            continue;
        soma_graph_node *grad = soma_pass_maker(p, relu->in[0]);
        if (!grad || !soma_pass_is(grad, "max_pool2d_grad") || grad->n_in != 2)
            continue;
        const soma_graph_node *pool = soma_pass_maker(p, grad->in[1]);
        const soma_field *field = soma_pass_field(grad->op, "relu");
        if (!pool || !soma_pass_is(pool, "max_pool2d") || pool->in[0] != relu->in[1] || !field ||
            grad->op->optional_in < 1)
            continue;
        int32_t *in = soma_arena_array(&p->graph->arena, 3, sizeof *in);
        if (!in)
            return SOMA_MEMORY;
        in[0] = grad->in[0];
        in[1] = grad->in[1];
        in[2] = pool->out[0];
        *(bool *)((char *)grad->attrs + field->offset) = true;
        int32_t value = relu->out[0];
        p->uses[relu->in[1]]--;
        p->uses[in[2]]++;
        p->graph->values[relu->in[0]].node = -1;
        p->uses[relu->in[0]] = 0;
        relu->op = NULL;
        grad->in = in;
        grad->n_in = 3;
        grad->out[0] = value;
        p->graph->values[value].node = (int)(grad - p->graph->nodes);
    }
    return SOMA_OK;
}

/* max_pool2d(conv2d(..., relu)) becomes max_pool2d(conv2d(...), relu): the pool has fewer elements to look at, and a
 * library's convolution is slower with an activation that keeps NaN. Where a gradient reads relu's y, all stays as it
 * is. */
static void move_relu_behind_pool(soma_pass *p)
{
    for (int i = 0; i < p->graph->n_nodes; i++) {
        soma_graph_node *pool = &p->graph->nodes[i];
        soma_graph_node *before = soma_pass_is(pool, "max_pool2d") ? soma_pass_maker(p, pool->in[0]) : NULL;
        const soma_field *relu = before ? soma_pass_field(pool->op, "relu") : NULL;
        if (!relu || !soma_pass_is(before, "conv2d") || p->uses[pool->in[0]] != 1)
            continue;
        int *activation = soma_activation_of(before);
        if (!*activation || *activation != choice_of(before, "relu", ""))
            continue;
        *activation = 0;
        *(bool *)((char *)pool->attrs + relu->offset) = true;
    }
}

/* relu_grad(conv2d_input_grad(dy, w, -, z), y) becomes conv2d_input_grad(dy, w, y, z), and so for relu6: what the
 * activation stopped is left out where dx is first written. */
static soma_status merge_gates(soma_pass *p)
{
    for (int i = 0; i < p->graph->n_nodes; i++) {
        soma_graph_node *act = &p->graph->nodes[i];
        if (!soma_pass_is(act, "relu_grad") && !soma_pass_is(act, "relu6_grad"))
            continue;
        soma_graph_node *grad = p->uses[act->in[0]] == 1 ? soma_pass_maker(p, act->in[0]) : NULL;
        if (!grad || !is_input_gradient(grad) || *soma_activation_of(grad) ||
            p->graph->values[act->in[1]].node > (int)(grad - p->graph->nodes)) /* y must be there */
            continue;
        int n = grad->n_in > 3 ? grad->n_in : 3;
        int32_t *in = soma_arena_array(&p->graph->arena, (size_t)n, sizeof *in);
        if (!in)
            return SOMA_MEMORY;
        for (int j = 0; j < n; j++)
            in[j] = j < grad->n_in ? grad->in[j] : -1;
        in[2] = act->in[1];
        *soma_activation_of(grad) = choice_of(grad, act->op->name, "_grad");
        p->uses[act->in[0]] = 0;
        p->graph->values[act->in[0]].node = -1;
        act->op = NULL;
        grad->in = in;
        grad->n_in = n;
        grad->out[0] = act->out[0];
        p->graph->values[grad->out[0]].node = (int)(grad - p->graph->nodes);
    }
    return SOMA_OK;
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
        soma_use_running(&p);
    }
    remove_dead(&p);
    soma_status status = training ? SOMA_OK : soma_fold_norms(&p);
    if (status == SOMA_OK)
        status = merge_adds(&p);
    merge_activations(&p);
    if (status == SOMA_OK)
        status = soma_merge_norm_gradients(&p);
    if (status == SOMA_OK)
        status = merge_pool_relu(&p);
    if (status == SOMA_OK)
        status = merge_gates(&p);
    move_relu_behind_pool(&p);
    remove_dead(&p);
    soma_release(graph->s, p.uses);
    return status;
}
