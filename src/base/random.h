/* SPDX-License-Identifier: Apache-2.0
 *
 * base/random.h: Philox 4x32-10 (Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3").
 * Counter-based: key = seed; counter = (stream and site, step, index): never threads, layout, piece or call order.
 */
#ifndef SOMA_BASE_RANDOM_H
#define SOMA_BASE_RANDOM_H

#include <soma/base.h>

typedef enum soma_stream {
    SOMA_STREAM_INIT = 1,
    SOMA_STREAM_SHUFFLE,
    SOMA_STREAM_DROPOUT,
    SOMA_STREAM_AUGMENT
} soma_stream;

/* The raw function, the default of the random seam. */
void soma_philox(void *user, const uint32_t counter[4], const uint32_t key[2], uint32_t out[4]);

/* Inline form for vector loops: ten rounds in place on counter c with key k. */
static inline void soma_philox_rounds(uint32_t c[4], uint32_t k0, uint32_t k1)
{
    for (int round = 0; round < 10; round++) {
        uint64_t p0 = (uint64_t)0xD2511F53u * c[0], p1 = (uint64_t)0xCD9E8D57u * c[2];
        uint32_t c0 = (uint32_t)(p1 >> 32) ^ c[1] ^ k0, c2 = (uint32_t)(p0 >> 32) ^ c[3] ^ k1;
        c[1] = (uint32_t)p1;
        c[3] = (uint32_t)p0;
        c[0] = c0;
        c[2] = c2;
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
}

/* The counter of draw block `index` (four 32-bit numbers each): {index low, index high ^ step high bits, step, mix of
 * stream and site}. Defined here once, used by every kernel that draws. */
static inline void soma_counter(uint32_t c[4], soma_stream stream, uint64_t site, uint64_t step, uint64_t index)
{
    c[0] = (uint32_t)index;
    c[1] = (uint32_t)(index >> 32) ^ ((uint32_t)(step >> 32) << 16);
    c[2] = (uint32_t)step;
    c[3] = (uint32_t)site ^ (uint32_t)(site >> 32) ^ ((uint32_t)stream << 28);
}

/* Four numbers of block `index`. */
void soma_draw(const soma_random *random, uint64_t seed, soma_stream stream, uint64_t site, uint64_t step,
               uint64_t index, uint32_t out[4]);
/* In [0, 1) with 24 / 53 bits. */
static inline float soma_unit_f32(uint32_t bits)
{
    return (float)(bits >> 8) * 0x1p-24f;
}
static inline double soma_unit_f64(uint32_t high, uint32_t low)
{
    return (double)(((uint64_t)high << 32 | low) >> 11) * 0x1p-53;
}
/* FNV-1a with a finishing mix: the site of a name. */
uint64_t soma_hash_text(const char *text);
uint64_t soma_hash_bytes(uint64_t hash, const void *bytes, size_t size);
/* A permutation of 0 .. n-1 that depends on (seed, epoch) only. Fisher-Yates with unbiased draws. */
void soma_shuffle(const soma_random *random, uint64_t seed, uint64_t epoch, int64_t *order, int64_t n);

#endif
