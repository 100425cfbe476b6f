/* SPDX-License-Identifier: Apache-2.0
 *
 * io/model_file.c: soma's own model file: safetensors with the graph in the metadata under "soma.model".
 */
#include "io/model_json.h"
#include "io/safetensors.h"
#include <soma/io.h>

#include <string.h>

static soma_status write_model(soma_model *m, const char *path, json_t *metadata)
{
    soma_stored *stored = soma_alloc_array(m->s, (size_t)m->n_tensors + 1, sizeof *stored);
    const void **data = soma_alloc_array(m->s, (size_t)m->n_tensors + 1, sizeof *data);
    soma_status status = stored && data ? SOMA_OK : SOMA_MEMORY;
    int n = 0;
    for (int i = 0; i < m->n_tensors && status == SOMA_OK; i++) {
        const soma_model_tensor *t = &m->tensors[i];
        if (t->slot)
            continue; /* the optimizer's state belongs to a training, not to the model */
        stored[n] = (soma_stored){.name = t->name, .dtype = t->type.dtype, .shape = t->type.shape, .known = true};
        data[n++] = t->data;
    }
    if (status == SOMA_OK)
        status = soma_safetensors_write(m->s, path, stored, data, n, metadata);
    soma_release(m->s, stored);
    soma_release(m->s, data);
    return status;
}

soma_status soma_save(soma_model *m, const char *path)
{
    if (!m || !path)
        return SOMA_INVALID;
    if (m->graph->failed)
        return soma_fail(m->s, SOMA_STATE, soma_nowhere(), "save: the model \"%s\" was not built without mistakes", m->name);
    soma_status status = soma_model_materialize(m);
    json_t *json = status == SOMA_OK ? soma_model_to_json(m) : NULL;
    char *text = json ? json_dumps(json, JSON_COMPACT | JSON_PRESERVE_ORDER) : NULL;
    json_decref(json);
    json_t *metadata = text ? json_pack("{s:s, s:s}", "format", "soma", "soma.model", text) : NULL;
    json_free_t release;
    json_get_alloc_funcs(NULL, &release);
    if (text)
        release(text);
    if (metadata)
        status = write_model(m, path, metadata);
    else
        status = soma_fail(m->s, SOMA_MEMORY, soma_nowhere(), "%s: no memory to describe the model", path);
    json_decref(metadata);
    return status;
}

/* ---- reading ---- */

static bool same_shape(const soma_shape *a, const soma_shape *b)
{
    return a->rank == b->rank && !memcmp(a->dim, b->dim, (size_t)a->rank * sizeof a->dim[0]);
}

static soma_status copy_tensors(soma_model *m, const soma_safetensors *f, const char *path)
{
    soma_status status = SOMA_OK;
    for (int i = 0; i < m->n_tensors && status == SOMA_OK; i++) {
        soma_model_tensor *t = &m->tensors[i];
        const soma_stored *stored = soma_safetensors_find(f, t->name);
        char want[96];
        if (!stored)
            status = soma_fail(m->s, SOMA_FORMAT, soma_nowhere(), "%s: the tensor \"%s\" of the model is missing", path, t->name);
        else if (!stored->known || stored->dtype != t->type.dtype || !same_shape(&stored->shape, &t->type.shape))
            status = soma_fail(m->s, SOMA_FORMAT, soma_nowhere(), "%s: the tensor \"%s\" should be %s, but the file has %s of another shape or type",
                               path, t->name, soma_type_text(&t->type, want), stored->dtype_name);
        else
            memcpy(t->data, f->data + stored->begin, (size_t)(stored->end - stored->begin));
    }
    if (status == SOMA_OK && f->n_tensors != m->n_tensors)
        status = soma_fail(m->s, SOMA_FORMAT, soma_nowhere(), "%s: the file has %d tensors, the model in it uses %d", path,
                           f->n_tensors, m->n_tensors);
    m->version++;
    return status;
}

/* The parameters' bytes must be in the file before memory is taken for them. */
static soma_status check_sizes(const soma_model *m, const soma_safetensors *f, const char *path)
{
    uint64_t bytes = 0;
    for (int i = 0; i < m->n_tensors; i++)
        bytes += (uint64_t)soma_shape_elements(&m->tensors[i].type.shape) * soma_dtype_size(m->tensors[i].type.dtype);
    if (bytes > f->size)
        return soma_fail(m->s, SOMA_FORMAT, soma_nowhere(), "%s: the model's tensors need %llu bytes, the file has %zu", path,
                         (unsigned long long)bytes, f->size);
    return SOMA_OK;
}

static soma_model *build(soma *s, const soma_safetensors *f, const char *path)
{
    const char *text = soma_safetensors_text(f, "soma.model");
    if (!text) {
        soma_fail(s, SOMA_FORMAT, soma_nowhere(),
                  "%s: holds tensors but no model that soma wrote (metadata \"soma.model\" is missing)", path);
        return NULL;
    }
    json_error_t error;
    json_t *json = json_loads(text, JSON_REJECT_DUPLICATES, &error);
    if (!json_is_object(json)) {
        soma_fail(s, SOMA_FORMAT, soma_nowhere(), "%s: model description: not JSON: %.160s", path, error.text);
        json_decref(json);
        return NULL;
    }
    const char *name = json_string_value(json_object_get(json, "name"));
    soma_model *m = soma_model_new(s, name ? name : "model");
    soma_status status = m ? soma_model_of_json(m, json, path) : SOMA_MEMORY;
    json_decref(json);
    if (status == SOMA_OK)
        status = check_sizes(m, f, path);
    if (status == SOMA_OK) {
        m->reading = true;
        status = soma_model_materialize(m);
        m->reading = false;
    }
    if (status == SOMA_OK)
        status = copy_tensors(m, f, path);
    if (status == SOMA_OK)
        return m;
    soma_model_free(m);
    return NULL;
}

soma_model *soma_load(soma *s, const char *path)
{
    soma_safetensors f;
    if (!s || !path || soma_safetensors_open(&f, s, path) != SOMA_OK)
        return NULL;
    soma_model *m = build(s, &f, path);
    soma_safetensors_close(&f);
    return m;
}
