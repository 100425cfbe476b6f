/* SPDX-License-Identifier: Apache-2.0
 *
 * compile/place/recompute.c: time for memory (Chen et al. 2016, arXiv 1604.06174). A task whose result is read early
 * and then late is dropped: its late readers get a clone's result, run just before the first of them with the same
 * prepared kernel, so with the same bits and the same random numbers. Each task runs at most once more. Which ones is
 * chosen by what a second of recomputation takes off the bytes above the target, summed over the step (a lazy greedy
 * cover: cached scores are looked at again before they win). What is read outside the body besides (the statistics that
 * an update of a normalisation reads) stays as the first run made it, for all readers. Never cloned: tasks that assign,
 * that add up pieces, or whose result is read from outside or outside the body.
 */
#include "base/size.h"
#include "compile/plan.h"

#include <string.h>

/* The ratio of the two decides; about one core's. */
#define FLOPS_PER_SECOND 100e9
#define BYTES_PER_SECOND 10e9
#define LEAST_GAP 3 /* tasks between an early and a late reader */

typedef struct candidate {
    int task;
    bool dead;       /* inputs that nobody needs any more at the clone are dropped as well, instead of kept on */
    double score;    /* byte-steps above the target per second, as last looked at */
    unsigned looked; /* round of that look */
} candidate;

typedef struct pass {
    soma_plan *p;
    soma_task *base; /* the tasks without clones */
    int n_base, n_values;
    int *maker;  /* per value: the base task that makes it, or -1 */
    int *first;  /* per value: index into readers; first[n_values] is their number */
    int *reader; /* base tasks, ascending */
    bool *free_to_drop;
    bool *dropped, *trial, *best; /* per base task */
    bool *stays;                  /* per value: read outside the body, so no reader gets a clone's */
    int *cut;                     /* per base task: readers after this one get the clone's result */
    int32_t *clone;               /* per value, while a schedule is made: its clone or -1 */
    soma_task *tasks;             /* room for every task and every clone */
    int32_t *args, *next_arg;     /* their inputs and outputs */
    size_t *alive;
    candidate *candidates;
    int n_candidates;
    size_t target, peak;
    double excess, seconds; /* of the last schedule */
    size_t best_size;
} pass;

static double seconds_of(const soma_task *task)
{
    return task->op->alias ? 0 : task->flops / FLOPS_PER_SECOND + task->bytes / BYTES_PER_SECOND;
}

/* ---- the schedule that follows from what is dropped ---- */

static void add_task(pass *w, const soma_task *task, const int32_t *in, const int32_t *out)
{
    soma_task *s = &w->p->tasks[w->p->n_tasks++];
    *s = *task;
    s->in = w->next_arg;
    s->out = s->in + task->n_in;
    memcpy(s->in, in, (size_t)task->n_in * sizeof *in);
    memcpy(s->out, out, (size_t)task->n_out * sizeof *out);
    w->next_arg += task->n_in + task->n_out;
}

/* A packed copy of a weight is made anew, never kept for a clone. */
static bool packs(const pass *w, int index)
{
    const soma_task *task = &w->base[index];
    return task->op == soma_ops.reorder && w->p->values[task->in[0]].class <= SOMA_CLASS_STATE;
}

static int32_t resolve(pass *w, int32_t value, int at);

static void add_clone(pass *w, int made, int at)
{
    const soma_task *task = &w->base[made];
    soma_plan *p = w->p;
    for (int j = 0; j < task->n_in; j++) /* first what it needs, then itself: nothing lies in between */
        if (task->in[j] >= 0)
            resolve(w, task->in[j], at);
    for (int j = 0; j < task->n_out; j++) {
        if (task->out[j] < 0)
            continue;
        soma_plan_value v = p->values[task->out[j]];
        v.storage = SOMA_STORE_NONE;
        v.graph_value = v.tensor = v.alias = -1;
        v.inside = 0;
        w->clone[task->out[j]] = p->n_values;
        p->values[p->n_values++] = v;
    }
    add_task(w, task, task->in, task->out);
    soma_task *s = &p->tasks[p->n_tasks - 1];
    for (int j = 0; j < s->n_in; j++)
        if (s->in[j] >= 0)
            s->in[j] = resolve(w, s->in[j], at);
    for (int j = 0; j < s->n_out; j++)
        if (s->out[j] >= 0)
            s->out[j] = w->clone[s->out[j]];
    s->recomputed = true;
    w->seconds += seconds_of(task);
}

