/* SPDX-License-Identifier: Apache-2.0
 *
 * house_child.c: other processes: peers that serve line by line, commands whose time or memory is measured.
 */
#define _GNU_SOURCE
#include "house.h"

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

#define WORDS 32

/* ---- peers ---- */

static int reap(int pid)
{
    int status = 0;
    while (waitpid(pid, &status, 0) < 0)
        ;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}

/* Starts the command with pipes as its stdin and stdout. */
static int start(house_peer *p, char **words)
{
    int in[2], out[2];
    posix_spawn_file_actions_t actions;
    if (pipe2(in, O_CLOEXEC) || pipe2(out, O_CLOEXEC) || posix_spawn_file_actions_init(&actions))
        return 1;
    posix_spawn_file_actions_adddup2(&actions, in[0], 0);
    posix_spawn_file_actions_adddup2(&actions, out[1], 1);
    pid_t pid = 0;
    int failed = posix_spawnp(&pid, words[0], &actions, NULL, words, environ);
    posix_spawn_file_actions_destroy(&actions);
    close(in[0]);
    close(out[1]);
    if (failed) {
        close(in[1]);
        close(out[0]);
        fprintf(stderr, "soma-house: %s cannot be started: %s\n", words[0], strerror(failed));
        return 1;
    }
    p->pid = pid;
    p->in = fdopen(in[1], "w");
    p->out = fdopen(out[0], "r");
    return p->in && p->out ? 0 : 1;
}

int house_peer_open(house_peer *p, const char *command)
{
    char text[1024], *words[WORDS + 1] = {NULL}, *rest = NULL;
    int n = 0;
    memset(p, 0, sizeof *p);
    snprintf(text, sizeof text, "%s", command);
    for (char *w = strtok_r(text, " ", &rest); w && n < WORDS; w = strtok_r(NULL, " ", &rest))
        words[n++] = w;
    signal(SIGPIPE, SIG_IGN);
    if (n == 0 || start(p, words))
        return 1;
    if (fgets(p->ready, sizeof p->ready, p->out) && strstr(p->ready, "\"ready\""))
        return 0;
    int code = reap(p->pid);
    p->pid = 0;
    house_peer_close(p);
    return code == 77 ? 77 : 1;
}

void house_peer_close(house_peer *p)
{
    if (p->in) {
        fputs("quit\n", p->in);
        fclose(p->in);
    }
    if (p->pid)
        reap(p->pid);
    if (p->out)
        fclose(p->out);
    memset(p, 0, sizeof *p);
}

/* The number behind "key": in one line of JSON. */
static double number_of(const char *line, const char *key)
{
    char quoted[64];
    snprintf(quoted, sizeof quoted, "\"%s\":", key);
    const char *at = strstr(line, quoted);
    return at ? strtod(at + strlen(quoted), NULL) : 0;
}

static void text_of(const char *line, const char *key, char *out, size_t size)
{
    char quoted[64];
    snprintf(quoted, sizeof quoted, "\"%s\": \"", key);
    const char *at = strstr(line, quoted);
    at = at ? at + strlen(quoted) : "";
    snprintf(out, size, "%.*s", (int)strcspn(at, "\""), at);
}

int house_peer_run(house_peer *p, double seconds, house_result results[HOUSE_VARIANTS])
{
    char line[4096];
    int n = 0;
    fprintf(p->in, "run %g\n", seconds);
    if (fflush(p->in))
        return -1;
    while (fgets(line, sizeof line, p->out)) {
        if (strstr(line, "\"done\""))
            return n;
        if (!strstr(line, "\"result\"") || n == HOUSE_VARIANTS)
            break;
        text_of(line, "variant", results[n].variant, sizeof results[n].variant);
        results[n].us = number_of(line, "us_per_step");
        results[n++].rate = number_of(line, "samples_per_second");
    }
    fprintf(stderr, "soma-house: the peer said: %s\n", line);
    return -1;
}

/* ---- commands ---- */

/* Runs a command with its output thrown away; returns its exit code, -1 when it cannot be started. */
static int run(const char *const *command, struct rusage *usage)
{
    posix_spawn_file_actions_t actions;
    pid_t pid;
    int status;
    if (posix_spawn_file_actions_init(&actions))
        return -1;
    posix_spawn_file_actions_addopen(&actions, 1, "/dev/null", O_WRONLY, 0);
    int failed = posix_spawnp(&pid, command[0], &actions, NULL, (char **)(uintptr_t)command, environ);
    posix_spawn_file_actions_destroy(&actions);
    if (failed) {
        fprintf(stderr, "soma-house: %s cannot be started: %s\n", command[0], strerror(failed));
        return -1;
    }
    if (wait4(pid, &status, 0, usage) < 0)
        return -1;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128;
}

int house_spawn(const options *o)
{
    double ms[1000];
    int n = o->rounds ? (int)o->rounds : 50;
    struct rusage usage;
    for (int i = -3; i < n; i++) { /* the first three warm the page cache */
        double begun = house_now();
        int code = run(o->command, &usage);
        if (code) {
            fprintf(stderr, "soma-house: %s ended with code %d\n", o->command[0], code);
            return 1;
        }
        if (i >= 0)
            ms[i] = 1e3 * (house_now() - begun);
    }
    double median = house_median(ms, n);
    printf("%d processes: fastest %.2f ms, slowest %.2f ms\nmedian_ms %.2f\n", n, ms[0], ms[n - 1], median);
    return 0;
}

int house_peak_rss(const options *o)
{
    struct rusage usage;
    int code = run(o->command, &usage);
    if (code) {
        fprintf(stderr, "soma-house: %s ended with code %d\n", o->command[0], code);
        return 1;
    }
    printf("peak_rss_mb %.2f\n", (double)usage.ru_maxrss * 1024 / 1e6);
    return 0;
}
