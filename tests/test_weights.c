/* SPDX-License-Identifier: Apache-2.0
 *
 * Weights of other programs into a model that exists: names, orders, types; what must be refused; nothing changed then.
 * Keras' orders are checked against a network computed here in NHWC, as Keras does.
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

#include "faults.h"
#include "io/safetensors.h"

#include <soma/soma.h>

static char folder[256], path[300], map_path[300];

static int make_folder(void **state)
{
    (void)state;
    if (!faults_folder(folder))
        return -1;
    snprintf(path, sizeof path, "%s/w.safetensors", folder);
    snprintf(map_path, sizeof map_path, "%s/map.yaml", folder);
    return 0;
}

static int remove_folder(void **state)
{
    (void)state;
    faults_folder_remove(folder);
    return 0;
}

static char told[8192];

static void remember_log(void *user, soma_log_level level, const char *text)
{
    (void)user;
    (void)level;
    strncat(told, text, sizeof told - strlen(told) - 1);
    strncat(told, "\n", sizeof told - strlen(told) - 1);
}

static soma *open_context(void)
{
    told[0] = 0;
    return soma_open(
        &(soma_context_options){.struct_size = sizeof(soma_context_options), .threads = 1, .log = remember_log});
}

/* conv [3,2,2,2] and fc [4,12]: x is [N,2,3,3], the maps are 2x2. */
static soma_model *small(soma *s)
{
    soma_model *m = soma_model_new(s, "small");
    soma_value x = soma_input(m, "x", SOMA_F32, SOMA_SHAPE(2, 3, 3));
    x = soma_conv2d(x, .filters = 3, .kernel = {2, 2}, .name = "conv", .activation = "relu");
    x = soma_flatten(x);
    x = soma_dropout(x, .rate = 0.5);
    x = soma_dense(x, .units = 4, .name = "fc");
    soma_output(m, "y", x);
    return m;
}

static float noise(int i)
{
    return (float)((i * 7919 + 13) % 101 - 50) / 50.0f;
}

static float numbers[4][48];

static void fill_numbers(void)
{
    for (int i = 0; i < 4; i++)
        for (int j = 0; j < 48; j++)
            numbers[i][j] = noise(100 * i + j);
}

/* The four tensors of `small` in soma's own order under the given names. */
static void write_four(const char *conv_w, const char *conv_b, const char *fc_w, const char *fc_b)
{
    soma *s = open_context();
    fill_numbers();
    soma_to_store t[4] = {{conv_w, {SOMA_F32, SOMA_SHAPE(3, 2, 2, 2), numbers[0]}},
                          {conv_b, {SOMA_F32, SOMA_SHAPE(3), numbers[1]}},
                          {fc_w, {SOMA_F32, SOMA_SHAPE(4, 12), numbers[2]}},
                          {fc_b, {SOMA_F32, SOMA_SHAPE(4), numbers[3]}}};
    assert_int_equal(soma_safetensors_write(s, path, t, 4, NULL, 0), SOMA_OK);
    soma_close(s);
}

static const float *data_of(soma_model *m, const char *name)
{
    const float *data = soma_tensor_find(m, name).tensor.data;
    assert_non_null(data);
    return data;
}

static void names_of_torch_go_to_their_tensors(void **state)
{
    (void)state;
    write_four("conv.weight", "conv.bias", "fc.weight", "fc.bias");
    soma *s = open_context();
    soma_model *m = small(s);
    soma_weights_report report = {0};
    assert_int_equal(soma_load_weights(m, path, .report = &report), SOMA_OK);
    assert_int_equal(report.loaded, 4);
    assert_int_equal(report.n_missing + report.n_unused, 0);
    assert_memory_equal(data_of(m, "conv.weight"), numbers[0], 24 * sizeof(float));
    assert_memory_equal(data_of(m, "conv.bias"), numbers[1], 3 * sizeof(float));
    assert_memory_equal(data_of(m, "fc.weight"), numbers[2], 48 * sizeof(float));
    assert_memory_equal(data_of(m, "fc.bias"), numbers[3], 4 * sizeof(float));
    assert_string_equal(told, "");
    soma_close(s);
}

