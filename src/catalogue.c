/* SPDX-License-Identifier: Apache-2.0
 *
 * catalogue.c: the lists of kinds, one line each, and the ops as kinds (soma/catalogue.h). Above all other floors.
 */
#include <soma/soma.h>

#include <pthread.h>
#include <stdio.h>
#include <string.h>

enum {
#define SOMA_OP(name) +1
    OPS = 0
#include "op/ops.list"
#undef SOMA_OP
};

static soma_kind op_kinds[OPS];
static const soma_kind *op_rows[OPS + 1];
static const soma_kinds ops = {.one = "op", .many = "ops", .rows = op_rows};

static const soma_kinds *const lists[] = {
    &soma_layers,
    &soma_activations,
    &ops,
};

static void list_ops(void)
{
    for (int i = 0; i < OPS; i++) {
        const soma_op *op = soma_op_at(i);
        op_kinds[i] = (soma_kind){.struct_size = sizeof op_kinds[i],
                                  .name = op->name,
                                  .doc = op->doc,
                                  .options_size = op->attrs_size,
                                  .fields = op->fields};
        op_rows[i] = &op_kinds[i];
    }
}

const soma_kinds *soma_kinds_at(int index)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, list_ops);
    return index >= 0 && index < (int)(sizeof lists / sizeof lists[0]) ? lists[index] : NULL;
}

const soma_kinds *soma_kinds_find(const char *name)
{
    for (int i = 0; name && soma_kinds_at(i); i++)
        if (!strcmp(soma_kinds_at(i)->one, name) || !strcmp(soma_kinds_at(i)->many, name))
            return soma_kinds_at(i);
    return NULL;
}

const char *soma_field_type_words(const soma_field *field, char text[96])
{
    static const char *const words[] = {"whole number", "number",   "true or false", "one of its choices",
                                        "whole number", "shape",    "number",        "text",
                                        "kind",         "in C only"};
    bool several = field->count > 1 && (field->type == SOMA_FIELD_INTS || field->type == SOMA_FIELD_FLOATS);
    soma_field_type type = field->type == SOMA_FIELD_TEXT && field->choices ? SOMA_FIELD_ENUM : field->type;
    if (type == SOMA_FIELD_KIND && field->kinds)
        snprintf(text, 96, "%s %s", strchr("aeiou", field->kinds->one[0]) ? "an" : "a", field->kinds->one);
    else if (several)
        snprintf(text, 96, "%s%d %ss", type == SOMA_FIELD_FLOATS ? "up to " : "", field->count, words[type]);
    else
        snprintf(text, 96, "%s", words[type]);
    return text;
}
