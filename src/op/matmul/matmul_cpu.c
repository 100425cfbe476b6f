/* SPDX-License-Identifier: Apache-2.0
 *
 * op/matmul/matmul_cpu.c: f32 matrices without a library call. Three ways: tiny products keep both operands in
 * registers and permute lanes (AVX-512 only); everything else goes through tiles of SOMA_ROWS x 2 vectors.
 */
#include "cpu/parallel.h"
#include "cpu/vec.h"
#include "op/matmul/matmul.h"
#include "op/tail/tail_vec.h"

#define SOMA_ROWS 8                   /* of a tile */
#define SOMA_COLUMNS (2 * SOMA_LANES) /* of a tile */
#define SOMA_DEPTH 256                /* of b that is packed at once: a panel then fits the first-level cache */
#define SOMA_TINY 16                  /* lanes of the permuting kernels */

typedef struct matmul_state {
    soma_matmul_case c;
    int y, scratch; /* positions in arg */
    int threads;
    bool pack;    /* b's columns are not side by side: panels are copied to scratch */
    bool by_rows; /* how threads share */
    size_t panel; /* bytes of scratch per thread */
    int group;    /* tiny: rows of y per vector, or samples per step */
    int32_t a_lane[SOMA_TINY][16], b_lane[SOMA_TINY][16], bias_lane[16];
} matmul_state;

/* ---- tiny: y's lanes are (row, column), or (sample, row, column) for a product over samples ---- */

#if SOMA_ISA_LEVEL == 3

static inline __m512 pick(const float *x, int n, const int32_t lane[16])
{
    __m512 low = soma_vload_n(x, n < 16 ? n : 16);
    __m512i at = _mm512_loadu_si512(lane);
    return n <= 16 ? _mm512_permutexvar_ps(at, low) : _mm512_permutex2var_ps(low, at, soma_vload_n(x + 16, n - 16));
}

/* a [m,k] dense, b at most 32 elements, group rows of y in a vector: group k <= 32, group n <= 16 */
static soma_status rows_run(const void *state, void *const *arg, soma_run *run)
{
    const matmul_state *s = state;
    const soma_matmul_case *c = &s->c;
    const float *a = arg[0], *b = arg[1];
    float *y = arg[s->y];
    int n = (int)c->n, k = (int)c->k, of_b = n * k;
    __m512 bias = c->bias ? pick(arg[2], n, s->bias_lane) : _mm512_setzero_ps(), factor[SOMA_TINY];
    (void)run;
    for (int q = 0; q < k; q++)
        factor[q] = pick(b, of_b, s->b_lane[q]);
    for (int row = 0; row < (int)c->m; row += s->group) {
        int rows = (int)c->m - row < s->group ? (int)c->m - row : s->group, of_a = rows * k;
        __m512 sum = bias, low = soma_vload_n(a + row * k, of_a < 16 ? of_a : 16);
        __m512 high = of_a > 16 ? soma_vload_n(a + row * k + 16, of_a - 16) : low;
        for (int q = 0; q < k; q++)
            sum = _mm512_fmadd_ps(_mm512_permutex2var_ps(low, _mm512_loadu_si512(s->a_lane[q]), high), factor[q], sum);
        soma_vstore_n(y + row * n, sum, rows * n);
    }
    soma_act_row(c->activation, y, c->m * c->n);
    return SOMA_OK;
}

