/* SPDX-License-Identifier: Apache-2.0
 *
 * op/unary/unary.c: the ops of unary.list, y = f(x), and the gradients that are passes of their own, NAME_grad: dx of
 * dy and of x or y. The gradients are ops with gradients of their own, so any order of derivative is only another pass.
 * Knows no function by name.
 */
#include "op/unary/unary.h"

#include "cpu/isa.h"
#include "cpu/parallel.h"
#include "base/zero.h"
#include "graph/graph.h"
#include "tensor/element.h"
#include "op/tail/act.h"
#include "op/unary/unary_exact.h"
#include <soma/ops.h>

/* ---- shapes ---- */

/* read: what the second input is, x or y; order: the sentence where the first number is greater than the second. */
static soma_status infer(soma_infer *i, const char *read, const char *order)
{
    char text[96], other[96];
    const double *c = i->attrs;
    if (!soma_is_float(i->in[0].dtype))
        return soma_refuse(i->reason, "x must be f32 or f64, got %s", soma_type_text(&i->in[0], text));
    if (i->n_in == 2 && (i->in[1].dtype != i->in[0].dtype || !soma_same_shape(&i->in[0].shape, &i->in[1].shape)))
        return soma_refuse(i->reason, "dy and %s must be of one type and shape, got %s and %s", read,
                           soma_type_text(&i->in[0], text), soma_type_text(&i->in[1], other));
    if (order && !(c[0] <= c[1]))
        return soma_refuse(i->reason, order, c[0], c[1]);
    i->out[0] = i->in[0];
    return SOMA_OK;
}

static double flops(const void *attrs, const soma_arg *in, int n_in, const soma_arg *out)
{
    (void)attrs, (void)in, (void)n_in;
    return (double)out[0].elements;
}

#define READS(read) #read
#define INFER(fn, read, order)                                                                                         \
    static soma_status fn##_infer(soma_infer *i)                                                                       \
    {                                                                                                                  \
        return infer(i, read, order);                                                                                  \
    }
