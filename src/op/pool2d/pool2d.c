/* SPDX-License-Identifier: Apache-2.0
 *
 * op/pool2d/pool2d.c: pooling over windows of H and W, ONNX MaxPool and AveragePool. Window (oh, ow) holds the elements
 * x[n, c, oh sh - top + i, ow sw - left + j] that exist, 0 <= i < size[0], 0 <= j < size[1].
 *
 *     max_pool2d         y = the largest; index = i size[1] + j of the first largest (u8): all the gradient reads; with
 *                        an activation: y = act(the largest)
 *     max_pool2d_grad    dx = sum of gate(y, dy) over the windows that dx's element won
 *     max_pool2d_gather  y' = x' at the element that won: the gradient of max_pool2d_grad with respect to dy
 *     average_pool2d     y = the mean; with count_padding: sum / window size
 *     average_pool2d_grad
 */
#include "op/pool2d/pool2d.h"

#include "cpu/isa.h"
#include "graph/graph.h"
#include "tensor/element.h"
#include "op/sample.h"
#include <soma/ops.h>

#include <stddef.h>
#include <string.h>

/* ---- attributes ---- */

#define AT(field) offsetof(soma_pool2d_attrs, field)
#define END                                                                                                            \
    {                                                                                                                  \
        NULL, 0, 0, 0, 0, 0, 0, NULL, NULL                                                                             \
    }
#define WINDOW                                                                                                         \
    {"size", SOMA_FIELD_INTS, AT(size), 2, 2, 1, 1e6, NULL, "the window: height, width"},                              \
        {"stride", SOMA_FIELD_INTS, AT(stride), 2, 2, 1, 1e6, NULL, "steps of the window: down, right"},               \
    {                                                                                                                  \
        "pad", SOMA_FIELD_INTS, AT(pad), 4, 0, 0, 1e6, NULL, "around x: top, left, bottom, right"                      \
    }
#define CEIL                                                                                                           \
    {                                                                                                                  \
        "ceil_mode", SOMA_FIELD_BOOL, AT(ceil_mode), 0, 0, 0, 1, NULL,                                                 \
            "the last window may reach beyond x and its padding, but must begin inside"                                \
    }
#define INPUT_SIZE                                                                                                     \
    {                                                                                                                  \
        "input_size", SOMA_FIELD_INTS, AT(input_size), 2, 1, 1, 1e12, NULL, "height and width of dx"                   \
    }
#define COUNT                                                                                                          \
    {                                                                                                                  \
        "count_padding", SOMA_FIELD_BOOL, AT(count_padding), 0, 0, 0, 1, NULL,                                         \
            "divide by the whole window at the border"                                                                 \
    }

static const soma_field max_fields[] = {WINDOW, CEIL, SOMA_ACT_FIELD(soma_pool2d_attrs, "applied to the largest"), END};
static const soma_field max_grad_fields[] = {
    WINDOW, CEIL, SOMA_GATE_FIELD(soma_pool2d_attrs, "the activation that dy passes by, from the pooled y"), INPUT_SIZE,
    END};
static const soma_field average_fields[] = {WINDOW, CEIL, COUNT, END};
static const soma_field average_grad_fields[] = {WINDOW, CEIL, COUNT, INPUT_SIZE, END};

/* ---- shapes ---- */

/* out: height and width of y for x's (or dx's) h and w. */
static soma_status out_size(const soma_pool2d_attrs *a, const int64_t in[2], int64_t out[2], char *reason)
{
    for (int i = 0; i < 2; i++) {
        int64_t room = in[i] + a->pad[i] + a->pad[2 + i] - a->size[i];
        if (a->pad[i] >= a->size[i] || a->pad[2 + i] >= a->size[i])
            return soma_refuse(reason,
                               "padding (%lld and %lld) must be smaller than the window's %s %lld: a window of padding "
                               "alone has no value",
                               (long long)a->pad[i], (long long)a->pad[2 + i], i ? "width" : "height",
                               (long long)a->size[i]);
        if (room < 0)
            return soma_refuse(reason, "the window's %s %lld does not fit into x's %lld and its padding",
                               i ? "width" : "height", (long long)a->size[i], (long long)in[i]);
        out[i] = (room + (a->ceil_mode ? a->stride[i] - 1 : 0)) / a->stride[i] + 1;
        if (a->ceil_mode && (out[i] - 1) * a->stride[i] >= in[i] + a->pad[i])
            out[i]--; /* it would begin in the padding on the right: PyTorch's rule */
    }
    return SOMA_OK;
}

