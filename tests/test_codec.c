/* SPDX-License-Identifier: Apache-2.0
 *
 * Codecs: IDX and gzip against bytes made elsewhere (Python's gzip module), limits of pictures, broken files of all
 * kinds: cut at each byte, with each bit flipped, with sizes that lie; and memory that fails at each allocation.
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

#include "base/limits.h"
#include "codec/gzip.h"
#include "codec/idx.h"
#include "codec/image.h"
#include "faults.h"

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

static void assert_says(const soma *s, soma_status status, const char *part)
{
    if (soma_error_status(s) != status || !strstr(soma_error(s), part))
        fail_msg("expected \"%s\" with status %d, got \"%s\" with status %d", part, (int)status, soma_error(s),
                 (int)soma_error_status(s));
}

/* ---- IDX ---- */

static soma_status parse(soma *s, const void *bytes, size_t size, soma_idx *idx)
{
    soma_clear(s);
    return soma_idx_parse(s, "file", bytes, size, size, idx);
}

static void idx_types_and_their_numbers(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        uint8_t bytes[24];
        size_t size;
        double number[2];
    } files[] = {
        {"u8", {0, 0, 8, 1, 0, 0, 0, 2, 0, 255}, 10, {0, 255}},
        {"i8", {0, 0, 9, 1, 0, 0, 0, 2, 0x80, 127}, 10, {-128, 127}},
        {"i16", {0, 0, 11, 1, 0, 0, 0, 2, 0x80, 0, 1, 2}, 12, {-32768, 258}},
        {"i32", {0, 0, 12, 1, 0, 0, 0, 2, 0x80, 0, 0, 0, 1, 2, 3, 4}, 16, {-2147483648.0, 16909060}},
        {"f32", {0, 0, 13, 1, 0, 0, 0, 2, 0xc0, 0x49, 0x0f, 0xdb, 0x3f, 0, 0, 0}, 16, {(double)-3.14159274f, 0.5}},
        {"f64",
         {0, 0, 14, 1, 0, 0, 0, 2, 0x40, 0x05, 0xbf, 0x0a, 0x8b, 0x14, 0x57, 0x69, 0xbf, 0xf0, 0, 0, 0, 0, 0, 0},
         24,
         {2.718281828459045, -1}},
    };
    soma *s = soma_open(NULL);
    uint64_t calls = soma_memory_use(s).calls;
    for (size_t f = 0; f < sizeof files / sizeof *files; f++) {
        uint8_t *bytes = exact_copy(files[f].bytes, files[f].size);
        soma_idx idx;
        assert_int_equal(parse(s, bytes, files[f].size, &idx), SOMA_OK);
        assert_string_equal(soma_idx_type_name(idx.type), files[f].name);
        assert_int_equal(idx.rank, 1);
        assert_int_equal(idx.dim[0], 2);
        assert_int_equal(idx.elements, 2);
        for (int i = 0; i < 2; i++)
            assert_true(soma_idx_get(&idx, i) == files[f].number[i]);
        free(bytes);
        for (size_t size = 0; size < files[f].size; size++) { /* cut at each byte */
            uint8_t *cut = exact_copy(files[f].bytes, size);
            assert_int_equal(parse(s, cut, size, &idx), SOMA_FORMAT);
            char place[64];
            snprintf(place, sizeof place, "file: byte %zu: ", size);
            assert_says(s, SOMA_FORMAT, place);
            free(cut);
        }
    }
    assert_int_equal(soma_memory_use(s).calls, calls);
    soma_close(s);
}

