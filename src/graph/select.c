/* SPDX-License-Identifier: Apache-2.0
 *
 * graph/select.c: a kernel for every step, prepare, and visible reorders where the layouts of a producer and a consumer
 * differ; which layouts those are negotiate.c says.
 */
#include "backend/cpu/parallel.h"
#include "base/random.h"
#include "base/text.h"
#include "graph/select.h"
#include "graph/tune.h"

#include <stdio.h>
#include <string.h>

static const soma_layout plain = {.kind = SOMA_PLAIN};

size_t soma_arg_bytes(const soma_arg *arg)
{
    if (arg->layout.kind == SOMA_PACKED)
        return arg->layout.bytes;
    int64_t elements = arg->elements;
    if (arg->layout.batch_stride) /* up to the end of the last sample */
        elements = (arg->shape.dim[0] - 1) * arg->layout.batch_stride + arg->elements / arg->shape.dim[0];
    return (size_t)elements * soma_dtype_size(arg->dtype);
}

bool soma_same_layout(const soma_layout *a, const soma_layout *b)
{
    return a->kind == b->kind && a->batch_stride == b->batch_stride && (a->kind != SOMA_PACKED || a->key == b->key);
}

/* ---- what prepare hands out ---- */

void *soma_prepare_state(soma_prepare *prepare, size_t size)
{
    const soma_prepare_owner *owner = prepare->program;
    return soma_arena_alloc(&owner->program->arena, size);
}

soma_status soma_prepare_cleanup(soma_prepare *prepare, void (*destroy)(void *), void *object)
{
    const soma_prepare_owner *owner = prepare->program;
    soma_cleanup *c = soma_arena_alloc(&owner->program->arena, sizeof *c);
    if (!c) {
        destroy(object);
        return SOMA_MEMORY;
    }
    *c = (soma_cleanup){owner->program->cleanups, destroy, object};
    owner->program->cleanups = c;
    return SOMA_OK;
}

/* ---- the view of a step that kernels get ---- */

typedef soma_view view;

soma_status soma_view_make(soma_program *p, const soma_task *step, view *v)
{
    v->args = soma_arena_array(&p->arena, (size_t)(step->n_in + step->n_out) + 1, sizeof *v->args);
    if (!v->args)
        return SOMA_MEMORY;
    v->owner.program = p;
    v->note[0] = v->reason[0] = 0;
    v->bf16 = step->bf16;
    v->prepare = (soma_prepare){.op = step->op,
                                .attrs = step->attrs,
                                .n_in = step->n_in,
                                .n_out = step->n_out,
                                .in = v->args,
                                .out = v->args + step->n_in,
                                .batch = p->piece,
                                .full_batch = p->batch,
                                .threads = p->threads,
                                .exact = p->s->exact,
                                .site = step->site,
                                .seed = p->s->seed,
                                .note = v->note,
                                .reason = v->reason,
                                .program = &v->owner};
    for (int j = 0; j < step->n_in + step->n_out; j++) {
        int32_t id = j < step->n_in ? step->in[j] : step->out[j - step->n_in];
        if (id >= 0)
            v->args[j] = p->values[id].arg;
        else
            v->args[j].shape.rank = -1;
        if (id >= 0 && p->values[id].halves && (j < step->n_in || !step->bf16))
            v->args[j].dtype = step->bf16 ? SOMA_BF16 : SOMA_F32;
        v->args[j].layout = plain;
    }
    return SOMA_OK;
}

/* ---- kernels ---- */

/* False: no memory for it. */
static bool add_refusal(soma_program *p, soma_task *step, const soma_kernel *kernel, const char *reason)
{
    const char *before = step->refused ? step->refused : "";
    char name[32];
    snprintf(name, sizeof name, "%s%s%s", kernel->name, kernel->isa ? " " : "",
             kernel->isa ? soma_isa_name(kernel->isa) : "");
    step->refused = soma_arena_format(&p->arena, "%s%s%s: %s", before, before[0] ? "; " : "", name, reason);
    return step->refused;
}

