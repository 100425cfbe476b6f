/* SPDX-License-Identifier: Apache-2.0
 *
 * op/matmul/matmul_onednn.c: matmul by oneDNN on plain arrays; transposes are strides, broadcast matrices have leading
 * size 1.
 */
#include "library/onednn/shim.h"
#include "op/matmul/matmul.h"
#include "op/tail/tail_onednn.h"

/* A copy of the weights in bf16 in every step moves 6 bytes an element and saves half a multiplication for each row. */
#define ROWS_FOR_BF16 96

static soma_status accept_bf16(soma_prepare *p)
{
    const soma_shape *y = &p->out[0].shape;
    int64_t rows = p->out[0].elements / y->dim[y->rank - 1] / p->batch * p->full_batch;
    for (int i = 0; i < 2; i++)
        if (!p->in[i].batched && !p->in[i].constant && rows < ROWS_FOR_BF16) {
            soma_refuse(p->reason, "for %lld rows a copy of the weights in bf16 costs more than it saves",
                        (long long)rows);
            return SOMA_UNSUPPORTED;
        }
    return SOMA_OK;
}

static soma_status accept(soma_prepare *p)
{
    bool bf16 = p->in[0].dtype == SOMA_BF16 || p->in[1].dtype == SOMA_BF16;
    if (!bf16 && p->in[0].dtype != SOMA_F32) {
        soma_refuse(p->reason, "oneDNN multiplies f32 and bf16 matrices only here");
        return SOMA_UNSUPPORTED;
    }
    return bf16 ? accept_bf16(p) : SOMA_OK;
}

/* One operand: the last two strides given, the leading dimensions dense, and as many as the result has. */
static dnnl_status_t operand(soma_md *md, soma_dtype dtype, const soma_shape *x, int rank, int64_t rows,
                             int64_t columns, int64_t row, int64_t column)
{
    int64_t dim[SOMA_MAX_RANK], stride[SOMA_MAX_RANK], step = rows * columns;
    dim[rank - 2] = rows;
    dim[rank - 1] = columns;
    stride[rank - 2] = row;
    stride[rank - 1] = column;
    for (int i = rank - 3; i >= 0; i--) {
        int at = i - (rank - x->rank);
        dim[i] = at >= 0 ? x->dim[at] : 1;
        stride[i] = step;
        step *= dim[i];
    }
    return soma_md_strided(md, dtype, rank, dim, stride);
}

static dnnl_status_t bias_operand(soma_md *md, int rank, int64_t columns)
{
    int64_t dim[SOMA_MAX_RANK], stride[SOMA_MAX_RANK];
    for (int i = 0; i < rank; i++) {
        dim[i] = i == rank - 1 ? columns : 1;
        stride[i] = i == rank - 1 ? 1 : columns;
    }
    return soma_md_strided(md, SOMA_F32, rank, dim, stride);
}

typedef struct request {
    soma_md md[4]; /* a, b, bias, y */
    dnnl_primitive_attr_t attr;
    dnnl_primitive_desc_t pd;
} request;

static dnnl_status_t describe(request *r, const soma_matmul_case *c, const soma_prepare *p, dnnl_engine_t engine)
{
    int rank = p->out[0].shape.rank;
    dnnl_status_t status = soma_onednn_attr(&r->attr, false, soma_act_onednn(c->activation));
    if (status == dnnl_success)
        status = operand(&r->md[0], p->in[0].dtype, &p->in[0].shape, rank, c->m, c->k, c->a_row, c->a_col);
    if (status == dnnl_success)
        status = operand(&r->md[1], p->in[1].dtype, &p->in[1].shape, rank, c->k, c->n, c->b_row, c->b_col);
    if (status == dnnl_success && c->bias)
        status = bias_operand(&r->md[2], rank, c->n);
    if (status == dnnl_success)
        status = operand(&r->md[3], p->out[0].dtype, &p->out[0].shape, rank, c->m, c->n, c->n, 1);
    soma_md_ref md[4];
    for (int i = 0; i < 4; i++)
        md[i] = soma_md_get(&r->md[i]);
    return status == dnnl_success ? soma_pd_matmul(&r->pd, engine, md, r->attr) : status;
}

static soma_status prepare(soma_prepare *p)
{
    soma_matmul_case c = soma_matmul_case_of(p);
    request r = {0};
    if (p->in[0].dtype == SOMA_BF16 || p->in[1].dtype == SOMA_BF16) /* weights are copied */
        p->in[0].dtype = p->in[1].dtype = SOMA_BF16;
    dnnl_engine_t engine;
    soma_status status = soma_onednn_engine(p, &engine);
    if (status != SOMA_OK)
        return status;
    dnnl_status_t found = describe(&r, &c, p, engine);
    if (found == dnnl_success) {
        const soma_onednn_bind bind[4] = {
            {DNNL_ARG_SRC, 0}, {DNNL_ARG_WEIGHTS, 1}, {DNNL_ARG_DST, p->n_in}, {DNNL_ARG_BIAS, 2}};
        status = soma_onednn_refuse_reference(p, r.pd, soma_act_onednn(c.activation));
        if (status == SOMA_OK)
            status = soma_onednn_commit(p, engine, r.pd, bind, c.bias ? 4 : 3);
    } else {
        status = soma_onednn_refuse(p, "matmul", found);
    }
    if (r.pd)
        dnnl_primitive_desc_destroy(r.pd);
    if (r.attr)
        dnnl_primitive_attr_destroy(r.attr);
    for (int i = 0; i < 4; i++)
        soma_md_drop(&r.md[i]);
    return status;
}

const soma_kernel soma_matmul_onednn = {.name = "onednn",
                                        .bf16 = SOMA_BF16_MULTIPLY,
                                        .tail = SOMA_TAIL_ACT,
                                        .acts = SOMA_ACTS_ONEDNN,
                                        .accept = accept,
                                        .prepare = prepare};
