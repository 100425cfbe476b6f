/* SPDX-License-Identifier: Apache-2.0
 *
 * Pictures as models want them: grey and RGB, transparency, scaling against the filter's definition in f64, refusals.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <soma/data.h>

#include "codec/image.h"
#include "faults.h"

#ifdef SOMA_HAVE_PNG

static void assert_says(const soma *s, soma_status status, const char *part)
{
    if (soma_error_status(s) != status || !strstr(soma_error(s), part))
        fail_msg("expected \"%s\" with status %d, got \"%s\" with status %d", part, (int)status, soma_error(s),
                 (int)soma_error_status(s));
}

typedef struct folder {
    char path[256];
} folder;

static void make_folder(folder *f)
{
    assert_true(faults_folder(f->path));
}

static const char *in_folder(const folder *f, const char *name)
{
    static char path[512];
    snprintf(path, sizeof path, "%s/%s", f->path, name);
    return path;
}

static void write_png(soma *s, const char *path, int64_t height, int64_t width, int channels, uint8_t *pixels)
{
    soma_image image = {.height = height, .width = width, .channels = channels, .pixels = pixels};
    void *bytes;
    size_t size;
    assert_int_equal(soma_png_encode(s, &image, &bytes, &size), SOMA_OK);
    assert_true(faults_write(path, bytes, size));
    soma_release(s, bytes);
}

static void pictures_without_scaling(void **state)
{
    (void)state;
    folder f;
    make_folder(&f);
    soma *s = soma_open(NULL);
    uint8_t grey[6] = {0, 1, 127, 128, 254, 255}, colours[12] = {255, 0, 0, 0, 255, 0, 0, 0, 255, 77, 77, 77};
    float y[18];
    write_png(s, in_folder(&f, "grey.png"), 2, 3, 1, grey);
    assert_int_equal(soma_image_read(s, in_folder(&f, "grey.png"), .shape = SOMA_SHAPE(1, 2, 3), .pixels = y), SOMA_OK);
    for (int i = 0; i < 6; i++)
        assert_true(y[i] == (float)grey[i]);
    assert_int_equal(soma_image_read(s, in_folder(&f, "grey.png"), .shape = SOMA_SHAPE(3, 2, 3), .pixels = y), SOMA_OK);
    for (int i = 0; i < 18; i++)
        assert_true(y[i] == (float)grey[i % 6]);
    write_png(s, in_folder(&f, "rgb.png"), 2, 2, 3, colours);
    assert_int_equal(soma_image_read(s, in_folder(&f, "rgb.png"), .shape = SOMA_SHAPE(3, 2, 2), .pixels = y), SOMA_OK);
    for (int i = 0; i < 12; i++)
        assert_true(y[i] == (float)colours[i % 4 * 3 + i / 4]);
    assert_int_equal(soma_image_read(s, in_folder(&f, "rgb.png"), .shape = SOMA_SHAPE(1, 2, 2), .pixels = y), SOMA_OK);
    const float luma[] = {76, 150, 29, 77}; /* as Pillow's "L", whole numbers */
    for (int i = 0; i < 4; i++)
        assert_true(y[i] == luma[i]);
    /* colours whose luma by Pillow is another one where one of the three factors differs by 1 of 65536 */
    uint8_t sharp[12] = {228, 205, 35, 232, 240, 11, 41, 48, 176, 217, 162, 66};
    const float pillow[] = {192, 212, 60, 168};
    write_png(s, in_folder(&f, "sharp.png"), 2, 2, 3, sharp);
    assert_int_equal(soma_image_read(s, in_folder(&f, "sharp.png"), .shape = SOMA_SHAPE(1, 2, 2), .pixels = y),
                     SOMA_OK);
    assert_memory_equal(y, pillow, sizeof pillow);
    /* grey 200 with alpha 51, grey 100 opaque (written by Python's zlib) */
    static const uint8_t alpha_png[] = {
        0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a, 0x00, 0x00, 0x00, 0x0d, 0x49, 0x48, 0x44, 0x52, 0x00, 0x00,
        0x00, 0x02, 0x00, 0x00, 0x00, 0x01, 0x08, 0x04, 0x00, 0x00, 0x00, 0x5e, 0x2b, 0xb7, 0x01, 0x00, 0x00, 0x00,
        0x0d, 0x49, 0x44, 0x41, 0x54, 0x78, 0xda, 0x63, 0x38, 0x61, 0x9c, 0xf2, 0x1f, 0x00, 0x05, 0x85, 0x02, 0x5f,
        0x8d, 0x0d, 0xa6, 0x32, 0x00, 0x00, 0x00, 0x00, 0x49, 0x45, 0x4e, 0x44, 0xae, 0x42, 0x60, 0x82};
    assert_true(faults_write(in_folder(&f, "alpha.png"), alpha_png, sizeof alpha_png));
    for (int c = 1; c <= 3; c += 2) {
        assert_int_equal(soma_image_read(s, in_folder(&f, "alpha.png"), .shape = SOMA_SHAPE(c, 1, 2), .pixels = y),
                         SOMA_OK);
        for (int i = 0; i < c; i++)
            assert_true(y[2 * i] == 40 && y[2 * i + 1] == 100); /* over black */
    }
    soma_close(s);
    faults_folder_remove(f.path);
}

