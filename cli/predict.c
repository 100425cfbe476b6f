/* SPDX-License-Identifier: Apache-2.0
 *
 * cli/predict.c: `soma predict`: classes and probabilities of pictures, or of samples of a data set.
 */
#include "cli.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct predict_options {
    cli_common common;
    cli_build build;
    const char *data, *split, *index, *labels, *precision;
    cli_pictures pictures;
    bool untrained;
    int64_t top;
} predict_options;

static const cli_command command = {"predict", "MODEL [IMAGE...]",
                                    "Shows the classes of pictures (JPEG, PNG, WebP) with their probabilities.",
                                    cli_predict};

static bool array_begun; /* of JSON */

static void softmax(float *y, int64_t n)
{
    double largest = (double)y[0], total = 0;
    for (int64_t i = 1; i < n; i++)
        largest = fmax(largest, (double)y[i]);
    for (int64_t i = 0; i < n; i++)
        total += exp((double)y[i] - largest);
    for (int64_t i = 0; i < n; i++)
        y[i] = (float)(exp((double)y[i] - largest) / total);
}

static const char *label(const soma_model *m, int64_t i, char text[32])
{
    if (i < soma_model_classes(m))
        return soma_model_class(m, (int)i);
    snprintf(text, 32, "class %lld", (long long)i);
    return text;
}

/* The outputs of one sample: numbers for one or two outputs without class names, else the top classes. */
static void print_one(const soma_model *m, const predict_options *o, const char *title, const char *truth, float *y,
                      int64_t n, bool probabilities, bool first)
{
    char text[32];
    bool classes = n > 1;
    if (classes && !probabilities)
        softmax(y, n);
    if (o->common.json) {
        printf("%s{\"input\": ", first ? "[" : ",\n ");
        array_begun = true;
        cli_json_text(title);
        if (truth) {
            printf(", \"truth\": ");
            cli_json_text(truth);
        }
        printf(", \"%s\": [", classes ? "classes" : "values");
    } else {
        cli_text(stdout, title);
        printf("%s", truth ? " (" : "");
        cli_text(stdout, truth ? truth : "");
        printf("%s\n", truth ? ")" : "");
    }
    for (int64_t k = 0; k < o->top && k < n; k++) {
        int64_t best = -1;
        for (int64_t i = 0; i < n; i++)
            if (y[i] >= 0 && (best < 0 || y[i] > y[best]))
                best = i;
        if (!classes)
            best = 0;
        if (best < 0)
            break;
        if (o->common.json && classes) {
            printf("%s{\"class\": ", k ? ", " : "");
            cli_json_text(label(m, best, text));
            printf(", \"probability\": ");
            cli_json_number((double)y[best]);
            printf("}");
        } else if (o->common.json) {
            cli_json_number((double)y[0]);
        } else if (classes) {
            printf("  %6.2f%%  %s\n", 100 * (double)y[best], label(m, best, text));
        } else {
            printf("  %.6g\n", (double)y[0]);
        }
        if (classes)
            y[best] = -1; /* shown */
    }
    if (o->common.json)
        printf("]}");
}

/* A class among outputs that are no numbers would be an accident. */
static int check_finite(const char *title, const float *y, int64_t n)
{
    int64_t bad = 0, first = -1;
    for (int64_t i = 0; i < n; i++)
        if (!isfinite(y[i])) {
            first = first < 0 ? i : first;
            bad++;
        }
    if (!bad)
        return 0;
    const char *what = isnan(y[first]) ? "NaN" : y[first] > 0 ? "infinite" : "minus infinity";
    return cli_error(
        SOMA_DATA,
        "%s: there is no answer, because %lld of the model's %lld outputs are no numbers (output %lld is %s): "
        "its weights or this input hold NaN, infinite or very large numbers; train it anew, or take a file "
        "from before",
        title, (long long)bad, (long long)n, (long long)first, what);
}

/* Does the model end in softmax? Then its outputs are probabilities already. */
static bool ends_in_softmax(const soma_model *m)
{
    int n = soma_model_nodes(m);
    return n && !strcmp(soma_model_node_at(m, n - 1).op, "softmax");
}

