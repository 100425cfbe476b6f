/* SPDX-License-Identifier: Apache-2.0
 *
 * op/update/adam_update.c: Adam (Kingma and Ba 2015) on k parameters at once, as PyTorch 2.15 computes it; t = step +
 * 1.
 *     h = g + weight_decay p
 *     m = beta1 m + (1 - beta1) h        v = beta2 v + (1 - beta2) h^2
 *     p = p - lr / (1 - beta1^t) m / (sqrt(v) / sqrt(1 - beta2^t) + epsilon)
 */
#include "op/update/update.h"

#include "cpu/isa.h"
#include "cpu/parallel.h"
#include "base/exact.h"

#define FIELD(field) .name = #field, .offset = offsetof(soma_adam_attrs, field), .type = SOMA_FIELD_FLOAT
static const soma_field fields[] = {
    {FIELD(beta1), .preset = 0.9, .min = 0, .max = 0.9999999, .doc = "decay of the mean of gradients"},
    {FIELD(beta2), .preset = 0.999, .min = 0, .max = 0.9999999, .doc = "decay of the mean of squared gradients"},
    {FIELD(epsilon), .preset = 1e-8, .min = 0, .max = 1, .doc = "added to sqrt(v / (1 - beta2^t))"},
    {FIELD(weight_decay), .min = 0, .max = 1e6, .doc = "times p is added to the gradient"},
    {0},
};

static soma_status infer(soma_infer *i)
{
    int k;
    if (i->n_in < 2)
        return soma_refuse(i->reason, "expects lr, step, and parameters, gradients, means and mean squares");
    if (soma_update_scalar(i, 0, "lr", false) != SOMA_OK || soma_update_scalar(i, 1, "step", true) != SOMA_OK ||
        soma_update_check(i, 2, 4, "parameters, gradients, means, mean squares", &k) != SOMA_OK)
        return SOMA_INVALID;
    return soma_update_outputs(i, 2, k, 3);
}

static int assign(const void *attrs, int n_in, int out)
{
    int k = soma_adam_count(n_in);
    (void)attrs;
    if (out < k)
        return 2 + out;
    return out < 3 * k ? 2 + k + out : -1;
}

typedef struct job {
    const soma_update_state *s;
    void *const *arg;
    double rate, root; /* lr / (1 - beta1^t), sqrt(1 - beta2^t) */
} job;

static void update(const job *j, int t, int64_t begin, int64_t end)
{
    const soma_update_state *s = j->s;
    const soma_adam_attrs *a = s->attrs;
    int k = s->k;
    void *const *in = j->arg + 2 + t, *const *out = j->arg + s->n_in + t;
    for (int64_t i = begin; i < end; i++) {
        double p = soma_get(in[0], s->dtype, i), h = soma_get(in[k], s->dtype, i) + a->weight_decay * p;
        double m = a->beta1 * soma_get(in[2 * k], s->dtype, i) + (1 - a->beta1) * h;
        double v = a->beta2 * soma_get(in[3 * k], s->dtype, i) + (1 - a->beta2) * h * h;
        soma_set(out[0], s->dtype, i, p - j->rate * m / (soma_exact_sqrt(v) / j->root + a->epsilon));
        soma_set(out[k], s->dtype, i, m);
        soma_set(out[2 * k], s->dtype, i, v);
    }
}

static void part(void *context, int index, int count)
{
    const job *j = context;
    const soma_update_state *s = j->s;
    int64_t begin, end;
    soma_share(s->start[s->k], SOMA_UPDATE_GRAIN, index, count, &begin, &end);
    for (int t = soma_update_find(s, begin); t < s->k && s->start[t] < end; t++) {
        int64_t from = begin > s->start[t] ? begin - s->start[t] : 0, to = end - s->start[t];
        update(j, t, from, to < s->count[t] ? to : s->count[t]);
    }
}

static soma_status run_reference(const void *state, void *const *arg, soma_run *run)
{
    const soma_update_state *s = state;
    const soma_adam_attrs *a = s->attrs;
    int64_t t = (int64_t) * (const int32_t *)arg[1] + 1;
    job j = {s, arg, soma_get(arg[0], s->lr_dtype, 0) / (1 - soma_power(a->beta1, t)),
             soma_exact_sqrt(1 - soma_power(a->beta2, t))};
    soma_run_parallel(run, s->threads, part, &j);
    return SOMA_OK;
}

soma_update_state *soma_adam_prepare(soma_prepare *p)
{
    return soma_update_prepare(p, 2, soma_adam_count(p->n_in), 3, sizeof(soma_adam_attrs));
}

static soma_status prepare(soma_prepare *p)
{
    const soma_update_state *s = soma_adam_prepare(p);
    if (!s)
        return SOMA_MEMORY;
    p->run = run_reference;
    return soma_update_complete(p, s);
}

static const soma_kernel reference = {.name = "reference", .exact = true, .prepare = prepare};
SOMA_ISA_DECLARE(soma_adam_update_cpu)

static const soma_shape shapes[] = {{0, {0}}, {0, {0}},    {2, {5, 7}}, {1, {5}},    {2, {5, 7}},
                                    {1, {5}}, {2, {5, 7}}, {1, {5}},    {2, {5, 7}}, {1, {5}}};
static const soma_sample samples[] = {
    {.name = "defaults", .in = shapes, .fill = "uknnnnnnpp", .classes = 10, .no_gradient = true},
    {.name = "weight decay",
     .attrs = "beta1=0.8 beta2=0.99 epsilon=0.001 weight_decay=0.1",
     .in = shapes,
     .fill = "uknnnnnnpp",
     .classes = 1000,
     .no_gradient = true},
    {0},
};

const soma_op soma_op_adam_update = {
    .name = "adam_update",
    .doc = "Adam (Kingma and Ba 2015) on k parameters as in PyTorch 2.15: inputs lr, step, p1..pk, g1..gk, m1..mk, "
           "v1..vk; "
           "assigns p, m and v. t = step + 1 corrects the means; epsilon is added to sqrt(v / (1 - beta2^t)).",
    .required_in = -1,
    .required_out = 1,
    .optional_out = SOMA_MAX_ARGS,
    .attrs_size = sizeof(soma_adam_attrs),
    .fields = fields,
    .assign = assign,
    .error = SOMA_ERROR_LOOSE,
    .infer = infer,
    .kernels = (const soma_kernel *const[]){SOMA_ISA_LIST(soma_adam_update_cpu) & reference, NULL},
    .samples = samples,
    .n_in_samples = 10,
};
