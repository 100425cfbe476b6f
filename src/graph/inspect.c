/* SPDX-License-Identifier: Apache-2.0
 *
 * graph/inspect.c: the plan as a person or a test reads it: memory, nodes, times.
 */
#include "backend/cpu/parallel.h"
#include "graph/select.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- a model's nodes ---- */

int soma_model_nodes(const soma_model *m)
{
    return m ? m->graph->n_nodes : 0;
}

/* Does an earlier node read that tensor? */
static bool read_before(const soma_graph *g, int node, int32_t value)
{
    for (int i = 0; i < node; i++)
        for (int j = 0; j < g->nodes[i].n_in; j++)
            if (g->nodes[i].in[j] == value)
                return true;
    return false;
}

static soma_arg one_sample(const soma_graph *g, int32_t value)
{
    soma_arg arg = {.shape = {.rank = -1}};
    if (value < 0)
        return arg;
    const soma_type *type = &g->values[value].type;
    arg.dtype = type->dtype;
    arg.shape = type->shape;
    arg.elements = 1;
    for (int i = 0; i < type->shape.rank; i++) {
        arg.batched = arg.batched || (i == 0 && type->shape.dim[i] < 0);
        arg.shape.dim[i] = type->shape.dim[i] < 0 ? -type->shape.dim[i] : type->shape.dim[i];
        arg.elements *= arg.shape.dim[i];
    }
    return arg;
}

static double node_flops(const soma_graph *g, const soma_graph_node *node)
{
    soma_arg in[8], out[4];
    if (!node->op->flops || node->n_in > 8 || node->n_out > 4)
        return 0;
    for (int j = 0; j < node->n_in; j++)
        in[j] = one_sample(g, node->in[j]);
    for (int j = 0; j < node->n_out; j++)
        out[j] = one_sample(g, node->out[j]);
    return node->op->flops(node->attrs, in, node->n_in, out);
}

soma_model_node soma_model_node_at(const soma_model *m, int index)
{
    soma_model_node n = {.op = "", .layer = ""};
    if (!m || index < 0 || index >= m->graph->n_nodes)
        return n;
    const soma_graph *g = m->graph;
    const soma_graph_node *node = &g->nodes[index];
    n.op = node->op->name;
    n.layer = node->layer;
    if (node->out[0] >= 0)
        n.output = g->values[node->out[0]].type;
    n.flops = node_flops(g, node);
    for (int j = 0; j < node->n_in; j++) {
        int32_t id = node->in[j];
        if (id < 0 || g->values[id].kind != SOMA_VALUE_TENSOR || read_before(g, index, id))
            continue;
        const soma_model_tensor *t = &m->tensors[g->values[id].tensor];
        int64_t elements = soma_shape_elements(&t->type.shape);
        if (t->buffer) {
            n.buffers += elements;
            continue;
        }
        n.parameters += elements;
        n.trainable += t->frozen ? 0 : elements;
    }
    return n;
}

/* ---- a program's plan ---- */

soma_plan_memory soma_program_memory(const soma_program *p)
{
    soma_plan_memory m = {0};
    if (!p)
        return m;
    for (int i = 0; i < p->model->n_tensors; i++) {
        const soma_model_tensor *t = &p->model->tensors[i];
        size_t bytes = (size_t)soma_shape_elements(&t->type.shape) * soma_dtype_size(t->type.dtype);
        *(t->slot ? &m.state : &m.parameters) += (bytes + 63) & ~(size_t)63;
    }
    m.gradients = p->gradient_size + p->large_gradients;
    m.activations = p->work_size - p->large_gradients;
    m.inputs = 2 * p->input_size;
    m.packed = p->kept_size;
    m.tables = p->arena.bytes + p->graph->arena.bytes;
    m.tables += (uint64_t)p->n_values * sizeof *p->values + (uint64_t)p->n_steps * sizeof *p->steps;
    m.library = p->library_bytes;
    m.total = m.parameters + m.state + m.gradients + m.activations + m.inputs + m.packed + m.tables + m.library;
    return m;
}

