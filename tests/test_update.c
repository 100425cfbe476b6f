/* SPDX-License-Identifier: Apache-2.0
 *
 * tests/test_update.c: SGD, Adam, schedules: trajectories against PyTorch's in f64, every kernel, however the tensors
 * lie in memory; state that is not asked for as a result is updated all the same.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "graph/graph.h"
#include "kernel_call.h"
#include "op/update/update.h"
#include <soma/soma.h>

#include <math.h>
#include <string.h>

/* ---- trajectories: two parameters of 3 and 4 elements, five steps ----
 * The gradient of element i of tensor t in step s is x/2 + ((3s + 2i + t) mod 7 - 3) / 8. The figures are PyTorch's,
 * f64. */

typedef struct trajectory {
    const char *name;
    bool adam;
    soma_sgd_attrs sgd;
    soma_adam_attrs with;
    double lr, want[7];
} trajectory;

static const trajectory trajectories[] = {
    {"adam",
     true,
     {.momentum = 0},
     {0.9, 0.999, 1e-8, 0},
     0.01,
     {0.48480617964788369, -1.201979676119644, 1.9512916794480344, 0.11602575824454406, -0.19283310019815247,
      0.27350814511752553, -0.36618775103133938}},
    {"adam, weight decay",
     true,
     {.momentum = 0},
     {0.8, 0.99, 1e-3, 0.1},
     0.05,
     {0.39538562333091315, -1.0090482026120595, 1.7557211067761629, 0.14873012311253084, -0.15685981065486718,
      0.17896822286089215, -0.24378440754637523}},
    {"momentum",
     false,
     {0.9, false, 0.01},
     {.beta1 = 0},
     0.1,
     {0.22966213018171197, -0.46531797780917378, 0.82846617870418526, 0.14192159053185993, -0.18337390524616978,
      0.15308107939797971, -0.1365942351573021}},
    {"nesterov",
     false,
     {0.9, true, 0.01},
     {.beta1 = 0},
     0.1,
     {0.14438750891217103, -0.30752596805119542, 0.61752743527662102, 0.10853283413040109, -0.15736631615954594,
      0.14941569187600953, -0.13028816136529622}},
    {"plain",
     false,
     {.momentum = 0},
     {.beta1 = 0},
     0.1,
     {0.37046570312499999, -0.93029171875000016, 1.5464071093749998, 0.083367312499999999, -0.17437649999999999,
      0.25754974999999997, -0.32593714062500001}},
};

static const double begin[7] = {0.5, -1.25, 2.0, 0.1, -0.2, 0.3, -0.4};
static const int64_t sizes[2] = {3, 4};

typedef union number {
    float f[32];
    double d[32];
} number;

static double get(const number *x, soma_dtype dtype, int i)
{
    return dtype == SOMA_F32 ? (double)x->f[i] : x->d[i];
}

static void set(number *x, soma_dtype dtype, int i, double y)
{
    if (dtype == SOMA_F32)
        x->f[i] = (float)y;
    else
        x->d[i] = y;
}

/* The groups of a trajectory: p, g, and one or two slots; each 32 elements, tensor 2 at element 16 (or 20: not
 * neighbours). */
