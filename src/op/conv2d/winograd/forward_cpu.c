/* SPDX-License-Identifier: Apache-2.0
 *
 * op/conv2d/winograd/forward_cpu.c: Winograd convolution forward and backward to x (winograd.h). The tiles are worked
 * off in blocks: transform a block's input (V), multiply it with U (M), transform that back into y. Each thread has
 * blocks of its own, of few tiles, and M of a few channels at a time, so that V and M lie in its second-level cache.
 * Where U is what costs time, threads share blocks of many tiles: tiles and channels of the input, then elements of a
 * tile and channels of the products, then tiles and channels of the output.
 */
#include "op/conv2d/winograd/winograd.h"
#include "cpu/parallel.h"
#include "op/conv2d/pack.h"
#include "op/conv2d/winograd/tile.h"

#if SOMA_ISA_LEVEL >= 2

#define L SOMA_LANES
#define SPLITS 4                /* parts of a block's tiles, when threads share a block */
#define LARGE_U (4 << 20)       /* bytes, beyond which blocks have more tiles */
#define HUGE_U (16 << 20)       /* beyond which threads share blocks */
#define SHARED_FLOATS (1 << 17) /* of V and M of a shared block, for one element */
#define PANEL (2048 / L)        /* read channels of a panel of U: 16 KB */

typedef struct wino_state {
    soma_winograd g;
    bool shared;            /* threads share blocks */
    int64_t block, blocks;  /* tiles at most in one; how many */
    int64_t chunk;          /* own blocks: groups of channels in M at once */
    int64_t groups;         /* of two vectors of written channels */
    int64_t panels;         /* of read channels */
    bool far;               /* V is not in the second-level cache when it is written */
    bool far_m;             /* nor M when it is read */
    bool fetch;             /* U is large: what is read next of it is fetched */
    int64_t v_step, m_step; /* from one element of the tile to the next, in V and M */
    size_t v_bytes, m_bytes, scratch_bytes;
    int scratch, threads; /* position in arg */
    int w;
    bool wide; /* y is f32, whatever x is */
    soma_tail_state tail;
} wino_state;

typedef struct wino_job {
    const wino_state *s;
    const soma_elem *x;
    soma_tail tail;
    const float *u, *bias;
    void *y;
    char *scratch;
    int64_t first, tiles; /* of the shared block */
} wino_job;

static void input_4(const wino_job *j, int64_t cb, int64_t first, int64_t count, float *v)
{
    soma_winograd_input_tiles(4, &j->s->g, j->x, cb, first, count, v, j->s->v_step, j->s->far);
}
static void input_6(const wino_job *j, int64_t cb, int64_t first, int64_t count, float *v)
{
    soma_winograd_input_tiles(6, &j->s->g, j->x, cb, first, count, v, j->s->v_step, j->s->far);
}
static void input(const wino_job *j, int64_t cb, int64_t first, int64_t count, float *v)
{
    if (j->s->g.m == 4)
        input_4(j, cb, first, count, v);
    else
        input_6(j, cb, first, count, v);
}

static inline void put_y(const wino_job *j, int64_t at, soma_vf y)
{
    if (SOMA_STORED != SOMA_F32 && j->s->wide)
        soma_vstore((float *)j->y + at, y);
    else
        soma_vput((soma_elem *)j->y + at, y);
}

/* y = act(A' M A + bias + addend), or gate(A' M A + addend), of the same tiles, one block of channels */
SOMA_INLINE void output_tiles(int m, const wino_job *j, int64_t kb, int64_t first, int64_t count, const float *from)
{
    const wino_state *s = j->s;
    const soma_winograd *g = &s->g;
    const int size = m + 2;
    const soma_tail tail = j->tail; /* stores cannot reach it */
    soma_vf bias = j->bias ? soma_vload(j->bias + kb * L) : soma_vset(0);
    soma_winograd_place p = soma_winograd_place_of(g, first);
    for (int64_t t = 0; t < count; t++, from += L, soma_winograd_next(g, &p)) {
        int64_t at = (((p.n * (g->k / L) + kb) * g->oh + p.row) * g->ow + p.column) * L;
        int64_t rows = g->oh - p.row, columns = g->ow - p.column;
        soma_vf column[SOMA_TILE], half[SOMA_TILE][SOMA_TILE], row[SOMA_TILE];
        for (int r = 0; r < m; r++)
            for (int c = 0; c < m; c++)
                __builtin_prefetch((soma_elem *)j->y + at + (r * g->ow + 2 * m + c) * L, 1);
        if (s->far_m)
            soma_winograd_look_ahead(size, from, s->m_step, false);
        for (int c = 0; c < size; c++) {
            for (int r = 0; r < size; r++)
                column[r] = soma_vload(from + (r * size + c) * s->m_step);
            soma_winograd_output(m, column, half[c]);
        }
        for (int r = 0; r < m && r < rows; r++, at += g->ow * L) {
            for (int c = 0; c < size; c++)
                column[c] = half[c][r];
            soma_winograd_output(m, column, row);
            for (int c = 0; c < m; c++) {
                if (c >= columns)
                    break;
                put_y(j, at + c * L, soma_tail_apply(&tail, at + c * L, L, row[c] + bias));
            }
        }
    }
}

