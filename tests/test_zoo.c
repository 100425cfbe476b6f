/* SPDX-License-Identifier: Apache-2.0
 *
 * The zoo: parameter counts as published, and every architecture learns eight images by heart.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <soma/soma.h>
#include <stdio.h>
#include <string.h>

#include "faults.h"

static soma *open_seeded(uint64_t seed)
{
    soma_context_options o = {.struct_size = sizeof o, .seed = seed, .threads = 1};
    return soma_open(&o);
}

static int64_t count_parameters(soma_model *m)
{
    int64_t n = 0;
    for (int i = 0; i < soma_model_nodes(m); i++)
        n += soma_model_node_at(m, i).trainable;
    return n;
}

/* Counted by hand from the papers' and tutorials' layers. */
static void parameters_are_as_published(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        int64_t parameters;
    } table[] = {{"neuron", 2},
                 {"mlp", 669706},
                 {"lenet5", 61706},
                 {"net", 62006},
                 {"keras-vgg", 7998250},
                 {"fashion-cnn", 421642},
                 {"alexnet", 61100840},
                 {"alexnet-paper", 60965224},
                 {"vgg11", 132863336},
                 {"vgg13", 133047848},
                 {"vgg16", 138357544},
                 {"vgg19", 143667240},
                 {"vgg11-bn", 132868840},
                 {"vgg13-bn", 133053736},
                 {"vgg16-bn", 138365992},
                 {"vgg19-bn", 143678248},
                 {"resnet20", 269722},
                 {"resnet18", 11689512},
                 {"resnet34", 21797672},
                 {"resnet50", 25557032},
                 {"resnet101", 44549160},
                 {"resnet152", 60192808},
                 {"squeezenet1_0", 1248424},
                 {"mobilenetv2", 3504872},
                 {"densenet121", 7978856},
                 {"densenet161", 28681000},
                 {"densenet169", 14149480},
                 {"densenet201", 20013928}};
    int n = (int)(sizeof table / sizeof table[0]);
    assert_null(soma_zoo_at(n));
    assert_null(soma_zoo_at(-1));
    for (int i = 0; i < n; i++) {
        const soma_zoo_entry *entry = soma_zoo_find(table[i].name);
        assert_ptr_equal(entry, soma_zoo_at(i));
        soma *s = open_seeded(1);
        soma_model *m = soma_zoo(s, table[i].name);
        if (!m)
            fail_msg("%s: %s", table[i].name, soma_error(s));
        assert_int_equal(count_parameters(m), table[i].parameters);
        assert_int_equal(entry->parameters, table[i].parameters);
        soma_type y = soma_value_type(soma_model_output(m, 0));
        assert_int_equal(y.shape.rank, 2);
        assert_int_equal(y.shape.dim[1], entry->classes);
        assert_true(entry->batch_size >= 1 && entry->epochs >= 1 && entry->doc[0]);
        assert_non_null(entry->optimizer().name);
        soma_close(s);
    }
}

static void classes_and_input_can_be_chosen(void **state)
{
    (void)state;
    soma *s = open_seeded(1);
    soma_model *m = soma_zoo(s, "lenet5", .classes = 47, .input = SOMA_SHAPE(3, 32, 32));
    soma_type y = soma_value_type(soma_model_output(m, 0));
    assert_int_equal(y.shape.dim[1], 47);
    assert_int_equal(soma_tensor_find(m, "conv1.weight").tensor.shape.dim[1], 3);
    assert_null(soma_zoo(s, "lenet"));
    assert_non_null(strstr(soma_error(s), "did you mean \"lenet5\"?"));
    soma_clear(s);
    assert_null(soma_zoo(s, "transformer-xxl"));
    assert_non_null(strstr(soma_error(s), "such as lenet5"));
    soma_clear(s);
    assert_null(soma_zoo(s, "mlp", .classes = -3));
    assert_non_null(strstr(soma_error(s), "classes is -3"));
    soma_clear(s);
    assert_null(soma_zoo(s, "net", .input = SOMA_SHAPE(3, 8, 8))); /* too small for its convolutions */
    assert_true(soma_failed(s));
    soma_close(s);
}

