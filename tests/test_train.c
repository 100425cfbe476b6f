/* SPDX-License-Identifier: Apache-2.0
 *
 * fit, evaluate, predict and the open loop, against least squares and f64 arithmetic done by hand.
 */
#include "training.h"

/* ---- a line through noisy points ---- */

typedef struct line_data {
    float x[N], y[N];
    double slope, intercept, r2; /* least squares in f64 */
} line_data;

static double r_squared(const line_data *d, double slope, double intercept)
{
    double mean = 0, rest = 0, total = 0;
    for (int i = 0; i < N; i++)
        mean += d->y[i] / (double)N;
    for (int i = 0; i < N; i++) {
        double e = d->y[i] - (intercept + slope * d->x[i]), t = d->y[i] - mean;
        rest += e * e;
        total += t * t;
    }
    return 1 - rest / total;
}

/* Evenly on [-1.5, 4], normal noise of deviation 1 around 1.3 x + 0.7. */
static line_data make_line(void)
{
    line_data d;
    uint32_t state = 7;
    double sx = 0, sy = 0, sxx = 0, sxy = 0;
    for (int i = 0; i < N; i++) {
        double noise = sqrt(-2 * log(uniform(&state))) * cos(6.283185307179586 * uniform(&state));
        d.x[i] = (float)(-1.5 + 5.5 * i / (N - 1));
        d.y[i] = (float)(1.3 * d.x[i] + 0.7 + noise);
        sx += d.x[i];
        sy += d.y[i];
    }
    for (int i = 0; i < N; i++) {
        sxx += (d.x[i] - sx / N) * (d.x[i] - sx / N);
        sxy += (d.x[i] - sx / N) * (d.y[i] - sy / N);
    }
    d.slope = sxy / sxx;
    d.intercept = sy / N - d.slope * sx / N;
    d.r2 = r_squared(&d, d.slope, d.intercept);
    return d;
}

static soma_dataset *line_set(soma *s, line_data *d)
{
    return soma_dataset_arrays(s, .x = {SOMA_F32, SOMA_SHAPE(N, 1), d->x}, .y = {SOMA_F32, SOMA_SHAPE(N, 1), d->y});
}

/* One linear neuron that begins at intercept -1, slope 3. */
static soma_model *line_model(soma *s)
{
    soma_model *m = soma_model_new(s, "line");
    soma_value x = soma_input(m, "x", SOMA_F32, SOMA_SHAPE(1));
    soma_output(
        m, "y",
        soma_dense(x, .units = 1, .name = "n", .init = "constant", .init_a = 3, .bias_init = "constant", .bias_a = -1));
    return m;
}

static double number(soma_model *m, const char *name)
{
    return *(const float *)soma_tensor_find(m, name).tensor.data;
}

static void five_epochs_of_single_samples_reach_least_squares(void **state)
{
    (void)state;
    line_data d = make_line();
    soma *s = open_seeded(1);
    soma_model *m = line_model(s);
    soma_progress last;
    EXPECT_OK(s, soma_fit(m, line_set(s, &d), .batch_size = 1, .epochs = 5, .result = &last));
    double r2 = r_squared(&d, number(m, "n.weight"), number(m, "n.bias"));
    assert_true(r2 > d.r2 - 0.005 && r2 <= d.r2);
    assert_int_equal(last.samples, N);
    assert_int_equal(last.batches, N);
    assert_int_equal(last.epoch, 4);
    assert_true(isnan(last.accuracy) && isnan(last.val_loss));
    soma_close(s);
}

static void full_batches_converge_to_least_squares(void **state)
{
    (void)state;
    line_data d = make_line();
    soma *s = open_seeded(1);
    soma_model *m = line_model(s);
    EXPECT_OK(s, soma_fit(m, line_set(s, &d), .batch_size = N, .epochs = 600, .optimizer = soma_sgd(.lr = 0.1)));
    assert_true(fabs(number(m, "n.weight") - d.slope) < 1e-4);
    assert_true(fabs(number(m, "n.bias") - d.intercept) < 1e-4);
    soma_close(s);
}

