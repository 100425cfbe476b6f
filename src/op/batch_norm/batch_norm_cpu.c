/* SPDX-License-Identifier: Apache-2.0
 *
 * op/batch_norm/batch_norm_cpu.c: batch_norm, any layout: a pass that reads x, and a pass that reads x (and z) and
 * writes y. Mean and squared deviations of each block of 8 KB are found in two loops over it while it is in the first
 * cache, then joined in f64 (Chan, Golub and LeVeque 1979): no difference of large numbers anywhere.
 */
#include "op/batch_norm/norm_units.h"

/* ---- statistics: sums a are means, b sums of squared deviations ---- */

static void join(soma_norm_sums *to, const soma_norm_sums *from, int n)
{
    double count = to->count + from->count;
    if (from->count == 0)
        return;
    double part = from->count / count, weight = to->count * part;
    for (int l = 0; l < n; l++) {
        double d = from->a[l] - to->a[l];
        to->a[l] += d * part;
        to->b[l] += from->b[l] + d * d * weight;
    }
    to->count = count;
}

SOMA_INLINE soma_vf load(const soma_elem *x, int v, int vectors, int last)
{
    return v == vectors - 1 ? soma_vget_n(x + v * SOMA_LANES, last) : soma_vget(x + v * SOMA_LANES);
}

/* rows of `vectors` vectors, the last of them of `last` lanes. */
SOMA_INLINE void channels_block(const soma_elem *x, int64_t step, int64_t rows, int vectors, int last,
                                soma_norm_sums *sums)
{
    const int unroll = SOMA_NORM_VECTORS / vectors;
    soma_vf sum[SOMA_NORM_VECTORS], square[SOMA_NORM_VECTORS], mean[SOMA_NORM_VECTORS];
    float sums_of[SOMA_NORM_WIDTH], squares_of[SOMA_NORM_WIDTH];
    int64_t i = 0;
    for (int k = 0; k < SOMA_NORM_VECTORS; k++)
        sum[k] = square[k] = soma_vset(0);
    for (; i + unroll <= rows; i += unroll)
        for (int k = 0; k < unroll * vectors; k++)
            sum[k] += load(x + (i + k / vectors) * step, k % vectors, vectors, last);
    for (; i < rows; i++)
        for (int k = 0; k < vectors; k++)
            sum[k] += load(x + i * step, k, vectors, last);
    for (int k = 0; k < vectors; k++) {
        for (int u = 1; u < unroll; u++)
            sum[k] += sum[u * vectors + k];
        mean[k] = sum[k] * soma_vset(1.0f / (float)rows);
    }
    for (i = 0; i + unroll <= rows; i += unroll) /* the next block comes from memory meanwhile */
        for (int k = 0; k < unroll * vectors; k++) {
            __builtin_prefetch(x + (rows + i + k / vectors) * step + k % vectors * SOMA_LANES);
            soma_vf d = load(x + (i + k / vectors) * step, k % vectors, vectors, last) - mean[k % vectors];
            square[k] = soma_vfma(d, d, square[k]);
        }
    for (; i < rows; i++)
        for (int k = 0; k < vectors; k++) {
            soma_vf d = load(x + i * step, k, vectors, last) - mean[k];
            square[k] = soma_vfma(d, d, square[k]);
        }
    for (int k = 0; k < vectors; k++) {
        for (int u = 1; u < unroll; u++)
            square[k] += square[u * vectors + k];
        soma_vstore(sums_of + k * SOMA_LANES, sum[k]);
        soma_vstore(squares_of + k * SOMA_LANES, square[k]);
    }
    double count = sums->count + (double)rows, part = (double)rows / count, weight = sums->count * part;
    double each = 1 / (double)rows;
    for (int l = 0; l < vectors * SOMA_LANES; l++) {
        double d = (double)sums_of[l] * each - sums->a[l];
        sums->a[l] += d * part;
        sums->b[l] += (double)squares_of[l] + d * d * weight;
    }
    sums->count = count;
}

