/* SPDX-License-Identifier: Apache-2.0
 *
 * Whose class a label means: data that know a model's classes by other numbers, fewer of them, or by names it lacks.
 */
#include "training.h"

#include <stdio.h>

#define OUTPUTS 5

static const char *const five[OUTPUTS + 1] = {"ant", "bee", "cat", "dog", "eel", NULL};

typedef struct said {
    char text[1024];
    int times;
} said;

static void hear(void *user, soma_log_level level, const char *text)
{
    said *h = user;
    assert_int_equal(level, SOMA_LOG_INFO);
    snprintf(h->text, sizeof h->text, "%s", text);
    h->times++;
}

static soma *open_hearing(said *h)
{
    soma_context_options o = {.struct_size = sizeof o, .seed = 5, .threads = 1, .log = hear, .log_user = h};
    return soma_open(&o);
}

static soma_model *five_model(soma *s, const char *const *names)
{
    soma_model *m = soma_model_new(s, "five");
    soma_value x = soma_input(m, "x", SOMA_F32, SOMA_SHAPE(4));
    soma_output(m, "y", soma_dense(x, .units = OUTPUTS));
    if (names)
        EXPECT_OK(s, soma_model_set_classes(m, names, OUTPUTS));
    return m;
}

/* The three clouds under other numbers: label i of the cloud k is to[k]. */
static void number(class_data *d, const int32_t to[3])
{
    for (int i = 0; i < N; i++)
        d->label[i] = to[i % 3];
}

static soma_dataset *open_named(soma *s, class_data *d, const char *const *names, int n)
{
    soma_tensor x = {SOMA_F32, SOMA_SHAPE(N, 4), d->x}, y = {SOMA_I32, SOMA_SHAPE(N), d->label};
    return soma_dataset_arrays(s, x, .y = y, .classes = names, .n_classes = n);
}

static void evaluate(soma_model *m, soma_dataset *d, int64_t confusion[OUTPUTS * OUTPUTS], soma_evaluation *e)
{
    *e = (soma_evaluation){.classes = OUTPUTS, .confusion = confusion};
    if (soma_evaluate(m, d, .batch_size = 33, .result = e) != SOMA_OK)
        fail_msg("%s", soma_error(soma_model_context(m)));
}

static int64_t sum_of(const int64_t *numbers, int n, int step)
{
    int64_t sum = 0;
    for (int i = 0; i < n; i++)
        sum += numbers[i * step];
    return sum;
}

static void every_sample_is_counted_once(void **state)
{
    (void)state;
    said h = {.times = 0};
    soma *s = open_hearing(&h);
    soma_model *m = five_model(s, five);
    class_data d = make_classes(), right = make_classes();
    const int32_t fewer[3] = {1, 0, 2}, whole[3] = {0, 1, 4};
    static const char *const some[] = {"bee", "ant", "eel", NULL};
    number(&d, fewer);
    number(&right, whole);
    int64_t a[OUTPUTS * OUTPUTS], b[OUTPUTS * OUTPUTS];
    soma_evaluation ea, eb;
    evaluate(m, open_named(s, &d, some, 0), a, &ea);
    assert_int_equal(h.times, 1);
    assert_non_null(strstr(h.text, "the data's 3 classes are among the 5 of the model, by name: \"bee\" is 1"));
    evaluate(m, open_named(s, &right, NULL, OUTPUTS), b, &eb);
    assert_int_equal(h.times, 1);
    assert_int_equal(sum_of(a, OUTPUTS * OUTPUTS, 1), N);
    assert_memory_equal(a, b, sizeof a);
    assert_true(ea.loss == eb.loss && ea.accuracy == eb.accuracy);
    assert_int_equal(ea.classes, OUTPUTS);
    assert_int_equal(sum_of(a + 2 * OUTPUTS, OUTPUTS, 1), 0); /* no cats in these data */
    assert_int_equal(sum_of(a + 4 * OUTPUTS, OUTPUTS, 1), 33);
    soma_close(s);
}

