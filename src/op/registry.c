/* SPDX-License-Identifier: Apache-2.0
 *
 * op/registry.c: the built-in ops by position and by name. ops.list is the only list.
 */
#include "graph/graph.h"
#include "op/reorder/reorder.h"
#include "op/tail/tail.h"
#include <soma/ops.h>

#include <string.h>

#define SOMA_OP(name) extern const soma_op soma_op_##name;
#include "op/ops.list"
#undef SOMA_OP

static const soma_op *const ops[] = {
#define SOMA_OP(name) &soma_op_##name,
#include "op/ops.list"
#undef SOMA_OP
    NULL};

static soma_value zeros_like(soma_value x, soma_at at)
{
    return soma_mul_at(x, soma_scalar_at(x, 0, at), at);
}

/* Of x's shape, which has one element. */
static soma_value one_like(soma_value x, soma_at at)
{
    soma_value one = soma_scalar_at(x, 1, at);
    soma_shape shape = soma_value_type(x).shape;
    return shape.rank ? soma_reshape_at(one, shape, at) : one;
}

const soma_graph_ops soma_ops = {.reorder = &soma_op_reorder,
                                 .accumulate = &soma_op_accumulate,
                                 .tail = soma_tail_behind,
                                 .sum = soma_add_at,
                                 .zeros = zeros_like,
                                 .one = one_like};

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
