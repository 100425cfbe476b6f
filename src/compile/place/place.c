/* SPDX-License-Identifier: Apache-2.0
 *
 * compile/place/place.c: where every array lies. Lifetimes in running order, sharing (views, in place), then offsets:
 * several orders, each array at a place that is free while it lives; the order that needs least is taken.
 */
#include "base/size.h"
#include "compile/plan.h"

#include <stdlib.h>
#include <string.h>

static size_t aligned(size_t bytes)
{
    return (bytes + 63) & ~(size_t)63;
}

int32_t soma_plan_root(const soma_plan *p, int32_t value)
{
    while (p->values[value].alias >= 0)
        value = p->values[value].alias;
    return value;
}

static void touch(soma_plan *p, int32_t value, int position)
{
    soma_plan_value *v = &p->values[soma_plan_root(p, value)];
    if (v->first < 0 || position < v->first)
        v->first = position;
    if (position > v->last)
        v->last = position;
}

/* Positions of the tasks that run once per piece. */
static void body_range(const soma_plan *p, int *begin, int *end)
{
    *begin = p->n_tasks;
    *end = 0;
    for (int i = 0; i < p->n_tasks; i++)
        if (soma_in_body(&p->tasks[i])) {
            *begin = i < *begin ? i : *begin;
            *end = i + 1;
        }
}

static void lifetimes(soma_plan *p)
{
    int begin, end;
    body_range(p, &begin, &end);
    for (int i = 0; i < p->n_values; i++)
        p->values[i].first = p->values[i].last = -1;
    for (int i = 0; i < p->n_tasks; i++) {
        const soma_task *task = &p->tasks[i];
        for (int j = 0; j < task->n_in; j++)
            if (task->in[j] >= 0)
                touch(p, task->in[j], i);
        for (int j = 0; j < task->n_out; j++)
            if (task->out[j] >= 0)
                touch(p, task->out[j], i);
    }
    for (int i = 0; i < p->n_values; i++) {
        soma_plan_value *v = &p->values[i];
        soma_plan_value *root = &p->values[soma_plan_root(p, i)];
        if (v->wanted)
            root->last = p->n_tasks;
        if (p->piece == p->batch)
            continue;
        if (root->class == SOMA_CLASS_STEP && root->last >= begin && root->last < end)
            root->last = end - 1; /* every piece reads it */
        if (root->first >= begin && root->first < end && (v->wanted || root->class == SOMA_CLASS_WHOLE))
            root->first = begin; /* holds something from the first piece to the end of the last */
    }
}

static bool shares_root(const soma_plan *p, const soma_task *task, int except, int32_t root)
{
    for (int j = 0; j < task->n_in; j++)
        if (j != except && task->in[j] >= 0 && soma_plan_root(p, task->in[j]) == root)
            return true;
    return false;
}

static bool assigning_reads(const soma_plan *p, int32_t value)
{
    for (int i = 0; i < p->n_tasks; i++)
        for (int j = 0; p->tasks[i].assigns && j < p->tasks[i].n_in; j++)
            if (p->tasks[i].in[j] == value)
                return true;
    return false;
}

/* A view of what this program overwrites would change under who reads it at the end. */
static bool overwritten(const soma_plan *p, int32_t root, int32_t view)
{
    return p->updates && p->values[root].storage == SOMA_STORE_TENSOR &&
           (p->values[view].wanted || assigning_reads(p, view));
}

/* A slice of channels as a view, where its input really has the layout that was planned for it. */
static void share_slice(soma_plan *p, const soma_task *task)
{
    soma_plan_value *out = &p->values[task->out[0]];
    const soma_plan_value *in = &p->values[task->in[0]];
    int64_t samples = in->arg.shape.dim[0], stride = in->arg.layout.batch_stride;
    stride = stride ? stride : in->arg.elements / samples;
    if (in->arg.layout.kind != out->arg.layout.kind || (samples > 1 && stride != out->arg.layout.batch_stride))
        return;
    out->alias = soma_plan_root(p, task->in[0]);
    out->within = in->within + (size_t)soma_slice_begin(p, task) * soma_dtype_size(in->arg.dtype);
    soma_plan_value *root = &p->values[out->alias];
    root->last = out->last > root->last ? out->last : root->last;
}

