/* SPDX-License-Identifier: Apache-2.0
 *
 * op/unary/unary_exact.h: the rows of unary.list as functions of f64, soma_exact_of_NAME(x, c) and, where the gradient
 * is a pass of its own, soma_exact_of_NAME_grad(dy, x or y, c): the same bits everywhere. c: the row's numbers.
 */
#ifndef SOMA_OP_UNARY_UNARY_EXACT_H
#define SOMA_OP_UNARY_UNARY_EXACT_H

#include "base/exact.h"
#include "op/unary/numbers.h"

#define EXP soma_exact_exp
#define LOG soma_exact_log
#define SQRT soma_exact_sqrt
#define TANH soma_exact_tanh
#define SIGMOID soma_exact_sigmoid
#define REAL(number) number

#define VALUE(...) (__VA_ARGS__)
#define DX(...) (__VA_ARGS__)
#define READS(read) read
#define SOMA_EXACT(name, numbers, value)                                                                               \
    static inline double soma_exact_of_##name(double x, const double c[SOMA_NUMBERS])                                  \
    {                                                                                                                  \
        SOMA_NAMES_##numbers;                                                                                          \
        return value;                                                                                                  \
    }
#define SOMA_EXACT_GRAD(name, numbers, read, dx)                                                                       \
    static inline double soma_exact_of_##name##_grad(double dy, double read, const double c[SOMA_NUMBERS])             \
    {                                                                                                                  \
        SOMA_NAMES_##numbers;                                                                                          \
        return dx;                                                                                                     \
    }
#define UNARY(name, numbers, onnx, doc, value, gradient, samples) SOMA_EXACT(name, numbers, value)
#define UNARY_GRAD(name, use, fused, numbers, onnx, doc, value, read, dx, second, samples)                             \
    SOMA_EXACT(name, numbers, value)                                                                                   \
    SOMA_EXACT_GRAD(name, numbers, read, dx)
#include "op/unary/unary.list"

#undef SOMA_EXACT
#undef SOMA_EXACT_GRAD
#undef EXP
#undef LOG
#undef SQRT
#undef TANH
#undef SIGMOID
#undef REAL
#endif
