/* SPDX-License-Identifier: Apache-2.0
 *
 * soma/train.h: fit, evaluate, predict, and the open loop for those who write their own.
 */
#ifndef SOMA_TRAIN_H
#define SOMA_TRAIN_H

#include <soma/data.h>
#include <soma/nn.h>

#ifdef __cplusplus
extern "C" {
#endif

/** Where training stands, handed to callbacks. Losses and metrics are means over the samples seen so far. */
typedef struct soma_progress {
    int64_t epoch, epochs;         /**< epoch counts from 0 */
    int64_t batch, batches;        /**< batches done in this epoch */
    int64_t samples;               /**< samples done in this epoch */
    double seconds;                /**< since the epoch began */
    double loss, accuracy;         /**< accuracy is NaN where targets are not classes */
    double val_loss, val_accuracy; /**< NaN until the epoch is over, or without validation data */
    double learning_rate;
    bool epoch_done;
    bool has_loss, has_accuracy, has_validation; /**< these figures are there: a NaN is what was computed */
    int64_t step, steps;                         /**< steps done, and of the whole training */
    uint64_t reserved[16]; /**< room for what comes: a caller's struct is as long as the library's */
} soma_progress;
/** Return false to stop after this step (soma_fit then returns SOMA_CANCELLED with the model as it is). */
typedef bool (*soma_progress_fn)(void *user, const soma_progress *progress);
/** Return true to stop. Asked before the first step and after every one, also of an evaluation, so it should cost
 *  nothing: it may read what a signal handler has set. soma_fit and soma_evaluate then return SOMA_CANCELLED, which is
 *  no error: soma_failed stays false. */
typedef bool (*soma_stop_fn)(void *user);
/** Called once with the training program when all is compiled and no step has run: soma_program_memory(p) says what it
 *  will take. The program belongs to the training. */
typedef void (*soma_plan_fn)(void *user, const soma_program *p);

/** The learning rate of step `step` (counted from 0) of `steps`; at least 0. Groups of parameters keep their ratio to
 *  it. */
typedef double (*soma_schedule_fn)(void *user, int64_t step, int64_t steps);

typedef struct soma_fit_options {
    size_t struct_size;
    soma_at at;
    soma_dataset *data;
    const char *loss;               /**< default: softmax_cross_entropy for classes, mean_squared_error otherwise */
    soma_optimizer optimizer;       /**< default soma_sgd() */
    const soma_param_group *groups; /**< parameters trained in their own way, or frozen (soma/nn.h) */
    int n_groups;
    int64_t batch_size; /**< default 32 */
    int64_t epochs;     /**< default 1 */
    soma_dataset *validation;
    double validation_split; /**< share of `data` held out for validation, when that is NULL; see split_order */
    /** which samples: "stratified" (default for classes), "shuffled" (otherwise) or "end" (default with no_shuffle,
     *  for samples in an order; Keras), by the seed; see soma_dataset_split */
    const char *split_order;
    bool no_shuffle;
    uint64_t seed; /**< of shuffling and dropout; 0: the context's, SOMA_ZERO: 0 */
    soma_progress_fn on_progress;
    void *user;
    /** at most one call per that many seconds, plus one per epoch; 0: one per epoch only; < 0: after every step */
    double progress_seconds;
    int64_t micro_batch;   /**< samples that run at a time; gradients are the whole batch's; 0: the plan chooses */
    uint64_t max_memory;   /**< bytes of the plan, 0: no budget; see soma_program_options */
    bool tune;             /**< kernels are timed, see soma_program_options */
    soma_plan_fn on_plan;  /**< gets `user` as well; may be NULL */
    int64_t max_steps;     /**< > 0: stop after that many steps */
    soma_progress *result; /**< the last epoch's figures, also of one that was stopped or failed; may be NULL */
    const char *precision; /**< "f32" (default) or "bf16", see soma_program_options */
    soma_stop_fn stop;     /**< gets `user` as well; may be NULL */
    /** called before every step, gets `user` as well; NULL: the optimizer's rate. Not beside the optimizer's own
     *  schedules, peak_lr and decay */
    soma_schedule_fn schedule;
} soma_fit_options;
/** Trains the model's first output on the dataset: soma_fit(m, data, .epochs = 5). Where the model has names of classes
 *  (soma_model_set_classes, or from its file), data and validation data may know fewer of them or in another order:
 *  names decide (soma_dataset_for_classes), and the log tells. A name that the model lacks is refused. Where one side
 *  has only numbers, the numbers of classes must agree; a number of classes that was only read off the labels may be
 *  smaller than that of unnamed outputs. Validation data follow the training data's names where the model has none.
 *
 *  SOMA_CANCELLED: stopped by a callback, the model is as the last step left it. SOMA_DATA: a loss, a validation loss
 *  or, in the end, a parameter is NaN or infinite; the sentence names the step or the tensor, and the model is not to
 *  be used. */
SOMA_API soma_status soma_fit_with(soma_model *m, const soma_fit_options *o);
#define soma_fit(m, ...) soma_fit_with(m, SOMA_OPTIONS(soma_fit_options, .data = __VA_ARGS__))

typedef struct soma_evaluation {
    int64_t samples;
    double loss, accuracy;
    int classes; /**< the model's outputs, 0 where targets are not classes; beside .confusion also set by the caller */
    /** [classes, classes], row: truth, column: answer, by the model's outputs; each sample is counted once, but for
     *  those with a NaN among the outputs, which answer nothing (accuracy takes them for wrong). Owned by the
     *  caller, who sets .classes to say how large it is; NULL: not wanted */
    int64_t *confusion;
    /** samples for which an output was NaN or infinite; where a softmax ends the model, a number that it was given */
    int64_t not_finite;
    uint64_t reserved[16]; /**< room for what comes */
} soma_evaluation;
typedef struct soma_evaluate_options {
    size_t struct_size;
    soma_at at;
    soma_dataset *data;
    const char *loss;
    int64_t batch_size; /**< default 128 */
    soma_evaluation *result;
    const char *precision; /**< "f32" (default) or "bf16", see soma_program_options */
    uint64_t max_memory;   /**< bytes of the plan, 0: no budget; see soma_program_options */
    soma_stop_fn stop;     /**< may be NULL; SOMA_CANCELLED leaves the result as it was */
    void *user;            /**< for stop */
} soma_evaluate_options;
/** Means over the dataset, whose classes become the model's by name as in soma_fit. */
SOMA_API soma_status soma_evaluate_with(soma_model *m, const soma_evaluate_options *o);
/** Would soma_evaluate take these data? Compares shapes, targets, classes and the loss; computes nothing. For data
 *  that are to be evaluated after a training: what is wrong with them is known before it. */
SOMA_API soma_status soma_evaluate_check(soma_model *m, const soma_evaluate_options *o);
#define soma_evaluate(m, ...) soma_evaluate_with(m, SOMA_OPTIONS(soma_evaluate_options, .data = __VA_ARGS__))

/** Computes the model's first output for x [n, ...] into y [n, ...]; batches of at most 128. Programs are kept for the
 *  next call. */
SOMA_API soma_status soma_predict(soma_model *m, const soma_tensor *x, soma_tensor *y);
typedef struct soma_predict_options {
    size_t struct_size;
    soma_at at;
    soma_tensor *y;        /**< where the output goes */
    const char *precision; /**< "f32" (default) or "bf16", see soma_program_options */
} soma_predict_options;
/** The same with options. */
SOMA_API soma_status soma_predict_with(soma_model *m, const soma_tensor *x, const soma_predict_options *o);

/* ---- the open loop ---- */

/** A training that the caller steps through: soma_next, soma_trainer_step, soma_trainer_loss. soma_fit is this loop. */
typedef struct soma_trainer soma_trainer;
/** Takes soma_fit's options; epochs sets the schedule's length. Compiles everything the training needs. It keeps the
 *  model and the data (of the model's context), so both may be freed while it goes on. NULL on failure. */
SOMA_API soma_trainer *soma_trainer_new_with(soma_model *m, const soma_fit_options *o);
#define soma_trainer_new(m, ...) soma_trainer_new_with(m, SOMA_OPTIONS(soma_fit_options, .data = __VA_ARGS__))
/** Ends it, in any order with its model and data; or it goes with its context. */
SOMA_API void soma_trainer_free(soma_trainer *t);
/** Loads the next batch: SOMA_OK, SOMA_END when the epoch is over (the next call begins another), or an error. */
SOMA_API soma_status soma_next(soma_trainer *t);
/** Trains on it. SOMA_DATA where the loss is NaN or infinite: the sentence names the step; the parameters have been
 *  updated all the same and are not to be used. */
SOMA_API soma_status soma_trainer_step(soma_trainer *t);
/** Mean loss and accuracy of the last step's batch, and its number of samples. */
SOMA_API double soma_trainer_loss(const soma_trainer *t);
SOMA_API double soma_trainer_accuracy(const soma_trainer *t);
SOMA_API int64_t soma_trainer_samples(const soma_trainer *t);
/** The learning rate from the next step on, at least 0, until it is set again: the optimizer's schedule and .schedule
 *  say nothing any more. Groups keep their ratio to it (one with an lr of its own beside an optimizer's rate of 0
 *  keeps its lr). Costs nothing: no program is compiled anew. A negative rate, NaN and infinity are SOMA_INVALID and
 *  change nothing. */
SOMA_API soma_status soma_trainer_set_rate(soma_trainer *t, double rate);
/** The learning rate, before groups scale it: what was set, else the schedule's at the last step (before the first
 *  one: at that). */
SOMA_API double soma_trainer_rate(const soma_trainer *t);
/** The program that a step runs, for soma_read, soma_program_memory and the like. It belongs to the training. */
SOMA_API soma_program *soma_trainer_program(soma_trainer *t);

#ifdef __cplusplus
}
#endif
#endif
