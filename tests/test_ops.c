/* SPDX-License-Identifier: Apache-2.0
 *
 * Every op by its samples: kernels against the f64 reference, the reference against fixtures made by another program
 * (tests/fixtures/make_ops.py), gradients against central differences. `test_ops --dump` prints the samples for that
 * program.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "cpu/parallel.h"
#include "op_samples.h"

#include <float.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int failures;
/* What a check compared, and its largest error as a share of what is allowed: bench/bars/house-06 prints them. */
static struct {
    long n;
    double share;
    char where[160];
} tally;

static void count_error(const sample_case *c, const char *what, double share)
{
    tally.n++;
    if (share > tally.share) {
        tally.share = share;
        snprintf(tally.where, sizeof tally.where, "%s \"%s\", %s", c->op->name, c->sample->name, what);
    }
}

static void complain(const sample_case *c, const char *format, ...) SOMA_PRINTF(2, 3);
static void complain(const sample_case *c, const char *format, ...)
{
    char text[700];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    print_error("%s \"%s\": %s\n", c->op->name, c->sample->name, text);
    failures++;
}

/* Calls fn for every sample of every op; fails when anything complained. */
static void for_all(void (*fn)(sample_case *))
{
    failures = 0;
    memset(&tally, 0, sizeof tally);
    for (int k = 0; soma_op_at(k); k++)
        for (const soma_sample *sample = soma_op_at(k)->samples; sample && sample->name; sample++) {
            sample_case c;
            sample_begin(&c, soma_op_at(k), sample);
            fn(&c);
            sample_end(&c);
        }
    if (tally.n)
        printf("%ld values compared; the largest error is %.3g of what is allowed: %s\n", tally.n, tally.share,
               tally.where);
    assert_int_equal(failures, 0);
}

static bool in_list(const char *name, const char *const *list)
{
    for (; *list; list++)
        if (!strcmp(name, *list))
            return true;
    return false;
}

/* ---- every op has samples, a reference kernel and a name that finds it ---- */

static void ops_are_complete(void **state)
{
    (void)state;
    int n = 0;
    for (const soma_op *op; (op = soma_op_at(n)); n++) {
        assert_ptr_equal(soma_op_find(op->name), op);
        assert_non_null(op->doc);
        if (!op->samples || !op->samples[0].name || op->n_in_samples < 1)
            fail_msg("%s has no samples", op->name);
        int last = 0;
        while (op->kernels[last])
            last++;
        if (last == 0 || !op->kernels[last - 1]->exact)
            fail_msg("%s: the last kernel must be an exact one", op->name);
    }
    assert_true(n > 30);
    assert_null(soma_op_at(-1));
    assert_null(soma_op_find("no such op"));
    assert_null(soma_op_find(NULL));
}

/* ---- kernels against the f64 reference ---- */

static double terms(const sample_case *c)
{
    int64_t in = 1;
    for (int j = 0; j < c->n_in; j++)
        in = c->in[j].at && c->in[j].n > in ? c->in[j].n : in;
    soma_arg args[2 * SAMPLE_ARGS];
    memset(args, 0, sizeof args);
    for (int j = 0; j < c->n_in; j++)
        args[j] = (soma_arg){.shape = c->in[j].shape, .elements = c->in[j].n};
    for (int j = 0; j < c->n_out; j++)
        args[SAMPLE_ARGS + j] = (soma_arg){.shape = c->out[j].shape, .elements = c->out[j].n};
    double flops = c->op->flops ? c->op->flops(c->attrs.bytes, args, c->n_in, args + SAMPLE_ARGS) : 0;
    double k = flops > 0 && c->op->error == SOMA_ERROR_SUM ? flops / 2 : (double)in;
    return fmax(1, k / (double)c->out[0].n);
}

static double bound_of(const soma_op *op, double factor, double y, double largest, double absolute)
{
    switch (op->error) {
    case SOMA_ERROR_EXACT:
        return 0;
    case SOMA_ERROR_ROUNDING:
        return 4 * FLT_EPSILON * y;
    case SOMA_ERROR_SUM:
        return factor * absolute;
    case SOMA_ERROR_LOOSE:
        break;
    }
    return factor * (y + largest);
}

