/* SPDX-License-Identifier: Apache-2.0
 *
 * tests/faults.c: seams that fail on purpose. Knows nothing of what is tested.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include "faults.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"

static bool now_fails(uint64_t *calls, uint64_t fail_at, bool forever, uint64_t *failed)
{
    uint64_t call = ++*calls;
    bool fails = fail_at && (call == fail_at || (forever && call > fail_at));
    *failed += fails;
    return fails;
}

/* ---- memory ---- */

/* Before each block, as large as the strictest alignment allows to keep it aligned. */
typedef union head {
    size_t size;
    max_align_t align;
} head;

static void give_back(faults_memory *f, void *block, size_t old_size)
{
    head *h = (head *)block - 1;
    if (h->size != old_size)
        f->mistakes++;
    f->blocks--;
    f->bytes -= h->size;
    memset(h, 0x5a, sizeof *h + h->size); /* whoever still reads it reads rubbish */
    free(h);
}

static void *faulty_resize(void *user, void *block, size_t old_size, size_t new_size)
{
    faults_memory *f = user;
    if (!new_size) {
        if (block)
            give_back(f, block, old_size);
        return NULL;
    }
    if (now_fails(&f->calls, f->fail_at, f->forever, &f->failed))
        return NULL;
    head *h = new_size < SIZE_MAX / 2 ? malloc(sizeof *h + new_size) : NULL;
    if (!h)
        return NULL;
    h->size = new_size;
    memset(h + 1, 0xa5, new_size);
    f->blocks++;
    f->bytes += new_size;
    f->peak = f->bytes > f->peak ? f->bytes : f->peak;
    if (block) {
        memcpy(h + 1, block, old_size < new_size ? old_size : new_size);
        give_back(f, block, old_size);
    }
    return h + 1;
}

soma_allocator faults_allocator(faults_memory *f)
{
    return (soma_allocator){.resize = faulty_resize, .user = f};
}

/* ---- files ---- */

static bool io_fails(faults_io *f, const char *what)
{
    bool fails = now_fails(&f->calls, f->fail_at, f->forever, &f->failed);
    f->what = fails ? what : f->what;
    return fails;
}

/* For calls that cannot be short: whether this one fails. */
static bool call_fails(faults_io *f, const char *what)
{
    return io_fails(f, what) && f->kind != FAULTS_SHORT;
}

static int io_error(const faults_io *f)
{
    return f->error ? -f->error : -EIO;
}

static int faulty_open(void *user, const char *path, bool write)
{
    faults_io *f = user;
    if (call_fails(f, "open"))
        return io_error(f);
    int handle = soma_files_posix.open(NULL, path, write);
    f->open += handle >= 0;
    return handle;
}

static int64_t faulty_size(void *user, int handle)
{
    faults_io *f = user;
    return call_fails(f, "size") ? io_error(f) : soma_files_posix.size(NULL, handle);
}

static int64_t faulty_read(void *user, int handle, void *bytes, size_t size)
{
    faults_io *f = user;
    if (io_fails(f, "read")) {
        if (f->kind != FAULTS_SHORT)
            return io_error(f);
        size = size > 1 ? 1 : size;
    }
    return soma_files_posix.read(NULL, handle, bytes, size);
}

static int64_t faulty_write(void *user, int handle, const void *bytes, size_t size)
{
    faults_io *f = user;
    if (io_fails(f, "write")) {
        if (f->kind == FAULTS_TORN)
            (void)soma_files_posix.write(NULL, handle, bytes, size / 2);
        if (f->kind != FAULTS_SHORT)
            return io_error(f);
        size = size > 1 ? 1 : size;
    }
    return soma_files_posix.write(NULL, handle, bytes, size);
}

static int faulty_sync(void *user, int handle)
{
    faults_io *f = user;
    return call_fails(f, "sync") ? io_error(f) : soma_files_posix.sync(NULL, handle);
}

static int faulty_close(void *user, int handle)
{
    faults_io *f = user;
    bool fails = call_fails(f, "close");
    int result = soma_files_posix.close(NULL, handle);
    f->open--;
    return fails ? io_error(f) : result;
}

static int faulty_rename(void *user, const char *from, const char *to)
{
    faults_io *f = user;
    return call_fails(f, "rename") ? io_error(f) : soma_files_posix.rename(NULL, from, to);
}

