/* SPDX-License-Identifier: Apache-2.0
 *
 * nn/layers/batch_norm.c: normalisation by the statistics of the batch, with those of training kept.
 */
#include "nn/layer.h"

#include "op/batch_norm/batch_norm.h"

#include <string.h>

/* One number per channel; running statistics are no parameters. */
static soma_value tensor(const soma_layer *layer, const char *what, const char *init, bool frozen, bool buffer)
{
    return soma_layer_tensor(
        layer, what,
        (soma_tensor_options){
            .shape = SOMA_SHAPE(layer->x.shape.dim[1]), .init = init, .frozen = frozen, .buffer = buffer});
}

soma_value soma_build_batch_norm(soma_layer *layer, const soma_batch_norm_options *o)
{
    char text[96];
    bool keras = !strcmp(o->dialect, "keras");
    if (!soma_layer_knows(layer, o->activation, NULL, NULL))
        return soma_layer_failed(layer);
    if (layer->x.shape.rank < 2 || layer->x.shape.dim[1] < 1)
        return soma_layer_fail(layer, "x must be [N, channels, ...], got %s", soma_type_text(&layer->x, text));
    soma_batch_norm_attrs attrs;
    soma_attrs_default(&soma_op_batch_norm, &attrs);
    attrs.dialect = keras ? SOMA_NORM_KERAS : SOMA_NORM_TORCH;
    attrs.momentum = !isnan(o->momentum) ? o->momentum : keras ? 0.99 : 0.1;
    attrs.epsilon = !isnan(o->epsilon) ? o->epsilon : keras ? 1e-3 : 1e-5;
    attrs.use_running = o->frozen;
    soma_value in[5] = {o->x}, out[3];
    in[3] = o->no_scale ? soma_none() : tensor(layer, "weight", "ones", o->frozen, false);
    in[4] = o->no_shift ? soma_none() : tensor(layer, "bias", "zeros", o->frozen, false);
    in[1] = tensor(layer, "running_mean", "zeros", true, true);
    in[2] = tensor(layer, "running_var", "ones", true, true);
    soma_graph_apply(o->x.graph, &soma_op_batch_norm, in, 5, out, 3, &attrs, layer->name, layer->at);
    return soma_layer_activation(layer, o->activation, out[0]);
}
