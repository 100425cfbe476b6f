/* SPDX-License-Identifier: Apache-2.0
 *
 * cli/plan.c: `soma plan`: what a training or a prediction will do before it does it: kernels, layouts, memory, and
 * with --time what each node costs against what the machine allows.
 */
#include "cli.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "machine.h"

typedef struct plan_options {
    cli_common common;
    cli_build build;
    cli_groups groups;
    int64_t batch, micro_batch, steps, max_memory;
    const char *optimizer, *loss, *precision;
    bool predict, time, explain;
} plan_options;

static const cli_command command = {
    "plan", "MODEL",
    "Shows the compiled program: a training step, or with --predict a prediction.\n"
    "--time runs it on random data and compares every node with the machine's peak and bandwidth.",
    cli_plan};

/* The training program of a model on its own loss, as soma_fit makes it. */
static soma_trainer *make_trainer(const plan_options *o, const cli_model *found, soma_dataset *d)
{
    soma_fit_options f = {.struct_size = sizeof f,
                          .data = d,
                          .batch_size = o->batch,
                          .epochs = 1,
                          .groups = o->groups.list,
                          .n_groups = o->groups.n,
                          .micro_batch = o->micro_batch,
                          .loss = o->loss                 ? o->loss
                                  : found->recipe.loss[0] ? found->recipe.loss
                                                          : NULL,
                          .max_memory = (uint64_t)o->max_memory,
                          .precision = cli_precision(o->precision, &found->recipe)};
    if (o->optimizer)
        f.optimizer = !strcmp(o->optimizer, "adam") ? soma_adam() : soma_sgd();
    else if (found->recipe.optimizer.name)
        f.optimizer = found->recipe.optimizer;
    else
        f.optimizer = found->zoo && found->zoo->optimizer ? found->zoo->optimizer() : soma_sgd();
    return soma_trainer_new_with(found->model, &f);
}

/* ---- printing ---- */

static void print_memory(const soma_program *p)
{
    soma_plan_memory m = soma_program_memory(p);
    const struct {
        const char *name;
        uint64_t bytes;
    } rows[] = {{"parameters", m.parameters},   {"optimizer state", m.state},     {"gradients", m.gradients},
                {"activations", m.activations}, {"inputs (two slots)", m.inputs}, {"packed copies", m.packed},
                {"tables", m.tables},           {"library", m.library},           {"total", m.total}};
    printf("\nmemory\n");
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        printf("  %-20s %14llu bytes  %9.2f MB\n", rows[i].name, (unsigned long long)rows[i].bytes,
               (double)rows[i].bytes / 1e6);
}

#define KERNEL_ROOM (SOMA_REASON_MAX + 128) /* a kernel's name and its note */

/* "onednn jit:avx512_core" */
static const char *kernel_text(const soma_plan_node *n, char text[KERNEL_ROOM])
{
    const char *note = n->note && n->note[0] ? n->note : NULL;
    snprintf(text, KERNEL_ROOM, "%s%s%s%s", n->recomputed ? "again: " : "", n->kernel, note ? " " : "",
             note ? note : "");
    return text;
}

/* As wide as the longest text in each column, within reason: rows fit into 120 columns. */
static void measure(const soma_program *p, int width[4])
{
    static const int most[4] = {28, 28, 32, 40};
    const int heads[4] = {2, 5, 6, 6};
    char text[KERNEL_ROOM];
    memcpy(width, heads, sizeof heads);
    for (int i = 0; i < soma_program_nodes(p); i++) {
        soma_plan_node n = soma_program_node(p, i);
        const char *texts[4] = {n.op, n.layer, n.output, kernel_text(&n, text)};
        for (int k = 0; k < 4; k++) {
            int length = (int)strlen(texts[k]);
            length = length > most[k] ? most[k] : length;
            width[k] = length > width[k] ? length : width[k];
        }
    }
}

/* The last column is filled up only where more follows. What is longer than its column ends in "..."; --json has all
 * of it. */
static void print_row(const char *const texts[4], const int width[4], bool more)
{
    for (int k = 0; k < 4; k++) {
        bool cut = (int)strlen(texts[k]) > width[k];
        int shown = cut ? width[k] - 3 : width[k], filled = cut ? shown : k < 3 || more ? width[k] : 0;
        printf("  %-*.*s%s", filled, shown, texts[k], cut ? "..." : "");
    }
}

