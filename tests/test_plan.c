/* SPDX-License-Identifier: Apache-2.0
 *
 * What planning must not change: results where arrays share storage, where the batch runs in pieces, where programs of
 * a model share memory and where a program overwrites what it reads; and gradients at the edges.
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
#include <soma/soma.h>

static soma *opened(bool exact)
{
    soma_context_options o = {.struct_size = sizeof o, .seed = 5, .exact = exact, .threads = 1};
    return soma_open(&o);
}

static const float *read(soma_program *p, soma_value x)
{
    soma_tensor t = soma_read(p, x);
    assert_non_null(t.data);
    return t.data;
}

static bool near(float a, double b)
{
    return fabs((double)a - b) < 1e-5 * (1 + fabs(b));
}

static void fill(soma_program *p, soma_value x, double phase)
{
    soma_tensor t = soma_program_input(p, x);
    assert_non_null(t.data);
    for (int64_t i = 0; i < soma_shape_elements(&t.shape); i++)
        ((float *)t.data)[i] = (float)sin(0.9 * (double)i + phase);
}

static void step(soma_program *p)
{
    assert_int_equal(soma_step(p), SOMA_OK);
}

/* ---- storage that is shared ---- */

/* r = relu(x), v = r as [N,2,2], q = r^2, s = q - r, z = tanh(s). Which of them may lie in one place depends on who is
 * wanted. */
static void sharing_storage_changes_nothing(void **state)
{
    (void)state;
    enum { BATCH = 8, VALUES = 5 };
    const int64_t pieces[] = {BATCH, 2, 1};
    for (int c = 0; c < 3; c++)
        for (int wanted = 1; wanted < 1 << VALUES; wanted++) {
            soma *s = opened(c == 0);
            soma_model *m = soma_model_new(s, "share");
            soma_value x = soma_input(m, "x", SOMA_F32, SOMA_SHAPE(4)), v[VALUES], want[VALUES];
            v[0] = soma_relu(x);
            v[1] = soma_reshape(v[0], SOMA_SHAPE(SOMA_N, 2, 2));
            v[2] = soma_square(v[0]); /* not in place: v[0] is read again */
            v[3] = soma_sub(v[2], v[0]);
            v[4] = soma_tanh(v[3]);
            int n = 0;
            for (int i = 0; i < VALUES; i++)
                if (wanted >> i & 1)
                    want[n++] = v[i];
            soma_program *p = soma_compile(m, .batch = BATCH, .values = want, .n_values = n, .micro_batch = pieces[c]);
            assert_string_equal(soma_error(s), "");
            fill(p, x, 0.2);
            step(p);
            for (int i = 0; i < BATCH * 4; i++) {
                double r = fmax((double)(float)sin(0.9 * i + 0.2), 0),
                       right[VALUES] = {r, r, r * r, r * r - r, tanh(r * r - r)};
                for (int k = 0; k < VALUES; k++)
                    if (wanted >> k & 1)
                        assert_true(near(read(p, v[k])[i], right[k]));
            }
            soma_close(s);
        }
}

static void inputs_tensors_and_constants_can_be_read(void **state)
{
    (void)state;
    soma *s = opened(false);
    soma_model *m = soma_model_new(s, "plain");
    soma_value x = soma_input(m, "x", SOMA_F32, SOMA_SHAPE(2));
    soma_value w = soma_parameter(m, "w", SOMA_SHAPE(2), .init = "constant", .a = 4);
    float numbers[] = {1, 2};
    soma_tensor t = {SOMA_F32, SOMA_SHAPE(2), numbers};
    soma_value c = soma_constant(m, &t), d = soma_dropout(x, .rate = 0.5), twice = soma_add(w, w), y = soma_add(x, c);
    soma_value values[] = {
        x, w, c, d, twice, y, y, soma_reshape(w, SOMA_SHAPE(2, 1)), soma_reshape(x, SOMA_SHAPE(SOMA_N, 1, 2))};
    soma_program *p = soma_compile(m, .batch = 4, .values = values, .n_values = 9, .micro_batch = 2);
    assert_string_equal(soma_error(s), "");
    fill(p, x, 1);
    step(p);
    for (int i = 0; i < 8; i++) {
        float in = (float)sin(0.9 * i + 1);
        assert_true(read(p, x)[i] == in && read(p, d)[i] == in && read(p, values[8])[i] == in);
        assert_true(read(p, y)[i] == in + numbers[i % 2]);
    }
    for (int i = 0; i < 2; i++) {
        assert_true(read(p, w)[i] == 4 && read(p, c)[i] == numbers[i] && read(p, twice)[i] == 8);
        assert_true(read(p, values[7])[i] == 4);
    }
    ((float *)soma_tensor_at(m, 0).tensor.data)[1] = 5;
    soma_touch(m);
    step(p);
    assert_true(read(p, twice)[0] == 8 && read(p, twice)[1] == 10 && read(p, values[7])[1] == 5);
    soma_close(s);
}

