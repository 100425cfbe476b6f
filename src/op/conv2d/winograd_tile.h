/* SPDX-License-Identifier: Apache-2.0
 *
 * op/conv2d/winograd_tile.h: the arithmetic of Winograd convolution on vectors of channels: one-dimensional transforms
 * (applied to columns, then to rows) and the block of a matrix product that stays in registers.
 *
 * Points are 0, +-p for each p of soma_winograd_points, and infinity. With Q_p = product of (x^2 - q^2) over the other q:
 *     B' rows  0: x^n - ... = product of all (x^2 - q^2);   +-p: (x^2 +- p x) Q_p;   infinity: x times row 0
 *     A' (i, +-p) = (+-p)^i, (0, 0) = 1, (m - 1, infinity) = 1
 *     G  rows  +-p: (1, +-p, p^2) / (2 p^2 Q_p(p));  0: 1 / row 0 at 0;  infinity: (0, 0, 1)
 */
#ifndef SOMA_OP_CONV2D_WINOGRAD_TILE_H
#define SOMA_OP_CONV2D_WINOGRAD_TILE_H

#include "backend/cpu/vec.h"

#define SOMA_INLINE static inline __attribute__((always_inline))
#define SOMA_TILE 8 /* the largest m + 2 */

/* m = 4 has two pairs, m = 6 has three. */
SOMA_INLINE float soma_winograd_point(int m, int pair)
{
    return m == 4 ? (pair == 0 ? 1.0f : 2.0f) : (pair == 0 ? 1.0f : pair == 1 ? 2.0f : 0.5f);
}

/* Coefficients of Q without point `skip` (-1: with all), lowest first, in x^2; the highest is 1. Returns the degree. */
SOMA_INLINE int soma_winograd_poly(int m, int skip, float q[4])
{
    int degree = 0;
    q[0] = 1;
    for (int i = 0; i < m / 2; i++) {
        if (i == skip)
            continue;
        float square = soma_winograd_point(m, i) * soma_winograd_point(m, i);
        q[degree + 1] = q[degree];
        for (int j = degree; j > 0; j--)
            q[j] = q[j - 1] - square * q[j];
        q[0] = -square * q[0];
        degree++;
    }
    return degree;
}

/* sum of q[i] d[2 i], smallest factor's term last to be added */
SOMA_INLINE soma_vf soma_winograd_even(const float q[4], int degree, const soma_vf *d)
{
    soma_vf sum = d[2 * degree];
    for (int i = degree - 1; i >= 0; i--)
        sum = soma_vfma(soma_vset(q[i]), d[2 * i], sum);
    return sum;
}

/* o = B' d, m + 2 of each */
SOMA_INLINE void soma_winograd_input(int m, const soma_vf *d, soma_vf *o)
{
    float q[4];
    int degree = soma_winograd_poly(m, -1, q);
    o[0] = soma_winograd_even(q, degree, d);
    o[m + 1] = soma_winograd_even(q, degree, d + 1);
    for (int i = 0; i < m / 2; i++) {
        degree = soma_winograd_poly(m, i, q);
        soma_vf even = soma_winograd_even(q, degree, d + 2), odd = soma_winograd_even(q, degree, d + 1);
        soma_vf p = soma_vset(soma_winograd_point(m, i));
        o[1 + 2 * i] = soma_vfma(p, odd, even);
        o[2 + 2 * i] = soma_vfma(-p, odd, even);
    }
}

/* y = A' z, m from m + 2 */
SOMA_INLINE void soma_winograd_output(int m, const soma_vf *z, soma_vf *y)
{
    for (int i = 0; i < m; i++)
        y[i] = i == 0 ? z[0] : i == m - 1 ? z[m + 1] : soma_vset(0);
    for (int k = 0; k < m / 2; k++) {
        float p = soma_winograd_point(m, k), power = 1;
        soma_vf sum = z[1 + 2 * k] + z[2 + 2 * k], difference = z[1 + 2 * k] - z[2 + 2 * k];
        for (int i = 0; i < m; i++, power *= p)
            y[i] = soma_vfma(soma_vset(power), i % 2 ? difference : sum, y[i]);
    }
}

