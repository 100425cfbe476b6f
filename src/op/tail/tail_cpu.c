/* SPDX-License-Identifier: Apache-2.0
 *
 * op/tail/tail_cpu.c: one pass over what a kernel has just written: y = gate(act(y + z)), for the parts that the kernel
 * left. All arrays are in one layout, so elements pair up by position. At level 4 each of them may be bf16 or f32.
 */
#include "cpu/parallel.h"
#include "op/tail/tail_vec.h"

#define ROW 512 /* elements at a time for activations that take no vector */

typedef struct behind_state {
    soma_run_fn run; /* of the kernel, and its state */
    const void *state;
    soma_tail_state tail;
    int out, threads;
    bool wide_add, wide_gate, wide_out; /* f32 at level 4 */
    int64_t n;
} behind_state;

typedef struct behind_job {
    const behind_state *s;
    const void *add, *gate;
    void *out;
} behind_job;

SOMA_INLINE soma_vf get(const void *x, bool wide, int64_t at, int n)
{
    if (SOMA_STORED != SOMA_F32 && wide)
        return soma_vload_n((const float *)x + at, n);
    return soma_vget_n((const soma_elem *)x + at, n);
}

SOMA_INLINE void put(void *x, bool wide, int64_t at, int n, soma_vf v)
{
    if (SOMA_STORED != SOMA_F32 && wide)
        soma_vstore_n((float *)x + at, v, n);
    else
        soma_vput_n((soma_elem *)x + at, v, n);
}

SOMA_INLINE void vector_of(const behind_job *j, int64_t at, int n)
{
    const behind_state *s = j->s;
    soma_vf v = get(j->out, s->wide_out, at, n);
    if (j->add)
        v += get(j->add, s->wide_add, at, n);
    v = j->gate ? soma_gate_vector(s->tail.act, get(j->gate, s->wide_gate, at, n), v) : soma_act_vector(s->tail.act, v);
    put(j->out, s->wide_out, at, n, v);
}

/* From `at` on: n elements at most ROW, whole vectors of them in the row. */
static void row_of(const behind_job *j, int64_t at, int64_t n)
{
    const behind_state *s = j->s;
    float y[ROW], gate[ROW];
    for (int64_t i = 0; i < n; i += SOMA_LANES) {
        int k = n - i < SOMA_LANES ? (int)(n - i) : SOMA_LANES;
        soma_vf v = get(j->out, s->wide_out, at + i, k);
        if (j->add)
            v += get(j->add, s->wide_add, at + i, k);
        soma_vstore(y + i, v);
        if (j->gate)
            soma_vstore(gate + i, get(j->gate, s->wide_gate, at + i, k));
    }
    if (j->gate)
        soma_gate_row(s->tail.act, gate, y, n);
    else
        soma_act_row(s->tail.act, y, n);
    for (int64_t i = 0; i < n; i += SOMA_LANES)
        put(j->out, s->wide_out, at + i, n - i < SOMA_LANES ? (int)(n - i) : SOMA_LANES, soma_vload(y + i));
}

static void part(void *context, int index, int count)
{
    const behind_job *j = context;
    bool rows = j->s->tail.act && !(SOMA_ACTS_CLAMP & SOMA_ACT_BIT(j->s->tail.act));
    int64_t begin, end;
    soma_share(j->s->n, 1024, index, count, &begin, &end);
    for (int64_t i = begin; i < end && rows; i += ROW)
        row_of(j, i, end - i < ROW ? end - i : ROW);
    if (rows)
        return;
    int64_t i = begin;
    for (; i + SOMA_LANES <= end; i += SOMA_LANES)
        vector_of(j, i, SOMA_LANES);
    if (i < end)
        vector_of(j, i, (int)(end - i));
}

static soma_status run(const void *state, void *const *arg, soma_run *r)
{
    const behind_state *s = state;
    behind_job job = {.s = s, .out = arg[s->out]};
    job.add = s->tail.add >= 0 ? arg[s->tail.add] : NULL;
    job.gate = s->tail.gate >= 0 ? arg[s->tail.gate] : NULL;
    soma_status status = s->run(s->state, arg, r);
    if (status == SOMA_OK)
        soma_run_parallel(r, s->threads, part, &job);
    return status;
}

soma_status SOMA_ISA(soma_tail_behind)(soma_prepare *p, const soma_tail_state *tail);
soma_status SOMA_ISA(soma_tail_behind)(soma_prepare *p, const soma_tail_state *tail)
{
    behind_state *s = soma_prepare_state(p, sizeof *s);
    if (!s)
        return SOMA_MEMORY;
    *s = (behind_state){.run = p->run, .state = p->state, .tail = *tail, .out = p->n_in};
    s->wide_add = tail->add >= 0 && p->in[tail->add].dtype == SOMA_F32;
    s->wide_gate = tail->gate >= 0 && p->in[tail->gate].dtype == SOMA_F32;
    s->wide_out = p->out[0].dtype == SOMA_F32;
    s->n = p->out[0].elements;
    s->threads = s->n >= 1 << 15 ? p->threads : 1;
    p->parallel = p->parallel || s->threads > 1;
    p->apart = p->apart || tail->add >= 0;
    p->state = s;
    p->run = run;
    return SOMA_OK;
}
