/* SPDX-License-Identifier: Apache-2.0
 *
 * What saving leaves in a folder: links stay links, modes are kept, limits and wrong places are told before the training, and
 * what a killed process left behind goes with the next save, while the files of living ones stay.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/file.h"
#include "faults.h"

#include <soma/soma.h>

#define LEFT ".tmp-0123456789abcdef"

static char folder[256], path[400], other[700];

static int make_folder(void **state)
{
    (void)state;
    if (!faults_folder(folder))
        return -1;
    snprintf(path, sizeof path, "%s/model.safetensors", folder);
    return 0;
}

static int remove_folder(void **state)
{
    (void)state;
    faults_folder_remove(folder);
    return 0;
}

/* other = folder/name */
static const char *at(const char *name)
{
    snprintf(other, sizeof other, "%s/%s", folder, name);
    return other;
}

static soma_model *neuron(soma *s)
{
    soma_model *m = soma_zoo(s, "neuron");
    assert_non_null(m);
    return m;
}

/* Saves a small model; the error, or NULL. The text lives until the next call. */
static const char *save(const char *to)
{
    static char text[1024];
    soma *s = soma_open(NULL);
    soma_model *m = neuron(s);
    soma_status status = soma_save(m, to);
    assert_int_equal(status, soma_error_status(s));
    snprintf(text, sizeof text, "%s", soma_error(s));
    soma_close(s);
    return status == SOMA_OK ? NULL : text;
}

static bool loads(const char *from)
{
    soma *s = soma_open(NULL);
    bool good = soma_load(s, from) != NULL;
    soma_close(s);
    return good;
}

static void expect_saved(const char *to)
{
    const char *error = save(to);
    if (error)
        fail_msg("%s", error);
    assert_true(loads(to));
    assert_int_equal(faults_folder_count(folder, ".tmp-"), 0);
}

static int mode_of(const char *file)
{
    struct stat st;
    return lstat(file, &st) ? -1 : (int)(st.st_mode & 07777);
}

static bool is_link(const char *file)
{
    struct stat st;
    return !lstat(file, &st) && S_ISLNK(st.st_mode);
}

static void fresh(void)
{
    faults_folder_clear(folder, NULL);
}

/* ---- what is replaced ---- */

static void a_link_stays_a_link(void **state)
{
    (void)state;
    char link[400];
    fresh();
    snprintf(link, sizeof link, "%s/link", folder);
    assert_true(faults_write(path, "old", 3));
    assert_int_equal(symlink("model.safetensors", link), 0); /* relative to its folder, not to ours */
    expect_saved(link);
    assert_true(is_link(link));
    assert_true(loads(path) && !is_link(path));
    assert_int_equal(faults_folder_count(folder, NULL), 2);
}

static void a_link_to_nothing_makes_what_it_names(void **state)
{
    (void)state;
    char link[400];
    fresh();
    snprintf(link, sizeof link, "%s/link", folder);
    assert_int_equal(symlink("model.safetensors", link), 0);
    expect_saved(link);
    assert_true(is_link(link) && loads(path));
}

static void a_chain_of_links_into_another_folder(void **state)
{
    (void)state;
    char inner[400], file[420], first[400];
    fresh();
    snprintf(inner, sizeof inner, "%s/inner", folder);
    snprintf(file, sizeof file, "%s/file", inner);
    snprintf(first, sizeof first, "%s/first", folder);
    assert_int_equal(mkdir(inner, 0700), 0);
    assert_true(faults_write(file, "old", 3));
    assert_true(faults_write(at("inner/file" LEFT), "left", 4)); /* beside what the link points to */
    assert_int_equal(symlink("second", first), 0);
    assert_int_equal(symlink(inner, at("second")), 0);
    unlink(first);
    assert_int_equal(symlink("second/file", first), 0); /* through a link to a folder */
    expect_saved(first);
    assert_true(is_link(first) && loads(file));
    assert_int_equal(faults_folder_count(inner, NULL), 1);
    unlink(file);
    rmdir(inner);
}

static void a_loop_of_links_is_told(void **state)
{
    (void)state;
    char link[400];
    fresh();
    snprintf(link, sizeof link, "%s/a", folder);
    assert_int_equal(symlink("b", link), 0);
    assert_int_equal(symlink("a", at("b")), 0);
    const char *error = save(link);
    assert_non_null(error);
    assert_non_null(strstr(error, link));
    assert_non_null(strstr(error, "symbolic link"));
    assert_true(is_link(link));
    assert_int_equal(faults_folder_count(folder, NULL), 2);
}

