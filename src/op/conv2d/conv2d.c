/* SPDX-License-Identifier: Apache-2.0
 *
 * op/conv2d/conv2d.c: y = act(conv(x, w) + b + z), cross-correlation as in ONNX Conv and torch.nn.functional.conv2d:
 *
 *     y[n,k,oh,ow] = act(b[k] + z[n,k,oh,ow] +
 *                        sum over c, i, j of x[n, c, oh sh - top + i dh, ow sw - left + j dw] w[k,c,i,j])
 *
 * with c over the C / groups channels of k's group; z is what a residual block adds (He et al. 2016). Its gradients are
 * ops of their own (conv2d_grad.c).
 */
#include "op/conv2d/conv2d.h"
#include "cpu/isa.h"
#include "library/onednn/onednn.h"
#include "graph/graph.h"
#include "tensor/element.h"
#include "op/sample.h"
#include "base/fields.h"
#include <soma/ops.h>

#include <string.h>

static const soma_field fields[] = {SOMA_CONV2D_GEOMETRY,
                                    SOMA_ACT_FIELD(soma_conv2d_attrs, "applied to the result"),
                                    {NULL, 0, 0, 0, 0, 0, 0, NULL, NULL}};
soma_status soma_conv2d_check(const soma_conv2d_attrs *a, const soma_shape *x, const soma_shape *w, int64_t out[2],
                              char *reason)
{
    if (x->rank != 4)
        return soma_refuse(reason, "x must have 4 dimensions [N, C, H, W], not %d", x->rank);
    if (w->rank != 4)
        return soma_refuse(
            reason, "the weight must have 4 dimensions [filters, channels / groups, height, width], not %d", w->rank);
    if (x->dim[1] < 1 || x->dim[2] < 1 || x->dim[3] < 1 || w->dim[0] < 1 || w->dim[1] < 1 || w->dim[2] < 1 ||
        w->dim[3] < 1)
        return soma_refuse(reason, "only the first dimension of x may depend on the batch");
    if (x->dim[1] % a->groups || w->dim[0] % a->groups)
        return soma_refuse(reason, "%lld groups must divide both the %lld channels of x and the %lld filters",
                           (long long)a->groups, (long long)x->dim[1], (long long)w->dim[0]);
    if (x->dim[1] / a->groups != w->dim[1])
        return soma_refuse(reason, "the weight expects %lld channels, but x has %lld%s",
                           (long long)(w->dim[1] * a->groups), (long long)x->dim[1],
                           a->groups > 1 ? " (all groups together)" : "");
    for (int i = 0; i < 2; i++) {
        out[i] = soma_conv2d_out(x->dim[2 + i], a->pad[i] + a->pad[2 + i], w->dim[2 + i], a->dilation[i], a->stride[i]);
        if (out[i] < 1)
            return soma_refuse(reason,
                               "the window's %s %lld (dilation %lld) does not fit into x's %lld and its padding %lld",
                               i ? "width" : "height", (long long)w->dim[2 + i], (long long)a->dilation[i],
                               (long long)x->dim[2 + i], (long long)(a->pad[i] + a->pad[2 + i]));
    }
    return SOMA_OK;
}

static soma_status infer(soma_infer *i)
{
    const soma_shape *w = &i->in[1].shape;
    int64_t out[2];
    if (!soma_is_float(i->in[0].dtype) || i->in[1].dtype != i->in[0].dtype)
        return soma_refuse(i->reason, "x and the weight must both be f32 or both f64");
    soma_status status = soma_conv2d_check(i->attrs, &i->in[0].shape, w, out, i->reason);
    if (status != SOMA_OK)
        return status;
    if (i->n_in > 2 && i->in[2].shape.rank >= 0 &&
        (i->in[2].shape.rank != 1 || i->in[2].shape.dim[0] != w->dim[0] || i->in[2].dtype != i->in[0].dtype))
        return soma_refuse(i->reason, "the bias must have x's type and one element for each of the %lld filters",
                           (long long)w->dim[0]);
    i->out[0] = (soma_type){i->in[0].dtype, SOMA_SHAPE(i->in[0].shape.dim[0], w->dim[0], out[0], out[1])};
    char got[96], want[96];
    if (i->n_in > SOMA_CONV2D_ADDED && i->in[SOMA_CONV2D_ADDED].shape.rank >= 0 &&
        (i->in[SOMA_CONV2D_ADDED].dtype != i->out[0].dtype ||
         !soma_same_shape(&i->in[SOMA_CONV2D_ADDED].shape, &i->out[0].shape)))
        return soma_refuse(i->reason, "what is added must have the result's type %s, not %s",
                           soma_type_text(&i->out[0], want), soma_type_text(&i->in[SOMA_CONV2D_ADDED], got));
    return SOMA_OK;
}

