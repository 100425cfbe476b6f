/* SPDX-License-Identifier: Apache-2.0
 *
 * nn/activation.c: activations by name. Knows no parameters.
 */
#include "base/text.h"
#include "nn/nn.h"

#include <string.h>

static const char *const activations[] = {"relu", "sigmoid", "tanh", "relu6", "softmax", "linear", NULL};

static bool known(const char *name)
{
    for (int i = 0; activations[i]; i++)
        if (strcmp(activations[i], name) == 0)
            return true;
    return false;
}

bool soma_activation_known(soma_graph *graph, const char *kind, const char *layer, const char *name, soma_at at)
{
    if (!name || known(name))
        return true;
    const char *nearest = soma_nearest_of(name, activations);
    if (nearest)
        soma_value_fail(graph, at, "%s \"%s\": there is no activation \"%s\"; did you mean \"%s\"?", kind, layer, name,
                        nearest);
    else
        soma_value_fail(graph, at,
                        "%s \"%s\": there is no activation \"%s\"; known are relu, sigmoid, tanh, relu6, softmax and "
                        "linear",
                        kind, layer, name);
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
