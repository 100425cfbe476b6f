/* SPDX-License-Identifier: Apache-2.0
 *
 * house.c: soma-house, the measuring program of the bars house-01 to house-09 (bench/bars). Lines "name value" at the
 * end of a subcommand's output are for the bars; everything before them is for people.
 */
#include "house.h"

#include <stdlib.h>
#include <string.h>

static const struct {
    const char *name, *arguments, *doc;
    int (*run)(const options *);
} subcommands[] = {
    {"train", "MODEL", "soma_fit in rounds, FMA peak samples between them: share of the peak", house_train},
    {"forward", "MODEL", "soma_predict in rounds, FMA peak samples between them: share of the peak", house_forward},
    {"fixed", "MODEL", "a step alone and through soma_fit, beside FANN (--fann PROGRAM): neuron, tiny", house_fixed},
    {"peers", "MODEL", "--mode train|predict --peer LABEL=COMMAND...: soma and peers in alternating rounds",
     house_peers},
    {"allocations", "MODEL", "soma's allocations and the process's mallocs in --steps steps", house_allocations},
    {"memory", "MODEL", "growth of RSS over compile plus three steps against the plan", house_memory},
    {"budget", "MODEL", "training within half the planned memory beside training without a budget, in rounds",
     house_budget},
    {"loss", "MODEL", "mean loss of the last tenth of --steps steps", house_loss},
    {"hash", "MODEL", "SHA-256 of the weights after --steps steps", house_hash},
    {"png", "", "writes a test picture of Fashion-MNIST to --out FILE", house_png},
    {"spawn", "-- COMMAND...", "wall time of --rounds processes", house_spawn},
    {"peak-rss", "-- COMMAND...", "largest resident size of a process", house_peak_rss},
};
#define SUBCOMMANDS (sizeof subcommands / sizeof *subcommands)

static int usage(FILE *out, int code)
{
    fputs("usage: soma-house SUBCOMMAND ARGUMENTS [OPTIONS]\n\n", out);
    for (size_t i = 0; i < SUBCOMMANDS; i++)
        fprintf(out, "  %-11s %-14s %s\n", subcommands[i].name, subcommands[i].arguments, subcommands[i].doc);
    fputs(
        "\noptions: --batch N, --steps N, --rounds N, --seconds S (of a round), --threads N, --seed N, --data FOLDER,\n"
        "  --max-memory BYTES, --tune, --precision f32|bf16, --peak-lr X (one cycle, loss only), --width X,\n"
        "  --exact (reference kernels), --flush (the host's flush-to-zero bit is set before soma is called)\nmodels:",
        out);
    for (int i = 0; house_model_at(i); i++)
        fprintf(out, " %s", house_model_at(i)->name);
    fputs("\n", out);
    return code;
}

static bool set_text(options *o, const char *key, const char *value)
{
    const struct {
        const char *key;
        const char **out;
    } texts[] = {{"--precision", &o->precision},
                 {"--data", &o->data},
                 {"--mode", &o->mode},
                 {"--out", &o->out},
                 {"--fann", &o->fann}};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        if (!strcmp(key, texts[i].key)) {
            *texts[i].out = value;
            return true;
        }
    if (strcmp(key, "--peer") || o->n_peers == 4 || !strchr(value, '='))
        return false;
    o->peers[o->n_peers++] = value;
    return true;
}

static bool set_number(options *o, const char *key, const char *value)
{
    const struct {
        const char *key;
        int64_t *out;
    } numbers[] = {{"--batch", &o->batch},     {"--steps", &o->steps}, {"--rounds", &o->rounds},
                   {"--threads", &o->threads}, {"--seed", &o->seed},   {"--max-memory", &o->max_memory}};
    char *end = NULL;
    if (!strcmp(key, "--seconds") || !strcmp(key, "--peak-lr") || !strcmp(key, "--width")) {
        double *out = !strcmp(key, "--peak-lr") ? &o->peak_lr : !strcmp(key, "--width") ? &o->width : &o->seconds;
        *out = strtod(value, &end);
        return end != value && !*end && *out > 0 && *out <= 3600;
    }
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        if (!strcmp(key, numbers[i].key)) {
            *numbers[i].out = strtoll(value, &end, 10);
            return end != value && !*end && *numbers[i].out >= 0 && *numbers[i].out <= 100000000000;
        }
    return set_text(o, key, value);
}

static bool parse(options *o, int argc, char **argv)
{
    for (int i = 0; i < argc; i++) {
        if (!strcmp(argv[i], "--")) {
            for (int k = 0; ++i < argc && k < 63; k++)
                o->command[k] = argv[i];
            return o->command[0] != NULL;
        }
        if (!strcmp(argv[i], "--exact"))
            o->exact = true;
        else if (!strcmp(argv[i], "--flush"))
            o->flush = true;
        else if (!strcmp(argv[i], "--tune"))
            o->tune = true;
        else if (argv[i][0] != '-' && !o->model)
            o->model = argv[i];
        else if (i + 1 >= argc || !set_number(o, argv[i], argv[i + 1]))
            return false;
        else
            i++;
    }
    return o->rounds <= 1000;
}

int main(int argc, char **argv)
{
    options o = {.data = "/usr/share/datasets/fashion-mnist", .mode = "train"};
    if (argc > 1 && !strcmp(argv[1], "--help"))
        return usage(stdout, 0);
    if (argc < 2 || !parse(&o, argc - 2, argv + 2))
        return usage(stderr, 2);
    for (size_t i = 0; i < SUBCOMMANDS; i++) {
        if (strcmp(argv[1], subcommands[i].name))
            continue;
        if (!strcmp(subcommands[i].arguments, "MODEL") && !o.model)
            return usage(stderr, 2);
        if (!strncmp(subcommands[i].arguments, "--", 2) && !o.command[0])
            return usage(stderr, 2);
        int code = subcommands[i].run(&o);
        return fflush(stdout) ? 1 : code;
    }
    return usage(stderr, 2);
}
