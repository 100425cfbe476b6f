/* SPDX-License-Identifier: Apache-2.0
 *
 * JPEG files of every kind against the pixels that Pillow saw in them (tests/fixtures/make_pictures.py),
 * damage, limits, memory that fails.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <soma/base.h>

#include "base/context.h"
#include "base/limits.h"
#include "decoding.h"

#if defined(SOMA_HAVE_JPEG) && defined(SOMA_HAVE_PNG)
#include <jpeglib.h>

static const char *fixture(const char *name, const char *ending)
{
    static char path[512];
    snprintf(path, sizeof path, SOMA_SOURCE_DIR "/tests/fixtures/pictures/%s%s", name, ending);
    return path;
}

static soma_image decode(soma *s, const char *name, const char *ending)
{
    size_t size;
    soma_image image;
    char *bytes = faults_read(fixture(name, ending), &size);
    assert_non_null(bytes);
    if (soma_image_decode(s, name, bytes, size, &image) != SOMA_OK)
        fail_msg("%s", soma_error(s));
    soma_image seen;
    assert_int_equal(soma_image_measure(s, name, bytes, size, &seen), SOMA_OK);
    assert_int_equal(seen.full_height, image.full_height);
    assert_int_equal(seen.full_width, image.full_width);
    assert_null(seen.pixels);
    free(bytes);
    return image;
}

static void pixels_as_pillow_sees_them(void **state)
{
    (void)state;
    const char *const names[] = {"rgb",     "full",    "progressive", "grey",    "inks",    "turned1", "turned2",
                                 "turned3", "turned4", "turned5",     "turned6", "turned7", "turned8"};
    soma *s = soma_open(NULL);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        soma_image got = decode(s, names[i], ".jpg"), want = decode(s, names[i], ".png");
        assert_int_equal(got.height, want.height);
        assert_int_equal(got.width, want.width);
        assert_int_equal(got.channels, want.channels);
        assert_int_equal(got.full_height, want.height);
        int worst = 0;
        for (int64_t k = 0; k < got.height * got.width * got.channels; k++)
            worst = abs(got.pixels[k] - want.pixels[k]) > worst ? abs(got.pixels[k] - want.pixels[k]) : worst;
        if (worst > 2) /* versions of libjpeg differ in rounding */
            fail_msg("%s: a pixel is %d away", names[i], worst);
        soma_release(s, got.pixels);
        soma_release(s, want.pixels);
    }
    soma_close(s);
}

static void assert_refused(soma *s, const char *bytes, size_t size, const char *part)
{
    soma_image image;
    uint64_t held = soma_memory_use(s).now;
    assert_int_equal(soma_image_decode(s, "a.jpg", bytes, size, &image), SOMA_FORMAT);
    if (strncmp(soma_error(s), "a.jpg: ", 7) || !strstr(soma_error(s), part))
        fail_msg("expected \"%s\", got \"%s\"", part, soma_error(s));
    assert_null(image.pixels);
    assert_int_equal(soma_memory_use(s).now, held);
    soma_clear(s);
}

static void damaged_files(void **state)
{
    (void)state;
    soma *s = soma_open(NULL);
    for (int k = 0; k < 2; k++) {
        size_t size;
        char *bytes = faults_read(fixture(k ? "progressive" : "rgb", ".jpg"), &size);
        for (size_t n = 3; n < size - 2; n++) /* cut short anywhere */
            assert_refused(s, bytes, n, n > 100 ? "byte" : "");
        assert_refused(s, bytes, 0, "the file is empty");
        assert_refused(s, "plain text", 10, "neither a JPEG, a PNG nor a WebP file");
        size_t frame = 0; /* ff c0 (baseline) or ff c2 (progressive), length, 8 bits, height, width */
        while (memcmp(bytes + frame, k ? "\xff\xc2" : "\xff\xc0", 2))
            frame++;
        memset(bytes + frame + 5, 0x20, 4);
        assert_refused(s, bytes, size, "cannot hold 8224 x 8224 pixels");
        memset(bytes + frame + 5, 0xff, 4);
        assert_refused(s, bytes, size, "");
        free(bytes);
    }
    soma_close(s);
}

