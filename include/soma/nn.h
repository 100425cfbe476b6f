/* SPDX-License-Identifier: Apache-2.0
 *
 * soma/nn.h: layers (ops plus named parameters), optimizers and schedules.
 */
#ifndef SOMA_NN_H
#define SOMA_NN_H

#include <soma/ops.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ---- layers; `name` gives the scope of their parameters; automatic names are conv1, conv2, dense1, ... ---- */

typedef struct soma_dense_options {
    size_t struct_size;
    soma_at at;
    soma_value x;           /**< [N, features]; more dimensions must be flattened first */
    int64_t units;          /**< required */
    const char *activation; /**< NULL: none; the name of one, as "relu" */
    const char *name;
    const char *init;      /**< weight; default he_uniform before relu, glorot_uniform otherwise */
    double init_a, init_b; /**< for "constant", "uniform", "normal", see soma_tensor_options */
    const char *bias_init; /**< default zeros */
    double bias_a, bias_b;
    bool no_bias;
} soma_dense_options;
/** y = act(x w^T + b), weight [units, features], bias [units] (PyTorch's Linear). */
SOMA_API soma_value soma_dense_with(const soma_dense_options *o);
#define soma_dense(...) soma_dense_with(SOMA_OPTIONS(soma_dense_options, .x = __VA_ARGS__))

typedef struct soma_conv2d_options {
    size_t struct_size;
    soma_at at;
    soma_value x;        /**< [N, C, H, W] */
    int64_t filters;     /**< required */
    int64_t kernel[2];   /**< required: height, width */
    int64_t stride[2];   /**< 0: 1 */
    int64_t pad[4];      /**< top, left, bottom, right */
    bool same;           /**< padding so that H and W become ceil(H / stride): Keras' and TensorFlow's "same" */
    int64_t dilation[2]; /**< 0: 1 */
    int64_t groups;      /**< 0: 1 */
    const char *activation;
    const char *name;
    const char *init;
    double init_a, init_b;
    const char *bias_init;
    double bias_a, bias_b;
    bool no_bias;
} soma_conv2d_options;
/** Weight [filters, C / groups, kh, kw], bias [filters] (PyTorch's Conv2d). */
SOMA_API soma_value soma_conv2d_with(const soma_conv2d_options *o);
#define soma_conv2d(...) soma_conv2d_with(SOMA_OPTIONS(soma_conv2d_options, .x = __VA_ARGS__))

typedef struct soma_batch_norm_options {
    size_t struct_size;
    soma_at at;
    soma_value x;    /**< [N, C, H, W], [N, C] or any [N, C, ...] */
    double momentum; /**< 0: 0.1 (pytorch) or 0.99 (keras); SOMA_ZERO: 0 */
    double epsilon;  /**< added to the variance; 0: 1e-5 (pytorch) or 1e-3 (keras) */
    /** NULL: "pytorch", running = (1 - momentum) running + momentum new, the new variance divided by M - 1; "keras":
     *  running = momentum running + (1 - momentum) new, divided by M */
    const char *convention;
    bool no_scale, no_shift;
    const char *activation;
    /** normalises with the running statistics while training too and leaves them alone; weight and bias are not
     *  trained (Keras' trainable = false; PyTorch's eval() and requires_grad = False) */
    bool frozen;
    const char *name;
} soma_batch_norm_options;
/** y = act(weight (x - mean) / sqrt(variance + epsilon) + bias) per channel, over the M values of a channel in the
 *  batch (Ioffe and Szegedy 2015; ONNX BatchNormalization; PyTorch's BatchNorm1d and 2d; Keras' BatchNormalization).
 *  Tensors weight, bias, running_mean, running_var, all [C]. A program that only evaluates or predicts uses the running
 *  statistics; a step that updates parameters updates them last. Training with one value per channel is refused. */
SOMA_API soma_value soma_batch_norm_with(const soma_batch_norm_options *o);
#define soma_batch_norm(...) soma_batch_norm_with(SOMA_OPTIONS(soma_batch_norm_options, .x = __VA_ARGS__))

typedef struct soma_dropout_options {
    size_t struct_size;
    soma_at at;
    soma_value x;
    /** share of elements set to zero while training, 0 <= rate < 1; the rest is scaled by 1 / (1 - rate) */
    double rate;
    bool maps; /**< whole feature maps x[n,c] are dropped: PyTorch's Dropout2d, Keras' SpatialDropout2D */
    const char *name;
} soma_dropout_options;
SOMA_API soma_value soma_dropout_with(const soma_dropout_options *o);
#define soma_dropout(...) soma_dropout_with(SOMA_OPTIONS(soma_dropout_options, .x = __VA_ARGS__))

/** An activation by name; NULL and "linear" return x. Unknown names fail with the nearest known one. */
SOMA_API soma_value soma_activation_at(soma_value x, const char *name, soma_at at);
#define soma_activation(x, name) soma_activation_at(x, name, SOMA_AT)

