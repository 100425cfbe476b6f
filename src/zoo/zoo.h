/* SPDX-License-Identifier: Apache-2.0
 *
 * zoo/zoo.h: the entries, and what their files share.
 */
#ifndef SOMA_ZOO_ZOO_H
#define SOMA_ZOO_ZOO_H

#include <soma/zoo.h>

/* In the order of soma_zoo_at. */
#define SOMA_ZOO_LIST(X)                                                                                               \
    X(neuron)                                                                                                          \
    X(mlp)                                                                                                             \
    X(lenet5)                                                                                                          \
    X(net)                                                                                                             \
    X(keras_vgg)                                                                                                       \
    X(fashion_cnn)                                                                                                     \
    X(alexnet)                                                                                                         \
    X(alexnet_paper)                                                                                                   \
    X(vgg11)                                                                                                           \
    X(vgg13)                                                                                                           \
    X(vgg16)                                                                                                           \
    X(vgg19)                                                                                                           \
    X(vgg11_bn)                                                                                                        \
    X(vgg13_bn)                                                                                                        \
    X(vgg16_bn)                                                                                                        \
    X(vgg19_bn)                                                                                                        \
    X(resnet20)                                                                                                        \
    X(resnet18)                                                                                                        \
    X(resnet34)                                                                                                        \
    X(resnet50)                                                                                                        \
    X(resnet101)                                                                                                       \
    X(resnet152)                                                                                                       \
    X(squeezenet1_0)                                                                                                   \
    X(mobilenetv2)                                                                                                     \
    X(densenet121)                                                                                                     \
    X(densenet161)                                                                                                     \
    X(densenet169)                                                                                                     \
    X(densenet201)

#define SOMA_ZOO(name) extern const soma_zoo_entry soma_zoo_##name;
SOMA_ZOO_LIST(SOMA_ZOO)
#undef SOMA_ZOO

/* `channels` times the width: as it stands at width 1, otherwise a multiple of 8 (of 1 where the original is none) that
 * is at least 8 and not below 90 % of the product: MobileNetV2's rule (Sandler et al. 2018, in their released code). */
int64_t soma_zoo_wide(int64_t channels, soma_zoo_size size);
static inline int64_t wide(int64_t channels, soma_zoo_size size)
{
    return soma_zoo_wide(channels, size);
}

/* A dropout's rate; 0 adds none. */
static inline double dropped(double rate, soma_zoo_size size)
{
    return size.no_dropout ? 0 : rate;
}

/* Maps [N, C, side, side]; where they are that already nothing is added. torchvision's AdaptiveAvgPool2d. */
static inline soma_value pool_to(soma_value x, int64_t side)
{
    soma_shape shape = soma_value_type(x).shape;
    if (shape.rank == 4 && shape.dim[2] == side && shape.dim[3] == side)
        return x;
    return soma_adaptive_average_pool2d(x, .size = {side, side});
}

/* ImageNet's pictures and classes. */
#define SOMA_ZOO_IMAGENET .input = {.rank = 3, .dim = {3, 224, 224}}, .classes = 1000

#endif
