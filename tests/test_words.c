/* SPDX-License-Identifier: Apache-2.0
 *
 * tests/test_words.c: sentences in the words of whoever made the mistake: a C program, a description, a command.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/words.h"

#include <soma/soma.h>

static const char *field_name(void *user, const char *field)
{
    (void)user;
    return !strcmp(field, "batch_size") ? "--batch-size" : !strcmp(field, "partial") ? "--partial" : NULL;
}

static soma *open_for(bool command)
{
    soma *s = soma_open(&(soma_context_options){.struct_size = sizeof(soma_context_options),
                                                .field_name = command ? field_name : NULL});
    assert_non_null(s);
    return s;
}

static void expect(soma *s, const char *want)
{
    if (strcmp(soma_error(s), want) != 0)
        fail_msg("expected \"%s\", got \"%s\"", want, soma_error(s));
    soma_clear(s);
}

#define SENTENCE                                                                                                       \
    SOMA_IN_C("soma_call: ")                                                                                           \
    SOMA_FIELD_IS("batch_size", "%d")                                                                                  \
    " is %s; see " SOMA_FIELD("units") " or " SOMA_FIELD_IS("size", "{2, 2}")                                          \
        SOMA_ELSEWHERE(" (no C)") ", or " SOMA_FIELD_IS("partial", "true")

static void fields_are_called_as_their_writer_calls_them(void **state)
{
    (void)state;
    soma *c = open_for(false), *command = open_for(true);
    const soma_at here = {"main.c", 12}, file = soma_line_of("net.yaml", 3);
    soma_fail(c, SOMA_INVALID, here, SENTENCE, 4, "odd");
    expect(c, "main.c:12: soma_call: .batch_size = 4 is odd; see .units or .size = {2, 2}, or .partial = true");
    for (int i = 0; i < 2; i++) { /* a description's words are its own, whoever reads it */
        soma *s = i ? command : c;
        soma_fail(s, SOMA_INVALID, file, SOMA_FIELD_IS("size", "{2, 2}") " and " SOMA_FIELD("units") " are %s", "odd");
        expect(s, "net.yaml:3: size: [2, 2] and \"units\" are odd");
    }
    soma_fail(command, SOMA_INVALID, soma_nowhere(), SENTENCE, 4, "odd");
    expect(command, "--batch-size 4 is odd; see \"units\" or size: [2, 2] (no C), or --partial");
    soma_clear(command);
    soma_fail(command, SOMA_INVALID, here, SENTENCE, 4, "odd"); /* a place in C, whoever set it */
    expect(command, "--batch-size 4 is odd; see \"units\" or size: [2, 2] (no C), or --partial");
    /* what comes from outside is no mark */
    soma_fail(command, SOMA_INVALID, soma_nowhere(), "\"%s\"", "\3batch_size\2");
    expect(command, "\"\3batch_size\2\"");
    soma_close(c);
    soma_close(command);
}

static void architectures_fail_where_they_are_asked_for(void **state)
{
    (void)state;
    soma *s = open_for(false);
    int line = __LINE__ + 1;
    assert_null(soma_zoo(s, "lenet5", .input = SOMA_SHAPE(1, 4, 4)));
    char place[64];
    snprintf(place, sizeof place, "test_words.c:%d: ", line);
    assert_non_null(strstr(soma_error(s), place));
    assert_null(strstr(soma_error(s), "zoo/"));
    soma_close(s);
    s = open_for(true);
    assert_null(soma_zoo_with(
        s,
        &(soma_zoo_options){.struct_size = sizeof(soma_zoo_options), .name = "lenet5", .input = SOMA_SHAPE(1, 4, 4)}));
    assert_null(strstr(soma_error(s), ".c:"));
    assert_memory_equal(soma_error(s), "conv2d \"conv2\": ", 16);
    soma_close(s);
}

static void mistakes_are_kept_by_place(void **state)
{
    (void)state;
    soma *s = open_for(false);
    soma_mistake kept = {SOMA_OK, {NULL, 0}, ""};
    const int lines[] = {7, 9, 3, 5};
    for (int i = 0; i < 4; i++) {
        soma_fail(s, SOMA_FORMAT, soma_line_of("a", lines[i]), "wrong");
        soma_mistake_take(s, &kept);
        assert_false(soma_failed(s));
    }
    assert_int_equal(soma_mistake_put(s, &kept), SOMA_FORMAT);
    expect(s, "a:3: wrong");
    soma_close(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fields_are_called_as_their_writer_calls_them),
        cmocka_unit_test(architectures_fail_where_they_are_asked_for),
        cmocka_unit_test(mistakes_are_kept_by_place),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
