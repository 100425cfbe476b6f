/* SPDX-License-Identifier: Apache-2.0
 *
 * Loaders: each epoch a permutation that depends on (seed, epoch) only, the same batches with any number of threads,
 * exact restart in the middle, errors that surface at the wait, memory that fails.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <soma/data.h>

#include "base/random.h"
#include "data/dataset.h"
#include "faults.h"

#define COUNT 103
#define ROW 20

typedef struct arrays {
    uint8_t x[COUNT][ROW];
    int32_t y[COUNT];
} arrays;

static soma_dataset *make_dataset(soma *s, arrays *a)
{
    for (int i = 0; i < COUNT; i++) {
        a->y[i] = i;
        for (int k = 0; k < ROW; k++)
            a->x[i][k] = (uint8_t)(i + k);
    }
    return soma_dataset_arrays(s, .x = {SOMA_U8, SOMA_SHAPE(COUNT, ROW), a->x},
                               .y = {SOMA_I32, SOMA_SHAPE(COUNT), a->y}, .transform = {.scale = 1});
}

/* Runs the rest of the epoch; samples in the order they came. Each must be itself: x begins with its number. */
static int64_t run_epoch(soma_loader *l, int32_t *order)
{
    static float x[COUNT * ROW];
    int64_t done = 0;
    for (int64_t n; (n = soma_loader_ahead(l)) > 0; done += n) {
        memset(x, 0xff, sizeof x);
        assert_int_equal(soma_loader_fill(l, x, order + done), SOMA_OK);
        assert_int_equal(soma_loader_wait(l), SOMA_OK);
        for (int64_t i = 0; i < n; i++) {
            assert_int_equal(soma_loader_indices(l)[i], order[done + i]);
            for (int k = 0; k < ROW; k++)
                assert_true(x[i * ROW + k] == (float)(uint8_t)(order[done + i] + k));
        }
    }
    assert_int_equal(soma_loader_fill(l, x, order), SOMA_END);
    assert_int_equal(soma_loader_wait(l), SOMA_OK);
    return done;
}

static void assert_permutation(const int32_t *order, int n)
{
    bool seen[COUNT] = {false};
    for (int i = 0; i < n; i++) {
        assert_in_range(order[i], 0, COUNT - 1);
        assert_false(seen[order[i]]);
        seen[order[i]] = true;
    }
}

static void epochs_are_permutations(void **state)
{
    (void)state;
    soma *s = soma_open(NULL);
    arrays a;
    soma_dataset *d = make_dataset(s, &a);
    int32_t first[COUNT], second[COUNT], other[COUNT];
    int64_t expected[COUNT];
    soma_loader *l = soma_loader_new(d, .batch_size = 10, .seed = 42);
    assert_int_equal(soma_loader_batches(l), 11);
    assert_null(soma_loader_indices(l));
    assert_int_equal(run_epoch(l, first), COUNT); /* a new loader stands before epoch 0 */
    assert_permutation(first, COUNT);
    soma_shuffle(&s->random, 42, 0, expected, COUNT);
    for (int i = 0; i < COUNT; i++)
        assert_int_equal(first[i], expected[i]);
    assert_int_equal(soma_loader_start(l, 1, 0), SOMA_OK);
    assert_int_equal(run_epoch(l, second), COUNT);
    assert_permutation(second, COUNT);
    assert_memory_not_equal(first, second, sizeof first);
    assert_int_equal(soma_loader_start(l, 0, 0), SOMA_OK); /* back again */
    run_epoch(l, second);
    assert_memory_equal(first, second, sizeof first);
    soma_loader *by_seed = soma_loader_new(d, .batch_size = 7, .seed = 43),
                *by_size = soma_loader_new(d, .batch_size = 1000, .seed = 42);
    run_epoch(by_seed, other);
    assert_permutation(other, COUNT);
    assert_memory_not_equal(first, other, sizeof first);
    assert_int_equal(soma_loader_batches(by_size), 1);
    run_epoch(by_size, other); /* the batch size does not change the order */
    assert_memory_equal(first, other, sizeof first);
    soma_close(s);
}

