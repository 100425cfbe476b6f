/* SPDX-License-Identifier: Apache-2.0
 *
 * nn/layers/local_response_norm.c: normalisation over neighbouring channels.
 */
#include "nn/layer.h"

#include "op/lrn/lrn.h"

soma_value soma_build_local_response_norm(soma_layer *layer, const soma_local_response_norm_options *o)
{
    const soma_lrn_attrs attrs = {.size = o->size, .alpha = o->alpha, .beta = o->beta, .k = o->k};
    return soma_apply1(&soma_op_local_response_norm, &o->x, 1, &attrs, NULL, layer->at);
}
