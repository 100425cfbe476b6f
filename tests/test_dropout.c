/* SPDX-License-Identifier: Apache-2.0
 *
 * tests/test_dropout.c: which elements dropout drops: the numbers it draws belong to (seed, site, step, element of the
 * full batch) and to nothing else, whatever the kernel, the piece, the threads and the caller's own source of random
 * numbers.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/random.h"
#include "graph/graph.h"
#include "kernel_call.h"
#include "op/dropout/dropout.h"
#include <soma/soma.h>

#include <math.h>
#include <string.h>

#define ROWS 12
#define COLUMNS 1001 /* not a multiple of a draw block: rows begin in the middle of one */

static float x[ROWS * COLUMNS], y[ROWS * COLUMNS], z[ROWS * COLUMNS];

static void fill(void)
{
    for (int i = 0; i < ROWS * COLUMNS; i++)
        x[i] = 1 + (float)(i % 97) / 8;
}

static kernel_call call(const soma_dropout_attrs *attrs, float *in, float *out, int64_t first, int64_t rows)
{
    kernel_call c = {.op = &soma_op_dropout,
                     .attrs = attrs,
                     .n_in = 1,
                     .n_out = 1,
                     .batch = rows,
                     .full_batch = ROWS,
                     .sample_offset = first,
                     .site = 0x123456789abcdef,
                     .seed = 42,
                     .step = 3};
    c.arg[0] = (soma_tensor){SOMA_F32, SOMA_SHAPE(rows, COLUMNS), in + first * COLUMNS};
    c.arg[1] = (soma_tensor){SOMA_F32, SOMA_SHAPE(rows, COLUMNS), out + first * COLUMNS};
    return c;
}

/* The definition once more, number by number from base/random.h. */
static void check_definition(const soma_dropout_attrs *attrs, const kernel_call *c, const float *out)
{
    for (uint64_t e = 0; e < ROWS * COLUMNS; e++) {
        uint32_t n[4];
        uint64_t site = attrs->stream_site ? (uint64_t)attrs->stream_site : c->site;
        soma_draw(&c->random, c->seed, SOMA_STREAM_DROPOUT, site, c->step, e / 4, n);
        bool dropped = (double)n[e % 4] * 0x1p-32 < attrs->rate;
        double want = dropped ? 0 : (double)x[e] / (1 - attrs->rate);
        assert_true(fabs((double)out[e] - want) <= 4e-7 * want);
    }
}

/* With maps, map m of the full batch is decided by number m % 4 of draw block m / 4. */
static void maps_are_dropped_as_a_whole(void **state)
{
    (void)state;
    fill();
    const soma_dropout_attrs attrs = {0.5, 0, true};
    for (const soma_kernel *const *k = soma_op_dropout.kernels; *k; k++) {
        if (!kernel_call_possible(*k))
            continue;
        kernel_call c = call(&attrs, x, y, 0, ROWS);
        c.arg[0].shape = c.arg[1].shape = SOMA_SHAPE(ROWS, 7, 11, 13);
        assert_int_equal(kernel_call_run(&c, *k), SOMA_OK);
        for (uint64_t e = 0; e < ROWS * COLUMNS; e++) {
            uint32_t n[4];
            soma_draw(&c.random, c.seed, SOMA_STREAM_DROPOUT, c.site, c.step, e / 143 / 4, n);
            assert_true(y[e] == (n[e / 143 % 4] < 0x80000000u ? 0 : 2 * x[e]));
        }
    }
}

static void every_kernel_draws_the_same(void **state)
{
    (void)state;
    fill();
    const soma_dropout_attrs all[] = {
        {0.5, 0, false}, {0.25, 0, false}, {0.9, 77, false}, {0, 0, false}, {0.999, -5, false}};
    for (size_t a = 0; a < sizeof all / sizeof all[0]; a++)
        for (const soma_kernel *const *k = soma_op_dropout.kernels; *k; k++) {
            if (!kernel_call_possible(*k))
                continue;
            kernel_call c = call(&all[a], x, y, 0, ROWS);
            memset(y, 0xff, sizeof y);
            assert_int_equal(kernel_call_run(&c, *k), SOMA_OK);
            check_definition(&all[a], &c, y);
        }
}

static void share_of_zeros(void **state)
{
    (void)state;
    fill();
    const soma_dropout_attrs attrs = {0.25, 0, false};
    kernel_call c = call(&attrs, x, y, 0, ROWS);
    const soma_kernel *const *k = soma_op_dropout.kernels;
    while (!kernel_call_possible(*k))
        k++;
    assert_int_equal(kernel_call_run(&c, *k), SOMA_OK);
    int zeros = 0, position[4] = {0};
    for (int i = 0; i < ROWS * COLUMNS; i++)
        if (y[i] == 0) {
            zeros++;
            position[i % 4]++;
        }
    double n = ROWS * COLUMNS, deviation = sqrt(n * 0.25 * 0.75);
    assert_true(fabs(zeros - n * 0.25) < 4 * deviation);
    for (int i = 0; i < 4; i++)
        assert_true(fabs(position[i] - n / 16) < 4 * deviation / 2);
}

