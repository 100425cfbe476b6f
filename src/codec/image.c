/* SPDX-License-Identifier: Apache-2.0
 *
 * codec/image.c: what all picture formats share, and what a build without their libraries says.
 */
#include "codec/image.h"

#include "base/limits.h"

#include <inttypes.h>

soma_status soma_image_limits(soma *s, const char *name, int64_t height, int64_t width)
{
    if (height < 1 || width < 1)
        return soma_fail(s, SOMA_FORMAT, soma_nowhere(), "%s: a picture of %" PRId64 " x %" PRId64 " pixels is empty",
                         name, width, height);
    if (height > SOMA_LIMIT_IMAGE_SIDE || width > SOMA_LIMIT_IMAGE_SIDE)
        return soma_fail(s, SOMA_FORMAT, soma_nowhere(),
                         "%s: a picture of %" PRId64 " x %" PRId64 " pixels is beyond the limit of %d pixels a side",
                         name, width, height, SOMA_LIMIT_IMAGE_SIDE);
    if (height * width > SOMA_LIMIT_IMAGE_PIXELS)
        return soma_fail(s, SOMA_FORMAT, soma_nowhere(),
                         "%s: a picture of %" PRId64 " x %" PRId64 " pixels is beyond the limit of %" PRId64 " pixels",
                         name, width, height, SOMA_LIMIT_IMAGE_PIXELS);
    return SOMA_OK;
}

void soma_image_flatten(soma_image *image, int64_t channels)
{
    int n = image->channels, colours = n >= 3 ? 3 : 1, to = channels == 1 ? 1 : colours;
    const uint8_t *p = image->pixels;
    uint8_t *q = image->pixels; /* never ahead of p */
    if (n == to)
        return;
    for (int64_t i = 0; i < image->height * image->width; i++, p += n, q += to) {
        unsigned alpha = n == 2 || n == 4 ? p[n - 1] : 255, seen[3];
        for (int c = 0; c < colours; c++)
            seen[c] = (p[c] * alpha + 127) / 255;
        if (to < colours)
            seen[0] = (19595 * seen[0] + 38470 * seen[1] + 7471 * seen[2] + 32768) >> 16;
        for (int c = 0; c < to; c++)
            q[c] = (uint8_t)seen[c];
    }
    image->channels = to;
}

/* What is no picture that soma reads. */
static soma_status refuse(soma *s, const char *name, soma_image_kind kind, size_t size)
{
    if (!size)
        return soma_fail(s, SOMA_FORMAT, soma_nowhere(), "%s: the file is empty; a picture was expected", name);
    if (kind == SOMA_IMAGE_UNKNOWN)
        return soma_fail(s, SOMA_FORMAT, soma_nowhere(),
                         "%s: byte 0: this is neither a JPEG, a PNG nor a WebP file: its first bytes are not theirs",
                         name);
    char command[700];
    soma_image_conversion(name, kind, command, sizeof command);
    return soma_fail(s, SOMA_UNSUPPORTED, soma_nowhere(),
                     "%s: a %s picture; soma reads JPEG, PNG and WebP. Convert it with: %s", name,
                     soma_image_kind_name(kind), command);
}

soma_status soma_image_decode(soma *s, const char *name, const void *bytes, size_t size, soma_image *image)
{
    soma_image_kind kind = soma_image_kind_of(bytes, size);
    *image = (soma_image){0};
    switch (kind) {
    case SOMA_IMAGE_JPEG:
        return soma_jpeg_decode(s, name, bytes, size, image);
    case SOMA_IMAGE_PNG:
        return soma_png_decode(s, name, bytes, size, image);
    case SOMA_IMAGE_WEBP:
        return soma_webp_decode(s, name, bytes, size, image);
    default:
        return refuse(s, name, kind, size);
    }
}

soma_status soma_image_measure(soma *s, const char *name, const void *bytes, size_t size, soma_image *image)
{
    soma_image_kind kind = soma_image_kind_of(bytes, size);
    *image = (soma_image){0};
    switch (kind) {
    case SOMA_IMAGE_JPEG:
        return soma_jpeg_measure(s, name, bytes, size, image);
    case SOMA_IMAGE_PNG:
        return soma_png_measure(s, name, bytes, size, image);
    case SOMA_IMAGE_WEBP:
        return soma_webp_measure(s, name, bytes, size, image);
    default:
        return refuse(s, name, kind, size);
    }
}

#if !defined(SOMA_HAVE_PNG) || !defined(SOMA_HAVE_JPEG) || !defined(SOMA_HAVE_WEBP)
static soma_status left_out(soma *s, const char *name, const char *what, const char *library)
{
    return soma_fail(s, SOMA_UNSUPPORTED, soma_nowhere(),
                     "%s: this build of soma cannot %s pictures, because %s was not found when it was built; install "
                     "%s's development package and build again",
                     name, what, library, library);
}
#endif

#define LEFT_OUT(kind, what, library)                                                                                  \
    soma_status soma_##kind##_decode(soma *s, const char *name, const void *bytes, size_t size, soma_image *image)     \
    {                                                                                                                  \
        (void)bytes;                                                                                                   \
        (void)size;                                                                                                    \
        *image = (soma_image){0};                                                                                      \
        return left_out(s, name, what, library);                                                                       \
    }                                                                                                                  \
    soma_status soma_##kind##_measure(soma *s, const char *name, const void *bytes, size_t size, soma_image *image)    \
    {                                                                                                                  \
        return soma_##kind##_decode(s, name, bytes, size, image);                                                      \
    }

#ifndef SOMA_HAVE_PNG
LEFT_OUT(png, "read PNG", "libpng")

soma_status soma_png_encode(soma *s, const soma_image *image, void **bytes, size_t *size)
{
    (void)image;
    *bytes = NULL;
    *size = 0;
    return left_out(s, "PNG", "write PNG", "libpng");
}
#endif

#ifndef SOMA_HAVE_JPEG
LEFT_OUT(jpeg, "read JPEG", "libjpeg")
#endif

#ifndef SOMA_HAVE_WEBP
LEFT_OUT(webp, "read WebP", "libwebp")
#endif
