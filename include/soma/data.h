/* SPDX-License-Identifier: Apache-2.0
 *
 * soma/data.h: datasets (random access to samples), loaders (a dataset seen as shuffled batches), pictures.
 * Knows no models: a loader writes into whatever memory it is given.
 */
#ifndef SOMA_DATA_H
#define SOMA_DATA_H

#include <soma/tensor.h>

#ifdef __cplusplus
extern "C" {
#endif

/** Samples of one input and one target each. Freed by soma_dataset_free or with its context. */
typedef struct soma_dataset soma_dataset;

/** What is done to raw input elements: (x * scale - mean[c]) / deviation[c], c the channel (first dimension). */
typedef struct soma_transform {
    double scale;        /**< 0: 1/255 for u8 input, 1 otherwise */
    double mean[4];      /**< per channel; one channel given: for all */
    double deviation[4]; /**< 0: 1 */
} soma_transform;

typedef struct soma_dataset_options {
    size_t struct_size;
    soma_at at;
    const char *path;
    const char *format; /**< "idx"; NULL: from the path */
    const char *split;  /**< folder of IDX files: "train" (default) or "test" (t10k) */
    const char *labels; /**< path of the labels; NULL: beside the images, by MNIST's names */
    soma_transform transform;
    const char *const *classes; /**< names, NULL-terminated; NULL: "0", "1", ... (fashion-mnist: its own) */
    int64_t limit;              /**< use the first `limit` samples; 0: all */
} soma_dataset_options;

/** Opens a dataset: an IDX image file (plain or .gz), or a folder with MNIST's four files.
 *  u8 images become f32 [1, H, W] (or [C, H, W] for 4-dimensional files), labels i32. */
SOMA_API soma_dataset *soma_dataset_open_with(soma *s, const soma_dataset_options *o);
/** soma_dataset_open(s, "fashion-mnist", .split = "test") */
#define soma_dataset_open(s, ...) soma_dataset_open_with(s, SOMA_OPTIONS(soma_dataset_options, .path = __VA_ARGS__))

typedef struct soma_arrays_options {
    size_t struct_size;
    soma_at at;
    soma_tensor x; /**< [samples, ...] f32 or u8; borrowed: must outlive the dataset */
    soma_tensor y; /**< [samples] i32 classes, or [samples, ...] f32; data NULL: no targets */
    soma_transform transform;
    const char *const *classes;
    int n_classes; /**< 0: from the labels */
} soma_arrays_options;
SOMA_API soma_dataset *soma_dataset_arrays_with(soma *s, const soma_arrays_options *o);
#define soma_dataset_arrays(s, ...) soma_dataset_arrays_with(s, SOMA_OPTIONS(soma_arrays_options, __VA_ARGS__))

/** Samples first .. first + count - 1 of the order that `seed` shuffles (seed 0: the dataset's own order) as a dataset
 *  that shares the bytes. */
SOMA_API soma_dataset *soma_dataset_part(soma_dataset *d, int64_t first, int64_t count, uint64_t seed);
SOMA_API void soma_dataset_free(soma_dataset *d);

SOMA_API int64_t soma_dataset_count(const soma_dataset *d);
/** Type of one input and one target as the loader writes them, without the batch; target of no rank and dtype i32: a class. */
SOMA_API soma_type soma_dataset_input(const soma_dataset *d);
SOMA_API soma_type soma_dataset_target(const soma_dataset *d);
SOMA_API bool soma_dataset_has_target(const soma_dataset *d);
/** Number of classes, 0 where targets are not classes; and their names. */
SOMA_API int soma_dataset_classes(const soma_dataset *d);
SOMA_API const char *soma_dataset_class(const soma_dataset *d, int index);
SOMA_API soma_transform soma_dataset_transform(const soma_dataset *d);
/** Bytes that the dataset holds in memory. */
SOMA_API uint64_t soma_dataset_bytes(const soma_dataset *d);
/** Writes samples index[0..n-1], transformed, one after the other. x or y may be NULL. */
SOMA_API soma_status soma_dataset_read(const soma_dataset *d, const int64_t *index, int64_t n, void *x, void *y);

/* ---- loader ---- */

typedef struct soma_loader soma_loader;
typedef struct soma_loader_options {
    size_t struct_size;
    soma_at at;
    int64_t batch_size; /**< default 32 */
    bool no_shuffle;
    uint64_t seed;  /**< the order depends on (seed, epoch) only */
    bool drop_last; /**< leave out the smaller last batch */
    int threads;    /**< loader threads; 0: none where reading is a copy from memory, else 1 */
} soma_loader_options;
SOMA_API soma_loader *soma_loader_new_with(soma_dataset *d, const soma_loader_options *o);
#define soma_loader_new(d, ...) soma_loader_new_with(d, SOMA_OPTIONS(soma_loader_options, __VA_ARGS__))
SOMA_API void soma_loader_free(soma_loader *l);
/** Batches in an epoch, the last smaller one included. */
SOMA_API int64_t soma_loader_batches(const soma_loader *l);
/** Starts epoch `epoch` (counted from 0) at batch `batch`. */
SOMA_API soma_status soma_loader_start(soma_loader *l, int64_t epoch, int64_t batch);
/** Samples of the next batch, 0 at the end of the epoch. */
SOMA_API int64_t soma_loader_ahead(const soma_loader *l);
/** Begins to write the next batch into x and y (with threads: returns at once). */
SOMA_API soma_status soma_loader_fill(soma_loader *l, void *x, void *y);
/** Waits until the batch begun last is written; the status of reading it. */
SOMA_API soma_status soma_loader_wait(soma_loader *l);
/** Dataset positions of the batch begun last. */
SOMA_API const int64_t *soma_loader_indices(const soma_loader *l);

/* ---- pictures ---- */

/** Reads a PNG, scales it to [C, H, W] of the shape if needed (C 1: luma, 3: RGB), and writes raw values 0..255 as f32.
 *  Transparent pixels are seen over black. Larger pictures are averaged down, so no pixel is skipped. */
SOMA_API soma_status soma_image_read(soma *s, const char *path, const soma_shape *shape, float *pixels);

#ifdef __cplusplus
}
#endif
#endif
