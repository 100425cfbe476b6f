/* SPDX-License-Identifier: Apache-2.0
 *
 * op/unary/unary.h: the state of the elementwise kernels, y = f(x) and dx = g(dy, what is read). unary.list has the
 * rows.
 */
#ifndef SOMA_OP_UNARY_UNARY_H
#define SOMA_OP_UNARY_UNARY_H

#include "op/unary/numbers.h"

/* Elements from which a run is shared between threads: below, a parallel region costs more than it saves. */
#define SOMA_ELEMENTWISE_PARALLEL 65536

typedef struct soma_elementwise {
    int64_t n;
    int threads;
    soma_dtype dtype;
    double c[SOMA_NUMBERS]; /* the row's numbers */
    /* cpu kernels: y for n elements of x, or of dy and what is read */
    void (*span)(const struct soma_elementwise *s, const float *a, const float *b, float *y, int64_t n);
    /* reference kernels: one element; b is 0 for one input */
    double (*exact)(double a, double b, const double c[SOMA_NUMBERS]);
} soma_elementwise;

/* The state, with the row's function, which becomes p->state; NULL: no memory. */
soma_elementwise *soma_elementwise_prepare(soma_prepare *p, soma_elementwise row);

#endif
