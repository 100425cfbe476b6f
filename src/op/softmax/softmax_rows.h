/* SPDX-License-Identifier: Apache-2.0
 *
 * op/softmax/softmax_rows.h: the vector loops that softmax and softmax cross-entropy share. Included by *_cpu.c only.
 */
#ifndef SOMA_OP_SOFTMAX_ROWS_H
#define SOMA_OP_SOFTMAX_ROWS_H

#include "cpu/vecmath.h"

/* A block of rows stays in the first-level cache over the passes below. */
#define SOMA_BLOCK_ELEMENTS 2048
#define SOMA_BLOCK_ROWS 64

static inline int64_t soma_block_rows(int64_t columns)
{
    int64_t rows = SOMA_BLOCK_ELEMENTS / columns;
    return rows < 1 ? 1 : rows > SOMA_BLOCK_ROWS ? SOMA_BLOCK_ROWS : rows;
}

static inline float soma_row_max(const float *x, int64_t columns)
{
    float max = x[0];
#pragma omp simd reduction(max : max)
    for (int64_t j = 0; j < columns; j++)
        max = x[j] > max ? x[j] : max;
    return max;
}

/* y = exp(x - max of the row), with each row's maximum and sum. The exponentials run over the block as one array, so
 * ten classes cost no more per element than a thousand. x and y may be the same array. */
static inline void soma_exp_rows(const float *x, float *y, int64_t rows, int64_t columns, float *max, float *sum)
{
    for (int64_t r = 0; r < rows; r++) {
        const float *xr = x + r * columns;
        float *yr = y + r * columns;
        float m = soma_row_max(xr, columns);
        max[r] = m;
#pragma omp simd
        for (int64_t j = 0; j < columns; j++)
            yr[j] = xr[j] - m;
    }
#pragma omp simd
    for (int64_t j = 0; j < rows * columns; j++)
        y[j] = soma_vexp(y[j]);
    for (int64_t r = 0; r < rows; r++) {
        const float *yr = y + r * columns;
        float total = 0;
#pragma omp simd reduction(+ : total)
        for (int64_t j = 0; j < columns; j++)
            total += yr[j];
        sum[r] = total;
    }
}

static inline void soma_scale_rows(float *y, int64_t rows, int64_t columns, const float *sum)
{
    for (int64_t r = 0; r < rows; r++) {
        float *yr = y + r * columns, scale = 1.0f / sum[r];
#pragma omp simd
        for (int64_t j = 0; j < columns; j++)
            yr[j] *= scale;
    }
}

#endif
