/* SPDX-License-Identifier: Apache-2.0
 *
 * io/model_yaml.c: a model described as a list of layers (docs/model-files.md). Keys are tables: a key that is not in
 * one is an error that names the nearest. Compiled only with libyaml.
 */
#include "base/file.h"
#include "base/limits.h"
#include "base/text.h"
#include "base/words.h"
#include "base/zero.h"
#include "data/dataset.h"
#include "graph/graph.h"
#include "compile/plan.h"
#include "io/description.h"
#include "io/keys_yaml.h"
#include "nn/nn.h"
#include <soma/io.h>

#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <yaml.h>

typedef soma_field key;

/* ---- walking the document ---- */

typedef struct reader {
    soma *s;
    const char *path; /* the caller's, and from the moment there is a model a copy that lives with it */
    yaml_document_t *doc;
    soma_arena arena; /* texts that option structs point to while building */
    soma_architecture_fn architecture;
    bool trained; /* numbers were read from a file */
} reader;

static soma_at place(const reader *r, const yaml_node_t *node)
{
    return soma_line_of(r->path, node ? (int)node->start_mark.line + 1 : 1);
}

static const char *scalar(const yaml_node_t *node)
{
    return node && node->type == YAML_SCALAR_NODE ? (const char *)node->data.scalar.value : NULL;
}

static yaml_node_t *node_at(const reader *r, int index)
{
    return yaml_document_get_node(r->doc, index);
}

static const char *key_name(const void *keys, int index)
{
    return ((const key *)keys)[index].name;
}

static const char *layer_name(const void *list, int index)
{
    return ((const soma_yaml_layer *)list)[index].name;
}

static soma_status unknown(reader *r, const yaml_node_t *at, const char *what, const char *name, const char *near)
{
    return soma_fail(r->s, SOMA_INVALID, place(r, at), "there is no %s \"%.100s\"%s%s%s", what, name,
                     near ? "; did you mean \"" : "", near ? near : "", near ? "\"?" : "");
}

static soma_status nameless(reader *r, const yaml_node_t *at, const char *what)
{
    return soma_fail(r->s, SOMA_INVALID, place(r, at), "the name of %s is a word, but here is a %s", what,
                     at->type == YAML_SEQUENCE_NODE ? "list" : "mapping");
}

/* One value, or a list of them, into an option struct. */
static soma_status read_value(reader *r, const key *k, const yaml_node_t *value, void *options)
{
    char reason[SOMA_REASON_MAX] = "";
    const soma_field_reader how = {.asked = true, .arena = &r->arena, .reason = reason};
    const char *texts[16];
    int n = 0;
    bool listed = k->type != SOMA_FIELD_BOOL && k->type != SOMA_FIELD_TEXT && k->type != SOMA_FIELD_KIND;
    bool right = value->type == YAML_SCALAR_NODE || (listed && value->type == YAML_SEQUENCE_NODE);
    if (scalar(value))
        texts[n++] = scalar(value);
    for (yaml_node_item_t *i = value->type == YAML_SEQUENCE_NODE ? value->data.sequence.items.start : NULL;
         i && i < value->data.sequence.items.top && right; i++) {
        right = n < 16 && scalar(node_at(r, *i));
        texts[n < 15 ? n : 15] = scalar(node_at(r, *i));
        n++;
    }
    if (!right)
        return soma_fail(r->s, SOMA_INVALID, place(r, value), "\"%s\" takes %s", k->name,
                         soma_field_takes(k, reason, sizeof reason));
    soma_status status = soma_field_read(&how, k, options, texts, n);
    return status == SOMA_INVALID ? soma_fail(r->s, SOMA_INVALID, place(r, value), "%s", reason) : status;
}

/* The key that `name` names; NULL after telling what is wrong with it. seen: of the keys in their order, for keys that
 * stand there twice (at most 32). */
