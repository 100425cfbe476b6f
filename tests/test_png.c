/* SPDX-License-Identifier: Apache-2.0
 *
 * PNG: pictures made elsewhere (Python's zlib module), what is written is read again; files cut at each byte, with each
 * bit flipped, with sizes that lie; memory that fails at each allocation. Without libpng: the sentence that says so.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <zlib.h>

#include "codec/image.h"
#include "faults.h"

static void assert_says(const soma *s, soma_status status, const char *part)
{
    if (soma_error_status(s) != status || !strstr(soma_error(s), part))
        fail_msg("expected \"%s\" with status %d, got \"%s\" with status %d", part, (int)status, soma_error(s),
                 (int)soma_error_status(s));
}

#ifdef SOMA_HAVE_PNG

static soma *open_counting(faults_memory *memory)
{
    return soma_open(
        &(soma_context_options){.struct_size = sizeof(soma_context_options), .allocator = faults_allocator(memory)});
}

/* Bytes on the heap, exactly that many: a sanitizer sees the first byte read behind them. */
static uint8_t *exact_copy(const void *bytes, size_t size)
{
    uint8_t *copy = malloc(size ? size : 1);
    assert_non_null(copy);
    if (size)
        memcpy(copy, bytes, size);
    return copy;
}

static const uint8_t palette_png[] = {
    0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a, 0x00, 0x00, 0x00, 0x0d, 0x49, 0x48, 0x44, 0x52, 0x00, 0x00,
    0x00, 0x03, 0x00, 0x00, 0x00, 0x02, 0x02, 0x03, 0x00, 0x00, 0x00, 0xe0, 0x1a, 0x8e, 0x89, 0x00, 0x00, 0x00,
    0x0c, 0x50, 0x4c, 0x54, 0x45, 0x0a, 0x14, 0x1e, 0x28, 0x32, 0x3c, 0x46, 0x50, 0x5a, 0xff, 0x00, 0x80, 0x7f,
    0x16, 0x1c, 0xc9, 0x00, 0x00, 0x00, 0x02, 0x74, 0x52, 0x4e, 0x53, 0xff, 0x80, 0x08, 0x0f, 0xb3, 0x6a, 0x00,
    0x00, 0x00, 0x0c, 0x49, 0x44, 0x41, 0x54, 0x78, 0xda, 0x63, 0x90, 0x60, 0x38, 0x02, 0x00, 0x01, 0x10, 0x00,
    0xdd, 0x2f, 0x18, 0xdc, 0x8e, 0x00, 0x00, 0x00, 0x00, 0x49, 0x45, 0x4e, 0x44, 0xae, 0x42, 0x60, 0x82,
};
static const uint8_t deep_png[] = {
    0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a, 0x00, 0x00, 0x00, 0x0d, 0x49, 0x48, 0x44, 0x52, 0x00, 0x00, 0x00,
    0x02, 0x00, 0x00, 0x00, 0x02, 0x10, 0x00, 0x00, 0x00, 0x00, 0x07, 0x4d, 0x8e, 0xbb, 0x00, 0x00, 0x00, 0x12, 0x49,
    0x44, 0x41, 0x54, 0x78, 0xda, 0x63, 0x60, 0x60, 0xf8, 0xff, 0x9f, 0xa1, 0xa1, 0x81, 0x9d, 0x1d, 0x00, 0x10, 0x92,
    0x03, 0x0d, 0xd3, 0xb7, 0x67, 0x35, 0x00, 0x00, 0x00, 0x00, 0x49, 0x45, 0x4e, 0x44, 0xae, 0x42, 0x60, 0x82,
};
static const uint8_t interlaced_png[] = {
    0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a, 0x00, 0x00, 0x00, 0x0d, 0x49, 0x48, 0x44, 0x52,
    0x00, 0x00, 0x00, 0x03, 0x00, 0x00, 0x00, 0x03, 0x08, 0x00, 0x00, 0x00, 0x01, 0x04, 0x44, 0xda,
    0xf5, 0x00, 0x00, 0x00, 0x17, 0x49, 0x44, 0x41, 0x54, 0x78, 0xda, 0x63, 0x60, 0x64, 0x60, 0x66,
    0x60, 0xe7, 0x64, 0x60, 0x62, 0xe0, 0x60, 0x60, 0x61, 0x65, 0x03, 0x00, 0x01, 0x2a, 0x00, 0x2e,
    0xa6, 0xa8, 0x46, 0xfc, 0x00, 0x00, 0x00, 0x00, 0x49, 0x45, 0x4e, 0x44, 0xae, 0x42, 0x60, 0x82,
};
static const uint8_t alpha_png[] = {
    0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a, 0x00, 0x00, 0x00, 0x0d, 0x49, 0x48, 0x44, 0x52, 0x00, 0x00,
    0x00, 0x02, 0x00, 0x00, 0x00, 0x01, 0x08, 0x04, 0x00, 0x00, 0x00, 0x5e, 0x2b, 0xb7, 0x01, 0x00, 0x00, 0x00,
    0x0d, 0x49, 0x44, 0x41, 0x54, 0x78, 0xda, 0x63, 0x38, 0x61, 0x9c, 0xf2, 0x1f, 0x00, 0x05, 0x85, 0x02, 0x5f,
    0x8d, 0x0d, 0xa6, 0x32, 0x00, 0x00, 0x00, 0x00, 0x49, 0x45, 0x4e, 0x44, 0xae, 0x42, 0x60, 0x82,
};
static soma_status decode(soma *s, const void *bytes, size_t size, soma_image *image)
{
    soma_clear(s);
    return soma_png_decode(s, "file", bytes, size, image);
}

