/* SPDX-License-Identifier: Apache-2.0
 *
 * compile/kernel.h: one kernel prepared and run by itself, without a plan, as tests and benchmarks do.
 */
#ifndef SOMA_COMPILE_KERNEL_H
#define SOMA_COMPILE_KERNEL_H

#include "compile/choose/select.h"

typedef struct soma_kernel_call {
    soma_prepare_room room;
    soma_offer view;
} soma_kernel_call;

/* Arguments of these types (rank -1: absent), plain, for one sample on one thread: view.args and view.prepare may be
 * changed until the kernel is prepared. The call must not move in memory until it is closed; close it, whatever
 * fails. */
soma_status soma_kernel_open(soma_kernel_call *c, soma *s, const soma_op *op, const void *attrs, int n_in, int n_out,
                             const soma_type *type);
/* SOMA_UNSUPPORTED: view.reason says why. kinds (or NULL): layouts of the arguments; where plain, what the kernel asks
 * for. */
soma_status soma_kernel_prepare(soma_kernel_call *c, const soma_kernel *kernel, const soma_layout_kind *kinds);
/* data: the arguments, then view.prepare.scratch bytes. */
static inline soma_status soma_kernel_run(const soma_kernel_call *c, void **data, soma_run *run)
{
    return c->view.prepare.run(c->view.prepare.state, data, run);
}
void soma_kernel_close(soma_kernel_call *c);

#endif