/** A loss by name: "softmax_cross_entropy", "mean_squared_error" (also "mse"). */
SOMA_API soma_value soma_loss_at(const char *name, soma_value output, soma_value target, soma_at at);
#define soma_loss(name, output, target) soma_loss_at(name, output, target, SOMA_AT)

/* ---- optimizers ---- */

typedef struct soma_sgd_options {
    size_t struct_size;
    soma_at at;
    double lr;           /**< default 0.01; SOMA_ZERO: a rate of 0 */
    double momentum;     /**< v = momentum v - lr g; w += v (Keras) */
    double decay;        /**< lr / (1 + decay t) at update t, counted from 0 (Keras 2) */
    double weight_decay; /**< adds weight_decay * w to the gradient (PyTorch) */
    bool nesterov;       /**< w += momentum v - lr g with the new v */
    double peak_lr;      /**< > 0: a one-cycle rate with this peak instead of lr (see soma_adam_options) */
} soma_sgd_options;

typedef struct soma_adam_options {
    size_t struct_size;
    soma_at at;
    double lr;           /**< default 0.001; SOMA_ZERO: a rate of 0 */
    double beta1, beta2; /**< defaults 0.9, 0.999; SOMA_ZERO: 0 */
    double epsilon;      /**< default 1e-8, SOMA_ZERO: 0; added to sqrt(v / (1 - beta2^t)) as in PyTorch 2.15 */
    double weight_decay;
    /** > 0: one-cycle (Smith 2018, PyTorch's OneCycleLR with cosine annealing): from peak / 25 up to the peak during
     *  the first 30 % of all steps, then down to peak / 250,000; momentum is not cycled */
    double peak_lr;
} soma_adam_options;

/** An optimizer by value: a name and its resolved numbers. */
typedef struct soma_optimizer {
    const char *name; /**< "sgd", "adam"; NULL: none was chosen */
    double lr, momentum, decay, weight_decay, beta1, beta2, epsilon, peak_lr;
    bool nesterov;
    soma_at at;
} soma_optimizer;
SOMA_API soma_optimizer soma_sgd_with(const soma_sgd_options *o);
SOMA_API soma_optimizer soma_adam_with(const soma_adam_options *o);
#define soma_sgd(...) soma_sgd_with(SOMA_OPTIONS(soma_sgd_options, __VA_ARGS__))
#define soma_adam(...) soma_adam_with(SOMA_OPTIONS(soma_adam_options, __VA_ARGS__))

/** Parameters that are trained in their own way. A pattern names tensors ("*" any letters, "?" one) or a layer above
 *  them: "features.0", "layer1.*", "*.bias". Of several groups that match, the last one that says a thing decides
 *  it. */
typedef struct soma_group {
    const char *pattern;
    double lr; /**< learning rate, or peak of a one-cycle rate, instead of the optimizer's; 0: not said, SOMA_ZERO: 0 */
    double lr_scale;     /**< times the optimizer's; 0: not said, SOMA_ZERO: 0 */
    double weight_decay; /**< instead of the optimizer's; 0: not said, SOMA_ZERO: none, as no_weight_decay */
    bool no_weight_decay;
    /** not trained: its gradients are not computed at all; batch norms whose running statistics match use them as
     *  they are */
    bool frozen;
    bool trained; /**< undoes an earlier group's frozen: "*" frozen, then "fc" trained */
} soma_group;

typedef struct soma_updates_options {
    size_t struct_size;
    soma_at at;
    const soma_optimizer *optimizer;
    int64_t total_steps;      /**< of the whole training, for one-cycle */
    const soma_group *groups; /**< a pattern that matches no tensor is an error */
    int n_groups;
} soma_updates_options;
/** Appends gradient and update ops for every trainable parameter that `loss` depends on, creating the optimizer's slots
 *  ("optimizer/momentum/conv1.weight") and the step counter ("optimizer/step") as named state. Hand updates to
 *  soma_compile. Writes at most `capacity` values and returns how many there are, or -1.
 *
 *  The state is found by soma_tensor_find from then on, and may be written between two steps (then soma_touch):
 *      optimizer/momentum/NAME           sgd with momentum: v, shaped as the parameter NAME
 *      optimizer/m/NAME, optimizer/v/NAME  adam: means of gradients and of their squares
 *      optimizer/step                    i32, updates done: adam, and sgd with decay or peak_lr
 *  soma_fit and soma_trainer_new begin with all of it at zero. */
SOMA_API int soma_updates_with(soma_value loss, soma_value *updates, int capacity, const soma_updates_options *o);
#define soma_updates(loss, updates, capacity, ...)                                                                     \
    soma_updates_with(loss, updates, capacity, SOMA_OPTIONS(soma_updates_options, __VA_ARGS__))

#ifdef __cplusplus
}
#endif
#endif
