/* SPDX-License-Identifier: Apache-2.0
 *
 * tests/emulated/avx512.h: the AVX-512 intrinsics that src uses, by AVX2 and loops over lanes, so that kernels of
 * levels 3 and 4 run on CPUs without AVX-512 (preset avx512: included before every source of these levels). Each gives
 * what the instruction gives, element by element; bits differ from those of a CPU with AVX-512 only where the compiler
 * makes vectors of a plain loop, which it does eight elements wide here. For tests: slow, and nothing else uses it.
 *
 * An intrinsic that is missing here fails to compile ("target specific option mismatch"): add it, and its name below.
 */
#ifndef EMULATED_AVX512_H
#define EMULATED_AVX512_H

#if !defined(__AVX2__) || !defined(__FMA__) || defined(__AVX512F__)
#error "tests/emulated/avx512.h stands for AVX-512 where a build has AVX2 and FMA alone"
#endif

#include <immintrin.h>
#include <stdint.h>
#include <string.h>

/* Kernels keep vectors in registers with a constraint that only a CPU with AVX-512 can meet. */
#define SOMA_VPIN(v) ((void)(v))

typedef uint32_t emulated_u32 __attribute__((vector_size(64)));
typedef uint64_t emulated_u64 __attribute__((vector_size(64)));
typedef int32_t emulated_i32 __attribute__((vector_size(64)));

#define EMULATED static inline __attribute__((always_inline, unused))

EMULATED __m256 emulated_half(__m512 a, int upper)
{
    __m256 half;
    memcpy(&half, (const char *)&a + (upper ? sizeof half : 0), sizeof half);
    return half;
}
EMULATED __m512 emulated_join(__m256 lower, __m256 upper)
{
    __m512 a;
    memcpy(&a, &lower, sizeof lower);
    memcpy((char *)&a + sizeof lower, &upper, sizeof upper);
    return a;
}
/* All bits of the lanes whose bit of the mask is set. */
EMULATED emulated_i32 emulated_lanes(__mmask16 mask)
{
    const emulated_i32 bit = {1 << 0, 1 << 1, 1 << 2,  1 << 3,  1 << 4,  1 << 5,  1 << 6,  1 << 7,
                              1 << 8, 1 << 9, 1 << 10, 1 << 11, 1 << 12, 1 << 13, 1 << 14, 1 << 15};
    return ((int32_t)mask & bit) != 0;
}
EMULATED __mmask16 emulated_mask(emulated_i32 lanes)
{
    unsigned lower = (unsigned)_mm256_movemask_ps(emulated_half((__m512)lanes, 0));
    unsigned upper = (unsigned)_mm256_movemask_ps(emulated_half((__m512)lanes, 1));
    return (__mmask16)(lower | upper << 8);
}

/* ---- constants ---- */

EMULATED __m512 emulated_set1_ps(float x)
{
    return (__m512){x, x, x, x, x, x, x, x, x, x, x, x, x, x, x, x};
}
EMULATED __m512i emulated_set1_epi32(int x)
{
    return (__m512i)(emulated_i32){x, x, x, x, x, x, x, x, x, x, x, x, x, x, x, x};
}
EMULATED __m512i emulated_set1_epi64(long long x)
{
    return (__m512i){x, x, x, x, x, x, x, x};
}
#define emulated_setzero_ps() ((__m512){0})
#define emulated_setzero_si512() ((__m512i){0})
#define emulated_set_epi32(p, o, n, m, l, k, j, i, h, g, f, e, d, c, b, a)                                             \
    ((__m512i)(emulated_i32){a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p})

/* ---- memory: lanes that the mask leaves out are not touched ---- */

