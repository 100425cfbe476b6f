/* SPDX-License-Identifier: Apache-2.0
 *
 * tests/test_safetensors.c: the container by itself. A list of files that a reader must refuse, each with the words and
 * the byte that the sentence must name, and of files that it must take. The verdicts are those of the format's
 * reference reader (safetensors 0.8), except where soma is stricter: "reference takes it" stands there.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/limits.h"
#include "faults.h"
#include "io/json.h"
#include "io/safetensors.h"

static char folder[256], path[300];

static int make_folder(void **state)
{
    (void)state;
    if (!faults_folder(folder))
        return -1;
    snprintf(path, sizeof path, "%s/t.safetensors", folder);
    return 0;
}

static int remove_folder(void **state)
{
    (void)state;
    faults_folder_remove(folder);
    return 0;
}

static uint64_t begin_memory;

static soma *open_context(void)
{
    soma *s = soma_open(NULL);
    assert_non_null(s);
    begin_memory = soma_memory_use(s).now;
    return s;
}

/* Writes length, header and `data` zero bytes. length UINT64_MAX: the header's own. */
static void write_file(uint64_t length, const char *header, size_t header_size, size_t data)
{
    unsigned char *bytes = calloc(1, 8 + header_size + data);
    assert_non_null(bytes);
    length = length == UINT64_MAX ? header_size : length;
    for (int i = 0; i < 8; i++)
        bytes[i] = (unsigned char)(length >> (8 * i));
    memcpy(bytes + 8, header, header_size);
    assert_true(faults_write(path, bytes, 8 + header_size + data));
    free(bytes);
}

/* ---- refused ---- */

typedef struct bad_file {
    const char *header;
    size_t data;      /* bytes behind it */
    const char *says; /* part of the sentence */
    int at;           /* byte that the sentence names; -1: whatever */
} bad_file;

#define T(name, dtype, shape, offsets)                                                                                 \
    "\"" name "\":{\"dtype\":\"" dtype "\",\"shape\":" shape ",\"data_offsets\":" offsets "}"

