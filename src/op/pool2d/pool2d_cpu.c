/* SPDX-License-Identifier: Apache-2.0
 *
 * op/pool2d/pool2d_cpu.c: pooling where each array may have its own layout, seen as [N, C / block, H, W, block]. Where
 * the big side (x or dx) has channels inside, lanes are channels; small arrays (y, index) that are plain then pass
 * through a buffer of some rows. Where the big side is plain, lanes are columns. Each byte of memory is touched once.
 */
#include "cpu/parallel.h"
#include "op/pool2d/pool2d_columns.h"
#include "op/reorder/reorder.h"

#define SOMA_POOL_STAGE 256      /* positions that a buffer holds */
#define SOMA_POOL_PARALLEL 65536 /* elements of the big side from which a parallel region pays */

/* ---- lanes are channels ---- */

SOMA_INLINE void max_window(const pool_state *s, const lanes *v, const soma_elem *x, int64_t ow, taps t, int64_t kw,
                            int n)
{
    int64_t row = s->c.w * v->big_step;
    soma_vf best = soma_vget_n(x + t.i0 * row + t.j0 * v->big_step, n);
    soma_vi index = soma_viset((int)(t.i0 * kw + t.j0));
    for (int64_t i = t.i0; i < t.i1; i++)
        for (int64_t j = t.j0; j < t.j1; j++) {
            soma_vf value = soma_vget_n(x + i * row + j * v->big_step, n);
            soma_vm m = soma_vgreater(value, best);
            best = soma_vchoose(m, value, best);
            index = soma_vichoose(m, soma_viset((int)(i * kw + j)), index);
        }
    best = soma_act_vector(s->c.act, best);
    soma_vput_n(v->small + ow * v->small_step, best, n);
    if (v->index)
        soma_vistore_u8(v->index + ow * v->index_step, index, n);
}

SOMA_INLINE void max_grad_window(const pool_state *s, const lanes *v, soma_elem *x, int64_t ow, taps t, int64_t kw,
                                 int n)
{
    int64_t row = s->c.w * v->big_step;
    soma_vf dy = soma_vget_n(v->small + ow * v->small_step, n);
    soma_vi index = soma_viload_u8(v->index + ow * v->index_step, n);
    if (v->gate)
        dy = soma_gate_vector(s->c.act, soma_vget_n(v->gate + ow * v->gate_step, n), dy);
    for (int64_t i = t.i0; i < t.i1; i++)
        for (int64_t j = t.j0; j < t.j1; j++) {
            soma_elem *to = x + i * row + j * v->big_step;
            soma_vf value = soma_vkeep(soma_viequal(index, soma_viset((int)(i * kw + j))), dy);
            if (s->add)
                value += soma_vget_n(to, n);
            soma_vput_n(to, value, n);
        }
}

SOMA_INLINE void gather_window(const pool_state *s, const lanes *v, const soma_elem *x, int64_t ow, taps t, int64_t kw,
                               int n)
{
    int64_t row = s->c.w * v->big_step;
    soma_vi index = soma_viload_u8(v->index + ow * v->index_step, n);
    soma_vf y = soma_vset(0);
    for (int64_t i = t.i0; i < t.i1; i++)
        for (int64_t j = t.j0; j < t.j1; j++)
            y = soma_vchoose(soma_viequal(index, soma_viset((int)(i * kw + j))),
                             soma_vget_n(x + i * row + j * v->big_step, n), y);
    if (v->gate)
        y = soma_gate_vector(s->c.act, soma_vget_n(v->gate + ow * v->gate_step, n), y);
    soma_vput_n(v->small + ow * v->small_step, y, n);
}

SOMA_INLINE void average_window(const pool_state *s, const lanes *v, const soma_elem *x, int64_t ow, taps t,
                                float scale, int n)
{
    int64_t row = s->c.w * v->big_step;
    soma_vf sum = soma_vset(0);
    for (int64_t i = t.i0; i < t.i1; i++)
        for (int64_t j = t.j0; j < t.j1; j++)
            sum += soma_vget_n(x + i * row + j * v->big_step, n);
    soma_vput_n(v->small + ow * v->small_step, sum * soma_vset(scale), n);
}

SOMA_INLINE void average_grad_window(const pool_state *s, const lanes *v, soma_elem *x, int64_t ow, taps t, float scale,
                                     int n)
{
    int64_t row = s->c.w * v->big_step;
    soma_vf share = soma_vget_n(v->small + ow * v->small_step, n) * soma_vset(scale);
    for (int64_t i = t.i0; i < t.i1; i++)
        for (int64_t j = t.j0; j < t.j1; j++) {
            soma_elem *to = x + i * row + j * v->big_step;
            soma_vf sum = share;
            if (s->add)
                sum += soma_vget_n(to, n);
            soma_vput_n(to, sum, n);
        }
}