/* y = a^T b: a [k,m], b [k,n], group samples at once: group m n <= 16 */
static soma_status samples_run(const void *state, void *const *arg, soma_run *run)
{
    const matmul_state *s = state;
    const soma_matmul_case *c = &s->c;
    const float *a = arg[0], *b = arg[1];
    float *y = arg[s->y];
    int m = (int)c->m, n = (int)c->n, group = s->group;
    __m512i a_lane = _mm512_loadu_si512(s->a_lane[0]), b_lane = _mm512_loadu_si512(s->b_lane[0]);
    __m512i lane = _mm512_set_epi32(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0);
    __m512 sum = _mm512_setzero_ps();
    (void)run;
    for (int q = 0; q < (int)c->k; q += group) {
        int samples = (int)c->k - q < group ? (int)c->k - q : group; /* the others' lanes read zeros */
        __m512 of_a = _mm512_permutexvar_ps(a_lane, soma_vload_n(a + q * m, samples * m));
        sum = _mm512_fmadd_ps(of_a, _mm512_permutexvar_ps(b_lane, soma_vload_n(b + q * n, samples * n)), sum);
    }
    for (int half = group / 2; half > 0; half /= 2)
        sum = _mm512_add_ps(sum, _mm512_permutexvar_ps(_mm512_add_epi32(lane, _mm512_set1_epi32(half * m * n)), sum));
    if (c->bias)
        sum = _mm512_add_ps(sum, pick(arg[2], n, s->bias_lane));
    soma_vstore_n(y, sum, m * n);
    soma_act_row(c->activation, y, c->m * c->n);
    return SOMA_OK;
}

static soma_run_fn tiny(matmul_state *s)
{
    const soma_matmul_case *c = &s->c;
    bool dense_a = c->a_col == 1 && c->a_row == c->k, over_samples = c->a_row == 1 && c->b_col == 1;
    int64_t m = c->m, n = c->n, k = c->k;
    for (int lane = 0; lane < 16; lane++)
        s->bias_lane[lane] = (int32_t)(lane % n);
    if (c->batches > 1)
        return NULL;
    if (over_samples && m <= 16 && n <= 16 && m * n <= 16) {
        s->group = 16;
        while (s->group * m * n > 16)
            s->group /= 2;
        for (int32_t lane = 0; lane < s->group * m * n; lane++) {
            s->a_lane[0][lane] = (int32_t)(lane / (m * n) * m + lane / n % m);
            s->b_lane[0][lane] = (int32_t)(lane / (m * n) * n + lane % n);
        }
        return samples_run;
    }
    if (!dense_a || n > 16 || k > SOMA_TINY || n * k > 32)
        return NULL;
    s->group = (int)(16 / n);
    while (s->group * k > 32)
        s->group--;
    for (int32_t q = 0; q < k; q++)
        for (int32_t lane = 0; lane < s->group * n; lane++) {
            s->a_lane[q][lane] = (int32_t)(lane / n * k + q);
            s->b_lane[q][lane] = (int32_t)(q * c->b_row + lane % n * c->b_col);
        }
    return s->group > 0 ? rows_run : NULL;
}
#else
static soma_run_fn tiny(matmul_state *s)
{
    (void)s;
    return NULL;
}
#endif

/* ---- tiles ---- */

typedef struct tile {
    const float *a, *b; /* of the tile's first row and column */
    float *y;
    int64_t a_row, a_col, b_row, y_row, depth;
    const float *bias; /* NULL: none */
    bool add;          /* to what y holds */
    int n;             /* columns, 1 .. SOMA_COLUMNS */
} tile;

static inline __attribute__((always_inline)) void tile_rows(const tile *t, int rows, int vectors, int last)
{
    soma_vf sum[SOMA_ROWS][2];
    for (int i = 0; i < rows; i++)
        for (int v = 0; v < vectors; v++) {
            const float *from = t->add ? t->y + i * t->y_row : t->bias;
            int n = v == vectors - 1 ? last : SOMA_LANES;
            sum[i][v] = from ? soma_vload_n(from + v * SOMA_LANES, n) : soma_vset(0);
        }
    const float *a = t->a, *b = t->b;
    for (int64_t q = 0; q < t->depth; q++, a += t->a_col, b += t->b_row) {
        soma_vf right[2];
        for (int v = 0; v < vectors; v++) {
            right[v] = soma_vload_n(b + v * SOMA_LANES, v == vectors - 1 ? last : SOMA_LANES);
            SOMA_VPIN(right[v]);
        }
        for (int i = 0; i < rows; i++) {
            soma_vf left = soma_vset(a[i * t->a_row]);
            for (int v = 0; v < vectors; v++)
                sum[i][v] = soma_vfma(left, right[v], sum[i][v]);
        }
    }
    for (int i = 0; i < rows; i++)
        for (int v = 0; v < vectors; v++)
            soma_vstore_n(t->y + i * t->y_row + v * SOMA_LANES, sum[i][v], v == vectors - 1 ? last : SOMA_LANES);
}