static void grad(soma_gradient *g)
{
    const soma_conv2d_attrs *a = g->attrs;
    soma_conv2d_attrs to_x = *a, to_w = *a;
    soma_type x = soma_value_type(g->in[0]), w = soma_value_type(g->in[1]);
    soma_value dy = soma_act_gradient((soma_act)a->activation, g->dout[0], g->out[0]);
    bool want_b = g->n_in > 2 && g->want[2];
    to_x.activation = to_w.activation = SOMA_ACT_NONE;
    if (g->n_in > SOMA_CONV2D_ADDED && g->want[SOMA_CONV2D_ADDED])
        g->din[SOMA_CONV2D_ADDED] = dy;
    memcpy(to_x.size, &x.shape.dim[2], sizeof to_x.size);
    memcpy(to_w.size, &w.shape.dim[2], sizeof to_w.size);
    if (g->want[0]) {
        const soma_value in[2] = {dy, g->in[1]};
        g->din[0] = soma_apply1(&soma_op_conv2d_input_grad, in, 2, &to_x, NULL, soma_nowhere());
    }
    if (g->want[1]) { /* db comes from the same pass over dy */
        const soma_value in[2] = {g->in[0], dy};
        soma_value out[2] = {{NULL, -1}, {NULL, -1}};
        soma_apply_with(&soma_op_conv2d_weight_grad, in, 2, out, want_b ? 2 : 1,
                        &(soma_apply_options){.struct_size = sizeof(soma_apply_options), .attrs = &to_w});
        g->din[1] = out[0];
        if (want_b)
            g->din[2] = out[1];
    } else if (want_b) {
        g->din[2] = soma_reduce_sum(dy, .axes = SOMA_AXIS(0) | SOMA_AXIS(2) | SOMA_AXIS(3));
    }
}

static double flops(const void *attrs, const soma_arg *in, int n_in, const soma_arg *out)
{
    (void)n_in;
    soma_conv2d_case c = soma_conv2d_case_of(attrs, &in[0].shape, &in[1].shape, &out[0].shape);
    return soma_conv2d_flops(&c);
}

