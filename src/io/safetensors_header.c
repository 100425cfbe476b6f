/* SPDX-License-Identifier: Apache-2.0
 *
 * io/safetensors_header.c: the header of a safetensors file, read as what it may be and nothing else:
 *
 *   {"__metadata__": {text: text, ...}, name: {"dtype": text, "shape": [n, ...], "data_offsets": [n, n]}, ...}
 *
 * So there is no depth to go down into, memory is bounded by the header's own bytes, and every mistake has a place.
 */
#include "base/limits.h"
#include "io/json.h"
#include "io/safetensors.h"

#include <stdlib.h>
#include <string.h>

typedef struct stored_type {
    const char *name;
    int bits;
    bool known;
    soma_dtype dtype;
} stored_type;

static const stored_type types[] = {
    {"F32", 32, true, SOMA_F32}, {"F64", 64, true, SOMA_F64},  {"I32", 32, true, SOMA_I32},  {"U8", 8, true, SOMA_U8},
    {"BOOL", 8, false, 0},       {"I8", 8, false, 0},          {"I16", 16, false, 0},        {"U16", 16, false, 0},
    {"F16", 16, false, 0},       {"BF16", 16, false, 0},       {"U32", 32, false, 0},        {"I64", 64, false, 0},
    {"U64", 64, false, 0},       {"C64", 64, false, 0},        {"F8_E5M2", 8, false, 0},     {"F8_E4M3", 8, false, 0},
    {"F8_E8M0", 8, false, 0},    {"F8_E4M3FNUZ", 8, false, 0}, {"F8_E5M2FNUZ", 8, false, 0}, {"F4", 4, false, 0},
    {"F6_E2M3", 6, false, 0},    {"F6_E3M2", 6, false, 0},
};
#define TYPES (sizeof types / sizeof *types)

const char *soma_safetensors_dtype(soma_dtype dtype)
{
    for (size_t i = 0; i < TYPES; i++)
        if (types[i].known && types[i].dtype == dtype)
            return types[i].name;
    return "F32";
}

/* ---- lists ---- */

typedef struct cursor {
    soma_cursor json;
    soma_safetensors *f;
} cursor;

static size_t next(cursor *c)
{
    return soma_cursor_next(&c->json) + 8; /* counted from the file's beginning */
}

static bool take(cursor *c, char wanted)
{
    return soma_cursor_take(&c->json, wanted);
}

static soma_status expect(cursor *c, char wanted)
{
    return soma_cursor_expect(&c->json, wanted);
}

static soma_status read_text(cursor *c, const char **text)
{
    return soma_cursor_text(&c->json, text);
}

/* [n, ...]: at most `most` numbers. */
static soma_status read_numbers(cursor *c, uint64_t *numbers, int most, int *n)
{
    size_t at = next(c);
    *n = 0;
    if (!take(c, '['))
        return soma_safetensors_damaged(c->f, at, "a list of numbers is needed here");
    if (take(c, ']'))
        return SOMA_OK;
    do {
        if (*n == most)
            return soma_safetensors_damaged(c->f, at, "the list has more than %d numbers", most);
        soma_status status = soma_cursor_count(&c->json, &numbers[(*n)++]);
        if (status != SOMA_OK)
            return status;
    } while (take(c, ','));
    return expect(c, ']');
}

/* ---- entries ---- */

typedef struct entry {
    const char *dtype;
    uint64_t dims[SOMA_MAX_RANK], offsets[2];
    int rank, n_offsets; /* -1: not said yet */
} entry;

static soma_status read_field(cursor *c, entry *e)
{
    size_t at = next(c);
    const char *key;
    soma_status status = read_text(c, &key);
    if (status == SOMA_OK)
        status = expect(c, ':');
    if (status != SOMA_OK)
        return status;
    bool dtype = !strcmp(key, "dtype"), shape = !strcmp(key, "shape"), offsets = !strcmp(key, "data_offsets");
    if ((dtype && e->dtype) || (shape && e->rank >= 0) || (offsets && e->n_offsets >= 0))
        return soma_safetensors_damaged(c->f, at, "\"%s\" stands here twice", key);
    if (dtype)
        return read_text(c, &e->dtype);
    if (shape)
        return read_numbers(c, e->dims, SOMA_MAX_RANK, &e->rank);
    if (offsets)
        return read_numbers(c, e->offsets, 2, &e->n_offsets);
    return soma_safetensors_damaged(c->f, at, "a tensor has dtype, shape and data_offsets, but not \"%.100s\"", key);
}