/* ---- pieces ---- */

/* Mean over the batch, straight and as gradient of one (where only a constant spreads over the batch). */
static void means_over_the_batch_add_up(void **state)
{
    (void)state;
    enum { BATCH = 6 };
    const int64_t pieces[] = {BATCH, 2, 1};
    for (int c = 0; c < 6; c++) {
        soma *s = opened(c >= 3);
        soma_model *m = soma_model_new(s, "mean");
        soma_value x = soma_input(m, "x", SOMA_F32, SOMA_SHAPE(4));
        soma_value w = soma_parameter(m, "w", SOMA_SHAPE(4, 4), .init = "uniform"),
                   b = soma_parameter(m, "b", SOMA_SHAPE(4));
        soma_value p[] = {w, b}, g[2], columns = soma_reduce_mean(x, .axes = SOMA_AXIS(0));
        soma_grad(soma_reduce_mean(soma_matmul(x, w, .bias = b)), p, 2, g);
        soma_value values[] = {columns, g[0], g[1]};
        soma_program *program = soma_compile(m, .batch = BATCH, .values = values, .n_values = 3,
                                             .micro_batch = pieces[c % 3]);
        assert_string_equal(soma_error(s), "");
        assert_int_equal(soma_program_micro_batch(program), pieces[c % 3]);
        fill(program, x, 0.4);
        step(program);
        for (int j = 0; j < 4; j++) {
            double mean = 0;
            for (int r = 0; r < BATCH; r++)
                mean += sin(0.9 * (r * 4 + j) + 0.4) / BATCH;
            assert_true(near(read(program, columns)[j], mean));
            assert_true(near(read(program, g[1])[j], 0.25)); /* of b: 1 / columns */
            for (int k = 0; k < 4; k++)
                assert_true(near(read(program, g[0])[j * 4 + k], mean / 4));
        }
        soma_close(s);
    }
}

/* relu(x^T y + b): neither b nor relu may meet the single pieces' parts. */
static void a_product_over_the_batch_is_finished_once(void **state)
{
    (void)state;
    enum { BATCH = 4 };
    for (int c = 0; c < 3; c++) {
        soma *s = opened(false);
        soma_model *m = soma_model_new(s, "product");
        soma_value x = soma_input(m, "x", SOMA_F32, SOMA_SHAPE(3)), y = soma_input(m, "y", SOMA_F32, SOMA_SHAPE(3));
        soma_value b = soma_parameter(m, "b", SOMA_SHAPE(3), .init = "constant", .a = 0.1);
        soma_value product = soma_matmul(x, y, .bias = c == 1 ? b : soma_none(), .transpose_a = true),
                   z = soma_relu(product);
        soma_program *p = soma_compile(m, .batch = BATCH, .values = &z, .n_values = 1,
                                       .micro_batch = c == 1   ? 0
                                                      : c == 0 ? 1
                                                               : 2);
        assert_string_equal(soma_error(s), "");
        fill(p, x, 0.4);
        fill(p, y, 1.9);
        step(p);
        int positive = 0;
        for (int i = 0; i < 9; i++) {
            double sum = c == 1 ? 0.1 : 0;
            for (int r = 0; r < BATCH; r++)
                sum += sin(0.9 * (r * 3 + i / 3) + 0.4) * sin(0.9 * (r * 3 + i % 3) + 1.9);
            assert_true(near(read(p, z)[i], fmax(sum, 0)));
            positive += sum > 0;
        }
        assert_true(positive > 0 && positive < 9);
        if (c == 1) {
            assert_null(soma_compile(m, .batch = BATCH, .values = &z, .n_values = 1, .micro_batch = 2));
            assert_non_null(strstr(soma_error(s), "cannot be added up"));
        }
        soma_close(s);
    }
}

