/* SPDX-License-Identifier: Apache-2.0
 *
 * soma/tensor.h: element types, shapes, and a tensor as a view of borrowed bytes.
 * Shapes are NCHW / OIHW, row-major. A dimension is a constant c >= 1, or k times the batch, written -k (SOMA_N is -1).
 */
#ifndef SOMA_TENSOR_H
#define SOMA_TENSOR_H

#include <soma/base.h>

#ifdef __cplusplus
#include <initializer_list>
extern "C" {
#endif

/** SOMA_BF16 (the upper half of an f32) is how a program compiled with .precision = "bf16" stores activations; models
 *  and their tensors have none. */
typedef enum soma_dtype { SOMA_F32, SOMA_F64, SOMA_I32, SOMA_U8, SOMA_BF16 } soma_dtype;

/** Bytes of one element. */
SOMA_API size_t soma_dtype_size(soma_dtype dtype);
/** "f32", "f64", "i32", "u8", "bf16". */
SOMA_API const char *soma_dtype_name(soma_dtype dtype);

#define SOMA_MAX_RANK 8
/** The batch as a dimension: symbolic until a program is compiled. */
#define SOMA_N ((int64_t)-1)

typedef struct soma_shape {
    int rank; /**< 0: a scalar */
    int64_t dim[SOMA_MAX_RANK];
} soma_shape;

#ifdef __cplusplus
}
namespace soma_cpp
{
inline soma_shape shape(std::initializer_list<int64_t> dims)
{
    soma_shape s = {};
    for (int64_t d : dims)
        if (s.rank < SOMA_MAX_RANK)
            s.dim[s.rank++] = d;
    return s;
}
} // namespace soma_cpp
extern "C" {
#define SOMA_SHAPE(...) (soma_cpp::shape({__VA_ARGS__}))
#else
#define SOMA_SHAPE(...)                                                                                                \
    ((soma_shape){.rank = (int)(sizeof((int64_t[]){__VA_ARGS__}) / sizeof(int64_t)), .dim = {__VA_ARGS__}})
#endif
/** The shape of a scalar. */
#ifdef __cplusplus
#define SOMA_SCALAR (soma_shape{})
#else
#define SOMA_SCALAR ((soma_shape){.rank = 0})
#endif

/** Type and shape: what shape inference knows about a value. */
typedef struct soma_type {
    soma_dtype dtype;
    soma_shape shape;
} soma_type;

/** A view of bytes that somebody else owns: plain row-major. */
typedef struct soma_tensor {
    soma_dtype dtype;
    soma_shape shape;
    void *data;
} soma_tensor;

/** Elements of a shape whose dimensions are constants; 0 where one is symbolic, not positive, or the product
 *  overflows. */
SOMA_API int64_t soma_shape_elements(const soma_shape *shape);

#ifdef __cplusplus
}
#endif
#endif
