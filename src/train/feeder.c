/* SPDX-License-Identifier: Apache-2.0
 *
 * train/feeder.c: a dataset flowing through the programs of an objective, batch by batch: the path of every step,
 * so it holds nothing but pointers looked up before. Knows no optimizers.
 */
#include "train/train.h"

#include "data/dataset.h"
#include "tensor/element.h"
#include "op/loss/loss.h"

#include <math.h>
#include <string.h>

/* ---- programs ---- */

/* What was asked for; where the data leave other than full batches, the largest part of them up to it. */
static int64_t micro_batch(const soma_feeder_options *o, int64_t samples)
{
    int64_t n = o->micro_batch < samples ? o->micro_batch : samples;
    while (samples != o->batch_size && n > 1 && samples % n)
        n--;
    return n;
}

static soma_status compile_stage(soma_feeder *f, const soma_feeder_options *o, soma_stage *stage, int64_t samples)
{
    soma_value *values = soma_alloc_array(f->m->s, 5 + (size_t)o->n_rates, sizeof *values);
    int n = 2;
    if (!values)
        return SOMA_MEMORY;
    values[0] = f->objective->loss;
    values[1] = f->objective->logits;
    if (f->objective->output.id != f->objective->logits.id)
        values[n++] = f->objective->output;
    if (soma_ok(f->objective->accuracy))
        values[n++] = f->objective->accuracy;
    if (soma_ok(o->rate))
        values[n++] = o->rate;
    for (int i = 0; i < o->n_rates; i++)
        values[n++] = o->rates[i].value;
    soma_program_options options = {.struct_size = sizeof options,
                                    .at = o->at,
                                    .name = o->name,
                                    .batch = samples,
                                    .values = values,
                                    .n_values = n,
                                    .updates = o->updates,
                                    .n_updates = o->n_updates,
                                    .micro_batch = micro_batch(o, samples),
                                    .max_memory = o->max_memory,
                                    .tune = o->tune,
                                    .precision = o->precision};
    stage->samples = samples;
    stage->program = soma_compile_for(f->m, &options, &f->ring);
    soma_release(f->m->s, values);
    if (!stage->program)
        return soma_status_now(f->m->s);
    soma_program_set_seed(stage->program, o->seed);
    return SOMA_OK;
}

/* Once all programs are there the ring stays where it is. */
static void find_slots(soma_feeder *f)
{
    for (int i = 0; i < 4; i++) {
        soma_stage *stage = &f->stages[i / 2];
        if (stage->program) {
            stage->x[i % 2] = soma_program_input_at(stage->program, f->objective->x, i % 2);
            stage->y[i % 2] = soma_program_input_at(stage->program, f->objective->target, i % 2);
        }
    }
}

soma_status soma_feeder_open(soma_feeder *f, const soma_objective *objective, const soma_feeder_options *o)
{
    memset(f, 0, sizeof *f);
    f->objective = objective;
    f->m = objective->m;
    f->rate = o->rate;
    f->dtype = soma_value_type(objective->loss).dtype;
    int64_t count = soma_dataset_count(o->data);
    int64_t batch = o->batch_size < count ? o->batch_size : count;
    f->full = count / batch;
    f->batches = f->full + (count % batch > 0);
    soma_status status = compile_stage(f, o, &f->stages[0], batch);
    if (status == SOMA_OK && count % batch > 0)
        status = compile_stage(f, o, &f->stages[1], count % batch);
    if (status == SOMA_OK) {
        soma_loader_options options = {.struct_size = sizeof options,
                                       .at = o->at,
                                       .batch_size = batch,
                                       .no_shuffle = o->no_shuffle,
                                       .seed = o->seed,
                                       .augment = o->augment};
        f->loader = soma_loader_new_with(o->data, &options);
        status = f->loader ? SOMA_OK : soma_status_now(f->m->s);
    }
    if (status == SOMA_OK)
        find_slots(f);
    else
        soma_feeder_close(f);
    return status;
}

void soma_feeder_close(soma_feeder *f)
{
    soma_loader_free(f->loader);
    soma_program_free(f->stages[0].program);
    soma_program_free(f->stages[1].program);
    if (f->m)
        soma_input_ring_free(f->m->s, &f->ring);
    memset(f, 0, sizeof *f);
}

void soma_feeder_set_rate(soma_feeder *f, const soma_rate *rates, int n_rates, double number)
{
    for (int i = 0; i < 2 * n_rates; i++) {
        const soma_rate *rate = &rates[i / 2];
        soma_tensor t = soma_read(f->stages[i % 2].program, rate->value);
        if (t.data && !isnan(rate->factor))
            soma_set(t.data, t.dtype, 0, number * rate->factor);
    }
}

