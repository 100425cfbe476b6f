/* SPDX-License-Identifier: Apache-2.0
 *
 * io/layers_yaml.c: layers of a description, and how they hang together. A layer reads the one before it, or what
 * "from" names: inputs and layers above. Knows no kind of layer. Compiled only with libyaml.
 */
#include "io/layers_yaml.h"

#include "base/text.h"
#include "graph/graph.h"
#include "nn/layer.h"

#include <string.h>

#define MOST_LAYERS 10000 /* of a model, with those of blocks */
#define MOST_SOURCES 64   /* of a layer */
#define MOST_BLOCKS 16    /* inside each other */

/* What a layer reads. */
typedef struct sources {
    int at[MOST_SOURCES];
    int n;
} sources;

/* ---- names ---- */

static const char *result_name(const void *list, int i)
{
    const soma_yaml_list *l = list;
    for (int k = 0; k < l->n; k++)
        if (l->results[k].name && i-- == 0)
            return l->results[k].name;
    return NULL;
}

int soma_yaml_find_result(const soma_yaml_list *l, const char *name)
{
    for (int i = l->n - 1; i >= 0; i--)
        if (l->results[i].name && !strcmp(l->results[i].name, name))
            return i;
    return -1;
}

/* The line of a layer of that name that is not built yet; 0: there is none. */
static int line_below(const soma_yaml_builder *b, const soma_yaml_list *l, const char *name)
{
    for (int i = l->at; i < soma_yaml_count(l->list); i++) {
        const yaml_node_t *kind, *options, *item = soma_yaml_item(b->y, l->list, i);
        if (!soma_yaml_kind(b->y, item, &kind, &options) || !options)
            continue;
        const char *text = soma_yaml_text(soma_yaml_find(b->y, options, "name"));
        if (text && !strcmp(text, name))
            return (int)kind->start_mark.line + 1;
    }
    return 0;
}

/* A name in "from" or "outputs". */
soma_status soma_yaml_look_up(const soma_yaml_builder *b, const soma_yaml_list *l, const yaml_node_t *node, int *found)
{
    const char *name = soma_yaml_word(b->y, node);
    if (!name)
        return soma_error_status(b->y->s) ? soma_error_status(b->y->s) : soma_yaml_nameless(b->y, node, "a layer");
    *found = soma_yaml_find_result(l, name);
    if (*found >= 0)
        return SOMA_OK;
    int line = line_below(b, l, name);
    if (line)
        return soma_fail(b->y->s, SOMA_INVALID, soma_yaml_place(b->y, node),
                         "\"%.100s\" is line %d's, but a layer reads inputs and layers above it: values that go round "
                         "in a circle cannot be computed",
                         name, line);
    return soma_yaml_unknown(b->y, node, "input or layer called", name, soma_nearest(name, result_name, l));
}

static soma_status read_sources(const soma_yaml_builder *b, const soma_yaml_list *l, const yaml_node_t *at,
                                const yaml_node_t *from, sources *found)
{
    found->n = from && from->type == YAML_SEQUENCE_NODE ? soma_yaml_count(from) : 1;
    if (!from && l->current < 0)
        return soma_fail(b->y->s, SOMA_INVALID, soma_yaml_place(b->y, at),
                         "there are %d inputs; say which one the first layer reads: from: %.100s", l->n,
                         l->results[0].name);
    if (from && (from->type == YAML_MAPPING_NODE || found->n < 1 || found->n > MOST_SOURCES))
        return soma_fail(b->y->s, SOMA_INVALID, soma_yaml_place(b->y, from),
                         "\"from\" takes the name of an input or of a layer above, or a list of 1 to %d of them",
                         MOST_SOURCES);
    found->at[0] = l->current;
    soma_status status = SOMA_OK;
    for (int i = 0; from && i < found->n && !status; i++)
        status = soma_yaml_look_up(b, l, from->type == YAML_SEQUENCE_NODE ? soma_yaml_item(b->y, from, i) : from,
                                   &found->at[i]);
    for (int i = 0; i < found->n && !status; i++)
        l->results[found->at[i]].read = true;
    return status;
}

