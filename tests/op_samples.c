/* SPDX-License-Identifier: Apache-2.0
 *
 * Samples of ops as models of one node.
 */
#include "op_samples.h"

#include "base/random.h"
#include "tensor/element.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

double sample_get(const soma_tensor *t, int64_t i)
{
    return soma_get(t->data, t->dtype, i);
}

void sample_set(const soma_tensor *t, int64_t i, double number)
{
    soma_set(t->data, t->dtype, i, number);
}

static void draw(const sample_case *c, uint32_t i, uint32_t j, uint32_t out[4])
{
    uint64_t site = soma_hash_text(c->op->name) ^ soma_hash_text(c->sample->name);
    const uint32_t counter[4] = {i, j, (uint32_t)site, (uint32_t)(site >> 32)}, key[2] = {20, 24};
    soma_philox(NULL, counter, key, out);
}

double sample_unit(const sample_case *c, uint32_t i, uint32_t j)
{
    uint32_t bits[4];
    draw(c, i, j, bits);
    return (double)soma_unit_f32(bits[0]);
}

/* A permutation of 0 .. n-1: multiplication by a number without a common divisor. */
static int64_t scatter(int64_t i, int64_t n)
{
    static const int64_t primes[] = {7919, 104729, 1299709};
    int64_t prime = primes[0];
    for (int k = 0; k < 3 && n % prime == 0; k++)
        prime = primes[k];
    return i * prime % n;
}

static double value(const sample_case *c, char fill, int input, int64_t i, const sample_array *a)
{
    uint32_t bits[4];
    draw(c, (uint32_t)i, (uint32_t)input, bits);
    double u = (double)soma_unit_f32(bits[0]), sum = u;
    int64_t row = a->shape.rank ? a->shape.dim[a->shape.rank - 1] : 1;
    switch (fill) {
    case 'p':
        return 0.1 + 2 * u;
    case 'u':
        return 0.02 + 0.96 * u;
    case 's':
        return (bits[1] & 1 ? 1 : -1) * (0.3 + 1.5 * u);
    case 'g':
        return 12 * u - 3;
    case 'k':
        return (double)(int64_t)(u * c->sample->classes);
    case 'd':
        return 4.0 * (double)scatter(i, a->n) / (double)a->n - 2;
    case 'o':
        draw(c, (uint32_t)(i / row), (uint32_t)input, bits);
        return (int64_t)((double)soma_unit_f32(bits[0]) * (double)row) == i % row;
    default: /* close to normal, by the sum of four uniform numbers */
        for (int k = 1; k < 4; k++)
            sum += (double)soma_unit_f32(bits[k]);
        return (sum - 2) * 1.7320508;
    }
}

static void make_array(sample_array *a, const soma_shape *shape)
{
    a->shape = *shape;
    a->n = 1;
    for (int k = 0; k < shape->rank; k++) {
        if (shape->dim[k] < 0)
            a->shape.dim[k] = -shape->dim[k] * SAMPLE_BATCH;
        a->n *= a->shape.dim[k];
    }
    a->at = calloc((size_t)a->n, sizeof *a->at);
}

static int count_outputs(const sample_case *c)
{
    int n = 0;
    if (!c->op->assign)
        return c->op->required_out + c->op->optional_out;
    while (n < SAMPLE_ARGS && c->op->assign(c->attrs.bytes, c->n_in, n) >= 0)
        n++;
    return n;
}

void sample_begin(sample_case *c, const soma_op *op, const soma_sample *sample)
{
    char reason[SOMA_REASON_MAX] = "";
    memset(c, 0, sizeof *c);
    c->op = op;
    c->sample = sample;
    c->n_in = op->n_in_samples;
    if (soma_attrs_parse(op, c->attrs.bytes, sample->attrs ? sample->attrs : "", reason) != SOMA_OK) {
        fprintf(stderr, "%s \"%s\": %s\n", op->name, sample->name, reason);
        exit(1);
    }
    c->n_out = count_outputs(c);
    for (int j = 0; j < c->n_in; j++) {
        sample_array *a = &c->in[j];
        char fill = sample->fill ? sample->fill[j] : 'n';
        a->integer = fill == 'k';
        a->target = fill == 'o';
        a->dtype = !a->integer ? SOMA_F32 : strncmp(op->name, "max_pool2d", 10) == 0 ? SOMA_U8 : SOMA_I32;
        a->shape.rank = -1;
        if (fill == '-')
            continue;
        make_array(a, &sample->in[j]);
        for (int64_t i = 0; i < a->n; i++)
            a->at[i] = (double)(float)value(c, fill, j, i, a);
    }
}

void sample_end(sample_case *c)
{
    for (int j = 0; j < SAMPLE_ARGS; j++) {
        free(c->in[j].at);
        free(c->out[j].at);
    }
    memset(c, 0, sizeof *c);
}

