/* SPDX-License-Identifier: Apache-2.0
 *
 * op/tail/tail.c: which of a node's parts are its tail, and which instruction set's pass follows a kernel.
 */
#include "op/tail/tail.h"

#include "cpu/parallel.h"
#include "graph/graph.h"

/* Position of an input of the tail, or -1 where it is absent or not among `parts`. */
static int position(const soma_prepare *p, uint32_t parts, soma_tail_part part)
{
    int at = parts & part ? soma_tail_input(p->op, part) : -1;
    return at >= 0 && at < p->n_in && p->in[at].shape.rank >= 0 ? at : -1;
}

static soma_tail_state state_of(const soma_prepare *p, uint32_t parts)
{
    const int *act = soma_activation_in(p->op, p->attrs);
    soma_tail_state s = {.bias = position(p, parts, SOMA_TAIL_BIAS),
                         .gate = position(p, parts, SOMA_TAIL_GATE),
                         .add = position(p, parts, SOMA_TAIL_ADD)};
    bool acts = p->op->tail & SOMA_TAIL_GATE ? s.gate >= 0 : parts & SOMA_TAIL_ACT;
    s.act = acts && act ? (soma_act)*act : SOMA_ACT_NONE;
    if (s.act == SOMA_ACT_NONE)
        s.gate = -1;
    return s;
}

soma_tail_state soma_tail_of(const soma_prepare *p)
{
    return state_of(p, p->op->tail & ~p->behind);
}

void soma_tail_wish_alike(soma_prepare *p)
{
    const soma_tail_state s = state_of(p, p->op->tail);
    if (s.add >= 0)
        p->in[s.add].layout.kind = p->out[0].layout.kind;
    if (s.gate >= 0)
        p->in[s.gate].layout.kind = p->out[0].layout.kind;
}

static bool alike(const soma_prepare *p, int in)
{
    return in < 0 || (p->in[in].layout.kind == p->out[0].layout.kind && !p->in[in].layout.batch_stride);
}

soma_status soma_tail_alike(soma_prepare *p)
{
    const soma_tail_state s = state_of(p, p->op->tail);
    if (alike(p, s.add) && alike(p, s.gate))
        return SOMA_OK;
    return soma_refuse(p->reason, "what is added and the gate must have the result's layout");
}

#if defined(__x86_64__)
soma_status soma_tail_behind_isa2(soma_prepare *p, const soma_tail_state *tail),
    soma_tail_behind_isa4(soma_prepare *p, const soma_tail_state *tail);
#ifdef SOMA_BF16_EMULATED
#define soma_tail_behind_isa3 soma_tail_behind_isa2
#endif
soma_status soma_tail_behind_isa3(soma_prepare *p, const soma_tail_state *tail);
#endif
soma_status soma_tail_behind_isa0(soma_prepare *p, const soma_tail_state *tail);

soma_status soma_tail_behind(soma_prepare *p)
{
    const soma_tail_state s = state_of(p, p->behind);
    if (s.add < 0 && s.act == SOMA_ACT_NONE)
        return SOMA_OK;
    if (soma_tail_alike(p) != SOMA_OK)
        return SOMA_UNSUPPORTED;
#if defined(__x86_64__)
    bool bf16 = p->out[0].dtype == SOMA_BF16 || (s.add >= 0 && p->in[s.add].dtype == SOMA_BF16) ||
                (s.gate >= 0 && p->in[s.gate].dtype == SOMA_BF16);
    if (bf16)
        return soma_tail_behind_isa4(p, &s);
    if (soma_cpu_isa() >= 3)
        return soma_tail_behind_isa3(p, &s);
    if (soma_cpu_isa() >= 2)
        return soma_tail_behind_isa2(p, &s);
#endif
    return soma_tail_behind_isa0(p, &s);
}
