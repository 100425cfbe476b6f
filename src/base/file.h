/* SPDX-License-Identifier: Apache-2.0
 *
 * base/file.h: whole files through the file seam. Interrupted and short calls are continued.
 */
#ifndef SOMA_BASE_FILE_H
#define SOMA_BASE_FILE_H

#include "base/context.h"

/* Reads a whole regular file into memory of the context (soma_release it). limit: bytes accepted at most. */
soma_status soma_file_read(soma *s, const char *path, uint64_t limit, void **bytes, size_t *size);

/* A regular file read piece by piece. */
typedef struct soma_file_reader {
    soma *s;
    const char *path;
    int handle;
    uint64_t size, done; /* bytes of the file, and those read */
} soma_file_reader;
soma_status soma_file_reader_open(soma_file_reader *r, soma *s, const char *path);
/* The next `size` bytes, fewer at the end only; -1: the context's error is set. */
int64_t soma_file_reader_take(soma_file_reader *r, void *bytes, size_t size);
void soma_file_reader_close(soma_file_reader *r);

/* Opens again where a signal came between. A handle, or -errno. */
int soma_file_open(soma *s, const char *path, bool write);
/* What -errno means, in words; text is room for those that nobody knows. */
const char *soma_file_reason(int64_t result, char text[48]);
/* A path as sentences show it: all of it, or where it is long its beginning and its end, so that there is room for the
 * reason. */
#define SOMA_SHOWN 320
const char *soma_file_shown(const char *path, char text[SOMA_SHOWN]);

#define SOMA_TRANSFER_MAX ((size_t)1 << 30) /* bytes of one call: systems stop near 2 GiB */

/* Replaces a file atomically: PATH.tmp-<16 digits> is written, synced, renamed over path, the folder synced. On any
 * failure the temporary file is removed and the old file is untouched. A symbolic link stays one: what it points to is
 * replaced, with the temporary file beside that. The new file has the old one's mode. The temporary file is locked
 * while its writer lives; those of this path that nobody holds any more are removed first. */
typedef struct soma_file_writer {
    soma *s;
    const char *path;
    char *target;    /* what path points to */
    char *temporary; /* beside it */
    uint64_t size;
    int handle, lock;
    soma_status status;
} soma_file_writer;
/* size: bytes that will be written, for sentences and to know early that they do not fit; 0: not known. */
soma_status soma_file_begin(soma_file_writer *w, soma *s, const char *path, uint64_t size);
soma_status soma_file_write(soma_file_writer *w, const void *bytes, size_t size);
soma_status soma_file_commit(soma_file_writer *w); /* or abandons, when a write failed */
void soma_file_abandon(soma_file_writer *w);

extern const soma_files soma_files_posix;
extern const soma_clock soma_clock_posix;

#endif
