/* SPDX-License-Identifier: Apache-2.0
 *
 * cpu/parallel.c: the one place where parallel regions start, and the floating-point control word of a step.
 *
 * The team is libgomp's, entered by hand: the declarations below are libgomp's binary interface, so that gcc and clang
 * builds use the same team as oneDNN and no file needs -fopenmp. SOMA_THREADS_PTHREAD: a team of pthreads per call (the
 * thread sanitizer does not see libgomp's synchronisation). SOMA_THREADS_NONE, and WebAssembly: the caller's thread.
 */
#include "cpu/parallel.h"

#include <limits.h>
#include <stddef.h>

#if defined(__wasm__) && !defined(SOMA_THREADS_NONE)
#define SOMA_THREADS_NONE 1
#endif

typedef struct region {
    soma_part_fn fn;
    void *context;
    int threads;
} region;

#if defined(SOMA_THREADS_PTHREAD)

/* ---- a team of pthreads for one call ---- */

#include <pthread.h>

#define SOMA_TEAM_MAX 1024 /* as many as a context accepts */

typedef struct member {
    const region *region;
    int index;
    pthread_t thread;
} member;

static _Thread_local int team_depth;

static void *member_main(void *p)
{
    const member *m = p;
    team_depth = 1;
    m->region->fn(m->region->context, m->index, m->region->threads);
    return NULL;
}

static void run_region(const region *r)
{
    member members[SOMA_TEAM_MAX];
    int started = 1;
    for (; started < r->threads && started < SOMA_TEAM_MAX; started++) {
        members[started] = (member){.region = r, .index = started};
        if (pthread_create(&members[started].thread, NULL, member_main, &members[started]))
            break;
    }
    team_depth++;
    r->fn(r->context, 0, r->threads);
    for (int i = started; i < r->threads; i++) /* threads that could not be had: their parts are done here */
        r->fn(r->context, i, r->threads);
    team_depth--;
    for (int i = 1; i < started; i++)
        pthread_join(members[i].thread, NULL);
}

const char *soma_parallel_refusal(int threads)
{
    if (threads > 1 && team_depth)
        return "it was called inside a parallel region, where no team of threads can be had; call it outside, or use "
               "one thread";
    return NULL;
}

int soma_parallel_enter(int threads)
{
    (void)threads;
    return 0;
}

void soma_parallel_leave(int before)
{
    (void)before;
}

/* New threads inherit the caller's control word. */
#define SOMA_WORKERS_INHERIT 1

#elif defined(SOMA_THREADS_NONE)

/* ---- no threads ---- */

static void run_region(const region *r)
{
    for (int i = 0; i < r->threads; i++)
        r->fn(r->context, i, r->threads);
}

const char *soma_parallel_refusal(int threads)
{
    (void)threads;
    return NULL;
}

int soma_parallel_enter(int threads)
{
    (void)threads;
    return 0;
}

void soma_parallel_leave(int before)
{
    (void)before;
}

#define SOMA_WORKERS_INHERIT 1

#else

/* ---- libgomp's team ---- */

void GOMP_parallel(void (*fn)(void *), void *data, unsigned num_threads, unsigned flags);
int omp_get_thread_num(void);
int omp_get_num_threads(void);
int omp_in_parallel(void);
int omp_get_thread_limit(void);
int omp_get_dynamic(void);
void omp_set_dynamic(int dynamic);
int omp_get_max_active_levels(void);
int omp_get_max_threads(void);
void omp_set_num_threads(int threads);

/* The team may be smaller than asked for; then its threads take several parts each. */
static void member_main(void *p)
{
    const region *r = p;
    int team = omp_get_num_threads();
    for (int i = omp_get_thread_num(); i < r->threads; i += team)
        r->fn(r->context, i, r->threads);
}

static void run_region(region *r)
{
    GOMP_parallel(member_main, r, (unsigned)r->threads, 0);
}

const char *soma_parallel_refusal(int threads)
{
    if (threads <= 1)
        return NULL;
    if (omp_in_parallel())
        return "it was called inside a parallel region, where no team of threads can be had; call it outside, or use "
               "one thread";
    if (omp_get_thread_limit() < threads)
        return "OpenMP's thread limit is below the number of threads it was compiled for; raise OMP_THREAD_LIMIT, or "
               "use fewer threads";
    if (omp_get_max_active_levels() < 1)
        return "OMP_MAX_ACTIVE_LEVELS=0 forbids parallel regions; remove it, or use one thread";
    return NULL;
}

/* libgomp keeps both settings per thread of the host, so nobody else's are touched. "Dynamic" lets the runtime hand
 * out smaller teams; the number of threads is what oneDNN asks for when it cuts its work. What was there goes into
 * one number. */
int soma_parallel_enter(int threads)
{
    int dynamic = omp_get_dynamic(), most = omp_get_max_threads();
    if (dynamic)
        omp_set_dynamic(0);
    if (most != threads)
        omp_set_num_threads(threads);
    return (most < INT_MAX / 2 ? most : INT_MAX / 2) * 2 + (dynamic != 0);
}

void soma_parallel_leave(int before)
{
    if (before & 1)
        omp_set_dynamic(1);
    if (omp_get_max_threads() != before / 2)
        omp_set_num_threads(before / 2);
}

#endif

void soma_parallel(int threads, soma_part_fn fn, void *context)
{
    if (threads <= 1) {
        fn(context, 0, 1);
        return;
    }
    region r = {.fn = fn, .context = context, .threads = threads};
    run_region(&r);
}

/* ---- the floating-point control word ---- */

/* Words for a step: round to nearest, no traps; with or without flush-to-zero and denormals-are-zero. The host may have
 * changed any of these, and bits must not depend on it. */
#if defined(__x86_64__)
#include <xmmintrin.h>
#define SOMA_WORD_IEEE 0x1f80u
#define SOMA_WORD_FLUSH (0x1f80u | 0x8000u | 0x0040u)

static unsigned get_word(void)
{
    return _mm_getcsr();
}

static void set_word(unsigned word)
{
    _mm_setcsr(word);
}

#elif defined(__aarch64__)
#define SOMA_WORD_IEEE 0u
#define SOMA_WORD_FLUSH (1u << 24) /* FPCR.FZ */

static unsigned get_word(void)
{
    uint64_t word;
    __asm__ volatile("mrs %0, fpcr" : "=r"(word));
    return (unsigned)word;
}

static void set_word(unsigned word)
{
    __asm__ volatile("msr fpcr, %0" : : "r"((uint64_t)word));
}

#else
#define SOMA_WORD_IEEE 0u
#define SOMA_WORD_FLUSH 0u

static unsigned get_word(void)
{
    return 0;
}

static void set_word(unsigned word)
{
    (void)word;
}
#endif

#ifdef SOMA_WORKERS_INHERIT
static void set_words(unsigned word, int threads)
{
    (void)threads;
    set_word(word);
}
#else
static void set_word_part(void *context, int index, int count)
{
    (void)index;
    (void)count;
    set_word(*(const unsigned *)context);
}

/* oneDNN's regions run on the same team, so the workers' words must hold between soma's own regions too. */
static void set_words(unsigned word, int threads)
{
    soma_parallel(threads, set_word_part, &word);
    set_word(word); /* the caller's own, even where it got no part */
}
#endif

unsigned soma_float_enter(bool flush, int threads)
{
    unsigned before = get_word();
    set_words(flush ? SOMA_WORD_FLUSH : SOMA_WORD_IEEE, threads);
    return before;
}

void soma_float_leave(unsigned before, int threads)
{
    set_words(before, threads);
}
