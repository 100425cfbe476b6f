/* SPDX-License-Identifier: Apache-2.0
 *
 * io/json.c: JSON written and read.
 */
#include "io/json.h"
#include "base/limits.h"

#include <math.h>
#include <string.h>

/* ---- texts ---- */

bool soma_json_text(soma_text *t, const char *text)
{
    const unsigned char *bytes = (const unsigned char *)text;
    size_t size = strlen(text), plain = 0;
    for (size_t i = 0, length; i < size; i += length) {
        length = soma_utf8_length(bytes + i, size - i);
        if (length == 0)
            return false;
    }
    soma_text_add(t, "\"");
    for (size_t i = 0; i < size; i++) {
        bool escaped = bytes[i] < 0x20 || bytes[i] == '"' || bytes[i] == '\\';
        if (!escaped)
            continue;
        soma_text_addf(t, "%.*s", (int)(i - plain), text + plain);
        if (bytes[i] == '\n')
            soma_text_add(t, "\\n");
        else
            soma_text_addf(t, bytes[i] < 0x20 ? "\\u%04x" : "\\%c", bytes[i]);
        plain = i + 1;
    }
    soma_text_add(t, text + plain);
    soma_text_add(t, "\"");
    return true;
}

/* ---- pieces ---- */

static size_t place(const soma_cursor *c)
{
    return (size_t)(c->at - c->begin);
}

soma_status soma_cursor_wrong(soma_cursor *c, size_t where, const char *why)
{
    if (!c->why) {
        c->why = why;
        c->where = where;
    }
    return SOMA_FORMAT;
}

size_t soma_cursor_next(soma_cursor *c)
{
    while (c->at < c->end && (*c->at == ' ' || *c->at == '\t' || *c->at == '\n' || *c->at == '\r'))
        c->at++;
    return place(c);
}

bool soma_cursor_take(soma_cursor *c, char wanted)
{
    soma_cursor_next(c);
    if (c->at == c->end || *c->at != wanted)
        return false;
    c->at++;
    return true;
}

soma_status soma_cursor_expect(soma_cursor *c, char wanted)
{
    if (soma_cursor_take(c, wanted))
        return SOMA_OK;
    return soma_cursor_wrong(c, place(c),
                             wanted == '{'   ? "a '{' is needed here"
                             : wanted == '}' ? "a ',' or a '}' is needed here"
                             : wanted == '[' ? "a '[' is needed here"
                             : wanted == ']' ? "a ',' or a ']' is needed here"
                                             : "a ':' is needed here");
}

/* The four digits behind \u. */
static bool read_hex(soma_cursor *c, unsigned *code)
{
    *code = 0;
    if (c->end - c->at < 4)
        return false;
    for (int i = 0; i < 4; i++) {
        unsigned char d = *c->at++;
        int value = d >= '0' && d <= '9'   ? d - '0'
                    : d >= 'a' && d <= 'f' ? d - 'a' + 10
                    : d >= 'A' && d <= 'F' ? d - 'A' + 10
                                           : -1;
        if (value < 0)
            return false;
        *code = *code << 4 | (unsigned)value;
    }
    return true;
}

/* The character that an escape stands for (the backslash is behind us); 0: not one. */
static unsigned read_escape(soma_cursor *c)
{
    static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
    unsigned code, low;
    unsigned char letter = *c->at++;
    const char *simple = letter ? strchr(from, letter) : NULL;
    if (simple)
        return (unsigned char)to[simple - from];
    if (letter != 'u' || !read_hex(c, &code) || (code >= 0xdc00 && code <= 0xdfff))
        return 0;
    if (code < 0xd800 || code > 0xdbff)
        return code;
    if (c->end - c->at < 2 || c->at[0] != '\\' || c->at[1] != 'u') /* a high surrogate needs its low one */
        return 0;
    c->at += 2;
    if (!read_hex(c, &low) || low < 0xdc00 || low > 0xdfff)
        return 0;
    return 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
}

static size_t write_utf8(char *out, unsigned code)
{
    if (code < 0x80) {
        out[0] = (char)code;
        return 1;
    }
    size_t length = code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
    static const unsigned char first[] = {0, 0, 0xc0, 0xe0, 0xf0};
    for (size_t i = length - 1; i > 0; i--, code >>= 6)
        out[i] = (char)(0x80 | (code & 0x3f));
    out[0] = (char)(first[length] | code);
    return length;
}

