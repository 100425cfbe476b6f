/* SPDX-License-Identifier: Apache-2.0
 *
 * cli/ops.c: `soma ops`: the ops from their own declarations.
 */
#include "cli.h"

#include <stdio.h>
#include <string.h>

static const cli_command command = {"ops", "[OP]", "Lists the ops, or explains one: formula, attributes, kernels.",
                                    cli_ops};

static void print_field(const soma_field *f)
{
    static const char *const types[] = {"whole number", "number", "true/false", "one of", "whole numbers", "shape"};
    printf("  %-14s %s", f->name, types[f->type]);
    for (int i = 0; f->type == SOMA_FIELD_ENUM && f->choices[i]; i++)
        printf("%s%s", i ? " | " : " ", f->choices[i]);
    if (f->type == SOMA_FIELD_INTS)
        printf(" (%d)", f->count);
    if (f->type == SOMA_FIELD_ENUM)
        printf(", default %s", f->choices[(int)f->preset]);
    else if (f->type != SOMA_FIELD_SHAPE)
        printf(", default %.15g", f->preset);
    if (f->min <= f->max && f->type != SOMA_FIELD_ENUM && f->type != SOMA_FIELD_SHAPE)
        printf(", %.15g to %.15g", f->min, f->max);
    printf("\n                 %s\n", f->doc ? f->doc : "");
}

static void print_op(const soma_op *op)
{
    printf("%s\n  %s\n", op->name, op->doc);
    if (op->onnx)
        printf("  ONNX: %s\n", op->onnx);
    if (op->required_in < 0)
        printf("  inputs: any number\n");
    else
        printf("  inputs: %d%s\n", op->required_in, op->optional_in ? " and optional ones" : "");
    printf("  outputs: %d%s\n  gradient: %s\n", op->required_out, op->optional_out ? " and optional ones" : "",
           op->grad ? "yes" : "no");
    printf("  kernels, best first:");
    const char *last = "";
    for (int i = 0; op->kernels[i]; i++) {
        if (strcmp(last, op->kernels[i]->name))
            printf(" %s", op->kernels[i]->name);
        last = op->kernels[i]->name;
    }
    printf("\n");
    if (op->fields && op->fields->name)
        printf("attributes:\n");
    for (const soma_field *f = op->fields; f && f->name; f++)
        print_field(f);
}

static void print_json(const soma_op *op)
{
    static const char *const types[] = {"int", "float", "bool", "enum", "ints", "shape"};
    printf("{\"op\": ");
    cli_json_text(op->name);
    printf(", \"doc\": ");
    cli_json_text(op->doc);
    printf(", \"onnx\": ");
    op->onnx ? cli_json_text(op->onnx) : (void)printf("null");
    printf(", \"gradient\": %s, \"attributes\": [", op->grad ? "true" : "false");
    for (const soma_field *f = op->fields; f && f->name; f++) {
        printf("%s{\"name\": ", f == op->fields ? "" : ", ");
        cli_json_text(f->name);
        printf(", \"type\": \"%s\", \"doc\": ", types[f->type]);
        cli_json_text(f->doc ? f->doc : "");
        printf("}");
    }
    printf("], \"kernels\": [");
    const char *last = "";
    for (int i = 0; op->kernels[i]; i++) {
        if (!strcmp(last, op->kernels[i]->name))
            continue; /* the same one for other instruction sets */
        printf("%s", i ? ", " : "");
        last = op->kernels[i]->name;
        cli_json_text(last);
    }
    printf("]}");
}

static void print_list(bool json)
{
    for (int i = 0; soma_op_at(i); i++) {
        const soma_op *op = soma_op_at(i);
        if (json) {
            printf("%s", i ? ",\n " : "[");
            print_json(op);
        } else {
            printf("%-28s %.88s%s\n", op->name, op->doc, strlen(op->doc) > 88 ? "..." : "");
        }
    }
    if (json)
        printf("]\n");
}

static const char *op_name(const void *list, int i)
{
    (void)list;
    return soma_op_at(i) ? soma_op_at(i)->name : NULL;
}

int cli_ops(int argc, char **argv)
{
    cli_common common = {0};
    const cli_option options[] = {CLI_OUTPUT(common), {NULL, CLI_FLAG, NULL, NULL, NULL, 1, 0}};
    const char *name = NULL;
    int n = cli_parse(&command, options, argc, argv, &name, 0, 1);
    if (n < 0)
        return n == -2 ? 0 : EXIT_USAGE;
    if (n == 0) {
        print_list(common.json);
        return 0;
    }
    const soma_op *op = soma_op_find(name);
    if (op) {
        common.json ? print_json(op) : print_op(op);
        printf("%s", common.json ? "\n" : "");
        return 0;
    }
    const char *near = cli_nearest(name, op_name, NULL);
    return cli_usage("there is no op \"%s\"%s%s%s; `soma ops` lists them", name, near ? " (did you mean \"" : "",
                     near ? near : "", near ? "\"?)" : "");
}
