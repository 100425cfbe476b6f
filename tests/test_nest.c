/* SPDX-License-Identifier: Apache-2.0
 *
 * Concat in place: networks whose concats share one array, whose slices are views and whose parts are written in place
 * give what the reference gives, which copies; in plain and blocked layouts, whole, in pieces and one sample at a time.
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
#include "run/program.h"

enum { LAYERS = 5, SIDE = 6, MOST = 16 };

typedef struct net {
    soma *s;
    soma_model *m;
    soma_value x, y, last, w[LAYERS + 2], dw[LAYERS + 2], loss;
} net;

static void open_net(net *n, bool exact, int64_t channels)
{
    soma_context_options o = {.struct_size = sizeof o, .seed = 7, .exact = exact, .threads = 1};
    n->s = soma_open(&o);
    n->m = soma_model_new(n->s, "nest");
    n->x = soma_input(n->m, "x", SOMA_F32, SOMA_SHAPE(channels, SIDE, SIDE));
}

static soma_value weight(net *n, int64_t out, int64_t in, int k)
{
    return soma_parameter(n->m, "w", SOMA_SHAPE(out, in, k, k), .init = "he_normal");
}

/* A dense block: every layer reads all before it, scaled (by a kernel that takes strides), and adds `growth`
 * channels. */
static void build_dense(net *n, bool exact, int64_t channels, int64_t growth)
{
    open_net(n, exact, channels);
    soma_value f[LAYERS + 1];
    f[0] = soma_relu(n->x);
    for (int k = 0; k < LAYERS; k++) {
        soma_value all = k ? soma_concat(f, k + 1, 1) : f[0];
        int64_t width = channels + k * growth;
        n->w[k] = weight(n, growth, width, k % 2 ? 3 : 1);
        f[k + 1] = soma_op_conv2d(soma_mul(all, soma_scalar(all, 0.5)), n->w[k], .pad = {k % 2, k % 2, k % 2, k % 2});
    }
    n->last = soma_concat(f, LAYERS + 1, 1);
    n->y = soma_mul(n->last, soma_scalar(n->last, 2));
    n->loss = soma_reduce_mean(soma_square(n->y));
    soma_grad(n->loss, n->w, LAYERS, n->dw);
    assert_string_equal(soma_error(n->s), "");
}

/* Runs one step of `values` and copies what they are, one after the other. */
static float *run(net *n, int64_t batch, int64_t piece, const soma_value *values, int count, soma_program **program)
{
    soma_program *p = soma_compile(n->m, .batch = batch, .values = values, .n_values = count, .micro_batch = piece,
                                   .training = true);
    assert_string_equal(soma_error(n->s), "");
    soma_tensor x = soma_program_input(p, n->x);
    for (int64_t i = 0; i < soma_shape_elements(&x.shape); i++)
        ((float *)x.data)[i] = (float)sin(0.7 * (double)i);
    for (int k = 0; k < 2; k++)
        assert_int_equal(soma_step(p), SOMA_OK);
    size_t all = 0, at = 0;
    for (int k = 0; k < count; k++) {
        soma_tensor t = soma_read(p, values[k]);
        all += (size_t)soma_shape_elements(&t.shape);
    }
    float *copy = malloc(all * sizeof *copy);
    assert_non_null(copy);
    for (int k = 0; k < count; k++) {
        soma_tensor t = soma_read(p, values[k]);
        size_t elements = (size_t)soma_shape_elements(&t.shape);
        memcpy(copy + at, t.data, elements * sizeof *copy);
        at += elements;
    }
    if (program)
        *program = p;
    return copy;
}

static void near_by(const float *a, const float *b, int64_t n, double share)
{
    double largest = 1e-6;
    for (int64_t i = 0; i < n; i++)
        largest = fmax(largest, fabs((double)b[i]));
    for (int64_t i = 0; i < n; i++)
        assert_true(fabs((double)a[i] - (double)b[i]) < share * largest);
}

