/* SPDX-License-Identifier: Apache-2.0
 *
 * base/exact.c: elementary functions from nothing but IEEE additions, multiplications and divisions in a fixed order,
 * so that every compiler, level and CPU gives the same bits. Compiled without contraction (an FMA rounds once where
 * two operations round twice). Where one rounding too many would show, a number is the unevaluated sum of two f64,
 * `pair` (Dekker 1971, "A floating-point technique for extending the available precision"). Series are Taylor's: with
 * arguments reduced this far a dozen terms reach 2^-60, and the coefficients need no table.
 */
#include "base/exact.h"

#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#if defined(__SSE2__)
#include <emmintrin.h>
#endif

#if defined(__FAST_MATH__)
#error "exact.c must not be compiled with -ffast-math: its results are promised bit by bit"
#endif

#define INFINITE __builtin_inf()
#define NOT_A_NUMBER __builtin_nan("")

/* ln 2 in three parts; a multiple k of the first two is exact for |k| < 4096. */
static const double ln2_high = 0x1.62e42fefa3000p-1, ln2_middle = 0x1.3de6af278e000p-42,
                    ln2_low = 0x1.9cc01f97b57a0p-83;
static const double inverse_ln2 = 0x1.71547652b82fep+0;

typedef struct pair {
    double hi, lo;
} pair;

/* ---- exact sums and products ---- */

static inline pair sum(double a, double b)
{
    double s = a + b, t = s - a;
    return (pair){s, (a - (s - t)) + (b - t)};
}

/* |a| >= |b|, or a = 0 */
static inline pair sum_ordered(double a, double b)
{
    double s = a + b;
    return (pair){s, b - (s - a)};
}

/* The upper 26 bits; |a| below 2^996. */
static inline double upper_half(double a)
{
    double t = a * 134217729.0; /* 2^27 + 1 (Veltkamp) */
    return t - (t - a);
}

static inline pair product(double a, double b)
{
    double p = a * b;
    double ah = upper_half(a), al = a - ah, bh = upper_half(b), bl = b - bh;
    return (pair){p, ((ah * bh - p) + ah * bl + al * bh) + al * bl};
}

static inline pair times(pair a, pair b)
{
    pair p = product(a.hi, b.hi);
    return sum_ordered(p.hi, p.lo + (a.hi * b.lo + a.lo * b.hi));
}

static inline pair plus(pair a, pair b)
{
    pair s = sum(a.hi, b.hi);
    return sum_ordered(s.hi, s.lo + (a.lo + b.lo));
}

/* n / d, nearly correctly rounded. */
static inline double quotient(pair n, pair d)
{
    double q = n.hi / d.hi;
    pair p = product(q, d.hi);
    return q + ((((n.hi - p.hi) - p.lo) + n.lo) - q * d.lo) / d.hi;
}