EMULATED __m512 emulated_loadu_ps(const void *p)
{
    __m512 a;
    memcpy(&a, p, sizeof a);
    return a;
}
EMULATED __m512i emulated_loadu_si512(const void *p)
{
    __m512i a;
    memcpy(&a, p, sizeof a);
    return a;
}
EMULATED void emulated_storeu_ps(void *p, __m512 a)
{
    memcpy(p, &a, sizeof a);
}
EMULATED void emulated_stream_ps(void *p, __m512 a)
{
    if ((uintptr_t)p % sizeof a != 0) /* the instruction faults */
        __builtin_trap();
    _mm256_stream_ps((float *)p, emulated_half(a, 0));
    _mm256_stream_ps((float *)p + 8, emulated_half(a, 1));
}
EMULATED __m512 emulated_maskz_loadu_ps(__mmask16 mask, const void *p)
{
    __m512 lanes = (__m512)emulated_lanes(mask);
    return emulated_join(_mm256_maskload_ps((const float *)p, (__m256i)emulated_half(lanes, 0)),
                         _mm256_maskload_ps((const float *)p + 8, (__m256i)emulated_half(lanes, 1)));
}
EMULATED void emulated_mask_storeu_ps(void *p, __mmask16 mask, __m512 a)
{
    __m512 lanes = (__m512)emulated_lanes(mask);
    _mm256_maskstore_ps((float *)p, (__m256i)emulated_half(lanes, 0), emulated_half(a, 0));
    _mm256_maskstore_ps((float *)p + 8, (__m256i)emulated_half(lanes, 1), emulated_half(a, 1));
}
EMULATED __m128i emulated_maskz_loadu_epi8(__mmask16 mask, const void *p)
{
    uint8_t x[16] = {0};
    for (int i = 0; i < 16; i++)
        if (mask >> i & 1)
            x[i] = ((const uint8_t *)p)[i];
    return _mm_loadu_si128((const __m128i *)(const void *)x);
}
EMULATED void emulated_mask_storeu_epi8(void *p, __mmask16 mask, __m128i a)
{
    uint8_t x[16];
    _mm_storeu_si128((__m128i *)(void *)x, a);
    for (int i = 0; i < 16; i++)
        if (mask >> i & 1)
            ((uint8_t *)p)[i] = x[i];
}
EMULATED __m256i emulated_maskz_loadu_epi16(__mmask16 mask, const void *p)
{
    uint16_t x[16] = {0};
    for (int i = 0; i < 16; i++)
        if (mask >> i & 1)
            memcpy(x + i, (const char *)p + 2 * i, 2);
    return _mm256_loadu_si256((const __m256i *)(const void *)x);
}
EMULATED void emulated_mask_storeu_epi16(void *p, __mmask16 mask, __m256i a)
{
    uint16_t x[16];
    _mm256_storeu_si256((__m256i *)(void *)x, a);
    for (int i = 0; i < 16; i++)
        if (mask >> i & 1)
            memcpy((char *)p + 2 * i, x + i, 2);
}

/* ---- choices ---- */

EMULATED __m512i emulated_mask_blend_epi32(__mmask16 mask, __m512i a, __m512i b)
{
    __m512i lanes = (__m512i)emulated_lanes(mask);
    return (lanes & b) | (~lanes & a);
}
EMULATED __m512 emulated_mask_blend_ps(__mmask16 mask, __m512 a, __m512 b)
{
    return (__m512)emulated_mask_blend_epi32(mask, (__m512i)a, (__m512i)b);
}
EMULATED __m512 emulated_maskz_mov_ps(__mmask16 mask, __m512 a)
{
    return (__m512)(emulated_lanes(mask) & (emulated_i32)a);
}
EMULATED __m512 emulated_mask_loadu_ps(__m512 rest, __mmask16 mask, const void *p)
{
    return emulated_mask_blend_ps(mask, rest, emulated_maskz_loadu_ps(mask, p));
}
#define emulated_cmp_ps_mask(a, b, how)                                                                                \
    emulated_mask((emulated_i32)emulated_join(_mm256_cmp_ps(emulated_half(a, 0), emulated_half(b, 0), how),            \
                                              _mm256_cmp_ps(emulated_half(a, 1), emulated_half(b, 1), how)))
EMULATED __mmask16 emulated_cmpeq_epi32_mask(__m512i a, __m512i b)
{
    return emulated_mask((emulated_i32)a == (emulated_i32)b);
}
EMULATED __mmask16 emulated_cmpge_epu32_mask(__m512i a, __m512i b)
{
    return emulated_mask((emulated_i32)((emulated_u32)a >= (emulated_u32)b));
}

/* ---- arithmetic ---- */

