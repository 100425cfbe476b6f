/* SPDX-License-Identifier: Apache-2.0
 *
 * Datasets in IDX files made here and the real Fashion-MNIST, the transform against f64 arithmetic, broken files,
 * memory and files that fail at each call.
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
#include <zlib.h>

#include "data/convert.h"
#include "faults.h"

#define FASHION "/usr/share/datasets/fashion-mnist"

static void assert_says(const soma *s, soma_status status, const char *part)
{
    if (soma_error_status(s) != status || !strstr(soma_error(s), part))
        fail_msg("expected \"%s\" with status %d, got \"%s\" with status %d", part, (int)status, soma_error(s),
                 (int)soma_error_status(s));
}

/* ---- files made here ---- */

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

/* The header for the sizes, then the content; returns the size. */
static size_t make_idx(uint8_t *file, int type, int rank, const uint32_t *dim, const void *content, size_t size)
{
    uint8_t *p = file;
    *p++ = 0;
    *p++ = 0;
    *p++ = (uint8_t)type;
    *p++ = (uint8_t)rank;
    for (int i = 0; i < rank; i++)
        for (int k = 24; k >= 0; k -= 8)
            *p++ = (uint8_t)(dim[i] >> k);
    memcpy(p, content, size);
    return (size_t)(p - file) + size;
}

static size_t make_gz(uint8_t *to, size_t room, const uint8_t *content, size_t size)
{
    z_stream z = {0};
    assert_int_equal(deflateInit2(&z, 9, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY), Z_OK);
    z.next_in = (Bytef *)(uintptr_t)content;
    z.avail_in = (uInt)size;
    z.next_out = to;
    z.avail_out = (uInt)room;
    assert_int_equal(deflate(&z, Z_FINISH), Z_STREAM_END);
    size = room - z.avail_out;
    deflateEnd(&z);
    return size;
}

#define N 6
#define PIXELS 12 /* 3 x 4 */

/* Six pictures of 3 x 4 with their labels, the training set plain and the test set compressed. */
static void make_mnist(const folder *f)
{
    static const char *const names[2][2] = {{"train-images-idx3-ubyte", "train-labels-idx1-ubyte"},
                                            {"t10k-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz"}};
    uint8_t pixels[N * PIXELS], labels[N] = {3, 1, 4, 1, 0, 2}, file[256], packed[512];
    for (int split = 0; split < 2; split++) {
        for (int i = 0; i < N * PIXELS; i++)
            pixels[i] = (uint8_t)(i * 37 + 11 + split);
        size_t size = make_idx(file, 8, 3, (uint32_t[]){N, 3, 4}, pixels, sizeof pixels);
        size_t packed_size = make_gz(packed, sizeof packed, file, size);
        assert_true(faults_write(in_folder(f, names[split][0]), split ? packed : file, split ? packed_size : size));
        size = make_idx(file, 8, 1, (uint32_t[]){N}, labels, sizeof labels);
        packed_size = make_gz(packed, sizeof packed, file, size);
        assert_true(faults_write(in_folder(f, names[split][1]), split ? packed : file, split ? packed_size : size));
    }
}

/* (byte * scale - mean) / deviation in f64, and what rounding to f32 twice may differ from it. */
static void assert_transformed(float got, double raw, double scale, double mean, double deviation)
{
    double exact = (raw * scale - mean) / deviation;
    double bound = 0x1p-23 * (fabs(raw * scale / deviation) + fabs(mean / deviation));
    if (!(fabs((double)got - exact) <= bound))
        fail_msg("%.9g instead of %.9g", (double)got, exact);
}

/* ---- IDX ---- */

