/* SPDX-License-Identifier: Apache-2.0
 *
 * Datasets in arrays of the caller: rows of all sizes, classes, parts that share the bytes, positions that are not
 * there.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <soma/data.h>

#include "faults.h"

static void assert_says(const soma *s, soma_status status, const char *part)
{
    if (soma_error_status(s) != status || !strstr(soma_error(s), part))
        fail_msg("expected \"%s\" with status %d, got \"%s\" with status %d", part, (int)status, soma_error(s),
                 (int)soma_error_status(s));
}

static void rows_of_all_sizes(void **state)
{
    (void)state;
    const int64_t sizes[] = {1, 2, 3, 4, 15, 16, 17, 100};
    enum { ROWS = 300 };
    soma *s = soma_open(NULL);
    float *data = malloc(ROWS * 100 * sizeof *data), *x = malloc(ROWS * 100 * sizeof *x),
          *y = malloc(ROWS * 100 * sizeof *y);
    assert_true(data && x && y);
    for (int i = 0; i < ROWS * 100; i++)
        data[i] = (float)i;
    for (size_t k = 0; k < sizeof sizes / sizeof *sizes; k++) {
        int64_t size = sizes[k];
        soma_dataset *d = soma_dataset_arrays(s, .x = {SOMA_F32, SOMA_SHAPE(ROWS, size), data},
                                              .y = {SOMA_F32, SOMA_SHAPE(ROWS, 2), data});
        assert_int_equal(soma_dataset_bytes(d), 0);
        assert_int_equal(soma_dataset_classes(d), 0);
        assert_int_equal(soma_dataset_target(d).dtype, SOMA_F32);
        assert_int_equal(soma_dataset_target(d).shape.rank, 1);
        soma_dataset *mixed = soma_dataset_part(d, 0, ROWS, 3);
        int64_t index[ROWS];
        for (int i = 0; i < ROWS; i++)
            index[i] = (i * 7 + 3) % ROWS;
        assert_int_equal(soma_dataset_read(d, index, ROWS, x, y), SOMA_OK);
        for (int64_t i = 0; i < ROWS; i++) {
            for (int64_t j = 0; j < size; j++)
                assert_true(x[i * size + j] == (float)(index[i] * size + j));
            assert_true(y[2 * i] == (float)(2 * index[i]) && y[2 * i + 1] == (float)(2 * index[i] + 1));
        }
        assert_int_equal(soma_dataset_read(mixed, index, ROWS, x, NULL),
                         SOMA_OK); /* more rows than are translated at once */
        assert_int_equal(soma_dataset_read(mixed, index, ROWS, NULL, y), SOMA_OK);
        for (int64_t i = 0; i < ROWS; i++)
            assert_true(y[2 * i] / 2 * (float)size == x[i * size]);
    }
    assert_false(soma_failed(s));
    soma_close(s);
    free(data);
    free(x);
    free(y);
}

