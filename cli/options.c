/* SPDX-License-Identifier: Apache-2.0
 *
 * cli/options.c: command lines from tables of options.
 */
#include "cli.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static char lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

/* Edit distance with a small bound; names are short. "SGD" is sgd. */
static int distance(const char *a, const char *b)
{
    int row[64], n = (int)strlen(b);
    if (n > 62 || strlen(a) > 62)
        return 99;
    for (int j = 0; j <= n; j++)
        row[j] = j;
    for (int i = 1; a[i - 1]; i++) {
        int diagonal = row[0];
        row[0] = i;
        for (int j = 1; j <= n; j++) {
            int change = diagonal + (lower(a[i - 1]) != lower(b[j - 1]));
            diagonal = row[j];
            int best = row[j] + 1 < row[j - 1] + 1 ? row[j] + 1 : row[j - 1] + 1;
            row[j] = change < best ? change : best;
        }
    }
    return row[n];
}

const char *cli_nearest(const char *name, cli_name_fn at, const void *list)
{
    const char *best = NULL, *known;
    int least = (int)strlen(name) / 3 + 2;
    for (int i = 0; (known = at(list, i)); i++) {
        int d = distance(name, known);
        if (d < least) {
            least = d;
            best = known;
        }
    }
    for (int i = 0; !best && (known = at(list, i)); i++) { /* "batch" for "batch-size", or the other way round */
        size_t n = strlen(name) < strlen(known) ? strlen(name) : strlen(known);
        if (n >= 3 && !strncmp(name, known, n))
            best = known;
    }
    return best;
}

/* "  --name N    what it is", within 79 columns. */
static void help_line(const char *left, const char *doc)
{
    enum { COLUMN = 27, WIDTH = 79 };
    int used = printf("  %-24s ", left);
    if (used > COLUMN)
        used = printf("\n%*s", COLUMN, "") - 1;
    for (const char *word = doc; *word;) {
        int n = (int)strcspn(word, " ");
        if (used > COLUMN && used + 1 + n > WIDTH)
            used = printf("\n%*s", COLUMN, "") - 1;
        used += printf("%s%.*s", used > COLUMN ? " " : "", n, word);
        word += n + (word[n] == ' ');
    }
    printf("\n");
}

static void help(const cli_command *command, const cli_option *options)
{
    printf("usage: soma %s %s [OPTIONS]\n\n%s\n\noptions:\n", command->name, command->arguments, command->doc);
    for (const cli_option *o = options; o->name; o++) {
        char left[96];
        snprintf(left, sizeof left, "--%s%s%s", o->name, o->arg ? " " : "", o->arg ? o->arg : "");
        help_line(left, o->doc);
    }
    help_line("--help", "this text");
}

static bool set_number(const cli_option *o, const char *text)
{
    char *end = NULL;
    errno = 0;
    if (o->type == CLI_INT) {
        long long n = strtoll(text, &end, 10);
        if (end == text || *end || errno || (o->min <= o->max && ((double)n < o->min || (double)n > o->max)))
            return false;
        *(int64_t *)o->out = n;
        return true;
    }
    double x = strtod(text, &end); /* the command never sets a locale: the point is a point */
    if (o->type == CLI_BYTES && end != text) {
        static const char suffix[] = "KMG";
        const char *found = *end ? strchr(suffix, *end & ~0x20) : NULL;
        for (const char *k = suffix; found && k <= found; k++)
            x *= 1000;
        end += found != NULL;
        if (*end || errno || !(x >= o->min && x <= o->max))
            return false;
        *(int64_t *)o->out = (int64_t)x;
        return true;
    }
    if (end == text || *end || errno || !(x - x == 0) || (o->min <= o->max && (x < o->min || x > o->max)))
        return false;
    *(double *)o->out = x;
    return true;
}

/* "3x64x64" */
static bool set_shape(const cli_option *o, const char *text)
{
    soma_shape shape = {.rank = 0};
    const char *at = text;
    for (;;) {
        char *end = NULL;
        errno = 0;
        long long n = strtoll(at, &end, 10);
        if (end == at || errno || n < 1 || n > 1000000 || shape.rank >= SOMA_MAX_RANK - 1 || (*end && *end != 'x'))
            break;
        shape.dim[shape.rank++] = n;
        at = end + 1;
        if (!*end) {
            *(soma_shape *)o->out = shape;
            return true;
        }
    }
    return cli_usage("--%s takes sizes joined by x, such as 3x64x64, got \"%s\"", o->name, text) == 0;
}

static const char *word_at(const void *words, int i)
{
    return ((const char *const *)words)[i];
}

