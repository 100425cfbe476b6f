/* SPDX-License-Identifier: Apache-2.0
 *
 * cli/save.c: a result that took hours is written, or kept in a second place.
 */
#include "cli.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define SUFFIX ".safetensors"

bool cli_can_save(soma_model *m, const char *path)
{
    soma *s = soma_model_context(m);
    if (soma_can_save(m, path) == SOMA_OK)
        return true;
    cli_error(soma_error_status(s), "%s (--output FILE says where)", soma_error(s));
    return false;
}

/* A new file that only its owner may read; soma_save keeps the mode. */
static bool keep_in(soma_model *m, const char *folder, char place[PATH_MAX])
{
    soma *s = soma_model_context(m);
    int n = snprintf(place, PATH_MAX, "%s/soma-XXXXXX" SUFFIX, folder);
    int file = n < PATH_MAX ? mkstemps(place, sizeof SUFFIX - 1) : -1;
    if (file < 0)
        return false;
    close(file);
    soma_clear(s);
    if (soma_save(m, place) == SOMA_OK)
        return true;
    unlink(place);
    return false;
}

static const char *temporary_folder(void)
{
    const char *named = getenv("TMPDIR");
    return named && *named ? named : "/tmp";
}

int cli_save(soma_model *m, const char *path)
{
    soma *s = soma_model_context(m);
    char why[1100], here[PATH_MAX], place[PATH_MAX];
    soma_status status = soma_save(m, path);
    if (status == SOMA_OK)
        return 0;
    snprintf(why, sizeof why, "%s", soma_error(s));
    if (status != SOMA_IO) /* no other place would help */
        return cli_failed(s);
    if ((getcwd(here, sizeof here) && keep_in(m, here, place)) || keep_in(m, temporary_folder(), place))
        return cli_error(status, "%s; the result is kept in \"%s\" instead", why, place);
    return cli_error(status, "%s; neither the working folder nor %s takes the result, which is lost", why,
                     temporary_folder());
}
