/* SPDX-License-Identifier: Apache-2.0
 *
 * op/conv2d/conv2d_grad.c: the two gradients of conv2d as ops.
 *
 *     conv2d_input_grad   dx[n,c,h,w] = gate(y[n,c,h,w], z[n,c,h,w] + sum over k, i, j of
 *                             dy[n, k, (h + top - i dh) / sh, (w + left - j dw) / sw] w[k,c,i,j])
 *                         (where the divisions leave no rest; also known as transposed convolution); z is another
 *                         gradient of x, and the gate the gradient of the activation that made x, whose result is y
 *     conv2d_weight_grad  dw[k,c,i,j] = sum over n, oh, ow of
 *                             dy[n,k,oh,ow] x[n, c, oh sh - top + i dh, ow sw - left + j dw]
 *                         db[k]       = sum over n, oh, ow of dy[n,k,oh,ow]
 *
 * All three are bilinear (but for y), so each one's gradients are the other two.
 */
#include "cpu/isa.h"
#include "cpu/parallel.h"
#include "library/onednn/onednn.h"
#include "graph/graph.h"
#include "op/conv2d/conv2d.h"
#include "tensor/element.h"
#include "op/sample.h"
#include <soma/ops.h>

#include <string.h>

#define S SOMA_DIMS

static soma_status check_out(const int64_t out[2], const soma_shape *dy, int64_t filters, char *reason)
{
    if (dy->rank == 4 && dy->dim[1] == filters && dy->dim[2] == out[0] && dy->dim[3] == out[1])
        return SOMA_OK;
    return soma_refuse(reason,
                       "dy must be [N,%lld,%lld,%lld], what the convolution of this size and these attributes makes",
                       (long long)filters, (long long)out[0], (long long)out[1]);
}

static soma_value apply(const soma_op *op, soma_value a, soma_value b, const soma_conv2d_attrs *attrs)
{
    const soma_value in[2] = {a, b};
    return soma_apply1(op, in, 2, attrs, NULL, soma_nowhere());
}

static soma_conv2d_attrs with_size(const soma_conv2d_attrs *a, soma_value of)
{
    soma_conv2d_attrs sized = *a;
    soma_type type = soma_value_type(of);
    memcpy(sized.size, &type.shape.dim[2], sizeof sized.size);
    return sized;
}

/* ---- conv2d_input_grad: (dy, w, y, z) -> dx ---- */

static const soma_field input_fields[] = {
    SOMA_CONV2D_GEOMETRY,
    SOMA_GATE_FIELD(soma_conv2d_attrs, "the activation that made x, with the result y"),
    {"size", SOMA_FIELD_INTS, SOMA_CONV2D_AT(size), 2, 1, 1, 1e12, NULL, "height and width of dx"},
    {NULL, 0, 0, 0, 0, 0, 0, NULL, NULL}};

static soma_status input_infer(soma_infer *i)
{
    const soma_conv2d_attrs *a = i->attrs;
    const soma_shape *dy = &i->in[0].shape, *w = &i->in[1].shape;
    int64_t out[2];
    if (!soma_is_float(i->in[0].dtype) || i->in[1].dtype != i->in[0].dtype)
        return soma_refuse(i->reason, "dy and the weight must both be f32 or both f64");
    if (dy->rank != 4 || w->rank != 4)
        return soma_refuse(i->reason, "dy and the weight must have 4 dimensions, not %d and %d", dy->rank, w->rank);
    soma_shape dx = SOMA_SHAPE(dy->dim[0], w->dim[1] * a->groups, a->size[0], a->size[1]);
    soma_status status = soma_conv2d_check(a, &dx, w, out, i->reason);
    if (status == SOMA_OK)
        status = check_out(out, dy, w->dim[0], i->reason);
    if (status != SOMA_OK)
        return status;
    i->out[0] = (soma_type){i->in[0].dtype, dx};
    for (int j = SOMA_CONV2D_GATE; j < i->n_in; j++) {
        char got[96], want[96];
        if (i->in[j].shape.rank >= 0 && (i->in[j].dtype != i->out[0].dtype || !soma_same_shape(&i->in[j].shape, &dx)))
            return soma_refuse(i->reason, "%s must have dx's type %s, not %s",
                               j == SOMA_CONV2D_GATE ? "the activation's result" : "what is added",
                               soma_type_text(&i->out[0], want), soma_type_text(&i->in[j], got));
    }
    if (a->activation != SOMA_ACT_NONE && (i->n_in <= SOMA_CONV2D_GATE || i->in[SOMA_CONV2D_GATE].shape.rank < 0))
        return soma_refuse(i->reason, "the gradient of %s needs its result y as input %d",
                           soma_act_names[a->activation], SOMA_CONV2D_GATE);
    return SOMA_OK;
}