static void near(const float *a, const float *b, int64_t n)
{
    near_by(a, b, n, 1e-5);
}

/* The same with batch normalisation and relu before every convolution: DenseNet's layers. */
static void build_norm(net *n, bool exact, int64_t channels, int64_t growth)
{
    open_net(n, exact, channels);
    soma_value f[LAYERS + 1];
    f[0] = soma_relu(n->x);
    for (int k = 0; k < LAYERS; k++) {
        soma_value all = k ? soma_concat(f, k + 1, 1) : f[0];
        n->w[k] = weight(n, growth, channels + k * growth, 1);
        f[k + 1] = soma_op_conv2d(soma_batch_norm(all, .activation = "relu"), n->w[k]);
    }
    n->last = soma_concat(f, LAYERS + 1, 1);
    n->y = soma_batch_norm(n->last);
    n->loss = soma_reduce_mean(soma_mul(soma_square(n->y), n->last));
    soma_grad(n->loss, n->w, LAYERS, n->dw);
    assert_string_equal(soma_error(n->s), "");
}

/* How many values live inside others, and how many slices are views. */
static void count_nested(const soma_program *p, int *inside, int *views)
{
    *inside = *views = 0;
    for (int i = 0; i < p->plan->n_values; i++)
        *inside += p->plan->values[i].inside > 0;
    for (int i = 0; i < soma_program_nodes(p); i++) {
        soma_plan_node node = soma_program_node(p, i);
        *views += !strcmp(node.op, "slice") && !strcmp(node.kernel, "view");
    }
}

/* Plain or blocked: in nhwc the channels of a part are scattered, and all is copied. */
static bool runs_of_bytes(const soma_program *p)
{
    for (int i = 0; i < soma_program_nodes(p); i++)
        if (!strcmp(soma_program_node(p, i).op, "concat") && strstr(soma_program_node(p, i).output, "nhwc"))
            return false;
    return true;
}

static void dense_blocks_share_one_array(void **state)
{
    (void)state;
    const struct {
        int64_t channels, growth;
    } sizes[] = {{32, 16}, {16, 32}, {8, 8}, {5, 3}, {24, 16}};
    int64_t all_inside = 0;
    for (size_t c = 0; c < sizeof sizes / sizeof *sizes; c++)
        for (int64_t batch = 1; batch <= 6; batch += 1 + (batch > 1)) {
            net exact, fast;
            build_dense(&exact, true, sizes[c].channels, sizes[c].growth);
            build_dense(&fast, false, sizes[c].channels, sizes[c].growth);
            int64_t n = batch * SIDE * SIDE * (sizes[c].channels + LAYERS * sizes[c].growth) + 1, inside = 0;
            for (int k = 0; k < LAYERS; k++)
                n += (sizes[c].channels + k * sizes[c].growth) * sizes[c].growth * (k % 2 ? 9 : 1);
            soma_value a[LAYERS + 2] = {exact.y, exact.loss}, b[LAYERS + 2] = {fast.y, fast.loss};
            memcpy(a + 2, exact.dw, LAYERS * sizeof *a);
            memcpy(b + 2, fast.dw, LAYERS * sizeof *b);
            float *want = run(&exact, batch, batch, a, LAYERS + 2, NULL);
            for (int64_t piece = batch; piece > 0; piece--) {
                soma_program *p;
                int nested, views;
                if (batch % piece)
                    continue;
                float *got = run(&fast, batch, piece, b, LAYERS + 2, &p);
                near(got, want, n);
                free(got);
                count_nested(p, &nested, &views);
                inside += nested;
                if (runs_of_bytes(p)) {
                    assert_true(nested >= LAYERS - 2); /* the last may be plain for those who read it */
                    assert_true(views >= LAYERS - 2);
                }
            }
            all_inside += inside;
            free(want);
            soma_close(exact.s);
            soma_close(fast.s);
        }
    assert_true(all_inside > 0);
}

