/* SPDX-License-Identifier: Apache-2.0
 *
 * library/onednn/onednn.h: how an op lists its oneDNN kernel: compiled in whole where the library was found, or not at
 * all.
 *
 *     SOMA_ONEDNN_DECLARE(soma_matmul_onednn)
 *     ... kernels = { SOMA_ONEDNN_LIST(soma_matmul_onednn) &reference, NULL }
 */
#ifndef SOMA_LIBRARY_ONEDNN_ONEDNN_H
#define SOMA_LIBRARY_ONEDNN_ONEDNN_H

#ifdef SOMA_HAVE_ONEDNN
#define SOMA_ONEDNN_DECLARE(name) extern const soma_kernel name;
#define SOMA_ONEDNN_LIST(name) &name,
#else
#define SOMA_ONEDNN_DECLARE(name)
#define SOMA_ONEDNN_LIST(name)
#endif

#endif