int soma_program_nodes(const soma_program *p)
{
    return p ? p->n_steps : 0;
}

const char *soma_layout_name(soma_layout_kind kind)
{
    static const char *const names[] = {"plain", "nhwc", "nChw8c", "nChw16c", "packed"};
    return names[kind];
}

double soma_runs_per_step(const soma_program *p, const soma_task *step)
{
    bool body = soma_in_body(step);
    double pieces = (double)(p->batch / p->piece);
    return !body ? 1 : step->skip_first ? pieces - 1 : pieces;
}

soma_plan_node soma_program_node(const soma_program *p, int index)
{
    soma_plan_node node = {.op = ""};
    if (!p || index < 0 || index >= p->n_steps)
        return node;
    const soma_task *step = &p->steps[index];
    bool view = (step->op->view || step->nested) && soma_plan_root(p, step->out[0]) == soma_plan_root(p, step->in[0]);
    double runs = view ? 0 : soma_runs_per_step(p, step);
    node.op = step->op->name;
    node.layer = step->layer;
    node.kernel = view ? "view" : step->kernel->name;
    node.note = step->note;
    node.refused = step->refused ? step->refused : "";
    node.chosen = step->chosen && !view ? step->chosen : "";
    node.phase = step->assigns || step->class == SOMA_CLASS_WHOLE ? "epilogue"
                 : step->class <= SOMA_CLASS_STEP                 ? "prologue"
                                                                  : "body";
    node.output = step->output;
    node.flops = step->flops * runs;
    node.bytes = step->bytes * runs;
    node.seconds = step->seconds;
    node.recomputed = step->recomputed;
    node.n_in = step->n_in;
    node.n_out = step->n_out;
    return node;
}

/* The step before `before` that wrote the value last, or else the last one of all: sums go from piece to piece. */
static int writer_of(const soma_program *p, int32_t value, int before, int *output)
{
    for (int k = 1; k <= p->n_steps; k++) {
        int i = (before - k + p->n_steps) % p->n_steps;
        for (*output = 0; *output < p->steps[i].n_out; ++*output)
            if (p->steps[i].out[*output] == value)
                return i;
    }
    return *output = -1;
}

static soma_plan_array describe_array(const soma_program *p, int32_t value, int node, int output)
{
    soma_plan_array a = {.source = "none", .name = "", .node = -1, .output = -1, .layout = ""};
    a.type.shape.rank = -1;
    if (value < 0)
        return a;
    const soma_plan_value *v = &p->values[value];
    a.source = "node";
    a.node = node;
    a.output = output;
    a.type = (soma_type){v->arg.dtype, v->arg.shape};
    a.layout = soma_layout_name(v->arg.layout.kind);
    a.bytes = soma_arg_bytes(&v->arg);
    if (node >= 0)
        return a;
    a.source = v->storage == SOMA_STORE_TENSOR ? "tensor" : v->storage == SOMA_STORE_INPUT ? "input" : "constant";
    if (v->storage == SOMA_STORE_TENSOR)
        a.name = p->model->tensors[v->tensor].name;
    else if (v->storage == SOMA_STORE_INPUT)
        a.name = p->graph->values[v->graph_value].name;
    return a;
}

soma_plan_array soma_program_node_input(const soma_program *p, int node, int index)
{
    bool known = p && node >= 0 && node < p->n_steps && index >= 0 && index < p->steps[node].n_in;
    int32_t value = known ? p->steps[node].in[index] : -1;
    int output, writer = value >= 0 ? writer_of(p, value, node, &output) : -1;
    return describe_array(p, value, writer, writer >= 0 ? output : -1);
}

soma_plan_array soma_program_node_output(const soma_program *p, int node, int index)
{
    bool known = p && node >= 0 && node < p->n_steps && index >= 0 && index < p->steps[node].n_out;
    return describe_array(p, known ? p->steps[node].out[index] : -1, node, index);
}

