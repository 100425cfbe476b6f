/* SPDX-License-Identifier: Apache-2.0
 *
 * op/softmax/softmax.c: softmax along the last axis and its gradient.
 *     y_j = exp(x_j - max x) / sum_k exp(x_k - max x)
 *     dx_j = y_j (dy_j - sum_k dy_k y_k)
 */
#include "op/softmax/softmax.h"

#include "cpu/isa.h"
#include "cpu/parallel.h"
#include "base/exact.h"
#include "graph/graph.h"
#include <soma/ops.h>

/* ---- shared by the family ---- */

soma_status soma_rows_check(soma_infer *i, const soma_type *x, const char *name)
{
    char text[96];
    if (!soma_is_float(x->dtype) || x->shape.rank < 1 || x->shape.dim[x->shape.rank - 1] < 1)
        return soma_refuse(i->reason,
                           "%s must be f32 or f64 with the classes along its last axis (not the batch), got %s", name,
                           soma_type_text(x, text));
    return SOMA_OK;
}

soma_status soma_rows_prepare(soma_prepare *p, const soma_arg *x, soma_run_fn run)
{
    soma_rows *s = soma_prepare_state(p, sizeof *s);
    if (!s)
        return SOMA_MEMORY;
    s->columns = x->shape.dim[x->shape.rank - 1];
    s->rows = x->elements / s->columns;
    s->dtype = x->dtype;
    s->threads = x->elements >= SOMA_ROWS_PARALLEL ? p->threads : 1;
    p->parallel = s->threads > 1;
    p->state = s;
    p->run = run;
    return SOMA_OK;
}

typedef struct rows_job {
    const soma_rows *s;
    void *const *arg;
} rows_job;

static soma_status run_rows(const soma_rows *s, void *const *arg, const soma_run *run, soma_part_fn part)
{
    rows_job job = {s, arg};
    soma_run_parallel(run, s->threads, part, &job);
    return SOMA_OK;
}

/* ---- softmax ---- */

static soma_status softmax_infer(soma_infer *i)
{
    if (soma_rows_check(i, &i->in[0], "x") != SOMA_OK)
        return SOMA_INVALID;
    i->out[0] = i->in[0];
    return SOMA_OK;
}

static void softmax_gradient(soma_gradient *g)
{
    if (g->want[0] && soma_ok(g->dout[0]))
        g->din[0] = soma_apply1(&soma_op_softmax_grad, (soma_value[]){g->dout[0], g->out[0]}, 2, NULL, NULL,
                                soma_nowhere());
}

static void softmax_part(void *context, int index, int count)
{
    const rows_job *job = context;
    const soma_rows *s = job->s;
    const void *x = job->arg[0];
    void *y = job->arg[1];
    int64_t begin, end;
    soma_share(s->rows, 1, index, count, &begin, &end);
    for (int64_t r = begin; r < end; r++) {
        int64_t at = r * s->columns;
        double max = soma_get(x, s->dtype, at), sum = 0;
        for (int64_t j = 1; j < s->columns; j++)
            max = soma_get(x, s->dtype, at + j) > max ? soma_get(x, s->dtype, at + j) : max;
        for (int64_t j = 0; j < s->columns; j++)
            sum += soma_exact_exp(soma_get(x, s->dtype, at + j) - max);
        for (int64_t j = 0; j < s->columns; j++)
            soma_set(y, s->dtype, at + j, soma_exact_exp(soma_get(x, s->dtype, at + j) - max) / sum);
    }
}

static soma_status softmax_run(const void *state, void *const *arg, soma_run *run)
{
    return run_rows(state, arg, run, softmax_part);
}

static soma_status softmax_prepare(soma_prepare *p)
{
    return soma_rows_prepare(p, &p->in[0], softmax_run);
}

static const soma_kernel softmax_reference = {.name = "reference", .exact = true, .prepare = softmax_prepare};
SOMA_ISA_DECLARE(soma_softmax_cpu)

static const soma_sample softmax_samples[] = {
    {.name = "rows", .in = (const soma_shape[]){{2, {SOMA_N, 10}}}},
    {.name = "odd", .in = (const soma_shape[]){{2, {5, 37}}}},
    {.name = "one column", .in = (const soma_shape[]){{2, {SOMA_N, 1}}}, .no_gradient = true},
    {.name = "vector", .in = (const soma_shape[]){{1, {7}}}},
    {.name = "rank 3", .in = (const soma_shape[]){{3, {SOMA_N, 2, 131}}}},
    {0},
};

