/* SPDX-License-Identifier: Apache-2.0
 *
 * io/model_file.c: soma's own model file: safetensors with the graph in the metadata under "soma.model".
 */
#include "base/file.h"
#include "base/limits.h"
#include "compile/choose/tune.h"
#include "base/words.h"
#include "io/hash.h"
#include "io/model_json.h"
#include "io/safetensors.h"
#include <soma/io.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MODEL_KEY "soma.model"
#define RECORD_KEY "soma.record"   /* hash of the kernels of the last training */
#define KERNELS_KEY "soma.kernels" /* those that were timed */

static soma_status write_model(soma_model *m, const char *path, const char *description, const char *kernels)
{
    soma_to_store *tensors = soma_alloc_array(m->s, (size_t)m->n_tensors + 1, sizeof *tensors);
    if (!tensors)
        return SOMA_MEMORY;
    int n = 0;
    for (int i = 0; i < m->n_tensors; i++) {
        const soma_model_tensor *t = &m->tensors[i];
        if (!t->slot) /* the optimizer's state belongs to a training, not to the model */
            tensors[n++] = (soma_to_store){t->name, {t->type.dtype, t->type.shape, t->data}};
    }
    char hash[17];
    soma_stored_text texts[4] = {{"format", "soma", 0}, {MODEL_KEY, description, 0}};
    int n_texts = 2;
    if (soma_model_fingerprint(m)) {
        snprintf(hash, sizeof hash, "%016llx", (unsigned long long)soma_model_fingerprint(m));
        texts[n_texts++] = (soma_stored_text){RECORD_KEY, hash, 0};
    }
    if (kernels)
        texts[n_texts++] = (soma_stored_text){KERNELS_KEY, kernels, 0};
    soma_status status = soma_safetensors_write(m->s, path, tensors, n, texts, n_texts);
    soma_release(m->s, tensors);
    return status;
}

soma_status soma_save(soma_model *m, const char *path)
{
    if (!m)
        return SOMA_INVALID;
    if (!path || !*path)
        return soma_fail(m->s, SOMA_INVALID, soma_nowhere(),
                         SOMA_IN_C("save: ") "the model \"%s\" needs a path to be saved to", m->name);
    if (m->graph->failed)
        return soma_fail(m->s, SOMA_STATE, soma_nowhere(),
                         SOMA_IN_C("save: ") "building the model \"%s\" failed, so there is nothing to save", m->name);
    soma_text text = {.s = m->s}, kernels = {.s = m->s};
    soma_status status = soma_model_materialize(m);
    if (status == SOMA_OK)
        status = soma_model_to_json(m, &text, path);
    soma_choices_save(m, &kernels);
    if (status == SOMA_OK)
        status = kernels.failed ? SOMA_MEMORY : write_model(m, path, text.bytes, kernels.bytes);
    soma_text_free(&text);
    soma_text_free(&kernels);
    return status;
}

/* The header is not written yet; the least that it can be. */
soma_status soma_can_save(soma_model *m, const char *path)
{
    if (!m)
        return SOMA_INVALID;
    uint64_t size = SOMA_HASH_AT;
    for (int i = 0; i < m->n_tensors; i++) {
        const soma_type *type = &m->tensors[i].type;
        if (!m->tensors[i].slot)
            size += (uint64_t)soma_shape_elements(&type->shape) * soma_dtype_size(type->dtype);
    }
    soma_file_writer w;
    soma_status status = soma_file_begin(&w, m->s, path, size);
    soma_file_abandon(&w);
    return status;
}

/* ---- reading ---- */

static bool same_shape(const soma_shape *a, const soma_shape *b)
{
    return a->rank == b->rank && !memcmp(a->dim, b->dim, (size_t)a->rank * sizeof a->dim[0]);
}

/* The tensor of the file for a tensor of the model; NULL after telling what is wrong. */
static const soma_file_tensor *match(const soma_safetensors *f, soma_model *m, const soma_model_tensor *t)
{
    const soma_file_tensor *stored = soma_safetensors_find(f, t->name);
    char want[96];
    if (stored && stored->known && stored->dtype == t->type.dtype && same_shape(&stored->shape, &t->type.shape))
        return stored;
    if (!stored)
        soma_fail(m->s, SOMA_FORMAT, soma_nowhere(), "%s: the tensor \"%.200s\" of the model is missing", f->path,
                  t->name);
    else
        soma_safetensors_damaged(f, stored->at,
                                 "the tensor \"%.200s\" should be %s, but has another shape or type (%s)", t->name,
                                 soma_type_text(&t->type, want), stored->dtype_name);
    return NULL;
}

