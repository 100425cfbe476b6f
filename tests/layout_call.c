/* SPDX-License-Identifier: Apache-2.0
 *
 * tests/layout_call.c: kernels on samples of their ops, in any layout.
 */
#include "layout_call.h"

#include "cpu/parallel.h"
#include "base/random.h"
#include "tensor/element.h"
#include "op/reorder/reorder.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

int64_t layout_elements(const layout_arrays *a, int i)
{
    return a->type[i].shape.rank < 0 ? 0 : soma_shape_elements(&a->type[i].shape);
}

void layout_call_open(layout_call *c, const soma_op *op, const void *attrs, int n_in, int n_out, const soma_type *type,
                      int threads)
{
    memset(c, 0, sizeof *c);
    c->s = soma_open(NULL);
    assert_int_equal(soma_kernel_open(&c->kernel, c->s, op, attrs, n_in, n_out, type), SOMA_OK);
    c->p = &c->kernel.view.prepare;
    c->arg = c->kernel.view.args;
    c->p->batch = c->p->full_batch = LAYOUT_BATCH;
    c->p->threads = threads;
}

soma_status layout_call_run(layout_call *c)
{
    char reason[SOMA_REASON_MAX];
    soma_run run = {.threads = c->p->threads, .reason = reason};
    int n = c->p->n_in + c->p->n_out;
    if (c->p->scratch) {
        c->data[n] = soma_alloc(c->s, c->p->scratch);
        memset(c->data[n], 0xff, c->p->scratch); /* NaN: a kernel may not count on zeros */
    }
    soma_status status = soma_kernel_run(&c->kernel, c->data, &run);
    soma_release(c->s, c->data[n]);
    return status;
}

void layout_call_close(layout_call *c)
{
    soma_kernel_close(&c->kernel);
    soma_close(c->s);
}

/* ---- layouts ---- */

static int64_t place(const soma_arg *a, int64_t element)
{
    if (a->shape.rank != 4 || soma_layout_block(a) == 1)
        return element;
    /* 32 bits: half of this test's time goes into these divisions */
    uint32_t block = (uint32_t)soma_layout_block(a), c = (uint32_t)a->shape.dim[1], i = (uint32_t)element;
    uint32_t plane = (uint32_t)(a->shape.dim[2] * a->shape.dim[3]), n = i / (c * plane), q = i / plane % c,
             at = i % plane;
    return n * c * plane + q / block * block * plane + at * block + q % block;
}

/* Plain numbers are f32 where the kernel's are bf16. */
static void move_dense(const soma_arg *a, void *plain, void *there, bool back)
{
    size_t size = soma_dtype_size(a->dtype);
    for (int64_t i = 0; i < a->elements && a->dtype == SOMA_BF16; i++) {
        float *p = (float *)plain + i;
        uint16_t *q = (uint16_t *)there + place(a, i);
        if (back)
            *p = soma_from_bf16(*q);
        else
            *q = soma_to_bf16(*p);
    }
    if (a->dtype == SOMA_BF16)
        return;
    for (int64_t i = 0; i < a->elements; i++) {
        char *p = (char *)plain + (size_t)i * size, *q = (char *)there + (size_t)place(a, i) * size;
        memcpy(back ? p : q, back ? q : p, size);
    }
}

/* The same for packed weights, by the library's reorder. */
static void move_packed(const soma_arg *a, void *plain, void *there, bool back)
{
    soma_type type[2] = {{SOMA_F32, a->shape}, {SOMA_F32, a->shape}};
    layout_call c;
    type[back ? 0 : 1].dtype = a->dtype;
    layout_call_open(&c, &soma_op_reorder, NULL, 1, 1, type, 1);
    c.arg[back ? 0 : 1].layout = a->layout;
    c.data[0] = back ? there : plain;
    c.data[1] = back ? plain : there;
    soma_status status = SOMA_UNSUPPORTED;
    for (int k = 0; soma_op_reorder.kernels[k] && status != SOMA_OK; k++)
        status = soma_kernel_prepare(&c.kernel, soma_op_reorder.kernels[k], NULL);
    assert_int_equal(status, SOMA_OK);
    assert_int_equal(layout_call_run(&c), SOMA_OK);
    layout_call_close(&c);
}

