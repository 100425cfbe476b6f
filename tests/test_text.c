/* SPDX-License-Identifier: Apache-2.0
 *
 * tests/test_text.c: base/text: numbers in both directions under any locale, nearest names, growing text; and how
 * types and shapes read (src/tensor).
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include <float.h>
#include <locale.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <soma/op.h>

#include "base/random.h"
#include "base/text.h"
#include "faults.h"

static void integers_are_read(void **state)
{
    (void)state;
    int64_t n = 0;
    assert_true(soma_parse_i64("0", &n) && n == 0);
    assert_true(soma_parse_i64("-17", &n) && n == -17);
    assert_true(soma_parse_i64("+17", &n) && n == 17);
    assert_true(soma_parse_i64("9223372036854775807", &n) && n == INT64_MAX);
    assert_true(soma_parse_i64("-9223372036854775808", &n) && n == INT64_MIN);
    static const char *const wrong[] = {"",
                                        "-",
                                        "+-1",
                                        " 1",
                                        "1 ",
                                        "1.0",
                                        "0x1",
                                        "1e3",
                                        "a",
                                        "9223372036854775808",
                                        "--1",
                                        "1_0",
                                        "٣",
                                        "१२",
                                        "-9223372036854775809",
                                        "100000000000000000000000000"};
    n = 5;
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        assert_false(soma_parse_i64(wrong[i], &n));
        assert_int_equal(n, 5);
    }
}

static void numbers_are_read(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        double number;
    } right[] = {
        {"0", 0},
        {"-0.5", -0.5},
        {"+.5", 0.5},
        {"5.", 5},
        {"1e-3", 1e-3},
        {"1E+3", 1000},
        {"0.1", 0.1},
        {"1.7976931348623157e308", DBL_MAX},
        {"4.9e-324", 0x1p-1074},
        {"2.2250738585072011e-308", 0x0.fffffffffffffp-1022}, /* once hung a language's parser */
        {"9007199254740993", 9007199254740992.0},             /* halfway: to even */
        {"9007199254740993.00000000000000000000000000001", 9007199254740994.0},
        {"1e-400", 0},
    };
    double x = 0;
    for (size_t i = 0; i < sizeof right / sizeof right[0]; i++)
        assert_true(soma_parse_f64(right[i].text, &x) && x == right[i].number);
    assert_true(soma_parse_f64("-0", &x) && x == 0 && signbit(x));
    static const char *const wrong[] = {"",      ".",        "-",    "e5",  "1e",    "1e+", "1,5",
                                        " 1",    "1 ",       "0x10", "inf", "-inf",  "nan", "1e999",
                                        "1.2.3", "infinity", "1f",   "--1", "1e5.5", "NaN"};
    x = 5;
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        assert_false(soma_parse_f64(wrong[i], &x));
        assert_true(x == 5);
    }
}

static void numbers_are_written_short(void **state)
{
    (void)state;
    static const struct {
        double number;
        const char *text;
    } known[] = {
        {0, "0"},
        {-0.0, "-0"},
        {1, "1"},
        {-42, "-42"},
        {0.1, "0.1"},
        {1e-3, "0.001"},
        {0.3, "0.3"},
        {0.1 + 0.2, "0.30000000000000004"},
        {1.0 / 3, "0.3333333333333333"},
        {123.456, "123.456"},
        {1e15, "1000000000000000"},
        {9007199254740993.0, "9007199254740992"},
        {1e22, "1e+22"},
        {-1.5e-7, "-1.5e-07"},
        {1.00001e-5, "0.0000100001"},
        {DBL_MAX, "1.7976931348623157e+308"},
        {DBL_MIN, "2.2250738585072014e-308"},
        {0x1p-1074, "5e-324"},
        {3 * 0x1p-1074, "1.5e-323"},
        {-0x1.fffffffffffffp-1022, "-4.4501477170144023e-308"},
        {5e-324 * 1e10, "4.9406564584e-314"},
        {INFINITY, "inf"},
        {-INFINITY, "-inf"},
    };
    char text[32];
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
        assert_string_equal(soma_format_f64(known[i].number, text), known[i].text);
    assert_string_equal(soma_format_f64(NAN, text), "nan");
}

