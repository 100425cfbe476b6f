/* SPDX-License-Identifier: Apache-2.0
 *
 * op/shape/transpose.c: axes in a new order, y[i_order[0], i_order[1], ...] = x[i_0, i_1, ...].
 * The batch stays in front.
 *     dx = dy with its axes in the inverse order
 */
#include "cpu/parallel.h"
#include "graph/graph.h"
#include "op/binary/binary.h"
#include "op/shape/shape.h"
#include <soma/ops.h>

#include <string.h>

static const soma_field fields[] = {
    {.name = "order",
     .type = SOMA_FIELD_SHAPE,
     .offset = offsetof(soma_transpose_attrs, order),
     .doc = "for each axis of the result, the axis of x that it is"},
    {0},
};

static soma_status infer(soma_infer *i)
{
    const soma_shape *order = &((const soma_transpose_attrs *)i->attrs)->order, *x = &i->in[0].shape;
    char text[96];
    soma_type y = i->in[0];
    uint32_t seen = 0;
    bool fits = order->rank == x->rank;
    for (int k = 0; fits && k < x->rank; k++) {
        fits = order->dim[k] >= 0 && order->dim[k] < x->rank && !(seen >> order->dim[k] & 1);
        if (fits) {
            seen |= 1u << order->dim[k];
            y.shape.dim[k] = x->dim[order->dim[k]];
        }
    }
    if (!fits)
        return soma_refuse(i->reason, "order must name each of the %d axes of %s once, counted from 0", x->rank,
                           soma_type_text(&i->in[0], text));
    for (int k = 1; k < x->rank; k++)
        if (y.shape.dim[k] < 0)
            return soma_refuse(i->reason,
                               "the batch must stay the first axis, but order moves it to axis %d of the result", k);
    i->out[0] = y;
    return SOMA_OK;
}

static void gradient(soma_gradient *g)
{
    const soma_shape *order = &((const soma_transpose_attrs *)g->attrs)->order;
    soma_shape inverse = *order;
    for (int k = 0; k < order->rank; k++)
        inverse.dim[order->dim[k]] = k;
    if (g->want[0])
        g->din[0] = soma_transpose(g->dout[0], inverse);
}

/* ---- the kernel: rows of the result, `a` the step in x; where neighbours of a row lie apart in x, small tiles keep
 * both sides in the cache ---- */

#define TILE 16

typedef struct transpose_job {
    const soma_broadcast *s;
    const char *x;
    char *y;
    size_t size;
} transpose_job;

typedef struct transpose_state {
    soma_broadcast walk;
    size_t size;
} transpose_state;

#define COPY_TILE(type)                                                                                                \
    static void tile_##type(const type *x, type *y, int64_t rows, int64_t n, int64_t x_row, int64_t x_step,            \
                            int64_t y_row)                                                                             \
    {                                                                                                                  \
        for (int64_t i = 0; i < n; i += TILE)                                                                          \
            for (int64_t r = 0; r < rows; r++)                                                                         \
                for (int64_t j = i; j < n && j < i + TILE; j++)                                                        \
                    y[r * y_row + j] = x[r * x_row + j * x_step];                                                      \
    }
COPY_TILE(uint8_t)
COPY_TILE(uint32_t)
COPY_TILE(uint64_t)

static void copy_tile(const transpose_job *job, int64_t x_at, int64_t y_at, int64_t rows, int64_t x_row)
{
    const soma_broadcast *s = job->s;
    const int64_t n = s->dim[s->rank - 1], step = s->a[s->rank - 1];
    const void *x = job->x + (size_t)x_at * job->size;
    void *y = job->y + (size_t)y_at * job->size;
    if (step == 1 && rows == 1)
        memcpy(y, x, (size_t)n * job->size);
    else if (job->size == 4)
        tile_uint32_t(x, y, rows, n, x_row, step, n);
    else if (job->size == 8)
        tile_uint64_t(x, y, rows, n, x_row, step, n);
    else
        tile_uint8_t(x, y, rows, n, x_row, step, n);
}