static void a_folder_of_idx_files(void **state)
{
    (void)state;
    folder f;
    make_folder(&f);
    make_mnist(&f);
    soma *s = soma_open(NULL);
    for (int split = 0; split < 2; split++) {
        soma_dataset *d = soma_dataset_open(s, f.path, .split = split ? "test" : "train");
        assert_non_null(d);
        assert_int_equal(soma_dataset_count(d), N);
        soma_type x = soma_dataset_input(d), y = soma_dataset_target(d);
        assert_int_equal(x.dtype, SOMA_F32);
        assert_int_equal(x.shape.rank, 3);
        assert_true(x.shape.dim[0] == 1 && x.shape.dim[1] == 3 && x.shape.dim[2] == 4);
        assert_int_equal(y.dtype, SOMA_I32);
        assert_int_equal(y.shape.rank, 0);
        assert_true(soma_dataset_has_target(d));
        assert_int_equal(soma_dataset_classes(d), 5);
        assert_string_equal(soma_dataset_class(d, 0), "0");
        assert_string_equal(soma_dataset_class(d, 4), "4");
        assert_null(soma_dataset_class(d, 5));
        assert_in_range(soma_dataset_bytes(d), N * PIXELS + N, N * PIXELS + N + 200);
        float pixels[3 * PIXELS];
        int32_t labels[3];
        assert_int_equal(soma_dataset_read(d, (int64_t[]){5, 0, 2}, 3, pixels, labels), SOMA_OK);
        const int row[] = {5, 0, 2};
        for (int i = 0; i < 3 * PIXELS; i++)
            assert_transformed(pixels[i], (uint8_t)((row[i / PIXELS] * PIXELS + i % PIXELS) * 37 + 11 + split),
                               1.0 / 255, 0, 1);
        assert_int_equal(labels[0], 2);
        assert_int_equal(labels[1], 3);
        assert_int_equal(labels[2], 4);
        soma_dataset_free(d);
    }
    soma_dataset *file = soma_dataset_open(s, in_folder(&f, "train-images-idx3-ubyte"), .limit = 2, .format = "idx");
    assert_int_equal(soma_dataset_count(file), 2);
    assert_int_equal(soma_dataset_classes(file), 5);
    char other[512];
    snprintf(other, sizeof other, "%s", in_folder(&f, "t10k-labels-idx1-ubyte.gz"));
    soma_dataset *both = soma_dataset_open(s, in_folder(&f, "train-images-idx3-ubyte"), .labels = other, .limit = 99,
                                           .classes = (const char *[]){"a", "b", "c", "d", "e", "f", NULL});
    assert_int_equal(soma_dataset_count(both), N);
    assert_int_equal(soma_dataset_classes(both), 6);
    assert_string_equal(soma_dataset_class(both, 5), "f");
    assert_false(soma_failed(s));
    soma_close(s);
    faults_folder_remove(f.path);
}

static void a_name_that_contains_fashion_mnist(void **state)
{
    (void)state;
    folder f;
    make_folder(&f);
    uint8_t file[64];
    size_t size = make_idx(file, 8, 3, (uint32_t[]){1, 1, 2}, "ab", 2);
    assert_true(faults_write(in_folder(&f, "fashion-mnist-images"), file, size));
    size = make_idx(file, 8, 1, (uint32_t[]){1}, "\7", 1);
    assert_true(faults_write(in_folder(&f, "fashion-mnist-labels"), file, size));
    soma *s = soma_open(NULL);
    soma_dataset *d = soma_dataset_open(s, in_folder(&f, "fashion-mnist-images"));
    assert_int_equal(soma_dataset_classes(d), 10);
    assert_string_equal(soma_dataset_class(d, 0), "T-shirt/top");
    assert_string_equal(soma_dataset_class(d, 9), "Ankle boot");
    d = soma_dataset_open(s, in_folder(&f, "fashion-mnist-images"),
                          .classes = (const char *[]){"0", "1", "2", "3", "4", "5", "6", "own", NULL});
    assert_string_equal(soma_dataset_class(d, 7), "own");
    soma_close(s);
    faults_folder_remove(f.path);
}

