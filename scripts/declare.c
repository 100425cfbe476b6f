/* SPDX-License-Identifier: Apache-2.0
 *
 * scripts/declare.c: makes C of the lists in which kinds are declared (src/nn/layers.list and its like). It runs while
 * the build is configured, on the machine that builds.
 *
 *     declare layers header   the public header: an option struct, a function and a macro for each row
 *     declare layers table    what src/nn/layers.c includes: fields, rows, and the functions that resolve options
 *
 * A row is SORT(name, ..., "doc", fields); a field is one of the macros below. One sort more is one entry of `sorts`.
 */
#include <ctype.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

/* ---- rows of the lists as data ---- */

typedef struct field {
    const char *type, *name, *count, *preset, *range, *doc, *more;
} field;

typedef struct row {
    const char *name, *more, *doc;
    const field *fields;
    const char *stem;  /* what names in C begin with */
    const char *first; /* members between those of the sort and the fields; "" */
} row;

#define INT(f, preset, range, doc, ...) {"INT", #f, "", #preset, #range, doc, #__VA_ARGS__},
#define INTS(f, n, preset, range, doc, ...) {"INTS", #f, #n, #preset, #range, doc, #__VA_ARGS__},
#define FLOAT(f, preset, range, doc, ...) {"FLOAT", #f, "", #preset, #range, doc, #__VA_ARGS__},
#define FLOATS(f, n, preset, range, doc, ...) {"FLOATS", #f, #n, #preset, #range, doc, #__VA_ARGS__},
#define BOOL(f, doc, ...) {"BOOL", #f, "", "", "", doc, #__VA_ARGS__},
#define TEXT(f, preset, doc, ...) {"TEXT", #f, "", #preset, "", doc, #__VA_ARGS__},
#define KIND(f, list, preset, doc, ...) {"KIND", #f, #list, #preset, "", doc, #__VA_ARGS__},
#define SIZES(f, doc, ...) {"SIZES", #f, "", "", "", doc, #__VA_ARGS__},
#define OTHER(type, f, doc, ...) {"OTHER", #f, #type, "", "", doc, #__VA_ARGS__},
#define FIELDS(...)                                                                                                    \
    (const field[])                                                                                                    \
    {                                                                                                                  \
        __VA_ARGS__                                                                                                    \
        {                                                                                                              \
            0                                                                                                          \
        }                                                                                                              \
    }

#define LAYER(name, automatic, doc, ...) {#name, #automatic, doc, FIELDS(__VA_ARGS__), "soma_", ""},
#define JOIN(name, doc, ...) {#name, "NULL", doc, FIELDS(__VA_ARGS__), "soma_layer_", MORE},
#define MORE                                                                                                           \
    "    const soma_value *more; /**< the other values: at least one */\n    int64_t n_more;         /**< how many "   \
    "*/\n"
static const row layers[] = {
#include "nn/layers.list"
    {0}};

/* ---- sorts of kinds ---- */

typedef struct sort {
    const char *list;    /* "layers" */
    const char *file;    /* of the list, for the head of what is made */
    const char *header;  /* "layers.h": public, in <soma/...> */
    const char *needs;   /* header that it includes */
    const char *returns; /* type of the public function */
    const char *first;   /* members before the fields; "" */
    const char *lead;    /* what the macro writes before its arguments: ".x = " */
    const row *rows;
} sort;

static const sort sorts[] = {
    {"layers", "src/nn/layers.list", "layers.h", "soma/ops.h", "soma_value",
     "    soma_value x; /**< what it computes from */\n", ".x = ", layers},
};

/* ---- text ---- */

/* Text of a comment, wrapped at 118 columns behind `indent`. */
static void comment(const char *text, const char *indent)
{
    size_t column = strlen(indent) + 4, start = column;
    printf("%s/** ", indent);
    for (const char *at = text; *at;) {
        size_t n = strcspn(at, " \n");
        if (column > start && column + 1 + n > 115) {
            printf("\n%s *  ", indent);
            column = start;
        } else if (column > start) {
            putchar(' ');
            column++;
        }
        printf("%.*s", (int)n, at);
        column += n;
        at += n;
        at += strspn(at, " \n");
    }
    printf(" */\n");
}

static void quoted(const char *text)
{
    putchar('"');
    for (; *text; text++) {
        if (*text == '\n') {
            printf("\\n");
            continue;
        }
        if (*text == '"' || *text == '\\')
            putchar('\\');
        putchar(*text);
    }
    putchar('"');
}

/* "AT_LEAST(0)" in words, as C comments tell it. */
static void range_words(const char *range, char *text, size_t size)
{
    static const struct {
        const char *macro, *words;
    } known[] = {{"ANY", ""},
                 {"AT_LEAST", "at least %s"},
                 {"ABOVE", "greater than %s"},
                 {"BETWEEN", "%s to %s"},
                 {"BELOW", "at least %s and below %s"},
                 {"INSIDE", "greater than %s and below %s"},
                 {"REQUIRED", "required"}};
    char low[64] = "", high[64] = "";
    text[0] = 0;
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        size_t n = strlen(known[i].macro);
        if (strncmp(range, known[i].macro, n) || isalnum((unsigned char)range[n]) || range[n] == '_')
            continue;
        if (sscanf(range + n, "( %63[^,) ] , %63[^,) ]", low, high) < 0)
            low[0] = 0;
        snprintf(text, size, known[i].words, low, high);
    }
}