/* Writes one tensor "fc.bias" of that type from raw bytes. */
static void write_raw(const char *type, const char *name, const char *shape, const void *data, size_t size)
{
    char header[512];
    unsigned char bytes[1024];
    int n = snprintf(header, sizeof header, "{\"%s\":{\"dtype\":\"%s\",\"shape\":%s,\"data_offsets\":[0,%zu]}}", name,
                     type, shape, size);
    memset(bytes, 0, sizeof bytes);
    bytes[0] = (unsigned char)n;
    bytes[1] = (unsigned char)(n >> 8);
    memcpy(bytes + 8, header, (size_t)n);
    memcpy(bytes + 8 + n, data, size);
    assert_true(faults_write(path, bytes, 8 + (size_t)n + size));
}

static void smaller_and_larger_floats_are_converted(void **state)
{
    (void)state;
    /* 1, -2.5, 2^-24 (the least of f16), 65504 (its largest), by hand from IEEE 754 */
    const uint16_t f16[4] = {0x3c00, 0xc100, 0x0001, 0x7bff}, inf16[4] = {0x7c00, 0xfc00, 0x7e00, 0x8000};
    const uint16_t bf16[4] = {0x3f80, 0xc020, 0x0080, 0x7f80};
    const double f64[4] = {0.1, -3, 1e-300, 7};
    const float from_f16[4] = {1, -2.5f, 0x1p-24f, 65504}, from_bf16[3] = {1, -2.5f, 0x1p-126f};
    const float from_f64[4] = {0.1f, -3, 0, 7};
    soma *s = open_context();
    soma_model *m = small(s);
    write_raw("F16", "fc.bias", "[4]", f16, sizeof f16);
    assert_int_equal(soma_load_weights(m, path, .partial = true), SOMA_OK);
    assert_memory_equal(data_of(m, "fc.bias"), from_f16, sizeof from_f16);
    write_raw("F16", "fc.bias", "[4]", inf16, sizeof inf16);
    assert_int_equal(soma_load_weights(m, path, .partial = true), SOMA_OK);
    assert_true(isinf(data_of(m, "fc.bias")[0]) && data_of(m, "fc.bias")[1] < 0 && isnan(data_of(m, "fc.bias")[2]));
    assert_true(data_of(m, "fc.bias")[3] == 0 && signbit(data_of(m, "fc.bias")[3]));
    write_raw("BF16", "fc.bias", "[4]", bf16, sizeof bf16);
    assert_int_equal(soma_load_weights(m, path, .partial = true), SOMA_OK);
    assert_memory_equal(data_of(m, "fc.bias"), from_bf16, sizeof from_bf16);
    assert_true(isinf(data_of(m, "fc.bias")[3]));
    write_raw("F64", "fc.bias", "[4]", f64, sizeof f64);
    assert_int_equal(soma_load_weights(m, path, .partial = true), SOMA_OK);
    assert_memory_equal(data_of(m, "fc.bias"), from_f64, sizeof from_f64);
    write_raw("I32", "fc.bias", "[4]", from_f64, sizeof from_f64);
    assert_int_equal(soma_load_weights(m, path, .partial = true), SOMA_FORMAT);
    assert_non_null(strstr(soma_error(s), "\"fc.bias\" is I32, but \"fc.bias\" of the model can be read from F32"));
    soma_close(s);
}

static void a_scalar_is_read(void **state)
{
    (void)state;
    const float two = 2.5f;
    soma *s = open_context();
    soma_model *m = soma_model_new(s, "scaled");
    soma_value scale = soma_parameter(m, "scale", SOMA_SCALAR, .init = "ones");
    soma_output(m, "y", soma_mul(soma_input(m, "x", SOMA_F32, SOMA_SHAPE(3)), scale));
    assert_false(soma_failed(s));
    write_raw("F32", "scale", "[]", &two, sizeof two);
    assert_int_equal(soma_load_weights(m, path), SOMA_OK);
    assert_true(data_of(m, "scale")[0] == 2.5f);
    soma_close(s);
}

/* ---- Keras ---- */

static void write_keras(const soma_to_store *list, int n)
{
    soma_to_store t[8];
    soma *s = open_context();
    memcpy(t, list, (size_t)n * sizeof *t);
    assert_int_equal(soma_safetensors_write(s, path, t, n, NULL, 0), SOMA_OK);
    soma_close(s);
}

