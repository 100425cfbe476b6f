/* SPDX-License-Identifier: Apache-2.0
 *
 * tests/test_io.c: models saved and loaded: the same bits come out, and no damaged or hostile file comes in.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "faults.h"
#include "graph/graph.h"
#include "io/safetensors.h"

#include <soma/soma.h>

static char folder[256], path[300], other[300];

static int make_folder(void **state)
{
    (void)state;
    if (!faults_folder(folder))
        return -1;
    snprintf(path, sizeof path, "%s/model.safetensors", folder);
    snprintf(other, sizeof other, "%s/other.safetensors", folder);
    return 0;
}

static int remove_folder(void **state)
{
    (void)state;
    int strange = faults_folder_count(folder, ".tmp-");
    faults_folder_remove(folder);
    return strange;
}

static soma *open_context(uint64_t seed)
{
    soma *s = soma_open(
        &(soma_context_options){.struct_size = sizeof(soma_context_options), .seed = seed, .threads = 1});
    assert_non_null(s);
    return s;
}

static void check(soma *s)
{
    if (soma_failed(s))
        fail_msg("%s", soma_error(s));
}

/* ---- what goes in comes out ---- */

static void compare_shapes(const soma_shape *a, const soma_shape *b)
{
    assert_int_equal(a->rank, b->rank);
    assert_memory_equal(a->dim, b->dim, (size_t)a->rank * sizeof a->dim[0]);
}

static void compare_graphs(const soma_model *a, const soma_model *b)
{
    char x[256], y[256];
    assert_int_equal(a->graph->n_nodes, b->graph->n_nodes);
    assert_int_equal(a->graph->n_values, b->graph->n_values);
    assert_int_equal(a->n_outputs, b->n_outputs);
    assert_string_equal(a->name, b->name);
    for (int i = 0; i < a->graph->n_nodes; i++) {
        const soma_graph_node *m = &a->graph->nodes[i], *n = &b->graph->nodes[i];
        assert_string_equal(m->op->name, n->op->name);
        assert_string_equal(m->layer, n->layer);
        assert_true(m->site == n->site && m->n_in == n->n_in && m->n_out == n->n_out);
        for (const soma_field *f = m->op->fields; f && f->name; f++) {
            soma_attr_text(f, m->attrs, x, sizeof x);
            soma_attr_text(f, n->attrs, y, sizeof y);
            assert_string_equal(x, y);
        }
    }
}

static void compare_tensors(soma_model *a, soma_model *b)
{
    assert_int_equal(soma_tensor_count(a), soma_tensor_count(b));
    for (int i = 0; i < soma_tensor_count(a); i++) {
        soma_named_tensor x = soma_tensor_at(a, i), y = soma_tensor_find(b, x.name);
        assert_non_null(y.tensor.data);
        assert_true(x.frozen == y.frozen && x.tensor.dtype == y.tensor.dtype);
        compare_shapes(&x.tensor.shape, &y.tensor.shape);
        assert_memory_equal(x.tensor.data, y.tensor.data,
                            (size_t)soma_shape_elements(&x.tensor.shape) * soma_dtype_size(x.tensor.dtype));
        assert_string_equal(a->tensors[i].init.init, b->tensors[soma_model_tensor_index(b, x.name)].init.init);
    }
}

/* Predictions of two samples, malloc'ed. */
static float *answers(soma_model *m, size_t *bytes)
{
    soma_type in = soma_value_type(soma_model_input(m, 0)), out = soma_value_type(soma_model_output(m, 0));
    in.shape.dim[0] = out.shape.dim[0] = 2;
    int64_t n = soma_shape_elements(&in.shape);
    *bytes = (size_t)soma_shape_elements(&out.shape) * sizeof(float);
    float *x = malloc((size_t)n * sizeof *x), *y = calloc(1, *bytes);
    assert_true(x && y);
    uint32_t state = 5;
    for (int64_t i = 0; i < n; i++) {
        state = state * 1664525u + 1013904223u;
        x[i] = (float)(state >> 8) * 0x1p-23f - 1;
    }
    soma_tensor from = {SOMA_F32, in.shape, x}, to = {SOMA_F32, out.shape, y};
    soma_predict(m, &from, &to);
    check(m->s);
    free(x);
    return y;
}

