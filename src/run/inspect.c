/* SPDX-License-Identifier: Apache-2.0
 *
 * run/inspect.c: the plan as a person or a test reads it: memory, nodes, times.
 */
#include "run/program.h"
#include "compile/choose/select.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- a program's plan ---- */

soma_plan_memory soma_program_memory(const soma_program *p)
{
    soma_plan_memory m = {0};
    if (!p)
        return m;
    m = soma_plan_bytes(p->plan);
    uint64_t tables = soma_binding_bytes(p->plan);
    m.tables += tables;
    m.total += tables;
    return m;
}

int soma_program_nodes(const soma_program *p)
{
    return p ? p->plan->n_tasks : 0;
}

soma_plan_node soma_program_node(const soma_program *p, int index)
{
    soma_plan_node node = {.op = ""};
    if (!p || index < 0 || index >= p->plan->n_tasks)
        return node;
    const soma_plan *plan = p->plan;
    const soma_task *task = &plan->tasks[index];
    bool view = (task->op->alias || task->nested) &&
                soma_plan_root(plan, task->out[0]) == soma_plan_root(plan, task->in[0]);
    double runs = view ? 0 : soma_task_runs(plan, task);
    node.op = task->op->name;
    node.layer = task->layer;
    node.kernel = view ? "view" : task->kernel->name;
    node.note = task->note;
    node.refused = task->refused ? task->refused : "";
    node.chosen = task->chosen && !view ? task->chosen : "";
    node.phase = task->assigns || task->class == SOMA_CLASS_WHOLE ? "epilogue"
                 : task->class <= SOMA_CLASS_STEP                 ? "prologue"
                                                                  : "body";
    node.output = task->output;
    node.flops = task->flops * runs;
    node.bytes = task->bytes * runs;
    node.seconds = p->seconds ? p->seconds[index] : 0;
    node.recomputed = task->recomputed;
    node.n_in = task->n_in;
    node.n_out = task->n_out;
    return node;
}

/* The task before `before` that wrote the value last, or else the last one of all: sums go from piece to piece. */
static int writer_of(const soma_plan *p, int32_t value, int before, int *output)
{
    for (int k = 1; k <= p->n_tasks; k++) {
        int i = (before - k + p->n_tasks) % p->n_tasks;
        for (*output = 0; *output < p->tasks[i].n_out; ++*output)
            if (p->tasks[i].out[*output] == value)
                return i;
    }
    return *output = -1;
}

static soma_plan_array describe_array(const soma_plan *p, int32_t value, int node, int output)
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

/* The plan where it has such a node, else NULL. */
static const soma_plan *plan_with(const soma_program *p, int node)
{
    return p && node >= 0 && node < p->plan->n_tasks ? p->plan : NULL;
}

soma_plan_array soma_program_node_input(const soma_program *p, int node, int index)
{
    const soma_plan *plan = plan_with(p, node);
    int32_t value = plan && index >= 0 && index < plan->tasks[node].n_in ? plan->tasks[node].in[index] : -1;
    int output, writer = value >= 0 ? writer_of(plan, value, node, &output) : -1;
    return describe_array(plan, value, writer, writer >= 0 ? output : -1);
}

soma_plan_array soma_program_node_output(const soma_program *p, int node, int index)
{
    const soma_plan *plan = plan_with(p, node);
    int32_t value = plan && index >= 0 && index < plan->tasks[node].n_out ? plan->tasks[node].out[index] : -1;
    return describe_array(plan, value, node, index);
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
    r.saved = p ? p->plan->recompute_saved : 0;
    return r;
}

int64_t soma_program_micro_batch(const soma_program *p)
{
    return p ? p->plan->piece : 0;
}

const char *soma_program_micro_batch_reason(const soma_program *p)
{
    return p ? p->plan->piece_reason : "";
}

int soma_program_threads(const soma_program *p)
{
    return !p ? 0 : p->plan->parallel ? p->plan->threads : 1;
}

uint64_t soma_program_fingerprint(const soma_program *p)
{
    return p ? p->plan->fingerprint : 0;
}

/* ---- times ---- */

static int ascending(const void *a, const void *b)
{
    const double *x = a, *y = b;
    return *x < *y ? -1 : *x > *y;
}

typedef struct stopwatch {
    soma_watch watch;
    soma *s;
    double *sums; /* per task */
    double last;
} stopwatch;

static void called(soma_watch *w, int task)
{
    stopwatch *t = (stopwatch *)w;
    if (task >= 0)
        t->sums[task] += soma_now(t->s) - t->last;
    t->last = soma_now(t->s);
}

soma_status soma_program_time(soma_program *p, int steps)
{
    if (!p || steps < 1)
        return SOMA_INVALID;
    soma *s = p->plan->s;
    size_t n = (size_t)p->plan->n_tasks;
    soma_status status = soma_step(p); /* pages touched, kept copies made */
    double *sums = soma_alloc_array(s, n * (size_t)steps + 1, sizeof *sums);
    double *column = soma_alloc_array(s, (size_t)steps, sizeof *column);
    if (!p->seconds)
        p->seconds = soma_alloc_array(s, n + 1, sizeof *p->seconds);
    if (!sums || !column || !p->seconds)
        status = SOMA_MEMORY;
    for (int i = 0; i < steps && status == SOMA_OK; i++) {
        stopwatch t = {.watch = {called}, .s = s, .sums = sums + (size_t)i * n};
        status = soma_step_watched(p, &t.watch);
    }
    for (size_t k = 0; k < n && status == SOMA_OK; k++) {
        for (int i = 0; i < steps; i++)
            column[i] = sums[(size_t)i * n + k];
        qsort(column, (size_t)steps, sizeof *column, ascending);
        p->seconds[k] = column[steps / 2];
    }
    soma_release(s, sums);
    soma_release(s, column);
    return status;
}
