/* SPDX-License-Identifier: Apache-2.0
 *
 * soma/model.h: models as graphs of values, and gradients.
 *
 * Builders never need a check: a failed call marks the model and returns the failed value, which every later builder
 * accepts and passes on. The first mistake is the one that soma_error tells, with the caller's file and line.
 */
#ifndef SOMA_MODEL_H
#define SOMA_MODEL_H

#include <soma/op.h>

#ifdef __cplusplus
extern "C" {
#endif

/** A graph of values plus its named tensors. Freed by soma_model_free or with its context. */
typedef struct soma_model soma_model;

/** An empty model; NULL: no memory. */
SOMA_API soma_model *soma_model_new(soma *s, const char *name);
/** Gives the model back, with its values, tensors and texts. Programs that were compiled from it and trainings that
 *  are under way go on and keep what they need of it, its tensors and values as well, until they are freed. */
SOMA_API void soma_model_free(soma_model *m);
SOMA_API soma *soma_model_context(const soma_model *m);
SOMA_API const char *soma_model_name(const soma_model *m);

/** Layers and values made between push and pop get the prefix "name." */
SOMA_API void soma_scope_push(soma_model *m, const char *name);
SOMA_API void soma_scope_pop(soma_model *m);

/* ---- values that are not computed ---- */

typedef struct soma_input_options {
    size_t struct_size;
    soma_at at;
    soma_shape shape; /**< without the batch: N is put in front */
    bool no_batch;    /**< the shape is the whole shape */
} soma_input_options;
/** An input: soma_input(m, "image", SOMA_F32, SOMA_SHAPE(3, 32, 32)). */
SOMA_API soma_value soma_input_with(soma_model *m, const char *name, soma_dtype dtype, const soma_input_options *o);
#define soma_input(m, name, dtype, ...)                                                                                \
    soma_input_with(m, name, dtype, SOMA_OPTIONS(soma_input_options, .shape = __VA_ARGS__))

typedef struct soma_tensor_options {
    size_t struct_size;
    soma_at at;
    soma_shape shape;
    soma_dtype dtype; /**< default f32 */
    /** "zeros" (default), "ones", "constant", "uniform", "normal", "he_uniform", "he_normal", "glorot_uniform",
     *  "glorot_normal", "lecun_uniform", "he_normal_out" (by fan_out), "pytorch_uniform" (1 / sqrt(fan_in) is the
     *  limit: PyTorch's default) */
    const char *init;
    /** constant: a; uniform: from a to b; normal: mean a, deviation b. Both 0: 0 to 1, or 0 and 1; SOMA_ZERO for
     *  both: 0. a without b, b < a or a deviation < 0, and either number for an initialiser that takes none are
     *  errors */
    double a, b;
    int64_t fan_in; /**< he, glorot, lecun; 0: from the shape (OIHW, or out x in) */
    int64_t fan_out;
    bool frozen; /**< not trained */
    bool buffer; /**< kept up to date by the model itself, as running statistics: no parameter; implies frozen */
} soma_tensor_options;
/** A named tensor of the model: a parameter, or a buffer. The name is made unique within the scope. */
SOMA_API soma_value soma_parameter_with(soma_model *m, const char *name, const soma_tensor_options *o);
#define soma_parameter(m, name, ...)                                                                                   \
    soma_parameter_with(m, name, SOMA_OPTIONS(soma_tensor_options, .shape = __VA_ARGS__))

/** A parameter or buffer that the model has already, as a value: "conv1.weight", as soma_tensor_find and soma summary
 *  name it. For weights that layers share and for penalties on weights; what is computed from it has gradients like
 *  anything else:
 *
 *      soma_value w = soma_parameter_value(m, "dense1.weight");
 *      soma_value penalty = soma_reduce_sum(soma_square(w));
 *
 *  Shape: the tensor's, without a batch. Fails, naming the nearest, where the model has no such tensor, and for state
 *  of an optimizer. */
SOMA_API soma_value soma_parameter_value_at(soma_model *m, const char *name, soma_at at);
#define soma_parameter_value(m, name) soma_parameter_value_at(m, name, SOMA_AT)

/** A constant; the bytes are copied. */
SOMA_API soma_value soma_constant_at(soma_model *m, const soma_tensor *tensor, soma_at at);
#define soma_constant(m, tensor) soma_constant_at(m, tensor, SOMA_AT)
/** A scalar constant of x's type, in x's graph. */
SOMA_API soma_value soma_scalar_at(soma_value x, double number, soma_at at);
#define soma_scalar(x, number) soma_scalar_at(x, number, SOMA_AT)

/* ---- ops ---- */

/** Names one call of an op; `attrs` points to the op's attribute struct (NULL: all defaults), n_out outputs are written
 *  (absent optional ones at the end may be left out). layer: a name for errors, plans and random draws; NULL:
 *  automatic. */
typedef struct soma_apply_options {
    size_t struct_size;
    soma_at at;
    const void *attrs;
    const char *layer;
} soma_apply_options;
SOMA_API soma_status soma_apply_with(const soma_op *op, const soma_value *in, int n_in, soma_value *out, int n_out,
                                     const soma_apply_options *o);

/** True for a value that exists and whose builder succeeded. */
SOMA_API bool soma_ok(soma_value x);
/** No value: for absent optional inputs. */
static inline soma_value soma_none(void)
{
    soma_value none = {NULL, -1};
    return none;
}
/** Type of a value; the batch is still symbolic. */
SOMA_API soma_type soma_value_type(soma_value x);
SOMA_API const char *soma_value_name(soma_value x);

/** Names an output of the model. */
SOMA_API void soma_output_at(soma_model *m, const char *name, soma_value x, soma_at at);
#define soma_output(m, name, x) soma_output_at(m, name, x, SOMA_AT)
SOMA_API soma_value soma_model_input(const soma_model *m, int index); /**< the failed value past the end */
SOMA_API soma_value soma_model_output(const soma_model *m, int index);
SOMA_API const char *soma_model_output_name(const soma_model *m, int index);

/** Gradients of the scalar y with respect to x[0..n-1] as values of the same graph, so they may be differentiated
 *  again. An op on the way that has no gradient is an error that names it. Where y does not depend on x[i], zeros. */
SOMA_API soma_status soma_grad_at(soma_value y, const soma_value *x, int n, soma_value *dx, soma_at at);
#define soma_grad(y, x, n, dx) soma_grad_at(y, x, n, dx, SOMA_AT)

/** One op of the model, in building order: for tables and drawings. Texts live as long as the model. */
typedef struct soma_model_node {
    const char *op, *layer;
    soma_type output;   /**< of output 0; the batch is symbolic */
    int64_t parameters; /**< elements of the tensors that it reads first (shared ones count once) */
    int64_t trainable;  /**< of them, not frozen */
    int64_t buffers;    /**< elements of the running statistics that it reads first; they count as no parameters */
    double flops;       /**< for one sample */
    uint64_t reserved[4];
} soma_model_node;
SOMA_API int soma_model_nodes(const soma_model *m);
SOMA_API soma_model_node soma_model_node_at(const soma_model *m, int index);

/* ---- named tensors of a model ---- */

/** A tensor by position in creation order, a view into the parameter block; data NULL past the end. Plain layout. */
typedef struct soma_named_tensor {
    const char *name;
    soma_tensor tensor;
    bool frozen;
    bool buffer; /**< no parameter: running statistics */
    uint64_t reserved[2];
} soma_named_tensor;
SOMA_API int soma_tensor_count(soma_model *m);
/** Fills the tensors on first use (initialisers), so the data is readable and writable; call soma_touch after
 *  writing. */
SOMA_API soma_named_tensor soma_tensor_at(soma_model *m, int index);
SOMA_API soma_named_tensor soma_tensor_find(soma_model *m, const char *name);
/** Says that tensors were written from outside: packed copies are made anew before the next step. */
SOMA_API void soma_touch(soma_model *m);
/** SOMA_DATA where a parameter that is not frozen, or a running statistic, holds NaN or infinity; the sentence names
 *  the first one. soma_fit ends with it; after an open loop it goes before soma_save. */
SOMA_API soma_status soma_check_finite(soma_model *m);
/** Draws the initial values (again), from the context's seed unless seeded otherwise. */
SOMA_API soma_status soma_initialize(soma_model *m, uint64_t seed);

#ifdef __cplusplus
}
#endif
#endif
