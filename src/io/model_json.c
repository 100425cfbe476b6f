/* SPDX-License-Identifier: Apache-2.0
 *
 * io/model_json.c: the graph of a model in the metadata of its file.
 *
 *   {"format": 1, "name": "lenet5",
 *    "values": [{"input": "x", "dtype": "f32", "shape": [-1, 1, 28, 28]}, {"tensor": "conv1.weight", "init": ...},
 *               {"constant": [0.5], "dtype": "f32", "shape": []}],
 *    "nodes": [{"op": "conv2d", "layer": "conv1", "in": [0, 1, 2], "out": [3], "attrs": {"stride": "1,1", ...}}],
 *    "outputs": [{"name": "y", "value": 17}], "transform": {"scale": [1], ...}, "classes": [...]}
 *
 * Values are numbered: those of "values" first, then the nodes' outputs in order; -1 is an absent argument.
 */
#include "io/model_json.h"
#include "base/limits.h"
#include "base/size.h"
#include "base/text.h"
#include "io/json.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

/* ---- writing ---- */

typedef struct writer {
    const soma_model *m;
    soma_text *text;
    bool *needed;    /* by value of the graph: the outputs need it */
    int32_t *number; /* by value of the graph: its number in the file */
    const char *bad; /* a text that is not UTF-8 */
} writer;

static void add_text(writer *w, const char *text)
{
    if (!soma_json_text(w->text, text))
        w->bad = text;
}

