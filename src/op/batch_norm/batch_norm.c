/* SPDX-License-Identifier: Apache-2.0
 *
 * op/batch_norm/batch_norm.c: batch normalisation (Ioffe and Szegedy 2015), ONNX BatchNormalization. Per channel c of
 * x [N, C, ...], over the M = N x ... values of the channel:
 *
 *     mean = sum x / M        variance = sum (x - mean)^2 / M
 *     y = act(scale (x - mean) / sqrt(variance + epsilon) + shift + z)
 *
 * With use_running the running statistics take the place of the batch's: outside training (the simplifier sets it) and
 * for frozen layers. While training, `update` brings the running statistics up to date at the end of the step:
 *
 *     torch     running = (1 - momentum) running + momentum new, the variance with M - 1 in place of M
 *     keras     running = momentum running + (1 - momentum) new, the variance as above
 */
#include "op/batch_norm/batch_norm.h"

#include "cpu/isa.h"
#include "cpu/parallel.h"
#include "base/exact.h"
#include "graph/graph.h"
#include "op/batch_norm/batch_norm_fold.h"
#include "op/sample.h"
#include "op/tail/act_exact.h"
#include <soma/ops.h>

#include <string.h>

static const char *const dialects[] = {"torch", "keras", NULL};

#define AT(field) offsetof(soma_batch_norm_attrs, field)
static const soma_field fields[] = {
    {"epsilon", SOMA_FIELD_FLOAT, AT(epsilon), 0, 1e-5, 1e-30, 1e3, NULL, "added to the variance"},
    {"momentum", SOMA_FIELD_FLOAT, AT(momentum), 0, 0.1, 0, 1, NULL,
     "of the running statistics: torch, the share of the new; keras, the share of the old"},
    {"dialect", SOMA_FIELD_ENUM, AT(dialect), 0, 0, 0, 1, dialects,
     "whose running statistics: torch also divides the variance by M - 1"},
    SOMA_ACT_FIELD(soma_batch_norm_attrs, "applied to the result"),
    {"use_running", SOMA_FIELD_BOOL, AT(use_running), 0, 0, 0, 1, NULL,
     "normalise with the running statistics instead of the batch's"},
    {NULL, 0, 0, 0, 0, 0, 0, NULL, NULL}};

/* ---- shapes ---- */

static bool present(const soma_infer *i, int in)
{
    return in < i->n_in && i->in[in].shape.rank >= 0;
}

static soma_status infer(soma_infer *i)
{
    static const char *const names[] = {"x", "running_mean", "running_var", "scale", "shift"};
    const soma_batch_norm_attrs *a = i->attrs;
    const soma_type *x = &i->in[0];
    char text[96], other[96];
    if (!soma_is_float(x->dtype))
        return soma_refuse(i->reason, "x must be f32 or f64, got %s", soma_type_text(x, text));
    if (x->shape.rank < 2 || x->shape.dim[1] < 1)
        return soma_refuse(i->reason, "x must be [N, channels, ...], got %s", soma_type_text(x, text));
    for (int k = 1; k < 5; k++)
        if (present(i, k) &&
            (i->in[k].dtype != x->dtype || i->in[k].shape.rank != 1 || i->in[k].shape.dim[0] != x->shape.dim[1]))
            return soma_refuse(i->reason, "%s must have x's type and one element for each of the %lld channels, got %s",
                               names[k], (long long)x->shape.dim[1], soma_type_text(&i->in[k], text));
    if (present(i, 5) && (i->in[5].dtype != x->dtype || !soma_same_shape(&i->in[5].shape, &x->shape)))
        return soma_refuse(i->reason, "what is added must be of x's type and shape, got %s and %s",
                           soma_type_text(x, text), soma_type_text(&i->in[5], other));
    i->out[0] = *x;
    for (int k = 1; k < i->n_out && !a->use_running; k++)
        i->out[k] = (soma_type){x->dtype, SOMA_SHAPE(x->shape.dim[1])};
    return SOMA_OK;
}

static soma_batch_rule batch_rule(const void *attrs)
{
    return ((const soma_batch_norm_attrs *)attrs)->use_running ? SOMA_BATCH_EACH : SOMA_BATCH_WHOLE;
}

