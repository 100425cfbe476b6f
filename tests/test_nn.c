/* SPDX-License-Identifier: Apache-2.0
 *
 * Layers, initialisers, activations and losses by name, optimizers.
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
    soma *s = soma_open(&o);
    assert_non_null(s);
    return s;
}

static void expect_shape(soma_value x, soma_shape shape)
{
    soma_type type = soma_value_type(x);
    assert_int_equal(type.shape.rank, shape.rank);
    for (int i = 0; i < shape.rank; i++)
        assert_int_equal(type.shape.dim[i], shape.dim[i]);
}

/* The sentence holds all these pieces (NULL-terminated). */
static void expect_error(soma *s, const char *const *pieces)
{
    assert_true(soma_failed(s));
    for (int i = 0; pieces[i]; i++)
        if (!strstr(soma_error(s), pieces[i]))
            fail_msg("\"%s\" is not in: %s", pieces[i], soma_error(s));
    soma_clear(s);
}
#define EXPECT_ERROR(s, ...) expect_error(s, (const char *const[]){__VA_ARGS__, NULL})

/* ---- layers ---- */

static void layers_name_their_parameters(void **state)
{
    (void)state;
    soma *s = open_seeded(1);
    soma_model *m = soma_model_new(s, "names");
    soma_value x = soma_input(m, "x", SOMA_F32, SOMA_SHAPE(3, 8, 8));
    x = soma_conv2d(x, .filters = 4, .kernel = {3, 3}, .activation = "relu");
    expect_shape(x, SOMA_SHAPE(SOMA_N, 4, 6, 6));
    soma_scope_push(m, "layer1");
    x = soma_conv2d(x, .filters = 6, .kernel = {1, 1}, .no_bias = true);
    x = soma_conv2d(x, .filters = 6, .kernel = {1, 1}, .name = "shortcut");
    soma_scope_pop(m);
    x = soma_flatten(x);
    x = soma_dense(x, .units = 5, .name = "fc1", .activation = "tanh");
    x = soma_dense(x, .units = 2);
    expect_shape(x, SOMA_SHAPE(SOMA_N, 2));
    static const char *const names[] = {"conv1.weight",
                                        "conv1.bias",
                                        "layer1.conv1.weight",
                                        "layer1.shortcut.weight",
                                        "layer1.shortcut.bias",
                                        "fc1.weight",
                                        "fc1.bias",
                                        "dense1.weight",
                                        "dense1.bias"};
    assert_int_equal(soma_tensor_count(m), 9);
    for (int i = 0; i < 9; i++)
        assert_string_equal(soma_tensor_at(m, i).name, names[i]);
    soma_shape shape = soma_tensor_find(m, "fc1.weight").tensor.shape;
    assert_int_equal(shape.dim[0], 5);
    assert_int_equal(shape.dim[1], 6 * 6 * 6);
    assert_string_equal(soma_error(s), "");
    soma_close(s);
}

/* TensorFlow's table: size, kernel, stride -> ceil(size / stride). */
static void same_padding_keeps_ceil_of_size_by_stride(void **state)
{
    (void)state;
    soma *s = open_seeded(1);
    static const int64_t table[][3] = {{28, 3, 1}, {28, 2, 1}, {28, 5, 2}, {7, 3, 2},
                                       {8, 3, 2},  {9, 4, 3},  {5, 1, 4},  {3, 7, 1}};
    soma_model *m = soma_model_new(s, "same");
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        char name[8] = {'x', (char)('0' + i), 0};
        const int64_t *t = table[i];
        soma_value x = soma_input(m, name, SOMA_F32, SOMA_SHAPE(1, t[0], t[0]));
        x = soma_conv2d(x, .filters = 1, .kernel = {t[1], t[1]}, .stride = {t[2], t[2]}, .same = true);
        int64_t out = (t[0] + t[2] - 1) / t[2];
        expect_shape(x, SOMA_SHAPE(SOMA_N, 1, out, out));
    }
    soma_close(s);
}

