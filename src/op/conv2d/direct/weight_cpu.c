/* SPDX-License-Identifier: Apache-2.0
 *
 * op/conv2d/direct/weight_cpu.c: the gradient of weights as a product over positions, dw[k][i] = sum over p of dy[p][k]
 * x_i[p], where x_i are x's channels under one tap of the window: kernel pointwise for 1x1 windows (pointwise.h),
 * kernel direct for others. Lanes are x's channels. Positions that lie side by side in dy are a segment, and a block of
 * segments is what leaves two or three vectors of x in the first-level cache while filters meet them. A 1x1 window
 * without stride reads x where it is, others from a copy of a vector's positions, with zeros for those in the padding
 * (which an infinite dy turns into NaN). Several blocks, whose dy lies in the second-level cache, are worked off before
 * the next vectors of x, so that dw is read and written once for all of them. Meanwhile the next vectors of x and the
 * dy after it are fetched. Threads share blocks, each with a dw of its own that is added up in their order, or filters,
 * where dw is large for the positions there are.
 */
#include "cpu/parallel.h"
#include "op/conv2d/pointwise/pointwise.h"
#include "op/conv2d/product.h"

#define L SOMA_LANES
#define MOST_TAPS 16 /* of a window */

#if SOMA_ISA_LEVEL >= 2

#define MOST 100             /* positions of a block */
#define MOST_SEGMENTS 32     /* of a block */
#define MOST_BLOCKS 8        /* at once */
#define OWN_BYTES (32 << 20) /* of the sums that threads have of their own */
#define SHARES 65536
#define DY_BYTES (256 << 10) /* of the dy that a span of blocks reads; twice as much where x is copied for it */
#define MOST_FILTERS 256     /* that meet a vector of x at once */
#define ROWS (L / 2)         /* filters of a register block */
#define WIDTH 3              /* its vectors of x */

typedef struct weight_state {
    soma_conv2d_case g;
    soma_conv2d_attrs a;
    int64_t x_plane, dy_plane;
    int64_t taps;             /* of the window */
    int64_t vectors;          /* of x: one for each tap of each block of channels */
    bool copied;              /* x is read from copies */
    int64_t parts, join;      /* blocks of an image's positions, or images of a block */
    int64_t blocks, span;     /* of positions; at once */
    int64_t group;            /* blocks of filters at once */
    bool split;               /* threads split filters, else blocks */
    int64_t size, sums, copy; /* floats of a thread's own dw and db, of what waits between the blocks of a span, of x */
    int bias, scratch, threads; /* positions in arg; bias -1: none */
} weight_state;

typedef struct weight_job {
    const weight_state *s;
    const float *x, *dy;
    float *dw, *db, *sums, *own; /* own: dw and db of threads but the first */
    int n_own;
} weight_job;

/* Positions from one on of an image, and where they begin in the first blocks of channels of x and dy. */
typedef struct segment {
    int64_t image, first, count;
    int64_t x, dy;
} segment;

typedef struct block {
    int n;
    segment at[MOST_SEGMENTS];
} block;

static void find_block(const weight_state *s, int64_t b, block *to)
{
    int64_t part = b % s->parts, image = s->parts > 1 ? b / s->parts : b * s->join;
    to->n = 0;
    for (int64_t n = image; n < image + s->join && n < s->g.n; n++) {
        segment *p = &to->at[to->n++];
        *p = (segment){.image = n, .first = s->dy_plane * part / s->parts};
        p->count = s->dy_plane * (part + 1) / s->parts - p->first;
        p->x = n * s->g.c * s->x_plane + p->first * L;
        p->dy = n * s->g.k * s->dy_plane + p->first * L;
    }
}

/* Positions whose windows begin in one row of x, and the first tap of the first of them: its place, row and column,
 * which may lie in the padding. */
typedef struct row_part {
    int64_t from, row, column, count;
} row_part;

/* A block's windows, for copies of x: row by row, and the first tap of each. */
typedef struct windows {
    int rows;
    row_part row[MOST];
    int64_t n, from[MOST + MOST / 2]; /* a register block fetches for n / 2 of them, from any one on */
} windows;

