/* SPDX-License-Identifier: Apache-2.0
 *
 * run/program.c: running and reading programs. A step is one loop over prepared calls: no allocation, no decision
 * that could have been made before.
 */
#include "run/program.h"
#include "base/fields.h"
#include "cpu/parallel.h"
#include "compile/choose/tune.h"

#include <stdio.h>
#include <string.h>

/* ---- life ---- */

static void destroy_run(soma_session *r);

void soma_program_destroy(soma_program *p)
{
    soma *s = p->model->s;
    while (p->runs)
        destroy_run(p->runs);
    for (soma_program **link = &p->workspace->programs; *link; link = &(*link)->next)
        if (*link == p) {
            *link = p->next;
            break;
        }
    soma_unbind(s, &p->own);
    soma_release(s, p->own.kept);
    soma_release(s, p->seconds);
    soma_plan_free(p->plan);
    soma_release(s, p);
}

void soma_program_free(soma_program *p)
{
    if (!p || --p->references > 0)
        return;
    soma_model *m = p->holds ? p->model : NULL;
    soma_program_destroy(p);
    if (m)
        soma_model_drop(m);
}

void soma_input_ring_free(soma *s, soma_input_ring *ring)
{
    soma_release(s, ring->slots);
    *ring = (soma_input_ring){0};
}

/* By the model, when it goes. */
static void free_workspace(soma_model *m)
{
    soma_workspace *w = m->workspace;
    while (w->programs)
        soma_program_destroy(w->programs);
    soma_release(m->s, w->work);
    soma_release(m->s, w->gradient);
    soma_input_ring_free(m->s, &w->ring);
    soma_release(m->s, w);
}

static soma_workspace *workspace_of(soma_model *m)
{
    if (!m->workspace)
        m->workspace = soma_alloc(m->s, sizeof *m->workspace);
    m->free_workspace = free_workspace;
    return m->workspace;
}

static soma_program *make(soma_model *m, const soma_program_options *o, soma_input_ring *ring)
{
    soma_workspace *w = m ? workspace_of(m) : NULL;
    soma_plan *plan = w ? soma_plan_make(m, o) : NULL;
    soma_program *p = plan ? soma_alloc(m->s, sizeof *p) : NULL;
    if (!p) {
        soma_plan_free(plan);
        return NULL;
    }
    p->plan = plan;
    p->model = m;
    p->workspace = w;
    p->ring = ring ? ring : &w->ring;
    p->references = 1;
    p->seed = m->s->seed;
    p->next = w->programs;
    w->programs = p;
    if (soma_bind(p, &p->own) != SOMA_OK || soma_choices_keep(plan) != SOMA_OK) {
        soma_program_destroy(p);
        return NULL;
    }
    return p;
}

soma_program *soma_program_make(soma_model *m, const soma_program_options *o)
{
    return make(m, o, NULL);
}

soma_program *soma_compile_for(soma_model *m, const soma_program_options *o, soma_input_ring *ring)
{
    soma_program *p = make(m, o, ring);
    if (p) {
        p->holds = true;
        soma_model_hold(m);
    }
    return p;
}

SOMA_TABLE(soma_program_options) = {
    SOMA_TEXT(soma_program_options, name, "program", .doc = "for the plan"),
    SOMA_INT(soma_program_options, batch, 1, AT_LEAST(1), .doc = "samples of a step"),
    SOMA_OTHER(soma_program_options, values, .doc = "what to compute"),
    SOMA_OTHER(soma_program_options, n_values, .doc = "how many"),
    SOMA_OTHER(soma_program_options, updates, .doc = "outputs of assigning ops that must run"),
    SOMA_OTHER(soma_program_options, n_updates, .doc = "how many"),
    SOMA_BOOL(soma_program_options, training, .doc = "layers behave as in training; always so with updates"),
    SOMA_INT(soma_program_options, micro_batch, 0, AT_LEAST(0),
             .doc = "samples of a piece, a divisor of the batch; without it the plan chooses"),
    SOMA_SIZE(soma_program_options, max_memory, 0, ANY, .doc = "bytes of the whole plan; without it no budget"),
    SOMA_BOOL(soma_program_options, tune, .doc = "kernels are timed and the fastest is taken"),
    SOMA_TEXT(soma_program_options, precision, "f32", .doc = "f32 or bf16: of stored activations and products"),
    SOMA_FIELDS_END};

soma_program *soma_compile_with(soma_model *m, const soma_program_options *given)
{
    soma_program_options o;
    if (!m || SOMA_TAKE(m->s, "soma_compile", soma_program_options, given, &o))
        return NULL;
    return soma_compile_for(m, &o, NULL);
}

/* ---- run ---- */

static soma_status call_failed(const soma_plan *plan, const soma_call *call, soma_status status, const char *reason,
                               char *sentence)
{
    const soma_task *task = &plan->tasks[call->task];
    snprintf(sentence, SOMA_REASON_MAX, "%s \"%s\": %.400s", task->op->name, task->layer,
             reason[0] ? reason : soma_status_text(status));
    return status;
}