static double flops(const void *attrs, const soma_arg *in, int n_in, const soma_arg *out)
{
    (void)in, (void)n_in;
    return (((const soma_batch_norm_attrs *)attrs)->use_running ? 2.0 : 6.0) * (double)out[0].elements;
}

/* ---- gradient ---- */

/* With running statistics y depends on them as on any number: d mean = -scale / s dshift, d variance = -scale / (2 s^2)
 * dscale, where s = sqrt(variance + epsilon). */
static void gradient_of_statistics(soma_gradient *g, soma_value dscale, soma_value dshift)
{
    const soma_batch_norm_attrs *a = g->attrs;
    soma_value v = soma_add(g->in[2], soma_scalar(g->in[2], a->epsilon));
    soma_value scale = g->n_in > 3 && g->in[3].graph ? g->in[3] : soma_scalar(g->in[2], 1);
    if (g->want[1])
        g->din[1] = soma_neg(soma_div(soma_mul(dshift, scale), soma_sqrt(v)));
    if (g->want[2])
        g->din[2] = soma_div(soma_mul(soma_mul(dscale, scale), soma_scalar(g->in[2], -0.5)), v);
}

static void gradient(soma_gradient *g)
{
    soma_batch_norm_attrs gate = *(const soma_batch_norm_attrs *)g->attrs, *a = &gate;
    bool z = g->n_in > 5 && g->in[5].graph, acts = soma_act_clamps(a->activation), own = !a->use_running;
    soma_value dy = g->dout[0];
    if (!dy.graph)
        return;
    if (!acts) {
        dy = soma_act_gradient((soma_act)a->activation, dy, g->out[0]);
        a->activation = SOMA_ACT_NONE;
    }
    if (own && (g->n_out < 3 || !g->out[1].graph || !g->out[2].graph)) {
        g->din[0] = soma_value_fail(g->in[0].graph, soma_nowhere(),
                                    "batch_norm: its gradient needs the outputs mean and variance");
        return;
    }
    if ((g->n_out > 1 && g->dout[1].graph) || (g->n_out > 2 && g->dout[2].graph)) {
        g->din[0] = soma_value_fail(g->in[0].graph, soma_nowhere(),
                                    "batch_norm: no gradient flows through its outputs mean and variance");
        return;
    }
    soma_value in[7] = {dy,
                        g->in[0],
                        own ? g->out[1] : g->in[1],
                        own ? g->out[2] : g->in[2],
                        g->n_in > 3 ? g->in[3] : soma_none(),
                        g->n_in > 4 && acts && !z ? g->in[4] : soma_none(),
                        acts && z ? g->out[0] : soma_none()};
    soma_value out[4] = {soma_none(), soma_none(), soma_none(), soma_none()};
    soma_apply_with(&soma_op_batch_norm_grad, in, 7, out, acts && z ? 4 : 3,
                    &(soma_apply_options){.struct_size = sizeof(soma_apply_options), .attrs = a});
    g->din[0] = out[0];
    for (int k = 0; k < 2; k++)
        if (g->n_in > 3 + k && g->want[3 + k])
            g->din[3 + k] = out[1 + k];
    if (z && g->want[5])
        g->din[5] = acts ? out[3] : dy;
    if (!own && (g->want[1] || g->want[2]))
        gradient_of_statistics(g, out[1], out[2]);
}

/* ---- for those who rewrite graphs ---- */

int soma_norm_settle(void *attrs, int n_out)
{
    ((soma_batch_norm_attrs *)attrs)->use_running = true;
    return n_out;
}

/* Its statistics are then the running ones, which it reads. */
static int settle(void *attrs, int n_out)
{
    bool running = ((const soma_batch_norm_attrs *)attrs)->use_running;
    soma_norm_settle(attrs, n_out);
    return running ? n_out : 1;
}

static bool affine(const soma_graph_node *node, soma_affine *a)
{
    const soma_batch_norm_attrs *attrs = node->attrs;
    if (!attrs->use_running || soma_node_in(node, SOMA_NORM_Z) >= 0)
        return false;
    const int32_t in[] = {a->w,
                          node->in[SOMA_NORM_MEAN],
                          node->in[SOMA_NORM_VARIANCE],
                          a->b,
                          soma_node_in(node, SOMA_NORM_SCALE),
                          soma_node_in(node, SOMA_NORM_SHIFT)};
    a->op = &soma_op_batch_norm_fold;
    a->n_in = sizeof in / sizeof in[0];
    memcpy(a->in, in, sizeof in);
    a->act = attrs->activation;
    *(soma_batch_norm_fold_attrs *)(void *)a->attrs = (soma_batch_norm_fold_attrs){attrs->epsilon};
    return true;
}

