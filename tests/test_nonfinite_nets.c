/* SPDX-License-Identifier: Apache-2.0
 *
 * NaN and infinities in whole nets: a net with NaN weights answers nothing, training on one NaN pixel has a NaN loss,
 * whatever the compiler of graphs has merged and whichever kernels run. Evaluation counts what is no number and does
 * not take it for class 0.
 */
#include "training.h"

#include <stdio.h>
#include <stdlib.h>

static const char *const activations[] = {"relu", "relu6", "sigmoid", "tanh", NULL};

typedef enum kind { DENSE, CONVOLVED, NORMALISED, SEPARATE, KINDS } kind;

/* Ten outputs of a 3x16x16 picture; every activation is merged into what stands before it, or into the normalisation.
 * */
static soma_model *net(soma *s, kind k, const char *activation)
{
    soma_model *m = soma_model_new(s, "net");
    soma_value x = soma_input(m, "image", SOMA_F32, SOMA_SHAPE(3, 16, 16));
    if (k == CONVOLVED || k == NORMALISED) {
        x = soma_conv2d(x, .filters = 32, .kernel = {3, 3}, .activation = k == CONVOLVED ? activation : NULL);
        if (k == NORMALISED)
            x = soma_batch_norm(x, .activation = activation);
        x = soma_max_pool2d(x, .size = {2, 2});
        x = soma_conv2d(x, .filters = 16, .kernel = {1, 1}, .activation = activation);
    }
    if (k == SEPARATE) {
        x = soma_conv2d(x, .filters = 16, .kernel = {3, 3}, .activation = activation);
        x = soma_conv2d(x, .filters = 16, .kernel = {3, 3}, .groups = 16, .activation = activation);
    }
    x = soma_flatten(x);
    x = soma_dense(x, .units = 40, .activation = activation);
    soma_output(m, "logits", soma_dense(x, .units = 10));
    assert_string_equal(soma_error(s), "");
    return m;
}

enum { SAMPLES = 24, PIXELS = 3 * 16 * 16 };

static float pixels[SAMPLES * PIXELS];
static int32_t labels[SAMPLES];

static soma_dataset *pictures(soma *s)
{
    uint32_t state = 7;
    for (int i = 0; i < SAMPLES * PIXELS; i++)
        pixels[i] = (float)uniform(&state);
    for (int i = 0; i < SAMPLES; i++)
        labels[i] = i % 10;
    return soma_dataset_arrays(s, .x = {SOMA_F32, SOMA_SHAPE(SAMPLES, 3, 16, 16), pixels},
                               .y = {SOMA_I32, SOMA_SHAPE(SAMPLES), labels});
}

/* The i-th parameter that is trained; its name. */
static float *parameter(soma_model *m, int i, const char **name, int64_t *n)
{
    for (int k = 0; k < soma_tensor_count(m); k++) {
        soma_named_tensor t = soma_tensor_at(m, k);
        if (t.frozen || i-- > 0)
            continue;
        *name = t.name;
        *n = soma_shape_elements(&t.tensor.shape);
        return t.tensor.data;
    }
    return NULL;
}

/* One NaN in any parameter, or an infinity in the last layer's: every output that reads it is not finite. */
static void outputs_of_nan_weights(kind k, const char *activation)
{
    soma *s = open_seeded(3);
    soma_model *m = net(s, k, activation);
    float y[SAMPLES * 10], *weight;
    const char *name = "";
    int64_t n = 0;
    soma_dataset_free(pictures(s));
    soma_tensor x = {SOMA_F32, SOMA_SHAPE(SAMPLES, 3, 16, 16), pixels}, out = {SOMA_F32, SOMA_SHAPE(SAMPLES, 10), y};
    for (int i = 0; (weight = parameter(m, i, &name, &n)) != NULL; i++) {
        float before = weight[n / 2];
        weight[n / 2] = NAN;
        soma_touch(m);
        EXPECT_OK(s, soma_predict(m, &x, &out));
        int wrong = 0;
        for (int j = 0; j < SAMPLES; j++) {
            int numbers = 0;
            for (int c = 0; c < 10; c++)
                numbers += isfinite(y[j * 10 + c]) != 0;
            wrong += numbers == 10;
        }
        if (wrong)
            fail_msg("kind %d, %s: NaN in \"%s\" leaves %d of %d samples with ten numbers", k, activation, name, wrong,
                     SAMPLES);
        weight[n / 2] = before;
    }
    soma_close(s);
}

static void a_net_with_nan_weights_answers_nothing(void **state)
{
    (void)state;
    for (int k = 0; k < KINDS; k++)
        for (int i = 0; activations[i]; i++)
            outputs_of_nan_weights((kind)k, activations[i]);
}

