/* SPDX-License-Identifier: Apache-2.0
 *
 * cli/output.c: numbers, shapes and JSON as the commands print them; the progress line.
 */
#include "cli.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

void cli_json_text(const char *text)
{
    putchar('"');
    for (const unsigned char *c = (const unsigned char *)text; *c; c++) {
        if (*c == '"' || *c == '\\')
            printf("\\%c", *c);
        else if (*c < 0x20)
            printf("\\u%04x", *c);
        else
            putchar(*c);
    }
    putchar('"');
}

void cli_json_number(double number)
{
    if (isfinite(number))
        printf("%.9g", number);
    else
        printf("null");
}

const char *cli_count(int64_t n, char text[32])
{
    char digits[32];
    int length = snprintf(digits, sizeof digits, "%lld", (long long)n), at = 0;
    for (int i = 0; i < length; i++) {
        if (i && (length - i) % 3 == 0 && digits[i - 1] != '-')
            text[at++] = ',';
        text[at++] = digits[i];
    }
    text[at] = 0;
    return text;
}

const char *cli_shape_text(const soma_type *type, char text[96])
{
    size_t used = (size_t)snprintf(text, 96, "(");
    for (int i = 0; i < type->shape.rank && used < 80; i++) {
        int64_t d = type->shape.dim[i];
        if (d == SOMA_N)
            used += (size_t)snprintf(text + used, 96 - used, "%sN", i ? ", " : "");
        else if (d < 0)
            used += (size_t)snprintf(text + used, 96 - used, "%s%lldN", i ? ", " : "", (long long)-d);
        else
            used += (size_t)snprintf(text + used, 96 - used, "%s%lld", i ? ", " : "", (long long)d);
    }
    snprintf(text + used, 96 - used, ")");
    return text;
}

/* ---- progress, as Keras shows it ---- */

void cli_progress_begin(cli_progress *p, const cli_common *common)
{
    memset(p, 0, sizeof *p);
    p->quiet = common->quiet;
    p->terminal = isatty(STDERR_FILENO);
    p->colour = p->terminal && !getenv("NO_COLOR");
    p->shown_at = -1;
}

static void number(const char *name, double value)
{
    if (!isnan(value))
        fprintf(stderr, fabs(value) > 1e-3 || value == 0 ? " - %s: %.4f" : " - %s: %.4e", name, value);
}

static void duration(double seconds)
{
    int t = (int)seconds;
    if (t >= 3600)
        fprintf(stderr, "%d:%02d:%02d", t / 3600, t / 60 % 60, t % 60);
    else if (t >= 60)
        fprintf(stderr, "%d:%02d", t / 60, t % 60);
    else
        fprintf(stderr, "%ds", t);
}

static void rate(const soma_progress *p)
{
    double step = p->batch ? p->seconds / (double)p->batch : 0;
    if (step >= 1)
        fprintf(stderr, " %.0fs/step", step);
    else if (step >= 1e-3)
        fprintf(stderr, " %.0fms/step", step * 1e3);
    else
        fprintf(stderr, " %.0fus/step", step * 1e6);
    if (p->seconds > 0)
        fprintf(stderr, " - %.0f samples/s", (double)p->samples / p->seconds);
}

static void bar(const cli_progress *show, const soma_progress *p)
{
    char target[32];
    int width = snprintf(target, sizeof target, "%lld", (long long)p->batches);
    int done = p->batches ? (int)(20 * p->batch / p->batches) : 20;
    fprintf(stderr, "\r\033[K%s%*lld/%s%s ", show->colour ? "\033[1m" : "", width, (long long)p->batch, target,
            show->colour ? "\033[0m" : "");
    fprintf(stderr, "%s", show->colour ? "\033[32m" : "");
    for (int i = 0; i < 20; i++) {
        if (i == done)
            fprintf(stderr, "%s", show->colour ? "\033[37m" : "");
        fprintf(stderr, show->colour || i < done ? "\u2501" : " ");
    }
    fprintf(stderr, "%s ", show->colour ? "\033[0m\033[1m" : "");
    double eta = p->batch ? p->seconds / (double)p->batch * (double)(p->batches - p->batch) : 0;
    duration(p->epoch_done ? p->seconds : eta);
    fprintf(stderr, "%s", show->colour ? "\033[0m" : "");
}

bool cli_show_progress(void *user, const soma_progress *p)
{
    cli_progress *show = user;
    if (show->quiet || (!show->terminal && !p->epoch_done))
        return true;
    if (show->terminal) {
        if (show->width != (int)p->epoch + 1) {
            fprintf(stderr, "Epoch %lld/%lld\n", (long long)p->epoch + 1, (long long)p->epochs);
            show->width = (int)p->epoch + 1;
        }
        bar(show, p);
    } else {
        fprintf(stderr, "Epoch %lld/%lld - %lld/%lld - ", (long long)p->epoch + 1, (long long)p->epochs,
                (long long)p->batch, (long long)p->batches);
        duration(p->seconds);
        fprintf(stderr, " -");
    }
    rate(p);
    number("accuracy", p->accuracy);
    number("loss", p->loss);
    number("val_accuracy", p->val_accuracy);
    number("val_loss", p->val_loss);
    if (p->epoch_done || !show->terminal)
        fprintf(stderr, "\n");
    fflush(stderr);
    return true;
}
