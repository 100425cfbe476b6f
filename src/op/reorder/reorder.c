/* SPDX-License-Identifier: Apache-2.0
 *
 * op/reorder/reorder.c: two ops that planning inserts. Neither changes a logical element's value.
 *
 *     reorder      out = in, in another layout
 *     accumulate   out = sum + x, in place, element by element of the raw arrays, which share one layout (or packing):
 *                  how gradients of the pieces of a batch add up
 */
#include "op/reorder/reorder.h"
#include "cpu/isa.h"
#include "cpu/parallel.h"
#include "library/onednn/onednn.h"
#include "graph/graph.h"
#include "tensor/element.h"
#include "op/sample.h"

#include <string.h>

/* ---- reorder ---- */

static soma_status reorder_infer(soma_infer *i)
{
    i->out[0] = i->in[0];
    return SOMA_OK;
}

static void reorder_grad(soma_gradient *g)
{
    g->din[0] = g->dout[0];
}

typedef struct reorder_state {
    int64_t channels, plane, elements, from, to; /* from, to: channels side by side */
    int64_t sample, in_step, out_step;           /* elements of a sample, and from one to the next */
    size_t size;
} reorder_state;

static soma_status reorder_run(const void *state, void *const *arg, soma_run *run)
{
    const reorder_state *s = state;
    (void)run;
    for (int64_t i = 0; i < s->elements; i++) { /* i counts in plain order */
        int64_t p = i % s->plane, c = i / s->plane % s->channels, first = i - c * s->plane - p;
        int64_t from = first + (c / s->from * s->plane + p) * s->from + c % s->from;
        int64_t to = first + (c / s->to * s->plane + p) * s->to + c % s->to;
        from += i / s->sample * (s->in_step - s->sample);
        to += i / s->sample * (s->out_step - s->sample);
        memcpy((char *)arg[1] + (size_t)to * s->size, (const char *)arg[0] + (size_t)from * s->size, s->size);
    }
    return SOMA_OK;
}

soma_status soma_reorder_accept(soma_prepare *p)
{
    if (p->in[0].layout.kind == SOMA_PACKED || p->out[0].layout.kind == SOMA_PACKED)
        soma_refuse(p->reason, "a packed array is read by whoever packed it");
    else if (p->in[0].dtype != p->out[0].dtype)
        soma_refuse(p->reason, "moves elements, does not convert them");
    else
        return SOMA_OK;
    return SOMA_UNSUPPORTED;
}

static soma_status reorder_prepare(soma_prepare *p)
{
    const soma_shape *x = &p->in[0].shape;
    reorder_state *s = soma_prepare_state(p, sizeof *s);
    if (!s)
        return SOMA_MEMORY;
    *s = (reorder_state){.channels = 1,
                         .plane = 1,
                         .elements = p->in[0].elements,
                         .from = 1,
                         .to = 1,
                         .sample = p->in[0].elements / (x->rank ? x->dim[0] : 1),
                         .size = soma_dtype_size(p->in[0].dtype)};
    s->in_step = p->in[0].layout.batch_stride ? p->in[0].layout.batch_stride : s->sample;
    s->out_step = p->out[0].layout.batch_stride ? p->out[0].layout.batch_stride : s->sample;
    if (x->rank == 4) {
        s->channels = x->dim[1];
        s->plane = x->dim[2] * x->dim[3];
        s->from = soma_layout_block(&p->in[0]);
        s->to = soma_layout_block(&p->out[0]);
    }
    p->state = s;
    p->run = reorder_run;
    return SOMA_OK;
}

#define S SOMA_DIMS
static const soma_sample reorder_samples[] = {{"image", NULL, (const soma_shape[]){S(SOMA_N, 3, 5, 7)}, NULL, 0, false},
                                              {"vector", NULL, (const soma_shape[]){S(19)}, NULL, 0, false},
                                              {NULL, NULL, NULL, NULL, 0, false}};

SOMA_BF16_DECLARE(soma_cast_cpu)
SOMA_ISA_DECLARE(soma_reorder_cpu)
SOMA_ISA_DECLARE(soma_reorder_winograd_cpu)
SOMA_ISA_DECLARE(soma_reorder_pointwise_cpu)
SOMA_ISA_DECLARE(soma_reorder_tiles_cpu)
SOMA_ONEDNN_DECLARE(soma_reorder_onednn)
static const soma_kernel reorder_reference = {.name = "reference",
                                              .exact = true,
                                              .bf16 = SOMA_BF16_FOLLOW,
                                              .layouts = SOMA_LAYOUT_CONVERT,
                                              .strided = SOMA_STRIDED_ALL,
                                              .accept = soma_reorder_accept,
                                              .prepare = reorder_prepare};
