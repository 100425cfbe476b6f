/* SPDX-License-Identifier: Apache-2.0
 *
 * compile/choose/choices.c: the table of chosen kernels and its text form. A text is believed whole or not at all: its
 * first line holds a hash of the rest.
 *
 *     soma kernels 1 0123456789abcdef
 *     machine <tab> key <tab> kernel <tab> detail
 */
#include "compile/choose/choices.h"
#include "cpu/isa.h"
#include "cpu/parallel.h"
#include "base/limits.h"
#include "base/random.h"

#include <stdio.h>
#include <string.h>

/* Raise it when a kernel of soma's own changes its name, its speed or its bits: earlier choices are then made anew. */
#define SOMA_KERNEL_SET 10

#define FIRST "soma kernels 1 "
#define FIRST_SIZE (sizeof FIRST - 1 + 16 + 1) /* with the hash and the end of the line */
#define COLUMNS 4

#ifndef SOMA_HAVE_ONEDNN
void soma_library_text(char text[SOMA_LIBRARY_TEXT])
{
    snprintf(text, SOMA_LIBRARY_TEXT, "no library");
}
#endif

void soma_machine_text(const soma *s, char text[SOMA_MACHINE_TEXT])
{
    char cpu[SOMA_CPU_NAME], library[SOMA_LIBRARY_TEXT];
    soma_cpu_name(cpu);
    soma_library_text(library);
    snprintf(text, SOMA_MACHINE_TEXT, "%s; %s; %d threads; soma " SOMA_VERSION " kernels %d; %s", cpu,
             soma_isa_name(soma_cpu_isa()), s->threads, SOMA_KERNEL_SET, library);
}

void soma_choices_init(soma_choices *c, soma *s)
{
    *c = (soma_choices){.s = s};
    soma_arena_init(&c->arena, s);
}

void soma_choices_free(soma_choices *c)
{
    soma_release(c->s, c->items);
    soma_arena_free(&c->arena);
}

static uint64_t hash_of(const char *machine, const char *key)
{
    return soma_hash_bytes(soma_hash_text(machine), key, strlen(key));
}

static soma_choice *find(const soma_choices *c, uint64_t hash, const char *machine, const char *key)
{
    for (int i = 0; i < c->n; i++)
        if (c->items[i].hash == hash && !strcmp(c->items[i].machine, machine) && !strcmp(c->items[i].key, key))
            return &c->items[i];
    return NULL;
}

const soma_choice *soma_choices_find(const soma_choices *c, const char *machine, const char *key)
{
    return find(c, hash_of(machine, key), machine, key);
}

static bool can_be_written(const char *text)
{
    for (const unsigned char *t = (const unsigned char *)text; *t; t++)
        if (*t < 32 || *t == 127)
            return false;
    return true;
}

soma_status soma_choices_put(soma_choices *c, const soma_choice *choice)
{
    const char *from[COLUMNS] = {choice->machine, choice->key, choice->kernel, choice->detail}, *to[COLUMNS];
    for (int i = 0; i < COLUMNS; i++)
        if (!can_be_written(from[i]))
            return SOMA_OK;
    uint64_t hash = hash_of(choice->machine, choice->key);
    soma_choice *known = find(c, hash, choice->machine, choice->key);
    if (known && !strcmp(known->kernel, choice->kernel) && !strcmp(known->detail, choice->detail))
        return SOMA_OK;
    for (int i = 0; i < COLUMNS; i++) {
        to[i] = soma_arena_text(&c->arena, from[i]);
        if (!to[i])
            return SOMA_MEMORY;
    }
    if (!known) {
        soma_status status = soma_grow(c->s, &c->items, &c->capacity, c->n + 1, sizeof *c->items);
        if (status != SOMA_OK)
            return status;
        known = &c->items[c->n++];
    }
    *known = (soma_choice){to[0], to[1], to[2], to[3], hash};
    return SOMA_OK;
}

void soma_choices_write(const soma_choices *c, soma_text *text)
{
    size_t begin = text->size;
    soma_text_add(text, FIRST "0123456789abcdef\n");
    for (int i = 0; i < c->n; i++) {
        const soma_choice *it = &c->items[i];
        soma_text_addf(text, "%s\t%s\t%s\t%s\n", it->machine, it->key, it->kernel, it->detail);
    }
    if (text->failed)
        return;
    char *first = text->bytes + begin, digits[17];
    uint64_t hash = soma_hash_bytes(0, first + FIRST_SIZE, text->size - begin - FIRST_SIZE);
    snprintf(digits, sizeof digits, "%016llx", (unsigned long long)hash);
    memcpy(first + FIRST_SIZE - 17, digits, 16);
}

/* The columns of a line, ended by zeros in place; false: not four of them. */
static bool split(char *line, const char *column[COLUMNS])
{
    for (int i = 0; i < COLUMNS; i++) {
        column[i] = line;
        char *tab = strchr(line, '\t');
        if (!tab != (i == COLUMNS - 1))
            return false;
        if (tab) {
            *tab = 0;
            line = tab + 1;
        }
    }
    return true;
}

static const char *doubt(const char *text, size_t size)
{
    char digits[17];
    if (size < FIRST_SIZE || memcmp(text, FIRST, sizeof FIRST - 1) != 0)
        return "it does not begin as soma writes it";
    if (size > SOMA_LIMIT_CHOICES)
        return "it is too large";
    uint64_t hash = soma_hash_bytes(0, text + FIRST_SIZE, size - FIRST_SIZE);
    snprintf(digits, sizeof digits, "%016llx", (unsigned long long)hash);
    if (memcmp(text + FIRST_SIZE - 17, digits, 16) != 0 || text[FIRST_SIZE - 1] != '\n' || text[size - 1] != '\n' ||
        memchr(text, 0, size))
        return "its hash does not fit";
    int lines = 0;
    for (size_t i = FIRST_SIZE; i < size; i++)
        lines += text[i] == '\n';
    return lines > SOMA_LIMIT_CHOICE_LINES ? "it has too many lines" : NULL;
}

soma_status soma_choices_read(soma_choices *c, const char *text, size_t size, const char **why)
{
    *why = doubt(text, size);
    char *copy = *why ? NULL : soma_alloc(c->s, size + 1);
    if (!copy)
        return *why ? SOMA_OK : SOMA_MEMORY;
    memcpy(copy, text, size);
    soma_status status = SOMA_OK;
    for (char *line = copy + FIRST_SIZE, *end; *line && status == SOMA_OK; line = end + 1) {
        const char *column[COLUMNS];
        end = strchr(line, '\n');
        *end = 0;
        soma_choice it = {0};
        if (!split(line, column)) /* the hash fits, so whoever wrote it wrote it so */
            continue;
        it = (soma_choice){.machine = column[0], .key = column[1], .kernel = column[2], .detail = column[3]};
        if (!soma_choices_find(c, it.machine, it.key))
            status = soma_choices_put(c, &it);
    }
    soma_release(c->s, copy);
    return status;
}
