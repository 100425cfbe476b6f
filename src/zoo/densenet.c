/* SPDX-License-Identifier: Apache-2.0
 *
 * zoo/densenet.c: DenseNet-121 (Huang, Liu, van der Maaten, Weinberger 2017, "Densely connected convolutional
 * networks", table 1, growth 32) as in torchvision: every layer reads the maps of all layers before it in its block;
 * batch norm and relu come before the convolutions. Initial values: He et al.'s normal; PyTorch's default for the dense
 * layer. The recipe is the paper's without its two tenfold cuts of the learning rate.
 */
#include "zoo/zoo.h"

#include <stdio.h>

static soma_value norm_relu(soma_value x, const char *name)
{
    return soma_batch_norm(x, .activation = "relu", .name = name);
}

static soma_value conv(soma_value x, const char *name, int64_t filters, int64_t k, int64_t stride)
{
    return soma_conv2d(x, .filters = filters, .kernel = {k, k}, .stride = {stride, stride},
                       .pad = {k / 2, k / 2, k / 2, k / 2}, .no_bias = true, .name = name, .init = "he_normal");
}

/* A bottleneck of 4 x growth channels, then `growth` new maps behind those that were there. */
static soma_value dense_layer(soma_value x, int64_t growth)
{
    soma_value y = conv(norm_relu(x, "norm1"), "conv1", 4 * growth, 1, 1);
    soma_value both[2] = {x, conv(norm_relu(y, "norm2"), "conv2", growth, 3, 1)};
    return soma_concat(both, 2, 1);
}

/* Half the channels, half the sides. */
static soma_value transition(soma_value x)
{
    int64_t channels = soma_value_type(x).shape.dim[1];
    x = conv(norm_relu(x, "norm"), "conv", channels / 2, 1, 1);
    return soma_average_pool2d(x, .size = {2, 2});
}

static soma_value densenet(soma_model *m, soma_value x, soma_zoo_size size, int64_t rate, const int layers[4])
{
    int64_t growth = wide(rate, size);
    char name[48];
    soma_scope_push(m, "features");
    x = norm_relu(conv(x, "conv0", 2 * growth, 7, 2), "norm0");
    x = soma_max_pool2d(x, .size = {3, 3}, .stride = {2, 2}, .pad = {1, 1, 1, 1});
    for (int block = 0; block < 4; block++) {
        for (int i = 0; i < layers[block]; i++) {
            snprintf(name, sizeof name, "denseblock%d.denselayer%d", block + 1, i + 1);
            soma_scope_push(m, name);
            x = dense_layer(x, growth);
            soma_scope_pop(m);
        }
        if (block == 3)
            break;
        snprintf(name, sizeof name, "transition%d", block + 1);
        soma_scope_push(m, name);
        x = transition(x);
        soma_scope_pop(m);
    }
    x = norm_relu(x, "norm5");
    soma_scope_pop(m);
    x = soma_flatten(soma_global_average_pool2d(x));
    return soma_dense(x, .units = size.classes, .name = "classifier", .init = "pytorch_uniform");
}

static soma_optimizer optimizer(void)
{
    return soma_sgd(.lr = 0.1, .momentum = 0.9, .weight_decay = 1e-4, .nesterov = true);
}

#define DENSENET(depth, rate, count, ...)                                                                              \
    static soma_value build_##depth(soma_model *m, soma_value x, soma_zoo_size size)                                   \
    {                                                                                                                  \
        return densenet(m, x, size, rate, (const int[4]){__VA_ARGS__});                                                \
    }                                                                                                                  \
    const soma_zoo_entry soma_zoo_densenet##depth = {                                                                  \
        .name = "densenet" #depth,                                                                                     \
        .doc = "DenseNet-" #depth " (Huang et al. 2017)",                                                              \
        .build = build_##depth,                                                                                        \
        SOMA_ZOO_IMAGENET,                                                                                             \
        .batch_size = 256,                                                                                             \
        .epochs = 90,                                                                                                  \
        .optimizer = optimizer,                                                                                        \
        .parameters = count,                                                                                           \
    };

DENSENET(121, 32, 7978856, 6, 12, 24, 16)
DENSENET(161, 48, 28681000, 6, 12, 36, 24)
DENSENET(169, 32, 14149480, 6, 12, 32, 32)
DENSENET(201, 32, 20013928, 6, 12, 48, 32)
