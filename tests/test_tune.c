/* SPDX-License-Identifier: Apache-2.0
 *
 * Kernels chosen by the clock, which is the test's own here: who is timed, what a reorder costs, what the cache file
 * and a model's record keep, and that neither is believed when it is damaged or another machine's.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "cpu/parallel.h"
#include "faults.h"
#include "base/limits.h"
#include "base/random.h"
#include "compile/choose/tune.h"
#include <soma/soma.h>

/* ---- a clock that ticks when it is read, and kernels that take the time they are told ---- */

static double now, tick;
static int runs[3], overlaid[3]; /* overlaid: those in which y lay over x */
static char logged[1024];
static int warnings;

static double read_clock(void *user)
{
    (void)user;
    return now += tick;
}

static void keep_log(void *user, soma_log_level level, const char *text)
{
    (void)user;
    warnings += level == SOMA_LOG_WARNING;
    snprintf(logged, sizeof logged, "%s", text);
}

typedef struct told {
    size_t bytes;
    int which;
    bool f32;
} told;

static double takes[3]; /* milliseconds */
static int delayed[3];  /* so many runs at first take three times as long */

static soma_status run(const void *state, void *const *arg, soma_run *r)
{
    const told *t = state;
    (void)r;
    if (t->f32) { /* nothing that slows arithmetic down */
        const float *x = arg[0];
        for (size_t i = 0; i < t->bytes / sizeof *x; i++)
            if (!(fabsf(x[i]) > 0.01f && fabsf(x[i]) < 2))
                return SOMA_DATA;
    }
    if (arg[1] != arg[0])
        memcpy(arg[1], arg[0], t->bytes);
    now += takes[t->which] * 1e-3 * (runs[t->which] < delayed[t->which] ? 3 : 1);
    runs[t->which]++;
    overlaid[t->which] += arg[1] == arg[0];
    return SOMA_OK;
}

static soma_status prepare(soma_prepare *p, int which, size_t scratch)
{
    told *t = soma_prepare_state(p, sizeof *t);
    if (!t)
        return SOMA_MEMORY;
    *t = (told){(size_t)p->in[0].elements * soma_dtype_size(p->in[0].dtype), which, p->in[0].dtype == SOMA_F32};
    p->run = run;
    p->state = t;
    p->scratch = scratch;
    return SOMA_OK;
}

static soma_status prepare_0(soma_prepare *p)
{
    return prepare(p, 0, 0);
}
static soma_status prepare_1(soma_prepare *p)
{
    return prepare(p, 1, 1 << 20);
}
static soma_status prepare_2(soma_prepare *p)
{
    return prepare(p, 2, 0);
}

static soma_status prepare_apart(soma_prepare *p)
{
    p->apart = true;
    return prepare(p, 1, 0);
}
static soma_status prepare_nothing(soma_prepare *p)
{
    p->apart = true;
    soma_refuse(p->reason, "as it is told");
    return SOMA_UNSUPPORTED;
}

static void wish_nhwc(soma_prepare *p)
{
    p->in[0].layout.kind = p->out[0].layout.kind = SOMA_NHWC;
}

static soma_status infer(soma_infer *i)
{
    i->out[0] = i->in[0];
    return SOMA_OK;
}

static soma_status accept_half(soma_prepare *p)
{
    if (p->in[0].dtype == SOMA_BF16)
        return SOMA_OK;
    soma_refuse(p->reason, "made for bf16");
    return SOMA_UNSUPPORTED;
}

static const soma_kernel rule = {.name = "rule", .prepare = prepare_0};
static const soma_kernel other = {.name = "other", .prepare = prepare_1};
static const soma_kernel apart = {.name = "apart", .prepare = prepare_apart};
static const soma_kernel late = {.name = "late", .prepare = prepare_nothing};
static const soma_kernel nhwc = {
    .name = "nhwc", .layouts = SOMA_LAYOUT_ASK, .request = wish_nhwc, .prepare = prepare_2};
static const soma_kernel half = {
    .name = "half", .bf16 = SOMA_BF16_MULTIPLY, .accept = accept_half, .prepare = prepare_1};
static const soma_kernel reference = {.name = "reference", .exact = true, .prepare = prepare_2};

