/* SPDX-License-Identifier: Apache-2.0
 *
 * compile/classify.c: from a simplified graph to plan values and tasks in running order: what runs once, once per step,
 * once per piece of the batch, and after the last piece. Chooses the piece.
 */
#include "base/size.h"
#include "base/words.h"
#include "compile/plan.h"
#include "cpu/parallel.h"

#include <string.h>

int32_t soma_plan_add_value(soma_plan *p, const soma_plan_value *value)
{
    if (soma_grow(p->s, &p->values, &p->value_capacity, p->n_values + 1, sizeof *value) != SOMA_OK)
        return -1;
    p->values[p->n_values] = *value;
    return p->n_values++;
}

soma_task *soma_plan_add_task(soma_plan *p, const soma_task *task)
{
    if (soma_grow(p->s, &p->tasks, &p->task_capacity, p->n_tasks + 1, sizeof *task) != SOMA_OK)
        return NULL;
    p->tasks[p->n_tasks] = *task;
    return &p->tasks[p->n_tasks++];
}

double soma_task_runs(const soma_plan *p, const soma_task *task)
{
    bool body = soma_in_body(task);
    double pieces = (double)(p->batch / p->piece);
    return !body ? 1 : task->skip_first ? pieces - 1 : pieces;
}

bool soma_op_assigns(const soma_task *task, int out, int *in)
{
    int which = task->op->assign ? task->op->assign(task->attrs, task->n_in, out) : -1;
    if (in)
        *in = which;
    return which >= 0;
}

static bool batched(const soma_type *type)
{
    return type->shape.rank > 0 && type->shape.dim[0] < 0;
}

/* Shape for n samples; false on overflow or beyond the limits. */
static bool bind_shape(const soma_shape *symbolic, int64_t n, soma_shape *shape, int64_t *elements)
{
    *shape = *symbolic;
    *elements = 1;
    for (int i = 0; i < symbolic->rank; i++) {
        int64_t d = symbolic->dim[i];
        if (d < 0 && !soma_i64_mul(-d, n, &d))
            return false;
        shape->dim[i] = d;
        if (!soma_i64_mul(*elements, d, elements))
            return false;
    }
    return *elements > 0 && *elements < ((int64_t)1 << 48);
}

static int32_t add_plan_value(soma_plan *p, int32_t id)
{
    if (p->plan_of[id] >= 0)
        return p->plan_of[id];
    const soma_graph_value *g = &p->graph->values[id];
    soma_plan_value v = {
        .graph_value = id, .tensor = g->tensor, .alias = -1, .sum = -1, .bytes = g->bytes, .first = -1, .last = -1};
    v.arg.dtype = g->type.dtype;
    v.arg.batched = batched(&g->type);
    v.arg.constant = g->kind == SOMA_VALUE_CONSTANT || (g->kind == SOMA_VALUE_TENSOR && !p->updates);
    v.storage = g->kind == SOMA_VALUE_INPUT      ? SOMA_STORE_INPUT
                : g->kind == SOMA_VALUE_TENSOR   ? SOMA_STORE_TENSOR
                : g->kind == SOMA_VALUE_CONSTANT ? SOMA_STORE_CONSTANT
                                                 : SOMA_STORE_NONE;
    v.class = g->kind == SOMA_VALUE_INPUT    ? (v.arg.batched ? SOMA_CLASS_SAMPLE : SOMA_CLASS_STEP)
              : g->kind == SOMA_VALUE_TENSOR ? SOMA_CLASS_STATE
                                             : SOMA_CLASS_CONSTANT;
    p->plan_of[id] = soma_plan_add_value(p, &v);
    return p->plan_of[id];
}

/* Where the batch stands elsewhere than in front, pieces of the batch are not slices of memory. */
static bool batch_in_front(const soma_shape *shape)
{
    for (int i = 0; i < shape->rank; i++)
        if (shape->dim[i] < (i == 0 ? -1 : 0))
            return false;
    return true;
}

/* Of the values that a node makes. One that makes samples runs with the samples, whatever it reads (a constant that is
 * expanded, say). */