/* Any finite bit pattern reads back, fits its buffer and is never longer than 17 digits need. */
static void numbers_survive_the_way_there_and_back(void **state)
{
    (void)state;
    for (uint64_t i = 0; i < 20000; i++) {
        char text[40];
        uint32_t four[4];
        int exponent;
        double x, back = 0;
        memset(text, 'Z', sizeof text);
        soma_draw(NULL, 1, SOMA_STREAM_INIT, 1, 0, i, four);
        memcpy(&x, four, sizeof x);
        if (i % 4 == 1) /* around one, where no exponent is written */
            x = ldexp(frexp(x, &exponent), (int)(i % 60) - 8);
        if (i % 8 == 2) /* subnormal */
            x = (double)four[0] * 0x1p-1074;
        if (!isfinite(x))
            continue;
        soma_format_f64(x, text);
        assert_true(soma_parse_f64(text, &back) && memcmp(&x, &back, sizeof x) == 0);
        assert_true(strlen(text) < 32 && text[32] == 'Z');
        int digits = 0;
        for (const char *p = text; *p && *p != 'e'; p++)
            digits += (*p >= '0' && *p <= '9' && (digits || *p != '0'));
        assert_true(digits <= 17);
    }
}

/* A locale with a decimal comma, one that the machine has or one made for the occasion. */
static bool set_comma_locale(const char *folder)
{
    static const char *const names[] = {"de_DE.UTF-8", "de_DE.utf8", "fr_FR.UTF-8", "fr_FR.utf8", "de_DE"};
    char command[600];
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (setlocale(LC_ALL, names[i]))
            return true;
    snprintf(command, sizeof command, "localedef -i de_DE -f UTF-8 '%s/de_DE.UTF-8' >/dev/null 2>&1", folder);
    if (system(command))
        return false;
    setenv("LOCPATH", folder, 1);
    return setlocale(LC_ALL, "de_DE.UTF-8") != NULL;
}

static void remove_locale(const char *folder)
{
    char command[600];
    setlocale(LC_ALL, "C");
    unsetenv("LOCPATH");
    snprintf(command, sizeof command, "rm -rf '%s'", folder);
    assert_int_equal(system(command), 0);
}

static void the_locale_does_not_matter(void **state)
{
    (void)state;
    char folder[256], text[32], printed[32];
    double x = 0;
    assert_true(faults_folder(folder));
    if (!set_comma_locale(folder)) {
        remove_locale(folder);
        skip(); /* no such locale, and no localedef to make one */
    }
    snprintf(printed, sizeof printed, "%.1f", 0.5);
    bool read = soma_parse_f64("-1234.5e-2", &x), comma = soma_parse_f64("1,5", &x);
    soma_format_f64(-12.345, text);
    remove_locale(folder);
    assert_string_equal(printed, "0,5"); /* the locale was really in force */
    assert_true(read && !comma && x == -12.345);
    assert_string_equal(text, "-12.345");
}

static void near_names_are_found(void **state)
{
    (void)state;
    static const char *const names[] = {"filters",    "kernel", "stride", "padding", "lr",
                                        "max_pool2d", "conv2d", "",       NULL};
    static const struct {
        const char *name, *nearest;
    } known[] = {
        {"fliters", "filters"},
        {"filter", "filters"},
        {"kernal", "kernel"},
        {"strides", "stride"},
        {"paddnig", "padding"},
        {"Padding", "padding"},
        {"l", "lr"},
        {"rl", "lr"},
        {"maxpool2d", "max_pool2d"},
        {"max-pool2d", "max_pool2d"},
        {"Conv2D", "conv2d"},
        {"conv3d", "conv2d"},
        {"momentum", NULL},
        {"x", NULL},
        {"", NULL},
        {"kernel_regularizer", NULL},
    };
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        const char *found = soma_nearest_of(known[i].name, names);
        if (known[i].nearest)
            assert_non_null(found);
        assert_true(known[i].nearest ? !strcmp(found, known[i].nearest) : !found);
    }
    char longest[200];
    memset(longest, 'a', sizeof longest - 1);
    longest[sizeof longest - 1] = 0;
    assert_null(soma_nearest_of(longest, names));
    assert_null(soma_nearest_of("a", (const char *const[]){longest, NULL}));
}

static void text_grows(void **state)
{
    (void)state;
    soma *s = soma_open(NULL);
    soma_text t = {.s = s};
    char expected[4096] = "";
    for (int i = 0; i < 300; i++) {
        soma_text_addf(&t, "%d,", i);
        snprintf(expected + strlen(expected), 16, "%d,", i);
        if (i % 100 == 0) {
            soma_text_add(&t, "hundred ");
            strcat(expected, "hundred ");
        }
    }
    assert_false(t.failed);
    assert_string_equal(t.bytes, expected);
    assert_int_equal(t.size, strlen(expected));
    soma_text_free(&t);
    assert_null(t.bytes);
    soma_close(s);
}

