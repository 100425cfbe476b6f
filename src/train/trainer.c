/* SPDX-License-Identifier: Apache-2.0
 *
 * train/trainer.c: the open loop: an objective with updates, and the data flowing through it. Whatever a training
 * needs is compiled before its first step.
 */
#include "train/trainer.h"

#include "base/size.h"
#include "base/text.h"
#include "base/words.h"
#include "base/zero.h"
#include "data/dataset.h"
#include "compile/choose/tune.h"
#include "tensor/element.h"
#include "op/update/update.h"

#include <math.h>
#include <stdio.h>

/* `seed` stays as it was asked for: 0 is the context's, SOMA_ZERO 0. */
SOMA_TABLE(soma_fit_options) = {
    SOMA_OTHER(soma_fit_options, data, .doc = "what is learned from"),
    SOMA_TEXT(soma_fit_options, loss, NULL,
              .doc = "by name; without it softmax_cross_entropy for classes, mean_squared_error otherwise"),
    SOMA_OTHER(soma_fit_options, optimizer, .doc = "without it soma_sgd()"),
    SOMA_OTHER(soma_fit_options, groups, .doc = "parameters trained in their own way, or frozen"),
    SOMA_OTHER(soma_fit_options, n_groups, .doc = "how many"),
    SOMA_INT(soma_fit_options, batch_size, 32, AT_LEAST(1), .doc = "samples of a step"),
    SOMA_INT(soma_fit_options, epochs, 1, AT_LEAST(1), .doc = "passes over the data"),
    SOMA_OTHER(soma_fit_options, validation, .doc = "data that nothing is learned from"),
    SOMA_FLOAT(soma_fit_options, validation_split, 0, BELOW(0, 1),
               .doc = "share of the data that is kept for validation"),
    SOMA_TEXT(soma_fit_options, split_order, NULL,
              .doc = "which samples: stratified, shuffled or end; without it by the data"),
    SOMA_BOOL(soma_fit_options, no_shuffle, .doc = "keeps the data's order"),
    SOMA_OTHER(soma_fit_options, seed, .doc = "of shuffling and dropout; without it the context's"),
    SOMA_OTHER(soma_fit_options, on_progress, .doc = "is told where training stands"),
    SOMA_OTHER(soma_fit_options, user, .doc = "handed to all functions"),
    SOMA_FLOAT(soma_fit_options, progress_seconds, 0, ANY,
               .doc = "between calls; 0: one an epoch, below 0: after every step"),
    SOMA_INT(soma_fit_options, micro_batch, 0, AT_LEAST(0),
             .doc = "samples that run at a time; without it the plan chooses"),
    SOMA_SIZE(soma_fit_options, max_memory, 0, ANY, .doc = "bytes of the plan; without it no budget"),
    SOMA_BOOL(soma_fit_options, tune, .doc = "kernels are timed"),
    SOMA_OTHER(soma_fit_options, on_plan, .doc = "is told when all is compiled"),
    SOMA_INT(soma_fit_options, max_steps, 0, AT_LEAST(0), .doc = "stop after so many; without it no limit"),
    SOMA_OTHER(soma_fit_options, result, .doc = "where the last epoch's figures go"),
    SOMA_TEXT(soma_fit_options, precision, "f32", .doc = "f32 or bf16: of stored activations and products"),
    SOMA_OTHER(soma_fit_options, stop, .doc = "says whether to stop"),
    SOMA_OTHER(soma_fit_options, schedule, .doc = "says the learning rate of a step"),
    SOMA_FIELDS_END};

static soma_status check_options(const soma_model *m, const soma_fit_options *o)
{
    soma *s = m->s;
    bool bf16;
    if (soma_precision_parse(s, soma_caller(s, "fit: "), o->precision, o->at, &bf16) != SOMA_OK)
        return soma_error_status(s);
    if (o->schedule && (o->optimizer.peak_lr > 0 || o->optimizer.decay > 0))
        return soma_fail(s, SOMA_INVALID, o->at,
                         SOMA_IN_C("fit: ")
                             SOMA_FIELD("schedule") " and the optimizer's %s are two schedules; give one of them",
                         o->optimizer.peak_lr > 0 ? "peak_lr" : "decay");
    return SOMA_OK;
}

