/* SPDX-License-Identifier: Apache-2.0
 *
 * cli/bench.c: `soma bench`: how fast a model trains or predicts on this machine, as rounds of steps with samples of
 * the machine's limits between them: the clock of a machine moves, and a peak of an hour ago is no limit. Reads no
 * data.
 */
#include "cli.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "machine.h"

enum { WARM_UP = 3, STEPS_MAX = 1 << 20, ROUNDS_MAX = 1000 };

typedef struct bench_options {
    cli_common common;
    cli_build build;
    cli_groups groups;
    int64_t batch, rounds, micro_batch, max_memory;
    const char *precision;
    double seconds;
    bool train, machine;
} bench_options;

/* What is measured: one of the two programs. */
typedef struct subject {
    soma *s;
    soma_trainer *trainer; /* NULL: predicting */
    soma_program *program;
    cli_noise noise;
    cli_pace pace;
} subject;

typedef struct figures {
    double *step; /* seconds of each step, as many as there is room for */
    int steps;
    double rate[ROUNDS_MAX], peak[ROUNDS_MAX], bandwidth[ROUNDS_MAX]; /* samples/s, GFLOPS, GB/s of each round */
    int rounds;
    double planned, taken; /* bytes */
} figures;

static const cli_command command = {"bench", "train|predict MODEL",
                                    "Measures training or prediction on made-up data: throughput, time of a step, "
                                    "share of the machine's peak, memory.\n"
                                    "A training step counts as three times the FLOPs of a prediction.",
                                    cli_bench};

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* Bytes of this process in memory; 0 where the system does not say. */
static double resident(void)
{
    long pages = 0, all;
    FILE *file = fopen("/proc/self/statm", "r");
    if (file && fscanf(file, "%ld %ld", &all, &pages) != 2)
        pages = 0;
    if (file)
        fclose(file);
    return (double)pages * 4096;
}

/* ---- what is measured ---- */

static soma_status run_step(subject *b)
{
    if (!b->trainer)
        return soma_step(b->program);
    soma_status status = soma_next(b->trainer);
    if (status == SOMA_END)
        status = soma_next(b->trainer);
    return status == SOMA_OK ? soma_trainer_step(b->trainer) : status;
}

static bool prepare(subject *b, const bench_options *o, const cli_model *found, soma_dataset *d)
{
    soma_model *m = found->model;
    if (o->train) {
        soma_optimizer optimizer = found->recipe.optimizer;
        if (!optimizer.name)
            optimizer = found->zoo && found->zoo->optimizer ? found->zoo->optimizer() : soma_sgd();
        b->trainer = soma_trainer_new(m, d, .batch_size = o->batch, .epochs = 1000000, .optimizer = optimizer,
                                      .micro_batch = o->micro_batch, .max_memory = (uint64_t)o->max_memory,
                                      .groups = o->groups.list, .n_groups = o->groups.n,
                                      .precision = cli_precision(o->precision, &found->recipe),
                                      .loss = found->recipe.loss[0] ? found->recipe.loss : NULL);
        b->program = soma_trainer_program(b->trainer);
        return b->program != NULL;
    }
    soma_value x = soma_model_input(m, 0), y = soma_model_output(m, 0);
    b->program = soma_compile(m, .name = "predict", .batch = o->batch, .values = &y, .n_values = 1,
                              .max_memory = (uint64_t)o->max_memory,
                              .precision = cli_precision(o->precision, &found->recipe));
    if (!b->program)
        return false;
    soma_tensor in = {SOMA_F32, {.rank = 0}, b->noise.x};
    in.shape = soma_value_type(x).shape;
    in.shape.dim[0] = o->batch;
    return soma_feed(b->program, x, &in) == SOMA_OK;
}

/* ---- measuring ---- */

static bool run_round(subject *b, const bench_options *o, figures *f, double seconds)
{
    int threads = soma_threads(b->s);
    int64_t steps = 0;
    f->bandwidth[f->rounds] = o->machine ? cli_bandwidth_sample(threads) : NAN;
    f->peak[f->rounds] = cli_peak_sample(threads);
    if (run_step(b) != SOMA_OK) /* caches are the model's again */
        return false;
    double begin = now(), before = begin, after = begin;
    for (; after - begin < seconds || !steps; steps++) {
        if (run_step(b) != SOMA_OK)
            return false;
        after = now();
        if (cli_pace_add(&b->pace, 1, after - before) && !o->common.quiet && soma_program_threads(b->program) > 1)
            cli_say_busy(&b->pace, soma_program_threads(b->program));
        if (f->steps < STEPS_MAX)
            f->step[f->steps++] = after - before;
        before = after;
    }
    f->rate[f->rounds++] = (double)steps * (double)o->batch / (after - begin);
    return true;
}

