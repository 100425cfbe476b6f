/* SPDX-License-Identifier: Apache-2.0
 *
 * tests/test_places.c: equal elements give equal results, bit by bit, whatever their place in the array and the array's
 * length: vector bodies, tails and single elements do the same arithmetic, in every kernel of every level. Compilers
 * that fuse products would otherwise fuse another one of two in the tail.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "cpu/parallel.h"
#include "base/random.h"
#include "graph/graph.h"
#include "kernel_call.h"
#include <soma/soma.h>

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { MOST = 70, ROOM = 4096, ARRAYS = 8 };

static union {
    float f[ARRAYS][ROOM];
    uint16_t half[ARRAYS][ROOM];
} in, out, again;

/* Number i of array a: 'n' about 0, 'p' positive, 'u' in (0, 1). Odd bits to the end, so that every rounding shows. */
static float number(char kind, int a, int64_t i)
{
    uint32_t four[4];
    soma_draw(NULL, 11, SOMA_STREAM_INIT, (uint64_t)a, 0, (uint64_t)i, four);
    double u = ((double)four[0] + 0.5) * 0x1p-32;
    return (float)(kind == 'n' ? 5 * u - 2.5 : kind == 'p' ? 0.02 + 3 * u * u : u);
}

static bool runs(const soma_kernel *k)
{
    return k->isa <= soma_cpu_isa();
}

static void set(soma_dtype dtype, void *array, int64_t i, float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    if (dtype == SOMA_F32)
        ((float *)array)[i] = x;
    else
        ((uint16_t *)array)[i] = (uint16_t)(bits >> 16);
}

/* A NaN has many bits: compared as one number. */
static uint32_t get(soma_dtype dtype, const void *array, int64_t i)
{
    float x;
    uint32_t bits = dtype == SOMA_F32 ? 0 : (uint32_t)((const uint16_t *)array)[i] << 16;
    if (dtype == SOMA_F32)
        memcpy(&bits, (const float *)array + i, sizeof bits);
    memcpy(&x, &bits, sizeof x);
    return x != x ? 0x7fc00000u : bits;
}

typedef struct op_case {
    const char *op, *attrs;
    const char *in; /* a letter an input: an array of n, p or u; f a number, i an integer; - absent */
    int outs;
    int reduces; /* the result has one dimension */
} op_case;

typedef struct call_room {
    kernel_call c;
    char attrs[SOMA_ATTRS_MAX];
    float f;
    int32_t i;
} call_room;

static void begin(call_room *r, const op_case *o)
{
    char reason[SOMA_REASON_MAX] = "";
    *r = (call_room){.f = 0.037f, .i = 6};
    r->c.op = soma_op_find(o->op);
    assert_non_null(r->c.op);
    assert_int_equal(soma_attrs_parse(r->c.op, r->attrs, o->attrs ? o->attrs : "", reason), SOMA_OK);
    r->c.attrs = r->attrs;
    r->c.n_in = (int)strlen(o->in);
    r->c.n_out = o->outs;
}

static void differs(const op_case *o, const soma_kernel *k, int64_t n, int64_t i)
{
    fail_msg("%s (%s), kernel %s of level %d: element %lld of %lld is another one than an equal element elsewhere",
             o->op, o->attrs ? o->attrs : "defaults", k->name, k->isa, (long long)i, (long long)n);
}

/* ---- element by element ---- */

static const op_case elementwise[] = {
    {"neg", NULL, "n", 1, 0},
    {"exp", NULL, "n", 1, 0},
    {"log", NULL, "p", 1, 0},
    {"sqrt", NULL, "p", 1, 0},
    {"square", NULL, "n", 1, 0},
    {"relu", NULL, "n", 1, 0},
    {"sigmoid", NULL, "n", 1, 0},
    {"tanh", NULL, "n", 1, 0},
    {"relu6", NULL, "n", 1, 0},
    {"relu_grad", NULL, "nn", 1, 0},
    {"sigmoid_grad", NULL, "nu", 1, 0},
    {"tanh_grad", NULL, "nu", 1, 0},
    {"relu6_grad", NULL, "nn", 1, 0},
    {"clip", "min=-1 max=1.3", "n", 1, 0},
    {"clip_grad", "min=-1 max=1.3", "nn", 1, 0},
    {"add", NULL, "nn", 1, 0},
    {"sub", NULL, "nn", 1, 0},
    {"mul", NULL, "nn", 1, 0},
    {"div", NULL, "np", 1, 0},
    {"add", NULL, "nf", 1, 0},
    {"sub", NULL, "fn", 1, 0},
    {"mul", NULL, "nf", 1, 0},
    {"div", NULL, "nf", 1, 0},
    {"div", NULL, "fp", 1, 0},
    {"accumulate", NULL, "nn", 1, 0},
    {"mean_squared_error_grad", NULL, "fnn", 1, 0},
    {"sgd_update", NULL, "fnn", 1, 0},
    {"sgd_update", "weight_decay=0.013", "fnn", 1, 0},
    {"sgd_update", "momentum=0.9 weight_decay=0.013", "fnnn", 2, 0},
    {"sgd_update", "momentum=0.9 nesterov=true weight_decay=0.013", "fnnn", 2, 0},
    {"adam_update", NULL, "finnnp", 3, 0},
    {"adam_update", "weight_decay=0.013 beta1=0.8 beta2=0.99", "finnnp", 3, 0},
};

