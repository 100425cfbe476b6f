/* SPDX-License-Identifier: Apache-2.0
 *
 * A convolutional network for Fashion-MNIST: fashion_cnn [DATA], a data set's name or the folder of its four IDX
 * files; cc fashion_cnn.c -lsoma
 */
#include <soma/soma.h>
#include <stdio.h>

int main(int argc, char **argv)
{
    const char *data = argc > 1 ? argv[1] : "fashion-mnist";
    soma *s = soma_open(NULL);
    soma_model *m = soma_model_new(s, "fashion-cnn");
    soma_value x = soma_input(m, "image", SOMA_F32, SOMA_SHAPE(1, 28, 28));
    x = soma_conv2d(x, .filters = 32, .kernel = {3, 3}, .same = true, .activation = "relu");
    x = soma_max_pool2d(x, .size = {2, 2});
    x = soma_conv2d(x, .filters = 64, .kernel = {3, 3}, .same = true, .activation = "relu");
    x = soma_max_pool2d(x, .size = {2, 2});
    x = soma_dense(soma_flatten(x), .units = 128, .activation = "relu");
    x = soma_dense(soma_dropout(x, .rate = 0.25), .units = 10);
    soma_output(m, "logits", x);

    soma_dataset *train = soma_dataset_open(s, data);
    soma_fit(m, train, .optimizer = soma_adam(.peak_lr = 0.003), .batch_size = 128, .epochs = 5);
    soma_evaluation test = {0};
    soma_evaluate(m, soma_dataset_open(s, data, .split = "test"), .result = &test);
    soma_save(m, "fashion-cnn.safetensors");

    int failed = soma_failed(s);
    if (failed)
        fprintf(stderr, "%s\n", soma_error(s));
    else
        printf("test accuracy %.2f %%, loss %.4f\n", 100 * test.accuracy, test.loss);
    soma_close(s);
    return failed;
}
