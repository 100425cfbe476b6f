/* SPDX-License-Identifier: Apache-2.0
 *
 * zoo/zoo.c: architectures by name.
 */
#include "base/context.h"
#include "base/fields.h"
#include "base/text.h"
#include "base/words.h"
#include "base/zero.h"
#include "graph/graph.h"
#include "zoo/zoo.h"

#include <string.h>

static const soma_zoo_entry *const entries[] = {
#define SOMA_ZOO(name) &soma_zoo_##name,
    SOMA_ZOO_LIST(SOMA_ZOO)
#undef SOMA_ZOO
};
#define ENTRIES ((int)(sizeof entries / sizeof entries[0]))

const soma_zoo_entry *soma_zoo_at(int index)
{
    return index >= 0 && index < ENTRIES ? entries[index] : NULL;
}

/* Equal but for '-' and '_' and the case of letters: mobilenet_v2, MobileNetV2 and mobilenetv2, vgg16_bn and vgg16-bn.
 * */
static bool same_name(const char *a, const char *b)
{
    for (;; a++, b++) {
        while (*a == '-' || *a == '_')
            a++;
        while (*b == '-' || *b == '_')
            b++;
        char x = *a >= 'A' && *a <= 'Z' ? (char)(*a + 32) : *a, y = *b >= 'A' && *b <= 'Z' ? (char)(*b + 32) : *b;
        if (x != y)
            return false;
        if (!x)
            return true;
    }
}

const soma_zoo_entry *soma_zoo_find(const char *name)
{
    for (int i = 0; name && i < ENTRIES; i++)
        if (same_name(entries[i]->name, name))
            return entries[i];
    return NULL;
}

static const char *entry_name(const void *list, int index)
{
    (void)list;
    return index < ENTRIES ? entries[index]->name : NULL;
}

int64_t soma_zoo_wide(int64_t channels, soma_zoo_size size)
{
    double wanted = (double)channels * size.width;
    int64_t unit = channels % 8 ? 1 : 8, n = (int64_t)(wanted / (double)unit + 0.5) * unit;
    n = n > unit ? n : unit;
    return (double)n < 0.9 * wanted ? n + unit : n;
}

static soma_model *refuse_name(soma *s, const soma_zoo_options *o)
{
    const char *nearest = o->name ? soma_nearest(o->name, entry_name, NULL) : NULL;
    if (nearest)
        soma_fail(s, SOMA_INVALID, o->at, "the zoo has no \"%s\"; did you mean \"%s\"?", o->name, nearest);
    else
        soma_fail(s, SOMA_INVALID, o->at,
                  "the zoo has no \"%s\"; " SOMA_IN_C("soma_zoo_at lists what it has, such as lenet5")
                      SOMA_ELSEWHERE("architectures have names such as lenet5 and resnet18"),
                  o->name ? o->name : "");
    return NULL;
}

/* Sets the reading that the options name. */
static bool choose(soma *s, const soma_zoo_options *o, const soma_zoo_entry *entry, int *chosen)
{
    const struct {
        const char *option, *said;
    } given[] = {{"shortcut", o->shortcut}, {"stride", o->stride}, {"pooling", o->pooling}, {"dialect", o->dialect}};
    const soma_zoo_reading *r = entry->reading;
    for (size_t i = 0; i < sizeof given / sizeof *given; i++) {
        if (!given[i].said)
            continue;
        if (!r || strcmp(r->option, given[i].option)) {
            soma_fail(s, SOMA_INVALID, o->at, "%s has no option \"%s\"%s%s%s", entry->name, given[i].option,
                      r ? "; its option is \"" : "", r ? r->option : "", r ? "\"" : "");
            return false;
        }
        *chosen = !strcmp(given[i].said, r->choices[1]);
        if (!*chosen && strcmp(given[i].said, r->choices[0])) {
            soma_fail(s, SOMA_INVALID, o->at, "%s: %s is \"%s\"; it takes %s (%s) or %s (%s)", entry->name, r->option,
                      given[i].said, r->choices[0], r->docs[0], r->choices[1], r->docs[1]);
            return false;
        }
    }
    return true;
}

/* Lets soma_load_weights say which of two networks the tensors went into. */
static void note_reading(soma_model *m, const soma_zoo_reading *r, int chosen)
{
    soma_text text = {.s = m->s};
    soma_text_addf(&text, "tensors do not tell two networks apart; taken is %s %s: %s; the other is %s: %s", r->option,
                   r->choices[chosen], r->docs[chosen], r->choices[!chosen], r->docs[!chosen]);
    char *kept = text.failed ? NULL : soma_arena_text(&m->arena, text.bytes);
    soma_text_free(&text);
    if (!kept || soma_attach(m, SOMA_ZOO_NOTE, kept, NULL) != SOMA_OK)
        m->graph->failed = true;
}

SOMA_TABLE(soma_zoo_options) = {
    SOMA_TEXT(soma_zoo_options, name, "", .doc = "of the architecture"),
    SOMA_INT(soma_zoo_options, classes, 0, AT_LEAST(1), .doc = "or outputs; without it the architecture's"),
    SOMA_SIZES(soma_zoo_options, input, .doc = "of one sample; without it the architecture's"),
    SOMA_FLOAT(soma_zoo_options, width, 1, .min = 0, .max = 64, .flags = SOMA_FIELD_ABOVE_MIN,
               .doc = "multiplies the channels and units of every layer but the last"),
    SOMA_BOOL(soma_zoo_options, no_dropout, .doc = "built without its dropouts"),
    SOMA_TEXT(soma_zoo_options, shortcut, NULL,
              .doc = "resnet20: new channels of shortcuts centred (both sides) or behind"),
    SOMA_TEXT(soma_zoo_options, stride, NULL,
              .doc = "resnet50, 101, 152: a bottleneck's stride in its 3x3 or its first 1x1 convolution"),
    SOMA_TEXT(soma_zoo_options, pooling, NULL, .doc = "squeezenet1_0: sides rounded by ceil or floor"),
    SOMA_TEXT(soma_zoo_options, dialect, NULL, .doc = "mobilenetv2: torch or keras; alexnet-paper: paper or caffe"),
    SOMA_FIELDS_END};

soma_model *soma_zoo_with(soma *s, const soma_zoo_options *given)
{
    soma_zoo_options taken;
    const soma_zoo_options *o = &taken;
    if (!s || SOMA_TAKE(s, "soma_zoo", soma_zoo_options, given, &taken))
        return NULL;
    const soma_zoo_entry *entry = soma_zoo_find(o->name);
    if (!entry)
        return refuse_name(s, o);
    soma_zoo_size size = {
        .classes = o->classes > 0 ? o->classes : entry->classes, .width = o->width, .no_dropout = o->no_dropout};
    if (!choose(s, o, entry, &size.reading))
        return NULL;
    soma_model *m = soma_model_new(s, entry->name);
    if (!m)
        return NULL;
    soma_input_options input = {
        .struct_size = sizeof input, .at = o->at, .shape = o->input.rank > 0 ? o->input : entry->input};
    soma_value x = soma_input_with(m, "x", SOMA_F32, &input);
    s->builder = &o->at; /* mistakes stand where the size was chosen, not in this library's source */
    soma_value y = entry->build(m, x, size);
    s->builder = NULL;
    soma_output_at(m, "y", y, o->at);
    if (entry->reading)
        note_reading(m, entry->reading, size.reading);
    if (!m->graph->failed)
        return m;
    soma_model_free(m);
    return NULL;
}
