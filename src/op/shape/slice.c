/* SPDX-License-Identifier: Apache-2.0
 *
 * op/shape/slice.c: y = x[begin .. end - 1] along one axis, and slice_grad, its inverse: dy in an array of zeros.
 * Each is the other's gradient.
 */
#include "graph/graph.h"
#include "op/element.h"
#include "op/shape/shape.h"
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

/* ---- kernels: blocks of the long array, each with its slice ---- */

typedef struct slice_state {
    int64_t blocks;
    size_t block, skip, bytes; /* bytes of a block of the long array, before the slice, and of the slice */
} slice_state;

static soma_status run_slice(const void *state, void *const *arg, soma_run *run)
{
    (void)run;
    const slice_state *s = state;
    const char *x = (const char *)arg[0] + s->skip;
    char *y = arg[1];
    for (int64_t i = 0; i < s->blocks; i++, x += s->block, y += s->bytes)
        memcpy(y, x, s->bytes);
    return SOMA_OK;
}

static soma_status run_slice_grad(const void *state, void *const *arg, soma_run *run)
{
    (void)run;
    const slice_state *s = state;
    const char *dy = arg[0];
    char *dx = arg[1];
    for (int64_t i = 0; i < s->blocks; i++, dx += s->block, dy += s->bytes) {
        memset(dx, 0, s->skip);
        memcpy(dx + s->skip, dy, s->bytes);
        memset(dx + s->skip + s->bytes, 0, s->block - s->skip - s->bytes);
    }
    return SOMA_OK;
}

static soma_status prepare_blocks(soma_prepare *p, const soma_arg *whole, const soma_arg *slice, int64_t axis,
                                  int64_t begin)
{
    slice_state *s = soma_prepare_state(p, sizeof *s);
    if (!s)
        return SOMA_MEMORY;
    s->blocks = 1;
    for (int k = 0; k < (int)axis; k++)
        s->blocks *= whole->shape.dim[k];
    size_t size = soma_dtype_size(whole->dtype);
    s->block = (size_t)(whole->elements / s->blocks) * size;
    s->bytes = (size_t)(slice->elements / s->blocks) * size;
    s->skip = s->block / (size_t)whole->shape.dim[axis] * (size_t)begin;
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

static const soma_kernel reference = {.name = "copy", .exact = true, .prepare = prepare};
static const soma_kernel grad_reference = {.name = "copy", .exact = true, .prepare = grad_prepare};

static const soma_sample samples[] = {
    {.name = "columns", .attrs = "begin=2 end=5", .in = (const soma_shape[]){{2, {SOMA_N, 7}}}},
    {.name = "to the end", .attrs = "begin=3", .in = (const soma_shape[]){{2, {SOMA_N, 7}}}},
    {.name = "channels", .attrs = "begin=1 end=2", .in = (const soma_shape[]){{4, {SOMA_N, 3, 5, 7}}}},
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
    .grad = gradient,
    .kernels = (const soma_kernel *const[]){&reference, NULL},
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

soma_value soma_slice_with(const soma_slice_options *o)
{
    soma_slice_attrs a = {o->axis, o->begin, o->end};
    if (soma_ok(o->x)) { /* resolved: what a file says does not depend on the shape it met */
        soma_shape x = soma_value_type(o->x).shape;
        if (!a.end && a.axis >= 0 && a.axis < x.rank && x.dim[a.axis] > 0)
            a.end = x.dim[a.axis];
    }
    return soma_apply1(&soma_op_slice, &o->x, 1, &a, NULL, o->at);
}
