/* SPDX-License-Identifier: Apache-2.0
 *
 * codec/image_png.c: PNG through libpng, whose memory comes from the context. libpng reports errors by longjmp: every
 * call that may fail stands in a step, run by `guarded`, and all state lies in the coder, so a jump loses nothing.
 */
#include "codec/image.h"

#include "base/limits.h"

#include <png.h>
#include <setjmp.h>
#include <stdio.h>
#include <string.h>
#include <zlib.h>

#define IDAT 0x49444154u /* the chunks of the pixels */

typedef struct coder {
    soma *s;
    const char *name;
    const uint8_t *in; /* decoding */
    size_t in_size, in_used;
    uint8_t *out; /* encoding */
    size_t capacity, used;
    png_structp png;
    png_infop info;
    soma_image image;
    int orientation;    /* as EXIF counts them */
    bool palette;       /* pixels are numbers of colours */
    bool cut;           /* the file ends before libpng has all that it wants */
    soma_status status; /* set: the context's error is set too */
    char reason[200];   /* libpng's own words */
} coder;

static void on_error(png_structp png, png_const_charp text)
{
    coder *c = png_get_error_ptr(png);
    snprintf(c->reason, sizeof c->reason, "%s", text);
    png_longjmp(png, 1);
}

/* libpng's warnings begin with the chunk that they are about. These cost pixels:
 *
 *     tRNS: ...                    transparency is left out
 *     IDAT: incorrect data check   the pixels are not those that were packed
 *
 * All others are about what is left out of the pixels anyway (texts, times, profiles, gamma), its checksums included,
 * or about bytes too many; so is whatever is wrong behind the pixels (end_is_sound). What is wrong with the header,
 * the palette or the pixels is an error of libpng's own. */
static bool costs_nothing(const char *text)
{
    static const char *const costly[] = {"tRNS", "incorrect data check"};
    for (size_t i = 0; i < sizeof costly / sizeof *costly; i++)
        if (strstr(text, costly[i]))
            return false;
    return true;
}

static void take_note(coder *c, const char *text)
{
    if (!c->image.note[0])
        snprintf(c->image.note, sizeof c->image.note, "libpng: %.*s", SOMA_IMAGE_NOTE - 10, text);
}

static void on_warning(png_structp png, png_const_charp text)
{
    if (!costs_nothing(text))
        on_error(png, text);
    take_note(png_get_error_ptr(png), text);
}

static png_voidp png_alloc(png_structp png, png_alloc_size_t size)
{
    coder *c = png_get_mem_ptr(png);
    void *block = soma_alloc(c->s, size);
    if (!block)
        c->status = SOMA_MEMORY;
    return block;
}

static void png_release(png_structp png, png_voidp block)
{
    coder *c = png_get_mem_ptr(png);
    soma_release(c->s, block);
}

/* Runs a step; false when libpng jumped out of it or the step set a status. */
static bool guarded(coder *c, void (*step)(coder *))
{
    if (setjmp(png_jmpbuf(c->png)))
        return false;
    step(c);
    return c->status == SOMA_OK;
}

/* ---- decoding ---- */

static void read_bytes(png_structp png, png_bytep to, size_t size)
{
    coder *c = png_get_io_ptr(png);
    c->cut = c->in_size - c->in_used < size;
    if (c->cut)
        png_error(png, "the file ends too early; is it cut short?");
    memcpy(to, c->in + c->in_used, size);
    c->in_used += size;
}