static soma_status read_characters(soma_cursor *c, const unsigned char *end, char *out)
{
    size_t n = 0;
    while (c->at < end) {
        size_t at = place(c);
        if (*c->at == '\\') {
            c->at++;
            unsigned code = read_escape(c);
            if (!code)
                return soma_cursor_wrong(c, at, "the text has an escape that JSON does not know or soma does not take");
            n += write_utf8(out + n, code);
            continue;
        }
        size_t length = soma_utf8_length(c->at, (size_t)(end - c->at));
        if (length == 0 || *c->at < 0x20)
            return soma_cursor_wrong(c, at,
                                     length ? "there is a control character inside a text" : "this is not UTF-8");
        memcpy(out + n, c->at, length);
        n += length;
        c->at += length;
    }
    out[n] = 0;
    return SOMA_OK;
}

soma_status soma_cursor_text(soma_cursor *c, const char **text)
{
    size_t at = soma_cursor_next(c);
    if (!soma_cursor_take(c, '"'))
        return soma_cursor_wrong(c, at, "a text in quotes is needed here");
    const unsigned char *end = c->at;
    while (end < c->end && *end != '"')
        end += *end == '\\' ? 2 : 1;
    if (end >= c->end)
        return soma_cursor_wrong(c, at, "the text that begins here does not end");
    char *copy = soma_arena_alloc(c->arena, (size_t)(end - c->at) + 1);
    soma_status status = copy ? read_characters(c, end, copy) : SOMA_MEMORY;
    c->at = end + 1;
    *text = copy;
    return status;
}

soma_status soma_cursor_count(soma_cursor *c, uint64_t *number)
{
    size_t at = soma_cursor_next(c);
    const unsigned char *first = c->at;
    uint64_t n = 0;
    bool overflow = false;
    for (; c->at < c->end && *c->at >= '0' && *c->at <= '9'; c->at++)
        overflow = overflow || __builtin_mul_overflow(n, 10u, &n) ||
                   __builtin_add_overflow(n, (uint64_t)(*c->at - '0'), &n);
    bool whole = c->at > first && !(*first == '0' && c->at > first + 1);
    whole = whole && !(c->at < c->end && (*c->at == '.' || *c->at == 'e' || *c->at == 'E'));
    *number = n;
    if (whole && !overflow)
        return SOMA_OK;
    return soma_cursor_wrong(c, at, whole ? "the number is too large" : "a whole number, not negative, is needed here");
}

/* ---- all ---- */

static bool digits(soma_cursor *c)
{
    const unsigned char *first = c->at;
    while (c->at < c->end && *c->at >= '0' && *c->at <= '9')
        c->at++;
    return c->at > first;
}

static bool letter(soma_cursor *c, const char *of)
{
    if (c->at == c->end || !*c->at || !strchr(of, *c->at))
        return false;
    c->at++;
    return true;
}

static soma_status read_double(soma_cursor *c, double *number)
{
    char text[64];
    size_t where = place(c);
    const unsigned char *first = c->at;
    letter(c, "-");
    bool right = letter(c, "0") || digits(c);
    if (right && letter(c, "."))
        right = digits(c);
    if (right && letter(c, "eE")) {
        letter(c, "+-");
        right = digits(c);
    }
    size_t size = (size_t)(c->at - first);
    if (!right || size >= sizeof text)
        return soma_cursor_wrong(c, where, right ? "the number has too many digits" : "this is not a value of JSON");
    memcpy(text, first, size);
    text[size] = 0;
    if (!soma_parse_f64(text, number) || !isfinite(*number))
        return soma_cursor_wrong(c, where, "the number is too large");
    return SOMA_OK;
}

static soma_status read_value(soma_cursor *c, soma_json *v, int depth);

