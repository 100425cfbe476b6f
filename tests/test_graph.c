/* SPDX-License-Identifier: Apache-2.0
 *
 * Graphs and programs: what a whole program computes against arithmetic done here, pieces against the whole batch,
 * gradients of gradients, sentences of builders, memory that does not grow.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>
#include <soma/soma.h>

/* x [N,3] -> dense 4 tanh -> dense 2 -> mean squared error, all parameters' gradients. */
typedef struct net {
    soma_model *m;
    soma_value x, t, y, loss, p[4], g[4];
} net;

static void build(soma *s, net *n, soma_dtype dtype)
{
    n->m = soma_model_new(s, "net");
    n->x = soma_input(n->m, "x", dtype, SOMA_SHAPE(3));
    n->t = soma_input(n->m, "t", dtype, SOMA_SHAPE(2));
    n->p[0] = soma_parameter(n->m, "w1", SOMA_SHAPE(4, 3), .dtype = dtype, .init = "uniform", .a = -1, .b = 1);
    n->p[1] = soma_parameter(n->m, "b1", SOMA_SHAPE(4), .dtype = dtype, .init = "uniform", .a = -1, .b = 1);
    n->p[2] = soma_parameter(n->m, "w2", SOMA_SHAPE(2, 4), .dtype = dtype, .init = "uniform", .a = -1, .b = 1);
    n->p[3] = soma_parameter(n->m, "b2", SOMA_SHAPE(2), .dtype = dtype, .init = "uniform", .a = -1, .b = 1);
    soma_value h = soma_tanh(soma_matmul(n->x, n->p[0], .bias = n->p[1], .transpose_b = true));
    n->y = soma_matmul(h, n->p[2], .bias = n->p[3], .transpose_b = true);
    n->loss = soma_mean_squared_error(n->y, n->t);
    soma_grad(n->loss, n->p, 4, n->g);
}

static double number(const soma_tensor *t, int64_t i)
{
    return t->dtype == SOMA_F64 ? ((const double *)t->data)[i] : (double)((const float *)t->data)[i];
}

static void put(soma_tensor *t, int64_t i, double value)
{
    if (t->dtype == SOMA_F64)
        ((double *)t->data)[i] = value;
    else
        ((float *)t->data)[i] = (float)value;
}

static void feed(soma_program *p, const net *n, int64_t batch)
{
    soma_tensor x = soma_program_input(p, n->x), t = soma_program_input(p, n->t);
    assert_non_null(x.data);
    assert_non_null(t.data);
    for (int64_t i = 0; i < batch * 3; i++)
        put(&x, i, sin(0.7 * (double)i + 0.3));
    for (int64_t i = 0; i < batch * 2; i++)
        put(&t, i, cos(1.3 * (double)i));
}

/* Loss by hand, in f64. */
static double by_hand(const net *n, int64_t batch)
{
    soma_tensor w1 = soma_tensor_at(n->m, 0).tensor, b1 = soma_tensor_at(n->m, 1).tensor;
    soma_tensor w2 = soma_tensor_at(n->m, 2).tensor, b2 = soma_tensor_at(n->m, 3).tensor;
    double sum = 0;
    for (int64_t r = 0; r < batch; r++)
        for (int k = 0; k < 2; k++) {
            double y = number(&b2, k);
            for (int j = 0; j < 4; j++) {
                double h = number(&b1, j);
                for (int i = 0; i < 3; i++)
                    h += number(&w1, j * 3 + i) * sin(0.7 * (double)(r * 3 + i) + 0.3);
                y += tanh(h) * number(&w2, k * 4 + j);
            }
            double d = y - cos(1.3 * (double)(r * 2 + k));
            sum += d * d;
        }
    return sum / (double)(batch * 2);
}

static soma_program *compile(net *n, int64_t batch, int64_t piece)
{
    soma_value values[5] = {n->loss, n->g[0], n->g[1], n->g[2], n->g[3]};
    return soma_compile(n->m, .batch = batch, .values = values, .n_values = 5, .micro_batch = piece);
}

