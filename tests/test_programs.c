/* SPDX-License-Identifier: Apache-2.0
 *
 * Whole programs of a convolutional network: fast kernels against the reference, pieces against the whole batch, what
 * the simplifier merged, what the plan shows and what memory it takes.
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
#include "run/program.h"
#include "op/pool2d/pool2d.h"
#include <soma/soma.h>

enum { BATCH = 16, SIDE = 16, CLASSES = 5 };

typedef struct cnn {
    soma *s;
    soma_model *m;
    soma_value x, target, logits, loss, updates[8];
    int n_updates;
} cnn;

/* Channels that blocked layouts and Winograd take; relu before the pools, dropout, two dense layers. */
static void build(cnn *n, bool exact, int threads)
{
    soma_context_options o = {.struct_size = sizeof o, .seed = 3, .exact = exact, .threads = threads};
    n->s = soma_open(&o);
    n->m = soma_model_new(n->s, "cnn");
    n->x = soma_input(n->m, "x", SOMA_F32, SOMA_SHAPE(1, SIDE, SIDE));
    n->target = soma_input(n->m, "target", SOMA_I32, SOMA_SCALAR);
    soma_value h = soma_conv2d(n->x, .filters = 32, .kernel = {3, 3}, .same = true, .activation = "relu");
    h = soma_max_pool2d(h, .size = {2, 2});
    h = soma_conv2d(h, .filters = 48, .kernel = {3, 3}, .same = true, .activation = "relu");
    h = soma_max_pool2d(h, .size = {2, 2});
    h = soma_flatten(h);
    h = soma_dense(h, .units = 24, .activation = "relu");
    h = soma_dropout(h, .rate = 0.25);
    n->logits = soma_dense(h, .units = CLASSES);
    soma_output(n->m, "logits", n->logits);
    n->loss = soma_softmax_cross_entropy(n->logits, n->target);
    soma_optimizer sgd = soma_sgd(.lr = 0.05, .momentum = 0.9);
    n->n_updates = soma_updates(n->loss, n->updates, 8, .optimizer = &sgd, .total_steps = 10);
    assert_string_equal(soma_error(n->s), "");
    assert_true(n->n_updates > 0);
}

static soma_program *train_program(cnn *n, int64_t piece)
{
    soma_program *p = soma_compile(n->m, .name = "train", .batch = BATCH, .values = &n->loss, .n_values = 1,
                                   .updates = n->updates, .n_updates = n->n_updates, .micro_batch = piece);
    assert_string_equal(soma_error(n->s), "");
    assert_non_null(p);
    return p;
}

static void feed(soma_program *p, const cnn *n, int step)
{
    float *x = soma_program_input(p, n->x).data;
    int32_t *t = soma_program_input(p, n->target).data;
    for (int i = 0; i < BATCH * SIDE * SIDE; i++)
        x[i] = (float)sin(0.37 * i + step) * (float)((i / (SIDE * SIDE)) % CLASSES + 1) * 0.3f;
    for (int i = 0; i < BATCH; i++)
        t[i] = (i + step) % CLASSES;
}

static void steps(cnn *n, int64_t piece, int count, double *losses)
{
    soma_program *p = train_program(n, piece);
    for (int k = 0; k < count; k++) {
        feed(p, n, k);
        assert_int_equal(soma_step(p), SOMA_OK);
        losses[k] = (double)*(const float *)soma_read(p, n->loss).data;
    }
}

/* Largest difference of any tensor of the two models, in units of that tensor's largest value. */
static double distance(soma_model *a, soma_model *b)
{
    double worst = 0;
    for (int i = 0; i < soma_tensor_count(a); i++) {
        soma_named_tensor x = soma_tensor_at(a, i), y = soma_tensor_find(b, x.name);
        if (x.tensor.dtype != SOMA_F32)
            continue;
        double largest = 1e-6, difference = 0;
        for (int64_t k = 0; k < soma_shape_elements(&x.tensor.shape); k++) {
            double u = (double)((const float *)x.tensor.data)[k], v = (double)((const float *)y.tensor.data)[k];
            largest = fmax(largest, fabs(u));
            difference = fabs(u - v) <= difference ? difference : fabs(u - v); /* fmax would lose a NaN */
            if (isnan(u - v))
                return INFINITY;
        }
        worst = fmax(worst, difference / largest);
    }
    return worst;
}

