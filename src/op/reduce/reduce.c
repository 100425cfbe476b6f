/* SPDX-License-Identifier: Apache-2.0
 *
 * op/reduce/reduce.c: sum, mean and maximum over a set of axes, and sum_to, which sums down to a given shape (the
 * gradient of broadcasting). A mean divides by the elements of the full batch, so that pieces of the batch add up to
 * it. Gradients:
 *     reduce_sum    dx = dy, copied along the axes
 *     reduce_mean   dx = dy / count, copied along the axes
 *     reduce_max    dx = dy where x is the maximum, shared evenly among ties, as by PyTorch 2.15's torch.amax (ONNX
 *                   leaves it open)
 */
#include "op/reduce/reduce.h"

#include "cpu/isa.h"
#include "cpu/parallel.h"
#include "graph/graph.h"
#include "base/fields.h"
#include <soma/ops.h>

#include <math.h>
#include <string.h>

extern const soma_op soma_op_reduce_sum, soma_op_reduce_mean, soma_op_reduce_max, soma_op_sum_to, soma_op_max_share;

/* ---- attributes ---- */

static const soma_field fields[] = {
    {.name = "axes",
     .type = SOMA_FIELD_INT,
     .offset = offsetof(soma_reduce_attrs, axes),
     .max = 255,
     .doc = "axes to reduce, a bit each (1: the first, 2: the second, 4: the third); 0: all"},
    {.name = "keep_dims",
     .type = SOMA_FIELD_BOOL,
     .offset = offsetof(soma_reduce_attrs, keep_dims),
     .max = 1,
     .doc = "reduced axes stay, with size 1"},
    {0},
};

static const soma_field sum_to_fields[] = {
    {.name = "shape",
     .type = SOMA_FIELD_SHAPE,
     .offset = offsetof(soma_sum_to_attrs, shape),
     .doc = "the result's shape, one that broadcasts to the input's"},
    {0},
};

/* ---- shapes ---- */

static soma_status infer(soma_infer *i)
{
    const soma_reduce_attrs *a = i->attrs;
    const soma_type *x = &i->in[0];
    char text[96];
    if (!soma_is_float(x->dtype))
        return soma_refuse(i->reason, "x must be f32 or f64, got %s", soma_type_text(x, text));
    uint32_t axes = soma_axes(a->axes, x->shape.rank);
    if (axes >> x->shape.rank)
        return soma_refuse(i->reason, "axes names axis %d, but x is %s; axes count from 0, the batch included",
                           31 - __builtin_clz(axes), soma_type_text(x, text));
    soma_type y = {x->dtype, {.rank = 0}};
    for (int k = 0; k < x->shape.rank; k++) {
        bool gone = axes >> k & 1;
        if (!gone || a->keep_dims)
            y.shape.dim[y.shape.rank++] = gone ? 1 : x->shape.dim[k];
    }
    i->out[0] = y;
    return SOMA_OK;
}

/* Axes of x that sum_to reduces: those that the result lacks or has as 1. */
static uint32_t sum_to_axes(const soma_shape *x, const soma_shape *y)
{
    uint32_t axes = 0;
    for (int k = 0; k < x->rank; k++) {
        int at = k - (x->rank - y->rank);
        if (at < 0 || (y->dim[at] == 1 && x->dim[k] != 1))
            axes |= SOMA_AXIS(k);
    }
    return axes;
}

static soma_status sum_to_infer(soma_infer *i)
{
    const soma_sum_to_attrs *a = i->attrs;
    const soma_shape *x = &i->in[0].shape, *y = &a->shape;
    char text[96], other[96];
    soma_type result = {i->in[0].dtype, *y};
    bool fits = y->rank <= x->rank;
    for (int k = 0; fits && k < y->rank; k++)
        fits = y->dim[k] == 1 || y->dim[k] == x->dim[k + x->rank - y->rank];
    if (!soma_is_float(i->in[0].dtype) || !fits)
        return soma_refuse(i->reason, "%s cannot be summed down to %s: the smaller shape must broadcast to the larger",
                           soma_type_text(&i->in[0], text), soma_type_text(&result, other));
    i->out[0] = result;
    return SOMA_OK;
}

static double flops(const void *attrs, const soma_arg *in, int n_in, const soma_arg *out)
{
    (void)attrs, (void)n_in, (void)out;
    return (double)in[0].elements;
}

/* ---- gradients ---- */

