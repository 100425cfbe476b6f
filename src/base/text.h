/* SPDX-License-Identifier: Apache-2.0
 *
 * base/text.h: numbers to and from text without the locale, nearest names, growing text.
 */
#ifndef SOMA_BASE_TEXT_H
#define SOMA_BASE_TEXT_H

#include "base/context.h"

/* Whole text must be a number; returns false otherwise. */
bool soma_parse_i64(const char *text, int64_t *out);
bool soma_parse_f64(const char *text, double *out);
/* Shortest text that reads back to the same f64; needs 32 bytes. Integers come without a point. */
const char *soma_format_f64(double number, char text[32]);

/* The candidate nearest to `name` (Damerau-Levenshtein) when it is near enough to be meant, else NULL. */
typedef const char *(*soma_name_fn)(const void *list, int index); /* NULL past the end */
const char *soma_nearest(const char *name, soma_name_fn names, const void *list);
bool soma_one_of(const char *name, const char *const *names);            /* NULL-terminated */
const char *soma_nearest_of(const char *name, const char *const *names); /* NULL-terminated */

/* Bytes of the UTF-8 character that begins at `bytes`, of which there are n; 0 where there is none (RFC 3629). */
size_t soma_utf8_length(const unsigned char *bytes, size_t n);
/* Is the whole text UTF-8? */
bool soma_is_utf8(const char *text);

/* Does the pattern match the whole text? "*" is any letters (dots too), "?" is one. */
bool soma_glob(const char *pattern, const char *text);

/* Growing text; on lack of memory `failed` is set and later calls do nothing. */
typedef struct soma_text {
    soma *s;
    char *bytes; /* always terminated once something was added */
    size_t size, capacity;
    bool failed;
} soma_text;
void soma_text_add(soma_text *t, const char *text);
void soma_text_addf(soma_text *t, const char *format, ...) SOMA_PRINTF(2, 3);
void soma_text_free(soma_text *t);

#endif
