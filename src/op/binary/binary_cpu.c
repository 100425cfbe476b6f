/* SPDX-License-Identifier: Apache-2.0
 *
 * op/binary/binary_cpu.c: f32 kernels of the rows of binary.list.
 * "cpu": both arrays of the result's shape, or one of them a single number: any layout, one loop.
 * "cpu broadcast": everything else, plain layout: a loop over rows, each row one of the same three loops. It covers the
 * trailing row ([N, C] with [C]), the column ([N, C] with [N, 1]) and the channel ([N, C, H, W] with [1, C, 1, 1]).
 */
#include "op/binary/binary.h"

#include "cpu/isa.h"
#include "cpu/parallel.h"
#include "cpu/vec.h"
#include "op/unary/unary.h"

static bool fits(const soma_arg *x, const soma_arg *y)
{
    return x->elements == 1 || x->elements == y->elements;
}

static soma_status accept_any(soma_prepare *p)
{
    for (int i = 0; i < 2; i++)
        if (p->in[i].dtype != SOMA_STORED)
            return soma_refuse(p->reason, "this kernel is for %s, input %d is %s", soma_dtype_name(SOMA_STORED), i,
                               soma_dtype_name(p->in[i].dtype));
    return SOMA_OK;
}

static soma_status accept_same(soma_prepare *p)
{
    if (accept_any(p) != SOMA_OK)
        return SOMA_INVALID;
    if (!fits(&p->in[0], &p->out[0]) || !fits(&p->in[1], &p->out[0]))
        return soma_refuse(p->reason, "this kernel takes two arrays of one shape, or an array and a number");
    return SOMA_OK;
}

typedef struct binary_job {
    const soma_broadcast *s;
    const soma_elem *a, *b;
    soma_elem *y;
} binary_job;

#if SOMA_ISA_LEVEL == 4
static void span_of(const soma_broadcast *s, const soma_elem *a, const soma_elem *b, soma_elem *y, int64_t n)
{
    float row[3][SOMA_ROW];
    for (int64_t i = 0, size; i < n; i += size) {
        size = n - i < SOMA_ROW ? n - i : SOMA_ROW;
        soma_widen(a + i * s->a[0], row[0], s->a[0] ? size : 1);
        soma_widen(b + i * s->b[0], row[1], s->b[0] ? size : 1);
        s->span(row[0], row[1], row[2], size);
        soma_narrow(row[2], y + i, size);
    }
}
#else
static void span_of(const soma_broadcast *s, const float *a, const float *b, float *y, int64_t n)
{
    s->span(a, b, y, n);
}
#endif

static void span_part(void *context, int index, int count)
{
    const binary_job *job = context;
    const soma_broadcast *s = job->s;
    int64_t begin, end;
    soma_share(s->n, 1024, index, count, &begin, &end);
    span_of(s, job->a + begin * s->a[0], job->b + begin * s->b[0], job->y + begin, end - begin);
}

#if SOMA_ISA_LEVEL == 4
#define walk_part NULL /* what is broadcast is no activation, and so in f32 */
#else
static void walk_part(void *context, int index, int count)
{
    const binary_job *job = context;
    int64_t begin, end;
    soma_share(job->s->rows, 1, index, count, &begin, &end);
    job->s->walk(job->s, job->a, job->b, job->y, begin, end);
}
#endif

static soma_status run_shares(const void *state, void *const *arg, soma_run *run)
{
    const soma_broadcast *s = state;
    binary_job job = {s, arg[0], arg[1], arg[2]};
    soma_run_parallel(run, s->threads, s->walk ? walk_part : span_part, &job);
    return SOMA_OK;
}

static soma_broadcast *plan(soma_prepare *p)
{
    soma_broadcast *s = soma_prepare_state(p, sizeof *s);
    if (!s)
        return NULL;
    soma_broadcast_plan(s, p);
    p->parallel = p->threads > 1 && s->n >= SOMA_ELEMENTWISE_PARALLEL;
    s->threads = p->parallel ? p->threads : 1;
    p->state = s;
    return s;
}