/* An even kernel pads one more at the bottom and right: with ones, the last output sees fewer pixels than the first. */
static void same_padding_puts_the_odd_row_last(void **state)
{
    (void)state;
    soma *s = open_seeded(1);
    soma_model *m = soma_model_new(s, "odd");
    soma_value x = soma_input(m, "x", SOMA_F32, SOMA_SHAPE(1, 3, 3));
    soma_value y = soma_conv2d(x, .filters = 1, .kernel = {2, 2}, .same = true, .init = "ones");
    soma_output(m, "y", y);
    float in[9] = {1, 2, 3, 4, 5, 6, 7, 8, 9}, out[9];
    soma_tensor tx = {SOMA_F32, SOMA_SHAPE(1, 1, 3, 3), in}, ty = {SOMA_F32, SOMA_SHAPE(1, 1, 3, 3), out};
    assert_int_equal(soma_predict(m, &tx, &ty), SOMA_OK);
    const float expected[9] = {12, 16, 9, 24, 28, 15, 15, 17, 9};
    assert_memory_equal(out, expected, sizeof out);
    soma_close(s);
}

static void dense_multiplies_and_adds(void **state)
{
    (void)state;
    soma *s = open_seeded(1);
    soma_model *m = soma_model_new(s, "neuron");
    soma_value x = soma_input(m, "x", SOMA_F32, SOMA_SHAPE(1));
    soma_output(m, "y",
                soma_dense(x, .units = 1, .init = "constant", .init_a = 3, .bias_init = "constant", .bias_a = -1));
    float in = 2, out = 0;
    soma_tensor tx = {SOMA_F32, SOMA_SHAPE(1, 1), &in}, ty = {SOMA_F32, SOMA_SHAPE(1, 1), &out};
    assert_int_equal(soma_predict(m, &tx, &ty), SOMA_OK);
    assert_true(out == 5); /* -1 + 3 * 2 */
    soma_close(s);
}