/* A library's packed gradients of weights are plain when read, whether or not pieces were added up. */
static void packed_sums_are_read_plain(void **state)
{
    (void)state;
    enum { BATCH = 4 };
    float *right = NULL;
    const int64_t pieces[] = {BATCH, BATCH, 2, 1};
    for (int c = 0; c < 4; c++) {
        soma *s = opened(c == 0);
        soma_model *m = soma_model_new(s, "conv");
        soma_value x = soma_input(m, "x", SOMA_F32, SOMA_SHAPE(16, 6, 6));
        soma_value w = soma_parameter(m, "w", SOMA_SHAPE(32, 16, 3, 3), .init = "he_uniform"), g;
        soma_grad(soma_reduce_mean(soma_square(soma_op_conv2d(x, w, .pad = {1, 1, 1, 1}))), &w, 1, &g);
        soma_program *p = soma_compile(m, .batch = BATCH, .values = &g, .n_values = 1, .micro_batch = pieces[c]);
        assert_string_equal(soma_error(s), "");
        fill(p, x, 0.4);
        step(p);
        size_t bytes = 32 * 16 * 9 * sizeof(float);
        if (c == 0) {
            right = malloc(bytes);
            assert_non_null(right);
            memcpy(right, read(p, g), bytes);
        }
        for (int i = 0; i < 32 * 16 * 9; i++)
            assert_true(fabs((double)(read(p, g)[i] - right[i])) < 1e-5);
        soma_close(s);
    }
    free(right);
}

/* [2N,2]: two rows of each sample. Pieces of the batch are kept to [N, ...]. */
static void several_rows_of_a_sample_are_not_cut(void **state)
{
    (void)state;
    soma *s = opened(false);
    soma_model *m = soma_model_new(s, "rows");
    soma_value x = soma_input(m, "x", SOMA_F32, SOMA_SHAPE(4)),
               rows = soma_square(soma_reshape(x, SOMA_SHAPE(2 * SOMA_N, 2)));
    soma_value sum = soma_reduce_sum(rows, .axes = SOMA_AXIS(0)), values[] = {rows, sum};
    soma_program *p = soma_compile(m, .batch = 4, .values = values, .n_values = 2);
    assert_string_equal(soma_error(s), "");
    assert_int_equal(soma_program_micro_batch(p), 4);
    assert_non_null(strstr(soma_program_micro_batch_reason(p), "elsewhere than in front"));
    fill(p, x, 0.1);
    step(p);
    assert_int_equal(soma_read(p, rows).shape.dim[0], 8);
    double total = 0;
    for (int i = 0; i < 16; i++) {
        double in = sin(0.9 * i + 0.1);
        assert_true(near(read(p, rows)[i], in * in));
        total += i % 2 ? 0 : in * in;
    }
    assert_true(near(read(p, sum)[0], total));
    assert_null(soma_compile(m, .batch = 4, .values = values, .n_values = 2, .micro_batch = 2));
    assert_non_null(strstr(soma_error(s), "cannot be cut"));
    soma_close(s);
}

static void a_batch_beyond_all_memory_is_refused_at_once(void **state)
{
    (void)state;
    soma *s = opened(false);
    soma_model *m = soma_model_new(s, "huge");
    soma_value y = soma_relu(soma_input(m, "x", SOMA_F32, SOMA_SHAPE(3)));
    assert_null(soma_compile(m, .batch = INT64_C(1) << 60, .values = &y, .n_values = 1));
    assert_non_null(strstr(soma_error(s), "too large"));
    soma_close(s);
}

/* ---- programs that share a model ---- */