const soma_op soma_op_softmax = {
    .name = "softmax",
    .doc = "y = exp(x - max) / sum exp(x - max) along the last axis.",
    .onnx = "Softmax",
    .required_in = 1,
    .required_out = 1,
    .inplace_in = 1,
    .error = SOMA_ERROR_LOOSE,
    .infer = softmax_infer,
    .grad = softmax_gradient,
    .kernels = (const soma_kernel *const[]){SOMA_ISA_LIST(soma_softmax_cpu) & softmax_reference, NULL},
    .samples = softmax_samples,
    .n_in_samples = 1,
};

soma_value soma_softmax_at(soma_value x, soma_at at)
{
    return soma_apply1(&soma_op_softmax, &x, 1, NULL, NULL, at);
}

/* ---- softmax_grad ---- */

static soma_status softmax_grad_infer(soma_infer *i)
{
    char dy[96], y[96];
    if (soma_rows_check(i, &i->in[0], "dy") != SOMA_OK)
        return SOMA_INVALID;
    if (i->in[0].dtype != i->in[1].dtype || !soma_same_shape(&i->in[0].shape, &i->in[1].shape))
        return soma_refuse(i->reason, "dy and y must have one type, got %s and %s", soma_type_text(&i->in[0], dy),
                           soma_type_text(&i->in[1], y));
    i->out[0] = i->in[0];
    return SOMA_OK;
}

static soma_value sum_last(soma_value x)
{
    return soma_reduce_sum(x, .axes = SOMA_AXIS(soma_value_type(x).shape.rank - 1), .keep_dims = true);
}

/* The Jacobian diag(y) - y y^T is symmetric, so the gradient for dy is the op itself. For y, with g = d(dx):
 * g (dy - sum dy y) - dy sum(g y). */
static void softmax_grad_gradient(soma_gradient *g)
{
    soma_value dy = g->in[0], y = g->in[1], up = g->dout[0];
    if (!soma_ok(up))
        return;
    if (g->want[0])
        g->din[0] = soma_apply1(&soma_op_softmax_grad, (soma_value[]){up, y}, 2, NULL, NULL, soma_nowhere());
    if (g->want[1])
        g->din[1] = soma_sub(soma_mul(up, soma_sub(dy, sum_last(soma_mul(dy, y)))),
                             soma_mul(dy, sum_last(soma_mul(up, y))));
}

static void softmax_grad_part(void *context, int index, int count)
{
    const rows_job *job = context;
    const soma_rows *s = job->s;
    const void *dy = job->arg[0], *y = job->arg[1];
    void *dx = job->arg[2];
    int64_t begin, end;
    soma_share(s->rows, 1, index, count, &begin, &end);
    for (int64_t r = begin; r < end; r++) {
        int64_t at = r * s->columns;
        double sum = 0;
        for (int64_t j = 0; j < s->columns; j++)
            sum += soma_get(dy, s->dtype, at + j) * soma_get(y, s->dtype, at + j);
        for (int64_t j = 0; j < s->columns; j++)
            soma_set(dx, s->dtype, at + j, soma_get(y, s->dtype, at + j) * (soma_get(dy, s->dtype, at + j) - sum));
    }
}

static soma_status softmax_grad_run(const void *state, void *const *arg, soma_run *run)
{
    return run_rows(state, arg, run, softmax_grad_part);
}

static soma_status softmax_grad_prepare(soma_prepare *p)
{
    return soma_rows_prepare(p, &p->in[0], softmax_grad_run);
}

static const soma_kernel softmax_grad_reference = {.name = "reference", .exact = true, .prepare = softmax_grad_prepare};
SOMA_ISA_DECLARE(soma_softmax_grad_cpu)

static const soma_sample softmax_grad_samples[] = {
    {.name = "rows", .in = (const soma_shape[]){{2, {SOMA_N, 10}}, {2, {SOMA_N, 10}}}, .fill = "nu"},
    {.name = "odd", .in = (const soma_shape[]){{3, {2, 3, 37}}, {3, {2, 3, 37}}}, .fill = "nu"},
    {0},
};

const soma_op soma_op_softmax_grad = {
    .name = "softmax_grad",
    .doc = "Gradient of softmax: dx = y (dy - sum dy y) along the last axis, from dy and y.",
    .required_in = 2,
    .required_out = 1,
    .inplace_in = 1,
    .error = SOMA_ERROR_LOOSE,
    .infer = softmax_grad_infer,
    .grad = softmax_grad_gradient,
    .kernels = (const soma_kernel *const[]){SOMA_ISA_LIST(soma_softmax_grad_cpu) & softmax_grad_reference, NULL},
    .samples = softmax_grad_samples,
    .n_in_samples = 2,
};