/* ---- the running statistics ---- */

static void update(soma_state_update *u)
{
    const soma_batch_norm_attrs *a = u->attrs;
    if (a->use_running || u->n_out < 3)
        return;
    soma_type x = soma_value_type(u->in[0]);
    soma_batch_norm_update_attrs how = {a->momentum, a->dialect, x.shape.dim[0]};
    for (int i = 2; i < x.shape.rank; i++)
        how.count *= x.shape.dim[i];
    const soma_value in[4] = {u->in[1], u->in[2], u->out[1], u->out[2]};
    soma_value out[2];
    soma_apply_with(&soma_op_batch_norm_update, in, 4, out, 2,
                    &(soma_apply_options){.struct_size = sizeof(soma_apply_options), .attrs = &how});
    u->update = out[0];
}

/* ---- what kernels see ---- */

static soma_norm_case common_case(const soma_prepare *p, const soma_arg *x)
{
    soma_norm_case c = {.a = *(const soma_batch_norm_attrs *)p->attrs,
                        .dtype = x->dtype,
                        .n = x->shape.dim[0],
                        .c = x->shape.dim[1],
                        .plane = 1,
                        .out = p->n_in};
    for (int i = 2; i < x->shape.rank; i++)
        c.plane *= x->shape.dim[i];
    c.threads = x->elements >= SOMA_NORM_PARALLEL ? p->threads : 1;
    return c;
}

static int in_position(const soma_prepare *p, int in)
{
    return in < p->n_in && p->in[in].shape.rank >= 0 ? in : -1;
}

static int out_position(const soma_prepare *p, int out)
{
    return out < p->n_out && p->out[out].shape.rank >= 0 ? p->n_in + out : -1;
}

soma_norm_case soma_norm_forward_case(const soma_prepare *p)
{
    soma_norm_case c = common_case(p, &p->in[0]);
    c.act = soma_tail_of(p).act;
    c.scale = in_position(p, 3);
    c.shift = in_position(p, 4);
    c.z = in_position(p, 5);
    c.mean = out_position(p, 1);
    c.variance = out_position(p, 2);
    return c;
}

soma_norm_case soma_norm_grad_case(const soma_prepare *p)
{
    soma_norm_case c = common_case(p, &p->in[1]);
    c.act = (soma_act)c.a.activation;
    c.scale = in_position(p, 4);
    c.shift = in_position(p, 5);
    c.y = in_position(p, 6);
    c.added = in_position(p, SOMA_NORM_ADDED);
    c.dscale = out_position(p, 1);
    c.dshift = out_position(p, 2);
    c.dz = out_position(p, 3);
    return c;
}

soma_status soma_norm_enough(const soma_prepare *p, const soma_arg *x)
{
    const soma_batch_norm_attrs *a = p->attrs;
    char text[96];
    soma_type type = {x->dtype, x->shape};
    if (a->use_running || x->elements / x->shape.dim[1] > 1)
        return SOMA_OK;
    return soma_refuse(
        p->reason,
        "training needs more than one value per channel, but x is %s; choose a batch size that leaves no "
        "last batch of one sample, or freeze the layer",
        soma_type_text(&type, text));
}

/* ---- reference kernels ---- */

typedef struct job {
    const soma_norm_case *c;
    void *const *arg;
} job;

static double given(const job *j, int position, int64_t channel, double otherwise)
{
    return position < 0 ? otherwise : soma_get(j->arg[position], j->c->dtype, channel);
}

static void statistics(const job *j, int64_t channel, double *mean, double *variance)
{
    const soma_norm_case *c = j->c;
    double sum = 0, squares = 0, count = (double)(c->n * c->plane);
    for (int64_t n = 0; n < c->n; n++)
        for (int64_t i = 0; i < c->plane; i++)
            sum += soma_get(j->arg[0], c->dtype, (n * c->c + channel) * c->plane + i);
    *mean = sum / count;
    for (int64_t n = 0; n < c->n; n++)
        for (int64_t i = 0; i < c->plane; i++) {
            double d = soma_get(j->arg[0], c->dtype, (n * c->c + channel) * c->plane + i) - *mean;
            squares += d * d;
        }
    *variance = squares / count;
}

