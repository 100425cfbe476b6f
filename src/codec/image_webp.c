/* SPDX-License-Identifier: Apache-2.0
 *
 * codec/image_webp.c: WebP through libwebp: lossy, lossless, with alpha. Its working memory is libwebp's own, bounded
 * by the size in the header, which is checked before. Knows nothing of files or tensors.
 */
#include "codec/image.h"

#include "base/limits.h"

#include <inttypes.h>
#include <string.h>
#include <webp/decode.h>

/* Lossless WebP holds any plain surface in 38 bytes: beyond a common photo's size a claim wants bytes all the same, or
 * a few bytes would take gigabytes of memory. libwebp writes no busy picture in less. */
#define PIXELS_OF_ANY ((int64_t)1 << 24)
#define PIXELS_PER_BYTE 65536

static uint32_t read_u32(const uint8_t *p)
{
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

/* The parts of the file, each a name, a size and its bytes (RIFF); the EXIF part stands behind the picture. */
static int orientation_of(const uint8_t *bytes, size_t size)
{
    for (size_t at = 12; at + 8 <= size;) {
        size_t length = read_u32(bytes + at + 4), rest = size - at - 8;
        const uint8_t *content = bytes + at + 8;
        if (length > rest)
            return 1;
        if (!memcmp(bytes + at, "EXIF", 4)) {
            size_t head = length >= 6 && !memcmp(content, "Exif\0", 6) ? 6 : 0; /* as some programs write it */
            return soma_exif_orientation(content + head, length - head);
        }
        at += 8 + length + (length & 1);
    }
    return 1;
}

static const char *reason(VP8StatusCode code)
{
    return code == VP8_STATUS_SUSPENDED || code == VP8_STATUS_NOT_ENOUGH_DATA ? "the file ends too early"
           : code == VP8_STATUS_UNSUPPORTED_FEATURE                           ? "a feature that libwebp does not know"
                                                                              : "bits that mean nothing";
}

static soma_status damaged(soma *s, const char *name, VP8StatusCode code)
{
    if (code == VP8_STATUS_OUT_OF_MEMORY)
        return soma_fail(s, SOMA_MEMORY, soma_nowhere(), "%s: memory to decode the picture could not be had", name);
    return soma_fail(s, SOMA_FORMAT, soma_nowhere(), "%s: the WebP data are damaged (%s)", name, reason(code));
}

static soma_status check_size(soma *s, const char *name, size_t size, int64_t height, int64_t width)
{
    soma_status status = soma_image_limits(s, name, height, width);
    int64_t pixels = height * width;
    if (!status && pixels > PIXELS_OF_ANY && pixels / PIXELS_PER_BYTE > (int64_t)size)
        status = soma_fail(s, SOMA_FORMAT, soma_nowhere(),
                           "%s: a WebP file of %zu bytes says that it holds %" PRId64 " x %" PRId64
                           " pixels; so few bytes hold a plain surface at most, which is not read at that size",
                           name, size, width, height);
    return status;
}

static soma_status read_header(soma *s, const char *name, const uint8_t *bytes, size_t size,
                               WebPBitstreamFeatures *features)
{
    if (size < 12 || memcmp(bytes, "RIFF", 4) || memcmp(bytes + 8, "WEBP", 4))
        return soma_fail(s, SOMA_FORMAT, soma_nowhere(), "%s: byte 0: this is not a WebP file", name);
    uint64_t said = (uint64_t)read_u32(bytes + 4) + 8;
    if (said > size)
        return soma_fail(s, SOMA_FORMAT, soma_nowhere(),
                         "%s: byte 4: the WebP file says that it has %" PRIu64
                         " bytes, but there are %zu; is it cut short?",
                         name, said, size);
    VP8StatusCode code = WebPGetFeatures(bytes, size, features);
    if (code != VP8_STATUS_OK)
        return damaged(s, name, code);
    if (features->has_animation) {
        char command[700];
        soma_image_conversion(name, SOMA_IMAGE_WEBP, command, sizeof command);
        return soma_fail(s, SOMA_UNSUPPORTED, soma_nowhere(),
                         "%s: a WebP animation; soma reads still pictures. Its first picture comes with: %s", name,
                         command);
    }
    return check_size(s, name, size, features->height, features->width);
}

static soma_status read_pixels(soma *s, const char *name, const uint8_t *bytes, size_t size,
                               const WebPBitstreamFeatures *features, soma_image *image)
{
    WebPDecoderConfig config;
    if (!WebPInitDecoderConfig(&config))
        return soma_fail(s, SOMA_UNSUPPORTED, soma_nowhere(),
                         "%s: libwebp is another version than the one that soma was built with", name);
    image->height = features->height;
    image->width = features->width;
    image->channels = features->has_alpha ? 4 : 3;
    size_t row = (size_t)image->width * (size_t)image->channels;
    image->pixels = soma_alloc_array(s, (size_t)image->height, row);
    if (!image->pixels)
        return SOMA_MEMORY;
    config.output.colorspace = features->has_alpha ? MODE_RGBA : MODE_RGB;
    config.output.is_external_memory = 1;
    config.output.u.RGBA.rgba = image->pixels;
    config.output.u.RGBA.stride = (int)row;
    config.output.u.RGBA.size = row * (size_t)image->height;
    VP8StatusCode code = WebPDecode(bytes, size, &config);
    return code == VP8_STATUS_OK ? SOMA_OK : damaged(s, name, code);
}

static soma_status decode(soma *s, const char *name, const void *bytes, size_t size, bool pixels, soma_image *image)
{
    WebPBitstreamFeatures features;
    *image = (soma_image){0};
    soma_status status = read_header(s, name, bytes, size, &features);
    if (status)
        return status;
    int orientation = orientation_of(bytes, size);
    soma_image got = {.full_height = orientation >= 5 ? features.width : features.height,
                      .full_width = orientation >= 5 ? features.height : features.width};
    if (pixels)
        status = read_pixels(s, name, bytes, size, &features, &got);
    if (pixels && !status)
        status = soma_image_upright(s, &got, orientation);
    if (status)
        soma_release(s, got.pixels);
    else
        *image = got;
    return status;
}

soma_status soma_webp_decode(soma *s, const char *name, const void *bytes, size_t size, soma_image *image)
{
    return decode(s, name, bytes, size, true, image);
}

soma_status soma_webp_measure(soma *s, const char *name, const void *bytes, size_t size, soma_image *image)
{
    return decode(s, name, bytes, size, false, image);
}
