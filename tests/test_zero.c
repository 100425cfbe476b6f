/* SPDX-License-Identifier: Apache-2.0
 *
 * Zero that is meant: every number of an option struct whose 0 means another default, said in C by SOMA_ZERO and in
 * YAML by 0, what comes of it, and that it survives a file.
 */
#include "faults.h"
#include "training.h"

#include <soma/io.h>
#include <stdio.h>
#include <unistd.h>

static char folder[256];

/* Files are written where nobody else is. */
static int enter_folder(void **state)
{
    (void)state;
    return faults_folder(folder) && !chdir(folder) ? 0 : -1;
}

static int leave_folder(void **state)
{
    (void)state;
    int left = chdir("/");
    faults_folder_remove(folder);
    return left;
}

static void write_text(const char *path, const char *format, const char *text)
{
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fprintf(file, format, text);
    fclose(file);
}

static soma_model *described(soma *s, const char *format, const char *text, soma_recipe *recipe)
{
    const char *path = "zero-test.yaml";
    write_text(path, format, text);
    soma_model *m = soma_model_from_yaml(s, path, recipe);
    remove(path);
    if (!m && soma_error_status(s) == SOMA_UNSUPPORTED) {
        soma_close(s);
        skip();
    }
    if (!m)
        fail_msg("%s: %s", text, soma_error(s));
    return m;
}

/* ---- the constant ---- */

static void the_constant_is_exact_in_every_type(void **state)
{
    (void)state;
    volatile double number = SOMA_ZERO;
    volatile int64_t whole = SOMA_ZERO;
    volatile uint64_t natural = SOMA_ZERO;
    assert_true(number == SOMA_ZERO && (int64_t)number == SOMA_ZERO && whole == SOMA_ZERO && natural == SOMA_ZERO);
    assert_true(number > 1e18 && number * 1 == number &&
                number + 0 == number); /* no denormal, no NaN: nothing flushes it */
    assert_true((double)(float)number == number);
}

/* ---- optimizers ---- */

