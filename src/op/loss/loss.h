/* SPDX-License-Identifier: Apache-2.0
 *
 * op/loss/loss.h: what losses and metrics share: how logits and targets meet, labels checked, means over the full
 * batch.
 */
#ifndef SOMA_OP_LOSS_H
#define SOMA_OP_LOSS_H

#include "base/context.h"
#include "tensor/element.h"

extern const soma_op soma_op_softmax_cross_entropy;      /* (logits, target) -> loss, probabilities */
extern const soma_op soma_op_softmax_cross_entropy_grad; /* (dloss, probabilities, target) -> dlogits */
extern const soma_op soma_op_mean_squared_error;         /* (x, target) -> loss */
extern const soma_op soma_op_mean_squared_error_grad;    /* (dloss, x, target) -> dx */
extern const soma_op soma_op_accuracy;                   /* (logits, target) -> share */

/* Fewer elements than this run on the caller's thread: waking a team costs more. */
#define SOMA_LOSS_PARALLEL 65536

/* The state of the kernels that read [rows, classes] and a target. */
typedef struct soma_classes {
    int64_t rows, columns;
    int64_t per_sample; /* rows of one sample; 0: no batch */
    double full_rows;   /* of the full batch: what means divide by */
    soma_dtype dtype;
    bool sparse; /* target is i32 [rows] */
    int threads;
    int scratch; /* index of the scratch pointer among the arguments */
    bool second; /* output 1 is wanted */
} soma_classes;

/* x [rows, classes] in f32 or f64; target i32 [rows], or x's type [rows, classes]. */
soma_status soma_classes_check(soma_infer *i, const soma_type *x, const soma_type *target, const char *name);
/* Fills the state from x and target; NULL: no memory. */
soma_classes *soma_classes_prepare(soma_prepare *p, const soma_arg *x, const soma_arg *target);
/* Every label in range, or SOMA_DATA with a sentence about the first one that is not. */
soma_status soma_classes_labels(const soma_classes *s, const int32_t *target, const soma_run *run);

/* The answer of a row: position of the largest of x[at .. at + n - 1], the first of equals; -1 where one of them is
 * NaN. */
int64_t soma_largest(const void *x, soma_dtype dtype, int64_t at, int64_t n);

/* What an f32 kernel of this family accepts. */
soma_status soma_loss_accept_f32(soma_prepare *p, const soma_arg *x, const soma_arg *target);

/* The scalar x spread over `like`, divided by the number of its elements in the full batch. */
soma_value soma_loss_spread(soma_value x, soma_value like);

#endif
