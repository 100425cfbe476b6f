/* SPDX-License-Identifier: Apache-2.0
 *
 * op/conv2d/pointwise_weight_cpu.c: the gradient of 1x1 weights (pointwise.h), dw[k][c] = sum over positions of dy[p][k] x[p][c].
 * Both arrays are read where they are: positions that lie side by side in both are a segment, and a block of segments
 * is what leaves two or three vectors of x's channels in the first-level cache while filters meet them. Several blocks, whose dy lies
 * in the second-level cache, are worked off before the next vectors of x, so that dw is read and written once for all of
 * them. Meanwhile the next vectors of x and the dy after it are fetched. Threads share blocks, each with a dw of its own
 * that is added up in their order, or filters, where dw is large for the positions there are.
 */
#include "backend/cpu/parallel.h"
#include "op/conv2d/pointwise.h"
#include "op/conv2d/product.h"

#define L SOMA_LANES

#if SOMA_ISA_LEVEL >= 2

#define MOST 100              /* positions of a block */
#define MOST_SEGMENTS 32      /* of a block */
#define MOST_BLOCKS 8         /* at once */
#define GROUP (256 / L)       /* blocks of filters at once */
#define COPY_BYTES (32 << 20) /* of the sums that threads have of their own */
#define SHARES 65536
#define DY_BYTES (256 << 10) /* of what they read at once */
#define ROWS (L / 2)         /* filters of a register block */
#define WIDTH 3              /* its vectors of channels */

typedef struct weight_state {
    int64_t c, k, x_plane, dy_plane;
    int64_t length, lines;      /* positions side by side: a picture's, or with a stride a row's; of all images */
    int64_t rows;               /* lines of a picture */
    int64_t x_row, x_step;      /* positions of x from one line of a picture, one position to the next */
    int64_t parts, join;        /* blocks of a line, or lines of a block */
    int64_t blocks, span;       /* of positions; at once */
    bool split;                 /* threads split filters, else blocks */
    int64_t size, sums;         /* floats of a thread's own dw and db, and of what waits between the blocks of a span */
    int bias, scratch, threads; /* positions in arg; bias -1: none */
} weight_state;

typedef struct weight_job {
    const weight_state *s;
    const float *x, *dy;
    float *dw, *db, *sums, *copies;
    int n_copies;
} weight_job;

/* Where positions begin, in the first block of channels. */
typedef struct segment {
    int64_t x, dy, count;
} segment;

static segment line(const weight_state *s, int64_t l, int64_t from, int64_t to)
{
    int64_t n = l / s->rows, row = l % s->rows;
    return (segment){.x = (n * s->c * s->x_plane) + (row * s->x_row + from * s->x_step) * L,
                     .dy = (n * s->k * s->dy_plane) + (row * s->length + from) * L,
                     .count = to - from};
}

typedef struct block {
    int n;
    segment at[MOST_SEGMENTS];
} block;

static void find_block(const weight_state *s, int64_t b, block *to)
{
    to->n = 0;
    if (s->parts > 1) {
        int64_t part = b % s->parts;
        to->at[to->n++] = line(s, b / s->parts, s->length * part / s->parts, s->length * (part + 1) / s->parts);
        return;
    }
    for (int64_t l = b * s->join; l < (b + 1) * s->join && l < s->lines; l++)
        to->at[to->n++] = line(s, l, 0, s->length);
}

/* What is fetched while a register block is worked on: in the segments' order from a place on, so many bytes for two positions. */
typedef struct ahead {
    const block *block;
    const float *from;
    int64_t begin; /* at this share of every segment, in 1 / SHARES: what follows has no time for divisions */
    int64_t step;
} ahead;

static const char *place_of(const ahead *a, int i, bool x, int64_t step)
{
    const segment *p = &a->block->at[i < a->block->n ? i : 0];
    return (const char *)(a->from + (x ? p->x : p->dy) + (p->count * a->begin / SHARES) * step * L);
}

/* One register block: ROWS filters x some vectors of channels, over a block of positions; added to what lies in `sums` and `old`
 * unless NULL. */
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

