/* SPDX-License-Identifier: Apache-2.0
 *
 * op/loss/mean_squared_error.c: mean squared error and its gradient; E counts the elements of the full batch.
 *     loss = 1/E sum (x - t)^2        dx = dloss 2/E (x - t)        dt = -dx
 */
#include "op/loss/mean_squared_error.h"

#include "cpu/isa.h"
#include "cpu/parallel.h"
#include "graph/graph.h"
#include <soma/ops.h>

static soma_status check(soma_infer *i, const soma_type *x, const soma_type *target)
{
    char a[96], b[96];
    soma_type_text(x, a);
    soma_type_text(target, b);
    if (!soma_is_float(x->dtype) || x->shape.rank < 1)
        return soma_refuse(i->reason, "x must be f32 or f64 with at least one dimension, got %s", a);
    if (x->dtype != target->dtype || !soma_same_shape(&x->shape, &target->shape))
        return soma_refuse(i->reason, "x and target must have one type and shape, got %s and %s; reshape one of them",
                           a, b);
    return SOMA_OK;
}

soma_squares *soma_squares_prepare(soma_prepare *p, const soma_arg *x)
{
    soma_squares *s = soma_prepare_state(p, sizeof *s);
    if (!s)
        return NULL;
    s->elements = x->elements;
    s->full_elements = soma_full_elements(p, x);
    s->dtype = x->dtype;
    s->threads = x->elements >= SOMA_LOSS_PARALLEL ? p->threads : 1;
    s->scratch = p->n_in + p->n_out;
    p->state = s;
    return s;
}

/* ---- mean_squared_error ---- */

static soma_status infer(soma_infer *i)
{
    if (check(i, &i->in[0], &i->in[1]) != SOMA_OK)
        return SOMA_INVALID;
    i->out[0] = (soma_type){i->in[0].dtype, {.rank = 0}};
    return SOMA_OK;
}

static void gradient(soma_gradient *g)
{
    if (!soma_ok(g->dout[0]) || (!g->want[0] && !g->want[1]))
        return;
    soma_value dx = soma_apply1(&soma_op_mean_squared_error_grad, (soma_value[]){g->dout[0], g->in[0], g->in[1]}, 3,
                                NULL, NULL, soma_nowhere());
    if (g->want[0])
        g->din[0] = dx;
    if (g->want[1])
        g->din[1] = soma_neg(dx);
}

static soma_status run_reference(const void *state, void *const *arg, soma_run *run)
{
    const soma_squares *s = state;
    double sum = 0;
    (void)run;
    for (int64_t i = 0; i < s->elements; i++) {
        double d = soma_get(arg[0], s->dtype, i) - soma_get(arg[1], s->dtype, i);
        sum += d * d;
    }
    soma_set(arg[2], s->dtype, 0, sum / s->full_elements);
    return SOMA_OK;
}

static soma_status prepare(soma_prepare *p)
{
    p->run = run_reference;
    return soma_squares_prepare(p, &p->in[0]) ? SOMA_OK : SOMA_MEMORY;
}

static const soma_kernel reference = {.name = "reference", .exact = true, .prepare = prepare};
SOMA_ISA_DECLARE(soma_mean_squared_error_cpu)

static const soma_sample samples[] = {
    {.name = "column", .in = (const soma_shape[]){{2, {SOMA_N, 1}}, {2, {SOMA_N, 1}}}},
    {.name = "odd", .in = (const soma_shape[]){{3, {SOMA_N, 7, 11}}, {3, {SOMA_N, 7, 11}}}},
    {.name = "vector", .in = (const soma_shape[]){{1, {2500}}, {1, {2500}}}},
    {0},
};

const soma_op soma_op_mean_squared_error = {
    .name = "mean_squared_error",
    .doc = "Mean over all elements of (x - target)^2.",
    .required_in = 2,
    .required_out = 1,
    .batch = SOMA_BATCH_SUM,
    .error = SOMA_ERROR_LOOSE,
    .infer = infer,
    .grad = gradient,
    .kernels = (const soma_kernel *const[]){SOMA_ISA_LIST(soma_mean_squared_error_cpu) & reference, NULL},
    .samples = samples,
    .n_in_samples = 2,
};