static inline __attribute__((always_inline)) void tile_width(const tile *t, int vectors, int last, int rows)
{
    switch (rows) { /* constants: the sums stay in registers */
    case 1:
        tile_rows(t, 1, vectors, last);
        break;
    case 2:
        tile_rows(t, 2, vectors, last);
        break;
    case 3:
        tile_rows(t, 3, vectors, last);
        break;
    case 4:
        tile_rows(t, 4, vectors, last);
        break;
    case 5:
        tile_rows(t, 5, vectors, last);
        break;
    case 6:
        tile_rows(t, 6, vectors, last);
        break;
    case 7:
        tile_rows(t, 7, vectors, last);
        break;
    default:
        tile_rows(t, SOMA_ROWS, vectors, last);
    }
}

static void tile_wide(const tile *t, int rows)
{
    tile_width(t, 2, SOMA_LANES, rows);
}
static void tile_partial_wide(const tile *t, int rows)
{
    tile_width(t, 2, t->n - SOMA_LANES, rows);
}
static void tile_narrow(const tile *t, int rows)
{
    tile_width(t, 1, t->n, rows);
}

/* Columns first .. first + n - 1 of `depth` rows of b side by side, filled up with zeros. */
static void pack_panel(const soma_matmul_case *c, const float *b, int64_t depth, int n, float *panel)
{
    if (c->b_row == 1 && SOMA_COLUMNS % 16 == 0) {
        for (int j = 0; j < n; j += 16)
            for (int64_t q = 0; q < depth; q += 16)
                soma_transpose_16(b + j * c->b_col + q, c->b_col, n - j < 16 ? n - j : 16, panel + q * SOMA_COLUMNS + j,
                                  SOMA_COLUMNS, depth - q < 16 ? (int)(depth - q) : 16);
        return;
    }
    for (int j = 0; j < SOMA_COLUMNS; j++)
        for (int64_t q = 0; q < depth; q++)
            panel[q * SOMA_COLUMNS + j] = j < n ? b[q * c->b_row + j * c->b_col] : 0;
}

/* Rows row .. row + rows - 1 of columns `first` .. of one matrix, for q of one block of the inner size. */
static void block(const matmul_state *s, void *const *arg, tile t, int64_t row, int64_t end)
{
    void (*run)(const tile *, int) = t.n > SOMA_LANES ? (t.n == SOMA_COLUMNS ? tile_wide : tile_partial_wide)
                                                      : tile_narrow;
    (void)arg;
    t.a += row * s->c.a_row;
    t.y += row * t.y_row;
    for (; row < end; row += SOMA_ROWS) {
        run(&t, end - row < SOMA_ROWS ? (int)(end - row) : SOMA_ROWS);
        t.a += SOMA_ROWS * s->c.a_row;
        t.y += SOMA_ROWS * t.y_row;
    }
}

static void panel(const matmul_state *s, void *const *arg, int64_t t, int64_t first, int64_t row, int64_t end,
                  float *buffer)
{
    const soma_matmul_case *c = &s->c;
    int64_t a0, b0;
    soma_matmul_offsets(c, t, &a0, &b0);
    int n = c->n - first < SOMA_COLUMNS ? (int)(c->n - first) : SOMA_COLUMNS;
    float *y = (float *)arg[s->y] + t * c->m * c->n + first;
    for (int64_t q = 0; q < c->k; q += SOMA_DEPTH) {
        int64_t depth = c->k - q < SOMA_DEPTH ? c->k - q : SOMA_DEPTH;
        const float *b = (const float *)arg[1] + b0 + q * c->b_row + first * c->b_col;
        if (s->pack)
            pack_panel(c, b, depth, n, buffer);
        block(s, arg,
              (tile){.a = (const float *)arg[0] + a0 + q * c->a_col,
                     .b = s->pack ? buffer : b,
                     .y = y,
                     .a_row = c->a_row,
                     .a_col = c->a_col,
                     .b_row = s->pack ? SOMA_COLUMNS : c->b_row,
                     .y_row = c->n,
                     .depth = depth,
                     .bias = c->bias ? (const float *)arg[2] + first : NULL,
                     .add = q > 0,
                     .n = n},
              row, end);
    }
    for (int64_t i = row; i < end && c->activation != SOMA_ACT_NONE; i++)
        soma_act_row(c->activation, y + i * c->n, n);
}

