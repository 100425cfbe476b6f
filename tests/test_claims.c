/* SPDX-License-Identifier: Apache-2.0
 *
 * What files declare about their size: no reader takes more memory than that and a constant, and no more than the
 * bytes of the file make believable.
 */
#include "codec/image.h"
#include "io/safetensors.h"

#include "training.h"

#include "faults.h"
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>
#include <zlib.h>

#define CONSTANT (256 << 10) /* chunks, zlib's window, tables */

static char folder[256];

static const char *in_folder(const char *name)
{
    static char path[2][512];
    static int turn;
    turn = !turn;
    snprintf(path[turn], sizeof path[turn], "%s/%s", folder, name);
    return path[turn];
}

static soma *open_counting(faults_memory *memory)
{
    assert_true(faults_folder(folder));
    *memory = (faults_memory){0};
    return soma_open(&(soma_context_options){
        .struct_size = sizeof(soma_context_options), .threads = 1, .allocator = faults_allocator(memory)});
}

static void close_counting(soma *s)
{
    soma_close(s);
    faults_folder_remove(folder);
}

/* Most bytes that were alive since, beyond those before. */
static uint64_t peak_of(faults_memory *memory, uint64_t before)
{
    uint64_t peak = memory->peak - before;
    memory->peak = memory->bytes;
    return peak;
}

/* An IDX file of `bytes` content bytes behind a header of so many samples of 28 x 28; compressed or not. */
static void write_idx(const char *name, int type, uint32_t samples, size_t bytes, bool packed)
{
    uint8_t header[16] = {0, 0, (uint8_t)type, 3, [11] = 28, [15] = 28};
    for (int k = 0; k < 4; k++)
        header[4 + k] = (uint8_t)(samples >> (24 - 8 * k));
    uint8_t *content = calloc(bytes + 16, 1);
    assert_non_null(content);
    memcpy(content, header, 16);
    if (!packed) {
        assert_true(faults_write(in_folder(name), content, bytes + 16));
    } else {
        gzFile file = gzopen(in_folder(name), "wb9");
        assert_non_null(file);
        assert_int_equal(gzwrite(file, content, (unsigned)(bytes + 16)), (int)bytes + 16);
        assert_int_equal(gzclose(file), Z_OK);
    }
    free(content);
}

static void write_labels(uint32_t samples)
{
    uint8_t *bytes = calloc(8 + samples, 1);
    assert_non_null(bytes);
    bytes[2] = 8;
    bytes[3] = 1;
    for (int k = 0; k < 4; k++)
        bytes[4 + k] = (uint8_t)(samples >> (24 - 8 * k));
    assert_true(faults_write(in_folder("labels"), bytes, 8 + samples));
    free(bytes);
}

/* The small file that inflates to 100 MB behind a header of 31 kB; a header beyond what the file can hold; sound
 * files. */
static void idx_takes_what_its_header_says(void **state)
{
    (void)state;
    static const struct {
        int type, element;
        uint32_t samples;
        size_t bytes;
        bool packed;
        const char *says;
    } cases[] = {
        {8, 1, 40, 100000000, true, "it goes on behind the last element"},
        {8, 1, 40, 41 * 784, true, "it goes on behind the last element"},
        {8, 1, 40, 41 * 784, false, "784 bytes follow the last element"},
        {8, 1, 4000000000u, 784, true, "which cannot hold them"},
        {8, 1, 4000000000u, 784, false, "bytes of elements before the end"},
        {8, 1, 101, 100 * 784, true, "784 bytes of elements before the end"},
        {8, 1, 2000, 2000 * 784, true, NULL},
        {8, 1, 2000, 2000 * 784, false, NULL},
        {9, 4, 2000, 2000 * 784, true, NULL}, /* i8 becomes f32 */
        {11, 4, 200, 200 * 784 * 2, true, NULL},
        {12, 4, 200, 200 * 784 * 4, false, NULL},
        {13, 4, 200, 200 * 784 * 4, true, NULL},
        {14, 8, 200, 200 * 784 * 8, true, NULL},
    };
    faults_memory memory;
    soma *s = open_counting(&memory);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        uint64_t before = memory.bytes;
        write_idx("images", cases[i].type, cases[i].samples, cases[i].bytes, cases[i].packed);
        write_labels(cases[i].says ? 40 : cases[i].samples);
        soma_dataset *d = soma_dataset_open(s, in_folder("images"), .labels = in_folder("labels"), .format = "idx");
        uint64_t peak = peak_of(&memory, before), claim = (uint64_t)cases[i].samples * 784 * (uint64_t)cases[i].element;
        if (cases[i].says)
            EXPECT_ERROR(s, "/images: ", cases[i].says);
        else if (!d)
            fail_msg("%s", soma_error(s));
        if (cases[i].samples > 1000000)
            claim = 0; /* nobody believes it */
        if (peak > claim + (uint64_t)cases[i].samples % 1000000 * 8 + CONSTANT)
            fail_msg("case %zu: %llu bytes for a claim of %llu", i, (unsigned long long)peak,
                     (unsigned long long)claim);
        soma_dataset_free(d);
        memory.peak = memory.bytes;
    }
    close_counting(s);
}

