/* SPDX-License-Identifier: Apache-2.0
 *
 * tests/test_loss.c: softmax and the losses: PyTorch's figures, the ends of the number range, labels out of range,
 * pieces of a batch, threads, and second derivatives through the graph.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "kernel_call.h"
#include "op/loss/loss.h"
#include "op/softmax/softmax.h"
#include <soma/soma.h>

#include <math.h>
#include <string.h>

#define EACH_KERNEL(k, op) for (const soma_kernel *const *k = (op)->kernels; *k; k++)

static soma_tensor f32(void *data, soma_shape shape)
{
    return (soma_tensor){SOMA_F32, shape, data};
}

static void close_to(const float *got, const double *want, int n)
{
    for (int i = 0; i < n; i++)
        if (!(fabs((double)got[i] - want[i]) <= 3e-7 * (1 + fabs(want[i]))))
            fail_msg("element %d is %.9g, not %.9g", i, (double)got[i], want[i]);
}

/* ---- PyTorch's figures (f64) for three rows of four classes ---- */

static float logits[12] = {1, 2, -1.5f, 0.25f, 0, -3, 4, 1, 10, -10, 3, 9.5f};
static int32_t labels[3] = {2, 2, 3};
static float weights[12] = {.1f, .2f, .3f, .4f, 0, .5f, .5f, 0, .25f, .25f, .25f, .5f};

static const double want_softmax[12] = {0.23404221867014813,    0.63619271010330192,    0.019211355197473329,
                                        0.11055371602907661,    0.017133198249484317,   0.00085301171260724262,
                                        0.93544092857294903,    0.046572861464959543,   0.62210621704321223,
                                        1.2822564828001647e-09, 0.00056728743998104886, 0.37732649423455022};
static const double want_log_softmax[12] = {-1.4522537582311676,   -0.45225375823116759, -3.9522537582311674,
                                            -2.2022537582311674,   -4.0667372794915515,  -7.0667372794915515,
                                            -0.066737279491551699, -3.0667372794915515,  -0.47464443387147159,
                                            -20.474644433871472,   -7.4746444338714717,  -0.97464443387147159};
static const double want_loss = 1.6645451571980636, want_weighted = 4.48743219335402;
static const double want_grad[12] = {0.078014072890049357,   0.21206423670110064,    -0.32692954826750886,
                                     0.03685123867635888,    0.0057110660831614403,  0.00028433723753574754,
                                     -0.021519690475683657,  0.015524287154986518,   0.20736873901440406,
                                     4.2741882760005479e-10, 0.00018909581332701624, -0.20755783525514993};
static const double want_weighted_grad[12] = {0.044680739556716045,  0.14539757003443399,   -0.093596214934175553,
                                              -0.096482094654976451, 0.0057110660831614403, -0.16638232942913092,
                                              0.14514697619098299,   0.015524287154986518,  0.17587759043467174,
                                              -0.083333332799059801, -0.083096963566674564, -0.0094472940689374115};

static void softmax_as_pytorch(void **state)
{
    (void)state;
    float y[12];
    EACH_KERNEL(k, &soma_op_softmax)
    {
        kernel_call c = {.op = &soma_op_softmax, .n_in = 1, .n_out = 1};
        c.arg[0] = f32(logits, SOMA_SHAPE(3, 4));
        c.arg[1] = f32(y, SOMA_SHAPE(3, 4));
        if (!kernel_call_possible(*k))
            continue;
        assert_int_equal(kernel_call_run(&c, *k), SOMA_OK);
        close_to(y, want_softmax, 12);
    }
    EACH_KERNEL(k, &soma_op_log_softmax)
    {
        kernel_call c = {.op = &soma_op_log_softmax, .n_in = 1, .n_out = 1};
        c.arg[0] = f32(logits, SOMA_SHAPE(3, 4));
        c.arg[1] = f32(y, SOMA_SHAPE(3, 4));
        if (!kernel_call_possible(*k))
            continue;
        assert_int_equal(kernel_call_run(&c, *k), SOMA_OK);
        close_to(y, want_log_softmax, 12);
    }
}

