/* SPDX-License-Identifier: Apache-2.0
 *
 * Batch normalisation in whole programs: what the simplifier merges computes what the parts compute, running statistics
 * follow their conventions, a failed step leaves them alone, programs that do not train use them, files keep them.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "graph/graph.h"
#include <soma/soma.h>

enum { BATCH = 6, SIDE = 10, CLASSES = 4, MOST = 64 };

typedef struct net {
    soma *s;
    soma_model *m;
    soma_value x, target, logits, loss;
    soma_value middle[8]; /* what is between the parts that are merged */
    soma_value p[MOST], dp[MOST];
    int n_middle, n;
} net;

static soma_value norm(net *n, soma_value x, const char *activation)
{
    soma_value y = soma_batch_norm(x);
    n->middle[n->n_middle++] = y;
    return soma_activation(y, activation);
}

/* A first layer, a residual block, a block whose shortcut is normalised too. */
static void build(net *n, bool exact, const char *act)
{
    soma_context_options o = {.struct_size = sizeof o, .seed = 5, .exact = exact};
    memset(n, 0, sizeof *n);
    n->s = soma_open(&o);
    n->m = soma_model_new(n->s, "residual");
    n->x = soma_input(n->m, "x", SOMA_F32, SOMA_SHAPE(3, SIDE, SIDE));
    n->target = soma_input(n->m, "target", SOMA_I32, SOMA_SCALAR);
    soma_value h = norm(n, soma_conv2d(n->x, .filters = 16, .kernel = {3, 3}, .same = true, .no_bias = true), act), a,
               d;
    a = norm(n, soma_conv2d(h, .filters = 16, .kernel = {3, 3}, .same = true, .no_bias = true), act);
    a = norm(n, soma_conv2d(a, .filters = 16, .kernel = {3, 3}, .same = true, .no_bias = true), NULL);
    n->middle[n->n_middle++] = a = soma_add(a, h);
    h = soma_activation(a, act);
    a = norm(n, soma_conv2d(h, .filters = 32, .kernel = {3, 3}, .same = true, .stride = {2, 2}, .no_bias = true), NULL);
    d = norm(n, soma_conv2d(h, .filters = 32, .kernel = {1, 1}, .stride = {2, 2}, .no_bias = true), NULL);
    n->middle[n->n_middle++] = a = soma_add(a, d);
    h = soma_activation(a, act);
    n->logits = soma_dense(soma_flatten(h), .units = CLASSES);
    soma_output(n->m, "logits", n->logits);
    n->loss = soma_softmax_cross_entropy(n->logits, n->target);
    assert_string_equal(soma_error(n->s), "");
}

static void feed(soma_program *p, const net *n, int step)
{
    float *x = soma_program_input(p, n->x).data;
    int32_t *t = soma_program_input(p, n->target).data;
    for (int i = 0; i < BATCH * 3 * SIDE * SIDE; i++)
        x[i] = (float)(sin(0.7 * i + step) + cos(0.013 * i * (i % 7)));
    for (int i = 0; t && i < BATCH; i++)
        t[i] = (i + step) % CLASSES;
}

static int count(const soma_program *p, const char *op)
{
    int n = 0;
    for (int i = 0; i < soma_program_nodes(p); i++)
        n += !strcmp(soma_program_node(p, i).op, op);
    return n;
}

/* The gradients of all parameters; apart: the values between the parts are asked for, so nothing can be merged. */
static soma_program *gradients(net *n, bool exact, bool apart, const char *act, bool training)
{
    soma_value values[2 * MOST];
    int k = 0;
    build(n, exact, act);
    for (int i = 0; i < soma_tensor_count(n->m); i++)
        if (!soma_tensor_at(n->m, i).frozen)
            n->n++;
    for (int i = 0, found = 0; i < soma_tensor_count(n->m); i++) {
        soma_named_tensor t = soma_tensor_at(n->m, i);
        for (int j = 0; !t.frozen && j < (int)soma_shape_elements(&t.tensor.shape); j++)
            ((float *)t.tensor.data)[j] += (float)(0.1 * sin(3.0 * j + i));
        for (int j = 0; t.buffer && j < (int)soma_shape_elements(&t.tensor.shape); j++)
            ((float *)t.tensor.data)[j] += (float)(0.3 + 0.2 * sin(2.0 * j + i));
        if (!t.frozen)
            n->p[found++] = soma_graph_tensor(n->m->graph, i);
    }
    soma_touch(n->m);
    assert_int_equal(soma_grad(n->loss, n->p, n->n, n->dp), SOMA_OK);
    for (int i = 0; i < n->n; i++)
        values[k++] = n->dp[i];
    for (int i = 0; apart && i < n->n_middle; i++)
        values[k++] = n->middle[i];
    values[k++] = n->loss;
    soma_program *p = soma_compile(n->m, .batch = BATCH, .values = values, .n_values = k, .training = training);
    assert_string_equal(soma_error(n->s), "");
    feed(p, n, 0);
    assert_int_equal(soma_step(p), SOMA_OK);
    return p;
}