/* Eight different images; noise is a linear congruential sequence. */
static void images(float *x, size_t n)
{
    uint32_t state = 12345;
    for (size_t i = 0; i < n; i++) {
        state = state * 1664525u + 1013904223u;
        x[i] = (float)(state >> 8) / (float)(1 << 24) - 0.5f;
    }
}

static void every_classifier_learns_eight_images(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        int64_t c, h, w;
        double lr, width;
    } cases[] = {{"mlp", 1, 8, 8, 0.01, 1},
                 {"lenet5", 1, 16, 16, 0.01, 1},
                 {"net", 3, 20, 20, 0.01, 1},
                 {"keras-vgg", 3, 16, 16, 0.003, 1},
                 {"fashion-cnn", 1, 8, 8, 0.01, 1},
                 {"alexnet", 3, 63, 63, 0.003, 0.125},
                 {"alexnet-paper", 3, 64, 64, 0.003, 0.125},
                 {"vgg11", 3, 32, 32, 0.001, 0.125},
                 {"vgg13", 3, 32, 32, 0.001, 0.125},
                 {"vgg16", 3, 32, 32, 0.001, 0.125},
                 {"vgg19", 3, 32, 32, 0.001, 0.125},
                 {"vgg11-bn", 3, 32, 32, 0.001, 0.125},
                 {"vgg13-bn", 3, 32, 32, 0.001, 0.125},
                 {"vgg16-bn", 3, 32, 32, 0.001, 0.125},
                 {"vgg19-bn", 3, 32, 32, 0.001, 0.125},
                 {"resnet20", 3, 16, 16, 0.01, 0.5},
                 {"resnet18", 3, 32, 32, 0.003, 0.125},
                 {"resnet34", 3, 32, 32, 0.003, 0.125},
                 {"resnet50", 3, 32, 32, 0.003, 0.125},
                 {"resnet101", 3, 32, 32, 0.001, 0.125},
                 {"resnet152", 3, 32, 32, 0.001, 0.125},
                 {"squeezenet1_0", 3, 48, 48, 0.0003, 0.5},
                 {"mobilenetv2", 3, 32, 32, 0.003, 0.125},
                 {"densenet121", 3, 32, 32, 0.003, 0.25}};
    static float x[8 * 3 * 64 * 64];
    static int32_t labels[8] = {0, 1, 2, 3, 3, 2, 1, 0};
    images(x, sizeof x / sizeof x[0]);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        soma *s = open_seeded(11);
        soma_model *m = soma_zoo(s, cases[i].name, .classes = 4, .width = cases[i].width, .no_dropout = true,
                                 .input = SOMA_SHAPE(cases[i].c, cases[i].h, cases[i].w));
        soma_tensor tx = {SOMA_F32, SOMA_SHAPE(8, cases[i].c, cases[i].h, cases[i].w), x};
        soma_tensor ty = {SOMA_I32, SOMA_SHAPE(8), labels};
        soma_dataset *d = soma_dataset_arrays(s, .x = tx, .y = ty);
        soma_evaluation before = {0};
        assert_int_equal(soma_evaluate(m, d, .result = &before), SOMA_OK);
        bool guesses = cases[i].width == 1; /* deep ones do not before batch norm has seen anything */
        if (!(guesses ? fabs(before.loss - log(4)) < 2 : isfinite(before.loss)))
            fail_msg("%s begins with loss %g", cases[i].name, before.loss);
        soma_progress after = {.loss = HUGE_VAL};
        for (int round = 0; round < 4 && !(after.loss < 0.1 && after.accuracy == 1); round++)
            assert_int_equal(soma_fit(m, d, .batch_size = 8, .epochs = 60 << round,
                                      .optimizer = soma_adam(.peak_lr = cases[i].lr), .result = &after),
                             SOMA_OK);
        if (!(after.loss < 0.1 && after.accuracy == 1))
            fail_msg("%s: loss %g, accuracy %g", cases[i].name, after.loss, after.accuracy);
        assert_string_equal(soma_error(s), "");
        soma_close(s);
    }
}

