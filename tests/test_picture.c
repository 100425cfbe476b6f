/* SPDX-License-Identifier: Apache-2.0
 *
 * Pictures as inputs: resizing against Pillow (tests/fixtures/make_pictures.py), crops, borders, mirroring and channel
 * order by hand, draws that depend on (seed, epoch, sample) only, folders of pictures, what is refused.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>
#include <soma/data.h>

#include "data/dataset.h"
#include "faults.h"

#define PICTURES SOMA_SOURCE_DIR "/tests/fixtures/pictures"

static void assert_says(soma *s, const char *part)
{
    if (!strstr(soma_error(s), part))
        fail_msg("expected \"%s\", got \"%s\"", part, soma_error(s));
    soma_clear(s);
}

/* [n, 1, 4, 5] bytes: sample i's pixel p is 100 i + p + 1, so that 0 is a border. */
#define H 4
#define W 5
static soma_dataset *numbered(soma *s, uint8_t *pixels, int n, soma_transform t, soma_augment a)
{
    for (int i = 0; i < n * H * W; i++)
        pixels[i] = (uint8_t)(100 * (i / (H * W)) + i % (H * W) + 1);
    t.scale = 1;
    return soma_dataset_arrays(s, .x = {SOMA_U8, SOMA_SHAPE(n, 1, H, W), pixels}, .transform = t, .augment = a);
}

static void centre_crops(void **state)
{
    (void)state;
    soma *s = soma_open(NULL);
    uint8_t pixels[2 * H * W];
    float x[64];
    const struct {
        int64_t crop[2];
        int top, left; /* torchvision's CenterCrop: a half goes to the even neighbour, a border is smaller in front */
    } cases[] = {{{2, 3}, 1, 1}, {{4, 2}, 0, 2}, {{1, 4}, 2, 0}, {{6, 5}, -1, 0}, {{7, 8}, -1, -1}, {{3, 0}, 0, 1}};
    for (size_t k = 0; k < sizeof cases / sizeof *cases; k++) {
        int64_t h = cases[k].crop[0], w = cases[k].crop[1] ? cases[k].crop[1] : h;
        soma_transform t = {.crop = {cases[k].crop[0], cases[k].crop[1]}};
        soma_dataset *d = numbered(s, pixels, 2, t, (soma_augment){.flip = true, .random_crop = true, .padding = 2});
        soma_shape shape = soma_dataset_input(d).shape;
        assert_true(shape.rank == 3 && shape.dim[0] == 1 && shape.dim[1] == h && shape.dim[2] == w);
        assert_int_equal(soma_dataset_read(d, (int64_t[]){1}, 1, x, NULL), SOMA_OK); /* reading never augments */
        for (int64_t i = 0; i < h * w; i++) {
            int64_t r = i / w + cases[k].top, c = i % w + cases[k].left;
            bool inside = r >= 0 && r < H && c >= 0 && c < W;
            assert_true(x[i] == (inside ? (float)(uint8_t)(100 + r * W + c + 1) : 0));
        }
        soma_dataset_free(d);
    }
    soma_close(s);
}

/* A border is black before the scale, as in torchvision: 0 becomes (0 - mean) / deviation; bgr turns channels round,
 * and mean and deviation are of the channels as the model sees them. */
