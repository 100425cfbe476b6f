/* SPDX-License-Identifier: Apache-2.0
 *
 * codec/gzip.h: a whole gzip file (RFC 1952), memory to memory. Knows nothing of what is inside.
 */
#ifndef SOMA_CODEC_GZIP_H
#define SOMA_CODEC_GZIP_H

#include "base/context.h"

bool soma_gzip_is(const void *bytes, size_t size);
/* Inflates all members into memory of the context (soma_release it). Checksums and sizes are verified. name: of the
 * file, for the error. */
soma_status soma_gzip_inflate(soma *s, const char *name, const void *bytes, size_t size, void **out, size_t *out_size);

#endif
