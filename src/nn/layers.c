/* SPDX-License-Identifier: Apache-2.0
 *
 * nn/layers.c: layers: an op, its named parameters, an activation. Knows no losses and no training.
 */
#include "nn/nn.h"

#include "base/text.h"
#include "base/words.h"
#include "base/zero.h"
#include "graph/fill.h"
#include "op/batch_norm/batch_norm.h"
#include "op/conv2d/conv2d.h"
#include "op/dropout/dropout.h"

#include <stdio.h>
#include <string.h>

/* What dense and conv2d have in common. */
typedef struct soma_layer {
    soma_model *m;
    const char *kind; /* for sentences */
    const char *name; /* with its scope */
    soma_at at;
    soma_dtype dtype;
    const char *activation;
    const char *init, *bias_init;
    double a, b, bias_a, bias_b;
} soma_layer;

static soma_value layer_fail(const soma_layer *layer)
{
    return (soma_value){layer->m->graph, -1};
}

static bool init_known(const soma_layer *layer, const char *init)
{
    if (soma_init_known(init))
        return true;
    const char *nearest = soma_nearest_of(init, soma_init_names);
    soma_value_fail(layer->m->graph, layer->at, "%s \"%s\": there is no initialiser \"%s\"%s%s%s", layer->kind,
                    layer->name, init, nearest ? "; did you mean \"" : "", nearest ? nearest : "",
                    nearest ? "\"?" : "");
    return false;
}

/* Names the layer and checks what can be checked without shapes. */
static bool layer_begin(soma_layer *layer, soma_value x, const char *given, const char *automatic)
{
    layer->m = x.graph->model;
    layer->dtype = soma_value_type(x).dtype;
    layer->name = soma_layer_name(layer->m, given, automatic);
    if (!layer->name) {
        x.graph->failed = true;
        return false;
    }
    if (layer->dtype != SOMA_F32 && layer->dtype != SOMA_F64) {
        soma_value_fail(x.graph, layer->at, "%s \"%s\": x is %s, but layers compute with f32 or f64", layer->kind,
                        layer->name, soma_dtype_name(layer->dtype));
        return false;
    }
    return soma_activation_known(x.graph, layer->kind, layer->name, layer->activation, layer->at) &&
           init_known(layer, layer->init) && init_known(layer, layer->bias_init);
}

/* "conv1.weight" in the layer's scope; soma_parameter_with puts the scope in front itself. */
static soma_value layer_parameter(const soma_layer *layer, const char *what, soma_tensor_options options)
{
    const char *name = soma_arena_format(&layer->m->arena, "%s.%s", layer->name + strlen(layer->m->scope), what);
    if (!name)
        return soma_none();
    options.struct_size = sizeof options;
    options.at = layer->at;
    options.dtype = layer->dtype;
    return soma_parameter_with(layer->m, name, &options);
}

/* He et al. 2015 for relu and its like, which halve the variance; Glorot and Bengio 2010 otherwise. */
static soma_value layer_weight(const soma_layer *layer, soma_shape shape)
{
    const char *usual = soma_activation_rectifies(layer->activation) ? "he_uniform" : "glorot_uniform";
    const char *init = layer->init ? layer->init : usual;
    return layer_parameter(layer, "weight",
                           (soma_tensor_options){.shape = shape, .init = init, .a = layer->a, .b = layer->b});
}

/* fan_in: the weight's, which PyTorch draws biases by. */
static soma_value layer_bias(const soma_layer *layer, int64_t n, int64_t fan_in)
{
    return layer_parameter(layer, "bias",
                           (soma_tensor_options){.shape = SOMA_SHAPE(n),
                                                 .init = layer->bias_init,
                                                 .a = layer->bias_a,
                                                 .b = layer->bias_b,
                                                 .fan_in = fan_in,
                                                 .fan_out = n});
}

static soma_value layer_activation(const soma_layer *layer, soma_value y)
{
    const char *name = soma_arena_format(&layer->m->arena, "%s.%s", layer->name,
                                         layer->activation ? layer->activation : "");
    if (!name)
        return soma_none();
    return soma_activation_named(y, layer->activation, name, layer->at);
}

