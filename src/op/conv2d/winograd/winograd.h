/* SPDX-License-Identifier: Apache-2.0
 *
 * op/conv2d/winograd/winograd.h: 3x3 convolutions of stride 1 by minimal filtering, F(m x m, 3 x 3) with m = 4 or 6
 * (Lavin and Gray 2015, arXiv 1509.09308): what its kernels share. A tile of m x m outputs takes e = (m + 2)^2 products
 * per pair of channels where the direct sum takes 9 m^2: 4 (m = 4) and 5.06 (m = 6) times fewer.
 *
 *     y  = A' [ U . (B' x B) ] A      U = G w G'     forward; backward to x is forward with turned weights
 *     dw = G' [ (A dy A') . (B' x B) ] G             summed over all tiles before the last transform
 *
 * Knows layouts nChw8c and nChw16c (the block is a vector), no library. x, y and their gradients may be stored in bf16;
 * what is in the transformed domain is f32, and so is all arithmetic.
 */
#ifndef SOMA_OP_CONV2D_WINOGRAD_WINOGRAD_H
#define SOMA_OP_CONV2D_WINOGRAD_WINOGRAD_H

#include "cpu/isa.h"
#include "op/conv2d/conv2d.h"

#include <stdio.h>

/* Read [n,c,h,w], written [n,k,oh,ow]: backward to x reads dy and writes dx. Tiles count over all images. */
typedef struct soma_winograd {
    int m;
    int64_t n, c, h, w, k, oh, ow;
    int64_t top, left; /* padding of what is read */
    int64_t down, right, tiles;
} soma_winograd;

/* Errors keep to 4 sqrt(K) eps S, K products to a sum, S the largest sum of |x| |w| in the result
 * (docs/kernels/winograd.md: derivation and measurements). */

/* Most bytes of scratch that a run may take; prepare refuses beyond. */
#define SOMA_WINOGRAD_SCRATCH ((size_t)64 << 20)

/* U lies in groups of up to two blocks of written channels: [k / 2 blocks][e][c][1 or 2 blocks]. A packed layout of
 * soma's own has no detail, and a key that says which: transform, turned or not, block. */
#define SOMA_WINOGRAD_KEYS ((uint64_t)0x57494e4f << 32)
static inline uint64_t soma_winograd_key(int m, bool turned, int block)
{
    return SOMA_WINOGRAD_KEYS | (uint64_t)m << 16 | (uint64_t)turned << 8 | (uint64_t)block;
}
/* Is it a packing of ours for vectors of `block` channels? */
static inline bool soma_winograd_packed(const soma_layout *layout, int block, int *m, bool *turned)
{
    *m = (int)(layout->key >> 16 & 0xff);
    *turned = (layout->key >> 8 & 1) != 0;
    return layout->kind == SOMA_PACKED && !layout->detail && layout->key == soma_winograd_key(*m, *turned, block);
}

static inline soma_winograd soma_winograd_of(const soma_conv2d_case *c, int m, bool turned)
{
    soma_winograd g = {.m = m, .n = c->n};
    g.c = turned ? c->k : c->c;
    g.k = turned ? c->c : c->k;
    g.h = turned ? c->oh : c->h;
    g.w = turned ? c->ow : c->w;
    g.oh = turned ? c->h : c->oh;
    g.ow = turned ? c->w : c->ow;
    g.top = turned ? 2 - c->a->pad[0] : c->a->pad[0];
    g.left = turned ? 2 - c->a->pad[1] : c->a->pad[1];
    g.down = (g.oh + m - 1) / m;
    g.right = (g.ow + m - 1) / m;
    g.tiles = g.n * g.down * g.right;
    return g;
}

/* x and dy are stored as this level stores them, and so is what is added, and the gate; weights are f32. */
static inline bool soma_winograd_types(const soma_prepare *p, bool weights)
{
    bool types = p->in[0].dtype == SOMA_STORED && p->in[1].dtype == (weights ? SOMA_STORED : SOMA_F32);
    const soma_tail_state tail = soma_tail_of(p);
    return types && (tail.add < 0 || p->in[tail.add].dtype == SOMA_STORED) &&
           (tail.gate < 0 || p->in[tail.gate].dtype == SOMA_STORED);
}

/* Refuses what is no 3x3 convolution of stride 1 with whole blocks of channels; weights: their gradient. */
static inline soma_status soma_winograd_check(soma_prepare *p, const soma_conv2d_case *c, int block, bool weights)
{
    const soma_conv2d_attrs *a = c->a;
    bool unit = a->stride[0] == 1 && a->stride[1] == 1 && a->dilation[0] == 1 && a->dilation[1] == 1 && a->groups == 1;
    bool pads = a->pad[0] <= 2 && a->pad[1] <= 2 && a->pad[2] <= 2 && a->pad[3] <= 2;
    if (block < 8)
        soma_refuse(p->reason, "Winograd convolution is made for AVX2 and AVX-512");
    else if (!soma_winograd_types(p, weights) || !unit || c->kh != 3 || c->kw != 3 || !pads)
        soma_refuse(p->reason, "Winograd convolution is made for %s, 3x3, stride 1, one group, padding of at most 2",
                    soma_dtype_name(SOMA_STORED));
    else if (c->c % block || c->k % block)
        soma_refuse(p->reason, "Winograd convolution wants channels and filters in multiples of %d, not %lld and %lld",
                    block, (long long)c->c, (long long)c->k);
    else
        return SOMA_OK;
    return SOMA_UNSUPPORTED;
}

/* How many times fewer products the rule on shapes asks for: as many as save a third in f32. Libraries multiply bf16
 * twice as fast; the gradient of the weights, whose sums are transformed, is slower here and not there. */
#define SOMA_WINOGRAD_SAVES (SOMA_STORED == SOMA_BF16 ? 3 : 1.5)
#define SOMA_WINOGRAD_WEIGHTS_SAVE (SOMA_STORED == SOMA_BF16 ? 3.5 : 1.5)

/* The rule on shapes: where so many products are saved, for so many tiles that reading U (forward) or writing the
 * gradient (weights) does not take longer. Without a library the choice is between this and the reference kernel. */
static inline bool soma_winograd_suits(const soma_conv2d_case *c, int m, bool turned, int64_t tiles, double saves)
{
#ifdef SOMA_HAVE_ONEDNN
    soma_winograd g = soma_winograd_of(c, m, turned);
    double direct = 9.0 * (double)(g.n * g.oh * g.ow), products = (double)((m + 2) * (m + 2)) * (double)g.tiles;
    return g.c >= 16 && g.k >= 16 && g.tiles >= tiles && direct >= saves * products;
#else
    (void)c;
    (void)m;
    (void)turned;
    (void)tiles;
    (void)saves;
    return true;
#endif
}

#endif
