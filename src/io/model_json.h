/* SPDX-License-Identifier: Apache-2.0
 *
 * io/model_json.h: a model's graph as JSON and back. Attributes are resolved text; ops are named. Tensors' bytes are
 * not here.
 */
#ifndef SOMA_IO_MODEL_JSON_H
#define SOMA_IO_MODEL_JSON_H

#include "base/text.h"
#include "graph/graph.h"
#include "io/json.h"
#include "io/metadata.h"

/* path: for sentences. */
soma_status soma_model_to_json(const soma_model *m, soma_text *text, const char *path);
/* Builds the graph into an empty model; every node goes through infer, so a hostile description ends in a sentence.
 * path: for sentences, now and later. */
soma_status soma_model_of_json(soma_model *m, const soma_json *json, const char *path);

#endif