static void borders_scales_and_channel_order(void **state)
{
    (void)state;
    soma *s = soma_open(NULL);
    const uint8_t pixels[3] = {10, 20, 30};
    float x[9 * 3];
    soma_transform t = {.scale = 0.5, .mean = {1, 2, 3}, .deviation = {1, 2, 4}, .crop = {3}, .bgr = true};
    soma_dataset *d = soma_dataset_arrays(s, .x = {SOMA_U8, SOMA_SHAPE(1, 3, 1, 1), (void *)pixels}, .transform = t);
    assert_int_equal(soma_dataset_read(d, (int64_t[]){0}, 1, x, NULL), SOMA_OK);
    const float black[] = {-1, -1, -0.75f}, middle[] = {14, 4, 0.5f};
    for (int i = 0; i < 27; i++)
        assert_true(x[i] == (i % 9 == 4 ? middle : black)[i / 9]);
    soma_transform said = soma_dataset_transform(d);
    assert_true(said.crop[0] == 3 && said.crop[1] == 3 && said.bgr);
    t = (soma_transform){.scale = 1, .mean = {1, 2, 3}, .deviation = {2}}; /* one deviation is for all */
    d = soma_dataset_arrays(s, .x = {SOMA_U8, SOMA_SHAPE(1, 3, 1, 1), (void *)pixels}, .transform = t);
    assert_int_equal(soma_dataset_read(d, (int64_t[]){0}, 1, x, NULL), SOMA_OK);
    assert_true(x[0] == 4.5f && x[1] == 9 && x[2] == 13.5f);
    soma_close(s);
}

/* Every draw of an epoch is a window of the picture with its border, sometimes mirrored; all of them appear. */
static void random_crops_and_flips(void **state)
{
    (void)state;
    enum { N = 2, EPOCHS = 600 };
    soma *s = soma_open(NULL);
    uint8_t pixels[N * H * W];
    soma_dataset *d = numbered(s, pixels, N, (soma_transform){0},
                               (soma_augment){.flip = true, .random_crop = true, .padding = 2});
    soma_loader *l = soma_loader_new(d, .batch_size = N, .no_shuffle = true, .augment = true, .seed = 3);
    int seen[5][5][2] = {{{0}}};
    float x[N * H * W];
    for (int epoch = 0; epoch < EPOCHS; epoch++) {
        assert_int_equal(soma_loader_start(l, epoch, 0), SOMA_OK);
        assert_int_equal(soma_loader_fill(l, x, NULL), SOMA_OK);
        assert_int_equal(soma_loader_wait(l), SOMA_OK);
        int matches = 0;
        for (int top = -2; top <= 2; top++)
            for (int left = -2; left <= 2; left++)
                for (int flip = 0; flip < 2; flip++) {
                    bool same = true;
                    for (int i = 0; i < H * W && same; i++) {
                        int r = i / W + top, c = (flip ? W - 1 - i % W : i % W) + left;
                        same = x[i] == (r >= 0 && r < H && c >= 0 && c < W ? (float)pixels[r * W + c] : 0);
                    }
                    matches += same;
                    seen[top + 2][left + 2][flip] += same;
                }
        assert_int_equal(matches, 1);
    }
    for (int i = 0; i < 50;
         i++) /* 12 of each on average; 50 values under 600 draws: chi-square below 100 (p about 1e-5) */
        assert_true((&seen[0][0][0])[i] > 0);
    double chi = 0;
    for (int i = 0; i < 50; i++)
        chi += pow((&seen[0][0][0])[i] - EPOCHS / 50.0, 2) / (EPOCHS / 50.0);
    assert_true(chi < 100);
    soma_close(s);
}

/* Threads, batch size, order and what was read before change nothing; seed, epoch and sample do. */
static void draws_depend_on_the_sample_only(void **state)
{
    (void)state;
    enum { N = 2, SIZE = H * W };
    soma *s = soma_open(NULL);
    uint8_t pixels[N * SIZE];
    const soma_augment ways[] = {{.flip = true, .random_crop = true, .padding = 3},
                                 {.flip = true, .random_resized_crop = 0.1}};
    for (int way = 0; way < 2; way++) {
        soma_dataset *d = numbered(s, pixels, N, (soma_transform){0}, ways[way]);
        float first[2][20][SIZE] = {{{0}}}, x[SIZE * N];
        int different = 0;
        for (int threads = 0; threads < 3; threads++)
            for (int batch = 1; batch <= N; batch++) {
                soma_loader *l = soma_loader_new(d, .batch_size = batch, .no_shuffle = batch == 1, .threads = threads,
                                                 .augment = true, .seed = 9);
                for (int epoch = 19; epoch >= 0; epoch--) {
                    assert_int_equal(soma_loader_start(l, epoch, 0), SOMA_OK);
                    for (int64_t n; (n = soma_loader_ahead(l));) {
                        assert_int_equal(soma_loader_fill(l, x, NULL), SOMA_OK);
                        assert_int_equal(soma_loader_wait(l), SOMA_OK);
                        for (int64_t i = 0; i < n; i++) {
                            int64_t sample = soma_loader_indices(l)[i];
                            if (!threads && batch == 1)
                                memcpy(first[sample][epoch], x + i * SIZE, sizeof first[0][0]);
                            assert_memory_equal(first[sample][epoch], x + i * SIZE, sizeof first[0][0]);
                        }
                    }
                }
                soma_loader_free(l);
            }
        for (int epoch = 1; epoch < 20; epoch++)
            different += memcmp(first[0][0], first[0][epoch], sizeof first[0][0]) != 0;
        assert_true(different > 10);
        soma_dataset_free(d);
    }
    soma_close(s);
}

