/* SPDX-License-Identifier: Apache-2.0
 *
 * op/conv2d/reference.c: the three convolutions as loops. Each output element is one sum in f64 in a fixed
 * order; threads share outputs, never a sum, so their number changes no bit.
 */
#include "cpu/parallel.h"
#include "op/conv2d/conv2d.h"
#include "op/tail/act_exact.h"
#include "tensor/element.h"

typedef struct reference_state {
    soma_conv2d_case c;
    soma_conv2d_attrs a; /* c.a points here */
    soma_dtype dtype;
    int n_in, n_out;
} reference_state;

typedef struct reference_job {
    const reference_state *s;
    void *const *arg;
} reference_job;

/* Taps i of a window that meet the data: begin <= i < end, where position + i * dilation lies in 0 .. size-1. */
static void taps(int64_t position, int64_t dilation, int64_t window, int64_t size, int64_t *begin, int64_t *end)
{
    int64_t first = position >= 0 ? 0 : (-position + dilation - 1) / dilation;
    int64_t last = size > position ? (size - position + dilation - 1) / dilation : 0;
    *begin = first;
    *end = last < window ? last : window;
}

/* y[n,k,oh,ow] = act(b[k] + z[n,k,oh,ow] + sum over c, i, j of x[n, c, oh sh - top + i dh, ow sw - left + j dw]
 * w[k,c,i,j]) */
#define SOMA_CONV2D_FORWARD(T, name)                                                                                   \
    static double name(const soma_conv2d_case *c, const T *x, const T *w, int64_t oh, int64_t ow)                      \
    {                                                                                                                  \
        const soma_conv2d_attrs *a = c->a;                                                                             \
        int64_t cg = c->c / a->groups, h = oh * a->stride[0] - a->pad[0], v = ow * a->stride[1] - a->pad[1];           \
        int64_t i0, i1, j0, j1;                                                                                        \
        double sum = 0;                                                                                                \
        taps(h, a->dilation[0], c->kh, c->h, &i0, &i1);                                                                \
        taps(v, a->dilation[1], c->kw, c->w, &j0, &j1);                                                                \
        for (int64_t q = 0; q < cg; q++)                                                                               \
            for (int64_t i = i0; i < i1; i++) {                                                                        \
                const T *row = x + (q * c->h + h + i * a->dilation[0]) * c->w + v;                                     \
                const T *tap = w + (q * c->kh + i) * c->kw;                                                            \
                for (int64_t j = j0; j < j1; j++)                                                                      \
                    sum += (double)row[j * a->dilation[1]] * (double)tap[j];                                           \
            }                                                                                                          \
        return sum;                                                                                                    \
    }
SOMA_CONV2D_FORWARD(float, forward_f32)
SOMA_CONV2D_FORWARD(double, forward_f64)

static void forward_part(void *context, int index, int count)
{
    const reference_job *job = context;
    const reference_state *s = job->s;
    const soma_conv2d_case *c = &s->c;
    int64_t cg = c->c / c->a->groups, kg = c->k / c->a->groups, begin, end;
    const void *x = job->arg[0], *w = job->arg[1], *b = s->n_in > 2 ? job->arg[2] : NULL;
    const void *z = s->n_in > SOMA_CONV2D_ADDED ? job->arg[SOMA_CONV2D_ADDED] : NULL;
    void *y = job->arg[s->n_in];
    soma_share(c->n * c->k, 1, index, count, &begin, &end);
    for (int64_t plane = begin; plane < end; plane++) {
        int64_t n = plane / c->k, k = plane % c->k, at = plane * c->oh * c->ow;
        int64_t x0 = (n * c->c + k / kg * cg) * c->h * c->w, w0 = k * cg * c->kh * c->kw;
        double bias = b ? soma_get(b, s->dtype, k) : 0;
        for (int64_t oh = 0; oh < c->oh; oh++)
            for (int64_t ow = 0; ow < c->ow; ow++, at++) {
                double sum = s->dtype == SOMA_F32
                                 ? forward_f32(c, (const float *)x + x0, (const float *)w + w0, oh, ow)
                                 : forward_f64(c, (const double *)x + x0, (const double *)w + w0, oh, ow);
                sum += bias + (z ? soma_get(z, s->dtype, at) : 0);
                soma_set(y, s->dtype, at, soma_act_exact((soma_act)c->a->activation, sum));
            }
    }
}

/* Is i a multiple of the stride, and the quotient one of `size` places? */
static inline bool divides(int64_t stride, int64_t i, int64_t size, int64_t *quotient)
{
    if (stride == 1) { /* a division takes longer than all else */
        *quotient = i;
        return i >= 0 && i < size;
    }
    *quotient = i / stride;
    return i >= 0 && *quotient * stride == i && *quotient < size;
}