static void what_was_fed_and_computed_survives_a_larger_program(void **state)
{
    (void)state;
    soma *s = opened(false);
    soma_model *m = soma_model_new(s, "grow");
    soma_value x = soma_input(m, "x", SOMA_F32, SOMA_SHAPE(4)), y = soma_square(x);
    soma_program *p = soma_compile(m, .batch = 2, .values = &y, .n_values = 1);
    fill(p, x, 0);
    step(p);
    soma_flip(p);
    fill(p, x, 2); /* into the other slot */
    assert_non_null(soma_compile(m, .batch = 5000, .values = &y, .n_values = 1));
    for (int i = 0; i < 8; i++)
        assert_true(near(read(p, y)[i], pow(sin(0.9 * i), 2)));
    soma_flip(p);
    step(p);
    for (int i = 0; i < 8; i++)
        assert_true(near(read(p, y)[i], pow(sin(0.9 * i + 2), 2)));
    soma_close(s);
}

static void run_objects_give_their_memory_back(void **state)
{
    (void)state;
    soma *s = opened(false);
    soma_model *m = soma_model_new(s, "runs");
    soma_value x = soma_input(m, "x", SOMA_F32, SOMA_SHAPE(4)), y = soma_tanh(x);
    soma_program *p = soma_compile(m, .batch = 2, .values = &y, .n_values = 1);
    uint64_t before = soma_memory_use(s).now;
    for (int i = 0; i < 100; i++) {
        soma_session *r = soma_session_new(p);
        assert_non_null(r);
        assert_int_equal(soma_session_step(r), SOMA_OK);
        soma_session_free(r);
    }
    assert_true(soma_memory_use(s).now == before);
    soma_close(s);
}

/* It does not count, and the next one computes everything. */
static void a_failed_first_step_leaves_nothing_behind(void **state)
{
    (void)state;
    soma *s = opened(false);
    soma_model *m = soma_model_new(s, "fails");
    soma_value x = soma_input(m, "x", SOMA_F32, SOMA_SHAPE(2)), t = soma_input(m, "t", SOMA_I32, SOMA_SCALAR);
    float two[] = {2, 2};
    soma_tensor c = {SOMA_F32, SOMA_SHAPE(2), two};
    soma_value four = soma_square(soma_constant(m, &c)), loss = soma_softmax_cross_entropy(soma_add(x, four), t);
    soma_value values[] = {four, loss};
    soma_program *p = soma_compile(m, .batch = 1, .values = values, .n_values = 2);
    assert_string_equal(soma_error(s), "");
    int32_t *label = soma_program_input(p, t).data;
    *label = 7;
    assert_int_equal(soma_step(p), SOMA_DATA);
    soma_clear(s);
    assert_int_equal(soma_program_step(p), 0);
    *label = 1;
    step(p);
    assert_true(read(p, four)[0] == 4 && read(p, four)[1] == 4);
    assert_true(near(read(p, loss)[0], log(2.0)));
    soma_close(s);
}

/* ---- programs that update ---- */

typedef struct trained {
    soma *s;
    soma_model *m;
    soma_value w, view, gradient, updates[4];
    int n;
} trained;

/* loss = sum of squares of w (2 and 2), rate 0.25: w becomes w - 0.25 2 w = 1. */
static trained small_training(void)
{
    trained n = {.s = opened(false)};
    n.m = soma_model_new(n.s, "update");
    n.w = soma_parameter(n.m, "w", SOMA_SHAPE(2), .init = "constant", .a = 2);
    n.view = soma_reshape(n.w, SOMA_SHAPE(2, 1));
    soma_value loss = soma_reduce_sum(soma_square(n.view));
    soma_grad(loss, &n.w, 1, &n.gradient);
    soma_optimizer sgd = soma_sgd(.lr = 0.25);
    n.n = soma_updates(loss, n.updates, 4, .optimizer = &sgd);
    assert_string_equal(soma_error(n.s), "");
    assert_true(n.n > 0);
    return n;
}