static int faulty_remove(void *user, const char *path)
{
    faults_io *f = user;
    return call_fails(f, "remove") ? io_error(f) : soma_files_posix.remove(NULL, path);
}

static int faulty_sync_folder(void *user, const char *path)
{
    faults_io *f = user;
    return call_fails(f, "sync_folder") ? io_error(f) : soma_files_posix.sync_folder(NULL, path);
}

static int faulty_list(void *user, const char *path, void (*each)(void *to, const char *name), void *to)
{
    faults_io *f = user;
    return call_fails(f, "list") ? io_error(f) : soma_files_posix.list(NULL, path, each, to);
}

static int64_t faulty_read_link(void *user, const char *path, char *to, size_t room)
{
    faults_io *f = user;
    return call_fails(f, "read_link") ? io_error(f) : soma_files_posix.read_link(NULL, path, to, room);
}

static int faulty_lock(void *user, const char *path)
{
    faults_io *f = user;
    if (call_fails(f, "lock"))
        return io_error(f);
    int handle = soma_files_posix.lock(NULL, path);
    f->open += handle >= 0;
    return handle;
}

static int faulty_inherit(void *user, const char *path, int handle)
{
    faults_io *f = user;
    return call_fails(f, "inherit") ? io_error(f) : soma_files_posix.inherit(NULL, path, handle);
}

static int faulty_reserve(void *user, int handle, uint64_t size)
{
    faults_io *f = user;
    return call_fails(f, "reserve") ? io_error(f) : soma_files_posix.reserve(NULL, handle, size);
}

soma_files faults_files(faults_io *f)
{
    return (soma_files){.user = f,
                        .open = faulty_open,
                        .size = faulty_size,
                        .read = faulty_read,
                        .write = faulty_write,
                        .sync = faulty_sync,
                        .close = faulty_close,
                        .rename = faulty_rename,
                        .remove = faulty_remove,
                        .sync_folder = faulty_sync_folder,
                        .list = faulty_list,
                        .read_link = faulty_read_link,
                        .lock = faulty_lock,
                        .inherit = faulty_inherit,
                        .reserve = faulty_reserve};
}

/* ---- places and whole files ---- */

bool faults_folder(char path[256])
{
    const char *base = getenv("TMPDIR");
    int n = snprintf(path, 256, "%s/soma-test-XXXXXX", base && *base ? base : "/tmp");
    return n > 0 && n < 256 && mkdtemp(path);
}

/* Calls each(path of the file) for the files whose name holds `part`; returns how many there were. */
static int each_file(const char *folder, const char *part, int (*each)(const char *path))
{
    DIR *d = opendir(folder);
    int n = 0;
    if (!d)
        return 0;
    for (struct dirent *e = readdir(d); e; e = readdir(d)) {
        char path[1024];
        if (!strcmp(e->d_name, ".") || !strcmp(e->d_name, "..") || (part && !strstr(e->d_name, part)))
            continue;
        n++;
        snprintf(path, sizeof path, "%s/%s", folder, e->d_name);
        if (each)
            each(path);
    }
    closedir(d);
    return n;
}

int faults_folder_count(const char *path, const char *part)
{
    return each_file(path, part, NULL);
}

void faults_folder_clear(const char *path, const char *part)
{
    each_file(path, part, unlink);
}

void faults_folder_remove(const char *path)
{
    each_file(path, NULL, unlink);
    rmdir(path);
}

char *faults_read(const char *path, size_t *size)
{
    FILE *file = fopen(path, "rb");
    if (!file)
        return NULL;
    char *bytes = NULL;
    long n = fseek(file, 0, SEEK_END) ? -1 : ftell(file);
    if (n >= 0 && !fseek(file, 0, SEEK_SET))
        bytes = malloc((size_t)n + 1);
    if (bytes) {
        size_t got = fread(bytes, 1, (size_t)n, file);
        bytes[got] = 0;
        *size = got;
    }
    fclose(file);
    return bytes;
}

bool faults_write(const char *path, const void *bytes, size_t size)
{
    FILE *file = fopen(path, "wb");
    if (!file)
        return false;
    bool written = fwrite(bytes, 1, size, file) == size;
    return fclose(file) == 0 && written;
}
