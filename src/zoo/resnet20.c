/* SPDX-License-Identifier: Apache-2.0
 *
 * zoo/resnet20.c: ResNet-20 for CIFAR-10's 32x32 pictures (He et al. 2016, section 4.2, n = 3): three stages of three
 * blocks with 16, 32 and 64 channels. Shortcuts have no parameters (option A): where the shape changes, every second
 * pixel is taken and the new channels are zero. The paper does not say where they are; published weights have half of
 * them on each side of the old ones (Idelbayev's and who follows him), others all of them behind (fb.resnet.torch).
 * Tensors do not tell. Initial values: He et al.'s normal. The recipe is the paper's (64,000 steps) without its two
 * tenfold cuts of the learning rate.
 */
#include "zoo/zoo.h"

#include <stdio.h>

static soma_value conv_bn(soma_value x, const char *conv, const char *norm, int64_t filters, int64_t stride,
                          const char *activation)
{
    x = soma_conv2d(x, .filters = filters, .kernel = {3, 3}, .stride = {stride, stride}, .pad = {1, 1, 1, 1},
                    .no_bias = true, .name = conv, .init = "he_normal");
    return soma_batch_norm(x, .activation = activation, .name = norm);
}

/* Twice the channels: the old ones at every second pixel, and zeros on both sides of them or behind. */
static soma_value shortcut(soma_value x, int64_t stride, bool behind)
{
    if (stride == 1)
        return x;
    x = soma_average_pool2d(x, .size = {1, 1}, .stride = {2, 2});
    soma_value zeros = soma_mul(x, soma_scalar(x, 0));
    int64_t channels = soma_value_type(x).shape.dim[1], half = channels / 2;
    if (behind)
        return soma_concat(((soma_value[]){x, zeros}), 2, 1);
    soma_value sides[3] = {soma_slice(zeros, .axis = 1, .begin = 0, .end = half), x,
                           soma_slice(zeros, .axis = 1, .begin = half, .end = channels)};
    return soma_concat(sides, 3, 1);
}

static soma_value build(soma_model *m, soma_value x, soma_zoo_size size)
{
    int64_t channels = wide(16, size);
    x = conv_bn(x, "conv1", "bn1", channels, 1, "relu");
    for (int stage = 0; stage < 3; stage++, channels *= 2)
        for (int i = 0; i < 3; i++) {
            char name[32];
            int64_t stride = stage > 0 && i == 0 ? 2 : 1;
            snprintf(name, sizeof name, "layer%d.%d", stage + 1, i);
            soma_scope_push(m, name);
            soma_value y = conv_bn(x, "conv1", "bn1", channels, stride, "relu");
            y = conv_bn(y, "conv2", "bn2", channels, 1, NULL);
            x = soma_relu(soma_add(y, shortcut(x, stride, size.reading == 1)));
            soma_scope_pop(m);
        }
    x = soma_flatten(soma_global_average_pool2d(x));
    return soma_dense(x, .units = size.classes, .name = "fc", .init = "he_normal");
}

static soma_optimizer optimizer(void)
{
    return soma_sgd(.lr = 0.1, .momentum = 0.9, .weight_decay = 1e-4);
}

static const soma_zoo_reading reading = {"shortcut",
                                         {"centred", "behind"},
                                         {"new channels on both sides, as in published CIFAR ResNets",
                                          "new channels behind the old ones, as in fb.resnet.torch"}};

/* Published weights were trained by DataParallel, and call the last layer "linear". */
static const soma_rename names[] = {{"^module.", ""}, {"^linear.", "fc."}, {NULL, NULL}};

const soma_zoo_entry soma_zoo_resnet20 = {
    .name = "resnet20",
    .doc = "ResNet-20 for 32x32 pictures (He et al. 2016)",
    .build = build,
    .input = {.rank = 3, .dim = {3, 32, 32}},
    .classes = 10,
    .batch_size = 128,
    .epochs = 164,
    .optimizer = optimizer,
    .names = names,
    .reading = &reading,
    .parameters = 269722,
};
