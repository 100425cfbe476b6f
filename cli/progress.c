/* SPDX-License-Identifier: Apache-2.0
 *
 * cli/progress.c: how training shows itself on standard error: Keras' progress line on a terminal, a line per epoch
 * elsewhere.
 */
#include "cli.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define BAR 20
#define CLI_SHOW_SECONDS 0.1 /* between two lines on a terminal */

/* The user's locale decides which characters a terminal shows. */
static bool terminal_is_utf8(void)
{
    const char *const names[] = {"LC_ALL", "LC_CTYPE", "LANG"};
    for (int i = 0; i < 3; i++) {
        const char *value = getenv(names[i]);
        if (value && value[0])
            return strstr(value, "UTF-8") || strstr(value, "utf8") || strstr(value, "UTF8");
    }
    return false;
}

void cli_progress_begin(cli_progress *p, const cli_common *common)
{
    const char *no_colour = getenv("NO_COLOR"), *kind = getenv("TERM");
    bool dumb = !kind || !strcmp(kind, "dumb");
    memset(p, 0, sizeof *p);
    p->quiet = common->quiet;
    p->terminal = isatty(STDERR_FILENO) && !dumb;
    p->colour = p->terminal && !(no_colour && no_colour[0]);
    p->utf8 = terminal_is_utf8();
}

void cli_progress_end(cli_progress *p)
{
    if (p->open)
        fprintf(stderr, "\n");
    p->open = false;
}

/* Adds " - text" where it still fits into the line. */
static void add(cli_progress *p, const char *text)
{
    int length = (int)strlen(text);
    if (p->used + length > p->width)
        return;
    fputs(text, stderr);
    p->used += length;
}

static void number(cli_progress *p, const char *name, double value)
{
    char text[64];
    if (isnan(value)) /* printf may give it a sign */
        snprintf(text, sizeof text, " - %s: nan", name);
    else if ((fabs(value) > 1e-3 && !(fabs(value) >= 1e9)) || value == 0)
        snprintf(text, sizeof text, " - %s: %.4f", name, value);
    else
        snprintf(text, sizeof text, " - %s: %.4e", name, value);
    add(p, text);
}

static void duration(double seconds, char text[32])
{
    int t = seconds < 1e9 ? (int)seconds : 1000000000;
    if (t >= 3600)
        snprintf(text, 32, "%d:%02d:%02d", t / 3600, t / 60 % 60, t % 60);
    else if (t >= 60)
        snprintf(text, 32, "%d:%02d", t / 60, t % 60);
    else
        snprintf(text, 32, "%ds", t);
}

static void step_time(cli_progress *show, const soma_progress *p)
{
    static const struct {
        double seconds;
        const char *unit;
    } units[] = {{1, "s"}, {1e-3, "ms"}, {1e-6, "us"}, {1e-9, "ns"}};
    char text[64];
    double step = p->batch ? p->seconds / (double)p->batch : 0;
    int i = 0;
    while (i < 3 && step < units[i].seconds)
        i++;
    snprintf(text, sizeof text, " %.0f%s/step", step / units[i].seconds, units[i].unit);
    add(show, text);
}

/* Last, as it may be left out of a narrow line. */
static void rate(cli_progress *show, const soma_progress *p)
{
    char text[64];
    if (p->seconds <= 0)
        return;
    snprintf(text, sizeof text, " - %.0f samples/s", (double)p->samples / p->seconds);
    add(show, text);
}

static void bar(cli_progress *show, const soma_progress *p)
{
    char target[32], time[32];
    const char *piece = show->utf8 ? "\u2501" : "=", *rest = show->colour ? piece : show->utf8 ? " " : ".";
    int digits = snprintf(target, sizeof target, "%lld", (long long)p->batches);
    int done = p->batches ? (int)(BAR * p->batch / p->batches) : BAR;
    fprintf(stderr, "\r\033[K%s%*lld/%s%s %s", show->colour ? "\033[1m" : "", digits, (long long)p->batch, target,
            show->colour ? "\033[0m" : "", show->colour ? "\033[32m" : "");
    for (int i = 0; i < BAR; i++) {
        if (i == done && show->colour)
            fputs("\033[37m", stderr);
        fputs(i < done ? piece : rest, stderr);
    }
    double eta = p->batch ? p->seconds / (double)p->batch * (double)(p->batches - p->batch) : 0;
    duration(p->epoch_done ? p->seconds : eta, time);
    fprintf(stderr, "%s %s%s", show->colour ? "\033[0m\033[1m" : "", time, show->colour ? "\033[0m" : "");
    show->used = 2 * digits + 3 + BAR + (int)strlen(time);
}

/* A line that is written again must not be longer than the terminal is wide. */
static int line_width(bool last)
{
    struct winsize size;
    if (last || ioctl(STDERR_FILENO, TIOCGWINSZ, &size) || size.ws_col < 40)
        return 1000;
    return size.ws_col - 1;
}

/* last: nothing is written over it */
static void show_line(cli_progress *show, const soma_progress *p, bool last)
{
    show->width = show->terminal ? line_width(last) : 1000;
    show->used = 0;
    if (show->terminal) {
        if (show->epoch != p->epoch + 1)
            fprintf(stderr, "Epoch %lld/%lld\n", (long long)p->epoch + 1, (long long)p->epochs);
        show->epoch = p->epoch + 1;
        bar(show, p);
    } else {
        char time[32];
        duration(p->seconds, time);
        fprintf(stderr, "Epoch %lld/%lld - %lld/%lld - %s -", (long long)p->epoch + 1, (long long)p->epochs,
                (long long)p->batch, (long long)p->batches, time);
    }
    step_time(show, p);
    if (p->has_accuracy)
        number(show, "accuracy", p->accuracy);
    if (p->has_loss)
        number(show, "loss", p->loss);
    if (p->has_validation && p->has_accuracy)
        number(show, "val_accuracy", p->val_accuracy);
    if (p->has_validation)
        number(show, "val_loss", p->val_loss);
    rate(show, p);
    show->open = true;
    if (last)
        cli_progress_end(show);
    fflush(stderr);
}

void cli_say_busy(const cli_pace *pace, int threads)
{
    char text[320];
    fprintf(stderr, "soma: %s\n", cli_pace_text(pace, threads, text));
}

/* Times between two calls, within an epoch. */
static void pace(cli_progress *show, const soma_progress *p)
{
    if (p->batch < show->paced_step || p->seconds < show->paced_seconds) /* another epoch */
        show->paced_step = 0, show->paced_seconds = show->shown = 0;
    bool busy = cli_pace_add(&show->pace, p->batch - show->paced_step, p->seconds - show->paced_seconds);
    show->paced_step = p->batch;
    show->paced_seconds = p->seconds;
    if (!busy || show->quiet || show->threads < 2)
        return;
    if (show->terminal)
        fprintf(stderr, "\r\033[K");
    cli_say_busy(&show->pace, show->threads);
}

bool cli_show_progress(void *user, const soma_progress *p)
{
    cli_progress *show = user;
    pace(show, p);
    bool due = show->terminal && (p->seconds - show->shown >= CLI_SHOW_SECONDS || show->shown == 0);
    if (!show->quiet && (due || p->epoch_done)) {
        show->shown = p->seconds;
        show_line(show, p, p->epoch_done);
    }
    return true;
}

void cli_show_last(cli_progress *show, const soma_progress *p)
{
    if (!show->quiet && p->has_loss && !p->epoch_done)
        show_line(show, p, true);
    cli_progress_end(show);
}
