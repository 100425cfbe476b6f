/* SPDX-License-Identifier: Apache-2.0
 *
 * data/crew.c: a few threads around one mutex. Waits have no deadline, but none is without end: threads wait for work
 * or for the word to leave, the owner for threads that are at work.
 */
#include "data/crew.h"

#include "base/words.h"

#include <signal.h>

typedef struct member {
    soma_crew *crew;
    pthread_t thread;
    int index;
} member;

struct soma_crew {
    soma *s;
    soma_crew_fn fn;
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
    soma_crew *crew = m->crew;
    uint64_t seen = 0;
    pthread_mutex_lock(&crew->lock);
    for (;;) {
        while (crew->round == seen && !crew->leave)
            pthread_cond_wait(&crew->begin, &crew->lock);
        if (crew->leave)
            break;
        seen = crew->round;
        int count = crew->count;
        pthread_mutex_unlock(&crew->lock);
        crew->fn(crew->job, m->index, count);
        pthread_mutex_lock(&crew->lock);
        if (--crew->at_work == 0)
            pthread_cond_signal(&crew->done);
    }
    pthread_mutex_unlock(&crew->lock);
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

soma_crew *soma_crew_new(soma *s, soma_at at, int threads, soma_crew_fn fn, void *job)
{
    soma_crew *crew = soma_alloc(s, sizeof *crew + (size_t)threads * sizeof *crew->member);
    if (!crew)
        return NULL;
    crew->s = s;
    crew->fn = fn;
    crew->job = job;
    /* With default attributes these three only set fields, on glibc and musl alike. */
    pthread_mutex_init(&crew->lock, NULL);
    pthread_cond_init(&crew->begin, NULL);
    pthread_cond_init(&crew->done, NULL);
    for (int i = 0; i < threads; i++) {
        member *m = &crew->member[i];
        m->crew = crew;
        m->index = i;
        int error = start(m);
        if (error) {
            soma_fail(s, SOMA_UNSUPPORTED, at,
                      "loader thread %d of %d could not be started (error %d of the system)" SOMA_IN_C(
                          "; ask for fewer, or for none with .threads = 0")
                          SOMA_ELSEWHERE("; may this user start more of them (ulimit -u)?"),
                      i + 1, threads, error);
            soma_crew_free(crew);
            return NULL;
        }
        pthread_mutex_lock(&crew->lock);
        crew->count++;
        pthread_mutex_unlock(&crew->lock);
    }
    return crew;
}

void soma_crew_begin(soma_crew *crew)
{
    pthread_mutex_lock(&crew->lock);
    crew->round++;
    crew->at_work = crew->count;
    pthread_cond_broadcast(&crew->begin);
    pthread_mutex_unlock(&crew->lock);
}

void soma_crew_wait(soma_crew *crew)
{
    pthread_mutex_lock(&crew->lock);
    while (crew->at_work)
        pthread_cond_wait(&crew->done, &crew->lock);
    pthread_mutex_unlock(&crew->lock);
}

void soma_crew_free(soma_crew *crew)
{
    if (!crew)
        return;
    soma_crew_wait(crew);
    pthread_mutex_lock(&crew->lock);
    crew->leave = true;
    pthread_cond_broadcast(&crew->begin);
    pthread_mutex_unlock(&crew->lock);
    for (int i = 0; i < crew->count; i++)
        pthread_join(crew->member[i].thread, NULL);
    pthread_cond_destroy(&crew->done);
    pthread_cond_destroy(&crew->begin);
    pthread_mutex_destroy(&crew->lock);
    soma_release(crew->s, crew);
}
