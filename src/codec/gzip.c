/* SPDX-License-Identifier: Apache-2.0
 *
 * codec/gzip.c: inflating through zlib, whose memory comes from the context. What a file declares about its size is a
 * hint: memory grows with what really comes out, so a lying trailer costs nothing.
 */
#include "codec/gzip.h"

#include "base/limits.h"
#include "base/size.h"

#include <string.h>
#include <zlib.h>

typedef struct inflater {
    soma *s;
    const char *name;
    const uint8_t *in;
    size_t in_size, in_used;
    uint8_t *out;
    size_t capacity, used;
    z_stream z;
} inflater;

bool soma_gzip_is(const void *bytes, size_t size)
{
    const uint8_t *p = bytes;
    return size >= 2 && p[0] == 0x1f && p[1] == 0x8b;
}

static voidpf z_alloc(voidpf s, uInt items, uInt size)
{
    return soma_alloc_array(s, items, size);
}

static void z_free(voidpf s, voidpf block)
{
    soma_release(s, block);
}

/* The first buffer: what the last four bytes declare, but no more than 16 times the file; deflate seldom does better.
 * */
static soma_status first_buffer(inflater *f)
{
    const uint8_t *p = f->in + f->in_size - 4;
    uint64_t declared = (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
    if (declared / SOMA_LIMIT_INFLATE_RATIO > f->in_size ||
        (declared / SOMA_LIMIT_INFLATE_RATIO == f->in_size && declared % SOMA_LIMIT_INFLATE_RATIO))
        return soma_fail(
            f->s, SOMA_FORMAT, soma_nowhere(),
            "%s: byte %zu: the gzip trailer declares %llu bytes, more than %d times the %zu bytes of the file; is the "
            "file damaged or cut short?",
            f->name, f->in_size - 4, (unsigned long long)declared, SOMA_LIMIT_INFLATE_RATIO, f->in_size);
    uint64_t cautious = (uint64_t)f->in_size * 16 + 4096;
    f->capacity = (size_t)(declared < cautious ? declared : cautious);
    f->capacity += f->capacity == 0;
    f->out = soma_alloc(f->s, f->capacity);
    return f->out ? SOMA_OK : SOMA_MEMORY;
}

static soma_status grow(inflater *f)
{
    size_t wider;
    if (!soma_size_mul(f->capacity, 2, &wider))
        return soma_fail(f->s, SOMA_MEMORY, soma_nowhere(), "%s: the content is too large for this machine", f->name);
    uint8_t *out = soma_alloc(f->s, wider);
    if (!out)
        return SOMA_MEMORY;
    memcpy(out, f->out, f->used);
    soma_release(f->s, f->out);
    f->out = out;
    f->capacity = wider;
    return SOMA_OK;
}

/* One call of zlib, whose counters have 32 bits. */
static int inflate_some(inflater *f)
{
    const size_t most = (size_t)1 << 30;
    size_t in = f->in_size - f->in_used, out = f->capacity - f->used;
    f->z.next_in = (z_const Bytef *)(uintptr_t)(f->in + f->in_used);
    f->z.avail_in = (uInt)(in < most ? in : most);
    f->z.next_out = f->out + f->used;
    f->z.avail_out = (uInt)(out < most ? out : most);
    int code = inflate(&f->z, Z_NO_FLUSH);
    f->in_used = (size_t)(f->z.next_in - f->in);
    f->used = (size_t)(f->z.next_out - f->out);
    return code;
}

/* Inflates one member. */
static soma_status inflate_member(inflater *f)
{
    for (;;) {
        int code = inflate_some(f);
        if (code == Z_STREAM_END)
            return SOMA_OK;
        if (code == Z_MEM_ERROR)
            return SOMA_MEMORY; /* soma_alloc said so */
        if (code != Z_OK && code != Z_BUF_ERROR)
            return soma_fail(f->s, SOMA_FORMAT, soma_nowhere(),
                             "%s: byte %zu: the gzip data are damaged here or before (%s)", f->name, f->in_used,
                             f->z.msg ? f->z.msg : "no detail");
        if (f->used == f->capacity) {
            soma_status status = grow(f);
            if (status)
                return status;
        } else if (f->in_used == f->in_size) {
            return soma_fail(f->s, SOMA_FORMAT, soma_nowhere(),
                             "%s: byte %zu: the file ends inside the gzip data; is it cut short?", f->name, f->in_size);
        }
    }
}

static soma_status inflate_members(inflater *f)
{
    for (;;) {
        soma_status status = inflate_member(f);
        if (status || f->in_used == f->in_size)
            return status;
        if (!soma_gzip_is(f->in + f->in_used, f->in_size - f->in_used))
            return soma_fail(f->s, SOMA_FORMAT, soma_nowhere(),
                             "%s: byte %zu: %zu bytes that are not gzip follow the end of the gzip data", f->name,
                             f->in_used, f->in_size - f->in_used);
        inflateReset(&f->z); /* fails on a stream without state only */
    }
}

soma_status soma_gzip_inflate(soma *s, const char *name, const void *bytes, size_t size, void **out, size_t *out_size)
{
    inflater f = {.s = s, .name = name, .in = bytes, .in_size = size};
    *out = NULL;
    *out_size = 0;
    if (!soma_gzip_is(bytes, size))
        return soma_fail(s, SOMA_FORMAT, soma_nowhere(), "%s: byte 0: a gzip file begins with 1f 8b, this one does not",
                         name);
    if (size < 18) /* header 10, trailer 8 */
        return soma_fail(s, SOMA_FORMAT, soma_nowhere(),
                         "%s: byte %zu: the file ends inside the gzip header or trailer; is it cut short?", name, size);
    soma_status status = first_buffer(&f);
    if (status)
        return status;
    f.z.zalloc = z_alloc;
    f.z.zfree = z_free;
    f.z.opaque = s;
    int code = inflateInit2(&f.z, 15 + 16); /* the largest window, gzip only */
    if (code == Z_OK) {
        status = inflate_members(&f);
        inflateEnd(&f.z);
    } else {
        status = code == Z_MEM_ERROR
                     ? SOMA_MEMORY
                     : soma_fail(s, SOMA_UNSUPPORTED, soma_nowhere(),
                                 "%s: this machine's zlib is not the one that soma was built for", name);
    }
    if (status) {
        soma_release(s, f.out);
        return status;
    }
    *out = f.out;
    *out_size = f.used;
    return SOMA_OK;
}