static void follow(const trajectory *t, const soma_kernel *kernel, soma_dtype dtype, int second, double tolerance)
{
    number group[4] = {0};
    int at[2] = {0, second}, groups = t->adam ? 4 : t->sgd.momentum > 0 ? 3 : 2, n = 0;
    int32_t step = 0;
    float lr = (float)t->lr;
    double lr64 = t->lr;
    for (int i = 0; i < 7; i++)
        set(&group[0], dtype, i < 3 ? i : at[1] + i - 3, begin[i]);
    kernel_call c = {.op = t->adam ? &soma_op_adam_update : &soma_op_sgd_update,
                     .attrs = t->adam ? (const void *)&t->with : &t->sgd};
    c.arg[n++] = (soma_tensor){dtype, SOMA_SCALAR, dtype == SOMA_F32 ? (void *)&lr : &lr64};
    if (t->adam)
        c.arg[n++] = (soma_tensor){SOMA_I32, SOMA_SCALAR, &step};
    for (int g = 0; g < groups; g++)
        for (int k = 0; k < 2; k++)
            c.arg[n++] = (soma_tensor){dtype, SOMA_SHAPE(sizes[k]),
                                       dtype == SOMA_F32 ? (void *)(group[g].f + at[k]) : group[g].d + at[k]};
    c.n_in = n;
    for (int g = 0; g < groups; g++)
        for (int k = 0; k < 2 && g != 1; k++, c.n_out++)
            c.arg[n++] = c.arg[(t->adam ? 2 : 1) + 2 * g + k];
    kernel_prepared *p = kernel_call_prepare(&c, kernel);
    assert_non_null(p);
    for (; step < 5; step++) {
        for (int k = 0; k < 2; k++)
            for (int i = 0; i < sizes[k]; i++)
                set(&group[1], dtype, at[k] + i,
                    get(&group[0], dtype, at[k] + i) * 0.5 + ((3 * step + 2 * i + k) % 7 - 3) / 8.0);
        assert_int_equal(kernel_prepared_run(p), SOMA_OK);
    }
    kernel_prepared_free(p);
    for (int i = 0; i < 7; i++)
        assert_true(fabs(get(&group[0], dtype, i < 3 ? i : at[1] + i - 3) - t->want[i]) < tolerance);
    for (int i = 0; i < 32; i++) /* nothing beyond the tensors was written */
        if ((i >= 3 && i < at[1]) || i >= at[1] + 4)
            for (int g = 0; g < groups; g++)
                assert_true(get(&group[g], dtype, i) == 0);
}

static void as_pytorch(void **state)
{
    (void)state;
    for (size_t t = 0; t < sizeof trajectories / sizeof trajectories[0]; t++) {
        const soma_op *op = trajectories[t].adam ? &soma_op_adam_update : &soma_op_sgd_update;
        for (const soma_kernel *const *k = op->kernels; *k; k++) {
            if (!kernel_call_possible(*k))
                continue;
            follow(&trajectories[t], *k, SOMA_F32, 16, 2e-6);
            follow(&trajectories[t], *k, SOMA_F32, 20, 2e-6);
            if ((*k)->exact)
                follow(&trajectories[t], *k, SOMA_F64, 16, 1e-14);
        }
    }
}

/* ---- memory: tensors of all sizes, contiguous with padding or scattered, in place or not, give the same bits ---- */

enum { TENSORS = 7, ROOM = 4096 };
static const int64_t lengths[TENSORS] = {1, 16, 5, 33, 1000, 47, 2};

typedef struct memory {
    float group[7][ROOM]; /* in: p g m v; out: p m v */
} memory;

static double noise(uint32_t *seed)
{
    *seed = *seed * 1664525u + 1013904223u;
    return (double)(*seed >> 8) * 0x1p-23 - 1;
}