static void the_mode_is_kept(void **state)
{
    (void)state;
    static const int modes[] = {0600, 0640, 0644, 0664, 0400, 0666};
    mode_t before = umask(022);
    for (size_t i = 0; i < sizeof modes / sizeof *modes; i++) {
        fresh();
        assert_true(faults_write(path, "old", 3));
        assert_int_equal(chmod(path, (mode_t)modes[i]), 0);
        expect_saved(path);
        assert_int_equal(mode_of(path), modes[i]);
    }
    fresh();
    umask(027);
    expect_saved(path); /* a new one: as the umask says */
    assert_int_equal(mode_of(path), 0640);
    umask(before);
}

/* What is written meanwhile may be read by no more people than the old file. */
static void the_temporary_file_has_the_mode_already(void **state)
{
    (void)state;
    fresh();
    soma *s = soma_open(NULL);
    soma_file_writer w;
    assert_true(faults_write(path, "old", 3));
    assert_int_equal(chmod(path, 0600), 0);
    assert_int_equal(soma_file_begin(&w, s, path, 0), SOMA_OK);
    assert_int_equal(mode_of(w.temporary), 0600);
    soma_file_abandon(&w);
    soma_close(s);
}

static void the_owner_is_kept_where_permitted(void **state)
{
    (void)state;
    struct stat st;
    if (geteuid())
        skip(); /* only root gives files away */
    fresh();
    assert_true(faults_write(path, "old", 3));
    assert_int_equal(chown(path, 12345, 23456), 0);
    assert_int_equal(chmod(path, 0640), 0);
    expect_saved(path);
    assert_int_equal(stat(path, &st), 0);
    assert_true(st.st_uid == 12345 && st.st_gid == 23456 && (st.st_mode & 07777) == 0640);
}

static void other_hard_links_keep_the_old_content(void **state)
{
    (void)state;
    size_t size = 0;
    fresh();
    assert_true(faults_write(path, "old", 3));
    assert_int_equal(link(path, at("second")), 0);
    expect_saved(path);
    char *bytes = faults_read(at("second"), &size);
    assert_true(bytes && size == 3 && !memcmp(bytes, "old", 3));
    free(bytes);
}

/* ---- what is refused ---- */

static void expect_refused(const char *to, const char *word)
{
    soma *s = soma_open(NULL);
    soma_model *m = neuron(s);
    assert_int_not_equal(soma_can_save(m, to), SOMA_OK);
    if (!strstr(soma_error(s), strlen(to) < 300 ? to : "pppp...pppp") || !strstr(soma_error(s), word))
        fail_msg("\"%s\" is missing: %s", word, soma_error(s));
    soma_clear(s);
    assert_int_not_equal(soma_save(m, to), SOMA_OK); /* in the same words */
    assert_non_null(strstr(soma_error(s), word));
    soma_close(s);
    assert_int_equal(faults_folder_count(folder, ".tmp-"), 0);
}

/* ---- names ---- */

/* Every name that the file system takes can be written to: the temporary name is shortened. */
static void the_longest_names_work(void **state)
{
    (void)state;
    char name[256];
    for (int length = 230; length <= 255; length++) {
        fresh();
        memset(name, 'n', sizeof name);
        name[length] = 0;
        expect_saved(at(name));
        expect_saved(at(name)); /* and replaced */
        char left[256];         /* a leftover goes, of this name only */
        snprintf(left, sizeof left, "%.64s-00000000" LEFT, name);
        assert_true(faults_write(at(left), "left", 4));
        assert_null(save(at(name)));
        assert_int_equal(faults_folder_count(folder, ".tmp-"), 1);
    }
    fresh();
    for (int i = 0; i + 2 < 250; i += 2) /* letters of two bytes are not cut in half */
        memcpy(name + i, "\xc3\xa4", 3);
    expect_saved(at(name));
    char long_name[257], too_long[600], longer[6000] = "";
    memset(longer, 'p', sizeof longer - 1);
    expect_refused(longer, "too long"); /* which the sentence has room for */
    memset(long_name, 'n', 256);
    long_name[256] = 0;
    snprintf(too_long, sizeof too_long, "%s/%s", folder, long_name);
    const char *error = save(too_long);
    assert_non_null(error);
    assert_non_null(strstr(error, "too long"));
}

