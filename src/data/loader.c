/* SPDX-License-Identifier: Apache-2.0
 *
 * data/loader.c: a dataset seen as batches, in an order that depends on (seed, epoch) only. Without threads a batch is
 * written by the caller, at the cost of the copy; with threads each writes its share of the rows, while the caller does
 * something else. Threads touch the dataset, the buffers and readers of their own, never the context's error: what they
 * have to say surfaces at soma_loader_wait.
 */
#include "base/random.h"
#include "base/words.h"
#include "data/workers.h"
#include "data/dataset.h"

#include <inttypes.h>

#define THREADS_MAX 256

/* What one thread says of its share of the batch. */
typedef struct share {
    soma_status status;
    soma_reader reader;
} share;

struct soma_loader {
    soma_object object;
    soma_dataset *d;                      /* one reference is ours */
    int64_t batch_size, batches, samples; /* of an epoch */
    bool shuffle;
    uint64_t seed;
    int64_t epoch, next;   /* next: batch to be begun */
    int64_t *order;        /* [dataset's count], of `epoch` */
    soma_workers *workers; /* NULL: no threads */
    int n_shares;
    share *shares;
    bool begun; /* a batch that has not been waited for */
    const int64_t *indices;
    int64_t n;
    char *x, *y;     /* of the batch begun last */
    int64_t skipped; /* of this epoch */
};

static void write_share(void *job, int index, int count)
{
    soma_loader *l = job;
    const soma_dataset *d = l->d;
    share *mine = &l->shares[index];
    int64_t from = l->n * index / count, to = l->n * (index + 1) / count;
    mine->status = SOMA_OK;
    mine->reader.chance.epoch = (uint64_t)l->epoch;
    soma_clear(&mine->reader.s);
    if (from < to)
        mine->status = d->read(d, &mine->reader, l->indices + from, to - from, l->x ? l->x + from * d->row * 4 : NULL,
                               l->y ? l->y + from * d->y_row * 4 : NULL); /* f32 and i32: 4 bytes */
}

/* Ends the batch under way; the first share that failed speaks for all, whichever thread was quicker. */
static const share *settle(soma_loader *l)
{
    if (!l->begun)
        return NULL;
    if (l->workers)
        soma_workers_wait(l->workers);
    l->begun = false;
    for (int i = 0; i < l->n_shares; i++)
        if (l->shares[i].status)
            return &l->shares[i];
    return NULL;
}

/* ---- life ---- */

static void destroy(soma_object *object)
{
    soma_loader *l = (soma_loader *)object;
    soma *s = object->s;
    soma_workers_free(l->workers);
    soma_dataset_drop(l->d);
    for (int i = 0; l->shares && i < l->n_shares; i++)
        soma_reader_close(&l->shares[i].reader);
    soma_release(s, l->shares);
    soma_release(s, l->order);
    soma_release(s, l);
}

SOMA_TABLE(soma_loader_options) = {
    SOMA_INT(soma_loader_options, batch_size, 32, AT_LEAST(1), .doc = "samples of a batch"),
    SOMA_BOOL(soma_loader_options, no_shuffle, .doc = "keeps the data's order"),
    SOMA_SIZE(soma_loader_options, seed, 0, ANY, .doc = "of the order and of augmentation"),
    SOMA_BOOL(soma_loader_options, drop_last, .doc = "leaves out the smaller last batch"),
    SOMA_INT(soma_loader_options, threads, 0, BETWEEN(0, THREADS_MAX),
             .doc = "that read; without it none where reading is a copy from memory, else the context's number"),
    SOMA_BOOL(soma_loader_options, augment, .doc = "training: applies the data's augmentation"),
    SOMA_FIELDS_END};

static soma_status check_options(soma_dataset *d, const soma_loader_options *o)
{
    soma *s = d->object.s;
    if (o->drop_last && d->count < o->batch_size)
        return soma_fail(s, SOMA_INVALID, o->at,
                         SOMA_IN_C("soma_loader_new: ") SOMA_FIELD(
                             "drop_last") " leaves no batch, because the %" PRId64
                                          " samples are fewer than " SOMA_FIELD_IS(
                                              "batch_size", "%" PRId64) "; use a smaller batch or keep the last one",
                         d->count, o->batch_size);
    return SOMA_OK;
}

static soma_status prepare(soma_loader *l, const soma_loader_options *o)
{
    soma *s = l->object.s;
    l->n_shares = o->threads ? (int)o->threads : 1;
    l->shares = soma_alloc_array(s, (size_t)l->n_shares, sizeof *l->shares);
    for (int i = 0; l->shares && i < l->n_shares; i++) {
        soma_reader *r = &l->shares[i].reader;
        soma_reader_open(r, s);
        r->augment = o->augment;
        r->chance.seed = o->seed;
    }
    l->order = l->shares ? soma_alloc_array(s, (size_t)l->d->count, sizeof *l->order) : NULL;
    if (!l->order)
        return SOMA_MEMORY;
    if (l->shuffle)
        soma_shuffle(&s->random, l->seed, 0, l->order, l->d->count);
    else
        for (int64_t i = 0; i < l->d->count; i++)
            l->order[i] = i;
    if (o->threads) {
        l->workers = soma_workers_new(s, o->at, (int)o->threads, write_share, l);
        if (!l->workers)
            return SOMA_UNSUPPORTED;
    }
    return SOMA_OK;
}