static void spread(soma_gradient *g, bool mean)
{
    const soma_reduce_attrs *a = g->attrs;
    if (g->want[0])
        g->din[0] = soma_expand_at(g->dout[0], g->in[0], (uint32_t)a->axes, mean, soma_nowhere());
}

static void reduce_sum_gradient(soma_gradient *g)
{
    spread(g, false);
}

static void reduce_mean_gradient(soma_gradient *g)
{
    spread(g, true);
}

static void reduce_max_gradient(soma_gradient *g)
{
    spread(g, false);
    if (!g->want[0])
        return;
    soma_value share = soma_apply1(&soma_op_max_share, (const soma_value[]){g->in[0], g->out[0]}, 2, g->attrs, NULL,
                                   soma_nowhere());
    g->din[0] = soma_mul(share, g->din[0]);
}

/* dy gets x's rank, with 1 where sum_to summed, and is copied along those axes. */
static void sum_to_gradient(soma_gradient *g)
{
    const soma_sum_to_attrs *a = g->attrs;
    if (!g->want[0])
        return;
    soma_shape x = soma_value_type(g->in[0]).shape, like = x;
    uint32_t axes = sum_to_axes(&x, &a->shape);
    for (int k = 0; k < x.rank; k++)
        like.dim[k] = axes >> k & 1 ? 1 : x.dim[k];
    soma_value dy = soma_same_shape(&like, &a->shape) ? g->dout[0] : soma_reshape(g->dout[0], like);
    g->din[0] = axes ? soma_expand_at(dy, g->in[0], axes, false, soma_nowhere()) : dy;
}

/* ---- preparing ---- */

/* By name: a program may run a copy of an op with fewer kernels. */
static bool is(const soma_prepare *p, const soma_op *op)
{
    return !strcmp(p->op->name, op->name);
}

static uint32_t axes_of(const soma_prepare *p)
{
    if (is(p, &soma_op_sum_to))
        return sum_to_axes(&p->in[0].shape, &p->out[0].shape);
    const soma_reduce_attrs *a = p->attrs;
    return soma_axes(a->axes, p->in[0].shape.rank);
}

void soma_reduction_plan(soma_reduction *s, const soma_prepare *p)
{
    const soma_shape *x = &p->in[0].shape;
    uint32_t axes = axes_of(p);
    s->n_in = p->in[0].elements;
    s->n_out = is(p, &soma_op_max_share) ? p->in[1].elements : p->out[0].elements;
    s->dtype = p->in[0].dtype;
    s->max = is(p, &soma_op_reduce_max);
    bool mean = is(p, &soma_op_reduce_mean);
    s->divisor = mean ? soma_full_elements(p, &p->in[0]) / soma_full_elements(p, &p->out[0]) : 1;
    s->scale = (float)(1 / s->divisor);
    for (int k = 0; k < x->rank; k++) {
        bool gone = axes >> k & 1;
        if (x->dim[k] == 1)
            continue;
        if (s->rank && s->reduced[s->rank - 1] == gone) {
            s->dim[s->rank - 1] *= x->dim[k];
        } else {
            s->reduced[s->rank] = gone;
            s->dim[s->rank++] = x->dim[k];
        }
    }
    int64_t in = 1, out = 1;
    for (int k = s->rank - 1; k >= 0; k--) {
        s->in_step[k] = in;
        s->out_step[k] = s->reduced[k] ? 0 : out;
        in *= s->dim[k];
        out *= s->reduced[k] ? 1 : s->dim[k];
    }
}

/* ---- reference kernels: a result is one loop over its elements in memory order, in f64 ---- */

typedef struct reduce_job {
    const soma_reduction *s;
    void *const *arg;
} reduce_job;

/* Steps through the dimensions that are reduced (or those that are kept); false after the last. */
static bool next_index(const soma_reduction *s, bool reduced, int64_t index[SOMA_MAX_RANK], int64_t *at)
{
    for (int k = s->rank - 1; k >= 0; k--) {
        if (s->reduced[k] != reduced)
            continue;
        *at += s->in_step[k];
        if (++index[k] < s->dim[k])
            return true;
        *at -= s->in_step[k] * s->dim[k];
        index[k] = 0;
    }
    return false;
}

/* Position in x of the first element of result i. */
static int64_t first_of(const soma_reduction *s, int64_t i)
{
    int64_t at = 0;
    for (int k = s->rank - 1; k >= 0; k--) {
        if (s->reduced[k])
            continue;
        at += i % s->dim[k] * s->in_step[k];
        i /= s->dim[k];
    }
    return at;
}