static void what_a_step_read_is_not_what_it_wrote(void **state)
{
    (void)state;
    trained n = small_training();
    soma_value values[] = {n.view, n.gradient, n.w};
    soma_program *p = soma_compile(n.m, .values = values, .n_values = 3, .updates = n.updates, .n_updates = n.n);
    assert_string_equal(soma_error(n.s), "");
    for (int k = 0; k < 3; k++) {
        step(p);
        double before = 2 * pow(0.5, k);
        assert_true(near(read(p, n.view)[1], before) && near(read(p, n.gradient)[1], 2 * before));
        assert_true(near(read(p, n.w)[1], before / 2));
    }
    soma_close(n.s);
}

/* Wanting what an update makes runs the update; programs beside it see the new numbers. */
static void a_wanted_update_is_an_update(void **state)
{
    (void)state;
    trained n = small_training();
    soma_value twice = soma_add(n.w, n.w);
    soma_program *p = soma_compile(n.m, .values = n.updates, .n_values = n.n);
    soma_program *q = soma_compile(n.m, .values = &twice, .n_values = 1);
    assert_string_equal(soma_error(n.s), "");
    for (int k = 0; k < 3; k++) {
        step(q);
        assert_true(near(read(q, twice)[0], 4 * pow(0.5, k)));
        step(p);
    }
    assert_null(soma_session_new(p));
    soma_clear(n.s);
    soma_value after = soma_add(n.updates[0], n.updates[0]);
    assert_null(soma_compile(n.m, .values = &after, .n_values = 1));
    assert_non_null(strstr(soma_error(n.s), "assigns at the end of the step"));
    soma_close(n.s);
}

/* ---- gradients ---- */

static void gradients_at_the_edges(void **state)
{
    (void)state;
    soma *s = opened(false);
    soma_model *m = soma_model_new(s, "edges");
    soma_value w = soma_parameter(m, "w", SOMA_SHAPE(1, 3), .init = "uniform", .a = 1, .b = 2);
    soma_value u = soma_parameter(m, "u", SOMA_SHAPE(1), .init = "constant", .a = 3), x[] = {w, u, w}, g[3], own, first,
               again;
    soma_value y = soma_matmul(w, w, .transpose_b = true); /* [1,1]: w read twice by one node */
    soma_grad(y, x, 3, g);
    soma_grad(u, &u, 1, &own);
    soma_value shared = soma_tanh(u), z = soma_reduce_sum(soma_add(soma_mul(shared, shared), shared));
    soma_grad(z, &u, 1, &first);
    soma_grad(z, &shared, 1, &again);
    soma_value values[] = {g[0], g[1], g[2], own, first, again};
    soma_program *p = soma_compile(m, .values = values, .n_values = 6);
    assert_string_equal(soma_error(s), "");
    step(p);
    const float *at = soma_tensor_at(m, 0).tensor.data;
    for (int i = 0; i < 3; i++)
        assert_true(near(read(p, g[0])[i], 2 * (double)at[i]) && read(p, g[2])[i] == read(p, g[0])[i]);
    assert_true(read(p, g[1])[0] == 0 && read(p, own)[0] == 1);
    double t = tanh(3);
    assert_true(near(read(p, again)[0], 2 * t + 1) && near(read(p, first)[0], (2 * t + 1) * (1 - t * t)));
    soma_value label = soma_input(m, "label", SOMA_I32, SOMA_SCALAR);
    assert_int_equal(soma_grad(z, &label, 1, g), SOMA_INVALID);
    assert_non_null(strstr(soma_error(s), "i32"));
    soma_close(s);
}

