/* SPDX-License-Identifier: Apache-2.0
 *
 * io/layers_yaml.c: the layers that a description may list, with their keys. Knows no documents. Compiled only with
 * libyaml.
 */
#include "io/keys_yaml.h"
#include "op/unary/numbers.h"

typedef soma_yaml_key key;

static const key dense_keys[] = {INT(soma_dense_options, units),
                                 TEXT(soma_dense_options, activation),
                                 TEXT(soma_dense_options, name),
                                 TEXT(soma_dense_options, init),
                                 NUMBER(soma_dense_options, init_a),
                                 NUMBER(soma_dense_options, init_b),
                                 TEXT(soma_dense_options, bias_init),
                                 NUMBER(soma_dense_options, bias_a),
                                 NUMBER(soma_dense_options, bias_b),
                                 BOOL(soma_dense_options, no_bias),
                                 END};
static const key conv2d_keys[] = {INT(soma_conv2d_options, filters),
                                  INTS(soma_conv2d_options, kernel, 2, 1),
                                  INTS(soma_conv2d_options, stride, 2, 1),
                                  INTS(soma_conv2d_options, pad, 4, 0),
                                  BOOL(soma_conv2d_options, same),
                                  INTS(soma_conv2d_options, dilation, 2, 1),
                                  INT(soma_conv2d_options, groups),
                                  TEXT(soma_conv2d_options, activation),
                                  TEXT(soma_conv2d_options, name),
                                  TEXT(soma_conv2d_options, init),
                                  NUMBER(soma_conv2d_options, init_a),
                                  NUMBER(soma_conv2d_options, init_b),
                                  TEXT(soma_conv2d_options, bias_init),
                                  NUMBER(soma_conv2d_options, bias_a),
                                  NUMBER(soma_conv2d_options, bias_b),
                                  BOOL(soma_conv2d_options, no_bias),
                                  END};
static const key max_pool2d_keys[] = {INTS(soma_pool2d_options, size, 2, 1), INTS(soma_pool2d_options, stride, 2, 1),
                                      INTS(soma_pool2d_options, pad, 4, 0), BOOL(soma_pool2d_options, ceil_mode), END};
static const key average_pool2d_keys[] = {
    INTS(soma_pool2d_options, size, 2, 1),    INTS(soma_pool2d_options, stride, 2, 1),
    INTS(soma_pool2d_options, pad, 4, 0),     BOOL(soma_pool2d_options, ceil_mode),
    BOOL(soma_pool2d_options, count_padding), END};
static const key adaptive_average_pool2d_keys[] = {INTS(soma_adaptive_pool2d_options, size, 2, 1), END};
static const key local_response_norm_keys[] = {
    INT(soma_local_response_norm_options, size), AT_LEAST_0(soma_local_response_norm_options, alpha),
    AT_LEAST_0(soma_local_response_norm_options, beta), POSITIVE(soma_local_response_norm_options, k), END};
static const key batch_norm_keys[] = {AT_LEAST_0(soma_batch_norm_options, momentum),
                                      POSITIVE(soma_batch_norm_options, epsilon),
                                      TEXT(soma_batch_norm_options, convention),
                                      BOOL(soma_batch_norm_options, no_scale),
                                      BOOL(soma_batch_norm_options, no_shift),
                                      TEXT(soma_batch_norm_options, activation),
                                      BOOL(soma_batch_norm_options, frozen),
                                      TEXT(soma_batch_norm_options, name),
                                      END};
static const key dropout_keys[] = {AT_LEAST_0(soma_dropout_options, rate), BOOL(soma_dropout_options, maps),
                                   TEXT(soma_dropout_options, name), END};
static const key no_keys[] = {END};

#define LAYER(n, options)                                                                                              \
    static soma_value build_##n(soma_value x, void *o)                                                                 \
    {                                                                                                                  \
        ((options *)o)->x = x;                                                                                         \
        return soma_##n##_with(o);                                                                                     \
    }
LAYER(dense, soma_dense_options)
LAYER(conv2d, soma_conv2d_options)
LAYER(max_pool2d, soma_pool2d_options)
LAYER(average_pool2d, soma_pool2d_options)
LAYER(adaptive_average_pool2d, soma_adaptive_pool2d_options)
LAYER(local_response_norm, soma_local_response_norm_options)
LAYER(batch_norm, soma_batch_norm_options)
LAYER(dropout, soma_dropout_options)

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
#number, KEY_FLOAT, offsetof(unary_options, c[k]), 1, -HUGE_VAL, false, 0, false                               \
    }
#define KEYS_PLAIN END
#define KEYS_ONE(a, ...) KEY(a, 0), END
#define KEYS_TWO(a, preset_a, sample_a, range_a, doc_a, b, ...) KEY(a, 0), KEY(b, 1), END
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
    {"dense", dense_keys, sizeof(soma_dense_options), build_dense},
    {"conv2d", conv2d_keys, sizeof(soma_conv2d_options), build_conv2d},
    {"max_pool2d", max_pool2d_keys, sizeof(soma_pool2d_options), build_max_pool2d},
    {"average_pool2d", average_pool2d_keys, sizeof(soma_pool2d_options), build_average_pool2d},
    {"adaptive_average_pool2d", adaptive_average_pool2d_keys, sizeof(soma_adaptive_pool2d_options),
     build_adaptive_average_pool2d},
    {"global_average_pool2d", no_keys, sizeof(soma_yaml_bare), build_global_average_pool2d},
    {"local_response_norm", local_response_norm_keys, sizeof(soma_local_response_norm_options),
     build_local_response_norm},
    {"batch_norm", batch_norm_keys, sizeof(soma_batch_norm_options), build_batch_norm},
    {"dropout", dropout_keys, sizeof(soma_dropout_options), build_dropout},
    {"flatten", no_keys, sizeof(soma_yaml_bare), build_flatten},
#define UNARY(...)
#define UNARY_GRAD(n, ...) {#n, n##_keys, sizeof(unary_options), build_##n},
#include "op/unary/unary.list"
    {"softmax", no_keys, sizeof(soma_yaml_bare), build_softmax},
    {NULL, NULL, 0, NULL},
};
