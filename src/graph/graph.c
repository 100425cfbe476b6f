/* SPDX-License-Identifier: Apache-2.0
 *
 * graph/graph.c: values and nodes: how a graph grows, node by node, and is copied. Knows no single op.
 */
#include "graph/graph.h"
#include "base/fields.h"
#include "base/random.h"
#include "base/size.h"

#include <stdio.h>
#include <string.h>

static soma_value failed_value(soma_graph *graph)
{
    soma_value x = {graph, -1};
    return x;
}

soma_value soma_value_fail(soma_graph *graph, soma_at at, const char *format, ...)
{
    if (!graph)
        return soma_none();
    va_list args;
    va_start(args, format);
    soma_fail_v(graph->s, SOMA_INVALID, at, format, args);
    va_end(args);
    graph->failed = true;
    return failed_value(graph);
}

soma_value soma_graph_refuse(soma_graph *graph)
{
    if (!graph)
        return soma_none();
    graph->failed = true;
    return failed_value(graph);
}

bool soma_graph_take(soma_graph *graph, const char *what, const soma_field *fields, size_t size, const void *given,
                     void *options, soma_value *failed)
{
    *failed = (soma_value){graph, -1};
    if (!graph)
        return false;
    if (!soma_options_take(graph->s, what, fields, size, given, options))
        return true;
    graph->failed = true;
    return false;
}

bool soma_graph_take_x(const char *what, const soma_field *fields, size_t size, const void *given, void *options,
                       soma_value *failed)
{
    const struct {
        size_t struct_size;
        soma_at at;
        soma_value x;
    } *head = given;
    soma_graph *graph = head && head->struct_size >= sizeof *head ? head->x.graph : NULL;
    return soma_graph_take(graph, what, fields, size, given, options, failed);
}

bool soma_ok(soma_value x)
{
    return x.graph && x.id >= 0 && x.id < x.graph->n_values;
}

soma_type soma_value_type(soma_value x)
{
    if (soma_ok(x))
        return x.graph->values[x.id].type;
    soma_type none = {SOMA_F32, {.rank = -1}};
    return none;
}

const char *soma_value_name(soma_value x)
{
    return soma_ok(x) && x.graph->values[x.id].name ? x.graph->values[x.id].name : "";
}

/* ---- growing ---- */

static soma_status add_value(soma_graph *graph, const soma_graph_value *value, int32_t *id)
{
    soma_status status = soma_grow(graph->s, &graph->values, &graph->value_capacity, graph->n_values + 1,
                                   sizeof *value);
    if (status != SOMA_OK) {
        graph->failed = true;
        return status;
    }
    graph->values[graph->n_values] = *value;
    *id = graph->n_values++;
    return SOMA_OK;
}

static soma_value new_value(soma_graph *graph, const soma_graph_value *value)
{
    int32_t id = -1;
    if (add_value(graph, value, &id) != SOMA_OK)
        return failed_value(graph);
    return soma_value_in(graph, id);
}

soma_value soma_graph_input(soma_graph *graph, const char *name, soma_type type, soma_at at)
{
    char *copy = soma_arena_text(&graph->arena, name);
    if (!copy) {
        graph->failed = true;
        return failed_value(graph);
    }
    soma_graph_value value = {.kind = SOMA_VALUE_INPUT, .type = type, .name = copy, .node = -1, .tensor = -1, .at = at};
    return new_value(graph, &value);
}

soma_value soma_graph_tensor(soma_graph *graph, int tensor)
{
    const soma_model_tensor *t = &graph->model->tensors[tensor];
    for (int i = 0; i < graph->n_values; i++)
        if (graph->values[i].kind == SOMA_VALUE_TENSOR && graph->values[i].tensor == tensor)
            return soma_value_in(graph, i);
    soma_graph_value value = {
        .kind = SOMA_VALUE_TENSOR, .type = t->type, .name = t->name, .node = -1, .tensor = tensor, .at = t->init.at};
    return new_value(graph, &value);
}

static bool constant_shape(const soma_shape *shape, int64_t *elements)
{
    *elements = soma_shape_elements(shape);
    return *elements > 0;
}

static soma_value constant_in(soma_graph *graph, soma_type type, const void *bytes, soma_at at)
{
    int64_t elements;
    if (!constant_shape(&type.shape, &elements)) {
        char text[96];
        return soma_value_fail(graph, at, "constant: the shape of %s has a dimension that is not a positive number",
                               soma_type_text(&type, text));
    }
    size_t size = (size_t)elements * soma_dtype_size(type.dtype);
    void *copy = soma_arena_alloc(&graph->arena, size);
    if (!copy) {
        graph->failed = true;
        return failed_value(graph);
    }
    memcpy(copy, bytes, size);
    soma_graph_value value = {
        .kind = SOMA_VALUE_CONSTANT, .type = type, .node = -1, .tensor = -1, .bytes = copy, .at = at};
    return new_value(graph, &value);
}

