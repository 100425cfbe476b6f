/* SPDX-License-Identifier: Apache-2.0
 *
 * base/file_write.c: files replaced atomically through the seam: the old file or the new one, whole, whatever happens.
 *
 * Who is alive? The writer of a temporary file holds a lock on it; a process that was killed holds none, so the next
 * writer of the same file takes the lock and removes it. Between making the file and locking it another one may do
 * just that: then the lock says so, and a file of another name is made.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include "base/file.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/random.h"

#define MARK ".tmp-"
#define DIGITS 16
#define NAME_LIMIT 255 /* bytes of a name on most file systems */
#define NAME_SHORT 64  /* of a longer one, and a hash of all of it, in the temporary file's name */
#define LINKS_MAX 40
#define TRIES 100

/* ---- sentences ---- */

/* A folder that is there and takes no files, as those of /proc, says the same as one that is not. */
static const char *no_entry(const soma_file_writer *w)
{
    const soma_files *f = &w->s->files;
    int result = f->sync_folder(f->user, w->target ? w->target : w->path);
    return result == -ENOENT || result == -ENOTDIR ? "its folder does not exist; make it, or choose another place"
                                                   : "its folder takes no new files; choose another place";
}

static soma_status write_failed(soma_file_writer *w, int64_t result)
{
    char text[48], size[48] = "", path[SOMA_SHOWN], target[SOMA_SHOWN];
    const char *why = result == -ENOENT ? no_entry(w) : soma_file_reason(result, text);
    bool link = w->target && strcmp(w->target, w->path) != 0;
    if (w->size && (result == -ENOSPC || result == -EDQUOT || result == -EFBIG))
        snprintf(size, sizeof size, " of %" PRIu64 " bytes", w->size);
    w->status = soma_fail(w->s, SOMA_IO, soma_nowhere(), "cannot write \"%s\"%s%s%s%s: %s",
                          soma_file_shown(w->path, path), size, link ? " (a link to \"" : "",
                          link ? soma_file_shown(w->target, target) : "", link ? "\")" : "", why);
    return w->status;
}

static int64_t no_memory(soma_file_writer *w)
{
    w->status = SOMA_MEMORY;
    return -ENOMEM;
}

/* ---- where to ---- */

static size_t folder_length(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? (size_t)(slash - path) + 1 : 0;
}

/* One link further: a relative one counts from its own folder. */
static int64_t follow(soma_file_writer *w)
{
    const soma_files *f = &w->s->files;
    char link[PATH_MAX];
    int64_t n;
    do
        n = f->read_link(f->user, w->target, link, sizeof link);
    while (n == -EINTR);
    if (n < 0)
        return n;
    if (n == 0 || n >= (int64_t)sizeof link)
        return -ENAMETOOLONG;
    size_t folder = link[0] == '/' ? 0 : folder_length(w->target);
    char *next = soma_alloc(w->s, folder + (size_t)n + 1);
    if (!next)
        return no_memory(w);
    memcpy(next, w->target, folder);
    memcpy(next + folder, link, (size_t)n);
    soma_release(w->s, w->target);
    w->target = next;
    return 0;
}

static int inherit(soma_file_writer *w, const char *path, int handle)
{
    const soma_files *f = &w->s->files;
    int result;
    do
        result = f->inherit ? f->inherit(f->user, path, handle) : 0;
    while (result == -EINTR);
    return result;
}

static int reserve(soma_file_writer *w)
{
    const soma_files *f = &w->s->files;
    int result;
    do
        result = f->reserve && w->size ? f->reserve(f->user, w->handle, w->size) : 0;
    while (result == -EINTR);
    return result;
}

/* What is there already must be a regular file: a rename would replace a device or a pipe as well. */
static int64_t aim(soma_file_writer *w)
{
    const soma_files *f = &w->s->files;
    int64_t result = inherit(w, w->path, -1);
    if (result < 0)
        return result;
    w->target = soma_copy_text(w->s, w->path);
    if (!w->target)
        return no_memory(w);
    for (int i = 0; f->read_link && i < LINKS_MAX && result >= 0; i++)
        result = follow(w);
    return result == -EINVAL || result == -ENOENT || !f->read_link ? 0 : result < 0 ? result : -ELOOP;
}

/* ---- temporary files ---- */

/* "folder/NAME.tmp-", with room for the digits. */
static char *stem_of(soma *s, const char *target, bool cut)
{
    size_t folder = folder_length(target), kept = strlen(target + folder);
    const char *name = target + folder;
    if (cut) {
        kept = NAME_SHORT;
        while (kept && ((unsigned char)name[kept] & 0xc0) == 0x80) /* letters stay whole */
            kept--;
    }
    char hash[16] = "", *stem = soma_alloc(s, folder + kept + sizeof hash + sizeof MARK + DIGITS);
    if (!stem)
        return NULL;
    if (cut)
        snprintf(hash, sizeof hash, "-%08" PRIx32, (uint32_t)soma_hash_text(name));
    memcpy(stem, target, folder + kept);
    memcpy(stem + folder + kept, hash, strlen(hash));
    memcpy(stem + folder + kept + strlen(hash), MARK, sizeof MARK);
    return stem;
}

typedef struct leftovers {
    const soma_files *files;
    char *path; /* folder/NAME.tmp- and room for the digits */
    size_t folder, length;
} leftovers;

