/* SPDX-License-Identifier: Apache-2.0
 *
 * op/tail/tail_onednn.h: activations as the library's post-ops.
 */
#ifndef SOMA_OP_TAIL_TAIL_ONEDNN_H
#define SOMA_OP_TAIL_TAIL_ONEDNN_H

#include "library/onednn/shim.h"
#include "op/tail/tail.h"

/* The library's function that gives for every number what the activation gives; dnnl_alg_kind_undef: none does, a
 * pass of ours follows. Its relu and its clip are maxima that turn NaN into a number; elu with slope 0 is a relu that
 * keeps it (library/onednn/shim.h). */
static inline dnnl_alg_kind_t soma_act_onednn(soma_act act)
{
    return act == SOMA_ACT_relu      ? dnnl_eltwise_elu
           : act == SOMA_ACT_sigmoid ? dnnl_eltwise_logistic
           : act == SOMA_ACT_tanh    ? dnnl_eltwise_tanh
                                     : dnnl_alg_kind_undef;
}

#define SOMA_ACTS_ONEDNN (SOMA_ACT_BIT(SOMA_ACT_relu) | SOMA_ACT_BIT(SOMA_ACT_sigmoid) | SOMA_ACT_BIT(SOMA_ACT_tanh))

#endif
