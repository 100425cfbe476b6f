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
#include "base/zero.h"
#include "io/model_json.h"
#include "base/limits.h"
#include "base/size.h"
#include "base/text.h"
#include "io/json.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
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
    case SOMA_BF16: /* of programs only */
        break;
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
    soma_text_addf(w->text, ",%" PRId64 ",%" PRId64 "]%s", t->init.fan_in, t->init.fan_out,
                   t->buffer   ? ",\"buffer\":true"
                   : t->frozen ? ",\"frozen\":true"
                               : "");
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
    soma_reach(g, w->needed);
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
        if (!soma_node_reached(node, w->needed))
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
            bool alone = rows[r].n == 4 && i && !rows[r].numbers[1] && !rows[r].numbers[2] && !rows[r].numbers[3];
            add_number(w, soma_plain(rows[r].numbers[alone ? 0 : i])); /* in a file all four are said */
        }
        soma_text_add(w->text, "]");
    }
    soma_text_addf(
        w->text, ",\"resize\":[%" PRId64 ",%" PRId64 "],\"crop\":[%" PRId64 ",%" PRId64 "],\"bgr\":%s,\"invert\":%s",
        t.resize[0], t.resize[1], t.crop[0], t.crop[1], t.bgr ? "true" : "false", t.invert ? "true" : "false");
    if (t.has_background) {
        soma_text_add(w->text, ",\"background\":[");
        add_number(w, t.background);
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
            status = soma_fail(m->s, SOMA_INVALID, soma_nowhere(),
                               "%s: the name \"%.100s\" is not UTF-8, which the format asks for", path, w.bad);
        else if (text->failed)
            status = SOMA_MEMORY;
        else if (text->size > SOMA_LIMIT_MODEL)
            status = soma_fail(
                m->s, SOMA_INVALID, soma_nowhere(),
                "%s: the model's description would be %zu bytes, more than the %d that are read; large constants "
                "should be parameters (frozen)",
                path, text->size, SOMA_LIMIT_MODEL);
    }
    soma_release(m->s, w.needed);
    soma_release(m->s, w.number);
    return status;
}

/* ---- reading ---- */

typedef struct reader {
    soma_model *m;
    const char *path;   /* a copy that lives with the model: values remember where they are from */
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

static bool read_type(const soma_json *o, soma_type *type)
{
    const char *dtype = soma_json_string(soma_json_get(o, "dtype"));
    const soma_json *shape = soma_json_get(o, "shape");
    int64_t rank = soma_json_count(shape);
    bool found = false;
    if (!dtype || rank < 0 || rank > SOMA_MAX_RANK)
        return false;
    for (int d = SOMA_F32; d <= SOMA_U8 && !found; d++)
        if (!strcmp(soma_dtype_name((soma_dtype)d), dtype)) {
            type->dtype = (soma_dtype)d;
            found = true;
        }
    type->shape = (soma_shape){.rank = 0};
    for (const soma_json *d = soma_json_first(shape); d; d = d->next) {
        int64_t *dim = &type->shape.dim[type->shape.rank++];
        if (!soma_json_integer(d, dim) || *dim > SOMA_LIMIT_DIM)
            return false;
        if (*dim < 1 && !(*dim == SOMA_N && type->shape.rank == 1))
            return false;
    }
    return found;
}

/* A number, or the text of one that JSON cannot write. */
static bool read_number(const soma_json *json, double *x)
{
    const char *text = soma_json_string(json);
    if (!text)
        return soma_json_number(json, x);
    *x = !strcmp(text, "nan") ? (double)NAN : !strcmp(text, "inf") ? (double)INFINITY : -(double)INFINITY;
    return isnan(*x) || *x > 0 || !strcmp(text, "-inf");
}

/* Exactly n numbers. */
static bool read_doubles(const soma_json *list, double *x, int n)
{
    const soma_json *v = soma_json_first(list);
    for (int i = 0; i < n; i++, v = v->next)
        if (!v || !read_number(v, &x[i]))
            return false;
    return !v;
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
    case SOMA_BF16: /* of programs only */
        break;
    }
    return false;
}

