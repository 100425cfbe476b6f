/* SPDX-License-Identifier: Apache-2.0
 *
 * io/model_yaml.c: a description: a model, and how it wants to be trained (docs/model-files.md). Its sections are read
 * by files of their own; this one finds them. Compiled only with libyaml.
 */
#include "io/sections_yaml.h"

#include "base/file.h"
#include "base/limits.h"
#include "base/text.h"
#include "graph/graph.h"

#include <string.h>

/* ---- sections ---- */

enum {
    NAME,
    INPUT,
    INPUTS,
    BLOCKS,
    LAYERS,
    OUTPUTS,
    MODEL,
    DATA,
    TRANSFORMS,
    LOSS,
    OPTIMIZER,
    FIT,
    CALLBACKS,
    SECTIONS
};
static const char *const names[] = {
    [NAME] = "name",           [INPUT] = "input", [INPUTS] = "inputs",         [BLOCKS] = "blocks", [LAYERS] = "layers",
    [OUTPUTS] = "outputs",     [MODEL] = "model", [TRANSFORMS] = "transforms", [LOSS] = "loss",     [FIT] = "fit",
    [OPTIMIZER] = "optimizer", [DATA] = "data",   [CALLBACKS] = "callbacks",   [SECTIONS] = NULL};

typedef struct description {
    soma_architecture_fn architecture;
    soma_model *made;
    soma_recipe *recipe;
    bool trained; /* numbers were read from a file */
    const yaml_node_t *found[SECTIONS];
} description;

static soma_status unknown_section(const soma_yaml *y, const yaml_node_t *at, const char *name)
{
    static const char *const old[][2] = {
        {"train",
         "\"train\" is no section: what it said is in \"loss\", \"optimizer\" and \"fit\" (batch_size, epochs, "
         "validation_split, split_order, precision, groups)"},
        {"pictures", "\"pictures\" is no section: what it said is in \"transforms\", a list in the order in which they "
                     "are done: transforms: [resize: 256, crop: 224, flip]"}};
    for (int i = 0; i < 2; i++)
        if (!strcmp(old[i][0], name))
            return soma_fail(y->s, SOMA_INVALID, soma_yaml_place(y, at), "%s", old[i][1]);
    return soma_yaml_unknown(y, at, "section", name, soma_nearest_of(name, names));
}

/* Which sections go together. */
static soma_status check_sections(const soma_yaml *y, const yaml_node_t *root, const yaml_node_t *const found[])
{
    bool built = found[NAME] || found[INPUT] || found[INPUTS] || found[BLOCKS] || found[LAYERS] || found[OUTPUTS];
    if (found[MODEL] && built)
        return soma_fail(
            y->s, SOMA_INVALID, soma_yaml_place(y, found[MODEL]),
            "\"model\" names an architecture or a file; \"name\", \"input\" and \"layers\" are left out then");
    if (found[INPUT] && found[INPUTS])
        return soma_fail(y->s, SOMA_INVALID, soma_yaml_place(y, found[INPUTS]),
                         "\"input\" is for one input and \"inputs\" for several; give one of them");
    if (!found[MODEL] && ((!found[INPUT] && !found[INPUTS]) || !found[LAYERS]))
        return soma_fail(y->s, SOMA_INVALID, soma_yaml_place(y, root), "the section \"%s\" is missing",
                         found[INPUT] || found[INPUTS] ? "layers" : "input");
    return SOMA_OK;
}

/* Mistakes of the sections' names; all sections are found nevertheless. */
static soma_status find_sections(const soma_yaml *y, const yaml_node_t *root, const yaml_node_t *found[])
{
    soma_status status = SOMA_OK;
    if (!root || root->type != YAML_MAPPING_NODE)
        return soma_fail(y->s, SOMA_INVALID, soma_yaml_place(y, root),
                         "a model description is a mapping with \"input\" and \"layers\", or with \"model\"");
    for (yaml_node_pair_t *p = root->data.mapping.pairs.start; p < root->data.mapping.pairs.top; p++) {
        const yaml_node_t *name = soma_yaml_node(y, p->key);
        const char *text = soma_yaml_text(name);
        int i = 0;
        while (names[i] && (!text || strcmp(names[i], text)))
            i++;
        if (!text)
            status = soma_yaml_nameless(y, name, "a section");
        else if (!names[i])
            status = unknown_section(y, name, text);
        else if (found[i])
            status = soma_fail(y->s, SOMA_INVALID, soma_yaml_place(y, name), "the section \"%s\" stands here twice",
                               names[i]);
        else
            found[i] = soma_yaml_node(y, p->value);
    }
    return status ? status : check_sections(y, root, found);
}

/* ---- models ---- */

static soma_status build_layers(soma_yaml *y, description *d)
{
    const yaml_node_t *const *found = d->found;
    const char *name = found[NAME] ? soma_yaml_text(found[NAME]) : "model";
    if (!name || !name[0])
        return soma_fail(y->s, SOMA_INVALID, soma_yaml_place(y, found[NAME]), "\"name\" takes one word");
    soma_model *m = d->made = soma_model_new(y->s, name);
    char *path = m ? soma_arena_text(&m->arena, y->path) : NULL;
    if (!path)
        return SOMA_MEMORY;
    y->path = path;
    const soma_yaml_layers layers = {found[INPUT], found[INPUTS], found[BLOCKS], found[LAYERS], found[OUTPUTS]};
    soma_status status = soma_yaml_build(y, &layers, m);
    return m->graph->failed ? soma_error_status(y->s) : status;
}