static void arrays_of_classes(void **state)
{
    (void)state;
    soma *s = soma_open(NULL);
    float x[4] = {1, 2, 3, 4};
    int32_t labels[4] = {0, 11, 3, 2};
    const soma_tensor in = {SOMA_F32, SOMA_SHAPE(4), x}, out = {SOMA_I32, SOMA_SHAPE(4), labels};
    soma_dataset *d = soma_dataset_arrays(s, .x = in, .y = out);
    assert_int_equal(soma_dataset_input(d).shape.rank, 0);
    assert_int_equal(soma_dataset_classes(d), 12);
    assert_string_equal(soma_dataset_class(d, 11), "11");
    x[2] = 30; /* borrowed: seen at once */
    float xs[2];
    int32_t ys[2];
    assert_int_equal(soma_dataset_read(d, (int64_t[]){2, 1}, 2, xs, ys), SOMA_OK);
    assert_true(xs[0] == 30 && xs[1] == 2 && ys[0] == 3 && ys[1] == 11);
    assert_int_equal(soma_dataset_classes(soma_dataset_arrays(s, .x = in, .y = out, .n_classes = 20)), 20);
    assert_false(soma_failed(s));
#define REFUSED(status, part, ...)                                                                                     \
    do {                                                                                                               \
        soma_clear(s);                                                                                                 \
        assert_null(soma_dataset_arrays(s, __VA_ARGS__));                                                              \
        assert_says(s, status, part);                                                                                  \
    } while (0)
    REFUSED(SOMA_DATA, "there are 11 classes, but a label is 11", .x = in, .y = out, .n_classes = 11);
    REFUSED(SOMA_INVALID, "n_classes is -1", .x = in, .y = out, .n_classes = -1);
    REFUSED(SOMA_INVALID, "n_classes is 12, with 2 names", .x = in, .y = out, .n_classes = 12,
            .classes = (const char *[]){"a", "b", NULL});
    REFUSED(SOMA_INVALID, "x must have data", .y = out);
    REFUSED(SOMA_INVALID, "x must have data", .x = {SOMA_F32, SOMA_SHAPE(4, 0), x});
    REFUSED(SOMA_INVALID, "x is f64; it must be f32 or u8", .x = {SOMA_F64, SOMA_SHAPE(2), x});
    REFUSED(SOMA_INVALID, "x has 2 samples and y 4", .x = {SOMA_F32, SOMA_SHAPE(2, 2), x}, .y = out);
    REFUSED(SOMA_INVALID, "y is i32 of 2 dimensions", .x = in, .y = {SOMA_I32, SOMA_SHAPE(4, 1), labels});
    REFUSED(SOMA_INVALID, "y is u8 of 1 dimensions", .x = in, .y = {SOMA_U8, SOMA_SHAPE(4), labels});
    REFUSED(SOMA_INVALID, "y must have data", .x = in, .y = {SOMA_F32, SOMA_SCALAR, labels});
    REFUSED(SOMA_INVALID, "the targets are numbers (f32)", .x = in, .y = in, .n_classes = 3);
    REFUSED(SOMA_INVALID, "the targets are absent", .x = in, .n_classes = 3);
    labels[3] = -5;
    REFUSED(SOMA_DATA, "the label of sample 3 is -5", .x = in, .y = out);
    labels[3] = 1 << 20;
    REFUSED(SOMA_DATA, "the label of sample 3 is 1048576; classes count from 0 to 1048575", .x = in, .y = out);
#undef REFUSED
    soma_clear(s);
    labels[3] = (1 << 20) - 1;
    d = soma_dataset_arrays(s, .x = in, .y = out);
    assert_int_equal(soma_dataset_classes(d), 1 << 20);
    assert_string_equal(soma_dataset_class(d, (1 << 20) - 1), "1048575");
    soma_close(s);
}

static void reading_what_is_not_there(void **state)
{
    (void)state;
    soma *s = soma_open(NULL);
    float x[3] = {1, 2, 3}, out[3] = {-1, -1, -1};
    soma_dataset *d = soma_dataset_arrays(s, .x = {SOMA_F32, SOMA_SHAPE(3), x});
    assert_int_equal(soma_dataset_read(d, (int64_t[]){0, 3}, 2, out, NULL), SOMA_INVALID);
    assert_says(s, SOMA_INVALID, "position 3 (index[1]) is not within the 3 samples");
    assert_true(out[0] == -1);
    soma_clear(s);
    assert_int_equal(soma_dataset_read(d, (int64_t[]){-1}, 1, out, NULL), SOMA_INVALID);
    soma_clear(s);
    assert_int_equal(soma_dataset_read(d, NULL, 1, out, NULL), SOMA_INVALID);
    soma_clear(s);
    assert_int_equal(soma_dataset_read(d, NULL, 0, out, NULL), SOMA_OK);
    const int64_t wrong[][2] = {{-1, 1}, {0, 0}, {0, 4}, {3, 1}, {4, 1}, {1, INT64_MAX}, {INT64_MAX, 1}, {0, -1}};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        soma_clear(s);
        assert_null(soma_dataset_part(d, wrong[i][0], wrong[i][1], 0));
        assert_says(s, SOMA_INVALID, "are not within the 3 of the dataset");
    }
    assert_null(soma_dataset_part(NULL, 0, 1, 0));
    assert_int_equal(soma_dataset_count(NULL), 0);
    assert_int_equal(soma_dataset_classes(NULL), 0);
    assert_null(soma_dataset_class(NULL, 0));
    assert_int_equal(soma_dataset_input(NULL).shape.rank, 0);
    assert_int_equal(soma_dataset_target(NULL).shape.rank, 0);
    assert_false(soma_dataset_has_target(NULL));
    assert_int_equal(soma_dataset_bytes(NULL), 0);
    assert_true(soma_dataset_transform(NULL).scale == 0);
    assert_int_equal(soma_dataset_read(NULL, NULL, 0, NULL, NULL), SOMA_INVALID);
    soma_dataset_free(NULL);
    soma_close(s);
}