/* ---- before the training ---- */

static void what_cannot_be_written_is_known_before(void **state)
{
    (void)state;
    fresh();
    soma *s = soma_open(NULL);
    soma_model *m = neuron(s);
    assert_int_equal(soma_can_save(m, path), SOMA_OK);
    assert_int_equal(faults_folder_count(folder, NULL), 0); /* nothing was made */
    assert_true(faults_write(path, "old", 3));
    assert_int_equal(soma_can_save(m, path), SOMA_OK);
    assert_false(loads(path)); /* nothing was written */
    soma_close(s);
    expect_refused(folder, "it is a folder");
    expect_refused("/dev/null", "not a regular file");
    expect_refused("/proc/self/model", "its folder takes no new files");
    expect_refused("/proc/version", "its folder takes no new files");
    expect_refused(at("absent/model"), "its folder does not exist");
    expect_refused(at("model.safetensors/below"), "not a folder");
    assert_int_equal(mkfifo(at("pipe"), 0600), 0);
    expect_refused(other, "not a regular file"); /* and waits for nobody */
    assert_int_equal(chmod(other, 0), 0);
    expect_refused(other, "not a regular file"); /* nor is it replaced because it cannot be opened */
    assert_int_equal(symlink("/dev/full", at("device")), 0);
    expect_refused(other, "not a regular file");
    soma_can_save(NULL, path);
}

/* As somebody who is not root, who may write everywhere. */
static int as_nobody(void)
{
    soma *s = soma_open(NULL);
    soma_model *m = neuron(s);
    if (!geteuid() && (setgid(65534) || setuid(65534)))
        return 2;
    bool told = soma_can_save(m, path) == SOMA_IO && strstr(soma_error(s), "permission denied");
    soma_close(s);
    return told ? 0 : 1;
}

