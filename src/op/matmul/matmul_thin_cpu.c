/* SPDX-License-Identifier: Apache-2.0
 *
 * op/matmul/matmul_thin_cpu.c: products of at most 8 rows with a matrix far larger than the cache: the dense layers of
 * AlexNet and VGG at small batches. The large matrix is read or written once, at the speed of memory. Three forms, as a
 * layer needs them:
 *     dot      y[i,j] = act(bias[j] + a[i,:] . b[j,:])   b [n,k] row by row
 *     combine  y[i,:] = sum over q of a[i,q] b[q,:]      b [k,n], four rows at a time onto columns kept in the cache
 *     outer    y[i,:] = sum over q of a[q,i] b[q,:]      k at most 8: y [m,n] is the large one, streamed past the cache
 *                                                        a run of each row at a time, for which b stays in the cache
 */
#include "cpu/parallel.h"
#include "cpu/vec.h"
#include "op/matmul/matmul.h"
#include "op/tail/tail_vec.h"

#define SOMA_THIN 8               /* rows, or inner size */
#define SOMA_THIN_LARGE 1048576.0 /* elements of the large matrix from which memory sets the speed */
#define SOMA_CHUNK 8192           /* columns of 8 rows: a quarter of a second-level cache, and long runs of b */
#define SOMA_OUTER 512            /* columns of 8 rows: half of a first-level cache */

typedef struct thin_state {
    soma_matmul_case c;
    int y;
} thin_state;

typedef struct thin_job {
    const thin_state *s;
    void *const *arg;
} thin_job;

/* ---- dot ---- */

/* rows x columns products of length k. */
static inline __attribute__((always_inline)) void dots(const float *a, const float *b, int64_t k, int rows, int columns,
                                                       float sum[SOMA_THIN][4])
{
    soma_vf v[SOMA_THIN][4];
    int64_t q = 0;
    for (int i = 0; i < rows; i++)
        for (int j = 0; j < columns; j++)
            v[i][j] = soma_vset(0);
    for (; q < k; q += SOMA_LANES) {
        int n = k - q < SOMA_LANES ? (int)(k - q) : SOMA_LANES;
        soma_vf right[4];
        for (int j = 0; j < columns; j++)
            right[j] = n == SOMA_LANES ? soma_vload(b + j * k + q) : soma_vload_n(b + j * k + q, n);
        for (int i = 0; i < rows; i++) {
            soma_vf left = n == SOMA_LANES ? soma_vload(a + i * k + q) : soma_vload_n(a + i * k + q, n);
            for (int j = 0; j < columns; j++)
                v[i][j] = soma_vfma(left, right[j], v[i][j]);
        }
    }
    for (int i = 0; i < rows; i++)
        for (int j = 0; j < columns; j++)
            sum[i][j] = soma_vsum(v[i][j]);
}

static void dots_of(const float *a, const float *b, int64_t k, int rows, int columns, float sum[SOMA_THIN][4])
{
    if (columns < 4) /* the last ones: one by one */
        for (int j = 0; j < columns; j++) {
            float one[SOMA_THIN][4];
            for (int i = 0; i < rows; i++) {
                dots(a + i * k, b + j * k, k, 1, 1, one);
                sum[i][j] = one[0][0];
            }
        }
    else if (rows == 1)
        dots(a, b, k, 1, 4, sum);
    else
        for (int i = 0; i < rows; i += 4) /* the columns are in the cache by the second time */
            switch (rows - i) {
            case 1:
                dots(a + i * k, b, k, 1, 4, sum + i);
                break;
            case 2:
                dots(a + i * k, b, k, 2, 4, sum + i);
                break;
            case 3:
                dots(a + i * k, b, k, 3, 4, sum + i);
                break;
            default:
                dots(a + i * k, b, k, 4, 4, sum + i);
            }
}

