/* SPDX-License-Identifier: Apache-2.0
 *
 * op/activate.h: relu and relu6 in a pass of their own behind a kernel whose library would lose NaN in them.
 */
#ifndef SOMA_OP_ACTIVATE_H
#define SOMA_OP_ACTIVATE_H

#include "op/activation.h"
#include <soma/op.h>

/* Does the library apply it to its result as the reference does? Its relu and clip are a maximum that turns NaN into a
 * number. For relu there is elu with slope 0 (backend/onednn/shim.h); for relu6 nothing. */
static inline bool soma_onednn_activates(soma_act act)
{
    return act != SOMA_ACT_RELU6;
}

/* Output 0 of the prepared kernel becomes act(output 0) within its run. relu and relu6 only. */
soma_status soma_activate(soma_prepare *p, soma_act act);

#endif