static void compare(const char *act, bool exact, bool training, double allowed)
{
    net a, b;
    soma_program *p = gradients(&a, exact, false, act, training), *q = gradients(&b, exact, true, act, training);
    char act_grad[32];
    snprintf(act_grad, sizeof act_grad, "%s_grad", act);
    assert_int_equal(count(p, act), 0);
    assert_int_equal(count(p, act_grad), 0);
    assert_int_equal(count(p, "add"), 0); /* gradients that come from two sides: the convolution adds them */
    assert_int_equal(count(q, act), 4);
    assert_int_equal(count(q, act_grad), 1); /* the others are gates of convolutions */
    assert_int_equal(count(q, "add"), 2);
    for (int i = 0; i < a.n; i++) {
        soma_tensor x = soma_read(p, a.dp[i]), y = soma_read(q, b.dp[i]);
        double norm2 = 0, error = 0;
        for (int64_t k = 0; k < soma_shape_elements(&x.shape); k++) {
            double u = ((const float *)x.data)[k], v = ((const float *)y.data)[k];
            norm2 += v * v;
            error += (u - v) * (u - v);
        }
        assert_true(norm2 > 0);
        if (!(sqrt(error / norm2) <= allowed))
            fail_msg("%s: the gradient of %s is off by %.3g of its norm", act, soma_value_name(a.p[i]),
                     sqrt(error / norm2));
    }
    soma_close(a.s);
    soma_close(b.s);
}

/* relu(batch_norm(x) + x): the gradient that is added to x's is the one that the same node gives. */
static void build_itself(net *n, bool exact)
{
    soma_context_options o = {.struct_size = sizeof o, .seed = 5, .exact = exact};
    memset(n, 0, sizeof *n);
    n->s = soma_open(&o);
    n->m = soma_model_new(n->s, "itself");
    n->x = soma_input(n->m, "x", SOMA_F32, SOMA_SHAPE(3, SIDE, SIDE));
    soma_value h = soma_conv2d(n->x, .filters = 32, .kernel = {3, 3}, .same = true, .no_bias = true);
    h = soma_activation(soma_add(soma_batch_norm(h), h), "relu");
    h = soma_conv2d(h, .filters = 32, .kernel = {3, 3}, .same = true, .no_bias = true);
    n->loss = soma_reduce_mean(soma_square(h));
    n->p[0] = soma_graph_tensor(n->m->graph, 0);
    soma_grad(n->loss, n->p, 1, n->dp);
    assert_string_equal(soma_error(n->s), "");
}

static void a_gradient_does_not_add_what_it_makes(void **state)
{
    (void)state;
    net n[2];
    const float *dw[2];
    for (int exact = 0; exact < 2; exact++) {
        build_itself(&n[exact], exact);
        soma_program *p = soma_compile(n[exact].m, .batch = BATCH, .values = n[exact].dp, .n_values = 1,
                                       .training = true);
        assert_string_equal(soma_error(n[exact].s), "");
        feed(p, &n[exact], 0);
        for (int k = 0; k < 2; k++) /* the second step meets what the first one left */
            assert_int_equal(soma_step(p), SOMA_OK);
        dw[exact] = soma_read(p, n[exact].dp[0]).data;
    }
    double norm2 = 0, error = 0;
    for (int i = 0; i < 32 * 3 * 9; i++) {
        norm2 += (double)dw[1][i] * (double)dw[1][i];
        error += ((double)dw[0][i] - (double)dw[1][i]) * ((double)dw[0][i] - (double)dw[1][i]);
    }
    assert_true(norm2 > 0 && error < 1e-8 * norm2);
    soma_close(n[0].s);
    soma_close(n[1].s);
}