static const soma_kernel *const reorder_kernels[] = {
    SOMA_BF16_LIST(soma_cast_cpu) SOMA_ISA_LIST(soma_reorder_cpu) SOMA_ISA_LIST(soma_reorder_winograd_cpu)
            SOMA_ISA_LIST(soma_reorder_pointwise_cpu) SOMA_ISA_LIST(soma_reorder_tiles_cpu)
                SOMA_ONEDNN_LIST(soma_reorder_onednn) &
        reorder_reference,
    NULL};

const soma_op soma_op_reorder = {
    .name = "reorder",
    .doc = "The same array in another layout; planning inserts it where two kernels disagree",
    .required_in = 1,
    .required_out = 1,
    .batch = SOMA_BATCH_EACH,
    .infer = reorder_infer,
    .grad = reorder_grad,
    .kernels = reorder_kernels,
    .samples = reorder_samples,
    .n_in_samples = 1};

/* ---- accumulate ---- */

static soma_status accumulate_infer(soma_infer *i)
{
    if (!soma_is_float(i->in[0].dtype) || i->in[1].dtype != i->in[0].dtype ||
        !soma_same_shape(&i->in[0].shape, &i->in[1].shape))
        return soma_refuse(i->reason, "the sum and what is added must have one shape and one type, f32 or f64");
    i->out[0] = i->in[0];
    return SOMA_OK;
}

static void accumulate_grad(soma_gradient *g)
{
    g->din[0] = g->dout[0];
    g->din[1] = g->dout[0];
}

typedef struct accumulate_state {
    int64_t n;
    soma_dtype dtype;
} accumulate_state;

static soma_status accumulate_run(const void *state, void *const *arg, soma_run *run)
{
    const accumulate_state *s = state;
    (void)run;
    for (int64_t i = 0; i < s->n; i++)
        soma_set(arg[2], s->dtype, i, soma_get(arg[0], s->dtype, i) + soma_get(arg[1], s->dtype, i));
    return SOMA_OK;
}

static soma_status accumulate_prepare(soma_prepare *p)
{
    const soma_arg *x = &p->in[0];
    accumulate_state *s = soma_prepare_state(p, sizeof *s);
    if (!s)
        return SOMA_MEMORY;
    s->dtype = x->dtype;
    s->n = x->layout.kind == SOMA_PACKED ? (int64_t)(x->layout.bytes / soma_dtype_size(x->dtype)) : x->elements;
    p->state = s;
    p->run = accumulate_run;
    return SOMA_OK;
}

static const soma_sample accumulate_samples[] = {
    {"matrix", NULL, (const soma_shape[]){S(5, 7), S(5, 7)}, NULL, 0, false},
    {"image", NULL, (const soma_shape[]){S(2, 3, 4, 5), S(2, 3, 4, 5)}, NULL, 0, false},
    {"large", NULL, (const soma_shape[]){S(513, 1031), S(513, 1031)}, NULL, 0, true},
    {NULL, NULL, NULL, NULL, 0, false}};

SOMA_ISA_DECLARE(soma_accumulate_cpu)
static const soma_kernel accumulate_reference = {
    .name = "reference", .exact = true, .layouts = SOMA_LAYOUT_FOLLOW, .prepare = accumulate_prepare};
static const soma_kernel *const accumulate_kernels[] = {SOMA_ISA_LIST(soma_accumulate_cpu) & accumulate_reference,
                                                        NULL};

const soma_op soma_op_accumulate = {.name = "accumulate",
                                    .doc = "sum + x, in place: adds up the gradients of the pieces of a batch",
                                    .required_in = 2,
                                    .required_out = 1,
                                    .batch = SOMA_BATCH_EACH,
                                    .inplace_in = 1,
                                    .error = SOMA_ERROR_SUM,
                                    .infer = accumulate_infer,
                                    .grad = accumulate_grad,
                                    .kernels = accumulate_kernels,
                                    .samples = accumulate_samples,
                                    .n_in_samples = 2};
