/* SPDX-License-Identifier: Apache-2.0
 *
 * cpu/vecmath.h: exp, log, tanh and sigmoid in f32 for loops that the compiler vectorises (`#pragma omp simd`).
 * No branches, no calls, no tables: every choice is a select between values that are both computed. Errors: exp and log
 * below 1 unit in the last place, sigmoid 2.5, tanh 2.6; infinities, NaN and the ends of the range are right; under
 * flush-to-zero a result below the smallest normal number is 0. Polynomials: minimax fits (Lawson's iteration),
 * coefficients rounded to f32. Knows no tensors.
 */
#ifndef SOMA_CPU_VECMATH_H
#define SOMA_CPU_VECMATH_H

#include <stdint.h>
#include <string.h>

static inline uint32_t soma_float_bits(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

static inline float soma_float_from(uint32_t bits)
{
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

/* yes ? a : b by masks: gcc keeps `?:` between floats as a branch, and the loop scalar, unless told that nobody traps.
 */
static inline float soma_vselect(int yes, float a, float b)
{
    uint32_t mask = -(uint32_t)yes;
    return soma_float_from((soma_float_bits(a) & mask) | (soma_float_bits(b) & ~mask));
}

/* a b + c, in one rounding where the level has the instruction. Written out where two products meet: which of them is
 * fused would else be the compiler's choice, and another one in the tail of a loop than in its body. */
static inline float soma_vmuladd(float a, float b, float c)
{
#if defined(__FMA__) || defined(__aarch64__)
    return __builtin_fmaf(a, b, c);
#else
    return a * b + c;
#endif
}

/* x = n ln 2 + r, |r| <= ln(2) / 2: returns r, and n as an integer in two's complement. Valid for |x| < 2^20. */
static inline float soma_vreduce(float x, uint32_t *n)
{
    const float shift = 0x1.8p23f; /* adding it rounds to an integer, which then stands in the low bits */
    float z = x * 0x1.715476p+0f + shift, k = z - shift;
    *n = soma_float_bits(z) - soma_float_bits(shift);
    return (x - k * 0x1.62e4p-1f) -
           k * 0x1.7f7d1cp-20f; /* ln 2 in two parts, the first of 15 bits: k * part is exact */
}

/* exp(r) - 1 for |r| <= ln(2) / 2, as r + r^2 q(r). */
static inline float soma_vexpm1_near(float r)
{
    float q = 0x1.6a1f62p-10f;
    q = q * r + 0x1.123ccap-7f;
    q = q * r + 0x1.555904p-5f;
    q = q * r + 0x1.55548ep-3f;
    q = q * r + 0x1.fffffcp-2f;
    return r + r * r * q;
}

static inline float soma_vexp(float x)
{
    x = soma_vselect(x > 89.0f, 89.0f, x); /* beyond: inf, and 0; a NaN passes both */
    x = soma_vselect(x < -104.0f, -104.0f, x);
    uint32_t n;
    float r = soma_vreduce(x, &n), y = 1.0f + soma_vexpm1_near(r);
    uint32_t half = (n + 256) / 2 - 128, rest = n - half; /* n is in -150 .. 128: 2^n needs two factors */
    return y * soma_float_from((half + 127) << 23) * soma_float_from((rest + 127) << 23);
}

static inline float soma_vlog(float x)
{
    float big = x * 0x1p23f; /* a denormal number becomes a normal one */
    float z = soma_vselect(x < 0x1p-126f, big, x);
    float shift = soma_vselect(x < 0x1p-126f, 150.0f, 127.0f);
    /* z = 2^e m with m in [sqrt(1/2), sqrt(2)): moving the bits of sqrt(1/2) to a power of two splits at the right
     * place */
    uint32_t bits = soma_float_bits(z) + (0x3f800000u - 0x3f3504f3u);
    float e = (float)(int32_t)(bits >> 23) - shift;
    float f = soma_float_from((bits & 0x007fffffu) + 0x3f3504f3u) - 1.0f;
    /* log(1 + f) = f - f^2 / 2 + f^3 p(f) */
    float p = -0x1.38b45ep-4f;
    p = p * f + 0x1.056f9cp-3f;
    p = p * f + -0x1.0d8ecep-3f;
    p = p * f + 0x1.22d812p-3f;
    p = p * f + -0x1.547126p-3f;
    p = p * f + 0x1.99a014p-3f;
    p = p * f + -0x1.00022ap-2f;
    p = p * f + 0x1.555554p-2f;
    float square = f * f;
    float y = soma_vmuladd(e, 0x1.7f7d1cp-20f, square * (f * p));
    y = soma_vmuladd(e, 0x1.62e4p-1f, soma_vmuladd(-0.5f, square, y) + f);
    const float infinity = soma_float_from(0x7f800000u), nan = soma_float_from(0x7fc00000u);
    float special = soma_vselect(x == 0.0f, -infinity, nan); /* negative numbers and NaN */
    y = soma_vselect(x > 0.0f, y, special);
    return soma_vselect(x == infinity, infinity, y);
}

/* tanh|x| = e / (e + 2) with e = exp(2|x|) - 1, in the form that does not cancel near 0. */
static inline float soma_vtanh(float x)
{
    uint32_t sign = soma_float_bits(x) & 0x80000000u;
    float a = soma_float_from(soma_float_bits(x) ^ sign);
    a = soma_vselect(a > 10.0f, 10.0f, a); /* tanh(10) rounds to 1 */
    uint32_t n;
    float r = soma_vreduce(a + a, &n), scale = soma_float_from((n + 127) << 23);
    float e = scale * soma_vexpm1_near(r) + (scale - 1.0f), y = e / (e + 2.0f);
    return soma_float_from(soma_float_bits(y) | sign);
}

/* 1 / (1 + exp(-x)), computed from exp(-|x|), which never overflows. */
static inline float soma_vsigmoid(float x)
{
    float a = soma_float_from(soma_float_bits(x) | 0x80000000u), e = soma_vexp(a);
    return soma_vselect(x < 0.0f, e, 1.0f) / (1.0f + e);
}

#endif
