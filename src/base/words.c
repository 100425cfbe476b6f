/* SPDX-License-Identifier: Apache-2.0
 *
 * base/words.c: formats of sentences for C, for descriptions and for a command (base/words.h).
 */
#include "base/words.h"

#include <string.h>

typedef enum speech { SPEECH_C, SPEECH_FILE, SPEECH_COMMAND } speech;

typedef struct writer {
    char *at, *end;
    bool full;
} writer;

static void add(writer *w, const char *text, size_t n)
{
    if (w->full || (size_t)(w->end - w->at) < n) {
        w->full = true;
        return;
    }
    memcpy(w->at, text, n);
    w->at += n;
}

static void add_text(writer *w, const char *text)
{
    add(w, text, strlen(text));
}

/* {3, 3}: [3, 3] in a file, 3x3 in a command, which writes words within as its help does (HEIGHTxWIDTH) and no quotes.
 * */
static void add_value(writer *w, speech how, const char *value, size_t n)
{
    int depth = 0;
    for (size_t i = 0; i < n; i++) {
        char c = value[i];
        depth += (c == '{') - (c == '}');
        if (how == SPEECH_FILE && (c == '{' || c == '}')) {
            c = c == '{' ? '[' : ']';
        } else if (how == SPEECH_COMMAND && depth && c == ',') {
            c = 'x';
            i += i + 1 < n && value[i + 1] == ' ';
        } else if (how == SPEECH_COMMAND && depth && c >= 'a' && c <= 'z') {
            c = (char)(c - 'a' + 'A');
        } else if (how == SPEECH_COMMAND && strchr("{}\"", c)) {
            continue;
        }
        add(w, &c, 1);
    }
}

/* `body` is what stands between the mark and its end: a name, or a name, \4 and a value. */
static void add_field(writer *w, const soma *s, speech how, const char *body, size_t n)
{
    const char *cut = memchr(body, '\4', n);
    size_t name_length = cut ? (size_t)(cut - body) : n;
    char name[64] = "";
    if (name_length < sizeof name)
        memcpy(name, body, name_length);
    const char *option = how == SPEECH_COMMAND ? s->field_name(s->field_user, name) : NULL;
    bool quoted = !option && how != SPEECH_C && !cut;
    add_text(w, how == SPEECH_C ? "." : quoted ? "\"" : "");
    add_text(w, option ? option : name);
    add_text(w, quoted ? "\"" : "");
    if (cut && !(option && n - name_length - 1 == 4 && !strncmp(cut + 1, "true", 4))) { /* a flag has no value */
        add_text(w, how == SPEECH_C ? " = " : option ? " " : ": ");
        add_value(w, option ? how : how == SPEECH_C ? how : SPEECH_FILE, cut + 1, n - name_length - 1);
    }
}

const char *soma_words(const soma *s, soma_at at, const char *format, char *room, size_t size)
{
    speech how = at.file && at.line <= 0 ? SPEECH_FILE : s->field_name ? SPEECH_COMMAND : SPEECH_C;
    writer w = {room, room + size - 1, false};
    for (const char *c = format; *c;) {
        const char *end = *c > 0 && *c < '\6' ? strchr(c, '\2') : NULL; /* the end of a mark's body */
        if (!end) {
            add(&w, c++, 1);
            continue;
        }
        size_t n = (size_t)(end - c) - 1;
        if (*c == '\3')
            add_field(&w, s, how, c + 1, n);
        else if ((*c == '\1') == (how == SPEECH_C))
            add(&w, c + 1, n);
        c = end + 1;
    }
    *w.at = 0;
    return w.full ? format : room;
}

const char *soma_field_text(const soma *s, const char *field, char room[64])
{
    writer w = {room, room + 63, false};
    add_field(&w, s, s->field_name ? SPEECH_COMMAND : SPEECH_C, field, strlen(field));
    *w.at = 0;
    return room;
}
