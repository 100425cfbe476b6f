/* SPDX-License-Identifier: Apache-2.0
 *
 * io/train_yaml.c: what a description says of optimizers and groups of parameters, with the ranges of
 * docs/model-files.md. Knows no documents.
 */
#include "io/keys_yaml.h"

const soma_field soma_sgd_keys[] = {SOMA_FLOAT(soma_sgd_options, lr, 0, AT_LEAST(0)),
                                    SOMA_FLOAT(soma_sgd_options, momentum, 0, BELOW(0, 1)),
                                    SOMA_FLOAT(soma_sgd_options, decay, 0, AT_LEAST(0)),
                                    SOMA_FLOAT(soma_sgd_options, weight_decay, 0, AT_LEAST(0)),
                                    SOMA_BOOL(soma_sgd_options, nesterov, ANY),
                                    SOMA_FLOAT(soma_sgd_options, peak_lr, 0, ABOVE(0)),
                                    SOMA_FIELDS_END};
const soma_field soma_adam_keys[] = {SOMA_FLOAT(soma_adam_options, lr, 0, AT_LEAST(0)),
                                     SOMA_FLOAT(soma_adam_options, beta1, 0, BELOW(0, 1)),
                                     SOMA_FLOAT(soma_adam_options, beta2, 0, BELOW(0, 1)),
                                     SOMA_FLOAT(soma_adam_options, epsilon, 0, AT_LEAST(0)),
                                     SOMA_FLOAT(soma_adam_options, weight_decay, 0, AT_LEAST(0)),
                                     SOMA_FLOAT(soma_adam_options, peak_lr, 0, ABOVE(0)),
                                     SOMA_FIELDS_END};
const soma_field soma_group_keys[] = {SOMA_TEXT(soma_param_group, pattern, NULL, ANY),
                                      SOMA_FLOAT(soma_param_group, lr, 0, AT_LEAST(0)),
                                      SOMA_FLOAT(soma_param_group, lr_scale, 0, AT_LEAST(0)),
                                      SOMA_FLOAT(soma_param_group, weight_decay, 0, AT_LEAST(0)),
                                      SOMA_BOOL(soma_param_group, no_weight_decay, ANY),
                                      SOMA_BOOL(soma_param_group, frozen, ANY),
                                      SOMA_BOOL(soma_param_group, trained, ANY),
                                      SOMA_FIELDS_END};