/* A ramp shows which box was cut out: its share of the area and its aspect ratio keep to the limits. */
static void random_boxes(void **state)
{
    (void)state;
    enum { SIDE = 64, OUT = 16 };
    soma *s = soma_open(NULL);
    float *ramp = malloc(2 * SIDE * SIDE * sizeof *ramp), x[2 * OUT * OUT];
    for (int i = 0; i < SIDE * SIDE; i++) {
        ramp[i] = (float)(i % SIDE) + 0.5f;
        ramp[SIDE * SIDE + i] = (float)(i / SIDE) + 0.5f;
    }
    soma_dataset *d = soma_dataset_arrays(s, .x = {SOMA_F32, SOMA_SHAPE(1, 2, SIDE, SIDE), ramp},
                                          .transform = {.resize = {OUT, OUT}},
                                          .augment = {.random_resized_crop = 0.25});
    soma_loader *l = soma_loader_new(d, .batch_size = 1, .augment = true);
    double least = 1, most = 0, narrow = 9, wide = 0;
    for (int epoch = 0; epoch < 400; epoch++) {
        assert_int_equal(soma_loader_start(l, epoch, 0), SOMA_OK);
        assert_int_equal(soma_loader_fill(l, x, NULL), SOMA_OK);
        assert_int_equal(soma_loader_wait(l), SOMA_OK);
        /* the filter is symmetric, so away from the edges a ramp is seen as it is: OUT pixels apart by width / OUT */
        double w = (double)(x[OUT - 3] - x[2]) / (OUT - 5) * OUT,
               h = (double)(x[OUT * OUT + OUT * (OUT - 3)] - x[OUT * OUT + OUT * 2]) / (OUT - 5) * OUT;
        double area = w * h / (SIDE * SIDE), ratio = w / h;
        assert_true(w < SIDE + 0.1 && h < SIDE + 0.1 && x[0] > 0 && x[OUT - 1] < SIDE);
        least = fmin(least, area), most = fmax(most, area), narrow = fmin(narrow, ratio), wide = fmax(wide, ratio);
    }
    assert_true(least > 0.23 && least < 0.3 && most > 0.9 && most < 1.01);
    assert_true(narrow > 0.70 && narrow < 0.8 && wide < 1.40 && wide > 1.25); /* sides are whole numbers */
    free(ramp);
    soma_close(s);
}

#if defined(SOMA_HAVE_JPEG) && defined(SOMA_HAVE_PNG)

