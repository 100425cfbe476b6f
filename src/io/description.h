/* SPDX-License-Identifier: Apache-2.0
 *
 * io/description.h: descriptions that name a model instead of listing layers. The floor that knows architectures builds
 * it.
 */
#ifndef SOMA_IO_DESCRIPTION_H
#define SOMA_IO_DESCRIPTION_H

#include <soma/io.h>

/* The section "model". Zero or NULL: not said. */
typedef struct soma_architecture {
    soma_at at;
    const char *name; /* of an architecture, or a file that ends in .safetensors */
    int64_t classes;
    double width;
    int64_t input[3];
    const char *weights, *layout, *map;
    const char *shortcut, *stride, *pooling, *dialect; /* soma_zoo_options */
    bool partial, new_head;
} soma_architecture;
/* NULL after telling why. */
typedef soma_model *(*soma_architecture_fn)(soma *s, const soma_architecture *a);

/* soma_model_from_yaml. */
soma_model *soma_describe(soma *s, const char *path, soma_recipe *recipe, soma_architecture_fn architecture);

#endif
