/* SPDX-License-Identifier: Apache-2.0
 *
 * op/conv2d/pointwise/forward_cpu.c: 1x1 convolutions forward and backward to x (pointwise.h). Positions count over all
 * images and are taken in blocks of tiles, a tile being the rows of a register block. A block is copied into the
 * second-level cache, tile by tile, so that a product reads one stream whatever image, stride and size of the picture
 * are; then a panel of weights, two vectors of written channels for up to PANEL read ones, is multiplied with all tiles
 * of the block. Reads are not prefetched: the hardware prefetcher follows these streams, and software prefetches took
 * its line buffers (docs/kernels/pointwise.md). With AVX2 the lines of the result are.
 */
#include "op/conv2d/pointwise/pointwise.h"
#include "cpu/parallel.h"
#include "op/conv2d/product.h"

#define L SOMA_LANES

#if SOMA_ISA_LEVEL >= 2

#define ROWS SOMA_PRODUCT_ROWS
#define MOST_TILES (192 / ROWS)
#define BLOCK_BYTES (192 << 10) /* of a block's copy, in the second-level cache */
#define IN_PLACE 128
/* Read channels of a panel. With AVX-512 128 KB in the second-level cache are as fast as the first level and spare the
 * sums a way to memory and back; with AVX2 16 KB. */
#define PANEL (L == 16 ? 1024 : 256)

typedef struct point_state {
    int64_t n, c, k;              /* images, read and written channels */
    int64_t width, small;         /* of the smaller side's picture: a row, and all positions */
    int64_t in_width, in_plane;   /* of what is read */
    int64_t out_width, out_plane; /* of what is written */
    int64_t out_height;
    int64_t from_step[2], to_step[2]; /* positions apart: 1, or the stride */
    int64_t positions;
    bool dense;            /* no stride */
    bool split;            /* threads split written channels, else positions */
    int64_t tiles, blocks; /* of all positions */
    int64_t most;          /* tiles in a block */
    int64_t groups;        /* of two vectors of written channels */
    int64_t panels;
    size_t bytes;         /* of scratch, for a thread */
    int scratch, threads; /* position in arg */
    soma_tail_state tail;
} point_state;

typedef struct point_job {
    const point_state *s;
    const float *x, *w, *bias;
    soma_tail tail;
    float *y;
    char *scratch;
} point_job;

/* Where a position is read and written, and how many rows and columns it stands for where it is written: with a stride
 * those between are zeros. */
typedef struct place {
    int64_t from, to;
    int down, right;
    bool read_beside, beside; /* the first of a tile: the others follow it where they are read, written */
} place;

/* Few channels are read where they are: a copy would take too large a share of the time. */
static bool in_place(const point_state *s, const place *p)
{
    return p->read_beside && s->c <= IN_PLACE;
}

static int least(int64_t a, int64_t b)
{
    return (int)(a < b ? a : b);
}

/* The last tile is filled up with its last position, which is then computed again and not stored. */
static void find_places(const point_state *s, int64_t first, int64_t count, int64_t padded, place *p)
{
    int64_t n = first / s->small, row = first % s->small / s->width, column = first % s->width;
    for (int64_t i = 0; i < padded; i++) {
        if (i >= count) {
            p[i] = p[count - 1];
            continue;
        }
        int64_t from = row * s->from_step[0] * s->in_width + column * s->from_step[1];
        int64_t to = row * s->to_step[0] * s->out_width + column * s->to_step[1];
        p[i].from = (n * s->c * s->in_plane) + from * L;
        p[i].to = (n * s->k * s->out_plane) + to * L;
        p[i].down = least(s->to_step[0], s->out_height - row * s->to_step[0]);
        p[i].right = least(s->to_step[1], s->out_width - column * s->to_step[1]);
        if (++column == s->width) {
            column = 0;
            if (++row * s->width == s->small) {
                row = 0;
                n++;
            }
        }
    }
    for (int64_t i = 0; i < padded; i += ROWS) { /* of one block alone, the next image's positions follow as well */
        p[i].read_beside = s->dense && p[i + ROWS - 1].from - p[i].from == (ROWS - 1) * L;
        p[i].beside = s->dense && p[i + ROWS - 1].to - p[i].to == (ROWS - 1) * L;
    }
}

