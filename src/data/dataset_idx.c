/* SPDX-License-Identifier: Apache-2.0
 *
 * data/dataset_idx.c: datasets in IDX files (the MNIST family), plain or gzip-compressed. Bytes stay bytes in memory; a
 * batch is converted when it is written.
 */
#include "base/file.h"
#include "base/limits.h"
#include "base/words.h"
#include "codec/gzip.h"
#include "codec/idx.h"
#include "data/dataset.h"

#include <inttypes.h>
#include <stdio.h>

/* Zalando's names, in the order of the labels (github.com/zalandoresearch/fashion-mnist, "Labels"). */
static const char *const fashion_classes[] = {"T-shirt/top", "Trouser", "Pullover", "Dress",      "Coat", "Sandal",
                                              "Shirt",       "Sneaker", "Bag",      "Ankle boot", NULL};

typedef struct paths {
    soma *s;
    char *images, *labels;
} paths;

/* ---- where the files are ---- */

/* What is there but may not be read counts: reading it will say why. */
static bool exists(soma *s, const char *path)
{
    return !soma_dataset_absent(soma_dataset_probe(s, path, NULL, false));
}

static char *join(soma *s, const char *a, const char *b, const char *c, const char *d)
{
    size_t size = strlen(a) + strlen(b) + strlen(c) + strlen(d) + 1;
    char *text = soma_alloc(s, size);
    if (text)
        snprintf(text, size, "%s%s%s%s", a, b, c, d);
    return text;
}

/* folder/<split>-images-idx3-ubyte[.gz], or the path itself where there is no such file and it is no folder. */
static soma_status locate_images(paths *p, const soma_dataset_options *o)
{
    soma *s = p->s;
    const char *name = o->split && !strcmp(o->split, "test") ? "/t10k-images-idx3-ubyte" : "/train-images-idx3-ubyte";
    const char *const tries[] = {"", ".gz"};
    bool all = o->split && !strcmp(o->split, "all"); /* of a file; a folder of files has parts */
    for (int i = 0; i < 2 && !all; i++) {
        p->images = join(s, o->path, name, tries[i], "");
        if (!p->images)
            return SOMA_MEMORY;
        if (exists(s, p->images))
            return SOMA_OK;
        soma_release(s, p->images);
        p->images = NULL;
    }
    char *inside = join(s, o->path, "/.", "", "");
    if (!inside)
        return SOMA_MEMORY;
    bool folder = exists(s, inside);
    soma_release(s, inside);
    if (folder && o->split && !strcmp(o->split, "all"))
        return soma_fail(s, SOMA_IO, o->at,
                         "the folder \"%s\" has parts; take \"train\" or \"test\", for " SOMA_FIELD_IS(
                             "split", "\"all\"") " takes what has none",
                         o->path);
    if (folder)
        return soma_fail(
            s, SOMA_IO, o->at,
            "the folder \"%s\" holds neither %s nor %s.gz; name a folder with MNIST's four files, or an IDX file",
            o->path, name + 1, name + 1);
    p->images = soma_copy_text(s, o->path);
    return p->images ? SOMA_OK : SOMA_MEMORY;
}

/* The labels' name by MNIST's rule: images -> labels, idx3 -> idx1 in the file's name, with or without .gz. */
static soma_status locate_labels(paths *p, const soma_dataset_options *o)
{
    soma *s = p->s;
    if (o->labels) {
        p->labels = soma_copy_text(s, o->labels);
        return p->labels ? SOMA_OK : SOMA_MEMORY;
    }
    char *slash = strrchr(p->images, '/'), *base = slash ? slash + 1 : p->images, *word = strstr(base, "images");
    if (!word && soma_image_kind_named(p->images) != SOMA_IMAGE_UNKNOWN)
        return soma_fail(
            s, SOMA_INVALID, o->at,
            "\"%s\" is one picture, but data are many: a folder that holds a folder of pictures for each class",
            p->images);
    if (!word)
        return soma_fail(
            s, SOMA_INVALID, o->at,
            "where are the labels of \"%s\"? Its name has no \"images\" to be replaced by \"labels\"" SOMA_IN_C(
                "; set .labels")
                SOMA_ELSEWHERE(
                    "; name the files as MNIST does, such as train-images-idx3-ubyte and train-labels-idx1-ubyte"),
            p->images);
    p->labels = join(s, p->images, ".gz", "", "");
    if (!p->labels)
        return SOMA_MEMORY;
    size_t end = strlen(p->images); /* of the name, where ".gz" was added */
    memcpy(p->labels + (word - p->images), "labels", 6);
    char *idx = strstr(p->labels + (word - p->images), "idx3");
    if (idx)
        idx[3] = '1';
    p->labels[end] = 0;
    if (exists(s, p->labels))
        return SOMA_OK;
    if (end > 3 && !strcmp(p->labels + end - 3, ".gz"))
        p->labels[end - 3] = 0; /* without */
    else
        p->labels[end] = '.'; /* with */
    if (exists(s, p->labels))
        return SOMA_OK;
    return soma_fail(s, SOMA_IO, o->at,
                     "the labels of \"%s\" should be in \"%s\", but there is no such file" SOMA_IN_C("; set .labels"),
                     p->images, p->labels);
}

