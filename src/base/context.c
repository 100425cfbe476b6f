/* SPDX-License-Identifier: Apache-2.0
 *
 * base/context.c: opening and closing a context, its first error, its log and the objects opened from it.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include "base/context.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/fields.h"
#include "base/file.h"
#include "base/memory.h"
#include "base/random.h"
#include "base/words.h"

#ifdef __linux__
#include <sched.h>
#endif

#define SOMA_THREADS_MAX 1024

static const char default_data_path[] = SOMA_DATA_PATH;

const char *soma_status_text(soma_status status)
{
    switch (status) {
#define SOMA_STATUS_CASE(name, code, text)                                                                             \
    case SOMA_##name:                                                                                                  \
        return text;
        SOMA_STATUS_LIST(SOMA_STATUS_CASE)
#undef SOMA_STATUS_CASE
    }
    return "unknown status";
}

int soma_cpu_count(void)
{
#ifdef __linux__
    cpu_set_t set; /* the affinity mask, not the machine: containers and taskset count */
    if (sched_getaffinity(0, sizeof set, &set) == 0 && CPU_COUNT(&set) > 0)
        return CPU_COUNT(&set);
#endif
    long n = sysconf(_SC_NPROCESSORS_ONLN);
    return n < 1 ? 1 : n > SOMA_THREADS_MAX ? SOMA_THREADS_MAX : (int)n;
}

/* ---- opening ---- */

SOMA_TABLE(soma_context_options) = {
    SOMA_SIZE(soma_context_options, seed, 0, ANY, .doc = "of initial values, orders of samples and dropout"),
    SOMA_INT(soma_context_options, threads, 0, BETWEEN(1, SOMA_THREADS_MAX),
             .doc = "at most that many; without it as many as the machine has for this process"),
    SOMA_BOOL(soma_context_options, exact,
              .doc = "reference kernels only: the same bits on every machine, compiler and thread count"),
    SOMA_BOOL(soma_context_options, tune, .doc = "kernels are timed and the fastest is taken"),
    SOMA_OTHER(soma_context_options, log, .doc = "is told what happens"),
    SOMA_OTHER(soma_context_options, log_user, .doc = "handed to log"),
    SOMA_OTHER(soma_context_options, allocator, .doc = "of all memory; without it the system's"),
    SOMA_OTHER(soma_context_options, files, .doc = "without it the system's"),
    SOMA_OTHER(soma_context_options, random, .doc = "without it Philox 4x32-10"),
    SOMA_OTHER(soma_context_options, clock, .doc = "without it the system's"),
    SOMA_TEXT(soma_context_options, data_path, default_data_path,
              .doc = "folders in which names of data sets are looked for, a colon between them"),
    SOMA_OTHER(soma_context_options, field_name, .doc = "how the program's users write a field of an option struct"),
    SOMA_OTHER(soma_context_options, field_user, .doc = "handed to field_name"),
    SOMA_FIELDS_END};

static bool files_complete(const soma_files *f)
{
    return f->open && f->size && f->read && f->write && f->sync && f->close && f->rename && f->remove && f->sync_folder;
}

static bool files_absent(const soma_files *f)
{
    return !f->open && !f->size && !f->read && !f->write && !f->sync && !f->close && !f->rename && !f->remove &&
           !f->sync_folder;
}

static void apply_options(soma *s, const soma_context_options *o)
{
    int cpus = soma_cpu_count();
    s->seed = o->seed;
    s->exact = o->exact;
    s->tune = o->tune;
    s->log = o->log;
    s->log_user = o->log_user;
    s->field_name = o->field_name;
    s->field_user = o->field_user;
    s->threads = o->threads ? (int)o->threads : cpus < SOMA_THREADS_MAX ? cpus : SOMA_THREADS_MAX;
    s->files = soma_files_posix;
    s->random = (soma_random){.draw = soma_philox, .user = NULL};
    s->clock = soma_clock_posix;
    if (o->random.draw)
        s->random = o->random;
    if (o->clock.now)
        s->clock = o->clock;
    if (files_complete(&o->files))
        s->files = o->files;
    else if (!files_absent(&o->files))
        soma_fail(s, SOMA_INVALID, o->at,
                  SOMA_IN_C("soma_open: ") "some functions of .files are NULL; give all from .open to .sync_folder, or "
                                           "none for the "
                                           "system's "
                                           "files");
}

soma *soma_open(const soma_context_options *options)
{
    static const soma_context_options none = {.struct_size = sizeof none};
    char reason[SOMA_REASON_MAX] = "", room[SOMA_REASON_MAX];
    soma_context_options o;
    soma_status status = soma_fields_resolve(soma_context_options_fields, sizeof o, options ? options : &none, &o,
                                             reason);
    if (status)
        o.threads = 1;
    soma_allocator allocator = o.allocator.resize ? o.allocator : soma_allocator_posix;
    soma *s = allocator.resize(allocator.user, NULL, 0, sizeof *s);
    if (!s)
        return NULL;
    memset(s, 0, sizeof *s);
    if (pthread_mutex_init(&s->lock, NULL)) {
        allocator.resize(allocator.user, s, sizeof *s, 0);
        return NULL;
    }
    s->allocator = allocator;
    s->memory = (soma_memory){.now = sizeof *s, .peak = sizeof *s, .calls = 1};
    apply_options(s, &o);
    bool own = o.data_path && o.data_path != default_data_path;
    char *data_path = own ? soma_copy_text(s, o.data_path) : NULL; /* without memory for it the context has failed */
    s->data_path = data_path ? data_path : default_data_path;
    if (status)
        soma_fail(s, status, soma_options_at(options), SOMA_IN_C("soma_open: ") "%s",
                  soma_words(s, soma_options_at(options), reason, room, sizeof room));
    return s;
}

