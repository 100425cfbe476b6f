/* SPDX-License-Identifier: Apache-2.0
 *
 * op/conv2d/mixed/mixed_cpu.c: 1x1 convolutions between a narrow array whose channels are no multiple of 16, nhwc, and
 * a wide one, nChw16c (MobileNetV2's 24 channels beside 96 and 144): libraries want one layout on both sides, and nhwc
 * is slow for the wide one. All three directions are one of two products, or the outer product of both arrays:
 *
 *     widen    wide[p][j]   = sum over i of narrow[p][i] m[i][j]     8 positions x 3 vectors of j in registers
 *     narrow   narrow[p][j] = sum over i of wide[p][i] m[i][j]       8 positions x 2 vectors of j
 *     outer    m[i][j]      = sum over p of narrow[p][i] wide[p][j]  8 narrow channels x 3 vectors
 *
 * AVX-512 only: elsewhere blocks have 8 channels, and 24 is a multiple.
 */
#include "cpu/isa.h"

#if SOMA_ISA_LEVEL == 3

#include "cpu/parallel.h"
#include "op/conv2d/product.h"

#define BLOCK 16
#define TILE 8   /* positions, or narrow channels */
#define CHUNK 48 /* positions whose arrays stay in the first-level cache */
#define NARROWEST 8
#define WIDEST_NARROW 64

typedef struct mixed_state {
    int64_t n, positions;         /* images, and positions of one */
    int64_t wide, narrow, padded; /* channels; narrow ones in whole vectors */
    bool widens, turned;          /* turned: m[i][j] is w[j][i] */
    soma_tail_state tail;
    int out, scratch, threads; /* positions in arg */
} mixed_state;

typedef struct mixed_job {
    const mixed_state *s;
    void *const *arg;
} mixed_job;

/* What lies where the result will lie: what is added, and what tells the gate. NULL: nothing. */
typedef struct beside {
    const float *z, *y;
} beside;

static beside like_at(const beside *l, int64_t at)
{
    return (beside){l->z ? l->z + at : NULL, l->y ? l->y + at : NULL};
}

SOMA_INLINE soma_vf finish(const mixed_state *s, const float *gate, int lanes, soma_vf y)
{
    const soma_tail tail = {.gate = gate, .act = s->tail.act}; /* z is in the sum */
    return soma_tail_apply(&tail, 0, lanes, y);
}

/* `count` positions, `vectors` vectors of channels from j on. y, like: at the first position, first block. */
SOMA_INLINE void widen(const mixed_state *s, const float *x, const float *m, const float *bias, const beside *like,
                       float *y, int64_t j, int count, int vectors)
{
    soma_vf sum[TILE][3];
    int64_t step = s->positions * BLOCK;
    for (int v = 0; v < vectors; v++)
        for (int p = 0; p < count; p++) {
            sum[p][v] = bias ? soma_vload(bias + j + v * BLOCK) : soma_vset(0);
            if (like->z)
                sum[p][v] += soma_vload(like->z + (j / BLOCK + v) * step + p * BLOCK);
        }
    for (int64_t i = 0; i < s->narrow; i++) {
        soma_vf row[3];
        for (int v = 0; v < vectors; v++)
            row[v] = soma_vload(m + i * s->wide + j + v * BLOCK);
        for (int p = 0; p < count; p++) {
            soma_vf from = soma_vset(x[p * s->narrow + i]);
            for (int v = 0; v < vectors; v++)
                sum[p][v] = soma_vfma(from, row[v], sum[p][v]);
        }
    }
    for (int v = 0; v < vectors; v++)
        for (int p = 0; p < count; p++) {
            int64_t at = (j / BLOCK + v) * step + p * BLOCK;
            soma_vstore(y + at, finish(s, like->y ? like->y + at : NULL, BLOCK, sum[p][v]));
        }
}

