/* SPDX-License-Identifier: Apache-2.0
 *
 * op/activation.h: the activations that conv2d and matmul apply to their result (attribute "activation"); batch_norm
 * has an enum of its own for relu and relu6. Layers never set the attribute: the simplifier fuses relu, sigmoid, tanh
 * or relu6 with the op before it.
 */
#ifndef SOMA_OP_ACTIVATION_H
#define SOMA_OP_ACTIVATION_H

#include "base/exact.h"

typedef enum soma_act { SOMA_ACT_NONE, SOMA_ACT_RELU, SOMA_ACT_SIGMOID, SOMA_ACT_TANH, SOMA_ACT_RELU6 } soma_act;

/* Choices of the attribute table, in the enum's order. */
#define SOMA_ACT_CHOICES ((const char *const[]){"none", "relu", "sigmoid", "tanh", "relu6", NULL})

static inline double soma_act_exact(soma_act act, double x)
{
    switch (act) {
    case SOMA_ACT_NONE:
        return x;
    case SOMA_ACT_RELU:
        return x < 0 ? 0 : x; /* NaN stays NaN, as in PyTorch 2.15 */
    case SOMA_ACT_SIGMOID:
        return soma_exact_sigmoid(x);
    case SOMA_ACT_TANH:
        return soma_exact_tanh(x);
    case SOMA_ACT_RELU6:
        return x < 0 ? 0 : x > 6 ? 6 : x;
    }
    return x;
}

#endif
