/* SPDX-License-Identifier: Apache-2.0
 *
 * tests/kernel_call.c: prepares and runs a kernel as the graph would.
 */
#include "kernel_call.h"

#include "cpu/isa.h"
#include "cpu/parallel.h"
#include "base/random.h"
#include "compile/kernel.h"

#include <string.h>

struct kernel_prepared {
    soma *s;
    soma_kernel_call call;
    void *data[KERNEL_CALL_ARGS + 1], *scratch;
    soma_run run;
};

bool kernel_call_possible(const soma_kernel *kernel)
{
    return kernel->isa <= soma_cpu_isa() && kernel->stores != SOMA_BF16; /* the test's arrays are f32 */
}

static void fill(kernel_prepared *p, kernel_call *c)
{
    soma_prepare *prepare = &p->call.view.prepare;
    for (int i = 0; i < c->n_in + c->n_out; i++) {
        const soma_tensor *t = &c->arg[i];
        soma_arg *arg = &p->call.view.args[i];
        arg->batched = c->batch > 0 && t->shape.rank > 0 && t->shape.dim[0] == c->batch;
        if (t->shape.rank == 4)
            arg->layout.kind = c->layout;
        p->data[i] = t->data;
    }
    prepare->batch = c->batch > 0 ? c->batch : 1;
    prepare->full_batch = c->full_batch > 0 ? c->full_batch : prepare->batch;
    prepare->threads = c->threads > 0 ? c->threads : 1;
    prepare->site = c->site;
    prepare->seed = c->seed;
    p->run = (soma_run){.threads = prepare->threads,
                        .seed = c->seed,
                        .step = c->step,
                        .sample_offset = c->sample_offset,
                        .random = c->random,
                        .reason = c->reason};
    if (!c->random.draw)
        p->run.random.draw = soma_philox;
}

kernel_prepared *kernel_call_prepare(kernel_call *c, const soma_kernel *kernel)
{
    soma_type type[KERNEL_CALL_ARGS];
    soma *s = soma_open(NULL);
    kernel_prepared *p = soma_alloc(s, sizeof *p);
    if (!p)
        return NULL;
    p->s = s;
    for (int i = 0; i < c->n_in + c->n_out; i++) {
        type[i] = (soma_type){c->arg[i].dtype, c->arg[i].shape};
        if (!c->arg[i].data)
            type[i].shape.rank = -1;
    }
    soma_status status = soma_kernel_open(&p->call, s, c->op, c->attrs, c->n_in, c->n_out, type);
    if (status == SOMA_OK) {
        fill(p, c);
        status = soma_kernel_prepare(&p->call, kernel, NULL);
    }
    size_t scratch = p->call.view.prepare.scratch;
    memcpy(c->reason, p->call.view.reason, sizeof c->reason);
    if (status == SOMA_OK && scratch) {
        p->scratch = p->data[c->n_in + c->n_out] = soma_alloc(s, scratch);
        memset(p->scratch, 0xa5, scratch); /* a kernel may not count on zeros */
    }
    if (status == SOMA_OK)
        return p;
    kernel_prepared_free(p);
    return NULL;
}

soma_status kernel_prepared_run(kernel_prepared *p)
{
    return soma_kernel_run(&p->call, p->data, &p->run);
}

void kernel_prepared_free(kernel_prepared *p)
{
    soma *s = p->s;
    soma_kernel_close(&p->call);
    soma_release(s, p->scratch);
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