static uint64_t seed_of(const soma_trainer *t, const soma_fit_options *o)
{
    return o->seed == SOMA_ZERO ? 0 : o->seed ? o->seed : t->s->seed;
}

/* A share of the samples is kept for validation; of samples in an order, the last. */
static soma_status split_data(soma_trainer *t, const soma_fit_options *o)
{
    t->data = t->objective.data;
    t->validation = o->validation;
    if (o->validation || o->validation_split == 0)
        return SOMA_OK;
    const char *order = o->split_order ? o->split_order : o->no_shuffle ? "end" : NULL;
    char what[96] = "fit: validation_split: ", room[64];
    if (t->s->field_name)
        snprintf(what, sizeof what, "%s: ", soma_field_text(t->s, "validation_split", room));
    soma_status status = soma_dataset_hold_out(t->data, o->validation_split, order, seed_of(t, o), what, o->at,
                                               &t->train_part, &t->validation_part);
    if (status != SOMA_OK)
        return status;
    t->data = t->train_part;
    t->validation = t->validation_part;
    return SOMA_OK;
}

/* A training keeps what it uses, and that must not go with another context. */
static soma_status check_contexts(const soma_model *m, const soma_fit_options *o)
{
    if ((!o->data || o->data->object.s == m->s) && (!o->validation || o->validation->object.s == m->s))
        return SOMA_OK;
    return soma_fail(
        m->s, SOMA_INVALID, o->at,
        SOMA_IN_C("fit: ") "the data belong to another context than the model \"%s\"; open both with one context",
        m->name);
}

/* What both feeders are told; the training adds its own. */
static soma_feeder_options feeder_options(const soma_trainer *t, const soma_fit_options *o, const char *name)
{
    return (soma_feeder_options){.name = name,
                                 .at = o->at,
                                 .batch_size = t->batch_size,
                                 .seed = seed_of(t, o),
                                 .rate = soma_none(),
                                 .micro_batch = o->micro_batch,
                                 .max_memory = o->max_memory,
                                 .tune = o->tune,
                                 .precision = o->precision};
}

static soma_status open_training(soma_trainer *t, const soma_fit_options *o)
{
    int64_t count = soma_dataset_count(t->data), steps = INT64_MAX;
    if (t->batch_size > count)
        t->batch_size = count;
    soma_i64_mul(t->epochs, (count - 1) / t->batch_size + 1, &steps);
    t->max_steps = o->max_steps;
    if (o->max_steps > 0 && o->max_steps < steps)
        steps = o->max_steps;
    t->steps = steps;
    soma_updates_options how = {.struct_size = sizeof how,
                                .at = o->at,
                                .optimizer = &t->optimizer,
                                .total_steps = steps,
                                .groups = o->groups,
                                .n_groups = o->n_groups};
    int capacity = t->objective.m->n_tensors + 1; /* at most one update per tensor, and the step */
    soma_value *updates = soma_alloc_array(t->s, (size_t)capacity, sizeof *updates);
    t->rates = updates ? soma_alloc_array(t->s, (size_t)capacity, sizeof *t->rates) : NULL;
    if (!t->rates) {
        soma_release(t->s, updates);
        return SOMA_MEMORY;
    }
    int n = soma_updates_of_rates(t->objective.loss, updates, capacity, &how, t->rates, &t->n_rates);
    if (n < 0) {
        soma_release(t->s, updates);
        return soma_status_now(t->s);
    }
    soma_feeder_options options = feeder_options(t, o, "train");
    soma_value rate = soma_update_rate(updates[0]);
    bool varies = soma_ok(rate) && rate.graph->values[rate.id].kind == SOMA_VALUE_COMPUTED;
    options.data = t->data;
    options.no_shuffle = o->no_shuffle;
    options.augment = true;
    options.updates = updates;
    options.n_updates = n;
    if (varies)
        options.rate = rate;
    options.rates = t->rates;
    options.n_rates = t->n_rates;
    soma_status status = soma_feeder_open(&t->feeder, &t->objective, &options);
    soma_release(t->s, updates);
    return status;
}

