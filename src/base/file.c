/* SPDX-License-Identifier: Apache-2.0
 *
 * base/file.c: whole files read through the seam, and what went wrong in words.
 */
#include "base/file.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* ---- sentences ---- */

/* The system's own texts depend on the locale and are not safe with threads. */
const char *soma_file_reason(int64_t result, char text[48])
{
    static const struct {
        int code;
        const char *text;
    } known[] = {
        {ENOENT, "no such file or folder; is the path right?"},
        {EACCES, "permission denied; check the owner and mode of the file and its folder"},
        {EPERM, "the system does not permit it; is the file somebody else's, or protected against changes?"},
        {EISDIR, "it is a folder, not a file"},
        {ENOTDIR, "a part of the path is not a folder"},
        {ESPIPE, "it is not a regular file"},
        {ENXIO, "it is not a regular file"},
        {ENOSPC, "no space is left on the device; free some or choose another place"},
        {EDQUOT, "the disk quota is used up; free some space or choose another place"},
        {EFBIG, "the file would be larger than allowed; raise the limit (ulimit -f) or choose another file system"},
        {EROFS, "the file system is read-only; choose another place"},
        {EIO, "the device reported an input/output error"},
        {EMFILE, "the process has too many files open"},
        {ENFILE, "the system has too many files open"},
        {ENAMETOOLONG, "the path is too long"},
        {ELOOP, "there is a symbolic link where none may be, or too many of them"},
        {EXDEV, "the two names lie on different file systems"},
        {EEXIST, "a file of that name is there already"},
        {EBUSY, "the system is using it (something is mounted there?)"},
        {ETXTBSY, "the file is a program that is running"},
        {ENOMEM, "the system has no memory left"},
    };
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
        if (known[i].code == -result)
            return known[i].text;
    snprintf(text, 48, "system error %" PRId64, -result);
    return text;
}

const char *soma_file_shown(const char *path, char text[SOMA_SHOWN])
{
    size_t length = strlen(path), half = SOMA_SHOWN / 2 - 4;
    if (length < SOMA_SHOWN)
        return path;
    snprintf(text, SOMA_SHOWN, "%.*s...%s", (int)half, path, path + length - half);
    return text;
}

/* ---- reading ---- */

static soma_status read_failed(soma *s, const char *path, int64_t result)
{
    char text[48], shown[SOMA_SHOWN];
    return soma_fail(s, SOMA_IO, soma_nowhere(), "cannot read \"%s\": %s", soma_file_shown(path, shown),
                     soma_file_reason(result, text));
}

int soma_file_open(soma *s, const char *path, bool write)
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
    int handle = soma_file_open(s, path, false);
    if (handle < 0)
        return read_failed(s, path, handle);
    soma_status status = read_open(s, path, handle, limit, bytes, size);
    s->files.close(s->files.user, handle); /* nothing was written: its result has nothing to say */
    return status;
}

soma_status soma_file_reader_open(soma_file_reader *r, soma *s, const char *path)
{
    *r = (soma_file_reader){.s = s, .path = path, .handle = -1};
    if (!path)
        return soma_fail(s, SOMA_INVALID, soma_nowhere(), "a file is to be read, but its path is NULL");
    r->handle = soma_file_open(s, path, false);
    if (r->handle < 0)
        return read_failed(s, path, r->handle);
    int64_t n;
    do
        n = s->files.size(s->files.user, r->handle);
    while (n == -EINTR);
    if (n >= 0) {
        r->size = (uint64_t)n;
        return SOMA_OK;
    }
    soma_file_reader_close(r);
    return read_failed(s, path, n);
}

int64_t soma_file_reader_take(soma_file_reader *r, void *bytes, size_t size)
{
    if (size > r->size - r->done)
        size = (size_t)(r->size - r->done);
    if (read_all(r->s, r->path, r->handle, bytes, size) != SOMA_OK)
        return -1;
    r->done += size;
    return (int64_t)size;
}

void soma_file_reader_close(soma_file_reader *r)
{
    if (r->handle >= 0)
        r->s->files.close(r->s->files.user, r->handle); /* nothing was written: its result has nothing to say */
    r->handle = -1;
}