/* Types other than bytes become f32 with scale 1; ranks other than 3 keep their dimensions. */
static void idx_of_other_types_and_ranks(void **state)
{
    (void)state;
    static const uint8_t words[] = {0xff, 0xff, 1, 0, 0, 2, 0x7f, 0xff};
    static const uint8_t floats[] = {0x3f, 0x80, 0, 0, 0xc0, 0x20, 0, 0};
    const struct {
        int type, rank;
        uint32_t dim[4];
        const void *content;
        size_t size;
        int input_rank;
        float first, last;
    } files[] = {
        {0x0b, 2, {2, 2}, words, 8, 1, -1, 32767},       {0x0d, 1, {2}, floats, 8, 0, 1, -2.5f},
        {0x0b, 4, {2, 1, 2, 1}, words, 8, 3, -1, 32767}, {0x0c, 3, {2, 1, 1}, words, 8, 3, -65280, 163839},
        {0x09, 2, {2, 4}, words, 8, 1, -1, -1},
    };
    folder f;
    make_folder(&f);
    soma *s = soma_open(NULL);
    uint8_t file[64];
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        size_t size = make_idx(file, files[i].type, files[i].rank, files[i].dim, files[i].content, files[i].size);
        assert_true(faults_write(in_folder(&f, "x-images.idx3"), file, size));
        size = make_idx(file, i % 2 ? 0x0b : 0x0c, 1, (uint32_t[]){2}, i % 2 ? "\0\0\0\5" : "\0\0\0\0\0\0\0\5",
                        i % 2 ? 4 : 8);
        assert_true(faults_write(in_folder(&f, "x-labels.idx1"), file, size));
        soma_dataset *d = soma_dataset_open(s, in_folder(&f, "x-images.idx3"));
        if (!d)
            fail_msg("%s", soma_error(s));
        assert_int_equal(soma_dataset_input(d).shape.rank, files[i].input_rank);
        assert_true(soma_dataset_transform(d).scale == 1);
        float x[8];
        int32_t y[2];
        assert_int_equal(soma_dataset_read(d, (int64_t[]){0, 1}, 2, x, y), SOMA_OK);
        assert_true(x[0] == files[i].first);
        soma_type input = soma_dataset_input(d);
        int64_t n = input.shape.rank ? soma_shape_elements(&input.shape) : 1;
        assert_true(x[2 * n - 1] == files[i].last);
        assert_int_equal(y[0], 0);
        assert_int_equal(y[1], 5);
        soma_dataset_free(d);
    }
    soma_close(s);
    faults_folder_remove(f.path);
}

static void wrong_idx_files_and_options(void **state)
{
    (void)state;
    folder f;
    make_folder(&f);
    soma *s = soma_open(NULL);
#define REFUSED(status, part, ...)                                                                                     \
    do {                                                                                                               \
        soma_clear(s);                                                                                                 \
        assert_null(soma_dataset_open(s, __VA_ARGS__));                                                                \
        assert_says(s, status, part);                                                                                  \
    } while (0)
    REFUSED(SOMA_INVALID, "path is missing; say an IDX file", NULL);
    REFUSED(SOMA_INVALID, "the path is empty", "");
    REFUSED(SOMA_INVALID, "format cannot be \"idy\"; known are idx and image-folder; did you mean \"idx\"?", f.path,
            .format = "idy");
    REFUSED(SOMA_INVALID, "split cannot be \"validation\"; known are train, test and all", f.path,
            .split = "validation");
    REFUSED(SOMA_INVALID, "test_data.c:", f.path, .split = "tests");
    REFUSED(SOMA_INVALID, "limit is -1; it must be at least 0", f.path, .limit = -1);
    REFUSED(SOMA_IO, "holds neither train-images-idx3-ubyte nor train-images-idx3-ubyte.gz", f.path, .format = "idx");
    REFUSED(SOMA_IO, "holds neither t10k-images-idx3-ubyte nor", f.path, .split = "test", .format = "idx");
    REFUSED(SOMA_DATA, "holds neither MNIST's four files nor folders of pictures", f.path);
    REFUSED(SOMA_IO, "absent\": no such file or folder", in_folder(&f, "absent"));
    assert_true(faults_write(in_folder(&f, "pixels"), "soma", 4));
    REFUSED(SOMA_INVALID, "has no \"images\"", in_folder(&f, "pixels"));
    assert_true(faults_write(in_folder(&f, "images"), "soma", 4));
    REFUSED(SOMA_IO, "labels.gz\", but there is no such file; set .labels", in_folder(&f, "images"));
    REFUSED(SOMA_FORMAT, "byte 0: an IDX file begins with two zero bytes", in_folder(&f, "images"), .labels = "labels");
    make_mnist(&f);
    char images[512], labels[512];
    snprintf(images, sizeof images, "%s", in_folder(&f, "train-images-idx3-ubyte"));
    snprintf(labels, sizeof labels, "%s", in_folder(&f, "labels"));
    REFUSED(SOMA_FORMAT, "byte 3: labels have one dimension, but this file has 3", images, .labels = images);
    REFUSED(SOMA_DATA, "there are 3 classes, but a label is 4", images,
            .classes = (const char *[]){"a", "b", "c", NULL});
    REFUSED(SOMA_INVALID, "deviation -1", f.path, .transform = {.deviation = {-1}});
    REFUSED(SOMA_INVALID, "mean inf", f.path, .transform = {.mean = {HUGE_VAL}});
    REFUSED(SOMA_INVALID, "scale nan", f.path, .transform = {.scale = (double)NAN});
    uint8_t file[64];
    assert_true(faults_write(labels, file, make_idx(file, 8, 1, (uint32_t[]){5}, "\0\0\0\0\0", 5)));
    REFUSED(SOMA_FORMAT, "byte 4: there are 5 labels for 6 images", images, .labels = labels);
    assert_true(faults_write(labels, file, make_idx(file, 0x0b, 1, (uint32_t[]){6}, "\0\1\0\1\1\0\0\0\0\0\0\0", 12)));
    REFUSED(SOMA_DATA, "byte 12: label 2 is 256", images, .labels = labels);
    assert_true(faults_write(labels, file, make_idx(file, 9, 1, (uint32_t[]){6}, "\0\0\0\0\0\377", 6)));
    REFUSED(SOMA_DATA, "byte 13: label 5 is -1", images, .labels = labels);
    assert_true(faults_write(labels, file, make_idx(file, 0x0d, 1, (uint32_t[]){1}, "\0\0\0\0", 4)));
    REFUSED(SOMA_FORMAT, "byte 2: labels are whole numbers, but this file holds f32", images, .labels = labels);
#undef REFUSED
    assert_null(soma_dataset_open_with(NULL, NULL));
    soma_close(s);
    faults_folder_remove(f.path);
}

