/* SPDX-License-Identifier: Apache-2.0
 *
 * op/shape/shape.h: attributes of the ops that move elements and compute nothing: one kernel each, which copies bytes,
 * for every type.
 */
#ifndef SOMA_OP_SHAPE_SHAPE_H
#define SOMA_OP_SHAPE_SHAPE_H

#include <soma/op.h>

/* Bytes from which a copy is shared between threads. */
#define SOMA_COPY_PARALLEL ((int64_t)262144)

typedef struct soma_reshape_attrs {
    soma_shape shape; /* one dimension may be 0: what is left */
} soma_reshape_attrs;

typedef struct soma_transpose_attrs {
    soma_shape order;
} soma_transpose_attrs;

typedef struct soma_concat_attrs {
    int64_t axis;
} soma_concat_attrs;

typedef struct soma_slice_attrs {
    int64_t axis, begin, end; /* end 0: to the end */
} soma_slice_attrs;

typedef struct soma_slice_grad_attrs {
    int64_t axis, begin, size; /* size of the axis before slicing */
} soma_slice_grad_attrs;

/* Runs of bytes that begin at `axis`: in a blocked layout with axis 1 a sample, in nhwc a position. */
static inline int64_t soma_blocks_before(const soma_arg *x, int axis)
{
    int64_t blocks = 1;
    if (x->layout.kind == SOMA_NHWC)
        return x->shape.dim[0] * x->shape.dim[2] * x->shape.dim[3];
    for (int k = 0; k < axis; k++)
        blocks *= x->shape.dim[k];
    return blocks;
}

/* Bytes from one of `blocks` to the next; with a batch_stride blocks are samples. */
static inline size_t soma_block_step(const soma_arg *x, int64_t blocks)
{
    int64_t step = x->layout.batch_stride ? x->layout.batch_stride : x->elements / blocks;
    return (size_t)step * soma_dtype_size(x->dtype);
}

/* The shape with its 0 replaced, or SOMA_INVALID and a sentence. */
soma_status soma_reshape_resolve(const soma_type *x, const soma_shape *wanted, soma_shape *shape, char *reason);

#endif