static void text_stops_when_memory_does(void **state)
{
    (void)state;
    for (uint64_t k = 1;; k++) {
        faults_memory memory = {.fail_at = k};
        soma *s = soma_open(&(soma_context_options){.struct_size = sizeof(soma_context_options),
                                                    .allocator = faults_allocator(&memory)});
        soma_text t = {.s = s};
        for (int i = 0; s && i < 100; i++)
            soma_text_addf(&t, "%d,", i);
        if (s && memory.failed) {
            assert_true(t.failed);
            assert_int_equal(soma_error_status(s), SOMA_MEMORY);
        }
        soma_text_free(&t);
        soma_close(s);
        assert_int_equal(memory.blocks, 0);
        assert_int_equal(memory.mistakes, 0);
        if (!memory.failed)
            break;
        assert_true(k < 100);
    }
}

/* ---- src/tensor ---- */

static void types_read_as_text(void **state)
{
    (void)state;
    char text[96];
    soma_type type = {.dtype = SOMA_F32, .shape = SOMA_SHAPE(SOMA_N, 64, 11, 11)};
    assert_string_equal(soma_type_text(&type, text), "f32[N,64,11,11]");
    type = (soma_type){.dtype = SOMA_I32, .shape = SOMA_SHAPE(-3)};
    assert_string_equal(soma_type_text(&type, text), "i32[3N]");
    type = (soma_type){.dtype = SOMA_F64, .shape = SOMA_SCALAR};
    assert_string_equal(soma_type_text(&type, text), "f64[]");
    type.shape.rank = -1;
    assert_string_equal(soma_type_text(&type, text), "absent");
    type = (soma_type){.dtype = (soma_dtype)99, .shape = SOMA_SHAPE(2)};
    assert_string_equal(soma_type_text(&type, text), "unknown[2]");
    type = (soma_type){.dtype = SOMA_U8, .shape = {.rank = SOMA_MAX_RANK}};
    for (int i = 0; i < SOMA_MAX_RANK; i++)
        type.shape.dim[i] = i % 2 ? INT64_MIN : INT64_MAX;
    assert_string_equal(soma_type_text(&type, text),
                        "u8[9223372036854775807,9223372036854775808N,9223372036854775807,9223372036854775808N,...]");
    for (int64_t size = 1; size < INT64_MAX / 10; size *= 10) { /* whatever is left out, the text is whole */
        for (int i = 0; i < SOMA_MAX_RANK; i++)
            type.shape.dim[i] = size;
        memset(text, 'Z', sizeof text);
        soma_type_text(&type, text);
        assert_non_null(memchr(text, 0, sizeof text));
        assert_int_equal(text[strlen(text) - 1], ']');
    }
}

static void shapes_are_counted(void **state)
{
    (void)state;
    soma_shape shape = SOMA_SHAPE(2, 3, 4);
    assert_int_equal(soma_shape_elements(&shape), 24);
    shape = SOMA_SCALAR;
    assert_int_equal(soma_shape_elements(&shape), 1);
    static const soma_shape none[] = {
        {.rank = 2, .dim = {SOMA_N, 4}},
        {.rank = 1, .dim = {0}},
        {.rank = -1},
        {.rank = SOMA_MAX_RANK + 1},
        {.rank = 2, .dim = {INT64_C(1) << 32, INT64_C(1) << 31}},
    };
    for (size_t i = 0; i < sizeof none / sizeof none[0]; i++)
        assert_int_equal(soma_shape_elements(&none[i]), 0);
    assert_int_equal(soma_dtype_size(SOMA_F32) + soma_dtype_size(SOMA_F64), 12);
    assert_int_equal(soma_dtype_size(SOMA_I32) + soma_dtype_size(SOMA_U8), 5);
    assert_int_equal(soma_dtype_size((soma_dtype)99), 0);
}

static void refusing_writes_the_reason(void **state)
{
    (void)state;
    char reason[SOMA_REASON_MAX + 1], longest[2 * SOMA_REASON_MAX];
    assert_int_equal(soma_refuse(reason, "stride is %d", 0), SOMA_INVALID);
    assert_string_equal(reason, "stride is 0");
    memset(longest, 'x', sizeof longest - 1);
    longest[sizeof longest - 1] = 0;
    reason[SOMA_REASON_MAX] = 'Z';
    soma_refuse(reason, "%s", longest);
    assert_int_equal(strlen(reason), SOMA_REASON_MAX - 1);
    assert_int_equal(reason[SOMA_REASON_MAX], 'Z');
    assert_int_equal(soma_refuse(NULL, "nobody listens"), SOMA_INVALID);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(integers_are_read),
        cmocka_unit_test(numbers_are_read),
        cmocka_unit_test(numbers_are_written_short),
        cmocka_unit_test(numbers_survive_the_way_there_and_back),
        cmocka_unit_test(the_locale_does_not_matter),
        cmocka_unit_test(near_names_are_found),
        cmocka_unit_test(text_grows),
        cmocka_unit_test(text_stops_when_memory_does),
        cmocka_unit_test(types_read_as_text),
        cmocka_unit_test(shapes_are_counted),
        cmocka_unit_test(refusing_writes_the_reason),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
