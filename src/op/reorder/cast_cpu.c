/* SPDX-License-Identifier: Apache-2.0
 *
 * op/reorder/cast_cpu.c: reorder between f32 and bf16 where the layout stays, at the speed of memory. Exists at level 4
 * only.
 */
#include "cpu/parallel.h"
#include "cpu/vec.h"
#include "op/reorder/reorder.h"

#define SOMA_CAST_PARALLEL 32768 /* elements from which a parallel region pays */

typedef struct cast_state {
    int64_t n;
    int threads;
    bool widen;
} cast_state;

typedef struct cast_job {
    const cast_state *s;
    void *const *arg;
} cast_job;

static void part(void *context, int index, int count)
{
    const cast_job *job = context;
    int64_t begin, end;
    soma_share(job->s->n, 1024, index, count, &begin, &end);
    if (job->s->widen)
        soma_widen((const soma_elem *)job->arg[0] + begin, (float *)job->arg[1] + begin, end - begin);
    else
        soma_narrow((const float *)job->arg[0] + begin, (soma_elem *)job->arg[1] + begin, end - begin);
}

static soma_status run(const void *state, void *const *arg, soma_run *r)
{
    const cast_state *s = state;
    cast_job job = {s, arg};
    soma_run_parallel(r, s->threads, part, &job);
    return SOMA_OK;
}

static soma_status accept(soma_prepare *p)
{
    const soma_arg *x = &p->in[0], *y = &p->out[0];
    bool types = (x->dtype == SOMA_F32 && y->dtype == SOMA_BF16) || (x->dtype == SOMA_BF16 && y->dtype == SOMA_F32);
    if (types && x->layout.kind == y->layout.kind && x->layout.kind != SOMA_PACKED)
        return SOMA_OK;
    soma_refuse(p->reason, "converts between f32 and bf16 in one layout");
    return SOMA_UNSUPPORTED;
}

static soma_status prepare(soma_prepare *p)
{
    cast_state *s = soma_prepare_state(p, sizeof *s);
    if (!s)
        return SOMA_MEMORY;
    *s = (cast_state){p->in[0].elements, p->in[0].elements >= SOMA_CAST_PARALLEL ? p->threads : 1,
                      p->in[0].dtype == SOMA_BF16};
    p->parallel = s->threads > 1;
    p->state = s;
    p->run = run;
    return SOMA_OK;
}

extern const soma_kernel SOMA_ISA(soma_cast_cpu);
const soma_kernel SOMA_ISA(soma_cast_cpu) = {.name = "cast",
                                             SOMA_ISA_FIELDS,
                                             .bf16 = SOMA_BF16_FOLLOW,
                                             .layouts = SOMA_LAYOUT_CONVERT,
                                             .accept = accept,
                                             .prepare = prepare};