static void resizing_as_pillow_does(void **state)
{
    (void)state;
    soma *s = soma_open(NULL);
    size_t size, used = 0;
    char *bytes = faults_read(PICTURES "/resized.f32", &size);
    const float *want = (const float *)(void *)bytes;
    const soma_transform cases[] = {{.scale = 1, .resize = {17, 24}},
                                    {.scale = 1, .resize = {50, 40}},
                                    {.scale = 1, .resize = {20}, .crop = {16, 16}}};
    const soma_shape shapes[] = {SOMA_SHAPE(3, 17, 24), SOMA_SHAPE(3, 50, 40), SOMA_SHAPE(3, 16, 16)};
    float x[3 * 50 * 40];
    for (int k = 0; k < 3; k++) {
        assert_int_equal(
            soma_image_read(s, PICTURES "/rgb.png", .shape = shapes[k], .transform = &cases[k], .pixels = x), SOMA_OK);
        int64_t n = soma_shape_elements(&shapes[k]);
        for (int64_t i = 0; i < n; i++)
            if (fabs((double)x[i] - (double)want[used + (size_t)i]) > 1e-3)
                fail_msg("case %d, element %d: %g, not %g", k, (int)i, (double)x[i], (double)want[used + (size_t)i]);
        used += (size_t)n;
    }
    /* a part of the picture, as random_resized_crop takes them: the filter stays within the part */
    soma_framing f = {.channels = 3, .height = 9, .width = 13, .scale = {.channels = 1, .identity = true}};
    soma_frame frame = {{3, 21, 9, 0, 9, false}, {5, 25, 13, 0, 13, false}};
    soma_image image;
    size_t png_size;
    char *png = faults_read(PICTURES "/rgb.png", &png_size);
    assert_int_equal(soma_image_decode(s, "rgb.png", png, png_size, &image), SOMA_OK);
    soma_source source = {.height = image.height, .width = image.width, .image = &image};
    soma_scratch scratch = {NULL, 0};
    assert_int_equal(soma_render(s, &scratch, &f, &frame, &source, x), SOMA_OK);
    for (int i = 0; i < 3 * 9 * 13; i++)
        assert_true(fabs((double)x[i] - (double)want[used + (size_t)i]) < 1e-3);
    assert_int_equal((used + 3 * 9 * 13) * 4, size);
    soma_release(s, scratch.block);
    soma_release(s, image.pixels);
    free(png);
    free(bytes);
    soma_close(s);
}

/* Photos much larger than what is seen of them, and what hides in the blocks beyond their edges: within a grey level
 * of the full picture on average, and in each outermost row and column alone. */
static void photos_made_smaller(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        int64_t height, width;
    } cases[] = {{"large", 16, 23}, {"large", 64, 94},     {"padding", 8, 8}, {"padding", 16, 16},
                 {"padding", 1, 1}, {"progressive", 4, 5}, {"turned6", 3, 2}, {"inks", 7, 5}};
    static const char *const parts[] = {"the picture", "its first row", "its last row", "its first column",
                                        "its last column"};
    soma *s = soma_open(NULL);
    size_t size, used = 0;
    char *bytes = faults_read(PICTURES "/smaller.f32", &size);
    const float *want = (const float *)(void *)bytes;
    for (size_t k = 0; k < sizeof cases / sizeof *cases; k++) {
        char path[512];
        int64_t h = cases[k].height, w = cases[k].width, n = 3 * h * w;
        float *x = malloc((size_t)n * sizeof *x);
        snprintf(path, sizeof path, PICTURES "/%s.jpg", cases[k].name);
        assert_int_equal(soma_image_read(s, path, .shape = SOMA_SHAPE(3, h, w), .pixels = x), SOMA_OK);
        double sum[5] = {0}, count[5] = {0};
        for (int64_t i = 0; i < n; i++) {
            int64_t row = i / w % h, column = i % w;
            bool within[5] = {true, row == 0, row == h - 1, column == 0, column == w - 1};
            double away = fabs((double)x[i] - (double)want[used + (size_t)i]);
            for (int e = 0; e < 5; e++) {
                sum[e] += within[e] ? away : 0;
                count[e] += within[e];
            }
        }
        for (int e = 0; e < 5; e++)
            if (sum[e] > count[e])
                fail_msg("%s at %d x %d: %s is %g away on average", cases[k].name, (int)w, (int)h, parts[e],
                         sum[e] / count[e]);
        used += (size_t)n;
        free(x);
    }
    assert_int_equal(used * sizeof *want, size);
    free(bytes);
    soma_close(s);
}

