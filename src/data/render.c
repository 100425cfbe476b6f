/* SPDX-License-Identifier: Apache-2.0
 *
 * data/render.c: pixels of a frame: resampled columns, then rows, then each channel's scale. Knows neither files nor where
 * frames come from.
 */
#include "data/frame.h"

#include <string.h>

/* Along one axis: written pixel o is the sum of weight[o * width + k] * input[first[o] + k], k below width; black where
 * first is negative. */
typedef struct resampler {
    int64_t width, low, high; /* inputs that are read: [low, high) */
    int64_t *first;
    float *weight;
    bool copies; /* one input each, weight 1 */
} resampler;

/* One axis of the pixels that are there: the source may have been decoded smaller than the frame believes. */
typedef struct part {
    double begin, length; /* of what is seen, in pixels of the source */
    int64_t low, high;    /* the filter stays within */
} part;

static part part_of(const soma_axis *a, int64_t full, int64_t there)
{
    if (full == there)
        return (part){(double)a->low, (double)(a->high - a->low), a->low, a->high};
    double rate = (double)there / (double)full;
    part p = {(double)a->low * rate, (double)(a->high - a->low) * rate, 0, there};
    p.low = (int64_t)p.begin;
    int64_t high = (int64_t)(p.begin + p.length + 1 - 1e-9);
    p.high = high < there ? high : there;
    return p;
}

static int64_t filter_width(const soma_axis *a, const part *p)
{
    double scale = p->length / (double)a->to;
    int64_t width = 2 * (int64_t)(scale > 1 ? scale : 1) + 3;
    if (p->length == (double)a->to)
        return 1;
    return width < p->high - p->low ? width : p->high - p->low;
}

/* Weights of the pixel whose centre lies at `centre`: a triangle around it, sum 1. */
static int64_t fill_weights(const part *p, double centre, double reach, int64_t width, float *weight)
{
    double sum = 0;
    int64_t first = (int64_t)(centre - reach + 0.5);
    first = first < p->low ? p->low : first;
    first = first > p->high - width ? p->high - width : first;
    for (int pass = 0; pass < 2; pass++)
        for (int64_t k = 0; k < width; k++) {
            double distance = ((double)(first + k) + 0.5 - centre) / reach;
            double height = 1 - (distance < 0 ? -distance : distance);
            height = height > 0 ? height : 0;
            if (pass)
                weight[k] = (float)(height / sum);
            else
                sum += height;
        }
    return first;
}

static void fill(resampler *r, const soma_axis *a, const part *p)
{
    double scale = p->length / (double)a->to, reach = scale > 1 ? scale : 1;
    r->copies = p->length == (double)a->to;
    r->low = p->high;
    r->high = p->low;
    for (int64_t o = 0; o < a->out; o++) {
        int64_t at = a->offset + (a->mirrored ? a->out - 1 - o : o);
        float *weight = r->weight + o * r->width;
        if (at < 0 || at >= a->to) {
            r->first[o] = -1;
            continue;
        }
        if (r->copies) {
            r->first[o] = p->low + at;
            *weight = 1;
        } else {
            r->first[o] = fill_weights(p, p->begin + ((double)at + 0.5) * scale, reach, r->width, weight);
        }
        r->low = r->first[o] < r->low ? r->first[o] : r->low;
        r->high = r->first[o] + r->width > r->high ? r->first[o] + r->width : r->high;
    }
    if (r->low >= r->high) /* nothing of the picture is seen */
        r->low = r->high = 0;
}

/* ---- rows of the source ---- */

/* Columns [low, high) of row y as planes [C, high - low]: alpha over black, luma by ITU-R BT.601 in whole numbers, so that
 * equal R, G, B give that very number. */
static void read_image(const soma_image *image, int64_t y, int64_t low, int64_t high, int64_t channels, float *planes)
{
    int64_t width = high - low;
    int n = image->channels;
    const uint8_t *p = image->pixels + (y * image->width + low) * n;
    for (int64_t x = 0; x < width; x++, p += n) {
        int r = p[0], g = n >= 3 ? p[1] : r, b = n >= 3 ? p[2] : r, alpha = n == 2 || n == 4 ? p[n - 1] : 255;
        if (channels == 1) {
            planes[x] = (float)((299 * r + 587 * g + 114 * b) * alpha) / 255000.0f;
        } else if (alpha == 255) {
            planes[x] = (float)r;
            planes[width + x] = (float)g;
            planes[2 * width + x] = (float)b;
        } else {
            planes[x] = (float)(r * alpha) / 255.0f;
            planes[width + x] = (float)(g * alpha) / 255.0f;
            planes[2 * width + x] = (float)(b * alpha) / 255.0f;
        }
    }
}

