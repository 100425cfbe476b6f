/* SPDX-License-Identifier: Apache-2.0
 *
 * library/onednn/shim_onednn.c: descriptors and primitive descriptors for both majors. In 2.6 a memory descriptor is a
 * struct and an op has a descriptor of its own; in 3.x the former is a handle and the latter is gone.
 */
#include "library/onednn/shim.h"
#include "base/random.h"

#include <string.h>

#define SOMA_TRY(call)                                                                                                 \
    do {                                                                                                               \
        dnnl_status_t try_status = (call);                                                                             \
        if (try_status != dnnl_success)                                                                                \
            return try_status;                                                                                         \
    } while (0)

/* The library's arrays of dimensions are longer than soma's. */
static void widen(dnnl_dims_t wide, const int64_t *dim, int rank)
{
    memset(wide, 0, sizeof(dnnl_dims_t));
    memcpy(wide, dim, (size_t)rank * sizeof dim[0]);
}

static dnnl_data_type_t type_of(soma_dtype dtype)
{
    return dtype == SOMA_BF16 ? dnnl_bf16 : dnnl_f32;
}

#if DNNL_VERSION_MAJOR >= 3

static dnnl_status_t md_strided(soma_md *md, dnnl_data_type_t type, int rank, const dnnl_dims_t dim,
                                const dnnl_dims_t stride)
{
    SOMA_TRY(dnnl_memory_desc_create_with_strides(&md->md, rank, dim, type, stride));
    md->present = true;
    return dnnl_success;
}

static dnnl_status_t md_tag(soma_md *md, dnnl_data_type_t type, int rank, const dnnl_dims_t dim, dnnl_format_tag_t tag)
{
    SOMA_TRY(dnnl_memory_desc_create_with_tag(&md->md, rank, dim, type, tag));
    md->present = true;
    return dnnl_success;
}

soma_md_ref soma_md_get(const soma_md *md)
{
    return md->present ? md->md : NULL;
}

void soma_md_drop(soma_md *md)
{
    if (md->present)
        dnnl_memory_desc_destroy(md->md);
    md->present = false;
}

static dnnl_status_t md_rank(soma_md_ref md, int *rank, const int64_t **dim)
{
    dnnl_dims_t *dims = NULL;
    SOMA_TRY(dnnl_memory_desc_query(md, dnnl_query_ndims_s32, rank));
    SOMA_TRY(dnnl_memory_desc_query(md, dnnl_query_dims, &dims));
    *dim = *dims;
    return dnnl_success;
}

/* Equal hashes mean equal orders of the same logical array of one type. */
static uint64_t md_hash(soma_md_ref md)
{
    static const dnnl_query_t queries[] = {dnnl_query_dims, dnnl_query_padded_dims, dnnl_query_strides};
    uint64_t hash = 0;
    int rank = 0, blocks = 0;
    dnnl_dims_t *dims = NULL;
    if (dnnl_memory_desc_query(md, dnnl_query_ndims_s32, &rank) != dnnl_success)
        return 0;
    dnnl_data_type_t type = dnnl_data_type_undef;
    if (dnnl_memory_desc_query(md, dnnl_query_data_type, &type) == dnnl_success)
        hash = (uint64_t)type;
    for (int i = 0; i < 3; i++)
        if (dnnl_memory_desc_query(md, queries[i], &dims) == dnnl_success)
            hash = soma_hash_bytes(hash, *dims, (size_t)rank * sizeof(dnnl_dim_t));
    if (dnnl_memory_desc_query(md, dnnl_query_inner_nblks_s32, &blocks) == dnnl_success && blocks > 0) {
        if (dnnl_memory_desc_query(md, dnnl_query_inner_blks, &dims) == dnnl_success)
            hash = soma_hash_bytes(hash, *dims, (size_t)blocks * sizeof(dnnl_dim_t));
        if (dnnl_memory_desc_query(md, dnnl_query_inner_idxs, &dims) == dnnl_success)
            hash = soma_hash_bytes(hash, *dims, (size_t)blocks * sizeof(dnnl_dim_t));
    }
    return hash;
}

static void md_free(void *md)
{
    dnnl_memory_desc_destroy((dnnl_memory_desc_t)md);
}

static soma_status md_keep(soma_prepare *p, soma_md_ref md, const void **kept)
{
    dnnl_memory_desc_t copy = NULL;
    if (dnnl_memory_desc_clone(&copy, md) != dnnl_success)
        return SOMA_MEMORY;
    *kept = copy;
    return soma_prepare_cleanup(p, md_free, copy);
}

soma_md_ref soma_md_of_layout(const soma_layout *layout)
{
    return (soma_md_ref)layout->detail;
}