/* ---- training ---- */

static void loss_of_a_nan_pixel(kind k, const char *activation, float number)
{
    soma *s = open_seeded(3);
    soma_model *m = net(s, k, activation);
    soma_dataset *d = pictures(s);
    pixels[5 * PIXELS + 300] = number;
    soma_trainer *t = soma_trainer_new(m, d, .optimizer = soma_sgd(.lr = 0.01), .batch_size = SAMPLES, .epochs = 2);
    EXPECT_OK(s, soma_next(t));
    soma_status status = soma_trainer_step(t);
    double loss = soma_trainer_loss(t);
    if (isfinite(loss) || status != SOMA_DATA)
        fail_msg("kind %d, %s: the loss of a pixel that is %g is %g (%s)", k, activation, (double)number, loss,
                 soma_status_text(status));
    soma_trainer_free(t);
    soma_close(s);
}

static void training_on_a_nan_pixel_has_a_nan_loss(void **state)
{
    (void)state;
    for (int k = 0; k < KINDS; k++)
        for (int i = 0; activations[i]; i++)
            loss_of_a_nan_pixel((kind)k, activations[i], NAN);
}

/* As the reference kernels have it, on which no library works: each parameter after a step is finite or not in both. */
static void gradients_are_not_finite_where_the_reference_says_so(void **state)
{
    (void)state;
    for (int k = 0; k < KINDS; k++)
        for (int i = 0; activations[i]; i++) {
            static uint8_t finite[2][200000];
            int64_t total = 0;
            for (int exact = 0; exact < 2; exact++) {
                soma_context_options o = {.struct_size = sizeof o, .seed = 3, .threads = 1, .exact = exact};
                soma *s = soma_open(&o);
                soma_model *m = net(s, (kind)k, activations[i]);
                soma_dataset *d = pictures(s);
                pixels[5 * PIXELS + 300] = NAN;
                soma_trainer *t = soma_trainer_new(m, d, .optimizer = soma_sgd(.lr = 0.01), .batch_size = SAMPLES);
                EXPECT_OK(s, soma_next(t));
                soma_trainer_step(t);
                const char *name;
                int64_t n, at = 0;
                float *weight;
                for (int p = 0; (weight = parameter(m, p, &name, &n)) != NULL; p++)
                    for (int64_t j = 0; j < n; j++)
                        finite[exact][at++] = isfinite(weight[j]) != 0;
                assert_true(at < (int64_t)sizeof finite[0]);
                total = at;
                soma_trainer_free(t);
                soma_close(s);
            }
            for (int64_t j = 0; j < total; j++)
                if (finite[0][j] && !finite[1][j])
                    fail_msg("kind %d, %s: parameter %lld is a number after a step in which the reference has none", k,
                             activations[i], (long long)j);
        }
}

/* ---- evaluation ---- */

static int64_t answers(const int64_t confusion[10 * 10])
{
    int64_t sum = 0;
    for (int i = 0; i < 10 * 10; i++)
        sum += confusion[i];
    return sum;
}

static void evaluation_counts_what_is_no_number(void **state)
{
    (void)state;
    soma *s = open_seeded(3);
    soma_model *m = net(s, CONVOLVED, "relu");
    soma_dataset *d = pictures(s);
    int64_t confusion[10 * 10];
    soma_evaluation e = {.confusion = confusion, .classes = 10};
    EXPECT_OK(s, soma_evaluate(m, d, .result = &e));
    assert_int_equal(e.not_finite, 0);
    assert_int_equal(answers(confusion), SAMPLES);
    pixels[5 * PIXELS + 300] = NAN; /* one sample's */
    EXPECT_OK(s, soma_evaluate(m, d, .result = &e));
    assert_int_equal(e.not_finite, 1);
    assert_int_equal(answers(confusion), SAMPLES - 1);
    assert_true(isnan(e.loss));
    const char *name;
    int64_t n;
    parameter(m, 0, &name, &n)[0] = NAN; /* everybody's */
    soma_touch(m);
    for (int i = 0; i < SAMPLES; i++)
        labels[i] = 0;
    EXPECT_OK(s, soma_evaluate(m, d, .result = &e));
    assert_int_equal(e.not_finite, SAMPLES);
    assert_true(e.accuracy == 0); /* what is no number is not class 0 */
    assert_int_equal(answers(confusion), 0);
    soma_close(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_net_with_nan_weights_answers_nothing),
        cmocka_unit_test(training_on_a_nan_pixel_has_a_nan_loss),
        cmocka_unit_test(gradients_are_not_finite_where_the_reference_says_so),
        cmocka_unit_test(evaluation_counts_what_is_no_number),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