static void wrong_layers_are_explained(void **state)
{
    (void)state;
    soma *s = open_seeded(1);
#define WRONG(make, ...)                                                                                               \
    do {                                                                                                               \
        soma_model *m = soma_model_new(s, "wrong");                                                                    \
        soma_value x = soma_input(m, "x", SOMA_F32, SOMA_SHAPE(3, 8, 8)), f = soma_flatten(x);                         \
        soma_value y = make;                                                                                           \
        (void)f;                                                                                                       \
        assert_false(soma_ok(y));                                                                                      \
        assert_false(soma_ok(soma_relu(y)));                                                                           \
        EXPECT_ERROR(s, "test_nn.c:", __VA_ARGS__);                                                                    \
        soma_model_free(m);                                                                                            \
    } while (0)
    WRONG(soma_dense(x, .units = 4), "dense \"dense1\"", "f32[N,3,8,8]", "soma_flatten(x)");
    WRONG(soma_dense(f, .name = "fc"), "dense \"fc\"", "units is missing; say how many outputs it has, .units = 10");
    WRONG(soma_dense(f, .units = 4, .activation = "rleu"), "dense \"dense1\"", "did you mean \"relu\"?");
    WRONG(soma_dense(f, .units = 4, .init = "he_unifrom"), "dense \"dense1\"", "did you mean \"he_uniform\"?");
    WRONG(soma_dense(f, .units = 4, .bias_init = "zeroes"), "dense \"dense1\"", "did you mean \"zeros\"?");
    WRONG(soma_conv2d(x, .kernel = {3, 3}), "conv2d \"conv1\"", "filters is missing");
    WRONG(soma_conv2d(x, .filters = 4), "conv2d \"conv1\"", "kernel is missing", ".kernel = {3, 3}");
    WRONG(soma_conv2d(x, .filters = 4, .kernel = {SOMA_ZERO, 3}), "conv2d \"conv1\"", "kernel is");
    WRONG(soma_conv2d(x, .filters = 4, .kernel = {3, 3}, .stride = {INT64_MAX, 1}, .same = true),
          "between 1 and 1000000");
    WRONG(soma_conv2d(x, .filters = 4, .kernel = {3, 3}, .dilation = {1, SOMA_ZERO}, .same = true), "dilation is 0");
    WRONG(soma_conv2d(f, .filters = 4, .kernel = {3, 3}), "conv2d \"conv1\"", "f32[N,192]");
    WRONG(soma_conv2d(x, .filters = 4, .kernel = {3, 3}, .groups = 2), "groups is 2", "3 channels");
    WRONG(soma_conv2d(x, .filters = 4, .kernel = {9, 9}), "conv2d \"conv1\"");
    WRONG(soma_conv2d(x, .filters = 4, .kernel = {3, 3}, .stride = {-1, 1}), "conv2d \"conv1\"", "stride is -1");
    WRONG(soma_conv2d(x, .filters = 4, .kernel = {3, 3}, .same = true, .pad = {1, 1, 1, 1}), "leave .pad out");
    WRONG(soma_dropout(x, .rate = 1), "dropout \"dropout1\"", "rate is 1");
    WRONG(soma_dropout(x, .rate = -0.5), "rate is -0.5");
    WRONG(soma_dropout(x, .rate = NAN), "dropout \"dropout1\"");
    WRONG(soma_activation(x, "sigmiod"), "did you mean \"sigmoid\"?");
    WRONG(soma_activation(x, "qqqqqqq"), "known are relu");
    WRONG(soma_loss("softmax_crossentropy", f, f), "did you mean \"softmax_cross_entropy\"?");
    WRONG(soma_loss("hinge-like", f, f), "known are softmax_cross_entropy");
    WRONG(soma_loss(NULL, f, f), "no loss was named");
#undef WRONG
    soma_close(s);
}

static void linear_and_rate_zero_are_identities(void **state)
{
    (void)state;
    soma *s = open_seeded(1);
    soma_model *m = soma_model_new(s, "identity");
    soma_value x = soma_input(m, "x", SOMA_F32, SOMA_SHAPE(4));
    assert_int_equal(soma_activation(x, "linear").id, x.id);
    assert_int_equal(soma_activation(x, NULL).id, x.id);
    assert_int_equal(soma_dropout(x, .rate = 0).id, x.id);
    assert_int_not_equal(soma_dropout(x, .rate = 0.5).id, x.id);
    soma_close(s);
}

/* ---- initialisers ---- */

typedef struct init_case {
    const char *init;
    double a, b;
    double low, high;       /* bounds of every element */
    double mean, deviation; /* of all elements */
} init_case;