static kernel_call loss_call(void *target, bool sparse, float *loss, float *probabilities)
{
    kernel_call c = {.op = &soma_op_softmax_cross_entropy, .n_in = 2, .n_out = probabilities ? 2 : 1, .batch = 3};
    c.arg[0] = f32(logits, SOMA_SHAPE(3, 4));
    c.arg[1] = sparse ? (soma_tensor){SOMA_I32, SOMA_SHAPE(3), target} : f32(target, SOMA_SHAPE(3, 4));
    c.arg[2] = f32(loss, SOMA_SCALAR);
    c.arg[3] = f32(probabilities, SOMA_SHAPE(3, 4));
    return c;
}

static void cross_entropy_as_pytorch(void **state)
{
    (void)state;
    for (int sparse = 0; sparse < 2; sparse++)
        EACH_KERNEL(k, &soma_op_softmax_cross_entropy)
        {
            float loss = 0, p[12] = {0}, alone = 0;
            void *target = sparse ? (void *)labels : weights;
            if (!kernel_call_possible(*k))
                continue;
            kernel_call c = loss_call(target, sparse, &loss, p), lone = loss_call(target, sparse, &alone, NULL);
            assert_int_equal(kernel_call_run(&c, *k), SOMA_OK);
            assert_int_equal(kernel_call_run(&lone, *k), SOMA_OK);
            close_to(&loss, sparse ? &want_loss : &want_weighted, 1);
            close_to(p, want_softmax, 12);
            assert_true(loss == alone);
        }
    for (int sparse = 0; sparse < 2; sparse++)
        EACH_KERNEL(k, &soma_op_softmax_cross_entropy_grad)
        {
            float dloss = 1, p[12], dz[12];
            for (int i = 0; i < 12; i++)
                p[i] = (float)want_softmax[i];
            kernel_call c = {.op = &soma_op_softmax_cross_entropy_grad, .n_in = 3, .n_out = 1, .batch = 3};
            c.arg[0] = f32(&dloss, SOMA_SCALAR);
            c.arg[1] = f32(p, SOMA_SHAPE(3, 4));
            c.arg[2] = sparse ? (soma_tensor){SOMA_I32, SOMA_SHAPE(3), labels} : f32(weights, SOMA_SHAPE(3, 4));
            c.arg[3] = f32(dz, SOMA_SHAPE(3, 4));
            if (!kernel_call_possible(*k))
                continue;
            assert_int_equal(kernel_call_run(&c, *k), SOMA_OK);
            close_to(dz, sparse ? want_grad : want_weighted_grad, 12);
        }
}

/* ---- the ends of the range ---- */

static void extreme_logits(void **state)
{
    (void)state;
    float far[3][3] = {{1e30f, -1e30f, 0}, {-INFINITY, 5, 5}, {300, 200, -300}};
    const double want[9] = {1, 0, 0, 0, 0.5, 0.5, 1, 0, 0};
    EACH_KERNEL(k, &soma_op_softmax_cross_entropy)
    {
        if (!kernel_call_possible(*k))
            continue;
        float loss, p[9], one_hot[9] = {1, 0, 0, 0, 0, 1, 0, 1, 0};
        int32_t label[3] = {0, 2, 1};
        kernel_call c = {.op = &soma_op_softmax_cross_entropy, .n_in = 2, .n_out = 2, .batch = 3};
        c.arg[0] = f32(far, SOMA_SHAPE(3, 3));
        c.arg[1] = (soma_tensor){SOMA_I32, SOMA_SHAPE(3), label};
        c.arg[2] = f32(&loss, SOMA_SCALAR);
        c.arg[3] = f32(p, SOMA_SHAPE(3, 3));
        for (int dense = 0; dense < 2; dense++) {
            assert_int_equal(kernel_call_run(&c, *k), SOMA_OK);
            close_to(&loss, &(double){(0 + log(2) + 100) / 3}, 1);
            close_to(p, want, 9);
            c.arg[1] = f32(one_hot, SOMA_SHAPE(3, 3)); /* weight 0 for the class that -inf shuts out adds nothing */
        }
        far[2][1] = NAN;
        assert_int_equal(kernel_call_run(&c, *k), SOMA_OK);
        assert_true(isnan(loss) && isnan(p[6]) && isnan(p[8]) && !isnan(p[0]));
        far[2][1] = 200;
    }
}

/* ---- labels ---- */

