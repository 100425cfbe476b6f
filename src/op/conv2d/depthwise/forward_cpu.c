/* SPDX-License-Identifier: Apache-2.0
 *
 * op/conv2d/depthwise/forward_cpu.c: convolutions with one filter per channel, forward and with respect to x, which is
 * the same walk over dy: per phase of the stride the taps that meet dy. Lanes are channels, so x and y may each be nhwc
 * or blocked, and no array is reordered on the way from one to the other. Four columns at a time share what they load;
 * the speed is that of memory. Threads share rows.
 */
#include "cpu/parallel.h"
#include "cpu/vec.h"
#include "op/conv2d/depthwise/depthwise.h"
#include "op/reorder/reorder.h"
#include "op/tail/tail_vec.h"

#define COLUMNS 4 /* at once */

/* Along one axis, the outputs first, first + every, ...: output t reads inputs base + t step + 0 .. taps - 1. */
typedef struct phase {
    int64_t first, every, count, base, step;
    int taps, tap[SOMA_DEPTHWISE_TAPS]; /* of the window, in the order of inputs */
    int64_t t0, t1;                     /* where all taps meet the input */
} phase;

typedef struct depthwise_state {
    soma_depthwise_array from, to; /* what is read and written */
    int64_t n, c, kh, kw, group;   /* group: channels whose positions are walked together */
    int lanes, vectors;            /* per vector; per group (the last may be partial) */
    int64_t *from_at, *to_at;      /* of each vector of a group */
    phase row[4], column[4];
    int rows, columns; /* phases */
    soma_tail_state tail;
    int out, scratch, threads; /* positions in arg */
} depthwise_state;

typedef struct tile {
    const float *x[SOMA_DEPTHWISE_TAPS]; /* rows at the tile's first input, channel 0 of the group */
    const float *w[SOMA_DEPTHWISE_TAPS][SOMA_DEPTHWISE_TAPS]; /* [row][tap], channel 0 of the group */
    const float *bias;
    float *y;
    int rows, taps;
    int64_t every; /* elements between the tile's outputs */
} tile;

static inline __attribute__((always_inline)) void vector_of(const depthwise_state *s, const tile *t, int v, int columns,
                                                            int taps, int step, int n)
{
    soma_vf sum[COLUMNS];
    int64_t x_at = s->from_at[v], c = (int64_t)v * s->lanes, width = s->from.block;
    for (int o = 0; o < columns; o++)
        sum[o] = t->bias ? soma_vload_n(t->bias + c, n) : soma_vset(0);
    for (int i = 0; i < t->rows; i++) {
        const float *x = t->x[i] + x_at;
        for (int j = 0; j < taps; j++) {
            soma_vf w = soma_vload_n(t->w[i][j] + c, n);
            for (int o = 0; o < columns; o++)
                sum[o] = soma_vfma(soma_vload_n(x + (o * step + j) * width, n), w, sum[o]);
        }
    }
    float *y = t->y + s->to_at[v];
    for (int o = 0; o < columns; o++) {
        soma_vstore_n(y + o * t->every, soma_act_vector(s->tail.act, sum[o]), n);
    }
}