void layout_move(const soma_arg *a, void *plain, void *there, bool back)
{
    (a->layout.kind == SOMA_PACKED ? move_packed : move_dense)(a, plain, there, back);
}

bool layout_next(const soma_kernel *kernel, const layout_arrays *a, soma_layout_kind kinds[LAYOUT_ARGS])
{
    int n = a->n_in + a->n_out;
    bool follows = kernel->layouts == SOMA_LAYOUT_FOLLOW;
    for (int i = 0; i < n; i++) {
        bool four = (kernel->layouts == SOMA_LAYOUT_CONVERT || (follows && i == 0)) && a->type[i].shape.rank == 4;
        soma_layout_kind next = kinds[i] + 1;
        while (four && next <= SOMA_NCHW16C &&
               a->type[i].shape.dim[1] % (next == SOMA_NCHW16C  ? 16
                                          : next == SOMA_NCHW8C ? 8
                                                                : 1))
            next++;
        kinds[i] = four && next <= SOMA_NCHW16C ? next : SOMA_PLAIN;
        for (int k = 1; k < n && follows; k++)
            kinds[k] = kinds[0];
        if (kinds[i] != SOMA_PLAIN)
            return true;
    }
    return false;
}

/* ---- samples ---- */

static uint64_t draws;

double layout_uniform(void)
{
    uint32_t out[4];
    soma_random random = {soma_philox, NULL};
    soma_draw(&random, 7, SOMA_STREAM_INIT, 0, 0, draws++, out);
    return soma_unit_f64(out[0], out[1]) * 2 - 1;
}

/* Numbers of the kind that the sample asks for (soma/op.h). */
static double draw(char kind, int classes, int64_t j, int64_t row, double *hot)
{
    double x = (double)(float)layout_uniform();
    switch (kind) {
    case 'k':
        return (double)(int)((x + 1) / 2 * classes);
    case 's':
        return x + (x < 0 ? -0.3 : 0.3);
    case 'g':
        return 3 + 6 * x;
    case 'p':
        return 1.1 + x;
    case 'u':
        return 0.5 + 0.48 * x;
    case 'o':
        if (j % row == 0)
            *hot = (x + 1) / 2 * (double)row;
        return j % row == (int64_t)*hot;
    default:
        return x;
    }
}

static void fill(const soma_sample *sample, layout_arrays *a, int i)
{
    char kind = sample->fill ? sample->fill[i] : 'n';
    const soma_shape *shape = &a->type[i].shape;
    int64_t n = layout_elements(a, i), row = shape->rank > 0 ? shape->dim[shape->rank - 1] : 1;
    double hot = 0;
    a->exact[i] = calloc((size_t)n + 1, sizeof(double));
    a->bound[i] = calloc((size_t)n + 1, sizeof(double));
    a->plain[i] = calloc((size_t)n + 1, 8);
    for (int64_t j = 0; j < n; j++) {
        double x = (double)(float)draw(kind, sample->classes, j, row, &hot);
        if (a->half)
            x = (double)soma_from_bf16(soma_to_bf16((float)x));
        a->exact[i][j] = x;
        a->bound[i][j] = fabs(x);
        soma_set(a->plain[i], a->type[i].dtype, j, x);
    }
}

static soma_type type_of(const soma_op *op, const soma_sample *sample, int i)
{
    char kind = sample->fill ? sample->fill[i] : 'n';
    soma_dtype label = strncmp(op->name, "max_pool2d", 10) == 0 ? SOMA_U8 : SOMA_I32;
    soma_type type = {.dtype = kind == 'k' ? label : SOMA_F32, .shape = {.rank = -1}};
    if (kind == '-')
        return type;
    type.shape = sample->in[i];
    for (int k = 0; k < type.shape.rank; k++)
        if (type.shape.dim[k] < 0)
            type.shape.dim[k] *= -LAYOUT_BATCH;
    return type;
}

