/* SPDX-License-Identifier: Apache-2.0
 *
 * cli/stop.c: how a training is stopped from outside. The first SIGINT, SIGTERM or SIGHUP asks for an end after the step
 * under way, the second one ends the command at once. Handlers stand only while there is something to save; what a caller
 * has set to be ignored (nohup, a shell's background) stays ignored.
 */
#include "cli.h"

#include <signal.h>
#include <string.h>
#include <unistd.h>

static struct {
    int number;
    const char *name;
    bool handled;
} signals[] = {{SIGINT, "SIGINT", false}, {SIGTERM, "SIGTERM", false}, {SIGHUP, "SIGHUP", false}};
enum { N_SIGNALS = sizeof signals / sizeof signals[0] };

static volatile sig_atomic_t received, quiet, terminal;

/* Whichever comes second finds the defaults, which end the process. Only calls that a handler may make stand here. */
static void ask(int number)
{
    static const char text[] = "\nsoma: finishing the step, then saving; once more ends at once\n";
    size_t begin = !terminal; /* a terminal's line of progress is open */
    received = number;
    for (int i = 0; i < N_SIGNALS; i++)
        if (signals[i].handled)
            signal(signals[i].number, SIG_DFL);
    if (!quiet && write(STDERR_FILENO, text + begin, sizeof text - 1 - begin) < 0)
        quiet = 1;
}

void cli_stop_begin(bool silent)
{
    struct sigaction now, handler = {.sa_handler = ask, .sa_flags = SA_RESTART};
    quiet = silent;
    terminal = isatty(STDERR_FILENO);
    sigemptyset(&handler.sa_mask);
    for (int i = 0; i < N_SIGNALS; i++) {
        signals[i].handled = !sigaction(signals[i].number, NULL, &now) && now.sa_handler != SIG_IGN;
        sigaddset(&handler.sa_mask, signals[i].number); /* two at the same moment are one request */
    }
    for (int i = 0; i < N_SIGNALS; i++)
        if (signals[i].handled)
            sigaction(signals[i].number, &handler, NULL);
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

int cli_stop_end(int code)
{
    int number = received;
    if (!number)
        return code;
    signal(number, SIG_DFL); /* a shell must see that it was a signal, or its loop goes on */
    raise(number);
    return cli_stop_code(code); /* the first process of a container is not ended by its own signals */
}
