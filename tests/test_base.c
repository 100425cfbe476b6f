/* SPDX-License-Identifier: Apache-2.0
 *
 * tests/test_base.c: the context, its memory, errors, objects and arena, with every k-th allocation failing.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/arena.h"
#include "base/context.h"
#include "base/file.h"
#include "faults.h"

#define OPTIONS(...) (&(soma_context_options){.struct_size = sizeof(soma_context_options), __VA_ARGS__})

/* ---- context ---- */

static void a_context_has_defaults(void **state)
{
    (void)state;
    soma *s = soma_open(NULL);
    assert_non_null(s);
    assert_false(soma_failed(s));
    assert_string_equal(soma_error(s), "");
    assert_int_equal(soma_threads(s), soma_cpu_count());
    assert_true(soma_cpu_count() >= 1);
    assert_int_equal(soma_seed(s), 0);
    double before = soma_now(s);
    assert_true(soma_now(s) >= before);
    soma_close(s);
    s = soma_open(OPTIONS(.seed = 9, .threads = 1024, .exact = true));
    assert_false(soma_failed(s));
    assert_int_equal(soma_seed(s), 9);
    assert_int_equal(soma_threads(s), 1024);
    assert_true(s->exact);
    soma_close(s);
}

static void wrong_options_are_told(void **state)
{
    (void)state;
    soma_files half = soma_files_posix;
    half.rename = NULL;
    const soma_context_options wrong[] = {
        {.seed = 1},
        {.struct_size = 1 << 20},
        {.struct_size = 8},
        {.struct_size = sizeof(soma_context_options), .threads = -1},
        {.struct_size = sizeof(soma_context_options), .threads = 1025},
        {.struct_size = sizeof(soma_context_options), .files = half},
    };
    static const char *const word[] = {"struct_size",   "struct_size",     "struct_size",
                                       "threads is -1", "threads is 1025", ".files"};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        soma *s = soma_open(&wrong[i]);
        assert_non_null(s);
        assert_int_equal(soma_error_status(s), SOMA_INVALID);
        assert_non_null(strstr(soma_error(s), word[i]));
        assert_true(soma_threads(s) >= 1);
        soma_release(s, soma_alloc(s, 10)); /* and it can be used */
        soma_close(s);
    }
    /* a caller built with the headers of a version that had fewer fields */
    soma *s = soma_open(&(soma_context_options){.struct_size = offsetof(soma_context_options, log), .threads = 3});
    assert_false(soma_failed(s));
    assert_int_equal(soma_threads(s), 3);
    soma_close(s);
}

static void null_is_accepted_everywhere(void **state)
{
    (void)state;
    soma_close(NULL);
    soma_clear(NULL);
    assert_true(soma_failed(NULL));
    assert_int_equal(soma_error_status(NULL), SOMA_MEMORY);
    assert_non_null(strstr(soma_error(NULL), "soma_open"));
    assert_int_equal(soma_threads(NULL), 0);
    assert_int_equal(soma_seed(NULL), 0);
    assert_int_equal(soma_memory_use(NULL).now, 0);
    assert_null(soma_alloc(NULL, 1));
    soma_release(NULL, NULL);
    assert_int_equal(soma_fail(NULL, SOMA_DATA, soma_nowhere(), "nobody hears"), SOMA_DATA);
}

static void the_first_error_stays(void **state)
{
    (void)state;
    soma *s = soma_open(NULL);
    assert_int_equal(soma_fail(s, SOMA_DATA, (soma_at){"vgg.c", 12}, "label %d is wrong", 11), SOMA_DATA);
    assert_int_equal(soma_fail(s, SOMA_IO, soma_nowhere(), "later"), SOMA_IO);
    assert_true(soma_failed(s));
    assert_int_equal(soma_error_status(s), SOMA_DATA);
    assert_string_equal(soma_error(s), "vgg.c:12: label 11 is wrong");
    soma_clear(s);
    assert_false(soma_failed(s));
    assert_string_equal(soma_error(s), "");
    char longest[3000];
    memset(longest, 'x', sizeof longest - 1);
    longest[sizeof longest - 1] = 0;
    soma_fail(s, SOMA_IO, (soma_at){longest, 1}, "%s", longest);
    assert_int_equal(strlen(soma_error(s)), sizeof s->error - 1);
    assert_string_equal(soma_error(s) + sizeof s->error - 4, "...");
    soma_close(s);
}

