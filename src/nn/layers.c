/* SPDX-License-Identifier: Apache-2.0
 *
 * nn/layers.c: the rows of layers.list as kinds.
 */
#include "nn/layer.h"

const char *const soma_dialects[] = {"torch", "keras", NULL};

#define DECLARED(n, stem, text)                                                                                        \
    static soma_value build_##n(soma_layer *layer, const void *options)                                                \
    {                                                                                                                  \
        return soma_build_##n(layer, options);                                                                         \
    }                                                                                                                  \
    static const soma_layer_kind kind_##n = {.kind = {.struct_size = sizeof(soma_layer_kind),                          \
                                                      .name = #n,                                                      \
                                                      .doc = text,                                                     \
                                                      .options_size = sizeof(soma_##n##_options),                      \
                                                      .fields = n##_fields},                                           \
                                             .automatic = stem,                                                        \
                                             .build = build_##n};                                                      \
    soma_value soma_##n##_with(const soma_##n##_options *o)                                                            \
    {                                                                                                                  \
        return soma_layer_with(&kind_##n, o);                                                                          \
    }
#include "nn/layers_table.h"

#define ROW(n) &kind_##n.kind,
static const soma_kind *const rows[] = {ALL_DECLARED(ROW) NULL};
const soma_kinds soma_layers = {.one = "layer", .many = "layers", .rows = rows};