static void norms_read_prefixes(void **state)
{
    (void)state;
    const int64_t widths[][2] = {{32, 16}, {16, 32}, {5, 3}};
    int64_t all = 0;
    for (int c = 0; c < 3; c++)
        for (int64_t batch = 1; batch <= 4; batch++) {
            int64_t channels = widths[c][0], growth = widths[c][1];
            net exact, fast;
            int nested, views;
            soma_program *p;
            build_norm(&exact, true, channels, growth);
            build_norm(&fast, false, channels, growth);
            for (int k = -1; k < LAYERS; k++) { /* y, then gradients, each by its own largest */
                soma_value a = k < 0 ? exact.y : exact.dw[k], b = k < 0 ? fast.y : fast.dw[k];
                float *want = run(&exact, batch, batch, &a, 1, NULL);
                float *got = run(&fast, batch, batch, &b, 1, &p);
                soma_tensor t = soma_read(p, b);
                near_by(got, want, soma_shape_elements(&t.shape), 1e-3);
                count_nested(p, &nested, &views);
                all += batch > 1 ? nested : 0;
                free(want);
                free(got);
            }
            soma_close(exact.s);
            soma_close(fast.s);
        }
    assert_true(all > 0);
}

/* A slice that begins inside a block of channels is copied, and so is the concat that it reads. */
static void build_split(net *n, bool exact)
{
    open_net(n, exact, 16);
    soma_value f[3] = {soma_relu(n->x)}, part;
    for (int k = 0; k < 2; k++) {
        soma_value all = k ? soma_concat(f, k + 1, 1) : f[0];
        n->w[k] = weight(n, 16, 16 + k * 16, 1);
        f[k + 1] = soma_op_conv2d(soma_mul(all, soma_scalar(all, 0.5)), n->w[k]);
        part = soma_slice(all, .axis = 1, .begin = k * 4, .end = k * 4 + 16);
    }
    n->last = soma_concat(f, 3, 1);
    n->w[2] = weight(n, 16, 16, 1);
    n->y = soma_op_conv2d(part, n->w[2]);
    n->loss = soma_add(soma_reduce_mean(soma_square(n->y)), soma_reduce_mean(soma_mul(n->last, n->last)));
    soma_grad(n->loss, n->w, 3, n->dw);
    assert_string_equal(soma_error(n->s), "");
}

static void slices_inside_a_block_are_copied(void **state)
{
    (void)state;
    for (int64_t batch = 1; batch <= 3; batch++) {
        net exact, fast;
        build_split(&exact, true);
        build_split(&fast, false);
        const int64_t n = batch * 16 * SIDE * SIDE + 1 + 16 * (16 + 32 + 16);
        soma_value a[5] = {exact.y, exact.loss, exact.dw[0], exact.dw[1], exact.dw[2]};
        soma_value b[5] = {fast.y, fast.loss, fast.dw[0], fast.dw[1], fast.dw[2]};
        float *want = run(&exact, batch, 0, a, 5, NULL), *got = run(&fast, batch, 0, b, 5, NULL);
        near(got, want, n);
        free(want);
        free(got);
        soma_close(exact.s);
        soma_close(fast.s);
    }
}

