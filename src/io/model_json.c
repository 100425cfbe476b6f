/* SPDX-License-Identifier: Apache-2.0
 *
 * io/model_json.c: the graph of a model in the metadata of its file.
 *
 *   {"format": 1, "name": "lenet5",
 *    "values": [{"input": "x", "dtype": "f32", "shape": [-1, 1, 28, 28]}, {"tensor": "conv1.weight", "init": ...},
 *               {"constant": [0.5], "dtype": "f32", "shape": []}],
 *    "nodes": [{"op": "conv2d", "layer": "conv1", "in": [0, 1, 2], "out": [3], "attrs": {"stride": "1,1", ...}}],
 *    "outputs": [{"name": "y", "value": 17}], "classes": [...], "transform": {...}}
 *
 * Values are numbered: those of "values" first, then the nodes' outputs in order; -1 is an absent argument.
 */
#include "io/model_json.h"
#include "base/limits.h"
#include "base/size.h"
#include "base/text.h"

#include <string.h>

/* ---- writing ---- */

static json_t *shape_json(const soma_shape *shape)
{
    json_t *array = json_array();
    for (int i = 0; i < shape->rank; i++)
        json_array_append_new(array, json_integer(shape->dim[i]));
    return array;
}

static double element(const soma_graph_value *v, int64_t i)
{
    switch (v->type.dtype) {
    case SOMA_F32:
        return (double)((const float *)v->bytes)[i];
    case SOMA_F64:
        return ((const double *)v->bytes)[i];
    case SOMA_I32:
        return ((const int32_t *)v->bytes)[i];
    case SOMA_U8:
        return ((const uint8_t *)v->bytes)[i];
    }
    return 0;
}

static json_t *leaf_json(const soma_model *m, const soma_graph_value *v)
{
    json_t *o = json_object();
    if (v->kind == SOMA_VALUE_TENSOR) {
        const soma_model_tensor *t = &m->tensors[v->tensor];
        json_object_set_new(o, "tensor", json_string(t->name));
        json_object_set_new(o, "init", json_pack("[s, f, f, I, I]", t->init.init, t->init.a, t->init.b,
                                                 (json_int_t)t->init.fan_in, (json_int_t)t->init.fan_out));
        if (t->frozen)
            json_object_set_new(o, "frozen", json_true());
    } else if (v->kind == SOMA_VALUE_INPUT) {
        json_object_set_new(o, "input", json_string(v->name));
    } else {
        json_t *numbers = json_array();
        for (int64_t i = 0; i < soma_shape_elements(&v->type.shape); i++)
            json_array_append_new(numbers, json_real(element(v, i)));
        json_object_set_new(o, "constant", numbers);
    }
    json_object_set_new(o, "dtype", json_string(soma_dtype_name(v->type.dtype)));
    json_object_set_new(o, "shape", shape_json(&v->type.shape));
    return o;
}

static json_t *attrs_json(const soma_graph_node *node)
{
    json_t *attrs = json_object();
    for (const soma_field *field = node->op->fields; field && field->name; field++) {
        char text[256];
        soma_attr_text(field, node->attrs, text, sizeof text);
        json_object_set_new(attrs, field->name, json_string(text));
    }
    return attrs;
}

static json_t *ids_json(const int32_t *ids, int n, const int32_t *number)
{
    json_t *array = json_array();
    for (int i = 0; i < n; i++)
        json_array_append_new(array, json_integer(ids[i] < 0 ? -1 : number[ids[i]]));
    return array;
}

/* What the outputs need (and every input): needed[value]. */
static void mark(const soma_model *m, bool *needed)
{
    const soma_graph *g = m->graph;
    for (int i = 0; i < m->n_outputs; i++)
        needed[m->outputs[i].value] = true;
    for (int i = 0; i < m->n_inputs; i++)
        needed[m->inputs[i].value] = true;
    for (int i = g->n_nodes - 1; i >= 0; i--) {
        bool alive = false;
        for (int j = 0; j < g->nodes[i].n_out; j++)
            alive = alive || (g->nodes[i].out[j] >= 0 && needed[g->nodes[i].out[j]]);
        for (int j = 0; alive && j < g->nodes[i].n_in; j++)
            if (g->nodes[i].in[j] >= 0)
                needed[g->nodes[i].in[j]] = true;
    }
}

