/* SPDX-License-Identifier: Apache-2.0
 *
 * io/layers_yaml.h: a list of layers that is being built, shared by the files that read layers, inputs and outputs.
 * Compiled only with libyaml.
 */
#ifndef SOMA_IO_LAYERS_YAML_H
#define SOMA_IO_LAYERS_YAML_H

#include "io/sections_yaml.h"

/* An input, or what a layer computed. */
typedef struct soma_yaml_result {
    const char *name; /* NULL: "from" cannot name it */
    soma_value value;
    const yaml_node_t *at;
    bool input, read;
    bool passed; /* the layer was left out, this is what it would have read */
} soma_yaml_result;

/* A list of layers that is being built: the model's, or a block's. */
typedef struct soma_yaml_list {
    const yaml_node_t *list;
    int at; /* the item that is being read */
    soma_yaml_result *results;
    int n;
    int current; /* what the next layer reads; -1: it must say so */
} soma_yaml_list;

typedef struct soma_yaml_builder {
    soma_yaml *y;
    soma_model *m;
    soma_yaml_block *blocks;
    int n_blocks, n_layers, depth;
} soma_yaml_builder;

/* The input, or the layer above, that a name in "from" or "outputs" names. */
soma_status soma_yaml_look_up(const soma_yaml_builder *b, const soma_yaml_list *l, const yaml_node_t *node, int *found);
/* Its index; -1: there is none. */
int soma_yaml_find_result(const soma_yaml_list *l, const char *name);
/* Builds all layers; the last one's result is `current`. */
soma_status soma_yaml_build_list(soma_yaml_builder *b, soma_yaml_list *l);
/* Is every value read? */
soma_status soma_yaml_check_read(const soma_yaml_builder *b, const soma_yaml_list *l);

#endif
