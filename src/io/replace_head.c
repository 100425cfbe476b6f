/* SPDX-License-Identifier: Apache-2.0
 *
 * io/replace_head.c: a model with another last layer: its graph is built again by the same inference as a person's
 * calls, with the head's tensors as large as the new classes need, and every other tensor is copied.
 */
#include "io/metadata.h"
#include "tensor/element.h"
#include "op/shape/shape.h"

#include <string.h>

typedef struct rebuild {
    const soma_model *from;
    soma_model *to;
    bool *head;        /* per tensor of `from` */
    bool *needed;      /* per value of `from`: the outputs need it */
    soma_value *value; /* per value of `from`: its like in `to` */
    int64_t before, after;
    int head_node;
} rebuild;

static void mark_needed(rebuild *r)
{
    for (int i = 0; i < r->from->n_outputs; i++)
        r->needed[r->from->outputs[i].value] = true;
    soma_reach(r->from->graph, r->needed);
}

static soma_value rebuild_tensor(rebuild *r, int index, soma_at at)
{
    const soma_model_tensor *t = &r->from->tensors[index];
    soma_tensor_options o = t->init;
    o.struct_size = sizeof o;
    o.at = at;
    o.shape = t->type.shape;
    o.dtype = t->type.dtype;
    o.frozen = t->frozen;
    if (r->head[index]) {
        o.shape.dim[0] = r->after;
        o.fan_out = 0;
    }
    return soma_parameter_with(r->to, t->name, &o);
}

static soma_status rebuild_leaves(rebuild *r)
{
    const soma_graph *g = r->from->graph;
    for (int i = 0; i < g->n_values; i++) {
        const soma_graph_value *v = &g->values[i];
        soma_input_options input = {.struct_size = sizeof input, .at = v->at, .shape = v->type.shape, .no_batch = true};
        soma_tensor constant = {v->type.dtype, v->type.shape, (void *)(uintptr_t)v->bytes};
        if (v->kind == SOMA_VALUE_INPUT)
            r->value[i] = soma_input_with(r->to, v->name, v->type.dtype, &input);
        else if (v->kind == SOMA_VALUE_TENSOR && !r->from->tensors[v->tensor].slot)
            r->value[i] = rebuild_tensor(r, v->tensor, v->at);
        else if (v->kind == SOMA_VALUE_CONSTANT && r->needed[i])
            r->value[i] = soma_constant_at(r->to, &constant, v->at);
    }
    return r->to->graph->failed ? SOMA_INVALID : SOMA_OK;
}

static soma_status rebuild_node(rebuild *r, int index)
{
    const soma_graph_node *node = &r->from->graph->nodes[index];
    _Alignas(16) char attrs[SOMA_ATTRS_MAX];
    memcpy(attrs, node->attrs, node->op->attrs_size);
    if (index > r->head_node && !strcmp(node->op->name, "reshape")) { /* what was flattened is as wide as the classes */
        soma_shape *shape = &((soma_reshape_attrs *)(void *)attrs)->shape;
        for (int i = 1; i < shape->rank; i++)
            if (shape->dim[i] == r->before)
                shape->dim[i] = r->after;
    }
    soma_value *args = soma_alloc_array(r->from->s, (size_t)(node->n_in + node->n_out) + 1, sizeof *args);
    if (!args)
        return SOMA_MEMORY;
    for (int i = 0; i < node->n_in; i++)
        args[i] = node->in[i] >= 0 ? r->value[node->in[i]] : soma_none();
    soma_value *out = args + node->n_in;
    soma_status status = soma_graph_apply(r->to->graph, node->op, args, node->n_in, out, node->n_out, attrs,
                                          node->layer, node->at);
    for (int i = 0; i < node->n_out; i++)
        if (node->out[i] >= 0)
            r->value[node->out[i]] = out[i];
    soma_release(r->from->s, args);
    return status;
}

static soma_status rebuild_graph(rebuild *r)
{
    const soma_graph *g = r->from->graph;
    soma_status status = rebuild_leaves(r);
    for (int i = 0; i < g->n_nodes && status == SOMA_OK; i++)
        status = soma_node_reached(&g->nodes[i], r->needed) ? rebuild_node(r, i) : SOMA_OK;
    for (int i = 0; i < r->from->n_outputs && status == SOMA_OK; i++)
        soma_output_at(r->to, r->from->outputs[i].name, r->value[r->from->outputs[i].value], soma_nowhere());
    return r->to->graph->failed && status == SOMA_OK ? SOMA_INVALID : status;
}

static soma_status copy_tensors(rebuild *r)
{
    soma_status status = soma_model_materialize(r->to);
    for (int i = 0; i < r->from->n_tensors && status == SOMA_OK; i++) {
        const soma_model_tensor *t = &r->from->tensors[i];
        int to = t->slot || r->head[i] ? -1 : soma_model_tensor_index(r->to, t->name);
        if (to >= 0 && t->data)
            memcpy(r->to->tensors[to].data, t->data,
                   (size_t)soma_shape_elements(&t->type.shape) * soma_dtype_size(t->type.dtype));
    }
    soma_touch(r->to);
    return status;
}

/* Only a layer whose tensors all begin with its outputs can be made wider. */
static soma_status check_head(rebuild *r, soma_at at)
{
    const soma_model *m = r->from;
    r->head_node = soma_model_head(m, r->head);
    const soma_graph_node *node = r->head_node >= 0 ? &m->graph->nodes[r->head_node] : NULL;
    if (!node || (strcmp(node->op->name, "matmul") && strcmp(node->op->name, "conv2d")))
        return soma_fail(
            m->s, SOMA_INVALID, at,
            "new head: the model \"%s\" ends in %s, but only the classes of a dense layer or a convolution can "
            "be changed",
            m->name, node ? node->op->name : "no layer with tensors");
    for (int i = 0; i < m->n_tensors; i++)
        if (r->head[i])
            r->before = m->tensors[i].type.shape.dim[0];
    return SOMA_OK;
}

soma_model *soma_replace_head_at(soma_model *m, int64_t classes, soma_at at)
{
    if (!m || m->graph->failed)
        return NULL;
    if (classes < 1) {
        soma_fail(m->s, SOMA_INVALID, at, "new head: classes is %lld; it must be at least 1", (long long)classes);
        return NULL;
    }
    rebuild r = {.from = m, .after = classes};
    r.head = soma_alloc_array(m->s, (size_t)m->n_tensors + 1, sizeof *r.head);
    r.needed = soma_alloc_array(m->s, (size_t)m->graph->n_values + 1, sizeof *r.needed);
    r.value = soma_alloc_array(m->s, (size_t)m->graph->n_values + 1, sizeof *r.value);
    soma_status status = r.head && r.needed && r.value ? check_head(&r, at) : SOMA_MEMORY;
    r.to = status == SOMA_OK ? soma_model_new(m->s, m->name) : NULL;
    if (r.to) {
        mark_needed(&r);
        status = rebuild_graph(&r);
        if (status == SOMA_OK)
            status = copy_tensors(&r);
        soma_knowledge *knows = status == SOMA_OK ? soma_model_knowledge(r.to) : NULL;
        if (knows)
            knows->transform = soma_model_transform(m);
        else if (status == SOMA_OK)
            status = SOMA_MEMORY;
    }
    if (r.to && status != SOMA_OK) {
        soma_model_free(r.to);
        r.to = NULL;
    }
    soma_release(m->s, r.head);
    soma_release(m->s, r.needed);
    soma_release(m->s, r.value);
    return r.to;
}
