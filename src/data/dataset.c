/* SPDX-License-Identifier: Apache-2.0
 *
 * data/dataset.c: datasets whose samples lie in memory: their life, parts, classes and how inputs are made. Knows
 * no file formats.
 */
#include "data/dataset.h"

#include "base/random.h"
#include "base/size.h"
#include "base/words.h"

#include <inttypes.h>
#include <stdio.h>

#define CLASSES_MAX (1 << 20) /* labels beyond are taken for a mistake; names have at most 7 digits */
#define PART_EPOCH UINT64_MAX /* parts draw from another permutation than any epoch of a loader with the same seed */

/* ---- life ---- */

soma_dataset *soma_dataset_make(soma *s)
{
    soma_dataset *d = soma_alloc(s, sizeof *d);
    if (!d)
        return NULL;
    d->object.s = s;
    d->references = 1;
    d->read = soma_dataset_read_memory;
    return d;
}

void soma_dataset_adopt(soma_dataset *d, void *block, uint64_t bytes)
{
    int i = 0;
    while (d->owned[i])
        i++;
    d->owned[i] = block;
    d->bytes += bytes;
}

void *soma_dataset_own(soma_dataset *d, int64_t n, size_t size)
{
    void *block = soma_alloc_array(d->object.s, (size_t)n, size);
    if (block)
        soma_dataset_adopt(d, block, (uint64_t)n * size);
    return block;
}

soma_dataset *soma_dataset_hold(soma_dataset *d)
{
    if (d)
        d->references++;
    return d;
}

void soma_dataset_drop(soma_dataset *d)
{
    while (d && --d->references == 0) {
        soma *s = d->object.s;
        soma_dataset *parent = d->parent;
        for (size_t i = 0; i < sizeof d->owned / sizeof *d->owned; i++)
            soma_release(s, d->owned[i]);
        soma_release(s, d);
        d = parent;
    }
}

static void destroy(soma_object *object)
{
    soma_dataset_drop((soma_dataset *)object);
}

void soma_dataset_free(soma_dataset *d)
{
    if (!d)
        return;
    soma_object_remove(&d->object);
    soma_dataset_drop(d);
}

/* ---- from samples to inputs ---- */

/* Pictures [C, H, W] may be moved; other data have a scale only. */
static soma_status resolve_framing(soma_dataset *d, soma_at at, const soma_transform *transform,
                                   const soma_augment *augment)
{
    soma *s = d->object.s;
    soma_framing *f = &d->framing;
    soma_shape *shape = &d->input.shape;
    double natural = d->x_dtype == SOMA_U8 ? 1.0 / 255 : 1;
    *f = (soma_framing){.transform = *transform, .augment = *augment};
    f->channels = shape->rank < 2 ? 1 : shape->dim[0];
    if (shape->rank == 3) {
        int64_t height = shape->dim[1], width = shape->dim[2];
        soma_status status = soma_framing_resolve(s, at, f, natural, height, width);
        if (status)
            return status;
        d->source[0] = height;
        d->source[1] = width;
        d->moves = soma_framing_moves(f, height, width);
        if (transform->invert && d->x_dtype != SOMA_U8)
            return soma_fail(s, SOMA_INVALID, at,
                             "the transform's invert is for pictures in bytes (255 - x), but these data are numbers");
        d->augments = soma_augments(augment);
        shape->dim[1] = f->height;
        shape->dim[2] = f->width;
        d->row = f->channels * f->height * f->width;
        return SOMA_OK;
    }
    if (transform->resize[0] || transform->crop[0] || transform->bgr || transform->invert || soma_augments(augment))
        return soma_fail(
            s, SOMA_INVALID, at,
            "resize, crop, bgr, invert and augmentation are for pictures [C, H, W], but a sample of the data has "
            "%d dimensions",
            shape->rank);
    d->row = d->x_row;
    return soma_scale_resolve(s, at, &f->transform, f->channels, d->x_row / f->channels, natural, &f->scale);
}

/* ---- classes ---- */

static int count_names(const char *const *names)
{
    int n = 0;
    while (names && names[n])
        n++;
    return n;
}

/* 1 + the largest label. */
static soma_status count_classes(soma_dataset *d, soma_at at, int *classes)
{
    const uint8_t *bytes = d->y;
    const int32_t *words = d->y;
    *classes = 1;
    for (int64_t i = 0; i < d->count; i++) {
        int32_t label = d->y_dtype == SOMA_U8 ? bytes[i] : words[i];
        if (label < 0 || label >= CLASSES_MAX)
            return soma_fail(d->object.s, SOMA_DATA, at,
                             "the label of sample %" PRId64 " is %" PRId32 "; classes count from 0 to %d", i, label,
                             CLASSES_MAX - 1);
        *classes = label >= *classes ? label + 1 : *classes;
    }
    return SOMA_OK;
}

