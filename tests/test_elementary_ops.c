/* SPDX-License-Identifier: Apache-2.0
 *
 * Elementwise ops, reductions, pooling and shape ops where samples do not go: NaN, infinities, ties, long sums,
 * windows beyond the end, second derivatives, and the sentences for what does not fit.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <soma/soma.h>
#include <string.h>

/* A model with one f32 input x, and the program that computes y from it. */
typedef struct bench {
    soma *s;
    soma_model *m;
    soma_value x;
    soma_program *p;
    float *in;
    int64_t n;
} bench;

static bench open_bench(bool exact, soma_shape shape)
{
    soma_context_options o = {.struct_size = sizeof o, .exact = exact};
    bench b = {.s = soma_open(&o)};
    b.m = soma_model_new(b.s, "bench");
    b.x = soma_input(b.m, "x", SOMA_F32, shape, .no_batch = true);
    return b;
}

static void compile(bench *b, const soma_value *y, int n)
{
    b->p = soma_compile(b->m, .values = y, .n_values = n);
    assert_string_equal(soma_error(b->s), "");
    soma_tensor t = soma_program_input(b->p, b->x);
    b->in = t.data;
    b->n = soma_shape_elements(&t.shape);
}

static const float *step(bench *b, soma_value y)
{
    assert_int_equal(soma_step(b->p), SOMA_OK);
    return soma_read(b->p, y).data;
}

static void relu_keeps_nan(void **state)
{
    (void)state;
    for (int exact = 0; exact < 2; exact++) {
        bench b = open_bench(exact, SOMA_SHAPE(37));
        soma_value v[2] = {soma_relu(b.x), soma_none()};
        soma_value loss = soma_reduce_sum(v[0]);
        soma_grad(loss, &b.x, 1, &v[1]);
        compile(&b, v, 2);
        for (int i = 0; i < 37; i++)
            b.in[i] = i % 4 == 0 ? NAN : i % 4 == 1 ? -INFINITY : i % 4 == 2 ? INFINITY : -0.0f;
        const float *y = step(&b, v[0]), *dx = soma_read(b.p, v[1]).data;
        for (int i = 0; i < 37; i++) {
            assert_true(i % 4 == 0 ? isnan(y[i]) : i % 4 == 2 ? y[i] == INFINITY : y[i] == 0);
            assert_true(dx[i] == (i % 4 == 0 || i % 4 == 2));
        }
        soma_close(b.s);
    }
}

/* 0 at the limits themselves, of relu6 as of clip; NaN passes. */
static void clamps_stop_the_gradient_at_their_limits(void **state)
{
    (void)state;
    static const float x[] = {-1, 0, 1e-6f, 3, 6, 7, NAN, -INFINITY, INFINITY};
    for (int exact = 0; exact < 2; exact++)
        for (int clip = 0; clip < 2; clip++) {
            bench b = open_bench(exact, SOMA_SHAPE(36));
            soma_value v[2] = {clip ? soma_clip(b.x, .min = 0, .max = 6) : soma_relu6(b.x), soma_none()};
            soma_grad(soma_reduce_sum(v[0]), &b.x, 1, &v[1]);
            compile(&b, v, 2);
            for (int i = 0; i < 36; i++)
                b.in[i] = x[i % 9];
            const float *y = step(&b, v[0]), *dx = soma_read(b.p, v[1]).data;
            for (int i = 0; i < 36; i++) {
                bool number = !isnan(x[i % 9]);
                assert_true(number ? y[i] == fminf(fmaxf(x[i % 9], 0), 6) : isnan(y[i]));
                assert_true(dx[i] == (!number || (x[i % 9] > 0 && x[i % 9] < 6)));
            }
            soma_close(b.s);
        }
}