static void labels_out_of_range(void **state)
{
    (void)state;
    static const soma_op *const all[] = {&soma_op_softmax_cross_entropy, &soma_op_accuracy,
                                         &soma_op_softmax_cross_entropy_grad};
    for (int o = 0; o < 3; o++)
        EACH_KERNEL(k, all[o])
        {
            int32_t bad[3] = {3, 1, 4}, negative[3] = {3, -1, 0};
            float z[12] = {0}, out[12], dloss = 1;
            kernel_call c = {.op = all[o], .n_in = 2, .n_out = 1, .batch = 3, .full_batch = 30, .sample_offset = 15};
            int first = o == 2;
            c.n_in += first;
            c.arg[0] = f32(&dloss, SOMA_SCALAR);
            c.arg[first] = f32(z, SOMA_SHAPE(3, 4));
            c.arg[first + 1] = (soma_tensor){SOMA_I32, SOMA_SHAPE(3), bad};
            c.arg[first + 2] = f32(out, o == 2 ? SOMA_SHAPE(3, 4) : SOMA_SCALAR);
            if (!kernel_call_possible(*k))
                continue;
            assert_int_equal(kernel_call_run(&c, *k), SOMA_DATA);
            assert_string_equal(c.reason,
                                "sample 17 of the batch has label 4, but the model has 4 classes (0 to 3): correct "
                                "the label, or give the last layer more units");
            c.arg[first + 1].data = negative;
            assert_int_equal(kernel_call_run(&c, *k), SOMA_DATA);
            assert_non_null(strstr(c.reason, "sample 16 of the batch has label -1"));
        }
}

/* In a training step: nothing moves. */
static void bad_label_updates_nothing(void **state)
{
    (void)state;
    soma *s = soma_open(&(soma_context_options){.struct_size = sizeof(soma_context_options), .threads = 1});
    soma_model *m = soma_model_new(s, "m");
    soma_value x = soma_input(m, "x", SOMA_F32, SOMA_SHAPE(5)),
               t = soma_input_with(m, "t", SOMA_I32,
                                   &(soma_input_options){
                                       .struct_size = sizeof(soma_input_options), .at = SOMA_AT, .shape = SOMA_SCALAR});
    soma_value loss = soma_softmax_cross_entropy(soma_dense(x, .units = 3, .name = "d"), t), updates[4];
    soma_optimizer adam = soma_adam(.lr = 0.1);
    int n = soma_updates(loss, updates, 4, .optimizer = &adam);
    soma_program *p = soma_compile(m, .batch = 4, .values = &loss, .n_values = 1, .updates = updates, .n_updates = n);
    assert_string_equal(soma_error(s), "");
    float before[15], *in = soma_program_input(p, x).data, *w = soma_tensor_find(m, "d.weight").tensor.data;
    int32_t *label = soma_program_input(p, t).data;
    for (int i = 0; i < 20; i++)
        in[i] = (float)(i % 7) - 3;
    label[0] = label[1] = label[2] = 2;
    label[3] = 3;
    memcpy(before, w, sizeof before);
    assert_int_equal(soma_step(p), SOMA_DATA);
    assert_non_null(strstr(soma_error(s), "sample 3 of the batch has label 3, but the model has 3 classes (0 to 2)"));
    assert_memory_equal(before, w, sizeof before);
    soma_clear(s);
    label[3] = 0;
    assert_int_equal(soma_step(p), SOMA_OK);
    assert_memory_not_equal(before, w, sizeof before);
    soma_close(s);
}

/* ---- pieces and threads ---- */

enum { ROWS = 7200, CLASSES = 10 };
static float big[ROWS * CLASSES], big_p[2][ROWS * CLASSES], big_t[ROWS * CLASSES];
static int32_t big_label[ROWS];

static void fill_big(void)
{
    uint32_t seed = 3;
    for (int i = 0; i < ROWS * CLASSES; i++) {
        seed = seed * 1664525u + 1013904223u;
        big[i] = (float)(seed >> 8) * 0x1p-21f - 4;
        big_t[i] = i % CLASSES == (int)(seed >> 9) % CLASSES;
        big_label[i / CLASSES] = (int32_t)(seed >> 10) % CLASSES;
    }
}

