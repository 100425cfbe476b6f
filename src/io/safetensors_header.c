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
    {"F32", 32, true, SOMA_F32}, {"F64", 64, true, SOMA_F64}, {"I32", 32, true, SOMA_I32},  {"U8", 8, true, SOMA_U8},
    {"BOOL", 8, false, 0},       {"I8", 8, false, 0},         {"I16", 16, false, 0},        {"U16", 16, false, 0},
    {"F16", 16, false, 0},       {"BF16", 16, false, 0},      {"U32", 32, false, 0},        {"I64", 64, false, 0},
    {"U64", 64, false, 0},       {"C64", 64, false, 0},       {"F8_E5M2", 8, false, 0},     {"F8_E4M3", 8, false, 0},
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

/* ---- the letters ---- */

typedef struct cursor {
    soma_safetensors *f;
    const unsigned char *at, *end;
} cursor;

static size_t place(const cursor *c)
{
    return (size_t)(c->at - (const unsigned char *)c->f->bytes);
}

/* The place of the next thing that is not space. */
static size_t next(cursor *c)
{
    while (c->at < c->end && (*c->at == ' ' || *c->at == '\t' || *c->at == '\n' || *c->at == '\r'))
        c->at++;
    return place(c);
}

static bool take(cursor *c, char wanted)
{
    next(c);
    if (c->at == c->end || *c->at != wanted)
        return false;
    c->at++;
    return true;
}

static soma_status expect(cursor *c, char wanted)
{
    return take(c, wanted) ? SOMA_OK : soma_safetensors_damaged(c->f, place(c), "the header needs a '%c' here", wanted);
}

/* The four digits behind \u. */
static bool read_hex(cursor *c, unsigned *code)
{
    *code = 0;
    if (c->end - c->at < 4)
        return false;
    for (int i = 0; i < 4; i++) {
        unsigned char d = *c->at++;
        int value = d >= '0' && d <= '9'   ? d - '0'
                    : d >= 'a' && d <= 'f' ? d - 'a' + 10
                    : d >= 'A' && d <= 'F' ? d - 'A' + 10
                                           : -1;
        if (value < 0)
            return false;
        *code = *code << 4 | (unsigned)value;
    }
    return true;
}

/* The character that an escape stands for (the backslash is behind us); 0: not one. */
static unsigned read_escape(cursor *c)
{
    static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
    unsigned code, low;
    unsigned char letter = *c->at++;
    const char *simple = letter ? strchr(from, letter) : NULL;
    if (simple)
        return (unsigned char)to[simple - from];
    if (letter != 'u' || !read_hex(c, &code) || (code >= 0xdc00 && code <= 0xdfff))
        return 0;
    if (code < 0xd800 || code > 0xdbff)
        return code;
    if (c->end - c->at < 2 || c->at[0] != '\\' || c->at[1] != 'u') /* a high surrogate needs its low one */
        return 0;
    c->at += 2;
    if (!read_hex(c, &low) || low < 0xdc00 || low > 0xdfff)
        return 0;
    return 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
}

static size_t write_utf8(char *out, unsigned code)
{
    if (code < 0x80) {
        out[0] = (char)code;
        return 1;
    }
    size_t length = code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
    static const unsigned char first[] = {0, 0, 0xc0, 0xe0, 0xf0};
    for (size_t i = length - 1; i > 0; i--, code >>= 6)
        out[i] = (char)(0x80 | (code & 0x3f));
    out[0] = (char)(first[length] | code);
    return length;
}

