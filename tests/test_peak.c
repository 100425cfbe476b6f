/* SPDX-License-Identifier: Apache-2.0
 *
 * tests/test_peak.c: the largest resident size of the command: a benchmark takes no more than the model does, unless
 * it is asked to stream memory, and then it says what that takes.
 */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

static char said[4096];

/* MB at its peak of `soma` with arguments as a text; what it wrote to standard error is in `said`. */
static double peak(const char *arguments)
{
    char line[512], *argv[32] = {SOMA_COMMAND}, path[] = "/tmp/soma-peak-XXXXXX";
    int argc = 1, status = 0, err = mkstemp(path);
    assert_true(err >= 0);
    unlink(path);
    snprintf(line, sizeof line, "%s", arguments);
    for (char *word = strtok(line, " "); word && argc < 31; word = strtok(NULL, " "))
        argv[argc++] = word;
    pid_t child = fork();
    if (child == 0) {
        int null = open("/dev/null", O_WRONLY);
        dup2(null, 1);
        dup2(err, 2);
        execv(argv[0], argv);
        _exit(127);
    }
    struct rusage used;
    assert_true(child > 0 && wait4(child, &status, 0, &used) == child);
    ssize_t n = pread(err, said, sizeof said - 1, 0);
    said[n > 0 ? n : 0] = 0;
    close(err);
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
        fail_msg("soma %s: %s", arguments, said);
    printf("%6.1f MB: soma %s\n", (double)used.ru_maxrss / 1024, arguments);
    return (double)used.ru_maxrss / 1024;
}

static void bench_takes_little(void **state)
{
    (void)state;
    double summary = peak("summary lenet5"); /* the libraries and the model */
    assert_true(peak("bench train lenet5 --seconds 0.05 --rounds 1") < summary + 100);
    assert_true(peak("bench predict lenet5 --seconds 0.05 --rounds 1") < summary + 100);
    assert_null(strstr(said, "bandwidth"));
    assert_true(peak("bench train net --batch 8 --seconds 0.05 --rounds 1 --json") < summary + 100);
    assert_true(peak("plan lenet5") < summary + 100);
}

static void bandwidth_says_what_it_takes(void **state)
{
    (void)state;
    double summary = peak("summary lenet5"), told;
    assert_true(peak("bench predict lenet5 --seconds 0.05 --rounds 1 --machine") > summary + 100);
    const char *at = strstr(said, "they take ");
    assert_non_null(strstr(said, "memory bandwidth is measured on arrays that no cache holds"));
    assert_non_null(at);
    told = strtod(at + strlen("they take "), NULL);
    assert_true(told >= 128);
    peak("plan lenet5 --time --steps 1");
    assert_non_null(strstr(said, "they take "));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(bench_takes_little),
                                       cmocka_unit_test(bandwidth_says_what_it_takes)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