static soma_class class_of(const soma_plan *p, const soma_graph_node *node, const char **why)
{
    soma_class class = SOMA_CLASS_CONSTANT;
    bool sample = false, sum = false;
    for (int j = 0; j < node->n_in; j++) {
        if (node->in[j] < 0)
            continue;
        soma_class c = p->values[p->plan_of[node->in[j]]].class;
        sample = sample || c == SOMA_CLASS_SAMPLE;
        sum = sum || c == SOMA_CLASS_SUM || c == SOMA_CLASS_WHOLE;
        class = c > class ? c : class;
    }
    for (int j = 0; j < node->n_out; j++)
        sample = sample || (node->out[j] >= 0 && batched(&p->graph->values[node->out[j]].type));
    if (sample && class < SOMA_CLASS_SAMPLE)
        class = SOMA_CLASS_SAMPLE;
    if (node->op->random && class < SOMA_CLASS_STEP)
        class = SOMA_CLASS_STEP;
    if (sum && sample)
        *why = "needs a sum over the batch together with the single samples";
    return sum ? SOMA_CLASS_WHOLE : class;
}

static soma_batch_rule rule_of(const soma_graph_node *node)
{
    return node->op->batch_rule ? node->op->batch_rule(node->attrs) : node->op->batch;
}

/* May what the pieces make be added? Not where something that is no sample, or an activation, comes on top of each. */
static bool adds_up(const soma_plan *p, const soma_graph_node *node)
{
    for (int j = 0; j < node->n_in; j++)
        if (node->in[j] >= 0 && !batched(&p->graph->values[node->in[j]].type))
            return false;
    const int *activation = soma_activation_in(node->op, node->attrs);
    return rule_of(node) == SOMA_BATCH_SUM && (!activation || !*activation);
}

static soma_class output_class(const soma_plan *p, const soma_graph_node *node, soma_class class, int out,
                               const char **why)
{
    const soma_type *type = &p->graph->values[node->out[out]].type;
    if (!batch_in_front(&type->shape))
        *why = "has the batch elsewhere than in front";
    if (class != SOMA_CLASS_SAMPLE)
        return class;
    if (rule_of(node) == SOMA_BATCH_WHOLE)
        *why = "needs all samples at once";
    if (batched(type))
        return SOMA_CLASS_SAMPLE;
    if (!*why && !adds_up(p, node))
        *why = "makes something of the whole batch that cannot be added up";
    return SOMA_CLASS_SUM;
}

/* Assigning tasks run last: what they make is read by other assigning tasks only. */
static soma_status check_reads(const soma_plan *p, const soma_graph_node *node)
{
    for (int j = 0; j < node->n_in; j++) {
        int made = node->in[j] >= 0 ? p->graph->values[node->in[j]].node : -1;
        const soma_graph_node *maker = made >= 0 ? &p->graph->nodes[made] : NULL;
        if (maker && maker->op && maker->op->assign && !node->op->assign)
            return soma_fail(p->s, SOMA_INVALID, p->at,
                             "program \"%s\": %s \"%s\" reads what %s \"%s\" assigns at the end of the "
                             "step; read the tensor itself, in a program that runs afterwards",
                             p->name, node->op->name, node->layer, maker->op->name, maker->layer);
    }
    return SOMA_OK;
}

/* Plan values and tasks in the graph's order. `whole`: why the batch cannot be cut, or NULL. */
static soma_status add_tasks(soma_plan *p, char **whole)
{
    for (int i = 0; i < p->graph->n_nodes; i++) {
        const soma_graph_node *node = &p->graph->nodes[i];
        if (!node->op)
            continue;
        soma_status status = check_reads(p, node);
        if (status != SOMA_OK)
            return status;
        soma_task task = {.op = node->op,
                          .attrs = node->attrs,
                          .n_in = node->n_in,
                          .n_out = node->n_out,
                          .layer = node->layer,
                          .site = node->site};
        task.in = soma_arena_array(&p->room.arena, (size_t)node->n_in + 1, sizeof *task.in);
        task.out = soma_arena_array(&p->room.arena, (size_t)node->n_out + 1, sizeof *task.out);
        if (!task.in || !task.out)
            return SOMA_MEMORY;
        for (int j = 0; j < node->n_in; j++) {
            task.in[j] = node->in[j] >= 0 ? add_plan_value(p, node->in[j]) : -1;
            if (node->in[j] >= 0 && task.in[j] < 0)
                return SOMA_MEMORY;
        }
        const char *why = NULL;
        task.class = class_of(p, node, &why);
        for (int j = 0; j < node->n_out; j++) {
            task.out[j] = node->out[j] >= 0 ? add_plan_value(p, node->out[j]) : -1;
            if (node->out[j] < 0)
                continue;
            if (task.out[j] < 0)
                return SOMA_MEMORY;
            soma_plan_value *v = &p->values[task.out[j]];
            v->class = output_class(p, node, task.class, j, &why);
            v->arg.constant = v->class <= SOMA_CLASS_STATE && !p->updates; /* folded weights, say */
            task.assigns = task.assigns || soma_op_assigns(&task, j, NULL);
        }
        if (task.assigns && task.class == SOMA_CLASS_SAMPLE)
            why = "assigns from the single samples";
        if (why && !*whole)
            *whole = soma_arena_format(&p->room.arena, "%s \"%s\" %s", node->op->name, node->layer, why);
        if (!soma_plan_add_task(p, &task))
            return SOMA_MEMORY;
    }
    return SOMA_OK;
}

