/* SPDX-License-Identifier: Apache-2.0
 *
 * data/split.c: some of the samples and the rest: held out for validation, or a limit. Both parts keep the order that
 * the dataset has; which samples go where depends on (seed, order of the samples) only.
 */
#include "base/words.h"
#include "base/zero.h"
#include "data/dataset.h"

#include "base/random.h"

#include <float.h>
#include <inttypes.h>
#include <math.h>

#define SPLIT_EPOCH (UINT64_MAX - 1) /* another permutation than any epoch of a loader, or a part, with the same seed */

const char *const soma_split_orders[] = {"stratified", "shuffled", "end", NULL};

/* ---- shares of classes ---- */

typedef struct shares {
    int64_t *have, *take; /* [classes]: samples, and how many of them are wanted */
    int32_t *label;       /* [count] */
    int *by_rest;         /* classes, those that lose most by rounding down first */
} shares;

static void close_shares(soma *s, shares *f)
{
    soma_release(s, f->have);
    soma_release(s, f->take);
    soma_release(s, f->label);
    soma_release(s, f->by_rest);
}

static soma_status open_shares(const soma_dataset *d, shares *f)
{
    soma *s = d->object.s;
    size_t classes = (size_t)d->classes;
    *f = (shares){.have = soma_alloc_array(s, classes, sizeof *f->have),
                  .take = soma_alloc_array(s, classes, sizeof *f->take),
                  .label = soma_alloc_array(s, (size_t)d->count, sizeof *f->label),
                  .by_rest = soma_alloc_array(s, classes, sizeof *f->by_rest)};
    if (!f->have || !f->take || !f->label || !f->by_rest) {
        close_shares(s, f);
        return SOMA_MEMORY;
    }
    for (int64_t i = 0; i < d->count; i++) {
        int64_t row = d->rows ? d->rows[i] : i;
        soma_dataset_targets(d, &row, 1, &f->label[i]);
        if (f->label[i] < 0 || f->label[i] >= d->classes)
            f->label[i] = 0; /* changed by the caller since it was opened; a step will refuse it */
        f->have[f->label[i]]++;
    }
    return SOMA_OK;
}

/* What rounding down takes from class c, times count; both below 2^31, so no product overflows. */
static int64_t rest_of(const shares *f, int c, int64_t wanted, int64_t count)
{
    return f->have[c] * wanted % count;
}

/* Heap sort: by what is lost, then by number, so that the order is one. */
static bool before(const shares *f, int a, int b, int64_t wanted, int64_t count)
{
    int64_t x = rest_of(f, a, wanted, count), y = rest_of(f, b, wanted, count);
    return x != y ? x > y : a < b;
}

static void sift(const shares *f, int from, int end, int64_t wanted, int64_t count)
{
    for (int child; (child = 2 * from + 1) < end; from = child) {
        int *at = f->by_rest;
        child += child + 1 < end && before(f, at[child], at[child + 1], wanted, count);
        if (!before(f, at[from], at[child], wanted, count))
            return;
        int swap = at[from];
        at[from] = at[child];
        at[child] = swap;
    }
}

static void sort_by_rest(const shares *f, int n, int64_t wanted, int64_t count)
{
    for (int i = 0; i < n; i++)
        f->by_rest[i] = i;
    for (int i = n / 2; i-- > 0;)
        sift(f, i, n, wanted, count);
    for (int end = n - 1; end > 0; end--) {
        int swap = f->by_rest[0];
        f->by_rest[0] = f->by_rest[end];
        f->by_rest[end] = swap;
        sift(f, 0, end, wanted, count);
    }
}

/* Largest remainders: each class gives its share rounded down, and those that lose most by it give one more, until
 * `wanted` are there; a class keeps `least` samples where it has them, and none gives another's: there may be fewer
 * than `wanted` then. */
