/* SPDX-License-Identifier: Apache-2.0
 *
 * tests/test_file.c: whole files read and atomically replaced, with every k-th file operation and every k-th
 * allocation failing. After each failure the file holds what it held before, or all of the new, and no temporary file
 * stays behind.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/file.h"
#include "faults.h"

#define OPTIONS(...) (&(soma_context_options){.struct_size = sizeof(soma_context_options), __VA_ARGS__})

static char folder[256], path[300];

static int make_folder(void **state)
{
    (void)state;
    if (!faults_folder(folder))
        return -1;
    snprintf(path, sizeof path, "%s/model.bin", folder);
    return 0;
}

static int remove_folder(void **state)
{
    (void)state;
    faults_folder_remove(folder);
    return access(folder, F_OK) == 0 ? -1 : 0; /* something was left that the tests do not know */
}

/* ---- reading ---- */

static void files_are_read_whole(void **state)
{
    (void)state;
    soma *s = soma_open(NULL);
    void *bytes = NULL;
    size_t size = 0;
    assert_true(faults_write(path, "hello", 5));
    assert_int_equal(soma_file_read(s, path, 5, &bytes, &size), SOMA_OK);
    assert_int_equal(size, 5);
    assert_string_equal(bytes, "hello"); /* with an end mark */
    soma_release(s, bytes);
    assert_true(faults_write(path, "", 0));
    assert_int_equal(soma_file_read(s, path, 0, &bytes, &size), SOMA_OK);
    assert_int_equal(size, 0);
    soma_release(s, bytes);
    soma_close(s);
}

static void expect_read(soma *s, const char *file, uint64_t limit, soma_status status, const char *word)
{
    void *bytes = NULL;
    size_t size = 77;
    soma_clear(s);
    assert_int_equal(soma_file_read(s, file, limit, &bytes, &size), status);
    assert_int_equal(soma_error_status(s), status);
    assert_true(!bytes && size == 77);
    assert_non_null(strstr(soma_error(s), word));
    if (file)
        assert_non_null(strstr(soma_error(s), file));
}

static void what_cannot_be_read_is_told(void **state)
{
    (void)state;
    char other[320];
    soma *s = soma_open(NULL);
    uint64_t before = soma_memory_use(s).now;
    assert_true(faults_write(path, "hello", 5));
    expect_read(s, path, 4, SOMA_FORMAT, "at most 4");
    expect_read(s, folder, 100, SOMA_IO, "folder");
    expect_read(s, "/dev/zero", 100, SOMA_IO, "not a regular file");
    expect_read(s, NULL, 100, SOMA_INVALID, "NULL");
    snprintf(other, sizeof other, "%s/absent", folder);
    expect_read(s, other, 100, SOMA_IO, "no such file");
    snprintf(other, sizeof other, "%s/below", path);
    expect_read(s, other, 100, SOMA_IO, "not a folder");
    snprintf(other, sizeof other, "%s/pipe", folder);
    assert_int_equal(mkfifo(other, 0600), 0);
    expect_read(s, other, 100, SOMA_IO, "not a regular file"); /* and does not wait for a writer */
    assert_int_equal(soma_memory_use(s).now, before);
    soma_close(s);
    unlink(other);
}

/* Reads `path`, which holds `expected`, with the k-th operation failing, for every k. Returns the number of
 * failures. */
static uint64_t sweep_reads(faults_kind kind, int error, bool forever, bool succeeds, const char *expected)
{
    for (uint64_t k = 1;; k++) {
        faults_io io = {.fail_at = k, .kind = kind, .error = error, .forever = forever};
        soma *s = soma_open(OPTIONS(.files = faults_files(&io)));
        uint64_t before = soma_memory_use(s).now;
        void *bytes = NULL;
        size_t size = 0;
        soma_status status = soma_file_read(s, path, 1000, &bytes, &size);
        assert_int_equal(io.open, 0);
        if (status == SOMA_OK) {
            assert_string_equal(bytes, expected);
        } else {
            assert_false(succeeds);
            assert_int_equal(status, SOMA_IO);
            assert_non_null(strstr(soma_error(s), path));
        }
        soma_release(s, bytes);
        assert_int_equal(soma_memory_use(s).now, before);
        soma_close(s);
        if (!io.failed)
            return k - 1;
    }
}

static void reading_survives_every_failure(void **state)
{
    (void)state;
    static const char text[] = "seventeen letters";
    assert_true(faults_write(path, text, sizeof text - 1));
    assert_int_equal(sweep_reads(FAULTS_ERROR, EIO, false, false, text), 4); /* open, size, read, close */
    assert_int_equal(sweep_reads(FAULTS_ERROR, EIO, true, false, text), 4);
    assert_true(sweep_reads(FAULTS_ERROR, EINTR, false, true, text) >= 4);
    assert_true(sweep_reads(FAULTS_SHORT, 0, false, true, text) >= 4);
    assert_true(sweep_reads(FAULTS_SHORT, 0, true, true, text) >= 4); /* byte by byte */
}