/* One piece: sums are complete at once and whatever follows them is ordinary work. */
static void uncut(soma_plan *p)
{
    for (int i = 0; i < p->n_values; i++)
        if (p->values[i].class > SOMA_CLASS_SAMPLE)
            p->values[i].class = SOMA_CLASS_SAMPLE;
    for (int i = 0; i < p->n_tasks; i++)
        if (p->tasks[i].class > SOMA_CLASS_SAMPLE)
            p->tasks[i].class = SOMA_CLASS_SAMPLE;
}

/* ---- the piece ---- */

/* Bytes of activations per sample, and of the sums that each piece adds to. */
static void traffic(const soma_plan *p, double *sample, double *sums)
{
    *sample = *sums = 0;
    for (int i = 0; i < p->n_values; i++) {
        const soma_plan_value *v = &p->values[i];
        soma_shape shape;
        int64_t elements;
        if (!bind_shape(&p->graph->values[v->graph_value].type.shape, 1, &shape, &elements))
            continue;
        bool half = p->bf16 && v->arg.batched && v->arg.dtype == SOMA_F32; /* most of them */
        double bytes = (double)elements * (double)soma_dtype_size(half ? SOMA_BF16 : v->arg.dtype);
        if (v->class == SOMA_CLASS_SAMPLE)
            *sample += bytes;
        else if (v->class == SOMA_CLASS_SUM)
            *sums += bytes;
    }
}

/* The largest divisor of the batch whose activations stay in the cache; all of it where they do anyway, or where adding
 * up the sums once per piece would cost more than the cache saves. */
static int64_t choose_piece(soma_plan *p)
{
    double sample, sums, cache = (double)soma_cache_bytes();
    traffic(p, &sample, &sums);
    double all = sample * (double)p->batch;
    if (all <= cache) {
        p->piece_reason = soma_arena_format(
            &p->room.arena, "one piece: %.1f MB of activations stay in %.1f MB of cache", all / 1e6, cache / 1e6);
        return p->batch;
    }
    int64_t piece = (int64_t)((double)p->batch * (cache / all)) + 1; /* none larger fits */
    piece = piece > p->batch ? p->batch : piece;
    while (piece > 1 && (p->batch % piece || sample * (double)piece > cache))
        piece--;
    int64_t pieces = p->batch / piece;
    int64_t least = 4 * (int64_t)p->threads;
    if (piece < least || sums * (double)(pieces - 1) > all) {
        p->piece_reason = soma_arena_format(
            &p->room.arena, "one piece: pieces of %lld samples would fit the cache, but %s", (long long)piece,
            piece < least ? "are too few for the threads" : "adding up the sums would cost more than the cache saves");
        return p->batch;
    }
    p->piece_reason = soma_arena_format(&p->room.arena,
                                        "%.1f MB of activations in pieces of %.1f MB, for %.1f MB of cache", all / 1e6,
                                        sample * (double)piece / 1e6, cache / 1e6);
    return piece;
}