static void initialisers_have_their_moments(void **state)
{
    (void)state;
    const double in = 9 * 20, out = 9 * 40; /* weight [40, 20, 3, 3] */
    const double he = sqrt(6 / in), glorot = sqrt(6 / (in + out)), lecun = sqrt(3 / in);
    const init_case cases[] = {
        {"zeros", 0, 0, 0, 0, 0, 0},
        {"ones", 0, 0, 1, 1, 1, 0},
        {"constant", -2.5, 0, -2.5, -2.5, -2.5, 0},
        {"uniform", 0, 0, 0, 1, 0.5, sqrt(1 / 12.0)},
        {"uniform", -3, 5, -3, 5, 1, 8 * sqrt(1 / 12.0)},
        {"normal", 0, 0, -6, 6, 0, 1},
        {"normal", 2, 0.5, -1, 5, 2, 0.5},
        {"he_uniform", 0, 0, -he, he, 0, sqrt(2 / in)},
        {"he_normal", 0, 0, -1, 1, 0, sqrt(2 / in)},
        {"glorot_uniform", 0, 0, -glorot, glorot, 0, sqrt(2 / (in + out))},
        {"glorot_normal", 0, 0, -1, 1, 0, sqrt(2 / (in + out))},
        {"lecun_uniform", 0, 0, -lecun, lecun, 0, sqrt(1 / in)},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const init_case *c = &cases[i];
        soma *s = open_seeded(7);
        soma_model *m = soma_model_new(s, "init");
        soma_parameter(m, "w", SOMA_SHAPE(40, 20, 3, 3), .init = c->init, .a = c->a, .b = c->b);
        const float *w = soma_tensor_find(m, "w").tensor.data;
        const int n = 40 * 20 * 9;
        double sum = 0, squares = 0, slack = 1e-6 * (1 + fabs(c->high));
        for (int j = 0; j < n; j++) {
            assert_true(w[j] >= c->low - slack && w[j] <= c->high + slack);
            sum += w[j];
        }
        for (int j = 0; j < n; j++)
            squares += (w[j] - sum / n) * (w[j] - sum / n);
        double error = 5 * c->deviation / sqrt(n); /* five standard errors of the mean */
        assert_true(fabs(sum / n - c->mean) <= error + 1e-6);
        assert_true(fabs(sqrt(squares / n) - c->deviation) <= 0.03 * c->deviation + 1e-6);
        soma_close(s);
    }
}

static void numbers_of_initialisers_are_complete(void **state)
{
    (void)state;
    static const struct {
        const char *init;
        double a, b;
        const char *says;
    } cases[] = {
        {"normal", 0.5, 0, "its deviation, is missing beside the first, its mean (for a zero write SOMA_ZERO)"},
        {"normal", SOMA_ZERO, 0, "its deviation, is missing"},
        {"normal", 0, -1, "its deviation, must be at least 0"},
        {"uniform", -1, 0, "the second number is missing; it draws from the first to the second (for a zero"},
        {"uniform", 1, -1, "which must not be less"},
        {"uniform", 0, -1, "which must not be less"},
        {"normal", (double)INFINITY, 1, "must be finite"},
        {"constant", 1, 2, "it takes one number"},
        {"he_normal", 0, 0.5, "it takes no numbers"},
        {NULL, 0.5, 0, "\"zeros\": it takes no numbers"}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        soma *s = open_seeded(7);
        soma_parameter(soma_model_new(s, "init"), "w", SOMA_SHAPE(4), .init = cases[i].init, .a = cases[i].a,
                       .b = cases[i].b);
        EXPECT_ERROR(s, "test_nn.c:", "parameter \"w\": initialiser", cases[i].says);
        soma_close(s);
    }
    soma *s = open_seeded(7); /* zeros that were said complete them */
    soma_model *m = soma_model_new(s, "init");
    soma_parameter(m, "v", SOMA_SHAPE(4), .init = "uniform", .a = -1, .b = SOMA_ZERO);
    soma_parameter(m, "w", SOMA_SHAPE(4), .init = "normal", .a = 0.5, .b = SOMA_ZERO);
    assert_true(((const float *)soma_tensor_find(m, "w").tensor.data)[3] == 0.5f);
    soma_close(s);
}

static void initial_values_depend_on_seed_and_name_only(void **state)
{
    (void)state;
    float first[2][300];
    for (int round = 0; round < 2; round++) {
        soma *s = open_seeded(5);
        soma_model *m = soma_model_new(s, "init");
        if (round == 1) /* another tensor before it changes nothing */
            soma_parameter(m, "before", SOMA_SHAPE(17), .init = "normal");
        soma_parameter(m, "w", SOMA_SHAPE(300), .init = "normal");
        soma_parameter(m, "v", SOMA_SHAPE(300), .init = "normal");
        memcpy(first[round], soma_tensor_find(m, "w").tensor.data, sizeof first[round]);
        assert_memory_not_equal(first[round], soma_tensor_find(m, "v").tensor.data, sizeof first[round]);
        assert_int_equal(soma_initialize(m, 6), SOMA_OK);
        assert_memory_not_equal(first[round], soma_tensor_find(m, "w").tensor.data, sizeof first[round]);
        assert_int_equal(soma_initialize(m, 5), SOMA_OK);
        assert_memory_equal(first[round], soma_tensor_find(m, "w").tensor.data, sizeof first[round]);
        soma_close(s);
    }
    assert_memory_equal(first[0], first[1], sizeof first[0]);
}

