/* SPDX-License-Identifier: Apache-2.0
 *
 * The open loop, progress, and predict: what a caller does while a model is trained, and afterwards.
 */
#include "training.h"

/* ---- the open loop ---- */

/* Trains for two epochs; `meddle` runs other programs of the model between any two calls. */
static void open_loop(bool meddle, float *to)
{
    class_data d = make_classes();
    soma *s = open_seeded(5);
    soma_model *m = class_model(s, NULL);
    soma_dataset *set = class_set(s, &d);
    soma_trainer *t = soma_trainer_new(m, set, .batch_size = 24, .epochs = 2, .optimizer = soma_adam(.lr = 0.01));
    if (!t)
        fail_msg("%s", soma_error(s));
    assert_true(isnan(soma_trainer_loss(t)));
    assert_int_equal(soma_trainer_step(t), SOMA_STATE);
    EXPECT_ERROR(s, "soma_next first");
    for (int epoch = 0; epoch < 2; epoch++) {
        int64_t samples = 0;
        soma_status status;
        while ((status = soma_next(t)) == SOMA_OK) {
            float y[N * 3];
            soma_tensor tx = {SOMA_F32, SOMA_SHAPE(N, 4), d.x}, ty = {SOMA_F32, SOMA_SHAPE(N, 3), y};
            soma_evaluation result = {0};
            if (meddle && samples % 48 == 0)
                EXPECT_OK(s, soma_predict(m, &tx, &ty));
            EXPECT_OK(s, soma_trainer_step(t));
            assert_true(isfinite(soma_trainer_loss(t)) && soma_trainer_accuracy(t) >= 0);
            assert_non_null(soma_read(soma_trainer_program(t), soma_model_output(m, 0)).data);
            samples += soma_trainer_samples(t);
            if (meddle)
                EXPECT_OK(s, soma_evaluate(m, set, .batch_size = 61, .result = &result));
        }
        assert_int_equal(status, SOMA_END);
        assert_int_equal(samples, N);
    }
    copy_parameters(m, to);
    soma_trainer_free(t);
    soma_close(s);
}

static void other_programs_do_not_disturb_training(void **state)
{
    (void)state;
    float alone[PARAMETERS], meddled[PARAMETERS], fitted[PARAMETERS];
    open_loop(false, alone);
    open_loop(true, meddled);
    assert_memory_equal(alone, meddled, sizeof alone);
    class_data d = make_classes();
    soma *s = open_seeded(5);
    soma_model *m = class_model(s, NULL);
    EXPECT_OK(s, soma_fit(m, class_set(s, &d), .batch_size = 24, .epochs = 2, .optimizer = soma_adam(.lr = 0.01)));
    copy_parameters(m, fitted);
    assert_memory_equal(alone, fitted, sizeof alone); /* soma_fit is this loop */
    soma_close(s);
}

static void closing_frees_a_trainer(void **state)
{
    (void)state;
    class_data d = make_classes();
    soma *s = open_seeded(5);
    soma_trainer *t = soma_trainer_new(class_model(s, NULL), class_set(s, &d), .validation_split = 0.5);
    assert_non_null(t);
    assert_int_equal(soma_next(t), SOMA_OK);
    soma_close(s);
    soma_trainer_free(NULL);
    assert_int_equal(soma_next(NULL), SOMA_INVALID);
}

/* ---- progress ---- */

typedef struct watcher {
    int calls, stop_at;
    int64_t last_batch, epochs_done;
    soma_model *m; /* predicts inside the call when set */
    class_data *d;
} watcher;

static bool watch(void *user, const soma_progress *p)
{
    watcher *w = user;
    w->calls++;
    w->last_batch = p->batch;
    w->epochs_done += p->epoch_done;
    float y[3];
    soma_tensor tx = {SOMA_F32, SOMA_SHAPE(1, 4), w->d->x}, ty = {SOMA_F32, SOMA_SHAPE(1, 3), y};
    if (w->m && soma_predict(w->m, &tx, &ty) != SOMA_OK)
        return false;
    return w->calls != w->stop_at;
}

