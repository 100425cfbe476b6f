/* SPDX-License-Identifier: Apache-2.0
 *
 * tensor/element.h: what reference kernels share: element access in f64, index arithmetic, counts over the full batch.
 */
#ifndef SOMA_TENSOR_ELEMENT_H
#define SOMA_TENSOR_ELEMENT_H

#include <soma/op.h>

#include <string.h>

/* bf16 is the upper half of an f32. */
static inline float soma_from_bf16(uint16_t half)
{
    uint32_t bits = (uint32_t)half << 16;
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

/* To the nearest, ties to even; NaN stays NaN. */
static inline uint16_t soma_to_bf16(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    if (x != x)
        return (uint16_t)(bits >> 16 | 0x40);
    return (uint16_t)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

static inline double soma_get(const void *data, soma_dtype dtype, int64_t i)
{
    switch (dtype) {
    case SOMA_F32:
        return (double)((const float *)data)[i];
    case SOMA_F64:
        return ((const double *)data)[i];
    case SOMA_I32:
        return (double)((const int32_t *)data)[i];
    case SOMA_U8:
        return (double)((const uint8_t *)data)[i];
    case SOMA_BF16:
        return (double)soma_from_bf16(((const uint16_t *)data)[i]);
    }
    return 0;
}

static inline void soma_set(void *data, soma_dtype dtype, int64_t i, double number)
{
    switch (dtype) {
    case SOMA_F32:
        ((float *)data)[i] = (float)number;
        break;
    case SOMA_F64:
        ((double *)data)[i] = number;
        break;
    case SOMA_I32:
        ((int32_t *)data)[i] = (int32_t)number;
        break;
    case SOMA_U8:
        ((uint8_t *)data)[i] = (uint8_t)number;
        break;
    case SOMA_BF16:
        ((uint16_t *)data)[i] = soma_to_bf16((float)number);
        break;
    }
}

static inline bool soma_is_float(soma_dtype dtype)
{
    return dtype == SOMA_F32 || dtype == SOMA_F64;
}

static inline bool soma_same_shape(const soma_shape *a, const soma_shape *b)
{
    if (a->rank != b->rank)
        return false;
    for (int i = 0; i < a->rank; i++)
        if (a->dim[i] != b->dim[i])
            return false;
    return true;
}

/* Elements of an argument in the full batch: what means divide by. */
static inline double soma_full_elements(const soma_prepare *p, const soma_arg *a)
{
    return a->batched ? (double)a->elements / (double)p->batch * (double)p->full_batch : (double)a->elements;
}

/* Row-major strides in elements. */
static inline void soma_strides(const soma_shape *shape, int64_t stride[SOMA_MAX_RANK])
{
    int64_t n = 1;
    for (int i = shape->rank - 1; i >= 0; i--) {
        stride[i] = n;
        n *= shape->dim[i];
    }
}

#endif
