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

/** How samples become inputs, the same in every epoch and for every use; kept with a model and applied by predict.
 *  Pictures [C, H, W] are resized, then cropped; then (x * scale - mean[c]) / deviation[c], c the channel (first
 *  dimension). */
typedef struct soma_transform {
    double scale; /**< 0: 1/255 for pictures and u8 input, 1 otherwise; must not be zero */
    /** per channel, as the model sees them; the first alone: for all; else one a channel. SOMA_ZERO: 0, which {0.5,
     *  0, 0} would not say */
    double mean[4];
    double deviation[4]; /**< likewise; 0: 1; must not be zero */
    int64_t resize[2];   /**< {height, width} or {shorter side}, bilinear, antialiased as in Pillow; 0: as it is */
    int64_t crop[2]; /**< {height, width} or {side} in the middle, black (0) where a picture is smaller; 0: all of it */
    bool bgr;        /**< blue, green, red (Caffe, OpenCV) instead of red, green, blue */
    /** light and dark exchanged: 255 - x before all else; of pictures in bytes; what is black around them stays */
    bool invert;
    bool has_background; /**< background was measured */
    /** how light the training pictures' outermost pixels are on average, 0 to 255 (soma_dataset_background) */
    double background;
    uint64_t reserved[4]; /**< zero */
} soma_transform;

/** What is drawn for each sample and epoch while training, and never for evaluation. The draws depend on (seed, epoch,
 *  sample) only. For pictures [C, H, W]; inputs keep the size that the transform gives them. */
typedef struct soma_augment {
    bool flip;        /**< mirror every second picture, left and right */
    bool random_crop; /**< the transform's crop anywhere in the resized picture instead of its middle */
    int64_t padding;  /**< black pixels that random_crop may reach into on every side (CIFAR: 4) */
    /** a part with at least this share of the picture's area and an aspect ratio of 3/4 to 4/3, resized to the
     *  input's size (ImageNet: 0.08); 0: none */
    double random_resized_crop;
    uint64_t reserved[4]; /**< zero */
} soma_augment;

typedef struct soma_dataset_options {
    size_t struct_size;
    soma_at at;
    /** of a file or a folder; or a name without a slash, looked for in the context's .data_path where there is no
     *  such path */
    const char *path;
    const char *format; /**< "idx" or "image-folder"; NULL: from what is there */
    /** part: "train" (default) or "test": IDX files (t10k), or a sub-folder (train; test, val). A folder of pictures
     *  without parts is "train", and "all"; as "test" it is refused, because it may be what was trained on, unless
     *  it is called test or val itself. "all" takes whole what has no parts; a single file is taken whole under any
     *  name */
    const char *split;
    const char *labels; /**< IDX: path of the labels; NULL: beside the images, by MNIST's names */
    soma_transform transform;
    int64_t resize[2]; /**< the transform's resize, in short */
    int64_t crop[2];   /**< the transform's crop, in short */
    soma_augment augment;
    int64_t channels; /**< of pictures in folders: 3 (default) or 1, luma */
    /** folders: the next picture stands in for one that cannot be read, with a warning; more than 1 % of an epoch
     *  (and more than one) are an error all the same */
    bool skip_broken;
    /** names, NULL-terminated; NULL: "0", "1", ... (fashion-mnist: its own; folders: theirs) */
    const char *const *classes;
    /** use so many samples: of each class its share (largest remainders), the first of it, in their order; 0: all */
    int64_t limit;
} soma_dataset_options;

/** Opens a dataset: an IDX image file (plain or .gz), a folder with MNIST's four files, or a folder with a folder of
 *  JPEG, PNG and WebP pictures per class (names in the order of their bytes; .resize or .crop must give the pictures
 *  one size). u8 images become f32 [1, H, W] (or [C, H, W] for 4-dimensional files), labels i32. Pictures in folders
 *  are decoded when they are read, and one that cannot be read is an error that names its path. */
