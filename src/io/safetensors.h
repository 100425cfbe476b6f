/* SPDX-License-Identifier: Apache-2.0
 *
 * io/safetensors.h: the container: names, types and shapes in a JSON header, then the data. Knows no models.
 * Format: https://github.com/huggingface/safetensors (u64 length, JSON, data without holes).
 */
#ifndef SOMA_IO_SAFETENSORS_H
#define SOMA_IO_SAFETENSORS_H

#include "base/context.h"
#include <jansson.h>
#include <soma/tensor.h>

/* A tensor of a file. `known`: its type is one of ours (f32, f64, i32, u8). */
typedef struct soma_stored {
    const char *name, *dtype_name;
    soma_dtype dtype;
    bool known;
    soma_shape shape; /* dimensions may be 0 */
    uint64_t begin, end;
} soma_stored;

typedef struct soma_safetensors {
    soma *s;
    void *bytes;
    size_t size;
    json_t *header;
    json_t *metadata; /* strings by name; NULL: none */
    soma_stored *tensors; /* by offset */
    int n_tensors;
    const unsigned char *data;
} soma_safetensors;

/* Reads and checks everything; nothing is left open on failure. */
soma_status soma_safetensors_open(soma_safetensors *f, soma *s, const char *path);
void soma_safetensors_close(soma_safetensors *f);
const soma_stored *soma_safetensors_find(const soma_safetensors *f, const char *name);
const char *soma_safetensors_text(const soma_safetensors *f, const char *key); /* metadata, or NULL */

/* Writes the file atomically, with a hash of all of it in the metadata ("soma.hash") where xxhash was built in.
 * metadata: an object of strings, may be NULL. */
soma_status soma_safetensors_write(soma *s, const char *path, const soma_stored *tensors, const void *const *data, int n,
                                   json_t *metadata);

#endif