static void output_4(const wino_job *j, int64_t kb, int64_t first, int64_t count, const float *from)
{
    output_tiles(4, j, kb, first, count, from);
}
static void output_6(const wino_job *j, int64_t kb, int64_t first, int64_t count, const float *from)
{
    output_tiles(6, j, kb, first, count, from);
}
static void output(const wino_job *j, int64_t kb, int64_t first, int64_t count, const float *from)
{
    if (j->s->g.m == 4)
        output_4(j, kb, first, count, from);
    else
        output_6(j, kb, first, count, from);
}

/* ---- products: M of one element and one group of written channels ---- */

/* Some of the read channels. What is needed next of U comes into the second-level cache meanwhile, a few lines with
 * each block of channels: all at once they would hold up what is read now. */
typedef struct wino_panel {
    int64_t blocks; /* of read channels */
    bool first;     /* M begins here, else it goes on */
    int64_t count;  /* tiles */
    int64_t lines;  /* that come with each block of channels */
    const float *v, *u, *ahead;
    float *m;
} wino_panel;

/* One register block: `rows` tiles x 1 or 2 vectors of written channels. */
SOMA_INLINE void rows_of(const wino_state *s, int rows, int vectors, wino_panel *p)
{
    soma_vf sum[SOMA_PRODUCT_ROWS][2];
    const float *v = p->v, *u = p->u, *ahead = p->ahead;
    const int64_t blocks = p->blocks, lines = p->lines, step = s->block * L;
    for (int r = 0; r < rows; r++)
        for (int i = 0; i < vectors; i++)
            sum[r][i] = p->first ? soma_vset(0) : soma_vload(p->m + i * step + r * L);
    for (int64_t b = 0; b < blocks; b++, v += step, u += L * vectors * L) {
        for (int64_t i = 0; i < lines; i++, ahead += 16)
            __builtin_prefetch(ahead, 0, 2);
        soma_conv2d_multiply(rows, vectors, 1, 0, L, 1, L, v, vectors * L, L, u, sum);
    }
    for (int r = 0; r < rows; r++)
        for (int i = 0; i < vectors; i++)
            soma_vstore(p->m + i * step + r * L, sum[r][i]);
    p->ahead = ahead;
    p->v += rows * L;
    p->m += rows * L;
    p->count -= rows;
}

#define ROWS(n)                                                                                                        \
    while (p.count >= n)                                                                                               \
        rows_of(s, n, vectors, &p);
SOMA_INLINE void all_rows(const wino_state *s, int vectors, wino_panel p)
{
    ROWS(SOMA_PRODUCT_ROWS)
#if SOMA_PRODUCT_ROWS > 8
    ROWS(8)
#endif
    ROWS(4)
    ROWS(2)
    ROWS(1)
}
static void rows_2(const wino_state *s, const wino_panel *p)
{
    all_rows(s, 2, *p);
}
static void rows_1(const wino_state *s, const wino_panel *p)
{
    all_rows(s, 1, *p);
}

static int64_t tile_elements(const wino_state *s)
{
    return (s->g.m + 2) * (s->g.m + 2);
}

/* Where U has an element of a group */
static const float *u_of(const wino_job *j, int64_t e, int64_t group)
{
    const wino_state *s = j->s;
    int width = soma_conv2d_pack_width(s->g.k, group);
    return j->u + (2 * group * tile_elements(s) + e * width) * L * s->g.c;
}

/* Elements and groups in the order of reading them: begin .. end - 1 of elements x groups from .. last - 1, M after
 * M. */