static soma_status read_constant(reader *r, const soma_json *numbers, soma_type type)
{
    int64_t n = soma_shape_elements(&type.shape), i = 0;
    if (n <= 0 || n != soma_json_count(numbers))
        return wrong(r, "value %d: the constant does not fit its shape", r->n);
    void *bytes = soma_alloc_array(r->m->s, (size_t)n, soma_dtype_size(type.dtype));
    bool right = bytes;
    for (const soma_json *v = soma_json_first(numbers); right && v; v = v->next) {
        double x;
        right = read_number(v, &x) && put_element(type.dtype, bytes, i++, x);
    }
    soma_tensor tensor = {type.dtype, type.shape, bytes};
    soma_status status = right   ? push(r, soma_constant_at(r->m, &tensor, (soma_at){r->path, 0}))
                         : bytes ? wrong(r, "value %d: the constant holds what its type cannot hold", r->n)
                                 : SOMA_MEMORY;
    soma_release(r->m->s, bytes);
    return status;
}

/* [initialiser, a, b, fan_in, fan_out] */
static bool read_init(const soma_json *init, soma_tensor_options *o)
{
    const soma_json *v[5] = {soma_json_first(init)};
    for (int i = 1; i < 5; i++)
        v[i] = v[i - 1] ? v[i - 1]->next : NULL;
    o->init = soma_json_string(v[0]);
    return o->init && read_number(v[1], &o->a) && read_number(v[2], &o->b) && soma_json_integer(v[3], &o->fan_in) &&
           soma_json_integer(v[4], &o->fan_out) && o->fan_in >= 0 && o->fan_out >= 0;
}

static soma_status read_tensor(reader *r, const soma_json *o, const char *name, soma_type type)
{
    soma_tensor_options options = {
        .struct_size = sizeof options, .at = {r->path, 0}, .shape = type.shape, .dtype = type.dtype};
    if (!read_init(soma_json_get(o, "init"), &options))
        return wrong(r, "the tensor \"%.200s\" has no proper initialiser", name);
    if (!strcmp(options.init, "uniform") || !strcmp(options.init, "normal")) {
        double numbers[2] = {options.a, options.b};
        soma_say_zeros(numbers, 2);
        options.a = numbers[0];
        options.b = numbers[1];
    } else { /* numbers that mean nothing are from before they were refused */
        options.a = strcmp(options.init, "constant") ? 0 : options.a;
        options.b = 0;
    }
    options.frozen = soma_json_is_true(soma_json_get(o, "frozen"));
    options.buffer = soma_json_is_true(soma_json_get(o, "buffer"));
    if (soma_model_tensor_index(r->m, name) >= 0)
        return wrong(r, "the tensor \"%.200s\" is listed twice", name);
    soma_value x = soma_parameter_with(r->m, name, &options);
    if (soma_ok(x) && strcmp(soma_value_name(x), name))
        return wrong(r, "the tensor name \"%.200s\" is used for a layer as well", name);
    return push(r, x);
}

static soma_status read_leaf(reader *r, const soma_json *o)
{
    soma_type type;
    const char *input = soma_json_string(soma_json_get(o, "input"));
    const char *tensor = soma_json_string(soma_json_get(o, "tensor"));
    const soma_json *constant = soma_json_get(o, "constant");
    if (!read_type(o, &type))
        return wrong(r, "value %d has no proper type and shape", r->n);
    if (input && strlen(input) <= SOMA_LIMIT_NAME) {
        soma_input_options options = {
            .struct_size = sizeof options, .at = {r->path, 0}, .shape = type.shape, .no_batch = true};
        return push(r, soma_input_with(r->m, input, type.dtype, &options));
    }
    if (tensor && tensor[0] && strlen(tensor) <= SOMA_LIMIT_NAME)
        return read_tensor(r, o, tensor, type);
    if (soma_json_count(constant) >= 0)
        return read_constant(r, constant, type);
    return wrong(r, "value %d is neither an input nor a tensor nor a constant", r->n);
}