/* Where to read a block's tiles: v[tile][block of channels][row], or x itself. */
static void copy(const point_job *j, const place *p, int64_t tiles, float *v)
{
    const point_state *s = j->s;
    for (int64_t cb = 0; cb < s->c / L; cb++) {
        const float *x = j->x + cb * s->in_plane * L;
        float *to = v + cb * ROWS * L;
        for (int64_t t = 0; t < tiles; t++, to += s->c * ROWS)
            for (int r = 0; r < ROWS && !in_place(s, p + t * ROWS); r++)
                soma_vstore(to + r * L, soma_vload(x + p[t * ROWS + r].from));
    }
}

/* One vector of the result, from its sum. */
static soma_vf finished(const point_job *j, int64_t at, soma_vf y)
{
    return soma_tail_apply(&j->tail, at, L, y);
}

/* Where the gradient of x has no dy. */
static void fill_between(const point_job *j, const place *p, int64_t at)
{
    for (int i = 0; i < p->down; i++)
        for (int c = 0; c < p->right; c++) {
            int64_t here = at + (i * j->s->out_width + c) * L;
            if (i || c)
                soma_vstore(j->y + here, finished(j, here, soma_vset(0)));
        }
}

/* A tile whose positions lie side by side waits here and is written by and by, while the next one is multiplied. All of
 * it at once would keep the store buffer full, and loads wait for stores to addresses with the same low 12 bits. Not
 * with AVX2, whose tiles are too short for the detour. */
typedef struct held {
    _Alignas(64) float sum[2 * ROWS * L];
    int halves, done; /* of vectors of written channels */
    int64_t at;
} held;

SOMA_INLINE void hold(held *h, int vectors, int64_t at, soma_vf sum[SOMA_PRODUCT_ROWS][2])
{
    for (int v = 0; v < vectors; v++)
        for (int r = 0; r < ROWS; r++)
            soma_vstore(h->sum + (v * ROWS + r) * L, sum[r][v]);
    h->at = at;
    h->halves = 2 * vectors;
    h->done = 0;
}

static void write_half(const point_job *j, held *h)
{
    int64_t at = h->at + (h->done / 2 * j->s->out_plane + h->done % 2 * (ROWS / 2)) * L;
    const float *sum = h->sum + h->done * (ROWS / 2) * L;
    for (int r = 0; r < ROWS / 2; r++, at += L)
        soma_vstore(j->y + at, finished(j, at, soma_vload(sum + r * L)));
    h->done++;
}

/* Any tile, from memory. */
static void finish_apart(const point_job *j, int vectors, int64_t kb, const place *p, int count, const float *m)
{
    const point_state *s = j->s;
    for (int v = 0; v < vectors; v++)
        for (int r = 0; r < count; r++) {
            int64_t at = p[r].to + (kb + v) * s->out_plane * L;
            soma_vstore(j->y + at, finished(j, at, soma_vload(m + (2 * r + v) * L)));
            if (p[r].down * p[r].right > 1)
                fill_between(j, p + r, at);
        }
}

/* One panel of weights, `blocks` of read channels, and one block of tiles. Sums wait in m between panels. */
typedef struct panel {
    int64_t kb, count, from, blocks; /* from: the first of read channels */
    const place *p;
    const float *v, *w;
    float *m;
    bool first, last;
    held *held;
} panel;

/* AVX2: prefetches the lines that a tile two ahead writes and adds, because stores wait for lines that are not in the
 * cache. */
