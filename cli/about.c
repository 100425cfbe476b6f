/* SPDX-License-Identifier: Apache-2.0
 *
 * cli/about.c: what a training is going to do, told before it begins: the data as they were found, the model, how it
 * is trained, and what differs from what its architecture says.
 */
#include "cli.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LABEL = 14, WIDTH = 79 };

/* "data          A, B, C": goes on below its first item where a line would be wider than a terminal. */
typedef struct line {
    int column;
    bool first;
} line;

static void begin(line *l, const char *label)
{
    l->column = fprintf(stderr, "%-*s", LABEL, label);
    l->first = true;
}

static void end(const line *l)
{
    (void)l;
    fputc('\n', stderr);
}

static void item(line *l, const char *format, ...) SOMA_PRINTF(2, 3);
static void item(line *l, const char *format, ...)
{
    char text[8192]; /* a path is shorter */
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    int n = (int)strlen(text);
    if (!l->first && l->column + 2 + n > WIDTH)
        l->column = fprintf(stderr, ",\n%-*s", LABEL, "") - 2;
    else if (!l->first)
        l->column += fprintf(stderr, ", ");
    cli_text(stderr, text);
    l->column += n;
    l->first = false;
}

/* 1x28x28 */
static const char *sizes(const soma_shape *shape, int from, char text[96])
{
    size_t used = 0;
    text[0] = 0;
    for (int i = from; i < shape->rank && used < 80; i++)
        used += (size_t)snprintf(text + used, 96 - used, "%s%lld", i > from ? "x" : "", (long long)shape->dim[i]);
    return text;
}

static bool same_sizes(const soma_shape *a, const soma_shape *b)
{
    bool same = a->rank == b->rank;
    for (int i = 0; same && i < a->rank; i++)
        same = a->dim[i] == b->dim[i];
    return same;
}

static void tell_data(const cli_training *t)
{
    char path[4096], text[96], count[48], classes[48];
    const char *at = cli_data_path(t->s, t->data_name, path);
    soma_type input = soma_dataset_input(t->fit->data);
    int n = soma_dataset_classes(t->fit->data);
    line l;
    begin(&l, "data");
    item(&l, "%s%s", t->data_name, at ? "" : " (made here)");
    item(&l, "%s of %s", cli_many(soma_dataset_count(t->fit->data), "sample", "samples", count),
         input.shape.rank ? sizes(&input.shape, 0, text) : "one number");
    if (n)
        item(&l, "%s", cli_many(n, "class", "classes", classes));
    if (at && strcmp(at, t->data_name))
        item(&l, "in %s", at);
    end(&l);
    soma_transform how = soma_dataset_transform(t->fit->data);
    if (!how.resize[0] && !how.crop[0])
        return;
    begin(&l, "pictures");
    if (how.resize[0] && how.resize[1])
        item(&l, "resized to %lldx%lld", (long long)how.resize[0], (long long)how.resize[1]);
    else if (how.resize[0])
        item(&l, "shorter side resized to %lld", (long long)how.resize[0]);
    if (how.crop[0])
        item(&l, "middle of %lldx%lld", (long long)how.crop[0], (long long)(how.crop[1] ? how.crop[1] : how.crop[0]));
    end(&l);
}

static void tell_model(const cli_training *t)
{
    const cli_model *found = t->found;
    char text[96], own[96], count[48], other[32];
    int64_t parameters = 0;
    for (int i = 0; i < soma_model_nodes(found->model); i++)
        parameters += soma_model_node_at(found->model, i).parameters;
    soma_shape in = cli_sample_shape(found->model), out = soma_value_type(soma_model_output(found->model, 0)).shape;
    line l;
    begin(&l, "model");
    item(&l, "%s", found->name);
    item(&l, "%s", cli_many(parameters, "parameter", "parameters", count));
    if (t->weights)
        item(&l, "begins with %s", t->weights);
    end(&l);
    const soma_zoo_entry *zoo = found->zoo;
    bool input = zoo && !same_sizes(&in, &zoo->input);
    bool outputs = zoo && out.rank == 2 && out.dim[1] != zoo->classes;
    if (!input && !outputs)
        return;
    begin(&l, "differs");
    if (input)
        item(&l, "input %s instead of %s's %s", sizes(&in, 0, text), zoo->name, sizes(&zoo->input, 0, own));
    if (outputs)
        item(&l, "%s instead of %s", cli_many(out.dim[1], "output", "outputs", count), cli_count(zoo->classes, other));
    end(&l);
}

/* A zero that was said. */
static double plain(double x)
{
    return x == (double)SOMA_ZERO ? 0 : x;
}

static void tell_optimizer(line *l, const soma_fit_options *o)
{
    const soma_optimizer *p = &o->optimizer;
    item(l, "%s", p->name);
    if (p->peak_lr > 0)
        item(l, "one-cycle rate up to %g", p->peak_lr);
    else if (p->decay > 0)
        item(l, "rate %g / (1 + %g step)", p->lr, p->decay);
    else
        item(l, "rate %g", p->lr);
    if (p->momentum > 0)
        item(l, "momentum %g%s", p->momentum, p->nesterov ? " (Nesterov)" : "");
    if (p->weight_decay > 0)
        item(l, "weight decay %g", p->weight_decay);
    for (int i = 0; i < o->n_groups; i++)
        if (o->groups[i].frozen)
            item(l, "%s frozen", o->groups[i].pattern);
        else if (o->groups[i].lr_scale > 0)
            item(l, "%s at %g times the rate", o->groups[i].pattern, plain(o->groups[i].lr_scale));
        else if (o->groups[i].lr > 0)
            item(l, "%s at rate %g", o->groups[i].pattern, plain(o->groups[i].lr));
}

