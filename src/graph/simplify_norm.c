/* SPDX-License-Identifier: Apache-2.0
 *
 * graph/simplify_norm.c: passes about batch normalisation. Knows its ops by name, by the fields of their attribute
 * tables and by the places of their arguments:
 *     batch_norm       (x, running_mean, running_var, scale, shift, z) -> y, mean, variance
 *     batch_norm_grad  (dy, x, mean, variance, scale, shift, y, added) -> dx, dscale, dshift, dz
 */
#include "graph/simplify.h"

#include <stdio.h>

enum { X, RUNNING_MEAN, RUNNING_VAR, SCALE, SHIFT, Z };
enum { Y, MEAN, VARIANCE };
enum { DY, GRAD_X, GRAD_MEAN, GRAD_VARIANCE, GRAD_SCALE, GRAD_SHIFT, GRAD_Y, GRAD_ADDED, GRAD_IN };
enum { DX, DSCALE, DSHIFT, DZ, GRAD_OUT };

static bool *use_running(const soma_graph_node *node)
{
    const soma_field *field = node->op ? soma_pass_field(node->op, "use_running") : NULL;
    return field ? (bool *)(void *)((char *)node->attrs + field->offset) : NULL;
}

void soma_use_running(soma_pass *p)
{
    for (int i = 0; i < p->graph->n_nodes; i++) {
        soma_graph_node *node = &p->graph->nodes[i];
        bool *running = use_running(node);
        if (!running || *running)
            continue;
        *running = true;
        if (!soma_pass_is(node, "batch_norm"))
            continue;
        for (int k = MEAN; k < node->n_out; k++)
            if (node->out[k] >= 0)
                soma_pass_redirect(p, node->out[k], node->in[RUNNING_MEAN + k - MEAN]);
        node->n_out = 1;
    }
}

static int32_t input(const soma_graph_node *node, int in)
{
    return in < node->n_in ? node->in[in] : -1;
}

/* The gradient of `norm` that reads dy, or NULL. */
static soma_graph_node *gradient_of(const soma_pass *p, const soma_graph_node *norm, int32_t dy)
{
    for (int i = (int)(norm - p->graph->nodes) + 1; i < p->graph->n_nodes; i++) {
        soma_graph_node *grad = &p->graph->nodes[i];
        if (!soma_pass_is(grad, "batch_norm_grad") || grad->in[DY] != dy || grad->in[GRAD_X] != norm->in[X])
            continue;
        int32_t mean = *use_running(norm) ? norm->in[RUNNING_MEAN] : norm->n_out > MEAN ? norm->out[MEAN] : -1;
        if (grad->in[GRAD_MEAN] == mean && !*soma_activation_of(grad))
            return grad;
    }
    return NULL;
}

/* act_grad(dr, r) -> g; batch_norm_grad(g, x, ...) -> dx: becomes batch_norm_grad(dr, x, ..., act) -> dx, .., g in the
 * place of the activation's gradient, because others may read g before dx is made. */
static soma_status merge(soma_pass *p, soma_graph_node *act, const soma_graph_node *norm, soma_graph_node *grad)
{
    int32_t g = act->out[0];
    int32_t *in = soma_arena_array(&p->graph->arena, GRAD_IN + GRAD_OUT, sizeof *in), *out = in + GRAD_IN;
    if (!in)
        return SOMA_MEMORY;
    bool added = input(norm, Z) >= 0;
    for (int j = 0; j < GRAD_IN; j++)
        in[j] = input(grad, j);
    for (int j = 0; j < GRAD_OUT; j++)
        out[j] = j < grad->n_out ? grad->out[j] : -1;
    in[DY] = act->in[0];
    p->uses[g]--; /* the gradient no longer reads it; the activation's gradient did read y and dr */
    p->uses[act->in[1]]--;
    if (added) {
        in[GRAD_Y] = act->in[1];
        out[DZ] = g;
    } else {
        in[GRAD_SHIFT] = input(norm, SHIFT);
    }
    if (added)
        p->uses[in[GRAD_Y]]++;
    else
        p->graph->values[g].node = -1;
    if (!added && in[GRAD_SHIFT] >= 0)
        p->uses[in[GRAD_SHIFT]]++;
    *soma_activation_of(grad) = *soma_activation_of(norm);
    int place = (int)(act - p->graph->nodes);
    *act = *grad;
    grad->op = NULL;
    act->in = in;
    act->out = out;
    act->n_in = in[GRAD_ADDED] >= 0 ? GRAD_IN : added ? GRAD_Y + 1 : GRAD_SHIFT + 1;
    act->n_out = added ? DZ + 1 : act->n_out;
    for (int j = 0; j < act->n_out; j++)
        if (out[j] >= 0) {
            p->graph->values[out[j]].node = place;
            p->graph->values[out[j]].out = j;
        }
    return SOMA_OK;
}

soma_status soma_merge_norm_gradients(soma_pass *p)
{
    for (int i = 0; i < p->graph->n_nodes; i++) {
        soma_graph_node *act = &p->graph->nodes[i];
        if (!act->op || act->n_in != 2 || act->n_out != 1)
            continue;
        const soma_graph_node *norm = soma_pass_maker(p, act->in[1]);
        if (!norm || !soma_pass_is(norm, "batch_norm") || norm->out[Y] != act->in[1])
            continue;
        const soma_field *field = soma_pass_field(norm->op, "activation");
        char name[32];
        snprintf(name, sizeof name, "%.20s_grad", field->choices[*soma_activation_of(norm)]);
        if (!soma_pass_is(act, name))
            continue;
        soma_graph_node *grad = gradient_of(p, norm, act->out[0]);
        if (!grad || (input(norm, Z) < 0 && p->uses[act->out[0]] != 1))
            continue;
        int32_t other = input(grad, GRAD_ADDED); /* must be there in the activation's place, and not come from there */
        if (other >= 0 && p->graph->values[other].node >= i)
            continue;
        soma_status status = merge(p, act, norm, grad);
        if (status != SOMA_OK)
            return status;
    }
    return SOMA_OK;
}
