/* SPDX-License-Identifier: Apache-2.0
 *
 * codec/image_kind.c: formats of pictures by their files' first bytes and by their names: those that soma reads, and
 * those that it names when it refuses them, with the command that converts them. Reads no pixel.
 */
#include "codec/image.h"

#include <stdio.h>
#include <string.h>

/* Bytes that a file begins with; '.' stands for any byte. Order counts where one begins like another. */
typedef struct signature {
    const char *bytes;
    size_t size;
    soma_image_kind kind;
} signature;
#define BYTES(text, kind)                                                                                              \
    {                                                                                                                  \
        text, sizeof text - 1, kind                                                                                    \
    }
static const signature signatures[] = {
    BYTES("\xff\xd8\xff", SOMA_IMAGE_JPEG),
    BYTES("\x89PNG", SOMA_IMAGE_PNG),
    BYTES("RIFF....WEBP", SOMA_IMAGE_WEBP),
    BYTES("GIF8", SOMA_IMAGE_GIF),
    BYTES("BM....\0\0\0\0", SOMA_IMAGE_BMP), /* the file's size, two reserved words */
    BYTES("II*\0", SOMA_IMAGE_TIFF),
    BYTES("II+\0", SOMA_IMAGE_TIFF),
    BYTES("MM\0*", SOMA_IMAGE_TIFF),
    BYTES("MM\0+", SOMA_IMAGE_TIFF),
    BYTES("....ftypavif", SOMA_IMAGE_AVIF),
    BYTES("....ftypavis", SOMA_IMAGE_AVIF),
    BYTES("....ftyphei", SOMA_IMAGE_HEIC),
    BYTES("....ftyphev", SOMA_IMAGE_HEIC),
    BYTES("....ftypmif1", SOMA_IMAGE_HEIC),
    BYTES("....ftypmsf1", SOMA_IMAGE_HEIC),
    BYTES("8BPS", SOMA_IMAGE_PSD),
    BYTES("\0\0\0\x0cjP  ", SOMA_IMAGE_JPEG2000),
    BYTES("\xff\x4f\xff\x51", SOMA_IMAGE_JPEG2000),
    BYTES("\0\0\0\x0cJXL ", SOMA_IMAGE_JPEGXL),
    BYTES("\xff\x0a", SOMA_IMAGE_JPEGXL),
    BYTES("\0\0\1\0", SOMA_IMAGE_ICO),
    BYTES("<svg", SOMA_IMAGE_SVG),
};

static const struct {
    const char *name, *endings[5];
    bool several; /* a file may hold several pictures: the command takes the first */
} kinds[] = {
    [SOMA_IMAGE_JPEG] = {"JPEG", {".jpg", ".jpeg", ".jfif"}, false},
    [SOMA_IMAGE_PNG] = {"PNG", {".png"}, false},
    [SOMA_IMAGE_WEBP] = {"WebP", {".webp"}, true},
    [SOMA_IMAGE_GIF] = {"GIF", {".gif"}, true},
    [SOMA_IMAGE_BMP] = {"BMP", {".bmp", ".dib"}, false},
    [SOMA_IMAGE_TIFF] = {"TIFF", {".tif", ".tiff"}, true},
    [SOMA_IMAGE_AVIF] = {"AVIF", {".avif"}, true},
    [SOMA_IMAGE_HEIC] = {"HEIC", {".heic", ".heif"}, true},
    [SOMA_IMAGE_PSD] = {"Photoshop (PSD)", {".psd"}, true},
    [SOMA_IMAGE_JPEG2000] = {"JPEG 2000", {".jp2", ".j2k", ".jpf"}, false},
    [SOMA_IMAGE_JPEGXL] = {"JPEG XL", {".jxl"}, true},
    [SOMA_IMAGE_PNM] = {"PNM", {".ppm", ".pgm", ".pbm", ".pnm"}, true},
    [SOMA_IMAGE_ICO] = {"icon (ICO)", {".ico"}, true},
    [SOMA_IMAGE_SVG] = {"SVG", {".svg"}, false},
};
#define KINDS (sizeof kinds / sizeof *kinds)

/* "P1" to "P6", then white space. */
static bool is_pnm(const uint8_t *bytes, size_t size)
{
    return size >= 3 && bytes[0] == 'P' && bytes[1] >= '1' && bytes[1] <= '6' && bytes[2] &&
           strchr(" \t\r\n", bytes[2]);
}

soma_image_kind soma_image_kind_of(const void *content, size_t size)
{
    const uint8_t *bytes = content;
    for (size_t i = 0; i < sizeof signatures / sizeof *signatures; i++) {
        const signature *s = &signatures[i];
        size_t k = 0;
        while (k < s->size && k < size && (s->bytes[k] == '.' || bytes[k] == (uint8_t)s->bytes[k]))
            k++;
        if (k == s->size)
            return s->kind;
    }
    return is_pnm(bytes, size) ? SOMA_IMAGE_PNM : SOMA_IMAGE_UNKNOWN;
}

