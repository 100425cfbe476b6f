/* The limits of this machine, as short samples: f32 FMA rate and memory streaming rate.
 *
 * A sample takes 10 to 30 ms, so that samples can be interleaved with the work they are compared with: the clock of a
 * server moves, and a peak measured an hour ago is no limit. Knows nothing of libsoma. Compile with -O2 or more.
 * Every function returns 0 where threads or memory cannot be had. Threads are started before the clock is. */
#ifndef SOMA_BENCH_PEAK_H
#define SOMA_BENCH_PEAK_H

#ifdef __cplusplus
extern "C" {
#endif

/* The vector instructions that the samples use here: "avx512f", "avx2+fma", "sse2", "neon" or "portable". */
const char *soma_bench_isa(void);

/* One sample of about 10 ms: GFLOPS of all `threads` together, one FMA counted as two. */
double soma_bench_peak_sample(int threads);

/* The best of the samples that fit in `seconds`, at least three. */
double soma_bench_peak_gflops(int threads, double seconds);

/* y += a*x over arrays well beyond the last cache, 12 bytes an element: GB/s, the best of the passes that fit in
 * `seconds`, at least three. Holds 128 MB or more while it runs: call it outside a measurement of memory. */
double soma_bench_bandwidth_gbs(int threads, double seconds);

/* Bytes that it takes while it runs. */
double soma_bench_bandwidth_bytes(void);

#ifdef __cplusplus
}
#endif
#endif
