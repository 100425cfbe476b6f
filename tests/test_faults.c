/* SPDX-License-Identifier: Apache-2.0
 *
 * tests/test_faults.c: every k-th allocation fails while a LeNet is built, compiled, trained, saved and loaded; every
 * k-th file operation fails or is cut while it is saved and loaded. Each failure ends in an error, leaks nothing, and
 * leaves the model, and the file, as they were.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/random.h"
#include "faults.h"
#include "graph/graph.h"

#include <soma/soma.h>

#define BATCH 2
#define SAMPLES 3 /* a full batch and a smaller one */

static char folder[256], path[300], kept[300];

static int make_folder(void **state)
{
    (void)state;
    if (!faults_folder(folder))
        return -1;
    snprintf(path, sizeof path, "%s/lenet.safetensors", folder);
    snprintf(kept, sizeof kept, "%s/kept.safetensors", folder);
    return 0;
}

static int remove_folder(void **state)
{
    (void)state;
    faults_folder_remove(folder);
    return 0;
}

static float pixels[SAMPLES * 28 * 28];
static int32_t labels[SAMPLES] = {3, 0, 9};

/* ---- what a failure must leave alone ---- */

typedef struct snapshot {
    int nodes, values, parameters, outputs;
    uint64_t hash; /* of all parameters; 0: they have no memory yet */
} snapshot;

static snapshot look(const soma_model *m)
{
    snapshot now = {m->graph->n_nodes, m->graph->n_values, 0, m->n_outputs, 0};
    for (int i = 0; i < m->n_tensors; i++) {
        const soma_model_tensor *t = &m->tensors[i];
        if (t->slot)
            continue;
        now.parameters++;
        if (t->data)
            now.hash = soma_hash_bytes(now.hash, t->data, (size_t)soma_shape_elements(&t->type.shape) * sizeof(float));
    }
    return now;
}

static bool same(const snapshot *a, const snapshot *b)
{
    return a->nodes == b->nodes && a->values == b->values && a->parameters == b->parameters &&
           a->outputs == b->outputs && a->hash == b->hash;
}

/* ---- the stages; each returns what a call returned, with model and context open ---- */

typedef struct stage {
    const char *name;
    soma_status (*prepare)(soma *s, soma_model **m); /* without faults */
    soma_status (*run)(soma *s, soma_model **m);
} stage;

static soma_status status_of(soma *s, const void *made)
{
    return made ? SOMA_OK : soma_error_status(s);
}

static soma_status nothing(soma *s, soma_model **m)
{
    (void)m;
    return soma_error_status(s);
}

static soma_status build(soma *s, soma_model **m)
{
    *m = soma_zoo(s, "lenet5");
    return status_of(s, *m);
}

static soma_status build_filled(soma *s, soma_model **m)
{
    soma_status status = build(s, m);
    return status == SOMA_OK ? soma_initialize(*m, 1) : status;
}

/* What LeNet has not: relu, max-pooling, dropout. */
static soma_status build_pools(soma *s, soma_model **m)
{
    *m = soma_model_new(s, "pools");
    soma_value x = soma_input(*m, "x", SOMA_F32, SOMA_SHAPE(1, 28, 28));
    x = soma_conv2d(x, .filters = 8, .kernel = {3, 3}, .same = true, .activation = "relu");
    x = soma_max_pool2d(x, .size = {4, 4});
    x = soma_dropout(x, .rate = 0.25);
    soma_output(*m, "y", soma_dense(soma_flatten(x), .units = 10));
    return soma_failed(s) ? soma_error_status(s) : soma_initialize(*m, 1);
}

static soma_status compile(soma *s, soma_model **m)
{
    soma_value y = soma_model_output(*m, 0);
    return status_of(s, soma_compile(*m, .batch = BATCH, .values = &y, .n_values = 1, .micro_batch = 1));
}