/* A file that is larger than its header says is not read, however large (this one has a hole of a gigabyte). */
static void longer_files_are_not_read(void **state)
{
    (void)state;
    faults_memory memory;
    soma *s = open_counting(&memory);
    write_idx("images", 8, 40, 40 * 784, false);
    write_labels(40);
    assert_int_equal(truncate(in_folder("images"), 1 << 30), 0);
    uint64_t before = memory.bytes;
    assert_null(soma_dataset_open(s, in_folder("images"), .labels = in_folder("labels"), .format = "idx"));
    EXPECT_ERROR(s, "bytes follow the last element");
    assert_true(peak_of(&memory, before) < CONSTANT);
    static const char tensor[] =
        "\x36\0\0\0\0\0\0\0{\"w\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}    ";
    assert_true(faults_write(in_folder("w.safetensors"), tensor, sizeof tensor - 1));
    assert_int_equal(truncate(in_folder("w.safetensors"), 1 << 30), 0);
    soma_safetensors f;
    assert_int_not_equal(soma_safetensors_open(&f, s, in_folder("w.safetensors")), SOMA_OK);
    EXPECT_ERROR(s, "bytes behind its last tensor");
    assert_true(peak_of(&memory, before) < CONSTANT);
    assert_true(faults_write(in_folder("w.safetensors"), "\377\377\377\3\0\0\0\0", 8)); /* a header of 64 MB */
    assert_int_equal(truncate(in_folder("w.safetensors"), 1 << 30), 0);
    assert_int_not_equal(soma_safetensors_open(&f, s, in_folder("w.safetensors")), SOMA_OK);
    EXPECT_ERROR(s, "the header does not begin with '{'");
    assert_true(peak_of(&memory, before) < CONSTANT);
    const struct {
        const char *name, *says;
    } texts[] = {{"d.yaml", "at most"}, {"kernels", ""}};
    for (int i = 0; i < 2; i++) {
        assert_true(faults_write(in_folder(texts[i].name), "x", 1));
        assert_int_equal(truncate(in_folder(texts[i].name), 1 << 30), 0);
    }
    assert_null(soma_model_from_yaml(s, in_folder("d.yaml"), NULL));
    soma_clear(s);
    (void)soma_tune_cache_open(s, in_folder("kernels"));
    soma_clear(s);
    assert_true(peak_of(&memory, before) < CONSTANT);
    close_counting(s);
}

/* ---- libraries that take memory by themselves: what the process takes ---- */

static long most_kilobytes(void)
{
    struct rusage use;
    getrusage(RUSAGE_SELF, &use);
    return use.ru_maxrss;
}

typedef void (*reader)(soma *s, const void *bytes, size_t size);

