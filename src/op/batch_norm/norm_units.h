/* SPDX-License-Identifier: Apache-2.0
 *
 * op/batch_norm/norm_units.h: how the fast kernels of batch_norm and its gradient see x: as units of some channels,
 * each a list of runs of positions, whatever the layout. Lanes are channels, or the positions of one channel where x is
 * plain.
 *
 * Both kernels read each unit twice: a pass that sums and a pass that writes. A unit that one thread does alone is in
 * that thread's cache when the second pass comes. Units that are left over when threads have got equally many are cut
 * by positions and summed in two regions, with partial results in scratch.
 */
#ifndef SOMA_OP_NORM_UNITS_H
#define SOMA_OP_NORM_UNITS_H

#include "cpu/parallel.h"
#include "cpu/vec.h"
#include "op/batch_norm/batch_norm.h"
#include "op/tail/tail_vec.h"

#include <math.h>

#define SOMA_NORM_VECTORS 4                              /* of a unit, at most */
#define SOMA_NORM_WIDTH (SOMA_NORM_VECTORS * SOMA_LANES) /* channels of a unit, at most */
#define SOMA_NORM_BLOCK 128 /* vectors that f32 adds up before f64 takes over: 8 KB at 16 lanes */

#define SOMA_NORM_STRETCH 131072 /* bytes of an array that stay in the second cache beside those of two others */

/* Element (unit u, run o, position i) stands at u unit_step + o outer_step + i step. */
typedef struct soma_norm_units {
    soma_norm_case c;
    bool lines; /* lanes are positions of one channel */
    /* units lie between each other and positions are many: threads share positions, not units, for those that write
     * next to each other would take each other's lines away */
    bool between;
    int64_t units, width, unit_step;
    int64_t outer, outer_step;
    int64_t x_extra, added_extra; /* from a run of x, or of what is added, to the next, beyond outer_step */
    int64_t positions, step;
    int64_t group;   /* positions that are read as one row of whole vectors: 2 of 8 channels fill 16 lanes */
    float low, high; /* the activation's bounds */
    int x, scratch;  /* positions in arg */
    bool stream; /* a result that lies on no input goes past the caches: it is too large to be there when it is read */
} soma_norm_units;

/* What passes see of one unit: n channels from `channel` on. */
typedef struct soma_norm_unit {
    int64_t offset, channel;
    int n;
} soma_norm_unit;

/* Where a unit's positions follow each other without gaps: how many make whole vectors, 1 where none do. */
static inline int64_t soma_norm_group(const soma_norm_units *s)
{
    for (int64_t g = 1; g * s->width <= SOMA_NORM_WIDTH && s->step == s->width; g++)
        if (g * s->width % SOMA_LANES == 0)
            return g;
    return 1;
}

static inline soma_norm_units soma_norm_units_of(const soma_norm_case *c, soma_layout_kind layout, int x)
{
    soma_norm_units s = {.c = *c, .x = x, .low = soma_act_low(c->act), .high = soma_act_high(c->act)};
    int64_t block = layout == SOMA_NCHW16C ? 16 : 8;
    if (layout == SOMA_NHWC || c->plane == 1) {
        int64_t vectors = (c->c + SOMA_LANES - 1) / SOMA_LANES;
        s.units = (vectors + SOMA_NORM_VECTORS - 1) / SOMA_NORM_VECTORS;
        s.width = s.unit_step = (vectors + s.units - 1) / s.units * SOMA_LANES;
        s.units = (c->c + s.width - 1) / s.width;
        if (s.units == 1)
            s.width = c->c;
        s.outer = 1;
        s.positions = c->n * c->plane;
        s.step = c->c;
        s.group = soma_norm_group(&s);
        return s;
    }
    s.lines = layout == SOMA_PLAIN;
    s.width = s.lines ? 1 : block;
    s.units = c->c / s.width;
    s.unit_step = s.width * c->plane;
    s.outer = c->n;
    s.outer_step = c->c * c->plane;
    s.positions = c->plane;
    s.step = s.width;
    s.group = s.lines ? 1 : soma_norm_group(&s);
    return s;
}

