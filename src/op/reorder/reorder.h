/* SPDX-License-Identifier: Apache-2.0
 *
 * op/reorder/reorder.h: where the elements of a rank-4 array lie in the layouts that soma's own kernels read.
 */
#ifndef SOMA_OP_REORDER_REORDER_H
#define SOMA_OP_REORDER_REORDER_H

#include <soma/op.h>

/* The same type on both sides, nothing packed. */
soma_status soma_reorder_accept(soma_prepare *p);
extern const soma_op soma_op_reorder, soma_op_accumulate;

/* Channels that lie side by side: [N, C / block, H, W, block]. plain is block 1, nhwc is block C. */
static inline int64_t soma_layout_block(const soma_arg *a)
{
    switch (a->layout.kind) {
    case SOMA_NHWC:
        return a->shape.dim[1];
    case SOMA_NCHW8C:
        return 8;
    case SOMA_NCHW16C:
        return 16;
    default:
        return 1;
    }
}

#endif
