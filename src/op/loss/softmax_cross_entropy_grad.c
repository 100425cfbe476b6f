/* SPDX-License-Identifier: Apache-2.0
 *
 * op/loss/softmax_cross_entropy_grad.c: the gradient of softmax cross-entropy for its logits.
 *     dz = dloss / R (p sum_c t - t)
 */
#include "op/loss/loss.h"

#include "cpu/isa.h"
#include "cpu/parallel.h"
#include "graph/graph.h"
#include <soma/ops.h>

static soma_status infer(soma_infer *i)
{
    if (soma_classes_check(i, &i->in[1], &i->in[2], "probabilities") != SOMA_OK)
        return SOMA_INVALID;
    if (i->in[0].dtype != i->in[1].dtype || i->in[0].shape.rank != 0)
        return soma_refuse(i->reason, "dloss must be a scalar of the probabilities' type");
    i->out[0] = i->in[1];
    return SOMA_OK;
}

static soma_value sum_last(soma_value x)
{
    return soma_reduce_sum(x, .axes = SOMA_AXIS(1), .keep_dims = true);
}

/* With u = d(dz) and a = dloss / R:  d(dloss) = sum u dz / dloss,  dp = a u sum_c t,  dt = a (sum_c u p - u). */
static void gradient(soma_gradient *g)
{
    soma_value dloss = g->in[0], p = g->in[1], target = g->in[2], u = g->dout[0];
    if (!soma_ok(u))
        return;
    bool sparse = !soma_is_float(soma_value_type(target).dtype);
    double classes = (double)soma_value_type(p).shape.dim[1]; /* spread() divides by R C */
    if (g->want[0]) {
        soma_value unit[] = {soma_scalar(dloss, 1), p, target};
        soma_value dz = soma_apply1(&soma_op_softmax_cross_entropy_grad, unit, 3, NULL, NULL, soma_nowhere());
        g->din[0] = soma_reduce_sum(soma_mul(u, dz));
    }
    if (!g->want[1] && (!g->want[2] || sparse))
        return;
    soma_value a = soma_mul(soma_loss_spread(dloss, p), soma_scalar(p, classes));
    if (g->want[1])
        g->din[1] = sparse ? soma_mul(a, u) : soma_mul(soma_mul(a, u), sum_last(target));
    if (g->want[2] && !sparse)
        g->din[2] = soma_mul(a, soma_sub(sum_last(soma_mul(u, p)), u));
}

typedef struct job {
    const soma_classes *s;
    void *const *arg;
} job;

static void part(void *context, int index, int count)
{
    const job *j = context;
    const soma_classes *s = j->s;
    const void *p = j->arg[1], *target = j->arg[2];
    double scale = soma_get(j->arg[0], s->dtype, 0) / s->full_rows;
    int64_t begin, end;
    soma_share(s->rows, 1, index, count, &begin, &end);
    for (int64_t r = begin; r < end; r++) {
        int64_t at = r * s->columns;
        double weight = s->sparse ? 1 : 0;
        for (int64_t c = 0; !s->sparse && c < s->columns; c++)
            weight += soma_get(target, s->dtype, at + c);
        for (int64_t c = 0; c < s->columns; c++) {
            double t = s->sparse ? ((const int32_t *)target)[r] == c : soma_get(target, s->dtype, at + c);
            soma_set(j->arg[3], s->dtype, at + c, scale * (soma_get(p, s->dtype, at + c) * weight - t));
        }
    }
}

static soma_status run_reference(const void *state, void *const *arg, soma_run *run)
{
    const soma_classes *s = state;
    if (s->sparse && soma_classes_labels(s, arg[2], run) != SOMA_OK)
        return SOMA_DATA;
    job j = {s, arg};
    soma_run_parallel(run, s->threads, part, &j);
    return SOMA_OK;
}

static soma_status prepare(soma_prepare *p)
{
    const soma_classes *s = soma_classes_prepare(p, &p->in[1], &p->in[2]);
    if (!s)
        return SOMA_MEMORY;
    p->parallel = s->threads > 1;
    p->run = run_reference;
    return SOMA_OK;
}

static const soma_kernel reference = {.name = "reference", .exact = true, .prepare = prepare};
SOMA_ISA_DECLARE(soma_softmax_cross_entropy_grad_cpu)

#define SCALAR                                                                                                         \
    {                                                                                                                  \
        0,                                                                                                             \
        {                                                                                                              \
            0                                                                                                          \
        }                                                                                                              \
    }
static const soma_sample samples[] = {
    {.name = "sparse",
     .in = (const soma_shape[]){SCALAR, {2, {SOMA_N, 10}}, {1, {SOMA_N}}},
     .fill = "nuk",
     .classes = 10},
    {.name = "weights", .in = (const soma_shape[]){SCALAR, {2, {SOMA_N, 10}}, {2, {SOMA_N, 10}}}, .fill = "nuu"},
    {.name = "odd", .in = (const soma_shape[]){SCALAR, {2, {37, 5}}, {1, {37}}}, .fill = "nuk", .classes = 5},
    {0},
};

const soma_op soma_op_softmax_cross_entropy_grad = {
    .name = "softmax_cross_entropy_grad",
    .doc = "Gradient of softmax_cross_entropy: dlogits = dloss / rows (probabilities sum target - target).",
    .required_in = 3,
    .required_out = 1,
    .inplace_in = 2,
    .error = SOMA_ERROR_LOOSE,
    .infer = infer,
    .grad = gradient,
    .kernels = (const soma_kernel *const[]){SOMA_ISA_LIST(soma_softmax_cross_entropy_grad_cpu) & reference, NULL},
    .samples = samples,
    .n_in_samples = 3,
};
