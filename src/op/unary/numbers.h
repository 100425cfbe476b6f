/* SPDX-License-Identifier: Apache-2.0
 *
 * op/unary/numbers.h: what the column "numbers" of a family's list becomes: a field table, names for the constants
 * in expressions, the text of samples. Macros alone; the column is pasted to a prefix, SOMA_FIELDS_ ## ONE(slope, ...).
 */
#ifndef SOMA_OP_UNARY_NUMBERS_H
#define SOMA_OP_UNARY_NUMBERS_H

#include <soma/op.h>

#define SOMA_NUMBERS 2                            /* a row has at most that many */
#define SOMA_LARGEST_NUMBER 3.4028234663852886e38 /* of f32 */

#define SOMA_RANGE_ANY .min = -SOMA_LARGEST_NUMBER, .max = SOMA_LARGEST_NUMBER
#define SOMA_RANGE_POSITIVE .min = 1.1754943508222875e-38, .max = SOMA_LARGEST_NUMBER
#define SOMA_RANGE_SHARE .min = 0, .max = 1

/* The field table, or NULL; attributes are the numbers one behind the other, as double. */
#define SOMA_NUMBER(at, number, standard, range, text)                                                                 \
    {                                                                                                                  \
        .name = #number, .type = SOMA_FIELD_FLOAT, .offset = (at) * sizeof(double), .preset = (standard),              \
        SOMA_RANGE_##range, .doc = (text)                                                                              \
    }
#define SOMA_FIELDS_PLAIN NULL
#define SOMA_FIELDS_ONE(a, preset, sample, range, doc)                                                                 \
    (const soma_field[])                                                                                               \
    {                                                                                                                  \
        SOMA_NUMBER(0, a, preset, range, doc),                                                                         \
        {                                                                                                              \
            0                                                                                                          \
        }                                                                                                              \
    }
#define SOMA_FIELDS_TWO(a, preset_a, sample_a, range_a, doc_a, b, preset_b, sample_b, range_b, doc_b)                  \
    (const soma_field[])                                                                                               \
    {                                                                                                                  \
        SOMA_NUMBER(0, a, preset_a, range_a, doc_a), SOMA_NUMBER(1, b, preset_b, range_b, doc_b),                      \
        {                                                                                                              \
            0                                                                                                          \
        }                                                                                                              \
    }
#define SOMA_FIELDS_ORDERED SOMA_FIELDS_TWO

#define SOMA_COUNT_PLAIN 0
#define SOMA_COUNT_ONE(...) 1
#define SOMA_COUNT_TWO(...) 2
#define SOMA_COUNT_ORDERED(...) 2

/* The refusal of two numbers in the wrong order, or NULL. */
#define SOMA_ORDER_PLAIN NULL
#define SOMA_ORDER_ONE(...) NULL
#define SOMA_ORDER_TWO(...) NULL
#define SOMA_ORDER_ORDERED(a, preset_a, sample_a, range_a, doc_a, b, ...)                                              \
#a " is %g and " #b " %g, but " #a " must not be greater"

/* Their names in an expression over constants c. */
#define SOMA_NAMES_PLAIN (void)c
#define SOMA_NAMES_ONE(a, ...)                                                                                         \
    const __typeof__(c[0] + 0) a = c[0];                                                                               \
    (void)a
#define SOMA_NAMES_TWO(a, preset_a, sample_a, range_a, doc_a, b, ...)                                                  \
    const __typeof__(c[0] + 0) a = c[0], b = c[1];                                                                     \
    (void)a, (void)b
#define SOMA_NAMES_ORDERED SOMA_NAMES_TWO

/* The attributes of samples as text, or NULL. */
#define SOMA_SAMPLE_PLAIN NULL
#define SOMA_SAMPLE_ONE(a, preset, sample, ...) #a "=" #sample
#define SOMA_SAMPLE_TWO(a, preset_a, sample_a, range_a, doc_a, b, preset_b, sample_b, ...)                             \
#a "=" #sample_a " " #b "=" #sample_b
#define SOMA_SAMPLE_ORDERED SOMA_SAMPLE_TWO

/* Does a row have numbers? To be pasted once more: PLAIN or NUMBERS. */
#define SOMA_KIND_PLAIN PLAIN
#define SOMA_KIND_ONE(...) NUMBERS
#define SOMA_KIND_TWO(...) NUMBERS
#define SOMA_KIND_ORDERED(...) NUMBERS

#endif
