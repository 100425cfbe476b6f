/* SPDX-License-Identifier: Apache-2.0
 *
 * codec/image_jpeg.c: JPEG through libjpeg(-turbo), which reports errors by longjmp: every call that may fail stands in
 * a step, run by `guarded`, and all state lies in the coder. What libjpeg calls a warning but costs pixels (a file cut
 * short, damaged codes) is an error here. Pictures are always decoded in full: at a half, quarter or eighth of the
 * size, which libjpeg offers, they are up to 28 grey levels away on average, and what lies in blocks beyond the edge
 * leaks into it. Knows nothing of files or tensors.
 */
#include "codec/image.h"

#include "base/limits.h"

#include <stdio.h> /* jpeglib.h wants it before */

#include <jerror.h>
#include <jpeglib.h>
#include <setjmp.h>
#include <string.h>

#define EXIF_MARKER (JPEG_APP0 + 1)

typedef struct coder {
    struct jpeg_decompress_struct jpeg;
    struct jpeg_error_mgr errors;
    struct jpeg_progress_mgr progress;
    soma *s;
    const char *name;
    const uint8_t *in;
    size_t in_size;
    jmp_buf jump;
    soma_image image;
    uint8_t *cmyk;                /* one row, where the file holds inks */
    bool unended;                 /* the file ends without its last marker */
    soma_status status;           /* set: the context's error is set too */
    char reason[JMSG_LENGTH_MAX]; /* libjpeg's own words */
} coder;

/* ---- errors ---- */

static void on_error(j_common_ptr jpeg)
{
    coder *c = jpeg->client_data;
    if (jpeg->err->msg_code == JERR_OUT_OF_MEMORY)
        c->status = soma_fail(c->s, SOMA_MEMORY, soma_nowhere(), "%s: memory to decode the picture could not be had",
                              c->name);
    jpeg->err->format_message(jpeg, c->reason);
    longjmp(c->jump, 1);
}

/* libjpeg's warnings. What costs no pixel is noted:
 *
 *     JWRN_ADOBE_XFORM       a colour transform that no one knows: the common one is meant
 *     JWRN_BOGUS_ICC         a colour profile, which is not used
 *     JWRN_EXTRANEOUS_DATA   bytes between two parts
 *     JWRN_JFIF_MAJOR        an odd version number
 *     JWRN_JPEG_EOF          the end is not marked; noted where all of the picture is there (is_whole)
 *     JWRN_NOT_SEQUENTIAL    limits of a baseline scan, which has none: some phones write zeros
 *     JWRN_BOGUS_PROGRESSION AC coefficients that come before their DC; noted where that comes later (is_whole)
 *
 * and what costs pixels is damage, as is what is not known: JWRN_BOGUS_PROGRESSION of other kinds (a scan is missing),
 * JWRN_HIT_MARKER, JWRN_HUFF_BAD_CODE, JWRN_ARITH_BAD_CODE (codes cut short or wrong), JWRN_MUST_RESYNC (a part
 * between two restart markers is missing). */
static bool costs_nothing(const coder *c, const struct jpeg_error_mgr *error)
{
    switch (error->msg_code) {
    case JWRN_ADOBE_XFORM:
    case JWRN_BOGUS_ICC:
    case JWRN_EXTRANEOUS_DATA:
    case JWRN_JFIF_MAJOR:
    case JWRN_JPEG_EOF:
    case JWRN_NOT_SEQUENTIAL:
        return true;
    case JWRN_BOGUS_PROGRESSION:
        return c->jpeg.Ss > 0 && error->msg_parm.i[1] == 0;
    default:
        return false;
    }
}

/* level < 0: a warning. */
static void on_message(j_common_ptr jpeg, int level)
{
    coder *c = jpeg->client_data;
    if (level >= 0)
        return;
    if (!costs_nothing(c, jpeg->err))
        on_error(jpeg);
    c->unended |= jpeg->err->msg_code == JWRN_JPEG_EOF;
    jpeg->err->format_message(jpeg, c->reason);
    if (!c->image.note[0])
        snprintf(c->image.note, sizeof c->image.note, "libjpeg: %.*s", SOMA_IMAGE_NOTE - 10, c->reason);
}

