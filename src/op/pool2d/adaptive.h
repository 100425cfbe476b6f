/* SPDX-License-Identifier: Apache-2.0
 *
 * op/pool2d/adaptive.h: attributes and bins of adaptive average pooling.
 */
#ifndef SOMA_OP_POOL2D_ADAPTIVE_H
#define SOMA_OP_POOL2D_ADAPTIVE_H

#include <soma/op.h>

typedef struct soma_adaptive_attrs {
    int64_t size[2];       /* H, W of y */
    int64_t input_size[2]; /* gradient: H, W of dx */
} soma_adaptive_attrs;

/* x or dx [n,c,h,w], y or dy [n,c,oh,ow]. */
typedef struct soma_adaptive_case {
    int64_t n, c, h, w, oh, ow;
} soma_adaptive_case;

static inline soma_adaptive_case soma_adaptive_case_of(const soma_shape *x, const soma_shape *y)
{
    return (soma_adaptive_case){x->dim[0], x->dim[1], x->dim[2], x->dim[3], y->dim[2], y->dim[3]};
}

/* Bin o of `out` over `in` elements: begin <= i < end, PyTorch's rule. */
static inline void soma_adaptive_bin(int64_t o, int64_t in, int64_t out, int64_t *begin, int64_t *end)
{
    *begin = o * in / out;
    *end = ((o + 1) * in + out - 1) / out;
}

extern const soma_op soma_op_adaptive_average_pool2d;

#endif
