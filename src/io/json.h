/* SPDX-License-Identifier: Apache-2.0
 *
 * io/json.h: JSON (RFC 8259) as strict as files need it: every mistake has a place, memory comes from the context, its
 * want is an error like others. Knows no models.
 */
#ifndef SOMA_IO_JSON_H
#define SOMA_IO_JSON_H

#include "base/arena.h"
#include "base/text.h"

/* Adds `text` in quotes, escaped. False where it is not UTF-8: nothing is added then. */
bool soma_json_text(soma_text *t, const char *text);

/* ---- reading piece by piece ---- */

typedef struct soma_cursor {
    soma_arena *arena; /* where texts go */
    const unsigned char *begin, *at, *end;
    const char *why; /* of the first mistake; NULL: none, or no memory */
    size_t where;    /* its distance from `begin` */
} soma_cursor;

/* Remembers a mistake; returns SOMA_FORMAT. */
soma_status soma_cursor_wrong(soma_cursor *c, size_t where, const char *why);
/* The place of the next thing that is not space. */
size_t soma_cursor_next(soma_cursor *c);
/* Moves past `wanted` where it stands next. */
bool soma_cursor_take(soma_cursor *c, char wanted);
soma_status soma_cursor_expect(soma_cursor *c, char wanted);
/* A string, unescaped. Characters of code 0 are refused. */
soma_status soma_cursor_text(soma_cursor *c, const char **text);
/* A whole number that is not negative. */
soma_status soma_cursor_count(soma_cursor *c, uint64_t *number);

/* ---- reading all ---- */

typedef enum soma_json_type {
    SOMA_JSON_NULL,
    SOMA_JSON_BOOL,
    SOMA_JSON_NUMBER,
    SOMA_JSON_TEXT,
    SOMA_JSON_LIST,
    SOMA_JSON_OBJECT
} soma_json_type;

typedef struct soma_json {
    const struct soma_json *next; /* in the list or object that holds it */
    const char *key;              /* in an object */
    union {
        const char *text;
        const struct soma_json *first;
        double number;
        bool yes;
    };
    soma_json_type type;
} soma_json;

/* Reads the one value that the text is. NULL: c->why tells, or memory was wanting. Objects with more than
 * SOMA_LIMIT_KEYS keys, keys that stand there twice, and nesting beyond SOMA_LIMIT_DEPTH are refused. */
const soma_json *soma_json_parse(soma_cursor *c);
/* All take NULL and values of other types: then there is nothing. */
const soma_json *soma_json_get(const soma_json *object, const char *key);
const soma_json *soma_json_first(const soma_json *list);
int64_t soma_json_count(const soma_json *list); /* -1: not a list */
const char *soma_json_string(const soma_json *json);
bool soma_json_is_true(const soma_json *json);
bool soma_json_number(const soma_json *json, double *number);
/* A number without a fraction, within +-2^53. */
bool soma_json_integer(const soma_json *json, int64_t *number);

#endif