/* Elements first .. first + n - 1 of the numbers; false: the kernel takes no such arrays. */
static bool run_elements(const op_case *o, const soma_kernel *k, soma_dtype dtype, int64_t first, int64_t n)
{
    call_room r;
    begin(&r, o);
    size_t size = dtype == SOMA_F32 ? 4 : 2;
    r.c.batch = n; /* a mean divides by the whole batch, and this is a piece of it */
    r.c.full_batch = MOST;
    for (int j = 0; o->in[j]; j++) {
        char kind = o->in[j];
        void *data = (char *)in.f[j] + (size_t)(first % 3) * size; /* now and then off the vector's line */
        if (kind == 'i') {
            r.c.arg[j] = (soma_tensor){SOMA_I32, SOMA_SCALAR, &r.i};
            continue;
        }
        bool mixed = kind == 'f' && (strcmp(o->op, "mean_squared_error_grad") == 0 || strstr(o->op, "update"));
        for (int64_t i = 0; i < (kind == 'f' ? 1 : n); i++)
            set(mixed ? SOMA_F32 : dtype, data, i, kind == 'f' ? r.f : number(kind, j, first + i));
        r.c.arg[j] = (soma_tensor){mixed ? SOMA_F32 : dtype, kind == 'f' ? SOMA_SCALAR : SOMA_SHAPE(n), data};
    }
    for (int j = 0; j < o->outs; j++)
        r.c.arg[r.c.n_in + j] = (soma_tensor){dtype, SOMA_SHAPE(n), out.f[j]};
    return kernel_call_run(&r.c, k) == SOMA_OK;
}

static void place_and_length_change_nothing(void **state)
{
    (void)state;
    int kernels = 0;
    for (size_t c = 0; c < sizeof elementwise / sizeof elementwise[0]; c++) {
        const op_case *o = &elementwise[c];
        for (const soma_kernel *const *k = soma_op_find(o->op)->kernels; *k; k++) {
            soma_dtype dtype = (*k)->stores == SOMA_BF16 ? SOMA_BF16 : SOMA_F32;
            if (!runs(*k) || !run_elements(o, *k, dtype, 0, MOST))
                continue;
            kernels++;
            memcpy(&again, &out, sizeof out);
            for (int64_t n = 1; n <= MOST; n++)
                for (int64_t first = 0; first + n <= MOST; first += n == 1 ? 1 : MOST - n > 7 ? 7 : 1) {
                    assert_true(run_elements(o, *k, dtype, first, n));
                    for (int j = 0; j < o->outs; j++)
                        for (int64_t i = 0; i < n; i++)
                            if (get(dtype, out.f[j], i) != get(dtype, again.f[j], first + i))
                                differs(o, *k, n, i);
                }
        }
    }
    printf("%d kernels of %zu cases\n", kernels, sizeof elementwise / sizeof elementwise[0]);
    assert_true(kernels >= 2 * (int)(sizeof elementwise / sizeof elementwise[0]));
}

/* ---- rows: equal ones give equal results, however many there are ---- */

static const op_case by_rows[] = {
    {"softmax", NULL, "n", 1, 0},        {"log_softmax", NULL, "n", 1, 0},
    {"softmax_grad", NULL, "nu", 1, 0},  {"softmax_cross_entropy_grad", NULL, "fuu", 1, 0},
    {"reduce_sum", "axes=2", "n", 1, 1}, {"reduce_mean", "axes=2", "n", 1, 1},
    {"reduce_max", "axes=2", "n", 1, 1},
};
static const op_case by_columns[] = {
    {"reduce_sum", "axes=1", "n", 1, 1},
    {"reduce_mean", "axes=1", "n", 1, 1},
    {"reduce_max", "axes=1", "n", 1, 1},
};

