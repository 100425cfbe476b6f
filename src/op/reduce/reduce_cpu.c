/* SPDX-License-Identifier: Apache-2.0
 *
 * op/reduce/reduce_cpu.c: f32 kernels of reduce_sum, reduce_mean, reduce_max and sum_to. Four forms of alternating kept
 * (K) and reduced (R) dimensions have loops of their own: R (all to one number), KR (rows), RK (columns), RKR
 * (channels); the rest walks its dimensions. Sums run in vector lanes for a block and go on in f64, so that errors do
 * not grow with the length.
 */
#include "op/reduce/reduce.h"

#include "cpu/isa.h"
#include "cpu/parallel.h"

#include <math.h>
#include <string.h>

typedef float vec __attribute__((vector_size(SOMA_LANES * 4)));
typedef int32_t mask __attribute__((vector_size(SOMA_LANES * 4)));
#define INLINE static inline __attribute__((always_inline))

/* What lanes add up before f64 takes over: elements of a line, rows of columns. */
#define BLOCK 8192
#define ROWS 512

INLINE vec load(const float *x)
{
    vec v;
    memcpy(&v, x, sizeof v);
    return v;
}

INLINE vec all_lanes(float x)
{
    return x - (vec){0};
}

/* a + x, or the larger of both, where a NaN wins and stays. */
INLINE vec join(vec a, vec x, bool max)
{
    if (!max)
        return a + x;
    mask take = (x > a) | (x != x);
    return (vec)(((mask)x & take) | ((mask)a & ~take));
}

INLINE float join1(float a, float x, bool max)
{
    return !max ? a + x : x > a || x != x ? x : a;
}

INLINE double join_wide(double a, double x, bool max)
{
    return !max ? a + x : x > a || x != x ? x : a;
}

INLINE float identity(bool max)
{
    return max ? -INFINITY : 0.0f;
}

/* Folds lanes j, j + width, j + 2 width ... into lane j < width; width is a power of two. Loops of constant length:
 * halves of a vector. */
INLINE void fold(float lane[SOMA_LANES], int width, bool max)
{
#define HALVE(w)                                                                                                       \
    if (SOMA_LANES > (w) && width <= (w))                                                                              \
        for (int j = 0; j < (w); j++)                                                                                  \
            lane[j] = join1(lane[j], lane[(j + (w)) % SOMA_LANES], max);
    HALVE(8)
    HALVE(4)
    HALVE(2)
    HALVE(1)
#undef HALVE
}

/* The last n elements before `end` in the last lanes, and in the others what changes nothing. */
INLINE vec load_last(const float *end, int64_t n, vec none)
{
    static const int32_t keep[32] = {0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,
                                     -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1};
    mask take;
    memcpy(&take, keep + 16 - SOMA_LANES + n, sizeof take);
    return (vec)(((mask)load(end - SOMA_LANES) & take) | ((mask)none & ~take));
}

/* Joins n <= BLOCK elements into lanes: element i into a lane that is congruent to it modulo any power of two that
 * divides n and is at most SOMA_LANES. At least SOMA_LANES elements end at x + n. */
INLINE void block_lanes(const float *x, int64_t n, float lane[SOMA_LANES], bool max)
{
    const vec none = all_lanes(identity(max));
    vec a = none, b = none, c = none, d = none;
    int64_t i = 0;
    for (; i + 4 * SOMA_LANES <= n; i += 4 * SOMA_LANES) {
        a = join(a, load(x + i), max);
        b = join(b, load(x + i + SOMA_LANES), max);
        c = join(c, load(x + i + 2 * SOMA_LANES), max);
        d = join(d, load(x + i + 3 * SOMA_LANES), max);
    }
    for (; i + SOMA_LANES <= n; i += SOMA_LANES)
        a = join(a, load(x + i), max);
    if (i < n)
        b = join(b, load_last(x + n, n - i, none), max);
    a = join(join(a, b, max), join(c, d, max), max);
    memcpy(lane, &a, sizeof a);
}