static void relu_layers_begin_with_he(void **state)
{
    (void)state;
    soma *s = open_seeded(3);
    soma_model *m = soma_model_new(s, "defaults");
    soma_value x = soma_input(m, "x", SOMA_F32, SOMA_SHAPE(100));
    soma_dense(x, .units = 300, .activation = "relu", .name = "relu");
    soma_dense(x, .units = 300, .activation = "tanh", .name = "tanh");
    const double he = sqrt(6.0 / 100), glorot = sqrt(6.0 / 400);
    double most[2] = {0, 0};
    for (int i = 0; i < 30000; i++) {
        most[0] = fmax(most[0], fabs((double)((const float *)soma_tensor_find(m, "relu.weight").tensor.data)[i]));
        most[1] = fmax(most[1], fabs((double)((const float *)soma_tensor_find(m, "tanh.weight").tensor.data)[i]));
    }
    assert_true(most[0] <= he * (1 + 1e-6) && most[0] > 0.99 * he);
    assert_true(most[1] <= glorot * (1 + 1e-6) && most[1] > 0.99 * glorot);
    const float *bias = soma_tensor_find(m, "relu.bias").tensor.data;
    for (int i = 0; i < 300; i++)
        assert_true(bias[i] == 0);
    soma_close(s);
}

/* ---- optimizers ---- */

/* Minimises (w - 3)^2 in f64 for `steps` updates, from w = 0. */
static void descend(const soma_optimizer *opt, int64_t total, int steps, double *w)
{
    soma *s = open_seeded(1);
    soma_model *m = soma_model_new(s, "parabola");
    soma_value p = soma_parameter(m, "w", SOMA_SHAPE(1), .dtype = SOMA_F64);
    soma_value loss = soma_reduce_sum(soma_square(soma_sub(p, soma_scalar(p, 3))));
    soma_value updates[4];
    int n = soma_updates(loss, updates, 4, .optimizer = opt, .total_steps = total);
    assert_in_range(n, 1, 2);
    soma_program *program = soma_compile(m, .values = &loss, .n_values = 1, .updates = updates, .n_updates = n);
    if (!program)
        fail_msg("%s", soma_error(s));
    for (int i = 0; i < steps; i++) {
        assert_int_equal(soma_step(program), SOMA_OK);
        w[i] = *(const double *)soma_tensor_find(m, "w").tensor.data;
    }
    soma_close(s);
}

static void sgd_follows_keras(void **state)
{
    (void)state;
    enum { STEPS = 12 };
    for (int kind = 0; kind < 4; kind++) {
        double got[STEPS], w = 0, v = 0;
        double lr = 0.1, momentum = kind >= 1 ? 0.9 : 0, decay = kind == 3 ? 0.05 : 0,
               weight_decay = kind == 2 ? 0.01 : 0;
        bool nesterov = kind == 3;
        soma_optimizer opt = soma_sgd(.lr = lr, .momentum = momentum, .decay = decay, .weight_decay = weight_decay,
                                      .nesterov = nesterov);
        descend(&opt, 0, STEPS, got);
        for (int t = 0; t < STEPS; t++) {
            double g = 2 * (w - 3) + weight_decay * w, rate = lr / (1 + decay * t);
            v = momentum * v - rate * g;
            w += nesterov ? momentum * v - rate * g : v;
            assert_true(fabs(got[t] - w) <= 2e-6); /* a rate that varies is f32 */
        }
    }
}

