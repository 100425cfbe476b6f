/* SPDX-License-Identifier: Apache-2.0
 *
 * op/conv2d/depthwise/weight_cpu.c: gradients of depthwise convolutions with respect to filters and bias. Lanes
 * are channels, x and dy nhwc or blocked. Each thread walks over its rows of dy with sums [taps][channels] of its own,
 * which stay in the cache; every thousand positions they are added to its totals, so that long sums lose no accuracy.
 */
#include "cpu/parallel.h"
#include "cpu/vec.h"
#include "op/conv2d/depthwise/depthwise.h"
#include "op/reorder/reorder.h"

#define COLUMNS 8      /* at once */
#define POSITIONS 1024 /* that are summed before the totals */

typedef struct weight_state {
    soma_depthwise_array x, dy;
    int64_t n, c, kh, kw, stride[2], pad[2], group;
    int lanes, vectors;
    int64_t *x_at, *dy_at;      /* of each vector of a group */
    int64_t columns0, columns1; /* of dy whose taps all meet x */
    int64_t rows;               /* of sums: the taps, and one for the bias */
    int out, bias, scratch, threads;
} weight_state;

typedef struct weight_job {
    const weight_state *s;
    void *const *arg;
} weight_job;

/* `columns` columns of dy and `taps` taps from the first one on, in one row of x. */
static inline __attribute__((always_inline)) void taps_of(const weight_state *s, const float *x, const soma_vf *dy,
                                                          float *sums, int columns, int taps, int step, int n)
{
    soma_vf sum[SOMA_DEPTHWISE_TAPS];
    int64_t width = s->x.block;
    for (int j = 0; j < taps; j++)
        sum[j] = soma_vload_n(sums + j * s->c, n);
    for (int o = 0; o < columns; o++)
        for (int j = 0; j < taps; j++)
            sum[j] = soma_vfma(soma_vload_n(x + (o * step + j) * width, n), dy[o], sum[j]);
    for (int j = 0; j < taps; j++)
        soma_vstore_n(sums + j * s->c, sum[j], n);
}

typedef struct span {
    const float *x[SOMA_DEPTHWISE_TAPS]; /* rows of x at the first column and tap, channel 0 of the group */
    float *sums[SOMA_DEPTHWISE_TAPS];    /* at the first tap */
    const float *dy;
    float *bias; /* NULL: none */
    int rows, taps;
} span;

static inline __attribute__((always_inline)) void vector_of(const weight_state *s, const span *t, int v, int columns,
                                                            int taps, int step, int n)
{
    soma_vf dy[COLUMNS];
    int64_t c = (int64_t)v * s->lanes;
    const float *from = t->dy + s->dy_at[v];
    for (int o = 0; o < columns; o++)
        dy[o] = soma_vload_n(from + o * s->dy.block, n);
    for (int i = 0; i < t->rows; i++)
        taps_of(s, t->x[i] + s->x_at[v], dy, t->sums[i] + c, columns, taps, step, n);
    if (t->bias) {
        soma_vf sum = soma_vload_n(t->bias + c, n);
        for (int o = 0; o < columns; o++)
            sum += dy[o];
        soma_vstore_n(t->bias + c, sum, n);
    }
}

static inline __attribute__((always_inline)) void vectors_of(const weight_state *s, const span *t, int64_t channels,
                                                             int columns, int taps, int step)
{
    int v = 0;
    for (int64_t c = 0; c < channels; c += s->lanes, v++) {
        int n = channels - c < s->lanes ? (int)(channels - c) : s->lanes;
        if (n == SOMA_LANES)
            vector_of(s, t, v, columns, taps, step, SOMA_LANES);
        else
            vector_of(s, t, v, columns, taps, step, n);
    }
}

