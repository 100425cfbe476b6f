/* SPDX-License-Identifier: Apache-2.0
 *
 * house_compare.c: soma beside FANN and PyTorch in alternating rounds of one run: subcommands fixed and peers.
 */
#include "house.h"

#include <math.h>
#include <string.h>

#define ROUNDS 1000

/* ---- fixed: a step alone, through soma_fit, and FANN's ---- */

typedef struct fixed {
    house_case alone;
    soma_trainer *trainer;
    house_peer fann;
    bool has_fann, failed;
    double seconds;
    int rounds, wanted;
    double step[ROUNDS], fit[ROUNDS], peer[ROUNDS];
    int64_t batch;
} fixed;

/* Microseconds of one soma_step on a loaded batch. */
static double time_steps(soma_program *p, double seconds)
{
    int64_t steps = 0;
    double begun = house_now(), passed;
    do {
        for (int i = 0; i < 1000; i++)
            if (soma_step(p) != SOMA_OK)
                return NAN;
        steps += 1000;
        passed = house_now() - begun;
    } while (passed < seconds);
    return 1e6 * passed / (double)steps;
}

static bool fixed_round(void *user, double samples, double seconds)
{
    fixed *f = user;
    house_result results[HOUSE_VARIANTS];
    f->fit[f->rounds] = 1e6 * seconds * (double)f->batch / samples;
    f->step[f->rounds] = time_steps(soma_trainer_program(f->trainer), f->seconds);
    if (f->has_fann && house_peer_run(&f->fann, f->seconds, results) != 1)
        f->failed = true;
    f->peer[f->rounds] = f->has_fann && !f->failed ? results[0].us : NAN;
    f->failed = f->failed || isnan(f->step[f->rounds]);
    printf("  %3d: %8.4f us alone  %8.4f us through soma_fit  %8.4f us FANN\n", f->rounds + 1, f->step[f->rounds],
           f->fit[f->rounds], f->peer[f->rounds]);
    f->rounds++;
    return !f->failed && f->rounds < f->wanted;
}

static void fixed_print(fixed *f, const char *name)
{
    double step = house_median(f->step, f->rounds), fit = house_median(f->fit, f->rounds);
    printf("%s.step_us %.4f\n%s.step_us_fastest %.4f\n%s.fit_us %.4f\n%s.fit_more_us %.4f\n", name, step, name,
           f->step[0], name, fit, name, fit - step);
    if (!f->has_fann)
        return;
    double fann = house_median(f->peer, f->rounds);
    printf("%s.fann_us %.4f\n%s.fann_ratio %.3f\n%s.fann_ratio_fit %.3f\n", name, fann, name, fann / step, name,
           fann / fit);
}

int house_fixed(const options *o)
{
    static fixed f;
    house_case c;
    house_peaks peaks = {.threads = 1};
    if (!house_open(&c, o->model, o))
        return 1;
    f = (fixed){
        .seconds = o->seconds > 0 ? o->seconds : 0.2, .wanted = o->rounds ? (int)o->rounds : 11, .batch = c.batch};
    int peer = o->fann ? house_peer_open(&f.fann, o->fann) : 77;
    f.has_fann = peer == 0;
    printf("%s, batch %lld, %d thread(s), us per step:\n", c.kind->name, (long long)c.batch, soma_threads(c.s));
    bool done = peer != 1 && house_open(&f.alone, o->model, o);
    if (done) {
        soma_fit_options fit = house_fit(&f.alone);
        f.trainer = soma_trainer_new_with(f.alone.m, &fit);
        done = f.trainer && soma_next(f.trainer) == SOMA_OK && soma_trainer_step(f.trainer) == SOMA_OK;
        house_failed(&f.alone);
    }
    house_sample_peak(&peaks);
    done = done && house_train_rounds(&c, 2000, f.seconds, fixed_round, &f) && !f.failed;
    house_sample_peak(&peaks);
    if (done) {
        house_print_peaks(&peaks);
        fixed_print(&f, c.kind->name);
    }
    house_peer_close(&f.fann);
    house_close(&f.alone);
    house_close(&c);
    return done ? 0 : 1;
}

/* ---- peers: soma and each peer's variants in turn ---- */

typedef struct variant {
    char name[96];
    double rates[ROUNDS];
} variant;

typedef struct comparison {
    house_peer peers[4];
    char labels[4][32];
    int n_peers, n_variants, rounds, wanted;
    variant variants[4 * HOUSE_VARIANTS];
    double soma[ROUNDS], seconds;
    house_peaks peaks;
    bool failed;
} comparison;

