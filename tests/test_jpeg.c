/* SPDX-License-Identifier: Apache-2.0
 *
 * JPEG files of every kind against the pixels that Pillow saw in them (tests/fixtures/make_pictures.py), smaller decoding,
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
#include "codec/image.h"
#include "faults.h"

#if defined(SOMA_HAVE_JPEG) && defined(SOMA_HAVE_PNG)
#include <jpeglib.h>

static const char *fixture(const char *name, const char *ending)
{
    static char path[512];
    snprintf(path, sizeof path, SOMA_SOURCE_DIR "/tests/fixtures/pictures/%s%s", name, ending);
    return path;
}

static soma_image decode(soma *s, const char *name, const char *ending, const int64_t *least)
{
    size_t size;
    soma_image image;
    char *bytes = faults_read(fixture(name, ending), &size);
    assert_non_null(bytes);
    if (soma_image_decode(s, name, bytes, size, least, &image) != SOMA_OK)
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
        soma_image got = decode(s, names[i], ".jpg", NULL), want = decode(s, names[i], ".png", NULL);
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

/* A half, quarter or eighth, never less than was asked for; about the means of the blocks of the full picture. */
static void smaller_pictures(void **state)
{
    (void)state;
    const struct {
        int64_t least[2], part;
    } cases[] = {{{1, 1}, 8}, {{34, 50}, 8}, {{35, 50}, 4}, {{34, 51}, 4}, {{68, 100}, 4}, {{69, 1}, 2}, {{137, 1}, 1}};
    soma *s = soma_open(NULL);
    soma_image full = decode(s, "large", ".jpg", NULL);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        int64_t part = cases[i].part;
        soma_image got = decode(s, "large", ".jpg", cases[i].least);
        assert_int_equal(got.height, 272 / part);
        assert_int_equal(got.width, 400 / part);
        assert_int_equal(got.full_height, 272);
        assert_int_equal(got.full_width, 400);
        double error = 0;
        for (int64_t y = 0; y < got.height; y++)
            for (int64_t x = 0; x < got.width * 3; x++) {
                double sum = 0;
                for (int64_t k = 0; k < part * part; k++)
                    sum += full.pixels[((y * part + k / part) * 400 + x / 3 * part + k % part) * 3 + x % 3];
                double difference = sum / (double)(part * part) - got.pixels[y * got.width * 3 + x];
                error += difference < 0 ? -difference : difference;
            }
        assert_true(error / (double)(got.height * got.width * 3) < 2);
        soma_release(s, got.pixels);
    }
    soma_release(s, full.pixels);
    soma_close(s);
}

static void assert_refused(soma *s, const char *bytes, size_t size, const char *part)
{
    soma_image image;
    uint64_t held = soma_memory_use(s).now;
    assert_int_equal(soma_image_decode(s, "a.jpg", bytes, size, NULL, &image), SOMA_FORMAT);
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
            assert_int_equal(soma_image_decode(s, "a.jpg", bytes, size, NULL, &image), SOMA_OK);
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
        for (uint64_t k = 2;; k++) { /* 1: the context */
            faults_memory memory = {.fail_at = k};
            soma *s = soma_open(&(soma_context_options){.struct_size = sizeof(soma_context_options),
                                                        .allocator = faults_allocator(&memory)});
            soma_image image;
            soma_status status = soma_image_decode(s, "a", bytes, size, NULL, &image);
            assert_int_equal(status, memory.failed ? SOMA_MEMORY : SOMA_OK);
            soma_release(s, image.pixels);
            soma_close(s);
            assert_int_equal(memory.blocks, 0);
            if (!memory.failed)
                break;
        }
        free(bytes);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pixels_as_pillow_sees_them),
        cmocka_unit_test(smaller_pictures),
        cmocka_unit_test(damaged_files),
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