static inline soma_norm_unit soma_norm_unit_at(const soma_norm_units *s, int64_t u)
{
    int64_t first = u * s->width, n = s->c.c - first < s->width ? s->c.c - first : s->width;
    return (soma_norm_unit){u * s->unit_step, first, (int)n};
}

/* What the offset has beyond the other arrays' in one that is a part of a larger array. */
static inline int64_t soma_norm_beyond(const soma_norm_units *s, int64_t extra, int64_t offset)
{
    return extra ? offset / s->outer_step * extra : 0;
}
static inline int64_t soma_norm_x(const soma_norm_units *s, int64_t offset)
{
    return soma_norm_beyond(s, s->x_extra, offset);
}

/* Positions begin .. end of a unit, run by run: sets offset and count of the next piece; false: no more. */
static inline bool soma_norm_run(const soma_norm_units *s, int64_t *begin, int64_t end, int64_t *offset, int64_t *count)
{
    if (*begin >= end)
        return false;
    int64_t o = *begin / s->positions, i = *begin % s->positions;
    int64_t n = s->positions - i < end - *begin ? s->positions - i : end - *begin;
    *offset = o * s->outer_step + i * s->step;
    *count = n;
    *begin += n;
    return true;
}

/* ---- sums ---- */

/* Mean and sum of squared deviations of `count` values in each lane, or any two sums. */
typedef struct soma_norm_sums {
    double count, a[SOMA_NORM_WIDTH], b[SOMA_NORM_WIDTH];
} soma_norm_sums;

/* A kernel: sum adds positions begin .. end of a unit; join adds sums to others; apply makes the unit's results from
 * its sums, writes those that are per channel where `first`, and positions begin .. end. */
typedef struct soma_norm_work {
    void (*sum)(const soma_norm_units *s, void *const *arg, const soma_norm_unit *u, int64_t begin, int64_t end,
                soma_norm_sums *sums);
    void (*join)(soma_norm_sums *to, const soma_norm_sums *from, int n);
    void (*apply)(const soma_norm_units *s, void *const *arg, const soma_norm_unit *u, int64_t begin, int64_t end,
                  const soma_norm_sums *sums, bool first);
} soma_norm_work;

typedef struct soma_norm_job {
    const soma_norm_units *s;
    const soma_norm_work *passes;
    void *const *arg;
    soma_norm_sums *scratch; /* [left][count] */
    bool sums;
} soma_norm_job;

/* Units that one thread does alone. */
static inline int64_t soma_norm_even(const soma_norm_units *s, int count)
{
    return s->between && count > 1 ? 0 : s->units / count * count;
}

/* Positions that all units go through before the next: they share lines, or pages at least. */
static inline int64_t soma_norm_stretch(const soma_norm_units *s)
{
    int64_t fits = SOMA_NORM_STRETCH / ((int64_t)sizeof(soma_elem) * s->c.c);
    return s->between ? (fits < 64 ? 64 : fits) : s->outer * s->positions;
}

static inline void soma_norm_first(void *context, int index, int count)
{
    const soma_norm_job *j = context;
    const soma_norm_units *s = j->s;
    int64_t even = soma_norm_even(s, count), all = s->outer * s->positions, begin, end, stretch = soma_norm_stretch(s);
    for (int64_t k = even / count * index; k < even / count * (index + 1); k++) {
        soma_norm_unit u = soma_norm_unit_at(s, k);
        soma_norm_sums sums = {0};
        if (j->sums)
            j->passes->sum(s, j->arg, &u, 0, all, &sums);
        j->passes->apply(s, j->arg, &u, 0, all, &sums, true);
    }
    soma_share(all, 16, index, count, &begin, &end);
    for (int64_t k = even; k < s->units && j->sums; k++)
        memset(&j->scratch[(k - even) * count + index], 0, sizeof *j->scratch);
    for (int64_t b = begin; b < end && j->sums; b += stretch)
        for (int64_t k = even; k < s->units; k++) {
            soma_norm_unit u = soma_norm_unit_at(s, k);
            j->passes->sum(s, j->arg, &u, b, b + stretch < end ? b + stretch : end,
                           &j->scratch[(k - even) * count + index]);
        }
    if (s->stream)
        soma_vstream_end();
}

