/* SPDX-License-Identifier: Apache-2.0
 *
 * Learning rates that the caller sets, step by step or by a schedule of his own, against the formulas done by hand in
 * f64; and the optimizer's state as named tensors.
 */
#include "training.h"

#include <stdio.h>

/* y = w x with the loss (w x - 0)^2 on samples x = 0.5: the gradient of w is w / 2, whatever the batch. */
#define SAMPLES 3
static const float halves[SAMPLES] = {0.5f, 0.5f, 0.5f}, zeros[SAMPLES];

static soma_dataset *half_set(soma *s)
{
    return soma_dataset_arrays(s, .x = {SOMA_F32, SOMA_SHAPE(SAMPLES, 1), (void *)halves},
                               .y = {SOMA_F32, SOMA_SHAPE(SAMPLES, 1), (void *)zeros});
}

static soma_model *half_model(soma *s)
{
    soma_model *m = soma_model_new(s, "half");
    soma_value x = soma_input(m, "x", SOMA_F32, SOMA_SHAPE(1));
    soma_output(m, "y", soma_dense(x, .units = 1, .init = "constant", .init_a = 3, .no_bias = true, .name = "w"));
    return m;
}

static double number(soma_model *m, const char *name)
{
    soma_named_tensor t = soma_tensor_find(m, name);
    assert_non_null(t.tensor.data);
    return t.tensor.dtype == SOMA_I32 ? *(const int32_t *)t.tensor.data : (double)*(const float *)t.tensor.data;
}

static void set_number(soma_model *m, const char *name, double x)
{
    soma_named_tensor t = soma_tensor_find(m, name);
    assert_non_null(t.tensor.data);
    if (t.tensor.dtype == SOMA_I32)
        *(int32_t *)t.tensor.data = (int32_t)x;
    else
        *(float *)t.tensor.data = (float)x;
    soma_touch(m);
}

static void step(soma *s, soma_trainer *t)
{
    soma_status status = soma_next(t);
    if (status == SOMA_END)
        status = soma_next(t);
    EXPECT_OK(s, status);
    EXPECT_OK(s, soma_trainer_step(t));
}

static void expect_near(double is, double should)
{
    if (!(fabs(is - should) <= 1e-6 * fabs(should) + 1e-12))
        fail_msg("%.9g should be %.9g", is, should);
}

static const double rates[] = {0.1, 0.02, 0, 0.3, 0.3, 1e-4};
enum { STEPS = sizeof rates / sizeof *rates };

static void sgd_follows_the_rate(void **state)
{
    (void)state;
    soma *s = open_seeded(1);
    soma_model *m = half_model(s);
    soma_trainer *t = soma_trainer_new(m, half_set(s), .batch_size = SAMPLES, .optimizer = soma_sgd(.lr = 0.5));
    double w = 3;
    assert_true(soma_trainer_rate(t) == 0.5);
    step(s, t);
    w -= 0.5 * w / 2;
    expect_near(number(m, "w.weight"), w);
    for (int i = 0; i < STEPS; i++) {
        EXPECT_OK(s, soma_trainer_set_rate(t, rates[i]));
        assert_true(soma_trainer_rate(t) == rates[i]);
        double before = number(m, "w.weight");
        step(s, t);
        w -= rates[i] * w / 2;
        expect_near(number(m, "w.weight"), w);
        assert_true(rates[i] > 0 || number(m, "w.weight") == before);
    }
    soma_close(s);
}

static void momentum_follows_the_rate(void **state)
{
    (void)state;
    for (int nesterov = 0; nesterov < 2; nesterov++) {
        soma *s = open_seeded(1);
        soma_model *m = half_model(s);
        soma_trainer *t = soma_trainer_new(
            m, half_set(s), .batch_size = SAMPLES,
            .optimizer = soma_sgd(.lr = 0.5, .momentum = 0.9, .nesterov = nesterov != 0, .weight_decay = 0.01));
        double w = 3, v = 0;
        for (int i = 0; i < STEPS; i++) {
            EXPECT_OK(s, soma_trainer_set_rate(t, rates[i]));
            step(s, t);
            double h = w / 2 + 0.01 * w;
            v = 0.9 * v - rates[i] * h;
            w += nesterov ? 0.9 * v - rates[i] * h : v;
            expect_near(number(m, "w.weight"), w);
            expect_near(number(m, "optimizer/momentum/w.weight"), v);
        }
        soma_close(s);
    }
}

