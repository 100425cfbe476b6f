/* SPDX-License-Identifier: Apache-2.0
 *
 * zoo/alexnet_paper.c: AlexNet (Krizhevsky, Sutskever, Hinton 2012, "ImageNet classification with deep convolutional
 * neural networks"): two towers, which meet in the third convolution and in the dense layers, as groups; local response
 * normalisation (section 3.3: k 2, n 5, alpha 1e-4, which is not divided by n, beta 0.75); overlapping pools (3.4). 224
 * pixels and windows of 11 at stride 4 make 55 positions only with 3 pixels of padding. Initial values as in section 5:
 * deviation 0.01; biases 1 in the second, fourth and fifth convolution and the hidden dense layers.
 */
#include "zoo/zoo.h"

static soma_value conv(soma_value x, const char *name, int64_t filters, int64_t k, int64_t groups, const char *bias)
{
    return soma_conv2d(x, .filters = filters, .kernel = {k, k}, .pad = {k / 2, k / 2, k / 2, k / 2}, .groups = groups,
                       .activation = "relu", .name = name, .init = "normal", .init_b = 0.01, .bias_init = bias);
}

static soma_value fc(soma_value x, const char *name, int64_t units, const char *activation, const char *bias)
{
    return soma_dense(x, .units = units, .activation = activation, .name = name, .init = "normal", .init_b = 0.01,
                      .bias_init = bias);
}

static soma_value normalize(soma_value x, bool caffe)
{
    return soma_local_response_norm(x, .size = 5, .alpha = caffe ? 1e-4 : 5e-4, .beta = 0.75, .k = caffe ? 1 : 2);
}

static soma_value pool(soma_value x)
{
    return soma_max_pool2d(x, .size = {3, 3}, .stride = {2, 2});
}

static soma_value build(soma_model *m, soma_value x, soma_zoo_size size)
{
    (void)m;
    bool caffe = size.reading == 1;
    int64_t before = 2, behind = 1;
    if (caffe && soma_value_type(x).shape.dim[2] == 227) /* Caffe's crops bring the border along */
        before = behind = 0;
    x = soma_conv2d(x, .filters = wide(96, size), .kernel = {11, 11}, .stride = {4, 4},
                    .pad = {before, before, behind, behind}, .activation = "relu", .name = "conv1", .init = "normal",
                    .init_b = 0.01);
    x = pool(normalize(x, caffe)); /* 55 -> 27 */
    x = conv(x, "conv2", wide(256, size), 5, 2, "ones");
    x = pool(normalize(x, caffe)); /* 27 -> 13 */
    x = conv(x, "conv3", wide(384, size), 3, 1, "zeros");
    x = conv(x, "conv4", wide(384, size), 3, 2, "ones");
    x = conv(x, "conv5", wide(256, size), 3, 2, "ones");
    x = soma_flatten(pool(x)); /* 13 -> 6: 256 * 6 * 6 = 9,216 */
    x = soma_dropout(fc(x, "fc6", wide(4096, size), "relu", "ones"), .rate = dropped(0.5, size));
    x = soma_dropout(fc(x, "fc7", wide(4096, size), "relu", "ones"), .rate = dropped(0.5, size));
    return fc(x, "fc8", size.classes, NULL, "zeros");
}

static soma_optimizer optimizer(void)
{
    return soma_sgd(.lr = 0.01, .momentum = 0.9, .weight_decay = 5e-4);
}

static const soma_zoo_reading reading = {
    "dialect",
    {"paper", "caffe"},
    {"local response normalisation with k 2 and an alpha of 1e-4 that is not divided by the window, as in the paper",
     "k 1 and an alpha that is divided by the window, as in Caffe's bvlc_alexnet, whose input is 3x227x227"}};

const soma_zoo_entry soma_zoo_alexnet_paper = {
    .name = "alexnet-paper",
    .doc = "AlexNet (Krizhevsky et al. 2012), two towers",
    .build = build,
    SOMA_ZOO_IMAGENET,
    .batch_size = 128,
    .epochs = 90,
    .optimizer = optimizer,
    .reading = &reading,
    .parameters = 60965224,
};
