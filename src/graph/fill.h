/* SPDX-License-Identifier: Apache-2.0
 *
 * graph/fill.h: the first values of named tensors.
 */
#ifndef SOMA_GRAPH_FILL_H
#define SOMA_GRAPH_FILL_H

#include "graph/graph.h"

/* Names of the initialisers, NULL-terminated, for nearest-name suggestions. */
extern const char *const soma_init_names[];
/* NULL is known: zeros. */
bool soma_init_known(const char *name);
/* Writes the first values of t into data. They depend on (seed, t->site, position) only: the same bits everywhere.
 * SOMA_INVALID: the initialiser is not known. */
soma_status soma_fill_tensor(const soma_random *random, uint64_t seed, const soma_model_tensor *t, void *data);

#endif
