/* SPDX-License-Identifier: Apache-2.0
 *
 * io/layers_yaml.c: the layers that a description may list, with their keys. Knows no documents. Compiled only with
 * libyaml.
 */
#include "io/keys_yaml.h"
#include "op/unary/numbers.h"

typedef soma_field key;

static const key max_pool2d_keys[] = {SOMA_INTS(soma_pool2d_options, size, 0, AT_LEAST(1)),
                                      SOMA_INTS(soma_pool2d_options, stride, 0, AT_LEAST(1)),
                                      SOMA_INTS(soma_pool2d_options, pad, 0, AT_LEAST(0)),
                                      SOMA_BOOL(soma_pool2d_options, ceil_mode, ANY), SOMA_FIELDS_END};
static const key average_pool2d_keys[] = {
    SOMA_INTS(soma_pool2d_options, size, 0, AT_LEAST(1)), SOMA_INTS(soma_pool2d_options, stride, 0, AT_LEAST(1)),
    SOMA_INTS(soma_pool2d_options, pad, 0, AT_LEAST(0)),  SOMA_BOOL(soma_pool2d_options, ceil_mode, ANY),
    SOMA_BOOL(soma_pool2d_options, count_padding, ANY),   SOMA_FIELDS_END};
static const key adaptive_average_pool2d_keys[] = {SOMA_INTS(soma_adaptive_pool2d_options, size, 0, AT_LEAST(1)),
                                                   SOMA_FIELDS_END};
static const key local_response_norm_keys[] = {SOMA_INT(soma_local_response_norm_options, size, 0, AT_LEAST(1)),
                                               SOMA_FLOAT(soma_local_response_norm_options, alpha, 0, AT_LEAST(0)),
                                               SOMA_FLOAT(soma_local_response_norm_options, beta, 0, AT_LEAST(0)),
                                               SOMA_FLOAT(soma_local_response_norm_options, k, 0, ABOVE(0)),
                                               SOMA_FIELDS_END};
static const key no_keys[] = {SOMA_FIELDS_END};

#define LAYER(n, options)                                                                                              \
    static soma_value build_##n(soma_value x, void *o)                                                                 \
    {                                                                                                                  \
        ((options *)o)->x = x;                                                                                         \
        return soma_##n##_with(o);                                                                                     \
    }
LAYER(max_pool2d, soma_pool2d_options)
LAYER(average_pool2d, soma_pool2d_options)
LAYER(adaptive_average_pool2d, soma_adaptive_pool2d_options)
LAYER(local_response_norm, soma_local_response_norm_options)

static soma_value build_flatten(soma_value x, void *options)
{
    return soma_flatten_at(x, ((soma_yaml_bare *)options)->at);
}

static soma_value build_global_average_pool2d(soma_value x, void *options)
{
    return soma_global_average_pool2d_at(x, ((soma_yaml_bare *)options)->at);
}

static soma_value build_softmax(soma_value x, void *options)
{
    return soma_softmax_at(x, ((soma_yaml_bare *)options)->at);
}

/* The rows of unary.list: a row's numbers are its keys. */
typedef struct unary_options { /* soma_NAME_options of each row */
    size_t struct_size;
    soma_at at;
    soma_value x;
    double c[SOMA_NUMBERS];
} unary_options;
#define KEY(number, k)                                                                                                 \
    {                                                                                                                  \
        .name = #number, .type = SOMA_FIELD_FLOAT, .offset = offsetof(unary_options, c[k])                             \
    }
#define KEYS_PLAIN SOMA_FIELDS_END
#define KEYS_ONE(a, ...) KEY(a, 0), SOMA_FIELDS_END
#define KEYS_TWO(a, preset_a, sample_a, range_a, doc_a, b, ...) KEY(a, 0), KEY(b, 1), SOMA_FIELDS_END
#define KEYS_ORDERED KEYS_TWO
#define BUILD_PLAIN(n)                                                                                                 \
    static soma_value build_##n(soma_value x, void *options)                                                           \
    {                                                                                                                  \
        return soma_##n##_at(x, ((soma_yaml_bare *)options)->at);                                                      \
    }
#define BUILD_NUMBERS(n) LAYER(n, soma_##n##_options)
#define BUILD_(kind, n) BUILD_##kind(n)
#define BUILD(kind, n) BUILD_(kind, n)
#define UNARY(...)
#define UNARY_GRAD(n, use, fused, numbers, ...)                                                                        \
    static const key n##_keys[] = {KEYS_##numbers};                                                                    \
    BUILD(SOMA_KIND_##numbers, n)
#include "op/unary/unary.list"

const soma_yaml_layer soma_yaml_layers[] = {
    {"max_pool2d", max_pool2d_keys, sizeof(soma_pool2d_options), build_max_pool2d},
    {"average_pool2d", average_pool2d_keys, sizeof(soma_pool2d_options), build_average_pool2d},
    {"adaptive_average_pool2d", adaptive_average_pool2d_keys, sizeof(soma_adaptive_pool2d_options),
     build_adaptive_average_pool2d},
    {"global_average_pool2d", no_keys, sizeof(soma_yaml_bare), build_global_average_pool2d},
    {"local_response_norm", local_response_norm_keys, sizeof(soma_local_response_norm_options),
     build_local_response_norm},
    {"flatten", no_keys, sizeof(soma_yaml_bare), build_flatten},
#define UNARY(...)
#define UNARY_GRAD(n, ...) {#n, n##_keys, sizeof(unary_options), build_##n},
#include "op/unary/unary.list"
    {"softmax", no_keys, sizeof(soma_yaml_bare), build_softmax},
    {NULL, NULL, 0, NULL},
};