/* gap: elements between the padded tensors. Fills `m`, runs the kernel, gathers the results densely. */
static void update_all(memory *m, const soma_kernel *kernel, const soma_op *op, const void *attrs, int gap,
                       bool in_place, int threads, float *result)
{
    bool adam = op == &soma_op_adam_update;
    int groups = adam ? 4 : 3, n = 0;
    static const int out_of[3] = {0, 2, 3};
    float lr = 0.05f;
    int32_t step = 6;
    uint32_t seed = 1;
    kernel_call c = {.op = op, .attrs = attrs, .threads = threads};
    memset(m, 0, sizeof *m);
    c.arg[n++] = (soma_tensor){SOMA_F32, SOMA_SCALAR, &lr};
    if (adam)
        c.arg[n++] = (soma_tensor){SOMA_I32, SOMA_SCALAR, &step};
    int first = n;
    for (int g = 0; g < groups; g++)
        for (int64_t t = 0, at = 0; t < TENSORS; at += (lengths[t++] + 15) / 16 * 16 + gap) {
            for (int64_t i = 0; i < lengths[t]; i++) {
                double x = noise(&seed);
                m->group[g][at + i] = (float)(g == 3 ? x * x : x);
            }
            c.arg[n++] = (soma_tensor){SOMA_F32, SOMA_SHAPE(lengths[t]), m->group[g] + at};
        }
    c.n_in = n;
    for (int g = 0; g < groups - 1; g++)
        for (int t = 0; t < TENSORS; t++, c.n_out++) {
            const soma_tensor *in = &c.arg[first + out_of[g] * TENSORS + t];
            c.arg[n] = *in;
            if (!in_place)
                c.arg[n].data = m->group[4 + g] + ((float *)in->data - m->group[out_of[g]]);
            n++;
        }
    assert_int_equal(kernel_call_run(&c, kernel), SOMA_OK);
    for (int o = 0; o < c.n_out; o++)
        for (int64_t i = 0; i < lengths[o % TENSORS]; i++)
            *result++ = ((float *)c.arg[c.n_in + o].data)[i];
}

static void wherever_tensors_lie(void **state)
{
    (void)state;
    static memory m;
    static float first[3 * 1104], again[3 * 1104];
    const soma_sgd_attrs sgd = {0.9, true, 0.02};
    const soma_adam_attrs adam = {0.9, 0.999, 1e-8, 0}, no_epsilon = {0.9, 0.999, 0, 0};
    const struct {
        const soma_op *op;
        const void *attrs;
    } all[] = {{&soma_op_sgd_update, &sgd}, {&soma_op_adam_update, &adam}, {&soma_op_adam_update, &no_epsilon}};
    for (size_t a = 0; a < sizeof all / sizeof all[0]; a++)
        for (const soma_kernel *const *k = all[a].op->kernels; *k; k++) {
            if (!kernel_call_possible(*k))
                continue;
            update_all(&m, *k, all[a].op, all[a].attrs, 64, false, 1, first);
            for (int i = 0; i < 3 * 1104; i++)
                assert_true(isfinite(first[i]));
            for (int gap = 0; gap <= 32; gap += 16) {
                update_all(&m, *k, all[a].op, all[a].attrs, gap, true, 1, again);
                assert_memory_equal(first, again, sizeof first);
                for (int g = 0; g < 4; g++) /* padding stays zero */
                    for (int64_t t = 0, at = 0; t < TENSORS; at += (lengths[t++] + 15) / 16 * 16 + gap)
                        for (int64_t i = lengths[t]; i % 16; i++)
                            assert_true(m.group[g][at + i] == 0);
            }
        }
}

/* One large tensor between small ones: shared among threads, cut anywhere. */
static void threads_change_nothing(void **state)
{
    (void)state;
    enum { N = 70001 };
    static float data[2][4][N + 64];
    const soma_adam_attrs attrs = {0.9, 0.999, 1e-8, 0.1};
    float lr = 0.01f;
    int32_t step = 0;
    for (const soma_kernel *const *k = soma_op_adam_update.kernels; *k; k++) {
        if (!kernel_call_possible(*k))
            continue;
        for (int run = 0; run < 2; run++) {
            uint32_t seed = 7;
            kernel_call c = {
                .op = &soma_op_adam_update, .attrs = &attrs, .n_in = 10, .n_out = 6, .threads = run ? 3 : 1};
            c.arg[0] = (soma_tensor){SOMA_F32, SOMA_SCALAR, &lr};
            c.arg[1] = (soma_tensor){SOMA_I32, SOMA_SCALAR, &step};
            for (int g = 0; g < 4; g++) {
                for (int i = 0; i < N + 16; i++)
                    data[run][g][i] = i >= 5 && i < 16 ? 0 : (float)fabs(noise(&seed));
                c.arg[2 + 2 * g] = (soma_tensor){SOMA_F32, SOMA_SHAPE(5), data[run][g]};
                c.arg[3 + 2 * g] = (soma_tensor){SOMA_F32, SOMA_SHAPE(N), data[run][g] + 16};
            }
            for (int o = 0; o < 6; o++)
                c.arg[10 + o] = c.arg[o < 2 ? 2 + o : 4 + o];
            assert_int_equal(kernel_call_run(&c, *k), SOMA_OK);
        }
        assert_memory_equal(data[0], data[1], sizeof data[0]);
    }
}