/* The bound of each element of each output: the op says which (soma/op.h). */
static void bounds(const sample_case *c, double *bound[SAMPLE_ARGS])
{
    double factor = 4 * sqrt(terms(c)) * FLT_EPSILON;
    bool sum = c->op->error == SOMA_ERROR_SUM;
    sample_case a;
    char error[256] = "", reason[SOMA_REASON_MAX];
    sample_begin(&a, c->op, c->sample);
    if (sum) {
        soma_attr_parse(c->op, a.attrs.bytes, "activation", "none", reason); /* ours have slopes of at most 1 */
        for (int j = 0; j < a.n_in; j++)
            for (int64_t i = 0; a.in[j].at && i < a.in[j].n; i++)
                a.in[j].at[i] = fabs(a.in[j].at[i]);
        if (!sample_run(&a, c->op, SOMA_F64, true, error, sizeof error))
            complain(c, "the reference on absolute values: %s", error);
    }
    for (int k = 0; k < c->n_out; k++) {
        double largest = 0;
        bound[k] = c->out[k].at ? calloc((size_t)c->out[k].n, sizeof(double)) : NULL;
        for (int64_t i = 0; c->out[k].at && i < c->out[k].n; i++)
            largest = fmax(largest, fabs(c->out[k].at[i]));
        for (int64_t i = 0; c->out[k].at && i < c->out[k].n; i++) {
            double y = fabs(c->out[k].at[i]);
            bound[k][i] = bound_of(c->op, factor, y, largest, a.out[k].at ? a.out[k].at[i] : y + largest);
            bound[k][i] += FLT_MIN; /* the default kernels flush denormal numbers to zero */
        }
    }
    sample_end(&a);
}

static void compare(const sample_case *c, const sample_case *reference, double *const bound[SAMPLE_ARGS],
                    const char *kernel)
{
    for (int k = 0; k < c->n_out; k++) {
        const sample_array *y = &c->out[k], *want = &reference->out[k];
        if (!y->at || !want->at || y->n != want->n) {
            if (y->at || want->at)
                complain(c, "kernel %s: output %d is %s", kernel, k, y->at ? "of another size" : "absent");
            continue;
        }
        for (int64_t i = 0; i < y->n; i++) {
            bool same = y->at[i] == want->at[i] || (isnan(y->at[i]) && isnan(want->at[i]));
            count_error(c, kernel, same ? 0 : fabs(y->at[i] - want->at[i]) / bound[k][i]);
            if (!same && !(fabs(y->at[i] - want->at[i]) <= bound[k][i])) {
                complain(c, "kernel %s: output %d[%lld] is %.9g, the reference says %.9g (allowed %.3g)", kernel, k,
                         (long long)i, y->at[i], want->at[i], bound[k][i]);
                break;
            }
        }
    }
}

/* Each kernel alone: a copy of the op that lists nothing else. A refusal is fine where a later kernel takes over. */
static void check_kernels(sample_case *c)
{
    char error[512];
    double *bound[SAMPLE_ARGS] = {NULL};
    sample_case other;
    if (!sample_run(c, c->op, SOMA_F64, true, error, sizeof error)) {
        complain(c, "the f64 reference: %s", error);
        return;
    }
    bounds(c, bound);
    sample_begin(&other, c->op, c->sample);
    bool ran = false;
    for (int k = 0; c->op->kernels[k]; k++) {
        const soma_kernel *kernel = c->op->kernels[k], *const only[] = {kernel, NULL};
        soma_op op = *c->op;
        op.kernels = only;
        char title[64];
        snprintf(title, sizeof title, "%s %s", kernel->name, soma_isa_name(kernel->isa));
        if (kernel->isa > soma_cpu_isa())
            continue;
        if (sample_run(&other, &op, SOMA_F32, false, error, sizeof error)) {
            ran = true;
            compare(&other, c, bound, title);
        } else if (!strstr(error, "no kernel can run it")) {
            complain(c, "kernel %s: %s", title, error);
        } else if (!c->op->kernels[k + 1]) {
            complain(c, "the last kernel refused: %s", error);
        }
    }
    if (!ran)
        complain(c, "no kernel ran");
    if (!sample_run(&other, c->op, SOMA_F32, false, error, sizeof error))
        complain(c, "the op as it is: %s", error);
    else
        compare(&other, c, bound, "of choice");
    sample_end(&other);
    for (int k = 0; k < SAMPLE_ARGS; k++)
        free(bound[k]);
}