/* Each of the files cut at each byte: a sentence that names file and byte, nothing left in memory. */
static void idx_files_cut_at_each_byte(void **state)
{
    (void)state;
    static const char *const names[] = {"train-images-idx3-ubyte", "train-labels-idx1-ubyte",
                                        "t10k-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz"};
    folder f;
    make_folder(&f);
    make_mnist(&f);
    faults_memory memory = {0};
    soma *s = soma_open(
        &(soma_context_options){.struct_size = sizeof(soma_context_options), .allocator = faults_allocator(&memory)});
    for (int i = 0; i < 4; i++) {
        size_t size;
        char *whole = faults_read(in_folder(&f, names[i]), &size);
        assert_non_null(whole);
        for (size_t cut = 0; cut < size; cut++) {
            assert_true(faults_write(in_folder(&f, names[i]), whole, cut));
            soma_clear(s);
            assert_null(soma_dataset_open(s, f.path, .split = i < 2 ? "train" : "test"));
            assert_says(s, SOMA_FORMAT, names[i]);
            assert_says(s, SOMA_FORMAT, ": byte ");
            assert_int_equal(memory.blocks, 1);
        }
        assert_true(faults_write(in_folder(&f, names[i]), whole, size));
        free(whole);
    }
    soma_close(s);
    faults_folder_remove(f.path);
}

/* Opening, a part of it, reading; true when all went well. */
static bool use_dataset(soma *s, const char *path)
{
    float x[N * PIXELS];
    int32_t y[N];
    soma_dataset *d = soma_dataset_open(s, path, .split = "test");
    soma_dataset *part = soma_dataset_part(d, 1, 4, 7);
    bool done = part && !soma_dataset_read(part, (int64_t[]){0, 1, 2, 3}, 4, x, y);
    assert_true(done == !soma_failed(s));
    return done;
}

static void memory_that_fails(void **state)
{
    (void)state;
    folder f;
    make_folder(&f);
    make_mnist(&f);
    uint64_t k = 1;
    for (;; k++) {
        faults_memory memory = {.fail_at = k};
        soma *s = soma_open(&(soma_context_options){.struct_size = sizeof(soma_context_options),
                                                    .allocator = faults_allocator(&memory)});
        if (s && !use_dataset(s, f.path))
            assert_int_equal(soma_error_status(s), SOMA_MEMORY);
        soma_close(s);
        assert_int_equal(memory.blocks, 0);
        assert_int_equal(memory.mistakes, 0);
        if (!memory.failed)
            break;
    }
    assert_true(k > 12);
    faults_folder_remove(f.path);
}