static void idx_headers_that_are_wrong(void **state)
{
    (void)state;
    static const struct {
        uint8_t bytes[40];
        size_t size;
        const char *says;
    } files[] = {
        {{1, 0, 8, 1, 0, 0, 0, 1, 0}, 9, "byte 0: an IDX file begins with two zero bytes"},
        {{0, 7, 8, 1, 0, 0, 0, 1, 0}, 9, "byte 0: an IDX file begins with two zero bytes, this one with 00 07"},
        {{0, 0, 10, 1, 0, 0, 0, 1, 0}, 9, "byte 2: IDX element type 0x0a is unknown"},
        {{0, 0, 8, 0, 0}, 5, "byte 3: IDX rank 0 is not between 1 and 8"},
        {{0, 0, 8, 9, [7] = 1, [11] = 1, [15] = 1, [19] = 1, [23] = 1, [27] = 1, [31] = 1, [35] = 1, [39] = 1},
         40,
         "byte 3: IDX rank 9 is not between 1 and 8"},
        {{0, 0, 8, 2, 0, 0, 0, 1, 0, 0, 0, 0, 0}, 13, "byte 8: IDX dimension 1 is 0"},
        {{0, 0, 8, 1, 0, 0, 0, 1, 5, 6, 7}, 11, "byte 9: 2 bytes follow the last element"},
        /* 2^48 elements are within the limit, but not there; one more is beyond it; 2^64 and more do not overflow */
        {{0, 0, 14, 3, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 9},
         17,
         "byte 17: the content ends here, 2251799813685247 bytes"},
        {{0, 0, 14, 3, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1, 0, 1, 9}, 17, "byte 12: the IDX dimensions up to here give more"},
        {{0, 0, 8, 3, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 9}, 17, "byte 8: the IDX dimensions"},
    };
    soma *s = soma_open(NULL);
    soma_idx idx;
    for (size_t f = 0; f < sizeof files / sizeof *files; f++) {
        assert_int_equal(parse(s, files[f].bytes, files[f].size, &idx), SOMA_FORMAT);
        assert_says(s, SOMA_FORMAT, files[f].says);
    }
    static const uint8_t rank8[37] = {
        0, 0, 8, 8, [7] = 1, [11] = 1, [15] = 1, [19] = 1, [23] = 1, [27] = 1, [31] = 1, [35] = 1, 42};
    assert_int_equal(parse(s, rank8, sizeof rank8, &idx), SOMA_OK);
    assert_int_equal(idx.rank, 8);
    assert_true(soma_idx_get(&idx, 0) == 42);
    soma_close(s);
}

/* ---- gzip ---- */

static const uint8_t soma_gz[] = {
    0x1f, 0x8b, 0x08, 0x00, 0x00, 0x00, 0x00, 0x00, 0x02, 0xff, 0x2b, 0xce, 0xcf, 0x4d,
    0x54, 0x28, 0xc6, 0x24, 0xb8, 0x00, 0x77, 0xdd, 0x35, 0x1a, 0x19, 0x00, 0x00, 0x00,
};
static const char soma_text[] = "soma soma soma soma soma\n";

typedef struct memory_source {
    const uint8_t *bytes;
    size_t size, step; /* step: bytes a call */
} memory_source;

static int64_t from_memory(void *user, void *bytes, size_t size)
{
    memory_source *m = user;
    size = size < m->step ? size : m->step;
    size = size < m->size ? size : m->size;
    memcpy(bytes, m->bytes, size);
    m->bytes += size;
    m->size -= size;
    return (int64_t)size;
}

static size_t step = SIZE_MAX; /* of the source, and of the reader */

/* The whole content, in a block that grows. */
static soma_status unpack(soma *s, const void *bytes, size_t size, void **out, size_t *out_size)
{
    memory_source m = {bytes, size, step};
    soma_clear(s);
    *out = NULL;
    *out_size = 0;
    int room = 0;
    soma_gzip *g = soma_gzip_open(s, "file", from_memory, &m);
    while (g && !soma_grow(s, out, &room, (int)*out_size + 4096, 1)) {
        size_t want = (size_t)room - *out_size;
        int64_t n = soma_gzip_read(g, (char *)*out + *out_size, want < step ? want : step);
        if (n <= 0)
            break;
        *out_size += (size_t)n;
    }
    soma_gzip_close(g);
    if (soma_failed(s)) {
        soma_release(s, *out);
        *out = NULL;
    }
    return soma_error_status(s);
}

/* A gzip file of `size` bytes of content; malloc. */
static uint8_t *pack(const uint8_t *content, size_t size, size_t *packed)
{
    z_stream z = {0};
    assert_int_equal(deflateInit2(&z, 6, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY), Z_OK);
    size_t room = deflateBound(&z, size) + 64;
    uint8_t *out = malloc(room);
    assert_non_null(out);
    z.next_in = (Bytef *)(uintptr_t)content;
    z.avail_in = (uInt)size;
    z.next_out = out;
    z.avail_out = (uInt)room;
    assert_int_equal(deflate(&z, Z_FINISH), Z_STREAM_END);
    *packed = room - z.avail_out;
    deflateEnd(&z);
    return out;
}