static soma_status forward_type(soma_infer *i, soma_type *y)
{
    const soma_shape *x = &i->in[0].shape;
    int64_t out[2];
    if (x->rank != 4 || x->dim[1] < 1 || x->dim[2] < 1 || x->dim[3] < 1)
        return soma_refuse(i->reason,
                           "x must have 4 dimensions [N, C, H, W], only the first of which may depend on the batch");
    if (!soma_is_float(i->in[0].dtype))
        return soma_refuse(i->reason, "x must be f32 or f64, not %s", soma_dtype_name(i->in[0].dtype));
    soma_status status = out_size(i->attrs, &x->dim[2], out, i->reason);
    if (status == SOMA_OK)
        *y = (soma_type){i->in[0].dtype, SOMA_SHAPE(x->dim[0], x->dim[1], out[0], out[1])};
    return status;
}

/* (dy, ...) -> dx */
static soma_status backward_type(soma_infer *i, soma_type *dx)
{
    const soma_pool2d_attrs *a = i->attrs;
    const soma_shape *dy = &i->in[0].shape;
    int64_t out[2];
    if (dy->rank != 4 || !soma_is_float(i->in[0].dtype))
        return soma_refuse(i->reason, "dy must be f32 or f64 and have 4 dimensions [N, C, H, W]");
    soma_status status = out_size(a, a->input_size, out, i->reason);
    if (status != SOMA_OK)
        return status;
    if (dy->dim[2] != out[0] || dy->dim[3] != out[1])
        return soma_refuse(i->reason, "dy is %lld x %lld, but pooling %lld x %lld makes %lld x %lld",
                           (long long)dy->dim[2], (long long)dy->dim[3], (long long)a->input_size[0],
                           (long long)a->input_size[1], (long long)out[0], (long long)out[1]);
    *dx = (soma_type){i->in[0].dtype, SOMA_SHAPE(dy->dim[0], dy->dim[1], a->input_size[0], a->input_size[1])};
    return SOMA_OK;
}

/* index, and the gate's y, beside the shape of y. */
static soma_status check_index(soma_infer *i, const soma_shape *y)
{
    const soma_pool2d_attrs *a = i->attrs;
    if (i->in[1].dtype != SOMA_U8 || !soma_same_shape(&i->in[1].shape, y))
        return soma_refuse(i->reason, "the index must be u8 and have the shape of the pooled y");
    bool has_y = i->n_in > 2 && i->in[2].shape.rank >= 0, gated = a->activation != SOMA_ACT_NONE;
    if (gated && !soma_act_clamps(a->activation))
        return soma_refuse(i->reason, "its gate passes or not, as those of relu and relu6 do, not as that of %s",
                           soma_act_names[a->activation]);
    if (has_y != gated || (has_y && (!soma_same_shape(&i->in[2].shape, y) || i->in[2].dtype != i->in[0].dtype)))
        return soma_refuse(i->reason, "with a gate, and only then, the third input is the pooled y");
    return SOMA_OK;
}

static soma_status max_infer(soma_infer *i)
{
    const soma_pool2d_attrs *a = i->attrs;
    if (a->size[0] > 255 || a->size[1] > 255 || a->size[0] * a->size[1] > 255)
        return soma_refuse(i->reason,
                           "a window of %lld x %lld has more than the 255 elements that a one-byte index can name",
                           (long long)a->size[0], (long long)a->size[1]);
    soma_status status = forward_type(i, &i->out[0]);
    if (status == SOMA_OK && i->n_out > 1)
        i->out[1] = (soma_type){SOMA_U8, i->out[0].shape};
    return status;
}

