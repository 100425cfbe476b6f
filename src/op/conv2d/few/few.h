/* SPDX-License-Identifier: Apache-2.0
 *
 * op/conv2d/few/few.h: which convolutions soma's own kernels take, and how they see an image: padded with zeros,
 * plain. A library that puts filters into vector lanes wastes most of them when there are 3 or 6 filters; here lanes
 * are columns.
 */
#ifndef SOMA_OP_CONV2D_FEW_FEW_H
#define SOMA_OP_CONV2D_FEW_FEW_H

#include "op/conv2d/conv2d.h"

#define SOMA_SMALL_CHANNELS 8
#define SOMA_SMALL_WIDTH 10 /* columns: fewer leave lanes empty */

/* Beside a library only where it is slow; without one, wherever the kernels can. */
#ifdef SOMA_HAVE_ONEDNN
#define SOMA_SMALL_LIMIT SOMA_SMALL_CHANNELS
#else
#define SOMA_SMALL_LIMIT 512
#endif

static inline bool soma_conv2d_unit(const soma_conv2d_attrs *a)
{
    return a->groups == 1 && a->stride[0] == 1 && a->stride[1] == 1 && a->dilation[0] == 1 && a->dilation[1] == 1;
}

static inline bool soma_conv2d_small_shape(const soma_conv2d_case *c, int64_t filters)
{
    return soma_conv2d_unit(c->a) && c->k <= filters && c->c <= SOMA_SMALL_LIMIT && (c->kw == 3 || c->kw == 5) &&
           c->kh <= 16 && c->ow >= SOMA_SMALL_WIDTH;
}

/* Forward and weight gradient: one rule, so that x and y have one layout. */
static inline bool soma_conv2d_small(const soma_conv2d_case *c)
{
    return soma_conv2d_small_shape(c, SOMA_SMALL_LIMIT);
}

/* Input gradient: a convolution of dy, padded by size - 1 - pad, with turned filters. */
static inline bool soma_conv2d_small_input(const soma_conv2d_case *c)
{
    const int64_t *pad = c->a->pad;
    return soma_conv2d_unit(c->a) && c->c <= SOMA_SMALL_LIMIT && c->kh <= 16 && c->kw <= 16 &&
           c->w >= SOMA_SMALL_WIDTH && pad[0] < c->kh && pad[1] < c->kw && pad[2] < c->kh && pad[3] < c->kw;
}

/* One image as the kernels read it: [channels, rows, step], zeros outside. */
typedef struct soma_padded {
    int64_t channels, h, w; /* of the image */
    int64_t top, left;      /* where it lies */
    int64_t rows, step;     /* of the padded copy; a vector that begins in a row may end in the next */
    int64_t inner;          /* the image has channels inside (nhwc) */
} soma_padded;

/* Elements of the copy, with room for the last vector. */
static inline int64_t soma_padded_elements(const soma_padded *p)
{
    return p->channels * p->rows * p->step + 64;
}

/* Fills the copy's border once; images then overwrite the middle. */
static inline void soma_padded_clear(const soma_padded *p, float *copy)
{
    for (int64_t i = 0; i < soma_padded_elements(p); i++)
        copy[i] = 0;
}

static inline void soma_padded_fill(const soma_padded *p, const float *image, float *copy)
{
    for (int64_t c = 0; c < p->channels; c++)
        for (int64_t h = 0; h < p->h; h++) {
            float *to = copy + (c * p->rows + p->top + h) * p->step + p->left;
            const float *from = p->inner ? image + h * p->w * p->channels + c : image + (c * p->h + h) * p->w;
            if (p->inner)
                for (int64_t w = 0; w < p->w; w++)
                    to[w] = from[w * p->channels];
            else
                for (int64_t w = 0; w < p->w; w++)
                    to[w] = from[w];
        }
}

#endif