/* "f32|bf16": the word that was meant, or a sentence that lists them. */
static bool set_choice(const cli_option *o, const char *text)
{
    char room[128], list[160] = "";
    const char *words[8];
    int n = 0;
    snprintf(room, sizeof room, "%s", o->arg);
    for (char *word = strtok(room, "|"); word && n < 7; word = strtok(NULL, "|"))
        words[n++] = word;
    words[n] = NULL;
    for (int i = 0; i < n; i++) {
        if (!strcmp(words[i], text)) {
            *(const char **)o->out = text;
            return true;
        }
        size_t used = strlen(list);
        snprintf(list + used, sizeof list - used, "%s%s", i == 0 ? "" : i == n - 1 ? " or " : ", ", words[i]);
    }
    const char *near = cli_nearest(text, word_at, words);
    return cli_usage("--%s takes %s, got \"%s\"%s%s%s", o->name, list, text, near ? "; did you mean " : "",
                     near ? near : "", near ? "?" : "") == 0;
}

static bool add_to_list(const cli_option *o, const char *text)
{
    cli_list *list = o->out;
    if (list->n == (int)(sizeof list->texts / sizeof list->texts[0]))
        return cli_usage("--%s was given more than %d times", o->name, list->n) == 0;
    list->texts[list->n++] = text;
    return true;
}

static bool set(const cli_option *o, const char *text)
{
    if (o->type == CLI_SHAPE)
        return set_shape(o, text);
    if (o->type == CLI_LIST)
        return add_to_list(o, text);
    if (o->type == CLI_CHOICE)
        return set_choice(o, text);
    if (o->type == CLI_TEXT)
        *(const char **)o->out = text;
    else if (!set_number(o, text)) {
        if (o->type == CLI_BYTES)
            cli_usage("--%s takes a number of bytes, with K, M or G behind it for powers of 1000, got \"%s\"", o->name,
                      text);
        else if (o->min <= o->max && o->type == CLI_INT)
            cli_usage("--%s takes a whole number from %.0f to %.0f, got \"%s\"", o->name, o->min, o->max, text);
        else if (o->min <= o->max)
            cli_usage("--%s takes a number from %.15g to %.15g, got \"%s\"", o->name, o->min, o->max, text);
        else
            cli_usage("--%s takes a %snumber, got \"%s\"", o->name, o->type == CLI_INT ? "whole " : "", text);
        return false;
    }
    return true;
}

static const char *option_name(const void *options, int i)
{
    return ((const cli_option *)options)[i].name;
}

static bool unknown_option(const cli_command *command, const cli_option *options, const char *arg)
{
    const char *near = cli_nearest(arg + strspn(arg, "-"), option_name, options);
    cli_usage("%s has no option \"%s\"%s%s%s; `soma %s --help` lists them", command->name, arg,
              near ? " (did you mean \"--" : "", near ? near : "", near ? "\"?)" : "", command->name);
    return false;
}

/* One argument that begins with "-"; *i moves past its value. */
static bool parse_option(const cli_command *command, const cli_option *options, int argc, char **argv, int *i)
{
    const char *arg = argv[*i], *equal = strchr(arg, '=');
    if (arg[1] != '-')
        return unknown_option(command, options, arg);
    size_t length = equal ? (size_t)(equal - arg) - 2 : strlen(arg) - 2;
    const cli_option *o = options;
    while (o->name && (strlen(o->name) != length || strncmp(o->name, arg + 2, length)))
        o++;
    if (!o->name)
        return unknown_option(command, options, arg);
    if (o->type == CLI_FLAG) {
        if (equal)
            return cli_usage("--%s takes no value", o->name) == 0;
        *(bool *)o->out = true;
        return true;
    }
    if (equal)
        return set(o, equal + 1);
    if (*i + 1 >= argc)
        return cli_usage("--%s takes a value: --%s %s", o->name, o->name, o->arg ? o->arg : "VALUE") == 0;
    return set(o, argv[++*i]);
}

/* How many bytes the dashes take that text programs make of "--": en dashes, em dashes, minus signs; 0: there are
 * none. */
static size_t long_dash(const char *text)
{
    size_t n = 0;
    while (!strncmp(text + n, "\u2013", 3) || !strncmp(text + n, "\u2014", 3) || !strncmp(text + n, "\u2212", 3))
        n += 3;
    return n;
}

int cli_parse(const cli_command *command, const cli_option *options, int argc, char **argv, const char **positional,
              int least, int most)
{
    int n = 0;
    bool only_names = false; /* behind "--" */
    for (int i = 0; i < argc; i++) {
        if (!only_names && (!strcmp(argv[i], "--help") || !strcmp(argv[i], "-h"))) {
            help(command, options);
            return -2;
        }
        if (!only_names && !strcmp(argv[i], "--")) {
            only_names = true;
        } else if (!only_names && argv[i][0] == '-' && argv[i][1]) {
            if (!parse_option(command, options, argc, argv, &i))
                return -1;
        } else if (n < most) {
            positional[n++] = argv[i];
        } else {
            size_t dash = only_names ? 0 : long_dash(argv[i]);
            if (dash)
                cli_usage("\"%s\" begins with a long dash, as text programs make of two hyphens; options begin with "
                          "--, as in --%s",
                          argv[i], argv[i] + dash);
            else
                cli_usage("%s: \"%s\" is one argument too many; usage: soma %s %s [OPTIONS]", command->name, argv[i],
                          command->name, command->arguments);
            return -1;
        }
    }
    if (n < least) {
        const char *word = command->arguments;
        for (int i = 0; i < n && strchr(word, ' '); i++)
            word = strchr(word, ' ') + 1;
        cli_usage("%s: %.*s is missing; usage: soma %s %s [OPTIONS]", command->name, (int)strcspn(word, " "), word,
                  command->name, command->arguments);
        return -1;
    }
    return n;
}

