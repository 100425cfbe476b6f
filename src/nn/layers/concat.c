/* SPDX-License-Identifier: Apache-2.0
 *
 * nn/layers/concat.c: several values one behind the other.
 */
#include "nn/layer.h"

#include <string.h>

soma_value soma_build_concat(soma_layer *layer, const soma_layer_concat_options *o)
{
    soma_value *all = soma_arena_array(&layer->m->arena, (size_t)o->n_more + 1, sizeof *all);
    if (!all)
        return soma_none();
    all[0] = o->x;
    memcpy(all + 1, o->more, (size_t)o->n_more * sizeof *all);
    return soma_concat_at(all, (int)o->n_more + 1, (int)o->axis, layer->at);
}
