/* SPDX-License-Identifier: Apache-2.0
 *
 * nn/layers/global_average_pool2d.c: the mean of each channel.
 */
#include "nn/layer.h"

#include "op/pool2d/adaptive.h"

soma_value soma_build_global_average_pool2d(soma_layer *layer, const soma_global_average_pool2d_options *o)
{
    const soma_adaptive_attrs attrs = {.size = {1, 1}, .input_size = {1, 1}};
    return soma_apply1(&soma_op_adaptive_average_pool2d, &o->x, 1, &attrs, NULL, layer->at);
}