static soma_status read_characters(cursor *c, const unsigned char *end, char *out)
{
    size_t n = 0;
    while (c->at < end) {
        size_t at = place(c);
        if (*c->at == '\\') {
            c->at++;
            unsigned code = read_escape(c);
            if (!code)
                return soma_safetensors_damaged(c->f, at, "the header has an escape that JSON does not know or soma does not take");
            n += write_utf8(out + n, code);
            continue;
        }
        size_t length = soma_utf8_length(c->at, (size_t)(end - c->at));
        if (length == 0 || *c->at < 0x20)
            return soma_safetensors_damaged(c->f, at, length ? "the header has a control character inside a text"
                                                             : "the header is not UTF-8 here");
        memcpy(out + n, c->at, length);
        n += length;
        c->at += length;
    }
    out[n] = 0;
    return SOMA_OK;
}

/* A string; lives in the file's arena. */
static soma_status read_text(cursor *c, const char **text)
{
    size_t at = next(c);
    if (!take(c, '"'))
        return soma_safetensors_damaged(c->f, at, "the header needs a text in quotes here");
    const unsigned char *end = c->at;
    while (end < c->end && *end != '"')
        end += *end == '\\' ? 2 : 1;
    if (end >= c->end)
        return soma_safetensors_damaged(c->f, at, "the text that begins here does not end within the header");
    char *copy = soma_arena_alloc(&c->f->arena, (size_t)(end - c->at) + 1);
    soma_status status = copy ? read_characters(c, end, copy) : SOMA_MEMORY;
    c->at = end + 1;
    *text = copy;
    return status;
}

static soma_status read_number(cursor *c, uint64_t *number)
{
    size_t at = next(c);
    const unsigned char *first = c->at;
    uint64_t n = 0;
    bool overflow = false;
    for (; c->at < c->end && *c->at >= '0' && *c->at <= '9'; c->at++)
        overflow = overflow || __builtin_mul_overflow(n, 10u, &n) || __builtin_add_overflow(n, (uint64_t)(*c->at - '0'), &n);
    bool whole = c->at > first && !(*first == '0' && c->at > first + 1);
    whole = whole && !(c->at < c->end && (*c->at == '.' || *c->at == 'e' || *c->at == 'E'));
    *number = n;
    if (whole && !overflow)
        return SOMA_OK;
    return soma_safetensors_damaged(c->f, at, whole ? "the number is too large"
                                                    : "the header needs a whole number here, not negative");
}