static void find_windows(const weight_state *s, const block *p, windows *to)
{
    const int64_t down = s->a.stride[0], right = s->a.stride[1];
    to->rows = 0;
    to->n = 0;
    for (int i = 0; i < p->n; i++) {
        const segment *at = &p->at[i];
        int64_t left = at->count, row = at->first / s->g.ow, column = at->first % s->g.ow;
        for (; left > 0; row++, column = 0) {
            row_part *r = &to->row[to->rows++];
            r->count = left < s->g.ow - column ? left : s->g.ow - column;
            r->row = row * down - s->a.pad[0];
            r->column = column * right - s->a.pad[1];
            r->from = at->image * s->g.c * s->x_plane + (r->row * s->g.w + r->column) * L;
            for (int64_t k = 0; k < r->count; k++)
                to->from[to->n++] = r->from + k * right * L;
            left -= r->count;
        }
    }
    for (int64_t i = to->n; i < MOST + MOST / 2; i++)
        to->from[i] = to->from[0];
}

/* How far the i-th vector's tap lies from a window's first. */
static void tap_of(const weight_state *s, int64_t i, int64_t *down, int64_t *right)
{
    *down = i % s->taps / s->g.kw * s->a.dilation[0];
    *right = i % s->taps % s->g.kw * s->a.dilation[1];
}

/* The i-th vector of x for a window that begins at its first position */
static const float *vector_at(const weight_job *j, int64_t i)
{
    int64_t down, right;
    tap_of(j->s, i, &down, &right);
    return j->x + (i / j->s->taps * j->s->x_plane + down * j->s->g.w + right) * L;
}

/* That vector at all positions of a block. */
static void copy(const weight_job *j, const windows *p, int64_t i, float *to)
{
    static const float zeros[L];
    const weight_state *s = j->s;
    const float *x = vector_at(j, i);
    const int64_t step = s->a.stride[1], width = s->g.w;
    int64_t down, right;
    tap_of(s, i, &down, &right);
    for (int r = 0; r < p->rows; r++) {
        const row_part l = p->row[r];
        const bool inside = l.row + down >= 0 && l.row + down < s->g.h;
        int64_t column = inside ? l.column + right : INT64_MIN / 2;
        const float *from = x + l.from;
        for (int64_t at = 0; at < l.count; at++, to += L, from += step * L, column += step) /* without a branch */
            soma_vstore(to, soma_vload((uint64_t)column < (uint64_t)width ? from : zeros));
    }
}

/* What is fetched while a register block is worked on: in the segments' order from a place on, so many bytes for two
 * positions; where x is copied one window's first tap for two positions. */
typedef struct ahead {
    const block *block;
    const float *from;
    int64_t begin; /* at this share of every segment, in 1 / SHARES: what follows has no time for divisions */
    int64_t step;
    const int64_t *firsts;
} ahead;

static const char *place_of(const ahead *a, int i, bool x)
{
    const segment *p = &a->block->at[i < a->block->n ? i : 0];
    return (const char *)(a->from + (x ? p->x : p->dy) + (p->count * a->begin / SHARES) * L);
}

/* One register block: ROWS filters x some vectors of channels, over a block of positions; added to what lies in `sums`
 * and `old` unless NULL. */
typedef struct place {
    const float *dy, *x;
    const float *sums, *old;
    float *to;
    int64_t sums_row, row; /* from one filter to the next in sums, and in old and to */
} place;

SOMA_INLINE void step_of(int vectors, const float *a, const float *b, int64_t b_vector, soma_vf sum[ROWS][WIDTH])
{
    soma_vf u[WIDTH];
    for (int v = 0; v < vectors; v++) {
        u[v] = soma_vload(b + v * b_vector);
        SOMA_VPIN(u[v]);
    }
    for (int r = 0; r < ROWS; r++) {
        soma_vf y = soma_vset(a[r]);
        SOMA_VPIN(y);
        for (int v = 0; v < vectors; v++)
            sum[r][v] = soma_vfma(u[v], y, sum[r][v]);
    }
}