/* n elements to one number. */
INLINE double line(const float *x, int64_t n, bool max)
{
    float lane[SOMA_LANES];
    if (n < SOMA_LANES) {
        float y = identity(max);
        for (int64_t i = 0; i < n; i++)
            y = join1(y, x[i], max);
        return y;
    }
    double y = identity(max);
    for (int64_t i = 0; i < n; i += BLOCK) {
        block_lanes(x + i, n - i < BLOCK ? n - i : BLOCK, lane, max);
        fold(lane, 1, max);
        y = join_wide(y, lane[0], max);
    }
    return y;
}

/* Rows of k <= SOMA_LANES columns, k a power of two: lanes by position are columns modulo k. */
INLINE void narrow_columns(const float *x, int64_t rows, int k, float *y, float scale, bool max)
{
    double total[SOMA_LANES];
    float lane[SOMA_LANES];
    int64_t n = rows * k;
    for (int j = 0; j < k; j++)
        total[j] = identity(max);
    if (n < SOMA_LANES) {
        for (int64_t i = 0; i < n; i += k)
            for (int j = 0; j < k; j++)
                total[j] = join_wide(total[j], x[i + j], max);
        n = 0;
    }
    for (int64_t i = 0; i < n; i += BLOCK) {
        block_lanes(x + i, n - i < BLOCK ? n - i : BLOCK, lane, max);
        fold(lane, k, max);
        for (int j = 0; j < k; j++)
            total[j] = join_wide(total[j], lane[j], max);
    }
    for (int j = 0; j < k; j++)
        y[j] = (float)total[j] * scale;
}

/* Columns 0 .. SOMA_LANES - 1 of rows of k columns. Lanes beyond the last column read the next row and are not used;
 * `safe` rows can be read so, the others go one by one. Rows are joined in their order, here and in wide_strip: equal
 * columns have equal sums, whichever strip they are in. */
INLINE void strip(const float *x, int64_t rows, int64_t safe, int64_t k, int width, float *y, float scale, bool max)
{
    const vec none = all_lanes(identity(max));
    double total[SOMA_LANES];
    float lane[SOMA_LANES];
    for (int j = 0; j < width; j++)
        total[j] = identity(max);
    for (int64_t begin = 0; begin < rows; begin += ROWS) {
        int64_t end = rows < begin + ROWS ? rows : begin + ROWS, fast = safe < end ? safe : end, r = begin;
        vec a = none;
        for (; r < fast; r++)
            a = join(a, load(x + r * k), max);
        memcpy(lane, &a, sizeof a);
        for (; r < end; r++)
            for (int j = 0; j < width; j++)
                lane[j] = join1(lane[j], x[r * k + j], max);
        for (int j = 0; j < width; j++)
            total[j] = join_wide(total[j], lane[j], max);
    }
    for (int j = 0; j < width; j++)
        y[j] = (float)total[j] * scale;
}

/* Four vectors of columns at a time: a run of memory per row. */
INLINE void wide_strip(const float *x, int64_t rows, int64_t k, float *y, float scale, bool max)
{
    const vec none = all_lanes(identity(max));
    double total[4 * SOMA_LANES];
    float lane[4 * SOMA_LANES];
    for (int j = 0; j < 4 * SOMA_LANES; j++)
        total[j] = identity(max);
    for (int64_t begin = 0; begin < rows; begin += ROWS) {
        int64_t end = rows < begin + ROWS ? rows : begin + ROWS;
        vec a = none, b = none, c = none, d = none;
        for (int64_t r = begin; r < end; r++) {
            const float *row = x + r * k;
            a = join(a, load(row), max);
            b = join(b, load(row + SOMA_LANES), max);
            c = join(c, load(row + 2 * SOMA_LANES), max);
            d = join(d, load(row + 3 * SOMA_LANES), max);
        }
        memcpy(lane, &a, sizeof a);
        memcpy(lane + SOMA_LANES, &b, sizeof b);
        memcpy(lane + 2 * SOMA_LANES, &c, sizeof c);
        memcpy(lane + 3 * SOMA_LANES, &d, sizeof d);
        for (int j = 0; j < 4 * SOMA_LANES; j++)
            total[j] = join_wide(total[j], lane[j], max);
    }
    for (int j = 0; j < 4 * SOMA_LANES; j++)
        y[j] = (float)total[j] * scale;
}