/* What stands in brackets. */
static soma_status read_members(soma_cursor *c, soma_json *v, int depth)
{
    const soma_json **last = &v->first;
    bool object = v->type == SOMA_JSON_OBJECT;
    char close = object ? '}' : ']';
    v->first = NULL;
    if (depth >= SOMA_LIMIT_DEPTH)
        return soma_cursor_wrong(c, place(c), "it is nested deeper than 64");
    if (soma_cursor_take(c, close))
        return SOMA_OK;
    int n = 0;
    soma_status status = SOMA_OK;
    do {
        size_t where = soma_cursor_next(c);
        soma_json *member = soma_arena_alloc(c->arena, sizeof *member);
        if (!member)
            return SOMA_MEMORY;
        if (object && ++n > SOMA_LIMIT_KEYS)
            return soma_cursor_wrong(c, where, "the object has more than 256 keys");
        if (object) {
            status = soma_cursor_text(c, &member->key);
            if (status == SOMA_OK && soma_json_get(v, member->key))
                status = soma_cursor_wrong(c, where, "a key stands here twice (duplicate)");
            if (status == SOMA_OK)
                status = soma_cursor_expect(c, ':');
        }
        if (status == SOMA_OK)
            status = read_value(c, member, depth + 1);
        *last = member;
        last = &member->next;
    } while (status == SOMA_OK && soma_cursor_take(c, ','));
    return status == SOMA_OK ? soma_cursor_expect(c, close) : status;
}

static bool word(soma_cursor *c, const char *text)
{
    size_t n = strlen(text);
    if ((size_t)(c->end - c->at) < n || memcmp(c->at, text, n))
        return false;
    c->at += n;
    return true;
}

static soma_status read_value(soma_cursor *c, soma_json *v, int depth)
{
    soma_cursor_next(c);
    if (c->at < c->end && *c->at == '"') {
        v->type = SOMA_JSON_TEXT;
        return soma_cursor_text(c, &v->text);
    }
    if (soma_cursor_take(c, '{')) {
        v->type = SOMA_JSON_OBJECT;
        return read_members(c, v, depth);
    }
    if (soma_cursor_take(c, '[')) {
        v->type = SOMA_JSON_LIST;
        return read_members(c, v, depth);
    }
    bool yes = word(c, "true");
    if (yes || word(c, "false")) {
        v->type = SOMA_JSON_BOOL;
        v->yes = yes;
        return SOMA_OK;
    }
    v->type = SOMA_JSON_NULL;
    if (word(c, "null"))
        return SOMA_OK;
    v->type = SOMA_JSON_NUMBER;
    return read_double(c, &v->number);
}

const soma_json *soma_json_parse(soma_cursor *c)
{
    soma_json *v = soma_arena_alloc(c->arena, sizeof *v);
    soma_status status = v ? read_value(c, v, 0) : SOMA_MEMORY;
    if (status == SOMA_OK && soma_cursor_next(c) != (size_t)(c->end - c->begin))
        status = soma_cursor_wrong(c, place(c), "something stands behind the end");
    return status == SOMA_OK ? v : NULL;
}

const soma_json *soma_json_get(const soma_json *object, const char *key)
{
    if (!object || object->type != SOMA_JSON_OBJECT)
        return NULL;
    const soma_json *v = object->first;
    while (v && strcmp(v->key, key))
        v = v->next;
    return v;
}

const soma_json *soma_json_first(const soma_json *list)
{
    return list && list->type == SOMA_JSON_LIST ? list->first : NULL;
}

int64_t soma_json_count(const soma_json *list)
{
    int64_t n = list && list->type == SOMA_JSON_LIST ? 0 : -1;
    for (const soma_json *v = soma_json_first(list); v; v = v->next)
        n++;
    return n;
}

const char *soma_json_string(const soma_json *json)
{
    return json && json->type == SOMA_JSON_TEXT ? json->text : NULL;
}

bool soma_json_is_true(const soma_json *json)
{
    return json && json->type == SOMA_JSON_BOOL && json->yes;
}

bool soma_json_number(const soma_json *json, double *number)
{
    if (!json || json->type != SOMA_JSON_NUMBER)
        return false;
    *number = json->number;
    return true;
}

bool soma_json_integer(const soma_json *json, int64_t *number)
{
    double x;
    if (!soma_json_number(json, &x) || x != floor(x) || fabs(x) > 0x1p53)
        return false;
    *number = (int64_t)x;
    return true;
}