static void pieces_and_threads_change_nothing(void **state)
{
    (void)state;
    fill();
    const soma_dropout_attrs attrs = {0.4, 0, false};
    for (const soma_kernel *const *k = soma_op_dropout.kernels; *k; k++) {
        if (!kernel_call_possible(*k))
            continue;
        kernel_call whole = call(&attrs, x, y, 0, ROWS);
        assert_int_equal(kernel_call_run(&whole, *k), SOMA_OK);
        for (int64_t rows = 1; rows <= 6; rows = rows == 3 ? 6 : rows + 1) {
            memset(z, 0xff, sizeof z);
            for (int64_t first = 0; first < ROWS; first += rows) {
                kernel_call piece = call(&attrs, x, z, first, rows);
                assert_int_equal(kernel_call_run(&piece, *k), SOMA_OK);
            }
            assert_memory_equal(y, z, sizeof y);
        }
    }
}

static void large_arrays_are_shared(void **state)
{
    (void)state;
    enum { N = 70003 };
    static float in[N], one[N], three[N];
    const soma_dropout_attrs attrs = {0.5, 0, false};
    for (int i = 0; i < N; i++)
        in[i] = 1;
    for (const soma_kernel *const *k = soma_op_dropout.kernels; *k; k++) {
        if (!kernel_call_possible(*k))
            continue;
        kernel_call c = {.op = &soma_op_dropout, .attrs = &attrs, .n_in = 1, .n_out = 1, .site = 9};
        c.arg[0] = (soma_tensor){SOMA_F32, SOMA_SHAPE(N), in};
        c.arg[1] = (soma_tensor){SOMA_F32, SOMA_SHAPE(N), one};
        assert_int_equal(kernel_call_run(&c, *k), SOMA_OK);
        c.threads = 3;
        c.arg[1].data = three;
        assert_int_equal(kernel_call_run(&c, *k), SOMA_OK);
        assert_memory_equal(one, three, sizeof one);
    }
}

/* Every second number is the largest, whatever is asked. */
static void alternate(void *user, const uint32_t counter[4], const uint32_t key[2], uint32_t out[4])
{
    (void)counter;
    (void)key;
    ++*(int *)user;
    for (int i = 0; i < 4; i++)
        out[i] = i % 2 ? UINT32_MAX : 0;
}

static void the_random_seam_is_used(void **state)
{
    (void)state;
    fill();
    const soma_dropout_attrs attrs = {0.5, 0, false};
    for (const soma_kernel *const *k = soma_op_dropout.kernels; *k; k++) {
        if (!kernel_call_possible(*k))
            continue;
        int calls = 0;
        kernel_call c = call(&attrs, x, y, 0, ROWS);
        c.random = (soma_random){alternate, &calls};
        assert_int_equal(kernel_call_run(&c, *k), SOMA_OK);
        assert_true(calls >= ROWS * COLUMNS / 4);
        for (int i = 0; i < ROWS * COLUMNS; i++)
            assert_true(y[i] == (i % 2 ? 2 * x[i] : 0));
    }
}

/* Seed, site, step and sample each give other numbers; blocks beyond 2^32 too. */
static void what_the_numbers_depend_on(void **state)
{
    (void)state;
    fill();
    const soma_dropout_attrs attrs = {0.5, 0, false};
    for (const soma_kernel *const *k = soma_op_dropout.kernels; *k; k++) {
        if (!kernel_call_possible(*k))
            continue;
        kernel_call c = call(&attrs, x, y, 0, ROWS), other[5];
        assert_int_equal(kernel_call_run(&c, *k), SOMA_OK);
        for (int i = 0; i < 5; i++)
            other[i] = call(&attrs, x, z, 0, ROWS);
        other[0].seed++;
        other[1].site++;
        other[2].step++;
        other[3].seed += (uint64_t)1 << 32;
        other[4].sample_offset = (int64_t)1 << 36;
        for (int i = 0; i < 5; i++) {
            assert_int_equal(kernel_call_run(&other[i], *k), SOMA_OK);
            int differ = 0;
            for (int e = 0; e < ROWS * COLUMNS; e++)
                differ += (y[e] == 0) != (z[e] == 0);
            assert_in_range(differ, ROWS * COLUMNS * 45 / 100, ROWS * COLUMNS * 55 / 100);
        }
        kernel_call far_reference = other[4];
        float first[16];
        memcpy(first, z, sizeof first);
        for (const soma_kernel *const *r = k; *r; r++)
            if (!r[1])
                assert_int_equal(kernel_call_run(&far_reference, *r), SOMA_OK);
        assert_memory_equal(first, z, sizeof first);
    }
}

