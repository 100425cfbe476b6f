/* SPDX-License-Identifier: Apache-2.0
 *
 * base/fields_text.c: fields and kinds from text and as text (base/fields.h).
 */
#include "base/fields.h"

#include "base/text.h"
#include "base/zero.h"

#include <stdio.h>
#include <string.h>

#define TEXT_MAX 1024 /* one field's text, one kind with its options */

/* Is `name` one of the words of `list`, which are apart by blanks? */
static bool among(const char *list, const char *name)
{
    size_t length = strlen(name);
    for (const char *at = list; at && *at;) {
        size_t n = strcspn(at, " ");
        if (n == length && n && !memcmp(at, name, n))
            return true;
        at += n + (at[n] == ' ');
    }
    return false;
}

const soma_field *soma_field_find(const soma_field *fields, const char *name)
{
    for (const soma_field *field = fields; field && field->name; field++)
        if (!strcmp(field->name, name) || among(field->aliases, name))
            return field;
    return NULL;
}

/* ---- numbers ---- */

static bool whole(const soma_field *field)
{
    return field->type != SOMA_FIELD_FLOAT && field->type != SOMA_FIELD_FLOATS;
}

/* "stride" with what stands before it, for the beginning of a sentence. */
static const char *called(const soma_field_reader *r, const soma_field *field, char room[96])
{
    if (r->what)
        snprintf(room, 96, "%s%.60s", r->what, field->name);
    else
        snprintf(room, 96, "\"%.60s\"", field->name);
    return room;
}

const char *soma_field_takes(const soma_field *field, char *text, size_t size)
{
    bool numbers = field->type == SOMA_FIELD_SIZE || field->type == SOMA_FIELD_FLOAT || field->type == SOMA_FIELD_INT ||
                   field->type == SOMA_FIELD_FLOATS || field->type == SOMA_FIELD_INTS ||
                   field->type == SOMA_FIELD_SHAPE;
    bool some = field->type == SOMA_FIELD_FLOATS || field->type == SOMA_FIELD_SHAPE;
    int most = field->type == SOMA_FIELD_SHAPE ? SOMA_MAX_RANK : soma_field_count(field, NULL);
    const char *before = some && most > 1 ? "at most " : most > 1 ? "one or " : "";
    if (!numbers)
        snprintf(text, size, "one value, not a list or a mapping");
    else if (most == 1)
        snprintf(text, size, "one %snumber", whole(field) ? "whole " : "");
    else
        snprintf(text, size, "%s%d %snumbers", before, most, whole(field) ? "whole " : "");
    return text;
}

static soma_status takes(const soma_field_reader *r, const soma_field *field)
{
    char name[96], text[64];
    return soma_refuse(r->reason, "%s takes %s", called(r, field, name), soma_field_takes(field, text, sizeof text));
}

/* The end of the range that a number lies beyond. */
static const char *passed_bound(const soma_field *field, double number, char text[96])
{
    soma_field one = *field;
    if (number <= field->min)
        one.max = INFINITY;
    else
        one.min = -INFINITY;
    return soma_field_range(&one, text);
}

static soma_status read_number(const soma_field_reader *r, const soma_field *field, const char *text, double *number)
{
    char name[96], range[96];
    int64_t integer = 0;
    if (field->type == SOMA_FIELD_SHAPE && !strcmp(text, "N"))
        integer = SOMA_N;
    else if (whole(field) ? !soma_parse_i64(text, &integer) : !soma_parse_f64(text, number) || !isfinite(*number))
        return soma_refuse(r->reason, "%s takes a %snumber, got \"%.100s\"", called(r, field, name),
                           whole(field) ? "whole " : "", text);
    if (whole(field))
        *number = (double)integer;
    if (field->type != SOMA_FIELD_SHAPE && !soma_field_in_range(field, *number))
        return soma_refuse(r->reason, "%s must be %s, got %.100s", called(r, field, name),
                           passed_bound(field, *number, range), text);
    if (*number == 0 && r->asked && (field->preset != 0 || !whole(field)))
        *number = (double)SOMA_ZERO;
    return SOMA_OK;
}

static soma_status read_numbers(const soma_field_reader *r, const soma_field *field, void *values,
                                const char *const *texts, int n)
{
    bool shape = field->type == SOMA_FIELD_SHAPE;
    int most = shape ? SOMA_MAX_RANK : soma_field_count(field, values);
    double numbers[16];
    if (n > most || n > 16 || (n < 1 && !shape) || (n != 1 && n != most && !shape && field->type != SOMA_FIELD_FLOATS))
        return takes(r, field);
    for (int i = 0; i < n; i++)
        if (read_number(r, field, texts[i], &numbers[i]))
            return SOMA_INVALID;
    if (shape)
        ((soma_shape *)(void *)((char *)values + field->offset))->rank = n;
    bool one_for_all = n == 1 && most > 1 && !shape && field->type != SOMA_FIELD_FLOATS;
    for (int i = 0; i < (one_for_all ? most : n); i++)
        soma_field_set(field, values, i, numbers[one_for_all ? 0 : i]);
    return SOMA_OK;
}

