/* SPDX-License-Identifier: Apache-2.0
 *
 * train/evaluate.c: loss, accuracy and confusion over a dataset. The model stays as it is.
 */
#include "train/train.h"
#include "base/fields.h"

#include "base/words.h"

#include <string.h>

/* The confusion matrix lies in the caller's memory, who may have made it for the data's classes. */
static soma_status check_room(const soma_objective *objective, const soma_evaluate_options *o)
{
    const soma_evaluation *wanted = o->result;
    soma_type y = soma_value_type(objective->logits);
    if (!wanted || !wanted->confusion || !objective->classes || wanted->classes == y.shape.dim[1])
        return SOMA_OK;
    return soma_fail(objective->m->s, SOMA_INVALID, o->at,
                     "evaluate: .confusion is said to be of %d classes, but it counts the model's %lld outputs; set "
                     ".classes = %lld beside it, for [%lld, %lld] numbers",
                     wanted->classes, (long long)y.shape.dim[1], (long long)y.shape.dim[1], (long long)y.shape.dim[1],
                     (long long)y.shape.dim[1]);
}

SOMA_TABLE(soma_evaluate_options) = {
    SOMA_OTHER(soma_evaluate_options, data, .doc = "what is looked at"),
    SOMA_TEXT(soma_evaluate_options, loss, NULL,
              .doc = "by name; without it softmax_cross_entropy for classes, mean_squared_error otherwise"),
    SOMA_INT(soma_evaluate_options, batch_size, 128, AT_LEAST(1), .doc = "samples of a step"),
    SOMA_OTHER(soma_evaluate_options, result, .doc = "where the figures go"),
    SOMA_TEXT(soma_evaluate_options, precision, "f32", .doc = "f32 or bf16: of stored activations and products"),
    SOMA_SIZE(soma_evaluate_options, max_memory, 0, ANY, .doc = "bytes of the plan; without it no budget"),
    SOMA_OTHER(soma_evaluate_options, stop, .doc = "says whether to stop"),
    SOMA_OTHER(soma_evaluate_options, user, .doc = "handed to stop"),
    SOMA_FIELDS_END};

soma_status soma_evaluate_with(soma_model *m, const soma_evaluate_options *given)
{
    soma_evaluate_options taken, *o = &taken;
    if (!m || SOMA_TAKE(m->s, "soma_evaluate", soma_evaluate_options, given, &taken))
        return SOMA_INVALID;
    soma_objective objective;
    bool bf16;
    soma_status status = soma_precision_parse(m->s, soma_caller(m->s, "evaluate: "), o->precision, o->at, &bf16);
    if (status != SOMA_OK)
        return status;
    status = soma_objective_make(&objective, m, o->data, o->loss, soma_caller(m->s, "evaluate: "), o->at);
    if (status != SOMA_OK)
        return status;
    status = check_room(&objective, o);
    if (status != SOMA_OK) {
        soma_objective_free(&objective);
        return status;
    }
    soma_feeder feeder;
    soma_feeder_options options = {.name = "evaluate",
                                   .at = o->at,
                                   .data = objective.data,
                                   .batch_size = o->batch_size,
                                   .no_shuffle = true,
                                   .seed = m->s->seed,
                                   .rate = soma_none(),
                                   .max_memory = o->max_memory,
                                   .precision = o->precision};
    status = soma_feeder_open(&feeder, &objective, &options);
    if (status == SOMA_OK) {
        soma_evaluation result = {.confusion = o->result ? o->result->confusion : NULL};
        result.classes = objective.classes ? (int)soma_value_type(objective.logits).shape.dim[1] : 0;
        if (result.confusion)
            memset(result.confusion, 0, (size_t)result.classes * (size_t)result.classes * sizeof *result.confusion);
        status = soma_feeder_evaluate(&feeder, &result, o->stop, o->user);
        if (status == SOMA_OK && o->result)
            *o->result = result;
        soma_feeder_close(&feeder);
    }
    soma_objective_free(&objective);
    return status;
}

soma_status soma_evaluate_check(soma_model *m, const soma_evaluate_options *given)
{
    soma_evaluate_options taken, *o = &taken;
    if (!m || SOMA_TAKE(m->s, "soma_evaluate", soma_evaluate_options, given, &taken))
        return SOMA_INVALID;
    soma_objective objective;
    soma_status status = soma_objective_make(&objective, m, o->data, o->loss, soma_caller(m->s, "evaluate: "), o->at);
    if (status == SOMA_OK)
        status = check_room(&objective, o);
    if (status == SOMA_OK || objective.m)
        soma_objective_free(&objective);
    return status;
}