/* Far into training: the corrected means as the paper writes them, by the C library's pow. */
static void adam_late(void **state)
{
    (void)state;
    const soma_adam_attrs a = {0.9, 0.999, 1e-8, 0};
    for (int32_t step = 0; step < 3000000; step = step * 5 + 3)
        for (const soma_kernel *const *k = soma_op_adam_update.kernels; *k; k++) {
            if (!kernel_call_possible(*k))
                continue;
            float x[] = {0.25f, 0.3f, -0.1f, 0.02f}, lr = 0.01f;
            double m = 0.9 * -0.1f + 0.1 * 0.3f, v = 0.999 * 0.02f + 0.001 * 0.3f * 0.3f;
            double corrected = sqrt(v / (1 - pow(0.999, step + 1.0)));
            double want = 0.25 - (double)lr * (m / (1 - pow(0.9, step + 1.0))) / (corrected + 1e-8);
            kernel_call c = {.op = &soma_op_adam_update, .attrs = &a, .n_in = 6, .n_out = 3};
            c.arg[0] = (soma_tensor){SOMA_F32, SOMA_SCALAR, &lr};
            c.arg[1] = (soma_tensor){SOMA_I32, SOMA_SCALAR, &step};
            for (int i = 0; i < 7; i++)
                c.arg[2 + i] = (soma_tensor){SOMA_F32, SOMA_SHAPE(1), &x[i < 4 ? i : i == 4 ? 0 : i - 3]};
            assert_int_equal(kernel_call_run(&c, *k), SOMA_OK);
            assert_true(fabs((double)x[0] - want) < 1e-7);
            assert_true(fabs((double)x[2] - m) < 1e-8 && fabs((double)x[3] - v) < 1e-8);
        }
}

/* ---- schedules ---- */

static double rate(const soma_learning_rate_attrs *a, int32_t step)
{
    float lr = -1;
    kernel_call c = {.op = &soma_op_learning_rate, .attrs = a, .n_in = 1, .n_out = 1};
    c.arg[0] = (soma_tensor){SOMA_I32, SOMA_SCALAR, &step};
    c.arg[1] = (soma_tensor){SOMA_F32, SOMA_SCALAR, &lr};
    assert_int_equal(kernel_call_run(&c, soma_op_learning_rate.kernels[0]), SOMA_OK);
    return (double)lr;
}

/* PyTorch's OneCycleLR(max_lr = 0.003, total_steps = ...) at some steps. */
static void one_cycle_as_pytorch(void **state)
{
    (void)state;
    const struct {
        int total;
        int32_t step;
        double lr;
    } want[] = {
        {10, 0, 0.00011999999999999988},
        {10, 1, 0.00156},
        {10, 2, 0.003},
        {10, 3, 0.002851453896040421},
        {10, 5, 0.0018337860658088677},
        {10, 8, 0.00014855810395957884},
        {10, 9, 1.2e-08},
        {10, 10, 1.2e-08},
        {10, 100000, 1.2e-08},
        {101, 0, 0.00011999999999999988},
        {101, 1, 0.00012826953120081931},
        {101, 25, 0.0028496418119750627},
        {101, 29, 0.0029992550929855838},
        {101, 30, 0.0029992744263402883},
        {101, 50, 0.0024089525625770178},
        {101, 99, 1.4926383118838773e-06},
        {101, 100, 1.2e-08},
        {1000, 3, 0.00012071531349045405},
        {1000, 250, 0.0028133328971947508},
        {1000, 299, 0.003},
        {1000, 300, 0.0029999848935484343},
        {1000, 500, 0.0024299643046205382},
        {1000, 998, 2.7106451566109877e-08},
        {1000, 999, 1.2e-08},
    };
    for (size_t i = 0; i < sizeof want / sizeof want[0]; i++) {
        soma_learning_rate_attrs a = {SOMA_SCHEDULE_ONE_CYCLE, 0.003, 0, want[i].total};
        assert_true(fabs(rate(&a, want[i].step) - want[i].lr) < 1e-7 * want[i].lr);
    }
    for (int total = 1; total < 5; total++) /* too few steps for a rise: still finite and within the range */
        for (int32_t step = 0; step < 6; step++) {
            soma_learning_rate_attrs a = {SOMA_SCHEDULE_ONE_CYCLE, 1, 0, total};
            assert_true(rate(&a, step) >= 0.99 / 250000 && rate(&a, step) <= 1);
        }
}