/* What a reader that stands before base task `at` reads for `value`. */
static int32_t resolve(pass *w, int32_t value, int at)
{
    int made = w->maker[value];
    if (made < 0 || !w->trial[made] || at <= w->cut[made] || w->stays[value])
        return value;
    if (w->clone[value] < 0)
        add_clone(w, made, at);
    return w->clone[value];
}

/* Clones that base task `at` reads; of base task `but` it needs none. */
static void make_inputs(pass *w, int at, int but)
{
    const soma_task *task = &w->base[at];
    for (int j = 0; j < task->n_in; j++)
        if (task->in[j] >= 0 && (but < 0 || w->maker[task->in[j]] != but))
            resolve(w, task->in[j], at);
}

/* Schedules and measures w->trial. */
static void schedule(pass *w)
{
    soma_plan *p = w->p;
    p->tasks = w->tasks;
    p->n_tasks = 0;
    p->n_values = w->n_values;
    w->next_arg = w->args;
    w->seconds = w->excess = 0;
    for (int i = 0; i < w->n_values; i++)
        w->clone[i] = -1;
    for (int i = 0; i < w->n_base; i++) {
        const soma_task *task = &w->base[i];
        make_inputs(w, i, -1);
        if (packs(w, i) &&
            i + 1 < w->n_base) /* a copy of weights lives only till its reader: nothing lies in between */
            make_inputs(w, i + 1, i);
        add_task(w, task, task->in, task->out);
        int32_t *in = p->tasks[p->n_tasks - 1].in;
        for (int j = 0; j < task->n_in; j++)
            if (in[j] >= 0)
                in[j] = resolve(w, in[j], i);
    }
    soma_lifetimes(p);
    w->peak = soma_alive(p, w->alive);
    for (int i = 0; i < p->n_tasks; i++)
        if (w->alive[i] > w->target)
            w->excess += (double)(w->alive[i] - w->target);
}

/* ---- what may be dropped ---- */

static int last_reader(const pass *w, int32_t value)
{
    return w->first[value + 1] > w->first[value] ? w->reader[w->first[value + 1] - 1] : -1;
}

/* Marks the tasks that read the value, through views of it as well. */
static void mark_readers(const pass *w, int32_t value, bool *read)
{
    for (int k = w->first[value]; k < w->first[value + 1]; k++) {
        const soma_task *reader = &w->base[w->reader[k]];
        if (reader->op->alias)
            mark_readers(w, reader->out[0], read);
        else
            read[w->reader[k]] = true;
    }
}

/* The output with the most bytes; -1: none. */
static int32_t main_output(const pass *w, const soma_task *task)
{
    int32_t main = -1;
    for (int j = 0; j < task->n_out; j++)
        if (task->out[j] >= 0 && (main < 0 || w->p->values[task->out[j]].size > w->p->values[main].size))
            main = task->out[j];
    return main;
}

static bool read_outside(const pass *w, int32_t value)
{
    for (int k = w->first[value]; k < w->first[value + 1]; k++)
        if (!soma_in_body(&w->base[w->reader[k]]))
            return true;
    return false;
}

static bool may_drop(const pass *w, int index)
{
    const soma_task *task = &w->base[index];
    int32_t main = main_output(w, task);
    if (task->assigns || task->skip_first || task->class != SOMA_CLASS_SAMPLE)
        return false;
    for (int j = 0; j < task->n_out; j++) {
        const soma_plan_value *v = task->out[j] >= 0 ? &w->p->values[task->out[j]] : NULL;
        if (!v)
            continue;
        if (v->wanted || v->sum >= 0 || v->class != SOMA_CLASS_SAMPLE ||
            (w->stays[task->out[j]] ? task->out[j] == main : v->storage != SOMA_STORE_WORK))
            return false;
    }
    return main >= 0;
}

/* The main output decides where the task is cut: at the longest gap between two readers of it or its views;
 * behind the last one where there is none, for those who need it only to run something else again. */
static bool find_cut(pass *w, int index, bool *read)
{
    const soma_task *task = &w->base[index];
    memset(read, 0, (size_t)w->n_base * sizeof *read);
    mark_readers(w, main_output(w, task), read);
    int before = index, gap = LEAST_GAP - 1;
    for (int i = index + 1; i < w->n_base; i++) {
        if (!read[i])
            continue;
        if (i - before > gap) {
            gap = i - before;
            w->cut[index] = before;
        }
        before = i;
    }
    if (gap < LEAST_GAP)
        w->cut[index] = before;
    return gap >= LEAST_GAP;
}

