/* SPDX-License-Identifier: Apache-2.0
 *
 * Every order of frees: a model, its data, a part of them, a loader, a program, a run and a training are freed in
 * every order of every subset of them, and the context is closed; whatever is left is used after each free. Freed
 * memory is overwritten, so that who still reads it is found out without a sanitizer, too.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "faults.h"

#include <math.h>
#include <soma/soma.h>

#define SAMPLES 6
#define BATCH 4

enum { MODEL, DATA, PART, LOADER, PROGRAM, RUN, TRAINER, MORE, INNER = MORE, HELD, RUN2, TRAINER2, KINDS };
static const char *const names[KINDS] = {"model",   "data",           "part",  "loader",     "program",       "run",
                                         "trainer", "part of a part", "split", "second run", "second trainer"};

static float x[SAMPLES * 2] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 1, 0}, y[SAMPLES] = {0, 1, 0, 1, 0, 1};

typedef struct world {
    faults_memory memory;
    soma *s;
    soma_model *m;
    soma_value input, output;
    soma_dataset *d, *part, *inner, *held, *rest;
    soma_loader *l;
    soma_program *p;
    soma_session *r, *r2;
    soma_trainer *t, *t2;
    bool there[KINDS];
    float batch[BATCH * 2], target[BATCH];
} world;

static soma_model *make_model(soma *s)
{
    soma_model *m = soma_model_new(s, "order");
    soma_value v = soma_input(m, "x", SOMA_F32, SOMA_SHAPE(2));
    soma_output(m, "y", soma_dense(v, .units = 1));
    return m;
}

static soma_dataset *make_data(soma *s)
{
    return soma_dataset_arrays(s, {SOMA_F32, SOMA_SHAPE(SAMPLES, 2), x}, .y = {SOMA_F32, SOMA_SHAPE(SAMPLES, 1), y});
}

static void open_world(world *w, bool more)
{
    memset(w, 0, sizeof *w);
    soma_context_options o = {.struct_size = sizeof o, .threads = 1, .allocator = faults_allocator(&w->memory)};
    soma *s = w->s = soma_open(&o);
    w->m = make_model(s);
    w->input = soma_model_input(w->m, 0);
    w->output = soma_model_output(w->m, 0);
    w->d = make_data(s);
    w->part = soma_dataset_part(w->d, 1, SAMPLES - 1, 7);
    w->l = soma_loader_new(w->part, .batch_size = BATCH,
                           .threads = more); /* a thread costs a wait for its turn, often */
    w->p = soma_compile(w->m, .batch = BATCH, .values = &w->output, .n_values = 1);
    w->r = soma_session_new(w->p);
    w->t = soma_trainer_new(w->m, w->d, .batch_size = BATCH, .validation_split = 0.34);
    for (int i = 0; i < (more ? KINDS : MORE); i++)
        w->there[i] = true;
    if (more) {
        w->inner = soma_dataset_part(w->part, 0, 3, 0);
        soma_dataset_split(w->d, 0.5, NULL, 3, &w->rest, &w->held);
        w->r2 = soma_session_new(w->p);
        w->t2 = soma_trainer_new(w->m, w->inner, .batch_size = 2, .validation = w->part);
    }
    if (soma_failed(s))
        fail_msg("%s", soma_error(s));
}

static void free_one(world *w, int kind)
{
    w->there[kind] = false;
    switch (kind) {
    case MODEL:
        soma_model_free(w->m);
        break;
    case DATA:
        soma_dataset_free(w->d);
        break;
    case PART:
        soma_dataset_free(w->part);
        break;
    case INNER:
        soma_dataset_free(w->inner);
        break;
    case HELD:
        soma_dataset_free(w->rest);
        soma_dataset_free(w->held);
        break;
    case LOADER:
        soma_loader_free(w->l);
        break;
    case PROGRAM:
        soma_program_free(w->p);
        break;
    case RUN:
        soma_session_free(w->r);
        break;
    case RUN2:
        soma_session_free(w->r2);
        break;
    case TRAINER:
        soma_trainer_free(w->t);
        break;
    case TRAINER2:
        soma_trainer_free(w->t2);
        break;
    default:
        fail();
    }
}

/* ---- what is left works ---- */

static bool step(soma_trainer *t)
{
    soma_status status = soma_next(t);
    if (status == SOMA_END)
        status = soma_next(t);
    return status == SOMA_OK && soma_trainer_step(t) == SOMA_OK && isfinite(soma_trainer_loss(t)) &&
           soma_program_memory(soma_trainer_program(t)).total > 0;
}

