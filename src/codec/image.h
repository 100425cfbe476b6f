/* SPDX-License-Identifier: Apache-2.0
 *
 * codec/image.h: pictures as u8 [H, W, C], memory to memory. Knows nothing of files or tensors.
 */
#ifndef SOMA_CODEC_IMAGE_H
#define SOMA_CODEC_IMAGE_H

#include "base/context.h"

typedef struct soma_image {
    int64_t height, width;
    int channels;                    /* 1 grey, 2 grey and alpha, 3 RGB, 4 RGB and alpha; alpha is not premultiplied */
    uint8_t *pixels;                 /* [H, W, C]; from a decoder: memory of the context, soma_release it */
    int64_t full_height, full_width; /* in the file; a decoder may give a smaller picture where it is told so */
} soma_image;

/* Refuses pictures beyond SOMA_LIMIT_IMAGE_SIDE and SOMA_LIMIT_IMAGE_PIXELS. name: of the file, for the error. */
soma_status soma_image_limits(soma *s, const char *name, int64_t height, int64_t width);

/* Any PNG becomes 8 bits a channel: palettes, small depths and transparent colours are expanded, 16 bits are rounded to
 * 8. Gamma and colour profiles are ignored. SOMA_UNSUPPORTED in a build without libpng. */
soma_status soma_png_decode(soma *s, const char *name, const void *bytes, size_t size, soma_image *image);
soma_status soma_png_measure(soma *s, const char *name, const void *bytes, size_t size, soma_image *image);
/* Grey (1 channel) or RGB (3). The bytes are memory of the context. */
soma_status soma_png_encode(soma *s, const soma_image *image, void **bytes, size_t *size);

/* Grey, or RGB (made from inks, too), upright by the EXIF orientation. least {H, W}: a half, quarter or eighth of the size
 * will do as long as it is not smaller; NULL: the full size. SOMA_UNSUPPORTED in a build without libjpeg. */
soma_status soma_jpeg_decode(soma *s, const char *name, const void *bytes, size_t size, const int64_t *least,
                             soma_image *image);
soma_status soma_jpeg_measure(soma *s, const char *name, const void *bytes, size_t size, soma_image *image);

/* PNG or JPEG, by their first bytes. measure: only full_height and full_width. */
soma_status soma_image_decode(soma *s, const char *name, const void *bytes, size_t size, const int64_t *least,
                              soma_image *image);
soma_status soma_image_measure(soma *s, const char *name, const void *bytes, size_t size, soma_image *image);

#endif
