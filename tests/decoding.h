/* SPDX-License-Identifier: Apache-2.0
 *
 * tests/decoding.h: what decoders of all kinds of pictures are held to.
 */
#ifndef SOMA_TESTS_DECODING_H
#define SOMA_TESTS_DECODING_H

#include "codec/image.h"
#include "faults.h"

/* Decodes with one allocation after the other failing: SOMA_MEMORY each time, and nothing stays behind. */
static inline void decode_without_memory(const void *bytes, size_t size)
{
    for (uint64_t k = 2;; k++) { /* 1: the context */
        faults_memory memory = {.fail_at = k};
        soma *s = soma_open(&(soma_context_options){.struct_size = sizeof(soma_context_options),
                                                    .allocator = faults_allocator(&memory)});
        soma_image image;
        soma_status status = soma_image_decode(s, "a", bytes, size, &image);
        assert_int_equal(status, memory.failed ? SOMA_MEMORY : SOMA_OK);
        soma_release(s, image.pixels);
        soma_close(s);
        assert_int_equal(memory.blocks, 0);
        if (!memory.failed)
            return;
    }
}

#endif
