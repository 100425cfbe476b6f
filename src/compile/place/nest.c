/* SPDX-License-Identifier: Apache-2.0
 *
 * compile/place/nest.c: concat along channels without copies. In plain and blocked layouts a part of a concat is one
 * run of bytes in every sample, so it may be written where the concat has it, and a slice of channels may be read where
 * it lies. With one sample a part is dense and any kernel does; with more there is a distance from sample to sample
 * (soma_layout.batch_stride), and only kernels that say `strided` read such arrays.
 *
 *     concat([concat([f0, f1]), f2]), ...   these concats share the storage of the last: each copies its new part only
 *     slice(dy) read by strided kernels     a view of dy
 *     concat([a, b]) of one sample          a and b are written in place
 */
#include "compile/plan.h"

/* Does the task put arrays together along an axis, or cut one out of another? */
static bool joins(const soma_task *task, soma_parts *parts)
{
    return task->op->parts && task->op->parts(task->attrs, parts) && parts->joins;
}
static bool cuts(const soma_task *task, soma_parts *parts)
{
    return task->op->parts && task->op->parts(task->attrs, parts) && !parts->joins;
}

/* Along channels, with every array in one layout in which they are runs of bytes of a sample? */
static bool by_channels(const soma_plan *p, const soma_task *task)
{
    soma_layout_kind kind = task->out_layout[0].kind;
    soma_parts parts;
    if (task->out[0] < 0 || !task->op->parts || !task->op->parts(task->attrs, &parts) || parts.axis != 1 ||
        !p->values[task->out[0]].arg.batched || kind == SOMA_NHWC || kind == SOMA_PACKED)
        return false;
    for (int j = 0; j < task->n_in; j++)
        if (task->in_layout[j].kind != kind)
            return false;
    int64_t block = kind == SOMA_NCHW16C ? 16 : kind == SOMA_NCHW8C ? 8 : 1;
    return parts.joins || parts.begin % block == 0;
}

static int64_t samples(const soma_plan *p, int32_t value)
{
    return p->values[value].arg.shape.dim[0];
}

/* Of one sample. */
static int64_t elements(const soma_plan *p, int32_t value)
{
    return p->values[value].arg.elements / samples(p, value);
}

static int64_t stride(const soma_plan *p, int32_t value)
{
    int64_t given = p->values[value].arg.layout.batch_stride;
    return given ? given : elements(p, value);
}

static soma_task *maker(const soma_plan *p, int32_t value)
{
    for (int i = 0; i < p->n_tasks; i++)
        for (int j = 0; j < p->tasks[i].n_out; j++)
            if (p->tasks[i].out[j] == value)
                return &p->tasks[i];
    return NULL;
}

/* Only the body of a step makes and reads it, nobody from outside. */
static bool inner(const soma_plan *p, int32_t value)
{
    const soma_plan_value *v = &p->values[value];
    return !v->wanted && v->sum < 0 && v->graph_value >= 0 && v->class == SOMA_CLASS_SAMPLE &&
           v->storage == SOMA_STORE_NONE && v->arg.batched;
}

/* Do all who read the value, but for `except`, take it with a stride? Then (set) they get it. */
static bool read_strided(soma_plan *p, int32_t value, const soma_task *except, int64_t batch_stride, bool set)
{
    soma_layout_kind kind = maker(p, value)->out_layout[0].kind;
    soma_parts parts;
    for (int i = 0; i < p->n_tasks; i++) {
        soma_task *task = &p->tasks[i];
        for (int j = 0; j < task->n_in; j++) {
            if (task->in[j] != value || (task == except && j == 0))
                continue;
            if (cuts(task, &parts) &&
                !by_channels(p, task)) /* it begins inside a block: what copies takes dense arrays */
                return false;
            if (task == except || task->assigns || !soma_takes_stride(task->kernel, j, task->n_in) ||
                task->in_layout[j].kind != kind || task->in_dtype[j] != p->values[value].arg.dtype)
                return false; /* another type: what converts takes dense arrays */
            if (set)
                task->in_layout[j].batch_stride = batch_stride;
        }
    }
    return true;
}

/* The task reads and its maker writes values as they are stored: nothing converts a strided array. */
static bool unconverted(const soma_plan *p, const soma_task *from, const soma_task *task)
{
    return task->in_dtype[0] == p->values[task->in[0]].arg.dtype && from->out_dtype[0] == task->in_dtype[0] &&
           task->out_dtype[0] == p->values[task->out[0]].arg.dtype && task->out_dtype[0] == task->in_dtype[0];
}

