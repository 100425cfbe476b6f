/* SPDX-License-Identifier: Apache-2.0
 *
 * tests/test_exact.c: base/exact against the C library's long double functions (below 2 units in the last place over
 * the whole range), special values, and the bits themselves, which must be the same in every build.
 */
#include <float.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/exact.h"
#include "base/random.h"

static double from_bits(uint64_t bits)
{
    double x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

static uint64_t to_bits(double x)
{
    uint64_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

/* 64 random bits, number i of stream `site`. */
static uint64_t draw(uint64_t site, uint64_t i)
{
    uint32_t four[4];
    soma_draw(NULL, 7, SOMA_STREAM_INIT, site, 0, i, four);
    return (uint64_t)four[0] << 32 | four[1];
}

/* One unit in the last place of x. */
static long double unit(long double x)
{
    int e;
    long double a = fabsl(x);
    if (a < 0x1p-1022L)
        return 0x1p-1074L;
    frexpl(a, &e);
    return ldexpl(1, e - 53);
}

static long double sigmoid_long(long double x)
{
    return 1 / (1 + expl(-x));
}

typedef double (*exact_fn)(double);
typedef long double (*long_fn)(long double);

/* Error in units of the last place; results beyond f64 must agree as they are. */
static double error_of(double got, long double truth)
{
    double rounded = (double)truth;
    if (isnan(rounded))
        return isnan(got) ? 0 : INFINITY;
    if (isinf(rounded) || isinf(got))
        return got == rounded ? 0 : INFINITY;
    return (double)(fabsl((long double)got - truth) / unit(truth));
}

/* Where from < to: uniform numbers between. Otherwise any finite bit pattern of magnitude up to `to`. */
static double worst_error(exact_fn exact, long_fn truth, double from, double to, uint64_t site)
{
    double worst = 0;
    for (uint64_t i = 0; i < 100000; i++) {
        uint64_t bits = draw(site, i);
        double x = from < to ? from + (to - from) * ((double)(bits >> 11) * 0x1p-53) : from_bits(bits);
        if (!isfinite(x) || (from == to && fabs(x) > to))
            continue;
        double e = error_of(exact(x), truth(x));
        worst = e > worst ? e : worst;
    }
    return worst;
}

static void need_long_double(void)
{
    if (LDBL_MANT_DIG < 64) /* long double is no better than double here: nothing to compare with */
        skip();
}

static void exp_is_accurate(void **state)
{
    (void)state;
    need_long_double();
    assert_true(worst_error(soma_exact_exp, expl, -745.2, 709.8, 1) < 1);
    assert_true(worst_error(soma_exact_exp, expl, -1, 1, 2) < 1);
    assert_true(worst_error(soma_exact_exp, expl, -746, -707, 3) < 1); /* subnormal results */
    assert_true(worst_error(soma_exact_exp, expl, 800, 800, 4) < 1);
}

static void log_is_accurate(void **state)
{
    (void)state;
    need_long_double();
    assert_true(worst_error(soma_exact_log, logl, 0, 4, 5) < 1);
    assert_true(worst_error(soma_exact_log, logl, 0.99, 1.01, 6) < 1);
    assert_true(worst_error(soma_exact_log, logl, 0, 0x1p-1022, 7) < 1); /* subnormal arguments */
    double worst = 0;
    for (uint64_t i = 0; i < 100000; i++) {
        double x = fabs(from_bits(draw(8, i)));
        double e = isfinite(x) ? error_of(soma_exact_log(x), logl(x)) : 0;
        worst = e > worst ? e : worst;
    }
    assert_true(worst < 1);
}

static void tanh_and_sigmoid_are_accurate(void **state)
{
    (void)state;
    need_long_double();
    assert_true(worst_error(soma_exact_tanh, tanhl, -23, 23, 9) < 1.5);
    assert_true(worst_error(soma_exact_tanh, tanhl, -1, 1, 10) < 1.5);
    assert_true(worst_error(soma_exact_tanh, tanhl, 30, 30, 11) < 1.5);
    assert_true(worst_error(soma_exact_sigmoid, sigmoid_long, -745, 50, 12) < 1.5);
    assert_true(worst_error(soma_exact_sigmoid, sigmoid_long, -2, 2, 13) < 1.5);
    assert_true(worst_error(soma_exact_sigmoid, sigmoid_long, 700, 700, 14) < 1.5);
}

static void sin_and_cos_are_accurate(void **state)
{
    (void)state;
    need_long_double();
    static const double to[] = {0.785, 10, 1e6, 1e15};
    for (uint64_t i = 0; i < 4; i++) {
        assert_true(worst_error(soma_exact_sin, sinl, -to[i], to[i], 20 + i) < 1.5);
        assert_true(worst_error(soma_exact_cos, cosl, -to[i], to[i], 30 + i) < 1.5);
    }
    assert_true(worst_error(soma_exact_sin, sinl, DBL_MAX, DBL_MAX, 40) < 1.5);
    assert_true(worst_error(soma_exact_cos, cosl, DBL_MAX, DBL_MAX, 41) < 1.5);
}

/* The f64 that lies closest to a multiple of pi/2 (Kahan; cited by Muller, "Elementary Functions", 2006): what is
 * left is 2^-60.9. And neighbours of small multiples. */
static void angles_near_multiples_of_a_right_angle(void **state)
{
    (void)state;
    double x = 6381956970095103.0 * 0x1p797;
    assert_true(fabs(soma_exact_cos(x) + 4.6871659242546277e-19) < 1e-34);
    assert_true(soma_exact_sin(x) == 1 || soma_exact_sin(x) == -1);
    need_long_double();
    for (int k = 1; k < 2000; k++) {
        double near = k * 1.5707963267948966;
        assert_true(error_of(soma_exact_sin(near), sinl(near)) < 1.5);
        assert_true(error_of(soma_exact_cos(near), cosl(near)) < 1.5);
    }
}

static void pow_is_accurate(void **state)
{
    (void)state;
    need_long_double();
    double worst = 0;
    for (uint64_t i = 0; i < 200000; i++) {
        double x = fabs(from_bits(draw(50, i))), scale = (double)(draw(51, i) >> 11) * 0x1p-53;
        if (i % 2) /* near 1, where y is large */
            x = 1 + (scale - 0.5) * 0x1p-10;
        if (!isfinite(x) || x == 0 || x == 1)
            continue;
        double y = (1500 * scale - 760) / log(x);
        double e = isfinite(y) ? error_of(soma_exact_pow(x, y), powl(x, y)) : 0;
        worst = e > worst ? e : worst;
    }
    assert_true(worst < 1);
}

static void special_values(void **state)
{
    (void)state;
    const double inf = INFINITY, nan = NAN;
    assert_true(soma_exact_exp(0) == 1 && soma_exact_exp(inf) == inf && soma_exact_exp(-inf) == 0);
    assert_true(soma_exact_exp(709.782712893384) < inf && soma_exact_exp(709.782712893385) == inf);
    assert_true(soma_exact_exp(-745.1332191019411) == 0x1p-1074 && soma_exact_exp(-745.14) == 0);
    assert_true(isnan(soma_exact_exp(nan)) && isnan(soma_exact_log(nan)) && isnan(soma_exact_log(-1)));
    assert_true(soma_exact_log(0) == -inf && soma_exact_log(1) == 0 && soma_exact_log(inf) == inf);
    assert_true(soma_exact_tanh(inf) == 1 && soma_exact_tanh(-inf) == -1 && isnan(soma_exact_tanh(nan)));
    assert_true(signbit(soma_exact_tanh(-0.0)) && soma_exact_tanh(0x1p-1074) == 0x1p-1074);
    assert_true(soma_exact_sigmoid(0) == 0.5 && soma_exact_sigmoid(inf) == 1 && soma_exact_sigmoid(-inf) == 0);
    assert_true(isnan(soma_exact_sigmoid(nan)) && isnan(soma_exact_sin(nan)) && isnan(soma_exact_cos(nan)));
    assert_true(isnan(soma_exact_sin(inf)) && isnan(soma_exact_cos(-inf)));
    assert_true(signbit(soma_exact_sin(-0.0)) && soma_exact_sin(0x1p-1074) == 0x1p-1074 && soma_exact_cos(0) == 1);
    assert_true(soma_exact_sin(-2.5) == -soma_exact_sin(2.5) && soma_exact_cos(-2.5) == soma_exact_cos(2.5));
    assert_true(soma_exact_sqrt(9) == 3 && isnan(soma_exact_sqrt(-1)) && soma_exact_sqrt(2) == 1.4142135623730951);
}

static void special_powers(void **state)
{
    (void)state;
    const double inf = INFINITY, nan = NAN;
    assert_true(soma_exact_pow(2, 10) == 1024 && soma_exact_pow(10, -2) == 0.01 && soma_exact_pow(4, 0.5) == 2);
    assert_true(soma_exact_pow(nan, 0) == 1 && soma_exact_pow(1, nan) == 1 && isnan(soma_exact_pow(2, nan)));
    assert_true(isnan(soma_exact_pow(-2, 2)) && soma_exact_pow(0, 2) == 0 && soma_exact_pow(0, -2) == inf);
    assert_true(soma_exact_pow(inf, 2) == inf && soma_exact_pow(inf, -2) == 0);
    assert_true(soma_exact_pow(2, inf) == inf && soma_exact_pow(0.5, inf) == 0 && soma_exact_pow(0.5, -inf) == inf);
    assert_true(soma_exact_pow(2, 1023) == 0x1p1023 && soma_exact_pow(2, 1024) == inf);
    assert_true(soma_exact_pow(2, -1074) == 0x1p-1074 && soma_exact_pow(2, -1080) == 0);
    assert_true(soma_exact_pow(1 + 0x1p-52, 1e300) == inf && soma_exact_pow(1 - 0x1p-53, 1e300) == 0);
}

/* One hash of 60,000 results, the functions where they do not saturate. A fused multiply-add, a wider register or
 * another order of terms anywhere changes it. */
static void the_same_bits_in_every_build(void **state)
{
    (void)state;
    uint64_t hash = 0;
    for (uint64_t i = 0; i < 10000; i++) {
        uint64_t bits = draw(60, i);
        double any = from_bits(bits & ~(UINT64_C(1) << 62)),
               narrow = (double)(int64_t)bits * 0x1p-59; /* |narrow| <= 16 */
        uint64_t results[6] = {
            to_bits(soma_exact_sin(narrow * 1e30)),
            to_bits(soma_exact_cos(narrow)),
            to_bits(soma_exact_exp(narrow)),
            to_bits(soma_exact_log(fabs(any))),
            to_bits(soma_exact_tanh(narrow / 4)),
            to_bits(soma_exact_pow(fabs(narrow), soma_exact_sigmoid(narrow) * 9)),
        };
        for (int j = 0; j < 6; j++) /* not by memory order: the same on any machine */
            hash = (hash ^ results[j]) * UINT64_C(0x9E3779B97F4A7C15) + (hash >> 29);
    }
    assert_true(hash == UINT64_C(0x0634fb19a633a5f6));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(exp_is_accurate),
        cmocka_unit_test(log_is_accurate),
        cmocka_unit_test(tanh_and_sigmoid_are_accurate),
        cmocka_unit_test(sin_and_cos_are_accurate),
        cmocka_unit_test(angles_near_multiples_of_a_right_angle),
        cmocka_unit_test(pow_is_accurate),
        cmocka_unit_test(special_values),
        cmocka_unit_test(special_powers),
        cmocka_unit_test(the_same_bits_in_every_build),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
