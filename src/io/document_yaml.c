/* SPDX-License-Identifier: Apache-2.0
 *
 * io/document_yaml.c: walking a YAML document. Keys are fields (base/fields.h): one that is none is an error that names
 * the nearest. Knows no models. Compiled only with libyaml.
 */
#include "io/document_yaml.h"

#include "base/limits.h"
#include "base/text.h"
#include "base/words.h"

#include <stdio.h>
#include <string.h>

soma_at soma_yaml_place(const soma_yaml *y, const yaml_node_t *node)
{
    return soma_line_of(y->path, node ? (int)node->start_mark.line + 1 : 1);
}

const char *soma_yaml_text(const yaml_node_t *node)
{
    return node && node->type == YAML_SCALAR_NODE ? (const char *)node->data.scalar.value : NULL;
}

/* ---- parameters of blocks ---- */

/* NAME of a plain $NAME; NULL: the node is something else. */
static const char *parameter(const yaml_node_t *node)
{
    const char *text = soma_yaml_text(node);
    return text && text[0] == '$' && node->data.scalar.style == YAML_PLAIN_SCALAR_STYLE ? text + 1 : NULL;
}

static const char *bound_name(const void *scope, int i)
{
    const soma_yaml_scope *s = scope;
    return i < s->n ? s->bound[i].name : NULL;
}

const yaml_node_t *soma_yaml_node(const soma_yaml *y, int index)
{
    const yaml_node_t *node = yaml_document_get_node(y->doc, index);
    const char *name = y->scope ? parameter(node) : NULL;
    for (int i = 0; name && i < y->scope->n; i++)
        if (!strcmp(y->scope->bound[i].name, name))
            return y->scope->bound[i].value;
    return node;
}

/* Is the node a $NAME that stands for nothing? Tells so. */
static bool unbound(const soma_yaml *y, const yaml_node_t *node)
{
    const char *name = parameter(node), *near = name && y->scope ? soma_nearest(name, bound_name, y->scope) : NULL;
    if (name && !y->scope)
        soma_fail(y->s, SOMA_INVALID, soma_yaml_place(y, node),
                  "\"$%.100s\" stands for a parameter of a block, but this is outside of blocks; put text that begins "
                  "so in quotes",
                  name);
    else if (name)
        soma_fail(y->s, SOMA_INVALID, soma_yaml_place(y, node), "%s has no parameter \"%.100s\"%s%s%s", y->scope->block,
                  name, near ? "; did you mean \"$" : "", near ? near : "", near ? "\"?" : "");
    return name != NULL;
}

const char *soma_yaml_word(const soma_yaml *y, const yaml_node_t *node)
{
    return unbound(y, node) ? NULL : soma_yaml_text(node);
}

/* ---- lists and mappings ---- */

const yaml_node_t *soma_yaml_find(const soma_yaml *y, const yaml_node_t *map, const char *name)
{
    for (yaml_node_pair_t *p = map->data.mapping.pairs.start;
         map->type == YAML_MAPPING_NODE && p < map->data.mapping.pairs.top; p++) {
        const char *text = soma_yaml_text(soma_yaml_node(y, p->key));
        if (text && !strcmp(text, name))
            return soma_yaml_node(y, p->value);
    }
    return NULL;
}

int soma_yaml_count(const yaml_node_t *list)
{
    return list && list->type == YAML_SEQUENCE_NODE
               ? (int)(list->data.sequence.items.top - list->data.sequence.items.start)
               : 0;
}

const yaml_node_t *soma_yaml_item(const soma_yaml *y, const yaml_node_t *list, int i)
{
    return soma_yaml_node(y, list->data.sequence.items.start[i]);
}

bool soma_yaml_kind(const soma_yaml *y, const yaml_node_t *node, const yaml_node_t **name, const yaml_node_t **options)
{
    *name = node;
    *options = NULL;
    if (node->type == YAML_MAPPING_NODE && node->data.mapping.pairs.top - node->data.mapping.pairs.start == 1) {
        *name = soma_yaml_node(y, node->data.mapping.pairs.start->key);
        *options = soma_yaml_node(y, node->data.mapping.pairs.start->value);
    }
    return soma_yaml_text(*name) != NULL;
}

/* ---- sentences ---- */

soma_status soma_yaml_unknown(const soma_yaml *y, const yaml_node_t *at, const char *what, const char *name,
                              const char *near)
{
    return soma_fail(y->s, SOMA_INVALID, soma_yaml_place(y, at), "there is no %s \"%.100s\"%s%s%s", what, name,
                     near ? "; did you mean \"" : "", near ? near : "", near ? "\"?" : "");
}

soma_status soma_yaml_nameless(const soma_yaml *y, const yaml_node_t *at, const char *what)
{
    return soma_fail(y->s, SOMA_INVALID, soma_yaml_place(y, at), "the name of %s is a word, but here is a %s", what,
                     at->type == YAML_SEQUENCE_NODE ? "list" : "mapping");
}

/* ---- options ---- */

