/* SPDX-License-Identifier: Apache-2.0
 *
 * op/unary/unary.c: elementwise functions of one array,
 *     neg exp log sqrt square relu sigmoid tanh relu6                          y = f(x)
 * and the gradients of relu, sigmoid, tanh and relu6, which read y, not x, so that x may be overwritten or never exist:
 *     relu_grad     dx = dy where y > 0, else 0                    (NaN in y passes dy on, as in PyTorch 2.15)
 *     sigmoid_grad  dx = dy y (1 - y)
 *     tanh_grad     dx = dy (1 - y^2)
 *     relu6_grad    dx = dy where 0 < y < 6, else 0
 * The gradients are ops with gradients of their own, so any order of derivative is only another pass.
 */
#include "op/unary/unary.h"

#include "backend/cpu/isa.h"
#include "backend/cpu/parallel.h"
#include "base/exact.h"
#include "graph/graph.h"
#include "op/element.h"
#include <soma/ops.h>

/* ---- shapes ---- */

static soma_status infer(soma_infer *i)
{
    char text[96], other[96];
    if (!soma_is_float(i->in[0].dtype))
        return soma_refuse(i->reason, "x must be f32 or f64, got %s", soma_type_text(&i->in[0], text));
    if (i->n_in == 2 && (i->in[1].dtype != i->in[0].dtype || !soma_same_shape(&i->in[0].shape, &i->in[1].shape)))
        return soma_refuse(i->reason, "dy and y must be of one type and shape, got %s and %s",
                           soma_type_text(&i->in[0], text), soma_type_text(&i->in[1], other));
    i->out[0] = i->in[0];
    return SOMA_OK;
}

static double flops(const void *attrs, const soma_arg *in, int n_in, const soma_arg *out)
{
    (void)attrs, (void)in, (void)n_in;
    return (double)out[0].elements;
}

/* ---- gradients: x, y and dy stand for the forward values ---- */

extern const soma_op soma_op_relu_grad, soma_op_sigmoid_grad, soma_op_tanh_grad, soma_op_relu6_grad;

static soma_value from_y(const soma_op *op, soma_value dy, soma_value y)
{
    return soma_apply1(op, (const soma_value[]){dy, y}, 2, NULL, NULL, soma_nowhere());
}

static soma_value twice(soma_value x)
{
    return soma_add(x, x);
}

#define UNARY_GRADIENT(fn, expression)                                                                                 \
    static void fn##_gradient(soma_gradient *g)                                                                        \
    {                                                                                                                  \
        const soma_value x = g->in[0], y = g->out[0], dy = g->dout[0];                                                 \
        (void)x, (void)y;                                                                                              \
        if (g->want[0])                                                                                                \
            g->din[0] = (expression);                                                                                  \
    }

UNARY_GRADIENT(neg, soma_neg(dy))
UNARY_GRADIENT(exp, soma_mul(dy, y))
UNARY_GRADIENT(log, soma_div(dy, x))
UNARY_GRADIENT(sqrt, soma_div(dy, twice(y)))
UNARY_GRADIENT(square, soma_mul(dy, twice(x)))
UNARY_GRADIENT(relu, from_y(&soma_op_relu_grad, dy, y))
UNARY_GRADIENT(sigmoid, from_y(&soma_op_sigmoid_grad, dy, y))
UNARY_GRADIENT(tanh, from_y(&soma_op_tanh_grad, dy, y))
UNARY_GRADIENT(relu6, from_y(&soma_op_relu6_grad, dy, y))

/* Second derivatives: inputs dy and y, gradient g. Linear in dy; with respect to y, relu's and relu6's are 0
 * everywhere. */
static void relu_grad_gradient(soma_gradient *g)
{
    if (g->want[0])
        g->din[0] = from_y(&soma_op_relu_grad, g->dout[0], g->in[1]);
}

static void relu6_grad_gradient(soma_gradient *g)
{
    if (g->want[0])
        g->din[0] = from_y(&soma_op_relu6_grad, g->dout[0], g->in[1]);
}

