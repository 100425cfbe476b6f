/* SPDX-License-Identifier: Apache-2.0
 *
 * tests/test_bits.c: the bits that soma promises to be the same everywhere: exact functions, initialisers, schedules,
 * augmentation, every op's reference kernel. Each row of tests/fixtures/bits.txt is a digest that every build must
 * find: both compilers, any optimisation, any instructions. It is built twice: as released, and (test_bits_fused) from
 * the same sources with -O3 and instructions that fuse products, which must change nothing.
 *
 *     test_bits --print > tests/fixtures/bits.txt      after a change of bits that CHANGELOG names (NUMERICS)
 */
#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cpu/parallel.h"
#include "base/exact.h"
#include "base/random.h"
#include "data/frame.h"
#include "graph/fill.h"
#include "kernel_call.h"
#include "op/update/update.h"
#include "op_samples.h"

enum { NAME = 160, MOST_ROWS = 4096 };
static struct row {
    char name[NAME];
    uint64_t digest;
} known[MOST_ROWS];
static int rows, checked, unknown, failed;
static bool print;

/* A NaN has many bits, which no one promises: all of them count as one. */
static uint64_t add(uint64_t digest, double x)
{
    uint64_t bits;
    if (x != x)
        bits = UINT64_C(0x7ff8000000000000);
    else
        memcpy(&bits, &x, sizeof bits);
    return soma_hash_bytes(digest, &bits, sizeof bits);
}

static bool nan_is_one_number(void)
{
    static const uint64_t nans[] = {0x7ff8000000000000, 0xfff8000000000000, 0x7ff8000000000001, 0xffffffffffffffff};
    bool same = true;
    for (int i = 0; i < 4; i++) {
        double x;
        memcpy(&x, &nans[i], sizeof x);
        same = same && add(7, x) == add(7, (double)NAN);
    }
    return same && add(7, 0.0) != add(7, -0.0);
}

static void report(const char *name, uint64_t digest)
{
    if (print) {
        printf("%016llx %s\n", (unsigned long long)digest, name);
        return;
    }
    for (int i = 0; i < rows; i++)
        if (strcmp(known[i].name, name) == 0) {
            checked++;
            if (known[i].digest == digest)
                return;
            failed++;
            fprintf(stderr, "%s: other bits than in tests/fixtures/bits.txt\n", name);
            return;
        }
    unknown++;
}

static void read_known(void)
{
    unsigned long long digest;
    FILE *f = fopen(SOMA_SOURCE_DIR "/tests/fixtures/bits.txt", "r");
    while (f && rows < MOST_ROWS && fscanf(f, "%llx %159[^\n]", &digest, known[rows].name) == 2)
        known[rows++].digest = digest;
    if (f && rows == MOST_ROWS)
        fprintf(stderr, "tests/fixtures/bits.txt has more rows than this test reads: raise MOST_ROWS\n");
    failed += rows == MOST_ROWS;
    if (f)
        fclose(f);
}

/* ---- exact functions ---- */

static double draw(uint64_t i, double low, double high)
{
    uint32_t four[4];
    soma_draw(NULL, 3, SOMA_STREAM_INIT, 1, 0, i, four);
    return low + (high - low) * soma_unit_f64(four[0], four[1]);
}

static void exact_functions(void)
{
    static const struct {
        const char *name;
        double (*fn)(double), low, high;
    } all[] = {{"exp", soma_exact_exp, -750, 720}, {"log", soma_exact_log, 0, 1e6},
               {"tanh", soma_exact_tanh, -25, 25}, {"sigmoid", soma_exact_sigmoid, -60, 60},
               {"sin", soma_exact_sin, -1e5, 1e5}, {"cos", soma_exact_cos, -1e5, 1e5},
               {"sqrt", soma_exact_sqrt, 0, 1e10}};
    char name[NAME];
    for (size_t k = 0; k < sizeof all / sizeof all[0]; k++) {
        uint64_t digest = 0;
        for (uint64_t i = 0; i < 4000; i++)
            digest = add(digest, all[k].fn(i % 2 ? draw(i, all[k].low, all[k].high) : draw(i, -1, 1)));
        snprintf(name, sizeof name, "exact %s", all[k].name);
        report(name, digest);
    }
    uint64_t digest = 0;
    for (uint64_t i = 0; i < 4000; i++)
        digest = add(digest, soma_exact_pow(draw(i, 0, 3), draw(i + 5000, -40, 40)));
    report("exact pow", digest);
}

/* ---- initialisers ---- */

static void initialisers(void)
{
    char name[NAME];
    for (int k = 0; soma_init_names[k]; k++)
        for (int wide = 0; wide < 2; wide++) {
            union {
                float f[1024];
                double d[1024];
            } data;
            soma_model_tensor t = {.name = "w",
                                   .type = {wide ? SOMA_F64 : SOMA_F32, SOMA_SHAPE(24, 9, 2, 2)},
                                   .init = {.init = soma_init_names[k], .a = -0.3, .b = 0.7},
                                   .site = 12345};
            uint64_t digest = 0;
            if (soma_fill_tensor(NULL, 77, &t, &data) != SOMA_OK)
                exit(1);
            for (int i = 0; i < 24 * 9 * 4; i++)
                digest = add(digest, wide ? data.d[i] : (double)data.f[i]);
            snprintf(name, sizeof name, "init %s %s", soma_init_names[k], wide ? "f64" : "f32");
            report(name, digest);
        }
}