static const key *find_key(reader *r, const yaml_node_t *name, const char *what, const key *keys, uint32_t *seen)
{
    char kind[64];
    snprintf(kind, sizeof kind, scalar(name) ? "option of %s called" : "an option of %s", what);
    if (!scalar(name)) {
        nameless(r, name, kind);
        return NULL;
    }
    const key *k = soma_field_find(keys, scalar(name));
    if (!k) {
        unknown(r, name, kind, scalar(name), soma_nearest(scalar(name), key_name, keys));
        return NULL;
    }
    uint32_t bit = UINT32_C(1) << (k - keys);
    if (*seen & bit) {
        soma_fail(r->s, SOMA_INVALID, place(r, name), "the option \"%s\" of %s stands here twice", k->name, what);
        return NULL;
    }
    for (int i = 0; keys[i].name; i++) /* {height, width} or the shorter side: one place for both */
        if (*seen & UINT32_C(1) << i && k->type != SOMA_FIELD_OTHER && keys[i].type != SOMA_FIELD_OTHER &&
            keys[i].offset == k->offset) {
            soma_fail(r->s, SOMA_INVALID, place(r, name), "\"%s\" and \"%s\" of %s say one thing in two ways; give one",
                      keys[i].name, k->name, what);
            return NULL;
        }
    *seen |= bit;
    return k;
}

/* A mapping into an option struct. what: "conv2d" for sentences. */
static soma_status read_keys(reader *r, const yaml_node_t *map, const char *what, const key *keys, void *options)
{
    uint32_t seen = 0;
    if (map->type == YAML_SCALAR_NODE && !scalar(map)[0])
        return SOMA_OK; /* "- flatten:" */
    if (map->type != YAML_MAPPING_NODE)
        return soma_fail(r->s, SOMA_INVALID, place(r, map), "%s takes a mapping of options, such as {name: value}",
                         what);
    for (yaml_node_pair_t *p = map->data.mapping.pairs.start; p < map->data.mapping.pairs.top; p++) {
        const key *k = find_key(r, node_at(r, p->key), what, keys, &seen);
        if (!k || read_value(r, k, node_at(r, p->value), options) != SOMA_OK)
            return soma_error_status(r->s);
    }
    return SOMA_OK;
}

/* Does the key stand in the mapping? */
static bool says(const reader *r, const yaml_node_t *map, const char *name)
{
    for (yaml_node_pair_t *p = map->data.mapping.pairs.start;
         map->type == YAML_MAPPING_NODE && p < map->data.mapping.pairs.top; p++) {
        const char *text = scalar(node_at(r, p->key));
        if (text && !strcmp(text, name))
            return true;
    }
    return false;
}

/* "flatten" or {conv2d: {filters: 32}}. */
static soma_status read_layer(reader *r, const yaml_node_t *node, soma_value *x)
{
    const yaml_node_t *name = node, *options = NULL;
    if (node->type == YAML_MAPPING_NODE && node->data.mapping.pairs.top - node->data.mapping.pairs.start == 1) {
        name = node_at(r, node->data.mapping.pairs.start->key);
        options = node_at(r, node->data.mapping.pairs.start->value);
    }
    if (!scalar(name))
        return soma_fail(r->s, SOMA_INVALID, place(r, node),
                         "a layer is a name, or one name with options: - conv2d: {filters: 32, kernel: 3}");
    _Alignas(16) char bytes[1024] = {0};
    const soma_kind *kind = soma_kind_find(&soma_layers, scalar(name));
    const soma_yaml_layer *l = soma_yaml_layers;
    while (!kind && l->name && strcmp(l->name, scalar(name)))
        l++;
    if (!kind && !l->name) {
        const char *near = soma_nearest(scalar(name), layer_name, soma_yaml_layers);
        return unknown(r, name, "layer", scalar(name), near ? near : soma_kind_nearest(&soma_layers, scalar(name)));
    }
    soma_yaml_bare *head = (soma_yaml_bare *)(void *)bytes;
    head->struct_size = kind ? kind->options_size : l->size;
    head->at = place(r, name);
    const char *called = kind ? kind->name : l->name;
    soma_status status = options ? read_keys(r, options, called, kind ? kind->fields : l->keys, bytes) : SOMA_OK;
    if (status == SOMA_OK) {
        ((soma_yaml_x *)(void *)bytes)->x = *x;
        *x = kind ? soma_layer_with((const soma_layer_kind *)(const void *)kind, bytes) : l->build(*x, bytes);
        status = soma_ok(*x) ? SOMA_OK : soma_error_status(r->s);
    }
    return status;
}