static bool measure(subject *b, const bench_options *o, figures *f, double resident_before)
{
    for (int i = 0; i < WARM_UP; i++)
        if (run_step(b) != SOMA_OK)
            return false;
    f->taken = resident() - resident_before;
    f->planned = (double)soma_program_memory(b->program).total;
    if (o->machine && !o->common.quiet)
        cli_say_bandwidth();
    for (int64_t r = 0; r < o->rounds; r++)
        if (!run_round(b, o, f, o->seconds / (double)o->rounds))
            return false;
    return true;
}

/* ---- telling ---- */

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Of sorted numbers: the least that is not exceeded by this share of them. */
static double percentile(const double *sorted, int n, double share)
{
    int i = (int)ceil(share * n) - 1;
    return n < 1 ? NAN : sorted[i < 0 ? 0 : i >= n ? n - 1 : i];
}

static double median(const double *numbers, int n)
{
    double sorted[ROUNDS_MAX];
    memcpy(sorted, numbers, (size_t)n * sizeof *sorted);
    qsort(sorted, (size_t)n, sizeof *sorted, compare);
    return n < 1 ? NAN : (sorted[(n - 1) / 2] + sorted[n / 2]) / 2;
}

typedef struct result {
    double rate, flops, gflops, peak, bandwidth, p50, p90, p99;
} result;

static result conclude(const bench_options *o, const soma_model *m, figures *f)
{
    result r = {.rate = median(f->rate, f->rounds),
                .peak = median(f->peak, f->rounds),
                .bandwidth = median(f->bandwidth, f->rounds)};
    for (int i = 0; i < soma_model_nodes(m); i++)
        r.flops += soma_model_node_at(m, i).flops * (o->train ? 3 : 1);
    r.gflops = r.flops * r.rate / 1e9;
    qsort(f->step, (size_t)f->steps, sizeof *f->step, compare);
    r.p50 = 1e3 * percentile(f->step, f->steps, 0.5);
    r.p90 = 1e3 * percentile(f->step, f->steps, 0.9);
    r.p99 = 1e3 * percentile(f->step, f->steps, 0.99);
    return r;
}

static void print_json(const subject *b, const bench_options *o, const soma_model *m, const figures *f, const result *r)
{
    const struct {
        const char *name;
        double value;
    } rows[] = {{"samples_per_second", r->rate}, {"step_ms_p50", r->p50},
                {"step_ms_p90", r->p90},         {"step_ms_p99", r->p99},
                {"flops_per_sample", r->flops},  {"gflops", r->gflops},
                {"peak_gflops", r->peak},        {"share_of_peak", r->gflops / r->peak},
                {"bandwidth_gbs", r->bandwidth}, {"planned_bytes", f->planned},
                {"taken_bytes", f->taken}};
    printf("{\"mode\": \"%s\", \"model\": ", o->train ? "train" : "predict");
    cli_json_text(soma_model_name(m));
    printf(", \"batch\": %lld, \"threads\": %d, \"steps\": %d, \"record\": \"%016llx\"", (long long)o->batch,
           soma_program_threads(b->program), f->steps, (unsigned long long)soma_program_fingerprint(b->program));
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        printf(", \"%s\": ", rows[i].name);
        cli_json_number(rows[i].value);
    }
    printf(", \"rounds\": [");
    for (int i = 0; i < f->rounds; i++) {
        printf("%s{\"samples_per_second\": ", i ? ", " : "");
        cli_json_number(f->rate[i]);
        printf(", \"peak_gflops\": ");
        cli_json_number(f->peak[i]);
        printf("}");
    }
    printf("]}\n");
}