/* Marks the task, the views of what it makes, and (dead) what it reads that nobody keeps till then. */
static void drop(pass *w, int index, bool dead)
{
    const soma_task *task = &w->base[index];
    if (w->trial[index] || !w->free_to_drop[index])
        return;
    w->trial[index] = true;
    for (int j = 0; j < task->n_out; j++)
        for (int k = task->out[j] >= 0 ? w->first[task->out[j]] : 0;
             task->out[j] >= 0 && k < w->first[task->out[j] + 1]; k++) {
            int view = w->reader[k];
            if (!w->base[view].op->alias || !w->free_to_drop[view] || w->trial[view])
                continue;
            w->cut[view] = w->cut[index];
            drop(w, view, false);
        }
    for (int j = 0; j < task->n_in; j++) {
        int32_t in = task->in[j];
        int made = in >= 0 ? w->maker[in] : -1;
        if (made >= 0 && (dead || packs(w, made)) && (last_reader(w, in) <= w->cut[index] || w->base[made].op->alias))
            drop(w, made, true);
    }
}

/* ---- choosing ---- */

/* Byte-steps above the target that the candidate takes off per second that it costs; not positive: none. */
static double look(pass *w, candidate *c, double excess, double seconds)
{
    memcpy(w->trial, w->dropped, (size_t)w->n_base * sizeof *w->trial);
    drop(w, c->task, c->dead);
    schedule(w);
    double cost = w->seconds - seconds;
    c->score = (excess - w->excess) / (cost > 1e-9 ? cost : 1e-9);
    return c->score;
}

/* Drops until nothing lies above the target, or nothing helps. */
static void cover(pass *w)
{
    memcpy(w->trial, w->dropped, (size_t)w->n_base * sizeof *w->trial);
    schedule(w);
    double excess = w->excess, seconds = w->seconds;
    for (int i = 0; i < w->n_candidates; i++) {
        w->candidates[i].score = 1e300;
        w->candidates[i].looked = 0;
    }
    for (unsigned round = 1; excess > 0; round++) {
        for (;;) {
            candidate *top = NULL;
            for (int i = 0; i < w->n_candidates; i++)
                if (!w->dropped[w->candidates[i].task] && (!top || w->candidates[i].score > top->score))
                    top = &w->candidates[i];
            if (!top || top->score <= 0)
                return;
            if (top->looked == round) {
                look(w, top, excess, seconds);
                break;
            }
            look(w, top, excess, seconds);
            top->looked = round;
        }
        memcpy(w->dropped, w->trial, (size_t)w->n_base * sizeof *w->dropped);
        excess = w->excess;
        seconds = w->seconds;
    }
}

/* Places what is dropped now and remembers it where it is the smallest so far. */
static soma_status try_place(pass *w)
{
    memcpy(w->trial, w->dropped, (size_t)w->n_base * sizeof *w->trial);
    schedule(w);
    soma_status status = soma_place(w->p);
    if (status == SOMA_OK && w->p->work_size < w->best_size) {
        w->best_size = w->p->work_size;
        memcpy(w->best, w->dropped, (size_t)w->n_base * sizeof *w->best);
    }
    return status;
}

/* Straight to the budget, a little lower where placing leaves holes; then, where that gets stuck, down in small
 * steps; then straight to a little less than the best so far, as long as that helps: a refusal names the least that
 * was found. */
static soma_status search(pass *w, size_t work)
{
    size_t start = w->best_size;
    w->target = work;
    soma_status status = SOMA_OK;
    for (int i = 0; i < 4 && status == SOMA_OK && w->best_size > work; i++) {
        cover(w);
        if (w->peak > w->target) /* stuck */
            break;
        status = try_place(w);
        size_t over = w->p->work_size > work ? w->p->work_size - work : 0;
        w->target = w->target > over + over / 4 ? w->target - over - over / 4 : 0;
    }
    if (w->best_size <= work || status != SOMA_OK)
        return status;
    memset(w->dropped, 0, (size_t)w->n_base * sizeof *w->dropped);
    for (size_t peak = start; status == SOMA_OK && w->best_size > work;) {
        w->target = peak - peak / 16;
        cover(w);
        status = try_place(w);
        if (w->peak >= peak)
            break;
        peak = w->peak;
    }
    for (size_t before = 0; status == SOMA_OK && w->best_size > work && w->best_size != before;) {
        before = w->best_size;
        memset(w->dropped, 0, (size_t)w->n_base * sizeof *w->dropped);
        w->target = before - before / 64;
        cover(w);
        status = try_place(w);
    }
    return status;
}

/* ---- setting up ---- */

static size_t count_args(const pass *w)
{
    size_t n = 1;
    for (int i = 0; i < w->n_base; i++)
        n += (size_t)(w->base[i].n_in + w->base[i].n_out);
    return n;
}