static void loss_and_gradients_are_right(void **state)
{
    (void)state;
    soma *s = soma_open(NULL);
    net n;
    build(s, &n, SOMA_F64);
    soma_program *p = compile(&n, 6, 6);
    assert_string_equal(soma_error(s), "");
    assert_non_null(p);
    feed(p, &n, 6);
    assert_int_equal(soma_step(p), SOMA_OK);
    soma_tensor loss = soma_read(p, n.loss);
    assert_true(fabs(number(&loss, 0) - by_hand(&n, 6)) < 1e-12);
    double largest = 0;
    for (int k = 0; k < 4; k++) {
        soma_tensor g = soma_read(p, n.g[k]), w = soma_tensor_at(n.m, k).tensor;
        for (int64_t i = 0; i < soma_shape_elements(&w.shape); i++) {
            double h = 1e-6, at = number(&w, i);
            put(&w, i, at + h);
            double up = by_hand(&n, 6);
            put(&w, i, at - h);
            double down = by_hand(&n, 6);
            put(&w, i, at);
            assert_true(fabs(number(&g, i) - (up - down) / (2 * h)) < 1e-8);
            largest = fmax(largest, fabs(number(&g, i)));
        }
    }
    assert_true(largest > 1e-2);
    soma_close(s);
}

static void pieces_give_the_gradients_of_the_whole_batch(void **state)
{
    (void)state;
    soma *s = soma_open(NULL);
    net n;
    build(s, &n, SOMA_F32);
    double whole[32];
    int64_t pieces[] = {12, 4, 1};
    for (int c = 0; c < 3; c++) {
        soma_program *p = compile(&n, 12, pieces[c]);
        assert_string_equal(soma_error(s), "");
        feed(p, &n, 12);
        for (int again = 0; again < 2; again++)
            assert_int_equal(soma_step(p), SOMA_OK);
        int at = 0;
        for (int k = -1; k < 4; k++) {
            soma_tensor g = soma_read(p, k < 0 ? n.loss : n.g[k]);
            for (int64_t i = 0; i < soma_shape_elements(&g.shape); i++, at++) {
                if (c == 0)
                    whole[at] = number(&g, i);
                else
                    assert_true(fabs(number(&g, i) - whole[at]) < 1e-6);
            }
        }
        assert_int_equal(at, 1 + 12 + 4 + 8 + 2);
        soma_program_free(p);
    }
    soma_value loss = n.loss;
    assert_null(soma_compile(n.m, .batch = 12, .values = &loss, .n_values = 1, .micro_batch = 5));
    assert_non_null(strstr(soma_error(s), "does not divide the batch of 12"));
    soma_close(s);
}

/* d/dx of sum((d/dx sum(x^3))^2) = 36 x^3. */
static void gradients_can_be_differentiated_again(void **state)
{
    (void)state;
    soma *s = soma_open(NULL);
    soma_model *m = soma_model_new(s, "twice");
    soma_value x = soma_parameter(m, "x", SOMA_SHAPE(3), .dtype = SOMA_F64, .init = "uniform", .a = 1, .b = 2);
    soma_value cube = soma_reduce_sum(soma_mul(soma_square(x), x)), first, second;
    soma_grad(cube, &x, 1, &first);
    soma_value sum = soma_reduce_sum(soma_square(first));
    soma_grad(sum, &x, 1, &second);
    soma_program *p = soma_compile(m, .values = &second, .n_values = 1);
    assert_string_equal(soma_error(s), "");
    assert_int_equal(soma_step(p), SOMA_OK);
    soma_tensor w = soma_tensor_at(m, 0).tensor, g = soma_read(p, second);
    for (int i = 0; i < 3; i++)
        assert_true(fabs(number(&g, i) - 36 * pow(number(&w, i), 3)) < 1e-9);
    soma_close(s);
}

