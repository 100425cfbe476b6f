/* SPDX-License-Identifier: Apache-2.0
 *
 * io/safetensors_write.c: the format's own order: types by descending size, then names, so that data stay aligned.
 */
#include "base/file.h"
#include "base/limits.h"
#include "io/hash.h"
#include "io/json.h"
#include "io/safetensors.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static size_t bytes_of(const soma_to_store *t)
{
    return (size_t)soma_shape_elements(&t->tensor.shape) * soma_dtype_size(t->tensor.dtype);
}

static int in_order(const void *a, const void *b)
{
    const soma_to_store *x = a, *y = b;
    size_t m = soma_dtype_size(x->tensor.dtype), n = soma_dtype_size(y->tensor.dtype);
    return m != n ? (m > n ? -1 : 1) : strcmp(x->name, y->name);
}

static int names_in_order(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* What a reader would refuse is not written. */
static soma_status check_names(soma *s, const char *path, const soma_to_store *tensors, int n)
{
    const char **names = soma_alloc_array(s, (size_t)n + 1, sizeof *names), *wrong = NULL, *why = "";
    if (!names)
        return SOMA_MEMORY;
    for (int i = 0; i < n; i++) {
        names[i] = tensors[i].name;
        if (strlen(names[i]) > SOMA_LIMIT_NAME || !strcmp(names[i], "__metadata__")) {
            wrong = names[i];
            why = "is too long or reserved";
        }
    }
    if (n > 1)
        qsort(names, (size_t)n, sizeof *names, names_in_order);
    for (int i = 1; i < n; i++)
        if (!strcmp(names[i - 1], names[i])) {
            wrong = names[i];
            why = "is used twice";
        }
    soma_release(s, names);
    if (n > SOMA_LIMIT_TENSORS)
        return soma_fail(s, SOMA_INVALID, soma_nowhere(), "%s: %d tensors are more than a file may hold (%d)", path, n,
                         SOMA_LIMIT_TENSORS);
    return wrong ? soma_fail(s, SOMA_INVALID, soma_nowhere(), "%s: the tensor name \"%.200s\" %s", path, wrong, why)
                 : SOMA_OK;
}

static bool add_entry(soma_text *t, const soma_to_store *tensor, uint64_t *offset)
{
    uint64_t begin = *offset;
    *offset += bytes_of(tensor);
    soma_text_add(t, ",");
    if (!soma_json_text(t, tensor->name))
        return false;
    soma_text_addf(t, ":{\"dtype\":\"%s\",\"shape\":[", soma_safetensors_dtype(tensor->tensor.dtype));
    for (int i = 0; i < tensor->tensor.shape.rank; i++)
        soma_text_addf(t, "%s%" PRId64, i ? "," : "", tensor->tensor.shape.dim[i]);
    soma_text_addf(t, "],\"data_offsets\":[%" PRIu64 ",%" PRIu64 "]}", begin, *offset);
    return true;
}

/* The header with the hash's digits zero, padded with spaces to a multiple of eight. */
static soma_status make_header(soma *s, const char *path, const soma_to_store *tensors, int n,
                               const soma_stored_text *texts, int n_texts, soma_text *t)
{
    bool utf8 = true, hash = soma_hash_available();
    uint64_t offset = 0;
    soma_text_add(t, hash ? SOMA_HASH_PREFIX "0000000000000000\"" : "{\"__metadata__\":{");
    for (int i = 0; i < n_texts; i++) {
        soma_text_add(t, hash || i ? "," : "");
        utf8 = utf8 && soma_json_text(t, texts[i].key);
        soma_text_add(t, ":");
        utf8 = utf8 && soma_json_text(t, texts[i].value);
    }
    soma_text_add(t, "}");
    for (int i = 0; i < n && utf8; i++)
        utf8 = add_entry(t, &tensors[i], &offset);
    soma_text_add(t, "}");
    soma_text_addf(t, "%*s", (int)(-t->size & 7), "");
    if (!utf8)
        return soma_fail(s, SOMA_INVALID, soma_nowhere(),
                         "%s: a name in the model is not UTF-8, which the format asks for", path);
    if (!t->failed && t->size > SOMA_LIMIT_HEADER)
        return soma_fail(s, SOMA_INVALID, soma_nowhere(), "%s: the header would be larger than 100,000,000 bytes",
                         path);
    return t->failed ? SOMA_MEMORY : SOMA_OK;
}

static soma_status put_hash(soma *s, const unsigned char prefix[8], soma_text *header, const soma_to_store *tensors,
                            int n)
{
    soma_hash_state *hash = soma_hash_begin(s);
    if (!hash)
        return SOMA_MEMORY;
    soma_hash_add(hash, prefix, 8);
    soma_hash_add(hash, header->bytes, header->size);
    for (int i = 0; i < n; i++)
        soma_hash_add(hash, tensors[i].tensor.data, bytes_of(&tensors[i]));
    char digits[SOMA_HASH_DIGITS + 1];
    snprintf(digits, sizeof digits, "%016" PRIx64, soma_hash_end(s, hash));
    memcpy(header->bytes + SOMA_HASH_AT - 8, digits, SOMA_HASH_DIGITS);
    return SOMA_OK;
}

static soma_status write_parts(soma *s, const char *path, soma_text *header, const soma_to_store *tensors, int n)
{
    unsigned char prefix[8];
    for (int i = 0; i < 8; i++)
        prefix[i] = (unsigned char)((uint64_t)header->size >> (8 * i));
    soma_file_writer w;
    uint64_t size = sizeof prefix + header->size;
    for (int i = 0; i < n; i++)
        size += bytes_of(&tensors[i]);
    soma_status status = soma_hash_available() ? put_hash(s, prefix, header, tensors, n) : SOMA_OK;
    if (status == SOMA_OK)
        status = soma_file_begin(&w, s, path, size);
    if (status != SOMA_OK)
        return status;
    soma_file_write(&w, prefix, sizeof prefix);
    soma_file_write(&w, header->bytes, header->size);
    for (int i = 0; i < n; i++)
        soma_file_write(&w, tensors[i].tensor.data, bytes_of(&tensors[i]));
    return soma_file_commit(&w); /* remembers a write that failed */
}

soma_status soma_safetensors_write(soma *s, const char *path, soma_to_store *tensors, int n,
                                   const soma_stored_text *texts, int n_texts)
{
    soma_text header = {.s = s};
    if (n > 1)
        qsort(tensors, (size_t)n, sizeof *tensors, in_order);
    soma_status status = check_names(s, path, tensors, n);
    if (status == SOMA_OK)
        status = make_header(s, path, tensors, n, texts, n_texts, &header);
    if (status == SOMA_OK)
        status = write_parts(s, path, &header, tensors, n);
    soma_text_free(&header);
    return status;
}
