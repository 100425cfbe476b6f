/* SPDX-License-Identifier: Apache-2.0
 *
 * Every kernel of convolution, matmul, pooling, reorder and some elementwise ops, in every layout it takes, on one and
 * two threads, against the f64 reference on the samples of the op: |error| <= 4 sqrt(K) eps sum|a||b|, where the sum is
 * the reference on absolute values. Kernels that take bf16 once more on inputs rounded to bf16, and half an ulp of bf16
 * more where they write it.
 */
#include "layout_call.h"

#include "cpu/parallel.h"
#include "tensor/element.h"
#include "op/conv2d/conv2d.h"
#include "op/matmul/matmul.h"
#include "op/reorder/reorder.h"

#include <math.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* ---- the comparison ---- */

typedef struct subject {
    const soma_op *op;
    const soma_sample *sample;
    const soma_kernel *kernel;
    double terms; /* K of the bound */
} subject;

/* Gradients of overlapping windows are added where they are stored: every term is rounded. So is what a library makes
 * of dx before another gradient is added to it. */
static bool adds_up(const soma_op *op)
{
    return strstr(op->name, "pool2d_grad") != NULL;
}
static bool adds_behind(const subject *s, const layout_arrays *a)
{
    return !strcmp(s->op->name, "conv2d_input_grad") && a->type[SOMA_CONV2D_ADDED].shape.rank >= 0 &&
           strstr(s->kernel->name, "onednn");
}

static void compare(const subject *s, const layout_arrays *a, int i, const void *got, const layout_call *c)
{
    for (int64_t j = 0; j < layout_elements(a, i); j++) {
        bool byte = a->type[i].dtype == SOMA_U8;
        double y = byte ? ((const uint8_t *)got)[j] : (double)((const float *)got)[j];
        double bound = byte ? 0 : 4 * sqrt(s->terms) * 0x1p-24 * (a->bound[i][j] + 1e-3);
        if (c->arg[i].dtype == SOMA_BF16)
            bound += 0x1p-8 * (adds_up(s->op) ? s->terms * a->bound[i][j] : fabs(a->exact[i][j]) + bound);
        if (c->arg[i].dtype == SOMA_BF16 && adds_behind(s, a))
            bound += 0x1p-8 * a->bound[i][j];
        if (!(fabs(y - a->exact[i][j]) <= bound))
            fail_msg("%s, sample \"%s\", kernel %s %d (%s), threads %d: output %d, element %lld is %.9g, not %.9g "
                     "(bound %.3g)",
                     s->op->name, s->sample->name, s->kernel->name, s->kernel->isa, c->kernel.view.note, c->p->threads,
                     i - a->n_in, (long long)j, y, a->exact[i][j], bound);
    }
}

/* Runs the subject with these layouts (NULL: its request); false: it refused. */
static bool try_layouts(const subject *s, void *attrs, const layout_arrays *a, const soma_layout_kind *kinds,
                        int threads)
{
    layout_call c;
    int n = a->n_in + a->n_out;
    void *there[LAYOUT_ARGS] = {NULL};
    layout_call_open(&c, s->op, attrs, a->n_in, a->n_out, a->type, threads);
    if (a->half)
        layout_type_halves(&c, a, s->kernel->bf16 == SOMA_BF16_FOLLOW || threads == 1);
    int before = soma_parallel_enter(threads);
    bool runs = soma_kernel_prepare(&c.kernel, s->kernel, kinds) == SOMA_OK;
    if (!runs)
        assert_true(c.kernel.view.reason[0]);
    int over = s->op->inplace_in - 1; /* output 0 lies over this input, as in a plan */
    bool in_place = runs && over >= 0 && over < a->n_in && a->type[over].shape.rank >= 0 && !c.p->apart &&
                    threads == 2 && c.arg[over].dtype == c.arg[a->n_in].dtype &&
                    c.arg[over].layout.kind == c.arg[a->n_in].layout.kind &&
                    layout_elements(a, over) == layout_elements(a, a->n_in);
    for (int i = 0; i < n && runs; i++) {
        if (a->type[i].shape.rank < 0)
            continue;
        c.data[i] = there[i] = aligned_alloc(64, (soma_arg_bytes(&c.arg[i]) + 127) / 64 * 64);
        memset(there[i], 0xff, soma_arg_bytes(&c.arg[i])); /* outputs hold NaN before */
        if (i < a->n_in)
            layout_move(&c.arg[i], a->plain[i], there[i], false);
    }
    if (in_place)
        c.data[a->n_in] = c.data[over];
    if (runs)
        assert_int_equal(layout_call_run(&c), SOMA_OK);
    for (int i = a->n_in; i < n && runs; i++) {
        layout_move(&c.arg[i], a->plain[i], c.data[i], true);
        compare(s, a, i, a->plain[i], &c);
    }
    soma_parallel_leave(before);
    for (int i = 0; i < n; i++)
        free(there[i]);
    layout_call_close(&c);
    return runs;
}

