/* SPDX-License-Identifier: Apache-2.0
 *
 * zoo/alexnet.c: AlexNet as torchvision has it: one tower with fewer channels and without local response normalisation
 * (Krizhevsky 2014, "One weird trick for parallelizing convolutional neural networks"). The two towers of the paper of
 * 2012 are in alexnet_paper.c. The sides go 224 -> 55 -> 27 -> 13 -> 6; other inputs are pooled to 6x6. Initial values
 * are PyTorch's defaults.
 */
#include "zoo/zoo.h"

static soma_value conv(soma_value x, const char *name, int64_t filters, int64_t k, int64_t stride, int64_t pad)
{
    return soma_conv2d(x, .filters = filters, .kernel = {k, k}, .stride = {stride, stride}, .pad = {pad, pad, pad, pad},
                       .activation = "relu", .name = name, .init = "pytorch_uniform", .bias_init = "pytorch_uniform");
}

static soma_value fc(soma_value x, const char *name, int64_t units, const char *activation)
{
    return soma_dense(x, .units = units, .activation = activation, .name = name, .init = "pytorch_uniform",
                      .bias_init = "pytorch_uniform");
}

static soma_value build(soma_model *m, soma_value x, soma_zoo_size size)
{
    (void)m;
    x = conv(x, "features.0", wide(64, size), 11, 4, 2);
    x = soma_max_pool2d(x, .size = {3, 3}, .stride = {2, 2});
    x = conv(x, "features.3", wide(192, size), 5, 1, 2);
    x = soma_max_pool2d(x, .size = {3, 3}, .stride = {2, 2});
    x = conv(x, "features.6", wide(384, size), 3, 1, 1);
    x = conv(x, "features.8", wide(256, size), 3, 1, 1);
    x = conv(x, "features.10", wide(256, size), 3, 1, 1);
    x = soma_max_pool2d(x, .size = {3, 3}, .stride = {2, 2});
    x = soma_flatten(pool_to(x, 6)); /* 256 * 6 * 6 = 9,216 */
    x = soma_dropout(x, .rate = dropped(0.5, size), .name = "classifier.0");
    x = fc(x, "classifier.1", wide(4096, size), "relu");
    x = soma_dropout(x, .rate = dropped(0.5, size), .name = "classifier.3");
    x = fc(x, "classifier.4", wide(4096, size), "relu");
    return fc(x, "classifier.6", size.classes, NULL);
}

static soma_optimizer optimizer(void)
{
    return soma_sgd(.lr = 0.01, .momentum = 0.9, .weight_decay = 5e-4);
}

const soma_zoo_entry soma_zoo_alexnet = {
    .name = "alexnet",
    .doc = "AlexNet (Krizhevsky 2014), one tower, as in torchvision",
    .build = build,
    SOMA_ZOO_IMAGENET,
    .batch_size = 128,
    .epochs = 90,
    .optimizer = optimizer,
    .parameters = 61100840,
};
