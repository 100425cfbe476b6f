/* SPDX-License-Identifier: Apache-2.0
 *
 * tests/test_pace.c: when a training is told that the machine is busy: from made-up times, so that no clock is looked
 * at. And how many threads a program takes: by its shapes, whatever the machine does.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "../cli/pace.h"
#include <soma/soma.h>

#include <string.h>

/* n intervals of so many steps of so many seconds; how often it was said. */
static int feed(cli_pace *p, int n, int64_t steps, double step)
{
    int said = 0;
    for (int i = 0; i < n; i++)
        said += cli_pace_add(p, steps, step * (double)steps);
    return said;
}

static void busy_is_said_once(void **state)
{
    (void)state;
    cli_pace p = {0};
    char text[320];
    assert_int_equal(feed(&p, 5000, 6, 0.0002), 0); /* 6 s as it should be */
    assert_int_equal(feed(&p, 1000, 1, 0.013), 1);  /* then 13 s with a busy loop on each core */
    assert_int_equal(feed(&p, 1000, 1, 0.013), 0);
    assert_non_null(strstr(cli_pace_text(&p, 2, text), "--threads 1"));
    assert_non_null(strstr(text, "13 ms"));
    assert_non_null(strstr(text, "0.2 ms at its best"));
    assert_non_null(strstr(text, "about 0.4 ms"));
}

/* Busy from the beginning: now and then all threads run at the same moment, and that is the best. */
static void busy_from_the_start(void **state)
{
    (void)state;
    cli_pace p = {0};
    int said = 0;
    for (int i = 0; i < 100; i++) {
        said += feed(&p, 9, 1, 0.011);
        said += feed(&p, 1, 4, 0.0003);
    }
    assert_int_equal(said, 1);
}

/* Half of the steps are as fast as ever, the others wait for a time slice or several. */
static void every_other_step_waits(void **state)
{
    (void)state;
    cli_pace p = {0};
    int said = 0;
    for (int i = 0; i < 2000; i++) {
        said += feed(&p, 3, 1, 0.0004);
        said += feed(&p, 1, 1, i % 5 ? 0.0045 : 0.039);
    }
    assert_int_equal(said, 1);
}

static void slow_beginnings_and_pauses_are_not_busy(void **state)
{
    (void)state;
    cli_pace p = {0};
    assert_int_equal(feed(&p, 1, 1, 9.0), 0);      /* the first step touches all memory */
    assert_int_equal(feed(&p, 5, 1, 0.3), 0);      /* the next are slow, too */
    assert_int_equal(feed(&p, 3000, 1, 0.002), 0); /* 6 s */
    for (int i = 0; i < 20; i++) {                 /* hiccups: someone compiles for half a second */
        assert_int_equal(feed(&p, 1, 1, 0.5), 0);
        assert_int_equal(feed(&p, 1000, 1, 0.002), 0);
    }
    assert_int_equal(feed(&p, 1, 1, 3600), 0); /* the machine slept */
    assert_int_equal(feed(&p, 3000, 1, 0.002), 0);
    assert_int_equal(feed(&p, 3000, 1, 0.006), 0); /* three times: half of the cores, and a lower clock */
    assert_int_equal(feed(&p, 100, 0, 1.0), 0);    /* no step at all */
}

static void large_steps_are_judged_too(void **state)
{
    (void)state;
    cli_pace p = {0};
    assert_int_equal(feed(&p, 20, 1, 2.0), 0);
    assert_int_equal(feed(&p, 60, 1, 12.0), 1);
}

/* ---- threads by shapes ---- */

/* 2-4-2-1, the network of the playground */
static soma_model *tiny(soma *s)
{
    soma_model *m = soma_model_new(s, "tiny");
    soma_value x = soma_input(m, "x", SOMA_F32, SOMA_SHAPE(2));
    x = soma_dense(x, .units = 4, .activation = "tanh");
    x = soma_dense(x, .units = 2, .activation = "tanh");
    soma_output(m, "y", soma_dense(x, .units = 1));
    return m;
}

static soma_program *training(soma *s, soma_model *m, int64_t batch, soma_trainer **t, soma_dataset **d)
{
    static float x[64 * 3 * 32 * 32], targets[64];
    static int32_t labels[64];
    soma_shape shape = soma_value_type(soma_model_input(m, 0)).shape;
    int64_t classes = soma_value_type(soma_model_output(m, 0)).shape.dim[1];
    shape.dim[0] = batch;
    soma_tensor in = {SOMA_F32, shape, x}, class = {SOMA_I32, SOMA_SHAPE(batch), labels};
    soma_tensor number = {SOMA_F32, SOMA_SHAPE(batch, 1), targets};
    *d = classes == 1 ? soma_dataset_arrays(s, in, .y = number)
                      : soma_dataset_arrays(s, in, .y = class, .n_classes = (int)classes);
    *t = soma_trainer_new(m, *d, .batch_size = batch, .epochs = 1, .loss = classes == 1 ? "mean_squared_error" : NULL);
    return soma_trainer_program(*t);
}

/* Threads of a program of a context with two. */
static int threads_of(const char *name, int64_t batch, bool train, bool exact)
{
    soma_context_options two = {.struct_size = sizeof two, .threads = 2, .exact = exact};
    soma *s = soma_open(&two);
    soma_model *m = strcmp(name, "2-4-2-1") == 0 ? tiny(s) : soma_zoo(s, name);
    soma_value y = soma_model_output(m, 0);
    soma_trainer *t = NULL;
    soma_dataset *d = NULL;
    soma_program *p = train ? training(s, m, batch, &t, &d)
                            : soma_compile(m, .batch = batch, .values = &y, .n_values = 1);
    if (!p)
        fail_msg("%s: %s", name, soma_error(s));
    int threads = soma_program_threads(p);
    soma_close(s);
    return threads;
}

static void little_work_takes_one_thread(void **state)
{
    (void)state;
    assert_int_equal(threads_of("net", 8, true, false), 1);
    assert_int_equal(threads_of("lenet5", 8, true, false), 1);
    assert_int_equal(threads_of("neuron", 32, true, false), 1);
    assert_int_equal(threads_of("2-4-2-1", 10, true, false), 1);
    assert_int_equal(threads_of("net", 8, false, false), 1);
    assert_int_equal(threads_of("neuron", 32, true, true), 1);
}

static void more_work_takes_all_threads(void **state)
{
    (void)state;
    assert_int_equal(threads_of("net", 32, true, false), 2);
    assert_int_equal(threads_of("mlp", 64, true, false), 2);
    assert_int_equal(threads_of("net", 8, true, true), 2); /* reference kernels: the same bits for any number */
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(busy_is_said_once),
                                       cmocka_unit_test(busy_from_the_start),
                                       cmocka_unit_test(every_other_step_waits),
                                       cmocka_unit_test(large_steps_are_judged_too),
                                       cmocka_unit_test(slow_beginnings_and_pauses_are_not_busy),
                                       cmocka_unit_test(little_work_takes_one_thread),
                                       cmocka_unit_test(more_work_takes_all_threads)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