static soma_status read_layers(reader *r, const yaml_node_t *list, soma_value *x)
{
    if (list->type != YAML_SEQUENCE_NODE || list->data.sequence.items.start == list->data.sequence.items.top)
        return soma_fail(r->s, SOMA_INVALID, place(r, list), "\"layers\" takes a list of at least one layer");
    soma_status status = SOMA_OK;
    for (yaml_node_item_t *i = list->data.sequence.items.start; i < list->data.sequence.items.top && status == SOMA_OK;
         i++)
        status = read_layer(r, node_at(r, *i), x);
    return status;
}

static soma_status read_input(reader *r, const yaml_node_t *node, soma_model *m, soma_value *x)
{
    soma_shape shape = {.rank = 0};
    bool right = node->type == YAML_SEQUENCE_NODE;
    for (yaml_node_item_t *i = right ? node->data.sequence.items.start : NULL;
         right && i < node->data.sequence.items.top; i++) {
        const char *text = scalar(node_at(r, *i));
        right = text && shape.rank < SOMA_MAX_RANK - 1 && soma_parse_i64(text, &shape.dim[shape.rank++]);
    }
    if (!right || shape.rank == 0)
        return soma_fail(r->s, SOMA_INVALID, place(r, node),
                         "\"input\" takes the shape of one sample, such as [1, 28, 28]");
    soma_input_options o = {.struct_size = sizeof o, .at = place(r, node), .shape = shape};
    *x = soma_input_with(m, "x", SOMA_F32, &o);
    return soma_ok(*x) ? SOMA_OK : soma_error_status(r->s);
}

/* ---- the train section ---- */

static soma_status read_optimizer(reader *r, const yaml_node_t *node, soma_recipe *recipe)
{
    static const char *const names[] = {"sgd", "adam", NULL};
    const yaml_node_t *name = node, *options = NULL;
    if (node->type == YAML_MAPPING_NODE && node->data.mapping.pairs.top - node->data.mapping.pairs.start == 1) {
        name = node_at(r, node->data.mapping.pairs.start->key);
        options = node_at(r, node->data.mapping.pairs.start->value);
    }
    soma_sgd_options sgd = {.struct_size = sizeof sgd, .at = place(r, node)};
    soma_adam_options adam = {.struct_size = sizeof adam, .at = place(r, node)};
    soma_status status = SOMA_OK;
    if (scalar(name) && !strcmp(scalar(name), "sgd")) {
        status = options ? read_keys(r, options, "sgd", soma_sgd_keys, &sgd) : SOMA_OK;
        recipe->optimizer = soma_sgd_with(&sgd);
    } else if (scalar(name) && !strcmp(scalar(name), "adam")) {
        status = options ? read_keys(r, options, "adam", soma_adam_keys, &adam) : SOMA_OK;
        recipe->optimizer = soma_adam_with(&adam);
    } else if (scalar(name)) {
        status = unknown(r, name, "optimizer", scalar(name), soma_nearest_of(scalar(name), names));
    } else {
        status = soma_fail(r->s, SOMA_INVALID, place(r, node),
                           "\"optimizer\" takes sgd or adam, or one of them with options: adam: {lr: 0.001}");
    }
    return status;
}

static soma_status read_group(reader *r, const yaml_node_t *node, soma_model *m, soma_recipe *recipe)
{
    soma_param_group group = {0};
    if (recipe->n_groups == SOMA_RECIPE_GROUPS)
        return soma_fail(r->s, SOMA_INVALID, place(r, node), "\"groups\" takes at most %d groups", SOMA_RECIPE_GROUPS);
    soma_status status = read_keys(r, node, "a group", soma_group_keys, &group);
    if (status == SOMA_OK && !group.pattern)
        return soma_fail(r->s, SOMA_INVALID, place(r, node), "a group needs a \"pattern\", such as features.*");
    if (status == SOMA_OK && says(r, node, "frozen") && !group.frozen)
        group.trained = true;
    else if (status == SOMA_OK && says(r, node, "trained") && !group.trained)
        group.frozen = true;
    if (status == SOMA_OK && says(r, node, "no_weight_decay") && !group.no_weight_decay)
        return soma_fail(r->s, SOMA_INVALID, place(r, node),
                         "\"no_weight_decay\" takes true; leave it out, or give \"weight_decay\" a number");
    group.pattern = status == SOMA_OK ? soma_arena_text(m ? &m->arena : &r->arena, group.pattern) : NULL;
    if (group.pattern)
        recipe->groups[recipe->n_groups++] = group;
    return group.pattern || status != SOMA_OK ? status : SOMA_MEMORY;
}

