/* SPDX-License-Identifier: Apache-2.0
 *
 * base/fields.c: values of fields, their presets and ranges, and option structs of callers (base/fields.h).
 */
#include "base/fields.h"

#include "base/text.h"
#include "base/words.h"
#include "base/zero.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define STRUCT_MAX 65536 /* no option struct is as large: a larger size was never set */

soma_status soma_refuse(char *reason, const char *format, ...)
{
    if (reason) {
        va_list args;
        va_start(args, format);
        if (vsnprintf(reason, SOMA_REASON_MAX, format, args) >= SOMA_REASON_MAX)
            memcpy(reason + SOMA_REASON_MAX - 4, "...", 4);
        va_end(args);
    }
    return SOMA_INVALID;
}

static const void *place(const soma_field *field, const void *values)
{
    return (const char *)values + field->offset;
}

double soma_field_number(const soma_field *field, const void *values, int i)
{
    const void *at = place(field, values);
    switch (field->type) {
    case SOMA_FIELD_INT:
        return (double)*(const int64_t *)at;
    case SOMA_FIELD_INTS:
        return (double)((const int64_t *)at)[i];
    case SOMA_FIELD_SIZE:
        return (double)*(const uint64_t *)at;
    case SOMA_FIELD_FLOAT:
        return *(const double *)at;
    case SOMA_FIELD_FLOATS:
        return ((const double *)at)[i];
    case SOMA_FIELD_BOOL:
        return *(const bool *)at;
    case SOMA_FIELD_ENUM:
        return *(const int *)at;
    case SOMA_FIELD_SHAPE:
        return (double)((const soma_shape *)at)->dim[i];
    case SOMA_FIELD_TEXT:
    case SOMA_FIELD_KIND:
    case SOMA_FIELD_OTHER:
        break;
    }
    return (double)NAN;
}

void soma_field_set(const soma_field *field, void *values, int i, double number)
{
    void *at = (char *)values + field->offset;
    switch (field->type) {
    case SOMA_FIELD_INT:
        *(int64_t *)at = (int64_t)number;
        break;
    case SOMA_FIELD_INTS:
        ((int64_t *)at)[i] = (int64_t)number;
        break;
    case SOMA_FIELD_SIZE:
        *(uint64_t *)at = (uint64_t)number;
        break;
    case SOMA_FIELD_FLOAT:
        *(double *)at = number;
        break;
    case SOMA_FIELD_FLOATS:
        ((double *)at)[i] = number;
        break;
    case SOMA_FIELD_BOOL:
        *(bool *)at = number != 0;
        break;
    case SOMA_FIELD_ENUM:
        *(int *)at = (int)number;
        break;
    case SOMA_FIELD_SHAPE:
        ((soma_shape *)at)->dim[i] = (int64_t)number;
        break;
    case SOMA_FIELD_TEXT:
    case SOMA_FIELD_KIND:
    case SOMA_FIELD_OTHER:
        break;
    }
}

int soma_field_count(const soma_field *field, const void *values)
{
    if (field->type == SOMA_FIELD_INTS || field->type == SOMA_FIELD_FLOATS)
        return field->count;
    return field->type == SOMA_FIELD_SHAPE ? ((const soma_shape *)place(field, values))->rank : 1;
}

static bool is_text(const soma_field *field)
{
    return field->type == SOMA_FIELD_TEXT || field->type == SOMA_FIELD_KIND;
}

static bool is_number(const soma_field *field)
{
    return field->type == SOMA_FIELD_INT || field->type == SOMA_FIELD_INTS || field->type == SOMA_FIELD_FLOAT ||
           field->type == SOMA_FIELD_FLOATS || field->type == SOMA_FIELD_SIZE;
}

void soma_fields_preset(const soma_field *fields, size_t size, void *values)
{
    memset(values, 0, size);
    for (const soma_field *field = fields; field && field->name; field++) {
        if (is_text(field))
            *(const char **)(void *)((char *)values + field->offset) = field->preset_text;
        else if (field->type != SOMA_FIELD_SHAPE && field->type != SOMA_FIELD_OTHER)
            for (int i = 0; i < soma_field_count(field, values); i++)
                soma_field_set(field, values, i, field->preset);
    }
}

/* ---- ranges ---- */

