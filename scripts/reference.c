/* SPDX-License-Identifier: Apache-2.0
 *
 * scripts/reference.c: writes the reference pages: one page for each sort of kinds and one for each kind, all of it
 * from the tables of the library that it is linked with (soma/catalogue.h). Plain HTML that needs nothing else.
 *
 *     soma_reference FOLDER     FOLDER exists; index.html, layers.html, layers/dense.html, ...
 */
#include <soma/soma.h>

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

/* ---- what the sorts have of their own ---- */

typedef struct sort {
    const char *many, *about;
    const char *form; /* how it is written, a line each: % is the name with required options, in its text form */
} sort;

/* A sort that is not here has the text form. */
static const sort sorts[] = {
    {"layers", "What networks are made of: a step with its named parameters.", NULL},
    {"activations", "Functions of one number, by name after a layer or as layers of their own.", NULL},
    {"optimizers", "How parameters follow their gradients.", "soma train MODEL --optimizer %"},
    {"losses", "What training makes small.", "soma train MODEL --loss %"},
    {"metrics", "Figures that evaluation and training tell beside the loss.", "soma train MODEL --metrics %"},
    {"schedules", "How the learning rate changes from update to update.", NULL},
    {"initialisers", "What parameters hold before the first update.", NULL},
    {"datasets", "Formats of data that are read by name.", NULL},
    {"ops", "The nodes of graphs: what layers, losses and optimizers are made of. Their options are called attributes.",
     NULL},
};

static const sort *sort_of(const char *many)
{
    for (size_t i = 0; i < sizeof sorts / sizeof *sorts; i++)
        if (!strcmp(sorts[i].many, many))
            return &sorts[i];
    return NULL;
}

/* ---- HTML ---- */

static const char style[] =
    ":root{color-scheme:light dark;--ink:#1d2430;--soft:#5a6472;--line:#dfe3e8;--back:#fff;--tint:#f5f7f9;"
    "--link:#1257a8}"
    "@media(prefers-color-scheme:dark){:root{--ink:#e4e8ee;--soft:#9aa5b4;--line:#333b46;--back:#14181e;"
    "--tint:#1d232b;--link:#7db7ff}}"
    "*{box-sizing:border-box}"
    "body{margin:0;background:var(--back);color:var(--ink);font:16px/1.55 system-ui,'DejaVu Sans',sans-serif}"
    "main,nav,footer{max-width:60rem;margin:0 auto;padding:0 1.25rem}"
    "nav{display:flex;flex-wrap:wrap;gap:.15rem 1rem;padding-top:1rem;padding-bottom:.7rem;"
    "border-bottom:1px solid var(--line)}"
    "nav b{font-weight:600}nav .here{color:var(--ink)}"
    "a{color:var(--link);text-decoration:none}a:hover{text-decoration:underline}"
    "h1{font-size:1.8rem;line-height:1.2;margin:1.6rem 0 .6rem}h2{font-size:1.15rem;margin:2rem 0 .5rem}"
    "p{margin:.5rem 0;max-width:46rem}.soft{color:var(--soft)}"
    "code,pre,h1 code{font-family:ui-monospace,'DejaVu Sans Mono',monospace;font-size:.92em}h1 code{font-size:1em}"
    "pre{background:var(--tint);border:1px solid var(--line);border-radius:6px;padding:.7rem .9rem;overflow:auto}"
    ".wide{overflow-x:auto}table{border-collapse:collapse;width:100%;font-size:.95rem}"
    "th,td{text-align:left;vertical-align:top;padding:.5rem .8rem .5rem 0;border-bottom:1px solid var(--line)}"
    "thead th{color:var(--soft);font-weight:500;font-size:.85rem}tbody th{font-weight:600;white-space:nowrap}"
    "td:last-child{padding-right:0;min-width:14rem}"
    "footer{color:var(--soft);font-size:.85rem;padding-top:2.5rem;padding-bottom:2rem}";

