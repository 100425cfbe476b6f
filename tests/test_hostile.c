/* SPDX-License-Identifier: Apache-2.0
 *
 * Damaged and hostile files by the hundred, the same ones every time: files that soma wrote (none may be accepted),
 * files of other programs (none may be accepted where a size or an offset does not fit), pictures. Whatever is refused
 * leaves the model, its tensors' every bit and the memory in use as they were.
 * usage: test_hostile [MUTANTS]   of each kind (150)
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/random.h"
#include "faults.h"
#include "io/safetensors.h"

#include <soma/soma.h>

static int mutants = 150;
static char folder[256], path[300];

static int make_folder(void **state)
{
    (void)state;
    if (!faults_folder(folder))
        return -1;
    snprintf(path, sizeof path, "%s/mutant", folder);
    return 0;
}

static int remove_folder(void **state)
{
    (void)state;
    faults_folder_remove(folder);
    return 0;
}

/* ---- mutants ---- */

static uint32_t below(uint32_t *state, size_t n)
{
    *state = *state * 1664525u + 1013904223u;
    return (uint32_t)((uint64_t)(*state >> 4) * n >> 28);
}

/* Moves the bytes behind `at` by `by`, within room. */
static size_t shift(uint8_t *bytes, size_t size, size_t at, long by)
{
    size_t rest = size - at;
    if (by < 0) {
        size_t n = (size_t)-by < rest ? (size_t)-by : rest;
        memmove(bytes + at, bytes + at + n, rest - n);
        return size - n;
    }
    memmove(bytes + at + by, bytes + at, rest);
    return size + (size_t)by;
}

/* One to three changes; half of them within the first `head` bytes, where sizes, names and tables stand. `bytes` has
 * room for 512 more. Returns the new size. */
static size_t mutate(uint32_t *r, uint8_t *bytes, size_t size, size_t head)
{
    for (uint32_t n = 1 + below(r, 3); n; n--) {
        size_t within = below(r, 2) && head < size ? head : size;
        if (!within)
            return 0;
        size_t at = below(r, within), other = below(r, size), length = 1 + below(r, 64);
        length = at + length > size ? size - at : length;
        length = other + length > size ? size - other : length;
        switch (below(r, 11)) {
        case 0:
            bytes[at] ^= (uint8_t)(1u << below(r, 8));
            break;
        case 1:
            bytes[at] = (uint8_t)below(r, 256);
            break;
        case 2:
            bytes[at] = (uint8_t) "\xff\x7f\x80\x00"[below(r, 4)];
            break;
        case 3:
            bytes[at] = (uint8_t) "0123456789-.eE[]{}:,\" \\"[below(r, 23)];
            break;
        case 4:
            size = at;
            break;
        case 5:
            size = shift(bytes, size, at, (long)length);
            break; /* the block stands there twice */
        case 6:
            size = shift(bytes, size, at, -(long)length);
            break;
        case 7:
            memset(bytes + at, below(r, 2) ? 0 : 0xff, length);
            break;
        case 8:
            memmove(bytes + at, bytes + other, length);
            break;
        case 9:
            bytes[below(r, size < 8 ? size : 8)] = (uint8_t)below(r, 256);
            break;
        default:
            memset(bytes + size, (int)below(r, 256), length), size += length;
            break;
        }
    }
    return size;
}

/* The i-th mutant of a file, never the file itself. */
static size_t mutant_of(uint32_t i, const char *good, size_t size, size_t head, uint8_t *bytes)
{
    uint32_t r = i * 2654435761u + 1;
    for (;;) {
        memcpy(bytes, good, size);
        size_t n = mutate(&r, bytes, size, head);
        if (n != size || memcmp(bytes, good, size))
            return n;
    }
}

/* ---- what must not change ---- */

typedef struct snapshot {
    uint64_t hash, memory;
} snapshot;

static snapshot look(soma *s, soma_model *m)
{
    snapshot now = {1, soma_memory_use(s).now};
    for (int i = 0; i < soma_tensor_count(m); i++) {
        soma_named_tensor t = soma_tensor_at(m, i);
        now.hash = soma_hash_bytes(now.hash, t.tensor.data,
                                   (size_t)soma_shape_elements(&t.tensor.shape) * soma_dtype_size(t.tensor.dtype));
    }
    return now;
}

/* After a refusal: a sentence that names the file, and nothing else. */
static void assert_untouched(soma *s, soma_model *m, snapshot before, const char *what, int i)
{
    if (!soma_failed(s) || !strstr(soma_error(s), "mutant"))
        fail_msg("%s %d: refused without a sentence that names the file: \"%s\"", what, i, soma_error(s));
    soma_clear(s);
    snapshot after = look(s, m);
    if (after.hash != before.hash || after.memory != before.memory)
        fail_msg("%s %d: the refusal changed the %s", what, i, after.hash != before.hash ? "tensors" : "memory in use");
}

