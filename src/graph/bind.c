/* SPDX-License-Identifier: Apache-2.0
 *
 * graph/bind.c: from offsets to pointers: the shared workspace, and the flat array of calls that a step walks through.
 */
#include "base/size.h"
#include "graph/program.h"

#include <string.h>

/* ---- the workspace that a model's programs share ---- */

void soma_workspace_free(soma_model *m)
{
    soma_workspace *w = m->workspace;
    if (!w)
        return;
    soma_release(m->s, w->work);
    soma_release(m->s, w->gradient);
    soma_release(m->s, w->inputs);
    soma_release(m->s, w);
    m->workspace = NULL;
}

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

static soma_status reserve(soma_program *p)
{
    soma_model *m = p->model;
    if (!m->workspace && !(m->workspace = soma_alloc(p->s, sizeof *m->workspace)))
        return SOMA_MEMORY;
    soma_workspace *w = m->workspace;
    bool moved = w->generation == 0;
    soma_status status = enlarge(p->s, &w->work, &w->work_size, p->work_size, 1, &moved);
    if (status == SOMA_OK)
        status = enlarge(p->s, &w->gradient, &w->gradient_size, p->gradient_size, 1, &moved);
    if (status == SOMA_OK)
        status = enlarge(p->s, &w->inputs, &w->input_size, p->input_size, 2, &moved);
    if (moved)
        w->generation++;
    return status;
}

/* ---- pointers ---- */

static void *pointer(const soma_program *p, const soma_binding *b, int32_t value, int slot, int64_t piece)
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

static void bind_call(const soma_program *p, soma_binding *b, int slot, int64_t piece, int index, int call, void **args)
{
    const soma_task *step = &p->steps[index];
    int n = 0;
    for (int j = 0; j < step->n_in; j++)
        args[n++] = pointer(p, b, step->in[j], slot, piece);
    for (int j = 0; j < step->n_out; j++) {
        int32_t out = step->out[j];
        if (out >= 0 && piece == 0 && p->values[out].sum >= 0)
            out = p->values[out].sum; /* the first piece writes the sum itself */
        args[n++] = pointer(p, b, out, slot, piece);
    }
    args[n] = step->scratch ? b->work + step->scratch_offset : NULL;
    b->calls[slot][call] = (soma_call){step->run, step->state, args, piece * p->piece, index};
}

/* A view's kernel has nothing to do when its result shares the input's bytes. */
static bool nothing_to_do(const soma_program *p, const soma_task *step)
{
    return (step->op->view || step->nested) && soma_plan_root(p, step->out[0]) == soma_plan_root(p, step->in[0]);
}

static int args_of(const soma_task *step)
{
    return step->n_in + step->n_out + 1;
}

/* Visits every call in order; with b == NULL only counts. */
static void each_call(const soma_program *p, soma_binding *b, int slot, int *n_calls, size_t *n_args)
{
    int64_t pieces = p->batch / p->piece;
    int calls = 0;
    size_t args = 0;
    int refresh_begin = 0, refresh_end = 0;
    for (int i = 0; i < p->n_steps;) {
        int end = i + 1;
        bool body = soma_in_body(&p->steps[i]);
        while (body && end < p->n_steps && soma_in_body(&p->steps[end]))
            end++;
        for (int64_t piece = 0; piece < (body ? pieces : 1); piece++)
            for (int k = i; k < end; k++) {
                const soma_task *step = &p->steps[k];
                if (nothing_to_do(p, step) || (step->skip_first && piece == 0))
                    continue;
                if (b)
                    bind_call(p, b, slot, piece, k, calls, b->args[slot] + args);
                calls++;
                args += (size_t)args_of(step);
            }
        if (p->steps[i].class == SOMA_CLASS_CONSTANT && !p->steps[i].assigns)
            refresh_begin = calls;
        if (p->steps[i].class <= SOMA_CLASS_STATE && !p->steps[i].assigns)
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

/* The program's own live in its arena; a run object's are freed with it (soma_run_free). */
static soma_status tables(soma_program *p, soma_binding *b)
{
    size_t n_args, n_calls;
    each_call(p, NULL, 0, &b->n_calls, &n_args);
    n_calls = (size_t)b->n_calls + 1;
    bool own = b == &p->own;
    for (int slot = 0; slot < 2; slot++) {
        b->calls[slot] = own ? soma_arena_array(&p->arena, n_calls, sizeof *b->calls[slot])
                             : soma_alloc_array(p->s, n_calls, sizeof *b->calls[slot]);
        b->args[slot] = own ? soma_arena_array(&p->arena, n_args + 1, sizeof *b->args[slot])
                            : soma_alloc_array(p->s, n_args + 1, sizeof *b->args[slot]);
        if (!b->calls[slot] || !b->args[slot])
            return SOMA_MEMORY;
    }
    return SOMA_OK;
}

/* The program's own binding lies in the workspace; a run object's buffers are set already. Allocates only the first
 * time. */
soma_status soma_bind(soma_program *p, soma_binding *b)
{
    bool own = b == &p->own;
    if (own) {
        soma_status status = reserve(p);
        if (status != SOMA_OK)
            return status;
        soma_workspace *w = p->model->workspace;
        b->work = w->work;
        b->gradient = w->gradient;
        b->inputs[0] = w->inputs;
        b->inputs[1] = w->inputs ? w->inputs + w->input_size : NULL;
        b->generation = w->generation;
        if (!b->kept && p->kept_size && !(b->kept = soma_alloc(p->s, p->kept_size)))
            return SOMA_MEMORY;
    }
    if (!b->calls[0]) {
        soma_status status = tables(p, b);
        if (status != SOMA_OK)
            return status;
    }
    for (int slot = 0; slot < 2; slot++) {
        size_t n_args;
        each_call(p, b, slot, &b->n_calls, &n_args);
    }
    return SOMA_OK;
}
