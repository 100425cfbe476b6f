/* SPDX-License-Identifier: Apache-2.0
 *
 * op/conv2d/conv2d_onednn.c: convolutions of oneDNN: direct, and (2.6 only, 3x3) Winograd as kernels of their own. One
 * rule gives the layouts of x and y from the shape alone, so that the forward node and both gradients agree; weights
 * take whatever order the primitive likes best and stay packed.
 */
#include "library/onednn/shim.h"
#include "op/conv2d/conv2d.h"
#include "op/tail/tail_onednn.h"

/* x (or dx) and y (or dy). "any" is a trap: for 6 -> 16 channels it picks a blocked y whose gradients run reference
 * code. */
static void rule(const soma_conv2d_case *c, soma_layout_kind *x, soma_layout_kind *y)
{
    int64_t block = soma_onednn_block(), groups = c->a->groups, cg = c->c / groups, kg = c->k / groups;
    soma_layout_kind blocked = block == 16 ? SOMA_NCHW16C : SOMA_NCHW8C;
    bool depthwise = groups > 1 && cg == 1 && kg == 1 && c->c % block == 0;
    if (depthwise || (cg % block == 0 && kg % block == 0)) {
        *x = *y = blocked;
    } else if (groups == 1 && c->c <= 3 && c->k % block == 0) { /* a first layer */
        *x = SOMA_PLAIN;
        *y = blocked;
    } else {
        *x = *y = SOMA_NHWC;
    }
}

static soma_status accept(soma_prepare *p)
{
    if (p->in[0].dtype == SOMA_F32 || p->in[0].dtype == SOMA_BF16)
        return SOMA_OK;
    soma_refuse(p->reason, "oneDNN convolves f32 and bf16 only");
    return SOMA_UNSUPPORTED;
}

static void forward_wish(soma_prepare *p)
{
    soma_conv2d_case c = soma_conv2d_forward_case(p);
    rule(&c, &p->in[0].layout.kind, &p->out[0].layout.kind);
    soma_tail_wish_alike(p);
}
static void input_wish(soma_prepare *p)
{
    soma_conv2d_case c = soma_conv2d_input_case(p);
    rule(&c, &p->out[0].layout.kind, &p->in[0].layout.kind);
    if (p->out[0].layout.kind == SOMA_PLAIN) /* no fast code writes a plain dx */
        p->out[0].layout.kind = p->in[0].layout.kind = SOMA_NHWC;
    soma_tail_wish_alike(p);
}
static void weight_wish(soma_prepare *p)
{
    soma_conv2d_case c = soma_conv2d_weight_case(p);
    rule(&c, &p->in[0].layout.kind, &p->in[1].layout.kind);
}

/* TURNED: backward to x as forward with turned weights, which can add to what is there. */
typedef enum direction { FORWARD, INPUT, WEIGHTS, TURNED } direction;

/* What the library needs to know to make a primitive descriptor. */
typedef struct request {
    soma_md x, w, b, y;
    soma_onednn_window window;
    dnnl_engine_t engine;
    dnnl_alg_kind_t activation; /* that the library applies */
    dnnl_primitive_attr_t attr;
    dnnl_primitive_desc_t pd;
} request;

/* Weights are read in the type of the activations; their gradient is f32. */
static soma_dtype weight_type(const soma_prepare *p, direction d)
{
    return d == WEIGHTS ? SOMA_F32 : p->in[0].dtype;
}

static void window_of(const soma_conv2d_case *c, soma_onednn_window *window)
{
    const soma_conv2d_attrs *a = c->a;
    for (int i = 0; i < 2; i++) {
        window->stride[i] = a->stride[i];
        window->dilate[i] = a->dilation[i] - 1;
        window->pad_begin[i] = a->pad[i];
        window->pad_end[i] = a->pad[2 + i];
    }
}

static dnnl_status_t describe(request *r, const soma_conv2d_case *c, const soma_arg *x, const soma_arg *y, bool bias,
                              soma_dtype weights, bool turned)
{
    int64_t groups = c->a->groups;
    const int64_t plain[4] = {turned ? c->c : c->k, turned ? c->k : c->c, c->kh, c->kw};
    const int64_t grouped[5] = {groups, c->k / groups, c->c / groups, c->kh, c->kw};
    window_of(c, &r->window);
    dnnl_status_t status = soma_md_activation(&r->x, x);
    if (status == dnnl_success)
        status = soma_md_activation(&r->y, y);
    if (status == dnnl_success)
        status = soma_md_tag(&r->w, weights, groups > 1 ? 5 : 4, groups > 1 ? grouped : plain, dnnl_format_tag_any);
    if (status == dnnl_success && bias)
        status = soma_md_tag(&r->b, SOMA_F32, 1, &c->k, dnnl_a);
    return status;
}