static bool read_from(const soma_dataset *d)
{
    const int64_t last = soma_dataset_count(d) - 1;
    float pixels[2], target;
    return soma_dataset_read(d, &last, 1, pixels, &target) == SOMA_OK;
}

/* Leaves a batch being read, for whoever is freed next. */
static bool fill(world *w)
{
    bool good = soma_loader_wait(w->l) == SOMA_OK;
    if (!soma_loader_ahead(w->l))
        good = good && soma_loader_start(w->l, 1, 0) == SOMA_OK;
    return good && soma_loader_fill(w->l, w->batch, w->target) == SOMA_OK;
}

static bool run(world *w, soma_session *r)
{
    soma_tensor in = soma_session_input(r, w->input);
    memcpy(in.data, x, sizeof w->batch);
    return soma_session_step(r) == SOMA_OK && isfinite(*(float *)soma_session_read(r, w->output).data);
}

static bool use(world *w, int kind)
{
    float answer[SAMPLES];
    soma_tensor from = {SOMA_F32, SOMA_SHAPE(SAMPLES, 2), x}, to = {SOMA_F32, SOMA_SHAPE(SAMPLES, 1), answer};
    soma_tensor batch = {SOMA_F32, SOMA_SHAPE(BATCH, 2), x};
    switch (kind) {
    case MODEL:
        return soma_predict(w->m, &from, &to) == SOMA_OK && isfinite(answer[SAMPLES - 1]);
    case DATA:
        return read_from(w->d);
    case PART:
        return read_from(w->part);
    case INNER:
        return read_from(w->inner);
    case HELD:
        return read_from(w->held) && read_from(w->rest);
    case LOADER:
        return fill(w);
    case PROGRAM:
        return soma_feed(w->p, w->input, &batch) == SOMA_OK && soma_step(w->p) == SOMA_OK &&
               isfinite(*(float *)soma_read(w->p, w->output).data);
    case RUN:
        return run(w, w->r);
    case RUN2:
        return run(w, w->r2);
    case TRAINER:
        return step(w->t);
    case TRAINER2:
        return step(w->t2);
    default:
        return false;
    }
}

static const char *order_text(const int *order, int n, char text[256])
{
    size_t used = 0;
    text[0] = 0;
    for (int i = 0; i < n; i++)
        used += (size_t)snprintf(text + used, 256 - used, "%s%s", i ? ", " : "", names[order[i]]);
    return text;
}

/* Frees in that order, uses what is left, closes. Returns what the context held last. */
static uint64_t try_order(const int *order, int n, bool more)
{
    world w;
    char text[256];
    open_world(&w, more);
    for (int i = 0; i < n; i++) {
        free_one(&w, order[i]);
        for (int kind = 0; kind < KINDS; kind++)
            if (w.there[kind] && !use(&w, kind))
                fail_msg("after freeing %s: the %s does not work: %s", order_text(order, i + 1, text), names[kind],
                         soma_error(w.s));
    }
    uint64_t held = soma_memory_use(w.s).now;
    soma_close(w.s);
    if (w.memory.blocks || w.memory.mistakes)
        fail_msg("%s, then the context: %llu blocks are left", order_text(order, n, text),
                 (unsigned long long)w.memory.blocks);
    return held;
}

typedef struct walk {
    int kinds, longest;
    bool more;
    int order[KINDS];
    uint64_t orders, held; /* held: by a context whose objects are all freed */
} walk;

static void walk_from(walk *a, int n)
{
    uint64_t held = try_order(a->order, n, a->more);
    a->orders++;
    if (n == a->kinds) { /* nothing is kept for nobody */
        a->held = a->held ? a->held : held;
        assert_int_equal(held, a->held);
    }
    for (int kind = 0; kind < a->kinds && n < a->longest; kind++) {
        bool used = false;
        for (int i = 0; i < n; i++)
            used = used || a->order[i] == kind;
        if (used)
            continue;
        a->order[n] = kind;
        walk_from(a, n + 1);
    }
}

static void every_order_of_every_subset(void **state)
{
    (void)state;
    walk a = {.kinds = MORE, .longest = MORE};
    walk_from(&a, 0);
    print_message("%llu orders\n", (unsigned long long)a.orders);
}