/* ---- folders ---- */

typedef struct tree {
    char path[256];
} tree;

static const char *in(const tree *t, const char *name)
{
    static char path[512];
    snprintf(path, sizeof path, "%s/%s", t->path, name);
    return path;
}

static void put(const tree *t, const char *name, const char *picture)
{
    size_t size;
    char *bytes = faults_read(picture, &size);
    assert_true(faults_write(in(t, name), bytes, size));
    free(bytes);
}

/* train/{b,a,empty}, test/{a,b}, with files that are no pictures between them */
static void make_tree(tree *t)
{
    const char *const folders[] = {"train",         "train/b", "train/a", "train/empty",
                                   "train/.hidden", "test",    "test/a",  "test/b"};
    assert_true(faults_folder(t->path));
    for (size_t i = 0; i < sizeof folders / sizeof *folders; i++)
        assert_int_equal(mkdir(in(t, folders[i]), 0700), 0);
    put(t, "train/b/2.JPG", PICTURES "/rgb.jpg");
    put(t, "train/b/1.png", PICTURES "/rgb.png");
    put(t, "train/b/10.jpeg", PICTURES "/grey.jpg");
    put(t, "train/a/x.jpg", PICTURES "/full.jpg");
    put(t, "train/a/.x.jpg", PICTURES "/full.jpg");
    assert_true(faults_write(in(t, "train/a/notes.txt"), "text", 4));
    assert_true(faults_write(in(t, "train/list.jpg"), "text", 4));
    put(t, "train/.hidden/x.jpg", PICTURES "/full.jpg");
    put(t, "test/b/x.jpg", PICTURES "/turned1.jpg");
}

static void remove_tree(const tree *t)
{
    char command[300];
    snprintf(command, sizeof command, "rm -r '%s'", t->path);
    assert_int_equal(system(command), 0);
}

static void folders_of_pictures(void **state)
{
    (void)state;
    tree t;
    make_tree(&t);
    soma *s = soma_open(NULL);
    soma_dataset *d = soma_dataset_open(s, t.path, .resize = {12, 10});
    if (!d)
        fail_msg("%s", soma_error(s));
    assert_int_equal(soma_dataset_count(d), 4);
    assert_int_equal(soma_dataset_classes(d), 3); /* a class without pictures is a class */
    assert_string_equal(soma_dataset_class(d, 0), "a");
    assert_string_equal(soma_dataset_class(d, 1), "b");
    assert_string_equal(soma_dataset_class(d, 2), "empty");
    soma_type type = soma_dataset_input(d);
    assert_true(type.shape.rank == 3 && type.shape.dim[0] == 3 && type.shape.dim[1] == 12 && type.shape.dim[2] == 10);
    const char *const files[] = {"full.jpg", "rgb.png", "grey.jpg", "rgb.jpg"}; /* a/x, b/1, b/10, b/2: by bytes */
    static float x[4][360], want[360];
    int32_t y[4];
    assert_int_equal(soma_dataset_read(d, (int64_t[]){0, 1, 2, 3}, 4, x, y), SOMA_OK);
    soma_transform how = soma_dataset_transform(d);
    assert_true(how.scale == 1.0 / 255);
    for (int i = 0; i < 4; i++) {
        char path[512];
        snprintf(path, sizeof path, PICTURES "/%s", files[i]);
        assert_int_equal(y[i], i > 0);
        assert_int_equal(soma_image_read(s, path, .shape = type.shape, .transform = &how, .pixels = want), SOMA_OK);
        assert_memory_equal(x[i], want, sizeof want);
    }
    /* parts, and batches by threads, are the same samples */
    soma_dataset *part = soma_dataset_part(d, 2, 2, 0), *mixed = soma_dataset_part(d, 0, 4, 7);
    assert_int_equal(soma_dataset_read(part, (int64_t[]){1}, 1, want, y), SOMA_OK);
    assert_memory_equal(want, x[3], sizeof want);
    assert_int_equal(soma_dataset_read(mixed, (int64_t[]){0}, 1, want, y), SOMA_OK);
    assert_memory_equal(want, x[mixed->rows[0]], sizeof want);
    static float batch[4][360];
    soma_loader *l = soma_loader_new(d, .batch_size = 4, .threads = 3, .seed = 1);
    assert_int_equal(soma_loader_fill(l, batch, y), SOMA_OK);
    assert_int_equal(soma_loader_wait(l), SOMA_OK);
    for (int i = 0; i < 4; i++)
        assert_memory_equal(batch[i], x[soma_loader_indices(l)[i]], sizeof want);
    d = soma_dataset_open(s, t.path, .split = "test", .format = "image-folder", .crop = {8}, .channels = 1);
    assert_int_equal(soma_dataset_count(d), 1);
    assert_int_equal(soma_dataset_input(d).shape.dim[0], 1);
    assert_int_equal(soma_dataset_read(d, (int64_t[]){0}, 1, want, y), SOMA_OK);
    assert_int_equal(y[0], 1);
    assert_int_equal(soma_dataset_count(soma_dataset_open(s, in(&t, "test"), .split = "test", .crop = {8})), 1);
    assert_false(soma_failed(s));
    soma_close(s);
    remove_tree(&t);
}