/* JSON has no infinities and no NaN: they are texts. */
static void add_number(writer *w, double x)
{
    char text[32];
    if (isfinite(x))
        soma_text_add(w->text, soma_format_f64(x, text));
    else
        soma_text_add(w->text, isnan(x) ? "\"nan\"" : x > 0 ? "\"inf\"" : "\"-inf\"");
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

static void add_tensor(writer *w, const soma_model_tensor *t)
{
    soma_text_add(w->text, "{\"tensor\":");
    add_text(w, t->name);
    soma_text_add(w->text, ",\"init\":[");
    add_text(w, t->init.init);
    soma_text_add(w->text, ",");
    add_number(w, t->init.a);
    soma_text_add(w->text, ",");
    add_number(w, t->init.b);
    soma_text_addf(w->text, ",%" PRId64 ",%" PRId64 "]%s", t->init.fan_in, t->init.fan_out, t->frozen ? ",\"frozen\":true" : "");
}

static void add_leaf(writer *w, const soma_graph_value *v)
{
    if (v->kind == SOMA_VALUE_TENSOR) {
        add_tensor(w, &w->m->tensors[v->tensor]);
    } else if (v->kind == SOMA_VALUE_INPUT) {
        soma_text_add(w->text, "{\"input\":");
        add_text(w, v->name);
    } else {
        soma_text_add(w->text, "{\"constant\":[");
        for (int64_t i = 0; i < soma_shape_elements(&v->type.shape); i++) {
            soma_text_add(w->text, i ? "," : "");
            add_number(w, element(v, i));
        }
        soma_text_add(w->text, "]");
    }
    soma_text_addf(w->text, ",\"dtype\":\"%s\",\"shape\":[", soma_dtype_name(v->type.dtype));
    for (int i = 0; i < v->type.shape.rank; i++)
        soma_text_addf(w->text, "%s%" PRId64, i ? "," : "", v->type.shape.dim[i]);
    soma_text_add(w->text, "]}");
}

static void add_numbers(writer *w, const char *key, const int32_t *ids, int n)
{
    soma_text_addf(w->text, ",\"%s\":[", key);
    for (int i = 0; i < n; i++)
        soma_text_addf(w->text, "%s%" PRId32, i ? "," : "", ids[i] < 0 ? -1 : w->number[ids[i]]);
    soma_text_add(w->text, "]");
}

static void add_node(writer *w, const soma_graph_node *node)
{
    char text[256];
    soma_text_add(w->text, "{\"op\":");
    add_text(w, node->op->name);
    soma_text_add(w->text, ",\"layer\":");
    add_text(w, node->layer);
    add_numbers(w, "in", node->in, node->n_in);
    add_numbers(w, "out", node->out, node->n_out);
    soma_text_add(w->text, ",\"attrs\":{");
    for (const soma_field *field = node->op->fields; field && field->name; field++) {
        soma_text_add(w->text, field == node->op->fields ? "" : ",");
        add_text(w, field->name);
        soma_text_add(w->text, ":");
        soma_attr_text(field, node->attrs, text, sizeof text);
        add_text(w, text);
    }
    soma_text_add(w->text, "}}");
}

static bool alive(const writer *w, const soma_graph_node *node)
{
    for (int i = 0; i < node->n_out; i++)
        if (node->out[i] >= 0 && w->needed[node->out[i]])
            return true;
    return false;
}

/* What the outputs need, every input and every tensor. */
static void mark(writer *w)
{
    const soma_graph *g = w->m->graph;
    for (int i = 0; i < w->m->n_outputs; i++)
        w->needed[w->m->outputs[i].value] = true;
    for (int i = 0; i < g->n_values; i++) {
        const soma_graph_value *v = &g->values[i];
        bool tensor = v->kind == SOMA_VALUE_TENSOR && !w->m->tensors[v->tensor].slot;
        w->needed[i] = w->needed[i] || tensor || v->kind == SOMA_VALUE_INPUT;
    }
    for (int i = g->n_nodes - 1; i >= 0; i--)
        for (int j = 0; alive(w, &g->nodes[i]) && j < g->nodes[i].n_in; j++)
            if (g->nodes[i].in[j] >= 0)
                w->needed[g->nodes[i].in[j]] = true;
}

static void add_graph(writer *w)
{
    const soma_graph *g = w->m->graph;
    int32_t next = 0;
    bool first = true;
    soma_text_add(w->text, ",\n\"values\":[");
    for (int i = 0; i < g->n_values; i++)
        if (w->needed[i] && g->values[i].kind != SOMA_VALUE_COMPUTED) {
            soma_text_add(w->text, next ? ",\n" : "\n");
            w->number[i] = next++;
            add_leaf(w, &g->values[i]);
        }
    soma_text_add(w->text, "],\n\"nodes\":[");
    for (int i = 0; i < g->n_nodes; i++) {
        const soma_graph_node *node = &g->nodes[i];
        if (!alive(w, node))
            continue;
        for (int j = 0; j < node->n_out; j++)
            if (node->out[j] >= 0)
                w->number[node->out[j]] = next++;
        soma_text_add(w->text, first ? "\n" : ",\n");
        first = false;
        add_node(w, node);
    }
    soma_text_add(w->text, "],\n\"outputs\":[");
    for (int i = 0; i < w->m->n_outputs; i++) {
        soma_text_add(w->text, i ? ",{\"name\":" : "{\"name\":");
        add_text(w, w->m->outputs[i].name);
        soma_text_addf(w->text, ",\"value\":%" PRId32 "}", w->number[w->m->outputs[i].value]);
    }
    soma_text_add(w->text, "]");
}

static void add_knowledge(writer *w)
{
    soma_transform t = soma_model_transform(w->m);
    const struct {
        const char *key;
        const double *numbers;
        int n;
    } rows[] = {{"scale", &t.scale, 1}, {"mean", t.mean, 4}, {"deviation", t.deviation, 4}};
    soma_text_add(w->text, ",\n\"transform\":{");
    for (int r = 0; r < 3; r++) {
        soma_text_addf(w->text, "%s\"%s\":[", r ? "," : "", rows[r].key);
        for (int i = 0; i < rows[r].n; i++) {
            soma_text_add(w->text, i ? "," : "");
            add_number(w, rows[r].numbers[i]);
        }
        soma_text_add(w->text, "]");
    }
    soma_text_add(w->text, "},\n\"classes\":[");
    for (int i = 0; i < soma_model_classes(w->m); i++) {
        soma_text_add(w->text, i ? "," : "");
        add_text(w, soma_model_class(w->m, i));
    }
    soma_text_add(w->text, "]}");
}

soma_status soma_model_to_json(const soma_model *m, soma_text *text, const char *path)
{
    writer w = {.m = m, .text = text};
    w.needed = soma_alloc_array(m->s, (size_t)m->graph->n_values + 1, sizeof *w.needed);
    w.number = soma_alloc_array(m->s, (size_t)m->graph->n_values + 1, sizeof *w.number);
    soma_status status = w.needed && w.number ? SOMA_OK : SOMA_MEMORY;
    if (status == SOMA_OK) {
        mark(&w);
        soma_text_add(text, "{\"format\":1,\"name\":");
        add_text(&w, m->name);
        add_graph(&w);
        add_knowledge(&w);
        if (w.bad)
            status = soma_fail(m->s, SOMA_INVALID, soma_nowhere(), "%s: the name \"%.100s\" is not UTF-8, which the format asks for",
                               path, w.bad);
        else if (text->failed)
            status = SOMA_MEMORY;
        else if (text->size > SOMA_LIMIT_MODEL)
            status = soma_fail(m->s, SOMA_INVALID, soma_nowhere(),
                               "%s: the model's description would be %zu bytes, more than the %d that are read; large constants "
                               "should be parameters (frozen)", path, text->size, SOMA_LIMIT_MODEL);
    }
    soma_release(m->s, w.needed);
    soma_release(m->s, w.number);
    return status;
}

/* ---- reading ---- */

typedef struct reader {
    soma_model *m;
    const char *path; /* a copy that lives with the model: values remember where they are from */
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
    if (!soma_ok(x)) /* told already */
        return soma_failed(r->m->s) ? soma_error_status(r->m->s) : wrong(r, "a value could not be made");
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

/* A number, or the text of one that JSON cannot write. */
static bool read_number(const json_t *json, double *x)
{
    const char *text = json_string_value(json);
    *x = json_number_value(json);
    if (!text)
        return json_is_number(json);
    *x = !strcmp(text, "nan") ? (double)NAN : !strcmp(text, "inf") ? (double)INFINITY : -(double)INFINITY;
    return isnan(*x) || *x > 0 || !strcmp(text, "-inf");
}

/* False where x is not a number of this type. */
static bool put_element(soma_dtype dtype, void *bytes, int64_t i, double x)
{
    switch (dtype) {
    case SOMA_F32:
        ((float *)bytes)[i] = (float)x;
        return true;
    case SOMA_F64:
        ((double *)bytes)[i] = x;
        return true;
    case SOMA_I32:
        if (!(x >= INT32_MIN && x <= INT32_MAX && x == floor(x)))
            return false;
        ((int32_t *)bytes)[i] = (int32_t)x;
        return true;
    case SOMA_U8:
        if (!(x >= 0 && x <= UINT8_MAX && x == floor(x)))
            return false;
        ((uint8_t *)bytes)[i] = (uint8_t)x;
        return true;
    }
    return false;
}

static soma_status read_constant(reader *r, const json_t *numbers, soma_type type)
{
    int64_t n = soma_shape_elements(&type.shape);
    if (n <= 0 || (size_t)n != json_array_size(numbers))
        return wrong(r, "value %d: the constant does not fit its shape", r->n);
    void *bytes = soma_alloc_array(r->m->s, (size_t)n, soma_dtype_size(type.dtype));
    bool right = bytes;
    for (int64_t i = 0; right && i < n; i++) {
        double x;
        right = read_number(json_array_get(numbers, (size_t)i), &x) && put_element(type.dtype, bytes, i, x);
    }
    soma_tensor tensor = {type.dtype, type.shape, bytes};
    soma_status status = right   ? push(r, soma_constant_at(r->m, &tensor, (soma_at){r->path, 0}))
                         : bytes ? wrong(r, "value %d: the constant holds what its type cannot hold", r->n)
                                 : SOMA_MEMORY;
    soma_release(r->m->s, bytes);
    return status;
}

static soma_status read_tensor(reader *r, const json_t *o, const char *name, soma_type type)
{
    json_t *init = json_object_get(o, "init");
    soma_tensor_options options = {
        .struct_size = sizeof options, .at = {r->path, 0}, .shape = type.shape, .dtype = type.dtype};
    options.init = json_string_value(json_array_get(init, 0));
    options.fan_in = json_integer_value(json_array_get(init, 3));
    options.fan_out = json_integer_value(json_array_get(init, 4));
    if (!options.init || !read_number(json_array_get(init, 1), &options.a) || !read_number(json_array_get(init, 2), &options.b))
        return wrong(r, "the tensor \"%.200s\" has no proper initialiser", name);
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
        soma_input_options options = {
            .struct_size = sizeof options, .at = {r->path, 0}, .shape = type.shape, .no_batch = true};
        return push(r, soma_input_with(r->m, input, type.dtype, &options));
    }
    if (tensor && tensor[0] && strlen(tensor) <= SOMA_LIMIT_NAME)
        return read_tensor(r, o, tensor, type);
    if (json_is_array(constant))
        return read_constant(r, constant, type);
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
                                  (soma_at){r->path, 0});
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
        soma_output_at(r->m, name, r->values[id], (soma_at){r->path, 0});
    }
    return r->m->graph->failed ? soma_error_status(r->m->s) : SOMA_OK;
}