static void keras_orders_are_turned(void **state)
{
    (void)state;
    fill_numbers();
    const float *kernel = numbers[0], *bias = numbers[1], *dense = numbers[2], *dense_bias = numbers[3];
    const soma_to_store t[4] = {{"conv2d/kernel:0", {SOMA_F32, SOMA_SHAPE(2, 2, 2, 3), numbers[0]}},
                                {"conv2d/bias:0", {SOMA_F32, SOMA_SHAPE(3), numbers[1]}},
                                {"dense/kernel:0", {SOMA_F32, SOMA_SHAPE(12, 4), numbers[2]}},
                                {"dense/bias:0", {SOMA_F32, SOMA_SHAPE(4), numbers[3]}}};
    write_keras(t, 4);
    soma *s = open_context();
    soma_model *m = small(s);
    const soma_rename map[] = {{"^conv2d/", "conv/"}, {"^dense/", "fc/"}};
    assert_int_equal(soma_load_weights(m, path, .layout = "keras", .map = map, .n_map = 2), SOMA_OK);
    float x[18], y[4], image[3][3][2];
    for (int c = 0; c < 2; c++)
        for (int i = 0; i < 9; i++)
            image[i / 3][i % 3][c] = x[c * 9 + i] = noise(c * 9 + i + 400);
    soma_tensor tx = {SOMA_F32, SOMA_SHAPE(1, 2, 3, 3), x}, ty = {SOMA_F32, SOMA_SHAPE(1, 4), y};
    assert_int_equal(soma_predict(m, &tx, &ty), SOMA_OK);
    double flat[12], want;
    for (int h = 0; h < 2; h++)
        for (int w = 0; w < 2; w++)
            for (int k = 0; k < 3; k++) {
                double sum = (double)bias[k];
                for (int i = 0; i < 8; i++) /* kernel rows, columns, channels */
                    sum += (double)image[h + i / 4][w + i / 2 % 2][i % 2] * (double)kernel[i * 3 + k];
                flat[(h * 2 + w) * 3 + k] = sum > 0 ? sum : 0;
            }
    for (int k = 0; k < 4; k++) {
        want = (double)dense_bias[k];
        for (int i = 0; i < 12; i++)
            want += flat[i] * (double)dense[i * 4 + k];
        assert_true(fabs(want - (double)y[k]) < 1e-5);
    }
    soma_close(s);
}

/* y = gamma (x - mean) / sqrt(variance + 1e-3) + beta, with the names of Keras. */
static void keras_batch_norms_are_read(void **state)
{
    (void)state;
    float gamma[3] = {2, -3, 0.5f}, beta[3] = {1, 0.25f, -4}, mean[3] = {-1, 5, 0.125f}, variance[3] = {4, 0.01f, 9};
    const soma_to_store t[4] = {{"bn/gamma:0", {SOMA_F32, SOMA_SHAPE(3), gamma}},
                                {"bn/beta:0", {SOMA_F32, SOMA_SHAPE(3), beta}},
                                {"bn/moving_mean:0", {SOMA_F32, SOMA_SHAPE(3), mean}},
                                {"bn/moving_variance:0", {SOMA_F32, SOMA_SHAPE(3), variance}}};
    write_keras(t, 4);
    soma *s = open_context();
    soma_model *m = soma_model_new(s, "normal");
    soma_output(m, "y", soma_batch_norm(soma_input(m, "x", SOMA_F32, SOMA_SHAPE(3)), .dialect = "keras", .name = "bn"));
    assert_int_equal(soma_load_weights(m, path, .layout = "keras"), SOMA_OK);
    float x[3] = {3, -0.5f, 7}, y[3];
    soma_tensor tx = {SOMA_F32, SOMA_SHAPE(1, 3), x}, ty = {SOMA_F32, SOMA_SHAPE(1, 3), y};
    assert_int_equal(soma_predict(m, &tx, &ty), SOMA_OK);
    for (int i = 0; i < 3; i++) {
        double want = (double)gamma[i] * ((double)x[i] - (double)mean[i]) / sqrt((double)variance[i] + 1e-3);
        assert_true(fabs(want + (double)beta[i] - (double)y[i]) < 1e-4);
    }
    soma_close(s);
}

