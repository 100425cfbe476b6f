/* SPDX-License-Identifier: Apache-2.0
 *
 * base/fields.h: tables of fields at work: presets, ranges, text in and out; option structs of callers, also those
 * compiled with older headers. Knows no ops, no layers and no files.
 */
#ifndef SOMA_BASE_FIELDS_H
#define SOMA_BASE_FIELDS_H

#include "base/arena.h"
#include <math.h>
#include <soma/field.h>
#include <stddef.h>

/* ---- tables ---- */

/* Ranges, for the last argument of the rows below. */
#define ANY .min = 0, .max = 0
#define AT_LEAST(low) .min = (low), .max = INFINITY
#define ABOVE(low) .min = (low), .max = INFINITY, .flags = SOMA_FIELD_ABOVE_MIN
#define BETWEEN(low, high) .min = (low), .max = (high)
#define BELOW(low, high) .min = (low), .max = (high), .flags = SOMA_FIELD_BELOW_MAX /* [low, high) */
#define INSIDE(low, high)                                                                                              \
    .min = (low), .max = (high), .flags = SOMA_FIELD_ABOVE_MIN | SOMA_FIELD_BELOW_MAX /* (low, high) */
#define REQUIRED(low, high, shown) .min = (low), .max = (high), .flags = SOMA_FIELD_REQUIRED, .example = (shown)

/* Rows: T is the struct, f the field. Further members of soma_field may follow: .aliases = "eps". */
#define SOMA_ROW(T, f, kind, ...)                                                                                      \
    {                                                                                                                  \
        .name = #f, .type = SOMA_FIELD_##kind, .offset = offsetof(T, f), __VA_ARGS__                                   \
    }
#define SOMA_COUNT(T, f) ((int)(sizeof((T *)NULL)->f / sizeof((T *)NULL)->f[0]))
#define SOMA_INT(T, f, number, ...) SOMA_ROW(T, f, INT, .preset = (number), __VA_ARGS__)
#define SOMA_INTS(T, f, number, ...) SOMA_ROW(T, f, INTS, .count = SOMA_COUNT(T, f), .preset = (number), __VA_ARGS__)
#define SOMA_SIZE(T, f, number, ...) SOMA_ROW(T, f, SIZE, .preset = (number), __VA_ARGS__)
#define SOMA_FLOAT(T, f, number, ...) SOMA_ROW(T, f, FLOAT, .preset = (number), __VA_ARGS__)
#define SOMA_FLOATS(T, f, number, ...)                                                                                 \
    SOMA_ROW(T, f, FLOATS, .count = SOMA_COUNT(T, f), .preset = (number), __VA_ARGS__)
#define SOMA_BOOL(T, f, ...) SOMA_ROW(T, f, BOOL, __VA_ARGS__)
#define SOMA_TEXT(T, f, text, ...) SOMA_ROW(T, f, TEXT, .preset_text = (text), __VA_ARGS__)
#define SOMA_KIND(T, f, list, text, ...) SOMA_ROW(T, f, KIND, .kinds = (list), .preset_text = (text), __VA_ARGS__)
#define SOMA_SIZES(T, f, ...) SOMA_ROW(T, f, SHAPE, __VA_ARGS__)
#define SOMA_OTHER(T, f, ...) SOMA_ROW(T, f, OTHER, .count = (int)sizeof((T *)NULL)->f, __VA_ARGS__)
#define SOMA_FIELDS_END                                                                                                \
    {                                                                                                                  \
        .name = NULL                                                                                                   \
    }

/* The table of an option struct T, which begins as soma_options_head: SOMA_TABLE(T) = {rows, SOMA_FIELDS_END}. All of
 * T's members but the head have a row (tests/test_options.c). */
#define SOMA_TABLE(T)                                                                                                  \
    extern const soma_field T##_fields[];                                                                              \
    const soma_field T##_fields[]
