/* SPDX-License-Identifier: Apache-2.0
 *
 * op/conv2d/winograd/tile.h: the arithmetic of Winograd convolution on vectors of channels: one-dimensional transforms
 * (applied to columns, then to rows), and tiles of arrays.
 *
 * Points are 0, pairs +-p, and infinity; Q_p is the product of (x^2 - q^2) over the other pairs q:
 *     B' rows  0: (x^2 - p^2) Q_p;   +-p: (x^2 +- p x) Q_p;   infinity: x times row 0
 *     A' (i, +-p) = (+-p)^i, (0, 0) = 1, (m - 1, infinity) = 1
 *     G  rows  +-p: (1, +-p, p^2) / (2 p^2 Q_p(p));   0: (1, 0, 0) / row 0 at 0;   infinity: (0, 0, 1)
 * For m = 4 the pairs 5/8 and 3/2, all of whose coefficients are exact, have half the error of the usual 1 and 2.
 */
#ifndef SOMA_OP_CONV2D_WINOGRAD_TILE_H
#define SOMA_OP_CONV2D_WINOGRAD_TILE_H

#include "cpu/vec.h"
#include "op/conv2d/product.h"
#include "op/conv2d/winograd/winograd.h"

#define SOMA_TILE 8 /* the largest m + 2 */

/* x + a y */
SOMA_INLINE soma_vf soma_plus(soma_vf x, float a, soma_vf y)
{
    return soma_vfma(soma_vset(a), y, x);
}

/* o[0] and o[1] = even +- p odd */
SOMA_INLINE void soma_pair(soma_vf even, float p, soma_vf odd, soma_vf *o)
{
    o[0] = soma_plus(even, p, odd);
    o[1] = soma_plus(even, -p, odd);
}

/* The pairs of m = 4 and their squares. */
#define SOMA_P 0.625f
#define SOMA_Q 1.5f
#define SOMA_PP (SOMA_P * SOMA_P)
#define SOMA_QQ (SOMA_Q * SOMA_Q)

/* o = B' d, m + 2 of each */
SOMA_INLINE void soma_winograd_input(int m, const soma_vf *d, soma_vf *o)
{
    if (m == 4) {
        o[0] = soma_plus(soma_plus(d[4], SOMA_PP * SOMA_QQ, d[0]), -(SOMA_PP + SOMA_QQ), d[2]);
        soma_pair(soma_plus(d[4], -SOMA_QQ, d[2]), SOMA_P, soma_plus(d[3], -SOMA_QQ, d[1]), o + 1);
        soma_pair(soma_plus(d[4], -SOMA_PP, d[2]), SOMA_Q, soma_plus(d[3], -SOMA_PP, d[1]), o + 3);
        o[5] = soma_plus(soma_plus(d[5], SOMA_PP * SOMA_QQ, d[1]), -(SOMA_PP + SOMA_QQ), d[3]);
    } else { /* 1, 2, 1/2 */
        o[0] = soma_plus(d[6] - d[0], 5.25f, d[2] - d[4]);
        soma_pair(soma_plus(d[6] + d[2], -4.25f, d[4]), 1, soma_plus(d[5] + d[1], -4.25f, d[3]), o + 1);
        soma_pair(soma_plus(soma_plus(d[6], 0.25f, d[2]), -1.25f, d[4]), 2,
                  soma_plus(soma_plus(d[5], 0.25f, d[1]), -1.25f, d[3]), o + 3);
        soma_pair(soma_plus(soma_plus(d[6], 4, d[2]), -5, d[4]), 0.5f, soma_plus(soma_plus(d[5], 4, d[1]), -5, d[3]),
                  o + 5);
        o[7] = soma_plus(d[7] - d[1], 5.25f, d[3] - d[5]);
    }
}