/* last: lanes of the last vector */
SOMA_INLINE void narrow(const mixed_state *s, const float *x, const float *m, const float *bias, const beside *like,
                        float *y, int64_t j, int count, int vectors, int last)
{
    soma_vf sum[TILE][2];
    for (int v = 0; v < vectors; v++)
        for (int p = 0; p < count; p++) {
            int lanes = v == vectors - 1 ? last : BLOCK;
            sum[p][v] = bias ? soma_vload_n(bias + j + v * BLOCK, lanes) : soma_vset(0);
            if (like->z)
                sum[p][v] += soma_vload_n(like->z + p * s->narrow + j + v * BLOCK, lanes);
        }
    for (int64_t i = 0; i < s->wide; i++) {
        const float *from = x + i / BLOCK * s->positions * BLOCK + i % BLOCK;
        soma_vf row[2];
        for (int v = 0; v < vectors; v++)
            row[v] = soma_vload(m + i * s->padded + j + v * BLOCK);
        for (int p = 0; p < count; p++) {
            soma_vf number = soma_vset(from[p * BLOCK]);
            for (int v = 0; v < vectors; v++)
                sum[p][v] = soma_vfma(number, row[v], sum[p][v]);
        }
    }
    for (int v = 0; v < vectors; v++)
        for (int p = 0; p < count; p++) {
            int64_t at = p * s->narrow + j + v * BLOCK;
            int lanes = v == vectors - 1 ? last : BLOCK;
            soma_vstore_n(y + at, finish(s, like->y ? like->y + at : NULL, lanes, sum[p][v]), lanes);
        }
}

static void widen_all(const mixed_state *s, const float *x, const float *m, const float *bias, const beside *like,
                      float *y, int count)
{
    int64_t j = 0;
    for (; j + 3 * BLOCK <= s->wide && count == TILE; j += 3 * BLOCK)
        widen(s, x, m, bias, like, y, j, TILE, 3);
    for (; j < s->wide; j += BLOCK)
        for (int p = 0; p < count; p += count == TILE ? TILE : 1) {
            beside here = like_at(like, p * BLOCK);
            if (count == TILE)
                widen(s, x, m, bias, like, y, j, TILE, 1);
            else
                widen(s, x + p * s->narrow, m, bias, &here, y + p * BLOCK, j, 1, 1);
        }
}

static void narrow_all(const mixed_state *s, const float *x, const float *m, const float *bias, const beside *like,
                       float *y, int count)
{
    for (int64_t j = 0; j < s->narrow; j += 2 * BLOCK) {
        int left = (int)(s->narrow - j), vectors = left > BLOCK ? 2 : 1;
        int last = left >= vectors * BLOCK ? BLOCK : left - (vectors - 1) * BLOCK;
        if (count == TILE && vectors == 2)
            narrow(s, x, m, bias, like, y, j, TILE, 2, last);
        else if (count == TILE)
            narrow(s, x, m, bias, like, y, j, TILE, 1, last);
        for (int p = 0; p < count && count < TILE; p++) {
            beside here = like_at(like, p * s->narrow);
            narrow(s, x + p * BLOCK, m, bias, &here, y + p * s->narrow, j, 1, vectors, last);
        }
    }
}

/* Where position p of image n lies in the narrow or the wide array. */
static int64_t place(const mixed_state *s, bool wide, int64_t n, int64_t p)
{
    return wide ? n * s->wide * s->positions + p * BLOCK : (n * s->positions + p) * s->narrow;
}