static void adam_follows_the_rate(void **state)
{
    (void)state;
    soma *s = open_seeded(1);
    soma_model *m = half_model(s);
    soma_trainer *t = soma_trainer_new(m, half_set(s), .batch_size = SAMPLES, .optimizer = soma_adam(.lr = 0.5));
    double w = 3, mean = 0, square = 0;
    for (int i = 0; i < STEPS; i++) {
        EXPECT_OK(s, soma_trainer_set_rate(t, rates[i]));
        step(s, t);
        double g = w / 2;
        mean = 0.9 * mean + 0.1 * g;
        square = 0.999 * square + 0.001 * g * g;
        w -= rates[i] * (mean / (1 - pow(0.9, i + 1))) / (sqrt(square / (1 - pow(0.999, i + 1))) + 1e-8);
        expect_near(number(m, "w.weight"), w);
        expect_near(number(m, "optimizer/m/w.weight"), mean);
        assert_true(fabs(number(m, "optimizer/v/w.weight") - square) < 1e-5 * square);
        assert_true(number(m, "optimizer/step") == i + 1);
    }
    soma_close(s);
}

static void wrong_rates_change_nothing(void **state)
{
    (void)state;
    soma *s = open_seeded(1);
    soma_model *m = half_model(s);
    soma_trainer *t = soma_trainer_new(m, half_set(s), .batch_size = SAMPLES, .optimizer = soma_sgd(.lr = 0.5));
    const struct {
        double rate;
        const char *text;
    } wrong[] = {{-0.1, "is -0.1; it must be a number, at least 0"}, {NAN, "is nan"}, {INFINITY, "is inf"}};
    for (int i = 0; i < 3; i++) {
        assert_int_equal(soma_trainer_set_rate(t, wrong[i].rate), SOMA_INVALID);
        EXPECT_ERROR(s, "soma_trainer_set_rate: the learning rate", wrong[i].text);
    }
    assert_true(soma_trainer_rate(t) == 0.5);
    step(s, t);
    expect_near(number(m, "w.weight"), 3 - 0.5 * 1.5);
    assert_int_equal(soma_trainer_set_rate(NULL, 1), SOMA_INVALID);
    assert_true(isnan(soma_trainer_rate(NULL)));
    soma_close(s);
}

/* ---- schedules ---- */

typedef struct asked {
    int64_t steps;
    int calls;
    double wrong;
} asked;

static double halving(void *user, int64_t now, int64_t steps)
{
    asked *a = user;
    assert_true(now == a->calls++);
    a->steps = steps;
    return now == 4 && a->wrong != 0 ? a->wrong : ldexp(0.5, -(int)now);
}

static void a_schedule_is_asked_before_every_step(void **state)
{
    (void)state;
    soma *s = open_seeded(1);
    soma_model *fitted = half_model(s), *stepped = half_model(s);
    asked a = {0}, b = {0};
    soma_progress last;
    EXPECT_OK(s, soma_fit(fitted, half_set(s), .batch_size = 2, .epochs = 3, .schedule = halving, .user = &a,
                          .result = &last));
    assert_true(a.calls == 6 && a.steps == 6 && last.learning_rate == 0.5 / 32);
    double w = 3;
    for (int i = 0; i < 6; i++)
        w -= ldexp(0.5, -i) * w / 2;
    expect_near(number(fitted, "w.weight"), w);
    soma_trainer *t = soma_trainer_new(stepped, half_set(s), .batch_size = 2, .epochs = 3, .schedule = halving,
                                       .user = &b);
    for (int i = 0; i < 6; i++)
        step(s, t);
    assert_true(b.calls == 6 && number(stepped, "w.weight") == number(fitted, "w.weight"));
    EXPECT_OK(s, soma_trainer_set_rate(t, 0)); /* takes the schedule's place */
    step(s, t);
    assert_true(b.calls == 6 && number(stepped, "w.weight") == number(fitted, "w.weight"));
    soma_close(s);
}

