/* SPDX-License-Identifier: Apache-2.0
 *
 * Groups of parameters: frozen ones stay to the bit and cost no gradient; rates and weight decay by pattern, against
 * the update formulas; patterns that match nothing.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>
#include <soma/soma.h>

enum { N = 6 };
static float pixels[N * 2 * 4 * 4];
static int32_t labels[N] = {0, 1, 2, 0, 1, 2};

static soma *open_context(void)
{
    return soma_open(&(soma_context_options){.struct_size = sizeof(soma_context_options), .threads = 1, .seed = 3});
}

static soma_model *network(soma *s)
{
    soma_model *m = soma_model_new(s, "net");
    soma_value x = soma_input(m, "x", SOMA_F32, SOMA_SHAPE(2, 4, 4));
    soma_scope_push(m, "features");
    x = soma_conv2d(x, .filters = 3, .kernel = {3, 3}, .name = "0", .activation = "relu", .bias_init = "ones");
    x = soma_conv2d(x, .filters = 3, .kernel = {2, 2}, .name = "1", .activation = "relu", .bias_init = "ones");
    soma_scope_pop(m);
    x = soma_dense(soma_flatten(x), .units = 3, .name = "fc", .bias_init = "ones");
    soma_output(m, "y", x);
    return m;
}

static soma_dataset *data(soma *s)
{
    uint32_t state = 5;
    for (size_t i = 0; i < sizeof pixels / sizeof *pixels; i++) {
        state = state * 1664525u + 1013904223u;
        pixels[i] = (float)(state >> 8) * 0x1p-23f - 1;
    }
    return soma_dataset_arrays(s, .x = {SOMA_F32, SOMA_SHAPE(N, 2, 4, 4), pixels},
                               .y = {SOMA_I32, SOMA_SHAPE(N), labels});
}

static const char *const names[] = {"features.0.weight", "features.0.bias", "features.1.weight",
                                    "features.1.bias",   "fc.weight",       "fc.bias"};
enum { F0W, F0B, F1W, F1B, FCW, FCB, TENSORS };

typedef struct moves {
    double of[TENSORS]; /* the first element's way in one step */
    bool any[TENSORS];  /* did any element move? */
    double begin[TENSORS];
} moves;

/* One training with these groups from the same initial values. */
static moves train(soma_optimizer optimizer, const soma_param_group *groups, int n, int64_t steps)
{
    moves result = {{0}, {false}, {0}};
    static float before[TENSORS][256];
    soma *s = open_context();
    soma_model *m = network(s);
    soma_dataset *d = data(s);
    for (int i = 0; i < TENSORS; i++) {
        soma_tensor t = soma_tensor_find(m, names[i]).tensor;
        memcpy(before[i], t.data, (size_t)soma_shape_elements(&t.shape) * sizeof(float));
    }
    soma_status status = soma_fit(m, d, .optimizer = optimizer, .batch_size = N, .max_steps = steps, .epochs = 10,
                                  .no_shuffle = true, .groups = groups, .n_groups = n);
    if (status != SOMA_OK)
        fail_msg("%s", soma_error(s));
    for (int i = 0; i < TENSORS; i++) {
        soma_tensor t = soma_tensor_find(m, names[i]).tensor;
        size_t bytes = (size_t)soma_shape_elements(&t.shape) * sizeof(float);
        result.of[i] = (double)*(float *)t.data - (double)before[i][0];
        result.begin[i] = (double)before[i][0];
        result.any[i] = memcmp(before[i], t.data, bytes) != 0;
    }
    soma_close(s);
    return result;
}

static void close_to(double a, double b)
{
    if (!(fabs(a - b) <= 1e-6 + 1e-3 * fabs(b)))
        fail_msg("%.9g should be %.9g", a, b);
}

