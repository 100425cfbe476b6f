/* SPDX-License-Identifier: Apache-2.0
 *
 * op/update/update.h: attributes of the update ops, and how their kernels see many parameters at once.
 *     step_count     (step) -> step + 1
 *     learning_rate  (step[, given]) -> lr
 *     sgd_update     (lr, p1..pk, g1..gk[, v1..vk]) -> p1..pk[, v1..vk]         velocities only where momentum > 0
 *     adam_update    (lr, step, p1..pk, g1..gk, m1..mk, v1..vk) -> p1..pk, m1..mk, v1..vk
 * Every output but learning_rate's replaces the input of the same meaning; assign() returns -1 past the last output.
 */
#ifndef SOMA_OP_UPDATE_H
#define SOMA_OP_UPDATE_H

#include "base/context.h"
#include "tensor/element.h"

extern const soma_op soma_op_step_count;
extern const soma_op soma_op_learning_rate;
extern const soma_op soma_op_sgd_update;
extern const soma_op soma_op_adam_update;

typedef enum soma_schedule {
    SOMA_SCHEDULE_CONSTANT,
    SOMA_SCHEDULE_INVERSE_TIME,
    SOMA_SCHEDULE_ONE_CYCLE
} soma_schedule;

typedef struct soma_learning_rate_attrs {
    int schedule; /* soma_schedule */
    double lr;    /* one_cycle: the peak */
    double decay;
    int64_t total_steps;
} soma_learning_rate_attrs;

/* The rate at a step by the schedule alone. */
double soma_learning_rate_at(const soma_learning_rate_attrs *a, double step);

typedef struct soma_sgd_attrs {
    double momentum;
    bool nesterov;
    double weight_decay;
} soma_sgd_attrs;

typedef struct soma_adam_attrs {
    double beta1, beta2, epsilon, weight_decay;
} soma_adam_attrs;

#define SOMA_UPDATE_GRAIN 16       /* f32 elements to which tensors are padded in memory (64 bytes) */
#define SOMA_UPDATE_PARALLEL 16384 /* elements from which a second thread pays for its region */

/* The state of sgd's and adam's kernels: k tensors seen as one range, each beginning at a multiple of the grain, as
 * they lie in memory where neighbours are contiguous. */
typedef struct soma_update_state {
    const void *attrs;
    soma_dtype dtype, lr_dtype;
    int k, n_in, threads;
    bool complete;  /* no output was left out */
    int64_t *count; /* [k] elements of tensor i */
    int64_t *start; /* [k + 1] where tensor i begins in the range */
} soma_update_state;

/* ---- infer ---- */

/* Input `index` is a scalar, i32 or floating. */
soma_status soma_update_scalar(soma_infer *i, int index, const char *name, bool integer);
/* After the scalars come `groups` groups of k tensors, equal in type from group to group; gives k. */
soma_status soma_update_check(soma_infer *i, int scalars, int groups, const char *what, int *k);
/* The outputs are `groups` groups of k tensors with the parameters' types. */
soma_status soma_update_outputs(soma_infer *i, int scalars, int k, int groups);

/* ---- prepare ---- */

/* Makes the state; parameters are inputs first .. first + k - 1, outputs come in `groups` groups. NULL: no memory. */
soma_update_state *soma_update_prepare(soma_prepare *p, int first, int k, int groups, size_t attrs_size);
/* Refuses where an output was left out. */
soma_status soma_update_complete(soma_prepare *p, const soma_update_state *s);

/* The same for each op. */
soma_update_state *soma_sgd_prepare(soma_prepare *p);
soma_update_state *soma_adam_prepare(soma_prepare *p);

/* How many parameters a node with n_in inputs updates. */
static inline int soma_sgd_count(const soma_sgd_attrs *a, int n_in)
{
    return (n_in - 1) / (a->momentum > 0 ? 3 : 2);
}
static inline int soma_adam_count(int n_in)
{
    return (n_in - 2) / 4;
}

/* beta^t by squaring: t is in the millions at most, and an error of t units in the last place of f64 does not matter.
 * */
static inline double soma_power(double beta, int64_t t)
{
    double power = 1;
    for (; t > 0; t >>= 1, beta *= beta)
        power *= t & 1 ? beta : 1;
    return power;
}

/* The first tensor of the range that ends beyond element `at`. */
static inline int soma_update_find(const soma_update_state *s, int64_t at)
{
    int low = 0, high = s->k - 1;
    while (low < high) {
        int middle = (low + high) / 2;
        if (s->start[middle + 1] <= at)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

#endif
