/* SPDX-License-Identifier: Apache-2.0
 *
 * io/model_description.c: model descriptions and maps of names in a build without libyaml. With it: model_yaml.c and
 * renames_yaml.c.
 */
#include "base/context.h"
#include "io/description.h"
#include "io/weights.h"
#include <soma/io.h>

#ifndef SOMA_HAVE_YAML
soma_model *soma_describe(soma *s, const char *path, soma_recipe *recipe, soma_architecture_fn architecture)
{
    (void)recipe, (void)architecture;
    if (s)
        soma_fail(s, SOMA_UNSUPPORTED, soma_nowhere(),
                  "%s: this soma was built without libyaml, so it cannot read model descriptions; install libyaml-dev "
                  "and build again",
                  path ? path : "");
    return NULL;
}

soma_status soma_read_renames(soma *s, const char *path, soma_arena *arena, soma_rename **rules, int *n)
{
    (void)arena;
    *rules = NULL;
    *n = 0;
    return soma_fail(s, SOMA_UNSUPPORTED, soma_nowhere(),
                     "%s: this soma was built without libyaml, so it cannot read a map of names; install libyaml-dev "
                     "and build again",
                     path);
}
#endif