static soma_status read_attrs(reader *r, const soma_op *op, const soma_json *json, void *attrs)
{
    char reason[SOMA_REASON_MAX] = "";
    soma_attrs_default(op, attrs);
    if (!json || json->type != SOMA_JSON_OBJECT)
        return wrong(r, "op %s has no attributes", op->name);
    for (const soma_json *v = json->first; v; v = v->next) {
        if (!soma_json_string(v))
            return wrong(r, "attribute \"%.100s\" of op %s is not text", v->key, op->name);
        if (soma_attr_parse(op, attrs, v->key, soma_json_string(v), reason) != SOMA_OK)
            return wrong(r, "%s", reason);
    }
    return SOMA_OK;
}

/* Value numbers of a node's inputs; -1 stays absent. */
static soma_status read_inputs(reader *r, const soma_json *list, soma_value *in, const char *op)
{
    for (const soma_json *v = soma_json_first(list); v; v = v->next) {
        int64_t number;
        if (!soma_json_integer(v, &number) || number < -1 || number >= r->n)
            return wrong(r, "op %s reads a value that does not come before it", op);
        *in++ = number < 0 ? soma_none() : r->values[number];
    }
    return SOMA_OK;
}

/* Numbers of a node's outputs must be the next ones, or -1 for those that nobody wanted. */
static soma_status read_outs(reader *r, const soma_json *list, const soma_value *out, const char *op)
{
    soma_status status = SOMA_OK;
    for (const soma_json *v = soma_json_first(list); v && status == SOMA_OK; v = v->next, out++) {
        int64_t number;
        if (!soma_json_integer(v, &number) || (number != -1 && number != r->n))
            return wrong(r, "op %s makes value %d, but under another number", op, r->n);
        if (number >= 0)
            status = push(r, *out);
    }
    return status;
}

static soma_status read_node(reader *r, const soma_json *o, int index)
{
    const char *name = soma_json_string(soma_json_get(o, "op")), *layer = soma_json_string(soma_json_get(o, "layer"));
    const soma_json *in_ids = soma_json_get(o, "in"), *out_ids = soma_json_get(o, "out");
    int64_t n_in = soma_json_count(in_ids), n_out = soma_json_count(out_ids);
    if (!name || !layer || strlen(layer) > SOMA_LIMIT_NAME || n_in < 0 || n_in > SOMA_MAX_ARGS || n_out < 1 ||
        n_out > SOMA_MAX_ARGS)
        return wrong(r, "node %d has no proper op, layer, inputs and outputs", index);
    const soma_op *op = soma_op_find(name);
    if (!op)
        return soma_fail(r->m->s, SOMA_UNSUPPORTED, soma_nowhere(),
                         "%s: the model uses the op \"%.100s\", which this soma does not have", r->path, name);
    if (op->assign)
        return wrong(r, "op %s assigns state and cannot be part of a model", name);
    if (n_out > op->required_out + op->optional_out)
        return wrong(r, "op %s does not have %d outputs", name, (int)n_out);
    soma_value *args = soma_alloc_array(r->m->s, (size_t)(n_in + n_out) + 1, sizeof *args);
    _Alignas(16) char attrs[SOMA_ATTRS_MAX];
    soma_status status = args ? read_attrs(r, op, soma_json_get(o, "attrs"), attrs) : SOMA_MEMORY;
    if (status == SOMA_OK)
        status = read_inputs(r, in_ids, args, name);
    if (status == SOMA_OK)
        status = soma_graph_apply(r->m->graph, op, args, (int)n_in, args + n_in, (int)n_out, attrs, layer,
                                  (soma_at){r->path, 0});
    if (status == SOMA_OK)
        status = read_outs(r, out_ids, args + n_in, name);
    soma_release(r->m->s, args);
    return status;
}

static soma_status read_outputs(reader *r, const soma_json *list)
{
    for (const soma_json *o = soma_json_first(list); o; o = o->next) {
        const char *name = soma_json_string(soma_json_get(o, "name"));
        int64_t id;
        if (!name || strlen(name) > SOMA_LIMIT_NAME || !soma_json_integer(soma_json_get(o, "value"), &id) || id < 0 ||
            id >= r->n)
            return wrong(r, "output %d has no name or no value", r->m->n_outputs);
        soma_output_at(r->m, name, r->values[id], (soma_at){r->path, 0});
        if (r->m->graph->failed)
            return soma_error_status(r->m->s);
    }
    return SOMA_OK;
}

