/* SPDX-License-Identifier: Apache-2.0
 *
 * A program as a user writes it, in strict C11: builds a VGG-like network, trains it on arrays, saves and loads it, and
 * asks the loaded one. Compiled with -std=c11 -Wpedantic -Werror against the shared library; cpp_program.cc is its
 * twin.
 */
#include <soma/soma.h>

#include <stdio.h>
#include <string.h>

enum { SAMPLES = 48, SIDE = 20, PIXELS = 3 * SIDE * SIDE, CLASSES = 3 };

static float images[SAMPLES][PIXELS];
static int32_t labels[SAMPLES];

/* Class k is bright in colour k, on a fixed pattern. */
static void draw(void)
{
    for (int i = 0; i < SAMPLES; i++) {
        labels[i] = i % CLASSES;
        for (int p = 0; p < PIXELS; p++)
            images[i][p] = (float)((i * 7 + p * 13) % 10) / 20 + (p / (SIDE * SIDE) == labels[i] ? 0.5f : 0.0f);
    }
}

static soma_model *build(soma *s)
{
    soma_model *m = soma_model_new(s, "vgg-like");
    soma_value x = soma_input(m, "image", SOMA_F32, SOMA_SHAPE(3, SIDE, SIDE));
    x = soma_conv2d(x, .filters = 4, .kernel = {3, 3}, .activation = "relu");
    x = soma_conv2d(x, .filters = 4, .kernel = {3, 3}, .activation = "relu");
    x = soma_max_pool2d(x, .size = {2, 2});
    x = soma_dropout(x, .rate = 0.25);
    x = soma_flatten(x);
    x = soma_dense(x, .units = 16, .activation = "relu");
    x = soma_dense(x, .units = CLASSES);
    soma_output(m, "logits", x);
    return m;
}

static int failed(soma *s, const char *what)
{
    fprintf(stderr, "%s: %s\n", what, soma_error(s));
    soma_close(s);
    return 1;
}

int main(int argc, char **argv)
{
    const char *path = argc > 1 ? argv[1] : "c_program.safetensors";
    draw();
    soma *s = soma_open(NULL);
    soma_model *m = build(s);
    soma_dataset *train = soma_dataset_arrays(s, .x = {SOMA_F32, SOMA_SHAPE(SAMPLES, 3, SIDE, SIDE), images},
                                              .y = {SOMA_I32, SOMA_SHAPE(SAMPLES), labels});
    soma_progress first = {0}, last = {0};
    soma_fit(m, train, .loss = "softmax_cross_entropy",
             .optimizer = soma_sgd(.lr = 0.02, .momentum = 0.9, .decay = 1e-6, .nesterov = true), .batch_size = 16,
             .result = &first);
    soma_fit(m, train, .loss = "softmax_cross_entropy", .optimizer = soma_adam(), .batch_size = 20, .epochs = 30,
             .result = &last);
    soma_save(m, path);
    soma_model *loaded = soma_load(s, path);
    float before[SAMPLES][CLASSES], after[SAMPLES][CLASSES];
    soma_tensor x = {SOMA_F32, SOMA_SHAPE(SAMPLES, 3, SIDE, SIDE), images};
    soma_tensor y = {SOMA_F32, SOMA_SHAPE(SAMPLES, CLASSES), before};
    soma_predict(m, &x, &y);
    y.data = after;
    soma_predict(loaded, &x, &y);
    remove(path);
    if (soma_failed(s))
        return failed(s, "c_program");
    printf("loss %.4f after one epoch, %.4f at the end, accuracy %.3f\n", first.loss, last.loss, last.accuracy);
    if (!(last.loss < first.loss) || !(last.accuracy > 0.9))
        return failed(s, "the network did not learn three colours");
    if (memcmp(before, after, sizeof before) != 0)
        return failed(s, "the loaded model gives other bits than the saved one");
    soma_close(s);
    return 0;
}