/* Assigned state, views, and results that overwrite an input that nobody needs any more. */
static void share(soma_plan *p)
{
    for (int i = 0; i < p->n_tasks; i++) {
        soma_task *task = &p->tasks[i];
        for (int j = 0; j < task->n_out; j++) {
            int in;
            if (task->out[j] >= 0 && soma_op_assigns(task, j, &in))
                p->values[task->out[j]].alias = soma_plan_root(p, task->in[in]);
        }
        if (task->skip_first || task->n_out < 1 || task->out[0] < 0 || p->values[task->out[0]].alias >= 0)
            continue;
        if (task->nested) {
            share_slice(p, task);
            continue;
        }
        int k = task->op->alias ? 0 : task->apart ? -1 : task->op->inplace_in - 1;
        if (k < 0 || k >= task->n_in || task->in[k] < 0)
            continue;
        int32_t root_id = soma_plan_root(p, task->in[k]);
        soma_plan_value *out = &p->values[task->out[0]], *in = &p->values[task->in[k]], *root = &p->values[root_id];
        bool alike = out->arg.layout.kind == in->arg.layout.kind && out->arg.layout.kind != SOMA_PACKED &&
                     out->arg.layout.batch_stride == in->arg.layout.batch_stride &&
                     soma_arg_bytes(&out->arg) == soma_arg_bytes(&in->arg) && out->arg.batched == in->arg.batched;
        if (!alike || out->storage == SOMA_STORE_GRADIENT)
            continue;
        if (task->op->alias && out->arg.layout.kind == SOMA_PLAIN && out->class == in->class &&
            !overwritten(p, root_id, task->out[0])) {
            out->alias = root_id;
            out->within = in->within;
            if (out->wanted)
                root->wanted = true;
            root->last = out->last > root->last ? out->last : root->last;
        } else if (!task->op->alias && root->storage == SOMA_STORE_WORK && root->last == i && !root->wanted &&
                   !out->wanted && root->class == out->class && out->storage == SOMA_STORE_WORK &&
                   !shares_root(p, task, k, root_id)) {
            out->alias = root_id;
            out->within = in->within;
            root->last = out->last;
        }
    }
}

/* A gradient of that many bytes gains nothing from a neighbour and lies in the work block from its making to its
 * update, over activations that are gone by then. */
#define LARGE_GRADIENT (1 << 20)

/* What assigning tasks read and nobody has storage for yet: small ones are laid out one after the other in their
 * order. */
static void gradients(soma_plan *p)
{
    p->gradient_size = p->large_gradients = 0;
    for (int i = 0; i < p->n_tasks; i++) {
        const soma_task *task = &p->tasks[i];
        for (int j = 0; task->assigns && j < task->n_in; j++) {
            soma_plan_value *v = task->in[j] >= 0 ? &p->values[task->in[j]] : NULL;
            if (!v || v->storage != SOMA_STORE_WORK || v->class < SOMA_CLASS_SAMPLE || v->arg.batched ||
                v->arg.shape.rank == 0)
                continue;
            if (soma_arg_bytes(&v->arg) >= LARGE_GRADIENT) {
                p->large_gradients += aligned(soma_arg_bytes(&v->arg));
                continue;
            }
            v->storage = SOMA_STORE_GRADIENT;
            v->offset = p->gradient_size;
            v->size = soma_arg_bytes(&v->arg);
            p->gradient_size += aligned(v->size);
        }
    }
}

static void storage(soma_plan *p)
{
    for (int i = 0; i < p->n_values; i++) {
        soma_plan_value *v = &p->values[i];
        if (v->storage == SOMA_STORE_NONE)
            v->storage = v->class <= SOMA_CLASS_STATE ? SOMA_STORE_KEPT : SOMA_STORE_WORK;
    }
}

/* Bytes of a value's storage: a piece's, or the whole batch's where it must be readable afterwards. */
static void sizes(soma_plan *p)
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

