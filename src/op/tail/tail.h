/* SPDX-License-Identifier: Apache-2.0
 *
 * op/tail/tail.h: where the tail of a prepared node is, y = gate(act(op(x) + bias + z)), for the kernels that do it,
 * and the pass that does behind a kernel what the kernel leaves. Knows no vectors (tail_vec.h).
 */
#ifndef SOMA_OP_TAIL_TAIL_H
#define SOMA_OP_TAIL_TAIL_H

#include "op/tail/act.h"

/* What the kernel itself does: positions in arg, -1: none. act: applied, or the gate's where there is one. */
typedef struct soma_tail_state {
    soma_act act;
    int bias, gate, add;
} soma_tail_state;

/* Without what is left to the pass behind. */
soma_tail_state soma_tail_of(const soma_prepare *p);

/* Are what is added and the gate's y in the result's layout? Their elements then pair up by position. Refuses
 * otherwise. */
soma_status soma_tail_alike(soma_prepare *p);
/* The request for that. */
void soma_tail_wish_alike(soma_prepare *p);

/* A pass over output 0 of the prepared kernel, within its run, for the parts p->behind (soma_tail_part). */
soma_status soma_tail_behind(soma_prepare *p);

#endif