static void part(void *context, int index, int count)
{
    const job *j = context;
    const soma_norm_case *c = j->c;
    int64_t begin, end;
    soma_share(c->c, 1, index, count, &begin, &end);
    for (int64_t k = begin; k < end; k++) {
        double mean = given(j, 1, k, 0), variance = given(j, 2, k, 0);
        if (!c->a.use_running)
            statistics(j, k, &mean, &variance);
        if (c->mean >= 0)
            soma_set(j->arg[c->mean], c->dtype, k, mean);
        if (c->variance >= 0)
            soma_set(j->arg[c->variance], c->dtype, k, variance);
        double factor = given(j, c->scale, k, 1) / soma_exact_sqrt(variance + c->a.epsilon);
        double shift = given(j, c->shift, k, 0);
        for (int64_t n = 0; n < c->n; n++)
            for (int64_t i = (n * c->c + k) * c->plane, last = i + c->plane; i < last; i++) {
                double y = (soma_get(j->arg[0], c->dtype, i) - mean) * factor + shift + given(j, c->z, i, 0);
                soma_set(j->arg[c->out], c->dtype, i, soma_act_exact(c->act, y));
            }
    }
}

static soma_status run_reference(const void *state, void *const *arg, soma_run *run)
{
    const soma_norm_case *c = state;
    job j = {c, arg};
    soma_run_parallel(run, c->threads, part, &j);
    return SOMA_OK;
}

static soma_status prepare(soma_prepare *p)
{
    soma_norm_case *c = soma_prepare_state(p, sizeof *c);
    if (!c)
        return SOMA_MEMORY;
    *c = soma_norm_forward_case(p);
    p->parallel = c->threads > 1;
    p->state = c;
    p->run = run_reference;
    return SOMA_OK;
}

static soma_status accept(soma_prepare *p)
{
    return soma_norm_enough(p, &p->in[0]);
}

static const soma_kernel reference = {.name = "reference",
                                      .exact = true,
                                      .tail = SOMA_TAIL_ADD | SOMA_TAIL_ACT,
                                      .acts = UINT32_MAX,
                                      .accept = accept,
                                      .prepare = prepare};

