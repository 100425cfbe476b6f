/* SPDX-License-Identifier: Apache-2.0
 *
 * compile/choose/tune.c: which kernel a task gets when the rule on shapes is not the last word: the one in the model's
 * record, or the fastest on the real shapes. Layouts are those that the rule has negotiated; what a candidate wants
 * otherwise costs it a reorder. Knows no op.
 */
#include "compile/choose/tune.h"
#include "cpu/parallel.h"

#include <stdio.h>
#include <string.h>

#define CANDIDATES 8
#define ARGUMENTS 12
#define KERNEL_TEXT 48
#define LEAST_ROUNDS 4
#define MOST_ROUNDS 20
#define ROUND_SECONDS 0.03 /* for each candidate, as soon as there are enough rounds */
#define HOPELESS 6         /* times the best of the first round: not run again */
#define SLOW 1.5           /* likewise, from the third round on: a core that is taken away for a while doubles a run */
#define MARGIN 0.98        /* of the rule's kernel: what is not clearly faster does not replace it */

/* A candidate, prepared in a room of its own that is closed after the timing. */
typedef struct trial {
    const soma_kernel *kernel;
    bool f32; /* in f32 although the task is a bf16 one: conversions count as reorders do */
    soma_prepare_room room;
    soma_offer offer;
    double seconds;  /* of one run, the fastest */
    double reorders; /* seconds of one step */
    bool out;
} trial;

typedef struct timing {
    soma_plan *p;
    const soma_task *task;
    trial *trials;
    int n, n_args;
    void *block[ARGUMENTS + 1], *data[ARGUMENTS + 1]; /* owned; as run takes them: scratch at the end */
    soma_run run;
    char reason[SOMA_REASON_MAX];
} timing;

/* "onednn", "cpu AVX-512", "winograd AVX-512 in f32" */
static const char *kernel_text(const soma_kernel *kernel, bool f32, char text[KERNEL_TEXT])
{
    snprintf(text, KERNEL_TEXT, "%s%s%s%s", kernel->name, kernel->isa ? " " : "",
             kernel->isa ? soma_isa_name(kernel->isa) : "", f32 ? " in f32" : "");
    return text;
}

/* A task of a bf16 program as it would be in f32; dtype: room for its arguments. */
static soma_task in_f32(const soma_task *task, soma_dtype *dtype)
{
    soma_task other = *task;
    other.bf16 = false;
    other.in_dtype = dtype;
    other.out_dtype = dtype + task->n_in;
    for (int j = 0; j < task->n_in + task->n_out; j++)
        dtype[j] = task->in_dtype[j] == SOMA_BF16 ? SOMA_F32 : task->in_dtype[j];
    return other;
}

/* ---- a candidate ---- */

static soma_status open_trial(const soma_plan *p, const soma_task *task, const soma_kernel *kernel, trial *t)
{
    t->kernel = kernel;
    soma_prepare_room_open(&t->room, p->s);
    return soma_offer_make(p, task, &t->room, &t->offer);
}

static void close_trial(trial *t)
{
    if (t->kernel)
        soma_prepare_room_close(&t->room);
    t->kernel = NULL;
}

/* The rule's kernel keeps its scratch, whatever it is; others stay within the limit. */
static size_t scratch_limit(const timing *t)
{
    size_t limit = t->p->max_memory ? (size_t)(t->p->max_memory / 8) : SOMA_TUNE_SCRATCH;
    return t->n && t->trials[0].offer.prepare.scratch > limit ? t->trials[0].offer.prepare.scratch : limit;
}

