/* SPDX-License-Identifier: Apache-2.0
 *
 * op/loss/loss.c: what losses and metrics share.
 */
#include "op/loss/loss.h"

#include <inttypes.h>
#include <soma/ops.h>

soma_status soma_classes_check(soma_infer *i, const soma_type *x, const soma_type *target, const char *name)
{
    char a[96], b[96];
    soma_type_text(x, a);
    soma_type_text(target, b);
    if (!soma_is_float(x->dtype) || x->shape.rank != 2 || x->shape.dim[1] < 1)
        return soma_refuse(i->reason, "%s must be f32 or f64 [rows, classes], got %s; flatten it or add a dense layer",
                           name, a);
    bool sparse = target->dtype == SOMA_I32 && target->shape.rank == 1 && target->shape.dim[0] == x->shape.dim[0];
    bool dense = target->dtype == x->dtype && soma_same_shape(&target->shape, &x->shape);
    if (!sparse && !dense)
        return soma_refuse(i->reason,
                           "target must be i32 [rows] (labels) or %s itself in type and shape (one-hot), got %s for %s",
                           name, b, a);
    return SOMA_OK;
}

soma_classes *soma_classes_prepare(soma_prepare *p, const soma_arg *x, const soma_arg *target)
{
    soma_classes *s = soma_prepare_state(p, sizeof *s);
    if (!s)
        return NULL;
    s->columns = x->shape.dim[1];
    s->rows = x->shape.dim[0];
    s->per_sample = x->batched ? s->rows / p->batch : 0;
    s->full_rows = soma_full_elements(p, x) / (double)s->columns;
    s->dtype = x->dtype;
    s->sparse = target->dtype == SOMA_I32;
    s->threads = x->elements >= SOMA_LOSS_PARALLEL ? p->threads : 1;
    s->scratch = p->n_in + p->n_out;
    s->second = p->n_out > 1 && p->out[1].shape.rank >= 0;
    p->state = s;
    return s;
}

soma_status soma_classes_labels(const soma_classes *s, const int32_t *target, const soma_run *run)
{
    uint32_t bad = 0;
    for (int64_t r = 0; r < s->rows; r++)
        bad |= (uint32_t)(target[r] < 0) | (uint32_t)(target[r] >= s->columns);
    if (!bad)
        return SOMA_OK;
    int64_t r = 0;
    while (target[r] >= 0 && target[r] < s->columns)
        r++;
    soma_refuse(run->reason,
                "sample %" PRId64 " of the batch has label %" PRId32 ", but the model has %" PRId64
                " class%s (0 to %" PRId64 "): correct the label, or give the last layer more units",
                run->sample_offset * s->per_sample + r, target[r], s->columns, s->columns == 1 ? "" : "es",
                s->columns - 1);
    return SOMA_DATA;
}

soma_status soma_loss_accept_f32(soma_prepare *p, const soma_arg *x, const soma_arg *target)
{
    if (x->dtype != SOMA_F32 || (target->dtype != SOMA_F32 && target->dtype != SOMA_I32))
        return soma_refuse(p->reason, "works on f32 only");
    return SOMA_OK;
}

soma_value soma_loss_spread(soma_value x, soma_value like)
{
    int rank = soma_value_type(like).shape.rank;
    return soma_expand_at(x, like, (1u << rank) - 1, true, soma_nowhere());
}
