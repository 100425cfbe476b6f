/* SPDX-License-Identifier: Apache-2.0
 *
 * tests/test_catalogue.c: all kinds of all lists: names, documentation and fields are whole, each kind is read from its
 * text form with each of its options, and a description takes it with each of them.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/fields.h"
#include "base/text.h"
#include "faults.h"

#include <soma/soma.h>

static char folder[256], path[300];

static int make_folder(void **state)
{
    (void)state;
    if (!faults_folder(folder))
        return -1;
    snprintf(path, sizeof path, "%s/m.yaml", folder);
    return 0;
}

static int remove_folder(void **state)
{
    (void)state;
    faults_folder_remove(folder);
    return 0;
}

/* ---- values ---- */

static bool required(const soma_field *f)
{
    return f->flags & SOMA_FIELD_REQUIRED;
}

/* A whole or fractional number that the field takes: its example, a stated default, or one in its range. */
static void number_for(const soma_field *f, char text[64])
{
    static const double tries[] = {1, 0.5, 2, 3, 0.001, -1};
    if (f->example) {
        snprintf(text, 64, "%.*s", (int)strcspn(f->example + strspn(f->example, "{ "), ", }"),
                 f->example + strspn(f->example, "{ "));
        return;
    }
    if (!required(f) && soma_field_in_range(f, f->preset)) {
        soma_format_f64(f->preset, text);
        return;
    }
    for (size_t i = 0; i < sizeof tries / sizeof *tries; i++)
        if (soma_field_in_range(f, tries[i]) && (f->type != SOMA_FIELD_INT || tries[i] == (int)tries[i])) {
            soma_format_f64(tries[i], text);
            return;
        }
    fail_msg("no number is right for %s", f->name);
}

/* The words of options that are names of kinds without a list of their own. */
static const char *word_for(const char *option)
{
    return strstr(option, "init") ? "zeros" : strstr(option, "activation") ? "relu" : "words";
}

/* What a test gives the field; "": C alone can. */
static const char *value_for(const soma_field *f, char text[64])
{
    switch (f->type) {
    case SOMA_FIELD_BOOL:
        return "true";
    case SOMA_FIELD_ENUM:
        return f->choices[0];
    case SOMA_FIELD_TEXT:
        return f->choices ? f->choices[0] : word_for(f->name);
    case SOMA_FIELD_KIND:
        return f->kinds->rows[0]->name;
    case SOMA_FIELD_SHAPE:
        return "2x3";
    case SOMA_FIELD_OTHER:
        return "";
    case SOMA_FIELD_INT:
    case SOMA_FIELD_INTS:
    case SOMA_FIELD_SIZE:
    case SOMA_FIELD_FLOAT:
    case SOMA_FIELD_FLOATS:
        break;
    }
    number_for(f, text);
    return text;
}

/* Options that must be given and `chosen` (NULL: none), each as `form` says: "%s%s=%s" with `between` in front of all
 * but the first. Returns how many. */
static int options_of(const soma_kind *kind, const soma_field *chosen, const char *equal, const char *between,
                      char text[512])
{
    int n = 0, length = 0;
    text[0] = 0;
    for (const soma_field *f = kind->fields; f && f->name; f++) {
        char room[64];
        const char *value = value_for(f, room);
        if ((f == chosen || required(f)) && value[0])
            length += snprintf(text + length, 512 - (size_t)length, "%s%s%s%s", n++ ? between : "", f->name, equal,
                               value);
    }
    return n;
}

/* ---- names and documentation ---- */

static bool all_of(const soma_kinds **list, const soma_kind **kind, int *i, int *k)
{
    for (; (*list = soma_kinds_at(*i)); ++*i, *k = 0)
        if ((*kind = (*list)->rows[*k])) {
            ++*k;
            return true;
        }
    return false;
}

static void names_and_documentation_are_whole(void **state)
{
    (void)state;
    const soma_kinds *list;
    const soma_kind *kind;
    int n = 0;
    for (int i = 0, k = 0; all_of(&list, &kind, &i, &k); n++) {
        if (soma_kind_find(list, kind->name) != kind)
            fail_msg("two %s are called %s", list->many, kind->name);
        if (!kind->doc || strlen(kind->doc) < 5)
            fail_msg("%s %s has no doc", list->one, kind->name);
        for (const soma_field *f = kind->fields; f && f->name; f++) {
            char text[96];
            if (soma_field_find(kind->fields, f->name) != f)
                fail_msg("%s has two options %s", kind->name, f->name);
            if (!f->doc || strlen(f->doc) < 3)
                fail_msg("option %s of %s has no doc", f->name, kind->name);
            assert_true(strlen(soma_field_type_words(f, text)) > 3);
            assert_true(f->offset < kind->options_size);
            if (f->type == SOMA_FIELD_KIND && !f->kinds)
                fail_msg("option %s of %s is a kind of no list", f->name, kind->name);
            if (f->type == SOMA_FIELD_KIND && f->preset_text && !strchr(f->preset_text, ':'))
                assert_non_null(soma_kind_find(f->kinds, f->preset_text));
        }
    }
    assert_true(n > 60);
    assert_ptr_equal(soma_kinds_find("layers"), &soma_layers);
    assert_ptr_equal(soma_kinds_find("layer"), &soma_layers);
    assert_null(soma_kinds_find("lawyers"));
    assert_null(soma_kinds_at(-1));
}

static void each_op_is_a_kind(void **state)
{
    (void)state;
    const soma_kinds *ops = soma_kinds_find("ops");
    int n = 0;
    for (; soma_op_at(n); n++) {
        assert_string_equal(ops->rows[n]->name, soma_op_at(n)->name);
        assert_ptr_equal(ops->rows[n]->fields, soma_op_at(n)->fields);
    }
    assert_null(ops->rows[n]);
}

