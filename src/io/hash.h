/* SPDX-License-Identifier: Apache-2.0
 *
 * io/hash.h: the checksum of files: XXH3, 64 bits (xxhash). A build without xxhash neither writes nor checks hashes.
 */
#ifndef SOMA_IO_HASH_H
#define SOMA_IO_HASH_H

#include "base/context.h"

typedef struct soma_hash_state soma_hash_state;
bool soma_hash_available(void);
uint64_t soma_hash_once(const void *bytes, size_t size);
soma_hash_state *soma_hash_begin(soma *s); /* NULL: no memory */
void soma_hash_add(soma_hash_state *h, const void *bytes, size_t size);
uint64_t soma_hash_end(soma *s, soma_hash_state *h);

#endif
