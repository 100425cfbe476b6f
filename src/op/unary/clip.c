/* SPDX-License-Identifier: Apache-2.0
 *
 * op/unary/clip.c: y = min(max(x, min), max), ONNX Clip and torch.clamp, and its gradient, which reads x:
 *     clip_grad     dx = dy where min < x < max or x is NaN, else 0
 * At the limits it is 0, as in PyTorch since 2.15.
 */
#include "op/unary/clip.h"

#include "backend/cpu/isa.h"
#include "backend/cpu/parallel.h"
#include "base/zero.h"
#include "graph/graph.h"
#include "op/element.h"
#include "op/sample.h"
#include "op/unary/unary.h"
#include <soma/ops.h>

#define LARGEST 3.4028234663852886e38 /* of f32: a limit that is none */

static const soma_field fields[] = {{.name = "min",
                                     .type = SOMA_FIELD_FLOAT,
                                     .offset = offsetof(soma_clip_attrs, min),
                                     .min = -LARGEST,
                                     .max = LARGEST,
                                     .doc = "what is below becomes it"},
                                    {.name = "max",
                                     .type = SOMA_FIELD_FLOAT,
                                     .offset = offsetof(soma_clip_attrs, max),
                                     .min = -LARGEST,
                                     .max = LARGEST,
                                     .doc = "what is above becomes it"},
                                    {0}};

/* ---- shapes ---- */

static soma_status infer(soma_infer *i)
{
    const soma_clip_attrs *a = i->attrs;
    char text[96], other[96];
    if (!soma_is_float(i->in[0].dtype))
        return soma_refuse(i->reason, "x must be f32 or f64, got %s", soma_type_text(&i->in[0], text));
    if (i->n_in == 2 && (i->in[1].dtype != i->in[0].dtype || !soma_same_shape(&i->in[0].shape, &i->in[1].shape)))
        return soma_refuse(i->reason, "dy and x must be of one type and shape, got %s and %s",
                           soma_type_text(&i->in[0], text), soma_type_text(&i->in[1], other));
    if (!(a->min <= a->max))
        return soma_refuse(i->reason, "min is %g and max %g, but min must not be greater", a->min, a->max);
    i->out[0] = i->in[0];
    return SOMA_OK;
}

static double flops(const void *attrs, const soma_arg *in, int n_in, const soma_arg *out)
{
    (void)attrs, (void)in, (void)n_in;
    return (double)out[0].elements;
}

/* ---- gradients ---- */

static void grad(soma_gradient *g)
{
    const soma_value in[2] = {g->dout[0], g->in[0]};
    if (g->want[0])
        g->din[0] = soma_apply1(soma_op_find("clip_grad"), in, 2, g->attrs, NULL, soma_nowhere());
}

/* Linear in dy; with respect to x it is 0 almost everywhere. */
static void grad_grad(soma_gradient *g)
{
    const soma_value in[2] = {g->dout[0], g->in[1]};
    if (g->want[0])
        g->din[0] = soma_apply1(soma_op_find("clip_grad"), in, 2, g->attrs, NULL, soma_nowhere());
}

/* ---- reference kernels ---- */

soma_status soma_clip_prepare(soma_prepare *p, soma_run_fn run)
{
    const soma_clip_attrs *a = p->attrs;
    soma_clip_state *s = soma_prepare_state(p, sizeof *s);
    if (!s)
        return SOMA_MEMORY;
    *s = (soma_clip_state){.n = p->out[0].elements, .min = a->min, .max = a->max, .dtype = p->out[0].dtype};
    s->threads = s->n >= SOMA_ELEMENTWISE_PARALLEL ? p->threads : 1;
    p->parallel = s->threads > 1;
    p->state = s;
    p->run = run;
    return SOMA_OK;
}

typedef struct clip_job {
    const soma_clip_state *s;
    void *const *arg;
} clip_job;

static void part(void *context, int index, int count)
{
    const clip_job *job = context;
    const soma_clip_state *s = job->s;
    int64_t begin, end;
    soma_share(s->n, 16, index, count, &begin, &end);
    for (int64_t i = begin; i < end; i++) {
        double x = soma_get(job->arg[0], s->dtype, i);
        soma_set(job->arg[1], s->dtype, i, x < s->min ? s->min : x > s->max ? s->max : x); /* NaN stays NaN */
    }
}

