/* SPDX-License-Identifier: Apache-2.0
 *
 * op/reorder/reorder_onednn.c: weights and their gradients between plain and the order that a oneDNN primitive asked
 * for. The packed side's descriptor knows the rank (grouped weights have 5 dimensions there); the plain side is
 * row-major of the same.
 */
#include "library/onednn/shim.h"

static soma_status accept(soma_prepare *p)
{
    const soma_arg *from = &p->in[0], *to = &p->out[0];
    bool packed = from->layout.kind == SOMA_PACKED || to->layout.kind == SOMA_PACKED;
    /* soma's own packings have no descriptor */
    bool own = (from->layout.kind == SOMA_PACKED && !from->layout.detail) ||
               (to->layout.kind == SOMA_PACKED && !to->layout.detail);
    bool cast = from->dtype != to->dtype && from->shape.rank == 4;
    if ((from->dtype == SOMA_F32 || from->dtype == SOMA_BF16) && !own && (packed || cast))
        return SOMA_OK;
    soma_refuse(p->reason, "neither side is packed by oneDNN, or in bf16 alone");
    return SOMA_UNSUPPORTED;
}

/* The two sides: made[] where one is not packed. */
static dnnl_status_t sides(const soma_prepare *p, soma_md made[2], soma_md_ref side[2])
{
    const soma_arg *arg[2] = {&p->in[0], &p->out[0]};
    dnnl_status_t status = dnnl_success;
    for (int i = 0; i < 2 && status == dnnl_success; i++) {
        const soma_layout *other = &arg[1 - i]->layout;
        if (arg[i]->layout.kind == SOMA_PACKED) {
            side[i] = soma_md_of_layout(&arg[i]->layout);
            continue;
        }
        status = other->kind == SOMA_PACKED ? soma_md_dense_like(&made[i], arg[i]->dtype, soma_md_of_layout(other))
                                            : soma_md_activation(&made[i], arg[i]);
        side[i] = soma_md_get(&made[i]);
    }
    return status;
}

static soma_status prepare(soma_prepare *p)
{
    soma_md made[2] = {0};
    soma_md_ref side[2];
    dnnl_primitive_attr_t attr = NULL;
    dnnl_primitive_desc_t pd = NULL;
    dnnl_engine_t engine;
    soma_status status = soma_onednn_engine(p, &engine);
    if (status != SOMA_OK)
        return status;
    dnnl_status_t found = soma_onednn_attr(&attr, false, dnnl_alg_kind_undef);
    if (found == dnnl_success)
        found = sides(p, made, side);
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
    soma_md_drop(&made[0]);
    soma_md_drop(&made[1]);
    return status;
}

const soma_kernel soma_reorder_onednn = {
    .name = "onednn", .bf16 = SOMA_BF16_FOLLOW, .layouts = SOMA_LAYOUT_CONVERT, .accept = accept, .prepare = prepare};
