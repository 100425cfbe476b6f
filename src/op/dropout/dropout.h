/* SPDX-License-Identifier: Apache-2.0
 *
 * op/dropout/dropout.h: dropout's attributes, and which number decides over which element.
 */
#ifndef SOMA_OP_DROPOUT_H
#define SOMA_OP_DROPOUT_H

#include "base/random.h"
#include "op/element.h"

extern const soma_op soma_op_dropout;

typedef struct soma_dropout_attrs {
    double rate;
    int64_t stream_site; /* 0: the node's own site */
} soma_dropout_attrs;

/* Element e of the full batch (row-major, plain) is decided by number e % 4 of draw block e / 4:
 * dropped where number < threshold = rate 2^32. */
typedef struct soma_dropout_state {
    int64_t elements;   /* of this piece */
    int64_t per_sample; /* 0: x has no batch */
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
