/* SPDX-License-Identifier: Apache-2.0
 *
 * train/predict.c: a model's first output for an array of samples, in batches of at most 128. The programs stay
 * with the model for the next call: the one for 128, and those of the last few smaller batches.
 */
#include "train/train.h"
#include "base/fields.h"

#include "base/words.h"

#include <string.h>

#define PREDICT_KEY "train/predict"
#define PREDICT_BATCH 128
#define PREDICT_KEPT 4

typedef struct soma_predictor {
    int32_t output;                           /* value of the model's graph that the programs compute */
    bool bf16;                                /* their precision */
    soma_program *programs[1 + PREDICT_KEPT]; /* [0]: PREDICT_BATCH */
    int oldest;                               /* of programs[1..], the next to be replaced */
} soma_predictor;

static void free_programs(soma_predictor *p)
{
    for (int i = 0; i < 1 + PREDICT_KEPT; i++) {
        soma_program_free(p->programs[i]);
        p->programs[i] = NULL;
    }
}

static void destroy_predictor(soma_model *m, void *data)
{
    free_programs(data);
    soma_release(m->s, data);
}

static soma_predictor *predictor_of(soma_model *m, int32_t output, bool bf16)
{
    soma_predictor *p = soma_attached(m, PREDICT_KEY);
    if (!p) {
        p = soma_alloc(m->s, sizeof *p);
        if (!p)
            return NULL;
        if (soma_attach(m, PREDICT_KEY, p, destroy_predictor) != SOMA_OK) {
            soma_release(m->s, p);
            return NULL;
        }
    }
    if (p->output != output || p->bf16 != bf16)
        free_programs(p);
    p->output = output;
    p->bf16 = bf16;
    return p;
}

static soma_program *program_for(soma_model *m, soma_predictor *p, int64_t batch)
{
    int place = 0;
    if (batch != PREDICT_BATCH) {
        for (int i = 1; i < 1 + PREDICT_KEPT; i++)
            if (p->programs[i] && p->programs[i]->plan->batch == batch)
                return p->programs[i];
        place = 1 + p->oldest;
        p->oldest = (p->oldest + 1) % PREDICT_KEPT;
        soma_program_free(p->programs[place]);
        p->programs[place] = NULL;
    }
    if (!p->programs[place]) {
        soma_value y = soma_value_in(m->graph, p->output);
        soma_program_options options = {.struct_size = sizeof options,
                                        .name = "predict",
                                        .batch = batch,
                                        .values = &y,
                                        .n_values = 1,
                                        .precision = p->bf16 ? "bf16" : "f32"};
        p->programs[place] = soma_program_make(m, &options);
    }
    return p->programs[place];
}

/* Is `tensor` an array of n values of this type? */
static bool array_of(const soma_tensor *tensor, const soma_type *type, int64_t n)
{
    if (tensor->dtype != type->dtype || tensor->shape.rank != type->shape.rank || tensor->shape.dim[0] != n)
        return false;
    return memcmp(tensor->shape.dim + 1, type->shape.dim + 1,
                  (size_t)(type->shape.rank - 1) * sizeof tensor->shape.dim[0]) == 0;
}

static soma_status check_model(const soma_model *m)
{
    if (m->graph->failed)
        return soma_failed(m->s) ? soma_error_status(m->s)
                                 : soma_fail(m->s, SOMA_STATE, soma_nowhere(),
                                             SOMA_IN_C("predict: ") "building the model \"%s\" failed", m->name);
    if (m->n_inputs != 1 || m->n_outputs < 1)
        return soma_fail(
            m->s, SOMA_INVALID, soma_nowhere(),
            SOMA_IN_C("predict: ") "the model \"%s\" has %d inputs and %d outputs, it needs one input and an "
                                   "output" SOMA_IN_C("; use soma_compile, soma_feed and soma_step for others"),
            m->name, m->n_inputs, m->n_outputs);
    const soma_value ends[2] = {soma_model_input(m, 0), soma_model_output(m, 0)};
    for (int i = 0; i < 2; i++) {
        soma_type type = soma_value_type(ends[i]);
        char text[96];
        if (type.shape.rank < 1 || type.shape.dim[0] != SOMA_N)
            return soma_fail(m->s, SOMA_INVALID, soma_nowhere(),
                             SOMA_IN_C("predict: ") "the model's %s is %s, but its first dimension must be the batch N",
                             i ? "output" : "input", soma_type_text(&type, text));
    }
    return SOMA_OK;
}

