/* SPDX-License-Identifier: Apache-2.0
 *
 * codec/idx.h: the IDX format of the MNIST family, read from memory. Knows nothing of files, pictures or labels.
 *
 *     00 00 type rank | rank sizes, u32 | elements; all big-endian
 */
#ifndef SOMA_CODEC_IDX_H
#define SOMA_CODEC_IDX_H

#include "base/context.h"

#define SOMA_IDX_RANK_MAX 8

typedef enum soma_idx_type {
    SOMA_IDX_U8 = 0x08,
    SOMA_IDX_I8 = 0x09,
    SOMA_IDX_I16 = 0x0B,
    SOMA_IDX_I32 = 0x0C,
    SOMA_IDX_F32 = 0x0D,
    SOMA_IDX_F64 = 0x0E
} soma_idx_type;

typedef struct soma_idx {
    soma_idx_type type;
    size_t element; /* bytes of one */
    int rank;
    int64_t dim[SOMA_IDX_RANK_MAX];
    int64_t elements;
    const uint8_t *data; /* inside the bytes that were parsed; big-endian, not aligned */
} soma_idx;

#define SOMA_IDX_HEADER_MAX (4 + 4 * SOMA_IDX_RANK_MAX)
/* Reads the header from the first `size` bytes (SOMA_IDX_HEADER_MAX of them will do) and checks it against the `total`
 * bytes that there are; SOMA_IDX_UNKNOWN: nobody knows before the end. Allocates nothing. name: of the file, for the
 * error.
 * */
#define SOMA_IDX_UNKNOWN UINT64_MAX
soma_status soma_idx_parse(soma *s, const char *name, const void *bytes, size_t size, uint64_t total, soma_idx *idx);
/* Bytes of the header. */
static inline size_t soma_idx_header(const soma_idx *idx)
{
    return 4 + 4 * (size_t)idx->rank;
}
/* Refuses content of so many bytes that does not end with the last element. */
soma_status soma_idx_end(soma *s, const char *name, const soma_idx *idx, uint64_t total);
/* Element i, exactly. */
double soma_idx_get(const soma_idx *idx, int64_t i);
/* The type as NumPy and soma write it: "u8", "i16", "f64". */
const char *soma_idx_type_name(soma_idx_type type);

#endif