static void span_of(const weight_state *s, const span *t, int64_t channels, int columns)
{
    int step = (int)s->stride[1];
    if (columns == COLUMNS && t->taps == 3 && step == 1) /* constants: loads are shared, sums stay in registers */
        vectors_of(s, t, channels, COLUMNS, 3, 1);
    else if (columns == COLUMNS && t->taps == 3 && step == 2)
        vectors_of(s, t, channels, COLUMNS, 3, 2);
    else if (columns == COLUMNS / 2 && t->taps == 3 && step == 1)
        vectors_of(s, t, channels, COLUMNS / 2, 3, 1);
    else if (columns == COLUMNS / 2 && t->taps == 3 && step == 2)
        vectors_of(s, t, channels, COLUMNS / 2, 3, 2);
    else if (columns == 1 && t->taps == 3)
        vectors_of(s, t, channels, 1, 3, 1);
    else if (columns == 1 && t->taps == 2)
        vectors_of(s, t, channels, 1, 2, 1);
    else
        vectors_of(s, t, channels, columns, t->taps, step);
}

static void row(const weight_state *s, void *const *arg, float *sums, int64_t n, int64_t c, int64_t oh)
{
    int64_t channels = s->c - c < s->group ? s->c - c : s->group;
    const float *x = (const float *)arg[0] + soma_depthwise_at(&s->x, s->c, n, c);
    const float *dy = (const float *)arg[1] + soma_depthwise_at(&s->dy, s->c, n, c) + oh * s->dy.w * s->dy.block;
    for (int64_t ow = 0; ow < s->dy.w;) {
        int64_t column = ow * s->stride[1] - s->pad[1], skip = column < 0 ? -column : 0, left = s->x.w - column;
        int64_t whole = ow < s->columns0 ? 0 : s->columns1 - ow;
        int columns = whole >= COLUMNS ? COLUMNS : whole >= COLUMNS / 2 ? COLUMNS / 2 : 1;
        int64_t taps = (left < s->kw ? left : s->kw) - skip;
        span t = {.dy = dy + ow * s->dy.block,
                  .taps = taps > 0 ? (int)taps : 0,
                  .bias = s->bias < 0 ? NULL : sums + s->kh * s->kw * s->c + c};
        for (int64_t i = 0; i < s->kh; i++) {
            int64_t h = oh * s->stride[0] - s->pad[0] + i;
            if (h < 0 || h >= s->x.h)
                continue;
            t.x[t.rows] = x + (h * s->x.w + column + skip) * s->x.block;
            t.sums[t.rows++] = sums + (i * s->kw + skip) * s->c + c;
        }
        span_of(s, &t, channels, columns);
        ow += columns;
    }
}

static float *thread_sums(const weight_state *s, void *const *arg, int index)
{
    return (float *)arg[s->scratch] + (size_t)index * 2 * (size_t)(s->rows * s->c);
}

static void flush(const weight_state *s, float *sums)
{
    int64_t n = s->rows * s->c;
    float *total = sums + n;
    for (int64_t i = 0; i < n; i++) {
        total[i] += sums[i];
        sums[i] = 0;
    }
}

static void part(void *context, int index, int count)
{
    const weight_job *job = context;
    const weight_state *s = job->s;
    int64_t groups = (s->c + s->group - 1) / s->group, begin, end, positions = 0;
    float *sums = thread_sums(s, job->arg, index);
    memset(sums, 0, 2 * (size_t)(s->rows * s->c) * sizeof *sums);
    soma_share(s->n * groups * s->dy.h, 1, index, count, &begin, &end);
    for (int64_t i = begin; i < end; i++) {
        int64_t oh = i % s->dy.h, plane = i / s->dy.h;
        row(s, job->arg, sums, plane / groups, plane % groups * s->group, oh);
        positions += s->dy.w;
        if (positions >= POSITIONS * groups) {
            flush(s, sums);
            positions = 0;
        }
    }
    flush(s, sums);
}

static soma_status run(const void *state, void *const *arg, soma_run *r)
{
    const weight_state *s = state;
    weight_job job = {s, arg};
    int threads = soma_run_threads(r, s->threads);
    int64_t taps = s->kh * s->kw;
    float *dw = arg[s->out];
    soma_parallel(threads, part, &job);
    for (int64_t c = 0; c < s->c; c++)
        for (int64_t i = 0; i < s->rows; i++) {
            float sum = 0;
            for (int t = 0; t < threads; t++)
                sum += thread_sums(s, arg, t)[(s->rows + i) * s->c + c];
            if (i < taps)
                dw[c * taps + i] = sum;
            else
                ((float *)arg[s->bias])[c] = sum;
        }
    return SOMA_OK;
}