#define S SOMA_DIMS
static const soma_sample samples[] = {
    {"odd", NULL, (const soma_shape[]){S(SOMA_N, 3, 5, 7), S(3), S(3), S(3), S(3), S(1)}, "nnpnn-", 0, false},
    {"rows", "epsilon=0.001", (const soma_shape[]){S(SOMA_N, 5), S(5), S(5), S(5), S(5), S(1)}, "nnpnn-", 0, false},
    {"no scale", NULL, (const soma_shape[]){S(SOMA_N, 2, 3, 4), S(2), S(2), S(2), S(2), S(1)}, "nnp-n-", 0, false},
    {"no shift", NULL, (const soma_shape[]){S(2, 2, 3, 4), S(2), S(2), S(2), S(2), S(1)}, "nnpn--", 0, false},
    {"neither", NULL, (const soma_shape[]){S(2, 3, 5), S(3), S(3), S(3), S(3), S(1)}, "nnp---", 0, false},
    {"one sample", "dialect=keras momentum=0.99 epsilon=0.001",
     (const soma_shape[]){S(1, 4, 3, 3), S(4), S(4), S(4), S(4), S(1)}, "nnpnn-", 0, false},
    {"relu", "activation=relu", (const soma_shape[]){S(SOMA_N, 3, 3, 5), S(3), S(3), S(3), S(3), S(1)}, "nnpnn-", 0,
     false},
    {"relu6, large scale", "activation=relu6", (const soma_shape[]){S(2, 2, 5, 5), S(2), S(2), S(2), S(2), S(1)},
     "nnppp-", 0, false},
    {"added", NULL, (const soma_shape[]){S(2, 2, 3, 3), S(2), S(2), S(2), S(2), S(2, 2, 3, 3)}, "nnpnnn", 0, false},
    {"added, relu", "activation=relu",
     (const soma_shape[]){S(SOMA_N, 3, 4, 3), S(3), S(3), S(3), S(3), S(SOMA_N, 3, 4, 3)}, "nnpnnn", 0, false},
    {"running", "use_running=true", (const soma_shape[]){S(SOMA_N, 3, 4, 5), S(3), S(3), S(3), S(3), S(1)}, "nnpnn-", 0,
     false},
    {"running, no scale, added, relu6", "use_running=true activation=relu6",
     (const soma_shape[]){S(1, 2, 1, 1), S(2), S(2), S(2), S(2), S(1, 2, 1, 1)}, "nnp-pn", 0, false},
    {"16 channels", "activation=relu", (const soma_shape[]){S(SOMA_N, 16, 7, 7), S(16), S(16), S(16), S(16), S(1)},
     "nnpnn-", 0, true},
    {"48 channels, added", "activation=relu",
     (const soma_shape[]){S(SOMA_N, 48, 5, 3), S(48), S(48), S(48), S(48), S(SOMA_N, 48, 5, 3)}, "nnpnnn", 0, true},
    {"24 channels", "activation=relu6", (const soma_shape[]){S(SOMA_N, 24, 14, 13), S(24), S(24), S(24), S(24), S(1)},
     "nnpnn-", 0, true},
    {"67 features", NULL, (const soma_shape[]){S(33, 67), S(67), S(67), S(67), S(67), S(1)}, "nnpnn-", 0, true},
    {"32 channels, large", "activation=relu",
     (const soma_shape[]){S(2, 32, 28, 37), S(32), S(32), S(32), S(32), S(2, 32, 28, 37)}, "nnpnnn", 0, true},
    {"3 channels, large", "activation=relu6",
     (const soma_shape[]){S(2, 3, 120, 97), S(3), S(3), S(3), S(3), S(2, 3, 120, 97)}, "nnpnnn", 0, true},
    {"48 channels, large", "activation=relu", (const soma_shape[]){S(3, 48, 17, 16), S(48), S(48), S(48), S(48), S(1)},
     "nnpnn-", 0, true},
    {"40 channels, large", NULL, (const soma_shape[]){S(3, 40, 17, 17), S(40), S(40), S(40), S(40), S(3, 40, 17, 17)},
     "nnpnnn", 0, true},
    {"150 features, large", "activation=relu", (const soma_shape[]){S(301, 150), S(150), S(150), S(150), S(150), S(1)},
     "nnpnn-", 0, true},
    {"running, 32 channels", "use_running=true activation=relu",
     (const soma_shape[]){S(2, 32, 28, 37), S(32), S(32), S(32), S(32), S(1)}, "nnpnn-", 0, true},
    {NULL, NULL, NULL, NULL, 0, false}};

SOMA_BF16_DECLARE(soma_batch_norm_cpu)
SOMA_ISA_DECLARE(soma_batch_norm_cpu)
static const soma_kernel *const kernels[] = {
    SOMA_BF16_LIST(soma_batch_norm_cpu) SOMA_ISA_LIST(soma_batch_norm_cpu) & reference, NULL};

const soma_op soma_op_batch_norm = {
    .name = "batch_norm",
    .doc =
        "y = act(scale (x - mean) / sqrt(variance + epsilon) + shift + z), per channel of x [N, C, ...], with the "
        "batch's statistics while training and the running ones otherwise; inputs x, running_mean, running_var, scale, "
        "shift, z; outputs y, mean, variance (Ioffe and Szegedy 2015)",
    .onnx = "BatchNormalization",
    .required_in = 3,
    .optional_in = 3,
    .required_out = 1,
    .optional_out = 2,
    .attrs_size = sizeof(soma_batch_norm_attrs),
    .fields = fields,
    .batch = SOMA_BATCH_WHOLE,
    .batch_rule = batch_rule,
    .tail = SOMA_TAIL_ADD | SOMA_TAIL_ACT,
    .inplace_in = 1,
    .error = SOMA_ERROR_LOOSE,
    .infer = infer,
    .grad = gradient,
    .refresh = update,
    .settle = settle,
    .affine = affine,
    .flops = flops,
    .kernels = kernels,
    .samples = samples,
    .n_in_samples = 6};
