/* SPDX-License-Identifier: Apache-2.0
 *
 * house_rounds.c: training and prediction cut into rounds, with samples of the machine's FMA peak between them.
 */
#define _GNU_SOURCE
#include "house.h"
#include "machine/peak.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

double house_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* libgomp's threads spin for some milliseconds after a region. */
void house_rest(void)
{
    struct timespec t = {0, 50000000};
    nanosleep(&t, NULL);
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

double house_median(double *x, int n)
{
    if (n < 1)
        return 0;
    qsort(x, (size_t)n, sizeof *x, by_value);
    return n % 2 ? x[n / 2] : 0.5 * (x[n / 2 - 1] + x[n / 2]);
}

double house_best(const double *x, int n)
{
    double best = 0;
    for (int i = 0; i < n; i++)
        best = fmax(best, x[i]);
    return best;
}

/* ---- the machine ---- */

void house_sample_peak(house_peaks *p)
{
    house_rest();
    for (int i = 0; i < 3 && p->n < HOUSE_PEAKS; i++)
        p->gflops[p->n++] = soma_bench_peak_sample(p->threads);
}

double house_print_peaks(const house_peaks *p)
{
    double best = house_best(p->gflops, p->n);
    printf("FMA peak samples, %d threads, %s, GFLOPS:", p->threads, soma_bench_isa());
    for (int i = 0; i < p->n; i++)
        printf("%s%.1f", i % 16 ? " " : "\n  ", p->gflops[i]);
    printf("\npeak_gflops %.1f\nbandwidth_gbs %.1f\n", best, soma_bench_bandwidth_gbs(p->threads, 0.3));
    return best;
}

/* ---- training ---- */

typedef struct fitting {
    house_round_fn fn;
    void *user;
    double seconds, begun, samples, warm_until;
    double warm_samples;
    int64_t count;
    bool warm;
} fitting;

/* soma_fit asks several times a round; a round ends with the first question after its seconds. */
static bool ask(void *user, const soma_progress *p)
{
    fitting *f = user;
    double now = house_now(), samples = (double)p->epoch * (double)f->count + (double)p->samples;
    if (!f->warm) {
        f->warm = samples >= f->warm_samples && now >= f->warm_until;
        f->samples = samples;
        f->begun = now;
        return true;
    }
    if (now - f->begun < f->seconds)
        return true;
    bool more = f->fn(f->user, samples - f->samples, now - f->begun);
    f->samples = samples;
    f->begun = house_now();
    return more;
}

bool house_train_rounds(house_case *c, int64_t warm_steps, double seconds, house_round_fn fn, void *user)
{
    fitting f = {.fn = fn,
                 .user = user,
                 .seconds = seconds,
                 .warm_until = house_now() + 0.5,
                 .warm_samples = (double)(warm_steps * c->batch),
                 .count = soma_dataset_count(c->data)};
    soma_fit_options o = house_fit(c);
    o.on_progress = ask;
    o.user = &f;
    o.progress_seconds = seconds / 8;
    soma_status status = soma_fit_with(c->m, &o);
    if (status == SOMA_CANCELLED || status == SOMA_OK)
        return true;
    house_failed(c);
    return false;
}

/* ---- prediction ---- */

bool house_predictor_open(house_predictor *p, house_case *c)
{
    memset(p, 0, sizeof *p);
    soma_type x = soma_value_type(soma_model_input(c->m, 0)), y = soma_value_type(soma_model_output(c->m, 0));
    p->c = c;
    p->classes = y.shape.dim[1];
    x.shape.dim[0] = 1;
    p->sample = soma_shape_elements(&x.shape);
    p->count = soma_dataset_count(c->data) / c->batch * c->batch;
    if (p->count > 12800)
        p->count = 12800 / c->batch * c->batch;
    int64_t *order = malloc((size_t)p->count * sizeof *order);
    p->images = malloc((size_t)(p->count * p->sample) * sizeof *p->images);
    p->answers = malloc((size_t)(c->batch * p->classes) * sizeof *p->answers);
    bool done = order && p->images && p->answers;
    for (int64_t i = 0; done && i < p->count; i++)
        order[i] = i;
    done = done && soma_dataset_read(c->data, order, p->count, p->images, NULL) == SOMA_OK;
    free(order);
    if (!done) {
        house_failed(c);
        house_predictor_close(p);
    }
    return done;
}

void house_predictor_close(house_predictor *p)
{
    free(p->images);
    free(p->answers);
    p->images = p->answers = NULL;
}

double house_predict(house_predictor *p, double seconds)
{
    soma_shape shape = soma_value_type(soma_model_input(p->c->m, 0)).shape;
    int64_t samples = 0, batch = p->c->batch;
    shape.dim[0] = batch;
    double begun = house_now(), passed;
    do {
        soma_tensor x = {SOMA_F32, shape, p->images + p->next * p->sample};
        soma_tensor y = {SOMA_F32, SOMA_SHAPE(batch, p->classes), p->answers};
        if (soma_predict(p->c->m, &x, &y) != SOMA_OK) {
            house_failed(p->c);
            return 0;
        }
        samples += batch;
        p->next = (p->next + batch) % p->count;
        passed = house_now() - begun;
    } while (passed < seconds);
    return (double)samples / passed;
}

/* ---- subcommands train and forward: shares of the peak ---- */

typedef struct shares {
    const char *what;
    double flops; /* of one sample */
    int rounds, wanted;
    double rates[1000];
    house_peaks peaks;
} shares;

static bool end_round(void *user, double samples, double seconds)
{
    shares *s = user;
    int before = s->peaks.n;
    house_sample_peak(&s->peaks);
    double rate = samples / seconds, gflops = rate * s->flops * 1e-9;
    double peak = house_best(s->peaks.gflops + before, s->peaks.n - before);
    s->rates[s->rounds++] = rate;
    printf("%s round %2d: %10.1f samples/s %8.1f GFLOPS, %5.1f %% of the peak right after it (%.1f)\n", s->what,
           s->rounds, rate, gflops, peak > 0 ? 100 * gflops / peak : 0, peak);
    fflush(stdout);
    return s->rounds < s->wanted;
}

/* Shares: the median round against the best of all peak samples, and the fastest round against it. Samples of 10 ms
 * find a moment in which the machine is whole; a round of seconds often does not where other guests take a core away,
 * and its best is compared with the peak's best. */
static int finish(shares *s)
{
    if (s->rounds < 1)
        return 1;
    double peak = house_print_peaks(&s->peaks), fastest = house_best(s->rates, s->rounds);
    double median = house_median(s->rates, s->rounds);
    printf("%s.samples_per_second %.1f\n%s.fastest_round %.1f\n%s.gflops %.2f\n", s->what, median, s->what, fastest,
           s->what, median * s->flops * 1e-9);
    double percent = peak > 0 ? 100 * s->flops * 1e-9 / peak : 0;
    printf("%s.share %.2f\n%s.share_fastest %.2f\n", s->what, median * percent, s->what, fastest * percent);
    return 0;
}

static void begin(shares *s, const char *what, const house_case *c, const options *o, double passes)
{
    memset(s, 0, sizeof *s);
    s->what = what;
    s->flops = passes * c->kind->forward_flops;
    s->wanted = o->rounds ? (int)o->rounds : 10;
    s->peaks.threads = soma_threads(c->s);
    printf("%s %s, batch %lld, %d threads, %.0f FLOPs a sample\n", what, c->kind->name, (long long)c->batch,
           s->peaks.threads, s->flops);
    house_sample_peak(&s->peaks);
}

int house_train(const options *o)
{
    house_case c;
    shares s;
    if (!house_open(&c, o->model, o))
        return 1;
    begin(&s, "train", &c, o, 3);
    bool done = house_train_rounds(&c, o->steps ? o->steps : 50, o->seconds > 0 ? o->seconds : 1, end_round, &s);
    int code = done ? finish(&s) : 1;
    house_close(&c);
    return code;
}

int house_forward(const options *o)
{
    house_case c;
    house_predictor p;
    shares s;
    if (!house_open(&c, o->model, o))
        return 1;
    bool done = house_predictor_open(&p, &c);
    begin(&s, "forward", &c, o, 1);
    done = done && house_predict(&p, 0.5) > 0;
    for (bool more = done; more;) {
        double seconds = o->seconds > 0 ? o->seconds : 1, rate = house_predict(&p, seconds);
        done = rate > 0;
        more = done && end_round(&s, rate * seconds, seconds);
    }
    int code = done ? finish(&s) : 1;
    house_predictor_close(&p);
    house_close(&c);
    return code;
}
