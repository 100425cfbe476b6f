/* SPDX-License-Identifier: Apache-2.0
 *
 * op/loss/accuracy.c: the share of rows whose largest logit stands at the target's class; the first of equals wins. A
 * row with a NaN in it has no largest and is wrong. A step function: no gradient.
 */
#include "op/loss/loss.h"

#include "cpu/isa.h"
#include "graph/graph.h"
#include <soma/ops.h>

static soma_status infer(soma_infer *i)
{
    if (soma_classes_check(i, &i->in[0], &i->in[1], "logits") != SOMA_OK)
        return SOMA_INVALID;
    i->out[0] = (soma_type){i->in[0].dtype, {.rank = 0}};
    return SOMA_OK;
}

int64_t soma_largest(const void *x, soma_dtype dtype, int64_t at, int64_t n)
{
    int64_t best = 0;
    for (int64_t j = 0; j < n; j++) {
        double y = soma_get(x, dtype, at + j);
        if (y != y)
            return -1;
        if (y > soma_get(x, dtype, at + best))
            best = j;
    }
    return best;
}

static soma_status run_reference(const void *state, void *const *arg, soma_run *run)
{
    const soma_classes *s = state;
    int64_t right = 0;
    if (s->sparse && soma_classes_labels(s, arg[1], run) != SOMA_OK)
        return SOMA_DATA;
    for (int64_t r = 0; r < s->rows; r++) {
        int64_t at = r * s->columns;
        int64_t label = s->sparse ? ((const int32_t *)arg[1])[r] : soma_largest(arg[1], s->dtype, at, s->columns);
        right += label >= 0 && soma_largest(arg[0], s->dtype, at, s->columns) == label;
    }
    soma_set(arg[2], s->dtype, 0, (double)right / s->full_rows);
    return SOMA_OK;
}

static soma_status prepare(soma_prepare *p)
{
    p->run = run_reference;
    return soma_classes_prepare(p, &p->in[0], &p->in[1]) ? SOMA_OK : SOMA_MEMORY;
}

static const soma_kernel reference = {.name = "reference", .exact = true, .prepare = prepare};
SOMA_ISA_DECLARE(soma_accuracy_cpu)

static const soma_sample samples[] = {
    {.name = "sparse",
     .in = (const soma_shape[]){{2, {97, 4}}, {1, {97}}},
     .fill = "dk",
     .classes = 4,
     .no_gradient = true},
    {.name = "one-hot",
     .in = (const soma_shape[]){{2, {97, 4}}, {2, {97, 4}}},
     .fill = "do",
     .classes = 4,
     .no_gradient = true},
    {.name = "batch",
     .in = (const soma_shape[]){{2, {SOMA_N, 2}}, {1, {SOMA_N}}},
     .fill = "dk",
     .classes = 2,
     .no_gradient = true},
    {0},
};

const soma_op soma_op_accuracy = {
    .name = "accuracy",
    .doc = "Share of rows whose largest logit is the target's class; the first of equals wins. No gradient.",
    .required_in = 2,
    .required_out = 1,
    .batch = SOMA_BATCH_SUM,
    .error = SOMA_ERROR_LOOSE,
    .infer = infer,
    .kernels = (const soma_kernel *const[]){SOMA_ISA_LIST(soma_accuracy_cpu) & reference, NULL},
    .samples = samples,
    .n_in_samples = 2,
};

soma_value soma_accuracy_at(soma_value logits, soma_value target, soma_at at)
{
    return soma_apply1(&soma_op_accuracy, (soma_value[]){logits, target}, 2, NULL, NULL, at);
}
