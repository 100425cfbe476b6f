/* SPDX-License-Identifier: Apache-2.0
 *
 * op/registry.c: the built-in ops by position and by name. ops.list is the only list.
 */
#include <soma/op.h>

#include <string.h>

#define SOMA_OP(name) extern const soma_op soma_op_##name;
#include "op/ops.list"
#undef SOMA_OP

static const soma_op *const ops[] = {
#define SOMA_OP(name) &soma_op_##name,
#include "op/ops.list"
#undef SOMA_OP
    NULL};

const soma_op *soma_op_at(int index)
{
    return index >= 0 && index < (int)(sizeof ops / sizeof ops[0]) ? ops[index] : NULL;
}

const soma_op *soma_op_find(const char *name)
{
    for (const soma_op *const *op = ops; name && *op; op++)
        if (!strcmp((*op)->name, name))
            return *op;
    return NULL;
}
