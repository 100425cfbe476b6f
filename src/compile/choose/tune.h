/* SPDX-License-Identifier: Apache-2.0
 *
 * compile/choose/tune.h: kernels that were chosen by the clock: the context's table of what was timed, and each model's
 * record.
 */
#ifndef SOMA_COMPILE_CHOOSE_TUNE_H
#define SOMA_COMPILE_CHOOSE_TUNE_H

#include "compile/choose/choices.h"
#include "compile/choose/select.h"

/* Bytes of scratch that a timed kernel may want at most, unless there is a budget: then an eighth of it. */
#define SOMA_TUNE_SCRATCH ((size_t)512 << 20)

/* What was timed in this context or came from the cache file. */
typedef struct soma_tuner {
    soma_object object;
    soma_choices timed;
    char *path;   /* of the cache file, or NULL */
    bool changed; /* since the file was written */
} soma_tuner;
/* Made at first use; NULL: no memory. */
soma_tuner *soma_tuner_of(soma *s);
soma_status soma_tuner_put(soma *s, const soma_choice *choice);
/* Writes the cache file if there is one and something is new. A failure is a warning. */
void soma_tuner_save(soma *s);

/* The model's record: choices of the clock, and the hash of its last training's kernels. */
bool soma_choices_any(const soma_model *m);
const soma_choice *soma_choices_of_model(soma_model *m, const char *machine, const char *key);
/* Of a plan that is made: what the clock chose for its tasks; all of it, or nothing where memory is short. */
soma_status soma_choices_keep(soma_plan *p);
soma_status soma_model_set_fingerprint(soma_model *m, uint64_t hash);
/* The choices as text, for the model file; nothing is added where there are none. */
void soma_choices_save(const soma_model *m, soma_text *text);
/* A text that is not believed is left out with a warning. path: for the warning. */
soma_status soma_choices_load(soma_model *m, const char *text, const char *path);

#endif