static void part(void *context, int index, int count)
{
    const reduce_job *job = context;
    const soma_reduction *s = job->s;
    int64_t begin, end;
    soma_share(s->n_out, 1, index, count, &begin, &end);
    for (int64_t i = begin; i < end; i++) {
        int64_t at = first_of(s, i), where[SOMA_MAX_RANK] = {0};
        double y = s->max ? -INFINITY : 0;
        do {
            double x = soma_get(job->arg[0], s->dtype, at);
            if (!s->max)
                y += x;
            else if (x > y || x != x) /* a NaN wins and stays */
                y = x;
        } while (next_index(s, true, where, &at));
        soma_set(job->arg[1], s->dtype, i, y / s->divisor);
    }
}

/* Inputs x and y = max x: 1 / (number of maxima) where x is one, else 0; NaN where y is NaN. */
static void share_part(void *context, int index, int count)
{
    const reduce_job *job = context;
    const soma_reduction *s = job->s;
    int64_t begin, end;
    soma_share(s->n_out, 1, index, count, &begin, &end);
    for (int64_t i = begin; i < end; i++) {
        int64_t at = first_of(s, i), where[SOMA_MAX_RANK] = {0};
        double y = soma_get(job->arg[1], s->dtype, i), ties = 0;
        do
            ties += soma_get(job->arg[0], s->dtype, at) == y;
        while (next_index(s, true, where, &at));
        double share = 1 / ties, none = y == y ? 0 : y;
        do
            soma_set(job->arg[2], s->dtype, at, soma_get(job->arg[0], s->dtype, at) == y ? share : none);
        while (next_index(s, true, where, &at));
    }
}

static soma_status run_reference(const void *state, void *const *arg, soma_run *run)
{
    const soma_reduction *s = state;
    reduce_job job = {s, arg};
    soma_run_parallel(run, s->threads, part, &job);
    return SOMA_OK;
}

static soma_status run_share(const void *state, void *const *arg, soma_run *run)
{
    const soma_reduction *s = state;
    reduce_job job = {s, arg};
    soma_run_parallel(run, s->threads, share_part, &job);
    return SOMA_OK;
}

static soma_status prepare_reference(soma_prepare *p)
{
    soma_reduction *s = soma_prepare_state(p, sizeof *s);
    if (!s)
        return SOMA_MEMORY;
    soma_reduction_plan(s, p);
    s->threads = s->n_in >= SOMA_REDUCE_PARALLEL && s->n_out > 1 ? p->threads : 1;
    p->parallel = s->threads > 1;
    p->state = s;
    p->run = is(p, &soma_op_max_share) ? run_share : run_reference;
    return SOMA_OK;
}

static const soma_kernel reference = {.name = "reference", .exact = true, .prepare = prepare_reference};
SOMA_ISA_DECLARE(soma_reduce_cpu)

/* ---- samples ---- */

#define REDUCE_SAMPLES(list, kind)                                                                                     \
    static const soma_sample list[] = {                                                                                \
        {.name = "scalar", .in = (const soma_shape[]){{0, {0}}}, .fill = kind},                                        \
        {.name = "vector", .in = (const soma_shape[]){{1, {77}}}, .fill = kind},                                       \
        {.name = "all", .in = (const soma_shape[]){{3, {SOMA_N, 5, 7}}}, .fill = kind},                                \
        {.name = "all kept", .attrs = "keep_dims=true", .in = (const soma_shape[]){{2, {SOMA_N, 5}}}, .fill = kind},   \
        {.name = "batch", .attrs = "axes=1", .in = (const soma_shape[]){{2, {SOMA_N, 10}}}, .fill = kind},             \
        {.name = "columns 1", .attrs = "axes=1", .in = (const soma_shape[]){{2, {32, 1}}}, .fill = kind},              \
        {.name = "columns 4", .attrs = "axes=1", .in = (const soma_shape[]){{2, {10, 4}}}, .fill = kind},              \
        {.name = "columns 83", .attrs = "axes=1", .in = (const soma_shape[]){{2, {13, 83}}}, .fill = kind},            \
        {.name = "rows",                                                                                               \
         .attrs = "axes=2 keep_dims=true",                                                                             \
         .in = (const soma_shape[]){{2, {SOMA_N, 37}}},                                                                \
         .fill = kind},                                                                                                \
        {.name = "pixels", .attrs = "axes=12", .in = (const soma_shape[]){{4, {SOMA_N, 3, 5, 7}}}, .fill = kind},      \
        {.name = "channels", .attrs = "axes=13", .in = (const soma_shape[]){{4, {SOMA_N, 3, 5, 7}}}, .fill = kind},    \
        {.name = "middle", .attrs = "axes=2", .in = (const soma_shape[]){{3, {SOMA_N, 5, 19}}}, .fill = kind},         \
        {.name = "alternate", .attrs = "axes=10", .in = (const soma_shape[]){{5, {2, 3, 4, 5, 3}}}, .fill = kind},     \
        {.name = "alternate first",                                                                                    \
         .attrs = "axes=21",                                                                                           \
         .in = (const soma_shape[]){{5, {2, 3, 4, 5, 3}}},                                                             \
         .fill = kind},                                                                                                \
        {.name = "size one", .attrs = "axes=5", .in = (const soma_shape[]){{4, {1, 6, 1, 3}}}, .fill = kind},          \
        {.name = "large", .in = (const soma_shape[]){{2, {261, 263}}}, .fill = kind},                                  \
        {.name = "large rows", .attrs = "axes=2", .in = (const soma_shape[]){{2, {261, 263}}}, .fill = kind},          \
        {.name = "large columns", .attrs = "axes=1", .in = (const soma_shape[]){{2, {6601, 10}}}, .fill = kind},       \
        {.name = "large channels", .attrs = "axes=5", .in = (const soma_shape[]){{3, {5, 11, 1301}}}, .fill = kind},   \
        {0},                                                                                                           \
    };

