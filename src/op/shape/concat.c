/* SPDX-License-Identifier: Apache-2.0
 *
 * op/shape/concat.c: arrays one after the other along an axis, equal in all others.
 *     dx_i = the slice of dy where x_i stands
 */
#include "base/size.h"
#include "graph/graph.h"
#include "op/element.h"
#include "op/shape/shape.h"
#include <soma/ops.h>

#include <string.h>

static const soma_field fields[] = {
    {.name = "axis",
     .type = SOMA_FIELD_INT,
     .offset = offsetof(soma_concat_attrs, axis),
     .max = SOMA_MAX_RANK - 1,
     .preset = 1,
     .doc = "the axis along which the inputs follow each other; not the batch"},
    {0},
};

static soma_status infer(soma_infer *i)
{
    int axis = (int)((const soma_concat_attrs *)i->attrs)->axis;
    char text[96], other[96];
    soma_type y = i->in[0];
    if (axis >= y.shape.rank)
        return soma_refuse(i->reason, "axis is %d, but input 0 is %s", axis, soma_type_text(&y, text));
    if (y.shape.dim[axis] < 0)
        return soma_refuse(i->reason, "axis %d is the batch of %s; samples cannot be joined to one another", axis,
                           soma_type_text(&y, text));
    for (int j = 1; j < i->n_in; j++) {
        const soma_type *x = &i->in[j];
        soma_shape like = x->shape;
        int64_t size = x->shape.rank == y.shape.rank ? x->shape.dim[axis] : 0;
        like.dim[axis] = y.shape.dim[axis];
        if (x->dtype != y.dtype || size < 1 || !soma_same_shape(&like, &y.shape))
            return soma_refuse(i->reason, "input %d is %s, input 0 is %s; they must be equal but for axis %d", j,
                               soma_type_text(x, text), soma_type_text(&i->in[0], other), axis);
        if (!soma_i64_add(y.shape.dim[axis], size, &y.shape.dim[axis]))
            return soma_refuse(i->reason, "the inputs are too large together along axis %d", axis);
    }
    i->out[0] = y;
    return SOMA_OK;
}

static void gradient(soma_gradient *g)
{
    int axis = (int)((const soma_concat_attrs *)g->attrs)->axis;
    int64_t at = 0;
    for (int j = 0; j < g->n_in; j++) {
        int64_t size = soma_value_type(g->in[j]).shape.dim[axis];
        if (g->want[j])
            g->din[j] = soma_slice(g->dout[0], .axis = axis, .begin = at, .end = at + size);
        at += size;
    }
}

/* Bytes of one block of each input: its elements from the axis on. */
typedef struct concat_state {
    int64_t blocks;
    int n;
    size_t bytes[];
} concat_state;

static soma_status run_concat(const void *state, void *const *arg, soma_run *run)
{
    (void)run;
    const concat_state *s = state;
    char *y = arg[s->n];
    for (int64_t i = 0; i < s->blocks; i++)
        for (int j = 0; j < s->n; j++) {
            memcpy(y, (const char *)arg[j] + (size_t)i * s->bytes[j], s->bytes[j]);
            y += s->bytes[j];
        }
    return SOMA_OK;
}

static soma_status prepare(soma_prepare *p)
{
    concat_state *s = soma_prepare_state(p, sizeof *s + (size_t)p->n_in * sizeof s->bytes[0]);
    if (!s)
        return SOMA_MEMORY;
    s->n = p->n_in;
    s->blocks = 1;
    for (int k = 0; k < (int)((const soma_concat_attrs *)p->attrs)->axis; k++)
        s->blocks *= p->out[0].shape.dim[k];
    for (int j = 0; j < p->n_in; j++)
        s->bytes[j] = (size_t)(p->in[j].elements / s->blocks) * soma_dtype_size(p->in[j].dtype);
    p->state = s;
    p->run = run_concat;
    return SOMA_OK;
}

static const soma_kernel reference = {.name = "copy", .exact = true, .bf16 = SOMA_BF16_FOLLOW, .prepare = prepare};

static const soma_sample samples[] = {
    {.name = "rows", .in = (const soma_shape[]){{2, {SOMA_N, 3}}, {2, {SOMA_N, 5}}, {2, {SOMA_N, 1}}}},
    {.name = "channels",
     .in = (const soma_shape[]){{4, {SOMA_N, 2, 3, 5}}, {4, {SOMA_N, 1, 3, 5}}, {4, {SOMA_N, 3, 3, 5}}}},
    {.name = "front", .attrs = "axis=0", .in = (const soma_shape[]){{2, {2, 7}}, {2, {1, 7}}, {2, {3, 7}}}},
    {.name = "last", .attrs = "axis=2", .in = (const soma_shape[]){{3, {2, 3, 1}}, {3, {2, 3, 4}}, {3, {2, 3, 2}}}},
    {.name = "vectors", .attrs = "axis=0", .in = (const soma_shape[]){{1, {1}}, {1, {5}}, {1, {2}}}},
    {0},
};

const soma_op soma_op_concat = {
    .name = "concat",
    .doc = "Arrays one after the other along an axis, equal in all others.",
    .onnx = "Concat",
    .required_in = -1,
    .required_out = 1,
    .attrs_size = sizeof(soma_concat_attrs),
    .fields = fields,
    .infer = infer,
    .grad = gradient,
    .kernels = (const soma_kernel *const[]){&reference, NULL},
    .samples = samples,
    .n_in_samples = 3,
};

soma_value soma_concat_at(const soma_value *x, int n, int axis, soma_at at)
{
    soma_concat_attrs a = {axis};
    return soma_apply1(&soma_op_concat, x, n, &a, NULL, at);
}
