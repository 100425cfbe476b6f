/* SPDX-License-Identifier: Apache-2.0
 *
 * op/conv2d/few/weight_cpu.c: weight and bias gradient of convolutions with few filters (stride 1, one group). Lanes
 * are columns: 3 filters x one row of taps stay in registers while an image's rows pass; their lanes are added up at
 * the very end. Threads share images and own their sums, which are added in the order of threads.
 */
#include "cpu/parallel.h"
#include "cpu/vec.h"
#include "op/conv2d/few/few.h"

#define SOMA_SMALL_PARALLEL 1e5 /* multiply-adds from which a parallel region pays */

typedef struct weight_state {
    soma_conv2d_case c;
    soma_padded x, dy; /* dy's rows are filled up with zeros to whole vectors */
    int out, bias, scratch, threads;
    size_t image, gradient, sums; /* bytes of scratch per thread: padded x; dy; vectors of sums */
} weight_state;

/* sum[f][j] += over rows and columns of dy[f] x shifted by j. */
static inline __attribute__((always_inline)) void taps(const weight_state *s, const float *x, const float *dy,
                                                       float *sums, int64_t filter_step, int filters, int width)
{
    soma_vf sum[3][5];
    for (int f = 0; f < filters; f++)
        for (int j = 0; j < width; j++)
            sum[f][j] = soma_vload(sums + f * filter_step + j * SOMA_LANES);
    for (int64_t oh = 0; oh < s->c.oh; oh++, x += s->x.step, dy += s->dy.step)
        for (int64_t ow = 0; ow < s->c.ow; ow += SOMA_LANES) {
            soma_vf g[3];
            for (int f = 0; f < filters; f++) {
                g[f] = soma_vload(dy + f * s->dy.rows * s->dy.step + ow);
                SOMA_VPIN(g[f]);
            }
            for (int j = 0; j < width; j++) {
                soma_vf tap = soma_vload(x + ow + j);
                SOMA_VPIN(tap);
                for (int f = 0; f < filters; f++)
                    sum[f][j] = soma_vfma(g[f], tap, sum[f][j]);
            }
        }
    for (int f = 0; f < filters; f++)
        for (int j = 0; j < width; j++)
            soma_vstore(sums + f * filter_step + j * SOMA_LANES, sum[f][j]);
}

static inline __attribute__((always_inline)) void taps_width(const weight_state *s, const float *x, const float *dy,
                                                             float *sums, int64_t filter_step, int filters, int width)
{
    if (filters >= 3) /* constants: the sums stay in registers */
        taps(s, x, dy, sums, filter_step, 3, width);
    else if (filters == 2)
        taps(s, x, dy, sums, filter_step, 2, width);
    else
        taps(s, x, dy, sums, filter_step, 1, width);
}

/* sums [k][c kh kw] vectors, then [k] vectors for the bias */
static void image(const weight_state *s, const float *x, const float *dy, float *sums)
{
    const soma_conv2d_case *c = &s->c;
    int64_t filter_step = c->c * c->kh * c->kw * SOMA_LANES;
    for (int64_t k = 0; k < c->k; k += 3) {
        int filters = c->k - k < 3 ? (int)(c->k - k) : 3;
        const float *g = dy + k * s->dy.rows * s->dy.step;
        for (int64_t row = 0; row < c->c * c->kh; row++) {
            const float *from = x + (row / c->kh * s->x.rows + row % c->kh) * s->x.step;
            float *to = sums + k * filter_step + row * c->kw * SOMA_LANES;
            if (c->kw == 5)
                taps_width(s, from, g, to, filter_step, filters, 5);
            else
                taps_width(s, from, g, to, filter_step, filters, 3);
        }
    }
    float *bias = sums + c->k * filter_step;
    for (int64_t k = 0; k < c->k && s->bias >= 0; k++) {
        soma_vf sum = soma_vload(bias + k * SOMA_LANES);
        for (int64_t i = 0; i < s->dy.rows * s->dy.step; i += SOMA_LANES)
            sum += soma_vload(dy + k * s->dy.rows * s->dy.step + i);
        soma_vstore(bias + k * SOMA_LANES, sum);
    }
}

typedef struct weight_job {
    const weight_state *s;
    void *const *arg;
} weight_job;

