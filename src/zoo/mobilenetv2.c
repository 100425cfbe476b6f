/* SPDX-License-Identifier: Apache-2.0
 *
 * zoo/mobilenetv2.c: MobileNetV2 (Sandler et al. 2018, "MobileNetV2: inverted residuals and linear bottlenecks", table
 * 2) as in torchvision: 1x1 convolutions widen, depthwise 3x3 convolutions filter, 1x1 convolutions narrow without
 * activation. Initial values: He et al.'s normal by fan_out; deviation 0.01 for the dense layer. The recipe is
 * torchvision's (sgd; the paper used RMSprop on 16 GPUs).
 */
#include "zoo/zoo.h"

#include <stdio.h>

static soma_value conv_bn(soma_value x, const char *conv, const char *norm, int64_t filters, int64_t k, int64_t stride,
                          int64_t groups, bool keras, const char *activation)
{
    soma_conv2d_options o = {.struct_size = sizeof o,
                             .at = SOMA_AT,
                             .x = x,
                             .filters = filters,
                             .kernel = {k, k},
                             .stride = {stride, stride},
                             .same = keras, /* at stride 2: behind even sides */
                             .groups = groups,
                             .no_bias = true,
                             .name = conv,
                             .init = "he_normal_out"};
    for (int i = 0; i < 4 && !keras; i++)
        o.pad[i] = k / 2;
    return soma_batch_norm(soma_conv2d_with(&o), .activation = activation, .name = norm,
                           .epsilon = keras ? 1e-3 : 1e-5);
}

static soma_value inverted_residual(soma_value x, int64_t expand, int64_t filters, int64_t stride, bool keras)
{
    int64_t channels = soma_value_type(x).shape.dim[1], hidden = expand * channels;
    soma_value y = x;
    if (expand > 1) {
        y = conv_bn(y, "conv.0.0", "conv.0.1", hidden, 1, 1, 1, keras, "relu6");
        y = conv_bn(y, "conv.1.0", "conv.1.1", hidden, 3, stride, hidden, keras, "relu6");
        y = conv_bn(y, "conv.2", "conv.3", filters, 1, 1, 1, keras, NULL);
    } else {
        y = conv_bn(y, "conv.0.0", "conv.0.1", hidden, 3, stride, hidden, keras, "relu6");
        y = conv_bn(y, "conv.1", "conv.2", filters, 1, 1, 1, keras, NULL);
    }
    return stride == 1 && channels == filters ? soma_add(x, y) : y;
}

static soma_value build(soma_model *m, soma_value x, soma_zoo_size size)
{
    static const struct {
        int64_t expand, channels, repeat, stride; /* t, c, n, s */
    } table[] = {{1, 16, 1, 1}, {6, 24, 2, 2},  {6, 32, 3, 2}, {6, 64, 4, 2},
                 {6, 96, 3, 1}, {6, 160, 3, 2}, {6, 320, 1, 1}};
    int index = 1;
    bool keras = size.reading == 1;
    x = conv_bn(x, "features.0.0", "features.0.1", wide(32, size), 3, 2, 1, keras, "relu6");
    for (size_t row = 0; row < sizeof table / sizeof *table; row++)
        for (int64_t i = 0; i < table[row].repeat; i++) {
            char name[32];
            snprintf(name, sizeof name, "features.%d", index++);
            soma_scope_push(m, name);
            x = inverted_residual(x, table[row].expand, wide(table[row].channels, size), i == 0 ? table[row].stride : 1,
                                  keras);
            soma_scope_pop(m);
        }
    soma_zoo_size last = {.width = size.width > 1 ? size.width : 1}; /* never narrower than 1,280 */
    x = conv_bn(x, "features.18.0", "features.18.1", wide(1280, last), 1, 1, 1, keras, "relu6");
    x = soma_flatten(soma_global_average_pool2d(x));
    x = soma_dropout(x, .rate = dropped(0.2, size), .name = "classifier.0");
    return soma_dense(x, .units = size.classes, .name = "classifier.1", .init = "normal", .init_b = 0.01);
}

static soma_optimizer optimizer(void)
{
    return soma_sgd(.lr = 0.045, .momentum = 0.9, .weight_decay = 4e-5);
}

static const soma_zoo_reading reading = {
    "dialect",
    {"torch", "keras"},
    {"convolutions of stride 2 pad both sides and batch norm's epsilon is 1e-5, as in torchvision",
     "convolutions of stride 2 pad even sides behind only and batch norm's epsilon is 1e-3, as in Keras and "
     "TensorFlow"}};

const soma_zoo_entry soma_zoo_mobilenetv2 = {
    .name = "mobilenetv2",
    .doc = "MobileNetV2 (Sandler et al. 2018)",
    .build = build,
    SOMA_ZOO_IMAGENET,
    .batch_size = 96,
    .epochs = 300,
    .optimizer = optimizer,
    .reading = &reading,
    .parameters = 3504872,
};