bool layout_sample_make(const soma_op *op, const soma_sample *sample, void *attrs, layout_arrays *a, bool half,
                        char reason[SOMA_REASON_MAX])
{
    memset(a, 0, sizeof *a);
    a->half = half;
    a->n_in = op->n_in_samples;
    a->n_out = op->required_out + op->optional_out;
    for (int i = 0; i < a->n_in; i++) {
        a->type[i] = type_of(op, sample, i);
        fill(sample, a, i);
    }
    for (int i = a->n_in; i < a->n_in + a->n_out; i++)
        a->type[i].shape.rank = -1; /* infer leaves out what the attributes leave out */
    soma_infer infer = {attrs, a->n_in, a->n_out, a->type, a->type + a->n_in, reason};
    if (op->infer(&infer) != SOMA_OK)
        return false;
    for (int i = a->n_in; i < a->n_in + a->n_out; i++) {
        a->exact[i] = calloc((size_t)layout_elements(a, i) + 1, sizeof(double));
        a->bound[i] = calloc((size_t)layout_elements(a, i) + 1, sizeof(double));
        a->plain[i] = calloc((size_t)layout_elements(a, i) + 1, 8);
    }
    return true;
}

void layout_sample_open(const soma_op *op, const soma_sample *sample, void *attrs, layout_arrays *a, bool half)
{
    char reason[SOMA_REASON_MAX] = "";
    assert_int_equal(soma_attrs_parse(op, attrs, sample->attrs, reason), SOMA_OK);
    if (!layout_sample_make(op, sample, attrs, a, half, reason))
        fail_msg("%s, %s: %s", op->name, sample->name, reason);
}

void layout_sample_close(layout_arrays *a)
{
    for (int i = 0; i < a->n_in + a->n_out; i++) {
        free(a->exact[i]);
        free(a->bound[i]);
        free(a->plain[i]);
    }
}

static const soma_kernel *reference_of(const soma_op *op)
{
    int k = 0;
    while (op->kernels[k + 1])
        k++;
    return op->kernels[k];
}

void layout_reference(const soma_op *op, void *attrs, layout_arrays *a, double *value[LAYOUT_ARGS])
{
    soma_type type[LAYOUT_ARGS];
    for (int i = 0; i < a->n_in + a->n_out; i++)
        type[i] = (soma_type){a->type[i].dtype == SOMA_F32 ? SOMA_F64 : a->type[i].dtype, a->type[i].shape};
    layout_call c;
    layout_call_open(&c, op, attrs, a->n_in, a->n_out, type, 1);
    for (int i = 0; i < a->n_in + a->n_out; i++)
        if (type[i].shape.rank >= 0)
            c.data[i] = type[i].dtype == SOMA_F64 ? value[i] : a->plain[i];
    assert_int_equal(soma_kernel_prepare(&c.kernel, reference_of(op), NULL), SOMA_OK);
    assert_int_equal(layout_call_run(&c), SOMA_OK);
    for (int i = a->n_in; i < a->n_in + a->n_out; i++)
        for (int64_t j = 0; j < layout_elements(a, i) && type[i].dtype != SOMA_F64; j++)
            value[i][j] = soma_get(a->plain[i], type[i].dtype, j);
    layout_call_close(&c);
}

void layout_type_halves(layout_call *c, const layout_arrays *a, bool outputs)
{
    const char *name = c->p->op->name;
    int weight = !strcmp(name, "conv2d_weight_grad") ? a->n_in : !strncmp(name, "conv2d", 6) ? 1 : -1;
    for (int i = 0; i < a->n_in + a->n_out; i++)
        if (a->type[i].dtype == SOMA_F32 && a->type[i].shape.rank >= 2 && i != weight) {
            c->arg[i].batched = true;
            c->arg[i].dtype = i < a->n_in || outputs ? SOMA_BF16 : SOMA_F32;
        }
}
