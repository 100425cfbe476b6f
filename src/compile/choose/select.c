/* SPDX-License-Identifier: Apache-2.0
 *
 * compile/choose/select.c: a kernel for every task, prepare, and visible reorders where the layouts of a producer and a
 * consumer differ; which layouts those are negotiate.c says.
 */
#include "cpu/parallel.h"
#include "base/random.h"
#include "base/text.h"
#include "compile/choose/select.h"
#include "compile/choose/tune.h"

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

const char *soma_layout_name(soma_layout_kind kind)
{
    static const char *const names[] = {"plain", "nhwc", "nChw8c", "nChw16c", "packed"};
    return names[kind];
}

/* Parts of the tail that the kernel does not do. What comes behind such a part is not its business either. */
static uint32_t left_behind(const soma_kernel *kernel, const soma_prepare *p)
{
    const int *act = soma_activation_in(p->op, p->attrs);
    int add = soma_tail_input(p->op, SOMA_TAIL_ADD);
    bool adds = add >= 0 && add < p->n_in && p->in[add].shape.rank >= 0;
    uint32_t last = SOMA_TAIL_ACT | SOMA_TAIL_GATE, left = p->op->tail & ~kernel->tail & (last | SOMA_TAIL_ADD);
    if ((act && *act && !(kernel->acts >> *act & 1)) || (adds && left & SOMA_TAIL_ADD))
        left |= p->op->tail & last;
    return left;
}

soma_status soma_prepare_kernel(const soma_kernel *kernel, soma_prepare *p)
{
    p->behind = left_behind(kernel, p);
    soma_status status = kernel->prepare(p);
    if (status == SOMA_OK && p->behind)
        status = soma_ops.tail(p);
    p->behind = 0;
    return status;
}

/* ---- a task as it is offered to kernels ---- */

soma_status soma_offer_open(soma_offer *v, soma_prepare_room *room, const soma_op *op, const void *attrs, int n_in,
                            int n_out)
{
    v->args = soma_arena_array(&room->arena, (size_t)(n_in + n_out) + 1, sizeof *v->args);
    if (!v->args)
        return SOMA_MEMORY;
    v->note[0] = v->reason[0] = 0;
    v->bf16 = false;
    v->prepare = (soma_prepare){.op = op,
                                .attrs = attrs,
                                .n_in = n_in,
                                .n_out = n_out,
                                .in = v->args,
                                .out = v->args + n_in,
                                .batch = 1,
                                .full_batch = 1,
                                .threads = 1,
                                .note = v->note,
                                .reason = v->reason,
                                .room = room};
    return SOMA_OK;
}

soma_status soma_offer_make(const soma_plan *p, const soma_task *task, soma_prepare_room *room, soma_offer *v)
{
    if (soma_offer_open(v, room, task->op, task->attrs, task->n_in, task->n_out) != SOMA_OK)
        return SOMA_MEMORY;
    v->bf16 = task->bf16;
    v->prepare.batch = p->piece;
    v->prepare.full_batch = p->batch;
    v->prepare.threads = p->threads;
    v->prepare.exact = p->s->exact;
    v->prepare.site = task->site;
    v->prepare.seed = p->s->seed;
    for (int j = 0; j < task->n_in + task->n_out; j++) {
        int32_t id = j < task->n_in ? task->in[j] : task->out[j - task->n_in];
        if (id >= 0)
            v->args[j] = p->values[id].arg;
        else
            v->args[j].shape.rank = -1;
        if (id >= 0 && p->values[id].may_be_bf16 && (j < task->n_in || !task->bf16))
            v->args[j].dtype = task->bf16 ? SOMA_BF16 : SOMA_F32;
        v->args[j].layout = plain;
    }
    return SOMA_OK;
}

/* ---- kernels ---- */

/* False: no memory for it. */
static bool add_refusal(soma_plan *p, soma_task *task, const soma_kernel *kernel, const char *reason)
{
    const char *before = task->refused ? task->refused : "";
    char name[32];
    snprintf(name, sizeof name, "%s%s%s", kernel->name, kernel->isa ? " " : "",
             kernel->isa ? soma_isa_name(kernel->isa) : "");
    task->refused = soma_arena_format(&p->room.arena, "%s%s%s: %s", before, before[0] ? "; " : "", name, reason);
    return task->refused;
}

const char *soma_offer_cannot(const soma_plan *p, const soma_kernel *kernel, soma_offer *v)
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
static int choose(soma_plan *p, soma_task *task, soma_offer *v, int from)
{
    int last = -1;
    for (int k = from; task->op->kernels[k]; k++) {
        const soma_kernel *kernel = task->op->kernels[k];
        if (!task->bf16 && soma_for_bf16_alone(kernel))
            continue;
        const char *reason = soma_offer_cannot(p, kernel, v);
        if (!reason) {
            last = k;
            task->kernel = kernel;
            if (!kernel->suits || kernel->suits(&v->prepare))
                return k;
            reason = "the rule on shapes prefers others here; --tune would time it";
        }
        if (!add_refusal(p, task, kernel, reason))
            return -1;
    }
    return last;
}