EMULATED __m512 emulated_add_ps(__m512 a, __m512 b)
{
    return a + b;
}
EMULATED __m512 emulated_maskz_mul_ps(__mmask16 mask, __m512 a, __m512 b)
{
    return emulated_maskz_mov_ps(mask, a * b);
}
EMULATED __m512 emulated_fmadd_ps(__m512 a, __m512 b, __m512 c)
{
    return emulated_join(_mm256_fmadd_ps(emulated_half(a, 0), emulated_half(b, 0), emulated_half(c, 0)),
                         _mm256_fmadd_ps(emulated_half(a, 1), emulated_half(b, 1), emulated_half(c, 1)));
}
EMULATED __m512 emulated_min_ps(__m512 a, __m512 b)
{
    return emulated_join(_mm256_min_ps(emulated_half(a, 0), emulated_half(b, 0)),
                         _mm256_min_ps(emulated_half(a, 1), emulated_half(b, 1)));
}
EMULATED __m512 emulated_max_ps(__m512 a, __m512 b)
{
    return emulated_join(_mm256_max_ps(emulated_half(a, 0), emulated_half(b, 0)),
                         _mm256_max_ps(emulated_half(a, 1), emulated_half(b, 1)));
}
EMULATED __m512 emulated_sqrt_ps(__m512 a)
{
    return emulated_join(_mm256_sqrt_ps(emulated_half(a, 0)), _mm256_sqrt_ps(emulated_half(a, 1)));
}
/* Halves, quarters and so on, as the compilers write it. */
EMULATED float emulated_reduce_add_ps(__m512 a)
{
    for (int n = 8; n > 0; n /= 2)
        for (int i = 0; i < n; i++)
            a[i] += a[i + n];
    return a[0];
}
EMULATED float emulated_cvtss_f32(__m512 a)
{
    return a[0];
}
EMULATED __m512i emulated_add_epi32(__m512i a, __m512i b)
{
    return (__m512i)((emulated_u32)a + (emulated_u32)b);
}
EMULATED __m512i emulated_mul_epu32(__m512i a, __m512i b)
{
    return (__m512i)(((emulated_u64)a & 0xffffffff) * ((emulated_u64)b & 0xffffffff));
}
EMULATED __m512i emulated_slli_epi32(__m512i a, unsigned n)
{
    return (__m512i)((emulated_u32)a << n);
}
EMULATED __m512i emulated_slli_epi64(__m512i a, unsigned n)
{
    return (__m512i)((emulated_u64)a << n);
}
EMULATED __m512i emulated_srli_epi64(__m512i a, unsigned n)
{
    return (__m512i)((emulated_u64)a >> n);
}

/* ---- conversions ---- */

