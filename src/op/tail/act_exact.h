/* SPDX-License-Identifier: Apache-2.0
 *
 * op/tail/act_exact.h: the activations of act.h and their gradients as reference kernels compute them, in f64.
 */
#ifndef SOMA_OP_TAIL_ACT_EXACT_H
#define SOMA_OP_TAIL_ACT_EXACT_H

#include "op/tail/act.h"
#include "op/unary/unary_exact.h"

static inline double soma_act_exact(soma_act act, double a)
{
    const double c[SOMA_NUMBERS] = {0}; /* rows with numbers are not FUSED */
    switch (act) {
#define ACT(name)                                                                                                      \
    case SOMA_ACT_##name:                                                                                              \
        return soma_exact_of_##name(a, c);
#include "op/tail/fused.list"
    default:
        return a;
    }
}

/* The gradient g in front of the activation whose result is a. */
static inline double soma_gate_exact(soma_act act, double a, double g)
{
    const double c[SOMA_NUMBERS] = {0};
    switch (act) {
#define ACT(name)                                                                                                      \
    case SOMA_ACT_##name:                                                                                              \
        return soma_exact_of_##name##_grad(g, a, c);
#include "op/tail/fused.list"
    default:
        return g;
    }
}

#endif
