/* SPDX-License-Identifier: Apache-2.0
 *
 * io/blocks_yaml.c: blocks of a description: layers that are written once and used with other numbers.
 *
 *     blocks:
 *       two_convolutions:
 *         parameters: {filters: required, stride: 1}
 *         layers:
 *           - conv2d: {filters: $filters, kernel: 3, stride: $stride}
 *           - conv2d: {filters: $filters, kernel: 3}
 *
 * $NAME stands for what the use of the block says, else for the default. Compiled only with libyaml.
 */
#include "io/sections_yaml.h"

#include "base/text.h"

#include <stdio.h>
#include <string.h>

const char *const soma_yaml_layer_keys[] = {"from", "name", "when", NULL};

/* ---- as they are written ---- */

static soma_status read_parameters(const soma_yaml *y, const yaml_node_t *map, soma_yaml_block *block)
{
    int n = map->type == YAML_MAPPING_NODE ? (int)(map->data.mapping.pairs.top - map->data.mapping.pairs.start) : 0;
    if (map->type != YAML_MAPPING_NODE)
        return soma_fail(
            y->s, SOMA_INVALID, soma_yaml_place(y, map),
            "\"parameters\" takes a mapping of names and defaults, such as {filters: required, stride: 1}");
    block->parameters = soma_arena_array(y->arena, (size_t)n + 1, sizeof *block->parameters);
    if (!block->parameters)
        return SOMA_MEMORY;
    for (int i = 0; i < n; i++) {
        const yaml_node_pair_t *p = map->data.mapping.pairs.start + i;
        const yaml_node_t *name = soma_yaml_node(y, p->key), *value = soma_yaml_node(y, p->value);
        const char *text = soma_yaml_text(name);
        if (!text)
            return soma_yaml_nameless(y, name, "a parameter");
        if (soma_one_of(text, soma_yaml_layer_keys))
            return soma_fail(y->s, SOMA_INVALID, soma_yaml_place(y, name),
                             "no parameter can be called \"%s\": every layer and every block has that key", text);
        for (int k = 0; k < i; k++)
            if (!strcmp(block->parameters[k].name, text))
                return soma_fail(y->s, SOMA_INVALID, soma_yaml_place(y, name),
                                 "the parameter \"%.100s\" stands here twice", text);
        bool required = soma_yaml_text(value) && !strcmp(soma_yaml_text(value), "required");
        block->parameters[block->n_parameters++] = (soma_yaml_bound){text, required ? NULL : value};
    }
    return SOMA_OK;
}

static soma_status read_block(const soma_yaml *y, const yaml_node_t *name, const yaml_node_t *map,
                              soma_yaml_block *block)
{
    static const char *const keys[] = {"parameters", "layers", NULL};
    *block = (soma_yaml_block){.name = soma_yaml_text(name), .at = name};
    if (!block->name)
        return soma_yaml_nameless(y, name, "a block");
    if (soma_kind_find(&soma_layers, block->name))
        return soma_fail(y->s, SOMA_INVALID, soma_yaml_place(y, name),
                         "there is a layer called \"%s\" already; give the block another name", block->name);
    block->layers = soma_yaml_find(y, map, "layers");
    if (!block->layers)
        return soma_fail(y->s, SOMA_INVALID, soma_yaml_place(y, name),
                         "the block \"%.100s\" needs \"layers\", and \"parameters\" if it takes any", block->name);
    const yaml_node_t *parameters = soma_yaml_find(y, map, "parameters");
    soma_status status = soma_yaml_options(y, map, "a block", NULL, keys, NULL);
    return status || !parameters ? status : read_parameters(y, parameters, block);
}

soma_status soma_yaml_blocks(const soma_yaml *y, const yaml_node_t *blocks, soma_yaml_block **list, int *n)
{
    *n = 0;
    if (!blocks)
        return SOMA_OK;
    if (blocks->type != YAML_MAPPING_NODE)
        return soma_fail(
            y->s, SOMA_INVALID, soma_yaml_place(y, blocks),
            "\"blocks\" takes a mapping of names; each has \"layers\", and \"parameters\" if it takes any");
    int count = (int)(blocks->data.mapping.pairs.top - blocks->data.mapping.pairs.start);
    *list = soma_arena_array(y->arena, (size_t)count + 1, sizeof **list);
    soma_status status = *list ? SOMA_OK : SOMA_MEMORY;
    for (int i = 0; i < count && !status; i++) {
        const yaml_node_pair_t *p = blocks->data.mapping.pairs.start + i;
        soma_yaml_block *block = *list + i;
        status = read_block(y, soma_yaml_node(y, p->key), soma_yaml_node(y, p->value), block);
        for (int k = 0; k < i && !status; k++)
            if (!strcmp((*list)[k].name, block->name))
                status = soma_fail(y->s, SOMA_INVALID, soma_yaml_place(y, block->at),
                                   "the block \"%.100s\" stands here twice", block->name);
        *n += !status;
    }
    return status;
}

