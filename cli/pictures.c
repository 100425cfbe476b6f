/* SPDX-License-Identifier: Apache-2.0
 *
 * cli/pictures.c: the options that say how pictures become inputs.
 */
#include "cli.h"

#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* "256", "224x160" (height x width) */
static bool read_size(const char *option, const char *text, int64_t size[2])
{
    char *end;
    long long height = strtoll(text, &end, 10), width = 0;
    bool right = end != text && height > 0 && (!*end || *end == 'x');
    if (right && *end == 'x') {
        const char *second = end + 1;
        width = strtoll(second, &end, 10);
        right = end != second && width > 0 && !*end;
    }
    size[0] = height;
    size[1] = width;
    return right || cli_usage("--%s takes a number of pixels, or HEIGHTxWIDTH, such as 256 or 224x224; got \"%s\"",
                              option, text) == 0;
}

/* "0.5", "0.485,0.456,0.406" */
static bool read_channels(const char *option, const char *text, double least, const soma_shape *sample,
                          double numbers[4])
{
    long long channels = sample->rank == 3 ? (long long)sample->dim[0] : 0;
    const char *at = text;
    int n = 0;
    for (; n < 4; n++) {
        char *end;
        numbers[n] = strtod(at, &end);
        if (end == at || (*end && *end != ',') || !(numbers[n] - numbers[n] == 0) || numbers[n] < least)
            break;
        if (numbers[n] == 0)
            numbers[n] = SOMA_ZERO; /* said */
        if (!*end) {
            memset(numbers + n + 1, 0, (size_t)(3 - n) * sizeof *numbers);
            return !channels || n == 0 || n + 1 == channels ||
                   cli_usage("--%s has %d numbers, but the model's input has %lld channel%s; give one for all, or one "
                             "a channel",
                             option, n + 1, channels, channels == 1 ? "" : "s") == 0;
        }
        at = end + 1;
    }
    return cli_usage("--%s takes a number%s, or one a channel, such as 0.485,0.456,0.406; got \"%s\"", option,
                     least > 0 ? " greater than 0" : "", text) == 0;
}

/* The first option that was given. */
static const char *given(const cli_pictures *p)
{
    return p->resize                    ? "resize"
           : p->crop                    ? "center-crop"
           : p->scale > 0               ? "scale"
           : p->mean                    ? "mean"
           : p->deviation               ? "std"
           : p->invert                  ? "invert"
           : p->order                   ? "channel-order"
           : p->flip                    ? "flip"
           : p->random_crop >= 0        ? "random-crop"
           : p->random_resized_crop > 0 ? "random-resized-crop"
                                        : NULL;
}

bool cli_transform(const cli_pictures *p, const char *data, const soma_shape *sample, soma_transform *t)
{
    if (data && !cli_made_lacks(data, given(p)))
        return false;
    if (p->resize && !read_size("resize", p->resize, t->resize))
        return false;
    if (p->crop && !read_size("center-crop", p->crop, t->crop))
        return false;
    if (p->resize && !p->crop)
        t->crop[0] = t->crop[1] = 0; /* a model's own crop belongs to its own resize */
    if (p->scale > 0)
        t->scale = p->scale;
    if (p->mean && !read_channels("mean", p->mean, -HUGE_VAL, sample, t->mean))
        return false;
    if (p->deviation && !read_channels("std", p->deviation, DBL_MIN, sample, t->deviation))
        return false;
    if (p->order)
        t->bgr = !strcmp(p->order, "bgr");
    if (p->invert) /* than what the model was trained with, which may have been inverted, too */
        t->invert = !t->invert;
    return true;
}

void cli_note_inverted(const soma_model *m, const char *what, double background)
{
    soma_transform t = soma_model_transform(m);
    if (t.has_background && soma_looks_inverted(t.background, background))
        fprintf(
            stderr,
            "soma: note: %s %s at the edges where the training pictures are %s (%.0f against %.0f of 255); --invert "
            "exchanges light and dark\n",
            what, background > t.background ? "light" : "dark", background > t.background ? "dark" : "light",
            background, t.background);
}

void cli_note_inverted_data(const soma_model *m, const soma_dataset *d)
{
    double background;
    if (soma_model_transform(m).has_background && soma_dataset_background(d, &background))
        cli_note_inverted(m, "the pictures are", background);
}

void cli_augmentation(const cli_pictures *p, soma_augment *a)
{
    if (p->flip)
        a->flip = true;
    if (p->random_crop >= 0) {
        a->random_crop = true;
        a->padding = p->random_crop;
    }
    if (p->random_resized_crop > 0)
        a->random_resized_crop = p->random_resized_crop;
}

void cli_note_inputs(const cli_common *common, const cli_build *b, const cli_model *found, const cli_pictures *p)
{
    const soma_zoo_entry *zoo = found->zoo;
    bool imagenet = zoo && zoo->classes == 1000 && zoo->input.rank == 3 && zoo->input.dim[0] == 3;
    if (common->quiet || !b->weights || !imagenet || p->mean || p->deviation || p->order || p->scale > 0)
        return;
    cli_note(
        "weights do not say how pictures become inputs; without options they are red, green, blue from 0 to 1. "
        "torchvision's want --mean 0.485,0.456,0.406 --std 0.229,0.224,0.225, Caffe's --channel-order bgr --scale 1 "
        "--mean 104,117,123");
}

