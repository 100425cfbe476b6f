/* SPDX-License-Identifier: Apache-2.0
 *
 * op/activate.c: which instruction set's pass follows a kernel (op/activate_cpu.c).
 */
#include "op/activate.h"

#include "backend/cpu/parallel.h"

#if defined(__x86_64__)
soma_status soma_activate_isa2(soma_prepare *p, soma_act act), soma_activate_isa4(soma_prepare *p, soma_act act);
#ifdef SOMA_BF16_EMULATED
#define soma_activate_isa3 soma_activate_isa2
#endif
soma_status soma_activate_isa3(soma_prepare *p, soma_act act);
#endif
soma_status soma_activate_isa0(soma_prepare *p, soma_act act);

soma_status soma_activate(soma_prepare *p, soma_act act)
{
#if defined(__x86_64__)
    if (p->out[0].dtype == SOMA_BF16)
        return soma_activate_isa4(p, act);
    if (soma_cpu_isa() >= 3)
        return soma_activate_isa3(p, act);
    if (soma_cpu_isa() >= 2)
        return soma_activate_isa2(p, act);
#endif
    return soma_activate_isa0(p, act);
}
