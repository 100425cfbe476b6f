/* SPDX-License-Identifier: Apache-2.0
 *
 * io/weights.c: tensors of a safetensors file into a model that exists. Everything is checked before the first byte is
 * written; then every tensor goes from the file's bytes straight to its place, so nothing is held twice.
 */
#include "io/weights.h"
#include "base/fields.h"
#include "base/limits.h"
#include "base/text.h"
#include "base/words.h"
#include "tensor/element.h"
#include <soma/io.h>

#include <stdlib.h>
#include <string.h>

typedef struct loading {
    soma *s;
    soma_model *m;
    const soma_load_weights_options *o;
    soma_safetensors file;
    soma_arena arena; /* of names while loading */
    soma_rename *file_rules;
    int n_file_rules;
    bool keras;
    soma_move *moves;                /* one per tensor of the file */
    bool *head;                      /* per tensor of the model: stays as it is */
    const soma_file_tensor **source; /* per tensor of the model; NULL: none yet */
} loading;

/* ---- names ---- */

static const char *apply_rule(loading *l, const char *name, const soma_rename *rule)
{
    bool begin = rule->from[0] == '^';
    const char *from = rule->from + begin, *at = name;
    size_t length = strlen(from);
    soma_text text = {.s = l->s};
    for (const char *hit; (hit = strstr(at, from)) && (!begin || hit == name) && text.size <= SOMA_LIMIT_NAME;
         at = hit + length) {
        soma_text_addf(&text, "%.*s%s", (int)(hit - at), at, rule->to);
        if (begin) {
            at = hit + length;
            break;
        }
    }
    if (at == name && !text.failed)
        return name;
    soma_text_add(&text, at);
    const char *made = text.failed ? NULL : soma_arena_text(&l->arena, text.bytes);
    if (made && text.size > SOMA_LIMIT_NAME) {
        soma_fail(l->s, SOMA_INVALID, l->o->at, "load weights: the rule \"%.100s\" makes a name longer than %d bytes",
                  rule->from, SOMA_LIMIT_NAME);
        made = NULL;
    }
    soma_text_free(&text);
    return made;
}

static soma_status check_rules(const loading *l, const soma_rename *rules, int n)
{
    for (int i = 0; i < n; i++)
        if (!rules[i].from || !rules[i].to || !rules[i].from[rules[i].from[0] == '^'])
            return soma_fail(
                l->s, SOMA_INVALID, l->o->at,
                "load weights: rule %d of the map replaces nothing; a rule is a part of a name and what it becomes",
                i + 1);
    return SOMA_OK;
}

/* A file's name in the model's terms; NULL after an error. */
static const char *model_name(loading *l, const char *name)
{
    for (int i = 0; name && i < l->o->n_map; i++)
        name = apply_rule(l, name, &l->o->map[i]);
    for (int i = 0; name && i < l->n_file_rules; i++)
        name = apply_rule(l, name, &l->file_rules[i]);
    return name && l->keras ? soma_weights_keras_name(&l->arena, name) : name;
}

/* PyTorch counts batches in its batch norms, which nobody needs. */
static bool ignored(const char *name)
{
    const char *dot = strrchr(name, '.');
    return !strcmp(dot ? dot + 1 : name, "num_batches_tracked");
}

/* ---- numbers ---- */

static double half(uint16_t bits)
{
    int exponent = bits >> 10 & 31, fraction = bits & 1023;
    double sign = bits >> 15 ? -1.0 : 1.0;
    if (exponent == 31)
        return fraction ? (double)__builtin_nanf("") : sign * (double)__builtin_inff();
    double number = exponent ? 1024 + fraction : fraction;
    for (int i = exponent ? exponent : 1; i < 25; i++)
        number *= 0.5;
    for (int i = 25; i < exponent; i++)
        number *= 2;
    return sign * number;
}

static double read_f32(const unsigned char *bytes, int64_t i)
{
    float x;
    memcpy(&x, bytes + 4 * i, sizeof x);
    return (double)x;
}

static double read_f64(const unsigned char *bytes, int64_t i)
{
    double x;
    memcpy(&x, bytes + 8 * i, sizeof x);
    return x;
}

static double read_f16(const unsigned char *bytes, int64_t i)
{
    return half((uint16_t)(bytes[2 * i] | bytes[2 * i + 1] << 8));
}