static soma_status no_kernel(soma_plan *p, const soma_task *task)
{
    if (!task->refused && task->op->kernels[0] && !soma_for_bf16_alone(task->op->kernels[0]))
        return SOMA_MEMORY; /* for the list of refusals */
    return soma_fail(p->s, SOMA_UNSUPPORTED, p->at, "%s \"%s\": no kernel can run it (%s)", task->op->name, task->layer,
                     task->refused ? task->refused : "the op has none");
}

/* ---- types and layouts of a task's arguments ---- */

static bool add_forms(soma_plan *p, soma_task *task)
{
    size_t n = (size_t)(task->n_in + task->n_out) + 1;
    task->in_layout = soma_arena_array(&p->room.arena, n, sizeof *task->in_layout);
    task->in_dtype = soma_arena_array(&p->room.arena, n, sizeof *task->in_dtype);
    if (!task->in_layout || !task->in_dtype)
        return false;
    task->out_layout = task->in_layout + task->n_in;
    task->out_dtype = task->in_dtype + task->n_in;
    return true;
}

/* The task's types as the kernel's offer has them, layouts plain or as the kernel asks. */
static soma_status ask(soma_plan *p, soma_task *task, soma_offer *v)
{
    if (!add_forms(p, task))
        return SOMA_MEMORY;
    if (task->kernel->layouts == SOMA_LAYOUT_ASK)
        soma_offer_request(task->kernel, v);
    for (int j = 0; j < task->n_in + task->n_out; j++) {
        task->in_dtype[j] = v->args[j].dtype;
        task->in_layout[j] = v->args[j].layout;
    }
    return SOMA_OK;
}

/* ---- prepare ---- */

static void set_forms(const soma_task *task, soma_offer *v)
{
    for (int j = 0; j < task->n_in + task->n_out; j++) {
        v->args[j].layout = task->in_layout[j];
        v->args[j].dtype = task->in_dtype[j];
    }
}

static void own_dtypes(const soma_task *task, soma_offer *v)
{
    for (int j = 0; j < task->n_in + task->n_out; j++)
        v->args[j].dtype = task->in_dtype[j];
}

/* No kernel could be prepared for bf16: the task falls back to f32. */
static int choose_f32(soma_plan *p, soma_task *task, soma_offer *v)
{
    task->bf16 = false;
    for (int j = 0; j < task->n_in + task->n_out; j++)
        if (task->in_dtype[j] == SOMA_BF16)
            task->in_dtype[j] = SOMA_F32;
    v->bf16 = false;
    own_dtypes(task, v);
    return choose(p, task, v, 0);
}

static double moved_bytes(const soma_offer *v)
{
    double bytes = 0;
    for (int j = 0; j < v->prepare.n_in + v->prepare.n_out; j++)
        if (v->args[j].shape.rank >= 0)
            bytes += (double)soma_arg_bytes(&v->args[j]);
    return bytes;
}

/* Prepares the chosen kernel, or the next one that will have it. Afterwards the task's layouts are final. */
static soma_status prepare(soma_plan *p, soma_task *task, soma_offer *v)
{
    set_forms(task, v);
    int k = 0;
    while (task->op->kernels[k] != task->kernel)
        k++;
    for (;;) {
        soma_status status = soma_prepare_kernel(task->kernel, &v->prepare);
        if (status == SOMA_OK)
            break;
        if (status == SOMA_MEMORY)
            return soma_fail(p->s, SOMA_MEMORY, p->at, "%s \"%s\": no memory to prepare the kernel %s", task->op->name,
                             task->layer, task->kernel->name);
        if (!add_refusal(p, task, task->kernel, v->reason))
            return SOMA_MEMORY;
        own_dtypes(task, v);
        v->prepare.run = NULL;
        v->prepare.state = NULL;
        v->prepare.scratch = 0;
        v->prepare.flops = 0;
        v->prepare.parallel = v->prepare.apart = false;
        v->note[0] = 0;
        for (int j = 0; j < task->n_in; j++) /* the next one may want dense arrays: a reorder makes them */
            v->args[j].layout.batch_stride = 0;
        k = choose(p, task, v, k + 1);
        if (k < 0 && task->bf16)
            k = choose_f32(p, task, v);
        if (k < 0)
            return no_kernel(p, task);
        if (task->kernel->layouts == SOMA_LAYOUT_CONVERT) /* it takes what was fixed */
            set_forms(task, v);
        else
            soma_offer_request(task->kernel, v);
    }
    for (int j = 0; j < task->n_in + task->n_out; j++) {
        task->in_layout[j] = v->args[j].layout;
        task->in_dtype[j] = v->args[j].dtype;
    }
    task->run = v->prepare.run;
    task->state = v->prepare.state;
    task->scratch = v->prepare.scratch;
    task->apart = v->prepare.apart;
    task->bytes = moved_bytes(v);
    task->flops = v->prepare.flops > 0 ? v->prepare.flops
                  : task->op->flops    ? task->op->flops(task->attrs, v->args, task->n_in, v->prepare.out)
                                       : 0;
    task->note = v->note[0] ? soma_arena_text(&p->room.arena, v->note) : "";
    p->parallel = p->parallel || v->prepare.parallel;
    return task->note ? SOMA_OK : SOMA_MEMORY;
}