#define S SOMA_DIMS
static const soma_sample samples[] = {
    {"odd 3x3", "pad=1,1,1,1", (const soma_shape[]){S(SOMA_N, 2, 5, 7), S(3, 2, 3, 3), S(3)}, "nnn-", 0, false},
    {"no bias", NULL, (const soma_shape[]){S(SOMA_N, 3, 5, 4), S(4, 3, 2, 3), S(4)}, "nn--", 0, false},
    {"asymmetric pad", "pad=0,1,2,0", (const soma_shape[]){S(1, 3, 4, 5), S(2, 3, 3, 2), S(2)}, "nnn-", 0, false},
    {"stride 2", "stride=2,2 pad=1,1,1,1", (const soma_shape[]){S(SOMA_N, 3, 7, 6), S(6, 3, 3, 3), S(6)}, "nnn-", 0,
     false},
    {"stride 3 and 1", "stride=3,1", (const soma_shape[]){S(2, 1, 8, 5), S(2, 1, 2, 2), S(2)}, "nnn-", 0, false},
    {"dilation", "dilation=2,3 pad=2,1,2,3", (const soma_shape[]){S(SOMA_N, 2, 6, 7), S(2, 2, 3, 3), S(2)}, "nnn-", 0,
     false},
    {"groups", "groups=2 pad=1,1,1,1", (const soma_shape[]){S(SOMA_N, 4, 4, 5), S(6, 2, 3, 3), S(6)}, "nnn-", 0, false},
    {"depthwise", "groups=6 pad=1,1,1,1 stride=2,2", (const soma_shape[]){S(2, 6, 5, 5), S(6, 1, 3, 3), S(6)}, "nnn-",
     0, false},
    {"1x1", NULL, (const soma_shape[]){S(SOMA_N, 16, 3, 3), S(16, 16, 1, 1), S(16)}, "nnn-", 0, false},
    {"5x5 from 1", "pad=2,2,2,2", (const soma_shape[]){S(1, 1, 6, 6), S(6, 1, 5, 5), S(6)}, "nnn-", 0, false},
    {"tanh", "activation=tanh", (const soma_shape[]){S(SOMA_N, 2, 4, 4), S(2, 2, 3, 3), S(2)}, "nnn-", 0, false},
    {"sigmoid", "activation=sigmoid pad=1,1,1,1", (const soma_shape[]){S(2, 2, 3, 3), S(2, 2, 3, 3), S(2)}, "nnn-", 0,
     false},
    {"relu6", "activation=relu6 pad=1,1,1,1", (const soma_shape[]){S(2, 3, 5, 4), S(5, 3, 3, 3), S(5)}, "nnn-", 0,
     false},
    {"relu6 16 to 16", "activation=relu6 pad=1,1,1,1", (const soma_shape[]){S(2, 16, 9, 11), S(16, 16, 3, 3), S(16)},
     "nnn-", 0, true},
    {"relu 16 to 16", "activation=relu pad=1,1,1,1", (const soma_shape[]){S(2, 16, 9, 11), S(16, 16, 3, 3), S(16)},
     "nnn-", 0, true},
    {"32 to 48", "pad=1,1,1,1", (const soma_shape[]){S(SOMA_N, 32, 14, 13), S(48, 32, 3, 3), S(48)}, "nnn-", 0, true},
    {"1 to 32, 28x28", "activation=relu pad=1,1,1,1", (const soma_shape[]){S(SOMA_N, 1, 28, 28), S(32, 1, 3, 3), S(32)},
     "nnn-", 0, true},
    {"3 to 6, 5x5", NULL, (const soma_shape[]){S(SOMA_N, 3, 32, 32), S(6, 3, 5, 5), S(6)}, "nnn-", 0, true},
    {"6 to 16, 5x5", "activation=relu", (const soma_shape[]){S(SOMA_N, 6, 14, 14), S(16, 6, 5, 5), S(16)}, "nnn-", 0,
     true},
    {"3 to 64, 7x7", "stride=2,2 pad=3,3,3,3", (const soma_shape[]){S(2, 3, 31, 33), S(64, 3, 7, 7), S(64)}, "nnn-", 0,
     true},
    {"groups of 16", "groups=2 pad=1,1,1,1", (const soma_shape[]){S(2, 32, 7, 7), S(32, 16, 3, 3), S(32)}, "nnn-", 0,
     true},
    {"depthwise 32, stride 2, relu6", "groups=32 pad=1,1,1,1 stride=2,2 activation=relu6",
     (const soma_shape[]){S(SOMA_N, 32, 15, 12), S(32, 1, 3, 3), S(32)}, "nnn-", 0, true},
    {"depthwise 24, 5x5", "groups=24 pad=2,1,2,3 activation=relu",
     (const soma_shape[]){S(1, 24, 11, 13), S(24, 1, 5, 5), S(24)}, "nn--", 0, true},
    {"depthwise 64, 3x2, stride 1 and 3", "groups=64 pad=2,0,1,1 stride=1,3",
     (const soma_shape[]){S(2, 64, 7, 20), S(64, 1, 3, 2), S(64)}, "nnn-", 0, true},
    {"depthwise 16, narrow", "groups=16 pad=3,3,3,3", (const soma_shape[]){S(2, 16, 3, 2), S(16, 1, 7, 7), S(16)},
     "nnn-", 0, true},
    {"depthwise 32", "groups=32 pad=1,1,1,1", (const soma_shape[]){S(2, 32, 9, 9), S(32, 1, 3, 3), S(32)}, "nnn-", 0,
     true},
    {"64 to 16, 1x1, small pictures", "activation=relu", (const soma_shape[]){S(5, 64, 5, 1), S(16, 64, 1, 1), S(16)},
     "nnn-", 0, true},
    {"64 to 8, 1x1", NULL, (const soma_shape[]){S(3, 64, 5, 7), S(8, 64, 1, 1), S(8)}, "nnn-", 0, true},
    {"32 to 64, 1x1", NULL, (const soma_shape[]){S(2, 32, 5, 7), S(64, 32, 1, 1), S(64)}, "nnn-", 0, true},
    {"48 to 3, 1x1", NULL, (const soma_shape[]){S(2, 48, 6, 6), S(3, 48, 1, 1), S(3)}, "nnn-", 0, true},
    {"residual", "activation=relu pad=1,1,1,1",
     (const soma_shape[]){S(SOMA_N, 3, 4, 5), S(4, 3, 3, 3), S(4), S(SOMA_N, 4, 4, 5)}, "nnnn", 0, true},
    {"residual, no bias", "stride=2,2", (const soma_shape[]){S(2, 3, 5, 5), S(2, 3, 1, 1), S(2), S(2, 2, 3, 3)}, "nn-n",
     0, false},
    {"residual 32 to 32", "activation=relu pad=1,1,1,1",
     (const soma_shape[]){S(2, 32, 14, 15), S(32, 32, 3, 3), S(32), S(2, 32, 14, 15)}, "nnnn", 0, true},
    {"residual 1x1", "activation=relu", (const soma_shape[]){S(2, 16, 7, 7), S(64, 16, 1, 1), S(64), S(2, 64, 7, 7)},
     "nnnn", 0, true},
    {"24 to 48, 1x1", "activation=relu6", (const soma_shape[]){S(SOMA_N, 24, 5, 7), S(48, 24, 1, 1), S(48)}, "nnn-", 0,
     true},
    {"residual 96 to 40, 1x1", "activation=relu",
     (const soma_shape[]){S(2, 96, 8, 6), S(40, 96, 1, 1), S(40), S(2, 40, 8, 6)}, "nnnn", 0, true},
    {"8 to 64, 1x1", NULL, (const soma_shape[]){S(1, 8, 9, 9), S(64, 8, 1, 1), S(64)}, "nn--", 0, true},
    {"residual 24 to 24, 1x1", NULL, (const soma_shape[]){S(2, 24, 7, 7), S(24, 24, 1, 1), S(24), S(2, 24, 7, 7)},
     "nnnn", 0, true},
    {"24 to 40, 1x1, stride 2 and 3", "stride=2,3 activation=relu",
     (const soma_shape[]){S(SOMA_N, 24, 9, 8), S(40, 24, 1, 1), S(40)}, "nnn-", 0, true},
    {"residual 1104 to 48, 1x1", "activation=relu",
     (const soma_shape[]){S(2, 1104, 5, 7), S(48, 1104, 1, 1), S(48), S(2, 48, 5, 7)}, "nnnn", 0, true},
    {"residual 528 to 16, 1x1", "activation=relu6",
     (const soma_shape[]){S(2, 528, 9, 11), S(16, 528, 1, 1), S(16), S(2, 16, 9, 11)}, "nnnn", 0, true},
    {"48 to 80, pad 0 and 2", "pad=0,1,2,0 activation=relu6",
     (const soma_shape[]){S(2, 48, 10, 13), S(80, 48, 3, 3), S(80), S(2, 80, 10, 12)}, "nnnn", 0, true},
    {"128 to 64", "pad=1,1,1,1", (const soma_shape[]){S(1, 128, 11, 18), S(64, 128, 3, 3), S(64)}, "nn--", 0, true},
    {NULL, NULL, NULL, NULL, 0, false}};