dnnl_status_t soma_pd_convolution_forward(dnnl_primitive_desc_t *pd, dnnl_engine_t engine, dnnl_alg_kind_t algorithm,
                                          const soma_md_ref md[4], const soma_onednn_window *w,
                                          const_dnnl_primitive_attr_t attr)
{
    return dnnl_convolution_forward_primitive_desc_create(pd, engine, dnnl_forward_training, algorithm, md[0], md[1],
                                                          md[2], md[3], w->stride, w->dilate, w->pad_begin, w->pad_end,
                                                          attr);
}

dnnl_status_t soma_pd_convolution_input(dnnl_primitive_desc_t *pd, dnnl_engine_t engine, dnnl_alg_kind_t algorithm,
                                        const soma_md_ref md[3], const soma_onednn_window *w,
                                        const_dnnl_primitive_attr_t attr)
{
    return dnnl_convolution_backward_data_primitive_desc_create(pd, engine, algorithm, md[0], md[1], md[2], w->stride,
                                                                w->dilate, w->pad_begin, w->pad_end, NULL, attr);
}

dnnl_status_t soma_pd_convolution_weights(dnnl_primitive_desc_t *pd, dnnl_engine_t engine, dnnl_alg_kind_t algorithm,
                                          const soma_md_ref md[4], const soma_onednn_window *w,
                                          const_dnnl_primitive_attr_t attr)
{
    return dnnl_convolution_backward_weights_primitive_desc_create(
        pd, engine, algorithm, md[0], md[1], md[2], md[3], w->stride, w->dilate, w->pad_begin, w->pad_end, NULL, attr);
}

dnnl_status_t soma_pd_matmul(dnnl_primitive_desc_t *pd, dnnl_engine_t engine, const soma_md_ref md[4],
                             const_dnnl_primitive_attr_t attr)
{
    return dnnl_matmul_primitive_desc_create(pd, engine, md[0], md[1], md[2], md[3], attr);
}

dnnl_status_t soma_pd_reorder(dnnl_primitive_desc_t *pd, dnnl_engine_t engine, soma_md_ref from, soma_md_ref to,
                              const_dnnl_primitive_attr_t attr)
{
    return dnnl_reorder_primitive_desc_create(pd, from, engine, to, engine, attr);
}

static dnnl_status_t append_eltwise(dnnl_post_ops_t ops, dnnl_alg_kind_t kind)
{
    return dnnl_post_ops_append_eltwise(ops, kind, 0.0f, 0.0f);
}

static dnnl_status_t append_sum(dnnl_post_ops_t ops)
{
    return dnnl_post_ops_append_sum(ops, 1.0f, 0, dnnl_data_type_undef);
}

#else /* 2.x */

static dnnl_status_t md_strided(soma_md *md, dnnl_data_type_t type, int rank, const dnnl_dims_t dim,
                                const dnnl_dims_t stride)
{
    SOMA_TRY(dnnl_memory_desc_init_by_strides(&md->md, rank, dim, type, stride));
    md->present = true;
    return dnnl_success;
}

static dnnl_status_t md_tag(soma_md *md, dnnl_data_type_t type, int rank, const dnnl_dims_t dim, dnnl_format_tag_t tag)
{
    SOMA_TRY(dnnl_memory_desc_init_by_tag(&md->md, rank, dim, type, tag));
    md->present = true;
    return dnnl_success;
}

soma_md_ref soma_md_get(const soma_md *md)
{
    return md->present ? &md->md : NULL;
}

void soma_md_drop(soma_md *md)
{
    md->present = false;
}

static dnnl_status_t md_rank(soma_md_ref md, int *rank, const int64_t **dim)
{
    *rank = md->ndims;
    *dim = md->dims;
    return dnnl_success;
}

/* Equal hashes mean equal orders of the same logical array of one type. */
static uint64_t md_hash(soma_md_ref md)
{
    size_t rank = (size_t)md->ndims;
    uint64_t hash = soma_hash_bytes((uint64_t)md->data_type, md->dims, rank * sizeof md->dims[0]);
    hash = soma_hash_bytes(hash, md->padded_dims, rank * sizeof md->padded_dims[0]);
    hash = soma_hash_bytes(hash, &md->format_kind, sizeof md->format_kind);
    if (md->format_kind != dnnl_blocked)
        return soma_hash_bytes(hash, &md->format_desc, sizeof md->format_desc);
    const dnnl_blocking_desc_t *b = &md->format_desc.blocking;
    hash = soma_hash_bytes(hash, b->strides, rank * sizeof b->strides[0]);
    hash = soma_hash_bytes(hash, b->inner_blks, (size_t)b->inner_nblks * sizeof b->inner_blks[0]);
    return soma_hash_bytes(hash, b->inner_idxs, (size_t)b->inner_nblks * sizeof b->inner_idxs[0]);
}