static void apportion(shares *f, int classes, int64_t wanted, int64_t count, int64_t least)
{
    int64_t left = wanted;
    for (int c = 0; c < classes; c++) {
        f->take[c] = f->have[c] * wanted / count;
        left -= f->take[c];
    }
    sort_by_rest(f, classes, wanted, count);
    for (int i = 0; i < classes && left > 0; i++) {
        int c = f->by_rest[i];
        if (rest_of(f, c, wanted, count) > 0 && f->take[c] + 1 <= f->have[c] - least) {
            f->take[c]++;
            left--;
        }
    }
}

/* ---- parts ---- */

/* The samples that have this mark, as rows of the dataset's own. */
static int64_t *pick(soma_dataset *part, const soma_dataset *d, const bool *mark, bool value, int64_t n)
{
    int64_t *rows = soma_dataset_own(part, n, sizeof *rows);
    for (int64_t i = 0, k = 0; rows && i < d->count; i++)
        if (mark[i] == value)
            rows[k++] = d->rows ? d->rows[i] : i;
    return rows;
}

static soma_dataset *marked_part(soma_dataset *d, const bool *mark, bool value, int64_t n)
{
    soma_dataset *part = soma_dataset_part(d, 0, d->count, 0);
    int64_t *rows = part ? pick(part, d, mark, value, n) : NULL;
    if (!rows) {
        soma_dataset_free(part);
        return NULL;
    }
    part->rows = rows;
    part->count = n;
    return part;
}

/* Marks what is held out, at most `held` samples; returns how many are, or -1: no memory. */
static int64_t mark_held(const soma_dataset *d, bool stratified, uint64_t seed, int64_t held, bool *mark)
{
    soma *s = d->object.s;
    shares f = {0};
    int64_t *order = soma_alloc_array(s, (size_t)d->count, sizeof *order), marked = 0;
    if (!order || (stratified && open_shares(d, &f) != SOMA_OK)) {
        soma_release(s, order);
        return -1;
    }
    soma_shuffle(&s->random, seed, SPLIT_EPOCH, order, d->count);
    if (stratified)
        apportion(&f, d->classes, held, d->count, 1);
    for (int64_t i = 0; i < d->count && marked < held; i++) {
        int64_t at = order[i];
        mark[at] = !stratified || f.take[f.label[at]]-- > 0;
        marked += mark[at];
    }
    close_shares(s, &f);
    soma_release(s, order);
    return marked;
}

static soma_status check_split(const soma_dataset *d, double share, const char *order, const char *what, soma_at at)
{
    soma *s = d->object.s;
    char text[32];
    if (!(share > 0 && share < 1))
        return soma_fail(s, SOMA_INVALID, at, "%sthe share is %s; it must be above 0 and below 1", what,
                         soma_format_f64(share, text));
    if (!soma_one_of(order, soma_split_orders)) {
        const char *near = soma_nearest_of(order, soma_split_orders);
        return soma_fail(s, SOMA_INVALID, at,
                         "%sthe order \"%s\" is unknown; known are \"stratified\", \"shuffled\" and "
                         "\"end\"%s%s%s",
                         what, order, near ? "; did you mean \"" : "", near ? near : "", near ? "\"?" : "");
    }
    if (!strcmp(order, "stratified") && !d->classes)
        return soma_fail(s, SOMA_INVALID, at,
                         "%s\"stratified\" keeps the shares of classes, but the targets are no "
                         "classes; use \"shuffled\"",
                         what);
    if (!strcmp(order, "stratified") && d->count > INT32_MAX)
        return soma_fail(s, SOMA_UNSUPPORTED, at,
                         "%s%" PRId64 " samples are too many for \"stratified\", which takes 2^31; use "
                         "\"shuffled\"",
                         what, d->count);
    return SOMA_OK;
}

