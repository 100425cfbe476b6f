/* SPDX-License-Identifier: Apache-2.0
 *
 * data/dataset_folder.c: a folder with a folder of pictures per class. Names are kept in memory, pictures are decoded when
 * they are read. Knows no picture formats.
 */
#include "base/size.h"
#include "data/dataset.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

/* Names that grow while folders are listed: texts one after the other, each ended by 0, and where each begins. */
typedef struct names {
    soma *s;
    char *text;
    uint64_t *at;
    int used, room;     /* bytes of text */
    int count, slots;   /* names */
    const char *prefix; /* "class/", put before each name */
    bool pictures;      /* take names of pictures that soma reads */
    soma_status status;
} names;

static void add_name(void *to, const char *name)
{
    names *n = to;
    bool taken = !n->pictures || soma_image_kind_read(soma_image_kind_named(name));
    if (n->status || name[0] == '.' || !taken)
        return;
    size_t prefix = strlen(n->prefix), size = prefix + strlen(name) + 1;
    if (size > (size_t)(INT32_MAX - n->used)) {
        n->status = soma_fail(n->s, SOMA_UNSUPPORTED, soma_nowhere(), "the names of the pictures take more than 2 GiB");
        return;
    }
    n->status = soma_grow(n->s, &n->text, &n->room, n->used + (int)size, 1);
    if (!n->status)
        n->status = soma_grow(n->s, &n->at, &n->slots, n->count + 1, sizeof *n->at);
    if (n->status)
        return;
    n->at[n->count++] = (uint64_t)n->used;
    memcpy(n->text + n->used, n->prefix, prefix);
    memcpy(n->text + n->used + prefix, name, size - prefix);
    n->used += (int)size;
}

/* Heap sort by the bytes of the names: needs no memory, and its time has a bound. */
static void sift(names *n, int from, int first, int end)
{
    for (int child; (child = 2 * from + 1) < end; from = child) {
        uint64_t *at = n->at + first;
        if (child + 1 < end && strcmp(n->text + at[child], n->text + at[child + 1]) < 0)
            child++;
        if (strcmp(n->text + at[from], n->text + at[child]) >= 0)
            return;
        uint64_t swap = at[from];
        at[from] = at[child];
        at[child] = swap;
    }
}

static void sort(names *n, int first)
{
    int count = n->count - first;
    for (int i = count / 2; i-- > 0;)
        sift(n, i, first, count);
    for (int end = count - 1; end > 0; end--) {
        uint64_t swap = n->at[first];
        n->at[first] = n->at[first + end];
        n->at[first + end] = swap;
        sift(n, 0, first, end);
    }
}

/* Adds the sorted names of the folder path[/name]. */
static soma_status list(names *n, const char *path, const char *name, soma_at at)
{
    soma *s = n->s;
    int first = n->count;
    size_t size = strlen(path) + strlen(name) + 2;
    char *full = soma_alloc(s, size);
    if (!full)
        return SOMA_MEMORY;
    snprintf(full, size, "%s%s%s", path, *name ? "/" : "", name);
    int error = s->files.list(s->files.user, full, add_name, n);
    if (error < 0)
        n->status = soma_fail(s, SOMA_IO, at, "the folder \"%s\" cannot be listed (error %d of the system)", full,
                              -error);
    soma_release(s, full);
    if (!n->status)
        sort(n, first);
    return n->status;
}

static void free_names(names *n)
{
    soma_release(n->s, n->text);
    soma_release(n->s, n->at);
}

/* The part of the data: a sub-folder train, test or val where there is one, else the folder itself. */
static char *locate(soma *s, const soma_dataset_options *o)
{
    bool test = o->split && !strcmp(o->split, "test");
    const char *part = test ? "test" : "train";
    if (test && !soma_dataset_finds(s, o->path, part, true))
        part = "val";
    bool parted = soma_dataset_finds(s, o->path, part, true);
    if (!parted && test && soma_dataset_finds(s, o->path, "train", true)) {
        soma_fail(s, SOMA_IO, o->at, "the folder \"%s\" holds a part \"train\", but neither \"test\" nor \"val\"",
                  o->path);
        return NULL;
    }
    size_t size = strlen(o->path) + 8;
    char *root = soma_alloc(s, size);
    if (root)
        snprintf(root, size, "%s%s%s", o->path, parted ? "/" : "", parted ? part : "");
    return root;
}

/* Pictures of every class, in order, with their labels. Folders without pictures are classes without samples. */
static soma_status list_classes(soma_dataset *d, names *classes, names *pictures, soma_at at)
{
    soma *s = d->object.s;
    int kept = 0, slots = 0;
    int32_t *labels = NULL;
    soma_status status = list(classes, d->root, "", at);
    for (int i = 0; i < classes->count && !status; i++) {
        char *name = classes->text + classes->at[i];
        if (!soma_dataset_finds(s, d->root, name, true))
            continue; /* a file beside the classes */
        size_t size = strlen(name) + 2;
        char *prefix = soma_alloc(s, size);
        if (!prefix) {
            status = SOMA_MEMORY;
            break;
        }
        snprintf(prefix, size, "%s/", name);
        pictures->prefix = prefix;
        int first = pictures->count;
        status = list(pictures, d->root, name, at);
        soma_release(s, prefix);
        if (!status)
            status = soma_grow(s, &labels, &slots, pictures->count + 1, sizeof *labels);
        for (int k = first; k < pictures->count && !status; k++)
            labels[k] = kept;
        classes->at[kept++] = classes->at[i];
    }
    classes->count = kept;
    if (labels)
        soma_dataset_adopt(d, labels, (uint64_t)slots * sizeof *labels);
    d->y = labels;
    return status;
}