static void look_at_result(const point_job *j, int vectors, int64_t at)
{
    for (int i = 0; i < vectors; i++, at += j->s->out_plane * L)
        for (int l = 0; l < ROWS * L; l += 16) {
            __builtin_prefetch(j->y + at + 2 * ROWS * L + l, 1);
            if (j->tail.add)
                __builtin_prefetch(j->tail.add + at + 2 * ROWS * L + l);
            if (j->tail.gate)
                __builtin_prefetch(j->tail.gate + at + 2 * ROWS * L + l);
        }
}

SOMA_INLINE void begin(int vectors, const float *bias, const float *m, soma_vf sum[SOMA_PRODUCT_ROWS][2])
{
    for (int i = 0; i < vectors; i++)
        for (int r = 0; r < ROWS; r++)
            sum[r][i] = m ? soma_vload(m + (2 * r + i) * L) : bias ? soma_vload(bias + i * L) : soma_vset(0);
}

SOMA_INLINE void panel_of(const point_job *j, int vectors, const panel *b)
{
    const point_state *s = j->s;
    const float *bias = j->bias ? j->bias + b->kb * L : NULL, *v = b->v + b->from * ROWS * L;
    const int64_t tiles = (b->count + ROWS - 1) / ROWS, width = vectors * L;
    float *m = b->m;
    held *h = b->held;
    for (int64_t t = 0; t < tiles; t++, v += s->c * ROWS, m += ROWS * 2 * L) {
        const place *p = b->p + t * ROWS;
        const int count = least(ROWS, b->count - t * ROWS);
        const bool there = in_place(s, p);
        const float *a = there ? j->x + p->from + b->from * s->in_plane * L : v, *w = b->w;
        const int64_t block = (there ? s->in_plane : ROWS) * L;
        soma_vf sum[SOMA_PRODUCT_ROWS][2];
        begin(vectors, bias, b->first ? NULL : m, sum);
        const int64_t at = p->to + b->kb * s->out_plane * L;
        if (L == 8 && b->last)
            look_at_result(j, vectors, at);
        const int parts = L == 16 ? 4 : 1;
        for (int64_t i = 0, from = 0, to; i < parts; i++, from = to) {
            to = b->blocks * (i + 1) / parts;
            if (h->done < h->halves)
                write_half(j, h);
            soma_conv2d_multiply(ROWS, vectors, to - from, block - L, L, 1, L, a + from * block, width, L,
                                 w + from * L * width, sum);
        }
        const bool beside = b->last && count == ROWS && p->beside;
        if (beside && L == 16)
            hold(h, vectors, at, sum);
        else if (beside)
            for (int i = 0; i < vectors; i++)
                for (int r = 0; r < ROWS; r++) {
                    int64_t here = at + (i * s->out_plane + r) * L;
                    soma_vstore(j->y + here, finished(j, here, sum[r][i]));
                }
        else
            for (int i = 0; i < vectors; i++)
                for (int r = 0; r < ROWS; r++)
                    soma_vstore(m + (2 * r + i) * L, sum[r][i]);
        if (b->last && !beside)
            finish_apart(j, vectors, b->kb, p, count, m);
    }
}
static void panel_2(const point_job *j, const panel *b)
{
    panel_of(j, 2, b);
}
static void panel_1(const point_job *j, const panel *b)
{
    panel_of(j, 1, b);
}

/* Written channels in pairs of vectors begin .. end - 1 */
static void channels(const point_job *j, int64_t begin, int64_t end, const place *p, int64_t count, float *v, held *h)
{
    const point_state *s = j->s;
    const int64_t blocks = s->c / L;
    panel b = {.count = count, .p = p, .v = v, .m = v + s->most * ROWS * s->c, .held = h};
    for (int64_t g = begin; g < end; g++) {
        int vectors = s->k / L - 2 * g < 2 ? 1 : 2;
        b.kb = 2 * g;
        for (int64_t i = 0; i < s->panels; i++) {
            b.from = blocks * i / s->panels;
            b.blocks = blocks * (i + 1) / s->panels - b.from;
            b.w = j->w + 2 * g * L * s->c + b.from * L * vectors * L;
            b.first = i == 0;
            b.last = i == s->panels - 1;
            (vectors == 2 ? panel_2 : panel_1)(j, &b);
        }
    }
}