static void kernels_agree_with_the_reference(void **state)
{
    (void)state;
    for_all(check_kernels);
}

/* ---- gradients against central differences ---- */

/* loss = sum of w y with given numbers w of y's shape. */
static soma_value weighted_sum(sample_case *c, soma_value *w)
{
    soma_type type = soma_value_type(c->y[0]);
    soma_shape shape = type.shape;
    bool batch = shape.rank > 0 && shape.dim[0] < 0;
    if (batch) {
        if (shape.dim[0] == SOMA_N) {
            shape.rank--;
            memmove(shape.dim, shape.dim + 1, (size_t)shape.rank * sizeof shape.dim[0]);
        } else { /* k N rows: N blocks of k */
            shape.dim[0] = -shape.dim[0];
        }
    }
    *w = soma_input(c->m, "w", type.dtype, shape, .no_batch = !batch);
    return soma_reduce_sum(soma_mul(c->y[0], soma_reshape(*w, type.shape)));
}

static double loss_with(sample_case *c, soma_value loss, int j, const double *direction, double step)
{
    double *keep = c->in[j].at;
    c->in[j].at = malloc((size_t)c->in[j].n * sizeof(double));
    for (int64_t i = 0; i < c->in[j].n; i++)
        c->in[j].at[i] = keep[i] + step * direction[i];
    bool fed = sample_feed(c, j) && sample_step(c);
    soma_tensor t = soma_read(c->p, loss);
    double y = fed && t.data ? sample_get(&t, 0) : (double)NAN;
    free(c->in[j].at);
    c->in[j].at = keep;
    sample_feed(c, j);
    return y;
}

static const soma_op *has_gradient[256]; /* ops of which some sample had a gradient that is not zero */
static int n_has_gradient;

static bool found_gradient(const soma_op *op)
{
    for (int i = 0; i < n_has_gradient; i++)
        if (has_gradient[i] == op)
            return true;
    return false;
}

/* Single elements of small inputs, some of large ones, and three directions through all elements. */
static void check_input(sample_case *c, soma_value loss, int j, const double *gradient)
{
    const int64_t n = c->in[j].n;
    double norm = 0, h = 1e-5, *direction = calloc((size_t)n, sizeof *direction);
    for (int64_t i = 0; i < n; i++)
        norm += gradient[i] * gradient[i];
    norm = sqrt(norm);
    if (norm > 0 && !found_gradient(c->op) && n_has_gradient < 256)
        has_gradient[n_has_gradient++] = c->op;
    int64_t singles = n <= 24 ? n : 12;
    for (int64_t k = 0; k < singles + 3; k++) {
        double want = 0, length = 0;
        int64_t one = n <= 24 ? k : (int64_t)(sample_unit(c, (uint32_t)k, 901) * (double)n);
        for (int64_t i = 0; i < n; i++) {
            double u = k < singles ? (i == one) : sample_unit(c, (uint32_t)i, (uint32_t)(902 + k)) - 0.5;
            direction[i] = u;
            want += u * gradient[i];
            length += u * u;
        }
        length = sqrt(length);
        double step = k < singles ? h : h / fmax(1, sqrt((double)n) / 8);
        double got = (loss_with(c, loss, j, direction, step) - loss_with(c, loss, j, direction, -step)) / (2 * step);
        count_error(c, "gradient (1e-6 is allowed)", fabs(got - want) / (1e-6 * fmax(norm, 1e-3) * length));
        if (!(fabs(got - want) <= 1e-6 * fmax(norm, 1e-3) * length)) {
            complain(c, "gradient of input %d along direction %lld is %.12g, central differences say %.12g", j,
                     (long long)k, want, got);
            break;
        }
    }
    free(direction);
}

