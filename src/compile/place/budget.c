/* SPDX-License-Identifier: Apache-2.0
 *
 * compile/place/budget.c: the bytes that a plan takes, and what is done where they are more than the caller allows.
 */
#include "base/words.h"
#include "compile/plan.h"

#include <math.h>
#include <stdio.h>

soma_plan_memory soma_plan_bytes(const soma_plan *p)
{
    soma_plan_memory m = {0};
    for (int i = 0; i < p->model->n_tensors; i++) {
        const soma_model_tensor *t = &p->model->tensors[i];
        size_t bytes = (size_t)soma_shape_elements(&t->type.shape) * soma_dtype_size(t->type.dtype);
        *(t->slot ? &m.state : &m.parameters) += (bytes + 63) & ~(size_t)63;
    }
    m.gradients = p->gradient_size + p->large_gradients;
    m.activations = p->work_size - p->large_gradients;
    m.inputs = 2 * p->input_size;
    m.packed = p->kept_size;
    m.tables = p->room.arena.bytes + p->graph->arena.bytes;
    m.tables += (uint64_t)p->n_values * sizeof *p->values + (uint64_t)p->n_tasks * sizeof *p->tasks;
    m.library = p->library_bytes;
    m.total = m.parameters + m.state + m.gradients + m.activations + m.inputs + m.packed + m.tables + m.library;
    return m;
}

/* Tables that binding is still to make: calls and pointers for both input slots, and the rest of a chunk. */
static uint64_t tables_to_come(const soma_plan *p)
{
    uint64_t bytes = 0;
    for (int i = 0; i < p->n_tasks; i++)
        bytes += sizeof(soma_call) + (uint64_t)(p->tasks[i].n_in + p->tasks[i].n_out + 1) * sizeof(void *);
    return 2 * bytes * (uint64_t)(p->batch / p->piece) + 65536;
}

static uint64_t needed(const soma_plan *p)
{
    return soma_plan_bytes(p).total + tables_to_come(p);
}

/* The largest divisor of the batch below the piece with which the program fits when the work block grows with the
 * piece; 0 where none does. */
static int64_t smaller_piece(const soma_plan *p, uint64_t budget)
{
    double fixed = (double)(needed(p) - p->work_size), each = (double)p->work_size / (double)p->piece;
    for (int64_t piece = p->piece - 1; piece > 0; piece--)
        if (p->batch % piece == 0 && fixed + each * (double)piece <= (double)budget)
            return piece;
    return 0;
}

static soma_status over_budget(soma_plan *p, uint64_t budget)
{
    char advice[SOMA_REASON_MAX], fits[64] = "";
    int64_t piece = smaller_piece(p, budget);
    double fixed = (double)(needed(p) - p->work_size), each = (double)p->work_size / (double)p->batch;
    if (p->whole && each > 0 && (double)budget - fixed > each)
        snprintf(fits, sizeof fits, " (about %.0f would fit)", floor(((double)budget - fixed) / each));
    if (p->whole)
        snprintf(advice, sizeof advice,
                 "micro-batches are not possible (%.300s); choose a smaller batch%s or a larger budget", p->whole,
                 fits);
    else if (piece)
        snprintf(advice, sizeof advice, "micro-batches of %lld samples would fit", (long long)piece);
    else
        snprintf(advice, sizeof advice, "choose a larger budget or a smaller model");
    return soma_fail(p->s, SOMA_MEMORY, p->at,
                     "the plan needs at least %.1f MB at batch %lld in pieces of %lld (activations %.1f MB, with "
                     "recomputation), but the budget is %.*f MB (" SOMA_FIELD("max_memory") "); %s%s",
                     (double)needed(p) / 1e6, (long long)p->batch, (long long)p->piece, (double)p->work_size / 1e6,
                     budget < 100000 ? 6 : 1, (double)budget / 1e6, advice,
                     p->tune ? ", or do not tune: kernels that the clock chose may want more scratch" : "");
}

soma_status soma_fit_budget(soma_plan *p, const soma_program_options *o, int64_t *piece)
{
    uint64_t budget = o->max_memory, need = needed(p);
    if (!budget || need <= budget)
        return SOMA_OK;
    if (!o->micro_batch && !p->whole && p->piece > 1) {
        *piece = smaller_piece(p, budget);
        *piece = *piece ? *piece : 1;
        return SOMA_MEMORY;
    }
    uint64_t fixed = need - p->work_size + tables_to_come(p); /* as much again for clones */
    soma_status status = soma_recompute(p, budget > fixed ? (size_t)(budget - fixed) : 0);
    if (status != SOMA_OK)
        return status;
    return needed(p) <= budget ? SOMA_OK : over_budget(p, budget);
}
