/* SPDX-License-Identifier: Apache-2.0
 *
 * cpu/vec.h: a vector of SOMA_LANES f32, for kernels (*_cpu.c) whose lanes are channels, columns or samples.
 * With AVX-512 intrinsics (masks make partial vectors free), else the compiler's vectors. Knows no tensors.
 */
#ifndef SOMA_CPU_VEC_H
#define SOMA_CPU_VEC_H

#include "cpu/isa.h"

#include <stdint.h>
#include <string.h>

#define SOMA_INLINE static inline __attribute__((always_inline))

/* Keeps a loaded vector in a register: gcc would rather load it again for every use, and then loads set the speed. */
#if defined(SOMA_VPIN) /* an emulation of AVX-512 */
#elif SOMA_LANES == 16
#define SOMA_VPIN(v) __asm__("" : "+v"(v))
#elif SOMA_LANES == 8
#define SOMA_VPIN(v) __asm__("" : "+x"(v))
#else
#define SOMA_VPIN(v) ((void)(v))
#endif

#if SOMA_LANES == 16

#include <immintrin.h>
typedef __m512 soma_vf;
typedef __m512i soma_vi;
typedef __mmask16 soma_vm;

static inline soma_vm soma_vfirst(int n)
{
    return (soma_vm)((1u << n) - 1u);
}
static inline soma_vf soma_vset(float x)
{
    return _mm512_set1_ps(x);
}
static inline soma_vf soma_vload(const float *p)
{
    return _mm512_loadu_ps(p);
}
static inline void soma_vstore(float *p, soma_vf v)
{
    _mm512_storeu_ps(p, v);
}
/* Past the cache, to memory that nobody reads soon; p is aligned to the vector. End with soma_vstream_end. */
static inline void soma_vstream(float *p, soma_vf v)
{
    _mm512_stream_ps(p, v);
}
static inline void soma_vstream_end(void)
{
    _mm_sfence();
}
/* The first n lanes; the others read as 0 and are not touched. */
static inline soma_vf soma_vload_n(const float *p, int n)
{
    if (__builtin_constant_p(n) && n == SOMA_LANES)
        return soma_vload(p);
    return _mm512_maskz_loadu_ps(soma_vfirst(n), p);
}
static inline void soma_vstore_n(float *p, soma_vf v, int n)
{
    if (__builtin_constant_p(n) && n == SOMA_LANES)
        soma_vstore(p, v);
    else
        _mm512_mask_storeu_ps(p, soma_vfirst(n), v);
}
/* The first n lanes; the others are those of `rest`. */
static inline soma_vf soma_vload_or(const float *p, int n, soma_vf rest)
{
    return _mm512_mask_loadu_ps(rest, soma_vfirst(n), p);
}
static inline soma_vf soma_vfma(soma_vf a, soma_vf b, soma_vf c)
{
    return _mm512_fmadd_ps(a, b, c);
}
static inline float soma_vsum(soma_vf v)
{
    return _mm512_reduce_add_ps(v);
}
static inline soma_vi soma_viset(int x)
{
    return _mm512_set1_epi32(x);
}
static inline soma_vi soma_viload_u8(const uint8_t *p, int n)
{
    return _mm512_cvtepu8_epi32(_mm_maskz_loadu_epi8(soma_vfirst(n), p));
}
static inline void soma_vistore_u8(uint8_t *p, soma_vi v, int n)
{
    _mm_mask_storeu_epi8(p, soma_vfirst(n), _mm512_cvtepi32_epi8(v));
}
/* a > b, or a is NaN */
static inline soma_vm soma_vgreater(soma_vf a, soma_vf b)
{
    return _mm512_cmp_ps_mask(a, b, _CMP_GT_OQ) | _mm512_cmp_ps_mask(a, a, _CMP_UNORD_Q);
}
/* not a <= 0 */
static inline soma_vm soma_vpasses(soma_vf a)
{
    return _mm512_cmp_ps_mask(a, _mm512_setzero_ps(), _CMP_NLE_UQ);
}
static inline soma_vm soma_viequal(soma_vi a, soma_vi b)
{
    return _mm512_cmpeq_epi32_mask(a, b);
}
static inline soma_vf soma_vchoose(soma_vm m, soma_vf a, soma_vf b)
{
    return _mm512_mask_blend_ps(m, b, a);
}
static inline soma_vi soma_vichoose(soma_vm m, soma_vi a, soma_vi b)
{
    return _mm512_mask_blend_epi32(m, b, a);
}
static inline soma_vf soma_vkeep(soma_vm m, soma_vf a)
{
    return _mm512_maskz_mov_ps(m, a);
}
/* Between low and high; NaN stays NaN. */
static inline soma_vf soma_vclamp(soma_vf a, soma_vf low, soma_vf high)
{
    return _mm512_min_ps(high, _mm512_max_ps(low, a)); /* both give their second operand where one is NaN */
}
/* neither a <= low nor a >= high */
static inline soma_vm soma_vinside(soma_vf a, soma_vf low, soma_vf high)
{
    return _mm512_cmp_ps_mask(a, low, _CMP_NLE_UQ) & _mm512_cmp_ps_mask(a, high, _CMP_NGE_UQ);
}