static void frozen_tensors_stay_and_cost_nothing(void **state)
{
    (void)state;
    const soma_param_group groups[] = {{.pattern = "features.*", .frozen = true}};
    moves moved = train(soma_adam(.lr = 0.01), groups, 1, 5);
    const bool wanted[TENSORS] = {false, false, false, false, true, true};
    for (int i = 0; i < TENSORS; i++)
        assert_int_equal(moved.any[i], wanted[i]);
    soma *s = open_context();
    soma_model *m = network(s);
    soma_trainer *t = soma_trainer_new(m, data(s), .batch_size = N, .groups = groups, .n_groups = 1);
    const soma_program *p = soma_trainer_program(t);
    int gradients = 0, forwards = 0;
    for (int i = 0; i < soma_program_nodes(p); i++) {
        soma_plan_node node = soma_program_node(p, i);
        bool frozen = !strncmp(node.layer, "features.", 9);
        gradients += frozen && strcmp(node.op, "conv2d") && strcmp(node.op, "reorder");
        forwards += frozen && !strcmp(node.op, "conv2d");
    }
    assert_int_equal(forwards, 2);
    assert_int_equal(gradients, 0);
    soma_close(s);
}

static void the_middle_can_be_frozen(void **state)
{
    (void)state;
    const soma_param_group groups[] = {{.pattern = "features.1", .frozen = true}};
    moves moved = train(soma_sgd(.lr = 0.1), groups, 1, 3);
    const bool wanted[TENSORS] = {true, true, false, false, true, true};
    for (int i = 0; i < TENSORS; i++)
        assert_int_equal(moved.any[i], wanted[i]);
}

static void later_groups_decide(void **state)
{
    (void)state;
    const soma_param_group groups[] = {{.pattern = "*", .frozen = true}, {.pattern = "f?", .trained = true}};
    moves moved = train(soma_sgd(.lr = 0.1), groups, 2, 3);
    const bool wanted[TENSORS] = {false, false, false, false, true, true};
    for (int i = 0; i < TENSORS; i++)
        assert_int_equal(moved.any[i], wanted[i]);
}

/* One step of sgd goes lr times the gradient; of adam, lr (nearly); of one-cycle, times the schedule. */
static void rates_are_by_group(void **state)
{
    (void)state;
    const soma_param_group groups[] = {{.pattern = "features", .lr_scale = 0.5}, {.pattern = "*.bias", .lr = 0.03}};
    const soma_optimizer ways[] = {soma_sgd(.lr = 0.1), soma_sgd(.lr = 0.1, .momentum = 0.9), soma_adam(.lr = 0.1),
                                   soma_sgd(.peak_lr = 0.1), soma_sgd(.lr = 0.1, .decay = 0.5)};
    for (size_t i = 0; i < sizeof ways / sizeof *ways; i++) {
        moves plain = train(ways[i], NULL, 0, 1), moved = train(ways[i], groups, 2, 1);
        const double factor[TENSORS] = {0.5, 0.3, 0.5, 0.3, 1, 0.3};
        for (int k = 0; k < TENSORS; k++) {
            assert_true(plain.of[k] != 0 || k == F0W); /* relu may be off there */
            close_to(moved.of[k], factor[k] * plain.of[k]);
        }
    }
}

/* sgd: the way gains -lr * weight_decay * w. */
static void weight_decay_is_by_group(void **state)
{
    (void)state;
    const soma_param_group groups[] = {{.pattern = "fc", .weight_decay = 0.5},
                                       {.pattern = "*.bias", .no_weight_decay = true}};
    moves none = train(soma_sgd(.lr = 0.1), NULL, 0, 1),
          moved = train(soma_sgd(.lr = 0.1, .weight_decay = 0.2), groups, 2, 1);
    const double decay[TENSORS] = {0.2, 0, 0.2, 0, 0.5, 0};
    for (int k = 0; k < TENSORS; k++)
        close_to(moved.of[k], none.of[k] - 0.1 * decay[k] * none.begin[k]);
}

static void the_shown_rate_is_the_optimizers(void **state)
{
    (void)state;
    const soma_param_group groups[] = {{.pattern = "features", .lr_scale = 0.5}};
    soma *s = open_context();
    soma_model *m = network(s);
    soma_progress with = {0}, without = {0};
    assert_int_equal(soma_fit(m, data(s), .optimizer = soma_sgd(.peak_lr = 0.1), .batch_size = N, .epochs = 3,
                              .groups = groups, .n_groups = 1, .result = &with),
                     SOMA_OK);
    assert_int_equal(
        soma_fit(m, data(s), .optimizer = soma_sgd(.peak_lr = 0.1), .batch_size = N, .epochs = 3, .result = &without),
        SOMA_OK);
    assert_true(with.learning_rate > 0 && with.learning_rate == without.learning_rate);
    soma_close(s);
}