static soma *open_here(int threads, bool exact)
{
    soma_context_options o = {.struct_size = sizeof o, .threads = threads, .exact = exact, .log = keep_log};
    o.clock.now = read_clock;
    soma *s = soma_open(&o);
    assert_non_null(s);
    memset(runs, 0, sizeof runs);
    memset(overlaid, 0, sizeof overlaid);
    warnings = 0;
    logged[0] = 0;
    return s;
}

/* y = x over [N, 16, 4, 4] with these kernels; the program is the context's. */
static soma_program *compile(soma *s, const soma_op *op, bool tune, uint64_t max_memory)
{
    soma_model *m = soma_model_new(s, "told");
    soma_value x = soma_input(m, "x", SOMA_F32, SOMA_SHAPE(16, 4, 4)), y = soma_none();
    soma_apply_options how = {.struct_size = sizeof how};
    assert_int_equal(soma_apply_with(op, &x, 1, &y, 1, &how), SOMA_OK);
    return soma_compile(m, .batch = 2, .values = &y, .n_values = 1, .tune = tune, .max_memory = max_memory);
}

static const soma_kernel *const two[] = {&rule, &other, &reference, NULL};
static const soma_kernel *const layouts[] = {&rule, &nhwc, &reference, NULL};

static soma_op op_of(const soma_kernel *const *kernels)
{
    return (soma_op){.name = "told",
                     .doc = "y = x",
                     .required_in = 1,
                     .required_out = 1,
                     .batch = SOMA_BATCH_WHOLE,
                     .infer = infer,
                     .kernels = kernels};
}

/* The kernel that compiling takes, with what is told of it. */
static void expect(const soma_kernel *const *kernels, bool tune, uint64_t max_memory, const char *kernel,
                   const char *chosen)
{
    soma_op op = op_of(kernels);
    soma *s = open_here(1, false);
    soma_program *p = compile(s, &op, tune, max_memory);
    assert_string_equal(soma_error(s), "");
    int i = 0; /* reorders may come first */
    while (strcmp(soma_program_node(p, i).op, "told"))
        i++;
    assert_string_equal(soma_program_node(p, i).kernel, kernel);
    assert_string_equal(soma_program_node(p, i).chosen, chosen);
    soma_close(s);
}

static void the_fastest_is_taken(void **state)
{
    (void)state;
    tick = 0;
    takes[0] = 2, takes[1] = 1, takes[2] = 0.5;
    expect(two, true, 0, "other", "timed: rule 2 ms, other 1 ms");
    assert_int_equal(runs[2], 0); /* an exact one is not even tried beside others */
    expect(two, false, 0, "rule", "");
    takes[0] = 1.01; /* not clearly slower */
    expect(two, true, 0, "rule", "timed: rule 1.01 ms, other 1 ms");
    assert_int_equal(runs[0], 21);
    assert_int_equal(runs[1], 21);
    takes[1] = 60; /* hopeless after the first round; long ones run less often */
    takes[0] = 9;
    expect(two, true, 0, "rule", "timed: rule 9 ms, other 60 ms");
    assert_int_equal(runs[0], 1 + 7);
    assert_int_equal(runs[1], 1);
}

/* Half as slow again as the best is enough, but only from the third round on, and by the fastest run. */
static void the_slow_are_sorted_out(void **state)
{
    (void)state;
    takes[0] = 1, takes[1] = 1.6;
    expect(two, true, 0, "rule", "timed: rule 1 ms, other 1.6 ms");
    assert_int_equal(runs[0], 21);
    assert_int_equal(runs[1], 1 + 3);
    takes[1] = 1.4;
    expect(two, true, 0, "rule", "timed: rule 1 ms, other 1.4 ms");
    assert_int_equal(runs[1], 21);
    takes[1] = 0.9;
    delayed[1] = 1 + 2; /* a core that was taken away for a while */
    expect(two, true, 0, "other", "timed: rule 1 ms, other 0.9 ms");
    assert_int_equal(runs[1], 21);
    delayed[1] = 1 + 3;
    expect(two, true, 0, "rule", "timed: rule 1 ms, other 2.7 ms");
    assert_int_equal(runs[1], 1 + 3);
    delayed[1] = 0;
}