static void progress_can_stop_training(void **state)
{
    (void)state;
    class_data d = make_classes();
    soma *s = open_seeded(5);
    soma_model *m = class_model(s, NULL);
    watcher w = {.stop_at = 3, .d = &d};
    float before[PARAMETERS], after[PARAMETERS];
    copy_parameters(m, before);
    assert_int_equal(
        soma_fit(m, class_set(s, &d), .batch_size = 10, .progress_seconds = -1, .on_progress = watch, .user = &w),
        SOMA_CANCELLED);
    assert_int_equal(w.calls, 3);
    assert_int_equal(w.last_batch, 3);
    assert_int_equal(w.epochs_done, 0);
    assert_false(soma_failed(s));
    copy_parameters(m, after);
    assert_memory_not_equal(before, after, sizeof before);
    soma_close(s);
}

static void progress_comes_as_often_as_asked(void **state)
{
    (void)state;
    class_data d = make_classes();
    soma *s = open_seeded(5);
    soma_model *m = class_model(s, NULL);
    watcher each = {.d = &d}, once = {.d = &d};
    EXPECT_OK(s, soma_fit(m, class_set(s, &d), .batch_size = 10, .epochs = 3, .progress_seconds = -1,
                          .on_progress = watch, .user = &each));
    assert_int_equal(each.calls, 3 * 10 + 3);
    assert_int_equal(each.epochs_done, 3);
    EXPECT_OK(s, soma_fit(m, class_set(s, &d), .batch_size = 10, .epochs = 3, .on_progress = watch, .user = &once));
    assert_int_equal(once.calls, 3);
    soma_close(s);
}

static void predicting_in_the_callback_does_not_disturb(void **state)
{
    (void)state;
    class_data d = make_classes();
    float parameters[2][PARAMETERS];
    for (int i = 0; i < 2; i++) {
        soma *s = open_seeded(5);
        watcher w = {.d = &d};
        soma_model *m = class_model(s, NULL);
        w.m = i ? m : NULL;
        EXPECT_OK(s, soma_fit(m, class_set(s, &d), .batch_size = 24, .epochs = 2, .progress_seconds = -1,
                              .on_progress = watch, .user = &w));
        copy_parameters(m, parameters[i]);
        soma_close(s);
    }
    assert_memory_equal(parameters[0], parameters[1], sizeof parameters[0]);
}

typedef struct slow_clock {
    double now, tick;
    int looks;
} slow_clock;

static double look(void *user)
{
    slow_clock *c = user;
    c->looks++;
    return c->now += c->tick;
}

/* The clock is a seam: every look at it takes `tick`. Fast steps are not slowed down by it; slow ones are seen. */
static void the_clock_is_looked_at_rarely(void **state)
{
    (void)state;
    class_data d = make_classes();
    for (int slow = 0; slow < 2; slow++) {
        slow_clock c = {.tick = slow ? 0.5 : 1e-6};
        soma_context_options o = {.struct_size = sizeof o, .threads = 1, .clock = {look, &c}};
        soma *s = soma_open(&o);
        soma_model *m = class_model(s, NULL);
        watcher w = {.d = &d};
        soma_dataset *set = class_set(s, &d);
        c.looks = 0;
        EXPECT_OK(s, soma_fit(m, set, .batch_size = 1, .epochs = 20, .progress_seconds = 1, .on_progress = watch,
                              .user = &w));
        if (slow)
            assert_in_range(w.calls, 900, 1100); /* every second step, and every epoch */
        else
            assert_int_equal(w.calls, 20);
        if (!slow)
            assert_in_range(c.looks, 20, 80); /* of 2,000 steps */
        soma_close(s);
    }
}

static void max_steps_ends_training(void **state)
{
    (void)state;
    class_data d = make_classes();
    soma *s = open_seeded(5);
    soma_model *m = class_model(s, NULL);
    soma_progress last;
    EXPECT_OK(s, soma_fit(m, class_set(s, &d), .batch_size = 10, .epochs = 9, .max_steps = 14, .result = &last,
                          .optimizer = soma_adam(.peak_lr = 0.01)));
    assert_int_equal(last.epoch, 1);
    assert_int_equal(last.batch, 4);
    assert_true(fabs(last.learning_rate - 0.01 / 250000) < 1e-9); /* the schedule ends with the last step */
    soma_close(s);
}

/* ---- predict ---- */