static const bad_file bad[] = {
    /* JSON */
    {"[]", 0, "does not begin with '{'", 8},
    {" {}", 0, "does not begin with '{'", 8}, /* reference takes it, against its own document */
    {"{", 0, "does not begin with '{'", 8},
    {"{,}", 0, "text in quotes", 9},
    {"{]", 0, "text in quotes", 9},
    {"{}x", 0, "behind its last brace", 10},
    {"{}{}", 0, "behind its last brace", 10},
    {"{\"a}", 0, "does not end", 9},
    {"{\"a\\\"}", 0, "does not end", 9},
    {"{\"a\"}", 0, "a ':' is needed", 12},
    {"{\"a\":1}", 0, "a '{' is needed", 13},
    {"{\"a\":null}", 0, "a '{' is needed", 13},
    {"{\"a\":[]}", 0, "a '{' is needed", 13},
    {"{\"a\":{}}", 0, "lacks dtype", 9},
    {"{" T("a", "U8", "[1]", "[0,1]") ",}", 1, "text in quotes", -1},
    {"{" T("a", "U8", "[1]", "[0,1]"), 1, "a '}' is needed", -1},
    {"{'a':{}}", 0, "text in quotes", 9},
    {"{\"\xff\":{}}", 0, "not UTF-8", 10},
    {"{\"\xc0\xaf\":{}}", 0, "not UTF-8", 10},
    {"{\"\xed\xa0\x80\":{}}", 0, "not UTF-8", 10},
    {"{\"\xf5\x80\x80\x80\":{}}", 0, "not UTF-8", 10},
    {"{\"\xe2\x82\":{}}", 0, "not UTF-8", 10},
    {"{\"a\nb\":{}}", 0, "control character", 11},
    {"{\"\\x\":{}}", 0, "escape", 10},
    {"{\"\\u12g4\":{}}", 0, "escape", 10},
    {"{\"\\ud800\":{}}", 0, "escape", 10},
    {"{\"\\udc00\":{}}", 0, "escape", 10},
    {"{\"\\ud800\\u0041\":{}}", 0, "escape", 10},
    {"{" T("\\u0000", "U8", "[0]", "[0,0]") "}", 0, "escape", 10}, /* reference takes it; our names end with a zero */
    /* entries */
    {"{\"a\":{\"dtype\":\"U8\",\"shape\":[1]}}", 1, "lacks dtype, shape or two data_offsets", 9},
    {"{\"a\":{\"dtype\":\"U8\",\"data_offsets\":[0,1]}}", 1, "lacks", 9},
    {"{\"a\":{\"shape\":[1],\"data_offsets\":[0,1]}}", 1, "lacks", 9},
    {"{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1],\"x\":1}}", 1, "not \"x\"",
     -1}, /* reference takes it */
    {"{\"a\":{\"dtype\":\"U8\",\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]}}", 1,
     "\"dtype\" stands here twice", -1},
    {"{" T("a", "U8", "[1]", "[0,1]") "," T("a", "U8", "[1]", "[1,2]") "}", 2, "\"a\" stands here twice", -1},
    {"{" T("a", "U8", "[1]", "[0,1]") "," T("\\u0061", "U8", "[1]", "[1,2]") "}", 2, "\"a\" stands here twice", -1},
    {"{" T("a", "F31", "[1]", "[0,4]") "}", 4, "type \"F31\", which does not exist", 9},
    {"{" T("a", "f32", "[1]", "[0,4]") "}", 4, "type \"f32\", which does not exist", 9},
    {"{" T("a", "", "[1]", "[0,4]") "}", 4, "does not exist", 9},
    {"{\"a\":{\"dtype\":32,\"shape\":[1],\"data_offsets\":[0,4]}}", 4, "text in quotes", 22},
    /* shapes */
    {"{" T("a", "U8", "1", "[0,1]") "}", 1, "list of numbers", -1},
    {"{" T("a", "U8", "[-1]", "[0,1]") "}", 1, "whole number", -1},
    {"{" T("a", "U8", "[1.0]", "[0,1]") "}", 1, "whole number", -1},
    {"{" T("a", "U8", "[1e0]", "[0,1]") "}", 1, "whole number", -1},
    {"{" T("a", "U8", "[01]", "[0,1]") "}", 1, "whole number", -1},
    {"{" T("a", "U8", "[+1]", "[0,1]") "}", 1, "whole number", -1},
    {"{" T("a", "U8", "[\"1\"]", "[0,1]") "}", 1, "whole number", -1},
    {"{" T("a", "U8", "[[1]]", "[0,1]") "}", 1, "whole number", -1},
    {"{" T("a", "U8", "[1,]", "[0,1]") "}", 1, "whole number", -1},
    {"{" T("a", "U8", "[1 1]", "[0,1]") "}", 1, "a ']' is needed", -1},
    {"{" T("a", "U8", "[18446744073709551616]", "[0,1]") "}", 1, "number is too large", -1},
    {"{" T("a", "U8", "[99999999999999999999999]", "[0,1]") "}", 1, "number is too large", -1},
    {"{" T("a", "U8", "[18446744073709551615]", "[0,1]") "}", 1, "size, that is too large", 9},
    {"{" T("a", "F64", "[1099511627776,1099511627776]", "[0,8]") "}", 8, "size, that is too large", 9},
    {"{" T("a", "U8", "[4294967296,4294967296,0]", "[0,0]") "}", 0, "size, that is too large", 9},
    {"{" T("a", "U8", "[1099511627777]", "[0,1]") "}", 1, "size, that is too large", 9},  /* 2^40 + 1 */
    {"{" T("a", "U8", "[1,1,1,1,1,1,1,1,1]", "[0,1]") "}", 1, "more than 8 numbers", -1}, /* reference takes it */
    {"{" T("a", "F4", "[3]", "[0,2]") "}", 2, "whole number of bytes", 9},
    {"{" T("a", "F6_E2M3", "[2]", "[0,2]") "}", 2, "whole number of bytes", 9},
    /* offsets */
    {"{" T("a", "U8", "[1]", "[0]") "}", 1, "two data_offsets", 9},
    {"{" T("a", "U8", "[1]", "[]") "}", 1, "two data_offsets", 9},
    {"{" T("a", "U8", "[1]", "[0,1,1]") "}", 1, "more than 2 numbers", -1},
    {"{" T("a", "U8", "[1]", "[-1,0]") "}", 1, "whole number", -1},
    {"{" T("a", "U8", "[1]", "[1,0]") "}", 1, "data at 1 to 0", 9},
    {"{" T("a", "U8", "[2]", "[0,2]") "}", 1, "the file has 1 bytes of data", 9},
    {"{" T("a", "U8", "[1]", "[18446744073709551615,0]") "}", 1, "data at 18446744073709551615", 9},
    {"{" T("a", "F32", "[1]", "[0,3]") "}", 3, "3 bytes of data, its type and shape need 4", 9},
    {"{" T("a", "F32", "[0]", "[0,4]") "}", 4, "4 bytes of data, its type and shape need 0", 9},
    {"{" T("a", "F32", "[]", "[0,0]") "}", 0, "0 bytes of data, its type and shape need 4", 9},
    {"{" T("a", "U8", "[1]", "[1,2]") "}", 2, "there is a hole", 9},
    {"{" T("a", "U8", "[1]", "[0,1]") "," T("b", "U8", "[1]", "[2,3]") "}", 3, "there is a hole", -1},
    {"{" T("a", "U8", "[2]", "[0,2]") "," T("b", "U8", "[2]", "[1,3]") "}", 3, "they overlap", -1},
    {"{" T("a", "U8", "[2]", "[0,2]") "," T("b", "U8", "[2]", "[0,2]") "}", 2, "they overlap", -1},
    {"{" T("a", "U8", "[1]", "[0,1]") "}", 2, "goes on for 1 bytes behind its last tensor", -1},
    {"{}", 1, "goes on for 1 bytes", 10},
    /* metadata */
    {"{\"__metadata__\":[]}", 0, "a '{' is needed", -1},
    {"{\"__metadata__\":\"a\"}", 0, "a '{' is needed", -1},
    {"{\"__metadata__\":{\"a\":1}}", 0, "text in quotes", -1},
    {"{\"__metadata__\":{\"a\":{\"b\":\"c\"}}}", 0, "text in quotes", -1},
    {"{\"__metadata__\":{\"a\":null}}", 0, "text in quotes", -1},                     /* reference refuses as well */
    {"{\"__metadata__\":{\"a\":\"1\",\"a\":\"2\"}}", 0, "in the metadata twice", -1}, /* reference takes it */
    {"{\"__metadata__\":{},\"__metadata__\":{}}", 0, "\"__metadata__\" stands here twice", -1},
    {"{\"__metadata__\":{\"soma.hash\":\"0123456789abcdef\"}}", 0, "hash does not fit", 38},
    {"{\"__metadata__\":{\"soma.hash\":\"\"}}", 0, "hash does not fit", 38},
};