static void write_graph(soma_model *m, json_t *json, const bool *needed, int32_t *number)
{
    const soma_graph *g = m->graph;
    json_t *values = json_array(), *nodes = json_array(), *outputs = json_array();
    int32_t next = 0;
    for (int i = 0; i < g->n_values; i++)
        if (needed[i] && g->values[i].kind != SOMA_VALUE_COMPUTED) {
            number[i] = next++;
            json_array_append_new(values, leaf_json(m, &g->values[i]));
        }
    for (int i = 0; i < g->n_nodes; i++) {
        const soma_graph_node *node = &g->nodes[i];
        bool alive = false;
        for (int j = 0; j < node->n_out; j++)
            alive = alive || (node->out[j] >= 0 && needed[node->out[j]]);
        if (!alive)
            continue;
        for (int j = 0; j < node->n_out; j++)
            if (node->out[j] >= 0)
                number[node->out[j]] = next++;
        json_array_append_new(nodes, json_pack("{s:s, s:s, s:o, s:o, s:o}", "op", node->op->name, "layer", node->layer, "in",
                                               ids_json(node->in, node->n_in, number), "out",
                                               ids_json(node->out, node->n_out, number), "attrs", attrs_json(node)));
    }
    for (int i = 0; i < m->n_outputs; i++)
        json_array_append_new(outputs, json_pack("{s:s, s:i}", "name", m->outputs[i].name, "value",
                                                 (int)number[m->outputs[i].value]));
    json_object_set_new(json, "values", values);
    json_object_set_new(json, "nodes", nodes);
    json_object_set_new(json, "outputs", outputs);
}

static void write_knowledge(soma_model *m, json_t *json)
{
    soma_transform t = soma_model_transform(m);
    json_t *mean = json_array(), *deviation = json_array(), *classes = json_array();
    for (int i = 0; i < 4; i++) {
        json_array_append_new(mean, json_real(t.mean[i]));
        json_array_append_new(deviation, json_real(t.deviation[i]));
    }
    json_object_set_new(json, "transform", json_pack("{s:f, s:o, s:o}", "scale", t.scale, "mean", mean, "deviation", deviation));
    for (int i = 0; i < soma_model_classes(m); i++)
        json_array_append_new(classes, json_string(soma_model_class(m, i)));
    json_object_set_new(json, "classes", classes);
}

json_t *soma_model_to_json(soma_model *m)
{
    bool *needed = soma_alloc_array(m->s, (size_t)m->graph->n_values + 1, sizeof *needed);
    int32_t *number = soma_alloc_array(m->s, (size_t)m->graph->n_values + 1, sizeof *number);
    json_t *json = needed && number ? json_object() : NULL;
    if (json) {
        mark(m, needed);
        json_object_set_new(json, "format", json_integer(1));
        json_object_set_new(json, "name", json_string(m->name));
        write_graph(m, json, needed, number);
        write_knowledge(m, json);
    }
    soma_release(m->s, needed);
    soma_release(m->s, number);
    return json;
}

/* ---- reading ---- */

typedef struct reader {
    soma_model *m;
    const char *path;
    soma_value *values; /* by number */
    int n, capacity;
} reader;

static soma_status wrong(const reader *r, const char *format, ...) SOMA_PRINTF(2, 3);
static soma_status wrong(const reader *r, const char *format, ...)
{
    char sentence[512];
    va_list args;
    va_start(args, format);
    vsnprintf(sentence, sizeof sentence, format, args);
    va_end(args);
    return soma_fail(r->m->s, SOMA_FORMAT, soma_nowhere(), "%s: model description: %s", r->path, sentence);
}

static soma_status push(reader *r, soma_value x)
{
    if (!soma_ok(x))
        return r->m->s->status != SOMA_OK ? SOMA_FORMAT : wrong(r, "a value could not be made");
    soma_status status = soma_grow(r->m->s, &r->values, &r->capacity, r->n + 1, sizeof *r->values);
    if (status == SOMA_OK)
        r->values[r->n++] = x;
    return status;
}

static bool read_type(const json_t *o, soma_type *type)
{
    const char *dtype = json_string_value(json_object_get(o, "dtype"));
    json_t *shape = json_object_get(o, "shape");
    if (!dtype || !json_is_array(shape) || json_array_size(shape) > SOMA_MAX_RANK)
        return false;
    bool found = false;
    for (int d = SOMA_F32; d <= SOMA_U8 && !found; d++)
        if (!strcmp(soma_dtype_name((soma_dtype)d), dtype)) {
            type->dtype = (soma_dtype)d;
            found = true;
        }
    type->shape = (soma_shape){.rank = (int)json_array_size(shape)};
    for (int i = 0; i < type->shape.rank; i++) {
        json_t *d = json_array_get(shape, (size_t)i);
        type->shape.dim[i] = json_integer_value(d);
        bool batch = i == 0 && type->shape.dim[i] == SOMA_N;
        if (!json_is_integer(d) || (!batch && (type->shape.dim[i] < 1 || type->shape.dim[i] > SOMA_LIMIT_DIM)))
            return false;
    }
    return found;
}

