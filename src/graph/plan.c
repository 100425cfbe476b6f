/* SPDX-License-Identifier: Apache-2.0
 *
 * graph/plan.c: where every array lies. Lifetimes in running order, sharing (views, in place), then offsets: the largest array
 * first, each at the lowest place that is free while it lives.
 */
#include "base/size.h"
#include "graph/program.h"

#include <stdlib.h>
#include <string.h>

static size_t aligned(size_t bytes)
{
    return (bytes + 63) & ~(size_t)63;
}

int32_t soma_plan_root(const soma_program *p, int32_t value)
{
    while (p->values[value].alias >= 0)
        value = p->values[value].alias;
    return value;
}

static void touch(soma_program *p, int32_t value, int position)
{
    soma_plan_value *v = &p->values[soma_plan_root(p, value)];
    if (v->first < 0 || position < v->first)
        v->first = position;
    if (position > v->last)
        v->last = position;
}

/* Positions of the steps that run once per piece. */
static void body_range(const soma_program *p, int *begin, int *end)
{
    *begin = p->n_steps;
    *end = 0;
    for (int i = 0; i < p->n_steps; i++)
        if (!p->steps[i].assigns && (p->steps[i].class == SOMA_CLASS_SAMPLE || p->steps[i].class == SOMA_CLASS_SUM)) {
            *begin = i < *begin ? i : *begin;
            *end = i + 1;
        }
}

static void lifetimes(soma_program *p)
{
    int begin, end;
    body_range(p, &begin, &end);
    for (int i = 0; i < p->n_values; i++)
        p->values[i].first = p->values[i].last = -1;
    for (int i = 0; i < p->n_steps; i++) {
        const soma_plan_step *step = &p->steps[i];
        for (int j = 0; j < step->n_in; j++)
            if (step->in[j] >= 0)
                touch(p, step->in[j], i);
        for (int j = 0; j < step->n_out; j++)
            if (step->out[j] >= 0)
                touch(p, step->out[j], i);
    }
    for (int i = 0; i < p->n_values; i++) {
        soma_plan_value *v = &p->values[i];
        soma_plan_value *root = &p->values[soma_plan_root(p, i)];
        if (v->wanted)
            root->last = p->n_steps;
        if (p->piece == p->batch)
            continue;
        if (root->class == SOMA_CLASS_STEP && root->last >= begin && root->last < end)
            root->last = end - 1; /* every piece reads it */
        if (root->first >= begin && root->first < end && (v->wanted || root->class == SOMA_CLASS_WHOLE))
            root->first = begin; /* holds something from the first piece to the end of the last */
    }
}

static bool shares_root(const soma_program *p, const soma_plan_step *step, int except, int32_t root)
{
    for (int j = 0; j < step->n_in; j++)
        if (j != except && step->in[j] >= 0 && soma_plan_root(p, step->in[j]) == root)
            return true;
    return false;
}

static bool assigning_reads(const soma_program *p, int32_t value)
{
    for (int i = 0; i < p->n_steps; i++)
        for (int j = 0; p->steps[i].assigns && j < p->steps[i].n_in; j++)
            if (p->steps[i].in[j] == value)
                return true;
    return false;
}

/* A view of what this program overwrites would change under who reads it at the end. */
static bool overwritten(const soma_program *p, int32_t root, int32_t view)
{
    return p->updates && p->values[root].storage == SOMA_STORE_TENSOR &&
           (p->values[view].wanted || assigning_reads(p, view));
}

