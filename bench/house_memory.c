/* SPDX-License-Identifier: Apache-2.0
 *
 * house_memory.c: what a training allocates in its steps, and what it holds against what its plan said.
 */
#include "house.h"

#include <stdlib.h>
#include <string.h>

/* Steps of the open loop, epoch after epoch; soma_fit is this loop. */
static bool steps(house_case *c, soma_trainer *t, int64_t n, double most_seconds, int64_t *done)
{
    double begun = house_now();
    for (*done = 0; *done < n;) {
        soma_status status = soma_next(t);
        if (status == SOMA_END)
            continue;
        if (status != SOMA_OK || soma_trainer_step(t) != SOMA_OK) {
            house_failed(c);
            return false;
        }
        ++*done;
        if (most_seconds > 0 && house_now() - begun > most_seconds)
            break;
    }
    return true;
}

/* ---- allocations in steps ---- */

static bool count_allocations(house_case *c, soma_trainer *t, int64_t n, double most_seconds, const char *name)
{
    int64_t done;
    if (!steps(c, t, 3, 0, &done))
        return false;
    uint64_t own = soma_memory_use(c->s).calls, all = house_mallocs();
    if (!steps(c, t, n, most_seconds, &done))
        return false;
    all = house_mallocs() - all;
    own = soma_memory_use(c->s).calls - own;
    printf("%s: %lld steps at batch %lld: %llu allocations by soma, %llu mallocs in the process (%.2f a step)\n",
           c->kind->name, (long long)done, (long long)c->batch, (unsigned long long)own, (unsigned long long)all,
           (double)all / (double)done);
    printf("%s.%s.steps %lld\n%s.%s.own %llu\n", c->kind->name, name, (long long)done, c->kind->name, name,
           (unsigned long long)own);
    if (house_counts_mallocs())
        printf("%s.%s.mallocs %llu\n", c->kind->name, name, (unsigned long long)all);
    return true;
}

static bool count_case(const options *o, int64_t batch, int64_t n, double most_seconds, const char *name)
{
    house_case c;
    options with = *o;
    with.batch = batch;
    if (!house_open(&c, o->model, &with))
        return false;
    soma_fit_options fit = house_fit(&c);
    soma_trainer *t = soma_trainer_new_with(c.m, &fit);
    bool done = t && count_allocations(&c, t, n, most_seconds, name);
    if (!t)
        house_failed(&c);
    house_close(&c);
    return done;
}

int house_allocations(const options *o)
{
    const house_model *m = house_model_find(o->model);
    if (!m)
        return 2;
    if (!house_counts_mallocs())
        printf("this build cannot count mallocs\n");
    bool done = count_case(o, m->small_batch, o->steps ? o->steps : 10000, 0, "many");
    if (done && m->small_batch != m->batch)
        done = count_case(o, m->batch, 10000, 3, "usual");
    return done ? 0 : 1;
}

/* ---- what training has come to ---- */

int house_loss(const options *o)
{
    house_case c;
    int64_t done, n = o->steps ? o->steps : 200, tail = n / 10 > 0 ? n / 10 : 1;
    double sum = 0;
    if (!house_open(&c, o->model, o))
        return 1;
    soma_fit_options fit = house_fit(&c);
    fit.max_steps = n; /* of a one-cycle rate */
    fit.optimizer.peak_lr = o->peak_lr;
    soma_trainer *t = soma_trainer_new_with(c.m, &fit);
    bool right = t && steps(&c, t, n - tail, 0, &done);
    for (int64_t i = 0; i < tail && right; i++) {
        right = steps(&c, t, 1, 0, &done);
        sum += soma_trainer_loss(t);
    }
    if (right)
        printf("%s, batch %lld, %s: loss of the last %lld of %lld steps\nloss %.5f\n", c.kind->name, (long long)c.batch,
               o->precision ? o->precision : "f32", (long long)tail, (long long)n, sum / (double)tail);
    else if (!t)
        house_failed(&c);
    house_close(&c);
    return right ? 0 : 1;
}

/* ---- resident memory against the plan ---- */

typedef struct resident {
    double total, anonymous, file; /* MB */
} resident;

static resident read_resident(void)
{
    resident r = {0, 0, 0};
    char line[256];
    FILE *f = fopen("/proc/self/status", "r");
    while (f && fgets(line, sizeof line, f)) {
        if (!strncmp(line, "VmRSS:", 6))
            r.total = strtod(line + 6, NULL) * 1024 / 1e6;
        if (!strncmp(line, "RssAnon:", 8))
            r.anonymous = strtod(line + 8, NULL) * 1024 / 1e6;
        if (!strncmp(line, "RssFile:", 8))
            r.file = strtod(line + 8, NULL) * 1024 / 1e6;
    }
    if (f)
        fclose(f);
    return r;
}