static void part(void *context, int index, int count)
{
    const point_job *j = context;
    const point_state *s = j->s;
    float *v = (float *)(void *)(j->scratch + (size_t)index * s->bytes);
    place p[MOST_TILES * ROWS];
    held h;
    h.halves = h.done = 0;
    int64_t begin = 0, end = s->groups, first = 0, last = s->blocks;
    if (s->split)
        soma_share(s->groups, 1, index, count, &begin, &end);
    else
        soma_share(s->blocks, 1, index, count, &first, &last);
    for (int64_t b = first; b < last && begin < end; b++) {
        const int64_t tile = s->tiles * b / s->blocks, tiles = s->tiles * (b + 1) / s->blocks - tile;
        const int64_t left = s->positions - tile * ROWS, positions = tiles * ROWS < left ? tiles * ROWS : left;
        find_places(s, tile * ROWS, positions, tiles * ROWS, p);
        copy(j, p, tiles, v);
        channels(j, begin, end, p, positions, v, &h);
    }
    while (h.done < h.halves)
        write_half(j, &h);
}

static soma_status run(const void *state, void *const *arg, soma_run *r)
{
    const point_state *s = state;
    point_job j = {.s = s, .x = arg[0], .w = arg[1], .y = arg[s->scratch - 1], .scratch = arg[s->scratch]};
    j.bias = s->tail.bias >= 0 ? arg[s->tail.bias] : NULL;
    j.tail = soma_tail_in(&s->tail, arg);
    soma_run_parallel(r, s->threads, part, &j);
    return SOMA_OK;
}

/* Threads share positions, but where weights are larger than x, which each of them would read. */
static void schedule(point_state *s)
{
    s->tiles = (s->positions + ROWS - 1) / ROWS;
    s->groups = (s->k / L + 1) / 2;
    s->split = s->threads > 1 && s->groups >= s->threads && s->positions < s->k;
    s->most = BLOCK_BYTES / (s->c * ROWS * (int64_t)sizeof(float));
    s->most = s->most < 4 ? 4 : s->most > MOST_TILES ? MOST_TILES : s->most;
    s->blocks = (s->tiles + s->most - 1) / s->most;
    if (!s->split)
        s->blocks = (s->blocks + s->threads - 1) / s->threads * s->threads;
    if (s->blocks > s->tiles)
        s->blocks = s->tiles;
    s->most = (s->tiles + s->blocks - 1) / s->blocks;
    s->panels = (s->c + PANEL - 1) / PANEL;
    s->bytes = (size_t)(s->most * ROWS * (s->c + 2 * L)) * sizeof(float);
}

static void geometry(point_state *s, const soma_conv2d_case *c, bool turned)
{
    int64_t *strided = turned ? s->to_step : s->from_step, *dense = turned ? s->from_step : s->to_step;
    s->n = c->n;
    s->c = turned ? c->k : c->c;
    s->k = turned ? c->c : c->k;
    s->width = c->ow;
    s->small = c->oh * c->ow;
    s->positions = s->n * s->small;
    s->in_width = turned ? c->ow : c->w;
    s->in_plane = turned ? s->small : c->h * c->w;
    s->out_width = turned ? c->w : c->ow;
    s->out_height = turned ? c->h : c->oh;
    s->out_plane = s->out_width * s->out_height;
    s->dense = c->a->stride[0] * c->a->stride[1] == 1;
    for (int i = 0; i < 2; i++) {
        strided[i] = c->a->stride[i];
        dense[i] = 1;
    }
}