/* The upper half of an f32. */
static double read_bf16(const unsigned char *bytes, int64_t i)
{
    uint32_t bits = (uint32_t)(bytes[2 * i] | bytes[2 * i + 1] << 8) << 16;
    float x;
    memcpy(&x, &bits, sizeof x);
    return (double)x;
}

typedef double (*read_fn)(const unsigned char *, int64_t);

/* NULL: not a type of weights. */
static read_fn reader_of(const soma_file_tensor *t)
{
    static const struct {
        const char *name;
        read_fn read;
    } readers[] = {{"F32", read_f32}, {"F64", read_f64}, {"F16", read_f16}, {"BF16", read_bf16}};
    for (size_t i = 0; i < sizeof readers / sizeof *readers; i++)
        if (!strcmp(t->dtype_name, readers[i].name))
            return readers[i].read;
    return NULL;
}

static void move_tensor(loading *l, const soma_move *move)
{
    const soma_model_tensor *t = &l->m->tensors[move->to];
    const unsigned char *bytes = l->file.data + move->from->begin;
    read_fn number = reader_of(move->from);
    int64_t n = soma_shape_elements(&move->shape), at[SOMA_MAX_RANK] = {0}, from = 0;
    bool straight = move->shape.rank == 0 ||
                    (move->stride[move->shape.rank - 1] == 1 && (move->shape.rank < 2 || !l->keras));
    if (straight && number == read_f32 && t->type.dtype == SOMA_F32) {
        memcpy(t->data, bytes, (size_t)n * sizeof(float));
        return;
    }
    for (int64_t i = 0; i < n; i++) {
        soma_set(t->data, t->type.dtype, i, number(bytes, from));
        for (int d = move->shape.rank - 1; d >= 0; d--) {
            from += move->stride[d];
            if (++at[d] < move->shape.dim[d])
                break;
            from -= move->stride[d] * move->shape.dim[d];
            at[d] = 0;
        }
    }
}

/* ---- matching ---- */

static soma_status check_fit(loading *l, soma_move *move)
{
    const soma_file_tensor *from = move->from;
    const soma_model_tensor *t = &l->m->tensors[move->to];
    char have[96], want[96], own[96];
    soma_weights_order(l->m, move, l->keras);
    if (!reader_of(from))
        return soma_safetensors_damaged(
            &l->file, from->at,
            "the tensor \"%.150s\" is %s, but \"%.150s\" of the model can be read from F32, F64, "
            "F16 and BF16 only",
            from->name, from->dtype_name, t->name);
    if (soma_same_shape(&from->shape, &move->want))
        return SOMA_OK;
    soma_type types[3] = {{t->type.dtype, from->shape}, {t->type.dtype, move->want}, t->type};
    const char *texts[3] = {soma_type_text(&types[0], have), soma_type_text(&types[1], want),
                            soma_type_text(&types[2], own)};
    for (int i = 0; i < 3; i++)
        texts[i] += strcspn(texts[i], "["); /* only the shape */
    return soma_safetensors_damaged(&l->file, from->at,
                                    "the tensor \"%.150s\" is %s%s, but \"%.150s\" of the model is %s%s%s; build the "
                                    "model as wide and with as many "
                                    "classes as the file's, or load with a new head",
                                    from->name, from->dtype_name, texts[0], t->name, texts[2],
                                    l->keras ? ", in Keras' order " : "", l->keras ? texts[1] : "");
}

/* Where each tensor of the file goes. */
static soma_status match(loading *l)
{
    for (int i = 0; i < l->file.n_tensors; i++) {
        soma_move *move = &l->moves[i];
        move->from = &l->file.tensors[i];
        move->to = -1;
        if (ignored(move->from->name))
            continue;
        const char *name = model_name(l, move->from->name);
        if (!name)
            return soma_failed(l->s) ? soma_error_status(l->s) : SOMA_MEMORY;
        int to = soma_model_tensor_index(l->m, name);
        if (to < 0 || l->m->tensors[to].slot)
            continue;
        if (l->source[to])
            return soma_safetensors_damaged(&l->file, move->from->at,
                                            "the tensors \"%.150s\" and \"%.150s\" both become \"%.150s\" of the model",
                                            l->source[to]->name, move->from->name, name);
        l->source[to] = move->from;
        move->to = to;
        soma_status status = l->head[to] ? SOMA_OK : check_fit(l, move);
        if (status != SOMA_OK)
            return status;
    }
    return SOMA_OK;
}