static soma_status md_keep(soma_prepare *p, soma_md_ref md, const void **kept)
{
    dnnl_memory_desc_t *copy = soma_prepare_state(p, sizeof *copy);
    if (!copy)
        return SOMA_MEMORY;
    *copy = *md;
    *kept = copy;
    return SOMA_OK;
}

soma_md_ref soma_md_of_layout(const soma_layout *layout)
{
    return layout->detail;
}

dnnl_status_t soma_pd_convolution_forward(dnnl_primitive_desc_t *pd, dnnl_engine_t engine, dnnl_alg_kind_t algorithm,
                                          const soma_md_ref md[4], const soma_onednn_window *w,
                                          const_dnnl_primitive_attr_t attr)
{
    dnnl_convolution_desc_t d;
    SOMA_TRY(dnnl_dilated_convolution_forward_desc_init(&d, dnnl_forward_training, algorithm, md[0], md[1], md[2],
                                                        md[3], w->stride, w->dilate, w->pad_begin, w->pad_end));
    return dnnl_primitive_desc_create(pd, &d, attr, engine, NULL);
}

dnnl_status_t soma_pd_convolution_input(dnnl_primitive_desc_t *pd, dnnl_engine_t engine, dnnl_alg_kind_t algorithm,
                                        const soma_md_ref md[3], const soma_onednn_window *w,
                                        const_dnnl_primitive_attr_t attr)
{
    dnnl_convolution_desc_t d;
    SOMA_TRY(dnnl_dilated_convolution_backward_data_desc_init(&d, algorithm, md[0], md[1], md[2], w->stride, w->dilate,
                                                              w->pad_begin, w->pad_end));
    return dnnl_primitive_desc_create(pd, &d, attr, engine, NULL);
}

dnnl_status_t soma_pd_convolution_weights(dnnl_primitive_desc_t *pd, dnnl_engine_t engine, dnnl_alg_kind_t algorithm,
                                          const soma_md_ref md[4], const soma_onednn_window *w,
                                          const_dnnl_primitive_attr_t attr)
{
    dnnl_convolution_desc_t d;
    SOMA_TRY(dnnl_dilated_convolution_backward_weights_desc_init(&d, algorithm, md[0], md[1], md[2], md[3], w->stride,
                                                                 w->dilate, w->pad_begin, w->pad_end));
    return dnnl_primitive_desc_create(pd, &d, attr, engine, NULL);
}

dnnl_status_t soma_pd_matmul(dnnl_primitive_desc_t *pd, dnnl_engine_t engine, const soma_md_ref md[4],
                             const_dnnl_primitive_attr_t attr)
{
    dnnl_matmul_desc_t d;
    SOMA_TRY(dnnl_matmul_desc_init(&d, md[0], md[1], md[2], md[3]));
    return dnnl_primitive_desc_create(pd, &d, attr, engine, NULL);
}

dnnl_status_t soma_pd_reorder(dnnl_primitive_desc_t *pd, dnnl_engine_t engine, soma_md_ref from, soma_md_ref to,
                              const_dnnl_primitive_attr_t attr)
{
    return dnnl_reorder_primitive_desc_create(pd, from, engine, to, engine, attr);
}

static dnnl_status_t append_eltwise(dnnl_post_ops_t ops, dnnl_alg_kind_t kind)
{
    return dnnl_post_ops_append_eltwise(ops, 1.0f, kind, 0.0f, 0.0f);
}

static dnnl_status_t append_sum(dnnl_post_ops_t ops)
{
    return dnnl_post_ops_append_sum(ops, 1.0f);
}

#endif

dnnl_status_t soma_md_strided(soma_md *md, soma_dtype dtype, int rank, const int64_t *dim, const int64_t *stride)
{
    dnnl_dims_t wide_dim, wide_stride;
    widen(wide_dim, dim, rank);
    widen(wide_stride, stride, rank);
    return md_strided(md, type_of(dtype), rank, wide_dim, wide_stride);
}

dnnl_status_t soma_md_tag(soma_md *md, soma_dtype dtype, int rank, const int64_t *dim, dnnl_format_tag_t tag)
{
    dnnl_dims_t wide;
    widen(wide, dim, rank);
    return md_tag(md, type_of(dtype), rank, wide, tag);
}

