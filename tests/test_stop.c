/* SPDX-License-Identifier: Apache-2.0
 *
 * How training ends before its time: losses and parameters that are no numbers, and callers who ask for it.
 */
#include "training.h"

#include <stdio.h>

typedef struct two_columns {
    float x[N], y[N];
} two_columns;

static two_columns make_line(void)
{
    two_columns d;
    for (int i = 0; i < N; i++) {
        d.x[i] = (float)(i - N / 2) / (N / 4);
        d.y[i] = 2 * d.x[i] + 1;
    }
    return d;
}

static soma_dataset *line_set(soma *s, two_columns *d)
{
    return soma_dataset_arrays(s, .x = {SOMA_F32, SOMA_SHAPE(N, 1), d->x}, .y = {SOMA_F32, SOMA_SHAPE(N, 1), d->y});
}

static soma_model *line_model(soma *s)
{
    soma_model *m = soma_model_new(s, "line");
    soma_value x = soma_input(m, "x", SOMA_F32, SOMA_SHAPE(1));
    soma_output(m, "y", soma_dense(x, .units = 1, .init = "constant", .init_a = 3));
    return m;
}

static float weight(soma_model *m)
{
    return *(const float *)soma_tensor_find(m, "dense1.weight").tensor.data;
}

/* ---- no numbers ---- */

typedef struct seen {
    int calls, stop_after, asked;
    double last_loss, last_validation;
    bool had_loss, had_validation;
} seen;

static bool watch(void *user, const soma_progress *p)
{
    seen *w = user;
    w->calls++;
    w->last_loss = p->loss;
    w->had_loss = p->has_loss;
    w->had_validation = p->has_validation;
    w->last_validation = p->val_loss;
    return true;
}

static void a_diverging_fit_stops_at_the_step(void **state)
{
    (void)state;
    two_columns d = make_line();
    soma *s = open_seeded(1);
    soma_model *m = line_model(s);
    soma_progress last;
    soma_status status = soma_fit(m, line_set(s, &d), .batch_size = 25, .epochs = 1000, .result = &last,
                                  .optimizer = soma_sgd(.lr = 10));
    assert_int_equal(status, SOMA_DATA);
    assert_true(last.has_loss && !isfinite(last.loss) && !last.epoch_done);
    assert_true(last.step > 1 && last.step < 4000 && last.steps == 4000);
    char step[128];
    snprintf(step, sizeof step, "at step %lld (epoch %lld, batch %lld of 4, 25 samples)", (long long)last.step,
             (long long)last.epoch + 1, (long long)last.batch);
    EXPECT_ERROR(s, step, "test_stop.c:", "the loss is infinite", "diverged", "a lower learning rate than 10",
                 "the data");
    soma_close(s);
}

static void a_diverging_open_loop_stops_too(void **state)
{
    (void)state;
    two_columns d = make_line();
    soma *s = open_seeded(1);
    soma_model *m = line_model(s);
    soma_trainer *t = soma_trainer_new(m, line_set(s, &d), .batch_size = N, .optimizer = soma_sgd(.lr = 1000));
    soma_status status = SOMA_OK;
    int steps = 0;
    while (status == SOMA_OK && steps < 1000) {
        if (soma_next(t) == SOMA_END)
            continue;
        status = soma_trainer_step(t);
        steps++;
    }
    assert_int_equal(status, SOMA_DATA);
    assert_false(isfinite(soma_trainer_loss(t)));
    EXPECT_ERROR(s, "the loss is infinite at step ", "test_stop.c:");
    soma_close(s);
}

static void a_nan_in_the_data_is_seen_before_anything_is_learned(void **state)
{
    (void)state;
    two_columns d = make_line();
    d.x[17] = NAN;
    soma *s = open_seeded(1);
    assert_int_equal(soma_fit(line_model(s), line_set(s, &d), .batch_size = N), SOMA_DATA);
    EXPECT_ERROR(s, "the loss is NaN at step 1 (epoch 1, batch 1 of 1, 100 samples)", "before anything was learned",
                 "in the data");
    soma_close(s);
}

static void a_validation_loss_that_is_nan_stops(void **state)
{
    (void)state;
    two_columns d = make_line(), v = make_line();
    v.y[3] = NAN;
    soma *s = open_seeded(1);
    seen w = {0};
    soma_progress last;
    soma_status status = soma_fit(line_model(s), line_set(s, &d), .epochs = 3, .validation = line_set(s, &v),
                                  .on_progress = watch, .user = &w, .result = &last);
    assert_int_equal(status, SOMA_DATA);
    assert_true(w.calls == 1 && w.had_validation && isnan(w.last_validation) && isfinite(w.last_loss));
    assert_true(last.epoch == 0 && last.has_validation);
    EXPECT_ERROR(s, "the validation loss is NaN after epoch 1", "in the validation data");
    soma_close(s);
}

