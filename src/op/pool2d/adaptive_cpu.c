/* SPDX-License-Identifier: Apache-2.0
 *
 * op/pool2d/adaptive_cpu.c: adaptive average pooling, where each array may have its own layout, seen as
 * [N, C / block, H, W, block]. Where the big side (x or dx) has channels inside, up to 512 channels of a position are
 * summed side by side; where it is plain, columns are. Each byte of the big side is touched once, unless bins overlap.
 */
#include "cpu/parallel.h"
#include "cpu/vec.h"
#include "op/pool2d/adaptive.h"
#include "op/reorder/reorder.h"

#define WIDEST 512          /* channels at once: their sums stay in the first-level cache */
#define PARALLEL_FROM 65536 /* elements of the big side from which a parallel region pays */

typedef struct adaptive_state {
    soma_adaptive_case c;
    bool backward;
    bool add; /* backward: bins overlap, so that dx starts as zeros */
    int64_t big_block, small_block, width;
    int threads;
} adaptive_state;

typedef struct adaptive_job {
    const adaptive_state *s;
    void *const *arg;
} adaptive_job;

typedef struct bin {
    int64_t h0, h1, w0, w1;
} bin;

/* The element (n, c, first position) of an array of `plane` positions. */
static int64_t offset(const adaptive_state *s, int64_t n, int64_t c, int64_t plane, int64_t block)
{
    return n * s->c.c * plane + c / block * block * plane + c % block;
}

/* row[i] = the bin's sum of channel i */
static inline __attribute__((always_inline)) void sum_bin(const adaptive_state *s, const soma_elem *x, bin b,
                                                          float *row, int64_t width)
{
    for (int64_t i = 0; i < width; i++)
        row[i] = 0;
    for (int64_t h = b.h0; h < b.h1; h++)
        for (int64_t w = b.w0; w < b.w1; w++) {
            const soma_elem *from = x + (h * s->c.w + w) * s->big_block;
#pragma omp simd
            for (int64_t i = 0; i < width; i++)
                row[i] += soma_get1(from[i]);
        }
}

static inline __attribute__((always_inline)) void spread_bin(const adaptive_state *s, soma_elem *x, bin b,
                                                             const float *row, int64_t width)
{
    for (int64_t h = b.h0; h < b.h1; h++)
        for (int64_t w = b.w0; w < b.w1; w++) {
            soma_elem *to = x + (h * s->c.w + w) * s->big_block;
            if (s->add) {
#pragma omp simd
                for (int64_t i = 0; i < width; i++)
                    to[i] = soma_put1(soma_get1(to[i]) + row[i]);
            } else {
#pragma omp simd
                for (int64_t i = 0; i < width; i++)
                    to[i] = soma_put1(row[i]);
            }
        }
}

/* One bin of `width` channels that lie side by side; small: of channel 0 at this bin's position. */
static void channel_bin(const adaptive_state *s, soma_elem *big, soma_elem *const *small, bin b, int64_t width)
{
    float row[WIDEST], count = (float)((b.h1 - b.h0) * (b.w1 - b.w0));
    if (!s->backward) {
        if (width == 16)
            sum_bin(s, big, b, row, 16);
        else
            sum_bin(s, big, b, row, width);
        for (int64_t i = 0; i < width; i++)
            *small[i] = soma_put1(row[i] / count);
        return;
    }
    for (int64_t i = 0; i < width; i++)
        row[i] = soma_get1(*small[i]) / count;
    if (width == 16)
        spread_bin(s, big, b, row, 16);
    else
        spread_bin(s, big, b, row, width);
}

/* One bin of a plain plane. */
static void column_bin(const adaptive_state *s, soma_elem *big, soma_elem *small, bin b)
{
    float sum = 0, count = (float)((b.h1 - b.h0) * (b.w1 - b.w0)), share = s->backward ? soma_get1(*small) / count : 0;
    bool whole = b.w1 - b.w0 == s->c.w; /* whole rows are one run of elements */
    int64_t rows = whole ? 1 : b.h1 - b.h0, columns = whole ? (b.h1 - b.h0) * s->c.w : b.w1 - b.w0;
    for (int64_t h = 0; h < rows; h++) {
        soma_elem *x = big + (b.h0 + h) * s->c.w + b.w0;
        if (!s->backward) {
#pragma omp simd reduction(+ : sum)
            for (int64_t w = 0; w < columns; w++)
                sum += soma_get1(x[w]);
        } else {
#pragma omp simd
            for (int64_t w = 0; w < columns; w++)
                x[w] = soma_put1(s->add ? soma_get1(x[w]) + share : share);
        }
    }
    if (!s->backward)
        *small = soma_put1(sum / count);
}