/* ---- dense ---- */

static bool dense_checks(const soma_layer *layer, const soma_dense_options *o, const soma_type *x)
{
    char text[96];
    if (o->units < 1)
        soma_value_fail(layer->m->graph, layer->at,
                        "dense \"%s\": units is %lld; say how many outputs it has, " SOMA_FIELD_IS("units", "10"),
                        layer->name, (long long)o->units);
    else if (x->shape.rank != 2 || x->shape.dim[1] < 1)
        soma_value_fail(layer->m->graph, layer->at,
                        "dense \"%s\": x must be [N, features], got %s; put " SOMA_IN_C("soma_flatten(x)")
                            SOMA_ELSEWHERE("flatten") " before it",
                        layer->name, soma_type_text(x, text));
    else
        return true;
    return false;
}

soma_value soma_dense_with(const soma_dense_options *o)
{
    if (!o || !soma_ok(o->x))
        return o ? o->x : soma_none();
    soma_layer layer = {.kind = "dense",
                        .at = o->at,
                        .activation = o->activation,
                        .init = o->init,
                        .a = o->init_a,
                        .b = o->init_b,
                        .bias_init = o->bias_init,
                        .bias_a = o->bias_a,
                        .bias_b = o->bias_b};
    soma_type x = soma_value_type(o->x);
    if (!layer_begin(&layer, o->x, o->name, "dense") || !dense_checks(&layer, o, &x))
        return layer_fail(&layer);
    const soma_op *matmul = soma_op_find("matmul");
    _Alignas(max_align_t) char attrs[SOMA_ATTRS_MAX];
    char reason[SOMA_REASON_MAX] = "";
    if (!matmul || soma_attrs_parse(matmul, attrs, "transpose_b=true", reason) != SOMA_OK)
        return soma_value_fail(layer.m->graph, layer.at, "dense \"%s\": %s", layer.name,
                               matmul ? reason : "this build has no matmul");
    soma_value in[3] = {o->x, layer_weight(&layer, SOMA_SHAPE(o->units, x.shape.dim[1])),
                        o->no_bias ? soma_none() : layer_bias(&layer, o->units, x.shape.dim[1])};
    soma_value y = soma_apply1(matmul, in, o->no_bias ? 2 : 3, attrs, layer.name, layer.at);
    return layer_activation(&layer, y);
}

/* ---- conv2d ---- */

/* TensorFlow's "same": ceil(size / stride) outputs; an odd rest of the padding goes to the bottom and the right. */
static void same_padding(int64_t size, int64_t kernel, int64_t stride, int64_t dilation, int64_t *before,
                         int64_t *after)
{
    int64_t out = (size + stride - 1) / stride;
    int64_t total = (out - 1) * stride + (kernel - 1) * dilation + 1 - size;
    if (total < 0)
        total = 0;
    *before = total / 2;
    *after = total - *before;
}

/* Sizes that an op's attributes take; products of two of them do not overflow. */
static bool in_range(const int64_t n[2], int64_t least)
{
    return n[0] >= least && n[1] >= least && n[0] <= 1000000 && n[1] <= 1000000;
}

