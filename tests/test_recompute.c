/* SPDX-License-Identifier: Apache-2.0
 *
 * Training in less memory than the plan wants: with values computed again the losses and the trained tensors stay the
 * same to the bit, through batch normalisation too; micro-batches within rounding; what cannot fit is refused with a
 * figure that does.
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

enum { BATCH = 8, SIDE = 16, CLASSES = 4, BLOCKS = 10, STEPS = 3 };

typedef struct net {
    soma *s;
    soma_model *m;
    soma_value x, target, loss, updates[8];
    int n_updates;
} net;

/* Residual blocks with all that may run again: convolutions, relu, dropout, add, concat, both poolings, views,
 * sigmoid. */
static soma_value blocks(soma_value h)
{
    for (int i = 0; i < BLOCKS; i++) {
        soma_value y = soma_conv2d(h, .filters = 16, .kernel = {3, 3}, .same = true, .activation = "relu");
        if (i % 3 == 0)
            y = soma_dropout(y, .rate = 0.2);
        y = soma_conv2d(y, .filters = 16, .kernel = {3, 3}, .same = true);
        h = i % 4 == 1 ? soma_sigmoid(y) : soma_relu(soma_add(h, y));
        if (i == 6)
            h = soma_max_pool2d(h, .size = {2, 2});
    }
    soma_value sides[] = {h, soma_tanh(h)};
    return soma_average_pool2d(soma_concat(sides, 2, 1), .size = {2, 2});
}

/* A small ResNet: normalisations keep their statistics for the update of the running ones, and may run again all the
 * same. */
static soma_value residual(soma_value h)
{
    for (int i = 0; i < BLOCKS / 2; i++) {
        soma_value y = soma_conv2d(h, .filters = 16, .kernel = {3, 3}, .same = true, .no_bias = true);
        y = soma_batch_norm(y, .activation = "relu");
        y = soma_conv2d(y, .filters = 16, .kernel = {3, 3}, .same = true, .no_bias = true);
        h = soma_relu(soma_add(soma_batch_norm(y), h));
    }
    return soma_average_pool2d(h, .size = {4, 4});
}

static void build_with(net *n, bool exact, int threads, soma_value (*body)(soma_value h))
{
    soma_context_options o = {.struct_size = sizeof o, .seed = 3, .exact = exact, .threads = threads};
    n->s = soma_open(&o);
    n->m = soma_model_new(n->s, "deep");
    n->x = soma_input(n->m, "x", SOMA_F32, SOMA_SHAPE(1, SIDE, SIDE));
    n->target = soma_input(n->m, "target", SOMA_I32, SOMA_SCALAR);
    soma_value h = soma_conv2d(n->x, .filters = 16, .kernel = {3, 3}, .same = true);
    h = soma_dense(soma_flatten(body(h)), .units = CLASSES);
    n->loss = soma_softmax_cross_entropy(h, n->target);
    soma_optimizer sgd = soma_sgd(.lr = 0.02, .momentum = 0.9);
    n->n_updates = soma_updates(n->loss, n->updates, 8, .optimizer = &sgd, .total_steps = 10);
    assert_string_equal(soma_error(n->s), "");
}

static void build(net *n, bool exact, int threads)
{
    build_with(n, exact, threads, blocks);
}

static soma_program *compile(net *n, int64_t micro_batch, uint64_t budget)
{
    return soma_compile(n->m, .name = "train", .batch = BATCH, .values = &n->loss, .n_values = 1, .updates = n->updates,
                        .n_updates = n->n_updates, .micro_batch = micro_batch, .max_memory = budget);
}

static void train(net *n, soma_program *p, float losses[STEPS])
{
    assert_string_equal(soma_error(n->s), "");
    assert_non_null(p);
    for (int k = 0; k < STEPS; k++) {
        float *x = soma_program_input(p, n->x).data;
        int32_t *t = soma_program_input(p, n->target).data;
        for (int i = 0; i < BATCH * SIDE * SIDE; i++)
            x[i] = (float)sin(0.37 * i + k);
        for (int i = 0; i < BATCH; i++)
            t[i] = (i + k) % CLASSES;
        assert_int_equal(soma_step(p), SOMA_OK);
        losses[k] = *(const float *)soma_read(p, n->loss).data;
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
            difference = fmax(difference, fabs(u - v));
        }
        worst = fmax(worst, difference / largest);
    }
    return worst;
}

