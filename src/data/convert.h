/* SPDX-License-Identifier: Apache-2.0
 *
 * data/convert.h: bytes to numbers, y = x * a + b, rounded after each of the two steps: the same bits on every machine.
 */
#ifndef SOMA_DATA_CONVERT_H
#define SOMA_DATA_CONVERT_H

#include <stdint.h>

void soma_convert_u8(const uint8_t *x, int64_t n, float a, float b, float *y);

#endif
