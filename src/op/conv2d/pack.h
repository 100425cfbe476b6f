/* SPDX-License-Identifier: Apache-2.0
 *
 * op/conv2d/pack.h: what the reorders share that pack f32 weights [k,c,kh,kw] for soma's own convolutions: written
 * channels in pairs of vectors, read channels below them. Turned, for the gradient of x, c is written and k read.
 */
#ifndef SOMA_OP_CONV2D_PACK_H
#define SOMA_OP_CONV2D_PACK_H

#include "cpu/parallel.h"
#include "cpu/vec.h"
#include "op/conv2d/conv2d.h"

typedef void (*soma_conv2d_pack_part)(void *job, int index, int count);

typedef struct soma_conv2d_pack {
    int m, threads; /* m: of Winograd's tiles */
    bool turned;
    int64_t k, c; /* written and read channels */
    soma_conv2d_pack_part part;
} soma_conv2d_pack;

typedef struct soma_conv2d_pack_job {
    const soma_conv2d_pack *s;
    const float *w;
    float *packed;
} soma_conv2d_pack_job;

/* Pairs of blocks of written channels; the last one may be a single block. */
static inline int64_t soma_conv2d_pack_groups(const soma_conv2d_pack *s)
{
    return (s->k / SOMA_LANES + 1) / 2;
}
static inline int soma_conv2d_pack_width(int64_t k, int64_t group)
{
    return k / SOMA_LANES - 2 * group < 2 ? 1 : 2;
}

static inline soma_status soma_conv2d_pack_run(const void *state, void *const *arg, soma_run *r)
{
    const soma_conv2d_pack *s = state;
    soma_conv2d_pack_job j = {s, arg[0], arg[1]};
    soma_run_parallel(r, s->threads, s->part, &j);
    return SOMA_OK;
}

static inline soma_status soma_conv2d_pack_prepare(soma_prepare *p, bool turned, int m, soma_conv2d_pack_part part)
{
    const soma_shape *w = &p->in[0].shape;
    soma_conv2d_pack *s = soma_prepare_state(p, sizeof *s);
    if (!s)
        return SOMA_MEMORY;
    *s = (soma_conv2d_pack){.m = m, .turned = turned, .part = part};
    s->k = w->dim[turned ? 1 : 0];
    s->c = w->dim[turned ? 0 : 1];
    s->threads = p->in[0].elements >= 1 << 14 ? p->threads : 1;
    p->parallel = s->threads > 1;
    p->state = s;
    p->run = soma_conv2d_pack_run;
    return SOMA_OK;
}

#endif
