/* SPDX-License-Identifier: Apache-2.0
 *
 * cli/find.c: models and data sets by name or path.
 */
#include "cli.h"

#include <math.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

/* Letters may be of either case: a name from another system. */
static bool ends_with(const char *text, const char *end)
{
    size_t n = strlen(text), m = strlen(end);
    return n >= m && !strcasecmp(text + n - m, end);
}

static bool exists(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0;
}

bool cli_is_file(const char *name)
{
    struct stat st;
    return stat(name, &st) == 0 && S_ISREG(st.st_mode);
}

/* A model is known by what it holds, whatever its name: a safetensors file begins with the length of its header, eight
 * bytes of which the last ones are 0, and no text holds such bytes. Where that does not tell (an empty file, none at
 * all), the name does. */
typedef enum file_kind { NO_FILE, SAVED_MODEL, DESCRIPTION, PICTURE } file_kind;

/* Pictures are named where a model is wanted when arguments stand in another order. A header whose length has such a
 * beginning has zeros behind it. */
static bool begins_like_picture(const unsigned char begin[8], size_t n)
{
    static const char *const pictures[] = {"\x89PNG", "\xff\xd8\xff", "GIF8", "RIFF"};
    for (int i = 0; n == 8 && i < 4; i++)
        if (!memcmp(begin, pictures[i], strlen(pictures[i])) && memcmp(begin + 4, "\0\0\0", 4))
            return true;
    return false;
}

static file_kind kind_of_file(const char *path)
{
    unsigned char begin[8];
    FILE *file = cli_is_file(path) ? fopen(path, "rb") : NULL;
    size_t n = file ? fread(begin, 1, sizeof begin, file) : 0;
    if (file)
        fclose(file);
    if (begins_like_picture(begin, n))
        return PICTURE;
    if (memchr(begin, 0, n) || ends_with(path, ".safetensors"))
        return SAVED_MODEL;
    return exists(path) || ends_with(path, ".yaml") || ends_with(path, ".yml") ? DESCRIPTION : NO_FILE;
}

/* What only an architecture can take, given for something else. */
static const char *unused(const cli_build *b)
{
    return b->width > 0                 ? "width"
           : b->input.rank > 0          ? "input"
           : b->shortcut                ? "shortcut"
           : b->stride                  ? "stride"
           : b->pooling                 ? "pooling"
           : b->dialect                 ? "dialect"
           : b->classes && !b->new_head ? "classes"
                                        : NULL;
}

/* Where two networks of an architecture have the same tensors, an option of the architecture's own says which is
 * meant. */
static bool choice_fits(const soma_zoo_entry *zoo, const char *option, const char *said)
{
    const soma_zoo_reading *r = zoo->reading;
    if (!said)
        return true;
    if (!r || strcmp(r->option, option))
        return cli_usage("--%s says nothing for %s%s%s", option, zoo->name, r ? "; its choice is --" : "",
                         r ? r->option : "") == 0;
    for (int i = 0; i < 2; i++)
        if (!strcmp(said, r->choices[i]))
            return true;
    return cli_usage("--%s takes %s (%s) or %s (%s) here, got \"%s\"", option, r->choices[0], r->docs[0], r->choices[1],
                     r->docs[1], said) == 0;
}

static bool choices_fit(const soma_zoo_entry *zoo, const cli_build *b)
{
    return choice_fits(zoo, "shortcut", b->shortcut) && choice_fits(zoo, "stride", b->stride) &&
           choice_fits(zoo, "pooling", b->pooling) && choice_fits(zoo, "dialect", b->dialect);
}

/* ---- weights ---- */

/* "OLD=NEW" taken apart; the texts live as long as the process. */
static bool add_rule(const char *text, soma_rename *rule)
{
    static char *texts[sizeof((cli_list *)0)->texts / sizeof(char *)]; /* as many as may be given */
    static int n;
    const char *equal = strchr(text, '=');
    if (!equal || equal == text)
        return cli_usage("--map takes OLD=NEW or a YAML file of such, got \"%s\"", text) == 0;
    char *copy = texts[n++] = malloc(strlen(text) + 1);
    if (!copy)
        return cli_error(SOMA_MEMORY, "no memory for the names of --map") == 0;
    memcpy(copy, text, strlen(text) + 1);
    copy[equal - text] = 0;
    *rule = (soma_rename){copy, copy + (equal - text) + 1};
    return true;
}