/* The triangle filter by its definition, in f64, both axes at once. */
static double scaled(const uint8_t *x, int h, int w, int to_h, int to_w, int oy, int ox)
{
    double sy = (double)h / to_h, sx = (double)w / to_w, ry = sy > 1 ? sy : 1, rx = sx > 1 ? sx : 1, sum = 0,
           weights = 0;
    for (int i = 0; i < h; i++)
        for (int j = 0; j < w; j++) {
            double a = 1 - fabs(i + 0.5 - (oy + 0.5) * sy) / ry, b = 1 - fabs(j + 0.5 - (ox + 0.5) * sx) / rx;
            double weight = (a > 0 ? a : 0) * (b > 0 ? b : 0);
            weights += weight;
            sum += weight * x[i * w + j];
        }
    return sum / weights;
}

static void pictures_scaled(void **state)
{
    (void)state;
    const struct {
        int h, w, to_h, to_w;
    } sizes[] = {{2, 2, 1, 1},  {1, 1, 3, 4},     {9, 7, 4, 3},   {5, 6, 28, 28},
                 {40, 3, 2, 9}, {28, 28, 27, 29}, {64, 64, 7, 64}};
    folder f;
    make_folder(&f);
    soma *s = soma_open(NULL);
    for (size_t k = 0; k < sizeof sizes / sizeof *sizes; k++) {
        int h = sizes[k].h, w = sizes[k].w, to_h = sizes[k].to_h, to_w = sizes[k].to_w;
        uint8_t pixels[64 * 64], white[64 * 64];
        float y[28 * 64];
        for (int i = 0; i < h * w; i++)
            pixels[i] = (uint8_t)(i * 97 + i * i);
        memset(white, 255, sizeof white);
        write_png(s, in_folder(&f, "a.png"), h, w, 1, pixels);
        assert_int_equal(soma_image_read(s, in_folder(&f, "a.png"), .shape = SOMA_SHAPE(1, to_h, to_w), .pixels = y),
                         SOMA_OK);
        for (int i = 0; i < to_h * to_w; i++)
            assert_true(fabs((double)y[i] - scaled(pixels, h, w, to_h, to_w, i / to_w, i % to_w)) < 1e-3);
        write_png(s, in_folder(&f, "a.png"), h, w, 1, white);
        assert_int_equal(soma_image_read(s, in_folder(&f, "a.png"), .shape = SOMA_SHAPE(1, to_h, to_w), .pixels = y),
                         SOMA_OK);
        for (int i = 0; i < to_h * to_w; i++)
            assert_true(y[i] <= 255 && y[i] > 254.999f);
    }
    soma_close(s);
    faults_folder_remove(f.path);
}

