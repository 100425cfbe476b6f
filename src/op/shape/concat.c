/* SPDX-License-Identifier: Apache-2.0
 *
 * op/shape/concat.c: arrays one after the other along an axis, equal in all others.
 *     dx_i = the slice of dy where x_i stands
 */
#include "cpu/parallel.h"
#include "base/size.h"
#include "graph/graph.h"
#include "tensor/element.h"
#include "op/shape/shape.h"
#include <soma/ops.h>

#include <string.h>

#define SOMA_CONCAT_CHAIN 256 /* inputs up to which an earlier concat is looked for */

static const soma_field fields[] = {
    {.name = "axis",
     .type = SOMA_FIELD_INT,
     .offset = offsetof(soma_concat_attrs, axis),
     .max = SOMA_MAX_RANK - 1,
     .preset = 1,
     .doc = "the axis along which the inputs follow each other; not the batch"},
    {0},
};

static soma_status infer(soma_infer *i)
{
    int axis = (int)((const soma_concat_attrs *)i->attrs)->axis;
    char text[96], other[96];
    soma_type y = i->in[0];
    if (axis >= y.shape.rank)
        return soma_refuse(i->reason, "axis is %d, but input 0 is %s", axis, soma_type_text(&y, text));
    if (y.shape.dim[axis] < 0)
        return soma_refuse(i->reason, "axis %d is the batch of %s; samples cannot be joined to one another", axis,
                           soma_type_text(&y, text));
    for (int j = 1; j < i->n_in; j++) {
        const soma_type *x = &i->in[j];
        soma_shape like = x->shape;
        int64_t size = x->shape.rank == y.shape.rank ? x->shape.dim[axis] : 0;
        like.dim[axis] = y.shape.dim[axis];
        if (x->dtype != y.dtype || size < 1 || !soma_same_shape(&like, &y.shape))
            return soma_refuse(i->reason, "input %d is %s, input 0 is %s; they must be equal but for axis %d", j,
                               soma_type_text(x, text), soma_type_text(&i->in[0], other), axis);
        if (!soma_i64_add(y.shape.dim[axis], size, &y.shape.dim[axis]))
            return soma_refuse(i->reason, "the inputs are too large together along axis %d", axis);
    }
    i->out[0] = y;
    return SOMA_OK;
}

static bool parts(const void *attrs, soma_parts *parts)
{
    *parts = (soma_parts){.joins = true, .axis = (int)((const soma_concat_attrs *)attrs)->axis};
    return true;
}

static void gradient(soma_gradient *g)
{
    int axis = (int)((const soma_concat_attrs *)g->attrs)->axis;
    int64_t at = 0;
    for (int j = 0; j < g->n_in; j++) {
        int64_t size = soma_value_type(g->in[j]).shape.dim[axis];
        if (g->want[j])
            g->din[j] = soma_slice(g->dout[0], .axis = axis, .begin = at, .end = at + size);
        at += size;
    }
}

/* Blocks of the result, each the inputs' blocks one after the other. A block is what stands from the axis on; in a
 * blocked layout all of a sample's channels, in nhwc those of a position. Steps: bytes from a block to the next. */
typedef struct concat_state {
    int64_t blocks;
    int n, threads;
    size_t step; /* of the result */
    struct concat_part {
        size_t bytes, step;
    } part[];
} concat_state;

typedef struct concat_job {
    const concat_state *s;
    void *const *arg;
} concat_job;

/* A share of every part's bytes. A part that was written in place is there already. */
static void concat_share(void *context, int index, int count)
{
    const concat_job *job = context;
    const concat_state *s = job->s;
    char *y = job->arg[s->n];
    for (int j = 0; j < s->n; j++) {
        const struct concat_part *part = &s->part[j];
        const char *x = job->arg[j];
        int64_t begin, end;
        soma_share((int64_t)part->bytes * s->blocks, 64, index, count, &begin, &end);
        for (int64_t at = begin; x != y && at < end;) {
            size_t block = (size_t)at / part->bytes, skip = (size_t)at % part->bytes, n = part->bytes - skip;
            n = n < (size_t)(end - at) ? n : (size_t)(end - at);
            memcpy(y + block * s->step + skip, x + block * part->step + skip, n);
            at += (int64_t)n;
        }
        y += part->bytes;
    }
}

static soma_status run_concat(const void *state, void *const *arg, soma_run *run)
{
    const concat_state *s = state;
    concat_job job = {s, arg};
    soma_run_parallel(run, s->threads, concat_share, &job);
    return SOMA_OK;
}

static soma_status prepare(soma_prepare *p)
{
    int axis = (int)((const soma_concat_attrs *)p->attrs)->axis;
    concat_state *s = soma_prepare_state(p, sizeof *s + (size_t)p->n_in * sizeof s->part[0]);
    if (!s)
        return SOMA_MEMORY;
    s->n = p->n_in;
    s->blocks = soma_blocks_before(&p->out[0], axis);
    s->step = soma_block_step(&p->out[0], s->blocks);
    for (int j = 0; j < p->n_in; j++) {
        s->part[j].bytes = (size_t)(p->in[j].elements / s->blocks) * soma_dtype_size(p->in[j].dtype);
        s->part[j].step = soma_block_step(&p->in[j], s->blocks);
    }
    s->threads = (int64_t)s->step * s->blocks >= SOMA_COPY_PARALLEL ? p->threads : 1;
    p->parallel = s->threads > 1;
    p->state = s;
    p->run = run_concat;
    return SOMA_OK;
}