static soma_status open_validation(soma_trainer *t, const soma_fit_options *o)
{
    if (!t->validation)
        return SOMA_OK;
    soma_status status = soma_objective_accepts(&t->objective, t->validation,
                                                t->s->field_name ? "the validation data: " : "fit: validation: ", o->at,
                                                &t->view);
    if (status != SOMA_OK)
        return status;
    soma_feeder_options options = feeder_options(t, o, "validate");
    options.data = t->view ? t->view : t->validation;
    options.no_shuffle = true;
    status = soma_feeder_open(&t->validator, &t->objective, &options);
    t->validates = status == SOMA_OK;
    return status;
}

static void release_trainer(soma_trainer *t)
{
    soma_feeder_close(&t->validator);
    soma_feeder_close(&t->feeder);
    soma_objective_free(&t->objective);
    soma_dataset_free(t->train_part);
    soma_dataset_free(t->validation_part);
    soma_dataset_free(t->view);
    soma_release(t->s, t->rates);
    soma_release(t->s, t);
}

static void destroy_trainer(soma_object *object)
{
    release_trainer((soma_trainer *)object);
}

soma_status soma_fit_take(soma_model *m, const soma_fit_options *given, soma_fit_options *o)
{
    return SOMA_TAKE(m->s, "soma_fit", soma_fit_options, given, o);
}

soma_status soma_trainer_make(soma_model *m, const soma_fit_options *o, soma_trainer **made)
{
    *made = NULL;
    soma_status status = check_options(m, o);
    soma_trainer *t = status == SOMA_OK ? soma_alloc(m->s, sizeof *t) : NULL;
    if (!t)
        return status == SOMA_OK ? SOMA_MEMORY : status;
    t->s = m->s;
    t->at = o->at;
    t->schedule = o->schedule;
    t->user = o->user;
    t->given = (double)NAN;
    t->batch_size = o->batch_size;
    t->epochs = o->epochs;
    t->optimizer = o->optimizer.name ? o->optimizer : soma_sgd_with(NULL);
    status = check_contexts(m, o);
    if (status == SOMA_OK)
        status = soma_objective_make(&t->objective, m, o->data, o->loss, soma_caller(m->s, "fit: "), o->at);
    if (status == SOMA_OK)
        status = split_data(t, o);
    if (status == SOMA_OK)
        status = open_training(t, o);
    if (status == SOMA_OK)
        status = open_validation(t, o);
    if (status == SOMA_OK)
        status = soma_model_set_fingerprint(m, m->s->exact ? 0 : soma_program_fingerprint(t->feeder.stages[0].program));
    if (status == SOMA_OK)
        status = soma_model_reset_slots(m); /* a training begins with fresh optimizer state */
    if (status != SOMA_OK) {
        release_trainer(t);
        return status;
    }
    soma_object_add(t->s, &t->object, destroy_trainer);
    *made = t;
    return SOMA_OK;
}

soma_trainer *soma_trainer_new_with(soma_model *m, const soma_fit_options *given)
{
    soma_trainer *t = NULL;
    soma_fit_options o;
    if (m && !soma_fit_take(m, given, &o))
        soma_trainer_make(m, &o, &t);
    return t;
}

void soma_trainer_free(soma_trainer *t)
{
    if (!t)
        return;
    soma_object_remove(&t->object);
    release_trainer(t);
}

soma_status soma_next(soma_trainer *t)
{
    return t ? soma_feeder_next(&t->feeder) : SOMA_INVALID;
}

soma_status soma_trainer_step(soma_trainer *t)
{
    if (!t)
        return SOMA_INVALID;
    if (!t->feeder.now)
        return soma_fail(
            t->s, SOMA_STATE, soma_nowhere(),
            SOMA_IN_C(
                "soma_trainer_step: ") "no batch is loaded; call soma_next first and go on while it returns SOMA_OK");
    return soma_trainer_run(t);
}