static void every_number_of_an_optimizer_can_be_zero(void **state)
{
    (void)state;
    const struct {
        const char *name;
        double zero, absent, preset;
        const char *yaml;
        size_t offset;
    } rows[] = {
#define ROW(kind, field, preset)                                                                                       \
    {#kind "." #field, soma_##kind(.field = SOMA_ZERO).field, soma_##kind().field,                                     \
     preset,           "{" #kind ": {" #field ": 0}}",        offsetof(soma_optimizer, field)}
        ROW(sgd, lr, 0.01),        ROW(sgd, momentum, 0),    ROW(sgd, decay, 0),
        ROW(sgd, weight_decay, 0), ROW(adam, lr, 0.001),     ROW(adam, beta1, 0.9),
        ROW(adam, beta2, 0.999),   ROW(adam, epsilon, 1e-8), ROW(adam, weight_decay, 0),
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        if (rows[i].zero != 0 || rows[i].absent != rows[i].preset)
            fail_msg("%s: SOMA_ZERO gives %g, nothing %g", rows[i].name, rows[i].zero, rows[i].absent);
        soma *s = open_seeded(1);
        soma_recipe recipe;
        described(s, "input: [1]\nlayers: [{dense: {units: 1}}]\noptimizer: %s\n", rows[i].yaml, &recipe);
        double said = *(const double *)(const void *)((const char *)&recipe.optimizer + rows[i].offset);
        if (said != 0)
            fail_msg("%s: 0 in YAML gives %g", rows[i].name, said);
        soma_close(s);
    }
}

static const float halves[3] = {0.5f, 0.25f, -0.5f}, ones[3] = {1, 1, 1};

static soma_dataset *three_samples(soma *s)
{
    return soma_dataset_arrays(s, .x = {SOMA_F32, SOMA_SHAPE(3, 1), (void *)halves},
                               .y = {SOMA_F32, SOMA_SHAPE(3, 1), (void *)ones});
}

static soma_model *line_model(soma *s)
{
    soma_model *m = soma_model_new(s, "line");
    soma_value x = soma_input(m, "x", SOMA_F32, SOMA_SHAPE(1));
    x = soma_dense(x, .units = 1, .init = "constant", .init_a = 3, .name = "first");
    soma_output(m, "y", soma_dense(x, .units = 1, .init = "constant", .init_a = 2, .name = "second"));
    return m;
}

static float number(soma_model *m, const char *name)
{
    const float *x = soma_tensor_find(m, name).tensor.data;
    assert_non_null(x);
    return *x;
}

static void a_rate_of_zero_trains_at_zero(void **state)
{
    (void)state;
    const struct {
        soma_optimizer optimizer;
        const char *yaml;
    } rows[] = {{soma_sgd(.lr = SOMA_ZERO), "{sgd: {lr: 0}}"},
                {soma_sgd(.lr = SOMA_ZERO, .momentum = 0.9), "{sgd: {lr: 0.0, momentum: 0.9}}"},
                {soma_sgd(.lr = SOMA_ZERO, .decay = 0.1), "{sgd: {lr: 0, decay: 0.1}}"},
                {soma_adam(.lr = SOMA_ZERO), "{adam: {lr: -0.0}}"}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        for (int yaml = 0; yaml < 2; yaml++) {
            soma *s = open_seeded(1);
            soma_recipe recipe = {.optimizer = rows[i].optimizer};
            soma_model *m = line_model(s);
            soma_progress last;
            if (yaml)
                described(s, "input: [1]\nlayers: [{dense: {units: 1}}]\noptimizer: %s\n", rows[i].yaml, &recipe);
            EXPECT_OK(s, soma_fit(m, three_samples(s), .batch_size = 1, .epochs = 2, .optimizer = recipe.optimizer,
                                  .result = &last));
            assert_true(number(m, "first.weight") == 3 && number(m, "second.weight") == 2);
            assert_true(last.learning_rate == 0);
            soma_close(s);
        }
}

static void a_resolved_optimizer_may_hold_it_too(void **state)
{
    (void)state;
    soma *s = open_seeded(1);
    soma_model *m = line_model(s);
    soma_optimizer o = soma_sgd(.lr = 0.1, .weight_decay = 0.5);
    o.lr = SOMA_ZERO;
    EXPECT_OK(s, soma_fit(m, three_samples(s), .optimizer = o));
    assert_true(number(m, "first.weight") == 3);
    soma_close(s);
}

static void mistakes_name_the_constant(void **state)
{
    (void)state;
    soma *s = open_seeded(1);
    soma_model *m = line_model(s);
    soma_dataset *d = three_samples(s);
    const soma_param_group negative = {.pattern = "first", .weight_decay = -1};
    assert_int_equal(soma_fit(m, d, .optimizer = soma_sgd(.lr = -0.5)), SOMA_INVALID);
    EXPECT_ERROR(s, "sgd: lr is -0.5", "for a rate of zero write SOMA_ZERO");
    assert_int_equal(soma_fit(m, d, .groups = &negative, .n_groups = 1), SOMA_INVALID);
    EXPECT_ERROR(s, "weight_decay must be at least 0 (for zero write SOMA_ZERO)");
    assert_int_equal(soma_fit(m, d, .epochs = SOMA_ZERO), SOMA_INVALID);
    EXPECT_ERROR(s, "epochs is 0; it must be at least 1");
    assert_int_equal(soma_fit(m, d, .batch_size = SOMA_ZERO), SOMA_INVALID);
    EXPECT_ERROR(s, "batch_size is 0; it must be at least 1");
    EXPECT_OK(s, soma_fit(m, d, .max_steps = SOMA_ZERO, .micro_batch = SOMA_ZERO, .max_memory = SOMA_ZERO,
                          .validation_split = SOMA_ZERO, .progress_seconds = SOMA_ZERO));
    soma_close(s);
}

/* ---- groups ---- */

/* How far the weights of both layers go. */
static void train_groups(soma *s, const soma_param_group *groups, int n, double moved[2])
{
    soma_model *m = line_model(s);
    EXPECT_OK(s, soma_fit(m, three_samples(s), .batch_size = 3, .optimizer = soma_sgd(.lr = 0.01, .weight_decay = 0.5),
                          .groups = groups, .n_groups = n));
    moved[0] = (double)number(m, "first.weight") - 3;
    moved[1] = (double)number(m, "second.weight") - 2;
}

static void groups_can_say_zero(void **state)
{
    (void)state;
    const struct {
        soma_param_group group;
        const char *yaml;
        bool stays;
    } rows[] = {{{.pattern = "first", .lr = SOMA_ZERO}, "{pattern: dense1, lr: 0}", true},
                {{.pattern = "first", .lr_scale = SOMA_ZERO}, "{pattern: dense1, lr_scale: 0}", true},
                {{.pattern = "first", .weight_decay = SOMA_ZERO}, "{pattern: dense1, weight_decay: 0}", false},
                {{.pattern = "first", .no_weight_decay = true}, "{pattern: dense1, no_weight_decay: true}", false}};
    soma *s = open_seeded(1);
    double plain[2];
    train_groups(s, NULL, 0, plain);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        for (int yaml = 0; yaml < 2; yaml++) {
            soma_recipe recipe;
            soma_param_group group = rows[i].group;
            double moved[2];
            if (yaml) {
                described(s, "input: [1]\nlayers: [{dense: {units: 1}}]\nfit: {groups: [%s]}\n", rows[i].yaml, &recipe);
                assert_int_equal(recipe.n_groups, 1);
                group = recipe.groups[0];
                group.pattern = "first";
            }
            train_groups(s, &group, 1, moved);
            double expected = rows[i].stays ? 0 : plain[0] + 0.01 * 0.5 * 3;
            if (fabs(moved[0] - expected) > 1e-6 || moved[1] != plain[1])
                fail_msg("row %zu: moved by %g, not %g", i, moved[0], expected);
        }
    soma_close(s);
}

static void false_is_said_as_well(void **state)
{
    (void)state;
    soma *s = open_seeded(1);
    soma_recipe recipe;
    described(s, "input: [1]\nlayers: [{dense: {units: 1}}]\nfit: {groups: [%s]}\n",
              "{pattern: '*', frozen: true}, {pattern: dense1, frozen: false}, {pattern: '*', trained: false}",
              &recipe);
    assert_true(recipe.groups[0].frozen && recipe.groups[1].trained && !recipe.groups[1].frozen);
    assert_true(recipe.groups[2].frozen);
    write_text("zero-test.yaml", "%s",
               "input: [1]\nlayers: [{dense: {units: 1}}]\n"
               "fit: {groups: [{pattern: '*', no_weight_decay: false}]}\n");
    assert_null(soma_model_from_yaml(s, "zero-test.yaml", NULL));
    remove("zero-test.yaml");
    EXPECT_ERROR(s, "\"no_weight_decay\" takes true");
    soma_close(s);
}

/* ---- layers ---- */

/* The output for 2 and -2 as [1, 2, 1, 1]. */
static void outputs(soma *s, soma_model *m, double y[2])
{
    float x[2] = {2, -2}, out[2];
    soma_shape shape = soma_value_type(soma_model_input(m, 0)).shape;
    shape.dim[0] = 1;
    soma_tensor xt = {SOMA_F32, shape, x}, yt = {SOMA_F32, soma_value_type(soma_model_output(m, 0)).shape, out};
    yt.shape.dim[0] = 1;
    EXPECT_OK(s, soma_predict(m, &xt, &yt));
    y[0] = (double)out[0];
    y[1] = (double)out[1];
}

static soma_value lrn_alpha(soma_value x)
{
    return soma_local_response_norm(x, .size = 3, .alpha = SOMA_ZERO, .beta = 1, .k = 2);
}

static soma_value lrn_beta(soma_value x)
{
    return soma_local_response_norm(x, .size = 3, .alpha = 1, .beta = SOMA_ZERO);
}

static soma_value clip(soma_value x)
{
    return soma_clip(x, .min = SOMA_ZERO, .max = 5);
}

static soma_value dropout(soma_value x)
{
    return soma_dropout(x, .rate = SOMA_ZERO);
}

static soma_value normal(soma_value x)
{
    return soma_conv2d(x, .filters = 2, .kernel = {1, 1}, .init = "normal", .init_a = SOMA_ZERO, .init_b = SOMA_ZERO);
}

static soma_value uniform_from_zero(soma_value x)
{
    return soma_conv2d(x, .filters = 2, .kernel = {1, 1}, .init = "uniform", .init_a = SOMA_ZERO, .init_b = SOMA_ZERO,
                       .bias_init = "uniform", .bias_a = SOMA_ZERO, .bias_b = SOMA_ZERO);
}

static void layers_can_say_zero(void **state)
{
    (void)state;
    const struct {
        const char *name;
        soma_value (*build)(soma_value x);
        const char *yaml;
        double y[2];
    } rows[] = {
        {"local_response_norm.alpha", lrn_alpha, "local_response_norm: {size: 3, alpha: 0, beta: 1, k: 2}", {1, -1}},
        {"local_response_norm.beta", lrn_beta, "local_response_norm: {size: 3, alpha: 1, beta: 0}", {2, -2}},
        {"clip.min", clip, "clip: {min: 0, max: 5}", {2, 0}},
        {"dropout.rate", dropout, "dropout: {rate: 0}", {2, -2}},
        {"init normal", normal, "conv2d: {filters: 2, kernel: 1, init: normal, init_a: 0, init_b: 0}", {0, 0}},
        {"init uniform",
         uniform_from_zero,
         "conv2d: {filters: 2, kernel: 1, init: uniform, init_a: 0, init_b: 0, bias_init: uniform, bias_a: 0, bias_b: "
         "0}",
         {0, 0}},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        for (int way = 0; way < 3; way++) { /* C, YAML, and that from a file */
            soma *s = open_seeded(1);
            soma_model *m;
            double y[2];
            if (way) {
                m = described(s, "input: [2, 1, 1]\nlayers:\n  - %s\n", rows[i].yaml, NULL);
            } else {
                m = soma_model_new(s, "m");
                soma_value x = soma_input(m, "x", SOMA_F32, SOMA_SHAPE(2, 1, 1));
                soma_output(m, "y", rows[i].build(x));
            }
            if (way == 2) {
                EXPECT_OK(s, soma_save(m, "zero-test.safetensors"));
                m = soma_load(s, "zero-test.safetensors");
                remove("zero-test.safetensors");
                assert_non_null(m);
                EXPECT_OK(s, soma_initialize(m, 7)); /* from what the file says */
            }
            outputs(s, m, y);
            if (fabs(y[0] - rows[i].y[0]) > 1e-6 || fabs(y[1] - rows[i].y[1]) > 1e-6)
                fail_msg("%s, way %d: %g, %g", rows[i].name, way, y[0], y[1]);
            soma_close(s);
        }
}

/* PyTorch's momentum of 0: the statistics stay; Keras': they are the last batch's. */
static void a_batch_norm_can_have_no_momentum(void **state)
{
    (void)state;
    for (int way = 0; way < 4; way++) {
        const char *dialect = way % 2 ? "keras" : "torch";
        soma *s = open_seeded(1);
        soma_model *m;
        char layers[256];
        snprintf(layers, sizeof layers, "  - batch_norm: {momentum: 0, dialect: %s, name: norm}\n  - dense: {units: 1}",
                 dialect);
        if (way >= 2) {
            m = described(s, "input: [1]\nlayers:\n%s\n", layers, NULL);
        } else {
            m = soma_model_new(s, "m");
            soma_value x = soma_input(m, "x", SOMA_F32, SOMA_SHAPE(1));
            x = soma_batch_norm(x, .momentum = SOMA_ZERO, .dialect = dialect, .name = "norm");
            soma_output(m, "y", soma_dense(x, .units = 1));
        }
        EXPECT_OK(s, soma_fit(m, three_samples(s), .batch_size = 3));
        double mean = (double)number(m, "norm.running_mean");
        if (fabs(mean - (way % 2 ? 0.25 / 3 : 0)) > 1e-6)
            fail_msg("%s: %g", layers, mean);
        soma_value x = soma_input(m, "other", SOMA_F32, SOMA_SHAPE(1));
        assert_false(soma_ok(soma_batch_norm(x, .epsilon = SOMA_ZERO)));
        EXPECT_ERROR(s, "epsilon is 0; it must be greater than 0");
        soma_close(s);
    }
}

/* ---- pictures ---- */

static const uint8_t bytes[12] = {255, 0, 51, 255, 0, 255, 0, 51, 255, 0, 51, 51};
static const int32_t labels[2] = {0, 1};

static soma_dataset *pictures(soma *s, soma_transform t)
{
    return soma_dataset_arrays(s, .x = {SOMA_U8, SOMA_SHAPE(2, 3, 1, 2), (void *)bytes},
                               .y = {SOMA_I32, SOMA_SHAPE(2), (void *)labels}, .transform = t);
}

static void first_picture(soma *s, const soma_dataset *d, float x[6])
{
    const int64_t index = 0;
    EXPECT_OK(s, soma_dataset_read(d, &index, 1, x, NULL));
}

/* {0.5, 0, 0}: said of each channel, not "the first for all", also when it is handed on, saved and loaded. */
static void a_mean_of_zero_stays_one(void **state)
{
    (void)state;
    soma *s = open_seeded(1);
    soma_dataset *d = pictures(s, (soma_transform){.mean = {0.5, SOMA_ZERO, SOMA_ZERO}});
    soma_dataset *all = pictures(s, (soma_transform){.mean = {0.5}});
    float x[6], y[6], z[6];
    first_picture(s, d, x);
    first_picture(s, all, y);
    assert_true(x[0] == 0.5f && x[1] == -0.5f && fabsf(x[2] - 0.2f) < 1e-6f && x[3] == 1 && x[4] == 0 && x[5] == 1);
    assert_true(y[4] == -0.5f);
    soma_model *m = soma_model_new(s, "m");
    soma_value in = soma_input(m, "x", SOMA_F32, SOMA_SHAPE(3, 1, 2));
    soma_output(m, "y", soma_dense(soma_flatten(in), .units = 2));
    for (int way = 0; way < 4; way++) { /* resolved, of the model, saved once, saved twice */
        soma_transform t = soma_dataset_transform(d);
        if (way)
            soma_model_set_transform(m, t);
        if (way >= 2) {
            EXPECT_OK(s, soma_save(m, "zero-test.safetensors"));
            m = soma_load(s, "zero-test.safetensors");
            remove("zero-test.safetensors");
            assert_non_null(m);
        }
        d = pictures(s, way ? soma_model_transform(m) : t);
        first_picture(s, d, z);
        if (memcmp(x, z, sizeof x))
            fail_msg("way %d: %g %g %g", way, (double)z[0], (double)z[2], (double)z[4]);
    }
    soma_model_set_transform(m, (soma_transform){.has_background = true, .background = SOMA_ZERO});
    assert_true(soma_model_transform(m).has_background && soma_model_transform(m).background == 0);
    soma_model_set_transform(m,
                             (soma_transform){.mean = {0.5}, .deviation = {0.5}}); /* the first alone, in a file too */
    EXPECT_OK(s, soma_save(m, "zero-test.safetensors"));
    m = soma_load(s, "zero-test.safetensors");
    remove("zero-test.safetensors");
    first_picture(s, pictures(s, soma_model_transform(m)), z);
    assert_true(z[4] == -1);
    soma_close(s);
}

static void zeros_that_cannot_be_are_refused(void **state)
{
    (void)state;
    soma *s = open_seeded(1);
    assert_null(pictures(s, (soma_transform){.deviation = {0.5, SOMA_ZERO, 1}}));
    EXPECT_ERROR(s, "deviation 0", "the deviation positive");
    assert_null(pictures(s, (soma_transform){.scale = SOMA_ZERO}));
    EXPECT_ERROR(s, "scale 0", "the scale not 0");
    soma_close(s);
}

/* What a description says of pictures goes before what the saved model has, a zero and a "false" as well. */
static void a_saved_mean_is_overlaid_by_zero(void **state)
{
    (void)state;
    soma *s = open_seeded(1);
    soma_model *m = soma_model_new(s, "m");
    soma_value in = soma_input(m, "x", SOMA_F32, SOMA_SHAPE(3, 1, 2));
    soma_output(m, "y", soma_dense(soma_flatten(in), .units = 2));
    soma_model_set_transform(
        m, (soma_transform){.scale = 0.25, .mean = {0.5, 0.25, 0.125}, .deviation = {0.5}, .resize = {8}, .bgr = true});
    EXPECT_OK(s, soma_save(m, "zero-test.safetensors"));
    soma_recipe recipe;
    described(s, "model: zero-test.safetensors\ntransforms: [%s]\n", "bgr: false, normalise: {mean: 0}", &recipe);
    const soma_transform *t = &recipe.transform;
    assert_true(t->mean[0] == SOMA_ZERO && t->mean[1] == 0 && !t->bgr);
    assert_true(t->scale == 0.25 && t->deviation[0] == 0.5 && t->resize[0] == 8);
    described(s, "model: zero-test.safetensors\ntransforms: [%s]\n",
              "resize: {shorter_side: 4}, normalise: {mean: [0.5, 0, 0]}", &recipe);
    assert_true(t->mean[0] == 0.5 && t->mean[1] == SOMA_ZERO && t->mean[2] == SOMA_ZERO && t->mean[3] == 0);
    assert_true(t->bgr && t->resize[0] == 4 && t->resize[1] == 0);
    described(s, "model: zero-test.safetensors\n%s", "fit: {epochs: 2}\n", &recipe);
    assert_true(t->mean[1] == 0.25 && t->bgr && t->resize[0] == 8);
    remove("zero-test.safetensors");
    soma_close(s);
}

/* ---- seeds ---- */

static float trained(uint64_t context, uint64_t seed)
{
    soma *s = open_seeded(context);
    soma_model *m = line_model(s);
    EXPECT_OK(s, soma_fit(m, three_samples(s), .batch_size = 1, .epochs = 7, .seed = seed));
    float w = number(m, "first.weight");
    soma_close(s);
    return w;
}

static void a_seed_of_zero_can_be_said(void **state)
{
    (void)state;
    assert_true(trained(5, SOMA_ZERO) == trained(0, 0));
    assert_true(trained(5, 0) == trained(0, 5));
    assert_true(trained(5, 0) != trained(0, 0));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_constant_is_exact_in_every_type),
        cmocka_unit_test(every_number_of_an_optimizer_can_be_zero),
        cmocka_unit_test(a_rate_of_zero_trains_at_zero),
        cmocka_unit_test(a_resolved_optimizer_may_hold_it_too),
        cmocka_unit_test(mistakes_name_the_constant),
        cmocka_unit_test(groups_can_say_zero),
        cmocka_unit_test(false_is_said_as_well),
        cmocka_unit_test(layers_can_say_zero),
        cmocka_unit_test(a_batch_norm_can_have_no_momentum),
        cmocka_unit_test(a_mean_of_zero_stays_one),
        cmocka_unit_test(zeros_that_cannot_be_are_refused),
        cmocka_unit_test(a_saved_mean_is_overlaid_by_zero),
        cmocka_unit_test(a_seed_of_zero_can_be_said),
    };
    return cmocka_run_group_tests(tests, enter_folder, leave_folder);
}