static void input_grad(soma_gradient *g)
{
    soma_conv2d_attrs forward = *(const soma_conv2d_attrs *)g->attrs, weights;
    bool gated = g->n_in > SOMA_CONV2D_GATE && g->in[SOMA_CONV2D_GATE].graph;
    soma_value ddx = g->dout[0];
    if (gated && forward.activation != SOMA_ACT_NONE)
        ddx = soma_act_gradient((soma_act)forward.activation, ddx, g->in[SOMA_CONV2D_GATE]);
    forward.activation = SOMA_ACT_NONE;
    weights = with_size(&forward, g->in[1]);
    forward.size[0] = forward.size[1] = 1;
    if (g->n_in > SOMA_CONV2D_ADDED && g->want[SOMA_CONV2D_ADDED])
        g->din[SOMA_CONV2D_ADDED] = ddx;
    if (g->want[0])
        g->din[0] = apply(&soma_op_conv2d, ddx, g->in[1], &forward);
    if (g->want[1])
        g->din[1] = apply(&soma_op_conv2d_weight_grad, ddx, g->in[0], &weights);
}

static double input_flops(const void *attrs, const soma_arg *in, int n_in, const soma_arg *out)
{
    (void)n_in;
    soma_conv2d_case c = soma_conv2d_case_of(attrs, &out[0].shape, &in[1].shape, &in[0].shape);
    return soma_conv2d_flops(&c);
}

/* Kernels of a grouped convolution take every array in a layout of its own. */
static bool takes_tail(const void *attrs)
{
    return ((const soma_conv2d_attrs *)attrs)->groups == 1;
}