static void keras_depthwise_kernels_are_turned(void **state)
{
    (void)state;
    fill_numbers();
    const soma_to_store t[1] = {{"d/depthwise_kernel", {SOMA_F32, SOMA_SHAPE(2, 2, 3, 2), numbers[0]}}};
    write_keras(t, 1);
    soma *s = open_context();
    soma_model *m = soma_model_new(s, "depthwise");
    soma_value x = soma_input(m, "x", SOMA_F32, SOMA_SHAPE(3, 4, 4));
    soma_output(m, "y", soma_conv2d(x, .filters = 6, .kernel = {2, 2}, .groups = 3, .no_bias = true, .name = "d"));
    assert_int_equal(soma_load_weights(m, path, .layout = "keras"), SOMA_OK);
    const float *w = data_of(m, "d.weight");
    for (int c = 0; c < 3; c++) /* filter 2 c + k is multiplier k of channel c */
        for (int k = 0; k < 2; k++)
            for (int i = 0; i < 4; i++)
                assert_true(w[(2 * c + k) * 4 + i] == numbers[0][(i * 3 + c) * 2 + k]);
    soma_close(s);
}

/* ---- what does not fit ---- */

#define REFUSED(status, words, ...)                                                                                    \
    do {                                                                                                               \
        float before = *data_of(m, "fc.bias");                                                                         \
        assert_int_equal(soma_load_weights(m, path, __VA_ARGS__), status);                                             \
        if (!strstr(soma_error(s), words))                                                                             \
            fail_msg("\"%s\" does not say \"%s\"", soma_error(s), words);                                              \
        soma_clear(s);                                                                                                 \
        assert_true(*data_of(m, "fc.bias") == before);                                                                 \
    } while (0)

static void names_without_partner_are_listed(void **state)
{
    (void)state;
    write_four("conv.weight", "conv.bias", "fc.weight", "fc.offset");
    soma *s = open_context();
    soma_model *m = small(s);
    soma_weights_report report = {0};
    REFUSED(
        SOMA_INVALID,
        "1 of the model's tensors are not in the file (fc.bias) and 1 of the file's are not in the model (fc.offset)",
        .report = &report);
    assert_int_equal(report.n_missing, 1);
    assert_string_equal(report.missing[0], "fc.bias");
    assert_int_equal(report.n_unused, 1);
    assert_string_equal(report.unused[0], "fc.offset");
    assert_non_null(strstr(told, "not in the file: \"fc.bias\""));
    assert_non_null(strstr(told, "not in the model: \"fc.offset\""));
    told[0] = 0;
    assert_int_equal(soma_load_weights(m, path, .partial = true, .report = &report), SOMA_OK);
    assert_int_equal(report.loaded, 3);
    assert_non_null(strstr(told, "\"fc.offset\""));
    assert_true(data_of(m, "conv.bias")[2] == numbers[1][2]);
    assert_true(data_of(m, "fc.bias")[0] == 0); /* its initial value */
    write_four("a", "b", "c", "d");
    REFUSED(SOMA_INVALID, "no tensor fits", .partial = true);
    soma_close(s);
}

static void wrong_files_change_nothing(void **state)
{
    (void)state;
    soma *s = open_context();
    soma_model *m = small(s);
    write_four("conv.weight", "conv.bias", "fc.bias", "fc.weight");
    REFUSED(SOMA_FORMAT, "the tensor \"fc.bias\" is F32[4,12], but \"fc.bias\" of the model is [4]", .partial = true);
    write_four("conv.weight", "conv.bias", "fc.weight", "fc/bias");
    REFUSED(SOMA_FORMAT, "is F32[3,2,2,2], but \"conv.weight\" of the model is [3,2,2,2], in Keras' order [2,2,2,3]",
            .layout = "keras");
    const soma_rename empty[] = {{"^", "x"}};
    REFUSED(SOMA_INVALID, "rule 1 of the map replaces nothing", .map = empty, .n_map = 1);
    REFUSED(SOMA_INVALID, "layout cannot be \"tensorflow\"; known are torch and keras", .layout = "tensorflow");
    const soma_rename bomb[] = {
        {"c", "cccccccccccccccc"}, {"c", "cccccccccccccccc"}, {"c", "cccccccccccccccc"}, {"c", "cccccccccccccccc"}};
    REFUSED(SOMA_INVALID, "makes a name longer than", .map = bomb, .n_map = 4);
    assert_true(faults_write(path, "no tensors here", 15));
    REFUSED(SOMA_FORMAT, "is this a safetensors file?", .partial = true);
    soma_close(s);
}

static void two_names_for_one_tensor_are_refused(void **state)
{
    (void)state;
    soma *s = open_context();
    soma_model *m = small(s);
    fill_numbers();
    const soma_to_store t[2] = {{"fc.bias", {SOMA_F32, SOMA_SHAPE(4), numbers[0]}},
                                {"old.bias", {SOMA_F32, SOMA_SHAPE(4), numbers[1]}}};
    write_keras(t, 2);
    const soma_rename map[] = {{"old.", "fc."}};
    REFUSED(SOMA_FORMAT, "\"fc.bias\" and \"old.bias\" both become \"fc.bias\"", .map = map, .n_map = 1,
            .partial = true);
    soma_close(s);
}

