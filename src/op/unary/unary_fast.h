/* SPDX-License-Identifier: Apache-2.0
 *
 * op/unary/unary_fast.h: the rows of unary.list as functions of f32 without branches or calls, soma_fast_NAME(x, c) and
 * soma_fast_NAME_grad(dy, x or y, c), for loops that the compiler vectorises. For *_cpu.c.
 */
#ifndef SOMA_OP_UNARY_UNARY_FAST_H
#define SOMA_OP_UNARY_UNARY_FAST_H

#include "cpu/isa.h"
#include "cpu/vecmath.h"
#include "op/unary/numbers.h"

#define EXP soma_vexp
#define LOG soma_vlog
#define SQRT __builtin_sqrtf
#define TANH soma_vtanh
#define SIGMOID soma_vsigmoid
#define REAL(number) number##f

#define VALUE(...) (__VA_ARGS__)
#define DX(...) (__VA_ARGS__)
#define READS(read) read
#define SOMA_FAST(name, numbers, value)                                                                                \
    SOMA_INLINE float soma_fast_##name(float x, const float c[SOMA_NUMBERS])                                           \
    {                                                                                                                  \
        SOMA_NAMES_##numbers;                                                                                          \
        return value;                                                                                                  \
    }
#define SOMA_FAST_GRAD(name, numbers, read, dx)                                                                        \
    SOMA_INLINE float soma_fast_##name##_grad(float dy, float read, const float c[SOMA_NUMBERS])                       \
    {                                                                                                                  \
        SOMA_NAMES_##numbers;                                                                                          \
        return dx;                                                                                                     \
    }
#define UNARY(name, numbers, onnx, doc, value, gradient, samples) SOMA_FAST(name, numbers, value)
#define UNARY_GRAD(name, use, fused, numbers, onnx, doc, value, read, dx, second, samples)                             \
    SOMA_FAST(name, numbers, value)                                                                                    \
    SOMA_FAST_GRAD(name, numbers, read, dx)
#include "op/unary/unary.list"

#undef SOMA_FAST
#undef SOMA_FAST_GRAD
#undef EXP
#undef LOG
#undef SQRT
#undef TANH
#undef SIGMOID
#undef REAL
#endif