/* ---- what libjpeg warns of ---- */

static char *find_bytes(char *bytes, size_t size, const char *what, size_t n)
{
    for (size_t i = 0; i + n <= size; i++)
        if (!memcmp(bytes + i, what, n))
            return bytes + i;
    fail_msg("the file has not the bytes that were looked for");
    return NULL;
}

/* The file is read with a note, and its pixels are those of the sound file. */
static void assert_noted(soma *s, const char *name, const char *bytes, size_t size, const char *part)
{
    soma_image image, want = decode(s, name, ".jpg");
    assert_string_equal(want.note, "");
    if (soma_image_decode(s, name, bytes, size, &image) != SOMA_OK)
        fail_msg("%s: %s", part, soma_error(s));
    if (!strstr(image.note, part))
        fail_msg("expected the note \"%s\", got \"%s\"", part, image.note);
    assert_memory_equal(image.pixels, want.pixels, (size_t)(image.height * image.width * image.channels));
    soma_release(s, image.pixels);
    soma_release(s, want.pixels);
}

static void faults_that_cost_no_pixel(void **state)
{
    (void)state;
    soma *s = soma_open(NULL);
    for (int k = 0; k < 2; k++) {
        const char *name = k ? "progressive" : "rgb";
        size_t size;
        char *bytes = faults_read(fixture(name, ".jpg"), &size), *more = malloc(size + 8);
        for (size_t cut = 1; cut <= 2; cut++) /* the end is not marked */
            assert_noted(s, name, bytes, size - cut, "Premature end of JPEG file");
        size_t at = (size_t)(find_bytes(bytes, size, "\xff\xc4", 2) - bytes); /* bytes between two parts */
        memcpy(more, bytes, at);
        memcpy(more + at, "\x12\x34\x56", 3);
        memcpy(more + at + 3, bytes + at, size - at);
        assert_noted(s, name, more, size + 3, "3 extraneous bytes");
        memcpy(more, bytes, size);
        find_bytes(more, size, "JFIF", 4)[5] = 9;
        assert_noted(s, name, more, size, "unknown JFIF revision");
        free(more);
        free(bytes);
    }
    size_t size;
    char *bytes = faults_read(fixture("rgb", ".jpg"), &size);
    char *scan = find_bytes(bytes, size, "\xff\xda", 2); /* length 12, 3 components of 2 bytes, 0, 63, 0 */
    assert_memory_equal(scan + 11, "\0\x3f\0", 3);
    scan[12] = 0;
    assert_noted(s, "rgb", bytes, size, "Invalid SOS parameters");
    free(bytes);
    soma_close(s);
}

/* Where the i-th scan of a file begins, with the tables before it; one beyond the last: where the end is marked. */
static size_t find_scan(const char *bytes, size_t size, int i)
{
    const uint8_t *b = (const uint8_t *)bytes;
    size_t at = 2, begin = 0;
    bool open = true; /* nothing was read of the next scan yet */
    while (at + 4 <= size && b[at + 1] != 0xd9) {
        uint8_t marker = b[at + 1];
        if (open && (marker == 0xc4 || marker == 0xda)) {
            begin = at;
            open = false;
            if (!i--)
                return begin;
        }
        at += 2 + (size_t)(b[at + 2] << 8 | b[at + 3]);
        if (marker != 0xda)
            continue;
        while (b[at] != 0xff || !b[at + 1] || (b[at + 1] & 0xf8) == 0xd0)
            at++;
        open = true;
    }
    return at;
}

