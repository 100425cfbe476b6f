/* SPDX-License-Identifier: Apache-2.0
 *
 * io/hash.c: xxhash, compiled in whole from its header so that nothing is linked at run time; or its absence.
 */
#include "io/hash.h"

#ifdef SOMA_HAVE_XXHASH

#define XXH_INLINE_ALL
#define XXH_NO_STDLIB
#include <xxhash.h>

struct soma_hash_state {
    XXH3_state_t xxh;
};

bool soma_hash_available(void)
{
    return true;
}

uint64_t soma_hash_once(const void *bytes, size_t size)
{
    return XXH3_64bits(bytes, size);
}

soma_hash_state *soma_hash_begin(soma *s)
{
    soma_hash_state *h = soma_alloc(s, sizeof *h); /* 64-byte aligned, as XXH3 wants it */
    if (h)
        XXH3_64bits_reset(&h->xxh);
    return h;
}

void soma_hash_add(soma_hash_state *h, const void *bytes, size_t size)
{
    XXH3_64bits_update(&h->xxh, bytes, size);
}

uint64_t soma_hash_end(soma *s, soma_hash_state *h)
{
    uint64_t hash = XXH3_64bits_digest(&h->xxh);
    soma_release(s, h);
    return hash;
}

#else

bool soma_hash_available(void)
{
    return false;
}

uint64_t soma_hash_once(const void *bytes, size_t size)
{
    (void)bytes;
    (void)size;
    return 0;
}

soma_hash_state *soma_hash_begin(soma *s)
{
    (void)s;
    return NULL;
}

void soma_hash_add(soma_hash_state *h, const void *bytes, size_t size)
{
    (void)h;
    (void)bytes;
    (void)size;
}

uint64_t soma_hash_end(soma *s, soma_hash_state *h)
{
    (void)s;
    (void)h;
    return 0;
}

#endif
