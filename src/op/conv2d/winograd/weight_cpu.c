/* SPDX-License-Identifier: Apache-2.0
 *
 * op/conv2d/winograd/weight_cpu.c: the gradient of the weights by F(4x4, 3x3) (winograd.h): V = B' x B and Z = A dy A'
 * of a block of tiles, D += Z V' for each element of a tile over the block, and G' D G after the last block. Where D is
 * small for the tiles there are, each thread has its own blocks and its own D, and the last step adds them in order;
 * else all threads share a block and split its filters. No array of more than a block exists but D.
 */
#include "op/conv2d/winograd/winograd.h"
#include "cpu/parallel.h"
#include "op/conv2d/winograd/tile.h"

#define L SOMA_LANES

#if SOMA_ISA_LEVEL >= 2

#define M 4
#define SIZE (M + 2)
#define ELEMENTS (SIZE * SIZE)
#define ROWS (L / 2) /* filters of a register block */
#define SPLITS 4     /* parts of a shared block's tiles */

typedef struct weight_state {
    soma_winograd g;
    bool shared;
    bool far;                       /* V and Z are larger than the second-level cache */
    int64_t block, blocks;          /* tiles at most in one; how many */
    int64_t v_step, z_step, d_step; /* from one element to the next: V [c][tile], Z [k][tile], D [c / L][k][L] */
    int64_t splits, size;           /* sums of dy, as many as parts; floats of V, Z, D and the sums together */
    int bias, scratch, threads;     /* positions in arg; bias -1: none */
} weight_state;

typedef struct weight_job {
    const weight_state *s;
    const soma_elem *x, *dy;
    float *dw, *db, *scratch;
    int copies;           /* of D */
    int64_t first, tiles; /* of the shared block */
    bool add, last;       /* not the first; the last */
} weight_job;

/* z = A dy A' of tiles first .. first + count - 1, one block of filters; sum (+)= their dy, the bias's gradient */
static void gradient_tiles(const weight_job *j, int64_t kb, int64_t first, int64_t count, float *z, float *sum,
                           bool add)
{
    const soma_winograd *g = &j->s->g;
    soma_elem copy[M * M * L];
    soma_vf total = add ? soma_vload(sum) : soma_vset(0);
    soma_winograd_place p = soma_winograd_place_of(g, first);
    for (int64_t t = 0; t < count; t++, z += L, soma_winograd_next(g, &p)) {
        int64_t step = g->ow * L;
        const soma_elem *plane = j->dy + (p.n * (g->k / L) + kb) * g->oh * step, *from = copy;
        soma_vf line[SIZE], half[M][SIZE], out[SIZE];
        if (p.row + M > g->oh || p.column + M > g->ow) {
            soma_winograd_edge(plane, g->oh, g->ow, p.row, p.column, M, copy);
            step = M * L;
        } else {
            from = plane + p.row * step + p.column * L;
        }
        for (int r = 0; r < M; r++)
            for (int c = 0; c < M; c++)
                __builtin_prefetch(from + r * step + (2 * M + c) * L);
        for (int c = 0; c < M; c++) {
            for (int r = 0; r < M; r++)
                line[r] = soma_vget(from + r * step + c * L);
            total += (line[0] + line[1]) + (line[2] + line[3]);
            soma_winograd_gradient(line, half[c]);
        }
        for (int r = 0; r < SIZE; r++) {
            for (int c = 0; c < M; c++)
                line[c] = half[c][r];
            soma_winograd_gradient(line, out);
            for (int c = 0; c < SIZE; c++)
                soma_vstore(z + (r * SIZE + c) * j->s->z_step, out[c]);
        }
        if (j->s->far)
            soma_winograd_look_ahead(SIZE, z, j->s->z_step, true);
    }
    soma_vstore(sum, total);
}

static void input_tiles(const weight_job *j, int64_t cb, int64_t first, int64_t count, float *v)
{
    soma_winograd_input_tiles(M, &j->s->g, j->x, cb, first, count, v, j->s->v_step, j->s->far);
}