static void expect_refused(soma *s, const char *says, int at, const char *what)
{
    soma_safetensors f;
    char place[32];
    snprintf(place, sizeof place, ": at byte %d: ", at);
    if (soma_safetensors_open(&f, s, path) == SOMA_OK)
        fail_msg("taken: %s", what);
    if (soma_error_status(s) != SOMA_FORMAT || !strstr(soma_error(s), says) || !strstr(soma_error(s), ": at byte ") ||
        (at >= 0 && !strstr(soma_error(s), place)))
        fail_msg("%s: says: %s", what, soma_error(s));
    assert_int_equal(soma_memory_use(s).now, begin_memory);
    soma_clear(s);
}

static void broken_headers_are_refused(void **state)
{
    (void)state;
    soma *s = open_context();
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        write_file(UINT64_MAX, bad[i].header, strlen(bad[i].header), bad[i].data);
        expect_refused(s, bad[i].says, bad[i].at, bad[i].header);
    }
    soma_close(s);
}

static void broken_lengths_are_refused(void **state)
{
    (void)state;
    soma *s = open_context();
    const uint64_t lengths[] = {3, 11, (uint64_t)1 << 31, (uint64_t)1 << 63, UINT64_MAX - 8, 100000001};
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        write_file(lengths[i], "{}", 2, 0);
        expect_refused(s, "the header's length", 0, "a wrong length");
    }
    write_file(0, "{}", 2, 0);
    expect_refused(s, "does not begin with '{'", 8, "length 0");
    write_file(1, "{}", 2, 0);
    expect_refused(s, "does not begin with '{'", 8, "length 1");
    for (int size = 0; size < 8; size++) {
        assert_true(faults_write(path, "\2\0\0\0\0\0\0\0", (size_t)size));
        expect_refused(s, "shorter than the eight bytes", size, "less than a length");
    }
    soma_close(s);
}