static const soma_field model_fields[] = {
    SOMA_TEXT(soma_architecture, name, NULL, ANY),     SOMA_INT(soma_architecture, classes, 0, AT_LEAST(1)),
    SOMA_FLOAT(soma_architecture, width, 0, ABOVE(0)), SOMA_INTS(soma_architecture, input, 0, AT_LEAST(1)),
    SOMA_TEXT(soma_architecture, weights, NULL, ANY),  SOMA_TEXT(soma_architecture, layout, NULL, ANY),
    SOMA_TEXT(soma_architecture, map, NULL, ANY),      SOMA_BOOL(soma_architecture, partial, ANY),
    SOMA_BOOL(soma_architecture, new_head, ANY),       SOMA_TEXT(soma_architecture, shortcut, NULL, ANY),
    SOMA_TEXT(soma_architecture, stride, NULL, ANY),   SOMA_TEXT(soma_architecture, pooling, NULL, ANY),
    SOMA_TEXT(soma_architecture, dialect, NULL, ANY),  SOMA_FIELDS_END};

/* "resnet18", or a mapping with its options. */
static soma_status build_architecture(soma_yaml *y, description *d)
{
    const yaml_node_t *node = d->found[MODEL];
    soma_architecture a = {.at = soma_yaml_place(y, node), .name = soma_yaml_text(node)};
    soma_status status = a.name ? SOMA_OK : soma_yaml_options(y, node, "model", model_fields, NULL, &a);
    if (status == SOMA_OK && (!a.name || !a.name[0]))
        return soma_fail(y->s, SOMA_INVALID, a.at, "\"model\" needs a \"name\", such as resnet18");
    d->made = status == SOMA_OK ? d->architecture(y->s, &a) : NULL;
    size_t n = a.name ? strlen(a.name) : 0;
    d->trained = (a.weights || (n > 12 && !strcmp(a.name + n - 12, ".safetensors"))) && !a.new_head;
    return d->made ? SOMA_OK : soma_error_status(y->s) ? soma_error_status(y->s) : SOMA_MEMORY;
}

/* ---- the whole ---- */

static soma_status read_section(const soma_yaml *y, description *d, int section)
{
    const yaml_node_t *node = d->found[section];
    if (section == TRANSFORMS) /* without it too: the model's own */
        return soma_yaml_transforms(y, node, d->made, d->recipe);
    if (!node)
        return SOMA_OK;
    return section == DATA        ? soma_yaml_data(y, node, d->made, d->recipe)
           : section == LOSS      ? soma_yaml_loss(y, node, d->recipe)
           : section == CALLBACKS ? soma_yaml_callbacks(y, node)
           : section == OPTIMIZER ? soma_yaml_optimizer(y, node, d->recipe)
                                  : soma_yaml_fit(y, node, d->made, d->recipe);
}

/* All sections are read even where one is wrong: of several mistakes the one that stands first in the file is told,
 * whatever the order in which sections need each other. */
static soma_status describe(soma_yaml *y, void *context)
{
    description *d = context;
    const yaml_node_t *const *found = d->found;
    soma_mistake first = {SOMA_OK, {NULL, 0}, ""};
    soma_status status = find_sections(y, yaml_document_get_root_node(y->doc), d->found), last = SOMA_OK;
    soma_mistake_take(y->s, &first);
    bool built = found[NAME] || found[INPUT] || found[INPUTS] || found[LAYERS];
    if (found[MODEL] ? !built : (found[INPUT] || found[INPUTS]) && found[LAYERS])
        last = found[MODEL] ? build_architecture(y, d) : build_layers(y, d);
    status = status ? status : last;
    soma_mistake_take(y->s, &first);
    for (int i = DATA; i < SECTIONS && status != SOMA_MEMORY; i++) {
        last = read_section(y, d, i);
        status = status ? status : last;
        soma_mistake_take(y->s, &first);
    }
    return first.status == SOMA_OK ? status : soma_mistake_put(y->s, &first);
}

soma_model *soma_describe(soma *s, const char *path, soma_recipe *recipe, soma_architecture_fn architecture)
{
    void *bytes;
    size_t size;
    soma_recipe ignored;
    soma_arena arena;
    recipe = recipe ? recipe : &ignored;
    memset(recipe, 0, sizeof *recipe);
    if (!s || soma_failed(s) || soma_file_read(s, path, SOMA_LIMIT_YAML, &bytes, &size) != SOMA_OK)
        return NULL;
    soma_arena_init(&arena, s);
    description d = {.architecture = architecture, .recipe = recipe};
    soma_yaml y = {.s = s, .path = path, .arena = &arena};
    if (soma_yaml_parse(&y, bytes, size, describe, &d)) {
        soma_model_free(d.made);
        memset(recipe, 0, sizeof *recipe);
        d.made = NULL;
    } else {
        recipe->trained = d.trained;
    }
    soma_arena_free(&arena);
    soma_release(s, bytes);
    return d.made;
}