SOMA_INLINE void any_window(const pool_state *s, const lanes *v, int64_t oh, int64_t ow, taps t, int64_t kw, int n)
{
    const soma_pool2d_attrs *a = &s->c.a;
    soma_elem *x = v->big + ((oh * a->stride[0] - a->pad[0]) * s->c.w + ow * a->stride[1] - a->pad[1]) * v->big_step;
    bool averages = s->kind == AVERAGE || s->kind == AVERAGE_GRAD;
    float scale = averages ? (float)(1.0 / soma_pool2d_divisor(&s->c, oh, ow)) : 0;
    if (s->kind == MAX)
        max_window(s, v, x, ow, t, kw, n);
    else if (s->kind == MAX_GRAD)
        max_grad_window(s, v, x, ow, t, kw, n);
    else if (s->kind == GATHER)
        gather_window(s, v, x, ow, t, kw, n);
    else if (s->kind == AVERAGE)
        average_window(s, v, x, ow, t, scale, n);
    else
        average_grad_window(s, v, x, ow, t, scale, n);
}

SOMA_INLINE void channel_row(const pool_state *s, const lanes *v, int64_t oh, int n)
{
    const soma_pool2d_attrs *a = &s->c.a;
    taps t;
    soma_pool2d_taps(oh, a->stride[0], a->pad[0], a->size[0], s->c.h, &t.i0, &t.i1);
    for (int64_t ow = 0; ow < s->c.ow; ow++) {
        soma_pool2d_taps(ow, a->stride[1], a->pad[1], a->size[1], s->c.w, &t.j0, &t.j1);
        if (t.i0 == 0 && t.i1 == 2 && t.j0 == 0 && t.j1 == 2 && a->size[1] == 2)
            any_window(s, v, oh, ow, (taps){0, 2, 0, 2}, 2, n);
        else
            any_window(s, v, oh, ow, t, a->size[1], n);
    }
}

/* ---- units: one sample, `width` channels ---- */

/* The element (n, c, first position) of an array of `plane` positions. */
static int64_t offset(const pool_state *s, int64_t n, int64_t c, int64_t plane, int64_t block)
{
    return n * s->c.c * plane + c / block * block * plane + c % block;
}

static void clear_big(const pool_state *s, const lanes *v)
{
    int64_t plane = s->c.h * s->c.w;
    if (v->big_step == v->n) {
        memset(v->big, 0, (size_t)(plane * v->n) * sizeof *v->big);
        return;
    }
    for (int64_t i = 0; i < plane; i++)
        memset(v->big + i * v->big_step, 0, (size_t)v->n * sizeof *v->big);
}

/* A plain array's `count` positions of n channels into, or out of, rows of `width` channels. The buffers hold whole
 * vectors. */
static bool stage_blocks(soma_elem *plain, int64_t plane, soma_elem *rows, int64_t width, int64_t count, int n,
                         bool load)
{
    if (width != 16 || n != 16)
        return false;
    for (int64_t i = 0; i < count; i += 16) {
        int columns = count - i < 16 ? (int)(count - i) : 16;
        if (load)
            soma_transpose_stored_16(plain + i, plane, 16, rows + i * 16, 16, columns);
        else if (columns == 16)
            soma_transpose_stored_16(rows + i * 16, 16, 16, plain + i, plane, 16);
        else
            for (int64_t c = 0; c < 16; c++)
                for (int64_t j = i; j < count; j++)
                    plain[c * plane + j] = rows[j * 16 + c];
    }
    return true;
}

#define STAGE(T, name)                                                                                                 \
    static void name(T *plain, int64_t plane, T *rows, int64_t width, int64_t count, int n, bool load)                 \
    {                                                                                                                  \
        for (int c = 0; c < n; c++)                                                                                    \
            for (int64_t i = 0; i < count; i++) {                                                                      \
                if (load)                                                                                              \
                    rows[i * width + c] = plain[c * plane + i];                                                        \
                else                                                                                                   \
                    plain[c * plane + i] = rows[i * width + c];                                                        \
            }                                                                                                          \
    }
STAGE(soma_elem, stage_stored)
STAGE(uint8_t, stage_u8)

