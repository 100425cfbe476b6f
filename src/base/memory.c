/* SPDX-License-Identifier: Apache-2.0
 *
 * base/memory.c: memory of the context. The only file of the library that talks to the system's heap.
 *
 * A block as the allocator gives it:   [slack][header: size, offset][bytes ...]
 *                                                                    ^ 64-byte aligned, what the caller gets
 * The header makes soma_release work without a size, though the allocator seam wants one.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include "base/memory.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/size.h"

#if defined(__GLIBC__) && (__GLIBC__ > 2 || __GLIBC_MINOR__ >= 33)
#define SOMA_HAVE_MALLINFO 1
#include <malloc.h>
#endif

#if defined(__linux__) || defined(__APPLE__) || defined(__FreeBSD__)
#define SOMA_HAVE_MMAP 1
#include <sys/mman.h>
#endif

#define SOMA_ALIGN 64
/* Blocks from this size on get their own mapping: given back to the system when freed, untouched pages never
 * resident. */
#define SOMA_MAP_FROM ((size_t)4 << 20)

typedef struct soma_block {
    size_t size;   /* as asked of the allocator */
    size_t offset; /* from the allocator's pointer to the caller's */
} soma_block;

/* The allocator aligns for max_align_t, so at most this much goes before the caller's bytes. */
#define SOMA_BLOCK_ROOM (sizeof(soma_block) + SOMA_ALIGN - _Alignof(max_align_t))

/* ---- the default allocator ---- */

static void *posix_new(size_t size)
{
#ifdef SOMA_HAVE_MMAP
    if (size >= SOMA_MAP_FROM) {
        void *block = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (block == MAP_FAILED)
            return NULL;
#ifdef MADV_HUGEPAGE
        /* Advice only: fewer page faults and TLB misses where the kernel has huge pages to give. */
        (void)madvise(block, size, MADV_HUGEPAGE);
#endif
        return block;
    }
#endif
    return calloc(1, size);
}

static void posix_free(void *block, size_t size)
{
#ifdef SOMA_HAVE_MMAP
    if (size >= SOMA_MAP_FROM) {
        (void)munmap(block, size);
        return;
    }
#endif
    (void)size;
    free(block);
}

static void *posix_resize(void *user, void *block, size_t old_size, size_t new_size)
{
    (void)user;
    if (!new_size) {
        if (block)
            posix_free(block, old_size);
        return NULL;
    }
    void *fresh = posix_new(new_size);
    if (fresh && block) {
        memcpy(fresh, block, old_size < new_size ? old_size : new_size);
        posix_free(block, old_size);
    }
    return fresh;
}

const soma_allocator soma_allocator_posix = {.resize = posix_resize, .user = NULL};

/* ---- memory of the context ---- */

void *soma_alloc(soma *s, size_t bytes)
{
    size_t size;
    char *base = NULL;
    if (!s)
        return NULL;
    pthread_mutex_lock(&s->lock);
    if (soma_size_add(bytes, SOMA_BLOCK_ROOM, &size) && size <= PTRDIFF_MAX)
        base = s->allocator.resize(s->allocator.user, NULL, 0, size);
    if (base) {
        s->memory.calls++;
        s->memory.now += size;
        if (s->memory.now > s->memory.peak)
            s->memory.peak = s->memory.now;
    }
    uint64_t held = s->memory.now;
    pthread_mutex_unlock(&s->lock);
    if (!base) {
        soma_fail(s, SOMA_MEMORY, soma_nowhere(),
                  "memory for %zu bytes could not be had (the context holds %" PRIu64
                  " bytes); use a smaller batch or model, or free what is not needed",
                  bytes, held);
        return NULL;
    }
    uintptr_t from = (uintptr_t)base + sizeof(soma_block);
    size_t offset = sizeof(soma_block) + (SOMA_ALIGN - from % SOMA_ALIGN) % SOMA_ALIGN;
    soma_block head = {.size = size, .offset = offset};
    memcpy(base + offset - sizeof head, &head, sizeof head);
    if (s->allocator.resize != posix_resize) /* somebody else's blocks hold anything */
        memset(base + offset, 0, bytes);
    return base + offset;
}

