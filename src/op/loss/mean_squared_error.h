/* SPDX-License-Identifier: Apache-2.0
 *
 * op/loss/mean_squared_error.h: the state of the kernels of mean squared error and its gradient.
 */
#ifndef SOMA_OP_MEAN_SQUARED_ERROR_H
#define SOMA_OP_MEAN_SQUARED_ERROR_H

#include "op/loss/loss.h"

typedef struct soma_squares {
    int64_t elements;
    double full_elements; /* of the full batch: what the mean divides by */
    soma_dtype dtype;
    int threads;
    int scratch; /* index of the scratch pointer among the arguments */
} soma_squares;

/* Fills the state from x; NULL: no memory. */
soma_squares *soma_squares_prepare(soma_prepare *p, const soma_arg *x);

#endif