SOMA_INLINE void sums_of(const weight_state *s, int vectors, bool copied, const block *p, const place *at,
                         const ahead *x, const ahead *dy)
{
    const int64_t vector = copied ? MOST * L : s->x_plane * L;
    const float *copy = at->x;
    const int64_t *firsts = x->firsts;
    soma_vf sum[ROWS][WIDTH];
    for (int r = 0; r < ROWS; r++)
        for (int v = 0; v < vectors; v++) {
            __builtin_prefetch(at->to + r * at->row + v * L, 1);
            sum[r][v] = soma_vset(0);
        }
    for (int i = 0; i < p->n; i++) {
        const float *a = at->dy + p->at[i].dy, *b = copied ? copy : at->x + p->at[i].x;
        const char *next_x = copied ? NULL : place_of(x, i, true), *next_dy = place_of(dy, i, false);
        int64_t left = p->at[i].count;
        copy += left * L;
        for (; left >= 2; left -= 2, a += 2 * L, b += 2 * L) {
            __builtin_prefetch(copied ? (const char *)(x->from + *firsts++) : next_x, 0, 2);
            __builtin_prefetch(next_dy, 0, 2);
            next_x = copied ? NULL : next_x + x->step;
            next_dy += dy->step;
            step_of(vectors, a, b, vector, sum);
            step_of(vectors, a + L, b + L, vector, sum);
        }
        if (left)
            step_of(vectors, a, b, vector, sum);
    }
    for (int r = 0; r < ROWS; r++)
        for (int v = 0; v < vectors; v++) {
            if (at->sums)
                sum[r][v] += soma_vload(at->sums + r * at->sums_row + v * L);
            if (at->old)
                sum[r][v] += soma_vload(at->old + r * at->row + v * L);
            soma_vstore(at->to + r * at->row + v * L, sum[r][v]);
        }
}

/* Filters in blocks begin .. end - 1, `n` blocks of positions from p on; `next`: as many that come after them. */
typedef struct span {
    int64_t begin, end;
    int n;
    const block *p, *next;
    const windows *windows_of;
    float *dw, *sums, *copy;
    bool add;
} span;

SOMA_INLINE void panel(const weight_job *j, int vectors, bool copied, int64_t first, const span *w)
{
    const weight_state *s = j->s;
    const int64_t tiles = (w->end - w->begin) * (L / ROWS), width = vectors * L;
    const int64_t x_share = vectors * SHARES / tiles, dy_share = vectors * SHARES / (s->vectors * (L / ROWS));
    const float *after[WIDTH];
    for (int v = 0; v < vectors; v++)
        after[v] = vector_at(j, first + 2 * vectors <= s->vectors ? first + vectors + v : first + v);
    ahead x = {.step = x_share * 2 * L * (int64_t)sizeof(float) / SHARES};
    ahead dy = {.step = dy_share * 2 * L * (int64_t)sizeof(float) / SHARES};
    place at = {.x = copied ? w->copy : vector_at(j, first), .sums_row = width};
    for (int b = 0; b < w->n; b++) {
        const bool last = b == w->n - 1;
        x.block = &w->p[b];
        dy.block = &w->next[b];
        at.row = last ? s->vectors * L : width;
        for (int v = 0; v < vectors && copied; v++)
            copy(j, &w->windows_of[b], first + v, w->copy + v * MOST * L);
        for (int64_t t = 0; t < tiles; t++) {
            const int64_t k = w->begin * L + t * ROWS, kb = k / L;
            float *sums = w->sums + t * ROWS * width, *dw = w->dw + (k * s->vectors + first) * L;
            at.dy = j->dy + kb * s->dy_plane * L + k % L;
            at.sums = b > 0 ? sums : NULL;
            at.old = last && w->add ? dw : NULL;
            at.to = last ? dw : sums;
            x.from = after[t * x_share / SHARES];
            x.begin = t * x_share % SHARES;
            if (copied)
                x.firsts = w->windows_of[b].from + w->windows_of[b].n * x.begin / SHARES;
            dy.from = j->dy + kb * s->dy_plane * L;
            dy.begin = (first / vectors * (L / ROWS) + t % (L / ROWS)) * dy_share;
            sums_of(s, vectors, copied, &w->p[b], &at, &x, &dy);
        }
    }
}
#define PANEL(name, vectors, copied)                                                                                   \
    static void name(const weight_job *j, int64_t first, const span *w)                                                \
    {                                                                                                                  \
        panel(j, vectors, copied, first, w);                                                                           \
    }