/* V, Z, D and sums in scratch memory */
typedef struct parts {
    float *v, *z, *d, *sums;
} parts;
static parts parts_of(const weight_job *j, int64_t copy)
{
    float *v = j->scratch + copy * j->s->size, *z = v + ELEMENTS * j->s->v_step, *d = z + ELEMENTS * j->s->z_step;
    return (parts){v, z, d, d + ELEMENTS * j->s->d_step};
}

/* One register block of D: ROWS filters x 1 or 2 vectors of channels, over the tiles. */
SOMA_INLINE void rows_of(const weight_state *s, int vectors, int64_t tiles, const float *z, const float *v, float *d,
                         bool add)
{
    soma_vf sum[SOMA_PRODUCT_ROWS][2];
    int64_t d_vector = s->g.k * L;
    for (int r = 0; r < ROWS; r++)
        for (int i = 0; i < vectors; i++)
            sum[r][i] = soma_vset(0);
    soma_conv2d_multiply(ROWS, vectors, 1, 0, tiles, L, 1, z, L, s->block * L, v, sum);
    for (int r = 0; r < ROWS; r++)
        for (int i = 0; i < vectors; i++) {
            float *to = d + r * L + i * d_vector;
            if (add)
                sum[r][i] += soma_vload(to);
            soma_vstore(to, sum[r][i]);
        }
}
static void rows_2(const weight_state *s, int64_t tiles, const float *z, const float *v, float *d, bool add)
{
    rows_of(s, 2, tiles, z, v, d, add);
}
static void rows_1(const weight_state *s, int64_t tiles, const float *z, const float *v, float *d, bool add)
{
    rows_of(s, 1, tiles, z, v, d, add);
}

/* D[e] += Z[e] V[e]' for filters begin .. end - 1 */
static void products(const weight_state *s, int64_t e, int64_t begin, int64_t end, int64_t tiles, parts p, bool add)
{
    const int64_t blocks = s->g.c / L;
    const float *v = p.v + e * s->v_step, *z = p.z + e * s->z_step;
    float *d = p.d + e * s->d_step;
    for (int64_t cb = 0; cb < blocks; cb += 2)
        for (int64_t k = begin; k < end; k += ROWS) {
            const float *from = z + k / L * s->block * L + k % L, *with = v + cb * s->block * L;
            float *to = d + (cb * s->g.k + k) * L;
            if (cb + 1 < blocks)
                rows_2(s, tiles, from, with, to, add);
            else
                rows_1(s, tiles, from, with, to, add);
        }
}

static void own_blocks(void *context, int index, int count)
{
    const weight_job *j = context;
    const weight_state *s = j->s;
    parts p = parts_of(j, index);
    int64_t begin, end;
    soma_share(s->blocks, 1, index, count, &begin, &end);
    for (int64_t b = begin; b < end; b++) {
        int64_t first = s->g.tiles * b / s->blocks, tiles = s->g.tiles * (b + 1) / s->blocks - first;
        for (int64_t cb = 0; cb < s->g.c / L; cb++)
            input_tiles(j, cb, first, tiles, p.v + cb * s->block * L);
        for (int64_t kb = 0; kb < s->g.k / L; kb++)
            gradient_tiles(j, kb, first, tiles, p.z + kb * s->block * L, p.sums + kb * L, b > begin);
        for (int64_t e = 0; e < ELEMENTS; e++)
            products(s, e, 0, s->g.k, tiles, p, b > begin);
    }
}

static void shared_tiles(void *context, int index, int count)
{
    const weight_job *j = context;
    const weight_state *s = j->s;
    const int64_t blocks = s->g.c / L;
    parts p = parts_of(j, 0);
    int64_t begin, end;
    soma_share((blocks + s->g.k / L) * SPLITS, 1, index, count, &begin, &end);
    for (int64_t i = begin; i < end; i++) {
        int64_t part = i % SPLITS, b = i / SPLITS, kb = b - blocks;
        int64_t from = j->tiles * part / SPLITS, tiles = j->tiles * (part + 1) / SPLITS - from;
        if (b < blocks)
            input_tiles(j, b, j->first + from, tiles, p.v + (b * s->block + from) * L);
        else
            gradient_tiles(j, kb, j->first + from, tiles, p.z + (kb * s->block + from) * L,
                           p.sums + part * s->g.k + kb * L, j->add);
    }
}

