/* SPDX-License-Identifier: Apache-2.0
 *
 * tests/schema_program.c: does a JSON document keep to a schema (JSON Schema 2020-12, the keywords that docs/schemas
 * uses)? usage: schema_program SCHEMA DOCUMENT. A keyword that it does not know is a mistake: nothing goes unchecked
 * in silence.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "io/json.h"

static soma_arena arena;

static const soma_json *read_json(const char *path)
{
    FILE *file = fopen(path, "rb");
    static char bytes[1 << 22];
    size_t n = file ? fread(bytes, 1, sizeof bytes, file) : 0;
    char *copy = soma_arena_alloc(&arena, n + 1);
    if (file)
        fclose(file);
    if (!file || n == sizeof bytes || !copy) {
        printf("%s: cannot be read, or is larger than 4 MiB\n", path);
        exit(2);
    }
    memcpy(copy, bytes, n);
    soma_cursor c = {.arena = &arena};
    c.begin = c.at = (const unsigned char *)copy;
    c.end = c.begin + n;
    const soma_json *json = soma_json_parse(&c);
    if (!json) {
        printf("%s: at byte %zu: %s\n", path, c.where, c.why ? c.why : "no memory");
        exit(1);
    }
    return json;
}

/* ---- schemas ---- */

static bool quiet; /* alternatives are tried without a word */

static bool wrong(const char *path, const char *what, const char *name)
{
    if (!quiet)
        printf("%s: %s%s%s\n", path[0] ? path : "the document", what, name ? " " : "", name ? name : "");
    return false;
}

static bool known_keyword(const char *key)
{
    static const char *const keys[] = {
        "$schema", "$id",      "$defs",   "$ref",       "title",    "description",
        "type",    "enum",     "const",   "properties", "required", "additionalProperties",
        "items",   "minItems", "minimum", "maximum",    "oneOf",    NULL};
    for (int i = 0; keys[i]; i++)
        if (!strcmp(keys[i], key))
            return true;
    return false;
}

static bool is_type(const soma_json *v, const char *type)
{
    static const char *const names[] = {
        [SOMA_JSON_NULL] = "null",   [SOMA_JSON_BOOL] = "boolean", [SOMA_JSON_NUMBER] = "number",
        [SOMA_JSON_TEXT] = "string", [SOMA_JSON_LIST] = "array",   [SOMA_JSON_OBJECT] = "object"};
    int64_t whole;
    return !strcmp(names[v->type], type) || (!strcmp(type, "integer") && soma_json_integer(v, &whole));
}

static bool same(const soma_json *a, const soma_json *b)
{
    if (a->type != b->type)
        return false;
    return a->type == SOMA_JSON_TEXT     ? !strcmp(a->text, b->text)
           : a->type == SOMA_JSON_NUMBER ? a->number == b->number
           : a->type == SOMA_JSON_BOOL   ? a->yes == b->yes
                                         : a->type == SOMA_JSON_NULL;
}

static bool check(const soma_json *root, const soma_json *schema, const soma_json *v, const char *path);

static bool check_value(const soma_json *schema, const soma_json *v, const char *path)
{
    const soma_json *type = soma_json_get(schema, "type"), *list = soma_json_get(schema, "enum");
    const soma_json *fixed = soma_json_get(schema, "const");
    bool right = !type || (soma_json_string(type) && is_type(v, type->text));
    for (const soma_json *t = soma_json_first(type); t; t = t->next)
        right = right || is_type(v, t->text);
    if (!right)
        return wrong(path, "is not of the type", soma_json_string(type));
    right = !list;
    for (const soma_json *e = soma_json_first(list); e; e = e->next)
        right = right || same(e, v);
    if (!right || (fixed && !same(fixed, v)))
        return wrong(path, "is not one of its values:", soma_json_string(v));
    double number, limit;
    if (soma_json_number(v, &number)) {
        if (soma_json_number(soma_json_get(schema, "minimum"), &limit) && number < limit)
            return wrong(path, "is too small", NULL);
        if (soma_json_number(soma_json_get(schema, "maximum"), &limit) && number > limit)
            return wrong(path, "is too large", NULL);
    }
    return true;
}

static bool check_object(const soma_json *root, const soma_json *schema, const soma_json *v, const char *path)
{
    const soma_json *properties = soma_json_get(schema, "properties"),
                    *rest = soma_json_get(schema, "additionalProperties");
    for (const soma_json *r = soma_json_first(soma_json_get(schema, "required")); r; r = r->next)
        if (!soma_json_get(v, r->text))
            return wrong(path, "lacks the key", r->text);
    for (const soma_json *m = v->first; m; m = m->next) {
        const soma_json *known = soma_json_get(properties, m->key);
        char below[512];
        snprintf(below, sizeof below, "%s/%s", path, m->key);
        if (!known && rest && rest->type == SOMA_JSON_BOOL && !rest->yes)
            return wrong(path, "has a key that its schema in docs/schemas and the man page do not describe:", m->key);
        if (known && !check(root, known, m, below))
            return false;
    }
    return true;
}

static bool check_list(const soma_json *root, const soma_json *schema, const soma_json *v, const char *path)
{
    const soma_json *items = soma_json_get(schema, "items");
    int64_t n = 0, least = 0;
    for (const soma_json *e = v->first; e; e = e->next, n++) {
        char below[512];
        snprintf(below, sizeof below, "%s/%lld", path, (long long)n);
        if (items && !check(root, items, e, below))
            return false;
    }
    return !soma_json_integer(soma_json_get(schema, "minItems"), &least) || n >= least ||
           wrong(path, "has too few items", NULL);
}

/* Exactly one alternative fits; where none does, the last one says why. */
static bool check_one(const soma_json *root, const soma_json *list, const soma_json *v, const char *path)
{
    bool before = quiet;
    int fits = 0;
    for (const soma_json *s = soma_json_first(list); s; s = s->next) {
        quiet = before || s->next;
        fits += check(root, s, v, path);
    }
    quiet = before;
    return !list || fits == 1 || (fits > 1 && wrong(path, "fits more than one alternative", NULL));
}

static bool check(const soma_json *root, const soma_json *schema, const soma_json *v, const char *path)
{
    const char *reference = soma_json_string(soma_json_get(schema, "$ref"));
    for (const soma_json *k = schema->type == SOMA_JSON_OBJECT ? schema->first : NULL; k; k = k->next)
        if (!known_keyword(k->key)) {
            printf("the schema has a keyword that is not checked here: %s\n", k->key);
            exit(2);
        }
    if (reference) { /* "#/$defs/name" */
        const soma_json *target = strncmp(reference, "#/$defs/", 8)
                                      ? NULL
                                      : soma_json_get(soma_json_get(root, "$defs"), reference + 8);
        if (!target) {
            printf("the schema refers to %s, which is not in it\n", reference);
            exit(2);
        }
        return check(root, target, v, path);
    }
    return check_value(schema, v, path) && check_one(root, soma_json_get(schema, "oneOf"), v, path) &&
           (v->type != SOMA_JSON_OBJECT || check_object(root, schema, v, path)) &&
           (v->type != SOMA_JSON_LIST || check_list(root, schema, v, path));
}

int main(int argc, char **argv)
{
    soma *s = soma_open(NULL);
    if (argc != 3 || !s) {
        printf("usage: schema_program SCHEMA DOCUMENT\n");
        return 2;
    }
    soma_arena_init(&arena, s);
    const soma_json *schema = read_json(argv[1]), *document = read_json(argv[2]);
    bool right = check(schema, schema, document, "");
    soma_arena_free(&arena);
    soma_close(s);
    return right ? 0 : 1;
}
