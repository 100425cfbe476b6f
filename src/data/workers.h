/* SPDX-License-Identifier: Apache-2.0
 *
 * data/workers.h: a few threads that do one job at a time, all together. Knows nothing of what the job is.
 */
#ifndef SOMA_DATA_WORKERS_H
#define SOMA_DATA_WORKERS_H

#include "base/context.h"

typedef struct soma_workers soma_workers;
/* Called on each thread: part `index` of `count`. */
typedef void (*soma_workers_fn)(void *job, int index, int count);

/* NULL: the context's error is set. */
soma_workers *soma_workers_new(soma *s, soma_at at, int threads, soma_workers_fn fn, void *job);
/* Starts the job and returns at once. The one before must have been waited for. */
void soma_workers_begin(soma_workers *workers);
/* Returns when all threads are done with it. */
void soma_workers_wait(soma_workers *workers);
/* Waits for a job under way, joins the threads. NULL is fine. */
void soma_workers_free(soma_workers *workers);

#endif