static void read_row(const soma_source *s, int64_t y, int64_t low, int64_t high, int64_t channels, float *planes)
{
    int64_t width = high - low;
    if (s->image) {
        read_image(s->image, y, low, high, channels, planes);
        return;
    }
    for (int64_t c = 0; c < channels; c++) {
        int64_t from = (c * s->height + y) * s->width + low;
        float *to = planes + c * width;
        if (s->floats)
            memcpy(to, s->floats + from, (size_t)width * sizeof *to);
        else
            for (int64_t i = 0; i < width; i++)
                to[i] = (float)s->bytes[from + i];
    }
}

/* ---- the two passes ---- */

/* narrow [C, rows, out.W] from the source's rows [rows.low, rows.high) */
static void resample_columns(const soma_source *source, int64_t channels, const resampler *rows,
                             const resampler *columns, int64_t out, float *row, float *narrow)
{
    int64_t n = rows->high - rows->low, wide = columns->high - columns->low;
    for (int64_t i = 0; i < n; i++) {
        read_row(source, rows->low + i, columns->low, columns->high, channels, row);
        for (int64_t c = 0; c < channels; c++) {
            float *to = narrow + (c * n + i) * out;
            for (int64_t o = 0; o < out; o++) {
                const float *x = row + c * wide + columns->first[o] - columns->low;
                const float *weight = columns->weight + o * columns->width;
                float sum = 0;
                if (columns->first[o] >= 0)
                    for (int64_t k = 0; k < columns->width; k++)
                        sum += weight[k] * x[k];
                to[o] = sum;
            }
        }
    }
}

static inline float clamp(float v)
{
    return v < 0 ? 0 : v > 255 ? 255 : v; /* weights are rounded: 255 must not become a bit more */
}

/* One written row out of narrow's. */
static void resample_row(const resampler *rows, int64_t o, const float *narrow, int64_t out, bool bytes, float *y)
{
    memset(y, 0, (size_t)out * sizeof *y);
    if (rows->first[o] < 0)
        return;
    const float *x = narrow + (rows->first[o] - rows->low) * out, *weight = rows->weight + o * rows->width;
    if (rows->copies)
        memcpy(y, x, (size_t)out * sizeof *y);
    else
        for (int64_t k = 0; k < rows->width; k++)
            for (int64_t i = 0; i < out; i++)
                y[i] += weight[k] * x[k * out + i];
    if (bytes)
        for (int64_t i = 0; i < out; i++)
            y[i] = clamp(y[i]);
}

static void resample_rows(const soma_framing *f, const resampler *rows, const float *narrow, bool bytes, float *y)
{
    int64_t n = rows->high - rows->low, out = f->width;
    for (int64_t c = 0; c < f->channels; c++) {
        int64_t from = f->transform.bgr ? f->channels - 1 - c : c;
        int scale = f->scale.channels == 1 ? 0 : (int)c;
        float a = f->scale.a[scale], b = f->scale.b[scale];
        for (int64_t o = 0; o < f->height; o++) {
            float *to = y + (c * f->height + o) * out;
            resample_row(rows, o, narrow + from * n * out, out, bytes, to);
            if (!f->scale.identity)
                for (int64_t i = 0; i < out; i++) {
                    float product = to[i] * a;
                    to[i] = product + b;
                }
        }
    }
}

/* ---- all of it ---- */

static soma_status reserve(soma *s, soma_scratch *scratch, size_t size)
{
    if (size <= scratch->size)
        return SOMA_OK;
    void *block = soma_alloc(s, size);
    if (!block)
        return SOMA_MEMORY;
    soma_release(s, scratch->block);
    *scratch = (soma_scratch){block, size};
    return SOMA_OK;
}

/* Sides are below 2^16 and filters no wider than a side, so no product here comes near 2^63. */
soma_status soma_render(soma *s, soma_scratch *scratch, const soma_framing *f, const soma_frame *frame,
                        const soma_source *source, float *y)
{
    const soma_image *image = source->image;
    part tall = part_of(&frame->y, source->height, image ? image->height : source->height);
    part wide = part_of(&frame->x, source->width, image ? image->width : source->width);
    resampler rows = {.width = filter_width(&frame->y, &tall)}, columns = {.width = filter_width(&frame->x, &wide)};
    size_t places = (size_t)(f->height + f->width);
    size_t weights = (size_t)(f->height * rows.width + f->width * columns.width);
    size_t row = (size_t)(f->channels * (wide.high - wide.low));
    size_t narrow = (size_t)(f->channels * (tall.high - tall.low) * f->width);
    soma_status status = reserve(s, scratch, places * sizeof(int64_t) + (weights + row + narrow) * sizeof(float));
    if (status)
        return status;
    rows.first = scratch->block;
    columns.first = rows.first + f->height;
    rows.weight = (float *)(void *)(columns.first + f->width);
    columns.weight = rows.weight + f->height * rows.width;
    float *planes = columns.weight + f->width * columns.width;
    fill(&rows, &frame->y, &tall);
    fill(&columns, &frame->x, &wide);
    resample_columns(source, f->channels, &rows, &columns, f->width, planes, planes + row);
    resample_rows(f, &rows, planes + row, !source->floats, y);
    return SOMA_OK;
}