static inline void soma_norm_second(void *context, int index, int count)
{
    const soma_norm_job *j = context;
    const soma_norm_units *s = j->s;
    int64_t even = soma_norm_even(s, count), begin, end, stretch = soma_norm_stretch(s);
    soma_share(s->outer * s->positions, 16, index, count, &begin, &end);
    int64_t b = begin;
    do { /* once at least: the first thread writes what is per channel, whatever its share */
        for (int64_t k = even; k < s->units; k++) {
            soma_norm_unit u = soma_norm_unit_at(s, k);
            soma_norm_sums sums = {0};
            for (int i = 0; i < count && j->sums; i++)
                j->passes->join(&sums, &j->scratch[(k - even) * count + i], u.n);
            j->passes->apply(s, j->arg, &u, b, b + stretch < end ? b + stretch : end, &sums, index == 0 && b == begin);
        }
        b += stretch;
    } while (b < end);
    if (s->stream)
        soma_vstream_end();
}

static inline void soma_norm_both(const soma_norm_units *s, const soma_norm_work *passes, void *const *arg, bool sums,
                                  soma_run *run)
{
    int threads = soma_run_threads(run, s->c.threads);
    soma_norm_job j = {s, passes, arg, arg[s->scratch], sums};
    soma_parallel(threads, soma_norm_first, &j);
    if (soma_norm_even(s, threads) < s->units)
        soma_parallel(threads, soma_norm_second, &j);
}

/* ---- rows: one position, or a group of them, as vectors of which the last may be cut ---- */

typedef struct soma_norm_rows {
    int64_t step;
    int vectors, last;
} soma_norm_rows;

static inline soma_norm_rows soma_norm_rows_of(const soma_norm_units *s, const soma_norm_unit *u, int64_t group)
{
    int lanes = (int)group * u->n, vectors = (lanes + SOMA_LANES - 1) / SOMA_LANES;
    return (soma_norm_rows){group * s->step, vectors, lanes - (vectors - 1) * SOMA_LANES};
}

/* Calls fn(..., vectors, last) with constants: whole vectors need no masks, and what they hold stays in registers. */
#define SOMA_NORM_ROWS(r, fn, ...)                                                                                     \
    do {                                                                                                               \
        if ((r).last == SOMA_LANES) {                                                                                  \
            if ((r).vectors == 1)                                                                                      \
                fn(__VA_ARGS__, 1, SOMA_LANES);                                                                        \
            else if ((r).vectors == 2)                                                                                 \
                fn(__VA_ARGS__, 2, SOMA_LANES);                                                                        \
            else if ((r).vectors == 3)                                                                                 \
                fn(__VA_ARGS__, 3, SOMA_LANES);                                                                        \
            else                                                                                                       \
                fn(__VA_ARGS__, 4, SOMA_LANES);                                                                        \
        } else if ((r).vectors == 1) {                                                                                 \
            fn(__VA_ARGS__, 1, (r).last);                                                                              \
        } else if ((r).vectors == 2) {                                                                                 \
            fn(__VA_ARGS__, 2, (r).last);                                                                              \
        } else if ((r).vectors == 3) {                                                                                 \
            fn(__VA_ARGS__, 3, (r).last);                                                                              \
        } else {                                                                                                       \
            fn(__VA_ARGS__, 4, (r).last);                                                                              \
        }                                                                                                              \
    } while (0)

