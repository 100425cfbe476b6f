/* SPDX-License-Identifier: Apache-2.0
 *
 * Winograd convolutions against the f64 reference: the bounds of docs/kernels/winograd.md on wide layers with normal
 * data, every way a tile can hang over an edge, the same bits twice, and who may use which kernel. Kernels for bf16
 * read numbers that bf16 can hold, and may be off by half an ulp of it more where they write it.
 */
#include <float.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "cpu/parallel.h"
#include "base/random.h"
#include "op/conv2d/conv2d.h"
#include "tensor/element.h"
#include <soma/soma.h>

/* ---- one op as a model: inputs are named tensors, so that a program without updates sees constant weights ---- */

typedef struct problem {
    const soma_op *op;
    soma_conv2d_attrs attrs;
    int n_in, n_out;
    soma_shape in[2];
    double terms;  /* products in a sum */
    bool positive; /* absolute values: gives sum |a| |b| */
    bool half;     /* x and dy hold what bf16 can hold; programs in f32 store them so */
} problem;

typedef struct answer {
    double *at[2];
    int64_t n[2];
    char kernel[32], note[120], error[700];
} answer;

static void drop(answer *a)
{
    free(a->at[0]);
    free(a->at[1]);
}

/* Close to normal, by the sum of twelve uniform numbers. */
static double normal(int input, int64_t i)
{
    double sum = -6;
    for (uint32_t k = 0; k < 3; k++) {
        uint32_t bits[4];
        const uint32_t counter[4] = {(uint32_t)i, (uint32_t)input, k, 0}, key[2] = {3, 4};
        soma_philox(NULL, counter, key, bits);
        for (int j = 0; j < 4; j++)
            sum += (double)soma_unit_f32(bits[j]);
    }
    return (double)(float)sum;
}

/* Has input j batches? Weights have not. */
static bool has_batches(const problem *q, int j)
{
    return j == 0 || q->op == &soma_op_conv2d_weight_grad;
}

static void fill(const problem *q, soma_tensor t, int j)
{
    for (int64_t i = 0; t.data && i < soma_shape_elements(&t.shape); i++) {
        double number = normal(j, i);
        if (q->half && has_batches(q, j))
            number = (double)soma_from_bf16(soma_to_bf16((float)number));
        soma_set(t.data, t.dtype, i, q->positive ? fabs(number) : number);
    }
}

static bool solve(const problem *q, const soma_op *op, soma_dtype dtype, bool exact, int threads, answer *a)
{
    memset(a, 0, sizeof *a);
    soma *s = soma_open(
        &(soma_context_options){.struct_size = sizeof(soma_context_options), .exact = exact, .threads = threads});
    soma_model *m = soma_model_new(s, "winograd");
    soma_value x[2], y[2] = {soma_none(), soma_none()};
    bool half = q->half && dtype == SOMA_F32, doubled = half && q->op != &soma_op_conv2d_weight_grad;
    for (int j = 0; j < 2; j++) {
        const int64_t *d = q->in[j].dim;
        char name[8];
        snprintf(name, sizeof name, "x%d", j);
        x[j] = half && has_batches(q, j) ? soma_input(m, name, dtype, SOMA_SHAPE(d[1], d[2], d[3]))
                                         : soma_parameter(m, name, q->in[j], .dtype = dtype);
    }
    soma_apply_with(op, x, 2, y, q->n_out,
                    &(soma_apply_options){.struct_size = sizeof(soma_apply_options), .attrs = &q->attrs});
    if (doubled) /* a reader of bf16, whose result is exact: what is read from outside would be f32 at once */
        y[0] = soma_add(y[0], y[0]);
    int64_t n = q->in[0].dim[0];
    soma_program *p = soma_compile(m, .values = y, .n_values = q->n_out, .batch = half ? n : 0,
                                   .micro_batch = half ? n : 0, .precision = half ? "bf16" : NULL);
    for (int j = 0; p && j < 2; j++) {
        char name[8];
        snprintf(name, sizeof name, "x%d", j);
        bool fed = half && has_batches(q, j);
        fill(q, fed ? soma_program_input(p, x[j]) : soma_tensor_find(m, name).tensor, j);
    }
    bool done = p && soma_step(p) == SOMA_OK;
    for (int k = 0; done && k < q->n_out; k++) {
        soma_tensor t = soma_read(p, y[k]);
        a->n[k] = soma_shape_elements(&t.shape);
        a->at[k] = malloc((size_t)a->n[k] * sizeof(double));
        for (int64_t i = 0; i < a->n[k]; i++)
            a->at[k][i] = soma_get(t.data, t.dtype, i) / (doubled ? 2 : 1);
    }
    for (int i = 0; p && i < soma_program_nodes(p); i++)
        if (!strcmp(soma_program_node(p, i).op, op->name)) {
            snprintf(a->kernel, sizeof a->kernel, "%s", soma_program_node(p, i).kernel);
            snprintf(a->note, sizeof a->note, "%s", soma_program_node(p, i).note);
        }
    snprintf(a->error, sizeof a->error, "%s", soma_error(s));
    soma_close(s);
    return done;
}

