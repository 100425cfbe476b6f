/* SPDX-License-Identifier: Apache-2.0
 *
 * run/bind.c: from offsets to pointers: the shared workspace, and the flat array of calls that a step walks through.
 */
#include "base/size.h"
#include "run/program.h"

#include <string.h>

/* ---- the workspace that a model's programs share ---- */

/* Replaces *block, which is `copies` parts, by one whose parts have at least `size` bytes; what other programs have
 * read in or computed moves along. On failure the old one stays. */
static soma_status enlarge(soma *s, char **block, size_t *have, size_t size, size_t copies, bool *moved)
{
    size_t bytes;
    if (size <= *have)
        return SOMA_OK;
    if (!soma_size_mul(size, copies, &bytes))
        return SOMA_MEMORY;
    char *larger = soma_alloc(s, bytes);
    if (!larger)
        return SOMA_MEMORY;
    for (size_t i = 0; i < copies && *have; i++)
        memcpy(larger + i * size, *block + i * *have, *have);
    soma_release(s, *block);
    *block = larger;
    *have = size;
    *moved = true;
    return SOMA_OK;
}

static soma_status reserve(soma_workspace *w, soma_input_ring *ring, const soma_plan *p)
{
    bool moved = w->generation == 0;
    soma_status status = enlarge(p->s, &w->work, &w->work_size, p->work_size, 1, &moved);
    if (status == SOMA_OK)
        status = enlarge(p->s, &w->gradient, &w->gradient_size, p->gradient_size, 1, &moved);
    if (status == SOMA_OK)
        status = enlarge(p->s, &ring->slots, &ring->slot_size, p->input_size, 2, &moved);
    if (moved)
        w->generation++;
    return status;
}

/* ---- pointers ---- */

static void *pointer(const soma_plan *p, const soma_binding *b, int32_t value, int slot, int64_t piece)
{
    if (value < 0)
        return NULL;
    const soma_plan_value *v = &p->values[soma_plan_root(p, value)];
    size_t skip = 0, within = p->values[value].within;
    if (v->arg.batched && (v->storage == SOMA_STORE_INPUT || v->wanted))
        skip = (size_t)piece * soma_arg_bytes(&v->arg);
    switch (v->storage) {
    case SOMA_STORE_INPUT:
        return b->inputs[slot] + v->offset + skip + within;
    case SOMA_STORE_TENSOR:
        return p->model->tensors[v->tensor].data;
    case SOMA_STORE_CONSTANT:
        return (void *)(uintptr_t)v->bytes;
    case SOMA_STORE_WORK:
        return b->work + v->offset + skip + within;
    case SOMA_STORE_GRADIENT:
        return b->gradient + v->offset;
    case SOMA_STORE_KEPT:
        return b->kept + v->offset;
    case SOMA_STORE_NONE:
        break;
    }
    return NULL;
}

static void bind_call(const soma_plan *p, soma_binding *b, int slot, int64_t piece, int index, int call, void **args)
{
    const soma_task *task = &p->tasks[index];
    int n = 0;
    for (int j = 0; j < task->n_in; j++)
        args[n++] = pointer(p, b, task->in[j], slot, piece);
    for (int j = 0; j < task->n_out; j++) {
        int32_t out = task->out[j];
        if (out >= 0 && piece == 0 && p->values[out].sum >= 0)
            out = p->values[out].sum; /* the first piece writes the sum itself */
        args[n++] = pointer(p, b, out, slot, piece);
    }
    args[n] = task->scratch ? b->work + task->scratch_offset : NULL;
    b->calls[slot][call] = (soma_call){task->run, task->state, args, piece * p->piece, index};
}

/* A view's kernel has nothing to do when its result shares the input's bytes. */
static bool nothing_to_do(const soma_plan *p, const soma_task *task)
{
    return (task->op->alias || task->nested) && soma_plan_root(p, task->out[0]) == soma_plan_root(p, task->in[0]);
}

static int args_of(const soma_task *task)
{
    return task->n_in + task->n_out + 1;
}

/* Visits every call in order; with b == NULL only counts. */
static void each_call(const soma_plan *p, soma_binding *b, int slot, int *n_calls, size_t *n_args)
{
    int64_t pieces = p->batch / p->piece;
    int calls = 0;
    size_t args = 0;
    int refresh_begin = 0, refresh_end = 0;
    for (int i = 0; i < p->n_tasks;) {
        int end = i + 1;
        bool body = soma_in_body(&p->tasks[i]);
        while (body && end < p->n_tasks && soma_in_body(&p->tasks[end]))
            end++;
        for (int64_t piece = 0; piece < (body ? pieces : 1); piece++)
            for (int k = i; k < end; k++) {
                const soma_task *task = &p->tasks[k];
                if (nothing_to_do(p, task) || (task->skip_first && piece == 0))
                    continue;
                if (b)
                    bind_call(p, b, slot, piece, k, calls, b->args[slot] + args);
                calls++;
                args += (size_t)args_of(task);
            }
        if (p->tasks[i].class == SOMA_CLASS_CONSTANT && !p->tasks[i].assigns)
            refresh_begin = calls;
        if (p->tasks[i].class <= SOMA_CLASS_STATE && !p->tasks[i].assigns)
            refresh_end = calls;
        i = end;
    }
    if (b) {
        b->refresh_begin = refresh_begin;
        b->refresh_end = refresh_end;
    }
    *n_calls = calls;
    *n_args = args;
}

static soma_status make_tables(const soma_plan *p, soma_binding *b)
{
    size_t n_args;
    each_call(p, NULL, 0, &b->n_calls, &n_args);
    for (int slot = 0; slot < 2; slot++) {
        b->calls[slot] = soma_alloc_array(p->s, (size_t)b->n_calls + 1, sizeof *b->calls[slot]);
        b->args[slot] = soma_alloc_array(p->s, n_args + 1, sizeof *b->args[slot]);
        if (!b->calls[slot] || !b->args[slot])
            return SOMA_MEMORY;
    }
    return SOMA_OK;
}

uint64_t soma_binding_bytes(const soma_plan *p)
{
    int n_calls;
    size_t n_args;
    each_call(p, NULL, 0, &n_calls, &n_args);
    return 2 * (((uint64_t)n_calls + 1) * sizeof(soma_call) + (n_args + 1) * sizeof(void *));
}

void soma_unbind(soma *s, soma_binding *b)
{
    for (int slot = 0; slot < 2; slot++) {
        soma_release(s, b->calls[slot]);
        soma_release(s, b->args[slot]);
    }
}

/* The program's own binding lies in the workspace; a session's buffers are set already. */
soma_status soma_bind(soma_program *p, soma_binding *b)
{
    const soma_plan *plan = p->plan;
    if (b == &p->own) {
        soma_workspace *w = p->workspace;
        soma_status status = reserve(w, p->ring, plan);
        if (status != SOMA_OK)
            return status;
        b->work = w->work;
        b->gradient = w->gradient;
        b->inputs[0] = p->ring->slots;
        b->inputs[1] = p->ring->slots ? p->ring->slots + p->ring->slot_size : NULL;
        b->generation = w->generation;
        if (!b->kept && plan->kept_size && !(b->kept = soma_alloc(plan->s, plan->kept_size)))
            return SOMA_MEMORY;
    }
    soma_status status = b->calls[0] ? SOMA_OK : make_tables(plan, b);
    for (int slot = 0; slot < 2 && status == SOMA_OK; slot++) {
        size_t n_args;
        each_call(plan, b, slot, &b->n_calls, &n_args);
    }
    return status;
}
