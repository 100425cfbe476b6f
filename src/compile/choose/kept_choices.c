/* SPDX-License-Identifier: Apache-2.0
 *
 * compile/choose/kept_choices.c: where choices of kernels are kept: in the context (with a cache file, if its user
 * names one) and in each model (which a model file carries along). A file that is damaged or foreign is never believed
 * and never an error.
 */
#include "base/file.h"
#include "base/limits.h"
#include "compile/choose/tune.h"

#include <errno.h>
#include <string.h>

/* ---- the context's table ---- */

static void destroy_tuner(soma_object *object)
{
    soma_tuner *t = (soma_tuner *)object;
    soma *s = object->s;
    soma_choices_free(&t->timed);
    soma_release(s, t->path);
    soma_release(s, t);
}

soma_tuner *soma_tuner_of(soma *s)
{
    for (soma_object *o = s->objects; o; o = o->next)
        if (o->destroy == destroy_tuner)
            return (soma_tuner *)o;
    soma_tuner *t = soma_alloc(s, sizeof *t);
    if (!t)
        return NULL;
    soma_choices_init(&t->timed, s);
    soma_object_add(s, &t->object, destroy_tuner);
    return t;
}

soma_status soma_tuner_put(soma *s, const soma_choice *choice)
{
    soma_tuner *t = soma_tuner_of(s);
    soma_status status = t ? soma_choices_put(&t->timed, choice) : SOMA_MEMORY;
    if (status == SOMA_OK)
        t->changed = true;
    return status;
}

/* ---- its file ---- */

/* The context's error as it was before a file was tried, and what went wrong as a warning. */
static void only_warn(soma *s, bool failed_before, const char *path)
{
    soma_say(s, SOMA_LOG_WARNING, "%s: the cache of timed kernels is not used: %s", path,
             failed_before ? "it cannot be read or written" : soma_error(s));
    if (!failed_before)
        soma_clear(s);
}

static bool exists(soma *s, const char *path)
{
    int handle = s->files.open(s->files.user, path, false);
    if (handle >= 0)
        s->files.close(s->files.user, handle);
    return handle != -ENOENT && handle != -ENOTDIR;
}

/* Adds what the file knows and the table does not. */
static soma_status read_file(soma_tuner *t)
{
    soma *s = t->object.s;
    bool failed = soma_failed(s);
    void *bytes = NULL;
    size_t size = 0;
    const char *why = NULL;
    if (!exists(s, t->path))
        return SOMA_OK;
    soma_status status = soma_file_read(s, t->path, SOMA_LIMIT_CHOICES, &bytes, &size);
    if (status != SOMA_OK && status != SOMA_MEMORY) {
        only_warn(s, failed, t->path);
        return SOMA_OK;
    }
    if (status == SOMA_OK)
        status = soma_choices_read(&t->timed, bytes, size, &why);
    if (why)
        soma_say(s, SOMA_LOG_WARNING, "%s: the cache of timed kernels is not used: %s; it will be written anew",
                 t->path, why);
    soma_release(s, bytes);
    return status;
}

soma_status soma_tune_cache_open(soma *s, const char *path)
{
    if (!s)
        return SOMA_INVALID;
    if (!path || !*path)
        return soma_fail(s, SOMA_INVALID, soma_nowhere(), "the cache of timed kernels needs a path");
    soma_tuner *t = soma_tuner_of(s);
    char *copy = t ? soma_copy_text(s, path) : NULL;
    if (!copy)
        return SOMA_MEMORY;
    soma_release(s, t->path);
    t->path = copy;
    return read_file(t);
}

void soma_tuner_save(soma *s)
{
    soma_tuner *t = soma_tuner_of(s);
    if (!t || !t->changed || !t->path)
        return;
    bool failed = soma_failed(s);
    soma_text text = {.s = s};
    soma_file_writer w = {0};
    soma_status status = read_file(t); /* another process may have written since */
    if (status == SOMA_OK) {
        soma_choices_write(&t->timed, &text);
        status = text.failed ? SOMA_MEMORY : soma_file_begin(&w, s, t->path, text.size);
    }
    if (status == SOMA_OK) {
        soma_file_write(&w, text.bytes, text.size);
        status = soma_file_commit(&w);
    }
    if (status != SOMA_OK)
        only_warn(s, failed, t->path);
    t->changed = false; /* written, or told once */
    soma_text_free(&text);
}

