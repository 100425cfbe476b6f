/* SPDX-License-Identifier: Apache-2.0
 *
 * data/background.c: how light pictures are at their edges, which tells white on black from black on white: the mean
 * of all pixels overlaps too much (of Fashion-MNIST's pictures 1 % would be taken for the wrong kind, and 16 % would
 * not be found).
 */
#include "data/dataset.h"

#include <math.h>

#define SAMPLES_OF_MEMORY 256
#define SAMPLES_OF_FILES 64 /* each is decoded */

double soma_framing_background(const soma_framing *f, const float *x)
{
    double sum = 0;
    int64_t h = f->height, w = f->width, n = 0;
    for (int64_t c = 0; c < f->channels; c++) {
        int k = f->scale.channels == 1 ? 0 : (int)c;
        const float *plane = x + c * h * w;
        for (int64_t i = 0; i < h; i++)
            for (int64_t j = 0; j < w; j += i == 0 || i == h - 1 || w == 1 ? 1 : w - 1, n++)
                sum += ((double)plane[i * w + j] - (double)f->scale.b[k]) / (double)f->scale.a[k];
    }
    return n ? sum / (double)n : 0;
}

bool soma_dataset_background(const soma_dataset *d, double *background)
{
    *background = 0;
    if (!d || d->x_dtype != SOMA_U8 || d->input.shape.rank != 3)
        return false;
    soma *s = d->object.s;
    float *x = soma_alloc_array(s, (size_t)d->row, sizeof *x);
    soma_reader r;
    if (!x)
        return false;
    soma_reader_open(&r, s);
    int64_t samples = d->files ? SAMPLES_OF_FILES : SAMPLES_OF_MEMORY, n = samples < d->count ? samples : d->count;
    int64_t read = 0;
    double sum = 0;
    for (int64_t i = 0; i < n; i++) {
        int64_t at = i * d->count / n;
        if (d->read(d, &r, &at, 1, x, NULL) == SOMA_OK) { /* whoever trains on it will say what is wrong with it */
            sum += soma_framing_background(&d->framing, x);
            read++;
        }
        soma_clear(&r.s);
    }
    r.skipped = 0;
    soma_reader_report(&r, d);
    soma_reader_close(&r);
    soma_release(s, x);
    *background = read ? sum / (double)read : 0;
    return read > 0 && isfinite(*background);
}

bool soma_looks_inverted(double usual, double seen)
{
    double inverse = 255 - usual, apart = fabs(inverse - usual);
    return apart > 127 && fabs(seen - inverse) < 0.75 * fabs(seen - usual);
}
