/* SPDX-License-Identifier: Apache-2.0
 *
 * op/unary/clip.h: attributes of clip and its gradient.
 */
#ifndef SOMA_OP_UNARY_CLIP_H
#define SOMA_OP_UNARY_CLIP_H

#include <soma/op.h>

typedef struct soma_clip_attrs {
    double min, max;
} soma_clip_attrs;

typedef struct soma_clip_state {
    int64_t n;
    double min, max;
    soma_dtype dtype;
    int threads;
} soma_clip_state;

soma_status soma_clip_prepare(soma_prepare *p, soma_run_fn run);

#endif
