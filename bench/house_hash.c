/* SPDX-License-Identifier: Apache-2.0
 *
 * house_hash.c: SHA-256 (FIPS 180-4) of a model's weights after some steps, and a picture of Fashion-MNIST as PNG.
 */
#include "house.h"

#include <stdlib.h>
#include <string.h>

#if defined(__x86_64__)
#include <xmmintrin.h>
#endif
#ifdef SOMA_HAVE_PNG
#include <png.h>
#endif

/* ---- SHA-256 ---- */

typedef struct sha256 {
    uint32_t h[8];
    uint64_t bytes;
    unsigned char block[64];
} sha256;

static const uint32_t round_constants[64] = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2};

static uint32_t turn(uint32_t x, int n)
{
    return x >> n | x << (32 - n);
}

static void compress_block(sha256 *s)
{
    uint32_t w[64], v[8];
    for (int i = 0; i < 16; i++)
        w[i] = (uint32_t)s->block[4 * i] << 24 | (uint32_t)s->block[4 * i + 1] << 16 |
               (uint32_t)s->block[4 * i + 2] << 8 | s->block[4 * i + 3];
    for (int i = 16; i < 64; i++)
        w[i] = w[i - 16] + (turn(w[i - 15], 7) ^ turn(w[i - 15], 18) ^ w[i - 15] >> 3) + w[i - 7] +
               (turn(w[i - 2], 17) ^ turn(w[i - 2], 19) ^ w[i - 2] >> 10);
    memcpy(v, s->h, sizeof v);
    for (int i = 0; i < 64; i++) {
        uint32_t a = v[7] + (turn(v[4], 6) ^ turn(v[4], 11) ^ turn(v[4], 25)) + ((v[4] & v[5]) ^ (~v[4] & v[6])) +
                     round_constants[i] + w[i];
        uint32_t b = (turn(v[0], 2) ^ turn(v[0], 13) ^ turn(v[0], 22)) +
                     ((v[0] & v[1]) ^ (v[0] & v[2]) ^ (v[1] & v[2]));
        memmove(v + 1, v, 7 * sizeof *v);
        v[4] += a;
        v[0] = a + b;
    }
    for (int i = 0; i < 8; i++)
        s->h[i] += v[i];
}

static void sha256_begin(sha256 *s)
{
    static const uint32_t start[8] = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                                      0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
    memset(s, 0, sizeof *s);
    memcpy(s->h, start, sizeof start);
}

static void sha256_add(sha256 *s, const void *bytes, size_t size)
{
    for (const unsigned char *p = bytes, *end = p + size; p < end; p++) {
        s->block[s->bytes++ % 64] = *p;
        if (s->bytes % 64 == 0)
            compress_block(s);
    }
}

static void sha256_end(sha256 *s, char text[65])
{
    uint64_t bits = s->bytes * 8;
    sha256_add(s, "\x80", 1);
    while (s->bytes % 64 != 56)
        sha256_add(s, "", 1);
    for (int i = 7; i >= 0; i--) {
        unsigned char byte = (unsigned char)(bits >> (8 * i));
        sha256_add(s, &byte, 1);
    }
    for (int i = 0; i < 8; i++)
        snprintf(text + 8 * i, 9, "%08x", s->h[i]);
}

/* ---- weights ---- */

static int threads_now(void)
{
    char line[256];
    int n = 0;
    FILE *f = fopen("/proc/self/status", "r");
    while (f && fgets(line, sizeof line, f))
        if (!strncmp(line, "Threads:", 8))
            n = atoi(line + 8);
    if (f)
        fclose(f);
    return n;
}

static bool flushes(void)
{
#if defined(__x86_64__)
    return (_mm_getcsr() & 0x8040u) == 0x8040u; /* flush to zero, denormals are zero */
#else
    return false;
#endif
}

/* A NaN has many bits, and which of them come out is nobody's promise (vectors and tails differ even within one
 * array): all count as one number. */
static void add_floats(sha256 *s, const float *x, int64_t n)
{
    static const unsigned char nan[4] = {0x00, 0x00, 0xc0, 0x7f};
    for (int64_t i = 0; i < n; i++)
        sha256_add(s, x[i] != x[i] ? (const void *)nan : &x[i], sizeof x[i]);
}

static void hash_model(soma_model *m, char text[65])
{
    sha256 s;
    sha256_begin(&s);
    for (int i = 0; i < soma_tensor_count(m); i++) {
        soma_named_tensor t = soma_tensor_at(m, i);
        if (!strncmp(t.name, "optimizer/", 10))
            continue;
        sha256_add(&s, t.name, strlen(t.name));
        int64_t n = soma_shape_elements(&t.tensor.shape);
        if (t.tensor.dtype == SOMA_F32)
            add_floats(&s, t.tensor.data, n);
        else
            sha256_add(&s, t.tensor.data, (size_t)n * soma_dtype_size(t.tensor.dtype));
    }
    sha256_end(&s, text);
}

int house_hash(const options *o)
{
    char text[65];
    house_case c;
    sha256 known;
    sha256_begin(&known);
    sha256_add(&known, "abc", 3);
    sha256_end(&known, text);
    if (strcmp(text, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad")) { /* FIPS 180-4's example */
        fprintf(stderr, "soma-house: SHA-256 of \"abc\" is wrong: %s\n", text);
        return 1;
    }
#if defined(__x86_64__)
    if (o->flush)
        _mm_setcsr(_mm_getcsr() | 0x8040u);
#endif
    if (!house_open(&c, o->model, o))
        return 1;
    soma_fit_options fit = house_fit(&c);
    fit.max_steps = o->steps ? o->steps : 200;
    fit.epochs = c.kind->data == DATA_NOISE ? fit.max_steps : 5; /* noise is a few batches */
    bool done = soma_fit_with(c.m, &fit) == SOMA_OK;
    if (done) {
        hash_model(c.m, text);
        printf("threads %d\nflush %d\nhash %s\n", threads_now(), flushes(), text);
    }
    house_failed(&c);
    house_close(&c);
    return done ? 0 : 1;
}

/* ---- a picture ---- */

int house_png(const options *o)
{
#ifdef SOMA_HAVE_PNG
    soma *s = soma_open(NULL);
    soma_dataset *d = soma_dataset_open(s, o->data, .split = "test", .limit = 1);
    float x[28 * 28];
    png_byte pixels[28 * 28];
    int64_t first = 0;
    bool done = o->out && d && soma_dataset_read(d, &first, 1, x, NULL) == SOMA_OK;
    for (int i = 0; done && i < 28 * 28; i++)
        pixels[i] = (png_byte)(x[i] * 255 + 0.5f);
    png_image image = {.version = PNG_IMAGE_VERSION, .width = 28, .height = 28, .format = PNG_FORMAT_GRAY};
    done = done && png_image_write_to_file(&image, o->out, 0, pixels, 0, NULL);
    if (!done)
        fprintf(stderr, "soma-house: no picture was written: %s\n", soma_failed(s) ? soma_error(s) : image.message);
    soma_close(s);
    return done ? 0 : 1;
#else
    (void)o;
    fprintf(stderr, "soma-house: built without libpng\n");
    return 77;
#endif
}
