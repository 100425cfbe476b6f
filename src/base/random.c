/* SPDX-License-Identifier: Apache-2.0
 *
 * base/random.c: Philox 4x32-10 behind the random seam, hashes of names, shuffling.
 */
#include "base/random.h"

#include <string.h>

void soma_philox(void *user, const uint32_t counter[4], const uint32_t key[2], uint32_t out[4])
{
    (void)user;
    memcpy(out, counter, 4 * sizeof out[0]);
    soma_philox_rounds(out, key[0], key[1]);
}

void soma_draw(const soma_random *random, uint64_t seed, soma_stream stream, uint64_t site, uint64_t step,
               uint64_t index, uint32_t out[4])
{
    uint32_t counter[4], key[2] = {(uint32_t)seed, (uint32_t)(seed >> 32)};
    soma_counter(counter, stream, site, step, index);
    if (random && random->draw && random->draw != soma_philox) {
        random->draw(random->user, counter, key, out);
        return;
    }
    soma_philox_rounds(counter, key[0], key[1]); /* without the call through the pointer: most draws come this way */
    for (int i = 0; i < 4; i++)
        out[i] = counter[i];
}

/* FNV-1a, 64 bits (Fowler, Noll, Vo), then a finishing mix (xor-shift and multiply, as in MurmurHash3), because
 * FNV's last bytes hardly reach the high bits. hash: 0, or the result for the bytes before these. */
uint64_t soma_hash_bytes(uint64_t hash, const void *bytes, size_t size)
{
    const unsigned char *b = bytes;
    uint64_t h = hash ^ UINT64_C(0xcbf29ce484222325);
    for (size_t i = 0; i < size; i++)
        h = (h ^ b[i]) * UINT64_C(0x100000001b3);
    h = (h ^ (h >> 33)) * UINT64_C(0xff51afd7ed558ccd);
    h = (h ^ (h >> 33)) * UINT64_C(0xc4ceb9fe1a85ec53);
    return h ^ (h >> 33);
}

uint64_t soma_hash_text(const char *text)
{
    return soma_hash_bytes(0, text, strlen(text));
}

/* ---- shuffling ---- */

/* The numbers of one epoch's shuffle in order: blocks 0, 1, ... of four. */
typedef struct numbers {
    const soma_random *random;
    uint64_t seed, epoch, block;
    uint32_t four[4];
    int left;
} numbers;

static inline uint32_t next_number(numbers *f)
{
    if (!f->left) {
        soma_draw(f->random, f->seed, SOMA_STREAM_SHUFFLE, 0, f->epoch, f->block++, f->four);
        f->left = 4;
    }
    return f->four[4 - f->left--];
}

/* Uniform in 0 .. range-1 without bias: the high half of number * range, where the few low halves that would favour
 * some results are drawn again (Lemire 2019, "Fast random integer generation in an interval"). */
static inline uint32_t below_32(numbers *f, uint32_t range)
{
    uint64_t product = (uint64_t)next_number(f) * range;
    if ((uint32_t)product < range) {
        uint32_t least = -range % range; /* 2^32 mod range */
        while ((uint32_t)product < least)
            product = (uint64_t)next_number(f) * range;
    }
    return (uint32_t)(product >> 32);
}

/* Ranges beyond 32 bits are rare: reject what lies above the last whole multiple of range. */
static uint64_t below_64(numbers *f, uint64_t range)
{
    uint64_t least = -range % range, number; /* 2^64 mod range */
    do {
        number = (uint64_t)next_number(f) << 32;
        number |= next_number(f);
    } while (number < least);
    return number % range;
}

void soma_shuffle(const soma_random *random, uint64_t seed, uint64_t epoch, int64_t *order, int64_t n)
{
    numbers f = {.random = random, .seed = seed, .epoch = epoch};
    for (int64_t i = 0; i < n; i++)
        order[i] = i;
    for (int64_t i = n - 1; i > 0; i--) {
        uint64_t range = (uint64_t)i + 1;
        int64_t j = range <= UINT32_MAX ? (int64_t)below_32(&f, (uint32_t)range) : (int64_t)below_64(&f, range);
        int64_t other = order[j];
        order[j] = order[i];
        order[i] = other;
    }
}
