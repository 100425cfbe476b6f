/* SPDX-License-Identifier: Apache-2.0
 *
 * op/binary/binary.c: the ops of binary.list, y = f(a, b), with NumPy's broadcasting: shapes are aligned at the last
 * axis, and a dimension of 1 (or a missing one) stretches to the other's. The batch stretches against 1 and stays the
 * first axis. A gradient is summed back to its input's shape (sum_to). Knows no function by name.
 */
#include "op/binary/binary.h"

#include "cpu/isa.h"
#include "cpu/parallel.h"
#include "graph/graph.h"
#include "op/unary/unary.h"
#include <soma/ops.h>

/* ---- shapes ---- */

static soma_status infer(soma_infer *i)
{
    const soma_shape *a = &i->in[0].shape, *b = &i->in[1].shape;
    char text[96], other[96];
    if (!soma_is_float(i->in[0].dtype) || i->in[0].dtype != i->in[1].dtype)
        return soma_refuse(i->reason, "both inputs must be f32 or both f64, got %s and %s",
                           soma_type_text(&i->in[0], text), soma_type_text(&i->in[1], other));
    soma_type y = {i->in[0].dtype, {.rank = a->rank > b->rank ? a->rank : b->rank}};
    for (int k = 0; k < y.shape.rank; k++) {
        int ka = k - (y.shape.rank - a->rank), kb = k - (y.shape.rank - b->rank);
        int64_t da = ka < 0 ? 1 : a->dim[ka], db = kb < 0 ? 1 : b->dim[kb];
        if (da != db && da != 1 && db != 1)
            return soma_refuse(i->reason,
                               "%s and %s do not broadcast: counted from the last axis, dimensions must be equal or 1",
                               soma_type_text(&i->in[0], text), soma_type_text(&i->in[1], other));
        y.shape.dim[k] = da == 1 ? db : da;
        if (k > 0 && y.shape.dim[k] < 0)
            return soma_refuse(i->reason, "%s and %s would put the batch behind another axis; reshape the smaller one",
                               soma_type_text(&i->in[0], text), soma_type_text(&i->in[1], other));
    }
    i->out[0] = y;
    return SOMA_OK;
}

static double flops(const void *attrs, const soma_arg *in, int n_in, const soma_arg *out)
{
    (void)attrs, (void)in, (void)n_in;
    return (double)out[0].elements;
}

/* ---- gradients ---- */

#define DA(...) (__VA_ARGS__)
#define DB(...) (__VA_ARGS__)
#define TO_B(v) soma_sum_to_at(v, b, soma_nowhere())
#define BINARY(fn, onnx, part, bound, doc, value, of_a, of_b, samples)                                                 \
    static void fn##_gradient(soma_gradient *g)                                                                        \
    {                                                                                                                  \
        const soma_value a = g->in[0], b = g->in[1], y = g->out[0], dy = g->dout[0];                                   \
        const soma_value da = g->want[0] ? of_a : soma_none();                                                         \
        (void)y;                                                                                                       \
        if (g->want[0])                                                                                                \
            g->din[0] = soma_sum_to_at(da, a, soma_nowhere());                                                         \
        if (g->want[1])                                                                                                \
            g->din[1] = of_b;                                                                                          \
    }
#include "op/binary/binary.list"

/* ---- broadcasting, prepared ---- */

void soma_broadcast_add(soma_broadcast *s, int64_t dim, int64_t a, int64_t b)
{
    if (dim == 1)
        return;
    int last = s->rank - 1; /* joins where both arrays run on from one dimension to the next, or stand still in both */
    if (last >= 0 && s->a[last] == a * dim && s->b[last] == b * dim) {
        s->dim[last] *= dim;
    } else {
        last = s->rank++;
        s->dim[last] = dim;
    }
    s->a[last] = a;
    s->b[last] = b;
}

void soma_broadcast_end(soma_broadcast *s, int64_t n)
{
    if (s->rank == 0) {
        s->dim[0] = s->a[0] = s->b[0] = 1;
        s->rank = 1;
    }
    s->n = n;
    s->rows = n / s->dim[s->rank - 1];
}

