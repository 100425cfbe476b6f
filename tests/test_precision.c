/* SPDX-License-Identifier: Apache-2.0
 *
 * Programs of precision bf16: what they store in bf16 and what not, how near they come to f32, and who is refused. The
 * kernels themselves are compared in test_layouts.c.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "cpu/parallel.h"
#include "run/program.h"
#include <soma/soma.h>

#define BATCH 16
#define SIDE 12

/* The linker puts this before the library's own (tests/CMakeLists.txt). */
static int pretended_isa = -1;
int __real_soma_cpu_isa(void);
int __wrap_soma_cpu_isa(void);
int __wrap_soma_cpu_isa(void)
{
    return pretended_isa >= 0 ? pretended_isa : __real_soma_cpu_isa();
}

#if defined(SOMA_BF16_EMULATED) || defined(SOMA_AVX512_EMULATED)
#define EMULATED true /* the library's products run in f32, where the CPU has no bf16 */
#else
#define EMULATED false
#endif

static bool can_run(void)
{
#ifdef SOMA_HAVE_ONEDNN
    return soma_cpu_isa() >= 4;
#else
    return false;
#endif
}

/* A picture's way through every kind of kernel: first layer, wide layer, dropout, residual, pooling, dense. */
static soma_value build(soma_model *m)
{
    soma_value x = soma_input(m, "x", SOMA_F32, SOMA_SHAPE(3, SIDE, SIDE)), shortcut;
    x = soma_conv2d(x, .filters = 16, .kernel = {3, 3}, .same = true, .activation = "relu");
    shortcut = x;
    x = soma_conv2d(x, .filters = 16, .kernel = {3, 3}, .same = true, .activation = "relu");
    x = soma_add(x, shortcut);
    x = soma_max_pool2d(x, .size = {2, 2});
    x = soma_dense(soma_flatten(x), .units = 128, .activation = "relu");
    x = soma_dense(x, .units = 4);
    soma_output(m, "logits", x);
    return x;
}

static float pictures[8 * BATCH * 3 * SIDE * SIDE];
static int32_t labels[8 * BATCH];

/* Noise with a bright quarter that tells the class. */
static void draw(void)
{
    uint32_t state = 3;
    for (int i = 0; i < 8 * BATCH; i++) {
        labels[i] = i * 7 % 4;
        for (int k = 0; k < 3 * SIDE * SIDE; k++) {
            int row = k / SIDE % SIDE, column = k % SIDE;
            state = state * 1664525u + 1013904223u;
            float noise = (float)(state >> 8) * 0x1p-24f - 0.5f;
            bool bright = (row * 2 / SIDE) * 2 + column * 2 / SIDE == labels[i];
            pictures[i * 3 * SIDE * SIDE + k] = noise + (bright ? 0.3f : 0);
        }
    }
}

static soma_dataset *data(soma *s, int n)
{
    soma_tensor x = {SOMA_F32, SOMA_SHAPE(n, 3, SIDE, SIDE), pictures}, y = {SOMA_I32, SOMA_SHAPE(n), labels};
    return soma_dataset_arrays(s, x, .y = y, .n_classes = 4);
}

static soma *opened(int threads)
{
    soma_context_options o = {.struct_size = sizeof o, .seed = 5, .threads = threads};
    return soma_open(&o);
}

/* ---- what is stored how ---- */

static int count(const soma_program *p, const char *op, const char *output)
{
    int n = 0;
    for (int i = 0; i < soma_program_nodes(p); i++) {
        soma_plan_node node = soma_program_node(p, i);
        n += !strcmp(node.op, op) && !strncmp(node.output, output, strlen(output));
    }
    return n;
}