/* A loss that is no number: what the training has come to, and what may help. */
soma_status soma_trainer_diverged(const soma_trainer *t)
{
    double loss = t->loss;
    const soma_feeder *f = &t->feeder;
    char where[128], rate[32];
    snprintf(where, sizeof where, "step %llu (epoch %lld, batch %lld of %lld, %lld sample%s)",
             (unsigned long long)f->steps, (long long)f->epoch + 1, (long long)f->batch, (long long)f->batches,
             (long long)f->now->samples, f->now->samples == 1 ? "" : "s");
    const char *what = isnan(loss) ? "NaN" : "infinite";
    if (f->steps == 1)
        return soma_fail(t->s, SOMA_DATA, t->at,
                         "the loss is %s at %s, before anything was learned; look for NaN, infinite or very large "
                         "numbers in the data and in the weights that the training begins with",
                         what, where);
    return soma_fail(t->s, SOMA_DATA, t->at,
                     "the loss is %s at %s: the training has diverged; try a lower learning rate than %s, and look for "
                     "NaN or very large numbers in the data",
                     what, where, soma_format_f64(soma_trainer_rate(t), rate));
}

static bool rate_sound(double rate)
{
    return rate >= 0 && rate < 1e30;
}

static void set_rate(soma_trainer *t, double rate)
{
    if (rate != t->given)
        soma_feeder_set_rate(&t->feeder, t->rates, t->n_rates, rate);
    t->given = rate;
}

soma_status soma_trainer_set_rate(soma_trainer *t, double rate)
{
    char text[32];
    if (!t)
        return SOMA_INVALID;
    if (!rate_sound(rate))
        return soma_fail(
            t->s, SOMA_INVALID, soma_nowhere(),
            "soma_trainer_set_rate: the learning rate is %s; it must be a number, at least 0 and below 1e30",
            soma_format_f64(rate, text));
    t->schedule = NULL;
    set_rate(t, soma_plain(rate));
    return SOMA_OK;
}

soma_status soma_trainer_follow(soma_trainer *t)
{
    char text[32];
    double rate = t->schedule(t->user, (int64_t)t->feeder.steps, t->steps);
    if (!rate_sound(rate))
        return soma_fail(
            t->s, SOMA_INVALID, t->at,
            SOMA_IN_C("fit: ") "the schedule says a learning rate of %s for step %llu, counted from 0; it must be a "
                               "number, at least 0 and below 1e30",
            soma_format_f64(rate, text), (unsigned long long)t->feeder.steps);
    set_rate(t, soma_plain(rate));
    return SOMA_OK;
}

double soma_trainer_loss(const soma_trainer *t)
{
    return t ? soma_feeder_number(&t->feeder, t->feeder.done, t->objective.loss) : (double)NAN;
}

double soma_trainer_accuracy(const soma_trainer *t)
{
    return t ? soma_feeder_number(&t->feeder, t->feeder.done, t->objective.accuracy) : (double)NAN;
}

int64_t soma_trainer_samples(const soma_trainer *t)
{
    return t && t->feeder.done ? t->feeder.done->samples : 0;
}

soma_program *soma_trainer_program(soma_trainer *t)
{
    if (!t)
        return NULL;
    return t->feeder.done ? t->feeder.done->program : t->feeder.stages[0].program;
}

double soma_trainer_rate(const soma_trainer *t)
{
    const soma_stage *done = t ? t->feeder.done : NULL;
    soma_value rate = t ? t->feeder.rate : soma_none();
    if (!t || !isnan(t->given))
        return t ? t->given : (double)NAN;
    if (!soma_ok(rate))
        return t->optimizer.lr;
    const float *now = done ? soma_read(done->program, rate).data : NULL;
    if (now)
        return *now;
    const soma_graph *graph = rate.graph;
    return (float)soma_learning_rate_at(graph->nodes[graph->values[rate.id].node].attrs, 0);
}