/* Adds a kernel if it can run the task. */
static soma_status add_trial(timing *t, const soma_kernel *kernel, bool f32)
{
    trial *c = &t->trials[t->n];
    const soma_task *task = t->task;
    soma_dtype dtype[ARGUMENTS];
    soma_task other = in_f32(task, dtype);
    soma_status status = open_trial(t->p, f32 ? &other : task, kernel, c);
    c->f32 = f32;
    bool can = status == SOMA_OK && !soma_offer_cannot(t->p, kernel, &c->offer);
    if (can) {
        soma_offer_layouts(t->p, task, kernel, &c->offer);
        if (kernel == task->kernel && !f32)
            for (int j = 0; j < t->n_args; j++)
                c->offer.args[j].layout = task->in_layout[j];
        status = soma_prepare_kernel(kernel, &c->offer.prepare);
        can = status == SOMA_OK && (!t->n || c->offer.prepare.scratch <= scratch_limit(t));
    }
    if (can)
        t->n++;
    else
        close_trial(c);
    return status == SOMA_MEMORY ? SOMA_MEMORY : SOMA_OK;
}

/* Of a kernel in several instruction sets the best, of exact ones none beside others. */
static soma_status add_all(timing *t, bool f32)
{
    soma_status status = SOMA_OK;
    for (int k = 0; t->n && t->task->op->kernels[k] && t->n < CANDIDATES && status == SOMA_OK; k++) {
        const soma_kernel *kernel = t->task->op->kernels[k];
        bool known = kernel->exact;
        for (int i = 0; i < t->n; i++)
            known = known || (t->trials[i].f32 == f32 && !strcmp(t->trials[i].kernel->name, kernel->name));
        if (!known)
            status = add_trial(t, kernel, f32);
    }
    return status;
}

/* The rule's choice first. */
static soma_status add_trials(timing *t)
{
    soma_status status = add_trial(t, t->task->kernel, false);
    if (status == SOMA_OK)
        status = add_all(t, false);
    return status == SOMA_OK && t->task->bf16 ? add_all(t, true) : status;
}

/* ---- data ---- */

/* Numbers between -1 and 1, none near zero; whole numbers are 0, which every label and index may be. */
static void fill(void *data, const soma_arg *arg, size_t bytes, uint32_t state)
{
    if (arg->dtype == SOMA_I32 || arg->dtype == SOMA_U8)
        return;
    size_t size = soma_dtype_size(arg->dtype);
    for (size_t i = 0; i < bytes / size; i++) {
        state = state * 1664525u + 1013904223u;
        float x = (float)(state >> 9) * 0x1p-23f + 0.0625f;
        x = state & 256 ? -x : x;
        double wide = (double)x;
        if (size == sizeof wide)
            memcpy((char *)data + i * size, &wide, size);
        else if (size == sizeof x)
            memcpy((char *)data + i * size, &x, size);
        else
            memcpy((char *)data + i * size, (const char *)&x + sizeof x - size, size); /* bf16: the upper half */
    }
}

/* The input that the plan may overwrite with output 0, or -1: candidates then work in place, as a step does, if they
 * can. */
static int in_place(const timing *t)
{
    int in = t->task->op->inplace_in - 1, out = t->task->n_in;
    bool may = in >= 0 && in < out && out < t->n_args;
    for (int i = 0; i < t->n && may; i++) {
        const soma_arg *a = &t->trials[i].offer.args[in], *b = &t->trials[i].offer.args[out];
        may = a->shape.rank >= 0 && a->dtype == b->dtype && a->elements == b->elements &&
              soma_same_layout(&a->layout, &b->layout);
    }
    return may ? in : -1;
}

/* Each argument in the largest of the candidates' sizes. Numbers of f32 read as bf16 are in range as well, and so the
 * other way round. */