/* dw = G' D G of one filter and one block of channels, D added up over its copies */
static void filter(const weight_job *j, int64_t k, int64_t cb, float *dw)
{
    const weight_state *s = j->s;
    soma_vf line[SIZE], half[SIZE][3], out[3];
    float taps[9 * 16], turned[9 * 16 + 16];
    for (int c = 0; c < SIZE; c++) {
        for (int r = 0; r < SIZE; r++) {
            int64_t at = (r * SIZE + c) * s->d_step + (cb * s->g.k + k) * L;
            const float *d = parts_of(j, 0).d + at;
            line[r] = soma_vload(d);
            __builtin_prefetch(d + 4 * L);
            for (int i = 1; i < j->copies; i++) {
                d += s->size;
                line[r] += soma_vload(d);
                __builtin_prefetch(d + 4 * L);
            }
        }
        soma_winograd_weight_gradient(line, half[c]);
    }
    for (int r = 0; r < 3; r++) {
        for (int c = 0; c < SIZE; c++)
            line[c] = half[c][r];
        soma_winograd_weight_gradient(line, out);
        for (int c = 0; c < 3; c++)
            soma_vstore(taps + (r * 3 + c) * L, out[c]);
    }
    soma_transpose_16(taps, L, 9, turned, 9, L);
    memcpy(dw, turned, 9 * L * sizeof *dw);
}

static void filters(const weight_job *j, int64_t begin, int64_t end)
{
    const soma_winograd *g = &j->s->g;
    for (int64_t cb = 0; cb < g->c / L; cb++) /* as D lies */
        for (int64_t k = begin; k < end; k++)
            filter(j, k, cb, j->dw + (k * g->c + cb * L) * 9);
    for (int64_t k = begin; k < end && j->db; k++) {
        float sum = 0;
        for (int copy = 0; copy < j->copies; copy++)
            for (int64_t part = 0; part < j->s->splits; part++)
                sum += parts_of(j, copy).sums[part * g->k + k];
        j->db[k] = sum;
    }
}

static void own_filters(void *context, int index, int count)
{
    const weight_job *j = context;
    int64_t begin, end;
    soma_share(j->s->g.k, L, index, count, &begin, &end);
    filters(j, begin, end);
}

static void shared_filters(void *context, int index, int count)
{
    const weight_job *j = context;
    int64_t begin, end;
    soma_share(j->s->g.k, L, index, count, &begin, &end);
    for (int64_t e = 0; e < ELEMENTS; e++)
        products(j->s, e, begin, end, j->tiles, parts_of(j, 0), j->add);
    if (j->last)
        filters(j, begin, end);
}

static soma_status run(const void *state, void *const *arg, soma_run *r)
{
    const weight_state *s = state;
    int threads = soma_run_threads(r, s->threads);
    weight_job j = {.s = s, .x = arg[0], .dy = arg[1], .dw = arg[2], .copies = 1, .scratch = arg[s->scratch]};
    j.db = s->bias >= 0 ? arg[s->bias] : NULL;
    if (!s->shared) {
        j.copies = threads;
        soma_parallel(threads, own_blocks, &j);
        soma_parallel(threads, own_filters, &j);
    }
    for (int64_t b = 0; b < s->blocks && s->shared; b++) {
        j.first = s->g.tiles * b / s->blocks;
        j.tiles = s->g.tiles * (b + 1) / s->blocks - j.first;
        j.add = b > 0;
        j.last = b == s->blocks - 1;
        soma_parallel(threads, shared_tiles, &j);
        soma_parallel(threads, shared_filters, &j);
    }
    return SOMA_OK;
}

/* A thread's own D costs memory and adding up, a shared block makes threads read each other's V: own ones where tiles
 * are many for the weights there are. D is read and written once a block, so blocks are larger than forward: what the
 * second or, for a large D, the third level of the cache and the limit of scratch memory allow. */
