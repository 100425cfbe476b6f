/* SPDX-License-Identifier: Apache-2.0
 *
 * data/dataset_folder.c: a folder with a folder of pictures per class. Names are kept in memory, pictures are decoded
 * when they are read. Knows no picture formats.
 */
#include "base/file.h"
#include "base/size.h"
#include "base/words.h"
#include "data/dataset.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define FOLDERS_TRIED 16 /* things passed over that may be folders of pictures */

/* Names that grow while folders are listed: texts one after the other, each ended by 0, and where each begins. */
typedef struct names {
    soma *s;
    char *text;
    uint64_t *at;
    int used, room;     /* bytes of text */
    int count, slots;   /* names */
    const char *prefix; /* "class/", put before each name */
    bool pictures;      /* take names of pictures that soma reads */
    struct names *over; /* where names go that are passed over */
    soma_status status;
} names;

/* The library for that kind was not found when soma was built. */
static bool left_out_of_build(soma_image_kind kind)
{
    bool out = false;
    (void)kind; /* a build with all of them */
#ifndef SOMA_HAVE_WEBP
    out = out || kind == SOMA_IMAGE_WEBP;
#endif
#ifndef SOMA_HAVE_PNG
    out = out || kind == SOMA_IMAGE_PNG;
#endif
#ifndef SOMA_HAVE_JPEG
    out = out || kind == SOMA_IMAGE_JPEG;
#endif
    return out;
}

/* Is it what is looked for? Hidden files and what macOS adds to archives are neither classes nor pictures. */
static bool is_taken(const names *n, const char *name)
{
    if (name[0] == '.' || !strcmp(name, "__MACOSX"))
        return false;
    soma_image_kind kind = soma_image_kind_named(name);
    return !n->pictures || (soma_image_kind_read(kind) && !left_out_of_build(kind));
}