static dnnl_status_t create(request *r, direction d, dnnl_alg_kind_t algorithm)
{
    soma_md_ref x = soma_md_get(&r->x), w = soma_md_get(&r->w), b = soma_md_get(&r->b), y = soma_md_get(&r->y);
    if (d == FORWARD)
        return soma_pd_convolution_forward(&r->pd, r->engine, algorithm, (const soma_md_ref[]){x, w, b, y}, &r->window,
                                           r->attr);
    if (d == TURNED)
        return soma_pd_convolution_forward(&r->pd, r->engine, algorithm, (const soma_md_ref[]){y, w, NULL, x},
                                           &r->window, r->attr);
    if (d == INPUT)
        return soma_pd_convolution_input(&r->pd, r->engine, algorithm, (const soma_md_ref[]){x, w, y}, &r->window,
                                         r->attr);
    return soma_pd_convolution_weights(&r->pd, r->engine, algorithm, (const soma_md_ref[]){x, w, b, y}, &r->window,
                                       r->attr);
}

static soma_status finish(request *r, soma_prepare *p, direction d)
{
    static const struct {
        soma_onednn_bind bind[4];
        int weights; /* which argument of the primitive is in the library's own order */
    } of[] = {{{{DNNL_ARG_SRC, 0}, {DNNL_ARG_WEIGHTS, 1}, {DNNL_ARG_DST, -1}, {DNNL_ARG_BIAS, 2}}, DNNL_ARG_WEIGHTS},
              {{{DNNL_ARG_DIFF_DST, 0}, {DNNL_ARG_WEIGHTS, 1}, {DNNL_ARG_DIFF_SRC, -1}, {0, 0}}, DNNL_ARG_WEIGHTS},
              {{{DNNL_ARG_SRC, 0}, {DNNL_ARG_DIFF_DST, 1}, {DNNL_ARG_DIFF_WEIGHTS, -1}, {DNNL_ARG_DIFF_BIAS, -2}},
               DNNL_ARG_DIFF_WEIGHTS},
              {{{DNNL_ARG_SRC, 0}, {DNNL_ARG_WEIGHTS, 1}, {DNNL_ARG_DST, -1}, {0, 0}}, DNNL_ARG_WEIGHTS}};
    soma_onednn_bind bind[4];
    for (int i = 0; i < 4; i++) {
        bind[i] = of[d].bind[i];
        if (bind[i].position < 0) /* outputs follow the inputs, however many there are */
            bind[i].position = p->n_in - 1 - bind[i].position;
    }
    soma_status status = soma_onednn_refuse_reference(p, r->pd, r->activation);
    if (status == SOMA_OK)
        status = soma_onednn_commit(p, r->engine, r->pd, bind, r->b.present ? 4 : 3);
    soma_arg *weights = d == WEIGHTS ? &p->out[0] : &p->in[1];
    weights->dtype = weight_type(p, d);
    soma_md turned = {0};
    soma_md_ref md = dnnl_primitive_desc_query_md(r->pd, dnnl_query_exec_arg_md, of[d].weights);
    if (d == TURNED && soma_md_turned(&turned, md) != dnnl_success)
        return soma_refuse(p->reason, "oneDNN cannot turn the weights");
    if (status == SOMA_OK)
        status = soma_md_to_layout(p, d == TURNED ? soma_md_get(&turned) : md, weights->dtype, &weights->layout);
    soma_md_drop(&turned);
    return status;
}

/* The library's scratch of a Winograd layer may reach a gigabyte where batch and picture are large. */
#define WINOGRAD_SCRATCH ((size_t)256 << 20)

/* The primitive, its layouts and its scratch. r->pd is set on success. */
static soma_status make(request *r, soma_prepare *p, direction d, dnnl_alg_kind_t algorithm)
{
    bool winograd = algorithm == dnnl_convolution_winograd;
    dnnl_status_t found = create(r, d, algorithm);
    if (found != dnnl_success)
        return soma_onednn_refuse(p, winograd ? "Winograd convolution" : "direct convolution", found);
    soma_status status = finish(r, p, d);
    if (status != SOMA_OK || !winograd || p->scratch <= WINOGRAD_SCRATCH)
        return status;
    soma_refuse(p->reason, "it wants %.0f MB of scratch, the limit is %.0f MB", (double)p->scratch / 1e6,
                (double)WINOGRAD_SCRATCH / 1e6);
    return SOMA_UNSUPPORTED;
}