SOMA_INLINE void sums_of(const weight_state *s, int vectors, const block *p, const place *at, const ahead *x,
                         const ahead *dy)
{
    const int64_t step = s->x_step * L, vector = s->x_plane * L;
    soma_vf sum[ROWS][WIDTH];
    for (int r = 0; r < ROWS; r++)
        for (int v = 0; v < vectors; v++) {
            __builtin_prefetch(at->to + r * at->row + v * L, 1);
            sum[r][v] = soma_vset(0);
        }
    for (int i = 0; i < p->n; i++) {
        const float *a = at->dy + p->at[i].dy, *b = at->x + p->at[i].x;
        const char *next_x = place_of(x, i, true, s->x_step), *next_dy = place_of(dy, i, false, 1);
        int64_t left = p->at[i].count;
        for (; left >= 2; left -= 2, a += 2 * L, b += 2 * step) {
            __builtin_prefetch(next_x, 0, 2);
            __builtin_prefetch(next_dy, 0, 2);
            next_x += x->step;
            next_dy += dy->step;
            step_of(vectors, a, b, vector, sum);
            step_of(vectors, a + L, b + step, vector, sum);
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
    float *dw, *sums;
    bool add;
} span;

SOMA_INLINE void panel(const weight_job *j, int vectors, int64_t cb, const span *w)
{
    const weight_state *s = j->s;
    const int64_t tiles = (w->end - w->begin) * (L / ROWS), width = vectors * L;
    const int64_t x_share = vectors * SHARES / tiles, dy_share = vectors * SHARES / (s->c / L * (L / ROWS));
    const int64_t after = cb + 2 * vectors <= s->c / L ? vectors : 0;
    ahead x = {.step = x_share * 2 * s->x_step * L * (int64_t)sizeof(float) / SHARES};
    ahead dy = {.step = dy_share * 2 * L * (int64_t)sizeof(float) / SHARES};
    place at = {.x = j->x + cb * s->x_plane * L, .sums_row = width};
    for (int b = 0; b < w->n; b++) {
        const bool last = b == w->n - 1;
        x.block = &w->p[b];
        dy.block = &w->next[b];
        at.row = last ? s->c : width;
        for (int64_t t = 0; t < tiles; t++) {
            const int64_t k = w->begin * L + t * ROWS, kb = k / L;
            float *sums = w->sums + t * ROWS * width, *dw = w->dw + k * s->c + cb * L;
            at.dy = j->dy + kb * s->dy_plane * L + k % L;
            at.sums = b > 0 ? sums : NULL;
            at.old = last && w->add ? dw : NULL;
            at.to = last ? dw : sums;
            x.from = at.x + (after + t * x_share / SHARES) * s->x_plane * L;
            x.begin = t * x_share % SHARES;
            dy.from = j->dy + kb * s->dy_plane * L;
            dy.begin = (cb / vectors * (L / ROWS) + t % (L / ROWS)) * dy_share;
            sums_of(s, vectors, &w->p[b], &at, &x, &dy);
        }
    }
}
static void panel_1(const weight_job *j, int64_t cb, const span *w)
{
    panel(j, 1, cb, w);
}
static void panel_2(const weight_job *j, int64_t cb, const span *w)
{
    panel(j, 2, cb, w);
}
static void panel_3(const weight_job *j, int64_t cb, const span *w)
{
    panel(j, 3, cb, w);
}

static void panels(const weight_job *j, const span *w)
{
    for (int64_t cb = 0, left = j->s->c / L; left > 0;) {
        int64_t vectors = left == 4 ? 2 : left < WIDTH ? left : WIDTH;
        (vectors == 3 ? panel_3 : vectors == 2 ? panel_2 : panel_1)(j, cb, w);
        cb += vectors;
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
    for (w->begin = begin; w->begin < end; w->begin = w->end) {
        w->end = w->begin + GROUP < end ? w->begin + GROUP : end;
        for (int64_t b = first; b < last; b += s->span) {
            int turn = (int)((b - first) / s->span & 1);
            w->n = (int)(last - b < s->span ? last - b : s->span);
            for (int i = 0; i < w->n && b == first; i++)
                find_block(s, b + i, &p[turn][i]);
            for (int i = 0; i < s->span; i++) /* after the last ones nothing is fetched */
                find_block(s, b + s->span + i < last ? b + s->span + i : b, &p[!turn][i]);
            w->p = p[turn];
            w->next = p[!turn];
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
    span w = {.dw = j->dw, .sums = j->sums + index * s->sums};
    float *db = j->db;
    int64_t begin = 0, end = s->k / L, first = 0, last = s->blocks;
    if (s->split) {
        soma_share(s->k / L, 1, index, count, &begin, &end);
    } else {
        soma_share(s->blocks, 1, index, count, &first, &last);
        if (index > 0) {
            w.dw = j->copies + (index - 1) * s->size;
            db = db ? w.dw + s->k * s->c : NULL;
        }
    }
    blocks(j, first, last, begin, end, &w, db);
}

/* Adds the other threads' sums to the first one's, in their order. */
static void add_up(void *context, int index, int count)
{
    const weight_job *j = context;
    int64_t begin, end, weights = j->s->k * j->s->c;
    soma_share(j->s->size, L, index, count, &begin, &end);
    for (int64_t i = begin; i < end; i += L) {
        float *to = i < weights ? j->dw + i : j->db + i - weights;
        soma_vf sum = soma_vload(to);
        for (int t = 0; t < j->n_copies; t++)
            sum += soma_vload(j->copies + t * j->s->size + i);
        soma_vstore(to, sum);
    }
}

static soma_status run(const void *state, void *const *arg, soma_run *r)
{
    const weight_state *s = state;
    int threads = s->threads < r->threads ? s->threads : r->threads;
    weight_job j = {.s = s, .x = arg[0], .dy = arg[1], .dw = arg[2], .sums = arg[s->scratch]};
    j.copies = j.sums + s->threads * s->sums;
    j.db = s->bias >= 0 ? arg[s->bias] : NULL;
    j.n_copies = s->split ? 0 : threads - 1;
    soma_parallel(threads, part, &j);
    if (j.n_copies > 0)
        soma_parallel(threads, add_up, &j);
    return SOMA_OK;
}

/* Threads that share blocks write and read a dw each; those that split filters all read x. */
static void schedule(weight_state *s)
{
    const int64_t positions = s->length * s->lines, larger = s->c > s->k ? s->c : s->k;
    s->parts = (s->length + MOST - 1) / MOST;
    s->join = s->parts > 1 ? 1 : MOST / s->length < MOST_SEGMENTS ? MOST / s->length : MOST_SEGMENTS;
    s->blocks = s->parts > 1 ? s->lines * s->parts : (s->lines + s->join - 1) / s->join;
    const int64_t most = 1 + COPY_BYTES / (s->size * (int64_t)sizeof(float)); /* threads with sums of their own */
    s->split = s->threads > 1 && s->k / L >= s->threads &&
               (positions < 4 * larger || s->blocks < s->threads || most < s->threads);
    if (!s->split && s->threads > most)
        s->threads = (int)most;
    if (s->blocks < s->threads && !s->split)
        s->threads = (int)s->blocks;
    int64_t filters = s->split ? s->k / s->threads : s->k, rows = filters < GROUP * L ? filters : GROUP * L;
    s->span = DY_BYTES / (rows * (int64_t)sizeof(float) * MOST);
    s->span = s->span < 1 ? 1 : s->span > MOST_BLOCKS ? MOST_BLOCKS : s->span;
    s->sums = s->span > 1 ? (filters < GROUP * L ? filters + L : GROUP * L) * WIDTH * L : 0;
}

static soma_status prepare(soma_prepare *p)
{
    soma_conv2d_case c = soma_conv2d_weight_case(p);
    if (p->in[0].layout.kind != SOMA_CONV2D_BLOCKED || p->in[1].layout.kind != SOMA_CONV2D_BLOCKED)
        return soma_refuse(p->reason, "it wants x and dy in blocks of %d channels", L);
    weight_state *s = soma_prepare_state(p, sizeof *s);
    if (!s)
        return SOMA_MEMORY;
    bool dense = c.a->stride[0] == 1 && c.a->stride[1] == 1 && c.h == c.oh && c.w == c.ow;
    s->c = c.c;
    s->k = c.k;
    s->x_plane = c.h * c.w;
    s->dy_plane = c.oh * c.ow;
    s->rows = dense ? 1 : c.oh;
    s->length = dense ? s->dy_plane : c.ow;
    s->lines = c.n * s->rows;
    s->x_row = c.a->stride[0] * c.w;
    s->x_step = c.a->stride[1];
    s->threads = soma_conv2d_flops(&c) >= 2e5 ? p->threads : 1;
    s->bias = soma_conv2d_has_out(p, 1) ? p->n_in + 1 : -1;
    s->scratch = p->n_in + p->n_out;
    s->size = c.k * c.c + (s->bias >= 0 ? c.k : 0);
    schedule(s);
    p->scratch = (size_t)s->threads * (size_t)s->sums * sizeof(float);
    p->scratch += s->split ? 0 : (size_t)(s->threads - 1) * (size_t)s->size * sizeof(float);
    p->parallel = s->threads > 1;
    p->state = s;
    p->run = run;
    snprintf(p->note, SOMA_REASON_MAX, "%lld blocks of %lld positions, %lld at once, threads share %s",
             (long long)s->blocks, (long long)(s->parts > 1 ? s->length / s->parts : s->length * s->join),
             (long long)s->span, s->split ? "filters" : "blocks");
    return SOMA_OK;
}

#else
static soma_status prepare(soma_prepare *p)
{
    return soma_refuse(p->reason, "made for AVX2 and AVX-512");
}
#endif

static void wish(soma_prepare *p)
{
    p->in[0].layout.kind = p->in[1].layout.kind = SOMA_CONV2D_BLOCKED;
}
static soma_status accept(soma_prepare *p)
{
    soma_conv2d_case c = soma_conv2d_weight_case(p);
    return soma_pointwise_check(p, &c, L);
}
/* The rule on shapes, from the table in docs/benchmarks.md: pictures that are large for their channels, where a register block takes
 * many positions for each weight that it reads and writes. With AVX2 the library is faster. */
static bool suits(const soma_prepare *p)
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

extern const soma_kernel SOMA_ISA(soma_conv2d_weight_grad_pointwise_cpu);
const soma_kernel SOMA_ISA(soma_conv2d_weight_grad_pointwise_cpu) = {.name = "pointwise",
                                                                     .isa = SOMA_ISA_LEVEL,
                                                                     .layouts = SOMA_LAYOUT_ASK,
                                                                     .accept = accept,
                                                                     .suits = suits,
                                                                     .wish = wish,
                                                                     .prepare = prepare};