/* What reading the bytes takes more than the process had: in a child, whose highest mark is its own. */
static long kilobytes_for(reader reads, const void *bytes, size_t size)
{
    int ends[2], status;
    long grown = -1;
    assert_int_equal(pipe(ends), 0);
    pid_t child = fork();
    assert_true(child >= 0);
    if (!child) {
        soma *s = soma_open(NULL);
        long before = most_kilobytes();
        reads(s, bytes, size);
        grown = most_kilobytes() - before;
        _exit(write(ends[1], &grown, sizeof grown) != (ssize_t)sizeof grown);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    assert_int_equal(read(ends[0], &grown, sizeof grown), sizeof grown);
    close(ends[0]);
    close(ends[1]);
    return grown;
}

static void decode(soma *s, const void *bytes, size_t size)
{
    soma_image image;
    (void)soma_image_decode(s, "picture", bytes, size, &image);
    uint64_t limit = size == 1 << 16 ? 2048 * 2048 * 4 : 0; /* what soma asked for, touched or not */
    if (soma_memory_use(s).peak > limit + CONSTANT)
        _exit(3);
}

/* A real picture whose header says 2048 x 2048 instead, with as many bytes behind as make that believable, and fewer.
 * */
static void jpeg_takes_what_its_header_says(void **state)
{
    (void)state;
#if !defined(SOMA_HAVE_JPEG) || defined(__SANITIZE_ADDRESS__)
    skip();
#endif
    static const char *const files[] = {"rgb.jpg", "progressive.jpg", "inks.jpg"};
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        char path[512];
        size_t size;
        snprintf(path, sizeof path, "%s/tests/fixtures/pictures/%s", SOMA_SOURCE_DIR, files[i]);
        char *whole = faults_read(path, &size);
        if (!whole)
            continue;
        uint8_t *bytes = calloc(1 << 16, 1);
        assert_true(bytes && size < 1 << 16);
        memcpy(bytes, whole, size);
        for (size_t at = 2; at + 9 < size; at += 2 + (size_t)(bytes[at + 2] << 8 | bytes[at + 3]))
            if (bytes[at + 1] == 0xc0 || bytes[at + 1] == 0xc2) {
                memcpy(bytes + at + 5, (const uint8_t[]){8, 0, 8, 0}, 4);
                break;
            }
        long believable = kilobytes_for(decode, bytes, 1 << 16),
             incredible = kilobytes_for(decode, bytes, size < 8000 ? size : 8000);
        printf("%s: %ld kB for 2048 x 2048, %ld kB where the file is too short for it\n", files[i], believable,
               incredible);
        assert_true(believable < 2048 * 2048 / 1024 * 14 + 4096); /* pixels, and coefficients of 2 bytes; 4 inks */
        assert_true(incredible < 2048);
        free(bytes);
        free(whole);
    }
}

/* One colour takes no bits in a lossless WebP, so any size may be true: its pixels, in libwebp's memory and ours, and
 * no more. */
/* 64 MB behind the headers of pictures of a few pixels, and formats that are not read: no more than their claim is
 * read. A whole picture in front of such bytes is read, with a note. */
static void pictures_are_read_as_far_as_their_headers_claim(void **state)
{
    (void)state;
    static const struct {
        const char *name, *head, *says;
        size_t bytes;
    } rows[] = {
        {"a.png", "\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\x20\0\0\0\x10\x08\2\0\0\0", "", 29},
        {"a.jpg", "\xff\xd8\xff\xe1\0\4ab\xff\xff\xc2\0\x11\x08\0\x10\0\x20\3", "", 19},
        {"b.jpg", "\xff\xd8\xff\xe1\0\4ab\xff\xc4\0\2\0\0\0\0", "", 16},
        {"a.webp", "RIFF\0\0\0\4WEBPVP8X\x0a\0\0\0\0\0\0\0\x1f\0\0\x0f\0\0", "", 30},
        {"b.webp", "RIFF\0\0\0\4WEBPVP8L\x0a\0\0\0\x2f\x1f\xc0\3\0\0\0\0\0\0", "", 31},
        {"c.webp", "RIFF\0\0\0\4WEBPVP8 \x0a\0\0\0\0\0\0\x9d\1\x2a\x20\0\x10\0", "", 30},
        {"a.bmp", "BM\0\0\0\4\0\0\0\0\x36\0\0\0\x28\0\0\0", "a BMP picture", 18},
        {"c.png", "\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\1\0\0\0\1\0\0\x08\2\0\0\0", "", 29},
    };
    faults_memory memory;
    soma *s = open_counting(&memory);
    float pixels[3 * 4 * 4];
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const char *path = in_folder(rows[i].name);
        assert_true(faults_write(path, rows[i].head, rows[i].bytes));
        assert_int_equal(truncate(path, 64 << 20), 0);
        uint64_t before = memory.peak = memory.bytes;
        assert_true(soma_image_read(s, path, .shape = SOMA_SHAPE(3, 4, 4), .pixels = pixels) != SOMA_OK);
        if (!strstr(soma_error(s), rows[i].says))
            fail_msg("%s: %s", rows[i].name, soma_error(s));
        soma_clear(s);
        assert_true(peak_of(&memory, before) < (2 << 20) + CONSTANT);
    }
    static const char *const whole[] = {"rgb.jpg", "rgb.png", "lossy.webp"};
    for (size_t i = 0; i < sizeof whole / sizeof *whole; i++) {
        char from[512];
        size_t size;
        float same[3 * 4 * 4];
        snprintf(from, sizeof from, "%s/tests/fixtures/pictures/%s", SOMA_SOURCE_DIR, whole[i]);
        char *bytes = faults_read(from, &size);
        const char *path = in_folder(whole[i]);
        assert_true(bytes && faults_write(path, bytes, size));
        free(bytes);
        assert_int_equal(truncate(path, 64 << 20), 0);
        if (soma_image_read(s, from, .shape = SOMA_SHAPE(3, 4, 4), .pixels = same) == SOMA_UNSUPPORTED) {
            soma_clear(s);
            continue;
        }
        uint64_t before = memory.peak = memory.bytes;
        assert_int_equal(soma_image_read(s, path, .shape = SOMA_SHAPE(3, 4, 4), .pixels = pixels), SOMA_OK);
        assert_memory_equal(pixels, same, sizeof same);
        assert_true(peak_of(&memory, before) < (4 << 20));
    }
    close_counting(s);
}