static void adam_follows_the_paper(void **state)
{
    (void)state;
    enum { STEPS = 12 };
    double got[STEPS], w = 0, m = 0, v = 0;
    soma_optimizer opt = soma_adam(.lr = 0.1);
    descend(&opt, 0, STEPS, got);
    for (int t = 1; t <= STEPS; t++) {
        double g = 2 * (w - 3);
        m = 0.9 * m + 0.1 * g;
        v = 0.999 * v + 0.001 * g * g;
        w -= 0.1 * (m / (1 - pow(0.9, t))) / (sqrt(v / (1 - pow(0.999, t))) + 1e-8);
        assert_true(fabs(got[t - 1] - w) <= 1e-9);
    }
}

/* PyTorch's OneCycleLR, anneal_strategy cos: begins at peak / 25, peaks after 30 %, ends at peak / 250,000. */
static void one_cycle_rises_and_falls(void **state)
{
    (void)state;
    enum { STEPS = 10 };
    const double peak = 0.05, low = peak / 25, end = peak / 250000, pi = 3.14159265358979323846;
    double got[STEPS], w = 0;
    soma_optimizer opt = soma_sgd(.peak_lr = peak);
    descend(&opt, STEPS, STEPS, got);
    for (int t = 0; t < STEPS; t++) {
        double up = 0.3 * STEPS - 1, rate;
        if (t <= up)
            rate = peak + (low - peak) * (1 + cos(pi * t / up)) / 2;
        else
            rate = end + (peak - end) * (1 + cos(pi * (t - up) / (STEPS - 1 - up))) / 2;
        w -= rate * 2 * (w - 3);
        assert_true(fabs(got[t] - w) <= 1e-6);
    }
}

static void slots_lie_in_order(void **state)
{
    (void)state;
    soma *s = open_seeded(1);
    soma_model *m = soma_model_new(s, "slots");
    soma_value x = soma_input(m, "x", SOMA_F32, SOMA_SHAPE(4));
    soma_value y = soma_dense(x, .units = 3, .name = "a");
    soma_dense(x, .units = 3, .name = "unused");
    soma_parameter(m, "fixed", SOMA_SHAPE(3), .frozen = true);
    soma_value loss = soma_reduce_mean(soma_square(y)), updates[4];
    soma_optimizer opt = soma_adam(.lr = 0.01);
    assert_int_equal(soma_updates(loss, updates, 4, .optimizer = &opt), 2);
    static const char *const names[] = {"optimizer/m/a.weight", "optimizer/m/a.bias", "optimizer/v/a.weight",
                                        "optimizer/v/a.bias"};
    assert_int_equal(soma_tensor_count(m), 5 + 5);
    for (int i = 0; i < 4; i++)
        assert_string_equal(soma_tensor_at(m, 6 + i).name, names[i]);
    const char *before = soma_tensor_at(m, 6).tensor.data;
    for (int i = 7; i < 10; i++) {
        const char *here = soma_tensor_at(m, i).tensor.data;
        assert_in_range(here - before, 1, 64);
        before = here;
    }
    soma_close(s);
}