static soma_status read_groups(reader *r, const yaml_node_t *list, soma_model *m, soma_recipe *recipe)
{
    soma_status status = SOMA_OK;
    if (list->type != YAML_SEQUENCE_NODE)
        return soma_fail(r->s, SOMA_INVALID, place(r, list),
                         "\"groups\" takes a list of mappings, such as - {pattern: features, frozen: true}");
    for (yaml_node_item_t *i = list->data.sequence.items.start; i < list->data.sequence.items.top && status == SOMA_OK;
         i++)
        status = read_group(r, node_at(r, *i), m, recipe);
    return status;
}

typedef struct train_numbers {
    int64_t batch_size, epochs;
    double validation_split;
    const char *loss, *precision, *split_order;
} train_numbers;

static soma_status check_train(reader *r, const yaml_node_t *map, const train_numbers *n)
{
    const char *near = NULL;
    if (n->loss && !soma_loss_known(n->loss, &near))
        return unknown(r, map, "loss", n->loss, near);
    if (n->precision && !soma_one_of(n->precision, soma_precisions))
        return unknown(r, map, "precision", n->precision, soma_nearest_of(n->precision, soma_precisions));
    if (n->split_order && !soma_one_of(n->split_order, soma_split_orders))
        return unknown(r, map, "split_order", n->split_order, soma_nearest_of(n->split_order, soma_split_orders));
    return SOMA_OK;
}

static soma_status read_train(reader *r, const yaml_node_t *map, soma_model *m, soma_recipe *recipe)
{
    static const key keys[] = {SOMA_INT(train_numbers, batch_size, 0, AT_LEAST(1)),
                               SOMA_INT(train_numbers, epochs, 0, AT_LEAST(1)),
                               SOMA_FLOAT(train_numbers, validation_split, 0, BELOW(0, 1)),
                               SOMA_TEXT(train_numbers, loss, NULL, ANY),
                               SOMA_TEXT(train_numbers, precision, NULL, ANY),
                               SOMA_TEXT(train_numbers, split_order, NULL, ANY),
                               {.name = "optimizer", .type = SOMA_FIELD_OTHER},
                               {.name = "groups", .type = SOMA_FIELD_OTHER},
                               SOMA_FIELDS_END};
    train_numbers n = {0};
    uint32_t seen = 0;
    if (map->type != YAML_MAPPING_NODE)
        return soma_fail(r->s, SOMA_INVALID, place(r, map), "\"train\" takes a mapping");
    for (yaml_node_pair_t *p = map->data.mapping.pairs.start; p < map->data.mapping.pairs.top; p++) {
        const yaml_node_t *value = node_at(r, p->value);
        const key *k = find_key(r, node_at(r, p->key), "train", keys, &seen);
        soma_status status = !k                            ? soma_error_status(r->s)
                             : k->type != SOMA_FIELD_OTHER ? read_value(r, k, value, &n)
                             : !strcmp(k->name, "groups")  ? read_groups(r, value, m, recipe)
                                                           : read_optimizer(r, value, recipe);
        if (status == SOMA_OK)
            status = check_train(r, value, &n);
        if (status != SOMA_OK)
            return status;
    }
    recipe->batch_size = n.batch_size;
    recipe->epochs = n.epochs;
    recipe->validation_split = soma_plain(n.validation_split);
    if (n.loss)
        snprintf(recipe->loss, sizeof recipe->loss, "%s", n.loss);
    if (n.split_order)
        snprintf(recipe->split_order, sizeof recipe->split_order, "%s", n.split_order);
    if (n.precision)
        snprintf(recipe->precision, sizeof recipe->precision, "%s", n.precision);
    return SOMA_OK;
}

