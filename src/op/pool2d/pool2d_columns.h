/* SPDX-License-Identifier: Apache-2.0
 *
 * op/pool2d/pool2d_columns.h: what a pooling kernel knows, and its rows where the big side (x or dx) is plain: lanes
 * are columns of one channel. For pool2d_cpu.c alone.
 */
#ifndef SOMA_OP_POOL2D_POOL2D_COLUMNS_H
#define SOMA_OP_POOL2D_POOL2D_COLUMNS_H

#include "cpu/vec.h"
#include "op/pool2d/pool2d.h"
#include "op/tail/tail_vec.h"

typedef enum kind { MAX, MAX_GRAD, GATHER, AVERAGE, AVERAGE_GRAD } kind;

typedef struct pool_state {
    soma_pool2d_case c;
    kind kind;
    int big, small, index, gate; /* positions in arg; -1: none */
    int64_t big_block, small_block, index_block, gate_block;
    int width;     /* channels that one unit takes; 1: the big side is plain */
    int64_t rows;  /* of the small side that pass through the buffer at once */
    size_t buffer; /* bytes per thread */
    int scratch;   /* position in arg */
    int threads;
    bool clear; /* windows do not cover the big side, or overlap: it starts as zeros */
    bool add;   /* windows overlap */
} pool_state;

/* One unit's arrays at a row of windows: big at its own (0, 0), the others at (oh, 0). Steps are between columns. */
typedef struct lanes {
    soma_elem *big, *small, *gate;
    uint8_t *index;
    int64_t big_step, small_step, gate_step, index_step;
    int n; /* channels */
} lanes;

typedef struct taps {
    int64_t i0, i1, j0, j1;
} taps;

#if SOMA_ISA_LEVEL == 3
#define EVEN _mm512_set_epi32(30, 28, 26, 24, 22, 20, 18, 16, 14, 12, 10, 8, 6, 4, 2, 0)
#define ODD _mm512_set_epi32(31, 29, 27, 25, 23, 21, 19, 17, 15, 13, 11, 9, 7, 5, 3, 1)
#define LOW _mm512_set_epi32(23, 7, 22, 6, 21, 5, 20, 4, 19, 3, 18, 2, 17, 1, 16, 0)
#define HIGH _mm512_set_epi32(31, 15, 30, 14, 29, 13, 28, 12, 27, 11, 26, 10, 25, 9, 24, 8)

static inline int at_most(int64_t n, int most)
{
    return n < 0 ? 0 : n < most ? (int)n : most;
}

/* n elements `step` apart. */
static inline __m512 take(const float *p, int64_t step, int n)
{
    float row[16];
    if (step == 1)
        return soma_vload_n(p, n);
    for (int i = 0; i < n; i++)
        row[i] = p[i * step];
    return soma_vload_n(row, n);
}
static inline void give(float *p, int64_t step, __m512 v, int n)
{
    float row[16];
    if (step == 1) {
        soma_vstore_n(p, v, n);
        return;
    }
    soma_vstore(row, v);
    for (int i = 0; i < n; i++)
        p[i * step] = row[i];
}
static inline __m512i take_u8(const uint8_t *p, int64_t step, int n)
{
    uint8_t row[16];
    if (step == 1)
        return soma_viload_u8(p, n);
    for (int i = 0; i < n; i++)
        row[i] = p[i * step];
    return soma_viload_u8(row, n);
}
static inline void give_u8(uint8_t *p, int64_t step, __m512i v, int n)
{
    uint8_t row[16];
    if (step == 1) {
        soma_vistore_u8(p, v, n);
        return;
    }
    soma_vistore_u8(row, v, 16);
    for (int i = 0; i < n; i++)
        p[i * step] = row[i];
}

/* 16 windows 2 x 2 side by side: the elements at (i, j) of each. */
static inline void split_row(const float *x, int n, __m512 *even, __m512 *odd)
{
    __m512 a = soma_vload_n(x, at_most(2 * n, 16)), b = soma_vload_n(x + 16, at_most(2 * n - 16, 16));
    *even = _mm512_permutex2var_ps(a, EVEN, b);
    *odd = _mm512_permutex2var_ps(a, ODD, b);
}

