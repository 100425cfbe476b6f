/* SPDX-License-Identifier: Apache-2.0
 *
 * graph/model.c: models: named tensors and their memory, inputs, outputs, scopes and names.
 */
#include "base/limits.h"
#include "base/fields.h"
#include "base/random.h"
#include "base/size.h"
#include "graph/fill.h"
#include "graph/graph.h"

#include <stdio.h>
#include <string.h>

typedef struct soma_name_counter {
    const char *kind; /* scope and kind, "layer1.conv" */
    int count;
} soma_name_counter;

/* By the last reference; or by soma_close, and then the caller's programs are still there. */
static void destroy_model(soma_object *object)
{
    soma_model *m = (soma_model *)object;
    soma *s = m->s;
    while (m->attachments) {
        soma_attachment *a = m->attachments;
        m->attachments = a->next;
        if (a->destroy)
            a->destroy(m, a->data);
        soma_release(s, a);
    }
    if (m->workspace)
        m->free_workspace(m);
    for (int i = 0; i < m->n_blocks; i++)
        soma_release(s, m->blocks[i]);
    soma_release(s, m->blocks);
    soma_release(s, m->tensors);
    soma_release(s, m->inputs);
    soma_release(s, m->outputs);
    soma_release(s, m->counters);
    soma_graph_free(m->graph);
    soma_arena_free(&m->arena);
    soma_release(s, m);
}

soma_model *soma_model_new(soma *s, const char *name)
{
    if (!s)
        return NULL;
    soma_model *m = soma_alloc(s, sizeof *m);
    if (!m)
        return NULL;
    m->s = s;
    m->references = 1;
    m->version = 1;
    soma_arena_init(&m->arena, s);
    m->name = soma_arena_text(&m->arena, name ? name : "model");
    m->graph = soma_alloc(s, sizeof *m->graph);
    if (m->graph)
        m->graph->s = s;
    soma_object_add(s, &m->object, destroy_model);
    if (!m->name || !m->graph) {
        soma_model_free(m);
        return NULL;
    }
    m->graph->model = m;
    soma_arena_init(&m->graph->arena, s);
    return m;
}

void soma_model_hold(soma_model *m)
{
    m->references++;
}

void soma_model_drop(soma_model *m)
{
    if (--m->references > 0)
        return;
    soma_object_remove(&m->object);
    destroy_model(&m->object);
}

void soma_model_free(soma_model *m)
{
    if (m)
        soma_model_drop(m);
}

soma *soma_model_context(const soma_model *m)
{
    return m ? m->s : NULL;
}

const char *soma_model_name(const soma_model *m)
{
    return m ? m->name : "";
}

/* ---- names ---- */

void soma_scope_push(soma_model *m, const char *name)
{
    if (!m)
        return;
    size_t used = strlen(m->scope), more = name ? strlen(name) : 0;
    if (!more || used + more + 2 > sizeof m->scope || m->n_scopes == (int)(sizeof m->scope_at / sizeof *m->scope_at)) {
        soma_value_fail(m->graph, soma_nowhere(), "scope: \"%s\" inside \"%s\" is empty, too long or too deep",
                        name ? name : "", m->scope);
        return;
    }
    m->scope_at[m->n_scopes++] = used;
    snprintf(m->scope + used, sizeof m->scope - used, "%s.", name);
}

void soma_scope_pop(soma_model *m)
{
    if (!m)
        return;
    if (m->n_scopes)
        m->scope[m->scope_at[--m->n_scopes]] = 0;
}

static int next_count(soma_model *m, const char *kind)
{
    for (int i = 0; i < m->n_counters; i++)
        if (!strcmp(m->counters[i].kind, kind))
            return ++m->counters[i].count;
    if (soma_grow(m->s, &m->counters, &m->counter_capacity, m->n_counters + 1, sizeof *m->counters) != SOMA_OK)
        return 0;
    char *copy = soma_arena_text(&m->arena, kind);
    if (!copy)
        return 0;
    m->counters[m->n_counters++] = (soma_name_counter){copy, 1};
    return 1;
}

#define LAYER_NAME_MAX (SOMA_LIMIT_NAME - 64) /* with ".weight" and the optimizer's endings it can be saved */

const char *soma_layer_name(soma_model *m, const char *given, const char *kind)
{
    if (given && strlen(m->scope) + strlen(given) > LAYER_NAME_MAX) {
        soma_value_fail(m->graph, soma_nowhere(), "the name of a layer, \"%.40s...\", has more than %d letters", given,
                        LAYER_NAME_MAX);
        return NULL;
    }
    const char *text = given ? soma_arena_format(&m->arena, "%s%s", m->scope, given)
                             : soma_arena_format(&m->arena, "%s%s#", m->scope, kind);
    if (!text)
        return NULL;
    if (given) {
        int count = next_count(m, text); /* a name given twice becomes name_2, unless that was given too */
        const char *name = count ? text : NULL;
        for (int taken = count > 1; name && taken;) {
            name = soma_arena_format(&m->arena, "%s_%d", text, count);
            int uses = name ? next_count(m, name) : 0;
            taken = uses > 1;
            count = taken ? next_count(m, text) : count;
            name = uses ? name : NULL;
        }
        return name;
    }
    int count = next_count(m, text);
    return count ? soma_arena_format(&m->arena, "%s%s%d", m->scope, kind, count) : NULL;
}

/* ---- inputs and outputs ---- */

