/* SPDX-License-Identifier: Apache-2.0
 *
 * op/reorder/reorder_cpu.c: reorder between the layouts that soma reads, and accumulate. Both run at the speed of
 * memory.
 */
#include "cpu/isa.h"
#include "cpu/parallel.h"
#include "op/reorder/reorder.h"

#include <string.h>

#define SOMA_MOVE_PARALLEL 131072 /* bytes from which a parallel region pays */

/* ---- reorder: arrays seen as [N, C / block, P, block], P = H W ---- */

typedef struct reorder_state {
    int64_t n, c, plane, from, to;
    size_t size;
    int threads;
} reorder_state;

typedef struct reorder_job {
    const reorder_state *s;
    void *const *arg;
} reorder_job;

/* from [rows, columns] to [columns, rows]: rows are `in_step` apart, columns of the result `out_step`. */
#define TRANSPOSE(T, name)                                                                                             \
    static void name(const T *in, int64_t in_step, T *out, int64_t out_step, int64_t rows, int64_t columns)            \
    {                                                                                                                  \
        int64_t r = 0;                                                                                                 \
        for (; r + 16 <= rows; r += 16)                                                                                \
            for (int64_t c = 0; c < columns; c++)                                                                      \
                for (int64_t i = 0; i < 16; i++)                                                                       \
                    out[c * out_step + r + i] = in[(r + i) * in_step + c];                                             \
        for (; r < rows; r++)                                                                                          \
            for (int64_t c = 0; c < columns; c++)                                                                      \
                out[c * out_step + r] = in[r * in_step + c];                                                           \
    }
TRANSPOSE(uint8_t, transpose_1)
TRANSPOSE(uint16_t, transpose_2)
TRANSPOSE(uint32_t, transpose_4)
TRANSPOSE(uint64_t, transpose_8)

static void transpose(size_t size, const char *in, int64_t in_step, char *out, int64_t out_step, int64_t rows,
                      int64_t columns)
{
    if (size == 1)
        transpose_1((const uint8_t *)in, in_step, (uint8_t *)out, out_step, rows, columns);
    else if (size == 2)
        transpose_2((const uint16_t *)(const void *)in, in_step, (uint16_t *)(void *)out, out_step, rows, columns);
    else if (size == 4)
        transpose_4((const uint32_t *)(const void *)in, in_step, (uint32_t *)(void *)out, out_step, rows, columns);
    else
        transpose_8((const uint64_t *)(const void *)in, in_step, (uint64_t *)(void *)out, out_step, rows, columns);
}

/* One group of channels of one sample: the larger of the two blocks. */
static void reorder_group(const reorder_state *s, const char *in, char *out, int64_t group)
{
    int64_t small = s->from < s->to ? s->from : s->to, columns = group / small;
    size_t run = (size_t)small * s->size;
    if (small == 1 && s->to == group) { /* plain to channels inside */
        transpose(s->size, in, s->plane, out, s->to, group, s->plane);
        return;
    }
    if (small == 1) {
        transpose(s->size, in, s->from, out, s->plane, s->plane, group);
        return;
    }
    for (int64_t q = 0; q < columns; q++) /* runs of the smaller block */
        for (int64_t p = 0; p < s->plane; p++) {
            int64_t apart = q * s->plane + p, together = p * columns + q;
            memcpy(out + (size_t)(s->to == small ? apart : together) * run,
                   in + (size_t)(s->to == small ? together : apart) * run, run);
        }
}

static void reorder_part(void *context, int index, int count)
{
    const reorder_job *job = context;
    const reorder_state *s = job->s;
    int64_t group = s->from > s->to ? s->from : s->to, begin, end;
    soma_share(s->n * (s->c / group), 1, index, count, &begin, &end);
    for (int64_t g = begin; g < end; g++) {
        size_t at = (size_t)(g * group * s->plane) * s->size;
        reorder_group(s, (const char *)job->arg[0] + at, (char *)job->arg[1] + at, group);
    }
}

