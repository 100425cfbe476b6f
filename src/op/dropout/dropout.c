/* SPDX-License-Identifier: Apache-2.0
 *
 * op/dropout/dropout.c: inverted dropout (Srivastava et al. 2014): y = 0 with probability rate, else x / (1 - rate).
 * Linear in x with a mask that is never stored: the gradient is the same op on dy, drawing the same numbers again from
 * the same site. Where nothing is trained the op is left out (training_only). With maps, feature maps x[n,c] are
 * dropped as a whole (Tompson et al. 2015; PyTorch's Dropout2d, Keras' SpatialDropout2D).
 */
#include "op/dropout/dropout.h"

#include "cpu/isa.h"
#include "cpu/parallel.h"
#include "graph/graph.h"
#include "op/reorder/reorder.h"
#include "op/sample.h"

static const soma_field fields[] = {
    {.name = "rate",
     .type = SOMA_FIELD_FLOAT,
     .offset = offsetof(soma_dropout_attrs, rate),
     .preset = 0.5,
     .min = 0,
     .max = 0.999999,
     .doc = "share of elements set to zero; the others are divided by 1 - rate"},
    {.name = "stream_site",
     .type = SOMA_FIELD_INT,
     .offset = offsetof(soma_dropout_attrs, stream_site),
     .min = 1,
     .max = 0,
     .doc = "site of the random draws; 0: the layer's own"},
    {.name = "maps",
     .type = SOMA_FIELD_BOOL,
     .offset = offsetof(soma_dropout_attrs, maps),
     .max = 1,
     .doc = "drops whole feature maps: x is [N, C, ...]"},
    {0},
};

static soma_status infer(soma_infer *i)
{
    char text[96];
    if (!soma_is_float(i->in[0].dtype))
        return soma_refuse(i->reason, "x must be f32 or f64, got %s", soma_type_text(&i->in[0], text));
    if (((const soma_dropout_attrs *)i->attrs)->maps && i->in[0].shape.rank < 2)
        return soma_refuse(i->reason, "with maps, x must have channels, [N, C, ...], got %s",
                           soma_type_text(&i->in[0], text));
    i->out[0] = i->in[0];
    return SOMA_OK;
}

static void gradient(soma_gradient *g)
{
    if (g->want[0] && soma_ok(g->dout[0])) /* nodes of a gradient have their forward node's site: same numbers */
        g->din[0] = soma_apply1(&soma_op_dropout, g->dout, 1, g->attrs, NULL, soma_nowhere());
}

soma_status soma_dropout_prepare(soma_prepare *p, soma_run_fn run)
{
    const soma_dropout_attrs *a = p->attrs;
    soma_dropout_state *s = soma_prepare_state(p, sizeof *s);
    if (!s)
        return SOMA_MEMORY;
    s->elements = p->in[0].elements;
    const soma_shape *x = &p->in[0].shape;
    s->n = x->rank > 0 ? x->dim[0] : 1;
    s->c = x->rank > 1 ? x->dim[1] : 1;
    s->map = s->elements / (s->n * s->c);
    s->plane = a->maps ? s->map : 1;
    s->block = soma_layout_block(&p->in[0]);
    s->per_sample = p->in[0].batched ? s->elements / p->batch / s->plane : 0;
    s->site = a->stream_site ? (uint64_t)a->stream_site : p->site;
    s->threshold = (uint32_t)(a->rate * 0x1p32);
    s->scale = 1 / (1 - a->rate);
    s->dtype = p->in[0].dtype;
    s->threads = s->elements >= 65536 ? p->threads : 1; /* fewer: waking a team costs more */
    p->parallel = s->threads > 1;
    p->state = s;
    p->run = run;
    return SOMA_OK;
}

typedef struct job {
    const soma_dropout_state *s;
    const void *x;
    void *y;
    const soma_run *run;
} job;

static void part(void *context, int index, int count)
{
    const job *j = context;
    const soma_dropout_state *s = j->s;
    uint64_t first = soma_dropout_first(s, j->run), drawn = UINT64_MAX;
    uint32_t number[4] = {0};
    int64_t begin, end;
    soma_share(s->elements, 64, index, count, &begin, &end);
    for (int64_t i = begin; i < end; i++) {
        uint64_t e = first + (uint64_t)(i / s->plane);
        if (e / 4 != drawn) {
            drawn = e / 4;
            soma_draw(&j->run->random, j->run->seed, SOMA_STREAM_DROPOUT, s->site, j->run->step, drawn, number);
        }
        soma_set(j->y, s->dtype, i, number[e % 4] < s->threshold ? 0 : soma_get(j->x, s->dtype, i) * s->scale);
    }
}

static soma_status run_reference(const void *state, void *const *arg, soma_run *run)
{
    const soma_dropout_state *s = state;
    job j = {s, arg[0], arg[1], run};
    soma_run_parallel(run, s->threads, part, &j);
    return SOMA_OK;
}

static soma_status prepare(soma_prepare *p)
{
    return soma_dropout_prepare(p, run_reference);
}

static const soma_kernel reference = {.name = "reference", .exact = true, .prepare = prepare};
SOMA_BF16_DECLARE(soma_dropout_cpu)
SOMA_ISA_DECLARE(soma_dropout_cpu)

static const soma_sample samples[] = {
    {.name = "half", .in = (const soma_shape[]){{2, {SOMA_N, 128}}}},
    {.name = "quarter, odd", .attrs = "rate=0.25 stream_site=7", .in = (const soma_shape[]){{4, {SOMA_N, 5, 3, 7}}}},
    {.name = "none", .attrs = "rate=0", .in = (const soma_shape[]){{1, {33}}}},
    {.name = "maps", .attrs = "maps=true", .in = (const soma_shape[]){SOMA_DIMS(SOMA_N, 6, 3, 5)}},
    {.name = "maps of one", .attrs = "maps=true rate=0.3", .in = (const soma_shape[]){SOMA_DIMS(SOMA_N, 37)}},
    {.name = "32 maps", .attrs = "maps=true stream_site=3", .in = (const soma_shape[]){SOMA_DIMS(2, 32, 9, 7)}},
    {.name = "48 channels", .attrs = "stream_site=9", .in = (const soma_shape[]){SOMA_DIMS(SOMA_N, 48, 9, 5)}},
    {.name = "24 channels, large", .attrs = "rate=0.2", .in = (const soma_shape[]){SOMA_DIMS(2, 24, 23, 19)}},
    {.name = "most", .attrs = "rate=0.9", .in = (const soma_shape[]){{2, {67, 31}}}},
    {0},
};

const soma_op soma_op_dropout = {
    .name = "dropout",
    .doc =
        "Inverted dropout (Srivastava et al. 2014): zero with probability rate, else x / (1 - rate); identity outside "
        "training.",
    .onnx = "Dropout",
    .required_in = 1,
    .required_out = 1,
    .attrs_size = sizeof(soma_dropout_attrs),
    .fields = fields,
    .inplace_in = 1,
    .random = true,
    .training_only = true,
    .error = SOMA_ERROR_ROUNDING,
    .infer = infer,
    .grad = gradient,
    .kernels = (const soma_kernel *const[]){SOMA_BF16_LIST(soma_dropout_cpu) SOMA_ISA_LIST(soma_dropout_cpu) &
                                                reference,
                                            NULL},
    .samples = samples,
    .n_in_samples = 1,
};
