/* SPDX-License-Identifier: Apache-2.0
 *
 * op/pool2d/pool2d.h: what the pooling ops and their kernels share: attributes and geometry.
 */
#ifndef SOMA_OP_POOL2D_POOL2D_H
#define SOMA_OP_POOL2D_POOL2D_H

#include "op/tail/tail.h"
#include <soma/op.h>

#define SOMA_POOL2D_NONE 255 /* an index that names no element of the window */

typedef struct soma_pool2d_attrs {
    int64_t size[2], stride[2], pad[4]; /* height, width; top, left, bottom, right */
    bool ceil_mode;                     /* the last window may reach beyond the padding */
    bool count_padding;                 /* average: divide by the whole window at the border */
    int activation;                     /* soma_act; of the gradient and gather: the gate, by the pooled y */
    int64_t input_size[2];              /* gradients: H, W of dx */
} soma_pool2d_attrs;

/* size, stride (0: the window) and pad. */
static inline void soma_pool2d_window(soma_pool2d_attrs *a, const int64_t size[2], const int64_t stride[2],
                                      const int64_t pad[4])
{
    for (int i = 0; i < 2; i++) {
        a->size[i] = size[i];
        a->stride[i] = stride[i] ? stride[i] : size[i];
    }
    for (int i = 0; i < 4; i++)
        a->pad[i] = pad[i];
}

/* The same for all: x or dx [n,c,h,w], y or dy [n,c,oh,ow]. */
typedef struct soma_pool2d_case {
    soma_pool2d_attrs a;
    soma_act act; /* the kernel's own share of the tail; the gate */
    int64_t n, c, h, w, oh, ow;
} soma_pool2d_case;

static inline soma_pool2d_case soma_pool2d_case_of(const soma_prepare *p, const soma_shape *x, const soma_shape *y)
{
    const soma_pool2d_attrs *a = p->attrs;
    return (soma_pool2d_case){.a = *a,
                              .act = p->op->tail ? soma_tail_of(p).act : (soma_act)a->activation,
                              .n = x->dim[0],
                              .c = x->dim[1],
                              .h = x->dim[2],
                              .w = x->dim[3],
                              .oh = y->dim[2],
                              .ow = y->dim[3]};
}

/* The part of window o that meets the data: taps begin <= i < end at o stride - pad + i. */
static inline void soma_pool2d_taps(int64_t o, int64_t stride, int64_t pad, int64_t size, int64_t in, int64_t *begin,
                                    int64_t *end)
{
    int64_t at = o * stride - pad;
    *begin = at < 0 ? -at : 0;
    *end = in - at < size ? in - at : size;
}

/* What average pooling divides window (oh, ow) by: its elements, or with count_padding what lies on x and its
 * padding. */
static inline double soma_pool2d_divisor(const soma_pool2d_case *c, int64_t oh, int64_t ow)
{
    const soma_pool2d_attrs *a = &c->a;
    const int64_t o[2] = {oh, ow}, in[2] = {c->h, c->w};
    int64_t count[2];
    for (int i = 0; i < 2; i++) {
        int64_t begin = o[i] * a->stride[i] - a->pad[i], first = begin, last = begin + a->size[i];
        if (!a->count_padding && first < 0)
            first = 0;
        int64_t limit = in[i] + (a->count_padding ? a->pad[2 + i] : 0);
        count[i] = (last < limit ? last : limit) - first;
    }
    return (double)(count[0] * count[1]);
}

extern const soma_op soma_op_max_pool2d, soma_op_max_pool2d_grad, soma_op_max_pool2d_gather;
extern const soma_op soma_op_average_pool2d, soma_op_average_pool2d_grad;
extern const soma_kernel soma_max_pool2d_reference, soma_max_pool2d_grad_reference, soma_max_pool2d_gather_reference;
extern const soma_kernel soma_average_pool2d_reference, soma_average_pool2d_grad_reference;

#endif