/* Whether all coefficients came. A file without its end may lack whole scans, of which nothing tells but what a
 * progressive file keeps of each coefficient's bits. */
static bool is_whole(const coder *c)
{
    const struct jpeg_decompress_struct *jpeg = &c->jpeg;
    for (int i = 0; jpeg->coef_bits && i < jpeg->num_components; i++)
        for (int k = 0; k < (c->unended ? DCTSIZE2 : 1); k++)
            if (c->unended ? jpeg->coef_bits[i][k] != 0 : jpeg->coef_bits[i][k] < 0)
                return false;
    return !c->unended || jpeg->coef_bits || jpeg->comps_in_scan == jpeg->num_components;
}

static void on_output(j_common_ptr jpeg)
{
    (void)jpeg; /* libjpeg would print here */
}

/* A progressive file may repeat scans over the whole picture without end. */
static void on_progress(j_common_ptr jpeg)
{
    coder *c = jpeg->client_data;
    if (((j_decompress_ptr)jpeg)->input_scan_number <= SOMA_LIMIT_JPEG_SCANS)
        return;
    c->status = soma_fail(c->s, SOMA_FORMAT, soma_nowhere(),
                          "%s: the JPEG file has more than %d scans, the limit; is it damaged?", c->name,
                          SOMA_LIMIT_JPEG_SCANS);
    longjmp(c->jump, 1);
}

/* Runs a step; false when libjpeg jumped out of it or the step set a status. */
static bool guarded(coder *c, void (*step)(coder *))
{
    if (setjmp(c->jump))
        return false;
    step(c);
    return c->status == SOMA_OK;
}

/* ---- EXIF orientation ---- */

static int orientation_of(const coder *c)
{
    for (jpeg_saved_marker_ptr m = c->jpeg.marker_list; m; m = m->next)
        if (m->marker == EXIF_MARKER && m->data_length >= 6 && !memcmp(m->data, "Exif\0", 6))
            return soma_exif_orientation(m->data + 6, m->data_length - 6);
    return 1;
}

/* ---- decoding ---- */

/* Refuses sizes that the file's bytes cannot hold, before memory is asked for them: a block of 8 x 8 pixels takes one
 * bit at least. */
static soma_status check_size(coder *c)
{
    int64_t height = c->jpeg.image_height, width = c->jpeg.image_width;
    soma_status status = soma_image_limits(c->s, c->name, height, width);
    if (!status && height * width / (64 * 8) > (int64_t)c->in_size)
        status = soma_fail(c->s, SOMA_FORMAT, soma_nowhere(),
                           "%s: a JPEG file of %zu bytes cannot hold %u x %u pixels; is it damaged or cut short?",
                           c->name, c->in_size, (unsigned)width, (unsigned)height);
    return status;
}

static void read_header(coder *c)
{
    jpeg_create_decompress(&c->jpeg);
    c->progress.progress_monitor = on_progress;
    c->jpeg.progress = &c->progress;
    jpeg_save_markers(&c->jpeg, EXIF_MARKER, 0xffff);
    jpeg_mem_src(&c->jpeg, c->in, (unsigned long)c->in_size);
    jpeg_read_header(&c->jpeg, TRUE);
    c->status = check_size(c);
    bool turned = orientation_of(c) >= 5;
    c->image.full_height = turned ? c->jpeg.image_width : c->jpeg.image_height;
    c->image.full_width = turned ? c->jpeg.image_height : c->jpeg.image_width;
}

