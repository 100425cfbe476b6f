/* SPDX-License-Identifier: Apache-2.0
 *
 * nn/activation.c: activations as kinds: the functions of unary.list that say so, softmax and linear. Each is a layer
 * too; so are the functions that only are layers. Knows no parameters.
 */
#include "nn/layer.h"

#include "base/text.h"
#include "base/words.h"
#include "op/unary/numbers.h"

#include <string.h>

#undef ANY /* a range of unary.list is called so */

/* An activation's options are its op's attributes. */
typedef struct activation_options {
    soma_layer_head head;
    double c[SOMA_NUMBERS];
} activation_options;

static soma_value apply(const soma_layer_kind *kind, const activation_options *o, const char *node, soma_at at)
{
    const soma_op *op = soma_op_find(kind->kind.name);
    return op ? soma_apply1(op, &o->head.x, 1, kind->kind.fields ? o->c : NULL, node, at) : o->head.x;
}

static soma_value build(soma_layer *layer, const void *options)
{
    return apply(layer->kind, options, NULL, layer->at);
}

/* ---- kinds ---- */

#define KIND_OF(n, count, text, table)                                                                                 \
    const soma_layer_kind soma_activation_##n = {                                                                      \
        .kind = {.struct_size = sizeof(soma_layer_kind),                                                               \
                 .name = #n,                                                                                           \
                 .doc = text,                                                                                          \
                 .options_size = sizeof(soma_layer_head) + (count) * sizeof(double),                                   \
                 .fields = table},                                                                                     \
        .build = build}

#define NUMBER(k, number, standard, range, text)                                                                       \
    {                                                                                                                  \
        .name = #number, .type = SOMA_FIELD_FLOAT, .offset = offsetof(activation_options, c[k]), .preset = (standard), \
        SOMA_RANGE_##range, .doc = (text)                                                                              \
    }
#define TABLE_PLAIN NULL
#define TABLE_ONE(a, preset, sample, range, text)                                                                      \
    (const soma_field[])                                                                                               \
    {                                                                                                                  \
        NUMBER(0, a, preset, range, text), SOMA_FIELDS_END                                                             \
    }
#define TABLE_TWO(a, preset_a, sample_a, range_a, text_a, b, preset_b, sample_b, range_b, text_b)                      \
    (const soma_field[])                                                                                               \
    {                                                                                                                  \
        NUMBER(0, a, preset_a, range_a, text_a), NUMBER(1, b, preset_b, range_b, text_b), SOMA_FIELDS_END              \
    }
#define TABLE_ORDERED TABLE_TWO
#define UNARY(...)
#define UNARY_GRAD(n, use, fused, numbers, onnx, text, ...) KIND_OF(n, SOMA_COUNT_##numbers, text, TABLE_##numbers);
#include "op/unary/unary.list"
KIND_OF(softmax, 0, "y = exp(x) / sum of exp(x) along the last axis.", NULL);
KIND_OF(linear, 0, "y = x.", NULL);

#define FUNCTION_LAYER(n)
#define FUNCTION_ACTIVATION(n) &soma_activation_##n.kind,
#define FUNCTION_RECTIFIER(n) &soma_activation_##n.kind,
static const soma_kind *const rows[] = {
#define UNARY(...)
#define UNARY_GRAD(n, use, ...) FUNCTION_##use(n)
#include "op/unary/unary.list"
    &soma_activation_softmax.kind, &soma_activation_linear.kind, NULL};
const soma_kinds soma_activations = {.one = "activation", .many = "activations", .rows = rows};

#undef FUNCTION_ACTIVATION
#define FUNCTION_ACTIVATION(n)
static const soma_kind *const rectifiers[] = {
#define UNARY(...)
#define UNARY_GRAD(n, use, ...) FUNCTION_##use(n)
#include "op/unary/unary.list"
    NULL};

/* ---- by name ---- */

/* "clip:min=-1,max=1"; false: reason says why not. */
static bool parse(const char *text, const soma_layer_kind **kind, activation_options *options, char *reason)
{
    const soma_field_reader how = {.asked = true, .reason = reason};
    const soma_kind *found = NULL;
    activation_options asked;
    if (soma_kind_read(&how, &soma_activations, text, &found, &asked, sizeof asked) ||
        soma_fields_resolve(found->fields, found->options_size, &asked, options, reason))
        return false;
    *kind = (const soma_layer_kind *)(const void *)found;
    return true;
}

bool soma_activation_rectifies(const char *text)
{
    const soma_kinds kinds = {.rows = rectifiers};
    char name[64] = "";
    if (text && strcspn(text, ":") < sizeof name)
        memcpy(name, text, strcspn(text, ":"));
    return soma_kind_find(&kinds, name) != NULL;
}

bool soma_activation_known(soma_graph *graph, const char *kind, const char *layer, const char *text, soma_at at)
{
    char reason[SOMA_REASON_MAX] = "", room[SOMA_REASON_MAX];
    const soma_layer_kind *found;
    activation_options options;
    if (!text || parse(text, &found, &options, reason))
        return true;
    soma_value_fail(graph, at, "%s \"%s\": %s", kind, layer, soma_words(graph->s, at, reason, room, sizeof room));
    return false;
}

soma_value soma_activation_named(soma_value x, const char *text, const char *node, soma_at at)
{
    char reason[SOMA_REASON_MAX] = "";
    const soma_layer_kind *kind;
    activation_options options;
    if (!soma_ok(x) || !text)
        return x;
    if (!soma_activation_known(x.graph, "activation", node ? node : text, text, at) ||
        !parse(text, &kind, &options, reason))
        return (soma_value){x.graph, -1};
    options.head.x = x;
    return apply(kind, &options, node, at);
}

soma_value soma_activation_at(soma_value x, const char *name, soma_at at)
{
    return soma_activation_named(x, name, NULL, at);
}