/* Begins every call that takes such a struct: from here on only `options` is looked at. what: the call, "soma_fit". */
#define SOMA_TAKE(s, what, T, given, options)                                                                          \
    soma_options_take(s, what, T##_fields, sizeof(T), (1 ? (given) : (const T *)NULL), (1 ? (options) : (T *)NULL))

/* ---- values ---- */

/* Writes the presets; `size` is the struct's. */
void soma_fields_preset(const soma_field *fields, size_t size, void *values);
/* Are all values, presets written and zeros plain, in their ranges? reason: SOMA_REASON_MAX bytes. `what` is what a
 * field is called in the sentence: "attribute " or "". */
soma_status soma_fields_check(const soma_field *fields, const void *values, const char *what, char *reason);
/* One element as a number; NaN for fields that are none. */
double soma_field_number(const soma_field *field, const void *values, int i);
void soma_field_set(const soma_field *field, void *values, int i, double number);
bool soma_field_in_range(const soma_field *field, double number);
/* Elements: count, or the rank of a shape. */
int soma_field_count(const soma_field *field, const void *values);

/* ---- text ---- */

/* Reads n texts into a field: one a number, or one number for all. asked: the struct is an option struct, where a zero
 * that is said is SOMA_ZERO. arena: keeps texts; NULL: they live long enough. Ranges are checked. */
typedef struct soma_field_reader {
    bool asked;
    soma_arena *arena;
    const char *what; /* before a field's name in sentences: "attribute "; NULL: none, and the name in quotes */
    char *reason;     /* SOMA_REASON_MAX bytes */
} soma_field_reader;
soma_status soma_field_read(const soma_field_reader *r, const soma_field *field, void *values, const char *const *texts,
                            int n);
/* The same from one text, whose numbers are apart by a comma or by x: "3,3", "3x3". */
soma_status soma_field_read_text(const soma_field_reader *r, const soma_field *field, void *values, const char *text);
/* "one or 2 whole numbers": what may be given, for sentences. */
const char *soma_field_takes(const soma_field *field, char *text, size_t size);
/* Reads "units=10,activation=relu" (between: ',') or "stride=2,2 pad=1" (between: ' '). whose: for sentences about
 * names that are not there, "dense". */
soma_status soma_fields_read(const soma_field_reader *r, const soma_field *fields, void *values, const char *text,
                             char between, const char *whose);
/* The sentence about a name that no field has, with the nearest. */
soma_status soma_fields_unknown(const soma_field *fields, const char *whose, const char *name, char *reason);
/* Writes one field as text ("2,2"). */
void soma_field_text_of(const soma_field *field, const void *values, char *text, size_t capacity);

/* ---- option structs ---- */

/* What all option structs begin with. */
typedef struct soma_options_head {
    size_t struct_size;
    soma_at at;
} soma_options_head;

/* Copies the caller's struct, of which its headers may have known only a part, into `options` of `size` bytes: what the
 * caller did not know is as not said. A larger struct is taken where all that is unknown here is zero. */
soma_status soma_options_copy(const void *given, size_t size, void *options, char *reason);
/* The same, then presets for what was not said, 0 for SOMA_ZERO, required fields and ranges checked: the one place
 * where they are honoured. reason gets what is wrong, in the marks of base/words.h, without "what" in front. */
soma_status soma_fields_resolve(const soma_field *fields, size_t size, const void *given, void *options, char *reason);
/* The same with the sentence told to the context: "WHAT: units is 0; ...". given NULL: all presets. */
soma_status soma_options_take(soma *s, const char *what, const soma_field *fields, size_t size, const void *given,
                              void *options);
/* The caller's place, as far as the struct tells one. */
soma_at soma_options_at(const void *given);

/* ---- kinds ---- */

/* Reads "adam:lr=0.001,epsilon=1e-7": *kind, and its options as asked for (zeros are not said), `room` bytes of them
 * at most. */
soma_status soma_kind_read(const soma_field_reader *r, const soma_kinds *kinds, const char *text,
                           const soma_kind **kind, void *options, size_t room);
/* The sentence about a name that no kind has, with the nearest. */
soma_status soma_kind_unknown(const soma_kinds *kinds, const char *name, char *reason);

#endif
