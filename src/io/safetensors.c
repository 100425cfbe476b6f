/* SPDX-License-Identifier: Apache-2.0
 *
 * io/safetensors.c: reading treats the file as hostile: every number is checked before it is used, nothing is allocated for
 * what the file does not hold.
 */
#include "io/safetensors.h"
#include "base/file.h"
#include "base/limits.h"
#include "base/size.h"
#include "io/hash.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct stored_type {
    const char *name;
    int bits;
    bool known;
    soma_dtype dtype;
} stored_type;

static const stored_type types[] = {
    {"F32", 32, true, SOMA_F32}, {"F64", 64, true, SOMA_F64}, {"I32", 32, true, SOMA_I32}, {"U8", 8, true, SOMA_U8},
    {"BOOL", 8, false, 0},       {"I8", 8, false, 0},         {"I16", 16, false, 0},       {"U16", 16, false, 0},
    {"F16", 16, false, 0},       {"BF16", 16, false, 0},      {"U32", 32, false, 0},       {"I64", 64, false, 0},
    {"U64", 64, false, 0},       {"C64", 64, false, 0},       {"F8_E5M2", 8, false, 0},    {"F8_E4M3", 8, false, 0},
    {"F8_E8M0", 8, false, 0},    {"F8_E4M3FNUZ", 8, false, 0},{"F8_E5M2FNUZ", 8, false, 0},{"F4", 4, false, 0},
    {"F6_E2M3", 6, false, 0},    {"F6_E3M2", 6, false, 0},
};

static const char *type_name(soma_dtype dtype)
{
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        if (types[i].known && types[i].dtype == dtype)
            return types[i].name;
    return "F32";
}

/* The metadata's first entry, so that the hash's sixteen digits stand at a known place. */
static const char hash_prefix[] = "{\"__metadata__\":{\"soma.hash\":\"";
#define HASH_AT (8 + sizeof hash_prefix - 1)
#define HASH_DIGITS 16

/* ---- reading ---- */

static soma_status damaged(const soma_safetensors *f, const char *path, size_t offset, const char *sentence)
{
    return soma_fail(f->s, SOMA_FORMAT, soma_nowhere(), "%s: at byte %zu: %s", path, offset, sentence);
}

static soma_status read_shape(json_t *array, int bits, soma_stored *t, uint64_t *bytes)
{
    size_t n = json_array_size(array);
    uint64_t total = (uint64_t)bits;
    if (!json_is_array(array) || n > SOMA_MAX_RANK)
        return SOMA_FORMAT;
    t->shape.rank = (int)n;
    for (size_t i = 0; i < n; i++) {
        json_t *d = json_array_get(array, i);
        json_int_t dim = json_integer_value(d);
        if (!json_is_integer(d) || dim < 0 || dim > SOMA_LIMIT_DIM || __builtin_mul_overflow(total, (uint64_t)dim, &total))
            return SOMA_FORMAT;
        t->shape.dim[i] = dim;
    }
    *bytes = total / 8;
    return total % 8 ? SOMA_FORMAT : SOMA_OK;
}

/* One entry of the header; *why says what is wrong. */
static bool read_entry(const char *name, json_t *entry, uint64_t data_size, soma_stored *t, const char **why)
{
    json_t *dtype = json_object_get(entry, "dtype"), *shape = json_object_get(entry, "shape");
    json_t *offsets = json_object_get(entry, "data_offsets");
    json_t *begin = json_array_get(offsets, 0), *end = json_array_get(offsets, 1);
    uint64_t bytes = 0;
    *why = "is not an object of dtype, shape and data_offsets";
    if (!json_is_object(entry) || json_object_size(entry) != 3 || !json_is_string(dtype) || json_array_size(offsets) != 2 ||
        !json_is_integer(begin) || !json_is_integer(end))
        return false;
    const stored_type *type = NULL;
    for (size_t i = 0; i < sizeof types / sizeof *types && !type; i++)
        if (!strcmp(types[i].name, json_string_value(dtype)))
            type = &types[i];
    *why = "has a type that does not exist";
    if (!type)
        return false;
    t->name = name;
    t->dtype_name = type->name;
    t->dtype = type->dtype;
    t->known = type->known;
    *why = "has a shape whose dimensions are too many, negative or too large";
    if (read_shape(shape, type->bits, t, &bytes) != SOMA_OK)
        return false;
    *why = "has offsets that do not fit its shape or the file";
    json_int_t b = json_integer_value(begin), e = json_integer_value(end);
    t->begin = (uint64_t)b;
    t->end = (uint64_t)e;
    return b >= 0 && e >= b && t->end <= data_size && t->end - t->begin == bytes;
}

static int by_offset(const void *a, const void *b)
{
    const soma_stored *x = a, *y = b;
    if (x->begin != y->begin)
        return x->begin < y->begin ? -1 : 1;
    return x->end < y->end ? -1 : x->end > y->end;
}