/* Columns begin .. end - 1 of rows x k. */
INLINE void columns(const float *x, int64_t rows, int64_t k, int64_t begin, int64_t end, float *y, float scale,
                    bool max)
{
    if (k <= SOMA_LANES && (k & (k - 1)) == 0) {
        narrow_columns(x, rows, (int)k, y, scale, max);
        return;
    }
    int64_t j = begin;
    for (; j + 4 * SOMA_LANES <= end; j += 4 * SOMA_LANES)
        wide_strip(x + j, rows, k, y + j, scale, max);
    for (; j < end; j += SOMA_LANES) {
        int64_t room = rows * k - j - SOMA_LANES; /* row r may be read in full where r k <= room */
        int64_t safe = room < 0 ? 0 : room / k + 1;
        int width = (int)(end - j < SOMA_LANES ? end - j : SOMA_LANES);
        strip(x + j, rows, safe < rows ? safe : rows, k, width, y + j, scale, max);
    }
}

/* One copy of each loop: inlined everywhere they would be ten times the code. */
static __attribute__((noinline)) double line_sum(const float *x, int64_t n)
{
    return line(x, n, false);
}

static __attribute__((noinline)) double line_max(const float *x, int64_t n)
{
    return line(x, n, true);
}

static __attribute__((noinline)) void columns_of_sum(const float *x, int64_t rows, int64_t k, int64_t begin,
                                                     int64_t end, float *y, float scale)
{
    columns(x, rows, k, begin, end, y, scale, false);
}

static __attribute__((noinline)) void columns_of_max(const float *x, int64_t rows, int64_t k, int64_t begin,
                                                     int64_t end, float *y, float scale)
{
    columns(x, rows, k, begin, end, y, scale, true);
}

/* Any other pattern: joins x into y, which holds what came before. */
INLINE void join_innermost(const soma_reduction *s, const float *x, float *y, bool max)
{
    const int64_t n = s->dim[s->rank - 1];
    if (s->reduced[s->rank - 1]) {
        y[0] = join1(y[0], (float)(max ? line_max(x, n) : line_sum(x, n)), max);
        return;
    }
    _Pragma("omp simd") for (int64_t i = 0; i < n; i++) y[i] = join1(y[i], x[i], max);
}

static __attribute__((noinline)) void walk(const soma_reduction *s, int k, const float *x, float *y, bool max)
{
    if (k == s->rank - 1) {
        if (max)
            join_innermost(s, x, y, true);
        else
            join_innermost(s, x, y, false);
        return;
    }
    for (int64_t i = 0; i < s->dim[k]; i++)
        walk(s, k + 1, x + i * s->in_step[k], y + i * s->out_step[k], max);
}

/* ---- shares: begin .. end of the results; of what is reduced into the thread's scratch when s->split ---- */

