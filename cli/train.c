/* SPDX-License-Identifier: Apache-2.0
 *
 * cli/train.c: `soma train`.
 */
#include "cli.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

typedef struct train_options {
    cli_common common;
    cli_build build;
    cli_groups groups;
    const char *data, *test, *validation, *output, *loss, *optimizer, *precision, *split_order;
    int64_t epochs, batch_size, limit, max_steps, micro_batch, max_memory;
    double lr, peak_lr, momentum, weight_decay, validation_split;
    cli_pictures pictures;
    bool no_test, skip_broken;
} train_options;

static const cli_command command = {"train", "MODEL",
                                    "Trains a model on a data set and saves it.\n"
                                    "MODEL is an architecture, a YAML description or a saved model to train further.",
                                    cli_train};

/* What the command line says goes before the description, the zoo, and the defaults. */
static bool choose_optimizer(const train_options *t, const cli_model *found, soma_optimizer *chosen)
{
    soma_optimizer o = found->recipe.optimizer;
    if (!o.name)
        o = found->zoo && found->zoo->optimizer ? found->zoo->optimizer() : soma_sgd();
    if (t->optimizer && !strcmp(t->optimizer, "sgd") && strcmp(o.name, "sgd"))
        o = soma_sgd();
    else if (t->optimizer && !strcmp(t->optimizer, "adam") && strcmp(o.name, "adam"))
        o = soma_adam();
    if (!isnan(t->lr) && t->peak_lr > 0)
        return cli_usage("--lr (constant) and --peak-lr (one-cycle) are two schedules; give one of them") == 0;
    if (t->momentum >= 0 && strcmp(o.name, "sgd"))
        return cli_usage("--momentum is an option of sgd, but the optimizer is %s", o.name) == 0;
    if (!isnan(t->lr)) {
        o.lr = t->lr;
        o.peak_lr = 0;
    }
    if (t->peak_lr > 0) {
        o.peak_lr = t->peak_lr;
        o.decay = 0;
    }
    if (t->momentum >= 0)
        o.momentum = t->momentum;
    if (t->weight_decay >= 0)
        o.weight_decay = t->weight_decay;
    *chosen = o;
    return true;
}

static void print_result(const train_options *t, const soma_progress *p, const soma_evaluation *test,
                         const soma_model *m, const char *output)
{
    unsigned long long record = soma_model_fingerprint(m);
    if (t->common.json) {
        printf("{\"loss\": ");
        cli_json_number(p->loss);
        printf(", \"accuracy\": ");
        cli_json_number(p->accuracy);
        printf(", \"val_loss\": ");
        cli_json_number(p->val_loss);
        printf(", \"val_accuracy\": ");
        cli_json_number(p->val_accuracy);
        if (test->samples) {
            printf(", \"test_loss\": ");
            cli_json_number(test->loss);
            printf(", \"test_accuracy\": ");
            cli_json_number(test->accuracy);
        }
        printf(", \"steps\": %lld, \"total_steps\": %lld, \"stopped\": ", (long long)p->step, (long long)p->steps);
        if (cli_stop_name())
            cli_json_text(cli_stop_name());
        else
            printf("null");
        printf(", \"seconds\": ");
        cli_json_number(p->seconds);
        printf(", \"samples_per_second\": ");
        cli_json_number(p->seconds > 0 ? (double)p->samples / p->seconds : 0);
        printf(", \"model\": ");
        cli_json_text(output);
        printf(", \"record\": \"%016llx\"", record);
        cli_json_error(", \"error\": "); /* of the test: the model is trained and saved */
        printf("}\n");
        return;
    }
    printf("training loss %.4f", p->loss);
    if (!isnan(p->accuracy))
        printf(", accuracy %.2f%%", 100 * p->accuracy);
    printf("\n");
    if (test->samples) {
        printf("test loss     %.4f", test->loss);
        if (!isnan(test->accuracy))
            printf(", accuracy %.2f%%", 100 * test->accuracy);
        printf("\n");
    }
    if (record)
        printf("kernels       record %016llx\n", record);
    printf("saved         ");
    cli_text(stdout, output);
    printf("\n");
    if (p->step < p->steps)
        printf("unfinished    stopped by %s after %lld of %lld steps, in epoch %lld of %lld\n",
               cli_stop_name() ? cli_stop_name() : "nobody", (long long)p->step, (long long)p->steps,
               (long long)p->epoch + 1, (long long)p->epochs);
}