static void order_without_shuffling(void **state)
{
    (void)state;
    soma *s = soma_open(NULL);
    arrays a;
    soma_dataset *d = make_dataset(s, &a);
    int32_t order[COUNT];
    soma_loader *l = soma_loader_new(d, .no_shuffle = true); /* batches of 32 */
    assert_int_equal(soma_loader_batches(l), 4);
    for (int64_t epoch = 0; epoch < 2; epoch++) {
        assert_int_equal(soma_loader_start(l, epoch, 0), SOMA_OK);
        assert_int_equal(run_epoch(l, order), COUNT);
        for (int i = 0; i < COUNT; i++)
            assert_int_equal(order[i], i);
    }
    soma_loader *dropping = soma_loader_new(d, .no_shuffle = true, .drop_last = true);
    assert_int_equal(soma_loader_batches(dropping), 3);
    assert_int_equal(run_epoch(dropping, order), 96);
    soma_loader *even = soma_loader_new(soma_dataset_part(d, 3, 96, 0), .drop_last = true);
    assert_int_equal(soma_loader_batches(even), 3);
    assert_int_equal(soma_loader_ahead(even), 32);
    soma_close(s);
}

static void partial_batches_and_restart(void **state)
{
    (void)state;
    soma *s = soma_open(NULL);
    arrays a;
    soma_dataset *d = make_dataset(s, &a);
    int32_t whole[COUNT], rest[COUNT];
    for (int threads = 0; threads <= 2; threads++) {
        soma_loader *l = soma_loader_new(d, .batch_size = 25, .seed = 9, .threads = threads);
        assert_int_equal(soma_loader_start(l, 7, 0), SOMA_OK);
        run_epoch(l, whole);
        for (int64_t batch = 0; batch <= 5; batch++) {
            soma_loader *fresh = soma_loader_new(d, .batch_size = 25, .seed = 9, .threads = threads);
            assert_int_equal(soma_loader_start(fresh, 7, batch), SOMA_OK);
            assert_int_equal(soma_loader_ahead(fresh), batch < 4 ? 25 : batch == 4 ? 3 : 0);
            int64_t n = run_epoch(fresh, rest);
            assert_int_equal(n, batch < 5 ? COUNT - 25 * batch : 0);
            assert_memory_equal(rest, whole + COUNT - n, (size_t)n * sizeof *rest);
            soma_loader_free(fresh);
        }
    }
    soma_loader *l = soma_loader_new(d, .batch_size = 25);
    const int64_t wrong[][2] = {{-1, 0}, {0, -1}, {0, 6}};
    for (int i = 0; i < 3; i++) {
        soma_clear(s);
        assert_int_equal(soma_loader_start(l, wrong[i][0], wrong[i][1]), SOMA_INVALID);
        assert_non_null(strstr(soma_error(s), "an epoch has 5 batches"));
    }
    soma_close(s);
}

static void threads_do_not_change_batches(void **state)
{
    (void)state;
    soma *s = soma_open(NULL);
    arrays a;
    soma_dataset *d = make_dataset(s, &a);
    const int64_t sizes[] = {1, 2, 32, COUNT};
    for (size_t k = 0; k < sizeof sizes / sizeof *sizes; k++) {
        int32_t plain[COUNT], order[COUNT];
        for (int threads = 0; threads <= 5; threads++) {
            soma_loader *l = soma_loader_new(d, .batch_size = sizes[k], .seed = 1, .threads = threads);
            for (int64_t epoch = 0; epoch < 3; epoch++) {
                assert_int_equal(soma_loader_start(l, epoch, 0), SOMA_OK);
                assert_int_equal(run_epoch(l, threads ? order : plain), COUNT);
            }
            if (threads)
                assert_memory_equal(order, plain, sizeof plain);
            soma_loader_free(l);
        }
    }
    soma_close(s);
}

/* Two buffers in turn, waited for by the next fill only; targets alone; nothing at all. */
static void fills_that_are_not_waited_for(void **state)
{
    (void)state;
    soma *s = soma_open(NULL);
    arrays a;
    soma_dataset *d = make_dataset(s, &a);
    for (int threads = 0; threads <= 2; threads++) {
        int32_t expected[COUNT], order[COUNT];
        static float x[2][8 * ROW];
        soma_loader *l = soma_loader_new(d, .batch_size = 8, .seed = 4, .threads = threads);
        run_epoch(l, expected);
        assert_int_equal(soma_loader_start(l, 0, 0), SOMA_OK);
        int64_t done = 0, batch = 0;
        for (int64_t n; (n = soma_loader_ahead(l)) > 0; done += n, batch++)
            assert_int_equal(soma_loader_fill(l, batch % 3 ? x[batch % 2] : NULL, order + done), SOMA_OK);
        assert_int_equal(soma_loader_wait(l), SOMA_OK);
        assert_int_equal(soma_loader_wait(l), SOMA_OK); /* nothing under way */
        assert_memory_equal(order, expected, sizeof order);
        assert_int_equal(soma_loader_start(l, 2, 0), SOMA_OK);
        assert_int_equal(soma_loader_fill(l, x[0], order), SOMA_OK);
        if (threads == 1)
            soma_loader_free(l); /* a batch under way is finished first */
        else
            assert_int_equal(soma_loader_start(l, 3, 1), SOMA_OK);
    }
    soma_close(s);
}