void soma_close(soma *s)
{
    if (!s)
        return;
    while (s->objects) { /* newest first: what was opened later may lean on what was opened before */
        soma_object *object = s->objects;
        soma_object_remove(object);
        object->destroy(object);
    }
    if (s->data_path != default_data_path)
        soma_release(s, (char *)(uintptr_t)s->data_path);
    pthread_mutex_destroy(&s->lock);
    soma_allocator allocator = s->allocator;
    allocator.resize(allocator.user, s, sizeof *s, 0);
}

/* ---- objects ---- */

void soma_object_add(soma *s, soma_object *object, void (*destroy)(soma_object *))
{
    object->s = s;
    object->destroy = destroy;
    object->previous = NULL;
    pthread_mutex_lock(&s->lock);
    object->next = s->objects; /* the list runs from the newest to the oldest */
    if (s->objects)
        s->objects->previous = object;
    s->objects = object;
    pthread_mutex_unlock(&s->lock);
}

void soma_object_remove(soma_object *object)
{
    soma *s = object->s;
    if (!s)
        return; /* was never added, or has left: soma_close takes objects out before it destroys them */
    pthread_mutex_lock(&s->lock);
    if (object->previous)
        object->previous->next = object->next;
    else if (s->objects == object)
        s->objects = object->next;
    if (object->next)
        object->next->previous = object->previous;
    object->previous = object->next = NULL;
    pthread_mutex_unlock(&s->lock);
}

/* ---- the first error ---- */

soma_status soma_fail_v(soma *s, soma_status code, soma_at at, const char *format, va_list args)
{
    char words[1024];
    if (!s)
        return code;
    pthread_mutex_lock(&s->lock);
    if (s->status == SOMA_OK) {
        size_t room = sizeof s->error, used = 0;
        at = s->builder ? *s->builder : at;
        int line = at.line < 0 ? -at.line : at.line;
        bool c = at.line > 0 &&
                 s->field_name; /* a place in C says nothing to users of a program with words of its own */
        int n = !at.file || c ? 0
                : line        ? snprintf(s->error, room, "%s:%d: ", at.file, line)
                              : snprintf(s->error, room, "%s: ", at.file); /* a file without lines */
        used = n < 0 ? 0 : (size_t)n < room ? (size_t)n : room - 1;
        n = vsnprintf(s->error + used, room - used, soma_words(s, at, format, words, sizeof words), args);
        if (n > 0 && (size_t)n >= room - used)
            memcpy(s->error + room - 4, "...", 4);
        s->place = at;
        /* The text is complete before the status says so: readers take no lock. */
        __atomic_store_n(&s->status, code, __ATOMIC_RELEASE);
    }
    pthread_mutex_unlock(&s->lock);
    return code;
}

soma_status soma_fail(soma *s, soma_status code, soma_at at, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    soma_fail_v(s, code, at, format, args);
    va_end(args);
    return code;
}

void soma_mistake_take(soma *s, soma_mistake *kept)
{
    if (!soma_failed(s))
        return;
    if (kept->status == SOMA_OK || (s->place.file && -s->place.line < -kept->place.line)) {
        kept->status = s->status;
        kept->place = s->place;
        memcpy(kept->text, s->error, sizeof kept->text);
    }
    soma_clear(s);
}

soma_status soma_mistake_put(soma *s, const soma_mistake *kept)
{
    if (kept->status == SOMA_OK)
        return SOMA_OK;
    pthread_mutex_lock(&s->lock);
    s->place = kept->place;
    memcpy(s->error, kept->text, sizeof kept->text);
    __atomic_store_n(&s->status, kept->status, __ATOMIC_RELEASE);
    pthread_mutex_unlock(&s->lock);
    return kept->status;
}

soma_status soma_error_status(const soma *s)
{
    return s ? __atomic_load_n(&s->status, __ATOMIC_ACQUIRE) : SOMA_MEMORY;
}

bool soma_failed(const soma *s)
{
    return soma_error_status(s) != SOMA_OK;
}

const char *soma_error(const soma *s)
{
    if (!s)
        return "there is no context: soma_open returned NULL for lack of memory, or was not called";
    return soma_failed(s) ? s->error : "";
}

void soma_clear(soma *s)
{
    if (s)
        __atomic_store_n(&s->status, SOMA_OK, __ATOMIC_RELEASE);
}

/* ---- the rest ---- */

void soma_say(soma *s, soma_log_level level, const char *format, ...)
{
    char text[1024], words[1024];
    if (!s || !s->log)
        return;
    va_list args;
    va_start(args, format);
    int n = vsnprintf(text, sizeof text, soma_words(s, soma_nowhere(), format, words, sizeof words), args);
    va_end(args);
    if (n >= (int)sizeof text)
        memcpy(text + sizeof text - 4, "...", 4);
    s->log(s->log_user, level, text);
}

double soma_now(soma *s)
{
    return s->clock.now(s->clock.user);
}

int soma_threads(const soma *s)
{
    return s ? s->threads : 0;
}

uint64_t soma_seed(const soma *s)
{
    return s ? s->seed : 0;
}