static void unit(const adaptive_state *s, void *const *arg, int64_t n, int64_t c)
{
    int64_t big_plane = s->c.h * s->c.w, small_plane = s->c.oh * s->c.ow;
    int64_t width = s->c.c - c < s->width ? s->c.c - c : s->width;
    soma_elem *big = (soma_elem *)arg[s->backward] + offset(s, n, c, big_plane, s->big_block), *small[WIDEST];
    for (int64_t i = 0; i < width; i++)
        small[i] = (soma_elem *)arg[!s->backward] + offset(s, n, c + i, small_plane, s->small_block);
    if (s->backward && s->add)
        for (int64_t p = 0; p < big_plane; p++)
            memset(big + p * s->big_block, 0, (size_t)width * sizeof *big);
    for (int64_t oh = 0; oh < s->c.oh; oh++)
        for (int64_t ow = 0; ow < s->c.ow; ow++) {
            bin b;
            soma_adaptive_bin(oh, s->c.h, s->c.oh, &b.h0, &b.h1);
            soma_adaptive_bin(ow, s->c.w, s->c.ow, &b.w0, &b.w1);
            if (s->big_block == 1)
                column_bin(s, big, small[0], b);
            else
                channel_bin(s, big, small, b, width);
            for (int64_t i = 0; i < width; i++)
                small[i] += s->small_block;
        }
}

static void part(void *context, int index, int count)
{
    const adaptive_job *job = context;
    const adaptive_state *s = job->s;
    int64_t per = (s->c.c + s->width - 1) / s->width, begin, end;
    soma_share(s->c.n * per, 1, index, count, &begin, &end);
    for (int64_t u = begin; u < end; u++)
        unit(s, job->arg, u / per, u % per * s->width);
}

static soma_status run(const void *state, void *const *arg, soma_run *r)
{
    const adaptive_state *s = state;
    adaptive_job job = {s, arg};
    soma_run_parallel(r, s->threads, part, &job);
    return SOMA_OK;
}

static soma_status accept(soma_prepare *p)
{
    if (p->in[0].dtype == SOMA_STORED)
        return SOMA_OK;
    soma_refuse(p->reason, "pools %s only", soma_dtype_name(SOMA_STORED));
    return SOMA_UNSUPPORTED;
}

static soma_status prepare(soma_prepare *p, bool backward)
{
    adaptive_state *s = soma_prepare_state(p, sizeof *s);
    if (!s)
        return SOMA_MEMORY;
    const soma_arg *big = backward ? &p->out[0] : &p->in[0], *small = backward ? &p->in[0] : &p->out[0];
    s->c = soma_adaptive_case_of(&big->shape, &small->shape);
    s->backward = backward;
    s->add = s->c.h % s->c.oh || s->c.w % s->c.ow;
    s->big_block = soma_layout_block(big);
    s->small_block = soma_layout_block(small);
    s->width = s->big_block < WIDEST ? s->big_block : WIDEST;
    s->threads = big->elements >= PARALLEL_FROM ? p->threads : 1;
    p->parallel = s->threads > 1;
    p->state = s;
    p->run = run;
    return SOMA_OK;
}

#define KERNEL(op_name, backward)                                                                                      \
    static soma_status op_name##_prepare(soma_prepare *p)                                                              \
    {                                                                                                                  \
        return prepare(p, backward);                                                                                   \
    }                                                                                                                  \
    extern const soma_kernel SOMA_ISA(soma_##op_name##_cpu);                                                           \
    const soma_kernel SOMA_ISA(soma_##op_name##_cpu) = {.name = "cpu",                                                 \
                                                        SOMA_ISA_FIELDS,                                               \
                                                        .bf16 = SOMA_STORED_RULE,                                      \
                                                        .layouts = SOMA_LAYOUT_CONVERT,                                \
                                                        .accept = accept,                                              \
                                                        .prepare = op_name##_prepare};
KERNEL(adaptive_average_pool2d, false)
KERNEL(adaptive_average_pool2d_grad, true)
