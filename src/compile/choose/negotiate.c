/* SPDX-License-Identifier: Apache-2.0
 *
 * compile/choose/negotiate.c: one layout for every array of a program, from what the chosen kernels ask for and what
 * the others follow, convert or leave plain; it chooses no kernel and inserts no reorder.
 */
#include "compile/choose/select.h"

#include <string.h>

static const soma_layout plain = {.kind = SOMA_PLAIN};

bool soma_layout_possible(const soma_arg *arg, soma_layout_kind kind)
{
    if (kind == SOMA_PLAIN)
        return true;
    if (arg->shape.rank != 4)
        return false;
    int64_t block = kind == SOMA_NCHW16C ? 16 : kind == SOMA_NCHW8C ? 8 : 1;
    return arg->shape.dim[1] % block == 0;
}

void soma_offer_request(const soma_kernel *kernel, soma_offer *v)
{
    int n = v->prepare.n_in + v->prepare.n_out;
    for (int j = 0; j < n; j++)
        v->args[j].layout = plain;
    if (kernel->layouts == SOMA_LAYOUT_ASK)
        kernel->request(&v->prepare);
    for (int j = 0; j < n; j++)
        if (v->args[j].shape.rank != 4 || v->args[j].layout.kind == SOMA_PACKED ||
            !soma_layout_possible(&v->args[j], v->args[j].layout.kind))
            v->args[j].layout = plain;
}

/* Arguments that a CONVERT kernel takes in any layout: activations, not weights. */
static bool converts(const soma_plan *p, int32_t id)
{
    return id >= 0 && p->values[id].arg.shape.rank == 4 && p->values[id].arg.batched;
}

/* Arguments that a FOLLOW kernel wants in one layout: rank 4 and of output 0's shape. */
static bool follows(const soma_plan *p, const soma_task *task, int32_t id)
{
    if (id < 0 || task->out[0] < 0)
        return false;
    const soma_shape *a = &p->values[id].arg.shape, *b = &p->values[task->out[0]].arg.shape;
    return a->rank == 4 && b->rank == 4 && !memcmp(a->dim, b->dim, 4 * sizeof a->dim[0]);
}

/* Arguments of a TOGETHER kernel: those of rank 4, where each of them can have that layout. */
static bool together(const soma_plan *p, const soma_task *task, soma_layout_kind kind)
{
    for (int j = 0; j < task->n_in + task->n_out; j++) {
        int32_t id = j < task->n_in ? task->in[j] : task->out[j - task->n_in];
        if (id >= 0 && !soma_layout_possible(&p->values[id].arg, kind))
            return false;
    }
    return true;
}

/* Does the layout of this argument go with that of others? */
static bool moves_along(const soma_plan *p, const soma_task *task, soma_layout_rule rule, int32_t id)
{
    if (rule == SOMA_LAYOUT_FOLLOW)
        return follows(p, task, id);
    return (rule == SOMA_LAYOUT_CONVERT || rule == SOMA_LAYOUT_TOGETHER) && converts(p, id);
}

/* Wishes spread over ops whose arguments follow each other until nothing changes, then over the next one that may
 * convert (so that what lies between two wishes is converted where that costs nothing), and so on. */
static void spread(const soma_plan *p, soma_layout_kind *wished, bool *is_wished)
{
    bool converting = false;
    for (bool changed = true; changed || !converting;) {
        converting = !changed;
        changed = false;
        for (int i = 0; i < p->n_tasks; i++) {
            const soma_task *task = &p->tasks[i];
            soma_layout_rule rule = task->kernel->layouts;
            if (rule == SOMA_LAYOUT_CONVERT ? !converting || changed
                                            : rule != SOMA_LAYOUT_FOLLOW && rule != SOMA_LAYOUT_TOGETHER)
                continue;
            soma_layout_kind kind = SOMA_PLAIN;
            int n = task->n_in + task->n_out;
            for (int j = 0; j < n && kind == SOMA_PLAIN; j++) {
                int32_t id = j < task->n_in ? task->in[j] : task->out[j - task->n_in];
                if (moves_along(p, task, rule, id))
                    kind = wished[id];
            }
            if (rule == SOMA_LAYOUT_TOGETHER && !together(p, task, kind))
                continue;
            for (int j = 0; j < n && kind != SOMA_PLAIN; j++) {
                int32_t id = j < task->n_in ? task->in[j] : task->out[j - task->n_in];
                if (id < 0 || is_wished[id] || wished[id] != SOMA_PLAIN ||
                    !soma_layout_possible(&p->values[id].arg, kind) || !moves_along(p, task, rule, id))
                    continue;
                wished[id] = kind;
                changed = true;
            }
        }
    }
}

static int32_t group_of(int32_t *group, int32_t id)
{
    while (group[id] != id)
        id = group[id] = group[group[id]];
    return id;
}

/* What only plain kernels make is plain. Values that follow each other are one group: it is plain where a plain kernel
 * makes or reads one of them, or the world outside does, and no kernel asks for another layout; what converts does so
 * free. */
