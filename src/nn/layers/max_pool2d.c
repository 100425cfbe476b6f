/* SPDX-License-Identifier: Apache-2.0
 *
 * nn/layers/max_pool2d.c: largest elements of windows.
 */
#include "nn/layer.h"

#include "op/pool2d/pool2d.h"

soma_value soma_build_max_pool2d(soma_layer *layer, const soma_max_pool2d_options *o)
{
    soma_pool2d_attrs attrs = {.ceil_mode = o->ceil_mode, .input_size = {1, 1}};
    soma_value out[2] = {{NULL, -1}, {NULL, -1}};
    soma_pool2d_window(&attrs, o->size, o->stride, o->pad);
    soma_graph_apply(o->x.graph, &soma_op_max_pool2d, &o->x, 1, out, 2, &attrs, NULL, layer->at);
    return out[0];
}
