/* SPDX-License-Identifier: Apache-2.0
 *
 * cli/error.c: how a command says what is wrong: a sentence on standard error, and with --json an object on standard
 * output. The first mistake is the one that counts; what follows from it is told on standard error alone.
 */
#include "cli.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct {
    bool json, told, written;
    int code;
    const char *kind;
    char message[4096]; /* cut beyond, in the object as well as in the sentence, with "..." */
} error;

void cli_answer_json(bool json)
{
    error.json = json;
}

static void print_line(const char *before, const char *text)
{
    fputs(before, stderr);
    cli_text(stderr, text);
    fputc('\n', stderr);
}

static int tell(const char *kind, int code, const char *format, va_list args)
{
    char message[sizeof error.message];
    int n = vsnprintf(message, sizeof message, format, args);
    if (n >= (int)sizeof message)
        memcpy(message + sizeof message - 4, "...", 4);
    print_line("soma: ", message);
    if (!error.told) {
        error.told = true;
        error.kind = kind;
        error.code = code;
        memcpy(error.message, message, sizeof message);
    }
    return code;
}

/* The words of the man page for `kind`. */
static const char *kind_of(soma_status status)
{
    static const char *const kinds[] = {
        [SOMA_INVALID] = "invalid", [SOMA_MEMORY] = "memory",      [SOMA_IO] = "io",
        [SOMA_FORMAT] = "format",   [SOMA_DATA] = "data",          [SOMA_UNSUPPORTED] = "unsupported",
        [SOMA_STATE] = "state",     [SOMA_CANCELLED] = "cancelled"};
    const char *kind = (size_t)status < sizeof kinds / sizeof *kinds ? kinds[status] : NULL;
    return kind ? kind : "invalid";
}

int cli_error(soma_status status, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    int code = tell(kind_of(status), EXIT_RUN, format, args);
    va_end(args);
    return code;
}

int cli_usage(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    int code = tell("usage", EXIT_USAGE, format, args);
    va_end(args);
    return code;
}

int cli_failed(const soma *s)
{
    const char *text = s ? soma_error(s) : "no memory to begin";
    return cli_error(s ? soma_error_status(s) : SOMA_MEMORY, "%s",
                     text[0] ? text : "failed for a reason that was not told");
}

void cli_warning(const char *text)
{
    print_line("soma: warning: ", text);
}

void cli_note(const char *format, ...)
{
    char text[sizeof error.message];
    va_list args;
    va_start(args, format);
    int n = vsnprintf(text, sizeof text, format, args);
    va_end(args);
    if (n >= (int)sizeof text)
        memcpy(text + sizeof text - 4, "...", 4);
    print_line("soma: note: ", text);
}

bool cli_json_error(const char *before)
{
    if (!error.json || !error.told || error.written)
        return false;
    error.written = true;
    printf("%s{\"message\": ", before);
    cli_json_text(error.message);
    printf(", \"kind\": \"%s\", \"exit_code\": %d}", error.kind, cli_stop_code(error.code));
    return true;
}
