/* SPDX-License-Identifier: Apache-2.0
 *
 * Folders of pictures and of IDX files of which something may not be read: an error, never an absence.
 */
#include "base/file.h"

#include "training.h"

#include "faults.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

/* The system's files, of which names that end so may not be opened, or not listed: root may read everything. */
static const char *locked, *unlisted;

static bool ends(const char *path, const char *end)
{
    size_t n = strlen(path), m = end ? strlen(end) : 0;
    return end && n >= m && !strcmp(path + n - m, end);
}

static int open_some(void *user, const char *path, bool write)
{
    return ends(path, locked) ? -EACCES : soma_files_posix.open(user, path, write);
}

static int list_some(void *user, const char *path, void (*each)(void *to, const char *name), void *to)
{
    return ends(path, unlisted) ? -EACCES : soma_files_posix.list(user, path, each, to);
}

static char root[256], warning[1024];
static int warnings;

static void hear(void *user, soma_log_level level, const char *text)
{
    (void)user;
    assert_int_equal(level, SOMA_LOG_WARNING);
    snprintf(warning, sizeof warning, "%s", text);
    warnings++;
}

static const char *in_root(const char *name)
{
    static char path[512];
    snprintf(path, sizeof path, "%s/%s", root, name);
    return path;
}

/* ant, bee, cat with a file each; nothing of them is decoded here. */
static soma *open_tree(const char *part)
{
    char name[64];
    assert_true(faults_folder(root));
    snprintf(name, sizeof name, "%s", part);
    assert_true(!*part || !mkdir(in_root(name), 0700));
    for (int i = 0; i < 3; i++) {
        const char *const classes[] = {"ant", "bee", "cat"};
        snprintf(name, sizeof name, "%s/%s", part, classes[i]);
        assert_int_equal(mkdir(in_root(name), 0700), 0);
        snprintf(name, sizeof name, "%s/%s/x.jpg", part, classes[i]);
        assert_true(faults_write(in_root(name), "x", 1));
    }
    soma_context_options o = {.struct_size = sizeof o, .threads = 1, .files = soma_files_posix, .log = hear};
    o.files.open = open_some;
    o.files.list = list_some;
    locked = unlisted = NULL;
    warnings = 0;
    return soma_open(&o);
}

static void close_tree(soma *s)
{
    char command[300];
    soma_close(s);
    snprintf(command, sizeof command, "rm -r '%s'", root);
    assert_int_equal(system(command), 0);
}

static void an_unreadable_class_is_an_error(void **state)
{
    (void)state;
    soma *s = open_tree("");
    locked = "/bee/.";
    assert_null(soma_dataset_open(s, root, .resize = {8, 8}));
    EXPECT_ERROR(s, "the folder \"", "/bee\" cannot be read: permission denied");
    locked = NULL;
    unlisted = "/bee";
    assert_null(soma_dataset_open(s, root, .resize = {8, 8}));
    EXPECT_ERROR(s, "/bee\" cannot be read: permission denied");
    unlisted = NULL;
    assert_int_equal(symlink("dog", in_root("dog")), 0); /* to itself */
    assert_null(soma_dataset_open(s, root, .resize = {8, 8}));
    EXPECT_ERROR(s, "/dog\" cannot be read: there is a symbolic link where none may be, or too many of them");
    assert_int_equal(unlink(in_root("dog")), 0);
    soma_dataset *d = soma_dataset_open(s, root, .resize = {8, 8});
    assert_int_equal(soma_dataset_classes(d), 3);
    assert_int_equal(warnings, 0);
    close_tree(s);
}

static void an_unreadable_part_is_an_error(void **state)
{
    (void)state;
    soma *s = open_tree("train");
    unlisted = "/train";
    assert_null(soma_dataset_open(s, root, .resize = {8, 8}));
    EXPECT_ERROR(s, "/train\" cannot be read: permission denied");
    unlisted = NULL;
    assert_int_equal(mkdir(in_root("test"), 0700), 0);
    unlisted = locked = "/test/.";
    unlisted = "/test";
    assert_null(soma_dataset_open(s, root, .split = "test", .resize = {8, 8}));
    EXPECT_ERROR(s, "/test\" cannot be read: permission denied");
    unlisted = NULL;
    assert_true(faults_write(in_root("train-images-idx3-ubyte"), "x", 1));
    assert_true(faults_write(in_root("train-labels-idx1-ubyte"), "x", 1));
    locked = "/train-images-idx3-ubyte";
    assert_null(soma_dataset_open(s, root));
    EXPECT_ERROR(s, "cannot read \"", "train-images-idx3-ubyte\": permission denied");
    close_tree(s);
}

/* A link to nothing, a file among the classes, a class without pictures: one warning names them. */
static void what_is_passed_over_is_named(void **state)
{
    (void)state;
    soma *s = open_tree("");
    assert_int_equal(symlink("nowhere", in_root("gone")), 0);
    assert_true(faults_write(in_root("zebra.jpg"), "x", 1));
    assert_true(faults_write(in_root("ant/notes.txt"), "x", 1));
    assert_int_equal(mkdir(in_root("dog"), 0700), 0);
    soma_dataset *d = soma_dataset_open(s, root, .resize = {8, 8});
    if (!d)
        fail_msg("%s", soma_error(s));
    assert_int_equal(soma_dataset_count(d), 3);
    assert_int_equal(soma_dataset_classes(d), 4);
    assert_int_equal(warnings, 1);
    assert_non_null(strstr(warning, "3 things that are no picture"));
    assert_non_null(strstr(warning, "\"ant/notes.txt\", \"gone\" and \"zebra.jpg\""));
    assert_non_null(strstr(warning, "1 class has no pictures: \"dog\""));
    assert_null(strstr(warning, "not in folders"));
    close_tree(s);
}

static void a_folder_without_parts_is_no_test(void **state)
{
    (void)state;
    soma *s = open_tree("");
    assert_null(soma_dataset_open(s, root, .split = "test", .resize = {8, 8}));
    EXPECT_ERROR(s, "test_folder.c:", "has no part \"test\" or \"val\"", ".split = \"all\" takes it whole");
    const char *const whole[] = {NULL, "train", "all"};
    for (int i = 0; i < 3; i++)
        assert_int_equal(soma_dataset_count(soma_dataset_open(s, root, .split = whole[i], .resize = {8, 8})), 3);
    close_tree(s);
    s = open_tree("val");
    assert_int_equal(soma_dataset_count(soma_dataset_open(s, root, .split = "test", .resize = {8, 8})), 3);
    assert_null(soma_dataset_open(s, root, .split = "all", .resize = {8, 8}));
    EXPECT_ERROR(s, "has parts (train, test or val)");
    close_tree(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_unreadable_class_is_an_error),
        cmocka_unit_test(an_unreadable_part_is_an_error),
        cmocka_unit_test(what_is_passed_over_is_named),
        cmocka_unit_test(a_folder_without_parts_is_no_test),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