/* The weights that the command line names. A saved model's head is replaced where --new-head says so. */
static bool begin_with(soma *s, const cli_build *b, cli_model *found, int *code)
{
    soma_rename rules[64];
    soma_load_weights_options o = {.struct_size = sizeof o,
                                   .path = b->weights,
                                   .layout = b->layout,
                                   .map = rules,
                                   .partial = b->partial,
                                   .new_head = b->new_head};
    *code = EXIT_USAGE;
    if (!b->weights && (b->layout || b->map.n || b->partial))
        return cli_usage("--layout, --map and --partial say how --weights are read, but there are none") == 0;
    for (int i = 0; i < b->map.n; i++) {
        const char *text = b->map.texts[i];
        bool file = cli_is_file(text) || (!strchr(text, '=') && (ends_with(text, ".yaml") || ends_with(text, ".yml")));
        if (file && o.map_file)
            return cli_usage("--map takes one file, got \"%s\" and \"%s\"", o.map_file, text) == 0;
        if (file)
            o.map_file = text;
        else if (!add_rule(text, &rules[o.n_map++]))
            return false;
    }
    if (!b->map.n && found->zoo && found->zoo->names) {
        o.map = found->zoo->names;
        while (o.map[o.n_map].from)
            o.n_map++;
    }
    *code = EXIT_RUN;
    if (b->weights && soma_load_weights_with(found->model, &o) != SOMA_OK) {
        *code = cli_failed(s);
        return false;
    }
    if (!b->new_head || found->zoo)
        return true;
    soma_model *m = b->classes ? soma_replace_head(found->model, b->classes) : NULL;
    if (!m) {
        *code = b->classes ? cli_failed(s)
                           : cli_usage("--new-head needs --classes N here: the outputs of the new last layer");
        return false;
    }
    soma_model_free(found->model);
    found->model = m;
    return true;
}

static const char *zoo_name(const void *list, int i)
{
    (void)list;
    return soma_zoo_at(i) ? soma_zoo_at(i)->name : NULL;
}

bool cli_find_model(soma *s, const char *name, const cli_build *build, cli_model *found, int *code)
{
    *found = (cli_model){.name = name};
    *code = EXIT_RUN;
    found->zoo = soma_zoo_find(name);
    file_kind kind = found->zoo ? NO_FILE : kind_of_file(name);
    if (kind == PICTURE) {
        *code = cli_usage("\"%s\" is a picture, but a model is wanted here: an architecture, a description or a saved "
                          "model; it stands before all pictures",
                          name);
        return false;
    }
    if (kind != NO_FILE && unused(build)) {
        *code = cli_usage("--%s is for architectures, but %s is a file that says it itself%s", unused(build), name,
                          strcmp(unused(build), "classes") ? "" : "; with --new-head its last layer is built anew");
        return false;
    }
    if (kind == DESCRIPTION) {
        found->model = soma_model_from_yaml(s, name, &found->recipe);
        found->described = true;
    } else if (kind == SAVED_MODEL) {
        found->model = soma_load(s, name);
        found->loaded = true;
    } else if (found->zoo) {
        *code = EXIT_USAGE;
        if (!choices_fit(found->zoo, build))
            return false;
        *code = EXIT_RUN;
        found->model = soma_zoo(s, name, .classes = build->classes, .input = build->input, .width = build->width,
                                .shortcut = build->shortcut, .stride = build->stride, .pooling = build->pooling,
                                .dialect = build->dialect);
    } else {
        const char *near = cli_nearest(name, zoo_name, NULL);
        *code = cli_usage("\"%s\" is neither an architecture%s%s%s nor a file: a saved model or a description", name,
                          near ? " (did you mean \"" : "", near ? near : "", near ? "\"?)" : "");
        return false;
    }
    if (!found->model || soma_failed(s)) {
        *code = cli_failed(s);
        return false;
    }
    if (!soma_ok(soma_model_input(found->model, 0)) || !soma_ok(soma_model_output(found->model, 0))) {
        cli_error(SOMA_INVALID, "the model \"%s\" has no input or no output", name);
        return false;
    }
    found->trained = (found->loaded || found->recipe.trained || build->weights) && !build->new_head;
    return begin_with(s, build, found, code);
}

bool cli_is_trained(const cli_model *found, const char *name, bool untrained, int *code)
{
    if (found->trained || untrained)
        return true;
    *code = cli_usage(
        "%s %s; name a saved model or give --weights FILE, or say --untrained to see what it answers all the same",
        name,
        found->loaded || found->recipe.trained ? "has a new last layer that has learned nothing"
                                               : "has random weights and has learned nothing");
    return false;
}

soma_shape cli_sample_shape(const soma_model *m)
{
    soma_shape shape = soma_value_type(soma_model_input(m, 0)).shape;
    for (int i = 1; i < shape.rank; i++)
        shape.dim[i - 1] = shape.dim[i];
    shape.rank--;
    return shape;
}

