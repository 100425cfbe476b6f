/* SPDX-License-Identifier: Apache-2.0
 *
 * io/sections_yaml.h: the sections of a description, each read by itself. Compiled only with libyaml.
 */
#ifndef SOMA_IO_SECTIONS_YAML_H
#define SOMA_IO_SECTIONS_YAML_H

#include "io/description.h"
#include "io/document_yaml.h"

/* The sections of a model that is described layer by layer; NULL: not there. */
typedef struct soma_yaml_layers {
    const yaml_node_t *input, *inputs, *blocks, *layers, *outputs;
} soma_yaml_layers;
/* Adds inputs, layers and outputs to the model. */
soma_status soma_yaml_build(soma_yaml *y, const soma_yaml_layers *found, soma_model *m);

/* Blocks: layers written once and used with other numbers. */
typedef struct soma_yaml_block {
    const char *name;
    const yaml_node_t *at, *layers;
    soma_yaml_bound *parameters;
    int n_parameters;
    bool busy, used;
} soma_yaml_block;
/* Reads the section; blocks NULL: not there. */
soma_status soma_yaml_blocks(const soma_yaml *y, const yaml_node_t *blocks, soma_yaml_block **list, int *n);
/* What the block's parameters stand for where it is used with `options` (NULL: none). */
soma_status soma_yaml_bind(const soma_yaml *y, const soma_yaml_block *block, const yaml_node_t *use,
                           const yaml_node_t *options, soma_yaml_scope *scope);
/* Keys of every layer beside its options: "from", "name", "when". */
extern const char *const soma_yaml_layer_keys[];

/* "transforms", into recipe->transform and augment; m: the model, for its channels and for what is left open. */
soma_status soma_yaml_transforms(const soma_yaml *y, const yaml_node_t *list, const soma_model *m, soma_recipe *recipe);
/* "fit": numbers of the training. m may be NULL. */
soma_status soma_yaml_fit(const soma_yaml *y, const yaml_node_t *map, soma_model *m, soma_recipe *recipe);
/* "data": what is trained on. */
soma_status soma_yaml_data(const soma_yaml *y, const yaml_node_t *node, soma_model *m, soma_recipe *recipe);
/* "callbacks": a list of kinds, of which there are none. */
soma_status soma_yaml_callbacks(const soma_yaml *y, const yaml_node_t *list);
soma_status soma_yaml_optimizer(const soma_yaml *y, const yaml_node_t *node, soma_recipe *recipe);
soma_status soma_yaml_loss(const soma_yaml *y, const yaml_node_t *node, soma_recipe *recipe);

#endif
