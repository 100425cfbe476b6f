/* SPDX-License-Identifier: Apache-2.0
 *
 * zoo/resnet.c: ResNet-18, 34, 50, 101 and 152 (He, Zhang, Ren, Sun 2016, "Deep residual learning for image
 * recognition", table 1) as in torchvision: shortcuts that change shape are 1x1 convolutions (option B), and a
 * bottleneck's stride is in its 3x3 convolution ("v1.5"; the paper and Caffe have it in the first 1x1, which tensors do
 * not tell). Initial values: He et al.'s normal by fan_out, PyTorch's default for the dense layer. The recipe is the
 * paper's without its two tenfold cuts of the learning rate.
 */
#include "zoo/zoo.h"

#include <stdio.h>

/* A convolution without bias, and its batch norm. */
static soma_value conv_bn(soma_value x, const char *conv, const char *norm, int64_t filters, int64_t k, int64_t stride,
                          const char *activation)
{
    x = soma_conv2d(x, .filters = filters, .kernel = {k, k}, .stride = {stride, stride},
                    .pad = {k / 2, k / 2, k / 2, k / 2}, .no_bias = true, .name = conv, .init = "he_normal_out");
    return soma_batch_norm(x, .activation = activation, .name = norm);
}

static soma_value shortcut(soma_value x, int64_t channels, int64_t stride)
{
    if (stride == 1 && soma_value_type(x).shape.dim[1] == channels)
        return x;
    return conv_bn(x, "downsample.0", "downsample.1", channels, 1, stride, NULL);
}

static soma_value basic(soma_value x, int64_t channels, int64_t stride, int reading)
{
    (void)reading;
    soma_value y = conv_bn(x, "conv1", "bn1", channels, 3, stride, "relu");
    y = conv_bn(y, "conv2", "bn2", channels, 3, 1, NULL);
    return soma_relu(soma_add(y, shortcut(x, channels, stride)));
}

static soma_value bottleneck(soma_value x, int64_t channels, int64_t stride, int reading)
{
    bool first = reading == 1;
    soma_value y = conv_bn(x, "conv1", "bn1", channels, 1, first ? stride : 1, "relu");
    y = conv_bn(y, "conv2", "bn2", channels, 3, first ? 1 : stride, "relu");
    y = conv_bn(y, "conv3", "bn3", 4 * channels, 1, 1, NULL);
    return soma_relu(soma_add(y, shortcut(x, 4 * channels, stride)));
}

static soma_value resnet(soma_model *m, soma_value x, soma_zoo_size size,
                         soma_value (*block)(soma_value x, int64_t channels, int64_t stride, int reading),
                         const int blocks[4])
{
    x = conv_bn(x, "conv1", "bn1", wide(64, size), 7, 2, "relu");
    x = soma_max_pool2d(x, .size = {3, 3}, .stride = {2, 2}, .pad = {1, 1, 1, 1});
    for (int stage = 0; stage < 4; stage++)
        for (int i = 0; i < blocks[stage]; i++) {
            char name[32];
            snprintf(name, sizeof name, "layer%d.%d", stage + 1, i);
            soma_scope_push(m, name);
            x = block(x, wide((int64_t)64 << stage, size), stage > 0 && i == 0 ? 2 : 1, size.reading);
            soma_scope_pop(m);
        }
    x = soma_flatten(soma_global_average_pool2d(x));
    return soma_dense(x, .units = size.classes, .name = "fc", .init = "pytorch_uniform",
                      .bias_init = "pytorch_uniform");
}

static soma_optimizer optimizer(void)
{
    return soma_sgd(.lr = 0.1, .momentum = 0.9, .weight_decay = 1e-4);
}

static const soma_zoo_reading stride_reading = {"stride",
                                                {"3x3", "1x1"},
                                                {"in a bottleneck's 3x3 convolution, as in torchvision",
                                                 "in its first 1x1 convolution, as in the paper and Caffe"}};
#define TELLS_ALL ((const soma_zoo_reading *)NULL)

#define RESNET(depth, block, choice, a, b, c, d, count)                                                                \
    static soma_value build_##depth(soma_model *m, soma_value x, soma_zoo_size size)                                   \
    {                                                                                                                  \
        return resnet(m, x, size, block, (const int[4]){a, b, c, d});                                                  \
    }                                                                                                                  \
    const soma_zoo_entry soma_zoo_resnet##depth = {.name = "resnet" #depth,                                            \
                                                   .doc = "ResNet-" #depth " (He et al. 2016)",                        \
                                                   .build = build_##depth,                                             \
                                                   SOMA_ZOO_IMAGENET,                                                  \
                                                   .batch_size = 256,                                                  \
                                                   .epochs = 90,                                                       \
                                                   .optimizer = optimizer,                                             \
                                                   .reading = choice,                                                  \
                                                   .parameters = count};
RESNET(18, basic, TELLS_ALL, 2, 2, 2, 2, 11689512)
RESNET(34, basic, TELLS_ALL, 3, 4, 6, 3, 21797672)
RESNET(50, bottleneck, &stride_reading, 3, 4, 6, 3, 25557032)
RESNET(101, bottleneck, &stride_reading, 3, 4, 23, 3, 44549160)
RESNET(152, bottleneck, &stride_reading, 3, 8, 36, 3, 60192808)
