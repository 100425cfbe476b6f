/* SPDX-License-Identifier: Apache-2.0
 *
 * cli/noise.c: data made up in a model's shape, for plans and measurements.
 */
#include "cli.h"

#include <stdlib.h>
#include <string.h>

static bool asks_numbers(const char *loss)
{
    return !strcmp(loss, "mse") || !strcmp(loss, "mean_squared_error");
}

soma_dataset *cli_make_noise(soma *s, const cli_model *found, const char *loss, int64_t samples, cli_noise *n)
{
    soma_shape sample = cli_sample_shape(found->model), in = {.rank = sample.rank + 1, .dim = {samples}};
    soma_shape out = soma_value_type(soma_model_output(found->model, 0)).shape;
    memcpy(in.dim + 1, sample.dim, (size_t)sample.rank * sizeof sample.dim[0]);
    out.dim[0] = samples;
    int64_t inputs = soma_shape_elements(&in), outputs = soma_shape_elements(&out), classes = outputs / samples;
    bool regression = (found->zoo && found->zoo->regression) || classes == 1 ||
                      asks_numbers(loss ? loss : found->recipe.loss);
    *n = (cli_noise){NULL, NULL, NULL};
    n->x = inputs > 0 ? malloc((size_t)inputs * sizeof *n->x) : NULL;
    n->y = outputs > 0 ? calloc((size_t)outputs, sizeof *n->y) : NULL;
    n->labels = malloc((size_t)samples * sizeof *n->labels);
    if (!n->x || !n->y || !n->labels)
        return NULL;
    uint32_t state = 1;
    for (int64_t i = 0; i < inputs; i++) {
        state = state * 1664525u + 1013904223u;
        n->x[i] = (float)(state >> 8) * 0x1p-23f - 1;
    }
    for (int64_t i = 0; i < samples; i++) {
        state = state * 1664525u + 1013904223u;
        n->labels[i] = (int32_t)((state >> 8) % (uint32_t)classes);
    }
    soma_tensor x = {SOMA_F32, in, n->x}, y = {SOMA_F32, out, n->y},
                labels = {SOMA_I32, SOMA_SHAPE(samples), n->labels};
    return soma_dataset_arrays(s, x, .y = regression ? y : labels, .n_classes = regression ? 0 : (int)classes);
}

void cli_free_noise(cli_noise *n)
{
    free(n->x);
    free(n->y);
    free(n->labels);
}
