/* SPDX-License-Identifier: Apache-2.0
 *
 * graph/attrs.c: attribute tables at work: defaults, checks, text in and out. One table, every use.
 */
#include "base/text.h"
#include "graph/graph.h"

#include <stdio.h>
#include <string.h>

static void set_number(const soma_field *field, void *attrs, int i, double number)
{
    char *at = (char *)attrs + field->offset;
    switch (field->type) {
    case SOMA_FIELD_INT:
        *(int64_t *)(void *)at = (int64_t)number;
        break;
    case SOMA_FIELD_INTS:
        ((int64_t *)(void *)at)[i] = (int64_t)number;
        break;
    case SOMA_FIELD_FLOAT:
        *(double *)(void *)at = number;
        break;
    case SOMA_FIELD_BOOL:
        *(bool *)at = number != 0;
        break;
    case SOMA_FIELD_ENUM:
        *(int *)(void *)at = (int)number;
        break;
    case SOMA_FIELD_SHAPE:
        ((soma_shape *)(void *)at)->dim[i] = (int64_t)number;
        break;
    }
}

static double get_number(const soma_field *field, const void *attrs, int i)
{
    const char *at = (const char *)attrs + field->offset;
    switch (field->type) {
    case SOMA_FIELD_INT:
        return (double)*(const int64_t *)(const void *)at;
    case SOMA_FIELD_INTS:
        return (double)((const int64_t *)(const void *)at)[i];
    case SOMA_FIELD_FLOAT:
        return *(const double *)(const void *)at;
    case SOMA_FIELD_BOOL:
        return *(const bool *)at;
    case SOMA_FIELD_ENUM:
        return *(const int *)(const void *)at;
    case SOMA_FIELD_SHAPE:
        return (double)((const soma_shape *)(const void *)at)->dim[i];
    }
    return 0;
}

static int field_count(const soma_field *field, const void *attrs)
{
    if (field->type == SOMA_FIELD_INTS)
        return field->count;
    if (field->type == SOMA_FIELD_SHAPE)
        return ((const soma_shape *)(const void *)((const char *)attrs + field->offset))->rank;
    return 1;
}

soma_status soma_attrs_default(const soma_op *op, void *attrs)
{
    memset(attrs, 0, op->attrs_size);
    for (const soma_field *field = op->fields; field && field->name; field++)
        if (field->type != SOMA_FIELD_SHAPE)
            for (int i = 0; i < field_count(field, attrs); i++)
                set_number(field, attrs, i, field->preset);
    return SOMA_OK;
}

const int *soma_activation_in(const soma_op *op, const void *attrs)
{
    for (const soma_field *field = op->fields; field && field->name; field++)
        if (field->type == SOMA_FIELD_ENUM && (!strcmp(field->name, "activation") || !strcmp(field->name, "gate")))
            return (const int *)(const void *)((const char *)attrs + field->offset);
    return NULL;
}

soma_status soma_attrs_check(const soma_op *op, const void *attrs, char *reason)
{
    for (const soma_field *field = op->fields; field && field->name; field++) {
        if (field->type == SOMA_FIELD_SHAPE) {
            const soma_shape *shape = (const void *)((const char *)attrs + field->offset);
            if (shape->rank < 0 || shape->rank > SOMA_MAX_RANK)
                return soma_refuse(reason, "attribute %s has %d dimensions, 0 to %d are possible", field->name,
                                   shape->rank, SOMA_MAX_RANK);
            continue;
        }
        int choices = 0;
        while (field->type == SOMA_FIELD_ENUM && field->choices[choices])
            choices++;
        for (int i = 0; i < field_count(field, attrs); i++) {
            double number = get_number(field, attrs, i);
            if (field->type == SOMA_FIELD_ENUM && (number < 0 || number >= choices))
                return soma_refuse(reason, "attribute %s is not one of its choices", field->name);
            char got[32], low[32], high[32];
            if (field->type != SOMA_FIELD_ENUM && field->type != SOMA_FIELD_BOOL && field->min <= field->max &&
                !(number >= field->min && number <= field->max))
                return soma_refuse(reason, "attribute %s is %s, it must be between %s and %s", field->name,
                                   soma_format_f64(number, got), soma_format_f64(field->min, low),
                                   soma_format_f64(field->max, high));
        }
    }
    return SOMA_OK;
}

/* ---- text ---- */

static const char *field_name(const void *op, int index)
{
    const soma_field *fields = ((const soma_op *)op)->fields;
    return fields ? fields[index].name : NULL;
}