static void merged_is_what_the_parts_are(void **state)
{
    (void)state;
    compare("relu", true, true, 1e-6);
    compare("relu", true, false, 1e-6);
    compare("relu", false, true, 1e-4);
    compare("relu", false, false, 1e-4);
}

/* ---- running statistics ---- */

enum { ROWS = 5, FEATURES = 3 };

/* One step on rows of three features; gives mean and biased variance of each. */
static void one_step(const char *convention, double momentum, double want[2][FEATURES], float got[2][FEATURES])
{
    soma_context_options o = {.struct_size = sizeof o};
    soma *s = soma_open(&o);
    soma_model *m = soma_model_new(s, "rows");
    soma_value x = soma_input(m, "x", SOMA_F32, SOMA_SHAPE(FEATURES)), updates[4];
    soma_value y = soma_batch_norm(x, .dialect = convention, .momentum = momentum, .name = "bn");
    soma_value loss = soma_reduce_mean(soma_square(y));
    soma_optimizer sgd = soma_sgd(.lr = 0.1);
    int n = soma_updates(loss, updates, 4, .optimizer = &sgd);
    soma_program *p = soma_compile(m, .batch = ROWS, .values = &loss, .n_values = 1, .updates = updates,
                                   .n_updates = n);
    assert_string_equal(soma_error(s), "");
    float *in = soma_program_input(p, x).data;
    for (int i = 0; i < ROWS * FEATURES; i++)
        in[i] = (float)(1000 * (i % FEATURES) + (i * 7 % 11) * 0.5);
    for (int f = 0; f < FEATURES; f++) {
        double mean = 0, variance = 0;
        for (int i = 0; i < ROWS; i++)
            mean += (double)in[i * FEATURES + f] / ROWS;
        for (int i = 0; i < ROWS; i++)
            variance += ((double)in[i * FEATURES + f] - mean) * ((double)in[i * FEATURES + f] - mean) / ROWS;
        want[0][f] = mean;
        want[1][f] = variance;
    }
    assert_int_equal(soma_step(p), SOMA_OK);
    const char *names[2] = {"bn.running_mean", "bn.running_var"};
    for (int k = 0; k < 2; k++)
        memcpy(got[k], soma_tensor_find(m, names[k]).tensor.data, sizeof got[k]);
    soma_close(s);
}

static void statistics_follow_their_convention(void **state)
{
    (void)state;
    static const struct {
        const char *convention;
        double momentum, keep;
        bool unbiased;
    } cases[] = {
        {NULL, 0, 0.9, true}, {"torch", 0.25, 0.75, true}, {"keras", 0, 0.99, false}, {"keras", 0.8, 0.8, false}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        double batch[2][FEATURES];
        float got[2][FEATURES];
        one_step(cases[i].convention, cases[i].momentum, batch, got);
        for (int f = 0; f < FEATURES; f++) {
            double unbiased = cases[i].unbiased ? (double)ROWS / (ROWS - 1) : 1;
            double mean = (1 - cases[i].keep) * batch[0][f];
            double variance = cases[i].keep + (1 - cases[i].keep) * unbiased * batch[1][f];
            assert_true(fabs((double)got[0][f] - mean) <= 1e-6 * fabs(mean) + 1e-12);
            assert_true(fabs((double)got[1][f] - variance) <= 1e-6 * variance);
        }
    }
}

static void copy_statistics(net *n, float *to)
{
    for (int i = 0; i < soma_tensor_count(n->m); i++) {
        soma_named_tensor t = soma_tensor_at(n->m, i);
        size_t bytes = (size_t)soma_shape_elements(&t.tensor.shape) * sizeof *to;
        if (!t.buffer)
            continue;
        memcpy(to, t.tensor.data, bytes);
        to += bytes / sizeof *to;
    }
}
#define STATISTICS (2 * (16 + 16 + 16 + 32 + 32))

