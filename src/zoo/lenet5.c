/* SPDX-License-Identifier: Apache-2.0
 *
 * zoo/lenet5.c: LeNet-5 (LeCun, Bottou, Bengio, Haffner 1998, "Gradient-based learning applied to document
 * recognition", section II.B) in the form that is common today: tanh and average pooling as in the paper; C3
 * connected to all six maps of S2 (the paper's table I leaves some out), plain averages (the paper's pooling has a
 * trained factor and bias), and a dense layer of logits instead of radial basis functions. The paper puts 28x28
 * digits into the middle of 32x32 fields; here the first convolution pads by 2.
 */
#include "zoo/zoo.h"

static soma_value build(soma_model *m, soma_value x, soma_zoo_size size)
{
    (void)m;
    x = soma_conv2d(x, .filters = wide(6, size), .kernel = {5, 5}, .pad = {2, 2, 2, 2},
                    .activation = "tanh");                                                 /* C1: 6 of 28x28 */
    x = soma_average_pool2d(x, .size = {2, 2});                                            /* S2: 14x14 */
    x = soma_conv2d(x, .filters = wide(16, size), .kernel = {5, 5}, .activation = "tanh"); /* C3: 16 of 10x10 */
    x = soma_average_pool2d(x, .size = {2, 2});                                            /* S4: 5x5 */
    x = soma_flatten(x);
    x = soma_dense(x, .units = wide(120, size), .activation = "tanh"); /* C5 */
    x = soma_dense(x, .units = wide(84, size), .activation = "tanh");  /* F6 */
    return soma_dense(x, .units = size.classes);
}

static soma_optimizer optimizer(void)
{
    return soma_adam(.lr = 0.002);
}

const soma_zoo_entry soma_zoo_lenet5 = {
    .name = "lenet5",
    .doc = "LeNet-5 (LeCun et al. 1998): tanh, average pooling, 28x28 images",
    .build = build,
    .input = {.rank = 3, .dim = {1, 28, 28}},
    .classes = 10,
    .batch_size = 64,
    .epochs = 5,
    .optimizer = optimizer,
    .parameters = 61706,
};
