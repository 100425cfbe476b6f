/* SPDX-License-Identifier: Apache-2.0
 *
 * io/sections_yaml.c: the sections of a description that say how its model wants to be trained: loss, optimizer and
 * fit. Compiled only with libyaml.
 */
#include "io/sections_yaml.h"

#include "base/text.h"
#include "data/dataset.h"
#include "graph/graph.h"
#include "compile/plan.h"
#include "nn/nn.h"

#include <stdio.h>
#include <string.h>

static const soma_field sgd_fields[] = {SOMA_FLOAT(soma_sgd_options, lr, 0, AT_LEAST(0), .aliases = "learning_rate"),
                                        SOMA_FLOAT(soma_sgd_options, momentum, 0, BELOW(0, 1)),
                                        SOMA_FLOAT(soma_sgd_options, decay, 0, AT_LEAST(0)),
                                        SOMA_FLOAT(soma_sgd_options, weight_decay, 0, AT_LEAST(0)),
                                        SOMA_BOOL(soma_sgd_options, nesterov, ANY),
                                        SOMA_FLOAT(soma_sgd_options, peak_lr, 0, ABOVE(0)),
                                        SOMA_FIELDS_END};
static const soma_field adam_fields[] = {SOMA_FLOAT(soma_adam_options, lr, 0, AT_LEAST(0), .aliases = "learning_rate"),
                                         SOMA_FLOAT(soma_adam_options, beta1, 0, BELOW(0, 1)),
                                         SOMA_FLOAT(soma_adam_options, beta2, 0, BELOW(0, 1)),
                                         SOMA_FLOAT(soma_adam_options, epsilon, 0, AT_LEAST(0), .aliases = "eps"),
                                         SOMA_FLOAT(soma_adam_options, weight_decay, 0, AT_LEAST(0)),
                                         SOMA_FLOAT(soma_adam_options, peak_lr, 0, ABOVE(0)),
                                         SOMA_FIELDS_END};

soma_status soma_yaml_optimizer(const soma_yaml *y, const yaml_node_t *node, soma_recipe *recipe)
{
    static const char *const names[] = {"sgd", "adam", NULL};
    const yaml_node_t *name, *options;
    soma_sgd_options sgd = {.struct_size = sizeof sgd, .at = soma_yaml_place(y, node)};
    soma_adam_options adam = {.struct_size = sizeof adam, .at = soma_yaml_place(y, node)};
    if (!soma_yaml_kind(y, node, &name, &options))
        return soma_fail(y->s, SOMA_INVALID, soma_yaml_place(y, node),
                         "\"optimizer\" takes sgd or adam, or one of them with options: adam: {lr: 0.001}");
    const char *text = soma_yaml_text(name);
    bool is_sgd = !strcmp(text, "sgd");
    if (!is_sgd && strcmp(text, "adam"))
        return soma_yaml_unknown(y, name, "optimizer", text, soma_nearest_of(text, names));
    soma_status status = !options ? SOMA_OK
                         : is_sgd ? soma_yaml_options(y, options, "sgd", sgd_fields, NULL, &sgd)
                                  : soma_yaml_options(y, options, "adam", adam_fields, NULL, &adam);
    recipe->optimizer = is_sgd ? soma_sgd_with(&sgd) : soma_adam_with(&adam);
    return status;
}

soma_status soma_yaml_loss(const soma_yaml *y, const yaml_node_t *node, soma_recipe *recipe)
{
    const char *near = NULL, *name = soma_yaml_text(node);
    if (!name)
        return soma_fail(y->s, SOMA_INVALID, soma_yaml_place(y, node),
                         "\"loss\" takes one value, not a list or a mapping");
    if (!soma_loss_known(name, &near))
        return soma_yaml_unknown(y, node, "loss", name, near);
    snprintf(recipe->loss, sizeof recipe->loss, "%s", name);
    return SOMA_OK;
}

/* ---- data and callbacks ---- */

static const soma_field data_fields[] = {SOMA_TEXT(soma_dataset_options, path, NULL, ANY),
                                         SOMA_TEXT(soma_dataset_options, format, NULL, ANY),
                                         SOMA_TEXT(soma_dataset_options, split, NULL, ANY),
                                         SOMA_TEXT(soma_dataset_options, labels, NULL, ANY),
                                         SOMA_BOOL(soma_dataset_options, skip_broken, ANY),
                                         SOMA_INT(soma_dataset_options, limit, 0, AT_LEAST(1)),
                                         SOMA_FIELDS_END};

soma_status soma_yaml_data(const soma_yaml *y, const yaml_node_t *node, soma_model *m, soma_recipe *recipe)
{
    soma_dataset_options *o = m ? soma_arena_alloc(&m->arena, sizeof *o) : NULL, none;
    if (m && !o)
        return SOMA_MEMORY;
    soma_yaml keep = *y; /* texts live as long as the model */
    keep.arena = m ? &m->arena : y->arena;
    o = o ? o : &none;
    *o = (soma_dataset_options){.struct_size = sizeof *o, .at = soma_yaml_place(y, node)};
    soma_status status = soma_yaml_text(node) ? soma_yaml_value(&keep, data_fields, node, o)
                                              : soma_yaml_options(&keep, node, "data", data_fields, NULL, o);
    if (!status && (!o->path || !o->path[0]))
        return soma_fail(y->s, SOMA_INVALID, soma_yaml_place(y, node),
                         "\"data\" needs a \"path\": of a file or a folder, or a data set's name");
    recipe->data = m ? o : NULL;
    return status;
}

