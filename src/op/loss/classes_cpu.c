/* SPDX-License-Identifier: Apache-2.0
 *
 * op/loss/classes_cpu.c: softmax cross-entropy, its gradient and accuracy in f32 vectors. Each thread adds up its own
 * rows; the sums are added in the threads' order, so that a thread count always gives the same bits.
 */
#include "op/loss/loss.h"

#include "cpu/isa.h"
#include "cpu/parallel.h"
#include "op/softmax/softmax_rows.h"

typedef struct job {
    const soma_classes *s;
    void *const *arg;
} job;

static soma_status accept_loss(soma_prepare *p)
{
    return soma_loss_accept_f32(p, &p->in[0], &p->in[1]);
}

/* ---- softmax_cross_entropy ---- */

/* Bytes that each thread has for itself: its sum first, then exponentials where nobody wants the probabilities. */
static size_t thread_bytes(const soma_classes *s)
{
    int64_t elements = soma_block_rows(s->columns) * s->columns;
    return 64 + (s->second ? 0 : ((size_t)elements * sizeof(float) + 63) / 64 * 64);
}

static double block_loss(const soma_classes *s, const float *z, const void *target, int64_t first, int64_t rows,
                         const float *max, const float *sum)
{
    float log_sum[SOMA_BLOCK_ROWS];
    double loss = 0;
#pragma omp simd
    for (int64_t r = 0; r < rows; r++)
        log_sum[r] = soma_vlog(sum[r]);
    for (int64_t r = 0; r < rows; r++) {
        const float *zr = z + r * s->columns;
        if (s->sparse) {
            loss += (double)(log_sum[r] - (zr[((const int32_t *)target)[first + r]] - max[r]));
            continue;
        }
        const float *tr = (const float *)target + (first + r) * s->columns;
        float row = 0;
#pragma omp simd reduction(+ : row)
        for (int64_t j = 0; j < s->columns; j++) {
            float term = tr[j] * (log_sum[r] - (zr[j] - max[r]));
            row += tr[j] == 0 ? 0 : term; /* 0 log 0 is 0 */
        }
        loss += (double)row;
    }
    return loss;
}

static void loss_part(void *context, int index, int count)
{
    const job *j = context;
    const soma_classes *s = j->s;
    char *mine = (char *)j->arg[s->scratch] + (size_t)index * thread_bytes(s);
    float max[SOMA_BLOCK_ROWS], sum[SOMA_BLOCK_ROWS];
    int64_t begin, end, block = soma_block_rows(s->columns);
    double loss = 0;
    soma_share(s->rows, 1, index, count, &begin, &end);
    for (int64_t r = begin; r < end; r += block) {
        int64_t rows = end - r < block ? end - r : block;
        const float *z = (const float *)j->arg[0] + r * s->columns;
        float *e = s->second ? (float *)j->arg[3] + r * s->columns : (float *)(void *)(mine + 64);
        soma_exp_rows(z, e, rows, s->columns, max, sum);
        loss += block_loss(s, z, j->arg[1], r, rows, max, sum);
        if (s->second)
            soma_scale_rows(e, rows, s->columns, sum);
    }
    *(double *)(void *)mine = loss;
}

static soma_status loss_run(const void *state, void *const *arg, soma_run *run)
{
    const soma_classes *s = state;
    int threads = soma_run_threads(run, s->threads);
    if (s->sparse && soma_classes_labels(s, arg[1], run) != SOMA_OK)
        return SOMA_DATA;
    job j = {s, arg};
    soma_parallel(threads, loss_part, &j);
    double loss = 0;
    for (int i = 0; i < threads; i++)
        loss += *(const double *)(const void *)((const char *)arg[s->scratch] + (size_t)i * thread_bytes(s));
    *(float *)arg[2] = (float)(loss / s->full_rows);
    return SOMA_OK;
}

static soma_status loss_prepare(soma_prepare *p)
{
    const soma_classes *s = soma_classes_prepare(p, &p->in[0], &p->in[1]);
    if (!s)
        return SOMA_MEMORY;
    p->scratch = (size_t)s->threads * thread_bytes(s);
    p->parallel = s->threads > 1;
    p->run = loss_run;
    return SOMA_OK;
}