static float one_loss(const soma_op *op, const soma_kernel *kernel, int64_t first, int64_t rows, int threads, float *p)
{
    float loss = -1;
    bool squares = op == &soma_op_mean_squared_error, second = op == &soma_op_softmax_cross_entropy;
    kernel_call c = {.op = op,
                     .n_in = 2,
                     .n_out = second ? 2 : 1,
                     .batch = rows,
                     .full_batch = ROWS,
                     .sample_offset = first,
                     .threads = threads};
    c.arg[0] = f32(big + first * CLASSES, SOMA_SHAPE(rows, CLASSES));
    c.arg[1] = squares ? f32(big_t + first * CLASSES, SOMA_SHAPE(rows, CLASSES))
                       : (soma_tensor){SOMA_I32, SOMA_SHAPE(rows), big_label + first};
    c.arg[2] = f32(&loss, SOMA_SCALAR);
    c.arg[3] = f32(p + first * CLASSES, SOMA_SHAPE(rows, CLASSES));
    assert_int_equal(kernel_call_run(&c, kernel), SOMA_OK);
    return loss;
}

static void pieces_add_up(void **state)
{
    (void)state;
    static const soma_op *const all[] = {&soma_op_softmax_cross_entropy, &soma_op_mean_squared_error,
                                         &soma_op_accuracy};
    fill_big();
    for (int o = 0; o < 3; o++) {
        double exact = -1;
        for (const soma_kernel *const *k = all[o]->kernels; *k; k++) /* the last one is the reference */
            if (!k[1])
                exact = (double)one_loss(all[o], *k, 0, ROWS, 1, big_p[0]);
        assert_true(exact > 0);
        EACH_KERNEL(k, all[o])
        {
            if (!kernel_call_possible(*k))
                continue;
            double sum = 0, whole = (double)one_loss(all[o], *k, 0, ROWS, 1, big_p[0]);
            assert_true(fabs(whole - exact) < 1e-6 * exact);
            for (int64_t first = 0, rows = 1; first < ROWS;
                 first += rows, rows = rows * 3 < ROWS - first ? rows * 3 : ROWS - first)
                sum += (double)one_loss(all[o], *k, first, rows < ROWS - first ? rows : ROWS - first, 1, big_p[1]);
            assert_true(fabs(sum - exact) < 1e-6 * exact);
            double shared = (double)one_loss(all[o], *k, 0, ROWS, 3, big_p[1]);
            assert_true(fabs(shared - exact) < 1e-6 * exact);
            if (o == 0)
                for (int i = 0; i < ROWS * CLASSES; i++)
                    assert_true(fabsf(big_p[0][i] - big_p[1][i]) <= 1e-6f * big_p[0][i]);
            assert_true(shared == (double)one_loss(all[o], *k, 0, ROWS, 3, big_p[1])); /* same threads, same bits */
        }
    }
}

/* A program in pieces of 1, 2 and 6 samples: the same loss, accuracy and gradient. */
static void pieces_of_a_program(void **state)
{
    (void)state;
    float loss[3], share[3], grad[3][12];
    for (int run = 0; run < 3; run++) {
        soma *s = soma_open(&(soma_context_options){.struct_size = sizeof(soma_context_options), .threads = 1});
        soma_model *m = soma_model_new(s, "m");
        soma_value x = soma_input(m, "x", SOMA_F32, SOMA_SHAPE(3)), w, d;
        soma_value t = soma_input_with(m, "t", SOMA_I32,
                                       &(soma_input_options){.struct_size = sizeof(soma_input_options), .at = SOMA_AT});
        w = soma_parameter(m, "w", SOMA_SHAPE(4, 3), .init = "normal");
        soma_value z = soma_matmul(x, w, .transpose_b = true), l = soma_softmax_cross_entropy(z, t);
        assert_int_equal(soma_grad(l, &w, 1, &d), SOMA_OK);
        soma_value values[] = {l, d, soma_accuracy(z, t)};
        soma_program *p = soma_compile(m, .batch = 6, .values = values, .n_values = 3,
                                       .micro_batch = run == 0 ? 6 : run);
        assert_string_equal(soma_error(s), "");
        assert_int_equal(soma_program_micro_batch(p), run == 0 ? 6 : run);
        for (int i = 0; i < 18; i++)
            ((float *)soma_program_input(p, x).data)[i] = (float)(i * 5 % 7) - 3;
        for (int i = 0; i < 6; i++)
            ((int32_t *)soma_program_input(p, t).data)[i] = i * 3 % 4;
        assert_int_equal(soma_step(p), SOMA_OK);
        loss[run] = *(float *)soma_read(p, l).data;
        share[run] = *(float *)soma_read(p, values[2]).data;
        memcpy(grad[run], soma_read(p, d).data, sizeof grad[run]);
        soma_close(s);
    }
    for (int run = 1; run < 3; run++) {
        assert_true(fabsf(loss[run] - loss[0]) < 1e-6f && fabsf(share[run] - share[0]) < 1e-6f);
        for (int i = 0; i < 12; i++)
            assert_true(fabsf(grad[run][i] - grad[0][i]) < 1e-6f);
    }
    assert_true(loss[0] > 0.1f && fabsf(grad[0][0]) > 1e-4f);
}