static soma_status reorder_run(const void *state, void *const *arg, soma_run *run)
{
    const reorder_state *s = state;
    reorder_job job = {s, arg};
    if (s->from == s->to) {
        memcpy(arg[1], arg[0], (size_t)(s->n * s->c * s->plane) * s->size);
        return SOMA_OK;
    }
    soma_run_parallel(run, s->threads, reorder_part, &job);
    return SOMA_OK;
}

static soma_status reorder_prepare(soma_prepare *p)
{
    const soma_shape *x = &p->in[0].shape;
    reorder_state *s = soma_prepare_state(p, sizeof *s);
    if (!s)
        return SOMA_MEMORY;
    *s = (reorder_state){1, 1, p->in[0].elements, 1, 1, soma_dtype_size(p->in[0].dtype), 1};
    if (x->rank == 4) {
        s->n = x->dim[0];
        s->c = x->dim[1];
        s->plane = x->dim[2] * x->dim[3];
        s->from = soma_layout_block(&p->in[0]);
        s->to = soma_layout_block(&p->out[0]);
    }
    if ((size_t)p->in[0].elements * s->size >= SOMA_MOVE_PARALLEL)
        s->threads = p->threads;
    p->parallel = s->threads > 1;
    p->state = s;
    p->run = reorder_run;
    return SOMA_OK;
}

const soma_kernel SOMA_ISA(soma_reorder_cpu) = {.name = "cpu",
                                                SOMA_ISA_FIELDS,
                                                .bf16 = SOMA_BF16_FOLLOW,
                                                .layouts = SOMA_LAYOUT_CONVERT,
                                                .accept = soma_reorder_accept,
                                                .prepare = reorder_prepare};

/* ---- accumulate ---- */

typedef struct accumulate_state {
    int64_t n;
    int threads;
} accumulate_state;

typedef struct accumulate_job {
    const accumulate_state *s;
    void *const *arg;
} accumulate_job;

static void accumulate_part(void *context, int index, int count)
{
    const accumulate_job *job = context;
    int64_t begin, end;
    soma_share(job->s->n, 1024, index, count, &begin, &end);
    const float *sum = job->arg[0], *x = job->arg[1];
    float *out = job->arg[2]; /* may be `sum` itself */
#pragma omp simd
    for (int64_t i = begin; i < end; i++)
        out[i] = sum[i] + x[i];
}

static soma_status accumulate_run(const void *state, void *const *arg, soma_run *run)
{
    const accumulate_state *s = state;
    accumulate_job job = {s, arg};
    soma_run_parallel(run, s->threads, accumulate_part, &job);
    return SOMA_OK;
}

static soma_status accumulate_accept(soma_prepare *p)
{
    if (p->in[0].dtype == SOMA_F32)
        return SOMA_OK;
    soma_refuse(p->reason, "adds f32 only");
    return SOMA_UNSUPPORTED;
}

static soma_status accumulate_prepare(soma_prepare *p)
{
    const soma_arg *x = &p->in[0];
    accumulate_state *s = soma_prepare_state(p, sizeof *s);
    if (!s)
        return SOMA_MEMORY;
    s->n = x->layout.kind == SOMA_PACKED ? (int64_t)(x->layout.bytes / sizeof(float)) : x->elements;
    s->threads = (size_t)s->n * sizeof(float) >= SOMA_MOVE_PARALLEL ? p->threads : 1;
    p->parallel = s->threads > 1;
    p->state = s;
    p->run = accumulate_run;
    return SOMA_OK;
}

const soma_kernel SOMA_ISA(soma_accumulate_cpu) = {.name = "cpu",
                                                   SOMA_ISA_FIELDS,
                                                   .layouts = SOMA_LAYOUT_FOLLOW,
                                                   .accept = accumulate_accept,
                                                   .prepare = accumulate_prepare};