const char *soma_view_cannot(const soma_program *p, const soma_kernel *kernel, view *v)
{
    if (p->s->exact && !kernel->exact)
        return "not exact";
    if (kernel->isa > soma_cpu_isa())
        return "this CPU lacks the instructions";
    if (v->bf16 ? kernel->bf16 == SOMA_BF16_NONE : soma_for_bf16_alone(kernel))
        return v->bf16 ? "not for bf16" : "for bf16 alone";
    for (int j = 0; j < v->prepare.n_in + v->prepare.n_out; j++)
        if (v->args[j].layout.batch_stride && !soma_takes_stride(kernel, j, v->prepare.n_in))
            return "it takes dense arrays only";
    return kernel->accept && kernel->accept(&v->prepare) != SOMA_OK ? v->reason : NULL;
}

/* The first kernel from index `from` on that can and suits, else the last one that can; its index, or -1 (then
 * no_kernel says why). */
static int choose(soma_program *p, soma_task *step, view *v, int from)
{
    int last = -1;
    for (int k = from; step->op->kernels[k]; k++) {
        const soma_kernel *kernel = step->op->kernels[k];
        if (!step->bf16 && soma_for_bf16_alone(kernel))
            continue;
        const char *reason = soma_view_cannot(p, kernel, v);
        if (!reason) {
            last = k;
            step->kernel = kernel;
            if (!kernel->suits || kernel->suits(&v->prepare))
                return k;
            reason = "the rule on shapes prefers others here; --tune would time it";
        }
        if (!add_refusal(p, step, kernel, reason))
            return -1;
    }
    return last;
}

static soma_status no_kernel(soma_program *p, const soma_task *step)
{
    if (!step->refused && step->op->kernels[0] && !soma_for_bf16_alone(step->op->kernels[0]))
        return SOMA_MEMORY; /* for the list of refusals */
    return soma_fail(p->s, SOMA_UNSUPPORTED, p->at, "%s \"%s\": no kernel can run it (%s)", step->op->name, step->layer,
                     step->refused ? step->refused : "the op has none");
}

/* ---- types and layouts of a step's arguments ---- */

static bool add_forms(soma_program *p, soma_task *step)
{
    size_t n = (size_t)(step->n_in + step->n_out) + 1;
    step->in_layout = soma_arena_array(&p->arena, n, sizeof *step->in_layout);
    step->in_dtype = soma_arena_array(&p->arena, n, sizeof *step->in_dtype);
    if (!step->in_layout || !step->in_dtype)
        return false;
    step->out_layout = step->in_layout + step->n_in;
    step->out_dtype = step->in_dtype + step->n_in;
    return true;
}

/* The step's types as the kernel's view has them, layouts plain or as the kernel asks. */
static soma_status ask(soma_program *p, soma_task *step, view *v)
{
    if (!add_forms(p, step))
        return SOMA_MEMORY;
    if (step->kernel->layouts == SOMA_LAYOUT_ASK)
        soma_view_wish(step->kernel, v);
    for (int j = 0; j < step->n_in + step->n_out; j++) {
        step->in_dtype[j] = v->args[j].dtype;
        step->in_layout[j] = v->args[j].layout;
    }
    return SOMA_OK;
}

/* ---- prepare ---- */

static void set_forms(const soma_task *step, view *v)
{
    for (int j = 0; j < step->n_in + step->n_out; j++) {
        v->args[j].layout = step->in_layout[j];
        v->args[j].dtype = step->in_dtype[j];
    }
}

static void own_dtypes(const soma_task *step, view *v)
{
    for (int j = 0; j < step->n_in + step->n_out; j++)
        v->args[j].dtype = step->in_dtype[j];
}

/* No kernel could be prepared for bf16: the step falls back to f32. */
static int choose_f32(soma_program *p, soma_task *step, view *v)
{
    step->bf16 = false;
    for (int j = 0; j < step->n_in + step->n_out; j++)
        if (step->in_dtype[j] == SOMA_BF16)
            step->in_dtype[j] = SOMA_F32;
    v->bf16 = false;
    own_dtypes(step, v);
    return choose(p, step, v, 0);
}