static int differentiable(const sample_case *c, int list[SAMPLE_ARGS])
{
    int n = 0;
    for (int j = 0; j < c->n_in; j++)
        if (c->in[j].at && !c->in[j].integer && !c->in[j].target)
            list[n++] = j;
    return n;
}

static void gradients_of(sample_case *c)
{
    int list[SAMPLE_ARGS], n = differentiable(c, list);
    soma_value x[SAMPLE_ARGS], values[SAMPLE_ARGS + 1], w, loss = weighted_sum(c, &w);
    for (int k = 0; k < n; k++)
        x[k] = c->x[list[k]];
    soma_grad(loss, x, n, values);
    values[n] = loss;
    if (!sample_compile(c, values, n + 1)) {
        complain(c, "gradient: %s", soma_error(c->s));
        return;
    }
    soma_tensor weights = soma_program_input(c->p, w);
    for (int64_t i = 0; weights.data && i < soma_shape_elements(&weights.shape); i++)
        sample_set(&weights, i, sample_unit(c, (uint32_t)i, 900) - 0.3);
    double *gradient[SAMPLE_ARGS] = {NULL};
    if (!sample_step(c))
        complain(c, "gradient: %s", soma_error(c->s));
    for (int k = 0; k < n; k++) {
        soma_tensor t = soma_read(c->p, values[k]);
        gradient[k] = calloc((size_t)c->in[list[k]].n, sizeof(double));
        for (int64_t i = 0; t.data && i < c->in[list[k]].n; i++)
            gradient[k][i] = sample_get(&t, i);
        if (!t.data || soma_shape_elements(&t.shape) != c->in[list[k]].n)
            complain(c, "gradient of input %d has another size", list[k]);
    }
    for (int k = 0; k < n; k++) {
        check_input(c, loss, list[k], gradient[k]);
        free(gradient[k]);
    }
}

static void check_gradient(sample_case *c)
{
    if (c->sample->no_gradient)
        return;
    if (sample_open(c, c->op, SOMA_F64, true))
        gradients_of(c);
    else
        complain(c, "gradient: %s", soma_error(c->s));
    sample_close(c);
}

static void gradients_agree_with_differences(void **state)
{
    (void)state;
    for_all(check_gradient);
    for (int k = 0; soma_op_at(k); k++) {
        bool wanted = false;
        for (const soma_sample *sample = soma_op_at(k)->samples; sample->name; sample++)
            wanted = wanted || !sample->no_gradient;
        if (wanted && !found_gradient(soma_op_at(k)))
            fail_msg("%s: the gradients of all its samples are zero", soma_op_at(k)->name);
    }
}

/* ---- pieces of the batch: sums add up, means divide by the full batch ---- */

static void pieces(int64_t piece, double *loss, double dx[60])
{
    soma *s = soma_open(NULL);
    soma_model *m = soma_model_new(s, "pieces");
    soma_value x = soma_input(m, "x", SOMA_F32, SOMA_SHAPE(5)), v[2];
    soma_value rows = soma_reduce_mean(soma_square(x), .axes = SOMA_AXIS(1));
    v[0] = soma_add(soma_reduce_mean(rows), soma_reduce_sum(soma_reduce_mean(soma_tanh(x), .axes = SOMA_AXIS(0))));
    soma_grad(v[0], &x, 1, &v[1]);
    soma_program *p = soma_compile(m, .batch = 12, .values = v, .n_values = 2, .micro_batch = piece);
    assert_string_equal(soma_error(s), "");
    assert_int_equal(soma_program_micro_batch(p), piece);
    soma_tensor in = soma_program_input(p, x);
    for (int i = 0; i < 60; i++)
        sample_set(&in, i, (i * 37 % 60) / 20.0 - 1.5);
    assert_int_equal(soma_step(p), SOMA_OK);
    soma_tensor y = soma_read(p, v[0]), d = soma_read(p, v[1]);
    *loss = sample_get(&y, 0);
    for (int i = 0; i < 60; i++)
        dx[i] = sample_get(&d, i);
    soma_close(s);
}

