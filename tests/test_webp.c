/* SPDX-License-Identifier: Apache-2.0
 *
 * WebP files of every kind against the pixels that Pillow saw in them (tests/fixtures/make_pictures.py), damage, sizes
 * that few bytes claim, memory that fails; formats that are named when they are refused.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "decoding.h"

#define PICTURES SOMA_SOURCE_DIR "/tests/fixtures/pictures/"

static void kinds_by_bytes_and_names(void **state)
{
    (void)state;
    static const struct {
        const char *bytes, *name, *file;
        size_t size;
    } files[] = {
        {"\xff\xd8\xff\xe0", "JPEG", "a.JPG", 4},
        {"\x89PNG\r\n\x1a\n", "PNG", "a.png", 8},
        {"RIFF\x10\0\0\0WEBPVP8 ", "WebP", "a.b.webp", 16},
        {"GIF89a", "GIF", "a.gif", 6},
        {"BM\x46\0\0\0\0\0\0\0\x36\0\0\0", "BMP", "a.bmp", 14},
        {"II*\0\x08\0\0\0", "TIFF", "a.tiff", 8},
        {"MM\0*\0\0\0\x08", "TIFF", "a.tif", 8},
        {"\0\0\0\x18"
         "ftypheic",
         "HEIC", "IMG_1.HEIC", 12},
        {"\0\0\0\x20"
         "ftypavif",
         "AVIF", "a.avif", 12},
        {"8BPS\0\1", "Photoshop (PSD)", "a.psd", 6},
        {"\0\0\0\x0cjP  \r\n", "JPEG 2000", "a.jp2", 10},
        {"\xff\x0a\x01", "JPEG XL", "a.jxl", 3},
        {"P6\n2 2\n255\n", "PNM", "a.ppm", 11},
        {"\0\0\1\0\1\0", "icon (ICO)", "a.ico", 6},
        {"<svg xmlns", "SVG", "a.svg", 10},
    };
    soma *s = soma_open(NULL);
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        soma_image_kind kind = soma_image_kind_of(files[i].bytes, files[i].size);
        if (!kind || strcmp(soma_image_kind_name(kind), files[i].name))
            fail_msg("%s is taken for kind %d", files[i].name, (int)kind);
        assert_int_equal(soma_image_kind_named(files[i].file), kind);
        soma_image_kind less = soma_image_kind_of(files[i].bytes, 2);
        assert_true(less == SOMA_IMAGE_UNKNOWN || less == SOMA_IMAGE_JPEGXL); /* two bytes are all of its signature */
        soma_image image;
        char want[64];
        snprintf(want, sizeof want, "a %s picture; soma reads", files[i].name);
        if (!soma_image_kind_read(kind)) {
            assert_int_equal(soma_image_decode(s, files[i].file, files[i].bytes, files[i].size, &image),
                             SOMA_UNSUPPORTED);
            if (!strstr(soma_error(s), want) || !strstr(soma_error(s), "Convert it with: convert "))
                fail_msg("\"%s\"", soma_error(s));
            soma_clear(s);
        }
    }
    assert_int_equal(soma_image_kind_of("BMW is a car", 12), SOMA_IMAGE_UNKNOWN);
    assert_int_equal(soma_image_kind_of("P6x", 3), SOMA_IMAGE_UNKNOWN);
    assert_int_equal(soma_image_kind_named(".png"), SOMA_IMAGE_UNKNOWN);
    assert_int_equal(soma_image_kind_named("classes.txt"), SOMA_IMAGE_UNKNOWN);
    soma_close(s);
}

static void commands_for_a_shell(void **state)
{
    (void)state;
    static const struct {
        const char *path;
        soma_image_kind kind;
        const char *command;
    } cases[] = {
        {"x.bmp", SOMA_IMAGE_BMP, "convert x.bmp x.png"},
        {"x.gif", SOMA_IMAGE_GIF, "convert 'x.gif[0]' x.png"},
        {"a b/it's.bmp", SOMA_IMAGE_BMP, "convert 'a b/it'\\''s.bmp' 'a b/it'\\''s.png'"},
        {"-x.bmp", SOMA_IMAGE_BMP, "convert ./'-x.bmp' ./'-x.png'"},
        {"a.b/x", SOMA_IMAGE_BMP, "convert a.b/x a.b/x.png"},
        {"a/.x", SOMA_IMAGE_BMP, "convert a/.x a/.x.png"},
        {"$(date).gif", SOMA_IMAGE_GIF, "convert '$(date).gif[0]' '$(date).png'"},
    };
    char got[700];
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        soma_image_conversion(cases[i].path, cases[i].kind, got, sizeof got);
        assert_string_equal(got, cases[i].command);
    }
    char path[1000];
    memset(path, 'x', sizeof path);
    memcpy(path + sizeof path - 5, ".gif", 5);
    soma_image_conversion(path, SOMA_IMAGE_GIF, got, sizeof got);
    assert_string_equal(got, "convert 'FILE[0]' picture.png");
}