/* rows x columns numbers: all rows equal, or all columns. */
static bool run_matrix(const op_case *o, const soma_kernel *k, int64_t rows, int64_t columns, bool equal_columns)
{
    call_room r;
    begin(&r, o);
    r.c.full_batch = r.c.batch = 0;
    for (int j = 0; o->in[j]; j++) {
        if (o->in[j] == 'f') {
            in.f[j][0] = r.f;
            r.c.arg[j] = (soma_tensor){SOMA_F32, SOMA_SCALAR, in.f[j]};
            continue;
        }
        for (int64_t i = 0; i < rows * columns; i++)
            in.f[j][i] = number(o->in[j], j, equal_columns ? i / columns : i % columns);
        r.c.arg[j] = (soma_tensor){SOMA_F32, SOMA_SHAPE(rows, columns), in.f[j]};
    }
    r.c.arg[r.c.n_in] = (soma_tensor){SOMA_F32, SOMA_SHAPE(rows, columns), out.f[0]};
    if (o->reduces)
        r.c.arg[r.c.n_in].shape = equal_columns ? SOMA_SHAPE(columns) : SOMA_SHAPE(rows);
    return kernel_call_run(&r.c, k) == SOMA_OK;
}

static void equal_rows_and_columns(void **state)
{
    (void)state;
    int kernels = 0;
    for (size_t c = 0; c < sizeof by_rows / sizeof by_rows[0]; c++)
        for (const soma_kernel *const *k = soma_op_find(by_rows[c].op)->kernels; *k; k++) {
            if (!runs(*k) || !run_matrix(&by_rows[c], *k, 1, 5, false))
                continue;
            kernels++;
            for (int64_t columns = 1; columns <= MOST; columns++)
                for (int64_t rows = 1; rows <= 40; rows += rows < 6 ? 1 : 11) {
                    assert_true(run_matrix(&by_rows[c], *k, rows, columns, false));
                    int64_t row = by_rows[c].reduces ? 1 : columns;
                    for (int64_t i = row; i < rows * row; i++)
                        if (get(SOMA_F32, out.f[0], i) != get(SOMA_F32, out.f[0], i % row))
                            differs(&by_rows[c], *k, rows * columns, i);
                    /* and as the only row; a mean over the rows divides by their number */
                    memcpy(&again, &out, sizeof out);
                    if (strcmp(by_rows[c].op, "softmax_cross_entropy_grad") == 0)
                        continue;
                    assert_true(run_matrix(&by_rows[c], *k, 1, columns, false));
                    assert_memory_equal(&again, &out, (size_t)row * sizeof(float));
                }
        }
    for (size_t c = 0; c < sizeof by_columns / sizeof by_columns[0]; c++)
        for (const soma_kernel *const *k = soma_op_find(by_columns[c].op)->kernels; *k; k++) {
            if (!runs(*k) || !run_matrix(&by_columns[c], *k, 3, 5, true))
                continue;
            kernels++;
            for (int64_t columns = 1; columns <= 100; columns++)
                for (int64_t rows = 1; rows <= 40; rows += rows < 10 ? 1 : 13) {
                    assert_true(run_matrix(&by_columns[c], *k, rows, columns, true));
                    for (int64_t i = 1; i < columns; i++)
                        if (get(SOMA_F32, out.f[0], i) != get(SOMA_F32, out.f[0], 0))
                            differs(&by_columns[c], *k, rows * columns, i);
                }
        }
    printf("%d kernels\n", kernels);
    assert_true(kernels >= 20);
}

/* ---- products and broadcasts: equal rows of the first argument give equal rows ---- */

static const op_case by_products[] = {
    {"matmul", NULL, "nm", 1, 0},
    {"matmul", "transpose_b=true", "nt", 1, 0},
    {"matmul", "activation=tanh", "nm", 1, 0},
    {"add", NULL, "nr", 1, 0},
    {"mul", NULL, "nr", 1, 0},
    {"div", NULL, "nq", 1, 0},
    {"sub", NULL, "nr", 1, 0},
};