soma_loader *soma_loader_new_with(soma_dataset *d, const soma_loader_options *given)
{
    soma_loader_options o;
    if (!d || SOMA_TAKE(d->object.s, "soma_loader_new", soma_loader_options, given, &o))
        return NULL;
    if (d->files && !o.threads) /* decoding is work: for as many as compute */
        o.threads = d->object.s->threads < THREADS_MAX ? d->object.s->threads : THREADS_MAX;
    if (check_options(d, &o))
        return NULL;
    soma *s = d->object.s;
    soma_loader *l = soma_alloc(s, sizeof *l);
    if (!l)
        return NULL;
    l->object.s = s;
    l->d = soma_dataset_hold(d);
    l->batch_size = o.batch_size < d->count ? o.batch_size : d->count;
    l->batches = d->count / l->batch_size;
    l->samples = l->batches * l->batch_size;
    if (!o.drop_last && l->samples < d->count) {
        l->batches++;
        l->samples = d->count;
    }
    l->shuffle = !o.no_shuffle;
    l->seed = o.seed;
    if (prepare(l, &o)) {
        destroy(&l->object);
        return NULL;
    }
    soma_object_add(s, &l->object, destroy);
    return l;
}

void soma_loader_free(soma_loader *l)
{
    if (!l)
        return;
    soma_object_remove(&l->object);
    destroy(&l->object);
}

/* ---- batches ---- */

int64_t soma_loader_batches(const soma_loader *l)
{
    return l ? l->batches : 0;
}

soma_status soma_loader_start(soma_loader *l, int64_t epoch, int64_t batch)
{
    if (!l)
        return SOMA_INVALID;
    soma *s = l->object.s;
    if (epoch < 0 || batch < 0 || batch > l->batches)
        return soma_fail(s, SOMA_INVALID, soma_nowhere(),
                         SOMA_IN_C("soma_loader_start: ") "epoch %" PRId64 ", batch %" PRId64
                                                          " cannot be: epochs count from 0, and an epoch has %" PRId64
                                                          " batches",
                         epoch, batch, l->batches);
    (void)settle(l); /* whatever became of it, that batch is not wanted any more */
    if (l->shuffle && epoch != l->epoch)
        soma_shuffle(&s->random, l->seed, (uint64_t)epoch, l->order, l->d->count);
    l->epoch = epoch;
    l->next = batch;
    l->skipped = 0;
    return SOMA_OK;
}

int64_t soma_loader_ahead(const soma_loader *l)
{
    if (!l || l->next >= l->batches)
        return 0;
    int64_t rest = l->samples - l->next * l->batch_size;
    return rest < l->batch_size ? rest : l->batch_size;
}

soma_status soma_loader_fill(soma_loader *l, void *x, void *y)
{
    if (!l)
        return SOMA_INVALID;
    if (l->begun) { /* nobody waited for the batch before: do it now, so that no error is lost */
        soma_status status = soma_loader_wait(l);
        if (status)
            return status;
    }
    int64_t n = soma_loader_ahead(l);
    if (!n)
        return SOMA_END;
    l->indices = l->order + l->next * l->batch_size;
    l->n = n;
    l->x = x;
    l->y = y;
    l->next++;
    l->begun = true;
    if (l->workers)
        soma_workers_begin(l->workers);
    else
        write_share(l, 0, 1);
    return SOMA_OK;
}

void soma_loader_rest(soma_loader *l)
{
    if (l->begun && l->workers)
        soma_workers_wait(l->workers);
}

soma_status soma_loader_wait(soma_loader *l)
{
    if (!l)
        return SOMA_INVALID;
    soma *s = l->object.s;
    const share *failed = settle(l);
    for (int i = 0; i < l->n_shares; i++) {
        soma_reader *r = &l->shares[i].reader;
        int64_t skipped = soma_reader_report(r, l->d);
        l->skipped += skipped;
        if (skipped && !failed && l->skipped > 1 && l->skipped * 100 > l->samples)
            return soma_fail(s, SOMA_DATA, soma_nowhere(),
                             "%" PRId64 " of %" PRId64 " samples cannot be read, more than 1 %%; the last one: %s",
                             l->skipped, l->samples, r->skip);
    }
    if (l->next >= l->batches)
        soma_notes_end(l->d);
    return failed ? soma_fail(s, failed->status, soma_nowhere(), "%s", failed->reader.s.error) : SOMA_OK;
}

const int64_t *soma_loader_indices(const soma_loader *l)
{
    return l ? l->indices : NULL;
}