static void find_readers(pass *w)
{
    for (int i = 0; i < w->n_values; i++)
        w->maker[i] = -1;
    for (int i = 0; i < w->n_base; i++) {
        const soma_task *task = &w->base[i];
        for (int j = 0; j < task->n_in; j++)
            if (task->in[j] >= 0)
                w->first[task->in[j] + 1]++;
        for (int j = 0; j < task->n_out; j++)
            if (task->out[j] >= 0 && !task->skip_first)
                w->maker[task->out[j]] = i;
    }
    for (int i = 0; i < w->n_values; i++) {
        w->first[i + 1] += w->first[i];
        w->clone[i] = w->first[i];
    }
    for (int i = 0; i < w->n_base; i++) /* clone: how far each list is filled */
        for (int j = 0; j < w->base[i].n_in; j++)
            if (w->base[i].in[j] >= 0)
                w->reader[w->clone[w->base[i].in[j]]++] = i;
}

static soma_status set_up(pass *w)
{
    soma_plan *p = w->p;
    soma *s = p->s;
    size_t n = (size_t)p->n_tasks + 1, values = (size_t)p->n_values + 1, args = count_args(w);
    soma_status status = soma_grow(s, &p->values, &p->value_capacity, 2 * p->n_values, sizeof *p->values);
    w->maker = soma_alloc_array(s, values, sizeof *w->maker);
    w->first = soma_alloc_array(s, values, sizeof *w->first);
    w->reader = soma_alloc_array(s, args, sizeof *w->reader);
    w->free_to_drop = soma_alloc_array(s, 4 * n, sizeof *w->free_to_drop);
    w->stays = soma_alloc_array(s, values, sizeof *w->stays);
    w->cut = soma_alloc_array(s, n, sizeof *w->cut);
    w->clone = soma_alloc_array(s, values, sizeof *w->clone);
    w->tasks = soma_alloc_array(s, 2 * n, sizeof *w->tasks);
    w->args = soma_arena_array(&p->room.arena, 2 * args, sizeof *w->args);
    w->alive = soma_alloc_array(s, 2 * n, sizeof *w->alive);
    w->candidates = soma_alloc_array(s, 2 * n, sizeof *w->candidates);
    if (status != SOMA_OK || !w->maker || !w->first || !w->reader || !w->free_to_drop || !w->stays || !w->cut ||
        !w->clone || !w->tasks || !w->args || !w->alive || !w->candidates)
        return SOMA_MEMORY;
    w->dropped = w->free_to_drop + n;
    w->trial = w->dropped + n;
    w->best = w->trial + n;
    find_readers(w);
    for (int i = 0; i < w->n_values; i++)
        w->stays[i] = read_outside(w, i);
    for (int i = 0; i < w->n_base; i++)
        w->free_to_drop[i] = may_drop(w, i);
    for (int i = 0; i < w->n_base; i++) {
        if (!w->free_to_drop[i] || !find_cut(w, i, w->trial) || w->base[i].op->alias)
            continue;
        w->candidates[w->n_candidates++] = (candidate){.task = i};
        w->candidates[w->n_candidates++] = (candidate){.task = i, .dead = true};
    }
    return SOMA_OK;
}

soma_status soma_recompute(soma_plan *p, size_t work)
{
    soma *s = p->s;
    pass w = {.p = p, .base = p->tasks, .n_base = p->n_tasks, .n_values = p->n_values, .best_size = p->work_size};
    size_t before = p->work_size;
    int capacity = p->task_capacity;
    soma_status status = set_up(&w);
    if (status == SOMA_OK)
        status = search(&w, work);
    if (status == SOMA_OK) {
        memcpy(w.trial, w.best, (size_t)w.n_base * sizeof *w.trial);
        schedule(&w);
        status = soma_place(p);
        p->recompute_saved = before - p->work_size;
    }
    if (status == SOMA_OK) {
        p->task_capacity = 2 * (w.n_base + 1);
        soma_release(s, w.base);
    } else {
        p->tasks = w.base;
        p->n_tasks = w.n_base;
        p->n_values = w.n_values;
        p->task_capacity = capacity;
        soma_release(s, w.tasks);
    }
    soma_release(s, w.maker);
    soma_release(s, w.first);
    soma_release(s, w.reader);
    soma_release(s, w.free_to_drop);
    soma_release(s, w.stays);
    soma_release(s, w.cut);
    soma_release(s, w.clone);
    soma_release(s, w.alive);
    soma_release(s, w.candidates);
    return status;
}
