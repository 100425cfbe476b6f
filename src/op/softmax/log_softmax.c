/* SPDX-License-Identifier: Apache-2.0
 *
 * op/softmax/log_softmax.c: log_softmax along the last axis.
 *     y_j = x_j - max x - log sum_k exp(x_k - max x)
 *     dx = dy - exp(y) sum dy, composed of elementwise nodes
 */
#include "op/softmax/softmax.h"

#include "cpu/isa.h"
#include "cpu/parallel.h"
#include "base/exact.h"
#include "graph/graph.h"
#include <soma/ops.h>

static soma_status infer(soma_infer *i)
{
    if (soma_rows_check(i, &i->in[0], "x") != SOMA_OK)
        return SOMA_INVALID;
    i->out[0] = i->in[0];
    return SOMA_OK;
}

static void gradient(soma_gradient *g)
{
    soma_value dy = g->dout[0];
    if (!g->want[0] || !soma_ok(dy))
        return;
    int last = soma_value_type(dy).shape.rank - 1;
    soma_value sum = soma_reduce_sum(dy, .axes = SOMA_AXIS(last), .keep_dims = true);
    g->din[0] = soma_sub(dy, soma_mul(soma_exp(g->out[0]), sum));
}

typedef struct rows_job {
    const soma_rows *s;
    const void *x;
    void *y;
} rows_job;

static void part(void *context, int index, int count)
{
    const rows_job *job = context;
    const soma_rows *s = job->s;
    int64_t begin, end;
    soma_share(s->rows, 1, index, count, &begin, &end);
    for (int64_t r = begin; r < end; r++) {
        int64_t at = r * s->columns;
        double max = soma_get(job->x, s->dtype, at), sum = 0;
        for (int64_t j = 1; j < s->columns; j++)
            max = soma_get(job->x, s->dtype, at + j) > max ? soma_get(job->x, s->dtype, at + j) : max;
        for (int64_t j = 0; j < s->columns; j++)
            sum += soma_exact_exp(soma_get(job->x, s->dtype, at + j) - max);
        double log_sum = soma_exact_log(sum);
        for (int64_t j = 0; j < s->columns; j++)
            soma_set(job->y, s->dtype, at + j, soma_get(job->x, s->dtype, at + j) - max - log_sum);
    }
}

static soma_status run_reference(const void *state, void *const *arg, soma_run *run)
{
    const soma_rows *s = state;
    rows_job job = {s, arg[0], arg[1]};
    soma_run_parallel(run, s->threads, part, &job);
    return SOMA_OK;
}

static soma_status prepare(soma_prepare *p)
{
    return soma_rows_prepare(p, &p->in[0], run_reference);
}

static const soma_kernel reference = {.name = "reference", .exact = true, .prepare = prepare};
SOMA_ISA_DECLARE(soma_log_softmax_cpu)

static const soma_sample samples[] = {
    {.name = "rows", .in = (const soma_shape[]){{2, {SOMA_N, 10}}}},
    {.name = "odd", .in = (const soma_shape[]){{3, {5, 2, 37}}}},
    {.name = "vector", .in = (const soma_shape[]){{1, {7}}}},
    {0},
};

const soma_op soma_op_log_softmax = {
    .name = "log_softmax",
    .doc = "y = x - max - log sum exp(x - max) along the last axis.",
    .onnx = "LogSoftmax",
    .required_in = 1,
    .required_out = 1,
    .inplace_in = 1,
    .error = SOMA_ERROR_LOOSE,
    .infer = infer,
    .grad = gradient,
    .kernels = (const soma_kernel *const[]){SOMA_ISA_LIST(soma_log_softmax_cpu) & reference, NULL},
    .samples = samples,
    .n_in_samples = 1,
};

soma_value soma_log_softmax_at(soma_value x, soma_at at)
{
    return soma_apply1(&soma_op_log_softmax, &x, 1, NULL, NULL, at);
}
