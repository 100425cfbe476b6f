/* SPDX-License-Identifier: Apache-2.0
 *
 * op/lrn/lrn.c: normalisation over neighbouring channels (Krizhevsky et al. 2012, section 3.3;
 * torch.nn.LocalResponseNorm; ONNX LRN, which has the other side longer where size is even).
 *
 *     local_response_norm        y_c = x_c d_c^-beta,  d_c = k + alpha / size * sum of x_j^2 over j = c - size / 2 ..
 *                                c + (size - 1) / 2, channels that do not exist count as 0
 *     local_response_norm_grad   dx_c = dy_c d_c^-beta - 2 alpha beta / size * x_c * sum of dy_j x_j d_j^(-beta - 1)
 *                                over the j whose windows hold c: c - (size - 1) / 2 .. c + size / 2
 */
#include "op/lrn/lrn.h"
#include "cpu/isa.h"
#include "cpu/parallel.h"
#include "base/exact.h"
#include "graph/graph.h"
#include "tensor/element.h"
#include "op/sample.h"
#include <soma/ops.h>

#define AT(field) offsetof(soma_lrn_attrs, field)
static const soma_field fields[] = {
    {"size", SOMA_FIELD_INT, AT(size), 0, 5, 1, 1e6, NULL, "channels in a window"},
    {"alpha", SOMA_FIELD_FLOAT, AT(alpha), 0, 1e-4, 0, 1e6, NULL, "weight of the window's mean square"},
    {"beta", SOMA_FIELD_FLOAT, AT(beta), 0, 0.75, 0, 1e3, NULL, "the exponent"},
    {"k", SOMA_FIELD_FLOAT, AT(k), 0, 1, 1e-30, 1e6, NULL, "what is added to the mean square"},
    {NULL, 0, 0, 0, 0, 0, 0, NULL, NULL}};

static soma_status infer(soma_infer *i)
{
    char text[96], other[96];
    const soma_shape *x = &i->in[0].shape;
    if (!soma_is_float(i->in[0].dtype) || x->rank != 4 || x->dim[1] < 1)
        return soma_refuse(i->reason, "x must be f32 or f64 and have 4 dimensions [N, C, H, W], got %s",
                           soma_type_text(&i->in[0], text));
    if (i->n_in == 2 && (i->in[1].dtype != i->in[0].dtype || !soma_same_shape(x, &i->in[1].shape)))
        return soma_refuse(i->reason, "dy and x must be of one type and shape, got %s and %s",
                           soma_type_text(&i->in[0], text), soma_type_text(&i->in[1], other));
    i->out[0] = i->in[0];
    return SOMA_OK;
}

static void grad(soma_gradient *g)
{
    const soma_value in[2] = {g->dout[0], g->in[0]};
    if (g->want[0])
        g->din[0] = soma_apply1(soma_op_find("local_response_norm_grad"), in, 2, g->attrs, NULL, soma_nowhere());
}

static double flops(const void *attrs, const soma_arg *in, int n_in, const soma_arg *out)
{
    const soma_lrn_attrs *a = attrs;
    (void)in;
    return (double)out[0].elements * (double)(n_in * 2 * a->size);
}

/* ---- reference kernels: threads share positions ---- */

typedef struct reference_state {
    soma_lrn_attrs a;
    int64_t n, c, plane;
    soma_dtype dtype;
    bool backward;
} reference_state;

typedef struct reference_job {
    const reference_state *s;
    void *const *arg;
} reference_job;

static double divisor(const reference_state *s, const void *x, int64_t first, int64_t c)
{
    int64_t begin = c - soma_lrn_before(&s->a), end = c + soma_lrn_after(&s->a);
    double sum = 0;
    for (int64_t j = begin < 0 ? 0 : begin; j <= end && j < s->c; j++) {
        double number = soma_get(x, s->dtype, first + j * s->plane);
        sum += number * number;
    }
    return s->a.k + s->a.alpha / (double)s->a.size * sum;
}

static double power(double base, double exponent)
{
    return soma_exact_exp(exponent * soma_exact_log(base));
}

static double forward_at(const reference_state *s, void *const *arg, int64_t first, int64_t c)
{
    return soma_get(arg[0], s->dtype, first + c * s->plane) * power(divisor(s, arg[0], first, c), -s->a.beta);
}

static double backward_at(const reference_state *s, void *const *arg, int64_t first, int64_t c)
{
    int64_t begin = c - soma_lrn_after(&s->a), end = c + soma_lrn_before(&s->a);
    double sum = 0;
    for (int64_t j = begin < 0 ? 0 : begin; j <= end && j < s->c; j++)
        sum += soma_get(arg[0], s->dtype, first + j * s->plane) * soma_get(arg[1], s->dtype, first + j * s->plane) *
               power(divisor(s, arg[1], first, j), -s->a.beta - 1);
    double dy = soma_get(arg[0], s->dtype, first + c * s->plane), x = soma_get(arg[1], s->dtype, first + c * s->plane);
    return dy * power(divisor(s, arg[1], first, c), -s->a.beta) -
           2 * s->a.alpha * s->a.beta / (double)s->a.size * x * sum;
}

