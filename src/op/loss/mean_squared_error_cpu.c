/* SPDX-License-Identifier: Apache-2.0
 *
 * op/loss/mean_squared_error_cpu.c: mean squared error and its gradient in f32 vectors. Sums of 4096 squares in f32
 * are added up in f64; each thread has its own sum, and these are added in the threads' order.
 */
#include "op/loss/mean_squared_error.h"

#include "cpu/isa.h"
#include "cpu/parallel.h"

#define BLOCK 4096
#define THREAD_BYTES 64 /* one cache line per thread's sum */

typedef struct job {
    const soma_squares *s;
    void *const *arg;
} job;

/* ---- mean_squared_error ---- */

static soma_status accept_loss(soma_prepare *p)
{
    return soma_loss_accept_f32(p, &p->in[0], &p->in[1]);
}

static inline double squares(const float *x, const float *t, int64_t n)
{
    double total = 0;
    for (int64_t at = 0; at < n; at += BLOCK) {
        int64_t end = n - at < BLOCK ? n : at + BLOCK;
        float sum = 0;
#pragma omp simd reduction(+ : sum)
        for (int64_t i = at; i < end; i++) {
            float d = x[i] - t[i];
            sum += d * d;
        }
        total += (double)sum;
    }
    return total;
}

static void loss_part(void *context, int index, int count)
{
    const job *j = context;
    int64_t begin, end;
    soma_share(j->s->elements, BLOCK, index, count, &begin, &end);
    double *sum = (double *)(void *)((char *)j->arg[j->s->scratch] + (size_t)index * THREAD_BYTES);
    *sum = squares((const float *)j->arg[0] + begin, (const float *)j->arg[1] + begin, end - begin);
}

static soma_status loss_run_shared(const void *state, void *const *arg, soma_run *run)
{
    const soma_squares *s = state;
    int threads = soma_run_threads(run, s->threads);
    job j = {s, arg};
    soma_parallel(threads, loss_part, &j);
    double sum = 0;
    for (int i = 0; i < threads; i++)
        sum += *(const double *)(const void *)((const char *)arg[s->scratch] + (size_t)i * THREAD_BYTES);
    *(float *)arg[2] = (float)(sum / s->full_elements);
    return SOMA_OK;
}

static soma_status loss_run(const void *state, void *const *arg, soma_run *run)
{
    const soma_squares *s = state;
    (void)run;
    *(float *)arg[2] = (float)(squares(arg[0], arg[1], s->elements) / s->full_elements);
    return SOMA_OK;
}

static soma_status loss_prepare(soma_prepare *p)
{
    const soma_squares *s = soma_squares_prepare(p, &p->in[0]);
    if (!s)
        return SOMA_MEMORY;
    p->parallel = s->threads > 1;
    p->scratch = p->parallel ? (size_t)s->threads * THREAD_BYTES : 0;
    p->run = p->parallel ? loss_run_shared : loss_run;
    return SOMA_OK;
}

const soma_kernel SOMA_ISA(soma_mean_squared_error_cpu) = {
    .name = "cpu", SOMA_ISA_FIELDS, .accept = accept_loss, .prepare = loss_prepare};

/* ---- mean_squared_error_grad ---- */

static soma_status accept_grad(soma_prepare *p)
{
    return soma_loss_accept_f32(p, &p->in[1], &p->in[2]);
}

static void grad_part(void *context, int index, int count)
{
    const job *j = context;
    const float *x = j->arg[1], *t = j->arg[2];
    float *dx = j->arg[3], scale = (float)((double)*(const float *)j->arg[0] * 2 / j->s->full_elements);
    int64_t begin, end;
    soma_share(j->s->elements, 16, index, count, &begin, &end);
#pragma omp simd
    for (int64_t i = begin; i < end; i++)
        dx[i] = scale * (x[i] - t[i]);
}

static soma_status grad_run(const void *state, void *const *arg, soma_run *run)
{
    const soma_squares *s = state;
    job j = {s, arg};
    if (s->threads > 1)
        soma_run_parallel(run, s->threads, grad_part, &j);
    else
        grad_part(&j, 0, 1);
    return SOMA_OK;
}

static soma_status grad_prepare(soma_prepare *p)
{
    const soma_squares *s = soma_squares_prepare(p, &p->in[1]);
    if (!s)
        return SOMA_MEMORY;
    p->parallel = s->threads > 1;
    p->run = grad_run;
    return SOMA_OK;
}

const soma_kernel SOMA_ISA(soma_mean_squared_error_grad_cpu) = {
    .name = "cpu", SOMA_ISA_FIELDS, .accept = accept_grad, .prepare = grad_prepare};