SOMA_API soma_dataset *soma_dataset_open_with(soma *s, const soma_dataset_options *o);
/** soma_dataset_open(s, "fashion-mnist", .split = "test") */
#define soma_dataset_open(s, ...) soma_dataset_open_with(s, SOMA_OPTIONS(soma_dataset_options, .path = __VA_ARGS__))

/** Where a data set lies: `name` itself where it is the path of something, else the first folder of the context's
 *  .data_path that holds it. Returns the length of the path, and writes it with its end into path[room] if it fits
 *  (else ""); 0: it is nowhere. Looks for names only: what lies there may not be data. Fails for lack of memory only.
 *  */
SOMA_API size_t soma_dataset_find(soma *s, const char *name, char *path, size_t room);

typedef struct soma_arrays_options {
    size_t struct_size;
    soma_at at;
    /** [samples, ...] f32 or u8; borrowed: must outlive the dataset and whatever uses it (parts, loaders, trainings) */
    soma_tensor x;
    soma_tensor y; /**< [samples] i32 classes, or [samples, ...] f32; data NULL: no targets */
    soma_transform transform;
    soma_augment augment;
    const char *const *classes;
    int n_classes; /**< 0: from the labels */
} soma_arrays_options;
SOMA_API soma_dataset *soma_dataset_arrays_with(soma *s, const soma_arrays_options *o);
#define soma_dataset_arrays(s, ...) soma_dataset_arrays_with(s, SOMA_OPTIONS(soma_arrays_options, __VA_ARGS__))

/** Samples first .. first + count - 1 of the order that `seed` shuffles (seed 0: the dataset's own order) as a dataset
 *  that shares the bytes. Freed by itself, before or after d. */
SOMA_API soma_dataset *soma_dataset_part(soma_dataset *d, int64_t first, int64_t count, uint64_t seed);
/** Some of the data held out, `share` of all samples rounded up, and the rest; both share the bytes and keep the order
 *  of the samples, and are freed by themselves. order "stratified" (NULL where targets are classes): of each class its
 *  share (largest remainders), but a class keeps one sample at least in the rest, so that small classes may leave
 *  fewer held out; "shuffled" (NULL otherwise): any; "end": the last, rounded as in Keras. Which samples, depends on
 *  (seed, order) only. On failure both are NULL. */
SOMA_API soma_status soma_dataset_split(soma_dataset *d, double share, const char *order, uint64_t seed,
                                        soma_dataset **rest, soma_dataset **held_out);
/** The same data with the n classes `names` of a model, sharing the bytes: a class of the data becomes the one of its
 *  name, so the data may know fewer classes, or the same in another order. NULL where a class has a name that is not
 *  among them, and where one side has only numbers ("0", "1", ...; names NULL) and the numbers of classes differ.
 *  soma_fit and soma_evaluate do this by themselves. */
SOMA_API soma_dataset *soma_dataset_for_classes(soma_dataset *d, const char *const *names, int n);
/** Gives the dataset back; parts, loaders and trainings that use it keep what they need of it. */
SOMA_API void soma_dataset_free(soma_dataset *d);

SOMA_API int64_t soma_dataset_count(const soma_dataset *d);
/** Type of one input and one target as the loader writes them, without the batch; target of no rank and dtype i32: a
 *  class. */
SOMA_API soma_type soma_dataset_input(const soma_dataset *d);
SOMA_API soma_type soma_dataset_target(const soma_dataset *d);
SOMA_API bool soma_dataset_has_target(const soma_dataset *d);
/** Number of classes, 0 where targets are not classes; and their names. */
SOMA_API int soma_dataset_classes(const soma_dataset *d);
SOMA_API const char *soma_dataset_class(const soma_dataset *d, int index);
/** All that was left open filled in; means of 0 beside others are SOMA_ZERO. */
SOMA_API soma_transform soma_dataset_transform(const soma_dataset *d);
/** How light pictures are at their edges: the mean of the outermost pixels of some samples, spread over the data, 0 to
 *  255, as the model sees them but before the scale. False where the data are no pictures in bytes, or none can be
 *  read. Kept with a model (soma_transform.background) it tells white on black from black on white. */