static soma_status read_tensors(soma_safetensors *f, const char *path, uint64_t data_size)
{
    char sentence[512];
    size_t n = json_object_size(f->header);
    if (n > SOMA_LIMIT_TENSORS + 1)
        return damaged(f, path, 8, "the header lists more than 65,536 tensors");
    f->tensors = soma_alloc_array(f->s, n + 1, sizeof *f->tensors);
    if (!f->tensors)
        return SOMA_MEMORY;
    const char *name, *why;
    json_t *entry;
    json_object_foreach (f->header, name, entry) {
        if (!strcmp(name, "__metadata__")) {
            f->metadata = entry;
            continue;
        }
        bool long_name = strlen(name) > SOMA_LIMIT_NAME;
        if (long_name || !read_entry(name, entry, data_size, &f->tensors[f->n_tensors], &why)) {
            snprintf(sentence, sizeof sentence, "tensor \"%.200s\" %s", name, long_name ? "has too long a name" : why);
            return damaged(f, path, 8, sentence);
        }
        f->n_tensors++;
    }
    qsort(f->tensors, (size_t)f->n_tensors, sizeof *f->tensors, by_offset);
    uint64_t end = 0;
    for (int i = 0; i < f->n_tensors; i++) {
        if (f->tensors[i].begin != end) {
            snprintf(sentence, sizeof sentence, "tensor \"%.200s\" leaves a hole before it or overlaps another",
                     f->tensors[i].name);
            return damaged(f, path, 8, sentence);
        }
        end = f->tensors[i].end;
    }
    if (end != data_size)
        return damaged(f, path, f->size, "the file is longer or shorter than its tensors");
    return SOMA_OK;
}

static soma_status check_metadata(soma_safetensors *f, const char *path)
{
    const char *key;
    json_t *value;
    if (f->metadata && !json_is_object(f->metadata))
        return damaged(f, path, 8, "__metadata__ is not an object");
    json_object_foreach (f->metadata, key, value)
        if (!json_is_string(value))
            return damaged(f, path, 8, "__metadata__ holds something that is not text");
    return SOMA_OK;
}

/* A file that says it carries a hash is compared with it; every byte counts but the digits themselves. */
static soma_status check_hash(soma_safetensors *f, const char *path)
{
    const char *stored = soma_safetensors_text(f, "soma.hash");
    if (!stored || !soma_hash_available())
        return SOMA_OK;
    unsigned char *bytes = f->bytes;
    char digits[HASH_DIGITS + 1];
    bool right = f->size > HASH_AT + HASH_DIGITS && !memcmp(bytes + 8, hash_prefix, sizeof hash_prefix - 1) &&
                 strlen(stored) == HASH_DIGITS && !memcmp(bytes + HASH_AT, stored, HASH_DIGITS);
    if (right) {
        memset(bytes + HASH_AT, '0', HASH_DIGITS);
        snprintf(digits, sizeof digits, "%016llx", (unsigned long long)soma_hash_once(bytes, f->size));
        right = !memcmp(digits, stored, HASH_DIGITS);
    }
    if (!right)
        return damaged(f, path, HASH_AT, "the hash does not fit the content: the file is damaged, or another program changed it");
    return SOMA_OK;
}

static soma_status parse(soma_safetensors *f, const char *path)
{
    const unsigned char *bytes = f->bytes;
    if (f->size < 8)
        return damaged(f, path, f->size, "the file is shorter than the eight bytes that a safetensors file begins with");
    uint64_t length = 0;
    for (int i = 7; i >= 0; i--)
        length = length << 8 | bytes[i];
    if (length > SOMA_LIMIT_HEADER || length > f->size - 8)
        return damaged(f, path, 0, "the header's length is larger than the file or than 100,000,000 bytes; is this a safetensors file?");
    if (length < 2 || bytes[8] != '{')
        return damaged(f, path, 8, "the header does not begin with '{'; is this a safetensors file?");
    json_error_t error;
    f->header = json_loadb((const char *)bytes + 8, (size_t)length, JSON_REJECT_DUPLICATES, &error);
    if (!json_is_object(f->header)) {
        char sentence[320];
        snprintf(sentence, sizeof sentence, "the header is not JSON: %.160s", f->header ? "not an object" : error.text);
        return damaged(f, path, 8 + (f->header ? 0 : (size_t)(error.position > 0 ? error.position : 0)), sentence);
    }
    f->data = bytes + 8 + length;
    soma_status status = read_tensors(f, path, f->size - 8 - length);
    if (status == SOMA_OK)
        status = check_metadata(f, path);
    return status == SOMA_OK ? check_hash(f, path) : status;
}

soma_status soma_safetensors_open(soma_safetensors *f, soma *s, const char *path)
{
    memset(f, 0, sizeof *f);
    f->s = s;
    soma_status status = soma_file_read(s, path, UINT64_MAX, &f->bytes, &f->size);
    if (status == SOMA_OK)
        status = parse(f, path);
    if (status != SOMA_OK)
        soma_safetensors_close(f);
    return status;
}

void soma_safetensors_close(soma_safetensors *f)
{
    json_decref(f->header);
    soma_release(f->s, f->tensors);
    soma_release(f->s, f->bytes);
    f->header = NULL;
    f->tensors = NULL;
    f->bytes = NULL;
    f->n_tensors = 0;
}