static soma_status accept_channels(soma_prepare *p)
{
    if (((const soma_concat_attrs *)p->attrs)->axis == 1 && p->out[0].shape.rank == 4)
        return SOMA_OK;
    return soma_refuse(p->reason, "this kernel joins channels of images");
}

static const soma_kernel channels = {.name = "copy channels",
                                     .exact = true,
                                     .bf16 = SOMA_BF16_FOLLOW,
                                     .layouts = SOMA_LAYOUT_TOGETHER,
                                     .strided = SOMA_STRIDED_ALL,
                                     .accept = accept_channels,
                                     .prepare = prepare};
static const soma_kernel reference = {.name = "copy", .exact = true, .bf16 = SOMA_BF16_FOLLOW, .prepare = prepare};

static const soma_sample samples[] = {
    {.name = "rows", .in = (const soma_shape[]){{2, {SOMA_N, 3}}, {2, {SOMA_N, 5}}, {2, {SOMA_N, 1}}}},
    {.name = "channels",
     .in = (const soma_shape[]){{4, {SOMA_N, 2, 3, 5}}, {4, {SOMA_N, 1, 3, 5}}, {4, {SOMA_N, 3, 3, 5}}}},
    {.name = "blocks of channels",
     .in = (const soma_shape[]){{4, {SOMA_N, 16, 3, 5}}, {4, {SOMA_N, 48, 3, 5}}, {4, {SOMA_N, 32, 3, 5}}}},
    {.name = "front", .attrs = "axis=0", .in = (const soma_shape[]){{2, {2, 7}}, {2, {1, 7}}, {2, {3, 7}}}},
    {.name = "last", .attrs = "axis=2", .in = (const soma_shape[]){{3, {2, 3, 1}}, {3, {2, 3, 4}}, {3, {2, 3, 2}}}},
    {.name = "vectors", .attrs = "axis=0", .in = (const soma_shape[]){{1, {1}}, {1, {5}}, {1, {2}}}},
    {0},
};

const soma_op soma_op_concat = {
    .name = "concat",
    .doc = "Arrays one after the other along an axis, equal in all others.",
    .onnx = "Concat",
    .required_in = -1,
    .required_out = 1,
    .attrs_size = sizeof(soma_concat_attrs),
    .fields = fields,
    .infer = infer,
    .grad = gradient,
    .parts = parts,
    .kernels = (const soma_kernel *const[]){&channels, &reference, NULL},
    .samples = samples,
    .n_in_samples = 3,
};

static const soma_graph_node *concat_of(const soma_graph *graph, int32_t value, int64_t axis)
{
    int made = value >= 0 ? graph->values[value].node : -1;
    const soma_graph_node *node = made >= 0 ? &graph->nodes[made] : NULL;
    return node && node->op == &soma_op_concat && ((const soma_concat_attrs *)node->attrs)->axis == axis ? node : NULL;
}

/* Does the node join x[0 .. n-1], its first input perhaps being a concat of the first of them? */
static bool joins(const soma_graph *graph, const soma_graph_node *node, const soma_value *x, int n, int64_t axis)
{
    for (; node; node = concat_of(graph, node->in[0], axis)) {
        for (int j = node->n_in - 1; j > 0; j--)
            if (n < 2 || x[--n].id != node->in[j])
                return false;
        if (n == 1 && x[0].id == node->in[0])
            return true;
    }
    return false;
}

/* The longest beginning of x that an earlier concat has joined: how many, and its result. Dense blocks join all layers
 * so far before every layer; with the beginning as one input, gradients add up along the chain and planning lets all of
 * it share one array. */
static int find_beginning(const soma_value *x, int n, int64_t axis, soma_value *joined)
{
    const soma_graph *graph = x[0].graph;
    for (int most = n - 1; most > 1; most--)
        for (int i = graph->n_nodes - 1; i >= 0; i--) {
            const soma_graph_node *node = concat_of(graph, graph->nodes[i].out[0], axis);
            if (node && joins(graph, node, x, most, axis)) {
                *joined = soma_value_in(x[0].graph, node->out[0]);
                return most;
            }
        }
    return 0;
}

soma_value soma_concat_at(const soma_value *x, int n, int axis, soma_at at)
{
    soma_concat_attrs a = {axis};
    soma_value in[SOMA_CONCAT_CHAIN];
    int joined = 0;
    for (int i = 0; i < n && n <= SOMA_CONCAT_CHAIN && soma_ok(x[i]) && x[i].graph == x[0].graph; i++)
        joined = i == n - 1 ? find_beginning(x, n, axis, in) : 0;
    if (!joined)
        return soma_apply1(&soma_op_concat, x, n, &a, NULL, at);
    for (int i = joined; i < n; i++)
        in[i - joined + 1] = x[i];
    return soma_apply1(&soma_op_concat, in, n - joined + 1, &a, NULL, at);
}