static soma_status predict(soma *s, soma_model **m)
{
    float y[SAMPLES * 10];
    soma_tensor from = {SOMA_F32, SOMA_SHAPE(SAMPLES, 1, 28, 28), pixels}, to = {SOMA_F32, SOMA_SHAPE(SAMPLES, 10), y};
    (void)s;
    return soma_predict(*m, &from, &to);
}

static soma_dataset *dataset(soma *s)
{
    return soma_dataset_arrays(s, {SOMA_F32, SOMA_SHAPE(SAMPLES, 1, 28, 28), pixels},
                               .y = {SOMA_I32, SOMA_SHAPE(SAMPLES), labels}, .n_classes = 10);
}

static soma_status train(soma *s, soma_model **m)
{
    soma_dataset *d = dataset(s);
    soma_trainer *t = d ? soma_trainer_new(*m, d, .batch_size = BATCH, .optimizer = soma_adam(.peak_lr = 0.01)) : NULL;
    soma_status status = status_of(s, t);
    while (status == SOMA_OK && (status = soma_next(t)) == SOMA_OK)
        status = soma_trainer_step(t);
    soma_trainer_free(t);
    soma_dataset_free(d);
    return status == SOMA_END ? SOMA_OK : status;
}

static soma_status evaluate(soma *s, soma_model **m)
{
    soma_dataset *d = dataset(s);
    soma_evaluation result = {0};
    soma_status status = d ? soma_evaluate(*m, d, .batch_size = BATCH, .result = &result) : soma_error_status(s);
    soma_dataset_free(d);
    return status;
}

static soma_status save(soma *s, soma_model **m)
{
    (void)s;
    return soma_save(*m, path);
}

static soma_status load(soma *s, soma_model **m)
{
    *m = soma_load(s, kept);
    return status_of(s, *m);
}

static const stage stages[] = {
    {"build", nothing, build},
    {"build and fill", nothing, build_filled},
    {"compile", build_filled, compile},
    {"predict", build_filled, predict},
    {"train", build_filled, train},
    {"train with pools", build_pools, train},
    {"evaluate", build_filled, evaluate},
    {"save", build_filled, save},
    {"load", nothing, load},
};

/* ---- memory ---- */

static soma *open_with(faults_memory *memory, faults_io *io)
{
    soma_context_options o = {.struct_size = sizeof o, .threads = 1};
    if (memory)
        o.allocator = faults_allocator(memory);
    if (io)
        o.files = faults_files(io);
    return soma_open(&o);
}

/* The k-th allocation from here on fails. */
static void arm(faults_memory *memory, uint64_t k)
{
    memory->fail_at = memory->calls + k;
}

static void check_file(const char *file, const char *bytes, size_t size, const char *title, uint64_t k)
{
    size_t now;
    char *content = faults_read(file, &now);
    if (!content || now != size || memcmp(content, bytes, size))
        fail_msg("%s %llu: the old file is not as it was", title, (unsigned long long)k);
    free(content);
}

/* One run of a stage with one failure. Returns false when no allocation failed any more. */
static bool run_stage(const stage *what, uint64_t k, bool forever)
{
    faults_memory memory = {.forever = forever};
    soma_model *m = NULL;
    soma *s = open_with(&memory, NULL);
    assert_non_null(s);
    assert_int_equal(what->prepare(s, &m), SOMA_OK);
    snapshot before = m ? look(m) : (snapshot){0};
    arm(&memory, k);
    soma_status status = what->run(s, &m);
    memory.fail_at = 0;
    bool failed = memory.failed > 0;
    if (failed && status == SOMA_OK)
        fail_msg("%s, allocation %llu: failed, yet the call says success", what->name, (unsigned long long)k);
    if (status != SOMA_OK &&
        (!failed || status != SOMA_MEMORY || soma_error_status(s) != SOMA_MEMORY || !strlen(soma_error(s))))
        fail_msg("%s, allocation %llu: %s: %s", what->name, (unsigned long long)k, soma_status_text(status),
                 soma_error(s));
    snapshot after = m ? look(m) : (snapshot){0};
    if (status != SOMA_OK && what->prepare != nothing && !same(&before, &after))
        fail_msg("%s, allocation %llu: the model was changed", what->name, (unsigned long long)k);
    soma_clear(s);
    if (status != SOMA_OK && what->prepare != nothing && what->run(s, &m) != SOMA_OK) /* it is as good as new */
        fail_msg("%s, allocation %llu: does not work afterwards: %s", what->name, (unsigned long long)k, soma_error(s));
    soma_close(s);
    if (memory.blocks || memory.bytes || memory.mistakes)
        fail_msg("%s, allocation %llu: %llu blocks leaked, %llu given back wrongly", what->name, (unsigned long long)k,
                 (unsigned long long)memory.blocks, (unsigned long long)memory.mistakes);
    return failed;
}

