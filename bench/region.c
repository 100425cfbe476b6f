/* SPDX-License-Identifier: Apache-2.0
 *
 * region.c: steps where a team of threads may not be had: inside a parallel region of the caller, and (by the
 * environment) with OMP_THREAD_LIMIT=1 or OMP_DYNAMIC=true. Each must end with a sentence or with the right result; a
 * hang is the caller's to notice. Compiled with -fopenmp. usage: soma-region plain|region|fit
 */
#include <soma/soma.h>

#include <math.h>
#include <stdio.h>
#include <string.h>

#define BATCH 16
#define SAMPLES (4 * BATCH)
#define THREADS 2

typedef struct place {
    soma *s;
    soma_model *m;
    soma_trainer *t;
    soma_status status;
    double loss;
    char error[1024];
} place;

static float images[SAMPLES * 28 * 28];
static int32_t labels[SAMPLES];

static void fill(void)
{
    uint32_t state = 1;
    for (int i = 0; i < SAMPLES * 28 * 28; i++) {
        state = state * 1664525u + 1013904223u;
        images[i] = (float)(state >> 8) * 0x1p-24f;
    }
    for (int i = 0; i < SAMPLES; i++)
        labels[i] = i % 10;
}

static soma_dataset *open_place(place *p, const char *model, int threads)
{
    memset(p, 0, sizeof *p);
    p->s = soma_open(&(soma_context_options){.struct_size = sizeof(soma_context_options), .threads = threads});
    p->m = soma_zoo(p->s, model);
    soma_tensor x = {SOMA_F32, SOMA_SHAPE(SAMPLES, 1, 28, 28), images}, y = {SOMA_I32, SOMA_SHAPE(SAMPLES), labels};
    return soma_dataset_arrays(p->s, x, .y = y, .n_classes = 10);
}

static void make(place *p, const char *model, int threads)
{
    soma_dataset *d = open_place(p, model, threads);
    p->t = soma_trainer_new(p->m, d, .batch_size = BATCH, .epochs = 100);
}

/* Three steps, or what came instead. again: the first batch was loaded before, and its step refused. */
static void step(place *p, bool again)
{
    p->status = p->t ? SOMA_OK : soma_error_status(p->s);
    for (int i = 0; i < 3 && p->status == SOMA_OK; i++) {
        p->status = again && i == 0 ? SOMA_OK : soma_next(p->t);
        if (p->status == SOMA_OK)
            p->status = soma_trainer_step(p->t);
    }
    p->loss = p->status == SOMA_OK ? soma_trainer_loss(p->t) : NAN;
    snprintf(p->error, sizeof p->error, "%s", soma_error(p->s));
}

/* A whole soma_fit: compiling as well. */
static void fit(place *p, const char *model, int threads)
{
    soma_dataset *d = open_place(p, model, threads);
    soma_progress result = {.loss = NAN};
    p->status = soma_fit(p->m, d, .batch_size = BATCH, .max_steps = 3, .result = &result);
    p->loss = p->status == SOMA_OK ? result.loss : NAN;
    snprintf(p->error, sizeof p->error, "%s", soma_error(p->s));
}

static bool judge(const char *what, const place *p, double want)
{
    if (p->status == SOMA_OK) {
        bool right = fabs(p->loss - want) <= 1e-3 * fabs(want);
        printf("%s: loss %.6f, expected %.6f: %s\n", what, p->loss, want, right ? "right" : "WRONG");
        return right;
    }
    bool sentence = strlen(p->error) > 20 && strchr(p->error, ' ');
    printf("%s: %s\n", what, sentence ? p->error : "FAILED WITHOUT A SENTENCE");
    return sentence;
}

static bool plain(const char *model)
{
    place one, many;
    make(&one, model, 1);
    step(&one, false);
    make(&many, model, THREADS);
    step(&many, false);
    bool right = judge("1 thread", &one, one.loss) && judge("2 threads", &many, one.loss);
    soma_close(one.s);
    soma_close(many.s);
    return right && one.status == SOMA_OK;
}

static bool in_region(const char *model, bool whole)
{
    place one, places[THREADS];
    if (whole)
        fit(&one, model, 1);
    else
        make(&one, model, 1);
    for (int i = 0; i < THREADS && !whole; i++)
        make(&places[i], model, THREADS);
#pragma omp parallel for num_threads(THREADS) schedule(static, 1)
    for (int i = 0; i < THREADS; i++) {
        if (whole)
            fit(&places[i], model, THREADS);
        else
            step(&places[i], false);
    }
    if (!whole)
        step(&one, false);
    bool right = one.status == SOMA_OK;
    for (int i = 0; i < THREADS; i++)
        right = judge("inside a parallel region", &places[i], one.loss) && right;
    for (int i = 0; i < THREADS && !whole; i++) { /* a refused step changed nothing: outside it succeeds */
        if (places[i].status == SOMA_OK)
            continue;
        soma_clear(places[i].s);
        step(&places[i], true);
        right = judge("outside again", &places[i], one.loss) && places[i].status == SOMA_OK && right;
    }
    for (int i = 0; i < THREADS; i++)
        soma_close(places[i].s);
    soma_close(one.s);
    return right;
}

int main(int argc, char **argv)
{
    static const char *const models[] = {"mlp", "lenet5", "fashion-cnn"};
    bool right = argc == 2;
    fill();
    for (int i = 0; i < 3 && argc == 2; i++) {
        printf("%s, ", models[i]);
        right = (!strcmp(argv[1], "plain") ? plain(models[i]) : in_region(models[i], !strcmp(argv[1], "fit"))) && right;
        fflush(stdout);
    }
    return right ? 0 : 1;
}