static soma_model *small_model(soma *s)
{
    soma_model *m = soma_model_new(s, "small");
    soma_value x = soma_input(m, "x", SOMA_F32, SOMA_SHAPE(3, 8, 8));
    x = soma_conv2d(x, .filters = 4, .kernel = {3, 3}, .activation = "relu", .name = "conv1");
    x = soma_max_pool2d(x, .size = {2, 2});
    x = soma_dense(soma_flatten(x), .units = 5, .name = "fc");
    soma_output(m, "y", x);
    soma_initialize(m, 3);
    assert_false(soma_failed(s));
    return m;
}

/* ---- model files ---- */

static void files_that_soma_wrote(void **state)
{
    (void)state;
    soma *s = soma_open(&(soma_context_options){.struct_size = sizeof(soma_context_options), .threads = 1});
    soma_model *m = small_model(s);
    assert_int_equal(soma_save(m, path), SOMA_OK);
    size_t size;
    char *good = faults_read(path, &size);
    uint8_t *bytes = malloc(size + 512);
    uint64_t header = 0;
    memcpy(&header, good, sizeof header);
    soma_model_free(soma_load(s, path));
    snapshot before = look(s, m);
    int accepted = 0;
    for (int i = 0; i < mutants; i++) {
        size_t n = mutant_of((uint32_t)i, good, size, (size_t)header + 8, bytes);
        assert_true(faults_write(path, bytes, n));
        if (soma_load(s, path))
            accepted++;
        else
            assert_untouched(s, m, before, "mutant of soma's file", i);
    }
    printf("files that soma wrote: %d mutants, %d accepted\n", mutants, accepted);
    assert_int_equal(accepted, 0);
    free(good);
    free(bytes);
    soma_close(s);
}

/* A file as other programs write them: no hash, types of any size, spaces that fill up the header. */
typedef struct entry {
    const char *name, *dtype;
    int64_t element, dim[4], begin, end;
    int rank;
} entry;
static const entry foreign[] = {
    {"conv1.bias", "F32", 4, {4}, 0, 16, 1}, {"conv1.weight", "F32", 4, {4, 3, 3, 3}, 16, 448, 4},
    {"fc.bias", "F32", 4, {5}, 448, 468, 1}, {"fc.weight", "F32", 4, {5, 36}, 468, 1188, 2},
    {"half", "F16", 2, {3}, 1188, 1194, 1},  {"steps", "I64", 8, {1}, 1194, 1202, 1}};
enum { ENTRIES = sizeof foreign / sizeof *foreign, DATA = 1202 };

static size_t write_foreign(const entry *entries, uint8_t *bytes)
{
    char *text = (char *)bytes + 8;
    int n = sprintf(text, "{\"__metadata__\":{\"format\":\"pt\"}");
    for (int i = 0; i < ENTRIES; i++) {
        const entry *e = &entries[i];
        n += sprintf(text + n, ",\"%s\":{\"dtype\":\"%s\",\"shape\":[", e->name, e->dtype);
        for (int d = 0; d < e->rank; d++)
            n += sprintf(text + n, "%s%lld", d ? "," : "", (long long)e->dim[d]);
        n += sprintf(text + n, "],\"data_offsets\":[%lld,%lld]}", (long long)e->begin, (long long)e->end);
    }
    n += sprintf(text + n, "}");
    while (n % 8)
        text[n++] = ' ';
    uint64_t length = (uint64_t)n;
    memcpy(bytes, &length, sizeof length);
    for (int i = 0; i < DATA; i++)
        bytes[8 + n + i] = (uint8_t)(i % 61);
    return 8 + (size_t)n + DATA;
}

/* One number or type of the table wrong, so that something does not fit any more. */
static void spoil(uint32_t *r, entry *entries)
{
    entry *e = &entries[below(r, ENTRIES)];
    static const int64_t wrong[] = {-1, 1, 2, 7, -8, 1000, INT64_C(1) << 32, INT64_C(1) << 62, INT64_MIN / 2};
    int64_t by = wrong[below(r, sizeof wrong / sizeof *wrong)];
    switch (below(r, 4)) {
    case 0:
        e->dim[below(r, (size_t)e->rank)] += by;
        break;
    case 1:
        e->begin += by;
        break;
    case 2:
        e->end += by;
        break;
    default:
        e->dtype = e->element == 4 ? (by > 0 ? "F64" : "F16") : "F32";
        break;
    }
}

/* By the format's own rules: every tensor as large as its type and shape say, all data covered once, none beyond the
 * end. */
static bool fits(const soma_safetensors *f)
{
    static const struct {
        const char *name;
        uint64_t bytes;
    } types[] = {{"F64", 8}, {"F32", 4}, {"F16", 2}, {"BF16", 2}, {"I64", 8}, {"I32", 4}, {"I16", 2},
                 {"I8", 1},  {"U64", 8}, {"U32", 4}, {"U16", 2},  {"U8", 1},  {"BOOL", 1}};
    uint64_t covered = 0;
    for (int i = 0; i < f->n_tensors; i++) {
        const soma_file_tensor *t = &f->tensors[i];
        uint64_t elements = 1, bytes = 0;
        for (int d = 0; d < t->shape.rank; d++)
            elements *= (uint64_t)t->shape.dim[d];
        for (size_t k = 0; k < sizeof types / sizeof *types; k++)
            bytes = strcmp(types[k].name, t->dtype_name) ? bytes : types[k].bytes;
        if (t->begin > t->end || t->end > f->data_size || (bytes && elements * bytes != t->end - t->begin))
            return false;
        covered += t->end - t->begin;
        for (int k = 0; k < i; k++)
            if (t->begin < f->tensors[k].end && f->tensors[k].begin < t->end)
                return false;
    }
    return covered == f->data_size;
}