#if SOMA_ISA_LEVEL == 4
static bool set_rows(soma_prepare *p, soma_broadcast *s) /* this level has no strided arrays */
{
    (void)p, (void)s;
    return false;
}
#else
/* Samples as rows, of arrays that lie inside larger ones. */
static void rows_part(void *context, int index, int count)
{
    const binary_job *job = context;
    const soma_broadcast *s = job->s;
    int64_t at, end, row = s->dim[1];
    soma_share(s->n, 1024, index, count, &at, &end);
    for (int64_t n; at < end; at += n) {
        int64_t r = at / row, i = at % row;
        n = row - i < end - at ? row - i : end - at;
        s->span(job->a + r * s->a[0] + i * s->a[1], job->b + r * s->b[0] + i * s->b[1], job->y + at, n);
    }
}

static soma_status run_rows(const void *state, void *const *arg, soma_run *run)
{
    const soma_broadcast *s = state;
    binary_job job = {s, arg[0], arg[1], arg[2]};
    soma_run_parallel(run, s->threads, rows_part, &job);
    return SOMA_OK;
}

/* Where an array has a stride from sample to sample. */
static bool set_rows(soma_prepare *p, soma_broadcast *s)
{
    int64_t samples = p->out[0].shape.dim[0], step[2];
    if (!p->in[0].layout.batch_stride && !p->in[1].layout.batch_stride)
        return false;
    for (int j = 0; j < 2; j++)
        step[j] = p->in[j].elements != s->n      ? 0
                  : p->in[j].layout.batch_stride ? p->in[j].layout.batch_stride
                                                 : s->n / samples;
    s->rank = 2;
    s->rows = samples;
    s->dim[0] = samples;
    s->dim[1] = s->n / samples;
    s->a[0] = step[0];
    s->a[1] = step[0] > 0;
    s->b[0] = step[1];
    s->b[1] = step[1] > 0;
    p->run = run_rows;
    return true;
}
#endif

/* One layout for all: elements pair up by position, whatever the shape. */
static soma_broadcast *plan_same(soma_prepare *p)
{
    soma_broadcast *s = plan(p);
    if (!s)
        return NULL;
    s->rank = 1;
    s->dim[0] = s->n;
    s->rows = 1;
    s->a[0] = p->in[0].elements == s->n;
    s->b[0] = p->in[1].elements == s->n;
    return s;
}

#if SOMA_ISA_LEVEL != 4
/* A short row that is broadcast over many is repeated in a tile of whole rows, so that one long loop does the work of
 * many short ones. Returns the tile's elements; 0: not worth it. */
#define TILE 256
static int64_t fill_tile(const soma_broadcast *s, const float *row, int64_t rows, float tile[TILE])
{
    const int64_t n = s->dim[s->rank - 1];
    if (s->rank != 2 || n > TILE / 4 || rows < 2)
        return 0;
    int64_t size = rows < TILE / n ? rows * n : TILE / n * n;
    for (int64_t i = 0; i < n; i++)
        tile[i] = row[i];
    for (int64_t i = n; i < size; i++) /* reads what it wrote n places before */
        tile[i] = tile[i - n];
    return size;
}
#endif

/* The loops of one op: a and b stepping (same), b one number (right), a one number (left). */
typedef void (*span_fn)(const float *a, const float *b, float *y, int64_t n);
typedef struct loops {
    span_fn same, right, left;
    soma_run_fn run_same, run_right, run_left; /* of arrays below the parallel size */
} loops;

static soma_status prepare_same(soma_prepare *p, const loops *f)
{
    soma_broadcast *s = plan_same(p);
    if (!s)
        return SOMA_MEMORY;
    s->span = !s->a[0] ? f->left : !s->b[0] ? f->right : f->same;
    soma_run_fn small = !s->a[0] ? f->run_left : !s->b[0] ? f->run_right : f->run_same;
    if (!set_rows(p, s))
        p->run = p->parallel || SOMA_ISA_LEVEL == 4 ? run_shares : small;
    return SOMA_OK;
}

#define LOOP(fn, loop, of_a, of_b)                                                                                     \
    static inline void fn##_##loop(const float *a, const float *b, float *y, int64_t n)                                \
    {                                                                                                                  \
        const float a0 = a[0], b0 = b[0];                                                                              \
        (void)a0, (void)b0;                                                                                            \
        _Pragma("omp simd") for (int64_t i = 0; i < n; i++) y[i] = fn##_fast(of_a, of_b);                              \
    }                                                                                                                  \
    static soma_status fn##_run_##loop(const void *state, void *const *arg, soma_run *run)                             \
    {                                                                                                                  \
        (void)run;                                                                                                     \
        fn##_##loop(arg[0], arg[1], arg[2], ((const soma_broadcast *)state)->n);                                       \
        return SOMA_OK;                                                                                                \
    }