/* min(max(a, 0), 6); NaN stays NaN */
static inline soma_vf soma_vrelu6(soma_vf a)
{
    return _mm512_min_ps(_mm512_set1_ps(6), _mm512_max_ps(_mm512_setzero_ps(), a));
}

/* Sixteen rows become sixteen columns. */
static inline void soma_transpose_network(__m512 a[16], __m512 b[16])
{
    for (int i = 0; i < 16; i += 2) { /* pairs of rows */
        b[i] = _mm512_unpacklo_ps(a[i], a[i + 1]);
        b[i + 1] = _mm512_unpackhi_ps(a[i], a[i + 1]);
    }
    for (int i = 0; i < 16; i += 4) /* fours: a[i + j] holds columns j, j + 4, j + 8, j + 12 of rows i .. i + 3 */
        for (int j = 0; j < 2; j++) {
            a[i + 2 * j] = _mm512_castpd_ps(
                _mm512_unpacklo_pd(_mm512_castps_pd(b[i + j]), _mm512_castps_pd(b[i + 2 + j])));
            a[i + 2 * j + 1] = _mm512_castpd_ps(
                _mm512_unpackhi_pd(_mm512_castps_pd(b[i + j]), _mm512_castps_pd(b[i + 2 + j])));
        }
    for (int j = 0; j < 4; j++) { /* quarters of the registers */
        __m512 low = _mm512_shuffle_f32x4(a[j], a[4 + j], 0x88), high = _mm512_shuffle_f32x4(a[8 + j], a[12 + j], 0x88);
        __m512 low1 = _mm512_shuffle_f32x4(a[j], a[4 + j], 0xdd),
               high1 = _mm512_shuffle_f32x4(a[8 + j], a[12 + j], 0xdd);
        b[j] = _mm512_shuffle_f32x4(low, high, 0x88);
        b[8 + j] = _mm512_shuffle_f32x4(low, high, 0xdd);
        b[4 + j] = _mm512_shuffle_f32x4(low1, high1, 0x88);
        b[12 + j] = _mm512_shuffle_f32x4(low1, high1, 0xdd);
    }
}

/* to[j][i] = from[i][j] for i < rows, j < columns, both at most 16; for rows <= i < 16, to[j][i] becomes any number of
 * from. */
static inline void soma_transpose_16(const float *from, int64_t from_step, int rows, float *to, int64_t to_step,
                                     int columns)
{
    __m512 a[16], b[16];
    soma_vm all = soma_vfirst(columns);
    for (int i = 0; i < 16; i++)
        a[i] = _mm512_maskz_loadu_ps(all, from + (i < rows ? i : 0) * from_step);
    soma_transpose_network(a, b);
    for (int j = 0; j < 16; j++)
        if (j < columns)
            soma_vstore(to + j * to_step, b[j]);
}

#else

#if SOMA_LANES == 8
#include <immintrin.h>
#endif

typedef float soma_vf __attribute__((vector_size(4 * SOMA_LANES)));
typedef int32_t soma_vi __attribute__((vector_size(4 * SOMA_LANES)));
typedef soma_vi soma_vm;

static inline soma_vf soma_vset(float x)
{
    return x - (soma_vf){0};
}
static inline soma_vf soma_vload(const float *p)
{
    soma_vf v;
    memcpy(&v, p, sizeof v);
    return v;
}
static inline void soma_vstore(float *p, soma_vf v)
{
    memcpy(p, &v, sizeof v);
}
static inline void soma_vstream(float *p, soma_vf v)
{
    soma_vstore(p, v);
}
static inline void soma_vstream_end(void)
{
}
/* The first n lanes; the others read as 0 and are not touched. */
static inline soma_vf soma_vload_n(const float *p, int n)
{
    soma_vf v = {0};
    if (n == SOMA_LANES)
        return soma_vload(p);
    for (int i = 0; i < n; i++)
        v[i] = p[i];
    return v;
}
static inline void soma_vstore_n(float *p, soma_vf v, int n)
{
    if (n == SOMA_LANES) {
        soma_vstore(p, v);
        return;
    }
    for (int i = 0; i < n; i++)
        p[i] = v[i];
}
/* The first n lanes; the others are those of `rest`. */
static inline soma_vf soma_vload_or(const float *p, int n, soma_vf rest)
{
    for (int i = 0; i < n; i++)
        rest[i] = p[i];
    return rest;
}
/* By name where there is the instruction: of two products that meet in c = d * e + ..., a compiler would fuse either.
 * */
