/* SPDX-License-Identifier: Apache-2.0
 *
 * nn/layers/multiply.c: the product of several values.
 */
#include "nn/layer.h"

soma_value soma_build_multiply(soma_layer *layer, const soma_layer_multiply_options *o)
{
    soma_value y = o->x;
    for (int64_t i = 0; i < o->n_more; i++)
        y = soma_mul_at(y, o->more[i], layer->at);
    return y;
}
