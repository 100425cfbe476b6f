/* SPDX-License-Identifier: Apache-2.0
 *
 * cli/output.c: numbers, shapes and JSON as the commands print them.
 */
#include "cli.h"

#include <math.h>
#include <stdio.h>

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