static void part(void *context, int index, int count)
{
    const mixed_job *job = context;
    const mixed_state *s = job->s;
    const float *m = job->arg[s->scratch], *bias = s->tail.bias < 0 ? NULL : job->arg[s->tail.bias];
    int64_t tiles = (s->positions + TILE - 1) / TILE, begin, end;
    soma_share(s->n * tiles, 1, index, count, &begin, &end);
    for (int64_t t = begin; t < end; t++) {
        int64_t n = t / tiles, p = t % tiles * TILE, left = s->positions - p, to = place(s, s->widens, n, p);
        const float *x = (const float *)job->arg[0] + place(s, !s->widens, n, p);
        const soma_tail tail = soma_tail_in(&s->tail, job->arg);
        const beside first = {tail.add, tail.gate};
        const beside here = like_at(&first, to);
        (s->widens ? widen_all : narrow_all)(s, x, m, bias, &here, (float *)job->arg[s->out] + to,
                                             left < TILE ? (int)left : TILE);
    }
}

static soma_status run(const void *state, void *const *arg, soma_run *r)
{
    const mixed_state *s = state;
    mixed_job job = {s, arg};
    int64_t from = s->widens ? s->narrow : s->wide, to = s->widens ? s->wide : s->narrow;
    int64_t step = s->widens ? s->wide : s->padded;
    const float *w = arg[1];
    float *m = arg[s->scratch];
    for (int64_t i = 0; i < from; i++)
        for (int64_t j = 0; j < step; j++)
            m[i * step + j] = j >= to ? 0 : s->turned ? w[j * from + i] : w[i * to + j];
    soma_run_parallel(r, s->threads, part, &job);
    return SOMA_OK;
}

/* ---- the gradient of the weights ---- */

typedef struct outer_state {
    mixed_state m;
    int wide_at, narrow_at; /* positions in arg */
    bool wide_dy;
    int64_t rows; /* of sums [rows][wide]: narrow channels, and one for the bias */
    int bias;     /* position in arg of its gradient; -1: none */
} outer_state;

/* sums[i .. i + 7][j ..] += of `count` positions */
SOMA_INLINE void outer(const mixed_state *s, const float *x, const float *y, float *sums, int64_t count, int vectors)
{
    soma_vf sum[TILE][3];
    int64_t step = s->positions * BLOCK;
    for (int i = 0; i < TILE; i++)
        for (int v = 0; v < vectors; v++)
            sum[i][v] = soma_vset(0);
    for (int64_t p = 0; p < count; p++) {
        soma_vf row[3];
        for (int v = 0; v < vectors; v++)
            row[v] = soma_vload(y + v * step + p * BLOCK);
        for (int i = 0; i < TILE; i++) {
            soma_vf number = soma_vset(x[p * s->narrow + i]);
            for (int v = 0; v < vectors; v++)
                sum[i][v] = soma_vfma(number, row[v], sum[i][v]);
        }
    }
    for (int i = 0; i < TILE; i++)
        for (int v = 0; v < vectors; v++) {
            float *to = sums + i * s->wide + v * BLOCK;
            soma_vstore(to, soma_vload(to) + sum[i][v]);
        }
}

static void add_bias(const outer_state *o, const float *x, const float *y, float *sums, int64_t count)
{
    const mixed_state *s = &o->m;
    for (int64_t j = 0; j < (o->wide_dy ? s->wide : s->narrow); j++) {
        const float *from = o->wide_dy ? y + j / BLOCK * s->positions * BLOCK + j % BLOCK : x + j;
        float sum = 0;
        for (int64_t p = 0; p < count; p++)
            sum += from[p * (o->wide_dy ? BLOCK : s->narrow)];
        sums[j] += sum;
    }
}

