/* SPDX-License-Identifier: Apache-2.0
 *
 * data/render.c: pixels of a frame: resampled rows, then columns, then each channel's scale. Knows neither files nor
 * where frames come from.
 */
#include "data/frame.h"

#include <string.h>

/* Along one axis: written pixel o is the sum of weight[o * width + k] * input[first[o] + k], k below width; black where
 * first is negative. */
typedef struct resampler {
    int64_t width, low, high; /* inputs that are read: [low, high) */
    int64_t *first;
    float *weight;
} resampler;

static int64_t filter_width(const soma_axis *a)
{
    int64_t seen = a->high - a->low, reach = (2 * seen + a->to - 1) / a->to; /* on both sides together, at least 2 */
    int64_t width = (reach > 2 ? reach : 2) + 1;
    return seen == a->to ? 1 : width < seen ? width : seen;
}

/* Weights of the pixel whose centre lies at `centre`: a triangle around it, sum 1. */
static int64_t fill_weights(const soma_axis *a, double centre, double reach, int64_t width, float *weight)
{
    double sum = 0;
    int64_t first = (int64_t)(centre - reach + 0.5);
    first = first < a->low ? a->low : first;
    first = first > a->high - width ? a->high - width : first;
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

static void fill(resampler *r, const soma_axis *a)
{
    int64_t seen = a->high - a->low;
    double scale = (double)seen / (double)a->to, reach = scale > 1 ? scale : 1;
    r->low = a->high;
    r->high = a->low;
    for (int64_t o = 0; o < a->out; o++) {
        int64_t at = a->offset + (a->mirrored ? a->out - 1 - o : o);
        float *weight = r->weight + o * r->width;
        if (at < 0 || at >= a->to) {
            r->first[o] = -1;
            continue;
        }
        if (seen == a->to) {
            r->first[o] = a->low + at;
            *weight = 1;
        } else {
            r->first[o] = fill_weights(a, (double)a->low + ((double)at + 0.5) * scale, reach, r->width, weight);
        }
        r->low = r->first[o] < r->low ? r->first[o] : r->low;
        r->high = r->first[o] + r->width > r->high ? r->first[o] + r->width : r->high;
    }
    if (r->low >= r->high) /* nothing of the picture is seen */
        r->low = r->high = 0;
}

/* ---- the two passes ---- */

/* LANES rows go through both passes together, so that the second, too, works on numbers side by side. Each number is
 * made by products and sums of its own in a fixed order: bits do not depend on the width of registers. */
#define LANES 8

/* Rows of `step` elements a pixel. */
typedef struct plane {
    const uint8_t *bytes;
    const float *floats; /* or these */
    int64_t stride, step;
} plane;

static void add_floats(const float *x, float w, int64_t n, float *t)
{
#pragma omp simd
    for (int64_t i = 0; i < n; i++) {
        float product = w * x[i];
        t[i] += product;
    }
}

static void add_bytes(const uint8_t *x, float w, int64_t n, float *t)
{
#pragma omp simd
    for (int64_t i = 0; i < n; i++) {
        float product = w * (float)x[i];
        t[i] += product;
    }
}

/* Four rows, the first to be added first. */
static void add_four(const uint8_t *x, int64_t stride, const float *w, int64_t n, float *t)
{
    const uint8_t *x1 = x + stride, *x2 = x1 + stride, *x3 = x2 + stride;
    float w0 = w[0], w1 = w[1], w2 = w[2], w3 = w[3];
#pragma omp simd
    for (int64_t i = 0; i < n; i++) {
        float a = w0 * (float)x[i], b = w1 * (float)x1[i], c = w2 * (float)x2[i], d = w3 * (float)x3[i];
        float sum = t[i] + a;
        sum += b;
        sum += c;
        t[i] = sum + d;
    }
}

/* t [columns that are read, step]: row o of the rows' filter. */
static void blend_rows(const plane *p, const resampler *rows, const resampler *columns, int64_t o, float *t)
{
    int64_t n = (columns->high - columns->low) * p->step, from = columns->low * p->step;
    const float *weight = rows->weight + o * rows->width;
    memset(t, 0, (size_t)n * sizeof *t);
    if (rows->first[o] < 0)
        return;
    from += rows->first[o] * p->stride;
    int64_t k = 0;
    if (p->bytes) {
        for (; k + 4 <= rows->width; k += 4)
            add_four(p->bytes + from + k * p->stride, p->stride, weight + k, n, t);
        for (; k < rows->width; k++)
            add_bytes(p->bytes + from + k * p->stride, weight[k], n, t);
    } else {
        for (; k < rows->width; k++)
            add_floats(p->floats + from + k * p->stride, weight[k], n, t);
    }
}

/* u [n, LANES] from t [LANES, n] */
static void turn(const float *t, int64_t n, float *u)
{
    for (int64_t i = 0; i < n; i++)
        for (int lane = 0; lane < LANES; lane++)
            u[i * LANES + lane] = t[lane * n + i];
}

/* One component of all lanes: z [out, LANES]. */
static void blend_columns(const resampler *columns, int64_t step, int64_t component, const float *u, int64_t out,
                          float *z)
{
    for (int64_t o = 0; o < out; o++) {
        float sum[LANES] = {0};
        const float *weight = columns->weight + o * columns->width;
        if (columns->first[o] >= 0) {
            const float *x = u + ((columns->first[o] - columns->low) * step + component) * LANES;
            for (int64_t k = 0; k < columns->width; k++, x += step * LANES)
#pragma omp simd
                for (int lane = 0; lane < LANES; lane++) {
                    float product = weight[k] * x[lane];
                    sum[lane] += product;
                }
        }
        memcpy(z + o * LANES, sum, sizeof sum);
    }
}

static inline float clamp(float v)
{
    return v < 0 ? 0 : v > 255 ? 255 : v; /* weights are rounded: 255 must not become a bit more */
}

/* Light for dark, but not in the black around the picture. */
static void invert(const resampler *columns, int64_t n, float *y)
{
    for (int64_t i = 0; i < n; i++)
        y[i] = columns->first[i] < 0 ? y[i] : 255 - y[i];
}

/* Rows o to o + lanes of channel c. */
static void write_rows(const soma_framing *f, const resampler *rows, const resampler *columns, int64_t c, int64_t o,
                       int64_t lanes, const float *z, bool bytes, float *y)
{
    int scale = f->scale.channels == 1 ? 0 : (int)c;
    float a = f->scale.a[scale], b = f->scale.b[scale];
    for (int64_t lane = 0; lane < lanes; lane++) {
        float *to = y + (c * f->height + o + lane) * f->width;
        for (int64_t i = 0; i < f->width; i++) {
            float v = z[i * LANES + lane];
            to[i] = bytes ? clamp(v) : v;
        }
        if (f->transform.invert && rows->first[o + lane] >= 0)
            invert(columns, f->width, to);
        if (!f->scale.identity)
            for (int64_t i = 0; i < f->width; i++) {
                float product = to[i] * a;
                to[i] = product + b;
            }
    }
}

/* Channels [c, end) out of a plane. room: t, u and z. */
static void render_plane(const soma_framing *f, const plane *p, const resampler *rows, const resampler *columns,
                         int64_t c, int64_t end, float *room, float *y)
{
    int64_t n = (columns->high - columns->low) * p->step;
    float *t = room, *u = t + n * LANES, *z = u + n * LANES;
    for (int64_t o = 0; o < f->height; o += LANES) {
        int64_t lanes = f->height - o < LANES ? f->height - o : LANES;
        for (int64_t lane = 0; lane < lanes; lane++) /* of the last rows, the other lanes hold what was there before */
            blend_rows(p, rows, columns, o + lane, t + lane * n);
        turn(t, n, u);
        for (int64_t k = c; k < end; k++) {
            int64_t component = p->step == 1 ? 0 : f->transform.bgr ? f->channels - 1 - k : k;
            blend_columns(columns, p->step, component, u, f->width, z);
            write_rows(f, rows, columns, k, o, lanes, z, p->bytes != NULL, y);
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
    int64_t step = image ? image->channels : 1, plane_size = source->height * source->width;
    resampler rows = {.width = filter_width(&frame->y)}, columns = {.width = filter_width(&frame->x)};
    size_t places = (size_t)(f->height + f->width);
    size_t weights = (size_t)(f->height * rows.width + f->width * columns.width);
    size_t room = (size_t)(LANES * (2 * (frame->x.high - frame->x.low) * step + f->width));
    soma_status status = reserve(s, scratch, places * sizeof(int64_t) + (weights + room) * sizeof(float));
    if (status)
        return status;
    rows.first = scratch->block;
    columns.first = rows.first + f->height;
    rows.weight = (float *)(void *)(columns.first + f->width);
    columns.weight = rows.weight + f->height * rows.width;
    float *numbers = columns.weight + f->width * columns.width;
    fill(&rows, &frame->y);
    fill(&columns, &frame->x);
    if (image) {
        plane all = {image->pixels, NULL, image->width * step, step};
        render_plane(f, &all, &rows, &columns, 0, f->channels, numbers, y);
        return SOMA_OK;
    }
    for (int64_t c = 0; c < f->channels; c++) {
        int64_t from = (f->transform.bgr ? f->channels - 1 - c : c) * plane_size;
        plane one = {source->bytes ? source->bytes + from : NULL, source->floats ? source->floats + from : NULL,
                     source->width, 1};
        render_plane(f, &one, &rows, &columns, c, c + 1, numbers, y);
    }
    return SOMA_OK;
}