static void wrong_optimizers_are_explained(void **state)
{
    (void)state;
    soma *s = open_seeded(1);
#define WRONG(opt, ...)                                                                                                \
    do {                                                                                                               \
        soma_model *m = soma_model_new(s, "wrong");                                                                    \
        soma_value x = soma_input(m, "x", SOMA_F32, SOMA_SHAPE(4)), updates[4];                                        \
        soma_value loss = soma_reduce_mean(soma_square(soma_dense(x, .units = 2)));                                    \
        soma_optimizer o = opt;                                                                                        \
        assert_int_equal(soma_updates(loss, updates, 4, .optimizer = &o), -1);                                         \
        EXPECT_ERROR(s, __VA_ARGS__);                                                                                  \
        soma_model_free(m);                                                                                            \
    } while (0)
    WRONG(soma_sgd(.lr = -1), "sgd: lr is -1");
    WRONG(soma_sgd(.lr = NAN), "sgd: lr is");
    WRONG(soma_sgd(.momentum = 1), "momentum is 1", "below 1");
    WRONG(soma_sgd(.nesterov = true), "nesterov needs momentum");
    WRONG(soma_sgd(.peak_lr = 0.1), "total_steps");
    WRONG(soma_sgd(.peak_lr = 0.1, .decay = 0.1), "two schedules");
    WRONG(soma_adam(.beta2 = 2), "adam: beta2 is 2");
    WRONG(soma_adam(.weight_decay = -1), "adam: weight_decay is -1");
    WRONG(((soma_optimizer){.name = "sdg"}), "there is no optimizer \"sdg\"");
#undef WRONG
    soma_model *m = soma_model_new(s, "nothing");
    soma_value x = soma_input(m, "x", SOMA_F32, SOMA_SHAPE(4)), updates[4];
    assert_int_equal(soma_updates(soma_reduce_mean(x), updates, 4, .total_steps = 1), -1);
    EXPECT_ERROR(s, "nothing to train", "\"nothing\"");
    soma_close(s);
}

/* ---- parameters as values ---- */

/* One step of a program that gives n <= 4 values; the first number of each. */
static void values_of(soma_model *m, const soma_value *values, int n, soma_value x, const soma_tensor *data, float *out)
{
    soma_program *p = soma_compile(m, .batch = 2, .values = values, .n_values = n);
    assert_non_null(p);
    if (data)
        assert_int_equal(soma_feed(p, x, data), SOMA_OK);
    assert_int_equal(soma_step(p), SOMA_OK);
    for (int i = 0; i < n; i++)
        out[i] = *(const float *)soma_read(p, values[i]).data;
    soma_program_free(p);
}

static void a_penalty_reaches_the_weights(void **state)
{
    (void)state;
    soma *s = open_seeded(3);
    soma_model *m = soma_model_new(s, "penalty");
    soma_value x = soma_input(m, "x", SOMA_F32, SOMA_SHAPE(3));
    soma_scope_push(m, "block");
    soma_output(m, "y", soma_dense(x, .units = 2));
    soma_scope_pop(m);
    soma_value w = soma_parameter_value(m, "block.dense1.weight"), dw;
    expect_shape(w, SOMA_SHAPE(2, 3));
    assert_int_equal(soma_parameter_value(m, "block.dense1.weight").id,
                     w.id); /* one value, however often it is asked for */
    soma_value penalty = soma_reduce_sum(soma_square(w));
    assert_int_equal(soma_grad(penalty, &w, 1, &dw), SOMA_OK);
    const float *now = soma_tensor_find(m, "block.dense1.weight").tensor.data;
    float first = now[0], got[2], sum = 0;
    for (int i = 0; i < 6; i++)
        sum += now[i] * now[i];
    values_of(m, (const soma_value[]){penalty, dw}, 2, x, NULL, got);
    assert_float_equal(got[0], sum, 1e-5);
    assert_float_equal(got[1], 2 * first, 1e-6);
    /* and training by it shrinks them */
    soma_value updates[4];
    soma_optimizer sgd = soma_sgd(.lr = 0.1);
    int n = soma_updates(penalty, updates, 4, .optimizer = &sgd);
    soma_program *p = soma_compile(m, .batch = 2, .values = &penalty, .n_values = 1, .updates = updates,
                                   .n_updates = n);
    assert_non_null(p);
    assert_int_equal(soma_step(p), SOMA_OK);
    now = soma_tensor_find(m, "block.dense1.weight").tensor.data;
    assert_float_equal(now[0], 0.8f * first, 1e-6);
    soma_close(s);
}

