/* SPDX-License-Identifier: Apache-2.0
 *
 * Reads pictures by the public API, for bench/pictures.py and bar 4 of the first user.
 * usage: soma-pictures            lines "HEIGHT WIDTH PATH" on standard input; f32 [3, H, W] on standard output
 *        soma-pictures rate PATH HEIGHT WIDTH [SECONDS]    pictures a second of the CPU
 *        soma-pictures encode PPM JPEG H V QUALITY PROGRESSIVE    chroma sampled once for H x V pixels
 */
#include <soma/soma.h>
#include <stdio.h> /* jpeglib.h wants it before */
#include <stdlib.h>
#include <string.h>
#include <time.h>
#ifdef SOMA_HAVE_JPEG
#include <jpeglib.h>
#endif

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static int failed(soma *s)
{
    fprintf(stderr, "soma-pictures: %s\n", soma_error(s));
    soma_close(s);
    return 1;
}

/* The best of three parts, so that a pause of the machine does not count. */
static int rate(soma *s, const char *path, int64_t height, int64_t width, double seconds)
{
    float *x = malloc((size_t)(3 * height * width) * sizeof *x);
    double best = 0;
    for (int part = 0; x && part < 3; part++) {
        double begin = now(), end = begin;
        int n = 0;
        for (; end - begin < seconds / 3; n++, end = now())
            if (soma_image_read(s, path, .shape = SOMA_SHAPE(3, height, width), .pixels = x) != SOMA_OK) {
                free(x);
                return failed(s);
            }
        best = n / (end - begin) > best ? n / (end - begin) : best;
    }
    free(x);
    printf("%.1f\n", best);
    soma_close(s);
    return 0;
}

#ifdef SOMA_HAVE_JPEG
static int encode(char **argv)
{
    struct jpeg_compress_struct jpeg;
    struct jpeg_error_mgr errors;
    unsigned width = 0, height = 0;
    FILE *in = fopen(argv[2], "rb"), *out = fopen(argv[3], "wb");
    if (!in || !out || fscanf(in, "P6 %u %u 255", &width, &height) != 2 || fgetc(in) == EOF)
        return 2;
    uint8_t *row = malloc((size_t)width * 3);
    jpeg.err = jpeg_std_error(&errors);
    jpeg_create_compress(&jpeg);
    jpeg_stdio_dest(&jpeg, out);
    jpeg.image_width = width;
    jpeg.image_height = height;
    jpeg.input_components = 3;
    jpeg.in_color_space = JCS_RGB;
    jpeg_set_defaults(&jpeg);
    jpeg_set_quality(&jpeg, atoi(argv[6]), TRUE);
    jpeg.comp_info[0].h_samp_factor = atoi(argv[4]);
    jpeg.comp_info[0].v_samp_factor = atoi(argv[5]);
    if (atoi(argv[7]))
        jpeg_simple_progression(&jpeg);
    jpeg_start_compress(&jpeg, TRUE);
    for (unsigned y = 0; row && y < height && fread(row, 3, width, in) == width; y++)
        jpeg_write_scanlines(&jpeg, &row, 1);
    bool whole = jpeg.next_scanline == height;
    if (whole)
        jpeg_finish_compress(&jpeg);
    jpeg_destroy_compress(&jpeg);
    free(row);
    fclose(in);
    return fclose(out) || !whole;
}
#endif

int main(int argc, char **argv)
{
#ifdef SOMA_HAVE_JPEG
    if (argc == 8 && !strcmp(argv[1], "encode"))
        return encode(argv);
#endif
    soma *s = soma_open(NULL);
    if (argc >= 5 && !strcmp(argv[1], "rate"))
        return rate(s, argv[2], atoi(argv[3]), atoi(argv[4]), argc > 5 ? atof(argv[5]) : 3);
    char line[4096];
    while (fgets(line, sizeof line, stdin)) {
        long height = 0, width = 0;
        int at = 0;
        line[strcspn(line, "\n")] = 0;
        if (sscanf(line, "%ld %ld %n", &height, &width, &at) != 2 || !at) {
            fprintf(stderr, "soma-pictures: \"%s\" is not HEIGHT WIDTH PATH\n", line);
            return 2;
        }
        size_t n = (size_t)(3 * height * width);
        float *x = malloc(n * sizeof *x);
        if (!x || soma_image_read(s, line + at, .shape = SOMA_SHAPE(3, height, width), .pixels = x) != SOMA_OK) {
            free(x);
            return failed(s);
        }
        fwrite(x, sizeof *x, n, stdout);
        free(x);
    }
    soma_close(s);
    return fflush(stdout) != 0;
}