/* Sums of the lanes of a group: each channel's join. */
static inline void soma_norm_fold(const soma_norm_units *s, const soma_norm_unit *u, const soma_norm_sums *lanes,
                                  void (*join)(soma_norm_sums *, const soma_norm_sums *, int), soma_norm_sums *to)
{
    for (int64_t q = 0; q < s->group; q++) {
        soma_norm_sums one = {.count = lanes->count};
        memcpy(one.a, lanes->a + q * u->n, (size_t)u->n * sizeof one.a[0]);
        memcpy(one.b, lanes->b + q * u->n, (size_t)u->n * sizeof one.b[0]);
        join(to, &one, u->n);
    }
}

/* Numbers of the unit's channels for the lanes of a group. */
static inline void soma_norm_repeat(const soma_norm_units *s, const soma_norm_unit *u, float number[SOMA_NORM_WIDTH])
{
    for (int l = u->n; l < SOMA_NORM_WIDTH; l++)
        number[l] = l < s->group * u->n ? number[l - u->n] : 0;
}

/* One number of each channel of the unit as f32; `otherwise` where the argument is absent. */
static inline void soma_norm_take(const soma_norm_unit *u, void *const *arg, int position, float otherwise, float *to)
{
    for (int l = 0; l < u->n; l++)
        to[l] = position < 0 ? otherwise : ((const float *)arg[position])[u->channel + l];
}

/* scale / sqrt(variance + epsilon) */
static inline float soma_norm_factor(float scale, float variance, double epsilon)
{
    return (float)((double)scale / sqrt((double)variance + epsilon));
}

/* Batched arrays as this level stores them, what is per channel in f32. */
static inline soma_status soma_norm_accept(const soma_prepare *p)
{
    for (int i = 0; i < p->n_in + p->n_out; i++) {
        const soma_arg *a = i < p->n_in ? &p->in[i] : &p->out[i - p->n_in];
        if (a->shape.rank >= 0 && a->dtype != (a->shape.rank > 1 ? SOMA_STORED : SOMA_F32))
            return soma_refuse(p->reason, "the kernel is for %s, not for %s", soma_dtype_name(SOMA_STORED),
                               soma_dtype_name(a->dtype));
    }
    return SOMA_OK;
}

/* x: its position among the inputs. */
static inline soma_status soma_norm_prepare(soma_prepare *p, const soma_norm_case *c, int x, soma_run_fn run)
{
    soma_norm_units *s = soma_prepare_state(p, sizeof *s);
    size_t threads = (size_t)c->threads;
    if (!s)
        return SOMA_MEMORY;
    *s = soma_norm_units_of(c, p->in[x].layout.kind, x);
    for (int i = x; i <= SOMA_NORM_ADDED && i < p->n_in; i += SOMA_NORM_ADDED - x) {
        if (!p->in[i].layout.batch_stride)
            continue;
        if (!s->outer_step)
            return soma_refuse(p->reason, "the kernel takes dense arrays where a plane is one position");
        *(i == x ? &s->x_extra : &s->added_extra) = p->in[i].layout.batch_stride - s->outer_step;
    }
    s->scratch = p->n_in + p->n_out;
    s->between = s->units > 1 && s->step > s->width && s->outer * s->positions >= 64 * (int64_t)c->threads;
    p->scratch = (s->between && threads > 1 ? (size_t)s->units : threads - 1) * threads * sizeof(soma_norm_sums);
    soma_norm_rows rows = {0};
    if (!s->lines && !s->between)
        rows = soma_norm_rows_of(s, &(soma_norm_unit){0, 0, (int)s->width}, s->group);
    s->stream = rows.vectors == 1 && rows.last == SOMA_LANES && c->plane % s->group == 0 &&
                sizeof(soma_elem) * (uint64_t)p->in[x].elements > soma_cache_bytes();
    p->parallel = threads > 1;
    p->state = s;
    p->run = run;
    return SOMA_OK;
}

#endif
