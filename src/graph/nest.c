/* SPDX-License-Identifier: Apache-2.0
 *
 * graph/nest.c: concat along channels without copies. In plain and blocked layouts a part of a concat is one run of
 * bytes in every sample, so it may be written where the concat has it, and a slice of channels may be read where it
 * lies. With one sample a part is dense and any kernel does; with more there is a distance from sample to sample
 * (soma_layout.batch_stride), and only kernels that say `strided` read such arrays.
 *
 *     concat([concat([f0, f1]), f2]), ...   these concats share the storage of the last: each copies its new part only
 *     slice(dy) read by strided kernels     a view of dy
 *     concat([a, b]) of one sample          a and b are written in place
 */
#include "graph/program.h"

#include <string.h>

static bool is(const soma_task *step, const char *op)
{
    return !strcmp(step->op->name, op);
}

static int64_t attribute(const soma_task *step, const char *name)
{
    for (const soma_field *f = step->op->fields; f && f->name; f++)
        if (!strcmp(f->name, name) && f->type == SOMA_FIELD_INT)
            return *(const int64_t *)(const void *)((const char *)step->attrs + f->offset);
    return -1;
}

/* Concat or slice along channels, with every array in one layout in which they are runs of bytes of a sample. */
static bool by_channels(const soma_program *p, const soma_task *step)
{
    soma_layout_kind kind = step->out_layout[0].kind;
    if (step->out[0] < 0 || (!is(step, "concat") && !is(step, "slice")) || attribute(step, "axis") != 1 ||
        !p->values[step->out[0]].arg.batched || kind == SOMA_NHWC || kind == SOMA_PACKED)
        return false;
    for (int j = 0; j < step->n_in; j++)
        if (step->in_layout[j].kind != kind)
            return false;
    int64_t block = kind == SOMA_NCHW16C ? 16 : kind == SOMA_NCHW8C ? 8 : 1;
    return is(step, "concat") || attribute(step, "begin") % block == 0;
}

static int64_t samples(const soma_program *p, int32_t value)
{
    return p->values[value].arg.shape.dim[0];
}

/* Of one sample. */
static int64_t elements(const soma_program *p, int32_t value)
{
    return p->values[value].arg.elements / samples(p, value);
}

static int64_t stride(const soma_program *p, int32_t value)
{
    int64_t given = p->values[value].arg.layout.batch_stride;
    return given ? given : elements(p, value);
}

static soma_task *maker(const soma_program *p, int32_t value)
{
    for (int i = 0; i < p->n_steps; i++)
        for (int j = 0; j < p->steps[i].n_out; j++)
            if (p->steps[i].out[j] == value)
                return &p->steps[i];
    return NULL;
}

/* Only the body of a step makes and reads it, nobody from outside. */
static bool inner(const soma_program *p, int32_t value)
{
    const soma_plan_value *v = &p->values[value];
    return !v->wanted && v->sum < 0 && v->graph_value >= 0 && v->class == SOMA_CLASS_SAMPLE &&
           v->storage == SOMA_STORE_NONE && v->arg.batched;
}

/* Do all who read the value, but for `except`, take it with a stride? Then (set) they get it. */
static bool read_strided(soma_program *p, int32_t value, const soma_task *except, int64_t batch_stride, bool set)
{
    soma_layout_kind kind = maker(p, value)->out_layout[0].kind;
    for (int i = 0; i < p->n_steps; i++) {
        soma_task *step = &p->steps[i];
        for (int j = 0; j < step->n_in; j++) {
            if (step->in[j] != value || (step == except && j == 0))
                continue;
            if (is(step, "slice") &&
                !by_channels(p, step)) /* it begins inside a block: what copies takes dense arrays */
                return false;
            if (step == except || step->assigns || !soma_takes_stride(step->kernel, j, step->n_in) ||
                step->in_layout[j].kind != kind || step->in_dtype[j] != p->values[value].arg.dtype)
                return false; /* another type: what converts takes dense arrays */
            if (set)
                step->in_layout[j].batch_stride = batch_stride;
        }
    }
    return true;
}