static bool compare_round(void *user, double samples, double seconds)
{
    comparison *k = user;
    house_result results[HOUSE_VARIANTS];
    int at = 0;
    k->soma[k->rounds] = samples / seconds;
    fprintf(stderr, "round %d: soma %.1f samples/s\n", k->rounds + 1, k->soma[k->rounds]);
    house_sample_peak(&k->peaks);
    for (int i = 0; i < k->n_peers && !k->failed; i++) {
        int n = house_peer_run(&k->peers[i], k->seconds, results);
        k->failed = n < 0;
        for (int v = 0; v < n; v++, at++) {
            variant *to = &k->variants[at];
            snprintf(to->name, sizeof to->name, "%.28s %.60s", k->labels[i], results[v].variant);
            to->rates[k->rounds] = results[v].rate;
            fprintf(stderr, "         %s %.1f\n", to->name, results[v].rate);
        }
    }
    k->n_variants = at;
    k->rounds++;
    return !k->failed && k->rounds < k->wanted;
}

static bool open_peers(comparison *k, const options *o)
{
    for (int i = 0; i < o->n_peers; i++) {
        const char *equal = strchr(o->peers[i], '=');
        char *label = k->labels[k->n_peers];
        snprintf(label, sizeof k->labels[0], "%.*s", (int)(equal - o->peers[i]), o->peers[i]);
        int code = house_peer_open(&k->peers[k->n_peers], equal + 1);
        if (code == 77)
            printf("skipped %s\n", label);
        else if (code)
            return false;
        else
            k->n_peers++;
    }
    return true;
}

/* Best variant of each peer by its median, and by its fastest round, which is the machine's when nothing else runs on
 * it. */
static void compare_print(comparison *k, const char *name)
{
    double mine = house_median(k->soma, k->rounds), mine_at_best = house_best(k->soma, k->rounds);
    double best_of_all = 0, fastest_of_all = 0;
    printf("  %-40s %10.1f samples/s, fastest %10.1f\n", "soma", mine, mine_at_best);
    for (int i = 0; i < k->n_peers; i++) {
        double best = 0, fastest = 0;
        for (int v = 0; v < k->n_variants; v++) {
            size_t length = strlen(k->labels[i]);
            if (strncmp(k->variants[v].name, k->labels[i], length) || k->variants[v].name[length] != ' ')
                continue;
            double median = house_median(k->variants[v].rates, k->rounds);
            double at_best = house_best(k->variants[v].rates, k->rounds);
            printf("  %-40s %10.1f samples/s, fastest %10.1f  soma is %.2f times as fast, %.2f by the fastest\n",
                   k->variants[v].name, median, at_best, mine / median, mine_at_best / at_best);
            best = fmax(best, median);
            fastest = fmax(fastest, at_best);
        }
        if (best > 0)
            printf("%s.ratio.%s %.3f\n%s.ratio_fastest.%s %.3f\n", name, k->labels[i], mine / best, name, k->labels[i],
                   mine_at_best / fastest);
        best_of_all = fmax(best_of_all, best);
        fastest_of_all = fmax(fastest_of_all, fastest);
    }
    if (best_of_all > 0)
        printf("%s.ratio.best %.3f\n%s.ratio_fastest.best %.3f\n", name, mine / best_of_all, name,
               mine_at_best / fastest_of_all);
    printf("%s.samples_per_second %.1f\n", name, mine);
}

static bool compare(comparison *k, house_case *c, const options *o)
{
    bool tiny = c->kind->tiny;
    k->seconds = o->seconds > 0 ? o->seconds : tiny ? 0.3 : 1;
    k->wanted = o->rounds ? (int)o->rounds : 5;
    k->peaks.threads = soma_threads(c->s);
    if (strcmp(o->mode, "predict")) /* Adam's denormals come after a thousand steps: measured past 2,000 */
        return house_train_rounds(c, o->steps ? o->steps : 50, k->seconds, compare_round, k) && !k->failed;
    house_predictor p;
    bool done = house_predictor_open(&p, c);
    for (bool more = done && house_predict(&p, 0.5) > 0; more;) {
        double rate = house_predict(&p, k->seconds);
        more = rate > 0 && compare_round(k, rate * k->seconds, k->seconds);
        done = rate > 0;
    }
    house_predictor_close(&p);
    return done && !k->failed;
}

int house_peers(const options *o)
{
    static comparison k;
    house_case c;
    memset(&k, 0, sizeof k);
    if (!open_peers(&k, o))
        return 1;
    if (!house_open(&c, o->model, o))
        return 1;
    printf("%s %s, batch %lld, %d thread(s), medians of %d rounds in turn\n", c.kind->name, o->mode, (long long)c.batch,
           soma_threads(c.s), o->rounds ? (int)o->rounds : 5);
    bool done = compare(&k, &c, o);
    if (done) {
        char name[64];
        snprintf(name, sizeof name, "%s.%s", c.kind->name, o->mode);
        house_print_peaks(&k.peaks);
        compare_print(&k, name);
    }
    for (int i = 0; i < k.n_peers; i++)
        house_peer_close(&k.peers[i]);
    house_close(&c);
    return done ? 0 : 1;
}
