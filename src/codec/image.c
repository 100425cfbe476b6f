/* SPDX-License-Identifier: Apache-2.0
 *
 * codec/image.c: what all picture formats share, and what a build without libpng says.
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

#ifndef SOMA_HAVE_PNG
soma_status soma_png_decode(soma *s, const char *name, const void *bytes, size_t size, soma_image *image)
{
    (void)bytes;
    (void)size;
    *image = (soma_image){0};
    return soma_fail(
        s, SOMA_UNSUPPORTED, soma_nowhere(),
        "%s: this build of soma cannot read PNG pictures, because libpng was not found when it was built; install "
        "libpng's development package and build again",
        name);
}

soma_status soma_png_encode(soma *s, const soma_image *image, void **bytes, size_t *size)
{
    (void)image;
    *bytes = NULL;
    *size = 0;
    return soma_fail(s, SOMA_UNSUPPORTED, soma_nowhere(),
                     "this build of soma cannot write PNG pictures, because libpng was not found when it was built; "
                     "install libpng's "
                     "development package and build again");
}
#endif