static void the_neuron_finds_the_line(void **state)
{
    (void)state;
    float x[40], y[40];
    for (int i = 0; i < 40; i++) {
        x[i] = (float)i / 10 - 2;
        y[i] = 3 * x[i] - 1;
    }
    soma *s = open_seeded(2);
    soma_model *m = soma_zoo(s, "neuron");
    soma_dataset *d = soma_dataset_arrays(s, .x = {SOMA_F32, SOMA_SHAPE(40, 1), x},
                                          .y = {SOMA_F32, SOMA_SHAPE(40, 1), y});
    const soma_zoo_entry *entry = soma_zoo_find("neuron");
    assert_true(entry->regression);
    assert_int_equal(soma_fit(m, d, .optimizer = entry->optimizer(), .batch_size = entry->batch_size, .epochs = 40),
                     SOMA_OK);
    assert_true(fabs(*(float *)soma_tensor_find(m, "neuron.weight").tensor.data - 3) < 1e-3);
    assert_true(fabs(*(float *)soma_tensor_find(m, "neuron.bias").tensor.data + 1) < 1e-3);
    soma_close(s);
}

/* torchvision's spelling of everything that both have, and other people's of the rest. */
static void spellings(void **state)
{
    (void)state;
    static const char *const names[][2] = {{"mobilenet_v2", "mobilenetv2"},
                                           {"MobileNetV2", "mobilenetv2"},
                                           {"vgg11_bn", "vgg11-bn"},
                                           {"vgg13_bn", "vgg13-bn"},
                                           {"vgg16_bn", "vgg16-bn"},
                                           {"vgg19_bn", "vgg19-bn"},
                                           {"vgg11", "vgg11"},
                                           {"vgg13", "vgg13"},
                                           {"vgg16", "vgg16"},
                                           {"vgg19", "vgg19"},
                                           {"alexnet", "alexnet"},
                                           {"resnet18", "resnet18"},
                                           {"resnet34", "resnet34"},
                                           {"resnet50", "resnet50"},
                                           {"resnet101", "resnet101"},
                                           {"resnet152", "resnet152"},
                                           {"squeezenet1_0", "squeezenet1_0"},
                                           {"densenet121", "densenet121"},
                                           {"densenet161", "densenet161"},
                                           {"densenet169", "densenet169"},
                                           {"densenet201", "densenet201"},
                                           {"LeNet-5", "lenet5"},
                                           {"fashion_cnn", "fashion-cnn"}};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        const soma_zoo_entry *entry = soma_zoo_find(names[i][0]);
        assert_non_null(entry);
        assert_string_equal(entry->name, names[i][1]);
    }
    assert_null(soma_zoo_find("mobilenet_v3"));
    assert_null(soma_zoo_find(""));
    assert_null(soma_zoo_find("-_"));
    assert_null(soma_zoo_find(NULL));
    for (int i = 0; soma_zoo_at(i); i++) /* no two of the zoo's own are one name */
        assert_ptr_equal(soma_zoo_find(soma_zoo_at(i)->name), soma_zoo_at(i));
    soma *s = soma_open(NULL);
    assert_null(soma_zoo(s, "mobilenet_v3"));
    assert_non_null(strstr(soma_error(s), "did you mean \"mobilenetv2\"?"));
    soma_close(s);
}

/* ---- two networks with the same tensors ---- */

typedef struct said {
    char text[2048];
    int times;
} said;

static void keep_note(void *user, soma_log_level level, const char *text)
{
    said *note = user;
    if (level != SOMA_LOG_INFO)
        return;
    snprintf(note->text, sizeof note->text, "%s", text);
    note->times++;
}

/* The entry at a small size where its two networks differ, as its first or second choice. */
static soma_model *small_reading(soma *s, const soma_zoo_entry *e, int choice)
{
    const soma_zoo_reading *r = e->reading;
    soma_zoo_options o = {.struct_size = sizeof o,
                          .name = e->name,
                          .classes = 10,
                          .width = 0.125,
                          .no_dropout = true,
                          .input = SOMA_SHAPE(3, 64, 64)};
    *(!strcmp(r->option, "shortcut")  ? &o.shortcut
      : !strcmp(r->option, "stride")  ? &o.stride
      : !strcmp(r->option, "pooling") ? &o.pooling
                                      : &o.dialect) = r->choices[choice];
    return soma_zoo_with(s, &o);
}

static void answer(soma_model *m, const float *x, float y[20])
{
    assert_int_equal(soma_predict(m, &(soma_tensor){SOMA_F32, SOMA_SHAPE(2, 3, 64, 64), (void *)(uintptr_t)x},
                                  &(soma_tensor){SOMA_F32, SOMA_SHAPE(2, 10), y}),
                     SOMA_OK);
}