static void a_folder_that_may_not_be_written_is_told(void **state)
{
    (void)state;
    int status;
    fresh();
    assert_int_equal(chmod(folder, 0555), 0);
    pid_t child = fork();
    if (!child)
        _exit(as_nobody());
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(chmod(folder, 0700), 0);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

static int full_reserve(void *user, int handle, uint64_t size)
{
    (void)user;
    (void)handle;
    return size > 100 ? -EDQUOT : 0;
}

static void a_full_quota_is_told(void **state)
{
    (void)state;
    fresh();
    soma_files files = soma_files_posix;
    files.reserve = full_reserve;
    soma *s = soma_open(&(soma_context_options){.struct_size = sizeof(soma_context_options), .files = files});
    soma_model *m = soma_zoo(s, "lenet5");
    assert_int_equal(soma_can_save(m, path), SOMA_IO);
    assert_non_null(strstr(soma_error(s), "quota"));
    assert_non_null(strstr(soma_error(s), " bytes"));
    assert_int_equal(faults_folder_count(folder, NULL), 0);
    soma_close(s);
}

/* In a process of its own: the limit is for the process, and going beyond it would end it. */
static int with_limit(void)
{
    struct rlimit limit = {20000, 20000};
    soma *s = soma_open(NULL);
    soma_model *m = soma_zoo(s, "lenet5");
    if (setrlimit(RLIMIT_FSIZE, &limit))
        return 2;
    soma_status status = soma_can_save(m, path);
    bool told = status == SOMA_IO && strstr(soma_error(s), "larger than allowed") && strstr(soma_error(s), path);
    soma_clear(s);
    told = told && soma_save(m, path) == SOMA_IO && strstr(soma_error(s), "larger than allowed");
    soma_clear(s);
    told = told && soma_save(neuron(s), path) == SOMA_OK;
    soma_close(s);
    return told ? 0 : 1;
}

static void a_limit_of_size_is_a_sentence(void **state)
{
    (void)state;
    int status;
    fresh();
    pid_t child = fork();
    if (!child)
        _exit(with_limit());
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
    assert_int_equal(faults_folder_count(folder, ".tmp-"), 0);
}

/* ---- leftovers ---- */

static void leftovers_of_the_dead_go(void **state)
{
    (void)state;
    fresh();
    assert_true(faults_write(at("model.safetensors" LEFT), "left", 4));
    assert_true(faults_write(at("model.safetensors.tmp-ffffffffffffffff"), "left", 4));
    assert_int_equal(chmod(other, 0400), 0); /* as one that takes the place of such a file */
    expect_saved(path);
    assert_int_equal(faults_folder_count(folder, NULL), 1);
    assert_true(faults_write(at("model.safetensors" LEFT), "left", 4));
    soma *s = soma_open(NULL);
    assert_int_equal(soma_can_save(neuron(s), path), SOMA_OK); /* asking is enough */
    soma_close(s);
    assert_int_equal(faults_folder_count(folder, NULL), 1);
}

static void files_of_others_stay(void **state)
{
    (void)state;
    static const char *const names[] = {"other.safetensors" LEFT,
                                        "xmodel.safetensors" LEFT,
                                        "model.safetensors" LEFT "0",
                                        "model.safetensors.tmp-0123456789abcdeg",
                                        "model.safetensors.tmp-0123",
                                        "model.safetensors.tmp-",
                                        "model.safetensors.tmp-0123456789ABCDEF",
                                        "model.safetensors2" LEFT};
    const int n = sizeof names / sizeof *names;
    fresh();
    for (int i = 0; i < n; i++)
        assert_true(faults_write(at(names[i]), "mine", 4));
    assert_int_equal(mkdir(at("model.safetensors" LEFT), 0700), 0); /* a folder of such a name, a link, a pipe */
    assert_int_equal(symlink("/etc/passwd", at("model.safetensors.tmp-00000000000000ff")), 0);
    assert_int_equal(mkfifo(at("model.safetensors.tmp-00000000000000fe"), 0600), 0);
    assert_null(save(path));
    assert_int_equal(faults_folder_count(folder, NULL), n + 4);
    rmdir(at("model.safetensors" LEFT));
}

static void the_file_of_a_living_one_stays(void **state)
{
    (void)state;
    fresh();
    soma *a = soma_open(NULL), *b = soma_open(NULL);
    soma_file_writer first, second;
    assert_int_equal(soma_file_begin(&first, a, path, 0), SOMA_OK);
    assert_int_equal(soma_file_write(&first, "one", 3), SOMA_OK);
    assert_int_equal(soma_file_begin(&second, b, path, 0), SOMA_OK); /* looks for leftovers */
    assert_int_equal(soma_file_write(&second, "two", 3), SOMA_OK);
    assert_int_equal(faults_folder_count(folder, ".tmp-"), 2);
    assert_int_equal(soma_file_commit(&first), SOMA_OK);
    assert_int_equal(soma_file_commit(&second), SOMA_OK);
    size_t size = 0;
    char *bytes = faults_read(path, &size);
    assert_true(bytes && size == 3 && !memcmp(bytes, "two", 3)); /* who came last */
    free(bytes);
    assert_int_equal(faults_folder_count(folder, NULL), 1);
    soma_close(a);
    soma_close(b);
}

/* Another process sees the new file before its maker has locked it, and takes it for a leftover. */
static int thieves;
static int stolen_lock(void *user, const char *file)
{
    if (thieves-- > 0)
        unlink(file);
    return soma_files_posix.lock(user, file);
}
static int watched_lock(void *user, const char *file)
{
    if (thieves-- <= 0)
        return soma_files_posix.lock(user, file);
    int handle = open(file, O_RDWR);
    assert_true(handle >= 0);
    assert_int_equal(flock(handle, LOCK_EX | LOCK_NB), 0);
    int result = soma_files_posix.lock(user, file);
    unlink(file);
    close(handle);
    return result;
}

static void a_file_taken_before_it_was_locked_is_made_again(void **state)
{
    (void)state;
    for (int way = 0; way < 2; way++) {
        soma_files files = soma_files_posix;
        files.lock = way ? watched_lock : stolen_lock;
        fresh();
        soma *s = soma_open(&(soma_context_options){.struct_size = sizeof(soma_context_options), .files = files});
        thieves = 3;
        assert_int_equal(soma_save(neuron(s), path), SOMA_OK);
        assert_true(thieves < 0);
        assert_true(loads(path));
        assert_int_equal(faults_folder_count(folder, NULL), 1);
        thieves = 1000; /* not for ever */
        assert_int_equal(soma_save(neuron(s), path), SOMA_IO);
        assert_true(loads(path));
        assert_int_equal(faults_folder_count(folder, NULL), 1);
        soma_close(s);
    }
}

static int no_lock(void *user, const char *file)
{
    (void)user;
    (void)file;
    return -ENOTSUP;
}

static void without_locks_files_are_left_alone(void **state)
{
    (void)state;
    soma_files files = soma_files_posix;
    for (int way = 0; way < 2; way++) {
        files.lock = way ? no_lock : NULL;
        fresh();
        assert_true(faults_write(at("model.safetensors" LEFT), "left", 4));
        soma *s = soma_open(&(soma_context_options){.struct_size = sizeof(soma_context_options), .files = files});
        assert_int_equal(soma_save(neuron(s), path), SOMA_OK);
        assert_int_equal(faults_folder_count(folder, NULL), 2);
        soma_close(s);
    }
}

static void save_again_and_again(void)
{
    for (;;) {
        soma *s = soma_open(NULL);
        if (soma_save(soma_zoo(s, "lenet5"), path) != SOMA_OK)
            _exit(1);
        soma_close(s);
    }
}

/* Killed as soon as its temporary file is seen, at whatever it is then doing. */
static void a_kill_leaves_a_whole_file_and_nothing_after_the_next_save(void **state)
{
    (void)state;
    fresh();
    assert_null(save(path));
    for (int i = 0; i < 10; i++) {
        int status;
        pid_t child = fork();
        if (!child)
            save_again_and_again();
        while (!faults_folder_count(folder, ".tmp-"))
            assert_int_equal(waitpid(child, &status, WNOHANG), 0);
        kill(child, SIGKILL);
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_true(WIFSIGNALED(status));
        assert_true(loads(path)); /* its hash is checked */
        expect_saved(path);
        assert_int_equal(faults_folder_count(folder, NULL), 1);
    }
}

static void two_processes_save_to_one_path(void **state)
{
    (void)state;
    pid_t child[3];
    fresh();
    for (int k = 0; k < 3; k++) {
        child[k] = fork();
        for (int i = 0; !child[k] && i < 30; i++)
            if (save(path))
                _exit(1);
        if (!child[k])
            _exit(0);
    }
    for (int k = 0; k < 3; k++) {
        int status;
        assert_int_equal(waitpid(child[k], &status, 0), child[k]);
        assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    }
    assert_true(loads(path));
    assert_int_equal(faults_folder_count(folder, NULL), 1);
}

/* ---- the other file that soma writes ---- */

static void the_cache_of_kernels_is_replaced_likewise(void **state)
{
    (void)state;
    char link[400];
    fresh();
    snprintf(link, sizeof link, "%s/link", folder);
    assert_int_equal(symlink("cache", link), 0);
    assert_true(faults_write(at("cache" LEFT), "left", 4));
    soma *s = soma_open(
        &(soma_context_options){.struct_size = sizeof(soma_context_options), .threads = 1, .tune = true});
    soma_model *m = soma_zoo(s, "lenet5");
    soma_value y = soma_model_output(m, 0);
    assert_int_equal(soma_tune_cache_open(s, link), SOMA_OK);
    assert_non_null(soma_compile(m, .batch = 1, .values = &y, .n_values = 1));
    assert_true(is_link(link));
    assert_int_equal(access(at("cache"), F_OK), 0);
    assert_int_equal(faults_folder_count(folder, NULL), 2);
    soma_close(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_link_stays_a_link),
        cmocka_unit_test(a_link_to_nothing_makes_what_it_names),
        cmocka_unit_test(a_chain_of_links_into_another_folder),
        cmocka_unit_test(a_loop_of_links_is_told),
        cmocka_unit_test(the_mode_is_kept),
        cmocka_unit_test(the_temporary_file_has_the_mode_already),
        cmocka_unit_test(the_owner_is_kept_where_permitted),
        cmocka_unit_test(other_hard_links_keep_the_old_content),
        cmocka_unit_test(the_longest_names_work),
        cmocka_unit_test(what_cannot_be_written_is_known_before),
        cmocka_unit_test(a_folder_that_may_not_be_written_is_told),
        cmocka_unit_test(a_full_quota_is_told),
        cmocka_unit_test(a_limit_of_size_is_a_sentence),
        cmocka_unit_test(leftovers_of_the_dead_go),
        cmocka_unit_test(files_of_others_stay),
        cmocka_unit_test(the_file_of_a_living_one_stays),
        cmocka_unit_test(a_file_taken_before_it_was_locked_is_made_again),
        cmocka_unit_test(without_locks_files_are_left_alone),
        cmocka_unit_test(a_kill_leaves_a_whole_file_and_nothing_after_the_next_save),
        cmocka_unit_test(two_processes_save_to_one_path),
        cmocka_unit_test(the_cache_of_kernels_is_replaced_likewise),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