/* y = A' z, m from m + 2 */
SOMA_INLINE void soma_winograd_output(int m, const soma_vf *z, soma_vf *y)
{
    soma_vf s = z[1] + z[2], d = z[1] - z[2], t = z[3] + z[4], e = z[3] - z[4];
    if (m == 4) {
        y[0] = z[0] + s + t;
        y[1] = soma_plus(soma_vset(SOMA_P) * d, SOMA_Q, e);
        y[2] = soma_plus(soma_vset(SOMA_PP) * s, SOMA_QQ, t);
        y[3] = soma_plus(soma_plus(z[5], SOMA_P * SOMA_PP, d), SOMA_Q * SOMA_QQ, e);
    } else {
        soma_vf u = z[5] + z[6], f = z[5] - z[6];
        y[0] = z[0] + s + t + u;
        y[1] = soma_plus(soma_plus(d, 2, e), 0.5f, f);
        y[2] = soma_plus(soma_plus(s, 4, t), 0.25f, u);
        y[3] = soma_plus(soma_plus(d, 8, e), 0.125f, f);
        y[4] = soma_plus(soma_plus(s, 16, t), 0.0625f, u);
        y[5] = soma_plus(soma_plus(z[7] + d, 32, e), 0.03125f, f);
    }
}

/* z = A y for m = 4, 6 from 4 */
SOMA_INLINE void soma_winograd_gradient(const soma_vf *y, soma_vf *z)
{
    z[0] = y[0];
    soma_pair(soma_plus(y[0], SOMA_PP, y[2]), SOMA_P, soma_plus(y[1], SOMA_PP, y[3]), z + 1);
    soma_pair(soma_plus(y[0], SOMA_QQ, y[2]), SOMA_Q, soma_plus(y[1], SOMA_QQ, y[3]), z + 3);
    z[5] = y[3];
}

/* Rows of G for m = 4: 1 / row 0 at 0, and 1 / (2 p^2 Q_p(p)) */
#define SOMA_G0 (1 / (SOMA_PP * SOMA_QQ))
#define SOMA_GP (1 / (2 * SOMA_PP * (SOMA_PP - SOMA_QQ)))
#define SOMA_GQ (1 / (2 * SOMA_QQ * (SOMA_QQ - SOMA_PP)))

/* u[0] and u[1] = scale (w0 +- p w1 + p^2 w2) */
SOMA_INLINE void soma_winograd_evaluate(const soma_vf *w, float p, float scale, soma_vf *u)
{
    soma_pair(soma_plus(soma_vset(scale) * w[0], scale * p * p, w[2]), scale * p, w[1], u);
}

/* u = G w, m + 2 from 3 */
SOMA_INLINE void soma_winograd_weight(int m, const soma_vf *w, soma_vf *u)
{
    if (m == 4) {
        u[0] = soma_vset(SOMA_G0) * w[0];
        soma_winograd_evaluate(w, SOMA_P, SOMA_GP, u + 1);
        soma_winograd_evaluate(w, SOMA_Q, SOMA_GQ, u + 3);
    } else {
        u[0] = -w[0];
        soma_winograd_evaluate(w, 1, -2.0f / 9, u + 1);
        soma_winograd_evaluate(w, 2, 1.0f / 90, u + 3);
        soma_winograd_evaluate(w, 0.5f, 32.0f / 45, u + 5);
    }
    u[m + 1] = w[2];
}

/* w = G' u for m = 4, 3 from 6 */
SOMA_INLINE void soma_winograd_weight_gradient(const soma_vf *u, soma_vf *w)
{
    soma_vf s = u[1] + u[2], d = u[1] - u[2], t = u[3] + u[4], e = u[3] - u[4];
    w[0] = soma_plus(soma_plus(soma_vset(SOMA_G0) * u[0], SOMA_GP, s), SOMA_GQ, t);
    w[1] = soma_plus(soma_vset(SOMA_GP * SOMA_P) * d, SOMA_GQ * SOMA_Q, e);
    w[2] = soma_plus(soma_plus(u[5], SOMA_GP * SOMA_PP, s), SOMA_GQ * SOMA_QQ, t);
}

/* ---- tiles of arrays in blocks of SOMA_LANES channels ---- */

