/* SPDX-License-Identifier: Apache-2.0
 *
 * op/tail/act.c: names of the activations that ops take in, and the ops that are their gradients.
 */
#include "op/tail/act.h"

#include "graph/graph.h"
#include "op/unary/numbers.h"

const char *const soma_act_names[] = {"none",
#define ACT(name) #name,
#include "op/tail/fused.list"
                                      NULL};

#define ACT(name) extern const soma_op soma_op_##name##_grad;
#include "op/tail/fused.list"

/* What the tail asks of a row: its gate has the result alone, and nothing to hand numbers by. */
enum { READS_x, READS_y };
#define READS(read) READS_##read
#define HOLD_ALONE(name, numbers, read)
#define HOLD_FUSED(name, numbers, read)                                                                                \
    _Static_assert(SOMA_COUNT_##numbers == 0, "unary.list: " #name " is FUSED, so it must be PLAIN");                  \
    _Static_assert((read) == READS_y, "unary.list: " #name " is FUSED, so its gradient must be of READS(y)");
#define UNARY(...)
#define UNARY_GRAD(name, use, fused, numbers, onnx, doc, value, read, ...) HOLD_##fused(name, numbers, read)
#include "op/unary/unary.list"

soma_value soma_act_gradient(soma_act act, soma_value dy, soma_value y)
{
    static const soma_op *const ops[] = {
        NULL,
#define ACT(name) &soma_op_##name##_grad,
#include "op/tail/fused.list"
    };
    const soma_value in[2] = {dy, y};
    return act == SOMA_ACT_NONE ? dy : soma_apply1(ops[act], in, 2, NULL, NULL, soma_nowhere());
}
