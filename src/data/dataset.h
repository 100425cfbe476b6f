/* SPDX-License-Identifier: Apache-2.0
 *
 * data/dataset.h: a dataset's inside, for the files of this folder. Knows no models and no batches.
 */
#ifndef SOMA_DATA_DATASET_H
#define SOMA_DATA_DATASET_H

#include "base/fields.h"
#include "base/text.h"
#include "data/frame.h"

#include <string.h>

/* Pictures with a fault that costs no pixel: each is told of once in the life of a dataset, the first few by name. */
typedef struct soma_notes {
    int64_t told, untold; /* on the context's thread */
    uint8_t seen[];       /* by row */
} soma_notes;
#define SOMA_NOTES_TOLD 3

/* What one thread needs to read: memory of the dataset's context and an error of its own, and whose numbers it
 * draws. */
typedef struct soma_reader {
    soma s;
    bool augment; /* training data: draw by `chance` */
    soma_chance chance;
    soma_scratch scratch;
    int64_t skipped;                  /* samples that could not be read since the last report */
    char skip[1024];                  /* what was wrong with the last of them */
    int64_t noted;                    /* since the last report */
    char note[SOMA_NOTES_TOLD][1024]; /* the first of them */
} soma_reader;
void soma_reader_open(soma_reader *r, soma *s);
void soma_reader_close(soma_reader *r);
/* Warns of what was skipped and of what was noted, on the context's thread; returns how many were skipped. */
int64_t soma_reader_report(soma_reader *r, const soma_dataset *d);
/* Warns of how many pictures were noted and not told of. */
void soma_notes_end(const soma_dataset *d);

/* Writes samples index[0 .. n-1], which are in range; may be called from several loader threads at once, each with a
 * reader of its own, whose context says what went wrong. */
typedef soma_status (*soma_dataset_read_fn)(const soma_dataset *d, soma_reader *r, const int64_t *index, int64_t n,
                                            void *x, void *y);

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
    int64_t row;              /* elements of an input as it is written */
    const char *root, *texts; /* pictures in files: root/texts + files[i] */
    const uint64_t *files;    /* of row i */
    const int64_t *rows;      /* sample i is row rows[i]; NULL: row i */
    soma_framing framing;
    int64_t source[2]; /* height and width of pictures in memory */
    bool moves;        /* pictures are resized, cropped or reordered */
    bool augments;     /* there is something to be drawn */
    soma_notes *notes; /* NULL: nothing can be noted */
    bool skip_broken;  /* samples that cannot be read are replaced by the next */
    int classes;
    const char *const *names;
    bool counted;           /* nobody said how many classes there are: the labels were looked through */
    int labels;             /* classes of the labels in memory */
    const int32_t *relabel; /* [labels]: the class that a label stands for; NULL: its own */
    soma_dataset_read_fn read;
    void *owned[9]; /* memory of the context, freed with the dataset; each reader knows how many blocks it makes */
    uint64_t bytes; /* of `owned` */
};

/* An empty dataset with one reference, not yet among the context's objects; NULL: no memory. */
soma_dataset *soma_dataset_make(soma *s);
/* n * size bytes that the dataset owns; NULL: no memory. */
void *soma_dataset_own(soma_dataset *d, int64_t n, size_t size);
/* The dataset frees this block of the context, which holds `bytes`. */
void soma_dataset_adopt(soma_dataset *d, void *block, uint64_t bytes);
/* One reference more; NULL is fine. */
soma_dataset *soma_dataset_hold(soma_dataset *d);
/* Gives back one reference; the last one frees. */
void soma_dataset_drop(soma_dataset *d);
/* Checks the data against the options, resolves the transform, names the classes, and lets the context own it. On
 * failure the dataset is freed and NULL returned. count, x, y, types, rows' sizes are set; n_classes 0: from the
 * labels. */
soma_dataset *soma_dataset_finish(soma_dataset *d, soma_at at, const soma_transform *transform,
                                  const soma_augment *augment, const char *const *names, int n_classes);
/* The reader of everything that lies in memory. */
soma_status soma_dataset_read_memory(const soma_dataset *d, soma_reader *r, const int64_t *index, int64_t n, void *x,
                                     void *y);
/* Copies the names of d's classes; NULL: "0", "1", ... */
soma_status soma_dataset_name_classes(soma_dataset *d, const char *const *names);
/* Do the data's classes fit outputs of these names (NULL: without)? *view: the data with their labels as numbers of
 * those, for the caller to free; NULL where they are already. what: begins the sentence of a refusal. */
soma_status soma_dataset_match(soma_dataset *d, const char *const *names, int n, const char *what, soma_at at,
                               soma_dataset **view);
/* Adds the name `index` of `count` to a list in a sentence, which ends early: "a", "b" and 7 more. */
void soma_list_name(soma_text *t, int64_t index, int64_t count, const char *name);
/* Targets of rows row[0 .. n-1]. */
void soma_dataset_targets(const soma_dataset *d, const int64_t *row, int64_t n, void *y);

/* Names of orders, NULL-terminated. */
extern const char *const soma_split_orders[];
/* soma_dataset_split; what: begins the sentence of a refusal. */
soma_status soma_dataset_hold_out(soma_dataset *d, double share, const char *order, uint64_t seed, const char *what,
                                  soma_at at, soma_dataset **rest, soma_dataset **held_out);
/* Keeps `limit` of the samples: of each class its share, those that come first. */
soma_status soma_dataset_limit(soma_dataset *d, int64_t limit);

/* Until no thread of the loader works; what became of the batch soma_loader_wait tells. */
void soma_loader_rest(soma_loader *l);

/* By format; the options are sound. */
soma_dataset *soma_dataset_open_idx(soma *s, const soma_dataset_options *o);
soma_dataset *soma_dataset_open_folder(soma *s, const soma_dataset_options *o);
/* The path of what a caller names (soma_dataset_find), to be released; NULL: the error is set and says where was
 * looked. */
char *soma_dataset_locate(soma *s, const char *name, soma_at at);
/* Opens path[/name][/.]: 0, or the seam's negative errno. */
int soma_dataset_probe(soma *s, const char *path, const char *name, bool folder);
/* Is nothing there, as far as that result says? What may not be read is there. */
bool soma_dataset_absent(int result);
/* path/name[/.] is there */
bool soma_dataset_finds(soma *s, const char *path, const char *name, bool folder);

#endif