/* The step reads and its maker writes values as they are stored: nothing converts a strided array. */
static bool unconverted(const soma_program *p, const soma_task *from, const soma_task *step)
{
    return step->in_dtype[0] == p->values[step->in[0]].arg.dtype && from->out_dtype[0] == step->in_dtype[0] &&
           step->out_dtype[0] == p->values[step->out[0]].arg.dtype && step->out_dtype[0] == step->in_dtype[0];
}

/* The first part of a concat that is itself a concat. */
static void nest_prefix(soma_program *p, soma_task *step)
{
    int32_t out = step->out[0], part = step->in[0];
    soma_task *from = maker(p, part);
    int64_t distance = stride(p, out);
    if (!from || !is(from, "concat") || !by_channels(p, from) || !inner(p, part) || !inner(p, out) ||
        p->values[part].inside || p->values[part].class != p->values[out].class ||
        from->out_layout[0].kind != step->out_layout[0].kind || !unconverted(p, from, step) ||
        !read_strided(p, part, step, distance, false))
        return;
    read_strided(p, part, step, distance, true);
    step->in_layout[0].batch_stride = distance;
    from->out_layout[0].batch_stride = distance;
    p->values[part].arg.layout.batch_stride = distance;
    p->values[part].inside = 1 + out;
}

static void nest_slice(soma_program *p, soma_task *step)
{
    int32_t out = step->out[0], in = step->in[0];
    const soma_task *from = maker(p, in);
    int64_t distance = stride(p, in);
    if (!from || from->out_layout[0].kind != step->out_layout[0].kind || !inner(p, out) || !inner(p, in) ||
        !unconverted(p, from, step) || !read_strided(p, out, NULL, distance, false))
        return;
    read_strided(p, out, NULL, distance, true);
    step->out_layout[0].batch_stride = distance;
    p->values[out].arg.layout.batch_stride = distance;
    step->nested = true;
}

void soma_nest_strides(soma_program *p)
{
    for (int i = p->n_steps - 1; i >= 0; i--) /* outer concats first: theirs is the distance */
        if (is(&p->steps[i], "concat") && by_channels(p, &p->steps[i]) && samples(p, p->steps[i].out[0]) > 1)
            nest_prefix(p, &p->steps[i]);
    for (int i = 0; i < p->n_steps; i++)
        if (is(&p->steps[i], "slice") && by_channels(p, &p->steps[i]) && samples(p, p->steps[i].out[0]) > 1)
            nest_slice(p, &p->steps[i]);
}

/* A part of a concat of one sample, from byte `at` on. */
static void nest_part(soma_program *p, const soma_task *step, int j, size_t at)
{
    int32_t part = step->in[j], out = step->out[0];
    const soma_task *from = maker(p, part);
    bool twice = false;
    for (int k = 0; k < step->n_in; k++)
        twice = twice || (k != j && step->in[k] == part);
    if (twice || at % 64 || !from || from->op->view || from->assigns || from->skip_first || !inner(p, part) ||
        is(from, "slice") || p->values[part].inside || p->values[part].arg.layout.kind != step->in_layout[j].kind)
        return;
    p->values[part].inside = 1 + out;
    p->values[part].inside_at = p->values[out].inside_at + at;
}

void soma_nest_parts(soma_program *p)
{
    for (int i = p->n_steps - 1; i >= 0; i--) {
        soma_task *step = &p->steps[i];
        if (!by_channels(p, step))
            continue;
        bool one = samples(p, step->out[0]) == 1;
        if (is(step, "slice")) {
            if (one && soma_slice_begin(p, step) * (int64_t)soma_dtype_size(p->values[step->in[0]].arg.dtype) % 64 == 0)
                step->nested = inner(p, step->out[0]) && inner(p, step->in[0]);
            continue;
        }
        size_t at = 0;
        for (int j = 0; j < step->n_in; j++) {
            if (one && inner(p, step->out[0]))
                nest_part(p, step, j, at);
            at += (size_t)elements(p, step->in[j]) * soma_dtype_size(p->values[step->in[j]].arg.dtype);
        }
    }
}

int64_t soma_slice_begin(const soma_program *p, const soma_task *step)
{
    const soma_arg *in = &p->values[step->in[0]].arg;
    return attribute(step, "begin") * (elements(p, step->in[0]) / in->shape.dim[1]);
}