static bool has_names(const soma_model *m)
{
    char number[16];
    for (int i = 0; i < soma_model_classes(m); i++) {
        snprintf(number, sizeof number, "%d", i);
        if (strcmp(soma_model_class(m, i), number))
            return true;
    }
    return false;
}

/* The input transform and the names of classes go with the model. Before the first step, so that names that cannot be
 * saved are refused then; a model that has names keeps them, for the data are read by them. */
static bool remember(soma_model *m, const soma_dataset *d)
{
    soma_shape out = soma_value_type(soma_model_output(m, 0)).shape;
    int n = soma_dataset_classes(d);
    soma_transform t = soma_dataset_transform(d);
    t.has_background = soma_dataset_background(d, &t.background);
    soma_model_set_transform(m, t);
    if (!n || out.rank != 2 || out.dim[1] != n || (soma_model_classes(m) == n && has_names(m)))
        return true;
    const char **names = malloc((size_t)n * sizeof *names);
    for (int i = 0; names && i < n; i++)
        names[i] = soma_dataset_class(d, i);
    bool done = names && soma_model_set_classes(m, names, n) == SOMA_OK;
    if (!names)
        cli_error(SOMA_MEMORY, "no memory for the names of %d classes", n);
    free(names);
    return done;
}

/* Where a model goes that nobody named a file for: by its architecture's or description's name, or a saved model's
 * own. */
static const char *default_output(const cli_model *found, char path[1024])
{
    char stem[512];
    const char *slash = strrchr(found->name, '/');
    snprintf(stem, sizeof stem, "%s", !found->loaded ? soma_model_name(found->model) : slash ? slash + 1 : found->name);
    size_t n = strlen(stem);
    if (found->loaded && n > 12 && !strcasecmp(stem + n - 12, ".safetensors"))
        stem[n - 12] = 0;
    for (char *c = stem; *c; c++)
        *c = *c == '/' ? '-' : *c; /* a description's name may hold any letter */
    return cli_free_name(stem, path);
}

/* Data that have a test part by themselves: not files, not what is made here, not one folder of pictures. */
static bool has_test_part(soma *s, const char *name)
{
    char path[4096];
    const char *at = cli_data_path(s, name, path);
    return at && (cli_holds_idx(at, "t10k") || cli_is_folder(at, "test") || cli_is_folder(at, "val"));
}

static bool same_file(const char *a, const char *b)
{
    struct stat x, y;
    return !stat(a, &x) && !stat(b, &y) && x.st_dev == y.st_dev && x.st_ino == y.st_ino;
}

/* The split under which data named for a test or for validation are opened: a folder without parts was named to be
 * taken whole, unless it is what is trained on. NULL after telling so. */
static const char *split_of(soma *s, const char *option, const char *given, const char *data)
{
    char room[4096], data_room[4096];
    const char *at = cli_data_path(s, given, room), *trained = cli_data_path(s, data, data_room);
    bool parts = at && (cli_holds_idx(at, "train") || cli_holds_idx(at, "t10k") || cli_is_folder(at, "train") ||
                        cli_is_folder(at, "test") || cli_is_folder(at, "val"));
    if (!at || parts)
        return "test";
    if (trained && same_file(at, trained)) {
        cli_usage("--%s %s is what is trained on, and has no part of its own for that; hold some of it out with "
                  "--validation-split, or name other data",
                  option, given);
        return NULL;
    }
    return "all";
}

/* The test data, opened and checked before the first step: the part of the training data, where there is one, or what
 * was asked for. *data NULL: no test. False after an error. */
static bool open_test(soma *s, const train_options *t, const char *name, soma_model *m, const soma_fit_options *o,
                      soma_dataset **data, int *code)
{
    *data = NULL;
    if (t->no_test || (!t->test && !has_test_part(s, name)))
        return true;
    *code = EXIT_USAGE;
    soma_dataset_options how = {.struct_size = sizeof how,
                                .split = t->test ? split_of(s, "test", t->test, name) : "test"};
    if (!how.split)
        return false;
    cli_use_model(m, &how);
    soma_dataset *d = cli_find_data(s, t->test ? t->test : name, &how, m, code);
    if (!d)
        return false;
    *data = cli_same_classes(m, d);
    soma_evaluate_options e = {.struct_size = sizeof e, .data = *data, .loss = o->loss};
    if (*data && soma_evaluate_check(m, &e) == SOMA_OK)
        return true;
    *code = cli_failed(s);
    return false;
}

