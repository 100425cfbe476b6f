/* SPDX-License-Identifier: Apache-2.0
 *
 * op/batch_norm/batch_norm.h: attributes of batch normalisation and what its kernels share.
 *     batch_norm         (x, running_mean, running_var, [scale], [shift], [z]) -> y, [mean], [variance]
 *     batch_norm_grad    (dy, x, mean, variance, [scale], [shift], [y], [added]) -> dx, [dscale], [dshift], [dz]
 *     batch_norm_update  (running_mean, running_var, mean, variance) -> running_mean, running_var
 */
#ifndef SOMA_OP_BATCH_NORM_H
#define SOMA_OP_BATCH_NORM_H

#include "tensor/element.h"
#include "op/tail/tail.h"

/* Their arguments. */
enum { SOMA_NORM_X, SOMA_NORM_MEAN, SOMA_NORM_VARIANCE, SOMA_NORM_SCALE, SOMA_NORM_SHIFT, SOMA_NORM_Z };
enum {
    SOMA_NORM_GRAD_DY,
    SOMA_NORM_GRAD_X,
    SOMA_NORM_GRAD_MEAN,
    SOMA_NORM_GRAD_VARIANCE,
    SOMA_NORM_GRAD_SCALE,
    SOMA_NORM_GRAD_SHIFT,
    SOMA_NORM_GRAD_Y,
    SOMA_NORM_ADDED
};
enum { SOMA_NORM_DX, SOMA_NORM_DSCALE, SOMA_NORM_DSHIFT, SOMA_NORM_DZ };

extern const soma_op soma_op_batch_norm, soma_op_batch_norm_grad, soma_op_batch_norm_update;

typedef enum soma_norm_dialect { SOMA_NORM_TORCH, SOMA_NORM_KERAS } soma_norm_dialect;

/* Of batch_norm and batch_norm_grad, which has neither momentum nor dialect. */
typedef struct soma_batch_norm_attrs {
    double epsilon, momentum;
    int dialect;    /* soma_norm_dialect */
    int activation; /* soma_act: of the result; of the gradient the gate */
    bool use_running;
} soma_batch_norm_attrs;

typedef struct soma_batch_norm_update_attrs {
    double momentum;
    int dialect;
    int64_t count; /* values of a channel; -k: k times the batch */
} soma_batch_norm_update_attrs;

/* x as [n, c, plane], plane the product of the dimensions behind the channels. */
typedef struct soma_norm_case {
    soma_batch_norm_attrs a;
    soma_dtype dtype;
    int64_t n, c, plane;
    int threads;
    soma_act act; /* the kernel's own share of the tail; backward the gate */
    /* positions of output 0 and of optional arguments in arg; -1: absent */
    int out, scale, shift, z, y, added, mean, variance, dscale, dshift, dz;
} soma_norm_case;

/* Elements below which a second thread costs more than it saves. */
#define SOMA_NORM_PARALLEL 32768
/* Of both: with the running statistics. */
int soma_norm_settle(void *attrs, int n_out);

soma_norm_case soma_norm_forward_case(const soma_prepare *p);
soma_norm_case soma_norm_grad_case(const soma_prepare *p);
/* Statistics of a batch with one value per channel mean nothing: refuses with a sentence. */
soma_status soma_norm_enough(const soma_prepare *p, const soma_arg *x);

#endif
