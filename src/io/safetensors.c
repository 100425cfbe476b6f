/* SPDX-License-Identifier: Apache-2.0
 *
 * io/safetensors.c: reading treats the file as hostile: every number is checked before it is used, nothing is allocated
 * for what the file does not hold.
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
    if (vsnprintf(sentence, sizeof sentence, format, args) >= (int)sizeof sentence)
        memcpy(sentence + sizeof sentence - 4, "...", 4);
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

/* The first nine bytes say how long the header is, and whether it can be one. */
static soma_status check_beginning(soma_safetensors *f, const unsigned char *bytes, uint64_t *length)
{
    *length = 0;
    if (f->size < 8)
        return soma_safetensors_damaged(f, f->size,
                                        "the file is shorter than the eight bytes that a safetensors file begins with");
    for (int i = 7; i >= 0; i--)
        *length = *length << 8 | bytes[i];
    if (*length > SOMA_LIMIT_HEADER || *length > f->size - 8)
        return soma_safetensors_damaged(
            f, 0, "the header's length is larger than the file or than 100,000,000 bytes; is this a safetensors file?");
    if (*length < 2 || bytes[8] != '{')
        return soma_safetensors_damaged(f, 8, "the header does not begin with '{'; is this a safetensors file?");
    return SOMA_OK;
}

/* A block for `want` bytes of the file with the `have` that were read, and the next ones up to `want`. */
static soma_status extend(soma_safetensors *f, soma_file_reader *file, const void *from, uint64_t have, uint64_t want)
{
    char *block = want < SIZE_MAX ? soma_alloc(f->s, (size_t)want + 1) : NULL;
    if (!block)
        return want < SIZE_MAX
                   ? SOMA_MEMORY
                   : soma_fail(f->s, SOMA_MEMORY, soma_nowhere(), "\"%s\" is too large for this machine", f->path);
    memcpy(block, from, (size_t)have);
    bool read = soma_file_reader_take(file, block + have, (size_t)(want - have)) >= 0;
    soma_release(f->s, f->bytes);
    f->bytes = block;
    return read ? SOMA_OK : soma_error_status(f->s);
}

/* The header first, by itself: only a file that is as long as its header says is read into memory. */
static soma_status parse(soma_safetensors *f, soma_file_reader *file)
{
    unsigned char first[9] = {0};
    uint64_t length;
    f->size = (size_t)file->size;
    if (soma_file_reader_take(file, first, sizeof first) < 0)
        return soma_error_status(f->s);
    soma_status status = check_beginning(f, first, &length);
    if (status == SOMA_OK)
        status = extend(f, file, first, sizeof first, 8 + length);
    if (status != SOMA_OK)
        return status;
    f->data_size = file->size - 8 - length;
    status = soma_safetensors_header(f, (size_t)length); /* keeps nothing of the block */
    if (status == SOMA_OK)
        status = extend(f, file, f->bytes, 8 + length, file->size);
    f->data = (const unsigned char *)f->bytes + 8 + length;
    return status == SOMA_OK ? check_hash(f) : status;
}

soma_status soma_safetensors_open(soma_safetensors *f, soma *s, const char *path)
{
    memset(f, 0, sizeof *f);
    f->s = s;
    f->path = path;
    soma_arena_init(&f->arena, s);
    soma_file_reader file;
    soma_status status = soma_file_reader_open(&file, s, path);
    if (status == SOMA_OK) {
        status = parse(f, &file);
        soma_file_reader_close(&file);
    }
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
    return strcmp(name, ((const soma_file_tensor *)tensor)->name);
}

const soma_file_tensor *soma_safetensors_find(const soma_safetensors *f, const char *name)
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
