/* SPDX-License-Identifier: Apache-2.0
 *
 * base/file.c: the system's files and clock behind their seams; whole files read, and replaced atomically.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include "base/file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/random.h"

#define SOMA_TRANSFER_MAX ((size_t)1 << 30) /* bytes of one call: systems stop near 2 GiB */

/* ---- the system's files ---- */

static int posix_open(void *user, const char *path, bool write)
{
    (void)user;
    /* Reading: a FIFO must not block. Writing: the name is a temporary one of ours, so a link there is an attack. */
    int flags = write ? O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW : O_RDONLY | O_NONBLOCK;
    int handle = open(path, flags | O_CLOEXEC, 0666);
    return handle < 0 ? -errno : handle;
}

/* Also the guard that only regular files are read. */
static int64_t posix_size(void *user, int handle)
{
    struct stat st;
    (void)user;
    if (fstat(handle, &st))
        return -errno;
    if (S_ISDIR(st.st_mode))
        return -EISDIR;
    return S_ISREG(st.st_mode) ? (int64_t)st.st_size : -ESPIPE;
}

static int64_t posix_read(void *user, int handle, void *bytes, size_t size)
{
    (void)user;
    ssize_t n = read(handle, bytes, size);
    return n < 0 ? -errno : (int64_t)n;
}

static int64_t posix_write(void *user, int handle, const void *bytes, size_t size)
{
    (void)user;
    ssize_t n = write(handle, bytes, size);
    return n < 0 ? -errno : (int64_t)n;
}

static int posix_sync(void *user, int handle)
{
    (void)user;
    return fsync(handle) ? -errno : 0;
}

static int posix_close(void *user, int handle)
{
    (void)user;
    return close(handle) ? -errno : 0;
}

static int posix_rename(void *user, const char *from, const char *to)
{
    (void)user;
    return rename(from, to) ? -errno : 0;
}

static int posix_remove(void *user, const char *path)
{
    (void)user;
    return unlink(path) ? -errno : 0;
}

static int posix_sync_folder(void *user, const char *path)
{
    (void)user;
    char folder[4096];
    const char *slash = strrchr(path, '/');
    size_t length = !slash ? 1 : slash == path ? 1 : (size_t)(slash - path);
    if (length >= sizeof folder)
        return -ENAMETOOLONG;
    memcpy(folder, slash ? path : ".", length);
    folder[length] = 0;
    int handle = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (handle < 0) /* a folder that may be written but not listed cannot be synced: nothing more can be done */
        return errno == EACCES ? 0 : -errno;
    int error = fsync(handle) ? errno : 0;
    close(handle);
    return error == EINVAL || error == ENOTSUP ? 0 : -error; /* file systems without folder sync say so */
}

static int posix_list(void *user, const char *path, void (*each)(void *to, const char *name), void *to)
{
    (void)user;
    DIR *folder = opendir(path);
    if (!folder)
        return -errno;
    const struct dirent *entry;
    for (errno = 0; (entry = readdir(folder)); errno = 0)
        each(to, entry->d_name);
    int error = errno;
    closedir(folder);
    return -error;
}

const soma_files soma_files_posix = {.user = NULL,
                                     .open = posix_open,
                                     .size = posix_size,
                                     .read = posix_read,
                                     .write = posix_write,
                                     .sync = posix_sync,
                                     .close = posix_close,
                                     .rename = posix_rename,
                                     .remove = posix_remove,
                                     .sync_folder = posix_sync_folder,
                                     .list = posix_list};

