/* SPDX-License-Identifier: Apache-2.0
 *
 * tests/faults.h: the seams as tests use them: an allocator and files that fail the k-th call.
 *
 * A test sweeps k = 1, 2, ... until a run is reached in which nothing failed:
 *
 *     for (uint64_t k = 1;; k++) {
 *         faults_memory memory = {.fail_at = k};
 *         soma *s = soma_open(&(soma_context_options){.struct_size = sizeof(soma_context_options),
 *                                                     .allocator = faults_allocator(&memory)});
 *         ...                                   what is tested; every result may be an error
 *         soma_close(s);
 *         assert_int_equal(memory.blocks, 0);   nothing leaked
 *         assert_int_equal(memory.mistakes, 0); every block was given back with its own size
 *         if (!memory.failed)
 *             break;
 *     }
 *
 * faults_files does the same for files. Zero-initialised, both only count.
 */
#ifndef SOMA_TESTS_FAULTS_H
#define SOMA_TESTS_FAULTS_H

#include <soma/base.h>

/* ---- memory ---- */

typedef struct faults_memory {
    uint64_t fail_at; /* the k-th allocation fails, counted from 1; 0: none */
    bool forever;     /* and every later one too */
    /* results */
    uint64_t calls;    /* allocations asked for (frees do not count) */
    uint64_t failed;   /* of these, failed on purpose */
    uint64_t blocks;   /* alive */
    uint64_t bytes;    /* alive */
    uint64_t peak;     /* most bytes alive */
    uint64_t mistakes; /* blocks given back with another size than they were asked for */
} faults_memory;

/* Fresh blocks hold 0xa5, so that whoever counts on zeros without asking is found out. f must outlive the context. The
 * context calls its allocator under a lock, so counting needs none. */
soma_allocator faults_allocator(faults_memory *f);

/* ---- files ---- */

typedef enum faults_kind {
    FAULTS_ERROR, /* the call does nothing and returns -error (close: closes, then returns it) */
    FAULTS_SHORT, /* read and write move one byte and say so, which is allowed; other calls work */
    FAULTS_TORN   /* write moves half of its bytes, then says -error; other calls: as FAULTS_ERROR */
} faults_kind;

typedef struct faults_io {
    uint64_t fail_at; /* the k-th call fails, counted from 1 over all functions; 0: none */
    bool forever;     /* and every later one too, as after a power cut (but closing still closes) */
    faults_kind kind;
    int error; /* errno value; 0: EIO */
    /* results */
    uint64_t calls;
    uint64_t failed;  /* calls that failed (or were cut short) on purpose */
    int64_t open;     /* handles open now */
    const char *what; /* the function of the last one that failed: "open", "lock", ... */
} faults_io;

/* The system's files behind the faults. f must outlive the context. One thread at a time. */
soma_files faults_files(faults_io *f);

/* ---- places and whole files, for tests ---- */

/* Makes a folder of its own below TMPDIR or /tmp; false when that is impossible. */
bool faults_folder(char path[256]);
/* Removes the folder and the plain files in it. */
void faults_folder_remove(const char *path);
/* Files in the folder; with `part`, those whose name holds it. */
int faults_folder_count(const char *path, const char *part);
/* Removes the plain files in it whose name holds `part`. */
void faults_folder_clear(const char *path, const char *part);
/* The whole file with a 0 byte behind it, from malloc; NULL when it cannot be read. Not through the seam. */
char *faults_read(const char *path, size_t *size);
bool faults_write(const char *path, const void *bytes, size_t size);

#endif
