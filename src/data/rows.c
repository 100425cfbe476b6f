/* SPDX-License-Identifier: Apache-2.0
 *
 * data/rows.c: a batch out of memory: rows gathered in any order, converted on the way. Rows of one or two numbers (a
 * neuron's input) are copied by plain loops: a call of memcpy a row would cost more than a training step of a neuron.
 */
#include "data/convert.h"
#include "data/dataset.h"

#define CHUNK 128    /* positions translated at a time */
#define SHORT_ROW 16 /* elements */
#define AHEAD 3      /* rows fetched before they are needed: rows lie at random places, so the machine cannot guess */
#define CACHE_LINE 64

/* x [rows, size] -> y [n, size] */
static void gather_f32(const float *restrict x, int64_t size, const int64_t *row, int64_t n, float *restrict y)
{
    if (size == 1) {
        for (int64_t i = 0; i < n; i++)
            y[i] = x[row[i]];
    } else if (size == 2) {
        for (int64_t i = 0; i < n; i++) {
            y[2 * i] = x[2 * row[i]];
            y[2 * i + 1] = x[2 * row[i] + 1];
        }
    } else if (size <= SHORT_ROW) {
        for (int64_t i = 0; i < n; i++)
            for (int64_t k = 0; k < size; k++)
                y[i * size + k] = x[row[i] * size + k];
    } else {
        for (int64_t i = 0; i < n; i++)
            memcpy(y + i * size, x + row[i] * size, (size_t)size * sizeof *y);
    }
}

/* Row [channels, plane], each channel with its own a and b. */
static void scale_f32(const soma_scale *scale, const float *restrict x, int64_t size, float *restrict y)
{
    int64_t plane = scale->channels == 1 ? size : scale->plane;
    for (int c = 0; c < scale->channels; c++) {
        float a = scale->a[c], b = scale->b[c];
        for (int64_t i = c * plane; i < (c + 1) * plane; i++) {
            float product = x[i] * a;
            y[i] = product + b;
        }
    }
}

static void scale_u8(const soma_scale *scale, const uint8_t *x, int64_t size, float *y)
{
    int64_t plane = scale->channels == 1 ? size : scale->plane;
    for (int c = 0; c < scale->channels; c++)
        soma_convert_u8(x + c * plane, plane, scale->a[c], scale->b[c], y + c * plane);
}

static inline void fetch(const char *row, int64_t bytes)
{
    for (int64_t i = 0; i < bytes; i += CACHE_LINE)
        __builtin_prefetch(row + i);
    __builtin_prefetch(row + bytes - 1);
}

/* Pictures that are moved: each through its frame. */
static soma_status render_inputs(const soma_dataset *d, soma_reader *r, const int64_t *row, int64_t n, float *y)
{
    const soma_chance *chance = r->augment && d->augments ? &r->chance : NULL;
    for (int64_t i = 0; i < n; i++) {
        soma_source source = {.height = d->source[0], .width = d->source[1]};
        if (d->x_dtype == SOMA_U8)
            source.bytes = (const uint8_t *)d->x + row[i] * d->x_row;
        else
            source.floats = (const float *)d->x + row[i] * d->x_row;
        soma_frame frame = soma_frame_of(&d->framing, chance, row[i], source.height, source.width);
        soma_status status = soma_render(&r->s, &r->scratch, &d->framing, &frame, &source, y + i * d->row);
        if (status)
            return status;
    }
    return SOMA_OK;
}

static soma_status write_inputs(const soma_dataset *d, soma_reader *r, const int64_t *row, int64_t n, float *y)
{
    int64_t size = d->x_row;
    const soma_scale *scale = &d->framing.scale;
    if (d->moves || (r->augment && d->augments))
        return render_inputs(d, r, row, n, y);
    if (d->x_dtype == SOMA_F32) {
        if (scale->identity)
            gather_f32(d->x, size, row, n, y);
        else
            for (int64_t i = 0; i < n; i++)
                scale_f32(scale, (const float *)d->x + row[i] * size, size, y + i * size);
        return SOMA_OK;
    }
    const uint8_t *x = d->x;
    for (int64_t i = 0; i < n && i < AHEAD; i++)
        fetch((const char *)x + row[i] * size, size);
    for (int64_t i = 0; i < n; i++) {
        if (i + AHEAD < n)
            fetch((const char *)x + row[i + AHEAD] * size, size);
        scale_u8(scale, x + row[i] * size, size, y + i * size);
    }
    return SOMA_OK;
}

void soma_dataset_targets(const soma_dataset *d, const int64_t *row, int64_t n, void *y)
{
    if (d->y_dtype == SOMA_F32) {
        gather_f32(d->y, d->y_row, row, n, y);
        return;
    }
    int32_t *label = y;
    if (d->y_dtype == SOMA_U8)
        for (int64_t i = 0; i < n; i++)
            label[i] = ((const uint8_t *)d->y)[row[i]];
    else
        for (int64_t i = 0; i < n; i++)
            label[i] = ((const int32_t *)d->y)[row[i]];
    for (int64_t i = 0; d->relabel && i < n;
         i++) /* -1 where the caller has changed a label meanwhile: steps refuse it */
        label[i] = label[i] >= 0 && label[i] < d->labels ? d->relabel[label[i]] : -1;
}

soma_status soma_dataset_read_memory(const soma_dataset *d, soma_reader *r, const int64_t *index, int64_t n, void *x,
                                     void *y)
{
    int64_t translated[CHUNK];
    float *inputs = x;
    char *targets = d->has_target ? y : NULL;
    for (int64_t done = 0; done < n;) {
        const int64_t *row = index + done;
        int64_t part = n - done;
        if (d->rows) {
            part = part < CHUNK ? part : CHUNK;
            for (int64_t i = 0; i < part; i++)
                translated[i] = d->rows[row[i]];
            row = translated;
        }
        soma_status status = inputs ? write_inputs(d, r, row, part, inputs + done * d->row) : SOMA_OK;
        if (status)
            return status;
        if (targets) /* targets are written as f32 or i32, 4 bytes both */
            soma_dataset_targets(d, row, part, targets + done * d->y_row * 4);
        done += part;
    }
    return SOMA_OK;
}
