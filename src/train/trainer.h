/* SPDX-License-Identifier: Apache-2.0
 *
 * train/trainer.h: a trainer's inside, for soma_fit.
 */
#ifndef SOMA_TRAIN_TRAINER_H
#define SOMA_TRAIN_TRAINER_H

#include "tensor/element.h"
#include "train/train.h"

#include <math.h>

struct soma_trainer {
    soma_object object;
    soma *s;
    soma_objective objective;
    soma_feeder feeder, validator;
    bool validates;
    soma_dataset *data, *validation;
    soma_dataset *train_part, *validation_part; /* made by validation_split */
    soma_dataset *view;                         /* the caller's validation data with the model's classes */
    soma_optimizer optimizer;
    int64_t batch_size, epochs, max_steps;
    int64_t steps; /* of the whole training */
    soma_at at;    /* where it was asked for */
    soma_schedule_fn schedule;
    void *user;
    soma_rate *rates; /* of all updates */
    int n_rates;
    double loss;  /* of the last step */
    double given; /* the rate that was set, or the schedule's; NaN: the optimizer's */
};

/* Options with presets filled in, for soma_trainer_make. */
soma_status soma_fit_take(soma_model *m, const soma_fit_options *given, soma_fit_options *o);
soma_status soma_trainer_make(soma_model *m, const soma_fit_options *o, soma_trainer **made);
/* Sets the rate that the caller's schedule says for the next step. */
soma_status soma_trainer_follow(soma_trainer *t);
/* What a loss says that is no number. */
soma_status soma_trainer_diverged(const soma_trainer *t);

/* Trains on the batch that soma_feeder_next has loaded: all that soma_trainer_step and soma_fit do in a step. Inline,
 * as a neuron's step takes a tenth of a microsecond. */
static inline soma_status soma_trainer_run(soma_trainer *t)
{
    soma_status status = t->schedule ? soma_trainer_follow(t) : SOMA_OK;
    if (status == SOMA_OK)
        status = soma_feeder_step(&t->feeder);
    if (status != SOMA_OK)
        return status;
    t->loss = soma_feeder_number(&t->feeder, t->feeder.now, t->objective.loss);
    return isfinite(t->loss) ? SOMA_OK : soma_trainer_diverged(t);
}

#endif
