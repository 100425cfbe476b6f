/* SPDX-License-Identifier: Apache-2.0
 *
 * codec/image.h: pictures as u8 [H, W, C], memory to memory. Knows nothing of files or tensors.
 */
#ifndef SOMA_CODEC_IMAGE_H
#define SOMA_CODEC_IMAGE_H

#include "base/context.h"

#define SOMA_IMAGE_NOTE 160
typedef struct soma_image {
    int64_t height, width;
    int channels;                    /* 1 grey, 2 grey and alpha, 3 RGB, 4 RGB and alpha; alpha is not premultiplied */
    uint8_t *pixels;                 /* [H, W, C]; from a decoder: memory of the context, soma_release it */
    int64_t full_height, full_width; /* as soma_image_measure finds them, pixels or not */
    char note[SOMA_IMAGE_NOTE]; /* the first fault of the file that costs no pixel, in the library's words; "": none */
} soma_image;

/* Formats of pictures. */
typedef enum soma_image_kind {
    SOMA_IMAGE_UNKNOWN,
    SOMA_IMAGE_JPEG, /* these three are read */
    SOMA_IMAGE_PNG,
    SOMA_IMAGE_WEBP,
    SOMA_IMAGE_GIF,
    SOMA_IMAGE_BMP,
    SOMA_IMAGE_TIFF,
    SOMA_IMAGE_AVIF,
    SOMA_IMAGE_HEIC,
    SOMA_IMAGE_PSD,
    SOMA_IMAGE_JPEG2000,
    SOMA_IMAGE_JPEGXL,
    SOMA_IMAGE_PNM,
    SOMA_IMAGE_ICO,
    SOMA_IMAGE_SVG
} soma_image_kind;

/* For sentences: the endings of names that soma_image_kind_read says yes to. */
#define SOMA_IMAGE_ENDINGS ".jpg, .jpeg, .jfif, .png, .webp"

/* By the first bytes of a file; by the ending of its name, in capitals or not ("a.JPG"). */
soma_image_kind soma_image_kind_of(const void *bytes, size_t size);
soma_image_kind soma_image_kind_named(const char *name);
/* "JPEG"; NULL: SOMA_IMAGE_UNKNOWN. */
const char *soma_image_kind_name(soma_image_kind kind);
/* Pixels that the header of a JPEG, PNG or WebP file claims, by its first bytes alone; 0: they do not say (damaged,
 * another format, or the sizes come later). Before a file is read whole: no check of anything else. */
uint64_t soma_image_claim(const void *bytes, size_t size);
/* Does soma read that format (a build without the library refuses it by name)? */
bool soma_image_kind_read(soma_image_kind kind);
/* A command that makes a PNG of such a file, for a shell. */
void soma_image_conversion(const char *path, soma_image_kind kind, char *command, size_t room);

/* Refuses pictures beyond SOMA_LIMIT_IMAGE_SIDE and SOMA_LIMIT_IMAGE_PIXELS. name: of the file, for the error. */
soma_status soma_image_limits(soma *s, const char *name, int64_t height, int64_t width);

/* Any PNG becomes 8 bits a channel: palettes, small depths and transparent colours are expanded, 16 bits are rounded to
 * 8. Gamma and colour profiles are ignored. Upright by the EXIF orientation. SOMA_UNSUPPORTED in a build without
 * libpng. */
soma_status soma_png_decode(soma *s, const char *name, const void *bytes, size_t size, soma_image *image);
soma_status soma_png_measure(soma *s, const char *name, const void *bytes, size_t size, soma_image *image);
/* Grey (1 channel) or RGB (3). The bytes are memory of the context. */
soma_status soma_png_encode(soma *s, const soma_image *image, void **bytes, size_t *size);

/* Grey, or RGB (made from inks, too), upright by the EXIF orientation. SOMA_UNSUPPORTED in a build without libjpeg. */
soma_status soma_jpeg_decode(soma *s, const char *name, const void *bytes, size_t size, soma_image *image);
soma_status soma_jpeg_measure(soma *s, const char *name, const void *bytes, size_t size, soma_image *image);

/* RGB, or RGB and alpha, upright by the EXIF orientation. An animation is refused. SOMA_UNSUPPORTED in a build without
 * libwebp. */
soma_status soma_webp_decode(soma *s, const char *name, const void *bytes, size_t size, soma_image *image);
soma_status soma_webp_measure(soma *s, const char *name, const void *bytes, size_t size, soma_image *image);

/* What a camera says of how it was held: 1 to 8 as EXIF counts them; 1 (upright) where nothing sound is said. bytes:
 * of a TIFF header on. */
int soma_exif_orientation(const uint8_t *bytes, size_t size);
/* Mirrors and turns pixels so that a picture of that orientation stands upright; full_height and full_width stay. */
soma_status soma_image_upright(soma *s, soma_image *image, int orientation);

/* In place: alpha over black, and luma where `channels` is 1, in bytes as Pillow's "L" counts them:
 * (19595 R + 38470 G + 7471 B + 32768) >> 16, so that equal R, G and B stay that very number. Afterwards the picture
 * has 1 or
 * 3 channels, 1 where channels is 1; grey pictures stay grey. */
void soma_image_flatten(soma_image *image, int64_t channels);

/* By the first bytes; other formats are named. measure: only full_height and full_width. */
soma_status soma_image_decode(soma *s, const char *name, const void *bytes, size_t size, soma_image *image);
soma_status soma_image_measure(soma *s, const char *name, const void *bytes, size_t size, soma_image *image);

#endif