static const soma_sample input_samples[] = {
    {"odd 3x3", "pad=1,1,1,1 size=5,7", (const soma_shape[]){S(SOMA_N, 3, 5, 7), S(3, 2, 3, 3)}, "nn--", 0, false},
    {"asymmetric pad", "pad=0,1,2,0 size=4,5", (const soma_shape[]){S(1, 2, 4, 5), S(2, 3, 3, 2)}, "nn--", 0, false},
    {"stride 2, even", "stride=2,2 pad=1,1,1,1 size=6,8", (const soma_shape[]){S(SOMA_N, 6, 3, 4), S(6, 3, 3, 3)},
     "nn--", 0, false},
    {"stride 2, odd", "stride=2,2 size=7,9", (const soma_shape[]){S(SOMA_N, 2, 3, 4), S(2, 3, 2, 2)}, "nn--", 0, false},
    {"dilation", "dilation=2,3 pad=2,1,2,3 size=6,7", (const soma_shape[]){S(SOMA_N, 2, 6, 5), S(2, 2, 3, 3)}, "nn--",
     0, false},
    {"groups", "groups=2 pad=1,1,1,1 size=4,5", (const soma_shape[]){S(SOMA_N, 6, 4, 5), S(6, 2, 3, 3)}, "nn--", 0,
     false},
    {"depthwise", "groups=6 pad=1,1,1,1 stride=2,2 size=5,5", (const soma_shape[]){S(2, 6, 3, 3), S(6, 1, 3, 3)},
     "nn--", 0, false},
    {"1x1", "size=3,3", (const soma_shape[]){S(SOMA_N, 16, 3, 3), S(16, 16, 1, 1)}, "nn--", 0, false},
    {"16 to 16", "pad=1,1,1,1 size=9,11", (const soma_shape[]){S(2, 16, 9, 11), S(16, 16, 3, 3)}, "nn--", 0, true},
    {"32 to 48", "pad=1,1,1,1 size=14,13", (const soma_shape[]){S(SOMA_N, 48, 14, 13), S(48, 32, 3, 3)}, "nn--", 0,
     true},
    {"48 to 80, pad 0 and 2", "pad=0,1,2,0 size=10,13", (const soma_shape[]){S(2, 80, 10, 12), S(80, 48, 3, 3)}, "nn--",
     0, true},
    {"1 to 32", "pad=1,1,1,1 size=14,14", (const soma_shape[]){S(SOMA_N, 32, 14, 14), S(32, 1, 3, 3)}, "nn--", 0, true},
    {"3 to 6, 5x5", "size=32,32", (const soma_shape[]){S(SOMA_N, 6, 28, 28), S(6, 3, 5, 5)}, "nn--", 0, true},
    {"6 to 16, 5x5", "size=14,14", (const soma_shape[]){S(SOMA_N, 16, 10, 10), S(16, 6, 5, 5)}, "nn--", 0, true},
    {"groups of 16", "groups=2 pad=1,1,1,1 size=7,7", (const soma_shape[]){S(2, 32, 7, 7), S(32, 16, 3, 3)}, "nn--", 0,
     true},
    {"depthwise 32", "groups=32 pad=1,1,1,1 size=9,9", (const soma_shape[]){S(2, 32, 9, 9), S(32, 1, 3, 3)}, "nn--", 0,
     true},
    {"depthwise 32, stride 2", "groups=32 pad=1,1,1,1 stride=2,2 size=15,12",
     (const soma_shape[]){S(SOMA_N, 32, 8, 6), S(32, 1, 3, 3)}, "nn--", 0, true},
    {"64 to 16, 1x1, small pictures", "size=5,1", (const soma_shape[]){S(5, 64, 5, 1), S(64, 16, 1, 1)}, "nn--", 0,
     true},
    {"64 to 8, 1x1", "size=5,7", (const soma_shape[]){S(3, 64, 5, 7), S(64, 8, 1, 1)}, "nn--", 0, true},
    {"64 to 32, 1x1", "size=5,7", (const soma_shape[]){S(2, 64, 5, 7), S(64, 32, 1, 1)}, "nn--", 0, true},
    {"48 to 24, 1x1", "size=5,7", (const soma_shape[]){S(SOMA_N, 48, 5, 7), S(48, 24, 1, 1)}, "nn--", 0, true},
    {"40 to 24, 1x1, stride 2 and 3", "stride=2,3 size=9,8", (const soma_shape[]){S(SOMA_N, 40, 5, 3), S(40, 24, 1, 1)},
     "nn--", 0, true},
    {"528 to 16, 1x1", "size=9,11", (const soma_shape[]){S(2, 528, 9, 11), S(528, 16, 1, 1)}, "nn--", 0, true},
    {"40 to 96, 1x1", "size=8,6", (const soma_shape[]){S(2, 40, 8, 6), S(40, 96, 1, 1)}, "nn--", 0, true},
    {"depthwise 24, 5x5", "groups=24 pad=2,1,2,3 size=11,13", (const soma_shape[]){S(1, 24, 11, 13), S(24, 1, 5, 5)},
     "nn--", 0, true},
    {"depthwise 64, 3x2, stride 1 and 3", "groups=64 pad=2,0,1,1 stride=1,3 size=7,20",
     (const soma_shape[]){S(2, 64, 8, 7), S(64, 1, 3, 2)}, "nn--", 0, true},
    {"depthwise 16, narrow", "groups=16 pad=3,3,3,3 size=3,2", (const soma_shape[]){S(2, 16, 3, 2), S(16, 1, 7, 7)},
     "nn--", 0, true},
    {"relu", "pad=1,1,1,1 size=5,7 gate=relu",
     (const soma_shape[]){S(SOMA_N, 3, 5, 7), S(3, 2, 3, 3), S(SOMA_N, 2, 5, 7)}, "nns-", 0, false},
    {"relu6, added", "stride=2,1 size=7,5 gate=relu6",
     (const soma_shape[]){S(2, 2, 3, 4), S(2, 3, 2, 2), S(2, 3, 7, 5), S(2, 3, 7, 5)}, "nnsn", 0, false},
    {"added", "pad=1,1,1,1 size=4,4", (const soma_shape[]){S(2, 2, 4, 4), S(2, 2, 3, 3), S(1), S(2, 2, 4, 4)}, "nn-n",
     0, false},
    {"groups, relu, added", "groups=2 pad=1,1,1,1 size=4,5 gate=relu",
     (const soma_shape[]){S(2, 6, 4, 5), S(6, 2, 3, 3), S(2, 4, 4, 5), S(2, 4, 4, 5)}, "nnsn", 0, true},
    {"depthwise 32, relu, added", "groups=32 pad=1,1,1,1 size=9,9 gate=relu",
     (const soma_shape[]){S(2, 32, 9, 9), S(32, 1, 3, 3), S(2, 32, 9, 9), S(2, 32, 9, 9)}, "nnsn", 0, true},
    {"3 to 6, 5x5, relu6, added", "size=32,32 gate=relu6",
     (const soma_shape[]){S(2, 6, 28, 28), S(6, 3, 5, 5), S(2, 3, 32, 32), S(2, 3, 32, 32)}, "nngn", 0, true},
    {"32 to 48, relu", "pad=1,1,1,1 size=14,13 gate=relu",
     (const soma_shape[]){S(SOMA_N, 48, 14, 13), S(48, 32, 3, 3), S(SOMA_N, 32, 14, 13)}, "nns-", 0, true},
    {"48 to 80, relu6, added", "pad=0,1,2,0 size=10,13 gate=relu6",
     (const soma_shape[]){S(2, 80, 10, 12), S(80, 48, 3, 3), S(2, 48, 10, 13), S(2, 48, 10, 13)}, "nngn", 0, true},
    {"64 to 32, 1x1, relu, added", "size=5,7 gate=relu",
     (const soma_shape[]){S(2, 64, 5, 7), S(64, 32, 1, 1), S(2, 32, 5, 7), S(2, 32, 5, 7)}, "nnsn", 0, true},
    {"1104 to 48, 1x1, added", "size=5,7",
     (const soma_shape[]){S(2, 1104, 5, 7), S(1104, 48, 1, 1), S(1), S(2, 48, 5, 7)}, "nn-n", 0, true},
    {"64 to 256, 1x1, added", "size=7,9", (const soma_shape[]){S(2, 64, 7, 9), S(64, 256, 1, 1), S(1), S(2, 256, 7, 9)},
     "nn-n", 0, true},
    {"64 to 32, 1x1, relu6", "size=5,7 gate=relu6",
     (const soma_shape[]){S(3, 64, 5, 7), S(64, 32, 1, 1), S(3, 32, 5, 7)}, "nng-", 0, true},
    {"48 to 24, 1x1, relu, added", "size=5,7 gate=relu",
     (const soma_shape[]){S(SOMA_N, 48, 5, 7), S(48, 24, 1, 1), S(SOMA_N, 24, 5, 7), S(SOMA_N, 24, 5, 7)}, "nnsn", 0,
     true},
    {"24 to 96, 1x1, relu6, added", "size=5,7 gate=relu6",
     (const soma_shape[]){S(2, 24, 5, 7), S(24, 96, 1, 1), S(2, 96, 5, 7), S(2, 96, 5, 7)}, "nngn", 0, true},
    {"40 to 24, 1x1, stride 2 and 3, relu, added", "stride=2,3 size=9,8 gate=relu",
     (const soma_shape[]){S(SOMA_N, 40, 5, 3), S(40, 24, 1, 1), S(SOMA_N, 24, 9, 8), S(SOMA_N, 24, 9, 8)}, "nnsn", 0,
     true},
    {"32 to 64, 3x3, stride 2, relu, added", "stride=2,2 pad=1,1,1,1 size=8,9 gate=relu",
     (const soma_shape[]){S(2, 64, 4, 5), S(64, 32, 3, 3), S(2, 32, 8, 9), S(2, 32, 8, 9)}, "nnsn", 0, true},
    {NULL, NULL, NULL, NULL, 0, false}};