static void max_row_2x2(const pool_state *s, const lanes *v, int64_t oh)
{
    for (int64_t ow = 0; ow < s->c.ow; ow += 16) {
        int n = at_most(s->c.ow - ow, 16);
        const float *x = v->big + 2 * oh * s->c.w + 2 * ow;
        __m512 tap[4], best;
        __m512i index = _mm512_setzero_si512();
        split_row(x, n, &tap[0], &tap[1]);
        split_row(x + s->c.w, n, &tap[2], &tap[3]);
        best = tap[0];
        for (int i = 1; i < 4; i++) {
            soma_vm m = soma_vgreater(tap[i], best);
            best = soma_vchoose(m, tap[i], best);
            index = soma_vichoose(m, soma_viset(i), index);
        }
        best = soma_act_vector(s->c.act, best);
        give(v->small + ow * v->small_step, v->small_step, best, n);
        if (v->index)
            give_u8(v->index + ow * v->index_step, v->index_step, index, n);
    }
}

static void max_grad_row_2x2(const pool_state *s, const lanes *v, int64_t oh)
{
    for (int64_t ow = 0; ow < s->c.ow; ow += 16) {
        int n = at_most(s->c.ow - ow, 16);
        float *x = v->big + 2 * oh * s->c.w + 2 * ow;
        __m512 dy = take(v->small + ow * v->small_step, v->small_step, n);
        __m512i index = take_u8(v->index + ow * v->index_step, v->index_step, n);
        if (v->gate)
            dy = soma_gate_vector(s->c.act, take(v->gate + ow * v->gate_step, v->gate_step, n), dy);
        for (int i = 0; i < 2; i++, x += s->c.w) {
            __m512 even = soma_vkeep(soma_viequal(index, soma_viset(2 * i)), dy);
            __m512 odd = soma_vkeep(soma_viequal(index, soma_viset(2 * i + 1)), dy);
            soma_vstore_n(x, _mm512_permutex2var_ps(even, LOW, odd), at_most(2 * n, 16));
            soma_vstore_n(x + 16, _mm512_permutex2var_ps(even, HIGH, odd), at_most(2 * n - 16, 16));
        }
    }
}

/* Not for windows that reach beyond x (ceil_mode): the vectors read and write all four elements. */
static bool row_2x2(const pool_state *s, const lanes *v, int64_t oh)
{
    const soma_pool2d_attrs *a = &s->c.a;
    bool fits = a->size[0] == 2 && a->size[1] == 2 && a->stride[0] == 2 && a->stride[1] == 2 && !a->pad[0] &&
                !a->pad[1] && !a->pad[2] && !a->pad[3] && 2 * s->c.oh <= s->c.h && 2 * s->c.ow <= s->c.w;
    if (fits && s->kind == MAX)
        max_row_2x2(s, v, oh);
    else if (fits && s->kind == MAX_GRAD)
        max_grad_row_2x2(s, v, oh);
    else
        return false;
    return true;
}
#else
static bool row_2x2(const pool_state *s, const lanes *v, int64_t oh)
{
    (void)s;
    (void)v;
    (void)oh;
    return false;
}
#endif

static void max_column(const pool_state *s, const lanes *v, const soma_elem *x, int64_t ow, taps t)
{
    float best = soma_get1(x[t.i0 * s->c.w + t.j0]);
    int64_t index = t.i0 * s->c.a.size[1] + t.j0;
    for (int64_t i = t.i0; i < t.i1; i++)
        for (int64_t j = t.j0; j < t.j1; j++) {
            float value = soma_get1(x[i * s->c.w + j]);
            if (value > best || value != value) {
                best = value;
                index = i * s->c.a.size[1] + j;
            }
        }
    v->small[ow * v->small_step] = soma_put1(soma_act_fast(s->c.act, best));
    if (v->index)
        v->index[ow * v->index_step] = (uint8_t)index;
}

