/* SPDX-License-Identifier: Apache-2.0
 *
 * io/weights.h: what loading weights is made of: names and orders of other frameworks.
 */
#ifndef SOMA_IO_WEIGHTS_H
#define SOMA_IO_WEIGHTS_H

#include "graph/graph.h"
#include <soma/io.h>
#include "io/safetensors.h"

/* A tensor of the file on its way to one of the model. */
typedef struct soma_move {
    const soma_file_tensor *from;
    int to;                        /* index into the model's tensors; -1: nobody wants it */
    soma_shape want;               /* what the file must have */
    soma_shape shape;              /* the model's elements, row-major, seen under this shape ... */
    int64_t stride[SOMA_MAX_RANK]; /* ... and the step in the file along each of its axes */
} soma_move;

/* Fills want, shape and stride for move->to; keras: orders of Keras, else the model's own. */
void soma_weights_order(const soma_model *m, soma_move *move, bool keras);
/* "conv/kernel:0" -> "conv.weight"; in the arena, NULL: no memory. */
const char *soma_weights_keras_name(soma_arena *arena, const char *name);

/* Rules of a YAML mapping, OLD: NEW, in its order; texts in the arena, the list from soma_alloc. */
soma_status soma_read_renames(soma *s, const char *path, soma_arena *arena, soma_rename **rules, int *n);

#endif