static void fast_kernels_and_pieces_train_like_the_reference(void **state)
{
    (void)state;
    cnn exact;
    double want[3], got[3];
    build(&exact, true, 1);
    steps(&exact, BATCH, 3, want);
    assert_true(want[0] != want[1]);
    const int64_t pieces[] = {BATCH, 4, 1};
    for (int c = 0; c < 3; c++)
        for (int threads = 1; threads <= 2; threads++) {
            cnn fast;
            build(&fast, false, threads);
            steps(&fast, pieces[c], 3, got);
            for (int k = 0; k < 3; k++)
                assert_true(fabs(got[k] - want[k]) < 2e-4 * fabs(want[k]));
            assert_true(distance(exact.m, fast.m) < 2e-3);
            soma_close(fast.s);
        }
    soma_close(exact.s);
}

static void exact_bits_do_not_depend_on_pieces_of_work(void **state)
{
    (void)state;
    double first[2], again[2];
    cnn one, three;
    build(&one, true, 1);
    build(&three, true, 3);
    steps(&one, BATCH, 2, first);
    steps(&three, BATCH, 2, again);
    assert_memory_equal(first, again, sizeof first);
    assert_true(distance(one.m, three.m) == 0);
    soma_close(one.s);
    soma_close(three.s);
}

static int count_ops(const soma_program *p, const char *op)
{
    int n = 0;
    for (int i = 0; i < soma_program_nodes(p); i++)
        n += !strcmp(soma_program_node(p, i).op, op);
    return n;
}

/* An activation read by two convolutions, whose result nobody else reads: the gradients of both meet, and pass the
 * gate, where the later convolution's is written. */
static soma_value branches(soma *s, soma_model **m, const char *act, soma_value *dw)
{
    *m = soma_model_new(s, "branches");
    soma_value x = soma_input(*m, "x", SOMA_F32, SOMA_SHAPE(16, SIDE, SIDE)), w;
    soma_value h = soma_conv2d(x, .filters = 32, .kernel = {3, 3}, .same = true, .activation = act, .no_bias = true);
    soma_value a = soma_conv2d(h, .filters = 48, .kernel = {3, 3}, .same = true, .no_bias = true);
    soma_value b = soma_conv2d(h, .filters = 48, .kernel = {1, 1}, .no_bias = true);
    w = soma_graph_tensor((*m)->graph, 0);
    assert_int_equal(soma_grad(soma_reduce_mean(soma_square(soma_add(a, b))), &w, 1, dw), SOMA_OK);
    return x;
}

static void gradients_meet_and_pass_the_gate(void **state)
{
    (void)state;
    for (int c = 0; c < 2 * (SOMA_ACTS - 1); c++) {
        const char *act = soma_act_names[1 + c / 2];
        const float *dw[2];
        soma *s[2];
        for (int exact = 0; exact < 2; exact++) {
            soma_context_options o = {.struct_size = sizeof o, .seed = 8, .exact = exact, .threads = 1 + c % 2};
            soma_model *m;
            soma_value g;
            s[exact] = soma_open(&o);
            soma_value x = branches(s[exact], &m, act, &g);
            soma_program *p = soma_compile(m, .batch = 4, .values = &g, .n_values = 1);
            assert_string_equal(soma_error(s[exact]), "");
            float *in = soma_program_input(p, x).data;
            for (int i = 0; i < 4 * 16 * SIDE * SIDE; i++)
                in[i] = 4 * (float)sin(0.37 * i + i % 11);
            assert_int_equal(soma_step(p), SOMA_OK);
            dw[exact] = soma_read(p, g).data;
            assert_int_equal(count_ops(p, "conv2d_input_grad"), 2);
            assert_int_equal(count_ops(p, "add"), 1); /* the square's slope, twice the sum */
            char gradient[32];
            snprintf(gradient, sizeof gradient, "%s_grad", act);
            assert_int_equal(count_ops(p, act), 0);
            assert_int_equal(count_ops(p, gradient), soma_act_clamps(1 + c / 2) ? 0 : 1); /* clamps pass or not */
        }
        double norm = 0, error = 0;
        for (int i = 0; i < 32 * 16 * 9; i++) {
            norm += (double)dw[1][i] * (double)dw[1][i];
            error += ((double)dw[0][i] - (double)dw[1][i]) * ((double)dw[0][i] - (double)dw[1][i]);
        }
        assert_true(norm > 0 && error < 1e-10 * norm);
        soma_close(s[0]);
        soma_close(s[1]);
    }
}