/* Assigned state, views, and results that overwrite an input that nobody needs any more. */
static void share(soma_program *p)
{
    for (int i = 0; i < p->n_steps; i++) {
        soma_plan_step *step = &p->steps[i];
        for (int j = 0; j < step->n_out; j++) {
            int in;
            if (step->out[j] >= 0 && soma_op_assigns(step, j, &in))
                p->values[step->out[j]].alias = soma_plan_root(p, step->in[in]);
        }
        if (step->skip_first || step->n_out < 1 || step->out[0] < 0 || p->values[step->out[0]].alias >= 0)
            continue;
        int k = step->op->view ? 0 : step->op->inplace_in - 1;
        if (k < 0 || k >= step->n_in || step->in[k] < 0)
            continue;
        int32_t root_id = soma_plan_root(p, step->in[k]);
        soma_plan_value *out = &p->values[step->out[0]], *in = &p->values[step->in[k]], *root = &p->values[root_id];
        bool alike = out->arg.layout.kind == in->arg.layout.kind && out->arg.layout.kind != SOMA_PACKED &&
                     soma_arg_bytes(&out->arg) == soma_arg_bytes(&in->arg) && out->arg.batched == in->arg.batched;
        if (!alike || out->storage == SOMA_STORE_GRADIENT)
            continue;
        if (step->op->view && out->arg.layout.kind == SOMA_PLAIN && out->class == in->class &&
            !overwritten(p, root_id, step->out[0])) {
            out->alias = root_id;
            if (out->wanted)
                root->wanted = true;
            root->last = out->last > root->last ? out->last : root->last;
        } else if (!step->op->view && root->storage == SOMA_STORE_WORK && root->last == i && !root->wanted &&
                   !out->wanted && root->class == out->class && out->storage == SOMA_STORE_WORK &&
                   !shares_root(p, step, k, root_id)) {
            out->alias = root_id;
            root->last = out->last;
        }
    }
}

/* What assigning steps read and nobody has storage for yet: laid out one after the other in their order. */
static void gradients(soma_program *p)
{
    p->gradient_size = 0;
    for (int i = 0; i < p->n_steps; i++) {
        const soma_plan_step *step = &p->steps[i];
        for (int j = 0; step->assigns && j < step->n_in; j++) {
            soma_plan_value *v = step->in[j] >= 0 ? &p->values[step->in[j]] : NULL;
            if (!v || v->storage != SOMA_STORE_WORK || v->class < SOMA_CLASS_SAMPLE || v->arg.batched ||
                v->arg.shape.rank == 0)
                continue;
            v->storage = SOMA_STORE_GRADIENT;
            v->offset = p->gradient_size;
            v->size = soma_arg_bytes(&v->arg);
            p->gradient_size += aligned(v->size);
        }
    }
}

static void storage(soma_program *p)
{
    for (int i = 0; i < p->n_values; i++) {
        soma_plan_value *v = &p->values[i];
        if (v->storage == SOMA_STORE_NONE)
            v->storage = v->class <= SOMA_CLASS_STATE ? SOMA_STORE_KEPT : SOMA_STORE_WORK;
    }
}

/* Bytes of a value's storage: a piece's, or the whole batch's where it must be readable afterwards. */
static void sizes(soma_program *p)
{
    for (int i = 0; i < p->n_values; i++) {
        soma_plan_value *v = &p->values[i];
        bool full = v->arg.batched && (v->storage == SOMA_STORE_INPUT || v->wanted);
        v->size = full ? (size_t)v->full_elements * soma_dtype_size(v->arg.dtype) : soma_arg_bytes(&v->arg);
    }
}

/* ---- offsets ---- */

static bool takes_work(const soma_plan_value *v)
{
    return v->storage == SOMA_STORE_WORK && v->alias < 0 && v->first >= 0;
}

typedef struct item {
    size_t size, *offset;
    int first, last, order;
} item;

static int larger_first(const void *a, const void *b)
{
    const item *x = a, *y = b;
    if (x->size != y->size)
        return x->size < y->size ? 1 : -1;
    return x->order - y->order;
}

static int by_offset(const void *a, const void *b)
{
    const item *const *x = a, *const *y = b;
    return *(*x)->offset < *(*y)->offset ? -1 : *(*x)->offset > *(*y)->offset;
}