static double moved_bytes(const view *v)
{
    double bytes = 0;
    for (int j = 0; j < v->prepare.n_in + v->prepare.n_out; j++)
        if (v->args[j].shape.rank >= 0)
            bytes += (double)soma_arg_bytes(&v->args[j]);
    return bytes;
}

/* Prepares the chosen kernel, or the next one that will have it. Afterwards the step's layouts are final. */
static soma_status prepare(soma_program *p, soma_task *step, view *v)
{
    set_forms(step, v);
    int k = 0;
    while (step->op->kernels[k] != step->kernel)
        k++;
    for (;;) {
        soma_status status = step->kernel->prepare(&v->prepare);
        if (status == SOMA_OK)
            break;
        if (status == SOMA_MEMORY)
            return soma_fail(p->s, SOMA_MEMORY, p->at, "%s \"%s\": no memory to prepare the kernel %s", step->op->name,
                             step->layer, step->kernel->name);
        if (!add_refusal(p, step, step->kernel, v->reason))
            return SOMA_MEMORY;
        own_dtypes(step, v);
        v->prepare.run = NULL;
        v->prepare.state = NULL;
        v->prepare.scratch = 0;
        v->prepare.flops = 0;
        v->prepare.parallel = v->prepare.apart = false;
        v->note[0] = 0;
        for (int j = 0; j < step->n_in; j++) /* the next one may want dense arrays: a reorder makes them */
            v->args[j].layout.batch_stride = 0;
        k = choose(p, step, v, k + 1);
        if (k < 0 && step->bf16)
            k = choose_f32(p, step, v);
        if (k < 0)
            return no_kernel(p, step);
        if (step->kernel->layouts == SOMA_LAYOUT_CONVERT) /* it takes what was fixed */
            set_forms(step, v);
        else
            soma_view_wish(step->kernel, v);
    }
    for (int j = 0; j < step->n_in + step->n_out; j++) {
        step->in_layout[j] = v->args[j].layout;
        step->in_dtype[j] = v->args[j].dtype;
    }
    step->run = v->prepare.run;
    step->state = v->prepare.state;
    step->scratch = v->prepare.scratch;
    step->apart = v->prepare.apart;
    step->bytes = moved_bytes(v);
    step->flops = v->prepare.flops > 0 ? v->prepare.flops
                  : step->op->flops    ? step->op->flops(step->attrs, v->args, step->n_in, v->prepare.out)
                                       : 0;
    step->note = v->note[0] ? soma_arena_text(&p->arena, v->note) : "";
    p->parallel = p->parallel || v->prepare.parallel;
    return step->note ? SOMA_OK : SOMA_MEMORY;
}

/* ---- reorders ---- */

typedef struct reordered {
    int32_t from, to;
    soma_layout layout;
    soma_dtype dtype;
} reordered;

typedef struct insertion {
    soma_program *p;
    soma_task *old; /* steps before insertion */
    int n_old;
    reordered *made;
    int n_made, capacity;
} insertion;

/* A program that updates packs its weights in every step. Where the batch is one piece, large copies are made just
 * before each reader, forward and backward, and lie in the work block only that long: packing twice costs far less than
 * keeping them all. */
#define LARGE_COPY (128 << 10)

static bool is_passing_copy(const soma_program *p, int32_t id, const soma_layout *layout, soma_dtype dtype,
                            const soma_task *reader)
{
    soma_arg copy = p->values[id].arg;
    copy.layout = *layout;
    copy.dtype = dtype;
    return p->updates && p->piece == p->batch && p->values[id].class == SOMA_CLASS_STATE &&
           reader->class == SOMA_CLASS_SAMPLE && !reader->assigns && soma_arg_bytes(&copy) > LARGE_COPY;
}

