/* SPDX-License-Identifier: Apache-2.0
 *
 * op/unary/unary_cpu.c: f32 kernels of the elementwise family. All arguments share one layout, so elements pair up by
 * position. Small arrays: one plain loop; large ones: a share of the same loop per thread.
 */
#include "op/unary/unary.h"

#include "cpu/isa.h"
#include "cpu/parallel.h"
#include "cpu/vec.h"
#include "op/unary/unary_fast.h"

static soma_status accept(soma_prepare *p)
{
    if (p->in[0].dtype != SOMA_STORED)
        return soma_refuse(p->reason, "this kernel is for %s, x is %s", soma_dtype_name(SOMA_STORED),
                           soma_dtype_name(p->in[0].dtype));
    return SOMA_OK;
}

typedef struct span_job {
    const soma_elementwise *s;
    const soma_elem *a, *b;
    soma_elem *y;
} span_job;

#if SOMA_ISA_LEVEL == 4
static void span_of(const soma_elementwise *s, const soma_elem *a, const soma_elem *b, soma_elem *y, int64_t n)
{
    float row[3][SOMA_ROW];
    for (int64_t i = 0, size; i < n; i += size) {
        size = n - i < SOMA_ROW ? n - i : SOMA_ROW;
        soma_widen(a + i, row[0], size);
        if (b)
            soma_widen(b + i, row[1], size);
        s->span(s, row[0], b ? row[1] : NULL, row[2], size);
        soma_narrow(row[2], y + i, size);
    }
}
#else
static void span_of(const soma_elementwise *s, const float *a, const float *b, float *y, int64_t n)
{
    s->span(s, a, b, y, n);
}
#endif

static void part(void *context, int index, int count)
{
    const span_job *job = context;
    int64_t begin, end;
    soma_share(job->s->n, 1024, index, count, &begin, &end);
    span_of(job->s, job->a + begin, job->b ? job->b + begin : NULL, job->y + begin, end - begin);
}

static soma_status run_shares1(const void *state, void *const *arg, soma_run *run)
{
    const soma_elementwise *s = state;
    span_job job = {s, arg[0], NULL, arg[1]};
    soma_run_parallel(run, s->threads, part, &job);
    return SOMA_OK;
}

static soma_status run_shares2(const void *state, void *const *arg, soma_run *run)
{
    const soma_elementwise *s = state;
    span_job job = {s, arg[0], arg[1], arg[2]};
    soma_run_parallel(run, s->threads, part, &job);
    return SOMA_OK;
}

static soma_status prepare_span(soma_prepare *p, soma_elementwise row, soma_run_fn small)
{
    soma_elementwise *s = soma_elementwise_prepare(p, row);
    if (!s)
        return SOMA_MEMORY;
    soma_run_fn shares = p->n_in == 1 ? run_shares1 : run_shares2;
    p->run = s->threads > 1 || SOMA_ISA_LEVEL == 4 ? shares : small;
    return SOMA_OK;
}

/* The loop of an op, its run for small arrays, its kernel. y is made of a[i], b[i] and the row's numbers c. */
#define KERNEL(fn, arg_b, arg_y, expression)                                                                           \
    static inline void fn##_span(const soma_elementwise *s, const float *a, const float *b, float *y, int64_t n)       \
    {                                                                                                                  \
        const float c[SOMA_NUMBERS] = {(float)s->c[0], (float)s->c[1]};                                                \
        (void)b, (void)c;                                                                                              \
        _Pragma("omp simd") for (int64_t i = 0; i < n; i++) y[i] = (expression);                                       \
    }                                                                                                                  \
    static soma_status fn##_run(const void *state, void *const *arg, soma_run *run)                                    \
    {                                                                                                                  \
        (void)run;                                                                                                     \
        fn##_span(state, arg[0], arg_b, arg_y, ((const soma_elementwise *)state)->n);                                  \
        return SOMA_OK;                                                                                                \
    }                                                                                                                  \
    static soma_status fn##_prepare(soma_prepare *p)                                                                   \
    {                                                                                                                  \
        return prepare_span(p, (soma_elementwise){.span = fn##_span}, fn##_run);                                       \
    }                                                                                                                  \
    extern const soma_kernel SOMA_ISA(soma_##fn##_cpu);                                                                \
    const soma_kernel SOMA_ISA(soma_##fn##_cpu) = {.name = "cpu",                                                      \
                                                   SOMA_ISA_FIELDS,                                                    \
                                                   .bf16 = SOMA_STORED_RULE,                                           \
                                                   .layouts = SOMA_LAYOUT_FOLLOW,                                      \
                                                   .accept = accept,                                                   \
                                                   .prepare = fn##_prepare};
#define UNARY(name, ...) KERNEL(name, NULL, arg[1], soma_fast_##name(a[i], c))
#define UNARY_GRAD(name, ...)                                                                                          \
    UNARY(name, )                                                                                                      \
    KERNEL(name##_grad, arg[1], arg[2], soma_fast_##name##_grad(a[i], b[i], c))
#include "op/unary/unary.list"