/* n items placed in [0, total). busy: room for n pointers. */
static size_t place(item *items, int n, const item **busy)
{
    size_t total = 0;
    qsort(items, (size_t)n, sizeof *items, larger_first);
    for (int i = 0; i < n; i++) {
        int n_busy = 0;
        for (int j = 0; j < i; j++)
            if (items[j].first <= items[i].last && items[i].first <= items[j].last)
                busy[n_busy++] = &items[j];
        qsort(busy, (size_t)n_busy, sizeof *busy, by_offset);
        size_t at = 0;
        for (int j = 0; j < n_busy; j++) {
            if (*busy[j]->offset >= at + items[i].size)
                break;
            size_t end = *busy[j]->offset + busy[j]->size;
            at = end > at ? end : at;
        }
        *items[i].offset = at;
        total = at + items[i].size > total ? at + items[i].size : total;
    }
    return total;
}

static soma_status place_work(soma_program *p)
{
    int n = 0;
    item *items = soma_alloc_array(p->s, (size_t)(p->n_values + p->n_steps) + 1, sizeof *items);
    const item **busy = soma_alloc_array(p->s, (size_t)(p->n_values + p->n_steps) + 1, sizeof *busy);
    if (!items || !busy) {
        soma_release(p->s, items);
        soma_release(p->s, busy);
        return SOMA_MEMORY;
    }
    for (int i = 0; i < p->n_values; i++) {
        soma_plan_value *v = &p->values[i];
        if (takes_work(v)) {
            items[n] = (item){aligned(v->size), &v->offset, v->first, v->last, n};
            n++;
        }
    }
    for (int i = 0; i < p->n_steps; i++)
        if (p->steps[i].scratch) {
            items[n] = (item){aligned(p->steps[i].scratch), &p->steps[i].scratch_offset, i, i, n};
            n++;
        }
    p->work_size = place(items, n, busy);
    soma_release(p->s, items);
    soma_release(p->s, busy);
    return SOMA_OK;
}

static soma_status place_rest(soma_program *p)
{
    p->kept_size = p->input_size = 0;
    for (int i = 0; i < p->n_values; i++) {
        soma_plan_value *v = &p->values[i];
        size_t *total = v->storage == SOMA_STORE_KEPT    ? &p->kept_size
                        : v->storage == SOMA_STORE_INPUT ? &p->input_size
                                                         : NULL;
        if (!total || v->alias >= 0)
            continue;
        v->offset = *total;
        if (!soma_size_add(*total, aligned(v->size), total))
            return SOMA_MEMORY;
    }
    return SOMA_OK;
}

void soma_lifetimes(soma_program *p)
{
    for (int i = 0; i < p->n_values; i++) {
        soma_plan_value *v = &p->values[i];
        v->alias = -1;
        if (v->storage == SOMA_STORE_GRADIENT)
            v->storage = SOMA_STORE_WORK;
    }
    storage(p);
    lifetimes(p);
    gradients(p);
    share(p);
    lifetimes(p);
    sizes(p);
}

size_t soma_alive(const soma_program *p, size_t *alive)
{
    size_t most = 0, now = 0;
    memset(alive, 0, (size_t)p->n_steps * sizeof *alive);
    for (int i = 0; i < p->n_values; i++) { /* what begins and, modulo 2^64, what ended */
        const soma_plan_value *v = &p->values[i];
        if (!takes_work(v))
            continue;
        alive[v->first] += aligned(v->size);
        if (v->last + 1 < p->n_steps)
            alive[v->last + 1] -= aligned(v->size);
    }
    for (int i = 0; i < p->n_steps; i++) {
        now += alive[i];
        alive[i] = now + aligned(p->steps[i].scratch);
        most = alive[i] > most ? alive[i] : most;
    }
    return most;
}

soma_status soma_place(soma_program *p)
{
    soma_lifetimes(p);
    soma_status status = place_work(p);
    return status == SOMA_OK ? place_rest(p) : status;
}
