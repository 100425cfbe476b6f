/* SPDX-License-Identifier: Apache-2.0
 *
 * op/binary/binary.h: broadcasting of two arrays against each other, as NumPy does it, prepared once: neighbouring
 * dimensions that broadcast alike become one, dimensions of size 1 vanish.
 */
#ifndef SOMA_OP_BINARY_BINARY_H
#define SOMA_OP_BINARY_BINARY_H

#include "tensor/element.h"

typedef struct soma_broadcast {
    int rank; /* at least 1; the last dimension is the inner loop */
    int64_t dim[SOMA_MAX_RANK];
    int64_t a[SOMA_MAX_RANK], b[SOMA_MAX_RANK]; /* steps in elements; 0: broadcast */
    int64_t n, rows;                            /* elements of the result; rows = n / dim[rank - 1] */
    int threads;
    soma_dtype dtype;
    void (*span)(const float *, const float *, float *, int64_t); /* cpu: one row, or a share of it */
    void (*walk)(const struct soma_broadcast *, const float *, const float *, float *, int64_t,
                 int64_t);           /* cpu: rows */
    double (*exact)(double, double); /* reference */
} soma_broadcast;

/* Appends a dimension with its steps, or joins it to the one before; dimensions of size 1 are left out. */
void soma_broadcast_add(soma_broadcast *s, int64_t dim, int64_t a, int64_t b);
/* After the last dimension: n elements in all. */
void soma_broadcast_end(soma_broadcast *s, int64_t n);
/* All of it, from the arguments of a binary op. */
void soma_broadcast_plan(soma_broadcast *s, const soma_prepare *p);

/* Where a row begins in a and b. */
typedef struct soma_row {
    int64_t index[SOMA_MAX_RANK], a, b;
} soma_row;

static inline void soma_row_begin(soma_row *row, const soma_broadcast *s, int64_t r)
{
    row->a = row->b = 0;
    for (int i = s->rank - 2; i >= 0; i--) {
        row->index[i] = r % s->dim[i];
        r /= s->dim[i];
        row->a += row->index[i] * s->a[i];
        row->b += row->index[i] * s->b[i];
    }
}

static inline void soma_row_next(soma_row *row, const soma_broadcast *s)
{
    for (int i = s->rank - 2; i >= 0; i--) {
        row->a += s->a[i];
        row->b += s->b[i];
        if (++row->index[i] < s->dim[i])
            return;
        row->a -= s->a[i] * s->dim[i];
        row->b -= s->b[i] * s->dim[i];
        row->index[i] = 0;
    }
}

#endif
