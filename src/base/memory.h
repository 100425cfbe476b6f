/* SPDX-License-Identifier: Apache-2.0
 *
 * base/memory.h: what the context needs of the memory floor: the default allocator.
 */
#ifndef SOMA_BASE_MEMORY_H
#define SOMA_BASE_MEMORY_H

#include "base/context.h"

/* The default of the allocator seam. Fresh blocks are zero; large ones are mapped, so pages cost nothing until
 * touched. */
extern const soma_allocator soma_allocator_posix;

/* Bytes in use on the C library's heap, whoever took them; 0 where it does not tell. What a library takes for itself
 * shows as growth beyond the context's own. */
uint64_t soma_heap_bytes(void);

#endif
