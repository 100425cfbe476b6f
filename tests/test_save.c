/* SPDX-License-Identifier: Apache-2.0
 *
 * What saving leaves in a folder: links stay links, modes are kept, limits and wrong places are told before the
 * training.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include "saving.h"

#include <errno.h>
#include <sys/resource.h>

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
        cmocka_unit_test(the_cache_of_kernels_is_replaced_likewise),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