soma_value soma_mean_squared_error_at(soma_value x, soma_value target, soma_at at)
{
    return soma_apply1(&soma_op_mean_squared_error, (soma_value[]){x, target}, 2, NULL, NULL, at);
}

/* ---- mean_squared_error_grad ---- */

static soma_status grad_infer(soma_infer *i)
{
    if (check(i, &i->in[1], &i->in[2]) != SOMA_OK)
        return SOMA_INVALID;
    if (i->in[0].dtype != i->in[1].dtype || i->in[0].shape.rank != 0)
        return soma_refuse(i->reason, "dloss must be a scalar of x's type");
    i->out[0] = i->in[1];
    return SOMA_OK;
}

/* With u = d(dx): d(dloss) = sum u dx / dloss, and d(x) = u dloss 2/E = -d(target). */
static void grad_gradient(soma_gradient *g)
{
    soma_value dloss = g->in[0], x = g->in[1], u = g->dout[0];
    if (!soma_ok(u))
        return;
    if (g->want[0]) {
        soma_value unit[] = {soma_scalar(dloss, 1), x, g->in[2]};
        soma_value dx = soma_apply1(&soma_op_mean_squared_error_grad, unit, 3, NULL, NULL, soma_nowhere());
        g->din[0] = soma_reduce_sum(soma_mul(u, dx));
    }
    if (!g->want[1] && !g->want[2])
        return;
    soma_value d = soma_mul(u, soma_mul(soma_loss_spread(dloss, x), soma_scalar(x, 2)));
    if (g->want[1])
        g->din[1] = d;
    if (g->want[2])
        g->din[2] = soma_neg(d);
}

typedef struct job {
    const soma_squares *s;
    void *const *arg;
} job;

static void grad_part(void *context, int index, int count)
{
    const job *j = context;
    const soma_squares *s = j->s;
    double scale = soma_get(j->arg[0], s->dtype, 0) * 2 / s->full_elements;
    int64_t begin, end;
    soma_share(s->elements, 16, index, count, &begin, &end);
    for (int64_t i = begin; i < end; i++)
        soma_set(j->arg[3], s->dtype, i, scale * (soma_get(j->arg[1], s->dtype, i) - soma_get(j->arg[2], s->dtype, i)));
}

static soma_status grad_run(const void *state, void *const *arg, soma_run *run)
{
    const soma_squares *s = state;
    job j = {s, arg};
    soma_run_parallel(run, s->threads, grad_part, &j);
    return SOMA_OK;
}

static soma_status grad_prepare(soma_prepare *p)
{
    const soma_squares *s = soma_squares_prepare(p, &p->in[1]);
    if (!s)
        return SOMA_MEMORY;
    p->parallel = s->threads > 1;
    p->run = grad_run;
    return SOMA_OK;
}

static const soma_kernel grad_reference = {.name = "reference", .exact = true, .prepare = grad_prepare};
SOMA_ISA_DECLARE(soma_mean_squared_error_grad_cpu)

static const soma_sample grad_samples[] = {
    {.name = "column", .in = (const soma_shape[]){{0, {0}}, {2, {SOMA_N, 1}}, {2, {SOMA_N, 1}}}},
    {.name = "odd", .in = (const soma_shape[]){{0, {0}}, {3, {SOMA_N, 7, 11}}, {3, {SOMA_N, 7, 11}}}},
    {0},
};

const soma_op soma_op_mean_squared_error_grad = {
    .name = "mean_squared_error_grad",
    .doc = "Gradient of mean_squared_error for x: dloss 2/E (x - target).",
    .required_in = 3,
    .required_out = 1,
    .inplace_in = 2,
    .error = SOMA_ERROR_LOOSE,
    .infer = grad_infer,
    .grad = grad_gradient,
    .kernels = (const soma_kernel *const[]){SOMA_ISA_LIST(soma_mean_squared_error_grad_cpu) & grad_reference, NULL},
    .samples = grad_samples,
    .n_in_samples = 3,
};
