/* SPDX-License-Identifier: Apache-2.0
 *
 * graph/tensors.c: a model's named tensors: declared by builders, laid out contiguously in creation order (each begins
 * on a 64-byte line; the lanes between hold zeros), filled at first use.
 */
#include "base/fields.h"
#include "base/limits.h"
#include "base/random.h"
#include "base/size.h"
#include "base/text.h"
#include "base/words.h"
#include "base/zero.h"
#include "graph/fill.h"
#include "graph/graph.h"

#include <math.h>
#include <string.h>

int soma_model_tensor_index(const soma_model *m, const char *name)
{
    for (int i = 0; i < m->n_tensors; i++)
        if (!strcmp(m->tensors[i].name, name))
            return i;
    return -1;
}

bool soma_tensor_matches(const char *pattern, const char *name)
{
    char part[640];
    if (soma_glob(pattern, name))
        return true;
    for (size_t i = 0; name[i] && i < sizeof part; i++) {
        if (name[i] == '.') {
            part[i] = 0;
            if (soma_glob(pattern, part))
                return true;
        }
        part[i] = name[i];
    }
    return false;
}

static soma_status add_tensor(soma_model *m, const soma_model_tensor *t, const char *name, int *index)
{
    soma_status status = soma_grow(m->s, &m->tensors, &m->tensor_capacity, m->n_tensors + 1, sizeof *t);
    char *copy = soma_arena_text(&m->arena, name);
    if (status != SOMA_OK || !copy)
        return SOMA_MEMORY;
    m->tensors[m->n_tensors] = *t;
    m->tensors[m->n_tensors].name = copy;
    m->tensors[m->n_tensors].site = soma_hash_text(copy);
    *index = m->n_tensors++;
    return SOMA_OK;
}

/* What is wrong with an initialiser's numbers; NULL: nothing. */
static const char *wrong_numbers(const char *init, double a, double b)
{
    bool uniform = !strcmp(init, "uniform"), normal = !strcmp(init, "normal");
    if (!isfinite(a) || !isfinite(b))
        return "its numbers must be finite";
    if (!uniform && !normal && (soma_plain(b) != 0 || (soma_plain(a) != 0 && strcmp(init, "constant") != 0)))
        return strcmp(init, "constant") ? "it takes no numbers; constant, uniform and normal do"
                                        : "it takes one number, the first";
    if ((uniform || normal) && a != 0 && b == 0)
        return uniform ? "the second number is missing; it draws from the first to the second" SOMA_IN_C(
                             " (for a zero write SOMA_ZERO)")
                       : "the second number, its deviation, is missing beside the first, its mean" SOMA_IN_C(
                             " (for a zero write SOMA_ZERO)");
    if (uniform && soma_plain(a) > soma_plain(b) && b != 0)
        return "it draws from the first number to the second, which must not be less";
    return normal && b < 0 ? "the second number, its deviation, must be at least 0" : NULL;
}

/* a and b stay as they were asked for: of a normal or uniform initialiser both left out are 0 and 1, and one alone is a
 * mistake. */
SOMA_TABLE(soma_tensor_options) = {
    SOMA_SIZES(soma_tensor_options, shape, .doc = "constant dimensions"),
    SOMA_OTHER(soma_tensor_options, dtype, .doc = "f32 without it"),
    SOMA_TEXT(soma_tensor_options, init, "zeros", .doc = "initialiser, by name"),
    SOMA_OTHER(soma_tensor_options, a, .doc = "constant: the number; uniform: the least; normal: the mean"),
    SOMA_OTHER(soma_tensor_options, b, .doc = "uniform: the most; normal: the deviation"),
    SOMA_INT(soma_tensor_options, fan_in, 0, AT_LEAST(0), .doc = "of he, glorot and lecun; without it the shape's"),
    SOMA_INT(soma_tensor_options, fan_out, 0, AT_LEAST(0), .doc = "likewise"),
    SOMA_BOOL(soma_tensor_options, frozen, .doc = "not trained"),
    SOMA_BOOL(soma_tensor_options, buffer, .doc = "kept up to date by the model itself, as running statistics"),
    SOMA_FIELDS_END};