static soma_status prepare(soma_prepare *p, bool turned)
{
    soma_conv2d_case c = turned ? soma_conv2d_input_case(p) : soma_conv2d_forward_case(p);
    if (soma_conv2d_want_blocks(p) != SOMA_OK)
        return SOMA_UNSUPPORTED;
    point_state *s = soma_prepare_state(p, sizeof *s);
    if (!s)
        return SOMA_MEMORY;
    geometry(s, &c, turned);
    s->threads = soma_conv2d_flops(&c) >= 2e5 ? p->threads : 1;
    s->tail = soma_tail_of(p);
    s->scratch = p->n_in + p->n_out;
    schedule(s);
    p->scratch = (size_t)s->threads * s->bytes;
    p->in[1].layout = (soma_layout){
        .kind = SOMA_PACKED, .bytes = (size_t)c.c * (size_t)c.k * sizeof(float), .key = soma_pointwise_key(turned, L)};
    p->parallel = s->threads > 1;
    p->state = s;
    p->run = run;
    snprintf(p->note, SOMA_REASON_MAX, "%lld blocks of %lld positions, threads share %s", (long long)s->blocks,
             (long long)(s->most * ROWS), s->split ? "channels" : "positions");
    return SOMA_OK;
}

#else
static soma_status prepare(soma_prepare *p, bool turned)
{
    (void)turned;
    return soma_refuse(p->reason, "made for AVX2 and AVX-512");
}
#endif

static soma_status forward_accept(soma_prepare *p)
{
    soma_conv2d_case c = soma_conv2d_forward_case(p);
    return soma_pointwise_check(p, &c, L);
}
static soma_status input_accept(soma_prepare *p)
{
    soma_conv2d_case c = soma_conv2d_input_case(p);
    return soma_pointwise_check(p, &c, L);
}
/* The rule on shapes, from the tables in docs/kernels/pointwise.md: the library is not slower forward, nor where all
 * arrays are in the cache, nor with AVX-512; there, as everywhere, --tune may find this kernel faster. */
static bool forward_suits(const soma_prepare *p)
{
    (void)p;
#ifdef SOMA_HAVE_ONEDNN
    return false;
#else
    return true;
#endif
}
static bool input_suits(const soma_prepare *p)
{
#ifdef SOMA_HAVE_ONEDNN
    soma_conv2d_case c = soma_conv2d_input_case(p);
    return soma_cpu_isa() < 3 && c.c >= 256 && c.k >= 2 * c.c && c.n * c.oh * c.ow * (c.c + c.k) >= 3 << 19;
#else
    (void)p;
    return true;
#endif
}
static soma_status forward_prepare(soma_prepare *p)
{
    return prepare(p, false);
}
static soma_status input_prepare(soma_prepare *p)
{
    return prepare(p, true);
}

const soma_kernel SOMA_ISA(soma_conv2d_pointwise_cpu) = {.name = "pointwise",
                                                         SOMA_ISA_FIELDS,
                                                         .layouts = SOMA_LAYOUT_ASK,
                                                         .tail = SOMA_TAIL_ADD | SOMA_TAIL_ACT,
                                                         .acts = SOMA_ACTS_CLAMP,
                                                         .accept = forward_accept,
                                                         .suits = forward_suits,
                                                         .request = soma_conv2d_wish_blocks,
                                                         .prepare = forward_prepare};
const soma_kernel SOMA_ISA(soma_conv2d_input_grad_pointwise_cpu) = {.name = "pointwise",
                                                                    SOMA_ISA_FIELDS,
                                                                    .layouts = SOMA_LAYOUT_ASK,
                                                                    .tail = SOMA_TAIL_ADD | SOMA_TAIL_GATE,
                                                                    .acts = SOMA_ACTS_CLAMP,
                                                                    .accept = input_accept,
                                                                    .suits = input_suits,
                                                                    .request = soma_conv2d_wish_blocks,
                                                                    .prepare = input_prepare};