static void tell_steps(const cli_training *t)
{
    const soma_fit_options *o = t->fit;
    bool classes = soma_dataset_classes(o->data) > 0;
    char text[48];
    line l;
    begin(&l, "training");
    tell_optimizer(&l, o);
    end(&l);
    begin(&l, "");
    item(&l, "%s", cli_many(o->epochs, "epoch", "epochs", text));
    item(&l, "batches of %lld", (long long)o->batch_size);
    if (o->max_steps)
        item(&l, "at most %s", cli_many(o->max_steps, "step", "steps", text));
    item(&l, "seed %lld", (long long)t->common->seed);
    item(&l, "%s", cli_many(soma_threads(t->s), "thread", "threads", text));
    end(&l);
    begin(&l, "loss");
    item(&l, "%s in %s",
         o->loss   ? o->loss
         : classes ? "softmax_cross_entropy"
                   : "mean_squared_error",
         o->precision ? o->precision : "f32");
    end(&l);
}

void cli_tell_training(const cli_training *t)
{
    line l;
    if (t->common->quiet)
        return;
    tell_data(t);
    tell_model(t);
    tell_steps(t);
    begin(&l, "test");
    if (t->test_name)
        item(&l, "at the end on the test part of %s", t->test_name);
    else
        item(&l, "none");
    end(&l);
    begin(&l, "output");
    item(&l, "%s", t->output);
    end(&l);
    if (t->validation_name || !(t->fit->validation_split > 0)) { /* else whoever holds samples out tells which */
        begin(&l, "validation");
        item(&l, "%s%s", t->validation_name ? "after every epoch on the test part of " : "none",
             t->validation_name ? t->validation_name : " (--validation-split holds out a share of the data)");
        end(&l);
    }
    fflush(stderr);
}

void cli_tell_plan(const soma_program *p)
{
    char text[48];
    soma_plan_memory m = soma_program_memory(p);
    soma_plan_recomputation r = soma_program_recomputed(p);
    line l;
    begin(&l, "memory");
    item(&l, "%.1f MB planned: parameters and optimizer %.1f", (double)m.total / 1e6,
         (double)(m.parameters + m.state) / 1e6);
    item(&l, "gradients %.1f", (double)m.gradients / 1e6);
    item(&l, "activations %.1f", (double)m.activations / 1e6);
    item(&l, "rest %.1f", (double)(m.inputs + m.packed + m.tables + m.library) / 1e6);
    end(&l);
    if (!r.nodes)
        return;
    begin(&l, "recomputed");
    item(&l, "%s a step", cli_many(r.nodes, "node", "nodes", text));
    item(&l, "%.1f%% more FLOPs", 100 * r.share);
    item(&l, "for %.1f MB less", (double)r.saved / 1e6);
    end(&l);
}

/* Samples of each class; NULL: no classes, or no memory. */
static int64_t *count_samples(const soma_dataset *d)
{
    int classes = soma_dataset_classes(d);
    int64_t *counts = classes ? calloc((size_t)classes, sizeof *counts) : NULL;
    for (int64_t i = 0; counts && i < soma_dataset_count(d); i++) {
        int32_t label = 0;
        if (soma_dataset_read(d, &i, 1, NULL, &label) == SOMA_OK && label >= 0 && label < classes)
            counts[label]++;
    }
    return counts;
}

/* In all and of each class: of a few by name, of many the least and the most. */
void cli_tell_held(const soma_dataset *held, int64_t all, const char *order)
{
    char a[32], b[32], text[48];
    int classes = soma_dataset_classes(held), none = 0;
    int64_t *counts = count_samples(held), least = INT64_MAX, most = 0;
    line l;
    begin(&l, "validation");
    item(&l, "%s of %s samples held out", cli_count(soma_dataset_count(held), a), cli_count(all, b));
    bool named = counts && classes <= 10;
    if (!named)
        item(&l, "%s", order);
    for (int i = 0; counts && i < classes; i++) {
        const char *name = soma_dataset_class(held, i);
        if (named)
            item(&l, "%s%s%s of %s%s", i ? "" : order, i ? "" : ": ", cli_count(counts[i], a),
                 strspn(name, "0123456789") == strlen(name) ? "class " : "", name);
        none += !counts[i];
        least = counts[i] < least ? counts[i] : least;
        most = counts[i] > most ? counts[i] : most;
    }
    if (counts && classes > 10)
        item(&l, "%s to %s of each of %s", cli_count(least, a), cli_count(most, b),
             cli_many(classes, "class", "classes", text));
    end(&l);
    if (none)
        cli_warning(none == 1 ? "one class has no sample for validation"
                              : "some classes have no sample for validation");
    free(counts);
}
