/* SPDX-License-Identifier: Apache-2.0
 *
 * zoo/vgg.c: VGG-11, 13, 16 and 19 (Simonyan and Zisserman 2015, "Very deep convolutional networks for large-scale
 * image recognition", table 1, configurations A, B, D and E), without and with batch norm after every convolution (not
 * in the paper), as in torchvision: where the last maps are not 7x7 they are pooled to 7x7. Initial values as in
 * torchvision: He et al.'s normal by fan_out for convolutions, deviation 0.01 for dense layers. The recipe is the
 * paper's (section 3.1) without its three tenfold cuts of the learning rate.
 */
#include "zoo/zoo.h"

#include <stdio.h>

enum { M = 0 }; /* max-pooling; all other numbers are channels of 3x3 convolutions */

static const int64_t A[] = {64, M, 128, M, 256, 256, M, 512, 512, M, 512, 512, M, -1};
static const int64_t B[] = {64, 64, M, 128, 128, M, 256, 256, M, 512, 512, M, 512, 512, M, -1};
static const int64_t D[] = {64, 64, M, 128, 128, M, 256, 256, 256, M, 512, 512, 512, M, 512, 512, 512, M, -1};
static const int64_t E[] = {64,  64,  M,   128, 128, M,   256, 256, 256, 256, M,
                            512, 512, 512, 512, M,   512, 512, 512, 512, M,   -1};

static soma_value fc(soma_value x, const char *name, int64_t units, const char *activation)
{
    return soma_dense(x, .units = units, .name = name, .activation = activation, .init = "normal", .init_b = 0.01);
}

static soma_value conv(soma_value x, int index, int64_t filters, bool norm)
{
    char name[32];
    snprintf(name, sizeof name, "features.%d", index);
    x = soma_conv2d(x, .filters = filters, .kernel = {3, 3}, .pad = {1, 1, 1, 1}, .name = name,
                    .activation = norm ? NULL : "relu", .init = "he_normal_out");
    snprintf(name, sizeof name, "features.%d", index + 1);
    return norm ? soma_batch_norm(x, .activation = "relu", .name = name) : x;
}

static soma_value vgg(soma_value x, soma_zoo_size size, const int64_t *configuration, bool norm)
{
    int index = 0; /* in torchvision's list: convolution, (batch norm,) relu, pooling */
    for (const int64_t *c = configuration; *c >= 0; c++) {
        x = *c == M ? soma_max_pool2d(x, .size = {2, 2}) : conv(x, index, wide(*c, size), norm);
        index += *c == M ? 1 : norm ? 3 : 2;
    }
    x = soma_flatten(pool_to(x, 7));
    x = fc(x, "classifier.0", wide(4096, size), "relu");
    x = soma_dropout(x, .rate = dropped(0.5, size), .name = "classifier.2");
    x = fc(x, "classifier.3", wide(4096, size), "relu");
    x = soma_dropout(x, .rate = dropped(0.5, size), .name = "classifier.5");
    return fc(x, "classifier.6", size.classes, NULL);
}

static soma_optimizer optimizer(void)
{
    return soma_sgd(.lr = 0.01, .momentum = 0.9, .weight_decay = 5e-4);
}

#define VGG(depth, letter, suffix, shown, norm, count)                                                                 \
    static soma_value build_##depth##suffix(soma_model *m, soma_value x, soma_zoo_size size)                           \
    {                                                                                                                  \
        (void)m;                                                                                                       \
        return vgg(x, size, letter, norm);                                                                             \
    }                                                                                                                  \
    const soma_zoo_entry soma_zoo_vgg##depth##suffix = {.name = "vgg" #depth shown,                                    \
                                                        .doc = "VGG-" #depth " (Simonyan and Zisserman 2015, " #letter \
                                                               ")",                                                    \
                                                        .build = build_##depth##suffix,                                \
                                                        SOMA_ZOO_IMAGENET,                                             \
                                                        .batch_size = 256,                                             \
                                                        .epochs = 74,                                                  \
                                                        .optimizer = optimizer,                                        \
                                                        .parameters = count};
VGG(11, A, , "", false, 132863336)
VGG(13, B, , "", false, 133047848)
VGG(16, D, , "", false, 138357544)
VGG(19, E, , "", false, 143667240)
VGG(11, A, _bn, "-bn", true, 132868840)
VGG(13, B, _bn, "-bn", true, 133053736)
VGG(16, D, _bn, "-bn", true, 138365992)
VGG(19, E, _bn, "-bn", true, 143678248)