static void png_kinds(void **state)
{
    (void)state;
    static const struct {
        const uint8_t *bytes;
        size_t size;
        int64_t height, width;
        int channels;
        uint8_t pixels[24];
    } files[] = {
        {palette_png, sizeof palette_png, 2, 3, 4, {10,  20, 30,  255, 40, 50, 60, 128, 70, 80, 90, 255,
                                                    255, 0,  128, 255, 10, 20, 30, 255, 40, 50, 60, 128}},
        {deep_png, sizeof deep_png, 2, 2, 1, {0, 255, 128, 7}},
        {interlaced_png, sizeof interlaced_png, 3, 3, 1, {1, 2, 3, 4, 5, 6, 7, 8, 9}},
        {alpha_png, sizeof alpha_png, 1, 2, 2, {200, 51, 100, 255}},
    };
    soma *s = soma_open(NULL);
    for (size_t f = 0; f < sizeof files / sizeof *files; f++) {
        soma_image image;
        assert_int_equal(decode(s, files[f].bytes, files[f].size, &image), SOMA_OK);
        assert_int_equal(image.height, files[f].height);
        assert_int_equal(image.width, files[f].width);
        assert_int_equal(image.channels, files[f].channels);
        assert_memory_equal(image.pixels, files[f].pixels, (size_t)(image.height * image.width * image.channels));
        soma_release(s, image.pixels);
    }
    soma_close(s);
}

/* A picture without pattern, so that it does not shrink. */
static soma_image noise(int64_t height, int64_t width, int channels)
{
    size_t n = (size_t)(height * width * channels);
    soma_image image = {.height = height, .width = width, .channels = channels, .pixels = malloc(n)};
    assert_non_null(image.pixels);
    uint32_t x = 12345;
    for (size_t i = 0; i < n; i++) {
        x = x * 1664525u + 1013904223u;
        image.pixels[i] = (uint8_t)(x >> 24);
    }
    return image;
}

static void png_writes_what_it_reads(void **state)
{
    (void)state;
    soma *s = soma_open(NULL);
    const struct {
        int64_t height, width;
        int channels;
    } sizes[] = {{1, 1, 1}, {1, 1, 3}, {28, 28, 1}, {7, 300, 3}, {301, 5, 1}, {120, 130, 3}};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        soma_image image = noise(sizes[i].height, sizes[i].width, sizes[i].channels), again;
        void *bytes;
        size_t size;
        assert_int_equal(soma_png_encode(s, &image, &bytes, &size), SOMA_OK);
        assert_int_equal(decode(s, bytes, size, &again), SOMA_OK);
        assert_int_equal(again.height, image.height);
        assert_int_equal(again.width, image.width);
        assert_int_equal(again.channels, image.channels);
        assert_memory_equal(again.pixels, image.pixels, (size_t)(image.height * image.width * image.channels));
        soma_release(s, again.pixels);
        soma_release(s, bytes);
        free(image.pixels);
    }
    soma_image two = {.height = 1, .width = 1, .channels = 2, .pixels = (uint8_t[]){1, 2}};
    void *bytes;
    size_t size;
    assert_int_equal(soma_png_encode(s, &two, &bytes, &size), SOMA_INVALID);
    assert_says(s, SOMA_INVALID, "a PNG is written from 1 channel (grey) or 3 (RGB), not from 2");
    soma_clear(s);
    soma_image wide = {.height = 1, .width = 65536, .channels = 1, .pixels = two.pixels};
    assert_int_equal(soma_png_encode(s, &wide, &bytes, &size), SOMA_FORMAT);
    soma_close(s);
}