uint64_t sample_hash(const sample_case *c)
{
    uint64_t hash = soma_hash_text(c->sample->attrs ? c->sample->attrs : "");
    for (int j = 0; j < c->n_in; j++)
        if (c->in[j].at)
            hash = soma_hash_bytes(hash, c->in[j].at, (size_t)c->in[j].n * sizeof(double));
    return hash;
}

/* ---- the model ---- */

static bool assigned(const sample_case *c, int input)
{
    for (int i = 0; c->op->assign && i < c->n_out; i++)
        if (c->op->assign(c->attrs.bytes, c->n_in, i) == input)
            return true;
    return false;
}

static soma_value make_input(sample_case *c, int j)
{
    if (!c->in[j].at) /* absent: the sample may end before it */
        return soma_none();
    soma_shape shape = c->sample->in[j];
    soma_dtype dtype = c->in[j].integer ? c->in[j].dtype : c->dtype;
    char name[16];
    snprintf(name, sizeof name, "x%d", j);
    if (assigned(c, j))
        return soma_parameter(c->m, name, shape, .dtype = dtype);
    bool batch = shape.rank > 0 && shape.dim[0] == SOMA_N;
    if (batch) {
        shape.rank--;
        memmove(shape.dim, shape.dim + 1, (size_t)shape.rank * sizeof shape.dim[0]);
    }
    return soma_input(c->m, name, dtype, shape, .no_batch = !batch);
}

bool sample_open(sample_case *c, const soma_op *op, soma_dtype dtype, bool exact)
{
    /* The oracle runs on one thread: quicker here, and its bits do not depend on it. */
    soma_context_options o = {.struct_size = sizeof o, .exact = exact, .seed = 7, .threads = exact ? 1 : 0};
    c->s = soma_open(&o);
    c->m = soma_model_new(c->s, "sample");
    c->dtype = dtype;
    c->p = NULL;
    for (int j = 0; j < c->n_in; j++)
        c->x[j] = make_input(c, j);
    soma_apply_with(
        op, c->x, c->n_in, c->y, c->n_out,
        &(soma_apply_options){
            .struct_size = sizeof(soma_apply_options), .at = SOMA_AT, .attrs = c->attrs.bytes, .layer = "node"});
    return !soma_failed(c->s);
}

void sample_close(sample_case *c)
{
    soma_close(c->s);
    c->s = NULL;
    c->m = NULL;
    c->p = NULL;
}

bool sample_feed(sample_case *c, int j)
{
    const sample_array *a = &c->in[j];
    char name[16];
    snprintf(name, sizeof name, "x%d", j);
    soma_tensor t = assigned(c, j) ? soma_tensor_find(c->m, name).tensor : soma_program_input(c->p, c->x[j]);
    if (!t.data)
        return false;
    for (int64_t i = 0; i < a->n; i++)
        sample_set(&t, i, a->at[i]);
    return true;
}

bool sample_compile(sample_case *c, const soma_value *values, int n)
{
    soma_value present[SAMPLE_ARGS];
    int n_present = 0;
    for (int i = 0; i < c->n_out; i++)
        if (soma_ok(c->y[i]))
            present[n_present++] = c->y[i];
    bool updates = c->op->assign != NULL;
    c->p = soma_compile(c->m, .name = "sample", .batch = SAMPLE_BATCH, .values = values ? values : present,
                        .n_values = values    ? n
                                    : updates ? 0
                                              : n_present,
                        .updates = present, .n_updates = updates ? n_present : 0, .training = true);
    for (int j = 0; c->p && j < c->n_in; j++)
        if (c->in[j].at && soma_ok(c->x[j]))
            sample_feed(c, j); /* an input whose elements are not read is not in the program */
    return c->p != NULL;
}

bool sample_step(sample_case *c)
{
    soma_program_set_step(c->p, 0); /* the same random draws every time */
    return soma_step(c->p) == SOMA_OK;
}

static soma_tensor output(sample_case *c, int i)
{
    char name[16];
    if (!c->op->assign)
        return soma_read(c->p, c->y[i]);
    snprintf(name, sizeof name, "x%d", c->op->assign(c->attrs.bytes, c->n_in, i));
    return soma_tensor_find(c->m, name).tensor;
}

bool sample_read(sample_case *c)
{
    for (int i = 0; i < c->n_out; i++) {
        sample_array *a = &c->out[i];
        free(a->at);
        a->at = NULL;
        a->shape.rank = -1;
        if (!soma_ok(c->y[i]))
            continue;
        soma_tensor t = output(c, i);
        if (!t.data)
            return false;
        make_array(a, &t.shape);
        a->dtype = t.dtype;
        for (int64_t k = 0; k < a->n; k++)
            a->at[k] = sample_get(&t, k);
    }
    return true;
}

bool sample_run(sample_case *c, const soma_op *op, soma_dtype dtype, bool exact, char *error, size_t capacity)
{
    bool done = sample_open(c, op, dtype, exact) && sample_compile(c, NULL, 0) && sample_step(c) && sample_read(c);
    snprintf(error, capacity, "%s", done ? "" : soma_error(c->s));
    sample_close(c);
    return done;
}
