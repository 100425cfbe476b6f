/* SPDX-License-Identifier: Apache-2.0
 *
 * base/arena.c: chunks of memory from the context, handed out from the front and freed all at once.
 */
#include "base/arena.h"

#include <stdio.h>
#include <string.h>

#include "base/size.h"

#define SOMA_ARENA_ALIGN 16
#define SOMA_ARENA_FIRST 1024
#define SOMA_ARENA_LARGEST 65536

/* Stands at the start of its block; the bytes handed out follow it. */
typedef struct soma_arena_chunk {
    struct soma_arena_chunk *next; /* older */
    size_t used, size;             /* of the whole block, this head included */
} soma_arena_chunk;

#define SOMA_ARENA_HEAD ((sizeof(soma_arena_chunk) + SOMA_ARENA_ALIGN - 1) / SOMA_ARENA_ALIGN * SOMA_ARENA_ALIGN)

void soma_arena_init(soma_arena *arena, soma *s)
{
    *arena = (soma_arena){.s = s, .chunk = NULL, .bytes = 0};
}

void soma_arena_free(soma_arena *arena)
{
    soma_arena_chunk *chunk = arena->chunk;
    while (chunk) {
        soma_arena_chunk *next = chunk->next;
        soma_release(arena->s, chunk);
        chunk = next;
    }
    arena->chunk = NULL;
    arena->bytes = 0;
}

/* A chunk with room for `size` bytes. Chunks grow with the arena, so small arenas stay small. */
static soma_arena_chunk *new_chunk(soma_arena *arena, size_t size)
{
    size_t wish = arena->bytes < SOMA_ARENA_FIRST ? SOMA_ARENA_FIRST : (size_t)arena->bytes;
    wish = wish > SOMA_ARENA_LARGEST ? SOMA_ARENA_LARGEST : wish;
    bool own = size > wish - SOMA_ARENA_HEAD;
    if (own && !soma_size_add(size, SOMA_ARENA_HEAD, &wish))
        wish = SIZE_MAX; /* soma_alloc refuses it with a sentence */
    soma_arena_chunk *chunk = soma_alloc(arena->s, wish);
    if (!chunk)
        return NULL;
    chunk->used = SOMA_ARENA_HEAD;
    chunk->size = wish;
    arena->bytes += wish;
    if (own && arena->chunk) {
        /* A block that fills its own chunk goes behind: the rest of the current one is still good. */
        chunk->next = arena->chunk->next;
        arena->chunk->next = chunk;
    } else {
        chunk->next = arena->chunk;
        arena->chunk = chunk;
    }
    return chunk;
}

void *soma_arena_alloc(soma_arena *arena, size_t size)
{
    size_t rounded = SIZE_MAX;
    if (soma_size_add(size, SOMA_ARENA_ALIGN - 1, &rounded))
        rounded = rounded / SOMA_ARENA_ALIGN * SOMA_ARENA_ALIGN;
    soma_arena_chunk *chunk = arena->chunk;
    if (!chunk || rounded > chunk->size - chunk->used)
        chunk = new_chunk(arena, rounded);
    if (!chunk)
        return NULL;
    void *bytes = (char *)chunk + chunk->used;
    chunk->used += rounded;
    return bytes;
}

void *soma_arena_array(soma_arena *arena, size_t n, size_t size)
{
    size_t bytes;
    if (!soma_size_mul(n, size, &bytes)) {
        soma_fail(arena->s, SOMA_MEMORY, soma_nowhere(),
                  "memory for %zu elements of %zu bytes could not be had: that is more than this machine can address",
                  n, size);
        return NULL;
    }
    return soma_arena_alloc(arena, bytes);
}

char *soma_arena_text(soma_arena *arena, const char *text)
{
    if (!text)
        return NULL;
    size_t size = strlen(text) + 1;
    char *copy = soma_arena_alloc(arena, size);
    if (copy)
        memcpy(copy, text, size);
    return copy;
}

char *soma_arena_format(soma_arena *arena, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    int n = vsnprintf(NULL, 0, format, args);
    va_end(args);
    if (n < 0) {
        soma_fail(arena->s, SOMA_INVALID, soma_nowhere(), "the text \"%s\" could not be formatted", format);
        return NULL;
    }
    char *text = soma_arena_alloc(arena, (size_t)n + 1);
    if (!text)
        return NULL;
    va_start(args, format);
    vsnprintf(text, (size_t)n + 1, format, args);
    va_end(args);
    return text;
}