/* n positions of one channel. */
static void line_block(const soma_elem *x, int64_t n, soma_norm_sums *sums)
{
    const int64_t whole = n / (4 * SOMA_LANES) * (4 * SOMA_LANES);
    soma_vf sum[4], square[4], mean;
    for (int k = 0; k < 4; k++)
        sum[k] = square[k] = soma_vset(0);
    for (int64_t i = 0; i < whole; i += 4 * SOMA_LANES)
        for (int k = 0; k < 4; k++)
            sum[k] += soma_vget(x + i + k * SOMA_LANES);
    for (int64_t i = whole; i < n; i += SOMA_LANES)
        sum[0] += soma_vget_n(x + i, n - i < SOMA_LANES ? (int)(n - i) : SOMA_LANES);
    soma_norm_sums block = {.count = (double)n};
    block.a[0] = (double)soma_vsum((sum[0] + sum[1]) + (sum[2] + sum[3])) / (double)n;
    mean = soma_vset((float)block.a[0]);
    for (int64_t i = 0; i < whole; i += 4 * SOMA_LANES)
        for (int k = 0; k < 4; k++) {
            soma_vf d = soma_vget(x + i + k * SOMA_LANES) - mean;
            square[k] = soma_vfma(d, d, square[k]);
        }
    for (int64_t i = whole; i < n; i += SOMA_LANES) {
        soma_vf d = soma_vget_or(x + i, n - i < SOMA_LANES ? (int)(n - i) : SOMA_LANES, mean) - mean;
        square[0] = soma_vfma(d, d, square[0]);
    }
    block.b[0] = (double)soma_vsum((square[0] + square[1]) + (square[2] + square[3]));
    join(sums, &block, 1);
}

SOMA_INLINE void channels_rows(const soma_elem *x, int64_t step, int64_t rows, soma_norm_sums *sums, int vectors,
                               int last)
{
    const int64_t block = SOMA_NORM_BLOCK / vectors;
    for (int64_t i = 0; i < rows; i += block)
        channels_block(x + i * step, step, rows - i < block ? rows - i : block, vectors, last, sums);
}

static void rows_sum(const soma_elem *x, const soma_norm_rows *r, int64_t rows, soma_norm_sums *sums)
{
    SOMA_NORM_ROWS(*r, channels_rows, x, r->step, rows, sums);
}

static void sum(const soma_norm_units *s, void *const *arg, const soma_norm_unit *u, int64_t begin, int64_t end,
                soma_norm_sums *sums)
{
    const soma_elem *x = (const soma_elem *)arg[s->x] + u->offset;
    const int64_t block = SOMA_NORM_BLOCK * SOMA_LANES;
    soma_norm_rows groups = soma_norm_rows_of(s, u, s->group), single = soma_norm_rows_of(s, u, 1);
    soma_norm_sums lanes = {0};
    int64_t offset, n;
    while (soma_norm_run(s, &begin, end, &offset, &n)) {
        int64_t at = offset + soma_norm_x(s, offset);
        if (s->lines) {
            for (int64_t i = 0; i < n; i += block)
                line_block(x + at + i, n - i < block ? n - i : block, sums);
            continue;
        }
        int64_t rows = n / s->group, rest = n % s->group;
        rows_sum(x + at, &groups, rows, &lanes);
        if (rest)
            rows_sum(x + at + rows * groups.step, &single, rest, sums);
    }
    if (!s->lines)
        soma_norm_fold(s, u, &lanes, join, sums);
}

/* ---- y ---- */

/* Per lane: y = (x - mean) factor + shift. */
typedef struct affine {
    float mean[SOMA_NORM_WIDTH], factor[SOMA_NORM_WIDTH], shift[SOMA_NORM_WIDTH];
} affine;

/* Statistics go to memory in f32 and are read back, so that the gradient, which reads them there, sees the same y. */
static void make_affine(const soma_norm_units *s, void *const *arg, const soma_norm_unit *u, const soma_norm_sums *sums,
                        bool write, affine *a)
{
    const soma_norm_case *c = &s->c;
    float variance[SOMA_NORM_WIDTH];
    soma_norm_take(u, arg, 1, 0, a->mean);
    soma_norm_take(u, arg, 2, 0, variance);
    for (int l = 0; l < u->n && !c->a.use_running; l++) {
        a->mean[l] = (float)sums->a[l];
        variance[l] = (float)(sums->b[l] / sums->count);
        if (write && c->mean >= 0)
            ((float *)arg[c->mean])[u->channel + l] = a->mean[l];
        if (write && c->variance >= 0)
            ((float *)arg[c->variance])[u->channel + l] = variance[l];
    }
    soma_norm_take(u, arg, c->scale, 1, a->factor);
    soma_norm_take(u, arg, c->shift, 0, a->shift);
    for (int l = 0; l < u->n; l++)
        a->factor[l] = soma_norm_factor(a->factor[l], variance[l], c->a.epsilon);
    soma_norm_repeat(s, u, a->mean);
    soma_norm_repeat(s, u, a->factor);
    soma_norm_repeat(s, u, a->shift);
}

SOMA_INLINE void channels_row(const soma_elem *x, const soma_elem *z, soma_elem *y, int vectors, int last,
                              const affine *a, soma_vf low, soma_vf high, bool stream)
{
    for (int k = 0; k < vectors; k++) {
        int at = k * SOMA_LANES, n = k == vectors - 1 ? last : SOMA_LANES;
        soma_vf v = soma_vfma(soma_vget_n(x + at, n) - soma_vload(a->mean + at), soma_vload(a->factor + at),
                              soma_vload(a->shift + at));
        if (z)
            v += soma_vget_n(z + at, n);
        v = soma_vclamp(v, low, high);
        if (stream)
            soma_vput_stream(y + at, v);
        else
            soma_vput_n(y + at, v, n);
    }
}

