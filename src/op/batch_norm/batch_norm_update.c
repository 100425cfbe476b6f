/* SPDX-License-Identifier: Apache-2.0
 *
 * op/batch_norm/batch_norm_update.c: running statistics brought up to date with the batch's (assigns both):
 *     torch     r = (1 - m) r + m new       variance: new = variance M / (M - 1), M the values of a channel
 *     keras     r = m r + (1 - m) new       variance: new = variance
 * Tiny work: one kernel for everything, the same bits everywhere.
 */
#include "op/batch_norm/batch_norm.h"

#include "graph/graph.h"
#include "op/sample.h"

static const char *const dialects[] = {"torch", "keras", NULL};

#define AT(field) offsetof(soma_batch_norm_update_attrs, field)
static const soma_field fields[] = {
    {"momentum", SOMA_FIELD_FLOAT, AT(momentum), 0, 0.1, 0, 1, NULL, "torch: share of the new; keras: of the old"},
    {"dialect", SOMA_FIELD_ENUM, AT(dialect), 0, 0, 0, 1, dialects, "torch or keras"},
    {"count", SOMA_FIELD_INT, AT(count), 0, -1, -1e15, 1e15, NULL, "values of a channel; -k: k times the batch"},
    {NULL, 0, 0, 0, 0, 0, 0, NULL, NULL}};

static int assign(const void *attrs, int n_in, int out)
{
    (void)attrs, (void)n_in;
    return out < 2 ? out : -1;
}

static soma_status infer(soma_infer *i)
{
    char text[96], other[96];
    for (int k = 0; k < 4; k++)
        if (!soma_is_float(i->in[k].dtype) || i->in[k].dtype != i->in[0].dtype || i->in[k].shape.rank != 1 ||
            i->in[k].shape.dim[0] != i->in[0].shape.dim[0])
            return soma_refuse(i->reason, "statistics must be of one type and length, got %s and %s",
                               soma_type_text(&i->in[0], text), soma_type_text(&i->in[k], other));
    if (((const soma_batch_norm_update_attrs *)i->attrs)->count == 0)
        return soma_refuse(i->reason, "count must not be 0");
    for (int k = 0; k < i->n_out; k++)
        i->out[k] = i->in[k];
    return SOMA_OK;
}

typedef struct update_state {
    int64_t channels;
    double keep, take, take_variance;
    soma_dtype dtype;
} update_state;

static soma_status run_reference(const void *state, void *const *arg, soma_run *run)
{
    const update_state *s = state;
    (void)run;
    for (int64_t k = 0; k < s->channels; k++) {
        for (int j = 0; j < 2; j++) {
            double take = j ? s->take_variance : s->take;
            soma_set(arg[4 + j], s->dtype, k,
                     s->keep * soma_get(arg[j], s->dtype, k) + take * soma_get(arg[2 + j], s->dtype, k));
        }
    }
    return SOMA_OK;
}

static soma_status prepare(soma_prepare *p)
{
    const soma_batch_norm_update_attrs *a = p->attrs;
    bool keras = a->dialect == SOMA_NORM_KERAS;
    double count = a->count < 0 ? -(double)a->count * (double)p->full_batch : (double)a->count;
    update_state *s = soma_prepare_state(p, sizeof *s);
    if (!s)
        return SOMA_MEMORY;
    if (p->n_out < 2 || p->out[1].shape.rank < 0)
        return soma_refuse(p->reason, "both outputs must be asked for");
    s->channels = p->in[0].elements;
    s->dtype = p->in[0].dtype;
    s->keep = keras ? a->momentum : 1 - a->momentum;
    s->take = keras ? 1 - a->momentum : a->momentum;
    s->take_variance = keras || count <= 1 ? s->take : s->take * (count / (count - 1));
    p->state = s;
    p->run = run_reference;
    return SOMA_OK;
}

static const soma_kernel reference = {.name = "reference", .exact = true, .prepare = prepare};
static const soma_kernel *const kernels[] = {&reference, NULL};

#define S SOMA_DIMS
static const soma_sample samples[] = {
    {"pytorch", "count=12", (const soma_shape[]){S(5), S(5), S(5), S(5)}, "npnp", 0, true},
    {"keras", "dialect=keras momentum=0.99 count=7", (const soma_shape[]){S(3), S(3), S(3), S(3)}, "npnp", 0, true},
    {"of the batch", "momentum=0.3 count=-4", (const soma_shape[]){S(4), S(4), S(4), S(4)}, "npnp", 0, true},
    {NULL, NULL, NULL, NULL, 0, false}};

const soma_op soma_op_batch_norm_update = {
    .name = "batch_norm_update",
    .doc = "Running statistics of batch_norm: inputs running_mean, running_var, mean, variance; assigns the first two. "
           "torch: (1 - momentum) old + momentum new, variance times M / (M - 1); keras: momentum old + (1 - momentum) "
           "new",
    .required_in = 4,
    .required_out = 1,
    .optional_out = 1,
    .attrs_size = sizeof(soma_batch_norm_update_attrs),
    .fields = fields,
    .assign = assign,
    .error = SOMA_ERROR_LOOSE,
    .infer = infer,
    .kernels = kernels,
    .samples = samples,
    .n_in_samples = 4};