/* A file that is shorter than it said: cut by somebody else while it is read. */
static int64_t boastful_size(void *user, int handle)
{
    (void)user;
    int64_t n = soma_files_posix.size(NULL, handle);
    return n < 0 ? n : n + 3;
}

static void a_file_that_shrinks_is_an_error(void **state)
{
    (void)state;
    soma_files files = soma_files_posix;
    files.size = boastful_size;
    soma *s = soma_open(OPTIONS(.files = files));
    assert_true(faults_write(path, "hello", 5));
    expect_read(s, path, 100, SOMA_IO, "ended at byte 5 of 8");
    soma_close(s);
}

/* ---- replacing ---- */

static const char old_text[] = "the old content", new_text[] = "the new content, which is longer";

static soma_status replace(soma *s)
{
    soma_file_writer w;
    soma_file_begin(&w, s, path, sizeof new_text - 1);
    for (size_t i = 0; i < sizeof new_text - 1; i += 7) { /* no check per call is needed */
        size_t left = sizeof new_text - 1 - i;
        soma_file_write(&w, new_text + i, left < 7 ? left : 7);
    }
    return soma_file_commit(&w);
}

static bool holds(const char *text)
{
    size_t size = 0;
    char *bytes = faults_read(path, &size);
    bool same = bytes && size == strlen(text) && !memcmp(bytes, text, size);
    free(bytes);
    return same;
}

static void files_are_replaced(void **state)
{
    (void)state;
    soma *s = soma_open(NULL);
    unlink(path);
    assert_int_equal(replace(s), SOMA_OK); /* a new one */
    assert_true(holds(new_text));
    assert_true(faults_write(path, old_text, strlen(old_text)));
    assert_int_equal(replace(s), SOMA_OK); /* an old one */
    assert_true(holds(new_text));
    assert_int_equal(faults_folder_count(folder, NULL), 1);
    char here[300];
    assert_non_null(getcwd(here, sizeof here));
    assert_int_equal(chdir(folder), 0); /* a name without a folder */
    soma_file_writer w;
    assert_int_equal(soma_file_begin(&w, s, "model.bin", 0), SOMA_OK);
    assert_int_equal(faults_folder_count(folder, ".tmp-"), 1);
    assert_int_equal(soma_file_commit(&w), SOMA_OK);
    assert_int_equal(chdir(here), 0);
    assert_true(holds(""));
    assert_int_equal(soma_file_commit(&w), SOMA_STATE); /* twice is a mistake, told and harmless */
    soma_close(s);
}

static void abandoning_leaves_the_old_file(void **state)
{
    (void)state;
    soma *s = soma_open(NULL);
    soma_file_writer w;
    assert_true(faults_write(path, old_text, strlen(old_text)));
    uint64_t before = soma_memory_use(s).now;
    assert_int_equal(soma_file_begin(&w, s, path, 0), SOMA_OK);
    assert_int_equal(soma_file_write(&w, "half", 4), SOMA_OK);
    soma_file_abandon(&w);
    soma_file_abandon(&w);
    assert_true(holds(old_text));
    assert_int_equal(faults_folder_count(folder, NULL), 1);
    assert_int_equal(soma_memory_use(s).now, before);
    assert_false(soma_failed(s));
    soma_close(s);
}

static void expect_no_write(soma *s, const char *file, soma_status status, const char *word)
{
    soma_file_writer w;
    soma_clear(s);
    assert_int_equal(soma_file_begin(&w, s, file, 0), status);
    assert_int_equal(soma_file_write(&w, "x", 1), status);
    assert_int_equal(soma_file_commit(&w), status);
    assert_non_null(strstr(soma_error(s), word));
}

static void what_cannot_be_written_is_told(void **state)
{
    (void)state;
    char other[320];
    soma *s = soma_open(NULL);
    expect_no_write(s, folder, SOMA_IO, "folder");
    expect_no_write(s, "/dev/null", SOMA_IO, "not a regular file"); /* root could rename over it */
    expect_no_write(s, NULL, SOMA_INVALID, "NULL");
    expect_no_write(s, "", SOMA_INVALID, "empty");
    snprintf(other, sizeof other, "%s/absent/model.bin", folder);
    expect_no_write(s, other, SOMA_IO, "its folder does not exist");
    soma_close(s);
}

/* What fails without harm: looking for leftovers, giving up the lock of a file that is in its place. */
static bool is_harmless(const faults_io *io)
{
    bool no_locks = !strcmp(io->what, "lock") && io->error == ENOTSUP;
    return io->failed == 1 &&
           (no_locks || !strcmp(io->what, "list") || (!strcmp(io->what, "close") && holds(new_text)));
}

/* Replaces `path` with the k-th operation failing, for every k; `harmless` of them must do no harm. Returns their
 * number. */