static soma_status set_piece(soma_plan *p, int64_t asked, const char *whole)
{
    if (asked && (asked < 1 || asked > p->batch || p->batch % asked)) {
        int64_t near = asked < 1 ? 1 : asked > p->batch ? p->batch : asked;
        while (p->batch % near)
            near--;
        return soma_fail(p->s, SOMA_INVALID, p->at,
                         SOMA_FIELD("micro_batch") ": a piece of %lld samples does not divide the batch of %lld; a "
                                                   "micro-batch of %lld does",
                         (long long)asked, (long long)p->batch, (long long)near);
    }
    p->whole = whole;
    if (whole) {
        p->piece = p->batch;
        p->piece_reason = soma_arena_format(&p->room.arena, "one piece: %s", whole);
        if (asked && asked != p->batch)
            return soma_fail(p->s, SOMA_INVALID, p->at,
                             SOMA_FIELD("micro_batch") ": the batch cannot be cut into pieces: %s; leave it out, a "
                                                       "smaller batch or a memory budget saves memory as well",
                             whole);
    } else if (asked) {
        p->piece = asked;
        p->piece_reason = "asked for";
    } else {
        p->piece = choose_piece(p);
    }
    if (p->piece == p->batch)
        uncut(p);
    return p->piece_reason ? SOMA_OK : SOMA_MEMORY;
}

/* ---- sums over pieces, order ---- */

/* After a task that makes a sum: sum += part, left out on the first piece, which writes the sum itself. */
static soma_status add_sums(soma_plan *p)
{
    int n = p->n_tasks;
    soma_task *old = p->tasks;
    p->tasks = NULL;
    p->n_tasks = p->task_capacity = 0;
    soma_status status = SOMA_OK;
    for (int i = 0; i < n && status == SOMA_OK; i++) {
        for (int j = 0; j < old[i].n_in; j++)
            if (old[i].in[j] >= 0 && p->values[old[i].in[j]].sum >= 0)
                old[i].in[j] = p->values[old[i].in[j]].sum;
        status = soma_plan_add_task(p, &old[i]) ? SOMA_OK : SOMA_MEMORY;
        for (int j = 0; j < old[i].n_out && status == SOMA_OK; j++) {
            int32_t part = old[i].out[j];
            if (part < 0 || p->values[part].class != SOMA_CLASS_SUM)
                continue;
            soma_plan_value sum = p->values[part];
            sum.class = SOMA_CLASS_WHOLE;
            int32_t id = soma_plan_add_value(p, &sum);
            soma_task add = {.op = soma_ops.accumulate,
                             .n_in = 2,
                             .n_out = 1,
                             .layer = old[i].layer,
                             .site = old[i].site,
                             .class = SOMA_CLASS_SAMPLE,
                             .skip_first = true};
            add.in = soma_arena_array(&p->room.arena, 3, sizeof *add.in);
            add.attrs = soma_arena_alloc(&p->room.arena, 1);
            if (id < 0 || !add.in || !add.attrs || !soma_plan_add_task(p, &add)) {
                status = SOMA_MEMORY;
                break;
            }
            add.in[0] = id;
            add.in[1] = part;
            p->tasks[p->n_tasks - 1].out = add.in + 2;
            add.in[2] = id;
            p->values[part].sum = id;
            p->plan_of[p->values[part].graph_value] = id;
        }
    }
    soma_release(p->s, old);
    return status;
}

static bool reads(const soma_task *task, int32_t value)
{
    for (int j = 0; j < task->n_in; j++)
        if (task->in[j] == value)
            return true;
    return false;
}

/* Must assigning task `a` come after assigning task `b`, because b still reads what a overwrites? */
static bool overwrites_input(const soma_task *a, const soma_task *b)
{
    int in;
    for (int j = 0; j < a->n_out; j++)
        if (a->out[j] >= 0 && soma_op_assigns(a, j, &in) && reads(b, a->in[in]))
            return true;
    return false;
}

static int phase(const soma_task *task)
{
    return task->assigns ? SOMA_CLASS_WHOLE + 1 : task->class == SOMA_CLASS_SUM ? SOMA_CLASS_SAMPLE : (int)task->class;
}