static void exact_programs_time_nothing(void **state)
{
    (void)state;
    soma_op op = op_of(two);
    soma *s = open_here(1, true);
    soma_program *p = compile(s, &op, true, 0);
    assert_string_equal(soma_program_node(p, 0).kernel, "reference");
    assert_int_equal(runs[0] + runs[1] + runs[2], 0);
    soma_close(s);
}

/* 1 ms instead of 1.5 ms, but a reorder of x and one of y, which take a tick of the clock each. */
static void reorders_count(void **state)
{
    (void)state;
    takes[0] = 1.5, takes[2] = 1;
    tick = 0.2e-3;
    expect(layouts, true, 0, "nhwc", "timed: rule 1.7 ms, nhwc 1.6 ms");
    tick = 0.4e-3;
    expect(layouts, true, 0, "rule", "timed: rule 1.9 ms, nhwc 2.2 ms");
    tick = 0;
}

static void scratch_is_bounded(void **state)
{
    (void)state;
    takes[0] = 2, takes[1] = 1;
    expect(two, true, 9 << 20, "other", "timed: rule 2 ms, other 1 ms");
    expect(two, true, 7 << 20, "rule", "");
    soma_op op = op_of(two);
    soma *s = open_here(1, false);
    compile(s, &op, true, 0);
    int before = runs[0] + runs[1];
    soma_program *p = compile(s, &op, true, 9 << 20);
    assert_string_equal(soma_program_node(p, 0).kernel, "other");
    p = compile(s, &op, true, 7 << 20); /* what was timed without a budget must keep to it as well */
    assert_string_equal(soma_program_node(p, 0).kernel, "rule");
    assert_string_equal(soma_program_node(p, 0).chosen, "");
    assert_int_equal(runs[0] + runs[1], before);
    soma_close(s);
}

/* Three in a row, whose middle one may write over what it reads: so it is timed, and so it runs, unless its kernel says
 * that it must not. What a kernel says that then refuses counts for nothing. */
static void results_lie_apart_where_a_kernel_says_so(void **state)
{
    (void)state;
    static const soma_kernel *const kernels[][4] = {
        {&rule, &other, &reference}, {&rule, &apart, &reference}, {&late, &other, &reference}};
    takes[0] = 2, takes[1] = 1;
    for (int k = 0; k < 3; k++) {
        soma_op op = op_of(kernels[k]);
        op.inplace_in = 1;
        soma *s = open_here(1, false);
        soma_model *m = soma_model_new(s, "told");
        soma_value x = soma_input(m, "x", SOMA_F32, SOMA_SHAPE(16, 4, 4)), y[4] = {x};
        soma_apply_options how = {.struct_size = sizeof how};
        for (int i = 0; i < 3; i++)
            assert_int_equal(soma_apply_with(&op, y + i, 1, y + i + 1, 1, &how), SOMA_OK);
        soma_program *p = soma_compile(m, .batch = 2, .values = y + 3, .n_values = 1, .tune = k < 2);
        assert_string_equal(soma_error(s), "");
        assert_string_equal(soma_program_node(p, 1).kernel, k == 1 ? "apart" : "other");
        assert_int_equal(runs[0] > 0, k < 2);
        assert_int_equal(overlaid[0], runs[0]);
        assert_int_equal(overlaid[1], k == 1 ? 0 : runs[1]);
        int before = overlaid[1];
        soma_tensor in = soma_program_input(p, x);
        for (int i = 0; i < 512; i++)
            ((float *)in.data)[i] = (float)(i % 7 + 1) / 4;
        assert_int_equal(soma_step(p), SOMA_OK);
        assert_int_equal(overlaid[1] - before, k != 1);
        assert_memory_equal(soma_read(p, y[3]).data, in.data, 512 * sizeof(float));
        soma_close(s);
    }
}

