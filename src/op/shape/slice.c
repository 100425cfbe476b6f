/* SPDX-License-Identifier: Apache-2.0
 *
 * op/shape/slice.c: y = x[begin .. end - 1] along one axis, and slice_grad, its inverse: dy in an array of zeros.
 * Each is the other's gradient.
 */
#include "cpu/parallel.h"
#include "graph/graph.h"
#include "tensor/element.h"
#include "op/shape/shape.h"
#include "base/fields.h"
#include <soma/ops.h>

#include <string.h>

#define AXIS_FIELD(attrs)                                                                                              \
    {                                                                                                                  \
        .name = "axis", .type = SOMA_FIELD_INT, .offset = offsetof(attrs, axis), .max = SOMA_MAX_RANK - 1,             \
        .preset = 1, .doc = "not the batch"                                                                            \
    }

static const soma_field fields[] = {
    AXIS_FIELD(soma_slice_attrs),
    {.name = "begin",
     .type = SOMA_FIELD_INT,
     .offset = offsetof(soma_slice_attrs, begin),
     .max = 0x1p40,
     .doc = "the first element"},
    {.name = "end",
     .type = SOMA_FIELD_INT,
     .offset = offsetof(soma_slice_attrs, end),
     .max = 0x1p40,
     .doc = "one past the last element; 0: the axis' end"},
    {0},
};

static const soma_field grad_fields[] = {
    AXIS_FIELD(soma_slice_grad_attrs),
    {.name = "begin",
     .type = SOMA_FIELD_INT,
     .offset = offsetof(soma_slice_grad_attrs, begin),
     .max = 0x1p40,
     .doc = "where dy begins"},
    {.name = "size",
     .type = SOMA_FIELD_INT,
     .offset = offsetof(soma_slice_grad_attrs, size),
     .min = 1,
     .max = 0x1p40,
     .preset = 1,
     .doc = "size of the axis in the result"},
    {0},
};

static soma_status check_axis(soma_infer *i, int64_t axis)
{
    char text[96];
    if (axis >= i->in[0].shape.rank)
        return soma_refuse(i->reason, "axis is %d, but x is %s", (int)axis, soma_type_text(&i->in[0], text));
    if (i->in[0].shape.dim[axis] < 0)
        return soma_refuse(i->reason, "axis %d is the batch of %s; samples cannot be sliced off", (int)axis,
                           soma_type_text(&i->in[0], text));
    return SOMA_OK;
}

static soma_status infer(soma_infer *i)
{
    const soma_slice_attrs *a = i->attrs;
    char text[96];
    if (check_axis(i, a->axis) != SOMA_OK)
        return SOMA_INVALID;
    int64_t size = i->in[0].shape.dim[a->axis], end = a->end ? a->end : size;
    if (a->begin >= end || end > size)
        return soma_refuse(i->reason, "elements %lld to %lld (exclusive) of axis %d do not lie in %s",
                           (long long)a->begin, (long long)end, (int)a->axis, soma_type_text(&i->in[0], text));
    i->out[0] = i->in[0];
    i->out[0].shape.dim[a->axis] = end - a->begin;
    return SOMA_OK;
}

static bool parts(const void *attrs, soma_parts *parts)
{
    const soma_slice_attrs *a = attrs;
    *parts = (soma_parts){.axis = (int)a->axis, .begin = a->begin};
    return true;
}

static soma_status grad_infer(soma_infer *i)
{
    const soma_slice_grad_attrs *a = i->attrs;
    char text[96];
    if (check_axis(i, a->axis) != SOMA_OK)
        return SOMA_INVALID;
    if (a->begin + i->in[0].shape.dim[a->axis] > a->size)
        return soma_refuse(i->reason, "dy is %s and begins at %lld of axis %d, but that axis has only %lld elements",
                           soma_type_text(&i->in[0], text), (long long)a->begin, (int)a->axis, (long long)a->size);
    i->out[0] = i->in[0];
    i->out[0].shape.dim[a->axis] = a->size;
    return SOMA_OK;
}

static void gradient(soma_gradient *g)
{
    const soma_slice_attrs *a = g->attrs;
    if (!g->want[0])
        return;
    soma_slice_grad_attrs b = {a->axis, a->begin, soma_value_type(g->in[0]).shape.dim[a->axis]};
    extern const soma_op soma_op_slice_grad;
    g->din[0] = soma_apply1(&soma_op_slice_grad, &g->dout[0], 1, &b, NULL, soma_nowhere());
}

