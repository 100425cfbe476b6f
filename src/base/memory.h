/* SPDX-License-Identifier: Apache-2.0
 *
 * base/memory.h: what the context needs of the memory floor: the default allocator.
 */
#ifndef SOMA_BASE_MEMORY_H
#define SOMA_BASE_MEMORY_H

#include "base/context.h"

/* The default of the allocator seam. Fresh blocks are zero; large ones are mapped, so pages cost nothing until touched. */
extern const soma_allocator soma_allocator_posix;

#endif