/* What a model makes of a gradient: the activation is applied to dx, it is no gate of it. */
static void activations_of_gradients_are_applied(void **state)
{
    (void)state;
    for (int c = 0; c < 12; c++) {
        soma_context_options o = {.struct_size = sizeof o, .seed = 8, .exact = c % 2, .threads = 1};
        soma *s = soma_open(&o);
        soma_model *m = soma_model_new(s, "slopes");
        soma_value x = soma_input(m, "x", SOMA_F32, SOMA_SHAPE(16, SIDE, SIDE)), dx[2], y[2];
        for (int i = 0; i < 2; i++) { /* the second one's dx is read as well, so nothing merges into it */
            soma_value h = c % 4 < 2 ? soma_conv2d(x, .filters = 16, .kernel = {3, 3}, .same = true, .init = "ones")
                                     : soma_batch_norm(x);
            soma_value loss = c % 4 < 2 ? soma_square(h) : soma_mul(h, soma_square(h));
            soma_grad(soma_reduce_sum(loss), &x, 1, &dx[i]);
            y[i] = c < 4 ? soma_relu(dx[i]) : c < 8 ? soma_activation(dx[i], "relu6") : soma_tanh(dx[i]);
        }
        const soma_value values[3] = {y[0], y[1], dx[1]};
        soma_program *p = soma_compile(m, .batch = 2, .values = values, .n_values = 3, .training = true);
        assert_string_equal(soma_error(s), "");
        float *in = soma_program_input(p, x).data;
        for (int i = 0; i < 2 * 16 * SIDE * SIDE; i++)
            in[i] = (float)sin(0.37 * i + i % 11) / 4;
        assert_int_equal(soma_step(p), SOMA_OK);
        const float *a = soma_read(p, y[0]).data, *b = soma_read(p, y[1]).data, *d = soma_read(p, dx[1]).data;
        int changed = 0;
        for (int i = 0; i < 2 * 16 * SIDE * SIDE; i++) {
            assert_true(fabs((double)a[i] - (double)b[i]) <= 1e-4 * (1 + fabs((double)b[i])));
            changed += fabs((double)b[i] - (double)d[i]) > 1e-3;
        }
        assert_true(changed > 50);
        soma_close(s);
    }
}

static void the_simplifier_merges_what_it_can(void **state)
{
    (void)state;
    cnn n;
    build(&n, false, 1);
    soma_program *train = train_program(&n, 0);
    assert_int_equal(count_ops(train, "relu"), 0);      /* in conv2d and matmul */
    assert_int_equal(count_ops(train, "relu_grad"), 1); /* the dense one; those before pools went into them */
    assert_int_equal(count_ops(train, "max_pool2d_grad"), 2);
    assert_int_equal(count_ops(train, "dropout"), 2);
    assert_int_equal(count_ops(train, "conv2d_input_grad"), 1); /* nobody wants the picture's gradient */
    soma_program *predict = soma_compile(n.m, .batch = 4, .values = &n.logits, .n_values = 1);
    assert_non_null(predict);
    assert_int_equal(count_ops(predict, "dropout"), 0);
    assert_int_equal(count_ops(predict, "relu"), 0);
    assert_int_equal(count_ops(predict, "softmax_cross_entropy"), 0);
    soma_close(n.s);
}

/* How many pools of the program apply relu. */
static int pools_with_relu(const soma_program *p)
{
    int n = 0;
    for (int i = 0; i < p->plan->graph->n_nodes; i++) {
        const soma_graph_node *node = &p->plan->graph->nodes[i];
        n += node->op && !strcmp(node->op->name, "max_pool2d") &&
             ((const soma_pool2d_attrs *)node->attrs)->activation == SOMA_ACT_relu;
    }
    return n;
}

/* The same weights after three steps, bit for bit, where somebody reads what relu gave and it must stay before the
 * pool. */
static void relu_goes_behind_the_pool_with_the_same_bits(void **state)
{
    (void)state;
    cnn n[2];
    for (int watched = 0; watched < 2; watched++) {
        cnn *c = &n[watched];
        build(c, false, 1);
        soma_value h = soma_none();
        for (int i = 0; i < c->m->graph->n_nodes && !soma_ok(h); i++) {
            const soma_graph_node *node = &c->m->graph->nodes[i];
            if (!strcmp(node->op->name, "relu"))
                h = (soma_value){c->m->graph, node->out[0]};
        }
        assert_true(soma_ok(h));
        const soma_value values[2] = {c->loss, h};
        soma_program *p = soma_compile(c->m, .batch = BATCH, .values = values, .n_values = 1 + watched,
                                       .updates = c->updates, .n_updates = c->n_updates);
        assert_string_equal(soma_error(c->s), "");
        assert_int_equal(pools_with_relu(p), 2 - watched);
        for (int k = 0; k < 3; k++) {
            feed(p, c, k);
            assert_int_equal(soma_step(p), SOMA_OK);
        }
    }
    for (int i = 0; i < soma_tensor_count(n[0].m); i++) {
        soma_named_tensor a = soma_tensor_at(n[0].m, i), b = soma_tensor_at(n[1].m, i);
        size_t bytes = (size_t)soma_shape_elements(&a.tensor.shape) * sizeof(float);
        assert_memory_equal(a.tensor.data, b.tensor.data, bytes);
    }
    soma_close(n[0].s);
    soma_close(n[1].s);
}