/* Rows oh .. oh + rows - 1 of a unit whose big side has channels inside. */
static void channel_rows(const pool_state *s, const lanes *unit, int64_t oh, int64_t rows, char *buffer)
{
    int64_t plane = s->c.oh * s->c.ow, count = rows * s->c.ow, first = oh * s->c.ow, w = s->width;
    soma_elem *small = (soma_elem *)(void *)buffer, *gate = small + SOMA_POOL_STAGE * w;
    bool loads = s->kind == MAX_GRAD || s->kind == AVERAGE_GRAD, index_in = s->kind != MAX;
    lanes v = *unit;
    v.small += first * unit->small_step;
    v.index = unit->index ? unit->index + first * unit->index_step : NULL;
    v.gate = unit->gate ? unit->gate + first * unit->gate_step : NULL;
    lanes plain = v;
    uint8_t *index = (uint8_t *)(gate + SOMA_POOL_STAGE * w);
    if (s->small_block == 1) {
        v.small = small;
        v.small_step = w;
        if (loads && !stage_blocks(plain.small, plane, small, w, count, v.n, true))
            stage_stored(plain.small, plane, small, w, count, v.n, true);
    }
    if (v.gate && s->gate_block == 1) {
        if (!stage_blocks(plain.gate, plane, gate, w, count, v.n, true))
            stage_stored(plain.gate, plane, gate, w, count, v.n, true);
        v.gate = gate;
        v.gate_step = w;
    }
    if (v.index && s->index_block == 1) {
        if (index_in)
            stage_u8(plain.index, plane, index, w, count, v.n, true);
        v.index = index;
        v.index_step = w;
    }
    for (int64_t r = 0; r < rows; r++) {
        if (v.n == SOMA_LANES)
            channel_row(s, &v, oh + r, SOMA_LANES);
        else
            channel_row(s, &v, oh + r, v.n);
        v.small += s->c.ow * v.small_step;
        v.gate = v.gate ? v.gate + s->c.ow * v.gate_step : NULL;
        v.index = v.index ? v.index + s->c.ow * v.index_step : NULL;
    }
    if (s->small_block == 1 && !loads && !stage_blocks(plain.small, plane, small, w, count, v.n, false))
        stage_stored(plain.small, plane, small, w, count, v.n, false);
    if (plain.index && s->index_block == 1 && !index_in)
        stage_u8(plain.index, plane, index, w, count, v.n, false);
}

static void unit(const pool_state *s, void *const *arg, int64_t n, int64_t c, char *buffer)
{
    int64_t big = s->c.h * s->c.w, small = s->c.oh * s->c.ow;
    lanes v = {.big = (soma_elem *)arg[s->big] + offset(s, n, c, big, s->big_block),
               .small = (soma_elem *)arg[s->small] + offset(s, n, c, small, s->small_block),
               .big_step = s->big_block,
               .small_step = s->small_block,
               .gate_step = s->gate_block,
               .index_step = s->index_block,
               .n = s->c.c - c < s->width ? (int)(s->c.c - c) : s->width};
    if (s->index >= 0 && arg[s->index])
        v.index = (uint8_t *)arg[s->index] + offset(s, n, c, small, s->index_block);
    if (s->gate >= 0)
        v.gate = (soma_elem *)arg[s->gate] + offset(s, n, c, small, s->gate_block);
    if (s->clear)
        clear_big(s, &v);
    if (s->big_block > 1) {
        for (int64_t oh = 0; oh < s->c.oh; oh += s->rows)
            channel_rows(s, &v, oh, s->c.oh - oh < s->rows ? s->c.oh - oh : s->rows, buffer);
        return;
    }
    for (int64_t oh = 0; oh < s->c.oh; oh++) {
        column_row(s, &v, oh);
        v.small += s->c.ow * v.small_step;
        v.gate = v.gate ? v.gate + s->c.ow * v.gate_step : NULL;
        v.index = v.index ? v.index + s->c.ow * v.index_step : NULL;
    }
}

typedef struct pool_job {
    const pool_state *s;
    void *const *arg;
} pool_job;

static void part(void *context, int index, int count)
{
    const pool_job *job = context;
    const pool_state *s = job->s;
    int64_t per = (s->c.c + s->width - 1) / s->width, begin, end;
    char *buffer = (char *)job->arg[s->scratch] + (size_t)index * s->buffer;
    soma_share(s->c.n * per, 1, index, count, &begin, &end);
    for (int64_t u = begin; u < end; u++)
        unit(s, job->arg, u / per, u % per * s->width, buffer);
}

static soma_status run(const void *state, void *const *arg, soma_run *r)
{
    const pool_state *s = state;
    pool_job job = {s, arg};
    soma_run_parallel(r, s->threads, part, &job);
    return SOMA_OK;
}

/* ---- prepare ---- */