#define SHARES(suffix, max)                                                                                            \
    static void all_##suffix(const soma_reduction *s, const float *x, float *y, float *scratch, int64_t begin,         \
                             int64_t end)                                                                              \
    {                                                                                                                  \
        (void)s, (void)y;                                                                                              \
        scratch[0] = (float)line_##suffix(x + begin, end - begin);                                                     \
    }                                                                                                                  \
    static void rows_##suffix(const soma_reduction *s, const float *x, float *y, float *scratch, int64_t begin,        \
                              int64_t end)                                                                             \
    {                                                                                                                  \
        (void)scratch;                                                                                                 \
        for (int64_t r = begin; r < end; r++)                                                                          \
            y[r] = (float)line_##suffix(x + r * s->dim[1], s->dim[1]) * s->scale;                                      \
    }                                                                                                                  \
    static void part_columns_##suffix(const soma_reduction *s, const float *x, float *y, float *scratch,               \
                                      int64_t begin, int64_t end)                                                      \
    {                                                                                                                  \
        (void)y;                                                                                                       \
        columns_of_##suffix(x + begin * s->dim[1], end - begin, s->dim[1], 0, s->dim[1], scratch, 1);                  \
    }                                                                                                                  \
    static void columns_##suffix(const soma_reduction *s, const float *x, float *y, float *scratch, int64_t begin,     \
                                 int64_t end)                                                                          \
    {                                                                                                                  \
        (void)scratch;                                                                                                 \
        columns_of_##suffix(x, s->dim[0], s->dim[1], begin, end, y, s->scale);                                         \
    }                                                                                                                  \
    static void channels_##suffix(const soma_reduction *s, const float *x, float *y, float *scratch, int64_t begin,    \
                                  int64_t end)                                                                         \
    {                                                                                                                  \
        (void)scratch;                                                                                                 \
        for (int64_t k = begin; k < end; k++) {                                                                        \
            double total = identity(max);                                                                              \
            for (int64_t i = 0; i < s->dim[0]; i++)                                                                    \
                total = join_wide(total, line_##suffix(x + i * s->in_step[0] + k * s->dim[2], s->dim[2]), max);        \
            y[k] = (float)total * s->scale;                                                                            \
        }                                                                                                              \
    }                                                                                                                  \
    /* Shares of the first dimension, which is kept. */                                                                \
    static void walk_##suffix(const soma_reduction *s, const float *x, float *y, float *scratch, int64_t begin,        \
                              int64_t end)                                                                             \
    {                                                                                                                  \
        (void)scratch;                                                                                                 \
        int64_t step = s->out_step[0] ? s->out_step[0] : s->n_out, from = s->out_step[0] ? begin : 0;                  \
        int64_t n = (s->out_step[0] ? end - begin : 1) * step;                                                         \
        for (int64_t i = 0; i < n; i++)                                                                                \
            y[from * step + i] = identity(max);                                                                        \
        for (int64_t i = begin; i < end; i++)                                                                          \
            walk(s, 1, x + i * s->in_step[0], y + i * s->out_step[0], max);                                            \
        for (int64_t i = 0; i < n; i++)                                                                                \
            y[from * step + i] *= s->scale;                                                                            \
    }                                                                                                                  \
    static soma_status small_all_##suffix(const void *state, void *const *arg, soma_run *run)                          \
    {                                                                                                                  \
        (void)run;                                                                                                     \
        const soma_reduction *s = state;                                                                               \
        *(float *)arg[1] = (float)line_##suffix(arg[0], s->n_in) * s->scale;                                           \
        return SOMA_OK;                                                                                                \
    }                                                                                                                  \
    static soma_status small_columns_##suffix(const void *state, void *const *arg, soma_run *run)                      \
    {                                                                                                                  \
        (void)run;                                                                                                     \
        const soma_reduction *s = state;                                                                               \
        columns_of_##suffix(arg[0], s->dim[0], s->dim[1], 0, s->dim[1], arg[1], s->scale);                             \
        return SOMA_OK;                                                                                                \
    }

SHARES(sum, false)
SHARES(max, true)

/* ---- runs ---- */

/* Nothing is reduced. A mean over a batch in pieces of one sample still divides by the batch. */
static soma_status run_copy(const void *state, void *const *arg, soma_run *run)
{
    (void)run;
    const soma_reduction *s = state;
    const float *x = arg[0];
    float *y = arg[1];
    for (int64_t i = 0; i < s->n_in; i++)
        y[i] = x[i] * s->scale;
    return SOMA_OK;
}