const char *cli_precision(const char *option, const soma_recipe *recipe)
{
    return option ? option : recipe->precision[0] ? recipe->precision : NULL;
}

/* ---- data made here ---- */

/* Arrays live as long as the command: data may be opened more than once, as training and as validation. */
typedef union block {
    union block *before;
    max_align_t aligned;
} block;
static block *made;

static void *make(size_t bytes)
{
    block *b = malloc(sizeof *b + bytes);
    if (!b)
        return NULL;
    b->before = made;
    made = b;
    return b + 1;
}

void cli_free_data(void)
{
    while (made) {
        block *b = made;
        made = b->before;
        free(b);
    }
}

/* A fixed linear congruential sequence in [0, 1): these data are for trying things out. */
static double uniform(uint64_t *state)
{
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return (double)(*state >> 11) * 0x1p-53;
}

static double normal(uint64_t *state)
{
    double u = 1 - uniform(state), v = uniform(state);
    return sqrt(-2 * log(u)) * cos(6.283185307179586 * v);
}

/* 100 points evenly on [-1.5, 4] around y = 1 + 2 x, with deviation 1. */
static soma_dataset *line(soma *s)
{
    uint64_t state = 7;
    float *hours = make(100 * sizeof *hours), *scores = make(100 * sizeof *scores);
    for (int i = 0; hours && scores && i < 100; i++) {
        hours[i] = (float)(-1.5 + 5.5 * i / 99.0);
        scores[i] = (float)(1 + 2 * (double)hours[i] + normal(&state));
    }
    soma_tensor x = {SOMA_F32, SOMA_SHAPE(100, 1), hours}, y = {SOMA_F32, SOMA_SHAPE(100, 1), scores};
    return hours && scores ? soma_dataset_arrays(s, x, .y = y) : NULL;
}

/* 256 samples of noise in the model's shape, with random classes; numbers where the model has one output. */
static soma_dataset *noise(soma *s, const soma_model *m)
{
    enum { N = 256 };
    uint64_t state = 11;
    soma_shape sample = cli_sample_shape(m), shape = {.rank = sample.rank + 1, .dim = {N}};
    soma_shape out = soma_value_type(soma_model_output(m, 0)).shape;
    memcpy(shape.dim + 1, sample.dim, (size_t)sample.rank * sizeof sample.dim[0]);
    int64_t elements = soma_shape_elements(&shape), classes = out.dim[out.rank - 1];
    float *inputs = elements > 0 ? make((size_t)elements * sizeof *inputs) : NULL;
    float *numbers = make(N * sizeof *numbers);
    int32_t *chosen = make(N * sizeof *chosen);
    if (!inputs || !numbers || !chosen)
        return NULL;
    for (int64_t i = 0; i < elements; i++)
        inputs[i] = (float)normal(&state);
    for (int i = 0; i < N; i++) {
        numbers[i] = (float)normal(&state);
        chosen[i] = (int32_t)(uniform(&state) * (double)classes);
    }
    soma_tensor x = {SOMA_F32, shape, inputs}, y = {SOMA_F32, SOMA_SHAPE(N, 1), numbers};
    soma_tensor labels = {SOMA_I32, SOMA_SHAPE(N), chosen};
    return soma_dataset_arrays(s, x, .y = classes == 1 ? y : labels, .n_classes = classes == 1 ? 0 : (int)classes);
}

/* ---- data by name ---- */

bool cli_is_made(const char *name)
{
    return !strcmp(name, "line") || !strcmp(name, "random");
}

bool cli_made_lacks(const char *data, const char *option)
{
    return !option || !cli_is_made(data) ||
           cli_usage("--%s says nothing for \"%s\": these data are made up, %s", option, data,
                     strcmp(data, "line") ? "256 samples of noise" : "100 points of a line") == 0;
}

const char *cli_data_path(soma *s, const char *name, char path[4096])
{
    size_t length = cli_is_made(name) ? 0 : soma_dataset_find(s, name, path, 4096);
    return length && length < 4096 ? path : NULL;
}

soma_dataset *cli_find_data(soma *s, const char *name, const soma_dataset_options *how, const soma_model *m, int *code)
{
    soma_dataset_options o = *how;
    soma_dataset *d = NULL;
    *code = EXIT_RUN;
    o.path = name;
    if (!strcmp(name, "line"))
        d = line(s);
    else if (!strcmp(name, "random"))
        d = noise(s, m);
    else
        d = soma_dataset_open_with(s, &o);
    if (!d && !soma_failed(s))
        cli_error(SOMA_MEMORY, "no memory for the data \"%s\"", name);
    else if (!d)
        *code = cli_failed(s);
    return d;
}
