/* SPDX-License-Identifier: Apache-2.0
 *
 * data/convert.c: bytes to numbers, with the vector instructions written out: at -O2 compilers leave this loop scalar
 * or take it apart byte by byte, and it is most of the cost of a batch of pictures. No FMA: each variant rounds alike.
 */
#include "data/convert.h"

#if defined(__SSE2__)
#include <immintrin.h>
#endif

static void convert_rest(const uint8_t *x, int64_t from, int64_t n, float a, float b, float *y)
{
    for (int64_t i = from; i < n; i++) {
        float product = (float)x[i] * a;
        y[i] = product + b;
    }
}

#if defined(__SSE2__)
static inline void store_sse2(__m128i four, __m128 a, __m128 b, float *y)
{
    _mm_storeu_ps(y, _mm_add_ps(_mm_mul_ps(_mm_cvtepi32_ps(four), a), b));
}

static int64_t convert_sse2(const uint8_t *x, int64_t n, float a, float b, float *y)
{
    const __m128i zero = _mm_setzero_si128();
    const __m128 va = _mm_set1_ps(a), vb = _mm_set1_ps(b);
    int64_t i = 0;
    for (; i + 16 <= n; i += 16) {
        __m128i v = _mm_loadu_si128((const __m128i *)(const void *)(x + i));
        __m128i low = _mm_unpacklo_epi8(v, zero), high = _mm_unpackhi_epi8(v, zero);
        store_sse2(_mm_unpacklo_epi16(low, zero), va, vb, y + i);
        store_sse2(_mm_unpackhi_epi16(low, zero), va, vb, y + i + 4);
        store_sse2(_mm_unpacklo_epi16(high, zero), va, vb, y + i + 8);
        store_sse2(_mm_unpackhi_epi16(high, zero), va, vb, y + i + 12);
    }
    return i;
}

__attribute__((target("avx2"))) static int64_t convert_avx2(const uint8_t *x, int64_t n, float a, float b, float *y)
{
    const __m256 va = _mm256_set1_ps(a), vb = _mm256_set1_ps(b);
    int64_t i = 0;
    for (; i + 8 <= n; i += 8) {
        __m256i v = _mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)(const void *)(x + i)));
        _mm256_storeu_ps(y + i, _mm256_add_ps(_mm256_mul_ps(_mm256_cvtepi32_ps(v), va), vb));
    }
    return i;
}
#endif

void soma_convert_u8(const uint8_t *x, int64_t n, float a, float b, float *y)
{
    int64_t done = 0;
#if defined(__SSE2__)
    if (n >= 8)
        done = __builtin_cpu_supports("avx2") ? convert_avx2(x, n, a, b, y) : convert_sse2(x, n, a, b, y);
#endif
    convert_rest(x, done, n, a, b, y);
}
