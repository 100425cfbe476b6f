/* SPDX-License-Identifier: Apache-2.0
 *
 * nn/layers/conv2d.c: a convolution of pictures, and an activation.
 */
#include "nn/layer.h"

#include "base/words.h"
#include "op/conv2d/conv2d.h"

#include <inttypes.h>
#include <string.h>

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

static bool checks(soma_layer *layer, const soma_conv2d_options *o)
{
    char text[96];
    const soma_shape *x = &layer->x.shape;
    if (!soma_layer_knows(layer, o->activation, o->init, o->bias_init))
        return false;
    if (x->rank != 4)
        soma_layer_fail(layer, "x must be [N, channels, height, width], got %s", soma_type_text(&layer->x, text));
    else if (x->dim[1] % o->groups || o->filters % o->groups)
        soma_layer_fail(
            layer, "groups is %" PRId64 "; it must divide the %" PRId64 " channels of x and the %" PRId64 " filters",
            o->groups, x->dim[1], o->filters);
    else if (o->same && (o->pad[0] || o->pad[1] || o->pad[2] || o->pad[3]))
        soma_layer_fail(layer, SOMA_FIELD("same") " computes the padding; leave " SOMA_FIELD("pad") " out");
    else
        return true;
    return false;
}

soma_value soma_build_conv2d(soma_layer *layer, const soma_conv2d_options *o)
{
    if (!checks(layer, o))
        return soma_layer_failed(layer);
    const soma_shape *x = &layer->x.shape;
    soma_conv2d_attrs attrs;
    soma_attrs_default(&soma_op_conv2d, &attrs);
    memcpy(attrs.stride, o->stride, sizeof attrs.stride);
    memcpy(attrs.dilation, o->dilation, sizeof attrs.dilation);
    memcpy(attrs.pad, o->pad, sizeof attrs.pad);
    attrs.groups = o->groups;
    for (int i = 0; i < 2 && o->same; i++)
        same_padding(x->dim[2 + i], o->kernel[i], o->stride[i], o->dilation[i], &attrs.pad[i], &attrs.pad[2 + i]);
    int64_t channels = x->dim[1] / o->groups, window = o->kernel[0] * o->kernel[1];
    soma_initial weight = {o->init, o->init_a, o->init_b}, bias = {o->bias_init, o->bias_a, o->bias_b};
    soma_shape shape = SOMA_SHAPE(o->filters, channels, o->kernel[0], o->kernel[1]);
    soma_value in[3] = {o->x, soma_layer_weight(layer, shape, weight, o->activation),
                        o->no_bias ? soma_none() : soma_layer_bias(layer, o->filters, bias, channels * window)};
    soma_value y = soma_apply1(&soma_op_conv2d, in, o->no_bias ? 2 : 3, &attrs, layer->name, layer->at);
    return soma_layer_activation(layer, o->activation, y);
}