static void a_failed_step_changes_nothing(void **state)
{
    (void)state;
    net n;
    float before[STATISTICS], after[STATISTICS];
    soma_value updates[4];
    build(&n, false, "relu");
    soma_optimizer sgd = soma_sgd(.lr = 0.1);
    int n_updates = soma_updates(n.loss, updates, 4, .optimizer = &sgd);
    soma_program *p = soma_compile(n.m, .batch = BATCH, .values = &n.loss, .n_values = 1, .updates = updates,
                                   .n_updates = n_updates);
    assert_string_equal(soma_error(n.s), "");
    assert_int_equal(count(p, "batch_norm_update"), 5);
    assert_non_null(strstr(soma_program_micro_batch_reason(p), "needs all samples at once"));
    feed(p, &n, 0);
    ((int32_t *)soma_program_input(p, n.target).data)[1] = CLASSES;
    copy_statistics(&n, before);
    assert_int_equal(soma_step(p), SOMA_DATA);
    soma_clear(n.s);
    copy_statistics(&n, after);
    assert_memory_equal(before, after, sizeof before);
    feed(p, &n, 0);
    assert_int_equal(soma_step(p), SOMA_OK);
    copy_statistics(&n, after);
    for (int i = 0; i < STATISTICS; i++)
        assert_true(before[i] != after[i]);
    soma_close(n.s);
}

/* Training with one value per channel is refused; frozen layers and programs that do not train take it. */
static void one_value_per_channel_is_refused(void **state)
{
    (void)state;
    for (int frozen = 0; frozen < 2; frozen++) {
        soma *s = soma_open(NULL);
        soma_model *m = soma_model_new(s, "one");
        soma_value x = soma_input(m, "x", SOMA_F32, SOMA_SHAPE(4, 1, 1));
        soma_value y = soma_reduce_sum(soma_batch_norm(x, .frozen = frozen, .activation = "relu"));
        assert_non_null(soma_compile(m, .batch = 1, .values = &y, .n_values = 1));
        soma_program *p = soma_compile(m, .batch = 1, .values = &y, .n_values = 1, .training = true);
        assert_int_equal(p == NULL, !frozen);
        if (!frozen)
            assert_non_null(strstr(soma_error(s), "batch_norm \"batch_norm1\": no kernel"));
        if (!frozen)
            assert_non_null(
                strstr(soma_error(s), "training needs more than one value per channel, but x is f32[1,4,1,1]"));
        soma_close(s);
    }
}

/* A frozen layer changes nothing of its own; gradients pass through it. */
static void frozen_layers_stay(void **state)
{
    (void)state;
    soma *s = soma_open(NULL);
    soma_model *m = soma_model_new(s, "frozen");
    soma_value x = soma_input(m, "x", SOMA_F32, SOMA_SHAPE(4)), updates[4];
    soma_value y = soma_batch_norm(soma_dense(x, .units = 3), .frozen = true, .name = "bn");
    soma_value loss = soma_reduce_mean(soma_square(y));
    soma_optimizer sgd = soma_sgd(.lr = 0.1);
    int n = soma_updates(loss, updates, 4, .optimizer = &sgd);
    soma_program *p = soma_compile(m, .batch = 2, .updates = updates, .n_updates = n);
    assert_string_equal(soma_error(s), "");
    assert_int_equal(count(p, "batch_norm_update"), 0);
    float *in = soma_program_input(p, x).data, weight[12];
    for (int i = 0; i < 8; i++)
        in[i] = (float)(i % 3) - 0.4f;
    memcpy(weight, soma_tensor_find(m, "dense1.weight").tensor.data, sizeof weight);
    assert_int_equal(soma_step(p), SOMA_OK);
    assert_memory_not_equal(weight, soma_tensor_find(m, "dense1.weight").tensor.data, sizeof weight);
    const float one[3] = {1, 1, 1}, zero[3] = {0};
    assert_memory_equal(soma_tensor_find(m, "bn.weight").tensor.data, one, sizeof one);
    assert_memory_equal(soma_tensor_find(m, "bn.bias").tensor.data, zero, sizeof zero);
    assert_memory_equal(soma_tensor_find(m, "bn.running_mean").tensor.data, zero, sizeof zero);
    assert_memory_equal(soma_tensor_find(m, "bn.running_var").tensor.data, one, sizeof one);
    soma_close(s);
}

/* ---- training, evaluation, files ---- */