static void escaped(FILE *out, const char *text)
{
    for (; *text; text++)
        switch (*text) {
        case '<':
            fputs("&lt;", out);
            break;
        case '>':
            fputs("&gt;", out);
            break;
        case '&':
            fputs("&amp;", out);
            break;
        case '"':
            fputs("&quot;", out);
            break;
        default:
            fputc(*text, out);
        }
}

/* A page with its title and the sorts above; up: the way to the index, "" or "../". */
static FILE *page_open(const char *folder, const char *path, const char *title, const char *up, const char *here)
{
    char name[4096];
    snprintf(name, sizeof name, "%s/%s", folder, path);
    FILE *out = fopen(name, "w");
    if (!out) {
        fprintf(stderr, "soma_reference: %s cannot be written: %s\n", name, strerror(errno));
        return NULL;
    }
    fprintf(out, "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
                 "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>");
    escaped(out, title);
    fprintf(out, " - soma</title>\n<style>%s</style>\n</head>\n<body>\n<nav><a href=\"%sindex.html\"><b>soma</b></a>",
            style, up);
    for (int i = 0; soma_kinds_at(i); i++) {
        const char *many = soma_kinds_at(i)->many;
        fprintf(out, " <a%s href=\"%s%s.html\">%s</a>", strcmp(many, here) ? "" : " class=\"here\"", up, many, many);
    }
    fprintf(out, "</nav>\n<main>\n");
    return out;
}

static bool page_close(FILE *out)
{
    fprintf(out,
            "</main>\n<footer>soma %s. This page is made from the tables that the library itself reads.</footer>\n"
            "</body>\n</html>\n",
            soma_version());
    bool failed = ferror(out);
    if (fclose(out) || failed) {
        fprintf(stderr, "soma_reference: a page could not be written: %s\n", strerror(errno));
        return false;
    }
    return true;
}

/* ---- one kind ---- */

static bool is_op(const soma_kinds *list)
{
    return !strcmp(list->one, "op");
}

/* "dense:units=10": with options that must be given. */
static void text_form(const soma_kind *kind, char *text, size_t size)
{
    int n = snprintf(text, size, "%s", kind->name);
    char sign = ':';
    for (const soma_field *f = kind->fields; f && f->name; f++) {
        if (!(f->flags & SOMA_FIELD_REQUIRED) || n >= (int)size)
            continue;
        const char *example = f->example ? f->example : "1";
        n += snprintf(text + n, size - (size_t)n, "%c%s=", sign, f->name);
        for (sign = ','; *example && n < (int)size - 1; example++) /* {3, 3}: 3x3 */
            if (*example == ',')
                text[n++] = 'x';
            else if (!strchr("{ }", *example))
                text[n++] = *example;
        text[n] = 0;
    }
}

/* "soma_dense(x, .units = 10)" and "- dense: {units: 10}" */
static void layer_forms(FILE *out, const soma_kind *kind)
{
    bool any = false;
    fprintf(out, "in C              soma_%s(x", kind->name);
    for (const soma_field *f = kind->fields; f && f->name; f++)
        if (f->flags & SOMA_FIELD_REQUIRED)
            fprintf(out, ", .%s = %s", f->name, f->example ? f->example : "1");
    fprintf(out, ")\nin a description  - %s", kind->name);
    for (const soma_field *f = kind->fields; f && f->name; f++) {
        if (!(f->flags & SOMA_FIELD_REQUIRED))
            continue;
        const char *example = f->example ? f->example : "1";
        fprintf(out, "%s%s: ", any ? ", " : ": {", f->name);
        for (any = true; *example; example++)
            fputc(*example == '{' ? '[' : *example == '}' ? ']' : *example, out);
    }
    fprintf(out, "%s\n", any ? "}" : "");
}

