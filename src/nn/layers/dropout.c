/* SPDX-License-Identifier: Apache-2.0
 *
 * nn/layers/dropout.c: a share of the elements left out while training.
 */
#include "nn/layer.h"

#include "op/dropout/dropout.h"

soma_value soma_build_dropout(soma_layer *layer, const soma_dropout_options *o)
{
    if (o->rate == 0)
        return o->x;
    soma_dropout_attrs attrs;
    soma_attrs_default(&soma_op_dropout, &attrs);
    attrs.rate = o->rate;
    attrs.maps = o->maps;
    return soma_apply1(&soma_op_dropout, &o->x, 1, &attrs, layer->name, layer->at);
}
