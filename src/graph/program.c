/* SPDX-License-Identifier: Apache-2.0
 *
 * graph/program.c: compiling, running and reading programs. A step is one loop over prepared calls: no allocation, no
 * decision that could have been made before.
 */
#include "graph/program.h"
#include "backend/cpu/parallel.h"
#include "base/memory.h"
#include "base/size.h"
#include "base/words.h"
#include "graph/tune.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* ---- compile ---- */

static void destroy_run(soma_run_object *r);

void soma_program_destroy(soma_program *p)
{
    soma *s = p->s;
    while (p->runs)
        destroy_run(p->runs);
    for (soma_program **link = &p->model->programs; *link; link = &(*link)->next)
        if (*link == p) {
            *link = p->next;
            break;
        }
    while (p->cleanups) {
        soma_cleanup *c = p->cleanups;
        p->cleanups = c->next;
        c->destroy(c->object);
    }
    soma_release(s, p->own.kept);
    soma_release(s, p->values);
    soma_release(s, p->steps);
    soma_graph_free(p->graph);
    soma_arena_free(&p->arena);
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

/* Where the caller's values are found after simplification: keep[0 .. n_values) wanted, then updates: the caller's, and
 * what the nodes on the way bring up to date themselves. */
static soma_status translate(soma_program *p, const soma_program_options *o, int32_t **keep, int *n_keep)
{
    int n = o->n_values + o->n_updates;
    *keep = soma_arena_array(&p->arena, (size_t)n + (size_t)p->graph->n_nodes + 1, sizeof **keep);
    p->read_of = soma_arena_array(&p->arena, (size_t)p->graph->n_values + 1, sizeof *p->read_of);
    if (!*keep || !p->read_of)
        return SOMA_MEMORY;
    p->n_caller_values = p->graph->n_values;
    for (int i = 0; i < p->n_caller_values; i++)
        p->read_of[i] = -1;
    for (int i = 0; i < n; i++)
        (*keep)[i] = i < o->n_values ? o->values[i].id : o->updates[i - o->n_values].id;
    *n_keep = n;
    return p->updates ? soma_add_updates(p->graph, *keep, n_keep) : SOMA_OK;
}

static soma_status find_inputs(soma_program *p)
{
    p->input_values = soma_arena_array(&p->arena, (size_t)p->n_values + 1, sizeof *p->input_values);
    if (!p->input_values)
        return SOMA_MEMORY;
    for (int i = 0; i < p->n_values; i++)
        if (p->values[i].storage == SOMA_STORE_INPUT)
            p->input_values[p->n_inputs++] = i;
    return SOMA_OK;
}

/* Tables that binding is still to make: calls and pointers for both input slots, and the rest of a chunk. */
static uint64_t tables_to_come(const soma_program *p)
{
    uint64_t bytes = 0;
    for (int i = 0; i < p->n_steps; i++)
        bytes += sizeof(soma_call) + (uint64_t)(p->steps[i].n_in + p->steps[i].n_out + 1) * sizeof(void *);
    return 2 * bytes * (uint64_t)(p->batch / p->piece) + 65536;
}

static uint64_t needed(const soma_program *p)
{
    return soma_program_memory(p).total + tables_to_come(p);
}

/* The largest divisor of the batch below the piece with which the program fits when the work block grows with the
 * piece; 0 where none does. */
static int64_t smaller_piece(const soma_program *p, uint64_t budget)
{
    double fixed = (double)(needed(p) - p->work_size), each = (double)p->work_size / (double)p->piece;
    for (int64_t piece = p->piece - 1; piece > 0; piece--)
        if (p->batch % piece == 0 && fixed + each * (double)piece <= (double)budget)
            return piece;
    return 0;
}

static soma_status over_budget(soma_program *p, uint64_t budget)
{
    char advice[SOMA_REASON_MAX], fits[64] = "";
    int64_t piece = smaller_piece(p, budget);
    double fixed = (double)(needed(p) - p->work_size), each = (double)p->work_size / (double)p->batch;
    if (p->whole && each > 0 && (double)budget - fixed > each)
        snprintf(fits, sizeof fits, " (about %.0f would fit)", floor(((double)budget - fixed) / each));
    if (p->whole)
        snprintf(advice, sizeof advice,
                 "micro-batches are not possible (%.300s); choose a smaller batch%s or a larger budget", p->whole,
                 fits);
    else if (piece)
        snprintf(advice, sizeof advice, "micro-batches of %lld samples would fit", (long long)piece);
    else
        snprintf(advice, sizeof advice, "choose a larger budget or a smaller model");
    return soma_fail(p->s, SOMA_MEMORY, p->at,
                     "the plan needs at least %.1f MB at batch %lld in pieces of %lld (activations %.1f MB, with "
                     "recomputation), but the budget is %.*f MB (" SOMA_FIELD("max_memory") "); %s%s",
                     (double)needed(p) / 1e6, (long long)p->batch, (long long)p->piece, (double)p->work_size / 1e6,
                     budget < 100000 ? 6 : 1, (double)budget / 1e6, advice,
                     p->tune ? ", or do not tune: kernels that the clock chose may want more scratch" : "");
}

/* Time for memory where the plan is larger than the budget: first smaller pieces (*piece is set and the program must be
 * made again), then recomputation. */
static soma_status fit_budget(soma_program *p, const soma_program_options *o, int64_t *piece)
{
    uint64_t budget = o->max_memory, need = needed(p);
    if (!budget || need <= budget)
        return SOMA_OK;
    if (!o->micro_batch && !p->whole && p->piece > 1) {
        *piece = smaller_piece(p, budget);
        *piece = *piece ? *piece : 1;
        return SOMA_MEMORY;
    }
    uint64_t fixed = need - p->work_size + tables_to_come(p); /* as much again for clones */
    soma_status status = soma_recompute(p, budget > fixed ? (size_t)(budget - fixed) : 0);
    if (status != SOMA_OK)
        return status;
    return needed(p) <= budget ? SOMA_OK : over_budget(p, budget);
}

/* Prepares, and counts what libraries take for themselves meanwhile: what the heap grows by beyond the context's
 * own. */
static soma_status select_kernels(soma_program *p)
{
    uint64_t heap = soma_heap_bytes(), own = soma_memory_use(p->s).now;
    int before = soma_parallel_enter(p->threads);
    soma_status status = soma_select(p);
    soma_parallel_leave(before);
    heap = soma_heap_bytes() - heap;
    own = soma_memory_use(p->s).now - own;
    p->library_bytes = (int64_t)heap > (int64_t)own ? heap - own : 0;
    return status;
}

/* Passes in order. With *piece set afterwards the plan did not fit: make the program again with that piece. */
static soma_status build(soma_program *p, const soma_program_options *o, int64_t *piece)
{
    int32_t *keep;
    int n_keep;
    soma_status status = soma_model_materialize(p->model);
    if (status == SOMA_OK)
        status = translate(p, o, &keep, &n_keep);
    if (status == SOMA_OK)
        status = soma_simplify(p->graph, keep, n_keep, p->training);
    p->plan_of = status == SOMA_OK ? soma_arena_array(&p->arena, (size_t)p->graph->n_values + 1, sizeof *p->plan_of)
                                   : NULL;
    if (status == SOMA_OK && !p->plan_of)
        status = SOMA_MEMORY;
    for (int i = 0; status == SOMA_OK && i < p->graph->n_values; i++)
        p->plan_of[i] = -1;
    if (status == SOMA_OK)
        status = soma_classify(p, keep, o->n_values, *piece);
    if (status == SOMA_OK && *piece && *piece != o->micro_batch)
        p->piece_reason = soma_arena_format(&p->arena, "for the budget of %.1f MB", (double)o->max_memory / 1e6);
    *piece = 0;
    if (status == SOMA_OK)
        status = select_kernels(p);
    for (int i = 0; status == SOMA_OK && i < o->n_values; i++)
        p->read_of[o->values[i].id] = p->plan_of[keep[i]];
    if (status == SOMA_OK)
        status = soma_place(p);
    if (status == SOMA_OK)
        status = fit_budget(p, o, piece);
    if (status == SOMA_OK)
        status = find_inputs(p);
    if (status == SOMA_OK)
        status = soma_describe_outputs(p);
    if (status == SOMA_OK)
        status = soma_bind(p, &p->own);
    return status == SOMA_OK ? soma_record_steps(p) : status;
}

static soma_graph *common_graph(soma_model *m, const soma_program_options *o)
{
    soma_graph *graph = NULL;
    for (int i = 0; i < o->n_values + o->n_updates; i++) {
        soma_value x = i < o->n_values ? o->values[i] : o->updates[i - o->n_values];
        if (x.graph && x.graph->failed)
            return NULL; /* told already */
        if (!soma_ok(x) || x.graph->model != m || (graph && graph != x.graph)) {
            soma_fail(m->s, SOMA_INVALID, o->at, SOMA_IN_C("compile: ") "value %d does not belong to the model \"%s\"",
                      i, m->name);
            return NULL;
        }
        graph = x.graph;
    }
    if (!graph)
        soma_fail(m->s, SOMA_INVALID, o->at, SOMA_IN_C("compile: ") "no values to compute and no updates were given");
    return graph;
}

static soma_program *compile(soma_model *m, const soma_graph *graph, const soma_program_options *o, int64_t *again)
{
    int64_t asked = *again, *piece = &asked;
    soma_program *p = soma_alloc(m->s, sizeof *p);
    *again = 0; /* a failure before the plan is final */
    if (!p)
        return NULL;
    p->bf16 = o->precision && !strcmp(o->precision, "bf16");
    p->references = 1;
    p->model = m;
    p->s = m->s;
    p->at = o->at;
    p->batch = o->batch ? o->batch : 1;
    p->threads = m->s->threads;
    p->seed = m->s->seed;
    p->tune = (o->tune || m->s->tune) && !m->s->exact;
    p->max_memory = o->max_memory;
    p->updates = o->n_updates > 0;
    for (int i = 0; i < o->n_values; i++) { /* who reads what an assigning op makes has it assign */
        int node = graph->values[o->values[i].id].node;
        p->updates = p->updates || (node >= 0 && graph->nodes[node].op->assign);
    }
    p->training = o->training || p->updates;
    soma_arena_init(&p->arena, m->s);
    p->next = m->programs;
    m->programs = p;
    p->name = soma_arena_text(&p->arena, o->name ? o->name : "program");
    p->graph = soma_graph_copy(graph, m->s);
    bool built = p->name && p->graph && build(p, o, piece) == SOMA_OK;
    if (p->name && p->graph)
        *again = *piece;
    if (!built) {
        soma_program_destroy(p);
        return NULL;
    }
    return p;
}

soma_program *soma_program_make(soma_model *m, const soma_program_options *o)
{
    if (!m)
        return NULL;
    if (o->batch < 0) {
        soma_fail(m->s, SOMA_INVALID, o->at, SOMA_IN_C("compile: ") "the batch is %lld, it must be at least 1",
                  (long long)o->batch);
        return NULL;
    }
    const soma_graph *graph = common_graph(m, o);
    bool bf16;
    if (!graph || soma_precision_parse(m->s, soma_caller(m->s, "compile: "), o->precision, o->at, &bf16) != SOMA_OK)
        return NULL;
    int64_t piece = o->micro_batch;
    soma_program *p = compile(m, graph, o, &piece);
    while (!p && piece > 0) /* smaller every time */
        p = compile(m, graph, o, &piece);
    return p;
}

soma_program *soma_compile_with(soma_model *m, const soma_program_options *o)
{
    soma_program *p = soma_program_make(m, o);
    if (p) {
        p->holds = true;
        soma_model_hold(m);
    }
    return p;
}

/* ---- run ---- */

static soma_status step_failed(const soma_program *p, const soma_call *call, soma_status status, const char *reason,
                               char *sentence)
{
    const soma_task *step = &p->steps[call->step];
    snprintf(sentence, SOMA_REASON_MAX, "%s \"%s\": %.400s", step->op->name, step->layer,
             reason[0] ? reason : soma_status_text(status));
    return status;
}

/* From call `from` to the end. */
static soma_status run_calls(const soma_program *p, soma_binding *b, int slot, int from, soma_run *run, char *sentence)
{
    const soma_call *call = b->calls[slot] + from, *end = b->calls[slot] + b->n_calls;
    for (; call < end; call++) {
        run->sample_offset = call->sample_offset;
        soma_status status = call->run(call->state, call->args, run);
        if (__builtin_expect(status != SOMA_OK, 0))
            return step_failed(p, call, status, run->reason, sentence);
    }
    return SOMA_OK;
}

static soma_status run_binding(const soma_program *p, soma_binding *b, int slot, uint64_t step, char *sentence)
{
    int threads = soma_program_threads(p);
    const char *refusal = threads > 1 ? soma_parallel_refusal(threads) : NULL;
    if (refusal) {
        snprintf(sentence, SOMA_REASON_MAX, "program \"%s\" was compiled for %d threads: %s", p->name, threads,
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
                    .random = p->s->random,
                    .exact = p->s->exact,
                    .reason = reason};
    unsigned word = soma_float_enter(!p->s->exact, threads);
    int from = b->version == p->model->version ? b->refresh_end : b->constants_done ? b->refresh_begin : 0;
    soma_status status = run_calls(p, b, slot, from, &run, sentence);
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
    if (p->own.generation != p->model->workspace->generation)
        soma_bind(p, &p->own);
}

soma_status soma_step(soma_program *p)
{
    if (!p)
        return SOMA_INVALID;
    follow_workspace(p);
    p->model->workspace->runs++;
    soma_status status = run_binding(p, &p->own, p->read_slot, p->step, p->reason);
    if (status != SOMA_OK)
        return soma_fail(p->s, status, p->at, "%s", p->reason);
    p->step++;
    if (p->updates)
        p->model->version++;
    return SOMA_OK;
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
    for (int i = 0; p && i < p->n_inputs; i++) {
        const soma_plan_value *v = &p->values[p->input_values[i]];
        if (v->graph_value == x.id && x.graph && x.graph->model == p->model)
            return v;
    }
    return NULL;
}

/* The whole batch's shape of a plan value. */
static soma_shape full_shape(const soma_program *p, const soma_plan_value *v)
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
    soma_tensor view = {v->arg.dtype, full_shape(p, v), b->inputs[slot] + v->offset};
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
        return soma_fail(p->s, SOMA_INVALID, soma_nowhere(), "feed: \"%s\" is not an input of the program \"%s\"",
                         soma_value_name(x), p->name);
    soma_type slot_type = {slot.dtype, slot.shape}, type = {tensor->dtype, tensor->shape};
    if (slot.dtype != tensor->dtype || !same_shapes(&slot.shape, &tensor->shape) || !tensor->data)
        return soma_fail(p->s, SOMA_INVALID, soma_nowhere(), "feed: input \"%s\" takes %s, got %s", soma_value_name(x),
                         soma_type_text(&slot_type, want), soma_type_text(&type, got));
    memcpy(slot.data, tensor->data, (size_t)soma_shape_elements(&slot.shape) * soma_dtype_size(slot.dtype));
    return SOMA_OK;
}

static soma_tensor read_view(const soma_program *p, const soma_binding *b, soma_value x, int slot)
{
    soma_tensor none = {SOMA_F32, {.rank = -1}, NULL};
    if (!p || !soma_ok(x) || x.graph->model != p->model || x.id >= p->n_caller_values || p->read_of[x.id] < 0)
        return none;
    const soma_plan_value *v = &p->values[p->read_of[x.id]];
    const soma_plan_value *root = &p->values[soma_plan_root(p, p->read_of[x.id])];
    const char *base = root->storage == SOMA_STORE_WORK       ? b->work + root->offset + v->within
                       : root->storage == SOMA_STORE_GRADIENT ? b->gradient + root->offset
                       : root->storage == SOMA_STORE_KEPT     ? b->kept + root->offset
                       : root->storage == SOMA_STORE_INPUT    ? b->inputs[slot] + root->offset
                       : root->storage == SOMA_STORE_TENSOR   ? (const char *)p->model->tensors[root->tensor].data
                                                              : root->bytes;
    soma_tensor view = {v->arg.dtype, full_shape(p, v), (void *)(uintptr_t)base};
    return view;
}

soma_tensor soma_read(soma_program *p, soma_value x)
{
    if (p)
        follow_workspace(p);
    return read_view(p, p ? &p->own : NULL, x, p ? p->read_slot : 0);
}

/* ---- run objects ---- */

struct soma_run_object {
    soma_program *program; /* one reference to it is ours */
    soma_run_object *next; /* in the program's list */
    soma_binding binding;
    char *block;
    uint64_t step;
    char reason[SOMA_REASON_MAX];
};

soma_run_object *soma_run_new(soma_program *p)
{
    if (!p)
        return NULL;
    if (p->updates) {
        soma_fail(p->s, SOMA_STATE, p->at,
                  "program \"%s\" updates the model, so it cannot run on several threads at once", p->name);
        return NULL;
    }
    soma_run_object *r = soma_alloc(p->s, sizeof *r);
    size_t total = p->work_size + p->gradient_size + p->kept_size + p->input_size + 64;
    char *block = r ? soma_alloc(p->s, total) : NULL;
    if (!block) {
        soma_release(p->s, r);
        return NULL;
    }
    r->program = p;
    r->next = p->runs;
    p->runs = r;
    p->references++;
    r->block = block;
    r->binding.work = block;
    r->binding.gradient = block + p->work_size;
    r->binding.kept = r->binding.gradient + p->gradient_size;
    r->binding.inputs[0] = r->binding.inputs[1] = r->binding.kept + p->kept_size;
    if (soma_bind(p, &r->binding) != SOMA_OK) {
        soma_run_free(r);
        return NULL;
    }
    return r;
}

static void destroy_run(soma_run_object *r)
{
    soma *s = r->program->s;
    soma_run_object **link = &r->program->runs;
    while (*link != r)
        link = &(*link)->next;
    *link = r->next;
    for (int slot = 0; slot < 2; slot++) {
        soma_release(s, r->binding.calls[slot]);
        soma_release(s, r->binding.args[slot]);
    }
    soma_release(s, r->block);
    soma_release(s, r);
}

void soma_run_free(soma_run_object *r)
{
    soma_program *p = r ? r->program : NULL;
    if (!r)
        return;
    destroy_run(r);
    soma_program_free(p);
}

soma_tensor soma_run_input(soma_run_object *r, soma_value x)
{
    return input_view(r ? r->program : NULL, r ? &r->binding : NULL, x, 0);
}

soma_status soma_run_step(soma_run_object *r)
{
    if (!r)
        return SOMA_INVALID;
    r->reason[0] = 0;
    soma_status status = run_binding(r->program, &r->binding, 0, r->step, r->reason);
    if (status == SOMA_OK)
        r->step++;
    return status;
}

soma_tensor soma_run_read(soma_run_object *r, soma_value x)
{
    return read_view(r ? r->program : NULL, r ? &r->binding : NULL, x, 0);
}

const char *soma_run_error(const soma_run_object *r)
{
    return r ? r->reason : "";
}
