/* SPDX-License-Identifier: Apache-2.0
 *
 * base/file.h: whole files through the file seam. Interrupted and short calls are continued.
 */
#ifndef SOMA_BASE_FILE_H
#define SOMA_BASE_FILE_H

#include "base/context.h"

/* Reads a whole regular file into memory of the context (soma_release it). limit: bytes accepted at most. */
soma_status soma_file_read(soma *s, const char *path, uint64_t limit, void **bytes, size_t *size);

/* Replaces a file atomically: path.tmp-<hash> is written, synced, renamed over path, the folder synced. On any failure
 * the temporary file is removed and the old file is untouched. */
typedef struct soma_file_writer {
    soma *s;
    const char *path;
    char *temporary;
    int handle;
    soma_status status;
} soma_file_writer;
soma_status soma_file_begin(soma_file_writer *w, soma *s, const char *path);
soma_status soma_file_write(soma_file_writer *w, const void *bytes, size_t size);
soma_status soma_file_commit(soma_file_writer *w); /* or abandons, when a write failed */
void soma_file_abandon(soma_file_writer *w);

extern const soma_files soma_files_posix;
extern const soma_clock soma_clock_posix;

#endif
