/* Prints the limits of this machine: machine [--threads N] [--seconds S] [--json] */
#define _GNU_SOURCE
#include "peak.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* The CPU's name as Linux gives it, without characters that JSON would have to escape. */
static void cpu_name(char *name, size_t size)
{
    char line[512];
    snprintf(name, size, "unknown");
    FILE *f = fopen("/proc/cpuinfo", "r");
    if (!f)
        return;
    while (fgets(line, sizeof line, f)) {
        char *colon = strchr(line, ':');
        if (strncmp(line, "model name", 10) != 0 || !colon)
            continue;
        colon += 1 + strspn(colon + 1, " \t");
        colon[strcspn(colon, "\n\"\\")] = 0;
        snprintf(name, size, "%s", colon);
        break;
    }
    fclose(f);
}

static int usage(FILE *to, int code)
{
    fputs("usage: machine [--threads N] [--seconds S] [--json]\n"
          "Measures the f32 FMA peak (one thread and N threads) and the streaming rate of N threads.\n"
          "N: all CPUs by default. S: seconds for each of the three, 0.3 by default.\n",
          to);
    return code;
}

int main(int argc, char **argv)
{
    long threads = sysconf(_SC_NPROCESSORS_ONLN);
    double seconds = 0.3;
    int json = 0;
    for (int i = 1; i < argc; i++) {
        char *end = NULL;
        if (strcmp(argv[i], "--help") == 0)
            return usage(stdout, 0);
        if (strcmp(argv[i], "--json") == 0) {
            json = 1;
            continue;
        }
        if (i + 1 < argc && strcmp(argv[i], "--threads") == 0)
            threads = strtol(argv[++i], &end, 10);
        else if (i + 1 < argc && strcmp(argv[i], "--seconds") == 0)
            seconds = strtod(argv[++i], &end);
        if (!end || end == argv[i] || *end || threads < 1 || threads > 1024 || !(seconds >= 0 && seconds <= 3600))
            return usage(stderr, 2);
    }
    if (threads < 1)
        threads = 1;

    char cpu[256];
    cpu_name(cpu, sizeof cpu);
    double one = soma_bench_peak_gflops(1, seconds);
    double all = threads == 1 ? one : soma_bench_peak_gflops((int)threads, seconds);
    double stream = soma_bench_bandwidth_gbs((int)threads, seconds);
    if (one <= 0 || all <= 0 || stream <= 0) {
        fprintf(stderr, "machine: cannot measure: %ld threads or the memory for two arrays cannot be had\n", threads);
        return 1;
    }
    if (json)
        printf("{\"cpu\": \"%s\", \"isa\": \"%s\", \"threads\": %ld, \"peak_gflops_1\": %.1f, \"peak_gflops\": %.1f, "
               "\"bandwidth_gbs\": %.1f}\n",
               cpu, soma_bench_isa(), threads, one, all, stream);
    else
        printf(
            "cpu        %s, %s\nFMA peak   %.1f GFLOPS with 1 thread, %.1f with %ld\nstreaming  %.1f GB/s with %ld\n",
            cpu, soma_bench_isa(), one, all, threads, stream, threads);
    return 0;
}
