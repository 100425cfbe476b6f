/* SPDX-License-Identifier: Apache-2.0
 *
 * base/arena.h: memory that is freed all at once. Blocks are zeroed and 16-byte aligned.
 */
#ifndef SOMA_BASE_ARENA_H
#define SOMA_BASE_ARENA_H

#include "base/context.h"

typedef struct soma_arena {
    soma *s;
    struct soma_arena_chunk *chunk;
    uint64_t bytes; /* taken from the context */
} soma_arena;

void soma_arena_init(soma_arena *arena, soma *s);
void soma_arena_free(soma_arena *arena);
/* NULL: no memory, the context's error is set. size 0 gives a valid pointer. */
void *soma_arena_alloc(soma_arena *arena, size_t size);
void *soma_arena_array(soma_arena *arena, size_t n, size_t size);
char *soma_arena_text(soma_arena *arena, const char *text);
char *soma_arena_format(soma_arena *arena, const char *format, ...) SOMA_PRINTF(2, 3);

#endif