/* The name that a layer is given; NULL: none. */
static soma_status read_name(const soma_yaml_builder *b, const soma_yaml_list *l, const yaml_node_t *node,
                             const char **name)
{
    *name = node ? soma_yaml_word(b->y, node) : NULL;
    if (!node)
        return SOMA_OK;
    if (!*name || !(*name)[0])
        return soma_error_status(b->y->s) ? soma_error_status(b->y->s)
                                          : soma_fail(b->y->s, SOMA_INVALID, soma_yaml_place(b->y, node),
                                                      *name ? "the name of a layer has at least one letter"
                                                            : "\"name\" takes one value, not a list or a mapping");
    int other = soma_yaml_find_result(l, *name);
    return other < 0 ? SOMA_OK
                     : soma_fail(b->y->s, SOMA_INVALID, soma_yaml_place(b->y, node),
                                 "the name \"%.100s\" is line %d's already; names are unique, for \"from\"", *name,
                                 (int)l->results[other].at->start_mark.line + 1);
}

static soma_status read_when(const soma_yaml_builder *b, const yaml_node_t *node, bool *when)
{
    *when = true;
    if (!node)
        return SOMA_OK;
    const char *text = soma_yaml_word(b->y, node);
    if (soma_error_status(b->y->s))
        return soma_error_status(b->y->s);
    *when = text && !strcmp(text, "true");
    if (*when || (text && !strcmp(text, "false")))
        return SOMA_OK;
    return soma_fail(b->y->s, SOMA_INVALID, soma_yaml_place(b->y, node),
                     "\"when\" must be true or false, got %s%.100s%s", text ? "\"" : "",
                     text ? text : "a list or a mapping", text ? "\"" : "");
}

/* ---- layers ---- */

static soma_status build_kind(const soma_yaml_builder *b, const soma_yaml_list *l, const soma_layer_kind *kind,
                              const yaml_node_t *name, const yaml_node_t *options, const sources *from,
                              soma_value *value)
{
    _Alignas(16) char bytes[1024] = {0};
    soma_layer_head *head = (soma_layer_head *)(void *)bytes;
    soma_value *in = soma_arena_array(b->y->arena, (size_t)from->n, sizeof *in);
    if (!in)
        return SOMA_MEMORY;
    for (int i = 0; i < from->n; i++)
        in[i] = l->results[from->at[i]].value;
    head->struct_size = kind->kind.options_size;
    head->at = soma_yaml_place(b->y, name);
    head->x = in[0];
    soma_status status = !options ? SOMA_OK
                                  : soma_yaml_options(b->y, options, kind->kind.name, kind->kind.fields,
                                                      soma_yaml_layer_keys, bytes);
    if (status)
        return status;
    if (kind->joins && from->n < 2)
        return soma_fail(b->y->s, SOMA_INVALID, head->at, "%s computes from several values; name them: from: [a, b]",
                         kind->kind.name);
    if (!kind->joins && from->n > 1)
        return soma_fail(
            b->y->s, SOMA_INVALID, head->at,
            "%s computes from one value, but \"from\" names %d; join them first, by add, multiply or concat",
            kind->kind.name, from->n);
    if (kind->joins) {
        ((soma_joined_head *)(void *)bytes)->more = in + 1;
        ((soma_joined_head *)(void *)bytes)->n_more = from->n - 1;
    }
    *value = soma_layer_with(kind, bytes);
    return soma_ok(*value) ? SOMA_OK : soma_error_status(b->y->s);
}

static soma_status build_block(soma_yaml_builder *b, const soma_yaml_list *outer, soma_yaml_block *block,
                               const yaml_node_t *use, const yaml_node_t *options, const sources *from,
                               const char *name, soma_value *value)
{
    soma_yaml *y = b->y;
    const soma_yaml_scope *before = y->scope;
    soma_yaml_scope scope;
    if (block->busy || b->depth == MOST_BLOCKS)
        return soma_fail(y->s, SOMA_INVALID, soma_yaml_place(y, use),
                         block->busy ? "the block \"%.100s\" is used inside itself: it would never end"
                                     : "\"%.100s\" is a block inside more than 15 others",
                         block->name);
    if (from->n > 1)
        return soma_fail(y->s, SOMA_INVALID, soma_yaml_place(y, use),
                         "a block computes from one value, x, but \"from\" names %d", from->n);
    soma_status status = soma_yaml_bind(y, block, use, options, &scope);
    if (status)
        return status;
    soma_yaml_list l = {.list = block->layers, .n = 1};
    l.results = soma_arena_array(y->arena, (size_t)soma_yaml_count(block->layers) + 1, sizeof *l.results);
    if (!l.results)
        return SOMA_MEMORY;
    l.results[0] = (soma_yaml_result){
        .name = "x", .value = outer->results[from->at[0]].value, .at = block->at, .input = true};
    if (name)
        soma_scope_push(b->m, name);
    y->scope = &scope;
    block->busy = block->used = true;
    b->depth++;
    status = b->m->graph->failed ? soma_error_status(y->s) : soma_yaml_build_list(b, &l);
    b->depth--;
    block->busy = false;
    y->scope = before;
    if (name)
        soma_scope_pop(b->m);
    if (!status)
        *value = l.results[l.current].value;
    return status;
}