/* Overlapping windows over padding: each x gets one for each window whose largest it is, if it passed relu. */
static void relu_before_overlapping_pools_differentiates_right(void **state)
{
    (void)state;
    enum { SIDE = 5 };
    for (int exact = 0; exact < 2; exact++) {
        soma *s = opened(exact);
        soma_model *m = soma_model_new(s, "pool");
        soma_value x = soma_input(m, "x", SOMA_F32, SOMA_SHAPE(1, SIDE, SIDE)), g;
        soma_value y = soma_max_pool2d(soma_relu(x), .size = {3, 3}, .stride = {1, 1}, .pad = {1, 1, 1, 1});
        soma_grad(soma_reduce_sum(y), &x, 1, &g);
        soma_program *p = soma_compile(m, .values = &g, .n_values = 1);
        assert_string_equal(soma_error(s), "");
        float *in = soma_program_input(p, x).data;
        for (int i = 0; i < SIDE * SIDE; i++)
            in[i] = (float)((i * 7 + 3) % (SIDE * SIDE) - 22);
        step(p);
        double right[SIDE * SIDE] = {0};
        int passed = 0, stopped = 0;
        for (int row = 0; row < SIDE; row++)
            for (int column = 0; column < SIDE; column++) {
                int best = row * SIDE + column;
                for (int i = 0; i < 9; i++) {
                    int r = row + i / 3 - 1, c = column + i % 3 - 1;
                    if (r >= 0 && c >= 0 && r < SIDE && c < SIDE && in[r * SIDE + c] > in[best])
                        best = r * SIDE + c;
                }
                right[best] += in[best] > 0;
                *(in[best] > 0 ? &passed : &stopped) += 1;
            }
        assert_true(passed > 0 && stopped > 0);
        for (int i = 0; i < SIDE * SIDE; i++)
            assert_true(read(p, g)[i] == (float)right[i]);
        for (int i = 0; i < soma_program_nodes(p); i++)
            assert_string_not_equal(soma_program_node(p, i).op, "relu_grad"); /* merged */
        soma_close(s);
    }
}

/* ---- what nodes read ---- */

static void nodes_tell_what_they_read(void **state)
{
    (void)state;
    soma *s = opened(true);
    soma_model *m = soma_model_new(s, "told");
    soma_value x = soma_input(m, "x", SOMA_F32, SOMA_SHAPE(3));
    soma_value w = soma_parameter(m, "w", SOMA_SHAPE(2, 3), .init = "ones");
    soma_value y = soma_matmul(x, w, .transpose_b = true), z = soma_mul(soma_relu(y), soma_scalar(y, 0.5));
    soma_program *p = soma_compile(m, .values = &z, .n_values = 1, .batch = 4);
    assert_string_equal(soma_error(s), "");
    int last = soma_program_nodes(p) - 1;
    soma_plan_array a = soma_program_node_input(p, 0, 0), b = soma_program_node_input(p, 0, 1);
    assert_string_equal(a.source, "input");
    assert_string_equal(a.name, "x");
    assert_string_equal(b.source, "tensor");
    assert_string_equal(b.name, "w");
    assert_int_equal(a.node, -1);
    assert_int_equal(b.bytes, 2 * 3 * sizeof(float));
    assert_string_equal(soma_program_node_input(p, 0, 2).source, "none"); /* no bias */
    a = soma_program_node_input(p, last, 0);
    b = soma_program_node_output(p, a.node, a.output);
    assert_string_equal(a.source, "node");
    assert_int_equal(a.node, last - 1);
    assert_int_equal(b.node, a.node);
    assert_int_equal(b.type.shape.dim[0], 4);
    assert_int_equal(b.bytes, 4 * 2 * sizeof(float));
    assert_string_equal(soma_program_node_input(p, last, 1).source, "constant");
    assert_int_equal(soma_program_node(p, last).n_in, 2);
    assert_string_equal(soma_program_node_input(p, last, 2).source, "none"); /* past the end */
    assert_string_equal(soma_program_node_output(p, last + 1, 0).source, "none");
    soma_close(s);
}

/* ---- size ---- */

static void a_deep_chain_needs_two_arrays(void **state)
{
    (void)state;
    enum { DEPTH = 600, BATCH = 64 };
    soma *s = opened(false);
    soma_model *m = soma_model_new(s, "deep");
    soma_value x = soma_input(m, "x", SOMA_F32, SOMA_SHAPE(16)), h = x;
    for (int i = 0; i < DEPTH; i++)
        h = soma_add(soma_tanh(h), x);
    soma_program *p = soma_compile(m, .batch = BATCH, .values = &h, .n_values = 1);
    assert_string_equal(soma_error(s), "");
    assert_true(soma_program_memory(p).activations <= 2 * BATCH * 16 * sizeof(float));
    fill(p, x, 0.5);
    step(p);
    double in = sin(0.9 * 7 + 0.5), right = in;
    for (int i = 0; i < DEPTH; i++)
        right = tanh(right) + in;
    assert_true(near(read(p, h)[7], right));
    soma_close(s);
}

