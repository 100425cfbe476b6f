/* SPDX-License-Identifier: Apache-2.0
 *
 * What a saved model says about pictures: predict MODEL.safetensors PICTURE..., cc predict.c -lsoma -lm
 */
#include <soma/soma.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

/* The class with the largest output, and its probability by softmax. */
static void print_best(const soma_model *m, const char *picture, const float *y, int n)
{
    int best = 0;
    double sum = 0;
    for (int i = 1; i < n; i++)
        best = y[i] > y[best] ? i : best;
    for (int i = 0; i < n; i++)
        sum += exp((double)(y[i] - y[best]));
    const char *name = best < soma_model_classes(m) ? soma_model_class(m, best) : "without a name";
    printf("%s: class %d (%s), probability %.4f\n", picture, best, name, 1 / sum);
}

int main(int argc, char **argv)
{
    if (argc < 3) {
        fprintf(stderr, "usage: predict MODEL.safetensors PICTURE...\n");
        return 2;
    }
    soma *s = soma_open(NULL);
    soma_model *m = soma_load(s, argv[1]);
    soma_transform transform = soma_model_transform(m); /* how pictures became inputs when it was trained */
    soma_shape x = soma_value_type(soma_model_input(m, 0)).shape, y = soma_value_type(soma_model_output(m, 0)).shape;
    x.dim[0] = y.dim[0] = 1; /* the batch */
    soma_shape sample = {.rank = 3, .dim = {x.dim[1], x.dim[2], x.dim[3]}};
    float *pixels = calloc((size_t)soma_shape_elements(&x), sizeof *pixels);
    float *outputs = calloc((size_t)soma_shape_elements(&y), sizeof *outputs);
    for (int i = 2; i < argc && pixels && outputs && !soma_failed(s); i++) {
        soma_image_read(s, argv[i], .shape = sample, .transform = &transform, .pixels = pixels);
        soma_predict(m, &(soma_tensor){SOMA_F32, x, pixels}, &(soma_tensor){SOMA_F32, y, outputs});
        if (!soma_failed(s))
            print_best(m, argv[i], outputs, (int)y.dim[1]);
    }
    int failed = soma_failed(s) || !pixels || !outputs;
    if (failed)
        fprintf(stderr, "%s\n", soma_failed(s) ? soma_error(s) : "no memory");
    soma_close(s);
    free(pixels);
    free(outputs);
    return failed;
}