static soma_status prepare(soma_prepare *p, direction d, dnnl_alg_kind_t algorithm, const soma_conv2d_case *c,
                           const soma_arg *x, const soma_arg *y, bool bias)
{
    request r = {0};
    if (d == TURNED)
        p->behind &= ~(uint32_t)SOMA_TAIL_ADD;
    const soma_tail_state tail = soma_tail_of(p);
    bool added = tail.add >= 0;
    soma_status status = soma_onednn_engine(p, &r.engine);
    if (status != SOMA_OK)
        return status;
    r.activation = soma_act_onednn(tail.act);
    dnnl_status_t found = soma_onednn_attr(&r.attr, added, r.activation);
    if (found == dnnl_success)
        found = describe(&r, c, x, y, bias, weight_type(p, d), d == TURNED);
    status = found == dnnl_success ? make(&r, p, d, algorithm) : soma_onednn_refuse(p, "convolution", found);
    if (added) /* in the result's place */
        p->in[tail.add].dtype = p->out[0].dtype;
    if (status == SOMA_OK && added)
        status = soma_tail_alike(p);
    if (status == SOMA_OK && added)
        soma_onednn_begin_with(p, tail.add, p->n_in, (size_t)p->out[0].elements * soma_dtype_size(p->out[0].dtype));
    if (r.pd)
        dnnl_primitive_desc_destroy(r.pd);
    if (r.attr)
        dnnl_primitive_attr_destroy(r.attr);
    soma_md_drop(&r.x);
    soma_md_drop(&r.w);
    soma_md_drop(&r.b);
    soma_md_drop(&r.y);
    return status;
}

static soma_status forward(soma_prepare *p, dnnl_alg_kind_t algorithm)
{
    soma_conv2d_case c = soma_conv2d_forward_case(p);
    return prepare(p, FORWARD, algorithm, &c, &p->in[0], &p->out[0], soma_conv2d_has_in(p, 2));
}
static soma_status input(soma_prepare *p, dnnl_alg_kind_t algorithm)
{
    soma_conv2d_case c = soma_conv2d_input_case(p);
    const soma_conv2d_attrs *a = c.a;
    bool point = c.kh == 1 && c.kw == 1 && a->stride[0] == 1 && a->stride[1] == 1 && a->groups == 1 && !a->pad[0] &&
                 !a->pad[1] && !a->pad[2] && !a->pad[3];
    soma_status status = SOMA_UNSUPPORTED;
    if (point && soma_conv2d_has_in(p, SOMA_CONV2D_ADDED)) {
        const soma_arg weights = p->in[1], added = p->in[SOMA_CONV2D_ADDED];
        const uint32_t behind = p->behind;
        status = prepare(p, TURNED, algorithm, &c, &p->out[0], &p->in[0], false);
        if (status == SOMA_UNSUPPORTED) { /* no fast code adds here: a pass behind the gradient does */
            p->in[1] = weights;
            p->in[SOMA_CONV2D_ADDED] = added;
            p->behind = behind;
            p->scratch = 0;
        }
    }
    return status == SOMA_UNSUPPORTED ? prepare(p, INPUT, algorithm, &c, &p->out[0], &p->in[0], false) : status;
}
static soma_status weights(soma_prepare *p, dnnl_alg_kind_t algorithm)
{
    soma_conv2d_case c = soma_conv2d_weight_case(p);
    return prepare(p, WEIGHTS, algorithm, &c, &p->in[0], &p->in[1], soma_conv2d_has_out(p, 1));
}

static soma_status forward_direct(soma_prepare *p)
{
    return forward(p, dnnl_convolution_direct);
}
static soma_status input_direct(soma_prepare *p)
{
    return input(p, dnnl_convolution_direct);
}
static soma_status weights_direct(soma_prepare *p)
{
    return weights(p, dnnl_convolution_direct);
}