void soma_feeder_rewind(soma_feeder *f)
{
    f->batch = f->epoch = 0;
    f->ahead = f->lost = false;
    f->now = f->done = NULL;
}

/* ---- batches ---- */

static soma_stage *stage_of(soma_feeder *f, int64_t batch)
{
    return &f->stages[batch < f->full ? 0 : 1];
}

/* Begins to read batch f->batch into the slot that no step uses. */
static soma_status begin(soma_feeder *f)
{
    const soma_stage *stage = stage_of(f, f->batch);
    int slot = f->slot ^ 1;
    soma_status status = f->batch == 0 || f->lost ? soma_loader_start(f->loader, f->epoch, f->batch) : SOMA_OK;
    if (status == SOMA_OK)
        status = soma_loader_fill(f->loader, stage->x[slot], stage->y[slot]);
    f->lost = status != SOMA_OK;
    f->ahead = status == SOMA_OK;
    return status;
}

soma_status soma_feeder_next(soma_feeder *f)
{
    f->now = NULL;
    if (f->batch == f->batches) {
        f->batch = 0;
        f->epoch++;
        return SOMA_END;
    }
    soma_status status = f->ahead ? SOMA_OK : begin(f);
    if (status == SOMA_OK)
        status = soma_loader_wait(f->loader);
    f->ahead = false;
    f->lost = status != SOMA_OK;
    if (status != SOMA_OK)
        return status;
    f->slot ^= 1;
    f->now = stage_of(f, f->batch++);
    return SOMA_OK;
}

/* A step that was refused may be run again: then the next batch has been read already. */
soma_status soma_feeder_step(soma_feeder *f)
{
    soma_program *p = f->now->program;
    soma_program_set_slot(p, f->slot);
    soma_program_set_step(p, f->steps);
    if (!f->ahead && f->batch < f->batches)
        (void)begin(f); /* what stood in the way is told by the next batch */
    soma_status status = soma_step(p);
    soma_loader_rest(f->loader);
    f->steps += status == SOMA_OK;
    f->done = f->now;
    return status;
}

double soma_feeder_number(const soma_feeder *f, const soma_stage *stage, soma_value x)
{
    const void *data = stage && soma_ok(x) ? soma_read(stage->program, x).data : NULL;
    return data ? soma_get(data, f->dtype, 0) : (double)NAN;
}

/* ---- evaluation ---- */

/* Row: truth, column: the answer. Each sample that has one is counted once, as in accuracy: the step refused labels
 * out of range. */
static void count_answers(const soma_feeder *f, soma_evaluation *result)
{
    soma_type type = soma_value_type(f->objective->logits);
    int64_t outputs = type.shape.dim[1];
    const int32_t *truth = f->now->y[f->slot];
    const void *logits = soma_read(f->now->program, f->objective->logits).data;
    for (int64_t i = 0; i < f->now->samples; i++) {
        int64_t answer = soma_largest(logits, type.dtype, i * outputs, outputs);
        if (answer >= 0)
            result->confusion[truth[i] * outputs + answer]++;
    }
}

/* Samples of the batch for which an output is no number. */
static int64_t count_not_finite(const soma_feeder *f)
{
    soma_type type = soma_value_type(f->objective->logits);
    const void *logits = soma_read(f->now->program, f->objective->logits).data;
    int64_t count = 0, outputs = 1;
    for (int k = 1; k < type.shape.rank; k++)
        outputs *= type.shape.dim[k];
    for (int64_t i = 0; i < f->now->samples; i++) {
        bool finite = true;
        for (int64_t j = 0; j < outputs; j++)
            finite = finite && isfinite(soma_get(logits, type.dtype, i * outputs + j));
        count += !finite;
    }
    return count;
}

soma_status soma_feeder_evaluate(soma_feeder *f, soma_evaluation *result, soma_stop_fn stop, void *user)
{
    double loss = 0, correct = 0;
    int64_t samples = 0;
    soma_status status;
    soma_feeder_rewind(f);
    while ((status = soma_feeder_next(f)) == SOMA_OK) {
        status = soma_feeder_step(f);
        if (status != SOMA_OK)
            return status;
        double n = (double)f->now->samples;
        samples += f->now->samples;
        loss += n * soma_feeder_number(f, f->now, f->objective->loss);
        correct += n * soma_feeder_number(f, f->now, f->objective->accuracy);
        result->not_finite += count_not_finite(f);
        if (result->confusion && f->objective->classes)
            count_answers(f, result);
        if (stop && stop(user))
            return SOMA_CANCELLED;
    }
    if (status != SOMA_END)
        return status;
    result->samples = samples;
    result->loss = loss / (double)samples;
    result->accuracy = soma_ok(f->objective->accuracy) ? correct / (double)samples : (double)NAN;
    return SOMA_OK;
}