static void maps_are_read_from_yaml(void **state)
{
    (void)state;
    soma *s = open_context();
    soma_model *m = small(s);
    write_four("module.features/0.weight", "module.features/0.bias", "module.head.weight", "module.head.bias");
    const char rules[] = "# ours\n^module.: \"\"\nfeatures/0: conv\nhead: fc\n";
    assert_true(faults_write(map_path, rules, sizeof rules - 1));
    if (soma_load_weights(m, path, .map_file = map_path) == SOMA_UNSUPPORTED) {
        soma_close(s);
        skip();
    }
    assert_string_equal(soma_error(s), "");
    assert_true(data_of(m, "fc.bias")[1] == numbers[3][1]);
    const char list[] = "- a\n- b\n", deep[] = "a: {b: c}\n", broken[] = "a: \"b\n";
    assert_true(faults_write(map_path, list, sizeof list - 1));
    REFUSED(SOMA_INVALID, "map.yaml:1: a map of names is a flat mapping", .map_file = map_path);
    assert_true(faults_write(map_path, deep, sizeof deep - 1));
    REFUSED(SOMA_INVALID, "map.yaml:1: a map of names is a flat mapping", .map_file = map_path);
    assert_true(faults_write(map_path, broken, sizeof broken - 1));
    REFUSED(SOMA_FORMAT, "this is not YAML", .map_file = map_path);
    soma_close(s);
}

/* ---- heads ---- */

static void a_new_head_keeps_its_initial_values(void **state)
{
    (void)state;
    write_four("conv.weight", "conv.bias", "fc.weight", "fc.bias");
    soma *s = open_context();
    soma_model *m = soma_model_new(s, "seven");
    soma_value x = soma_input(m, "x", SOMA_F32, SOMA_SHAPE(2, 3, 3));
    x = soma_conv2d(x, .filters = 3, .kernel = {2, 2}, .name = "conv");
    x = soma_dense(soma_flatten(x), .units = 7, .name = "fc", .bias_init = "ones", .activation = "softmax");
    soma_output(m, "y", x);
    REFUSED(SOMA_FORMAT, "the tensor \"fc.", .partial = true);
    assert_int_equal(soma_load_weights(m, path, .new_head = true), SOMA_OK);
    assert_true(data_of(m, "fc.bias")[6] == 1);
    assert_memory_equal(data_of(m, "conv.weight"), numbers[0], 24 * sizeof(float));
    soma_close(s);
}

static void a_head_is_replaced(void **state)
{
    (void)state;
    soma *s = open_context();
    soma_model *m = soma_model_new(s, "tail");
    soma_value x = soma_input(m, "x", SOMA_F32, SOMA_SHAPE(2, 3, 3));
    x = soma_conv2d(x, .filters = 3, .kernel = {2, 2}, .name = "conv");
    x = soma_conv2d(x, .filters = 5, .kernel = {2, 2}, .name = "head", .activation = "relu");
    soma_output(m, "y", soma_flatten(x)); /* its shape names the classes too */
    soma_model_set_transform(m, (soma_transform){.scale = 3});
    float *w = soma_tensor_find(m, "conv.weight").tensor.data;
    w[3] = 42;
    soma_model *two = soma_replace_head(m, 2);
    assert_string_equal(soma_error(s), "");
    assert_int_equal(soma_value_type(soma_model_output(two, 0)).shape.dim[1], 2);
    assert_int_equal(soma_tensor_find(two, "head.weight").tensor.shape.dim[0], 2);
    assert_true(data_of(two, "conv.weight")[3] == 42);
    assert_true(soma_model_transform(two).scale == 3);
    soma_model_free(m); /* nothing is shared */
    float image[18] = {1, 2}, y[2];
    soma_tensor tx = {SOMA_F32, SOMA_SHAPE(1, 2, 3, 3), image}, ty = {SOMA_F32, SOMA_SHAPE(1, 2), y};
    assert_int_equal(soma_predict(two, &tx, &ty), SOMA_OK);
    assert_int_equal(soma_save(two, path), SOMA_OK);
    assert_null(soma_replace_head(two, 0));
    assert_non_null(strstr(soma_error(s), "classes is 0"));
    soma_clear(s);
    soma_model *bare = soma_model_new(s, "bare");
    soma_output(bare, "y", soma_relu(soma_input(bare, "x", SOMA_F32, SOMA_SHAPE(3))));
    assert_null(soma_replace_head(bare, 3));
    assert_non_null(strstr(soma_error(s), "ends in no layer with tensors"));
    soma_close(s);
}

