/* SPDX-License-Identifier: Apache-2.0
 *
 * io/safetensors.h: the container: names, types and shapes in a JSON header, then the data. Knows no models.
 * Format: https://github.com/huggingface/safetensors (u64 length, JSON, data without holes).
 */
#ifndef SOMA_IO_SAFETENSORS_H
#define SOMA_IO_SAFETENSORS_H

#include "base/arena.h"
#include <soma/tensor.h>

/* A tensor of a file. `known`: its type is one of ours (f32, f64, i32, u8). */
typedef struct soma_file_tensor {
    const char *name, *dtype_name;
    soma_dtype dtype;
    bool known;
    soma_shape shape;    /* dimensions may be 0 */
    uint64_t begin, end; /* of the data */
    size_t at;           /* where the file says so: the byte at which its name begins */
} soma_file_tensor;

/* An entry of the metadata. */
typedef struct soma_stored_text {
    const char *key, *value;
    size_t at;
} soma_stored_text;

typedef struct soma_safetensors {
    soma *s;
    const char *path;
    void *bytes;
    size_t size;
    soma_arena arena;          /* of names and texts */
    soma_file_tensor *tensors; /* by name */
    soma_stored_text *texts;   /* by key */
    int n_tensors, tensor_capacity, n_texts, text_capacity;
    const unsigned char *data;
    uint64_t data_size;
} soma_safetensors;

/* Reads and checks everything; nothing is left open on failure. The path is borrowed while the file is open. */
soma_status soma_safetensors_open(soma_safetensors *f, soma *s, const char *path);
void soma_safetensors_close(soma_safetensors *f);
const soma_file_tensor *soma_safetensors_find(const soma_safetensors *f, const char *name);
const char *soma_safetensors_text(const soma_safetensors *f, const char *key); /* metadata, or NULL */
/* Does the file carry a hash of itself? (It has been found right then.) */
bool soma_safetensors_hashed(const soma_safetensors *f);

/* "path: at byte 17: sentence". */
soma_status soma_safetensors_damaged(const soma_safetensors *f, size_t at, const char *format, ...) SOMA_PRINTF(3, 4);
/* Reads the header of `length` bytes that begins at byte 8 into f->tensors and f->texts (safetensors_header.c). */
soma_status soma_safetensors_header(soma_safetensors *f, size_t length);

/* ---- writing ---- */

/* The metadata's first entry, so that the hash's digits stand at a known place. */
#define SOMA_HASH_KEY "soma.hash"
#define SOMA_HASH_PREFIX "{\"__metadata__\":{\"" SOMA_HASH_KEY "\":\""
#define SOMA_HASH_AT (8 + sizeof SOMA_HASH_PREFIX - 1)
#define SOMA_HASH_DIGITS 16

typedef struct soma_to_store {
    const char *name;
    soma_tensor tensor; /* constant dimensions */
} soma_to_store;

/* Writes the file atomically, with a hash of all of it in the metadata (SOMA_HASH_KEY) where xxhash was built in.
 * texts: further metadata. The tensors are sorted in place. */
soma_status soma_safetensors_write(soma *s, const char *path, soma_to_store *tensors, int n,
                                   const soma_stored_text *texts, int n_texts);
/* The format's name of one of our types: "F32". */
const char *soma_safetensors_dtype(soma_dtype dtype);

#endif
