/* SPDX-License-Identifier: Apache-2.0
 *
 * io/safetensors.c: reading treats the file as hostile: every number is checked before it is used, nothing is allocated for
 * what the file does not hold.
 */
#include "io/safetensors.h"
#include "base/file.h"
#include "base/limits.h"
#include "io/hash.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

soma_status soma_safetensors_damaged(const soma_safetensors *f, size_t at, const char *format, ...)
{
    char sentence[512];
    va_list args;
    va_start(args, format);
    vsnprintf(sentence, sizeof sentence, format, args);
    va_end(args);
    return soma_fail(f->s, SOMA_FORMAT, soma_nowhere(), "%s: at byte %zu: %s", f->path, at, sentence);
}

/* A file that says it carries a hash is compared with it; every byte counts but the digits themselves. */
static soma_status check_hash(soma_safetensors *f)
{
    const char *stored = soma_safetensors_text(f, SOMA_HASH_KEY);
    if (!stored || !soma_hash_available())
        return SOMA_OK;
    char *bytes = f->bytes, digits[SOMA_HASH_DIGITS + 1];
    bool right = f->size > SOMA_HASH_AT + SOMA_HASH_DIGITS &&
                 !memcmp(bytes + 8, SOMA_HASH_PREFIX, sizeof SOMA_HASH_PREFIX - 1) &&
                 strlen(stored) == SOMA_HASH_DIGITS && !memcmp(bytes + SOMA_HASH_AT, stored, SOMA_HASH_DIGITS);
    if (right) {
        memset(bytes + SOMA_HASH_AT, '0', SOMA_HASH_DIGITS);
        snprintf(digits, sizeof digits, "%016" PRIx64, soma_hash_once(bytes, f->size));
        right = !memcmp(digits, stored, SOMA_HASH_DIGITS);
    }
    if (right)
        return SOMA_OK;
    return soma_safetensors_damaged(
        f, SOMA_HASH_AT, "the hash does not fit the content: the file is damaged, or another program changed it");
}

static soma_status parse(soma_safetensors *f)
{
    const unsigned char *bytes = f->bytes;
    if (f->size < 8)
        return soma_safetensors_damaged(f, f->size,
                                        "the file is shorter than the eight bytes that a safetensors file begins with");
    uint64_t length = 0;
    for (int i = 7; i >= 0; i--)
        length = length << 8 | bytes[i];
    if (length > SOMA_LIMIT_HEADER || length > f->size - 8)
        return soma_safetensors_damaged(
            f, 0, "the header's length is larger than the file or than 100,000,000 bytes; is this a safetensors file?");
    if (length < 2 || bytes[8] != '{')
        return soma_safetensors_damaged(f, 8, "the header does not begin with '{'; is this a safetensors file?");
    f->data = bytes + 8 + length;
    f->data_size = f->size - 8 - length;
    soma_status status = soma_safetensors_header(f, (size_t)length);
    return status == SOMA_OK ? check_hash(f) : status;
}

soma_status soma_safetensors_open(soma_safetensors *f, soma *s, const char *path)
{
    memset(f, 0, sizeof *f);
    f->s = s;
    f->path = path;
    soma_arena_init(&f->arena, s);
    soma_status status = soma_file_read(s, path, UINT64_MAX, &f->bytes, &f->size);
    if (status == SOMA_OK)
        status = parse(f);
    if (status != SOMA_OK)
        soma_safetensors_close(f);
    return status;
}

void soma_safetensors_close(soma_safetensors *f)
{
    soma_arena_free(&f->arena);
    soma_release(f->s, f->tensors);
    soma_release(f->s, f->texts);
    soma_release(f->s, f->bytes);
    memset(f, 0, sizeof *f);
}

static int compare_name(const void *name, const void *tensor)
{
    return strcmp(name, ((const soma_stored *)tensor)->name);
}

const soma_stored *soma_safetensors_find(const soma_safetensors *f, const char *name)
{
    return f->n_tensors ? bsearch(name, f->tensors, (size_t)f->n_tensors, sizeof *f->tensors, compare_name) : NULL;
}

static int compare_key(const void *key, const void *text)
{
    return strcmp(key, ((const soma_stored_text *)text)->key);
}

const char *soma_safetensors_text(const soma_safetensors *f, const char *key)
{
    const soma_stored_text *t = f->n_texts ? bsearch(key, f->texts, (size_t)f->n_texts, sizeof *f->texts, compare_key)
                                           : NULL;
    return t ? t->value : NULL;
}

bool soma_safetensors_hashed(const soma_safetensors *f)
{
    return soma_hash_available() && soma_safetensors_text(f, SOMA_HASH_KEY);
}
