/* SPDX-License-Identifier: Apache-2.0
 *
 * graph/attrs.c: attributes of ops: their tables (base/fields.h) by op.
 */
#include "base/fields.h"
#include "base/text.h"
#include "graph/graph.h"

#include <string.h>

soma_status soma_attrs_default(const soma_op *op, void *attrs)
{
    soma_fields_preset(op->fields, op->attrs_size, attrs);
    return SOMA_OK;
}

const int *soma_activation_in(const soma_op *op, const void *attrs)
{
    for (const soma_field *field = op->fields; field && field->name; field++)
        if (field->type == SOMA_FIELD_ENUM && (!strcmp(field->name, "activation") || !strcmp(field->name, "gate")))
            return (const int *)(const void *)((const char *)attrs + field->offset);
    return NULL;
}

soma_status soma_attrs_check(const soma_op *op, const void *attrs, char *reason)
{
    return soma_fields_check(op->fields, attrs, "attribute ", reason);
}

static const char *field_name(const void *fields, int index)
{
    return fields ? ((const soma_field *)fields)[index].name : NULL;
}

soma_status soma_attr_parse(const soma_op *op, void *attrs, const char *name, const char *text, char *reason)
{
    const soma_field_reader r = {.what = "attribute ", .reason = reason};
    const soma_field *field = soma_field_find(op->fields, name);
    if (field)
        return soma_field_read_text(&r, field, attrs, text);
    const char *near = soma_nearest(name, field_name, op->fields);
    return soma_refuse(reason, "%s has no attribute \"%s\"%s%s%s", op->name, name, near ? "; did you mean \"" : "",
                       near ? near : "", near ? "\"?" : "");
}

soma_status soma_attrs_parse(const soma_op *op, void *attrs, const char *text, char *reason)
{
    const soma_field_reader r = {.what = "attribute ", .reason = reason};
    soma_attrs_default(op, attrs);
    soma_status status = soma_fields_read(&r, op->fields, attrs, text, ' ', op->name);
    return status ? status : soma_attrs_check(op, attrs, reason);
}

void soma_attr_text(const soma_field *field, const void *attrs, char *text, size_t capacity)
{
    soma_field_text_of(field, attrs, text, capacity);
}
