/* SPDX-License-Identifier: Apache-2.0
 *
 * op/dropout/dropout.h: dropout's attributes, and which number decides over which element.
 */
#ifndef SOMA_OP_DROPOUT_H
#define SOMA_OP_DROPOUT_H

#include "base/random.h"
#include "tensor/element.h"

extern const soma_op soma_op_dropout;

typedef struct soma_dropout_attrs {
    double rate;
    int64_t stream_site; /* 0: the node's own site */
    bool maps;           /* whole feature maps */
} soma_dropout_attrs;

/* Element e of the full batch (row-major, plain: the layout never changes the numbers) is decided by number e % 4 of
 * draw block e / 4: dropped where number < threshold = rate 2^32. With maps, e counts feature maps. */
typedef struct soma_dropout_state {
    int64_t elements;   /* of this piece */
    int64_t per_sample; /* decisions; 0: x has no batch */
    int64_t plane;      /* elements that one decision is for: 1, or those of a map */
    int64_t n, c, map;  /* x [n,c,map]; for blocked layouts and maps */
    int64_t block;      /* channels that lie side by side */
    uint64_t site;
    uint32_t threshold;
    double scale; /* 1 / (1 - rate) */
    soma_dtype dtype;
    int threads;
} soma_dropout_state;

soma_status soma_dropout_prepare(soma_prepare *p, soma_run_fn run);

/* The first element's place in the full batch. */
static inline uint64_t soma_dropout_first(const soma_dropout_state *s, const soma_run *run)
{
    return (uint64_t)run->sample_offset * (uint64_t)s->per_sample;
}

#endif