SOMA_INLINE void channels_apply(const soma_norm_units *s, const soma_elem *x, const soma_elem *z, soma_elem *y,
                                int64_t step, int64_t rows, const affine *a, bool stream, int vectors, int last)
{
    soma_vf low = soma_vset(s->low), high = soma_vset(s->high);
    const affine mine = *a; /* stores to y cannot reach it */
    for (int64_t i = 0, at = 0; i < rows; i++, at += step)
        channels_row(x + at, z ? z + at : NULL, y + at, vectors, last, &mine, low, high, stream);
}

static void line_apply(const soma_norm_units *s, const soma_elem *x, const soma_elem *z, soma_elem *y, int64_t n,
                       const affine *a)
{
    soma_vf low = soma_vset(s->low), high = soma_vset(s->high);
    soma_vf mean = soma_vset(a->mean[0]), factor = soma_vset(a->factor[0]), shift = soma_vset(a->shift[0]);
    for (int64_t i = 0; i < n; i += SOMA_LANES) {
        int k = n - i < SOMA_LANES ? (int)(n - i) : SOMA_LANES;
        soma_vf v = soma_vfma(soma_vget_n(x + i, k) - mean, factor, shift);
        if (z)
            v += soma_vget_n(z + i, k);
        soma_vput_n(y + i, soma_vclamp(v, low, high), k);
    }
}

static void rows_apply(const soma_norm_units *s, const soma_elem *x, const soma_elem *z, soma_elem *y,
                       const soma_norm_rows *r, int64_t rows, const affine *a)
{
    if (s->stream && x != y)
        channels_apply(s, x, z, y, r->step, rows, a, true, 1, SOMA_LANES);
    else
        SOMA_NORM_ROWS(*r, channels_apply, s, x, z, y, r->step, rows, a, false);
}

static void apply(const soma_norm_units *s, void *const *arg, const soma_norm_unit *u, int64_t begin, int64_t end,
                  const soma_norm_sums *sums, bool first)
{
    const soma_elem *all = (const soma_elem *)arg[0] + u->offset;
    const soma_elem *z = s->c.z < 0 ? NULL : (const soma_elem *)arg[s->c.z] + u->offset;
    soma_elem *y = (soma_elem *)arg[s->c.out] + u->offset;
    soma_norm_rows groups = soma_norm_rows_of(s, u, s->group), single = soma_norm_rows_of(s, u, 1);
    int64_t offset, n;
    affine a;
    make_affine(s, arg, u, sums, first, &a);
    while (soma_norm_run(s, &begin, end, &offset, &n)) {
        int64_t rows = n / s->group, rest = n % s->group, at = offset + rows * groups.step;
        const soma_elem *x = all + soma_norm_x(s, offset);
        if (s->lines) {
            line_apply(s, x + offset, z ? z + offset : NULL, y + offset, n, &a);
            continue;
        }
        rows_apply(s, x + offset, z ? z + offset : NULL, y + offset, &groups, rows, &a);
        if (rest)
            rows_apply(s, x + at, z ? z + at : NULL, y + at, &single, rest, &a);
    }
}

static const soma_norm_work passes = {sum, join, apply};

static soma_status run_cpu(const void *state, void *const *arg, soma_run *run)
{
    const soma_norm_units *s = state;
    soma_norm_both(s, &passes, arg, !s->c.a.use_running, run);
    return SOMA_OK;
}

static soma_status prepare(soma_prepare *p)
{
    soma_norm_case c = soma_norm_forward_case(p);
    return soma_norm_prepare(p, &c, 0, run_cpu);
}

static soma_status accept(soma_prepare *p)
{
    if (soma_norm_accept(p) != SOMA_OK)
        return SOMA_UNSUPPORTED;
    return soma_norm_enough(p, &p->in[0]) == SOMA_OK ? SOMA_OK : soma_refuse(p->reason, "one value per channel");
}

const soma_kernel SOMA_ISA(soma_batch_norm_cpu) = {.name = "cpu",
                                                   SOMA_ISA_FIELDS,
                                                   .bf16 = SOMA_STORED_RULE,
                                                   .layouts = SOMA_LAYOUT_FOLLOW,
                                                   .strided = 1,
                                                   .tail = SOMA_TAIL_ADD | SOMA_TAIL_ACT,
                                                   .acts = SOMA_ACTS_CLAMP,
                                                   .accept = accept,
                                                   .prepare = prepare};