static int test_model(soma *s, soma_dataset *d, soma_model *m, const soma_fit_options *o, soma_evaluation *result)
{
    if (!d || cli_stop(NULL))
        return 0;
    soma_status status = soma_evaluate(m, d, .loss = o->loss, .result = result, .precision = o->precision,
                                       .batch_size = o->batch_size < 128 ? o->batch_size : 128, /* no larger plan */
                                       .max_memory = o->max_memory, .stop = cli_stop);
    if (status == SOMA_CANCELLED)
        fprintf(stderr, "soma: the test was left out\n");
    else if (status == SOMA_OK && !isfinite(result->loss))
        return cli_error(SOMA_DATA, "the test loss is %s; look for NaN or very large numbers in the test data",
                         isnan(result->loss) ? "NaN" : "infinite");
    return status == SOMA_OK || status == SOMA_CANCELLED ? 0 : cli_failed(s);
}

/* What the training will take, before it takes it. */
static void show_plan(void *user, const soma_program *p)
{
    cli_progress *show = user;
    show->threads = soma_program_threads(p);
    cli_stop_begin(show->quiet); /* up to here there is nothing to save */
    if (!show->quiet)
        cli_tell_plan(p);
}

/* The test part of a data set, as the training data became inputs; NULL after an error. */
static soma_dataset *open_validation(soma *s, const char *name, const char *trained, const soma_dataset *data,
                                     const soma_model *m, int *code)
{
    soma_dataset_options how = {.struct_size = sizeof how, .split = split_of(s, "validation", name, trained)};
    *code = EXIT_USAGE;
    if (!how.split)
        return NULL;
    cli_use_model(m, &how);
    how.transform = soma_dataset_transform(data);
    return cli_find_data(s, name, &how, m, code);
}

/* The library would do the same; here what is held out can be shown. */
static bool hold_out(soma_fit_options *o, const char *order, const train_options *t)
{
    soma_dataset *rest, *held, *all = o->data;
    const char *name = order ? order : soma_dataset_classes(all) ? "stratified" : "shuffled";
    if (soma_dataset_split(all, o->validation_split, name, (uint64_t)t->common.seed, &rest, &held) != SOMA_OK)
        return false;
    o->data = rest;
    o->validation = held;
    if (!t->common.quiet)
        cli_tell_held(held, soma_dataset_count(all), name);
    return true;
}

/* How to train: as the command line says, else the description, else what the architecture is known to take. */
static bool choose_how(train_options *t, const cli_model *found, soma_fit_options *o)
{
    if (!choose_optimizer(t, found, &o->optimizer) || !cli_make_groups(&t->groups, &found->recipe))
        return false;
    o->groups = t->groups.list;
    o->n_groups = t->groups.n;
    o->loss = t->loss ? t->loss : found->recipe.loss[0] ? found->recipe.loss : NULL;
    o->precision = cli_precision(t->precision, &found->recipe);
    o->batch_size = t->batch_size ? t->batch_size : found->recipe.batch_size;
    o->epochs = t->epochs ? t->epochs : found->recipe.epochs;
    if (!o->batch_size)
        o->batch_size = found->zoo ? found->zoo->batch_size : 32;
    if (!o->epochs)
        o->epochs = found->zoo ? found->zoo->epochs : 5;
    o->validation_split = t->validation_split >= 0 ? t->validation_split : found->recipe.validation_split;
    return true;
}