/* One NaN among numbers of either sign wins wherever it stands, in every form of reduction. */
static void a_nan_wins_the_maximum(void **state)
{
    (void)state;
    static const struct {
        soma_shape shape;
        uint32_t axes;
    } cases[] = {{{1, {5}}, 1},        {{1, {203}}, 1},     {{2, {7, 3}}, 1},
                 {{2, {33, 4}}, 1},    {{2, {9, 83}}, 1},   {{2, {5, 61}}, 2},
                 {{3, {2, 3, 29}}, 5}, {{3, {3, 5, 7}}, 2}, {{4, {2, 3, 2, 3}}, 10}};
    for (size_t k = 0; k < sizeof cases / sizeof cases[0]; k++)
        for (int exact = 0; exact < 2; exact++) {
            bench b = open_bench(exact, cases[k].shape);
            soma_value y = soma_reduce_max(b.x, .axes = cases[k].axes);
            compile(&b, &y, 1);
            soma_tensor t = soma_read(b.p, y);
            int64_t results = soma_shape_elements(&t.shape);
            for (int64_t at = -1; at < b.n; at++) {
                for (int64_t i = 0; i < b.n; i++)
                    b.in[i] = i == at ? NAN : (float)(i * 7 % 11) - 20;
                const float *max = step(&b, y);
                int nans = 0;
                for (int64_t i = 0; i < results; i++) {
                    nans += isnan(max[i]);
                    assert_true(isnan(max[i]) || (max[i] <= -10 && max[i] >= -20));
                }
                assert_int_equal(nans, at >= 0);
            }
            soma_close(b.s);
        }
}

/* torch.amax's rule. */
static void ties_share_the_gradient(void **state)
{
    (void)state;
    for (int exact = 0; exact < 2; exact++) {
        bench b = open_bench(exact, SOMA_SHAPE(2, 4));
        soma_value loss = soma_reduce_sum(soma_reduce_max(b.x, .axes = SOMA_AXIS(1))), dx;
        soma_grad(loss, &b.x, 1, &dx);
        compile(&b, &dx, 1);
        const float x[8] = {3, 1, 3, 2, -1, -1, -1, -1}, want[8] = {0.5f, 0, 0.5f, 0, 0.25f, 0.25f, 0.25f, 0.25f};
        memcpy(b.in, x, sizeof x);
        assert_memory_equal(step(&b, dx), want, sizeof want);
        soma_close(b.s);
    }
}

/* A plain f32 loop over equal numbers drifts by percents; lanes and f64 do not. */
static void long_sums_stay_accurate(void **state)
{
    (void)state;
    const int64_t rows = 600000;
    bench b = open_bench(false, SOMA_SHAPE(rows, 3));
    soma_value y[3] = {soma_reduce_sum(b.x), soma_reduce_sum(b.x, .axes = SOMA_AXIS(0)),
                       soma_reduce_sum(soma_reshape(b.x, SOMA_SHAPE(3, rows)), .axes = SOMA_AXIS(1))};
    compile(&b, y, 3);
    for (int64_t i = 0; i < b.n; i++)
        b.in[i] = 0.1f;
    double each = 0.1f * (double)rows;
    assert_true(fabs(step(&b, y[0])[0] / (3 * each) - 1) < 1e-5);
    for (int i = 0; i < 3; i++) {
        assert_true(fabs(((const float *)soma_read(b.p, y[1]).data)[i] / each - 1) < 1e-5);
        assert_true(fabs(((const float *)soma_read(b.p, y[2]).data)[i] / each - 1) < 1e-5);
    }
    soma_close(b.s);
}

/* tanh'' = -2 y (1 - y^2), sigmoid'' = y (1 - y) (1 - 2 y), exp'' = exp, (1/x)'' = 2 / x^3 */
static void second_derivatives(void **state)
{
    (void)state;
    bench b = open_bench(true, SOMA_SHAPE(9));
    soma_value f[4] = {soma_tanh(b.x), soma_sigmoid(b.x), soma_exp(b.x), soma_div(soma_scalar(b.x, 1), b.x)}, dd[4];
    for (int k = 0; k < 4; k++) {
        soma_value dx;
        soma_grad(soma_reduce_sum(f[k]), &b.x, 1, &dx);
        soma_grad(soma_reduce_sum(dx), &b.x, 1, &dd[k]);
    }
    compile(&b, dd, 4);
    for (int i = 0; i < 9; i++)
        b.in[i] = (float)(i - 4) / 2 + 0.25f;
    step(&b, dd[0]);
    for (int i = 0; i < 9; i++) {
        double x = (double)b.in[i], t = tanh(x), g = 1 / (1 + exp(-x));
        double want[4] = {-2 * t * (1 - t * t), g * (1 - g) * (1 - 2 * g), exp(x), 2 / (x * x * x)};
        for (int k = 0; k < 4; k++) {
            double got = (double)((const float *)soma_read(b.p, dd[k]).data)[i];
            assert_true(fabs(got - want[k]) <= 1e-6 * fmax(1, fabs(want[k])));
        }
    }
    soma_close(b.s);
}

