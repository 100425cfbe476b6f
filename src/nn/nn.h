/* SPDX-License-Identifier: Apache-2.0
 *
 * nn/nn.h: what layers, losses and training share inside the library.
 */
#ifndef SOMA_NN_NN_H
#define SOMA_NN_NN_H

#include "graph/graph.h"
#include <soma/nn.h>

/* An activation, with its options ("clip:min=-1,max=1"), as that node (NULL: an automatic name). */
soma_value soma_activation_named(soma_value x, const char *text, const char *node, soma_at at);
/* Is the activation known? Marks the graph with a sentence about `layer` when it is not. */
bool soma_activation_known(soma_graph *graph, const char *kind, const char *layer, const char *text, soma_at at);
/* Does it lose about half of what it gets, as relu does? */
bool soma_activation_rectifies(const char *text);

/* The logits of y: a softmax's input where y is a softmax's output, y itself otherwise. */
soma_value soma_logits_of(soma_value y);
/* True where the loss named so compares classes (and accuracy makes sense). NULL or unknown: false. */
bool soma_loss_of_classes(const char *name);
/* Is there a loss of that name? nearest: the one that may have been meant, or NULL. */
bool soma_loss_known(const char *name, const char **nearest);

/* How one tensor is trained, after all groups. */
typedef struct soma_param_rule {
    bool own; /* a rate of its own: lr; else scale times the optimizer's */
    double lr;
    double scale;
    double weight_decay;
    bool frozen;
} soma_param_rule;
/* ways: one per tensor of the model. Refuses patterns that match nothing. */
soma_status soma_groups_resolve(soma_graph *graph, const soma_optimizer *opt, const soma_updates_options *o,
                                soma_param_rule *ways);
/* Layers with statistics of their own stop following the batch where those are frozen. The graph must be a copy of its
 * own. */
void soma_groups_freeze_statistics(soma_graph *graph, const soma_param_rule *ways);

/* A number of an objective's graph that every update with this rate reads; a program's copy of it may be written to. */
typedef struct soma_rate {
    soma_value value; /* a constant: the rate, or what stands before a schedule, -1 for "by the schedule" */
    double factor;    /* what a rate said later is multiplied with; NaN: this one stays */
} soma_rate;
/* soma_updates_with, and all rates: room for as many as updates, *n_rates of them. */
int soma_updates_of_rates(soma_value loss, soma_value *updates, int capacity, const soma_updates_options *o,
                          soma_rate *rates, int *n_rates);

/* The optimizer's learning rate, before groups scale it, that the update node `update` reads. */
soma_value soma_update_rate(soma_value update);

#endif