static int try_all(const subject *s, void *attrs, const layout_arrays *a)
{
    soma_layout_kind kinds[LAYOUT_ARGS] = {SOMA_PLAIN};
    int ran = 0;
    do {
        for (int threads = 1; threads <= 2; threads++)
            ran += try_layouts(s, attrs, a, kinds, threads);
    } while (layout_next(s->kernel, a, kinds));
    return ran;
}

static double terms_of(const soma_op *op, const void *attrs, const layout_arrays *a)
{
    soma_arg arg[LAYOUT_ARGS];
    for (int i = 0; i < a->n_in + a->n_out; i++)
        arg[i] = (soma_arg){.shape = a->type[i].shape, .elements = layout_elements(a, i)};
    double flops = op->flops ? op->flops(attrs, arg, a->n_in, arg + a->n_in) : 0;
    double terms = flops / 2 / (double)layout_elements(a, a->n_in);
    return terms > 16 ? terms : 16; /* activations and means cost a few roundings of their own */
}

static void bound_by_largest(layout_arrays *a)
{
    double largest = 0;
    for (int64_t j = 0; j < layout_elements(a, a->n_in); j++)
        largest = fmax(largest, fabs(a->exact[a->n_in][j]));
    for (int64_t j = 0; j < layout_elements(a, a->n_in); j++)
        a->bound[a->n_in][j] = largest;
}

static int check_sample(const soma_op *op, const soma_sample *sample, int64_t attrs_space[32], bool half)
{
    void *attrs = attrs_space;
    layout_arrays a;
    int ran = 0;
    memset(attrs, 0, 32 * sizeof(int64_t));
    layout_sample_open(op, sample, attrs, &a, half);
    int *activation = op == &soma_op_conv2d         ? &((soma_conv2d_attrs *)attrs)->activation
                      : !strcmp(op->name, "matmul") ? &((soma_matmul_attrs *)attrs)->activation
                                                    : NULL;
    int act = activation ? *activation : 0;
    if (activation)
        *activation = SOMA_ACT_NONE;
    layout_reference(op, attrs, &a, a.bound);
    if (activation)
        *activation = act;
    layout_reference(op, attrs, &a, a.exact);
    if (!strcmp(op->name, "local_response_norm_grad")) /* a difference: no sum of absolute values */
        bound_by_largest(&a);
    for (int k = 0; op->kernels[k]; k++) {
        subject s = {op, sample, op->kernels[k], terms_of(op, attrs, &a)};
        if (s.kernel->isa <= soma_cpu_isa() && (!half || s.kernel->bf16 != SOMA_BF16_NONE))
            ran += try_all(&s, attrs, &a);
    }
    layout_sample_close(&a);
    return ran;
}

static void check_op(const char *name)
{
    const soma_op *op = soma_op_find(name);
    int64_t attrs[32];
    int halves = 0;
    assert_non_null(op);
    for (const soma_sample *sample = op->samples; sample->name; sample++) {
        assert_true(check_sample(op, sample, attrs, false) >= 2); /* the reference at least, on one and two threads */
        if (soma_cpu_isa() >= 4)
            halves += check_sample(op, sample, attrs, true);
    }
    for (int k = 0; op->kernels[k]; k++) {
        bool takes = op->kernels[k]->bf16 != SOMA_BF16_NONE;
#if defined(SOMA_BF16_EMULATED) || defined(SOMA_AVX512_EMULATED)
        takes = op->kernels[k]->stores == SOMA_BF16; /* what the library does for bf16, it does where the CPU can */
#endif
        assert_true(halves > 0 || soma_cpu_isa() < 4 || !takes);
    }
}

