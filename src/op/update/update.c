/* SPDX-License-Identifier: Apache-2.0
 *
 * op/update/update.c: what the update ops share: groups of inputs checked, tensors laid out as one range.
 */
#include "op/update/update.h"

#include <string.h>

soma_status soma_update_scalar(soma_infer *i, int index, const char *name, bool integer)
{
    char text[96];
    const soma_type *type = &i->in[index];
    bool right = integer ? type->dtype == SOMA_I32 : soma_is_float(type->dtype);
    if (!right || type->shape.rank != 0)
        return soma_refuse(i->reason, "%s must be a scalar of type %s, got %s", name, integer ? "i32" : "f32 or f64",
                           soma_type_text(type, text));
    return SOMA_OK;
}

soma_status soma_update_check(soma_infer *i, int scalars, int groups, const char *what, int *k)
{
    char a[96], b[96];
    int n = i->n_in - scalars;
    if (n < groups || n % groups)
        return soma_refuse(i->reason, "expects, after %d scalar%s, equally many of each: %s; got %d tensors", scalars,
                           scalars == 1 ? "" : "s", what, n < 0 ? 0 : n);
    *k = n / groups;
    for (int t = 0; t < n; t++) {
        const soma_type *x = &i->in[scalars + t], *p = &i->in[scalars + t % *k];
        if (!soma_is_float(x->dtype) || x->dtype != i->in[scalars].dtype || !soma_same_shape(&x->shape, &p->shape))
            return soma_refuse(i->reason,
                               "tensor %d (of %s) is %s, but its parameter is %s: types must be equal, f32 or f64",
                               t % *k + 1, what, soma_type_text(x, a), soma_type_text(p, b));
    }
    return SOMA_OK;
}

soma_status soma_update_outputs(soma_infer *i, int scalars, int k, int groups)
{
    if (i->n_out != k * groups)
        return soma_refuse(i->reason, "has %d outputs for %d parameters, but %d were asked for", k * groups, k,
                           i->n_out);
    for (int g = 0; g < groups; g++) /* every group has the parameters' types */
        memcpy(i->out + g * k, i->in + scalars, (size_t)k * sizeof *i->out);
    return SOMA_OK;
}

soma_update_state *soma_update_prepare(soma_prepare *p, int first, int k, int groups, size_t attrs_size)
{
    size_t table = (size_t)(2 * k + 1) * sizeof(int64_t), head = (sizeof(soma_update_state) + 15) / 16 * 16;
    char *bytes = soma_prepare_state(p, head + table + attrs_size);
    if (!bytes)
        return NULL;
    soma_update_state *s = (soma_update_state *)(void *)bytes;
    s->count = (int64_t *)(void *)(bytes + head);
    s->start = s->count + k;
    s->attrs = memcpy(bytes + head + table, p->attrs, attrs_size);
    s->dtype = p->in[first].dtype;
    s->lr_dtype = p->in[0].dtype;
    s->k = k;
    s->n_in = p->n_in;
    for (int i = 0; i < k; i++) {
        s->count[i] = p->in[first + i].elements;
        s->start[i + 1] = s->start[i] + (s->count[i] + SOMA_UPDATE_GRAIN - 1) / SOMA_UPDATE_GRAIN * SOMA_UPDATE_GRAIN;
    }
    s->threads = s->start[k] >= SOMA_UPDATE_PARALLEL ? p->threads : 1;
    s->complete = p->n_out == k * groups;
    p->parallel = s->threads > 1;
    p->state = s;
    return s;
}

soma_status soma_update_complete(soma_prepare *p, const soma_update_state *s)
{
    return s->complete ? SOMA_OK : soma_refuse(p->reason, "needs all its outputs: each of them is assigned to state");
}