static void broken_pictures(void **state)
{
    (void)state;
    tree t;
    make_tree(&t);
    soma *s = soma_open(NULL);
    static float x[4 * 192];
    int32_t y[4];
    soma_dataset *d = soma_dataset_open(s, t.path, .resize = {8, 8});
    size_t size;
    char *bytes = faults_read(PICTURES "/rgb.jpg", &size);
    assert_true(faults_write(in(&t, "train/b/2.JPG"), bytes, size / 2));
    free(bytes);
    for (int threads = 0; threads < 3; threads++) {
        soma_loader *l = soma_loader_new(d, .batch_size = 4, .no_shuffle = true, .threads = threads);
        assert_int_equal(soma_loader_fill(l, x, y), SOMA_OK);
        assert_int_equal(soma_loader_wait(l), SOMA_FORMAT);
        assert_says(s, "train/b/2.JPG: byte ");
        soma_loader_free(l);
    }
    unlink(in(&t, "train/b/2.JPG"));
    assert_int_equal(soma_dataset_read(d, (int64_t[]){3}, 1, x, y), SOMA_IO);
    assert_says(s, "train/b/2.JPG");
    assert_int_equal(soma_dataset_read(d, (int64_t[]){2}, 1, x, y), SOMA_OK); /* the dataset goes on */
    soma_close(s);
    remove_tree(&t);
}

static char warned[1024];
static int warnings;
static void take_warning(void *user, soma_log_level level, const char *text)
{
    (void)user;
    warnings += level == SOMA_LOG_WARNING;
    snprintf(warned, sizeof warned, "%s", text);
}

