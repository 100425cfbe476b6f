/* SPDX-License-Identifier: Apache-2.0
 *
 * op/batch_norm/batch_norm_grad_cpu.c: batch_norm_grad, any layout: a pass that reads dy and x (and y) and sums, and a
 * pass that reads them again and writes dx. What the activation let pass, where it is asked for (dz), is written by the
 * first pass and read by the second in place of dy and y. Blocks of 128 vectors are summed in f32, blocks in f64.
 */
#include "op/batch_norm/norm_units.h"

/* Where the activation's mask comes from. */
typedef enum mask { NONE, FROM_X, FROM_Y } mask;

typedef struct arrays {
    const soma_elem *dy, *x, *y, *added;
    soma_elem *dx, *dz;
    const soma_elem *own; /* dy, whatever stands for it later */
} arrays;

/* Per lane: what the sums need, then what dx needs: dx = factor (g - mean_g) - slope (x - mean). */
typedef struct numbers {
    float mean[SOMA_NORM_WIDTH], factor[SOMA_NORM_WIDTH], shift[SOMA_NORM_WIDTH];
    float mean_g[SOMA_NORM_WIDTH], slope[SOMA_NORM_WIDTH];
    soma_vf low, high;
} numbers;

static void get_numbers(const soma_norm_units *s, void *const *arg, const soma_norm_unit *u, numbers *a)
{
    float variance[SOMA_NORM_WIDTH];
    soma_norm_take(u, arg, 2, 0, a->mean);
    soma_norm_take(u, arg, 3, 0, variance);
    soma_norm_take(u, arg, s->c.scale, 1, a->factor);
    soma_norm_take(u, arg, s->c.shift, 0, a->shift);
    for (int l = 0; l < u->n; l++)
        a->factor[l] = soma_norm_factor(a->factor[l], variance[l], s->c.a.epsilon);
    soma_norm_repeat(s, u, a->mean);
    soma_norm_repeat(s, u, a->factor);
    soma_norm_repeat(s, u, a->shift);
    a->low = soma_vset(s->low);
    a->high = soma_vset(s->high < INFINITY ? s->high : NAN); /* nothing is >= NaN */
}

static mask mask_of(const soma_norm_case *c)
{
    return c->act == SOMA_ACT_NONE ? NONE : c->y >= 0 ? FROM_Y : FROM_X;
}

static arrays arrays_at(const soma_norm_units *s, void *const *arg, int64_t offset)
{
    const soma_norm_case *c = &s->c;
    return (arrays){
        (const soma_elem *)arg[0] + offset,
        (const soma_elem *)arg[1] + offset + soma_norm_x(s, offset),
        c->y < 0 ? NULL : (const soma_elem *)arg[c->y] + offset,
        c->added < 0 ? NULL : (const soma_elem *)arg[c->added] + offset + soma_norm_beyond(s, s->added_extra, offset),
        (soma_elem *)arg[c->out] + offset,
        c->dz < 0 ? NULL : (soma_elem *)arg[c->dz] + offset,
        (const soma_elem *)arg[0] + offset};
}

/* g: dy where the activation let pass; d: x - mean. at: from the arrays' begin; k: the lanes' first channel in a. */
SOMA_INLINE soma_vf passed(const arrays *p, int64_t at, int n, mask m, const numbers *a, int k, soma_vf d)
{
    soma_vf dy = soma_vget_n(p->dy + at, n);
    if (m == FROM_X)
        dy = soma_vkeep(
            soma_vinside(soma_vfma(d, soma_vload(a->factor + k), soma_vload(a->shift + k)), a->low, a->high), dy);
    if (m == FROM_Y)
        dy = soma_vkeep(soma_vinside(soma_vget_n(p->y + at, n), a->low, a->high), dy);
    return dy;
}

/* ---- sums: a of g, b of g (x - mean) ---- */

static void join(soma_norm_sums *to, const soma_norm_sums *from, int n)
{
    for (int l = 0; l < n; l++) {
        to->a[l] += from->a[l];
        to->b[l] += from->b[l];
    }
}