static void products(const wino_job *j, int64_t from, int64_t last, int64_t begin, int64_t end, int64_t count,
                     const float *v, float *m, const float *after)
{
    const wino_state *s = j->s;
    const int64_t blocks = s->g.c / L;
    const int64_t turns = count / SOMA_PRODUCT_ROWS + __builtin_popcountll((uint64_t)(count % SOMA_PRODUCT_ROWS));
    for (int64_t i = begin; i < end; i++) {
        const int64_t e = i / (last - from), group = i % (last - from), follows = i + 1;
        const int width = soma_conv2d_pack_width(s->g.k, from + group);
        const float *u = u_of(j, e, from + group);
        wino_panel p = {.count = count, .m = m + e * s->m_step + 2 * group * s->block * L};
        p.lines = s->fetch ? (width * L * L / 16 + turns - 1) / turns : 0;
        for (int64_t k = 0; k < s->panels; k++) {
            int64_t c = blocks * k / s->panels;
            p.blocks = blocks * (k + 1) / s->panels - c;
            p.first = k == 0;
            p.v = v + e * s->v_step + c * s->block * L;
            p.u = u + c * L * width * L;
            p.ahead = k + 1 < s->panels ? p.u + p.blocks * L * width * L : after;
            if (k + 1 == s->panels && follows < end)
                p.ahead = u_of(j, follows / (last - from), from + follows % (last - from));
            (width == 2 ? rows_2 : rows_1)(s, &p);
        }
    }
}

/* All written channels for a block of tiles whose V is there: M of a few groups, then y */
static void channels(const wino_job *j, int64_t first, int64_t count, const float *v, float *to)
{
    const wino_state *s = j->s;
    for (int64_t from = 0; from < s->groups; from += s->chunk) {
        int64_t last = from + s->chunk < s->groups ? from + s->chunk : s->groups;
        products(j, from, last, 0, tile_elements(s) * (last - from), count, v, to,
                 u_of(j, 0, last < s->groups ? last : 0));
        for (int64_t kb = 2 * from; kb < 2 * last && kb < s->g.k / L; kb++)
            output(j, kb, first, count, to + (kb - 2 * from) * s->block * L);
    }
}

/* ---- a block for each thread ---- */

static void own_blocks(void *context, int index, int count)
{
    const wino_job *j = context;
    const wino_state *s = j->s;
    float *v = (float *)(void *)(j->scratch + (size_t)index * (s->v_bytes + s->m_bytes));
    int64_t begin, end;
    soma_share(s->blocks, 1, index, count, &begin, &end);
    for (int64_t b = begin; b < end; b++) {
        int64_t first = s->g.tiles * b / s->blocks, tiles = s->g.tiles * (b + 1) / s->blocks - first;
        for (int64_t cb = 0; cb < s->g.c / L; cb++)
            input(j, cb, first, tiles, v + cb * s->block * L);
        channels(j, first, tiles, v, v + s->v_bytes / sizeof *v);
    }
}

/* ---- a block for all threads ---- */

static void shared_input(void *context, int index, int count)
{
    const wino_job *j = context;
    const wino_state *s = j->s;
    float *v = (float *)(void *)j->scratch;
    int64_t begin, end;
    soma_share(s->g.c / L * SPLITS, 1, index, count, &begin, &end);
    for (int64_t i = begin; i < end; i++) {
        int64_t from = j->tiles * (i % SPLITS) / SPLITS, to = j->tiles * (i % SPLITS + 1) / SPLITS;
        input(j, i / SPLITS, j->first + from, to - from, v + i / SPLITS * s->block * L + from * L);
    }
}

/* Element by element, so that its part of V stays in the second-level cache while its part of U comes by once. */
static void shared_products(void *context, int index, int count)
{
    const wino_job *j = context;
    const wino_state *s = j->s;
    const float *v = (const float *)(const void *)j->scratch;
    float *m = (float *)(void *)(j->scratch + s->v_bytes);
    int64_t begin, end;
    soma_share(tile_elements(s) * s->groups, 1, index, count, &begin, &end);
    if (begin < end) /* the same part of U comes first in the next block */
        products(j, 0, s->groups, begin, end, j->tiles, v, m, u_of(j, begin / s->groups, begin % s->groups));
}

static void shared_output(void *context, int index, int count)
{
    const wino_job *j = context;
    const wino_state *s = j->s;
    const float *m = (const float *)(const void *)(j->scratch + s->v_bytes);
    int64_t begin, end;
    soma_share(s->g.k / L * SPLITS, 1, index, count, &begin, &end);
    for (int64_t i = begin; i < end; i++) {
        int64_t from = j->tiles * (i % SPLITS) / SPLITS, to = j->tiles * (i % SPLITS + 1) / SPLITS;
        output(j, i / SPLITS, j->first + from, to - from, m + i / SPLITS * s->block * L + from * L);
    }
}