static void sigmoid_grad_gradient(soma_gradient *g)
{
    soma_value dy = g->in[0], y = g->in[1];
    if (g->want[0])
        g->din[0] = from_y(&soma_op_sigmoid_grad, g->dout[0], y);
    if (g->want[1])
        g->din[1] = soma_mul(soma_mul(g->dout[0], dy), soma_sub(soma_scalar(y, 1), twice(y)));
}

static void tanh_grad_gradient(soma_gradient *g)
{
    soma_value dy = g->in[0], y = g->in[1];
    if (g->want[0])
        g->din[0] = from_y(&soma_op_tanh_grad, g->dout[0], y);
    if (g->want[1])
        g->din[1] = soma_neg(soma_mul(soma_mul(g->dout[0], dy), twice(y)));
}

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
        soma_set(job->y, s->dtype, i, s->exact(soma_get(job->a, s->dtype, i), b));
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

static soma_status prepare_reference(soma_prepare *p, double (*exact)(double, double))
{
    soma_elementwise *s = soma_prepare_state(p, sizeof *s);
    if (!s)
        return SOMA_MEMORY;
    s->n = p->out[0].elements;
    s->dtype = p->out[0].dtype;
    s->exact = exact;
    s->threads = s->n >= SOMA_ELEMENTWISE_PARALLEL ? p->threads : 1;
    p->parallel = s->threads > 1;
    p->state = s;
    p->run = p->n_in == 1 ? run_reference1 : run_reference2;
    return SOMA_OK;
}