static soma_status settle(const soma_plan *p, soma_layout_kind *wished, const bool *is_wished)
{
    enum { MADE = 1, PLAIN = 2, ASKED = 4 };
    int32_t *group = soma_alloc_array(p->s, (size_t)p->n_values + 1, 2 * sizeof *group), *flags = group + p->n_values;
    if (!group)
        return SOMA_MEMORY;
    for (int32_t id = 0; id < p->n_values; id++)
        group[id] = id;
    for (int pass = 0; pass < 2; pass++)
        for (int i = 0; i < p->n_tasks; i++) {
            const soma_task *task = &p->tasks[i];
            soma_layout_rule rule = task->kernel->layouts;
            int of = rule == SOMA_LAYOUT_PLAIN ? PLAIN : rule == SOMA_LAYOUT_ASK ? ASKED : 0;
            for (int j = 0; j < task->n_in + task->n_out; j++) {
                int32_t id = j < task->n_in ? task->in[j] : task->out[j - task->n_in];
                if (id >= 0 && pass == 0 && rule == SOMA_LAYOUT_FOLLOW && follows(p, task, id))
                    group[group_of(group, id)] = group_of(group, task->out[0]);
                if (id >= 0 && pass == 1)
                    flags[group_of(group, id)] |= of;
                if (id >= 0 && j >= task->n_in)
                    flags[id] |= MADE;
                if (id >= 0 && j >= task->n_in && rule == SOMA_LAYOUT_PLAIN)
                    wished[id] = SOMA_PLAIN;
            }
        }
    for (int32_t id = 0; id < p->n_values; id++)
        flags[group_of(group, id)] |= is_wished[id] ? ASKED : p->values[id].wanted || !(flags[id] & MADE) ? PLAIN : 0;
    for (int32_t id = 0; id < p->n_values; id++)
        if ((flags[group_of(group, id)] & (PLAIN | ASKED)) == PLAIN)
            wished[id] = SOMA_PLAIN;
    soma_release(p->s, group);
    return SOMA_OK;
}

static void fix_layouts(soma_plan *p, const soma_layout_kind *wished)
{
    for (int i = 0; i < p->n_tasks; i++) {
        soma_task *task = &p->tasks[i];
        for (int j = 0; j < task->n_in + task->n_out; j++) {
            int32_t id = j < task->n_in ? task->in[j] : task->out[j - task->n_in];
            soma_layout_rule rule = task->kernel->layouts;
            if (!moves_along(p, task, rule, id))
                continue;
            soma_layout_kind kind = wished[rule == SOMA_LAYOUT_CONVERT ? id : task->out[0]];
            if (rule != SOMA_LAYOUT_TOGETHER || together(p, task, kind))
                task->in_layout[j].kind = kind;
        }
    }
}

/* What kernels ask for; where two ask, the first one's. */
static void collect(const soma_plan *p, soma_layout_kind *wished, bool *is_wished)
{
    for (int i = 0; i < p->n_tasks; i++) {
        const soma_task *task = &p->tasks[i];
        for (int j = 0; task->kernel->layouts == SOMA_LAYOUT_ASK && j < task->n_in + task->n_out; j++) {
            int32_t id = j < task->n_in ? task->in[j] : task->out[j - task->n_in];
            if (id < 0 || p->values[id].arg.shape.rank != 4 || is_wished[id])
                continue;
            is_wished[id] = true;
            wished[id] = task->in_layout[j].kind;
        }
    }
}

soma_status soma_negotiate(soma_plan *p)
{
    soma_layout_kind *wished = soma_alloc_array(p->s, (size_t)p->n_values + 1, sizeof *wished);
    bool *is_wished = soma_alloc_array(p->s, (size_t)p->n_values + 1, sizeof *is_wished);
    soma_status status = wished && is_wished ? SOMA_OK : SOMA_MEMORY;
    if (status == SOMA_OK) {
        collect(p, wished, is_wished);
        spread(p, wished, is_wished);
        status = settle(p, wished, is_wished);
    }
    if (status == SOMA_OK) {
        fix_layouts(p, wished);
        soma_nest_strides(p);
    }
    soma_release(p->s, wished);
    soma_release(p->s, is_wished);
    return status;
}

void soma_offer_layouts(const soma_plan *p, const soma_task *task, const soma_kernel *kernel, soma_offer *v)
{
    soma_layout_rule rule = kernel->layouts;
    soma_offer_request(kernel, v);
    for (int j = 0; j < task->n_in + task->n_out; j++) {
        int32_t id = j < task->n_in ? task->in[j] : task->out[j - task->n_in];
        if (!moves_along(p, task, rule, id) ||
            (rule == SOMA_LAYOUT_TOGETHER && !together(p, task, task->out_layout[0].kind)))
            continue;
        soma_layout like = rule == SOMA_LAYOUT_CONVERT ? task->in_layout[j] : task->out_layout[0];
        like.batch_stride = soma_takes_stride(kernel, j, task->n_in) ? task->in_layout[j].batch_stride : 0;
        v->args[j].layout = like;
    }
}