static void another_order_trains_the_same_network(void **state)
{
    (void)state;
    static const char *const turned[] = {"eel", "dog", "cat", "bee", "ant", NULL};
    class_data d = make_classes(), t = make_classes();
    const int32_t plain[3] = {0, 1, 4}, other[3] = {4, 3, 0};
    float bits[2][4 * OUTPUTS + OUTPUTS];
    soma_progress last[2];
    number(&d, plain);
    number(&t, other);
    for (int i = 0; i < 2; i++) {
        said h = {.times = 0};
        soma *s = open_hearing(&h);
        soma_model *m = five_model(s, five);
        soma_dataset *set = i ? open_named(s, &t, turned, 0) : open_named(s, &d, five, OUTPUTS);
        EXPECT_OK(s, soma_fit(m, set, .batch_size = 16, .epochs = 3, .validation_split = 0.25, .result = &last[i],
                              .validation = i ? open_named(s, &t, turned, 0) : open_named(s, &d, five, OUTPUTS)));
        assert_int_equal(h.times, i ? 2 : 0);
        if (i)
            assert_non_null(strstr(h.text, "fit: validation: the data's 5 classes are in another order"));
        copy_parameters(m, bits[i]);
        soma_close(s);
    }
    assert_memory_equal(bits[0], bits[1], sizeof bits[0]);
    assert_true(last[0].loss == last[1].loss && last[0].val_loss == last[1].val_loss);
}

static void unknown_names_are_refused(void **state)
{
    (void)state;
    soma *s = open_seeded(5);
    soma_model *m = five_model(s, five);
    class_data d = make_classes();
    static const char *const cow[] = {"ant", "dag", "cow", NULL};
    soma_dataset *set = open_named(s, &d, cow, 0), *good = open_named(s, &d, five, OUTPUTS);
    float before[4 * OUTPUTS + OUTPUTS], after[4 * OUTPUTS + OUTPUTS];
    copy_parameters(m, before);
    const char *says =
        "2 of the data's 3 classes are unknown to the model: \"dag\" and \"cow\" (did you mean \"dog\"?)";
    assert_int_equal(soma_fit(m, set), SOMA_INVALID);
    EXPECT_ERROR(s, "test_classes.c:", "fit: ", says);
    assert_int_equal(soma_evaluate(m, set), SOMA_INVALID);
    EXPECT_ERROR(s, "test_classes.c:", "evaluate: ", says);
    assert_int_equal(soma_fit(m, good, .validation = set), SOMA_INVALID);
    EXPECT_ERROR(s, "fit: validation: ", says);
    assert_null(soma_dataset_for_classes(set, five, OUTPUTS));
    EXPECT_ERROR(s, says, "the model's classes are \"ant\", \"bee\", \"cat\", \"dog\" and \"eel\"");
    copy_parameters(m, after);
    assert_memory_equal(before, after, sizeof before);
    soma_close(s);
}

static void numbers_must_be_as_many(void **state)
{
    (void)state;
    soma *s = open_seeded(5);
    soma_model *bare = five_model(s, NULL), *named = five_model(s, five);
    class_data d = make_classes();
    soma_dataset *three = open_named(s, &d, NULL, 3),
                 *names = open_named(s, &d, (const char *[]){"a", "b", "c", NULL}, 0);
    soma_dataset *counted = open_named(s, &d, NULL, 0), *all = open_named(s, &d, NULL, OUTPUTS);
    soma_dataset *more = open_named(s, &d, NULL, OUTPUTS + 1);
    soma_dataset *wrong[][2] = {{three, NULL}, {names, NULL}, {more, NULL}};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        assert_int_equal(soma_evaluate(bare, wrong[i][0]), SOMA_INVALID);
        EXPECT_ERROR(s, "evaluate: the data has ", "but the model has 5 outputs");
    }
    assert_int_equal(soma_evaluate(named, three), SOMA_INVALID);
    EXPECT_ERROR(s, "the data has 3 classes, but the model has 5 outputs with names that the data do not have");
    assert_int_equal(soma_fit(named, counted), SOMA_INVALID);
    EXPECT_ERROR(s, "the data has 3 classes, but the model has 5 outputs");
    EXPECT_OK(s, soma_evaluate(bare, all));
    EXPECT_OK(s, soma_evaluate(named, all));
    EXPECT_OK(s, soma_evaluate(bare, counted)); /* nobody said that there are no more than were seen */
    soma_close(s);
}

