/* SPDX-License-Identifier: Apache-2.0
 *
 * op/dropout/dropout_cpu.c: dropout with Philox in vector registers. A 64-bit lane holds one 32-bit word of one draw
 * block; the 32 x 32 -> 64 bit multiplication reads low halves only, so whatever a round leaves in the high halves is
 * never looked at, and a round is two multiplications, two shifts and four exclusive-ors. Lane i of a register starts
 * at block order[i], chosen so that two unpack instructions at the end give the numbers of consecutive blocks in memory
 * order. Where channels lie side by side, the numbers of 16 channels are drawn in their logical order and transposed.
 */
#include "op/dropout/dropout.h"

#include "cpu/isa.h"
#include "cpu/parallel.h"
#include "cpu/vec.h"

#include <string.h>

#define VECTORS 4 /* registers in flight: hides the latency of the multiplications */

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#if SOMA_LANES == 16
typedef __m512i words;
#define ORDER                                                                                                          \
    {                                                                                                                  \
        0, 4, 1, 5, 2, 6, 3, 7                                                                                         \
    }
#define MULTIPLY(a, b) _mm512_mul_epu32(a, b)
#define HIGH(a) _mm512_srli_epi64(a, 32)
#define UPPER(a) _mm512_slli_epi64(a, 32)
#define EVEN(a, b) _mm512_unpacklo_epi64(a, b)
#define ODD(a, b) _mm512_unpackhi_epi64(a, b)
#define JOIN(low, up) _mm512_mask_blend_epi32(0xaaaa, low, up)
#define ALL(a) _mm512_set1_epi64((long long)(a))
#define LOAD(p) _mm512_loadu_si512(p)
#elif SOMA_LANES == 8
typedef __m256i words;
#define ORDER                                                                                                          \
    {                                                                                                                  \
        0, 2, 1, 3                                                                                                     \
    }
#define MULTIPLY(a, b) _mm256_mul_epu32(a, b)
#define HIGH(a) _mm256_srli_epi64(a, 32)
#define UPPER(a) _mm256_slli_epi64(a, 32)
#define EVEN(a, b) _mm256_unpacklo_epi64(a, b)
#define ODD(a, b) _mm256_unpackhi_epi64(a, b)
#define JOIN(low, up) _mm256_blend_epi32(low, up, 0xaa)
#define ALL(a) _mm256_set1_epi64x((long long)(a))
#define LOAD(p) _mm256_loadu_si256((const __m256i *)(p))
#elif defined(__x86_64__)
typedef __m128i words;
#define ORDER                                                                                                          \
    {                                                                                                                  \
        0, 1                                                                                                           \
    }
#define MULTIPLY(a, b) _mm_mul_epu32(a, b)
#define HIGH(a) _mm_srli_epi64(a, 32)
#define UPPER(a) _mm_slli_epi64(a, 32)
#define EVEN(a, b) _mm_unpacklo_epi64(a, b)
#define ODD(a, b) _mm_unpackhi_epi64(a, b)
#define JOIN(low, up) _mm_or_si128(_mm_and_si128(low, _mm_set1_epi64x(0xffffffff)), up)
#define ALL(a) _mm_set1_epi64x((long long)(a))
#define LOAD(p) _mm_loadu_si128((const __m128i *)(p))
#endif

typedef struct job {
    const soma_dropout_state *s;
    const soma_elem *x;
    soma_elem *y;
    const soma_run *run;
    float scale;
} job;

/* Elements begin .. end-1 of this piece one by one: the ends of a range, other machines, and a random seam of the
 * caller's. */
static void plain(const job *j, const float *x, float *y, int64_t begin, int64_t end)
{
    const soma_dropout_state *s = j->s;
    uint64_t first = soma_dropout_first(s, j->run), drawn = UINT64_MAX;
    uint32_t number[4] = {0};
    for (int64_t i = begin; i < end; i++) {
        uint64_t e = first + (uint64_t)i;
        if (e / 4 != drawn) {
            drawn = e / 4;
            soma_draw(&j->run->random, j->run->seed, SOMA_STREAM_DROPOUT, s->site, j->run->step, drawn, number);
        }
        y[i - begin] = number[e % 4] < s->threshold ? 0.0f : x[i - begin] * j->scale;
    }
}

#if defined(__x86_64__)
#define LANES ((int64_t)(sizeof(words) / 8)) /* draw blocks per register */