/* ---- the header ---- */

static void member(const field *f)
{
    char text[2048], range[160];
    const char *dot = f->doc[0] && strchr(".)", f->doc[strlen(f->doc) - 1]) ? "" : "";
    range_words(f->range, range, sizeof range);
    int n = snprintf(text, sizeof text, "%s%s", f->doc, dot);
    if (range[0])
        n += snprintf(text + n, sizeof text - (size_t)n, "; %s", range);
    bool left_open = !strcmp(f->preset, "NULL") || !strcmp(f->preset, "UNSAID") || !strcmp(f->preset, "DERIVED");
    if (f->preset[0] && !left_open && strncmp(range, "required", 8))
        snprintf(text + n, sizeof text - (size_t)n, "; default %s", f->preset);
    comment(text, "    ");
    if (!strcmp(f->type, "INT"))
        printf("    int64_t %s;\n", f->name);
    else if (!strcmp(f->type, "INTS"))
        printf("    int64_t %s[%s];\n", f->name, f->count);
    else if (!strcmp(f->type, "FLOAT"))
        printf("    double %s;\n", f->name);
    else if (!strcmp(f->type, "FLOATS"))
        printf("    double %s[%s];\n", f->name, f->count);
    else if (!strcmp(f->type, "BOOL"))
        printf("    bool %s;\n", f->name);
    else if (!strcmp(f->type, "SIZES"))
        printf("    soma_shape %s;\n", f->name);
    else if (!strcmp(f->type, "OTHER"))
        printf("    %s %s;\n", f->count, f->name);
    else
        printf("    const char *%s;\n", f->name);
}

static void header(const sort *s)
{
    char guard[64] = "";
    for (size_t i = 0; s->list[i] && i < sizeof guard - 1; i++)
        guard[i] = (char)toupper((unsigned char)s->list[i]);
    printf("/* SPDX-License-Identifier: Apache-2.0\n *\n * soma/%s: %s, made from %s while soma is built.\n */\n"
           "#ifndef SOMA_%s_H\n#define SOMA_%s_H\n\n#include <%s>\n\n#ifdef __cplusplus\nextern \"C\" {\n#endif\n",
           s->header, s->list, s->file, guard, guard, s->needs);
    for (const row *r = s->rows; r->name; r++) {
        printf("\ntypedef struct %s%s_options {\n    size_t struct_size;\n    soma_at at;\n%s%s", r->stem, r->name,
               s->first, r->first);
        for (const field *f = r->fields; f->name; f++)
            member(f);
        printf("} %s%s_options;\n", r->stem, r->name);
        comment(r->doc, "");
        printf("SOMA_API %s %s%s_with(const %s%s_options *o);\n", s->returns, r->stem, r->name, r->stem, r->name);
        printf("#define %s%s(...) %s%s_with(SOMA_OPTIONS(%s%s_options, %s__VA_ARGS__))\n", r->stem, r->name, r->stem,
               r->name, r->stem, r->name, s->lead);
    }
    printf("\n#ifdef __cplusplus\n}\n#endif\n#endif\n");
}

/* ---- the table ---- */

static void table_field(const row *r, const field *f)
{
    printf("    SOMA_%s(%s%s_options, %s, ", f->type, r->stem, r->name, f->name);
    if (!strcmp(f->type, "KIND"))
        printf("&%s, ", f->count);
    if (f->preset[0])
        printf("%s, ", f->preset);
    if (f->range[0])
        printf("%s, ", f->range);
    printf(".doc = ");
    quoted(f->doc);
    printf("%s%s),\n", f->more[0] ? ", " : "", f->more);
}

/* SOMA_LAYERS_ROW(name, more, doc) is what includes the table, once for each row, and SOMA_LAYERS_NAMES(X) the list. */
static void table(const sort *s)
{
    printf("/* Made from %s. */\n", s->file);
    for (const row *r = s->rows; r->name; r++) {
        printf("static const soma_field %s_fields[] = {\n", r->name);
        for (const field *f = r->fields; f->name; f++)
            table_field(r, f);
        printf("    SOMA_FIELDS_END};\nDECLARED(%s, %s%s, %s, %s, ", r->name, r->stem, r->name, r->more,
               r->first[0] ? "true" : "false");
        quoted(r->doc);
        printf(")\n");
    }
    printf("#define ALL_DECLARED(X)");
    for (const row *r = s->rows; r->name; r++)
        printf(" X(%s)", r->name);
    printf("\n");
}

int main(int argc, char **argv)
{
    for (size_t i = 0; argc == 3 && i < sizeof sorts / sizeof *sorts; i++)
        if (!strcmp(sorts[i].list, argv[1])) {
            if (!strcmp(argv[2], "header"))
                header(&sorts[i]);
            else
                table(&sorts[i]);
            return fflush(stdout) || ferror(stdout) ? 1 : 0;
        }
    fprintf(stderr, "usage: declare LIST header|table\n");
    return 2;
}
