/* SPDX-License-Identifier: Apache-2.0
 *
 * op/conv2d/conv2d_finish_cpu.c: the end of conv2d_input_grad behind kernels that know only dy and w: one pass over the
 * dx that they made, dx = gate(y, dx + z). All lie alike, so elements pair up by position.
 */
#include "backend/cpu/parallel.h"
#include "op/conv2d/product.h"

typedef struct finish_state {
    soma_run_fn run; /* of the kernel, and its state */
    const void *state;
    int gate, added, out, threads; /* positions in arg; -1: none */
    bool wide;                     /* dx is f32, whatever y and z are */
    soma_act activation;
    int64_t n;
} finish_state;

typedef struct finish_job {
    const finish_state *s;
    void *const *arg;
} finish_job;

SOMA_INLINE soma_vf get_dx(const finish_state *s, const void *dx, int64_t at, int n)
{
    if (SOMA_STORED != SOMA_F32 && s->wide)
        return soma_vload_n((const float *)dx + at, n);
    return soma_vget_n((const soma_elem *)dx + at, n);
}

SOMA_INLINE void put_dx(const finish_state *s, void *dx, int64_t at, int n, soma_vf v)
{
    if (SOMA_STORED != SOMA_F32 && s->wide)
        soma_vstore_n((float *)dx + at, v, n);
    else
        soma_vput_n((soma_elem *)dx + at, v, n);
}

SOMA_INLINE void finish(const finish_state *s, const soma_elem *y, const soma_elem *z, void *dx, int64_t at, int n)
{
    soma_vf v = get_dx(s, dx, at, n);
    if (z)
        v += soma_vget_n(z + at, n);
    if (y)
        v = soma_conv2d_gate(s->activation, soma_vget_n(y + at, n), v);
    put_dx(s, dx, at, n, v);
}

static void part(void *context, int index, int count)
{
    const finish_job *job = context;
    const finish_state *s = job->s;
    const soma_elem *y = s->gate < 0 ? NULL : job->arg[s->gate], *z = s->added < 0 ? NULL : job->arg[s->added];
    int64_t begin, end;
    soma_share(s->n, 1024, index, count, &begin, &end);
    int64_t i = begin;
    for (; i + SOMA_LANES <= end; i += SOMA_LANES)
        finish(s, y, z, job->arg[s->out], i, SOMA_LANES);
    if (i < end)
        finish(s, y, z, job->arg[s->out], i, (int)(end - i));
}

static soma_status run(const void *state, void *const *arg, soma_run *r)
{
    const finish_state *s = state;
    finish_job job = {s, arg};
    soma_status status = s->run(s->state, arg, r);
    if (status == SOMA_OK)
        soma_run_parallel(r, s->threads, part, &job);
    return status;
}

soma_status SOMA_ISA(soma_conv2d_finish)(soma_prepare *p, bool added);
soma_status SOMA_ISA(soma_conv2d_finish)(soma_prepare *p, bool added)
{
    finish_state *s = soma_prepare_state(p, sizeof *s);
    if (!s)
        return SOMA_MEMORY;
    *s = (finish_state){.run = p->run, .state = p->state, .gate = -1, .added = -1, .out = p->n_in};
    s->activation = (soma_act)((const soma_conv2d_attrs *)p->attrs)->activation;
    if (s->activation != SOMA_ACT_NONE)
        s->gate = SOMA_CONV2D_GATE;
    if (added)
        s->added = SOMA_CONV2D_ADDED;
    s->wide = p->out[0].dtype == SOMA_F32;
    s->n = p->out[0].elements;
    s->threads = s->n >= 1 << 15 ? p->threads : 1;
    p->parallel = p->parallel || s->threads > 1;
    p->apart = p->apart || added;
    p->state = s;
    p->run = run;
    return SOMA_OK;
}