/* Batches of 32, 32, 32 and 4: the last one counts with its own mean, as written here in f64. */
static void the_smaller_last_batch_is_trained_right(void **state)
{
    (void)state;
    line_data d = make_line();
    soma *s = open_seeded(1);
    soma_model *m = line_model(s);
    soma_progress last;
    EXPECT_OK(s, soma_fit(m, line_set(s, &d), .batch_size = 32, .epochs = 3, .no_shuffle = true, .result = &last,
                          .optimizer = soma_sgd(.lr = 0.01, .momentum = 0.9, .decay = 0.1, .nesterov = true)));
    double w = 3, b = -1, vw = 0, vb = 0, epoch_loss = 0, rate = 0;
    int t = 0;
    for (int epoch = 0; epoch < 3; epoch++) {
        epoch_loss = 0;
        for (int begin = 0; begin < N; begin += 32, t++) {
            int n = N - begin < 32 ? N - begin : 32;
            double gw = 0, gb = 0;
            for (int i = begin; i < begin + n; i++) {
                double e = b + w * d.x[i] - d.y[i];
                gw += 2 * e * d.x[i] / n;
                gb += 2 * e / n;
                epoch_loss += e * e / N;
            }
            rate = 0.01 / (1 + 0.1 * t);
            vw = 0.9 * vw - rate * gw;
            vb = 0.9 * vb - rate * gb;
            w += 0.9 * vw - rate * gw;
            b += 0.9 * vb - rate * gb;
        }
    }
    assert_true(fabs(number(m, "n.weight") - w) < 1e-5);
    assert_true(fabs(number(m, "n.bias") - b) < 1e-5);
    assert_true(fabs(last.loss - epoch_loss) < 1e-5 * epoch_loss);
    assert_true(fabs(last.learning_rate - rate) < 1e-8);
    assert_int_equal(last.batches, 4);
    soma_close(s);
}

static void evaluation_does_not_depend_on_the_batch(void **state)
{
    (void)state;
    line_data d = make_line();
    soma *s = open_seeded(1);
    soma_model *m = line_model(s);
    soma_dataset *set = line_set(s, &d);
    double expected = 0;
    for (int i = 0; i < N; i++)
        expected += (3.0 * d.x[i] - 1 - d.y[i]) * (3.0 * d.x[i] - 1 - d.y[i]) / N;
    const int64_t batches[] = {0, 1, 7, 99, 100, 1000};
    for (int i = 0; i < 6; i++) {
        soma_evaluation result = {0};
        EXPECT_OK(s, soma_evaluate(m, set, .batch_size = batches[i], .result = &result));
        assert_int_equal(result.samples, N);
        assert_int_equal(result.classes, 0);
        assert_true(fabs(result.loss - expected) < 1e-6 * expected);
        assert_true(isnan(result.accuracy));
    }
    assert_int_equal(soma_tensor_count(m), 2); /* evaluating leaves nothing behind */
    soma_close(s);
}

/* With a rate too small to change anything, both losses are those of the first weights. */
static void validation_can_be_the_end_of_the_data(void **state)
{
    (void)state;
    line_data d = make_line();
    soma *s = open_seeded(1);
    soma_model *m = line_model(s);
    soma_progress last;
    EXPECT_OK(s, soma_fit(m, line_set(s, &d), .validation_split = 0.3, .split_order = "end",
                          .optimizer = soma_sgd(.lr = 1e-30), .result = &last));
    double loss[2] = {0, 0};
    for (int i = 0; i < N; i++) {
        double e = 3.0 * d.x[i] - 1 - d.y[i];
        loss[i >= 70] += e * e / (i >= 70 ? 30 : 70);
    }
    assert_int_equal(last.samples, 70);
    assert_true(fabs(last.loss - loss[0]) < 1e-6 * loss[0]);
    assert_true(fabs(last.val_loss - loss[1]) < 1e-6 * loss[1]);
    assert_true(isnan(last.val_accuracy));
    soma_close(s);
}