static void webp_takes_what_its_header_says(void **state)
{
    (void)state;
#if !defined(SOMA_HAVE_WEBP) || defined(__SANITIZE_ADDRESS__)
    skip();
#endif
    size_t size;
    char *whole = faults_read(SOMA_SOURCE_DIR "/tests/fixtures/pictures/lossless.webp", &size);
    uint8_t *bytes = calloc(1 << 16, 1);
    assert_true(whole && bytes && size < 1 << 16 && !memcmp(whole + 12, "VP8L", 4));
    memcpy(bytes, whole, size);
    uint32_t sides = 2047 | 2047 << 14; /* behind the signature: 14 bits of width - 1, 14 of height - 1 */
    for (int k = 0; k < 4; k++)
        bytes[21 + k] = (uint8_t)((bytes[21 + k] & (k == 3 ? 0xf0 : 0)) | (sides >> 8 * k & 0xff));
    long taken = kilobytes_for(decode, bytes, 1 << 16);
    printf("lossless.webp: %ld kB for 2048 x 2048\n", taken);
    assert_true(taken < 2048 * 2048 / 1024 * 12 + 4096);
    free(bytes);
    free(whole);
}

static char yaml_path[512];
static void describe(soma *s, const void *bytes, size_t size)
{
    if (faults_write(yaml_path, bytes, size))
        (void)soma_model_from_yaml(s, yaml_path, NULL);
}

/* Aliases of aliases are not copied, and the largest description is read in memory of its own size times a constant. */
static void descriptions_take_little(void **state)
{
    (void)state;
#if !defined(SOMA_HAVE_YAML) || defined(__SANITIZE_ADDRESS__)
    skip();
#endif
    assert_true(faults_folder(folder));
    snprintf(yaml_path, sizeof yaml_path, "%s/d.yaml", folder);
    static char bomb[4096];
    size_t n = (size_t)snprintf(bomb, sizeof bomb, "a0: &a0 [x, x, x, x, x, x, x, x, x]\n");
    for (int i = 1; i < 40; i++)
        n += (size_t)snprintf(bomb + n, sizeof bomb - n, "a%d: &a%d [*a%d, *a%d, *a%d, *a%d, *a%d]\n", i, i, i - 1,
                              i - 1, i - 1, i - 1, i - 1);
    n += (size_t)snprintf(bomb + n, sizeof bomb - n, "input: [1]\nlayers: *a39\n");
    long aliases = kilobytes_for(describe, bomb, n);
    size_t most = 1 << 20;
    char *tiny = malloc(most);
    assert_non_null(tiny);
    n = (size_t)snprintf(tiny, most, "input: [1]\nlayers: [");
    for (; n + 3 < most; n += 2)
        memcpy(tiny + n, "a,", 2);
    memcpy(tiny + n, "]\n", 2);
    long nodes = kilobytes_for(describe, tiny, n + 2);
    printf("aliases of aliases: %ld kB; 1 MB of words: %ld kB\n", aliases, nodes);
    assert_true(aliases < 4096);
    assert_true(nodes < 160 * 1024);
    free(tiny);
    faults_folder_remove(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(idx_takes_what_its_header_says),
        cmocka_unit_test(longer_files_are_not_read),
        cmocka_unit_test(jpeg_takes_what_its_header_says),
        cmocka_unit_test(webp_takes_what_its_header_says),
        cmocka_unit_test(pictures_are_read_as_far_as_their_headers_claim),
        cmocka_unit_test(descriptions_take_little),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