SOMA_ISA_DECLARE(soma_conv2d_input_grad_cpu)
SOMA_ONEDNN_DECLARE(soma_conv2d_input_grad_onednn_depthwise)
SOMA_ISA_DECLARE(soma_conv2d_input_grad_depthwise_cpu)
SOMA_BF16_DECLARE(soma_conv2d_input_grad_winograd_cpu)
SOMA_ISA_DECLARE(soma_conv2d_input_grad_winograd_cpu)
SOMA_ISA_DECLARE(soma_conv2d_input_grad_pointwise_cpu)
SOMA_ONEDNN_DECLARE(soma_conv2d_input_grad_onednn_winograd)
SOMA_ONEDNN_DECLARE(soma_conv2d_input_grad_onednn)
static const soma_kernel *const input_kernels[] = {
    SOMA_CONV2D_MIXED(soma_conv2d_input_grad_mixed_cpu) SOMA_ONEDNN_LIST(soma_conv2d_input_grad_onednn_depthwise)
            SOMA_ISA_LIST(soma_conv2d_input_grad_depthwise_cpu) SOMA_ISA_LIST(soma_conv2d_input_grad_cpu)
                SOMA_BF16_LIST(soma_conv2d_input_grad_winograd_cpu) SOMA_ISA_LIST(soma_conv2d_input_grad_winograd_cpu)
                    SOMA_ISA_LIST(soma_conv2d_input_grad_pointwise_cpu)
                        SOMA_ONEDNN_LIST(soma_conv2d_input_grad_onednn_winograd)
                            SOMA_ONEDNN_LIST(soma_conv2d_input_grad_onednn) &
        soma_conv2d_input_grad_reference,
    NULL};