enum { FORWARD, INPUT, WEIGHTS };

static problem layer(int direction, int64_t n, int64_t c, int64_t k, int64_t h, int64_t w, int64_t before,
                     int64_t after)
{
    static const soma_op *const ops[] = {&soma_op_conv2d, &soma_op_conv2d_input_grad, &soma_op_conv2d_weight_grad};
    int64_t oh = h + before + after - 2, ow = w + before + after - 2;
    soma_shape x = SOMA_SHAPE(n, c, h, w), f = SOMA_SHAPE(k, c, 3, 3), y = SOMA_SHAPE(n, k, oh, ow);
    problem q = {.op = ops[direction], .n_in = 2, .n_out = direction == WEIGHTS ? 2 : 1};
    q.attrs = (soma_conv2d_attrs){
        .stride = {1, 1}, .dilation = {1, 1}, .groups = 1, .pad = {before, before, after, after}};
    q.attrs.size[0] = direction == WEIGHTS ? 3 : direction == INPUT ? h : 0;
    q.attrs.size[1] = direction == WEIGHTS ? 3 : direction == INPUT ? w : 0;
    q.in[0] = direction == INPUT ? y : x;
    q.in[1] = direction == WEIGHTS ? y : f;
    q.terms = (double)(direction == FORWARD ? 9 * c : direction == INPUT ? 9 * k : n * oh * ow);
    return q;
}

/* The highest level of kernels in f32: level 4 is for bf16. */
static int f32_isa(void)
{
#ifdef SOMA_BF16_EMULATED
    return 2;
#endif
    return soma_cpu_isa() < 4 ? soma_cpu_isa() : 3;
}

/* The op with that kernel only, at the best level this machine has, or at the one below. */
static bool only(const soma_op *op, const char *name, int isa, soma_op *copy, const soma_kernel *list[2])
{
    for (int i = 0; op->kernels[i]; i++)
        if (!strcmp(op->kernels[i]->name, name) && op->kernels[i]->isa == isa) {
            *copy = *op;
            list[0] = op->kernels[i];
            list[1] = NULL;
            copy->kernels = list;
            return true;
        }
    return false;
}

/* ---- the bounds: largest error over 4 sqrt(terms) eps (largest sum |a| |b|); root of mean squares over the result's
 * ---- */

static void check_levels(const problem *q, const char *name, double typical, bool print, int first, int last)
{
    problem absolute = *q;
    absolute.positive = true;
    answer want, sums, got;
    const double half_ulp = q->half && q->op != &soma_op_conv2d_weight_grad ? 0x1.001p-8 : 0;
    assert_true(solve(q, q->op, SOMA_F64, true, 1, &want));
    assert_true(solve(&absolute, q->op, SOMA_F64, true, 1, &sums));
    for (int isa = first; isa <= last; isa++) {
        const soma_kernel *list[2];
        soma_op op;
        assert_true(only(q->op, name, isa, &op, list));
        if (!solve(q, &op, SOMA_F32, false, 2, &got))
            fail_msg("%s at level %d: %s", name, isa, got.error);
        for (int k = 0; k < q->n_out; k++) {
            double worst = 0, errors = 0, squares = 0, largest = 0;
            for (int64_t i = 0; i < want.n[k]; i++) {
                double error = fmax(0, fabs(got.at[k][i] - want.at[k][i]) - half_ulp * fabs(want.at[k][i]));
                worst = fmax(worst, error);
                largest = fmax(largest, sums.at[k][i]);
                errors += error * error;
                squares += want.at[k][i] * want.at[k][i];
            }
            double share = worst / (4 * sqrt(q->terms) * (double)FLT_EPSILON * largest);
            if (print)
                printf("%-18s %-9s %-7s output %d of %4.0f terms: largest error %.3f of the bound, typical %.2e\n",
                       op.name, name, soma_isa_name(isa), k, q->terms, share, sqrt(errors / squares));
            if (!(share <= 1) || !(sqrt(errors) <= typical * sqrt(q->terms * squares)))
                fail_msg("%s \"%s\" at level %d, output %d: error %g of the bound, typical %g", op.name, name, isa, k,
                         share, sqrt(errors / squares));
        }
        drop(&got);
    }
    drop(&want);
    drop(&sums);
}