static void files_that_fail(void **state)
{
    (void)state;
    folder f;
    make_folder(&f);
    make_mnist(&f);
    for (int kind = FAULTS_ERROR; kind <= FAULTS_SHORT; kind++)
        for (uint64_t k = 1;; k++) {
            faults_io io = {.fail_at = k, .kind = (faults_kind)kind};
            soma *s = soma_open(
                &(soma_context_options){.struct_size = sizeof(soma_context_options), .files = faults_files(&io)});
            bool done = use_dataset(s, f.path);
            assert_true(done || kind == FAULTS_ERROR);
            if (!done)
                assert_int_equal(soma_error_status(s), SOMA_IO);
            assert_int_equal(io.open, 0);
            soma_close(s);
            if (!io.failed) {
                assert_true(done && k > 6);
                break;
            }
        }
    faults_folder_remove(f.path);
}

/* ---- the transform ---- */

/* All lengths around the vector's, all bytes, the last element's neighbour untouched. */
static void bytes_become_numbers(void **state)
{
    (void)state;
    uint8_t x[300];
    float y[301];
    for (int i = 0; i < 300; i++)
        x[i] = (uint8_t)(i * 7);
    const float a = (float)(1 / 255.0), b = -0.25f;
    for (int64_t n = 0; n <= 300; n++) {
        y[n] = -7;
        soma_convert_u8(x, n, a, b, y);
        assert_true(y[n] == -7);
        for (int64_t i = 0; i < n; i++) {
            volatile float product = (float)x[i] * a; /* rounded on its own */
            assert_true(y[i] == product + b);
        }
    }
    uint8_t white = 255;
    soma_convert_u8(&white, 1, a, 0, y);
    assert_true(y[0] == 1);
}

static void means_and_deviations(void **state)
{
    (void)state;
    soma *s = soma_open(NULL);
    uint8_t pixels[2 * 3 * 30];
    float floats[2 * 3 * 30], y[2 * 3 * 30];
    for (int i = 0; i < 180; i++) {
        pixels[i] = (uint8_t)(i * 91 + 5);
        floats[i] = (float)pixels[i] / 16 - 3;
    }
    const soma_transform each = {.mean = {0.485, 0.456, 0.406}, .deviation = {0.229, 0.224, 1}};
    const soma_transform one = {.scale = 2, .mean = {0.5}, .deviation = {4}};
    for (int k = 0; k < 4; k++) {
        soma_tensor x = {k % 2 ? SOMA_F32 : SOMA_U8, SOMA_SHAPE(2, 3, 5, 6), k % 2 ? (void *)floats : (void *)pixels};
        soma_dataset *d = soma_dataset_arrays(s, .x = x, .transform = k < 2 ? each : one);
        assert_non_null(d);
        assert_int_equal(soma_dataset_read(d, (int64_t[]){1, 0}, 2, y, NULL), SOMA_OK);
        soma_transform t = soma_dataset_transform(d);
        assert_true(t.scale == (k >= 2 ? 2 : k ? 1 : 1.0 / 255));
        for (int i = 0; i < 180; i++) {
            int from = (i + 90) % 180, c = i / 30 % 3;
            double raw = k % 2 ? (double)floats[from] : pixels[from];
            double mean = k < 2 ? each.mean[c] : 0.5, deviation = k < 2 ? each.deviation[c] : 4;
            assert_true(t.mean[c] == mean && t.deviation[c] == deviation);
            assert_transformed(y[i], raw, t.scale, mean, deviation);
        }
        /* what is told can be given back, and means the same */
        float again[180];
        soma_dataset *same = soma_dataset_arrays(s, .x = x, .transform = t);
        assert_int_equal(soma_dataset_read(same, (int64_t[]){1, 0}, 2, again, NULL), SOMA_OK);
        assert_memory_equal(again, y, sizeof y);
    }
    const soma_transform wrong[] = {
        {.mean = {0.5, 0.4}}, {.deviation = {0.5, 0.4}}, {.mean = {0.5, 0.4, 0.3, 0.2}}, each};
    const soma_tensor rgb = {SOMA_U8, SOMA_SHAPE(2, 3, 5, 6), pixels},
                      grey = {SOMA_U8, SOMA_SHAPE(2, 1, 9, 10), pixels};
    for (int k = 0; k < 4; k++) {
        assert_null(soma_dataset_arrays(s, .x = k == 3 ? grey : rgb, .transform = wrong[k]));
        assert_says(s, SOMA_INVALID, k == 1 ? ".deviation has 2 numbers, but" : " numbers, but the data have ");
        soma_clear(s);
    }
    assert_non_null(soma_dataset_arrays(s, .x = rgb, .transform = {.mean = {0, 0.4, SOMA_ZERO}}));
    soma_tensor wide = {SOMA_U8, SOMA_SHAPE(2, 5, 18), pixels};
    soma_dataset *d = soma_dataset_arrays(s, .x = wide, .transform = one);
    assert_int_equal(soma_dataset_read(d, (int64_t[]){0}, 1, y, NULL), SOMA_OK);
    assert_transformed(y[89], pixels[89], 2, 0.5, 4);
    assert_null(soma_dataset_arrays(s, .x = wide, .transform = each));
    assert_says(s, SOMA_INVALID, "the data have 5");
    soma_close(s);
}