SOMA_API bool soma_dataset_background(const soma_dataset *d, double *background);
/** Whether edges that light (`seen`) are rather those of the exchanged pictures than of the `usual` ones; false for
 *  pictures whose edges are neither dark nor light as a rule. 0 to 255 both. */
SOMA_API bool soma_looks_inverted(double usual, double seen);
/** Bytes that the dataset holds in memory. */
SOMA_API uint64_t soma_dataset_bytes(const soma_dataset *d);
/** Writes samples index[0..n-1], transformed but not augmented, one after the other. x or y may be NULL. */
SOMA_API soma_status soma_dataset_read(const soma_dataset *d, const int64_t *index, int64_t n, void *x, void *y);

/* ---- loader ---- */

/** A dataset as batches. Freed by soma_loader_free or with its context. */
typedef struct soma_loader soma_loader;
typedef struct soma_loader_options {
    size_t struct_size;
    soma_at at;
    int64_t batch_size; /**< default 32 */
    bool no_shuffle;
    uint64_t seed;   /**< the order depends on (seed, epoch) only, and augmentation on (seed, epoch, sample) */
    bool drop_last;  /**< leave out the smaller last batch */
    int64_t threads; /**< loader threads; 0: none where reading is a copy from memory, else the context's number */
    bool augment;    /**< training: apply the dataset's augmentation */
} soma_loader_options;
SOMA_API soma_loader *soma_loader_new_with(soma_dataset *d, const soma_loader_options *o);
#define soma_loader_new(d, ...) soma_loader_new_with(d, SOMA_OPTIONS(soma_loader_options, __VA_ARGS__))
/** Waits for the batch that is being written, then frees; the dataset may be gone already. */
SOMA_API void soma_loader_free(soma_loader *l);
/** Batches in an epoch, the last smaller one included. */
SOMA_API int64_t soma_loader_batches(const soma_loader *l);
/** Starts epoch `epoch` (counted from 0) at batch `batch`. */
SOMA_API soma_status soma_loader_start(soma_loader *l, int64_t epoch, int64_t batch);
/** Samples of the next batch, 0 at the end of the epoch. */
SOMA_API int64_t soma_loader_ahead(const soma_loader *l);
/** Begins to write the next batch into x and y (with threads: returns at once, and both must stay until
 *  soma_loader_wait or soma_loader_free). */
SOMA_API soma_status soma_loader_fill(soma_loader *l, void *x, void *y);
/** Waits until the batch begun last is written; the status of reading it. */
SOMA_API soma_status soma_loader_wait(soma_loader *l);
/** Dataset positions of the batch begun last. */
SOMA_API const int64_t *soma_loader_indices(const soma_loader *l);

/* ---- pictures ---- */

typedef struct soma_image_options {
    size_t struct_size;
    soma_at at;
    const char *path;
    soma_shape shape;                /**< [C, H, W] of the result: C 1 (luma) or 3 */
    const soma_transform *transform; /**< NULL: raw values 0..255; without resize and crop: resized to the shape */
    float *pixels;                   /**< room for it */
    double *background; /**< NULL, or where the mean of the outermost pixels goes, 0 to 255, before the scale */
} soma_image_options;
/** Reads a JPEG, PNG or WebP as an input: soma_image_read(s, "cat.jpg", .shape = SOMA_SHAPE(3, 224, 224), .pixels =
 *  pixels). Colours become grey as Pillow's "L" ((19595 R + 38470 G + 7471 B + 32768) >> 16), a grey picture is in all
 *  three channels. Transparent pixels are seen over black; photos that were taken sideways are turned upright (EXIF).
 *  */
SOMA_API soma_status soma_image_read_with(soma *s, const soma_image_options *o);
#define soma_image_read(s, ...) soma_image_read_with(s, SOMA_OPTIONS(soma_image_options, .path = __VA_ARGS__))

#ifdef __cplusplus
}
#endif
#endif