const soma_op soma_op_conv2d_input_grad = {
    .name = "conv2d_input_grad",
    .doc = "Gradient of conv2d with respect to x, from dy [N,K,OH,OW] and w; also known as transposed convolution. z "
           "[N,C,H,W] is "
           "added, then what the activation that made x did not let pass is left out, by its result y [N,C,H,W]",
    .required_in = 2,
    .optional_in = 2,
    .required_out = 1,
    .attrs_size = sizeof(soma_conv2d_attrs),
    .fields = input_fields,
    .batch = SOMA_BATCH_EACH,
    .tail = SOMA_TAIL_GATE | SOMA_TAIL_ADD,
    .takes_tail = takes_tail,
    .inplace_in = 1 + SOMA_CONV2D_ADDED,
    .error = SOMA_ERROR_SUM,
    .infer = input_infer,
    .grad = input_grad,
    .flops = input_flops,
    .kernels = input_kernels,
    .samples = input_samples,
    .n_in_samples = 4};

/* ---- conv2d_weight_grad: (x, dy) -> dw, db ---- */

static const soma_field weight_fields[] = {
    SOMA_CONV2D_GEOMETRY,
    {"size", SOMA_FIELD_INTS, SOMA_CONV2D_AT(size), 2, 1, 1, 1e12, NULL, "height and width of the window"},
    {NULL, 0, 0, 0, 0, 0, 0, NULL, NULL}};

static soma_status weight_infer(soma_infer *i)
{
    const soma_conv2d_attrs *a = i->attrs;
    const soma_shape *x = &i->in[0].shape, *dy = &i->in[1].shape;
    int64_t out[2];
    if (!soma_is_float(i->in[0].dtype) || i->in[1].dtype != i->in[0].dtype)
        return soma_refuse(i->reason, "x and dy must both be f32 or both f64");
    if (x->rank != 4 || dy->rank != 4 || dy->dim[0] != x->dim[0])
        return soma_refuse(i->reason, "x and dy must have 4 dimensions and the same batch");
    if (x->dim[1] % a->groups)
        return soma_refuse(i->reason, "%lld groups must divide the %lld channels of x", (long long)a->groups,
                           (long long)x->dim[1]);
    soma_shape dw = SOMA_SHAPE(dy->dim[1], x->dim[1] / a->groups, a->size[0], a->size[1]);
    soma_status status = soma_conv2d_check(a, x, &dw, out, i->reason);
    if (status == SOMA_OK)
        status = check_out(out, dy, dw.dim[0], i->reason);
    if (status != SOMA_OK)
        return status;
    i->out[0] = (soma_type){i->in[0].dtype, dw};
    if (i->n_out > 1)
        i->out[1] = (soma_type){i->in[0].dtype, SOMA_SHAPE(dy->dim[1])};
    return SOMA_OK;
}

