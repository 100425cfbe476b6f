/* SPDX-License-Identifier: Apache-2.0
 *
 * One neuron finds the line through noisy points: cc neuron.c -lsoma
 */
#include <soma/soma.h>
#include <stdio.h>
#include <stdlib.h>

enum { N = 100 };

int main(void)
{
    static float x[N], y[N]; /* y = 1.3 x + 0.7 and noise */
    for (int i = 0; i < N; i++) {
        x[i] = -1.5f + 5.5f * (float)i / (N - 1);
        y[i] = 1.3f * x[i] + 0.7f + 2 * (float)rand() / (float)RAND_MAX - 1;
    }
    soma *s = soma_open(NULL);
    soma_model *m = soma_model_new(s, "neuron");
    soma_value in = soma_input(m, "x", SOMA_F32, SOMA_SHAPE(1));
    soma_output(m, "y", soma_dense(in, .units = 1, .name = "neuron"));

    soma_dataset *points = soma_dataset_arrays(s, .x = {SOMA_F32, SOMA_SHAPE(N, 1), x},
                                               .y = {SOMA_F32, SOMA_SHAPE(N, 1), y});
    soma_progress last = {0};
    soma_fit(m, points, .batch_size = 1, .epochs = 20, .optimizer = soma_sgd(.lr = 0.01), .result = &last);

    int failed = soma_failed(s);
    if (failed)
        fprintf(stderr, "%s\n", soma_error(s));
    else
        printf("y = %.3f x + %.3f, mean squared error %.3f\n",
               *(float *)soma_tensor_find(m, "neuron.weight").tensor.data,
               *(float *)soma_tensor_find(m, "neuron.bias").tensor.data, last.loss);
    soma_close(s);
    return failed;
}
