/* SPDX-License-Identifier: Apache-2.0
 *
 * data/classes.c: whose class a label means. Names decide: data that know classes by other numbers than a model are
 * read through a list of the model's. Knows no models.
 */
#include "data/dataset.h"

#include "base/random.h"
#include "base/text.h"
#include "base/words.h"

#include <inttypes.h>
#include <stdio.h>

#define NAMES_SHOWN 5 /* of a list in a sentence */
#define NAME_SHOWN 60 /* bytes of a name there */
#define NOBODY (-1)

/* ---- sentences ---- */

/* Where `name` may be cut so that no character is. */
static int shown_length(const char *name)
{
    size_t n = strlen(name);
    if (n <= NAME_SHOWN)
        return (int)n;
    n = NAME_SHOWN;
    while (n && ((unsigned char)name[n] & 0xc0) == 0x80)
        n--;
    return (int)n;
}

void soma_list_name(soma_text *t, int64_t index, int64_t count, const char *name)
{
    int n = shown_length(name);
    bool last = index == count - 1;
    if (index < NAMES_SHOWN)
        soma_text_addf(t, "%s\"%.*s%s\"", !index ? "" : last ? " and " : ", ", n, name, name[n] ? "..." : "");
    else if (index == NAMES_SHOWN)
        soma_text_addf(t, " and %" PRId64 " more", count - NAMES_SHOWN);
}

/* ---- names ---- */

/* "0", "1", ...: what classes are called where nobody has named them. */
static bool only_numbers(const char *const *names, int n)
{
    char number[16];
    for (int i = 0; names && i < n; i++) {
        snprintf(number, sizeof number, "%d", i);
        if (strcmp(names[i], number))
            return false;
    }
    return true;
}

/* Open addressing: names of the model by their hash, those that are alike in the order of their numbers. */
typedef struct finder {
    const char *const *names;
    int32_t *slot; /* 1 + index; 0: empty */
    bool *taken;
    uint64_t mask;
} finder;

static uint64_t first_slot(const finder *f, const char *name)
{
    return soma_hash_text(name) & f->mask;
}

static soma_status open_finder(finder *f, soma *s, const char *const *names, int n)
{
    f->names = names;
    f->mask = 1;
    while (f->mask < 2 * (uint64_t)n)
        f->mask *= 2;
    f->slot = soma_alloc_array(s, f->mask, sizeof *f->slot);
    f->taken = soma_alloc_array(s, (size_t)n + 1, sizeof *f->taken);
    f->mask--;
    if (!f->slot || !f->taken)
        return SOMA_MEMORY;
    for (int i = 0; i < n; i++) {
        uint64_t at = first_slot(f, names[i]);
        while (f->slot[at])
            at = (at + 1) & f->mask;
        f->slot[at] = i + 1;
    }
    return SOMA_OK;
}

static void close_finder(finder *f, soma *s)
{
    soma_release(s, f->slot);
    soma_release(s, f->taken);
}

/* The first of that name that no other class of the data has taken. */
static int32_t find(const finder *f, const char *name)
{
    for (uint64_t at = first_slot(f, name); f->slot[at]; at = (at + 1) & f->mask)
        if (!f->taken[f->slot[at] - 1] && !strcmp(f->names[f->slot[at] - 1], name))
            return f->slot[at] - 1;
    return NOBODY;
}

/* map[i]: the model's number of the data's class i, or NOBODY; classes in their own place go first, because several
 * may have one name. Returns how many are nobody's, or -1: no memory. */
static int map_names(const soma_dataset *d, const char *const *names, int n, int32_t *map)
{
    soma *s = d->object.s;
    finder f = {0};
    int lost = 0;
    soma_status status = open_finder(&f, s, names, n);
    for (int i = 0; i < d->classes && status == SOMA_OK; i++) {
        map[i] = i < n && !strcmp(d->names[i], names[i]) ? i : NOBODY;
        if (map[i] >= 0)
            f.taken[i] = true;
    }
    for (int i = 0; i < d->classes && status == SOMA_OK; i++) {
        if (map[i] < 0)
            map[i] = find(&f, d->names[i]);
        if (map[i] >= 0)
            f.taken[map[i]] = true;
        lost += map[i] < 0;
    }
    close_finder(&f, s);
    return status == SOMA_OK ? lost : -1;
}

/* ---- what does not fit ---- */

typedef struct name_list {
    const char *const *names;
    int n;
} name_list;

static const char *name_at(const void *list, int index)
{
    const name_list *l = list;
    return index < l->n ? l->names[index] : NULL;
}

static soma_status refuse_names(const soma_dataset *d, const char *const *names, int n, const int32_t *map, int lost,
                                const char *what, soma_at at)
{
    soma *s = d->object.s;
    soma_text unknown = {.s = s}, known = {.s = s};
    name_list list = {names, n};
    const char *near = NULL;
    bool other_data = lost == d->classes && lost > 1; /* no misspelling */
    for (int i = 0, k = 0; i < d->classes; i++) {
        if (map[i] >= 0)
            continue;
        soma_list_name(&unknown, k++, lost, d->names[i]);
        near = near || k > NAMES_SHOWN || other_data ? near : soma_nearest(d->names[i], name_at, &list);
    }
    for (int i = 0; i < n; i++)
        soma_list_name(&known, i, n, names[i]);
    if (!unknown.failed && !known.failed)
        soma_fail(s, SOMA_INVALID, at,
                  "%s%d of the data's %d classes %s unknown to the model: %s%s%s%s; the model's classes are %s; give "
                  "classes the model's names, or leave out what it does not know",
                  what, lost, d->classes, lost == 1 ? "is" : "are", unknown.bytes, near ? " (did you mean \"" : "",
                  near ? near : "", near ? "\"?)" : "", known.bytes);
    soma_text_free(&unknown);
    soma_text_free(&known);
    return soma_error_status(s);
}