/* One register of decisions applied to 2 * LANES elements. */
static inline void keep(const float *x, float *y, words number, uint32_t threshold, float scale)
{
#if SOMA_LANES == 16
    __mmask16 kept = _mm512_cmpge_epu32_mask(number, _mm512_set1_epi32((int)threshold));
    _mm512_storeu_ps(y, _mm512_maskz_mul_ps(kept, _mm512_loadu_ps(x), _mm512_set1_ps(scale)));
#elif SOMA_LANES == 8
    __m256i kept = _mm256_cmpeq_epi32(_mm256_max_epu32(number, _mm256_set1_epi32((int)threshold)), number);
    __m256 scaled = _mm256_mul_ps(_mm256_loadu_ps(x), _mm256_set1_ps(scale));
    _mm256_storeu_ps(y, _mm256_and_ps(scaled, _mm256_castsi256_ps(kept)));
#else
    const __m128i sign = _mm_set1_epi32(INT32_MIN); /* SSE2 compares signed numbers only */
    __m128i dropped = _mm_cmpgt_epi32(_mm_xor_si128(_mm_set1_epi32((int)threshold), sign), _mm_xor_si128(number, sign));
    __m128 scaled = _mm_mul_ps(_mm_loadu_ps(x), _mm_set1_ps(scale));
    _mm_storeu_ps(y, _mm_andnot_ps(_mm_castsi128_ps(dropped), scaled));
#endif
}

