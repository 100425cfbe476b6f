/* SPDX-License-Identifier: Apache-2.0
 *
 * data/dataset.h: a dataset's inside, for the files of this folder. Knows no models and no batches.
 */
#ifndef SOMA_DATA_DATASET_H
#define SOMA_DATA_DATASET_H

#include "base/context.h"

#include <soma/data.h>
#include <string.h>

/* Writes samples index[0 .. n-1], which are in range; may be called from several loader threads at once. reason: a
 * sentence on failure, SOMA_DATA_REASON bytes. */
#define SOMA_DATA_REASON 512
typedef soma_status (*soma_dataset_read_fn)(const soma_dataset *d, const int64_t *index, int64_t n, void *x, void *y,
                                            char *reason);

typedef struct soma_scale {
    int channels;     /* 1: a and b [0] are for all elements */
    int64_t plane;    /* elements of a channel */
    float a[4], b[4]; /* y = x * a + b */
    bool identity;    /* a is 1, b is 0 */
} soma_scale;

struct soma_dataset {
    soma_object object;
    int references;       /* the caller's, and one of each part or loader that reads these bytes */
    soma_dataset *parent; /* whose bytes a part shares */
    soma_type input, target;
    bool has_target;
    int64_t count;
    const void *x, *y; /* row 0; rows are contiguous */
    soma_dtype x_dtype, y_dtype;
    int64_t x_row, y_row;     /* elements of a row */
    const int64_t *rows;      /* sample i is row rows[i]; NULL: row i */
    soma_transform transform; /* resolved */
    soma_scale scale;
    int classes;
    const char *const *names;
    soma_dataset_read_fn read;
    void *owned[4]; /* memory of the context, freed with the dataset */
    uint64_t bytes; /* of `owned` */
};

/* An empty dataset with one reference, not yet among the context's objects; NULL: no memory. */
soma_dataset *soma_dataset_make(soma *s);
/* n * size bytes that the dataset owns; NULL: no memory. */
void *soma_dataset_own(soma_dataset *d, int64_t n, size_t size);
/* The dataset frees this block of the context, which holds `bytes`. */
void soma_dataset_adopt(soma_dataset *d, void *block, uint64_t bytes);
/* Gives back one reference; the last one frees. */
void soma_dataset_drop(soma_dataset *d);
/* Checks the data against the options, resolves the transform, names the classes, and lets the context own it. On
 * failure the dataset is freed and NULL returned. count, x, y, types, rows' sizes are set; n_classes 0: from the
 * labels. */
soma_dataset *soma_dataset_finish(soma_dataset *d, soma_at at, const soma_transform *transform,
                                  const char *const *names, int n_classes);
/* The reader of everything that lies in memory. */
soma_status soma_dataset_read_memory(const soma_dataset *d, const int64_t *index, int64_t n, void *x, void *y,
                                     char *reason);

/* Options of a caller whose struct may be shorter than ours (older headers): mine is zero. */
static inline void soma_data_options(void *mine, size_t size, const void *given)
{
    size_t theirs = 0;
    if (given)
        memcpy(&theirs, given, sizeof theirs);
    if (theirs)
        memcpy(mine, given, theirs < size ? theirs : size);
}

#endif
