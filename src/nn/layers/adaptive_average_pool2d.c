/* SPDX-License-Identifier: Apache-2.0
 *
 * nn/layers/adaptive_average_pool2d.c: means of bins that make a result of a given size.
 */
#include "nn/layer.h"

#include "op/pool2d/adaptive.h"

soma_value soma_build_adaptive_average_pool2d(soma_layer *layer, const soma_adaptive_average_pool2d_options *o)
{
    const soma_adaptive_attrs attrs = {.size = {o->size[0], o->size[1]}, .input_size = {1, 1}};
    return soma_apply1(&soma_op_adaptive_average_pool2d, &o->x, 1, &attrs, NULL, layer->at);
}
