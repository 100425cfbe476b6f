/* SPDX-License-Identifier: Apache-2.0
 *
 * house.h: what the parts of soma-house share: the models of the bars with their data, training in rounds, child
 * processes, counted allocations. Uses the public API only.
 */
#ifndef SOMA_BENCH_HOUSE_H
#define SOMA_BENCH_HOUSE_H

#include <soma/soma.h>

#include <stdio.h>

/* ---- options, the same for every subcommand ---- */

typedef struct options {
    const char *model, *data, *mode, *out, *fann;
    const char *command[64]; /* what follows "--", NULL-terminated */
    const char *peers[4];    /* --peer LABEL=COMMAND LINE */
    int n_peers;
    int64_t batch, steps, rounds, threads, seed, max_memory;
    double seconds; /* of a round */
    double peak_lr; /* of a one-cycle rate; 0: the model's rate */
    double width;   /* of an architecture's layers; 0: 1 */
    bool exact, flush, tune;
    const char *precision;
} options;

/* ---- models and data of the bars ---- */

typedef enum data_kind { DATA_LINE, DATA_DISC, DATA_FASHION, DATA_NOISE } data_kind;

typedef struct house_model {
    const char *name;
    int64_t batch, small_batch; /* the bars' batch; one for many steps in little time */
    data_kind data;
    bool tiny;            /* measured on one thread */
    double forward_flops; /* of one sample: convolutions and matrix products, a multiply-add counted as two */
} house_model;
const house_model *house_model_at(int index); /* NULL past the end */
const house_model *house_model_find(const char *name);

typedef struct house_case {
    const house_model *kind;
    house_model other; /* kind points here for a model of the zoo that has no line of its own: noise, its own batch */
    soma *s;
    soma_model *m;
    soma_dataset *data;
    soma_optimizer optimizer;
    const char *loss;
    int64_t batch;
    uint64_t max_memory; /* 0: no budget */
    const char *precision;
    float *x, *y;
    int32_t *labels;
} house_case;
/* Opens context, model and data; false after telling why not. threads 0: the model's (one for tiny nets, else all). */
bool house_open(house_case *c, const char *model, const options *o);
void house_close(house_case *c);
/* The options of soma_fit for this case, epochs without end. */
soma_fit_options house_fit(const house_case *c);
bool house_failed(const house_case *c); /* tells soma's error */

/* ---- rounds ---- */

double house_now(void); /* seconds */
void house_rest(void);  /* sleeps until OpenMP's threads have stopped spinning */
double house_median(double *x, int n);
double house_best(const double *x, int n);

/* Called after each round of training, while it stands still: samples and seconds of the round. False ends training. */
typedef bool (*house_round_fn)(void *user, double samples, double seconds);
/* One soma_fit, cut into rounds of `seconds`, after `warm_steps` steps and at least half a second. */
bool house_train_rounds(house_case *c, int64_t warm_steps, double seconds, house_round_fn fn, void *user);

typedef struct house_predictor {
    house_case *c;
    float *images, *answers; /* [count, ...] of the data set, [batch, classes] */
    int64_t count, next, sample, classes;
} house_predictor;
bool house_predictor_open(house_predictor *p, house_case *c);
void house_predictor_close(house_predictor *p);
/* soma_predict on batch after batch for `seconds`: samples per second, 0 after an error. */
double house_predict(house_predictor *p, double seconds);

/* FMA peak samples between rounds; every one is kept for printing. */
#define HOUSE_PEAKS 512
typedef struct house_peaks {
    int threads, n;
    double gflops[HOUSE_PEAKS];
} house_peaks;
void house_sample_peak(house_peaks *p);
/* Prints every sample, the best (as NAME peak_gflops) and the streaming rate; returns the best. */
double house_print_peaks(const house_peaks *p);

/* ---- a peer that serves (bench/peers/README.md) ---- */

#define HOUSE_VARIANTS 8
typedef struct house_result {
    char variant[64];
    double us, rate; /* per step; samples per second */
} house_result;
typedef struct house_peer {
    int pid;
    FILE *in, *out;
    char ready[4096]; /* its first line */
} house_peer;
/* command: words separated by spaces. Returns 0, 77 where the peer skips itself, 1 otherwise. */
int house_peer_open(house_peer *p, const char *command);
void house_peer_close(house_peer *p);
/* One round of all variants; returns their number, -1 after telling an error. */
int house_peer_run(house_peer *p, double seconds, house_result results[HOUSE_VARIANTS]);

/* ---- allocations through the C library, of the whole process ---- */

bool house_counts_mallocs(void);
uint64_t house_mallocs(void);

/* ---- subcommands: exit codes ---- */

int house_train(const options *o);
int house_forward(const options *o);
int house_fixed(const options *o);
int house_peers(const options *o);
int house_allocations(const options *o);
int house_memory(const options *o);
int house_budget(const options *o);
int house_loss(const options *o);
int house_hash(const options *o);
int house_png(const options *o);
int house_spawn(const options *o);
int house_peak_rss(const options *o);

#endif