/* Cut at each byte: a sentence, or a picture with a note where only its end, the last 12 bytes, is missing. Each bit
 * flipped: a sentence or a picture, never a crash or a leak. */
static void break_png(soma *s, const uint8_t *png, size_t png_size)
{
    soma_image image;
    for (size_t cut = 0; cut < png_size; cut++) {
        uint8_t *bytes = exact_copy(png, cut);
        bool whole = cut >= png_size - 12;
        assert_int_equal(decode(s, bytes, cut, &image), whole ? SOMA_OK : SOMA_FORMAT);
        assert_true(whole ? strstr(image.note, "the file ends too early") != NULL : !image.pixels);
        if (!whole)
            assert_says(s, SOMA_FORMAT, "file: byte ");
        soma_release(s, image.pixels);
        free(bytes);
    }
    size_t refused = 0;
    for (size_t bit = 0; bit < 8 * png_size; bit++) {
        uint8_t *bytes = exact_copy(png, png_size);
        bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
        if (decode(s, bytes, png_size, &image)) {
            assert_says(s, SOMA_FORMAT, "file: ");
            refused++;
        }
        soma_release(s, image.pixels);
        free(bytes);
    }
    assert_true(refused > 4 * png_size);
}

/* ---- what libpng warns of ---- */

static void put_u32(uint8_t *to, uint32_t n)
{
    for (int k = 0; k < 4; k++)
        to[k] = (uint8_t)(n >> (24 - 8 * k));
}

/* The file with a chunk more, before the first `before`, its checksum wrong by `wrong`. */
static uint8_t *insert_chunk(const uint8_t *png, size_t *size, const char *before, const char *name,
                             const void *content, size_t length, uint32_t wrong)
{
    size_t at = 8;
    while (memcmp(png + at + 4, before, 4))
        at += 12 + ((size_t)png[at + 2] << 8 | png[at + 3]);
    uint8_t *more = malloc(*size + 12 + length);
    memcpy(more, png, at);
    put_u32(more + at, (uint32_t)length);
    memcpy(more + at + 4, name, 4);
    memcpy(more + at + 8, content, length);
    put_u32(more + at + 8 + length, (uint32_t)crc32(0, more + at + 4, (uInt)length + 4) ^ wrong);
    memcpy(more + at + 12 + length, png + at, *size - at);
    *size += 12 + length;
    return more;
}

/* The checksum of the chunk is wrong by a bit. */
static uint8_t *spoil(const uint8_t *png, size_t size, const char *name)
{
    uint8_t *bytes = exact_copy(png, size);
    size_t at = 8;
    while (memcmp(bytes + at + 4, name, 4))
        at += 12 + ((size_t)bytes[at + 2] << 8 | bytes[at + 3]);
    bytes[at + 8 + ((size_t)bytes[at + 2] << 8 | bytes[at + 3])] ^= 1;
    return bytes;
}

static void assert_noted(soma *s, uint8_t *bytes, size_t size, const char *part)
{
    static const uint8_t pixels[] = {10,  20, 30,  255, 40, 50, 60, 128, 70, 80, 90, 255,
                                     255, 0,  128, 255, 10, 20, 30, 255, 40, 50, 60, 128};
    soma_image image;
    if (decode(s, bytes, size, &image))
        fail_msg("%s: %s", part, soma_error(s));
    if (!strstr(image.note, part) || (!*part && image.note[0]))
        fail_msg("expected the note \"%s\", got \"%s\"", part, image.note);
    assert_memory_equal(image.pixels, pixels, sizeof pixels);
    soma_release(s, image.pixels);
    free(bytes);
}

