/* SPDX-License-Identifier: Apache-2.0
 *
 * tests/test_random.c: Philox against its authors' known answers, streams, hashes, shuffling.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/random.h"

/* The three vectors for philox4x32 with 10 rounds of the Random123 distribution (file kat_vectors). */
static void philox_gives_the_known_answers(void **state)
{
    (void)state;
    static const struct {
        uint32_t counter[4], key[2], out[4];
    } known[] = {
        {{0, 0, 0, 0}, {0, 0}, {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
        {{0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff},
         {0xffffffff, 0xffffffff},
         {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
        {{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344},
         {0xa4093822, 0x299f31d0},
         {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}},
    };
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        uint32_t out[4];
        soma_philox(NULL, known[i].counter, known[i].key, out);
        assert_memory_equal(out, known[i].out, sizeof out);
    }
}

static void draw_passes_counter_and_key(void **state)
{
    (void)state;
    uint32_t counter[4], out[4], same[4], key[2] = {0x89abcdef, 0x01234567};
    soma_counter(counter, SOMA_STREAM_DROPOUT, 77, 5, 9);
    soma_philox(NULL, counter, key, out);
    soma_draw(NULL, UINT64_C(0x0123456789abcdef), SOMA_STREAM_DROPOUT, 77, 5, 9, same);
    assert_memory_equal(out, same, sizeof out);
}

static void each_coordinate_changes_the_draw(void **state)
{
    (void)state;
    static const uint64_t at[][5] = {/* seed, stream, site, step, index */
                                     {1, 1, 1, 1, 1},
                                     {2, 1, 1, 1, 1},
                                     {UINT64_C(1) << 32 | 1, 1, 1, 1, 1},
                                     {1, 2, 1, 1, 1},
                                     {1, 3, 1, 1, 1},
                                     {1, 4, 1, 1, 1},
                                     {1, 1, 2, 1, 1},
                                     {1, 1, 1, 2, 1},
                                     {1, 1, 1, UINT64_C(1) << 32 | 1, 1},
                                     {1, 1, 1, 1, 2},
                                     {1, 1, 1, 1, UINT64_C(1) << 32 | 1}};
    enum { N = sizeof at / sizeof at[0] };
    uint32_t out[N][4];
    for (size_t i = 0; i < N; i++) {
        soma_draw(NULL, at[i][0], (soma_stream)at[i][1], at[i][2], at[i][3], at[i][4], out[i]);
        for (size_t j = 0; j < i; j++)
            assert_memory_not_equal(out[i], out[j], sizeof out[i]);
    }
}

static void units_lie_below_one(void **state)
{
    (void)state;
    assert_true(soma_unit_f32(0) == 0 && soma_unit_f32(UINT32_MAX) == 1.0f - 0x1p-24f);
    assert_true(soma_unit_f64(0, 0) == 0 && soma_unit_f64(UINT32_MAX, UINT32_MAX) == 1.0 - 0x1p-53);
    assert_true(soma_unit_f64(0x80000000, 0) == 0.5);
}

/* Expected values: 64-bit FNV-1a of the text (published: "" cbf29ce484222325, "a" af63dc4c8601ec8c, "foobar"
 * 85944171f73967e8), put through the finishing mix by hand. */
static uint64_t finish(uint64_t h)
{
    h = (h ^ (h >> 33)) * UINT64_C(0xff51afd7ed558ccd);
    h = (h ^ (h >> 33)) * UINT64_C(0xc4ceb9fe1a85ec53);
    return h ^ (h >> 33);
}

static void hashes_are_fnv_with_a_mix(void **state)
{
    (void)state;
    assert_true(soma_hash_text("") == finish(UINT64_C(0xcbf29ce484222325)));
    assert_true(soma_hash_text("a") == finish(UINT64_C(0xaf63dc4c8601ec8c)));
    assert_true(soma_hash_text("foobar") == finish(UINT64_C(0x85944171f73967e8)));
    assert_true(soma_hash_bytes(0, "foobar", 6) == soma_hash_text("foobar"));
    assert_true(soma_hash_bytes(soma_hash_text("x"), "foobar", 6) != soma_hash_text("foobar"));
}

static void shuffles_are_permutations(void **state)
{
    (void)state;
    enum { MOST = 1500 };
    int64_t order[MOST];
    bool seen[MOST];
    for (int64_t n = 0; n <= MOST; n++) {
        memset(seen, 0, sizeof seen);
        soma_shuffle(NULL, 3, (uint64_t)n, order, n);
        for (int64_t i = 0; i < n; i++) {
            assert_in_range(order[i], 0, n - 1);
            assert_false(seen[order[i]]);
            seen[order[i]] = true;
        }
    }
}

static void shuffles_depend_on_seed_and_epoch_only(void **state)
{
    (void)state;
    int64_t a[100], b[100];
    soma_shuffle(NULL, 1, 1, a, 100);
    soma_shuffle(NULL, 1, 1, b, 100);
    assert_memory_equal(a, b, sizeof a);
    soma_shuffle(NULL, 1, 2, b, 100);
    assert_memory_not_equal(a, b, sizeof a);
    soma_shuffle(NULL, 2, 1, b, 100);
    assert_memory_not_equal(a, b, sizeof a);
}

/* All 24 orders of four things over 24,000 epochs: chi-square with 23 degrees of freedom stays below 49.7 (99.9 %).
 * The draws are fixed, so this is no gamble. */
static void every_order_is_as_likely(void **state)
{
    (void)state;
    int count[256] = {0};
    double chi = 0;
    int orders = 0;
    for (uint64_t epoch = 0; epoch < 24000; epoch++) {
        int64_t o[4];
        soma_shuffle(NULL, 42, epoch, o, 4);
        count[o[0] * 64 + o[1] * 16 + o[2] * 4 + o[3]]++;
    }
    for (int i = 0; i < 256; i++)
        if (count[i]) {
            orders++;
            chi += (count[i] - 1000.0) * (count[i] - 1000.0) / 1000.0;
        }
    assert_int_equal(orders, 24);
    assert_true(chi < 49.7);
}

/* A source that gives the numbers of a list, four at a time. */
static void listed(void *user, const uint32_t counter[4], const uint32_t key[2], uint32_t out[4])
{
    (void)key;
    memcpy(out, (const uint32_t *)user + 4 * counter[0], 4 * sizeof out[0]);
}

/* Three things need a number below 3, then one below 2. 2^32 mod 3 = 1: the number 0 has low half 0 < 1 and would
 * favour the result 0, so it must be drawn again; 0x60000000 * 3 >> 32 = 1. Then 0x90000000 * 2 >> 32 = 1. */
static void numbers_that_would_bias_are_drawn_again(void **state)
{
    (void)state;
    uint32_t with[8] = {0, 0, 0x60000000, 0x90000000}, without[8] = {0x60000000, 0x90000000};
    soma_random source = {.draw = listed, .user = with};
    int64_t a[3], b[3];
    static const int64_t expected[3] = {0, 2, 1};
    soma_shuffle(&source, 0, 0, a, 3);
    source.user = without;
    soma_shuffle(&source, 0, 0, b, 3);
    assert_memory_equal(a, expected, sizeof a);
    assert_memory_equal(b, expected, sizeof b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(philox_gives_the_known_answers),
        cmocka_unit_test(draw_passes_counter_and_key),
        cmocka_unit_test(each_coordinate_changes_the_draw),
        cmocka_unit_test(units_lie_below_one),
        cmocka_unit_test(hashes_are_fnv_with_a_mix),
        cmocka_unit_test(shuffles_are_permutations),
        cmocka_unit_test(shuffles_depend_on_seed_and_epoch_only),
        cmocka_unit_test(every_order_is_as_likely),
        cmocka_unit_test(numbers_that_would_bias_are_drawn_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