const soma_kernel soma_conv2d_onednn = {.name = "onednn",
                                        .bf16 = SOMA_BF16_MULTIPLY,
                                        .layouts = SOMA_LAYOUT_ASK,
                                        .tail = SOMA_TAIL_ADD | SOMA_TAIL_ACT,
                                        .acts = SOMA_ACTS_ONEDNN,
                                        .accept = accept,
                                        .request = forward_wish,
                                        .prepare = forward_direct};
const soma_kernel soma_conv2d_input_grad_onednn = {.name = "onednn",
                                                   .bf16 = SOMA_BF16_MULTIPLY,
                                                   .layouts = SOMA_LAYOUT_ASK,
                                                   .accept = accept,
                                                   .request = input_wish,
                                                   .prepare = input_direct};

/* Where bf16 images are narrower than the stride and windows reach into padding, the library (2.6) multiplies memory
 * that nobody has written: its transposed copy of x ends before the position that fills up a pair. */
static soma_status weights_accept(soma_prepare *p)
{
    soma_conv2d_case c = soma_conv2d_weight_case(p);
    int64_t stride = c.a->stride[1], end = (c.ow - 1) * stride + (c.kw - 1) * c.a->dilation[1] + 1 - c.a->pad[1];
    if (p->in[0].dtype != SOMA_BF16 || c.w >= stride || (c.a->pad[1] == 0 && end <= c.w))
        return accept(p);
    soma_refuse(p->reason, "oneDNN's bf16 gradient of weights needs images as wide as the stride");
    return SOMA_UNSUPPORTED;
}

const soma_kernel soma_conv2d_weight_grad_onednn = {.name = "onednn",
                                                    .bf16 = SOMA_BF16_MULTIPLY,
                                                    .layouts = SOMA_LAYOUT_ASK,
                                                    .accept = weights_accept,
                                                    .request = weight_wish,
                                                    .prepare = weights_direct};

/* ---- depthwise: x and y take the layout of their neighbours, which must be one; soma's own kernels take two ---- */

static soma_status depthwise_accept(soma_prepare *p, const soma_conv2d_case *c, soma_status others(soma_prepare *))
{
    if (c->a->groups == c->c && c->k == c->c && c->c > 1)
        return others(p);
    soma_refuse(p->reason, "made for one filter per channel");
    return SOMA_UNSUPPORTED;
}

static soma_status forward_depthwise_accept(soma_prepare *p)
{
    soma_conv2d_case c = soma_conv2d_forward_case(p);
    return depthwise_accept(p, &c, accept);
}
static soma_status input_depthwise_accept(soma_prepare *p)
{
    soma_conv2d_case c = soma_conv2d_input_case(p);
    if (p->n_in > SOMA_CONV2D_GATE) {
        soma_refuse(p->reason, "its gradient has neither gate nor addition");
        return SOMA_UNSUPPORTED;
    }
    return depthwise_accept(p, &c, accept);
}
static soma_status weights_depthwise_accept(soma_prepare *p)
{
    soma_conv2d_case c = soma_conv2d_weight_case(p);
    return depthwise_accept(p, &c, weights_accept);
}

/* May x and y be what they are? */
static soma_status one_layout(soma_prepare *p, const soma_arg *x, const soma_arg *y)
{
    if (x->layout.kind == y->layout.kind && x->layout.kind != SOMA_PLAIN)
        return SOMA_OK;
    soma_refuse(p->reason, "x and y must have one layout, and not the plain one");
    return SOMA_UNSUPPORTED;
}

static soma_status forward_depthwise(soma_prepare *p)
{
    soma_status status = one_layout(p, &p->in[0], &p->out[0]);
    return status == SOMA_OK ? forward_direct(p) : status;
}
static soma_status input_depthwise(soma_prepare *p)
{
    soma_status status = one_layout(p, &p->in[0], &p->out[0]);
    return status == SOMA_OK ? input_direct(p) : status;
}
static soma_status weights_depthwise(soma_prepare *p)
{
    soma_status status = one_layout(p, &p->in[0], &p->in[1]);
    return status == SOMA_OK ? weights_direct(p) : status;
}

const soma_kernel soma_conv2d_onednn_depthwise = {.name = "onednn-depthwise",
                                                  .bf16 = SOMA_BF16_MULTIPLY,
                                                  .layouts = SOMA_LAYOUT_CONVERT,
                                                  .tail = SOMA_TAIL_ADD | SOMA_TAIL_ACT,
                                                  .acts = SOMA_ACTS_ONEDNN,
                                                  .accept = forward_depthwise_accept,
                                                  .prepare = forward_depthwise};