/* One broken picture of four is warned of, and the next one stands in its place; two are too many. */
static void broken_pictures_skipped(void **state)
{
    (void)state;
    tree t;
    make_tree(&t);
    soma *s = soma_open(&(soma_context_options){.struct_size = sizeof(soma_context_options), .log = take_warning});
    static float x[4 * 192], good[192];
    int32_t y[4];
    assert_true(faults_write(in(&t, "train/a/x.jpg"), "x", 1));
    soma_dataset *d = soma_dataset_open(s, t.path, .resize = {8, 8}, .skip_broken = true);
    assert_int_equal(soma_dataset_read(d, (int64_t[]){1}, 1, good, y), SOMA_OK);
    for (int threads = 1; threads < 3; threads++) {
        soma_loader *l = soma_loader_new(d, .batch_size = 4, .no_shuffle = true, .threads = threads);
        for (int epoch = 0; epoch < 2; epoch++) {
            warnings = 0;
            assert_int_equal(soma_loader_start(l, epoch, 0), SOMA_OK);
            assert_int_equal(soma_loader_fill(l, x, y), SOMA_OK);
            assert_int_equal(soma_loader_wait(l), SOMA_OK);
            assert_int_equal(warnings, 1);
            assert_non_null(strstr(warned, "train/a/x.jpg: "));
            assert_memory_equal(x, good, sizeof good);
            assert_int_equal(y[0], 1); /* the label is the other picture's */
        }
        soma_loader_free(l);
    }
    assert_true(faults_write(in(&t, "train/b/10.jpeg"), "x", 1));
    soma_loader *l = soma_loader_new(d, .batch_size = 4, .no_shuffle = true, .threads = 1);
    assert_int_equal(soma_loader_fill(l, x, y), SOMA_OK);
    assert_int_equal(soma_loader_wait(l), SOMA_DATA);
    assert_says(s, "2 of 4 samples cannot be read, more than 1 %");
    assert_true(faults_write(in(&t, "train/b/1.png"), "x", 1));
    assert_true(faults_write(in(&t, "train/b/2.JPG"), "x", 1));
    assert_int_equal(soma_dataset_read(d, (int64_t[]){1}, 1, good, y), SOMA_FORMAT); /* none is left */
    soma_close(s);
    remove_tree(&t);
}

static void refused_folders(void **state)
{
    (void)state;
    tree t;
    make_tree(&t);
    soma *s = soma_open(NULL);
    assert_null(soma_dataset_open(s, t.path));
    assert_says(s, "pictures differ in size");
    assert_null(soma_dataset_open(s, t.path, .resize = {8}));
    assert_says(s, "pictures differ in size");
    assert_null(soma_dataset_open(s, in(&t, "train/a"), .crop = {8}));
    assert_says(s, "holds neither MNIST's four files nor folders of pictures");
    assert_null(soma_dataset_open(s, t.path, .format = "image-folders", .crop = {8}));
    assert_says(s, "did you mean \"image-folder\"?");
    assert_null(soma_dataset_open(s, t.path, .crop = {8}, .channels = 2));
    assert_says(s, ".channels = 2 is neither 1 (luma) nor 3");
    assert_null(soma_dataset_open(s, t.path, .crop = {8}, .channels = 1, .transform = {.bgr = true}));
    assert_says(s, "bgr is for 3 channels");
    assert_null(soma_dataset_open(s, t.path, .crop = {8}, .transform = {.crop = {8}}));
    assert_says(s, "give each once");
    assert_null(soma_dataset_open(s, t.path, .crop = {8, -1}));
    assert_says(s, ".crop: 8 x -1 is no size");
    assert_null(soma_dataset_open(s, t.path, .resize = {65536, 8}));
    assert_says(s, "at most 65535");
    assert_null(soma_dataset_open(s, t.path, .crop = {8}, .augment = {.padding = 4}));
    assert_says(s, ".random_crop = true may reach into");
    assert_null(
        soma_dataset_open(s, t.path, .crop = {8}, .augment = {.random_crop = true, .random_resized_crop = 0.5}));
    assert_says(s, "give one");
    assert_null(soma_dataset_open(s, t.path, .crop = {8}, .augment = {.random_resized_crop = 1.5}));
    assert_says(s, "at most 1 (ImageNet: 0.08)");
    unlink(in(&t, "test/b/x.jpg"));
    assert_null(soma_dataset_open(s, t.path, .split = "test", .crop = {8}));
    assert_says(s, "hold no pictures");
    rmdir(in(&t, "test/a"));
    rmdir(in(&t, "test/b"));
    rmdir(in(&t, "test"));
    assert_null(soma_dataset_open(s, t.path, .split = "test", .crop = {8}));
    assert_says(s, "holds a part \"train\", but neither \"test\" nor \"val\"");
    soma_close(s);
    remove_tree(&t);
}