soma_value soma_parameter_with(soma_model *m, const char *name, const soma_tensor_options *asked)
{
    soma_tensor_options taken, *o = &taken;
    if (!m)
        return soma_none();
    if (SOMA_TAKE(m->s, "soma_parameter", soma_tensor_options, asked, &taken))
        return soma_graph_refuse(m->graph);
    soma_type type = {o->dtype, o->shape};
    char text[96];
    const char *given = name ? name : "parameter";
    int64_t elements = soma_shape_elements(&o->shape);
    bool positive = o->shape.rank >= 0;
    for (int i = 0; i < o->shape.rank; i++)
        positive &= o->shape.dim[i] >= 1;
    if (elements > SOMA_LIMIT_ELEMENTS || (elements <= 0 && positive)) /* or beyond 63 bits */
        return soma_value_fail(m->graph, o->at, "parameter \"%s\": %s has more than 2^48 elements", given,
                               soma_type_text(&type, text));
    if (elements <= 0)
        return soma_value_fail(m->graph, o->at, "parameter \"%s\": the shape of %s must have constant dimensions >= 1",
                               given, soma_type_text(&type, text));
    const char *init = o->init;
    if (!soma_init_known(init)) {
        const char *near = soma_nearest_of(init, soma_init_names);
        return soma_value_fail(m->graph, o->at, "parameter \"%s\": there is no initialiser \"%s\"%s%s%s", given, init,
                               near ? "; did you mean \"" : "", near ? near : "", near ? "\"?" : "");
    }
    const char *wrong = wrong_numbers(init, o->a, o->b);
    if (wrong) {
        char room[160];
        return soma_value_fail(m->graph, o->at, "parameter \"%s\": initialiser \"%s\": %s", given, init,
                               soma_words(m->s, o->at, wrong, room, sizeof room));
    }
    const char *unique = soma_layer_name(m, given, "parameter");
    soma_model_tensor t = {.type = type, .init = *o, .frozen = o->frozen || o->buffer, .buffer = o->buffer};
    bool said = o->a != 0 || o->b != 0;
    t.init.a = soma_plain(o->a);
    t.init.b = soma_plain(o->b);
    if (said && t.init.a == 0 && t.init.b == 0 && (!strcmp(init, "uniform") || !strcmp(init, "normal")))
        init = "zeros"; /* two zeros that nobody said are other numbers, also in a file */
    t.init.init = soma_arena_text(&m->arena, init);
    int index = -1;
    if (!unique || !t.init.init || add_tensor(m, &t, unique, &index) != SOMA_OK) {
        m->graph->failed = true;
        return soma_value_in(m->graph, -1);
    }
    return soma_graph_tensor(m->graph, index);
}

static const char *parameter_name(const void *list, int index)
{
    const soma_model *m = list;
    return index < m->n_tensors ? m->tensors[index].name : NULL;
}

soma_value soma_parameter_value_at(soma_model *m, const char *name, soma_at at)
{
    if (!m)
        return soma_none();
    int index = name ? soma_model_tensor_index(m, name) : -1;
    if (index >= 0 && m->tensors[index].slot)
        return soma_value_fail(m->graph, at, "\"%s\" is state of the optimizer, which only updates may read", name);
    if (index >= 0)
        return soma_graph_tensor(m->graph, index);
    const char *near = name ? soma_nearest(name, parameter_name, m) : NULL;
    if (near)
        return soma_value_fail(m->graph, at, "model \"%s\" has no parameter \"%s\"; did you mean \"%s\"?", m->name,
                               name, near);
    return soma_value_fail(m->graph, at, "model \"%s\" has no parameter \"%s\"%s%s%s", m->name, name ? name : "",
                           m->n_tensors ? "; the first that it has is \"" : ": it has none yet; add the layer first",
                           m->n_tensors ? m->tensors[0].name : "", m->n_tensors ? "\"" : "");
}

soma_value soma_graph_slot(soma_graph *graph, const char *name, soma_type type, double fill, soma_at at)
{
    soma_model *m = graph->model;
    int index = soma_model_tensor_index(m, name);
    if (index < 0) {
        soma_model_tensor t = {.type = type, .frozen = true, .slot = true};
        t.init = (soma_tensor_options){
            .at = at, .shape = type.shape, .dtype = type.dtype, .init = "constant", .a = fill};
        if (add_tensor(m, &t, name, &index) != SOMA_OK) {
            graph->failed = true;
            return soma_value_in(graph, -1);
        }
    }
    return soma_graph_tensor(graph, index);
}

/* ---- memory ---- */

static size_t padded_bytes(const soma_model_tensor *t)
{
    size_t bytes = (size_t)soma_shape_elements(&t->type.shape) * soma_dtype_size(t->type.dtype);
    return (bytes + 63) & ~(size_t)63;
}