/* ---- reorders ---- */

typedef struct reordered {
    int32_t from, to;
    soma_layout layout;
    soma_dtype dtype;
} reordered;

typedef struct insertion {
    soma_plan *p;
    soma_task *old; /* tasks before insertion */
    int n_old;
    reordered *made;
    int n_made, capacity;
} insertion;

/* A program that updates packs its weights in every step. Where the batch is one piece, large copies are made just
 * before each reader, forward and backward, and lie in the work block only that long: packing twice costs far less than
 * keeping them all. */
#define LARGE_COPY (128 << 10)

static bool is_passing_copy(const soma_plan *p, int32_t id, const soma_layout *layout, soma_dtype dtype,
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
    soma_plan *p = in->p;
    soma_plan_value v = p->values[id];
    v.storage = SOMA_STORE_NONE;
    v.tensor = v.graph_value = v.alias = v.sum = -1;
    v.inside = 0;
    v.wanted = false;
    v.bytes = NULL;
    v.arg.layout = *layout;
    v.arg.dtype = dtype;
    v.may_be_bf16 = false;
    v.class = passing ? SOMA_CLASS_SAMPLE : v.class;
    soma_dtype from = p->values[id].arg.dtype;
    int32_t to = soma_plan_add_value(p, &v);
    soma_task task = {.op = soma_ops.reorder,
                      .n_in = 1,
                      .n_out = 1,
                      .layer = reader->layer,
                      .site = reader->site,
                      .class = v.class,
                      .bf16 = dtype == SOMA_BF16 || from == SOMA_BF16};
    task.in = soma_arena_array(&p->room.arena, 2, sizeof *task.in);
    task.attrs = soma_arena_alloc(&p->room.arena, 1);
    if (to < 0 || !task.in || !task.attrs || !add_forms(p, &task) ||
        soma_grow(p->s, &in->made, &in->capacity, in->n_made + 1, sizeof *in->made) != SOMA_OK)
        return -1;
    task.out = task.in + 1;
    task.in[0] = id;
    task.out[0] = to;
    task.in_layout[0] = p->values[id].arg.layout;
    task.out_layout[0] = *layout;
    task.in_dtype[0] = from;
    task.out_dtype[0] = dtype;
    soma_offer offer;
    soma_status status = soma_offer_make(p, &task, &p->room, &offer);
    if (status == SOMA_OK)
        set_forms(&task, &offer);
    if (status == SOMA_OK && choose(p, &task, &offer, 0) < 0)
        status = no_kernel(p, &task);
    if (status == SOMA_OK)
        status = prepare(p, &task, &offer);
    in->made[in->n_made++] = (reordered){id, to, *layout, dtype};
    return status == SOMA_OK && soma_plan_add_task(p, &task) ? to : -1;
}

/* Adding up takes the layout of what it adds. */
static void follow_part(soma_plan *p, soma_task *task)
{
    soma_layout layout = p->values[task->in[1]].arg.layout;
    task->in_layout[0] = task->in_layout[1] = task->out_layout[0] = layout;
    p->values[task->out[0]].arg.layout = layout;
}

static bool makes(const soma_task *task, int32_t value)
{
    for (int j = 0; j < task->n_out; j++)
        if (task->out[j] == value)
            return true;
    return false;
}

/* The last task, a gradient's reorder for an update, moves up to right behind the task that makes the gradient: it is
 * still in the cache, and its packed form need not live until all others are made. */
static void hoist(soma_plan *p)
{
    int last = p->n_tasks - 1, at = last;
    soma_task moved = p->tasks[last];
    while (at > 0 && !makes(&p->tasks[at - 1], moved.in[0]))
        at--;
    if (at == 0 || moved.class != SOMA_CLASS_SAMPLE)
        return;
    memmove(p->tasks + at + 1, p->tasks + at, (size_t)(last - at) * sizeof moved);
    p->tasks[at] = moved;
}

