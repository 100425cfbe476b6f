/* SPDX-License-Identifier: Apache-2.0
 *
 * op/batch_norm/batch_norm_grad.c: the gradient of batch_norm (Ioffe and Szegedy 2015, section 3). With xhat = (x -
 * mean) / sqrt(variance + epsilon), M values of a channel, and g = dy where the activation let pass, else 0:
 *
 *     dshift = sum g     dscale = sum g xhat     dz = g
 *     dx = scale / sqrt(variance + epsilon) (g - dshift / M - xhat dscale / M) + added
 *
 * and with use_running only the first term of dx, for then mean and variance are not x's. What passed is seen in y
 * where something was added in front of the activation; otherwise it is computed again from x, so that y need not be
 * read. `added` is another gradient of x: what a dense block's other readers give.
 */
#include "op/batch_norm/batch_norm.h"

#include "cpu/isa.h"
#include "cpu/parallel.h"
#include "base/exact.h"
#include "graph/graph.h"
#include "op/sample.h"
#include "op/tail/act_exact.h"

#define AT(field) offsetof(soma_batch_norm_attrs, field)
static const soma_field fields[] = {
    {"epsilon", SOMA_FIELD_FLOAT, AT(epsilon), 0, 1e-5, 1e-30, 1e3, NULL, "added to the variance"},
    SOMA_GATE_FIELD(soma_batch_norm_attrs, "the activation that batch_norm applied, which dy passes by"),
    {"use_running", SOMA_FIELD_BOOL, AT(use_running), 0, 0, 0, 1, NULL, "mean and variance do not depend on x"},
    {NULL, 0, 0, 0, 0, 0, 0, NULL, NULL}};

static bool present(const soma_infer *i, int in)
{
    return in < i->n_in && i->in[in].shape.rank >= 0;
}

static soma_status infer(soma_infer *i)
{
    const soma_type *x = &i->in[1];
    char text[96], other[96];
    if (!soma_is_float(x->dtype) || x->shape.rank < 2 || x->shape.dim[1] < 1)
        return soma_refuse(i->reason, "x must be f32 or f64 [N, channels, ...], got %s", soma_type_text(x, text));
    for (int k = 0; k < 8; k += k ? 1 : 6) /* dy, y, added */
        if (present(i, k) && (i->in[k].dtype != x->dtype || !soma_same_shape(&i->in[k].shape, &x->shape)))
            return soma_refuse(i->reason, "dy, x, y and what is added must be of one type and shape, got %s beside %s",
                               soma_type_text(&i->in[k], text), soma_type_text(x, other));
    for (int k = 2; k < 6; k++)
        if (present(i, k) &&
            (i->in[k].dtype != x->dtype || i->in[k].shape.rank != 1 || i->in[k].shape.dim[0] != x->shape.dim[1]))
            return soma_refuse(i->reason, "input %d must have x's type and one element for each channel, got %s", k,
                               soma_type_text(&i->in[k], text));
    const soma_batch_norm_attrs *a = i->attrs;
    if (a->activation != SOMA_ACT_NONE && !soma_act_clamps(a->activation))
        return soma_refuse(i->reason, "its gate passes or not, as those of relu and relu6 do, not as that of %s",
                           soma_act_names[a->activation]);
    i->out[0] = *x;
    for (int k = 1; k < i->n_out && k < 3; k++)
        i->out[k] = (soma_type){x->dtype, SOMA_SHAPE(x->shape.dim[1])};
    if (i->n_out > 3)
        i->out[3] = *x;
    return SOMA_OK;
}

static soma_batch_rule batch_rule(const void *attrs)
{
    return ((const soma_batch_norm_attrs *)attrs)->use_running ? SOMA_BATCH_SUM : SOMA_BATCH_WHOLE;
}

/* What an activation stopped behind a batch_norm, of which this is the gradient. Where something was added in front
 * of the activation it is seen in y, and what the gate made is an output, for others read it. */
static bool take_gate(soma_gate_merge *m)
{
    int maker = m->graph->values[m->gate->in[1]].node;
    const soma_graph_node *norm = maker >= 0 ? &m->graph->nodes[maker] : NULL;
    if (m->behind || !norm || norm->op != &soma_op_batch_norm || norm->out[0] != m->gate->in[1])
        return false;
    const soma_batch_norm_attrs *a = norm->attrs;
    int32_t own = norm->n_out > 1 ? norm->out[1] : -1, mean = a->use_running ? norm->in[SOMA_NORM_MEAN] : own;
    if (a->activation != m->act || !soma_act_clamps(m->act) || m->in[SOMA_NORM_GRAD_X] != norm->in[SOMA_NORM_X] ||
        m->in[SOMA_NORM_GRAD_MEAN] != mean)
        return false;
    bool added = soma_node_in(norm, SOMA_NORM_Z) >= 0;
    m->in[SOMA_NORM_GRAD_DY] = m->gate->in[0];
    if (added)
        m->in[SOMA_NORM_GRAD_Y] = m->gate->in[1];
    else
        m->in[SOMA_NORM_GRAD_SHIFT] = soma_node_in(norm, SOMA_NORM_SHIFT);
    if (added)
        m->out[SOMA_NORM_DZ] = m->gate->out[0];
    m->n_in = m->in[SOMA_NORM_ADDED] >= 0 ? SOMA_NORM_ADDED + 1
              : added                     ? SOMA_NORM_GRAD_Y + 1
                                          : SOMA_NORM_GRAD_SHIFT + 1;
    m->n_out = added ? SOMA_NORM_DZ + 1 : m->n_out;
    return true;
}

