/* SPDX-License-Identifier: Apache-2.0
 *
 * nn/loss.c: losses by name. Knows no parameters.
 *
 * A classifier may end in softmax, as Keras programs do: softmax_cross_entropy then takes the softmax's input, because
 * the loss computed from logits is exact where log(softmax) is not.
 */
#include "nn/nn.h"

#include "base/text.h"
#include "base/words.h"

#include <string.h>

typedef struct soma_loss_entry {
    const char *name;
    bool classes;
    soma_value (*build)(soma_value output, soma_value target, soma_at at);
} soma_loss_entry;

static soma_value build_cross_entropy(soma_value output, soma_value target, soma_at at)
{
    return soma_softmax_cross_entropy_at(soma_logits_of(output), target, at);
}

static const soma_loss_entry losses[] = {
    {"softmax_cross_entropy", true, build_cross_entropy},
    {"mean_squared_error", false, soma_mean_squared_error_at},
    {"mse", false, soma_mean_squared_error_at},
};
#define LOSSES ((int)(sizeof losses / sizeof losses[0]))

static const char *loss_name(const void *list, int index)
{
    (void)list;
    return index < LOSSES ? losses[index].name : NULL;
}

static const soma_loss_entry *loss_find(const char *name)
{
    for (int i = 0; name && i < LOSSES; i++)
        if (strcmp(losses[i].name, name) == 0)
            return &losses[i];
    return NULL;
}

bool soma_loss_of_classes(const char *name)
{
    const soma_loss_entry *loss = loss_find(name);
    return loss && loss->classes;
}

bool soma_loss_known(const char *name, const char **nearest)
{
    *nearest = soma_nearest(name, loss_name, NULL);
    return loss_find(name) != NULL;
}

soma_value soma_logits_of(soma_value y)
{
    if (!soma_ok(y))
        return y;
    const soma_graph_value *value = &y.graph->values[y.id];
    if (value->kind != SOMA_VALUE_COMPUTED)
        return y;
    const soma_graph_node *node = &y.graph->nodes[value->node];
    return strcmp(node->op->name, "softmax") == 0 ? soma_value_in(y.graph, node->in[0]) : y;
}

soma_value soma_loss_at(const char *name, soma_value output, soma_value target, soma_at at)
{
    if (!soma_ok(output))
        return output;
    const soma_loss_entry *loss = loss_find(name);
    if (loss)
        return loss->build(output, target, at);
    if (!name)
        return soma_value_fail(output.graph, at,
                               SOMA_IN_C("soma_loss: ") "no loss was named; softmax_cross_entropy is for classes, "
                                                        "mean_squared_error for numbers");
    const char *nearest = soma_nearest(name, loss_name, NULL);
    if (nearest)
        return soma_value_fail(output.graph, at, "there is no loss \"%s\"; did you mean \"%s\"?", name, nearest);
    return soma_value_fail(output.graph, at,
                           "there is no loss \"%s\"; known are softmax_cross_entropy and "
                           "mean_squared_error (mse)",
                           name);
}
