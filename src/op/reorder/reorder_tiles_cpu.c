/* SPDX-License-Identifier: Apache-2.0
 *
 * op/reorder/reorder_tiles_cpu.c: weights and gradients of 1x1 convolutions between plain and a library's square tiles,
 * which it says in soma_tiles. Libraries' own reorders of plain results reach a tenth of the speed of memory here.
 */
#include "cpu/parallel.h"
#include "cpu/vec.h"
#include "op/reorder/reorder.h"

#define L SOMA_LANES

#if SOMA_ISA_LEVEL >= 2

typedef struct tiles_state {
    soma_tiles tiles;
    bool packs;            /* plain to tiles, else back */
    int64_t rows, columns; /* tiles of k, of c */
    int threads;
} tiles_state;

typedef struct tiles_job {
    const tiles_state *s;
    const float *from;
    float *to;
} tiles_job;

static void square(const float *from, int64_t from_step, float *to, int64_t to_step, bool turn)
{
    float turned[16 * 16];
    if (turn) {
        soma_transpose_16(from, from_step, L, turned, 16, L);
        from = turned;
        from_step = 16;
    }
    for (int i = 0; i < L; i++)
        soma_vstore(to + i * to_step, soma_vload(from + i * from_step));
}

static void part(void *context, int index, int count)
{
    const tiles_job *j = context;
    const tiles_state *s = j->s;
    const int64_t width = s->columns * L;
    int64_t begin, end;
    soma_share(s->rows * s->columns, 1, index, count, &begin, &end);
    for (int64_t i = begin; i < end; i++) {
        int64_t k = i / s->columns, c = i % s->columns;
        int64_t plain = k * L * width + c * L;
        int64_t tile = (s->tiles.c_outside ? c * s->rows + k : i) * L * L;
        if (s->packs)
            square(j->from + plain, width, j->to + tile, L, !s->tiles.c_inside);
        else
            square(j->from + tile, L, j->to + plain, width, !s->tiles.c_inside);
    }
}

static soma_status run(const void *state, void *const *arg, soma_run *r)
{
    const tiles_state *s = state;
    tiles_job j = {s, arg[0], arg[1]};
    soma_run_parallel(r, s->threads, part, &j);
    return SOMA_OK;
}

static soma_status accept(soma_prepare *p)
{
    const soma_layout *from = &p->in[0].layout, *to = &p->out[0].layout;
    const soma_layout *packed = from->kind == SOMA_PACKED ? from : to, *other = packed == from ? to : from;
    const soma_shape *w = &p->in[0].shape;
    if (p->in[0].dtype == SOMA_F32 && p->out[0].dtype == SOMA_F32 && other->kind == SOMA_PLAIN &&
        packed->kind == SOMA_PACKED && packed->tiles.side == L && w->rank == 4 && w->dim[2] == 1 && w->dim[3] == 1)
        return SOMA_OK;
    return soma_refuse(p->reason, "made for 1x1 weights between plain and tiles of %d x %d", L, L);
}

static soma_status prepare(soma_prepare *p)
{
    const soma_shape *w = &p->in[0].shape;
    tiles_state *s = soma_prepare_state(p, sizeof *s);
    if (!s)
        return SOMA_MEMORY;
    s->packs = p->out[0].layout.kind == SOMA_PACKED;
    s->tiles = s->packs ? p->out[0].layout.tiles : p->in[0].layout.tiles;
    s->rows = w->dim[0] / L;
    s->columns = w->dim[1] / L;
    s->threads = p->in[0].elements >= 1 << 14 ? p->threads : 1;
    p->parallel = s->threads > 1;
    p->state = s;
    p->run = run;
    return SOMA_OK;
}

#else
static soma_status accept(soma_prepare *p)
{
    return soma_refuse(p->reason, "made for AVX2 and AVX-512");
}
static soma_status prepare(soma_prepare *p)
{
    return accept(p);
}
#endif

const soma_kernel SOMA_ISA(soma_reorder_tiles_cpu) = {
    .name = "tiles", SOMA_ISA_FIELDS, .layouts = SOMA_LAYOUT_CONVERT, .accept = accept, .prepare = prepare};
