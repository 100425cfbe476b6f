/* SPDX-License-Identifier: Apache-2.0
 *
 * zoo/neuron.c: one linear neuron, y = w x + b: linear regression by gradient descent.
 * Batch 1 and five epochs come as close to least squares as the numbers of 100 points allow; at batch 32 twenty updates
 * are far too few.
 */
#include "zoo/zoo.h"

static soma_value build(soma_model *m, soma_value x, soma_zoo_size size)
{
    (void)m;
    return soma_dense(x, .units = size.classes, .name = "neuron");
}

static soma_optimizer optimizer(void)
{
    return soma_sgd(.lr = 0.01);
}

const soma_zoo_entry soma_zoo_neuron = {
    .name = "neuron",
    .doc = "one linear neuron: a line through points",
    .build = build,
    .input = {.rank = 1, .dim = {1}},
    .classes = 1,
    .regression = true,
    .batch_size = 1,
    .epochs = 5,
    .optimizer = optimizer,
    .parameters = 2,
};