/* ---- errors ---- */

/* Reads as usual, but sample 50 cannot be read, and says so. */
static soma_status read_with_a_hole(const soma_dataset *d, soma_reader *r, const int64_t *index, int64_t n, void *x,
                                    void *y)
{
    for (int64_t i = 0; i < n; i++)
        if (index[i] == 50)
            return soma_fail(&r->s, SOMA_DATA, soma_nowhere(), "sample 50 has a hole");
    return soma_dataset_read_memory(d, r, index, n, x, y);
}

static void errors_surface_at_the_wait(void **state)
{
    (void)state;
    soma *s = soma_open(NULL);
    arrays a;
    soma_dataset *d = make_dataset(s, &a);
    d->read = read_with_a_hole;
    static float x[10 * ROW];
    int32_t y[10];
    for (int threads = 0; threads <= 3; threads++) {
        soma_loader *l = soma_loader_new(d, .batch_size = 10, .no_shuffle = true, .threads = threads);
        for (int64_t batch = 0; batch < 11; batch++) {
            assert_int_equal(soma_loader_fill(l, x, y), SOMA_OK);
            assert_int_equal(soma_loader_wait(l), batch == 5 ? SOMA_DATA : SOMA_OK);
            if (batch == 5)
                assert_string_equal(soma_error(s), "sample 50 has a hole");
            else
                assert_int_equal(y[0], 10 * batch);
            soma_clear(s);
        }
        /* not waited for: the next fill says it, and does not begin; the one after goes on */
        assert_int_equal(soma_loader_start(l, 0, 5), SOMA_OK);
        assert_int_equal(soma_loader_fill(l, x, y), SOMA_OK);
        assert_int_equal(soma_loader_fill(l, x, y), SOMA_DATA);
        assert_true(soma_failed(s));
        soma_clear(s);
        assert_int_equal(soma_loader_fill(l, x, y), SOMA_OK);
        assert_int_equal(soma_loader_wait(l), SOMA_OK);
        assert_int_equal(y[0], 60);
        /* a new start forgets the batch under way */
        assert_int_equal(soma_loader_start(l, 0, 5), SOMA_OK);
        assert_int_equal(soma_loader_fill(l, x, y), SOMA_OK);
        assert_int_equal(soma_loader_start(l, 1, 0), SOMA_OK);
        assert_int_equal(soma_loader_wait(l), SOMA_OK);
        assert_false(soma_failed(s));
    }
    assert_int_equal(soma_dataset_read(d, (int64_t[]){50}, 1, x, y), SOMA_DATA);
    assert_string_equal(soma_error(s), "sample 50 has a hole");
    soma_close(s);
}

static void wrong_options(void **state)
{
    (void)state;
    soma *s = soma_open(NULL);
    arrays a;
    soma_dataset *d = make_dataset(s, &a);
    assert_null(soma_loader_new(d, .batch_size = -3));
    assert_non_null(strstr(soma_error(s), "test_loader.c:"));
    assert_non_null(strstr(soma_error(s), "soma_loader_new: batch_size is -3; it must be at least 1"));
    soma_clear(s);
    assert_null(soma_loader_new(d, .batch_size = SOMA_ZERO));
    assert_non_null(strstr(soma_error(s), "batch_size is 0; it must be at least 1"));
    soma_clear(s);
    assert_null(soma_loader_new(d, .threads = -1));
    assert_non_null(strstr(soma_error(s), "threads is -1; it must be between 0 and 256"));
    soma_clear(s);
    assert_null(soma_loader_new(d, .threads = 257));
    soma_clear(s);
    assert_null(soma_loader_new(d, .batch_size = 104, .drop_last = true));
    assert_non_null(strstr(soma_error(s), ".drop_last leaves no batch"));
    soma_clear(s);
    assert_null(soma_loader_new(NULL, .batch_size = 1));
    soma_loader *l = NULL;
    assert_int_equal(soma_loader_batches(l), 0);
    assert_int_equal(soma_loader_ahead(l), 0);
    assert_int_equal(soma_loader_start(l, 0, 0), SOMA_INVALID);
    assert_int_equal(soma_loader_fill(l, NULL, NULL), SOMA_INVALID);
    assert_int_equal(soma_loader_wait(l), SOMA_INVALID);
    assert_null(soma_loader_indices(l));
    soma_loader_free(l);
    assert_false(soma_failed(s));
    soma_close(s);
}

