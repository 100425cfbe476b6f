/* SPDX-License-Identifier: Apache-2.0
 *
 * cli/kinds.c: `soma layers`, `soma ops` and so on: what soma knows by name, from its own declarations. One command
 * for each list of soma/catalogue.h.
 */
#include "cli.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define COLUMNS 79

/* ---- as text ---- */

/* Words from column `indent` on, within a line; a line is begun already. */
static void print_words(const char *text, int indent)
{
    int column = indent;
    for (const char *at = text; *at; at += strspn(at, " \n")) {
        int n = (int)strcspn(at, " \n");
        bool fits = column + 1 + n <= COLUMNS;
        if (at != text)
            column = fits ? column + printf(" ") : (printf("\n%*s", indent, ""), indent);
        column += printf("%.*s", n, at);
        at += n;
    }
    printf("\n");
}

/* Names of kernels come once for each instruction set. */
static bool is_first(const soma_op *op, int kernel)
{
    for (int i = 0; i < kernel; i++)
        if (!strcmp(op->kernels[i]->name, op->kernels[kernel]->name))
            return false;
    return true;
}

static void print_field(const soma_field *f)
{
    char type[96], range[96], preset[96], text[512];
    int n = snprintf(text, sizeof text, "%s", soma_field_type_words(f, type));
    if (f->choices) {
        n = 0;
        for (int i = 0; f->choices[i] && n < 300; i++)
            n += snprintf(text + n, sizeof text - (size_t)n, "%s%s", i ? " | " : "", f->choices[i]);
    }
    if (soma_field_range(f, range)[0])
        n += snprintf(text + n, sizeof text - (size_t)n, ", %s", range);
    if (f->flags & SOMA_FIELD_REQUIRED)
        snprintf(text + n, sizeof text - (size_t)n, ", required");
    else if (soma_field_preset(f, preset)[0])
        snprintf(text + n, sizeof text - (size_t)n, ", default %s", preset);
    int left = printf("  %-16s ", f->name);
    print_words(text, left);
    if (f->aliases) {
        printf("%19sor ", "");
        print_words(f->aliases, 22);
    }
    printf("%19s", "");
    print_words(f->doc ? f->doc : "", 19);
}

/* What ops have beside the rest. */
static void print_op(const soma_op *op)
{
    if (op->onnx)
        printf("  ONNX: %s\n", op->onnx);
    if (op->required_in < 0)
        printf("  inputs: any number\n");
    else
        printf("  inputs: %d%s\n", op->required_in, op->optional_in ? " and optional ones" : "");
    printf("  outputs: %d%s\n  gradient: %s\n  kernels, best first:", op->required_out,
           op->optional_out ? " and optional ones" : "", op->grad ? "yes" : "no");
    for (int i = 0; op->kernels[i]; i++)
        if (is_first(op, i))
            printf(" %s", op->kernels[i]->name);
    printf("\n");
}

static void print_kind(const soma_kinds *list, const soma_kind *kind)
{
    const soma_op *op = strcmp(list->one, "op") ? NULL : soma_op_find(kind->name);
    printf("%s\n  ", kind->name);
    print_words(kind->doc ? kind->doc : "", 2);
    if (kind->aliases)
        printf("  also called: %s\n", kind->aliases);
    if (op)
        print_op(op);
    if (kind->fields && kind->fields->name)
        printf("%s:\n", op ? "attributes" : "options");
    for (const soma_field *f = kind->fields; f && f->name; f++)
        print_field(f);
}

/* ---- as JSON ---- */

/* ", "KEY": TEXT", or null. */
static void json_member(const char *key, const char *text)
{
    printf(", \"%s\": ", key);
    text ? cli_json_text(text) : (void)printf("null");
}

/* Words that are apart by blanks, as a list. */
static void json_words(const char *key, const char *words)
{
    printf(", \"%s\": [", key);
    for (const char *at = words ? words : ""; *at;) {
        int n = (int)strcspn(at, " ");
        printf("%s\"%.*s\"", at == words ? "" : ", ", n, at);
        at += n;
        at += strspn(at, " ");
    }
    printf("]");
}

static void json_default(const soma_field *f)
{
    char text[96];
    bool said = soma_field_preset(f, text)[0] && !(f->flags & SOMA_FIELD_REQUIRED);
    bool word = f->type == SOMA_FIELD_ENUM || f->type == SOMA_FIELD_TEXT || f->type == SOMA_FIELD_KIND;
    printf(", \"default\": ");
    if (!said || (!word && f->type != SOMA_FIELD_BOOL && !isfinite(f->preset)))
        printf("null");
    else
        word ? cli_json_text(text) : (void)printf("%s", text);
}

