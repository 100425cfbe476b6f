/* SPDX-License-Identifier: Apache-2.0
 *
 * codec/idx.c: the IDX format (description: "The MNIST database", section "file formats"). Every size is checked
 * against the bytes that are there, where their number is known, before anybody may allocate for it.
 */
#include "codec/idx.h"

#include "base/limits.h"
#include "base/size.h"

#include <inttypes.h>
#include <string.h>

static const struct {
    soma_idx_type type;
    size_t size;
    const char *name;
} types[] = {
    {SOMA_IDX_U8, 1, "u8"},   {SOMA_IDX_I8, 1, "i8"},   {SOMA_IDX_I16, 2, "i16"},
    {SOMA_IDX_I32, 4, "i32"}, {SOMA_IDX_F32, 4, "f32"}, {SOMA_IDX_F64, 8, "f64"},
};
#define N_TYPES ((int)(sizeof types / sizeof *types))

static int find_type(int code)
{
    for (int i = 0; i < N_TYPES; i++)
        if ((int)types[i].type == code)
            return i;
    return -1;
}

const char *soma_idx_type_name(soma_idx_type type)
{
    int i = find_type((int)type);
    return i < 0 ? "?" : types[i].name;
}

static uint32_t big_u32(const uint8_t *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static soma_status parse_magic(soma *s, const char *name, const uint8_t *bytes, size_t size, soma_idx *idx)
{
    if (size < 4)
        return soma_fail(
            s, SOMA_FORMAT, soma_nowhere(),
            "%s: byte %zu: the content ends inside the first 4 bytes of an IDX header; is the file cut short?", name,
            size);
    if (bytes[0] || bytes[1])
        return soma_fail(
            s, SOMA_FORMAT, soma_nowhere(),
            "%s: byte 0: an IDX file begins with two zero bytes, this one with %02x %02x; is it an IDX file?", name,
            bytes[0], bytes[1]);
    int type = find_type(bytes[2]);
    if (type < 0)
        return soma_fail(
            s, SOMA_FORMAT, soma_nowhere(),
            "%s: byte 2: IDX element type 0x%02x is unknown; known are 08 u8, 09 i8, 0b i16, 0c i32, 0d f32, 0e f64",
            name, bytes[2]);
    if (bytes[3] < 1 || bytes[3] > SOMA_IDX_RANK_MAX)
        return soma_fail(s, SOMA_FORMAT, soma_nowhere(), "%s: byte 3: IDX rank %d is not between 1 and %d", name,
                         bytes[3], SOMA_IDX_RANK_MAX);
    idx->type = types[type].type;
    idx->element = types[type].size;
    idx->rank = bytes[3];
    return SOMA_OK;
}

static soma_status parse_sizes(soma *s, const char *name, const uint8_t *bytes, size_t size, soma_idx *idx)
{
    size_t header = 4 + 4 * (size_t)idx->rank;
    if (size < header)
        return soma_fail(s, SOMA_FORMAT, soma_nowhere(),
                         "%s: byte %zu: the content ends inside the IDX header, which has %zu bytes for rank %d; is "
                         "the file cut short?",
                         name, size, header, idx->rank);
    idx->elements = 1;
    for (int i = 0; i < idx->rank; i++) {
        size_t offset = 4 + 4 * (size_t)i;
        idx->dim[i] = (int64_t)big_u32(bytes + offset);
        if (!idx->dim[i])
            return soma_fail(s, SOMA_FORMAT, soma_nowhere(),
                             "%s: byte %zu: IDX dimension %d is 0; it must be at least 1", name, offset, i);
        if (!soma_i64_mul(idx->elements, idx->dim[i], &idx->elements) || idx->elements > SOMA_LIMIT_ELEMENTS)
            return soma_fail(s, SOMA_FORMAT, soma_nowhere(),
                             "%s: byte %zu: the IDX dimensions up to here give more than %" PRId64
                             " elements, the limit",
                             name, offset, SOMA_LIMIT_ELEMENTS);
    }
    idx->data = bytes + header;
    return SOMA_OK;
}

soma_status soma_idx_parse(soma *s, const char *name, const void *bytes, size_t size, uint64_t total, soma_idx *idx)
{
    memset(idx, 0, sizeof *idx);
    soma_status status = parse_magic(s, name, bytes, size, idx);
    if (!status)
        status = parse_sizes(s, name, bytes, size, idx);
    return status || total == SOMA_IDX_UNKNOWN ? status : soma_idx_end(s, name, idx, total);
}

soma_status soma_idx_end(soma *s, const char *name, const soma_idx *idx, uint64_t total)
{
    /* elements <= 2^48 and element <= 8: no overflow; total has the header, which was parsed */
    uint64_t need = (uint64_t)idx->elements * idx->element, have = total - soma_idx_header(idx);
    if (have < need)
        return soma_fail(s, SOMA_FORMAT, soma_nowhere(),
                         "%s: byte %" PRIu64 ": the content ends here, %" PRIu64
                         " bytes of elements before the end that the IDX header "
                         "declares; is the file cut short?",
                         name, total, need - have);
    if (have > need)
        return soma_fail(s, SOMA_FORMAT, soma_nowhere(),
                         "%s: byte %" PRIu64 ": %" PRIu64
                         " bytes follow the last element that the IDX header declares; the header "
                         "and the content do not belong together",
                         name, total - (have - need), have - need);
    return SOMA_OK;
}

double soma_idx_get(const soma_idx *idx, int64_t i)
{
    const uint8_t *p = idx->data + (size_t)i * idx->element;
    union {
        uint32_t bits;
        int32_t integer;
        float number;
    } word;
    union {
        uint64_t bits;
        double number;
    } wide;
    switch (idx->type) {
    case SOMA_IDX_U8:
        return p[0];
    case SOMA_IDX_I8:
        return (int8_t)p[0];
    case SOMA_IDX_I16:
        return (int16_t)(uint16_t)(p[0] << 8 | p[1]);
    case SOMA_IDX_I32:
        word.bits = big_u32(p);
        return word.integer;
    case SOMA_IDX_F32:
        word.bits = big_u32(p);
        return (double)word.number;
    case SOMA_IDX_F64:
        wide.bits = (uint64_t)big_u32(p) << 32 | big_u32(p + 4);
        return wide.number;
    }
    return 0;
}