static void other_schedules(void **state)
{
    (void)state;
    const soma_learning_rate_attrs constant = {SOMA_SCHEDULE_CONSTANT, 0.25, 3, 7};
    const soma_learning_rate_attrs inverse = {SOMA_SCHEDULE_INVERSE_TIME, 0.5, 0.25, 1};
    for (int32_t step = 0; step < 20; step++) {
        assert_true(rate(&constant, step) == 0.25);
        assert_true(fabs(rate(&inverse, step) - 0.5 / (1 + 0.25 * step)) < 1e-7);
    }
    int32_t count[][2] = {{0, 1}, {41, 42}, {INT32_MAX, INT32_MAX}}; /* it stops rather than wrap */
    for (int i = 0; i < 3; i++) {
        kernel_call c = {.op = &soma_op_step_count, .n_in = 1, .n_out = 1};
        c.arg[0] = c.arg[1] = (soma_tensor){SOMA_I32, SOMA_SCALAR, &count[i][0]};
        assert_int_equal(kernel_call_run(&c, soma_op_step_count.kernels[0]), SOMA_OK);
        assert_int_equal(count[i][0], count[i][1]);
    }
}

/* ---- contract ---- */

static void what_is_assigned(void **state)
{
    (void)state;
    const soma_sgd_attrs plain = {.momentum = 0}, momentum = {.momentum = 0.5};
    const int sgd[] = {1, 2, 5, 6, -1}, adam[] = {2, 3, 6, 7, 8, 9, -1};
    for (int i = 0; i < 5; i++)
        assert_int_equal(soma_op_sgd_update.assign(&momentum, 7, i), sgd[i]);
    for (int i = 0; i < 4; i++)
        assert_int_equal(soma_op_sgd_update.assign(&plain, 7, i), i < 3 ? 1 + i : -1);
    for (int i = 0; i < 7; i++)
        assert_int_equal(soma_op_adam_update.assign(NULL, 10, i), adam[i]);
}