/* ---- the document ---- */

typedef struct sections {
    const yaml_node_t *name, *input, *layers, *model, *pictures, *train;
} sections;

/* Mistakes of the sections' names; all sections are found nevertheless. */
static soma_status find_sections(reader *r, const yaml_node_t *root, sections *found)
{
    soma_status status = SOMA_OK;
    static const char *const names[] = {"name", "input", "layers", "model", "pictures", "train", NULL};
    if (!root || root->type != YAML_MAPPING_NODE)
        return soma_fail(r->s, SOMA_INVALID, place(r, root),
                         "a model description is a mapping with \"input\" and \"layers\", or with \"model\"");
    for (yaml_node_pair_t *p = root->data.mapping.pairs.start; p < root->data.mapping.pairs.top; p++) {
        const yaml_node_t *name = node_at(r, p->key), *value = node_at(r, p->value);
        const yaml_node_t **slots[] = {&found->name,  &found->input,    &found->layers,
                                       &found->model, &found->pictures, &found->train};
        int i = 0;
        while (names[i] && (!scalar(name) || strcmp(names[i], scalar(name))))
            i++;
        if (!scalar(name))
            status = nameless(r, name, "a section");
        else if (!names[i])
            status = unknown(r, name, "section", scalar(name), soma_nearest_of(scalar(name), names));
        else if (*slots[i])
            status = soma_fail(r->s, SOMA_INVALID, place(r, name), "the section \"%s\" stands here twice", names[i]);
        else
            *slots[i] = value;
    }
    if (status != SOMA_OK)
        return status;
    if (found->model && (found->name || found->input || found->layers))
        return soma_fail(
            r->s, SOMA_INVALID, place(r, found->model),
            "\"model\" names an architecture or a file; \"name\", \"input\" and \"layers\" are left out then");
    if (!found->model && (!found->input || !found->layers))
        return soma_fail(r->s, SOMA_INVALID, place(r, root), "the section \"%s\" is missing",
                         found->input ? "layers" : "input");
    return SOMA_OK;
}

static soma_status build_layers(reader *r, const sections *found, soma_model **made)
{
    if (found->name && (!scalar(found->name) || !scalar(found->name)[0]))
        return soma_fail(r->s, SOMA_INVALID, place(r, found->name), "\"name\" takes one word");
    soma_model *m = *made = soma_model_new(r->s, found->name ? scalar(found->name) : "model");
    char *path = m ? soma_arena_text(&m->arena, r->path) : NULL;
    if (!path)
        return SOMA_MEMORY;
    r->path = path;
    soma_value x = soma_none();
    soma_status status = read_input(r, found->input, m, &x);
    if (status == SOMA_OK)
        status = read_layers(r, found->layers, &x);
    if (status == SOMA_OK)
        soma_output_at(m, "y", x, place(r, found->layers));
    return m->graph->failed ? soma_error_status(r->s) : status;
}

/* "resnet18", or a mapping with its options. */
static soma_status build_architecture(reader *r, const yaml_node_t *node, soma_model **made)
{
    static const key keys[] = {
        SOMA_TEXT(soma_architecture, name, NULL, ANY),     SOMA_INT(soma_architecture, classes, 0, AT_LEAST(1)),
        SOMA_FLOAT(soma_architecture, width, 0, ABOVE(0)), SOMA_INTS(soma_architecture, input, 0, AT_LEAST(1)),
        SOMA_TEXT(soma_architecture, weights, NULL, ANY),  SOMA_TEXT(soma_architecture, layout, NULL, ANY),
        SOMA_TEXT(soma_architecture, map, NULL, ANY),      SOMA_BOOL(soma_architecture, partial, ANY),
        SOMA_BOOL(soma_architecture, new_head, ANY),       SOMA_TEXT(soma_architecture, shortcut, NULL, ANY),
        SOMA_TEXT(soma_architecture, stride, NULL, ANY),   SOMA_TEXT(soma_architecture, pooling, NULL, ANY),
        SOMA_TEXT(soma_architecture, dialect, NULL, ANY),  SOMA_FIELDS_END};
    soma_architecture a = {.at = place(r, node), .name = scalar(node)};
    soma_status status = a.name ? SOMA_OK : read_keys(r, node, "model", keys, &a);
    if (status == SOMA_OK && (!a.name || !a.name[0]))
        return soma_fail(r->s, SOMA_INVALID, place(r, node), "\"model\" needs a \"name\", such as resnet18");
    *made = status == SOMA_OK ? r->architecture(r->s, &a) : NULL;
    size_t n = a.name ? strlen(a.name) : 0;
    r->trained = (a.weights || (n > 12 && !strcmp(a.name + n - 12, ".safetensors"))) && !a.new_head;
    return *made ? SOMA_OK : soma_error_status(r->s) ? soma_error_status(r->s) : SOMA_MEMORY;
}