PANEL(panel_1, 1, false)
PANEL(panel_2, 2, false)
PANEL(panel_3, 3, false)
PANEL(copied_1, 1, true)
PANEL(copied_2, 2, true)
PANEL(copied_3, 3, true)

static void panels(const weight_job *j, const span *w)
{
    typedef void panel_fn(const weight_job *j, int64_t first, const span *w);
    static panel_fn *const fn[2][WIDTH] = {{panel_1, panel_2, panel_3}, {copied_1, copied_2, copied_3}};
    for (int64_t first = 0, left = j->s->vectors; left > 0;) {
        int64_t vectors = left == 4 ? 2 : left < WIDTH ? left : WIDTH;
        fn[j->s->copied][vectors - 1](j, first, w);
        first += vectors;
        left -= vectors;
    }
}

static void bias(const weight_job *j, const span *w, float *db)
{
    for (int64_t kb = w->begin; kb < w->end; kb++) {
        soma_vf sum = w->add ? soma_vload(db + kb * L) : soma_vset(0);
        for (int b = 0; b < w->n; b++)
            for (int i = 0; i < w->p[b].n; i++)
                for (int64_t at = 0; at < w->p[b].at[i].count; at++)
                    sum += soma_vload(j->dy + w->p[b].at[i].dy + (kb * j->s->dy_plane + at) * L);
        soma_vstore(db + kb * L, sum);
    }
}

/* Blocks first .. last - 1 of positions, begin .. end - 1 of filters */
static void blocks(const weight_job *j, int64_t first, int64_t last, int64_t begin, int64_t end, span *w, float *db)
{
    const weight_state *s = j->s;
    block p[2][MOST_BLOCKS];
    windows at[MOST_BLOCKS];
    for (w->begin = begin; w->begin < end; w->begin = w->end) {
        w->end = w->begin + s->group < end ? w->begin + s->group : end;
        for (int64_t b = first; b < last; b += s->span) {
            const int now = (int)((b - first) / s->span & 1);
            w->n = (int)(last - b < s->span ? last - b : s->span);
            for (int i = 0; i < w->n && b == first; i++)
                find_block(s, b + i, &p[now][i]);
            for (int i = 0; i < s->span; i++) /* after the last ones there is nothing new */
                find_block(s, b + s->span + i < last ? b + s->span + i : b, &p[!now][i]);
            w->p = p[now];
            w->next = p[!now];
            w->windows_of = at;
            for (int i = 0; i < w->n && s->copied; i++)
                find_windows(s, &p[now][i], &at[i]);
            w->add = b > first;
            panels(j, w);
            if (db)
                bias(j, w, db);
        }
    }
}

static void part(void *context, int index, int count)
{
    const weight_job *j = context;
    const weight_state *s = j->s;
    span w = {.dw = j->dw, .sums = j->sums + index * (s->sums + s->copy)};
    w.copy = w.sums + s->sums;
    float *db = j->db;
    int64_t begin = 0, end = s->g.k / L, first = 0, last = s->blocks;
    if (s->split) {
        soma_share(s->g.k / L, 1, index, count, &begin, &end);
    } else {
        soma_share(s->blocks, 1, index, count, &first, &last);
        if (index > 0) {
            w.dw = j->own + (index - 1) * s->size;
            db = db ? w.dw + s->g.k * s->vectors * L : NULL;
        }
    }
    blocks(j, first, last, begin, end, &w, db);
}

/* Adds the other threads' sums to the first one's, in their order. */
static void add_up(void *context, int index, int count)
{
    const weight_job *j = context;
    int64_t begin, end, weights = j->s->g.k * j->s->vectors * L;
    soma_share(j->s->size, L, index, count, &begin, &end);
    for (int64_t i = begin; i < end; i += L) {
        float *to = i < weights ? j->dw + i : j->db + i - weights;
        soma_vf sum = soma_vload(to);
        for (int t = 0; t < j->n_own; t++)
            sum += soma_vload(j->own + t * j->s->size + i);
        soma_vstore(to, sum);
    }
}

