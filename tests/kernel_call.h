/* SPDX-License-Identifier: Apache-2.0
 *
 * tests/kernel_call.h: one kernel prepared and run on the test's own arrays, without a graph: any kernel of an op, any
 * piece of a batch, any place of the arrays in memory.
 */
#ifndef SOMA_TESTS_KERNEL_CALL_H
#define SOMA_TESTS_KERNEL_CALL_H

#include <soma/op.h>

#define KERNEL_CALL_ARGS 64

typedef struct kernel_call {
    const soma_op *op;
    const void *attrs;
    int n_in, n_out;
    soma_tensor arg[KERNEL_CALL_ARGS]; /* inputs, then outputs; data NULL: absent */
    int64_t batch; /* of this piece; 0: nothing is batched. Arrays whose first dimension is the batch are batched */
    int64_t full_batch; /* 0: batch */
    int64_t sample_offset;
    soma_layout_kind layout; /* of all arrays with four dimensions */
    int threads;             /* 0: 1 */
    uint64_t site, seed, step;
    soma_random random; /* zero: Philox */
    char reason[SOMA_REASON_MAX];
} kernel_call;

/* Accepts, prepares and runs. */
soma_status kernel_call_run(kernel_call *c, const soma_kernel *kernel);

/* A prepared kernel that a test runs many times. */
typedef struct kernel_prepared kernel_prepared;
kernel_prepared *kernel_call_prepare(kernel_call *c, const soma_kernel *kernel); /* NULL: refused, see c->reason */
soma_status kernel_prepared_run(kernel_prepared *p);
void kernel_prepared_free(kernel_prepared *p);

/* May this machine run the kernel? */
bool kernel_call_possible(const soma_kernel *kernel);

#endif