int house_memory(const options *o)
{
    house_case c;
    int64_t done;
    if (!house_open(&c, o->model, o))
        return 1;
    double data = (double)soma_dataset_bytes(c.data) / 1e6;
    int64_t whole = soma_dataset_count(c.data) / c.batch; /* of photos there are but two batches */
    soma_dataset *few = soma_dataset_part(c.data, 0, (whole < 3 ? whole : 3) * c.batch, 0); /* no smaller last batch */
    resident before = read_resident();
    soma_fit_options fit = house_fit(&c);
    fit.data = few;
    soma_trainer *t = few ? soma_trainer_new_with(c.m, &fit) : NULL;
    bool right = t && steps(&c, t, 3, 0, &done);
    resident after = read_resident();
    if (!right || before.total <= 0) {
        if (!house_failed(&c))
            fprintf(stderr, "soma-house: /proc/self/status has no VmRSS\n");
        house_close(&c);
        return 1;
    }
    soma_plan_memory plan = soma_program_memory(soma_trainer_program(t));
    double total = (double)plan.total / 1e6, growth = after.total - before.total;
    printf("%-12s batch %3lld: planned %8.2f MB, RSS grew by %8.2f MB (anonymous %.2f, pages of files %.2f); "
           "difference %.2f MB\n"
           "  planned: parameters %.2f, state %.2f, gradients %.2f, activations %.2f, inputs %.2f, packed %.2f, tables "
           "%.2f, "
           "library %.2f MB\n",
           c.kind->name, (long long)c.batch, total, growth, after.anonymous - before.anonymous,
           after.file - before.file, growth - total, (double)plan.parameters / 1e6, (double)plan.state / 1e6,
           (double)plan.gradients / 1e6, (double)plan.activations / 1e6, (double)plan.inputs / 1e6,
           (double)plan.packed / 1e6, (double)plan.tables / 1e6, (double)plan.library / 1e6);
    printf("%s.planned_mb %.3f\n%s.grown_mb %.3f\n%s.taken_mb %.3f\n%s.data_mb %.3f\n", c.kind->name, total,
           c.kind->name, growth, c.kind->name, after.anonymous - before.anonymous, c.kind->name, data);
    house_close(&c);
    return 0;
}

/* ---- half the memory ---- */

typedef struct budgeted {
    house_case c;
    soma_trainer *trainer;
    double rates[64];
} budgeted;

static double planned_mb(const budgeted *b)
{
    return (double)soma_program_memory(soma_trainer_program(b->trainer)).total / 1e6;
}

static bool open_budgeted(budgeted *b, const options *o)
{
    if (!house_open(&b->c, o->model, o))
        return false;
    soma_fit_options fit = house_fit(&b->c);
    b->trainer = soma_trainer_new_with(b->c.m, &fit);
    return b->trainer || !house_failed(&b->c);
}

static bool round_of(budgeted *b, double seconds, int round)
{
    int64_t done, n = 0;
    double begun = house_now(), passed = 0;
    for (; passed < seconds; n++, passed = house_now() - begun)
        if (!steps(&b->c, b->trainer, 1, 0, &done))
            return false;
    b->rates[round] = (double)(n * b->c.batch) / passed;
    return true;
}

int house_budget(const options *o)
{
    static budgeted whole, half;
    options with = *o;
    int rounds = o->rounds ? (int)o->rounds : 3;
    int64_t done;
    bool right = rounds <= 64 && open_budgeted(&whole, o);
    with.max_memory = right ? (int64_t)(planned_mb(&whole) * 1e6 / 2) : 0;
    right = right && open_budgeted(&half, &with) && steps(&whole.c, whole.trainer, 1, 0, &done) &&
            steps(&half.c, half.trainer, 1, 0, &done);
    for (int i = 0; i < rounds && right; i++)
        right = round_of(&whole, o->seconds > 0 ? o->seconds : 5, i) &&
                round_of(&half, o->seconds > 0 ? o->seconds : 5, i);
    if (right) {
        double free_rate = house_median(whole.rates, rounds), half_rate = house_median(half.rates, rounds);
        printf("%s, batch %lld: planned %.1f MB without a budget, %.1f MB within half of it; %.2f and %.2f samples/s\n",
               whole.c.kind->name, (long long)whole.c.batch, planned_mb(&whole), planned_mb(&half), free_rate,
               half_rate);
        printf("budget.share %.3f\nbudget.slower %.3f\n", planned_mb(&half) / planned_mb(&whole),
               free_rate / half_rate);
    }
    house_close(&half.c);
    house_close(&whole.c);
    return right ? 0 : 1;
}