static double flops(const void *attrs, const soma_arg *in, int n_in, const soma_arg *out)
{
    (void)attrs, (void)in, (void)n_in;
    return 9.0 * (double)out[0].elements;
}

/* ---- reference kernel ---- */

typedef struct job {
    const soma_norm_case *c;
    void *const *arg;
} job;

typedef struct channel {
    int64_t index;
    double mean, inverse, scale, shift;
} channel;

static double at(const job *j, int position, int64_t i, double otherwise)
{
    return position < 0 ? otherwise : soma_get(j->arg[position], j->c->dtype, i);
}

/* g of element i, and its xhat. */
static double passed(const job *j, const channel *k, int64_t i, double *xhat)
{
    *xhat = (at(j, 1, i, 0) - k->mean) * k->inverse;
    double y = j->c->y >= 0 ? at(j, j->c->y, i, 0) : soma_act_exact(j->c->act, *xhat * k->scale + k->shift);
    return soma_gate_exact(j->c->act, y, at(j, 0, i, 0));
}

static void differentiate(const job *j, const channel *k)
{
    const soma_norm_case *c = j->c;
    double dshift = 0, dscale = 0, count = (double)(c->n * c->plane), xhat;
    for (int64_t n = 0; n < c->n; n++)
        for (int64_t i = (n * c->c + k->index) * c->plane, last = i + c->plane; i < last; i++) {
            double g = passed(j, k, i, &xhat);
            dshift += g;
            dscale += g * xhat;
        }
    if (c->dscale >= 0)
        soma_set(j->arg[c->dscale], c->dtype, k->index, dscale);
    if (c->dshift >= 0)
        soma_set(j->arg[c->dshift], c->dtype, k->index, dshift);
    if (c->a.use_running)
        dshift = dscale = 0;
    for (int64_t n = 0; n < c->n; n++)
        for (int64_t i = (n * c->c + k->index) * c->plane, last = i + c->plane; i < last; i++) {
            double g = passed(j, k, i, &xhat);
            if (c->dz >= 0)
                soma_set(j->arg[c->dz], c->dtype, i, g);
            soma_set(j->arg[c->out], c->dtype, i,
                     k->scale * k->inverse * (g - dshift / count - xhat * (dscale / count)) + at(j, c->added, i, 0));
        }
}