/* A bf16 step may run in f32 where that is faster with the conversion of what it reads, which takes a tick. */
static void bf16_steps_may_run_in_f32(void **state)
{
    (void)state;
    static const soma_kernel *const kernels[] = {&half, &rule, &reference, NULL};
    soma_op op = op_of(kernels);
    if (soma_cpu_isa() < 4) {
        print_message("this CPU has no bf16\n");
        skip();
    }
    takes[0] = 1, takes[1] = 1.5;
    for (int slow = 0; slow < 2; slow++) {
        tick = slow ? 0.6e-3 : 0.2e-3;
        soma *s = open_here(1, false);
        soma_model *m = soma_model_new(s, "told");
        soma_value x = soma_input(m, "x", SOMA_F32, SOMA_SHAPE(16, 4, 4)), y = soma_none(), z;
        soma_apply_options how = {.struct_size = sizeof how};
        assert_int_equal(soma_apply_with(&op, &x, 1, &y, 1, &how), SOMA_OK);
        assert_int_equal(soma_apply_with(&op, &y, 1, &z, 1, &how), SOMA_OK);
        soma_program *p = soma_compile(m, .batch = 2, .values = &z, .n_values = 1, .tune = true, .precision = "bf16");
#ifndef SOMA_HAVE_ONEDNN
        assert_null(p);
        assert_non_null(strstr(soma_error(s), "needs oneDNN"));
        soma_close(s);
        skip();
#endif
        assert_string_equal(soma_error(s), "");
        int i = soma_program_nodes(p) - 1;
        while (i > 0 && strcmp(soma_program_node(p, i).op, "told"))
            i--;
        assert_string_equal(soma_program_node(p, i).kernel, slow ? "half" : "rule");
        assert_non_null(strstr(soma_program_node(p, i).chosen, "half"));
        assert_non_null(strstr(soma_program_node(p, i).chosen, "rule in f32"));
        soma_tensor in = soma_program_input(p, x);
        for (int k = 0; k < 512; k++)
            ((float *)in.data)[k] = (float)(k % 7 + 1) / 4;
        assert_int_equal(soma_step(p), SOMA_OK);
        if (!slow) /* half copies and converts nothing */
            assert_memory_equal(soma_read(p, z).data, in.data, 512 * sizeof(float));
        soma_close(s);
    }
    tick = 0;
}

static void equal_shapes_are_timed_once(void **state)
{
    (void)state;
    soma_op op = op_of(two);
    takes[0] = 2, takes[1] = 1;
    soma *s = open_here(1, false);
    compile(s, &op, true, 0);
    int before = runs[0] + runs[1];
    soma_program *p = compile(s, &op, true, 0);
    assert_int_equal(runs[0] + runs[1], before);
    assert_string_equal(soma_program_node(p, 0).kernel, "other");
    assert_string_equal(soma_program_node(p, 0).chosen, "timed before: rule 2 ms, other 1 ms");
    soma_close(s);
}

/* ---- the cache file ---- */

static char folder[256], cache[300], model[300];

static int make_folder(void **state)
{
    (void)state;
    if (!faults_folder(folder))
        return -1;
    snprintf(cache, sizeof cache, "%s/kernels", folder);
    snprintf(model, sizeof model, "%s/model.safetensors", folder);
    return 0;
}

static int remove_folder(void **state)
{
    (void)state;
    faults_folder_remove(folder);
    return 0;
}

/* Compiles with that cache file; returns how often kernels ran. */
static int compile_cached(const soma_op *op, int threads, const char *path)
{
    soma *s = open_here(threads, false);
    assert_int_equal(soma_tune_cache_open(s, path), SOMA_OK);
    soma_program *p = compile(s, op, true, 0);
    assert_string_equal(soma_error(s), "");
    assert_string_equal(soma_program_node(p, 0).kernel, "other");
    soma_close(s);
    return runs[0] + runs[1];
}

static void the_cache_file_keeps_choices(void **state)
{
    (void)state;
    soma_op op = op_of(two);
    takes[0] = 2, takes[1] = 1;
    assert_true(compile_cached(&op, 1, cache) > 0);
    assert_int_equal(warnings, 0); /* a file that is not there yet is nothing special */
    assert_int_equal(compile_cached(&op, 1, cache), 0);
    assert_true(compile_cached(&op, 2, cache) > 0); /* other threads: another machine, kept beside the first */
    assert_int_equal(compile_cached(&op, 2, cache), 0);
    assert_int_equal(compile_cached(&op, 1, cache), 0);
    assert_int_equal(faults_folder_count(folder, ""), 1);
}

