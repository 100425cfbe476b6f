/* SPDX-License-Identifier: Apache-2.0
 *
 * compile/choose/select.h: a task as kernels see it, for those who choose them: the rule (select.c) and the clock
 * (tune.c), and for layouts (negotiate.c).
 */
#ifndef SOMA_COMPILE_CHOOSE_SELECT_H
#define SOMA_COMPILE_CHOOSE_SELECT_H

#include "compile/plan.h"

typedef struct soma_offer {
    soma_prepare prepare;
    soma_arg *args; /* n_in, then n_out */
    bool bf16;      /* the task reads and writes bf16 */
    char note[SOMA_REASON_MAX], reason[SOMA_REASON_MAX];
} soma_offer;

/* Kernels that are for bf16 alone are not worth a word in an f32 task. */
static inline bool soma_for_bf16_alone(const soma_kernel *kernel)
{
    return kernel->stores == SOMA_BF16;
}

/* Arguments zeroed, one sample, one thread: the caller fills in the rest. */
soma_status soma_offer_open(soma_offer *v, soma_prepare_room *room, const soma_op *op, const void *attrs, int n_in,
                            int n_out);
/* All arguments plain. The arrays, and what prepare will store, are the room's. */
soma_status soma_offer_make(const soma_plan *p, const soma_task *task, soma_prepare_room *room, soma_offer *v);
/* Why a kernel cannot run the task, or NULL. */
const char *soma_offer_cannot(const soma_plan *p, const soma_kernel *kernel, soma_offer *v);
/* Prepares a kernel that accepts the node, and the pass behind it for what it leaves of the op's tail. */
soma_status soma_prepare_kernel(const soma_kernel *kernel, soma_prepare *p);
/* Blocked layouts only without padded lanes, so that no kernel ever meets one. */
bool soma_layout_possible(const soma_arg *arg, soma_layout_kind kind);
/* Layouts plain but for what the kernel asks for. */
void soma_offer_request(const soma_kernel *kernel, soma_offer *v);
/* The layouts in which another kernel than the chosen one would run the task: what it asks for, or what was
 * negotiated. */
void soma_offer_layouts(const soma_plan *p, const soma_task *task, const soma_kernel *kernel, soma_offer *v);
bool soma_same_layout(const soma_layout *a, const soma_layout *b);
const char *soma_layout_name(soma_layout_kind kind);

/* Fixes every task's layouts, and strides of arrays that lie within others; each task has a kernel and what it asks
 * for. */
soma_status soma_negotiate(soma_plan *p);

/* Replaces the rule's kernel, and layouts with it, where the model's record or the clock knows better (tune.c). The
 * task's layouts are negotiated, nothing is prepared. */
soma_status soma_tune_task(soma_plan *p, soma_task *task);

#endif