/* Taps have been the outer dimension of a block of channels; in dw they are the inner one. */
static void taps_inside(void *context, int index, int count)
{
    const weight_job *j = context;
    const int64_t taps = j->s->taps;
    float turned[MOST_TAPS * 16 + 16];
    int64_t begin, end;
    soma_share(j->s->g.k * j->s->vectors / taps, 1, index, count, &begin, &end);
    for (int64_t i = begin; i < end; i++) {
        float *dw = j->dw + i * taps * L;
        soma_transpose_16(dw, L, (int)taps, turned, taps, L);
        memcpy(dw, turned, (size_t)taps * L * sizeof *dw);
    }
}

static soma_status run(const void *state, void *const *arg, soma_run *r)
{
    const weight_state *s = state;
    int threads = soma_run_threads(r, s->threads);
    weight_job j = {.s = s, .x = arg[0], .dy = arg[1], .dw = arg[2], .sums = arg[s->scratch]};
    j.own = j.sums + s->threads * (s->sums + s->copy);
    j.db = s->bias >= 0 ? arg[s->bias] : NULL;
    j.n_own = s->split ? 0 : threads - 1;
    soma_parallel(threads, part, &j);
    if (j.n_own > 0)
        soma_parallel(threads, add_up, &j);
    if (s->taps > 1)
        soma_parallel(threads, taps_inside, &j);
    return SOMA_OK;
}

/* Threads that share blocks write and read a dw each; those that split filters all read x. */
static void schedule(weight_state *s)
{
    const int64_t positions = s->g.n * s->dy_plane, larger = s->g.c > s->g.k ? s->g.c : s->g.k;
    s->parts = (s->dy_plane + MOST - 1) / MOST;
    s->join = s->parts > 1 ? 1 : MOST / s->dy_plane < MOST_SEGMENTS ? MOST / s->dy_plane : MOST_SEGMENTS;
    s->blocks = s->parts > 1 ? s->g.n * s->parts : (s->g.n + s->join - 1) / s->join;
    const int64_t most = 1 + OWN_BYTES / (s->size * (int64_t)sizeof(float)); /* threads with sums of their own */
    s->split = s->threads > 1 && s->g.k / L >= s->threads &&
               (positions < 4 * larger || s->blocks < s->threads || most < s->threads);
    if (!s->split && s->threads > most)
        s->threads = (int)most;
    if (s->blocks < s->threads && !s->split)
        s->threads = (int)s->blocks;
    const int64_t filters = s->split ? s->g.k / s->threads : s->g.k, line = MOST * (int64_t)sizeof(float);
    int64_t at_once = filters < MOST_FILTERS ? filters : MOST_FILTERS;
    s->span = (s->copied ? 2 : 1) * DY_BYTES / (at_once * line);
    s->span = s->span < 1 ? 1 : s->span > MOST_BLOCKS ? MOST_BLOCKS : s->span;
    const int64_t all = (filters + L - 1) / L, most_at_once = (at_once + L - 1) / L;
    s->group = (all + most_at_once - 1) / most_at_once; /* equal ones */
    s->group = (all + s->group - 1) / s->group;
    s->sums = s->span > 1 ? s->group * L * WIDTH * L : 0;
    s->copy = s->copied ? MOST * WIDTH * L : 0;
}

static soma_status prepare(soma_prepare *p)
{
    soma_conv2d_case c = soma_conv2d_weight_case(p);
    if (p->in[0].layout.kind != SOMA_CONV2D_BLOCKED || p->in[1].layout.kind != SOMA_CONV2D_BLOCKED)
        return soma_refuse(p->reason, "it wants x and dy in blocks of %d channels", L);
    weight_state *s = soma_prepare_state(p, sizeof *s);
    if (!s)
        return SOMA_MEMORY;
    s->g = c;
    s->a = *c.a;
    s->g.a = &s->a;
    s->taps = c.kh * c.kw;
    s->vectors = c.c / L * s->taps;
    s->copied = s->taps > 1 || c.h * c.w != c.oh * c.ow;
    s->x_plane = c.h * c.w;
    s->dy_plane = c.oh * c.ow;
    s->threads = soma_conv2d_flops(&c) >= 2e5 ? p->threads : 1;
    s->bias = soma_conv2d_has_out(p, 1) ? p->n_in + 1 : -1;
    s->scratch = p->n_in + p->n_out;
    s->size = c.k * s->vectors * L + (s->bias >= 0 ? c.k : 0);
    schedule(s);
    p->scratch = (size_t)s->threads * (size_t)(s->sums + s->copy) * sizeof(float);
    p->scratch += s->split ? 0 : (size_t)(s->threads - 1) * (size_t)s->size * sizeof(float);
    p->parallel = s->threads > 1;
    p->state = s;
    p->run = run;
    snprintf(p->note, SOMA_REASON_MAX, "%lld blocks of %lld positions, %lld at once, threads share %s",
             (long long)s->blocks, (long long)(s->parts > 1 ? s->dy_plane / s->parts : s->dy_plane * s->join),
             (long long)s->span, s->split ? "filters" : "blocks");
    return SOMA_OK;
}