static soma_status make_data(timing *t)
{
    size_t scratch = 0;
    for (int i = 0; i < t->n; i++)
        if (t->trials[i].offer.prepare.scratch > scratch)
            scratch = t->trials[i].offer.prepare.scratch;
    for (int j = 0; j < t->n_args; j++) {
        size_t bytes = 0;
        const soma_arg *arg = &t->trials[0].offer.args[j];
        for (int i = 0; i < t->n && arg->shape.rank >= 0; i++) {
            size_t size = soma_arg_bytes(&t->trials[i].offer.args[j]);
            bytes = size > bytes ? size : bytes;
        }
        t->block[j] = bytes ? soma_alloc(t->p->s, bytes) : NULL;
        if (bytes && !t->block[j])
            return SOMA_MEMORY;
        if (bytes)
            fill(t->block[j], arg, bytes, (uint32_t)j + 1);
        t->data[j] = t->block[j];
    }
    t->block[t->n_args] = t->data[t->n_args] = scratch ? soma_alloc(t->p->s, scratch) : NULL;
    return scratch && !t->data[t->n_args] ? SOMA_MEMORY : SOMA_OK;
}

static void free_data(timing *t)
{
    for (int j = 0; j <= t->n_args; j++)
        soma_release(t->p->s, t->block[j]);
}

/* ---- the clock ---- */

/* Seconds of one run; negative: it refused. */
static double one_run(timing *t, const trial *c, void **data)
{
    int out = t->task->n_in;
    if (data == t->data && in_place(t) >= 0)
        data[out] = c->offer.prepare.apart ? t->block[out] : data[in_place(t)];
    double begin = soma_now(t->p->s);
    soma_status status = c->offer.prepare.run(c->offer.prepare.state, data, &t->run);
    double seconds = soma_now(t->p->s) - begin;
    return status == SOMA_OK ? seconds : -1;
}

/* ---- reorders ---- */

/* Seconds of one reorder of an argument between two layouts. */
static soma_status time_reorder(timing *t, const soma_arg *from, const soma_arg *to, double *seconds)
{
    const soma_op *op = soma_ops.reorder;
    int32_t ids[2] = {-1, -1};
    soma_task task = {.op = op, .n_in = 1, .n_out = 1, .in = ids, .out = ids + 1, .layer = ""};
    void *data[3] = {soma_alloc(t->p->s, soma_arg_bytes(from)), soma_alloc(t->p->s, soma_arg_bytes(to)), NULL};
    soma_status status = data[0] && data[1] ? SOMA_UNSUPPORTED : SOMA_MEMORY;
    *seconds = 0;
    for (int k = 0; op->kernels[k] && status == SOMA_UNSUPPORTED; k++) {
        trial *c = soma_alloc(t->p->s, sizeof *c);
        status = c ? open_trial(t->p, &task, op->kernels[k], c) : SOMA_MEMORY;
        if (status == SOMA_OK) {
            c->offer.args[0] = *from;
            c->offer.args[1] = *to;
            c->offer.bf16 = from->dtype == SOMA_BF16 || to->dtype == SOMA_BF16;
            status = soma_offer_cannot(t->p, op->kernels[k], &c->offer)
                         ? SOMA_UNSUPPORTED
                         : soma_prepare_kernel(op->kernels[k], &c->offer.prepare);
        }
        if (status == SOMA_OK && c->offer.prepare.scratch) {
            data[2] = soma_alloc(t->p->s, c->offer.prepare.scratch);
            status = data[2] ? SOMA_OK : SOMA_MEMORY;
        }
        for (int round = 0; round <= LEAST_ROUNDS && status == SOMA_OK; round++) {
            double s = one_run(t, c, data);
            *seconds = round < 2 || s < *seconds ? s : *seconds; /* the first one warms up */
        }
        if (c)
            close_trial(c);
        soma_release(t->p->s, c);
    }
    for (int i = 0; i < 3; i++)
        soma_release(t->p->s, data[i]);
    return status;
}

/* What the layouts and types that a candidate wants cost a step. A weight is reordered once a step, and not at all
 * where it never changes. */