static bool any_number(const soma_field *field)
{
    return !(field->min < field->max);
}

bool soma_field_in_range(const soma_field *field, double number)
{
    if (any_number(field))
        return !isnan(number);
    bool low = field->flags & SOMA_FIELD_ABOVE_MIN ? number > field->min : number >= field->min;
    bool high = field->flags & SOMA_FIELD_BELOW_MAX ? number < field->max : number <= field->max;
    return low && high;
}

const char *soma_field_range(const soma_field *field, char text[96])
{
    char low[32], high[32];
    bool above = field->flags & SOMA_FIELD_ABOVE_MIN, below = field->flags & SOMA_FIELD_BELOW_MAX;
    text[0] = 0;
    if (!is_number(field) || any_number(field))
        return text;
    soma_format_f64(field->min, low);
    soma_format_f64(field->max, high);
    if (isinf(field->max))
        snprintf(text, 96, "%s %s", above ? "greater than" : "at least", low);
    else if (isinf(field->min))
        snprintf(text, 96, "%s %s", below ? "below" : "at most", high);
    else if (above || below)
        snprintf(text, 96, "%s %s and %s %s", above ? "greater than" : "at least", low, below ? "below" : "at most",
                 high);
    else
        snprintf(text, 96, "between %s and %s", low, high);
    return text;
}

const char *soma_field_preset(const soma_field *field, char text[96])
{
    char number[32];
    text[0] = 0;
    if (is_text(field))
        snprintf(text, 96, "%s", field->preset_text ? field->preset_text : "");
    else if (field->type == SOMA_FIELD_BOOL)
        snprintf(text, 96, "%s", field->preset != 0 ? "true" : "false");
    else if (field->type == SOMA_FIELD_ENUM)
        snprintf(text, 96, "%s", field->choices[(int)field->preset]);
    else if (is_number(field) && !(field->flags & SOMA_FIELD_REQUIRED) && soma_field_in_range(field, field->preset))
        snprintf(text, 96, "%s", soma_format_f64(field->preset, number));
    return text;
}

/* The range in a sentence that begins with "must be". */
static const char *range_or_number(const soma_field *field, char text[96])
{
    soma_field_range(field, text);
    return text[0] ? text : "a number";
}

static soma_status check_number(const soma_field *field, double number, const char *what, char *reason)
{
    char got[32], range[96];
    if (soma_field_in_range(field, number))
        return SOMA_OK;
    return soma_refuse(reason, "%s%s is %s, it must be %s", what, field->name, soma_format_f64(number, got),
                       range_or_number(field, range));
}

soma_status soma_fields_check(const soma_field *fields, const void *values, const char *what, char *reason)
{
    for (const soma_field *field = fields; field && field->name; field++) {
        if (field->type == SOMA_FIELD_SHAPE) {
            int rank = ((const soma_shape *)place(field, values))->rank;
            if (rank < 0 || rank > SOMA_MAX_RANK)
                return soma_refuse(reason, "%s%s has %d dimensions, 0 to %d are possible", what, field->name, rank,
                                   SOMA_MAX_RANK);
        }
        if (field->type == SOMA_FIELD_ENUM) {
            int choices = 0, number = (int)soma_field_number(field, values, 0);
            while (field->choices[choices])
                choices++;
            if (number < 0 || number >= choices)
                return soma_refuse(reason, "%s%s is not one of its choices", what, field->name);
        }
        for (int i = 0; is_number(field) && i < soma_field_count(field, values); i++)
            if (check_number(field, soma_field_number(field, values, i), what, reason))
                return SOMA_INVALID;
    }
    return SOMA_OK;
}

/* ---- option structs ---- */

soma_status soma_options_copy(const void *given, size_t size, void *options, char *reason)
{
    size_t known = ((const soma_options_head *)given)->struct_size;
    memset(options, 0, size);
    if (known < sizeof(soma_options_head) || known > STRUCT_MAX)
        return soma_refuse(reason,
                           "the options have a struct_size of %zu, so they were not made by the macro of soma's "
                           "headers; set .struct_size = sizeof of the struct",
                           known);
    for (size_t i = size; i < known; i++)
        if (((const unsigned char *)given)[i])
            return soma_refuse(reason,
                               "the options are %zu bytes, but this library knows %zu of them, and what is beyond was "
                               "set: the program was compiled with newer headers of soma",
                               known, size);
    memcpy(options, given, known < size ? known : size);
    ((soma_options_head *)options)->struct_size = size;
    return SOMA_OK;
}

