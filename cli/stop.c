/* SPDX-License-Identifier: Apache-2.0
 *
 * cli/stop.c: how a command is stopped from outside. The first SIGINT, SIGTERM or SIGHUP asks a training for an end
 * after the step under way; the second one, or the first where there is nothing to save, ends the command at once.
 * Either way it exits with 128 and the signal's number. What a caller has set to be ignored (nohup, a shell's
 * background) stays ignored.
 */
#include "cli.h"

#include <signal.h>
#include <string.h>
#include <unistd.h>

static const struct {
    int number;
    const char *name;
} signals[] = {{SIGINT, "SIGINT"}, {SIGTERM, "SIGTERM"}, {SIGHUP, "SIGHUP"}};
enum { N_SIGNALS = sizeof signals / sizeof signals[0] };

static volatile sig_atomic_t received, saves, quiet, terminal;

/* Only calls that a handler may make stand here. */
static void ask(int number)
{
    static const char text[] = "\nsoma: finishing the step, then saving; once more ends at once\n";
    size_t begin = !terminal; /* a terminal's line of progress is open */
    if (received || !saves)
        _exit(128 + number);
    received = number;
    if (!quiet && write(STDERR_FILENO, text + begin, sizeof text - 1 - begin) < 0)
        quiet = 1;
}

void cli_stop_watch(void)
{
    struct sigaction now, handler = {.sa_handler = ask, .sa_flags = SA_RESTART};
    sigemptyset(&handler.sa_mask);
    for (int i = 0; i < N_SIGNALS; i++)
        sigaddset(&handler.sa_mask, signals[i].number); /* two at the same moment are one request */
    for (int i = 0; i < N_SIGNALS; i++)
        if (!sigaction(signals[i].number, NULL, &now) && now.sa_handler != SIG_IGN)
            sigaction(signals[i].number, &handler, NULL);
}

void cli_stop_begin(bool silent)
{
    quiet = silent;
    terminal = isatty(STDERR_FILENO);
    saves = 1;
    signal(SIGPIPE, SIG_IGN); /* nobody reads the progress any more: the training goes on, and is saved */
}

bool cli_stop(void *user)
{
    (void)user;
    return received != 0;
}

const char *cli_stop_name(void)
{
    for (int i = 0; i < N_SIGNALS; i++)
        if (signals[i].number == received)
            return signals[i].name;
    return NULL;
}

int cli_stop_code(int code)
{
    return received ? 128 + received : code;
}
