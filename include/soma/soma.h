/* SPDX-License-Identifier: Apache-2.0
 *
 * soma/soma.h: everything.
 */
#ifndef SOMA_SOMA_H
#define SOMA_SOMA_H

#include <soma/base.h>
#include <soma/catalogue.h>
#include <soma/data.h>
#include <soma/graph.h>
#include <soma/io.h>
#include <soma/nn.h>
#include <soma/op.h>
#include <soma/ops.h>
#include <soma/tensor.h>
#include <soma/train.h>
#include <soma/zoo.h>

#endif