/* Numbers of an entry against each other and the file. */
static soma_status check_entry(soma_safetensors *f, soma_file_tensor *t, const entry *e)
{
    const stored_type *type = NULL;
    if (!e->dtype || e->rank < 0 || e->n_offsets != 2)
        return soma_safetensors_damaged(f, t->at, "tensor \"%.200s\" lacks dtype, shape or two data_offsets", t->name);
    for (size_t i = 0; i < TYPES && !type; i++)
        if (!strcmp(types[i].name, e->dtype))
            type = &types[i];
    if (!type)
        return soma_safetensors_damaged(f, t->at, "tensor \"%.200s\" has the type \"%.40s\", which does not exist",
                                        t->name, e->dtype);
    t->dtype_name = type->name;
    t->dtype = type->dtype;
    t->known = type->known;
    t->shape.rank = e->rank;
    uint64_t bits = (uint64_t)type->bits;
    for (int i = 0; i < e->rank; i++) {
        if (e->dims[i] > (uint64_t)SOMA_LIMIT_DIM || __builtin_mul_overflow(bits, e->dims[i], &bits))
            return soma_safetensors_damaged(f, t->at, "tensor \"%.200s\" has a dimension, or a size, that is too large",
                                            t->name);
        t->shape.dim[i] = (int64_t)e->dims[i];
    }
    if (bits % 8)
        return soma_safetensors_damaged(f, t->at, "tensor \"%.200s\" is not a whole number of bytes", t->name);
    t->begin = e->offsets[0];
    t->end = e->offsets[1];
    if (t->begin > t->end || t->end > f->data_size)
        return soma_safetensors_damaged(
            f, t->at, "tensor \"%.200s\" has its data at %llu to %llu, but the file has %llu bytes of data", t->name,
            (unsigned long long)t->begin, (unsigned long long)t->end, (unsigned long long)f->data_size);
    if (t->end - t->begin != bits / 8)
        return soma_safetensors_damaged(
            f, t->at, "tensor \"%.200s\" has %llu bytes of data, its type and shape need %llu", t->name,
            (unsigned long long)(t->end - t->begin), (unsigned long long)(bits / 8));
    return SOMA_OK;
}

static soma_status read_entry(cursor *c, const char *name, size_t at)
{
    entry e = {.rank = -1, .n_offsets = -1};
    soma_file_tensor t = {.name = name, .at = at};
    soma_safetensors *f = c->f;
    if (strlen(name) > SOMA_LIMIT_NAME)
        return soma_safetensors_damaged(f, at, "a tensor's name is longer than %d bytes", SOMA_LIMIT_NAME);
    if (f->n_tensors == SOMA_LIMIT_TENSORS)
        return soma_safetensors_damaged(f, at, "the header lists more than %d tensors", SOMA_LIMIT_TENSORS);
    soma_status status = expect(c, '{');
    if (status == SOMA_OK && !take(c, '}')) {
        do
            status = read_field(c, &e);
        while (status == SOMA_OK && take(c, ','));
        if (status == SOMA_OK)
            status = expect(c, '}');
    }
    if (status == SOMA_OK)
        status = check_entry(f, &t, &e);
    if (status == SOMA_OK)
        status = soma_grow(f->s, &f->tensors, &f->tensor_capacity, f->n_tensors + 1, sizeof t);
    if (status == SOMA_OK)
        f->tensors[f->n_tensors++] = t;
    return status;
}

static soma_status read_metadata(cursor *c)
{
    soma_safetensors *f = c->f;
    soma_status status = expect(c, '{');
    if (status != SOMA_OK || take(c, '}'))
        return status;
    do {
        soma_stored_text t = {.at = next(c)};
        if (f->n_texts == SOMA_LIMIT_TENSORS)
            return soma_safetensors_damaged(f, t.at, "the metadata have more than %d entries", SOMA_LIMIT_TENSORS);
        status = read_text(c, &t.key);
        if (status == SOMA_OK)
            status = expect(c, ':');
        if (status == SOMA_OK)
            status = read_text(c, &t.value);
        if (status == SOMA_OK)
            status = soma_grow(f->s, &f->texts, &f->text_capacity, f->n_texts + 1, sizeof t);
        if (status == SOMA_OK)
            f->texts[f->n_texts++] = t;
    } while (status == SOMA_OK && take(c, ','));
    return status == SOMA_OK ? expect(c, '}') : status;
}