static void outer_part(void *context, int index, int count)
{
    const mixed_job *job = context;
    const outer_state *o = (const outer_state *)job->s;
    const mixed_state *s = job->s;
    float *sums = (float *)job->arg[s->scratch] + (size_t)index * (size_t)(o->rows * s->wide);
    int64_t chunks = (s->positions + CHUNK - 1) / CHUNK, begin, end;
    memset(sums, 0, (size_t)(o->rows * s->wide) * sizeof *sums);
    soma_share(s->n * chunks, 1, index, count, &begin, &end);
    for (int64_t t = begin; t < end; t++) {
        int64_t n = t / chunks, p = t % chunks * CHUNK, left = s->positions - p, many = left < CHUNK ? left : CHUNK;
        const float *x = (const float *)job->arg[o->narrow_at] + place(s, false, n, p);
        const float *y = (const float *)job->arg[o->wide_at] + place(s, true, n, p);
        for (int64_t i = 0; i < s->narrow; i += TILE) {
            int64_t j = 0;
            for (; j + 3 * BLOCK <= s->wide; j += 3 * BLOCK)
                outer(s, x + i, y + j * s->positions, sums + i * s->wide + j, many, 3);
            for (; j < s->wide; j += BLOCK)
                outer(s, x + i, y + j * s->positions, sums + i * s->wide + j, many, 1);
        }
        if (o->bias >= 0)
            add_bias(o, x, y, sums + s->narrow * s->wide, many);
    }
}

static soma_status outer_run(const void *state, void *const *arg, soma_run *r)
{
    const outer_state *o = state;
    const mixed_state *s = &o->m;
    mixed_job job = {s, arg};
    int threads = soma_run_threads(r, s->threads);
    float *dw = arg[s->out];
    soma_parallel(threads, outer_part, &job);
    for (int64_t i = 0; i < o->rows; i++)
        for (int64_t j = 0; j < s->wide; j++) {
            float sum = 0;
            for (int t = 0; t < threads; t++)
                sum += ((const float *)arg[s->scratch])[(t * o->rows + i) * s->wide + j];
            if (i < s->narrow)
                dw[o->wide_dy ? j * s->narrow + i : i * s->wide + j] = sum;
            else if (j < (o->wide_dy ? s->wide : s->narrow))
                ((float *)arg[o->bias])[j] = sum;
        }
    return SOMA_OK;
}

/* ---- choice ---- */

static soma_status accept_case(soma_prepare *p, const soma_conv2d_case *c)
{
    const soma_conv2d_attrs *a = c->a;
    int64_t wide = c->c % BLOCK ? c->k : c->c, small = c->c % BLOCK ? c->c : c->k;
    bool one = c->kh == 1 && c->kw == 1 && a->stride[0] == 1 && a->stride[1] == 1 && a->groups == 1 && !a->pad[0] &&
               !a->pad[1] && !a->pad[2] && !a->pad[3];
    if (p->in[0].dtype == SOMA_F32 && one && wide % BLOCK == 0 && small % BLOCK && small % NARROWEST == 0 &&
        small <= WIDEST_NARROW && small < wide)
        return SOMA_OK;
    soma_refuse(p->reason, "made for f32, 1x1 windows, stride 1, 8, 24, 40 or 56 channels on one side and more, a "
                           "multiple of 16, on the other");
    return SOMA_UNSUPPORTED;
}

static void wish_case(soma_arg *x, soma_arg *y)
{
    x->layout.kind = x->shape.dim[1] % BLOCK ? SOMA_NHWC : SOMA_NCHW16C;
    y->layout.kind = y->shape.dim[1] % BLOCK ? SOMA_NHWC : SOMA_NCHW16C;
}

static mixed_state state_of(const soma_prepare *p, const soma_conv2d_case *c)
{
    int64_t wide = c->c % BLOCK ? c->k : c->c, small = c->c % BLOCK ? c->c : c->k;
    return (mixed_state){.n = c->n,
                         .positions = c->oh * c->ow,
                         .wide = wide,
                         .narrow = small,
                         .padded = (small + BLOCK - 1) / BLOCK * BLOCK,
                         .tail = soma_tail_of(p),
                         .out = p->n_in,
                         .scratch = p->n_in + p->n_out,
                         .threads = soma_conv2d_flops(c) >= 2e5 ? p->threads : 1};
}