/* ---- sentences ---- */

static void expect(soma *s, const char *const *pieces)
{
    assert_true(soma_failed(s));
    assert_non_null(strstr(soma_error(s), "test_elementary_ops.c:"));
    for (; *pieces; pieces++)
        if (!strstr(soma_error(s), *pieces))
            fail_msg("\"%s\" is not in: %s", *pieces, soma_error(s));
}

/* Each in a model of its own: a failed call marks the model. */
#define REFUSES(call, ...)                                                                                             \
    do {                                                                                                               \
        soma *s = soma_open(NULL);                                                                                     \
        soma_model *m = soma_model_new(s, "wrong");                                                                    \
        soma_value x = soma_input(m, "x", SOMA_F32, SOMA_SHAPE(3, 4));                                                 \
        soma_value fixed = soma_input(m, "fixed", SOMA_F32, SOMA_SHAPE(2, 3), .no_batch = true);                       \
        soma_value label = soma_input(m, "label", SOMA_I32, SOMA_SHAPE(3, 4));                                         \
        (void)x, (void)fixed, (void)label;                                                                             \
        assert_false(soma_ok(call));                                                                                   \
        expect(s, (const char *const[]){__VA_ARGS__, NULL});                                                           \
        soma_close(s);                                                                                                 \
    } while (0)

static void what_does_not_fit_is_refused(void **state)
{
    (void)state;
    REFUSES(soma_relu(label), "relu", "must be f32 or f64", "i32[N,3,4]");
    REFUSES(soma_add(x, fixed), "add", "do not broadcast", "f32[N,3,4]", "f32[2,3]");
    REFUSES(soma_mul(x, label), "mul", "both", "i32[N,3,4]");
    REFUSES(
        soma_add(soma_reshape(x, SOMA_SHAPE(SOMA_N, 12, 1)), soma_reduce_sum(x, .axes = SOMA_AXIS(1) | SOMA_AXIS(2))),
        "batch behind another axis");
    REFUSES(soma_reduce_sum(x, .axes = SOMA_AXIS(3)), "reduce_sum", "axis 3", "f32[N,3,4]");
    REFUSES(soma_reduce_max(label), "reduce_max", "f32 or f64");
    REFUSES(soma_reshape(x, SOMA_SHAPE(3, 4)), "reshape", "put N in front");
    REFUSES(soma_reshape(x, SOMA_SHAPE(SOMA_N, 5)), "reshape", "does not have the elements of", "f32[N,5]");
    REFUSES(soma_reshape(x, SOMA_SHAPE(SOMA_N, 0, 5)), "reshape", "does not have the elements of");
    REFUSES(soma_reshape(x, SOMA_SHAPE(0, 0)), "reshape", "only one can be what is left over");
    REFUSES(soma_reshape(x, SOMA_SHAPE(12, SOMA_N)), "reshape", "only the first may hold the batch");
    REFUSES(soma_flatten(soma_reduce_sum(x)), "flatten", "no axis to keep");
    REFUSES(soma_transpose(x, SOMA_SHAPE(0, 2)), "transpose", "each of the 3 axes");
    REFUSES(soma_transpose(x, SOMA_SHAPE(0, 2, 2)), "transpose", "once");
    REFUSES(soma_transpose(x, SOMA_SHAPE(1, 0, 2)), "transpose", "batch must stay the first axis");
    REFUSES(soma_concat(((const soma_value[]){x, fixed}), 2, 1), "concat", "input 1 is f32[2,3]", "but for axis 1");
    REFUSES(soma_concat(((const soma_value[]){x, x}), 2, 0), "concat", "batch");
    REFUSES(soma_concat(((const soma_value[]){x, x}), 2, 3), "concat", "axis is 3");
    REFUSES(soma_concat(((const soma_value[]){x, x}), 2, -1), "concat", "axis");
    REFUSES(soma_slice(x, .axis = 1, .begin = 2, .end = 5), "slice", "2 to 5", "f32[N,3,4]");
    REFUSES(soma_slice(x, .axis = 0, .begin = 1), "slice", "batch");
    REFUSES(soma_slice(x, .axis = 1, .begin = 3), "slice", "3 to 3");
    REFUSES(soma_slice(x, .axis = 1, .begin = -1), "slice", "begin");
    REFUSES(soma_expand_at(fixed, x, SOMA_AXIS(0), false, SOMA_AT), "expand", "f32[2,3]", "f32[N,3,4]");
    REFUSES(soma_sum_to_at(fixed, x, SOMA_AT), "sum_to", "must broadcast to the larger");
}