size_t soma_alive(const soma_plan *p, size_t *alive)
{
    size_t most = 0, now = 0;
    memset(alive, 0, (size_t)p->n_tasks * sizeof *alive);
    for (int i = 0; i < p->n_values; i++) { /* what begins and, modulo 2^64, what ended */
        const soma_plan_value *v = &p->values[i];
        if (!takes_work(v))
            continue;
        alive[v->first] += aligned(v->size);
        if (v->last + 1 < p->n_tasks)
            alive[v->last + 1] -= aligned(v->size);
    }
    for (int i = 0; i < p->n_tasks; i++) {
        now += alive[i];
        alive[i] = now + aligned(p->tasks[i].scratch);
        most = alive[i] > most ? alive[i] : most;
    }
    return most;
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

static int longer_first(const void *a, const void *b)
{
    const item *x = a, *y = b;
    int length = (y->last - y->first) - (x->last - x->first);
    return length ? length : larger_first(a, b);
}

static int area_first(const void *a, const void *b)
{
    const item *x = a, *y = b;
    double m = (double)x->size * (x->last - x->first + 1), n = (double)y->size * (y->last - y->first + 1);
    return m != n ? (m < n ? 1 : -1) : x->order - y->order;
}

static int earlier_first(const void *a, const void *b)
{
    const item *x = a, *y = b;
    return x->first != y->first ? x->first - y->first : larger_first(a, b);
}

/* n items placed in [0, total) in their order, each at the lowest place that is free while it lives, or in the tightest
 * one. placed: room for n pointers. */
static size_t place(item *items, int n, bool tightest, const item **placed)
{
    size_t total = 0;
    for (int i = 0; i < n; i++) {
        size_t end = 0, at = SIZE_MAX, least = SIZE_MAX; /* end: of what lives beside the item, in order of offsets */
        for (int j = 0; j < i; j++) {
            const item *other = placed[j];
            if (other->first > items[i].last || items[i].first > other->last)
                continue;
            size_t gap = *other->offset > end ? *other->offset - end : 0;
            if (gap >= items[i].size && gap < least && (tightest || at == SIZE_MAX)) {
                at = end;
                least = gap;
            }
            end = *other->offset + other->size > end ? *other->offset + other->size : end;
        }
        *items[i].offset = at < end ? at : end;
        int k = i;
        for (; k > 0 && *placed[k - 1]->offset > *items[i].offset; k--)
            placed[k] = placed[k - 1];
        placed[k] = &items[i];
        total = *items[i].offset + items[i].size > total ? *items[i].offset + items[i].size : total;
    }
    return total;
}

/* Tries orders until one leaves (next to) no holes beyond `least`, which none can go below; takes the best. */
static size_t place_best(item *items, int n, size_t least, const item **placed)
{
    static int (*const orders[])(const void *, const void *) = {larger_first, area_first, longer_first, earlier_first};
    enum { ORDERS = sizeof orders / sizeof *orders };
    size_t best = SIZE_MAX;
    int which = 0;
    for (int k = 0; k < 2 * ORDERS && best > least + least / 512; k++) {
        qsort(items, (size_t)n, sizeof *items, orders[k % ORDERS]);
        size_t total = place(items, n, k >= ORDERS, placed);
        if (total < best) {
            best = total;
            which = k;
        }
    }
    qsort(items, (size_t)n, sizeof *items, orders[which % ORDERS]);
    return place(items, n, which >= ORDERS, placed);
}

/* An item for every array of the work block and every scratch; NULL: only counts. */
static int list_items(soma_plan *p, item *items)
{
    int n = 0;
    for (int i = 0; i < p->n_values; i++) {
        soma_plan_value *v = &p->values[i];
        if (takes_work(v) && items)
            items[n] = (item){aligned(v->size), &v->offset, v->first, v->last, n};
        n += takes_work(v);
    }
    for (int i = 0; i < p->n_tasks; i++) {
        soma_task *task = &p->tasks[i];
        if (task->scratch && items)
            items[n] = (item){aligned(task->scratch), &task->scratch_offset, i, i, n};
        n += task->scratch > 0;
    }
    return n;
}

static soma_status place_work(soma_plan *p)
{
    int n = list_items(p, NULL);
    item *items = soma_alloc_array(p->s, (size_t)n + 1, sizeof *items);
    const item **placed = soma_alloc_array(p->s, (size_t)n + 1, sizeof *placed);
    size_t *alive = soma_alloc_array(p->s, (size_t)p->n_tasks + 1, sizeof *alive);
    soma_status status = items && placed && alive ? SOMA_OK : SOMA_MEMORY;
    if (status == SOMA_OK) {
        list_items(p, items);
        p->work_size = place_best(items, n, soma_alive(p, alive), placed);
    }
    soma_release(p->s, items);
    soma_release(p->s, placed);
    soma_release(p->s, alive);
    return status;
}

static soma_status place_rest(soma_plan *p)
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

void soma_lifetimes(soma_plan *p)
{
    for (int i = 0; i < p->n_values; i++) {
        soma_plan_value *v = &p->values[i];
        v->alias = v->inside - 1;
        v->within = v->inside ? v->inside_at : 0;
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

soma_status soma_place(soma_plan *p)
{
    soma_lifetimes(p);
    soma_status status = place_work(p);
    return status == SOMA_OK ? place_rest(p) : status;
}