/* Every tensor of the model has its bytes in the file, so no more memory is taken for them than the file has bytes. */
static soma_status read_tensors(soma_model *m, const soma_safetensors *f)
{
    for (int i = 0; i < m->n_tensors; i++)
        if (!match(f, m, &m->tensors[i]))
            return SOMA_FORMAT;
    if (f->n_tensors != m->n_tensors)
        return soma_fail(m->s, SOMA_FORMAT, soma_nowhere(), "%s: the file has %d tensors, the model in it uses %d",
                         f->path, f->n_tensors, m->n_tensors);
    m->reading = true;
    soma_status status = soma_model_materialize(m);
    m->reading = false;
    for (int i = 0; i < m->n_tensors && status == SOMA_OK; i++) {
        const soma_file_tensor *stored = soma_safetensors_find(f, m->tensors[i].name);
        memcpy(m->tensors[i].data, f->data + stored->begin, (size_t)(stored->end - stored->begin));
    }
    soma_touch(m);
    return status;
}

static soma_status parse(soma *s, const soma_safetensors *f, soma_arena *arena, const soma_json **json)
{
    const char *text = soma_safetensors_text(f, MODEL_KEY);
    if (!text)
        return soma_fail(s, SOMA_FORMAT, soma_nowhere(),
                         "%s: holds tensors but no model that soma wrote (metadata \"" MODEL_KEY "\" is missing)",
                         f->path);
    if (soma_hash_available() && !soma_safetensors_hashed(f)) /* or damage to the hash's name would go unseen */
        return soma_safetensors_damaged(
            f, SOMA_HASH_AT, "the hash that soma writes is missing: the file is damaged, or another program wrote it");
    if (strlen(text) > SOMA_LIMIT_MODEL)
        return soma_fail(s, SOMA_FORMAT, soma_nowhere(), "%s: model description: longer than %d bytes", f->path,
                         SOMA_LIMIT_MODEL);
    soma_cursor c = {.arena = arena, .begin = (const unsigned char *)text};
    c.at = c.begin;
    c.end = c.begin + strlen(text);
    *json = soma_json_parse(&c);
    if (!*json && c.why)
        return soma_fail(s, SOMA_FORMAT, soma_nowhere(), "%s: model description: at letter %zu: %s", f->path, c.where,
                         c.why);
    return *json ? SOMA_OK : SOMA_MEMORY;
}

/* Neither can make a model wrong, so what cannot be read is left out. */
static soma_status read_record(soma_model *m, const soma_safetensors *f)
{
    const char *hash = soma_safetensors_text(f, RECORD_KEY), *kernels = soma_safetensors_text(f, KERNELS_KEY);
    soma_status status = SOMA_OK;
    if (hash && strlen(hash) == 16 && strspn(hash, "0123456789abcdef") == 16)
        status = soma_model_set_fingerprint(m, strtoull(hash, NULL, 16));
    if (status == SOMA_OK && kernels)
        status = soma_choices_load(m, kernels, f->path);
    return status;
}

static soma_model *build(soma *s, const soma_safetensors *f)
{
    const soma_json *json = NULL;
    soma_model *m = NULL;
    soma_arena arena;
    soma_arena_init(&arena, s);
    soma_status status = parse(s, f, &arena, &json);
    if (status == SOMA_OK) {
        const char *name = soma_json_string(soma_json_get(json, "name"));
        m = soma_model_new(s, name ? name : "model");
        status = m ? soma_model_of_json(m, json, f->path) : SOMA_MEMORY;
    }
    soma_arena_free(&arena);
    if (status == SOMA_OK)
        status = read_tensors(m, f);
    if (status == SOMA_OK)
        status = read_record(m, f);
    if (status == SOMA_OK)
        return m;
    soma_model_free(m);
    return NULL;
}

soma_model *soma_load(soma *s, const char *path)
{
    soma_safetensors f;
    if (!s || soma_safetensors_open(&f, s, path) != SOMA_OK)
        return NULL;
    soma_model *m = build(s, &f);
    soma_safetensors_close(&f);
    return m;
}