static void gzip_content_and_members(void **state)
{
    (void)state;
    soma *s = soma_open(NULL);
    void *out;
    size_t size;
    assert_int_equal(unpack(s, soma_gz, sizeof soma_gz, &out, &size), SOMA_OK);
    assert_int_equal(size, sizeof soma_text - 1);
    assert_memory_equal(out, soma_text, size);
    soma_release(s, out);
    uint8_t twice[2 * sizeof soma_gz + 3];
    memcpy(twice, soma_gz, sizeof soma_gz);
    memcpy(twice + sizeof soma_gz, soma_gz, sizeof soma_gz);
    memcpy(twice + 2 * sizeof soma_gz, "xyz", 3);
    assert_int_equal(unpack(s, twice, 2 * sizeof soma_gz, &out, &size), SOMA_OK);
    assert_int_equal(size, 2 * (sizeof soma_text - 1));
    assert_memory_equal(out, soma_text, size / 2);
    assert_memory_equal((char *)out + size / 2, soma_text, size / 2);
    soma_release(s, out);
    assert_int_equal(unpack(s, twice, sizeof twice, &out, &size), SOMA_FORMAT);
    assert_null(out);
    assert_int_equal(unpack(s, "soma", 4, &out, &size), SOMA_FORMAT);
    assert_says(s, SOMA_FORMAT, "file: byte 0: a gzip file begins with 1f 8b");
    soma_close(s);
}

/* Content that is packed far below the first buffer's guess; and nothing at all. */
static void gzip_sizes(void **state)
{
    (void)state;
    soma *s = soma_open(NULL);
    const size_t sizes[] = {0, 1, 65535, 3000000};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        uint8_t *content = calloc(sizes[i] + 1, 1);
        assert_non_null(content);
        content[sizes[i] / 2] = 7;
        size_t packed, size;
        uint8_t *bytes = pack(content, sizes[i], &packed);
        void *out;
        assert_int_equal(unpack(s, bytes, packed, &out, &size), SOMA_OK);
        assert_int_equal(size, sizes[i]);
        assert_memory_equal(out, content, size);
        soma_release(s, out);
        free(bytes);
        free(content);
    }
    soma_close(s);
}

static void gzip_files_that_are_broken(void **state)
{
    (void)state;
    faults_memory memory = {0};
    soma *s = open_counting(&memory);
    uint64_t before = memory.blocks;
    void *out;
    size_t size;
    for (size_t cut = 0; cut < sizeof soma_gz; cut++) {
        uint8_t *bytes = exact_copy(soma_gz, cut);
        assert_int_equal(unpack(s, bytes, cut, &out, &size), SOMA_FORMAT);
        assert_says(s, SOMA_FORMAT, "file: byte ");
        free(bytes);
    }
    int refused = 0;
    for (size_t bit = 0; bit < 8 * sizeof soma_gz; bit++) {
        uint8_t *bytes = exact_copy(soma_gz, sizeof soma_gz);
        bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
        if (unpack(s, bytes, sizeof soma_gz, &out, &size) == SOMA_OK) { /* a bit of the date or the system's name */
            assert_in_range(bit / 8, 3, 9);
            assert_int_equal(size, sizeof soma_text - 1);
            assert_memory_equal(out, soma_text, size);
            soma_release(s, out);
        } else {
            assert_says(s, SOMA_FORMAT, "file: byte ");
            refused++;
        }
        free(bytes);
    }
    assert_true(refused >= 8 * (int)(sizeof soma_gz - 7));
    assert_int_equal(memory.blocks, before);
    soma_close(s);
}

/* Whoever reads byte by byte gets the same, and the sizes of both sides meet at every place of the chunk. */
static void gzip_in_small_pieces(void **state)
{
    (void)state;
    for (step = 1; step < 8; step++) {
        gzip_content_and_members(state);
        gzip_files_that_are_broken(state);
    }
    step = SIZE_MAX;
}

static int warnings;
static void count_warnings(void *user, soma_log_level level, const char *text)
{
    (void)user;
    assert_int_equal(level, SOMA_LOG_WARNING);
    assert_non_null(strstr(text, "zeros behind the end of the gzip data"));
    warnings++;
}