/* {NAME: {key: value}} as the text NAME:key=value; NULL: it is something else, or there is no memory for it. */
static const char *kind_text(const soma_yaml *y, const yaml_node_t *value)
{
    const yaml_node_t *name, *options;
    soma_text text = {.s = y->s};
    bool right = soma_yaml_kind(y, value, &name, &options) && options && options->type == YAML_MAPPING_NODE;
    const char *called = right ? soma_yaml_text(name) : NULL;
    soma_text_add(&text, called ? called : "");
    for (yaml_node_pair_t *p = right ? options->data.mapping.pairs.start : NULL;
         right && p < options->data.mapping.pairs.top; p++) {
        const yaml_node_t *given = soma_yaml_node(y, p->value);
        const char *key = soma_yaml_text(soma_yaml_node(y, p->key)), *word = soma_yaml_text(given);
        right = key && (word || soma_yaml_count(given));
        soma_text_addf(&text, "%c%s=%s", p == options->data.mapping.pairs.start ? ':' : ',', key ? key : "",
                       word ? word : "");
        for (int i = 0; i < soma_yaml_count(given) && right; i++) {
            word = soma_yaml_text(soma_yaml_item(y, given, i));
            right = word != NULL;
            soma_text_addf(&text, "%s%s", i ? "x" : "", word ? word : "");
        }
    }
    const char *kept = right && !text.failed ? soma_arena_text(y->arena, text.bytes) : NULL;
    soma_text_free(&text);
    return kept;
}

static soma_status read_kind(const soma_yaml *y, const soma_field *field, const yaml_node_t *value, void *options)
{
    char reason[SOMA_REASON_MAX] = "";
    const soma_field_reader how = {.asked = true, .arena = y->arena, .reason = reason};
    const char *text = value->type == YAML_SCALAR_NODE ? soma_yaml_word(y, value) : kind_text(y, value);
    if (!text)
        return soma_error_status(y->s) ? soma_error_status(y->s)
                                       : soma_fail(y->s, SOMA_INVALID, soma_yaml_place(y, value),
                                                   "\"%s\" takes the name of one %s, or {name: {option: value}}",
                                                   field->name, field->kinds->one);
    soma_status status = soma_field_read(&how, field, options, &text, 1);
    return status == SOMA_INVALID ? soma_fail(y->s, SOMA_INVALID, soma_yaml_place(y, value), "%s", reason) : status;
}

soma_status soma_yaml_value(const soma_yaml *y, const soma_field *field, const yaml_node_t *value, void *options)
{
    char reason[SOMA_REASON_MAX] = "";
    const soma_field_reader how = {.asked = true, .arena = y->arena, .reason = reason};
    const char *texts[16];
    bool listed = field->type != SOMA_FIELD_BOOL && field->type != SOMA_FIELD_TEXT;
    if (field->type == SOMA_FIELD_KIND)
        return read_kind(y, field, value, options);
    int n = soma_yaml_text(value) ? 1 : soma_yaml_count(value);
    bool right = value->type == YAML_SCALAR_NODE || (listed && value->type == YAML_SEQUENCE_NODE && n <= 16);
    for (int i = 0; i < n && right; i++) {
        const yaml_node_t *item = soma_yaml_text(value) ? value : soma_yaml_item(y, value, i);
        if (unbound(y, item))
            return soma_error_status(y->s);
        texts[i] = soma_yaml_text(item);
        right = texts[i] != NULL;
    }
    if (!right)
        return soma_fail(y->s, SOMA_INVALID, soma_yaml_place(y, value), "\"%s\" takes %s", field->name,
                         soma_field_takes(field, reason, sizeof reason));
    soma_status status = soma_field_read(&how, field, options, texts, n);
    return status == SOMA_INVALID ? soma_fail(y->s, SOMA_INVALID, soma_yaml_place(y, value), "%s", reason) : status;
}

static const char *field_name(const void *fields, int i)
{
    return ((const soma_field *)fields)[i].name;
}

/* The field that `name` names; NULL after telling what is wrong with it. seen: a bit for each field, for keys that
 * stand there twice. */
static const soma_field *find_field(const soma_yaml *y, const yaml_node_t *name, const char *what,
                                    const soma_field *fields, const char *const *besides, uint64_t *seen)
{
    const char *text = soma_yaml_text(name);
    char kind[64];
    snprintf(kind, sizeof kind, text ? "option of %s called" : "an option of %s", what);
    if (!text) {
        soma_yaml_nameless(y, name, kind);
        return NULL;
    }
    const soma_field *field = soma_field_find(fields, text);
    if (!field) {
        const char *near = fields ? soma_nearest(text, field_name, fields) : NULL;
        soma_yaml_unknown(y, name, kind, text, near || !besides ? near : soma_nearest_of(text, besides));
        return NULL;
    }
    uint64_t bit = UINT64_C(1) << (field - fields);
    if (*seen & bit) {
        soma_fail(y->s, SOMA_INVALID, soma_yaml_place(y, name), "the option \"%s\" of %s stands here twice",
                  field->name, what);
        return NULL;
    }
    for (int i = 0; fields[i].name; i++) /* {height, width} or the shorter side: one place for both */
        if (*seen & UINT64_C(1) << i && field->type != SOMA_FIELD_OTHER && fields[i].type != SOMA_FIELD_OTHER &&
            fields[i].offset == field->offset) {
            soma_fail(y->s, SOMA_INVALID, soma_yaml_place(y, name),
                      "\"%s\" and \"%s\" of %s say one thing in two ways; give one", fields[i].name, field->name, what);
            return NULL;
        }
    *seen |= bit;
    return field;
}