static void dot_part(void *context, int index, int count)
{
    const thin_job *job = context;
    const soma_matmul_case *c = &job->s->c;
    const float *bias = c->bias ? job->arg[2] : NULL;
    float *y = job->arg[job->s->y], sum[SOMA_THIN][4];
    int64_t begin, end;
    soma_share(c->n, 4, index, count, &begin, &end);
    for (int64_t j = begin; j < end; j += 4) {
        int columns = end - j < 4 ? (int)(end - j) : 4;
        dots_of(job->arg[0], (const float *)job->arg[1] + j * c->k, c->k, (int)c->m, columns, sum);
        for (int i = 0; i < (int)c->m; i++)
            for (int q = 0; q < columns; q++)
                y[i * c->n + j + q] = soma_act_fast(c->activation, sum[i][q] + (bias ? bias[j + q] : 0));
    }
}

/* ---- combine ---- */

/* Columns of y += four rows of b (fewer: their factors are 0). */
static inline __attribute__((always_inline)) void add_rows(const float *const b[4], const float factor[SOMA_THIN][4],
                                                           float *y, int64_t step, int rows, int64_t n)
{
    for (int64_t j = 0; j < n; j += SOMA_LANES) {
        int lanes = n - j < SOMA_LANES ? (int)(n - j) : SOMA_LANES;
        soma_vf right[4];
        for (int q = 0; q < 4; q++)
            right[q] = soma_vload_n(b[q] + j, lanes);
        for (int i = 0; i < rows; i++) {
            soma_vf sum = soma_vload_n(y + i * step + j, lanes);
            for (int q = 0; q < 4; q++)
                sum = soma_vfma(soma_vset(factor[i][q]), right[q], sum);
            soma_vstore_n(y + i * step + j, sum, lanes);
        }
    }
}

static void combine_columns(const thin_state *s, void *const *arg, int64_t first, int64_t n)
{
    const soma_matmul_case *c = &s->c;
    const float *a = arg[0], *b = (const float *)arg[1] + first, *bias = c->bias ? (const float *)arg[2] + first : NULL;
    float *y = (float *)arg[s->y] + first, factor[SOMA_THIN][4];
    int rows = (int)c->m;
    for (int i = 0; i < rows; i++)
        for (int64_t j = 0; j < n; j++)
            y[i * c->n + j] = bias ? bias[j] : 0;
    for (int64_t q = 0; q < c->k; q += 4) {
        const float *four[4];
        for (int r = 0; r < 4; r++) {
            bool there = q + r < c->k;
            four[r] = b + (there ? q + r : q) * c->n;
            for (int i = 0; i < rows; i++)
                factor[i][r] = there ? a[i * c->k + q + r] : 0;
        }
        if (rows == 1)
            add_rows(four, (const float(*)[4])factor, y, c->n, 1, n);
        else if (rows == SOMA_THIN)
            add_rows(four, (const float(*)[4])factor, y, c->n, SOMA_THIN, n);
        else
            add_rows(four, (const float(*)[4])factor, y, c->n, rows, n);
    }
    for (int i = 0; i < rows && c->activation != SOMA_ACT_NONE; i++)
        for (int64_t j = 0; j < n; j++)
            y[i * c->n + j] = soma_act_fast(c->activation, y[i * c->n + j]);
}

static void combine_part(void *context, int index, int count)
{
    const thin_job *job = context;
    int64_t begin, end, n = job->s->c.n;
    soma_share(n, SOMA_LANES, index, count, &begin, &end);
    for (int64_t j = begin; j < end; j += SOMA_CHUNK)
        combine_columns(job->s, job->arg, j, end - j < SOMA_CHUNK ? end - j : SOMA_CHUNK);
}

/* ---- outer ---- */

/* n columns of one row of y; rows of b lie step apart */
static inline __attribute__((always_inline)) void outer_row(const float *factor, const float *b, int64_t step,
                                                            int64_t n, int k, float *y, bool past)
{
    soma_vf left[SOMA_THIN];
    for (int q = 0; q < k; q++)
        left[q] = soma_vset(factor[q]);
    for (int64_t j = 0; j < n; j += SOMA_LANES) {
        int lanes = n - j < SOMA_LANES ? (int)(n - j) : SOMA_LANES;
        soma_vf sum = soma_vset(0);
        for (int q = 0; q < k; q++)
            sum = soma_vfma(left[q], soma_vload_n(b + q * step + j, lanes), sum);
        if (past)
            soma_vstream(y + j, sum);
        else
            soma_vstore_n(y + j, sum, lanes);
    }
}

