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
#include <string.h>

#define FILE_HEAD ((size_t)1 << 20) /* a header of that size says how many pixels there are, whatever a camera adds */
#define PIXEL_BYTES 8               /* four channels of 16 bits, not compressed at all */

/* Bytes of a file that its beginning makes believable: what the pixels can need that its header claims; the beginning
 * alone where that is no picture which soma reads. */
static uint64_t believable(const void *head, size_t n)
{
    uint64_t pixels = soma_image_kind_read(soma_image_kind_of(head, n)) ? soma_image_claim(head, n) : 0;
    return pixels <= SOMA_LIMIT_IMAGE_PIXELS ? n + pixels * PIXEL_BYTES : n;
}

/* The bytes of an open file into a new block of `all`, the first n of which are in `head`. */
static soma_status take(soma_file_reader *r, const void *head, size_t n, size_t all, void **bytes)
{
    char *block = soma_alloc(r->s, all + 1);
    *bytes = block;
    if (!block)
        return SOMA_MEMORY;
    if (n)
        memcpy(block, head, n);
    return soma_file_reader_take(r, block + n, all - n) < 0 ? SOMA_IO : SOMA_OK;
}

/* Reads a file as far as a picture of its header's claim can go; what lies behind is passed over with a note. */
static soma_status read_file(soma *s, const char *path, void **bytes, size_t *size, char *note, size_t room)
{
    soma_file_reader r;
    soma_status status = soma_file_reader_open(&r, s, path);
    if (status)
        return status;
    size_t n = r.size < FILE_HEAD ? (size_t)r.size : FILE_HEAD;
    status = take(&r, NULL, 0, n, bytes);
    *size = n;
    if (!status && r.size > n) {
        void *head = *bytes;
        uint64_t most = believable(head, n);
        *size = r.size < most ? (size_t)r.size : (size_t)most;
        status = take(&r, head, n, *size, bytes);
        soma_release(s, head);
        if (*size < r.size)
            snprintf(note, room,
                     "%s: %" PRIu64 " of the file's %" PRIu64 " bytes lie behind all that the picture can need", path,
                     r.size - *size, r.size);
    }
    soma_file_reader_close(&r);
    return status;
}

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
    soma_status status = read_file(s, path, &bytes, &size, note, room);
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

SOMA_TABLE(soma_image_options) = {
    SOMA_TEXT(soma_image_options, path, NULL, .flags = SOMA_FIELD_REQUIRED, .example = "\"cat.jpg\"",
              .doc = "of a JPEG, PNG or WebP"),
    SOMA_SIZES(soma_image_options, shape, .doc = "[C, H, W] of the result: C 1 (luma) or 3"),
    SOMA_OTHER(soma_image_options, transform,
               .doc = "without it raw values 0..255; without resize and crop the picture gets the shape's size"),
    SOMA_OTHER(soma_image_options, pixels, .doc = "room for the result"),
    SOMA_OTHER(soma_image_options, background, .doc = "where the mean of the outermost pixels goes, if anywhere"),
    SOMA_FIELDS_END};

soma_status soma_image_read_with(soma *s, const soma_image_options *given)
{
    soma_image_options o;
    if (!s || SOMA_TAKE(s, "soma_image_read", soma_image_options, given, &o))
        return SOMA_INVALID;
    if (!o.pixels)
        return soma_fail(s, SOMA_INVALID, o.at, SOMA_IN_C("soma_image_read: ") "pixels must not be NULL");
    soma_framing f;
    soma_scratch scratch = {NULL, 0};
    char note[1024] = "";
    soma_status status = make_framing(s, &o.shape, o.transform, &f);
    if (!status)
        status = soma_render_file(s, &scratch, &f, NULL, 0, o.path, o.pixels, note, sizeof note);
    if (!status && o.background)
        *o.background = soma_framing_background(&f, o.pixels);
    if (!status && *note)
        soma_say(s, SOMA_LOG_WARNING, "%s", note);
    soma_release(s, scratch.block);
    return status;
}