static void recomputation_changes_no_bit(void **state)
{
    (void)state;
    const double shares[] = {0.9, 0.7, 0.6, 0.5}; /* of the activations */
    for (int exact = 0; exact < 2; exact++) {
        net all;
        float want[STEPS], got[STEPS];
        build(&all, exact, 1);
        soma_program *p = compile(&all, BATCH, 0);
        soma_plan_memory full = soma_program_memory(p);
        assert_int_equal(soma_program_recomputed(p).nodes, 0);
        train(&all, p, want);
        double before = 0;
        for (int c = exact; c < 4; c += 1 + exact) { /* the reference is slow */
            net less;
            build(&less, exact, 1);
            uint64_t budget = full.total - (uint64_t)((1 - shares[c]) * (double)full.activations);
            p = compile(&less, BATCH, budget);
            train(&less, p, got);
            soma_plan_memory m = soma_program_memory(p);
            soma_plan_recomputation r = soma_program_recomputed(p);
            assert_true(m.total <= budget && m.activations < full.activations);
            assert_int_equal(r.saved, full.activations - m.activations);
            assert_true(r.nodes > 0 && r.flops > before && r.share >= 0 && r.share <= 1); /* nothing runs three times */
            before = r.flops;
            assert_memory_equal(want, got, sizeof want);
            assert_true(distance(all.m, less.m) == 0);
            soma_close(less.s);
        }
        soma_close(all.s);
    }
}

static void normalisations_run_again_without_their_statistics(void **state)
{
    (void)state;
    for (int exact = 0; exact < 2; exact++) {
        net all, half;
        float want[STEPS], got[STEPS];
        build_with(&all, exact, 1, residual);
        build_with(&half, exact, 1, residual);
        soma_program *p = compile(&all, 0, 0);
        uint64_t budget = soma_program_memory(p).total - (uint64_t)(0.45 * (double)soma_program_memory(p).activations);
        train(&all, p, want);
        p = compile(&half, 0, budget);
        train(&half, p, got);
        assert_true(soma_program_memory(p).total <= budget);
        int norms = 0;
        for (int i = 0; i < soma_program_nodes(p); i++)
            norms += soma_program_node(p, i).recomputed && !strcmp(soma_program_node(p, i).op, "batch_norm");
        assert_true(norms > 0 && norms <= BLOCKS);
        assert_memory_equal(want, got, sizeof want);
        assert_true(distance(all.m, half.m) == 0); /* running statistics too */
        soma_close(all.s);
        soma_close(half.s);
    }
}

/* The figure of a refusal is a budget that is then enough. */
static void a_refusal_tells_what_would_fit(void **state)
{
    (void)state;
    net n;
    float losses[STEPS];
    build(&n, false, 1);
    assert_null(compile(&n, BATCH, 4096));
    assert_int_equal(soma_error_status(n.s), SOMA_MEMORY);
    const char *figure = strstr(soma_error(n.s), "needs at least ");
    assert_non_null(figure);
    double least = strtod(figure + strlen("needs at least "), NULL);
    soma_clear(n.s);
    soma_program *p = compile(&n, BATCH, (uint64_t)((least + 0.2) * 1e6));
    train(&n, p, losses);
    assert_true(soma_program_recomputed(p).nodes > 0);
    soma_close(n.s);
}

static void micro_batches_come_before_recomputation(void **state)
{
    (void)state;
    net all, less;
    float want[STEPS], got[STEPS];
    build(&all, true, 1);
    build(&less, true, 1);
    soma_program *p = compile(&all, BATCH, 0);
    soma_plan_memory full = soma_program_memory(p);
    train(&all, p, want);
    p = compile(&less, 0, full.total - full.activations / 2);
    assert_non_null(p);
    assert_true(soma_program_micro_batch(p) < BATCH && soma_program_recomputed(p).nodes == 0);
    assert_true(soma_program_memory(p).total <= full.total - full.activations / 2);
    assert_non_null(strstr(soma_program_micro_batch_reason(p), "budget"));
    train(&less, p, got);
    for (int k = 0; k < STEPS; k++)
        assert_true(fabsf(want[k] - got[k]) < 1e-5f * want[k]);
    assert_true(distance(all.m, less.m) < 1e-4);
    /* both: what one sample at a time still needs is computed again */
    uint64_t one = soma_program_memory(compile(&less, 1, 0)).total;
    p = compile(&less, 0, one - 40000);
    assert_non_null(p);
    assert_true(soma_program_micro_batch(p) == 1 && soma_program_recomputed(p).nodes > 0);
    soma_close(all.s);
    soma_close(less.s);
}

/* Inputs and parameters of a kept value's clone may come from anywhere, what is read from outside stays. */
static void what_is_read_from_outside_is_kept(void **state)
{
    (void)state;
    soma_context_options o = {.struct_size = sizeof o, .seed = 3, .threads = 1};
    enum { WIDE = 10000 };
    soma *s = soma_open(&o);
    soma_model *m = soma_model_new(s, "read");
    soma_value x = soma_input(m, "x", SOMA_F32, SOMA_SHAPE(WIDE)), h[12], dx;
    h[0] = x;
    for (int i = 1; i < 12; i++)
        h[i] = soma_tanh(h[i - 1]);
    soma_grad(soma_reduce_sum(soma_square(h[11])), &x, 1, &dx);
    soma_value values[] = {dx, h[5], h[6]};
    float *want = malloc(12 * WIDE * sizeof *want);
    assert_non_null(want);
    for (int c = 0; c < 2; c++) {
        soma_program *p = soma_compile(m, .batch = 4, .values = values, .n_values = 3, .micro_batch = 4,
                                       .training = true, .max_memory = c ? 1800000 : 0);
        assert_string_equal(soma_error(s), "");
        for (int i = 0; i < 4 * WIDE; i++)
            ((float *)soma_program_input(p, x).data)[i] = (float)sin(0.1 * i);
        assert_int_equal(soma_step(p), SOMA_OK);
        assert_true((soma_program_recomputed(p).nodes > 0) == c);
        for (int k = 0; k < 3; k++)
            if (c)
                assert_memory_equal(want + k * 4 * WIDE, soma_read(p, values[k]).data, 4 * WIDE * sizeof *want);
            else
                memcpy(want + k * 4 * WIDE, soma_read(p, values[k]).data, 4 * WIDE * sizeof *want);
        soma_program_free(p);
    }
    free(want);
    soma_close(s);
}

