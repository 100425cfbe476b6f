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
#include <string.h>

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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(spellings),
        cmocka_unit_test(parameters_are_as_published),
        cmocka_unit_test(classes_and_input_can_be_chosen),
        cmocka_unit_test(every_classifier_learns_eight_images),
        cmocka_unit_test(the_neuron_finds_the_line),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
