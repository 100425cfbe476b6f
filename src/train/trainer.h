/* SPDX-License-Identifier: Apache-2.0
 *
 * train/trainer.h: a trainer's inside, for soma_fit.
 */
#ifndef SOMA_TRAIN_TRAINER_H
#define SOMA_TRAIN_TRAINER_H

#include "train/train.h"

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
    double given; /* the rate that was set, or the schedule's; NaN: the optimizer's */
};

soma_status soma_trainer_make(soma_model *m, const soma_fit_options *o, soma_trainer **made);
/* Trains on the batch that soma_feeder_next has loaded: all that soma_trainer_step and soma_fit do in a step. */
soma_status soma_trainer_run(soma_trainer *t);

#endif