static void a_flat_target_is_a_column(void **state)
{
    (void)state;
    line_data d = make_line();
    soma *s = open_seeded(1);
    soma_model *m = line_model(s);
    soma_dataset *set = soma_dataset_arrays(s, .x = {SOMA_F32, SOMA_SHAPE(N), d.x},
                                            .y = {SOMA_F32, SOMA_SHAPE(N), d.y});
    EXPECT_OK(s, soma_fit(m, set, .batch_size = N, .epochs = 600, .optimizer = soma_sgd(.lr = 0.1)));
    assert_true(fabs(number(m, "n.weight") - d.slope) < 1e-4);
    soma_close(s);
}

static void xor_is_learned(void **state)
{
    (void)state;
    float x[8] = {0, 0, 0, 1, 1, 0, 1, 1}, y[4] = {0, 1, 1, 0};
    soma *s = open_seeded(3);
    soma_model *m = soma_model_new(s, "xor");
    soma_value h = soma_dense(soma_input(m, "x", SOMA_F32, SOMA_SHAPE(2)), .units = 8, .activation = "tanh");
    soma_output(m, "y", soma_dense(h, .units = 1, .activation = "sigmoid"));
    soma_dataset *set = soma_dataset_arrays(s, .x = {SOMA_F32, SOMA_SHAPE(4, 2), x},
                                            .y = {SOMA_F32, SOMA_SHAPE(4, 1), y});
    EXPECT_OK(s, soma_fit(m, set, .batch_size = 4, .epochs = 500, .optimizer = soma_adam(.lr = 0.05)));
    float out[4];
    soma_tensor tx = {SOMA_F32, SOMA_SHAPE(4, 2), x}, ty = {SOMA_F32, SOMA_SHAPE(4, 1), out};
    EXPECT_OK(s, soma_predict(m, &tx, &ty));
    for (int i = 0; i < 4; i++)
        assert_true(fabsf(out[i] - y[i]) < 0.1f);
    soma_close(s);
}

/* ---- classes ---- */

static void train_classes(uint64_t seed, uint64_t fit_seed, float *to, soma_progress *last)
{
    class_data d = make_classes();
    soma *s = open_seeded(seed);
    soma_model *m = class_model(s, NULL);
    EXPECT_OK(s, soma_fit(m, class_set(s, &d), .batch_size = 16, .epochs = 4, .seed = fit_seed, .validation_split = 0.2,
                          .optimizer = soma_adam(.lr = 0.01), .result = last));
    assert_int_equal(copy_parameters(m, to), PARAMETERS * sizeof *to);
    soma_close(s);
}

static void the_same_seed_gives_the_same_bits(void **state)
{
    (void)state;
    float a[PARAMETERS], b[PARAMETERS];
    soma_progress last;
    train_classes(5, 0, a, &last);
    assert_true(last.accuracy > 0 && last.val_accuracy > 0 && isfinite(last.val_loss));
    train_classes(5, 0, b, NULL);
    assert_memory_equal(a, b, sizeof a);
    train_classes(5, 5, b, NULL);
    assert_memory_equal(a, b, sizeof a);
    train_classes(5, 6, b, NULL); /* other order and dropout, same first weights */
    assert_memory_not_equal(a, b, sizeof a);
    train_classes(6, 5, b, NULL);
    assert_memory_not_equal(a, b, sizeof a);
}

static void training_again_begins_afresh(void **state)
{
    (void)state;
    float a[PARAMETERS], b[PARAMETERS];
    class_data d = make_classes();
    soma *s = open_seeded(5);
    soma_model *m = class_model(s, NULL);
    for (int round = 0; round < 2; round++) {
        assert_int_equal(soma_initialize(m, 5), SOMA_OK);
        EXPECT_OK(s, soma_fit(m, class_set(s, &d), .epochs = 2, .optimizer = soma_adam(.peak_lr = 0.02)));
        copy_parameters(m, round ? b : a);
    }
    assert_memory_equal(a, b, sizeof a);
    soma_close(s);
}

