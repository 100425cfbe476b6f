/* SPDX-License-Identifier: Apache-2.0
 *
 * nn/layers/average_pool2d.c: means of windows.
 */
#include "nn/layer.h"

#include "op/pool2d/pool2d.h"

soma_value soma_build_average_pool2d(soma_layer *layer, const soma_average_pool2d_options *o)
{
    soma_pool2d_attrs attrs = {.ceil_mode = o->ceil_mode, .count_padding = o->count_padding, .input_size = {1, 1}};
    soma_pool2d_window(&attrs, o->size, o->stride, o->pad);
    return soma_apply1(&soma_op_average_pool2d, &o->x, 1, &attrs, NULL, layer->at);
}
