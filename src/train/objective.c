/* SPDX-License-Identifier: Apache-2.0
 *
 * train/objective.c: what a model is trained for: data checked against its input and output, and a copy of its
 * graph with target, loss and accuracy. A model that ends in softmax is trained on the softmax's input
 * (nn/loss.c).
 */
#include "train/train.h"

#include "base/random.h"
#include "base/words.h"
#include "data/dataset.h"
#include <soma/io.h>

#include <string.h>

/* "f32[1,28,28]": a sample's type is a value's type without the batch. */
static const char *sample_text(const soma_type *value, char text[96])
{
    soma_type sample = *value;
    if (sample.shape.rank > 0) {
        sample.shape.rank--;
        memmove(sample.shape.dim, value->shape.dim + 1, (size_t)sample.shape.rank * sizeof sample.shape.dim[0]);
    }
    return soma_type_text(&sample, text);
}

/* Same dimensions, ones aside: a single number is as good as an array of one. `value` has the batch in front. */
static bool same_sample(const soma_shape *value, const soma_shape *sample)
{
    int i = 1, j = 0;
    for (;;) {
        while (i < value->rank && value->dim[i] == 1)
            i++;
        while (j < sample->rank && sample->dim[j] == 1)
            j++;
        if (i >= value->rank || j >= sample->rank)
            return i >= value->rank && j >= sample->rank;
        if (value->dim[i++] != sample->dim[j++])
            return false;
    }
}

/* [N, features] takes samples of any shape with that many elements: row-major order is the same. */
static bool flat_sample(const soma_shape *value, const soma_shape *sample)
{
    return value->rank == 2 && soma_shape_elements(sample) == value->dim[1];
}

static soma_status check_input(const soma_objective *o, const soma_dataset *data, const char *what, soma_at at)
{
    char have[96], want[96];
    soma_type x = soma_value_type(o->x), sample = soma_dataset_input(data);
    if (sample.dtype == x.dtype && (same_sample(&x.shape, &sample.shape) || flat_sample(&x.shape, &sample.shape)))
        return SOMA_OK;
    return soma_fail(
        o->m->s, SOMA_INVALID, at,
        "%sa sample of the data is %s, but the model's input \"%s\" takes %s; " SOMA_IN_C(
            "give the model that input, or open the data in that shape")
            SOMA_ELSEWHERE("give an architecture the data's shape by --input, or a folder of pictures, which "
                           "become what the model takes"),
        what, soma_type_text(&sample, have), soma_value_name(o->x), sample_text(&x, want));
}

static soma_status check_classes(const soma_objective *o, soma_dataset *data, const char *what, soma_at at,
                                 soma_dataset **view)
{
    char text[96];
    soma_type y = soma_value_type(o->logits);
    int classes = soma_dataset_classes(data);
    if (y.shape.rank != 2)
        return soma_fail(
            o->m->s, SOMA_INVALID, at,
            "%sthe targets are classes, so the model's output must be [N, classes], got %s; end the model with "
            "a dense layer of %d units",
            what, soma_type_text(&y, text), classes);
    if (y.shape.dim[1] > 1 && y.shape.dim[1] <= INT32_MAX && (o->names || classes <= y.shape.dim[1]))
        return soma_dataset_match(data, o->names, (int)y.shape.dim[1], what, at, view);
    if (classes == 1)
        return soma_fail(
            o->m->s, SOMA_INVALID, at,
            "%sthe data has one class, \"%s\", and one class alone cannot be learned: every answer would be "
            "right; give samples of at least two",
            what, soma_dataset_class(data, 0));
    return soma_fail(o->m->s, SOMA_INVALID, at,
                     "%sthe data has %d classes, but the model has %lld output%s; give its last layer " SOMA_IN_C(
                         ".units = ") "%d" SOMA_ELSEWHERE(" outputs (an architecture has the data's classes as outputs "
                                                          "where --classes is left out)"),
                     what, classes, (long long)y.shape.dim[1], y.shape.dim[1] == 1 ? "" : "s", classes);
}

static soma_status check_target(const soma_objective *o, soma_dataset *data, const char *what, soma_at at,
                                soma_dataset **view)
{
    char have[96], want[96];
    if (!soma_dataset_has_target(data))
        return soma_fail(o->m->s, SOMA_INVALID, at, "%sthe data has no targets; give labels or values for every sample",
                         what);
    soma_type target = soma_dataset_target(data), y = soma_value_type(o->output);
    bool classes = target.dtype == SOMA_I32 && target.shape.rank == 0;
    if (classes != o->classes)
        return soma_fail(o->m->s, SOMA_INVALID, at, "%sthe targets are %s, but the model is trained on %s", what,
                         classes ? "classes" : "values", o->classes ? "classes" : "values");
    if (classes)
        return check_classes(o, data, what, at, view);
    if (target.dtype == y.dtype && same_sample(&y.shape, &target.shape))
        return SOMA_OK;
    return soma_fail(o->m->s, SOMA_INVALID, at,
                     "%sa target of the data is %s, but the model's output \"%s\" is %s; they must agree", what,
                     soma_type_text(&target, have), soma_model_output_name(o->m, 0), sample_text(&y, want));
}

soma_status soma_objective_accepts(const soma_objective *o, soma_dataset *data, const char *what, soma_at at,
                                   soma_dataset **view)
{
    *view = NULL;
    if (soma_dataset_count(data) < 1)
        return soma_fail(o->m->s, SOMA_INVALID, at, "%sthe data has no samples", what);
    soma_status status = check_input(o, data, what, at);
    return status == SOMA_OK ? check_target(o, data, what, at, view) : status;
}

/* ---- making ---- */

