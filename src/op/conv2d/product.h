/* SPDX-License-Identifier: Apache-2.0
 *
 * op/conv2d/product.h: the block of a matrix product that stays in registers, for convolutions whose lanes are
 * channels.
 */
#ifndef SOMA_OP_CONV2D_PRODUCT_H
#define SOMA_OP_CONV2D_PRODUCT_H

#include "cpu/vec.h"
#include "op/conv2d/conv2d.h"
#include "op/tail/tail_vec.h"

/* Products: sum[r][v] = sum over `outer` and `inner` of a[r a_row] b[v], at most SOMA_PRODUCT_ROWS rows x 2 vectors
 * in registers. a moves by a_inner, and by a_outer more after each inner run; b by b_step each time. */
#if SOMA_LANES == 16
#define SOMA_PRODUCT_ROWS 14
#else
#define SOMA_PRODUCT_ROWS 6
#endif
SOMA_INLINE void soma_conv2d_multiply(int rows, int vectors, int64_t outer, int64_t a_outer, int64_t inner,
                                      int64_t a_inner, int64_t a_row, const float *a, int64_t b_step, int64_t b_vector,
                                      const float *b, soma_vf sum[SOMA_PRODUCT_ROWS][2])
{
    for (int64_t o = 0; o < outer; o++, a += a_outer)
        for (int64_t i = 0; i < inner; i++, a += a_inner, b += b_step) {
            soma_vf u[2];
            for (int v = 0; v < vectors; v++) {
                u[v] = soma_vload(b + v * b_vector);
                SOMA_VPIN(u[v]);
            }
            for (int r = 0; r < rows; r++) {
                soma_vf x = soma_vset(a[r * a_row]);
#if SOMA_LANES == 8
                SOMA_VPIN(x); /* else gcc mixes the rows' steps up, runs out of registers, and takes a quarter longer */
#endif
                for (int v = 0; v < vectors; v++)
                    sum[r][v] = soma_vfma(u[v], x, sum[r][v]);
            }
        }
}

/* x, y, what is added and the gate in blocks of a vector's channels: the request of these kernels, forward and backward
 * to x. */
#define SOMA_CONV2D_BLOCKED (SOMA_LANES == 16 ? SOMA_NCHW16C : SOMA_NCHW8C)
static inline void soma_conv2d_wish_blocks(soma_prepare *p)
{
    p->in[0].layout.kind = p->out[0].layout.kind = SOMA_CONV2D_BLOCKED;
    soma_tail_wish_alike(p);
}
static inline soma_status soma_conv2d_want_blocks(soma_prepare *p)
{
    if (p->in[0].layout.kind != SOMA_CONV2D_BLOCKED || p->out[0].layout.kind != SOMA_CONV2D_BLOCKED)
        return soma_refuse(p->reason, "it wants x and y in blocks of %d channels", SOMA_LANES);
    return soma_tail_alike(p);
}

#endif