static void add_name(void *to, const char *name)
{
    names *n = to;
    if (n->status || !strcmp(name, ".") || !strcmp(name, ".."))
        return;
    if (n->over && !is_taken(n, name)) {
        names *over = n->over;
        over->prefix = n->prefix;
        add_name(over, name);
        n->status = over->status;
        return;
    }
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

/* A folder that cannot be read is no absence: the classes behind it would get other numbers. */
static soma_status refuse_folder(soma *s, const char *path, int error, soma_at at)
{
    char text[48];
    return soma_fail(s, SOMA_IO, at, "the folder \"%s\" cannot be read: %s", path, soma_file_reason(error, text));
}

static soma_status refuse_class(const soma_dataset *d, const char *name, int error, soma_at at)
{
    soma *s = d->object.s;
    size_t size = strlen(d->root) + strlen(name) + 2;
    char *full = soma_alloc(s, size);
    if (!full)
        return SOMA_MEMORY;
    snprintf(full, size, "%s/%s", d->root, name);
    soma_status status = refuse_folder(s, full, error, at);
    soma_release(s, full);
    return status;
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
        n->status = refuse_folder(s, full, error, at);
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

/* What lies beside the parts. */
static soma_status list_beside(soma *s, const soma_dataset_options *o, names *over)
{
    names beside = {.s = s, .prefix = ""};
    soma_status status = list(&beside, o->path, "", o->at);
    over->prefix = "../";
    for (int i = 0; i < beside.count && !status; i++) {
        const char *name = beside.text + beside.at[i];
        if (strcmp(name, "train") && strcmp(name, "test") && strcmp(name, "val")) {
            add_name(over, name);
            status = over->status;
        }
    }
    free_names(&beside);
    return status;
}

#define ALL SOMA_FIELD_IS("split", "\"all\"")

static soma_status refuse_part(soma *s, const soma_dataset_options *o, const char *format)
{
    return soma_fail(s, SOMA_IO, o->at, format, o->path);
}

/* Is the folder itself called test or val? */
static bool named_test(const char *path)
{
    size_t n = strlen(path);
    while (n && path[n - 1] == '/')
        n--;
    size_t from = n;
    while (from && path[from - 1] != '/')
        from--;
    return (n - from == 4 && !memcmp(path + from, "test", 4)) || (n - from == 3 && !memcmp(path + from, "val", 3));
}

/* The part of the data, one of train, test and val; "" for a folder without parts. NULL: there is no such part. What a
 * folder without parts holds is somebody's training data as likely as not, so only "all" takes it for more. */
static const char *find_part(soma *s, const soma_dataset_options *o)
{
    bool train = soma_dataset_finds(s, o->path, "train", true), test = soma_dataset_finds(s, o->path, "test", true);
    bool val = soma_dataset_finds(s, o->path, "val", true);
    if (o->split && !strcmp(o->split, "all")) {
        if (!train && !test && !val)
            return "";
        refuse_part(s, o,
                    "the folder \"%s\" has parts (train, test or val), and " ALL
                    " takes what has none; take one part, or name its folder");
        return NULL;
    }
    if (!o->split || strcmp(o->split, "test"))
        return train ? "train" : "";
    if (test || val)
        return test ? "test" : "val";
    if (!train && named_test(o->path))
        return "";
    if (train)
        refuse_part(s, o, "the folder \"%s\" holds a part \"train\", but neither \"test\" nor \"val\"");
    else
        refuse_part(s, o,
                    "the folder \"%s\" has no part \"test\" or \"val\", and may be what was trained on; " ALL
                    " takes it whole");
    return NULL;
}

/* The folder of the part. What lies beside the parts belongs to none. */
static char *locate(soma *s, const soma_dataset_options *o, names *over)
{
    const char *part = find_part(s, o);
    if (!part || (*part && list_beside(s, o, over) != SOMA_OK))
        return NULL;
    size_t size = strlen(o->path) + strlen(part) + 2;
    char *root = soma_alloc(s, size);
    if (root)
        snprintf(root, size, "%s%s%s", o->path, *part ? "/" : "", part);
    return root;
}

/* The pictures of a class, with their labels. */
static soma_status list_pictures(soma_dataset *d, const char *name, int32_t label, names *pictures, int32_t **labels,
                                 int *slots, soma_at at)
{
    soma *s = d->object.s;
    size_t size = strlen(name) + 2;
    char *prefix = soma_alloc(s, size);
    if (!prefix)
        return SOMA_MEMORY;
    snprintf(prefix, size, "%s/", name);
    pictures->prefix = prefix;
    int first = pictures->count;
    soma_status status = list(pictures, d->root, name, at);
    soma_release(s, prefix);
    if (!status)
        status = soma_grow(s, labels, slots, pictures->count + 1, sizeof **labels);
    for (int k = first; k < pictures->count && !status; k++)
        (*labels)[k] = label;
    return status;
}

/* Pictures of every class, in order, with their labels. Folders without pictures are classes without samples. */
static soma_status list_classes(soma_dataset *d, names *classes, names *pictures, names *empty, soma_at at)
{
    soma *s = d->object.s;
    int kept = 0, slots = 0;
    int32_t *labels = NULL;
    soma_status status = list(classes, d->root, "", at);
    for (int i = 0; i < classes->count && !status; i++) {
        char *name = classes->text + classes->at[i];
        int found = soma_dataset_probe(s, d->root, name, true), before = pictures->count;
        if (soma_dataset_absent(found)) { /* a file beside the classes, or a link to nothing */
            classes->over->prefix = "";
            add_name(classes->over, name);
            status = classes->over->status;
            continue;
        }
        if (found < 0) {
            status = refuse_class(d, name, found, at);
            break;
        }
        status = list_pictures(d, name, kept, pictures, &labels, &slots, at);
        if (!status && pictures->count == before) {
            add_name(empty, name);
            status = empty->status;
        }
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

/* NULL-terminated list of the classes' names; NULL: no memory. */
static const char **name_list(soma *s, const names *classes)
{
    const char **list = soma_alloc_array(s, (size_t)classes->count + 1, sizeof *list);
    for (int i = 0; list && i < classes->count; i++)
        list[i] = classes->text + classes->at[i];
    return list;
}

/* "a/b.webp", "c" and 12 more */
static void add_list(soma_text *t, names *n)
{
    sort(n, 0);
    for (int i = 0; i < n->count; i++)
        soma_list_name(t, i, n->count, n->text + n->at[i]);
}

static soma_status check(soma_dataset *d, const names *classes, const names *pictures, soma_at at)
{
    soma *s = d->object.s;
    soma_text text = {.s = s};
    if (classes->count && pictures->count)
        return SOMA_OK;
    soma_text_addf(&text,
                   classes->count
                       ? "the folders in \"%s\" hold no pictures (" SOMA_IMAGE_ENDINGS "); is it the right level?"
                       : "the folder \"%s\" holds neither MNIST's four files nor folders of pictures, one a class",
                   d->root);
    if (pictures->over->count) {
        bool known = false, foreign = false;
        for (int i = 0; i < pictures->over->count; i++) {
            soma_image_kind kind = soma_image_kind_named(pictures->over->text + pictures->over->at[i]);
            known |= kind == SOMA_IMAGE_JPEG || kind == SOMA_IMAGE_PNG || kind == SOMA_IMAGE_WEBP;
            foreign |= kind > SOMA_IMAGE_WEBP;
        }
        soma_text_add(&text, classes->count ? " It holds " : "; it holds ");
        add_list(&text, pictures->over);
        soma_text_add(&text, known && !classes->count ? "; put each picture into a folder that is called like its class"
                             : foreign                ? "; convert other pictures to PNG or JPEG"
                                                      : "");
    }
    if (!text.failed)
        soma_fail(s, SOMA_DATA, at, "%s", text.bytes);
    soma_text_free(&text);
    return soma_error_status(s);
}

/* One warning of all that is in the folder and is no sample. */
static soma_status tell(const soma_dataset *d, names *over, names *empty)
{
    soma *s = d->object.s;
    soma_text text = {.s = s};
    bool deeper = false;
    if (!over->count && !empty->count)
        return SOMA_OK;
    if (over->count) {
        soma_text_addf(
            &text, "%d thing%s that %s no picture (" SOMA_IMAGE_ENDINGS ") of a class %s passed over: ", over->count,
            over->count == 1 ? "" : "s", over->count == 1 ? "is" : "are", over->count == 1 ? "is" : "are");
        add_list(&text, over);
    }
    for (int i = 0; i < over->count && i < FOLDERS_TRIED && !deeper; i++)
        deeper = strchr(over->text + over->at[i], '/') &&
                 soma_dataset_finds(s, d->root, over->text + over->at[i], true);
    soma_image_kind out = SOMA_IMAGE_UNKNOWN;
    for (int i = 0; i < over->count && out == SOMA_IMAGE_UNKNOWN; i++) {
        soma_image_kind kind = soma_image_kind_named(over->text + over->at[i]);
        out = left_out_of_build(kind) ? kind : out;
    }
    if (out != SOMA_IMAGE_UNKNOWN)
        soma_text_addf(&text, " (this build of soma reads no %s: its library was not found)",
                       soma_image_kind_name(out));
    if (deeper)
        soma_text_add(&text, " (pictures lie in the classes' folders themselves, not in folders in them)");
    if (empty->count) {
        soma_text_addf(&text, "%s%d class%s no pictures: ", over->count ? "; " : "", empty->count,
                       empty->count == 1 ? " has" : "es have");
        add_list(&text, empty);
    }
    if (!text.failed)
        soma_say(s, SOMA_LOG_WARNING, "%s: %s", d->root, text.bytes);
    soma_status status = text.failed ? SOMA_MEMORY : SOMA_OK;
    soma_text_free(&text);
    return status;
}

static soma_status scan(soma_dataset *d, const soma_dataset_options *o, names *classes, names *pictures)
{
    soma *s = d->object.s;
    names empty = {.s = s, .prefix = ""};
    char *root = locate(s, o, pictures->over);
    if (!root)
        return soma_error_status(s);
    soma_dataset_adopt(d, root, strlen(root) + 1);
    d->root = root;
    soma_status status = list_classes(d, classes, pictures, &empty, o->at);
    if (!status)
        status = check(d, classes, pictures, o->at);
    if (!status)
        status = tell(d, pictures->over, &empty);
    free_names(&empty);
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
    names over = {.s = s, .prefix = ""}, classes = {.s = s, .prefix = "", .over = &over};
    names pictures = {.s = s, .prefix = "", .pictures = true, .over = &over};
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
        d->input = (soma_type){SOMA_F32, SOMA_SHAPE(o->channels, 0, 0)};
        d->read = read_pictures;
        d->skip_broken = o->skip_broken;
        d = soma_dataset_finish(d, o->at, &o->transform, &o->augment, o->classes ? o->classes : list,
                                o->classes ? 0 : classes.count);
    }
    soma_release(s, list);
    free_names(&classes);
    free_names(&over);
    return d;
}
