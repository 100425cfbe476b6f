/* SPDX-License-Identifier: Apache-2.0
 *
 * What is held out of data and what a limit keeps: shares of classes, the order of samples, the same every time.
 */
#include "training.h"

#include "faults.h"
#include <stdio.h>
#include <stdlib.h>

/* Samples whose input is their number; labels as a person's folders have them: sorted by class. */
typedef struct sorted {
    float x[1000];
    int32_t label[1000];
    int64_t count;
} sorted;

static void fill(sorted *d, const int *sizes, int classes)
{
    d->count = 0;
    for (int c = 0; c < classes; c++)
        for (int i = 0; i < sizes[c]; i++) {
            d->x[d->count] = (float)d->count;
            d->label[d->count++] = c;
        }
}

static soma_dataset *open_sorted(soma *s, sorted *d, bool classes)
{
    soma_tensor x = {SOMA_F32, SOMA_SHAPE(d->count, 1), d->x}, y = {SOMA_I32, SOMA_SHAPE(d->count), d->label};
    soma_tensor values = {SOMA_F32, SOMA_SHAPE(d->count, 1), d->x};
    return soma_dataset_arrays(s, x, .y = classes ? y : values);
}

/* The numbers of the part's samples, which must rise; counts by class. */
static int64_t look(soma_dataset *part, int64_t *at, int *of_class)
{
    int64_t n = soma_dataset_count(part);
    for (int64_t i = 0; i < n; i++) {
        float x;
        int32_t label = 0;
        EXPECT_OK(NULL, soma_dataset_read(part, &i, 1, &x, soma_dataset_classes(part) ? &label : NULL));
        at[i] = (int64_t)x;
        assert_true(i == 0 || at[i] > at[i - 1]);
        if (of_class)
            of_class[label]++;
    }
    return n;
}

static void each_class_gives_its_share(void **state)
{
    (void)state;
    static const struct {
        int sizes[5], classes;
        double share;
        int held[5];
    } cases[] = {
        {{50, 30, 20}, 3, 0.2, {10, 6, 4}},
        {{34, 33, 33}, 3, 0.1, {4, 3, 3}},           /* 3.4, 3.3, 3.3: the largest remainder */
        {{97, 1, 1, 1}, 4, 0.1, {10, 0, 0, 0}},      /* the only sample of a class stays */
        {{3, 3, 3, 3, 3}, 5, 0.14, {1, 1, 1, 0, 0}}, /* fewer than classes: the first of equals */
        {{2, 2, 2}, 3, 0.7, {1, 1, 1}},              /* each class keeps one */
        {{4, 1, 1, 1, 1}, 5, 0.5, {2, 0, 0, 0, 0}},  /* and no other gives more for it */
        {{100, 100}, 2, 0.9, {90, 90}},              /* as the digits say: 1 - 0.9 is less than 0.1 */
    };
    soma *s = open_seeded(5);
    sorted d;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        fill(&d, cases[i].sizes, cases[i].classes);
        soma_dataset *all = open_sorted(s, &d, true), *rest, *held;
        int64_t a[1000], b[1000];
        int in_rest[5] = {0}, in_held[5] = {0};
        EXPECT_OK(s, soma_dataset_split(all, cases[i].share, NULL, 7, &rest, &held));
        assert_int_equal(look(rest, a, in_rest) + look(held, b, in_held), d.count);
        for (int c = 0; c < cases[i].classes; c++) {
            assert_int_equal(in_held[c], cases[i].held[c]);
            assert_int_equal(in_held[c] + in_rest[c], cases[i].sizes[c]);
        }
        assert_int_equal(soma_dataset_classes(held), cases[i].classes);
    }
    soma_close(s);
}

