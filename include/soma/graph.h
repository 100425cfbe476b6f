/* SPDX-License-Identifier: Apache-2.0
 *
 * soma/graph.h: models and programs.
 */
#ifndef SOMA_GRAPH_H
#define SOMA_GRAPH_H

#include <soma/model.h>
#include <soma/program.h>

#endif