/* Even mutants: a number of the table does not fit, all must be refused. Odd ones: anything anywhere. */
static void files_of_others(void **state)
{
    (void)state;
    soma *s = soma_open(&(soma_context_options){.struct_size = sizeof(soma_context_options), .threads = 1});
    soma_model *m = small_model(s);
    uint8_t good[4096], bytes[4096];
    size_t size = write_foreign(foreign, good);
    int accepted = 0, misfits = 0;
    soma_safetensors f;
    assert_true(faults_write(path, good, size));
    assert_int_equal(soma_safetensors_open(&f, s, path), SOMA_OK);
    assert_int_equal(f.n_tensors, ENTRIES);
    assert_true(fits(&f));
    soma_safetensors_close(&f);
    assert_int_equal(soma_load_weights(m, path, .partial = true), SOMA_OK);
    int loaded = 0;
    for (int i = 0; i < mutants; i++) {
        snapshot before = look(s, m);
        size_t n;
        if (i % 2) {
            n = mutant_of((uint32_t)i, (const char *)good, size, size - DATA, bytes);
        } else {
            entry entries[ENTRIES];
            uint32_t r = (uint32_t)i * 2654435761u + 7;
            memcpy(entries, foreign, sizeof entries);
            spoil(&r, entries);
            n = write_foreign(entries, bytes);
        }
        assert_true(faults_write(path, bytes, n));
        if (soma_safetensors_open(&f, s, path) == SOMA_OK) {
            accepted++;
            misfits += i % 2 == 0 || !fits(&f);
            soma_safetensors_close(&f);
        } else {
            assert_untouched(s, m, before, "mutant of another's file", i);
        }
        assert_null(soma_load(s, path)); /* no description of a model in it */
        assert_untouched(s, m, before, "mutant of another's file", i);
        if (soma_load_weights(m, path, .partial = i % 4 < 2) == SOMA_OK) {
            loaded++;
            misfits += i % 2 == 0;
        } else {
            before.memory = soma_memory_use(s).now; /* the report of names is new */
            assert_untouched(s, m, before, "weights of another's mutant", i);
        }
    }
    assert_true(loaded > 0);
    printf("files of other programs: %d mutants, %d accepted (names, values), %d loaded as weights, %d of them where a "
           "size or "
           "offset does not fit\n",
           mutants, accepted, loaded, misfits);
    assert_int_equal(misfits, 0);
    soma_close(s);
}

/* ---- pictures ---- */

#if defined(SOMA_HAVE_JPEG) && defined(SOMA_HAVE_PNG)
static void pictures(void **state)
{
    (void)state;
    static const char *const names[] = {"rgb.jpg",    "progressive.jpg", "inks.jpg",   "turned6.jpg", "rgb.png",
                                        "grey.png",
#ifdef SOMA_HAVE_WEBP
                                        "lossy.webp", "lossless.webp",   "alpha.webp", "turned.webp"
#endif
    };
    static float x[3 * 9 * 7];
    soma *s = soma_open(&(soma_context_options){.struct_size = sizeof(soma_context_options), .threads = 1});
    soma_model *m = small_model(s);
    int count = mutants / 3, read = 0, checked = 0;
    for (size_t k = 0; k < sizeof names / sizeof *names; k++) {
        char file[512];
        size_t size;
        snprintf(file, sizeof file, SOMA_SOURCE_DIR "/tests/fixtures/pictures/%s", names[k]);
        char *good = faults_read(file, &size);
        uint8_t *bytes = malloc(size + 512);
        snapshot before = look(s, m);
        for (int i = 0; i < count; i++) {
            size_t n = mutant_of((uint32_t)i + 1000, good, size, size / 3, bytes);
            assert_true(faults_write(path, bytes, n));
            if (soma_image_read(s, path, .shape = SOMA_SHAPE(3, 9, 7), .pixels = x) == SOMA_OK)
                read++;
            else
                assert_untouched(s, m, before, names[k], i);
            checked++;
            assert_int_equal(soma_memory_use(s).now, before.memory);
        }
        free(good);
        free(bytes);
    }
    printf("pictures: %d mutants, %d read\n", checked, read);
    assert_true(read < checked * 3 / 4); /* damage is found, most of it */
    soma_close(s);
}
#endif

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(files_that_soma_wrote),
        cmocka_unit_test(files_of_others),
#if defined(SOMA_HAVE_JPEG) && defined(SOMA_HAVE_PNG)
        cmocka_unit_test(pictures),
#endif
    };
    if (argc > 1)
        mutants = atoi(argv[1]);
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