/* The first part of a concat that is itself a concat. */
static void nest_prefix(soma_plan *p, soma_task *task)
{
    int32_t out = task->out[0], part = task->in[0];
    soma_task *from = maker(p, part);
    int64_t distance = stride(p, out);
    soma_parts parts;
    if (!from || !joins(from, &parts) || !by_channels(p, from) || !inner(p, part) || !inner(p, out) ||
        p->values[part].inside || p->values[part].class != p->values[out].class ||
        from->out_layout[0].kind != task->out_layout[0].kind || !unconverted(p, from, task) ||
        !read_strided(p, part, task, distance, false))
        return;
    read_strided(p, part, task, distance, true);
    task->in_layout[0].batch_stride = distance;
    from->out_layout[0].batch_stride = distance;
    p->values[part].arg.layout.batch_stride = distance;
    p->values[part].inside = 1 + out;
}

static void nest_slice(soma_plan *p, soma_task *task)
{
    int32_t out = task->out[0], in = task->in[0];
    const soma_task *from = maker(p, in);
    int64_t distance = stride(p, in);
    if (!from || from->out_layout[0].kind != task->out_layout[0].kind || !inner(p, out) || !inner(p, in) ||
        !unconverted(p, from, task) || !read_strided(p, out, NULL, distance, false))
        return;
    read_strided(p, out, NULL, distance, true);
    task->out_layout[0].batch_stride = distance;
    p->values[out].arg.layout.batch_stride = distance;
    task->nested = true;
}

void soma_nest_strides(soma_plan *p)
{
    soma_parts parts;
    for (int i = p->n_tasks - 1; i >= 0; i--) /* outer concats first: theirs is the distance */
        if (joins(&p->tasks[i], &parts) && by_channels(p, &p->tasks[i]) && samples(p, p->tasks[i].out[0]) > 1)
            nest_prefix(p, &p->tasks[i]);
    for (int i = 0; i < p->n_tasks; i++)
        if (cuts(&p->tasks[i], &parts) && by_channels(p, &p->tasks[i]) && samples(p, p->tasks[i].out[0]) > 1)
            nest_slice(p, &p->tasks[i]);
}

/* A part of a concat of one sample, from byte `at` on. */
static void nest_part(soma_plan *p, const soma_task *task, int j, size_t at)
{
    int32_t part = task->in[j], out = task->out[0];
    const soma_task *from = maker(p, part);
    bool twice = false;
    soma_parts parts;
    for (int k = 0; k < task->n_in; k++)
        twice = twice || (k != j && task->in[k] == part);
    if (twice || at % 64 || !from || from->op->alias || from->assigns || from->skip_first || !inner(p, part) ||
        cuts(from, &parts) || p->values[part].inside || p->values[part].arg.layout.kind != task->in_layout[j].kind)
        return;
    p->values[part].inside = 1 + out;
    p->values[part].inside_at = p->values[out].inside_at + at;
}

void soma_nest_parts(soma_plan *p)
{
    for (int i = p->n_tasks - 1; i >= 0; i--) {
        soma_task *task = &p->tasks[i];
        soma_parts parts;
        if (!by_channels(p, task))
            continue;
        bool one = samples(p, task->out[0]) == 1;
        if (cuts(task, &parts)) {
            if (one && soma_slice_begin(p, task) * (int64_t)soma_dtype_size(p->values[task->in[0]].arg.dtype) % 64 == 0)
                task->nested = inner(p, task->out[0]) && inner(p, task->in[0]);
            continue;
        }
        size_t at = 0;
        for (int j = 0; j < task->n_in; j++) {
            if (one && inner(p, task->out[0]))
                nest_part(p, task, j, at);
            at += (size_t)elements(p, task->in[j]) * soma_dtype_size(p->values[task->in[j]].arg.dtype);
        }
    }
}

int64_t soma_slice_begin(const soma_plan *p, const soma_task *task)
{
    const soma_arg *in = &p->values[task->in[0]].arg;
    soma_parts parts;
    return cuts(task, &parts) ? parts.begin * (elements(p, task->in[0]) / in->shape.dim[1]) : 0;
}