static void two_processes_add_to_one_file(void **state)
{
    (void)state;
    soma_op op = op_of(two), three = op_of(two);
    three.name = "another";
    takes[0] = 2, takes[1] = 1;
    remove(cache);
    soma *a = open_here(1, false), *b = open_here(1, false);
    soma_tune_cache_open(a, cache);
    soma_tune_cache_open(b, cache);
    compile(a, &op, true, 0);
    compile(b, &three, true, 0);
    soma_close(a);
    soma_close(b);
    assert_int_equal(compile_cached(&op, 1, cache), 0);
    assert_int_equal(compile_cached(&three, 1, cache), 0);
}

static void a_cache_that_cannot_be_used_is_a_warning(void **state)
{
    (void)state;
    soma_op op = op_of(two);
    char nowhere[400];
    snprintf(nowhere, sizeof nowhere, "%s/none/kernels", folder);
    assert_true(compile_cached(&op, 1, nowhere) > 0);
    assert_int_equal(warnings, 1);
    assert_non_null(strstr(logged, "the cache of timed kernels is not used"));
    assert_true(compile_cached(&op, 1, folder) > 0); /* a folder, not a file */
    assert_true(warnings > 0);
}

static void no_damage_is_believed(void **state)
{
    (void)state;
    soma_op op = op_of(two);
    size_t size = 0;
    remove(cache);
    compile_cached(&op, 1, cache);
    char *good = faults_read(cache, &size), *bad = malloc(size + 1);
    assert_true(good && bad && size > 100);
    soma *s = open_here(1, false);
    for (size_t i = 0; i < 9 * size; i++) { /* each bit turned, then each byte the first that is missing */
        soma_choices c;
        const char *why;
        size_t length = i < 8 * size ? size : i - 8 * size;
        memcpy(bad, good, size);
        if (i < 8 * size)
            bad[i / 8] = (char)(bad[i / 8] ^ 1 << i % 8);
        soma_choices_init(&c, s);
        assert_int_equal(soma_choices_read(&c, bad, length, &why), SOMA_OK);
        assert_non_null(why);
        assert_int_equal(c.n, 0);
        soma_choices_free(&c);
    }
    soma_close(s);
    assert_true(faults_write(cache, good, size / 2));
    assert_true(compile_cached(&op, 1, cache) > 0);
    assert_true(warnings > 0);
    assert_int_equal(compile_cached(&op, 1, cache), 0); /* written anew */
    assert_int_equal(warnings, 0);
    assert_true(faults_write(cache, "", 0));
    assert_true(compile_cached(&op, 1, cache) > 0);
    free(good);
    free(bad);
}

/* Lines are compared with each other: a file with more of them than programs have steps is not read. */
static void many_lines_are_refused(void **state)
{
    (void)state;
    soma_op op = op_of(two);
    size_t size = 0;
    remove(cache);
    compile_cached(&op, 1, cache);
    char *good = faults_read(cache, &size);
    assert_non_null(good);
    size_t head = (size_t)((char *)memchr(good, '\n', size) - good) + 1;
    size_t line = (size_t)((char *)memchr(good + head, '\n', size - head) - good) + 1 - head;
    soma *s = open_here(1, false);
    for (int more = 0; more < 2; more++) {
        size_t n = SOMA_LIMIT_CHOICE_LINES + (size_t)more;
        char *many = malloc(head + n * line), digits[17];
        assert_non_null(many);
        memcpy(many, good, head);
        for (size_t i = 0; i < n; i++)
            memcpy(many + head + i * line, good + head, line);
        snprintf(digits, sizeof digits, "%016llx", (unsigned long long)soma_hash_bytes(0, many + head, n * line));
        memcpy(many + head - 17, digits, 16);
        soma_choices c;
        const char *why = NULL;
        soma_choices_init(&c, s);
        assert_int_equal(soma_choices_read(&c, many, head + n * line, &why), SOMA_OK);
        assert_int_equal(c.n, !more);
        if (more)
            assert_string_equal(why, "it has too many lines");
        else
            assert_null(why);
        soma_choices_free(&c);
        free(many);
    }
    soma_close(s);
    free(good);
}