void soma_broadcast_plan(soma_broadcast *s, const soma_prepare *p)
{
    const soma_shape *y = &p->out[0].shape;
    int64_t stride[2][SOMA_MAX_RANK];
    for (int k = 0; k < 2; k++)
        soma_strides(&p->in[k].shape, stride[k]);
    for (int i = 0; i < y->rank; i++) {
        int64_t step[2];
        for (int k = 0; k < 2; k++) {
            const soma_shape *x = &p->in[k].shape;
            int at = i - (y->rank - x->rank);
            step[k] = at >= 0 && x->dim[at] > 1 ? stride[k][at] : 0;
        }
        soma_broadcast_add(s, y->dim[i], step[0], step[1]);
    }
    soma_broadcast_end(s, p->out[0].elements);
    s->dtype = p->out[0].dtype;
}

/* ---- reference kernels ---- */

typedef struct walk_job {
    const soma_broadcast *s;
    void *const *arg;
} walk_job;

static void part(void *context, int index, int count)
{
    const walk_job *job = context;
    const soma_broadcast *s = job->s;
    const int last = s->rank - 1;
    int64_t begin, end;
    soma_share(s->rows, 1, index, count, &begin, &end);
    soma_row row;
    soma_row_begin(&row, s, begin);
    for (int64_t r = begin; r < end; r++, soma_row_next(&row, s))
        for (int64_t i = 0; i < s->dim[last]; i++) {
            double a = soma_get(job->arg[0], s->dtype, row.a + i * s->a[last]);
            double b = soma_get(job->arg[1], s->dtype, row.b + i * s->b[last]);
            soma_set(job->arg[2], s->dtype, r * s->dim[last] + i, s->exact(a, b));
        }
}

static soma_status run_reference(const void *state, void *const *arg, soma_run *run)
{
    const soma_broadcast *s = state;
    walk_job job = {s, arg};
    soma_run_parallel(run, s->threads, part, &job);
    return SOMA_OK;
}

static soma_status prepare_reference(soma_prepare *p, double (*exact)(double, double))
{
    soma_broadcast *s = soma_prepare_state(p, sizeof *s);
    if (!s)
        return SOMA_MEMORY;
    soma_broadcast_plan(s, p);
    s->exact = exact;
    s->threads = s->n >= SOMA_ELEMENTWISE_PARALLEL ? p->threads : 1;
    p->parallel = s->threads > 1;
    p->state = s;
    p->run = run_reference;
    return SOMA_OK;
}