static void sweep(const stage *what, bool forever)
{
    uint64_t tried = 0;
    while (run_stage(what, tried + 1, forever))
        tried++;
    if (tried < 5)
        fail_msg("%s: only %llu allocations", what->name, (unsigned long long)tried);
    print_message("%s: %llu allocations failed%s\n", what->name, (unsigned long long)tried,
                  forever ? ", and all after them" : "");
}

static void write_kept(void)
{
    soma *s = open_with(NULL, NULL);
    soma_model *m = NULL;
    assert_int_equal(build_filled(s, &m), SOMA_OK);
    assert_int_equal(soma_save(m, kept), SOMA_OK);
    soma_close(s);
}

static void no_allocation_is_taken_for_granted(void **state)
{
    (void)state;
    write_kept();
    for (size_t i = 0; i < sizeof stages / sizeof *stages; i++) {
        sweep(&stages[i], false);
        sweep(&stages[i], true);
        assert_int_equal(faults_folder_count(folder, ".tmp-"), 0);
    }
}

static void opening_fails_cleanly(void **state)
{
    (void)state;
    for (uint64_t k = 1;; k++) {
        faults_memory memory = {.fail_at = k};
        soma *s = open_with(&memory, NULL);
        if (memory.failed)
            assert_true(soma_failed(s));
        soma_close(s);
        assert_int_equal(memory.blocks, 0);
        if (!memory.failed)
            break;
    }
}

/* A save that runs out of memory leaves the old file. */
static void a_failed_save_leaves_the_old_file(void **state)
{
    (void)state;
    assert_true(faults_write(path, "old", 3));
    for (uint64_t k = 1;; k++) {
        faults_memory memory = {0};
        soma_model *m = NULL;
        soma *s = open_with(&memory, NULL);
        assert_int_equal(build_filled(s, &m), SOMA_OK);
        arm(&memory, k);
        soma_status status = soma_save(m, path);
        bool failed = memory.failed > 0;
        soma_close(s);
        if (status != SOMA_OK)
            check_file(path, "old", 3, "allocation", k);
        assert_int_equal(faults_folder_count(folder, ".tmp-"), 0);
        assert_int_equal(memory.blocks, 0);
        if (!failed)
            break;
    }
}

/* ---- files ---- */

typedef struct way {
    faults_kind kind;
    int error; /* 0: EIO */
    bool forever;
} way;

static const way ways[] = {{FAULTS_ERROR, 0, false}, {FAULTS_ERROR, 28 /* ENOSPC */, false},
                           {FAULTS_ERROR, 0, true},  {FAULTS_TORN, 0, false},
                           {FAULTS_TORN, 28, true},  {FAULTS_SHORT, 0, false},
                           {FAULTS_SHORT, 0, true},  {FAULTS_ERROR, 4 /* EINTR */, false}};