soma_status soma_yaml_callbacks(const soma_yaml *y, const yaml_node_t *list)
{
    const yaml_node_t *name, *options;
    if (list->type != YAML_SEQUENCE_NODE)
        return soma_fail(y->s, SOMA_INVALID, soma_yaml_place(y, list), "\"callbacks\" takes a list");
    if (soma_yaml_count(list) == 0)
        return SOMA_OK;
    const yaml_node_t *first = soma_yaml_item(y, list, 0);
    if (!soma_yaml_kind(y, first, &name, &options))
        return soma_yaml_nameless(y, first, "a callback");
    return soma_yaml_unknown(y, name, "callback", soma_yaml_text(name), NULL);
}

/* ---- fit ---- */

static const soma_field group_fields[] = {SOMA_TEXT(soma_param_group, pattern, NULL, ANY),
                                          SOMA_FLOAT(soma_param_group, lr, 0, AT_LEAST(0), .aliases = "learning_rate"),
                                          SOMA_FLOAT(soma_param_group, lr_scale, 0, AT_LEAST(0)),
                                          SOMA_FLOAT(soma_param_group, weight_decay, 0, AT_LEAST(0)),
                                          SOMA_BOOL(soma_param_group, no_weight_decay, ANY),
                                          SOMA_BOOL(soma_param_group, frozen, ANY),
                                          SOMA_BOOL(soma_param_group, trained, ANY),
                                          SOMA_FIELDS_END};

static soma_status read_group(const soma_yaml *y, const yaml_node_t *node, soma_model *m, soma_recipe *recipe)
{
    soma_param_group group = {0};
    if (recipe->n_groups == SOMA_RECIPE_GROUPS)
        return soma_fail(y->s, SOMA_INVALID, soma_yaml_place(y, node), "\"groups\" takes at most %d groups",
                         SOMA_RECIPE_GROUPS);
    soma_status status = soma_yaml_options(y, node, "a group", group_fields, NULL, &group);
    if (status)
        return status;
    if (!group.pattern)
        return soma_fail(y->s, SOMA_INVALID, soma_yaml_place(y, node),
                         "a group needs a \"pattern\", such as features.*");
    if (soma_yaml_find(y, node, "frozen") && !group.frozen)
        group.trained = true;
    else if (soma_yaml_find(y, node, "trained") && !group.trained)
        group.frozen = true;
    if (soma_yaml_find(y, node, "no_weight_decay") && !group.no_weight_decay)
        return soma_fail(y->s, SOMA_INVALID, soma_yaml_place(y, node),
                         "\"no_weight_decay\" takes true; leave it out, or give \"weight_decay\" a number");
    group.pattern = soma_arena_text(m ? &m->arena : y->arena, group.pattern);
    if (group.pattern)
        recipe->groups[recipe->n_groups++] = group;
    return group.pattern ? SOMA_OK : SOMA_MEMORY;
}

static soma_status read_groups(const soma_yaml *y, const yaml_node_t *list, soma_model *m, soma_recipe *recipe)
{
    soma_status status = SOMA_OK;
    if (list->type != YAML_SEQUENCE_NODE)
        return soma_fail(y->s, SOMA_INVALID, soma_yaml_place(y, list),
                         "\"groups\" takes a list of mappings, such as - {pattern: features, frozen: true}");
    for (int i = 0; i < soma_yaml_count(list) && !status; i++)
        status = read_group(y, soma_yaml_item(y, list, i), m, recipe);
    return status;
}

typedef struct fit_numbers {
    int64_t batch_size, epochs;
    double validation_split;
    const char *precision, *split_order;
} fit_numbers;

static const soma_field fit_fields[] = {SOMA_INT(fit_numbers, batch_size, 0, AT_LEAST(1)),
                                        SOMA_INT(fit_numbers, epochs, 0, AT_LEAST(1)),
                                        SOMA_FLOAT(fit_numbers, validation_split, 0, BELOW(0, 1)),
                                        SOMA_TEXT(fit_numbers, precision, NULL, ANY),
                                        SOMA_TEXT(fit_numbers, split_order, NULL, ANY),
                                        SOMA_FIELDS_END};

soma_status soma_yaml_fit(const soma_yaml *y, const yaml_node_t *map, soma_model *m, soma_recipe *recipe)
{
    static const char *const besides[] = {"groups", NULL};
    fit_numbers n = {0};
    const yaml_node_t *groups = soma_yaml_find(y, map, "groups");
    soma_status status = soma_yaml_options(y, map, "fit", fit_fields, besides, &n);
    if (!status && n.precision && !soma_one_of(n.precision, soma_precisions))
        status = soma_yaml_unknown(y, soma_yaml_find(y, map, "precision"), "precision", n.precision,
                                   soma_nearest_of(n.precision, soma_precisions));
    if (!status && n.split_order && !soma_one_of(n.split_order, soma_split_orders))
        status = soma_yaml_unknown(y, soma_yaml_find(y, map, "split_order"), "split_order", n.split_order,
                                   soma_nearest_of(n.split_order, soma_split_orders));
    if (!status && groups)
        status = read_groups(y, groups, m, recipe);
    if (status)
        return status;
    recipe->batch_size = n.batch_size;
    recipe->epochs = n.epochs;
    recipe->validation_split = n.validation_split == (double)SOMA_ZERO ? 0 : n.validation_split;
    if (n.split_order)
        snprintf(recipe->split_order, sizeof recipe->split_order, "%s", n.split_order);
    if (n.precision)
        snprintf(recipe->precision, sizeof recipe->precision, "%s", n.precision);
    return SOMA_OK;
}
