/* SPDX-License-Identifier: Apache-2.0
 *
 * op/reorder/reorder_onednn.c: weights and their gradients between plain and the order that a oneDNN primitive asked
 * for. The packed side's descriptor knows the rank (grouped weights have 5 dimensions there); the plain side is
 * row-major of the same.
 */
#include "backend/onednn/shim.h"

static soma_status accept(soma_prepare *p)
{
    const soma_layout *from = &p->in[0].layout, *to = &p->out[0].layout; /* soma's own packings have no descriptor */
    bool own = (from->kind == SOMA_PACKED && !from->detail) || (to->kind == SOMA_PACKED && !to->detail);
    if (p->in[0].dtype == SOMA_F32 && !own && (from->kind == SOMA_PACKED || to->kind == SOMA_PACKED))
        return SOMA_OK;
    soma_refuse(p->reason, "neither side is packed by oneDNN");
    return SOMA_UNSUPPORTED;
}

/* The two sides: `dense` is made for a plain one. */
static dnnl_status_t sides(const soma_prepare *p, soma_md *dense, soma_md_ref side[2])
{
    const soma_layout *from = &p->in[0].layout, *to = &p->out[0].layout;
    const soma_layout *packed = from->kind == SOMA_PACKED ? from : to;
    dnnl_status_t status = soma_md_dense_like(dense, soma_md_of_layout(packed));
    side[0] = from->kind == SOMA_PACKED ? soma_md_of_layout(from) : soma_md_get(dense);
    side[1] = to->kind == SOMA_PACKED ? soma_md_of_layout(to) : soma_md_get(dense);
    return status;
}

static soma_status prepare(soma_prepare *p)
{
    soma_md dense = {0};
    soma_md_ref side[2];
    dnnl_primitive_attr_t attr = NULL;
    dnnl_primitive_desc_t pd = NULL;
    dnnl_engine_t engine;
    soma_status status = soma_onednn_engine(p, &engine);
    if (status != SOMA_OK)
        return status;
    dnnl_status_t found = soma_onednn_attr(&attr, false, 0);
    if (found == dnnl_success)
        found = sides(p, &dense, side);
    if (found == dnnl_success)
        found = soma_pd_reorder(&pd, engine, side[0], side[1], attr);
    if (found == dnnl_success) {
        const soma_onednn_bind bind[2] = {{DNNL_ARG_FROM, 0}, {DNNL_ARG_TO, 1}};
        status = soma_onednn_commit(p, engine, pd, bind, 2);
    } else {
        status = soma_onednn_refuse(p, "reorder", found);
    }
    if (pd)
        dnnl_primitive_desc_destroy(pd);
    if (attr)
        dnnl_primitive_attr_destroy(attr);
    soma_md_drop(&dense);
    return status;
}

const soma_kernel soma_reorder_onednn = {
    .name = "onednn", .layouts = SOMA_LAYOUT_CONVERT, .accept = accept, .prepare = prepare};