/* What a description leaves open of pictures is as the model that it names was trained. */
static void complete_transform(const reader *r, const yaml_node_t *pictures, const soma_model *m, soma_transform *said)
{
    soma_transform base = soma_model_transform(m);
    if (!said->resize[0])
        memcpy(said->resize, base.resize, sizeof said->resize);
    if (!said->crop[0])
        memcpy(said->crop, base.crop, sizeof said->crop);
    if (said->scale == 0)
        said->scale = base.scale;
    if (said->mean[0] == 0)
        memcpy(said->mean, base.mean, sizeof said->mean);
    if (said->deviation[0] == 0)
        memcpy(said->deviation, base.deviation, sizeof said->deviation);
    if (!pictures || !says(r, pictures, "bgr"))
        said->bgr = base.bgr;
    if (!pictures || !says(r, pictures, "invert"))
        said->invert = base.invert;
    said->has_background = base.has_background;
    said->background = base.background;
}

/* One mean and one deviation for all, or one a channel of the model's input. */
static soma_status check_channels(reader *r, const yaml_node_t *map, const soma_model *m)
{
    soma_shape x = soma_value_type(soma_model_input(m, 0)).shape;
    for (yaml_node_pair_t *p = map->data.mapping.pairs.start; p < map->data.mapping.pairs.top && x.rank == 4; p++) {
        const char *name = scalar(node_at(r, p->key));
        const yaml_node_t *list = node_at(r, p->value);
        bool right = (strcmp(name, "mean") && strcmp(name, "deviation")) || list->type != YAML_SEQUENCE_NODE;
        int n = right ? 1 : (int)(list->data.sequence.items.top - list->data.sequence.items.start);
        if (n != 1 && n != x.dim[1])
            return soma_fail(r->s, SOMA_INVALID, place(r, list),
                             "\"%s\" has %d numbers, but the model's input has %" PRId64
                             " channel%s; give one for all, or one a channel",
                             name, n, x.dim[1], x.dim[1] == 1 ? "" : "s");
    }
    return SOMA_OK;
}

/* All sections are read even where one is wrong: of several mistakes the one that stands first in the file is told,
 * whatever the order in which sections need each other. */
static soma_status build(reader *r, soma_model **made, soma_recipe *recipe)
{
    sections found = {NULL, NULL, NULL, NULL, NULL, NULL};
    soma_mistake first = {SOMA_OK, {NULL, 0}, ""};
    soma_status status = find_sections(r, yaml_document_get_root_node(r->doc), &found);
    soma_mistake_take(r->s, &first);
    if (found.model ? !found.name && !found.input && !found.layers : found.input && found.layers) {
        soma_status made_it = found.model ? build_architecture(r, found.model, made) : build_layers(r, &found, made);
        status = status == SOMA_OK ? made_it : status;
        soma_mistake_take(r->s, &first);
    }
    if (status != SOMA_MEMORY && found.pictures)
        status = read_keys(r, found.pictures, "pictures", soma_picture_keys, recipe);
    if (status == SOMA_OK && *made && found.pictures && found.pictures->type == YAML_MAPPING_NODE)
        status = check_channels(r, found.pictures, *made);
    if (status == SOMA_OK && *made)
        complete_transform(r, found.pictures, *made, &recipe->transform);
    soma_mistake_take(r->s, &first);
    if (status != SOMA_MEMORY && found.train)
        status = read_train(r, found.train, *made, recipe);
    soma_mistake_take(r->s, &first);
    return first.status == SOMA_OK ? status : soma_mistake_put(r->s, &first);
}

