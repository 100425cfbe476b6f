/* SPDX-License-Identifier: Apache-2.0
 *
 * zoo/description.c: models that a description names: an architecture or a saved model, with weights and a new head.
 */
#include "base/context.h"

#include "io/description.h"
#include "zoo/zoo.h"

#include <string.h>
#include <strings.h>

/* One that is there, or a name that can only be meant so. */
static bool is_file(soma *s, const char *name)
{
    size_t n = strlen(name);
    int handle = s->files.open(s->files.user, name, false);
    if (handle >= 0)
        s->files.close(s->files.user, handle);
    return handle >= 0 || strchr(name, '/') || (n > 12 && !strcasecmp(name + n - 12, ".safetensors"));
}

static soma_model *saved(soma *s, const soma_architecture *a)
{
    soma_model *m = NULL;
    bool chosen = a->shortcut || a->stride || a->pooling || a->dialect;
    if (a->width > 0 || a->input[0] || chosen || (a->new_head != (a->classes > 0)))
        soma_fail(s, SOMA_INVALID, a->at,
                  "the file %.200s says its input and width itself; classes and new_head go together there", a->name);
    else
        m = soma_load(s, a->name);
    soma_model *other = m && a->new_head ? soma_replace_head_at(m, a->classes, a->at) : m;
    if (other != m)
        soma_model_free(m);
    return other;
}

static soma_status load(soma_model *m, const soma_architecture *a, const soma_rename *names)
{
    soma_load_weights_options o = {.struct_size = sizeof o,
                                   .at = a->at,
                                   .path = a->weights,
                                   .layout = a->layout,
                                   .map = a->map ? NULL : names,
                                   .map_file = a->map,
                                   .partial = a->partial,
                                   .new_head = a->new_head};
    while (o.map && o.map[o.n_map].from)
        o.n_map++;
    return soma_load_weights_with(m, &o);
}

static soma_model *architecture(soma *s, const soma_architecture *a)
{
    const soma_zoo_entry *entry = soma_zoo_find(a->name);
    soma_zoo_options o = {.struct_size = sizeof o,
                          .at = a->at,
                          .name = a->name,
                          .classes = a->classes,
                          .width = a->width,
                          .shortcut = a->shortcut,
                          .stride = a->stride,
                          .pooling = a->pooling,
                          .dialect = a->dialect};
    if (a->input[0])
        o.input = SOMA_SHAPE(a->input[0], a->input[1], a->input[2]);
    soma_model *m = !entry && is_file(s, a->name) ? saved(s, a) : soma_zoo_with(s, &o);
    if (!m || !a->weights || load(m, a, entry ? entry->names : NULL) == SOMA_OK)
        return m;
    soma_model_free(m);
    return NULL;
}

soma_model *soma_model_from_yaml(soma *s, const char *path, soma_recipe *recipe)
{
    return soma_describe(s, path, recipe, architecture);
}
