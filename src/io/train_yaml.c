/* SPDX-License-Identifier: Apache-2.0
 *
 * io/train_yaml.c: what a description says of optimizers and groups of parameters, with the ranges of
 * docs/model-files.md. Knows no documents.
 */
#include "io/keys_yaml.h"

const soma_yaml_key soma_sgd_keys[] = {AT_LEAST_0(soma_sgd_options, lr),
                                       SHARE(soma_sgd_options, momentum),
                                       AT_LEAST_0(soma_sgd_options, decay),
                                       AT_LEAST_0(soma_sgd_options, weight_decay),
                                       BOOL(soma_sgd_options, nesterov),
                                       POSITIVE(soma_sgd_options, peak_lr),
                                       END};
const soma_yaml_key soma_adam_keys[] = {AT_LEAST_0(soma_adam_options, lr),
                                        SHARE(soma_adam_options, beta1),
                                        SHARE(soma_adam_options, beta2),
                                        AT_LEAST_0(soma_adam_options, epsilon),
                                        AT_LEAST_0(soma_adam_options, weight_decay),
                                        POSITIVE(soma_adam_options, peak_lr),
                                        END};
const soma_yaml_key soma_group_keys[] = {TEXT(soma_group, pattern),         AT_LEAST_0(soma_group, lr),
                                         AT_LEAST_0(soma_group, lr_scale),  AT_LEAST_0(soma_group, weight_decay),
                                         BOOL(soma_group, no_weight_decay), BOOL(soma_group, frozen),
                                         BOOL(soma_group, trained),         END};