static soma_status add_reorders(timing *t, trial *c)
{
    double runs = soma_task_runs(t->p, t->task);
    for (int j = 0; j < t->n_args && !c->out; j++) {
        soma_arg *arg = &c->offer.args[j], there = *arg;
        there.layout = t->task->in_layout[j];
        there.dtype = t->task->in_dtype[j];
        bool same = there.dtype == arg->dtype && soma_same_layout(&arg->layout, &there.layout);
        if (arg->shape.rank < 0 || same || (arg->constant && !t->p->updates))
            continue;
        double seconds;
        bool in = j < t->task->n_in;
        soma_status status = time_reorder(t, in ? &there : arg, in ? arg : &there, &seconds);
        if (status == SOMA_MEMORY)
            return status;
        c->out = status != SOMA_OK;
        c->reorders += seconds * (arg->batched ? runs : 1);
    }
    return SOMA_OK;
}

/* Seconds of a step. */
static double total(const timing *t, const trial *c)
{
    return soma_task_runs(t->p, t->task) * c->seconds + c->reorders;
}

/* Puts out who takes more than `factor` times the best. */
static void sort_out(timing *t, double factor)
{
    const trial *best = NULL;
    for (int i = 0; i < t->n; i++)
        if (!t->trials[i].out && (!best || total(t, &t->trials[i]) < total(t, best)))
            best = &t->trials[i];
    for (int i = 0; i < t->n; i++)
        t->trials[i].out = t->trials[i].out || total(t, &t->trials[i]) > factor * total(t, best);
}

/* The first round warms up, and sorts out what refuses or is hopeless; then all in turn, the fastest run counts. */
static void time_all(timing *t)
{
    double spent = 0;
    for (int i = 0; i < t->n; i++) {
        t->trials[i].seconds = one_run(t, &t->trials[i], t->data);
        t->trials[i].out = t->trials[i].out || t->trials[i].seconds < 0;
    }
    sort_out(t, HOPELESS);
    for (int round = 0; round < MOST_ROUNDS && (round < LEAST_ROUNDS || spent < ROUND_SECONDS * t->n); round++) {
        for (int i = 0; i < t->n; i++) {
            trial *c = &t->trials[i];
            double seconds = c->out ? -1 : one_run(t, c, t->data);
            c->out = seconds < 0;
            if (c->out)
                continue;
            spent += seconds;
            if (seconds < c->seconds || round == 0) /* not the warm-up */
                c->seconds = seconds;
        }
        if (round > 1)
            sort_out(t, SLOW);
    }
}

/* ---- the choice ---- */

/* "winograd 1.234 ms, onednn 1.567 ms": the kernel that the rule on shapes prefers stands first, then the others. */
static void describe(const timing *t, char text[SOMA_REASON_MAX])
{
    size_t used = 0;
    text[0] = 0;
    for (int i = 0; i < t->n && used < SOMA_REASON_MAX; i++) {
        const trial *c = &t->trials[i];
        char name[KERNEL_TEXT];
        used += (size_t)snprintf(text + used, SOMA_REASON_MAX - used, "%s%s %.4g ms", i ? ", " : "",
                                 kernel_text(c->kernel, c->f32, name), 1e3 * total(t, c));
    }
    if (used >= SOMA_REASON_MAX)
        memcpy(text + SOMA_REASON_MAX - 4, "...", 4);
}

/* name: of the fastest. */
static soma_status time_task(timing *t, char name[KERNEL_TEXT], char detail[SOMA_REASON_MAX])
{
    soma_status status = make_data(t);
    if (status == SOMA_OK) {
        unsigned word = soma_float_enter(!t->p->s->exact, t->p->threads);
        for (int i = 0; i < t->n && status == SOMA_OK; i++)
            status = add_reorders(t, &t->trials[i]);
        if (status == SOMA_OK)
            time_all(t);
        soma_float_leave(word, t->p->threads);
    }
    free_data(t);
    const trial *first = &t->trials[0], *found = first;
    for (int i = 1; i < t->n && status == SOMA_OK; i++) {
        const trial *c = &t->trials[i];
        double limit = found == first ? MARGIN * total(t, first) : total(t, found);
        if (!c->out && (found->out || total(t, c) < limit))
            found = c;
    }
    kernel_text(found->kernel, found->f32, name);
    describe(t, detail);
    return status;
}

