/* SPDX-License-Identifier: Apache-2.0
 *
 * house_mallocs.c: counts the process's allocations: the executable's malloc comes before the C library's, for every
 * library in the process. glibc only, and not under sanitizers, which bring their own.
 */
#include "house.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>

#if defined(__GLIBC__) && !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)

/* glibc's own names for the functions replaced here */
void *__libc_malloc(size_t size);
void *__libc_calloc(size_t n, size_t size);
void *__libc_realloc(void *block, size_t size);
void *__libc_memalign(size_t alignment, size_t size);

static _Atomic uint64_t calls;

static void count(void)
{
    atomic_fetch_add_explicit(&calls, 1, memory_order_relaxed);
}

void *malloc(size_t size)
{
    count();
    return __libc_malloc(size);
}

void *calloc(size_t n, size_t size)
{
    count();
    return __libc_calloc(n, size);
}

void *realloc(void *block, size_t size)
{
    count();
    return __libc_realloc(block, size);
}

void *aligned_alloc(size_t alignment, size_t size)
{
    count();
    return __libc_memalign(alignment, size);
}

int posix_memalign(void **out, size_t alignment, size_t size)
{
    if (alignment < sizeof(void *) || alignment & (alignment - 1))
        return EINVAL;
    count();
    void *block = __libc_memalign(alignment, size);
    if (!block)
        return ENOMEM;
    *out = block;
    return 0;
}

bool house_counts_mallocs(void)
{
    return true;
}

uint64_t house_mallocs(void)
{
    return atomic_load_explicit(&calls, memory_order_relaxed);
}

#else

bool house_counts_mallocs(void)
{
    return false;
}

uint64_t house_mallocs(void)
{
    return 0;
}

#endif