static void memory_is_what_the_plan_says(void **state)
{
    (void)state;
    cnn n;
    build(&n, false, 1);
    soma_memory before = soma_memory_use(n.s);
    soma_program *p = train_program(&n, 0);
    soma_plan_memory plan = soma_program_memory(p);
    uint64_t taken = soma_memory_use(n.s).now - before.now;
    assert_true(plan.activations > 0 && plan.gradients > 0 && plan.state > 0);
    double share = (double)taken / (double)plan.total;
    if (share < 0.9 || share > 1.15)
        fail_msg("the plan says %llu bytes, %llu were taken", (unsigned long long)plan.total,
                 (unsigned long long)taken);
    soma_memory ready = soma_memory_use(n.s);
    for (int k = 0; k < 20; k++) {
        feed(p, &n, k);
        assert_int_equal(soma_step(p), SOMA_OK);
    }
    assert_int_equal(soma_memory_use(n.s).calls, ready.calls);
    soma_close(n.s);
}

static void a_bad_label_changes_nothing(void **state)
{
    (void)state;
    cnn n, same;
    double losses[2];
    build(&n, false, 1);
    build(&same, false, 1);
    soma_program *p = train_program(&n, 4);
    feed(p, &n, 0);
    assert_int_equal(soma_step(p), SOMA_OK);
    feed(p, &n, 1);
    ((int32_t *)soma_program_input(p, n.target).data)[13] =
        CLASSES; /* in the last piece: three pieces have run by then */
    assert_int_equal(soma_step(p), SOMA_DATA);
    assert_non_null(strstr(soma_error(n.s), "sample 13"));
    soma_clear(n.s);
    steps(&same, 4, 1, losses);
    assert_true(distance(n.m, same.m) == 0);
    feed(p, &n, 1);
    assert_int_equal(soma_step(p), SOMA_OK); /* and the program goes on */
    soma_close(n.s);
    soma_close(same.s);
}

static void programs_of_a_model_share_and_do_not_disturb(void **state)
{
    (void)state;
    cnn n, alone;
    double with[4], without[4];
    build(&n, false, 1);
    build(&alone, false, 1);
    soma_program *train = train_program(&n, 4);
    soma_program *predict = soma_compile(n.m, .batch = 64, .values = &n.logits,
                                         .n_values = 1); /* larger: moves the block */
    assert_non_null(predict);
    for (int k = 0; k < 4; k++) {
        feed(train, &n, k);
        assert_int_equal(soma_step(train), SOMA_OK);
        with[k] = (double)*(const float *)soma_read(train, n.loss).data;
        memset(soma_program_input(predict, n.x).data, 0, 64 * SIDE * SIDE * sizeof(float));
        assert_int_equal(soma_step(predict), SOMA_OK);
    }
    steps(&alone, 4, 4, without);
    assert_memory_equal(with, without, sizeof with);
    soma_close(n.s);
    soma_close(alone.s);
}

static void the_plan_explains_itself(void **state)
{
    (void)state;
    cnn n;
    build(&n, false, 1);
    soma_program *p = train_program(&n, 4);
    assert_int_equal(soma_program_micro_batch(p), 4);
    bool body = false, epilogue = false;
    double flops = 0;
    for (int i = 0; i < soma_program_nodes(p); i++) {
        soma_plan_node node = soma_program_node(p, i);
        assert_non_null(node.kernel);
        assert_true(node.layer[0] != 0);
        body = body || !strcmp(node.phase, "body");
        epilogue = epilogue || !strcmp(node.phase, "epilogue");
        flops += node.flops;
    }
    assert_true(body && epilogue && flops > 1e6);
    assert_true(count_ops(p, "accumulate") >= 8); /* a sum per parameter and the loss */
    assert_true(soma_program_fingerprint(p) == soma_program_fingerprint(train_program(&n, 4)));
    assert_true(soma_program_fingerprint(p) != soma_program_fingerprint(train_program(&n, 8)));
    assert_int_equal(soma_program_time(p, 3), SOMA_OK);
    soma_close(n.s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fast_kernels_and_pieces_train_like_the_reference),
        cmocka_unit_test(exact_bits_do_not_depend_on_pieces_of_work),
        cmocka_unit_test(the_simplifier_merges_what_it_can),
        cmocka_unit_test(relu_goes_behind_the_pool_with_the_same_bits),
        cmocka_unit_test(gradients_meet_and_pass_the_gate),
        cmocka_unit_test(activations_of_gradients_are_applied),
        cmocka_unit_test(memory_is_what_the_plan_says),
        cmocka_unit_test(a_bad_label_changes_nothing),
        cmocka_unit_test(programs_of_a_model_share_and_do_not_disturb),
        cmocka_unit_test(the_plan_explains_itself),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