static soma_status read_knowledge(reader *r, const json_t *json)
{
    json_t *t = json_object_get(json, "transform"), *classes = json_object_get(json, "classes");
    json_t *scale = json_object_get(t, "scale"), *mean = json_object_get(t, "mean");
    json_t *deviation = json_object_get(t, "deviation");
    soma_knowledge *k = soma_model_knowledge(r->m);
    if (!k)
        return SOMA_MEMORY;
    soma_transform transform;
    bool right = read_number(json_array_get(scale, 0), &transform.scale);
    for (size_t i = 0; i < 4; i++)
        right = right && read_number(json_array_get(mean, i), &transform.mean[i]) &&
                read_number(json_array_get(deviation, i), &transform.deviation[i]);
    if (!right)
        return wrong(r, "has no proper transform");
    k->transform = transform;
    size_t n = json_array_size(classes);
    if (n > SOMA_LIMIT_TENSORS)
        return wrong(r, "has too many classes");
    const char **names = soma_alloc_array(r->m->s, n + 1, sizeof *names);
    if (!names)
        return SOMA_MEMORY;
    for (size_t i = 0; i < n; i++) {
        names[i] = json_string_value(json_array_get(classes, i));
        right = right && names[i];
    }
    soma_status status = right ? soma_model_set_classes(r->m, names, (int)n) : wrong(r, "class names must be texts");
    soma_release(r->m->s, names);
    return status;
}

soma_status soma_model_of_json(soma_model *m, const json_t *json, const char *path)
{
    reader r = {.m = m, .path = soma_arena_text(&m->arena, path)};
    if (!r.path)
        return SOMA_MEMORY;
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