static void pictures_that_are_refused(void **state)
{
    (void)state;
    folder f;
    make_folder(&f);
    soma *s = soma_open(NULL);
    float y[4];
    uint8_t pixel = 9;
    write_png(s, in_folder(&f, "a.png"), 1, 1, 1, &pixel);
    assert_true(faults_write(in_folder(&f, "b.png"), "not a picture", 13));
    const struct {
        const char *name;
        soma_shape shape;
        soma_status status;
        const char *says;
    } cases[] = {
        {"a.png", SOMA_SHAPE(2, 1, 1), SOMA_INVALID,
         "[C, H, W] with C 1 (grey) or 3 (RGB), not a shape of 3 dimensions with 2"},
        {"a.png", SOMA_SHAPE(1, 1), SOMA_INVALID, "not a shape of 2 dimensions"},
        {"a.png", SOMA_SHAPE(1, 0, 1), SOMA_FORMAT, "is empty"},
        {"a.png", SOMA_SHAPE(1, 1, 65536), SOMA_FORMAT, "beyond the limit"},
        {"b.png", SOMA_SHAPE(1, 1, 1), SOMA_FORMAT, "b.png: byte 0: this is neither a JPEG, a PNG nor a WebP file"},
        {"c.png", SOMA_SHAPE(1, 1, 1), SOMA_IO, "no such file"},
        {".", SOMA_SHAPE(1, 1, 1), SOMA_IO, "folder"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        soma_clear(s);
        assert_int_equal(soma_image_read(s, in_folder(&f, cases[i].name), .shape = cases[i].shape, .pixels = y),
                         cases[i].status);
        assert_says(s, cases[i].status, cases[i].says);
    }
    soma_clear(s);
    assert_int_equal(soma_image_read(s, NULL, .shape = SOMA_SHAPE(1, 1, 1), .pixels = y), SOMA_INVALID);
    assert_int_equal(soma_image_read(NULL, "a", .shape = SOMA_SHAPE(1, 1, 1), .pixels = y), SOMA_INVALID);
    soma_close(s);
    for (uint64_t k = 1;; k++) {
        faults_memory memory = {.fail_at = k};
        s = soma_open(&(soma_context_options){.struct_size = sizeof(soma_context_options),
                                              .allocator = faults_allocator(&memory)});
        if (s) {
            soma_status status = soma_image_read(s, in_folder(&f, "a.png"), .shape = SOMA_SHAPE(3, 2, 2),
                                                 .pixels = (float[12]){0});
            assert_int_equal(status, memory.failed ? SOMA_MEMORY : SOMA_OK);
        }
        soma_close(s);
        assert_int_equal(memory.blocks, 0);
        if (!memory.failed)
            break;
    }
    faults_folder_remove(f.path);
}

/* ---- light and dark ---- */

static void light_and_dark(void **state)
{
    (void)state;
    folder f;
    make_folder(&f);
    soma *s = soma_open(NULL);
    uint8_t grey[6] = {0, 1, 127, 128, 254, 255};
    float y[4 * 5], z[12];
    double background;
    soma_transform t = {.scale = 1, .invert = true, .resize = {2, 3}, .crop = {4, 5}};
    write_png(s, in_folder(&f, "a.png"), 2, 3, 1, grey);
    assert_int_equal(soma_image_read(s, in_folder(&f, "a.png"), .shape = SOMA_SHAPE(1, 4, 5), .transform = &t,
                                     .pixels = y, .background = &background),
                     SOMA_OK);
    for (int i = 0; i < 20; i++) {
        int row = i / 5 - 1, column = i % 5 - 1;
        bool seen = row >= 0 && row < 2 && column >= 0 && column < 3;
        assert_true(y[i] == (seen ? (float)(255 - grey[row * 3 + column]) : 0)); /* black around it stays */
    }
    assert_true(background == 0);
    t = (soma_transform){.scale = 1 / 255.0, .mean = {0.5}, .deviation = {0.25}, .resize = {2, 3}};
    for (int k = 0; k < 2; k++, t.invert = true) {
        assert_int_equal(soma_image_read(s, in_folder(&f, "a.png"), .shape = SOMA_SHAPE(1, 2, 3), .transform = &t,
                                         .pixels = y, .background = &background),
                         SOMA_OK);
        assert_true(fabs(background - 127.5) < 1e-3); /* all six are at the edge; as it was before the scale */
    }
    /* pictures in memory */
    uint8_t bytes[12] = {0, 10, 20, 30, 40, 50, 200, 210, 220, 230, 240, 250};
    soma_tensor x = {SOMA_U8, SOMA_SHAPE(2, 1, 2, 3), bytes};
    soma_dataset *d = soma_dataset_arrays(s, .x = x, .transform = {.scale = 1, .invert = true});
    assert_non_null(d);
    assert_int_equal(soma_dataset_read(d, (int64_t[]){0, 1}, 2, z, NULL), SOMA_OK);
    for (int i = 0; i < 12; i++)
        assert_true(z[i] == (float)(255 - bytes[i]));
    assert_true(soma_dataset_background(d, &background));
    assert_true(fabs(background - (255 - 125)) < 1e-3);
    assert_true(soma_dataset_transform(d).invert);
    float numbers[12] = {0};
    x = (soma_tensor){SOMA_F32, SOMA_SHAPE(2, 1, 2, 3), numbers};
    assert_null(soma_dataset_arrays(s, .x = x, .transform = {.invert = true}));
    assert_says(s, SOMA_INVALID, "invert is for pictures in bytes");
    soma_clear(s);
    x = (soma_tensor){SOMA_U8, SOMA_SHAPE(2, 6), bytes};
    assert_null(soma_dataset_arrays(s, .x = x, .transform = {.invert = true}));
    assert_says(s, SOMA_INVALID, "bgr, invert and augmentation are for pictures");
    soma_close(s);
    faults_folder_remove(f.path);
}

static void edges_tell_what_is_exchanged(void **state)
{
    (void)state;
    static const struct {
        double usual, seen;
        bool inverted;
    } cases[] = {{0, 255, true},    {0, 0, false},     {0, 100, false},   {0, 160, true},  {12, 243, true},
                 {12, 110, false},  {255, 0, true},    {255, 255, false}, {250, 20, true}, {250, 200, false},
                 {110, 145, false}, {100, 255, false}, {NAN, 255, false}, {0, NAN, false}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        if (soma_looks_inverted(cases[i].usual, cases[i].seen) != cases[i].inverted)
            fail_msg("%g where %g is usual", cases[i].seen, cases[i].usual);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pictures_without_scaling),     cmocka_unit_test(light_and_dark),
        cmocka_unit_test(edges_tell_what_is_exchanged), cmocka_unit_test(pictures_scaled),
        cmocka_unit_test(pictures_that_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

#else

int main(void)
{
    puts("skipped: this build has no libpng");
    return 77;
}

#endif
