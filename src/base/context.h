/* SPDX-License-Identifier: Apache-2.0
 *
 * base/context.h: the context's inside: memory, errors, log, the objects to be freed with it. Knows no tensors.
 */
#ifndef SOMA_BASE_CONTEXT_H
#define SOMA_BASE_CONTEXT_H

#include <pthread.h>
#include <soma/base.h>
#include <stdarg.h>

/* Whatever is opened from a context begins with one of these: soma_close destroys them, newest first. */
typedef struct soma_object {
    soma *s;
    struct soma_object *previous, *next;
    void (*destroy)(struct soma_object *object); /* frees the object's memory as well */
} soma_object;

struct soma {
    soma_allocator allocator;
    soma_files files;
    soma_random random;
    soma_clock clock;
    soma_log_fn log;
    void *log_user;
    uint64_t seed;
    int threads;
    bool exact, tune;
    const char *data_path; /* folders, a colon between them; never NULL */
    pthread_mutex_t lock;  /* guards memory and error: loader threads allocate too */
    soma_memory memory;
    soma_object *objects;
    const char *(*field_name)(void *user, const char *field); /* NULL: sentences are for C (base/words.h) */
    void *field_user;
    /* while the library builds for someone: the place of mistakes, whatever its own source says */
    const soma_at *builder;
    soma_status status;
    soma_at place; /* of the error */
    char error[1024];
};

/* A context for another thread: memory and seams of the parent, an error of its own, no log. Lives in the caller's
 * memory; the parent must outlive it. */
void soma_child_open(soma *child, soma *parent);
void soma_child_close(soma *child);

/* Joins / leaves the list of objects. Leaving does not free. */
void soma_object_add(soma *s, soma_object *object, void (*destroy)(soma_object *));
void soma_object_remove(soma_object *object);

/* Memory of the context: zeroed, 64-byte aligned. NULL: the error is set. soma_release needs no size; NULL is fine. */
void *soma_alloc(soma *s, size_t bytes);
/* n * size, checked. */
void *soma_alloc_array(soma *s, size_t n, size_t size);
/* Grows an array of `size`-byte elements to hold at least `need`; on failure *items and *capacity stay. */
soma_status soma_grow(soma *s, void *items, int *capacity, int need, size_t size);
char *soma_copy_text(soma *s, const char *text);
void soma_release(soma *s, void *block);

/* Sets the first error: "vgg.c:12: " comes before the sentence when at.file is set. The format may hold marks of
 * base/words.h. Returns code. */
soma_status soma_fail(soma *s, soma_status code, soma_at at, const char *format, ...) SOMA_PRINTF(4, 5);
soma_status soma_fail_v(soma *s, soma_status code, soma_at at, const char *format, va_list args);
/* Of several mistakes the first in a file counts, not the first that is found: an error that is put aside and put
 * back. */
typedef struct soma_mistake {
    soma_status status; /* SOMA_OK: none */
    soma_at place;
    char text[1024];
} soma_mistake;
/* Takes the error out of the context where it stands before the one that is kept, else drops it. */
void soma_mistake_take(soma *s, soma_mistake *kept);
/* The kept one becomes the context's error again. Returns its status. */
soma_status soma_mistake_put(soma *s, const soma_mistake *kept);
static inline soma_at soma_nowhere(void)
{
    return (soma_at){NULL, 0};
}
void soma_say(soma *s, soma_log_level level, const char *format, ...) SOMA_PRINTF(3, 4);
double soma_now(soma *s);

/* CPUs that this process may use. */
int soma_cpu_count(void);

#endif
