/* SPDX-License-Identifier: Apache-2.0
 *
 * op/tail/tail_vec.h: the tail of a result that is in registers, for kernels (*_cpu.c). The activations of
 * SOMA_ACTS_CLAMP take a vector; the others take rows of f32.
 */
#ifndef SOMA_OP_TAIL_TAIL_VEC_H
#define SOMA_OP_TAIL_TAIL_VEC_H

#include "cpu/vec.h"
#include "op/tail/tail.h"
#include "op/unary/unary_fast.h"

#include <math.h>

SOMA_INLINE soma_vf soma_act_vector(soma_act act, soma_vf y)
{
    if (act == SOMA_ACT_relu)
        return soma_vkeep(soma_vpasses(y), y);
    return act == SOMA_ACT_relu6 ? soma_vrelu6(y) : y;
}

/* The gradient g in front of the activation whose result is y. */
SOMA_INLINE soma_vf soma_gate_vector(soma_act act, soma_vf y, soma_vf g)
{
    if (act == SOMA_ACT_relu)
        return soma_vkeep(soma_vpasses(y), g);
    return act == SOMA_ACT_relu6 ? soma_vkeep(soma_vinside(y, soma_vset(0), soma_vset(6)), g) : g;
}

/* The tail in one run: arrays as the kernel's level stores them, NULL where there are none. The bias is in the sums. */
typedef struct soma_tail {
    const soma_elem *add, *gate;
    soma_act act;
} soma_tail;

static inline soma_tail soma_tail_in(const soma_tail_state *s, void *const *arg)
{
    return (soma_tail){s->add >= 0 ? arg[s->add] : NULL, s->gate >= 0 ? arg[s->gate] : NULL, s->act};
}

/* n lanes of the result, at element `at`, from their sums. */
SOMA_INLINE soma_vf soma_tail_apply(const soma_tail *t, int64_t at, int n, soma_vf y)
{
    if (t->add)
        y += soma_vget_n(t->add + at, n);
    return t->gate ? soma_gate_vector(t->act, soma_vget_n(t->gate + at, n), y) : soma_act_vector(t->act, y);
}

/* An activation of SOMA_ACTS_CLAMP, for kernels without a branch: soma_vclamp(y, low, high). A result strictly
 * between low and high passes a gradient; of relu's none is too large. */
static inline float soma_act_low(soma_act act)
{
    return act == SOMA_ACT_NONE ? -INFINITY : 0;
}
static inline float soma_act_high(soma_act act)
{
    return act == SOMA_ACT_relu6 ? 6 : INFINITY;
}

static inline float soma_act_fast(soma_act act, float a)
{
    const float c[SOMA_NUMBERS] = {0}; /* rows with numbers are not FUSED */
    switch (act) {
#define ACT(name)                                                                                                      \
    case SOMA_ACT_##name:                                                                                              \
        return soma_fast_##name(a, c);
#include "op/tail/fused.list"
    default:
        return a;
    }
}
static inline float soma_gate_fast(soma_act act, float a, float g)
{
    const float c[SOMA_NUMBERS] = {0};
    switch (act) {
#define ACT(name)                                                                                                      \
    case SOMA_ACT_##name:                                                                                              \
        return soma_fast_##name##_grad(g, a, c);
#include "op/tail/fused.list"
    default:
        return g;
    }
}

/* n elements of a row, any activation. */
static inline void soma_act_row(soma_act act, float *y, int64_t n)
{
    const float c[SOMA_NUMBERS] = {0};
    switch (act) {
#define ACT(name)                                                                                                      \
    case SOMA_ACT_##name:                                                                                              \
        _Pragma("omp simd") for (int64_t i = 0; i < n; i++) y[i] = soma_fast_##name(y[i], c);                          \
        break;
#include "op/tail/fused.list"
    default:
        break;
    }
}
/* n elements of a gradient, by the activation's result y. */
static inline void soma_gate_row(soma_act act, const float *y, float *dx, int64_t n)
{
    const float c[SOMA_NUMBERS] = {0};
    switch (act) {
#define ACT(name)                                                                                                      \
    case SOMA_ACT_##name:                                                                                              \
        _Pragma("omp simd") for (int64_t i = 0; i < n; i++) dx[i] = soma_fast_##name##_grad(dx[i], y[i], c);           \
        break;
#include "op/tail/fused.list"
    default:
        break;
    }
}

#endif