/* Tapes and blocks of fixed size are filled up with zeros: passed over and told. Anything else is refused. */
static void gzip_with_something_behind(void **state)
{
    (void)state;
    soma *s = soma_open(&(soma_context_options){.struct_size = sizeof(soma_context_options), .log = count_warnings});
    static uint8_t bytes[sizeof soma_gz + 200000];
    void *out;
    size_t size;
    const size_t zeros[] = {1, 2, 3, 512, 200000};
    memcpy(bytes, soma_gz, sizeof soma_gz);
    for (size_t i = 0; i < sizeof zeros / sizeof *zeros; i++) {
        warnings = 0;
        assert_int_equal(unpack(s, bytes, sizeof soma_gz + zeros[i], &out, &size), SOMA_OK);
        assert_int_equal(size, sizeof soma_text - 1);
        assert_int_equal(warnings, 1);
        soma_release(s, out);
        bytes[sizeof soma_gz + zeros[i] - 1] = 7;
        assert_int_equal(unpack(s, bytes, sizeof soma_gz + zeros[i], &out, &size), SOMA_FORMAT);
        assert_says(s, SOMA_FORMAT, "bytes that are not gzip follow the end of the gzip data");
        bytes[sizeof soma_gz + zeros[i] - 1] = 0;
    }
    soma_close(s);
}

static void gzip_without_memory(void **state)
{
    (void)state;
    uint8_t content[40000] = {1};
    size_t packed, size = 0;
    uint8_t *bytes = pack(content, sizeof content, &packed);
    uint64_t k = 1;
    for (;; k++) {
        faults_memory memory = {.fail_at = k};
        soma *s = open_counting(&memory);
        void *out = NULL;
        if (s) {
            soma_status status = unpack(s, bytes, packed, &out, &size);
            assert_int_equal(status, memory.failed ? SOMA_MEMORY : SOMA_OK);
            assert_int_equal(soma_error_status(s), status);
            soma_release(s, out);
            assert_int_equal(memory.blocks, 1); /* the context */
        }
        soma_close(s);
        assert_int_equal(memory.blocks, 0);
        assert_int_equal(memory.mistakes, 0);
        if (!memory.failed)
            break;
    }
    assert_true(k > 5); /* context, buffer, zlib's two, growth */
    free(bytes);
}

/* ---- pictures ---- */

static void picture_limits(void **state)
{
    (void)state;
    soma *s = soma_open(NULL);
    assert_int_equal(soma_image_limits(s, "p", 1, SOMA_LIMIT_IMAGE_SIDE), SOMA_OK);
    assert_int_equal(soma_image_limits(s, "p", SOMA_LIMIT_IMAGE_SIDE - 1, 1), SOMA_OK);
    assert_int_equal(soma_image_limits(s, "p", 16384, 16384), SOMA_OK); /* 2^28 */
    assert_int_equal(soma_image_limits(s, "p", 16384, 16383), SOMA_OK);
    assert_false(soma_failed(s));
    assert_int_equal(soma_image_limits(s, "p", 16384, 16385), SOMA_FORMAT);
    assert_says(s, SOMA_FORMAT, "p: a picture of 16385 x 16384 pixels is beyond the limit of 268435456 pixels");
    soma_clear(s);
    assert_int_equal(soma_image_limits(s, "p", 1, SOMA_LIMIT_IMAGE_SIDE + 1), SOMA_FORMAT);
    assert_says(s, SOMA_FORMAT, "beyond the limit of 65535 pixels a side");
    soma_clear(s);
    assert_int_equal(soma_image_limits(s, "p", 0, 5), SOMA_FORMAT);
    assert_says(s, SOMA_FORMAT, "is empty");
    soma_close(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(idx_types_and_their_numbers),
        cmocka_unit_test(idx_headers_that_are_wrong),
        cmocka_unit_test(gzip_content_and_members),
        cmocka_unit_test(gzip_sizes),
        cmocka_unit_test(gzip_files_that_are_broken),
        cmocka_unit_test(gzip_in_small_pieces),
        cmocka_unit_test(gzip_with_something_behind),
        cmocka_unit_test(gzip_without_memory),
        cmocka_unit_test(picture_limits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
