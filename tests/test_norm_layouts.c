/* SPDX-License-Identifier: Apache-2.0
 *
 * The fast kernels of batch_norm and its gradient in every layout, at every instruction set of this machine and on one
 * to three threads, against the f64 reference on the samples of the ops; results in place of x and dy too. Kernels for
 * bf16 read samples that are rounded to bf16, and may be off by half an ulp of it more where they store it.
 */
#include "op_samples.h"

#include "cpu/parallel.h"
#include "compile/kernel.h"
#include "op/batch_norm/batch_norm.h"

#include <float.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { MOST = 12 };

static const soma_layout_kind kinds[] = {SOMA_PLAIN, SOMA_NHWC, SOMA_NCHW8C, SOMA_NCHW16C};

/* Where an element of a plain array stands in the layout. */
static int64_t place(const soma_shape *shape, soma_layout_kind kind, int64_t element)
{
    if (shape->rank != 4 || kind == SOMA_PLAIN)
        return element;
    /* 32 bits: most of this test's time goes into these divisions */
    uint32_t c = (uint32_t)shape->dim[1], plane = (uint32_t)(shape->dim[2] * shape->dim[3]), i = (uint32_t)element;
    uint32_t block = kind == SOMA_NHWC ? c : kind == SOMA_NCHW8C ? 8 : 16;
    uint32_t n = i / (c * plane), q = i / plane % c, at = i % plane;
    return n * c * plane + q / block * block * plane + at * block + q % block;
}

/* The kernel on the sample's inputs with all arrays of x's shape in one layout; in_place: output 0 lies over input 0;
 * n_out: how many are asked for. */
static void run(const sample_case *c, const soma_kernel *kernel, soma_layout_kind kind, int threads, bool in_place,
                int n_out)
{
    soma_kernel_call k;
    soma_type type[MOST];
    soma_layout_kind kinds_of[MOST] = {SOMA_PLAIN};
    void *data[MOST + 1] = {NULL};
    char reason[SOMA_REASON_MAX];
    int n = c->n_in + n_out;
    for (int i = 0; i < n; i++) {
        const sample_array *a = i < c->n_in ? &c->in[i] : &c->out[i - c->n_in];
        soma_dtype dtype = kernel->stores == SOMA_BF16 && a->shape.rank > 1 ? SOMA_BF16 : SOMA_F32;
        type[i] = (soma_type){dtype, a->shape};
        if (!a->at)
            continue;
        kinds_of[i] = a->shape.rank == 4 ? kind : SOMA_PLAIN;
        data[i] = aligned_alloc(64, ((size_t)a->n * soma_dtype_size(dtype) + 127) / 64 * 64);
        for (int64_t e = 0; e < a->n; e++) /* outputs hold NaN before */
            soma_set(data[i], dtype, place(&a->shape, kind, e), i < c->n_in ? a->at[e] : (double)NAN);
    }
    void *own = data[c->n_in];
    if (in_place)
        data[c->n_in] = data[0];
    soma *s = soma_open(NULL);
    assert_int_equal(soma_kernel_open(&k, s, c->op, c->attrs.bytes, c->n_in, n_out, type), SOMA_OK);
    k.view.prepare.batch = k.view.prepare.full_batch = c->in[1].shape.dim[0];
    k.view.prepare.threads = threads;
    assert_int_equal(soma_kernel_prepare(&k, kernel, kinds_of), SOMA_OK);
    size_t scratch = k.view.prepare.scratch;
    if (scratch)
        memset(data[n] = aligned_alloc(64, (scratch + 63) / 64 * 64), 0xff, scratch);
    soma_run how = {.threads = threads, .reason = reason};
    assert_int_equal(soma_kernel_run(&k, data, &how), SOMA_OK);
    for (int i = 0; i < n_out; i++) {
        const sample_array *a = &c->out[i];
        double largest = 0;
        for (int64_t e = 0; a->at && e < a->n; e++)
            largest = fmax(largest, fabs(a->at[e]));
        for (int64_t e = 0; a->at && e < a->n; e++) {
            soma_dtype dtype = k.view.args[c->n_in + i].dtype;
            double y = soma_get(data[c->n_in + i], dtype, place(&a->shape, kind, e)), want = a->at[e];
            double bound = 8 * (double)FLT_EPSILON * (fabs(want) + largest);
            if (dtype == SOMA_BF16)
                bound += 0x1p-8 * (fabs(want) + bound);
            if (!(fabs(y - want) <= bound))
                fail_msg("%s \"%s\", kernel %s %s, layout %d, %d threads%s: output %d[%lld] is %.9g, not %.9g",
                         c->op->name, c->sample->name, kernel->name, soma_isa_name(kernel->isa), kind, threads,
                         in_place ? ", in place" : "", i, (long long)e, y, want);
        }
    }
    data[c->n_in] = own;
    for (int i = 0; i <= n; i++)
        free(data[i]);
    soma_kernel_close(&k);
    soma_close(s);
}

/* What bf16 can hold, in arrays that kernels for it read so. */
static void round_halves(sample_case *c)
{
    for (int i = 0; i < c->n_in; i++)
        for (int64_t e = 0; c->in[i].at && c->in[i].shape.rank > 1 && e < c->in[i].n; e++)
            c->in[i].at[e] = (double)soma_from_bf16(soma_to_bf16((float)c->in[i].at[e]));
}

