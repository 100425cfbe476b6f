/* SPDX-License-Identifier: Apache-2.0
 *
 * op/reduce/expand.h: what the kernels of expand share.
 */
#ifndef SOMA_OP_REDUCE_EXPAND_H
#define SOMA_OP_REDUCE_EXPAND_H

#include "op/binary/binary.h"

typedef struct soma_expansion {
    soma_broadcast walk; /* a: x */
    double divisor;
} soma_expansion;

/* Prepared state, set in p; NULL: no memory. */
soma_expansion *soma_expansion_plan(soma_prepare *p);

#endif
