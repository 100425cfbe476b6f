/* SPDX-License-Identifier: Apache-2.0
 *
 * cli/eval.c: `soma eval`: loss, accuracy, precision and recall per class, confusion matrix.
 */
#include "cli.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MATRIX_MAX 10000 /* classes of a confusion matrix: 800 MB */

static const cli_command command = {"eval", "MODEL", "Evaluates a saved model on a data set.", cli_eval};

static int64_t sum(const soma_evaluation *e, int index, bool row)
{
    int64_t n = 0;
    for (int i = 0; i < e->classes; i++)
        n += row ? e->confusion[(int64_t)index * e->classes + i] : e->confusion[(int64_t)i * e->classes + index];
    return n;
}

static double share(int64_t part, int64_t whole)
{
    return whole ? (double)part / (double)whole : NAN;
}

/* The model's name of an output; the data's where the model has none, for then they are as many; else its number. */
static const char *class_name(const soma_model *m, const soma_dataset *d, int i, char number[16])
{
    const char *name = i < soma_model_classes(m) ? soma_model_class(m, i) : soma_dataset_class(d, i);
    snprintf(number, 16, "%d", i);
    return name && name[0] ? name : number;
}

/* Characters of UTF-8: every byte but those that continue one. */
static int letters(const char *text)
{
    int n = 0;
    for (; *text; text++)
        n += ((unsigned char)*text & 0xc0) != 0x80;
    return n;
}

static int longest_name(const soma_model *m, const soma_dataset *d, int n)
{
    char number[16];
    int longest = 5;
    for (int i = 0; i < n; i++) {
        int length = letters(class_name(m, d, i, number));
        longest = length > longest ? length : longest;
    }
    return longest;
}

/* Names are never cut: two of a dataset may differ in their last letter only. */
static void print_name(const char *name, int width)
{
    printf("%s%*s", name, width - letters(name), "");
}

/* "98.7%", or "-" where nothing was to be counted. */
static const char *percent(double part, char text[16])
{
    if (isnan(part))
        return "-";
    snprintf(text, 16, "%.1f%%", 100 * part);
    return text;
}

static void print_classes(const soma_model *m, const soma_dataset *d, const soma_evaluation *e)
{
    int width = longest_name(m, d, e->classes);
    printf("\n%-*s %9s %9s %9s %9s\n", width, "class", "samples", "precision", "recall", "F1");
    for (int i = 0; i < e->classes; i++) {
        int64_t right = e->confusion[(int64_t)i * e->classes + i];
        double precision = share(right, sum(e, i, false)), recall = share(right, sum(e, i, true));
        double f1 = 2 * precision * recall / (precision + recall);
        char texts[3][16], number[16];
        print_name(class_name(m, d, i, number), width);
        printf(" %9lld %9s %9s %9s\n", (long long)sum(e, i, true), percent(precision, texts[0]),
               percent(recall, texts[1]), percent(f1, texts[2]));
    }
}

/* Columns have the rows' numbers: names would not fit above them. */
static void print_confusion(const soma_model *m, const soma_dataset *d, const soma_evaluation *e)
{
    char number[16];
    if (e->classes > 20) {
        printf("\n(the confusion matrix of %d classes is in --json)\n", e->classes);
        return;
    }
    int width = longest_name(m, d, e->classes);
    printf("\nconfusion matrix (row: truth, column: answer)\n%*s", width + 4, "");
    for (int j = 0; j < e->classes; j++)
        printf(" %6d", j);
    printf("\n");
    for (int i = 0; i < e->classes; i++) {
        printf("%2d  ", i);
        print_name(class_name(m, d, i, number), width);
        for (int j = 0; j < e->classes; j++)
            printf(" %6lld", (long long)e->confusion[i * e->classes + j]);
        printf("\n");
    }
}

static void print_json(const soma_model *m, const soma_dataset *d, const soma_evaluation *e)
{
    printf("{\"samples\": %lld, \"loss\": ", (long long)e->samples);
    cli_json_number(e->loss);
    printf(", \"accuracy\": ");
    cli_json_number(e->accuracy);
    printf(", \"classes\": [");
    for (int i = 0; i < e->classes; i++) {
        char number[16];
        printf("%s", i ? ", " : "");
        cli_json_text(class_name(m, d, i, number));
    }
    printf("], \"confusion\": %s", e->confusion ? "[" : "null");
    for (int i = 0; i < e->classes && e->confusion; i++) {
        printf("%s[", i ? ", " : "");
        for (int j = 0; j < e->classes; j++)
            printf("%s%lld", j ? ", " : "", (long long)e->confusion[(int64_t)i * e->classes + j]);
        printf("]");
    }
    printf("%s}\n", e->confusion ? "]" : "");
}

