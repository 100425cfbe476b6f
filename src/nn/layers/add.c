/* SPDX-License-Identifier: Apache-2.0
 *
 * nn/layers/add.c: the sum of several values.
 */
#include "nn/layer.h"

soma_value soma_build_add(soma_layer *layer, const soma_layer_add_options *o)
{
    soma_value y = o->x;
    for (int64_t i = 0; i < o->n_more; i++)
        y = soma_add_at(y, o->more[i], layer->at);
    return y;
}