/* ---- words ---- */

static soma_status read_bool(const soma_field_reader *r, const soma_field *field, void *values, const char *text)
{
    char name[96];
    bool yes = !strcmp(text, "true") || !strcmp(text, "1");
    if (!yes && strcmp(text, "false") && strcmp(text, "0"))
        return soma_refuse(r->reason, "%s must be true or false, got \"%.100s\"", called(r, field, name), text);
    soma_field_set(field, values, 0, yes);
    return SOMA_OK;
}

static soma_status wrong_choice(const soma_field_reader *r, const soma_field *field, const char *text)
{
    char name[96];
    const char *near = soma_nearest_of(text, field->choices);
    return soma_refuse(r->reason, "%s cannot be \"%.100s\"%s%s%s", called(r, field, name), text,
                       near ? "; did you mean \"" : "", near ? near : "", near ? "\"?" : "");
}

static soma_status read_enum(const soma_field_reader *r, const soma_field *field, void *values, const char *text)
{
    for (int i = 0; field->choices[i]; i++)
        if (!strcmp(field->choices[i], text)) {
            soma_field_set(field, values, 0, i);
            return SOMA_OK;
        }
    return wrong_choice(r, field, text);
}

static soma_status read_text(const soma_field_reader *r, const soma_field *field, void *values, const char *text)
{
    if (field->choices && !soma_one_of(text, field->choices))
        return wrong_choice(r, field, text);
    const char *kept = r->arena ? soma_arena_text(r->arena, text) : text;
    *(const char **)(void *)((char *)values + field->offset) = kept;
    return kept ? SOMA_OK : SOMA_MEMORY;
}

static soma_status read_kind(const soma_field_reader *r, const soma_field *field, void *values, const char *text)
{
    _Alignas(max_align_t) char options[512];
    const soma_kind *kind;
    soma_field_reader checking = *r; /* what the kind's own options hold is read again by whoever builds it */
    soma_status status = soma_kind_read(&checking, field->kinds, text, &kind, options, sizeof options);
    return status ? status : read_text(r, field, values, text);
}

soma_status soma_field_read(const soma_field_reader *r, const soma_field *field, void *values, const char *const *texts,
                            int n)
{
    char name[96];
    if (field->type == SOMA_FIELD_OTHER)
        return soma_refuse(r->reason, "%s can be given by a C program only", called(r, field, name));
    bool numbers = soma_field_count(field, values) != 1 || field->type == SOMA_FIELD_INT ||
                   field->type == SOMA_FIELD_INTS || field->type == SOMA_FIELD_SHAPE ||
                   field->type == SOMA_FIELD_FLOAT || field->type == SOMA_FIELD_FLOATS ||
                   field->type == SOMA_FIELD_SIZE;
    if (numbers)
        return read_numbers(r, field, values, texts, n);
    if (n != 1)
        return soma_refuse(r->reason, "%s takes one value, not a list", called(r, field, name));
    return field->type == SOMA_FIELD_BOOL   ? read_bool(r, field, values, texts[0])
           : field->type == SOMA_FIELD_ENUM ? read_enum(r, field, values, texts[0])
           : field->type == SOMA_FIELD_KIND ? read_kind(r, field, values, texts[0])
                                            : read_text(r, field, values, texts[0]);
}

soma_status soma_field_read_text(const soma_field_reader *r, const soma_field *field, void *values, const char *text)
{
    char copy[TEXT_MAX], name[96];
    const char *texts[16];
    int n = 0;
    if (field->type == SOMA_FIELD_TEXT || field->type == SOMA_FIELD_KIND)
        return soma_field_read(r, field, values, &text, 1);
    if (strlen(text) >= sizeof copy)
        return soma_refuse(r->reason, "%s: the text is too long", called(r, field, name));
    memcpy(copy, text, strlen(text) + 1);
    for (char *at = copy; n < 16;) {
        size_t length = strcspn(at, ",x");
        bool more = at[length] != 0;
        texts[n++] = at;
        at[length] = 0;
        at += length + 1;
        if (!more)
            break;
    }
    if (n == 1 && !texts[0][0] && field->type == SOMA_FIELD_SHAPE)
        n = 0;
    return soma_field_read(r, field, values, texts, n);
}

/* ---- all fields ---- */

static const char *field_name(const void *fields, int index)
{
    return fields ? ((const soma_field *)fields)[index].name : NULL;
}

soma_status soma_fields_unknown(const soma_field *fields, const char *whose, const char *name, char *reason)
{
    const char *near = soma_nearest(name, field_name, fields);
    return soma_refuse(reason, "there is no option of %s called \"%.100s\"%s%s%s", whose, name,
                       near ? "; did you mean \"" : "", near ? near : "", near ? "\"?" : "");
}