static void print_nodes(const soma_program *p, const plan_options *o, const cli_machine *machine)
{
    double allowed = 0, measured = 0;
    int width[4];
    const char *phase = "", *const heads[4] = {"op", "layer", "output", "kernel"};
    measure(p, width);
    printf("\n");
    print_row(heads, width, o->time);
    printf("%s\n", o->time ? "    MFLOP      kB  limit us  measured  ratio" : "");
    for (int i = 0; i < soma_program_nodes(p); i++) {
        soma_plan_node n = soma_program_node(p, i);
        char kernel[KERNEL_ROOM];
        const char *texts[4] = {n.op, n.layer, n.output, kernel_text(&n, kernel)};
        if (strcmp(phase, n.phase))
            printf("%s\n", n.phase);
        phase = n.phase;
        print_row(texts, width, o->time);
        if (o->time) {
            double limit = fmax(n.flops / (machine->gflops * 1e9), n.bytes / (machine->gbs * 1e9));
            printf(" %8.2f %7.0f %9.2f %9.2f %6.2f", n.flops / 1e6, n.bytes / 1e3, limit * 1e6, n.seconds * 1e6,
                   n.seconds > 0 ? limit / n.seconds : 0);
            allowed += limit;
            measured += n.seconds;
        }
        printf("\n");
        if (o->explain && n.chosen[0])
            printf("      %s\n", n.chosen);
        if (o->explain && n.refused[0])
            printf("      refused: %s\n", n.refused);
    }
    if (o->time)
        printf("\nsum: limit %.1f us, measured %.1f us, ratio %.2f (peak %.0f GFLOPS, %.1f GB/s, %d threads)\n",
               allowed * 1e6, measured * 1e6, measured > 0 ? allowed / measured : 0, machine->gflops, machine->gbs,
               machine->threads);
}

static void print_array(const soma_plan_array *a, int index)
{
    char type[96] = "";
    if (a->type.shape.rank >= 0)
        soma_type_text(&a->type, type);
    printf("%s{\"source\": \"%s\", \"name\": ", index ? ", " : "", a->source);
    cli_json_text(a->name);
    printf(", \"node\": %d, \"output\": %d, \"type\": \"%s\", \"layout\": \"%s\", \"bytes\": %llu}", a->node, a->output,
           type, a->layout, (unsigned long long)a->bytes);
}

static void print_arrays(const soma_program *p, int node, const soma_plan_node *n)
{
    printf("\"inputs\": [");
    for (int i = 0; i < n->n_in; i++) {
        soma_plan_array a = soma_program_node_input(p, node, i);
        print_array(&a, i);
    }
    printf("], \"outputs\": [");
    for (int i = 0; i < n->n_out; i++) {
        soma_plan_array a = soma_program_node_output(p, node, i);
        print_array(&a, i);
    }
    printf("], ");
}

static void print_json(const soma *s, const soma_program *p, const plan_options *o)
{
    soma_plan_memory m = soma_program_memory(p);
    soma_plan_recomputation r = soma_program_recomputed(p);
    printf("{\"batch\": %lld, \"threads\": %d, \"micro_batch\": %lld, "
           "\"recomputed\": {\"nodes\": %d, \"flops\": %.0f, \"share\": %.6g, \"saved\": %llu}, "
           "\"record\": \"%016llx\", \"memory\": {\"parameters\": %llu, \"state\": %llu, "
           "\"gradients\": %llu, "
           "\"activations\": %llu, \"inputs\": %llu, \"packed\": %llu, \"tables\": %llu, \"library\": %llu, \"total\": "
           "%llu},\n \"nodes\": [",
           (long long)o->batch, soma_threads(s), (long long)soma_program_micro_batch(p), r.nodes, r.flops, r.share,
           (unsigned long long)r.saved, (unsigned long long)soma_program_fingerprint(p),
           (unsigned long long)m.parameters, (unsigned long long)m.state, (unsigned long long)m.gradients,
           (unsigned long long)m.activations, (unsigned long long)m.inputs, (unsigned long long)m.packed,
           (unsigned long long)m.tables, (unsigned long long)m.library, (unsigned long long)m.total);
    for (int i = 0; i < soma_program_nodes(p); i++) {
        soma_plan_node n = soma_program_node(p, i);
        const struct {
            const char *key, *text;
        } texts[] = {{"phase", n.phase},   {"op", n.op},     {"layer", n.layer},   {"output", n.output},
                     {"kernel", n.kernel}, {"note", n.note}, {"chosen", n.chosen}, {"refused", n.refused}};
        printf("%s{", i ? ",\n  " : "");
        for (size_t k = 0; k < sizeof texts / sizeof *texts; k++) {
            printf("\"%s\": ", texts[k].key);
            cli_json_text(texts[k].text);
            printf(", ");
        }
        print_arrays(p, i, &n);
        printf("\"recomputed\": %s, \"flops\": %.0f, \"bytes\": %.0f, \"seconds\": %.9g}",
               n.recomputed ? "true" : "false", n.flops, n.bytes, n.seconds);
    }
    printf("]}\n");
}