const soma_kernel SOMA_ISA(soma_softmax_cross_entropy_cpu) = {
    .name = "cpu", SOMA_ISA_FIELDS, .accept = accept_loss, .prepare = loss_prepare};

/* ---- softmax_cross_entropy_grad ---- */

static soma_status accept_grad(soma_prepare *p)
{
    return soma_loss_accept_f32(p, &p->in[1], &p->in[2]);
}

static void grad_part(void *context, int index, int count)
{
    const job *j = context;
    const soma_classes *s = j->s;
    const float *p = j->arg[1];
    float *dz = j->arg[3], scale = (float)((double)*(const float *)j->arg[0] / s->full_rows);
    int64_t begin, end;
    soma_share(s->rows, 1, index, count, &begin, &end);
    if (s->sparse) {
#pragma omp simd
        for (int64_t i = begin * s->columns; i < end * s->columns; i++)
            dz[i] = p[i] * scale;
        const int32_t *label = j->arg[2];
        for (int64_t r = begin; r < end; r++)
            dz[r * s->columns + label[r]] -= scale;
        return;
    }
    for (int64_t r = begin; r < end; r++) {
        const float *t = (const float *)j->arg[2] + r * s->columns, *pr = p + r * s->columns;
        float *d = dz + r * s->columns, weight = 0;
#pragma omp simd reduction(+ : weight)
        for (int64_t c = 0; c < s->columns; c++)
            weight += t[c];
#pragma omp simd
        for (int64_t c = 0; c < s->columns; c++)
            d[c] = scale * (pr[c] * weight - t[c]);
    }
}

static soma_status grad_run(const void *state, void *const *arg, soma_run *run)
{
    const soma_classes *s = state;
    if (s->sparse && soma_classes_labels(s, arg[2], run) != SOMA_OK)
        return SOMA_DATA;
    job j = {s, arg};
    soma_run_parallel(run, s->threads, grad_part, &j);
    return SOMA_OK;
}

static soma_status grad_prepare(soma_prepare *p)
{
    const soma_classes *s = soma_classes_prepare(p, &p->in[1], &p->in[2]);
    if (!s)
        return SOMA_MEMORY;
    p->parallel = s->threads > 1;
    p->run = grad_run;
    return SOMA_OK;
}

const soma_kernel SOMA_ISA(soma_softmax_cross_entropy_grad_cpu) = {
    .name = "cpu", SOMA_ISA_FIELDS, .accept = accept_grad, .prepare = grad_prepare};

/* ---- accuracy ---- */

static inline int64_t largest(const float *x, int64_t n)
{
    float max = x[0];
    int64_t best = 0;
    bool all = true; /* are numbers */
    for (int64_t j = 0; j < n; j++) {
        all &= x[j] == x[j];
        best = x[j] > max ? j : best;
        max = x[j] > max ? x[j] : max;
    }
    return all ? best : -1;
}

static soma_status accuracy_run(const void *state, void *const *arg, soma_run *run)
{
    const soma_classes *s = state;
    const float *z = arg[0];
    int64_t right = 0;
    if (s->sparse && soma_classes_labels(s, arg[1], run) != SOMA_OK)
        return SOMA_DATA;
    for (int64_t r = 0; r < s->rows; r++) {
        int64_t at = r * s->columns;
        int64_t label = s->sparse ? ((const int32_t *)arg[1])[r] : largest((const float *)arg[1] + at, s->columns);
        right += label >= 0 && largest(z + at, s->columns) == label;
    }
    *(float *)arg[2] = (float)((double)right / s->full_rows);
    return SOMA_OK;
}

static soma_status accuracy_prepare(soma_prepare *p)
{
    p->run = accuracy_run;
    return soma_classes_prepare(p, &p->in[0], &p->in[1]) ? SOMA_OK : SOMA_MEMORY;
}

const soma_kernel SOMA_ISA(soma_accuracy_cpu) = {
    .name = "cpu", SOMA_ISA_FIELDS, .accept = accept_loss, .prepare = accuracy_prepare};