REDUCE_SAMPLES(any_samples, "n")
REDUCE_SAMPLES(distinct_samples, "d") /* at a tie the maximum has a corner */

static const soma_sample sum_to_samples[] = {
    {.name = "row", .attrs = "shape=19", .in = (const soma_shape[]){{2, {SOMA_N, 19}}}},
    {.name = "column", .attrs = "shape=N,1", .in = (const soma_shape[]){{2, {SOMA_N, 5}}}},
    {.name = "channel", .attrs = "shape=1,3,1,1", .in = (const soma_shape[]){{4, {SOMA_N, 3, 5, 7}}}},
    {.name = "dropped and kept", .attrs = "shape=3,1", .in = (const soma_shape[]){{3, {2, 3, 4}}}},
    {.name = "scalar", .attrs = "shape=1", .in = (const soma_shape[]){{3, {SOMA_N, 3, 2}}}},
    {.name = "nothing", .attrs = "shape=3,4", .in = (const soma_shape[]){{3, {1, 3, 4}}}},
    {0},
};

/* One-hot rows: in columns of zeros all are maxima, in others y may be no element at all. */
static const soma_sample share_samples[] = {
    {.name = "rows",
     .attrs = "axes=2 keep_dims=true",
     .in = (const soma_shape[]){{2, {SOMA_N, 7}}, {2, {SOMA_N, 1}}},
     .fill = "oo",
     .no_gradient = true},
    {.name = "columns",
     .attrs = "axes=1 keep_dims=true",
     .in = (const soma_shape[]){{2, {9, 5}}, {2, {1, 5}}},
     .fill = "oo",
     .no_gradient = true},
    {0},
};

/* ---- the ops ---- */

#define REDUCE_OP(fn, onnx_name, rule, bound, list, text)                                                              \
    const soma_op soma_op_##fn = {                                                                                     \
        .name = #fn,                                                                                                   \
        .doc = text,                                                                                                   \
        .onnx = onnx_name,                                                                                             \
        .required_in = 1,                                                                                              \
        .required_out = 1,                                                                                             \
        .attrs_size = sizeof(soma_reduce_attrs),                                                                       \
        .fields = fields,                                                                                              \
        .batch = rule,                                                                                                 \
        .error = bound,                                                                                                \
        .infer = infer,                                                                                                \
        .grad = fn##_gradient,                                                                                         \
        .flops = flops,                                                                                                \
        .kernels = (const soma_kernel *const[]){SOMA_ISA_LIST(soma_reduce_cpu) & reference, NULL},                     \
        .samples = list,                                                                                               \
        .n_in_samples = 1,                                                                                             \
    };

