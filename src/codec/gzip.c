/* SPDX-License-Identifier: Apache-2.0
 *
 * codec/gzip.c: inflating through zlib, whose memory comes from the context. What a file says of its size is not
 * asked: a small file may hold a thousand times as much, and only what the reader asks for comes out.
 */
#include "codec/gzip.h"

#include <inttypes.h>
#include <string.h>
#include <zlib.h>

#define CHUNK ((size_t)1 << 16) /* of the file in memory */

struct soma_gzip {
    soma *s;
    const char *name;
    soma_source_fn source;
    void *user;
    z_stream z;
    bool opened;         /* z has state */
    bool ended;          /* the last member is over */
    uint64_t gone;       /* bytes of the file before the chunk */
    size_t used, filled; /* of the chunk */
    uint8_t chunk[CHUNK];
};

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

static uint64_t place(const soma_gzip *g)
{
    return g->gone + g->used;
}

/* At least two bytes in the chunk, unless the file ends before; false: the source failed. */
static bool fill(soma_gzip *g)
{
    if (g->filled - g->used >= 2)
        return true;
    size_t left = g->filled - g->used;
    memmove(g->chunk, g->chunk + g->used, left);
    g->gone += g->used;
    g->used = 0;
    g->filled = left;
    while (g->filled < 2) {
        int64_t n = g->source(g->user, g->chunk + g->filled, CHUNK - g->filled);
        if (n < 0)
            return false;
        if (n == 0)
            return true;
        g->filled += (size_t)n;
    }
    return true;
}

static soma_status refuse(soma_gzip *g, const char *what)
{
    return soma_fail(g->s, SOMA_FORMAT, soma_nowhere(), "%s: byte %" PRIu64 ": %s", g->name, place(g), what);
}

soma_gzip *soma_gzip_open(soma *s, const char *name, soma_source_fn source, void *user)
{
    soma_gzip *g = soma_alloc(s, sizeof *g);
    if (!g)
        return NULL;
    g->s = s;
    g->name = name;
    g->source = source;
    g->user = user;
    g->z.zalloc = z_alloc;
    g->z.zfree = z_free;
    g->z.opaque = s;
    int code = inflateInit2(&g->z, 15 + 16); /* the largest window, gzip only */
    g->opened = code == Z_OK;
    if (g->opened)
        return g;
    if (code != Z_MEM_ERROR) /* soma_alloc said so */
        soma_fail(s, SOMA_UNSUPPORTED, soma_nowhere(), "%s: this machine's zlib is not the one that soma was built for",
                  name);
    soma_gzip_close(g);
    return NULL;
}

void soma_gzip_close(soma_gzip *g)
{
    if (!g)
        return;
    if (g->opened)
        inflateEnd(&g->z);
    soma_release(g->s, g);
}

/* Nothing but zeros may be left. */
static soma_status pass_zeros(soma_gzip *g)
{
    uint64_t from = place(g);
    while (g->used < g->filled) {
        if (g->chunk[g->used])
            return refuse(g, "bytes that are not gzip follow the end of the gzip data");
        g->used++;
        if (!fill(g))
            return soma_error_status(g->s);
    }
    soma_say(g->s, SOMA_LOG_WARNING,
             "%s: %" PRIu64 " zeros behind the end of the gzip data (byte %" PRIu64 ") are passed over", g->name,
             place(g) - from, from);
    return SOMA_OK;
}

/* A member is over: another one, the end of the file, or zeros up to it. */
static soma_status next_member(soma_gzip *g)
{
    if (!fill(g))
        return soma_error_status(g->s);
    g->ended = g->used == g->filled;
    if (g->ended)
        return SOMA_OK;
    if (soma_gzip_is(g->chunk + g->used, g->filled - g->used)) {
        inflateReset(&g->z); /* fails on a stream without state only */
        return SOMA_OK;
    }
    g->ended = true;
    return pass_zeros(g);
}

/* One call of zlib, whose counters have 32 bits; *done grows by what came out. */
static soma_status inflate_some(soma_gzip *g, uint8_t *bytes, size_t size, size_t *done)
{
    const size_t most = (size_t)1 << 30;
    size_t want = size - *done < most ? size - *done : most;
    if (!fill(g))
        return soma_error_status(g->s);
    g->z.next_in = g->chunk + g->used;
    g->z.avail_in = (uInt)(g->filled - g->used);
    g->z.next_out = bytes + *done;
    g->z.avail_out = (uInt)want;
    bool empty = !g->z.avail_in;
    int code = inflate(&g->z, Z_NO_FLUSH);
    g->used = g->filled - g->z.avail_in;
    *done += want - g->z.avail_out;
    if (code == Z_STREAM_END)
        return next_member(g);
    if (code == Z_MEM_ERROR)
        return SOMA_MEMORY; /* soma_alloc said so */
    if (code != Z_OK && code != Z_BUF_ERROR)
        return soma_fail(g->s, SOMA_FORMAT, soma_nowhere(),
                         "%s: byte %" PRIu64 ": the gzip data are damaged here or before (%s)", g->name, place(g),
                         g->z.msg ? g->z.msg : "no detail");
    return empty && g->z.avail_out ? refuse(g, "the file ends inside the gzip data; is it cut short?") : SOMA_OK;
}

int64_t soma_gzip_read(soma_gzip *g, void *bytes, size_t size)
{
    size_t done = 0;
    if (!place(g) && !g->ended) {
        if (!fill(g))
            return -1;
        if (!soma_gzip_is(g->chunk, g->filled)) {
            refuse(g, "a gzip file begins with 1f 8b, this one does not");
            return -1;
        }
    }
    while (done < size && !g->ended)
        if (inflate_some(g, bytes, size, &done) != SOMA_OK)
            return -1;
    return (int64_t)done;
}