SOMA_INLINE void sum_row(const arrays *p, int64_t at, int vectors, int last, mask m, const numbers *a, soma_vf *g,
                         soma_vf *gd)
{
    for (int k = 0; k < vectors; k++) {
        int n = k == vectors - 1 ? last : SOMA_LANES, l = k * SOMA_LANES;
        soma_vf d = soma_vget_n(p->x + at + l, n) - soma_vload(a->mean + l);
        soma_vf v = passed(p, at + l, n, m, a, l, d);
        if (p->dz)
            soma_vput_n(p->dz + at + l, v, n);
        g[k] += v;
        gd[k] = soma_vfma(v, d, gd[k]);
    }
}

SOMA_INLINE void sum_block(const arrays *p, int64_t step, int64_t rows, int vectors, int last, mask m, const numbers *a,
                           soma_norm_sums *sums)
{
    const int unroll = SOMA_NORM_VECTORS / vectors;
    soma_vf g[SOMA_NORM_VECTORS], gd[SOMA_NORM_VECTORS];
    float sums_of[2][SOMA_NORM_WIDTH];
    int64_t i = 0;
    for (int k = 0; k < SOMA_NORM_VECTORS; k++)
        g[k] = gd[k] = soma_vset(0);
    for (; i + unroll <= rows; i += unroll)
        for (int r = 0; r < unroll; r++)
            sum_row(p, (i + r) * step, vectors, last, m, a, g + r * vectors, gd + r * vectors);
    for (; i < rows; i++)
        sum_row(p, i * step, vectors, last, m, a, g, gd);
    for (int k = 0; k < vectors; k++) {
        for (int r = 1; r < unroll; r++) {
            g[k] += g[r * vectors + k];
            gd[k] += gd[r * vectors + k];
        }
        soma_vstore(sums_of[0] + k * SOMA_LANES, g[k]);
        soma_vstore(sums_of[1] + k * SOMA_LANES, gd[k]);
    }
    for (int l = 0; l < vectors * SOMA_LANES; l++) {
        sums->a[l] += (double)sums_of[0][l];
        sums->b[l] += (double)sums_of[1][l];
    }
}

SOMA_INLINE void sum_rows(const soma_norm_units *s, void *const *arg, int64_t offset, int64_t step, int64_t rows,
                          mask m, const numbers *a, soma_norm_sums *sums, int vectors, int last)
{
    const int64_t block = SOMA_NORM_BLOCK / vectors;
    for (int64_t i = 0; i < rows; i += block) {
        arrays p = arrays_at(s, arg, offset + i * step);
        sum_block(&p, step, rows - i < block ? rows - i : block, vectors, last, m, a, sums);
    }
}

static void sum_any(const soma_norm_units *s, void *const *arg, int64_t offset, const soma_norm_rows *r, int64_t rows,
                    const numbers *a, soma_norm_sums *sums)
{
    mask m = mask_of(&s->c);
    if (m == NONE)
        SOMA_NORM_ROWS(*r, sum_rows, s, arg, offset, r->step, rows, NONE, a, sums);
    else if (m == FROM_X)
        SOMA_NORM_ROWS(*r, sum_rows, s, arg, offset, r->step, rows, FROM_X, a, sums);
    else
        SOMA_NORM_ROWS(*r, sum_rows, s, arg, offset, r->step, rows, FROM_Y, a, sums);
}

static void sum_channels(const soma_norm_units *s, void *const *arg, const soma_norm_unit *u, int64_t begin,
                         int64_t end, const numbers *a, soma_norm_sums *sums)
{
    soma_norm_rows groups = soma_norm_rows_of(s, u, s->group), single = soma_norm_rows_of(s, u, 1);
    soma_norm_sums lanes = {0};
    int64_t offset, n;
    while (soma_norm_run(s, &begin, end, &offset, &n)) {
        int64_t rows = n / s->group, rest = n % s->group, at = u->offset + offset;
        sum_any(s, arg, at, &groups, rows, a, &lanes);
        if (rest)
            sum_any(s, arg, at + rows * groups.step, &single, rest, a, sums);
    }
    soma_norm_fold(s, u, &lanes, join, sums);
}