void *soma_alloc_array(soma *s, size_t n, size_t size)
{
    size_t bytes;
    if (!soma_size_mul(n, size, &bytes)) {
        soma_fail(s, SOMA_MEMORY, soma_nowhere(),
                  "memory for %zu elements of %zu bytes could not be had: that is more than this machine can address",
                  n, size);
        return NULL;
    }
    return soma_alloc(s, bytes);
}

void soma_release(soma *s, void *block)
{
    if (!s || !block)
        return;
    soma_block head;
    memcpy(&head, (char *)block - sizeof head, sizeof head);
    pthread_mutex_lock(&s->lock);
    s->memory.now -= head.size;
    s->allocator.resize(s->allocator.user, (char *)block - head.offset, head.size, 0);
    pthread_mutex_unlock(&s->lock);
}

soma_status soma_grow(soma *s, void *items, int *capacity, int need, size_t size)
{
    if (need <= *capacity)
        return SOMA_OK;
    int wish = *capacity > INT32_MAX / 2 ? INT32_MAX : *capacity * 2;
    wish = wish < 8 ? 8 : wish;
    wish = wish < need ? need : wish;
    void *old, *fresh = soma_alloc_array(s, (size_t)wish, size);
    if (!fresh)
        return SOMA_MEMORY;
    memcpy(&old, items,
           sizeof old); /* *items may have any object pointer type: its bytes are copied, it is not aliased */
    if (old)
        memcpy(fresh, old, (size_t)*capacity * size);
    memcpy(items, &fresh, sizeof fresh);
    *capacity = wish;
    soma_release(s, old);
    return SOMA_OK;
}

char *soma_copy_text(soma *s, const char *text)
{
    if (!text)
        return NULL;
    size_t size = strlen(text) + 1;
    char *copy = soma_alloc(s, size);
    if (copy)
        memcpy(copy, text, size);
    return copy;
}

/* ---- children ---- */

/* A child's allocator: the parent's, counted as the parent's. */
static void *parent_resize(void *user, void *block, size_t old_size, size_t new_size)
{
    soma *s = user;
    pthread_mutex_lock(&s->lock);
    void *fresh = s->allocator.resize(s->allocator.user, block, old_size, new_size);
    if (fresh || !new_size) {
        s->memory.calls += new_size > 0;
        s->memory.now += new_size - old_size;
        if (s->memory.now > s->memory.peak)
            s->memory.peak = s->memory.now;
    }
    pthread_mutex_unlock(&s->lock);
    return fresh;
}

void soma_child_open(soma *child, soma *parent)
{
    memset(child, 0, sizeof *child);
    child->allocator = (soma_allocator){.resize = parent_resize, .user = parent};
    child->files = parent->files;
    child->random = parent->random;
    child->clock = parent->clock;
    child->field_name = parent->field_name;
    child->field_user = parent->field_user;
    child->seed = parent->seed;
    child->threads = 1;
    child->exact = parent->exact;
    pthread_mutex_init(&child->lock, NULL); /* with default attributes this only sets fields */
}

void soma_child_close(soma *child)
{
    pthread_mutex_destroy(&child->lock);
}

uint64_t soma_heap_bytes(void)
{
#ifdef SOMA_HAVE_MALLINFO
    struct mallinfo2 info = mallinfo2();
    return (uint64_t)info.uordblks + (uint64_t)info.hblkhd;
#else
    return 0;
#endif
}

soma_memory soma_memory_use(const soma *s)
{
    soma_memory use = {0, 0, 0};
    if (s) {
        pthread_mutex_t *lock = (pthread_mutex_t *)&s->lock; /* the context was not made const */
        pthread_mutex_lock(lock);
        use = s->memory;
        pthread_mutex_unlock(lock);
    }
    return use;
}