static soma_status run(const void *state, void *const *arg, soma_run *r)
{
    const wino_state *s = state;
    int threads = soma_run_threads(r, s->threads);
    wino_job j = {.s = s, .x = arg[0], .u = arg[s->w], .y = arg[s->scratch - 1], .scratch = arg[s->scratch]};
    j.bias = s->tail.bias >= 0 ? arg[s->tail.bias] : NULL;
    j.tail = soma_tail_in(&s->tail, arg);
    if (!s->shared) {
        soma_parallel(threads, own_blocks, &j);
        return SOMA_OK;
    }
    for (int64_t b = 0; b < s->blocks; b++) {
        j.first = s->g.tiles * b / s->blocks;
        j.tiles = s->g.tiles * (b + 1) / s->blocks - j.first;
        soma_parallel(threads, shared_input, &j);
        soma_parallel(threads, shared_products, &j);
        soma_parallel(threads, shared_output, &j);
    }
    return SOMA_OK;
}

static int64_t rounded(int64_t n, int64_t to)
{
    return (n + to - 1) / to * to;
}

static int64_t u_bytes(const wino_state *s)
{
    return tile_elements(s) * s->g.c * s->g.k * (int64_t)sizeof(float);
}

static void divide(wino_state *s, bool shared)
{
    const soma_winograd *g = &s->g;
    const int64_t elements = tile_elements(s), u = u_bytes(s);
    int64_t most = u > LARGE_U ? 64 : g->m == 4 ? 28 : 14;
    if (shared)
        most = SHARED_FLOATS / (g->c + g->k) > 14 ? SHARED_FLOATS / (g->c + g->k) : 14;
    s->shared = shared;
    s->chunk = u > LARGE_U || g->m == 6 || s->groups == 1 ? 1 : 2;
    s->fetch = u > LARGE_U;
    s->blocks = (g->tiles + most - 1) / most;
    if (!shared)
        s->blocks = rounded(s->blocks, s->threads);
    if (s->blocks > g->tiles)
        s->blocks = g->tiles;
    s->block = (g->tiles + s->blocks - 1) / s->blocks;
    s->v_step = (g->c * s->block / L + 1) * L; /* one line more: elements of one tile in different sets of the cache */
    s->m_step = ((shared ? g->k / L : s->chunk * 2) * s->block + 1) * L;
    s->v_bytes = (size_t)rounded(elements * s->v_step * 4, 64);
    s->m_bytes = (size_t)rounded(elements * s->m_step * 4, 64);
    s->far = s->v_bytes > SOMA_WINOGRAD_FAR;
    s->far_m = s->m_bytes > SOMA_WINOGRAD_FAR;
    s->scratch_bytes = (s->v_bytes + s->m_bytes) * (shared ? 1 : (size_t)s->threads);
}

/* How many tiles at once, and for whom. 28 of 4x4 outputs fill two register blocks, 14 of 6x6 one, and their V and M
 * lie in the second-level cache; where U is large, more tiles share a reading of it. Where it is so large that reading
 * it is what takes the time, where tiles are so few that each thread would read all of it for its own, and where blocks
 * for each thread would take too much memory, threads share blocks. */
static void schedule(wino_state *s)
{
    const soma_winograd *g = &s->g;
    s->groups = (g->k / L + 1) / 2;
    s->panels = (g->c + PANEL - 1) / PANEL;
    bool few = s->threads > 1 && s->groups >= s->threads && g->tiles <= 8 * s->threads;
    divide(s, few || u_bytes(s) > HUGE_U);
    if (!s->shared && s->scratch_bytes > SOMA_WINOGRAD_SCRATCH)
        divide(s, true);
}

static soma_status prepare(soma_prepare *p, int m, bool turned)
{
    soma_conv2d_case c = turned ? soma_conv2d_input_case(p) : soma_conv2d_forward_case(p);
    if (soma_conv2d_want_blocks(p) != SOMA_OK)
        return SOMA_UNSUPPORTED;
    wino_state *s = soma_prepare_state(p, sizeof *s);
    if (!s)
        return SOMA_MEMORY;
    s->g = soma_winograd_of(&c, m, turned);
    s->threads = p->threads;
    s->tail = soma_tail_of(p);
    s->w = 1;
    s->wide = p->out[0].dtype == SOMA_F32;
    s->scratch = p->n_in + p->n_out;
    schedule(s);
    p->scratch = s->scratch_bytes;
    if (p->scratch > SOMA_WINOGRAD_SCRATCH) {
        p->scratch = 0;
        soma_refuse(p->reason, "Winograd convolution would take more than %zu MB of scratch memory",
                    SOMA_WINOGRAD_SCRATCH >> 20);
        return SOMA_UNSUPPORTED;
    }
    p->in[1].layout = (soma_layout){.kind = SOMA_PACKED,
                                    .bytes = (size_t)((m + 2) * (m + 2)) * (size_t)c.c * (size_t)c.k * sizeof(float),
                                    .key = soma_winograd_key(m, turned, L)};
    p->parallel = p->threads > 1;
    p->state = s;
    p->run = run;
    snprintf(p->note, SOMA_REASON_MAX, "F(%dx%d, 3x3), %lld %s blocks of %lld tiles", m, m, (long long)s->blocks,
             s->shared ? "shared" : "own", (long long)s->block);
    return SOMA_OK;
}

