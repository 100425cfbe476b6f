/* SPDX-License-Identifier: Apache-2.0
 *
 * data/find.c: where a data set lies that is named and not written as a path. Reads no environment: the folders are the
 * context's .data_path.
 */
#include "base/text.h"
#include "data/dataset.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

/* 0: can be opened; otherwise the system's error. */
static int error_of(soma *s, const char *path)
{
    int handle = s->files.open(s->files.user, path, false);
    if (handle < 0)
        return -handle;
    s->files.close(s->files.user, handle);
    return 0;
}

static bool absent(int error)
{
    return error == ENOENT || error == ENOTDIR || error == ENAMETOOLONG;
}

/* The folder that begins at `at` ends at a colon or with the text. */
static const char *folder_end(const char *at)
{
    return at + strcspn(at, ":");
}

/* A name is looked for in folders; what holds a slash is a path. A place that cannot be opened counts where no other
 * one has the name. NULL without an error: nowhere. */
static char *find(soma *s, const char *name, int *error)
{
    *error = error_of(s, name);
    if (!absent(*error))
        return soma_copy_text(s, name);
    char *found = NULL;
    for (const char *at = strchr(name, '/') ? "" : s->data_path, *end; *at; at = *end ? end + 1 : end) {
        end = folder_end(at);
        size_t size = (size_t)(end - at) + strlen(name) + 2;
        char *path = end > at ? soma_alloc(s, size) : NULL;
        if (!path && end > at)
            break;
        if (!path)
            continue;
        snprintf(path, size, "%.*s/%s", (int)(end - at), at, name);
        int why = error_of(s, path);
        if (!why || (!found && !absent(why))) {
            soma_release(s, found);
            found = path;
            *error = why;
        } else {
            soma_release(s, path);
        }
        if (!why)
            break;
    }
    return found;
}

/* "/a, /b or /c" */
static void add_folders(soma_text *t, const char *folders)
{
    bool first = true;
    for (const char *at = folders, *end; *at; at = *end ? end + 1 : end) {
        end = folder_end(at);
        if (end == at)
            continue;
        const char *next = end + strspn(end, ":");
        soma_text_addf(t, "%s%.*s", first ? "" : *next ? ", " : " or ", (int)(end - at), at);
        first = false;
    }
}

static void tell(soma *s, const char *name, soma_at at)
{
    soma_text looked = {.s = s};
    if (!strchr(name, '/') && s->data_path[strspn(s->data_path, ":")]) {
        soma_text_addf(&looked, ", and nothing of that name in ");
        add_folders(&looked, s->data_path);
    }
    if (looked.failed)
        return;
    bool fashion = !strcmp(name, "fashion-mnist");
    soma_fail(s, SOMA_IO, at, "there is no data set \"%s\": no such file or folder%s%s", name,
              looked.bytes ? looked.bytes : "",
              fashion ? "; on Debian and Ubuntu: apt-get install dataset-fashion-mnist" : "");
    soma_text_free(&looked);
}

char *soma_dataset_locate(soma *s, const char *name, soma_at at)
{
    int error;
    char *path = find(s, name, &error);
    if (path && !error)
        return path;
    if (path)
        soma_fail(s, SOMA_IO, at, "the data \"%s\" cannot be opened (error %d of the system); may it be read?", path,
                  error);
    else if (!soma_failed(s))
        tell(s, name, at);
    soma_release(s, path);
    return NULL;
}

size_t soma_dataset_find(soma *s, const char *name, char *path, size_t room)
{
    int error;
    char *found = s && name && *name ? find(s, name, &error) : NULL;
    size_t length = found ? strlen(found) : 0;
    if (found && length < room)
        memcpy(path, found, length + 1);
    else if (room)
        path[0] = 0;
    if (s)
        soma_release(s, found);
    return length;
}