/* name: "" where there is nothing to choose from. */
static soma_status run_trials(soma_plan *p, const soma_task *task, char name[KERNEL_TEXT], char detail[SOMA_REASON_MAX])
{
    timing *t = soma_alloc(p->s, sizeof *t);
    trial *trials = t ? soma_alloc_array(p->s, CANDIDATES, sizeof *trials) : NULL;
    soma_status status = trials ? SOMA_OK : SOMA_MEMORY;
    name[0] = 0;
    if (status == SOMA_OK) {
        t->p = p;
        t->task = task;
        t->trials = trials;
        t->n_args = task->n_in + task->n_out;
        t->run = (soma_run){.threads = p->threads,
                            .seed = p->s->seed,
                            .random = p->s->random,
                            .exact = p->s->exact,
                            .reason = t->reason};
        status = add_trials(t);
        if (status == SOMA_OK && t->n > 1)
            status = time_task(t, name, detail);
        for (int i = 0; i < t->n; i++)
            close_trial(&trials[i]);
    }
    soma_release(p->s, trials);
    soma_release(p->s, t);
    return status;
}

/* Everything that decides how fast a kernel is here, as text in p's arena; NULL: no memory. */
static const char *key_of(soma_plan *p, const soma_task *task, const soma_offer *v)
{
    soma_text t = {.s = p->s};
    char text[SOMA_REASON_MAX];
    soma_text_add(&t, task->op->name);
    for (const soma_field *f = task->op->fields; f && f->name; f++) {
        soma_attr_text(f, task->attrs, text, sizeof text);
        soma_text_addf(&t, " %s=%s", f->name, text);
    }
    for (int j = 0; j < task->n_in + task->n_out; j++) {
        const soma_arg *arg = &v->args[j];
        soma_text_add(&t, j == 0 ? ": " : j == task->n_in ? " -> " : ", ");
        if (arg->shape.rank < 0) {
            soma_text_add(&t, "none");
            continue;
        }
        soma_type type = {arg->dtype, arg->shape};
        soma_text_addf(&t, "%s %s%s", soma_type_text(&type, text), soma_layout_name(task->in_layout[j].kind),
                       arg->constant && !p->updates ? " constant" : "");
    }
    soma_text_addf(&t, "; %g runs, %d threads", soma_task_runs(p, task), p->threads);
    const char *key = t.failed ? NULL : soma_arena_text(&p->room.arena, t.bytes);
    soma_text_free(&t);
    return key;
}

/* Layouts and inputs to which a kernel may be tied, or whose speed does not matter, are left alone. */
static bool worth_it(const soma_plan *p, const soma_task *task)
{
    int kernels = 0;
    for (int k = 0; task->op->kernels[k]; k++)
        kernels += !task->op->kernels[k]->exact;
    return kernels > 1 && !task->kernel->exact && !task->assigns && !task->skip_first && !task->op->alias &&
           task->n_in + task->n_out <= ARGUMENTS && task->class > SOMA_CLASS_STATE && !p->s->exact;
}

/* Does a kernel that was chosen without this program's budget keep its scratch within it? */
static soma_status within_budget(soma_plan *p, const soma_task *task, const soma_kernel *kernel, bool *within)
{
    trial *c = soma_alloc(p->s, sizeof *c);
    soma_status status = c ? open_trial(p, task, kernel, c) : SOMA_MEMORY;
    if (status == SOMA_OK) {
        soma_offer_layouts(p, task, kernel, &c->offer);
        *within = soma_prepare_kernel(kernel, &c->offer.prepare) == SOMA_OK &&
                  c->offer.prepare.scratch <= (size_t)(p->max_memory / 8);
    }
    if (c)
        close_trial(c);
    soma_release(p->s, c);
    return status;
}