/* z = A y, m + 2 from m */
SOMA_INLINE void soma_winograd_gradient(int m, const soma_vf *y, soma_vf *z)
{
    z[0] = y[0];
    z[m + 1] = y[m - 1];
    for (int k = 0; k < m / 2; k++) {
        float p = soma_winograd_point(m, k), power = p * p;
        soma_vf even = y[0], odd = soma_vset(p) * y[1];
        for (int i = 2; i < m; i += 2, power *= p * p) {
            even = soma_vfma(soma_vset(power), y[i], even);
            odd = soma_vfma(soma_vset(power * p), y[i + 1], odd);
        }
        z[1 + 2 * k] = even + odd;
        z[2 + 2 * k] = even - odd;
    }
}

/* 1 / (2 p^2 Q_p(p)), or 1 / row 0 at 0 for pair -1 */
SOMA_INLINE float soma_winograd_scale(int m, int pair)
{
    float q[4], square = pair < 0 ? 0 : soma_winograd_point(m, pair) * soma_winograd_point(m, pair), value = 0;
    for (int i = soma_winograd_poly(m, pair, q); i >= 0; i--)
        value = value * square + q[i];
    return 1 / (pair < 0 ? value : 2 * square * value);
}

/* u = G w, m + 2 from 3 */
SOMA_INLINE void soma_winograd_weight(int m, const soma_vf *w, soma_vf *u)
{
    u[0] = soma_vset(soma_winograd_scale(m, -1)) * w[0];
    u[m + 1] = w[2];
    for (int k = 0; k < m / 2; k++) {
        float p = soma_winograd_point(m, k), scale = soma_winograd_scale(m, k);
        soma_vf even = soma_vfma(soma_vset(p * p), w[2], w[0]) * soma_vset(scale);
        soma_vf odd = w[1] * soma_vset(p * scale);
        u[1 + 2 * k] = even + odd;
        u[2 + 2 * k] = even - odd;
    }
}

/* w = G' u, 3 from m + 2 */
SOMA_INLINE void soma_winograd_weight_gradient(int m, const soma_vf *u, soma_vf *w)
{
    w[0] = soma_vset(soma_winograd_scale(m, -1)) * u[0];
    w[1] = soma_vset(0);
    w[2] = u[m + 1];
    for (int k = 0; k < m / 2; k++) {
        float p = soma_winograd_point(m, k), scale = soma_winograd_scale(m, k);
        soma_vf even = u[1 + 2 * k] + u[2 + 2 * k], odd = u[1 + 2 * k] - u[2 + 2 * k];
        w[0] = soma_vfma(soma_vset(scale), even, w[0]);
        w[1] = soma_vfma(soma_vset(p * scale), odd, w[1]);
        w[2] = soma_vfma(soma_vset(p * p * scale), even, w[2]);
    }
}

/* Products: sum[r][v] = sum over `outer` and `inner` of a[r a_row] b[v], at most SOMA_WINOGRAD_ROWS rows x 2 vectors
 * in registers. a moves by a_inner, and by a_outer more after each inner run; b by b_step each time. */
#if SOMA_ISA_LEVEL == 3
#define SOMA_WINOGRAD_ROWS 14
#else
#define SOMA_WINOGRAD_ROWS 6
#endif
SOMA_INLINE void soma_winograd_multiply(int rows, int vectors, int64_t outer, int64_t a_outer, int64_t inner,
                                        int64_t a_inner, int64_t a_row, const float *a, int64_t b_step,
                                        int64_t b_vector, const float *b, soma_vf sum[SOMA_WINOGRAD_ROWS][2])
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
                for (int v = 0; v < vectors; v++)
                    sum[r][v] = soma_vfma(u[v], x, sum[r][v]);
            }
        }
}

#endif
