/* SPDX-License-Identifier: Apache-2.0
 *
 * op/pool2d/adaptive.c: mean pooling to a given size, torch.nn.AdaptiveAvgPool2d; to 1 x 1 it is ONNX
 * GlobalAveragePool.
 *
 *     adaptive_average_pool2d       y[n,c,i,j] = mean of x over bin (i, j): rows floor(i H / h) to
 *                                   ceil((i + 1) H / h) - 1, columns likewise; bins overlap where h does not divide H
 *     adaptive_average_pool2d_grad  dx = sum over the bins that hold dx's element of dy / elements of the bin
 */
#include "op/pool2d/adaptive.h"

#include "cpu/isa.h"
#include "cpu/parallel.h"
#include "graph/graph.h"
#include "tensor/element.h"
#include "op/sample.h"
#include <soma/ops.h>

#define AT(field) offsetof(soma_adaptive_attrs, field)
#define END                                                                                                            \
    {                                                                                                                  \
        NULL, 0, 0, 0, 0, 0, 0, NULL, NULL                                                                             \
    }
static const soma_field fields[] = {{"size", SOMA_FIELD_INTS, AT(size), 2, 1, 1, 1e6, NULL, "height and width of y"},
                                    END};
static const soma_field grad_fields[] = {
    {"input_size", SOMA_FIELD_INTS, AT(input_size), 2, 1, 1, 1e12, NULL, "height and width of dx"}, END};

/* ---- shapes ---- */

static soma_status infer(soma_infer *i)
{
    const soma_adaptive_attrs *a = i->attrs;
    const soma_shape *x = &i->in[0].shape;
    if (x->rank != 4 || x->dim[1] < 1 || x->dim[2] < 1 || x->dim[3] < 1)
        return soma_refuse(i->reason,
                           "x must have 4 dimensions [N, C, H, W], only the first of which may depend on the batch");
    if (!soma_is_float(i->in[0].dtype))
        return soma_refuse(i->reason, "x must be f32 or f64, not %s", soma_dtype_name(i->in[0].dtype));
    i->out[0] = (soma_type){i->in[0].dtype, SOMA_SHAPE(x->dim[0], x->dim[1], a->size[0], a->size[1])};
    return SOMA_OK;
}

static soma_status grad_infer(soma_infer *i)
{
    const soma_adaptive_attrs *a = i->attrs;
    const soma_shape *dy = &i->in[0].shape;
    if (dy->rank != 4 || !soma_is_float(i->in[0].dtype) || dy->dim[2] < 1 || dy->dim[3] < 1)
        return soma_refuse(i->reason, "dy must be f32 or f64 and have 4 dimensions [N, C, H, W]");
    i->out[0] = (soma_type){i->in[0].dtype, SOMA_SHAPE(dy->dim[0], dy->dim[1], a->input_size[0], a->input_size[1])};
    return SOMA_OK;
}

/* ---- gradients: each is the other's ---- */

static void grad(soma_gradient *g)
{
    soma_type x = soma_value_type(g->in[0]);
    soma_adaptive_attrs a = {.size = {1, 1}, .input_size = {x.shape.dim[2], x.shape.dim[3]}};
    if (g->want[0])
        g->din[0] = soma_apply1(soma_op_find("adaptive_average_pool2d_grad"), g->dout, 1, &a, NULL, soma_nowhere());
}

static void grad_grad(soma_gradient *g)
{
    soma_type dy = soma_value_type(g->in[0]);
    soma_adaptive_attrs a = {.size = {dy.shape.dim[2], dy.shape.dim[3]}, .input_size = {1, 1}};
    if (g->want[0])
        g->din[0] = soma_apply1(soma_op_find("adaptive_average_pool2d"), g->dout, 1, &a, NULL, soma_nowhere());
}

/* ---- reference kernels: threads share planes ---- */

typedef struct reference_state {
    soma_adaptive_case c;
    soma_dtype dtype;
    bool backward;
} reference_state;

typedef struct reference_job {
    const reference_state *s;
    void *const *arg;
} reference_job;

/* y at `small` from the plane of x at `big`, or dx there from dy. */
static void reference_bin(const reference_state *s, void *const *arg, int64_t big, int64_t small, int64_t oh,
                          int64_t ow)
{
    int64_t h0, h1, w0, w1;
    soma_adaptive_bin(oh, s->c.h, s->c.oh, &h0, &h1);
    soma_adaptive_bin(ow, s->c.w, s->c.ow, &w0, &w1);
    double count = (double)((h1 - h0) * (w1 - w0)), sum = 0;
    double share = s->backward ? soma_get(arg[0], s->dtype, small) / count : 0;
    for (int64_t h = h0; h < h1; h++)
        for (int64_t w = w0; w < w1; w++) {
            int64_t at = big + h * s->c.w + w;
            if (s->backward)
                soma_set(arg[1], s->dtype, at, soma_get(arg[1], s->dtype, at) + share);
            else
                sum += soma_get(arg[0], s->dtype, at);
        }
    if (!s->backward)
        soma_set(arg[1], s->dtype, small, sum / count);
}

static void part(void *context, int index, int count)
{
    const reference_job *job = context;
    const reference_state *s = job->s;
    int64_t begin, end, big = s->c.h * s->c.w, small = s->c.oh * s->c.ow;
    soma_share(s->c.n * s->c.c, 1, index, count, &begin, &end);
    for (int64_t plane = begin; plane < end; plane++) {
        for (int64_t i = 0; s->backward && i < big; i++)
            soma_set(job->arg[1], s->dtype, plane * big + i, 0);
        for (int64_t o = 0; o < small; o++)
            reference_bin(s, job->arg, plane * big, plane * small + o, o / s->c.ow, o % s->c.ow);
    }
}