static void weight_grad(soma_gradient *g)
{
    soma_value ddw = g->dout[0], ddb = g->n_out > 1 ? g->dout[1] : soma_none();
    soma_conv2d_attrs forward = *(const soma_conv2d_attrs *)g->attrs, input = with_size(&forward, g->in[0]);
    forward.size[0] = forward.size[1] = 1;
    if (g->want[0] && ddw.graph)
        g->din[0] = apply(&soma_op_conv2d_input_grad, g->in[1], ddw, &input);
    if (!g->want[1])
        return;
    if (ddw.graph) {
        const soma_value in[3] = {g->in[0], ddw, ddb};
        g->din[1] = soma_apply1(&soma_op_conv2d, in, ddb.graph ? 3 : 2, &forward, NULL, soma_nowhere());
    } else {
        g->din[1] = soma_expand_at(ddb, g->in[1], SOMA_AXIS(0) | SOMA_AXIS(2) | SOMA_AXIS(3), false, soma_nowhere());
    }
}

static double weight_flops(const void *attrs, const soma_arg *in, int n_in, const soma_arg *out)
{
    (void)n_in;
    soma_conv2d_case c = soma_conv2d_case_of(attrs, &in[0].shape, &out[0].shape, &in[1].shape);
    return soma_conv2d_flops(&c);
}