static void zoo_models_survive(void **state)
{
    (void)state;
    static const char *const classes[] = {"T-shirt/top", "caf\xc3\xa9 \"quoted\" \\ \n", ""};
    for (int i = 0; soma_zoo_at(i); i++) {
        soma *s = open_context(40 + (uint64_t)i),
             *second = open_context(1);               /* another seed: values come from the file */
        const soma_zoo_entry *entry = soma_zoo_at(i); /* the large ones narrow: half a gigabyte each teaches no more */
        soma_model *m = soma_zoo(s, entry->name, .width = entry->parameters > 1000000 ? 0.125 : 1);
        soma_transform t = {.scale = 1 / 255.0,
                            .mean = {0.1, -2e-300, 3, SOMA_ZERO}, /* a zero in a file was said */
                            .deviation = {0.3, 1e300, 0, 5},
                            .resize = {256, 0},
                            .crop = {224, 65535},
                            .bgr = i % 2};
        soma_model_set_transform(m, t);
        assert_int_equal(soma_model_set_classes(m, classes, 3), SOMA_OK);
        soma_initialize(m, 77);
        assert_int_equal(soma_save(m, path), SOMA_OK);
        soma_model *loaded = soma_load(second, path);
        check(second);
        compare_graphs(m, loaded);
        compare_tensors(m, loaded);
        soma_transform u = soma_model_transform(loaded);
        assert_memory_equal(&t, &u, offsetof(soma_transform, bgr));
        assert_int_equal(t.bgr, u.bgr);
        assert_int_equal(soma_model_classes(loaded), 3);
        for (int c = 0; c < 3; c++)
            assert_string_equal(soma_model_class(loaded, c), classes[c]);
        size_t bytes, again;
        float *a = answers(m, &bytes), *b = answers(loaded, &again);
        assert_int_equal(bytes, again);
        assert_memory_equal(a, b, bytes);
        free(a);
        free(b);
        soma_close(s);
        soma_close(second);
    }
}

/* Saving what was loaded gives the same file, byte by byte. */
static void saving_again_is_the_same(void **state)
{
    (void)state;
    soma *s = open_context(3);
    soma_model *m = soma_zoo(s, "fashion-cnn");
    assert_int_equal(soma_save(m, path), SOMA_OK);
    soma_model *loaded = soma_load(s, path);
    assert_int_equal(soma_save(loaded, other), SOMA_OK);
    size_t n, k;
    char *a = faults_read(path, &n), *b = faults_read(other, &k);
    assert_int_equal(n, k);
    assert_memory_equal(a, b, n);
    free(a);
    free(b);
    soma_close(s);
}

/* Everything that a graph can hold: scopes, constants of all types (with NaN and infinities), frozen and unused
 * tensors, a fixed batch beside N, two outputs, f64. */
static soma_model *build_odd(soma *s)
{
    soma_model *m = soma_model_new(s, "odd \"name\"");
    soma_value x = soma_input(m, "x", SOMA_F32, SOMA_SHAPE(3));
    soma_scope_push(m, "block.1");
    soma_value h = soma_dense(x, .units = 4, .activation = "tanh", .name = "fc", .init = "normal", .init_b = 0.125);
    soma_scope_pop(m);
    float numbers[4] = {1, -INFINITY, (float)NAN, 0x1.fffffep-3f};
    soma_tensor f32 = {SOMA_F32, SOMA_SHAPE(4), numbers};
    double doubles[2] = {0.1, 1e-310};
    int32_t ints[2] = {INT32_MIN, INT32_MAX};
    uint8_t bytes[2] = {0, 255};
    soma_value c[4] = {soma_constant(m, &f32), soma_constant(m, &((soma_tensor){SOMA_F64, SOMA_SHAPE(2, 1), doubles})),
                       soma_constant(m, &((soma_tensor){SOMA_I32, SOMA_SHAPE(2), ints})),
                       soma_constant(m, &((soma_tensor){SOMA_U8, SOMA_SHAPE(2), bytes}))};
    soma_parameter(m, "unused", SOMA_SHAPE(2, 2), .init = "ones", .frozen = true);
    soma_parameter(m, "double", SOMA_SCALAR, .dtype = SOMA_F64, .init = "constant", .a = 0.1);
    soma_output(m, "plain", h);
    soma_output(m, "sum", soma_add(h, c[0]));
    for (int i = 1; i < 4; i++)
        soma_output(m, "constant", c[i]);
    return m;
}