/* ---- names ---- */

static void a_name_is_looked_for_in_the_data_path(void **state)
{
    (void)state;
    folder empty, full;
    make_folder(&empty);
    make_folder(&full);
    make_mnist(&full);
    const char *name = strrchr(full.path, '/') + 1;
    char path[600], found[600];
    snprintf(path, sizeof path, ":%s:%.*s:", empty.path, (int)(name - 1 - full.path), full.path);
    soma *s = soma_open(&(soma_context_options){.struct_size = sizeof(soma_context_options), .data_path = path});
    memset(path, 'x', 8); /* the context has its own copy */
    assert_int_equal(soma_dataset_find(s, name, found, sizeof found), strlen(full.path));
    assert_string_equal(found, full.path);
    assert_int_equal(soma_dataset_find(s, name, found, strlen(full.path)), strlen(full.path));
    assert_string_equal(found, ""); /* no room for its end */
    assert_int_equal(soma_dataset_find(s, name, NULL, 0), strlen(full.path));
    soma_dataset *d = soma_dataset_open(s, name, .split = "test");
    assert_non_null(d);
    assert_int_equal(soma_dataset_count(d), N);
    assert_int_equal(soma_dataset_find(s, "no-such-data", found, sizeof found), 0);
    assert_string_equal(found, "");
    assert_null(soma_dataset_open(s, "no-such-data"));
    assert_says(s, SOMA_IO,
                "there is no data set \"no-such-data\": no such file or folder, and nothing of that name in ");
    assert_non_null(strstr(soma_error(s), empty.path));
    assert_non_null(strstr(soma_error(s), " or /"));
    soma_clear(s);
    snprintf(path, sizeof path, "%.*s:%s", (int)(name - 1 - full.path), full.path, empty.path);
    assert_true(faults_write(in_folder(&empty, name), "soma", 4)); /* a file of that name, in the second folder */
    soma *first = soma_open(&(soma_context_options){.struct_size = sizeof(soma_context_options), .data_path = path});
    soma_dataset_find(first, name, found, sizeof found);
    assert_string_equal(found, full.path);
    soma_close(first);
    assert_null(soma_dataset_open(s, "./no-such-data")); /* a path, not a name */
    assert_says(s, SOMA_IO, "\"./no-such-data\": no such file or folder");
    assert_null(strstr(soma_error(s), empty.path));
    soma_close(s);
    faults_folder_remove(empty.path);
    faults_folder_remove(full.path);
}

static void without_a_data_path_the_systems_folder_is_looked_in(void **state)
{
    (void)state;
    soma *s = soma_open(NULL);
    assert_null(soma_dataset_open(s, "no-such-data"));
    assert_says(s, SOMA_IO, "nothing of that name in " SOMA_DATA_PATH);
    soma_close(s);
    s = soma_open(&(soma_context_options){.struct_size = sizeof(soma_context_options), .data_path = ""});
    assert_null(soma_dataset_open(s, "fashion-mnist"));
    assert_says(s, SOMA_IO, "no such file or folder; on Debian");
    soma_close(s);
    /* headers from before the field: the default */
    s = soma_open(&(soma_context_options){.struct_size = offsetof(soma_context_options, data_path), .data_path = ""});
    assert_null(soma_dataset_open(s, "no-such-data"));
    assert_says(s, SOMA_IO, "nothing of that name in " SOMA_DATA_PATH);
    soma_close(s);
}