static double posix_now(void *user)
{
    struct timespec t;
    (void)user;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

const soma_clock soma_clock_posix = {.now = posix_now, .user = NULL};

/* ---- sentences ---- */

/* The system's own texts depend on the locale and are not safe with threads. */
static const char *reason(int64_t result, char text[48])
{
    static const struct {
        int code;
        const char *text;
    } known[] = {
        {ENOENT, "no such file or folder; is the path right?"},
        {EACCES, "permission denied; check the owner and mode of the file and its folder"},
        {EPERM, "the system does not permit it"},
        {EISDIR, "it is a folder, not a file"},
        {ENOTDIR, "a part of the path is not a folder"},
        {ESPIPE, "it is not a regular file"},
        {ENXIO, "it is not a regular file"},
        {ENOSPC, "no space is left on the device; free some or choose another place"},
        {EDQUOT, "the disk quota is used up; free some space or choose another place"},
        {EFBIG, "the file would be larger than the system allows"},
        {EROFS, "the file system is read-only; choose another place"},
        {EIO, "the device reported an input/output error"},
        {EMFILE, "the process has too many files open"},
        {ENFILE, "the system has too many files open"},
        {ENAMETOOLONG, "the path is too long"},
        {ELOOP, "there is a symbolic link where none may be, or too many of them"},
        {EXDEV, "the two names lie on different file systems"},
        {ETXTBSY, "the file is a program that is running"},
        {ENOMEM, "the system has no memory left"},
    };
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
        if (known[i].code == -result)
            return known[i].text;
    snprintf(text, 48, "system error %" PRId64, -result);
    return text;
}

/* ---- reading ---- */

static soma_status read_failed(soma *s, const char *path, int64_t result)
{
    char text[48];
    return soma_fail(s, SOMA_IO, soma_nowhere(), "cannot read \"%s\": %s", path, reason(result, text));
}

static int open_again(soma *s, const char *path, bool write)
{
    int handle;
    do
        handle = s->files.open(s->files.user, path, write);
    while (handle == -EINTR);
    return handle;
}

static soma_status read_all(soma *s, const char *path, int handle, char *bytes, size_t size)
{
    size_t done = 0;
    while (done < size) {
        size_t want = size - done < SOMA_TRANSFER_MAX ? size - done : SOMA_TRANSFER_MAX;
        int64_t n = s->files.read(s->files.user, handle, bytes + done, want);
        if (n == -EINTR)
            continue;
        if (n < 0)
            return read_failed(s, path, n);
        if (n == 0)
            return soma_fail(s, SOMA_IO, soma_nowhere(),
                             "cannot read \"%s\": it ended at byte %zu of %zu; was it cut short meanwhile?", path, done,
                             size);
        done += (size_t)n;
    }
    return SOMA_OK;
}

static soma_status read_open(soma *s, const char *path, int handle, uint64_t limit, void **bytes, size_t *size)
{
    int64_t n;
    do
        n = s->files.size(s->files.user, handle);
    while (n == -EINTR);
    if (n < 0)
        return read_failed(s, path, n);
    if ((uint64_t)n > limit || (uint64_t)n >= SIZE_MAX)
        return soma_fail(s, SOMA_FORMAT, soma_nowhere(),
                         "cannot read \"%s\": it has %" PRId64 " bytes, and at most %" PRIu64 " are accepted here",
                         path, n, limit);
    char *block = soma_alloc(s, (size_t)n + 1); /* the byte behind is 0: text files end like strings */
    if (!block)
        return SOMA_MEMORY;
    soma_status status = read_all(s, path, handle, block, (size_t)n);
    if (status != SOMA_OK) {
        soma_release(s, block);
        return status;
    }
    *bytes = block;
    *size = (size_t)n;
    return SOMA_OK;
}

soma_status soma_file_read(soma *s, const char *path, uint64_t limit, void **bytes, size_t *size)
{
    if (!path)
        return soma_fail(s, SOMA_INVALID, soma_nowhere(), "a file is to be read, but its path is NULL");
    int handle = open_again(s, path, false);
    if (handle < 0)
        return read_failed(s, path, handle);
    soma_status status = read_open(s, path, handle, limit, bytes, size);
    s->files.close(s->files.user, handle); /* nothing was written: its result has nothing to say */
    return status;
}

/* ---- replacing ---- */

static soma_status write_failed(soma_file_writer *w, int64_t result)
{
    char text[48];
    w->status = soma_fail(w->s, SOMA_IO, soma_nowhere(), "cannot write \"%s\": %s", w->path, reason(result, text));
    return w->status;
}

/* What is there already must be a regular file: a rename would replace a device or a pipe as well. */
static soma_status check_old(soma_file_writer *w)
{
    const soma_files *f = &w->s->files;
    int handle = open_again(w->s, w->path, false);
    if (handle == -ENOENT || handle == -EACCES)
        return SOMA_OK;
    if (handle < 0)
        return write_failed(w, handle);
    int64_t n;
    do
        n = f->size(f->user, handle);
    while (n == -EINTR);
    f->close(f->user, handle);
    return n < 0 ? write_failed(w, n) : SOMA_OK;
}

/* One name per process and context: two that save to the same path do not write into each other's file. */
static char *temporary_name(soma *s, const char *path)
{
    static const char mark[] = ".tmp-0123456789abcdef";
    uint64_t who[2] = {(uint64_t)getpid(), (uint64_t)(uintptr_t)s};
    uint64_t hash = soma_hash_bytes(soma_hash_text(path), who, sizeof who);
    size_t length = strlen(path);
    char *name = soma_alloc(s, length + sizeof mark);
    if (name) {
        memcpy(name, path, length);
        snprintf(name + length, sizeof mark, ".tmp-%016" PRIx64, hash);
    }
    return name;
}

soma_status soma_file_begin(soma_file_writer *w, soma *s, const char *path)
{
    *w = (soma_file_writer){.s = s, .path = path, .temporary = NULL, .handle = -1, .status = SOMA_OK};
    if (!path || !*path) {
        w->status = soma_fail(s, SOMA_INVALID, soma_nowhere(), "a file is to be written, but its path is %s",
                              path ? "empty" : "NULL");
        return w->status;
    }
    if (check_old(w) != SOMA_OK)
        return w->status;
    char *temporary = temporary_name(s, path);
    if (!temporary)
        return w->status = SOMA_MEMORY;
    int handle = open_again(s, temporary, true);
    if (handle < 0) {
        soma_release(s, temporary);
        return write_failed(w, handle);
    }
    w->temporary = temporary;
    w->handle = handle;
    return SOMA_OK;
}

soma_status soma_file_write(soma_file_writer *w, const void *bytes, size_t size)
{
    const soma_files *f = &w->s->files;
    size_t done = 0;
    while (w->status == SOMA_OK && done < size) {
        size_t want = size - done < SOMA_TRANSFER_MAX ? size - done : SOMA_TRANSFER_MAX;
        int64_t n = f->write(f->user, w->handle, (const char *)bytes + done, want);
        if (n == -EINTR)
            continue;
        if (n <= 0)
            return write_failed(w, n ? n : -ENOSPC); /* a device that takes nothing is full */
        done += (size_t)n;
    }
    return w->status;
}

/* Closes the handle. A close that was interrupted has closed: it is not called twice. */
static int close_writer(soma_file_writer *w)
{
    int result = w->handle < 0 ? 0 : w->s->files.close(w->s->files.user, w->handle);
    w->handle = -1;
    return result == -EINTR ? 0 : result;
}

void soma_file_abandon(soma_file_writer *w)
{
    close_writer(w);
    if (w->temporary) {
        int result;
        do
            result = w->s->files.remove(w->s->files.user, w->temporary);
        while (result == -EINTR);
        soma_release(w->s, w->temporary);
    }
    w->temporary = NULL;
}

/* Everything up to the rename. A sync that failed is not tried again: the system may have dropped the bytes. */
static int64_t finish(soma_file_writer *w)
{
    const soma_files *f = &w->s->files;
    int result;
    do
        result = f->sync(f->user, w->handle);
    while (result == -EINTR);
    int closed = close_writer(w);
    if (result || closed)
        return result ? result : closed;
    do
        result = f->rename(f->user, w->temporary, w->path);
    while (result == -EINTR);
    return result;
}

soma_status soma_file_commit(soma_file_writer *w)
{
    const soma_files *f = &w->s->files;
    if (w->status == SOMA_OK && w->handle < 0) /* committed or abandoned before */
        return w->status = soma_fail(w->s, SOMA_STATE, soma_nowhere(), "the writing of \"%s\" is over already",
                                     w->path);
    int64_t result = w->status == SOMA_OK ? finish(w) : 0;
    if (result)
        write_failed(w, result);
    if (w->status != SOMA_OK) {
        soma_file_abandon(w);
        return w->status;
    }
    soma_release(w->s, w->temporary);
    w->temporary = NULL;
    do
        result = f->sync_folder(f->user, w->path);
    while (result == -EINTR);
    if (result) {
        char text[48];
        w->status = soma_fail(
            w->s, SOMA_IO, soma_nowhere(),
            "\"%s\" is written, but its folder could not be synced, so a power failure may undo it: %s", w->path,
            reason(result, text));
    }
    return w->status;
}
