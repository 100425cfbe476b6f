/* SPDX-License-Identifier: Apache-2.0
 *
 * data/open.c: soma_dataset_open: checks the options and finds out which format it is.
 */
#include "base/text.h"
#include "base/words.h"
#include "data/dataset.h"

#include <errno.h>
#include <stdio.h>

static const char *const formats[] = {"idx", "image-folder", NULL};
static const char *const splits[] = {"train", "test", "all", NULL};

SOMA_TABLE(soma_dataset_options) = {
    SOMA_TEXT(soma_dataset_options, path, NULL, .flags = SOMA_FIELD_REQUIRED, .example = "\"fashion-mnist\"",
              .doc = "an IDX file, a folder of them, or a folder of pictures"),
    SOMA_TEXT(soma_dataset_options, format, NULL, .choices = formats, .doc = "without it what is there tells"),
    SOMA_TEXT(soma_dataset_options, split, NULL, .choices = splits, .doc = "the part: train without it"),
    SOMA_TEXT(soma_dataset_options, labels, NULL, .doc = "IDX: path of the labels; without it beside the images"),
    SOMA_OTHER(soma_dataset_options, transform, .doc = "how samples become inputs"),
    SOMA_INTS(soma_dataset_options, resize, 0, ANY, .doc = "the transform's, in short"),
    SOMA_INTS(soma_dataset_options, crop, 0, ANY, .doc = "the transform's, in short"),
    SOMA_OTHER(soma_dataset_options, augment, .doc = "what is drawn for each sample while training"),
    SOMA_INT(soma_dataset_options, channels, 3, BETWEEN(1, 3), .doc = "of pictures in folders: 3 (RGB) or 1 (luma)"),
    SOMA_BOOL(soma_dataset_options, skip_broken,
              .doc = "folders: the next picture stands in for one that cannot be read, with a warning"),
    SOMA_OTHER(soma_dataset_options, classes, .doc = "names, NULL-terminated; without it the data's own, or numbers"),
    SOMA_INT(soma_dataset_options, limit, 0, AT_LEAST(0),
             .doc = "use so many samples: of each class its share, the first of it; without it all"),
    SOMA_FIELDS_END};

static soma_status check_options(soma *s, const soma_dataset_options *o)
{
    if (!*o->path)
        return soma_fail(s, SOMA_INVALID, o->at,
                         SOMA_IN_C("soma_dataset_open: ") "the path is empty; name an IDX file, a folder of them, or a "
                                                          "folder of pictures");
    if (o->channels == 2)
        return soma_fail(s, SOMA_INVALID, o->at,
                         SOMA_IN_C("soma_dataset_open: ")
                             SOMA_FIELD_IS("channels", "2") " is neither 1 (luma) nor 3 (RGB)");
    if ((o->resize[0] && o->transform.resize[0]) || (o->crop[0] && o->transform.crop[0]))
        return soma_fail(s, SOMA_INVALID, o->at,
                         SOMA_IN_C("soma_dataset_open: ") SOMA_FIELD("resize") " and " SOMA_FIELD(
                             "crop") " are short for the transform's; give each once");
    return SOMA_OK;
}

int soma_dataset_probe(soma *s, const char *path, const char *name, bool folder)
{
    char full[4096]; /* systems take no more */
    int n = snprintf(full, sizeof full, "%s%s%s%s", path, name && *name ? "/" : "", name ? name : "",
                     folder ? "/." : "");
    if (n >= (int)sizeof full)
        return -ENAMETOOLONG;
    int handle = s->files.open(s->files.user, full, false);
    if (handle >= 0)
        s->files.close(s->files.user, handle);
    return handle < 0 ? handle : 0;
}

bool soma_dataset_absent(int result)
{
    return result == -ENOENT || result == -ENOTDIR;
}

bool soma_dataset_finds(soma *s, const char *path, const char *name, bool folder)
{
    return !soma_dataset_absent(soma_dataset_probe(s, path, name, folder));
}

/* A folder that holds none of MNIST's files holds pictures. */
static bool is_picture_folder(soma *s, const char *path)
{
    static const char *const names[] = {"train-images-idx3-ubyte", "train-images-idx3-ubyte.gz",
                                        "t10k-images-idx3-ubyte", "t10k-images-idx3-ubyte.gz"};
    bool idx = !s->files.list || !soma_dataset_finds(s, path, "", true);
    for (int i = 0; i < 4 && !idx; i++)
        idx = soma_dataset_finds(s, path, names[i], false);
    return !idx;
}

soma_dataset *soma_dataset_open_with(soma *s, const soma_dataset_options *given)
{
    soma_dataset_options o;
    if (!s || SOMA_TAKE(s, "soma_dataset_open", soma_dataset_options, given, &o) || check_options(s, &o))
        return NULL;
    for (int i = 0; i < 2; i++) {
        o.transform.resize[i] = o.resize[0] ? o.resize[i] : o.transform.resize[i];
        o.transform.crop[i] = o.crop[0] ? o.crop[i] : o.transform.crop[i];
    }
    char *path = soma_dataset_locate(s, o.path, o.at);
    if (!path)
        return NULL;
    o.path = path;
    bool pictures = o.format ? !strcmp(o.format, "image-folder") : is_picture_folder(s, o.path);
    soma_dataset *d = pictures ? soma_dataset_open_folder(s, &o) : soma_dataset_open_idx(s, &o);
    soma_release(s, path);
    if (d && o.limit && soma_dataset_limit(d, o.limit) != SOMA_OK) { /* the classes do not depend on the limit */
        soma_dataset_free(d);
        return NULL;
    }
    return d;
}