static soma_status max_grad_infer(soma_infer *i)
{
    soma_status status = backward_type(i, &i->out[0]);
    return status == SOMA_OK ? check_index(i, &i->in[0].shape) : status;
}

static soma_status gather_infer(soma_infer *i)
{
    const soma_pool2d_attrs *a = i->attrs;
    soma_status status = forward_type(i, &i->out[0]);
    if (status != SOMA_OK)
        return status;
    if (i->in[0].shape.dim[2] != a->input_size[0] || i->in[0].shape.dim[3] != a->input_size[1])
        return soma_refuse(i->reason, "x must be %lld x %lld, as input_size says", (long long)a->input_size[0],
                           (long long)a->input_size[1]);
    return check_index(i, &i->out[0].shape);
}

static soma_status average_infer(soma_infer *i)
{
    return forward_type(i, &i->out[0]);
}
static soma_status average_grad_infer(soma_infer *i)
{
    return backward_type(i, &i->out[0]);
}

/* ---- gradients ---- */

static soma_value apply(const soma_op *op, const soma_gradient *g, const soma_pool2d_attrs *a)
{
    const soma_value in[3] = {g->dout[0], g->n_in > 1 ? g->in[1] : soma_none(), g->n_in > 2 ? g->in[2] : soma_none()};
    return soma_apply1(op, in, g->n_in, a, NULL, soma_nowhere());
}

static soma_pool2d_attrs with_size(const soma_gradient *g)
{
    soma_pool2d_attrs a = *(const soma_pool2d_attrs *)g->attrs;
    soma_type x = soma_value_type(g->in[0]);
    memcpy(a.input_size, &x.shape.dim[2], sizeof a.input_size);
    return a;
}

static void max_grad(soma_gradient *g)
{
    soma_pool2d_attrs a = with_size(g);
    soma_value in[3] = {g->dout[0], g->n_out > 1 ? g->out[1] : soma_none(), g->out[0]};
    if (!in[0].graph)
        return;
    if (!soma_act_clamps(a.activation)) {
        in[0] = soma_act_gradient((soma_act)a.activation, in[0], in[2]);
        a.activation = SOMA_ACT_NONE;
    }
    if (in[1].graph)
        g->din[0] = soma_apply1(&soma_op_max_pool2d_grad, in, a.activation ? 3 : 2, &a, NULL, soma_nowhere());
    else
        g->din[0] = soma_value_fail(g->in[0].graph, soma_nowhere(),
                                    "max_pool2d: its gradient needs the second output, index");
}
static void max_grad_grad(soma_gradient *g)
{
    if (g->want[0])
        g->din[0] = apply(&soma_op_max_pool2d_gather, g, g->attrs);
}
static void gather_grad(soma_gradient *g)
{
    if (g->want[0])
        g->din[0] = apply(&soma_op_max_pool2d_grad, g, g->attrs);
}
/* The gate of an activation whose result the pool reads: the pooled y tells it, for y is the element that dy goes to.
 * */
static bool take_gate(soma_gate_merge *m)
{
    int maker = m->graph->values[m->in[1]].node;
    const soma_graph_node *pool = maker >= 0 ? &m->graph->nodes[maker] : NULL;
    if (!m->behind || !soma_act_clamps(m->act) || !pool || pool->op != &soma_op_max_pool2d ||
        pool->in[0] != m->gate->in[1])
        return false;
    m->in[2] = pool->out[0];
    m->n_in = 3;
    m->out[0] = m->gate->out[0];
    return true;
}

static void average_grad(soma_gradient *g)
{
    soma_pool2d_attrs a = with_size(g);
    g->din[0] = apply(&soma_op_average_pool2d_grad, g, &a);
}
static void average_grad_grad(soma_gradient *g)
{
    soma_pool2d_attrs a = *(const soma_pool2d_attrs *)g->attrs;
    a.input_size[0] = a.input_size[1] = 1;
    g->din[0] = apply(&soma_op_average_pool2d, g, &a);
}

/* ---- samples ---- */