/* From call `from` to the end. */
static soma_status run_calls(const soma_plan *plan, const soma_binding *b, int slot, int from, soma_run *run,
                             soma_watch *w, char *sentence)
{
    const soma_call *call = b->calls[slot] + from, *end = b->calls[slot] + b->n_calls;
    if (w)
        w->called(w, -1);
    for (; call < end; call++) {
        run->sample_offset = call->sample_offset;
        soma_status status = call->run(call->state, call->args, run);
        if (__builtin_expect(status != SOMA_OK, 0))
            return call_failed(plan, call, status, run->reason, sentence);
        if (__builtin_expect(w != NULL, 0))
            w->called(w, call->task);
    }
    return SOMA_OK;
}

static soma_status run_binding(const soma_program *p, soma_binding *b, int slot, uint64_t step, soma_watch *w,
                               char *sentence)
{
    const soma_plan *plan = p->plan;
    int threads = soma_program_threads(p);
    const char *refusal = threads > 1 ? soma_parallel_refusal(threads) : NULL;
    if (refusal) {
        snprintf(sentence, SOMA_REASON_MAX, "program \"%s\" was compiled for %d threads: %s", plan->name, threads,
                 refusal);
        return SOMA_STATE;
    }
    int before = soma_parallel_enter(
        threads); /* one thread too: a library asks for the runtime's number at every call */
    char reason[SOMA_REASON_MAX];
    reason[0] = 0;
    soma_run run = {.threads = threads,
                    .seed = p->seed,
                    .step = step,
                    .random = plan->s->random,
                    .exact = plan->s->exact,
                    .reason = reason};
    unsigned word = soma_float_enter(!plan->s->exact, threads);
    int from = b->version == p->model->version ? b->refresh_end : b->constants_done ? b->refresh_begin : 0;
    soma_status status = run_calls(plan, b, slot, from, &run, w, sentence);
    soma_float_leave(word, threads);
    soma_parallel_leave(before);
    if (status == SOMA_OK) {
        b->constants_done = true;
        b->version = p->model->version;
    }
    return status;
}

/* A larger program has moved the workspace. Cannot fail: everything is allocated. */
static void follow_workspace(soma_program *p)
{
    if (p->own.generation != p->workspace->generation)
        soma_bind(p, &p->own);
}

soma_status soma_step_watched(soma_program *p, soma_watch *w)
{
    follow_workspace(p);
    soma_status status = run_binding(p, &p->own, p->read_slot, p->step, w, p->reason);
    if (status != SOMA_OK)
        return soma_fail(p->plan->s, status, p->plan->at, "%s", p->reason);
    p->step++;
    if (p->plan->updates)
        p->model->version++;
    return SOMA_OK;
}

soma_status soma_step(soma_program *p)
{
    return p ? soma_step_watched(p, NULL) : SOMA_INVALID;
}

uint64_t soma_program_step(const soma_program *p)
{
    return p ? p->step : 0;
}

void soma_program_set_step(soma_program *p, uint64_t step)
{
    if (p)
        p->step = step;
}

/* ---- in and out ---- */

static const soma_plan_value *find_input(const soma_program *p, soma_value x)
{
    for (int i = 0; p && i < p->plan->n_inputs; i++) {
        const soma_plan_value *v = &p->plan->values[p->plan->input_values[i]];
        if (v->graph_value == x.id && x.graph && x.graph->model == p->model)
            return v;
    }
    return NULL;
}

/* The whole batch's shape of a plan value. */
static soma_shape full_shape(const soma_plan *p, const soma_plan_value *v)
{
    soma_shape shape = v->arg.shape;
    if (v->arg.batched)
        shape.dim[0] = shape.dim[0] / p->piece * p->batch;
    return shape;
}

static soma_tensor input_view(const soma_program *p, const soma_binding *b, soma_value x, int slot)
{
    const soma_plan_value *v = find_input(p, x);
    soma_tensor none = {SOMA_F32, {.rank = -1}, NULL};
    if (!v)
        return none;
    soma_tensor view = {v->arg.dtype, full_shape(p->plan, v), b->inputs[slot] + v->offset};
    return view;
}

soma_tensor soma_program_input(soma_program *p, soma_value x)
{
    if (p)
        follow_workspace(p);
    return input_view(p, p ? &p->own : NULL, x, p ? p->write_slot : 0);
}

void soma_flip(soma_program *p)
{
    if (!p)
        return;
    p->read_slot = p->write_slot;
    p->write_slot ^= 1;
}

void soma_program_set_slot(soma_program *p, int slot)
{
    p->read_slot = slot;
    p->write_slot = slot ^ 1;
}

void *soma_program_input_at(soma_program *p, soma_value x, int slot)
{
    follow_workspace(p);
    return input_view(p, &p->own, x, slot).data;
}

void soma_program_set_seed(soma_program *p, uint64_t seed)
{
    p->seed = seed;
}

static bool same_shapes(const soma_shape *a, const soma_shape *b)
{
    return a->rank == b->rank && (a->rank <= 0 || !memcmp(a->dim, b->dim, (size_t)a->rank * sizeof a->dim[0]));
}

