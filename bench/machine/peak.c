/* See peak.h. Two loops, each in the widest vectors this CPU has, run by plain threads behind a spinning barrier. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* _SC_LEVEL3_CACHE_SIZE */
#endif
#include "peak.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#if (defined(__x86_64__) || defined(__i386__)) && defined(__GNUC__)
#define PEAK_X86 1
#include <immintrin.h>
#elif defined(__aarch64__) && defined(__ARM_NEON)
#define PEAK_NEON 1
#include <arm_neon.h>
#endif

enum { MAX_THREADS = 1024, CHUNK = 4096 }; /* a chunk of FMAs takes about 10 us, a look at the clock 30 ns */

#define R12(X) X(0) X(1) X(2) X(3) X(4) X(5) X(6) X(7) X(8) X(9) X(10) X(11)
#define R16(X) R12(X) X(12) X(13) X(14) X(15)

/* `count` steps of independent chains v = v*m + a, one a register. A CPU with two FMA pipes of latency 4 needs 8
 * chains, one with four (NEON) needs 16; 12 is what 16 registers hold beside the constants, and clang spills more than
 * that even where there are 32. m = a = 0.5 draws every chain to 1, so nothing overflows or turns denormal. The chains
 * start at different values, or the compiler would merge them. */
#define START(i) V v##i = SET(seed + (float)(i));
#define STEP(i) v##i = FMA(v##i, m, a);
#define FOLD(i) v0 = ADD(v0, v##i);
#define CHAINS(name, attribute, R)                                                                                     \
    attribute static float name(float seed, long count)                                                                \
    {                                                                                                                  \
        const V m = SET(seed), a = SET(seed);                                                                          \
        R(START)                                                                                                       \
        for (long i = 0; i < count; i++) {                                                                             \
            R(STEP)                                                                                                    \
        }                                                                                                              \
        R(FOLD)                                                                                                        \
        return FIRST(v0);                                                                                              \
    }

/* y[0..n) += a*x[0..n), n a multiple of 16. */
#define STREAM(name, attribute, lanes)                                                                                 \
    attribute static void name(float *y, const float *x, float scale, size_t n)                                        \
    {                                                                                                                  \
        const V a = SET(scale);                                                                                        \
        for (size_t i = 0; i < n; i += (lanes))                                                                        \
            STORE(y + i, FMA(a, LOAD(x + i), LOAD(y + i)));                                                            \
    }

#ifdef PEAK_X86

#define V __m512
#define SET _mm512_set1_ps
#define FMA _mm512_fmadd_ps
#define ADD _mm512_add_ps
#define FIRST _mm512_cvtss_f32
#define LOAD _mm512_loadu_ps
#define STORE _mm512_storeu_ps
CHAINS(chains_avx512, __attribute__((target("avx512f"))), R12)
STREAM(stream_avx512, __attribute__((target("avx512f"))), 16)
#undef V
#undef SET
#undef FMA
#undef ADD
#undef FIRST
#undef LOAD
#undef STORE

#define V __m256
#define SET _mm256_set1_ps
#define FMA _mm256_fmadd_ps
#define ADD _mm256_add_ps
#define FIRST _mm256_cvtss_f32
#define LOAD _mm256_loadu_ps
#define STORE _mm256_storeu_ps
CHAINS(chains_avx2, __attribute__((target("avx2,fma"))), R12)
STREAM(stream_avx2, __attribute__((target("avx2,fma"))), 8)
#undef V
#undef SET
#undef FMA
#undef ADD
#undef FIRST
#undef LOAD
#undef STORE

#define V __m128
#define SET _mm_set1_ps
#define FMA(x, y, z) _mm_add_ps(_mm_mul_ps(x, y), z)
#define ADD _mm_add_ps
#define FIRST _mm_cvtss_f32
#define LOAD _mm_loadu_ps
#define STORE _mm_storeu_ps
CHAINS(chains_plain, __attribute__((target("sse2"))), R12)
STREAM(stream_plain, __attribute__((target("sse2"))), 4)
#define PLAIN_LANES 4
#define PLAIN_NAME "sse2"