static void the_matrix_must_have_room(void **state)
{
    (void)state;
    soma *s = open_seeded(5);
    soma_model *m = five_model(s, five);
    class_data d = make_classes();
    int64_t small[9] = {0}, none[9] = {0};
    soma_evaluation e = {.classes = 3, .confusion = small};
    soma_dataset *set = open_named(s, &d, (const char *[]){"ant", "bee", "cat", NULL}, 0);
    assert_int_equal(soma_evaluate(m, set, .result = &e), SOMA_INVALID);
    EXPECT_ERROR(s, ".confusion is said to be of 3 classes", "the model's 5 outputs");
    assert_memory_equal(small, none, sizeof small);
    soma_close(s);
}

/* Names that several classes have are told apart by their place; parts of a view are views; so are views of views. */
static void views_keep_their_classes(void **state)
{
    (void)state;
    static const char *const cranes[] = {"crane", "bee", "crane", NULL}, *const more[] = {"crane", "crane", "bee", "x"};
    said h = {.times = 0};
    soma *s = open_hearing(&h);
    class_data d = make_classes();
    soma_dataset *set = open_named(s, &d, cranes, 0);
    soma_dataset *view = soma_dataset_for_classes(soma_dataset_part(set, 0, 50, 3), more, 4);
    soma_dataset *again = soma_dataset_for_classes(view, (const char *[]){"x", "bee", "crane", "crane", "y"}, 5);
    soma_dataset *part = soma_dataset_part(again, 10, 20, 9);
    if (!part)
        fail_msg("%s", soma_error(s));
    assert_int_equal(soma_dataset_classes(part), 5);
    assert_string_equal(soma_dataset_class(part, 4), "y");
    static const int32_t first[3] = {0, 2, 1}, second[3] = {2, 1, 3};
    for (int64_t i = 0; i < 20; i++) {
        int32_t raw, label;
        float x[4], same[4];
        EXPECT_OK(s, soma_dataset_read(part, &i, 1, x, &label));
        int64_t at = -1;
        for (int64_t k = 0; k < 50 && at < 0; k++) { /* the sample in the view before */
            EXPECT_OK(s, soma_dataset_read(view, &k, 1, same, &raw));
            at = memcmp(x, same, sizeof x) ? -1 : k;
        }
        int32_t from = 0;
        while (first[from] != raw)
            from++;
        assert_true(at >= 0);
        assert_int_equal(label, second[from]);
    }
    soma_dataset_free(set); /* views share the bytes and keep them */
    soma_dataset_free(view);
    soma_close(s);
}

/* What soma_save would refuse at the end is refused at once, and the names before stay. */
static void names_are_checked_when_they_are_given(void **state)
{
    (void)state;
    soma *s = open_seeded(5);
    soma_model *m = five_model(s, five);
    class_data d = make_classes();
    enum { MANY = 70000 };
    static const char *many[MANY];
    static char text[101] = {0};
    memset(text, 'x', 100);
    for (int i = 0; i < MANY; i++)
        many[i] = text;
    assert_int_equal(soma_model_set_classes(m, (const char *[]){"a", "caf\xe9"}, 2), SOMA_INVALID);
    EXPECT_ERROR(s, "the name of class 1, \"caf\xe9\", is not UTF-8");
    assert_int_equal(soma_model_set_classes(m, many, MANY), SOMA_INVALID);
    EXPECT_ERROR(s, "70000 class names were given; a file holds 65536 at most");
    assert_int_equal(soma_model_set_classes(m, many, 30000), SOMA_INVALID);
    EXPECT_ERROR(s, "the names of 30000 classes take 3090000 bytes");
    assert_string_equal(soma_model_class(m, 4), "eel");
    assert_null(open_named(s, &d, (const char *[]){"\xc3", "b", "c", NULL}, 0));
    EXPECT_ERROR(s, "the name of class 0, ", "is not UTF-8");
    EXPECT_OK(s, soma_model_set_classes(m, (const char *[]){"\xc3\xa9", "\xe6\x97\xa5", "", "a\"b", "\n"}, 5));
    soma_close(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_sample_is_counted_once),
        cmocka_unit_test(another_order_trains_the_same_network),
        cmocka_unit_test(unknown_names_are_refused),
        cmocka_unit_test(numbers_must_be_as_many),
        cmocka_unit_test(the_matrix_must_have_room),
        cmocka_unit_test(views_keep_their_classes),
        cmocka_unit_test(names_are_checked_when_they_are_given),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