/* VECTORS * LANES draw blocks from `index` on, for 4 times as many elements. */
static inline void blocks(const job *j, const float *x, float *y, uint64_t index, const uint32_t start[4],
                          const uint32_t key[2])
{
    static const uint64_t order[] = ORDER;
    const words m0 = ALL(0xD2511F53u), m1 = ALL(0xCD9E8D57u);
    words c0[VECTORS], c1[VECTORS], c2[VECTORS], c3[VECTORS], lane = LOAD(order);
    for (int v = 0; v < VECTORS; v++) {
        words block = lane + ALL(index + (uint64_t)(v * LANES)); /* soma_counter: the low half, the high half ^ step */
        c0[v] = block;
        c1[v] = HIGH(block) ^ ALL(start[1]);
        c2[v] = ALL(start[2]);
        c3[v] = ALL(start[3]);
    }
    uint32_t k0 = key[0], k1 = key[1];
    for (int round = 0; round < 10; round++) {
        words key0 = ALL(k0), key1 = ALL(k1);
        for (int v = 0; v < VECTORS; v++) {
            words p0 = MULTIPLY(m0, c0[v]), p1 = MULTIPLY(m1, c2[v]);
            c0[v] = HIGH(p1) ^ c1[v] ^ key0;
            c2[v] = HIGH(p0) ^ c3[v] ^ key1;
            c1[v] = p1;
            c3[v] = p0;
        }
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
    for (int v = 0; v < VECTORS; v++) {
        words low = JOIN(c0[v], UPPER(c1[v])), high = JOIN(c2[v], UPPER(c3[v]));
        int64_t at = v * LANES * 4;
        keep(x + at, y + at, EVEN(low, high), j->s->threshold, j->scale);
        keep(x + at + LANES * 2, y + at + LANES * 2, ODD(low, high), j->s->threshold, j->scale);
    }
}

/* x and y at decision `begin` */
static void range(const job *j, const float *x, float *y, int64_t begin, int64_t end)
{
    uint64_t first = soma_dropout_first(j->s, j->run), seed = j->run->seed;
    uint32_t start[4], key[2] = {(uint32_t)seed, (uint32_t)(seed >> 32)};
    int64_t head = begin + (int64_t)(-(first + (uint64_t)begin) & 3); /* up to the next whole draw block */
    int64_t i = head < end ? head : end;
    soma_counter(start, SOMA_STREAM_DROPOUT, j->s->site, j->run->step, 0);
    plain(j, x, y, begin, i);
    for (; i + VECTORS * LANES * 4 <= end; i += VECTORS * LANES * 4)
        blocks(j, x + i - begin, y + i - begin, (first + (uint64_t)i) / 4, start, key);
    if (i == end)
        return;
    float from[VECTORS * LANES * 4] = {0}, to[VECTORS * LANES * 4];
    memcpy(from, x + i - begin, (size_t)(end - i) * sizeof *x);
    blocks(j, from, to, (first + (uint64_t)i) / 4, start, key);
    memcpy(y + i - begin, to, (size_t)(end - i) * sizeof *y);
}
#else
static void range(const job *j, const float *x, float *y, int64_t begin, int64_t end)
{
    plain(j, x, y, begin, end);
}
#endif

static void decide(const job *j, const float *x, float *y, int64_t begin, int64_t end)
{
    if (!j->run->random.draw || j->run->random.draw == soma_philox)
        range(j, x, y, begin, end);
    else
        plain(j, x, y, begin, end);
}

static void part(void *context, int index, int count)
{
    const job *j = context;
    int64_t begin, end;
    soma_share(j->s->elements, 256, index, count, &begin, &end);
#if SOMA_ISA_LEVEL == 4
    float x[SOMA_ROW], y[SOMA_ROW];
    for (int64_t i = begin, n; i < end; i += n) {
        n = end - i < SOMA_ROW ? end - i : SOMA_ROW;
        soma_widen(j->x + i, x, n);
        decide(j, x, y, i, i + n);
        soma_narrow(y, j->y + i, n);
    }
#else
    decide(j, j->x + begin, j->y + begin, begin, end);
#endif
}

/* ---- channels side by side: units are 16 channels of a sample ---- */

#define GROUP 16
#define STRIP 256 /* positions whose decisions are drawn at once */

/* positions p .. p + count - 1; factor[c][i]: the scale or 0 for channel c at p + i */
static void strip(const job *j, int64_t at, int n, int64_t p, int64_t count, const float *factor)
{
    const soma_dropout_state *s = j->s;
    float turned[GROUP * GROUP];
    for (int64_t i = 0; i < count; i += GROUP) {
        int columns = count - i < GROUP ? (int)(count - i) : GROUP;
        soma_transpose_16(factor + i, count, n, turned, GROUP, columns);
        for (int k = 0; k < columns; k++) {
            const soma_elem *x = j->x + at + (p + i + k) * s->block;
            const float *f = turned + k * GROUP;
            soma_elem *y = j->y + at + (p + i + k) * s->block;
            for (int c = 0; c < n; c += SOMA_LANES) {
                int lanes = n - c < SOMA_LANES ? n - c : SOMA_LANES;
                soma_vf v = soma_vget_n(x + c, lanes), scale = soma_vload(f + c);
                soma_vput_n(y + c, soma_vkeep(soma_vgreater(scale, soma_vset(0)), v * scale), lanes);
            }
        }
    }
}

static void part_blocked(void *context, int index, int count)
{
    const job *j = context;
    const soma_dropout_state *s = j->s;
    int64_t group = s->block < GROUP ? s->block : GROUP, per = (s->c + group - 1) / group, begin, end;
    float ones[STRIP * GROUP], factor[STRIP * GROUP];
    for (int64_t i = 0; i < STRIP * GROUP; i++)
        ones[i] = 1;
    soma_share(s->n * per, 1, index, count, &begin, &end);
    for (int64_t u = begin; u < end; u++) {
        int64_t n = u / per, c = u % per * group, first = (n * s->c + c) * s->map;
        int64_t channels = s->c - c < group ? s->c - c : group;
        int64_t at = n * s->c * s->map + c / s->block * s->block * s->map + c % s->block;
        for (int64_t p = 0; p < s->map; p += STRIP) {
            int64_t positions = s->map - p < STRIP ? s->map - p : STRIP;
            if (positions == s->map) /* whole maps follow each other */
                decide(j, ones, factor, first, first + channels * s->map);
            for (int64_t k = 0; k < channels && positions < s->map; k++)
                decide(j, ones, factor + k * positions, first + k * s->map + p, first + k * s->map + p + positions);
            strip(j, at, (int)channels, p, positions, factor);
        }
    }
}

/* ---- maps: one decision for each ---- */

#define MAPS 256 /* decided at once */

static void part_maps(void *context, int index, int count)
{
    const job *j = context;
    const soma_dropout_state *s = j->s;
    int64_t group = s->block < MAPS ? s->block : MAPS, per = (s->c + group - 1) / group, begin, end;
    float ones[MAPS], factor[MAPS];
    for (int64_t i = 0; i < MAPS; i++)
        ones[i] = 1;
    soma_share(s->n * per, 1, index, count, &begin, &end);
    for (int64_t u = begin; u < end; u++) {
        int64_t n = u / per, c = u % per * group, channels = s->c - c < group ? s->c - c : group;
        int64_t at = n * s->c * s->map + c / s->block * s->block * s->map + c % s->block;
        decide(j, ones, factor, n * s->c + c, n * s->c + c + channels);
        if (s->block == 1 && factor[0] == 0)
            memset(j->y + at, 0, (size_t)s->map * sizeof *j->y);
        for (int64_t i = 0; i < s->map && s->block == 1 && factor[0] != 0; i++)
            j->y[at + i] = soma_put1(soma_get1(j->x[at + i]) * factor[0]);
        for (int64_t p = 0; p < s->map && s->block > 1; p++) {
            const soma_elem *x = j->x + at + p * s->block;
            soma_elem *y = j->y + at + p * s->block;
            for (int64_t i = 0; i < channels; i++)
                y[i] = soma_put1(factor[i] > 0 ? soma_get1(x[i]) * factor[i] : 0);
        }
    }
}

static soma_status run_cpu(const void *state, void *const *arg, soma_run *run)
{
    const soma_dropout_state *s = state;
    job j = {s, arg[0], arg[1], run, (float)s->scale};
    soma_part_fn fn = s->plane > 1 ? part_maps : s->block > 1 ? part_blocked : part;
    soma_run_parallel(run, s->threads, fn, &j);
    return SOMA_OK;
}

static soma_status accept(soma_prepare *p)
{
    if (p->in[0].dtype != SOMA_STORED)
        return soma_refuse(p->reason, "works on %s only", soma_dtype_name(SOMA_STORED));
    return SOMA_OK;
}

static soma_status prepare(soma_prepare *p)
{
    return soma_dropout_prepare(p, run_cpu);
}

const soma_kernel SOMA_ISA(soma_dropout_cpu) = {.name = "cpu",
                                                SOMA_ISA_FIELDS,
                                                .bf16 = SOMA_STORED_RULE,
                                                .layouts = SOMA_LAYOUT_FOLLOW,
                                                .accept = accept,
                                                .prepare = prepare};