/* Where the name stands in the list; -1: nowhere. */
static int position(const char *name, const char *const *list)
{
    for (int i = 0; name && list && list[i]; i++)
        if (!strcmp(list[i], name))
            return i;
    return -1;
}

soma_status soma_yaml_options(const soma_yaml *y, const yaml_node_t *map, const char *what, const soma_field *fields,
                              const char *const *besides, void *options)
{
    uint64_t seen = 0, passed = 0;
    if (map->type == YAML_SCALAR_NODE && !soma_yaml_text(map)[0])
        return SOMA_OK; /* "- flatten:" */
    if (map->type != YAML_MAPPING_NODE)
        return soma_fail(y->s, SOMA_INVALID, soma_yaml_place(y, map),
                         "%s takes a mapping of options, such as {name: value}", what);
    for (yaml_node_pair_t *p = map->data.mapping.pairs.start; p < map->data.mapping.pairs.top; p++) {
        const yaml_node_t *name = soma_yaml_node(y, p->key);
        const char *text = soma_yaml_text(name);
        int beside = soma_field_find(fields, text ? text : "") ? -1 : position(text, besides);
        if (beside >= 0 && passed & UINT64_C(1) << beside)
            return soma_fail(y->s, SOMA_INVALID, soma_yaml_place(y, name), "the option \"%s\" of %s stands here twice",
                             text, what);
        if (beside >= 0) {
            passed |= UINT64_C(1) << beside;
            continue;
        }
        const soma_field *field = find_field(y, name, what, fields, besides, &seen);
        if (!field || soma_yaml_value(y, field, soma_yaml_node(y, p->value), options))
            return soma_error_status(y->s);
    }
    return SOMA_OK;
}

/* ---- the document ---- */

static soma_status no_memory(const soma_yaml *y)
{
    return soma_fail(y->s, SOMA_MEMORY, soma_nowhere(), "%s: no memory to read it", y->path);
}

static soma_status not_yaml(const soma_yaml *y, const yaml_parser_t *parser)
{
    if (parser->error == YAML_MEMORY_ERROR)
        return no_memory(y);
    const char *problem = parser->problem ? parser->problem : "unreadable";
    return soma_fail(y->s, SOMA_FORMAT, soma_line_of(y->path, (int)parser->problem_mark.line + 1),
                     "this is not YAML: %s%s", problem,
                     strstr(problem, "cannot start any token") ? " (a tab? YAML is indented with spaces)" : "");
}

/* A first look: mistakes of YAML, depth (libyaml takes quadratic time for it), more than one document. */
static soma_status check_events(const soma_yaml *y, yaml_parser_t *parser)
{
    int depth = 0, documents = 0;
    soma_status status = SOMA_OK;
    for (bool over = false; !over && status == SOMA_OK;) {
        yaml_event_t event;
        if (!yaml_parser_parse(parser, &event))
            return not_yaml(y, parser);
        soma_at at = soma_line_of(y->path, (int)event.start_mark.line + 1);
        bool opens = event.type == YAML_SEQUENCE_START_EVENT || event.type == YAML_MAPPING_START_EVENT;
        bool closes = event.type == YAML_SEQUENCE_END_EVENT || event.type == YAML_MAPPING_END_EVENT;
        depth += opens - closes;
        documents += event.type == YAML_DOCUMENT_START_EVENT;
        over = event.type == YAML_STREAM_END_EVENT;
        if (depth > SOMA_LIMIT_DEPTH)
            status = soma_fail(y->s, SOMA_FORMAT, at, "it is nested deeper than %d", SOMA_LIMIT_DEPTH);
        else if (documents > 1)
            status = soma_fail(y->s, SOMA_INVALID, at, "a second document begins here, but a description is one");
        yaml_event_delete(&event);
    }
    return status;
}

static soma_status load(soma_yaml *y, yaml_parser_t *parser, soma_status (*use)(soma_yaml *y, void *context),
                        void *context)
{
    yaml_document_t doc;
    if (!yaml_parser_load(parser, &doc))
        return not_yaml(y, parser); /* an alias of nothing */
    y->doc = &doc;
    soma_status status = use(y, context);
    yaml_document_delete(&doc);
    return status;
}

soma_status soma_yaml_parse(soma_yaml *y, const void *bytes, size_t size,
                            soma_status (*use)(soma_yaml *y, void *context), void *context)
{
    soma_status status = SOMA_OK;
    for (int pass = 0; pass < 2 && status == SOMA_OK; pass++) {
        yaml_parser_t parser;
        if (!yaml_parser_initialize(&parser))
            return no_memory(y);
        yaml_parser_set_input_string(&parser, bytes, size);
        status = pass == 0 ? check_events(y, &parser) : load(y, &parser, use, context);
        yaml_parser_delete(&parser);
    }
    return status;
}
