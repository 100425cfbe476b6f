/* SPDX-License-Identifier: Apache-2.0
 *
 * tests/test_parallel.c: every part runs exactly once, whatever team there is; refusals; the floating-point control
 * word. The cases that OpenMP decides when a process starts run in a child: this program, called again with the case's
 * name.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "cpu/parallel.h"

#if !defined(SOMA_THREADS_NONE) && !defined(SOMA_THREADS_PTHREAD)
#define HAVE_GOMP 1
int omp_get_dynamic(void);
int omp_get_max_threads(void);
#endif

enum { MOST = 64 };

typedef struct tally {
    int runs[MOST];
    int wrong_count; /* calls that were told another number of parts */
    int threads;
} tally;

static void count_part(void *context, int index, int count)
{
    tally *t = context;
    __atomic_fetch_add(&t->runs[index], 1, __ATOMIC_RELAXED);
    if (count != t->threads)
        __atomic_fetch_add(&t->wrong_count, 1, __ATOMIC_RELAXED);
}

/* Does each of `threads` parts run exactly once? */
static bool each_once(int threads)
{
    tally t = {.threads = threads};
    soma_parallel(threads, count_part, &t);
    for (int i = 0; i < MOST; i++)
        if (t.runs[i] != (i < threads))
            return false;
    return !t.wrong_count;
}

static void each_part_runs_once(void **state)
{
    (void)state;
    for (int repeat = 0; repeat < 20; repeat++)
        for (int threads = 1; threads <= 9; threads++)
            assert_true(each_once(threads));
    assert_true(each_once(MOST));
}

static void shares_cover_everything_once(void **state)
{
    (void)state;
    static const int64_t sizes[] = {0, 1, 7, 16, 100, 1001}, grains[] = {1, 4, 16, 64};
    for (int n = 0; n < 6; n++)
        for (int g = 0; g < 4; g++)
            for (int count = 1; count <= 9; count++) {
                int64_t expected = 0, begin, end;
                for (int i = 0; i < count; i++) {
                    soma_share(sizes[n], grains[g], i, count, &begin, &end);
                    assert_int_equal(begin, expected);
                    assert_true(end >= begin && (end % grains[g] == 0 || end == sizes[n]));
                    expected = end;
                }
                assert_int_equal(expected, sizes[n]);
            }
}

#ifndef SOMA_THREADS_NONE
typedef struct nested {
    const char *refusal, *refusal_of_one;
    bool complete;
} nested;

static void try_inside(void *context, int index, int count)
{
    nested *n = context;
    (void)count;
    if (index)
        return;
    n->refusal = soma_parallel_refusal(2);
    n->refusal_of_one = soma_parallel_refusal(1);
    n->complete = each_once(4);
}

static void a_region_inside_a_region_is_refused(void **state)
{
    (void)state;
    nested n = {NULL, NULL, false};
    assert_null(soma_parallel_refusal(2));
    soma_parallel(2, try_inside, &n);
    assert_non_null(n.refusal);
    assert_non_null(strstr(n.refusal, "inside a parallel region"));
    assert_null(n.refusal_of_one); /* one thread needs no team */
    assert_true(n.complete);       /* and who starts one all the same gets every part */
    assert_null(soma_parallel_refusal(2));
}
#endif

#ifdef HAVE_GOMP
static void entering_fixes_the_team_and_leaving_restores_it(void **state)
{
    (void)state;
    int most = omp_get_max_threads(), dynamic = omp_get_dynamic();
    int before = soma_parallel_enter(3);
    assert_int_equal(omp_get_max_threads(), 3);
    assert_int_equal(omp_get_dynamic(), 0);
    int inner = soma_parallel_enter(1);
    assert_int_equal(omp_get_max_threads(), 1);
    soma_parallel_leave(inner);
    assert_int_equal(omp_get_max_threads(), 3);
    soma_parallel_leave(before);
    assert_int_equal(omp_get_max_threads(), most);
    assert_int_equal(omp_get_dynamic(), dynamic);
}

/* Runs this program again with one variable set; the child's exit code. */
static int child(const char *what, const char *variable, const char *text)
{
    pid_t id = fork();
    if (id == 0) {
        setenv(variable, text, 1);
        execl("/proc/self/exe", "test_parallel", what, (char *)NULL);
        _exit(99);
    }
    int status = 0;
    if (id < 0 || waitpid(id, &status, 0) != id)
        return 98;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 97;
}

static void a_thread_limit_is_refused_and_survived(void **state)
{
    (void)state;
    assert_int_equal(child("limit", "OMP_THREAD_LIMIT", "1"), 0);
}

static void no_active_levels_are_refused_and_survived(void **state)
{
    (void)state;
    assert_int_equal(child("levels", "OMP_MAX_ACTIVE_LEVELS", "0"), 0);
}

