/* SPDX-License-Identifier: Apache-2.0
 *
 * op/matmul/matmul.h: what the kernels of matmul share: attributes and the case as strides.
 */
#ifndef SOMA_OP_MATMUL_MATMUL_H
#define SOMA_OP_MATMUL_MATMUL_H

#include "op/tail/tail.h"
#include <soma/op.h>

typedef struct soma_matmul_attrs {
    bool transpose_a, transpose_b;
    int activation; /* soma_act */
} soma_matmul_attrs;

/* y[t,i,j] = act(bias[j] + sum over q of a[t', i a_row + q a_col] b[t'', q b_row + j b_col]); y is dense. */
typedef struct soma_matmul_case {
    int64_t m, n, k, batches;
    int64_t a_row, a_col, b_row, b_col;
    int rank;                                                                 /* of the leading dimensions */
    int64_t dim[SOMA_MAX_RANK], a_step[SOMA_MAX_RANK], b_step[SOMA_MAX_RANK]; /* steps are 0 where broadcast */
    soma_act activation;                                                      /* what the kernel applies itself */
    bool bias;
} soma_matmul_case;

static inline void soma_matmul_steps(const soma_shape *x, int rank, int64_t matrix, int64_t step[SOMA_MAX_RANK])
{
    int lead = x->rank - 2;
    for (int i = 0; i < rank; i++) {
        int at = lead - 1 - i; /* aligned at the right */
        step[rank - 1 - i] = at >= 0 && x->dim[at] > 1 ? matrix : 0;
        matrix *= at >= 0 ? x->dim[at] : 1;
    }
}

static inline soma_matmul_case soma_matmul_case_of(const soma_prepare *p)
{
    const soma_matmul_attrs *attrs = p->attrs;
    const soma_shape *a = &p->in[0].shape, *b = &p->in[1].shape, *y = &p->out[0].shape;
    int64_t a_width = a->dim[a->rank - 1], b_width = b->dim[b->rank - 1];
    soma_matmul_case c = {.m = y->dim[y->rank - 2],
                          .n = y->dim[y->rank - 1],
                          .k = attrs->transpose_a ? a->dim[a->rank - 2] : a_width,
                          .batches = 1,
                          .a_row = attrs->transpose_a ? 1 : a_width,
                          .a_col = attrs->transpose_a ? a_width : 1,
                          .b_row = attrs->transpose_b ? 1 : b_width,
                          .b_col = attrs->transpose_b ? b_width : 1,
                          .rank = y->rank - 2,
                          .activation = soma_tail_of(p).act,
                          .bias = p->n_in > 2 && p->in[2].shape.rank >= 0};
    for (int i = 0; i < c.rank; i++) {
        c.dim[i] = y->dim[i];
        c.batches *= y->dim[i];
    }
    soma_matmul_steps(a, c.rank, c.m * c.k, c.a_step);
    soma_matmul_steps(b, c.rank, c.n * c.k, c.b_step);
    return c;
}

/* Where matrix t of a and b begin, in elements. */
static inline void soma_matmul_offsets(const soma_matmul_case *c, int64_t t, int64_t *a, int64_t *b)
{
    *a = *b = 0;
    for (int i = c->rank - 1; i >= 0; i--) {
        *a += t % c->dim[i] * c->a_step[i];
        *b += t % c->dim[i] * c->b_step[i];
        t /= c->dim[i];
    }
}

#endif