static void grad_gradient(soma_gradient *g)
{
    const soma_slice_grad_attrs *a = g->attrs;
    int64_t size = soma_value_type(g->in[0]).shape.dim[a->axis];
    if (g->want[0])
        g->din[0] = soma_slice(g->dout[0], .axis = (int)a->axis, .begin = a->begin, .end = a->begin + size);
}

/* ---- kernels: blocks of the long array, each with its slice (see shape.h) ---- */

typedef struct slice_state {
    int64_t blocks;
    int threads;
    size_t skip, bytes, rest; /* of a block: before the slice, of the slice, behind it */
    size_t whole, slice;      /* from a block to the next */
} slice_state;

typedef struct slice_job {
    const slice_state *s;
    void *const *arg;
    bool grad;
} slice_job;

static void slice_share(void *context, int index, int count)
{
    const slice_job *job = context;
    const slice_state *s = job->s;
    int64_t begin, end;
    soma_share(s->blocks, 1, index, count, &begin, &end);
    for (int64_t i = begin; i < end; i++) {
        const char *x = (const char *)job->arg[0] + (size_t)i * (job->grad ? s->slice : s->whole);
        char *y = (char *)job->arg[1] + (size_t)i * (job->grad ? s->whole : s->slice);
        if (job->grad) {
            memset(y, 0, s->skip);
            memset(y + s->skip + s->bytes, 0, s->rest);
        }
        memcpy(y + (job->grad ? s->skip : 0), x + (job->grad ? 0 : s->skip), s->bytes);
    }
}

static soma_status run(const slice_state *s, void *const *arg, const soma_run *run, bool grad)
{
    slice_job job = {s, arg, grad};
    soma_run_parallel(run, s->threads, slice_share, &job);
    return SOMA_OK;
}

static soma_status run_slice(const void *state, void *const *arg, soma_run *r)
{
    return run(state, arg, r, false);
}

static soma_status run_slice_grad(const void *state, void *const *arg, soma_run *r)
{
    return run(state, arg, r, true);
}

static soma_status prepare_blocks(soma_prepare *p, const soma_arg *whole, const soma_arg *slice, int64_t axis,
                                  int64_t begin)
{
    slice_state *s = soma_prepare_state(p, sizeof *s);
    if (!s)
        return SOMA_MEMORY;
    size_t size = soma_dtype_size(whole->dtype), block;
    s->blocks = soma_blocks_before(whole, (int)axis);
    block = (size_t)(whole->elements / s->blocks) * size;
    s->bytes = (size_t)(slice->elements / s->blocks) * size;
    s->skip = block / (size_t)whole->shape.dim[axis] * (size_t)begin;
    s->rest = block - s->skip - s->bytes;
    s->whole = soma_block_step(whole, s->blocks);
    s->slice = soma_block_step(slice, s->blocks);
    s->threads = (int64_t)s->bytes * s->blocks >= SOMA_COPY_PARALLEL ? p->threads : 1;
    p->parallel = s->threads > 1;
    p->state = s;
    return SOMA_OK;
}

static soma_status prepare(soma_prepare *p)
{
    const soma_slice_attrs *a = p->attrs;
    p->run = run_slice;
    return prepare_blocks(p, &p->in[0], &p->out[0], a->axis, a->begin);
}

static soma_status grad_prepare(soma_prepare *p)
{
    const soma_slice_grad_attrs *a = p->attrs;
    p->run = run_slice_grad;
    return prepare_blocks(p, &p->out[0], &p->in[0], a->axis, a->begin);
}

static soma_status accept_channels(soma_prepare *p)
{
    if (((const soma_slice_attrs *)p->attrs)->axis == 1 && p->out[0].shape.rank == 4)
        return SOMA_OK;
    return soma_refuse(p->reason, "this kernel takes channels of images");
}

/* In a blocked layout a slice of channels is a run of bytes where it begins at a whole block. */
static soma_status prepare_channels(soma_prepare *p)
{
    soma_layout_kind kind = p->in[0].layout.kind;
    int64_t block = kind == SOMA_NCHW16C ? 16 : kind == SOMA_NCHW8C ? 8 : 1;
    if (((const soma_slice_attrs *)p->attrs)->begin % block)
        return soma_refuse(p->reason, "the slice begins inside a block of %lld channels", (long long)block);
    return prepare(p);
}

