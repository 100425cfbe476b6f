/* SPDX-License-Identifier: Apache-2.0
 *
 * soma/nn.h: layers (ops plus named parameters), optimizers and schedules.
 */
#ifndef SOMA_NN_H
#define SOMA_NN_H

#include <soma/layers.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ---- layers: the rows of <soma/layers.h>, and layers of one's own ---- */

/** What the names of options mean where PyTorch and Keras differ: "torch" (the default), "keras". NULL-terminated. */
extern SOMA_API const char *const soma_dialects[];

/** A layer that is being built, for the build function of a kind. */
typedef struct soma_layer soma_layer;

/** A kind of layer. Its option struct begins with size_t struct_size, soma_at at and soma_value x; build gets it with
 *  all defaults filled in and ranges checked, and returns y, or what soma_layer_fail returns. */
typedef struct soma_layer_kind {
    soma_kind kind;
    const char *automatic; /**< stem of automatic names, "conv" for conv1; NULL: it has no tensors to name */
    /** it computes from several values: behind x its options have const soma_value *more and int64_t n_more */
    bool joins;
    soma_value (*build)(soma_layer *layer, const void *options);
} soma_layer_kind;
/** A layer of any kind, one of a program's own too, with its options as asked for. */
SOMA_API soma_value soma_layer_with(const soma_layer_kind *kind, const void *options);
/** The tensor "<layer>.<what>" of the layer, made as o says. */
SOMA_API soma_value soma_layer_parameter(soma_layer *layer, const char *what, const soma_tensor_options *o);
/** Refuses to build the layer, with a sentence that begins with its kind and name. */
SOMA_API soma_value soma_layer_fail(soma_layer *layer, const char *format, ...) SOMA_PRINTF(2, 3);
/** All kinds of layers: the rows of <soma/layers.h>, and the activations. */
extern SOMA_API const soma_kinds soma_layers;
/** All kinds of activations, for layers that take one: "relu", "clip:min=-1,max=1". */
extern SOMA_API const soma_kinds soma_activations;

/** An activation by name, with its options; NULL and "linear" return x. Unknown names fail with the nearest known one.
 */
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
typedef struct soma_param_group {
    const char *pattern;
    double lr; /**< learning rate, or peak of a one-cycle rate, instead of the optimizer's; 0: not said, SOMA_ZERO: 0 */
    double lr_scale;     /**< times the optimizer's; 0: not said, SOMA_ZERO: 0 */
    double weight_decay; /**< instead of the optimizer's; 0: not said, SOMA_ZERO: none, as no_weight_decay */
    bool no_weight_decay;
    /** not trained: its gradients are not computed at all; batch norms whose running statistics match use them as
     *  they are */
    bool frozen;
    bool trained; /**< undoes an earlier group's frozen: "*" frozen, then "fc" trained */
} soma_param_group;

typedef struct soma_updates_options {
    size_t struct_size;
    soma_at at;
    const soma_optimizer *optimizer;
    int64_t total_steps;            /**< of the whole training, for one-cycle */
    const soma_param_group *groups; /**< a pattern that matches no tensor is an error */
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