/* dx[n,c,h,w] = gate(y, z + sum) with sum over k of the group, i, j of dy[n, k, (h + top - i dh) / sh, (w + left - j
 * dw) / sw] w[k,c,i,j] where the divisions leave no rest */
#define SOMA_CONV2D_INPUT(T, name)                                                                                     \
    static double name(const soma_conv2d_case *c, const T *dy, const T *w, int64_t h, int64_t v)                       \
    {                                                                                                                  \
        const soma_conv2d_attrs *a = c->a;                                                                             \
        int64_t cg = c->c / a->groups, kg = c->k / a->groups;                                                          \
        double sum = 0;                                                                                                \
        for (int64_t q = 0; q < kg; q++)                                                                               \
            for (int64_t i = 0; i < c->kh; i++) {                                                                      \
                int64_t r, u;                                                                                          \
                if (!divides(a->stride[0], h + a->pad[0] - i * a->dilation[0], c->oh, &r))                             \
                    continue;                                                                                          \
                const T *row = dy + (q * c->oh + r) * c->ow;                                                           \
                const T *tap = w + (q * cg * c->kh + i) * c->kw;                                                       \
                for (int64_t j = 0; j < c->kw; j++)                                                                    \
                    if (divides(a->stride[1], v + a->pad[1] - j * a->dilation[1], c->ow, &u))                          \
                        sum += (double)row[u] * (double)tap[j];                                                        \
            }                                                                                                          \
        return sum;                                                                                                    \
    }
SOMA_CONV2D_INPUT(float, input_f32)
SOMA_CONV2D_INPUT(double, input_f64)

static void input_part(void *context, int index, int count)
{
    const reference_job *job = context;
    const reference_state *s = job->s;
    const soma_conv2d_case *c = &s->c;
    int64_t cg = c->c / c->a->groups, kg = c->k / c->a->groups, begin, end;
    const void *dy = job->arg[0], *w = job->arg[1];
    const void *y = s->n_in > SOMA_CONV2D_GATE ? job->arg[SOMA_CONV2D_GATE] : NULL;
    const void *z = s->n_in > SOMA_CONV2D_ADDED ? job->arg[SOMA_CONV2D_ADDED] : NULL;
    soma_share(c->n * c->c, 1, index, count, &begin, &end);
    for (int64_t plane = begin; plane < end; plane++) {
        int64_t n = plane / c->c, q = plane % c->c, group = q / cg, at = plane * c->h * c->w;
        int64_t dy0 = (n * c->k + group * kg) * c->oh * c->ow;
        int64_t w0 = (group * kg * cg + q % cg) * c->kh * c->kw;
        for (int64_t h = 0; h < c->h; h++)
            for (int64_t v = 0; v < c->w; v++, at++) {
                double sum = s->dtype == SOMA_F32
                                 ? input_f32(c, (const float *)dy + dy0, (const float *)w + w0, h, v)
                                 : input_f64(c, (const double *)dy + dy0, (const double *)w + w0, h, v);
                sum += z ? soma_get(z, s->dtype, at) : 0;
                if (y)
                    sum = soma_gate_exact((soma_act)c->a->activation, soma_get(y, s->dtype, at), sum);
                soma_set(job->arg[s->n_in], s->dtype, at, sum);
            }
    }
}

/* dw[k,c,i,j] = sum over n, oh, ow of dy[n,k,oh,ow] x[n, c, oh sh - top + i dh, ow sw - left + j dw] */
#define SOMA_CONV2D_WEIGHT(T, name)                                                                                    \
    static double name(const soma_conv2d_case *c, const T *x, const T *dy, int64_t i, int64_t j)                       \
    {                                                                                                                  \
        const soma_conv2d_attrs *a = c->a;                                                                             \
        double sum = 0;                                                                                                \
        for (int64_t n = 0; n < c->n; n++)                                                                             \
            for (int64_t oh = 0; oh < c->oh; oh++) {                                                                   \
                int64_t h = oh * a->stride[0] - a->pad[0] + i * a->dilation[0];                                        \
                if (h < 0 || h >= c->h)                                                                                \
                    continue;                                                                                          \
                const T *row = x + (n * c->c * c->h + h) * c->w, *g = dy + (n * c->k * c->oh + oh) * c->ow;            \
                int64_t v = j * a->dilation[1] - a->pad[1], u0, u1;                                                    \
                taps(v, a->stride[1], c->ow, c->w, &u0, &u1);                                                          \
                for (int64_t u = u0; u < u1; u++)                                                                      \
                    sum += (double)g[u] * (double)row[v + u * a->stride[1]];                                           \
            }                                                                                                          \
        return sum;                                                                                                    \
    }
