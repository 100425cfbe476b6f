/* SPDX-License-Identifier: Apache-2.0
 *
 * op/pool2d/pool2d_reference.c: pooling as loops over plain arrays, in f64. Threads share planes [h, w], so sums have a
 * fixed order.
 */
#include "cpu/parallel.h"
#include "tensor/element.h"
#include "op/pool2d/pool2d.h"
#include "op/tail/act_exact.h"

typedef struct reference_state {
    soma_pool2d_case c;
    soma_dtype dtype;
    int n_in, n_out;
    void (*plane)(const struct reference_state *s, void *const *arg, int64_t plane);
} reference_state;

typedef struct reference_job {
    const reference_state *s;
    void *const *arg;
} reference_job;

typedef struct window {
    int64_t y, h, w;        /* position of y's element; of tap (0, 0) */
    int64_t i0, i1, j0, j1; /* the taps that exist */
} window;

static window window_at(const soma_pool2d_case *c, int64_t plane, int64_t oh, int64_t ow)
{
    window v = {.y = (plane * c->oh + oh) * c->ow + ow,
                .h = oh * c->a.stride[0] - c->a.pad[0],
                .w = ow * c->a.stride[1] - c->a.pad[1]};
    soma_pool2d_taps(oh, c->a.stride[0], c->a.pad[0], c->a.size[0], c->h, &v.i0, &v.i1);
    soma_pool2d_taps(ow, c->a.stride[1], c->a.pad[1], c->a.size[1], c->w, &v.j0, &v.j1);
    return v;
}

static int64_t x_at(const soma_pool2d_case *c, int64_t plane, const window *v, int64_t i, int64_t j)
{
    return (plane * c->h + v->h + i) * c->w + v->w + j;
}

static void max_window(const reference_state *s, void *const *arg, int64_t plane, const window *v)
{
    const soma_pool2d_case *c = &s->c;
    double best = soma_get(arg[0], s->dtype, x_at(c, plane, v, v->i0, v->j0));
    int64_t index = v->i0 * c->a.size[1] + v->j0;
    for (int64_t i = v->i0; i < v->i1; i++)
        for (int64_t j = v->j0; j < v->j1; j++) {
            double x = soma_get(arg[0], s->dtype, x_at(c, plane, v, i, j));
            if (x > best || x != x) { /* NaN wins, as in PyTorch 2.15 */
                best = x;
                index = i * c->a.size[1] + j;
            }
        }
    soma_set(arg[s->n_in], s->dtype, v->y, soma_act_exact(c->act, best));
    if (s->n_out > 1 && arg[s->n_in + 1])
        soma_set(arg[s->n_in + 1], SOMA_U8, v->y, (double)index);
}

/* The position in dx of the element that won window v, or -1 where nothing passes. */
static int64_t winner(const reference_state *s, void *const *arg, int64_t plane, const window *v)
{
    const soma_pool2d_case *c = &s->c;
    int64_t index = ((const uint8_t *)arg[1])[v->y], i = index / c->a.size[1], j = index % c->a.size[1];
    if (c->act && soma_gate_exact(c->act, soma_get(arg[2], s->dtype, v->y), 1) == 0)
        return -1;
    if (i < v->i0 || i >= v->i1 || j < v->j0 || j >= v->j1)
        return -1; /* SOMA_POOL2D_NONE, or an index that names no element */
    return x_at(c, plane, v, i, j);
}

static void max_grad_window(const reference_state *s, void *const *arg, int64_t plane, const window *v)
{
    int64_t at = winner(s, arg, plane, v);
    if (at >= 0)
        soma_set(arg[s->n_in], s->dtype, at, soma_get(arg[s->n_in], s->dtype, at) + soma_get(arg[0], s->dtype, v->y));
}

static void gather_window(const reference_state *s, void *const *arg, int64_t plane, const window *v)
{
    int64_t at = winner(s, arg, plane, v);
    soma_set(arg[s->n_in], s->dtype, v->y, at >= 0 ? soma_get(arg[0], s->dtype, at) : 0);
}