static uint64_t sweep_replace(faults_kind kind, int error, bool forever, bool succeeds, int harmless)
{
    const int files = faults_folder_count(folder, NULL);
    for (uint64_t k = 1;; k++) {
        assert_true(faults_write(path, old_text, strlen(old_text)));
        faults_io io = {.fail_at = k, .kind = kind, .error = error, .forever = forever};
        soma *s = soma_open(OPTIONS(.files = faults_files(&io)));
        uint64_t before = soma_memory_use(s).now;
        soma_status status = replace(s);
        assert_int_equal(io.open, 0);
        assert_int_equal(soma_memory_use(s).now, before);
        assert_int_equal(status, soma_error_status(s));
        if (status == SOMA_OK) {
            assert_true(holds(new_text));
        } else {
            assert_non_null(strstr(soma_error(s), path));
            assert_true(holds(old_text) || holds(new_text));
            if (!strstr(soma_error(s), "could not be synced")) /* only the folder's sync comes after the rename */
                assert_true(holds(old_text));
        }
        if (forever) /* removing fails too, as when the power is cut */
            faults_folder_clear(folder, ".tmp-");
        assert_int_equal(faults_folder_count(folder, NULL), files);
        soma_close(s);
        if (!io.failed) {
            assert_int_equal(harmless, 0);
            return k - 1;
        }
        bool no_harm = !succeeds && is_harmless(&io);
        harmless -= no_harm;
        assert_int_equal(status == SOMA_OK, succeeds || no_harm);
    }
}

static void replacing_survives_every_failure(void **state)
{
    (void)state;
    assert_true(faults_write(path, old_text, strlen(old_text)));
    static const int errors[] = {EIO, ENOSPC, EDQUOT, EROFS, EXDEV};
    /* inherit (look), read_link, list, open, lock, inherit, reserve, five writes, sync, close, rename, sync of the
     * folder, close of the lock */
    for (size_t i = 0; i < sizeof errors / sizeof errors[0]; i++)
        assert_int_equal(sweep_replace(FAULTS_TORN, errors[i], false, false, 2), 17);
    assert_int_equal(sweep_replace(FAULTS_ERROR, EIO, false, false, 2), 17);
    assert_int_equal(sweep_replace(FAULTS_ERROR, EIO, true, false, 1), 17);
    assert_true(sweep_replace(FAULTS_ERROR, EINTR, false, true, 0) >= 17);
    assert_true(sweep_replace(FAULTS_SHORT, 0, false, true, 0) >= 17);
    assert_true(sweep_replace(FAULTS_SHORT, 0, true, true, 0) >= 17);            /* byte by byte */
    assert_int_equal(sweep_replace(FAULTS_ERROR, ENOTSUP, false, false, 3), 17); /* as where there are no locks */
}

static void replacing_behind_a_link_survives_every_failure(void **state)
{
    (void)state;
    char real[320];
    snprintf(real, sizeof real, "%s/real.bin", folder);
    unlink(path);
    assert_int_equal(symlink("real.bin", path), 0);
    assert_true(faults_write(path, old_text, strlen(old_text)));
    assert_int_equal(sweep_replace(FAULTS_TORN, EIO, false, false, 2), 18); /* a link more to read */
    assert_int_equal(sweep_replace(FAULTS_ERROR, ENOSPC, true, false, 1), 18);
    assert_true(sweep_replace(FAULTS_ERROR, EINTR, false, true, 0) >= 18);
    unlink(path);
    unlink(real);
}

static void replacing_survives_lack_of_memory(void **state)
{
    (void)state;
    for (uint64_t k = 2;; k++) { /* 1 is the context */
        faults_memory memory = {.fail_at = k};
        assert_true(faults_write(path, old_text, strlen(old_text)));
        soma *s = soma_open(OPTIONS(.allocator = faults_allocator(&memory)));
        void *bytes = NULL;
        size_t size = 0;
        soma_status status = replace(s);
        assert_int_equal(status, memory.failed ? SOMA_MEMORY : SOMA_OK);
        assert_true(holds(memory.failed ? old_text : new_text));
        assert_int_equal(faults_folder_count(folder, NULL), 1);
        status = soma_file_read(s, path, 1000, &bytes, &size);
        assert_true(status == SOMA_OK || status == SOMA_MEMORY);
        soma_release(s, bytes);
        soma_close(s);
        assert_int_equal(memory.blocks, 0);
        assert_int_equal(memory.mistakes, 0);
        if (!memory.failed)
            break;
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(files_are_read_whole),
        cmocka_unit_test(what_cannot_be_read_is_told),
        cmocka_unit_test(reading_survives_every_failure),
        cmocka_unit_test(a_file_that_shrinks_is_an_error),
        cmocka_unit_test(files_are_replaced),
        cmocka_unit_test(abandoning_leaves_the_old_file),
        cmocka_unit_test(what_cannot_be_written_is_told),
        cmocka_unit_test(replacing_survives_every_failure),
        cmocka_unit_test(replacing_behind_a_link_survives_every_failure),
        cmocka_unit_test(replacing_survives_lack_of_memory),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
