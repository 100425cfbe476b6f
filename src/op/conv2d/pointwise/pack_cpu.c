/* SPDX-License-Identifier: Apache-2.0
 *
 * op/conv2d/pointwise/pack_cpu.c: a reorder: weights [k,c,1,1] into the order of pointwise.h. Knows no convolution.
 */
#include "op/conv2d/pack.h"
#include "op/conv2d/pointwise/pointwise.h"
#include "op/reorder/reorder.h"

#define L SOMA_LANES

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

/* One block of written channels for up to 16 read ones; rows of `to` lie `step` apart. */
static void square(const soma_conv2d_pack *s, const float *w, int64_t k, int64_t c, int count, float *to, int64_t step)
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
    const soma_conv2d_pack_job *j = context;
    const soma_conv2d_pack *s = j->s;
    const int64_t squares = (s->c + 15) / 16;
    int64_t begin, end;
    soma_share(soma_conv2d_pack_groups(s) * squares, 1, index, count, &begin, &end);
    for (int64_t i = begin; i < end; i++) {
        int64_t group = i / squares, c = i % squares * 16, width = soma_conv2d_pack_width(s->k, group);
        int rows = s->c - c < 16 ? (int)(s->c - c) : 16;
        for (int64_t b = 0; b < width; b++)
            square(s, j->w, (2 * group + b) * L, c, rows, j->packed + 2 * group * L * s->c + (c * width + b) * L,
                   width * L);
    }
}

static soma_status prepare(soma_prepare *p)
{
    bool turned;
    (void)soma_pointwise_packed(&p->out[0].layout, L, &turned);
    return soma_conv2d_pack_prepare(p, turned, 0, part);
}

#else
static soma_status prepare(soma_prepare *p)
{
    return accept(p);
}
#endif

const soma_kernel SOMA_ISA(soma_reorder_pointwise_cpu) = {
    .name = "pointwise", SOMA_ISA_FIELDS, .layouts = SOMA_LAYOUT_CONVERT, .accept = accept, .prepare = prepare};
