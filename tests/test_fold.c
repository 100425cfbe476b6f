/* SPDX-License-Identifier: Apache-2.0
 *
 * What programs that only predict make of residual blocks: normalisations folded into convolutions, sums added inside
 * them. The oracle is the same model with its inner values asked for, which keeps every node.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>
#include <soma/soma.h>

enum { BATCH = 3, CHANNELS = 16, SIDE = 9 };

typedef struct block {
    soma *s;
    soma_model *m;
    soma_value x, inner[3], y;
} block;

/* conv-bn-relu, conv-bn, and a 1x1 conv-bn on the way around; their sum, relu. */
static void build(block *b, bool exact)
{
    soma_context_options o = {.struct_size = sizeof o, .seed = 5, .exact = exact, .threads = 2};
    b->s = soma_open(&o);
    b->m = soma_model_new(b->s, "block");
    b->x = soma_input(b->m, "x", SOMA_F32, SOMA_SHAPE(CHANNELS, SIDE, SIDE));
    soma_value h = soma_conv2d(b->x, .filters = CHANNELS, .kernel = {3, 3}, .pad = {1, 1, 1, 1}, .no_bias = true);
    b->inner[0] = h;
    h = soma_batch_norm(h, .activation = "relu", .name = "bn1");
    h = soma_conv2d(h, .filters = CHANNELS, .kernel = {3, 3}, .pad = {1, 1, 1, 1});
    b->inner[1] = h;
    h = soma_batch_norm(h, .dialect = "keras", .no_scale = true, .name = "bn2");
    soma_value around = soma_conv2d(b->x, .filters = CHANNELS, .kernel = {1, 1}, .no_bias = true);
    b->inner[2] = around;
    around = soma_batch_norm(around, .name = "bn3");
    b->y = soma_relu(soma_add(h, around));
    soma_output(b->m, "y", b->y);
    assert_string_equal(soma_error(b->s), "");
    /* statistics and scales that matter */
    for (int i = 0; i < soma_tensor_count(b->m); i++) {
        soma_named_tensor t = soma_tensor_at(b->m, i);
        if (strncmp(t.name, "bn", 2) == 0)
            for (int c = 0; c < CHANNELS; c++)
                ((float *)t.tensor.data)[c] = 0.5f + 0.06f * (float)((c * 7 + i * 5) % 16);
    }
    soma_touch(b->m);
}

static int count(soma_program *p, const char *op)
{
    int n = 0;
    for (int i = 0; i < soma_program_nodes(p); i++)
        n += !strcmp(soma_program_node(p, i).op, op);
    return n;
}

static const float *run(block *b, soma_program *p)
{
    assert_string_equal(soma_error(b->s), "");
    soma_tensor x = soma_program_input(p, b->x);
    for (int i = 0; i < BATCH * CHANNELS * SIDE * SIDE; i++)
        ((float *)x.data)[i] = sinf(0.37f * (float)i);
    assert_int_equal(soma_step(p), SOMA_OK);
    return soma_read(p, b->y).data;
}

static void folded_and_plain_agree(bool exact)
{
    static float plain[BATCH * CHANNELS * SIDE * SIDE];
    block b;
    build(&b, exact);
    const soma_value all[4] = {b.y, b.inner[0], b.inner[1], b.inner[2]};
    soma_program *whole = soma_compile(b.m, .batch = BATCH, .values = all, .n_values = 4);
    memcpy(plain, run(&b, whole), sizeof plain);
    assert_int_equal(count(whole, "batch_norm"), 3);
    assert_int_equal(count(whole, "batch_norm_fold"), 0);

    soma_program *folded = soma_compile(b.m, .batch = BATCH, .values = &b.y, .n_values = 1);
    const float *y = run(&b, folded);
    assert_int_equal(count(folded, "batch_norm"), 0);
    assert_int_equal(count(folded, "batch_norm_fold"), 3);
    assert_int_equal(count(folded, "add"), 0);
    assert_int_equal(count(folded, "relu"), 0);
    double most = 0;
    for (int i = 0; i < BATCH * CHANNELS * SIDE * SIDE; i++) {
        assert_true(fabs(y[i] - plain[i]) <= 2e-5 * (1 + fabs(plain[i])));
        most = fmax(most, fabs(plain[i]));
    }
    assert_true(most > 1);

    /* a change of the statistics reaches the folded weights */
    soma_named_tensor mean = soma_tensor_find(b.m, "bn2.running_mean");
    for (int c = 0; c < CHANNELS; c++)
        ((float *)mean.tensor.data)[c] -= 100;
    soma_touch(b.m);
    y = run(&b, folded);
    for (int i = 0; i < BATCH * CHANNELS * SIDE * SIDE; i++)
        assert_true(y[i] > plain[i] + 10);
    soma_close(b.s);
}

static void fast_kernels_fold(void **state)
{
    (void)state;
    folded_and_plain_agree(false);
}

static void exact_kernels_fold(void **state)
{
    (void)state;
    folded_and_plain_agree(true);
}

/* Training keeps its normalisations: their gradient and statistics need them. */
static void training_does_not_fold(void **state)
{
    (void)state;
    block b;
    build(&b, false);
    soma_program *p = soma_compile(b.m, .batch = BATCH, .values = &b.y, .n_values = 1, .training = true);
    run(&b, p);
    assert_int_equal(count(p, "batch_norm"), 3);
    assert_int_equal(count(p, "batch_norm_fold"), 0);
    soma_close(b.s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fast_kernels_fold),
        cmocka_unit_test(exact_kernels_fold),
        cmocka_unit_test(training_does_not_fold),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