/* Inks to light. Adobe's programs, which write nearly all such files, store inks inverted. */
static void read_cmyk_row(coder *c, uint8_t *rgb)
{
    JSAMPROW row = c->cmyk;
    jpeg_read_scanlines(&c->jpeg, &row, 1);
    unsigned inverted = c->jpeg.saw_Adobe_marker ? 0 : 255;
    for (unsigned x = 0; x < c->jpeg.output_width; x++) {
        const uint8_t *p = row + 4 * x;
        for (int k = 0; k < 3; k++)
            rgb[3 * x + k] = (uint8_t)(((p[k] ^ inverted) * (p[3] ^ inverted) + 127) / 255);
    }
}

static void read_pixels(coder *c)
{
    struct jpeg_decompress_struct *jpeg = &c->jpeg;
    bool grey = jpeg->jpeg_color_space == JCS_GRAYSCALE, inks = jpeg->num_components == 4;
    jpeg->out_color_space = grey ? JCS_GRAYSCALE : inks ? JCS_CMYK : JCS_RGB;
    jpeg_start_decompress(jpeg);
    c->image.height = jpeg->output_height;
    c->image.width = jpeg->output_width;
    c->image.channels = grey ? 1 : 3;
    size_t row = (size_t)c->image.width * (size_t)c->image.channels;
    c->image.pixels = soma_alloc_array(c->s, (size_t)c->image.height, row);
    c->cmyk = c->image.pixels && inks ? soma_alloc_array(c->s, (size_t)c->image.width, 4) : NULL;
    if (!c->image.pixels || (inks && !c->cmyk)) {
        c->status = SOMA_MEMORY;
        return;
    }
    while (jpeg->output_scanline < jpeg->output_height) {
        JSAMPROW to = c->image.pixels + jpeg->output_scanline * row;
        if (inks)
            read_cmyk_row(c, to);
        else
            jpeg_read_scanlines(jpeg, &to, 1);
    }
    int orientation = orientation_of(c);
    bool whole = is_whole(c); /* before libjpeg forgets; where no scan is kept back, the end was not looked for yet */
    jpeg_finish_decompress(jpeg);
    if (!whole) {
        snprintf(c->reason, sizeof c->reason, "scans are missing");
        longjmp(c->jump, 1);
    }
    c->status = soma_image_upright(c->s, &c->image, orientation);
}

/* Bytes of the file that libjpeg has taken: where it stood when something was wrong. */
static size_t place(const coder *c)
{
    return c->jpeg.src && c->jpeg.src->bytes_in_buffer <= c->in_size ? c->in_size - c->jpeg.src->bytes_in_buffer : 0;
}

/* pixels false: only the header is read. */
static soma_status decode(soma *s, const char *name, const void *bytes, size_t size, bool pixels, soma_image *image)
{
    coder c = {.s = s, .name = name, .in = bytes, .in_size = size};
    c.jpeg.err = jpeg_std_error(&c.errors);
    c.jpeg.client_data = &c;
    c.errors.error_exit = on_error;
    c.errors.emit_message = on_message;
    c.errors.output_message = on_output;
    bool done = guarded(&c, read_header) && (!pixels || guarded(&c, read_pixels));
    size_t at = place(&c);
    jpeg_destroy_decompress(&c.jpeg);
    soma_release(s, c.cmyk);
    if (done) {
        *image = c.image;
        return SOMA_OK;
    }
    soma_release(s, c.image.pixels);
    if (c.status)
        return c.status;
    return soma_fail(s, SOMA_FORMAT, soma_nowhere(), "%s: byte %zu: the JPEG data are damaged here or before (%s)",
                     name, at, c.reason);
}

soma_status soma_jpeg_decode(soma *s, const char *name, const void *bytes, size_t size, soma_image *image)
{
    *image = (soma_image){0};
    return decode(s, name, bytes, size, true, image);
}

soma_status soma_jpeg_measure(soma *s, const char *name, const void *bytes, size_t size, soma_image *image)
{
    *image = (soma_image){0};
    return decode(s, name, bytes, size, false, image);
}