/* ---- what is in them ---- */

/* The content of a file, compressed or not, as it is read. */
typedef struct content {
    soma_file_reader file;
    soma_gzip *gzip; /* NULL: plain */
    uint8_t first[2];
    int kept; /* of `first`: read to see what the file is, and not yet given on */
} content;

static int64_t read_file(void *user, void *bytes, size_t size)
{
    content *c = user;
    if (c->kept && size >= 2) { /* zlib's chunk, and an IDX header, are larger */
        memcpy(bytes, c->first, (size_t)c->kept);
        int64_t n = soma_file_reader_take(&c->file, (char *)bytes + c->kept, size - (size_t)c->kept);
        n += n < 0 ? 0 : c->kept;
        c->kept = 0;
        return n;
    }
    return soma_file_reader_take(&c->file, bytes, size);
}

static int64_t read_content(content *c, void *bytes, size_t size)
{
    return c->gzip ? soma_gzip_read(c->gzip, bytes, size) : read_file(c, bytes, size);
}

static soma_status open_content(content *c, soma *s, const char *path)
{
    *c = (content){.file.handle = -1};
    soma_status status = soma_file_reader_open(&c->file, s, path);
    int64_t n = status ? -1 : soma_file_reader_take(&c->file, c->first, sizeof c->first);
    if (n < 0)
        return soma_error_status(s);
    c->kept = (int)n;
    if (soma_gzip_is(c->first, (size_t)n)) {
        c->gzip = soma_gzip_open(s, path, read_file, c);
        return c->gzip ? SOMA_OK : soma_error_status(s);
    }
    return SOMA_OK;
}

static void close_content(content *c)
{
    soma_gzip_close(c->gzip);
    soma_file_reader_close(&c->file);
}

/* What the header says of the size is believed no further than the file can hold it. */
static soma_status check_claim(const content *c, const soma_idx *idx)
{
    uint64_t need = (uint64_t)idx->elements * idx->element;
    if (!c->gzip || need / SOMA_LIMIT_INFLATE_RATIO <= c->file.size)
        return SOMA_OK;
    return soma_fail(c->file.s, SOMA_FORMAT, soma_nowhere(),
                     "%s: the IDX header declares %" PRIu64 " bytes of elements, more than %d times the %" PRIu64
                     " bytes of the file, which cannot hold them; is it damaged or cut short?",
                     c->file.path, need, SOMA_LIMIT_INFLATE_RATIO, c->file.size);
}

/* The elements, at the end of a block that has `least` bytes or more for each: in place, they may become wider. One
 * byte more is read, or tried: the content must end with the last element. */
static soma_status take_elements(content *c, soma_idx *idx, const uint8_t *head, size_t got, size_t least,
                                 uint8_t **block, size_t *size)
{
    soma *s = c->file.s;
    uint64_t need = (uint64_t)idx->elements * idx->element;
    size_t wide = idx->element > least ? idx->element : least, begun = got - soma_idx_header(idx);
    *size = (size_t)idx->elements * wide; /* elements <= 2^48 */
    if (begun > need)
        return soma_idx_end(s, c->file.path, idx, got);
    *block = soma_alloc(s, *size);
    if (!*block)
        return SOMA_MEMORY;
    uint8_t *at = *block + (*size - need), more;
    memcpy(at, head + soma_idx_header(idx), begun);
    idx->data = at;
    int64_t n = read_content(c, at + begun, (size_t)need - begun), behind = n < 0 ? -1 : read_content(c, &more, 1);
    if (behind < 0)
        return soma_error_status(s);
    if (behind && c->gzip) /* how much more there is, only inflating it would tell */
        return soma_fail(s, SOMA_FORMAT, soma_nowhere(),
                         "%s: byte %" PRIu64
                         " of the content: it goes on behind the last element that the IDX header declares; "
                         "the header and the content do not belong together",
                         c->file.path, got + (uint64_t)n);
    return soma_idx_end(s, c->file.path, idx, got + (uint64_t)n + (uint64_t)behind);
}