static void every_allocation_may_fail(void **state)
{
    (void)state;
    soma_op op = op_of(layouts);
    takes[0] = 1.5, takes[2] = 1;
    for (uint64_t k = 1;; k++) {
        faults_memory memory = {.fail_at = k};
        soma_context_options o = {.struct_size = sizeof o, .threads = 1, .log = keep_log};
        o.clock.now = read_clock;
        o.allocator = faults_allocator(&memory);
        remove(cache);
        soma *s = soma_open(&o);
        if (s)
            soma_tune_cache_open(s, cache);
        soma_model *m = s ? soma_model_new(s, "told") : NULL;
        soma_value x = m ? soma_input(m, "x", SOMA_F32, SOMA_SHAPE(16, 4, 4)) : soma_none(), y = soma_none();
        soma_apply_options how = {.struct_size = sizeof how};
        soma_program *p = NULL;
        if (m && soma_apply_with(&op, &x, 1, &y, 1, &how) == SOMA_OK)
            p = soma_compile(m, .batch = 2, .values = &y, .n_values = 1, .tune = true);
        if (!p && s)
            assert_true(soma_failed(s));
        soma_close(s);
        assert_int_equal(memory.blocks, 0);
        assert_int_equal(memory.mistakes, 0);
        if (!memory.failed)
            break;
    }
}

/* ---- a model's record ---- */

enum { SAMPLES = 8, SIDE = 14 };
static float pixels[SAMPLES * 32 * SIDE * SIDE];
static int32_t labels[SAMPLES];

static soma_model *build(soma *s)
{
    soma_model *m = soma_model_new(s, "recorded");
    soma_value x = soma_input(m, "x", SOMA_F32, SOMA_SHAPE(32, SIDE, SIDE));
    x = soma_conv2d(x, .filters = 32, .kernel = {3, 3}, .same = true, .activation = "relu");
    x = soma_conv2d(x, .filters = 32, .kernel = {3, 3}, .same = true, .activation = "relu");
    x = soma_dense(soma_flatten(x), .units = 3);
    soma_output(m, "y", x);
    return m;
}

static void train(soma *s, soma_model *m, bool tune)
{
    soma_tensor x = {SOMA_F32, SOMA_SHAPE(SAMPLES, 32, SIDE, SIDE), pixels},
                y = {SOMA_I32, SOMA_SHAPE(SAMPLES), labels};
    soma_dataset *d = soma_dataset_arrays(s, x, .y = y, .n_classes = 3);
    soma_fit(m, d, .epochs = 3, .batch_size = 4, .optimizer = soma_sgd(.lr = 0.01), .tune = tune);
    assert_string_equal(soma_error(s), "");
    soma_dataset_free(d);
}

static soma *open_real(int threads)
{
    soma_context_options o = {.struct_size = sizeof o, .threads = threads, .seed = 3, .log = keep_log};
    warnings = 0;
    logged[0] = 0;
    return soma_open(&o);
}

/* Has this build kernels to choose from for certain? Soma's own Winograd convolutions and the library's. */
static bool must_choose(void)
{
#ifdef SOMA_HAVE_ONEDNN
    return soma_cpu_isa() >= 2;
#else
    return false;
#endif
}

/* A context whose cache file says for every step the last kernel that was tried, which is not the rule's. */
static soma *open_contrary(int threads)
{
    remove(cache);
    soma *s = open_real(threads);
    soma_choices c;
    soma_text text = {.s = s};
    const char *why = NULL;
    size_t size = 0;
    soma_tune_cache_open(s, cache);
    train(s, build(s), true);
    char *bytes = faults_read(cache, &size);
    soma_choices_init(&c, s);
    assert_true(bytes || !must_choose());
    if (bytes) /* none where nothing was timed */
        assert_int_equal(soma_choices_read(&c, bytes, size, &why), SOMA_OK);
    for (int i = 0; i < c.n; i++) {
        soma_choice it = c.items[i];
        const char *last = strrchr(it.detail, ',') + 2;
        char kernel[64];
        size_t length = strlen(last) - strlen(" ms");
        while (last[--length] != ' ')
            ;
        snprintf(kernel, sizeof kernel, "%.*s", (int)length, last);
        it.kernel = kernel;
        soma_choices_put(&c, &it);
    }
    soma_choices_write(&c, &text);
    faults_write(cache, text.bytes, text.size);
    soma_text_free(&text);
    soma_choices_free(&c);
    free(bytes);
    soma_close(s);
    s = open_real(threads);
    soma_tune_cache_open(s, cache);
    return s;
}

