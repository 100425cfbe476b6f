/* SPDX-License-Identifier: Apache-2.0
 *
 * op/shape/reshape.c: the same elements in the same order under another shape. In plain layout this is a view: the
 * kernel copies only where the plan could not give input and output one place. dx = dy under x's shape
 */
#include "cpu/parallel.h"
#include "base/size.h"
#include "graph/graph.h"
#include "tensor/element.h"
#include "op/shape/shape.h"
#include <soma/ops.h>

#include <string.h>

static const soma_field fields[] = {
    {.name = "shape",
     .type = SOMA_FIELD_SHAPE,
     .offset = offsetof(soma_reshape_attrs, shape),
     .doc = "the new shape; one dimension may be 0: what is left over; N in front stands for the batch"},
    {0},
};

/* Product of the dimensions that are not 0, a batch k N counted as k; false on overflow. */
static bool product(const soma_shape *shape, int64_t *n, bool *batched, int *zero)
{
    *n = 1;
    *batched = false;
    *zero = -1;
    for (int k = 0; k < shape->rank; k++) {
        int64_t d = shape->dim[k];
        *batched = *batched || d < 0;
        if (d == 0)
            *zero = k;
        else if (!soma_i64_mul(*n, d < 0 ? -d : d, n))
            return false;
    }
    return true;
}

static soma_status check_dims(const soma_shape *wanted, char *reason)
{
    int zeros = 0;
    for (int k = 0; k < wanted->rank; k++) {
        zeros += wanted->dim[k] == 0;
        if (wanted->dim[k] < 0 && k > 0)
            return soma_refuse(reason,
                               "dimension %d of the new shape is %lld; only the first may hold the batch, the others "
                               "are sizes above 0, or 0 for what is left",
                               k, (long long)wanted->dim[k]);
    }
    if (zeros > 1)
        return soma_refuse(reason, "%d dimensions of the new shape are 0; only one can be what is left over", zeros);
    return SOMA_OK;
}

soma_status soma_reshape_resolve(const soma_type *x, const soma_shape *wanted, soma_shape *shape, char *reason)
{
    char text[96], other[96];
    int64_t have, want;
    bool have_batch, want_batch;
    int zero, none;
    if (check_dims(wanted, reason) != SOMA_OK)
        return SOMA_INVALID;
    *shape = *wanted;
    bool fits = product(&x->shape, &have, &have_batch, &none) && product(wanted, &want, &want_batch, &zero);
    if (fits && zero >= 0 && have % want == 0) {
        shape->dim[zero] = have / want;
        if (zero == 0 && have_batch) {
            shape->dim[0] = -shape->dim[0];
            want_batch = true;
        }
        want = have;
    }
    if (fits && have_batch && !want_batch)
        return soma_refuse(reason, "x is %s, but the new shape has no batch; put N in front", soma_type_text(x, text));
    if (!fits || have != want || have_batch != want_batch)
        return soma_refuse(reason, "%s does not have the elements of %s", soma_type_text(x, text),
                           soma_type_text(&(soma_type){x->dtype, *wanted}, other));
    return SOMA_OK;
}

static soma_status infer(soma_infer *i)
{
    const soma_reshape_attrs *a = i->attrs;
    i->out[0].dtype = i->in[0].dtype;
    return soma_reshape_resolve(&i->in[0], &a->shape, &i->out[0].shape, i->reason);
}

static void gradient(soma_gradient *g)
{
    if (g->want[0])
        g->din[0] = soma_reshape(g->dout[0], soma_value_type(g->in[0]).shape);
}

typedef struct copy_state {
    size_t bytes;
    int threads;
} copy_state;

typedef struct copy_job {
    const copy_state *s;
    const char *x;
    char *y;
} copy_job;

static void part(void *context, int index, int count)
{
    const copy_job *job = context;
    int64_t begin, end;
    soma_share((int64_t)job->s->bytes, 4096, index, count, &begin, &end);
    memcpy(job->y + begin, job->x + begin, (size_t)(end - begin));
}

static soma_status run_copy(const void *state, void *const *arg, soma_run *run)
{
    const copy_state *s = state;
    if (arg[0] == arg[1])
        return SOMA_OK;
    copy_job job = {s, arg[0], arg[1]};
    soma_run_parallel(run, s->threads, part, &job);
    return SOMA_OK;
}

static soma_status prepare(soma_prepare *p)
{
    copy_state *s = soma_prepare_state(p, sizeof *s);
    if (!s)
        return SOMA_MEMORY;
    s->bytes = (size_t)p->out[0].elements * soma_dtype_size(p->out[0].dtype);
    s->threads = (int64_t)s->bytes >= SOMA_COPY_PARALLEL ? p->threads : 1;
    p->parallel = s->threads > 1;
    p->state = s;
    p->run = run_copy;
    return SOMA_OK;
}

static const soma_kernel reference = {.name = "copy", .exact = true, .bf16 = SOMA_BF16_FOLLOW, .prepare = prepare};

static const soma_sample samples[] = {
    {.name = "flatten", .attrs = "shape=N,60", .in = (const soma_shape[]){{4, {SOMA_N, 3, 4, 5}}}},
    {.name = "left over", .attrs = "shape=N,0,5", .in = (const soma_shape[]){{4, {SOMA_N, 3, 4, 5}}}},
    {.name = "batch left over", .attrs = "shape=0,3", .in = (const soma_shape[]){{3, {SOMA_N, 2, 3}}}},
    {.name = "two per sample", .attrs = "shape=-2,3", .in = (const soma_shape[]){{2, {SOMA_N, 6}}}},
    {.name = "to scalar", .attrs = "", .in = (const soma_shape[]){{3, {1, 1, 1}}}},
    {.name = "from scalar", .attrs = "shape=1,1", .in = (const soma_shape[]){{0, {0}}}},
    {.name = "large", .attrs = "shape=263,261", .in = (const soma_shape[]){{2, {261, 263}}}},
    {0},
};

const soma_op soma_op_reshape = {
    .name = "reshape",
    .doc = "The same elements in the same order under another shape.",
    .onnx = "Reshape",
    .required_in = 1,
    .required_out = 1,
    .attrs_size = sizeof(soma_reshape_attrs),
    .fields = fields,
    .alias = true,
    .infer = infer,
    .grad = gradient,
    .kernels = (const soma_kernel *const[]){&reference, NULL},
    .samples = samples,
    .n_in_samples = 1,
};

soma_value soma_reshape_at(soma_value x, soma_shape shape, soma_at at)
{
    soma_reshape_attrs a = {shape};
    char reason[SOMA_REASON_MAX]; /* where it does not fit, infer refuses again, with the place */
    if (soma_ok(x)) {
        soma_type type = soma_value_type(x);
        if (soma_reshape_resolve(&type, &shape, &a.shape, reason) != SOMA_OK)
            a.shape = shape;
    }
    return soma_apply1(&soma_op_reshape, &x, 1, &a, NULL, at);
}