static soma_status run(const void *state, void *const *arg, soma_run *r)
{
    reference_job job = {state, arg};
    soma_parallel(r->threads, part, &job);
    return SOMA_OK;
}

static soma_status prepare_reference(soma_prepare *p, bool backward)
{
    reference_state *s = soma_prepare_state(p, sizeof *s);
    if (!s)
        return SOMA_MEMORY;
    const soma_shape *in = &p->in[0].shape, *out = &p->out[0].shape;
    s->c = soma_adaptive_case_of(backward ? out : in, backward ? in : out);
    s->dtype = p->in[0].dtype;
    s->backward = backward;
    p->state = s;
    p->run = run;
    p->parallel = true;
    return SOMA_OK;
}

static soma_status prepare(soma_prepare *p)
{
    return prepare_reference(p, false);
}
static soma_status grad_prepare(soma_prepare *p)
{
    return prepare_reference(p, true);
}
static const soma_kernel reference = {.name = "reference", .exact = true, .prepare = prepare};
static const soma_kernel grad_reference = {.name = "reference", .exact = true, .prepare = grad_prepare};

/* ---- samples ---- */

#define S SOMA_DIMS
static const soma_sample samples[] = {
    {"global", NULL, (const soma_shape[]){S(SOMA_N, 3, 5, 7)}, NULL, 0, false},
    {"overlapping bins", "size=3,2", (const soma_shape[]){S(SOMA_N, 2, 5, 7)}, NULL, 0, false},
    {"even bins", "size=2,3", (const soma_shape[]){S(1, 3, 4, 6)}, NULL, 0, false},
    {"same size", "size=4,5", (const soma_shape[]){S(2, 2, 4, 5)}, NULL, 0, false},
    {"larger", "size=7,7", (const soma_shape[]){S(SOMA_N, 2, 3, 4)}, NULL, 0, false},
    {"64 channels, global", NULL, (const soma_shape[]){S(SOMA_N, 64, 7, 7)}, NULL, 0, true},
    {"48 channels, overlapping", "size=3,4", (const soma_shape[]){S(2, 48, 7, 9)}, NULL, 0, true},
    {"600 channels, global", NULL, (const soma_shape[]){S(1, 600, 3, 5)}, NULL, 0, true},
    {NULL, NULL, NULL, NULL, 0, false}};
static const soma_sample grad_samples[] = {
    {"global", "input_size=5,7", (const soma_shape[]){S(SOMA_N, 3, 1, 1)}, NULL, 0, false},
    {"overlapping bins", "input_size=5,7", (const soma_shape[]){S(SOMA_N, 2, 3, 2)}, NULL, 0, false},
    {"even bins", "input_size=4,6", (const soma_shape[]){S(1, 3, 2, 3)}, NULL, 0, false},
    {"larger", "input_size=3,4", (const soma_shape[]){S(SOMA_N, 2, 7, 7)}, NULL, 0, false},
    {"64 channels, global", "input_size=7,7", (const soma_shape[]){S(SOMA_N, 64, 1, 1)}, NULL, 0, true},
    {"48 channels, overlapping", "input_size=7,9", (const soma_shape[]){S(2, 48, 3, 4)}, NULL, 0, true},
    {"600 channels, global", "input_size=3,5", (const soma_shape[]){S(1, 600, 1, 1)}, NULL, 0, true},
    {NULL, NULL, NULL, NULL, 0, false}};

/* ---- the ops ---- */

SOMA_BF16_DECLARE(soma_adaptive_average_pool2d_cpu)
SOMA_ISA_DECLARE(soma_adaptive_average_pool2d_cpu)
SOMA_BF16_DECLARE(soma_adaptive_average_pool2d_grad_cpu)
SOMA_ISA_DECLARE(soma_adaptive_average_pool2d_grad_cpu)

const soma_op soma_op_adaptive_average_pool2d = {
    .name = "adaptive_average_pool2d",
    .doc = "Mean over bins of H and W that make a result of the given size; 1 x 1: the mean of each feature map",
    .onnx = "GlobalAveragePool",
    .required_in = 1,
    .required_out = 1,
    .attrs_size = sizeof(soma_adaptive_attrs),
    .fields = fields,
    .error = SOMA_ERROR_SUM,
    .infer = infer,
    .grad = grad,
    .kernels = (const soma_kernel *const[]){SOMA_BF16_LIST(soma_adaptive_average_pool2d_cpu)
                                                    SOMA_ISA_LIST(soma_adaptive_average_pool2d_cpu) &
                                                reference,
                                            NULL},
    .samples = samples,
    .n_in_samples = 1};
const soma_op soma_op_adaptive_average_pool2d_grad = {
    .name = "adaptive_average_pool2d_grad",
    .doc = "Gradient of adaptive_average_pool2d: dy is spread over its bin",
    .required_in = 1,
    .required_out = 1,
    .attrs_size = sizeof(soma_adaptive_attrs),
    .fields = grad_fields,
    .error = SOMA_ERROR_SUM,
    .infer = grad_infer,
    .grad = grad_grad,
    .kernels = (const soma_kernel *const[]){SOMA_BF16_LIST(soma_adaptive_average_pool2d_grad_cpu)
                                                    SOMA_ISA_LIST(soma_adaptive_average_pool2d_grad_cpu) &
                                                grad_reference,
                                            NULL},
    .samples = grad_samples,
    .n_in_samples = 1};