#define OP_TEST(name)                                                                                                  \
    static void test_##name(void **state)                                                                              \
    {                                                                                                                  \
        (void)state;                                                                                                   \
        check_op(#name);                                                                                               \
    }
OP_TEST(conv2d)
OP_TEST(conv2d_input_grad)
OP_TEST(conv2d_weight_grad)
OP_TEST(matmul)
OP_TEST(max_pool2d)
OP_TEST(max_pool2d_grad)
OP_TEST(max_pool2d_gather)
OP_TEST(average_pool2d)
OP_TEST(average_pool2d_grad)
OP_TEST(adaptive_average_pool2d)
OP_TEST(adaptive_average_pool2d_grad)
OP_TEST(local_response_norm)
OP_TEST(local_response_norm_grad)
OP_TEST(dropout)
OP_TEST(clip)
OP_TEST(relu6_grad)
OP_TEST(reorder)
OP_TEST(accumulate)
OP_TEST(relu)
OP_TEST(relu_grad)
OP_TEST(sigmoid)
OP_TEST(add)
OP_TEST(mul)
OP_TEST(concat)

/* ---- between f32 and bf16: to the nearest, ties to even, NaN stays NaN ---- */

/* Of the two bf16 around x, by their distance; infinity counts as the number that would come next. */
static uint16_t nearest_half(uint32_t bits)
{
    uint16_t toward_zero = (uint16_t)(bits >> 16), away = (uint16_t)(toward_zero + 1);
    float x;
    memcpy(&x, &bits, sizeof x);
    double low = fabs((double)soma_from_bf16(toward_zero)), high = fabs((double)soma_from_bf16(away));
    if (isinf(x))
        return toward_zero;
    double down = fabs((double)x) - low, up = (isinf(high) ? 0x1p128 : high) - fabs((double)x);
    return down < up || (down == up && toward_zero % 2 == 0) ? toward_zero : away;
}

static void check_half(uint32_t bits, uint16_t half, uint32_t wide)
{
    bool nan = (bits & 0x7fffffff) > 0x7f800000, tiny = (bits & 0x7fffffff) < 0x800000;
    if (nan && (half & 0x7fff) > 0x7f80 && half & 0x40)
        return;
    if (tiny && (half & 0x7fff) == 0) /* instructions may flush what is subnormal */
        return;
    if (nan || half != nearest_half(bits) || wide != (uint32_t)half << 16)
        fail_msg("%08x becomes %04x and %08x", bits, half, wide);
}

static void test_conversion(void **state)
{
    (void)state;
    static const uint32_t low[] = {0, 1, 0x7fff, 0x8000, 0x8001, 0xffff, 0x1234};
    enum { N = 65536 * 7 + 5 }; /* a remainder of a vector at the end */
    static float wide[N], back[N];
    static uint16_t half[N];
    for (uint32_t i = 0; i < N; i++) {
        uint32_t bits = i / 7 % 65536 << 16 | low[i % 7];
        memcpy(&wide[i], &bits, sizeof bits);
    }
    soma_type type[2] = {{SOMA_F32, SOMA_SHAPE(N)}, {SOMA_BF16, SOMA_SHAPE(N)}};
    const soma_kernel *cast = NULL;
    for (int k = 0; soma_op_reorder.kernels[k]; k++)
        if (!strcmp(soma_op_reorder.kernels[k]->name, "cast") && soma_op_reorder.kernels[k]->isa <= soma_cpu_isa())
            cast = soma_op_reorder.kernels[k];
    for (int widen = 0; cast && widen < 2; widen++) {
        layout_call c;
        type[widen].dtype = SOMA_F32;
        type[!widen].dtype = SOMA_BF16;
        layout_call_open(&c, &soma_op_reorder, NULL, 1, 1, type, 2);
        assert_int_equal(soma_kernel_prepare(&c.kernel, cast, NULL), SOMA_OK);
        c.data[0] = widen ? (void *)half : wide;
        c.data[1] = widen ? (void *)back : half;
        assert_int_equal(layout_call_run(&c), SOMA_OK);
        layout_call_close(&c);
    }
    for (int i = 0; cast && i < N; i++) {
        uint32_t bits, wider;
        memcpy(&bits, &wide[i], sizeof bits);
        memcpy(&wider, &back[i], sizeof wider);
        check_half(bits, half[i], wider);
    }
}

/* ---- one prepared kernel, two threads: a program may predict in several threads at once ---- */

typedef struct meeting {
    const layout_call *c;
    void *data[LAYOUT_ARGS + 1];
    const float *expected;
    int wrong;
} meeting;

static void *meet(void *context)
{
    meeting *m = context;
    char reason[SOMA_REASON_MAX];
    soma_run run = {.threads = 1, .reason = reason};
    int before = soma_parallel_enter(1);
    for (int i = 0; i < 300; i++) {
        memset(m->data[3], 0xff, (size_t)m->c->arg[3].elements * sizeof(float));
        m->wrong += soma_kernel_run(&m->c->kernel, m->data, &run) != SOMA_OK;
        m->wrong += memcmp(m->data[3], m->expected, (size_t)m->c->arg[3].elements * sizeof(float)) != 0;
    }
    soma_parallel_leave(before);
    return NULL;
}

static void *numbers(soma *s, size_t bytes)
{
    float *x = soma_alloc(s, bytes);
    for (size_t i = 0; i < bytes / sizeof *x; i++)
        x[i] = (float)layout_uniform();
    return x;
}

static void test_runs_of_two_threads(void **state)
{
    const soma_type type[4] = {{SOMA_F32, SOMA_SHAPE(2, 16, 9, 11)},
                               {SOMA_F32, SOMA_SHAPE(16, 16, 3, 3)},
                               {SOMA_F32, SOMA_SHAPE(16)},
                               {SOMA_F32, SOMA_SHAPE(2, 16, 9, 11)}};
    const soma_conv2d_attrs attrs = {.stride = {1, 1}, .pad = {1, 1, 1, 1}, .dilation = {1, 1}, .groups = 1};
    layout_call c;
    (void)state;
    int before = soma_parallel_enter(1);
    layout_call_open(&c, &soma_op_conv2d, &attrs, 3, 1, type, 1);
    soma_status status = SOMA_UNSUPPORTED;
    for (int k = 0; status != SOMA_OK; k++)
        status = soma_kernel_prepare(&c.kernel, soma_op_conv2d.kernels[k], NULL);
    meeting m[2];
    pthread_t thread[2];
    for (int t = 0; t < 2; t++) {
        m[t] = (meeting){.c = &c};
        for (int i = 0; i < 4; i++)
            m[t].data[i] = numbers(c.s, soma_arg_bytes(&c.arg[i]));
        m[t].data[4] = soma_alloc(c.s, c.p->scratch + 64);
        memcpy(c.data, m[t].data, sizeof c.data);
        c.data[4] = NULL;
        c.data[3] = numbers(c.s, soma_arg_bytes(&c.arg[3]));
        assert_int_equal(layout_call_run(&c), SOMA_OK);
        m[t].expected = c.data[3];
    }
    for (int t = 0; t < 2; t++)
        assert_int_equal(pthread_create(&thread[t], NULL, meet, &m[t]), 0);
    for (int t = 0; t < 2; t++) {
        pthread_join(thread[t], NULL);
        assert_int_equal(m[t].wrong, 0);
    }
    soma_parallel_leave(before);
    for (int t = 0; t < 2; t++) {
        for (int i = 0; i < 5; i++)
            soma_release(c.s, m[t].data[i]);
        soma_release(c.s, (void *)m[t].expected);
    }
    layout_call_close(&c);
}

/* Gradient of 1x1 weights: of 16 threads only as many work as may have sums of their own, 32 MB beside the first one's.
 * There are 12 blocks of positions to share, and fewer blocks of filters than threads. */
static void test_sums_of_threads_are_bounded(void **state)
{
    (void)state;
    enum { N = 384, C = 10704, K = 112, SIZE = K * C + K };
    const soma_type type[4] = {{SOMA_F32, SOMA_SHAPE(N, C, 1, 1)}, /* as it lies in every layout */
                               {SOMA_F32, SOMA_SHAPE(N, K, 1, 1)},
                               {SOMA_F32, SOMA_SHAPE(K, C, 1, 1)},
                               {SOMA_F32, SOMA_SHAPE(K)}};
    const soma_conv2d_attrs attrs = {.stride = {1, 1}, .dilation = {1, 1}, .groups = 1, .size = {1, 1}};
    const double bound = 4 * sqrt(N) * 0x1p-23 * N;
    int ran = 0;
    for (int k = 0; soma_op_conv2d_weight_grad.kernels[k]; k++) {
        const soma_kernel *kernel = soma_op_conv2d_weight_grad.kernels[k];
        layout_call c;
        if (strcmp(kernel->name, "pointwise") != 0 || kernel->isa < 2 || kernel->isa > 3 ||
            kernel->isa > soma_cpu_isa())
            continue;
        layout_call_open(&c, &soma_op_conv2d_weight_grad, &attrs, 2, 2, type, 16);
        assert_int_equal(soma_kernel_prepare(&c.kernel, kernel, NULL), SOMA_OK);
        assert_int_equal(c.p->scratch / (SIZE * sizeof(float)), 6);
        for (int i = 0; i < 4; i++)
            c.data[i] = numbers(c.s, soma_arg_bytes(&c.arg[i]));
        int before = soma_parallel_enter(16);
        assert_int_equal(layout_call_run(&c), SOMA_OK);
        soma_parallel_leave(before);
        const float *x = c.data[0], *dy = c.data[1], *dw = c.data[2], *db = c.data[3];
        for (int i = 0; i < SIZE; i += i < K * C - 97 ? 97 : 1) { /* every thread adds to every element */
            double want = 0;
            for (int n = 0; n < N; n++)
                want += i < K * C ? (double)dy[n * K + i / C] * (double)x[n * C + i % C]
                                  : (double)dy[n * K + i - K * C];
            assert_true(fabs((double)(i < K * C ? dw[i] : db[i - K * C]) - want) < bound);
        }
        for (int i = 0; i < 4; i++)
            soma_release(c.s, c.data[i]);
        layout_call_close(&c);
        ran++;
    }
    assert_true(ran > 0 || soma_cpu_isa() < 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_conv2d),
                                       cmocka_unit_test(test_conv2d_input_grad),
                                       cmocka_unit_test(test_conv2d_weight_grad),
                                       cmocka_unit_test(test_sums_of_threads_are_bounded),
                                       cmocka_unit_test(test_matmul),
                                       cmocka_unit_test(test_max_pool2d),
                                       cmocka_unit_test(test_max_pool2d_grad),
                                       cmocka_unit_test(test_max_pool2d_gather),
                                       cmocka_unit_test(test_average_pool2d),
                                       cmocka_unit_test(test_average_pool2d_grad),
                                       cmocka_unit_test(test_adaptive_average_pool2d),
                                       cmocka_unit_test(test_adaptive_average_pool2d_grad),
                                       cmocka_unit_test(test_local_response_norm),
                                       cmocka_unit_test(test_local_response_norm_grad),
                                       cmocka_unit_test(test_dropout),
                                       cmocka_unit_test(test_clip),
                                       cmocka_unit_test(test_relu6_grad),
                                       cmocka_unit_test(test_reorder),
                                       cmocka_unit_test(test_accumulate),
                                       cmocka_unit_test(test_relu),
                                       cmocka_unit_test(test_relu_grad),
                                       cmocka_unit_test(test_sigmoid),
                                       cmocka_unit_test(test_add),
                                       cmocka_unit_test(test_mul),
                                       cmocka_unit_test(test_concat),
                                       cmocka_unit_test(test_conversion),
                                       cmocka_unit_test(test_runs_of_two_threads)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
