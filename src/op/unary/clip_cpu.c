/* SPDX-License-Identifier: Apache-2.0
 *
 * op/unary/clip_cpu.c: clip and its gradient, as plain loops. All arguments share one layout.
 */
#include "op/unary/clip.h"

#include "backend/cpu/isa.h"
#include "backend/cpu/parallel.h"
#include "backend/cpu/vec.h"

typedef struct clip_job {
    const soma_clip_state *s;
    void *const *arg;
} clip_job;

static void clip_part(void *context, int index, int count)
{
    const clip_job *job = context;
    const soma_elem *x = job->arg[0];
    soma_elem *y = job->arg[1];
    const float min = (float)job->s->min, max = (float)job->s->max;
    int64_t begin, end;
    soma_share(job->s->n, 1024, index, count, &begin, &end);
#pragma omp simd
    for (int64_t i = begin; i < end; i++) {
        float a = soma_get1(x[i]);
        y[i] = soma_put1(a < min ? min : a > max ? max : a);
    }
}

static void clip_grad_part(void *context, int index, int count)
{
    const clip_job *job = context;
    const soma_elem *dy = job->arg[0], *x = job->arg[1];
    soma_elem *dx = job->arg[2];
    const float min = (float)job->s->min, max = (float)job->s->max;
    int64_t begin, end;
    soma_share(job->s->n, 1024, index, count, &begin, &end);
#pragma omp simd
    for (int64_t i = begin; i < end; i++) {
        float a = soma_get1(x[i]), g = soma_get1(dy[i]);
        dx[i] = soma_put1(a <= min || a >= max ? 0 : g);
    }
}

static soma_status accept(soma_prepare *p)
{
    if (p->in[0].dtype != SOMA_STORED)
        return soma_refuse(p->reason, "this kernel is for %s, x is %s", soma_dtype_name(SOMA_STORED),
                           soma_dtype_name(p->in[0].dtype));
    return SOMA_OK;
}

#define KERNEL(op_name)                                                                                                \
    static soma_status op_name##_run(const void *state, void *const *arg, soma_run *run)                               \
    {                                                                                                                  \
        const soma_clip_state *s = state;                                                                              \
        clip_job job = {s, arg};                                                                                       \
        soma_run_parallel(run, s->threads, op_name##_part, &job);                                                      \
        return SOMA_OK;                                                                                                \
    }                                                                                                                  \
    static soma_status op_name##_prepare(soma_prepare *p)                                                              \
    {                                                                                                                  \
        return soma_clip_prepare(p, op_name##_run);                                                                    \
    }                                                                                                                  \
    extern const soma_kernel SOMA_ISA(soma_##op_name##_cpu);                                                           \
    const soma_kernel SOMA_ISA(soma_##op_name##_cpu) = {.name = "cpu",                                                 \
                                                        .isa = SOMA_ISA_LEVEL,                                         \
                                                        .bf16 = SOMA_STORED_RULE,                                      \
                                                        .layouts = SOMA_LAYOUT_FOLLOW,                                 \
                                                        .accept = accept,                                              \
                                                        .prepare = op_name##_prepare};
KERNEL(clip)
KERNEL(clip_grad)
