/* SPDX-License-Identifier: Apache-2.0
 *
 * io/keys_yaml.h: what descriptions may say beside layers (base/fields.h). Knows no documents.
 */
#ifndef SOMA_IO_KEYS_YAML_H
#define SOMA_IO_KEYS_YAML_H

#include "base/fields.h"
#include <soma/io.h>

/* A layer of a description. */
typedef struct soma_yaml_layer {
    const char *name;
    const soma_field *keys;
    size_t size;
    soma_value (*build)(soma_value x, void *options);
} soma_yaml_layer;
extern const soma_yaml_layer soma_yaml_layers[]; /* ends with name NULL */

/* Layers without options get only the place. */
typedef struct soma_yaml_bare {
    size_t struct_size;
    soma_at at;
} soma_yaml_bare;

/* Layers of layers.list begin so. */
typedef struct soma_yaml_x {
    soma_yaml_bare head;
    soma_value x;
} soma_yaml_x;

/* The section "pictures", into a soma_recipe. */
extern const soma_field soma_picture_keys[];

/* Into soma_sgd_options, soma_adam_options and soma_param_group. */
extern const soma_field soma_sgd_keys[], soma_adam_keys[], soma_group_keys[];

#endif
