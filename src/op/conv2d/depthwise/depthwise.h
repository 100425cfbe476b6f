/* SPDX-License-Identifier: Apache-2.0
 *
 * op/conv2d/depthwise/depthwise.h: what soma's own depthwise kernels (one filter per channel) share: how they see
 * arrays and the taps of rows and columns.
 */
#ifndef SOMA_OP_CONV2D_DEPTHWISE_DEPTHWISE_H
#define SOMA_OP_CONV2D_DEPTHWISE_DEPTHWISE_H

#include "op/conv2d/conv2d.h"

#define SOMA_DEPTHWISE_TAPS 7 /* the largest window */

/* Lanes are channels: an array is seen as [N, C / block, H, W, block], and x and y may have different blocks. */
typedef struct soma_depthwise_array {
    int64_t h, w, block;
} soma_depthwise_array;

/* The element (n, c, 0, 0). */
static inline int64_t soma_depthwise_at(const soma_depthwise_array *a, int64_t channels, int64_t n, int64_t c)
{
    int64_t plane = a->h * a->w;
    return n * channels * plane + c / a->block * a->block * plane + c % a->block;
}

/* One filter per channel, and nothing between taps. */
static inline bool soma_depthwise(const soma_conv2d_case *c)
{
    const soma_conv2d_attrs *a = c->a;
    return a->groups == c->c && c->k == c->c && c->c >= 8 && a->dilation[0] == 1 && a->dilation[1] == 1 &&
           c->kh <= SOMA_DEPTHWISE_TAPS && c->kw <= SOMA_DEPTHWISE_TAPS && a->stride[0] <= 4 && a->stride[1] <= 4;
}

#endif