/* ---- schedules: the rate at every step, and Adam's corrections far into training ---- */

static void schedules(void)
{
    static const char *const attrs[] = {"lr=0.013", "schedule=inverse_time lr=0.013 decay=0.0007",
                                        "schedule=one_cycle lr=0.013 total_steps=997"};
    char name[NAME];
    for (int k = 0; k < 3; k++) {
        uint64_t digest = 0;
        char values[SOMA_ATTRS_MAX], reason[SOMA_REASON_MAX];
        if (soma_attrs_parse(&soma_op_learning_rate, values, attrs[k], reason) != SOMA_OK)
            exit(1);
        for (int32_t step = 0; step < 1000; step++) {
            float rate = 0;
            kernel_call c = {.op = &soma_op_learning_rate, .attrs = values, .n_in = 1, .n_out = 1};
            c.arg[0] = (soma_tensor){SOMA_I32, SOMA_SCALAR, &step};
            c.arg[1] = (soma_tensor){SOMA_F32, SOMA_SCALAR, &rate};
            if (kernel_call_run(&c, soma_op_learning_rate.kernels[0]) != SOMA_OK)
                exit(1);
            digest = add(digest, (double)rate);
        }
        snprintf(name, sizeof name, "rate %s", attrs[k]);
        report(name, digest);
    }
    uint64_t digest = 0;
    for (int64_t t = 1; t < 3000000; t = t * 3 / 2 + 1)
        digest = add(add(digest, soma_power(0.9, t)), soma_power(0.999, t));
    report("adam's powers", digest);
}

/* ---- augmentation: frames drawn, and pictures rendered by them ---- */

static void augmentation(void)
{
    soma *s = soma_open(NULL);
    soma_framing f = {.channels = 3};
    f.transform.resize[0] = f.transform.resize[1] = 20;
    f.augment.flip = true;
    f.augment.random_resized_crop = 0.2;
    static uint8_t bytes[3 * 37 * 53];
    static float y[3 * 20 * 20];
    soma_random random = {.draw = soma_philox};
    soma_chance chance = {&random, 5, 2};
    soma_scratch scratch = {0};
    uint64_t frames = 0, pictures = 0;
    if (soma_framing_resolve(s, (soma_at){0}, &f, 1.0 / 255, 37, 53) != SOMA_OK) {
        fprintf(stderr, "%s\n", soma_error(s));
        exit(1);
    }
    for (int i = 0; i < 3 * 37 * 53; i++)
        bytes[i] = (uint8_t)(draw((uint64_t)i, 0, 256));
    for (int64_t i = 0; i < 300; i++) {
        soma_frame frame = soma_frame_of(&f, &chance, i, 37, 53);
        const soma_axis *axes[] = {&frame.y, &frame.x};
        for (int k = 0; k < 2; k++)
            frames = add(add(add(frames, (double)axes[k]->low), (double)axes[k]->high), axes[k]->mirrored);
        soma_source source = {.height = 37, .width = 53, .bytes = bytes};
        if (i < 40 && soma_render(s, &scratch, &f, &frame, &source, y) != SOMA_OK)
            exit(1);
        for (int k = 0; i < 40 && k < 3 * 20 * 20; k++)
            pictures = add(pictures, (double)y[k]);
    }
    soma_release(s, scratch.block);
    soma_close(s);
    report("augmentation frames", frames);
    report("augmentation pictures", pictures);
}

/* ---- reference kernels ---- */

/* In f64, where no rounding to f32 hides a last bit. */
static void reference(const soma_op *op, const soma_sample *sample)
{
    char error[512], name[NAME];
    sample_case c;
    sample_begin(&c, op, sample);
    snprintf(name, sizeof name, "%s \"%s\" of %016llx", op->name, sample->name, (unsigned long long)sample_hash(&c));
    uint64_t digest = add(0, sample_run(&c, op, SOMA_F64, true, error, sizeof error));
    for (int j = 0; j < c.n_out; j++)
        for (int64_t i = 0; c.out[j].at && i < c.out[j].n; i++)
            digest = add(digest, c.out[j].at[i]);
    sample_end(&c);
    report(name, digest);
}

int main(int argc, char **argv)
{
    print = argc > 1 && strcmp(argv[1], "--print") == 0;
#ifdef SOMA_TEST_FUSED
    if (soma_cpu_isa() < 2) {
        printf("this CPU fuses no products (AVX2 and FMA): skipped\n");
        return 77;
    }
#endif
    if (!print)
        read_known();
    bool one = nan_is_one_number();
    exact_functions();
    initialisers();
    schedules();
    augmentation();
    for (int i = 0; soma_op_at(i); i++)
        for (const soma_sample *sample = soma_op_at(i)->samples; sample && sample->name; sample++)
            reference(soma_op_at(i), sample);
    if (print)
        return 0;
    printf("%d digests of %d are as known, %d rows of the file have no case here, %d cases have no row (--print)\n",
           checked - failed, checked, rows - checked, unknown);
    bool fine = failed == 0 && checked >= 100;
    printf("%s promised_bits_are_known\n", fine ? "ok" : "FAILED");
    printf("%s nan_is_one_number\n", one ? "ok" : "FAILED");
    return !fine || !one;
}