/* A million brackets, in every place where something nested could stand. */
static void depth_is_no_danger(void **state)
{
    (void)state;
    soma *s = open_context();
    const char *const before[] = {"{\"a\":", "{\"a\":{\"dtype\":", "{\"a\":{\"shape\":", "{\"__metadata__\":{\"a\":"};
    const char brackets[] = {'[', '{'};
    size_t deep = 1000000;
    char *header = malloc(deep + 100);
    assert_non_null(header);
    for (int i = 0; i < 8; i++) {
        size_t n = (size_t)sprintf(header, "%s", before[i / 2]);
        memset(header + n, brackets[i % 2], deep);
        write_file(UINT64_MAX, header, n + deep, 0);
        expect_refused(s, " needed here", -1, before[i / 2]);
    }
    free(header);
    soma_close(s);
}

/* n tensors without elements, and a name of `name` letters for the first one. */
static void write_many(int n, int name)
{
    char *header = malloc((size_t)n * 80 + (size_t)name + 100), *p = header;
    assert_non_null(header);
    *p++ = '{';
    for (int i = 0; i < n; i++) {
        p += sprintf(p, "%s\"%0*d\":{\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[0,0]}", i ? "," : "",
                     i ? 1 : name, i);
    }
    *p++ = '}';
    write_file(UINT64_MAX, header, (size_t)(p - header), 0);
    free(header);
}

static void expect_taken(soma *s, int n)
{
    soma_safetensors f;
    if (soma_safetensors_open(&f, s, path) != SOMA_OK)
        fail_msg("%s", soma_error(s));
    assert_int_equal(f.n_tensors, n);
    soma_safetensors_close(&f);
    assert_int_equal(soma_memory_use(s).now, begin_memory);
}

static void limits_hold_at_their_boundary(void **state)
{
    (void)state;
    soma *s = open_context();
    write_many(SOMA_LIMIT_TENSORS, 1);
    expect_taken(s, SOMA_LIMIT_TENSORS);
    write_many(SOMA_LIMIT_TENSORS + 1, 1);
    expect_refused(s, "more than 65536 tensors", -1, "65,537 tensors");
    write_many(1, SOMA_LIMIT_NAME);
    expect_taken(s, 1);
    write_many(1, SOMA_LIMIT_NAME + 1);
    expect_refused(s, "longer than 4096 bytes", 9, "a long name");
    soma_close(s);
}

/* A header of exactly 100,000,000 bytes is read, one byte more is not. */
static void the_header_has_a_limit(void **state)
{
    (void)state;
    soma *s = open_context();
    size_t size = SOMA_LIMIT_HEADER;
    char *header = malloc(size + 1);
    assert_non_null(header);
    memset(header, ' ', size + 1);
    header[0] = '{';
    header[1] = '}';
    write_file(UINT64_MAX, header, size, 0);
    expect_taken(s, 0);
    write_file(UINT64_MAX, header, size + 1, 0);
    expect_refused(s, "larger than the file or than 100,000,000 bytes", 0, "a large header");
    free(header);
    soma_close(s);
}

/* ---- taken ---- */

