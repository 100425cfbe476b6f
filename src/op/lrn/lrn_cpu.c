/* SPDX-License-Identifier: Apache-2.0
 *
 * op/lrn/lrn_cpu.c: local response normalisation in f32, all arguments in one layout. The channels of one position (or,
 * plain, of 32 positions side by side) pass through buffers with zeros for the channels that do not exist, so that a
 * window is `size` loads a fixed distance apart. Each byte of memory is touched once.
 */
#include "cpu/isa.h"
#include "cpu/parallel.h"
#include "cpu/vecmath.h"
#include "op/lrn/lrn.h"
#include "op/reorder/reorder.h"

#include <string.h>

#define POSITIONS 32        /* of a plain array at once */
#define PARALLEL_FROM 16384 /* elements from which a parallel region pays */

typedef struct lrn_state {
    int64_t n, c, plane, block;
    int64_t shift;        /* elements of a buffer between neighbouring channels: 1, or plain the positions */
    int64_t width;        /* elements of a buffer without its margins */
    int64_t front, back;  /* neighbours in a window, before and behind */
    float alpha, beta, k; /* alpha: over size */
    int64_t size;
    bool backward;
    size_t buffer; /* elements */
    int scratch, threads;
} lrn_state;

typedef struct lrn_job {
    const lrn_state *s;
    void *const *arg;
} lrn_job;

/* Moves the channels of `count` positions from `at` on between an array and a buffer. */
static void take(const lrn_state *s, const float *x, int64_t at, int64_t count, float *to)
{
    for (int64_t c = 0; c < s->c && s->block == 1; c++)
        memcpy(to + c * s->shift, x + at + c * s->plane, (size_t)count * sizeof *x);
    for (int64_t c = 0; c < s->c && s->block > 1; c += s->block)
        memcpy(to + c, x + at + c * s->plane, (size_t)s->block * sizeof *x);
}
static void give(const lrn_state *s, float *x, int64_t at, int64_t count, const float *from)
{
    for (int64_t c = 0; c < s->c && s->block == 1; c++)
        memcpy(x + at + c * s->plane, from + c * s->shift, (size_t)count * sizeof *x);
    for (int64_t c = 0; c < s->c && s->block > 1; c += s->block)
        memcpy(x + at + c * s->plane, from + c, (size_t)s->block * sizeof *x);
}

/* to[i] = from[i] + from[i + shift] + ..., size of them */
static void windows(const lrn_state *s, const float *from, float *to)
{
    memcpy(to, from, (size_t)s->width * sizeof *to);
    for (int64_t j = 1; j < s->size; j++) {
        const float *next = from + j * s->shift;
#pragma omp simd
        for (int64_t i = 0; i < s->width; i++)
            to[i] += next[i];
    }
}

/* d: in sums of squares, out the divisors; power: d^-beta */
static void powers(const lrn_state *s, float *d, float *power)
{
    float alpha = s->alpha, k = s->k, beta = s->beta;
    if (beta == 0.75f) {
#pragma omp simd
        for (int64_t i = 0; i < s->width; i++) {
            d[i] = k + alpha * d[i];
            float root = __builtin_sqrtf(d[i]);
            power[i] = 1 / (root * __builtin_sqrtf(root));
        }
    } else {
#pragma omp simd
        for (int64_t i = 0; i < s->width; i++) {
            d[i] = k + alpha * d[i];
            power[i] = soma_vexp(-beta * soma_vlog(d[i]));
        }
    }
}

/* Buffers of one thread; those with margins begin at the first channel that exists. */
typedef struct buffers {
    float *x, *dy, *d, *power, *square, *term;
} buffers;

static void strip(const lrn_state *s, void *const *arg, const buffers *b, int64_t at, int64_t count)
{
    float factor = -2 * s->alpha * s->beta;
    take(s, arg[s->backward], at, count, b->x);
    if (s->backward)
        take(s, arg[0], at, count, b->dy);
    for (int64_t i = 0; i < s->width; i++)
        b->square[i] = b->x[i] * b->x[i];
    windows(s, b->square - s->front * s->shift, b->d);
    powers(s, b->d, b->power);
    if (s->backward) {
        for (int64_t i = 0; i < s->width; i++)
            b->term[i] = b->dy[i] * b->x[i] * b->power[i] / b->d[i];
        windows(s, b->term - s->back * s->shift, b->d); /* the windows that hold a channel: the other side is longer */
        for (int64_t i = 0; i < s->width; i++)
            b->x[i] = soma_vmuladd(b->dy[i], b->power[i], factor * b->x[i] * b->d[i]);
    } else {
        for (int64_t i = 0; i < s->width; i++)
            b->x[i] *= b->power[i];
    }
    give(s, arg[1 + s->backward], at, count, b->x);
}