/* Two of a kind, a part of a part, a training on parts. */
static void every_order_of_three_of_many(void **state)
{
    (void)state;
    walk a = {.kinds = KINDS, .longest = 3, .more = true};
    walk_from(&a, 0);
    print_message("%llu orders\n", (unsigned long long)a.orders);
}

/* A training goes on when all that it was given is freed, and gives the same numbers. */
static void a_training_keeps_what_it_uses(void **state)
{
    (void)state;
    double loss[2] = {0, 0};
    for (int freed = 0; freed < 2; freed++) {
        world w;
        open_world(&w, true);
        for (int kind = 0; freed && kind < KINDS; kind++)
            if (kind != TRAINER && kind != TRAINER2)
                free_one(&w, kind);
        for (int i = 0; i < 20; i++)
            assert_true(step(w.t) && step(w.t2));
        loss[freed] = soma_trainer_loss(w.t) + soma_trainer_loss(w.t2);
        soma_close(w.s);
        assert_int_equal(w.memory.blocks, 0);
    }
    assert_true(loss[0] == loss[1]);
}

static bool free_in_progress(void *user, const soma_progress *progress)
{
    world *w = user;
    (void)progress;
    for (int kind = 0; kind < MORE; kind++)
        if (w->there[kind])
            free_one(w, kind);
    return true;
}

static bool free_in_stop(void *user)
{
    free_in_progress(user, NULL);
    return false;
}

/* A callback may free what is trained or evaluated. */
static void callbacks_may_free(void **state)
{
    (void)state;
    for (int way = 0; way < 3; way++) {
        world w;
        soma_evaluation result = {0};
        open_world(&w, false);
        soma_status status =
            way == 0   ? soma_fit(w.m, w.d, .batch_size = 2, .epochs = 3, .progress_seconds = -1,
                                  .on_progress = free_in_progress, .user = &w)
            : way == 1 ? soma_fit(w.m, w.d, .batch_size = 2, .validation = w.part, .stop = free_in_stop, .user = &w)
                       : soma_evaluate(w.m, w.d, .batch_size = 2, .stop = free_in_stop, .user = &w, .result = &result);
        if (status != SOMA_OK)
            fail_msg("%s", soma_error(w.s));
        assert_true(way < 2 || (result.samples == SAMPLES && isfinite(result.loss)));
        soma_close(w.s);
        assert_int_equal(w.memory.blocks, 0);
    }
}

/* What a training keeps must not go with another context: it is refused. */
static void data_of_another_context_are_refused(void **state)
{
    (void)state;
    world w;
    open_world(&w, false);
    soma *other = soma_open(NULL);
    soma_dataset *d = make_data(other);
    assert_null(soma_trainer_new(w.m, d));
    assert_non_null(strstr(soma_error(w.s), "another context"));
    soma_clear(w.s);
    assert_int_equal(soma_fit(w.m, w.d, .validation = d), SOMA_INVALID);
    soma_close(other);
    soma_clear(w.s);
    assert_true(step(w.t));
    soma_close(w.s);
    assert_int_equal(w.memory.blocks, 0);
}

/* With the table of timed kernels, which belongs to the context. */
static void tuned_programs_in_every_order(void **state)
{
    (void)state;
    for (int order = 0; order < 6; order++) {
        faults_memory memory = {0};
        soma_context_options o = {
            .struct_size = sizeof o, .threads = 1, .tune = true, .allocator = faults_allocator(&memory)};
        soma *s = soma_open(&o);
        soma_model *m = soma_zoo(s, "lenet5");
        soma_value v = soma_model_output(m, 0);
        soma_program *p = soma_compile(m, .batch = 1, .values = &v, .n_values = 1);
        soma_session *r = soma_session_new(p);
        assert_non_null(r);
        static const int orders[6][3] = {{0, 1, 2}, {0, 2, 1}, {1, 0, 2}, {1, 2, 0}, {2, 0, 1}, {2, 1, 0}};
        for (int i = 0; i < 3; i++) {
            if (orders[order][i] == 0)
                soma_model_free(m);
            else if (orders[order][i] == 1)
                soma_program_free(p);
            else
                soma_session_free(r);
        }
        assert_false(soma_failed(s));
        soma_close(s);
        assert_int_equal(memory.blocks, 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_order_of_every_subset),         cmocka_unit_test(every_order_of_three_of_many),
        cmocka_unit_test(a_training_keeps_what_it_uses),       cmocka_unit_test(callbacks_may_free),
        cmocka_unit_test(data_of_another_context_are_refused), cmocka_unit_test(tuned_programs_in_every_order),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