static int show(soma *s, soma_program *p, const plan_options *o)
{
    cli_machine machine = {0};
    if (o->time) {
        if (!o->common.quiet)
            cli_say_bandwidth();
        machine = cli_measure_machine(soma_threads(s));
        if (soma_program_time(p, o->steps ? (int)o->steps : 20) != SOMA_OK)
            return cli_failed(s);
    }
    if (o->common.json) {
        print_json(s, p, o);
        return 0;
    }
    if (soma_program_micro_batch(p) == o->batch)
        printf("batch %lld, %s\n", (long long)o->batch, soma_program_micro_batch_reason(p));
    else
        printf("batch %lld in pieces of %lld: %s\n", (long long)o->batch, (long long)soma_program_micro_batch(p),
               soma_program_micro_batch_reason(p));
    printf("threads %d%s, record %016llx\n", soma_program_threads(p),
           soma_program_threads(p) < soma_threads(s) ? " (too little work for more)" : "",
           (unsigned long long)soma_program_fingerprint(p));
    soma_plan_recomputation r = soma_program_recomputed(p);
    if (r.nodes)
        printf("recomputed: %d nodes, %.1f MFLOP (%.1f%% more), for %.2f MB less of activations\n", r.nodes,
               r.flops / 1e6, 100 * r.share, (double)r.saved / 1e6);
    print_nodes(p, o, &machine);
    print_memory(p);
    return 0;
}

static int plan(soma *s, const plan_options *o, const cli_model *found)
{
    soma_model *m = found->model;
    if (o->predict) {
        soma_value y = soma_model_output(m, 0);
        soma_program *p = soma_compile(m, .name = "predict", .batch = o->batch, .values = &y, .n_values = 1,
                                       .micro_batch = o->micro_batch, .max_memory = (uint64_t)o->max_memory,
                                       .precision = cli_precision(o->precision, &found->recipe));
        return p ? show(s, p, o) : cli_failed(s);
    }
    cli_noise n;
    soma_dataset *d = cli_make_noise(s, found, o->loss, o->batch, &n);
    if (!d && !soma_failed(s))
        cli_error(SOMA_MEMORY, "no memory for a batch of %lld samples", (long long)o->batch);
    soma_trainer *t = d ? make_trainer(o, found, d) : NULL;
    int code = t && soma_next(t) == SOMA_OK ? show(s, soma_trainer_program(t), o)
               : soma_failed(s)             ? cli_failed(s)
                                            : EXIT_RUN;
    soma_trainer_free(t);
    soma_dataset_free(d);
    cli_free_noise(&n);
    return code;
}

int cli_plan(int argc, char **argv)
{
    plan_options o = {0};
    const cli_option options[] = {
        {"batch-size", CLI_INT, &o.batch, "N", "samples per step (default: the architecture's, or 32)", 1, 1e7},
        {"predict", CLI_FLAG, &o.predict, NULL, "the program that predicts instead of the one that trains", 1, 0},
        CLI_OPTIMIZER(&o.optimizer),
        CLI_LOSS(&o.loss),
        CLI_PRECISION(&o.precision),
        {"micro-batch", CLI_INT, &o.micro_batch, "N", "samples that run at a time (default: the plan chooses)", 1, 1e7},
        {"max-memory", CLI_BYTES, &o.max_memory, "BYTES", "what the plan may need, e.g. 2G (K, M, G: powers of 1000)",
         1, 1e15},
        {"explain", CLI_FLAG, &o.explain, NULL,
         "why each kernel: what better ones were refused for, and what was timed", 1, 0},
        {"time", CLI_FLAG, &o.time, NULL,
         "run it and compare with the machine's limits (takes memory to measure its bandwidth)", 1, 0},
        {"steps", CLI_INT, &o.steps, "N", "steps to time (default 20; medians are shown)", 1, 1e6},
        CLI_BUILD(o.build),
        CLI_GROUPS(o.groups),
        CLI_COMMON(o.common),
        {NULL, CLI_FLAG, NULL, NULL, NULL, 1, 0},
    };
    const char *name;
    int n = cli_parse(&command, options, argc, argv, &name, 1, 1), code;
    if (n < 0)
        return n == -2 ? 0 : EXIT_USAGE;
    if (o.steps && !o.time)
        return cli_usage("--steps says how often --time runs the program, but --time is not given");
    soma *s = cli_open(&o.common);
    if (!s || soma_failed(s))
        return cli_failed(s);
    cli_model found;
    if (cli_find_model(s, name, &o.build, &found, &code)) {
        if (!o.batch)
            o.batch = found.zoo ? found.zoo->batch_size : found.recipe.batch_size ? found.recipe.batch_size : 32;
        code = cli_make_groups(&o.groups, &found.recipe) ? plan(s, &o, &found) : EXIT_USAGE;
    }
    soma_close(s);
    return code;
}