typedef struct matmul_job {
    const matmul_state *s;
    void *const *arg;
} matmul_job;

static void part(void *context, int index, int count)
{
    const matmul_job *job = context;
    const matmul_state *s = job->s;
    const soma_matmul_case *c = &s->c;
    float *buffer = s->panel ? (float *)(void *)((char *)job->arg[s->scratch] + (size_t)index * s->panel) : NULL;
    int64_t panels = (c->n + SOMA_COLUMNS - 1) / SOMA_COLUMNS, begin = 0, end = panels * c->batches, row = 0,
            rows = c->m;
    if (s->by_rows)
        soma_share(c->m, SOMA_ROWS, index, count, &row, &rows);
    else
        soma_share(panels * c->batches, 1, index, count, &begin, &end);
    for (int64_t i = begin; i < end && row < rows; i++)
        panel(s, job->arg, i / panels, i % panels * SOMA_COLUMNS, row, rows, buffer);
}

static soma_status tiles_run(const void *state, void *const *arg, soma_run *run)
{
    const matmul_state *s = state;
    matmul_job job = {s, arg};
    soma_run_parallel(run, s->threads, part, &job);
    return SOMA_OK;
}

/* ---- prepare ---- */

static soma_status accept(soma_prepare *p)
{
    if (p->in[0].dtype != SOMA_F32) {
        soma_refuse(p->reason, "multiplies f32 matrices only");
        return SOMA_UNSUPPORTED;
    }
#ifdef SOMA_HAVE_ONEDNN
    soma_matmul_case c = soma_matmul_case_of(p);
    double limit = c.b_col == 1 ? 32768 : 8192; /* where a call of the library has paid off; packing b costs */
    if ((double)c.m * (double)c.n * (double)c.k * (double)c.batches > limit) {
        soma_refuse(p->reason, "large enough for a library call");
        return SOMA_UNSUPPORTED;
    }
#endif
    return SOMA_OK;
}

static soma_status prepare(soma_prepare *p)
{
    matmul_state *s = soma_prepare_state(p, sizeof *s);
    if (!s)
        return SOMA_MEMORY;
    s->c = soma_matmul_case_of(p);
    s->y = p->n_in;
    s->scratch = p->n_in + p->n_out;
    p->state = s;
    p->run = tiny(s);
    if (p->run)
        return SOMA_OK;
    const soma_matmul_case *c = &s->c;
    int64_t panels = (c->n + SOMA_COLUMNS - 1) / SOMA_COLUMNS * c->batches;
    s->threads = (double)c->m * (double)c->n * (double)c->k * (double)c->batches > 262144.0 ? p->threads : 1;
    s->by_rows = panels < 2 * s->threads && c->m >= 2 * SOMA_ROWS;
    s->pack = c->b_col != 1;
    s->panel = s->pack ? SOMA_DEPTH * SOMA_COLUMNS * sizeof(float) : 0;
    p->scratch = s->panel * (size_t)s->threads;
    p->parallel = s->threads > 1;
    p->run = tiles_run;
    return SOMA_OK;
}

const soma_kernel SOMA_ISA(soma_matmul_cpu) = {
    .name = "cpu", SOMA_ISA_FIELDS, .tail = SOMA_TAIL_ACT, .acts = UINT32_MAX, .accept = accept, .prepare = prepare};
