/* SPDX-License-Identifier: Apache-2.0
 *
 * io/pictures_yaml.c: what a description says of pictures: the fields of soma_transform and soma_augment by their
 * names.
 */
#include "io/keys_yaml.h"

/* clang-format off */
#define SIDES(n, field, count) {n, KEY_INTS, offsetof(soma_recipe, field), count, 1, false, 0, false}
#define CHANNELS(n, field, from, beyond) {n, KEY_FLOATS, offsetof(soma_recipe, field), 4, from, beyond, 0, false}
#define YES(n, field) {n, KEY_BOOL, offsetof(soma_recipe, field), 1, 0, false, 0, false}
/* clang-format on */

const soma_yaml_key soma_picture_keys[] = {
    SIDES("resize", transform.resize, 2),
    SIDES("shorter_side", transform.resize, 1),
    SIDES("crop", transform.crop, 2),
    {"scale", KEY_FLOAT, offsetof(soma_recipe, transform.scale), 1, 0, true, 0, false},
    CHANNELS("mean", transform.mean, -HUGE_VAL, false),
    CHANNELS("deviation", transform.deviation, 0, true),
    YES("bgr", transform.bgr),
    YES("invert", transform.invert),
    YES("flip", augment.flip),
    YES("random_crop", augment.random_crop),
    {"padding", KEY_INTS, offsetof(soma_recipe, augment.padding), 1, 0, false, 0, false},
    {"random_resized_crop", KEY_FLOAT, offsetof(soma_recipe, augment.random_resized_crop), 1, 0, true, 1, false},
    END};