static void odd_models_survive(void **state)
{
    (void)state;
    soma *s = open_context(3), *second = open_context(4);
    soma_model *m = build_odd(s);
    check(s);
    assert_int_equal(soma_save(m, path), SOMA_OK);
    soma_model *loaded = soma_load(second, path);
    check(second);
    compare_graphs(m, loaded);
    compare_tensors(m, loaded);
    assert_int_equal(soma_tensor_count(loaded), 4);
    for (int i = 0; i < 5; i++) {
        assert_string_equal(soma_model_output_name(m, i), soma_model_output_name(loaded, i));
        soma_value x = soma_model_output(m, i), y = soma_model_output(loaded, i);
        soma_type a = soma_value_type(x), b = soma_value_type(y);
        assert_int_equal(a.dtype, b.dtype);
        compare_shapes(&a.shape, &b.shape);
        if (i >= 2) {
            const soma_graph_value *v = &x.graph->values[x.id], *w = &y.graph->values[y.id];
            assert_memory_equal(v->bytes, w->bytes, (size_t)soma_shape_elements(&a.shape) * soma_dtype_size(a.dtype));
        }
    }
    size_t bytes, again;
    float *a = answers(m, &bytes), *b = answers(loaded, &again);
    assert_memory_equal(a, b, bytes);
    free(a);
    free(b);
    soma_close(s);
    soma_close(second);
}

/* A model that was loaded and then trained goes the way of the one that was saved. */
static void loaded_models_train_on(void **state)
{
    (void)state;
    float x[32 * 3], y[32];
    for (int i = 0; i < 32 * 3; i++)
        x[i] = (float)(i * 37 % 101) / 50 - 1;
    for (int i = 0; i < 32; i++)
        y[i] = x[3 * i] - x[3 * i + 1];
    soma *s[2] = {open_context(3), open_context(3)};
    soma_model *m[2] = {soma_model_new(s[0], "m"), NULL};
    soma_value h = soma_dense(soma_input(m[0], "x", SOMA_F32, SOMA_SHAPE(3)), .units = 8, .activation = "relu");
    soma_output(m[0], "y", soma_dense(soma_dropout(h, .rate = 0.5), .units = 1));
    assert_int_equal(soma_save(m[0], path), SOMA_OK);
    m[1] = soma_load(s[1], path);
    check(s[1]);
    for (int i = 0; i < 2; i++) {
        soma_dataset *d = soma_dataset_arrays(s[i], {SOMA_F32, SOMA_SHAPE(32, 3), x},
                                              .y = {SOMA_F32, SOMA_SHAPE(32, 1), y});
        assert_int_equal(soma_fit(m[i], d, .epochs = 3, .batch_size = 5, .optimizer = soma_adam()), SOMA_OK);
    }
    assert_int_equal(soma_save(m[0], path), SOMA_OK); /* the optimizer's state stays outside */
    assert_int_equal(soma_save(m[1], other), SOMA_OK);
    size_t n, k;
    char *a = faults_read(path, &n), *b = faults_read(other, &k);
    assert_int_equal(n, k);
    assert_memory_equal(a, b, n);
    free(a);
    free(b);
    soma_close(s[0]);
    soma_close(s[1]);
}

/* An error much later names the file, though the caller's text is long gone. */
static void places_outlive_the_path(void **state)
{
    (void)state;
    soma *s = open_context(1);
    assert_int_equal(soma_save(soma_zoo(s, "neuron"), path), SOMA_OK);
    char *name = strdup(path);
    soma_model *m = soma_load(s, name);
    memset(name, 'x', strlen(path));
    free(name);
    const soma_graph_value *v = &m->graph->values[soma_model_output(m, 0).id];
    assert_string_equal(v->at.file, path);
    soma_close(s);
}

