/* SPDX-License-Identifier: Apache-2.0
 *
 * tests/saving.h: what the tests of saving share: a folder, small models saved in it, and what lies there afterwards.
 */
#ifndef SOMA_TESTS_SAVING_H
#define SOMA_TESTS_SAVING_H

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/file.h"
#include "faults.h"

#include <soma/soma.h>

#define LEFT ".tmp-0123456789abcdef"

static char folder[256], path[400], other[700];

static inline int make_folder(void **state)
{
    (void)state;
    if (!faults_folder(folder))
        return -1;
    snprintf(path, sizeof path, "%s/model.safetensors", folder);
    return 0;
}

static inline int remove_folder(void **state)
{
    (void)state;
    faults_folder_remove(folder);
    return 0;
}

/* other = folder/name */
static inline const char *at(const char *name)
{
    snprintf(other, sizeof other, "%s/%s", folder, name);
    return other;
}

static inline soma_model *neuron(soma *s)
{
    soma_model *m = soma_zoo(s, "neuron");
    assert_non_null(m);
    return m;
}

/* Saves a small model; the error, or NULL. The text lives until the next call. */
static inline const char *save(const char *to)
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

static inline bool loads(const char *from)
{
    soma *s = soma_open(NULL);
    bool good = soma_load(s, from) != NULL;
    soma_close(s);
    return good;
}

static inline void expect_saved(const char *to)
{
    const char *error = save(to);
    if (error)
        fail_msg("%s", error);
    assert_true(loads(to));
    assert_int_equal(faults_folder_count(folder, ".tmp-"), 0);
}

static inline int mode_of(const char *file)
{
    struct stat st;
    return lstat(file, &st) ? -1 : (int)(st.st_mode & 07777);
}

static inline bool is_link(const char *file)
{
    struct stat st;
    return !lstat(file, &st) && S_ISLNK(st.st_mode);
}

static inline void fresh(void)
{
    faults_folder_clear(folder, NULL);
}

#endif