static bool conv_checks(const soma_layer *layer, const soma_conv2d_options *o, const soma_type *x)
{
    char text[96];
    soma_graph *graph = layer->m->graph;
    int64_t groups = o->groups ? o->groups : 1;
    if (o->filters < 1)
        soma_value_fail(graph, layer->at,
                        "conv2d \"%s\": filters is %lld; say how many it has, " SOMA_FIELD_IS("filters", "32"),
                        layer->name, (long long)o->filters);
    else if (!in_range(o->kernel, 1))
        soma_value_fail(graph, layer->at,
                        "conv2d \"%s\": kernel is %lldx%lld; give height and width, " SOMA_FIELD_IS("kernel", "{3, 3}"),
                        layer->name, (long long)o->kernel[0], (long long)o->kernel[1]);
    else if (x->shape.rank != 4)
        soma_value_fail(graph, layer->at, "conv2d \"%s\": x must be [N, channels, height, width], got %s", layer->name,
                        soma_type_text(x, text));
    else if (groups < 1 || x->shape.dim[1] % groups || o->filters % groups)
        soma_value_fail(graph, layer->at,
                        "conv2d \"%s\": groups is %lld; it must divide the %lld channels of x and the %lld filters",
                        layer->name, (long long)groups, (long long)x->shape.dim[1], (long long)o->filters);
    else if (!in_range(o->stride, 0) || !in_range(o->dilation, 0))
        soma_value_fail(graph, layer->at,
                        "conv2d \"%s\": stride %lld, %lld and dilation %lld, %lld must be between 1 and 1000000",
                        layer->name, (long long)o->stride[0], (long long)o->stride[1], (long long)o->dilation[0],
                        (long long)o->dilation[1]);
    else if (o->same && (o->pad[0] || o->pad[1] || o->pad[2] || o->pad[3]))
        soma_value_fail(graph, layer->at,
                        "conv2d \"%s\": " SOMA_FIELD("same") " computes the padding; leave " SOMA_FIELD("pad") " out",
                        layer->name);
    else
        return true;
    return false;
}

static soma_conv2d_attrs conv_attrs(const soma_op *op, const soma_conv2d_options *o, const soma_type *x)
{
    soma_conv2d_attrs attrs;
    soma_attrs_default(op, &attrs);
    for (int i = 0; i < 2; i++) {
        attrs.stride[i] = o->stride[i] ? o->stride[i] : 1;
        attrs.dilation[i] = o->dilation[i] ? o->dilation[i] : 1;
    }
    attrs.groups = o->groups ? o->groups : 1;
    memcpy(attrs.pad, o->pad, sizeof attrs.pad);
    for (int i = 0; i < 2 && o->same; i++)
        same_padding(x->shape.dim[2 + i], o->kernel[i], attrs.stride[i], attrs.dilation[i], &attrs.pad[i],
                     &attrs.pad[2 + i]);
    return attrs;
}

soma_value soma_conv2d_with(const soma_conv2d_options *o)
{
    if (!o || !soma_ok(o->x))
        return o ? o->x : soma_none();
    soma_layer layer = {.kind = "conv2d",
                        .at = o->at,
                        .activation = o->activation,
                        .init = o->init,
                        .a = o->init_a,
                        .b = o->init_b,
                        .bias_init = o->bias_init,
                        .bias_a = o->bias_a,
                        .bias_b = o->bias_b};
    soma_type x = soma_value_type(o->x);
    if (!layer_begin(&layer, o->x, o->name, "conv") || !conv_checks(&layer, o, &x))
        return layer_fail(&layer);
    soma_conv2d_attrs attrs = conv_attrs(&soma_op_conv2d, o, &x);
    int64_t channels = x.shape.dim[1] / attrs.groups;
    soma_value in[3] = {o->x, layer_weight(&layer, SOMA_SHAPE(o->filters, channels, o->kernel[0], o->kernel[1])),
                        o->no_bias ? soma_none()
                                   : layer_bias(&layer, o->filters, channels * o->kernel[0] * o->kernel[1])};
    soma_value y = soma_apply1(&soma_op_conv2d, in, o->no_bias ? 2 : 3, &attrs, layer.name, layer.at);
    return layer_activation(&layer, y);
}

/* ---- batch_norm ---- */

