/* SPDX-License-Identifier: Apache-2.0
 *
 * data/frame.h: from a picture of any size to a model's input: which part is seen at which size, and how it gets there.
 * Knows no files and no datasets.
 */
#ifndef SOMA_DATA_FRAME_H
#define SOMA_DATA_FRAME_H

#include "base/context.h"
#include "codec/image.h"

#include <soma/data.h>

/* y = x * a + b */
typedef struct soma_scale {
    int channels;     /* 1: a and b [0] are for all elements */
    int64_t plane;    /* elements of a channel, as written */
    float a[4], b[4]; /* by the channel as written */
    bool identity;    /* a is 1, b is 0 */
} soma_scale;

/* How pictures become inputs; resolved. */
typedef struct soma_framing {
    soma_transform transform;
    soma_augment augment;
    soma_scale scale;
    int64_t channels, height, width; /* of an input */
} soma_framing;

/* One axis: pixels [low, high) of the source are seen at `to` pixels, of which `out`, from `offset` on, are written;
 * those before 0 and from `to` on are black. */
typedef struct soma_axis {
    int64_t low, high, to, offset, out;
    bool mirrored;
} soma_axis;
typedef struct soma_frame {
    soma_axis y, x;
} soma_frame;

/* Whose numbers are drawn; NULL where a frame is wanted: that of an evaluation. */
typedef struct soma_chance {
    const soma_random *random;
    uint64_t seed, epoch;
} soma_chance;

/* The scale of a transform for data of so many channels, each `plane` elements; fills in its defaults. natural: the
 * scale where none is given. */
soma_status soma_scale_resolve(soma *s, soma_at at, soma_transform *t, int64_t channels, int64_t plane, double natural,
                               soma_scale *scale);
/* Fills in what the transform leaves open, the size of an input and the scale; channels is set. Pictures are height x
 * width; 0 x 0: of any size, so the transform must say one. */
soma_status soma_framing_resolve(soma *s, soma_at at, soma_framing *f, double natural, int64_t height, int64_t width);
/* Does the evaluation do more than the scale? */
bool soma_framing_moves(const soma_framing *f, int64_t height, int64_t width);
static inline bool soma_augments(const soma_augment *a)
{
    return a->flip || a->random_crop || a->random_resized_crop > 0;
}
/* The frame of sample `sample`, height x width. */
soma_frame soma_frame_of(const soma_framing *framing, const soma_chance *chance, int64_t sample, int64_t height,
                         int64_t width);

/* Pixels in one of three orders. */
typedef struct soma_source {
    int64_t height, width;   /* that the frame speaks of */
    const soma_image *image; /* of that size, without alpha; grey for one channel (soma_image_flatten) */
    const uint8_t *bytes;    /* or [C, H, W] */
    const float *floats;     /* or [C, H, W] */
} soma_source;

/* Memory that is kept from sample to sample. */
typedef struct soma_scratch {
    void *block;
    size_t size;
} soma_scratch;

/* Writes y [C, out.H, out.W]: bilinear by a triangle filter that widens with the reduction, so that every pixel of the
 * source counts (the antialiased bilinear filter of Pillow and torchvision). */
soma_status soma_render(soma *s, soma_scratch *scratch, const soma_framing *framing, const soma_frame *frame,
                        const soma_source *source, float *y);
/* The mean of the outermost pixels of an input, as it was before the scale. */
double soma_framing_background(const soma_framing *framing, const float *x);
/* A picture's file. note: a sentence where the file has a fault that costs no pixel, else "". */
soma_status soma_render_file(soma *s, soma_scratch *scratch, const soma_framing *framing, const soma_chance *chance,
                             int64_t sample, const char *path, float *y, char *note, size_t room);

#endif
