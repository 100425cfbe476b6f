/* SPDX-License-Identifier: Apache-2.0
 *
 * nn/layers/dense.c: an affine map of features, and an activation.
 */
#include "nn/layer.h"

#include "base/words.h"

soma_value soma_build_dense(soma_layer *layer, const soma_dense_options *o)
{
    char text[96], reason[SOMA_REASON_MAX] = "";
    _Alignas(max_align_t) char attrs[SOMA_ATTRS_MAX];
    const soma_shape *x = &layer->x.shape;
    if (!soma_layer_knows(layer, o->activation, o->init, o->bias_init))
        return soma_layer_failed(layer);
    if (x->rank != 2 || x->dim[1] < 1)
        return soma_layer_fail(layer,
                               "x must be [N, features], got %s; put " SOMA_IN_C("soma_flatten(x)")
                                   SOMA_ELSEWHERE("flatten") " before it",
                               soma_type_text(&layer->x, text));
    const soma_op *matmul = soma_op_find("matmul");
    if (soma_attrs_parse(matmul, attrs, "transpose_b=true", reason))
        return soma_layer_fail(layer, "%s", reason);
    soma_initial weight = {o->init, o->init_a, o->init_b}, bias = {o->bias_init, o->bias_a, o->bias_b};
    soma_value in[3] = {o->x, soma_layer_weight(layer, SOMA_SHAPE(o->units, x->dim[1]), weight, o->activation),
                        o->no_bias ? soma_none() : soma_layer_bias(layer, o->units, bias, x->dim[1])};
    soma_value y = soma_apply1(matmul, in, o->no_bias ? 2 : 3, attrs, layer->name, layer->at);
    return soma_layer_activation(layer, o->activation, y);
}