static bool norm_checks(const soma_layer *layer, const soma_batch_norm_options *o, const soma_type *x, bool keras)
{
    char text[96];
    soma_graph *graph = layer->m->graph;
    const char *asked = o->convention ? o->convention : "pytorch";
    if (!keras && strcmp(asked, "pytorch"))
        soma_value_fail(
            graph, layer->at,
            "batch_norm \"%s\": there is no convention \"%s\"; it is \"pytorch\" (the default) or \"keras\"",
            layer->name, asked);
    else if (x->shape.rank < 2 || x->shape.dim[1] < 1)
        soma_value_fail(graph, layer->at, "batch_norm \"%s\": x must be [N, channels, ...], got %s", layer->name,
                        soma_type_text(x, text));
    else if (!(soma_plain(o->momentum) >= 0 && soma_plain(o->momentum) <= 1))
        soma_value_fail(
            graph, layer->at,
            "batch_norm \"%s\": momentum is %s; it must be between 0 and 1" SOMA_IN_C(" (for zero write SOMA_ZERO)"),
            layer->name, soma_format_f64(o->momentum, text));
    else if (!(soma_said(o->epsilon, 1) > 0 && o->epsilon < 1e3))
        soma_value_fail(graph, layer->at, "batch_norm \"%s\": epsilon is %s; it must be a small number > 0",
                        layer->name, soma_format_f64(soma_plain(o->epsilon), text));
    else
        return true;
    return false;
}

/* One number per channel; running statistics are no parameters. */
static soma_value norm_tensor(const soma_layer *layer, const char *what, int64_t channels, const char *init,
                              bool frozen, bool buffer)
{
    return layer_parameter(
        layer, what,
        (soma_tensor_options){.shape = SOMA_SHAPE(channels), .init = init, .frozen = frozen, .buffer = buffer});
}

soma_value soma_batch_norm_with(const soma_batch_norm_options *o)
{
    if (!o || !soma_ok(o->x))
        return o ? o->x : soma_none();
    soma_layer layer = {.kind = "batch_norm", .at = o->at, .activation = o->activation};
    bool keras = o->convention && !strcmp(o->convention, "keras");
    soma_type x = soma_value_type(o->x);
    if (!layer_begin(&layer, o->x, o->name, "batch_norm") || !norm_checks(&layer, o, &x, keras))
        return layer_fail(&layer);
    soma_batch_norm_attrs attrs;
    soma_attrs_default(&soma_op_batch_norm, &attrs);
    attrs.convention = keras ? SOMA_NORM_KERAS : SOMA_NORM_PYTORCH;
    attrs.momentum = soma_said(o->momentum, keras ? 0.99 : 0.1);
    attrs.epsilon = o->epsilon != 0 ? o->epsilon : keras ? 1e-3 : 1e-5;
    attrs.use_running = o->frozen;
    int64_t channels = x.shape.dim[1];
    soma_value in[5] = {o->x};
    in[3] = o->no_scale ? soma_none() : norm_tensor(&layer, "weight", channels, "ones", o->frozen, false);
    in[4] = o->no_shift ? soma_none() : norm_tensor(&layer, "bias", channels, "zeros", o->frozen, false);
    in[1] = norm_tensor(&layer, "running_mean", channels, "zeros", true, true);
    in[2] = norm_tensor(&layer, "running_var", channels, "ones", true, true);
    soma_value out[3];
    soma_graph_apply(o->x.graph, &soma_op_batch_norm, in, 5, out, 3, &attrs, layer.name, layer.at);
    return layer_activation(&layer, out[0]);
}

/* ---- dropout ---- */

soma_value soma_dropout_with(const soma_dropout_options *o)
{
    if (!o || !soma_ok(o->x))
        return o ? o->x : soma_none();
    soma_layer layer = {.kind = "dropout", .at = o->at};
    if (!layer_begin(&layer, o->x, o->name, "dropout"))
        return layer_fail(&layer);
    char text[32];
    double rate = soma_plain(o->rate);
    if (!(rate >= 0 && rate < 1))
        return soma_value_fail(o->x.graph, o->at,
                               "dropout \"%s\": rate is %s; it is the share that is dropped, at least 0 and below 1",
                               layer.name, soma_format_f64(rate, text));
    if (rate == 0)
        return o->x;
    soma_dropout_attrs attrs;
    soma_attrs_default(&soma_op_dropout, &attrs);
    attrs.rate = rate;
    attrs.maps = o->maps;
    return soma_apply1(&soma_op_dropout, &o->x, 1, &attrs, layer.name, o->at);
}
