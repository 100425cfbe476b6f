/* SPDX-License-Identifier: Apache-2.0
 *
 * op/softmax/softmax_cpu.c: softmax, softmax_grad and log_softmax in f32 vectors.
 */
#include "op/softmax/softmax.h"

#include "cpu/isa.h"
#include "cpu/parallel.h"
#include "op/softmax/softmax_rows.h"

typedef struct rows_job {
    const soma_rows *s;
    void *const *arg;
} rows_job;

static soma_status accept(soma_prepare *p)
{
    if (p->in[0].dtype != SOMA_F32)
        return soma_refuse(p->reason, "works on f32 only");
    return SOMA_OK;
}

static soma_status run_rows(const soma_rows *s, void *const *arg, const soma_run *run, soma_part_fn part)
{
    rows_job job = {s, arg};
    soma_run_parallel(run, s->threads, part, &job);
    return SOMA_OK;
}

/* ---- softmax ---- */

static void softmax_part(void *context, int index, int count)
{
    const rows_job *job = context;
    const soma_rows *s = job->s;
    const float *x = job->arg[0];
    float *y = job->arg[1], max[SOMA_BLOCK_ROWS], sum[SOMA_BLOCK_ROWS];
    int64_t begin, end, block = soma_block_rows(s->columns);
    soma_share(s->rows, 1, index, count, &begin, &end);
    for (int64_t r = begin; r < end; r += block) {
        int64_t rows = end - r < block ? end - r : block, at = r * s->columns;
        soma_exp_rows(x + at, y + at, rows, s->columns, max, sum);
        soma_scale_rows(y + at, rows, s->columns, sum);
    }
}

static soma_status softmax_run(const void *state, void *const *arg, soma_run *run)
{
    return run_rows(state, arg, run, softmax_part);
}

static soma_status softmax_prepare(soma_prepare *p)
{
    return soma_rows_prepare(p, &p->in[0], softmax_run);
}

const soma_kernel SOMA_ISA(soma_softmax_cpu) = {
    .name = "cpu", SOMA_ISA_FIELDS, .accept = accept, .prepare = softmax_prepare};

/* ---- softmax_grad ---- */

static void softmax_grad_part(void *context, int index, int count)
{
    const rows_job *job = context;
    const soma_rows *s = job->s;
    int64_t begin, end;
    soma_share(s->rows, 1, index, count, &begin, &end);
    for (int64_t r = begin; r < end; r++) {
        const float *dy = (const float *)job->arg[0] + r * s->columns, *y = (const float *)job->arg[1] + r * s->columns;
        float *dx = (float *)job->arg[2] + r * s->columns, sum = 0;
#pragma omp simd reduction(+ : sum)
        for (int64_t j = 0; j < s->columns; j++)
            sum += dy[j] * y[j];
#pragma omp simd
        for (int64_t j = 0; j < s->columns; j++)
            dx[j] = y[j] * (dy[j] - sum);
    }
}

static soma_status softmax_grad_run(const void *state, void *const *arg, soma_run *run)
{
    return run_rows(state, arg, run, softmax_grad_part);
}

static soma_status softmax_grad_prepare(soma_prepare *p)
{
    return soma_rows_prepare(p, &p->in[0], softmax_grad_run);
}

const soma_kernel SOMA_ISA(soma_softmax_grad_cpu) = {
    .name = "cpu", SOMA_ISA_FIELDS, .accept = accept, .prepare = softmax_grad_prepare};

/* ---- log_softmax ---- */

static void log_softmax_part(void *context, int index, int count)
{
    const rows_job *job = context;
    const soma_rows *s = job->s;
    int64_t begin, end;
    soma_share(s->rows, 1, index, count, &begin, &end);
    for (int64_t r = begin; r < end; r++) {
        const float *x = (const float *)job->arg[0] + r * s->columns;
        float *y = (float *)job->arg[1] + r * s->columns, max = soma_row_max(x, s->columns), sum = 0;
#pragma omp simd reduction(+ : sum)
        for (int64_t j = 0; j < s->columns; j++)
            sum += soma_vexp(x[j] - max);
        float log_sum = soma_vlog(sum);
#pragma omp simd
        for (int64_t j = 0; j < s->columns; j++)
            y[j] = (x[j] - max) - log_sum;
    }
}

static soma_status log_softmax_run(const void *state, void *const *arg, soma_run *run)
{
    return run_rows(state, arg, run, log_softmax_part);
}

static soma_status log_softmax_prepare(soma_prepare *p)
{
    return soma_rows_prepare(p, &p->in[0], log_softmax_run);
}

const soma_kernel SOMA_ISA(soma_log_softmax_cpu) = {
    .name = "cpu", SOMA_ISA_FIELDS, .accept = accept, .prepare = log_softmax_prepare};