soma_plan_recomputation soma_program_recomputed(const soma_program *p)
{
    soma_plan_recomputation r = {0};
    double flops = 0;
    for (int i = 0; i < soma_program_nodes(p); i++) {
        soma_plan_node node = soma_program_node(p, i);
        r.nodes += node.recomputed;
        *(node.recomputed ? &r.flops : &flops) += node.flops;
    }
    r.share = flops > 0 ? r.flops / flops : 0;
    r.saved = p ? p->recompute_saved : 0;
    return r;
}

/* "f32[16,32,28,28] nChw16c" of output 0, made once at compile. */
soma_status soma_describe_outputs(soma_program *p)
{
    for (int i = 0; i < p->n_steps; i++) {
        soma_task *step = &p->steps[i];
        int32_t out = step->n_out ? step->out[0] : -1;
        char text[96] = "";
        if (out >= 0) {
            soma_type type = {p->values[out].arg.dtype, p->values[out].arg.shape};
            soma_type_text(&type, text);
        }
        step->output = soma_arena_format(&p->arena, "%s%s%s", text, out >= 0 ? " " : "",
                                         out >= 0 ? soma_layout_name(p->values[out].arg.layout.kind) : "");
        if (!step->output)
            return SOMA_MEMORY;
    }
    return SOMA_OK;
}

int64_t soma_program_micro_batch(const soma_program *p)
{
    return p ? p->piece : 0;
}

const char *soma_program_micro_batch_reason(const soma_program *p)
{
    return p ? p->piece_reason : "";
}

int soma_program_threads(const soma_program *p)
{
    return !p ? 0 : p->parallel ? p->threads : 1;
}

uint64_t soma_program_record(const soma_program *p)
{
    return p ? p->record : 0;
}

/* ---- times ---- */

static int ascending(const void *a, const void *b)
{
    const double *x = a, *y = b;
    return *x < *y ? -1 : *x > *y;
}

/* One step with the clock read around every call; adds to sums[step]. */
static soma_status timed_step(soma_program *p, double *sums)
{
    soma_binding *b = &p->own;
    char reason[SOMA_REASON_MAX] = "";
    int threads = soma_program_threads(p);
    soma_run run = {.threads = threads,
                    .seed = p->seed,
                    .step = p->step,
                    .random = p->s->random,
                    .exact = p->s->exact,
                    .reason = reason};
    int before = soma_parallel_enter(threads);
    unsigned word = soma_float_enter(!p->s->exact, threads);
    soma_status status = SOMA_OK;
    int from = p->updates || b->version != p->model->version ? 0 : b->refresh_end;
    for (int i = from; i < b->n_calls && status == SOMA_OK; i++) {
        const soma_call *call = &b->calls[p->read_slot][i];
        run.sample_offset = call->sample_offset;
        double begin = soma_now(p->s);
        status = call->run(call->state, call->args, &run);
        sums[call->step] += soma_now(p->s) - begin;
    }
    soma_float_leave(word, threads);
    soma_parallel_leave(before);
    if (status != SOMA_OK)
        return soma_fail(p->s, status, p->at, "timing program \"%s\": %s", p->name, reason);
    p->step++;
    b->constants_done = true;
    if (p->updates)
        p->model->version++;
    return SOMA_OK;
}

soma_status soma_program_time(soma_program *p, int steps)
{
    if (!p || steps < 1)
        return SOMA_INVALID;
    soma_status status = soma_step(p); /* pages touched, kept copies made */
    double *sums = soma_alloc_array(p->s, (size_t)p->n_steps * (size_t)steps + 1, sizeof *sums);
    double *column = soma_alloc_array(p->s, (size_t)steps, sizeof *column);
    if (!sums || !column)
        status = SOMA_MEMORY;
    for (int i = 0; i < steps && status == SOMA_OK; i++)
        status = timed_step(p, sums + (size_t)i * (size_t)p->n_steps);
    for (int k = 0; k < p->n_steps && status == SOMA_OK; k++) {
        for (int i = 0; i < steps; i++)
            column[i] = sums[(size_t)i * (size_t)p->n_steps + (size_t)k];
        qsort(column, (size_t)steps, sizeof *column, ascending);
        p->steps[k].seconds = column[steps / 2];
    }
    soma_release(p->s, sums);
    soma_release(p->s, column);
    return status;
}