/* The loss of a step is computed before its update: what the last one did must be looked at. */
static void parameters_that_overflow_in_the_last_step_are_seen(void **state)
{
    (void)state;
    two_columns d = make_line();
    for (int i = 0; i < N; i++)
        d.x[i] = 1e10f + (float)i;
    soma *s = open_seeded(1);
    soma_model *m = line_model(s);
    soma_progress last;
    soma_status status = soma_fit(m, line_set(s, &d), .max_steps = 1, .batch_size = N, .result = &last,
                                  .optimizer = soma_sgd(.lr = 1e29));
    assert_int_equal(status, SOMA_DATA);
    assert_true(isfinite(last.loss));
    assert_false(isfinite(weight(m)));
    EXPECT_ERROR(s, "model \"line\"", "the tensor \"dense1.weight\" is infinite", "lower learning rate");
    assert_int_equal(soma_check_finite(m), SOMA_DATA);
    soma_clear(s);
    *(float *)soma_tensor_find(m, "dense1.weight").tensor.data = 1;
    *(float *)soma_tensor_find(m, "dense1.bias").tensor.data = NAN;
    assert_int_equal(soma_check_finite(m), SOMA_DATA);
    EXPECT_ERROR(s, "element 0 of the tensor \"dense1.bias\" is NaN");
    *(float *)soma_tensor_find(m, "dense1.bias").tensor.data = 0;
    EXPECT_OK(s, soma_check_finite(m));
    assert_int_equal(soma_check_finite(NULL), SOMA_INVALID);
    soma_close(s);
}

static void running_statistics_are_looked_at_frozen_tensors_are_not(void **state)
{
    (void)state;
    soma *s = open_seeded(1);
    soma_model *m = soma_model_new(s, "mask");
    soma_value x = soma_input(m, "x", SOMA_F64, SOMA_SHAPE(3));
    soma_value mask = soma_parameter(m, "mask", SOMA_SHAPE(3), .dtype = SOMA_F64, .frozen = true);
    soma_output(m, "y", soma_batch_norm(soma_add(x, mask), .name = "norm"));
    ((double *)soma_tensor_find(m, "mask").tensor.data)[1] = -INFINITY;
    EXPECT_OK(s, soma_check_finite(m));
    ((double *)soma_tensor_find(m, "norm.running_var").tensor.data)[2] = NAN;
    assert_int_equal(soma_check_finite(m), SOMA_DATA);
    EXPECT_ERROR(s, "element 2 of the tensor \"norm.running_var\" is NaN");
    soma_close(s);
}

/* ---- being asked ---- */

static bool after(void *user)
{
    seen *w = user;
    return w->asked++ >= w->stop_after;
}

static void stopping_is_asked_after_every_step(void **state)
{
    (void)state;
    two_columns d = make_line();
    soma *s = open_seeded(1);
    soma_model *stopped = line_model(s), *limited = line_model(s);
    seen w = {.stop_after = 6};
    soma_progress last;
    assert_int_equal(
        soma_fit(stopped, line_set(s, &d), .batch_size = 25, .epochs = 9, .stop = after, .user = &w, .result = &last),
        SOMA_CANCELLED);
    assert_false(soma_failed(s));
    assert_true(last.step == 6 && last.steps == 36 && last.epoch == 1 && last.batch == 2 && last.has_loss);
    EXPECT_OK(s, soma_fit(limited, line_set(s, &d), .batch_size = 25, .epochs = 9, .max_steps = 6));
    assert_true(weight(stopped) == weight(limited));
    soma_close(s);
}

static void stopping_before_the_first_step_changes_nothing(void **state)
{
    (void)state;
    two_columns d = make_line();
    soma *s = open_seeded(1);
    soma_model *m = line_model(s);
    seen w = {.stop_after = 0};
    soma_progress last;
    assert_int_equal(soma_fit(m, line_set(s, &d), .stop = after, .user = &w, .result = &last), SOMA_CANCELLED);
    assert_true(w.asked == 1 && last.step == 0 && !last.has_loss && weight(m) == 3);
    soma_close(s);
}

static void stopping_is_asked_while_validating_and_evaluating(void **state)
{
    (void)state;
    two_columns d = make_line();
    soma *s = open_seeded(1);
    soma_model *m = line_model(s);
    soma_dataset *set = line_set(s, &d);
    seen w = {.stop_after = 5}; /* before the first step, after four, after one of validation */
    soma_progress last;
    assert_int_equal(
        soma_fit(m, set, .batch_size = 25, .epochs = 3, .validation = set, .stop = after, .user = &w, .result = &last),
        SOMA_CANCELLED);
    assert_true(last.step == 4 && !last.has_validation && !last.epoch_done);
    seen v = {.stop_after = 1};
    soma_evaluation result = {.samples = 77};
    assert_int_equal(soma_evaluate(m, set, .batch_size = 25, .result = &result, .stop = after, .user = &v),
                     SOMA_CANCELLED);
    assert_true(v.asked == 2 && result.samples == 77 && !soma_failed(s));
    soma_close(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_diverging_fit_stops_at_the_step),
        cmocka_unit_test(a_diverging_open_loop_stops_too),
        cmocka_unit_test(a_nan_in_the_data_is_seen_before_anything_is_learned),
        cmocka_unit_test(a_validation_loss_that_is_nan_stops),
        cmocka_unit_test(parameters_that_overflow_in_the_last_step_are_seen),
        cmocka_unit_test(running_statistics_are_looked_at_frozen_tensors_are_not),
        cmocka_unit_test(stopping_is_asked_after_every_step),
        cmocka_unit_test(stopping_before_the_first_step_changes_nothing),
        cmocka_unit_test(stopping_is_asked_while_validating_and_evaluating),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