/* Two tensors as the reference writer puts them, with spaces behind the header. */
static void a_file_of_the_reference_is_read(void **state)
{
    (void)state;
    soma *s = open_context();
    static const char header[] =
        "{\"__metadata__\":{\"format\":\"pt\"},"
        "\"w\":{\"dtype\":\"F32\",\"shape\":[2,1],\"data_offsets\":[0,8]},"
        "\"mask\":{\"dtype\":\"BOOL\",\"shape\":[3],\"data_offsets\":[8,11]},"
        "\"none\":{\"dtype\":\"I64\",\"shape\":[0,4],\"data_offsets\":[11,11]},"
        "\"half \\u00e9\\ud83d\\ude00\\n\":{\"shape\":[],\"data_offsets\":[11,13],\"dtype\":\"BF16\"}} ";
    static const unsigned char data[] = {0, 0, 0x80, 0x3f, 0, 0, 0x20, 0xc0, 1, 0, 1, 0x80, 0x3f}; /* 1, -2.5; ...; 1 */
    unsigned char bytes[512] = {0};
    memcpy(bytes + 8, header, sizeof header - 1);
    bytes[0] = (unsigned char)((sizeof header - 1) & 0xff);
    bytes[1] = (unsigned char)((sizeof header - 1) >> 8);
    memcpy(bytes + 8 + sizeof header - 1, data, sizeof data);
    assert_true(faults_write(path, bytes, 8 + sizeof header - 1 + sizeof data));
    soma_safetensors f;
    if (soma_safetensors_open(&f, s, path) != SOMA_OK)
        fail_msg("%s", soma_error(s));
    assert_int_equal(f.n_tensors, 4);
    assert_string_equal(soma_safetensors_text(&f, "format"), "pt");
    assert_null(soma_safetensors_text(&f, "soma.model"));
    assert_false(soma_safetensors_hashed(&f));
    const soma_file_tensor *w = soma_safetensors_find(&f, "w"), *mask = soma_safetensors_find(&f, "mask");
    assert_true(w && w->known && w->dtype == SOMA_F32 && w->shape.rank == 2 && w->shape.dim[0] == 2 &&
                w->shape.dim[1] == 1);
    float numbers[2];
    memcpy(numbers, f.data + w->begin, sizeof numbers);
    assert_true(numbers[0] == 1 && numbers[1] == -2.5f);
    assert_true(mask && !mask->known && mask->end - mask->begin == 3);
    assert_string_equal(mask->dtype_name, "BOOL");
    const soma_file_tensor *half = soma_safetensors_find(&f, "half \xc3\xa9\xf0\x9f\x98\x80\n");
    assert_true(half && half->shape.rank == 0 && half->begin == 11);
    assert_true(soma_safetensors_find(&f, "none") && !soma_safetensors_find(&f, "nothing"));
    soma_safetensors_close(&f);
    assert_int_equal(soma_memory_use(s).now, begin_memory);
    soma_close(s);
}

static void all_types_have_their_size(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        int bits;
    } types[] = {{"BOOL", 8},        {"U8", 8},          {"I8", 8},      {"F8_E5M2", 8}, {"F8_E4M3", 8}, {"F8_E8M0", 8},
                 {"F8_E4M3FNUZ", 8}, {"F8_E5M2FNUZ", 8}, {"I16", 16},    {"U16", 16},    {"F16", 16},    {"BF16", 16},
                 {"I32", 32},        {"U32", 32},        {"F32", 32},    {"C64", 64},    {"F64", 64},    {"I64", 64},
                 {"U64", 64},        {"F4", 4},          {"F6_E2M3", 6}, {"F6_E3M2", 6}};
    soma *s = open_context();
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        char header[128];
        int bytes = 4 * types[i].bits / 8;
        int n = snprintf(header, sizeof header, "{\"a\":{\"dtype\":\"%s\",\"shape\":[4],\"data_offsets\":[0,%d]}}",
                         types[i].name, bytes);
        write_file(UINT64_MAX, header, (size_t)n, (size_t)bytes);
        expect_taken(s, 1);
    }
    soma_close(s);
}