/* max_grad and gather: the element that won, NULL where nothing passes. */
static soma_elem *winner(const pool_state *s, const lanes *v, soma_elem *x, int64_t ow, taps t)
{
    int64_t index = v->index[ow * v->index_step], i = index / s->c.a.size[1], j = index % s->c.a.size[1];
    bool passes = i >= t.i0 && i < t.i1 && j >= t.j0 && j < t.j1 &&
                  !(v->gate && soma_gate_fast(s->c.act, soma_get1(v->gate[ow * v->gate_step]), 1) == 0);
    return passes ? x + i * s->c.w + j : NULL;
}

SOMA_INLINE void average_column(const pool_state *s, const lanes *v, soma_elem *x, int64_t ow, taps t, float divisor)
{
    float sum = 0, share = s->kind == AVERAGE ? 0 : soma_get1(v->small[ow * v->small_step]) / divisor;
    for (int64_t i = t.i0; i < t.i1; i++)
        for (int64_t j = t.j0; j < t.j1; j++) {
            if (s->kind == AVERAGE)
                sum += soma_get1(x[i * s->c.w + j]);
            else
                x[i * s->c.w + j] = soma_put1(soma_get1(x[i * s->c.w + j]) + share);
        }
    if (s->kind == AVERAGE)
        v->small[ow * v->small_step] = soma_put1(sum / divisor);
}

/* Most windows lie inside the picture, where the divisor is their size; 2 x 2 without a loop. */
static void average_row(const pool_state *s, const lanes *v, int64_t oh)
{
    const soma_pool2d_attrs *a = &s->c.a;
    int64_t h = a->size[0], w = a->size[1];
    taps t;
    soma_pool2d_taps(oh, a->stride[0], a->pad[0], h, s->c.h, &t.i0, &t.i1);
    soma_elem *x = v->big + (oh * a->stride[0] - a->pad[0]) * s->c.w - a->pad[1];
    for (int64_t ow = 0; ow < s->c.ow; ow++, x += a->stride[1]) {
        soma_pool2d_taps(ow, a->stride[1], a->pad[1], w, s->c.w, &t.j0, &t.j1);
        bool inside = t.i1 - t.i0 == h && t.j1 - t.j0 == w;
        float divisor = inside ? (float)(h * w) : (float)soma_pool2d_divisor(&s->c, oh, ow);
        if (inside && h == 2 && w == 2)
            average_column(s, v, x, ow, (taps){0, 2, 0, 2}, divisor);
        else
            average_column(s, v, x, ow, t, divisor);
    }
}

static void column_row(const pool_state *s, const lanes *v, int64_t oh)
{
    const soma_pool2d_attrs *a = &s->c.a;
    taps t;
    if (row_2x2(s, v, oh))
        return;
    if (s->kind == AVERAGE || s->kind == AVERAGE_GRAD) {
        average_row(s, v, oh);
        return;
    }
    soma_pool2d_taps(oh, a->stride[0], a->pad[0], a->size[0], s->c.h, &t.i0, &t.i1);
    for (int64_t ow = 0; ow < s->c.ow; ow++) {
        soma_elem *x = v->big + (oh * a->stride[0] - a->pad[0]) * s->c.w + ow * a->stride[1] - a->pad[1], *at;
        soma_pool2d_taps(ow, a->stride[1], a->pad[1], a->size[1], s->c.w, &t.j0, &t.j1);
        if (s->kind == MAX) {
            max_column(s, v, x, ow, t);
        } else if (s->kind == MAX_GRAD) {
            at = winner(s, v, x, ow, t);
            if (at)
                *at = soma_put1(soma_get1(*at) + soma_get1(v->small[ow * v->small_step]));
        } else {
            at = winner(s, v, x, ow, t);
            v->small[ow * v->small_step] = at ? *at : soma_put1(0);
        }
    }
}

#endif
