/* SPDX-License-Identifier: Apache-2.0
 *
 * data/image.c: picture files as inputs: read, decoded, rendered. Knows no models.
 */
#include "base/file.h"
#include "base/limits.h"
#include "base/words.h"
#include "data/dataset.h"

#include <inttypes.h>
#include <stdio.h>

#define FILE_MAX ((uint64_t)SOMA_LIMIT_IMAGE_PIXELS * 8) /* four channels of 16 bits, not compressed at all */

static soma_status render_bytes(soma *s, soma_scratch *scratch, const soma_framing *f, const soma_chance *chance,
                                int64_t sample, const char *path, const void *bytes, size_t size, float *y, char *note,
                                size_t room)
{
    soma_image image;
    soma_status status = soma_image_measure(s, path, bytes, size, &image);
    if (status)
        return status;
    soma_frame frame = soma_frame_of(f, chance, sample, image.full_height, image.full_width);
    if (frame.y.to < 1 || frame.x.to < 1)
        return soma_fail(s, SOMA_DATA, soma_nowhere(),
                         "%s: a picture of %" PRId64 " x %" PRId64 " pixels has no pixel left when its shorter side is "
                         "resized to %" PRId64,
                         path, image.full_width, image.full_height, f->transform.resize[0]);
    status = soma_image_decode(s, path, bytes, size, &image);
    if (!status)
        soma_image_flatten(&image, f->channels);
    soma_source source = {.height = image.full_height, .width = image.full_width, .image = &image};
    if (!status)
        status = soma_render(s, scratch, f, &frame, &source, y);
    if (image.note[0])
        snprintf(note, room, "%s: the file has a fault that costs no pixel (%s)", path, image.note);
    soma_release(s, image.pixels);
    return status;
}

soma_status soma_render_file(soma *s, soma_scratch *scratch, const soma_framing *f, const soma_chance *chance,
                             int64_t sample, const char *path, float *y, char *note, size_t room)
{
    *note = 0;
    void *bytes = NULL;
    size_t size = 0;
    soma_status status = soma_file_read(s, path, FILE_MAX, &bytes, &size);
    if (!status)
        status = render_bytes(s, scratch, f, chance, sample, path, bytes, size, y, note, room);
    soma_release(s, bytes);
    return status;
}

/* Resolves the transform for pictures of files, which become [C, H, W] of the shape. */
static soma_status make_framing(soma *s, const soma_shape *shape, const soma_transform *given, soma_framing *f)
{
    if (shape->rank != 3 || (shape->dim[0] != 1 && shape->dim[0] != 3))
        return soma_fail(
            s, SOMA_INVALID, soma_nowhere(),
            SOMA_IN_C("soma_image_read: ") "a picture becomes [C, H, W] with C 1 (grey) or 3 (RGB), not a shape of %d "
                                           "dimensions with %" PRId64 " first",
            shape->rank, shape->rank > 0 ? shape->dim[0] : (int64_t)0);
    soma_status status = soma_image_limits(s, s->field_name ? "the model's input" : "soma_image_read", shape->dim[1],
                                           shape->dim[2]);
    if (status)
        return status;
    *f = (soma_framing){.channels = shape->dim[0]};
    f->transform = given ? *given : (soma_transform){.scale = 1};
    if (!f->transform.resize[0] && !f->transform.crop[0]) { /* nothing is said of sizes: the model's */
        f->transform.resize[0] = shape->dim[1];
        f->transform.resize[1] = shape->dim[2];
    }
    status = soma_framing_resolve(s, soma_nowhere(), f, 1.0 / 255, 0, 0);
    if (!status && (f->height != shape->dim[1] || f->width != shape->dim[2]))
        status = soma_fail(s, SOMA_INVALID, soma_nowhere(),
                           SOMA_IN_C("soma_image_read: ") "the transform makes pictures of %" PRId64 " x %" PRId64
                                                          ", but %" PRId64 " x %" PRId64
                                                          " are wanted (height x width); set " SOMA_FIELD(
                                                              "resize") " or " SOMA_FIELD("crop"),
                           f->height, f->width, shape->dim[1], shape->dim[2]);
    return status;
}

soma_status soma_image_read_with(soma *s, const soma_image_options *given)
{
    soma_image_options o = {0};
    soma_data_options(&o, sizeof o, given);
    if (!s)
        return SOMA_INVALID;
    if (!o.path || !o.pixels)
        return soma_fail(s, SOMA_INVALID, o.at, SOMA_IN_C("soma_image_read: ") "path and pixels must not be NULL");
    soma_framing f;
    soma_scratch scratch = {NULL, 0};
    char note[1024] = "";
    soma_status status = make_framing(s, &o.shape, o.transform, &f);
    if (!status)
        status = soma_render_file(s, &scratch, &f, NULL, 0, o.path, o.pixels, note, sizeof note);
    if (!status && o.background)
        *o.background = soma_framing_background(&f, o.pixels);
    if (!status && *note)
        soma_log(s, SOMA_LOG_WARNING, "%s", note);
    soma_release(s, scratch.block);
    return status;
}
