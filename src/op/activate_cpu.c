/* SPDX-License-Identifier: Apache-2.0
 *
 * op/activate_cpu.c: relu or relu6 over what a kernel has just written, element by element, whatever the layout. NaN
 * stays NaN.
 */
#include "backend/cpu/parallel.h"
#include "backend/cpu/vec.h"
#include "op/activate.h"

typedef struct activate_state {
    soma_run_fn run; /* of the kernel, and its state */
    const void *state;
    int out, threads;
    bool six;
    int64_t n;
} activate_state;

typedef struct activate_job {
    const activate_state *s;
    soma_elem *y;
} activate_job;

static inline void activate(soma_elem *y, bool six, int n)
{
    soma_vf v = soma_vget_n(y, n);
    soma_vput_n(y, six ? soma_vrelu6(v) : soma_vkeep(soma_vpasses(v), v), n);
}

static void part(void *context, int index, int count)
{
    const activate_job *job = context;
    int64_t begin, end;
    soma_share(job->s->n, 1024, index, count, &begin, &end);
    int64_t i = begin;
    for (; i + SOMA_LANES <= end; i += SOMA_LANES)
        activate(job->y + i, job->s->six, SOMA_LANES);
    if (i < end)
        activate(job->y + i, job->s->six, (int)(end - i));
}

static soma_status run(const void *state, void *const *arg, soma_run *r)
{
    const activate_state *s = state;
    activate_job job = {s, arg[s->out]};
    soma_status status = s->run(s->state, arg, r);
    if (status == SOMA_OK)
        soma_run_parallel(r, s->threads, part, &job);
    return status;
}

soma_status SOMA_ISA(soma_activate)(soma_prepare *p, soma_act act);
soma_status SOMA_ISA(soma_activate)(soma_prepare *p, soma_act act)
{
    activate_state *s = soma_prepare_state(p, sizeof *s);
    if (!s)
        return SOMA_MEMORY;
    *s = (activate_state){.run = p->run, .state = p->state, .out = p->n_in, .six = act == SOMA_ACT_RELU6};
    s->n = p->out[0].elements;
    s->threads = s->n >= 1 << 15 ? p->threads : 1;
    p->parallel = p->parallel || s->threads > 1;
    p->state = s;
    p->run = run;
    return SOMA_OK;
}