static soma_value read_constant(reader *r, const json_t *numbers, soma_type type)
{
    int64_t n = soma_shape_elements(&type.shape);
    size_t size;
    if (n <= 0 || (size_t)n != json_array_size(numbers) || !soma_size_mul((size_t)n, soma_dtype_size(type.dtype), &size))
        return soma_none();
    void *bytes = soma_alloc(r->m->s, size);
    if (!bytes)
        return soma_none();
    for (int64_t i = 0; i < n; i++) {
        double x = json_number_value(json_array_get(numbers, (size_t)i));
        switch (type.dtype) {
        case SOMA_F32:
            ((float *)bytes)[i] = (float)x;
            break;
        case SOMA_F64:
            ((double *)bytes)[i] = x;
            break;
        case SOMA_I32:
            ((int32_t *)bytes)[i] = x >= -2147483648.0 && x <= 2147483647.0 ? (int32_t)x : 0;
            break;
        case SOMA_U8:
            ((uint8_t *)bytes)[i] = x >= 0 && x <= 255 ? (uint8_t)x : 0;
            break;
        }
    }
    soma_tensor tensor = {type.dtype, type.shape, bytes};
    soma_value x = soma_constant_at(r->m, &tensor, soma_nowhere());
    soma_release(r->m->s, bytes);
    return x;
}

static soma_status read_tensor(reader *r, const json_t *o, const char *name, soma_type type)
{
    json_t *init = json_object_get(o, "init");
    soma_tensor_options options = {.struct_size = sizeof options, .shape = type.shape, .dtype = type.dtype};
    options.init = json_string_value(json_array_get(init, 0));
    options.a = json_number_value(json_array_get(init, 1));
    options.b = json_number_value(json_array_get(init, 2));
    options.fan_in = json_integer_value(json_array_get(init, 3));
    options.fan_out = json_integer_value(json_array_get(init, 4));
    options.frozen = json_is_true(json_object_get(o, "frozen"));
    if (soma_model_tensor_index(r->m, name) >= 0)
        return wrong(r, "the tensor \"%.200s\" is listed twice", name);
    if (options.fan_in < 0 || options.fan_out < 0)
        return wrong(r, "the tensor \"%.200s\" has a negative fan", name);
    soma_value x = soma_parameter_with(r->m, name, &options);
    if (soma_ok(x) && strcmp(soma_value_name(x), name))
        return wrong(r, "the tensor name \"%.200s\" is used for a layer as well", name);
    return push(r, x);
}

static soma_status read_leaf(reader *r, const json_t *o)
{
    soma_type type;
    const char *input = json_string_value(json_object_get(o, "input"));
    const char *tensor = json_string_value(json_object_get(o, "tensor"));
    json_t *constant = json_object_get(o, "constant");
    if (!json_is_object(o) || !read_type(o, &type))
        return wrong(r, "value %d has no proper type and shape", r->n);
    if (input && strlen(input) <= SOMA_LIMIT_NAME) {
        soma_input_options options = {.struct_size = sizeof options, .shape = type.shape, .no_batch = true};
        return push(r, soma_input_with(r->m, input, type.dtype, &options));
    }
    if (tensor && tensor[0] && strlen(tensor) <= SOMA_LIMIT_NAME)
        return read_tensor(r, o, tensor, type);
    if (json_is_array(constant)) {
        soma_value x = read_constant(r, constant, type);
        return x.graph ? push(r, x) : wrong(r, "value %d: the constant does not fit its shape", r->n);
    }
    return wrong(r, "value %d is neither an input nor a tensor nor a constant", r->n);
}

static soma_status read_attrs(reader *r, const soma_op *op, const json_t *json, void *attrs)
{
    char reason[SOMA_REASON_MAX] = "";
    soma_attrs_default(op, attrs);
    const char *name;
    json_t *text;
    json_object_foreach ((json_t *)(uintptr_t)json, name, text) {
        if (!json_is_string(text))
            return wrong(r, "attribute \"%.100s\" of op %s is not text", name, op->name);
        if (soma_attr_parse(op, attrs, name, json_string_value(text), reason) != SOMA_OK)
            return wrong(r, "%s", reason);
    }
    return SOMA_OK;
}

/* Value numbers of a node's inputs; -1 stays absent. */
static soma_status read_inputs(reader *r, const json_t *array, soma_value *in, int n, const char *op)
{
    for (int i = 0; i < n; i++) {
        json_t *id = json_array_get(array, (size_t)i);
        json_int_t number = json_integer_value(id);
        if (!json_is_integer(id) || number < -1 || number >= r->n)
            return wrong(r, "op %s reads a value that does not come before it", op);
        in[i] = number < 0 ? soma_none() : r->values[number];
    }
    return SOMA_OK;
}

