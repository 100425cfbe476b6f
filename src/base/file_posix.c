/* SPDX-License-Identifier: Apache-2.0
 *
 * base/file_posix.c: the system's files and clock, the defaults of their seams. Knows no context.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include "base/file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static int posix_open(void *user, const char *path, bool write)
{
    (void)user;
    /* Reading: a FIFO must not block. Writing: a new file of a name of ours, never through somebody else's link. */
    int flags = write ? O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW : O_RDONLY | O_NONBLOCK;
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

/* The folder that holds path. */
static int folder_of(const char *path, char folder[PATH_MAX])
{
    const char *slash = strrchr(path, '/');
    size_t length = !slash ? 1 : slash == path ? 1 : (size_t)(slash - path);
    if (length >= PATH_MAX)
        return -ENAMETOOLONG;
    memcpy(folder, slash ? path : ".", length);
    folder[length] = 0;
    return 0;
}

static int posix_sync_folder(void *user, const char *path)
{
    (void)user;
    char folder[PATH_MAX];
    if (folder_of(path, folder))
        return -ENAMETOOLONG;
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

static int64_t posix_read_link(void *user, const char *path, char *to, size_t room)
{
    (void)user;
    ssize_t n = readlink(path, to, room);
    return n < 0 ? -errno : (int64_t)n;
}

static bool same_file(const struct stat *a, const struct stat *b)
{
    return a->st_dev == b->st_dev && a->st_ino == b->st_ino;
}

/* The name is looked at again under the lock: whoever held it before may have removed or renamed the file meanwhile. */
static int posix_lock(void *user, const char *path)
{
    (void)user;
    struct stat st, named;
    int flags = O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, handle = open(path, O_RDWR | flags); /* NFS locks no other */
    if (handle < 0 && errno == EACCES)
        handle = open(path, O_RDONLY | flags);
    if (handle < 0)
        return -errno;
    int error = fstat(handle, &st) ? errno : S_ISREG(st.st_mode) ? 0 : ESPIPE;
    if (!error && flock(handle, LOCK_EX | LOCK_NB))
        error = errno;
    if (!error && lstat(path, &named))
        error = errno;
    if (!error && !same_file(&st, &named))
        error = ENOENT;
    if (!error)
        return handle;
    close(handle);
    return -error;
}

/* In a folder such as /tmp only the owner of a file, or of the folder, may replace it. */
static bool is_protected(const char *path, const struct stat *old)
{
    char folder[PATH_MAX];
    struct stat st;
    uid_t me = geteuid();
    return me && me != old->st_uid && !folder_of(path, folder) && !stat(folder, &st) && (st.st_mode & S_ISVTX) &&
           st.st_uid != me;
}

/* Where the group cannot be kept, what it was permitted is not given to another one. */
static int take_after(int handle, const struct stat *old)
{
    struct stat now;
    if (fstat(handle, &now))
        return -errno;
    mode_t mode = old->st_mode & 0777;
    bool group = now.st_gid == old->st_gid || !fchown(handle, (uid_t)-1, old->st_gid);
    if (now.st_uid != old->st_uid && fchown(handle, old->st_uid, (gid_t)-1)) {
        /* a file of the caller's own is what is left */
    }
    if (!group)
        mode = (mode & ~(mode_t)070) | (mode & 07) << 3;
    if ((now.st_mode & 0777) == mode || !fchmod(handle, mode))
        return 0;
    return now.st_mode & 0777 & ~mode ? -errno : 0; /* some file systems know no modes: never more than before */
}

static int posix_inherit(void *user, const char *path, int handle)
{
    (void)user;
    struct stat st;
    if (stat(path, &st))
        return errno == ENOENT ? 0 : -errno;
    if (!S_ISREG(st.st_mode))
        return S_ISDIR(st.st_mode) ? -EISDIR : -ESPIPE;
    return handle >= 0 ? take_after(handle, &st) : is_protected(path, &st) ? -EPERM : 0;
}

/* The limit is asked for, because going beyond it may end the process (SIGXFSZ). */
static int posix_reserve(void *user, int handle, uint64_t size)
{
    (void)user;
    struct rlimit limit;
    if (size > INT64_MAX ||
        (!getrlimit(RLIMIT_FSIZE, &limit) && limit.rlim_cur != RLIM_INFINITY && size > limit.rlim_cur))
        return -EFBIG;
#ifdef __linux__
    if (size && fallocate(handle, 0, 0, (off_t)size)) /* EINVAL and others: the file system cannot tell */
        return errno == ENOSPC || errno == EDQUOT || errno == EFBIG || errno == EINTR ? -errno : 0;
#else
    (void)handle;
#endif
    return 0;
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
                                     .list = posix_list,
                                     .read_link = posix_read_link,
                                     .lock = posix_lock,
                                     .inherit = posix_inherit,
                                     .reserve = posix_reserve};

static double posix_now(void *user)
{
    struct timespec t;
    (void)user;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

const soma_clock soma_clock_posix = {.now = posix_now, .user = NULL};