/* ---- a published file ---- */

/* SqueezeNet's authors' names become ours; $SOMA_WEIGHTS or beside the tree (its check: photos, in
 * bench/bars/limit-07). */
static void squeezenet_loads_from_its_authors_release(void **state)
{
    (void)state;
    const char *file = getenv("SOMA_WEIGHTS");
    file = file ? file : SOMA_SOURCE_DIR "/../shared/data/squeezenet1_0-imagenet.safetensors";
    size_t size;
    char *bytes = faults_read(file, &size);
    if (!bytes) {
        print_message("skipped: %s is not there\n", file);
        skip();
    }
    free(bytes);
    soma *s = open_context();
    const soma_rename *names = soma_zoo_find("squeezenet1_0")->names;
    int n = 0;
    while (names[n].from)
        n++;
    soma_model *m = soma_zoo(s, "squeezenet1_0", .input = SOMA_SHAPE(3, 227, 227));
    soma_weights_report report = {0};
    if (soma_load_weights(m, file, .map = names, .n_map = n, .report = &report) != SOMA_OK)
        fail_msg("%s", soma_error(s));
    assert_int_equal(report.loaded, 52);
    m = soma_zoo(s, "squeezenet1_0", .classes = 5, .input = SOMA_SHAPE(3, 64, 64));
    assert_int_equal(soma_load_weights(m, file, .map = names, .n_map = n), SOMA_FORMAT);
    assert_non_null(strstr(soma_error(s), "load with a new head"));
    soma_clear(s);
    assert_int_equal(soma_load_weights(m, file, .map = names, .n_map = n, .new_head = true, .report = &report),
                     SOMA_OK);
    assert_int_equal(report.loaded, 50);
    soma_close(s);
}

/* ---- faults ---- */

static void no_allocation_is_taken_for_granted(void **state)
{
    (void)state;
    write_four("module.conv.weight", "module.conv.bias", "module.fc.weight", "extra");
    const soma_rename map[] = {{"^module.", ""}};
    for (uint64_t k = 1;; k++) {
        faults_memory memory = {0};
        soma *s = soma_open(&(soma_context_options){
            .struct_size = sizeof(soma_context_options), .threads = 1, .allocator = faults_allocator(&memory)});
        soma_model *m = small(s);
        float *bias = soma_tensor_find(m, "conv.bias").tensor.data;
        bias[0] = 42;
        memory.fail_at = memory.calls + k;
        soma_status status = soma_load_weights(m, path, .map = map, .n_map = 1, .partial = true);
        soma_model *copy = status == SOMA_OK ? soma_replace_head(m, 2) : NULL;
        if (memory.failed && status == SOMA_OK && copy)
            fail_msg("allocation %llu failed, but nothing was told", (unsigned long long)k);
        if (memory.failed && status != SOMA_OK)
            assert_true(bias[0] == 42 && soma_failed(s));
        bool failed = memory.failed;
        soma_close(s);
        assert_int_equal(memory.blocks, 0);
        assert_int_equal(memory.mistakes, 0);
        if (!failed) {
            assert_true(k > 10);
            break;
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_of_torch_go_to_their_tensors),
        cmocka_unit_test(smaller_and_larger_floats_are_converted),
        cmocka_unit_test(a_scalar_is_read),
        cmocka_unit_test(keras_orders_are_turned),
        cmocka_unit_test(keras_batch_norms_are_read),
        cmocka_unit_test(keras_depthwise_kernels_are_turned),
        cmocka_unit_test(names_without_partner_are_listed),
        cmocka_unit_test(wrong_files_change_nothing),
        cmocka_unit_test(two_names_for_one_tensor_are_refused),
        cmocka_unit_test(maps_are_read_from_yaml),
        cmocka_unit_test(a_new_head_keeps_its_initial_values),
        cmocka_unit_test(a_head_is_replaced),
        cmocka_unit_test(squeezenet_loads_from_its_authors_release),
        cmocka_unit_test(no_allocation_is_taken_for_granted),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