#define S SOMA_DIMS
static const soma_sample max_samples[] = {
    {"2x2", NULL, (const soma_shape[]){S(SOMA_N, 2, 4, 6)}, "d", 0, false},
    {"odd size", NULL, (const soma_shape[]){S(SOMA_N, 3, 5, 7)}, "d", 0, false},
    {"overlapping 3x3", "size=3,3 stride=2,2 pad=1,1,1,1", (const soma_shape[]){S(2, 3, 7, 6)}, "d", 0, false},
    {"asymmetric", "size=3,2 stride=1,2 pad=2,0,1,1", (const soma_shape[]){S(1, 2, 5, 6)}, "d", 0, false},
    {"gaps", "size=2,1 stride=3,2", (const soma_shape[]){S(2, 1, 8, 5)}, "d", 0, false},
    {"whole", "size=4,5 stride=1,1", (const soma_shape[]){S(SOMA_N, 2, 4, 5)}, "d", 0, false},
    {"16 channels", NULL, (const soma_shape[]){S(SOMA_N, 16, 4, 4)}, "d", 0, false},
    {"32 channels, 28x28", NULL, (const soma_shape[]){S(SOMA_N, 32, 28, 28)}, "n", 0, true},
    {"ceil", "size=3,3 stride=2,2 ceil_mode=true", (const soma_shape[]){S(SOMA_N, 2, 6, 8)}, "d", 0, false},
    {"ceil, padded", "size=3,2 stride=2,3 pad=1,1,1,1 ceil_mode=true", (const soma_shape[]){S(1, 3, 6, 7)}, "d", 0,
     false},
    {"ceil, begins in the padding", "size=2,2 stride=2,2 pad=1,1,1,1 ceil_mode=true",
     (const soma_shape[]){S(2, 2, 5, 4)}, "d", 0, false},
    {"64 channels, 3x3 padded", "size=3,3 stride=2,2 pad=1,1,1,1", (const soma_shape[]){S(1, 64, 16, 14)}, "n", 0,
     true},
    {"96 channels, 3x3 ceil", "size=3,3 stride=2,2 ceil_mode=true", (const soma_shape[]){S(SOMA_N, 96, 14, 12)}, "n", 0,
     true},
    {"48 channels, 3x3", "size=3,3 stride=2,2 pad=0,1,1,0", (const soma_shape[]){S(2, 48, 13, 15)}, "n", 0, true},
    {"6 channels, 28x28", NULL, (const soma_shape[]){S(SOMA_N, 6, 28, 28)}, "n", 0, true},
    {"relu", "activation=relu", (const soma_shape[]){S(3, 1, 5, 7)}, "d", 0, false}, /* odd: no element is 0 */
    {"relu, overlapping", "size=3,3 stride=2,2 pad=1,1,1,1 activation=relu", (const soma_shape[]){S(3, 3, 7, 5)}, "d",
     0, false},
    {"relu, 32 channels", "size=3,3 stride=2,2 activation=relu", (const soma_shape[]){S(SOMA_N, 32, 13, 14)}, "n", 0,
     true},
    {NULL, NULL, NULL, NULL, 0, false}};
