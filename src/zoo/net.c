/* SPDX-License-Identifier: Apache-2.0
 *
 * zoo/net.c: "Net" of PyTorch's CIFAR-10 tutorial: two 5x5 convolutions and three dense layers, for 3x32x32 images.
 * The sides go 32 -> 28 -> 14 -> 10 -> 5; the result is logits.
 */
#include "zoo/zoo.h"

static soma_value build(soma_model *m, soma_value x, soma_zoo_size size)
{
    (void)m;
    x = soma_conv2d(x, .filters = wide(6, size), .kernel = {5, 5}, .activation = "relu");
    x = soma_max_pool2d(x, .size = {2, 2});
    x = soma_conv2d(x, .filters = wide(16, size), .kernel = {5, 5}, .activation = "relu");
    x = soma_max_pool2d(x, .size = {2, 2});
    x = soma_flatten(x); /* 400 */
    x = soma_dense(x, .units = wide(120, size), .activation = "relu");
    x = soma_dense(x, .units = wide(84, size), .activation = "relu");
    return soma_dense(x, .units = size.classes);
}

static soma_optimizer optimizer(void)
{
    return soma_sgd(.lr = 0.001, .momentum = 0.9);
}

const soma_zoo_entry soma_zoo_net = {
    .name = "net",
    .doc = "Net of PyTorch's CIFAR-10 tutorial, 32x32 colour images",
    .build = build,
    .input = {.rank = 3, .dim = {3, 32, 32}},
    .classes = 10,
    .batch_size = 32,
    .epochs = 10,
    .optimizer = optimizer,
    .parameters = 62006,
};