static void grad_part(void *context, int index, int count)
{
    const clip_job *job = context;
    const soma_clip_state *s = job->s;
    int64_t begin, end;
    soma_share(s->n, 16, index, count, &begin, &end);
    for (int64_t i = begin; i < end; i++) {
        double x = soma_get(job->arg[1], s->dtype, i);
        soma_set(job->arg[2], s->dtype, i, x <= s->min || x >= s->max ? 0 : soma_get(job->arg[0], s->dtype, i));
    }
}

#define REFERENCE(op_name, fn)                                                                                         \
    static soma_status op_name##_run(const void *state, void *const *arg, soma_run *run)                               \
    {                                                                                                                  \
        const soma_clip_state *s = state;                                                                              \
        clip_job job = {s, arg};                                                                                       \
        soma_run_parallel(run, s->threads, fn, &job);                                                                  \
        return SOMA_OK;                                                                                                \
    }                                                                                                                  \
    static soma_status op_name##_prepare(soma_prepare *p)                                                              \
    {                                                                                                                  \
        return soma_clip_prepare(p, op_name##_run);                                                                    \
    }                                                                                                                  \
    static const soma_kernel op_name##_reference = {                                                                   \
        .name = "reference", .exact = true, .layouts = SOMA_LAYOUT_FOLLOW, .prepare = op_name##_prepare};              \
    SOMA_BF16_DECLARE(soma_##op_name##_cpu)                                                                            \
    SOMA_ISA_DECLARE(soma_##op_name##_cpu)

REFERENCE(clip, part)
REFERENCE(clip_grad, grad_part)

/* ---- samples ---- */

#define S SOMA_DIMS
#define AT "min=-0.25 max=0.5" /* samples keep away from 0 by 0.3: nothing lies near a limit */
static const soma_sample samples[] = {
    {.name = "scalar", .attrs = AT, .in = (const soma_shape[]){{0, {0}}}, .fill = "p"},
    {.name = "batch", .attrs = AT, .in = (const soma_shape[]){S(SOMA_N, 5)}, .fill = "s"},
    {.name = "one side", .attrs = "min=0.26 max=1e9", .in = (const soma_shape[]){S(1, 1, 19)}, .fill = "s"},
    {.name = "image", .attrs = "min=-1 max=1", .in = (const soma_shape[]){S(SOMA_N, 3, 5, 7)}, .fill = "n"},
    {.name = "large", .attrs = "min=-1 max=1", .in = (const soma_shape[]){S(261, 263)}, .no_gradient = true},
    {0}};
static const soma_sample grad_samples[] = {
    {.name = "batch", .attrs = AT, .in = (const soma_shape[]){S(SOMA_N, 5), S(SOMA_N, 5)}, .fill = "ns"},
    {.name = "image", .attrs = "min=-1 max=1", .in = (const soma_shape[]){S(1, 3, 5, 7), S(1, 3, 5, 7)}, .fill = "nn"},
    {.name = "large",
     .attrs = "min=-1 max=1",
     .in = (const soma_shape[]){S(261, 263), S(261, 263)},
     .no_gradient = true},
    {0}};

/* ---- the ops ---- */

const soma_op soma_op_clip = {
    .name = "clip",
    .doc = "y = min(max(x, min), max); NaN stays NaN. The gradient passes where min < x < max.",
    .onnx = "Clip",
    .required_in = 1,
    .required_out = 1,
    .attrs_size = sizeof(soma_clip_attrs),
    .fields = fields,
    .inplace_in = 1,
    .infer = infer,
    .grad = grad,
    .flops = flops,
    .kernels = (const soma_kernel *const[]){SOMA_BF16_LIST(soma_clip_cpu) SOMA_ISA_LIST(soma_clip_cpu) & clip_reference,
                                            NULL},
    .samples = samples,
    .n_in_samples = 1,
};
const soma_op soma_op_clip_grad = {
    .name = "clip_grad",
    .doc = "Gradient of clip: dx = dy where min < x < max, else 0. Inputs dy, x.",
    .required_in = 2,
    .required_out = 1,
    .attrs_size = sizeof(soma_clip_attrs),
    .fields = fields,
    .inplace_in = 1,
    .infer = infer,
    .grad = grad_grad,
    .flops = flops,
    .kernels = (const soma_kernel *const[]){SOMA_BF16_LIST(soma_clip_grad_cpu) SOMA_ISA_LIST(soma_clip_grad_cpu) &
                                                clip_grad_reference,
                                            NULL},
    .samples = grad_samples,
    .n_in_samples = 2,
};

soma_value soma_clip_with(const soma_clip_options *o)
{
    const soma_clip_attrs a = {soma_plain(o->min), soma_plain(o->max)};
    return soma_apply1(&soma_op_clip, &o->x, 1, &a, NULL, o->at);
}