static void assert_costs(soma *s, uint8_t *bytes, size_t size, const char *part)
{
    soma_image image;
    if (decode(s, bytes, size, &image) == SOMA_OK)
        fail_msg("%s was read", part);
    assert_says(s, SOMA_FORMAT, part);
    assert_null(image.pixels);
    free(bytes);
}

static void png_faults_that_cost_no_pixel(void **state)
{
    (void)state;
    const uint8_t *png = palette_png;
    size_t n = sizeof palette_png, more = n;
    soma *s = soma_open(NULL);
    assert_noted(s, exact_copy(png, n), n, "");
    assert_noted(s, spoil(png, n, "IEND"), n, "CRC error");
    uint8_t *bytes = insert_chunk(png, &more, "IDAT", "tEXt", "Title\0x", 7, 1);
    assert_noted(s, bytes, more, "tEXt: CRC error");
    more = n;
    bytes = insert_chunk(png, &more, "IEND", "tIME", "12", 2, 7); /* behind the pixels */
    assert_noted(s, bytes, more, "tIME: CRC error");
    more = n;
    bytes = insert_chunk(png, &more, "IDAT", "iCCP", "x", 1, 0); /* no profile at all: nobody looks */
    assert_noted(s, bytes, more, "");
    soma_close(s);
}

static void png_faults_that_cost_pixels(void **state)
{
    (void)state;
    const uint8_t *png = palette_png;
    size_t n = sizeof palette_png, more = n;
    soma *s = soma_open(NULL);
    assert_costs(s, spoil(png, n, "IDAT"), n, "CRC error");
    assert_costs(s, spoil(png, n, "PLTE"), n, "CRC error");
    assert_costs(s, spoil(png, n, "tRNS"), n, "tRNS: CRC error");
    uint8_t *bytes = insert_chunk(png, &more, "IDAT", "ABCD", "12", 2, 0);
    assert_costs(s, bytes, more, "critical chunk");
    soma_close(s);
}

/* The first n of the four colours of palette_png, whose pixels are 0 1 2 3 0 1. */
static uint8_t *with_colours(size_t n, size_t *size)
{
    const size_t head = 33, chunk = 12 + 12; /* PLTE stands behind IHDR */
    uint8_t *bytes = malloc(sizeof palette_png);
    assert_non_null(bytes);
    memcpy(bytes, palette_png, head + 8 + 3 * n);
    put_u32(bytes + head, (uint32_t)(3 * n));
    put_u32(bytes + head + 8 + 3 * n, (uint32_t)crc32(0, bytes + head + 4, (uInt)(4 + 3 * n)));
    memcpy(bytes + head + 12 + 3 * n, palette_png + head + chunk, sizeof palette_png - head - chunk);
    *size = sizeof palette_png - 12 + 3 * n;
    return bytes;
}

/* libpng alone shows them as black, without a word. */
static void png_pixels_beyond_the_palette(void **state)
{
    (void)state;
    soma *s = soma_open(NULL);
    for (size_t n = 2; n <= 4; n++) { /* as many transparencies */
        size_t size;
        uint8_t *bytes = with_colours(n, &size);
        char says[64];
        snprintf(says, sizeof says, "a pixel has colour %zu of a palette of %zu, counted from 0", n, n);
        soma_image image;
        assert_int_equal(decode(s, bytes, size, &image), n == 4 ? SOMA_OK : SOMA_FORMAT);
        if (n < 4)
            assert_non_null(strstr(soma_error(s), says));
        else
            soma_release(s, image.pixels);
        free(bytes);
    }
    soma_close(s);
}

/* A photo that was taken sideways, told before or behind the pixels; in one whose checksum is wrong nobody believes. */
static void png_taken_sideways(void **state)
{
    (void)state;
    static const uint8_t exif[] = "MM\0*\0\0\0\x08\0\1\x01\x12\0\3\0\0\0\1\0\x06\0\0\0\0\0\0",
                         want[] = {7, 4, 1, 8, 5, 2, 9, 6, 3};
    soma *s = soma_open(NULL);
    for (int k = 0; k < 3; k++) {
        size_t size = sizeof interlaced_png;
        uint8_t *bytes = insert_chunk(interlaced_png, &size, k ? "IEND" : "IDAT", "eXIf", exif, sizeof exif - 1,
                                      k == 2 ? 1 : 0);
        soma_image image;
        assert_int_equal(decode(s, bytes, size, &image), SOMA_OK);
        assert_int_equal(memcmp(image.pixels, want, 9) == 0, k < 2);
        soma_release(s, image.pixels);
        free(bytes);
    }
    soma_close(s);
}

