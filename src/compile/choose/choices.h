/* SPDX-License-Identifier: Apache-2.0
 *
 * compile/choose/choices.h: which kernel was chosen for what, on which machine: a table with a text form, for the cache
 * file of timed choices and for the record in a model file. Knows no kernel: everything is text.
 */
#ifndef SOMA_COMPILE_CHOOSE_CHOICES_H
#define SOMA_COMPILE_CHOOSE_CHOICES_H

#include "base/arena.h"
#include "base/text.h"

typedef struct soma_choice {
    const char *machine; /* CPU, instruction set, threads, libraries: soma_machine_text */
    const char *key;     /* op, attributes, types and layouts of all arguments */
    const char *kernel;  /* "onednn", "cpu AVX-512" */
    const char *detail;  /* for people: "onednn 1.234 ms, winograd 0.987 ms" */
    uint64_t hash;       /* of machine and key */
} soma_choice;

typedef struct soma_choices {
    soma *s;
    soma_arena arena;
    soma_choice *items;
    int n, capacity;
} soma_choices;

void soma_choices_init(soma_choices *c, soma *s);
void soma_choices_free(soma_choices *c);
const soma_choice *soma_choices_find(const soma_choices *c, const char *machine, const char *key);
/* Adds or replaces; the texts are copied. A text that cannot stand in the text form is not added, without an error. */
soma_status soma_choices_put(soma_choices *c, const soma_choice *choice);
/* The text form: a line with a hash of all that follows, then a line for each choice. */
void soma_choices_write(const soma_choices *c, soma_text *text);
/* Adds what a text holds and the table does not; *why says what is wrong with a text that is not believed (then nothing
 * was added), else NULL. */
soma_status soma_choices_read(soma_choices *c, const char *text, size_t size, const char **why);

/* The library that runs and the instruction set it uses: "oneDNN 2.6.3 isa e7", or "no library". Defined by the backend
 * (library/onednn/version_onednn.c), which stands above, and in choices.c where there is none. */
#define SOMA_LIBRARY_TEXT 64
void soma_library_text(char text[SOMA_LIBRARY_TEXT]);
/* This machine, as far as the choice of kernels goes. */
#define SOMA_MACHINE_TEXT 256
void soma_machine_text(const soma *s, char text[SOMA_MACHINE_TEXT]);

#endif