static int train(soma *s, train_options *t, const char *name, cli_model *found, soma_dataset *data)
{
    char output[1024];
    const char *path = t->output ? t->output : default_output(found, output);
    if (!cli_can_save(found->model, path)) /* hours of training must not end at a folder that is not there */
        return EXIT_RUN;
    cli_progress show;
    cli_progress_begin(&show, &t->common);
    soma_progress result = {.loss = NAN, .accuracy = NAN, .val_loss = NAN, .val_accuracy = NAN};
    soma_fit_options o = {.struct_size = sizeof o,
                          .data = data,
                          .on_progress = cli_show_progress,
                          .on_plan = show_plan,
                          .stop = cli_stop,
                          .user = &show,
                          .progress_seconds = CLI_PACE_SECONDS,
                          .result = &result,
                          .max_steps = t->max_steps,
                          .micro_batch = t->micro_batch,
                          .max_memory = (uint64_t)t->max_memory};
    if (!choose_how(t, found, &o))
        return EXIT_USAGE;
    const char *order = t->split_order                 ? t->split_order
                        : found->recipe.split_order[0] ? found->recipe.split_order
                                                       : NULL;
    const char *test_name = t->no_test ? NULL : t->test ? t->test : has_test_part(s, name) ? name : NULL;
    cli_tell_training(
        &(cli_training){s, &t->common, found, &o, name, t->validation, test_name, t->build.weights, path});
    if (!o.validation_split && t->split_order)
        return cli_usage("--split-order says which samples --validation-split holds out, but none are");
    if (!t->validation && o.validation_split > 0 && !hold_out(&o, order, t))
        return soma_failed(s) ? cli_failed(s) : EXIT_USAGE;
    int code;
    soma_dataset *test_data;
    if (t->validation && !(o.validation = open_validation(s, t->validation, name, data, found->model, &code)))
        return code;
    if (!remember(found->model, data))
        return soma_failed(s) ? cli_failed(s) : EXIT_RUN;
    if (!open_test(s, t, name, found->model, &o, &test_data, &code))
        return code;
    soma_status status = soma_fit_with(found->model, &o);
    cli_show_last(&show, &result);
    if (status != SOMA_OK && status != SOMA_CANCELLED)
        return cli_failed(s);
    if (result.step == 0)
        return cli_error(SOMA_CANCELLED, "stopped by %s before the first step, so there is nothing to save",
                         cli_stop_name());
    soma_evaluation test = {0};
    code = test_model(s, test_data, found->model, &o, &test);
    if (!t->output)
        path = default_output(found, output); /* another training may have ended meanwhile */
    int unsaved = cli_save(found->model, path);
    if (unsaved)
        return unsaved;
    print_result(t, &result, &test, found->model, path);
    return code;
}

/* How the data are opened: as the command line says, else the model, else at the model's size. */
static bool describe_data(soma *s, const train_options *t, const cli_model *found, const soma_shape *sample,
                          const char *data, soma_dataset_options *how)
{
    *how = (soma_dataset_options){
        .struct_size = sizeof *how, .split = "train", .limit = t->limit, .skip_broken = t->skip_broken};
    const soma_dataset_options *described = found->recipe.data; /* the command line goes before it */
    if (described && !t->data) {
        how->format = described->format;
        how->labels = described->labels;
        how->split = described->split ? described->split : how->split;
        how->limit = t->limit ? t->limit : described->limit;
        how->skip_broken |= described->skip_broken;
    }
    if (found->model)
        cli_use_model(found->model, how);
    if (found->described)
        how->transform = found->recipe.transform;
    how->augment = found->recipe.augment;
    if (sample->rank == 3 && (sample->dim[0] == 1 || sample->dim[0] == 3))
        how->channels = (int)sample->dim[0];
    if (!cli_made_lacks(data, t->limit         ? "limit"
                              : t->skip_broken ? "skip-broken"
                                               : NULL) ||
        !cli_transform(&t->pictures, data, sample, &how->transform))
        return false;
    cli_augmentation(&t->pictures, &how->augment);
    cli_size_pictures(s, data, sample, how);
    return true;
}

/* Architectures are built for the data's classes and, where both are pictures, their size; other models come first. */
static bool find_both(soma *s, const train_options *t, const char *name, const char **chosen, cli_model *found,
                      soma_dataset **data, int *code)
{
    const soma_zoo_entry *zoo = soma_zoo_find(name);
    bool random = !strcmp(*chosen, "random");
    cli_build build = t->build;
    if ((!zoo || random) && !cli_find_model(s, name, &build, found, code))
        return false;
    soma_shape sample = found->model ? cli_sample_shape(found->model) : build.input.rank ? build.input : zoo->input;
    soma_dataset_options how;
    if (!t->data && found->recipe.data)
        *chosen = found->recipe.data->path;
    const char *data_name = *chosen;
    *code = EXIT_USAGE;
    soma_optimizer ignored; /* what is wrong with the options is told before the data are read */
    if (!choose_optimizer(t, found->model ? found : &(cli_model){.zoo = zoo}, &ignored) ||
        !cli_sound_groups(&t->groups))
        return false;
    if (!describe_data(s, t, found, &sample, data_name, &how))
        return false;
    *data = cli_find_data(s, data_name, &how, found->model, code);
    if (!*data || found->model)
        return *data != NULL;
    soma_type input = soma_dataset_input(*data);
    if (!build.classes)
        build.classes = soma_dataset_classes(*data);
    if (!build.input.rank && sample.rank == 3 && input.shape.rank == 3)
        build.input = input.shape;
    return cli_find_model(s, name, &build, found, code);
}

