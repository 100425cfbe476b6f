/* SPDX-License-Identifier: Apache-2.0
 *
 * op/conv2d/pointwise/pointwise.h: 1x1 convolutions between blocked arrays, products of a matrix of positions with the
 * weights: what their kernels share.
 *
 *     y[p][k]  = act(sum over c of x[q(p)][c] w[k][c] + b[k] + z[p][k])   q(p): p's place at the stride
 *     dx[q][c] = gate(y[q][c], z[q][c] + sum over k of dy[p][k] w[k][c])   the sum is 0 where q is no q(p); the same
 *                                                                          product with turned weights
 *
 * Knows layouts nChw8c and nChw16c (the block is a vector), no library.
 */
#ifndef SOMA_OP_CONV2D_POINTWISE_POINTWISE_H
#define SOMA_OP_CONV2D_POINTWISE_POINTWISE_H

#include "op/conv2d/conv2d.h"

#include <stdio.h>

/* Packed weights are [k / 2 blocks][c][1 or 2 blocks of k], k written and c read channels: a product reads them in one
 * stream. A layout of soma's own has no detail, and a key that says which: turned or not, block. */
#define SOMA_POINTWISE_KEYS ((uint64_t)0x504f494e << 32)
static inline uint64_t soma_pointwise_key(bool turned, int block)
{
    return SOMA_POINTWISE_KEYS | (uint64_t)turned << 8 | (uint64_t)block;
}
/* Is it a packing of ours for vectors of `block` channels? */
static inline bool soma_pointwise_packed(const soma_layout *layout, int block, bool *turned)
{
    *turned = (layout->key >> 8 & 1) != 0;
    return layout->kind == SOMA_PACKED && !layout->detail && layout->key == soma_pointwise_key(*turned, block);
}

/* Refuses what is no f32 1x1 convolution without padding, with whole blocks of channels. */
static inline soma_status soma_pointwise_check(soma_prepare *p, const soma_conv2d_case *c, int block)
{
    const soma_conv2d_attrs *a = c->a;
    bool one = c->kh == 1 && c->kw == 1 && a->groups == 1 && !a->pad[0] && !a->pad[1] && !a->pad[2] && !a->pad[3];
    if (block < 8)
        soma_refuse(p->reason, "made for AVX2 and AVX-512");
    else if (p->in[0].dtype != SOMA_F32 || !one)
        soma_refuse(p->reason, "made for f32, 1x1 windows, one group, no padding");
    else if (c->c % block || c->k % block)
        soma_refuse(p->reason, "it wants channels and filters in multiples of %d, not %lld and %lld", block,
                    (long long)c->c, (long long)c->k);
    else
        return SOMA_OK;
    return SOMA_UNSUPPORTED;
}

#endif
