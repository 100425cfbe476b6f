/* SPDX-License-Identifier: Apache-2.0
 *
 * What a killed process left behind when it saved goes with the next save, and the files of living ones stay.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include "saving.h"

#include <errno.h>
#include <signal.h>
#include <sys/file.h>

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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(leftovers_of_the_dead_go),
        cmocka_unit_test(files_of_others_stay),
        cmocka_unit_test(the_file_of_a_living_one_stays),
        cmocka_unit_test(a_file_taken_before_it_was_locked_is_made_again),
        cmocka_unit_test(without_locks_files_are_left_alone),
        cmocka_unit_test(a_kill_leaves_a_whole_file_and_nothing_after_the_next_save),
        cmocka_unit_test(two_processes_save_to_one_path),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
