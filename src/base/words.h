/* SPDX-License-Identifier: Apache-2.0
 *
 * base/words.h: sentences in the words of whoever made the mistake. A field is called `.units` by a C program, "units"
 * by who wrote a description, and --units by who typed a command; the formats of soma_fail and soma_say mark what
 * differs.
 */
#ifndef SOMA_BASE_WORDS_H
#define SOMA_BASE_WORDS_H

#include "base/context.h"

/* Parts of a format, joined with the rest of the literal:
 *
 *     SOMA_IN_C("soma_fit: ") "the batch is larger than the data; set " SOMA_FIELD("batch_size")
 *     SOMA_FIELD_IS("size", "{2, 2}")      C: .size = {2, 2}    description: size: [2, 2]    command: --size 2x2
 *     SOMA_FIELD_IS("partial", "true")     C: .partial = true   description: partial: true   command: --partial
 *
 * What stands in SOMA_IN_C is only for C, what stands in SOMA_ELSEWHERE for the others; neither may hold a directive
 * (%), for the arguments stay the same. */
#define SOMA_IN_C(text) "\1" text "\2"
#define SOMA_ELSEWHERE(text) "\5" text "\2"
#define SOMA_FIELD(name) "\3" name "\2"
#define SOMA_FIELD_IS(name, value) "\3" name "\4" value "\2"

/* A place in a file that somebody wrote (a description): `line` counts from 1. Its mistakes are told in the file's
 * words. */
static inline soma_at soma_line_of(const char *file, int line)
{
    return (soma_at){file, -line};
}

/* Sentences begin with the call's name for C only: soma_caller(s, "fit: "). */
static inline const char *soma_caller(const soma *s, const char *name)
{
    return s && s->field_name ? "" : name;
}

/* For a %s: .split, --split, or "split" where a command has no such option. */
const char *soma_field_text(const soma *s, const char *field, char room[64]);

/* The format in one of the three ways of speaking; `format` itself where it would not fit (no format is that long). */
const char *soma_words(const soma *s, soma_at at, const char *format, char *room, size_t size);

#endif