/* The work block against the most bytes that are alive at once, below which no placing can go. */
static void placing_leaves_few_holes(void **state)
{
    (void)state;
    net n;
    build(&n, false, 1);
    soma_plan_memory full = soma_program_memory(compile(&n, BATCH, 0));
    for (int c = 0; c < 3; c++) {
        soma_program *program = compile(&n, BATCH, full.total - (uint64_t)c * full.activations / 5);
        assert_non_null(program);
        const soma_plan *p = program->plan;
        size_t *alive = calloc((size_t)p->n_tasks, sizeof *alive);
        assert_non_null(alive);
        size_t least = soma_alive(p, alive);
        assert_true(p->work_size >= least && p->work_size <= least + least / 50);
        free(alive);
    }
    soma_close(n.s);
}

/* A weight gradient in a library's order becomes plain at once, not when all others are made. */
static void packed_gradients_do_not_pile_up(void **state)
{
    (void)state;
    net n;
    build(&n, false, 1);
    soma_program *p = compile(&n, BATCH, 0);
    assert_non_null(p);
    for (int i = 0; i + 1 < soma_program_nodes(p); i++) {
        soma_plan_node node = soma_program_node(p, i), next = soma_program_node(p, i + 1);
        if (!strcmp(node.op, "conv2d_weight_grad") && strstr(node.output, "packed"))
            assert_string_equal(next.op, "reorder");
    }
    soma_close(n.s);
}

/* Large packed copies of a program that updates lie in the work block, each from its reorder to the one step behind it;
 * they are kept between steps where several pieces, or several steps, read them. */
static void packed_weights_pass(void **state)
{
    (void)state;
    soma_context_options o = {.struct_size = sizeof o, .seed = 3, .threads = 1};
    soma *s = soma_open(&o);
    soma_model *m = soma_model_new(s, "wide");
    soma_value x = soma_input(m, "x", SOMA_F32, SOMA_SHAPE(64, 16, 16)), updates[8], loss, h = x;
    for (int i = 0; i < 3; i++)
        h = soma_conv2d(h, .filters = 128, .kernel = {3, 3}, .same = true, .activation = "relu");
    loss = soma_reduce_mean(soma_square(h));
    soma_optimizer sgd = soma_sgd(.lr = 0.02);
    int n = soma_updates(loss, updates, 8, .optimizer = &sgd, .total_steps = 10);
    uint64_t full = 0;
    for (int c = 0; c < 4; c++) { /* training, in pieces, forward alone, and training in less memory */
        bool passing = c == 0 || c == 3;
        soma_program *p = soma_compile(m, .batch = 8, .values = &loss, .n_values = 1, .updates = updates,
                                       .n_updates = c == 2 ? 0 : n, .micro_batch = c == 1 ? 4 : 8,
                                       .max_memory = c == 3 ? full - full / 20 : 0);
        assert_string_equal(soma_error(s), "");
        full = c == 0 ? soma_program_memory(p).total : full;
        assert_true((soma_program_recomputed(p).nodes > 0) == (c == 3));
        int copies = 0;
        const soma_plan *plan = p->plan;
        for (int i = 0; i < plan->n_tasks; i++) {
            const soma_task *task = &plan->tasks[i];
            const soma_plan_value *in = &plan->values[task->in[0]], *out = &plan->values[task->out[0]];
            if (strcmp(task->op->name, "reorder") != 0 || in->storage != SOMA_STORE_TENSOR || out->size < 256000)
                continue;
            copies++;
            assert_int_equal(out->storage, passing ? SOMA_STORE_WORK : SOMA_STORE_KEPT);
            if (passing)
                assert_true(out->first == i && out->last == i + 1);
        }
        assert_true(copies >= (c == 2 ? 2 : 4));
        assert_true(passing ? plan->kept_size < 256000 : plan->kept_size > (size_t)copies * 256000);
        soma_program_free(p);
    }
    soma_close(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(recomputation_changes_no_bit),
        cmocka_unit_test(normalisations_run_again_without_their_statistics),
        cmocka_unit_test(a_refusal_tells_what_would_fit),
        cmocka_unit_test(micro_batches_come_before_recomputation),
        cmocka_unit_test(what_is_read_from_outside_is_kept),
        cmocka_unit_test(placing_leaves_few_holes),
        cmocka_unit_test(packed_gradients_do_not_pile_up),
        cmocka_unit_test(packed_weights_pass),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