/* ---- as they are used ---- */

static const char *parameter_name(const void *scope, int i)
{
    const soma_yaml_scope *s = scope;
    return i < s->n ? s->bound[i].name : i < s->n + 3 ? soma_yaml_layer_keys[i - s->n] : NULL;
}

/* A word, or a list of words; a list must say its own, for a $NAME inside would be looked for in the block. */
static soma_status check_given(const soma_yaml *y, const char *name, const yaml_node_t *value)
{
    bool right = value->type != YAML_MAPPING_NODE;
    if (value->type == YAML_SCALAR_NODE && !soma_yaml_word(y, value))
        return soma_error_status(y->s);
    for (int i = 0; i < soma_yaml_count(value) && right; i++) {
        const char *text = soma_yaml_text(yaml_document_get_node(y->doc, value->data.sequence.items.start[i]));
        right = text && text[0] != '$';
    }
    return right ? SOMA_OK
                 : soma_fail(y->s, SOMA_INVALID, soma_yaml_place(y, value),
                             "\"%s\" takes one value or a list of values, written out", name);
}

soma_status soma_yaml_bind(const soma_yaml *y, const soma_yaml_block *block, const yaml_node_t *use,
                           const yaml_node_t *options, soma_yaml_scope *scope)
{
    bool given[64] = {false};
    scope->block = block->name;
    scope->n = block->n_parameters;
    scope->bound = soma_arena_array(y->arena, (size_t)scope->n + 1, sizeof *scope->bound);
    if (!scope->bound || scope->n > 64)
        return scope->bound ? soma_fail(y->s, SOMA_INVALID, soma_yaml_place(y, block->at),
                                        "the block \"%.100s\" has more than 64 parameters", block->name)
                            : SOMA_MEMORY;
    if (scope->n) /* a block without parameters has no list of them */
        memcpy(scope->bound, block->parameters, (size_t)scope->n * sizeof *scope->bound);
    bool map = options && options->type == YAML_MAPPING_NODE;
    if (options && !map && !(soma_yaml_text(options) && !soma_yaml_text(options)[0]))
        return soma_fail(y->s, SOMA_INVALID, soma_yaml_place(y, options),
                         "%s takes a mapping of options, such as {name: value}", block->name);
    for (yaml_node_pair_t *p = map ? options->data.mapping.pairs.start : NULL;
         map && p < options->data.mapping.pairs.top; p++) {
        const yaml_node_t *name = soma_yaml_node(y, p->key), *value = soma_yaml_node(y, p->value);
        const char *text = soma_yaml_text(name);
        int i = 0;
        while (text && i < scope->n && strcmp(scope->bound[i].name, text))
            i++;
        if (text && soma_one_of(text, soma_yaml_layer_keys))
            continue;
        if (!text || i == scope->n) {
            char what[160];
            snprintf(what, sizeof what, text ? "option of %.100s called" : "an option of %.100s", block->name);
            return text ? soma_yaml_unknown(y, name, what, text, soma_nearest(text, parameter_name, scope))
                        : soma_yaml_nameless(y, name, what);
        }
        if (given[i])
            return soma_fail(y->s, SOMA_INVALID, soma_yaml_place(y, name),
                             "the option \"%s\" of %.100s stands here twice", text, block->name);
        if (check_given(y, text, value))
            return soma_error_status(y->s);
        given[i] = true;
        scope->bound[i].value = value;
    }
    for (int i = 0; i < scope->n; i++)
        if (!scope->bound[i].value)
            return soma_fail(y->s, SOMA_INVALID, soma_yaml_place(y, use),
                             "%.100s needs \"%.100s\"; say it here, as in - %.100s: {%.100s: ...}", block->name,
                             scope->bound[i].name, block->name, scope->bound[i].name);
    return SOMA_OK;
}