#else
#define L SOMA_LANES
static soma_status prepare(soma_prepare *p, int m, bool turned)
{
    (void)m;
    (void)turned;
    return soma_refuse(p->reason, "Winograd convolution is made for AVX2 and AVX-512");
}
#endif

static soma_status forward_accept(soma_prepare *p)
{
    soma_conv2d_case c = soma_conv2d_forward_case(p);
    return soma_winograd_check(p, &c, L, false);
}
static soma_status input_accept(soma_prepare *p)
{
    soma_conv2d_case c = soma_conv2d_input_case(p);
    return soma_winograd_check(p, &c, L, false);
}
/* Larger tiles have larger errors: for programs that do not train. */
static soma_status predict_accept(soma_prepare *p)
{
    if (p->in[1].constant)
        return forward_accept(p);
    soma_refuse(p->reason, "F(6x6, 3x3) is made for programs that do not train");
    return SOMA_UNSUPPORTED;
}
static bool forward_suits(const soma_prepare *p)
{
    soma_conv2d_case c = soma_conv2d_forward_case(p);
    return soma_winograd_suits(&c, 4, false, 8, SOMA_WINOGRAD_SAVES);
}
static bool input_suits(const soma_prepare *p)
{
    soma_conv2d_case c = soma_conv2d_input_case(p);
    return soma_winograd_suits(&c, 4, true, 8, SOMA_WINOGRAD_SAVES);
}
/* Where pictures are large enough for its tiles; else it takes as long as the smaller ones, which are more exact. */
static bool predict_suits(const soma_prepare *p)
{
    soma_conv2d_case c = soma_conv2d_forward_case(p);
    soma_winograd small = soma_winograd_of(&c, 4, false), large = soma_winograd_of(&c, 6, false);
    return soma_winograd_suits(&c, 6, false, 8, SOMA_WINOGRAD_SAVES) && 36 * small.tiles > 64 * large.tiles * 115 / 100;
}
static soma_status forward_prepare(soma_prepare *p)
{
    return prepare(p, 4, false);
}
static soma_status predict_prepare(soma_prepare *p)
{
    return prepare(p, 6, false);
}
static soma_status input_prepare(soma_prepare *p)
{
    return prepare(p, 4, true);
}

const soma_kernel SOMA_ISA(soma_conv2d_winograd_cpu) = {.name = "winograd",
                                                        SOMA_ISA_FIELDS,
                                                        .bf16 = SOMA_PRODUCT_RULE,
                                                        .layouts = SOMA_LAYOUT_ASK,
                                                        .tail = SOMA_TAIL_ADD | SOMA_TAIL_ACT,
                                                        .acts = SOMA_ACTS_CLAMP,
                                                        .accept = forward_accept,
                                                        .suits = forward_suits,
                                                        .request = soma_conv2d_wish_blocks,
                                                        .prepare = forward_prepare};
const soma_kernel SOMA_ISA(soma_conv2d_winograd6_cpu) = {.name = "winograd6",
                                                         SOMA_ISA_FIELDS,
                                                         .bf16 = SOMA_PRODUCT_RULE,
                                                         .layouts = SOMA_LAYOUT_ASK,
                                                         .tail = SOMA_TAIL_ADD | SOMA_TAIL_ACT,
                                                         .acts = SOMA_ACTS_CLAMP,
                                                         .accept = predict_accept,
                                                         .suits = predict_suits,
                                                         .request = soma_conv2d_wish_blocks,
                                                         .prepare = predict_prepare};
const soma_kernel SOMA_ISA(soma_conv2d_input_grad_winograd_cpu) = {.name = "winograd",
                                                                   SOMA_ISA_FIELDS,
                                                                   .bf16 = SOMA_PRODUCT_RULE,
                                                                   .layouts = SOMA_LAYOUT_ASK,
                                                                   .tail = SOMA_TAIL_ADD | SOMA_TAIL_GATE,
                                                                   .acts = SOMA_ACTS_CLAMP,
                                                                   .accept = input_accept,
                                                                   .suits = input_suits,
                                                                   .request = soma_conv2d_wish_blocks,
                                                                   .prepare = input_prepare};