static int64_t share_count(const soma_reduction *s)
{
    if (s->split)
        return s->rank == 1 ? s->n_in : s->dim[0];
    return s->rank > 2 && s->share != channels_sum && s->share != channels_max ? s->dim[0] : s->n_out;
}

static soma_status run_small(const void *state, void *const *arg, soma_run *run)
{
    (void)run;
    const soma_reduction *s = state;
    s->share(s, arg[0], arg[1], NULL, 0, share_count(s));
    return SOMA_OK;
}

typedef struct reduce_job {
    const soma_reduction *s;
    const float *x;
    float *y, *scratch;
} reduce_job;

static void part(void *context, int index, int count)
{
    const reduce_job *job = context;
    const soma_reduction *s = job->s;
    int64_t begin, end;
    soma_share(share_count(s), s->rank == 1 ? 1024 : 1, index, count, &begin, &end);
    s->share(s, job->x, job->y, job->scratch ? job->scratch + index * s->n_out : NULL, begin, end);
}

static soma_status run_shares(const void *state, void *const *arg, soma_run *run)
{
    const soma_reduction *s = state;
    int threads = soma_run_threads(run, s->threads);
    reduce_job job = {s, arg[0], arg[1], s->split ? arg[2] : NULL};
    soma_parallel(threads, part, &job);
    for (int64_t i = 0; s->split && i < s->n_out; i++) {
        double total = job.scratch[i];
        for (int t = 1; t < threads; t++)
            total = join_wide(total, job.scratch[t * s->n_out + i], s->max);
        job.y[i] = (float)total * s->scale;
    }
    return SOMA_OK;
}

/* ---- the kernel ---- */

static soma_status accept(soma_prepare *p)
{
    if (p->in[0].dtype != SOMA_F32)
        return soma_refuse(p->reason, "the cpu kernel is for f32, x is %s", soma_dtype_name(p->in[0].dtype));
    return SOMA_OK;
}

/* The share and how threads divide it; small: the run for one thread. */
static soma_run_fn choose(soma_reduction *s)
{
    const bool m = s->max, first = s->reduced[0];
    if (s->rank == 1) {
        s->split = true;
        s->share = m ? all_max : all_sum;
        return m ? small_all_max : small_all_sum;
    }
    if (s->rank == 2 && first) {
        s->split = s->dim[1] < 64 * s->threads;
        s->share = s->split ? (m ? part_columns_max : part_columns_sum) : m ? columns_max : columns_sum;
        return m ? small_columns_max : small_columns_sum;
    }
    if (s->rank == 2)
        s->share = m ? rows_max : rows_sum;
    else if (s->rank == 3 && first)
        s->share = m ? channels_max : channels_sum;
    else
        s->share = m ? walk_max : walk_sum;
    return run_small;
}

static soma_status prepare(soma_prepare *p)
{
    soma_reduction *s = soma_prepare_state(p, sizeof *s);
    if (!s)
        return SOMA_MEMORY;
    soma_reduction_plan(s, p);
    p->state = s;
    if (s->rank == 0 || (s->rank == 1 && !s->reduced[0])) {
        p->run = run_copy;
        return SOMA_OK;
    }
    s->threads = p->threads;
    p->run = choose(s);
    bool can_share = s->rank < 4 || !s->reduced[0];
    int64_t least = share_count(s) < p->threads ? share_count(s) : p->threads;
    p->parallel = can_share && least > 1 && s->n_in >= SOMA_REDUCE_PARALLEL;
    if (!p->parallel)
        return SOMA_OK;
    s->threads = (int)least;
    p->run = run_shares;
    p->scratch = s->split ? (size_t)s->threads * (size_t)s->n_out * sizeof(float) : 0;
    return SOMA_OK;
}

extern const soma_kernel SOMA_ISA(soma_reduce_cpu);
const soma_kernel SOMA_ISA(soma_reduce_cpu) = {.name = "cpu", SOMA_ISA_FIELDS, .accept = accept, .prepare = prepare};
