/* SPDX-License-Identifier: Apache-2.0
 *
 * train/fit.c: soma_fit: the open loop with sums, validation and progress. The clock is asked only where somebody
 * wants to see progress, and then only every so many steps.
 */
#include "train/trainer.h"

#include "tensor/element.h"

#include <math.h>

#define LOOKS_PER_CALL 20 /* at the clock, between two calls of on_progress */

typedef struct soma_fitting {
    soma_trainer *t;
    const soma_fit_options *o;
    soma_progress progress;
    double loss, correct; /* sums over the samples of the epoch */
    int64_t samples, batches;
    double begun, called, looked; /* the clock: epoch begun, on_progress called, clock looked at */
    int64_t stride, countdown;    /* steps from one look to the next, steps left */
} soma_fitting;

static void describe(soma_fitting *f, double now)
{
    soma_progress *p = &f->progress;
    double n = (double)f->samples;
    p->batch = f->batches;
    p->samples = f->samples;
    p->seconds = now - f->begun;
    p->step = (int64_t)f->t->feeder.steps;
    p->has_loss = f->samples > 0;
    p->has_accuracy = p->has_loss && soma_ok(f->t->objective.accuracy);
    p->loss = p->has_loss ? f->loss / n : (double)NAN;
    p->accuracy = p->has_accuracy ? f->correct / n : (double)NAN;
    p->learning_rate = soma_trainer_rate(f->t);
}

static soma_status call(soma_fitting *f)
{
    return f->o->on_progress(f->o->user, &f->progress) ? SOMA_OK : SOMA_CANCELLED;
}

/* Reached once every `stride` steps: calls on_progress when it is due and sets the stride so that the clock is
 * looked at about LOOKS_PER_CALL times between two calls. */
static soma_status look(soma_fitting *f)
{
    double wait = f->o->progress_seconds, now = soma_now(f->t->s);
    f->countdown = f->stride;
    if (wait > 0) {
        double passed = now - f->looked, aim = wait / LOOKS_PER_CALL;
        f->looked = now;
        if (passed < aim / 2 && f->stride < (int64_t)1 << 40)
            f->stride *= 2;
        else if (passed > aim * 2 && f->stride > 1)
            f->stride /= 2;
        f->countdown = f->stride;
        if (now - f->called < wait)
            return SOMA_OK;
    }
    f->called = now;
    describe(f, now);
    return call(f);
}

/* Steps until the epoch is over: SOMA_END, or why it stopped earlier. */
static soma_status run_epoch(soma_fitting *f)
{
    soma_feeder *feeder = &f->t->feeder;
    bool watched = f->o->on_progress && f->o->progress_seconds != 0;
    uint64_t limit = f->t->max_steps > 0 ? (uint64_t)f->t->max_steps : UINT64_MAX;
    for (;;) {
        if (feeder->steps >= limit)
            return SOMA_END;
        soma_status status = soma_feeder_next(feeder);
        if (status != SOMA_OK)
            return status;
        uint64_t before = feeder->steps;
        status = soma_trainer_run(f->t);
        if (feeder->steps == before)
            return status;
        const soma_stage *now = feeder->now;
        double n = (double)now->samples;
        f->loss += n * f->t->loss;
        if (soma_ok(f->t->objective.accuracy))
            f->correct += n * soma_feeder_number(feeder, now, f->t->objective.accuracy);
        f->samples += now->samples;
        f->batches++;
        if (status != SOMA_OK)
            return status; /* diverged: the sums say so, too */
        if (watched && --f->countdown <= 0 && (status = look(f)) != SOMA_OK)
            return status;
        if (f->o->stop && f->o->stop(f->o->user))
            return SOMA_CANCELLED;
    }
}

static soma_status finish_epoch(soma_fitting *f)
{
    if (f->samples > 0)
        describe(f, f->progress.seconds);
    if (f->t->validates) {
        soma_evaluation result = {0};
        soma_status status = soma_feeder_evaluate(&f->t->validator, &result, f->o->stop, f->o->user);
        if (status != SOMA_OK)
            return status;
        f->progress.has_validation = true;
        f->progress.val_loss = result.loss;
        f->progress.val_accuracy = result.accuracy;
    }
    f->progress.seconds = soma_now(f->t->s) - f->begun;
    f->progress.epoch_done = true;
    soma_status status = f->o->on_progress ? call(f) : SOMA_OK;
    if (f->progress.has_validation && !isfinite(f->progress.val_loss))
        return soma_fail(f->t->s, SOMA_DATA, f->o->at,
                         "the validation loss is %s after epoch %lld, while the training loss is %.4g; look for NaN or "
                         "very large numbers in the validation data, or try a lower learning rate",
                         isnan(f->progress.val_loss) ? "NaN" : "infinite", (long long)f->progress.epoch + 1,
                         f->progress.loss);
    return status;
}

static void begin_epoch(soma_fitting *f, int64_t epoch)
{
    f->loss = f->correct = 0;
    f->samples = f->batches = 0;
    f->begun = soma_now(f->t->s);
    if (epoch == 0)
        f->called = f->looked = f->begun;
    f->progress = (soma_progress){.epoch = epoch,
                                  .epochs = f->t->epochs,
                                  .batches = f->t->feeder.batches,
                                  .step = (int64_t)f->t->feeder.steps,
                                  .steps = f->t->steps,
                                  .loss = (double)NAN,
                                  .accuracy = (double)NAN,
                                  .val_loss = (double)NAN,
                                  .val_accuracy = (double)NAN,
                                  .learning_rate = f->progress.learning_rate};
}

static soma_status run_epochs(soma_fitting *f)
{
    for (int64_t epoch = 0; epoch < f->t->epochs; epoch++) {
        bool stopped = f->t->max_steps > 0 && f->t->feeder.steps >= (uint64_t)f->t->max_steps;
        if (stopped)
            break;
        begin_epoch(f, epoch);
        if (epoch == 0 && f->o->stop && f->o->stop(f->o->user))
            return SOMA_CANCELLED;
        soma_status status = run_epoch(f);
        if (status == SOMA_END)
            status = finish_epoch(f);
        if (status != SOMA_OK)
            return status;
    }
    return SOMA_OK;
}

soma_status soma_fit_with(soma_model *m, const soma_fit_options *given)
{
    soma_fit_options taken, *o = &taken;
    if (!m || soma_fit_take(m, given, &taken))
        return SOMA_INVALID;
    soma_fitting f = {.o = o, .stride = 1};
    soma_status status = soma_trainer_make(m, o, &f.t);
    if (status != SOMA_OK)
        return status;
    if (o->on_plan)
        o->on_plan(o->user, soma_trainer_program(f.t));
    status = run_epochs(&f);
    if (status != SOMA_OK && !f.progress.epoch_done)
        describe(&f, soma_now(m->s)); /* where it stopped */
    if (status == SOMA_OK || status == SOMA_CANCELLED) {
        soma_status finite = soma_check_finite(m); /* the last update may have overflowed */
        status = finite == SOMA_OK ? status : finite;
    }
    if (o->result)
        *o->result = f.progress;
    soma_trainer_free(f.t);
    return status;
}
