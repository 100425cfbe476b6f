/* SPDX-License-Identifier: Apache-2.0
 *
 * op/update/sgd_update.c: stochastic gradient descent on k parameters at once, momentum in Keras' form.
 *     h = g + weight_decay p
 *     momentum 0:  p = p - lr h
 *     otherwise:   v = momentum v - lr h,   p = p + v;   Nesterov: p = p + momentum v - lr h   (with the new v)
 */
#include "op/update/update.h"

#include "cpu/isa.h"
#include "cpu/parallel.h"

#define FIELD(field) .name = #field, .offset = offsetof(soma_sgd_attrs, field)
static const soma_field fields[] = {
    {FIELD(momentum), .type = SOMA_FIELD_FLOAT, .min = 0, .max = 1, .doc = "share of the last change that is kept"},
    {FIELD(nesterov), .type = SOMA_FIELD_BOOL, .doc = "look ahead: p + momentum v - lr g with the new v"},
    {FIELD(weight_decay), .type = SOMA_FIELD_FLOAT, .min = 0, .max = 1e6, .doc = "times p is added to the gradient"},
    {0},
};

static soma_status infer(soma_infer *i)
{
    const soma_sgd_attrs *a = i->attrs;
    bool momentum = a->momentum > 0;
    int k;
    const char *what = momentum ? "parameters, gradients, velocities" : "parameters, gradients";
    if (soma_update_scalar(i, 0, "lr", false) != SOMA_OK ||
        soma_update_check(i, 1, momentum ? 3 : 2, what, &k) != SOMA_OK)
        return SOMA_INVALID;
    return soma_update_outputs(i, 1, k, momentum ? 2 : 1);
}

static int assign(const void *attrs, int n_in, int out)
{
    const soma_sgd_attrs *a = attrs;
    int k = soma_sgd_count(a, n_in);
    if (out < k)
        return 1 + out;
    return a->momentum > 0 && out < 2 * k ? 1 + k + out : -1;
}

typedef struct job {
    const soma_update_state *s;
    void *const *arg;
} job;

static void update(const job *j, int t, int64_t begin, int64_t end)
{
    const soma_update_state *s = j->s;
    const soma_sgd_attrs *a = s->attrs;
    void *const *in = j->arg + 1 + t, *const *out = j->arg + s->n_in + t;
    double lr = soma_get(j->arg[0], s->lr_dtype, 0);
    for (int64_t i = begin; i < end; i++) {
        double p = soma_get(in[0], s->dtype, i), h = soma_get(in[s->k], s->dtype, i) + a->weight_decay * p;
        double v = -lr * h;
        if (a->momentum > 0) {
            v += a->momentum * soma_get(in[2 * s->k], s->dtype, i);
            soma_set(out[s->k], s->dtype, i, v);
        }
        soma_set(out[0], s->dtype, i, p + (a->nesterov && a->momentum > 0 ? a->momentum * v - lr * h : v));
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
    job j = {s, arg};
    soma_run_parallel(run, s->threads, part, &j);
    return SOMA_OK;
}

soma_update_state *soma_sgd_prepare(soma_prepare *p)
{
    const soma_sgd_attrs *a = p->attrs;
    return soma_update_prepare(p, 1, soma_sgd_count(a, p->n_in), a->momentum > 0 ? 2 : 1, sizeof *a);
}

static soma_status prepare(soma_prepare *p)
{
    const soma_update_state *s = soma_sgd_prepare(p);
    if (!s)
        return SOMA_MEMORY;
    p->run = run_reference;
    return soma_update_complete(p, s);
}

static const soma_kernel reference = {.name = "reference", .exact = true, .prepare = prepare};
SOMA_ISA_DECLARE(soma_sgd_update_cpu)

static const soma_shape shapes[] = {{0, {0}}, {2, {5, 7}}, {1, {5}}, {2, {5, 7}}, {1, {5}}, {2, {5, 7}}, {1, {5}}};
static const soma_shape same[] = {{0, {0}},    {2, {3, 3}}, {2, {3, 3}}, {2, {3, 3}},
                                  {2, {3, 3}}, {2, {3, 3}}, {2, {3, 3}}};
static const soma_sample samples[] = {
    {.name = "momentum", .attrs = "momentum=0.9", .in = shapes, .fill = "unnnnnn", .no_gradient = true},
    {.name = "nesterov",
     .attrs = "momentum=0.9 nesterov=true weight_decay=0.01",
     .in = shapes,
     .fill = "unnnnnn",
     .no_gradient = true},
    {.name = "plain", .attrs = "weight_decay=0.1", .in = same, .fill = "unnnnnn", .no_gradient = true},
    {0},
};

const soma_op soma_op_sgd_update = {
    .name = "sgd_update",
    .doc = "SGD on k parameters: inputs lr, p1..pk, g1..gk and, where momentum > 0, v1..vk; h = g + weight_decay p, "
           "v = momentum v - lr h, p = p + v (Nesterov: p + momentum v - lr h). Assigns p and v.",
    .required_in = -1,
    .required_out = 1,
    .optional_out = SOMA_MAX_ARGS,
    .attrs_size = sizeof(soma_sgd_attrs),
    .fields = fields,
    .assign = assign,
    .error = SOMA_ERROR_LOOSE,
    .infer = infer,
    .kernels = (const soma_kernel *const[]){SOMA_ISA_LIST(soma_sgd_update_cpu) & reference, NULL},
    .samples = samples,
    .n_in_samples = 7,
};