static float *thread_scratch(const weight_state *s, void *const *arg, int index)
{
    return (float *)(void *)((char *)arg[s->scratch] + (size_t)index * (s->image + s->gradient + s->sums));
}

static void part(void *context, int index, int count)
{
    const weight_job *job = context;
    const weight_state *s = job->s;
    float *x = thread_scratch(s, job->arg, index), *dy = x + s->image / sizeof *x, *sums = dy + s->gradient / sizeof *x;
    int64_t begin, end;
    memset(sums, 0, s->sums);
    soma_share(s->c.n, 1, index, count, &begin, &end);
    soma_padded_clear(&s->x, x);
    soma_padded_clear(&s->dy, dy);
    for (int64_t n = begin; n < end; n++) {
        soma_padded_fill(&s->x, (const float *)job->arg[0] + n * s->c.c * s->c.h * s->c.w, x);
        soma_padded_fill(&s->dy, (const float *)job->arg[1] + n * s->c.k * s->c.oh * s->c.ow, dy);
        image(s, x, dy, sums);
    }
}

static soma_status run(const void *state, void *const *arg, soma_run *r)
{
    const weight_state *s = state;
    const soma_conv2d_case *c = &s->c;
    weight_job job = {s, arg};
    int threads = soma_run_threads(r, s->threads);
    int64_t weights = c->k * c->c * c->kh * c->kw, n = weights + (s->bias >= 0 ? c->k : 0);
    soma_parallel(threads, part, &job);
    for (int64_t i = 0; i < n; i++) {
        soma_vf sum = soma_vset(0);
        for (int t = 0; t < threads; t++)
            sum += soma_vload(thread_scratch(s, arg, t) + (s->image + s->gradient) / sizeof(float) + i * SOMA_LANES);
        float *to = i < weights ? (float *)arg[s->out] + i : (float *)arg[s->bias] + i - weights;
        *to = soma_vsum(sum);
    }
    return SOMA_OK;
}

static size_t aligned(int64_t elements)
{
    return ((size_t)elements * sizeof(float) + 63) / 64 * 64;
}

static soma_status accept(soma_prepare *p)
{
    soma_conv2d_case c = soma_conv2d_weight_case(p);
    /* for filters over one channel oneDNN has reference code alone without AVX-512 */
    bool one = soma_cpu_isa() < 3 && c.c == 1 && soma_conv2d_small_shape(&c, 512);
    if (p->in[0].dtype == SOMA_F32 && (one || soma_conv2d_small(&c)))
        return SOMA_OK;
    soma_refuse(p->reason, "made for f32, stride 1 and at most %d channels and filters, or one channel without AVX-512",
                SOMA_SMALL_LIMIT);
    return SOMA_UNSUPPORTED;
}

static soma_status prepare(soma_prepare *p)
{
    weight_state *s = soma_prepare_state(p, sizeof *s);
    if (!s)
        return SOMA_MEMORY;
    soma_conv2d_case c = soma_conv2d_weight_case(p);
    s->c = c;
    s->x = (soma_padded){.channels = c.c,
                         .h = c.h,
                         .w = c.w,
                         .top = c.a->pad[0],
                         .left = c.a->pad[1],
                         .rows = c.oh + c.kh - 1,
                         .step = c.ow + c.kw - 1};
    s->dy = (soma_padded){
        .channels = c.k, .h = c.oh, .w = c.ow, .rows = c.oh, .step = (c.ow + SOMA_LANES - 1) / SOMA_LANES * SOMA_LANES};
    s->out = p->n_in;
    s->bias = soma_conv2d_has_out(p, 1) ? p->n_in + 1 : -1;
    s->scratch = p->n_in + p->n_out;
    s->threads = soma_conv2d_flops(&c) / 2 >= SOMA_SMALL_PARALLEL ? p->threads : 1;
    s->image = aligned(soma_padded_elements(&s->x));
    s->gradient = aligned(soma_padded_elements(&s->dy));
    s->sums = aligned((c.c * c.kh * c.kw + 1) * c.k * SOMA_LANES);
    p->scratch = (s->image + s->gradient + s->sums) * (size_t)s->threads;
    p->parallel = s->threads > 1;
    p->state = s;
    p->run = run;
    return SOMA_OK;
}

const soma_kernel SOMA_ISA(soma_conv2d_weight_grad_cpu) = {
    .name = "cpu", SOMA_ISA_FIELDS, .accept = accept, .prepare = prepare};