/* In place, as the plan may run it. */
static void in_place(void **state)
{
    (void)state;
    const soma_dropout_attrs attrs = {0.3, 0, false};
    for (const soma_kernel *const *k = soma_op_dropout.kernels; *k; k++) {
        if (!kernel_call_possible(*k))
            continue;
        fill();
        kernel_call c = call(&attrs, x, y, 0, ROWS);
        assert_int_equal(kernel_call_run(&c, *k), SOMA_OK);
        c = call(&attrs, x, x, 0, ROWS);
        assert_int_equal(kernel_call_run(&c, *k), SOMA_OK);
        assert_memory_equal(x, y, sizeof x);
    }
}

/* ---- in a model ---- */

/* d/dx sum dropout(x) is 0 where x was dropped and 1 / (1 - rate) elsewhere: y / x. */
static void gradient_has_the_same_mask(void **state)
{
    (void)state;
    soma *s = soma_open(&(soma_context_options){.struct_size = sizeof(soma_context_options), .seed = 5, .threads = 1});
    soma_model *m = soma_model_new(s, "m");
    soma_value in = soma_input(m, "x", SOMA_F32, SOMA_SHAPE(65));
    soma_value out = soma_dropout(in, .rate = 0.25), din;
    assert_int_equal(soma_grad(soma_reduce_sum(out), &in, 1, &din), SOMA_OK);
    soma_value values[] = {out, din};
    soma_program *p = soma_compile(m, .batch = 8, .values = values, .n_values = 2, .training = true);
    assert_string_equal(soma_error(s), "");
    float *data = soma_program_input(p, in).data, before[8 * 65] = {0};
    for (int step = 0; step < 3; step++) {
        for (int i = 0; i < 8 * 65; i++)
            data[i] = 2;
        assert_int_equal(soma_step(p), SOMA_OK);
        const float *a = soma_read(p, out).data, *b = soma_read(p, din).data;
        int zeros = 0, changed = 0;
        for (int i = 0; i < 8 * 65; i++) {
            assert_true(a[i] == 2 * b[i]);
            assert_true(b[i] == 0 || fabsf(b[i] - 4.0f / 3) < 1e-6f);
            zeros += a[i] == 0;
            changed += (a[i] == 0) != (before[i] == 0);
            before[i] = a[i];
        }
        assert_in_range(zeros, 90, 170); /* 130 expected, 4 deviations */
        assert_true(changed > 100);      /* every step draws anew */
    }
    soma_program_free(p);
    p = soma_compile(m, .batch = 8, .values = values, .n_values = 2);
    data = soma_program_input(p, in).data;
    for (int i = 0; i < 8 * 65; i++)
        data[i] = (float)i;
    assert_int_equal(soma_step(p), SOMA_OK);
    const float *a = soma_read(p, out).data;
    for (int i = 0; i < 8 * 65; i++)
        assert_true(a[i] == (float)i);
    soma_close(s);
}

/* The whole batch in one piece, and one sample at a time. */
static void pieces_of_a_program(void **state)
{
    (void)state;
    float got[2][8 * 65];
    for (int run = 0; run < 2; run++) {
        soma *s = soma_open(
            &(soma_context_options){.struct_size = sizeof(soma_context_options), .seed = 5, .threads = 1});
        soma_model *m = soma_model_new(s, "m");
        soma_value in = soma_input(m, "x", SOMA_F32, SOMA_SHAPE(65)), out = soma_dropout(in, .rate = 0.25);
        soma_program *p = soma_compile(m, .batch = 8, .values = &out, .n_values = 1, .training = true,
                                       .micro_batch = run ? 1 : 8);
        assert_string_equal(soma_error(s), "");
        float *data = soma_program_input(p, in).data;
        for (int i = 0; i < 8 * 65; i++)
            data[i] = (float)(i + 1);
        assert_int_equal(soma_step(p), SOMA_OK);
        memcpy(got[run], soma_read(p, out).data, sizeof got[run]);
        soma_close(s);
    }
    assert_memory_equal(got[0], got[1], sizeof got[0]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_kernel_draws_the_same),
        cmocka_unit_test(maps_are_dropped_as_a_whole),
        cmocka_unit_test(share_of_zeros),
        cmocka_unit_test(pieces_and_threads_change_nothing),
        cmocka_unit_test(large_arrays_are_shared),
        cmocka_unit_test(the_random_seam_is_used),
        cmocka_unit_test(what_the_numbers_depend_on),
        cmocka_unit_test(in_place),
        cmocka_unit_test(gradient_has_the_same_mask),
        cmocka_unit_test(pieces_of_a_program),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