/* What is read from outside, twice joined, or read by kernels that want dense arrays. */
static void exceptions_are_copied(void **state)
{
    (void)state;
    float *want = NULL;
    for (int exact = 1; exact >= 0; exact--) {
        net n;
        open_net(&n, exact, 16);
        soma_value a = soma_tanh(n.x), b = soma_sigmoid(n.x), ab[] = {a, b}, aa[] = {a, a};
        soma_value first = soma_concat(ab, 2, 1), abb[] = {a, b, b}, second = soma_concat(abb, 3, 1);
        soma_value twice[] = {second, second}, values[] = {
                                                   first, /* wanted and the beginning of second */
                                                   second,
                                                   soma_concat(aa, 2, 1), /* one array in two places */
                                                   soma_concat(twice, 2, 1),
                                                   soma_tanh(soma_concat(abb, 3, 1)), /* dense reader of a prefix */
                                                   soma_slice(first, .axis = 1, .begin = 8, .end = 24),
                                                   soma_slice(soma_slice(second, .axis = 1, .begin = 16, .end = 48),
                                                              .axis = 1, .begin = 16, .end = 32),
                                                   soma_add(soma_slice(second, .axis = 1, .begin = 0, .end = 16),
                                                            soma_slice(second, .axis = 1, .begin = 32, .end = 48)),
                                                   soma_concat(ab, 2, 2), /* not along channels */
                                               };
        int count = (int)(sizeof values / sizeof *values);
        int64_t channels = 32 + 48 + 32 + 96 + 48 + 16 + 16 + 16 + 32;
        for (int64_t batch = 1; batch <= 3; batch += 2) {
            for (int k = 0; k <= count; k++) { /* all, and each alone */
                float *got = k < count ? run(&n, batch, batch, values + k, 1, NULL)
                                       : run(&n, batch, batch, values, count, NULL);
                if (k == count && batch == 3) {
                    if (exact)
                        want = got;
                    else
                        near(got, want, batch * channels * SIDE * SIDE);
                }
                if (got != want)
                    free(got);
            }
        }
        soma_close(n.s);
    }
    free(want);
}

/* Concats along one axis within concats along another, against what each element is: the reference shares arrays of one
 * sample as well. */
static void other_axes_are_copied(void **state)
{
    (void)state;
    for (int c = 0; c < 8; c++) {
        int inner = 1 + c % 2, outer = 1 + c / 2 % 2;
        int64_t batch = c < 4 ? 1 : 3;
        net n;
        soma_program *p;
        open_net(&n, false, 16);
        soma_value ab[] = {soma_tanh(n.x), soma_sigmoid(n.x)}, first = soma_concat(ab, 2, inner);
        soma_value parts[] = {first, soma_mul(first, soma_scalar(first, 0.5))}, all = soma_concat(parts, 2, outer);
        soma_value y = soma_mul(all, soma_scalar(all, 2));
        float *got = run(&n, batch, batch, &y, 1, &p);
        const float *x = soma_program_input(p, n.x).data; /* [batch, 16, SIDE, SIDE], as y is but for two axes */
        soma_shape shape = soma_value_type(y).shape;
        for (int64_t i = 0; i < batch * 4 * 16 * SIDE * SIDE; i++) {
            int64_t at[] = {i / SIDE / shape.dim[2] / shape.dim[1], i / SIDE / shape.dim[2] % shape.dim[1],
                            i / SIDE % shape.dim[2], i % SIDE};
            int64_t half = shape.dim[outer] / 2, quarter = shape.dim[inner] / (inner == outer ? 4 : 2);
            bool second = at[outer] >= half;
            at[outer] -= second ? half : 0;
            bool b = at[inner] >= quarter;
            at[inner] -= b ? quarter : 0;
            double v = (double)x[((at[0] * 16 + at[1]) * SIDE + at[2]) * SIDE + at[3]];
            v = (b ? 1 / (1 + exp(-v)) : tanh(v)) * (second ? 1 : 2);
            assert_true(fabs((double)got[i] - v) < 1e-5);
        }
        int inside, views;
        count_nested(p, &inside, &views);
        if (inner == 1 && outer == 1)
            assert_true(inside > 0);
        free(got);
        soma_close(n.s);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(dense_blocks_share_one_array),
        cmocka_unit_test(norms_read_prefixes),
        cmocka_unit_test(exceptions_are_copied),
        cmocka_unit_test(other_axes_are_copied),
        cmocka_unit_test(slices_inside_a_block_are_copied),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
