/* SPDX-License-Identifier: Apache-2.0
 *
 * zoo/zoo.h: the entries, one file each.
 */
#ifndef SOMA_ZOO_ZOO_H
#define SOMA_ZOO_ZOO_H

#include <soma/zoo.h>

extern const soma_zoo_entry soma_zoo_neuron;
extern const soma_zoo_entry soma_zoo_mlp;
extern const soma_zoo_entry soma_zoo_lenet5;
extern const soma_zoo_entry soma_zoo_net;
extern const soma_zoo_entry soma_zoo_keras_vgg;
extern const soma_zoo_entry soma_zoo_fashion_cnn;

#endif
