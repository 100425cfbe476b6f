/* SPDX-License-Identifier: Apache-2.0
 *
 * op/reduce/expand.c: y = x copied along a set of axes, divided by the number of copies when `mean`: the gradient of
 * reduce_sum and reduce_mean. x either lacks the axes or has them with size 1. Copies count over the full batch.
 *     dx = sum (or mean) of dy over the axes
 */
#include "cpu/isa.h"
#include "cpu/parallel.h"
#include "graph/graph.h"
#include "op/binary/binary.h"
#include "op/reduce/expand.h"
#include "op/reduce/reduce.h"
#include <soma/ops.h>

static const soma_field fields[] = {
    {.name = "shape",
     .type = SOMA_FIELD_SHAPE,
     .offset = offsetof(soma_expand_attrs, shape),
     .doc = "the result's shape"},
    {.name = "axes",
     .type = SOMA_FIELD_INT,
     .offset = offsetof(soma_expand_attrs, axes),
     .max = 255,
     .doc = "axes of the result along which x is copied, a bit each; 0: all"},
    {.name = "mean",
     .type = SOMA_FIELD_BOOL,
     .offset = offsetof(soma_expand_attrs, mean),
     .max = 1,
     .doc = "divide by the number of copies"},
    {0},
};

/* The axis of x that stands at axis k of the result, or -1. */
static int source_axis(const soma_shape *x, const soma_shape *y, uint32_t axes, int k)
{
    if (axes >> k & 1)
        return -1;
    return x->rank == y->rank ? k : k - __builtin_popcount(axes & ((1u << k) - 1));
}

static soma_status infer(soma_infer *i)
{
    const soma_expand_attrs *a = i->attrs;
    const soma_shape *x = &i->in[0].shape, *y = &a->shape;
    char text[96], other[96];
    uint32_t axes = soma_axes(a->axes, y->rank);
    soma_type result = {i->in[0].dtype, *y};
    bool fits = soma_is_float(result.dtype) && !(axes >> y->rank) &&
                (x->rank == y->rank || x->rank == y->rank - __builtin_popcount(axes));
    for (int k = 0; fits && k < y->rank; k++) {
        int at = source_axis(x, y, axes, k);
        fits = at >= 0 ? x->dim[at] == y->dim[k] : x->rank != y->rank || x->dim[k] == 1;
        fits = fits && (y->dim[k] > 0 || (k == 0 && y->dim[k] < 0));
    }
    if (!fits)
        return soma_refuse(
            i->reason,
            "%s cannot be copied along axes %u to make %s: it must lack these axes, or have them with size 1, "
            "and be equal elsewhere",
            soma_type_text(&i->in[0], text), axes, soma_type_text(&result, other));
    i->out[0] = result;
    return SOMA_OK;
}

static double flops(const void *attrs, const soma_arg *in, int n_in, const soma_arg *out)
{
    (void)in, (void)n_in;
    return ((const soma_expand_attrs *)attrs)->mean ? (double)out[0].elements : 0;
}

static void gradient(soma_gradient *g)
{
    const soma_expand_attrs *a = g->attrs;
    if (!g->want[0])
        return;
    uint32_t axes = soma_axes(a->axes, a->shape.rank);
    bool keep = soma_value_type(g->in[0]).shape.rank == a->shape.rank;
    g->din[0] = a->mean ? soma_reduce_mean(g->dout[0], .axes = axes, .keep_dims = keep)
                        : soma_reduce_sum(g->dout[0], .axes = axes, .keep_dims = keep);
}

/* ---- reference kernel ---- */

soma_expansion *soma_expansion_plan(soma_prepare *p)
{
    soma_expansion *s = soma_prepare_state(p, sizeof *s);
    if (!s)
        return NULL;
    const soma_expand_attrs *a = p->attrs;
    const soma_shape *x = &p->in[0].shape, *y = &p->out[0].shape;
    uint32_t axes = soma_axes(a->axes, y->rank);
    int64_t stride[SOMA_MAX_RANK];
    soma_strides(x, stride);
    for (int k = 0; k < y->rank; k++) {
        int at = source_axis(x, y, axes, k);
        soma_broadcast_add(&s->walk, y->dim[k], at >= 0 ? stride[at] : 0, 0);
    }
    soma_broadcast_end(&s->walk, p->out[0].elements);
    s->walk.dtype = p->out[0].dtype;
    s->divisor = a->mean ? soma_full_elements(p, &p->out[0]) / soma_full_elements(p, &p->in[0]) : 1;
    s->walk.threads = s->walk.n >= SOMA_REDUCE_PARALLEL ? p->threads : 1;
    p->parallel = s->walk.threads > 1;
    p->state = s;
    return s;
}