static void pieces_make_the_whole(void **state)
{
    (void)state;
    double loss[2], dx[2][60], want = 0;
    pieces(12, &loss[0], dx[0]);
    pieces(4, &loss[1], dx[1]);
    for (int i = 0; i < 60; i++) {
        double x = (i * 37 % 60) / 20.0 - 1.5, y = tanh(x);
        want += x * x / 60 + y / 12;
        for (int k = 0; k < 2; k++)
            assert_true(fabs(dx[k][i] - (2 * x / 60 + (1 - y * y) / 12)) < 1e-6);
    }
    assert_true(fabs(loss[0] - want) < 1e-5);
    assert_true(fabs(loss[1] - want) < 1e-5);
}

/* ---- the reference against fixtures ---- */

/* Ops without fixtures, and where their oracle is instead. */
static const char *const without_fixture[] = {
    "dropout", /* random: test_nn checks its draws against Philox */
    "reorder", /* the plain layout's values do not change: the kernels test above compares them */
    NULL};
/* Rows of families may be newer than the fixtures: kernels and gradients hold them until make_ops.py is run again. */
static const char *const rows[] = {
#define UNARY(name, ...) #name,
#define UNARY_GRAD(name, ...) #name, #name "_grad",
#include "op/unary/unary.list"
#define BINARY(name, ...) #name,
#include "op/binary/binary.list"
    NULL};
#define LARGE 6000 /* elements of the outputs from which a sample has none: only its kernels are compared */

typedef struct fixtures {
    unsigned char *bytes;
    size_t size;
    int used; /* records that were compared */
} fixtures;
static fixtures stored;

static int load_fixtures(void **state)
{
    (void)state;
    FILE *file = fopen(SOMA_SOURCE_DIR "/tests/fixtures/ops.bin", "rb");
    if (!file)
        return -1;
    fseek(file, 0, SEEK_END);
    stored.size = (size_t)ftell(file);
    rewind(file);
    stored.bytes = malloc(stored.size);
    bool done = stored.bytes && fread(stored.bytes, 1, stored.size, file) == stored.size;
    fclose(file);
    return done ? 0 : -1;
}

static int free_fixtures(void **state)
{
    (void)state;
    free(stored.bytes);
    return 0;
}

/* Records: u32 length and text "op/sample/output", u64 hash of the inputs, u32 n, n x f32. */
static const unsigned char *find_fixture(const char *name, uint64_t *hash, uint32_t *n)
{
    for (size_t at = 0; at + 4 <= stored.size;) {
        uint32_t length;
        memcpy(&length, stored.bytes + at, 4);
        const unsigned char *text = stored.bytes + at + 4;
        memcpy(hash, text + length, 8);
        memcpy(n, text + length + 8, 4);
        if (length == strlen(name) && !memcmp(text, name, length))
            return text + length + 12;
        at += 4 + length + 12 + (size_t)*n * 4;
    }
    return NULL;
}

/* Counts the records; of an op where it is named. */
static int count_fixtures(const char *op)
{
    int records = 0;
    for (size_t at = 0; at + 4 <= stored.size;) {
        uint32_t length, n;
        memcpy(&length, stored.bytes + at, 4);
        memcpy(&n, stored.bytes + at + 4 + length + 8, 4);
        const char *text = (const char *)stored.bytes + at + 4;
        records += !op || (strlen(op) < length && !memcmp(text, op, strlen(op)) && text[strlen(op)] == '/');
        at += 4 + length + 12 + (size_t)n * 4;
    }
    return records;
}

