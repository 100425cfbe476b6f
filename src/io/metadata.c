/* SPDX-License-Identifier: Apache-2.0
 *
 * io/metadata.c: class names and input transform of a model.
 */
#include "io/metadata.h"

#include "base/limits.h"
#include "base/text.h"
#include "base/zero.h"

#include <string.h>

static const char key[] = "io.knowledge";

static void free_classes(soma *s, soma_knowledge *k)
{
    for (int i = 0; i < k->n_classes; i++)
        soma_release(s, k->classes[i]);
    soma_release(s, k->classes);
    k->classes = NULL;
    k->n_classes = 0;
}

static void destroy(soma_model *m, void *data)
{
    free_classes(m->s, data);
    soma_release(m->s, data);
}

soma_knowledge *soma_model_knowledge(soma_model *m)
{
    soma_knowledge *k = soma_attached(m, key);
    if (k)
        return k;
    k = soma_alloc(m->s, sizeof *k);
    if (k && soma_attach(m, key, k, destroy) != SOMA_OK) {
        soma_release(m->s, k);
        return NULL;
    }
    return k;
}

/* Names that could not be saved, or not be read again, are refused when they are given, not after the training. */
static soma_status check_names(const soma_model *m, const char *const *names, int n)
{
    size_t bytes = 0;
    if (n > SOMA_LIMIT_TENSORS)
        return soma_fail(m->s, SOMA_INVALID, soma_nowhere(),
                         "model \"%s\": %d class names were given; a file holds %d at most", m->name, n,
                         SOMA_LIMIT_TENSORS);
    for (int i = 0; i < n; i++) {
        for (const char *c = names[i] ? names[i] : ""; *c; c++) /* as JSON writes them */
            bytes += (unsigned char)*c < 0x20 ? 6 : *c == '"' || *c == '\\' ? 2 : 1;
        bytes += 3;
        if (names[i] && !soma_is_utf8(names[i]))
            return soma_fail(m->s, SOMA_INVALID, soma_nowhere(),
                             "model \"%s\": the name of class %d, \"%.100s\", is not UTF-8, which model files ask for; "
                             "write it in UTF-8",
                             m->name, i, names[i]);
    }
    if (bytes > SOMA_LIMIT_MODEL / 2)
        return soma_fail(m->s, SOMA_INVALID, soma_nowhere(),
                         "model \"%s\": the names of %d classes take %zu bytes; a file holds %d of them at most",
                         m->name, n, bytes, SOMA_LIMIT_MODEL / 2);
    return SOMA_OK;
}

soma_status soma_model_set_classes(soma_model *m, const char *const *names, int n)
{
    if (!m)
        return SOMA_INVALID;
    if (n < 0 || (n && !names))
        return soma_fail(m->s, SOMA_INVALID, soma_nowhere(), "model \"%s\": %d class names were given%s", m->name, n,
                         n < 0 ? "" : ", but no list of them");
    soma_status status = check_names(m, names, n);
    soma_knowledge *k = status == SOMA_OK ? soma_model_knowledge(m) : NULL;
    if (!k)
        return status == SOMA_OK ? SOMA_MEMORY : status;
    soma_knowledge fresh = {.classes = soma_alloc_array(m->s, (size_t)n + 1, sizeof(char *))};
    for (int i = 0; fresh.classes && i < n; i++) {
        fresh.classes[i] = soma_copy_text(m->s, names[i] ? names[i] : "");
        if (!fresh.classes[i])
            break;
        fresh.n_classes++;
    }
    if (!fresh.classes || fresh.n_classes < n) {
        free_classes(m->s, &fresh);
        return SOMA_MEMORY;
    }
    free_classes(m->s, k);
    k->classes = fresh.classes;
    k->n_classes = n;
    return SOMA_OK;
}

int soma_model_classes(const soma_model *m)
{
    const soma_knowledge *k = soma_attached(m, key);
    return k ? k->n_classes : 0;
}

const char *soma_model_class(const soma_model *m, int index)
{
    const soma_knowledge *k = soma_attached(m, key);
    return k && index >= 0 && index < k->n_classes ? k->classes[index] : "";
}

void soma_model_set_transform(soma_model *m, soma_transform transform)
{
    soma_knowledge *k = m ? soma_model_knowledge(m) : NULL;
    transform.background = soma_plain(transform.background);
    if (k)
        k->transform = transform;
}

soma_transform soma_model_transform(const soma_model *m)
{
    const soma_knowledge *k = soma_attached(m, key);
    soma_transform none = {0};
    return k ? k->transform : none;
}
