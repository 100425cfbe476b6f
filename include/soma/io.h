/* SPDX-License-Identifier: Apache-2.0
 *
 * soma/io.h: model files (safetensors with the graph in the metadata), model descriptions (YAML).
 */
#ifndef SOMA_IO_H
#define SOMA_IO_H

#include <soma/data.h>
#include <soma/nn.h>

#ifdef __cplusplus
extern "C" {
#endif

/** Writes model and tensors, atomically: temporary file, fsync, rename, fsync of the folder. */
SOMA_API soma_status soma_save(soma_model *m, const char *path);
/** Reads a model that soma_save wrote; NULL on failure. Nothing in a file is ever executed. */
SOMA_API soma_model *soma_load(soma *s, const char *path);

/** What a model knows of its data; saved with it. Texts and numbers are copied. */
SOMA_API soma_status soma_model_set_classes(soma_model *m, const char *const *names, int n);
SOMA_API int soma_model_classes(const soma_model *m);
SOMA_API const char *soma_model_class(const soma_model *m, int index);
SOMA_API void soma_model_set_transform(soma_model *m, soma_transform transform);
SOMA_API soma_transform soma_model_transform(const soma_model *m);

/** How a model wants to be trained: what a description's "train" and "pictures" sections say. Zero or empty: not said. */
typedef struct soma_recipe {
    soma_optimizer optimizer; /**< name NULL: not said */
    char loss[64];
    int64_t batch_size, epochs;
    double validation_split;
    soma_transform transform;
    soma_augment augment;
} soma_recipe;
/** Builds a model from a YAML description of layers (docs/model-files.md); NULL on failure. Unknown keys are errors that name
 *  the place and the nearest known key. recipe may be NULL. */
SOMA_API soma_model *soma_model_from_yaml(soma *s, const char *path, soma_recipe *recipe);

#ifdef __cplusplus
}
#endif
#endif