#if defined(SOMA_HAVE_WEBP) && defined(SOMA_HAVE_PNG)

static char *fixture(const char *name, const char *ending, size_t *size)
{
    char path[512];
    snprintf(path, sizeof path, PICTURES "%s%s", name, ending);
    char *bytes = faults_read(path, size);
    assert_non_null(bytes);
    return bytes;
}

static soma_image decode(soma *s, const char *name, const char *ending)
{
    size_t size;
    soma_image image, seen;
    char *bytes = fixture(name, ending, &size);
    if (soma_image_decode(s, name, bytes, size, &image) != SOMA_OK)
        fail_msg("%s", soma_error(s));
    assert_int_equal(soma_image_measure(s, name, bytes, size, &seen), SOMA_OK);
    assert_int_equal(seen.full_height, image.full_height);
    assert_int_equal(seen.full_width, image.full_width);
    assert_int_equal(image.height, image.full_height);
    assert_null(seen.pixels);
    free(bytes);
    return image;
}

static void webp_pixels_as_pillow_sees_them(void **state)
{
    (void)state;
    static const char *const names[] = {"lossy", "lossless", "alpha", "turned"};
    soma *s = soma_open(NULL);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        soma_image got = decode(s, names[i], ".webp"), want = decode(s, names[i], ".png");
        assert_int_equal(got.height, want.height);
        assert_int_equal(got.width, want.width);
        assert_int_equal(got.channels, want.channels);
        int worst = 0, bound = strcmp(names[i], "lossless") ? 2 : 0; /* versions of libwebp differ in rounding */
        for (int64_t k = 0; k < got.height * got.width * got.channels; k++)
            worst = abs(got.pixels[k] - want.pixels[k]) > worst ? abs(got.pixels[k] - want.pixels[k]) : worst;
        if (worst > bound)
            fail_msg("%s: a pixel is %d away", names[i], worst);
        soma_release(s, got.pixels);
        soma_release(s, want.pixels);
    }
    soma_close(s);
}

static void assert_refused(soma *s, const void *bytes, size_t size, soma_status status, const char *part)
{
    soma_image image;
    uint64_t held = soma_memory_use(s).now;
    assert_int_equal(soma_image_decode(s, "a.webp", bytes, size, &image), status);
    if (strncmp(soma_error(s), "a.webp: ", 8) || !strstr(soma_error(s), part))
        fail_msg("expected \"%s\", got \"%s\"", part, soma_error(s));
    assert_null(image.pixels);
    assert_int_equal(soma_memory_use(s).now, held);
    soma_clear(s);
}

static void webp_damage(void **state)
{
    (void)state;
    static const char *const names[] = {"lossy", "lossless", "alpha"};
    soma *s = soma_open(NULL);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        size_t size;
        char *bytes = fixture(names[i], ".webp", &size);
        for (size_t n = 12; n < size; n++) /* cut short anywhere */
            assert_refused(s, bytes, n, SOMA_FORMAT, "is it cut short?");
        uint32_t said = (uint32_t)size / 2 - 8; /* and the file agrees that it is so short */
        memcpy(bytes + 4, &said, 4);
        assert_refused(s, bytes, size / 2, SOMA_FORMAT, "the WebP data are damaged");
        free(bytes);
    }
    size_t size;
    char *bytes = fixture("animated", ".webp", &size);
    assert_refused(s, bytes, size, SOMA_UNSUPPORTED, "Its first picture comes with: convert 'a.webp[0]' a.png");
    free(bytes);
    bytes = fixture("plain", ".webp", &size); /* 16383 x 16383 white pixels, a sound file */
    assert_int_equal(size, 38);
    assert_refused(s, bytes, size, SOMA_FORMAT, "a WebP file of 38 bytes says that it holds 16383 x 16383 pixels");
    free(bytes);
    soma_close(s);
}

static void webp_memory_that_fails(void **state)
{
    (void)state;
    size_t size;
    char *bytes = fixture("turned", ".webp", &size);
    decode_without_memory(bytes, size);
    free(bytes);
}
#else
static void webp_is_refused_by_name(void **state)
{
    (void)state;
    soma *s = soma_open(NULL);
    soma_image image;
    assert_int_equal(soma_image_decode(s, "a.webp", "RIFF\x10\0\0\0WEBPVP8 ", 16, &image), SOMA_UNSUPPORTED);
    assert_non_null(strstr(soma_error(s), "libwebp"));
    soma_close(s);
}
#endif

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(kinds_by_bytes_and_names),
        cmocka_unit_test(commands_for_a_shell),
#if defined(SOMA_HAVE_WEBP) && defined(SOMA_HAVE_PNG)
        cmocka_unit_test(webp_pixels_as_pillow_sees_them),
        cmocka_unit_test(webp_damage),
        cmocka_unit_test(webp_memory_that_fails),
#else
        cmocka_unit_test(webp_is_refused_by_name),
#endif
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