static const soma_sample weight_samples[] = {
    {"odd 3x3", "pad=1,1,1,1 size=3,3", (const soma_shape[]){S(SOMA_N, 2, 5, 7), S(SOMA_N, 3, 5, 7)}, NULL, 0, false},
    {"asymmetric pad", "pad=0,1,2,0 size=3,2", (const soma_shape[]){S(1, 3, 4, 5), S(1, 2, 4, 5)}, NULL, 0, false},
    {"stride 2", "stride=2,2 pad=1,1,1,1 size=3,3", (const soma_shape[]){S(SOMA_N, 3, 6, 8), S(SOMA_N, 6, 3, 4)}, NULL,
     0, false},
    {"dilation", "dilation=2,3 pad=2,1,2,3 size=3,3", (const soma_shape[]){S(SOMA_N, 2, 6, 7), S(SOMA_N, 2, 6, 5)},
     NULL, 0, false},
    {"groups", "groups=2 pad=1,1,1,1 size=3,3", (const soma_shape[]){S(SOMA_N, 4, 4, 5), S(SOMA_N, 6, 4, 5)}, NULL, 0,
     false},
    {"depthwise", "groups=6 pad=1,1,1,1 stride=2,2 size=3,3", (const soma_shape[]){S(2, 6, 5, 5), S(2, 6, 3, 3)}, NULL,
     0, false},
    {"1x1", "size=1,1", (const soma_shape[]){S(SOMA_N, 16, 3, 3), S(SOMA_N, 16, 3, 3)}, NULL, 0, false},
    {"16 to 16", "pad=1,1,1,1 size=3,3", (const soma_shape[]){S(2, 16, 9, 11), S(2, 16, 9, 11)}, NULL, 0, true},
    {"32 to 48", "pad=1,1,1,1 size=3,3", (const soma_shape[]){S(SOMA_N, 32, 14, 13), S(SOMA_N, 48, 14, 13)}, NULL, 0,
     true},
    {"1 to 32, 28x28", "pad=1,1,1,1 size=3,3", (const soma_shape[]){S(SOMA_N, 1, 28, 28), S(SOMA_N, 32, 28, 28)}, NULL,
     0, true},
    {"48 to 80, pad 0 and 2", "pad=0,1,2,0 size=3,3", (const soma_shape[]){S(2, 48, 10, 13), S(2, 80, 10, 12)}, NULL, 0,
     true},
    {"128 to 160", "pad=1,1,1,1 size=3,3", (const soma_shape[]){S(2, 128, 11, 18), S(2, 160, 11, 18)}, NULL, 0, true},
    {"3 to 6, 5x5", "size=5,5", (const soma_shape[]){S(SOMA_N, 3, 32, 32), S(SOMA_N, 6, 28, 28)}, NULL, 0, true},
    {"6 to 16, 5x5", "size=5,5", (const soma_shape[]){S(SOMA_N, 6, 14, 14), S(SOMA_N, 16, 10, 10)}, NULL, 0, true},
    {"3 to 32, 3x3", "size=3,3", (const soma_shape[]){S(SOMA_N, 3, 21, 19), S(SOMA_N, 32, 19, 17)}, NULL, 0, true},
    {"groups of 16", "groups=2 pad=1,1,1,1 size=3,3", (const soma_shape[]){S(2, 32, 7, 7), S(2, 32, 7, 7)}, NULL, 0,
     true},
    {"32 to 48, stride 2", "stride=2,2 pad=1,1,1,1 size=3,3",
     (const soma_shape[]){S(SOMA_N, 32, 14, 13), S(SOMA_N, 48, 7, 7)}, NULL, 0, true},
    {"16 to 48, stride 2", "stride=2,2 pad=1,1,1,1 size=3,3", (const soma_shape[]){S(5, 16, 28, 25), S(5, 48, 14, 13)},
     NULL, 0, true},
    {"16 to 32, 2x2, dilation 2 and 1", "dilation=2,1 size=2,2", (const soma_shape[]){S(3, 16, 9, 8), S(3, 32, 7, 7)},
     NULL, 0, true},
    {"16 to 32, 1x1, stride 2", "size=1,1 stride=2,2", (const soma_shape[]){S(5, 16, 11, 14), S(5, 32, 6, 7)}, NULL, 0,
     true},
    {"16 to 272, 4x4, stride 4", "stride=4,4 pad=1,1,1,1 size=4,4",
     (const soma_shape[]){S(35, 16, 3, 2), S(35, 272, 1, 1)}, NULL, 0, true},
    {"16 to 32, one pixel, stride 2", "stride=2,2 pad=1,1,1,1 size=3,3",
     (const soma_shape[]){S(3, 16, 1, 1), S(3, 32, 1, 1)}, NULL, 0, true},
    {"depthwise 24, one pixel, stride 2", "groups=24 pad=1,1,1,1 stride=2,2 size=3,3",
     (const soma_shape[]){S(3, 24, 1, 1), S(3, 24, 1, 1)}, NULL, 0, true},
    {"16 to 48, 3x2, padded all around", "stride=2,1 pad=7,6,5,4 size=3,2",
     (const soma_shape[]){S(2, 16, 3, 2), S(2, 48, 7, 11)}, NULL, 0, true},
    {"16 to 80, 5x3, stride 1 and 2", "stride=1,2 pad=2,2,1,4 size=5,3",
     (const soma_shape[]){S(3, 16, 6, 9), S(3, 80, 5, 7)}, NULL, 0, true},
    {"depthwise 32", "groups=32 pad=1,1,1,1 size=3,3", (const soma_shape[]){S(2, 32, 9, 9), S(2, 32, 9, 9)}, NULL, 0,
     true},
    {"depthwise 32, stride 2", "groups=32 pad=1,1,1,1 stride=2,2 size=3,3",
     (const soma_shape[]){S(SOMA_N, 32, 35, 38), S(SOMA_N, 32, 18, 19)}, NULL, 0, true},
    {"32 to 64, 1x1", "size=1,1", (const soma_shape[]){S(2, 32, 5, 7), S(2, 64, 5, 7)}, NULL, 0, true},
    {"24 to 48, 1x1", "size=1,1", (const soma_shape[]){S(SOMA_N, 24, 5, 7), S(SOMA_N, 48, 5, 7)}, NULL, 0, true},
    {"96 to 40, 1x1", "size=1,1", (const soma_shape[]){S(2, 96, 8, 13), S(2, 40, 8, 13)}, NULL, 0, true},
    {"48 to 32, 1x1, 13x21", "size=1,1", (const soma_shape[]){S(SOMA_N, 48, 13, 21), S(SOMA_N, 32, 13, 21)}, NULL, 0,
     true},
    {"16 to 272, 1x1", "size=1,1", (const soma_shape[]){S(2, 16, 11, 12), S(2, 272, 11, 12)}, NULL, 0, true},
    {"64 to 128, 1x1, few positions", "size=1,1", (const soma_shape[]){S(5, 64, 4, 3), S(5, 128, 4, 3)}, NULL, 0, true},
    {"32 to 48, 1x1, stride 2 and 3", "size=1,1 stride=2,3", (const soma_shape[]){S(5, 32, 11, 14), S(5, 48, 6, 5)},
     NULL, 0, true},
    {"depthwise 24, 5x5", "groups=24 pad=2,1,2,3 size=5,5", (const soma_shape[]){S(1, 24, 11, 13), S(1, 24, 11, 13)},
     NULL, 0, true},
    {"depthwise 64, 3x2, stride 1 and 3", "groups=64 pad=2,0,1,1 stride=1,3 size=3,2",
     (const soma_shape[]){S(2, 64, 7, 20), S(2, 64, 8, 7)}, NULL, 0, true},
    {"depthwise 16, narrow", "groups=16 pad=3,3,3,3 size=7,7", (const soma_shape[]){S(2, 16, 3, 2), S(2, 16, 3, 2)},
     NULL, 0, true},
    {NULL, NULL, NULL, NULL, 0, false}};