static void part(void *context, int index, int count)
{
    const job *j = context;
    const soma_norm_case *c = j->c;
    int64_t begin, end;
    soma_share(c->c, 1, index, count, &begin, &end);
    for (int64_t i = begin; i < end; i++) {
        channel k = {i, at(j, 2, i, 0), 1 / soma_exact_sqrt(at(j, 3, i, 0) + c->a.epsilon), at(j, c->scale, i, 1),
                     at(j, c->shift, i, 0)};
        differentiate(j, &k);
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
    *c = soma_norm_grad_case(p);
    p->parallel = c->threads > 1;
    p->state = c;
    p->run = run_reference;
    return SOMA_OK;
}

static soma_status accept(soma_prepare *p)
{
    return soma_norm_enough(p, &p->in[1]);
}

static const soma_kernel reference = {
    .name = "reference", .exact = true, .tail = SOMA_TAIL_ADD, .accept = accept, .prepare = prepare};

/* dy, x, mean, variance, scale, shift, y, added */
#define S SOMA_DIMS
static const soma_sample samples[] = {
    {"odd", NULL, (const soma_shape[]){S(SOMA_N, 3, 5, 7), S(SOMA_N, 3, 5, 7), S(3), S(3), S(3), S(3), S(1)},
     "nnnpn---", 0, true},
    {"rows, no scale", "epsilon=0.001", (const soma_shape[]){S(SOMA_N, 5), S(SOMA_N, 5), S(5), S(5), S(5), S(5), S(1)},
     "nnnp----", 0, true},
    {"one sample, relu", "gate=relu", (const soma_shape[]){S(1, 3, 4, 5), S(1, 3, 4, 5), S(3), S(3), S(3), S(3), S(1)},
     "nnnpnn--", 0, true},
    {"relu6", "gate=relu6", (const soma_shape[]){S(2, 2, 4, 5), S(2, 2, 4, 5), S(2), S(2), S(2), S(2), S(1)},
     "nnnppp--", 0, true},
    {"added, relu", "gate=relu",
     (const soma_shape[]){S(SOMA_N, 3, 3, 4), S(SOMA_N, 3, 3, 4), S(3), S(3), S(3), S(3), S(SOMA_N, 3, 3, 4)},
     "nnnpn-n-", 0, true},
    {"running, relu", "use_running=true gate=relu",
     (const soma_shape[]){S(SOMA_N, 3, 4, 5), S(SOMA_N, 3, 4, 5), S(3), S(3), S(3), S(3), S(1)}, "nnnpnn--", 0, true},
    {"running, added, relu6", "use_running=true gate=relu6",
     (const soma_shape[]){S(SOMA_N, 2, 3, 3), S(SOMA_N, 2, 3, 3), S(2), S(2), S(2), S(2), S(SOMA_N, 2, 3, 3)},
     "nnnpn-n-", 0, true},
    {"16 channels", "gate=relu",
     (const soma_shape[]){S(SOMA_N, 16, 7, 7), S(SOMA_N, 16, 7, 7), S(16), S(16), S(16), S(16), S(1)}, "nnnpnn--", 0,
     true},
    {"48 channels, added", "gate=relu",
     (const soma_shape[]){S(SOMA_N, 48, 5, 3), S(SOMA_N, 48, 5, 3), S(48), S(48), S(48), S(48), S(SOMA_N, 48, 5, 3)},
     "nnnpn-n-", 0, true},
    {"24 channels", "gate=relu6",
     (const soma_shape[]){S(SOMA_N, 24, 14, 13), S(SOMA_N, 24, 14, 13), S(24), S(24), S(24), S(24), S(1)}, "nnnpnn--",
     0, true},
    {"67 features", NULL, (const soma_shape[]){S(33, 67), S(33, 67), S(67), S(67), S(67), S(67), S(1)}, "nnnpn---", 0,
     true},
    {"3 channels, large", "gate=relu6",
     (const soma_shape[]){S(2, 3, 120, 97), S(2, 3, 120, 97), S(3), S(3), S(3), S(3), S(2, 3, 120, 97)}, "nnnpn-n-", 0,
     true},
    {"48 channels, large", "gate=relu",
     (const soma_shape[]){S(3, 48, 17, 16), S(3, 48, 17, 16), S(48), S(48), S(48), S(48), S(1)}, "nnnpnn--", 0, true},
    {"40 channels, large", "gate=relu",
     (const soma_shape[]){S(3, 40, 17, 17), S(3, 40, 17, 17), S(40), S(40), S(40), S(40), S(3, 40, 17, 17)}, "nnnpn-n-",
     0, true},
    {"150 features, large", "use_running=true gate=relu",
     (const soma_shape[]){S(301, 150), S(301, 150), S(150), S(150), S(150), S(150), S(1)}, "nnnpnn--", 0, true},
    {"32 channels, large", "gate=relu",
     (const soma_shape[]){S(2, 32, 28, 37), S(2, 32, 28, 37), S(32), S(32), S(32), S(32), S(2, 32, 28, 37)}, "nnnpn-n-",
     0, true},
    {"gradient added", NULL,
     (const soma_shape[]){S(SOMA_N, 3, 5, 7), S(SOMA_N, 3, 5, 7), S(3), S(3), S(3), S(3), S(1), S(SOMA_N, 3, 5, 7)},
     "nnnpn--n", 0, true},
    {"32 channels, relu, gradient added", "gate=relu",
     (const soma_shape[]){S(3, 32, 14, 13), S(3, 32, 14, 13), S(32), S(32), S(32), S(32), S(1), S(3, 32, 14, 13)},
     "nnnpnn-n", 0, true},
    {"40 channels, large, both added", "gate=relu6",
     (const soma_shape[]){S(3, 40, 17, 17), S(3, 40, 17, 17), S(40), S(40), S(40), S(40), S(3, 40, 17, 17),
                          S(3, 40, 17, 17)},
     "nnnpn-nn", 0, true},
    {NULL, NULL, NULL, NULL, 0, false}};

SOMA_BF16_DECLARE(soma_batch_norm_grad_cpu)
SOMA_ISA_DECLARE(soma_batch_norm_grad_cpu)
static const soma_kernel *const kernels[] = {
    SOMA_BF16_LIST(soma_batch_norm_grad_cpu) SOMA_ISA_LIST(soma_batch_norm_grad_cpu) & reference, NULL};

const soma_op soma_op_batch_norm_grad = {
    .name = "batch_norm_grad",
    .doc =
        "Gradient of batch_norm: inputs dy, x, mean, variance, scale, shift (of an activation without y), y (of an "
        "activation behind an addition), another gradient of x that is added to dx; outputs dx, dscale, dshift, dz (dy "
        "where the activation let pass)",
    .required_in = 4,
    .optional_in = 4,
    .required_out = 1,
    .optional_out = 3,
    .attrs_size = sizeof(soma_batch_norm_attrs),
    .fields = fields,
    .batch = SOMA_BATCH_WHOLE,
    .batch_rule = batch_rule,
    .tail = SOMA_TAIL_ADD,
    .inplace_in = 1,
    .error = SOMA_ERROR_LOOSE,
    .infer = infer,
    .settle = soma_norm_settle,
    .take_gate = take_gate,
    .flops = flops,
    .kernels = kernels,
    .samples = samples,
    .n_in_samples = 8};