static void part(void *context, int index, int count)
{
    const transpose_job *job = context;
    const soma_broadcast *s = job->s;
    const bool runs = s->a[s->rank - 1] == 1;
    int64_t begin, end;
    soma_share(s->rows, TILE, index, count, &begin, &end);
    soma_row row;
    soma_row_begin(&row, s, begin);
    while (begin < end) {
        int64_t rows = 1, x_row = 0, at = row.a;
        if (!runs && s->rank > 1) { /* up to TILE rows that are neighbours along one dimension */
            int64_t left = s->dim[s->rank - 2] - row.index[s->rank - 2];
            rows = end - begin < TILE ? end - begin : TILE;
            rows = rows < left ? rows : left;
            x_row = s->a[s->rank - 2];
        }
        copy_tile(job, at, begin * s->dim[s->rank - 1], rows, x_row);
        for (int64_t r = 0; r < rows; r++)
            soma_row_next(&row, s);
        begin += rows;
    }
}

static soma_status run_transpose(const void *state, void *const *arg, soma_run *run)
{
    const transpose_state *s = state;
    transpose_job job = {&s->walk, arg[0], arg[1], s->size};
    soma_run_parallel(run, s->walk.threads, part, &job);
    return SOMA_OK;
}

static soma_status prepare(soma_prepare *p)
{
    transpose_state *s = soma_prepare_state(p, sizeof *s);
    if (!s)
        return SOMA_MEMORY;
    const soma_shape *order = &((const soma_transpose_attrs *)p->attrs)->order;
    int64_t stride[SOMA_MAX_RANK];
    soma_strides(&p->in[0].shape, stride);
    for (int k = 0; k < order->rank; k++)
        soma_broadcast_add(&s->walk, p->out[0].shape.dim[k], stride[order->dim[k]], 0);
    soma_broadcast_end(&s->walk, p->out[0].elements);
    s->size = soma_dtype_size(p->out[0].dtype);
    s->walk.threads = s->walk.n * (int64_t)s->size >= SOMA_COPY_PARALLEL ? p->threads : 1;
    p->parallel = s->walk.threads > 1;
    p->state = s;
    p->run = run_transpose;
    return SOMA_OK;
}

static const soma_kernel reference = {.name = "copy", .exact = true, .prepare = prepare};

static const soma_sample samples[] = {
    {.name = "matrix", .attrs = "order=1,0", .in = (const soma_shape[]){{2, {37, 19}}}},
    {.name = "sequence", .attrs = "order=0,2,1", .in = (const soma_shape[]){{3, {SOMA_N, 5, 7}}}},
    {.name = "to nhwc", .attrs = "order=0,2,3,1", .in = (const soma_shape[]){{4, {SOMA_N, 3, 5, 7}}}},
    {.name = "identity", .attrs = "order=0,1", .in = (const soma_shape[]){{2, {SOMA_N, 5}}}},
    {.name = "mixed", .attrs = "order=3,0,4,2,1", .in = (const soma_shape[]){{5, {2, 3, 1, 4, 5}}}},
    {.name = "runs", .attrs = "order=1,0,2", .in = (const soma_shape[]){{3, {3, 4, 5}}}},
    {.name = "scalar", .attrs = "", .in = (const soma_shape[]){{0, {0}}}},
    {.name = "large", .attrs = "order=1,0", .in = (const soma_shape[]){{2, {261, 263}}}},
    {0},
};

const soma_op soma_op_transpose = {
    .name = "transpose",
    .doc = "Axes in a new order; the batch stays in front.",
    .onnx = "Transpose",
    .required_in = 1,
    .required_out = 1,
    .attrs_size = sizeof(soma_transpose_attrs),
    .fields = fields,
    .infer = infer,
    .grad = gradient,
    .kernels = (const soma_kernel *const[]){&reference, NULL},
    .samples = samples,
    .n_in_samples = 1,
};

soma_value soma_transpose_at(soma_value x, soma_shape order, soma_at at)
{
    soma_transpose_attrs a = {order};
    return soma_apply1(&soma_op_transpose, &x, 1, &a, NULL, at);
}