static void statuses_have_texts(void **state)
{
    (void)state;
    for (int i = SOMA_OK; i <= SOMA_CANCELLED; i++)
        for (int j = SOMA_OK; j < i; j++)
            assert_string_not_equal(soma_status_text((soma_status)i), soma_status_text((soma_status)j));
    assert_string_equal(soma_status_text((soma_status)1000), "unknown status");
}

static void keep_log(void *user, soma_log_level level, const char *text)
{
    snprintf(user, 64, "%d %s", (int)level, text);
}

static void the_log_goes_to_the_caller(void **state)
{
    (void)state;
    char kept[64] = "";
    soma *s = soma_open(OPTIONS(.log = keep_log, .log_user = kept));
    soma_say(s, SOMA_LOG_WARNING, "%d of %d", 1, 2);
    assert_string_equal(kept, "1 1 of 2");
    soma_close(s);
    s = soma_open(NULL);
    soma_say(s, SOMA_LOG_INFO, "nobody listens");
    assert_false(soma_failed(s));
    soma_close(s);
}

static double stopped(void *user)
{
    return *(const double *)user;
}

static void the_clock_is_a_seam(void **state)
{
    (void)state;
    double hour = 3600;
    soma *s = soma_open(OPTIONS(.clock = {.now = stopped, .user = &hour}));
    assert_true(soma_now(s) == 3600);
    soma_close(s);
}

/* ---- objects ---- */

typedef struct thing {
    soma_object object;
    char name, *log;
} thing;

static void destroy_thing(soma_object *object)
{
    thing *t = (thing *)object;
    soma *s = object->s;
    soma_object_remove(object); /* as a free function of the public API does: harmless when it has left already */
    strncat(t->log, &t->name, 1);
    soma_release(s, t);
}

static thing *new_thing(soma *s, char name, char *log)
{
    thing *t = soma_alloc(s, sizeof *t);
    t->name = name;
    t->log = log;
    soma_object_add(s, &t->object, destroy_thing);
    return t;
}

static void objects_go_newest_first(void **state)
{
    (void)state;
    faults_memory memory = {0};
    char log[8] = "";
    soma *s = soma_open(OPTIONS(.allocator = faults_allocator(&memory)));
    thing *t[5];
    for (int i = 0; i < 5; i++)
        t[i] = new_thing(s, (char)('a' + i), log);
    destroy_thing(&t[2]->object); /* from the middle, the end and the front */
    destroy_thing(&t[4]->object);
    destroy_thing(&t[0]->object);
    assert_string_equal(log, "cea");
    soma_close(s);
    assert_string_equal(log, "ceadb");
    assert_int_equal(memory.blocks, 0);
    assert_int_equal(memory.mistakes, 0);
}

/* ---- memory ---- */

static void check_block(soma *s, size_t size)
{
    unsigned char *block = soma_alloc(s, size);
    assert_non_null(block);
    assert_int_equal((uintptr_t)block % 64, 0);
    for (size_t i = 0; i < size; i++)
        if (block[i])
            fail_msg("byte %zu of %zu is not zero", i, size);
    memset(block, 0xff, size);
    soma_release(s, block);
}

static void blocks_are_zero_and_aligned(void **state)
{
    (void)state;
    faults_memory memory = {0};
    soma *own = soma_open(NULL), *seam = soma_open(OPTIONS(.allocator = faults_allocator(&memory)));
    static const size_t sizes[] = {0, 1, 63, 64, 65, 1000, 100000, (4u << 20) - 64, (4u << 20) - 63, 5u << 20};
    for (int repeat = 0; repeat < 3; repeat++) /* what was freed dirty comes back clean */
        for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
            check_block(own, sizes[i]);
            check_block(seam, sizes[i]);
        }
    soma_close(own);
    soma_close(seam);
    assert_int_equal(memory.blocks, 0);
    assert_int_equal(memory.mistakes, 0);
}