/* Files written before pictures were resized have neither key. */
static bool read_sides(const soma_json *list, int64_t sides[2])
{
    const soma_json *first = soma_json_first(list);
    return !list || (soma_json_count(list) == 2 && soma_json_integer(first, &sides[0]) &&
                     soma_json_integer(first->next, &sides[1]) && sides[0] >= 0 && sides[1] >= 0 &&
                     sides[0] <= SOMA_LIMIT_IMAGE_SIDE && sides[1] <= SOMA_LIMIT_IMAGE_SIDE);
}

static soma_status read_knowledge(reader *r, const soma_json *json)
{
    const soma_json *t = soma_json_get(json, "transform"), *classes = soma_json_get(json, "classes");
    const soma_json *bgr = soma_json_get(t, "bgr"), *invert = soma_json_get(t, "invert");
    const soma_json *background = soma_json_get(t, "background");
    soma_knowledge *k = soma_model_knowledge(r->m);
    if (!k)
        return SOMA_MEMORY;
    if (!read_doubles(soma_json_get(t, "scale"), &k->transform.scale, 1) ||
        !read_doubles(soma_json_get(t, "mean"), k->transform.mean, 4) ||
        !read_doubles(soma_json_get(t, "deviation"), k->transform.deviation, 4) ||
        !read_sides(soma_json_get(t, "resize"), k->transform.resize) ||
        !read_sides(soma_json_get(t, "crop"), k->transform.crop) || (bgr && bgr->type != SOMA_JSON_BOOL) ||
        (invert && invert->type != SOMA_JSON_BOOL) ||
        (background && !read_doubles(background, &k->transform.background, 1)))
        return wrong(r, "has no proper transform");
    k->transform.bgr = soma_json_is_true(bgr);
    k->transform.invert = soma_json_is_true(invert);
    k->transform.has_background = background != NULL;
    soma_say_zeros(k->transform.mean, 4);
    int64_t n = soma_json_count(classes), i = 0;
    if (n < 0 || n > SOMA_LIMIT_TENSORS)
        return wrong(r, "has no list of classes, or too many");
    const char **names = soma_alloc_array(r->m->s, (size_t)n + 1, sizeof *names);
    if (!names)
        return SOMA_MEMORY;
    bool right = true;
    for (const soma_json *v = soma_json_first(classes); v; v = v->next) {
        names[i] = soma_json_string(v);
        right = right && names[i++];
    }
    soma_status status = right ? soma_model_set_classes(r->m, names, (int)n) : wrong(r, "class names must be texts");
    soma_release(r->m->s, names);
    return status;
}

soma_status soma_model_of_json(soma_model *m, const soma_json *json, const char *path)
{
    reader r = {.m = m, .path = soma_arena_text(&m->arena, path)};
    if (!r.path)
        return SOMA_MEMORY;
    const soma_json *values = soma_json_get(json, "values"), *nodes = soma_json_get(json, "nodes");
    int64_t format = 0, n_values = soma_json_count(values), n_nodes = soma_json_count(nodes);
    if (!soma_json_integer(soma_json_get(json, "format"), &format) || format != 1)
        return wrong(&r, "its format is not 1; it was written by a newer soma");
    if (n_values < 0 || n_nodes < 0 || n_values > SOMA_LIMIT_NODES || n_nodes > SOMA_LIMIT_NODES)
        return wrong(&r, "has no proper lists of values and nodes");
    soma_status status = SOMA_OK;
    int index = 0;
    for (const soma_json *v = soma_json_first(values); v && status == SOMA_OK; v = v->next)
        status = read_leaf(&r, v);
    for (const soma_json *v = soma_json_first(nodes); v && status == SOMA_OK; v = v->next)
        status = read_node(&r, v, index++);
    if (status == SOMA_OK)
        status = read_outputs(&r, soma_json_get(json, "outputs"));
    if (status == SOMA_OK)
        status = read_knowledge(&r, json);
    soma_release(m->s, r.values);
    return status;
}