/* An IDX file in memory: *block holds its elements, from idx->data on. */
static soma_status load(soma *s, const char *path, size_t least, uint8_t **block, size_t *size, soma_idx *idx)
{
    content c;
    uint8_t head[SOMA_IDX_HEADER_MAX];
    *block = NULL;
    soma_status status = open_content(&c, s, path);
    int64_t got = status ? -1 : read_content(&c, head, sizeof head);
    if (got < 0)
        status = soma_error_status(s);
    else
        status = soma_idx_parse(s, path, head, (size_t)got, c.gzip ? SOMA_IDX_UNKNOWN : c.file.size, idx);
    if (!status)
        status = check_claim(&c, idx);
    if (!status)
        status = take_elements(&c, idx, head, (size_t)got, idx->type == SOMA_IDX_U8 ? 1 : least, block, size);
    close_content(&c);
    if (status) {
        soma_release(s, *block);
        *block = NULL;
    }
    return status;
}

/* Bytes stay where they are; other types become f32, in place. */
static soma_status take_images(soma_dataset *d, const char *path)
{
    uint8_t *block;
    size_t size;
    soma_idx idx;
    soma_status status = load(d->object.s, path, sizeof(float), &block, &size, &idx);
    if (status)
        return status;
    soma_dataset_adopt(d, block, size);
    d->count = idx.dim[0];
    d->x_row = idx.elements / idx.dim[0];
    d->input.dtype = SOMA_F32;
    int first = idx.rank == 3; /* [n, H, W]: one channel */
    d->input.shape.rank = idx.rank - 1 + first;
    d->input.shape.dim[0] = 1;
    for (int i = 1; i < idx.rank; i++)
        d->input.shape.dim[i - 1 + first] = idx.dim[i];
    d->x = block;
    d->x_dtype = idx.type == SOMA_IDX_U8 ? SOMA_U8 : SOMA_F32;
    float *x = (float *)(void *)block;
    for (int64_t i = 0; d->x_dtype == SOMA_F32 && i < idx.elements; i++)
        x[i] = (float)soma_idx_get(&idx, i); /* lies at or before element i */
    return SOMA_OK;
}

static soma_status check_labels(soma_dataset *d, const char *path, const soma_idx *idx)
{
    soma *s = d->object.s;
    if (idx->rank != 1)
        return soma_fail(s, SOMA_FORMAT, soma_nowhere(),
                         "%s: byte 3: labels have one dimension, but this file has %d; is it a file of images?", path,
                         idx->rank);
    if (idx->type == SOMA_IDX_F32 || idx->type == SOMA_IDX_F64)
        return soma_fail(s, SOMA_FORMAT, soma_nowhere(), "%s: byte 2: labels are whole numbers, but this file holds %s",
                         path, soma_idx_type_name(idx->type));
    if (idx->dim[0] != d->count)
        return soma_fail(s, SOMA_FORMAT, soma_nowhere(),
                         "%s: byte 4: there are %" PRId64 " labels for %" PRId64
                         " images; the two files do not belong together",
                         path, idx->dim[0], d->count);
    for (int64_t i = 0; i < d->count; i++) {
        double label = soma_idx_get(idx, i);
        if (label < 0 || label > 255)
            return soma_fail(s, SOMA_DATA, soma_nowhere(),
                             "%s: byte %zu: label %" PRId64 " is %.0f; labels in IDX files are between 0 and 255", path,
                             8 + (size_t)i * idx->element, i, label);
    }
    return SOMA_OK;
}

static soma_status take_labels(soma_dataset *d, const char *path)
{
    uint8_t *y;
    size_t size;
    soma_idx idx;
    soma_status status = load(d->object.s, path, 1, &y, &size, &idx);
    if (status)
        return status;
    soma_dataset_adopt(d, y, size);
    status = check_labels(d, path, &idx);
    for (int64_t i = 0; !status && i < d->count; i++)
        y[i] = (uint8_t)soma_idx_get(&idx, i);
    d->y = y;
    d->y_dtype = SOMA_U8;
    d->y_row = 1;
    d->has_target = true;
    d->target.dtype = SOMA_I32;
    return status;
}

soma_dataset *soma_dataset_open_idx(soma *s, const soma_dataset_options *o)
{
    paths p = {.s = s};
    soma_dataset *d = soma_dataset_make(s);
    bool sound = d && !locate_images(&p, o) && !locate_labels(&p, o) && !take_images(d, p.images) &&
                 !take_labels(d, p.labels);
    soma_release(s, p.images);
    soma_release(s, p.labels);
    if (!sound) {
        soma_dataset_drop(d);
        return NULL;
    }
    uint8_t most = 0;
    for (int64_t i = 0; i < d->count; i++)
        most = ((const uint8_t *)d->y)[i] > most ? ((const uint8_t *)d->y)[i] : most;
    bool fashion = !o->classes && most < 10 && strstr(o->path, "fashion-mnist");
    return soma_dataset_finish(d, o->at, &o->transform, &o->augment, fashion ? fashion_classes : o->classes, 0);
}
