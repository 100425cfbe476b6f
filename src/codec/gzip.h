/* SPDX-License-Identifier: Apache-2.0
 *
 * codec/gzip.h: the content of a gzip file (RFC 1952), piece by piece: who reads says how much is wanted, and no more
 * is ever inflated. Knows nothing of files and of what is inside.
 */
#ifndef SOMA_CODEC_GZIP_H
#define SOMA_CODEC_GZIP_H

#include "base/context.h"

/* Where bytes come from: at most `size` of them; how many there were, 0 at the end, -1: the context's error is set. */
typedef int64_t (*soma_source_fn)(void *user, void *bytes, size_t size);

bool soma_gzip_is(const void *bytes, size_t size);

typedef struct soma_gzip soma_gzip;
/* name: of the file, for errors. NULL: no memory. */
soma_gzip *soma_gzip_open(soma *s, const char *name, soma_source_fn source, void *user);
/* The next `size` bytes of all members' content, fewer only at its end; -1: the context's error is set. Checksums and
 * sizes are verified when the end is reached, so who knows the size reads a byte more. Zeros behind the last member
 * (tapes and blocks of fixed size) are passed over with a warning. */
int64_t soma_gzip_read(soma_gzip *g, void *bytes, size_t size);
void soma_gzip_close(soma_gzip *g); /* NULL is fine */

#endif