static void activations_are_bf16_and_state_is_not(void **state)
{
    (void)state;
    soma *s = opened(2);
    soma_model *m = soma_model_new(s, "mixed");
    build(m);
    soma_trainer *t = soma_trainer_new(m, data(s, 8 * BATCH), .batch_size = 8 * BATCH, .precision = "bf16",
                                       .optimizer = soma_adam());
    assert_string_equal(soma_error(s), "");
    soma_program *p = soma_trainer_program(t);
    int products = count(p, "conv2d", "bf16[");
    assert_true(products == 2 || (EMULATED && products == 1));
    assert_int_equal(count(p, "conv2d_input_grad", "bf16["), 1);
    assert_true(count(p, "add", "bf16[") >= 1);
    assert_int_equal(count(p, "conv2d_weight_grad", "f32["), 2);
    assert_true(EMULATED || count(p, "reorder", "bf16[") >= 4); /* the pictures, and the weights of each layer */
    const soma_plan *plan = p->plan;
    for (int i = 0; i < plan->n_values; i++) {
        const soma_plan_value *v = &plan->values[i];
        if (v->arg.dtype == SOMA_BF16)
            assert_true(v->storage == SOMA_STORE_WORK || v->storage == SOMA_STORE_KEPT);
    }
    for (int i = 0; i < plan->n_tasks; i++)
        for (int j = 0; plan->tasks[i].assigns && j < plan->tasks[i].n_in; j++)
            assert_int_not_equal(plan->values[plan->tasks[i].in[j]].arg.dtype, SOMA_BF16);
    for (int i = 0; i < soma_tensor_count(m); i++)
        assert_int_not_equal(soma_tensor_at(m, i).tensor.dtype, SOMA_BF16);
    assert_int_equal(count(p, "softmax_cross_entropy", "f32["), 1);
    assert_int_equal(count(p, "softmax_cross_entropy_grad", "f32["), 1);
    soma_close(s);
}

static void activations_take_less_memory(void **state)
{
    (void)state;
    uint64_t bytes[2];
    for (int k = 0; k < 2; k++) {
        soma *s = opened(1);
        soma_model *m = soma_model_new(s, "memory");
        build(m);
        soma_trainer *t = soma_trainer_new(m, data(s, 8 * BATCH), .batch_size = 8 * BATCH, .micro_batch = 8 * BATCH,
                                           .precision = k ? "bf16" : "f32");
        assert_string_equal(soma_error(s), "");
        bytes[k] = soma_program_memory(soma_trainer_program(t)).activations;
        soma_close(s);
    }
    assert_true(EMULATED || bytes[1] < bytes[0]);
}

/* ---- near to f32, and the same bits twice ---- */

static void train(const char *precision, double loss[3], float *weights, size_t n)
{
    soma *s = opened(2);
    soma_model *m = soma_model_new(s, "mixed");
    soma_progress result = {.loss = NAN};
    build(m);
    soma_dataset *d = data(s, 8 * BATCH);
    soma_fit(m, d, .batch_size = BATCH, .epochs = 4, .precision = precision, .optimizer = soma_adam(.lr = 0.002),
             .result = &result, .validation = d);
    assert_string_equal(soma_error(s), "");
    soma_evaluation e = {0};
    soma_evaluate(m, d, .result = &e, .precision = precision);
    loss[0] = result.loss;
    loss[1] = result.val_loss;
    loss[2] = e.loss;
    soma_tensor w = soma_tensor_at(m, 0).tensor;
    assert_int_equal(w.dtype, SOMA_F32);
    memcpy(weights, w.data, n * sizeof *weights);
    assert_string_equal(soma_error(s), "");
    soma_close(s);
}

static void training_comes_near_f32(void **state)
{
    (void)state;
    enum { N = 16 * 3 * 9 };
    double loss[3][3];
    float weights[3][N];
    train("f32", loss[0], weights[0], N);
    train("bf16", loss[1], weights[1], N);
    train("bf16", loss[2], weights[2], N);
    for (int i = 0; i < 3; i++) {
        assert_true(fabs(loss[1][i] - loss[0][i]) < 0.05 * loss[0][i] + 0.005);
        assert_true(loss[1][i] == loss[2][i]);
    }
    assert_true(loss[0][1] < 0.7); /* it learned something, from log 4 */
    assert_memory_equal(weights[1], weights[2], sizeof weights[1]);
    assert_memory_not_equal(weights[0], weights[1], sizeof weights[0]);
}