static void refusals(void **state)
{
    (void)state;
    char reason[SOMA_REASON_MAX];
    const soma_type f32 = {SOMA_F32, SOMA_SCALAR}, i32 = {SOMA_I32, SOMA_SCALAR}, a = {SOMA_F32, SOMA_SHAPE(3)};
    const soma_type b = {SOMA_F32, SOMA_SHAPE(4)}, wide = {SOMA_F64, SOMA_SHAPE(3)};
    const soma_sgd_attrs momentum = {.momentum = 0.9};
    const soma_adam_attrs adam = {0.9, 0.999, 1e-8, 0};
    const struct {
        const soma_op *op;
        const void *attrs;
        int n_in, n_out;
        soma_type in[6];
        const char *part;
    } wrong[] = {
        {&soma_op_sgd_update, &momentum, 4, 2, {i32, a, a, a}, "lr must be a scalar of type f32 or f64, got i32[]"},
        {&soma_op_sgd_update,
         &momentum,
         5,
         2,
         {f32, a, a, a, a},
         "equally many of each: parameters, gradients, velocities; got 4"},
        {&soma_op_sgd_update, &momentum, 4, 2, {f32, a, b, a}, "is f32[4], but its parameter is f32[3]"},
        {&soma_op_sgd_update, &momentum, 4, 2, {f32, a, a, wide}, "is f64[3], but its parameter is f32[3]"},
        {&soma_op_sgd_update, &momentum, 4, 1, {f32, a, a, a}, "has 2 outputs for 1 parameters, but 1 were asked for"},
        {&soma_op_adam_update, &adam, 1, 1, {f32}, "expects lr, step"},
        {&soma_op_adam_update, &adam, 6, 3, {f32, f32, a, a, a, a}, "step must be a scalar of type i32"},
        {&soma_op_adam_update, &adam, 5, 3, {f32, i32, a, a, a}, "got 3 tensors"},
        {&soma_op_learning_rate, NULL, 1, 1, {a}, "step must be a scalar of type i32, got f32[3]"},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        soma_type out[4];
        soma_infer infer = {wrong[i].attrs, wrong[i].n_in, wrong[i].n_out, wrong[i].in, out, reason};
        reason[0] = 0;
        assert_int_equal(wrong[i].op->infer(&infer), SOMA_INVALID);
        if (!strstr(reason, wrong[i].part))
            fail_msg("\"%s\" is not in \"%s\"", wrong[i].part, reason);
    }
}

/* ---- in a program: every slot moves, though only one output of the update is asked for ---- */

static void slots_are_updated(void **state)
{
    (void)state;
    for (int which = 0; which < 2; which++) {
        soma *s = soma_open(&(soma_context_options){.struct_size = sizeof(soma_context_options), .threads = 1});
        soma_model *m = soma_model_new(s, "m");
        soma_value x = soma_input(m, "x", SOMA_F32, SOMA_SHAPE(3)), t = soma_input(m, "t", SOMA_F32, SOMA_SHAPE(2));
        soma_value loss = soma_mean_squared_error(soma_dense(x, .units = 2, .name = "d"), t), updates[4];
        soma_optimizer adam = soma_adam(.lr = 0.1), sgd = soma_sgd(.lr = 0.1, .momentum = 0.5);
        int n = soma_updates(loss, updates, 4, .optimizer = which ? &adam : &sgd);
        assert_in_range(n, 1, 4);
        soma_program *p = soma_compile(m, .batch = 4, .values = &loss, .n_values = 1, .updates = updates,
                                       .n_updates = n);
        assert_string_equal(soma_error(s), "");
        float *in = soma_program_input(p, x).data, *target = soma_program_input(p, t).data;
        double first = 0, last = 0;
        for (int step = 0; step < 60; step++) {
            for (int i = 0; i < 12; i++)
                in[i] = (float)((i * 7) % 5 - 2);
            for (int i = 0; i < 8; i++)
                target[i] = (float)(i % 3);
            assert_int_equal(soma_step(p), SOMA_OK);
            last = (double)*(float *)soma_read(p, loss).data;
            first = step ? first : last;
        }
        assert_true(last < first * 0.7);
        int slots = 0;
        for (int i = 0; i < m->n_tensors; i++) {
            const soma_model_tensor *slot = &m->tensors[i];
            if (!slot->slot)
                continue;
            slots++;
            if (slot->type.dtype == SOMA_I32) {
                assert_int_equal(*(int32_t *)slot->data, 60);
                continue;
            }
            assert_true(*(float *)slot->data != 0);
        }
        assert_int_equal(slots, which ? 5 : 2);
        soma_close(s);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(as_pytorch),
        cmocka_unit_test(wherever_tensors_lie),
        cmocka_unit_test(threads_change_nothing),
        cmocka_unit_test(adam_late),
        cmocka_unit_test(one_cycle_as_pytorch),
        cmocka_unit_test(other_schedules),
        cmocka_unit_test(what_is_assigned),
        cmocka_unit_test(refusals),
        cmocka_unit_test(slots_are_updated),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
