/* SPDX-License-Identifier: Apache-2.0
 *
 * op/reduce/reduce.h: reductions over a set of axes, prepared once: axes of size 1 vanish, neighbours that are both
 * reduced or both kept become one, so that kept and reduced dimensions alternate.
 */
#ifndef SOMA_OP_REDUCE_REDUCE_H
#define SOMA_OP_REDUCE_REDUCE_H

#include "tensor/element.h"

/* Elements from which a reduction is shared between threads. */
#define SOMA_REDUCE_PARALLEL 65536

/* reduce_sum, reduce_mean, reduce_max, max_share */
typedef struct soma_reduce_attrs {
    int64_t axes; /* a bit per axis; 0: all */
    bool keep_dims;
} soma_reduce_attrs;

/* sum_to */
typedef struct soma_sum_to_attrs {
    soma_shape shape; /* of the result; the batch symbolic */
} soma_sum_to_attrs;

/* expand */
typedef struct soma_expand_attrs {
    soma_shape shape; /* of the result; the batch symbolic */
    int64_t axes;     /* along which x is copied; 0: all */
    bool mean;        /* divide by the number of copies */
} soma_expand_attrs;

/* The attribute as a set of axes of an array of that rank. */
static inline uint32_t soma_axes(int64_t axes, int rank)
{
    return axes ? (uint32_t)axes : (1u << rank) - 1;
}

typedef struct soma_reduction {
    int rank;                                                                    /* 0: one element */
    int64_t dim[SOMA_MAX_RANK], in_step[SOMA_MAX_RANK], out_step[SOMA_MAX_RANK]; /* steps in elements; out 0: reduced */
    bool reduced[SOMA_MAX_RANK];
    int64_t n_in, n_out;
    double divisor; /* of the result: 1, or the number of elements in the full batch */
    float scale;    /* 1 / divisor */
    int threads;
    bool split; /* cpu: threads share what is reduced and add up in scratch; otherwise they share results */
    bool max;
    soma_dtype dtype;
    void (*share)(const struct soma_reduction *, const float *x, float *y, float *scratch, int64_t begin, int64_t end);
} soma_reduction;

/* Fills everything but split and share, for the axes of in[0] that p->op reduces. */
void soma_reduction_plan(soma_reduction *s, const soma_prepare *p);

#endif
