/* SPDX-License-Identifier: Apache-2.0
 *
 * nn/layers/flatten.c: all axes behind the batch in one.
 */
#include "nn/layer.h"

#include "base/size.h"

soma_value soma_build_flatten(soma_layer *layer, const soma_flatten_options *o)
{
    char text[96];
    const soma_shape *x = &layer->x.shape;
    if (x->rank < 1)
        return soma_layer_fail(layer, "%s has no axis to keep; reshape it instead", soma_type_text(&layer->x, text));
    soma_shape shape = {2, {x->dim[0], 1}};
    for (int k = 1; k < x->rank; k++)
        if (!soma_i64_mul(shape.dim[1], x->dim[k], &shape.dim[1]))
            return soma_layer_fail(layer, "%s has too many elements", soma_type_text(&layer->x, text));
    return soma_reshape_at(o->x, shape, layer->at);
}