static void parts_share_the_bytes(void **state)
{
    (void)state;
    faults_memory memory = {0};
    soma *s = soma_open(
        &(soma_context_options){.struct_size = sizeof(soma_context_options), .allocator = faults_allocator(&memory)});
    enum { COUNT = 100 };
    float x[COUNT];
    int32_t y[COUNT];
    for (int i = 0; i < COUNT; i++) {
        x[i] = (float)i;
        y[i] = i;
    }
    soma_dataset *d = soma_dataset_arrays(s, .x = {SOMA_F32, SOMA_SHAPE(COUNT, 1), x},
                                          .y = {SOMA_I32, SOMA_SHAPE(COUNT), y});
    soma_dataset *tail = soma_dataset_part(d, 60, 40, 0), *middle = soma_dataset_part(tail, 10, 5, 0);
    soma_dataset *first = soma_dataset_part(d, 0, 70, 5), *rest = soma_dataset_part(d, 70, 30, 5);
    soma_dataset *inner = soma_dataset_part(first, 20, 10, 0), *again = soma_dataset_part(first, 0, 70, 8);
    assert_int_equal(soma_dataset_classes(middle), COUNT);
    assert_int_equal(soma_dataset_bytes(tail), 0);
    assert_int_equal(soma_dataset_bytes(rest), 30 * sizeof(int64_t));
    soma_dataset_free(d); /* the parts live on */
    soma_dataset_free(tail);
    float a[COUNT], b[COUNT];
    int32_t labels[COUNT];
    int64_t index[COUNT];
    for (int i = 0; i < COUNT; i++)
        index[i] = i;
    assert_int_equal(soma_dataset_read(middle, index, 5, a, labels), SOMA_OK);
    for (int i = 0; i < 5; i++)
        assert_true(a[i] == (float)(70 + i) && labels[i] == 70 + i);
    /* the two parts of a shuffled dataset are all of it, once */
    assert_int_equal(soma_dataset_read(first, index, 70, a, labels), SOMA_OK);
    assert_int_equal(soma_dataset_read(rest, index, 30, a + 70, labels + 70), SOMA_OK);
    bool seen[COUNT] = {false}, in_order = true;
    for (int i = 0; i < COUNT; i++) {
        assert_true(a[i] == (float)labels[i] && !seen[labels[i]]);
        seen[labels[i]] = true;
        in_order &= labels[i] == i;
    }
    assert_false(in_order);
    assert_int_equal(soma_dataset_read(inner, index, 10, b, NULL), SOMA_OK);
    assert_memory_equal(b, a + 20, 10 * sizeof *b);
    assert_int_equal(soma_dataset_read(again, index, 70, b, NULL), SOMA_OK);
    float sum = 0;
    for (int i = 0; i < 70; i++)
        sum += b[i] - a[i];
    assert_true(sum == 0);                         /* the same samples ... */
    assert_memory_not_equal(b, a, 70 * sizeof *b); /* ... in another order */
    soma_dataset_free(first);
    soma_close(s); /* with three parts left */
    assert_int_equal(memory.blocks, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_of_all_sizes),
        cmocka_unit_test(arrays_of_classes),
        cmocka_unit_test(reading_what_is_not_there),
        cmocka_unit_test(parts_share_the_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