/* [n, ...]: at most `most` numbers. */
static soma_status read_numbers(cursor *c, uint64_t *numbers, int most, int *n)
{
    size_t at = next(c);
    *n = 0;
    if (!take(c, '['))
        return soma_safetensors_damaged(c->f, at, "the header needs a list of numbers here");
    if (take(c, ']'))
        return SOMA_OK;
    do {
        if (*n == most)
            return soma_safetensors_damaged(c->f, at, "the list has more than %d numbers", most);
        soma_status status = read_number(c, &numbers[(*n)++]);
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
static soma_status check_entry(soma_safetensors *f, soma_stored *t, const entry *e)
{
    const stored_type *type = NULL;
    if (!e->dtype || e->rank < 0 || e->n_offsets != 2)
        return soma_safetensors_damaged(f, t->at, "tensor \"%.200s\" lacks dtype, shape or two data_offsets", t->name);
    for (size_t i = 0; i < TYPES && !type; i++)
        if (!strcmp(types[i].name, e->dtype))
            type = &types[i];
    if (!type)
        return soma_safetensors_damaged(f, t->at, "tensor \"%.200s\" has the type \"%.40s\", which does not exist", t->name,
                                        e->dtype);
    t->dtype_name = type->name;
    t->dtype = type->dtype;
    t->known = type->known;
    t->shape.rank = e->rank;
    uint64_t bits = (uint64_t)type->bits;
    for (int i = 0; i < e->rank; i++) {
        if (e->dims[i] > (uint64_t)SOMA_LIMIT_DIM || __builtin_mul_overflow(bits, e->dims[i], &bits))
            return soma_safetensors_damaged(f, t->at, "tensor \"%.200s\" has a dimension, or a size, that is too large", t->name);
        t->shape.dim[i] = (int64_t)e->dims[i];
    }
    if (bits % 8)
        return soma_safetensors_damaged(f, t->at, "tensor \"%.200s\" is not a whole number of bytes", t->name);
    t->begin = e->offsets[0];
    t->end = e->offsets[1];
    if (t->begin > t->end || t->end > f->data_size)
        return soma_safetensors_damaged(f, t->at, "tensor \"%.200s\" has its data at %llu to %llu, but the file has %llu bytes of data",
                                        t->name, (unsigned long long)t->begin, (unsigned long long)t->end,
                                        (unsigned long long)f->data_size);
    if (t->end - t->begin != bits / 8)
        return soma_safetensors_damaged(f, t->at, "tensor \"%.200s\" has %llu bytes of data, its type and shape need %llu", t->name,
                                        (unsigned long long)(t->end - t->begin), (unsigned long long)(bits / 8));
    return SOMA_OK;
}

static soma_status read_entry(cursor *c, const char *name, size_t at)
{
    entry e = {.rank = -1, .n_offsets = -1};
    soma_stored t = {.name = name, .at = at};
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
    const soma_stored *x = a, *y = b;
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
    const soma_stored *x = a, *y = b;
    if (x->begin != y->begin)
        return x->begin < y->begin ? -1 : 1;
    return x->end < y->end ? -1 : x->end > y->end;
}

/* The data lie one behind the other and end with the file. Leaves the tensors sorted by offset. */
static soma_status check_holes(soma_safetensors *f)
{
    uint64_t end = 0;
    qsort(f->tensors, (size_t)f->n_tensors, sizeof *f->tensors, by_offset);
    for (int i = 0; i < f->n_tensors; i++) {
        const soma_stored *t = &f->tensors[i];
        if (t->begin != end)
            return soma_safetensors_damaged(f, t->at, "the data of tensor \"%.200s\" begin at %llu, those before end at %llu: %s",
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
    qsort(f->tensors, (size_t)f->n_tensors, sizeof *f->tensors, by_name);
    for (int i = 1; i < f->n_tensors; i++)
        if (!strcmp(f->tensors[i - 1].name, f->tensors[i].name))
            return soma_safetensors_damaged(f, f->tensors[i].at, "the tensor \"%.200s\" stands here twice", f->tensors[i].name);
    qsort(f->texts, (size_t)f->n_texts, sizeof *f->texts, by_key);
    for (int i = 1; i < f->n_texts; i++)
        if (!strcmp(f->texts[i - 1].key, f->texts[i].key))
            return soma_safetensors_damaged(f, f->texts[i].at, "\"%.200s\" stands in the metadata twice", f->texts[i].key);
    return SOMA_OK;
}

soma_status soma_safetensors_header(soma_safetensors *f, size_t length)
{
    cursor c = {.f = f, .at = (const unsigned char *)f->bytes + 8};
    bool metadata = false;
    c.end = c.at + length;
    soma_status status = expect(&c, '{');
    if (status == SOMA_OK && !take(&c, '}')) {
        do {
            size_t at = next(&c);
            const char *name;
            status = read_text(&c, &name);
            if (status == SOMA_OK)
                status = expect(&c, ':');
            if (status != SOMA_OK)
                return status;
            if (strcmp(name, "__metadata__")) {
                status = read_entry(&c, name, at);
            } else if (metadata) {
                status = soma_safetensors_damaged(f, at, "\"__metadata__\" stands here twice");
            } else {
                metadata = true;
                status = read_metadata(&c);
            }
        } while (status == SOMA_OK && take(&c, ','));
        if (status == SOMA_OK)
            status = expect(&c, '}');
    }
    if (status == SOMA_OK && next(&c) != 8 + length)
        status = soma_safetensors_damaged(f, place(&c), "the header goes on behind its last brace");
    if (status == SOMA_OK)
        status = check_holes(f);
    return status == SOMA_OK ? check_names(f) : status;
}