static void wrong_schedules_are_explained(void **state)
{
    (void)state;
    soma *s = open_seeded(1);
    soma_model *m = half_model(s), *good = half_model(s);
    asked a = {.wrong = NAN}, b = {0};
    assert_int_equal(soma_fit(m, half_set(s), .batch_size = SAMPLES, .epochs = 9, .schedule = halving, .user = &a),
                     SOMA_INVALID);
    EXPECT_ERROR(s, "test_rates.c:", "the schedule says a learning rate of nan for step 4, counted from 0");
    EXPECT_OK(s, soma_fit(good, half_set(s), .batch_size = SAMPLES, .epochs = 4, .schedule = halving, .user = &b));
    assert_true(number(m, "w.weight") == number(good, "w.weight"));
    assert_int_equal(soma_fit(m, half_set(s), .schedule = halving, .user = &a, .optimizer = soma_adam(.peak_lr = 0.1)),
                     SOMA_INVALID);
    EXPECT_ERROR(s, "peak_lr are two schedules");
    assert_int_equal(soma_fit(m, half_set(s), .schedule = halving, .user = &a, .optimizer = soma_sgd(.decay = 0.1)),
                     SOMA_INVALID);
    EXPECT_ERROR(s, "decay are two schedules");
    soma_close(s);
}

static void a_rate_takes_the_place_of_the_optimizers_schedule(void **state)
{
    (void)state;
    for (int one_cycle = 0; one_cycle < 2; one_cycle++) {
        soma *s = open_seeded(1);
        soma_model *m = half_model(s);
        soma_trainer *t = soma_trainer_new(m, half_set(s), .batch_size = SAMPLES, .epochs = 20,
                                           .optimizer = one_cycle ? soma_sgd(.peak_lr = 0.5)
                                                                  : soma_sgd(.lr = 0.5, .decay = 0.25));
        expect_near(soma_trainer_rate(t), one_cycle ? 0.5 / 25 : 0.5); /* of the step to come */
        step(s, t);
        step(s, t);
        double second = soma_trainer_rate(t), w = number(m, "w.weight");
        assert_true(one_cycle ? second > 0.5 / 25 : second == (double)(float)(0.5 / 1.25));
        EXPECT_OK(s, soma_trainer_set_rate(t, 0.125));
        for (int i = 0; i < 3; i++) {
            step(s, t);
            w -= 0.125 * w / 2;
            expect_near(number(m, "w.weight"), w);
            assert_true(soma_trainer_rate(t) == 0.125);
        }
        EXPECT_OK(s, soma_trainer_set_rate(t, 0));
        double before = number(m, "w.weight");
        step(s, t);
        assert_true(number(m, "w.weight") == before);
        soma_close(s);
    }
}

/* ---- groups ---- */

/* Three weights that see the same x each, and do not see each other. */
static soma_model *three_models(soma *s)
{
    soma_model *m = soma_model_new(s, "three");
    soma_value x = soma_input(m, "x", SOMA_F32, SOMA_SHAPE(1)), y[3];
    const char *const names[] = {"plain", "scaled", "own"};
    for (int i = 0; i < 3; i++)
        y[i] = soma_dense(x, .units = 1, .init = "constant", .init_a = 3, .no_bias = true, .name = names[i]);
    soma_output(m, "y", soma_concat(y, 3, 1));
    return m;
}

static void groups_keep_their_ratio(void **state)
{
    (void)state;
    static const float targets[3 * SAMPLES];
    const soma_param_group groups[] = {{.pattern = "scaled", .lr_scale = 0.25}, {.pattern = "own", .lr = 0.05}};
    for (int one_cycle = 0; one_cycle < 2; one_cycle++) {
        soma *s = open_seeded(1);
        soma_model *m = three_models(s);
        soma_dataset *d = soma_dataset_arrays(s, .x = {SOMA_F32, SOMA_SHAPE(SAMPLES, 1), (void *)halves},
                                              .y = {SOMA_F32, SOMA_SHAPE(SAMPLES, 3), (void *)targets});
        soma_trainer *t = soma_trainer_new(m, d, .batch_size = SAMPLES, .epochs = 10, .groups = groups, .n_groups = 2,
                                           .optimizer = one_cycle ? soma_sgd(.peak_lr = 0.1) : soma_sgd(.lr = 0.1));
        EXPECT_OK(s, soma_trainer_set_rate(t, 0.8));
        step(s, t);
        double g = 1.5 / 3; /* the mean over three elements */
        expect_near(number(m, "plain.weight"), 3 - 0.8 * g);
        expect_near(number(m, "scaled.weight"), 3 - 0.8 * 0.25 * g);
        expect_near(number(m, "own.weight"), 3 - 0.8 * 0.5 * g); /* 0.05 beside 0.1 */
        soma_close(s);
    }
}

/* ---- several programs ---- */