/* ---- text form ---- */

static void each_option_is_read_from_text(void **state)
{
    (void)state;
    const soma_kinds *list;
    const soma_kind *kind;
    int n = 0;
    for (int i = 0, k = 0; all_of(&list, &kind, &i, &k);) {
        for (const soma_field *f = kind->fields; f && f->name; f++) {
            _Alignas(16) char options[1024];
            char text[640], some[512], reason[SOMA_REASON_MAX] = "", back[96], room[64];
            const soma_field_reader how = {.reason = reason};
            const soma_kind *found;
            if (f->type == SOMA_FIELD_OTHER)
                continue;
            options_of(kind, f, "=", ",", some);
            snprintf(text, sizeof text, "%s:%s", kind->name, some);
            if (soma_kind_read(&how, list, text, &found, options, sizeof options))
                fail_msg("%s: %s", text, reason);
            assert_ptr_equal(found, kind);
            soma_field_text_of(f, options, back, sizeof back);
            if (strncmp(back, value_for(f, room), strcspn(value_for(f, room), "x,")) && f->type != SOMA_FIELD_SHAPE)
                fail_msg("%s: %s is %s then", text, f->name, back);
            n++;
            snprintf(text, sizeof text, "%s:%s=%%", kind->name, f->name);
            bool words = f->type == SOMA_FIELD_TEXT && !f->choices;
            if (!words && !soma_kind_read(&how, list, text, &found, options, sizeof options))
                fail_msg("%s was read", text);
        }
    }
    assert_true(n > 40);
}

/* ---- descriptions ---- */

/* How a description holds a kind of each sort; % is "name" or "name: {options}". */
typedef struct place {
    const char *many, *text;
} place;
static const place places[] = {
    {"layers", "input: INPUT\nlayers:\n  - relu: {name: a}\n  - %\n"},
    {"activations", "input: [4]\nlayers:\n  - dense:\n      units: 2\n      activation:\n        %\n"},
    {"ops", NULL}, /* descriptions hold layers */
};

/* Samples that layers may want. */
static const char *const inputs[] = {"[4]", "[4, 9, 9]", NULL};

/* An option that is nothing without another one. */
static const char *companion(const char *option)
{
    static const char *const pairs[][2] = {{"init_a", "init: constant"},
                                           {"init_b", "init_a: 0, init: normal"},
                                           {"bias_a", "bias_init: constant"},
                                           {"bias_b", "bias_a: 0, bias_init: normal"}};
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++)
        if (!strcmp(option, pairs[i][0]))
            return pairs[i][1];
    return "";
}

static void describe(const char *form, const char *what, const char *input, char text[1024])
{
    size_t n = 0;
    for (const char *at = form; *at && n < 900; at++) {
        if (!strncmp(at, "INPUT", 5)) {
            n += (size_t)snprintf(text + n, 1024 - n, "%s", input);
            at += 4;
        } else if (*at == '%') {
            n += (size_t)snprintf(text + n, 1024 - n, "%s", what);
        } else {
            text[n++] = *at;
        }
    }
    text[n] = 0;
}

static bool described(const char *form, const char *what, char why[512])
{
    for (int i = 0; inputs[i]; i++) {
        char text[1024];
        soma *s = soma_open(&(soma_context_options){.struct_size = sizeof(soma_context_options), .threads = 1});
        describe(form, what, inputs[i], text);
        assert_true(faults_write(path, text, strlen(text)));
        bool right = soma_model_from_yaml(s, path, NULL) != NULL;
        snprintf(why, 512, "%s", right ? "" : soma_error(s));
        soma_close(s);
        if (right)
            return true;
    }
    return false;
}

/* With `some` options; what computes from several values gets two. */
static void describe_options(const place *p, const soma_kind *kind, const char *some, const char *more)
{
    static const char *const from[] = {"", "from: [a, x]"};
    char what[700], why[512];
    for (int i = 0; i < 2; i++) {
        const char *parts[] = {some, more, from[i]};
        int n = snprintf(what, sizeof what, "%s", kind->name), said = 0;
        for (int k = 0; k < 3; k++)
            if (parts[k][0])
                n += snprintf(what + n, sizeof what - (size_t)n, "%s%s", said++ ? ", " : ": {", parts[k]);
        if (said)
            snprintf(what + n, sizeof what - (size_t)n, "}");
        if (described(p->text, what, why))
            return;
    }
    fail_msg("a description does not take %s: %s", what, why);
}

static void describe_kind(const place *p, const soma_kind *kind)
{
    char some[512];
    options_of(kind, NULL, ": ", ", ", some);
    describe_options(p, kind, some, "");
    for (const soma_field *f = kind->fields; f && f->name; f++) {
        if (f->type == SOMA_FIELD_OTHER)
            continue;
        options_of(kind, f, ": ", ", ", some);
        describe_options(p, kind, some, companion(f->name));
    }
}

static void each_option_is_read_from_descriptions(void **state)
{
    (void)state;
#ifndef SOMA_HAVE_YAML
    skip();
#endif
    for (int i = 0; soma_kinds_at(i); i++) {
        const place *p = places, *end = places + sizeof places / sizeof *places;
        while (p < end && strcmp(p->many, soma_kinds_at(i)->many))
            p++;
        if (p == end)
            fail_msg("say in this test how a description holds one of the %s", soma_kinds_at(i)->many);
        for (const soma_kind *const *row = soma_kinds_at(i)->rows; p->text && *row; row++)
            describe_kind(p, *row);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_and_documentation_are_whole),
        cmocka_unit_test(each_op_is_a_kind),
        cmocka_unit_test(each_option_is_read_from_text),
        cmocka_unit_test(each_option_is_read_from_descriptions),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