static soma_status parse_choice(const soma_field *field, void *attrs, const char *text, char *reason)
{
    for (int i = 0; field->choices[i]; i++)
        if (!strcmp(field->choices[i], text)) {
            set_number(field, attrs, 0, i);
            return SOMA_OK;
        }
    const char *near = soma_nearest_of(text, field->choices);
    return soma_refuse(reason, "attribute %s cannot be \"%s\"%s%s%s", field->name, text,
                       near ? "; did you mean \"" : "", near ? near : "", near ? "\"?" : "");
}

static soma_status parse_numbers(const soma_field *field, void *attrs, const char *text, char *reason)
{
    int n = 0, most = field->type == SOMA_FIELD_SHAPE ? SOMA_MAX_RANK : field_count(field, attrs);
    bool whole = field->type != SOMA_FIELD_FLOAT;
    for (const char *at = text; *at;) {
        char part[64];
        size_t length = strcspn(at, ",");
        int64_t integer = 0;
        double number = 0;
        if (n >= most || length == 0 || length >= sizeof part)
            return soma_refuse(reason, "attribute %s takes %d number%s separated by commas, got \"%s\"", field->name,
                               most, most == 1 ? "" : "s", text);
        memcpy(part, at, length);
        part[length] = 0;
        if (whole && !strcmp(part, "N"))
            integer = SOMA_N;
        else if (whole ? !soma_parse_i64(part, &integer) : !soma_parse_f64(part, &number))
            return soma_refuse(reason, "attribute %s: \"%s\" is not a%s number", field->name, part,
                               whole ? " whole" : "");
        set_number(field, attrs, n++, whole ? (double)integer : number);
        at += length;
        if (*at == ',')
            at++;
    }
    if (field->type == SOMA_FIELD_SHAPE)
        ((soma_shape *)(void *)((char *)attrs + field->offset))->rank = n;
    else if (n == 1) /* one number for all */
        for (int i = 1; i < most; i++)
            set_number(field, attrs, i, get_number(field, attrs, 0));
    else if (n != most)
        return soma_refuse(reason, "attribute %s takes %d numbers, got %d", field->name, most, n);
    return SOMA_OK;
}

soma_status soma_attr_parse(const soma_op *op, void *attrs, const char *name, const char *text, char *reason)
{
    for (const soma_field *field = op->fields; field && field->name; field++) {
        if (strcmp(field->name, name))
            continue;
        if (field->type == SOMA_FIELD_ENUM)
            return parse_choice(field, attrs, text, reason);
        if (field->type != SOMA_FIELD_BOOL)
            return parse_numbers(field, attrs, text, reason);
        bool yes = !strcmp(text, "true") || !strcmp(text, "1");
        if (!yes && strcmp(text, "false") && strcmp(text, "0"))
            return soma_refuse(reason, "attribute %s must be true or false, got \"%s\"", name, text);
        set_number(field, attrs, 0, yes);
        return SOMA_OK;
    }
    const char *near = soma_nearest(name, field_name, op);
    return soma_refuse(reason, "%s has no attribute \"%s\"%s%s%s", op->name, name, near ? "; did you mean \"" : "",
                       near ? near : "", near ? "\"?" : "");
}

soma_status soma_attrs_parse(const soma_op *op, void *attrs, const char *text, char *reason)
{
    soma_attrs_default(op, attrs);
    for (const char *at = text ? text : ""; *at;) {
        char pair[256];
        size_t length = strcspn(at, " ");
        if (length >= sizeof pair)
            return soma_refuse(reason, "attribute text too long: \"%s\"", at);
        memcpy(pair, at, length);
        pair[length] = 0;
        char *equal = strchr(pair, '=');
        if (length && !equal)
            return soma_refuse(reason, "\"%s\" is not name=value", pair);
        if (length) {
            *equal = 0;
            soma_status status = soma_attr_parse(op, attrs, pair, equal + 1, reason);
            if (status != SOMA_OK)
                return status;
        }
        at += length;
        if (*at)
            at++;
    }
    return soma_attrs_check(op, attrs, reason);
}

void soma_attr_text(const soma_field *field, const void *attrs, char *text, size_t capacity)
{
    size_t used = 0;
    text[0] = 0;
    if (field->type == SOMA_FIELD_ENUM) {
        snprintf(text, capacity, "%s", field->choices[(int)get_number(field, attrs, 0)]);
        return;
    }
    if (field->type == SOMA_FIELD_BOOL) {
        snprintf(text, capacity, "%s", get_number(field, attrs, 0) != 0 ? "true" : "false");
        return;
    }
    for (int i = 0; i < field_count(field, attrs) && used < capacity; i++) {
        char number[32];
        double value = get_number(field, attrs, i);
        bool batch = field->type == SOMA_FIELD_SHAPE && value == (double)SOMA_N;
        int n = snprintf(text + used, capacity - used, "%s%s", i ? "," : "",
                         batch ? "N" : soma_format_f64(value, number));
        used += n > 0 ? (size_t)n : 0;
    }
}
