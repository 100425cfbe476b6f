/* SPDX-License-Identifier: Apache-2.0
 *
 * compile/kernel.c: one kernel by itself.
 */
#include "compile/kernel.h"

#include "cpu/parallel.h"

soma_status soma_kernel_open(soma_kernel_call *c, soma *s, const soma_op *op, const void *attrs, int n_in, int n_out,
                             const soma_type *type)
{
    soma_prepare_room_open(&c->room, s);
    soma_status status = soma_offer_open(&c->view, &c->room, op, attrs, n_in, n_out);
    for (int i = 0; i < n_in + n_out && status == SOMA_OK; i++)
        c->view.args[i] = (soma_arg){.dtype = type[i].dtype,
                                     .shape = type[i].shape,
                                     .elements = type[i].shape.rank < 0 ? 0 : soma_shape_elements(&type[i].shape)};
    return status;
}

soma_status soma_kernel_prepare(soma_kernel_call *c, const soma_kernel *kernel, const soma_layout_kind *kinds)
{
    soma_offer *v = &c->view;
    if (kernel->isa > soma_cpu_isa())
        return soma_refuse(v->reason, "this CPU lacks the instructions");
    if (kernel->accept && kernel->accept(&v->prepare) != SOMA_OK)
        return SOMA_UNSUPPORTED;
    if (kernel->layouts == SOMA_LAYOUT_ASK)
        soma_offer_request(kernel, v);
    for (int i = 0; i < v->prepare.n_in + v->prepare.n_out && kinds; i++)
        if (kinds[i] != SOMA_PLAIN)
            v->args[i].layout.kind = kinds[i];
    return soma_prepare_kernel(kernel, &v->prepare);
}

void soma_kernel_close(soma_kernel_call *c)
{
    soma_prepare_room_close(&c->room);
}