static void dynamic_teams_are_made_exact(void **state)
{
    (void)state;
    assert_int_equal(child("dynamic", "OMP_DYNAMIC", "true"), 0);
}

static bool refused_because_of(const char *word)
{
    const char *refusal = soma_parallel_refusal(2);
    return refusal && strstr(refusal, word) && !soma_parallel_refusal(1);
}

/* 0: as it should be; other numbers say what was not. */
static int run_case(const char *what)
{
    if (!strcmp(what, "limit")) {
        if (!refused_because_of("OMP_THREAD_LIMIT"))
            return 1;
    } else if (!strcmp(what, "levels")) {
        if (!refused_because_of("OMP_MAX_ACTIVE_LEVELS"))
            return 2;
    } else if (!strcmp(what, "dynamic")) {
        if (!omp_get_dynamic() || soma_parallel_refusal(2))
            return 3;
        int before = soma_parallel_enter(4);
        bool exact = !omp_get_dynamic() && omp_get_max_threads() == 4 && each_once(4);
        soma_parallel_leave(before);
        if (!exact || !omp_get_dynamic())
            return 4;
    }
    return each_once(4) ? 0 : 5; /* a smaller team still does all parts */
}
#else
static int run_case(const char *what)
{
    (void)what;
    return 96;
}
#endif

#if defined(__x86_64__) || defined(__aarch64__)
/* Which threads flush 2^-1022 / 4 to zero, as bits. The barrier makes every part have its own thread. */
typedef struct flushing {
    int arrived, all;
    unsigned threads;
} flushing;

static void note_flush(void *context, int index, int count)
{
    flushing *f = context;
    volatile double least = 0x1p-1022;
    volatile double quarter = least * 0.25;
    if (quarter == 0)
        __atomic_fetch_or(&f->threads, 1u << index, __ATOMIC_RELAXED);
    __atomic_fetch_add(&f->arrived, 1, __ATOMIC_RELEASE);
    for (int spins = 0; f->all && __atomic_load_n(&f->arrived, __ATOMIC_ACQUIRE) < count && spins < 100000; spins++)
        usleep(10);
}

static unsigned flushing_threads(int threads)
{
    flushing f = {.all = 1};
    soma_parallel(threads, note_flush, &f);
    return f.threads;
}

static void flush_to_zero_reaches_every_thread_and_goes_again(void **state)
{
    (void)state;
    for (int threads = 1; threads <= 4; threads++) {
        unsigned everyone = (1u << threads) - 1;
        assert_int_equal(flushing_threads(threads), 0);
        unsigned before = soma_float_enter(true, threads);
        unsigned during = flushing_threads(threads);
        soma_float_leave(before, threads);
        assert_int_equal(during, everyone);
        assert_int_equal(flushing_threads(threads), 0);
    }
}

static void exact_steps_ignore_the_flush_bit_of_the_host(void **state)
{
    (void)state;
    unsigned host = soma_float_enter(true, 3); /* the host's own setting, say */
    unsigned before = soma_float_enter(false, 3);
    unsigned during = flushing_threads(3);
    soma_float_leave(before, 3);
    unsigned after = flushing_threads(3);
    soma_float_leave(host, 3);
    assert_int_equal(during, 0);
    assert_int_equal(after, 7);
    assert_int_equal(flushing_threads(3), 0);
}
#endif

static void the_machine_is_described(void **state)
{
    (void)state;
    int isa = soma_cpu_isa();
    assert_true(isa == 0 || isa == 2 || isa == 3 || isa == 4);
    assert_non_null(strstr(soma_build_info(), isa ? soma_isa_name(isa) : "baseline"));
    assert_non_null(strstr(soma_build_info(), soma_version()));
    assert_string_equal(soma_version(), SOMA_VERSION);
    assert_true(soma_cache_bytes() >= 512 << 10 && soma_cache_bytes() < UINT64_C(1) << 34);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_part_runs_once),
        cmocka_unit_test(shares_cover_everything_once),
#ifndef SOMA_THREADS_NONE
        cmocka_unit_test(a_region_inside_a_region_is_refused),
#endif
#ifdef HAVE_GOMP
        cmocka_unit_test(entering_fixes_the_team_and_leaving_restores_it),
        cmocka_unit_test(a_thread_limit_is_refused_and_survived),
        cmocka_unit_test(no_active_levels_are_refused_and_survived),
        cmocka_unit_test(dynamic_teams_are_made_exact),
#endif
#if defined(__x86_64__) || defined(__aarch64__)
        cmocka_unit_test(flush_to_zero_reaches_every_thread_and_goes_again),
        cmocka_unit_test(exact_steps_ignore_the_flush_bit_of_the_host),
#endif
        cmocka_unit_test(the_machine_is_described),
    };
    if (argc > 1)
        return run_case(argv[1]);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