/* ---- the report ---- */

typedef struct kept_report {
    soma_arena arena;
    soma_weights_report report;
} kept_report;

static void destroy_report(soma_model *m, void *data)
{
    kept_report *kept = data;
    soma_arena_free(&kept->arena);
    soma_release(m->s, kept);
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static soma_status fill_report(loading *l, kept_report *kept)
{
    const soma_model *m = l->m;
    soma_weights_report *r = &kept->report;
    const char **missing = soma_arena_array(&kept->arena, (size_t)m->n_tensors, sizeof *missing);
    const char **unused = soma_arena_array(&kept->arena, (size_t)l->file.n_tensors, sizeof *unused);
    if (!missing || !unused)
        return SOMA_MEMORY;
    for (int i = 0; i < m->n_tensors; i++)
        if (!m->tensors[i].slot && !l->head[i]) {
            if (l->source[i])
                r->loaded++;
            else
                missing[r->n_missing++] = m->tensors[i].name;
        }
    for (int i = 0; i < l->file.n_tensors; i++)
        if (l->moves[i].to < 0 && !ignored(l->file.tensors[i].name)) {
            const char *name = soma_arena_text(&kept->arena, l->file.tensors[i].name);
            if (!name)
                return SOMA_MEMORY;
            unused[r->n_unused++] = name;
        }
    qsort(missing, (size_t)r->n_missing, sizeof *missing, by_name);
    r->missing = missing;
    r->unused = unused;
    return SOMA_OK;
}

/* "2 of the model's tensors are not in the file (a, b)": at most four names; the log has them all. */
static void add_names(soma_text *text, int n, const char *const *names, const char *what)
{
    soma_text_addf(text, "%s%d %s (", text->size ? " and " : "", n, what);
    for (int i = 0; i < n && i < 4; i++)
        soma_text_addf(text, "%s%.80s", i ? ", " : "", names[i]);
    soma_text_add(text, n > 4 ? ", ...)" : ")");
}

static soma_status judge(loading *l, const soma_weights_report *r)
{
    for (int i = 0; i < r->n_missing; i++)
        soma_say(l->s, SOMA_LOG_WARNING, "%s: not in the file: \"%s\" of the model", l->file.path, r->missing[i]);
    for (int i = 0; i < r->n_unused; i++)
        soma_say(l->s, SOMA_LOG_WARNING, "%s: not in the model: \"%s\" of the file", l->file.path, r->unused[i]);
    if (r->loaded && (l->o->partial || (!r->n_missing && !r->n_unused)))
        return SOMA_OK;
    soma_text text = {.s = l->s};
    if (r->n_missing)
        add_names(&text, r->n_missing, r->missing, "of the model's tensors are not in the file");
    if (r->n_unused)
        add_names(&text, r->n_unused, r->unused, "of the file's are not in the model");
    soma_status status =
        text.failed
            ? SOMA_MEMORY
            : soma_fail(l->s, SOMA_INVALID, l->o->at,
                        r->loaded ? "%s: %s; rename with a map, or allow it with " SOMA_FIELD_IS("partial", "true")
                                  : "%s: %s; no tensor fits: is it another architecture, or does it need a map?",
                        l->file.path, text.size ? text.bytes : "the file has no tensors for the model");
    soma_text_free(&text);
    return status;
}

static soma_status report(loading *l)
{
    kept_report *kept = soma_alloc(l->s, sizeof *kept);
    if (!kept)
        return SOMA_MEMORY;
    soma_arena_init(&kept->arena, l->s);
    soma_status status = fill_report(l, kept);
    if (status == SOMA_OK)
        status = soma_attach(l->m, "io.weights", kept, destroy_report);
    if (status != SOMA_OK) {
        destroy_report(l->m, kept);
        return status;
    }
    if (l->o->report)
        *l->o->report = kept->report;
    return judge(l, &kept->report);
}

/* ---- the whole ---- */

static soma_status prepare(loading *l)
{
    const soma_load_weights_options *o = l->o;
    l->keras = !strcmp(o->layout, "keras");
    soma_status status = check_rules(l, o->map, o->n_map);
    if (status == SOMA_OK && o->map_file)
        status = soma_read_renames(l->s, o->map_file, &l->arena, &l->file_rules, &l->n_file_rules);
    if (status == SOMA_OK)
        status = check_rules(l, l->file_rules, l->n_file_rules);
    if (status == SOMA_OK)
        status = soma_safetensors_open(&l->file, l->s, o->path);
    if (status != SOMA_OK)
        return status;
    size_t n = (size_t)l->m->n_tensors + 1;
    l->moves = soma_alloc_array(l->s, (size_t)l->file.n_tensors + 1, sizeof *l->moves);
    l->head = soma_alloc_array(l->s, n, sizeof *l->head);
    l->source = soma_alloc_array(l->s, n, sizeof *l->source);
    if (!l->moves || !l->head || !l->source)
        return SOMA_MEMORY;
    if (o->new_head && soma_model_head(l->m, l->head) < 0)
        return soma_fail(l->s, SOMA_INVALID, o->at, "load weights: the model \"%s\" has no last layer with tensors",
                         l->m->name);
    return SOMA_OK;
}

/* Initial values are drawn only where some tensor keeps them. */
static soma_status write_tensors(loading *l)
{
    bool all = true;
    for (int i = 0; i < l->m->n_tensors; i++)
        all = all && (l->m->tensors[i].data || (l->source[i] && !l->head[i]));
    l->m->reading = all;
    soma_status status = soma_model_materialize(l->m);
    l->m->reading = false;
    for (int i = 0; i < l->file.n_tensors && status == SOMA_OK; i++)
        if (l->moves[i].to >= 0 && !l->head[l->moves[i].to])
            move_tensor(l, &l->moves[i]);
    soma_touch(l->m);
    return status;
}

static const char *const layouts[] = {"torch", "keras", NULL};

SOMA_TABLE(soma_load_weights_options) = {
    SOMA_TEXT(soma_load_weights_options, path, NULL, .flags = SOMA_FIELD_REQUIRED, .example = "\"vgg16.safetensors\"",
              .doc = "of a safetensors file"),
    SOMA_TEXT(soma_load_weights_options, layout, "torch", .choices = layouts,
              .doc = "whose names and orders of axes the file has"),
    SOMA_OTHER(soma_load_weights_options, map, .doc = "rules for the file's names"),
    SOMA_OTHER(soma_load_weights_options, n_map, .doc = "how many rules"),
    SOMA_TEXT(soma_load_weights_options, map_file, NULL, .doc = "a YAML mapping of such rules, OLD: NEW"),
    SOMA_BOOL(soma_load_weights_options, partial, .doc = "missing and unused tensors are no error"),
    SOMA_BOOL(soma_load_weights_options, new_head, .doc = "the last layer with tensors stays as it is"),
    SOMA_OTHER(soma_load_weights_options, report, .doc = "what was found"),
    SOMA_FIELDS_END};

soma_status soma_load_weights_with(soma_model *m, const soma_load_weights_options *given)
{
    soma_load_weights_options o;
    if (!m || SOMA_TAKE(m->s, "load weights", soma_load_weights_options, given, &o))
        return SOMA_INVALID;
    if (m->graph->failed)
        return soma_fail(m->s, SOMA_INVALID, o.at, "load weights: building the model failed");
    loading l = {.s = m->s, .m = m, .o = &o};
    soma_arena_init(&l.arena, m->s);
    soma_status status = prepare(&l);
    if (status == SOMA_OK)
        status = match(&l);
    if (status == SOMA_OK)
        status = report(&l);
    if (status == SOMA_OK)
        status = write_tensors(&l);
    const char *note = soma_attached(m, SOMA_ZOO_NOTE);
    if (status == SOMA_OK && note)
        soma_say(m->s, SOMA_LOG_INFO, "%s: %s", o.path, note);
    soma_release(m->s, l.moves);
    soma_release(m->s, l.head);
    soma_release(m->s, l.source);
    soma_release(m->s, l.file_rules);
    if (l.file.s)
        soma_safetensors_close(&l.file);
    soma_arena_free(&l.arena);
    return status;
}
