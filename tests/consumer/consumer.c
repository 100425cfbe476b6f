/* SPDX-License-Identifier: Apache-2.0
 *
 * The smallest program that needs the whole library: one neuron learns y = 3x - 1.
 */
#include <soma/soma.h>
#include <stdio.h>

int main(void)
{
    float x[64], y[64], w = 0;
    for (int i = 0; i < 64; i++) {
        x[i] = (float)i / 32 - 1;
        y[i] = 3 * x[i] - 1;
    }
    soma *s = soma_open(NULL);
    soma_model *m = soma_model_new(s, "neuron");
    soma_output(m, "y", soma_dense(soma_input(m, "x", SOMA_F32, SOMA_SHAPE(1)), .units = 1));
    soma_dataset *d = soma_dataset_arrays(s, .x = {SOMA_F32, SOMA_SHAPE(64, 1), x},
                                          .y = {SOMA_F32, SOMA_SHAPE(64, 1), y});
    soma_fit(m, d, .loss = "mean_squared_error", .optimizer = soma_sgd(.lr = 0.1), .batch_size = 8, .epochs = 50);
    float two = 2;
    soma_predict(m, &(soma_tensor){SOMA_F32, SOMA_SHAPE(1, 1), &two}, &(soma_tensor){SOMA_F32, SOMA_SHAPE(1, 1), &w});
    printf("soma %s: 3 * 2 - 1 = %.3f\n", soma_version(), (double)w);
    int failed = soma_failed(s) || !(w > 4.99f && w < 5.01f);
    if (soma_failed(s))
        fprintf(stderr, "%s\n", soma_error(s));
    soma_close(s);
    return failed;
}