#define emulated_castps_pd(a) ((__m512d)(a))
#define emulated_castpd_ps(a) ((__m512)(a))
#define emulated_castsi512_ps(a) ((__m512)(a))
EMULATED __m512i emulated_cvtepu8_epi32(__m128i a)
{
    __m256i lower = _mm256_cvtepu8_epi32(a), upper = _mm256_cvtepu8_epi32(_mm_srli_si128(a, 8));
    return (__m512i)emulated_join((__m256)lower, (__m256)upper);
}
EMULATED __m512i emulated_cvtepu16_epi32(__m256i a)
{
    __m256i lower = _mm256_cvtepu16_epi32(_mm256_castsi256_si128(a));
    __m256i upper = _mm256_cvtepu16_epi32(_mm256_extracti128_si256(a, 1));
    return (__m512i)emulated_join((__m256)lower, (__m256)upper);
}
EMULATED __m128i emulated_cvtepi32_epi8(__m512i a)
{
    emulated_u32 from = (emulated_u32)a;
    uint8_t x[16];
    for (int i = 0; i < 16; i++)
        x[i] = (uint8_t)from[i];
    return _mm_loadu_si128((const __m128i *)(const void *)x);
}
/* To nearest even; numbers below the normal ones become 0, whatever the thread's float word says; NaN stays NaN. */
EMULATED __m256i emulated_cvtneps_pbh(__m512 a)
{
    emulated_u32 bits = (emulated_u32)a, number = (emulated_u32)(a == a);
    emulated_u32 normal = (emulated_u32)((bits & 0x7f800000) != 0);
    bits &= normal | 0x80000000;
    emulated_u32 near = (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
    near = (near & number) | ((bits >> 16 | 0x40) & ~number);
    uint16_t x[16];
    for (int i = 0; i < 16; i++)
        x[i] = (uint16_t)near[i];
    return _mm256_loadu_si256((const __m256i *)(const void *)x);
}

/* ---- lanes change places ---- */

EMULATED __m512 emulated_permutexvar_ps(__m512i at, __m512 a)
{
    emulated_u32 from = (emulated_u32)at & 15;
    __m512 y = {0};
    for (int i = 0; i < 16; i++)
        y[i] = a[from[i]];
    return y;
}
EMULATED __m512 emulated_permutex2var_ps(__m512 a, __m512i at, __m512 b)
{
    emulated_u32 from = (emulated_u32)at & 31;
    __m512 y = {0};
    for (int i = 0; i < 16; i++)
        y[i] = from[i] < 16 ? a[from[i]] : b[from[i] - 16];
    return y;
}
/* Quarters of a, then of b. */
EMULATED __m512 emulated_shuffle_f32x4(__m512 a, __m512 b, int control)
{
    __m512 y;
    for (int i = 0; i < 4; i++)
        memcpy((char *)&y + 16 * i, (const char *)(i < 2 ? &a : &b) + 16 * (control >> 2 * i & 3), 16);
    return y;
}
EMULATED __m512 emulated_unpack_ps(__m512 a, __m512 b, int upper)
{
    __m512 y = {0};
    for (int i = 0; i < 16; i++)
        y[i] = (i & 1 ? b : a)[i / 4 * 4 + 2 * upper + i % 4 / 2];
    return y;
}
EMULATED __m512i emulated_unpack_epi64(__m512i a, __m512i b, int upper)
{
    __m512i y = {0};
    for (int i = 0; i < 8; i++)
        y[i] = (i & 1 ? b : a)[i / 2 * 2 + upper];
    return y;
}
#define emulated_unpack_pd(a, b, upper) ((__m512d)emulated_unpack_epi64((__m512i)(a), (__m512i)(b), upper))

/* ---- the names ---- */

#define _mm512_add_epi32 emulated_add_epi32
#define _mm512_add_ps emulated_add_ps
#define _mm512_castpd_ps emulated_castpd_ps
#define _mm512_castps_pd emulated_castps_pd
#define _mm512_castsi512_ps emulated_castsi512_ps
#define _mm512_cmp_ps_mask emulated_cmp_ps_mask
#define _mm512_cmpeq_epi32_mask emulated_cmpeq_epi32_mask
#define _mm512_cmpge_epu32_mask emulated_cmpge_epu32_mask
#define _mm512_cvtepi32_epi8 emulated_cvtepi32_epi8
#define _mm512_cvtepu16_epi32 emulated_cvtepu16_epi32
#define _mm512_cvtepu8_epi32 emulated_cvtepu8_epi32
#define _mm512_cvtneps_pbh emulated_cvtneps_pbh
#define _mm512_cvtss_f32 emulated_cvtss_f32
#define _mm512_fmadd_ps emulated_fmadd_ps
#define _mm512_loadu_ps emulated_loadu_ps
#define _mm512_loadu_si512 emulated_loadu_si512
#define _mm512_mask_blend_epi32 emulated_mask_blend_epi32
#define _mm512_mask_blend_ps emulated_mask_blend_ps
#define _mm512_mask_loadu_ps emulated_mask_loadu_ps
#define _mm512_mask_storeu_ps emulated_mask_storeu_ps
#define _mm512_maskz_loadu_ps emulated_maskz_loadu_ps
#define _mm512_maskz_mov_ps emulated_maskz_mov_ps
#define _mm512_maskz_mul_ps emulated_maskz_mul_ps
#define _mm512_max_ps emulated_max_ps
#define _mm512_min_ps emulated_min_ps
#define _mm512_mul_epu32 emulated_mul_epu32
#define _mm512_permutex2var_ps emulated_permutex2var_ps
#define _mm512_permutexvar_ps emulated_permutexvar_ps
#define _mm512_reduce_add_ps emulated_reduce_add_ps
#define _mm512_set1_epi32 emulated_set1_epi32
#define _mm512_set1_epi64 emulated_set1_epi64
#define _mm512_set1_ps emulated_set1_ps
#undef _mm512_set_epi32
#define _mm512_set_epi32 emulated_set_epi32
#define _mm512_setzero_ps emulated_setzero_ps
#define _mm512_setzero_si512 emulated_setzero_si512
#define _mm512_shuffle_f32x4 emulated_shuffle_f32x4
#define _mm512_slli_epi32 emulated_slli_epi32
#define _mm512_slli_epi64 emulated_slli_epi64
#define _mm512_sqrt_ps emulated_sqrt_ps
#define _mm512_srli_epi64 emulated_srli_epi64
#define _mm512_storeu_ps emulated_storeu_ps
#define _mm512_stream_ps emulated_stream_ps
#define _mm512_unpackhi_epi64(a, b) emulated_unpack_epi64(a, b, 1)
#define _mm512_unpackhi_pd(a, b) emulated_unpack_pd(a, b, 1)
#define _mm512_unpackhi_ps(a, b) emulated_unpack_ps(a, b, 1)
#define _mm512_unpacklo_epi64(a, b) emulated_unpack_epi64(a, b, 0)
#define _mm512_unpacklo_pd(a, b) emulated_unpack_pd(a, b, 0)
#define _mm512_unpacklo_ps(a, b) emulated_unpack_ps(a, b, 0)
#define _mm256_mask_storeu_epi16 emulated_mask_storeu_epi16
#define _mm256_maskz_loadu_epi16 emulated_maskz_loadu_epi16
#define _mm_mask_storeu_epi8 emulated_mask_storeu_epi8
#define _mm_maskz_loadu_epi8 emulated_maskz_loadu_epi8

#endif