/* A transform that nobody set has scale 0. */
void cli_use_model(const soma_model *m, soma_dataset_options *how)
{
    soma_shape sample = cli_sample_shape(m);
    how->transform = soma_model_transform(m);
    if (sample.rank == 3 && (sample.dim[0] == 1 || sample.dim[0] == 3))
        how->channels = (int)sample.dim[0];
}

bool cli_is_folder(const char *path, const char *name)
{
    char full[8192]; /* twice what systems take */
    struct stat st;
    return snprintf(full, sizeof full, "%s/%s", path, name) < (int)sizeof full && stat(full, &st) == 0 &&
           S_ISDIR(st.st_mode);
}

bool cli_holds_idx(const char *folder, const char *part)
{
    char file[8192];
    bool found = false;
    for (int i = 0; i < 2 && !found; i++) {
        found = snprintf(file, sizeof file, "%s/%s-images-idx3-ubyte%s", folder, part, i ? ".gz" : "") <
                    (int)sizeof file &&
                cli_is_file(file);
    }
    return found;
}

soma_dataset *cli_same_classes(soma_model *m, soma_dataset *d)
{
    soma_shape out = soma_value_type(soma_model_output(m, 0)).shape;
    int64_t outputs = out.rank == 2 ? out.dim[1] : 0;
    int n = soma_model_classes(m);
    if (!soma_dataset_classes(d) || outputs < 2 || outputs > INT32_MAX)
        return d; /* what is wrong, soma_evaluate says */
    const char **names = n == outputs ? malloc((size_t)n * sizeof *names) : NULL;
    for (int i = 0; names && i < n; i++)
        names[i] = soma_model_class(m, i);
    soma_dataset *same = soma_dataset_for_classes(d, names, (int)outputs);
    free(names);
    return same;
}

void cli_size_pictures(soma *s, const char *data, const soma_shape *sample, soma_dataset_options *how)
{
    char room[4096];
    const char *path = cli_data_path(s, data, room);
    bool pictures = path && cli_is_folder(path, ".") && !cli_holds_idx(path, "train") && !cli_holds_idx(path, "t10k");
    if (!pictures || how->transform.resize[0] || how->transform.crop[0] || sample->rank != 3)
        return;
    how->transform.resize[0] = sample->dim[1];
    how->transform.resize[1] = sample->dim[2];
}

/* ---- names of classes ---- */

static char *read_text(const char *path)
{
    FILE *file = cli_is_file(path) ? fopen(path, "rb") : NULL; /* a pipe would be waited for */
    long size = file && fseek(file, 0, SEEK_END) == 0 ? ftell(file) : -1;
    char *text = size >= 0 && size < 1 << 24 ? malloc((size_t)size + 1) : NULL;
    bool done = text && fseek(file, 0, SEEK_SET) == 0 && fread(text, 1, (size_t)size, file) == (size_t)size;
    if (file)
        fclose(file);
    if (done)
        text[size] = 0;
    if (!done || memchr(text, 0, (size_t)size)) {
        free(text);
        cli_error(SOMA_IO,
                  "the labels \"%s\" cannot be read; a text file of at most 16 MB with one name a line is wanted",
                  path);
        return NULL;
    }
    return text;
}

/* Takes the lines apart; NULL: no memory. */
static const char **split_lines(char *text, int *n)
{
    size_t lines = 1;
    for (const char *c = text; *c; c++)
        lines += *c == '\n';
    const char **names = malloc(lines * sizeof *names);
    *n = 0;
    for (char *line = text; names && *line;) {
        char *end = line + strcspn(line, "\n"), *next = *end ? end + 1 : end;
        if (end > line && end[-1] == '\r')
            end--;
        *end = 0;
        names[(*n)++] = line;
        line = next;
    }
    while (names && *n && !names[*n - 1][0]) /* empty lines behind the last name */
        --*n;
    return names;
}

bool cli_read_labels(soma_model *m, const char *path)
{
    int n = 0;
    char *text = read_text(path);
    const char **names = text ? split_lines(text, &n) : NULL;
    soma_shape out = soma_value_type(soma_model_output(m, 0)).shape;
    int64_t classes = out.rank == 2 ? out.dim[1] : 0;
    bool fits = names && n == classes;
    if (text && !names)
        cli_error(SOMA_MEMORY, "no memory for the labels \"%s\"", path);
    else if (names && !fits)
        cli_error(SOMA_INVALID,
                  "\"%s\" has %d label%s, but the model has %lld output%s; write one name a line, in the "
                  "order of the outputs",
                  path, n, n == 1 ? "" : "s", (long long)classes, classes == 1 ? "" : "s");
    for (int i = 0; fits && i < n; i++)
        if (!names[i][0]) {
            cli_error(SOMA_INVALID, "\"%s\": line %d is empty; write the name of output %d there", path, i + 1, i);
            fits = false;
        }
    bool done = fits && soma_model_set_classes(m, names, n) == SOMA_OK;
    if (fits && !done)
        cli_failed(soma_model_context(m));
    free(names);
    free(text);
    return done;
}