/* One input: a is x. Two: a is dy, b is y. */
#define REFERENCE(fn, expression)                                                                                      \
    static double fn##_exact(double a, double b)                                                                       \
    {                                                                                                                  \
        (void)b;                                                                                                       \
        return (expression);                                                                                           \
    }                                                                                                                  \
    static soma_status fn##_prepare(soma_prepare *p)                                                                   \
    {                                                                                                                  \
        return prepare_reference(p, fn##_exact);                                                                       \
    }                                                                                                                  \
    static const soma_kernel fn##_reference = {                                                                        \
        .name = "reference", .exact = true, .layouts = SOMA_LAYOUT_FOLLOW, .prepare = fn##_prepare};                   \
    SOMA_BF16_DECLARE(soma_##fn##_cpu)                                                                                 \
    SOMA_ISA_DECLARE(soma_##fn##_cpu)

REFERENCE(neg, -a)
REFERENCE(exp, soma_exact_exp(a))
REFERENCE(log, soma_exact_log(a))
REFERENCE(sqrt, soma_exact_sqrt(a))
REFERENCE(square, a *a)
REFERENCE(relu, a < 0 ? 0 : a) /* NaN stays NaN */
REFERENCE(sigmoid, soma_exact_sigmoid(a))
REFERENCE(tanh, soma_exact_tanh(a))
REFERENCE(relu6, a<0 ? 0 : a> 6 ? 6 : a)
REFERENCE(relu_grad, b <= 0 ? 0 : a)
REFERENCE(sigmoid_grad, (1 - b) * b * a)
REFERENCE(tanh_grad, a *(1 - b * b))
REFERENCE(relu6_grad, b <= 0 || b >= 6 ? 0 : a)

/* ---- samples: ranks 0 to 5, odd sizes, batch of one ---- */

#define UNARY_SAMPLES(fn, kind)                                                                                        \
    static const soma_sample fn[] = {                                                                                  \
        {.name = "scalar", .in = (const soma_shape[]){{0, {0}}}, .fill = kind},                                        \
        {.name = "vector", .in = (const soma_shape[]){{1, {37}}}, .fill = kind},                                       \
        {.name = "batch", .in = (const soma_shape[]){{2, {SOMA_N, 5}}}, .fill = kind},                                 \
        {.name = "one", .in = (const soma_shape[]){{3, {1, 1, 19}}}, .fill = kind},                                    \
        {.name = "image", .in = (const soma_shape[]){{4, {SOMA_N, 3, 5, 7}}}, .fill = kind},                           \
        {.name = "rank 5", .in = (const soma_shape[]){{5, {2, 1, 3, 2, 3}}}, .fill = kind},                            \
        {.name = "large", .in = (const soma_shape[]){{2, {261, 263}}}, .fill = kind},                                  \
        {0},                                                                                                           \
    };

UNARY_SAMPLES(any_samples, "n")
UNARY_SAMPLES(positive_samples, "p")
UNARY_SAMPLES(away_samples, "s") /* relu has a corner at 0 */

#define GRADIENT_SAMPLES(fn, kind)                                                                                     \
    static const soma_sample fn[] = {                                                                                  \
        {.name = "scalar", .in = (const soma_shape[]){{0, {0}}, {0, {0}}}, .fill = kind},                              \
        {.name = "vector", .in = (const soma_shape[]){{1, {37}}, {1, {37}}}, .fill = kind},                            \
        {.name = "batch", .in = (const soma_shape[]){{2, {SOMA_N, 5}}, {2, {SOMA_N, 5}}}, .fill = kind},               \
        {.name = "image", .in = (const soma_shape[]){{4, {1, 3, 5, 7}}, {4, {1, 3, 5, 7}}}, .fill = kind},             \
        {.name = "large", .in = (const soma_shape[]){{2, {261, 263}}, {2, {261, 263}}}, .fill = kind},                 \
        {0},                                                                                                           \
    };

GRADIENT_SAMPLES(gate_samples, "ns")
GRADIENT_SAMPLES(squash_samples, "nu")

/* ---- the ops ---- */

#define UNARY_OP(op_name, onnx_name, inputs, sample_list, text)                                                        \
    const soma_op soma_op_##op_name = {                                                                                \
        .name = #op_name,                                                                                              \
        .doc = text,                                                                                                   \
        .onnx = onnx_name,                                                                                             \
        .required_in = inputs,                                                                                         \
        .required_out = 1,                                                                                             \
        .inplace_in = 1,                                                                                               \
        .infer = infer,                                                                                                \
        .grad = op_name##_gradient,                                                                                    \
        .flops = flops,                                                                                                \
        .kernels =                                                                                                     \
            (const soma_kernel *const[]){                                                                              \
                SOMA_BF16_LIST(soma_##op_name##_cpu) SOMA_ISA_LIST(soma_##op_name##_cpu) & op_name##_reference, NULL}, \
        .samples = sample_list,                                                                                        \
        .n_in_samples = inputs,                                                                                        \
    };

UNARY_OP(neg, "Neg", 1, any_samples, "y = -x.")
UNARY_OP(exp, "Exp", 1, any_samples, "y = exp(x).")
UNARY_OP(log, "Log", 1, positive_samples, "y = ln(x); of 0 it is -inf, of negative numbers NaN.")
UNARY_OP(sqrt, "Sqrt", 1, positive_samples, "y = square root of x; of negative numbers NaN.")
UNARY_OP(square, NULL, 1, any_samples, "y = x^2.")
UNARY_OP(relu, "Relu", 1, away_samples, "y = max(x, 0); NaN stays NaN. The gradient at 0 is 0.")
UNARY_OP(sigmoid, "Sigmoid", 1, any_samples, "y = 1 / (1 + exp(-x)).")
UNARY_OP(tanh, "Tanh", 1, any_samples, "y = tanh(x).")
UNARY_OP(relu6, NULL, 1, away_samples, "y = min(max(x, 0), 6); NaN stays NaN. The gradient at 0 and 6 is 0.")
UNARY_OP(relu_grad, NULL, 2, gate_samples, "Gradient of relu: dx = dy where y > 0, else 0. Inputs dy, y.")
UNARY_OP(sigmoid_grad, NULL, 2, squash_samples, "Gradient of sigmoid: dx = dy y (1 - y). Inputs dy, y.")
UNARY_OP(tanh_grad, NULL, 2, squash_samples, "Gradient of tanh: dx = dy (1 - y^2). Inputs dy, y.")
UNARY_OP(relu6_grad, NULL, 2, gate_samples, "Gradient of relu6: dx = dy where 0 < y < 6, else 0. Inputs dy, y.")

#define UNARY_BUILDER(fn)                                                                                              \
    soma_value soma_##fn##_at(soma_value x, soma_at at)                                                                \
    {                                                                                                                  \
        return soma_apply1(&soma_op_##fn, &x, 1, NULL, NULL, at);                                                      \
    }
SOMA_UNARY_LIST(UNARY_BUILDER)
