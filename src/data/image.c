/* SPDX-License-Identifier: Apache-2.0
 *
 * data/image.c: a picture as a model wants it: luma or RGB, [C, H, W], scaled by a triangle filter that widens with the
 * reduction (every pixel of the source counts: the antialiased bilinear filter of Pillow and torchvision). Knows no
 * models.
 */
#include "base/file.h"
#include "base/limits.h"
#include "codec/image.h"
#include "data/dataset.h"

#include <inttypes.h>

#define FILE_MAX ((uint64_t)SOMA_LIMIT_IMAGE_PIXELS * 8) /* four channels of 16 bits, not compressed at all */

/* Along one axis: output o is the sum of weight[o * width + k] * input[first[o] + k], k below width. */
typedef struct resampler {
    int64_t from, to, width;
    int64_t *first;
    float *weight;
} resampler;

/* Weights of output o over inputs first .. first + width - 1: a triangle around the output's centre, sum 1. */
static void fill_weights(resampler *r, int64_t o, double scale, double reach)
{
    double centre = ((double)o + 0.5) * scale, sum = 0;
    int64_t first = (int64_t)(centre - reach + 0.5);
    first = first < 0 ? 0 : first;
    first = first > r->from - r->width ? r->from - r->width : first;
    r->first[o] = first;
    float *weight = r->weight + o * r->width;
    for (int pass = 0; pass < 2; pass++)
        for (int64_t k = 0; k < r->width; k++) {
            double distance = ((double)(first + k) + 0.5 - centre) / reach;
            double height = 1 - (distance < 0 ? -distance : distance);
            height = height > 0 ? height : 0;
            if (pass)
                weight[k] = (float)(height / sum);
            else
                sum += height;
        }
}

static soma_status resampler_make(soma *s, resampler *r, int64_t from, int64_t to)
{
    double scale = (double)from / (double)to, reach = scale > 1 ? scale : 1;
    int64_t width = 2 * (int64_t)reach + 3;
    *r = (resampler){.from = from, .to = to, .width = width < from ? width : from};
    r->first = soma_alloc_array(s, (size_t)to, sizeof *r->first);
    r->weight = r->first ? soma_alloc_array(s, (size_t)(to * r->width), sizeof *r->weight) : NULL;
    if (!r->weight)
        return SOMA_MEMORY;
    for (int64_t o = 0; o < to; o++)
        fill_weights(r, o, scale, reach);
    return SOMA_OK;
}

static void resampler_free(soma *s, resampler *r)
{
    soma_release(s, r->first);
    soma_release(s, r->weight);
}

/* Row y of the picture as planes [C, W]: alpha over black, luma by ITU-R BT.601 in whole numbers, so that equal R, G, B
 * give that very number. */
static void read_row(const soma_image *image, int64_t y, int channels, float *planes)
{
    int64_t width = image->width;
    int n = image->channels;
    const uint8_t *p = image->pixels + y * width * n;
    for (int64_t x = 0; x < width; x++, p += n) {
        int r = p[0], g = n >= 3 ? p[1] : r, b = n >= 3 ? p[2] : r, alpha = n == 2 || n == 4 ? p[n - 1] : 255;
        if (channels == 1) {
            planes[x] = (float)((299 * r + 587 * g + 114 * b) * alpha) / 255000.0f;
        } else {
            planes[x] = (float)(r * alpha) / 255.0f;
            planes[width + x] = (float)(g * alpha) / 255.0f;
            planes[2 * width + x] = (float)(b * alpha) / 255.0f;
        }
    }
}

static inline float clamp(float v)
{
    return v < 0 ? 0 : v > 255 ? 255 : v; /* weights are rounded: 255 must not become a bit more */
}

/* Rows narrowed (or widened) into narrow [C, from.H, to.W], then columns into y [C, to.H, to.W]. */
static void resample(const soma_image *image, int channels, const resampler *rows, const resampler *columns, float *row,
                     float *narrow, float *y)
{
    int64_t height = image->height, wide = image->width, width = columns->to;
    for (int64_t i = 0; i < height; i++) {
        read_row(image, i, channels, row);
        for (int c = 0; c < channels; c++)
            for (int64_t o = 0; o < width; o++) {
                const float *x = row + c * wide + columns->first[o], *weight = columns->weight + o * columns->width;
                float sum = 0;
                for (int64_t k = 0; k < columns->width; k++)
                    sum += weight[k] * x[k];
                narrow[(c * height + i) * width + o] = sum;
            }
    }
    for (int c = 0; c < channels; c++)
        for (int64_t o = 0; o < rows->to; o++) {
            float *out = y + (c * rows->to + o) * width;
            const float *x = narrow + (c * height + rows->first[o]) * width, *weight = rows->weight + o * rows->width;
            memset(out, 0, (size_t)width * sizeof *out);
            for (int64_t k = 0; k < rows->width; k++)
                for (int64_t i = 0; i < width; i++)
                    out[i] += weight[k] * x[k * width + i];
            for (int64_t i = 0; i < width; i++)
                out[i] = clamp(out[i]);
        }
}

static soma_status write_pixels(soma *s, const soma_image *image, const soma_shape *shape, float *pixels)
{
    int channels = (int)shape->dim[0];
    resampler rows = {0}, columns = {0};
    float *row = soma_alloc_array(s, (size_t)(channels * image->width), sizeof *row);
    float *narrow = soma_alloc_array(s, (size_t)(channels * image->height * shape->dim[2]), sizeof *narrow);
    soma_status status = row && narrow ? SOMA_OK : SOMA_MEMORY;
    if (!status)
        status = resampler_make(s, &rows, image->height, shape->dim[1]);
    if (!status)
        status = resampler_make(s, &columns, image->width, shape->dim[2]);
    if (!status)
        resample(image, channels, &rows, &columns, row, narrow, pixels);
    resampler_free(s, &rows);
    resampler_free(s, &columns);
    soma_release(s, row);
    soma_release(s, narrow);
    return status;
}

soma_status soma_image_read(soma *s, const char *path, const soma_shape *shape, float *pixels)
{
    if (!s)
        return SOMA_INVALID;
    if (!path || !shape || !pixels)
        return soma_fail(s, SOMA_INVALID, soma_nowhere(), "soma_image_read: path, shape and pixels must not be NULL");
    if (shape->rank != 3 || (shape->dim[0] != 1 && shape->dim[0] != 3))
        return soma_fail(s, SOMA_INVALID, soma_nowhere(),
                         "soma_image_read: a picture becomes [C, H, W] with C 1 (grey) or 3 (RGB), not a shape of %d "
                         "dimensions with %" PRId64 " first",
                         shape->rank, shape->rank > 0 ? shape->dim[0] : (int64_t)0);
    soma_status status = soma_image_limits(s, "soma_image_read", shape->dim[1], shape->dim[2]);
    void *bytes = NULL;
    size_t size = 0;
    soma_image image = {0};
    if (!status)
        status = soma_file_read(s, path, FILE_MAX, &bytes, &size);
    if (!status)
        status = soma_image_decode(s, path, bytes, size, NULL, &image);
    soma_release(s, bytes);
    if (!status)
        status = write_pixels(s, &image, shape, pixels);
    soma_release(s, image.pixels);
    return status;
}
