/* SPDX-License-Identifier: Apache-2.0
 *
 * soma/ops.h: builders, one call per op. Layers (soma/nn.h) and gradients are made of these.
 * Conventions are ONNX's and PyTorch's: NCHW, OIHW, cross-correlation, padding {top, left, bottom, right}.
 */
#ifndef SOMA_OPS_H
#define SOMA_OPS_H

#include <soma/families.h>
#include <soma/graph.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ---- elementwise functions of one array and of two: soma/families.h ---- */

/* ---- matmul: y = act(op(a) op(b) + bias); leading dimensions are batches and broadcast ---- */
typedef struct soma_matmul_options {
    size_t struct_size;
    soma_at at;
    soma_value b;
    soma_value bias; /**< broadcast over rows: shape [columns] */
    bool transpose_a, transpose_b;
} soma_matmul_options;
SOMA_API soma_value soma_matmul_with(soma_value a, const soma_matmul_options *o);
/** soma_matmul(a, b, .transpose_b = true) */
#define soma_matmul(a, ...) soma_matmul_with(a, SOMA_OPTIONS(soma_matmul_options, .b = __VA_ARGS__))

/* ---- reductions ---- */
/** A set of axes: SOMA_AXIS(1) | SOMA_AXIS(2); axes count N as 0. */
#define SOMA_AXIS(i) (1u << (i))
typedef struct soma_reduce_options {
    size_t struct_size;
    soma_at at;
    soma_value x;
    uint32_t axes;  /**< 0: all */
    bool keep_dims; /**< reduced axes stay, with size 1 */
} soma_reduce_options;
SOMA_API soma_value soma_reduce_sum_with(const soma_reduce_options *o);
SOMA_API soma_value soma_reduce_mean_with(const soma_reduce_options *o);
SOMA_API soma_value soma_reduce_max_with(const soma_reduce_options *o);
#define soma_reduce_sum(...) soma_reduce_sum_with(SOMA_OPTIONS(soma_reduce_options, .x = __VA_ARGS__))
#define soma_reduce_mean(...) soma_reduce_mean_with(SOMA_OPTIONS(soma_reduce_options, .x = __VA_ARGS__))
#define soma_reduce_max(...) soma_reduce_max_with(SOMA_OPTIONS(soma_reduce_options, .x = __VA_ARGS__))
/** Broadcasts x to the shape of `like` (whose elements are not read), dividing by the number of copies when mean. */
SOMA_API soma_value soma_expand_at(soma_value x, soma_value like, uint32_t axes, bool mean, soma_at at);
/** Sums x down to the shape of `like` (whose elements are not read): the gradient of broadcasting. */
SOMA_API soma_value soma_sum_to_at(soma_value x, soma_value like, soma_at at);

/* ---- shapes ---- */
/** Same elements, other shape; one dimension may be 0: what is left over. Constant dimensions, or SOMA_N in front. */
SOMA_API soma_value soma_reshape_at(soma_value x, soma_shape shape, soma_at at);
#define soma_reshape(x, ...) soma_reshape_at(x, __VA_ARGS__, SOMA_AT)
/** Axes in a new order: soma_transpose(x, SOMA_SHAPE(0, 2, 1)). */
SOMA_API soma_value soma_transpose_at(soma_value x, soma_shape order, soma_at at);
#define soma_transpose(x, ...) soma_transpose_at(x, __VA_ARGS__, SOMA_AT)
SOMA_API soma_value soma_concat_at(const soma_value *x, int n, int axis, soma_at at);
#define soma_concat(x, n, axis) soma_concat_at(x, n, axis, SOMA_AT)
typedef struct soma_slice_options {
    size_t struct_size;
    soma_at at;
    soma_value x;
    int64_t axis;       /**< one axis per call */
    int64_t begin, end; /**< end is exclusive; 0: to the end */
} soma_slice_options;
SOMA_API soma_value soma_slice_with(const soma_slice_options *o);
#define soma_slice(...) soma_slice_with(SOMA_OPTIONS(soma_slice_options, .x = __VA_ARGS__))

/* ---- convolution as an op: weights are values (the layer is soma_conv2d in soma/nn.h) ---- */
typedef struct soma_op_conv2d_options {
    size_t struct_size;
    soma_at at;
    soma_value w;        /**< [K, C / groups, kh, kw] */
    soma_value b;        /**< [K]; absent: none */
    int64_t stride[2];   /**< 0: 1 */
    int64_t pad[4];      /**< top, left, bottom, right */
    int64_t dilation[2]; /**< 0: 1 */
    int64_t groups;      /**< 0: 1 */
} soma_op_conv2d_options;
SOMA_API soma_value soma_op_conv2d_with(soma_value x, const soma_op_conv2d_options *o);
/** soma_op_conv2d(x, w, .pad = {1, 1, 1, 1}) */
#define soma_op_conv2d(x, ...) soma_op_conv2d_with(x, SOMA_OPTIONS(soma_op_conv2d_options, .w = __VA_ARGS__))

/* ---- softmax and losses ---- */
/** Along the last axis. */
SOMA_API soma_value soma_softmax_at(soma_value x, soma_at at);
SOMA_API soma_value soma_log_softmax_at(soma_value x, soma_at at);
#define soma_softmax(x) soma_softmax_at(x, SOMA_AT)
#define soma_log_softmax(x) soma_log_softmax_at(x, SOMA_AT)
/** Mean over rows of -log softmax(logits)[target], from logits [rows, classes]. target: i32 [rows] (sparse) or the
 *  logits' type [rows, classes] (one-hot, or any distribution). A label out of range fails the step. */
SOMA_API soma_value soma_softmax_cross_entropy_at(soma_value logits, soma_value target, soma_at at);
#define soma_softmax_cross_entropy(logits, target) soma_softmax_cross_entropy_at(logits, target, SOMA_AT)
/** Mean over all elements of (x - target)^2. */
SOMA_API soma_value soma_mean_squared_error_at(soma_value x, soma_value target, soma_at at);
#define soma_mean_squared_error(x, target) soma_mean_squared_error_at(x, target, SOMA_AT)
/** Share of rows whose largest logit is the target's class (the first one wins ties); target as above. No gradient. */
SOMA_API soma_value soma_accuracy_at(soma_value logits, soma_value target, soma_at at);
#define soma_accuracy(logits, target) soma_accuracy_at(logits, target, SOMA_AT)

#ifdef __cplusplus
}
#endif
#endif