static inline __attribute__((always_inline)) void vectors_of(const depthwise_state *s, const tile *t, int64_t channels,
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

static void whole_tile(const depthwise_state *s, const tile *t, int64_t channels, int64_t step)
{
    if (t->taps == 3 && step == 1) /* constants: loads are shared, sums stay in registers */
        vectors_of(s, t, channels, COLUMNS, 3, 1);
    else if (t->taps == 3 && step == 2)
        vectors_of(s, t, channels, COLUMNS, 3, 2);
    else if (t->taps == 2 && step == 1)
        vectors_of(s, t, channels, COLUMNS, 2, 1);
    else if (t->taps == 1 && step == 1)
        vectors_of(s, t, channels, COLUMNS, 1, 1);
    else if (t->taps == 5 && step == 1)
        vectors_of(s, t, channels, COLUMNS, 5, 1);
    else
        vectors_of(s, t, channels, COLUMNS, t->taps, (int)step);
}

static void one_column(const depthwise_state *s, const tile *t, int64_t channels)
{
    if (t->taps == 3)
        vectors_of(s, t, channels, 1, 3, 1);
    else if (t->taps == 2)
        vectors_of(s, t, channels, 1, 2, 1);
    else
        vectors_of(s, t, channels, 1, t->taps, 1);
}

/* The rows that output row o reads, at column 0, and their filters' rows. */
static void take_rows(const depthwise_state *s, tile *t, const float *x, const phase *p, int64_t index, int *of)
{
    t->rows = 0;
    for (int i = 0; i < p->taps; i++) {
        int64_t h = p->base + index * p->step + i;
        if (h < 0 || h >= s->from.h)
            continue;
        t->x[t->rows] = x + h * s->from.w * s->from.block;
        of[t->rows++] = p->tap[i];
    }
}

/* x: the group's (0, 0); y: the row's first column; w [kh kw][c] at the group's first channel */
static void line(const depthwise_state *s, tile t, const int *of, const float *w, float *y, const phase *p,
                 int64_t channels)
{
    const float *x[SOMA_DEPTHWISE_TAPS];
    memcpy(x, t.x, sizeof x);
    int64_t skipped = -1;
    t.every = p->every * s->to.block;
    for (int64_t o = 0; o < p->count;) {
        int64_t column = p->base + o * p->step, skip = column < 0 ? -column : 0, left = s->from.w - column;
        bool whole = o >= p->t0 && o + COLUMNS <= p->t1;
        skip = skip < p->taps ? skip : p->taps;
        t.taps = left >= p->taps ? p->taps : left < 0 ? 0 : (int)left;
        t.taps = t.taps > (int)skip ? t.taps - (int)skip : 0;
        for (int i = 0; i < t.rows; i++)
            t.x[i] = x[i] + (column + skip) * s->from.block;
        for (int i = 0; i < t.rows && skip != skipped; i++)
            for (int j = (int)skip; j < p->taps; j++)
                t.w[i][j - skip] = w + (of[i] * s->kw + p->tap[j]) * s->c;
        skipped = skip;
        t.y = y + (p->first + o * p->every) * s->to.block;
        if (whole)
            whole_tile(s, &t, channels, p->step);
        else
            one_column(s, &t, channels);
        o += whole ? COLUMNS : 1;
    }
}

typedef struct depthwise_job {
    const depthwise_state *s;
    void *const *arg;
} depthwise_job;

static void row(const depthwise_state *s, void *const *arg, int64_t n, int64_t c, int64_t h)
{
    int64_t channels = s->c - c < s->group ? s->c - c : s->group;
    const phase *p = s->row;
    const float *w = (const float *)arg[s->scratch] + c;
    float *y = (float *)arg[s->out] + soma_depthwise_at(&s->to, s->c, n, c) + h * s->to.w * s->to.block;
    while (h % s->rows != p->first)
        p++;
    tile t = {.bias = s->tail.bias < 0 ? NULL : (const float *)arg[s->tail.bias] + c};
    int of[SOMA_DEPTHWISE_TAPS];
    take_rows(s, &t, (const float *)arg[0] + soma_depthwise_at(&s->from, s->c, n, c), p, h / s->rows, of);
    for (int i = 0; i < s->columns; i++)
        line(s, t, of, w, y, &s->column[i], channels);
}

static void part(void *context, int index, int count)
{
    const depthwise_job *job = context;
    const depthwise_state *s = job->s;
    int64_t groups = (s->c + s->group - 1) / s->group, begin, end;
    soma_share(s->n * groups * s->to.h, 1, index, count, &begin, &end);
    for (int64_t i = begin; i < end; i++) {
        int64_t h = i % s->to.h, plane = i / s->to.h;
        row(s, job->arg, plane / groups, plane % groups * s->group, h);
    }
}

static soma_status run(const void *state, void *const *arg, soma_run *r)
{
    const depthwise_state *s = state;
    depthwise_job job = {s, arg};
    const float *w = arg[1];
    float *to = arg[s->scratch];
    for (int64_t c = 0; c < s->c; c++)
        for (int64_t i = 0; i < s->kh * s->kw; i++)
            to[i * s->c + c] = *w++;
    soma_run_parallel(r, s->threads, part, &job);
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

/* Forward: one phase. */
static int forward_axis(phase *p, int64_t in, int64_t out, int64_t taps, int64_t stride, int64_t pad)
{
    *p = (phase){.every = 1, .count = out, .base = -pad, .step = stride, .taps = (int)taps};
    for (int j = 0; j < p->taps; j++)
        p->tap[j] = j;
    p->t0 = (pad + stride - 1) / stride;
    p->t1 = in + pad < taps ? 0 : smaller((in + pad - taps) / stride + 1, out);
    return 1;
}

/* Input gradient: outputs (of dx) that leave one rest r modulo the stride meet the taps j with (r + pad - j) % stride
 * == 0, tap j at input (r + pad - j) / stride + t. */
static int backward_axis(phase *p, int64_t in, int64_t out, int64_t taps, int64_t stride, int64_t pad)
{
    for (int64_t r = 0; r < stride; r++, p++) {
        int64_t nearest = (r + pad) % stride;
        *p = (phase){.first = r, .every = stride, .count = (out - r + stride - 1) / stride, .step = 1};
        for (int64_t j = nearest; j < taps; j += stride)
            p->taps++;
        for (int j = 0; j < p->taps; j++)
            p->tap[j] = (int)(nearest + (p->taps - 1 - j) * stride);
        p->base = (r + pad - nearest) / stride - (p->taps - 1);
        p->t0 = p->base < 0 ? -p->base : 0;
        p->t1 = smaller(in - p->taps - p->base + 1, p->count);
    }
    return (int)stride;
}

static soma_status offsets(soma_prepare *p, depthwise_state *s)
{
    s->group = larger(s->from.block, s->to.block);
    s->lanes = (int)smaller(SOMA_LANES, smaller(s->from.block, s->to.block));
    s->vectors = (int)((s->group + s->lanes - 1) / s->lanes);
    s->from_at = soma_prepare_state(p, 2 * (size_t)s->vectors * sizeof *s->from_at);
    if (!s->from_at)
        return SOMA_MEMORY;
    s->to_at = s->from_at + s->vectors;
    for (int v = 0; v < s->vectors; v++) {
        s->from_at[v] = soma_depthwise_at(&s->from, s->c, 0, (int64_t)v * s->lanes);
        s->to_at[v] = soma_depthwise_at(&s->to, s->c, 0, (int64_t)v * s->lanes);
    }
    return SOMA_OK;
}

static soma_status refuse(soma_prepare *p, const char *why)
{
    soma_refuse(p->reason, "%s", why);
    return SOMA_UNSUPPORTED;
}

static soma_status accept_case(soma_prepare *p, const soma_conv2d_case *c)
{
    if (p->in[0].dtype == SOMA_F32 && soma_depthwise(c))
        return SOMA_OK;
    return refuse(p, "made for f32, one filter per channel, at least 8 channels, windows up to 7 x 7, no dilation");
}

static soma_status prepare(soma_prepare *p, const soma_conv2d_case *c, bool backward)
{
    depthwise_state *s = soma_prepare_state(p, sizeof *s);
    if (!s)
        return SOMA_MEMORY;
    if (p->in[0].layout.kind == SOMA_PLAIN || p->out[0].layout.kind == SOMA_PLAIN)
        return refuse(p, "lanes are channels: x and y may not be plain");
    if (p->in[1].layout.kind != SOMA_PLAIN)
        return refuse(p, "the weight must be plain");
    int64_t from_block = soma_layout_block(&p->in[0]), to_block = soma_layout_block(&p->out[0]);
    s->from = (soma_depthwise_array){backward ? c->oh : c->h, backward ? c->ow : c->w, from_block};
    s->to = (soma_depthwise_array){backward ? c->h : c->oh, backward ? c->w : c->ow, to_block};
    s->n = c->n;
    s->c = c->c;
    s->kh = c->kh;
    s->kw = c->kw;
    int (*axis)(phase *, int64_t, int64_t, int64_t, int64_t, int64_t) = backward ? backward_axis : forward_axis;
    s->rows = axis(s->row, s->from.h, s->to.h, c->kh, c->a->stride[0], c->a->pad[0]);
    s->columns = axis(s->column, s->from.w, s->to.w, c->kw, c->a->stride[1], c->a->pad[1]);
    s->tail = soma_tail_of(p);
    s->out = p->n_in;
    s->scratch = p->n_in + p->n_out;
    s->threads = soma_conv2d_flops(c) >= 2e5 ? p->threads : 1;
    p->scratch = (size_t)(s->c * s->kh * s->kw) * sizeof(float);
    p->parallel = s->threads > 1;
    p->state = s;
    p->run = run;
    return offsets(p, s);
}

static soma_status forward_accept(soma_prepare *p)
{
    soma_conv2d_case c = soma_conv2d_forward_case(p);
    if (soma_conv2d_has_in(p, SOMA_CONV2D_ADDED))
        return refuse(p, "nothing can be added to its result");
    return accept_case(p, &c);
}
static soma_status forward_prepare(soma_prepare *p)
{
    soma_conv2d_case c = soma_conv2d_forward_case(p);
    return prepare(p, &c, false);
}
static soma_status input_accept(soma_prepare *p)
{
    soma_conv2d_case c = soma_conv2d_input_case(p);
    if (p->n_in > SOMA_CONV2D_GATE)
        return refuse(p, "its gradient has neither gate nor addition");
    return accept_case(p, &c);
}
static soma_status input_prepare(soma_prepare *p)
{
    soma_conv2d_case c = soma_conv2d_input_case(p);
    return prepare(p, &c, true);
}

extern const soma_kernel SOMA_ISA(soma_conv2d_depthwise_cpu), SOMA_ISA(soma_conv2d_input_grad_depthwise_cpu);
const soma_kernel SOMA_ISA(soma_conv2d_depthwise_cpu) = {.name = "cpu-depthwise",
                                                         SOMA_ISA_FIELDS,
                                                         .layouts = SOMA_LAYOUT_CONVERT,
                                                         .tail = SOMA_TAIL_ACT,
                                                         .acts = SOMA_ACTS_CLAMP,
                                                         .accept = forward_accept,
                                                         .prepare = forward_prepare};
const soma_kernel SOMA_ISA(soma_conv2d_input_grad_depthwise_cpu) = {.name = "cpu-depthwise",
                                                                    SOMA_ISA_FIELDS,
                                                                    .layouts = SOMA_LAYOUT_CONVERT,
                                                                    .accept = input_accept,
                                                                    .prepare = input_prepare};
