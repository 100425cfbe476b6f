/* SPDX-License-Identifier: Apache-2.0
 *
 * The vector functions of cpu/vecmath.h against f64, on a comb through all 2^32 numbers, and where they are
 * special. Once inline, compiled for the baseline, and once as the kernels of exp, log, tanh and sigmoid at every level
 * that the machine has.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "cpu/parallel.h"
#include "cpu/vecmath.h"

#include <float.h>
#include <soma/soma.h>

static double sigmoid(double x)
{
    return x < 0 ? exp(x) / (1 + exp(x)) : 1 / (1 + exp(-x));
}

typedef struct function {
    const char *name;
    float (*fast)(float);
    double (*exact)(double);
    double limit; /* units in the last place */
} function;

static const function functions[] = {
    {"exp", soma_vexp, exp, 1.0},
    {"log", soma_vlog, log, 1.0},
    {"tanh", soma_vtanh, tanh, 2.6},
    {"sigmoid", soma_vsigmoid, sigmoid, 2.5},
};
#define N_FUNCTIONS (sizeof functions / sizeof functions[0])

/* |y - want| in units of the last place of an f32 of want's size. */
static double units(float y, double want)
{
    int exponent;
    if (isnan(want))
        return isnan(y) ? 0 : INFINITY;
    if (isinf((float)want) || isinf(y)) /* half a unit beyond the largest number rounds to infinity */
        return (float)want == y || (fabs(want) > 3.4028233e38 && (double)fabsf(y) > 3.4028233e38) ? 0 : INFINITY;
    frexp(want, &exponent);
    exponent = exponent < -125 ? -125 : exponent;
    return fabs((double)y - want) / ldexp(1, exponent - 24);
}

#define COMB 4096

/* `flushed`: numbers below the smallest normal one may have become 0. */
static void check(const function *f, const char *how, bool flushed, const float *x, const float *y, double *worst)
{
    for (int i = 0; i < COMB; i++) {
        double want = f->exact((double)x[i]), u = units(y[i], want);
        if (flushed && (fabs(want) < (double)FLT_MIN || fabsf(x[i]) < FLT_MIN))
            continue;
        if (u > *worst)
            *worst = u;
        if (!(u <= f->limit))
            fail_msg("%s (%s) of %a is %a, off by %.2f units", f->name, how, (double)x[i], (double)y[i], u);
    }
}

/* Every 4,201st bit pattern: a million numbers of all sizes, NaN and infinities among them. With a program, x and y are
 * its input and `output`, and a step computes y. */
static void comb(const function *f, const char *how, soma_program *p, float *x, soma_value output)
{
    static float y[COMB];
    const float *computed = y;
    double worst = 0;
    for (uint64_t bits = 0; bits < 0x100000000u;) {
        for (int i = 0; i < COMB; i++, bits += 4201)
            x[i] = soma_float_from((uint32_t)bits);
        for (int i = 0; i < COMB && !p; i++)
            y[i] = f->fast(x[i]);
        if (p) {
            assert_int_equal(soma_step(p), SOMA_OK);
            computed = soma_read(p, output).data;
        }
        check(f, how, p != NULL, x, computed, &worst);
    }
    assert_true(worst > 0.3); /* or nothing was compared */
}

static void functions_are_accurate(void **state)
{
    (void)state;
    static float x[COMB];
    for (size_t k = 0; k < N_FUNCTIONS; k++)
        comb(&functions[k], "inline", NULL, x, soma_none());
}

/* The same functions in vector registers: the cpu kernel of each level that this machine has. */
static void kernel_is_accurate(const function *f, const soma_kernel *kernel)
{
    const soma_kernel *const only[] = {kernel, NULL};
    soma_op op = *soma_op_find(f->name);
    op.kernels = only;
    soma *s = soma_open(NULL);
    soma_model *m = soma_model_new(s, "vecmath");
    soma_value x = soma_input(m, "x", SOMA_F32, SOMA_SHAPE(COMB), .no_batch = true), y;
    soma_apply_with(&op, &x, 1, &y, 1, NULL);
    soma_program *p = soma_compile(m, .values = &y, .n_values = 1);
    assert_string_equal(soma_error(s), "");
    comb(f, soma_isa_name(kernel->isa), p, soma_program_input(p, x).data, y);
    soma_close(s);
}

static void kernels_are_accurate(void **state)
{
    (void)state;
    for (size_t k = 0; k < N_FUNCTIONS; k++) {
        const soma_op *op = soma_op_find(functions[k].name);
        int n = 0;
        for (const soma_kernel *const *kernel = op->kernels; *kernel; kernel++)
            if (!(*kernel)->exact && (*kernel)->stores != SOMA_BF16 && (*kernel)->isa <= soma_cpu_isa()) {
                kernel_is_accurate(&functions[k], *kernel);
                n++;
            }
        assert_true(n > 0);
    }
}

static void special_numbers(void **state)
{
    (void)state;
    const float inf = INFINITY;
    assert_true(soma_vexp(0) == 1 && soma_vexp(-0.0f) == 1);
    assert_true(soma_vexp(inf) == inf && soma_vexp(-inf) == 0 && isnan(soma_vexp(NAN)));
    assert_true(soma_vexp(88.8f) == inf && soma_vexp(-104) == 0 && soma_vexp(-1e30f) == 0 && soma_vexp(1e30f) == inf);
    assert_true(soma_vlog(1) == 0 && soma_vlog(inf) == inf && soma_vlog(0) == -inf && soma_vlog(-0.0f) == -inf);
    assert_true(isnan(soma_vlog(-1)) && isnan(soma_vlog(-inf)) && isnan(soma_vlog(NAN)));
    assert_true(soma_vtanh(inf) == 1 && soma_vtanh(-inf) == -1 && soma_vtanh(1e9f) == 1 && isnan(soma_vtanh(NAN)));
    assert_true(soma_vtanh(0) == 0 && signbit(soma_vtanh(-0.0f)) && soma_vtanh(1e-30f) == 1e-30f);
    assert_true(soma_vsigmoid(0) == 0.5f && soma_vsigmoid(inf) == 1 && soma_vsigmoid(-inf) == 0);
    assert_true(isnan(soma_vsigmoid(NAN)) && soma_vsigmoid(-80) > 0 && soma_vsigmoid(40) == 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(functions_are_accurate),
        cmocka_unit_test(kernels_are_accurate),
        cmocka_unit_test(special_numbers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
