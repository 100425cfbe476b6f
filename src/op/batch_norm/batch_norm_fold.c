/* SPDX-License-Identifier: Apache-2.0
 *
 * op/batch_norm/batch_norm_fold.c: a convolution (or product) followed by a normalisation with known statistics is a
 * convolution with other weights:
 *
 *     w'[k, ...] = w[k, ...] scale[k] / sqrt(variance[k] + epsilon)
 *     b'[k]      = (b[k] - mean[k]) scale[k] / sqrt(variance[k] + epsilon) + shift[k]
 *
 * Programs that only predict do this once per change of the parameters (compile/fuse/simplify_fold.c puts it there).
 */
#include "cpu/parallel.h"
#include "base/exact.h"
#include "op/batch_norm/batch_norm_fold.h"
#include "tensor/element.h"
#include "op/sample.h"

#include <stddef.h>

enum { W, MEAN, VARIANCE, B, SCALE, SHIFT, INPUTS }; /* from B on optional */

static const soma_field fields[] = {{"epsilon", SOMA_FIELD_FLOAT, offsetof(soma_batch_norm_fold_attrs, epsilon), 0,
                                     1e-5, 0, 1, NULL, "added to the variance"},
                                    {NULL, 0, 0, 0, 0, 0, 0, NULL, NULL}};

static soma_status infer(soma_infer *i)
{
    static const char *const names[] = {"w", "mean", "variance", "b", "scale", "shift"};
    const soma_type *w = &i->in[W];
    if (!soma_is_float(w->dtype) || w->shape.rank < 1 || w->shape.dim[0] < 1)
        return soma_refuse(i->reason, "the weight must be f32 or f64 with the filters in front");
    for (int j = MEAN; j < i->n_in; j++) {
        const soma_shape *shape = &i->in[j].shape;
        if (shape->rank < 0)
            continue;
        if (shape->rank != 1 || shape->dim[0] != w->shape.dim[0] || i->in[j].dtype != w->dtype)
            return soma_refuse(i->reason, "%s must have the weight's type and one element for each of its %lld filters",
                               names[j], (long long)w->shape.dim[0]);
    }
    i->out[0] = *w;
    i->out[1] = (soma_type){w->dtype, SOMA_SHAPE(w->shape.dim[0])};
    return SOMA_OK;
}

typedef struct fold_state {
    double epsilon;
    int64_t filters, taps;
    soma_dtype dtype;
    int threads, out;
    bool has[INPUTS];
} fold_state;

typedef struct fold_job {
    const fold_state *s;
    void *const *arg;
} fold_job;

static double at(const fold_job *job, int input, int64_t k, double otherwise)
{
    return job->s->has[input] ? soma_get(job->arg[input], job->s->dtype, k) : otherwise;
}

static void part(void *context, int index, int count)
{
    const fold_job *job = context;
    const fold_state *s = job->s;
    int64_t begin, end;
    soma_share(s->filters, 1, index, count, &begin, &end);
    for (int64_t k = begin; k < end; k++) {
        double factor = at(job, SCALE, k, 1) / soma_exact_sqrt(at(job, VARIANCE, k, 1) + s->epsilon);
        for (int64_t i = k * s->taps; i < (k + 1) * s->taps; i++)
            soma_set(job->arg[s->out], s->dtype, i, soma_get(job->arg[W], s->dtype, i) * factor);
        soma_set(job->arg[s->out + 1], s->dtype, k,
                 (at(job, B, k, 0) - at(job, MEAN, k, 0)) * factor + at(job, SHIFT, k, 0));
    }
}

static soma_status run(const void *state, void *const *arg, soma_run *run)
{
    fold_job job = {state, arg};
    soma_run_parallel(run, job.s->threads, part, &job);
    return SOMA_OK;
}

#define PARALLEL_FROM 65536

static soma_status prepare(soma_prepare *p)
{
    fold_state *s = soma_prepare_state(p, sizeof *s);
    if (!s)
        return SOMA_MEMORY;
    int64_t filters = p->in[W].shape.dim[0];
    *s = (fold_state){.epsilon = ((const soma_batch_norm_fold_attrs *)p->attrs)->epsilon,
                      .filters = filters,
                      .taps = p->in[W].elements / filters,
                      .dtype = p->in[W].dtype,
                      .out = p->n_in,
                      .threads = p->in[W].elements >= PARALLEL_FROM ? p->threads : 1};
    for (int j = 0; j < INPUTS; j++)
        s->has[j] = j < p->n_in && p->in[j].shape.rank >= 0;
    p->run = run;
    p->state = s;
    p->parallel = s->threads > 1;
    return SOMA_OK;
}

static const soma_kernel reference = {.name = "reference", .exact = true, .prepare = prepare};

#define S SOMA_DIMS
static const soma_sample samples[] = {
    {"3x3", NULL, (const soma_shape[]){S(4, 3, 3, 3), S(4), S(4), S(4), S(4), S(4)}, "nnpnnn", 0, true},
    {"no bias, no scale", "epsilon=0.001", (const soma_shape[]){S(3, 2, 1, 1), S(3), S(3), S(3), S(3), S(3)}, "nnp--n",
     0, true},
    {"matrix, no shift", NULL, (const soma_shape[]){S(5, 7), S(5), S(5), S(5), S(5), S(5)}, "nnpnn-", 0, true},
    {"large", NULL, (const soma_shape[]){S(65, 113, 3, 3), S(65), S(65), S(65), S(65), S(65)}, "nnp-nn", 0, true},
    {NULL, NULL, NULL, NULL, 0, false}};

const soma_op soma_op_batch_norm_fold = {
    .name = "batch_norm_fold",
    .doc =
        "Weights and bias of a convolution that also does the normalisation behind it: w' = w scale / sqrt(variance + "
        "epsilon), b' = (b - mean) scale / sqrt(variance + epsilon) + shift, per filter",
    .required_in = B,
    .optional_in = INPUTS - B,
    .required_out = 2,
    .attrs_size = sizeof(soma_batch_norm_fold_attrs),
    .fields = fields,
    .error = SOMA_ERROR_LOOSE,
    .infer = infer,
    .kernels = (const soma_kernel *const[]){&reference, NULL},
    .samples = samples,
    .n_in_samples = INPUTS};