static void check(const problem *q, const char *name, double typical, bool print)
{
    check_levels(q, name, typical, print, q->half ? 4 : 2, q->half ? 4 : f32_isa());
}

#define TYPICAL_4 5e-8 /* times the root of the terms: docs/kernels/winograd.md */
#define TYPICAL_6 2.5e-7

static void errors_keep_to_the_bounds(void **state)
{
    (void)state;
    static const int64_t channels[] = {64, 128, 512};
    for (int i = 0; i < 3; i++) {
        int64_t c = channels[i];
        int64_t k = c < 512 ? 32 : 64; /* 512: U of more than 4 MB, whose next part is fetched */
        problem forward = layer(FORWARD, 1, c, k, 18, 14, 1, 1), input = layer(INPUT, 1, k, c, 18, 14, 1, 1);
        problem weights = layer(WEIGHTS, (int)(c / 64), 32, 48, 18, 14, 1, 1);
        check(&forward, "winograd", TYPICAL_4, true);
        check(&forward, "winograd6", TYPICAL_6, true);
        check(&input, "winograd", TYPICAL_4, true);
        check(&weights, "winograd", TYPICAL_4, true);
    }
}

/* ---- every remainder of a tile, padding of 0 to 2, more and fewer tiles than threads and register blocks ---- */

static void tiles_may_hang_over(void **state)
{
    (void)state;
    for (int64_t h = 1; h <= 13; h++)
        for (int64_t pad = 0; pad <= 2; pad++) {
            int64_t w = 14 - h, after = 2 - pad + (pad == 2 && h % 2); /* always a window that fits */
            if (h + pad + after < 3 || w + pad + after < 3)
                continue;
            for (int d = FORWARD; d <= WEIGHTS; d++) {
                problem q = layer(d, 1 + h % 3, 16, 48, h, w, pad, after);
                check(&q, "winograd", 1e-6, false);
            }
            problem q = layer(FORWARD, 1 + h % 3, 48, 16, h, w, pad, after);
            check(&q, "winograd6", 3e-6, false);
        }
}

/* All of it once more for bf16, in programs of that precision. */
static void halves_keep_to_the_bounds(void **state)
{
    (void)state;
    if (soma_cpu_isa() < 4) {
        skip();
        return;
    }
    for (int64_t h = 3; h <= 13; h++)
        for (int d = FORWARD; d <= WEIGHTS + 1; d++) {
            bool large = d > WEIGHTS; /* tiles */
            int64_t pad = h % 3, after = 2 - pad;
            problem q = layer(large ? FORWARD : d, 1 + h % 3, 32, 48, h, 15 - h, pad, after);
            q.half = true;
            check(&q, large ? "winograd6" : "winograd", large ? 3e-6 : 1e-6, false);
        }
    for (int d = FORWARD; d <= WEIGHTS; d++) {
        problem wide = layer(d, 2, 512, 64, 18, 14, 1, 1), shared = layer(d, 1, 160, 176, 7, 6, 1, 1);
        wide.half = shared.half = true;
        check(&wide, "winograd", TYPICAL_4, true);
        check(&shared, "winograd", 1e-7, false);
    }
}

/* Few tiles and many channels: threads share a block. */
static void threads_may_share_a_block(void **state)
{
    (void)state;
    for (int d = FORWARD; d <= WEIGHTS; d++) {
        problem q = layer(d, 1, 160, 176, 7, 6, 1, 1);
        check(&q, "winograd", 1e-7, false);
    }
}

/* U of more than 16 MB: threads share blocks of many tiles, one thread works in the same way, and the bits are the same
 * for any number of them. */