/* ---- what is refused ---- */

static void refuse(soma *s, const char *file, soma_status status, const char *says)
{
    uint64_t before = soma_memory_use(s).now;
    assert_null(soma_load(s, file));
    if (soma_error_status(s) != status || !strstr(soma_error(s), says))
        fail_msg("not \"%s\" but %s: %s", says, soma_status_text(soma_error_status(s)), soma_error(s));
    assert_int_equal(soma_memory_use(s).now, before);
    soma_clear(s);
}

static void wrong_calls_are_refused(void **state)
{
    (void)state;
    soma *s = open_context(1);
    char missing[400];
    snprintf(missing, sizeof missing, "%s/nothing.safetensors", folder);
    refuse(s, missing, SOMA_IO, "nothing.safetensors");
    refuse(s, NULL, SOMA_INVALID, "path is NULL");
    refuse(s, folder, SOMA_IO, "folder");
    assert_null(soma_load(NULL, path));
    assert_int_equal(soma_save(NULL, path), SOMA_INVALID);
    soma_model *m = soma_zoo(s, "neuron");
    assert_int_equal(soma_save(m, NULL), SOMA_INVALID);
    soma_clear(s);
    assert_int_equal(soma_save(m, ""), SOMA_INVALID);
    soma_clear(s);
    snprintf(missing, sizeof missing, "%s/no/such/folder.safetensors", folder);
    assert_int_equal(soma_save(m, missing), SOMA_IO);
    soma_clear(s);
    soma_model *broken = soma_model_new(s, "broken");
    soma_dense(soma_input(broken, "x", SOMA_F32, SOMA_SHAPE(3)), .units = -1);
    soma_clear(s);
    assert_int_equal(soma_save(broken, path), SOMA_STATE);
    assert_non_null(strstr(soma_error(s), "building the model \"broken\" failed"));
    soma_clear(s);
    soma_model *name = soma_model_new(s, "\xff");
    soma_output(name, "y", soma_input(name, "x", SOMA_F32, SOMA_SHAPE(3)));
    assert_int_equal(soma_save(name, path), SOMA_INVALID);
    assert_non_null(strstr(soma_error(s), "not UTF-8"));
    soma_clear(s);
    assert_int_equal(soma_model_set_classes(m, NULL, 3), SOMA_INVALID);
    soma_clear(s);
    assert_int_equal(soma_model_set_classes(NULL, NULL, 0), SOMA_INVALID);
    soma_close(s);
}

/* Files of other programs: tensors, but no model. */
static void other_programs_files_are_refused(void **state)
{
    (void)state;
    soma *s = open_context(1);
    float a[1] = {1};
    soma_to_store t = {"a", {SOMA_F32, SOMA_SHAPE(1), a}};
    assert_int_equal(soma_safetensors_write(s, path, &t, 1, NULL, 0), SOMA_OK);
    refuse(s, path, SOMA_FORMAT, "holds tensors but no model that soma wrote");
    static const char text[] = "\x36\0\0\0\0\0\0\0{\"__metadata__\":{\"soma.model\":\"{\\\"format\\\":1}\"}}        ";
    assert_true(faults_write(path, text, 8 + 0x36));
    refuse(s, path, SOMA_FORMAT, "the hash that soma writes is missing");
    soma_close(s);
}

static uint32_t next_random(uint32_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 17;
    *state ^= *state << 5;
    return *state;
}

/* Damages `bytes` in a way that depends on i only; returns the new size. Half of all hits are in the first 8 kB. */
static size_t damage(unsigned char *bytes, size_t size, int i)
{
    uint32_t state = (uint32_t)i * 2654435761u + 1;
    for (int k = 0; k < 4; k++)
        next_random(&state);
    size_t range = next_random(&state) % 2 && size > 8192 ? 8192 : size, at = next_random(&state) % range;
    switch (i % 4) {
    case 0:
        bytes[at] ^= (unsigned char)(1u << next_random(&state) % 8);
        return size;
    case 1:
        return at;
    case 2: { /* four other bytes */
        unsigned char old[4];
        at = at > size - 4 ? size - 4 : at;
        memcpy(old, bytes + at, 4);
        do
            for (int k = 0; k < 4; k++)
                bytes[at + (size_t)k] = (unsigned char)next_random(&state);
        while (!memcmp(old, bytes + at, 4));
        return size;
    }
    default:
        for (uint32_t k = 0, n = 1 + next_random(&state) % 64; k < n; k++)
            bytes[size++] = (unsigned char)next_random(&state);
        return size;
    }
}