soma_status soma_feed(soma_program *p, soma_value x, const soma_tensor *tensor)
{
    if (!p || !tensor)
        return SOMA_INVALID;
    soma_tensor slot = soma_program_input(p, x);
    char want[96], got[96];
    if (!slot.data)
        return soma_fail(p->plan->s, SOMA_INVALID, soma_nowhere(), "feed: \"%s\" is not an input of the program \"%s\"",
                         soma_value_name(x), p->plan->name);
    soma_type slot_type = {slot.dtype, slot.shape}, type = {tensor->dtype, tensor->shape};
    if (slot.dtype != tensor->dtype || !same_shapes(&slot.shape, &tensor->shape) || !tensor->data)
        return soma_fail(p->plan->s, SOMA_INVALID, soma_nowhere(), "feed: input \"%s\" takes %s, got %s",
                         soma_value_name(x), soma_type_text(&slot_type, want), soma_type_text(&type, got));
    memcpy(slot.data, tensor->data, (size_t)soma_shape_elements(&slot.shape) * soma_dtype_size(slot.dtype));
    return SOMA_OK;
}

static soma_tensor read_view(const soma_program *p, const soma_binding *b, soma_value x, int slot)
{
    soma_tensor none = {SOMA_F32, {.rank = -1}, NULL};
    const soma_plan *plan = p ? p->plan : NULL;
    if (!p || !soma_ok(x) || x.graph->model != p->model || x.id >= plan->n_caller_values || plan->read_of[x.id] < 0)
        return none;
    const soma_plan_value *v = &plan->values[plan->read_of[x.id]];
    const soma_plan_value *root = &plan->values[soma_plan_root(plan, plan->read_of[x.id])];
    const char *base = root->storage == SOMA_STORE_WORK       ? b->work + root->offset + v->within
                       : root->storage == SOMA_STORE_GRADIENT ? b->gradient + root->offset
                       : root->storage == SOMA_STORE_KEPT     ? b->kept + root->offset
                       : root->storage == SOMA_STORE_INPUT    ? b->inputs[slot] + root->offset
                       : root->storage == SOMA_STORE_TENSOR   ? (const char *)p->model->tensors[root->tensor].data
                                                              : root->bytes;
    soma_tensor view = {v->arg.dtype, full_shape(plan, v), (void *)(uintptr_t)base};
    return view;
}

soma_tensor soma_read(soma_program *p, soma_value x)
{
    if (p)
        follow_workspace(p);
    return read_view(p, p ? &p->own : NULL, x, p ? p->read_slot : 0);
}

/* ---- run objects ---- */

struct soma_session {
    soma_program *program; /* one reference to it is ours */
    soma_session *next;    /* in the program's list */
    soma_binding binding;
    char *block;
    uint64_t step;
    char reason[SOMA_REASON_MAX];
};

soma_session *soma_session_new(soma_program *p)
{
    if (!p)
        return NULL;
    const soma_plan *plan = p->plan;
    soma *s = plan->s;
    if (plan->updates) {
        soma_fail(s, SOMA_STATE, plan->at,
                  "program \"%s\" updates the model, so it cannot run on several threads at once", plan->name);
        return NULL;
    }
    soma_session *r = soma_alloc(s, sizeof *r);
    size_t total = plan->work_size + plan->gradient_size + plan->kept_size + plan->input_size + 64;
    char *block = r ? soma_alloc(s, total) : NULL;
    if (!block) {
        soma_release(s, r);
        return NULL;
    }
    r->program = p;
    r->next = p->runs;
    p->runs = r;
    p->references++;
    r->block = block;
    r->binding.work = block;
    r->binding.gradient = block + plan->work_size;
    r->binding.kept = r->binding.gradient + plan->gradient_size;
    r->binding.inputs[0] = r->binding.inputs[1] = r->binding.kept + plan->kept_size;
    if (soma_bind(p, &r->binding) != SOMA_OK) {
        soma_session_free(r);
        return NULL;
    }
    return r;
}

static void destroy_run(soma_session *r)
{
    soma *s = r->program->plan->s;
    soma_session **link = &r->program->runs;
    while (*link != r)
        link = &(*link)->next;
    *link = r->next;
    soma_unbind(s, &r->binding);
    soma_release(s, r->block);
    soma_release(s, r);
}

void soma_session_free(soma_session *r)
{
    soma_program *p = r ? r->program : NULL;
    if (!r)
        return;
    destroy_run(r);
    soma_program_free(p);
}

soma_tensor soma_session_input(soma_session *r, soma_value x)
{
    return input_view(r ? r->program : NULL, r ? &r->binding : NULL, x, 0);
}

soma_status soma_session_step(soma_session *r)
{
    if (!r)
        return SOMA_INVALID;
    r->reason[0] = 0;
    soma_status status = run_binding(r->program, &r->binding, 0, r->step, NULL, r->reason);
    if (status == SOMA_OK)
        r->step++;
    return status;
}

soma_tensor soma_session_read(soma_session *r, soma_value x)
{
    return read_view(r ? r->program : NULL, r ? &r->binding : NULL, x, 0);
}

const char *soma_session_error(const soma_session *r)
{
    return r ? r->reason : "";
}
