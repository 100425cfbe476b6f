/* SPDX-License-Identifier: Apache-2.0
 *
 * op/conv2d/few/forward_cpu.c: convolutions with few filters (stride 1, one group), and their input gradients, which
 * are convolutions of dy with turned filters. Lanes are columns: up to 6 filters x 2 vectors of one output row stay in
 * registers while all taps pass. Threads share images.
 */
#include "cpu/parallel.h"
#include "cpu/vec.h"
#include "op/conv2d/few/few.h"
#include "op/tail/tail_vec.h"

#define SOMA_FILTERS 6          /* at once */
#define SOMA_SMALL_PARALLEL 1e5 /* multiply-adds from which a parallel region pays */

typedef struct small_state {
    soma_padded in;             /* the image that is read */
    int64_t n, filters, oh, ow; /* what is written: [n, filters, oh, ow], plain */
    int64_t channels, kh, kw, c, k;
    bool turned; /* input gradient */
    soma_tail_state tail;
    int out, scratch, threads; /* positions in arg */
    size_t weights, image;     /* bytes of scratch: filters in the order of use; one padded image per thread */
} small_state;

/* w [k,c,kh,kw] into [channels, kh, kw, filters]. */
static void order_weights(const small_state *s, const float *w, float *to)
{
    for (int64_t q = 0; q < s->channels; q++)
        for (int64_t i = 0; i < s->kh; i++)
            for (int64_t j = 0; j < s->kw; j++)
                for (int64_t f = 0; f < s->filters; f++)
                    *to++ = s->turned ? w[((q * s->c + f) * s->kh + s->kh - 1 - i) * s->kw + s->kw - 1 - j]
                                      : w[((f * s->c + q) * s->kh + i) * s->kw + j];
}

typedef struct strip {
    const float *in, *w, *bias; /* at the strip's first row and column; at its first filter */
    float *out;
    int64_t i0, i1; /* rows of taps that meet the image, not its padding */
    int last;       /* lanes of the last vector */
} strip;

static inline __attribute__((always_inline)) void strip_of(const small_state *s, const strip *t, int filters,
                                                           int vectors)
{
    soma_vf sum[SOMA_FILTERS][2];
    for (int f = 0; f < filters; f++)
        for (int v = 0; v < vectors; v++)
            sum[f][v] = soma_vset(t->bias ? t->bias[f] : 0);
    for (int64_t q = 0; q < s->channels; q++)
        for (int64_t i = t->i0; i < t->i1; i++) {
            const float *row = t->in + (q * s->in.rows + i) * s->in.step;
            const float *w = t->w + (q * s->kh + i) * s->kw * s->filters;
            for (int64_t j = 0; j < s->kw; j++, w += s->filters) {
                soma_vf x[2];
                for (int v = 0; v < vectors; v++) {
                    x[v] = soma_vload(row + j + v * SOMA_LANES);
                    SOMA_VPIN(x[v]);
                }
                for (int f = 0; f < filters; f++) {
                    soma_vf tap = soma_vset(w[f]);
                    for (int v = 0; v < vectors; v++)
                        sum[f][v] = soma_vfma(x[v], tap, sum[f][v]);
                }
            }
        }
    for (int f = 0; f < filters; f++)
        for (int v = 0; v < vectors; v++) {
            soma_vf y = soma_act_vector(s->tail.act, sum[f][v]);
            soma_vstore_n(t->out + f * s->oh * s->ow + v * SOMA_LANES, y, v == vectors - 1 ? t->last : SOMA_LANES);
        }
}

static inline __attribute__((always_inline)) void strip_width(const small_state *s, const strip *t, int filters,
                                                              int vectors)
{
    switch (filters) { /* constants: the sums stay in registers */
    case 1:
        strip_of(s, t, 1, vectors);
        break;
    case 2:
        strip_of(s, t, 2, vectors);
        break;
    case 3:
        strip_of(s, t, 3, vectors);
        break;
    case 4:
        strip_of(s, t, 4, vectors);
        break;
    case 5:
        strip_of(s, t, 5, vectors);
        break;
    default:
        strip_of(s, t, SOMA_FILTERS, vectors);
    }
}

static void strip_two(const small_state *s, const strip *t, int filters)
{
    strip_width(s, t, filters, 2);
}
static void strip_one(const small_state *s, const strip *t, int filters)
{
    strip_width(s, t, filters, 1);
}

static void image(const small_state *s, const float *copy, const float *weights, const float *bias, float *out)
{
    for (int64_t f = 0; f < s->filters; f += SOMA_FILTERS) {
        int filters = s->filters - f < SOMA_FILTERS ? (int)(s->filters - f) : SOMA_FILTERS;
        for (int64_t oh = 0; oh < s->oh; oh++)
            for (int64_t ow = 0; ow < s->ow; ow += 2 * SOMA_LANES) {
                int64_t left = s->ow - ow, below = s->in.top + s->in.h - oh;
                strip t = {.in = copy + oh * s->in.step + ow,
                           .w = weights + f,
                           .i0 = oh < s->in.top ? s->in.top - oh : 0,
                           .i1 = below < s->kh ? below : s->kh,
                           .bias = bias ? bias + f : NULL,
                           .out = out + (f * s->oh + oh) * s->ow + ow};
                if (left > SOMA_LANES) {
                    t.last = left < 2 * SOMA_LANES ? (int)left - SOMA_LANES : SOMA_LANES;
                    strip_two(s, &t, filters);
                } else {
                    t.last = (int)left;
                    strip_one(s, &t, filters);
                }
            }
    }
    if (!(SOMA_ACTS_CLAMP & SOMA_ACT_BIT(s->tail.act))) /* the image is still in the cache */
        soma_act_row(s->tail.act, out, s->filters * s->oh * s->ow);
}