static void print_forms(FILE *out, const soma_kinds *list, const soma_kind *kind)
{
    char text[512];
    const sort *s = sort_of(list->many);
    fprintf(out, "<h2>Written</h2>\n<pre>");
    if (!strcmp(list->one, "layer"))
        layer_forms(out, kind);
    text_form(kind, text, sizeof text);
    fprintf(out, s && s->form ? "command           " : "as text           ");
    for (const char *at = s && s->form ? s->form : "%"; *at; at++)
        if (*at == '%')
            escaped(out, text);
        else
            fputc(*at, out);
    fprintf(out, "</pre>\n");
}

static void print_field(FILE *out, const soma_field *f)
{
    char text[96];
    fprintf(out, "<tr><th id=\"%s\"><code>%s</code>", f->name, f->name);
    if (f->aliases)
        fprintf(out, "<br><span class=\"soft\">or <code>%s</code></span>", f->aliases);
    fprintf(out, "</th><td>");
    if (f->choices) {
        for (int i = 0; f->choices[i]; i++)
            fprintf(out, "%s<code>%s</code>", i ? ", " : "", f->choices[i]);
    } else if (f->type == SOMA_FIELD_KIND && f->kinds && soma_kinds_find(f->kinds->many)) {
        fprintf(out, "<a href=\"../%s.html\">%s</a>", f->kinds->many, soma_field_type_words(f, text));
    } else {
        fprintf(out, "%s", soma_field_type_words(f, text));
    }
    if (soma_field_range(f, text)[0])
        fprintf(out, ", %s", text);
    if (f->flags & SOMA_FIELD_REQUIRED)
        fprintf(out, "</td><td>required");
    else if (soma_field_preset(f, text)[0])
        fprintf(out, "</td><td><code>%s</code>", text);
    else
        fprintf(out, "</td><td><span class=\"soft\">none</span>");
    fprintf(out, "</td><td>");
    escaped(out, f->doc ? f->doc : "");
    fprintf(out, "</td></tr>\n");
}

/* Names of kernels come once for each instruction set. */
static bool is_first(const soma_op *op, int kernel)
{
    for (int i = 0; i < kernel; i++)
        if (!strcmp(op->kernels[i]->name, op->kernels[kernel]->name))
            return false;
    return true;
}

static void print_op(FILE *out, const soma_op *op)
{
    fprintf(out, "<h2>As a node</h2>\n<table><tbody>\n<tr><th>inputs</th><td>");
    if (op->required_in < 0)
        fprintf(out, "any number");
    else
        fprintf(out, "%d%s", op->required_in, op->optional_in ? " and optional ones" : "");
    fprintf(out, "</td></tr>\n<tr><th>outputs</th><td>%d%s</td></tr>\n<tr><th>gradient</th><td>%s</td></tr>\n",
            op->required_out, op->optional_out ? " and optional ones" : "", op->grad ? "yes" : "no");
    if (op->onnx)
        fprintf(out, "<tr><th>ONNX</th><td>%s</td></tr>\n", op->onnx);
    fprintf(out, "<tr><th>kernels</th><td>");
    for (int i = 0; op->kernels[i]; i++)
        if (is_first(op, i))
            fprintf(out, "%s<code>%s</code>", i ? ", " : "", op->kernels[i]->name);
    fprintf(out, "</td></tr>\n</tbody></table>\n<p class=\"soft\">Kernels stand best first.</p>\n");
}

static bool write_kind(const char *folder, const soma_kinds *list, const soma_kind *kind)
{
    char path[256];
    snprintf(path, sizeof path, "%s/%s.html", list->many, kind->name);
    FILE *out = page_open(folder, path, kind->name, "../", list->many);
    if (!out)
        return false;
    fprintf(out, "<h1><code>%s</code></h1>\n<p class=\"soft\">One of the <a href=\"../%s.html\">%s</a>", kind->name,
            list->many, list->many);
    if (kind->aliases)
        fprintf(out, "; also called <code>%s</code>", kind->aliases);
    fprintf(out, ".</p>\n<p>");
    escaped(out, kind->doc ? kind->doc : "");
    fprintf(out, "</p>\n");
    if (!is_op(list))
        print_forms(out, list, kind);
    if (kind->fields && kind->fields->name) {
        fprintf(out,
                "<h2>%s</h2>\n<div class=\"wide\"><table>\n<thead><tr><th>name</th><th>takes</th><th>default</th>"
                "<th>meaning</th></tr></thead>\n<tbody>\n",
                is_op(list) ? "Attributes" : "Options");
        for (const soma_field *f = kind->fields; f->name; f++)
            print_field(out, f);
        fprintf(out, "</tbody></table></div>\n");
    } else {
        fprintf(out, "<p class=\"soft\">It takes no %s.</p>\n", is_op(list) ? "attributes" : "options");
    }
    if (is_op(list))
        print_op(out, soma_op_find(kind->name));
    return page_close(out);
}

