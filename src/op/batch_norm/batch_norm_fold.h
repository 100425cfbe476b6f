/* SPDX-License-Identifier: Apache-2.0
 *
 * op/batch_norm/batch_norm_fold.h: what the pass that folds normalisations into convolutions needs of the op.
 */
#ifndef SOMA_OP_BATCH_NORM_BATCH_NORM_FOLD_H
#define SOMA_OP_BATCH_NORM_BATCH_NORM_FOLD_H

#include <soma/op.h>

typedef struct soma_batch_norm_fold_attrs {
    double epsilon;
} soma_batch_norm_fold_attrs;

extern const soma_op soma_op_batch_norm_fold;

#endif