/* One block: pointers, then the texts. */
soma_status soma_dataset_name_classes(soma_dataset *d, const char *const *names)
{
    size_t n = (size_t)d->classes, pointers = n * sizeof(char *), texts = n * 8;
    if (names) {
        texts = 0;
        for (size_t i = 0; i < n; i++)
            texts += strlen(names[i]) + 1;
    }
    char *block = soma_dataset_own(d, (int64_t)(pointers + texts), 1);
    if (!block)
        return SOMA_MEMORY;
    char *text = block + pointers;
    const char **list = (const char **)(void *)block;
    for (size_t i = 0; i < n; i++) {
        list[i] = text;
        if (names) {
            memcpy(text, names[i], strlen(names[i]) + 1);
            text += strlen(names[i]) + 1;
        } else {
            snprintf(text, 8, "%u", (unsigned)i % CLASSES_MAX);
            text += 8;
        }
    }
    d->names = list;
    return SOMA_OK;
}

static soma_status resolve_classes(soma_dataset *d, soma_at at, const char *const *names, int n_classes)
{
    soma *s = d->object.s;
    int seen = 0, named = count_names(names);
    if (!d->has_target || d->y_dtype == SOMA_F32) {
        if (named || n_classes)
            return soma_fail(s, SOMA_INVALID, at,
                             "classes are given, but the targets are %s; classes need targets [samples] of i32",
                             d->has_target ? "numbers (f32)" : "absent");
        return SOMA_OK;
    }
    soma_status status = count_classes(d, at, &seen);
    if (status)
        return status;
    if (n_classes < 0 || n_classes > CLASSES_MAX || (n_classes && named && named != n_classes))
        return soma_fail(s, SOMA_INVALID, at,
                         "n_classes is %d, with %d names of classes; it must be the number of names, or 0", n_classes,
                         named);
    d->classes = named ? named : n_classes ? n_classes : seen;
    if (d->classes > CLASSES_MAX || seen > d->classes)
        return soma_fail(s, SOMA_DATA, at, "there are %d classes, but a label is %d; classes count from 0", d->classes,
                         seen - 1);
    for (int i = 0; i < named; i++)
        if (!soma_is_utf8(names[i]))
            return soma_fail(
                s, SOMA_DATA, at,
                "the name of class %d, \"%.200s\", is not UTF-8, which model files ask for; rename it (a folder, or "
                "in the list of names)",
                i, names[i]);
    d->labels = d->classes;
    d->counted = !named && !n_classes;
    return soma_dataset_name_classes(d, named ? names : NULL);
}

soma_dataset *soma_dataset_finish(soma_dataset *d, soma_at at, const soma_transform *transform,
                                  const soma_augment *augment, const char *const *names, int n_classes)
{
    if (resolve_framing(d, at, transform, augment) || resolve_classes(d, at, names, n_classes)) {
        soma_dataset_drop(d);
        return NULL;
    }
    soma_object_add(d->object.s, &d->object, destroy);
    return d;
}

/* ---- arrays of the caller ---- */

/* [samples, ...] -> elements of a sample; 0: a sentence was said. */
static int64_t check_array(soma *s, soma_at at, const char *name, const soma_tensor *t)
{
    int64_t elements = t->data && t->shape.rank >= 1 && t->shape.rank <= SOMA_MAX_RANK ? soma_shape_elements(&t->shape)
                                                                                       : 0;
    if (!elements)
        soma_fail(s, SOMA_INVALID, at,
                  SOMA_IN_C("soma_dataset_arrays: ") "%s must have data and a shape [samples, ...] of 1 to %d "
                                                     "dimensions, each at least 1",
                  name, SOMA_MAX_RANK);
    return elements ? elements / t->shape.dim[0] : 0;
}

static soma_shape sample_shape(const soma_shape *shape)
{
    soma_shape sample = {.rank = shape->rank - 1};
    for (int i = 0; i < sample.rank; i++)
        sample.dim[i] = shape->dim[i + 1];
    return sample;
}

