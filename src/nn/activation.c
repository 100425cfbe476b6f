/* SPDX-License-Identifier: Apache-2.0
 *
 * nn/activation.c: activations by name. Knows no parameters.
 */
#include "base/text.h"
#include "nn/nn.h"

#include <string.h>

/* unary.list says which of its functions are activations, and which of these rectify. */
#define FUNCTION_LAYER(name)
#define FUNCTION_ACTIVATION(name) #name,
#define FUNCTION_RECTIFIER(name) #name,
static const char *const activations[] = {
#define UNARY(...)
#define UNARY_GRAD(name, use, ...) FUNCTION_##use(name)
#include "op/unary/unary.list"
    "softmax", "linear", NULL};

#undef FUNCTION_ACTIVATION
#define FUNCTION_ACTIVATION(name)
static const char *const rectifiers[] = {
#define UNARY(...)
#define UNARY_GRAD(name, use, ...) FUNCTION_##use(name)
#include "op/unary/unary.list"
    NULL};

bool soma_activation_rectifies(const char *name)
{
    return name && soma_one_of(name, rectifiers);
}

bool soma_activation_known(soma_graph *graph, const char *kind, const char *layer, const char *name, soma_at at)
{
    if (!name || soma_one_of(name, activations))
        return true;
    const char *nearest = soma_nearest_of(name, activations);
    soma_text known = {.s = graph->s};
    for (int i = 0; !nearest && activations[i]; i++)
        soma_text_addf(&known, "%s%s", i == 0 ? "" : activations[i + 1] ? ", " : " and ", activations[i]);
    if (nearest)
        soma_value_fail(graph, at, "%s \"%s\": there is no activation \"%s\"; did you mean \"%s\"?", kind, layer, name,
                        nearest);
    else
        soma_value_fail(graph, at, "%s \"%s\": there is no activation \"%s\"; known are %s", kind, layer, name,
                        known.failed ? "those of soma ops" : known.bytes);
    soma_text_free(&known);
    return false;
}

soma_value soma_activation_named(soma_value x, const char *name, const char *layer, soma_at at)
{
    if (!soma_ok(x) || !name || strcmp(name, "linear") == 0)
        return x;
    if (!soma_activation_known(x.graph, "activation", layer ? layer : name, name, at))
        return (soma_value){x.graph, -1};
    return soma_apply1(soma_op_find(name), &x, 1, NULL, layer, at);
}

soma_value soma_activation_at(soma_value x, const char *name, soma_at at)
{
    return soma_activation_named(x, name, NULL, at);
}