static void classes_are_learned_and_counted(void **state)
{
    (void)state;
    class_data d = make_classes();
    soma *s = open_seeded(5);
    soma_model *m = class_model(s, NULL);
    soma_dataset *set = class_set(s, &d);
    EXPECT_OK(s, soma_fit(m, set, .batch_size = 16, .epochs = 40, .optimizer = soma_adam(.lr = 0.01)));
    int64_t confusion[9] = {1, 2, 3, 4, 5, 6, 7, 8, 9};
    soma_evaluation result = {.classes = 3, .confusion = confusion};
    EXPECT_OK(s, soma_evaluate(m, set, .batch_size = 33, .result = &result));
    float y[N * 3];
    soma_tensor tx = {SOMA_F32, SOMA_SHAPE(N, 4), d.x}, ty = {SOMA_F32, SOMA_SHAPE(N, 3), y};
    EXPECT_OK(s, soma_predict(m, &tx, &ty));
    int64_t expected[9] = {0};
    double loss = 0, right = 0;
    for (int i = 0; i < N; i++) {
        const float *row = y + 3 * i;
        int best = row[1] > row[0] ? 1 : 0;
        best = row[2] > row[best] ? 2 : best;
        expected[3 * d.label[i] + best]++;
        right += best == d.label[i];
        loss += log(exp((double)row[0]) + exp((double)row[1]) + exp((double)row[2])) - row[d.label[i]];
    }
    assert_memory_equal(confusion, expected, sizeof confusion);
    assert_int_equal(result.classes, 3);
    assert_true(fabs(result.accuracy - right / N) < 1e-6);
    assert_true(fabs(result.loss - loss / N) < 1e-5);
    assert_true(result.accuracy > 0.8);
    soma_close(s);
}

/* Ending in softmax is the same training, and the output is probabilities. */
static void a_softmax_at_the_end_is_trained_on_logits(void **state)
{
    (void)state;
    float parameters[2][PARAMETERS];
    class_data d = make_classes();
    for (int i = 0; i < 2; i++) {
        soma *s = open_seeded(5);
        soma_model *m = class_model(s, i ? "softmax" : NULL);
        soma_progress last;
        EXPECT_OK(s, soma_fit(m, class_set(s, &d), .epochs = 3, .optimizer = soma_adam(.lr = 0.01), .result = &last));
        assert_true(last.accuracy > 0);
        /* the last layer's first weights are Glorot's either way */
        copy_parameters(m, parameters[i]);
        float y[3];
        soma_tensor tx = {SOMA_F32, SOMA_SHAPE(1, 4), d.x}, ty = {SOMA_F32, SOMA_SHAPE(1, 3), y};
        EXPECT_OK(s, soma_predict(m, &tx, &ty));
        if (i)
            assert_true(fabsf(y[0] + y[1] + y[2] - 1) < 1e-5f);
        soma_close(s);
    }
    assert_memory_equal(parameters[0], parameters[1], sizeof parameters[0]);
}

static void one_hot_targets_are_classes_too(void **state)
{
    (void)state;
    class_data d = make_classes();
    float hot[N * 3] = {0};
    for (int i = 0; i < N; i++)
        hot[3 * i + d.label[i]] = 1;
    soma_progress last[2];
    for (int i = 0; i < 2; i++) {
        soma *s = open_seeded(5);
        soma_model *m = class_model(s, NULL);
        soma_dataset *set = i ? soma_dataset_arrays(s, .x = {SOMA_F32, SOMA_SHAPE(N, 4), d.x},
                                                    .y = {SOMA_F32, SOMA_SHAPE(N, 3), hot})
                              : class_set(s, &d);
        EXPECT_OK(s, soma_fit(m, set, .loss = "softmax_cross_entropy", .epochs = 3, .result = &last[i]));
        soma_close(s);
    }
    assert_true(fabs(last[0].loss - last[1].loss) < 1e-5);
    assert_true(fabs(last[0].accuracy - last[1].accuracy) < 1e-6);
}