static soma_status take_arrays(soma_dataset *d, const soma_arrays_options *o)
{
    soma *s = d->object.s;
    d->x_row = check_array(s, o->at, "x", &o->x);
    if (!d->x_row)
        return SOMA_INVALID;
    if (o->x.dtype != SOMA_F32 && o->x.dtype != SOMA_U8)
        return soma_fail(s, SOMA_INVALID, o->at, SOMA_IN_C("soma_dataset_arrays: ") "x is %s; it must be f32 or u8",
                         soma_dtype_name(o->x.dtype));
    d->x = o->x.data;
    d->x_dtype = o->x.dtype;
    d->count = o->x.shape.dim[0];
    d->input = (soma_type){SOMA_F32, sample_shape(&o->x.shape)};
    d->has_target = o->y.data != NULL;
    if (!d->has_target)
        return SOMA_OK;
    d->y_row = check_array(s, o->at, "y", &o->y);
    if (!d->y_row)
        return SOMA_INVALID;
    if (o->y.shape.dim[0] != d->count)
        return soma_fail(s, SOMA_INVALID, o->at,
                         SOMA_IN_C("soma_dataset_arrays: ") "x has %" PRId64 " samples and y %" PRId64
                                                            "; each sample needs one target",
                         d->count, o->y.shape.dim[0]);
    if (o->y.dtype != SOMA_F32 && (o->y.dtype != SOMA_I32 || o->y.shape.rank != 1))
        return soma_fail(s, SOMA_INVALID, o->at,
                         SOMA_IN_C("soma_dataset_arrays: ") "y is %s of %d dimensions; it must be i32 [samples] "
                                                            "(classes) or f32 [samples, ...]",
                         soma_dtype_name(o->y.dtype), o->y.shape.rank);
    d->y = o->y.data;
    d->y_dtype = o->y.dtype;
    d->target = (soma_type){o->y.dtype, sample_shape(&o->y.shape)};
    return SOMA_OK;
}

SOMA_TABLE(soma_arrays_options) = {
    SOMA_OTHER(soma_arrays_options, x, .doc = "[samples, ...] f32 or u8, which must outlive the data"),
    SOMA_OTHER(soma_arrays_options, y, .doc = "[samples] i32 classes, or [samples, ...] f32; without data: no targets"),
    SOMA_OTHER(soma_arrays_options, transform, .doc = "how samples become inputs"),
    SOMA_OTHER(soma_arrays_options, augment, .doc = "what is drawn for each sample while training"),
    SOMA_OTHER(soma_arrays_options, classes, .doc = "names, NULL-terminated; without it numbers"),
    SOMA_OTHER(soma_arrays_options, n_classes, .doc = "without it from the labels"),
    SOMA_FIELDS_END};

soma_dataset *soma_dataset_arrays_with(soma *s, const soma_arrays_options *given)
{
    soma_arrays_options o;
    if (!s || SOMA_TAKE(s, "soma_dataset_arrays", soma_arrays_options, given, &o))
        return NULL;
    soma_dataset *d = soma_dataset_make(s);
    if (!d)
        return NULL;
    if (take_arrays(d, &o)) {
        soma_dataset_drop(d);
        return NULL;
    }
    return soma_dataset_finish(d, o.at, &o.transform, &o.augment, o.classes, o.n_classes);
}

/* ---- parts ---- */

/* rows[first .. first + count - 1] of the shuffled order. */
static soma_status shuffle_part(soma_dataset *part, const soma_dataset *d, int64_t first, uint64_t seed)
{
    soma *s = d->object.s;
    int64_t *order = soma_alloc_array(s, (size_t)d->count, sizeof *order);
    int64_t *rows = order ? soma_dataset_own(part, part->count, sizeof *rows) : NULL;
    if (rows) {
        soma_shuffle(&s->random, seed, PART_EPOCH, order, d->count);
        for (int64_t i = 0; i < part->count; i++)
            rows[i] = d->rows ? d->rows[order[first + i]] : order[first + i];
        part->rows = rows;
    }
    soma_release(s, order);
    return rows ? SOMA_OK : SOMA_MEMORY;
}

soma_dataset *soma_dataset_part(soma_dataset *d, int64_t first, int64_t count, uint64_t seed)
{
    if (!d)
        return NULL;
    soma *s = d->object.s;
    if (first < 0 || count < 1 || first > d->count || count > d->count - first) {
        soma_fail(s, SOMA_INVALID, soma_nowhere(),
                  SOMA_IN_C("soma_dataset_part: ") "samples %" PRId64 " and the %" PRId64
                                                   " from there on are not within the %" PRId64
                                                   " of the dataset, or none",
                  first, count, d->count);
        return NULL;
    }
    soma_dataset *part = soma_dataset_make(s);
    if (!part)
        return NULL;
    soma_object object = part->object;
    *part = *d;
    part->object = object;
    part->references = 1;
    part->parent = d;
    memset(part->owned, 0, sizeof part->owned);
    part->bytes = 0;
    part->count = count;
    soma_dataset_hold(d);
    if (seed) {
        if (shuffle_part(part, d, first, seed)) {
            soma_dataset_drop(part);
            return NULL;
        }
    } else if (d->rows) {
        part->rows = d->rows + first;
    } else {
        if (d->x)
            part->x = (const char *)d->x + (size_t)(first * d->x_row) * soma_dtype_size(d->x_dtype);
        if (d->files)
            part->files = d->files + first;
        if (d->has_target)
            part->y = (const char *)d->y + (size_t)(first * d->y_row) * soma_dtype_size(d->y_dtype);
    }
    soma_object_add(s, &part->object, destroy);
    return part;
}