/* Those of others are left alone: nobody could tell live from dead. */
static void remove_leftover(void *to, const char *name)
{
    const leftovers *l = to;
    const soma_files *f = l->files;
    size_t stem = l->length - l->folder;
    if (strncmp(name, l->path + l->folder, stem) != 0 || strlen(name + stem) != DIGITS ||
        strspn(name + stem, "0123456789abcdef") != DIGITS)
        return;
    memcpy(l->path + l->length, name + stem, DIGITS + 1);
    int lock = f->lock(f->user, l->path);
    if (lock < 0)
        return;
    f->remove(f->user, l->path);
    f->close(f->user, lock);
}

/* What goes wrong here leaves things as they were, for the next time. */
static void remove_leftovers(soma_file_writer *w, char *stem)
{
    const soma_files *f = &w->s->files;
    leftovers l = {f, stem, folder_length(stem), strlen(stem)};
    if (!f->list || !f->lock)
        return;
    char folder[PATH_MAX];
    size_t length = l.folder > 1 ? l.folder - 1 : 1; /* without the slash, unless it is the root */
    if (length >= sizeof folder)
        return;
    memcpy(folder, l.folder ? stem : ".", length);
    folder[length] = 0;
    f->list(f->user, folder, remove_leftover, &l);
    stem[l.length] = 0;
}

/* 0: locked, or there are no locks here; -EAGAIN: somebody took it for a leftover. */
static int64_t hold(soma_file_writer *w)
{
    const soma_files *f = &w->s->files;
    int lock;
    if (!f->lock)
        return 0;
    do
        lock = f->lock(f->user, w->temporary);
    while (lock == -EINTR);
    w->lock = lock < 0 ? -1 : lock;
    switch (lock < 0 ? -lock : 0) {
    case ENOENT:
    case EWOULDBLOCK:
        return -EAGAIN;
    case ENOTSUP:
    case ENOSYS:
    case ENOLCK:
    case EINVAL:
    case EBADF:
    case EACCES:
        return 0;
    default:
        return lock < 0 ? lock : 0;
    }
}

/* One name per process, context and moment. */
static int64_t open_temporary(soma_file_writer *w, bool cut)
{
    soma *s = w->s;
    char *stem = stem_of(s, w->target, cut);
    if (!stem)
        return no_memory(w);
    size_t length = strlen(stem);
    double now = soma_now(s);
    int64_t result = -EAGAIN;
    remove_leftovers(w, stem);
    w->temporary = stem;
    for (uint64_t i = 0; i < TRIES && (result == -EAGAIN || result == -EEXIST); i++) {
        uint64_t who[4] = {(uint64_t)getpid(), (uint64_t)(uintptr_t)s, i, 0};
        memcpy(&who[3], &now, sizeof now);
        snprintf(stem + length, DIGITS + 1, "%016" PRIx64, soma_hash_bytes(soma_hash_text(w->path), who, sizeof who));
        result = w->handle = soma_file_open(s, stem, true);
        if (result < 0)
            continue;
        result = hold(w);
        if (result < 0) {
            s->files.close(s->files.user, w->handle);
            s->files.remove(s->files.user, stem);
        }
    }
    if (result < 0) {
        w->handle = -1;
        w->temporary = NULL;
        soma_release(s, stem);
    }
    return result;
}

static int64_t prepare(soma_file_writer *w)
{
    int64_t result = aim(w);
    size_t length = result ? 0 : strlen(w->target + folder_length(w->target));
    if (!result)
        result = length + sizeof MARK - 1 + DIGITS <= NAME_LIMIT ? open_temporary(w, false) : -ENAMETOOLONG;
    if (result == -ENAMETOOLONG && length > NAME_SHORT && length <= NAME_LIMIT)
        result = open_temporary(w, true);
    if (!result)
        result = inherit(w, w->target, w->handle);
    return result ? result : reserve(w);
}

soma_status soma_file_begin(soma_file_writer *w, soma *s, const char *path, uint64_t size)
{
    *w = (soma_file_writer){.s = s, .path = path, .size = size, .handle = -1, .lock = -1, .status = SOMA_OK};
    if (!path || !*path) {
        w->status = soma_fail(s, SOMA_INVALID, soma_nowhere(), "a file is to be written, but its path is %s",
                              path ? "empty" : "NULL");
        return w->status;
    }
    int64_t result = prepare(w);
    if (result && w->status == SOMA_OK) /* else memory could not be had, and that was said */
        write_failed(w, result);
    if (result)
        soma_file_abandon(w);
    return w->status;
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

static void let_go(soma_file_writer *w)
{
    if (w->lock >= 0)
        w->s->files.close(w->s->files.user, w->lock);
    w->lock = -1;
    soma_release(w->s, w->temporary);
    soma_release(w->s, w->target);
    w->temporary = w->target = NULL;
}

void soma_file_abandon(soma_file_writer *w)
{
    close_writer(w);
    if (w->temporary) {
        int result;
        do
            result = w->s->files.remove(w->s->files.user, w->temporary);
        while (result == -EINTR);
    }
    let_go(w);
}

/* Everything up to the rename, all of it under the lock. A sync that failed is not tried again: the system may have
 * dropped the bytes. */
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
        result = f->rename(f->user, w->temporary, w->target);
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
    do
        result = f->sync_folder(f->user, w->target);
    while (result == -EINTR);
    let_go(w);
    if (result) {
        char text[48];
        w->status = soma_fail(
            w->s, SOMA_IO, soma_nowhere(),
            "\"%s\" is written, but its folder could not be synced, so a power failure may undo it: %s", w->path,
            soma_file_reason(result, text));
    }
    return w->status;
}
