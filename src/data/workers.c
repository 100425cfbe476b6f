/* SPDX-License-Identifier: Apache-2.0
 *
 * data/workers.c: a few threads around one mutex. Waits have no deadline, but none is without end: threads wait for
 * work or for the word to leave, the owner for threads that are at work.
 */
#include "data/workers.h"

#include "base/words.h"

#include <signal.h>

typedef struct member {
    soma_workers *workers;
    pthread_t thread;
    int index;
} member;

struct soma_workers {
    soma *s;
    soma_workers_fn fn;
    void *job;
    int count; /* threads that run */
    pthread_mutex_t lock;
    pthread_cond_t begin, done;
    uint64_t round; /* jobs begun */
    int at_work;    /* threads that have not finished this round */
    bool leave;
    member member[];
};

static void *work(void *argument)
{
    member *m = argument;
    soma_workers *workers = m->workers;
    uint64_t seen = 0;
    pthread_mutex_lock(&workers->lock);
    for (;;) {
        while (workers->round == seen && !workers->leave)
            pthread_cond_wait(&workers->begin, &workers->lock);
        if (workers->leave)
            break;
        seen = workers->round;
        int count = workers->count;
        pthread_mutex_unlock(&workers->lock);
        workers->fn(workers->job, m->index, count);
        pthread_mutex_lock(&workers->lock);
        if (--workers->at_work == 0)
            pthread_cond_signal(&workers->done);
    }
    pthread_mutex_unlock(&workers->lock);
    return NULL;
}

/* Signals are the program's business: its handlers must not find themselves on a thread it does not know. */
static int start(member *m)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int error = pthread_create(&m->thread, NULL, work, m);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return error;
}

soma_workers *soma_workers_new(soma *s, soma_at at, int threads, soma_workers_fn fn, void *job)
{
    soma_workers *workers = soma_alloc(s, sizeof *workers + (size_t)threads * sizeof *workers->member);
    if (!workers)
        return NULL;
    workers->s = s;
    workers->fn = fn;
    workers->job = job;
    /* With default attributes these three only set fields, on glibc and musl alike. */
    pthread_mutex_init(&workers->lock, NULL);
    pthread_cond_init(&workers->begin, NULL);
    pthread_cond_init(&workers->done, NULL);
    for (int i = 0; i < threads; i++) {
        member *m = &workers->member[i];
        m->workers = workers;
        m->index = i;
        int error = start(m);
        if (error) {
            soma_fail(s, SOMA_UNSUPPORTED, at,
                      "loader thread %d of %d could not be started (error %d of the system)" SOMA_IN_C(
                          "; ask for fewer, or for none with .threads = 0")
                          SOMA_ELSEWHERE("; may this user start more of them (ulimit -u)?"),
                      i + 1, threads, error);
            soma_workers_free(workers);
            return NULL;
        }
        pthread_mutex_lock(&workers->lock);
        workers->count++;
        pthread_mutex_unlock(&workers->lock);
    }
    return workers;
}

void soma_workers_begin(soma_workers *workers)
{
    pthread_mutex_lock(&workers->lock);
    workers->round++;
    workers->at_work = workers->count;
    pthread_cond_broadcast(&workers->begin);
    pthread_mutex_unlock(&workers->lock);
}

void soma_workers_wait(soma_workers *workers)
{
    pthread_mutex_lock(&workers->lock);
    while (workers->at_work)
        pthread_cond_wait(&workers->done, &workers->lock);
    pthread_mutex_unlock(&workers->lock);
}

void soma_workers_free(soma_workers *workers)
{
    if (!workers)
        return;
    soma_workers_wait(workers);
    pthread_mutex_lock(&workers->lock);
    workers->leave = true;
    pthread_cond_broadcast(&workers->begin);
    pthread_mutex_unlock(&workers->lock);
    for (int i = 0; i < workers->count; i++)
        pthread_join(workers->member[i].thread, NULL);
    pthread_cond_destroy(&workers->done);
    pthread_cond_destroy(&workers->begin);
    pthread_mutex_destroy(&workers->lock);
    soma_release(workers->s, workers);
}
