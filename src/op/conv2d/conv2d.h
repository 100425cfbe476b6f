/* SPDX-License-Identifier: Apache-2.0
 *
 * op/conv2d/conv2d.h: what the three convolution ops and their kernels share: attributes and geometry.
 */
#ifndef SOMA_OP_CONV2D_CONV2D_H
#define SOMA_OP_CONV2D_CONV2D_H

#include "op/tail/tail.h"
#include <soma/op.h>

#include <stddef.h>

typedef struct soma_conv2d_attrs {
    int64_t stride[2];   /* down, right */
    int64_t pad[4];      /* top, left, bottom, right */
    int64_t dilation[2]; /* 1: none */
    int64_t groups;
    int activation;  /* soma_act: conv2d's; the gate's of conv2d_input_grad */
    int64_t size[2]; /* conv2d_input_grad: H, W of dx; conv2d_weight_grad: kh, kw of dw */
} soma_conv2d_attrs;

/* The attributes that all three have. The limit keeps sums of sizes far from overflow. */
#define SOMA_CONV2D_LIMIT 1e6
#define SOMA_CONV2D_AT(field) offsetof(soma_conv2d_attrs, field)
#define SOMA_CONV2D_GEOMETRY                                                                                           \
    {"stride",                                                                                                         \
     SOMA_FIELD_INTS,                                                                                                  \
     SOMA_CONV2D_AT(stride),                                                                                           \
     2,                                                                                                                \
     1,                                                                                                                \
     1,                                                                                                                \
     SOMA_CONV2D_LIMIT,                                                                                                \
     NULL,                                                                                                             \
     "steps of the window: down, right"},                                                                              \
        {"pad",                                                                                                        \
         SOMA_FIELD_INTS,                                                                                              \
         SOMA_CONV2D_AT(pad),                                                                                          \
         4,                                                                                                            \
         0,                                                                                                            \
         0,                                                                                                            \
         SOMA_CONV2D_LIMIT,                                                                                            \
         NULL,                                                                                                         \
         "zeros around x: top, left, bottom, right"},                                                                  \
        {"dilation", SOMA_FIELD_INTS,        SOMA_CONV2D_AT(dilation), 2, 1, 1, SOMA_CONV2D_LIMIT,                     \
         NULL,       "distance between taps"},                                                                         \
    {                                                                                                                  \
        "groups", SOMA_FIELD_INT, SOMA_CONV2D_AT(groups), 0, 1, 1, SOMA_CONV2D_LIMIT, NULL,                            \
            "channels and filters split into groups"                                                                   \
    }

/* The same for all three directions: x [n,c,h,w], weights [k,c/groups,kh,kw], y [n,k,oh,ow]. */
typedef struct soma_conv2d_case {
    const soma_conv2d_attrs *a;
    int64_t n, c, h, w, k, kh, kw, oh, ow;
} soma_conv2d_case;

/* floor((in + pads - window) / stride) + 1, or 0 where the window does not fit. */
static inline int64_t soma_conv2d_out(int64_t in, int64_t pads, int64_t size, int64_t dilation, int64_t stride)
{
    int64_t room = in + pads - (dilation * (size - 1) + 1);
    return room < 0 ? 0 : room / stride + 1;
}

static inline soma_conv2d_case soma_conv2d_case_of(const soma_conv2d_attrs *a, const soma_shape *x, const soma_shape *w,
                                                   const soma_shape *y)
{
    return (soma_conv2d_case){.a = a,
                              .n = x->dim[0],
                              .c = x->dim[1],
                              .h = x->dim[2],
                              .w = x->dim[3],
                              .k = w->dim[0],
                              .kh = w->dim[2],
                              .kw = w->dim[3],
                              .oh = y->dim[2],
                              .ow = y->dim[3]};
}
static inline soma_conv2d_case soma_conv2d_forward_case(const soma_prepare *p)
{
    return soma_conv2d_case_of(p->attrs, &p->in[0].shape, &p->in[1].shape, &p->out[0].shape);
}
static inline soma_conv2d_case soma_conv2d_input_case(const soma_prepare *p)
{
    return soma_conv2d_case_of(p->attrs, &p->out[0].shape, &p->in[1].shape, &p->in[0].shape);
}
static inline soma_conv2d_case soma_conv2d_weight_case(const soma_prepare *p)
{
    return soma_conv2d_case_of(p->attrs, &p->in[0].shape, &p->out[0].shape, &p->in[1].shape);
}

#define SOMA_CONV2D_GATE 2  /* conv2d_input_grad's optional input y, which the activation made */
#define SOMA_CONV2D_ADDED 3 /* optional input z of conv2d and conv2d_input_grad, which the result may overwrite */

static inline bool soma_conv2d_has_in(const soma_prepare *p, int i)
{
    return i < p->n_in && p->in[i].shape.rank >= 0;
}
static inline bool soma_conv2d_has_out(const soma_prepare *p, int i)
{
    return i < p->n_out && p->out[i].shape.rank >= 0;
}

/* Multiply-adds count as two; padding counts as data, as everybody's tables do. */
static inline double soma_conv2d_flops(const soma_conv2d_case *c)
{
    return 2.0 * (double)c->n * (double)c->k * (double)c->oh * (double)c->ow * (double)(c->c / c->a->groups) *
           (double)c->kh * (double)c->kw;
}

extern const soma_op soma_op_conv2d, soma_op_conv2d_input_grad, soma_op_conv2d_weight_grad;
/* conv2d_mixed_cpu.c, for AVX-512 alone */
#if defined(__x86_64__) && !defined(SOMA_BF16_EMULATED)
extern const soma_kernel soma_conv2d_mixed_cpu, soma_conv2d_input_grad_mixed_cpu, soma_conv2d_weight_grad_mixed_cpu;
#define SOMA_CONV2D_MIXED(name) &name,
#else
#define SOMA_CONV2D_MIXED(name)
#endif
extern const soma_kernel soma_conv2d_reference, soma_conv2d_input_grad_reference, soma_conv2d_weight_grad_reference;
/* Checks of infer that all three share: rank, groups, sizes. */
soma_status soma_conv2d_check(const soma_conv2d_attrs *a, const soma_shape *x, const soma_shape *w, int64_t out[2],
                              char *reason);

#endif