static void weights_that_fit_two_networks_say_which_was_filled(void **state)
{
    (void)state;
    static float x[2 * 3 * 64 * 64];
    images(x, sizeof x / sizeof x[0]);
    char folder[256], weights[300], saved[300];
    assert_true(faults_folder(folder));
    snprintf(weights, sizeof weights, "%s/weights.safetensors", folder);
    snprintf(saved, sizeof saved, "%s/saved.safetensors", folder);
    int readings = 0;
    for (int k = 0; soma_zoo_at(k); k++) {
        const soma_zoo_entry *e = soma_zoo_at(k);
        const soma_zoo_reading *r = e->reading;
        if (!r)
            continue;
        readings++;
        said note = {.times = 0};
        soma_context_options o = {
            .struct_size = sizeof o, .seed = 7, .threads = 1, .log = keep_note, .log_user = &note};
        soma *s = soma_open(&o);
        soma_model *first = small_reading(s, e, 0), *second = small_reading(s, e, 1);
        soma_model *unsaid = soma_zoo(s, e->name, .classes = 10, .width = 0.125, .no_dropout = true,
                                      .input = SOMA_SHAPE(3, 64, 64));
        assert_int_equal(soma_save(first, weights), SOMA_OK);
        assert_int_equal(note.times, 0);
        for (int c = 0; c < 2; c++) {
            char part[64];
            assert_int_equal(soma_load_weights(c ? second : unsaid, weights), SOMA_OK);
            assert_int_equal(note.times, c + 1);
            snprintf(part, sizeof part, "taken is %s %s: ", r->option, r->choices[c]);
            assert_non_null(strstr(note.text, part));
            snprintf(part, sizeof part, "the other is %s: ", r->choices[!c]);
            assert_non_null(strstr(note.text, part));
        }
        float y[4][20];
        answer(first, x, y[0]);
        answer(unsaid, x, y[1]);
        answer(second, x, y[2]);
        assert_memory_equal(y[0], y[1], sizeof y[0]); /* the first choice is the default */
        double difference = 0;
        for (int i = 0; i < 20; i++)
            difference = fmax(difference, fabs((double)(y[0][i] - y[2][i])));
        if (!(difference > 0))
            fail_msg("%s: both readings give the same", e->name);
        /* a saved model keeps what it is */
        assert_int_equal(soma_save(second, saved), SOMA_OK);
        answer(soma_load(s, saved), x, y[3]);
        assert_memory_equal(y[2], y[3], sizeof y[2]);
        assert_int_equal(note.times, 2);
        assert_string_equal(soma_error(s), "");
        soma_close(s);
    }
    assert_int_equal(readings, 7);
    faults_folder_remove(folder);
}

/* As they come from DataParallel, which puts everything below "module". */
static void names_of_published_cifar_weights_are_known(void **state)
{
    (void)state;
    static float x[3 * 32 * 32];
    images(x, sizeof x / sizeof x[0]);
    const soma_zoo_entry *e = soma_zoo_find("resnet20");
    char folder[256], weights[300];
    assert_true(faults_folder(folder));
    snprintf(weights, sizeof weights, "%s/weights.safetensors", folder);
    float y[2][10];
    for (int k = 0; k < 2; k++) {
        soma *s = open_seeded(5 + (uint64_t)k);
        soma_model *m = k ? soma_zoo(s, "resnet20") : soma_model_new(s, "published");
        if (!k) {
            soma_value in = soma_input(m, "x", SOMA_F32, SOMA_SHAPE(3, 32, 32));
            soma_scope_push(m, "module");
            soma_output(m, "y", e->build(m, in, (soma_zoo_size){.classes = 10, .width = 1}));
            soma_scope_pop(m);
            assert_true(soma_tensor_find(m, "module.layer3.2.bn2.weight").tensor.data != NULL);
            assert_int_equal(soma_save(m, weights), SOMA_OK);
        } else {
            assert_int_equal(soma_load_weights(m, weights, .map = e->names, .n_map = 2), SOMA_OK);
        }
        assert_int_equal(soma_predict(m, &(soma_tensor){SOMA_F32, SOMA_SHAPE(1, 3, 32, 32), x},
                                      &(soma_tensor){SOMA_F32, SOMA_SHAPE(1, 10), y[k]}),
                         SOMA_OK);
        soma_close(s);
    }
    assert_memory_equal(y[0], y[1], sizeof y[0]);
    faults_folder_remove(folder);
}