/* A fault that costs no pixel, once for each picture. */
static void take_note(const soma_dataset *d, soma_reader *r, int64_t row, const char *note)
{
    if (!*note || __atomic_exchange_n(&d->notes->seen[row], 1, __ATOMIC_RELAXED))
        return;
    if (r->noted < SOMA_NOTES_TOLD)
        snprintf(r->note[r->noted], sizeof r->note[0], "%s", note);
    r->noted++;
}

static soma_status read_picture(const soma_dataset *d, soma_reader *r, int64_t row, float *x)
{
    char path[4096];
    const soma_chance *chance = r->augment && d->augments ? &r->chance : NULL;
    const char *name = d->texts + d->files[row];
    if (snprintf(path, sizeof path, "%s/%s", d->root, name) >= (int)sizeof path)
        return soma_fail(&r->s, SOMA_IO, soma_nowhere(), "%.200s...: the path is longer than 4,095 bytes", path);
    char note[sizeof r->note[0]];
    soma_status status = soma_render_file(&r->s, &r->scratch, &d->framing, chance, row, path, x, note, sizeof note);
    if (!status)
        take_note(d, r, row, note);
    return status;
}

/* Is another picture to be tried? Then what was wrong is kept for a report. */
static bool skips(const soma_dataset *d, soma_reader *r, soma_status status, int64_t tries)
{
    if (!status || !d->skip_broken || status == SOMA_MEMORY || tries == d->count)
        return false;
    snprintf(r->skip, sizeof r->skip, "%s", r->s.error);
    r->skipped++;
    soma_clear(&r->s);
    return true;
}

static soma_status read_pictures(const soma_dataset *d, soma_reader *r, const int64_t *index, int64_t n, void *x,
                                 void *y)
{
    for (int64_t i = 0; i < n; i++) {
        int64_t at = index[i], tries = 1, row = d->rows ? d->rows[at] : at;
        soma_status status = x ? read_picture(d, r, row, (float *)x + i * d->row) : SOMA_OK;
        while (skips(d, r, status, tries++)) {
            at = (at + 1) % d->count;
            row = d->rows ? d->rows[at] : at;
            status = read_picture(d, r, row, (float *)x + i * d->row);
        }
        if (status)
            return status;
        if (y)
            soma_dataset_targets(d, &row, 1, (int32_t *)y + i);
    }
    return SOMA_OK;
}

static soma_status check(soma_dataset *d, const names *classes, const names *pictures, soma_at at)
{
    soma *s = d->object.s;
    if (!classes->count)
        return soma_fail(s, SOMA_DATA, at,
                         "the folder \"%s\" holds neither MNIST's four files nor folders of pictures, one a class",
                         d->root);
    if (!pictures->count)
        return soma_fail(s, SOMA_DATA, at,
                         "the folders in \"%s\" hold no pictures (" SOMA_IMAGE_ENDINGS "); is it the right level?",
                         d->root);
    return SOMA_OK;
}

/* NULL-terminated list of the classes' names; NULL: no memory. */
static const char **name_list(soma *s, const names *classes)
{
    const char **list = soma_alloc_array(s, (size_t)classes->count + 1, sizeof *list);
    for (int i = 0; list && i < classes->count; i++)
        list[i] = classes->text + classes->at[i];
    return list;
}

static soma_status scan(soma_dataset *d, const soma_dataset_options *o, names *classes, names *pictures)
{
    soma *s = d->object.s;
    char *root = locate(s, o);
    if (!root)
        return SOMA_IO;
    soma_dataset_adopt(d, root, strlen(root) + 1);
    d->root = root;
    soma_status status = list_classes(d, classes, pictures, o->at);
    if (!status)
        status = check(d, classes, pictures, o->at);
    if (pictures->text)
        soma_dataset_adopt(d, pictures->text, (uint64_t)pictures->room);
    if (pictures->at)
        soma_dataset_adopt(d, pictures->at, (uint64_t)pictures->slots * sizeof *pictures->at);
    d->texts = pictures->text;
    d->files = pictures->at;
    d->count = pictures->count;
    if (!status)
        d->notes = soma_dataset_own(d, 1, sizeof *d->notes + (size_t)d->count);
    return status || d->notes ? status : SOMA_MEMORY;
}

soma_dataset *soma_dataset_open_folder(soma *s, const soma_dataset_options *o)
{
    if (!s->files.list) {
        soma_fail(s, SOMA_UNSUPPORTED, o->at, "folders of pictures need the function .list of the context's .files");
        return NULL;
    }
    names classes = {.s = s, .prefix = ""}, pictures = {.s = s, .prefix = "", .pictures = true};
    soma_dataset *d = soma_dataset_make(s);
    soma_status status = d ? scan(d, o, &classes, &pictures) : SOMA_MEMORY;
    const char **list = status ? NULL : name_list(s, &classes);
    if (!list) {
        soma_dataset_drop(d);
        d = NULL;
    } else {
        d->x_dtype = SOMA_U8;
        d->y_dtype = SOMA_I32;
        d->y_row = 1;
        d->has_target = true;
        d->target.dtype = SOMA_I32;
        d->input = (soma_type){SOMA_F32, SOMA_SHAPE(o->channels ? o->channels : 3, 0, 0)};
        d->read = read_pictures;
        d->skip_broken = o->skip_broken;
        d = soma_dataset_finish(d, o->at, &o->transform, &o->augment, o->classes ? o->classes : list,
                                o->classes ? 0 : classes.count);
    }
    soma_release(s, list);
    free_names(&classes);
    return d;
}