/* ---- the whole ---- */

static int by_name(const void *a, const void *b)
{
    const soma_file_tensor *x = a, *y = b;
    int order = strcmp(x->name, y->name);
    return order ? order : x->at < y->at ? -1 : 1;
}

static int by_key(const void *a, const void *b)
{
    const soma_stored_text *x = a, *y = b;
    int order = strcmp(x->key, y->key);
    return order ? order : x->at < y->at ? -1 : 1;
}

static int by_offset(const void *a, const void *b)
{
    const soma_file_tensor *x = a, *y = b;
    if (x->begin != y->begin)
        return x->begin < y->begin ? -1 : 1;
    return x->end < y->end ? -1 : x->end > y->end;
}

/* The data lie one behind the other and end with the file. Leaves the tensors sorted by offset. */
static soma_status check_holes(soma_safetensors *f)
{
    uint64_t end = 0;
    if (f->n_tensors)
        if (f->n_tensors > 1)
            qsort(f->tensors, (size_t)f->n_tensors, sizeof *f->tensors, by_offset);
    for (int i = 0; i < f->n_tensors; i++) {
        const soma_file_tensor *t = &f->tensors[i];
        if (t->begin != end)
            return soma_safetensors_damaged(f, t->at,
                                            "the data of tensor \"%.200s\" begin at %llu, those before end at %llu: %s",
                                            t->name, (unsigned long long)t->begin, (unsigned long long)end,
                                            t->begin > end ? "there is a hole" : "they overlap");
        end = t->end;
    }
    if (end != f->data_size)
        return soma_safetensors_damaged(f, f->size - (size_t)(f->data_size - end),
                                        "the file goes on for %llu bytes behind its last tensor",
                                        (unsigned long long)(f->data_size - end));
    return SOMA_OK;
}

static soma_status check_names(soma_safetensors *f)
{
    if (f->n_tensors)
        if (f->n_tensors > 1)
            qsort(f->tensors, (size_t)f->n_tensors, sizeof *f->tensors, by_name);
    for (int i = 1; i < f->n_tensors; i++)
        if (!strcmp(f->tensors[i - 1].name, f->tensors[i].name))
            return soma_safetensors_damaged(f, f->tensors[i].at, "the tensor \"%.200s\" stands here twice",
                                            f->tensors[i].name);
    if (f->n_texts)
        if (f->n_texts > 1)
            qsort(f->texts, (size_t)f->n_texts, sizeof *f->texts, by_key);
    for (int i = 1; i < f->n_texts; i++)
        if (!strcmp(f->texts[i - 1].key, f->texts[i].key))
            return soma_safetensors_damaged(f, f->texts[i].at, "\"%.200s\" stands in the metadata twice",
                                            f->texts[i].key);
    return SOMA_OK;
}

static soma_status read_header(cursor *c, size_t length)
{
    bool metadata = false;
    soma_status status = expect(c, '{');
    if (status == SOMA_OK && !take(c, '}')) {
        do {
            size_t at = next(c);
            const char *name;
            status = read_text(c, &name);
            if (status == SOMA_OK)
                status = expect(c, ':');
            if (status != SOMA_OK)
                return status;
            if (strcmp(name, "__metadata__")) {
                status = read_entry(c, name, at);
            } else if (metadata) {
                status = soma_safetensors_damaged(c->f, at, "\"__metadata__\" stands here twice");
            } else {
                metadata = true;
                status = read_metadata(c);
            }
        } while (status == SOMA_OK && take(c, ','));
        if (status == SOMA_OK)
            status = expect(c, '}');
    }
    if (status == SOMA_OK && next(c) != 8 + length)
        status = soma_safetensors_damaged(c->f, next(c), "the header goes on behind its last brace");
    return status;
}

soma_status soma_safetensors_header(soma_safetensors *f, size_t length)
{
    cursor c = {.f = f, .json = {.arena = &f->arena, .begin = (const unsigned char *)f->bytes + 8}};
    c.json.at = c.json.begin;
    c.json.end = c.json.begin + length;
    soma_status status = read_header(&c, length);
    if (c.json.why)
        return soma_safetensors_damaged(f, c.json.where + 8, "the header is not right: %s", c.json.why);
    if (status == SOMA_OK)
        status = check_holes(f);
    return status == SOMA_OK ? check_names(f) : status;
}
