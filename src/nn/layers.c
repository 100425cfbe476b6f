/* SPDX-License-Identifier: Apache-2.0
 *
 * nn/layers.c: the rows of layers.list as kinds, and with the activations all layers.
 */
#include "nn/layer.h"

const char *const soma_dialects[] = {"torch", "keras", NULL};

#define DECLARED(n, type, stem, joined, text)                                                                          \
    static soma_value build_##n(soma_layer *layer, const void *options)                                                \
    {                                                                                                                  \
        return soma_build_##n(layer, options);                                                                         \
    }                                                                                                                  \
    static const soma_layer_kind kind_##n = {.kind = {.struct_size = sizeof(soma_layer_kind),                          \
                                                      .name = #n,                                                      \
                                                      .doc = text,                                                     \
                                                      .options_size = sizeof(type##_options),                          \
                                                      .fields = n##_fields},                                           \
                                             .automatic = stem,                                                        \
                                             .joins = joined,                                                          \
                                             .build = build_##n};                                                      \
    soma_value type##_with(const type##_options *o)                                                                    \
    {                                                                                                                  \
        return soma_layer_with(&kind_##n, o);                                                                          \
    }
#include "nn/layers_table.h"

/* What unary.list calls a layer or an activation, and softmax (nn/activation.c). */
#define UNARY(...)
#define UNARY_GRAD(n, ...) extern const soma_layer_kind soma_activation_##n;
#include "op/unary/unary.list"
extern const soma_layer_kind soma_activation_softmax;

#define ROW(n) &kind_##n.kind,
static const soma_kind *const rows[] = {ALL_DECLARED(ROW)
#define UNARY(...)
#define UNARY_GRAD(n, ...) &soma_activation_##n.kind,
#include "op/unary/unary.list"
                                            & soma_activation_softmax.kind,
                                        NULL};
const soma_kinds soma_layers = {.one = "layer", .many = "layers", .rows = rows};
