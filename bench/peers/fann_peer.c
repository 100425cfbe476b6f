/* FANN as a peer: soma's small models trained by fann_train_epoch in FANN_TRAIN_BATCH mode. The training data is one
 * batch, so an epoch is a step. One thread. Float version: cc -O2 fann_peer.c -lfann -lm
 *
 * fann_peer --model neuron|tiny|mlp [--batch N] [--rounds R] [--seconds S] [--json] [--serve]
 * --serve speaks the protocol of torch_peer.py; README.md describes it. */
#define _GNU_SOURCE
#include <fann.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

typedef struct spec {
    const char *name;
    unsigned layers, sizes[4], batch;
    enum fann_activationfunc_enum hidden, output;
    float rate;
} spec;

/* FANN has no relu, softmax or Adam: its mlp is the same sizes with tanh and plain gradient descent. */
static const spec specs[] = {
    {"neuron", 2, {1, 1}, 32, FANN_LINEAR, FANN_LINEAR, 0.01F},
    {"tiny", 4, {2, 4, 2, 1}, 10, FANN_SIGMOID_SYMMETRIC, FANN_LINEAR, 0.03F}, /* FANN's name for tanh */
    {"mlp", 4, {784, 512, 512, 10}, 128, FANN_SIGMOID_SYMMETRIC, FANN_SIGMOID, 0.01F},
};

typedef struct peer {
    const spec *spec;
    unsigned batch;
    struct fann *net;
    struct fann_train_data *data;
    long chunk; /* steps between two looks at the clock */
} peer;

typedef struct result {
    double us, seconds;
    long steps;
} result;

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static fann_type uniform(double low, double high)
{
    return (fann_type)(low + (high - low) * rand() / RAND_MAX);
}

/* A line with noise, a disc, or random images with one class each: the values do not change the speed. */
static void fill(peer *p)
{
    const unsigned *sizes = p->spec->sizes, in = sizes[0], out = sizes[p->spec->layers - 1];
    for (unsigned i = 0; i < p->batch; i++) {
        fann_type *x = p->data->input[i], *y = p->data->output[i];
        for (unsigned j = 0; j < in; j++)
            x[j] = in == 1 ? uniform(-1.5, 4) : in == 2 ? uniform(-1, 1) : uniform(0, 1);
        for (unsigned j = 0; j < out; j++)
            y[j] = j == i % out;
        if (in == 1)
            y[0] = 3 * x[0] - 1 + uniform(-1, 1);
        if (in == 2)
            y[0] = x[0] * x[0] + x[1] * x[1] < 0.5F ? 1 : -1;
    }
}

static void run(peer *p, long steps)
{
    for (long i = 0; i < steps; i++)
        fann_train_epoch(p->net, p->data);
}

static int make(peer *p)
{
    const spec *s = p->spec;
    p->net = fann_create_standard_array(s->layers, s->sizes);
    p->data = fann_create_train(p->batch, s->sizes[0], s->sizes[s->layers - 1]);
    if (!p->net || !p->data)
        return 0;
    srand(1);
    fill(p);
    fann_set_activation_function_hidden(p->net, s->hidden);
    fann_set_activation_function_output(p->net, s->output);
    fann_set_train_error_function(p->net, FANN_ERRORFUNC_LINEAR);
    fann_set_training_algorithm(p->net, FANN_TRAIN_BATCH);
    fann_set_learning_rate(p->net, s->rate);
    fann_randomize_weights(p->net, -0.1F, 0.1F);

    for (p->chunk = 1;; p->chunk *= 2) { /* about 2 ms a chunk; warms up too */
        double begin = now();
        run(p, p->chunk);
        if (now() - begin > 0.002)
            return 1;
    }
}

static result measure(peer *p, double seconds)
{
    result r = {0, 0, 0};
    run(p, p->chunk); /* untimed: whoever ran before has the caches */
    double begin = now();
    do {
        run(p, p->chunk);
        r.steps += p->chunk;
        r.seconds = now() - begin;
    } while (r.seconds < seconds);
    r.us = 1e6 * r.seconds / (double)r.steps;
    return r;
}

static void print_header(const peer *p, const char *event)
{
    printf("{%s\"peer\": \"FANN\", \"model\": \"%s\", \"mode\": \"train\", \"batch\": %u, \"threads\": 1, "
           "\"variants\": [\"float\"], \"skipped\": {}",
           event, p->spec->name, p->batch);
}

