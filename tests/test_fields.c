/* SPDX-License-Identifier: Apache-2.0
 *
 * Tables of fields: presets, zeros that are meant, ranges, structs of older and newer headers, text in and out.
 */
#include "base/fields.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

typedef struct options {
    size_t struct_size;
    soma_at at;
    int64_t units, window[2];
    double rate, means[3];
    bool quick;
    const char *way;
} options;

static const char *const ways[] = {"up", "down", NULL};
static const soma_field fields[] = {SOMA_INT(options, units, 0, REQUIRED(1, 100, "10"), .doc = "how many there are"),
                                    SOMA_INTS(options, window, 3, BETWEEN(1, 9), .aliases = "size kernel_size"),
                                    SOMA_FLOAT(options, rate, 0.5, BELOW(0, 1), .aliases = "lr"),
                                    SOMA_FLOATS(options, means, 0, ANY),
                                    SOMA_BOOL(options, quick, ANY),
                                    SOMA_TEXT(options, way, "up", .choices = ways),
                                    SOMA_FIELDS_END};

static soma_status resolve(const options *given, options *got, char *reason)
{
    return soma_fields_resolve(fields, sizeof *got, given, got, reason);
}

static void what_is_not_said_is_the_preset(void **state)
{
    (void)state;
    char reason[SOMA_REASON_MAX] = "";
    options got, given = {.struct_size = sizeof given, .units = 7, .window = {0, 5}, .rate = SOMA_ZERO};
    assert_int_equal(resolve(&given, &got, reason), SOMA_OK);
    assert_int_equal(got.units, 7);
    assert_int_equal(got.window[0], 3);
    assert_int_equal(got.window[1], 5);
    assert_true(got.rate == 0);
    assert_string_equal(got.way, "up");
    given.rate = 0;
    assert_int_equal(resolve(&given, &got, reason), SOMA_OK);
    assert_true(got.rate == 0.5);
}

static void what_is_wrong_is_said(void **state)
{
    (void)state;
    char reason[SOMA_REASON_MAX] = "";
    options got, given = {.struct_size = sizeof given};
    assert_int_equal(resolve(&given, &got, reason), SOMA_INVALID);
    assert_non_null(strstr(reason, "units is missing; say how many there are"));
    given.units = 101;
    assert_int_equal(resolve(&given, &got, reason), SOMA_INVALID);
    assert_string_equal(reason, "units is 101; it must be between 1 and 100");
    given.units = 1;
    given.rate = 1;
    assert_int_equal(resolve(&given, &got, reason), SOMA_INVALID);
    assert_non_null(strstr(reason, "rate is 1; it must be at least 0 and below 1"));
    given.rate = (double)NAN;
    assert_int_equal(resolve(&given, &got, reason), SOMA_INVALID);
    given.rate = 0;
    given.way = "dwon";
    assert_int_equal(resolve(&given, &got, reason), SOMA_INVALID);
    assert_string_equal(reason, "way cannot be \"dwon\"; known are up and down; did you mean \"down\"?");
}

/* A program compiled when the struct ended earlier hands over that many bytes; what lies behind them is not read. */
static void older_structs_are_completed(void **state)
{
    (void)state;
    char reason[SOMA_REASON_MAX] = "";
    options got, given;
    for (size_t size = 0; size <= sizeof given; size++) {
        memset(&given, 0xff, sizeof given);
        memset(&given, 0, size < sizeof(soma_options_head) ? sizeof(soma_options_head) : size);
        given.struct_size = size;
        soma_status status = resolve(&given, &got, reason);
        bool head = size >= sizeof(soma_options_head);
        assert_int_equal(status, SOMA_INVALID); /* units is always missing, at least */
        assert_non_null(strstr(reason, head ? "units is missing" : "struct_size"));
        if (size < offsetof(options, units) + sizeof given.units)
            continue;
        given.units = 4;
        assert_int_equal(resolve(&given, &got, reason), SOMA_OK);
        assert_true(got.rate == 0.5 && got.window[0] == 3 && !got.quick);
    }
}

static void newer_structs_are_taken_where_they_say_nothing_new(void **state)
{
    (void)state;
    char reason[SOMA_REASON_MAX] = "";
    struct {
        options known;
        int64_t later;
    } given = {.known = {.struct_size = sizeof given, .units = 4}};
    options got;
    assert_int_equal(resolve(&given.known, &got, reason), SOMA_OK);
    given.later = 1;
    assert_int_equal(resolve(&given.known, &got, reason), SOMA_INVALID);
    assert_non_null(strstr(reason, "newer headers"));
}

static void text_is_read(void **state)
{
    (void)state;
    char reason[SOMA_REASON_MAX] = "", text[64];
    const soma_field_reader r = {.asked = true, .reason = reason};
    options got = {.struct_size = sizeof got};
    assert_int_equal(soma_fields_read(&r, fields, &got, "units=8,kernel_size=2x4,lr=0,quick=true,way=down", ',', "it"),
                     SOMA_OK);
    assert_int_equal(got.units, 8);
    assert_true(got.window[0] == 2 && got.window[1] == 4 && got.quick && got.rate == (double)SOMA_ZERO);
    assert_string_equal(got.way, "down");
    soma_field_text_of(&fields[1], &got, text, sizeof text);
    assert_string_equal(text, "2,4");
    const struct {
        const char *text, *says;
    } wrong[] = {{"unit=8", "there is no option of it called \"unit\"; did you mean \"units\"?"},
                 {"units=many", "\"units\" takes a whole number, got \"many\""},
                 {"units=101", "\"units\" must be at most 100, got 101"},
                 {"rate=-1", "\"rate\" must be at least 0, got -1"},
                 {"window=1x2x3", "\"window\" takes one or 2 whole numbers"},
                 {"quick=yes", "\"quick\" must be true or false, got \"yes\""},
                 {"units", "\"units\" is not name=value"}};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        assert_int_equal(soma_fields_read(&r, fields, &got, wrong[i].text, ',', "it"), SOMA_INVALID);
        assert_non_null(strstr(reason, wrong[i].says));
    }
}

static void kinds_are_read_with_their_options(void **state)
{
    (void)state;
    static const soma_kind one = {sizeof one, "one", "uno first", "", sizeof(options), fields}, bare = {.name = "bare"};
    static const soma_kind *const rows[] = {&one, &bare, NULL};
    static const soma_kinds kinds = {"thing", "things", rows};
    char reason[SOMA_REASON_MAX] = "";
    const soma_field_reader r = {.asked = true, .reason = reason};
    const soma_kind *kind;
    options got;
    assert_int_equal(soma_kind_read(&r, &kinds, "uno:units=5", &kind, &got, sizeof got), SOMA_OK);
    assert_ptr_equal(kind, &one);
    assert_int_equal(got.units, 5);
    assert_int_equal(soma_kind_read(&r, &kinds, "oen", &kind, &got, sizeof got), SOMA_INVALID);
    assert_string_equal(reason, "there is no thing \"oen\"; did you mean \"one\"?");
    assert_int_equal(soma_kind_read(&r, &kinds, "bare:units=5", &kind, &got, sizeof got), SOMA_INVALID);
    assert_string_equal(reason, "bare takes no options, but here are \"units=5\"");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_not_said_is_the_preset),
        cmocka_unit_test(what_is_wrong_is_said),
        cmocka_unit_test(older_structs_are_completed),
        cmocka_unit_test(newer_structs_are_taken_where_they_say_nothing_new),
        cmocka_unit_test(text_is_read),
        cmocka_unit_test(kinds_are_read_with_their_options),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