/* Emits reorder(id) in `layout` and `dtype` and returns the new value, or -1. */
static int32_t add_reorder(insertion *in, int32_t id, const soma_layout *layout, soma_dtype dtype,
                           const soma_task *reader)
{
    bool passing = is_passing_copy(in->p, id, layout, dtype, reader);
    for (int i = 0; i < in->n_made && !passing; i++)
        if (in->made[i].from == id && in->made[i].dtype == dtype && soma_same_layout(&in->made[i].layout, layout))
            return in->made[i].to;
    soma_program *p = in->p;
    soma_plan_value v = p->values[id];
    v.storage = SOMA_STORE_NONE;
    v.tensor = v.graph_value = v.alias = v.sum = -1;
    v.inside = 0;
    v.wanted = false;
    v.bytes = NULL;
    v.arg.layout = *layout;
    v.arg.dtype = dtype;
    v.halves = false;
    v.class = passing ? SOMA_CLASS_SAMPLE : v.class;
    soma_dtype from = p->values[id].arg.dtype;
    int32_t to = soma_plan_add_value(p, &v);
    soma_task step = {.op = soma_op_find("reorder"),
                      .n_in = 1,
                      .n_out = 1,
                      .layer = reader->layer,
                      .site = reader->site,
                      .class = v.class,
                      .bf16 = dtype == SOMA_BF16 || from == SOMA_BF16};
    step.in = soma_arena_array(&p->arena, 2, sizeof *step.in);
    step.attrs = soma_arena_alloc(&p->arena, 1);
    if (to < 0 || !step.op || !step.in || !step.attrs || !add_forms(p, &step) ||
        soma_grow(p->s, &in->made, &in->capacity, in->n_made + 1, sizeof *in->made) != SOMA_OK)
        return -1;
    step.out = step.in + 1;
    step.in[0] = id;
    step.out[0] = to;
    step.in_layout[0] = p->values[id].arg.layout;
    step.out_layout[0] = *layout;
    step.in_dtype[0] = from;
    step.out_dtype[0] = dtype;
    view view_of_step;
    soma_status status = soma_view_make(p, &step, &view_of_step);
    if (status == SOMA_OK)
        set_forms(&step, &view_of_step);
    if (status == SOMA_OK && choose(p, &step, &view_of_step, 0) < 0)
        status = no_kernel(p, &step);
    if (status == SOMA_OK)
        status = prepare(p, &step, &view_of_step);
    in->made[in->n_made++] = (reordered){id, to, *layout, dtype};
    return status == SOMA_OK && soma_plan_add_task(p, &step) ? to : -1;
}

/* Adding up takes the layout of what it adds. */
static void follow_part(soma_program *p, soma_task *step)
{
    soma_layout layout = p->values[step->in[1]].arg.layout;
    step->in_layout[0] = step->in_layout[1] = step->out_layout[0] = layout;
    p->values[step->out[0]].arg.layout = layout;
}

static bool makes(const soma_task *step, int32_t value)
{
    for (int j = 0; j < step->n_out; j++)
        if (step->out[j] == value)
            return true;
    return false;
}

/* The last step, a gradient's reorder for an update, moves up to right behind the step that makes the gradient: it is
 * still in the cache, and its packed form need not live until all others are made. */
static void hoist(soma_program *p)
{
    int last = p->n_steps - 1, at = last;
    soma_task moved = p->steps[last];
    while (at > 0 && !makes(&p->steps[at - 1], moved.in[0]))
        at--;
    if (at == 0 || moved.class != SOMA_CLASS_SAMPLE)
        return;
    memmove(p->steps + at + 1, p->steps + at, (size_t)(last - at) * sizeof moved);
    p->steps[at] = moved;
}