static void the_rate_holds_in_every_program(void **state)
{
    (void)state;
    soma *s = open_seeded(1);
    soma_model *m = half_model(s);
    soma_trainer *t = soma_trainer_new(m, half_set(s), .batch_size = 2, .micro_batch = 1); /* 2 samples, then 1 */
    EXPECT_OK(s, soma_trainer_set_rate(t, 0.25));
    float x[64] = {1}, y[64];
    soma_tensor xt = {SOMA_F32, SOMA_SHAPE(64, 1), x}, yt = {SOMA_F32, SOMA_SHAPE(64, 1), y};
    double w = 3;
    for (int i = 0; i < 5; i++) {
        step(s, t);
        w -= 0.25 * w / 2;
        expect_near(number(m, "w.weight"), w);
        EXPECT_OK(s, soma_predict(m, &xt, &yt)); /* compiles, and moves the workspace */
        expect_near((double)y[0], w);
    }
    soma_close(s);
}

static void setting_a_rate_compiles_and_allocates_nothing(void **state)
{
    (void)state;
    soma *s = open_seeded(1);
    soma_model *m = half_model(s);
    soma_trainer *t = soma_trainer_new(m, half_set(s), .batch_size = SAMPLES);
    step(s, t);
    soma_program *p = soma_trainer_program(t);
    uint64_t calls = soma_memory_use(s).calls;
    for (int i = 0; i < 100; i++) {
        EXPECT_OK(s, soma_trainer_set_rate(t, 1e-3 * i));
        step(s, t);
    }
    assert_true(soma_memory_use(s).calls == calls && soma_trainer_program(t) == p);
    soma_close(s);
}

/* ---- state ---- */

/* A training that is taken up again: parameters and state are put back by name, the bits are those of one that went
 * on. */
static void state_can_be_read_and_put_back(void **state)
{
    (void)state;
    const char *const kinds[] = {"sgd", "adam"};
    for (int adam = 0; adam < 2; adam++) {
        soma *s = open_seeded(1);
        soma_model *whole = half_model(s), *m = half_model(s);
        soma_optimizer o = adam ? soma_adam(.lr = 0.1) : soma_sgd(.lr = 0.1, .momentum = 0.9, .decay = 0.5);
        const char *const names[] = {adam ? "optimizer/m/w.weight" : "optimizer/momentum/w.weight",
                                     adam ? "optimizer/v/w.weight" : "optimizer/step", "optimizer/step"};
        assert_null(soma_tensor_find(m, names[0]).tensor.data);
        soma_trainer *t = soma_trainer_new(whole, half_set(s), .batch_size = SAMPLES, .optimizer = o);
        for (int i = 0; i < 7; i++)
            step(s, t);
        t = soma_trainer_new(m, half_set(s), .batch_size = SAMPLES, .optimizer = o);
        for (int i = 0; i < 4; i++)
            step(s, t);
        double kept[3];
        for (int i = 0; i < 3; i++)
            kept[i] = number(m, names[i]);
        soma_trainer_free(t);
        t = soma_trainer_new(m, half_set(s), .batch_size = SAMPLES, .optimizer = o);
        for (int i = 0; i < 3; i++)
            assert_true(number(m, names[i]) == 0); /* a training begins afresh */
        for (int i = 0; i < 3; i++)
            set_number(m, names[i], kept[i]);
        for (int i = 0; i < 3; i++)
            step(s, t);
        if (number(m, "w.weight") != number(whole, "w.weight") || number(m, "optimizer/step") != 7)
            fail_msg("%s: %.9g after %g steps, not %.9g", kinds[adam], number(m, "w.weight"),
                     number(m, "optimizer/step"), number(whole, "w.weight"));
        soma_close(s);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sgd_follows_the_rate),
        cmocka_unit_test(momentum_follows_the_rate),
        cmocka_unit_test(adam_follows_the_rate),
        cmocka_unit_test(wrong_rates_change_nothing),
        cmocka_unit_test(a_schedule_is_asked_before_every_step),
        cmocka_unit_test(wrong_schedules_are_explained),
        cmocka_unit_test(a_rate_takes_the_place_of_the_optimizers_schedule),
        cmocka_unit_test(groups_keep_their_ratio),
        cmocka_unit_test(the_rate_holds_in_every_program),
        cmocka_unit_test(setting_a_rate_compiles_and_allocates_nothing),
        cmocka_unit_test(state_can_be_read_and_put_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