#else
static soma_status prepare(soma_prepare *p)
{
    return soma_refuse(p->reason, "made for AVX2 and AVX-512");
}
#endif

static void request(soma_prepare *p)
{
    p->in[0].layout.kind = p->in[1].layout.kind = SOMA_CONV2D_BLOCKED;
}
static soma_status pointwise_accept(soma_prepare *p)
{
    soma_conv2d_case c = soma_conv2d_weight_case(p);
    return soma_pointwise_check(p, &c, L);
}
static soma_status direct_accept(soma_prepare *p)
{
    soma_conv2d_case c = soma_conv2d_weight_case(p);
    if (L < 8)
        soma_refuse(p->reason, "made for AVX2 and AVX-512");
    else if (p->in[0].dtype != SOMA_F32 || c.a->groups > 1 || c.kh * c.kw == 1 || c.kh * c.kw > MOST_TAPS)
        soma_refuse(p->reason, "made for f32, one group, windows of 2 to %d taps", MOST_TAPS);
    else if (c.c % L || c.k % L)
        soma_refuse(p->reason, "it wants channels and filters in multiples of %d, not %lld and %lld", L, (long long)c.c,
                    (long long)c.k);
    else
        return SOMA_OK;
    return SOMA_UNSUPPORTED;
}
/* The rule on shapes, from the tables in docs/kernels/pointwise.md: pictures that are large for their channels, where a
 * register block takes many positions for each weight that it reads and writes. With AVX2 the library is faster. */
static bool pointwise_suits(const soma_prepare *p)
{
#ifdef SOMA_HAVE_ONEDNN
    soma_conv2d_case c = soma_conv2d_weight_case(p);
    int64_t larger = c.c > c.k ? c.c : c.k;
    return L == 16 && c.a->stride[0] == 1 && c.a->stride[1] == 1 && c.n * c.oh * c.ow >= 4 * larger;
#else
    (void)p;
    return true;
#endif
}
/* Strides, which no Winograd has. Few filters do not pay for the copy, few positions not for reading and writing dw. */
static bool direct_suits(const soma_prepare *p)
{
#ifdef SOMA_HAVE_ONEDNN
    soma_conv2d_case c = soma_conv2d_weight_case(p);
    int64_t larger = c.c > c.k ? c.c : c.k;
    return L == 16 && c.a->stride[0] * c.a->stride[1] > 1 && c.k >= 64 && c.n * c.oh * c.ow >= larger;
#else
    (void)p;
    return true;
#endif
}

extern const soma_kernel SOMA_ISA(soma_conv2d_weight_grad_pointwise_cpu), SOMA_ISA(soma_conv2d_weight_grad_direct_cpu);
const soma_kernel SOMA_ISA(soma_conv2d_weight_grad_pointwise_cpu) = {.name = "pointwise",
                                                                     SOMA_ISA_FIELDS,
                                                                     .layouts = SOMA_LAYOUT_ASK,
                                                                     .accept = pointwise_accept,
                                                                     .suits = pointwise_suits,
                                                                     .request = request,
                                                                     .prepare = prepare};
const soma_kernel SOMA_ISA(soma_conv2d_weight_grad_direct_cpu) = {.name = "direct",
                                                                  SOMA_ISA_FIELDS,
                                                                  .layouts = SOMA_LAYOUT_ASK,
                                                                  .accept = direct_accept,
                                                                  .suits = direct_suits,
                                                                  .request = request,
                                                                  .prepare = prepare};
