/* SPDX-License-Identifier: Apache-2.0
 *
 * io/document_yaml.h: a YAML document that is being read: places, words, options by their fields. Knows no models.
 * Compiled only with libyaml.
 */
#ifndef SOMA_IO_DOCUMENT_YAML_H
#define SOMA_IO_DOCUMENT_YAML_H

#include "base/fields.h"

#include <yaml.h>

/* What $NAME stands for inside a block. */
typedef struct soma_yaml_bound {
    const char *name;
    const yaml_node_t *value; /* NULL: it must be given where the block is used */
} soma_yaml_bound;
typedef struct soma_yaml_scope {
    const char *block; /* its name, for sentences */
    soma_yaml_bound *bound;
    int n;
} soma_yaml_scope;

typedef struct soma_yaml {
    soma *s;
    const char *path; /* the caller's; once there is a model, a copy that lives with it */
    yaml_document_t *doc;
    soma_arena *arena;            /* texts that option structs point to */
    const soma_yaml_scope *scope; /* NULL: outside of blocks */
} soma_yaml;

soma_at soma_yaml_place(const soma_yaml *y, const yaml_node_t *node);
/* A node of the document; where it is $NAME inside a block, what that stands for. */
const yaml_node_t *soma_yaml_node(const soma_yaml *y, int index);
/* The text of a scalar; NULL: it is none. */
const char *soma_yaml_text(const yaml_node_t *node);
/* The same where a name is wanted: $NAME that stands for nothing is told. NULL without a told mistake: no scalar. */
const char *soma_yaml_word(const soma_yaml *y, const yaml_node_t *node);
/* Does the key stand in the mapping? Its value, or NULL. */
const yaml_node_t *soma_yaml_find(const soma_yaml *y, const yaml_node_t *map, const char *name);
/* Items of a list: soma_yaml_node of each; 0 for what is no list. */
int soma_yaml_count(const yaml_node_t *list);
const yaml_node_t *soma_yaml_item(const soma_yaml *y, const yaml_node_t *list, int i);

/* "NAME", or {NAME: options}: of an item that names a kind; false: neither. options NULL: none. */
bool soma_yaml_kind(const soma_yaml *y, const yaml_node_t *node, const yaml_node_t **name, const yaml_node_t **options);

/* A mapping into an option struct. what: "conv2d", for sentences. besides: keys that somebody else reads, NULL at the
 * end; may be NULL. */
soma_status soma_yaml_options(const soma_yaml *y, const yaml_node_t *map, const char *what, const soma_field *fields,
                              const char *const *besides, void *options);
/* One value, or a list, into a field. */
soma_status soma_yaml_value(const soma_yaml *y, const soma_field *field, const yaml_node_t *value, void *options);

/* Sentences. */
soma_status soma_yaml_unknown(const soma_yaml *y, const yaml_node_t *at, const char *what, const char *name,
                              const char *near);
soma_status soma_yaml_nameless(const soma_yaml *y, const yaml_node_t *at, const char *what);

/* Reads the only document in `bytes` and hands it to use(); y->doc lives as long as that call. */
soma_status soma_yaml_parse(soma_yaml *y, const void *bytes, size_t size,
                            soma_status (*use)(soma_yaml *y, void *context), void *context);

#endif