static int predict_one(soma *s, soma_model *m, const predict_options *o, const char *title, const char *truth,
                       const soma_shape *sample, float *x, bool first)
{
    soma_shape in = {.rank = sample->rank + 1, .dim = {1}}, out = soma_value_type(soma_model_output(m, 0)).shape;
    memcpy(in.dim + 1, sample->dim, (size_t)sample->rank * sizeof sample->dim[0]);
    out.dim[0] = 1;
    int64_t n = soma_shape_elements(&out);
    float *y = n > 0 ? malloc((size_t)n * sizeof *y) : NULL;
    if (!y) {
        return cli_error(SOMA_MEMORY, "no memory for the prediction");
    }
    soma_tensor xt = {SOMA_F32, in, x}, yt = {SOMA_F32, out, y};
    soma_predict_options how = {.struct_size = sizeof how, .at = SOMA_AT, .y = &yt, .precision = o->precision};
    int code = soma_predict_with(m, &xt, &how) == SOMA_OK ? 0 : cli_failed(s);
    code = code ? code : check_finite(title, y, n);
    if (!code)
        print_one(m, o, title, truth, y, n, ends_in_softmax(m), first);
    free(y);
    return code;
}

/* The first number of "0,1,2", and *at behind its comma. */
static bool next_position(const char **at, long long *index)
{
    char *end;
    errno = 0;
    *index = strtoll(*at, &end, 10);
    bool right = end != *at && !errno && (!*end || (*end == ',' && end[1]));
    *at = *end ? end + 1 : end;
    return right;
}

static bool sound_positions(const char *text)
{
    long long index;
    const char *at = text;
    do {
        if (!next_position(&at, &index))
            return cli_usage("--index takes positions separated by commas, such as 0,1,2; got \"%s\"", text) == 0;
    } while (*at);
    return true;
}

static int predict_data(soma *s, soma_model *m, const predict_options *o, const soma_shape *sample, float *x)
{
    int code;
    soma_dataset_options how = {.struct_size = sizeof how, .split = o->split ? o->split : "test"};
    cli_use_model(m, &how);
    if (!cli_made_lacks(o->data, o->split ? "split" : NULL) ||
        !cli_transform(&o->pictures, o->data, sample, &how.transform))
        return EXIT_USAGE;
    cli_size_pictures(s, o->data, sample, &how);
    soma_dataset *d = cli_find_data(s, o->data, &how, m, &code);
    if (!d)
        return code;
    d = cli_same_classes(m, d);
    if (!d)
        return cli_failed(s);
    code = 0;
    soma_type type = soma_dataset_input(d);
    if (soma_shape_elements(&type.shape) != soma_shape_elements(sample)) {
        char want[96], got[96];
        soma_type model_type = {SOMA_F32, *sample};
        return cli_error(SOMA_INVALID, "the model takes samples of shape %s, the data set has %s",
                         cli_shape_text(&model_type, want), cli_shape_text(&type, got));
    }
    if (!o->common.quiet)
        cli_note_inverted_data(m, d);
    const char *at = o->index ? o->index : "0";
    for (bool first = true; *at && !code; first = false) {
        long long index = 0;
        next_position(&at, &index); /* the list was looked at before anything was opened */
        int64_t position = index;
        int32_t truth = -1;
        char title[64];
        snprintf(title, sizeof title, "sample %lld", index);
        if (soma_dataset_read(d, &position, 1, x, soma_dataset_classes(d) ? &truth : NULL) != SOMA_OK)
            return cli_failed(s);
        code = predict_one(s, m, o, title, truth >= 0 ? soma_dataset_class(d, truth) : NULL, sample, x, first);
    }
    return code;
}