enum { WIDE = 512, LAYERS = 6 };

/* Two steps of a chain of layers whose weights are as large as their activations. Returns the first layer's weights. */
static const float *train_wide(soma *s, int64_t micro_batch, soma_plan_memory *memory)
{
    soma_model *m = soma_model_new(s, "wide");
    soma_value x = soma_input(m, "x", SOMA_F32, SOMA_SHAPE(WIDE)), h = x, updates[8];
    for (int i = 0; i < LAYERS; i++)
        h = soma_dense(h, .units = WIDE, .activation = "tanh");
    soma_value loss = soma_reduce_mean(soma_square(h));
    soma_optimizer sgd = soma_sgd(.lr = 30);
    int n = soma_updates(loss, updates, 8, .optimizer = &sgd, .total_steps = 2);
    soma_program *p = soma_compile(m, .batch = WIDE, .values = &loss, .n_values = 1, .updates = updates, .n_updates = n,
                                   .micro_batch = micro_batch);
    assert_string_equal(soma_error(s), "");
    *memory = soma_program_memory(p);
    for (int i = 0; i < 2; i++) {
        fill(p, x, 0.3 + i);
        soma_flip(p);
        step(p);
    }
    return soma_tensor_at(m, 0).tensor.data;
}

static void large_gradients_lie_over_activations(void **state)
{
    (void)state;
    soma *s = opened(false), *t = opened(false);
    soma_plan_memory memory, cut;
    const float *whole = train_wide(s, WIDE, &memory), *pieces = train_wide(t, WIDE / 2, &cut);
    const uint64_t large = WIDE * WIDE * sizeof(float);
    assert_true(memory.gradients >= LAYERS * large);
    assert_true(memory.activations < 4 * large); /* where LAYERS of them are alive when backward begins */
    for (int i = 0; i < WIDE * WIDE; i++)
        assert_true(near(whole[i], (double)pieces[i]));
    soma_close(s);
    soma_close(t);
}

static void names_of_tensors_are_unique(void **state)
{
    (void)state;
    soma *s = opened(false);
    soma_model *m = soma_model_new(s, "names");
    const char *const given[] = {"a", "a", "a_2", "a", "a_2", "a_2_2"};
    for (int i = 0; i < 6; i++)
        assert_true(soma_ok(soma_parameter(m, given[i], SOMA_SHAPE(1))));
    for (int i = 0; i < 6; i++)
        for (int k = 0; k < i; k++)
            assert_string_not_equal(soma_tensor_at(m, i).name, soma_tensor_at(m, k).name);
    soma_close(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sharing_storage_changes_nothing),
        cmocka_unit_test(inputs_tensors_and_constants_can_be_read),
        cmocka_unit_test(means_over_the_batch_add_up),
        cmocka_unit_test(a_product_over_the_batch_is_finished_once),
        cmocka_unit_test(packed_sums_are_read_plain),
        cmocka_unit_test(several_rows_of_a_sample_are_not_cut),
        cmocka_unit_test(a_batch_beyond_all_memory_is_refused_at_once),
        cmocka_unit_test(what_was_fed_and_computed_survives_a_larger_program),
        cmocka_unit_test(run_objects_give_their_memory_back),
        cmocka_unit_test(a_failed_first_step_leaves_nothing_behind),
        cmocka_unit_test(what_a_step_read_is_not_what_it_wrote),
        cmocka_unit_test(a_wanted_update_is_an_update),
        cmocka_unit_test(gradients_at_the_edges),
        cmocka_unit_test(relu_before_overlapping_pools_differentiates_right),
        cmocka_unit_test(nodes_tell_what_they_read),
        cmocka_unit_test(a_deep_chain_needs_two_arrays),
        cmocka_unit_test(large_gradients_lie_over_activations),
        cmocka_unit_test(names_of_tensors_are_unique),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