/* ---- memory ---- */

static void epochs_allocate_nothing(void **state)
{
    (void)state;
    faults_memory memory = {0};
    soma *s = soma_open(
        &(soma_context_options){.struct_size = sizeof(soma_context_options), .allocator = faults_allocator(&memory)});
    arrays a;
    soma_dataset *d = make_dataset(s, &a);
    soma_loader *l = soma_loader_new(d, .batch_size = 10, .threads = 2);
    soma_dataset_free(d); /* the loader keeps what it reads */
    uint64_t calls = memory.calls;
    int32_t order[COUNT];
    for (int64_t epoch = 0; epoch < 5; epoch++) {
        assert_int_equal(soma_loader_start(l, epoch, 0), SOMA_OK);
        run_epoch(l, order);
    }
    assert_int_equal(memory.calls, calls);
    soma_close(s);
    assert_int_equal(memory.blocks, 0);
}

static void memory_that_fails(void **state)
{
    (void)state;
    arrays a;
    int32_t order[COUNT];
    for (int threads = 0; threads <= 2; threads += 2) {
        uint64_t k = 1;
        for (;; k++) {
            faults_memory memory = {.fail_at = k};
            soma *s = soma_open(&(soma_context_options){.struct_size = sizeof(soma_context_options),
                                                        .allocator = faults_allocator(&memory)});
            if (s) {
                soma_loader *l = soma_loader_new(make_dataset(s, &a), .threads = threads);
                assert_true(memory.failed ? !l && soma_error_status(s) == SOMA_MEMORY : !!l);
                if (l)
                    run_epoch(l, order);
            }
            soma_close(s);
            assert_int_equal(memory.blocks, 0);
            assert_int_equal(memory.mistakes, 0);
            if (!memory.failed)
                break;
        }
        assert_int_equal(k, threads ? 8 : 7); /* context, dataset, names, loader, shares, order, and the crew */
    }
}

/* The order comes through the seam of random numbers: whoever replaces it decides. */
static void fixed_draw(void *user, const uint32_t counter[4], const uint32_t key[2], uint32_t out[4])
{
    (void)counter;
    (void)key;
    ++*(int *)user;
    memset(out, 0xff, 4 * sizeof *out); /* the largest number: each element stays where it is */
}

static void order_comes_through_the_seam(void **state)
{
    (void)state;
    int draws = 0;
    soma *s = soma_open(&(soma_context_options){.struct_size = sizeof(soma_context_options),
                                                .random = {.draw = fixed_draw, .user = &draws}});
    arrays a;
    int32_t order[COUNT];
    soma_loader *l = soma_loader_new(make_dataset(s, &a), .seed = 5);
    run_epoch(l, order);
    for (int i = 0; i < COUNT; i++)
        assert_int_equal(order[i], i);
    int once = draws;
    assert_true(once > 0);
    assert_int_equal(soma_loader_start(l, 0, 2), SOMA_OK); /* the same epoch: its order is still there */
    run_epoch(l, order);
    assert_int_equal(draws, once);
    soma_close(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(epochs_are_permutations),
        cmocka_unit_test(order_without_shuffling),
        cmocka_unit_test(partial_batches_and_restart),
        cmocka_unit_test(threads_do_not_change_batches),
        cmocka_unit_test(fills_that_are_not_waited_for),
        cmocka_unit_test(errors_surface_at_the_wait),
        cmocka_unit_test(wrong_options),
        cmocka_unit_test(epochs_allocate_nothing),
        cmocka_unit_test(memory_that_fails),
        cmocka_unit_test(order_comes_through_the_seam),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
