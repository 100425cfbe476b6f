/* SPDX-License-Identifier: Apache-2.0
 *
 * nn/layer.h: what the files of src/nn/layers are made with: a layer that is being built, its named tensors, its
 * sentences. Knows no losses and no training.
 */
#ifndef SOMA_NN_LAYER_H
#define SOMA_NN_LAYER_H

#include "nn/nn.h"

#include "base/fields.h"

/* A number that the layer decides where the caller says none. */
#define UNSAID ((double)NAN)
#define DERIVED 0

/* What the options of all layers begin with, and those of layers that join several values. */
typedef struct soma_layer_head {
    size_t struct_size;
    soma_at at;
    soma_value x;
} soma_layer_head;
typedef struct soma_joined_head {
    soma_layer_head one;
    const soma_value *more;
    int64_t n_more;
} soma_joined_head;

/* A layer that is being built. */
struct soma_layer {
    soma_model *m;
    const soma_layer_kind *kind;
    const char *name; /* with its scope; the kind's name where the kind has no tensors to name */
    soma_at at;
    soma_type x;
};

/* An initialiser as options name it; a and b may be UNSAID. */
typedef struct soma_initial {
    const char *name;
    double a, b;
} soma_initial;

/* One for each row of layers.list: builds the layer of options whose presets are filled in and ranges checked. */
#define LAYER(n, ...) soma_value soma_build_##n(soma_layer *layer, const soma_##n##_options *o);
#define JOIN(n, ...) soma_value soma_build_##n(soma_layer *layer, const soma_layer_##n##_options *o);
#include "nn/layers.list"
#undef LAYER
#undef JOIN

/* The value that a layer returns after a sentence was told. */
static inline soma_value soma_layer_failed(const soma_layer *layer)
{
    return (soma_value){layer->m->graph, -1};
}
/* Is there such an initialiser, such an activation? Tells where not. NULL is known. */
bool soma_layer_knows(soma_layer *layer, const char *activation, const char *init, const char *bias_init);

/* The tensor "<layer>.<what>". */
soma_value soma_layer_tensor(const soma_layer *layer, const char *what, soma_tensor_options options);
/* "weight"; he_uniform before relu and its like (He et al. 2015: they halve the variance), else glorot_uniform (Glorot
 * and Bengio 2010), where no initialiser is named. */
soma_value soma_layer_weight(const soma_layer *layer, soma_shape shape, soma_initial init, const char *activation);
/* "bias" of n numbers; fan_in: the weight's, which PyTorch draws biases by. */
soma_value soma_layer_bias(const soma_layer *layer, int64_t n, soma_initial init, int64_t fan_in);
/* The activation as the node "<layer>.<activation>". */
soma_value soma_layer_activation(const soma_layer *layer, const char *activation, soma_value y);

#endif