/* An autoencoder whose decoder is its encoder, turned: both uses add to the gradient. */
static void tied_weights_share_their_gradient(void **state)
{
    (void)state;
    soma *s = open_seeded(4);
    soma_model *m = soma_model_new(s, "tied");
    soma_value x = soma_input(m, "x", SOMA_F32, SOMA_SHAPE(3)), dw;
    soma_value code = soma_dense(x, .units = 2, .name = "encoder", .no_bias = true);
    soma_value w = soma_parameter_value(m, "encoder.weight"); /* [2, 3] */
    soma_value back = soma_matmul(code, w);
    expect_shape(back, SOMA_SHAPE(SOMA_N, 3));
    soma_output(m, "y", back);
    soma_value loss = soma_reduce_sum(soma_square(back));
    assert_int_equal(soma_grad(loss, &w, 1, &dw), SOMA_OK);
    assert_int_equal(soma_tensor_count(m), 1); /* none was added */
    static float numbers[6] = {0.5f, -1, 0.25f, 1, 0.75f, -0.5f};
    soma_tensor data = {SOMA_F32, SOMA_SHAPE(2, 3), numbers};
    float got[2], up, down, *at = soma_tensor_find(m, "encoder.weight").tensor.data, before = at[0];
    values_of(m, (const soma_value[]){loss, dw}, 2, x, &data, got);
    at[0] = before + 0.01f;
    values_of(m, &loss, 1, x, &data, &up);
    at[0] = before - 0.01f;
    values_of(m, &loss, 1, x, &data, &down);
    at[0] = before;
    assert_true(fabs(got[1]) > 1e-3);
    assert_float_equal(got[1], (up - down) / 0.02f, 0.01 + 0.01 * fabs((double)got[1]));
    soma_close(s);
}

static void unknown_parameters_name_the_nearest(void **state)
{
    (void)state;
    soma *s = open_seeded(1);
    soma_model *m = soma_model_new(s, "small");
    assert_false(soma_ok(soma_parameter_value(m, "conv1.weight")));
    EXPECT_ERROR(s, "small", "conv1.weight", "has none yet");
    m = soma_model_new(s, "small");
    soma_value x = soma_input(m, "x", SOMA_F32, SOMA_SHAPE(1, 8, 8));
    x = soma_conv2d(x, .filters = 4, .kernel = {3, 3});
    assert_false(soma_ok(soma_parameter_value(m, "conv1.weigth")));
    EXPECT_ERROR(s, "\"conv1.weigth\"", "did you mean \"conv1.weight\"?", "tests/test_nn.c:");
    m = soma_model_new(s, "small");
    x = soma_dense(soma_input(m, "x", SOMA_F32, SOMA_SHAPE(8)), .units = 4);
    assert_false(soma_ok(soma_parameter_value(m, NULL)));
    EXPECT_ERROR(s, "the first that it has is \"dense1.weight\"");
    assert_false(soma_ok(soma_parameter_value(NULL, "dense1.weight")));
    soma_close(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(layers_name_their_parameters),
        cmocka_unit_test(numbers_of_initialisers_are_complete),
        cmocka_unit_test(a_penalty_reaches_the_weights),
        cmocka_unit_test(tied_weights_share_their_gradient),
        cmocka_unit_test(unknown_parameters_name_the_nearest),
        cmocka_unit_test(same_padding_keeps_ceil_of_size_by_stride),
        cmocka_unit_test(same_padding_puts_the_odd_row_last),
        cmocka_unit_test(dense_multiplies_and_adds),
        cmocka_unit_test(wrong_layers_are_explained),
        cmocka_unit_test(linear_and_rate_zero_are_identities),
        cmocka_unit_test(initialisers_have_their_moments),
        cmocka_unit_test(initial_values_depend_on_seed_and_name_only),
        cmocka_unit_test(relu_layers_begin_with_he),
        cmocka_unit_test(sgd_follows_keras),
        cmocka_unit_test(adam_follows_the_paper),
        cmocka_unit_test(one_cycle_rises_and_falls),
        cmocka_unit_test(slots_lie_in_order),
        cmocka_unit_test(wrong_optimizers_are_explained),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
