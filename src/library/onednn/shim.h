/* SPDX-License-Identifier: Apache-2.0
 *
 * library/onednn/shim.h: oneDNN 2.6 and 3.x behind one interface of v3's shape; the only folder that asks for the major
 * version. Knows no op: descriptors in, a prepared call out.
 */
#ifndef SOMA_LIBRARY_ONEDNN_SHIM_H
#define SOMA_LIBRARY_ONEDNN_SHIM_H

#include <oneapi/dnnl/dnnl.h>
#include <soma/op.h>

/* A descriptor as the library's calls take it: a read-only pointer in both majors. NULL: none. */
#if DNNL_VERSION_MAJOR >= 3
typedef const_dnnl_memory_desc_t soma_md_ref;
#else
typedef const dnnl_memory_desc_t *soma_md_ref;
#endif

/* A descriptor of one's own, dropped by soma_md_drop. Begin with {0}. */
typedef struct soma_md {
    bool present;
    dnnl_memory_desc_t md;
} soma_md;

dnnl_status_t soma_md_strided(soma_md *md, soma_dtype dtype, int rank, const int64_t *dim, const int64_t *stride);
dnnl_status_t soma_md_tag(soma_md *md, soma_dtype dtype, int rank, const int64_t *dim, dnnl_format_tag_t tag);
/* The same bytes with the first two dimensions in each other's place. */
dnnl_status_t soma_md_turned(soma_md *md, soma_md_ref of);
soma_md_ref soma_md_get(const soma_md *md);
void soma_md_drop(soma_md *md);
/* A rank-4 activation in its layout (plain, nhwc, nChw8c, nChw16c). */
dnnl_status_t soma_md_activation(soma_md *md, const soma_arg *a);
/* Row-major of the descriptor's own rank and dimensions: the plain side of a packed array, grouped weights included. */
dnnl_status_t soma_md_dense_like(soma_md *md, soma_dtype dtype, soma_md_ref like);

/* Makes `layout` say what `md`, of that type, says: plain where it is row-major, else SOMA_PACKED with a copy that the
 * program owns.
 */
soma_status soma_md_to_layout(soma_prepare *p, soma_md_ref md, soma_dtype dtype, soma_layout *layout);
/* The descriptor of a packed layout. */
soma_md_ref soma_md_of_layout(const soma_layout *layout);

/* Geometry of a convolution; dilate counts from 0. */
typedef struct soma_onednn_window {
    dnnl_dims_t stride, dilate, pad_begin, pad_end;
} soma_onednn_window;

/* Primitive descriptors: absent descriptors are NULL. */
dnnl_status_t soma_pd_convolution_forward(dnnl_primitive_desc_t *pd, dnnl_engine_t engine, dnnl_alg_kind_t algorithm,
                                          const soma_md_ref md[4], const soma_onednn_window *w,
                                          const_dnnl_primitive_attr_t attr); /* src, weights, bias, dst */
dnnl_status_t soma_pd_convolution_input(dnnl_primitive_desc_t *pd, dnnl_engine_t engine, dnnl_alg_kind_t algorithm,
                                        const soma_md_ref md[3], const soma_onednn_window *w,
                                        const_dnnl_primitive_attr_t attr); /* diff src, weights, diff dst */
dnnl_status_t soma_pd_convolution_weights(
    dnnl_primitive_desc_t *pd, dnnl_engine_t engine, dnnl_alg_kind_t algorithm, const soma_md_ref md[4],
    const soma_onednn_window *w, const_dnnl_primitive_attr_t attr); /* src, diff weights, diff bias, diff dst */
dnnl_status_t soma_pd_matmul(dnnl_primitive_desc_t *pd, dnnl_engine_t engine, const soma_md_ref md[4],
                             const_dnnl_primitive_attr_t attr); /* src, weights, bias, dst */
dnnl_status_t soma_pd_reorder(dnnl_primitive_desc_t *pd, dnnl_engine_t engine, soma_md_ref from, soma_md_ref to,
                              const_dnnl_primitive_attr_t attr);

/* Attributes with the scratchpad in the caller's hands; with `sum` the result is added to what lies in its place,
 * then comes the activation unless dnnl_alg_kind_undef. Not relu6 nor relu as the library has them: its clip and its
 * relu turn NaN into 0. A slope that is not 0 keeps NaN, but turns -inf into -inf, or into NaN where the slope is
 * flushed to 0, and under denormals-are-zero the library takes such a slope for 0 when it makes the code. elu with
 * slope 0, which is 0 (exp(x) - 1) below 0, gives what relu should for every number: its exp of NaN is inf or NaN.
 * (2.6.3 and 3.2, each instruction set: tests/test_nonfinite.c.) */
dnnl_status_t soma_onednn_attr(dnnl_primitive_attr_t *attr, bool sum, dnnl_alg_kind_t activation);

/* Which of the run's pointers (inputs, then outputs) an argument of the primitive is. */
typedef struct soma_onednn_bind {
    int argument; /* DNNL_ARG_SRC ... */
    int position;
} soma_onednn_bind;
#define SOMA_ONEDNN_BINDS 6

/* The CPU engine of one prepare; the program frees it. */
soma_status soma_onednn_engine(soma_prepare *p, dnnl_engine_t *engine);
/* SOMA_UNSUPPORTED where the library would run its reference code, for the product itself or for a sigmoid behind it,
 * where it makes
 * 0 of NaN. */
soma_status soma_onednn_refuse_reference(soma_prepare *p, const_dnnl_primitive_desc_t pd, dnnl_alg_kind_t activation);
/* Turns a primitive descriptor into p's run, state, scratch and note. pd stays the caller's. */
soma_status soma_onednn_commit(soma_prepare *p, dnnl_engine_t engine, const_dnnl_primitive_desc_t pd,
                               const soma_onednn_bind *bind, int n);
/* The committed call adds to argument `to`, which first takes what lies in `from`: nothing to do where the plan has put
 * both into one place. */
void soma_onednn_begin_with(soma_prepare *p, int from, int to, size_t bytes);
/* The sentence for a call of the library that failed. */
soma_status soma_onednn_refuse(soma_prepare *p, const char *what, dnnl_status_t status);

/* The channel block of the library's fastest f32 kernels here: 16 with AVX-512, else 8. */
int soma_onednn_block(void);

#endif