static soma_status refuse_count(const soma_dataset *d, const char *const *names, int n, const char *what, soma_at at)
{
    bool data_named = !only_numbers(d->names, d->classes), model_named = !only_numbers(names, n);
    return soma_fail(d->object.s, SOMA_INVALID, at,
                     "%sthe data has %d class%s, but the model has %d output%s%s; the numbers must agree where names "
                     "do not say which class is which output",
                     what, d->classes, d->classes == 1 ? "" : "es", n, n == 1 ? "" : "s",
                     data_named    ? ", which have no names"
                     : model_named ? " with names that the data do not have"
                                   : "");
}

/* ---- views ---- */

/* Tells once which classes are which; names [n] are the model's. */
static soma_status tell(const soma_dataset *d, const char *const *names, int n, const int32_t *map, const char *what)
{
    soma *s = d->object.s;
    soma_text text = {.s = s};
    for (int i = 0; i < d->classes && i < NAMES_SHOWN; i++)
        soma_text_addf(&text, "%s\"%.*s\" is %" PRId32, i ? ", " : "", shown_length(d->names[i]), names[map[i]],
                       map[i]);
    if (d->classes > NAMES_SHOWN)
        soma_text_add(&text, ", ...");
    if (!text.failed && text.bytes)
        soma_say(s, SOMA_LOG_INFO, "%sthe data's %d class%s %s %d of the model, by name: %s", what, d->classes,
                 d->classes == 1 ? " is" : "es are", d->classes < n ? "among the" : "in another order than the", n,
                 text.bytes);
    soma_status status = text.failed ? SOMA_MEMORY : SOMA_OK;
    soma_text_free(&text);
    return status;
}

/* The whole of d with the model's classes; labels are looked up in a list that the view owns. */
static soma_dataset *make_view(soma_dataset *d, const char *const *names, int n, const int32_t *map)
{
    soma_dataset *view = soma_dataset_part(d, 0, d->count, 0);
    int32_t *to = view ? soma_dataset_own(view, d->labels, sizeof *to) : NULL;
    for (int i = 0; to && i < d->labels; i++)
        to[i] = map[d->relabel ? d->relabel[i] : i];
    if (view) {
        view->relabel = to;
        view->classes = n;
    }
    if (to && soma_dataset_name_classes(view, names) == SOMA_OK)
        return view;
    soma_dataset_free(view);
    return NULL;
}

soma_status soma_dataset_match(soma_dataset *d, const char *const *names, int n, const char *what, soma_at at,
                               soma_dataset **view)
{
    soma *s = d->object.s;
    bool model_numbers = only_numbers(names, n), data_numbers = only_numbers(d->names, d->classes);
    *view = NULL;
    if (!names || (model_numbers && data_numbers))
        return d->classes == n || (data_numbers && d->classes < n && (names || d->counted))
                   ? SOMA_OK
                   : refuse_count(d, names, n, what, at);
    int32_t *map = soma_alloc_array(s, (size_t)d->classes, sizeof *map);
    int lost = map ? map_names(d, names, n, map) : -1;
    soma_status status = lost < 0 ? SOMA_MEMORY : SOMA_OK;
    bool same = status == SOMA_OK && d->classes == n;
    for (int i = 0; i < d->classes && same; i++)
        same = map[i] == i;
    if (lost > 0 && (model_numbers || data_numbers)) {
        status = d->classes == n ? SOMA_OK : refuse_count(d, names, n, what, at);
    } else if (lost > 0) {
        status = refuse_names(d, names, n, map, lost, what, at);
    } else if (lost == 0 && !same) {
        status = tell(d, names, n, map, what);
        *view = status == SOMA_OK ? make_view(d, names, n, map) : NULL;
        status = *view ? SOMA_OK : SOMA_MEMORY;
    }
    soma_release(s, map);
    return status;
}

soma_dataset *soma_dataset_for_classes(soma_dataset *d, const char *const *names, int n)
{
    soma_dataset *view = NULL;
    if (!d)
        return NULL;
    soma *s = d->object.s;
    for (int i = 0; names && i < n; i++)
        if (!names[i]) {
            soma_fail(s, SOMA_INVALID, soma_nowhere(), SOMA_IN_C("soma_dataset_for_classes: ") "name %d of %d is NULL",
                      i, n);
            return NULL;
        }
    if (n < 1 || !d->classes) {
        soma_fail(
            s, SOMA_INVALID, soma_nowhere(),
            d->classes
                ? SOMA_IN_C("soma_dataset_for_classes: ") "there are %d names of classes; give at least one"
                : SOMA_IN_C("soma_dataset_for_classes: ") "the targets of the data are no classes, but %d are wanted",
            n);
        return NULL;
    }
    if (soma_dataset_match(d, names, n, soma_caller(s, "soma_dataset_for_classes: "), soma_nowhere(), &view) != SOMA_OK)
        return NULL;
    return view ? view : soma_dataset_part(d, 0, d->count, 0);
}