static void a_data_path_without_memory(void **state)
{
    (void)state;
    for (uint64_t k = 1;; k++) {
        faults_memory memory = {.fail_at = k};
        char found[64];
        soma *s = soma_open(&(soma_context_options){.struct_size = sizeof(soma_context_options),
                                                    .allocator = faults_allocator(&memory),
                                                    .data_path = "/nowhere:/nowhere/either"});
        assert_true(soma_failed(s) == (memory.failed > 0)); /* no context: failed */
        soma_dataset_find(s, "no-such-data", found, sizeof found);
        assert_null(soma_dataset_open(s, "no-such-data"));
        if (s)
            assert_says(s, memory.failed ? SOMA_MEMORY : SOMA_IO, "");
        soma_close(s);
        assert_int_equal(memory.blocks, 0);
        assert_int_equal(memory.mistakes, 0);
        if (!memory.failed)
            break;
    }
}

/* ---- Fashion-MNIST ---- */

static void fashion_mnist(void **state)
{
    (void)state;
    soma *s = soma_open(NULL);
    soma_dataset *train = soma_dataset_open(s, FASHION), *test = soma_dataset_open(s, FASHION, .split = "test");
    if (!train && strstr(soma_error(s), "no such file or folder")) {
        soma_close(s);
        print_message("skipped: " FASHION " is not there (Debian: dataset-fashion-mnist)\n");
        skip();
    }
    assert_non_null(train);
    assert_non_null(test);
    assert_int_equal(soma_dataset_count(train), 60000);
    assert_int_equal(soma_dataset_count(test), 10000);
    assert_int_equal(soma_dataset_classes(train), 10);
    assert_string_equal(soma_dataset_class(train, 8), "Bag");
    assert_in_range(soma_dataset_bytes(train), 60000 * 785, 60000 * 785 + 1000);
    static const int32_t train_labels[] = {9, 0, 0, 3, 0, 2, 7, 2, 5, 5},
                         test_labels[] = {9, 2, 1, 1, 6, 1, 4, 6, 5, 7};
    const int64_t first[] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9};
    int32_t labels[10];
    assert_int_equal(soma_dataset_read(train, first, 10, NULL, labels), SOMA_OK);
    assert_memory_equal(labels, train_labels, sizeof labels);
    assert_int_equal(soma_dataset_read(test, first, 10, NULL, labels), SOMA_OK);
    assert_memory_equal(labels, test_labels, sizeof labels);
    /* mean and deviation of all pixels, as everybody's transforms have them: 0.2860, 0.3530; 6000 of each class */
    double sum = 0, squares = 0;
    int of_class[10] = {0};
    static float x[784];
    for (int64_t i = 0; i < 60000; i++) {
        assert_int_equal(soma_dataset_read(train, &i, 1, x, labels), SOMA_OK);
        of_class[labels[0]]++;
        for (int k = 0; k < 784; k++) {
            sum += (double)x[k];
            squares += (double)x[k] * (double)x[k];
        }
    }
    double mean = sum / (60000 * 784.0), deviation = sqrt(squares / (60000 * 784.0) - mean * mean);
    assert_true(fabs(mean - 0.2860) < 5e-5);
    assert_true(fabs(deviation - 0.3530) < 5e-5);
    for (int c = 0; c < 10; c++)
        assert_int_equal(of_class[c], 6000);
    soma_close(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_folder_of_idx_files),
        cmocka_unit_test(a_name_that_contains_fashion_mnist),
        cmocka_unit_test(idx_of_other_types_and_ranks),
        cmocka_unit_test(wrong_idx_files_and_options),
        cmocka_unit_test(idx_files_cut_at_each_byte),
        cmocka_unit_test(memory_that_fails),
        cmocka_unit_test(files_that_fail),
        cmocka_unit_test(bytes_become_numbers),
        cmocka_unit_test(means_and_deviations),
        cmocka_unit_test(a_name_is_looked_for_in_the_data_path),
        cmocka_unit_test(without_a_data_path_the_systems_folder_is_looked_in),
        cmocka_unit_test(a_data_path_without_memory),
        cmocka_unit_test(fashion_mnist),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
