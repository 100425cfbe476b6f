/* SPDX-License-Identifier: Apache-2.0
 *
 * cli/output.c: numbers, shapes and JSON as the commands print them.
 */
#include "cli.h"

#include <math.h>
#include <stdio.h>
#include <sys/stat.h>

/* Bytes of the UTF-8 character that begins here; 0: none does (RFC 3629). */
static int utf8_length(const unsigned char *c)
{
    if (*c < 0x80)
        return 1;
    int n = *c >= 0xc2 && *c < 0xe0 ? 2 : *c >= 0xe0 && *c < 0xf0 ? 3 : *c >= 0xf0 && *c < 0xf5 ? 4 : 0;
    for (int i = 1; i < n; i++)
        if ((c[i] & 0xc0) != 0x80) /* stops at the text's end, too */
            return 0;
    bool overlong = (*c == 0xe0 && c[1] < 0xa0) || (*c == 0xf0 && c[1] < 0x90);
    bool outside = (*c == 0xed && c[1] >= 0xa0) || (*c == 0xf4 && c[1] >= 0x90);
    return n && (overlong || outside) ? 0 : n;
}

/* Names of files may hold any bytes; those that are no UTF-8 become U+FFFD, as JSON has no way to write them. */
void cli_json_text(const char *text)
{
    putchar('"');
    for (const unsigned char *c = (const unsigned char *)text; *c;) {
        int n = utf8_length(c);
        if (!n)
            printf("\\ufffd");
        else if (*c == '"' || *c == '\\')
            printf("\\%c", *c);
        else if (*c < 0x20)
            printf("\\u%04x", *c);
        else
            fwrite(c, 1, (size_t)n, stdout);
        c += n ? n : 1;
    }
    putchar('"');
}

void cli_text(FILE *out, const char *text)
{
    for (const unsigned char *c = (const unsigned char *)text; *c; c++) {
        if (*c == '\n')
            fputs("\\n", out);
        else if (*c < 0x20 || *c == 0x7f)
            fprintf(out, "\\x%02x", *c);
        else if (*c == 0xc2 && c[1] >= 0x80 && c[1] < 0xa0) /* U+0080 to U+009F move it, too */
            fprintf(out, "\\x%02x", *++c);
        else
            fputc(*c, out);
    }
}

const char *cli_many(int64_t n, const char *one, const char *more, char text[48])
{
    char digits[32];
    snprintf(text, 48, "%s %s", cli_count(n, digits), n == 1 ? one : more);
    return text;
}

const char *cli_free_name(const char *stem, char path[1024])
{
    struct stat st;
    for (int i = 1; i < 100000; i++) {
        int n = i == 1 ? snprintf(path, 1024, "%s.safetensors", stem)
                       : snprintf(path, 1024, "%s-%d.safetensors", stem, i);
        if (n >= 1024 || lstat(path, &st)) /* too long: whoever writes it says so */
            break;
    }
    return path;
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
