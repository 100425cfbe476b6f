/* SPDX-License-Identifier: Apache-2.0
 *
 * train/train.h: what fit, evaluate and predict share.
 */
#ifndef SOMA_TRAIN_TRAIN_H
#define SOMA_TRAIN_TRAIN_H

#include "run/program.h"
#include "nn/nn.h"
#include <soma/train.h>

/* After a builder failed: what the context holds, for calls that return a status. */
static inline soma_status soma_status_now(const soma *s)
{
    soma_status status = soma_error_status(s);
    return status != SOMA_OK ? status : SOMA_INVALID;
}

/* A copy of the model's graph with target, loss and accuracy added; the model itself stays as it is. */
typedef struct soma_objective {
    soma_model *m; /* a reference to it is held, and to the data given: both may be freed meanwhile */
    soma_dataset *given;
    soma_dataset *data;       /* the first that it was made for, with the model's classes */
    soma_dataset *view;       /* that dataset where it had to be made; NULL: the caller's own */
    const char *const *names; /* of the outputs: the model's, else the data's; NULL: only numbers */
    const char **own_names;   /* the list of the model's */
    soma_graph *graph;
    soma_value x, output, logits; /* of the copy, with the model's ids */
    soma_value target, loss;
    soma_value accuracy; /* absent where targets are not classes */
    bool classes;        /* targets are i32 classes */
} soma_objective;

/* what: "fit" or "evaluate", for sentences. loss NULL: by the data's targets. */
soma_status soma_objective_make(soma_objective *o, soma_model *m, soma_dataset *data, const char *loss,
                                const char *what, soma_at at);
void soma_objective_free(soma_objective *o);
/* Does the data fit the model's input and output? *view: the data with the model's classes where they know them by
 * other numbers, for the caller to free; else NULL. */
soma_status soma_objective_accepts(const soma_objective *o, soma_dataset *data, const char *what, soma_at at,
                                   soma_dataset **view);

/* A program for one batch size, and where its numbers lie. */
typedef struct soma_stage {
    soma_program *program;
    int64_t samples;
    void *x[2], *y[2]; /* in the slots of the feeder's ring */
} soma_stage;

typedef struct soma_feeder_options {
    const char *name;
    soma_at at;
    soma_dataset *data;
    int64_t batch_size;
    bool no_shuffle, augment;
    uint64_t seed;
    const soma_value *updates;
    int n_updates;
    soma_value rate;        /* absent: not computed */
    const soma_rate *rates; /* numbers that soma_feeder_set_rate writes to */
    int n_rates;
    int64_t micro_batch;
    uint64_t max_memory;
    bool tune;
    const char *precision;
} soma_feeder_options;

/* A dataset flowing through programs, batch by batch. While a batch runs in one input slot the next is read into
 * the other; reading is over when the step is over, so nothing runs while the caller has the control. */
typedef struct soma_feeder {
    const soma_objective *objective;
    soma_model *m;
    soma_loader *loader;
    soma_stage stages[2];  /* full batches; the smaller last one */
    soma_stage *now;       /* of the batch loaded by soma_feeder_next; NULL: none */
    soma_stage *done;      /* of the last step; NULL: none */
    int64_t full, batches; /* full batches and all batches of an epoch */
    int64_t batch, epoch;  /* the next to load */
    int slot;              /* where the batch loaded last lies */
    bool ahead;            /* the next batch is read, or being read, into the other slot */
    bool lost;             /* reading failed: the loader is sent to `batch` again */
    uint64_t steps;        /* done, the step number of random draws */
    soma_value rate;       /* the learning rate, or absent */
    soma_dtype dtype;      /* of loss and accuracy */
    soma_input_ring ring;  /* of both stages, and of no other program */
} soma_feeder;

soma_status soma_feeder_open(soma_feeder *f, const soma_objective *objective, const soma_feeder_options *o);
void soma_feeder_close(soma_feeder *f);
/* Back to the first batch of the first epoch. */
void soma_feeder_rewind(soma_feeder *f);
/* SOMA_END when the epoch is over; the next call begins another. */
soma_status soma_feeder_next(soma_feeder *f);
soma_status soma_feeder_step(soma_feeder *f);

/* Writes `number` times each one's factor into the rates of all programs. */
void soma_feeder_set_rate(soma_feeder *f, const soma_rate *rates, int n_rates, double number);

/* A number that a stage's last step computed; NaN: none, or not computed. */
double soma_feeder_number(const soma_feeder *f, const soma_stage *stage, soma_value x);

/* Means over all samples of an epoch of a feeder without updates. result->confusion is filled where it is wanted. stop
 * may be NULL; SOMA_CANCELLED where it says so. */
soma_status soma_feeder_evaluate(soma_feeder *f, soma_evaluation *result, soma_stop_fn stop, void *user);

#endif