#define VALUE(...) (__VA_ARGS__)
#define BINARY(fn, onnx, part, bound, doc, value, ...)                                                                 \
    SOMA_INLINE float fn##_fast(float a, float b)                                                                      \
    {                                                                                                                  \
        return value;                                                                                                  \
    }                                                                                                                  \
    LOOP(fn, same, a[i], b[i])                                                                                         \
    LOOP(fn, right, a[i], b0)                                                                                          \
    LOOP(fn, left, a0, b[i])                                                                                           \
    static soma_status fn##_prepare(soma_prepare *p)                                                                   \
    {                                                                                                                  \
        static const loops f = {fn##_same, fn##_right, fn##_left, fn##_run_same, fn##_run_right, fn##_run_left};       \
        return prepare_same(p, &f);                                                                                    \
    }                                                                                                                  \
    extern const soma_kernel SOMA_ISA(soma_##fn##_cpu);                                                                \
    const soma_kernel SOMA_ISA(soma_##fn##_cpu) = {.name = "cpu",                                                      \
                                                   SOMA_ISA_FIELDS,                                                    \
                                                   .bf16 = SOMA_STORED_RULE,                                           \
                                                   .layouts = SOMA_LAYOUT_FOLLOW,                                      \
                                                   .strided = SOMA_ISA_LEVEL == 4 ? 0 : SOMA_STRIDED_ALL,              \
                                                   .accept = accept_same,                                              \
                                                   .prepare = fn##_prepare};
#include "op/binary/binary.list"

#if SOMA_ISA_LEVEL != 4
/* Rows begin .. end - 1 of the result, each by one of an op's three loops. */
SOMA_INLINE void walk(span_fn same, span_fn right, span_fn left, const soma_broadcast *s, const float *a,
                      const float *b, float *y, int64_t begin, int64_t end)
{
    const int64_t n = s->dim[s->rank - 1];
    const bool one_left = !s->a[s->rank - 1], one_right = !s->b[s->rank - 1];
    float tile[TILE];
    if (!one_left && !one_right && (!s->a[0] || !s->b[0])) {
        int64_t size = fill_tile(s, s->a[0] ? b : a, end - begin, tile);
        for (int64_t i = begin * n; size && i < end * n; i += size)
            same(s->a[0] ? a + i : tile, s->a[0] ? tile : b + i, y + i, end * n - i < size ? end * n - i : size);
        if (size)
            return;
    }
    soma_row row;
    soma_row_begin(&row, s, begin);
    for (int64_t r = begin; r < end; r++, soma_row_next(&row, s)) {
        if (one_left)
            left(a + row.a, b + row.b, y + r * n, n);
        else if (one_right)
            right(a + row.a, b + row.b, y + r * n, n);
        else
            same(a + row.a, b + row.b, y + r * n, n);
    }
}

#define BINARY(fn, ...)                                                                                                \
    static void fn##_walk(const soma_broadcast *s, const float *a, const float *b, float *y, int64_t begin,            \
                          int64_t end)                                                                                 \
    {                                                                                                                  \
        walk(fn##_same, fn##_right, fn##_left, s, a, b, y, begin, end);                                                \
    }                                                                                                                  \
    static soma_status fn##_walk_run(const void *state, void *const *arg, soma_run *run)                               \
    {                                                                                                                  \
        (void)run;                                                                                                     \
        fn##_walk(state, arg[0], arg[1], arg[2], 0, ((const soma_broadcast *)state)->rows);                            \
        return SOMA_OK;                                                                                                \
    }                                                                                                                  \
    static soma_status fn##_broadcast_prepare(soma_prepare *p)                                                         \
    {                                                                                                                  \
        soma_broadcast *s = plan(p);                                                                                   \
        if (!s)                                                                                                        \
            return SOMA_MEMORY;                                                                                        \
        s->walk = fn##_walk;                                                                                           \
        p->run = p->parallel ? run_shares : fn##_walk_run;                                                             \
        return SOMA_OK;                                                                                                \
    }                                                                                                                  \
    extern const soma_kernel SOMA_ISA(soma_##fn##_broadcast_cpu);                                                      \
    const soma_kernel SOMA_ISA(soma_##fn##_broadcast_cpu) = {                                                          \
        .name = "cpu broadcast", SOMA_ISA_FIELDS, .accept = accept_any, .prepare = fn##_broadcast_prepare};
#include "op/binary/binary.list"
#endif