static const soma_kernel channels = {.name = "copy channels",
                                     .exact = true,
                                     .bf16 = SOMA_BF16_FOLLOW,
                                     .layouts = SOMA_LAYOUT_TOGETHER,
                                     .strided = SOMA_STRIDED_ALL,
                                     .accept = accept_channels,
                                     .prepare = prepare_channels};
static const soma_kernel reference = {.name = "copy", .exact = true, .prepare = prepare};
static const soma_kernel grad_reference = {.name = "copy", .exact = true, .prepare = grad_prepare};

static const soma_sample samples[] = {
    {.name = "columns", .attrs = "begin=2 end=5", .in = (const soma_shape[]){{2, {SOMA_N, 7}}}},
    {.name = "to the end", .attrs = "begin=3", .in = (const soma_shape[]){{2, {SOMA_N, 7}}}},
    {.name = "channels", .attrs = "begin=1 end=2", .in = (const soma_shape[]){{4, {SOMA_N, 3, 5, 7}}}},
    {.name = "blocks of channels", .attrs = "begin=16 end=48", .in = (const soma_shape[]){{4, {SOMA_N, 64, 3, 5}}}},
    {.name = "inside a block", .attrs = "begin=8 end=40", .in = (const soma_shape[]){{4, {SOMA_N, 64, 3, 5}}}},
    {.name = "last", .attrs = "axis=3 begin=1 end=6", .in = (const soma_shape[]){{4, {2, 3, 5, 7}}}},
    {.name = "front", .attrs = "axis=0 end=2", .in = (const soma_shape[]){{3, {5, 3, 2}}}},
    {.name = "all", .attrs = "axis=0", .in = (const soma_shape[]){{1, {5}}}},
    {0},
};

static const soma_sample grad_samples[] = {
    {.name = "columns", .attrs = "begin=2 size=7", .in = (const soma_shape[]){{2, {SOMA_N, 3}}}},
    {.name = "channels", .attrs = "begin=1 size=3", .in = (const soma_shape[]){{4, {SOMA_N, 1, 5, 7}}}},
    {.name = "front", .attrs = "axis=0 size=5", .in = (const soma_shape[]){{2, {2, 3}}}},
    {0},
};

const soma_op soma_op_slice = {
    .name = "slice",
    .doc = "Elements begin to end (exclusive) along one axis.",
    .onnx = "Slice",
    .required_in = 1,
    .required_out = 1,
    .attrs_size = sizeof(soma_slice_attrs),
    .fields = fields,
    .infer = infer,
    .parts = parts,
    .grad = gradient,
    .kernels = (const soma_kernel *const[]){&channels, &reference, NULL},
    .samples = samples,
    .n_in_samples = 1,
};

const soma_op soma_op_slice_grad = {
    .name = "slice_grad",
    .doc = "Gradient of slice: dy in an array of zeros.",
    .required_in = 1,
    .required_out = 1,
    .attrs_size = sizeof(soma_slice_grad_attrs),
    .fields = grad_fields,
    .infer = grad_infer,
    .grad = grad_gradient,
    .kernels = (const soma_kernel *const[]){&grad_reference, NULL},
    .samples = grad_samples,
    .n_in_samples = 1,
};

SOMA_TABLE(soma_slice_options) = {
    SOMA_OTHER(soma_slice_options, x, .doc = "what it is computed from"),
    SOMA_INT(soma_slice_options, axis, 0, ANY, .doc = "one axis"),
    SOMA_INT(soma_slice_options, begin, 0, ANY, .doc = "the first that is kept"),
    SOMA_INT(soma_slice_options, end, 0, ANY, .doc = "the first that is not kept any more; 0: all to the end are"),
    SOMA_FIELDS_END};

soma_value soma_slice_with(const soma_slice_options *given)
{
    soma_slice_options o;
    soma_value failed;
    if (!SOMA_TAKE_X("slice", soma_slice_options, given, &o, &failed))
        return failed;
    soma_slice_attrs a = {o.axis, o.begin, o.end};
    if (soma_ok(o.x)) { /* resolved: what a file says does not depend on the shape it met */
        soma_shape x = soma_value_type(o.x).shape;
        if (!a.end && a.axis >= 0 && a.axis < x.rank && x.dim[a.axis] > 0)
            a.end = x.dim[a.axis];
    }
    return soma_apply1(&soma_op_slice, &o.x, 1, &a, NULL, o.at);
}