static void print_text(const subject *b, const bench_options *o, const soma_model *m, const figures *f, const result *r)
{
    char threads[48], steps[48], rounds[48];
    printf("%s of \"%s\", batch %lld, %s: %s in %s\n\n", o->train ? "training" : "prediction", soma_model_name(m),
           (long long)o->batch, cli_many(soma_program_threads(b->program), "thread", "threads", threads),
           cli_many(f->steps, "step", "steps", steps), cli_many(f->rounds, "round", "rounds", rounds));
    printf("throughput        %.6g samples/s\n", r->rate);
    printf("a step            %.4g ms (p50), %.4g ms (p90), %.4g ms (p99)\n", r->p50, r->p90, r->p99);
    printf("work              %.4g MFLOP a sample%s\n", r->flops / 1e6, o->train ? " (3 x forward)" : "");
    printf("speed             %.4g GFLOPS, %.1f%% of the FMA peak of %.4g GFLOPS\n", r->gflops,
           100 * r->gflops / r->peak, r->peak);
    if (o->machine)
        printf("memory bandwidth  %.3g GB/s\n", r->bandwidth);
    printf("memory planned    %.2f MB\n", f->planned / 1e6);
    printf("memory taken      %.2f MB (growth of the process)\n", f->taken / 1e6);
}

static int bench(soma *s, const bench_options *o, const cli_model *found)
{
    subject b = {.s = s};
    figures f = {.step = malloc(STEPS_MAX * sizeof *f.step)};
    soma_dataset *d = cli_make_noise(s, found, NULL, 2 * o->batch, &b.noise);
    double before = resident();
    bool done = d && f.step && prepare(&b, o, found, d) && measure(&b, o, &f, before);
    int code = done ? 0 : soma_failed(s) ? cli_failed(s) : EXIT_RUN;
    if (!done && !soma_failed(s))
        cli_error(SOMA_MEMORY, "no memory for two batches of %lld samples", (long long)o->batch);
    if (done) {
        result r = conclude(o, found->model, &f);
        (o->common.json ? print_json : print_text)(&b, o, found->model, &f, &r);
    }
    if (!b.trainer)
        soma_program_free(b.program);
    soma_trainer_free(b.trainer);
    soma_dataset_free(d);
    cli_free_noise(&b.noise);
    free(f.step);
    return code;
}

int cli_bench(int argc, char **argv)
{
    bench_options o = {.rounds = 5, .seconds = 5};
    const cli_option options[] = {
        {"batch", CLI_INT, &o.batch, "N", "samples per step (default: to train the architecture's, to predict 1)", 1,
         1e7},
        {"seconds", CLI_FLOAT, &o.seconds, "S", "time to measure, all rounds together (default 5)", 1e-3, 1e6},
        {"rounds", CLI_INT, &o.rounds, "N", "rounds; throughput is their median (default 5)", 1, ROUNDS_MAX},
        {"micro-batch", CLI_INT, &o.micro_batch, "N", "samples that run at a time (training)", 1, 1e7},
        {"max-memory", CLI_BYTES, &o.max_memory, "BYTES", "what the plan may need, e.g. 2G", 1, 1e15},
        CLI_PRECISION(&o.precision),
        {"machine", CLI_FLAG, &o.machine, NULL,
         "measure the memory's bandwidth, too (takes two arrays beyond the cache)", 1, 0},
        CLI_BUILD(o.build),
        CLI_GROUPS(o.groups),
        CLI_COMMON(o.common),
        {NULL, CLI_FLAG, NULL, NULL, NULL, 1, 0},
    };
    const char *names[2];
    int n = cli_parse(&command, options, argc, argv, names, 1, 2), code;
    if (n < 0)
        return n == -2 ? 0 : EXIT_USAGE;
    o.train = !strcmp(names[0], "train");
    if (!o.train && strcmp(names[0], "predict"))
        return cli_usage("bench measures train or predict, not \"%s\"; usage: soma bench train|predict MODEL [OPTIONS]",
                         names[0]);
    if (n < 2)
        return cli_usage("bench: MODEL is missing; usage: soma bench train|predict MODEL [OPTIONS]");
    soma *s = cli_open(&o.common);
    if (!s || soma_failed(s))
        return cli_failed(s);
    cli_model found;
    if (cli_find_model(s, names[1], &o.build, &found, &code)) {
        int64_t usual = found.zoo ? found.zoo->batch_size : found.recipe.batch_size ? found.recipe.batch_size : 32;
        o.batch = o.batch ? o.batch : o.train ? usual : 1;
        code = cli_make_groups(&o.groups, &found.recipe) ? bench(s, &o, &found) : EXIT_USAGE;
    }
    soma_close(s);
    return code;
}