static void a_label_out_of_range_changes_nothing(void **state)
{
    (void)state;
    class_data d = make_classes();
    soma *s = open_seeded(5);
    soma_model *m = class_model(s, NULL);
    soma_dataset *set = class_set(s, &d);
    float before[PARAMETERS], after[PARAMETERS];
    copy_parameters(m, before);
    d.label[3] = 17; /* the arrays are borrowed: the data set was sound when it was opened */
    assert_int_equal(soma_fit(m, set, .no_shuffle = true, .optimizer = soma_adam(.lr = 0.1)), SOMA_DATA);
    EXPECT_ERROR(s, "17");
    copy_parameters(m, after);
    assert_memory_equal(before, after, sizeof before);
    soma_evaluation result = {0};
    assert_int_equal(soma_evaluate(m, set, .result = &result), SOMA_DATA);
    soma_clear(s);
    d.label[3] = 0;
    EXPECT_OK(s, soma_fit(m, set, .no_shuffle = true, .optimizer = soma_adam(.lr = 0.1)));
    copy_parameters(m, after);
    assert_memory_not_equal(before, after, sizeof before);
    soma_close(s);
}

/* ---- mistakes ---- */

static soma_dataset *named_set(soma *s, class_data *d, int n, const char *const *names)
{
    soma_tensor x = {SOMA_F32, SOMA_SHAPE(n, 4), d->x}, y = {SOMA_I32, SOMA_SHAPE(n), d->label};
    return soma_dataset_arrays(s, x, .y = y, .classes = names);
}