static void wide_layers_share_blocks(void **state)
{
    (void)state;
    for (int d = FORWARD; d <= INPUT; d++) {
        problem q = d == FORWARD ? layer(d, 9, 7296, 16, 5, 1, 1, 1) : layer(d, 9, 16, 7296, 5, 1, 1, 1);
        answer one, two;
        const soma_kernel *list[2];
        soma_op op;
        check(&q, "winograd", TYPICAL_4, false);
        assert_true(only(q.op, "winograd", f32_isa(), &op, list));
        assert_true(solve(&q, &op, SOMA_F32, false, 1, &one));
        assert_true(solve(&q, &op, SOMA_F32, false, 2, &two));
        assert_non_null(strstr(one.note, "2 shared blocks of 9 tiles"));
        assert_non_null(strstr(two.note, "2 shared blocks of 9 tiles"));
        assert_memory_equal(one.at[0], two.at[0], (size_t)one.n[0] * sizeof(double));
        drop(&one);
        drop(&two);
    }
}

/* U of less than 16 MB, but own blocks would take more than 64 MB of scratch: threads share smaller ones, however many
 * there are. The first pictures alone have a block of their own, for the same bits. */
static void blocks_are_shared_where_memory_is_short(void **state)
{
    (void)state;
    problem q = layer(FORWARD, 64, 7280, 16, 1, 1, 1, 1), few = layer(FORWARD, 9, 7280, 16, 1, 1, 1, 1);
    answer shared, own;
    const soma_kernel *list[2];
    soma_op op;
    check_levels(&q, "winograd", TYPICAL_4, false, f32_isa(), f32_isa());
    assert_true(only(q.op, "winograd", f32_isa(), &op, list));
    assert_true(solve(&q, &op, SOMA_F32, false, 5, &shared));
    assert_true(solve(&few, &op, SOMA_F32, false, 2, &own));
    assert_string_equal(shared.note, "F(4x4, 3x3), 4 shared blocks of 16 tiles");
    assert_string_equal(own.note, "F(4x4, 3x3), 1 own blocks of 9 tiles");
    assert_memory_equal(shared.at[0], own.at[0], (size_t)own.n[0] * sizeof(double));
    drop(&shared);
    drop(&own);
}

/* An odd number of blocks of 8 channels: the last group of written ones is one vector wide. */
static void groups_may_be_cut(void **state)
{
    (void)state;
    for (int d = FORWARD; d <= WEIGHTS; d++) {
        problem q = layer(d, 2, 24, 40, 9, 11, 1, 1), few = layer(d, 1, 24, 40, 9, 11, 1, 1);
        check_levels(&q, "winograd", 1e-6, false, 2, 2);
        check_levels(&few, "winograd", 1e-6, false, 2, 2);
    }
}

/* One thread has blocks of its own; two share two blocks, where the tiles and the channels are that many. */
static void blocks_add_up(void **state)
{
    (void)state;
    problem q = layer(WEIGHTS, 16, 208, 208, 20, 20, 1, 1);
    answer own, shared;
    const soma_kernel *list[2];
    soma_op op;
    assert_true(only(q.op, "winograd", f32_isa(), &op, list));
    assert_true(solve(&q, &op, SOMA_F32, false, 1, &own));
    assert_true(solve(&q, &op, SOMA_F32, false, 2, &shared));
    assert_non_null(strstr(own.note, "own blocks"));
    assert_non_null(strstr(shared.note, "2 shared blocks"));
    for (int k = 0; k < 2; k++) {
        double errors = 0, squares = 0;
        for (int64_t i = 0; i < own.n[k]; i++) {
            errors += (own.at[k][i] - shared.at[k][i]) * (own.at[k][i] - shared.at[k][i]);
            squares += own.at[k][i] * own.at[k][i];
        }
        assert_true(sqrt(errors) <= 1e-7 * sqrt(q.terms * squares));
    }
    drop(&own);
    drop(&shared);
}

/* ---- the same bits for the same number of threads ---- */

static void repeat(const problem *q, int threads)
{
    answer once, again;
    const soma_kernel *list[2];
    soma_op op;
    assert_true(only(q->op, "winograd", f32_isa(), &op, list));
    assert_true(solve(q, &op, SOMA_F32, false, threads, &once));
    assert_true(solve(q, &op, SOMA_F32, false, threads, &again));
    for (int k = 0; k < q->n_out; k++)
        assert_memory_equal(once.at[k], again.at[k], (size_t)once.n[k] * sizeof(double));
    drop(&once);
    drop(&again);
}