#elif defined(PEAK_NEON)

#define V float32x4_t
#define SET vdupq_n_f32
#define FMA(x, y, z) vfmaq_f32(z, x, y)
#define ADD vaddq_f32
#define FIRST(x) vgetq_lane_f32(x, 0)
#define LOAD vld1q_f32
#define STORE vst1q_f32
CHAINS(chains_plain, , R16)
STREAM(stream_plain, , 4)
#define PLAIN_LANES 4
#define PLAIN_NAME "neon"

#else

#define V float
#define SET(x) (x)
#define FMA(x, y, z) ((x) * (y) + (z))
#define ADD(x, y) ((x) + (y))
#define FIRST(x) (x)
#define LOAD(p) (*(p))
#define STORE(p, x) (*(p) = (x))
CHAINS(chains_plain, , R12)
STREAM(stream_plain, , 1)
#define PLAIN_LANES 1
#define PLAIN_NAME "portable"

#endif

#ifdef PEAK_NEON
#define PLAIN_CHAINS 16
#else
#define PLAIN_CHAINS 12
#endif

typedef struct isa {
    const char *name;
    float (*chains)(float seed, long count);
    void (*stream)(float *y, const float *x, float scale, size_t n);
    int flops; /* of one step of all chains */
} isa;

static const isa *pick(void)
{
    static const isa plain = {PLAIN_NAME, chains_plain, stream_plain, 2 * PLAIN_CHAINS * PLAIN_LANES};
#ifdef PEAK_X86
    static const isa avx512 = {"avx512f", chains_avx512, stream_avx512, 2 * 12 * 16};
    static const isa avx2 = {"avx2+fma", chains_avx2, stream_avx2, 2 * 12 * 8};
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx512f"))
        return &avx512;
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
        return &avx2;
#endif
    return &plain;
}

const char *soma_bench_isa(void)
{
    return pick()->name;
}

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* A team whose members wait for each other by spinning: a sleeping barrier would wake its last member 50 us late. */
typedef struct team {
    const isa *isa;
    int size;
    atomic_int ready, given_up;
    double seconds; /* of a peak sample */
    float *x, *y;   /* f32[length], streaming only */
    size_t length;
    int touch; /* write the arrays for the first time, each thread its own part */
} team;

typedef struct member {
    team *team;
    int index;
    pthread_t thread;
    double begin, end, work; /* work: FLOPs or bytes */
    float sink;              /* keeps the chains from being optimised away */
    char pad[64];            /* members are written at the same time: not on one cache line */
} member;

static int wait_for_all(team *t)
{
    atomic_fetch_add(&t->ready, 1);
    for (long spin = 0; atomic_load_explicit(&t->ready, memory_order_acquire) < t->size; spin++) {
        if (atomic_load_explicit(&t->given_up, memory_order_relaxed))
            return 0;
        if (spin > 2000)
            sched_yield(); /* more threads than CPUs, or a busy machine */
    }
    return 1;
}

static void *peak_member(void *argument)
{
    member *m = argument;
    const isa *set = m->team->isa;
    volatile float half = 0.5F;         /* opaque: the compiler must not work the chains out */
    m->sink = set->chains(half, CHUNK); /* wakes the wide units and the clock before the time counts */
    if (!wait_for_all(m->team))
        return NULL;
    double work = 0, end, begin = now();
    do {
        m->sink += set->chains(half, CHUNK);
        work += (double)set->flops * CHUNK;
        end = now();
    } while (end < begin + m->team->seconds);
    m->begin = begin;
    m->end = end;
    m->work = work;
    return NULL;
}

