/* SPDX-License-Identifier: Apache-2.0
 *
 * io/knowledge.c: class names and input transform of a model.
 */
#include "io/knowledge.h"

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

soma_status soma_model_set_classes(soma_model *m, const char *const *names, int n)
{
    if (!m)
        return SOMA_INVALID;
    if (n < 0 || (n && !names))
        return soma_fail(m->s, SOMA_INVALID, soma_nowhere(), "model \"%s\": %d class names were given%s", m->name, n,
                         n < 0 ? "" : ", but no list of them");
    soma_knowledge *k = soma_model_knowledge(m);
    if (!k)
        return SOMA_MEMORY;
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
    if (k)
        k->transform = transform;
}

soma_transform soma_model_transform(const soma_model *m)
{
    const soma_knowledge *k = soma_attached(m, key);
    soma_transform none = {0};
    return k ? k->transform : none;
}