static void predictions_come_near_f32(void **state)
{
    (void)state;
    soma *s = opened(2);
    soma_model *m = soma_model_new(s, "mixed");
    float y[3][4 * BATCH];
    double largest = 0;
    build(m);
    soma_tensor x = {SOMA_F32, SOMA_SHAPE(BATCH, 3, SIDE, SIDE), pictures};
    const char *const names[] = {"f32", "bf16", NULL};
    for (int k = 0; k < 3; k++) {
        soma_tensor to = {SOMA_F32, SOMA_SHAPE(BATCH, 4), y[k]};
        soma_predict_options o = {.struct_size = sizeof o, .at = SOMA_AT, .y = &to, .precision = names[k]};
        assert_int_equal(soma_predict_with(m, &x, &o), SOMA_OK);
    }
    for (int i = 0; i < 4 * BATCH; i++)
        largest = fmax(largest, fabs((double)y[0][i]));
    for (int i = 0; i < 4 * BATCH; i++)
        assert_true(fabs((double)y[1][i] - (double)y[0][i]) < 0.02 * largest);
    assert_memory_not_equal(y[0], y[1], sizeof y[0]);
    assert_memory_equal(y[0], y[2], sizeof y[0]);
    soma_close(s);
}

/* Concats, slices and what is read where it lies inside a larger array. */
static void large_networks_have_programs(void **state)
{
    (void)state;
    static const char *const names[] = {"resnet20", "densenet121", "mobilenetv2", "squeezenet1_0"};
    for (int i = 0; i < 4; i++) {
        soma *s = opened(2);
        soma_model *m = soma_zoo(s, names[i], .width = 0.5, .classes = 4, .input = SOMA_SHAPE(3, 64, 64));
        soma_tensor x = {SOMA_F32, SOMA_SHAPE(3, 3, 64, 64), pictures}, y = {SOMA_I32, SOMA_SHAPE(3), labels};
        soma_dataset *d = soma_dataset_arrays(s, x, .y = y, .n_classes = 4);
        soma_trainer *t = soma_trainer_new(m, d, .batch_size = 3, .precision = "bf16");
        assert_string_equal(soma_error(s), "");
        soma_program *p = soma_trainer_program(t);
        assert_true(count(p, "batch_norm", "f32[") == 0 && count(p, "batch_norm_grad", "f32[") == 0);
        soma_close(s);
    }
}

/* What soma_read hands out is f32, whatever the program stores. */
static void what_is_read_is_f32(void **state)
{
    (void)state;
    soma *s = opened(1);
    soma_model *m = soma_model_new(s, "read");
    soma_value v[3], x = soma_input(m, "x", SOMA_F32, SOMA_SHAPE(16, 6, 6));
    v[0] = soma_conv2d(x, .filters = 16, .kernel = {3, 3});
    v[1] = soma_relu(v[0]);
    v[2] = soma_conv2d(v[1], .filters = 16, .kernel = {3, 3});
    for (int wanted = 1; wanted < 8; wanted++) {
        soma_value values[3];
        int n = 0;
        for (int i = 0; i < 3; i++)
            if (wanted >> i & 1)
                values[n++] = v[i];
        soma_program *p = soma_compile(m, .batch = 2, .values = values, .n_values = n, .precision = "bf16");
        assert_string_equal(soma_error(s), "");
        soma_tensor in = soma_program_input(p, x);
        assert_int_equal(in.dtype, SOMA_F32);
        memcpy(in.data, pictures, sizeof(float) * 2 * 16 * 36);
        assert_int_equal(soma_step(p), SOMA_OK);
        for (int i = 0; i < n; i++) {
            soma_tensor out = soma_read(p, values[i]);
            double sum = 0;
            assert_int_equal(out.dtype, SOMA_F32);
            for (int64_t k = 0; k < soma_shape_elements(&out.shape); k++)
                sum += fabs((double)((float *)out.data)[k]);
            assert_true(sum > 1 && sum < 1e4);
        }
        soma_program_free(p);
    }
    soma_close(s);
}

/* A concat of f32 arrays is the beginning of one that is stored in bf16: it is converted, and does not share its
 * array. */
