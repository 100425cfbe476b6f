/* SPDX-License-Identifier: Apache-2.0
 *
 * op/tail/tail_vec.h: the tail of a result that is in registers, for kernels (*_cpu.c). The activations of
 * SOMA_ACTS_CLAMP take a vector; the others take rows of f32.
 */
#ifndef SOMA_OP_TAIL_TAIL_VEC_H
#define SOMA_OP_TAIL_TAIL_VEC_H

#include "cpu/vec.h"
#include "cpu/vecmath.h"
#include "op/tail/tail.h"

#include <math.h>

SOMA_INLINE soma_vf soma_act_vector(soma_act act, soma_vf y)
{
    if (act == SOMA_ACT_RELU)
        return soma_vkeep(soma_vpasses(y), y);
    return act == SOMA_ACT_RELU6 ? soma_vrelu6(y) : y;
}

/* The gradient g in front of the activation whose result is y. */
SOMA_INLINE soma_vf soma_gate_vector(soma_act act, soma_vf y, soma_vf g)
{
    if (act == SOMA_ACT_RELU)
        return soma_vkeep(soma_vpasses(y), g);
    return act == SOMA_ACT_RELU6 ? soma_vkeep(soma_vinside(y, soma_vset(0), soma_vset(6)), g) : g;
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
    return act == SOMA_ACT_RELU6 ? 6 : INFINITY;
}

static inline float soma_act_fast(soma_act act, float a)
{
    switch (act) {
#define SOMA_ACTIVATION(code, op, exact, fast, exact_gate, fast_gate)                                                  \
    case SOMA_ACT_##code:                                                                                              \
        return fast;
#include "op/tail/act.list"
#undef SOMA_ACTIVATION
    default:
        return a;
    }
}
static inline float soma_gate_fast(soma_act act, float a, float g)
{
    switch (act) {
#define SOMA_ACTIVATION(code, op, exact, fast, exact_gate, fast_gate)                                                  \
    case SOMA_ACT_##code:                                                                                              \
        return fast_gate;
#include "op/tail/act.list"
#undef SOMA_ACTIVATION
    default:
        return g;
    }
}

/* n elements of a row, any activation. */
static inline void soma_act_row(soma_act act, float *y, int64_t n)
{
    switch (act) {
#define SOMA_ACTIVATION(code, op, exact, fast, exact_gate, fast_gate)                                                  \
    case SOMA_ACT_##code:                                                                                              \
        _Pragma("omp simd") for (int64_t i = 0; i < n; i++)                                                            \
        {                                                                                                              \
            float a = y[i];                                                                                            \
            y[i] = fast;                                                                                               \
        }                                                                                                              \
        break;
#include "op/tail/act.list"
#undef SOMA_ACTIVATION
    default:
        break;
    }
}
/* n elements of a gradient, by the activation's result y. */
static inline void soma_gate_row(soma_act act, const float *y, float *dx, int64_t n)
{
    switch (act) {
#define SOMA_ACTIVATION(code, op, exact, fast, exact_gate, fast_gate)                                                  \
    case SOMA_ACT_##code:                                                                                              \
        _Pragma("omp simd") for (int64_t i = 0; i < n; i++)                                                            \
        {                                                                                                              \
            float a = y[i], g = dx[i];                                                                                 \
            dx[i] = fast_gate;                                                                                         \
        }                                                                                                              \
        break;
#include "op/tail/act.list"
#undef SOMA_ACTIVATION
    default:
        break;
    }
}

#endif
