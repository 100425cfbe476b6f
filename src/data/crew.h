/* SPDX-License-Identifier: Apache-2.0
 *
 * data/crew.h: a few threads that do one job at a time, all together. Knows nothing of what the job is.
 */
#ifndef SOMA_DATA_CREW_H
#define SOMA_DATA_CREW_H

#include "base/context.h"

typedef struct soma_crew soma_crew;
/* Called on each thread: part `index` of `count`. */
typedef void (*soma_crew_fn)(void *job, int index, int count);

/* NULL: the context's error is set. */
soma_crew *soma_crew_new(soma *s, soma_at at, int threads, soma_crew_fn fn, void *job);
/* Starts the job and returns at once. The one before must have been waited for. */
void soma_crew_begin(soma_crew *crew);
/* Returns when all threads are done with it. */
void soma_crew_wait(soma_crew *crew);
/* Waits for a job under way, joins the threads. NULL is fine. */
void soma_crew_free(soma_crew *crew);

#endif