static void png_files_that_are_broken(void **state)
{
    (void)state;
    faults_memory memory = {0};
    soma *s = open_counting(&memory);
    uint64_t before = memory.blocks;
    break_png(s, palette_png, sizeof palette_png);
    break_png(s, deep_png, sizeof deep_png);
    break_png(s, interlaced_png, sizeof interlaced_png);
    break_png(s, alpha_png, sizeof alpha_png);
    soma_image image = noise(6, 9, 3);
    void *bytes;
    size_t size;
    soma_clear(s);
    assert_int_equal(soma_png_encode(s, &image, &bytes, &size), SOMA_OK);
    break_png(s, bytes, size);
    soma_release(s, bytes);
    free(image.pixels);
    assert_int_equal(memory.blocks, before);
    soma_close(s);
}

/* Several bytes at once, with checksums made right again, so that damage reaches the decoder behind them. */
static void png_mutants(void **state)
{
    (void)state;
    faults_memory memory = {0};
    soma *s = open_counting(&memory);
    uint64_t before = memory.blocks;
    uint32_t x = 99;
    for (int round = 0; round < 4000; round++) {
        uint8_t *bytes = exact_copy(palette_png, sizeof palette_png);
        for (int i = 0; i < 1 + round % 3; i++) {
            x = x * 1664525u + 1013904223u;
            bytes[8 + (x >> 8) % (sizeof palette_png - 8)] = (uint8_t)(x >> 24);
        }
        for (size_t at = 8; at + 12 <= sizeof palette_png;) { /* length, name, content, checksum */
            size_t length = (size_t)bytes[at] << 24 | (size_t)bytes[at + 1] << 16 | (size_t)bytes[at + 2] << 8 |
                            bytes[at + 3];
            if (length > sizeof palette_png - at - 12)
                break;
            uint32_t sum = (uint32_t)crc32(0, bytes + at + 4, (uInt)length + 4);
            for (int k = 0; k < 4; k++)
                bytes[at + 8 + length + (size_t)k] = (uint8_t)(sum >> (24 - 8 * k));
            at += 12 + length;
        }
        soma_image image;
        if (decode(s, bytes, sizeof palette_png, &image))
            assert_says(s, SOMA_FORMAT, "file: ");
        soma_release(s, image.pixels);
        free(bytes);
    }
    assert_int_equal(memory.blocks, before);
    assert_true(memory.peak < (uint64_t)16 << 20);
    soma_close(s);
}

static size_t add_chunk(uint8_t *to, const char *name, const uint8_t *content, size_t size)
{
    for (int k = 0; k < 4; k++)
        to[k] = (uint8_t)(size >> (24 - 8 * k));
    memcpy(to + 4, name, 4);
    memcpy(to + 8, content, size);
    uint32_t sum = (uint32_t)crc32(0, to + 4, (uInt)size + 4);
    for (int k = 0; k < 4; k++)
        to[8 + size + (size_t)k] = (uint8_t)(sum >> (24 - 8 * k));
    return 12 + size;
}