const soma_kernel soma_conv2d_input_grad_onednn_depthwise = {.name = "onednn-depthwise",
                                                             .bf16 = SOMA_BF16_MULTIPLY,
                                                             .layouts = SOMA_LAYOUT_CONVERT,
                                                             .accept = input_depthwise_accept,
                                                             .prepare = input_depthwise};
const soma_kernel soma_conv2d_weight_grad_onednn_depthwise = {.name = "onednn-depthwise",
                                                              .bf16 = SOMA_BF16_MULTIPLY,
                                                              .layouts = SOMA_LAYOUT_CONVERT,
                                                              .accept = weights_depthwise_accept,
                                                              .prepare = weights_depthwise};

/* ---- Winograd, F(4x4, 3x3): its f32 error stays within the bound for default kernels (tests/test_ops.c) ---- */

static soma_status winograd_accept(soma_prepare *p, const soma_conv2d_case *c)
{
    const soma_conv2d_attrs *a = c->a;
    bool unit = a->stride[0] == 1 && a->stride[1] == 1 && a->dilation[0] == 1 && a->dilation[1] == 1 && a->groups == 1;
    if (DNNL_VERSION_MAJOR >= 3)
        soma_refuse(p->reason, "oneDNN 3 has no Winograd convolution");
    else if (!unit || c->kh != 3 || c->kw != 3 || c->c % 16 || c->k % 16 || p->in[0].dtype != SOMA_F32)
        soma_refuse(p->reason, "made for f32, 3x3 windows, stride 1 and multiples of 16 channels");
    else
        return SOMA_OK;
    return SOMA_UNSUPPORTED;
}

/* A quarter of the multiplications; transforms eat the gain where channels are few or the picture small. */
static bool winograd_suits(const soma_conv2d_case *c)
{
    return c->c >= 32 && c->k >= 32 && c->oh >= 12 && c->ow >= 12;
}

static soma_status forward_winograd_accept(soma_prepare *p)
{
    soma_conv2d_case c = soma_conv2d_forward_case(p);
    return winograd_accept(p, &c);
}
static soma_status input_winograd_accept(soma_prepare *p)
{
    soma_conv2d_case c = soma_conv2d_input_case(p);
    return winograd_accept(p, &c);
}
static soma_status weights_winograd_accept(soma_prepare *p)
{
    soma_conv2d_case c = soma_conv2d_weight_case(p);
    return winograd_accept(p, &c);
}

static bool forward_winograd_suits(const soma_prepare *p)
{
    soma_conv2d_case c = soma_conv2d_forward_case(p);
    return winograd_suits(&c);
}
static bool input_winograd_suits(const soma_prepare *p)
{
    soma_conv2d_case c = soma_conv2d_input_case(p);
    return winograd_suits(&c);
}
static bool weights_winograd_suits(const soma_prepare *p)
{
    soma_conv2d_case c = soma_conv2d_weight_case(p);
    return winograd_suits(&c);
}

static soma_status forward_winograd(soma_prepare *p)
{
    return forward(p, dnnl_convolution_winograd);
}
static soma_status input_winograd(soma_prepare *p)
{
    return input(p, dnnl_convolution_winograd);
}
static soma_status weights_winograd(soma_prepare *p)
{
    return weights(p, dnnl_convolution_winograd);
}

const soma_kernel soma_conv2d_onednn_winograd = {.name = "onednn-winograd",
                                                 .layouts = SOMA_LAYOUT_ASK,
                                                 .tail = SOMA_TAIL_ADD,
                                                 .accept = forward_winograd_accept,
                                                 .suits = forward_winograd_suits,
                                                 .request = forward_wish,
                                                 .prepare = forward_winograd};
const soma_kernel soma_conv2d_input_grad_onednn_winograd = {.name = "onednn-winograd",
                                                            .layouts = SOMA_LAYOUT_ASK,
                                                            .accept = input_winograd_accept,
                                                            .suits = input_winograd_suits,
                                                            .request = input_wish,
                                                            .prepare = input_winograd};
const soma_kernel soma_conv2d_weight_grad_onednn_winograd = {.name = "onednn-winograd",
                                                             .layouts = SOMA_LAYOUT_ASK,
                                                             .accept = weights_winograd_accept,
                                                             .suits = weights_winograd_suits,
                                                             .request = weight_wish,
                                                             .prepare = weights_winograd};