static void compare(soma_model *a, soma_model *b, bool same)
{
    soma_named_tensor x = soma_tensor_find(a, "conv1.weight"), y = soma_tensor_find(b, "conv1.weight");
    int difference = memcmp(x.tensor.data, y.tensor.data, (size_t)soma_shape_elements(&x.tensor.shape) * sizeof(float));
    assert_int_equal(difference == 0, same);
}

static void fill_data(void)
{
    for (int i = 0; i < SAMPLES * 32 * SIDE * SIDE; i++)
        pixels[i] = (float)sin(0.7 * i);
    for (int i = 0; i < SAMPLES; i++)
        labels[i] = i % 3;
}

/* Trained, trained on; the same with the process ended in between; and from the same file by the rule alone. */
static void training_goes_on_with_the_same_kernels(void **state)
{
    (void)state;
    fill_data();
    soma *s = open_contrary(1), *rule_s = open_real(1), *later = open_real(1);
    soma_model *by_rule = build(rule_s), *m = build(s);
    train(rule_s, by_rule, false);
    train(s, m, true);
    if (soma_model_fingerprint(m) == soma_model_fingerprint(by_rule)) {
        assert_false(must_choose());
        print_message("this build has one kernel for each step: nothing to choose, nothing to keep\n");
        soma_close(rule_s);
        soma_close(s);
        soma_close(later);
        skip();
    }
    compare(m, by_rule, false);
    assert_int_equal(soma_save(m, model), SOMA_OK);
    train(s, m, true);
    soma_model *loaded = soma_load(later, model);
    assert_non_null(loaded);
    assert_int_equal(soma_model_fingerprint(loaded), soma_model_fingerprint(m));
    train(later, loaded, false);
    assert_int_equal(soma_model_fingerprint(loaded), soma_model_fingerprint(m));
    compare(loaded, m, true);
    assert_int_equal(warnings, 0);
    soma_close(rule_s);
    soma_close(s);
    soma_close(later);
}

static void a_refused_program_leaves_the_record(void **state)
{
    (void)state;
    fill_data();
    soma *s = open_contrary(1);
    soma_model *m = build(s);
    soma_value y = soma_model_output(m, 0);
    for (int fits = 0; fits < 2; fits++) {
        soma_program *p = soma_compile(m, .batch = 4, .values = &y, .n_values = 1, .tune = true, .micro_batch = 4,
                                       .max_memory = fits ? 0 : 100000);
        assert_true((p != NULL) == fits);
        bool chosen = false;
        for (int i = 0; i < soma_program_nodes(p); i++)
            chosen = chosen || soma_program_node(p, i).chosen[0];
        assert_int_equal(soma_choices_any(m), chosen);
        assert_true(chosen || !fits || !must_choose());
    }
    soma_close(s);
}

/* A choice that replaces another and two new ones, whose texts each want memory of their own. */
static void a_record_takes_all_or_nothing(void **state)
{
    (void)state;
    enum { LONG = 3000 };
    char machine[SOMA_MACHINE_TEXT], keys[3][LONG + 1] = {"known"};
    soma_choice old = {.key = keys[0], .kernel = "old", .detail = ""}, choices[3];
    soma_task first = {.choice = &old}, tasks[4] = {0};
    memset(keys[1], 'b', LONG);
    memset(keys[2], 'c', LONG);
    for (int i = 0; i < 3; i++) {
        choices[i] = (soma_choice){.key = keys[i], .kernel = "new", .detail = ""};
        tasks[i + 1].choice = &choices[i]; /* the first has none */
    }
    int failures = 0;
    for (uint64_t k = 1;; k++) {
        faults_memory memory = {0};
        soma_context_options o = {.struct_size = sizeof o, .threads = 1, .allocator = faults_allocator(&memory)};
        soma *s = soma_open(&o);
        soma_plan p = {.s = s, .model = soma_model_new(s, "told"), .tasks = &first, .n_tasks = 1};
        soma_machine_text(s, machine);
        assert_int_equal(soma_choices_keep(&p), SOMA_OK);
        p.tasks = tasks;
        p.n_tasks = 4;
        memory.fail_at = memory.calls + k;
        soma_status status = soma_choices_keep(&p);
        bool done = status == SOMA_OK;
        assert_int_equal(status, memory.failed ? SOMA_MEMORY : SOMA_OK);
        assert_string_equal(soma_choices_of_model(p.model, machine, keys[0])->kernel, done ? "new" : "old");
        for (int i = 1; i < 3; i++)
            assert_true((soma_choices_of_model(p.model, machine, keys[i]) != NULL) == done);
        soma_close(s);
        assert_int_equal(memory.blocks, 0);
        if (done)
            break;
        failures++;
    }
    assert_true(failures >= 3);
}