static void log_to_stderr(void *user, soma_log_level level, const char *text)
{
    const cli_common *common = user;
    if (level == SOMA_LOG_WARNING)
        cli_warning(text);
    else if (!common->quiet)
        cli_note("%s", text);
}

/* $XDG_CACHE_HOME/soma/kernels or ~/.cache/soma/kernels, its folder made; without a home there is no cache. */
static void open_cache(soma *s, const cli_common *common)
{
    char path[1024];
    const char *base = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
    bool named = base && base[0] == '/'; /* the standard wants others ignored */
    if (common->tune_cache) {
        soma_tune_cache_open(s, common->tune_cache);
        return;
    }
    if (!named && (!home || home[0] != '/'))
        return;
    int n = snprintf(path, sizeof path, "%s%s/soma/kernels", named ? base : home, named ? "" : "/.cache");
    if (n >= (int)sizeof path) {
        cli_warning(
            "timed kernels are not kept: the path of the user's cache is too long; name a file with --tune-cache");
        return;
    }
    for (char *slash = strchr(path + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = 0;
        mkdir(path, 0777);
        *slash = '/';
    }
    soma_tune_cache_open(s, path);
}

/* Adds folder/below to a list with colons between its entries; nothing where there is no folder. */
static void add_folder(char **list, const char *folder, const char *below)
{
    if (!folder || !folder[0])
        return;
    size_t used = *list ? strlen(*list) : 0, size = used + strlen(folder) + strlen(below) + 2;
    char *longer = realloc(*list, size);
    if (!longer)
        return;
    snprintf(longer + used, size - used, "%s%s%s", used ? ":" : "", folder, below);
    *list = longer;
}

/* Where data sets are looked for by name: --data-path, $SOMA_DATA, the user's cache, the system's folder. To be freed.
 * */
static char *data_path(const cli_common *common)
{
    char *list = NULL;
    const char *cache = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
    bool named = cache && cache[0] == '/'; /* the standard wants others ignored */
    add_folder(&list, common->data_path, "");
    add_folder(&list, getenv("SOMA_DATA"), "");
    add_folder(&list, named ? cache : home, named ? "/soma" : "/.cache/soma");
    add_folder(&list, SOMA_DATA_PATH, "");
    return list;
}

/* What the library's fields are called here, for its errors. */
static const char *option_of(void *user, const char *field)
{
    static const struct {
        const char *field, *option;
    } names[] = {{"batch_size", "--batch-size"},
                 {"crop", "--center-crop"},
                 {"deviation", "--std"},
                 {"epochs", "--epochs"},
                 {"limit", "--limit"},
                 {"loss", "--loss"},
                 {"lr", "--lr"},
                 {"max_memory", "--max-memory"},
                 {"max_steps", "--max-steps"},
                 {"mean", "--mean"},
                 {"micro_batch", "--micro-batch"},
                 {"momentum", "--momentum"},
                 {"new_head", "--new-head"},
                 {"partial", "--partial"},
                 {"peak_lr", "--peak-lr"},
                 {"precision", "--precision"},
                 {"random_crop", "--random-crop"},
                 {"random_resized_crop", "--random-resized-crop"},
                 {"resize", "--resize"},
                 {"scale", "--scale"},
                 {"skip_broken", "--skip-broken"},
                 {"split", "--split"},
                 {"split_order", "--split-order"},
                 {"threads", "--threads"},
                 {"validation_split", "--validation-split"},
                 {"weight_decay", "--weight-decay"}};
    (void)user;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (!strcmp(names[i].field, field))
            return names[i].option;
    return NULL;
}

soma *cli_open(const cli_common *common)
{
    char *path = data_path(common);
    const char *threads = getenv("SOMA_NUM_THREADS");
    soma_context_options o = {.struct_size = sizeof o,
                              .seed = (uint64_t)common->seed,
                              .threads = (int)common->threads,
                              .exact = common->exact,
                              .tune = common->tune,
                              .log = log_to_stderr,
                              .data_path = path,
                              .log_user = (void *)(uintptr_t)common,
                              .field_name = option_of};
    if (!o.threads && threads)
        o.threads = atoi(threads);
    soma *s = soma_open(&o);
    free(path);
    if (s && !soma_failed(s) && common->tune)
        open_cache(s, common);
    return s;
}
