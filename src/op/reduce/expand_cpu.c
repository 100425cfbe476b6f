/* SPDX-License-Identifier: Apache-2.0
 *
 * op/reduce/expand_cpu.c: f32 kernel of expand: rows that are copied, or filled with one number.
 */
#include "op/reduce/expand.h"

#include "cpu/isa.h"
#include "cpu/parallel.h"

static soma_status accept(soma_prepare *p)
{
    if (p->in[0].dtype != SOMA_F32)
        return soma_refuse(p->reason, "the cpu kernel is for f32, x is %s", soma_dtype_name(p->in[0].dtype));
    return SOMA_OK;
}

static inline void rows(const soma_expansion *s, const float *x, float *y, int64_t begin, int64_t end)
{
    const soma_broadcast *w = &s->walk;
    const int64_t n = w->dim[w->rank - 1], step = w->a[w->rank - 1];
    const float scale = (float)(1 / s->divisor);
    soma_row row;
    soma_row_begin(&row, w, begin);
    for (int64_t r = begin; r < end; r++, soma_row_next(&row, w)) {
        const float *from = x + row.a;
        float *to = y + r * n;
        if (step) {
#pragma omp simd
            for (int64_t i = 0; i < n; i++)
                to[i] = from[i] * scale;
        } else {
            const float c = from[0] * scale;
#pragma omp simd
            for (int64_t i = 0; i < n; i++)
                to[i] = c;
        }
    }
}

typedef struct expand_job {
    const soma_expansion *s;
    const float *x;
    float *y;
} expand_job;

static void part(void *context, int index, int count)
{
    const expand_job *job = context;
    int64_t begin, end;
    soma_share(job->s->walk.rows, 1, index, count, &begin, &end);
    rows(job->s, job->x, job->y, begin, end);
}

static soma_status run_shares(const void *state, void *const *arg, soma_run *run)
{
    const soma_expansion *s = state;
    expand_job job = {s, arg[0], arg[1]};
    soma_run_parallel(run, s->walk.threads, part, &job);
    return SOMA_OK;
}

static soma_status run_small(const void *state, void *const *arg, soma_run *run)
{
    (void)run;
    const soma_expansion *s = state;
    rows(s, arg[0], arg[1], 0, s->walk.rows);
    return SOMA_OK;
}

static soma_status prepare(soma_prepare *p)
{
    if (!soma_expansion_plan(p))
        return SOMA_MEMORY;
    p->run = p->parallel ? run_shares : run_small;
    return SOMA_OK;
}

extern const soma_kernel SOMA_ISA(soma_expand_cpu);
const soma_kernel SOMA_ISA(soma_expand_cpu) = {.name = "cpu", SOMA_ISA_FIELDS, .accept = accept, .prepare = prepare};