soma_value soma_constant_at(soma_model *m, const soma_tensor *tensor, soma_at at)
{
    if (!m)
        return soma_none();
    if (!tensor || !tensor->data)
        return soma_value_fail(m->graph, at, "constant: the tensor has no data");
    soma_type type = {tensor->dtype, tensor->shape};
    return constant_in(m->graph, type, tensor->data, at);
}

soma_value soma_scalar_at(soma_value x, double number, soma_at at)
{
    if (!soma_ok(x))
        return x;
    soma_type type = {x.graph->values[x.id].type.dtype, {.rank = 0}};
    union {
        float f32;
        double f64;
        int32_t i32;
        uint8_t u8;
    } bytes;
    switch (type.dtype) {
    case SOMA_F32:
        bytes.f32 = (float)number;
        break;
    case SOMA_F64:
        bytes.f64 = number;
        break;
    case SOMA_I32:
        bytes.i32 = (int32_t)number;
        break;
    case SOMA_U8:
        bytes.u8 = (uint8_t)number;
        break;
    case SOMA_BF16: /* of programs only */
        return soma_value_fail(x.graph, at, "scalar: no value of a model is bf16");
    }
    return constant_in(x.graph, type, &bytes, at);
}

/* ---- nodes ---- */

/* "conv2d "conv1"" for sentences. */
static const char *node_title(const soma_op *op, const char *layer, char text[160])
{
    if (layer && layer[0])
        snprintf(text, 160, "%s \"%.100s%s\"", op->name, layer, strlen(layer) > 100 ? "..." : "");
    else
        snprintf(text, 160, "%s", op->name);
    return text;
}

/* Counts and graphs of the inputs. Returns false after reporting (or silently, when an input has failed already). */
static bool check_inputs(soma_graph *graph, const soma_op *op, const soma_value *in, int n_in, const char *layer,
                         soma_at at)
{
    char title[160];
    for (int i = 0; i < n_in; i++) {
        if (in[i].graph && in[i].id < 0) {
            graph->failed = true; /* passed on silently: the first mistake has been told */
            return false;
        }
        if (in[i].graph && in[i].graph != graph) {
            soma_value_fail(graph, at, "%s: input %d belongs to another model", node_title(op, layer, title), i);
            return false;
        }
    }
    int required = op->required_in < 0 ? 1 : op->required_in;
    int most = op->required_in < 0 ? SOMA_MAX_ARGS : op->required_in + op->optional_in;
    for (int i = 0; i < required; i++) {
        if (i >= n_in || !soma_ok(in[i])) {
            soma_value_fail(graph, at, "%s: input %d is missing", node_title(op, layer, title), i);
            return false;
        }
    }
    if (n_in > most) {
        soma_value_fail(graph, at, "%s: takes at most %d inputs, got %d", node_title(op, layer, title), most, n_in);
        return false;
    }
    return true;
}

static void *copy_attrs(soma_graph *graph, const soma_op *op, const void *attrs, const char *layer, soma_at at)
{
    char reason[SOMA_REASON_MAX] = "", title[160];
    void *copy = soma_arena_alloc(&graph->arena, op->attrs_size ? op->attrs_size : 1);
    if (!copy)
        return NULL;
    if (attrs)
        memcpy(copy, attrs, op->attrs_size);
    else
        soma_attrs_default(op, copy);
    if (soma_attrs_check(op, copy, reason) != SOMA_OK) {
        soma_value_fail(graph, at, "%s: %s", node_title(op, layer, title), reason);
        return NULL;
    }
    return copy;
}

/* A symbolic dimension may be -k only as a multiple of the batch; zero is never a size. */
static bool types_sound(const soma_type *types, int n)
{
    for (int i = 0; i < n; i++) {
        if (types[i].shape.rank > SOMA_MAX_RANK)
            return false;
        for (int d = 0; d < types[i].shape.rank; d++)
            if (types[i].shape.dim[d] == 0)
                return false;
    }
    return true;
}