static soma_status prepare(soma_prepare *p, const soma_conv2d_case *c, bool backward)
{
    mixed_state *s = soma_prepare_state(p, sizeof *s);
    if (!s)
        return SOMA_MEMORY;
    *s = state_of(p, c);
    s->widens = p->out[0].shape.dim[1] % BLOCK == 0;
    s->turned = !backward;
    p->scratch = (size_t)(s->wide * s->padded) * sizeof(float);
    p->parallel = s->threads > 1;
    p->state = s;
    p->run = run;
    return SOMA_OK;
}

static soma_status forward_accept(soma_prepare *p)
{
    soma_conv2d_case c = soma_conv2d_forward_case(p);
    return accept_case(p, &c);
}
static void forward_wish(soma_prepare *p)
{
    wish_case(&p->in[0], &p->out[0]);
    soma_tail_wish_alike(p);
}
static soma_status forward_prepare(soma_prepare *p)
{
    soma_conv2d_case c = soma_conv2d_forward_case(p);
    return prepare(p, &c, false);
}

static soma_status input_accept(soma_prepare *p)
{
    soma_conv2d_case c = soma_conv2d_input_case(p);
    return accept_case(p, &c);
}
static void input_wish(soma_prepare *p)
{
    wish_case(&p->in[0], &p->out[0]);
    soma_tail_wish_alike(p);
}
static soma_status input_prepare(soma_prepare *p)
{
    soma_conv2d_case c = soma_conv2d_input_case(p);
    return prepare(p, &c, true);
}

static soma_status weight_accept(soma_prepare *p)
{
    soma_conv2d_case c = soma_conv2d_weight_case(p);
    return accept_case(p, &c);
}
static void weight_wish(soma_prepare *p)
{
    wish_case(&p->in[0], &p->in[1]);
}
static soma_status weight_prepare(soma_prepare *p)
{
    soma_conv2d_case c = soma_conv2d_weight_case(p);
    outer_state *o = soma_prepare_state(p, sizeof *o);
    if (!o)
        return SOMA_MEMORY;
    o->m = state_of(p, &c);
    o->wide_dy = c.k % BLOCK == 0;
    o->wide_at = o->wide_dy ? 1 : 0;
    o->narrow_at = !o->wide_at;
    o->bias = soma_conv2d_has_out(p, 1) ? p->n_in + 1 : -1;
    o->rows = o->m.narrow + (o->bias >= 0);
    p->scratch = (size_t)o->m.threads * (size_t)(o->rows * o->m.wide) * sizeof(float);
    p->parallel = o->m.threads > 1;
    p->state = o;
    p->run = outer_run;
    return SOMA_OK;
}

const soma_kernel soma_conv2d_mixed_cpu = {.name = "cpu-mixed",
                                           SOMA_ISA_FIELDS,
                                           .layouts = SOMA_LAYOUT_ASK,
                                           .tail = SOMA_TAIL_ADD | SOMA_TAIL_ACT,
                                           .acts = SOMA_ACTS_CLAMP,
                                           .accept = forward_accept,
                                           .request = forward_wish,
                                           .prepare = forward_prepare};
const soma_kernel soma_conv2d_input_grad_mixed_cpu = {.name = "cpu-mixed",
                                                      SOMA_ISA_FIELDS,
                                                      .layouts = SOMA_LAYOUT_ASK,
                                                      .tail = SOMA_TAIL_ADD | SOMA_TAIL_GATE,
                                                      .acts = SOMA_ACTS_CLAMP,
                                                      .accept = input_accept,
                                                      .request = input_wish,
                                                      .prepare = input_prepare};
const soma_kernel soma_conv2d_weight_grad_mixed_cpu = {.name = "cpu-mixed",
                                                       SOMA_ISA_FIELDS,
                                                       .layouts = SOMA_LAYOUT_ASK,
                                                       .accept = weight_accept,
                                                       .request = weight_wish,
                                                       .prepare = weight_prepare};
#else
typedef int soma_nothing_here; /* ISO C wants a declaration */
#endif