static void json_field(const soma_field *f)
{
    static const char *const types[] = {"int",   "float",  "bool", "enum", "ints",
                                        "shape", "floats", "text", "kind", "other"};
    char range[96];
    bool ranged = soma_field_range(f, range)[0];
    printf("{\"name\": ");
    cli_json_text(f->name);
    printf(", \"type\": \"%s\", \"count\": %d", types[f->type],
           f->type == SOMA_FIELD_INTS || f->type == SOMA_FIELD_FLOATS ? f->count : 1);
    json_words("aliases", f->aliases);
    printf(", \"required\": %s", f->flags & SOMA_FIELD_REQUIRED ? "true" : "false");
    json_default(f);
    json_member("range", ranged ? range : NULL);
    printf(", \"min\": ");
    cli_json_number(ranged ? f->min : (double)NAN);
    printf(", \"max\": ");
    cli_json_number(ranged ? f->max : (double)NAN);
    printf(", \"choices\": [");
    for (int i = 0; f->choices && f->choices[i]; i++) {
        printf("%s", i ? ", " : "");
        cli_json_text(f->choices[i]);
    }
    printf("]");
    json_member("kinds", f->type == SOMA_FIELD_KIND && f->kinds ? f->kinds->many : NULL);
    json_member("doc", f->doc ? f->doc : "");
    printf("}");
}

static void json_op(const soma_op *op)
{
    json_member("onnx", op->onnx);
    printf(", \"gradient\": %s, \"kernels\": [", op->grad ? "true" : "false");
    for (int i = 0; op->kernels[i]; i++) {
        if (!is_first(op, i))
            continue;
        printf("%s", i ? ", " : "");
        cli_json_text(op->kernels[i]->name);
    }
    printf("]");
}

static void json_kind(const soma_kinds *list, const soma_kind *kind)
{
    printf("{\"sort\": \"%s\"", list->one);
    json_member("name", kind->name);
    json_words("aliases", kind->aliases);
    json_member("doc", kind->doc ? kind->doc : "");
    printf(", \"options\": [");
    for (const soma_field *f = kind->fields; f && f->name; f++) {
        printf("%s", f == kind->fields ? "" : ",\n   ");
        json_field(f);
    }
    printf("]");
    if (!strcmp(list->one, "op"))
        json_op(soma_op_find(kind->name));
    printf("}");
}

/* ---- the command ---- */

static void print_list(const soma_kinds *list, bool json)
{
    int width = 12;
    for (const soma_kind *const *row = list->rows; *row; row++)
        width = (int)strlen((*row)->name) > width ? (int)strlen((*row)->name) : width;
    for (const soma_kind *const *row = list->rows; *row; row++) {
        const char *doc = (*row)->doc ? (*row)->doc : "";
        int room = 118 - width;
        if (json) {
            printf("%s", row == list->rows ? "[" : ",\n ");
            json_kind(list, *row);
        } else if ((int)strlen(doc) <= room) {
            printf("%-*s  %s\n", width, (*row)->name, doc);
        } else {
            printf("%-*s  %.*s...\n", width, (*row)->name, room - 3, doc);
        }
    }
    if (json)
        printf("]\n");
}

int cli_kinds(const soma_kinds *list, int argc, char **argv)
{
    char doc[96];
    cli_command command = {list->many, "[NAME]", doc, NULL};
    cli_common common = {0};
    const cli_option options[] = {CLI_OUTPUT(common), {NULL, CLI_FLAG, NULL, NULL, NULL, 1, 0}};
    const char *name = NULL;
    snprintf(doc, sizeof doc, "Lists the %s, or explains one with its %s.", list->many,
             strcmp(list->one, "op") ? "options" : "attributes and kernels");
    int n = cli_parse(&command, options, argc, argv, &name, 0, 1);
    if (n < 0)
        return n == -2 ? 0 : EXIT_USAGE;
    if (n == 0) {
        print_list(list, common.json);
        return 0;
    }
    const soma_kind *kind = soma_kind_find(list, name);
    if (kind) {
        common.json ? json_kind(list, kind) : print_kind(list, kind);
        printf("%s", common.json ? "\n" : "");
        return 0;
    }
    const char *near = soma_kind_nearest(list, name);
    return cli_usage("there is no %s \"%s\"%s%s%s; `soma %s` lists them", list->one, name,
                     near ? " (did you mean \"" : "", near ? near : "", near ? "\"?)" : "", list->many);
}