static soma_status fill(soma_model *m, soma_model_tensor *t, uint64_t seed)
{
    return soma_fill_tensor(&m->s->random, seed, t, t->data);
}

/* One block for all tensors that have no memory yet. */
soma_status soma_model_materialize(soma_model *m)
{
    size_t total = 0;
    for (int i = 0; i < m->n_tensors; i++)
        if (!m->tensors[i].data && !soma_size_add(total, padded_bytes(&m->tensors[i]), &total))
            return soma_fail(m->s, SOMA_MEMORY, soma_nowhere(), "model \"%s\": the parameters' size overflows",
                             m->name);
    if (total == 0)
        return SOMA_OK;
    soma_status status = soma_grow(m->s, &m->blocks, &m->block_capacity, m->n_blocks + 1, sizeof *m->blocks);
    char *block = status == SOMA_OK ? soma_alloc(m->s, total) : NULL;
    if (!block)
        return SOMA_MEMORY;
    m->blocks[m->n_blocks++] = block;
    m->block_bytes += total;
    for (int i = 0; i < m->n_tensors && status == SOMA_OK; i++) {
        soma_model_tensor *t = &m->tensors[i];
        if (t->data)
            continue;
        t->data = block;
        block += padded_bytes(t);
        status = m->reading ? SOMA_OK : fill(m, t, m->s->seed);
    }
    m->version++;
    return status;
}

soma_status soma_initialize(soma_model *m, uint64_t seed)
{
    if (!m)
        return SOMA_INVALID;
    soma_status status = soma_model_materialize(m);
    for (int i = 0; i < m->n_tensors && status == SOMA_OK; i++)
        status = fill(m, &m->tensors[i], seed);
    m->version++;
    return status;
}

soma_status soma_model_reset_slots(soma_model *m)
{
    soma_status status = soma_model_materialize(m);
    for (int i = 0; i < m->n_tensors && status == SOMA_OK; i++)
        if (m->tensors[i].slot)
            status = fill(m, &m->tensors[i], m->s->seed);
    m->version++;
    return status;
}

/* Position of the first element that is NaN or infinite (all bits of the exponent are set), or -1. */
static int64_t first_not_finite(const soma_model_tensor *t)
{
    int64_t n = soma_shape_elements(&t->type.shape);
    const uint32_t *words = t->data;
    const uint64_t *doubles = t->data;
    const uint64_t exponent = UINT64_C(0x7ff) << 52;
    if (t->type.dtype == SOMA_F32)
        for (int64_t i = 0; i < n; i++)
            if ((words[i] & 0x7f800000) == 0x7f800000)
                return i;
    if (t->type.dtype == SOMA_F64)
        for (int64_t i = 0; i < n; i++)
            if ((doubles[i] & exponent) == exponent)
                return i;
    return -1;
}

soma_status soma_check_finite(soma_model *m)
{
    if (!m)
        return SOMA_INVALID;
    for (int i = 0; i < m->n_tensors; i++) {
        const soma_model_tensor *t = &m->tensors[i];
        int64_t at = t->data && !t->slot && (t->buffer || !t->frozen) ? first_not_finite(t) : -1;
        if (at < 0)
            continue;
        double x = t->type.dtype == SOMA_F32 ? (double)((const float *)t->data)[at] : ((const double *)t->data)[at];
        return soma_fail(m->s, SOMA_DATA, soma_nowhere(),
                         "model \"%s\": element %lld of the tensor \"%s\" is %s; a model with such numbers cannot be "
                         "used: train again with a lower learning rate, and look for very large numbers in the data",
                         m->name, (long long)at, t->name, isnan(x) ? "NaN" : "infinite");
    }
    return SOMA_OK;
}

void soma_touch(soma_model *m)
{
    if (m)
        m->version++;
}

int soma_tensor_count(soma_model *m)
{
    return m ? m->n_tensors : 0;
}

soma_named_tensor soma_tensor_at(soma_model *m, int index)
{
    soma_named_tensor named = {.name = ""};
    if (!m || index < 0 || index >= m->n_tensors || soma_model_materialize(m) != SOMA_OK)
        return named;
    const soma_model_tensor *t = &m->tensors[index];
    named.name = t->name;
    named.frozen = t->frozen;
    named.buffer = t->buffer;
    named.tensor = (soma_tensor){t->type.dtype, t->type.shape, t->data};
    return named;
}

soma_named_tensor soma_tensor_find(soma_model *m, const char *name)
{
    return soma_tensor_at(m, m && name ? soma_model_tensor_index(m, name) : -1);
}