static uint32_t read_u32(const uint8_t *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

/* The chunk eXIf may stand before or behind the pixels. */
static int orientation_of(const coder *c)
{
    for (size_t at = 8; at + 12 <= c->in_size;) {
        const uint8_t *chunk = c->in + at;
        size_t length = read_u32(chunk);
        if (length > c->in_size - at - 12)
            break;
        if (!memcmp(chunk + 4, "eXIf", 4) && crc32(0, chunk + 4, (uInt)length + 4) == read_u32(chunk + 8 + length))
            return soma_exif_orientation(chunk + 8, length);
        at += 12 + length;
    }
    return 1;
}

/* Refuses sizes that the file's bytes cannot hold, before memory is asked for them. */
static soma_status check_size(coder *c, png_uint_32 width, png_uint_32 height)
{
    soma_status status = soma_image_limits(c->s, c->name, height, width);
    if (status)
        return status;
    uint64_t bits = (uint64_t)png_get_bit_depth(c->png, c->info) * png_get_channels(c->png, c->info);
    uint64_t content = (1 + (bits * width + 7) / 8) * height; /* each row begins with its filter's number */
    if (content / SOMA_LIMIT_INFLATE_RATIO > c->in_size)
        return soma_fail(c->s, SOMA_FORMAT, soma_nowhere(),
                         "%s: byte 16: a PNG file of %zu bytes cannot hold %u x %u pixels; is it damaged or cut short?",
                         c->name, c->in_size, (unsigned)width, (unsigned)height);
    return SOMA_OK;
}

static void read_header(coder *c)
{
    png_set_read_fn(c->png, c, read_bytes);
    png_set_user_limits(c->png, PNG_UINT_31_MAX,
                        PNG_UINT_31_MAX); /* check_size has soma's limits and a better sentence */
    png_set_keep_unknown_chunks(c->png, PNG_HANDLE_CHUNK_NEVER, NULL,
                                -1); /* no texts, profiles or times are unpacked */
    png_read_info(c->png, c->info);
    png_uint_32 width = png_get_image_width(c->png, c->info), height = png_get_image_height(c->png, c->info);
    c->status = check_size(c, width, height);
    if (c->status)
        return;
    c->palette = png_get_color_type(c->png, c->info) == PNG_COLOR_TYPE_PALETTE;
    if (c->palette)
        png_set_packing(c->png); /* a byte a pixel: apply_palette expands them */
    else
        png_set_expand(c->png);
    png_set_scale_16(c->png);
    c->image.width = width;
    c->image.height = height;
    c->orientation = orientation_of(c);
    c->image.full_width = c->orientation >= 5 ? height : width;
    c->image.full_height = c->orientation >= 5 ? width : height;
}

/* The numbers at the end of the pixels become colours from the begin on, each behind those that were read. libpng's
 * own expansion shows numbers beyond the palette as black. */
static void apply_palette(coder *c, const uint8_t *numbers)
{
    png_colorp colours = NULL;
    png_bytep alpha = NULL;
    int n = 0, n_alpha = 0;
    png_get_PLTE(c->png, c->info, &colours, &n);
    png_get_tRNS(c->png, c->info, &alpha, &n_alpha, NULL);
    uint8_t *to = c->image.pixels;
    for (int64_t i = 0; i < c->image.height * c->image.width; i++) {
        int k = numbers[i];
        if (k >= n) {
            char text[100];
            snprintf(text, sizeof text, "a pixel has colour %d of a palette of %d, counted from 0", k, n);
            png_error(c->png, text);
        }
        *to++ = colours[k].red;
        *to++ = colours[k].green;
        *to++ = colours[k].blue;
        if (c->image.channels == 4)
            *to++ = k < n_alpha ? alpha[k] : 255;
    }
}

static void read_pixels(coder *c)
{
    int passes = png_set_interlace_handling(c->png);
    png_read_update_info(c->png, c->info);
    c->image.channels = !c->palette                                     ? png_get_channels(c->png, c->info)
                        : png_get_valid(c->png, c->info, PNG_INFO_tRNS) ? 4
                                                                        : 3;
    size_t row = png_get_rowbytes(c->png, c->info), height = (size_t)c->image.height;
    size_t whole = height * (size_t)c->image.width * (size_t)c->image.channels; /* within soma_image_limits */
    c->image.pixels = soma_alloc(c->s, whole);
    if (!c->image.pixels) {
        c->status = SOMA_MEMORY;
        return;
    }
    uint8_t *from = c->image.pixels + (whole - height * row);
    for (int pass = 0; pass < passes; pass++)
        for (size_t y = 0; y < height; y++)
            png_read_row(c->png, from + y * row, NULL);
    if (c->palette)
        apply_palette(c, from);
}

static void read_end(coder *c)
{
    png_read_end(c->png, NULL);
}

/* What follows the pixels: the rest of their chunk with its checksum, and chunks that say nothing of pixels, of which
 * the last may be missing or damaged. */
static bool end_is_sound(coder *c)
{
    if (guarded(c, read_end))
        return true;
    bool begins = (png_get_io_state(c->png) & PNG_IO_MASK_LOC) == PNG_IO_CHUNK_HDR; /* the chunk before was whole */
    bool pixels = png_get_io_chunk_type(c->png) == IDAT && !(c->cut && begins);
    if (c->status || pixels || !costs_nothing(c->reason))
        return false;
    take_note(c, c->reason);
    return true;
}

/* pixels false: only the header is read. */
static soma_status decode(soma *s, const char *name, const void *bytes, size_t size, bool pixels, soma_image *image)
{
    coder c = {.s = s, .name = name, .in = bytes, .in_size = size};
    *image = (soma_image){0};
    if (size < 8 || png_sig_cmp(bytes, 0, 8))
        return soma_fail(s, SOMA_FORMAT, soma_nowhere(),
                         "%s: byte 0: this is not a PNG file: its first 8 bytes are not PNG's", name);
    c.png = png_create_read_struct_2(PNG_LIBPNG_VER_STRING, &c, on_error, on_warning, &c, png_alloc, png_release);
    if (c.png)
        c.info = png_create_info_struct(c.png);
    bool done = c.info && guarded(&c, read_header) && (!pixels || (guarded(&c, read_pixels) && end_is_sound(&c)));
    png_destroy_read_struct(&c.png, &c.info, NULL);
    if (done && pixels)
        c.status = soma_image_upright(s, &c.image, c.orientation);
    if (done && !c.status) {
        *image = c.image;
        return SOMA_OK;
    }
    soma_release(s, c.image.pixels);
    if (c.status)
        return c.status;
    return soma_fail(s, SOMA_FORMAT, soma_nowhere(), "%s: byte %zu: the PNG data are damaged here or before (%s)", name,
                     c.in_used, c.reason);
}

soma_status soma_png_decode(soma *s, const char *name, const void *bytes, size_t size, soma_image *image)
{
    return decode(s, name, bytes, size, true, image);
}

soma_status soma_png_measure(soma *s, const char *name, const void *bytes, size_t size, soma_image *image)
{
    return decode(s, name, bytes, size, false, image);
}

/* ---- encoding ---- */

static void write_bytes(png_structp png, png_bytep from, size_t size)
{
    coder *c = png_get_io_ptr(png);
    if (c->capacity - c->used < size) {
        size_t capacity = 2 * (c->used + size) + 1024; /* far below SIZE_MAX: the picture is within the limits */
        uint8_t *out = soma_alloc(c->s, capacity);
        if (!out) {
            c->status = SOMA_MEMORY;
            png_error(png, "no memory");
        }
        if (c->used)
            memcpy(out, c->out, c->used);
        soma_release(c->s, c->out);
        c->out = out;
        c->capacity = capacity;
    }
    memcpy(c->out + c->used, from, size);
    c->used += size;
}

static void flush_bytes(png_structp png)
{
    (void)png; /* memory needs no flush, but libpng would flush a FILE without this function */
}

static void write_image(coder *c)
{
    png_set_write_fn(c->png, c, write_bytes, flush_bytes);
    png_set_IHDR(c->png, c->info, (png_uint_32)c->image.width, (png_uint_32)c->image.height, 8,
                 c->image.channels == 1 ? PNG_COLOR_TYPE_GRAY : PNG_COLOR_TYPE_RGB, PNG_INTERLACE_NONE,
                 PNG_COMPRESSION_TYPE_DEFAULT, PNG_FILTER_TYPE_DEFAULT);
    png_write_info(c->png, c->info);
    for (int64_t y = 0; y < c->image.height; y++)
        png_write_row(c->png, c->image.pixels + y * c->image.width * c->image.channels);
    png_write_end(c->png, NULL);
}

soma_status soma_png_encode(soma *s, const soma_image *image, void **bytes, size_t *size)
{
    coder c = {.s = s, .name = "PNG", .image = *image};
    *bytes = NULL;
    *size = 0;
    if (image->channels != 1 && image->channels != 3)
        return soma_fail(s, SOMA_INVALID, soma_nowhere(),
                         "a PNG is written from 1 channel (grey) or 3 (RGB), not from %d", image->channels);
    soma_status status = soma_image_limits(s, c.name, image->height, image->width);
    if (status)
        return status;
    c.png = png_create_write_struct_2(PNG_LIBPNG_VER_STRING, &c, on_error, on_warning, &c, png_alloc, png_release);
    if (c.png)
        c.info = png_create_info_struct(c.png);
    bool done = c.info && guarded(&c, write_image);
    png_destroy_write_struct(&c.png, &c.info);
    if (done) {
        *bytes = c.out;
        *size = c.used;
        return SOMA_OK;
    }
    soma_release(s, c.out);
    return c.status ? c.status
                    : soma_fail(s, SOMA_UNSUPPORTED, soma_nowhere(), "the picture could not be written as PNG (%s)",
                                c.reason);
}