static void accuracy_counts(void **state)
{
    (void)state;
    float z[5 * 3] = {1, 2, 3, /**/ 3, 2, 1, /**/ 0, 0, 0, /**/ 1, 2, 2, /**/ -1, -2, -3}, share;
    int32_t label[5] = {2, 0, 0, 2, 1}; /* of equals the first wins: row 3 is class 1 */
    EACH_KERNEL(k, &soma_op_accuracy)
    {
        kernel_call c = {.op = &soma_op_accuracy, .n_in = 2, .n_out = 1, .batch = 5, .full_batch = 10};
        c.arg[0] = f32(z, SOMA_SHAPE(5, 3));
        c.arg[1] = (soma_tensor){SOMA_I32, SOMA_SHAPE(5), label};
        c.arg[2] = f32(&share, SOMA_SCALAR);
        if (!kernel_call_possible(*k))
            continue;
        assert_int_equal(kernel_call_run(&c, *k), SOMA_OK);
        assert_true(share == 0.3f);
    }
}

/* ---- second derivatives: d2 loss / dx dx . u against differences of the gradient, in f64 ---- */

typedef soma_value (*loss_fn)(soma_value x, soma_value t);

static soma_value entropy_loss(soma_value x, soma_value t)
{
    return soma_softmax_cross_entropy(x, t);
}
static soma_value squares_loss(soma_value x, soma_value t)
{
    soma_value loss = soma_mean_squared_error(x, t);
    return soma_mul(loss, soma_square(loss)); /* so that dloss depends on x too */
}
static soma_value entropy_cubed(soma_value x, soma_value t)
{
    soma_value loss = soma_softmax_cross_entropy(x, t);
    return soma_mul(loss, soma_square(loss));
}
static soma_value softmax_loss(soma_value x, soma_value t)
{
    return soma_reduce_sum(soma_mul(soma_square(soma_softmax(x)), t));
}
static soma_value log_softmax_loss(soma_value x, soma_value t)
{
    return soma_reduce_sum(soma_mul(soma_square(soma_log_softmax(x)), t));
}

enum { R = 3, C = 5 };