/* ---- prepare ---- */

static int64_t larger(int64_t a, int64_t b)
{
    return a > b ? a : b;
}
static int64_t smaller(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static soma_status refuse(soma_prepare *p, const char *why)
{
    soma_refuse(p->reason, "%s", why);
    return SOMA_UNSUPPORTED;
}

static soma_status accept(soma_prepare *p)
{
    soma_conv2d_case c = soma_conv2d_weight_case(p);
    if (p->in[0].dtype == SOMA_F32 && soma_depthwise(&c))
        return SOMA_OK;
    return refuse(p, "made for f32, one filter per channel, at least 8 channels, windows up to 7 x 7, no dilation");
}

static soma_status offsets(soma_prepare *p, weight_state *s)
{
    s->group = larger(s->x.block, s->dy.block);
    s->lanes = (int)smaller(SOMA_LANES, smaller(s->x.block, s->dy.block));
    s->vectors = (int)((s->group + s->lanes - 1) / s->lanes);
    s->x_at = soma_prepare_state(p, 2 * (size_t)s->vectors * sizeof *s->x_at);
    if (!s->x_at)
        return SOMA_MEMORY;
    s->dy_at = s->x_at + s->vectors;
    for (int v = 0; v < s->vectors; v++) {
        s->x_at[v] = soma_depthwise_at(&s->x, s->c, 0, (int64_t)v * s->lanes);
        s->dy_at[v] = soma_depthwise_at(&s->dy, s->c, 0, (int64_t)v * s->lanes);
    }
    return SOMA_OK;
}

static soma_status prepare(soma_prepare *p)
{
    soma_conv2d_case c = soma_conv2d_weight_case(p);
    weight_state *s = soma_prepare_state(p, sizeof *s);
    if (!s)
        return SOMA_MEMORY;
    if (p->in[0].layout.kind == SOMA_PLAIN || p->in[1].layout.kind == SOMA_PLAIN)
        return refuse(p, "lanes are channels: x and dy may not be plain");
    if (p->out[0].layout.kind != SOMA_PLAIN)
        return refuse(p, "the weight's gradient must be plain");
    *s = (weight_state){.x = {c.h, c.w, soma_layout_block(&p->in[0])},
                        .dy = {c.oh, c.ow, soma_layout_block(&p->in[1])},
                        .n = c.n,
                        .c = c.c,
                        .kh = c.kh,
                        .kw = c.kw,
                        .stride = {c.a->stride[0], c.a->stride[1]},
                        .pad = {c.a->pad[0], c.a->pad[1]},
                        .out = p->n_in,
                        .bias = soma_conv2d_has_out(p, 1) ? p->n_in + 1 : -1,
                        .scratch = p->n_in + p->n_out};
    s->rows = c.kh * c.kw + (s->bias >= 0);
    s->columns0 = (s->pad[1] + s->stride[1] - 1) / s->stride[1];
    s->columns1 = c.w + s->pad[1] < c.kw ? 0 : smaller(c.ow, (c.w + s->pad[1] - c.kw) / s->stride[1] + 1);
    s->threads = soma_conv2d_flops(&c) >= 2e5 ? p->threads : 1;
    p->scratch = (size_t)s->threads * 2 * (size_t)(s->rows * s->c) * sizeof(float);
    p->parallel = s->threads > 1;
    p->state = s;
    p->run = run;
    return offsets(p, s);
}

extern const soma_kernel SOMA_ISA(soma_conv2d_weight_grad_depthwise_cpu);
const soma_kernel SOMA_ISA(soma_conv2d_weight_grad_depthwise_cpu) = {
    .name = "cpu-depthwise", SOMA_ISA_FIELDS, .layouts = SOMA_LAYOUT_CONVERT, .accept = accept, .prepare = prepare};
