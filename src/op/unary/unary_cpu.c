/* SPDX-License-Identifier: Apache-2.0
 *
 * op/unary/unary_cpu.c: f32 kernels of the elementwise family. All arguments share one layout, so elements pair up by
 * position. Small arrays: one plain loop; large ones: a share of the same loop per thread.
 */
#include "op/unary/unary.h"

#include "backend/cpu/isa.h"
#include "backend/cpu/parallel.h"
#include "backend/cpu/vec.h"
#include "backend/cpu/vecmath.h"

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
        s->span(row[0], b ? row[1] : NULL, row[2], size);
        soma_narrow(row[2], y + i, size);
    }
}
#else
static void span_of(const soma_elementwise *s, const float *a, const float *b, float *y, int64_t n)
{
    s->span(a, b, y, n);
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

static soma_status prepare_span(soma_prepare *p, soma_span_fn span, soma_run_fn small, soma_run_fn shares)
{
    soma_elementwise *s = soma_prepare_state(p, sizeof *s);
    if (!s)
        return SOMA_MEMORY;
    s->n = p->out[0].elements;
    s->span = span;
    p->parallel = p->threads > 1 && s->n >= SOMA_ELEMENTWISE_PARALLEL;
    s->threads = p->parallel ? p->threads : 1;
    p->state = s;
    p->run = p->parallel || SOMA_ISA_LEVEL == 4 ? shares : small;
    return SOMA_OK;
}

/* One input: a is x. */
#define UNARY_KERNEL(fn, expression)                                                                                   \
    static inline void fn##_span(const float *x, const float *unused, float *y, int64_t n)                             \
    {                                                                                                                  \
        (void)unused;                                                                                                  \
        _Pragma("omp simd") for (int64_t i = 0; i < n; i++)                                                            \
        {                                                                                                              \
            float a = x[i];                                                                                            \
            y[i] = (expression);                                                                                       \
        }                                                                                                              \
    }                                                                                                                  \
    static soma_status fn##_run(const void *state, void *const *arg, soma_run *run)                                    \
    {                                                                                                                  \
        (void)run;                                                                                                     \
        fn##_span(arg[0], NULL, arg[1], ((const soma_elementwise *)state)->n);                                         \
        return SOMA_OK;                                                                                                \
    }                                                                                                                  \
    static soma_status fn##_prepare(soma_prepare *p)                                                                   \
    {                                                                                                                  \
        return prepare_span(p, fn##_span, fn##_run, run_shares1);                                                      \
    }                                                                                                                  \
    extern const soma_kernel SOMA_ISA(soma_##fn##_cpu);                                                                \
    const soma_kernel SOMA_ISA(soma_##fn##_cpu) = {.name = "cpu",                                                      \
                                                   .isa = SOMA_ISA_LEVEL,                                              \
                                                   .bf16 = SOMA_STORED_RULE,                                           \
                                                   .layouts = SOMA_LAYOUT_FOLLOW,                                      \
                                                   .accept = accept,                                                   \
                                                   .prepare = fn##_prepare};

UNARY_KERNEL(neg, -a)
UNARY_KERNEL(exp, soma_vexp(a))
UNARY_KERNEL(log, soma_vlog(a))
UNARY_KERNEL(sqrt, __builtin_sqrtf(a))
UNARY_KERNEL(square, a *a)
UNARY_KERNEL(relu, a < 0 ? 0 : a)
UNARY_KERNEL(sigmoid, soma_vsigmoid(a))
UNARY_KERNEL(tanh, soma_vtanh(a))
UNARY_KERNEL(relu6, a<0 ? 0 : a> 6 ? 6 : a)

/* Gradients: g is dy, a is y. */
#define GRADIENT_KERNEL(fn, expression)                                                                                \
    static inline void fn##_span(const float *dy, const float *y, float *dx, int64_t n)                                \
    {                                                                                                                  \
        _Pragma("omp simd") for (int64_t i = 0; i < n; i++)                                                            \
        {                                                                                                              \
            float g = dy[i], a = y[i];                                                                                 \
            dx[i] = (expression);                                                                                      \
        }                                                                                                              \
    }                                                                                                                  \
    static soma_status fn##_run(const void *state, void *const *arg, soma_run *run)                                    \
    {                                                                                                                  \
        (void)run;                                                                                                     \
        fn##_span(arg[0], arg[1], arg[2], ((const soma_elementwise *)state)->n);                                       \
        return SOMA_OK;                                                                                                \
    }                                                                                                                  \
    static soma_status fn##_prepare(soma_prepare *p)                                                                   \
    {                                                                                                                  \
        return prepare_span(p, fn##_span, fn##_run, run_shares2);                                                      \
    }                                                                                                                  \
    extern const soma_kernel SOMA_ISA(soma_##fn##_cpu);                                                                \
    const soma_kernel SOMA_ISA(soma_##fn##_cpu) = {.name = "cpu",                                                      \
                                                   .isa = SOMA_ISA_LEVEL,                                              \
                                                   .bf16 = SOMA_STORED_RULE,                                           \
                                                   .layouts = SOMA_LAYOUT_FOLLOW,                                      \
                                                   .accept = accept,                                                   \
                                                   .prepare = fn##_prepare};

GRADIENT_KERNEL(relu_grad, a <= 0 ? 0 : g)
GRADIENT_KERNEL(sigmoid_grad, (1 - a) * a * g)
GRADIENT_KERNEL(tanh_grad, g *(1 - a * a))
GRADIENT_KERNEL(relu6_grad, a <= 0 || a >= 6 ? 0 : g)
