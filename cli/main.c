/* SPDX-License-Identifier: Apache-2.0
 *
 * cli/main.c: the command `soma`. Results go to standard output, progress and errors to standard error; exit codes: 0
 * done, 1 failed, 2 wrong command line; 130, 143, 129 after SIGINT, SIGTERM, SIGHUP.
 */
#include "cli.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define COLUMNS 79 /* of a line of help, at most */

static const cli_command commands[] = {
    {"train", "MODEL", "train a model on a data set and save it", cli_train},
    {"eval", "MODEL", "loss, accuracy, a table of classes on a data set", cli_eval},
    {"predict", "MODEL IMAGE...", "classes and probabilities of pictures", cli_predict},
    {"summary", "MODEL", "layers, shapes, parameters and FLOPs", cli_summary},
    {"plan", "MODEL", "kernels, layouts, memory, times before training", cli_plan},
    {"bench", "train|predict MODEL", "throughput, latency, share of machine's peak", cli_bench},
    {NULL, NULL, NULL, NULL},
};

static void help(FILE *out)
{
    fprintf(out, "usage: soma COMMAND [OPTIONS]\n\ncommands:\n");
    for (const cli_command *c = commands; c->name; c++)
        fprintf(out, "  %-8s %-20s %s\n", c->name, c->arguments, c->doc);
    int column = fprintf(out, "\nWhat there is by name, with options and defaults: soma ") - 1;
    for (int i = 0; soma_kinds_at(i); i++) {
        const char *name = soma_kinds_at(i)->many;
        if (column + (int)strlen(name) + 1 > COLUMNS)
            column = fprintf(out, "\n  ") - 1;
        column += fprintf(out, "%s%s", name, soma_kinds_at(i + 1) ? "|" : "");
    }
    fprintf(out, " [NAME]\n");
    column = fprintf(out, "\nMODEL is an architecture (") - 1;
    for (int i = 0; soma_zoo_at(i); i++) {
        const char *name = soma_zoo_at(i)->name;
        if (column + (int)strlen(name) + 2 > COLUMNS) /* with the comma, or the bracket and its comma */
            column = fprintf(out, "\n  ") - 1;
        column += fprintf(out, "%s%s", name, soma_zoo_at(i + 1) ? ", " : "),\n");
    }
    fprintf(out, "a description of layers (FILE.yaml), or a saved model (FILE.safetensors).\n"
                 "`soma COMMAND --help` explains a command; `soma --version` tells what was built in.\n");
}

/* Commands, then lists of kinds. */
static const char *command_name(const void *list, int i)
{
    const cli_command *known = list;
    int n = (int)(sizeof commands / sizeof *commands) - 1;
    const soma_kinds *kinds = i < n ? NULL : soma_kinds_at(i - n);
    return i < n ? known[i].name : kinds ? kinds->many : NULL;
}

/* Lists of kinds are commands, too, by their names of many. */
static const soma_kinds *list_of(const char *command)
{
    const soma_kinds *list = soma_kinds_find(command);
    return list && !strcmp(list->many, command) ? list : NULL;
}

/* --json stands anywhere among the options: a mistake may stand before it. */
static bool wants_json(int argc, char **argv)
{
    for (int i = 1; i < argc && strcmp(argv[i], "--"); i++)
        if (!strcmp(argv[i], "--json"))
            return true;
    return false;
}

/* A word in the environment is as good as an option, and as wrong. */
static bool sound_environment(void)
{
    const char *threads = getenv("SOMA_NUM_THREADS");
    char *rest = NULL;
    long n = threads && threads[0] ? strtol(threads, &rest, 10) : 1;
    return (n >= 1 && n <= 1024 && !(rest && *rest)) ||
           cli_usage("SOMA_NUM_THREADS is \"%s\" in the environment; it takes a whole number from 1 to 1024",
                     threads) == 0;
}

static int run(int argc, char **argv)
{
    if (argc < 2) {
        help(stderr);
        return EXIT_USAGE;
    }
    if (!strcmp(argv[1], "help") && argc > 3 && strcmp(argv[3], "--json"))
        return cli_usage("help: \"%s\" is one argument too many; usage: soma help [COMMAND]", argv[3]);
    char help_option[] = "--help", *of_command[] = {argv[0], argc > 2 ? argv[2] : NULL, help_option, NULL};
    if (!strcmp(argv[1], "help") && argc > 2) { /* soma help train: soma train --help */
        argv = of_command;
        argc = 3;
    }
    if (!strcmp(argv[1], "--help") || !strcmp(argv[1], "-h") || !strcmp(argv[1], "help")) {
        help(stdout);
        return 0;
    }
    if (!strcmp(argv[1], "--version")) {
        printf("%s\n", soma_build_info());
        return 0;
    }
    for (const cli_command *c = commands; c->name; c++)
        if (!strcmp(c->name, argv[1]))
            return sound_environment() ? c->run(argc - 2, argv + 2) : EXIT_USAGE;
    if (list_of(argv[1]))
        return cli_kinds(list_of(argv[1]), argc - 2, argv + 2);
    if (argv[1][0] == '-')
        return cli_usage("\"%s\" stands where a command is wanted, and options stand behind it: soma COMMAND %s; "
                         "`soma --help` lists the commands",
                         argv[1], argv[1]);
    const char *near = cli_nearest(argv[1], command_name, commands);
    return cli_usage("there is no command \"%s\"%s%s%s; `soma --help` lists them", argv[1],
                     near ? " (did you mean \"" : "", near ? near : "", near ? "\"?)" : "");
}

int main(int argc, char **argv)
{
    cli_stop_watch();
    signal(SIGXFSZ, SIG_IGN); /* a limit of file sizes is an error like others, told in a sentence */
    cli_answer_json(wants_json(argc, argv));
    int code = run(argc, argv);
    if (cli_json_error("{\"error\": "))
        printf("}\n");
    if (fflush(stdout) || ferror(stdout))
        return cli_error(SOMA_IO, "the result could not be written to standard output");
    return cli_stop_code(code);
}