static void trains_and_predicts_after_loading(void **state)
{
    (void)state;
    enum { SAMPLES = 45 };
    static float x[SAMPLES * 3 * SIDE * SIDE];
    static int32_t labels[SAMPLES];
    for (int i = 0; i < SAMPLES * 3 * SIDE * SIDE; i++)
        x[i] = (float)(sin(0.7 * i) + 3 * cos(0.3 * (i / (3 * SIDE * SIDE) % CLASSES) * (i % SIDE)));
    for (int i = 0; i < SAMPLES; i++)
        labels[i] = i % CLASSES;
    soma *s = soma_open(NULL);
    soma_model *m = soma_model_new(s, "fit");
    soma_value h = soma_input(m, "x", SOMA_F32, SOMA_SHAPE(3, SIDE, SIDE));
    h = soma_batch_norm(soma_conv2d(h, .filters = 16, .kernel = {3, 3}, .same = true), .activation = "relu");
    soma_value z = soma_batch_norm(soma_conv2d(h, .filters = 16, .kernel = {3, 3}, .same = true));
    soma_output(m, "y", soma_dense(soma_flatten(soma_relu(soma_add(z, h))), .units = CLASSES));
    soma_dataset *data = soma_dataset_arrays(s, .x = {SOMA_F32, SOMA_SHAPE(SAMPLES, 3, SIDE, SIDE), x},
                                             .y = {SOMA_I32, SOMA_SHAPE(SAMPLES), labels});
    assert_int_equal(
        soma_fit(m, data, .epochs = 8, .batch_size = 10, .optimizer = soma_sgd(.lr = 0.02, .momentum = 0.9)), SOMA_OK);
    soma_evaluation result = {0};
    assert_int_equal(soma_evaluate(m, data, .result = &result), SOMA_OK);
    assert_true(result.accuracy > 0.95);

    float y[2][7 * CLASSES];
    soma_tensor in = {SOMA_F32, SOMA_SHAPE(7, 3, SIDE, SIDE), x}, out = {SOMA_F32, SOMA_SHAPE(7, CLASSES), y[0]};
    assert_int_equal(soma_predict(m, &in, &out), SOMA_OK);
    assert_int_equal(soma_save(m, "test_batch_norm.safetensors"), SOMA_OK);
    soma_model *again = soma_load(s, "test_batch_norm.safetensors");
    assert_string_equal(soma_error(s), "");
    out.data = y[1];
    assert_int_equal(soma_predict(again, &in, &out), SOMA_OK);
    assert_memory_equal(y[0], y[1], sizeof y[0]);
    assert_true(soma_tensor_find(again, "batch_norm1.running_var").buffer);
    assert_false(soma_tensor_find(again, "batch_norm1.weight").frozen);
    /* alone or among others: the same numbers, for no statistics of the batch are in them */
    soma_tensor one = {SOMA_F32, SOMA_SHAPE(1, 3, SIDE, SIDE), x}, first = {SOMA_F32, SOMA_SHAPE(1, CLASSES), y[1]};
    assert_int_equal(soma_predict(again, &one, &first), SOMA_OK);
    for (int i = 0; i < CLASSES; i++)
        assert_true(fabs((double)(y[0][i] - y[1][i])) <= 1e-4 * fabs((double)y[0][i]) + 1e-4);
    int64_t parameters = 0, buffers = 0;
    for (int i = 0; i < soma_model_nodes(again); i++) {
        parameters += soma_model_node_at(again, i).parameters;
        buffers += soma_model_node_at(again, i).buffers;
    }
    assert_int_equal(parameters, 3 * 16 * 9 + 16 + 32 + 16 * 16 * 9 + 16 + 32 + 16 * SIDE * SIDE * CLASSES + CLASSES);
    assert_int_equal(buffers, 64);
    remove("test_batch_norm.safetensors");
    soma_close(s);
}

static void mistakes_are_told(void **state)
{
    (void)state;
    static const struct {
        const char *convention, *says;
        double momentum;
    } cases[] = {{"tensorflow", "dialect cannot be \"tensorflow\"", 0}, {NULL, "momentum is 1.5", 1.5}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        soma *s = soma_open(NULL);
        soma_model *m = soma_model_new(s, "wrong");
        soma_value x = soma_input(m, "x", SOMA_F32, SOMA_SHAPE(3));
        assert_false(soma_ok(soma_batch_norm(x, .dialect = cases[i].convention, .momentum = cases[i].momentum)));
        assert_non_null(strstr(soma_error(s), cases[i].says));
        soma_close(s);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(merged_is_what_the_parts_are),       cmocka_unit_test(a_gradient_does_not_add_what_it_makes),
        cmocka_unit_test(statistics_follow_their_convention), cmocka_unit_test(a_failed_step_changes_nothing),
        cmocka_unit_test(one_value_per_channel_is_refused),   cmocka_unit_test(frozen_layers_stay),
        cmocka_unit_test(trains_and_predicts_after_loading),  cmocka_unit_test(mistakes_are_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
