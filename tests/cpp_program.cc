// SPDX-License-Identifier: Apache-2.0
//
// A program as a user writes it, in C++20: builds a VGG-like network, trains it on arrays, saves and loads it, and asks
// the loaded one. Fields stand in the order of the structs, as C++ wants. c_program.c is its twin.
#include <soma/soma.h>

#include <cstdint>
#include <cstdio>
#include <vector>

static constexpr int samples = 48, side = 20, pixels = 3 * side * side, classes = 3;

static soma_model *build(soma *s)
{
    soma_model *m = soma_model_new(s, "vgg-like");
    soma_value x = soma_input(m, "image", SOMA_F32, SOMA_SHAPE(3, side, side));
    x = soma_conv2d(x, .filters = 4, .kernel = {3, 3}, .activation = "relu");
    x = soma_conv2d(x, .filters = 4, .kernel = {3, 3}, .activation = "relu");
    x = soma_max_pool2d(x, .size = {2, 2});
    x = soma_dropout(x, .rate = 0.25);
    x = soma_flatten(x);
    x = soma_dense(x, .units = 16, .activation = "relu");
    x = soma_dense(x, .units = classes);
    soma_output(m, "logits", x);
    return m;
}

static int failed(soma *s, const char *what)
{
    std::fprintf(stderr, "%s: %s\n", what, soma_error(s));
    soma_close(s);
    return 1;
}

/* Zero that is meant is no narrowing, whatever the field's type. */
static bool zero_is_a_number()
{
    return soma_sgd(.lr = SOMA_ZERO).lr == 0 && soma_adam(.beta1 = SOMA_ZERO).beta1 == 0 &&
           soma_fit_options{.seed = SOMA_ZERO}.seed == uint64_t{SOMA_ZERO} &&
           soma_transform{.mean = {0.5, SOMA_ZERO, SOMA_ZERO}}.mean[1] == double{SOMA_ZERO};
}

int main(int argc, char **argv)
{
    const char *path = argc > 1 ? argv[1] : "cpp_program.safetensors";
    std::vector<float> images(samples * pixels);
    std::vector<std::int32_t> labels(samples);
    for (int i = 0; i < samples; i++) {
        labels[i] = i % classes; // class k is bright in colour k
        for (int p = 0; p < pixels; p++)
            images[i * pixels + p] = float((i * 7 + p * 13) % 10) / 20 + (p / (side * side) == labels[i] ? 0.5f : 0.0f);
    }
    soma *s = soma_open(nullptr);
    if (!zero_is_a_number())
        return failed(s, "SOMA_ZERO is no zero");
    soma_model *m = build(s);
    soma_dataset *train = soma_dataset_arrays(s, .x = {SOMA_F32, SOMA_SHAPE(samples, 3, side, side), images.data()},
                                              .y = {SOMA_I32, SOMA_SHAPE(samples), labels.data()});
    soma_progress first = {}, last = {};
    soma_fit(m, train, .loss = "softmax_cross_entropy",
             .optimizer = soma_sgd(.lr = 0.02, .momentum = 0.9, .decay = 1e-6, .nesterov = true), .batch_size = 16,
             .result = &first);
    soma_fit(m, train, .loss = "softmax_cross_entropy", .optimizer = soma_adam(), .batch_size = 20, .epochs = 30,
             .result = &last);
    soma_save(m, path);
    soma_model *loaded = soma_load(s, path);
    std::vector<float> before(samples * classes), after(samples * classes);
    soma_tensor x = {SOMA_F32, SOMA_SHAPE(samples, 3, side, side), images.data()};
    soma_tensor y = {SOMA_F32, SOMA_SHAPE(samples, classes), before.data()};
    soma_predict(m, &x, &y);
    y.data = after.data();
    soma_predict(loaded, &x, &y);
    std::remove(path);
    if (soma_failed(s))
        return failed(s, "cpp_program");
    std::printf("loss %.4f after one epoch, %.4f at the end, accuracy %.3f\n", first.loss, last.loss, last.accuracy);
    if (!(last.loss < first.loss) || !(last.accuracy > 0.9))
        return failed(s, "the network did not learn three colours");
    if (before != after)
        return failed(s, "the loaded model gives other numbers than the saved one");
    soma_close(s);
    return 0;
}
