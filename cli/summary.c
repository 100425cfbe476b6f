/* SPDX-License-Identifier: Apache-2.0
 *
 * cli/summary.c: `soma summary`: the layers of a model.
 */
#include "cli.h"

#include <stdio.h>
#include <string.h>

static const cli_command command = {"summary", "MODEL", "Layers, output shapes, parameters and FLOPs of a model.",
                                    cli_summary};

static const char *flops(double n, char text[32])
{
    if (n >= 1e9)
        snprintf(text, 32, "%.2f G", n / 1e9);
    else if (n >= 1e6)
        snprintf(text, 32, "%.2f M", n / 1e6);
    else if (n >= 1e3)
        snprintf(text, 32, "%.2f k", n / 1e3);
    else
        snprintf(text, 32, "%.0f", n);
    return text;
}

static void print_table(const soma_model *m)
{
    char shape[96], count[32], number[32];
    int64_t total = 0, trainable = 0, buffers = 0;
    double work = 0;
    soma_type in = soma_value_type(soma_model_input(m, 0));
    printf("model \"%s\"\n\n%-32s %-22s %12s %12s\n", soma_model_name(m), "layer (op)", "output shape", "parameters",
           "FLOPs");
    printf("%-32s %-22s %12s %12s\n", "input", cli_shape_text(&in, shape), "0", "0");
    for (int i = 0; i < soma_model_nodes(m); i++) {
        soma_model_node n = soma_model_node_at(m, i);
        int used = printf("%s (%s)", n.layer, n.op);
        printf("%*s %-22s %12s %12s\n", used < 32 ? 32 - used : 0, "", cli_shape_text(&n.output, shape),
               cli_count(n.parameters, count), flops(n.flops, number));
        total += n.parameters;
        trainable += n.trainable;
        buffers += n.buffers;
        work += n.flops;
    }
    printf("\ntotal parameters      %s (%.2f MB)\n", cli_count(total, count), (double)total * 4 / 1e6);
    printf("trainable parameters  %s\n", cli_count(trainable, count));
    printf("frozen parameters     %s\n", cli_count(total - trainable, count));
    if (buffers)
        printf("running statistics    %s\n", cli_count(buffers, count));
    printf("FLOPs per sample      %s\n", flops(work, number));
}

static void print_shape(const char *before, soma_shape shape)
{
    printf("%s", before);
    for (int d = 0; d < shape.rank; d++)
        printf("%s%lld", d ? ", " : "", (long long)shape.dim[d]);
    printf("]");
}

static void print_json(const soma_model *m)
{
    printf("{\"model\": ");
    cli_json_text(soma_model_name(m));
    print_shape(", \"input\": [", soma_value_type(soma_model_input(m, 0)).shape);
    printf(", \"layers\": [");
    int64_t total = 0, trainable = 0, buffers = 0;
    double work = 0;
    for (int i = 0; i < soma_model_nodes(m); i++) {
        soma_model_node n = soma_model_node_at(m, i);
        printf("%s{\"layer\": ", i ? ", " : "");
        cli_json_text(n.layer);
        printf(", \"op\": ");
        cli_json_text(n.op);
        print_shape(", \"shape\": [", n.output.shape);
        printf(", \"parameters\": %lld, \"flops\": %.0f}", (long long)n.parameters, n.flops);
        total += n.parameters;
        trainable += n.trainable;
        buffers += n.buffers;
        work += n.flops;
    }
    printf("], \"parameters\": %lld, \"trainable\": %lld, \"running_statistics\": %lld, \"flops\": %.0f}\n",
           (long long)total, (long long)trainable, (long long)buffers, work);
}

int cli_summary(int argc, char **argv)
{
    cli_common common = {0};
    cli_build build = {0};
    const cli_option options[] = {
        CLI_BUILD(build),
        CLI_OUTPUT(common),
        {NULL, CLI_FLAG, NULL, NULL, NULL, 1, 0},
    };
    const char *name;
    int n = cli_parse(&command, options, argc, argv, &name, 1, 1), code;
    if (n < 0)
        return n == -2 ? 0 : EXIT_USAGE;
    soma *s = cli_open(&common);
    if (!s || soma_failed(s))
        return cli_failed(s);
    cli_model found;
    if (cli_find_model(s, name, &build, &found, &code)) {
        common.json ? print_json(found.model) : print_table(found.model);
        code = 0;
    }
    soma_close(s);
    return code;
}