static const char *kind_name(const void *builders, int i)
{
    const soma_yaml_builder *b = builders;
    return i < b->n_blocks ? b->blocks[i].name : NULL;
}

static soma_status unknown_kind(const soma_yaml_builder *b, const yaml_node_t *at, const char *name)
{
    const char *near = soma_nearest(name, kind_name, b);
    return soma_yaml_unknown(b->y, at, "layer", name, near ? near : soma_kind_nearest(&soma_layers, name));
}

/* "flatten", {conv2d: {filters: 32}} or {two_convolutions: {filters: 32}}. */
static soma_status build_item(soma_yaml_builder *b, soma_yaml_list *l, const yaml_node_t *item)
{
    const yaml_node_t *at, *options;
    sources from;
    bool when;
    soma_yaml_result made = {.at = item};
    if (!soma_yaml_kind(b->y, item, &at, &options))
        return soma_fail(b->y->s, SOMA_INVALID, soma_yaml_place(b->y, item),
                         "a layer is a name, or one name with options: - conv2d: {filters: 32, kernel: 3}");
    const char *called = soma_yaml_text(at);
    soma_yaml_block *block = NULL;
    for (int i = 0; i < b->n_blocks; i++)
        block = strcmp(b->blocks[i].name, called) ? block : &b->blocks[i];
    const soma_kind *kind = soma_kind_find(&soma_layers, called);
    if (!block && !kind)
        return unknown_kind(b, at, called);
    if (b->n_layers++ == MOST_LAYERS)
        return soma_fail(b->y->s, SOMA_INVALID, soma_yaml_place(b->y, at), "the model has more than %d layers",
                         MOST_LAYERS);
    soma_status status = read_when(b, options ? soma_yaml_find(b->y, options, "when") : NULL, &when);
    if (!status)
        status = read_name(b, l, options ? soma_yaml_find(b->y, options, "name") : NULL, &made.name);
    if (!status)
        status = read_sources(b, l, at, options ? soma_yaml_find(b->y, options, "from") : NULL, &from);
    made.passed = !when;
    if (!status && !when)
        made.value = l->results[from.at[0]].value;
    else if (!status)
        status = block ? build_block(b, l, block, at, options, &from, made.name, &made.value)
                       : build_kind(b, l, (const soma_layer_kind *)(const void *)kind, at, options, &from, &made.value);
    if (block)
        block->used = true;
    l->current = l->n;
    l->results[l->n++] = made;
    return status;
}

soma_status soma_yaml_check_read(const soma_yaml_builder *b, const soma_yaml_list *l)
{
    for (int i = 0; i < l->n; i++) {
        const soma_yaml_result *r = &l->results[i];
        if (!r->read && r->input)
            return soma_fail(b->y->s, SOMA_INVALID, soma_yaml_place(b->y, r->at),
                             "no layer reads the input \"%.100s\"; name it in \"from\"", r->name);
        if (!r->read && !r->passed)
            return soma_fail(b->y->s, SOMA_INVALID, soma_yaml_place(b->y, r->at),
                             "no layer reads what this one computes; name it in \"from\"%s, or leave it out",
                             b->depth ? "" : " or \"outputs\"");
    }
    return SOMA_OK;
}

/* The last layer's result is the list's. */
soma_status soma_yaml_build_list(soma_yaml_builder *b, soma_yaml_list *l)
{
    int count = soma_yaml_count(l->list);
    if (count == 0)
        return soma_fail(b->y->s, SOMA_INVALID, soma_yaml_place(b->y, l->list),
                         "\"layers\" takes a list of at least one layer");
    soma_status status = SOMA_OK;
    for (l->at = 0; l->at < count && !status; l->at++)
        status = build_item(b, l, soma_yaml_item(b->y, l->list, l->at));
    if (status || b->depth == 0)
        return status;
    l->results[l->current].read = true;
    return soma_yaml_check_read(b, l);
}