SOMA_CONV2D_WEIGHT(float, weight_f32)
SOMA_CONV2D_WEIGHT(double, weight_f64)

static void weight_part(void *context, int index, int count)
{
    const reference_job *job = context;
    const reference_state *s = job->s;
    const soma_conv2d_case *c = &s->c;
    int64_t cg = c->c / c->a->groups, kg = c->k / c->a->groups, begin, end;
    const void *x = job->arg[0], *dy = job->arg[1];
    soma_share(c->k * cg, 1, index, count, &begin, &end);
    for (int64_t plane = begin; plane < end; plane++) {
        int64_t k = plane / cg, q = k / kg * cg + plane % cg, at = plane * c->kh * c->kw;
        int64_t x0 = q * c->h * c->w, dy0 = k * c->oh * c->ow;
        for (int64_t i = 0; i < c->kh; i++)
            for (int64_t j = 0; j < c->kw; j++, at++)
                soma_set(job->arg[s->n_in], s->dtype, at,
                         s->dtype == SOMA_F32 ? weight_f32(c, (const float *)x + x0, (const float *)dy + dy0, i, j)
                                              : weight_f64(c, (const double *)x + x0, (const double *)dy + dy0, i, j));
    }
}

/* db[k] = sum over n, oh, ow of dy */
static void bias_part(void *context, int index, int count)
{
    const reference_job *job = context;
    const reference_state *s = job->s;
    const soma_conv2d_case *c = &s->c;
    int64_t begin, end, plane = c->oh * c->ow;
    soma_share(c->k, 1, index, count, &begin, &end);
    for (int64_t k = begin; k < end; k++) {
        double sum = 0;
        for (int64_t n = 0; n < c->n; n++)
            for (int64_t i = 0; i < plane; i++)
                sum += soma_get(job->arg[1], s->dtype, (n * c->k + k) * plane + i);
        soma_set(job->arg[s->n_in + 1], s->dtype, k, sum);
    }
}

static soma_status forward_run(const void *state, void *const *arg, soma_run *run)
{
    reference_job job = {state, arg};
    soma_parallel(run->threads, forward_part, &job);
    return SOMA_OK;
}

static soma_status input_run(const void *state, void *const *arg, soma_run *run)
{
    reference_job job = {state, arg};
    soma_parallel(run->threads, input_part, &job);
    return SOMA_OK;
}

static soma_status weight_run(const void *state, void *const *arg, soma_run *run)
{
    reference_job job = {state, arg};
    soma_parallel(run->threads, weight_part, &job);
    if (job.s->n_out > 1 && arg[job.s->n_in + 1])
        soma_parallel(run->threads, bias_part, &job);
    return SOMA_OK;
}

static soma_status reference_prepare(soma_prepare *p, soma_conv2d_case c, soma_run_fn run)
{
    reference_state *s = soma_prepare_state(p, sizeof *s);
    if (!s)
        return SOMA_MEMORY;
    *s = (reference_state){.c = c, .a = *c.a, .dtype = p->in[0].dtype, .n_in = p->n_in, .n_out = p->n_out};
    s->c.a = &s->a;
    p->state = s;
    p->run = run;
    p->parallel = true;
    return SOMA_OK;
}
static soma_status forward_prepare(soma_prepare *p)
{
    return reference_prepare(p, soma_conv2d_forward_case(p), forward_run);
}
static soma_status input_prepare(soma_prepare *p)
{
    return reference_prepare(p, soma_conv2d_input_case(p), input_run);
}
static soma_status weight_prepare(soma_prepare *p)
{
    return reference_prepare(p, soma_conv2d_weight_case(p), weight_run);
}

const soma_kernel soma_conv2d_reference = {.name = "reference",
                                           .exact = true,
                                           .tail = SOMA_TAIL_ADD | SOMA_TAIL_ACT,
                                           .acts = UINT32_MAX,
                                           .prepare = forward_prepare};
const soma_kernel soma_conv2d_input_grad_reference = {.name = "reference",
                                                      .exact = true,
                                                      .tail = SOMA_TAIL_ADD | SOMA_TAIL_GATE,
                                                      .acts = UINT32_MAX,
                                                      .prepare = input_prepare};
const soma_kernel soma_conv2d_weight_grad_reference = {.name = "reference", .exact = true, .prepare = weight_prepare};