static void compare_fixture(const sample_case *c, int k)
{
    char name[160];
    uint64_t hash;
    uint32_t n;
    snprintf(name, sizeof name, "%s/%s/%d", c->op->name, c->sample->name, k);
    const unsigned char *want = find_fixture(name, &hash, &n);
    if (!want) {
        complain(c, "output %d has no fixture: run tests/fixtures/make_ops.py", k);
        return;
    }
    stored.used++;
    if (hash != sample_hash(c) || n != c->out[k].n) {
        complain(c, "the fixture of output %d was made from other inputs: run tests/fixtures/make_ops.py", k);
        return;
    }
    double largest = 0;
    for (int64_t i = 0; i < c->out[k].n; i++)
        largest = fmax(largest, fabs(c->out[k].at[i]));
    for (int64_t i = 0; i < c->out[k].n; i++) {
        float number;
        memcpy(&number, want + 4 * i, 4);
        double y = c->out[k].at[i], error = fabs(y - (double)number);
        count_error(c, "fixture", error > 0 ? error / (1.2e-7 * fabs(y) + 1e-13 * largest) : 0);
        if (!(error <= 1.2e-7 * fabs(y) + 1e-13 * largest) && !(isnan(y) && isnan(number))) {
            complain(c, "output %d[%lld] is %.9g, the fixture says %.9g", k, (long long)i, y, (double)number);
            return;
        }
    }
}

static void check_fixture(sample_case *c)
{
    char error[512];
    if (in_list(c->op->name, without_fixture))
        return;
    if (in_list(c->op->name, rows) && count_fixtures(c->op->name) == 0) {
        if (c->sample == c->op->samples)
            printf("%s has no fixtures: run tests/fixtures/make_ops.py\n", c->op->name);
        return;
    }
    if (!sample_run(c, c->op, SOMA_F64, true, error, sizeof error)) {
        complain(c, "the f64 reference: %s", error);
        return;
    }
    int64_t elements = 0;
    for (int k = 0; k < c->n_out; k++)
        elements += c->out[k].at ? c->out[k].n : 0;
    for (int k = 0; k < c->n_out && elements < LARGE; k++)
        if (c->out[k].at)
            compare_fixture(c, k);
}

static void reference_agrees_with_fixtures(void **state)
{
    (void)state;
    for_all(check_fixture);
    assert_int_equal(stored.used, count_fixtures(NULL)); /* no record is stale */
    assert_true(stored.used > 400);
}

/* ---- samples for make_ops.py: one JSON object a line ---- */

static void dump_array(const sample_array *a)
{
    if (!a->at) {
        printf("null");
        return;
    }
    printf("{\"integer\":%s,\"shape\":[", a->integer ? "true" : "false");
    for (int k = 0; k < a->shape.rank; k++)
        printf("%s%lld", k ? "," : "", (long long)a->shape.dim[k]);
    printf("],\"data\":[");
    for (int64_t i = 0; i < a->n; i++)
        printf("%s%.17g", i ? "," : "", a->at[i]);
    printf("]}");
}

static void dump(sample_case *c)
{
    char error[512];
    if (in_list(c->op->name, without_fixture) || !sample_run(c, c->op, SOMA_F64, true, error, sizeof error))
        return;
    int64_t elements = 0;
    for (int k = 0; k < c->n_out; k++)
        elements += c->out[k].at ? c->out[k].n : 0;
    if (elements >= LARGE)
        return;
    printf(
        "{\"op\":\"%s\",\"sample\":\"%s\",\"batch\":%d,\"hash\":\"%016llx\",\"outputs\":%d,\"doc\":\"%s\",\"attrs\":{",
        c->op->name, c->sample->name, SAMPLE_BATCH, (unsigned long long)sample_hash(c), c->n_out, c->op->doc);
    for (const soma_field *field = c->op->fields; field && field->name; field++) {
        char text[256];
        soma_attr_text(field, c->attrs.bytes, text, sizeof text);
        printf("%s\"%s\":\"%s\"", field == c->op->fields ? "" : ",", field->name, text);
    }
    printf("},\"in\":[");
    for (int j = 0; j < c->n_in; j++) {
        printf("%s", j ? "," : "");
        dump_array(&c->in[j]);
    }
    printf("]}\n");
}

int main(int argc, char **argv)
{
    if (argc > 1 && !strcmp(argv[1], "--dump")) {
        for_all(dump);
        return 0;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ops_are_complete),
        cmocka_unit_test(kernels_agree_with_the_reference),
        cmocka_unit_test(gradients_agree_with_differences),
        cmocka_unit_test(pieces_make_the_whole),
        cmocka_unit_test_setup_teardown(reference_agrees_with_fixtures, load_fixtures, free_fixtures),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
