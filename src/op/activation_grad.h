/* SPDX-License-Identifier: Apache-2.0
 *
 * op/activation_grad.h: the gradient of a merged activation, for the ops that have the attribute "activation".
 */
#ifndef SOMA_OP_ACTIVATION_GRAD_H
#define SOMA_OP_ACTIVATION_GRAD_H

#include "graph/graph.h"
#include "op/activation.h"

extern const soma_op soma_op_relu_grad, soma_op_sigmoid_grad, soma_op_tanh_grad, soma_op_relu6_grad;

/* dy in front of the activation, from dy behind it and its result y. */
static inline soma_value soma_act_gradient(soma_act act, soma_value dy, soma_value y)
{
    static const soma_op *const ops[] = {[SOMA_ACT_RELU] = &soma_op_relu_grad,
                                         [SOMA_ACT_SIGMOID] = &soma_op_sigmoid_grad,
                                         [SOMA_ACT_TANH] = &soma_op_tanh_grad,
                                         [SOMA_ACT_RELU6] = &soma_op_relu6_grad};
    const soma_value in[2] = {dy, y};
    return act == SOMA_ACT_NONE ? dy : soma_apply1(ops[act], in, 2, NULL, NULL, soma_nowhere());
}

#endif