#define VALUE(...) (__VA_ARGS__)
#define BINARY(fn, onnx, part, bound, doc, value, ...)                                                                 \
    static double fn##_exact(double a, double b)                                                                       \
    {                                                                                                                  \
        return value;                                                                                                  \
    }                                                                                                                  \
    static soma_status fn##_prepare(soma_prepare *p)                                                                   \
    {                                                                                                                  \
        return prepare_reference(p, fn##_exact);                                                                       \
    }                                                                                                                  \
    static const soma_kernel fn##_reference = {.name = "reference", .exact = true, .prepare = fn##_prepare};           \
    SOMA_BF16_DECLARE(soma_##fn##_cpu)                                                                                 \
    SOMA_ISA_DECLARE(soma_##fn##_cpu)                                                                                  \
    SOMA_ISA_DECLARE(soma_##fn##_broadcast_cpu)
#include "op/binary/binary.list"

/* ---- samples: both ways of broadcasting, ranks 0 to 5 ---- */

#define BINARY_SAMPLES(list, kind)                                                                                     \
    static const soma_sample list[] = {                                                                                \
        {.name = "scalars", .in = (const soma_shape[]){{0, {0}}, {0, {0}}}, .fill = kind},                             \
        {.name = "same", .in = (const soma_shape[]){{2, {SOMA_N, 7}}, {2, {SOMA_N, 7}}}, .fill = kind},                \
        {.name = "image", .in = (const soma_shape[]){{4, {SOMA_N, 3, 5, 7}}, {4, {SOMA_N, 3, 5, 7}}}, .fill = kind},   \
        {.name = "scalar right", .in = (const soma_shape[]){{3, {SOMA_N, 3, 5}}, {0, {0}}}, .fill = kind},             \
        {.name = "scalar left", .in = (const soma_shape[]){{1, {1}}, {2, {3, 5}}}, .fill = kind},                      \
        {.name = "row right", .in = (const soma_shape[]){{2, {SOMA_N, 19}}, {1, {19}}}, .fill = kind},                 \
        {.name = "row left", .in = (const soma_shape[]){{1, {5}}, {2, {4, 5}}}, .fill = kind},                         \
        {.name = "column", .in = (const soma_shape[]){{2, {SOMA_N, 5}}, {2, {SOMA_N, 1}}}, .fill = kind},              \
        {.name = "batch left", .in = (const soma_shape[]){{2, {1, 5}}, {2, {SOMA_N, 5}}}, .fill = kind},               \
        {.name = "channel", .in = (const soma_shape[]){{4, {SOMA_N, 3, 5, 7}}, {4, {1, 3, 1, 1}}}, .fill = kind},      \
        {.name = "both", .in = (const soma_shape[]){{3, {4, 1, 5}}, {2, {3, 1}}}, .fill = kind},                       \
        {.name = "alternate", .in = (const soma_shape[]){{5, {2, 1, 3, 1, 2}}, {5, {1, 3, 1, 4, 2}}}, .fill = kind},   \
        {.name = "large", .in = (const soma_shape[]){{2, {261, 263}}, {2, {261, 263}}}, .fill = kind},                 \
        {.name = "large scalar", .in = (const soma_shape[]){{2, {261, 263}}, {0, {0}}}, .fill = kind},                 \
        {.name = "large row", .in = (const soma_shape[]){{2, {261, 263}}, {1, {263}}}, .fill = kind},                  \
        {0},                                                                                                           \
    };

/* ---- the ops ---- */

#define BINARY_OP(fn, onnx_name, part, bound, text)                                                                    \
    const soma_op soma_op_##fn = {                                                                                     \
        .name = #fn,                                                                                                   \
        .doc = text " Shapes broadcast as in NumPy.",                                                                  \
        .onnx = onnx_name,                                                                                             \
        .required_in = 2,                                                                                              \
        .required_out = 1,                                                                                             \
        .as_tail = part,                                                                                               \
        .inplace_in = 1,                                                                                               \
        .error = SOMA_ERROR_##bound,                                                                                   \
        .infer = infer,                                                                                                \
        .grad = fn##_gradient,                                                                                         \
        .flops = flops,                                                                                                \
        .kernels = (const soma_kernel *const[]){SOMA_BF16_LIST(soma_##fn##_cpu) SOMA_ISA_LIST(soma_##fn##_cpu)         \
                                                        SOMA_ISA_LIST(soma_##fn##_broadcast_cpu) &                     \
                                                    fn##_reference,                                                    \
                                                NULL},                                                                 \
        .samples = fn##_samples,                                                                                       \
        .n_in_samples = 2,                                                                                             \
    };

#define AS_ALONE 0
#define AS_TAIL_ADD SOMA_TAIL_ADD
#define SAMPLES(fills) fills
#define BINARY(fn, onnx, part, bound, doc, value, of_a, of_b, fills)                                                   \
    BINARY_SAMPLES(fn##_samples, fills)                                                                                \
    BINARY_OP(fn, onnx, AS_##part, bound, doc)                                                                         \
    soma_value soma_##fn##_at(soma_value a, soma_value b, soma_at at)                                                  \
    {                                                                                                                  \
        return soma_apply1(&soma_op_##fn, (const soma_value[]){a, b}, 2, NULL, NULL, at);                              \
    }
#include "op/binary/binary.list"