SOMA_ISA_DECLARE(soma_conv2d_weight_grad_cpu)
SOMA_ONEDNN_DECLARE(soma_conv2d_weight_grad_onednn_depthwise)
SOMA_ISA_DECLARE(soma_conv2d_weight_grad_depthwise_cpu)
SOMA_BF16_DECLARE(soma_conv2d_weight_grad_winograd_cpu)
SOMA_ISA_DECLARE(soma_conv2d_weight_grad_winograd_cpu)
SOMA_ISA_DECLARE(soma_conv2d_weight_grad_pointwise_cpu)
SOMA_ISA_DECLARE(soma_conv2d_weight_grad_direct_cpu)
SOMA_ONEDNN_DECLARE(soma_conv2d_weight_grad_onednn_winograd)
SOMA_ONEDNN_DECLARE(soma_conv2d_weight_grad_onednn)
static const soma_kernel *const weight_kernels[] = {
    SOMA_CONV2D_MIXED(soma_conv2d_weight_grad_mixed_cpu) SOMA_ONEDNN_LIST(soma_conv2d_weight_grad_onednn_depthwise)
            SOMA_ISA_LIST(soma_conv2d_weight_grad_depthwise_cpu) SOMA_ISA_LIST(soma_conv2d_weight_grad_cpu)
                SOMA_BF16_LIST(soma_conv2d_weight_grad_winograd_cpu) SOMA_ISA_LIST(soma_conv2d_weight_grad_winograd_cpu)
                    SOMA_ISA_LIST(soma_conv2d_weight_grad_pointwise_cpu)
                        SOMA_ISA_LIST(soma_conv2d_weight_grad_direct_cpu)
                            SOMA_ONEDNN_LIST(soma_conv2d_weight_grad_onednn_winograd)
                                SOMA_ONEDNN_LIST(soma_conv2d_weight_grad_onednn) &
        soma_conv2d_weight_grad_reference,
    NULL};

const soma_op soma_op_conv2d_weight_grad = {
    .name = "conv2d_weight_grad",
    .doc = "Gradients of conv2d with respect to w and, as optional second output, b, from x and dy [N,K,OH,OW]",
    .required_in = 2,
    .required_out = 1,
    .optional_out = 1,
    .attrs_size = sizeof(soma_conv2d_attrs),
    .fields = weight_fields,
    .batch = SOMA_BATCH_SUM,
    .error = SOMA_ERROR_SUM,
    .infer = weight_infer,
    .grad = weight_grad,
    .flops = weight_flops,
    .kernels = weight_kernels,
    .samples = weight_samples,
    .n_in_samples = 2};
