/* SPDX-License-Identifier: Apache-2.0
 *
 * compile/compile.c: from a graph to a plan: the passes in their order (build).
 */
#include "cpu/parallel.h"
#include "base/memory.h"
#include "base/words.h"
#include "compile/plan.h"

#include <string.h>

/* Where the caller's values are found after simplification: keep[0 .. n_values) wanted, then updates: the caller's, and
 * what the nodes on the way bring up to date themselves. */
static soma_status translate(soma_plan *p, const soma_program_options *o, int32_t **keep, int *n_keep)
{
    int n = o->n_values + o->n_updates;
    *keep = soma_arena_array(&p->room.arena, (size_t)n + (size_t)p->graph->n_nodes + 1, sizeof **keep);
    p->read_of = soma_arena_array(&p->room.arena, (size_t)p->graph->n_values + 1, sizeof *p->read_of);
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

static soma_status find_inputs(soma_plan *p)
{
    p->input_values = soma_arena_array(&p->room.arena, (size_t)p->n_values + 1, sizeof *p->input_values);
    if (!p->input_values)
        return SOMA_MEMORY;
    for (int i = 0; i < p->n_values; i++)
        if (p->values[i].storage == SOMA_STORE_INPUT)
            p->input_values[p->n_inputs++] = i;
    return SOMA_OK;
}

/* Prepares, and counts what libraries take for themselves meanwhile: what the heap grows by beyond the context's
 * own. */
static soma_status select_kernels(soma_plan *p)
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

/* Passes in order. With *piece set afterwards the plan did not fit: make it again with that piece. */
static soma_status build(soma_plan *p, const soma_program_options *o, int64_t *piece)
{
    int32_t *keep;
    int n_keep;
    soma_status status = soma_model_materialize(p->model);
    if (status == SOMA_OK)
        status = translate(p, o, &keep, &n_keep);
    if (status == SOMA_OK)
        status = soma_simplify(p->graph, keep, n_keep, p->training);
    p->plan_of = status == SOMA_OK
                     ? soma_arena_array(&p->room.arena, (size_t)p->graph->n_values + 1, sizeof *p->plan_of)
                     : NULL;
    if (status == SOMA_OK && !p->plan_of)
        status = SOMA_MEMORY;
    for (int i = 0; status == SOMA_OK && i < p->graph->n_values; i++)
        p->plan_of[i] = -1;
    if (status == SOMA_OK)
        status = soma_classify(p, keep, o->n_values, *piece);
    if (status == SOMA_OK && *piece && *piece != o->micro_batch)
        p->piece_reason = soma_arena_format(&p->room.arena, "for the budget of %.1f MB", (double)o->max_memory / 1e6);
    *piece = 0;
    if (status == SOMA_OK)
        status = select_kernels(p);
    for (int i = 0; status == SOMA_OK && i < o->n_values; i++)
        p->read_of[o->values[i].id] = p->plan_of[keep[i]];
    if (status == SOMA_OK)
        status = soma_place(p);
    if (status == SOMA_OK)
        status = soma_fit_budget(p, o, piece);
    if (status == SOMA_OK)
        status = find_inputs(p);
    if (status == SOMA_OK)
        status = soma_describe_outputs(p);
    return status;
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

static soma_plan *make(soma_model *m, const soma_graph *graph, const soma_program_options *o, int64_t *again)
{
    int64_t asked = *again, *piece = &asked;
    soma_plan *p = soma_alloc(m->s, sizeof *p);
    *again = 0; /* a failure before the plan is final */
    if (!p)
        return NULL;
    p->bf16 = o->precision && !strcmp(o->precision, "bf16");
    p->model = m;
    p->s = m->s;
    p->at = o->at;
    p->batch = o->batch ? o->batch : 1;
    p->threads = m->s->threads;
    p->tune = (o->tune || m->s->tune) && !m->s->exact;
    p->max_memory = o->max_memory;
    p->updates = o->n_updates > 0;
    for (int i = 0; i < o->n_values; i++) { /* who reads what an assigning op makes has it assign */
        int node = graph->values[o->values[i].id].node;
        p->updates = p->updates || (node >= 0 && graph->nodes[node].op->assign);
    }
    p->training = o->training || p->updates;
    soma_prepare_room_open(&p->room, m->s);
    p->name = soma_arena_text(&p->room.arena, o->name ? o->name : "program");
    p->graph = soma_graph_copy(graph, m->s);
    bool built = p->name && p->graph && build(p, o, piece) == SOMA_OK;
    if (p->name && p->graph)
        *again = *piece;
    if (built)
        return p;
    soma_plan_free(p);
    return NULL;
}

soma_plan *soma_plan_make(soma_model *m, const soma_program_options *o)
{
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
    soma_plan *p = make(m, graph, o, &piece);
    while (!p && piece > 0) /* smaller every time */
        p = make(m, graph, o, &piece);
    return p;
}

void soma_plan_free(soma_plan *p)
{
    if (!p)
        return;
    soma *s = p->s;
    soma_release(s, p->values);
    soma_release(s, p->tasks);
    soma_graph_free(p->graph);
    soma_prepare_room_close(&p->room);
    soma_release(s, p);
}