static void memory_is_counted(void **state)
{
    (void)state;
    faults_memory memory = {0};
    soma *s = soma_open(OPTIONS(.allocator = faults_allocator(&memory)));
    soma_memory before = soma_memory_use(s);
    assert_int_equal(before.now, memory.bytes); /* the context itself counts */
    void *a = soma_alloc(s, 1000), *b = soma_alloc(s, 100000);
    soma_memory during = soma_memory_use(s);
    assert_int_equal(during.now, memory.bytes);
    assert_in_range(during.now - before.now, 101000, 101000 + 2 * 128); /* at most 128 bytes more per block */
    assert_int_equal(during.calls, before.calls + 2);
    soma_release(s, a);
    soma_release(s, b);
    soma_memory after = soma_memory_use(s);
    assert_int_equal(after.now, before.now);
    assert_int_equal(after.peak, during.now);
    assert_int_equal(after.peak, memory.peak);
    soma_close(s);
}

static void impossible_sizes_are_errors(void **state)
{
    (void)state;
    soma *s = soma_open(NULL);
    static const size_t sizes[] = {SIZE_MAX, SIZE_MAX - 64, SIZE_MAX / 2 + 1, SIZE_MAX / 4};
    for (size_t i = 0; i < 4; i++) {
        soma_clear(s);
        assert_null(soma_alloc(s, sizes[i]));
        assert_int_equal(soma_error_status(s), SOMA_MEMORY);
        assert_non_null(strstr(soma_error(s), "could not be had"));
    }
    soma_clear(s);
    assert_null(soma_alloc_array(s, SIZE_MAX / 2, 3));
    assert_int_equal(soma_error_status(s), SOMA_MEMORY);
    assert_int_equal(soma_memory_use(s).calls, 1); /* the context */
    soma_close(s);
}

static void arrays_grow(void **state)
{
    (void)state;
    faults_memory memory = {0};
    soma *s = soma_open(OPTIONS(.allocator = faults_allocator(&memory)));
    int *items = NULL, capacity = 0;
    for (int n = 0; n < 1000; n++) {
        assert_int_equal(soma_grow(s, &items, &capacity, n + 1, sizeof *items), SOMA_OK);
        assert_true(capacity > n);
        assert_int_equal(items[n], 0);
        items[n] = n;
    }
    for (int n = 0; n < 1000; n++)
        assert_int_equal(items[n], n);
    assert_true(soma_memory_use(s).calls < 12); /* by doubling */
    int *same = items, old = capacity;
    memory.fail_at = memory.calls + 1;
    assert_int_equal(soma_grow(s, &items, &capacity, 100000, sizeof *items), SOMA_MEMORY);
    assert_true(items == same && capacity == old);
    soma_release(s, items);
    soma_close(s);
    assert_int_equal(memory.blocks, 0);
}

static void texts_are_copied(void **state)
{
    (void)state;
    soma *s = soma_open(NULL);
    char *copy = soma_copy_text(s, "conv1.weight");
    assert_string_equal(copy, "conv1.weight");
    soma_release(s, copy);
    assert_null(soma_copy_text(s, NULL));
    assert_false(soma_failed(s));
    soma_close(s);
}

/* Several threads allocate, free, fail and read at once, as loader threads may. The sanitizers watch. */
static void *hammer(void *user)
{
    soma *s = user;
    void *blocks[8] = {NULL};
    for (int i = 0; i < 2000; i++) {
        soma_release(s, blocks[i % 8]);
        blocks[i % 8] = soma_alloc(s, (size_t)(i % 300));
        if (i % 100 == 0)
            soma_fail(s, SOMA_DATA, soma_nowhere(), "a thread's error");
        if (soma_failed(s) && strcmp(soma_error(s), "a thread's error") != 0)
            return "another error";
    }
    for (int i = 0; i < 8; i++)
        soma_release(s, blocks[i]);
    return NULL;
}

static void threads_may_allocate(void **state)
{
    (void)state;
    pthread_t threads[4];
    soma *s = soma_open(NULL);
    uint64_t before = soma_memory_use(s).now;
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, hammer, s), 0);
    for (int i = 0; i < 4; i++) {
        void *complaint = NULL;
        pthread_join(threads[i], &complaint);
        assert_null(complaint);
    }
    assert_int_equal(soma_memory_use(s).now, before);
    assert_int_equal(soma_memory_use(s).calls, 8001);
    assert_string_equal(soma_error(s), "a thread's error");
    soma_close(s);
}

