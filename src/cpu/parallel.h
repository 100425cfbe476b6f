/* SPDX-License-Identifier: Apache-2.0
 *
 * cpu/parallel.h: every parallel region of soma starts here.
 * The team is libgomp's (the one oneDNN uses), entered through GOMP_parallel with gcc and clang alike; thread-sanitizer
 * builds (SOMA_THREADS_PTHREAD) use pthreads; without either the tasks run on the caller's thread.
 */
#ifndef SOMA_CPU_PARALLEL_H
#define SOMA_CPU_PARALLEL_H

#include <soma/op.h>

/* Called once per thread: part `index` of `count`. */
typedef void (*soma_part_fn)(void *context, int index, int count);

/* Runs fn for index 0 .. threads-1, each on its own thread; one thread: a plain call. Returns when all are done. */
void soma_parallel(int threads, soma_part_fn fn, void *context);

/* Threads that a run of a kernel may start where it was prepared for `threads`. */
static inline int soma_run_threads(const soma_run *run, int threads)
{
    return threads < run->threads ? threads : run->threads;
}

/* A kernel's parallel region: at most as many threads as it was prepared for, and as the run has. */
static inline void soma_run_parallel(const soma_run *run, int threads, soma_part_fn fn, void *context)
{
    soma_parallel(soma_run_threads(run, threads), fn, context);
}

/* The share of 0 .. n-1 for part index of count, cut at multiples of `grain`. */
static inline void soma_share(int64_t n, int64_t grain, int index, int count, int64_t *begin, int64_t *end)
{
    int64_t units = (n + grain - 1) / grain;
    int64_t from = units * index / count * grain, to = units * (index + 1) / count * grain;
    *begin = from < n ? from : n;
    *end = to < n ? to : n;
}

/* May a region of `threads` threads start here? Otherwise a reason in words (a static text). NULL: yes. */
const char *soma_parallel_refusal(int threads);
/* Asks the runtime for teams of exactly `threads` (libraries' too); returns what to hand to the second call. */
int soma_parallel_enter(int threads);
void soma_parallel_leave(int before);

/* The floating-point control word: flush-to-zero and denormals-are-zero on (or IEEE), on every thread of the team.
 * Returns the caller's word before. Cheap (no region) when threads is 1. */
unsigned soma_float_enter(bool flush, int threads);
void soma_float_leave(unsigned before, int threads);

/* Bytes of cache that the threads of this process may hope for: what pieces of a batch are cut to. */
uint64_t soma_cache_bytes(void);

/* 0: baseline, 2: AVX2 and FMA, 3: AVX-512 (F, BW, CD, DQ, VL), 4: and its bf16 products. */
int soma_cpu_isa(void);
const char *soma_isa_name(int isa);
/* The CPU's own name, "AMD EPYC 9R14", or "unknown CPU". */
#define SOMA_CPU_NAME 64
void soma_cpu_name(char text[SOMA_CPU_NAME]);

#endif