/* ---- one sort, and all of them ---- */

/* The first sentence of a doc, or all of it. */
static void first_sentence(FILE *out, const char *doc)
{
    char text[1024];
    const char *end = strstr(doc, ". ");
    size_t n = end ? (size_t)(end - doc) + 1 : strlen(doc);
    snprintf(text, sizeof text, "%.*s", (int)(n < sizeof text ? n : sizeof text - 1), doc);
    escaped(out, text);
}

static bool write_sort(const char *folder, const soma_kinds *list)
{
    char path[256];
    const sort *s = sort_of(list->many);
    snprintf(path, sizeof path, "%s.html", list->many);
    FILE *out = page_open(folder, path, list->many, "", list->many);
    if (!out)
        return false;
    fprintf(out,
            "<h1>%c%s</h1>\n<p>%s</p>\n<p class=\"soft\">The same in a terminal: <code>soma %s [NAME]</code>.</p>\n"
            "<div class=\"wide\"><table><tbody>\n",
            list->many[0] - 'a' + 'A', list->many + 1, s ? s->about : "", list->many);
    for (const soma_kind *const *row = list->rows; *row; row++) {
        fprintf(out, "<tr><th><a href=\"%s/%s.html\"><code>%s</code></a></th><td>", list->many, (*row)->name,
                (*row)->name);
        first_sentence(out, (*row)->doc ? (*row)->doc : "");
        fprintf(out, "</td></tr>\n");
    }
    fprintf(out, "</tbody></table></div>\n");
    return page_close(out);
}

static bool write_index(const char *folder)
{
    FILE *out = page_open(folder, "index.html", "Reference", "", "");
    if (!out)
        return false;
    fprintf(out, "<h1>Reference</h1>\n<p>All that soma knows by name, with options, defaults and ranges.</p>\n");
    for (int i = 0; soma_kinds_at(i); i++) {
        const soma_kinds *list = soma_kinds_at(i);
        const sort *s = sort_of(list->many);
        fprintf(out, "<h2><a href=\"%s.html\">%c%s</a></h2>\n<p class=\"soft\">%s</p>\n<p>", list->many,
                list->many[0] - 'a' + 'A', list->many + 1, s ? s->about : "");
        for (const soma_kind *const *row = list->rows; *row; row++)
            fprintf(out, "%s<a href=\"%s/%s.html\"><code>%s</code></a>", row == list->rows ? "" : ", ", list->many,
                    (*row)->name, (*row)->name);
        fprintf(out, "</p>\n");
    }
    return page_close(out);
}

int main(int argc, char **argv)
{
    if (argc != 2) {
        fprintf(stderr, "usage: soma_reference FOLDER\n");
        return 2;
    }
    for (int i = 0; soma_kinds_at(i); i++) {
        const soma_kinds *list = soma_kinds_at(i);
        char path[4096];
        snprintf(path, sizeof path, "%s/%s", argv[1], list->many);
        if (mkdir(path, 0777) && errno != EEXIST) {
            fprintf(stderr, "soma_reference: %s cannot be made: %s\n", path, strerror(errno));
            return 1;
        }
        for (const soma_kind *const *row = list->rows; *row; row++)
            if (!write_kind(argv[1], list, *row))
                return 1;
        if (!write_sort(argv[1], list))
            return 1;
    }
    return write_index(argv[1]) ? 0 : 1;
}