static void prediction_does_not_depend_on_the_number_of_samples(void **state)
{
    (void)state;
    enum { MANY = 300 };
    static float x[MANY * 4], all[MANY * 3], some[MANY * 3];
    uint32_t noise = 3;
    for (int i = 0; i < MANY * 4; i++)
        x[i] = (float)uniform(&noise);
    soma *s = open_seeded(5);
    soma_model *m = class_model(s, NULL);
    soma_tensor tx = {SOMA_F32, SOMA_SHAPE(MANY, 4), x}, ty = {SOMA_F32, SOMA_SHAPE(MANY, 3), all};
    EXPECT_OK(s, soma_predict(m, &tx, &ty));
    const int64_t sizes[] = {1, 2, 3, 4, 5, 6, 1, 127, 128, 129, 256};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        int64_t n = sizes[i];
        tx.shape.dim[0] = ty.shape.dim[0] = n;
        ty.data = some;
        EXPECT_OK(s, soma_predict(m, &tx, &ty));
        for (int64_t j = 0; j < n * 3; j++)
            assert_true(fabsf(some[j] - all[j]) < 1e-5f);
    }
    uint64_t held = soma_memory_use(s).now; /* programs are kept, but not one for every size ever seen */
    for (int64_t n = 7; n < 60; n++) {
        tx.shape.dim[0] = ty.shape.dim[0] = n;
        EXPECT_OK(s, soma_predict(m, &tx, &ty));
    }
    assert_true(soma_memory_use(s).now < held + held / 2);
    *(float *)soma_tensor_find(m, "dense2.bias").tensor.data += 1;
    soma_touch(m);
    tx.shape.dim[0] = ty.shape.dim[0] = 1;
    EXPECT_OK(s, soma_predict(m, &tx, &ty));
    assert_true(fabsf(some[0] - all[0] - 1) < 1e-5f);
    soma_close(s);
}

static void wrong_predictions_are_explained(void **state)
{
    (void)state;
    soma *s = open_seeded(5);
    soma_model *m = class_model(s, NULL);
    float x[8] = {0}, y[6];
    soma_tensor tx = {SOMA_F32, SOMA_SHAPE(2, 4), x}, ty = {SOMA_F32, SOMA_SHAPE(2, 3), y}, wrong;
    assert_int_equal(soma_predict(m, NULL, &ty), SOMA_INVALID);
    EXPECT_ERROR(s, "x and y");
    wrong = (soma_tensor){SOMA_F32, SOMA_SHAPE(4), x};
    assert_int_equal(soma_predict(m, &wrong, &ty), SOMA_INVALID);
    EXPECT_ERROR(s, "x must be f32[N,4]", "f32[4]");
    wrong = (soma_tensor){SOMA_F64, SOMA_SHAPE(2, 4), x};
    assert_int_equal(soma_predict(m, &wrong, &ty), SOMA_INVALID);
    EXPECT_ERROR(s, "f64[2,4]");
    wrong = (soma_tensor){SOMA_F32, SOMA_SHAPE(1, 3), y};
    assert_int_equal(soma_predict(m, &tx, &wrong), SOMA_INVALID);
    EXPECT_ERROR(s, "room for 2 samples", "f32[1,3]");
    wrong = (soma_tensor){SOMA_F32, SOMA_SHAPE(2, 3), NULL};
    assert_int_equal(soma_predict(m, &tx, &wrong), SOMA_INVALID);
    EXPECT_ERROR(s, "without data");
    soma_model *none = soma_model_new(s, "none");
    assert_int_equal(soma_predict(none, &tx, &ty), SOMA_INVALID);
    EXPECT_ERROR(s, "0 inputs and 0 outputs");
    EXPECT_OK(s, soma_predict(m, &tx, &ty));
    soma_close(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(other_programs_do_not_disturb_training),
        cmocka_unit_test(closing_frees_a_trainer),
        cmocka_unit_test(progress_can_stop_training),
        cmocka_unit_test(progress_comes_as_often_as_asked),
        cmocka_unit_test(predicting_in_the_callback_does_not_disturb),
        cmocka_unit_test(the_clock_is_looked_at_rarely),
        cmocka_unit_test(max_steps_ends_training),
        cmocka_unit_test(prediction_does_not_depend_on_the_number_of_samples),
        cmocka_unit_test(wrong_predictions_are_explained),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