static void part(void *context, int index, int count)
{
    const reference_job *job = context;
    const reference_state *s = job->s;
    int64_t begin, end;
    soma_share(s->n * s->plane, 16, index, count, &begin, &end);
    for (int64_t i = begin; i < end; i++) {
        int64_t first = i / s->plane * s->c * s->plane + i % s->plane;
        for (int64_t c = 0; c < s->c; c++)
            soma_set(job->arg[1 + s->backward], s->dtype, first + c * s->plane,
                     s->backward ? backward_at(s, job->arg, first, c) : forward_at(s, job->arg, first, c));
    }
}

static soma_status run(const void *state, void *const *arg, soma_run *r)
{
    reference_job job = {state, arg};
    soma_parallel(r->threads, part, &job);
    return SOMA_OK;
}

static soma_status prepare(soma_prepare *p)
{
    reference_state *s = soma_prepare_state(p, sizeof *s);
    if (!s)
        return SOMA_MEMORY;
    const soma_shape *x = &p->in[0].shape;
    *s = (reference_state){.a = *(const soma_lrn_attrs *)p->attrs,
                           .n = x->dim[0],
                           .c = x->dim[1],
                           .plane = x->dim[2] * x->dim[3],
                           .dtype = p->in[0].dtype,
                           .backward = p->n_in == 2};
    p->state = s;
    p->run = run;
    p->parallel = true;
    return SOMA_OK;
}

static const soma_kernel reference = {.name = "reference", .exact = true, .prepare = prepare};

/* ---- samples ---- */

#define S SOMA_DIMS
#define STRONG "alpha=0.9 k=0.7" /* so that neighbours matter */
static const soma_sample samples[] = {
    {"defaults", NULL, (const soma_shape[]){S(SOMA_N, 7, 2, 3)}, NULL, 0, false},
    {"strong", STRONG, (const soma_shape[]){S(SOMA_N, 6, 3, 2)}, NULL, 0, false},
    {"even size", STRONG " size=4 beta=0.5", (const soma_shape[]){S(1, 7, 1, 3)}, NULL, 0, false},
    {"wider than x", STRONG " size=9 beta=1.3", (const soma_shape[]){S(2, 3, 2, 2)}, NULL, 0, false},
    {"alone", STRONG " size=1", (const soma_shape[]){S(2, 3, 2, 2)}, NULL, 0, false},
    {"96 channels", STRONG, (const soma_shape[]){S(SOMA_N, 96, 5, 7)}, NULL, 0, true},
    {"32 channels, even", STRONG " size=4 beta=0.6", (const soma_shape[]){S(2, 32, 4, 5)}, NULL, 0, true},
    {"24 channels, wide", STRONG " size=37", (const soma_shape[]){S(1, 24, 9, 3)}, NULL, 0, true},
    {NULL, NULL, NULL, NULL, 0, false}};
#define TWO(...)                                                                                                       \
    (const soma_shape[])                                                                                               \
    {                                                                                                                  \
        S(__VA_ARGS__), S(__VA_ARGS__)                                                                                 \
    }
static const soma_sample grad_samples[] = {
    {"defaults", NULL, TWO(SOMA_N, 7, 2, 3), NULL, 0, true},
    {"strong", STRONG, TWO(SOMA_N, 6, 3, 2), NULL, 0, true},
    {"even size", STRONG " size=4 beta=0.5", TWO(1, 7, 1, 3), NULL, 0, true},
    {"wider than x", STRONG " size=9 beta=1.3", TWO(2, 3, 2, 2), NULL, 0, true},
    {"96 channels", STRONG, TWO(SOMA_N, 96, 5, 7), NULL, 0, true},
    {"32 channels, even", STRONG " size=4 beta=0.6", TWO(2, 32, 4, 5), NULL, 0, true},
    {"24 channels, wide", STRONG " size=37", TWO(1, 24, 9, 3), NULL, 0, true},
    {NULL, NULL, NULL, NULL, 0, false}};

/* ---- the ops ---- */

SOMA_ISA_DECLARE(soma_local_response_norm_cpu)
SOMA_ISA_DECLARE(soma_local_response_norm_grad_cpu)

const soma_op soma_op_local_response_norm = {
    .name = "local_response_norm",
    .doc = "y = x / (k + alpha / size * sum of x^2 over size neighbouring channels)^beta",
    .onnx = "LRN",
    .required_in = 1,
    .required_out = 1,
    .attrs_size = sizeof(soma_lrn_attrs),
    .fields = fields,
    .error = SOMA_ERROR_LOOSE,
    .infer = infer,
    .grad = grad,
    .flops = flops,
    .kernels = (const soma_kernel *const[]){SOMA_ISA_LIST(soma_local_response_norm_cpu) & reference, NULL},
    .samples = samples,
    .n_in_samples = 1};
const soma_op soma_op_local_response_norm_grad = {
    .name = "local_response_norm_grad",
    .doc = "Gradient of local_response_norm. Inputs dy, x; it has no gradient of its own",
    .required_in = 2,
    .required_out = 1,
    .attrs_size = sizeof(soma_lrn_attrs),
    .fields = fields,
    .error = SOMA_ERROR_LOOSE,
    .infer = infer,
    .flops = flops,
    .kernels = (const soma_kernel *const[]){SOMA_ISA_LIST(soma_local_response_norm_grad_cpu) & reference, NULL},
    .samples = grad_samples,
    .n_in_samples = 2};
