/* SPDX-License-Identifier: Apache-2.0
 *
 * op/unary/unary.h: the elementwise family y = f(x) and the gradients dx = f'(y) dy that read y.
 */
#ifndef SOMA_OP_UNARY_UNARY_H
#define SOMA_OP_UNARY_UNARY_H

#include <soma/op.h>

/* Elements from which a run is shared between threads: below, a parallel region costs more than it saves. */
#define SOMA_ELEMENTWISE_PARALLEL 65536

/* y = f(a) or y = f(a, b) for n elements; b is NULL for one input. */
typedef void (*soma_span_fn)(const float *a, const float *b, float *y, int64_t n);

typedef struct soma_elementwise {
    int64_t n;
    int threads;
    soma_dtype dtype;
    soma_span_fn span;                   /* cpu kernels */
    double (*exact)(double a, double b); /* reference kernels; b is 0 for one input */
} soma_elementwise;

#endif
