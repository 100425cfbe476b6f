/* SPDX-License-Identifier: Apache-2.0
 *
 * zoo/mlp.c: the multi-layer perceptron 784-512-512-10 with relu, for 28x28 images.
 */
#include "zoo/zoo.h"

static soma_value build(soma_model *m, soma_value x, soma_zoo_size size)
{
    (void)m;
    x = soma_flatten(x);
    x = soma_dense(x, .units = wide(512, size), .activation = "relu");
    x = soma_dense(x, .units = wide(512, size), .activation = "relu");
    return soma_dense(x, .units = size.classes);
}

static soma_optimizer optimizer(void)
{
    return soma_adam(.lr = 0.001);
}

const soma_zoo_entry soma_zoo_mlp = {
    .name = "mlp",
    .doc = "multi-layer perceptron 784-512-512-10 with relu",
    .build = build,
    .input = {.rank = 3, .dim = {1, 28, 28}},
    .classes = 10,
    .batch_size = 128,
    .epochs = 5,
    .optimizer = optimizer,
    .parameters = 669706,
};