static void average_window(const reference_state *s, void *const *arg, int64_t plane, const window *v)
{
    const soma_pool2d_case *c = &s->c;
    double sum = 0;
    for (int64_t i = v->i0; i < v->i1; i++)
        for (int64_t j = v->j0; j < v->j1; j++)
            sum += soma_get(arg[0], s->dtype, x_at(c, plane, v, i, j));
    int64_t o = v->y - plane * c->oh * c->ow;
    soma_set(arg[s->n_in], s->dtype, v->y, sum / soma_pool2d_divisor(c, o / c->ow, o % c->ow));
}

static void average_grad_window(const reference_state *s, void *const *arg, int64_t plane, const window *v)
{
    const soma_pool2d_case *c = &s->c;
    int64_t o = v->y - plane * c->oh * c->ow;
    double share = soma_get(arg[0], s->dtype, v->y) / soma_pool2d_divisor(c, o / c->ow, o % c->ow);
    for (int64_t i = v->i0; i < v->i1; i++)
        for (int64_t j = v->j0; j < v->j1; j++) {
            int64_t at = x_at(c, plane, v, i, j);
            soma_set(arg[s->n_in], s->dtype, at, soma_get(arg[s->n_in], s->dtype, at) + share);
        }
}

#define PLANE(name, clear)                                                                                             \
    static void name##_plane(const reference_state *s, void *const *arg, int64_t plane)                                \
    {                                                                                                                  \
        const soma_pool2d_case *c = &s->c;                                                                             \
        for (int64_t i = 0; clear && i < c->h * c->w; i++)                                                             \
            soma_set(arg[s->n_in], s->dtype, plane * c->h * c->w + i, 0);                                              \
        for (int64_t oh = 0; oh < c->oh; oh++)                                                                         \
            for (int64_t ow = 0; ow < c->ow; ow++) {                                                                   \
                window v = window_at(c, plane, oh, ow);                                                                \
                name##_window(s, arg, plane, &v);                                                                      \
            }                                                                                                          \
    }
PLANE(max, false)
PLANE(max_grad, true)
PLANE(gather, false)
PLANE(average, false)
PLANE(average_grad, true)

static void part(void *context, int index, int count)
{
    const reference_job *job = context;
    int64_t begin, end;
    soma_share(job->s->c.n * job->s->c.c, 1, index, count, &begin, &end);
    for (int64_t plane = begin; plane < end; plane++)
        job->s->plane(job->s, job->arg, plane);
}

static soma_status run(const void *state, void *const *arg, soma_run *r)
{
    reference_job job = {state, arg};
    soma_parallel(r->threads, part, &job);
    return SOMA_OK;
}

static soma_status prepare(soma_prepare *p, bool backward,
                           void (*plane)(const reference_state *s, void *const *arg, int64_t plane))
{
    reference_state *s = soma_prepare_state(p, sizeof *s);
    if (!s)
        return SOMA_MEMORY;
    const soma_shape *in = &p->in[0].shape, *out = &p->out[0].shape;
    s->c = soma_pool2d_case_of(p, backward ? out : in, backward ? in : out);
    s->dtype = p->in[0].dtype;
    s->n_in = p->n_in;
    s->n_out = p->n_out;
    s->plane = plane;
    p->state = s;
    p->run = run;
    p->parallel = true;
    return SOMA_OK;
}

#define KERNEL(kernel, fn, backward)                                                                                   \
    static soma_status fn##_prepare(soma_prepare *p)                                                                   \
    {                                                                                                                  \
        return prepare(p, backward, fn##_plane);                                                                       \
    }                                                                                                                  \
    const soma_kernel kernel = {                                                                                       \
        .name = "reference", .exact = true, .tail = SOMA_TAIL_ACT, .acts = UINT32_MAX, .prepare = fn##_prepare};
KERNEL(soma_max_pool2d_reference, max, false)
KERNEL(soma_max_pool2d_grad_reference, max_grad, true)
KERNEL(soma_max_pool2d_gather_reference, gather, false)
KERNEL(soma_average_pool2d_reference, average, false)
KERNEL(soma_average_pool2d_grad_reference, average_grad, true)