static soma_status infer_types(soma_graph *graph, const soma_graph_node *node, const soma_value *in, soma_type *types)
{
    char reason[SOMA_REASON_MAX] = "", title[160];
    soma_type *in_types = types + node->n_out;
    for (int i = 0; i < node->n_in; i++)
        in_types[i] = soma_value_type(in[i]);
    for (int i = 0; i < node->n_out; i++)
        types[i].shape.rank = -1;
    soma_infer infer = {node->attrs, node->n_in, node->n_out, in_types, types, reason};
    soma_status status = node->op->infer(&infer);
    if (status == SOMA_OK && !types_sound(types, node->n_out))
        status = soma_refuse(reason, "the result would have a dimension of size 0 or too many dimensions");
    if (status == SOMA_OK)
        return SOMA_OK;
    soma_value_fail(graph, node->at, "%s: %s", node_title(node->op, node->layer, title), reason);
    return status;
}

static soma_status add_node(soma_graph *graph, soma_graph_node *node, const soma_value *in, soma_value *out)
{
    soma_status status = soma_grow(graph->s, &graph->nodes, &graph->node_capacity, graph->n_nodes + 1, sizeof *node);
    soma_type *types = soma_arena_array(&graph->arena, (size_t)(node->n_in + node->n_out), sizeof *types);
    node->in = soma_arena_array(&graph->arena, (size_t)node->n_in, sizeof *node->in);
    node->out = soma_arena_array(&graph->arena, (size_t)node->n_out, sizeof *node->out);
    if (status != SOMA_OK || !types || !node->in || !node->out)
        return SOMA_MEMORY;
    status = infer_types(graph, node, in, types);
    if (status != SOMA_OK)
        return status;
    for (int i = 0; i < node->n_in; i++)
        node->in[i] = soma_ok(in[i]) ? in[i].id : -1;
    for (int i = 0; i < node->n_out; i++) {
        node->out[i] = -1;
        if (types[i].shape.rank < 0)
            continue;
        soma_graph_value value = {.kind = SOMA_VALUE_COMPUTED,
                                  .type = types[i],
                                  .node = graph->n_nodes,
                                  .out = i,
                                  .tensor = -1,
                                  .at = node->at,
                                  .name = i == 0 ? node->layer : NULL};
        status = add_value(graph, &value, &node->out[i]);
        if (status != SOMA_OK)
            return status;
        out[i] = soma_value_in(graph, node->out[i]);
    }
    graph->nodes[graph->n_nodes++] = *node;
    return SOMA_OK;
}

soma_status soma_graph_apply(soma_graph *graph, const soma_op *op, const soma_value *in, int n_in, soma_value *out,
                             int n_out, const void *attrs, const char *layer, soma_at at)
{
    for (int i = 0; i < n_out; i++)
        out[i] = failed_value(graph);
    if (!graph || !op)
        return SOMA_INVALID;
    while (n_in > 0 && !in[n_in - 1].graph)
        n_in--; /* absent optional inputs at the end */
    if (graph->layer_override)
        layer = graph->layer_override;
    if (!check_inputs(graph, op, in, n_in, layer, at))
        return SOMA_INVALID;
    char title[160];
    if (n_out < op->required_out) {
        soma_value_fail(graph, at, "%s: has %d outputs, %d were asked for", node_title(op, layer, title),
                        op->required_out, n_out);
        return SOMA_INVALID;
    }
    soma_graph_node node = {.op = op, .n_in = n_in, .n_out = n_out, .at = graph->s->builder ? *graph->s->builder : at};
    node.layer = graph->layer_override ? graph->layer_override
                 : layer               ? soma_arena_text(&graph->arena, layer)
                                       : soma_layer_name(graph->model, NULL, op->name);
    node.attrs = node.layer ? copy_attrs(graph, op, attrs, node.layer, at) : NULL;
    if (!node.attrs) {
        graph->failed = true;
        return soma_error_status(graph->s);
    }
    node.site = graph->layer_override ? graph->site_override : soma_hash_text(node.layer);
    soma_status status = add_node(graph, &node, in, out);
    if (status != SOMA_OK) {
        graph->failed = true;
        for (int i = 0; i < n_out; i++)
            out[i] = failed_value(graph);
    }
    return status;
}

SOMA_TABLE(soma_apply_options) = {
    SOMA_OTHER(soma_apply_options, attrs, .doc = "the op's attribute struct; without it all presets"),
    SOMA_TEXT(soma_apply_options, layer, NULL,
              .doc = "a name for errors, plans and random draws; automatic without it"),
    SOMA_FIELDS_END};

