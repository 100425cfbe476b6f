/* SPDX-License-Identifier: Apache-2.0
 *
 * zoo/keras_vgg.c: the VGG-like network of Keras' guide to the Sequential model, for 3x100x100 images.
 * Padding is "valid": the sides go 100 -> 98 -> 96 -> 48 -> 46 -> 44 -> 22, so 64 * 22 * 22 = 30,976 features.
 */
#include "zoo/zoo.h"

static soma_value build(soma_model *m, soma_value x, soma_zoo_size size)
{
    (void)m;
    x = soma_conv2d(x, .filters = wide(32, size), .kernel = {3, 3}, .activation = "relu");
    x = soma_conv2d(x, .filters = wide(32, size), .kernel = {3, 3}, .activation = "relu");
    x = soma_max_pool2d(x, .size = {2, 2});
    x = soma_dropout(x, .rate = dropped(0.25, size));
    x = soma_conv2d(x, .filters = wide(64, size), .kernel = {3, 3}, .activation = "relu");
    x = soma_conv2d(x, .filters = wide(64, size), .kernel = {3, 3}, .activation = "relu");
    x = soma_max_pool2d(x, .size = {2, 2});
    x = soma_dropout(x, .rate = dropped(0.25, size));
    x = soma_flatten(x);
    x = soma_dense(x, .units = wide(256, size), .activation = "relu");
    x = soma_dropout(x, .rate = dropped(0.5, size));
    return soma_dense(x, .units = size.classes, .activation = "softmax");
}

static soma_optimizer optimizer(void)
{
    return soma_sgd(.lr = 0.01, .momentum = 0.9, .decay = 1e-6, .nesterov = true);
}

const soma_zoo_entry soma_zoo_keras_vgg = {
    .name = "keras-vgg",
    .doc = "the VGG-like network of Keras' Sequential guide, 100x100 colour images",
    .build = build,
    .input = {.rank = 3, .dim = {3, 100, 100}},
    .classes = 10,
    .batch_size = 32,
    .epochs = 10,
    .optimizer = optimizer,
    .parameters = 7998250,
};