static void the_seed_decides_what_is_held_out(void **state)
{
    (void)state;
    sorted d;
    int64_t at[4][1000], n = 0;
    for (int run = 0; run < 4; run++) {
        soma *s = open_seeded((uint64_t)run); /* the context's seed has no say */
        fill(&d, (const int[]){60, 40}, 2);
        soma_dataset *rest, *held;
        EXPECT_OK(s, soma_dataset_split(open_sorted(s, &d, run < 3), 0.3, run < 3 ? NULL : "shuffled", run == 1 ? 8 : 7,
                                        &rest, &held));
        n = look(held, at[run], NULL);
        assert_int_equal(n, 30);
        soma_close(s);
    }
    size_t size = (size_t)n * sizeof *at[0];
    assert_memory_equal(at[0], at[2], size);
    assert_memory_not_equal(at[0], at[1], size);
    assert_true(at[3][0] < 20 && at[3][29] >= 80); /* from everywhere */
}

static void samples_in_an_order_give_their_end(void **state)
{
    (void)state;
    sorted d;
    soma *s = open_seeded(5);
    fill(&d, (const int[]){50, 50}, 2);
    soma_dataset *all = open_sorted(s, &d, true), *rest, *held;
    int64_t at[1000];
    int of_class[2] = {0};
    EXPECT_OK(s, soma_dataset_split(all, 0.25, "end", 7, &rest, &held));
    assert_int_equal(look(held, at, of_class), 25);
    assert_int_equal(at[0], 75);
    assert_int_equal(of_class[1], 25);
    soma_close(s);
}

/* soma_fit: by class of itself, the end where the samples are in an order, as it is told otherwise. */
static void fit_holds_out_what_it_says(void **state)
{
    (void)state;
    static const struct {
        bool no_shuffle;
        const char *order;
        bool both; /* are both classes in the validation data? */
    } cases[] = {{false, NULL, true},   {true, NULL, false},         {true, "stratified", true},
                 {false, "end", false}, {false, "stratified", true}, {false, "shuffled", true}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        soma *s = open_seeded(5);
        sorted d;
        fill(&d, (const int[]){50, 50}, 2);
        for (int k = 0; k < 100; k++)
            d.x[k] = d.label[k] ? 1 : -1; /* learned at once where both classes are trained */
        soma_model *m = soma_model_new(s, "two");
        soma_output(m, "y", soma_dense(soma_input(m, "x", SOMA_F32, SOMA_SHAPE(1)), .units = 2));
        soma_progress last;
        EXPECT_OK(s, soma_fit(m, open_sorted(s, &d, true), .validation_split = 0.5, .no_shuffle = cases[i].no_shuffle,
                              .split_order = cases[i].order, .epochs = 30, .optimizer = soma_sgd(.lr = 0.5),
                              .result = &last));
        assert_true(cases[i].both ? last.val_accuracy == 1 : last.val_accuracy < 1);
        soma_close(s);
    }
}

static void parts_of_parts_are_split(void **state)
{
    (void)state;
    sorted d;
    soma *s = open_seeded(5);
    fill(&d, (const int[]){50, 30, 20}, 3);
    soma_dataset *all = open_sorted(s, &d, true), *rest, *held, *inner, *outer;
    int64_t a[1000], b[1000], c[1000];
    int of_class[3] = {0};
    EXPECT_OK(s, soma_dataset_split(all, 0.2, NULL, 7, &rest, &held));
    EXPECT_OK(s, soma_dataset_split(rest, 0.25, NULL, 7, &inner, &outer));
    int64_t n = look(inner, a, NULL), m = look(outer, b, of_class), k = look(held, c, NULL);
    assert_int_equal(n + m + k, 100);
    assert_int_equal(of_class[0], 10);
    assert_int_equal(of_class[1], 6);
    assert_int_equal(of_class[2], 4);
    bool seen[100] = {false};
    const int64_t *const lists[] = {a, b, c}, sizes[] = {n, m, k};
    for (int l = 0; l < 3; l++)
        for (int64_t i = 0; i < sizes[l]; i++) {
            assert_false(seen[lists[l][i]]);
            seen[lists[l][i]] = true;
        }
    soma_close(s);
}