SOMA_ISA_DECLARE(soma_conv2d_cpu)
SOMA_BF16_DECLARE(soma_conv2d_winograd6_cpu)
SOMA_ISA_DECLARE(soma_conv2d_winograd6_cpu)
SOMA_ONEDNN_DECLARE(soma_conv2d_onednn_depthwise)
SOMA_ISA_DECLARE(soma_conv2d_depthwise_cpu)
SOMA_BF16_DECLARE(soma_conv2d_winograd_cpu)
SOMA_ISA_DECLARE(soma_conv2d_winograd_cpu)
SOMA_ISA_DECLARE(soma_conv2d_pointwise_cpu)
SOMA_ONEDNN_DECLARE(soma_conv2d_onednn_winograd)
SOMA_ONEDNN_DECLARE(soma_conv2d_onednn)
static const soma_kernel *const kernels[] = {
    SOMA_CONV2D_MIXED(soma_conv2d_mixed_cpu) SOMA_ONEDNN_LIST(soma_conv2d_onednn_depthwise)
            SOMA_ISA_LIST(soma_conv2d_depthwise_cpu) SOMA_ISA_LIST(soma_conv2d_cpu)
                SOMA_BF16_LIST(soma_conv2d_winograd6_cpu) SOMA_BF16_LIST(soma_conv2d_winograd_cpu)
                    SOMA_ISA_LIST(soma_conv2d_winograd6_cpu) SOMA_ISA_LIST(soma_conv2d_winograd_cpu)
                        SOMA_ISA_LIST(soma_conv2d_pointwise_cpu) SOMA_ONEDNN_LIST(soma_conv2d_onednn_winograd)
                            SOMA_ONEDNN_LIST(soma_conv2d_onednn) &
        soma_conv2d_reference,
    NULL};