/* index: class indices below the window's size, all of which must name elements of x: no padding here */
static const soma_sample max_grad_samples[] = {
    {"2x2", "input_size=4,6", (const soma_shape[]){S(SOMA_N, 2, 2, 3), S(SOMA_N, 2, 2, 3), S(SOMA_N, 2, 2, 3)}, "nk-",
     4, false},
    {"odd size", "input_size=5,7", (const soma_shape[]){S(2, 3, 2, 3), S(2, 3, 2, 3), S(2, 3, 2, 3)}, "nk-", 4, false},
    {"overlapping", "size=3,3 stride=2,2 input_size=7,5",
     (const soma_shape[]){S(2, 3, 3, 2), S(2, 3, 3, 2), S(2, 3, 3, 2)}, "nk-", 9, false},
    {"ceil", "size=2,2 stride=2,2 ceil_mode=true input_size=6,8",
     (const soma_shape[]){S(SOMA_N, 2, 3, 4), S(SOMA_N, 2, 3, 4), S(SOMA_N, 2, 3, 4)}, "nk-", 4, false},
    {"relu", "gate=relu input_size=4,4",
     (const soma_shape[]){S(SOMA_N, 2, 2, 2), S(SOMA_N, 2, 2, 2), S(SOMA_N, 2, 2, 2)}, "nks", 4, false},
    {"64 channels, 3x3", "size=3,3 stride=2,2 input_size=15,13",
     (const soma_shape[]){S(2, 64, 7, 6), S(2, 64, 7, 6), S(2, 64, 7, 6)}, "nk-", 9, true},
    {"64 channels, 3x3 padded, relu", "size=3,3 stride=2,2 pad=1,1,1,1 gate=relu input_size=16,14",
     (const soma_shape[]){S(1, 64, 8, 7), S(1, 64, 8, 7), S(1, 64, 8, 7)}, "nkn", 9, true},
    {"96 channels, 3x3 ceil", "size=3,3 stride=2,2 ceil_mode=true input_size=14,12",
     (const soma_shape[]){S(2, 96, 7, 6), S(2, 96, 7, 6), S(2, 96, 7, 6)}, "nk-", 9, true},
    {"32 channels", "input_size=14,14",
     (const soma_shape[]){S(SOMA_N, 32, 7, 7), S(SOMA_N, 32, 7, 7), S(SOMA_N, 32, 7, 7)}, "nk-", 4, true},
    {"32 channels, relu", "gate=relu input_size=15,14",
     (const soma_shape[]){S(SOMA_N, 32, 7, 7), S(SOMA_N, 32, 7, 7), S(SOMA_N, 32, 7, 7)}, "nkn", 4, true},
    {NULL, NULL, NULL, NULL, 0, false}};
static const soma_sample gather_samples[] = {
    {"2x2", "input_size=4,6", (const soma_shape[]){S(SOMA_N, 2, 4, 6), S(SOMA_N, 2, 2, 3), S(SOMA_N, 2, 2, 3)}, "nk-",
     4, false},
    {"overlapping", "size=3,3 stride=2,2 input_size=7,5",
     (const soma_shape[]){S(2, 3, 7, 5), S(2, 3, 3, 2), S(2, 3, 3, 2)}, "nk-", 9, false},
    {"relu", "gate=relu input_size=5,4",
     (const soma_shape[]){S(SOMA_N, 2, 5, 4), S(SOMA_N, 2, 2, 2), S(SOMA_N, 2, 2, 2)}, "nks", 4, false},
    {NULL, NULL, NULL, NULL, 0, false}};
static const soma_sample average_samples[] = {
    {"2x2", NULL, (const soma_shape[]){S(SOMA_N, 2, 4, 6)}, NULL, 0, false},
    {"overlapping 3x3", "size=3,3 stride=2,2 pad=1,1,1,1", (const soma_shape[]){S(2, 3, 7, 6)}, NULL, 0, false},
    {"count padding", "size=3,2 stride=1,2 pad=2,0,1,1 count_padding=true", (const soma_shape[]){S(1, 2, 5, 6)}, NULL,
     0, false},
    {"whole", "size=4,5 stride=1,1", (const soma_shape[]){S(SOMA_N, 2, 4, 5)}, NULL, 0, false},
    {"ceil", "size=3,3 stride=2,2 ceil_mode=true", (const soma_shape[]){S(SOMA_N, 2, 6, 8)}, NULL, 0, false},
    {"ceil, count padding", "size=3,2 stride=2,3 pad=1,1,1,1 ceil_mode=true count_padding=true",
     (const soma_shape[]){S(1, 3, 6, 7)}, NULL, 0, false},
    {"16 channels, ceil", "size=3,3 stride=2,2 pad=1,1,1,1 ceil_mode=true count_padding=true",
     (const soma_shape[]){S(SOMA_N, 16, 6, 8)}, NULL, 0, true},
    {"32 channels", NULL, (const soma_shape[]){S(SOMA_N, 32, 13, 14)}, NULL, 0, true},
    {NULL, NULL, NULL, NULL, 0, false}};
