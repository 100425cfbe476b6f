/* SPDX-License-Identifier: Apache-2.0
 *
 * op/tail/act.c: names of the activations that ops take in, and the ops that are their gradients.
 */
#include "op/tail/act.h"

#include "graph/graph.h"

const char *const soma_act_names[] = {"none",
#define SOMA_ACTIVATION(code, op, exact, fast, exact_gate, fast_gate) #op,
#include "op/tail/act.list"
#undef SOMA_ACTIVATION
                                      NULL};

#define SOMA_ACTIVATION(code, op, exact, fast, exact_gate, fast_gate) extern const soma_op soma_op_##op##_grad;
#include "op/tail/act.list"
#undef SOMA_ACTIVATION

soma_value soma_act_gradient(soma_act act, soma_value dy, soma_value y)
{
    static const soma_op *const ops[] = {
        NULL,
#define SOMA_ACTIVATION(code, op, exact, fast, exact_gate, fast_gate) &soma_op_##op##_grad,
#include "op/tail/act.list"
#undef SOMA_ACTIVATION
    };
    const soma_value in[2] = {dy, y};
    return act == SOMA_ACT_NONE ? dy : soma_apply1(ops[act], in, 2, NULL, NULL, soma_nowhere());
}