const soma_stored *soma_safetensors_find(const soma_safetensors *f, const char *name)
{
    for (int i = 0; i < f->n_tensors; i++)
        if (!strcmp(f->tensors[i].name, name))
            return &f->tensors[i];
    return NULL;
}

const char *soma_safetensors_text(const soma_safetensors *f, const char *key)
{
    return json_string_value(json_object_get(f->metadata, key));
}

/* ---- writing ---- */

static size_t stored_bytes(const soma_stored *t)
{
    return (size_t)soma_shape_elements(&t->shape) * soma_dtype_size(t->dtype);
}

static json_t *entry_of(const soma_stored *t, uint64_t *offset)
{
    json_t *shape = json_array();
    for (int i = 0; i < t->shape.rank; i++)
        json_array_append_new(shape, json_integer(t->shape.dim[i]));
    uint64_t begin = *offset;
    *offset += stored_bytes(t);
    return json_pack("{s:s, s:o, s:[I, I]}", "dtype", type_name(t->dtype), "shape", shape, "data_offsets", (json_int_t)begin,
                     (json_int_t)*offset);
}

/* Header text with the hash's digits zero, padded with spaces to a multiple of eight. Freed with free (jansson's own). */
static char *header_text(const soma_stored *tensors, const int *order, int n, json_t *metadata, size_t *length)
{
    json_t *header = json_object(), *all = json_object();
    if (soma_hash_available())
        json_object_set_new(all, "soma.hash", json_string("0000000000000000"));
    if (metadata)
        json_object_update(all, metadata);
    int failed = json_object_set_new(header, "__metadata__", all);
    uint64_t offset = 0;
    for (int i = 0; i < n; i++)
        failed |= json_object_set_new(header, tensors[order[i]].name, entry_of(&tensors[order[i]], &offset));
    char *text = failed ? NULL : json_dumps(header, JSON_COMPACT | JSON_PRESERVE_ORDER);
    json_decref(header);
    *length = text ? (strlen(text) + 7) & ~(size_t)7 : 0;
    return text;
}

/* Larger elements first, then by name: data stay aligned. */
static void sort(const soma_stored *tensors, int *order, int n)
{
    for (int i = 0; i < n; i++)
        order[i] = i;
    for (int i = 1; i < n; i++) /* insertion: a few hundred names, mostly sorted already */
        for (int j = i; j > 0; j--) {
            const soma_stored *a = &tensors[order[j - 1]], *b = &tensors[order[j]];
            size_t x = soma_dtype_size(a->dtype), y = soma_dtype_size(b->dtype);
            if (x > y || (x == y && strcmp(a->name, b->name) <= 0))
                break;
            int swap = order[j];
            order[j] = order[j - 1];
            order[j - 1] = swap;
        }
}

static soma_status write_parts(soma *s, const char *path, char *header, size_t length, const soma_stored *tensors,
                               const int *order, const void *const *data, int n)
{
    unsigned char prefix[8];
    for (int i = 0; i < 8; i++)
        prefix[i] = (unsigned char)((uint64_t)length >> (8 * i));
    if (soma_hash_available()) {
        soma_hash_state *hash = soma_hash_begin(s);
        if (!hash)
            return SOMA_MEMORY;
        soma_hash_add(hash, prefix, 8);
        soma_hash_add(hash, header, length);
        for (int i = 0; i < n; i++)
            soma_hash_add(hash, data[order[i]], stored_bytes(&tensors[order[i]]));
        char digits[HASH_DIGITS + 1];
        snprintf(digits, sizeof digits, "%016llx", (unsigned long long)soma_hash_end(s, hash));
        memcpy(header + sizeof hash_prefix - 1, digits, HASH_DIGITS);
    }
    soma_file_writer w;
    soma_status status = soma_file_begin(&w, s, path);
    if (status != SOMA_OK)
        return status;
    soma_file_write(&w, prefix, 8);
    soma_file_write(&w, header, length);
    for (int i = 0; i < n; i++)
        soma_file_write(&w, data[order[i]], stored_bytes(&tensors[order[i]]));
    return soma_file_commit(&w);
}

soma_status soma_safetensors_write(soma *s, const char *path, const soma_stored *tensors, const void *const *data, int n,
                                   json_t *metadata)
{
    int *order = soma_alloc_array(s, (size_t)n + 1, sizeof *order);
    if (!order)
        return SOMA_MEMORY;
    sort(tensors, order, n);
    size_t length;
    char *text = header_text(tensors, order, n, metadata, &length);
    char *header = text ? soma_alloc(s, length + 1) : NULL;
    soma_status status = SOMA_MEMORY;
    if (header) {
        memset(header, ' ', length);
        memcpy(header, text, strlen(text));
        status = write_parts(s, path, header, length, tensors, order, data, n);
    } else {
        soma_fail(s, SOMA_MEMORY, soma_nowhere(), "%s: no memory for the file's header", path);
    }
    json_free_t release;
    json_get_alloc_funcs(NULL, &release);
    if (text)
        release(text);
    soma_release(s, header);
    soma_release(s, order);
    return status;
}