/* Sizes that the file cannot hold, sizes beyond the limits, texts that unpack to a thousand times their size. */
static void png_bombs(void **state)
{
    (void)state;
    static const struct {
        uint8_t header[13];
        const char *says;
    } bombs[] = {
        {{0, 0, 64, 0, 0, 0, 64, 0, 8, 6}, "cannot hold 16384 x 16384 pixels"},
        {{0, 0, 64, 0, 0, 0, 64, 1, 8, 6}, "beyond the limit of 268435456 pixels"},
        {{0, 0, 255, 255, 0, 0, 0, 128, 8, 0}, "cannot hold 65535 x 128 pixels"},
        {{0, 1, 0, 0, 0, 0, 0, 1, 8, 0}, "beyond the limit of 65535 pixels a side"},
        {{127, 255, 255, 255, 127, 255, 255, 255, 8, 6}, "beyond the limit of 65535 pixels a side"},
    };
    faults_memory memory = {0};
    soma *s = open_counting(&memory);
    uint8_t file[256];
    soma_image image;
    for (size_t i = 0; i < sizeof bombs / sizeof *bombs; i++) {
        memcpy(file, deep_png, 8);
        size_t size = 8 + add_chunk(file + 8, "IHDR", bombs[i].header, 13);
        size += add_chunk(file + size, "IDAT", (const uint8_t *)"x", 1);
        assert_int_equal(decode(s, file, size, &image), SOMA_FORMAT);
        assert_says(s, SOMA_FORMAT, bombs[i].says);
    }
    const size_t zeros = 4000000;
    uint8_t *content = calloc(zeros, 1), *packed = malloc(zeros), *big = malloc(zeros);
    assert_true(content && packed && big);
    memcpy(packed, "text\0", 6); /* key, method */
    uLongf room = zeros - 6;
    assert_int_equal(compress2(packed + 6, &room, content, zeros, 9), Z_OK);
    memcpy(big, alpha_png, 33); /* signature and IHDR */
    size_t size = 33;
    for (int i = 0; i < 50; i++)
        size += add_chunk(big + size, "zTXt", packed, room + 6);
    memcpy(big + size, alpha_png + 33, sizeof alpha_png - 33);
    assert_int_equal(decode(s, big, size + sizeof alpha_png - 33, &image), SOMA_OK);
    soma_release(s, image.pixels);
    assert_true(memory.peak < 1 << 20);
    free(content);
    free(packed);
    free(big);
    soma_close(s);
}

static void png_without_memory(void **state)
{
    (void)state;
    soma_image image = noise(40, 50, 3);
    uint64_t k = 1;
    for (;; k++) {
        faults_memory memory = {.fail_at = k};
        soma *s = open_counting(&memory);
        if (s) {
            soma_image again = {0};
            void *bytes = NULL;
            size_t size = 0;
            soma_status status = soma_png_encode(s, &image, &bytes, &size);
            if (!status)
                status = soma_png_decode(s, "file", bytes, size, &again);
            assert_int_equal(status, memory.failed ? SOMA_MEMORY : SOMA_OK);
            assert_int_equal(soma_error_status(s), status);
            soma_release(s, bytes);
            soma_release(s, again.pixels);
            assert_int_equal(memory.blocks, 1);
        }
        soma_close(s);
        assert_int_equal(memory.blocks, 0);
        assert_int_equal(memory.mistakes, 0);
        if (!memory.failed)
            break;
    }
    assert_true(k > 10);
    free(image.pixels);
}

#else

static void png_without_libpng(void **state)
{
    (void)state;
    soma *s = soma_open(NULL);
    soma_image image = {.height = 1, .width = 1, .channels = 1, .pixels = (uint8_t[]){1}};
    void *bytes;
    size_t size;
    assert_int_equal(soma_png_encode(s, &image, &bytes, &size), SOMA_UNSUPPORTED);
    assert_says(s, SOMA_UNSUPPORTED, "libpng");
    soma_clear(s);
    assert_int_equal(soma_png_decode(s, "file", "", 0, &image), SOMA_UNSUPPORTED);
    assert_says(s, SOMA_UNSUPPORTED, "libpng");
    assert_null(image.pixels);
    soma_close(s);
}

#endif

int main(void)
{
    const struct CMUnitTest tests[] = {
#ifdef SOMA_HAVE_PNG
        cmocka_unit_test(png_kinds),
        cmocka_unit_test(png_writes_what_it_reads),
        cmocka_unit_test(png_files_that_are_broken),
        cmocka_unit_test(png_faults_that_cost_no_pixel),
        cmocka_unit_test(png_faults_that_cost_pixels),
        cmocka_unit_test(png_pixels_beyond_the_palette),
        cmocka_unit_test(png_taken_sideways),
        cmocka_unit_test(png_mutants),
        cmocka_unit_test(png_bombs),
        cmocka_unit_test(png_without_memory),
#else
        cmocka_unit_test(png_without_libpng),
#endif
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