static void concats_of_two_types_share_no_array(void **state)
{
    (void)state;
    soma *s = opened(1);
    soma_model *m = soma_model_new(s, "types");
    soma_value x = soma_input(m, "x", SOMA_F32, SOMA_SHAPE(16, 6, 6)), ab[] = {soma_tanh(x), soma_sigmoid(x)};
    soma_value wide = soma_concat(ab, 2, 1),
               parts[] = {wide, soma_conv2d(x, .filters = 16, .kernel = {3, 3}, .same = true)};
    soma_value all = soma_concat(parts, 2, 1);
    soma_value y[] = {soma_conv2d(soma_mul(wide, soma_scalar(wide, 0.5)), .filters = 16, .kernel = {3, 3}),
                      soma_conv2d(all, .filters = 16, .kernel = {3, 3})};
    for (int64_t batch = 1; batch <= 3; batch++) {
        float *want[2] = {NULL};
        for (int half = 0; half < 2; half++) {
            soma_program *p = soma_compile(m, .batch = batch, .values = y, .n_values = 2, .micro_batch = batch,
                                           .precision = half ? "bf16" : "f32");
            assert_string_equal(soma_error(s), "");
            assert_int_equal(count(p, "concat", "f32["), half ? 1 : 2);
            memcpy(soma_program_input(p, x).data, pictures, (size_t)batch * 16 * 36 * sizeof(float));
            assert_int_equal(soma_step(p), SOMA_OK);
            for (int k = 0; k < 2; k++) {
                soma_tensor t = soma_read(p, y[k]);
                const float *got = t.data;
                int64_t n = soma_shape_elements(&t.shape);
                if (!half) {
                    want[k] = malloc((size_t)n * sizeof(float));
                    memcpy(want[k], got, (size_t)n * sizeof(float));
                }
                for (int64_t i = 0; i < n; i++)
                    assert_true(fabs((double)got[i] - (double)want[k][i]) < 0.05);
            }
            soma_program_free(p);
        }
        free(want[0]);
        free(want[1]);
    }
    soma_close(s);
}

/* ---- who is refused ---- */

static void refused(soma *s, const char *precision, const char *sentence)
{
    soma_model *m = soma_model_new(s, "refused");
    soma_value y = build(m);
    soma_program *p = soma_compile(m, .batch = 2, .values = &y, .n_values = 1, .precision = precision);
    assert_null(p);
    if (!strstr(soma_error(s), sentence))
        fail_msg("\"%s\" does not say \"%s\"", soma_error(s), sentence);
    soma_clear(s);
    assert_int_not_equal(soma_fit(m, data(s, BATCH), .precision = precision), SOMA_OK);
    assert_non_null(strstr(soma_error(s), sentence));
    soma_clear(s);
    assert_int_not_equal(soma_evaluate(m, data(s, BATCH), .precision = precision), SOMA_OK);
    assert_non_null(strstr(soma_error(s), sentence));
    soma_clear(s);
    float out[4];
    soma_tensor x = {SOMA_F32, SOMA_SHAPE(1, 3, SIDE, SIDE), pictures}, to = {SOMA_F32, SOMA_SHAPE(1, 4), out};
    soma_predict_options o = {.struct_size = sizeof o, .at = SOMA_AT, .y = &to, .precision = precision};
    assert_int_not_equal(soma_predict_with(m, &x, &o), SOMA_OK);
    assert_non_null(strstr(soma_error(s), sentence));
    soma_clear(s);
}

static void refusals_say_why(void **state)
{
    (void)state;
    soma *s = opened(1);
    refused(s, "bf61", "did you mean \"bf16\"?");
    refused(s, "double", "it is \"f32\" or \"bf16\"");
    pretended_isa = 3;
    refused(s, "bf16", "needs a CPU that multiplies bf16 (avx512_bf16), and this one (AVX-512) does not; use f32");
    pretended_isa = -1;
    soma_close(s);
    soma_context_options o = {.struct_size = sizeof o, .exact = true};
    s = soma_open(&o);
    refused(s, "bf16", "precision bf16 cannot be exact");
    soma_close(s);
}

int main(void)
{
    draw();
    const struct CMUnitTest refusals[] = {cmocka_unit_test(refusals_say_why)};
    const struct CMUnitTest programs[] = {cmocka_unit_test(activations_are_bf16_and_state_is_not),
                                          cmocka_unit_test(activations_take_less_memory),
                                          cmocka_unit_test(training_comes_near_f32),
                                          cmocka_unit_test(predictions_come_near_f32),
                                          cmocka_unit_test(large_networks_have_programs),
                                          cmocka_unit_test(what_is_read_is_f32),
                                          cmocka_unit_test(concats_of_two_types_share_no_array)};
    int failed = cmocka_run_group_tests(refusals, NULL, NULL);
    if (failed || can_run())
        return failed ? failed : cmocka_run_group_tests(programs, NULL, NULL);
    printf("skipped, but for refusals: programs of precision bf16 need oneDNN and a CPU that multiplies bf16\n");
    return 77;
}
