/* SPDX-License-Identifier: Apache-2.0
 *
 * io/metadata.h: what a model knows of its data (input transform, class names), kept with it as an attachment.
 */
#ifndef SOMA_IO_METADATA_H
#define SOMA_IO_METADATA_H

#include "graph/graph.h"
#include <soma/io.h>

typedef struct soma_knowledge {
    soma_transform transform;
    char **classes;
    int n_classes;
} soma_knowledge;

/* Made at first use; NULL: no memory. */
soma_knowledge *soma_model_knowledge(soma_model *m);

#endif