static void wrong_splits_are_explained(void **state)
{
    (void)state;
    soma *s = open_seeded(5);
    sorted d;
    fill(&d, (const int[]){1, 1, 1}, 3);
    soma_dataset *all = open_sorted(s, &d, true), *values = open_sorted(s, &d, false), *rest = all, *held = all;
#define WRONG(d, share, order, ...)                                                                                    \
    do {                                                                                                               \
        assert_int_not_equal(soma_dataset_split(d, share, order, 7, &rest, &held), SOMA_OK);                           \
        assert_true(!rest && !held);                                                                                   \
        EXPECT_ERROR(s, __VA_ARGS__);                                                                                  \
    } while (0)
    WRONG(all, 0.5, NULL, "each of the 3 classes keeps a sample", "use \"shuffled\"");
    WRONG(all, 0.5, "stratifed", "did you mean \"stratified\"?");
    WRONG(all, 1, NULL, "the share is 1");
    WRONG(all, 0, NULL, "the share is 0");
    WRONG(all, SOMA_ZERO, NULL, "the share is 0");
    WRONG(all, (double)NAN, NULL, "the share is nan");
    WRONG(all, 0.9, NULL, "leaves 0 of 3 samples");
    WRONG(values, 0.5, "stratified", "the targets are no classes");
    soma_model *m = soma_model_new(s, "two");
    soma_output(m, "y", soma_dense(soma_input(m, "x", SOMA_F32, SOMA_SHAPE(1)), .units = 3));
    assert_int_equal(soma_fit(m, all, .split_order = "random", .validation_split = 0.5), SOMA_INVALID);
    EXPECT_ERROR(s, "test_split.c:", "fit: validation_split: the order \"random\" is unknown");
    soma_close(s);
}

/* IDX files sorted by class: a limit keeps the shares and the order. */
static void a_limit_keeps_shares_and_order(void **state)
{
    (void)state;
    static const struct {
        int64_t limit;
        const char *labels; /* that are left */
    } cases[] = {{1, "0"},
                 {5, "00001"},
                 {10, "0000000112"},
                 {11, "00000000112"},
                 {19, "0000000000000111122"},
                 {20, "00000000000000111122"}};
    char folder[256], images[300], labels[300];
    uint8_t x[16 + 20] = {0, 0, 8, 3, 0, 0, 0, 20, 0, 0, 0, 1, 0, 0, 0, 1}, y[8 + 20] = {0, 0, 8, 1, 0, 0, 0, 20};
    for (int i = 0; i < 20; i++) {
        x[16 + i] = (uint8_t)i;
        y[8 + i] = i < 14 ? 0 : i < 18 ? 1 : 2;
    }
    assert_true(faults_folder(folder));
    snprintf(images, sizeof images, "%s/images", folder);
    snprintf(labels, sizeof labels, "%s/labels", folder);
    assert_true(faults_write(images, x, sizeof x) && faults_write(labels, y, sizeof y));
    soma *s = open_seeded(5);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        soma_dataset *d = soma_dataset_open(s, images, .limit = cases[i].limit, .transform = {.scale = 1});
        if (!d)
            fail_msg("%s", soma_error(s));
        assert_int_equal(soma_dataset_count(d), cases[i].limit);
        assert_int_equal(soma_dataset_classes(d), 3);
        int64_t at[20];
        look(d, at, NULL);
        for (int64_t k = 0; k < cases[i].limit; k++)
            assert_int_equal(y[8 + at[k]], cases[i].labels[k] - '0');
        soma_dataset_free(d);
    }
    soma_close(s);
    faults_folder_remove(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_class_gives_its_share),         cmocka_unit_test(the_seed_decides_what_is_held_out),
        cmocka_unit_test(samples_in_an_order_give_their_end), cmocka_unit_test(fit_holds_out_what_it_says),
        cmocka_unit_test(parts_of_parts_are_split),           cmocka_unit_test(wrong_splits_are_explained),
        cmocka_unit_test(a_limit_keeps_shares_and_order),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