static void the_first_mistake_is_told_with_its_place(void **state)
{
    (void)state;
    soma *s = soma_open(NULL);
    soma_model *m = soma_model_new(s, "wrong");
    soma_value x = soma_input(m, "x", SOMA_F32, SOMA_SHAPE(3));
    soma_value w = soma_parameter(m, "w", SOMA_SHAPE(5, 4));
    soma_value y = soma_matmul(x, w);
    soma_value z = soma_relu(soma_add(y, x)); /* later calls do nothing */
    assert_false(soma_ok(z));
    assert_non_null(strstr(soma_error(s), "test_graph.c:"));
    assert_non_null(strstr(soma_error(s), "matmul"));
    assert_non_null(strstr(soma_error(s), "f32[N,3]"));
    soma_output(m, "z", z);
    assert_null(soma_compile(m, .values = &z, .n_values = 1));
    soma_clear(s);
    assert_string_equal(soma_error(s), "");
    soma_close(s);
}

static void runs_of_one_program_are_independent(void **state)
{
    (void)state;
    soma *s = soma_open(NULL);
    net n;
    build(s, &n, SOMA_F32);
    soma_program *p = soma_compile(n.m, .batch = 2, .values = &n.y, .n_values = 1);
    assert_non_null(p);
    soma_session *a = soma_session_new(p), *b = soma_session_new(p);
    soma_tensor xa = soma_session_input(a, n.x), xb = soma_session_input(b, n.x);
    for (int i = 0; i < 6; i++) {
        put(&xa, i, 0.1 * i);
        put(&xb, i, -0.2 * i);
    }
    assert_int_equal(soma_session_step(a), SOMA_OK);
    assert_int_equal(soma_session_step(b), SOMA_OK);
    double first[4];
    soma_tensor ya = soma_session_read(a, n.y);
    for (int i = 0; i < 4; i++)
        first[i] = number(&ya, i);
    assert_int_equal(soma_session_step(b), SOMA_OK);
    assert_int_equal(soma_session_step(a), SOMA_OK);
    for (int i = 0; i < 4; i++)
        assert_true(number(&ya, i) == first[i]);
    soma_tensor yb = soma_session_read(b, n.y);
    assert_true(number(&ya, 3) != number(&yb, 3));
    soma_session_free(a);
    soma_session_free(b);
    soma_close(s);
}

static void a_step_allocates_nothing(void **state)
{
    (void)state;
    soma *s = soma_open(NULL);
    net n;
    build(s, &n, SOMA_F32);
    soma_program *p = compile(&n, 8, 0);
    feed(p, &n, 8);
    soma_memory before = soma_memory_use(s);
    for (int i = 0; i < 1000; i++)
        assert_int_equal(soma_step(p), SOMA_OK);
    assert_int_equal(soma_memory_use(s).calls, before.calls);
    soma_plan_memory plan = soma_program_memory(p);
    assert_true(plan.total > 0 && plan.parameters >= 4 * (12 + 4 + 8 + 2));
    soma_close(s);
}

static void a_budget_is_kept(void **state)
{
    (void)state;
    soma *s = soma_open(NULL);
    net n;
    build(s, &n, SOMA_F32);
    soma_value y = n.y;
    assert_null(soma_compile(n.m, .batch = 1000, .values = &y, .n_values = 1, .max_memory = 4096));
    assert_non_null(strstr(soma_error(s), "budget"));
    assert_int_equal(soma_error_status(s), SOMA_MEMORY);
    soma_close(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(loss_and_gradients_are_right),
        cmocka_unit_test(pieces_give_the_gradients_of_the_whole_batch),
        cmocka_unit_test(gradients_can_be_differentiated_again),
        cmocka_unit_test(the_first_mistake_is_told_with_its_place),
        cmocka_unit_test(runs_of_one_program_are_independent),
        cmocka_unit_test(a_step_allocates_nothing),
        cmocka_unit_test(a_budget_is_kept),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