REDUCE_OP(reduce_sum, "ReduceSum", SOMA_BATCH_SUM, SOMA_ERROR_SUM, any_samples, "Sum over a set of axes.")
REDUCE_OP(reduce_mean, "ReduceMean", SOMA_BATCH_SUM, SOMA_ERROR_SUM, any_samples, "Mean over a set of axes.")
REDUCE_OP(reduce_max, "ReduceMax", SOMA_BATCH_WHOLE, SOMA_ERROR_EXACT, distinct_samples,
          "Maximum over a set of axes; a NaN wins. The gradient is shared evenly among ties, as by PyTorch 2.15's "
          "torch.amax.")

const soma_op soma_op_sum_to = {
    .name = "sum_to",
    .doc = "Sum down to a shape that broadcasts to x's: the gradient of broadcasting.",
    .required_in = 1,
    .required_out = 1,
    .attrs_size = sizeof(soma_sum_to_attrs),
    .fields = sum_to_fields,
    .batch = SOMA_BATCH_SUM,
    .error = SOMA_ERROR_SUM,
    .infer = sum_to_infer,
    .grad = sum_to_gradient,
    .flops = flops,
    .kernels = (const soma_kernel *const[]){SOMA_ISA_LIST(soma_reduce_cpu) & reference, NULL},
    .samples = sum_to_samples,
    .n_in_samples = 1,
};

/* ---- max_share ---- */

static soma_status share_infer(soma_infer *i)
{
    const soma_type *x = &i->in[0], *y = &i->in[1];
    char text[96], other[96];
    soma_type max;
    soma_infer inner = {i->attrs, 1, 1, x, &max, i->reason};
    if (infer(&inner) != SOMA_OK)
        return SOMA_INVALID;
    if (y->dtype != x->dtype || !soma_same_shape(&y->shape, &max.shape))
        return soma_refuse(i->reason, "y must be the maxima of x, of type %s, got %s", soma_type_text(&max, text),
                           soma_type_text(y, other));
    i->out[0] = *x;
    return SOMA_OK;
}

/* Steps only: the derivative is 0 wherever there is one, so no gradient flows. */
static void share_gradient(soma_gradient *g)
{
    (void)g;
}

const soma_op soma_op_max_share = {
    .name = "max_share",
    .doc = "1 / (number of elements of x that equal y) where x equals y, else 0: the gradient of reduce_max. "
           "Inputs x, y.",
    .required_in = 2,
    .required_out = 1,
    .attrs_size = sizeof(soma_reduce_attrs),
    .fields = fields,
    .error = SOMA_ERROR_LOOSE,
    .infer = share_infer,
    .grad = share_gradient,
    .flops = flops,
    .kernels = (const soma_kernel *const[]){&reference, NULL},
    .samples = share_samples,
    .n_in_samples = 2,
};

/* ---- builders ---- */

SOMA_TABLE(soma_reduce_options) = {
    SOMA_OTHER(soma_reduce_options, x, .doc = "what it is computed from"),
    SOMA_OTHER(soma_reduce_options, axes, .doc = "a set of axes, SOMA_AXIS(1) | SOMA_AXIS(2); 0: all"),
    SOMA_BOOL(soma_reduce_options, keep_dims, .doc = "reduced axes stay, with size 1"), SOMA_FIELDS_END};

static soma_value reduce(const soma_op *op, const soma_reduce_options *given)
{
    soma_reduce_options o;
    soma_value failed;
    if (!SOMA_TAKE_X(op->name, soma_reduce_options, given, &o, &failed))
        return failed;
    soma_reduce_attrs a = {.keep_dims = o.keep_dims, .axes = o.axes};
    if (soma_ok(o.x))
        a.axes = soma_axes(o.axes, soma_value_type(o.x).shape.rank);
    return soma_apply1(op, &o.x, 1, &a, NULL, o.at);
}

#define REDUCE_BUILDER(fn)                                                                                             \
    soma_value soma_##fn##_with(const soma_reduce_options *o)                                                          \
    {                                                                                                                  \
        return reduce(&soma_op_##fn, o);                                                                               \
    }
REDUCE_BUILDER(reduce_sum)
REDUCE_BUILDER(reduce_mean)
REDUCE_BUILDER(reduce_max)

soma_value soma_sum_to_at(soma_value x, soma_value like, soma_at at)
{
    if (!soma_ok(x) || !soma_ok(like))
        return (soma_value){x.graph ? x.graph : like.graph, -1};
    soma_shape from = soma_value_type(x).shape;
    soma_sum_to_attrs a = {soma_value_type(like).shape};
    if (soma_same_shape(&from, &a.shape))
        return x;
    return soma_apply1(&soma_op_sum_to, &x, 1, &a, NULL, at);
}