static void try_damaged(soma *s, const unsigned char *bytes, size_t size, const char *what, int i)
{
    assert_true(faults_write(path, bytes, size));
    if (soma_load(s, path))
        fail_msg("taken: %s %d", what, i);
    if (soma_error_status(s) != SOMA_FORMAT || !strstr(soma_error(s), ": at byte "))
        fail_msg("%s %d says: %s", what, i, soma_error(s));
    soma_clear(s);
}

/* A thousand mutants of a saved LeNet, none of which is taken; the context then still reads the true file. */
static void mutants_are_refused(void **state)
{
    (void)state;
    soma *s = open_context(1);
    soma_model *m = soma_zoo(s, "lenet5");
    assert_int_equal(soma_save(m, other), SOMA_OK);
    soma_model_free(m);
    uint64_t before = soma_memory_use(s).now;
    size_t size;
    unsigned char *bytes = (unsigned char *)faults_read(other, &size), *copy = malloc(size + 64);
    assert_true(bytes && copy);
    for (int i = 0; i < 1000; i++) {
        memcpy(copy, bytes, size);
        try_damaged(s, copy, damage(copy, size, i), "mutant", i);
    }
    assert_int_equal(soma_memory_use(s).now, before);
    assert_non_null(soma_load(s, other));
    free(bytes);
    free(copy);
    soma_close(s);
}

/* Every bit, every length, and 64 longer ones, of a small file. */
static void no_bit_and_no_length_is_free(void **state)
{
    (void)state;
    soma *s = open_context(1);
    soma_model *m = soma_zoo(s, "neuron");
    assert_int_equal(soma_save(m, other), SOMA_OK);
    soma_model_free(m);
    uint64_t before = soma_memory_use(s).now;
    size_t size;
    unsigned char *bytes = (unsigned char *)faults_read(other, &size), *copy = calloc(1, size + 64);
    assert_true(bytes && copy);
    for (size_t bit = 0; bit < 8 * size; bit++) {
        memcpy(copy, bytes, size);
        copy[bit / 8] ^= (unsigned char)(1u << bit % 8);
        try_damaged(s, copy, size, "bit", (int)bit);
    }
    memcpy(copy, bytes, size);
    for (size_t n = 0; n < size + 64; n++)
        if (n != size)
            try_damaged(s, copy, n, "length", (int)n);
    assert_int_equal(soma_memory_use(s).now, before);
    free(bytes);
    free(copy);
    soma_close(s);
}

/* ---- descriptions that somebody wrote on purpose: the hash is right ---- */

/* Saves a small model, then writes the same tensors with another description. */
static char *description_of(soma *s, const char *file)
{
    soma_safetensors f;
    assert_int_equal(soma_safetensors_open(&f, s, file), SOMA_OK);
    char *text = strdup(soma_safetensors_text(&f, "soma.model"));
    soma_safetensors_close(&f);
    return text;
}

static void write_with(soma *s, soma_model *m, const char *description)
{
    soma_to_store tensors[8];
    int n = soma_tensor_count(m);
    for (int i = 0; i < n; i++)
        tensors[i] = (soma_to_store){m->tensors[i].name, soma_tensor_at(m, i).tensor};
    const soma_stored_text text = {"soma.model", description, 0};
    assert_int_equal(soma_safetensors_write(s, path, tensors, n, &text, 1), SOMA_OK);
}

/* `text` with the first `from` replaced by `to`, malloc'ed. */
static char *replaced(const char *text, const char *from, const char *to)
{
    const char *at = strstr(text, from);
    if (!at)
        fail_msg("\"%s\" is not in the description: %s", from, text);
    char *out = malloc(strlen(text) + strlen(to) + 1);
    assert_non_null(out);
    sprintf(out, "%.*s%s%s", (int)(at - text), text, to, at + strlen(from));
    return out;
}