static void progressive_scans(void **state)
{
    (void)state;
    soma *s = soma_open(NULL);
    size_t size, first, second, third;
    char *bytes = faults_read(fixture("progressive", ".jpg"), &size), *other = malloc(size);
    first = find_scan(bytes, size, 0);
    second = find_scan(bytes, size, 1);
    third = find_scan(bytes, size, 2);
    assert_true(first < second && second < third && third < size - 2);
    memcpy(other, bytes, first); /* the scan of the means stands second: all of it is there */
    memcpy(other + first, bytes + second, third - second);
    memcpy(other + first + third - second, bytes + first, second - first);
    memcpy(other + third, bytes + third, size - third);
    assert_noted(s, "progressive", other, size, "Inconsistent progression sequence");
    memcpy(other + first, bytes + second, size - second); /* it is not there at all */
    assert_refused(s, other, size - second + first, "");
    int scans = 0;
    for (size_t end; (end = find_scan(bytes, size, scans)) < size - 2; scans++)
        if (scans) /* neither the scans from there on nor the end */
            assert_refused(s, bytes, end, "scans are missing");
    assert_true(scans > 5);
    free(other);
    free(bytes);
    soma_close(s);
}

/* A progressive file whose coefficients come one by one, all bits but the last first: 1 + 63 + `refined` scans. */
static void write_scans(int refined, unsigned char **bytes, unsigned long *size)
{
    struct jpeg_compress_struct jpeg;
    struct jpeg_error_mgr errors;
    jpeg_scan_info scans[128] = {{.comps_in_scan = 1}};
    for (int i = 1; i <= 63; i++) {
        scans[i] = (jpeg_scan_info){.comps_in_scan = 1, .Ss = i, .Se = i, .Al = 1};
        scans[63 + i] = (jpeg_scan_info){.comps_in_scan = 1, .Ss = i, .Se = i, .Ah = 1};
    }
    jpeg.err = jpeg_std_error(&errors);
    jpeg_create_compress(&jpeg);
    *bytes = NULL;
    jpeg_mem_dest(&jpeg, bytes, size);
    jpeg.image_width = jpeg.image_height = 8;
    jpeg.input_components = 1;
    jpeg.in_color_space = JCS_GRAYSCALE;
    jpeg_set_defaults(&jpeg);
    jpeg.scan_info = scans;
    jpeg.num_scans = 64 + refined;
    jpeg_start_compress(&jpeg, TRUE);
    for (int y = 0; y < 8; y++) {
        JSAMPLE pixels[8] = {0, 99, 3, (JSAMPLE)(y * 30), 200, 1, 0, 250};
        JSAMPROW row = pixels;
        jpeg_write_scanlines(&jpeg, &row, 1);
    }
    jpeg_finish_compress(&jpeg);
    jpeg_destroy_compress(&jpeg);
}

static void limit_of_scans(void **state)
{
    (void)state;
    soma *s = soma_open(NULL);
    for (int scans = SOMA_LIMIT_JPEG_SCANS - 1; scans <= SOMA_LIMIT_JPEG_SCANS + 1; scans++) {
        unsigned char *bytes;
        unsigned long size;
        write_scans(scans - 64, &bytes, &size);
        soma_image image;
        if (scans > SOMA_LIMIT_JPEG_SCANS)
            assert_refused(s, (char *)bytes, size, "more than 100 scans");
        else
            assert_int_equal(soma_image_decode(s, "a.jpg", bytes, size, &image), SOMA_OK);
        soma_release(s, scans > SOMA_LIMIT_JPEG_SCANS ? NULL : image.pixels);
        free(bytes);
    }
    soma_close(s);
}

static void memory_that_fails(void **state)
{
    (void)state;
    const char *const names[] = {"rgb", "inks", "turned6"};
    for (int i = 0; i < 3; i++) {
        size_t size;
        char *bytes = faults_read(fixture(names[i], ".jpg"), &size);
        decode_without_memory(bytes, size);
        free(bytes);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pixels_as_pillow_sees_them),
        cmocka_unit_test(damaged_files),
        cmocka_unit_test(faults_that_cost_no_pixel),
        cmocka_unit_test(progressive_scans),
        cmocka_unit_test(limit_of_scans),
        cmocka_unit_test(memory_that_fails),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

#else

int main(void)
{
    puts("skipped: this build has no libjpeg or no libpng");
    return 77;
}

#endif