static void memory_that_fails(void **state)
{
    (void)state;
    tree t;
    make_tree(&t);
    for (uint64_t k = 1;; k++) {
        faults_memory memory = {.fail_at = k};
        soma *s = soma_open(&(soma_context_options){.struct_size = sizeof(soma_context_options),
                                                    .allocator = faults_allocator(&memory)});
        soma_dataset *d = soma_dataset_open(s, t.path, .resize = {8, 8});
        soma_loader *l = d ? soma_loader_new(d, .batch_size = 4, .threads = 2) : NULL;
        float x[4 * 192];
        int32_t y[4];
        soma_status status = l ? soma_loader_fill(l, x, y) : SOMA_MEMORY;
        if (!status)
            status = soma_loader_wait(l);
        assert_int_equal(status, memory.failed ? SOMA_MEMORY : SOMA_OK);
        assert_true(!s || soma_error_status(s) == status);
        soma_close(s);
        assert_int_equal(memory.blocks, 0);
        assert_int_equal(memory.mistakes, 0);
        if (!memory.failed)
            break;
    }
    remove_tree(&t);
}
#endif

/* In-memory pictures that are moved: memory is taken in the first epoch only. */
static void epochs_allocate_nothing(void **state)
{
    (void)state;
    faults_memory memory = {0};
    soma *s = soma_open(
        &(soma_context_options){.struct_size = sizeof(soma_context_options), .allocator = faults_allocator(&memory)});
    uint8_t pixels[2 * H * W];
    float x[2 * 64];
    soma_dataset *d = numbered(s, pixels, 2, (soma_transform){.resize = {7, 6}, .crop = {8}},
                               (soma_augment){.flip = true, .random_crop = true, .padding = 1});
    soma_loader *l = soma_loader_new(d, .batch_size = 2, .threads = 1, .augment = true);
    uint64_t calls = 0;
    for (int64_t epoch = 0; epoch < 20; epoch++) {
        assert_int_equal(soma_loader_start(l, epoch, 0), SOMA_OK);
        assert_int_equal(soma_loader_fill(l, x, NULL), SOMA_OK);
        assert_int_equal(soma_loader_wait(l), SOMA_OK);
        if (epoch == 0)
            calls = memory.calls;
    }
    assert_int_equal(memory.calls, calls);
    soma_close(s);
    assert_int_equal(memory.blocks, 0);
    assert_int_equal(memory.mistakes, 0);
}

static void refused_transforms(void **state)
{
    (void)state;
    soma *s = soma_open(NULL);
    float x[6] = {0};
    const soma_tensor flat = {SOMA_F32, SOMA_SHAPE(2, 3), x};
    assert_null(soma_dataset_arrays(s, .x = flat, .transform = {.crop = {8}}));
    assert_says(s, "are for pictures [C, H, W], but a sample of the data has 1 dimensions");
    assert_null(soma_dataset_arrays(s, .x = flat, .augment = {.flip = true}));
    assert_says(s, "are for pictures");
    assert_int_equal(soma_image_read(s, "a.jpg", .shape = SOMA_SHAPE(3, 8, 8), .pixels = x,
                                     .transform = &(soma_transform){.resize = {10}, .crop = {9, 8}}),
                     SOMA_INVALID);
    assert_says(s, "the transform makes pictures of 9 x 8, but 8 x 8 are wanted");
    soma_close(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(centre_crops),
        cmocka_unit_test(borders_scales_and_channel_order),
        cmocka_unit_test(random_crops_and_flips),
        cmocka_unit_test(draws_depend_on_the_sample_only),
        cmocka_unit_test(random_boxes),
        cmocka_unit_test(epochs_allocate_nothing),
        cmocka_unit_test(refused_transforms),
#if defined(SOMA_HAVE_JPEG) && defined(SOMA_HAVE_PNG)
        cmocka_unit_test(resizing_as_pillow_does),
        cmocka_unit_test(photos_made_smaller),
        cmocka_unit_test(folders_of_pictures),
        cmocka_unit_test(broken_pictures),
        cmocka_unit_test(broken_pictures_skipped),
        cmocka_unit_test(refused_folders),
        cmocka_unit_test(memory_that_fails),
#endif
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