typedef struct expand_job {
    const soma_expansion *s;
    void *const *arg;
} expand_job;

static void part(void *context, int index, int count)
{
    const expand_job *job = context;
    const soma_broadcast *s = &job->s->walk;
    const int last = s->rank - 1;
    int64_t begin, end;
    soma_share(s->rows, 1, index, count, &begin, &end);
    soma_row row;
    soma_row_begin(&row, s, begin);
    for (int64_t r = begin; r < end; r++, soma_row_next(&row, s))
        for (int64_t i = 0; i < s->dim[last]; i++) {
            double x = soma_get(job->arg[0], s->dtype, row.a + i * s->a[last]);
            soma_set(job->arg[1], s->dtype, r * s->dim[last] + i, x / job->s->divisor);
        }
}

static soma_status run_reference(const void *state, void *const *arg, soma_run *run)
{
    const soma_expansion *s = state;
    expand_job job = {s, arg};
    soma_run_parallel(run, s->walk.threads, part, &job);
    return SOMA_OK;
}

static soma_status prepare_reference(soma_prepare *p)
{
    p->run = run_reference;
    return soma_expansion_plan(p) ? SOMA_OK : SOMA_MEMORY;
}

static const soma_kernel reference = {.name = "reference", .exact = true, .prepare = prepare_reference};
SOMA_ISA_DECLARE(soma_expand_cpu)

static const soma_sample samples[] = {
    {.name = "number", .attrs = "shape=N,3,5", .in = (const soma_shape[]){{0, {0}}}},
    {.name = "number mean", .attrs = "shape=N,7 mean=true", .in = (const soma_shape[]){{0, {0}}}},
    {.name = "scalar", .attrs = "", .in = (const soma_shape[]){{0, {0}}}},
    {.name = "rows", .attrs = "shape=N,5 axes=1", .in = (const soma_shape[]){{1, {5}}}},
    {.name = "columns mean", .attrs = "shape=N,19 axes=2 mean=true", .in = (const soma_shape[]){{2, {SOMA_N, 1}}}},
    {.name = "pixels", .attrs = "shape=N,3,5,7 axes=12 mean=true", .in = (const soma_shape[]){{2, {SOMA_N, 3}}}},
    {.name = "channels", .attrs = "shape=N,3,5,7 axes=13", .in = (const soma_shape[]){{4, {1, 3, 1, 1}}}},
    {.name = "alternate", .attrs = "shape=2,3,4,5,3 axes=10", .in = (const soma_shape[]){{3, {2, 4, 3}}}},
    {.name = "large", .attrs = "shape=261,263 axes=2 mean=true", .in = (const soma_shape[]){{1, {261}}}},
    {0},
};

const soma_op soma_op_expand = {
    .name = "expand",
    .doc = "y = x copied along a set of axes, divided by the number of copies when mean: the gradient of reductions.",
    .required_in = 1,
    .required_out = 1,
    .attrs_size = sizeof(soma_expand_attrs),
    .fields = fields,
    .error = SOMA_ERROR_ROUNDING, /* a mean divides */
    .infer = infer,
    .grad = gradient,
    .flops = flops,
    .kernels = (const soma_kernel *const[]){SOMA_ISA_LIST(soma_expand_cpu) & reference, NULL},
    .samples = samples,
    .n_in_samples = 1,
};

soma_value soma_expand_at(soma_value x, soma_value like, uint32_t axes, bool mean, soma_at at)
{
    if (!soma_ok(x) || !soma_ok(like))
        return (soma_value){x.graph ? x.graph : like.graph, -1};
    soma_shape from = soma_value_type(x).shape;
    soma_expand_attrs a = {.shape = soma_value_type(like).shape, .mean = mean};
    a.axes = soma_axes(axes, a.shape.rank);
    if (soma_same_shape(&from, &a.shape)) /* one copy */
        return x;
    return soma_apply1(&soma_op_expand, &x, 1, &a, NULL, at);
}
