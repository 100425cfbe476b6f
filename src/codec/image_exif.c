/* SPDX-License-Identifier: Apache-2.0
 *
 * codec/image_exif.c: how a camera was held (EXIF 2.3, 4.6.4 A), and pixels turned upright by it.
 */
#include "codec/image.h"

#include <string.h>

#define ORIENTATION_TAG 0x0112

static unsigned read_number(const uint8_t *p, int bytes, bool little)
{
    unsigned n = 0;
    for (int i = 0; i < bytes; i++)
        n |= (unsigned)p[i] << 8 * (little ? i : bytes - 1 - i);
    return n;
}

int soma_exif_orientation(const uint8_t *p, size_t size)
{
    if (size < 8 || (memcmp(p, "II*\0", 4) && memcmp(p, "MM\0*", 4)))
        return 1;
    bool little = p[0] == 'I';
    size_t at = read_number(p + 4, 4, little);
    if (at > size - 2)
        return 1;
    unsigned entries = read_number(p + at, 2, little);
    for (at += 2; entries-- && at + 12 <= size; at += 12)
        if (read_number(p + at, 2, little) == ORIENTATION_TAG) {
            unsigned value = read_number(p + at + 8, 2, little);
            return value >= 1 && value <= 8 ? (int)value : 1;
        }
    return 1;
}

/* 2 to 4 mirror and turn by half, 5 to 8 exchange rows and columns as well. */
soma_status soma_image_upright(soma *s, soma_image *image, int orientation)
{
    bool turned = orientation >= 5;
    bool mirror_x = orientation == 2 || orientation == 3 || orientation == 7 || orientation == 8;
    bool mirror_y = orientation == 3 || orientation == 4 || orientation == 6 || orientation == 7;
    int64_t h = image->height, w = image->width, n = image->channels;
    if (orientation == 1)
        return SOMA_OK;
    uint8_t *upright = soma_alloc_array(s, (size_t)(h * w), (size_t)n);
    if (!upright)
        return SOMA_MEMORY;
    int64_t to_h = turned ? w : h, to_w = turned ? h : w;
    for (int64_t y = 0; y < to_h; y++)
        for (int64_t x = 0; x < to_w; x++) {
            int64_t from_y = turned ? x : y, from_x = turned ? y : x;
            from_y = mirror_y ? h - 1 - from_y : from_y;
            from_x = mirror_x ? w - 1 - from_x : from_x;
            memcpy(upright + (y * to_w + x) * n, image->pixels + (from_y * w + from_x) * n, (size_t)n);
        }
    soma_release(s, image->pixels);
    image->pixels = upright;
    image->height = to_h;
    image->width = to_w;
    return SOMA_OK;
}