static soma_status insert_task(insertion *in, soma_task *task)
{
    soma_plan *p = in->p;
    soma_offer v;
    soma_status status = soma_tune_task(p, task);
    if (status == SOMA_OK)
        status = soma_offer_make(p, task, &p->room, &v);
    if (status == SOMA_OK && task->skip_first)
        follow_part(p, task);
    if (status == SOMA_OK)
        status = prepare(p, task, &v);
    for (int j = 0; j < task->n_in && status == SOMA_OK; j++) {
        if (task->in[j] < 0 || (soma_same_layout(&p->values[task->in[j]].arg.layout, &task->in_layout[j]) &&
                                p->values[task->in[j]].arg.dtype == task->in_dtype[j]))
            continue;
        int n = p->n_tasks;
        int32_t to = add_reorder(in, task->in[j], &task->in_layout[j], task->in_dtype[j], task);
        if (to < 0)
            return p->s->status != SOMA_OK ? p->s->status : SOMA_MEMORY;
        if (task->assigns && p->n_tasks > n)
            hoist(p);
        task->in[j] = to;
    }
    if (status != SOMA_OK || !soma_plan_add_task(p, task))
        return status != SOMA_OK ? status : SOMA_MEMORY;
    for (int j = 0; j < task->n_out; j++) {
        if (task->out[j] < 0)
            continue;
        soma_plan_value *out = &p->values[task->out[j]];
        out->arg.layout = task->out_layout[j];
        out->arg.dtype = task->out_dtype[j];
        bool half = out->arg.dtype == SOMA_BF16;
        if (!out->wanted || (out->arg.layout.kind == SOMA_PLAIN && !half))
            continue;
        /* what is read from outside is plain, and never bf16 */
        int32_t to = add_reorder(in, task->out[j], &plain, half ? SOMA_F32 : out->arg.dtype, task);
        if (to < 0)
            return p->s->status != SOMA_OK ? p->s->status : SOMA_MEMORY;
        p->values[to].wanted = true;
        p->values[task->out[j]].wanted = false;
        if (p->values[task->out[j]].graph_value >= 0)
            p->plan_of[p->values[task->out[j]].graph_value] = to;
    }
    return SOMA_OK;
}

static soma_status insert_all(soma_plan *p)
{
    insertion in = {.p = p, .old = p->tasks, .n_old = p->n_tasks};
    p->tasks = NULL;
    p->n_tasks = p->task_capacity = 0;
    soma_status status = SOMA_OK;
    for (int i = 0; i < in.n_old && status == SOMA_OK; i++)
        status = insert_task(&in, &in.old[i]);
    soma_release(p->s, in.old);
    soma_release(p->s, in.made);
    return status;
}

/* What was chosen, as one number: op, layer, kernel, note and layouts of every task. */
static uint64_t record(const soma_plan *p)
{
    uint64_t hash = soma_hash_text("record");
    for (int i = 0; i < p->n_tasks; i++) {
        const soma_task *task = &p->tasks[i];
        const char *texts[] = {task->op->name, task->layer, task->kernel->name, task->note};
        for (int t = 0; t < 4; t++)
            hash = soma_hash_bytes(hash, texts[t], strlen(texts[t]) + 1);
        int32_t numbers[] = {task->kernel->isa, task->n_out ? (int32_t)task->out_layout[0].kind : 0, p->threads,
                             (int32_t)p->piece, task->n_out ? (int32_t)task->out_dtype[0] : 0};
        hash = soma_hash_bytes(hash, numbers, sizeof numbers);
    }
    return hash;
}

soma_status soma_select(soma_plan *p)
{
    soma_status status = p->bf16 ? soma_precision(p) : SOMA_OK;
    for (int i = 0; i < p->n_tasks && status == SOMA_OK; i++) {
        soma_offer v;
        status = soma_offer_make(p, &p->tasks[i], &p->room, &v);
        if (status == SOMA_OK && choose(p, &p->tasks[i], &v, 0) < 0)
            status = no_kernel(p, &p->tasks[i]);
        if (status == SOMA_OK)
            status = ask(p, &p->tasks[i], &v);
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
        p->fingerprint = record(p);
    return status;
}

/* "f32[16,32,28,28] nChw16c" of output 0, made once at compile. */
soma_status soma_describe_outputs(soma_plan *p)
{
    for (int i = 0; i < p->n_tasks; i++) {
        soma_task *task = &p->tasks[i];
        int32_t out = task->n_out ? task->out[0] : -1;
        char text[96] = "";
        if (out >= 0) {
            soma_type type = {p->values[out].arg.dtype, p->values[out].arg.shape};
            soma_type_text(&type, text);
        }
        task->output = soma_arena_format(&p->room.arena, "%s%s%s", text, out >= 0 ? " " : "",
                                         out >= 0 ? soma_layout_name(p->values[out].arg.layout.kind) : "");
        if (!task->output)
            return SOMA_MEMORY;
    }
    return SOMA_OK;
}