/* y and dx of windows that reach beyond x by the kernels that run by default, or by the reference. */
static void pool(bool exact, int kind, int64_t h, int64_t w, float *y, float *dx)
{
    bench b = open_bench(exact, SOMA_SHAPE(2, 3, h, w));
    int64_t size = 2 + kind / 2;
    soma_value v[2] = {kind % 2 ? soma_average_pool2d(b.x, .size = {size, size}, .stride = {2, 2}, .ceil_mode = true)
                                : soma_max_pool2d(b.x, .size = {size, size}, .stride = {2, 2}, .ceil_mode = true),
                       soma_none()};
    soma_grad(soma_reduce_sum(soma_square(v[0])), &b.x, 1, &v[1]);
    compile(&b, v, 2);
    for (int64_t i = 0; i < b.n; i++)
        b.in[i] = (float)(i * 7919 % 1009) - 500;
    step(&b, v[0]);
    soma_tensor out[2] = {soma_read(b.p, v[0]), soma_read(b.p, v[1])};
    memcpy(y, out[0].data, (size_t)soma_shape_elements(&out[0].shape) * sizeof *y);
    memcpy(dx, out[1].data, (size_t)b.n * sizeof *dx);
    soma_close(b.s);
}

static void windows_beyond_the_end_see_what_is_there(void **state)
{
    (void)state;
    enum { ROOM = 2 * 3 * 36 * 36 };
    static float y[2][ROOM], dx[2][ROOM];
    for (int kind = 0; kind < 4; kind++)
        for (int64_t h = 3; h < 8; h++)
            for (int64_t w = 3; w < 36; w += w < 8 ? 1 : 9) {
                memset(y, 0, sizeof y);
                memset(dx, 0, sizeof dx);
                for (int exact = 0; exact < 2; exact++)
                    pool(exact, kind, h, w, y[exact], dx[exact]);
                for (int i = 0; i < ROOM; i++)
                    if (fabsf(y[0][i] - y[1][i]) > 1e-3f || fabsf(dx[0][i] - dx[1][i]) > 1e-3f)
                        fail_msg("%s of %lld x %lld: element %d is %g, not %g, its gradient %g, not %g",
                                 kind % 2 ? "average" : "max", (long long)h, (long long)w, i, (double)y[0][i],
                                 (double)y[1][i], (double)dx[0][i], (double)dx[1][i]);
            }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(relu_keeps_nan),          cmocka_unit_test(clamps_stop_the_gradient_at_their_limits),
        cmocka_unit_test(a_nan_wins_the_maximum),  cmocka_unit_test(ties_share_the_gradient),
        cmocka_unit_test(long_sums_stay_accurate), cmocka_unit_test(windows_beyond_the_end_see_what_is_there),
        cmocka_unit_test(second_derivatives),      cmocka_unit_test(what_does_not_fit_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