/* ---- a model's record ---- */

#define RECORD_KEY "graph/record"

typedef struct record {
    soma_choices choices;
    uint64_t hash;
    bool told; /* that it is another machine's */
} record;

static void destroy_record(soma_model *m, void *data)
{
    record *r = data;
    soma_choices_free(&r->choices);
    soma_release(m->s, r);
}

static record *record_of(soma_model *m)
{
    record *r = soma_attached(m, RECORD_KEY);
    if (r)
        return r;
    r = soma_alloc(m->s, sizeof *r);
    if (!r)
        return NULL;
    soma_choices_init(&r->choices, m->s);
    if (soma_attach(m, RECORD_KEY, r, destroy_record) == SOMA_OK)
        return r;
    soma_release(m->s, r);
    return NULL;
}

bool soma_choices_any(const soma_model *m)
{
    const record *r = soma_attached(m, RECORD_KEY);
    return r && r->choices.n > 0;
}

const soma_choice *soma_choices_of_model(soma_model *m, const char *machine, const char *key)
{
    record *r = soma_attached(m, RECORD_KEY);
    const soma_choice *found = r ? soma_choices_find(&r->choices, machine, key) : NULL;
    if (found || !r || !r->choices.n || r->told)
        return found;
    for (int i = 0; i < r->choices.n; i++)
        if (!strcmp(r->choices.items[i].machine, machine))
            return NULL;
    r->told = true;
    soma_say(m->s, SOMA_LOG_WARNING,
             "the model \"%s\" was tuned on another machine (%s), this is %s: its record of kernels is not used",
             m->name, r->choices.items[0].machine, machine);
    return NULL;
}

soma_status soma_model_set_fingerprint(soma_model *m, uint64_t hash)
{
    record *r = record_of(m);
    if (!r)
        return SOMA_MEMORY;
    r->hash = hash;
    return SOMA_OK;
}

uint64_t soma_model_fingerprint(const soma_model *m)
{
    const record *r = soma_attached(m, RECORD_KEY);
    return r ? r->hash : 0;
}

void soma_choices_save(const soma_model *m, soma_text *text)
{
    const record *r = soma_attached(m, RECORD_KEY);
    if (r && r->choices.n)
        soma_choices_write(&r->choices, text);
}

soma_status soma_choices_load(soma_model *m, const char *text, const char *path)
{
    const char *why = NULL;
    record *r = record_of(m);
    soma_status status = r ? soma_choices_read(&r->choices, text, strlen(text), &why) : SOMA_MEMORY;
    if (why)
        soma_say(m->s, SOMA_LOG_WARNING, "%s: the record of kernels is not used: %s", path, why);
    return status;
}

static bool any_choice(const soma_plan *p)
{
    for (int i = 0; i < p->n_tasks; i++)
        if (p->tasks[i].choice)
            return true;
    return false;
}

/* A program that is not made leaves the record as it was. */
soma_status soma_choices_keep(soma_plan *p)
{
    if (!any_choice(p))
        return SOMA_OK;
    char machine[SOMA_MACHINE_TEXT];
    record *r = record_of(p->model);
    int n = r ? r->choices.n : 0;
    soma_choice *before = r ? soma_alloc_array(p->s, (size_t)n + 1, sizeof *before) : NULL;
    soma_status status = before ? SOMA_OK : SOMA_MEMORY;
    if (before && n)
        memcpy(before, r->choices.items, (size_t)n * sizeof *before);
    soma_machine_text(p->s, machine);
    for (int i = 0; i < p->n_tasks && status == SOMA_OK; i++) {
        if (!p->tasks[i].choice)
            continue;
        soma_choice choice = *p->tasks[i].choice;
        choice.machine = machine;
        status = soma_choices_put(&r->choices, &choice);
    }
    if (before && status != SOMA_OK) {
        if (n)
            memcpy(r->choices.items, before, (size_t)n * sizeof *before);
        r->choices.n = n;
    }
    soma_release(p->s, before);
    return status;
}
