/* SPDX-License-Identifier: Apache-2.0
 *
 * op/tail/act.h: the activations that ops apply to their result, or pass a gradient by (attribute "activation"): the
 * rows of op/unary/unary.list that are FUSED. Layers never set the attribute: the simplifier merges nodes into it.
 * Knows no vectors.
 */
#ifndef SOMA_OP_TAIL_ACT_H
#define SOMA_OP_TAIL_ACT_H

#include <soma/op.h>

#include <stddef.h>

typedef enum soma_act {
    SOMA_ACT_NONE,
#define ACT(name) SOMA_ACT_##name,
#include "op/tail/fused.list"
    SOMA_ACTS
} soma_act;

#define SOMA_ACT_BIT(act) (1u << (act)) /* of soma_kernel.acts */
/* The clamps: kernels apply them to vectors in registers, and their gradient lets pass or not. */
#define SOMA_ACTS_CLAMP (SOMA_ACT_BIT(SOMA_ACT_relu) | SOMA_ACT_BIT(SOMA_ACT_relu6))
static inline bool soma_act_clamps(int act)
{
    return SOMA_ACTS_CLAMP >> act & 1;
}

/* Choices of the attribute table, in the enum's order. */
extern const char *const soma_act_names[];
#define SOMA_ACT_FIELD(attrs, text)                                                                                    \
    {                                                                                                                  \
        .name = "activation", .type = SOMA_FIELD_ENUM, .offset = offsetof(attrs, activation), .max = SOMA_ACTS - 1,    \
        .choices = soma_act_names, .doc = text                                                                         \
    }
/* Of gradients: the activation by whose result they pass. */
#define SOMA_GATE_FIELD(attrs, text)                                                                                   \
    {                                                                                                                  \
        .name = "gate", .type = SOMA_FIELD_ENUM, .offset = offsetof(attrs, activation), .max = SOMA_ACTS - 1,          \
        .choices = soma_act_names, .doc = text                                                                         \
    }

/* dy in front of the activation, from dy behind it and its result y: emits a node. */
soma_value soma_act_gradient(soma_act act, soma_value dy, soma_value y);

#endif