/* rows x columns by columns x wide (m, turned: t), or beside a row of columns (r; q: positive). */
static bool run_product(const op_case *o, const soma_kernel *k, int64_t rows, int64_t columns, int64_t wide)
{
    call_room r;
    char kind = o->in[1];
    begin(&r, o);
    for (int64_t i = 0; i < rows * columns; i++)
        in.f[0][i] = number('n', 0, i % columns);
    for (int64_t i = 0; i < columns * wide; i++)
        in.f[1][i] = number(kind == 'q' ? 'p' : 'n', 1, i);
    bool product = kind == 'm' || kind == 't';
    r.c.arg[0] = (soma_tensor){SOMA_F32, SOMA_SHAPE(rows, columns), in.f[0]};
    r.c.arg[1] = (soma_tensor){SOMA_F32, SOMA_SHAPE(columns), in.f[1]};
    if (product)
        r.c.arg[1].shape = kind == 'm' ? SOMA_SHAPE(columns, wide) : SOMA_SHAPE(wide, columns);
    r.c.arg[2] = (soma_tensor){SOMA_F32, SOMA_SHAPE(rows, product ? wide : columns), out.f[0]};
    return kernel_call_run(&r.c, k) == SOMA_OK;
}

static void equal_rows_of_products(void **state)
{
    (void)state;
    static const int64_t sizes[] = {1, 2, 5, 8, 15, 17, 31, 48};
    int kernels = 0;
    for (size_t c = 0; c < sizeof by_products / sizeof by_products[0]; c++)
        for (const soma_kernel *const *k = soma_op_find(by_products[c].op)->kernels; *k; k++) {
            if (!runs(*k) || strstr((*k)->name, "onednn")) /* a library's promise, not soma's */
                continue;
            int taken = 0;
            for (int t = 0; t < 8 * 8 * 4; t++) {
                int64_t rows = (const int64_t[]){2, 7, 13, 33}[t % 4], columns = sizes[t / 4 % 8], wide = sizes[t / 32];
                bool product = by_products[c].in[1] == 'm' || by_products[c].in[1] == 't';
                if (!run_product(&by_products[c], *k, rows, columns, wide))
                    continue;
                taken = 1;
                int64_t row = product ? wide : columns;
                for (int64_t i = row; i < rows * row; i++)
                    if (get(SOMA_F32, out.f[0], i) != get(SOMA_F32, out.f[0], i % row))
                        differs(&by_products[c], *k, rows * row, i);
            }
            kernels += taken;
        }
    printf("%d kernels\n", kernels);
    assert_true(kernels >= 12);
}

/* ---- maps: equal positions of equal channels, in every layout ---- */

static const op_case by_maps[] = {
    {"batch_norm", NULL, "nnppn-", 1, 0},
    {"batch_norm", "activation=relu", "nnppnn", 1, 0},
    {"batch_norm", "use_running=true", "nnppn-", 1, 0},
    {"batch_norm_grad", NULL, "nnnpp---", 1, 0},
    {"batch_norm_grad", "gate=relu", "nnnppn--", 1, 0},
    {"batch_norm_grad", "use_running=true gate=relu6", "nnnppn--", 1, 0},
    {"local_response_norm", "size=1 alpha=0.3", "n", 1, 0},
    {"local_response_norm", "size=1 alpha=0.3 beta=0.6", "n", 1, 0},
    {"local_response_norm_grad", "size=1 alpha=0.3", "nn", 1, 0},
    {"local_response_norm_grad", "size=1 alpha=0.3 beta=0.6", "nn", 1, 0},
};
enum { PERIOD = 5 };

static int64_t place(soma_layout_kind layout, int64_t channels, int64_t plane, int64_t c, int64_t p)
{
    int64_t block = layout == SOMA_NHWC ? channels : layout == SOMA_NCHW8C ? 8 : layout == SOMA_NCHW16C ? 16 : 1;
    return c / block * block * plane + p * block + c % block;
}

static bool run_maps(const op_case *o, const soma_kernel *k, soma_layout_kind layout, int64_t channels, int64_t plane)
{
    call_room r;
    begin(&r, o);
    soma_dtype dtype = k->stores == SOMA_BF16 ? SOMA_BF16 : SOMA_F32;
    bool grad = strstr(o->op, "grad"), norm = strstr(o->op, "batch_norm");
    r.c.layout = layout;
    r.c.batch = 1;
    for (int j = 0; o->in[j]; j++) {
        bool map = j == 0 || (grad && j == 1) || (norm && j >= (grad ? 6 : 5));
        if (o->in[j] == '-') {
            r.c.arg[j].shape.rank = -1;
            continue;
        }
        for (int64_t c = 0; c < channels; c++)
            for (int64_t p = 0; p < (map ? plane : 1); p++)
                set(map ? dtype : SOMA_F32, in.f[j], map ? place(layout, channels, plane, c, p) : c,
                    number(o->in[j], j, map ? p % PERIOD : 0));
        r.c.arg[j] = (soma_tensor){map ? dtype : SOMA_F32,
                                   map ? SOMA_SHAPE(1, channels, 1, plane) : SOMA_SHAPE(channels), in.f[j]};
    }
    r.c.arg[r.c.n_in] = (soma_tensor){dtype, SOMA_SHAPE(1, channels, 1, plane), out.f[0]};
    return kernel_call_run(&r.c, k) == SOMA_OK;
}