static void *stream_member(void *argument)
{
    member *m = argument;
    team *t = m->team;
    size_t blocks = t->length / 16, per = blocks / (size_t)t->size;
    size_t first = per * (size_t)m->index, last = m->index == t->size - 1 ? blocks : first + per;
    float *y = t->y + 16 * first, *x = t->x + 16 * first;
    size_t n = 16 * (last - first);
    if (t->touch)
        for (size_t i = 0; i < n; i++)
            x[i] = y[i] = 1;
    if (!wait_for_all(t))
        return NULL;
    m->begin = now();
    t->isa->stream(y, x, 1e-3F, n);
    m->end = now();
    m->work = 3.0 * sizeof(float) * (double)n;
    return NULL;
}

/* Runs one sample: all the work by the time from the first start to the last end, in units of 1e9 a second. */
static double sample(team *t, void *(*run)(void *))
{
    member *all = calloc((size_t)t->size, sizeof *all);
    if (!all)
        return 0;
    int started = 1; /* the caller is member 0 */
    atomic_store(&t->ready, 0);
    for (int i = 0; i < t->size; i++)
        all[i] = (member){.team = t, .index = i};
    while (started < t->size && pthread_create(&all[started].thread, NULL, run, &all[started]) == 0)
        started++;
    if (started == t->size)
        run(&all[0]);
    else
        atomic_store(&t->given_up, 1);
    for (int i = 1; i < started; i++)
        pthread_join(all[i].thread, NULL);

    double begin = all[0].begin, end = all[0].end, work = all[0].work;
    for (int i = 1; i < t->size; i++) {
        if (all[i].begin < begin)
            begin = all[i].begin;
        if (all[i].end > end)
            end = all[i].end;
        work += all[i].work;
    }
    free(all);
    return started == t->size && end > begin ? 1e-9 * work / (end - begin) : 0;
}

static int clamp_threads(int threads)
{
    return threads < 1 ? 1 : threads > MAX_THREADS ? MAX_THREADS : threads;
}

double soma_bench_peak_sample(int threads)
{
    team t = {.isa = pick(), .size = clamp_threads(threads), .seconds = 0.01};
    return sample(&t, peak_member);
}

double soma_bench_peak_gflops(int threads, double seconds)
{
    double best = 0, end = now() + seconds;
    for (int i = 0; i < 3 || now() < end; i++) {
        double rate = soma_bench_peak_sample(threads);
        if (rate <= 0)
            return 0;
        if (rate > best)
            best = rate;
    }
    return best;
}

/* Bytes of one of the two arrays: twice the last cache, but at least 64 MB and at most 512 MB. */
static size_t array_bytes(void)
{
    size_t low = (size_t)64 << 20, high = (size_t)512 << 20, bytes = low;
#ifdef _SC_LEVEL3_CACHE_SIZE
    long cache = sysconf(_SC_LEVEL3_CACHE_SIZE);
    if (cache > 0)
        bytes = 2 * (size_t)cache;
#endif
    return bytes < low ? low : bytes > high ? high : bytes;
}

double soma_bench_bandwidth_bytes(void)
{
    return 2.0 * (double)array_bytes();
}

double soma_bench_bandwidth_gbs(int threads, double seconds)
{
    size_t bytes = array_bytes();
    team t = {.isa = pick(), .size = clamp_threads(threads), .length = bytes / sizeof(float) / 16 * 16, .touch = 1};
    t.x = malloc(bytes);
    t.y = malloc(bytes);
    double best = 0, end = 0;
    if (t.x && t.y)
        for (int i = 0; i < 4 || now() < end; i++) {
            double rate = sample(&t, stream_member);
            if (rate <= 0) {
                best = 0;
                break;
            }
            if (!t.touch && rate > best)
                best = rate; /* the first pass follows page faults: not counted */
            if (t.touch)
                end = now() + seconds;
            t.touch = 0;
        }
    free(t.x);
    free(t.y);
    return best;
}