static soma_status read_pair(const soma_field_reader *r, const soma_field *fields, void *values, char *pair,
                             const char *whose)
{
    char *equal = strchr(pair, '=');
    if (!equal)
        return soma_refuse(r->reason, "\"%.100s\" is not name=value, as options of %s are given", pair, whose);
    *equal = 0;
    const soma_field *field = soma_field_find(fields, pair);
    return field ? soma_field_read_text(r, field, values, equal + 1)
                 : soma_fields_unknown(fields, whose, pair, r->reason);
}

soma_status soma_fields_read(const soma_field_reader *r, const soma_field *fields, void *values, const char *text,
                             char between, const char *whose)
{
    const char cut[2] = {between, 0};
    for (const char *at = text ? text : ""; *at;) {
        char pair[TEXT_MAX];
        size_t length = strcspn(at, cut);
        if (length >= sizeof pair)
            return soma_refuse(r->reason, "the options of %s are too long: \"%.100s...\"", whose, at);
        memcpy(pair, at, length);
        pair[length] = 0;
        if (length && read_pair(r, fields, values, pair, whose))
            return SOMA_INVALID;
        at += length + (at[length] != 0);
    }
    return SOMA_OK;
}

void soma_field_text_of(const soma_field *field, const void *values, char *text, size_t capacity)
{
    size_t used = 0;
    text[0] = 0;
    if (field->type == SOMA_FIELD_TEXT || field->type == SOMA_FIELD_KIND) {
        const char *held = *(const char *const *)(const void *)((const char *)values + field->offset);
        snprintf(text, capacity, "%s", held ? held : "");
        return;
    }
    if (field->type == SOMA_FIELD_ENUM || field->type == SOMA_FIELD_BOOL) {
        int number = (int)soma_field_number(field, values, 0);
        snprintf(text, capacity, "%s",
                 field->type == SOMA_FIELD_ENUM ? field->choices[number]
                 : number                       ? "true"
                                                : "false");
        return;
    }
    for (int i = 0; field->type != SOMA_FIELD_OTHER && i < soma_field_count(field, values) && used < capacity; i++) {
        char number[32];
        double value = soma_field_number(field, values, i);
        bool batch = field->type == SOMA_FIELD_SHAPE && value == (double)SOMA_N;
        int n = snprintf(text + used, capacity - used, "%s%s", i ? "," : "",
                         batch ? "N" : soma_format_f64(value, number));
        used += n > 0 ? (size_t)n : 0;
    }
}

/* ---- kinds ---- */

const soma_kind *soma_kind_find(const soma_kinds *kinds, const char *name)
{
    for (const soma_kind *const *row = kinds->rows; *row && name; row++)
        if (!strcmp((*row)->name, name) || among((*row)->aliases, name))
            return *row;
    return NULL;
}

static const char *kind_name(const void *rows, int index)
{
    const soma_kind *kind = ((const soma_kind *const *)rows)[index];
    return kind ? kind->name : NULL;
}

const char *soma_kind_nearest(const soma_kinds *kinds, const char *name)
{
    return soma_nearest(name, kind_name, kinds->rows);
}

soma_status soma_kind_unknown(const soma_kinds *kinds, const char *name, char *reason)
{
    char known[SOMA_REASON_MAX - 160] = "";
    const char *near = soma_kind_nearest(kinds, name);
    size_t used = 0;
    for (int i = 0; !near && kinds->rows[i] && used < sizeof known; i++)
        used += (size_t)snprintf(known + used, sizeof known - used, "%s%s",
                                 i == 0               ? "; known are "
                                 : kinds->rows[i + 1] ? ", "
                                                      : " and ",
                                 kinds->rows[i]->name);
    if (used >= sizeof known)
        known[0] = 0; /* too many to be told */
    return soma_refuse(reason, "there is no %s \"%.100s\"%s%s%s%s", kinds->one, name, near ? "; did you mean \"" : "",
                       near ? near : "", near ? "\"?" : "", known);
}

soma_status soma_kind_read(const soma_field_reader *r, const soma_kinds *kinds, const char *text,
                           const soma_kind **kind, void *options, size_t room)
{
    char name[TEXT_MAX];
    size_t length = strcspn(text, ":");
    if (length >= sizeof name)
        return soma_refuse(r->reason, "the name of a %s is too long", kinds->one);
    memcpy(name, text, length);
    name[length] = 0;
    *kind = soma_kind_find(kinds, name);
    if (!*kind)
        return soma_kind_unknown(kinds, name, r->reason);
    if ((*kind)->options_size > room)
        return soma_refuse(r->reason, "the options of %s take %zu bytes, at most %zu are possible", (*kind)->name,
                           (*kind)->options_size, room);
    memset(options, 0, (*kind)->options_size);
    if (text[length] && text[length + 1] && !(*kind)->fields)
        return soma_refuse(r->reason, "%s takes no options, but here are \"%.100s\"", (*kind)->name, text + length + 1);
    if ((*kind)->options_size >= sizeof(soma_options_head))
        ((soma_options_head *)options)->struct_size = (*kind)->options_size;
    return text[length] ? soma_fields_read(r, (*kind)->fields, options, text + length + 1, ',', (*kind)->name)
                        : SOMA_OK;
}