static soma_status check_model(const soma_model *m, const soma_dataset *data, const char *what, soma_at at)
{
    if (m->graph->failed) /* its sentence stands */
        return soma_failed(m->s) ? soma_error_status(m->s)
                                 : soma_fail(m->s, SOMA_STATE, at, "%sbuilding the model \"%s\" failed", what, m->name);
    if (!data)
        return soma_fail(m->s, SOMA_INVALID, at,
                         "%sno data was given" SOMA_IN_C("; open it with soma_dataset_open or soma_dataset_arrays"),
                         what);
    if (m->n_inputs != 1)
        return soma_fail(m->s, SOMA_INVALID, at,
                         "%sthe model \"%s\" has %d inputs, a dataset feeds one" SOMA_IN_C(
                             "; use soma_compile, soma_feed and soma_step"),
                         what, m->name, m->n_inputs);
    if (m->n_outputs < 1)
        return soma_fail(m->s, SOMA_INVALID, at,
                         "%sthe model \"%s\" has no output" SOMA_IN_C("; name one: soma_output(m, \"y\", y)"), what,
                         m->name);
    const soma_value ends[2] = {soma_model_input(m, 0), soma_model_output(m, 0)};
    for (int i = 0; i < 2; i++) {
        soma_type type = soma_value_type(ends[i]);
        char text[96];
        if (type.shape.rank < 1 || type.shape.dim[0] != SOMA_N)
            return soma_fail(m->s, SOMA_INVALID, at,
                             "%sthe model's %s is %s, but its first dimension must be the batch N", what,
                             i ? "output" : "input", soma_type_text(&type, text));
    }
    return SOMA_OK;
}

static soma_status add_loss(soma_objective *o, const char *loss, const char *what, soma_at at)
{
    soma_type type = soma_value_type(o->output);
    const char *name = loss ? loss : o->classes ? "softmax_cross_entropy" : "mean_squared_error";
    bool of_classes = soma_loss_of_classes(name);
    if (o->classes && !of_classes && (strcmp(name, "mean_squared_error") == 0 || strcmp(name, "mse") == 0))
        return soma_fail(o->m->s, SOMA_INVALID, at,
                         "%s%s compares numbers, but the targets are classes; use " SOMA_FIELD_IS(
                             "loss", "\"softmax_cross_entropy\""),
                         what, name);
    soma_type logits = soma_value_type(o->logits);
    if (of_classes && logits.shape.rank == 2 && logits.shape.dim[1] == 1)
        return soma_fail(o->m->s, SOMA_INVALID, at,
                         "%s%s of one output is always 0, whatever the output is; use " SOMA_FIELD_IS(
                             "loss", "\"mean_squared_error\"") ", or give the model an output for each class",
                         what, name);
    if (o->classes)
        type = (soma_type){SOMA_I32, SOMA_SHAPE(SOMA_N)};
    o->target = soma_graph_input(o->graph, "target", type, at);
    o->graph->layer_override = "loss"; /* fixed names: automatic ones would count up in the model with every call */
    o->graph->site_override = soma_hash_text("loss");
    o->loss = soma_loss_at(name, o->output, o->target, at);
    if (of_classes)
        o->accuracy = soma_accuracy_at(o->logits, o->target, at);
    o->graph->layer_override = NULL;
    return soma_ok(o->loss) && (!of_classes || soma_ok(o->accuracy)) ? SOMA_OK : soma_status_now(o->m->s);
}

/* The names of a model's outputs, where it has one for each. */
static soma_status find_names(soma_objective *o)
{
    int n = soma_model_classes(o->m);
    soma_type y = soma_value_type(o->logits);
    if (!o->classes || !n || y.shape.rank != 2 || y.shape.dim[1] != n)
        return SOMA_OK;
    o->own_names = soma_alloc_array(o->m->s, (size_t)n, sizeof *o->own_names);
    for (int i = 0; o->own_names && i < n; i++)
        o->own_names[i] = soma_model_class(o->m, i);
    o->names = o->own_names;
    return o->names ? SOMA_OK : SOMA_MEMORY;
}

soma_status soma_objective_make(soma_objective *o, soma_model *m, soma_dataset *data, const char *loss,
                                const char *what, soma_at at)
{
    memset(o, 0, sizeof *o);
    soma_status status = check_model(m, data, what, at);
    if (status != SOMA_OK)
        return status;
    soma_graph *graph = soma_graph_copy(m->graph, m->s);
    if (!graph)
        return SOMA_MEMORY;
    o->m = m;
    o->data = o->given = soma_dataset_hold(data);
    o->graph = graph;
    soma_model_hold(m);
    o->x = soma_value_in(o->graph, m->inputs[0].value);
    o->output = soma_value_in(o->graph, m->outputs[0].value);
    o->logits = soma_logits_of(o->output);
    o->accuracy = soma_none();
    soma_type target = soma_dataset_target(data);
    o->classes = soma_dataset_has_target(data) && target.dtype == SOMA_I32 && target.shape.rank == 0;
    status = find_names(o);
    if (status == SOMA_OK)
        status = soma_objective_accepts(o, data, what, at, &o->view);
    if (o->view)
        o->data = o->view;
    if (status == SOMA_OK && !o->names && o->classes &&
        soma_dataset_classes(data) == soma_value_type(o->logits).shape.dim[1])
        o->names = data->names;
    if (status == SOMA_OK)
        status = add_loss(o, loss, what, at);
    if (status != SOMA_OK)
        soma_objective_free(o);
    return status;
}

void soma_objective_free(soma_objective *o)
{
    soma_graph_free(o->graph);
    soma_dataset_free(o->view);
    soma_dataset_drop(o->given);
    if (o->m) {
        soma_release(o->m->s, o->own_names);
        soma_model_drop(o->m);
    }
    memset(o, 0, sizeof *o);
}