/* Stable, by phase; among assigning tasks those that overwrite what others read come last. */
soma_status soma_order(soma_plan *p)
{
    soma_task *sorted = soma_alloc_array(p->s, (size_t)p->n_tasks + 1, sizeof *sorted);
    if (!sorted)
        return SOMA_MEMORY;
    int n = 0, assigns;
    for (int c = 0; c <= SOMA_CLASS_WHOLE; c++)
        for (int i = 0; i < p->n_tasks; i++)
            if (phase(&p->tasks[i]) == c)
                sorted[n++] = p->tasks[i];
    assigns = n;
    for (int i = 0; i < p->n_tasks; i++)
        if (p->tasks[i].assigns)
            sorted[n++] = p->tasks[i];
    for (int i = assigns; i < n; i++) {
        int pick = i;
        for (int j = i; j < n && pick == i; j++) {
            bool free_to_run = true;
            for (int k = i; k < n; k++)
                free_to_run = free_to_run && (k == j || !overwrites_input(&sorted[j], &sorted[k]));
            if (free_to_run)
                pick = j;
        }
        soma_task chosen = sorted[pick];
        memmove(sorted + i + 1, sorted + i, (size_t)(pick - i) * sizeof *sorted);
        sorted[i] = chosen;
    }
    if (n) /* a program may have nothing to do */
        memcpy(p->tasks, sorted, (size_t)n * sizeof *sorted);
    soma_release(p->s, sorted);
    return SOMA_OK;
}

static soma_status bind_values(soma_plan *p)
{
    for (int i = 0; i < p->n_values; i++) {
        soma_plan_value *v = &p->values[i];
        const soma_type *type = &p->graph->values[v->graph_value].type;
        soma_shape full;
        char text[96];
        if (!bind_shape(&type->shape, p->piece, &v->arg.shape, &v->arg.elements) ||
            !bind_shape(&type->shape, p->batch, &full, &v->full_elements))
            return soma_fail(p->s, SOMA_INVALID, p->at, "program \"%s\": at batch %lld a value of type %s is too large",
                             p->name, (long long)p->batch, soma_type_text(type, text));
    }
    return SOMA_OK;
}

/* Work below this runs on one thread: a second one saves less than it costs to wake, and a busy core would stall
 * both. */
#define FLOPS_PER_THREAD 16e6
#define FLOPS_PER_THREAD_EXACT                                                                                         \
    0.25e6 /* reference kernels take 64 times as long, and give the same bits for any number */

static void choose_threads(soma_plan *p)
{
    double flops = 0;
    for (int i = 0; i < p->n_tasks; i++) {
        const soma_task *task = &p->tasks[i];
        soma_arg in[8], out[4];
        if (!task->op->flops || task->n_in > 8 || task->n_out > 4)
            continue;
        for (int j = 0; j < task->n_in; j++)
            in[j] = task->in[j] >= 0 ? p->values[task->in[j]].arg : (soma_arg){.shape = {.rank = -1}};
        for (int j = 0; j < task->n_out; j++)
            out[j] = task->out[j] >= 0 ? p->values[task->out[j]].arg : (soma_arg){.shape = {.rank = -1}};
        flops += task->op->flops(task->attrs, in, task->n_in, out);
    }
    double useful = flops * (double)(p->batch / p->piece) / (p->s->exact ? FLOPS_PER_THREAD_EXACT : FLOPS_PER_THREAD);
    if (useful < (double)p->threads)
        p->threads = useful < 2 ? 1 : (int)useful;
}

soma_status soma_classify(soma_plan *p, const int32_t *wanted, int n_wanted, int64_t piece)
{
    char *whole = NULL;
    soma_status status = add_tasks(p, &whole);
    for (int i = 0; i < n_wanted && status == SOMA_OK; i++) /* wanted inputs and tensors may have no task */
        if (wanted[i] >= 0 && add_plan_value(p, wanted[i]) < 0)
            status = SOMA_MEMORY;
    if (status == SOMA_OK)
        status = set_piece(p, piece, whole);
    if (status == SOMA_OK && p->piece != p->batch)
        status = add_sums(p);
    if (status == SOMA_OK)
        status = soma_order(p);
    if (status == SOMA_OK)
        status = bind_values(p);
    if (status == SOMA_OK)
        choose_threads(p);
    for (int i = 0; i < n_wanted && status == SOMA_OK; i++)
        if (wanted[i] >= 0)
            p->values[p->plan_of[wanted[i]]].wanted = true;
    return status;
}