/* Saves over an old file with the k-th file operation failing. False when none failed any more. */
static bool save_once(const way *how, uint64_t k, const char *new_bytes, size_t new_size)
{
    faults_io io = {.kind = how->kind, .error = how->error, .forever = how->forever, .fail_at = k};
    soma_model *m = NULL;
    assert_true(faults_write(path, "old", 3));
    faults_memory memory = {0};
    soma *s = open_with(&memory, &io);
    assert_int_equal(build_filled(s, &m), SOMA_OK);
    snapshot before = look(m);
    soma_status status = soma_save(m, path);
    bool failed = io.failed > 0;
    snapshot after = look(m);
    assert_true(same(&before, &after));
    assert_int_equal(io.open, 0);
    bool harmless = how->kind == FAULTS_SHORT || how->error == 4;
    size_t size;
    char *bytes = faults_read(path, &size);
    assert_non_null(bytes);
    bool is_new = size == new_size && !memcmp(bytes, new_bytes, size), is_old = size == 3 && !memcmp(bytes, "old", 3);
    free(bytes);
    if (!is_new && !is_old)
        fail_msg("file operation %llu: neither the old nor the new file", (unsigned long long)k);
    if ((harmless || !failed) && (status != SOMA_OK || !is_new))
        fail_msg("file operation %llu: %s", (unsigned long long)k, soma_error(s));
    if (status == SOMA_OK && !is_new)
        fail_msg("file operation %llu: success, but the file is the old one", (unsigned long long)k);
    if (status != SOMA_OK && (status != SOMA_IO || !strstr(soma_error(s), path)))
        fail_msg("file operation %llu: %s", (unsigned long long)k, soma_error(s));
    /* where everything fails from here on, removing fails too; a later save takes the same name */
    if (!how->forever || harmless)
        assert_int_equal(faults_folder_count(folder, ".tmp-"), 0);
    io.fail_at = 0;
    soma_clear(s);
    assert_int_equal(soma_save(m, path), SOMA_OK);
    assert_int_equal(faults_folder_count(folder, ".tmp-"), 0);
    soma_close(s);
    assert_int_equal(memory.blocks, 0);
    return failed;
}

static void a_save_is_whole_or_not_at_all(void **state)
{
    (void)state;
    write_kept();
    size_t size;
    char *bytes = faults_read(kept, &size);
    assert_non_null(bytes);
    for (size_t i = 0; i < sizeof ways / sizeof *ways; i++) {
        uint64_t k = 1;
        bool slow = ways[i].kind == FAULTS_SHORT && ways[i].forever; /* a byte per call: a few k are enough */
        while (save_once(&ways[i], k, bytes, size) && !(slow && k > 20))
            k++;
        assert_true(k > 10); /* open, size, close of the old; open, writes, sync, close, rename, sync of the folder */
    }
    free(bytes);
}

static void a_load_reads_all_or_nothing(void **state)
{
    (void)state;
    write_kept();
    for (size_t i = 0; i < sizeof ways / sizeof *ways; i++) {
        for (uint64_t k = 1;; k++) {
            faults_memory memory = {0};
            faults_io io = {.kind = ways[i].kind, .error = ways[i].error, .forever = ways[i].forever, .fail_at = k};
            bool harmless = ways[i].kind == FAULTS_SHORT || ways[i].error == 4;
            soma *s = open_with(&memory, &io);
            soma_model *m = soma_load(s, kept);
            if ((harmless && !m) ||
                (!m && (!io.failed || soma_error_status(s) != SOMA_IO || !strstr(soma_error(s), kept))))
                fail_msg("file operation %llu: %s", (unsigned long long)k, soma_error(s));
            assert_int_equal(io.open, 0);
            bool failed = io.failed > 0;
            soma_close(s);
            assert_int_equal(memory.blocks, 0);
            if (!failed || (harmless && k > 3))
                break;
        }
    }
}

int main(void)
{
    uint32_t state = 1;
    for (int i = 0; i < SAMPLES * 28 * 28; i++) {
        state = state * 1664525u + 1013904223u;
        pixels[i] = (float)(state >> 8) * 0x1p-24f;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(opening_fails_cleanly),
        cmocka_unit_test(no_allocation_is_taken_for_granted),
        cmocka_unit_test(a_failed_save_leaves_the_old_file),
        cmocka_unit_test(a_save_is_whole_or_not_at_all),
        cmocka_unit_test(a_load_reads_all_or_nothing),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