static void another_machines_record_is_not_used(void **state)
{
    (void)state;
    fill_data();
    soma *s = open_contrary(1), *there = open_real(2), *rule_s = open_real(2);
    soma_model *m = build(s);
    train(s, m, true);
    assert_int_equal(soma_save(m, model), SOMA_OK);
    soma_model *loaded = soma_load(there, model), *by_rule = build(rule_s);
    assert_int_equal(soma_model_fingerprint(loaded),
                     soma_model_fingerprint(m)); /* of its last training, wherever that was */
    train(there, loaded, false);
    train(rule_s, by_rule, false);
    assert_int_equal(soma_model_fingerprint(loaded), soma_model_fingerprint(by_rule));
    assert_true(soma_choices_any(m) || !must_choose());
    assert_int_equal(warnings, soma_choices_any(m)); /* none where nothing was timed */
    if (warnings) {
        assert_non_null(strstr(logged, "was tuned on another machine"));
        assert_non_null(strstr(logged, "1 threads"));
        assert_non_null(strstr(logged, "2 threads"));
    }
    soma_close(s);
    soma_close(there);
    soma_close(rule_s);
}

static void saving_what_was_loaded_changes_nothing(void **state)
{
    (void)state;
    fill_data();
    char copy[320];
    size_t n[2] = {0, 0};
    snprintf(copy, sizeof copy, "%s.copy", model);
    soma *s = open_contrary(1), *other_s = open_real(1);
    soma_model *m = build(s);
    train(s, m, true);
    assert_int_equal(soma_save(m, model), SOMA_OK);
    assert_int_equal(soma_save(soma_load(other_s, model), copy), SOMA_OK);
    char *bytes[2] = {faults_read(model, &n[0]), faults_read(copy, &n[1])};
    assert_int_equal(n[0], n[1]);
    assert_memory_equal(bytes[0], bytes[1], n[0]);
    assert_non_null(strstr(bytes[0] + 8, "soma.record"));
    free(bytes[0]);
    free(bytes[1]);
    soma_close(s);
    soma_close(other_s);
}

int main(void)
{
    const struct CMUnitTest all[] = {
        cmocka_unit_test(the_fastest_is_taken),
        cmocka_unit_test(the_slow_are_sorted_out),
        cmocka_unit_test(exact_programs_time_nothing),
        cmocka_unit_test(reorders_count),
        cmocka_unit_test(scratch_is_bounded),
        cmocka_unit_test(results_lie_apart_where_a_kernel_says_so),
        cmocka_unit_test(bf16_steps_may_run_in_f32),
        cmocka_unit_test(equal_shapes_are_timed_once),
        cmocka_unit_test(the_cache_file_keeps_choices),
        cmocka_unit_test(two_processes_add_to_one_file),
        cmocka_unit_test(a_cache_that_cannot_be_used_is_a_warning),
        cmocka_unit_test(no_damage_is_believed),
        cmocka_unit_test(many_lines_are_refused),
        cmocka_unit_test(every_allocation_may_fail),
        cmocka_unit_test(training_goes_on_with_the_same_kernels),
        cmocka_unit_test(a_refused_program_leaves_the_record),
        cmocka_unit_test(a_record_takes_all_or_nothing),
        cmocka_unit_test(another_machines_record_is_not_used),
        cmocka_unit_test(saving_what_was_loaded_changes_nothing),
    };
    return cmocka_run_group_tests(all, make_folder, remove_folder);
}
