/* SPDX-License-Identifier: Apache-2.0
 *
 * data/open.c: soma_dataset_open: checks the options and finds out which format it is.
 */
#include "base/text.h"
#include "base/words.h"
#include "data/dataset.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

static const char *const formats[] = {"idx", "image-folder", NULL};
static const char *const splits[] = {"train", "test", "all", NULL};

static soma_status check_choice(soma *s, soma_at at, const char *option, const char *given, const char *const *known)
{
    bool found = !given;
    for (int i = 0; !found && known[i]; i++)
        found = !strcmp(given, known[i]);
    if (found)
        return SOMA_OK;
    char room[64];
    const char *near = soma_nearest_of(given, known);
    soma_text list = {.s = s};
    int n = 0;
    while (known[n])
        n++;
    for (int i = 0; i < n; i++)
        soma_list_name(&list, i, n, known[i]);
    if (!list.failed)
        soma_fail(s, SOMA_INVALID, at, SOMA_IN_C("soma_dataset_open: ") "%s \"%s\" is unknown; known are %s%s%s%s",
                  soma_field_text(s, option, room), given, list.bytes, near ? "; did you mean \"" : "",
                  near ? near : "", near ? "\"?" : "");
    soma_text_free(&list);
    return soma_error_status(s);
}

static soma_status check_options(soma *s, const soma_dataset_options *o)
{
    if (!o->path || !*o->path)
        return soma_fail(
            s, SOMA_INVALID, o->at,
            SOMA_IN_C(
                "soma_dataset_open: ") "the path is %s; name an IDX file, a folder of them, or a folder of pictures",
            o->path ? "empty" : "NULL");
    if (o->limit < 0)
        return soma_fail(s, SOMA_INVALID, o->at,
                         SOMA_IN_C("soma_dataset_open: ")
                             SOMA_FIELD_IS("limit", "%" PRId64) " is negative; 0 takes all samples",
                         o->limit);
    if (o->channels != 0 && o->channels != 1 && o->channels != 3)
        return soma_fail(s, SOMA_INVALID, o->at,
                         SOMA_IN_C("soma_dataset_open: ")
                             SOMA_FIELD_IS("channels", "%d") " is neither 1 (luma) nor 3 (RGB)",
                         o->channels);
    if ((o->resize[0] && o->transform.resize[0]) || (o->crop[0] && o->transform.crop[0]))
        return soma_fail(s, SOMA_INVALID, o->at,
                         SOMA_IN_C("soma_dataset_open: ") SOMA_FIELD("resize") " and " SOMA_FIELD(
                             "crop") " are short for the transform's; give each once");
    soma_status status = check_choice(s, o->at, "format", o->format, formats);
    return status ? status : check_choice(s, o->at, "split", o->split, splits);
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
    soma_dataset_options o = {0};
    soma_data_options(&o, sizeof o, given);
    if (!s || check_options(s, &o))
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