static inline soma_vf soma_vfma(soma_vf a, soma_vf b, soma_vf c)
{
#if SOMA_LANES == 8
    return (soma_vf)_mm256_fmadd_ps((__m256)a, (__m256)b, (__m256)c);
#else
    return a * b + c;
#endif
}
static inline float soma_vsum(soma_vf v)
{
    float sum = 0;
    for (int i = 0; i < SOMA_LANES; i++)
        sum += v[i];
    return sum;
}
static inline soma_vi soma_viset(int x)
{
    return x - (soma_vi){0};
}
static inline soma_vi soma_viload_u8(const uint8_t *p, int n)
{
    soma_vi v = {0};
    for (int i = 0; i < n; i++)
        v[i] = p[i];
    return v;
}
static inline void soma_vistore_u8(uint8_t *p, soma_vi v, int n)
{
    for (int i = 0; i < n; i++)
        p[i] = (uint8_t)v[i];
}
/* a > b, or a is NaN */
static inline soma_vm soma_vgreater(soma_vf a, soma_vf b)
{
    return (soma_vm)((a > b) | (a != a));
}
/* not a <= 0 */
static inline soma_vm soma_vpasses(soma_vf a)
{
    return (soma_vm) ~(a <= 0);
}
static inline soma_vm soma_viequal(soma_vi a, soma_vi b)
{
    return (soma_vm)(a == b);
}
static inline soma_vf soma_vchoose(soma_vm m, soma_vf a, soma_vf b)
{
    return (soma_vf)((m & (soma_vi)a) | (~m & (soma_vi)b));
}
static inline soma_vi soma_vichoose(soma_vm m, soma_vi a, soma_vi b)
{
    return (m & a) | (~m & b);
}
static inline soma_vf soma_vkeep(soma_vm m, soma_vf a)
{
    return (soma_vf)(m & (soma_vi)a);
}
/* Between low and high; NaN stays NaN. */
static inline soma_vf soma_vclamp(soma_vf a, soma_vf low, soma_vf high)
{
    a = soma_vchoose((soma_vm)(a < low), low, a);
    return soma_vchoose((soma_vm)(a > high), high, a);
}
/* neither a <= low nor a >= high */
static inline soma_vm soma_vinside(soma_vf a, soma_vf low, soma_vf high)
{
    return (soma_vm) ~((a <= low) | (a >= high));
}

/* min(max(a, 0), 6); NaN stays NaN */
static inline soma_vf soma_vrelu6(soma_vf a)
{
    a = soma_vkeep(soma_vpasses(a), a);
    return soma_vchoose((soma_vm)(a > 6), soma_vset(6), a);
}

/* to[j][i] = from[i][j] for i < rows, j < columns, both at most 16; for rows <= i < 16, to[j][i] becomes any number of
 * from. */
static inline void soma_transpose_16(const float *from, int64_t from_step, int rows, float *to, int64_t to_step,
                                     int columns)
{
    for (int j = 0; j < columns; j++)
        for (int i = 0; i < 16; i++)
            to[j * to_step + i] = from[(i < rows ? i : 0) * from_step + j];
}

#endif

