/* SPDX-License-Identifier: Apache-2.0
 *
 * op/conv2d/pointwise_pack_cpu.c: a reorder: weights [k,c,1,1] into the order of pointwise.h. Turned, for the gradient of
 * x, c is what is written and k what is read. Knows no convolution.
 */
#include "backend/cpu/parallel.h"
#include "backend/cpu/vec.h"
#include "op/conv2d/pointwise.h"
#include "op/reorder/reorder.h"

#define L SOMA_LANES

typedef struct pack_state {
    bool turned;
    int threads;
    int64_t k, c; /* written and read channels */
} pack_state;

static soma_status accept(soma_prepare *p)
{
    bool turned;
    if (p->in[0].dtype == SOMA_F32 && p->in[0].layout.kind == SOMA_PLAIN && SOMA_ISA_LEVEL >= 2 &&
        soma_pointwise_packed(&p->out[0].layout, L, &turned))
        return SOMA_OK;
    soma_refuse(p->reason, "made for plain weights into those of 1x1 convolution with %d lanes", L);
    return SOMA_UNSUPPORTED;
}

#if SOMA_ISA_LEVEL >= 2

typedef struct pack_job {
    const pack_state *s;
    const float *w;
    float *packed;
} pack_job;

/* One block of written channels for up to 16 read ones; rows of `to` lie `step` apart. */
static void square(const pack_state *s, const float *w, int64_t k, int64_t c, int count, float *to, int64_t step)
{
    float turned[16 * 16];
    if (s->turned) {
        for (int i = 0; i < count; i++)
            soma_vstore(to + i * step, soma_vload(w + (c + i) * s->k + k));
        return;
    }
    soma_transpose_16(w + k * s->c + c, s->c, L, turned, 16, count);
    for (int i = 0; i < count; i++)
        soma_vstore(to + i * step, soma_vload(turned + i * 16));
}

static void part(void *context, int index, int count)
{
    const pack_job *j = context;
    const pack_state *s = j->s;
    const int64_t blocks = s->k / L, groups = (blocks + 1) / 2, squares = (s->c + 15) / 16;
    int64_t begin, end;
    soma_share(groups * squares, 1, index, count, &begin, &end);
    for (int64_t i = begin; i < end; i++) {
        int64_t group = i / squares, c = i % squares * 16, width = blocks - 2 * group < 2 ? 1 : 2;
        int rows = s->c - c < 16 ? (int)(s->c - c) : 16;
        for (int64_t b = 0; b < width; b++)
            square(s, j->w, (2 * group + b) * L, c, rows, j->packed + 2 * group * L * s->c + (c * width + b) * L,
                   width * L);
    }
}

static soma_status run(const void *state, void *const *arg, soma_run *r)
{
    const pack_state *s = state;
    pack_job j = {s, arg[0], arg[1]};
    soma_parallel(s->threads < r->threads ? s->threads : r->threads, part, &j);
    return SOMA_OK;
}

static soma_status prepare(soma_prepare *p)
{
    const soma_shape *w = &p->in[0].shape;
    pack_state *s = soma_prepare_state(p, sizeof *s);
    if (!s)
        return SOMA_MEMORY;
    (void)soma_pointwise_packed(&p->out[0].layout, L, &s->turned);
    s->k = w->dim[s->turned ? 1 : 0];
    s->c = w->dim[s->turned ? 0 : 1];
    s->threads = p->in[0].elements >= 1 << 14 ? p->threads : 1;
    p->parallel = s->threads > 1;
    p->state = s;
    p->run = run;
    return SOMA_OK;
}

#else
static soma_status prepare(soma_prepare *p)
{
    return accept(p);
}
#endif

const soma_kernel SOMA_ISA(soma_reorder_pointwise_cpu) = {
    .name = "pointwise", .isa = SOMA_ISA_LEVEL, .layouts = SOMA_LAYOUT_CONVERT, .accept = accept, .prepare = prepare};