static inline uint64_t bits_of(double x)
{
    uint64_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

static inline double from_bits(uint64_t bits)
{
    double x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

/* 2^k, -1022 <= k <= 1023 */
static inline double power_of_two(int k)
{
    return from_bits((uint64_t)(k + 1023) << 52);
}

/* x * 2^k for x near 1 and -1100 < k < 1100: at most one rounding, where the result is subnormal. */
static double scaled(double x, int k)
{
    if (k > 1000)
        return x * power_of_two(1000) * power_of_two(k - 1000);
    if (k < -1000)
        return x * power_of_two(k + 200) * power_of_two(-200);
    return x * power_of_two(k);
}

/* ---- exp ---- */

/* x = k ln 2 + r, |r| <= 0.347; |x| < 800 */
static int reduce_exp(pair x, pair *r)
{
    double t = x.hi * inverse_ln2;
    int k = (int)(t < 0 ? t - 0.5 : t + 0.5);
    pair s = sum(x.hi - k * ln2_high, -(k * ln2_middle));
    *r = sum_ordered(s.hi, s.lo + (x.lo - k * ln2_low));
    return k;
}

/* exp(r) - 1 for |r| <= 0.347; the first term left out is r^14 / 14!, 2^-57 of the sum */
static pair exp_less_one(pair r)
{
    double x = r.hi;
    double p = 1.0 / 6227020800.0;
    p = p * x + 1.0 / 479001600.0;
    p = p * x + 1.0 / 39916800.0;
    p = p * x + 1.0 / 3628800.0;
    p = p * x + 1.0 / 362880.0;
    p = p * x + 1.0 / 40320.0;
    p = p * x + 1.0 / 5040.0;
    p = p * x + 1.0 / 720.0;
    p = p * x + 1.0 / 120.0;
    p = p * x + 1.0 / 24.0;
    p = p * x + 1.0 / 6.0;
    p = p * x + 0.5;
    return sum_ordered(x, p * (x * x) + (r.lo + r.lo * x));
}

/* exp(x) = pair * 2^k */
static pair exp_parts(pair x, int *k)
{
    pair r;
    *k = reduce_exp(x, &r);
    pair e = exp_less_one(r);
    pair s = sum_ordered(1.0, e.hi);
    return sum_ordered(s.hi, s.lo + e.lo);
}

static double exp_of_pair(pair x)
{
    int k;
    if (x.hi > 709.8)
        return INFINITE;
    if (x.hi < -745.2)
        return 0;
    pair e = exp_parts(x, &k);
    return scaled(e.hi + e.lo, k);
}

double soma_exact_exp(double x)
{
    return x != x ? x : exp_of_pair((pair){x, 0});
}

/* ---- log ---- */

/* 2 atanh(s) - 2 s = s z (2/3 + z (2/5 + z (2/7 + ...))), z = s^2 <= 0.0295; the first two coefficients as pairs */
static pair atanh_rest(pair s)
{
    pair z = times(s, s);
    double t = 2.0 / 25.0;
    t = t * z.hi + 2.0 / 23.0;
    t = t * z.hi + 2.0 / 21.0;
    t = t * z.hi + 2.0 / 19.0;
    t = t * z.hi + 2.0 / 17.0;
    t = t * z.hi + 2.0 / 15.0;
    t = t * z.hi + 2.0 / 13.0;
    t = t * z.hi + 2.0 / 11.0;
    t = t * z.hi + 2.0 / 9.0;
    t = t * z.hi + 2.0 / 7.0;
    pair a = sum_ordered(0x1.999999999999ap-2, t * z.hi); /* 2/5 and its rest */
    a.lo += -0x1.999999999999ap-56;
    pair b = plus((pair){0x1.5555555555555p-1, 0x1.5555555555555p-55}, times(z, a)); /* 2/3 and its rest */
    return times(s, times(z, b));
}

/* log(x) for finite x > 0 with 2^-66 of relative error: x = 2^e (1 + f), log(1 + f) = 2 atanh(f / (2 + f)) */
static pair log_pair(double x)
{
    int e = 0;
    if (x < 0x1p-1022) {
        x *= 0x1p54;
        e = -54;
    }
    uint64_t bits = bits_of(x);
    e += (int)(bits >> 52) - 1023;
    double m = from_bits((bits & UINT64_C(0x000fffffffffffff)) | UINT64_C(0x3ff0000000000000));
    if (m > 1.4142135623730951) {
        m *= 0.5;
        e++;
    }
    double f = m - 1.0;
    pair u = sum_ordered(2.0, f);
    double s = f / u.hi;
    pair p = product(s, u.hi);
    pair ratio = {s, (((f - p.hi) - p.lo) - s * u.lo) / u.hi};
    pair l = plus((pair){2.0 * ratio.hi, 2.0 * ratio.lo}, atanh_rest(ratio));
    pair t = sum(e * ln2_high, l.hi);
    return sum_ordered(t.hi, t.lo + ((e * ln2_middle + l.lo) + e * ln2_low));
}

double soma_exact_log(double x)
{
    if (x != x || x == INFINITE)
        return x;
    if (x == 0)
        return -INFINITE;
    if (x < 0)
        return NOT_A_NUMBER;
    return log_pair(x).hi;
}

/* ---- pow ---- */

double soma_exact_pow(double x, double y)
{
    if (y == 0 || x == 1)
        return 1;
    if (x != x || y != y || x < 0)
        return NOT_A_NUMBER;
    if (x == 0 || x == INFINITE)
        return (x == 0) == (y < 0) ? INFINITE : 0;
    pair l = log_pair(x);
    double rough = y * l.hi;
    if (rough > 710)
        return INFINITE;
    if (rough < -746)
        return 0;
    return exp_of_pair(times((pair){y, 0}, l));
}

/* ---- tanh and sigmoid ---- */

double soma_exact_tanh(double x)
{
    double a = x < 0 ? -x : x;
    if (!(a > 0x1p-28)) /* zeros and NaN too */
        return x;
    pair e = {1, 0};
    pair r;
    if (a > 22)
        return x < 0 ? -1 : 1;
    /* t = exp(2 a) - 1; tanh a = t / (t + 2) */
    int k = reduce_exp((pair){2 * a, 0}, &r);
    pair t = exp_less_one(r);
    if (k) {
        double scale = power_of_two(k);
        e = plus(e, t);
        t = plus((pair){e.hi * scale, e.lo * scale}, (pair){-1, 0});
    }
    double y = quotient(t, plus((pair){2, 0}, t));
    return x < 0 ? -y : y;
}

double soma_exact_sigmoid(double x)
{
    if (x != x)
        return x;
    if (x > 40)
        return 1;
    if (x < -40)
        return soma_exact_exp(x);
    int k;
    pair e = exp_parts((pair){x < 0 ? x : -x, 0}, &k);
    double scale = power_of_two(k);
    e = (pair){e.hi * scale, e.lo * scale};
    pair one = {1, 0};
    return quotient(x < 0 ? e : one, plus(one, e));
}

/* ---- sin and cos ---- */

/* The bits of 2/pi behind the binary point, after one word of zeros. */
static const uint64_t two_over_pi[20] = {
    0x0000000000000000, 0xa2f9836e4e441529, 0xfc2757d1f534ddc0, 0xdb6295993c439041, 0xfe5163abdebbc561,
    0xb7246e3a424dd2e0, 0x06492eea09d1921c, 0xfe1deb1cb129a73e, 0xe88235f52ebb4484, 0xe99c7026b45f7e41,
    0x3991d639835339f4, 0x9c845f8bbdf9283b, 0x1ff897ffde05980f, 0xef2f118b5a0a6d1f, 0x6d367ecf27cb09b7,
    0x4f463f669e5fea2d, 0x7527bac7ebe5f17b, 0x3d0739f78a5292ea, 0x6bfb5fb11f8d5d08, 0x56033046fc7b6bab,
};

/* a * b + c; the high word of the result goes to *high */
static uint64_t multiply(uint64_t a, uint64_t b, uint64_t c, uint64_t *high)
{
    uint64_t a0 = a & 0xffffffff, a1 = a >> 32, b0 = b & 0xffffffff, b1 = b >> 32;
    uint64_t low = a0 * b0, m = a1 * b0 + (low >> 32), n = a0 * b1 + (m & 0xffffffff);
    uint64_t result = (n << 32 | (low & 0xffffffff)) + c;
    *high = a1 * b1 + (m >> 32) + (n >> 32) + (result < c);
    return result;
}

/* x = (4 i + quadrant) pi/2 + r, |r| <= pi/4, for finite x > pi/4, however large (after Payne and Hanek 1983). x = M
 * 2^E with an integer M of 53 bits. Bits of 2/pi that M 2^E makes multiples of 4 are left out; the 192 that follow,
 * W, give x 2/pi mod 4 = 4 frac(M W / 2^192) with 139 good bits behind the point. No f64 lies closer to a multiple
 * of pi/2 than 2^-62, so more than 70 of them are significant. */
static unsigned reduce_angle(double x, pair *r)
{
    uint64_t bits = bits_of(x), w[3], g[3], carry;
    uint64_t m = (bits & UINT64_C(0x000fffffffffffff)) | UINT64_C(0x0010000000000000);
    unsigned at = (unsigned)(bits >> 52) - 1075 - 2 + 64, word = at / 64, shift = at % 64;
    for (unsigned i = 0; i < 3; i++)
        w[i] = shift ? two_over_pi[word + i] << shift | two_over_pi[word + i + 1] >> (64 - shift)
                     : two_over_pi[word + i];
    g[2] = multiply(w[2], m, 0, &carry);
    g[1] = multiply(w[1], m, carry, &carry);
    g[0] = w[0] * m + carry;

    unsigned quadrant = (unsigned)(g[0] >> 62);
    g[0] = g[0] << 2 | g[1] >> 62;
    g[1] = g[1] << 2 | g[2] >> 62;
    g[2] <<= 2;
    bool down = g[0] >> 63; /* past the middle: the next multiple is nearer */
    if (down) {
        quadrant++;
        g[2] = -g[2];
        g[1] = ~g[1] + (g[2] == 0);
        g[0] = ~g[0] + (g[1] == 0 && g[2] == 0);
    }
    int zeros = 0;
    for (; zeros < 128 && !g[0]; zeros += 64) {
        g[0] = g[1];
        g[1] = g[2];
        g[2] = 0;
    }
    int n = g[0] ? __builtin_clzll(g[0]) : 0;
    if (n) {
        g[0] = g[0] << n | g[1] >> (64 - n);
        g[1] = g[1] << n | g[2] >> (64 - n);
    }
    double unit = power_of_two(-53 - zeros - n) * (down ? -1 : 1);
    pair f = sum_ordered((double)(g[0] >> 11) * unit, (double)((g[0] & 0x7ff) << 42 | g[1] >> 22) * (unit * 0x1p-53));
    *r = times(f, (pair){0x1.921fb54442d18p+0, 0x1.1a62633145c07p-54}); /* pi/2 */
    return quadrant & 3;
}

/* |r| <= pi/4; the first term left out is r^19 / 19! */
static double sin_near_zero(pair r)
{
    double x = r.hi, z = x * x;
    double p = 1.0 / 355687428096000.0;
    p = p * z - 1.0 / 1307674368000.0;
    p = p * z + 1.0 / 6227020800.0;
    p = p * z - 1.0 / 39916800.0;
    p = p * z + 1.0 / 362880.0;
    p = p * z - 1.0 / 5040.0;
    p = p * z + 1.0 / 120.0;
    p = p * z - 1.0 / 6.0;
    return x + (p * z * x + r.lo * (1.0 - 0.5 * z));
}

/* |r| <= pi/4; the first term left out is r^18 / 18! */
static double cos_near_zero(pair r)
{
    double x = r.hi, z = x * x;
    double p = 1.0 / 20922789888000.0;
    p = p * z - 1.0 / 87178291200.0;
    p = p * z + 1.0 / 479001600.0;
    p = p * z - 1.0 / 3628800.0;
    p = p * z + 1.0 / 40320.0;
    p = p * z - 1.0 / 720.0;
    p = p * z + 1.0 / 24.0;
    pair s = sum_ordered(1.0, -0.5 * z);
    return s.hi + (s.lo + (p * z * z - x * r.lo));
}

/* sin(x + quarter pi/2), x >= 0 finite */
static double wave(double x, unsigned quarter)
{
    pair r = {x, 0};
    if (x > 0.78539816339744828) /* below pi/4 nothing needs to be reduced */
        quarter += reduce_angle(x, &r);
    double y = quarter & 1 ? cos_near_zero(r) : sin_near_zero(r);
    return quarter & 2 ? -y : y;
}

double soma_exact_sin(double x)
{
    if (!(x - x == 0)) /* infinite or NaN */
        return NOT_A_NUMBER;
    if (x < 0x1p-27 && x > -0x1p-27) /* and the sign of zero stays */
        return x;
    return x < 0 ? -wave(-x, 0) : wave(x, 0);
}

double soma_exact_cos(double x)
{
    if (!(x - x == 0))
        return NOT_A_NUMBER;
    return wave(x < 0 ? -x : x, 1);
}

/* ---- sqrt: IEEE 754 demands correct rounding, the instruction delivers it ---- */

double soma_exact_sqrt(double x)
{
#if defined(__SSE2__)
    return _mm_cvtsd_f64(_mm_sqrt_sd(_mm_setzero_pd(), _mm_set_sd(x)));
#else
    return __builtin_sqrt(x);
#endif
}
