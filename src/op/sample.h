/* SPDX-License-Identifier: Apache-2.0
 *
 * op/sample.h: shapes in tables of samples: SOMA_DIMS(2, 3) is a soma_shape's initialiser, constant where SOMA_SHAPE is
 * not.
 */
#ifndef SOMA_OP_SAMPLE_H
#define SOMA_OP_SAMPLE_H

#include <soma/op.h>

#define SOMA_DIMS(...)                                                                                                 \
    {                                                                                                                  \
        (int)(sizeof((int64_t[]){__VA_ARGS__}) / sizeof(int64_t)),                                                     \
        {                                                                                                              \
            __VA_ARGS__                                                                                                \
        }                                                                                                              \
    }

#endif