static void schedule(weight_state *s)
{
    const soma_winograd *g = &s->g;
    const int64_t tile = ELEMENTS * (g->c + g->k) * (int64_t)sizeof(float), threads = s->threads;
    const int64_t d = ELEMENTS * g->c * g->k * (int64_t)sizeof(float), room = (int64_t)SOMA_WINOGRAD_SCRATCH * 15 / 16;
    int64_t most = d > 2 << 20 ? 112 : 56;
    s->shared = threads > 1 &&
                (d * threads > 24 << 20 || g->tiles < threads || g->tiles * (g->c + g->k) < 4 * g->c * g->k);
    if (s->shared) {
        most = (20 << 20) / tile;
        if (most > (room - d) / tile)
            most = d + 16 * tile < room ? (room - d) / tile : 16;
    }
    s->blocks = (g->tiles + most - 1) / most;
    if (!s->shared)
        s->blocks = (s->blocks + threads - 1) / threads * threads;
    if (s->blocks > g->tiles)
        s->blocks = g->tiles;
    s->block = (g->tiles + s->blocks - 1) / s->blocks;
    s->v_step = g->c * s->block + L; /* one line more: elements of one tile in different sets of the cache */
    s->z_step = g->k * s->block + L;
    s->d_step = g->c * g->k + L;
    s->far = s->block * tile > SOMA_WINOGRAD_FAR;
    s->splits = s->shared ? SPLITS : 1;
    s->size = ELEMENTS * (s->v_step + s->z_step + s->d_step) + s->splits * g->k;
    s->size = (s->size + 15) / 16 * 16;
}

static soma_status prepare(soma_prepare *p)
{
    soma_conv2d_case c = soma_conv2d_weight_case(p);
    const soma_layout_kind kind = L == 16 ? SOMA_NCHW16C : SOMA_NCHW8C;
    if (p->in[0].layout.kind != kind || p->in[1].layout.kind != kind) {
        soma_refuse(p->reason, "Winograd convolution wants x and dy in blocks of %d channels", L);
        return SOMA_UNSUPPORTED;
    }
    weight_state *s = soma_prepare_state(p, sizeof *s);
    if (!s)
        return SOMA_MEMORY;
    s->g = soma_winograd_of(&c, M, false);
    s->threads = p->threads;
    s->bias = soma_conv2d_has_out(p, 1) ? p->n_in + 1 : -1;
    s->scratch = p->n_in + p->n_out;
    schedule(s);
    size_t scratch = (size_t)s->size * sizeof(float) * (s->shared ? 1 : (size_t)s->threads);
    if (scratch > SOMA_WINOGRAD_SCRATCH) {
        soma_refuse(p->reason, "it wants %.0f MB of scratch, the limit is %.0f MB", (double)scratch / 1e6,
                    (double)SOMA_WINOGRAD_SCRATCH / 1e6);
        return SOMA_UNSUPPORTED;
    }
    p->scratch = scratch;
    p->parallel = p->threads > 1;
    p->state = s;
    p->run = run;
    snprintf(p->note, SOMA_REASON_MAX, "F(4x4, 3x3), %lld %s blocks of %lld tiles", (long long)s->blocks,
             s->shared ? "shared" : "own", (long long)s->block);
    return SOMA_OK;
}

#else
static soma_status prepare(soma_prepare *p)
{
    return soma_refuse(p->reason, "Winograd convolution is made for AVX2 and AVX-512");
}
#endif

static void request(soma_prepare *p)
{
    p->in[0].layout.kind = p->in[1].layout.kind = L == 16 ? SOMA_NCHW16C : SOMA_NCHW8C;
}
static soma_status accept(soma_prepare *p)
{
    soma_conv2d_case c = soma_conv2d_weight_case(p);
    return soma_winograd_check(p, &c, L, true);
}
static bool suits(const soma_prepare *p)
{
    soma_conv2d_case c = soma_conv2d_weight_case(p);
    return soma_winograd_suits(&c, 4, false, 32, SOMA_WINOGRAD_WEIGHTS_SAVE);
}

const soma_kernel SOMA_ISA(soma_conv2d_weight_grad_winograd_cpu) = {.name = "winograd",
                                                                    SOMA_ISA_FIELDS,
                                                                    .bf16 = SOMA_PRODUCT_RULE,
                                                                    .layouts = SOMA_LAYOUT_ASK,
                                                                    .accept = accept,
                                                                    .suits = suits,
                                                                    .request = request,
                                                                    .prepare = prepare};
