/* SPDX-License-Identifier: Apache-2.0
 *
 * op/lrn/lrn.h: attributes of local response normalisation, and which channels belong together.
 */
#ifndef SOMA_OP_LRN_LRN_H
#define SOMA_OP_LRN_LRN_H

#include <soma/op.h>

typedef struct soma_lrn_attrs {
    int64_t size;
    double alpha, beta, k;
} soma_lrn_attrs;

/* The window of channel c: c - before .. c + after, of which those from 0 to C - 1 exist. */
static inline int64_t soma_lrn_before(const soma_lrn_attrs *a)
{
    return a->size / 2;
}
static inline int64_t soma_lrn_after(const soma_lrn_attrs *a)
{
    return (a->size - 1) / 2;
}

extern const soma_op soma_op_local_response_norm;

#endif