static soma_status add_io(soma_model *m, soma_model_io **list, int *n, int *capacity, const char *name, int32_t value)
{
    soma_status status = soma_grow(m->s, list, capacity, *n + 1, sizeof **list);
    char *copy = soma_arena_text(&m->arena, name);
    if (status != SOMA_OK || !copy) {
        m->graph->failed = true;
        return SOMA_MEMORY;
    }
    (*list)[(*n)++] = (soma_model_io){copy, value};
    return SOMA_OK;
}

SOMA_TABLE(soma_input_options) = {
    SOMA_SIZES(soma_input_options, shape, .doc = "without the batch, which is put in front"),
    SOMA_BOOL(soma_input_options, no_batch, .doc = "the shape is the whole shape"), SOMA_FIELDS_END};

soma_value soma_input_with(soma_model *m, const char *name, soma_dtype dtype, const soma_input_options *given)
{
    soma_input_options taken, *o = &taken;
    if (!m)
        return soma_none();
    if (SOMA_TAKE(m->s, "soma_input", soma_input_options, given, &taken))
        return soma_graph_refuse(m->graph);
    soma_type type = {dtype, o->shape};
    if (!o->no_batch && o->shape.rank < SOMA_MAX_RANK) {
        type.shape.rank = o->shape.rank + 1;
        type.shape.dim[0] = SOMA_N;
        memcpy(type.shape.dim + 1, o->shape.dim, sizeof o->shape.dim - sizeof o->shape.dim[0]);
    }
    for (int i = 0; i < type.shape.rank; i++) {
        bool batch = i == 0 && type.shape.dim[i] < 0;
        if ((type.shape.dim[i] <= 0 && !batch) || o->shape.rank >= SOMA_MAX_RANK) {
            char text[96];
            return soma_value_fail(m->graph, o->at,
                                   "input \"%s\": the shape %s must have at most %d dimensions, each at least 1",
                                   name ? name : "", soma_type_text(&type, text), SOMA_MAX_RANK);
        }
    }
    const char *unique = name ? name : "input";
    for (int i = 0; i < m->n_inputs; i++)
        if (!strcmp(m->inputs[i].name, unique))
            return soma_value_fail(m->graph, o->at, "input \"%s\": the model has an input of that name already",
                                   unique);
    soma_value x = soma_graph_input(m->graph, unique, type, o->at);
    if (soma_ok(x) && add_io(m, &m->inputs, &m->n_inputs, &m->input_capacity, unique, x.id) != SOMA_OK)
        return soma_value_in(m->graph, -1);
    return x;
}

void soma_output_at(soma_model *m, const char *name, soma_value x, soma_at at)
{
    if (!m || (x.graph && x.id < 0))
        return;
    if (x.graph != m->graph) {
        soma_value_fail(m->graph, at, "output \"%s\": the value does not belong to this model", name ? name : "");
        return;
    }
    add_io(m, &m->outputs, &m->n_outputs, &m->output_capacity, name ? name : "output", x.id);
}

soma_value soma_model_input(const soma_model *m, int index)
{
    if (!m)
        return soma_none();
    return soma_value_in(m->graph, index >= 0 && index < m->n_inputs ? m->inputs[index].value : -1);
}

soma_value soma_model_output(const soma_model *m, int index)
{
    if (!m)
        return soma_none();
    return soma_value_in(m->graph, index >= 0 && index < m->n_outputs ? m->outputs[index].value : -1);
}

const char *soma_model_output_name(const soma_model *m, int index)
{
    return m && index >= 0 && index < m->n_outputs ? m->outputs[index].name : "";
}

int soma_model_head(const soma_model *m, bool *head)
{
    const soma_graph *g = m->graph;
    int found = -1;
    bool *reached = m->n_outputs ? soma_alloc_array(m->s, (size_t)g->n_values, sizeof *reached) : NULL;
    if (!reached)
        return -1;
    reached[m->outputs[0].value] = true;
    for (int i = g->n_nodes - 1; i >= 0 && found < 0; i--) {
        const soma_graph_node *node = &g->nodes[i];
        bool used = soma_node_reached(node, reached);
        for (int j = 0; j < node->n_in && used; j++) {
            const soma_graph_value *v = node->in[j] >= 0 ? &g->values[node->in[j]] : NULL;
            if (!v)
                continue;
            reached[node->in[j]] = true;
            if (v->kind == SOMA_VALUE_TENSOR && !m->tensors[v->tensor].slot) {
                head[v->tensor] = true;
                found = i;
            }
        }
    }
    soma_release(m->s, reached);
    return found;
}

/* ---- attachments ---- */

void *soma_attached(const soma_model *m, const char *key)
{
    for (const soma_attachment *a = m ? m->attachments : NULL; a; a = a->next)
        if (!strcmp(a->key, key))
            return a->data;
    return NULL;
}

soma_status soma_attach(soma_model *m, const char *key, void *data, void (*destroy)(soma_model *, void *))
{
    for (soma_attachment *a = m->attachments; a; a = a->next) {
        if (strcmp(a->key, key))
            continue;
        if (a->destroy && a->data != data)
            a->destroy(m, a->data);
        a->data = data;
        a->destroy = destroy;
        return SOMA_OK;
    }
    soma_attachment *a = soma_alloc(m->s, sizeof *a);
    if (!a)
        return SOMA_MEMORY;
    *a = (soma_attachment){m->attachments, key, data, destroy};
    m->attachments = a;
    return SOMA_OK;
}