static void part(void *context, int index, int count)
{
    const lrn_job *job = context;
    const lrn_state *s = job->s;
    float *memory = (float *)job->arg[s->scratch] + (size_t)index * s->buffer;
    int64_t margins = (s->size - 1) * s->shift, begin, end;
    memset(memory, 0, s->buffer * sizeof *memory); /* the margins, and lanes without positions */
    buffers b = {.x = memory, .dy = memory + s->width, .d = memory + 2 * s->width, .power = memory + 3 * s->width};
    b.square = memory + 4 * s->width + s->front * s->shift;
    b.term = memory + 5 * s->width + margins + s->back * s->shift;
    int64_t columns = s->block == 1 ? POSITIONS : 1, per = (s->plane + columns - 1) / columns;
    soma_share(s->n * per, 1, index, count, &begin, &end);
    for (int64_t u = begin; u < end; u++) {
        int64_t p = u % per * columns, left = s->plane - p;
        int64_t at = u / per * s->c * s->plane + p * s->block;
        strip(s, job->arg, &b, at, left < columns ? left : columns);
    }
}

static soma_status run(const void *state, void *const *arg, soma_run *r)
{
    const lrn_state *s = state;
    lrn_job job = {s, arg};
    soma_run_parallel(r, s->threads, part, &job);
    return SOMA_OK;
}

static soma_status accept(soma_prepare *p)
{
    if (p->in[0].dtype == SOMA_F32)
        return SOMA_OK;
    soma_refuse(p->reason, "normalises f32 only");
    return SOMA_UNSUPPORTED;
}

static int64_t smaller(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static soma_status prepare(soma_prepare *p)
{
    const soma_lrn_attrs *a = p->attrs;
    const soma_shape *x = &p->in[0].shape;
    lrn_state *s = soma_prepare_state(p, sizeof *s);
    if (!s)
        return SOMA_MEMORY;
    *s = (lrn_state){.n = x->dim[0],
                     .c = x->dim[1],
                     .plane = x->dim[2] * x->dim[3],
                     .block = soma_layout_block(&p->in[0]),
                     .front = smaller(soma_lrn_before(a), x->dim[1] - 1), /* what lies further away does not exist */
                     .back = smaller(soma_lrn_after(a), x->dim[1] - 1),
                     .alpha = (float)(a->alpha / (double)a->size),
                     .beta = (float)a->beta,
                     .k = (float)a->k,
                     .backward = p->n_in == 2,
                     .scratch = p->n_in + p->n_out};
    s->size = s->front + 1 + s->back;
    s->shift = s->block == 1 ? POSITIONS : 1;
    s->width = s->c * s->shift;
    s->buffer = (size_t)(6 * s->width + 2 * (s->size - 1) * s->shift + 15) / 16 * 16;
    s->threads = p->in[0].elements >= PARALLEL_FROM ? p->threads : 1;
    p->scratch = (size_t)s->threads * s->buffer * sizeof(float);
    p->parallel = s->threads > 1;
    p->state = s;
    p->run = run;
    return SOMA_OK;
}

extern const soma_kernel SOMA_ISA(soma_local_response_norm_cpu), SOMA_ISA(soma_local_response_norm_grad_cpu);
const soma_kernel SOMA_ISA(soma_local_response_norm_cpu) = {
    .name = "cpu", SOMA_ISA_FIELDS, .layouts = SOMA_LAYOUT_FOLLOW, .accept = accept, .prepare = prepare};
const soma_kernel SOMA_ISA(soma_local_response_norm_grad_cpu) = {
    .name = "cpu", SOMA_ISA_FIELDS, .layouts = SOMA_LAYOUT_FOLLOW, .accept = accept, .prepare = prepare};