static const soma_kernel *kernel_named(const soma_task *task, const char *name, bool *f32)
{
    char text[KERNEL_TEXT];
    for (int k = 0; task->op->kernels[k]; k++)
        for (*f32 = false;; *f32 = true) {
            if (!strcmp(kernel_text(task->op->kernels[k], *f32, text), name))
                return task->op->kernels[k];
            if (*f32 || !task->bf16)
                break;
        }
    return NULL;
}

static soma_status take(soma_plan *p, soma_task *task, const soma_choice *choice, const char *how)
{
    soma_dtype dtype[ARGUMENTS];
    bool f32;
    const soma_kernel *kernel = kernel_named(task, choice->kernel, &f32);
    soma_task changed = kernel && f32 ? in_f32(task, dtype) : *task;
    soma_offer v;
    soma_status status = kernel ? soma_offer_make(p, &changed, &p->room, &v) : SOMA_OK;
    if (status != SOMA_OK || !kernel || soma_offer_cannot(p, kernel, &v))
        return status;
    bool within = true;
    if (p->max_memory && (kernel != task->kernel || f32))
        status = within_budget(p, &changed, kernel, &within);
    if (status != SOMA_OK || !within)
        return status;
    soma_choice *kept = soma_arena_alloc(&p->room.arena, sizeof *kept);
    task->chosen = soma_arena_format(&p->room.arena, "%s: %s", how, choice->detail);
    if (!kept || !task->chosen)
        return SOMA_MEMORY;
    *kept = (soma_choice){.key = choice->key, /* the arena's */
                          .kernel = soma_arena_text(&p->room.arena, choice->kernel),
                          .detail = soma_arena_text(&p->room.arena, choice->detail)};
    if (!kept->kernel || !kept->detail)
        return SOMA_MEMORY;
    task->choice = kept;
    if (kernel == task->kernel && !f32)
        return SOMA_OK;
    soma_offer_layouts(p, task, kernel, &v);
    task->bf16 = changed.bf16;
    for (int j = 0; j < task->n_in + task->n_out; j++) {
        task->in_layout[j] = v.args[j].layout;
        task->in_dtype[j] = changed.in_dtype[j];
    }
    task->kernel = kernel;
    return SOMA_OK;
}

/* From the record or from what was timed; sets known to NULL where neither knows. */
static soma_status look_up(soma_plan *p, const char *machine, const char *key, soma_choice *found, const char **how)
{
    const soma_choice *known = soma_choices_of_model(p->model, machine, key);
    *how = "recorded";
    if (!known && p->tune) {
        const soma_tuner *tuner = soma_tuner_of(p->s);
        if (!tuner)
            return SOMA_MEMORY;
        known = soma_choices_find(&tuner->timed, machine, key);
        *how = "timed before";
    }
    if (known)
        *found = *known;
    return SOMA_OK;
}

soma_status soma_tune_task(soma_plan *p, soma_task *task)
{
    if ((!p->tune && !soma_choices_any(p->model)) || !worth_it(p, task))
        return SOMA_OK;
    char machine[SOMA_MACHINE_TEXT], detail[SOMA_REASON_MAX], name[KERNEL_TEXT];
    const char *key = NULL, *how;
    soma_choice choice = {0};
    soma_offer v;
    soma_machine_text(p->s, machine);
    soma_status status = soma_offer_make(p, task, &p->room, &v);
    if (status == SOMA_OK) {
        key = key_of(p, task, &v);
        status = key ? look_up(p, machine, key, &choice, &how) : SOMA_MEMORY;
    }
    if (status == SOMA_OK && !choice.kernel && p->tune && !soma_parallel_refusal(p->threads)) {
        status = run_trials(p, task, name, detail);
        if (status != SOMA_OK || !name[0])
            return status;
        choice.machine = machine;
        choice.key = key;
        choice.kernel = name;
        choice.detail = detail;
        how = "timed";
        status = soma_tuner_put(p->s, &choice);
    }
    choice.key = key;
    return status == SOMA_OK && choice.kernel ? take(p, task, &choice, how) : status;
}