/* Data for validation may name fewer classes, or the same in another order; a name that nobody knows is refused. */
static void validation_has_the_same_classes(void **state)
{
    (void)state;
    class_data d = make_classes();
    soma *s = open_seeded(5);
    const struct {
        const char *train[4], *other[4], *says;
    } cases[] = {{{"cat", "dog", "owl"}, {"cat", "dog", "owl"}, NULL},
                 {{"cat", "dog", "owl"}, {"cat", "dog"}, NULL},
                 {{"cat", "dog", "owl"}, {"0", "1", "2"}, NULL},
                 {{"cat", "owl", "owl"}, {"cat", "owl", "owl"}, NULL}, /* each is the one in its own place */
                 {{"cat", "dog", "owl"}, {"dog", "cat", "owl"}, NULL},
                 {{"cat", "dog", "owl"}, {"cat", "owl"}, NULL},
                 {{"cat", "dog", "owl"}, {"0", "1"}, "the data has 2 classes, but the model has 3 outputs"},
                 {{"cat", "dog", "owl"}, {"a", "b", "cat"}, "2 of the data's 3 classes are unknown"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        soma_dataset *train = named_set(s, &d, N, cases[i].train), *other = named_set(s, &d, 2, cases[i].other);
        soma_model *m = class_model(s, NULL);
        soma_status status = soma_fit(m, train, .validation = other);
        if (!cases[i].says)
            EXPECT_OK(s, status);
        assert_int_equal(status, cases[i].says ? SOMA_INVALID : SOMA_OK);
        if (cases[i].says)
            EXPECT_ERROR(s, "test_train.c:", "fit: validation", cases[i].says);
    }
    soma_close(s);
}

static void wrong_trainings_are_explained(void **state)
{
    (void)state;
    class_data d = make_classes();
    line_data line = make_line();
    soma *s = open_seeded(5);
    soma_dataset *set = class_set(s, &d), *values = line_set(s, &line);
    soma_dataset *bare = soma_dataset_arrays(s, .x = {SOMA_F32, SOMA_SHAPE(N, 4), d.x});
    soma_model *m = class_model(s, NULL), *linear = line_model(s);
#define WRONG(call, ...)                                                                                               \
    do {                                                                                                               \
        assert_int_equal(call, SOMA_INVALID);                                                                          \
        EXPECT_ERROR(s, "test_train.c:", __VA_ARGS__);                                                                 \
    } while (0)
    WRONG(soma_fit(m, NULL), "fit: no data was given");
    WRONG(soma_fit(m, set, .batch_size = -4), "batch_size is -4");
    WRONG(soma_fit(m, set, .epochs = -1), "epochs is -1");
    WRONG(soma_fit(m, set, .max_steps = -1), "max_steps is -1");
    WRONG(soma_fit(m, set, .micro_batch = -1), "micro_batch is -1");
    WRONG(soma_fit(m, set, .validation_split = 1), "validation_split is 1");
    WRONG(soma_fit(m, set, .validation_split = NAN), "validation_split");
    WRONG(soma_fit(m, set, .validation_split = 0.999), "0 of 100 samples");
    WRONG(soma_fit(m, set, .validation = values), "fit: validation", "f32[1]", "f32[4]");
    WRONG(soma_fit(m, set, .loss = "softmax_crossentropy"), "did you mean \"softmax_cross_entropy\"?");
    WRONG(soma_fit(m, set, .loss = "mse"), "mse compares numbers", "softmax_cross_entropy");
    WRONG(soma_fit(m, set, .optimizer = soma_sgd(.lr = -1)), "lr is -1");
    WRONG(soma_fit(m, values), "f32[1]", "\"x\" takes f32[4]");
    WRONG(soma_fit(m, bare), "no targets");
    WRONG(soma_fit(linear, set), "f32[4]", "f32[1]");
    WRONG(soma_evaluate(m, NULL), "evaluate: no data was given");
    WRONG(soma_evaluate(m, set, .batch_size = -1), "evaluate: batch_size is -1");
    soma_model *few = soma_model_new(s, "few");
    soma_value x = soma_input(few, "x", SOMA_F32, SOMA_SHAPE(4));
    WRONG(soma_fit(few, set), "\"few\" has no output");
    soma_output(few, "y", soma_dense(x, .units = 2));
    WRONG(soma_fit(few, set), "3 classes", "2 outputs", ".units = 3");
    soma_input(few, "other", SOMA_F32, SOMA_SHAPE(4));
    WRONG(soma_fit(few, set), "2 inputs");
#undef WRONG
    EXPECT_OK(s, soma_fit(m, set)); /* the model is as good as before */
    soma_model *broken = soma_model_new(s, "broken");
    soma_output(broken, "y", soma_dense(soma_input(broken, "x", SOMA_F32, SOMA_SHAPE(4)), .units = -2));
    assert_int_equal(soma_fit(broken, set), SOMA_INVALID);
    EXPECT_ERROR(s, "units is -2");
    assert_int_equal(soma_fit(NULL, set), SOMA_INVALID);
    soma_close(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(five_epochs_of_single_samples_reach_least_squares),
        cmocka_unit_test(full_batches_converge_to_least_squares),
        cmocka_unit_test(the_smaller_last_batch_is_trained_right),
        cmocka_unit_test(evaluation_does_not_depend_on_the_batch),
        cmocka_unit_test(validation_can_be_the_end_of_the_data),
        cmocka_unit_test(a_flat_target_is_a_column),
        cmocka_unit_test(xor_is_learned),
        cmocka_unit_test(the_same_seed_gives_the_same_bits),
        cmocka_unit_test(training_again_begins_afresh),
        cmocka_unit_test(classes_are_learned_and_counted),
        cmocka_unit_test(a_softmax_at_the_end_is_trained_on_logits),
        cmocka_unit_test(one_hot_targets_are_classes_too),
        cmocka_unit_test(a_label_out_of_range_changes_nothing),
        cmocka_unit_test(validation_has_the_same_classes),
        cmocka_unit_test(wrong_trainings_are_explained),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