/* Options of which one would be passed over. */
static bool agree(const train_options *t)
{
    if (t->no_test && t->test)
        return cli_usage("--test names data to test on, and --no-test says not to; give one of them") == 0;
    if (t->validation && t->validation_split > 0)
        return cli_usage(
                   "--validation names data, and --validation-split holds some of the training data out; give one "
                   "of them") == 0;
    return true;
}

int cli_train(int argc, char **argv)
{
    train_options t = {
        .lr = NAN, .momentum = -1, .weight_decay = -1, .validation_split = -1, .pictures = CLI_PICTURES_NONE};
    const cli_option options[] = {
        {"data", CLI_TEXT, &t.data, "DATA",
         "IDX file or folder, folder of pictures, a data set's name, \"line\" or \"random\" (default fashion-mnist; "
         "neuron: line)",
         1, 0},
        {"test", CLI_TEXT, &t.test, "DATA", "test data (default: the test part of --data)", 1, 0},
        {"no-test", CLI_FLAG, &t.no_test, NULL, "do not evaluate on test data", 1, 0},
        {"output", CLI_TEXT, &t.output, "FILE", "where to save (default MODEL.safetensors)", 1, 0},
        {"epochs", CLI_INT, &t.epochs, "N", "passes over the data", 1, 1e9},
        {"batch-size", CLI_INT, &t.batch_size, "N", "samples per step", 1, 1e9},
        CLI_OPTIMIZER(&t.optimizer),
        {"lr", CLI_FLOAT, &t.lr, "X", "constant learning rate", 0, 1e9},
        {"peak-lr", CLI_FLOAT, &t.peak_lr, "X", "one-cycle learning rate with this peak", 1e-300, 1e9},
        {"momentum", CLI_FLOAT, &t.momentum, "X", "of sgd, below 1", 0, 0.999999},
        {"weight-decay", CLI_FLOAT, &t.weight_decay, "X", "added to the gradient, times the weight", 0, 1e9},
        CLI_LOSS(&t.loss),
        {"validation", CLI_TEXT, &t.validation, "DATA", "data whose test part is evaluated after every epoch", 1, 0},
        {"validation-split", CLI_FLOAT, &t.validation_split, "X", "share of the data held out for validation", 0,
         0.999999},
        {"split-order", CLI_CHOICE, &t.split_order, "stratified|shuffled|end",
         "which (default: stratified for classes, else shuffled)", 1, 0},
        CLI_PRECISION(&t.precision),
        {"limit", CLI_INT, &t.limit, "N", "use N samples: of each class its share, from its first on", 1, 1e15},
        {"max-steps", CLI_INT, &t.max_steps, "N", "stop after N steps", 1, 1e15},
        {"micro-batch", CLI_INT, &t.micro_batch, "N", "samples that run at a time; gradients are the whole batch's", 1,
         1e9},
        {"max-memory", CLI_BYTES, &t.max_memory, "BYTES",
         "what the plan may need, e.g. 2G (K, M, G: powers of 1000): trades time for memory", 1, 1e15},
        CLI_BUILD(t.build),
        CLI_GROUPS(t.groups),
        CLI_TRANSFORM(t.pictures),
        CLI_AUGMENT(t.pictures),
        {"skip-broken", CLI_FLAG, &t.skip_broken, NULL, "pictures that cannot be read are left out, at most 1 %", 1, 0},
        CLI_DATA_PATH(t.common),
        CLI_COMMON(t.common),
        {NULL, CLI_FLAG, NULL, NULL, NULL, 1, 0},
    };
    const char *name;
    int n = cli_parse(&command, options, argc, argv, &name, 1, 1), code;
    if (n < 0 || !agree(&t))
        return n == -2 ? 0 : EXIT_USAGE;
    soma *s = cli_open(&t.common);
    if (!s || soma_failed(s))
        return cli_failed(s);
    const char *data_name = t.data ? t.data : !strcmp(name, "neuron") ? "line" : "fashion-mnist";
    cli_model found = {0};
    soma_dataset *data = NULL;
    if (find_both(s, &t, name, &data_name, &found, &data, &code)) {
        cli_note_inputs(&t.common, &t.build, &found, &t.pictures);
        code = train(s, &t, data_name, &found, data);
    }
    soma_close(s);
    cli_free_data();
    return code;
}
