/* SPDX-License-Identifier: Apache-2.0
 *
 * data/sample.c: what a dataset tells of itself, and reading samples by position. Every call accepts NULL.
 */
#include "data/dataset.h"

#include "base/words.h"

#include <inttypes.h>

int64_t soma_dataset_count(const soma_dataset *d)
{
    return d ? d->count : 0;
}

soma_type soma_dataset_input(const soma_dataset *d)
{
    return d ? d->input : (soma_type){0};
}

soma_type soma_dataset_target(const soma_dataset *d)
{
    return d ? d->target : (soma_type){0};
}

bool soma_dataset_has_target(const soma_dataset *d)
{
    return d && d->has_target;
}

int soma_dataset_classes(const soma_dataset *d)
{
    return d ? d->classes : 0;
}

const char *soma_dataset_class(const soma_dataset *d, int index)
{
    return d && index >= 0 && index < d->classes ? d->names[index] : NULL;
}

soma_transform soma_dataset_transform(const soma_dataset *d)
{
    return d ? d->framing.transform : (soma_transform){0};
}

uint64_t soma_dataset_bytes(const soma_dataset *d)
{
    return d ? d->bytes : 0;
}

soma_status soma_dataset_read(const soma_dataset *d, const int64_t *index, int64_t n, void *x, void *y)
{
    if (!d)
        return SOMA_INVALID;
    soma *s = d->object.s;
    if (n < 0 || (n && !index))
        return soma_fail(s, SOMA_INVALID, soma_nowhere(),
                         SOMA_IN_C("soma_dataset_read: ") "%" PRId64 " positions cannot be read from a list at %s", n,
                         index ? "this place" : "NULL");
    for (int64_t i = 0; i < n; i++)
        if (index[i] < 0 || index[i] >= d->count)
            return s->field_name
                       ? soma_fail(s, SOMA_INVALID, soma_nowhere(),
                                   "there is no sample %" PRId64 ": the data have %" PRId64
                                   " of them, which count from 0",
                                   index[i], d->count)
                       : soma_fail(s, SOMA_INVALID, soma_nowhere(),
                                   "soma_dataset_read: position %" PRId64 " (index[%" PRId64
                                   "]) is not within the %" PRId64 " samples of the dataset, which count from 0",
                                   index[i], i, d->count);
    soma_reader r;
    soma_reader_open(&r, s);
    soma_status status = d->read(d, &r, index, n, x, y);
    if (status)
        soma_fail(s, status, soma_nowhere(), "%s", r.s.error);
    soma_reader_report(&r, d);
    soma_notes_end(d);
    soma_reader_close(&r);
    return status;
}

/* ---- readers ---- */

void soma_reader_open(soma_reader *r, soma *s)
{
    memset(r, 0, sizeof *r);
    soma_child_open(&r->s, s);
    r->chance.random = &s->random;
}

void soma_reader_close(soma_reader *r)
{
    soma_release(&r->s, r->scratch.block);
    soma_child_close(&r->s);
}

int64_t soma_reader_report(soma_reader *r, const soma_dataset *d)
{
    soma *s = d->object.s;
    int64_t n = r->skipped;
    r->skipped = 0;
    if (n > 1)
        soma_say(s, SOMA_LOG_WARNING, "%s (skipped, with %" PRId64 " other%s)", r->skip, n - 1, n == 2 ? "" : "s");
    else if (n)
        soma_say(s, SOMA_LOG_WARNING, "%s (skipped)", r->skip);
    for (int64_t i = 0; i < r->noted; i++)
        if (i < SOMA_NOTES_TOLD && d->notes->told < SOMA_NOTES_TOLD) {
            soma_say(s, SOMA_LOG_WARNING, "%s", r->note[i]);
            d->notes->told++;
        } else {
            d->notes->untold++;
        }
    r->noted = 0;
    return n;
}

void soma_notes_end(const soma_dataset *d)
{
    if (!d->notes || !d->notes->untold)
        return;
    soma_say(d->object.s, SOMA_LOG_WARNING, "%" PRId64 " more picture%s a fault that costs no pixel", d->notes->untold,
             d->notes->untold == 1 ? " has" : "s have");
    d->notes->untold = 0;
}