static int evaluate(soma *s, soma_model *m, const soma_evaluate_options *how, bool json)
{
    const soma_dataset *d = how->data;
    soma_evaluate_options o = *how;
    soma_shape out = soma_value_type(soma_model_output(m, 0)).shape;
    int classes = soma_dataset_classes(d) && out.rank == 2 && out.dim[1] < INT32_MAX ? (int)out.dim[1] : 0;
    soma_evaluation e = {.classes = classes};
    bool counts = classes && classes <= MATRIX_MAX;
    e.confusion = counts ? calloc((size_t)classes * (size_t)classes, sizeof *e.confusion) : NULL;
    if (classes && !e.confusion)
        cli_note("no confusion matrix is made for %d classes: it would take %.3g GB", classes,
                 8e-9 * classes * classes);
    int code = 0;
    o.result = &e;
    if (soma_evaluate_with(m, &o) != SOMA_OK) {
        code = cli_failed(s);
    } else if (e.not_finite || !isfinite(e.loss)) {
        code = cli_error(
            SOMA_DATA,
            "nothing was measured, because for %lld of %lld samples an output of the model is NaN or infinite%s: "
            "its weights or the data hold NaN, infinite or very large numbers",
            (long long)e.not_finite, (long long)e.samples, isfinite(e.loss) ? "" : ", and so is the loss");
    } else if (json) {
        print_json(m, d, &e);
    } else {
        printf("samples  %lld\nloss     %.4f\n", (long long)e.samples, e.loss);
        if (!isnan(e.accuracy))
            printf("accuracy %.2f%%\n", 100 * e.accuracy);
        if (e.confusion) {
            print_classes(m, d, &e);
            print_confusion(m, d, &e);
        }
    }
    free(e.confusion);
    return code;
}

int cli_eval(int argc, char **argv)
{
    cli_common common = {0};
    cli_build build = {0};
    bool untrained = false;
    cli_pictures pictures = CLI_PICTURES_NONE;
    soma_evaluate_options o = {.struct_size = sizeof o, .at = SOMA_AT};
    const char *data = "fashion-mnist", *usual = data, *split = NULL, *name;
    int64_t limit = 0, max_memory = 0;
    const cli_option options[] = {
        {"data", CLI_TEXT, &data, "DATA",
         "IDX file or folder, folder of pictures, or a data set's name (default fashion-mnist)", 1, 0},
        {"split", CLI_CHOICE, &split, "train|test|all", "a part (default test), or all of what has none", 1, 0},
        CLI_LOSS(&o.loss),
        {"batch-size", CLI_INT, &o.batch_size, "N", "samples per step (default 128)", 1, 1e9},
        CLI_PRECISION(&o.precision),
        {"max-memory", CLI_BYTES, &max_memory, "BYTES", "what the plan may need, e.g. 2G (K, M, G: powers of 1000)", 1,
         1e15},
        {"limit", CLI_INT, &limit, "N", "use N samples: of each class its share, from its first on", 1, 1e15},
        CLI_UNTRAINED(untrained),
        CLI_BUILD(build),
        CLI_TRANSFORM(pictures),
        CLI_DATA_PATH(common),
        CLI_COMMON(common),
        {NULL, CLI_FLAG, NULL, NULL, NULL, 1, 0},
    };
    int n = cli_parse(&command, options, argc, argv, &name, 1, 1), code;
    if (n < 0)
        return n == -2 ? 0 : EXIT_USAGE;
    soma *s = cli_open(&common);
    if (!s || soma_failed(s))
        return cli_failed(s);
    cli_model found;
    if (cli_find_model(s, name, &build, &found, &code) && cli_is_trained(&found, name, untrained, &code)) {
        soma_dataset_options how = {.struct_size = sizeof how, .split = split ? split : "test", .limit = limit};
        soma_shape sample = cli_sample_shape(found.model);
        cli_use_model(found.model, &how);
        cli_note_inputs(&common, &build, &found, &pictures);
        bool right = cli_made_lacks(data, split   ? "split"
                                          : limit ? "limit"
                                                  : NULL) &&
                     cli_transform(&pictures, data, &sample, &how.transform);
        cli_size_pictures(s, data, &sample, &how);
        code = EXIT_USAGE;
        o.data = right ? cli_find_data(s, data, &how, found.model, &code) : NULL;
        o.max_memory = (uint64_t)max_memory;
        if (o.data && !common.quiet)
            cli_note_inverted_data(found.model, o.data);
        if (o.data)
            code = evaluate(s, found.model, &o, common.json);
        if (code && data == usual && !common.quiet)
            cli_note("without --data the data are fashion-mnist");
    }
    soma_close(s);
    cli_free_data();
    return code;
}