static int predict(soma *s, const predict_options *o, soma_model *m, const char **images, int n)
{
    char text[96];
    soma_shape sample = cli_sample_shape(m);
    if (n && (sample.rank != 3 || (sample.dim[0] != 1 && sample.dim[0] != 3)))
        return cli_error(
            SOMA_INVALID,
            "the model takes samples of shape %s, which are no pictures of 1 or 3 channels; --data predicts "
            "samples of a data set",
            cli_shape_text(&(soma_type){SOMA_F32, sample}, text));
    float *x = malloc((size_t)soma_shape_elements(&sample) * sizeof *x);
    if (!x) {
        return cli_error(SOMA_MEMORY, "no memory for a sample of the model");
    }
    int code = 0;
    soma_transform transform = soma_model_transform(m);
    transform.scale = transform.scale > 0 ? transform.scale : 1 / 255.0;
    if (!cli_transform(&o->pictures, o->data, &sample, &transform))
        code = EXIT_USAGE;
    else if (o->data)
        code = predict_data(s, m, o, &sample, x);
    for (int i = 0; i < n && !code; i++) {
        double background;
        if (cli_is_folder(images[i], ".")) {
            code = cli_error(SOMA_IO,
                             "\"%s\" is a folder, not a picture; name the pictures in it, or, where they are "
                             "sorted into classes, the folder with --data",
                             images[i]);
            break;
        }
        if (soma_image_read(s, images[i], .shape = sample, .transform = &transform, .pixels = x,
                            .background = &background) != SOMA_OK) {
            code = cli_failed(s);
            break;
        }
        char what[4200];
        snprintf(what, sizeof what, "%s is", images[i]);
        if (!o->common.quiet)
            cli_note_inverted(m, what, background);
        code = predict_one(s, m, o, images[i], NULL, &sample, x, i == 0 && !o->data);
    }
    if (array_begun) { /* what was predicted stays, the error comes behind it */
        if (cli_json_error(",\n {\"error\": "))
            printf("}");
        printf("]\n");
    }
    free(x);
    return code;
}

/* names: of the model, then of n - 1 pictures. */
static int predict_named(const predict_options *o, const char **names, int n)
{
    int code;
    if (!o->data && (o->index || o->split))
        return cli_usage("--%s chooses among the samples of --data, but none is given", o->index ? "index" : "split");
    if (o->index && !sound_positions(o->index))
        return EXIT_USAGE;
    if (n < 2 && !o->data)
        return cli_usage("predict: name at least one picture, or a data set with --data");
    soma *s = cli_open(&o->common);
    if (!s || soma_failed(s))
        return cli_failed(s);
    cli_model found;
    if (cli_find_model(s, names[0], &o->build, &found, &code) &&
        cli_is_trained(&found, names[0], o->untrained, &code)) {
        cli_note_inputs(&o->common, &o->build, &found, &o->pictures);
        code = o->labels && !cli_read_labels(found.model, o->labels) ? EXIT_RUN
                                                                     : predict(s, o, found.model, names + 1, n - 1);
    }
    soma_close(s);
    cli_free_data();
    return code;
}

int cli_predict(int argc, char **argv)
{
    predict_options o = {.top = 3, .pictures = CLI_PICTURES_NONE};
    const cli_option options[] = {
        {"data", CLI_TEXT, &o.data, "DATA", "predict samples of a data set instead of pictures", 1, 0},
        {"split", CLI_CHOICE, &o.split, "train|test|all", "its part (default test), or all of what has none", 1, 0},
        {"index", CLI_TEXT, &o.index, "I,J,...", "which samples (default 0)", 1, 0},
        {"top", CLI_INT, &o.top, "N", "classes to show (default 3)", 1, 1e6},
        CLI_PRECISION(&o.precision),
        CLI_UNTRAINED(o.untrained),
        CLI_BUILD(o.build),
        {"labels", CLI_TEXT, &o.labels, "FILE", "names of the classes, one a line (default: the model's)", 1, 0},
        CLI_TRANSFORM(o.pictures),
        CLI_DATA_PATH(o.common),
        CLI_COMMON(o.common),
        {NULL, CLI_FLAG, NULL, NULL, NULL, 1, 0},
    };
    const char **positional = malloc(((size_t)argc + 1) * sizeof *positional);
    if (!positional)
        return cli_error(SOMA_MEMORY, "no memory for the names of %d pictures", argc);
    int n = cli_parse(&command, options, argc, argv, positional, 1, argc);
    int code = n == -2 ? 0 : n < 0 ? EXIT_USAGE : predict_named(&o, positional, n);
    free(positional);
    return code;
}
