/* SPDX-License-Identifier: Apache-2.0
 *
 * What the tests of training share: contexts, sentences, three clouds of points.
 */
#ifndef SOMA_TESTS_TRAINING_H
#define SOMA_TESTS_TRAINING_H

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <soma/soma.h>
#include <string.h>

#define N 100 /* samples */

static inline soma *open_seeded(uint64_t seed)
{
    soma_context_options o = {.struct_size = sizeof o, .seed = seed, .threads = 1};
    soma *s = soma_open(&o);
    assert_non_null(s);
    return s;
}

static inline void expect_error(soma *s, const char *const *pieces)
{
    assert_true(soma_failed(s));
    for (int i = 0; pieces[i]; i++)
        if (!strstr(soma_error(s), pieces[i]))
            fail_msg("\"%s\" is not in: %s", pieces[i], soma_error(s));
    soma_clear(s);
}
#define EXPECT_ERROR(s, ...) expect_error(s, (const char *const[]){__VA_ARGS__, NULL})

#define EXPECT_OK(s, call)                                                                                             \
    do {                                                                                                               \
        soma_status status_ = (call);                                                                                  \
        if (status_ != SOMA_OK)                                                                                        \
            fail_msg("%s: %s", soma_status_text(status_), soma_error(s));                                              \
    } while (0)

static inline double uniform(uint32_t *state)
{
    *state = *state * 1664525u + 1013904223u;
    return ((*state >> 8) + 0.5) / (double)(1 << 24);
}

typedef struct class_data {
    float x[N * 4];
    int32_t label[N];
} class_data;

/* Three clouds around different corners. */
static inline class_data make_classes(void)
{
    class_data d;
    uint32_t state = 99;
    for (int i = 0; i < N; i++) {
        d.label[i] = i % 3;
        for (int j = 0; j < 4; j++)
            d.x[4 * i + j] = (float)(uniform(&state) - 0.5 + (j == d.label[i] ? 0.8 : 0));
    }
    return d;
}

static inline soma_dataset *class_set(soma *s, class_data *d)
{
    return soma_dataset_arrays(s, .x = {SOMA_F32, SOMA_SHAPE(N, 4), d->x}, .y = {SOMA_I32, SOMA_SHAPE(N), d->label});
}

static inline soma_model *class_model(soma *s, const char *last)
{
    soma_model *m = soma_model_new(s, "classes");
    soma_value x = soma_input(m, "x", SOMA_F32, SOMA_SHAPE(4));
    x = soma_dense(x, .units = 16, .activation = "relu");
    x = soma_dropout(x, .rate = 0.25);
    soma_output(m, "y", soma_dense(x, .units = 3, .activation = last));
    return m;
}

/* All parameters of a model, one after the other. */
static inline size_t copy_parameters(soma_model *m, float *to)
{
    size_t n = 0;
    for (int i = 0; i < soma_tensor_count(m); i++) {
        soma_named_tensor t = soma_tensor_at(m, i);
        if (t.frozen)
            continue;
        size_t count = (size_t)soma_shape_elements(&t.tensor.shape);
        memcpy(to + n, t.tensor.data, count * sizeof *to);
        n += count;
    }
    return n * sizeof *to;
}
#define PARAMETERS (4 * 16 + 16 + 16 * 3 + 3)

#endif