/* Frozen batch norms neither follow the batch nor normalise by it: the loss is the evaluation's. */
static void frozen_statistics_stay_and_are_used(void **state)
{
    (void)state;
    for (int frozen = 0; frozen < 2; frozen++) {
        soma *s = open_context();
        soma_model *m = soma_model_new(s, "norm");
        soma_value x = soma_input(m, "x", SOMA_F32, SOMA_SHAPE(2, 4, 4));
        x = soma_batch_norm(x, .name = "bn", .activation = "relu");
        x = soma_dense(soma_flatten(x), .units = 3, .name = "fc");
        soma_output(m, "y", x);
        float *mean = soma_tensor_find(m, "bn.running_mean").tensor.data;
        float *var = soma_tensor_find(m, "bn.running_var").tensor.data;
        mean[0] = 0.5f;
        var[1] = 4;
        soma_touch(m);
        soma_evaluation before = {0};
        assert_int_equal(soma_evaluate(m, data(s), .result = &before), SOMA_OK);
        const soma_param_group groups[] = {{.pattern = "bn", .frozen = true}};
        soma_progress first = {0};
        assert_int_equal(soma_fit(m, data(s), .batch_size = N, .max_steps = 1, .no_shuffle = true, .groups = groups,
                                  .n_groups = frozen, .result = &first),
                         SOMA_OK);
        assert_int_equal(mean[0] == 0.5f && var[1] == 4, frozen);
        assert_int_equal(fabs(first.loss - before.loss) < 1e-6, frozen);
        const float *weight = soma_tensor_find(m, "bn.weight").tensor.data;
        assert_int_equal(weight[0] == 1 && weight[1] == 1, frozen);
        soma_close(s);
    }
}

static void wrong(soma_param_group group, const char *says)
{
    soma *s = open_context();
    soma_model *m = network(s);
    assert_int_equal(soma_fit(m, data(s), .groups = &group, .n_groups = 1), SOMA_INVALID);
    if (!strstr(soma_error(s), says))
        fail_msg("\"%s\" does not say \"%s\"", soma_error(s), says);
    soma_clear(s);
    assert_int_equal(soma_fit(m, data(s)), SOMA_OK); /* the model stays usable */
    soma_close(s);
}

static void wrong_groups_are_refused(void **state)
{
    (void)state;
    wrong((soma_param_group){.pattern = "featres", .frozen = true}, "did you mean \"features\"?");
    wrong((soma_param_group){.pattern = "features.0.wieght", .lr = 1}, "did you mean \"features.0.weight\"?");
    wrong((soma_param_group){.pattern = "zzzzzzzz"}, "no tensor of the model \"net\" has such a name");
    wrong((soma_param_group){.pattern = "feature", .frozen = true},
          "did you mean \"features\"?"); /* no part of a word */
    wrong((soma_param_group){.pattern = ""}, "a pattern is missing");
    wrong((soma_param_group){.pattern = "fc", .lr = 1, .lr_scale = 2}, "give lr or lr_scale");
    wrong((soma_param_group){.pattern = "fc", .lr = -1}, "lr must be");
    wrong((soma_param_group){.pattern = "fc", .lr_scale = (double)NAN}, "lr_scale must be");
    wrong((soma_param_group){.pattern = "fc", .weight_decay = -1}, "weight_decay must be");
    wrong((soma_param_group){.pattern = "fc", .frozen = true, .trained = true}, "frozen or trained");
    wrong((soma_param_group){.pattern = "*", .frozen = true}, "nothing to train");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(frozen_tensors_stay_and_cost_nothing),
        cmocka_unit_test(the_middle_can_be_frozen),
        cmocka_unit_test(later_groups_decide),
        cmocka_unit_test(rates_are_by_group),
        cmocka_unit_test(weight_decay_is_by_group),
        cmocka_unit_test(the_shown_rate_is_the_optimizers),
        cmocka_unit_test(frozen_statistics_stay_and_are_used),
        cmocka_unit_test(wrong_groups_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
