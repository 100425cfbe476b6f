/* SPDX-License-Identifier: Apache-2.0
 *
 * io/model_json.h: a model's graph as JSON and back. Attributes are resolved text; ops are named. Tensors' bytes are not here.
 */
#ifndef SOMA_IO_MODEL_JSON_H
#define SOMA_IO_MODEL_JSON_H

#include "graph/graph.h"
#include "io/knowledge.h"
#include <jansson.h>

/* A new object, or NULL: no memory. */
json_t *soma_model_to_json(soma_model *m);
/* Builds the graph into an empty model; every node goes through infer, so a hostile description ends in a sentence.
 * path: for the sentence. */
soma_status soma_model_of_json(soma_model *m, const json_t *json, const char *path);

#endif