dnnl_status_t soma_md_turned(soma_md *md, soma_md_ref of)
{
    const int order[DNNL_MAX_NDIMS] = {1, 0, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11};
    dnnl_status_t status = dnnl_memory_desc_permute_axes(&md->md, of, order);
    md->present = status == dnnl_success;
    return status;
}

dnnl_status_t soma_md_activation(soma_md *md, const soma_arg *a)
{
    static const dnnl_format_tag_t tags[] = {
        [SOMA_PLAIN] = dnnl_nchw, [SOMA_NHWC] = dnnl_nhwc, [SOMA_NCHW8C] = dnnl_nChw8c, [SOMA_NCHW16C] = dnnl_nChw16c};
    if (a->layout.kind == SOMA_PACKED || a->shape.rank != 4)
        return dnnl_invalid_arguments;
    return soma_md_tag(md, a->dtype, 4, a->shape.dim, tags[a->layout.kind]);
}

dnnl_status_t soma_md_dense_like(soma_md *md, soma_dtype dtype, soma_md_ref like)
{
    int rank = 0;
    const int64_t *dim = NULL;
    int64_t stride[DNNL_MAX_NDIMS], n = 1;
    SOMA_TRY(md_rank(like, &rank, &dim));
    for (int i = rank - 1; i >= 0; i--) {
        stride[i] = n;
        n *= dim[i];
    }
    return soma_md_strided(md, dtype, rank, dim, stride);
}

/* Which square tiles the descriptor says, if any. */
static soma_tiles tiles_of(soma_md_ref md, soma_dtype dtype)
{
    static const struct {
        dnnl_format_tag_t tag;
        soma_tiles tiles;
    } known[] = {{dnnl_OIhw16i16o, {16, false, false}},
                 {dnnl_OIhw16o16i, {16, true, false}},
                 {dnnl_IOhw16o16i, {16, true, true}},
                 {dnnl_OIhw8i8o, {8, false, false}},
                 {dnnl_OIhw8o8i, {8, true, false}}};
    int rank = 0;
    const int64_t *dim = NULL;
    if (dtype != SOMA_F32 || md_rank(md, &rank, &dim) != dnnl_success || rank != 4)
        return (soma_tiles){0};
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        soma_md tagged = {0};
        bool whole = dim[0] % known[i].tiles.side == 0 && dim[1] % known[i].tiles.side == 0;
        bool same = whole && soma_md_tag(&tagged, dtype, 4, dim, known[i].tag) == dnnl_success &&
                    dnnl_memory_desc_equal(soma_md_get(&tagged), md);
        soma_md_drop(&tagged);
        if (same)
            return known[i].tiles;
    }
    return (soma_tiles){0};
}

soma_status soma_md_to_layout(soma_prepare *p, soma_md_ref md, soma_dtype dtype, soma_layout *layout)
{
    soma_md dense = {0};
    if (soma_md_dense_like(&dense, dtype, md) != dnnl_success)
        return soma_refuse(p->reason, "oneDNN describes an array in a way that cannot be read");
    bool plain = dnnl_memory_desc_equal(soma_md_get(&dense), md) != 0;
    soma_md_drop(&dense);
    *layout = (soma_layout){.kind = SOMA_PLAIN};
    if (plain)
        return SOMA_OK;
    layout->kind = SOMA_PACKED;
    layout->bytes = dnnl_memory_desc_get_size(md);
    layout->key = md_hash(md);
    layout->tiles = tiles_of(md, dtype);
    return md_keep(p, md, &layout->detail);
}

dnnl_status_t soma_onednn_attr(dnnl_primitive_attr_t *attr, bool sum, dnnl_alg_kind_t activation)
{
    dnnl_post_ops_t ops = NULL;
    SOMA_TRY(dnnl_primitive_attr_create(attr));
    dnnl_status_t status = dnnl_primitive_attr_set_scratchpad_mode(*attr, dnnl_scratchpad_mode_user);
    if (status == dnnl_success && (sum || activation != dnnl_alg_kind_undef)) {
        status = dnnl_post_ops_create(&ops);
        if (status == dnnl_success && sum)
            status = append_sum(ops);
        if (status == dnnl_success && activation != dnnl_alg_kind_undef)
            status = append_eltwise(ops, activation);
        if (status == dnnl_success)
            status = dnnl_primitive_attr_set_post_ops(*attr, ops);
        if (ops)
            dnnl_post_ops_destroy(ops);
    }
    if (status != dnnl_success) {
        dnnl_primitive_attr_destroy(*attr);
        *attr = NULL;
    }
    return status;
}

int soma_onednn_block(void)
{
    int isa = (int)dnnl_get_effective_cpu_isa(), core = (int)dnnl_cpu_isa_avx512_core;
    return (isa & core) == core ? 16 : 8;
}