static void outer_part(void *context, int index, int count)
{
    const thin_job *job = context;
    const soma_matmul_case *c = &job->s->c;
    const float *a = job->arg[0];
    float *y = job->arg[job->s->y], factor[SOMA_THIN];
    bool past = c->n % SOMA_LANES == 0 && (uintptr_t)y % (SOMA_LANES * sizeof(float)) == 0;
    int64_t begin, end;
    int k = (int)c->k;
    soma_share(c->m, 1, index, count, &begin, &end);
    for (int64_t j = 0; j < c->n; j += SOMA_OUTER)
        for (int64_t i = begin; i < end; i++) {
            const float *b = (const float *)job->arg[1] + j;
            int64_t n = c->n - j < SOMA_OUTER ? c->n - j : SOMA_OUTER;
            for (int q = 0; q < k; q++)
                factor[q] = a[q * c->a_col + i];
            if (k == SOMA_THIN && past)
                outer_row(factor, b, c->n, n, SOMA_THIN, y + i * c->n + j, true);
            else
                outer_row(factor, b, c->n, n, k, y + i * c->n + j, past);
        }
    soma_vstream_end();
}

/* ---- selection ---- */

static soma_part_fn way(const soma_matmul_case *c)
{
    double rows_of_b = (double)c->n * (double)c->k;
    if (c->batches != 1)
        return NULL;
    if (c->m <= SOMA_THIN && c->a_col == 1 && c->b_row == 1 && rows_of_b >= SOMA_THIN_LARGE)
        return dot_part;
    if (c->m <= SOMA_THIN && c->a_col == 1 && c->b_col == 1 && rows_of_b >= SOMA_THIN_LARGE)
        return combine_part;
    if (c->k <= SOMA_THIN && c->a_row == 1 && c->b_col == 1 && !c->bias && c->activation == SOMA_ACT_NONE &&
        (double)c->m * (double)c->n >= SOMA_THIN_LARGE)
        return outer_part;
    return NULL;
}

static soma_status accept(soma_prepare *p)
{
    soma_matmul_case c = soma_matmul_case_of(p);
    if (p->in[0].dtype == SOMA_F32 && p->in[1].dtype == SOMA_F32 && p->out[0].dtype == SOMA_F32 && way(&c))
        return SOMA_OK;
    soma_refuse(p->reason, "made for at most %d rows, f32, beside a matrix of a million elements or more", SOMA_THIN);
    return SOMA_UNSUPPORTED;
}

static soma_status run_way(const thin_state *s, void *const *arg, soma_run *run, soma_part_fn part)
{
    thin_job job = {s, arg};
    soma_parallel(run->threads, part, &job);
    return SOMA_OK;
}
static soma_status dot_run(const void *state, void *const *arg, soma_run *run)
{
    return run_way(state, arg, run, dot_part);
}
static soma_status combine_run(const void *state, void *const *arg, soma_run *run)
{
    return run_way(state, arg, run, combine_part);
}
static soma_status outer_run(const void *state, void *const *arg, soma_run *run)
{
    return run_way(state, arg, run, outer_part);
}

static soma_status prepare(soma_prepare *p)
{
    thin_state *s = soma_prepare_state(p, sizeof *s);
    if (!s)
        return SOMA_MEMORY;
    s->c = soma_matmul_case_of(p);
    s->y = p->n_in;
    soma_part_fn part = way(&s->c);
    p->state = s;
    p->run = part == dot_part ? dot_run : part == combine_part ? combine_run : outer_run;
    p->parallel = true;
    return SOMA_OK;
}

const soma_kernel SOMA_ISA(soma_matmul_thin_cpu) = {.name = "cpu-thin",
                                                    SOMA_ISA_FIELDS,
                                                    .tail = SOMA_TAIL_ACT,
                                                    .acts = UINT32_MAX,
                                                    .accept = accept,
                                                    .prepare = prepare};