static void no_memory_for_the_context_gives_null(void **state)
{
    (void)state;
    faults_memory memory = {.fail_at = 1};
    assert_null(soma_open(OPTIONS(.allocator = faults_allocator(&memory))));
    assert_int_equal(memory.blocks, 0);
}

/* ---- arena ---- */

static void arenas_hand_out_and_free_at_once(void **state)
{
    (void)state;
    faults_memory memory = {0};
    soma *s = soma_open(OPTIONS(.allocator = faults_allocator(&memory)));
    uint64_t before = soma_memory_use(s).now;
    soma_arena arena;
    soma_arena_init(&arena, s);
    for (size_t size = 0; size < 20000; size += 1 + size / 7) {
        unsigned char *block = soma_arena_alloc(&arena, size);
        assert_non_null(block);
        assert_int_equal((uintptr_t)block % 16, 0);
        for (size_t i = 0; i < size; i++)
            assert_int_equal(block[i], 0);
        memset(block, 0xff, size);
    }
    assert_string_equal(soma_arena_format(&arena, "%s%d", "layer", 7), "layer7");
    assert_string_equal(soma_arena_text(&arena, "fc1"), "fc1");
    assert_null(soma_arena_text(&arena, NULL));
    assert_false(soma_failed(s));
    assert_null(soma_arena_array(&arena, SIZE_MAX / 2, 4));
    soma_clear(s);
    assert_null(soma_arena_alloc(&arena, SIZE_MAX - 3));
    assert_int_equal(soma_error_status(s), SOMA_MEMORY);
    assert_in_range(soma_memory_use(s).now - before, arena.bytes, arena.bytes + 64 * memory.blocks);
    soma_arena_free(&arena);
    assert_int_equal(soma_memory_use(s).now, before);
    assert_int_equal(arena.bytes, 0);
    soma_close(s);
    assert_int_equal(memory.blocks, 0);
}

/* A block that needs a chunk of its own leaves the rest of the current chunk in use. */
static void large_blocks_do_not_waste_the_chunk(void **state)
{
    (void)state;
    soma *s = soma_open(NULL);
    soma_arena arena;
    soma_arena_init(&arena, s);
    char *a = soma_arena_alloc(&arena, 16);
    assert_non_null(soma_arena_alloc(&arena, 1 << 20));
    char *b = soma_arena_alloc(&arena, 16);
    assert_ptr_equal(b, a + 16);
    soma_arena_free(&arena);
    soma_close(s);
}

static void arenas_survive_lack_of_memory(void **state)
{
    (void)state;
    for (uint64_t k = 2;; k++) { /* 1 is the context */
        faults_memory memory = {.fail_at = k};
        soma *s = soma_open(OPTIONS(.allocator = faults_allocator(&memory)));
        soma_arena arena;
        soma_arena_init(&arena, s);
        bool complete = true;
        for (int i = 0; i < 200; i++)
            complete &= soma_arena_format(&arena, "name %d", i) && soma_arena_alloc(&arena, (size_t)i * 10);
        assert_int_equal(complete, !memory.failed);
        assert_int_equal(soma_failed(s), memory.failed != 0);
        soma_arena_free(&arena);
        soma_close(s);
        assert_int_equal(memory.blocks, 0);
        assert_int_equal(memory.mistakes, 0);
        if (!memory.failed)
            break;
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_context_has_defaults),
        cmocka_unit_test(wrong_options_are_told),
        cmocka_unit_test(null_is_accepted_everywhere),
        cmocka_unit_test(the_first_error_stays),
        cmocka_unit_test(statuses_have_texts),
        cmocka_unit_test(the_log_goes_to_the_caller),
        cmocka_unit_test(the_clock_is_a_seam),
        cmocka_unit_test(objects_go_newest_first),
        cmocka_unit_test(blocks_are_zero_and_aligned),
        cmocka_unit_test(memory_is_counted),
        cmocka_unit_test(impossible_sizes_are_errors),
        cmocka_unit_test(arrays_grow),
        cmocka_unit_test(texts_are_copied),
        cmocka_unit_test(threads_may_allocate),
        cmocka_unit_test(no_memory_for_the_context_gives_null),
        cmocka_unit_test(arenas_hand_out_and_free_at_once),
        cmocka_unit_test(large_blocks_do_not_waste_the_chunk),
        cmocka_unit_test(arenas_survive_lack_of_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