/* One channel's number in every lane. */
static void spread(float number[SOMA_NORM_WIDTH])
{
    soma_vstore(number, soma_vset(number[0]));
}

/* Lanes are positions: one vector of them is a row; what is left over is a row of its own. */
static void sum_lines(const soma_norm_units *s, void *const *arg, const soma_norm_unit *u, int64_t begin, int64_t end,
                      numbers *a, soma_norm_sums *sums)
{
    const soma_norm_rows whole = {SOMA_LANES, 1, SOMA_LANES};
    soma_norm_sums lanes = {0};
    int64_t offset, n;
    spread(a->mean);
    spread(a->factor);
    spread(a->shift);
    while (soma_norm_run(s, &begin, end, &offset, &n)) {
        const soma_norm_rows rest = {SOMA_LANES, 1, (int)(n % SOMA_LANES)};
        int64_t rows = n / SOMA_LANES, at = u->offset + offset;
        sum_any(s, arg, at, &whole, rows, a, &lanes);
        if (rest.last)
            sum_any(s, arg, at + rows * SOMA_LANES, &rest, 1, a, &lanes);
    }
    for (int l = 0; l < SOMA_LANES; l++) {
        sums->a[0] += lanes.a[l];
        sums->b[0] += lanes.b[l];
    }
}

static void sum(const soma_norm_units *s, void *const *arg, const soma_norm_unit *u, int64_t begin, int64_t end,
                soma_norm_sums *sums)
{
    numbers a;
    get_numbers(s, arg, u, &a);
    if (s->lines)
        sum_lines(s, arg, u, begin, end, &a, sums);
    else
        sum_channels(s, arg, u, begin, end, &a, sums);
}

/* ---- dx ---- */

/* Results per channel, and what dx needs. */
static void finish(const soma_norm_units *s, void *const *arg, const soma_norm_unit *u, const soma_norm_sums *sums,
                   bool write, numbers *a)
{
    const soma_norm_case *c = &s->c;
    double count = (double)c->n * (double)c->plane;
    for (int l = 0; l < u->n; l++) {
        double variance = (double)((const float *)arg[3])[u->channel + l] + c->a.epsilon;
        if (write && c->dshift >= 0)
            ((float *)arg[c->dshift])[u->channel + l] = (float)sums->a[l];
        if (write && c->dscale >= 0)
            ((float *)arg[c->dscale])[u->channel + l] = (float)(sums->b[l] / sqrt(variance));
        a->mean_g[l] = c->a.use_running ? 0 : (float)(sums->a[l] / count);
        a->slope[l] = c->a.use_running ? 0 : (float)((double)a->factor[l] * sums->b[l] / (variance * count));
    }
    soma_norm_repeat(s, u, a->mean_g);
    soma_norm_repeat(s, u, a->slope);
}

SOMA_INLINE void apply_row(const arrays *p, int64_t at, int vectors, int last, mask m, const numbers *a, bool stream)
{
    for (int k = 0; k < vectors; k++) {
        int n = k == vectors - 1 ? last : SOMA_LANES, l = k * SOMA_LANES;
        soma_vf d = soma_vget_n(p->x + at + l, n) - soma_vload(a->mean + l);
        soma_vf g = passed(p, at + l, n, m, a, l, d) - soma_vload(a->mean_g + l);
        g = soma_vfma(g, soma_vload(a->factor + l), -(d * soma_vload(a->slope + l)));
        if (p->added)
            g += soma_vget_n(p->added + at + l, n);
        if (stream)
            soma_vput_stream(p->dx + at + l, g);
        else
            soma_vput_n(p->dx + at + l, g, n);
    }
}

