/* SPDX-License-Identifier: Apache-2.0
 *
 * io/renames_yaml.c: a YAML mapping of name rules, OLD: NEW, in its order. It is read as events: anything but one flat
 * mapping of texts is refused where it stands. Compiled only with libyaml.
 */
#include "base/file.h"
#include "base/limits.h"
#include "base/words.h"
#include "io/weights.h"

#include <yaml.h>

typedef struct reader {
    soma *s;
    const char *path;
    soma_arena *arena;
    soma_rename *rules;
    int n, capacity;
    const char *old; /* waits for its NEW */
} reader;

static soma_status add_text(reader *r, const yaml_event_t *event)
{
    const char *text = soma_arena_text(r->arena, (const char *)event->data.scalar.value);
    if (!text)
        return SOMA_MEMORY;
    if (!r->old) {
        r->old = text;
        return SOMA_OK;
    }
    if (r->n == SOMA_LIMIT_TENSORS)
        return soma_fail(r->s, SOMA_INVALID, soma_line_of(r->path, (int)event->start_mark.line + 1),
                         "the map has more than %d rules", SOMA_LIMIT_TENSORS);
    soma_status status = soma_grow(r->s, &r->rules, &r->capacity, r->n + 1, sizeof *r->rules);
    if (status == SOMA_OK)
        r->rules[r->n++] = (soma_rename){r->old, text};
    r->old = NULL;
    return status;
}

/* What may come: stream, document, mapping, texts, and their ends. */
static soma_status take(reader *r, const yaml_event_t *event, bool *inside)
{
    soma_at at = soma_line_of(r->path, (int)event->start_mark.line + 1);
    switch (event->type) {
    case YAML_STREAM_START_EVENT:
    case YAML_DOCUMENT_START_EVENT:
    case YAML_DOCUMENT_END_EVENT:
    case YAML_STREAM_END_EVENT:
        return SOMA_OK;
    case YAML_MAPPING_START_EVENT:
        if (*inside)
            break;
        *inside = true;
        return SOMA_OK;
    case YAML_MAPPING_END_EVENT:
        *inside = false;
        return SOMA_OK;
    case YAML_SCALAR_EVENT:
        if (*inside)
            return add_text(r, event);
        break;
    default:
        break;
    }
    return soma_fail(r->s, SOMA_INVALID, at, "a map of names is a flat mapping, one OLD: NEW in a line");
}

static soma_status read_events(reader *r, yaml_parser_t *parser)
{
    soma_status status = SOMA_OK;
    bool inside = false;
    for (bool over = false; !over && status == SOMA_OK;) {
        yaml_event_t event;
        if (!yaml_parser_parse(parser, &event))
            return parser->error == YAML_MEMORY_ERROR
                       ? soma_fail(r->s, SOMA_MEMORY, soma_nowhere(), "%s: no memory to read it", r->path)
                       : soma_fail(r->s, SOMA_FORMAT, soma_line_of(r->path, (int)parser->problem_mark.line + 1),
                                   "this is not YAML: %s", parser->problem ? parser->problem : "unreadable");
        over = event.type == YAML_STREAM_END_EVENT;
        status = take(r, &event, &inside);
        yaml_event_delete(&event);
    }
    return status;
}

soma_status soma_read_renames(soma *s, const char *path, soma_arena *arena, soma_rename **rules, int *n)
{
    void *bytes;
    size_t size;
    reader r = {.s = s, .arena = arena, .path = soma_arena_text(arena, path)};
    soma_status status = r.path ? soma_file_read(s, path, SOMA_LIMIT_MAP, &bytes, &size) : SOMA_MEMORY;
    if (status != SOMA_OK)
        return status;
    yaml_parser_t parser;
    if (yaml_parser_initialize(&parser)) {
        yaml_parser_set_input_string(&parser, bytes, size);
        status = read_events(&r, &parser);
        yaml_parser_delete(&parser);
    } else {
        status = soma_fail(s, SOMA_MEMORY, soma_nowhere(), "%s: no memory to read it", path);
    }
    soma_release(s, bytes);
    *rules = r.rules;
    *n = r.n;
    return status;
}