static void a_choice_that_an_architecture_does_not_have(void **state)
{
    (void)state;
    soma *s = open_seeded(1);
    assert_null(soma_zoo(s, "resnet20", .shortcut = "front"));
    assert_non_null(
        strstr(soma_error(s), "resnet20: shortcut is \"front\"; it takes centred (new channels on both sides"));
    soma_clear(s);
    assert_null(soma_zoo(s, "resnet20", .stride = "1x1"));
    assert_non_null(strstr(soma_error(s), "resnet20 has no option \"stride\"; its option is \"shortcut\""));
    soma_clear(s);
    assert_null(soma_zoo(s, "lenet5", .dialect = "keras"));
    assert_non_null(strstr(soma_error(s), "lenet5 has no option \"dialect\""));
    soma_close(s);
}

/* ResNet-20 whose residual branches are zero and whose dense layer is the identity answers with the means of what its
 * two shortcuts leave of the first convolution: channel c of 16 at every fourth pixel. That is computed here from
 * scratch, in f64. */
static void new_channels_of_shortcuts_stand_where_they_should(void **state)
{
    (void)state;
    static float x[3 * 32 * 32];
    images(x, sizeof x / sizeof x[0]);
    for (int behind = 0; behind < 2; behind++) {
        soma *s = open_seeded(3);
        soma_model *m = soma_zoo(s, "resnet20", .classes = 64, .shortcut = behind ? "behind" : "centred");
        for (int stage = 1; stage <= 3; stage++)
            for (int block = 0; block < 3; block++) {
                char name[64];
                snprintf(name, sizeof name, "layer%d.%d.bn2.weight", stage, block);
                soma_tensor t = soma_tensor_find(m, name).tensor;
                memset(t.data, 0, (size_t)soma_shape_elements(&t.shape) * sizeof(float));
            }
        float *fc = soma_tensor_find(m, "fc.weight").tensor.data;
        for (int i = 0; i < 64 * 64; i++)
            fc[i] = i / 64 == i % 64;
        soma_touch(m);
        float y[64];
        assert_int_equal(soma_predict(m, &(soma_tensor){SOMA_F32, SOMA_SHAPE(1, 3, 32, 32), x},
                                      &(soma_tensor){SOMA_F32, SOMA_SHAPE(1, 64), y}),
                         SOMA_OK);
        const float *w = soma_tensor_find(m, "conv1.weight").tensor.data;
        double wanted[64] = {0};
        for (int c = 0; c < 16; c++)
            for (int p = 0; p < 64; p++) {
                double sum = 0;
                for (int k = 0; k < 27; k++) {
                    int row = p / 8 * 4 + k % 9 / 3 - 1, column = p % 8 * 4 + k % 3 - 1;
                    if (row >= 0 && row < 32 && column >= 0 && column < 32)
                        sum += (double)w[c * 27 + k] * (double)x[k / 9 * 1024 + row * 32 + column];
                }
                wanted[behind ? c : c + 24] += fmax(sum / sqrt(1 + 1e-5), 0) /
                                               64; /* fresh running statistics: 0 and 1 */
            }
        for (int c = 0; c < 64; c++)
            if (!(fabs((double)y[c] - wanted[c]) < 1e-5))
                fail_msg("%s: channel %d is %g instead of %g", behind ? "behind" : "centred", c, (double)y[c],
                         wanted[c]);
        assert_string_equal(soma_error(s), "");
        soma_close(s);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(spellings),
        cmocka_unit_test(parameters_are_as_published),
        cmocka_unit_test(classes_and_input_can_be_chosen),
        cmocka_unit_test(every_classifier_learns_eight_images),
        cmocka_unit_test(the_neuron_finds_the_line),
        cmocka_unit_test(weights_that_fit_two_networks_say_which_was_filled),
        cmocka_unit_test(names_of_published_cifar_weights_are_known),
        cmocka_unit_test(a_choice_that_an_architecture_does_not_have),
        cmocka_unit_test(new_channels_of_shortcuts_stand_where_they_should),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