static void bits_repeat(void **state)
{
    (void)state;
    for (int d = FORWARD; d <= WEIGHTS; d++)
        for (int threads = 1; threads <= 2; threads++) {
            problem shared = layer(d, 1, 160, 64, 12, 5, 1, 1), own = layer(d, 9, 16, 32, 20, 20, 1, 1);
            repeat(&shared, threads);
            repeat(&own, threads);
        }
}

/* ---- who may use which ---- */

static void scratch_is_bounded(void **state)
{
    (void)state;
    const struct {
        const char *name;
        problem q;
    } cases[] = {{"winograd", layer(FORWARD, 14, 33280, 16, 1, 1, 1, 1)}, /* not even shared blocks */
                 {"winograd6", layer(FORWARD, 14, 18720, 16, 1, 1, 1, 1)},
                 {"winograd", layer(INPUT, 14, 16, 33280, 1, 1, 1, 1)},
                 {"winograd", layer(WEIGHTS, 1, 1024, 1024, 3, 3, 1, 1)}};
    for (int i = 0; i < 4; i++)
        for (int threads = 1; threads <= 8; threads += 7) {
            const soma_kernel *list[2];
            soma_op op;
            answer a;
            assert_true(only(cases[i].q.op, cases[i].name, f32_isa(), &op, list));
            assert_false(solve(&cases[i].q, &op, SOMA_F32, false, threads, &a));
            assert_non_null(strstr(a.error, "MB of scratch"));
            drop(&a);
        }
}

static void exact_programs_never_do(void **state)
{
    (void)state;
    for (int d = FORWARD; d <= WEIGHTS; d++) {
        problem q = layer(d, 2, 64, 64, 14, 14, 1, 1);
        answer a;
        assert_true(solve(&q, q.op, SOMA_F32, true, 1, &a));
        assert_string_equal(a.kernel, "reference");
        drop(&a);
    }
}

/* Large tiles: where a picture is large, and not in a program that updates what it reads. */
static void large_tiles_are_for_prediction(void **state)
{
    (void)state;
    const char *const want[] = {"winograd6", "winograd"};
    const soma_optimizer sgd = soma_sgd(.lr = 0.1);
    for (int training = 0; training < 2; training++) {
        soma *s = soma_open(NULL);
        soma_model *m = soma_model_new(s, "large");
        soma_value x = soma_input(m, "x", SOMA_F32, SOMA_SHAPE(32, 36, 36)), updates[8];
        soma_value loss = soma_reduce_mean(soma_square(soma_conv2d(x, .filters = 32, .kernel = {3, 3})));
        int n = training ? soma_updates(loss, updates, 8, .optimizer = &sgd) : 0;
        soma_program *p = soma_compile(m, .batch = 2, .values = &loss, .n_values = 1, .updates = updates,
                                       .n_updates = n);
        assert_string_equal(soma_error(s), "");
        bool found = false;
        for (int i = 0; i < soma_program_nodes(p); i++)
            if (!strcmp(soma_program_node(p, i).op, "conv2d")) {
                assert_string_equal(soma_program_node(p, i).kernel, want[training]);
                found = true;
            }
        assert_true(found);
        soma_close(s);
    }
}

int main(void)
{
    if (soma_cpu_isa() < 2) {
        printf("skipped: Winograd convolution is made for AVX2 and AVX-512\n");
        return 77;
    }
    const struct CMUnitTest all[] = {
        cmocka_unit_test(errors_keep_to_the_bounds),
        cmocka_unit_test(tiles_may_hang_over),
        cmocka_unit_test(halves_keep_to_the_bounds),
        cmocka_unit_test(threads_may_share_a_block),
        cmocka_unit_test(wide_layers_share_blocks),
        cmocka_unit_test(blocks_are_shared_where_memory_is_short),
        cmocka_unit_test(groups_may_be_cut),
        cmocka_unit_test(blocks_add_up),
        cmocka_unit_test(bits_repeat),
        cmocka_unit_test(scratch_is_bounded),
        cmocka_unit_test(exact_programs_never_do),
        cmocka_unit_test(large_tiles_are_for_prediction),
    };
    return cmocka_run_group_tests(all, NULL, NULL);
}