static soma_status split_marked(soma_dataset *d, bool stratified, uint64_t seed, int64_t held, const char *what,
                                soma_at at, soma_dataset **rest, soma_dataset **held_out)
{
    soma *s = d->object.s;
    bool *mark = soma_alloc_array(s, (size_t)d->count, sizeof *mark);
    int64_t marked = mark ? mark_held(d, stratified, seed, held, mark) : -1;
    if (marked == 0)
        soma_fail(s, SOMA_DATA, at,
                  "%seach of the %d classes keeps a sample for training, so none of the %" PRId64
                  " samples can be held out; use \"shuffled\", or more samples a class",
                  what, d->classes, d->count);
    if (marked > 0) {
        *rest = marked_part(d, mark, false, d->count - marked);
        *held_out = marked_part(d, mark, true, marked);
    }
    soma_release(s, mark);
    return marked > 0 && *rest && *held_out ? SOMA_OK : soma_error_status(s);
}

/* Samples for training. Of samples in an order as Keras rounds, which keeps 1 of 20 at a share of 0.9; otherwise what
 * the share's digits say, 2. */
static int64_t kept(int64_t count, double share, const char *order)
{
    double n = (double)count;
    if (!strcmp(order, "end"))
        return (int64_t)(n * (1 - share));
    return count - (int64_t)ceil(n * share * (1 - 4 * DBL_EPSILON));
}

soma_status soma_dataset_hold_out(soma_dataset *d, double share, const char *order, uint64_t seed, const char *what,
                                  soma_at at, soma_dataset **rest, soma_dataset **held_out)
{
    soma *s = d->object.s;
    order = order ? order : d->classes ? "stratified" : "shuffled";
    *rest = *held_out = NULL;
    soma_status status = check_split(d, share, order, what, at);
    if (status != SOMA_OK)
        return status;
    int64_t train = kept(d->count, share, order), held = d->count - train;
    if (train < 1 || held < 1) {
        char text[32];
        return soma_fail(s, SOMA_INVALID, at,
                         "%sthe share %s leaves %" PRId64 " of %" PRId64
                         " samples for training; both parts need at least one",
                         what, soma_format_f64(share, text), train, d->count);
    }
    if (!strcmp(order, "end")) {
        *rest = soma_dataset_part(d, 0, train, 0);
        *held_out = soma_dataset_part(d, train, held, 0);
        status = *rest && *held_out ? SOMA_OK : soma_error_status(s);
    } else {
        status = split_marked(d, !strcmp(order, "stratified"), seed, held, what, at, rest, held_out);
    }
    if (status != SOMA_OK) {
        soma_dataset_free(*rest);
        soma_dataset_free(*held_out);
        *rest = *held_out = NULL;
    }
    return status;
}

soma_status soma_dataset_split(soma_dataset *d, double share, const char *order, uint64_t seed, soma_dataset **rest,
                               soma_dataset **held_out)
{
    if (!d || !rest || !held_out)
        return SOMA_INVALID;
    return soma_dataset_hold_out(d, soma_plain(share), order, seed, soma_caller(d->object.s, "soma_dataset_split: "),
                                 soma_nowhere(), rest, held_out);
}

/* ---- limits ---- */

soma_status soma_dataset_limit(soma_dataset *d, int64_t limit)
{
    soma *s = d->object.s;
    shares f;
    if (limit >= d->count)
        return SOMA_OK;
    if (!d->classes || d->count > INT32_MAX) {
        d->count = limit;
        return SOMA_OK;
    }
    int64_t *rows = soma_dataset_own(d, limit, sizeof *rows);
    if (!rows || open_shares(d, &f) != SOMA_OK)
        return SOMA_MEMORY;
    apportion(&f, d->classes, limit, d->count, 0);
    for (int64_t i = 0, k = 0; i < d->count; i++)
        if (f.take[f.label[i]]-- > 0)
            rows[k++] = d->rows ? d->rows[i] : i;
    close_shares(s, &f);
    d->rows = rows;
    d->count = limit;
    return SOMA_OK;
}