static soma_model *build_small(soma *s)
{
    soma_model *m = soma_model_new(s, "small");
    soma_value x = soma_input(m, "x", SOMA_F32, SOMA_SHAPE(1, 6, 6));
    float one = 1;
    x = soma_conv2d(x, .filters = 2, .kernel = {3, 3}, .activation = "relu");
    x = soma_mul(x, soma_constant(m, &((soma_tensor){SOMA_F32, SOMA_SCALAR, &one})));
    soma_output(m, "y", soma_dense(soma_flatten(x), .units = 3));
    soma_model_set_classes(m, (const char *const[]){"a", "b", "c"}, 3);
    return m;
}

static const struct {
    const char *from, *to, *says;
} wrong[] = {
    {"{", "", "something stands behind the end"},
    {"\"format\":1", "\"format\":2", "its format is not 1"},
    {"\"format\":1", "\"format\":1,\"format\":1", "duplicate"},
    {"\"values\":[", "\"value\":[", "no proper lists"},
    {"\"nodes\":[", "\"nodes\":3,\"n\":[", "no proper lists"},
    {"\"dtype\":\"f32\"", "\"dtype\":\"f33\"", "value 0 has no proper type"},
    {"[-1,1,6,6]", "[-1,1,6,0]", "value 0 has no proper type"},
    {"[-1,1,6,6]", "[1,-1,6,6]", "value 0 has no proper type"},
    {"[-1,1,6,6]", "[-1,1,6,6.5]", "value 0 has no proper type"},
    {"[-1,1,6,6]", "[-1,1,6,2000000000000]", "value 0 has no proper type"},
    {"[-1,1,6,6]", "[-1,1,2,2]", "conv2d"},
    {"[-1,1,6,6]", "[-1,1,6,6,1,1,1,1,1]", "value 0 has no proper type"},
    {"[-1,1,6,6]", "[-1,1,99999,99999]", "model.safetensors: "},
    {"\"input\":\"x\"", "\"inpt\":\"x\"", "neither an input nor a tensor nor a constant"},
    {"\"tensor\":\"conv1.weight\"", "\"tensor\":\"conv1.wight\"", "the tensor \"conv1.wight\" of the model is missing"},
    {"\"tensor\":\"conv1.weight\"", "\"tensor\":\"conv1.bias\"", "is listed twice"},
    {"\"tensor\":\"conv1.weight\"", "\"tensor\":\"\"", "neither an input"},
    {"[2,1,3,3]", "[2,1,3,1]", "does not have the elements"},
    {"he_uniform", "she_uniform", "there is no initialiser"},
    {"[\"he_uniform\"", "[7", "no proper initialiser"},
    {"\"zeros\",0,0,", "\"zeros\",0,null,", "no proper initialiser"},
    {"\"zeros\",0,0,", "\"zeros\",0,0,-5,5,", "no proper initialiser"},
    {"\"constant\":[1]", "\"constant\":[1,2]", "does not fit its shape"},
    {"\"constant\":[1]", "\"constant\":[\"one\"]", "its type cannot hold"},
    {"\"constant\":[1],\"dtype\":\"f32\"", "\"constant\":[0.5],\"dtype\":\"u8\"", "its type cannot hold"},
    {"\"op\":\"conv2d\"", "\"op\":\"conv9d\"", "the op \"conv9d\", which this soma does not have"},
    {"\"op\":\"conv2d\"", "\"op\":\"sgd_update\"", "assigns state"},
    {"\"op\":\"conv2d\"", "\"op\":\"relu\"", "attribute"},
    {"\"layer\":\"conv1\"", "\"layer\":7", "no proper op, layer"},
    {"\"out\":[6]", "\"out\":[7]", "makes value"},
    {"\"attrs\":{", "\"attr\":{", "has no attributes"},
    {"\"in\":[0,1,2]", "\"in\":[0,1,99]", "does not come before it"},
    {"\"in\":[0,1,2]", "\"in\":[0,1,-2]", "does not come before it"},
    {"\"in\":[0,1,2]", "\"in\":[0,\"1\"]", "does not come before it"},
    {"\"in\":[0,1,2]", "\"in\":[-1]", "input 0 is missing"},
    {"\"in\":[0,1,2]", "\"in\":[0,1,2,0,0,0,0]", "at most"},
    {"\"in\":[0,1,2]", "\"in\":[]", "input 0 is missing"},
    {"\"stride\":\"1,1\"", "\"stride\":\"0,1\"", "stride"},
    {"\"stride\":\"1,1\"", "\"stride\":1", "is not text"},
    {"\"stride\":\"1,1\"", "\"strid\":\"1,1\"", "strid"},
    {"\"stride\":\"1,1\"", "\"stride\":\"9999999999999999999,1\"", "stride"},
    {"\"outputs\":[{\"name\":\"y\",\"value\":", "\"outputs\":[{\"name\":\"y\",\"value\":-",
     "output 0 has no name or no value"},
    {"\"outputs\":[{\"name\":\"y\"", "\"outputs\":[{\"name\":7", "output 0 has no name or no value"},
    {"\"scale\":[", "\"scale\":[true,", "no proper transform"},
    {"\"mean\":[0,0,0,0]", "\"mean\":[0,0,0]", "no proper transform"},
    {"\"resize\":[0,0]", "\"resize\":[0]", "no proper transform"},
    {"\"resize\":[0,0]", "\"resize\":[-1,0]", "no proper transform"},
    {"\"crop\":[0,0]", "\"crop\":[65536,0]", "no proper transform"},
    {"\"bgr\":false", "\"bgr\":0", "no proper transform"},
    {"[\"a\",\"b\",\"c\"]", "[\"a\",1,\"c\"]", "class names must be texts"},
};