static soma_status read_node(reader *r, const json_t *o, int index)
{
    const char *name = json_string_value(json_object_get(o, "op")), *layer = json_string_value(json_object_get(o, "layer"));
    json_t *in_ids = json_object_get(o, "in"), *out_ids = json_object_get(o, "out");
    size_t n_in = json_array_size(in_ids), n_out = json_array_size(out_ids);
    if (!name || !layer || strlen(layer) > SOMA_LIMIT_NAME || n_in > SOMA_MAX_ARGS || n_out < 1 || n_out > SOMA_MAX_ARGS)
        return wrong(r, "node %d has no proper op, layer, inputs and outputs", index);
    const soma_op *op = soma_op_find(name);
    if (!op)
        return soma_fail(r->m->s, SOMA_UNSUPPORTED, soma_nowhere(),
                         "%s: the model uses the op \"%.100s\", which this soma does not have", r->path, name);
    if (op->assign)
        return wrong(r, "op %s assigns state and cannot be part of a model", name);
    soma_value *args = soma_alloc_array(r->m->s, n_in + n_out + 1, sizeof *args);
    _Alignas(16) char attrs[SOMA_ATTRS_MAX];
    soma_status status = args ? read_attrs(r, op, json_object_get(o, "attrs"), attrs) : SOMA_MEMORY;
    if (status == SOMA_OK)
        status = read_inputs(r, in_ids, args, (int)n_in, name);
    if (status == SOMA_OK && (int)n_out > op->required_out + op->optional_out)
        status = wrong(r, "op %s does not have %zu outputs", name, n_out);
    if (status == SOMA_OK)
        status = soma_graph_apply(r->m->graph, op, args, (int)n_in, args + n_in, (int)n_out, attrs, layer,
                                  (soma_at){r->path, index});
    for (size_t i = 0; status == SOMA_OK && i < n_out; i++)
        if (json_integer_value(json_array_get(out_ids, i)) >= 0)
            status = push(r, args[n_in + i]);
    soma_release(r->m->s, args);
    return status;
}

static soma_status read_outputs(reader *r, const json_t *array)
{
    for (size_t i = 0; i < json_array_size(array); i++) {
        json_t *o = json_array_get(array, i), *value = json_object_get(o, "value");
        const char *name = json_string_value(json_object_get(o, "name"));
        json_int_t id = json_integer_value(value);
        if (!name || strlen(name) > SOMA_LIMIT_NAME || !json_is_integer(value) || id < 0 || id >= r->n)
            return wrong(r, "output %zu has no name or no value", i);
        soma_output_at(r->m, name, r->values[id], soma_nowhere());
    }
    return SOMA_OK;
}

static soma_status read_knowledge(reader *r, const json_t *json)
{
    json_t *t = json_object_get(json, "transform"), *classes = json_object_get(json, "classes");
    soma_transform transform = {.scale = json_number_value(json_object_get(t, "scale"))};
    for (size_t i = 0; i < 4; i++) {
        transform.mean[i] = json_number_value(json_array_get(json_object_get(t, "mean"), i));
        transform.deviation[i] = json_number_value(json_array_get(json_object_get(t, "deviation"), i));
    }
    soma_model_set_transform(r->m, transform);
    size_t n = json_array_size(classes);
    if (n > SOMA_LIMIT_TENSORS)
        return wrong(r, "has too many classes");
    const char **names = soma_alloc_array(r->m->s, n + 1, sizeof *names);
    if (!names)
        return SOMA_MEMORY;
    for (size_t i = 0; i < n; i++)
        names[i] = json_string_value(json_array_get(classes, i));
    soma_status status = soma_model_set_classes(r->m, names, (int)n);
    soma_release(r->m->s, names);
    return status;
}

soma_status soma_model_of_json(soma_model *m, const json_t *json, const char *path)
{
    reader r = {.m = m, .path = path};
    json_t *values = json_object_get(json, "values"), *nodes = json_object_get(json, "nodes");
    if (json_integer_value(json_object_get(json, "format")) != 1)
        return wrong(&r, "its format is not 1; it was written by a newer soma");
    if (!json_is_array(values) || !json_is_array(nodes) || json_array_size(nodes) > SOMA_LIMIT_NODES ||
        json_array_size(values) > SOMA_LIMIT_NODES)
        return wrong(&r, "has no proper lists of values and nodes");
    soma_status status = SOMA_OK;
    for (size_t i = 0; i < json_array_size(values) && status == SOMA_OK; i++)
        status = read_leaf(&r, json_array_get(values, i));
    for (size_t i = 0; i < json_array_size(nodes) && status == SOMA_OK; i++)
        status = read_node(&r, json_array_get(nodes, i), (int)i);
    if (status == SOMA_OK)
        status = read_outputs(&r, json_object_get(json, "outputs"));
    if (status == SOMA_OK)
        status = read_knowledge(&r, json);
    soma_release(m->s, r.values);
    return status;
}