static soma_status no_memory(reader *r)
{
    return soma_fail(r->s, SOMA_MEMORY, soma_nowhere(), "%s: no memory to read it", r->path);
}

static soma_status not_yaml(reader *r, const yaml_parser_t *parser)
{
    if (parser->error == YAML_MEMORY_ERROR)
        return no_memory(r);
    const char *problem = parser->problem ? parser->problem : "unreadable";
    return soma_fail(r->s, SOMA_FORMAT, soma_line_of(r->path, (int)parser->problem_mark.line + 1),
                     "this is not YAML: %s%s", problem,
                     strstr(problem, "cannot start any token") ? " (a tab? YAML is indented with spaces)" : "");
}

/* A first look: mistakes of YAML, depth (libyaml takes quadratic time for it), more than one document. */
static soma_status check_events(reader *r, yaml_parser_t *parser)
{
    int depth = 0, documents = 0;
    soma_status status = SOMA_OK;
    for (bool over = false; !over && status == SOMA_OK;) {
        yaml_event_t event;
        if (!yaml_parser_parse(parser, &event))
            return not_yaml(r, parser);
        soma_at at = soma_line_of(r->path, (int)event.start_mark.line + 1);
        bool opens = event.type == YAML_SEQUENCE_START_EVENT || event.type == YAML_MAPPING_START_EVENT;
        bool closes = event.type == YAML_SEQUENCE_END_EVENT || event.type == YAML_MAPPING_END_EVENT;
        depth += opens - closes;
        documents += event.type == YAML_DOCUMENT_START_EVENT;
        over = event.type == YAML_STREAM_END_EVENT;
        if (depth > SOMA_LIMIT_DEPTH)
            status = soma_fail(r->s, SOMA_FORMAT, at, "it is nested deeper than %d", SOMA_LIMIT_DEPTH);
        else if (documents > 1)
            status = soma_fail(r->s, SOMA_INVALID, at, "a second document begins here, but a description is one");
        yaml_event_delete(&event);
    }
    return status;
}

static soma_status load_document(reader *r, yaml_parser_t *parser, soma_model **m, soma_recipe *recipe)
{
    yaml_document_t doc;
    if (!yaml_parser_load(parser, &doc))
        return not_yaml(r, parser); /* an alias of nothing */
    r->doc = &doc;
    soma_status status = build(r, m, recipe);
    yaml_document_delete(&doc);
    return status;
}

static soma_status parse(reader *r, const void *bytes, size_t size, soma_model **m, soma_recipe *recipe)
{
    soma_status status = SOMA_OK;
    for (int pass = 0; pass < 2 && status == SOMA_OK; pass++) {
        yaml_parser_t parser;
        if (!yaml_parser_initialize(&parser))
            return no_memory(r);
        yaml_parser_set_input_string(&parser, bytes, size);
        status = pass == 0 ? check_events(r, &parser) : load_document(r, &parser, m, recipe);
        yaml_parser_delete(&parser);
    }
    return status;
}

soma_model *soma_describe(soma *s, const char *path, soma_recipe *recipe, soma_architecture_fn architecture)
{
    void *bytes;
    size_t size;
    soma_recipe ignored;
    soma_model *m = NULL;
    recipe = recipe ? recipe : &ignored;
    memset(recipe, 0, sizeof *recipe);
    if (!s || soma_failed(s) || soma_file_read(s, path, SOMA_LIMIT_YAML, &bytes, &size) != SOMA_OK)
        return NULL;
    reader r = {.s = s, .path = path, .architecture = architecture};
    soma_arena_init(&r.arena, s);
    soma_status status = parse(&r, bytes, size, &m, recipe);
    recipe->trained = r.trained;
    if (status != SOMA_OK) {
        soma_model_free(m);
        memset(recipe, 0, sizeof *recipe);
        m = NULL;
    }
    soma_arena_free(&r.arena);
    soma_release(s, bytes);
    return m;
}
