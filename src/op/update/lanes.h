/* SPDX-License-Identifier: Apache-2.0
 *
 * op/update/lanes.h: one vector of f32 at each instruction-set level, with loads and stores of its first n lanes only,
 * so that five parameters cost one pass and not five. Arithmetic is the compilers' vector extension. *_cpu.c only.
 */
#ifndef SOMA_OP_LANES_H
#define SOMA_OP_LANES_H

#include "cpu/isa.h"

#if defined(__x86_64__)
#include <immintrin.h>
#else
#include "base/exact.h"
#endif

#if SOMA_ISA_LEVEL == 3

typedef __m512 soma_lanes;
static inline soma_lanes soma_lanes_all(float x)
{
    return _mm512_set1_ps(x);
}
static inline soma_lanes soma_lanes_load(const float *x)
{
    return _mm512_loadu_ps(x);
}
static inline void soma_lanes_store(float *x, soma_lanes y)
{
    _mm512_storeu_ps(x, y);
}
static inline soma_lanes soma_lanes_load_n(const float *x, int64_t n)
{
    return _mm512_maskz_loadu_ps((__mmask16)((1u << n) - 1), x);
}
static inline void soma_lanes_store_n(float *x, soma_lanes y, int64_t n)
{
    _mm512_mask_storeu_ps(x, (__mmask16)((1u << n) - 1), y);
}
static inline soma_lanes soma_lanes_sqrt(soma_lanes x)
{
    return _mm512_sqrt_ps(x);
}
/* a b + c in one rounding. Written out where two products meet: which of them is fused would else be the compiler's
 * choice, in whole vectors another than in the rest. */
static inline soma_lanes soma_lanes_fma(soma_lanes a, soma_lanes b, soma_lanes c)
{
    return _mm512_fmadd_ps(a, b, c);
}

#elif SOMA_ISA_LEVEL == 2

typedef __m256 soma_lanes;
static inline soma_lanes soma_lanes_all(float x)
{
    return _mm256_set1_ps(x);
}
static inline soma_lanes soma_lanes_load(const float *x)
{
    return _mm256_loadu_ps(x);
}
static inline void soma_lanes_store(float *x, soma_lanes y)
{
    _mm256_storeu_ps(x, y);
}
static inline __m256i soma_lanes_first(int64_t n)
{
    return _mm256_cmpgt_epi32(_mm256_set1_epi32((int)n), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}
static inline soma_lanes soma_lanes_load_n(const float *x, int64_t n)
{
    return _mm256_maskload_ps(x, soma_lanes_first(n));
}
static inline void soma_lanes_store_n(float *x, soma_lanes y, int64_t n)
{
    _mm256_maskstore_ps(x, soma_lanes_first(n), y);
}
static inline soma_lanes soma_lanes_sqrt(soma_lanes x)
{
    return _mm256_sqrt_ps(x);
}
static inline soma_lanes soma_lanes_fma(soma_lanes a, soma_lanes b, soma_lanes c)
{
    return _mm256_fmadd_ps(a, b, c);
}

#else

typedef float soma_lanes __attribute__((vector_size(16)));
static inline soma_lanes soma_lanes_all(float x)
{
    return (soma_lanes){x, x, x, x};
}
static inline soma_lanes soma_lanes_load(const float *x)
{
    return (soma_lanes){x[0], x[1], x[2], x[3]};
}
static inline void soma_lanes_store(float *x, soma_lanes y)
{
    for (int i = 0; i < 4; i++)
        x[i] = y[i];
}
static inline soma_lanes soma_lanes_load_n(const float *x, int64_t n)
{
    return (soma_lanes){x[0], n > 1 ? x[1] : 0, n > 2 ? x[2] : 0, 0};
}
static inline void soma_lanes_store_n(float *x, soma_lanes y, int64_t n)
{
    for (int i = 0; i < n; i++)
        x[i] = y[i];
}
static inline soma_lanes soma_lanes_sqrt(soma_lanes x)
{
#if defined(__x86_64__)
    return _mm_sqrt_ps(x);
#else
    for (int i = 0; i < 4; i++)
        x[i] = (float)soma_exact_sqrt((double)x[i]);
    return x;
#endif
}
static inline soma_lanes soma_lanes_fma(soma_lanes a, soma_lanes b, soma_lanes c)
{
    return a * b + c;
}

#endif
#endif