static bool ends_in(const char *name, const char *end)
{
    size_t n = strlen(name), m = strlen(end);
    if (n <= m)
        return false;
    for (size_t i = 0; i < m; i++) {
        char c = name[n - m + i];
        if ((c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c) != end[i])
            return false;
    }
    return true;
}

soma_image_kind soma_image_kind_named(const char *name)
{
    for (size_t kind = 1; kind < KINDS; kind++)
        for (int i = 0; kinds[kind].endings[i]; i++)
            if (ends_in(name, kinds[kind].endings[i]))
                return (soma_image_kind)kind;
    return SOMA_IMAGE_UNKNOWN;
}

const char *soma_image_kind_name(soma_image_kind kind)
{
    return kinds[kind].name;
}

bool soma_image_kind_read(soma_image_kind kind)
{
    return kind == SOMA_IMAGE_JPEG || kind == SOMA_IMAGE_PNG || kind == SOMA_IMAGE_WEBP;
}

/* ---- the header's claim ---- */

static uint64_t big16(const uint8_t *p)
{
    return (uint64_t)p[0] << 8 | p[1];
}
static uint64_t little(const uint8_t *p, int bytes)
{
    uint64_t n = 0;
    while (bytes--)
        n = n << 8 | p[bytes];
    return n;
}

/* Segments up to the frame header: SOF0 to SOF15 but DHT, JPG and DAC. */
static uint64_t jpeg_claim(const uint8_t *p, size_t size)
{
    size_t at = 2;
    while (at + 9 <= size) {
        uint8_t mark = p[at + 1];
        if (p[at] != 0xff)
            at++; /* bytes too many between segments */
        else if (mark == 0xff || mark == 0 || mark == 1 || (mark >= 0xd0 && mark <= 0xd8))
            at += mark == 0xff ? 1 : 2;
        else if (mark >= 0xc0 && mark <= 0xcf && mark != 0xc4 && mark != 0xc8 && mark != 0xcc)
            return big16(p + at + 5) * big16(p + at + 7);
        else
            at += 2 + (size_t)big16(p + at + 2);
    }
    return 0;
}

/* The canvas of VP8X, else the frame of a lossy (VP8) or lossless (VP8L) file. */
static uint64_t webp_claim(const uint8_t *p, size_t size)
{
    if (size < 30)
        return 0;
    if (!memcmp(p + 12, "VP8X", 4))
        return (little(p + 24, 3) + 1) * (little(p + 27, 3) + 1);
    if (!memcmp(p + 12, "VP8L", 4)) {
        uint64_t bits = little(p + 21, 4);
        return ((bits & 0x3fff) + 1) * ((bits >> 14 & 0x3fff) + 1);
    }
    return memcmp(p + 12, "VP8 ", 4) ? 0 : (little(p + 26, 2) & 0x3fff) * (little(p + 28, 2) & 0x3fff);
}

uint64_t soma_image_claim(const void *bytes, size_t size)
{
    const uint8_t *p = bytes;
    switch (soma_image_kind_of(bytes, size)) {
    case SOMA_IMAGE_JPEG:
        return jpeg_claim(p, size);
    case SOMA_IMAGE_PNG:
        return size < 24 ? 0 : (big16(p + 16) << 16 | big16(p + 18)) * (big16(p + 20) << 16 | big16(p + 22));
    case SOMA_IMAGE_WEBP:
        return webp_claim(p, size);
    default:
        return 0;
    }
}

/* ---- the command ---- */

/* A word of the shell, with `more` behind it: within ' ' where it needs them. Empty where there is no room. */
static void quote(const char *text, size_t length, const char *more, char *to, size_t room)
{
    static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-+./,:@%";
    bool bare = length && *text != '-' && strspn(text, plain) >= length && strspn(more, plain) == strlen(more);
    size_t used = 0, size = length + strlen(more);
    *to = 0;
    if (!bare)
        to[used++] = '\'';
    for (size_t i = 0; i < size; i++) {
        char c = i < length ? text[i] : more[i - length];
        const char *put = c == '\'' ? "'\\''" : (const char[]){c, 0};
        size_t n = strlen(put);
        if (used + n + 2 > room) {
            *to = 0;
            return;
        }
        memcpy(to + used, put, n);
        used += n;
    }
    if (!bare)
        to[used++] = '\'';
    to[used] = 0;
}

void soma_image_conversion(const char *path, soma_image_kind kind, char *command, size_t room)
{
    char from[300], to[300];
    size_t length = strlen(path), stem = length;
    const char *name = strrchr(path, '/'), *dot = strrchr(name ? name : path, '.');
    if (dot && dot > path && dot[-1] != '/')
        stem = (size_t)(dot - path);
    const char *dash = *path == '-' ? "./" : ""; /* no option */
    quote(path, length, kinds[kind].several ? "[0]" : "", from, sizeof from);
    quote(path, stem, ".png", to, sizeof to);
    bool fits = *from && *to &&
                snprintf(command, room, "convert %s%s %s%s", dash, from, dash, to) < (int)room; /* of ImageMagick */
    if (!fits)
        snprintf(command, room, "convert %s picture.png", kinds[kind].several ? "'FILE[0]'" : "FILE");
}
