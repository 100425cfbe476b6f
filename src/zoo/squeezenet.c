/* SPDX-License-Identifier: Apache-2.0
 *
 * zoo/squeezenet.c: SqueezeNet 1.0 (Iandola et al. 2016, "SqueezeNet: AlexNet-level accuracy with 50x fewer parameters
 * and <0.5MB model size", table 1) as in torchvision: max-pooling in ceil mode, initial values He et al.'s uniform.
 * Weights of the authors' own release are named after its layers (fire2/conv1x1_1 is the squeeze of fire2); `names`
 * says what they are here. The recipe is the paper's, whose learning rate falls in a line.
 */
#include "zoo/zoo.h"

static soma_value conv(soma_value x, const char *name, int64_t filters, int64_t k, int64_t pad)
{
    return soma_conv2d(x, .filters = filters, .kernel = {k, k}, .pad = {pad, pad, pad, pad}, .activation = "relu",
                       .name = name, .init = "he_uniform");
}

/* Squeezes to few channels, then expands them by 1x1 and 3x3 windows side by side. */
static soma_value fire(soma_model *m, soma_value x, soma_zoo_size size, const char *name, int64_t squeeze,
                       int64_t expand)
{
    soma_scope_push(m, name);
    x = conv(x, "squeeze", wide(squeeze, size), 1, 0);
    soma_value both[2] = {conv(x, "expand1x1", wide(expand, size), 1, 0),
                          conv(x, "expand3x3", wide(expand, size), 3, 1)};
    soma_scope_pop(m);
    return soma_concat(both, 2, 1);
}

static soma_value pool(soma_value x, soma_zoo_size size)
{
    return soma_max_pool2d(x, .size = {3, 3}, .stride = {2, 2}, .ceil_mode = size.reading == 0);
}

static soma_value build(soma_model *m, soma_value x, soma_zoo_size size)
{
    x = soma_conv2d(x, .filters = wide(96, size), .kernel = {7, 7}, .stride = {2, 2}, .activation = "relu",
                    .name = "features.0", .init = "he_uniform");
    x = pool(x, size);
    x = fire(m, x, size, "features.3", 16, 64); /* the paper's fire2 */
    x = fire(m, x, size, "features.4", 16, 64);
    x = fire(m, x, size, "features.5", 32, 128);
    x = pool(x, size);
    x = fire(m, x, size, "features.7", 32, 128);
    x = fire(m, x, size, "features.8", 48, 192);
    x = fire(m, x, size, "features.9", 48, 192);
    x = fire(m, x, size, "features.10", 64, 256);
    x = pool(x, size);
    x = fire(m, x, size, "features.12", 64, 256);
    x = soma_dropout(x, .rate = dropped(0.5, size), .name = "classifier.0");
    x = soma_conv2d(x, .filters = size.classes, .kernel = {1, 1}, .activation = "relu", .name = "classifier.1",
                    .init = "normal", .init_b = 0.01);
    return soma_flatten(soma_global_average_pool2d(x));
}

static soma_optimizer optimizer(void)
{
    return soma_sgd(.lr = 0.04, .momentum = 0.9, .weight_decay = 2e-4);
}

static const soma_rename names[] = {{"^conv1.", "features.0."},        {"^fire2/", "features.3."},
                                    {"^fire3/", "features.4."},        {"^fire4/", "features.5."},
                                    {"^fire5/", "features.7."},        {"^fire6/", "features.8."},
                                    {"^fire7/", "features.9."},        {"^fire8/", "features.10."},
                                    {"^fire9/", "features.12."},       {"conv1x1_1.", "squeeze."},
                                    {"conv1x1_2.", "expand1x1."},      {"conv3x3_2.", "expand3x3."},
                                    {"^conv_final.", "classifier.1."}, {NULL, NULL}};

static const soma_zoo_reading reading = {"pooling",
                                         {"ceil", "floor"},
                                         {"the last window may reach over the border, as in torchvision and Caffe",
                                          "windows stay inside, as in ports to Keras and TensorFlow"}};

const soma_zoo_entry soma_zoo_squeezenet1_0 = {
    .name = "squeezenet1_0",
    .doc = "SqueezeNet 1.0 (Iandola et al. 2016)",
    .build = build,
    SOMA_ZOO_IMAGENET,
    .batch_size = 512,
    .epochs = 68,
    .optimizer = optimizer,
    .names = names,
    .reading = &reading,
    .parameters = 1248424,
};
