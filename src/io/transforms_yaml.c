/* SPDX-License-Identifier: Apache-2.0
 *
 * io/transforms_yaml.c: the section "transforms": how pictures become inputs (soma_transform), and what is drawn for
 * each while training (soma_augment), listed in the order in which it is done. Compiled only with libyaml.
 */
#include "io/sections_yaml.h"

#include "base/text.h"

#include <inttypes.h>
#include <string.h>

/* ---- kinds ---- */

/* clang-format off */
#define PLACE(n, kind, field, number, text, ...) \
    {.name = n, .type = SOMA_FIELD_##kind, .offset = offsetof(soma_recipe, field), .count = number, .doc = text,       \
     __VA_ARGS__}
/* clang-format on */
#define CROP                                                                                                           \
    PLACE("size", INTS, transform.crop, 2, "height and width of the part, black around smaller pictures", AT_LEAST(1))

static const soma_field invert[] = {PLACE("on", BOOL, transform.invert, 1, "false: not, whatever the model says", ANY),
                                    SOMA_FIELDS_END};
static const soma_field resize[] = {
    PLACE("size", INTS, transform.resize, 2, "height and width", AT_LEAST(1)),
    PLACE("shorter_side", INTS, transform.resize, 1, "the other side keeps the proportion", AT_LEAST(1)),
    SOMA_FIELDS_END};
static const soma_field crop[] = {CROP, SOMA_FIELDS_END};
static const soma_field random_crop[] = {
    CROP,
    PLACE("padding", INTS, augment.padding, 1, "black pixels around it that the part may reach into", AT_LEAST(0)),
    SOMA_FIELDS_END};
static const soma_field random_resized_crop[] = {PLACE("area", FLOAT, augment.random_resized_crop, 1,
                                                       "least share of the picture's area", .min = 0, .max = 1,
                                                       .flags = SOMA_FIELD_ABOVE_MIN),
                                                 SOMA_FIELDS_END};
static const soma_field flip[] = {PLACE("on", BOOL, augment.flip, 1, "false: not", ANY), SOMA_FIELDS_END};
static const soma_field bgr[] = {PLACE("on", BOOL, transform.bgr, 1, "false: not, whatever the model says", ANY),
                                 SOMA_FIELDS_END};
static const soma_field scale[] = {PLACE("factor", FLOAT, transform.scale, 1, "for values 0 to 255", ABOVE(0)),
                                   SOMA_FIELDS_END};
static const soma_field normalise[] = {
    PLACE("mean", FLOATS, transform.mean, 4, "for all, or one a channel", ANY),
    PLACE("deviation", FLOATS, transform.deviation, 4, "for all, or one a channel", ABOVE(0)), SOMA_FIELDS_END};

#define KIND_OF(n, also, text)                                                                                         \
    {                                                                                                                  \
        .struct_size = sizeof(soma_kind), .name = #n, .aliases = (also), .doc = (text),                                \
        .options_size = sizeof(soma_recipe), .fields = (n)                                                             \
    }
enum { INVERT, RESIZE, CROPPED, RANDOM_CROP, RANDOM_RESIZED_CROP, FLIP, BGR, SCALE, NORMALISE };
static const soma_kind kinds[] =
    {/* in the order in which they are done */
     [INVERT] = KIND_OF(invert, NULL, "light and dark exchanged: 255 - x"),
     [RESIZE] = KIND_OF(resize, NULL, "bilinear, antialiased as in Pillow"),
     [CROPPED] = KIND_OF(crop, NULL, "the middle of the picture"),
     [RANDOM_CROP] = KIND_OF(random_crop, NULL, "while training a part anywhere in the picture, else the middle"),
     [RANDOM_RESIZED_CROP] = KIND_OF(random_resized_crop, NULL,
                                     "while training a part of any size, at the input's size"),
     [FLIP] = KIND_OF(flip, NULL, "while training every second picture mirrored, left and right"),
     [BGR] = KIND_OF(bgr, NULL, "channels blue, green, red (Caffe, OpenCV)"),
     [SCALE] = KIND_OF(scale, NULL, "x times the factor; 1/255 without it"),
     [NORMALISE] = KIND_OF(normalise, "normalize", "(x scale - mean) / deviation, per channel")};
#define ROW(i) &kinds[i]
static const soma_kind *const rows[] = {
    ROW(INVERT), ROW(RESIZE), ROW(CROPPED), ROW(RANDOM_CROP), ROW(RANDOM_RESIZED_CROP),
    ROW(FLIP),   ROW(BGR),    ROW(SCALE),   ROW(NORMALISE),   NULL};
static const soma_kinds transforms = {.one = "transform", .many = "transforms", .rows = rows};

/* ---- reading ---- */

/* One mean and one deviation for all, or one a channel of the model's input. */
static soma_status check_channels(const soma_yaml *y, const yaml_node_t *options, const char *key, const soma_model *m)
{
    soma_shape x = soma_value_type(soma_model_input(m, 0)).shape;
    const yaml_node_t *list = soma_yaml_find(y, options, key);
    int n = soma_yaml_count(list);
    if (n < 2 || x.rank != 4 || n == x.dim[1])
        return SOMA_OK;
    return soma_fail(y->s, SOMA_INVALID, soma_yaml_place(y, list),
                     "\"%s\" has %d numbers, but the model's input has %" PRId64
                     " channel%s; give one for all, or one a channel",
                     key, n, x.dim[1], x.dim[1] == 1 ? "" : "s");
}