static soma_status check_arrays(const soma_model *m, const soma_tensor *x, const soma_tensor *y)
{
    soma_type want = soma_value_type(soma_model_input(m, 0)), gives = soma_value_type(soma_model_output(m, 0));
    soma_type have = {x->dtype, x->shape};
    char a[96], b[96];
    int64_t n = x->shape.rank > 0 ? x->shape.dim[0] : 0;
    if (!x->data || n < 1 || !array_of(x, &want, n))
        return soma_fail(m->s, SOMA_INVALID, soma_nowhere(),
                         SOMA_IN_C("predict: ") "x must be %s with data, N at least 1, got %s%s",
                         soma_type_text(&want, a), soma_type_text(&have, b), x->data ? "" : " without data");
    have = (soma_type){y->dtype, y->shape};
    if (y->data && array_of(y, &gives, n))
        return SOMA_OK;
    return soma_fail(m->s, SOMA_INVALID, soma_nowhere(),
                     SOMA_IN_C("predict: ") "y must be %s with room for %lld samples, got %s%s",
                     soma_type_text(&gives, a), (long long)n, soma_type_text(&have, b), y->data ? "" : " without data");
}

static size_t sample_bytes(const soma_tensor *tensor)
{
    return (size_t)(soma_shape_elements(&tensor->shape) / tensor->shape.dim[0]) * soma_dtype_size(tensor->dtype);
}

SOMA_TABLE(soma_predict_options) = {
    SOMA_OTHER(soma_predict_options, y, .doc = "where the output goes"),
    SOMA_TEXT(soma_predict_options, precision, "f32", .doc = "f32 or bf16: of stored activations and products"),
    SOMA_FIELDS_END};

soma_status soma_predict_with(soma_model *m, const soma_tensor *x, const soma_predict_options *given)
{
    soma_predict_options taken, *o = &taken;
    if (!m || SOMA_TAKE(m->s, "soma_predict", soma_predict_options, given, &taken))
        return SOMA_INVALID;
    const soma_tensor *y = o->y;
    bool bf16;
    if (!x || !y)
        return soma_fail(m->s, SOMA_INVALID, o->at, SOMA_IN_C("predict: ") "x and y must be given");
    soma_status status = check_model(m);
    if (status == SOMA_OK)
        status = soma_precision_parse(m->s, soma_caller(m->s, "predict: "), o->precision, o->at, &bf16);
    if (status == SOMA_OK)
        status = check_arrays(m, x, y);
    soma_predictor *p = status == SOMA_OK ? predictor_of(m, m->outputs[0].value, bf16) : NULL;
    if (!p)
        return status == SOMA_OK ? SOMA_MEMORY : status;
    soma_value in = soma_model_input(m, 0), out = soma_model_output(m, 0);
    const char *from = x->data;
    char *to = y->data;
    for (int64_t n = x->shape.dim[0], done = 0; done < n;) {
        int64_t batch = n - done < PREDICT_BATCH ? n - done : PREDICT_BATCH;
        soma_program *program = program_for(m, p, batch);
        if (!program)
            return soma_status_now(m->s);
        void *slot = soma_program_input(program, in).data;
        if (slot) /* NULL: the output does not depend on the input */
            memcpy(slot, from + (size_t)done * sample_bytes(x), (size_t)batch * sample_bytes(x));
        status = soma_step(program);
        if (status != SOMA_OK)
            return status;
        memcpy(to + (size_t)done * sample_bytes(y), soma_read(program, out).data, (size_t)batch * sample_bytes(y));
        done += batch;
    }
    return SOMA_OK;
}

soma_status soma_predict(soma_model *m, const soma_tensor *x, soma_tensor *y)
{
    return soma_predict_with(
        m, x, &(soma_predict_options){.struct_size = sizeof(soma_predict_options), .at = soma_nowhere(), .y = y});
}