static void what_was_written_is_read(void **state)
{
    (void)state;
    soma *s = open_context();
    float a[3] = {1, 2, 3};
    double b[1] = {-0.0};
    uint8_t c[5] = {1, 2, 3, 4, 255};
    soma_to_store tensors[] = {{"z\"\\\n\x01", {SOMA_U8, SOMA_SHAPE(5), c}},
                               {"b", {SOMA_F32, SOMA_SHAPE(3, 1), a}},
                               {"a", {SOMA_F32, SOMA_SHAPE(3), a}},
                               {"d", {SOMA_F64, SOMA_SCALAR, b}}};
    const soma_stored_text texts[] = {{"k\xc3\xa9y", "line\n\"quoted\" \\ \x1f", 0}};
    assert_int_equal(soma_safetensors_write(s, path, tensors, 4, texts, 1), SOMA_OK);
    soma_safetensors f;
    if (soma_safetensors_open(&f, s, path) != SOMA_OK)
        fail_msg("%s", soma_error(s));
    assert_int_equal(f.n_tensors, 4);
    assert_int_equal((f.data - (unsigned char *)f.bytes) % 8, 0);
    assert_true(soma_safetensors_hashed(&f));
    assert_string_equal(soma_safetensors_text(&f, "k\xc3\xa9y"), texts[0].value);
    const char *const order[] = {"d", "a", "b", "z\"\\\n\x01"}; /* by size of the type, then by name */
    uint64_t end = 0;
    for (int i = 0; i < 4; i++) {
        const soma_file_tensor *t = soma_safetensors_find(&f, order[i]);
        assert_non_null(t);
        assert_int_equal(t->begin, end);
        end = t->end;
    }
    assert_memory_equal(f.data + soma_safetensors_find(&f, "a")->begin, a, sizeof a);
    assert_memory_equal(f.data + soma_safetensors_find(&f, "d")->begin, b, sizeof b);
    assert_memory_equal(f.data + soma_safetensors_find(&f, order[3])->begin, c, sizeof c);
    soma_safetensors_close(&f);
    soma_close(s);
}

static void unreadable_names_are_not_written(void **state)
{
    (void)state;
    soma *s = open_context();
    float a[1] = {1};
    char name[SOMA_LIMIT_NAME + 2];
    memset(name, 'n', sizeof name);
    name[sizeof name - 1] = 0;
    const struct {
        const char *names[2], *says;
    } wrong[] = {{{"a", "a"}, "is used twice"},
                 {{"a", "__metadata__"}, "reserved"},
                 {{"a", name}, "too long"},
                 {{"a", "\xff"}, "not UTF-8"}};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        soma_to_store tensors[2];
        for (int k = 0; k < 2; k++)
            tensors[k] = (soma_to_store){wrong[i].names[k], {SOMA_F32, SOMA_SHAPE(1), a}};
        faults_folder_clear(folder, "t.safetensors");
        assert_int_equal(soma_safetensors_write(s, path, tensors, 2, NULL, 0), SOMA_INVALID);
        if (!strstr(soma_error(s), wrong[i].says))
            fail_msg("%s", soma_error(s));
        soma_clear(s);
        assert_int_equal(faults_folder_count(folder, NULL), 0);
    }
    assert_int_equal(soma_memory_use(s).now, begin_memory);
    soma_close(s);
}

/* Lengths by RFC 3629's table. */
static void utf8_is_known(void **state)
{
    (void)state;
    static const struct {
        const char *bytes;
        size_t n, length;
    } rows[] = {{"a", 1, 1},
                {"", 0, 0},
                {"\x80", 1, 0},
                {"\xc2\x80", 2, 2},
                {"\xc1\xbf", 2, 0},
                {"\xdf\xbf", 2, 2},
                {"\xe0\xa0\x80", 3, 3},
                {"\xe0\x9f\xbf", 3, 0},
                {"\xed\x9f\xbf", 3, 3},
                {"\xed\xa0\x80", 3, 0},
                {"\xef\xbf\xbf", 3, 3},
                {"\xf0\x90\x80\x80", 4, 4},
                {"\xf0\x8f\xbf\xbf", 4, 0},
                {"\xf4\x8f\xbf\xbf", 4, 4},
                {"\xf4\x90\x80\x80", 4, 0},
                {"\xf8\x88\x80\x80", 4, 0},
                {"\xc2", 1, 0},
                {"\xc2\x41", 2, 0}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (soma_utf8_length((const unsigned char *)rows[i].bytes, rows[i].n) != rows[i].length)
            fail_msg("row %zu", i);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(broken_headers_are_refused),
        cmocka_unit_test(broken_lengths_are_refused),
        cmocka_unit_test(depth_is_no_danger),
        cmocka_unit_test(limits_hold_at_their_boundary),
        cmocka_unit_test(the_header_has_a_limit),
        cmocka_unit_test(a_file_of_the_reference_is_read),
        cmocka_unit_test(all_types_have_their_size),
        cmocka_unit_test(what_was_written_is_read),
        cmocka_unit_test(unreadable_names_are_not_written),
        cmocka_unit_test(utf8_is_known),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
