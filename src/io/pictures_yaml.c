/* SPDX-License-Identifier: Apache-2.0
 *
 * io/pictures_yaml.c: what a description says of pictures: the fields of soma_transform and soma_augment by their
 * names.
 */
#include "io/keys_yaml.h"

/* clang-format off */
#define PLACE(n, kind, field, number, ...) \
    {.name = n, .type = SOMA_FIELD_##kind, .offset = offsetof(soma_recipe, field), .count = number, __VA_ARGS__}
/* clang-format on */

const soma_field soma_picture_keys[] = {PLACE("resize", INTS, transform.resize, 2, AT_LEAST(1)),
                                        PLACE("shorter_side", INTS, transform.resize, 1, AT_LEAST(1)),
                                        PLACE("crop", INTS, transform.crop, 2, AT_LEAST(1)),
                                        PLACE("scale", FLOAT, transform.scale, 1, ABOVE(0)),
                                        PLACE("mean", FLOATS, transform.mean, 4, ANY),
                                        PLACE("deviation", FLOATS, transform.deviation, 4, ABOVE(0)),
                                        PLACE("bgr", BOOL, transform.bgr, 1, ANY),
                                        PLACE("invert", BOOL, transform.invert, 1, ANY),
                                        PLACE("flip", BOOL, augment.flip, 1, ANY),
                                        PLACE("random_crop", BOOL, augment.random_crop, 1, ANY),
                                        PLACE("padding", INTS, augment.padding, 1, AT_LEAST(0)),
                                        PLACE("random_resized_crop", FLOAT, augment.random_resized_crop, 1, .min = 0,
                                              .max = 1, .flags = SOMA_FIELD_ABOVE_MIN),
                                        SOMA_FIELDS_END};
