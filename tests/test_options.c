/* SPDX-License-Identifier: Apache-2.0
 *
 * Every option struct of the public headers has a table of its fields, with a row for each member. options.list is
 * made of the headers while the tests are built (scripts/structs.awk).
 */
#include "base/fields.h"

#include <soma/soma.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

typedef struct member {
    const char *whose, *name;
    size_t offset, size;
} member;

static const member members[] = {
#define MEMBER(T, f) {#T, #f, offsetof(T, f), sizeof((T *)NULL)->f},
#define OPTIONS(T)
#define OF_A_KIND(T)
#include "options.list"
#undef MEMBER
#undef OPTIONS
#undef OF_A_KIND
};
#define N_MEMBERS (sizeof members / sizeof members[0])

#define MEMBER(T, f)
#define OF_A_KIND(T)
#define OPTIONS(T) extern const soma_field T##_fields[];
#include "options.list"
#undef OPTIONS
#undef OF_A_KIND

typedef struct table {
    const char *name;
    size_t size, head; /* of the struct, and what of it has no rows */
    const soma_field *fields;
} table;

static const table tables[] = {
#define OPTIONS(T) {#T, sizeof(T), sizeof(soma_options_head), T##_fields},
#define OF_A_KIND(T)
#include "options.list"
#undef OPTIONS
#undef OF_A_KIND
};

static const char *const of_kinds[] = {
#define OPTIONS(T)
#define OF_A_KIND(T) #T,
#include "options.list"
};

static size_t size_of(const soma_field *f)
{
    switch (f->type) {
    case SOMA_FIELD_INT:
        return sizeof(int64_t);
    case SOMA_FIELD_SIZE:
        return sizeof(uint64_t);
    case SOMA_FIELD_FLOAT:
        return sizeof(double);
    case SOMA_FIELD_BOOL:
        return sizeof(bool);
    case SOMA_FIELD_ENUM:
        return sizeof(int);
    case SOMA_FIELD_INTS:
        return (size_t)f->count * sizeof(int64_t);
    case SOMA_FIELD_FLOATS:
        return (size_t)f->count * sizeof(double);
    case SOMA_FIELD_SHAPE:
        return sizeof(soma_shape);
    case SOMA_FIELD_TEXT:
    case SOMA_FIELD_KIND:
        return sizeof(const char *);
    case SOMA_FIELD_OTHER:
        return (size_t)f->count;
    }
    return 0;
}

/* Members without a row, and rows that are no member; each is printed. */
static int mismatches(const table *t, size_t shift)
{
    int wrong = 0, rows = 0, found = 0;
    for (const soma_field *f = t->fields; f && f->name; f++)
        rows++;
    for (size_t i = 0; i < N_MEMBERS; i++) {
        const member *m = &members[i];
        if (strcmp(m->whose, t->name) || m->offset < t->head)
            continue;
        const soma_field *f = t->fields;
        while (f && f->name && f->offset + shift != m->offset)
            f++;
        bool same = f && f->name && !strcmp(f->name, m->name) && size_of(f) == m->size;
        found++;
        if (!same)
            printf("%s.%s has no row of its name, place and size\n", t->name, m->name);
        wrong += !same;
    }
    if (found != rows)
        printf("%s has %d members and %d rows\n", t->name, found, rows);
    return wrong + (found != rows);
}

static void every_member_has_a_row(void **state)
{
    (void)state;
    int wrong = 0;
    for (size_t i = 0; i < sizeof tables / sizeof tables[0]; i++)
        wrong += mismatches(&tables[i], 0);
    assert_true(sizeof tables / sizeof tables[0] >= 15);
    assert_int_equal(wrong, 0);
}

/* Layers, whose options begin with x, or with several values; and op families whose numbers come behind x. */
static void every_kind_has_its_table(void **state)
{
    (void)state;
    const size_t head = sizeof(soma_options_head) + sizeof(soma_value);
    int wrong = 0;
    for (size_t i = 0; i < sizeof of_kinds / sizeof of_kinds[0]; i++) {
        char name[64] = "";
        snprintf(name, sizeof name, "%.*s", (int)(strlen(of_kinds[i]) - strlen("soma__options")), of_kinds[i] + 5);
        const bool joined = !strncmp(name, "layer_", 6);
        const size_t values = joined ? sizeof(const soma_value *) + sizeof(int64_t) : 0;
        const soma_kind *kind = soma_kind_find(&soma_layers, joined ? name + 6 : name);
        const soma_op *op = soma_op_find(name);
        if (kind && kind->options_size) {
            wrong += mismatches(&(table){of_kinds[i], kind->options_size, head + values, kind->fields}, 0);
        } else if (op) {
            wrong += mismatches(&(table){of_kinds[i], 0, head, op->fields}, head);
        } else {
            printf("%s belongs to no kind\n", of_kinds[i]);
            wrong++;
        }
    }
    assert_int_equal(wrong, 0);
}

/* A table that forgets a member is found. */
static void a_missing_row_is_found(void **state)
{
    (void)state;
    static const soma_field all[] = {SOMA_OTHER(soma_predict_options, y, ANY),
                                     SOMA_TEXT(soma_predict_options, precision, NULL, ANY), SOMA_FIELDS_END};
    table t = {"soma_predict_options", sizeof(soma_predict_options), sizeof(soma_options_head), all};
    assert_int_equal(mismatches(&t, 0), 0);
    t.fields = all + 1;
    assert_true(mismatches(&t, 0) > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_member_has_a_row),
        cmocka_unit_test(every_kind_has_its_table),
        cmocka_unit_test(a_missing_row_is_found),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