typedef struct small_job {
    const small_state *s;
    void *const *arg;
} small_job;

static void part(void *context, int index, int count)
{
    const small_job *job = context;
    const small_state *s = job->s;
    char *scratch = job->arg[s->scratch];
    float *copy = (float *)(void *)(scratch + s->weights + (size_t)index * s->image);
    int64_t begin, end, size = s->in.channels * s->in.h * s->in.w;
    soma_share(s->n, 1, index, count, &begin, &end);
    if (begin < end)
        soma_padded_clear(&s->in, copy);
    for (int64_t n = begin; n < end; n++) {
        soma_padded_fill(&s->in, (const float *)job->arg[0] + n * size, copy);
        image(s, copy, (const float *)(void *)scratch, s->tail.bias < 0 ? NULL : job->arg[s->tail.bias],
              (float *)job->arg[s->out] + n * s->filters * s->oh * s->ow);
    }
}

static soma_status run(const void *state, void *const *arg, soma_run *r)
{
    const small_state *s = state;
    small_job job = {s, arg};
    order_weights(s, arg[1], arg[s->scratch]);
    soma_run_parallel(r, s->threads, part, &job);
    return SOMA_OK;
}

static size_t aligned(int64_t elements)
{
    return ((size_t)elements * sizeof(float) + 63) / 64 * 64;
}

static soma_status finish(soma_prepare *p, small_state *s, const soma_conv2d_case *c)
{
    s->n = c->n;
    s->c = c->c;
    s->kh = c->kh;
    s->kw = c->kw;
    s->in.rows = s->oh + c->kh - 1;
    s->in.step = s->ow + c->kw - 1;
    s->in.inner = p->in[0].layout.kind == SOMA_NHWC;
    s->out = p->n_in;
    s->scratch = p->n_in + p->n_out;
    s->threads = soma_conv2d_flops(c) / 2 >= SOMA_SMALL_PARALLEL ? p->threads : 1;
    s->weights = aligned(s->filters * s->channels * s->kh * s->kw);
    s->image = aligned(soma_padded_elements(&s->in));
    p->scratch = s->weights + s->image * (size_t)s->threads;
    p->parallel = s->threads > 1;
    p->state = s;
    p->run = run;
    return SOMA_OK;
}

/* ---- forward ---- */

static soma_status refuse(soma_prepare *p)
{
    soma_refuse(p->reason, "made for f32, stride 1 and at most %d channels and filters", SOMA_SMALL_LIMIT);
    return SOMA_UNSUPPORTED;
}

static soma_status forward_accept(soma_prepare *p)
{
    soma_conv2d_case c = soma_conv2d_forward_case(p);
    return p->in[0].dtype == SOMA_F32 && soma_conv2d_small(&c) && !soma_conv2d_has_in(p, SOMA_CONV2D_ADDED) ? SOMA_OK
                                                                                                            : refuse(p);
}

static soma_status forward_prepare(soma_prepare *p)
{
    soma_conv2d_case c = soma_conv2d_forward_case(p);
    small_state *s = soma_prepare_state(p, sizeof *s);
    if (!s)
        return SOMA_MEMORY;
    *s = (small_state){.in = {.channels = c.c, .h = c.h, .w = c.w, .top = c.a->pad[0], .left = c.a->pad[1]},
                       .filters = c.k,
                       .channels = c.c,
                       .oh = c.oh,
                       .ow = c.ow,
                       .tail = soma_tail_of(p)};
    return finish(p, s, &c);
}

const soma_kernel SOMA_ISA(soma_conv2d_cpu) = {.name = "cpu",
                                               SOMA_ISA_FIELDS,
                                               .tail = SOMA_TAIL_ACT,
                                               .acts = UINT32_MAX,
                                               .accept = forward_accept,
                                               .prepare = forward_prepare};

/* ---- input gradient ---- */

static soma_status input_accept(soma_prepare *p)
{
    soma_conv2d_case c = soma_conv2d_input_case(p);
    return p->in[0].dtype == SOMA_F32 && soma_conv2d_small_input(&c) ? SOMA_OK : refuse(p);
}

/* dy in the layout that the weight gradient wants. */
static void input_wish(soma_prepare *p)
{
    soma_conv2d_case c = soma_conv2d_input_case(p);
    p->in[0].layout.kind = soma_conv2d_small(&c) ? SOMA_PLAIN : SOMA_NHWC;
    p->out[0].layout.kind = SOMA_PLAIN;
    soma_tail_wish_alike(p);
}

static soma_status input_prepare(soma_prepare *p)
{
    soma_conv2d_case c = soma_conv2d_input_case(p);
    small_state *s = soma_prepare_state(p, sizeof *s);
    if (!s)
        return SOMA_MEMORY;
    *s = (small_state){
        .in = {.channels = c.k, .h = c.oh, .w = c.ow, .top = c.kh - 1 - c.a->pad[0], .left = c.kw - 1 - c.a->pad[1]},
        .filters = c.c,
        .channels = c.k,
        .oh = c.h,
        .ow = c.w,
        .turned = true,
        .tail = soma_tail_of(p)};
    return finish(p, s, &c);
}

const soma_kernel SOMA_ISA(soma_conv2d_input_grad_cpu) = {.name = "cpu",
                                                          SOMA_ISA_FIELDS,
                                                          .layouts = SOMA_LAYOUT_ASK,
                                                          .accept = input_accept,
                                                          .request = input_wish,
                                                          .prepare = input_prepare};