static void equal_positions(void **state)
{
    (void)state;
    static const int64_t channels[] = {1, 3, 8, 16, 24, 48};
    int runs_done = 0;
    for (size_t o = 0; o < sizeof by_maps / sizeof by_maps[0]; o++)
        for (const soma_kernel *const *k = soma_op_find(by_maps[o].op)->kernels; *k; k++)
            for (int t = 0; t < 6 * 4 && runs(*k); t++) {
                int64_t c = channels[t / 4];
                soma_layout_kind layout = (soma_layout_kind)(t % 4);
                if ((layout == SOMA_NCHW8C && c % 8) || (layout == SOMA_NCHW16C && c % 16))
                    continue;
                if ((*k)->layouts == SOMA_LAYOUT_PLAIN && layout != SOMA_PLAIN)
                    continue;
                for (int64_t plane = 2; plane <= MOST; plane++) {
                    if (!run_maps(&by_maps[o], *k, layout, c, plane))
                        break;
                    runs_done++;
                    soma_dtype dtype = (*k)->stores == SOMA_BF16 ? SOMA_BF16 : SOMA_F32;
                    for (int64_t i = 0; i < c * plane; i++)
                        if (get(dtype, out.f[0], place(layout, c, plane, i / plane, i % plane)) !=
                            get(dtype, out.f[0], place(layout, c, plane, 0, i % plane % PERIOD)))
                            differs(&by_maps[o], *k, c * plane, i);
                }
            }
    printf("%d runs\n", runs_done);
    assert_true(runs_done > 3000);
}

/* ---- dropout: what is kept is x times one number ---- */

static void dropout_scales_equally(void **state)
{
    (void)state;
    const op_case o = {"dropout", "rate=0.3", "n", 1, 0};
    for (const soma_kernel *const *k = soma_op_find("dropout")->kernels; *k; k++) {
        if (!runs(*k) || (*k)->stores == SOMA_BF16)
            continue;
        for (int64_t n = 1; n <= MOST; n++) {
            int64_t first = 0;
            if (!run_elements(&o, *k, SOMA_F32, first, n))
                break;
            for (int64_t i = 0; i < n; i++) {
                float x = number('n', 0, i), y = out.f[0][i];
                float kept = (*k)->exact ? (float)((double)x * (1 / (1 - 0.3))) : x * (float)(1 / (1 - 0.3));
                assert_true(y == 0 || y == kept);
            }
        }
    }
}

/* ---- conversions between f32 and bf16 ---- */

static void conversions(void **state)
{
    (void)state;
    int kernels = 0;
    for (const soma_kernel *const *k = soma_op_find("reorder")->kernels; *k; k++)
        for (int narrow = 0; narrow < 2; narrow++) {
            soma_dtype from = narrow ? SOMA_F32 : SOMA_BF16, to = narrow ? SOMA_BF16 : SOMA_F32;
            for (int64_t n = 1; n <= MOST && runs(*k); n++) {
                for (int64_t i = 0; i < n; i++)
                    set(from, in.f[0], i, number('n', 0, i));
                kernel_call c = {.op = soma_op_find("reorder"), .n_in = 1, .n_out = 1};
                c.arg[0] = (soma_tensor){from, SOMA_SHAPE(n), in.f[0]};
                c.arg[1] = (soma_tensor){to, SOMA_SHAPE(n), out.f[0]};
                if (kernel_call_run(&c, *k) != SOMA_OK)
                    break;
                kernels += n == 1;
                for (int64_t i = 0; i < n; i++) { /* to the nearest, ties to even */
                    float x = number('n', 0, i);
                    uint32_t bits;
                    memcpy(&bits, &x, sizeof bits);
                    uint32_t want = narrow ? (bits + 0x7fff + (bits >> 16 & 1)) >> 16 << 16 : bits >> 16 << 16;
                    assert_int_equal(get(to, out.f[0], i), want);
                }
            }
        }
    if (soma_cpu_isa() == 4)
        assert_true(kernels > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(place_and_length_change_nothing), cmocka_unit_test(equal_rows_and_columns),
        cmocka_unit_test(equal_rows_of_products),          cmocka_unit_test(equal_positions),
        cmocka_unit_test(dropout_scales_equally),          cmocka_unit_test(conversions)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