SOMA_INLINE void apply_channels(const arrays *p, int64_t at, int64_t step, int64_t rows, mask m, const numbers *a,
                                bool stream, int vectors, int last)
{
    const numbers mine = *a; /* stores to dx cannot reach it */
    for (int64_t i = 0; i < rows; i++)
        apply_row(p, at + i * step, vectors, last, m, &mine, stream);
}

static void apply_any(const soma_norm_units *s, const arrays *p, int64_t at, const soma_norm_rows *r, int64_t rows,
                      mask m, const numbers *a)
{
    bool stream = s->stream && p->dx != p->own;
    if (stream && m == NONE)
        apply_channels(p, at, r->step, rows, NONE, a, true, 1, SOMA_LANES);
    else if (stream && m == FROM_X)
        apply_channels(p, at, r->step, rows, FROM_X, a, true, 1, SOMA_LANES);
    else if (m == NONE)
        SOMA_NORM_ROWS(*r, apply_channels, p, at, r->step, rows, NONE, a, false);
    else if (m == FROM_X)
        SOMA_NORM_ROWS(*r, apply_channels, p, at, r->step, rows, FROM_X, a, false);
    else
        SOMA_NORM_ROWS(*r, apply_channels, p, at, r->step, rows, FROM_Y, a, false);
}

static void apply(const soma_norm_units *s, void *const *arg, const soma_norm_unit *u, int64_t begin, int64_t end,
                  const soma_norm_sums *sums, bool first)
{
    arrays p = arrays_at(s, arg, u->offset);
    mask m = mask_of(&s->c);
    numbers a;
    get_numbers(s, arg, u, &a);
    finish(s, arg, u, sums, first, &a);
    if (p.dz) { /* the first pass has written it */
        p.dy = p.dz;
        m = NONE;
    }
    soma_norm_rows groups = soma_norm_rows_of(s, u, s->group), single = soma_norm_rows_of(s, u, 1);
    if (s->lines) {
        spread(a.mean);
        spread(a.factor);
        spread(a.shift);
        spread(a.mean_g);
        spread(a.slope);
        groups = (soma_norm_rows){SOMA_LANES, 1, SOMA_LANES};
    }
    int64_t offset, n, group = s->lines ? SOMA_LANES : s->group;
    while (soma_norm_run(s, &begin, end, &offset, &n)) {
        int64_t rows = n / group, rest = n % group;
        arrays q = p;
        q.x += soma_norm_x(s, offset);
        if (q.added)
            q.added += soma_norm_beyond(s, s->added_extra, offset);
        apply_any(s, &q, offset, &groups, rows, m, &a);
        if (s->lines)
            single = (soma_norm_rows){SOMA_LANES, 1, (int)rest};
        if (rest)
            apply_any(s, &q, offset + rows * groups.step, &single, s->lines ? 1 : rest, m, &a);
    }
}

static const soma_norm_work passes = {sum, join, apply};

static soma_status run_cpu(const void *state, void *const *arg, soma_run *run)
{
    soma_norm_both(state, &passes, arg, true, run);
    return SOMA_OK;
}

static soma_status prepare(soma_prepare *p)
{
    soma_norm_case c = soma_norm_grad_case(p);
    return soma_norm_prepare(p, &c, 1, run_cpu);
}

static soma_status accept(soma_prepare *p)
{
    if (soma_norm_accept(p) != SOMA_OK)
        return SOMA_UNSUPPORTED;
    return soma_norm_enough(p, &p->in[1]) == SOMA_OK ? SOMA_OK : soma_refuse(p->reason, "one value per channel");
}

const soma_kernel SOMA_ISA(soma_batch_norm_grad_cpu) = {.name = "cpu",
                                                        SOMA_ISA_FIELDS,
                                                        .bf16 = SOMA_STORED_RULE,
                                                        .layouts = SOMA_LAYOUT_FOLLOW,
                                                        .strided = 2 | 1 << SOMA_NORM_ADDED,
                                                        .tail = SOMA_TAIL_ADD,
                                                        .accept = accept,
                                                        .prepare = prepare};