static void in_every_layout(const soma_op *op, bool half)
{
    int runs = 0;
    for (const soma_sample *sample = op->samples; sample->name; sample++) {
        sample_case c;
        char error[512];
        sample_begin(&c, op, sample);
        if (half)
            round_halves(&c);
        assert_true(sample_run(&c, op, SOMA_F64, true, error, sizeof error));
        for (int k = 0; op->kernels[k + 1]; k++)
            for (size_t l = 0; l < sizeof kinds / sizeof kinds[0]; l++) {
                const soma_shape *x = &c.in[op == &soma_op_batch_norm ? 0 : 1].shape;
                int64_t block = kinds[l] == SOMA_NCHW16C ? 16 : kinds[l] == SOMA_NCHW8C ? 8 : 1;
                bool fits = kinds[l] == SOMA_PLAIN || (x->rank == 4 && x->dim[1] % block == 0);
                fits = fits && op->kernels[k]->isa <= soma_cpu_isa() && (op->kernels[k]->stores == SOMA_BF16) == half;
                for (int threads = 1; threads <= 3 && fits; threads++, runs++) {
                    run(&c, op->kernels[k], kinds[l], threads, false, c.n_out);
                    run(&c, op->kernels[k], kinds[l], threads, true, c.n_out);
                    run(&c, op->kernels[k], kinds[l], threads, true, 3); /* without dz */
                }
            }
        sample_end(&c);
    }
    assert_true(runs > 100 || (half && soma_cpu_isa() < 4));
}

static void normalises_in_every_layout(void **state)
{
    (void)state;
    in_every_layout(&soma_op_batch_norm, false);
    in_every_layout(&soma_op_batch_norm, true);
}

static void differentiates_in_every_layout(void **state)
{
    (void)state;
    in_every_layout(&soma_op_batch_norm_grad, false);
    in_every_layout(&soma_op_batch_norm_grad, true);
}

/* Arrays beyond the caches, whose results are stored past them. */
static void store_large_results(bool half)
{
    int64_t size = half ? 2 : 4, side = 2 * (int64_t)sqrt((double)soma_cache_bytes() / (double)(size * 2 * 16 * 4)) + 2;
    const soma_shape x = {4, {2, 16, side, side}}, one = {1, {16}}, none = {0, {0}};
    const soma_shape in[2][8] = {{x, one, one, one, one, none}, {x, x, one, one, one, one, none, none}};
    const char *fill[2] = {"nnpnn-", "nnnpnn--"}, *attrs[2] = {"activation=relu", "gate=relu"};
    const soma_op *ops[2] = {&soma_op_batch_norm, &soma_op_batch_norm_grad};
    for (int k = 0; k < 2; k++) {
        const soma_sample sample = {"beyond the caches", attrs[k], in[k], fill[k], 0, true};
        sample_case c;
        char error[512];
        sample_begin(&c, ops[k], &sample);
        if (half)
            round_halves(&c);
        assert_true((uint64_t)(c.in[0].n * size) > soma_cache_bytes());
        assert_true(sample_run(&c, ops[k], SOMA_F64, true, error, sizeof error));
        int best = 0;
        while (ops[k]->kernels[best]->isa > soma_cpu_isa() || (ops[k]->kernels[best]->stores == SOMA_BF16) != half)
            best++;
        for (int in_place = 0; in_place < 2; in_place++) {
            run(&c, ops[k]->kernels[best], SOMA_NCHW16C, 2, in_place, 3);
            run(&c, ops[k]->kernels[best], SOMA_NCHW8C, 2, in_place, 3);
        }
        sample_end(&c);
    }
}

static void large_results_are_stored(void **state)
{
    (void)state;
    store_large_results(false);
    if (soma_cpu_isa() >= 4)
        store_large_results(true);
}

/* A channel whose mean is a thousand times its deviation, and whose first values are far from all others. */
static void statistics_are_sound(void **state)
{
    (void)state;
    enum { COUNT = 20000 };
    static const soma_shape in[6] = {{4, {1, 1, 200, 100}}, {1, {1}}, {1, {1}}, {1, {1}}, {1, {1}}, {0, {0}}};
    static const soma_sample sample = {"far from zero", NULL, in, "nnp---", 0, true};
    sample_case c;
    sample_begin(&c, &soma_op_batch_norm, &sample);
    double mean = 0, variance = 0;
    for (int i = 0; i < COUNT; i++) {
        c.in[0].at[i] = (double)(float)(i < 150 ? -4000.0 : 1000 + sin(1.7 * i));
        mean += c.in[0].at[i] / COUNT;
    }
    for (int i = 0; i < COUNT; i++)
        variance += (c.in[0].at[i] - mean) * (c.in[0].at[i] - mean) / COUNT;
    char error[512];
    assert_true(sample_run(&c, c.op, SOMA_F32, false, error, sizeof error));
    assert_true(fabs(c.out[1].at[0] - mean) <= 1e-6 * fabs(mean));
    assert_true(fabs(c.out[2].at[0] - variance) <= 1e-6 * variance);
    for (int i = 0; i < 150; i++)
        c.in[0].at[i] = 1000;
    mean = variance = 0;
    for (int i = 0; i < COUNT; i++)
        mean += c.in[0].at[i] / COUNT;
    for (int i = 0; i < COUNT; i++)
        variance += (c.in[0].at[i] - mean) * (c.in[0].at[i] - mean) / COUNT;
    assert_true(sample_run(&c, c.op, SOMA_F32, false, error, sizeof error));
    assert_true(fabs(c.out[2].at[0] - variance) <= 1e-5 * variance);
    sample_end(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(normalises_in_every_layout),
        cmocka_unit_test(differentiates_in_every_layout),
        cmocka_unit_test(large_results_are_stored),
        cmocka_unit_test(statistics_are_sound),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