static void wrong_descriptions_are_refused(void **state)
{
    (void)state;
    soma *s = open_context(1);
    soma_model *m = build_small(s);
    check(s);
    assert_int_equal(soma_save(m, other), SOMA_OK);
    char *good = description_of(s, other);
    write_with(s, m, good);
    assert_non_null(soma_load(s, path)); /* the harness is right */
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        char *text = replaced(good, wrong[i].from, wrong[i].to);
        write_with(s, m, text);
        if (soma_load(s, path))
            fail_msg("taken: %s", wrong[i].to);
        if (!strstr(soma_error(s), wrong[i].says) || !strstr(soma_error(s), "model.safetensors: "))
            fail_msg("%s: not \"%s\" but %s", wrong[i].to, wrong[i].says, soma_error(s));
        soma_clear(s);
        free(text);
    }
    free(good);
    soma_close(s);
}

/* The tensors in the file are not those that its description tells of. */
static void wrong_tensors_are_refused(void **state)
{
    (void)state;
    soma *s = open_context(1);
    soma_model *m = build_small(s);
    assert_int_equal(soma_save(m, other), SOMA_OK);
    char *good = description_of(s, other);
    const soma_stored_text text = {"soma.model", good, 0};
    soma_to_store tensors[8];
    int n = soma_tensor_count(m);
    for (int fault = 0; fault < 5; fault++) {
        for (int i = 0; i < n; i++)
            tensors[i] = (soma_to_store){m->tensors[i].name, soma_tensor_at(m, i).tensor};
        if (fault == 0)
            tensors[0].tensor.shape = SOMA_SHAPE(18);
        if (fault == 1)
            tensors[0].tensor.shape = SOMA_SHAPE(1, 1, 3, 3);
        if (fault == 2)
            tensors[0].tensor.dtype = SOMA_I32;
        if (fault == 3)
            tensors[n] = (soma_to_store){"one more", tensors[0].tensor};
        soma_safetensors_write(s, path, tensors, fault == 3 ? n + 1 : fault == 4 ? n - 1 : n, &text, 1);
        check(s);
        refuse(s, path, SOMA_FORMAT,
               fault < 3    ? "\"conv1.weight\" should be f32[2,1,3,3]"
               : fault == 3 ? "the file has 5 tensors, the model in it uses 4"
                            : "of the model is missing");
    }
    free(good);
    soma_close(s);
}