static const soma_sample average_grad_samples[] = {
    {"2x2", "input_size=4,6", (const soma_shape[]){S(SOMA_N, 2, 2, 3)}, NULL, 0, false},
    {"overlapping 3x3", "size=3,3 stride=2,2 pad=1,1,1,1 input_size=7,6", (const soma_shape[]){S(2, 3, 4, 3)}, NULL, 0,
     false},
    {"count padding", "size=3,2 stride=1,2 pad=2,0,1,1 count_padding=true input_size=5,6",
     (const soma_shape[]){S(1, 2, 6, 3)}, NULL, 0, false},
    {"ceil, count padding", "size=3,2 stride=2,3 pad=1,1,1,1 ceil_mode=true count_padding=true input_size=6,7",
     (const soma_shape[]){S(1, 3, 4, 3)}, NULL, 0, false},
    {"32 channels", "input_size=13,14", (const soma_shape[]){S(SOMA_N, 32, 6, 7)}, NULL, 0, true},
    {NULL, NULL, NULL, NULL, 0, false}};

/* ---- ops ---- */

#define KERNELS(name)                                                                                                  \
    SOMA_BF16_DECLARE(soma_##name##_cpu)                                                                               \
    SOMA_ISA_DECLARE(soma_##name##_cpu)                                                                                \
    static const soma_kernel *const name##_kernels[] = {                                                               \
        SOMA_BF16_LIST(soma_##name##_cpu) SOMA_ISA_LIST(soma_##name##_cpu) & soma_##name##_reference, NULL};
KERNELS(max_pool2d)
KERNELS(max_pool2d_grad)
KERNELS(max_pool2d_gather)
KERNELS(average_pool2d)
KERNELS(average_pool2d_grad)

#define OP(op_name, op_fields, op_infer, op_grad, op_samples)                                                          \
    .name = #op_name, .required_out = 1, .attrs_size = sizeof(soma_pool2d_attrs), .fields = op_fields,                 \
    .batch = SOMA_BATCH_EACH, .infer = op_infer, .grad = op_grad, .kernels = op_name##_kernels, .samples = op_samples

const soma_op soma_op_max_pool2d = {
    OP(max_pool2d, max_fields, max_infer, max_grad, max_samples),
    .doc =
        "y = act(the largest element of each window of H and W), and as optional second output which one it was (u8)",
    .onnx = "MaxPool",
    .selects = true,
    .tail = SOMA_TAIL_ACT,
    .required_in = 1,
    .optional_out = 1,
    .n_in_samples = 1};
const soma_op soma_op_max_pool2d_grad = {
    OP(max_pool2d_grad, max_grad_fields, max_grad_infer, max_grad_grad, max_grad_samples),
    .take_gate = take_gate,
    .doc = "Gradient of max_pool2d: gate(y, dy) goes to the element that won; y is the third input",
    .error = SOMA_ERROR_SUM,
    .required_in = 2,
    .optional_in = 1,
    .n_in_samples = 3};
const soma_op soma_op_max_pool2d_gather = {
    OP(max_pool2d_gather, max_grad_fields, gather_infer, gather_grad, gather_samples),
    .doc = "Takes from x the element of each window that the index names, through the gate of y (third input)",
    .required_in = 2, .optional_in = 1, .n_in_samples = 3};
const soma_op soma_op_average_pool2d = {
    OP(average_pool2d, average_fields, average_infer, average_grad, average_samples),
    .doc = "Mean of each window of H and W",
    .onnx = "AveragePool",
    .error = SOMA_ERROR_SUM,
    .required_in = 1,
    .n_in_samples = 1};
const soma_op soma_op_average_pool2d_grad = {
    OP(average_pool2d_grad, average_grad_fields, average_grad_infer, average_grad_grad, average_grad_samples),
    .doc = "Gradient of average_pool2d: dy is spread over its window", .error = SOMA_ERROR_SUM, .required_in = 1,
    .n_in_samples = 1};