typedef struct soma_winograd_place {
    int64_t n, row, column; /* of the tile's first output */
} soma_winograd_place;

static inline soma_winograd_place soma_winograd_place_of(const soma_winograd *g, int64_t tile)
{
    int64_t column = tile % g->right, row = tile / g->right % g->down;
    return (soma_winograd_place){tile / g->right / g->down, row * g->m, column * g->m};
}

static inline void soma_winograd_next(const soma_winograd *g, soma_winograd_place *p)
{
    p->column += g->m;
    if (p->column < g->ow)
        return;
    p->column = 0;
    p->row += g->m;
    if (p->row < g->oh)
        return;
    p->row = 0;
    p->n++;
}

/* What hangs over an edge of x [h,w]: size x size elements from (top, left) on, with zeros outside. */
static inline void soma_winograd_edge(const soma_elem *x, int64_t h, int64_t w, int64_t top, int64_t left, int size,
                                      soma_elem *copy)
{
    for (int i = 0; i < size; i++)
        for (int j = 0; j < size; j++) {
            bool inside = top + i >= 0 && top + i < h && left + j >= 0 && left + j < w;
            soma_vput(copy + (i * size + j) * SOMA_LANES,
                      inside ? soma_vget(x + ((top + i) * w + left + j) * SOMA_LANES) : soma_vset(0));
        }
}

/* Bytes of an array beyond which it is not in the second-level cache when it is worked on. */
#define SOMA_WINOGRAD_FAR (2 << 20)

/* Fetches elements of the tile after the next, to write or to read them: so many places apart are more than the CPU
 * follows by itself. */
SOMA_INLINE void soma_winograd_look_ahead(int size, const float *v, int64_t v_step, bool write)
{
    for (int i = 0; i < size * size; i++)
        if (write)
            __builtin_prefetch(v + i * v_step + 2 * SOMA_LANES, 1);
        else
            __builtin_prefetch(v + i * v_step + 2 * SOMA_LANES, 0);
}

/* v = B' x B of tiles first .. first + count - 1, one block of channels; elements lie v_step apart, far or in the
 * cache */
SOMA_INLINE void soma_winograd_input_tiles(int m, const soma_winograd *g, const soma_elem *x, int64_t cb, int64_t first,
                                           int64_t count, float *v, int64_t v_step, bool far)
{
    const int size = m + 2;
    soma_elem copy[SOMA_TILE * SOMA_TILE * SOMA_LANES];
    soma_winograd_place p = soma_winograd_place_of(g, first);
    for (int64_t t = 0; t < count; t++, v += SOMA_LANES, soma_winograd_next(g, &p)) {
        int64_t top = p.row - g->top, left = p.column - g->left, step = g->w * SOMA_LANES;
        const soma_elem *plane = x + (p.n * (g->c / SOMA_LANES) + cb) * g->h * step, *from = copy;
        soma_vf line[SOMA_TILE], half[SOMA_TILE][SOMA_TILE], out[SOMA_TILE];
        if (top < 0 || left < 0 || top + size > g->h || left + size > g->w) {
            soma_winograd_edge(plane, g->h, g->w, top, left, size, copy);
            step = size * SOMA_LANES;
        } else {
            from = plane + top * step + left * SOMA_LANES;
        }
        for (int r = 0; r < size; r++)
            for (int c = 0; c < m; c++)
                __builtin_prefetch(from + r * step + (2 * m + 2 + c) * SOMA_LANES);
        for (int c = 0; c < size; c++) {
            for (int r = 0; r < size; r++)
                line[r] = soma_vget(from + r * step + c * SOMA_LANES);
            soma_winograd_input(m, line, half[c]);
        }
        for (int r = 0; r < size; r++) {
            for (int c = 0; c < size; c++)
                line[c] = half[c][r];
            soma_winograd_input(m, line, out);
            for (int c = 0; c < size; c++)
                soma_vstore(v + (r * size + c) * v_step, out[c]);
        }
        if (far)
            soma_winograd_look_ahead(size, v, v_step, true);
    }
}

#endif