/* Elements as batched arrays store them: f32, or bf16 at level 4 (rounded to nearest even when stored). */
#if SOMA_ISA_LEVEL == 4
static inline float soma_get1(soma_elem x)
{
    uint32_t bits = (uint32_t)x.bits << 16;
    float y;
    memcpy(&y, &bits, sizeof y);
    return y;
}
static inline soma_elem soma_put1(float x)
{
    uint32_t bits; /* without a branch: loops of it become vectors */
    memcpy(&bits, &x, sizeof bits);
    uint32_t near = (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
    return (soma_elem){(uint16_t)(x == x ? near : bits >> 16 | 0x40)};
}
#ifdef SOMA_BF16_EMULATED
typedef uint16_t soma_vhalf __attribute__((vector_size(2 * SOMA_LANES)));
typedef uint32_t soma_vbits __attribute__((vector_size(4 * SOMA_LANES)));
static inline soma_vf soma_vget_n(const soma_elem *p, int n)
{
    soma_vhalf half = {0};
    if (n == SOMA_LANES)
        memcpy(&half, p, sizeof half);
    for (int i = 0; i < n && n < SOMA_LANES; i++)
        half[i] = p[i].bits;
    return (soma_vf)(__builtin_convertvector(half, soma_vbits) << 16);
}
static inline void soma_vput_n(soma_elem *p, soma_vf v, int n)
{
    soma_vbits bits = (soma_vbits)v, near = (bits + 0x7fff + (bits >> 16 & 1)) >> 16, number = (soma_vbits)(v == v);
    soma_vhalf half = __builtin_convertvector((near & number) | ((bits >> 16 | 0x40) & ~number), soma_vhalf);
    if (n == SOMA_LANES)
        memcpy(p, &half, sizeof half);
    for (int i = 0; i < n && n < SOMA_LANES; i++)
        p[i].bits = half[i];
}
static inline void soma_vput_stream(soma_elem *p, soma_vf v)
{
    soma_vput_n(p, v, SOMA_LANES);
}
static inline void soma_transpose_stored_16(const soma_elem *from, int64_t from_step, int rows, soma_elem *to,
                                            int64_t to_step, int columns)
{
    for (int j = 0; j < columns; j++)
        for (int i = 0; i < 16; i++)
            to[j * to_step + i] = from[(i < rows ? i : 0) * from_step + j];
}
#else
static inline soma_vf soma_vget_n(const soma_elem *p, int n)
{
    __m256i half = __builtin_constant_p(n) && n == SOMA_LANES ? _mm256_loadu_si256((const __m256i *)(const void *)p)
                                                              : _mm256_maskz_loadu_epi16(soma_vfirst(n), p);
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(half), 16));
}
static inline void soma_vput_n(soma_elem *p, soma_vf v, int n)
{
    __m256i half = (__m256i)_mm512_cvtneps_pbh(v);
    if (__builtin_constant_p(n) && n == SOMA_LANES)
        _mm256_storeu_si256((__m256i *)(void *)p, half);
    else
        _mm256_mask_storeu_epi16(p, soma_vfirst(n), half);
}
/* soma_vstream; p is aligned to what one vector stores. */
static inline void soma_vput_stream(soma_elem *p, soma_vf v)
{
    _mm256_stream_si256((__m256i *)(void *)p, (__m256i)_mm512_cvtneps_pbh(v));
}
/* soma_transpose_16 of what is stored. */
static inline void soma_transpose_stored_16(const soma_elem *from, int64_t from_step, int rows, soma_elem *to,
                                            int64_t to_step, int columns)
{
    __m512 a[16], b[16];
    for (int i = 0; i < 16; i++)
        a[i] = soma_vget_n(from + (i < rows ? i : 0) * from_step, columns);
    soma_transpose_network(a, b);
    for (int j = 0; j < 16; j++)
        if (j < columns)
            soma_vput_n(to + j * to_step, b[j], SOMA_LANES);
}
#endif
/* Rows that a loop in f32 takes in turns: n elements to and from f32. */
static inline void soma_widen(const soma_elem *x, float *y, int64_t n)
{
    int64_t i = 0;
    for (; i + SOMA_LANES <= n; i += SOMA_LANES)
        soma_vstore(y + i, soma_vget_n(x + i, SOMA_LANES));
    if (i < n)
        soma_vstore_n(y + i, soma_vget_n(x + i, (int)(n - i)), (int)(n - i));
}
static inline void soma_narrow(const float *x, soma_elem *y, int64_t n)
{
    int64_t i = 0;
    for (; i + SOMA_LANES <= n; i += SOMA_LANES)
        soma_vput_n(y + i, soma_vload(x + i), SOMA_LANES);
    if (i < n)
        soma_vput_n(y + i, soma_vload_n(x + i, (int)(n - i)), (int)(n - i));
}
#define SOMA_ROW 512 /* elements of such a row: stays in the first cache */
/* The first n lanes; the others are those of `rest`. */
static inline soma_vf soma_vget_or(const soma_elem *p, int n, soma_vf rest)
{
#ifdef SOMA_BF16_EMULATED
    for (int i = 0; i < n; i++)
        rest[i] = soma_get1(p[i]);
    return rest;
#else
    return soma_vchoose(soma_vfirst(n), soma_vget_n(p, n), rest);
#endif
}
#else
static inline soma_vf soma_vget_n(const soma_elem *p, int n)
{
    return soma_vload_n(p, n);
}
static inline void soma_vput_n(soma_elem *p, soma_vf v, int n)
{
    soma_vstore_n(p, v, n);
}
static inline void soma_vput_stream(soma_elem *p, soma_vf v)
{
    soma_vstream(p, v);
}
static inline soma_vf soma_vget_or(const soma_elem *p, int n, soma_vf rest)
{
    return soma_vload_or(p, n, rest);
}
#define soma_transpose_stored_16 soma_transpose_16
static inline float soma_get1(soma_elem x)
{
    return x;
}
static inline soma_elem soma_put1(float x)
{
    return x;
}
#endif
static inline soma_vf soma_vget(const soma_elem *p)
{
    return soma_vget_n(p, SOMA_LANES);
}
static inline void soma_vput(soma_elem *p, soma_vf v)
{
    soma_vput_n(p, v, SOMA_LANES);
}
#endif
