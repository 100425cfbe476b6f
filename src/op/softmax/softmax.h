/* SPDX-License-Identifier: Apache-2.0
 *
 * op/softmax/softmax.h: what other ops' gradients need of the softmax family.
 */
#ifndef SOMA_OP_SOFTMAX_H
#define SOMA_OP_SOFTMAX_H

#include "base/context.h"
#include "tensor/element.h"

extern const soma_op soma_op_softmax;
extern const soma_op soma_op_log_softmax;
extern const soma_op soma_op_softmax_grad; /* (dy, y) -> dx */

/* Rows along the last axis: the state of every kernel of the family. */
typedef struct soma_rows {
    int64_t rows, columns;
    soma_dtype dtype;
    int threads; /* 1 where the work is too small to share */
} soma_rows;

/* Fewer elements than this run on the caller's thread: waking a team costs more. */
#define SOMA_ROWS_PARALLEL 65536

/* Stores a soma_rows for `x` as the kernel's state. */
soma_status soma_rows_prepare(soma_prepare *p, const soma_arg *x, soma_run_fn run);

/* x is f32 or f64 with a constant last dimension. */
soma_status soma_rows_check(soma_infer *i, const soma_type *x, const char *name);

#endif