static void serve(peer *p)
{
    char line[256], word[16], variant[64], rest;
    print_header(p, "\"event\": \"ready\", ");
    puts("}");
    fflush(stdout);
    while (fgets(line, sizeof line, stdin)) {
        double seconds = 0;
        int n = sscanf(line, "%15s %lf %63s %c", word, &seconds, variant, &rest);
        if (n < 1)
            continue;
        if (strcmp(word, "quit") == 0)
            return;
        if (n < 2 || n > 3 || strcmp(word, "run") != 0 || !(seconds >= 0))
            puts("{\"event\": \"error\", \"message\": \"expected: run SECONDS [VARIANT], or quit\"}");
        else if (n == 3 && strcmp(variant, "float") != 0)
            puts("{\"event\": \"error\", \"message\": \"no such variant here\"}");
        else {
            result r = measure(p, seconds);
            printf("{\"event\": \"result\", \"variant\": \"float\", \"samples_per_second\": %.2f, "
                   "\"us_per_step\": %.4f, \"steps\": %ld, \"seconds\": %.4f}\n{\"event\": \"done\"}\n",
                   1e6 * p->batch / r.us, r.us, r.steps, r.seconds);
        }
        fflush(stdout);
    }
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void rounds(peer *p, int count, double seconds, int json)
{
    double us[1000];
    for (int i = 0; i < count; i++)
        us[i] = measure(p, seconds).us;
    qsort(us, (size_t)count, sizeof us[0], by_value);
    double median = count % 2 ? us[count / 2] : 0.5 * (us[count / 2 - 1] + us[count / 2]);
    double rate = 1e6 * p->batch / median;
    if (json) {
        print_header(p, "");
        printf(", \"results\": [{\"variant\": \"float\", \"samples_per_second\": %.2f, \"best\": %.2f, "
               "\"us_per_step\": %.4f, \"rounds\": %d}]}\n",
               rate, 1e6 * p->batch / us[0], median, count);
    } else
        printf("FANN, %s train, batch %u, 1 thread\n  %-24s%14.1f samples/s  %12.3f us/step\n", p->spec->name, p->batch,
               "float", rate, median);
}

static int usage(FILE *to, int code)
{
    fputs("usage: fann_peer --model neuron|tiny|mlp [--batch N] [--rounds R] [--seconds S] [--json] [--serve]\n", to);
    return code;
}

int main(int argc, char **argv)
{
    peer p = {0};
    long batch = 0, count = 5;
    double seconds = 0.5;
    int json = 0, serving = 0;
    for (int i = 1; i < argc; i++) {
        const char *key = argv[i];
        char *end = NULL;
        if (strcmp(key, "--help") == 0)
            return usage(stdout, 0);
        if (strcmp(key, "--json") == 0) {
            json = 1;
            continue;
        }
        if (strcmp(key, "--serve") == 0) {
            serving = 1;
            continue;
        }
        if (++i == argc)
            return usage(stderr, 2);
        if (strcmp(key, "--model") == 0) {
            for (size_t j = 0; j < sizeof specs / sizeof specs[0]; j++)
                if (strcmp(argv[i], specs[j].name) == 0)
                    p.spec = &specs[j];
            continue;
        }
        if (strcmp(key, "--batch") == 0)
            batch = strtol(argv[i], &end, 10);
        else if (strcmp(key, "--rounds") == 0)
            count = strtol(argv[i], &end, 10);
        else if (strcmp(key, "--seconds") == 0)
            seconds = strtod(argv[i], &end);
        if (!end || end == argv[i] || *end)
            return usage(stderr, 2);
    }
    if (!p.spec || batch < 0 || batch > 1000000 || count < 1 || count > 1000 || !(seconds > 0))
        return usage(stderr, 2);
    p.batch = batch ? (unsigned)batch : p.spec->batch;
    if (!make(&p)) {
        fputs("fann_peer: FANN could not create the network or its data\n", stderr);
        return 1;
    }
    if (serving)
        serve(&p);
    else
        rounds(&p, (int)count, seconds, json);
    fann_destroy_train(p.data);
    fann_destroy(p.net);
    return 0;
}