soma_status soma_apply_with(const soma_op *op, const soma_value *in, int n_in, soma_value *out, int n_out,
                            const soma_apply_options *given)
{
    soma_apply_options o = {.struct_size = sizeof o};
    soma_graph *graph = NULL;
    for (int i = 0; i < n_in && !graph; i++)
        graph = in[i].graph;
    if (graph && SOMA_TAKE(graph->s, "soma_apply", soma_apply_options, given, &o)) {
        for (int i = 0; i < n_out; i++)
            out[i] = soma_graph_refuse(graph);
        return SOMA_INVALID;
    }
    return soma_graph_apply(graph, op, in, n_in, out, n_out, o.attrs, o.layer, o.at);
}

soma_value soma_apply1(const soma_op *op, const soma_value *in, int n_in, const void *attrs, const char *layer,
                       soma_at at)
{
    soma_graph *graph = NULL;
    for (int i = 0; i < n_in && !graph; i++)
        graph = in[i].graph;
    soma_value out = soma_none();
    soma_graph_apply(graph, op, in, n_in, &out, 1, attrs, layer, at);
    return out;
}

/* ---- what values are computed from ---- */

bool soma_node_reached(const soma_graph_node *node, const bool *reached)
{
    for (int i = 0; i < node->n_out; i++)
        if (node->out[i] >= 0 && reached[node->out[i]])
            return true;
    return false;
}

/* Nodes stand in the order in which they can be computed, so one walk backwards does. */
void soma_reach(const soma_graph *graph, bool *reached)
{
    for (int i = graph->n_nodes - 1; i >= 0; i--) {
        const soma_graph_node *node = &graph->nodes[i];
        bool used = soma_node_reached(node, reached);
        for (int j = 0; j < node->n_in && used; j++)
            if (node->in[j] >= 0)
                reached[node->in[j]] = true;
    }
}

/* ---- copies ---- */

static void *copy_bytes(soma_arena *arena, const void *bytes, size_t size)
{
    void *copy = soma_arena_alloc(arena, size);
    if (copy && size)
        memcpy(copy, bytes, size);
    return copy;
}

/* Everything is copied, names and constants too: a copy outlives its original. */
static soma_status copy_nodes(soma_graph *copy, const soma_graph *graph)
{
    for (int i = 0; i < graph->n_nodes; i++) {
        soma_graph_node node = graph->nodes[i];
        node.in = copy_bytes(&copy->arena, node.in, (size_t)node.n_in * sizeof *node.in);
        node.out = copy_bytes(&copy->arena, node.out, (size_t)node.n_out * sizeof *node.out);
        node.attrs = copy_bytes(&copy->arena, node.attrs, node.op->attrs_size);
        node.layer = soma_arena_text(&copy->arena, node.layer);
        if (!node.in || !node.out || !node.attrs || !node.layer)
            return SOMA_MEMORY;
        copy->nodes[i] = node;
    }
    copy->n_nodes = graph->n_nodes;
    return SOMA_OK;
}

static soma_status copy_values(soma_graph *copy, const soma_graph *graph)
{
    for (int i = 0; i < graph->n_values; i++) {
        soma_graph_value value = graph->values[i];
        if (value.name && !(value.name = soma_arena_text(&copy->arena, value.name)))
            return SOMA_MEMORY;
        size_t size = (size_t)soma_shape_elements(&value.type.shape) * soma_dtype_size(value.type.dtype);
        if (value.kind == SOMA_VALUE_CONSTANT && !(value.bytes = copy_bytes(&copy->arena, value.bytes, size)))
            return SOMA_MEMORY;
        copy->values[i] = value;
    }
    copy->n_values = graph->n_values;
    return SOMA_OK;
}

soma_graph *soma_graph_copy(const soma_graph *graph, soma *s)
{
    soma_graph *copy = soma_alloc(s, sizeof *copy);
    if (!copy)
        return NULL;
    copy->s = s;
    copy->model = graph->model;
    copy->failed = graph->failed;
    soma_arena_init(&copy->arena, s);
    soma_status status = soma_grow(s, &copy->values, &copy->value_capacity, graph->n_values + 1, sizeof *copy->values);
    if (status == SOMA_OK)
        status = soma_grow(s, &copy->nodes, &copy->node_capacity, graph->n_nodes + 1, sizeof *copy->nodes);
    if (status == SOMA_OK)
        status = copy_values(copy, graph);
    if (status == SOMA_OK)
        status = copy_nodes(copy, graph);
    if (status != SOMA_OK) {
        soma_graph_free(copy);
        return NULL;
    }
    return copy;
}

void soma_graph_free(soma_graph *graph)
{
    if (!graph)
        return;
    soma *s = graph->s;
    soma_arena_free(&graph->arena);
    soma_release(s, graph->values);
    soma_release(s, graph->nodes);
    soma_release(s, graph);
}