const soma_op soma_op_conv2d = {
    .name = "conv2d",
    .doc = "y = act(conv(x, w) + b + z), cross-correlation over zero-padded x [N,C,H,W] with filters w "
           "[K,C/groups,kh,kw]; z has y's shape: what a residual block adds",
    .onnx = "Conv",
    .required_in = 2,
    .optional_in = 2,
    .required_out = 1,
    .attrs_size = sizeof(soma_conv2d_attrs),
    .fields = fields,
    .batch = SOMA_BATCH_EACH,
    .tail = SOMA_TAIL_BIAS | SOMA_TAIL_ADD | SOMA_TAIL_ACT,
    .folds_affine = true,
    .inplace_in = 1 + SOMA_CONV2D_ADDED,
    .error = SOMA_ERROR_SUM,
    .infer = infer,
    .grad = grad,
    .flops = flops,
    .kernels = kernels,
    .samples = samples,
    .n_in_samples = 4};

SOMA_TABLE(soma_op_conv2d_options) = {
    SOMA_OTHER(soma_op_conv2d_options, w, .doc = "[K, C / groups, kh, kw]"),
    SOMA_OTHER(soma_op_conv2d_options, b, .doc = "[K]; absent: none"),
    SOMA_INTS(soma_op_conv2d_options, stride, 1, ANY, .doc = "steps of the window: down, right"),
    SOMA_INTS(soma_op_conv2d_options, pad, 0, ANY, .doc = "zeros around x: top, left, bottom, right"),
    SOMA_INTS(soma_op_conv2d_options, dilation, 1, ANY, .doc = "distance of the window's elements"),
    SOMA_INT(soma_op_conv2d_options, groups, 1, ANY, .doc = "parts of the channels that are convolved apart"),
    SOMA_FIELDS_END};

soma_value soma_op_conv2d_with(soma_value x, const soma_op_conv2d_options *given)
{
    soma_op_conv2d_options o;
    soma_value failed;
    if (!SOMA_TAKE_IN(x.graph, "conv2d", soma_op_conv2d_options, given, &o, &failed))
        return failed;
    soma_conv2d_attrs a = {.groups = o.groups};
    memcpy(a.stride, o.stride, sizeof a.stride);
    memcpy(a.dilation, o.dilation, sizeof a.dilation);
    memcpy(a.pad, o.pad, sizeof a.pad);
    const soma_value in[3] = {x, o.w, o.b};
    return soma_apply1(&soma_op_conv2d, in, o.b.graph ? 3 : 2, &a, NULL, o.at);
}