static void descriptions_have_limits(void **state)
{
    (void)state;
    soma *s = open_context(1);
    soma_model *m = build_small(s);
    assert_int_equal(soma_save(m, other), SOMA_OK);
    char *good = description_of(s, other), *deep = malloc(1 << 20);
    assert_non_null(deep);
    memset(deep, '[', (1 << 20) - 1);
    deep[(1 << 20) - 1] = 0;
    write_with(s, m, deep);
    refuse(s, path, SOMA_FORMAT, "nested deeper than 64");
    for (int depth = 62; depth <= 63;
         depth++) { /* inside the object: 63 and 64; brackets inside of text do not count */
        char list[200] = "\"format\":1,\"[[{\":";
        memset(list + strlen(list), '[', (size_t)depth);
        memset(list + strlen(list), ']', (size_t)depth + 1);
        list[strlen("\"format\":1,\"[[{\":") + 2 * (size_t)depth] = 0;
        char *text = replaced(good, "\"format\":1", list);
        write_with(s, m, text);
        assert_non_null(soma_load(s, path));
        free(text);
    }
    char list[200] = "\"format\":1,\"x\":";
    memset(list + strlen(list), '[', 64);
    char *text = replaced(good, "\"format\":1", list);
    write_with(s, m, text);
    refuse(s, path, SOMA_FORMAT, "nested deeper than 64");
    free(text);
    free(good);
    free(deep);
    float *many = calloc(3 << 20, sizeof *many); /* ",0" is two letters: 6 MB of description */
    assert_non_null(many);
    soma_model *large = soma_model_new(s, "large");
    soma_output(large, "y", soma_constant(large, &((soma_tensor){SOMA_F32, SOMA_SHAPE(3 << 20), many})));
    assert_int_equal(soma_save(large, path), SOMA_INVALID);
    assert_non_null(strstr(soma_error(s), "large constants should be parameters"));
    free(many);
    soma_close(s);
}

/* Descriptions with a few wrong letters and a right hash: taken or refused with a sentence, never more memory than
 * before. */
static void mutated_descriptions_do_no_harm(void **state)
{
    (void)state;
    static const char letters[] = "0123456789-.,:[]{}\"abcdefnulst \\";
    soma *s = open_context(1);
    soma_model *m = build_small(s);
    assert_int_equal(soma_save(m, other), SOMA_OK);
    char *good = description_of(s, other), *text = strdup(good);
    assert_non_null(text);
    soma_tensor_at(m, 0);
    uint64_t before = soma_memory_use(s).now;
    uint32_t state32 = 12345;
    int taken = 0, refused = 0;
    for (int i = 0; i < 1500; i++) {
        strcpy(text, good);
        for (uint32_t k = 0, n = 1 + next_random(&state32) % 3; k < n; k++)
            text[next_random(&state32) % strlen(good)] = letters[next_random(&state32) % (sizeof letters - 1)];
        write_with(s, m, text);
        soma_model *loaded = soma_load(s, path);
        if (loaded)
            taken++;
        else
            refused++;
        assert_true(loaded ? !soma_failed(s)
                           : soma_error_status(s) == SOMA_FORMAT || soma_error_status(s) == SOMA_INVALID ||
                                 soma_error_status(s) == SOMA_UNSUPPORTED);
        soma_model_free(loaded);
        soma_clear(s);
        assert_int_equal(soma_memory_use(s).now, before);
    }
    assert_true(taken > 0 && refused > 500);
    free(good);
    free(text);
    soma_close(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(zoo_models_survive),
        cmocka_unit_test(saving_again_is_the_same),
        cmocka_unit_test(odd_models_survive),
        cmocka_unit_test(loaded_models_train_on),
        cmocka_unit_test(places_outlive_the_path),
        cmocka_unit_test(wrong_calls_are_refused),
        cmocka_unit_test(other_programs_files_are_refused),
        cmocka_unit_test(mutants_are_refused),
        cmocka_unit_test(no_bit_and_no_length_is_free),
        cmocka_unit_test(wrong_descriptions_are_refused),
        cmocka_unit_test(wrong_tensors_are_refused),
        cmocka_unit_test(descriptions_have_limits),
        cmocka_unit_test(mutated_descriptions_do_no_harm),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