/* "units is missing; how many outputs it has: .units = 10" */
static soma_status missing(const soma_field *field, char *reason)
{
    if (field->example)
        return soma_refuse(reason, "%s is missing; say %s, \3%s\4%s\2", field->name, field->doc, field->name,
                           field->example);
    return soma_refuse(reason, "%s is missing; say %s", field->name, field->doc);
}

static soma_status wrong_number(const soma_field *field, double number, char *reason)
{
    char got[32], range[96];
    bool zero = field->preset != 0 && soma_field_in_range(field, 0);
    return soma_refuse(reason, "%s is %s; it must be %s%s", field->name, soma_format_f64(number, got),
                       range_or_number(field, range), zero ? SOMA_IN_C(" (for zero write SOMA_ZERO)") : "");
}

/* Zero is the preset, SOMA_ZERO is zero. */
static soma_status resolve_numbers(const soma_field *field, void *options, char *reason)
{
    for (int i = 0; i < soma_field_count(field, options); i++) {
        double said = soma_field_number(field, options, i);
        if (said == 0 && field->flags & SOMA_FIELD_REQUIRED)
            return missing(field, reason);
        if (said == 0 || said == (double)SOMA_ZERO)
            soma_field_set(field, options, i, said == 0 ? field->preset : 0);
        double number = soma_field_number(field, options, i);
        if (said != 0 && !soma_field_in_range(field, number)) /* a preset may say "not said": -1 */
            return wrong_number(field, number, reason);
    }
    return SOMA_OK;
}

static soma_status resolve_text(const soma_field *field, void *options, char *reason)
{
    const char **text = (const char **)(void *)((char *)options + field->offset);
    if (!*text && field->flags & SOMA_FIELD_REQUIRED)
        return missing(field, reason);
    if (!*text)
        *text = field->preset_text;
    if (!*text || !field->choices || soma_one_of(*text, field->choices))
        return SOMA_OK;
    const char *near = soma_nearest_of(*text, field->choices);
    char known[256] = "";
    size_t used = 0;
    for (const char *const *c = field->choices; *c && used < sizeof known; c++)
        used += (size_t)snprintf(known + used, sizeof known - used, "%s%s",
                                 c == field->choices ? ""
                                 : c[1]              ? ", "
                                                     : " and ",
                                 *c);
    return soma_refuse(reason, "%s cannot be \"%.100s\"; known are %s%s%s%s", field->name, *text, known,
                       near ? "; did you mean \"" : "", near ? near : "", near ? "\"?" : "");
}

soma_status soma_fields_resolve(const soma_field *fields, size_t size, const void *given, void *options, char *reason)
{
    soma_status status = soma_options_copy(given, size, options, reason);
    for (const soma_field *field = fields; field && field->name && !status; field++)
        status = is_text(field)     ? resolve_text(field, options, reason)
                 : is_number(field) ? resolve_numbers(field, options, reason)
                                    : SOMA_OK;
    return status;
}

soma_status soma_options_take(soma *s, const char *what, const soma_field *fields, size_t size, const void *given,
                              void *options)
{
    static const soma_options_head none = {.struct_size = sizeof none};
    char reason[SOMA_REASON_MAX] = "", room[SOMA_REASON_MAX];
    const soma_options_head *head = given ? given : &none;
    if (!soma_fields_resolve(fields, size, head, options, reason))
        return SOMA_OK;
    soma_at at = soma_options_at(head);
    bool elsewhere = s->field_name || at.line < 0; /* who writes descriptions and commands calls nothing */
    bool named = !elsewhere || strncmp(what, "soma_", 5) != 0;
    return soma_fail(s, SOMA_INVALID, at, "%s%s%s", named ? what : "", named ? ": " : "",
                     soma_words(s, at, reason, room, sizeof room));
}

soma_at soma_options_at(const void *given)
{
    const soma_options_head *head = given;
    return head && head->struct_size >= sizeof *head ? head->at : soma_nowhere();
}
