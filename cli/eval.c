/* SPDX-License-Identifier: Apache-2.0
 *
 * cli/eval.c: `soma eval`: loss, accuracy, precision and recall per class, confusion matrix.
 */
#include "cli.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const cli_command command = {"eval", "MODEL", "Evaluates a saved model on a data set.", cli_eval};

static int64_t sum(const soma_evaluation *e, int index, bool row)
{
    int64_t n = 0;
    for (int i = 0; i < e->classes; i++)
        n += row ? e->confusion[index * e->classes + i] : e->confusion[i * e->classes + index];
    return n;
}

static double share(int64_t part, int64_t whole)
{
    return whole ? (double)part / (double)whole : NAN;
}

static const char *class_name(const soma_model *m, const soma_dataset *d, int i)
{
    const char *name = i < soma_model_classes(m) ? soma_model_class(m, i) : soma_dataset_class(d, i);
    return name && name[0] ? name : "?";
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
    printf("\n%-16s %9s %9s %9s %9s\n", "class", "samples", "precision", "recall", "F1");
    for (int i = 0; i < e->classes; i++) {
        int64_t right = e->confusion[i * e->classes + i];
        double precision = share(right, sum(e, i, false)), recall = share(right, sum(e, i, true));
        double f1 = 2 * precision * recall / (precision + recall);
        char texts[3][16];
        printf("%-16.16s %9lld %9s %9s %9s\n", class_name(m, d, i), (long long)sum(e, i, true),
               percent(precision, texts[0]), percent(recall, texts[1]), percent(f1, texts[2]));
    }
}

static void print_confusion(const soma_model *m, const soma_dataset *d, const soma_evaluation *e)
{
    if (e->classes > 20) {
        printf("\n(the confusion matrix of %d classes is in --json)\n", e->classes);
        return;
    }
    printf("\nconfusion matrix (row: truth, column: answer)\n%-16s", "");
    for (int j = 0; j < e->classes; j++)
        printf(" %6.6s", class_name(m, d, j));
    printf("\n");
    for (int i = 0; i < e->classes; i++) {
        printf("%-16.16s", class_name(m, d, i));
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
        printf("%s", i ? ", " : "");
        cli_json_text(class_name(m, d, i));
    }
    printf("], \"confusion\": [");
    for (int i = 0; i < e->classes; i++) {
        printf("%s[", i ? ", " : "");
        for (int j = 0; j < e->classes; j++)
            printf("%s%lld", j ? ", " : "", (long long)e->confusion[i * e->classes + j]);
        printf("]");
    }
    printf("]}\n");
}

static int evaluate(soma *s, soma_model *m, const soma_evaluate_options *how, bool json)
{
    const soma_dataset *d = how->data;
    soma_evaluate_options o = *how;
    int classes = soma_dataset_classes(d);
    soma_evaluation e = {.classes = classes};
    e.confusion = classes ? calloc((size_t)classes * (size_t)classes, sizeof *e.confusion) : NULL;
    int code = 0;
    o.result = &e;
    if (soma_evaluate_with(m, &o) != SOMA_OK) {
        code = cli_failed(s);
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
    cli_pictures pictures = CLI_PICTURES_NONE;
    soma_evaluate_options o = {.struct_size = sizeof o, .at = SOMA_AT};
    const char *data = "fashion-mnist", *split = "test", *name;
    int64_t limit = 0, max_memory = 0;
    const cli_option options[] = {
        {"data", CLI_TEXT, &data, "DATA",
         "IDX file or folder, folder of pictures, or a data set's name (default fashion-mnist)", 1, 0},
        {"split", CLI_TEXT, &split, "NAME", "train or test (default)", 1, 0},
        {"loss", CLI_TEXT, &o.loss, "NAME", "softmax_cross_entropy or mean_squared_error", 1, 0},
        {"batch-size", CLI_INT, &o.batch_size, "N", "samples per step (default 128)", 1, 1e9},
        {"precision", CLI_TEXT, &o.precision, "NAME", "f32 (default) or bf16, where the CPU multiplies it", 1, 0},
        {"max-memory", CLI_BYTES, &max_memory, "BYTES", "what the plan may need, e.g. 2G (K, M, G: powers of 1000)", 1,
         1e15},
        {"limit", CLI_INT, &limit, "N", "use the first N samples", 1, 1e15},
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
    if (cli_find_model(s, name, &build, &found, &code)) {
        soma_dataset_options how = {.struct_size = sizeof how, .split = split, .limit = limit};
        soma_shape sample = cli_sample_shape(found.model);
        cli_use_model(found.model, &how);
        bool right = cli_transform(&pictures, &how.transform);
        cli_size_pictures(s, data, &sample, &how);
        code = EXIT_USAGE;
        o.data = right ? cli_find_data(s, data, &how, found.model, &code) : NULL;
        o.max_memory = (uint64_t)max_memory;
        if (o.data)
            code = !cli_same_classes(found.model, o.data) ? EXIT_RUN : evaluate(s, found.model, &o, common.json);
    }
    soma_close(s);
    cli_free_data();
    return code;
}
