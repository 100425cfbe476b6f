/* SPDX-License-Identifier: Apache-2.0
 *
 * op/update/schedule.c: the step counter and the learning rate as a function of it.
 *     constant      lr
 *     inverse_time  lr / (1 + decay step)                                              (Keras 2's `decay`)
 *     one_cycle     from lr/25 up to lr at step 0.3 T - 1, then down to lr/250,000 at step T - 1, along half cosines
 *                   (Smith 2018; the defaults of PyTorch's OneCycleLR with cosine annealing)
 * A second input, where it is at least 0, is the rate itself: what was set from outside. One number a step: the
 * reference kernel is the only one.
 */
#include "op/update/update.h"

#include "base/exact.h"

/* ---- step_count ---- */

static soma_status count_infer(soma_infer *i)
{
    if (soma_update_scalar(i, 0, "step", true) != SOMA_OK)
        return SOMA_INVALID;
    i->out[0] = i->in[0];
    return SOMA_OK;
}

static int count_assign(const void *attrs, int n_in, int out)
{
    (void)attrs;
    (void)n_in;
    return out == 0 ? 0 : -1;
}

static soma_status count_run(const void *state, void *const *arg, soma_run *run)
{
    (void)state;
    (void)run;
    int32_t step = *(const int32_t *)arg[0];
    *(int32_t *)arg[1] = step < INT32_MAX ? step + 1 : step;
    return SOMA_OK;
}

static soma_status count_prepare(soma_prepare *p)
{
    p->run = count_run;
    return SOMA_OK;
}

static const soma_kernel count_reference = {.name = "reference", .exact = true, .prepare = count_prepare};

static const soma_sample count_samples[] = {
    {.name = "step", .in = (const soma_shape[]){{0, {0}}}, .fill = "k", .classes = 1000, .no_gradient = true},
    {0},
};

const soma_op soma_op_step_count = {
    .name = "step_count",
    .doc = "step + 1, assigned to step.",
    .required_in = 1,
    .required_out = 1,
    .assign = count_assign,
    .infer = count_infer,
    .kernels = (const soma_kernel *const[]){&count_reference, NULL},
    .samples = count_samples,
    .n_in_samples = 1,
};

/* ---- learning_rate ---- */

static const char *const schedules[] = {"constant", "inverse_time", "one_cycle", NULL};

#define FIELD(field) .name = #field, .offset = offsetof(soma_learning_rate_attrs, field)
static const soma_field rate_fields[] = {
    {FIELD(schedule), .type = SOMA_FIELD_ENUM, .choices = schedules, .doc = "how the rate depends on the step"},
    {FIELD(lr), .type = SOMA_FIELD_FLOAT, .preset = 0.01, .min = 0, .max = 1e6, .doc = "the rate; one_cycle: its peak"},
    {FIELD(decay), .type = SOMA_FIELD_FLOAT, .min = 0, .max = 1e6, .doc = "inverse_time: lr / (1 + decay step)"},
    {FIELD(total_steps), .type = SOMA_FIELD_INT, .preset = 1, .min = 1, .max = 1e15,
     .doc = "one_cycle: steps of the whole training; the last rate stays"},
    {0},
};

static soma_status rate_infer(soma_infer *i)
{
    if (soma_update_scalar(i, 0, "step", true) != SOMA_OK ||
        (i->n_in > 1 && soma_update_scalar(i, 1, "given", false) != SOMA_OK))
        return SOMA_INVALID;
    i->out[0] = (soma_type){SOMA_F32, {.rank = 0}};
    return SOMA_OK;
}

/* end + (start - end) / 2 (1 + cos(pi share)) */
static double anneal(double start, double end, double share)
{
    return end + (start - end) / 2 * (1 + soma_exact_cos(3.14159265358979323846 * share));
}

static double one_cycle(double peak, double total, double step)
{
    double first = peak / 25, last = first / 1e4, top = 0.3 * total - 1, end = total - 1;
    step = step > end ? end : step;
    return step <= top ? anneal(first, peak, step / top) : anneal(peak, last, (step - top) / (end - top));
}

double soma_learning_rate_at(const soma_learning_rate_attrs *a, double step)
{
    if (a->schedule == SOMA_SCHEDULE_INVERSE_TIME)
        return a->lr / (1 + a->decay * step);
    return a->schedule == SOMA_SCHEDULE_ONE_CYCLE ? one_cycle(a->lr, (double)a->total_steps, step) : a->lr;
}

typedef struct rate_state {
    soma_learning_rate_attrs attrs;
    bool has_given;
    soma_dtype given;
} rate_state;

static soma_status rate_run(const void *state, void *const *arg, soma_run *run)
{
    const rate_state *s = state;
    double given = s->has_given ? soma_get(arg[1], s->given, 0) : -1;
    (void)run;
    *(float *)arg[s->has_given ? 2 : 1] =
        (float)(given >= 0 ? given : soma_learning_rate_at(&s->attrs, *(const int32_t *)arg[0]));
    return SOMA_OK;
}

static soma_status rate_prepare(soma_prepare *p)
{
    rate_state *s = soma_prepare_state(p, sizeof *s);
    if (!s)
        return SOMA_MEMORY;
    s->attrs = *(const soma_learning_rate_attrs *)p->attrs;
    s->has_given = p->n_in > 1;
    s->given = s->has_given ? p->in[1].dtype : SOMA_F32;
    p->state = s;
    p->run = rate_run;
    return SOMA_OK;
}

static const soma_kernel rate_reference = {.name = "reference", .exact = true, .prepare = rate_prepare};

#define SAMPLE(title, text)                                                                                            \
    {                                                                                                                  \
        .name = title, .attrs = text, .in = (const soma_shape[]){{0, {0}}}, .fill = "k", .classes = 1000,              \
        .no_gradient = true                                                                                            \
    }
static const soma_sample rate_samples[] = {
    SAMPLE("constant", NULL),
    SAMPLE("inverse time", "schedule=inverse_time lr=0.1 decay=0.01"),
    SAMPLE("one cycle", "schedule=one_cycle lr=0.003 total_steps=1000"),
    {0},
};

const soma_op soma_op_learning_rate = {
    .name = "learning_rate",
    .doc =
        "The learning rate at a step: constant, inverse_time (Keras 2), one_cycle (Smith 2018, PyTorch's defaults); a "
        "second input, where it is at least 0, is the rate itself.",
    .required_in = 1,
    .optional_in = 1,
    .required_out = 1,
    .attrs_size = sizeof(soma_learning_rate_attrs),
    .fields = rate_fields,
    .error = SOMA_ERROR_ROUNDING,
    .infer = rate_infer,
    .kernels = (const soma_kernel *const[]){&rate_reference, NULL},
    .samples = rate_samples,
    .n_in_samples = 1,
};