#define UNARY(name, numbers, ...) INFER(name, "", SOMA_ORDER_##numbers)
#define UNARY_GRAD(name, use, fused, numbers, onnx, doc, value, read, ...)                                             \
    INFER(name, "", SOMA_ORDER_##numbers)                                                                              \
    INFER(name##_grad, read, SOMA_ORDER_##numbers)
#include "op/unary/unary.list"

/* ---- gradients: x, y and dy stand for the forward values ---- */

#define UNARY(...)
#define UNARY_GRAD(name, ...) extern const soma_op soma_op_##name##_grad;
#include "op/unary/unary.list"

#define TWICE(v) soma_add(v, v)

#define UNARY(name, numbers, onnx, doc, value, dx, ...)                                                                \
    static void name##_gradient(soma_gradient *g)                                                                      \
    {                                                                                                                  \
        const soma_value x = g->in[0], y = g->out[0], dy = g->dout[0];                                                 \
        const double *c = g->attrs;                                                                                    \
        SOMA_NAMES_##numbers;                                                                                          \
        (void)x, (void)y;                                                                                              \
        if (g->want[0])                                                                                                \
            g->din[0] = dx;                                                                                            \
    }
#define GRADIENT(...) (__VA_ARGS__)
#define UNARY_GRAD(...)
#include "op/unary/unary.list"

static soma_value grad_of(const soma_op *op, soma_value dy, soma_value read, const void *attrs)
{
    return soma_apply1(op, (const soma_value[]){dy, read}, 2, attrs, NULL, soma_nowhere());
}

#define READS(read) const soma_value x = g->in[0], y = g->out[0], used = read
#define UNARY(...)
#define UNARY_GRAD(name, use, fused, numbers, onnx, doc, value, read, ...)                                             \
    static void name##_gradient(soma_gradient *g)                                                                      \
    {                                                                                                                  \
        read;                                                                                                          \
        (void)x, (void)y;                                                                                              \
        if (g->want[0])                                                                                                \
            g->din[0] = grad_of(&soma_op_##name##_grad, g->dout[0], used, g->attrs);                                   \
    }
#include "op/unary/unary.list"

/* Second derivatives: inputs dy and x or y, gradient u. Linear in dy. */
#define UDY soma_mul(u, dy)
#define READS(read) read
#define FLAT (void)u, (void)dy
#define SECOND(...)                                                                                                    \
    if (g->want[1])                                                                                                    \
    g->din[1] = (__VA_ARGS__)
#define UNARY(...)
#define UNARY_GRAD(name, use, fused, numbers, onnx, doc, value, read, dx, second, samples)                             \
    static void name##_grad_gradient(soma_gradient *g)                                                                 \
    {                                                                                                                  \
        const soma_value dy = g->in[0], read = g->in[1], u = g->dout[0];                                               \
        const double *c = g->attrs;                                                                                    \
        SOMA_NAMES_##numbers;                                                                                          \
        if (g->want[0])                                                                                                \
            g->din[0] = grad_of(&soma_op_##name##_grad, u, read, g->attrs);                                            \
        second;                                                                                                        \
    }
#include "op/unary/unary.list"

/* ---- reference kernels ---- */

typedef struct span_job {
    const soma_elementwise *s;
    const void *a, *b;
    void *y;
} span_job;

static void part(void *context, int index, int count)
{
    const span_job *job = context;
    const soma_elementwise *s = job->s;
    int64_t begin, end;
    soma_share(s->n, 16, index, count, &begin, &end);
    for (int64_t i = begin; i < end; i++) {
        double b = job->b ? soma_get(job->b, s->dtype, i) : 0;
        soma_set(job->y, s->dtype, i, s->exact(soma_get(job->a, s->dtype, i), b, s->c));
    }
}

static soma_status run_reference1(const void *state, void *const *arg, soma_run *run)
{
    const soma_elementwise *s = state;
    span_job job = {s, arg[0], NULL, arg[1]};
    soma_run_parallel(run, s->threads, part, &job);
    return SOMA_OK;
}

static soma_status run_reference2(const void *state, void *const *arg, soma_run *run)
{
    const soma_elementwise *s = state;
    span_job job = {s, arg[0], arg[1], arg[2]};
    soma_run_parallel(run, s->threads, part, &job);
    return SOMA_OK;
}

soma_elementwise *soma_elementwise_prepare(soma_prepare *p, soma_elementwise row)
{
    soma_elementwise *s = soma_prepare_state(p, sizeof *s);
    if (!s)
        return NULL;
    *s = row;
    s->n = p->out[0].elements;
    s->dtype = p->out[0].dtype;
    for (size_t k = 0; k < p->op->attrs_size / sizeof(double); k++)
        s->c[k] = ((const double *)p->attrs)[k];
    s->threads = s->n >= SOMA_ELEMENTWISE_PARALLEL ? p->threads : 1;
    p->parallel = s->threads > 1;
    p->state = s;
    return s;
}

static soma_status prepare_reference(soma_prepare *p, soma_elementwise row)
{
    p->run = p->n_in == 1 ? run_reference1 : run_reference2;
    return soma_elementwise_prepare(p, row) ? SOMA_OK : SOMA_MEMORY;
}

#define REFERENCE(fn, formula)                                                                                         \
    static double fn##_exact(double a, double b, const double c[SOMA_NUMBERS])                                         \
    {                                                                                                                  \
        (void)b;                                                                                                       \
        return formula;                                                                                                \
    }                                                                                                                  \
    static soma_status fn##_prepare(soma_prepare *p)                                                                   \
    {                                                                                                                  \
        return prepare_reference(p, (soma_elementwise){.exact = fn##_exact});                                          \
    }                                                                                                                  \
    static const soma_kernel fn##_reference = {                                                                        \
        .name = "reference", .exact = true, .layouts = SOMA_LAYOUT_FOLLOW, .prepare = fn##_prepare};                   \
    SOMA_BF16_DECLARE(soma_##fn##_cpu)                                                                                 \
    SOMA_ISA_DECLARE(soma_##fn##_cpu)

#define UNARY(name, ...) REFERENCE(name, soma_exact_of_##name(a, c))
#define UNARY_GRAD(name, ...)                                                                                          \
    UNARY(name, )                                                                                                      \
    REFERENCE(name##_grad, soma_exact_of_##name##_grad(a, b, c))
#include "op/unary/unary.list"

/* ---- samples: ranks 0 to 5, odd sizes, batch of one ---- */

#define SAMPLE(title, kind, text, ...)                                                                                 \
    {                                                                                                                  \
        .name = title, .attrs = text, .in = (const soma_shape[]){__VA_ARGS__}, .fill = kind                            \
    }
#define UNARY_SAMPLES(fn, kind, text)                                                                                  \
    static const soma_sample fn##_samples[] = {                                                                        \
        SAMPLE("scalar", kind, text, {0, {0}}),                                                                        \
        SAMPLE("vector", kind, text, {1, {37}}),                                                                       \
        SAMPLE("batch", kind, text, {2, {SOMA_N, 5}}),                                                                 \
        SAMPLE("one", kind, text, {3, {1, 1, 19}}),                                                                    \
        SAMPLE("image", kind, text, {4, {SOMA_N, 3, 5, 7}}),                                                           \
        SAMPLE("rank 5", kind, text, {5, {2, 1, 3, 2, 3}}),                                                            \
        SAMPLE("large", kind, text, {2, {261, 263}}),                                                                  \
        {0},                                                                                                           \
    };
#define GRADIENT_SAMPLES(fn, kind, text)                                                                               \
    static const soma_sample fn##_samples[] = {                                                                        \
        SAMPLE("scalar", kind, text, {0, {0}}, {0, {0}}),                                                              \
        SAMPLE("vector", kind, text, {1, {37}}, {1, {37}}),                                                            \
        SAMPLE("batch", kind, text, {2, {SOMA_N, 5}}, {2, {SOMA_N, 5}}),                                               \
        SAMPLE("image", kind, text, {4, {1, 3, 5, 7}}, {4, {1, 3, 5, 7}}),                                             \
        SAMPLE("large", kind, text, {2, {261, 263}}, {2, {261, 263}}),                                                 \
        {0},                                                                                                           \
    };

/* ---- the ops ---- */

#define AS_ALONE(part, name)
#define AS_FUSED(part, name) .as_tail = part, .act = SOMA_ACT_##name,

/* Gradients such as 1 - y^2 cancel, so that their bound is the loose one. */
#define UNARY_OP(fn, as, text, onnx_name, numbers, inputs, bound)                                                      \
    const soma_op soma_op_##fn = {                                                                                     \
        .name = #fn,                                                                                                   \
        .doc = text,                                                                                                   \
        .onnx = onnx_name,                                                                                             \
        .required_in = inputs,                                                                                         \
        .required_out = 1,                                                                                             \
        .attrs_size = SOMA_COUNT_##numbers * sizeof(double),                                                           \
        .fields = SOMA_FIELDS_##numbers,                                                                               \
        as.inplace_in = 1,                                                                                             \
        .error = bound,                                                                                                \
        .infer = fn##_infer,                                                                                           \
        .grad = fn##_gradient,                                                                                         \
        .flops = flops,                                                                                                \
        .kernels = (const soma_kernel *const[]){SOMA_BF16_LIST(soma_##fn##_cpu) SOMA_ISA_LIST(soma_##fn##_cpu) &       \
                                                    fn##_reference,                                                    \
                                                NULL},                                                                 \
        .samples = fn##_samples,                                                                                       \
        .n_in_samples = inputs,                                                                                        \
    };
#define FORWARD(name, fused, numbers, onnx, doc, fill, ...)                                                            \
    UNARY_SAMPLES(name, fill, SOMA_SAMPLE_##numbers)                                                                   \
    UNARY_OP(name, AS_##fused(SOMA_TAIL_ACT, name), doc, onnx, numbers, 1, SOMA_ERROR_ROUNDING)
#define BACKWARD(name, fused, numbers, read, dx, fill, fills)                                                          \
    GRADIENT_SAMPLES(name##_grad, fills, SOMA_SAMPLE_##numbers)                                                        \
    UNARY_OP(name##_grad, AS_##fused(SOMA_TAIL_GATE, name),                                                            \
             "Gradient of " #name ": dx = " dx ". Inputs dy, " read ".", NULL, numbers, 2, SOMA_ERROR_LOOSE)
#define DX(...) #__VA_ARGS__
#define READS(read) #read
#define SAMPLES(...) __VA_ARGS__
#define OP(make, ...) make(__VA_ARGS__)
#define UNARY(name, numbers, onnx, doc, value, dx, fill) OP(FORWARD, name, ALONE, numbers, onnx, doc, fill, )
#define UNARY_GRAD(name, use, fused, numbers, onnx, doc, value, read, dx, second, fills)                               \
    OP(FORWARD, name, fused, numbers, onnx, doc, fills)                                                                \
    OP(BACKWARD, name, fused, numbers, read, dx, fills)
#include "op/unary/unary.list"

/* ---- builders ---- */

#define BUILD_PLAIN(name, ...)                                                                                         \
    soma_value soma_##name##_at(soma_value x, soma_at at)                                                              \
    {                                                                                                                  \
        return soma_apply1(&soma_op_##name, &x, 1, NULL, NULL, at);                                                    \
    }

/* What the options of a function with numbers are: the op's attributes come behind x. */
typedef struct number_options {
    size_t struct_size;
    soma_at at;
    soma_value x;
    double c[SOMA_NUMBERS];
} number_options;

/* 0 is the preset, SOMA_ZERO 0; the op checks the ranges. */
static soma_value apply(const soma_op *op, const void *given)
{
    number_options o;
    soma_value failed;
    if (!soma_graph_take_x(op->name, NULL, offsetof(number_options, c) + op->attrs_size, given, &o, &failed))
        return failed;
    for (size_t k = 0; k < op->attrs_size / sizeof *o.c; k++)
        o.c[k] = soma_said(o.c[k], op->fields[k].preset);
    return soma_apply1(op, &o.x, 1, o.c, NULL, o.at);
}

#define BUILD_NUMBERS(name, ...)                                                                                       \
    soma_value soma_##name##_with(const soma_##name##_options *o)                                                      \
    {                                                                                                                  \
        return apply(&soma_op_##name, o);                                                                              \
    }
#define BUILD_(kind, ...) BUILD_##kind(__VA_ARGS__)
#define BUILD(kind, ...) BUILD_(kind, __VA_ARGS__)
#define UNARY(name, numbers, ...) BUILD(SOMA_KIND_##numbers, name, )
#define UNARY_GRAD(name, use, fused, numbers, ...) UNARY(name, numbers, )
#include "op/unary/unary.list"