/* The options of a kind: a mapping, or its first option's value alone; of a switch nothing. */
static soma_status read_options(const soma_yaml *y, const soma_kind *kind, const yaml_node_t *name,
                                const yaml_node_t *options, const soma_model *m, soma_recipe *recipe)
{
    const soma_field *first = kind->fields;
    bool nothing = !options || (soma_yaml_text(options) && !soma_yaml_text(options)[0]);
    if (nothing && first->type != SOMA_FIELD_BOOL && kind != &kinds[RANDOM_CROP])
        return soma_fail(y->s, SOMA_INVALID, soma_yaml_place(y, name), "%s needs \"%s\", %s", kind->name, first->name,
                         first->doc);
    if (nothing && first->type == SOMA_FIELD_BOOL)
        *(bool *)(void *)((char *)recipe + first->offset) = true;
    if (nothing)
        return SOMA_OK;
    if (options->type != YAML_MAPPING_NODE)
        return kind == &kinds[NORMALISE]
                   ? soma_fail(y->s, SOMA_INVALID, soma_yaml_place(y, options),
                               "normalise takes a mapping: - normalise: {mean: [0.5], deviation: [0.25]}")
                   : soma_yaml_value(y, first, options, recipe);
    soma_status status = soma_yaml_options(y, options, kind->name, kind->fields, NULL, recipe);
    if (!status && m && kind == &kinds[NORMALISE])
        status = check_channels(y, options, "mean", m);
    if (!status && m && kind == &kinds[NORMALISE])
        status = check_channels(y, options, "deviation", m);
    return status;
}

static bool is_crop(int i)
{
    return i == CROPPED || i == RANDOM_CROP || i == RANDOM_RESIZED_CROP;
}

/* before: the kind that stands in front; -1: none. */
static soma_status check_order(const soma_yaml *y, const yaml_node_t *at, int before, int now)
{
    if (before == now)
        return soma_fail(y->s, SOMA_INVALID, soma_yaml_place(y, at), "\"%s\" stands here twice", kinds[now].name);
    if (before >= 0 && is_crop(before) && is_crop(now) && before != CROPPED)
        return soma_fail(y->s, SOMA_INVALID, soma_yaml_place(y, at),
                         "%s and %s are two ways to choose a part of a picture; give one", kinds[before].name,
                         kinds[now].name);
    if (before > now)
        return soma_fail(y->s, SOMA_INVALID, soma_yaml_place(y, at), "%s is done before %s; put it there",
                         kinds[now].name, kinds[before].name);
    return SOMA_OK;
}

/* What a description leaves open of pictures is as the model that it names was trained. */
static void complete(bool const said[], const soma_model *m, soma_transform *t)
{
    soma_transform base = soma_model_transform(m);
    if (!t->resize[0])
        memcpy(t->resize, base.resize, sizeof t->resize);
    if (!t->crop[0])
        memcpy(t->crop, base.crop, sizeof t->crop);
    if (t->scale == 0)
        t->scale = base.scale;
    if (t->mean[0] == 0)
        memcpy(t->mean, base.mean, sizeof t->mean);
    if (t->deviation[0] == 0)
        memcpy(t->deviation, base.deviation, sizeof t->deviation);
    if (!said[BGR])
        t->bgr = base.bgr;
    if (!said[INVERT])
        t->invert = base.invert;
    t->has_background = base.has_background;
    t->background = base.background;
}

soma_status soma_yaml_transforms(const soma_yaml *y, const yaml_node_t *list, const soma_model *m, soma_recipe *recipe)
{
    bool said[NORMALISE + 1] = {false};
    int before = -1;
    soma_status status = SOMA_OK;
    if (list && list->type != YAML_SEQUENCE_NODE)
        return soma_fail(y->s, SOMA_INVALID, soma_yaml_place(y, list),
                         "\"transforms\" takes a list, such as [resize: 256, crop: 224, flip]");
    for (int i = 0; i < soma_yaml_count(list) && !status; i++) {
        const yaml_node_t *name, *options, *item = soma_yaml_item(y, list, i);
        if (!soma_yaml_kind(y, item, &name, &options))
            return soma_fail(y->s, SOMA_INVALID, soma_yaml_place(y, item),
                             "a transform is a name, or one name with options: - random_crop: {size: 32, padding: 4}");
        const char *text = soma_yaml_text(name);
        const soma_kind *kind = soma_kind_find(&transforms, text);
        if (!kind)
            return soma_yaml_unknown(y, name, "transform", text, soma_kind_nearest(&transforms, text));
        int now = (int)(kind - kinds);
        status = check_order(y, name, before, now);
        if (!status)
            status = read_options(y, kind, name, options, m, recipe);
        recipe->augment.random_crop |= now == RANDOM_CROP;
        said[now] = true;
        before = now;
    }
    if (!status && m)
        complete(said, m, &recipe->transform);
    return status;
}
