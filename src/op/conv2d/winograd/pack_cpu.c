/* SPDX-License-Identifier: Apache-2.0
 *
 * op/conv2d/winograd/pack_cpu.c: a reorder: weights [k,c,3,3] into U = G w G' in the order of winograd.h. Turned, taps
 * run backwards. Knows no convolution.
 */
#include "op/conv2d/pack.h"
#include "op/conv2d/winograd/winograd.h"
#include "op/conv2d/winograd/tile.h"
#include "op/reorder/reorder.h"

#define L SOMA_LANES

static soma_status accept(soma_prepare *p)
{
    int m;
    bool turned;
    if (p->in[0].dtype == SOMA_F32 && p->in[0].layout.kind == SOMA_PLAIN && SOMA_ISA_LEVEL >= 2 &&
        soma_winograd_packed(&p->out[0].layout, L, &m, &turned))
        return SOMA_OK;
    soma_refuse(p->reason, "made for plain weights into those of Winograd convolution with %d lanes", L);
    return SOMA_UNSUPPORTED;
}

#if SOMA_ISA_LEVEL >= 2

/* U of one block of written channels and one read channel, elements `step` apart */
SOMA_INLINE void one(int m, const soma_conv2d_pack *s, const float *w, float *u, int64_t step, bool past)
{
    const int size = m + 2;
    float taps[9 * 16];
    soma_vf column[3], half[3][SOMA_TILE], row[SOMA_TILE];
    soma_transpose_16(w, s->turned ? 9 : s->c * 9, L, taps, 16, 9);
    for (int j = 0; j < 3; j++) {
        for (int i = 0; i < 3; i++)
            column[i] = soma_vload(taps + (s->turned ? 8 - 3 * i - j : 3 * i + j) * 16);
        soma_winograd_weight(m, column, half[j]);
    }
    for (int i = 0; i < size; i++) {
        for (int j = 0; j < 3; j++)
            column[j] = half[j][i];
        soma_winograd_weight(m, column, row);
        for (int j = 0; j < size; j++)
            if (past)
                soma_vstream(u + (i * size + j) * step, row[j]);
            else
                soma_vstore(u + (i * size + j) * step, row[j]);
    }
}
static void one_4(const soma_conv2d_pack *s, const float *w, float *u, int64_t step, bool past)
{
    one(4, s, w, u, step, past);
}
static void one_6(const soma_conv2d_pack *s, const float *w, float *u, int64_t step, bool past)
{
    one(6, s, w, u, step, past);
}

static void part(void *context, int index, int count)
{
    const soma_conv2d_pack_job *j = context;
    const soma_conv2d_pack *s = j->s;
    const int64_t elements = (s->m + 2) * (s->m + 2);
    const bool past = elements * s->c * s->k * (int64_t)sizeof(float) > SOMA_WINOGRAD_FAR; /* the caches */
    int64_t begin, end;
    soma_share(soma_conv2d_pack_groups(s) * s->c, 1, index, count, &begin, &end);
    for (int64_t i = begin; i < end; i++) {
        int64_t group = i / s->c, c = i % s->c, width = soma_conv2d_pack_width(s->k, group);
        for (int64_t b = 0; b < width; b++) {
            int64_t k = (2 * group + b) * L;
            const float *w = j->w + (s->turned ? c * s->k + k : k * s->c + c) * 9;
            float *u = j->packed + 2 * group * L * elements * s->c + (c * width + b) * L;
            if (s->m == 4)
                one_4(s, w, u, s->c * width * L, past);
            else
                one_6(s, w, u, s->c * width * L, past);
        }
    }
    soma_vstream_end();
}

static soma_status prepare(soma_prepare *p)
{
    int m;
    bool turned;
    (void)soma_winograd_packed(&p->out[0].layout, L, &m, &turned);
    return soma_conv2d_pack_prepare(p, turned, m, part);
}

#else
static soma_status prepare(soma_prepare *p)
{
    return accept(p);
}
#endif

const soma_kernel SOMA_ISA(soma_reorder_winograd_cpu) = {
    .name = "winograd", SOMA_ISA_FIELDS, .layouts = SOMA_LAYOUT_CONVERT, .accept = accept, .prepare = prepare};