static int64_t smaller(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/* Channels per unit: at most a vector, and never across the blocks of an array. */
static int unit_width(const pool_state *s)
{
    const int64_t blocks[] = {s->small_block, s->index_block, s->gate_block};
    int64_t width = smaller(s->big_block, SOMA_LANES);
    for (int i = 0; i < 3; i++)
        if (s->big_block > 1 && blocks[i] > 1)
            width = smaller(width, blocks[i]);
    return (int)width;
}

static void set_up(pool_state *s, const soma_prepare *p)
{
    const soma_pool2d_attrs *a = &s->c.a;
    bool covers = a->size[0] == a->stride[0] && a->size[1] == a->stride[1] && s->c.oh * a->stride[0] == s->c.h &&
                  s->c.ow * a->stride[1] == s->c.w && !a->pad[0] && !a->pad[1] && !a->pad[2] && !a->pad[3];
    bool backward = s->kind == MAX_GRAD || s->kind == AVERAGE_GRAD;
    s->add = a->stride[0] < a->size[0] || a->stride[1] < a->size[1];
    s->width = unit_width(s);
    /* a plain big side adds to what it finds, but for the 2 x 2 vectors, which store */
    s->clear = backward && (!covers || s->big_block == 1);
    s->rows = smaller(s->c.oh, s->c.ow < SOMA_POOL_STAGE ? SOMA_POOL_STAGE / s->c.ow : 1);
    s->threads = s->c.n * s->c.c * s->c.h * s->c.w >= SOMA_POOL_PARALLEL ? p->threads : 1;
    s->scratch = p->n_in + p->n_out;
}

static soma_status accept(soma_prepare *p)
{
    if (p->in[0].dtype == SOMA_STORED)
        return SOMA_OK;
    soma_refuse(p->reason, "pools %s only", soma_dtype_name(SOMA_STORED));
    return SOMA_UNSUPPORTED;
}

static soma_status prepare(soma_prepare *p, kind k)
{
    pool_state *s = soma_prepare_state(p, sizeof *s);
    if (!s)
        return SOMA_MEMORY;
    bool backward = k == MAX_GRAD || k == AVERAGE_GRAD, has_index = k == MAX || k == MAX_GRAD || k == GATHER;
    const soma_arg *big = backward ? &p->out[0] : &p->in[0], *small = backward ? &p->in[0] : &p->out[0];
    s->c = soma_pool2d_case_of(p, &big->shape, &small->shape);
    s->kind = k;
    s->big = backward ? p->n_in : 0;
    s->small = backward ? 0 : p->n_in;
    s->index = !has_index ? -1 : k != MAX ? 1 : p->n_out > 1 && p->out[1].shape.rank >= 0 ? p->n_in + 1 : -1;
    s->gate = has_index && k != MAX && s->c.act ? 2 : -1;
    s->big_block = soma_layout_block(big);
    s->small_block = soma_layout_block(small);
    s->index_block = s->index < 0 ? 1 : soma_layout_block(k == MAX ? &p->out[1] : &p->in[1]);
    s->gate_block = s->gate < 0 ? 1 : soma_layout_block(&p->in[2]);
    set_up(s, p);
    int64_t positions = s->rows * s->c.ow;
    if (s->big_block > 1 && positions > SOMA_POOL_STAGE) {
        soma_refuse(p->reason, "rows of %lld windows are wider than the buffer", (long long)s->c.ow);
        return SOMA_UNSUPPORTED;
    }
    if (s->big_block > 1)
        s->buffer = ((size_t)SOMA_POOL_STAGE * (size_t)s->width * (2 * sizeof(soma_elem) + 1) + 63) / 64 * 64;
    p->scratch = s->buffer * (size_t)s->threads;
    p->parallel = s->threads > 1;
    p->state = s;
    p->run = run;
    return SOMA_OK;
}

#define KERNEL(op_name, k)                                                                                             \
    static soma_status op_name##_prepare(soma_prepare *p)                                                              \
    {                                                                                                                  \
        return prepare(p, k);                                                                                          \
    }                                                                                                                  \
    const soma_kernel SOMA_ISA(soma_##op_name##_cpu) = {.name = "cpu",                                                 \
                                                        SOMA_ISA_FIELDS,                                               \
                                                        .bf16 = SOMA_STORED_RULE,                                      \
                                                        .layouts = SOMA_LAYOUT_CONVERT,                                \
                                                        .tail = SOMA_TAIL_ACT,                                         \
                                                        .acts = SOMA_ACTS_CLAMP,                                       \
                                                        .accept = accept,                                              \
                                                        .prepare = op_name##_prepare};
KERNEL(max_pool2d, MAX)
KERNEL(max_pool2d_grad, MAX_GRAD)
KERNEL(max_pool2d_gather, GATHER)
KERNEL(average_pool2d, AVERAGE)
KERNEL(average_pool2d_grad, AVERAGE_GRAD)