static soma_status insert_step(insertion *in, soma_task *step)
{
    soma_program *p = in->p;
    view v;
    soma_status status = soma_tune_step(p, step);
    if (status == SOMA_OK)
        status = soma_view_make(p, step, &v);
    if (status == SOMA_OK && step->skip_first)
        follow_part(p, step);
    if (status == SOMA_OK)
        status = prepare(p, step, &v);
    for (int j = 0; j < step->n_in && status == SOMA_OK; j++) {
        if (step->in[j] < 0 || (soma_same_layout(&p->values[step->in[j]].arg.layout, &step->in_layout[j]) &&
                                p->values[step->in[j]].arg.dtype == step->in_dtype[j]))
            continue;
        int n = p->n_steps;
        int32_t to = add_reorder(in, step->in[j], &step->in_layout[j], step->in_dtype[j], step);
        if (to < 0)
            return p->s->status != SOMA_OK ? p->s->status : SOMA_MEMORY;
        if (step->assigns && p->n_steps > n)
            hoist(p);
        step->in[j] = to;
    }
    if (status != SOMA_OK || !soma_plan_add_task(p, step))
        return status != SOMA_OK ? status : SOMA_MEMORY;
    for (int j = 0; j < step->n_out; j++) {
        if (step->out[j] < 0)
            continue;
        soma_plan_value *out = &p->values[step->out[j]];
        out->arg.layout = step->out_layout[j];
        out->arg.dtype = step->out_dtype[j];
        bool half = out->arg.dtype == SOMA_BF16;
        if (!out->wanted || (out->arg.layout.kind == SOMA_PLAIN && !half))
            continue;
        /* what is read from outside is plain, and never bf16 */
        int32_t to = add_reorder(in, step->out[j], &plain, half ? SOMA_F32 : out->arg.dtype, step);
        if (to < 0)
            return p->s->status != SOMA_OK ? p->s->status : SOMA_MEMORY;
        p->values[to].wanted = true;
        p->values[step->out[j]].wanted = false;
        if (p->values[step->out[j]].graph_value >= 0)
            p->plan_of[p->values[step->out[j]].graph_value] = to;
    }
    return SOMA_OK;
}

static soma_status insert_all(soma_program *p)
{
    insertion in = {.p = p, .old = p->steps, .n_old = p->n_steps};
    p->steps = NULL;
    p->n_steps = p->step_capacity = 0;
    soma_status status = SOMA_OK;
    for (int i = 0; i < in.n_old && status == SOMA_OK; i++)
        status = insert_step(&in, &in.old[i]);
    soma_release(p->s, in.old);
    soma_release(p->s, in.made);
    return status;
}

/* What was chosen, as one number: op, layer, kernel, note and layouts of every step. */
static uint64_t record(const soma_program *p)
{
    uint64_t hash = soma_hash_text("record");
    for (int i = 0; i < p->n_steps; i++) {
        const soma_task *step = &p->steps[i];
        const char *texts[] = {step->op->name, step->layer, step->kernel->name, step->note};
        for (int t = 0; t < 4; t++)
            hash = soma_hash_bytes(hash, texts[t], strlen(texts[t]) + 1);
        int32_t numbers[] = {step->kernel->isa, step->n_out ? (int32_t)step->out_layout[0].kind : 0, p->threads,
                             (int32_t)p->piece, step->n_out ? (int32_t)step->out_dtype[0] : 0};
        hash = soma_hash_bytes(hash, numbers, sizeof numbers);
    }
    return hash;
}

soma_status soma_select(soma_program *p)
{
    soma_status status = p->bf16 ? soma_precision(p) : SOMA_OK;
    for (int i = 0; i < p->n_steps && status == SOMA_OK; i++) {
        view v;
        status = soma_view_make(p, &p->steps[i], &v);
        if (status == SOMA_OK && choose(p, &p->steps[i], &v, 0) < 0)
            status = no_kernel(p, &p->steps[i]);
        if (status == SOMA_OK)
            status = ask(p, &p->steps[i], &v);
    }
    if (status == SOMA_OK)
        status = soma_negotiate(p);
    if (status == SOMA_OK)
        status = insert_all(p);
    if (status == SOMA_OK)
        status = soma_order(p); /* packed copies of weights go to the front */
    if (status == SOMA_OK && p->tune)
        soma_tuner_save(p->s); /* what was timed is true, whatever becomes of the plan */
    if (status == SOMA_OK)
        soma_nest_parts(p);
    if (status == SOMA_OK)
        p->record = record(p);
    return status;
}