/* g = sum(u * dloss/dv), h = dg/dv for v = x or t; differences of g along each element must be h. */
static void check_second(loss_fn fn, bool by_target)
{
    soma *s = soma_open(&(soma_context_options){.struct_size = sizeof(soma_context_options), .threads = 1});
    soma_model *m = soma_model_new(s, "m");
    soma_value x = soma_input(m, "x", SOMA_F64, SOMA_SHAPE(C)), t = soma_input(m, "t", SOMA_F64, SOMA_SHAPE(C));
    soma_value u = soma_input(m, "u", SOMA_F64, SOMA_SHAPE(C)), d, h[2], in[2] = {x, t};
    soma_grad(fn(x, t), by_target ? &t : &x, 1, &d);
    soma_value g = soma_reduce_sum(soma_mul(d, u));
    soma_grad(g, in, 2, h);
    soma_value values[] = {g, h[0], h[1]};
    soma_program *p = soma_compile(m, .batch = R, .values = values, .n_values = 3);
    assert_string_equal(soma_error(s), "");
    double *data[3] = {soma_program_input(p, x).data, soma_program_input(p, t).data, soma_program_input(p, u).data};
    uint32_t seed = 11;
    for (int k = 0; k < 3; k++)
        for (int i = 0; i < R * C; i++) {
            seed = seed * 1664525u + 1013904223u;
            data[k][i] = (double)(seed >> 8) * 0x1p-23 - (k == 1 ? 0 : 1);
        }
    assert_int_equal(soma_step(p), SOMA_OK);
    double want[2][R * C], largest = 0;
    for (int k = 0; k < 2; k++)
        memcpy(want[k], soma_read(p, h[k]).data, sizeof want[k]);
    for (int k = 0; k < 2; k++)
        for (int i = 0; i < R * C; i++) {
            double keep = data[k][i], value[2];
            for (int side = 0; side < 2; side++) {
                data[k][i] = keep + (side ? 1e-5 : -1e-5);
                assert_int_equal(soma_step(p), SOMA_OK);
                value[side] = *(double *)soma_read(p, g).data;
            }
            data[k][i] = keep;
            double difference = (value[1] - value[0]) / 2e-5;
            if (!(fabs(difference - want[k][i]) < 1e-8 + 1e-6 * fabs(difference)))
                fail_msg("d(%s)[%d]: difference %.12g, derivative %.12g", k ? "t" : "x", i, difference, want[k][i]);
            largest = fabs(difference) > largest ? fabs(difference) : largest;
        }
    assert_true(largest > 1e-3);
    soma_close(s);
}

static void second_derivatives(void **state)
{
    (void)state;
    check_second(entropy_loss, false);
    check_second(entropy_loss, true);
    check_second(entropy_cubed, false);
    check_second(entropy_cubed, true);
    check_second(squares_loss, false);
    check_second(squares_loss, true);
    check_second(softmax_loss, false);
    check_second(log_softmax_loss, false);
}

/* ---- refusals ---- */

static void refusals(void **state)
{
    (void)state;
    char reason[SOMA_REASON_MAX];
    const soma_type z = {SOMA_F32, SOMA_SHAPE(SOMA_N, 10)}, image = {SOMA_F32, SOMA_SHAPE(SOMA_N, 3, 4, 4)};
    const soma_type label = {SOMA_I32, SOMA_SHAPE(SOMA_N)}, wide = {SOMA_F64, SOMA_SHAPE(SOMA_N, 10)};
    const soma_type batch = {SOMA_F32, SOMA_SHAPE(SOMA_N)}, other = {SOMA_F32, SOMA_SHAPE(SOMA_N, 9)};
    const struct {
        const soma_op *op;
        soma_type a, b;
        const char *part;
    } wrong[] = {
        {&soma_op_softmax_cross_entropy, image, label, "logits must be f32 or f64 [rows, classes], got f32[N,3,4,4]"},
        {&soma_op_softmax_cross_entropy, z, wide, "target must be i32 [rows] (labels)"},
        {&soma_op_accuracy, z, batch, "target must be i32 [rows] (labels)"},
        {&soma_op_mean_squared_error, z, other, "one type and shape, got f32[N,10] and f32[N,9]"},
        {&soma_op_mean_squared_error, label, label, "x must be f32 or f64"},
        {&soma_op_softmax, batch, batch, "classes along its last axis (not the batch), got f32[N]"},
        {&soma_op_softmax_grad, z, other, "dy and y must have one type"},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        soma_type in[2] = {wrong[i].a, wrong[i].b}, out[2];
        soma_infer infer = {NULL, wrong[i].op->required_in, 1, in, out, reason};
        reason[0] = 0;
        assert_int_equal(wrong[i].op->infer(&infer), SOMA_INVALID);
        if (!strstr(reason, wrong[i].part))
            fail_msg("\"%s\" is not in \"%s\"", wrong[i].part, reason);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(softmax_as_pytorch),
        cmocka_unit_test(cross_entropy_as_pytorch),
        cmocka_unit_test(extreme_logits),
        cmocka_unit_test(labels_out_of_range),
        cmocka_unit_test(bad_label_updates_nothing),
        cmocka_unit_test(pieces_add_up),
        cmocka_unit_test(pieces_of_a_program),
        cmocka_unit_test(accuracy_counts),
        cmocka_unit_test(second_derivatives),
        cmocka_unit_test(refusals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
