/* SPDX-License-Identifier: Apache-2.0
 *
 * tests/kernel_call.c: prepares and runs a kernel as the graph would.
 */
#include "kernel_call.h"

#include "backend/cpu/isa.h"
#include "backend/cpu/parallel.h"
#include "base/random.h"
#include "graph/plan.h"

#include <string.h>

struct kernel_prepared {
    soma *s;
    soma_prepare_room room;
    soma_prepare prepare;
    soma_arg arg[KERNEL_CALL_ARGS];
    void *data[KERNEL_CALL_ARGS + 1];
    soma_run run;
    char note[SOMA_REASON_MAX];
    kernel_call *call;
};

bool kernel_call_possible(const soma_kernel *kernel)
{
    return kernel->isa <= soma_cpu_isa() && kernel->isa != 4; /* the test's arrays are f32 */
}

static void fill(kernel_prepared *p, kernel_call *c)
{
    int n = c->n_in + c->n_out;
    for (int i = 0; i < n; i++) {
        const soma_tensor *t = &c->arg[i];
        p->arg[i] = (soma_arg){.dtype = t->dtype, .shape = t->shape, .elements = soma_shape_elements(&t->shape)};
        p->arg[i].batched = c->batch > 0 && t->shape.rank > 0 && t->shape.dim[0] == c->batch;
        if (t->shape.rank == 4)
            p->arg[i].layout.kind = c->layout;
        if (!t->data)
            p->arg[i].shape.rank = -1;
        p->data[i] = t->data;
    }
    p->prepare = (soma_prepare){.op = c->op,
                                .attrs = c->attrs,
                                .n_in = c->n_in,
                                .n_out = c->n_out,
                                .in = p->arg,
                                .out = p->arg + c->n_in,
                                .batch = c->batch > 0 ? c->batch : 1,
                                .site = c->site,
                                .seed = c->seed,
                                .note = p->note,
                                .reason = c->reason,
                                .room = &p->room};
    p->prepare.full_batch = c->full_batch > 0 ? c->full_batch : p->prepare.batch;
    p->prepare.threads = c->threads > 0 ? c->threads : 1;
    p->run = (soma_run){.threads = p->prepare.threads,
                        .seed = c->seed,
                        .step = c->step,
                        .sample_offset = c->sample_offset,
                        .random = c->random,
                        .reason = c->reason};
    if (!c->random.draw)
        p->run.random.draw = soma_philox;
    c->reason[0] = 0;
}

kernel_prepared *kernel_call_prepare(kernel_call *c, const soma_kernel *kernel)
{
    soma *s = soma_open(NULL);
    kernel_prepared *p = soma_alloc(s, sizeof *p);
    if (!p)
        return NULL;
    p->s = s;
    p->call = c;
    soma_prepare_room_open(&p->room, s);
    fill(p, c);
    soma_status status = kernel->accept ? kernel->accept(&p->prepare) : SOMA_OK;
    if (status == SOMA_OK)
        status = kernel->prepare(&p->prepare);
    if (status == SOMA_OK && p->prepare.scratch) {
        p->data[c->n_in + c->n_out] = soma_alloc(s, p->prepare.scratch);
        memset(p->data[c->n_in + c->n_out], 0xa5, p->prepare.scratch); /* a kernel may not count on zeros */
    }
    if (status == SOMA_OK)
        return p;
    kernel_prepared_free(p);
    return NULL;
}

soma_status kernel_prepared_run(kernel_prepared *p)
{
    return p->prepare.run(p->prepare.state, p->data, &p->run);
}

void kernel_prepared_free(kernel_prepared *p)
{
    soma *s = p->s;
    soma_prepare_room_close(&p->room);
    soma_release(s, p->data[p->call->n_in + p->call->n_out]);
    soma_release(s, p);
    soma_close(s);
}

soma_status kernel_call_run(kernel_call *c, const soma_kernel *kernel)
{
    kernel_prepared *p = kernel_call_prepare(c, kernel);
    if (!p)
        return SOMA_UNSUPPORTED;
    soma_status status = kernel_prepared_run(p);
    kernel_prepared_free(p);
    return status;
}
