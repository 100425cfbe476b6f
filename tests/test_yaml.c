/* SPDX-License-Identifier: Apache-2.0
 *
 * tests/test_yaml.c: models described in YAML: the example is the network of the zoo, and wrong descriptions end in a
 * sentence that names the line and, where one is near, the key that was meant.
 */
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
#include "yaml_wrong.h"

#include <soma/soma.h>

#ifndef SOMA_HAVE_YAML
int main(void)
{
    puts("built without libyaml: descriptions of models cannot be read");
    return 77;
}
#else

static char folder[256], path[300];

static int make_folder(void **state)
{
    (void)state;
    if (!faults_folder(folder))
        return -1;
    snprintf(path, sizeof path, "%s/m.yaml", folder);
    return 0;
}

static int remove_folder(void **state)
{
    (void)state;
    faults_folder_remove(folder);
    return 0;
}

static soma *open_context(void)
{
    soma *s = soma_open(&(soma_context_options){.struct_size = sizeof(soma_context_options), .seed = 9, .threads = 1});
    assert_non_null(s);
    return s;
}

static soma_model *read_text(soma *s, const char *text, soma_recipe *recipe)
{
    assert_true(faults_write(path, text, strlen(text)));
    return soma_model_from_yaml(s, path, recipe);
}

/* ---- right ---- */

static void same_tensors(soma_model *m, soma_model *zoo)
{
    assert_int_equal(soma_tensor_count(m), soma_tensor_count(zoo));
    for (int i = 0; i < soma_tensor_count(m); i++) {
        soma_named_tensor a = soma_tensor_at(m, i), b = soma_tensor_at(zoo, i);
        int64_t n = soma_shape_elements(&a.tensor.shape);
        assert_string_equal(a.name, b.name);
        assert_int_equal(n, soma_shape_elements(&b.tensor.shape));
        assert_memory_equal(a.tensor.data, b.tensor.data, (size_t)n * sizeof(float));
    }
}

/* Op, name, inputs and attributes of every node, in their order: what a plan is made of. */
static void same_nodes(soma_model *m, soma_model *other)
{
    assert_int_equal(m->graph->n_nodes, other->graph->n_nodes);
    for (int i = 0; i < m->graph->n_nodes; i++) {
        const soma_graph_node *a = &m->graph->nodes[i], *b = &other->graph->nodes[i];
        char text[2][256];
        assert_string_equal(a->op->name, b->op->name);
        assert_string_equal(a->layer, b->layer);
        assert_int_equal(a->n_in, b->n_in);
        assert_memory_equal(a->in, b->in, (size_t)a->n_in * sizeof *a->in);
        for (const soma_field *f = a->op->fields; f && f->name; f++) {
            soma_attr_text(f, a->attrs, text[0], sizeof text[0]);
            soma_attr_text(f, b->attrs, text[1], sizeof text[1]);
            assert_string_equal(text[0], text[1]);
        }
    }
}

static void the_example_is_the_zoos_network(void **state)
{
    (void)state;
    soma *s = open_context(), *second = open_context();
    soma_recipe recipe;
    const soma_zoo_entry *entry = soma_zoo_find("fashion-cnn");
    soma_model *m = soma_model_from_yaml(s, SOMA_SOURCE_DIR "/examples/fashion-cnn.yaml", &recipe);
    if (!m)
        fail_msg("%s", soma_error(s));
    soma_model *zoo = soma_zoo(second, "fashion-cnn");
    assert_string_equal(soma_model_name(m), "fashion-cnn");
    same_tensors(m, zoo);
    same_nodes(m, zoo);
    float x[28 * 28], y[2][10];
    for (int i = 0; i < 28 * 28; i++)
        x[i] = (float)(i % 17) / 17;
    soma_tensor from = {SOMA_F32, SOMA_SHAPE(1, 1, 28, 28), x};
    for (int k = 0; k < 2; k++) {
        soma_tensor to = {SOMA_F32, SOMA_SHAPE(1, 10), y[k]};
        assert_int_equal(soma_predict(k ? zoo : m, &from, &to), SOMA_OK);
    }
    assert_memory_equal(y[0], y[1], sizeof y[0]);
    soma_optimizer o = entry->optimizer();
    assert_string_equal(recipe.optimizer.name, o.name);
    assert_true(recipe.optimizer.peak_lr == o.peak_lr && recipe.optimizer.beta1 == o.beta1 &&
                recipe.optimizer.lr == o.lr);
    assert_string_equal(recipe.loss, "softmax_cross_entropy");
    assert_int_equal(recipe.batch_size, entry->batch_size);
    assert_int_equal(recipe.epochs, entry->epochs);
    soma_close(s);
    soma_close(second);
}

/* ResNet-18 is a graph: a block with a shortcut, written once. The pictures are smaller, so that the test is fast. */
static void a_block_is_written_once(void **state)
{
    (void)state;
    enum { SIDE = 40 };
    static char text[4096], small[4096];
    static float x[3 * SIDE * SIDE], y[2][1000];
    FILE *file = fopen(SOMA_SOURCE_DIR "/examples/resnet18.yaml", "rb");
    assert_non_null(file);
    text[fread(text, 1, sizeof text - 1, file)] = 0;
    fclose(file);
    int lines = 0;
    for (const char *at = text; *at; at++)
        lines += *at == '\n';
    assert_true(lines > 0 && lines <= 60);
    char *shape = strstr(text, "[3, 224, 224]");
    assert_non_null(shape);
    snprintf(small, sizeof small, "%.*s[3, %d, %d]%s", (int)(shape - text), text, SIDE, SIDE, shape + 13);
    soma *s = open_context(), *second = open_context();
    soma_recipe recipe;
    const soma_zoo_entry *entry = soma_zoo_find("resnet18");
    soma_model *m = read_text(s, small, &recipe);
    if (!m)
        fail_msg("%s", soma_error(s));
    soma_model *zoo = soma_zoo(second, "resnet18", .input = SOMA_SHAPE(3, SIDE, SIDE));
    same_tensors(m, zoo);
    same_nodes(m, zoo);
    for (int i = 0; i < 3 * SIDE * SIDE; i++)
        x[i] = (float)(i % 23) / 23;
    soma_tensor from = {SOMA_F32, SOMA_SHAPE(1, 3, SIDE, SIDE), x};
    for (int k = 0; k < 2; k++) {
        soma_tensor to = {SOMA_F32, SOMA_SHAPE(1, 1000), y[k]};
        assert_int_equal(soma_predict(k ? zoo : m, &from, &to), SOMA_OK);
    }
    assert_memory_equal(y[0], y[1], sizeof y[0]);
    soma_optimizer o = entry->optimizer();
    assert_true(recipe.optimizer.lr == o.lr && recipe.optimizer.momentum == o.momentum &&
                recipe.optimizer.weight_decay == o.weight_decay);
    assert_true(recipe.batch_size == entry->batch_size && recipe.epochs == entry->epochs);
    soma_close(s);
    soma_close(second);
}

/* Two inputs, two outputs, joins, and activations with options in both ways of writing them. */
static void a_graph_is_described(void **state)
{
    (void)state;
    soma *s = open_context();
    soma_model *m = read_text(
        s,
        "inputs: {image: [2, 4, 4], more: [2, 4, 4]}\n"
        "blocks:\n"
        "  outer: {parameters: {n: required, k: [1, 3]}, layers: [inner: {n: $n, k: $k}]}\n"
        "  inner: {parameters: {n: 9, k: 1}, layers: [conv2d: {filters: $n, kernel: $k, same: true}]}\n"
        "layers:\n"
        "  - relu: {from: image, name: a}\n"
        "  - tanh: {from: more, name: b}\n"
        "  - concat: {from: [a, b], axis: 2}\n"
        "  - clip: {min: -1, max: 2}\n"
        "  - outer: {n: 3, name: deep}\n"
        "  - sigmoid: {name: gate}\n"
        "  - multiply: {from: [deep, gate, deep], name: product}\n"
        "  - dropout: {when: false, rate: 0.5, name: dropped}\n"
        "  - add: {from: [dropped, gate], name: sum}\n"
        "outputs: [sum, product]\n",
        NULL);
    if (!m)
        fail_msg("%s", soma_error(s));
    soma_model *hand = soma_model_new(s, "hand");
    soma_value image = soma_input(hand, "image", SOMA_F32, SOMA_SHAPE(2, 4, 4));
    soma_value more = soma_input(hand, "more", SOMA_F32, SOMA_SHAPE(2, 4, 4));
    soma_value a = soma_relu(image), b = soma_tanh(more);
    soma_value x = soma_clip(soma_layer_concat(a, .more = &b, .n_more = 1, .axis = 2), .min = -1, .max = 2);
    soma_scope_push(hand, "deep");
    soma_value deep = soma_conv2d(x, .filters = 3, .kernel = {1, 3}, .same = true);
    soma_scope_pop(hand);
    soma_value gate = soma_sigmoid(deep);
    soma_value product = soma_layer_multiply(deep, .more = (const soma_value[]){gate, deep}, .n_more = 2);
    soma_value sum = soma_layer_add(product, .more = &gate, .n_more = 1);
    assert_true(soma_ok(sum));
    same_nodes(m, hand);
    assert_string_equal(soma_tensor_at(m, 0).name, "deep.conv1.weight");
    assert_string_equal(soma_model_output_name(m, 0), "sum");
    assert_string_equal(soma_model_output_name(m, 1), "product");
    soma_value one = soma_layer_add(sum);
    assert_false(soma_ok(one));
    assert_non_null(strstr(soma_error(s), "add: it joins several values; give the others in .more and .n_more"));
    soma_close(s);
}

/* Every layer and every key once. */
static const char all[] =
    "name: all\n"
    "input: [2, 12, 12]\n"
    "layers:\n"
    "  - conv2d: {filters: 4, kernel: [3, 5], stride: [1, 2], pad: [1, 2, 1, 2], dilation: 1, groups: 2,\n"
    "             activation: relu, name: first, init: normal, init_a: 0.5, init_b: 0.1,\n"
    "             bias_init: constant, bias_a: -1, bias_b: 0}\n"
    "  - conv2d: {filters: 4, kernel: 3, same: true, no_bias: true}\n"
    "  - relu\n"
    "  - local_response_norm: {size: 3, alpha: 0.5, beta: 0.25, k: 2}\n"
    "  - max_pool2d: {size: 3, stride: 1, pad: 1, ceil_mode: true}\n"
    "  - average_pool2d:\n"
    "      size: [2, 3]\n"
    "      stride: [2, 3]\n"
    "      pad: [0, 0, 0, 0]\n"
    "      ceil_mode: true\n"
    "      count_padding: false\n"
    "  - adaptive_average_pool2d: {size: [2, 1]}\n"
    "  - clip: {min: -2, max: 0.5}\n"
    "  - relu6\n"
    "  - tanh:\n"
    "  - sigmoid: {}\n"
    "  - global_average_pool2d\n"
    "  - flatten\n"
    "  - dropout: {rate: 0, maps: false, name: drop}\n"
    "  - dense: {units: 3, activation: linear, name: last, init: uniform, init_a: -1, init_b: 1e0,\n"
    "            bias_init: ones, bias_a: 0, bias_b: 0, no_bias: false}\n"
    "  - softmax\n"
    "loss: mse\n"
    "optimizer: {sgd: {lr: 0.5, momentum: 0.25, decay: 1e-6, weight_decay: 0.125, nesterov: true}}\n"
    "fit: {validation_split: 0.1}\n";

static void all_keys_are_read(void **state)
{
    (void)state;
    soma *s = open_context();
    soma_recipe recipe;
    soma_model *m = read_text(s, all, &recipe);
    if (!m)
        fail_msg("%s", soma_error(s));
    soma_model *by_hand = soma_model_new(s, "hand");
    soma_value x = soma_input(by_hand, "x", SOMA_F32, SOMA_SHAPE(2, 12, 12));
    x = soma_conv2d(x, .filters = 4, .kernel = {3, 5}, .stride = {1, 2}, .pad = {1, 2, 1, 2}, .groups = 2,
                    .activation = "relu", .name = "first", .init = "normal", .init_a = 0.5, .init_b = 0.1,
                    .bias_init = "constant", .bias_a = -1);
    x = soma_conv2d(x, .filters = 4, .kernel = {3, 3}, .same = true, .no_bias = true);
    x = soma_local_response_norm(soma_relu(x), .size = 3, .alpha = 0.5, .beta = 0.25, .k = 2);
    x = soma_max_pool2d(x, .size = {3, 3}, .stride = {1, 1}, .pad = {1, 1, 1, 1}, .ceil_mode = true);
    x = soma_average_pool2d(x, .size = {2, 3}, .stride = {2, 3}, .ceil_mode = true);
    x = soma_relu6(soma_clip(soma_adaptive_average_pool2d(x, .size = {2, 1}), .min = -2, .max = 0.5));
    x = soma_global_average_pool2d(soma_sigmoid(soma_tanh(x)));
    x = soma_dropout(soma_flatten(x), .name = "drop");
    x = soma_dense(x, .units = 3, .name = "last", .init = "uniform", .init_a = -1, .init_b = 1, .bias_init = "ones");
    soma_output(by_hand, "y", soma_softmax(x));
    assert_false(soma_failed(s));
    same_nodes(m, by_hand);
    for (int i = 0; i < soma_tensor_count(m); i++) {
        soma_named_tensor a = soma_tensor_at(m, i), b = soma_tensor_find(by_hand, a.name);
        assert_memory_equal(a.tensor.data, b.tensor.data, (size_t)soma_shape_elements(&a.tensor.shape) * sizeof(float));
    }
    assert_string_equal(recipe.optimizer.name, "sgd");
    assert_true(recipe.optimizer.lr == 0.5 && recipe.optimizer.momentum == 0.25 && recipe.optimizer.decay == 1e-6);
    assert_true(recipe.optimizer.weight_decay == 0.125 && recipe.optimizer.nesterov && recipe.validation_split == 0.1);
    assert_string_equal(recipe.loss, "mse");
    assert_int_equal(recipe.epochs, 0);
    assert_string_equal(recipe.optimizer.at.file, path);
    assert_int_equal(recipe.optimizer.at.line, -29); /* of a description */
    soma_close(s);
}

static void pictures_are_described(void **state)
{
    (void)state;
    soma *s = open_context();
    soma_recipe r;
    assert_non_null(read_text(s,
                              "input: [3, 32, 32]\nlayers: [relu]\ntransforms:\n  - resize: {shorter_side: 40}\n"
                              "  - random_crop: {size: 32, padding: 4}\n  - flip\n  - bgr: true\n  - scale: 2\n"
                              "  - normalize: {mean: [1, 2.5, -3], deviation: 4}\n",
                              &r));
    const soma_transform *t = &r.transform;
    assert_true(t->resize[0] == 40 && t->resize[1] == 0 && t->crop[0] == 32 && t->crop[1] == 32 && t->scale == 2 &&
                t->bgr);
    assert_true(t->mean[0] == 1 && t->mean[1] == 2.5 && t->mean[2] == -3 && t->mean[3] == 0);
    assert_true(t->deviation[0] == 4 && t->deviation[1] == 0);
    assert_true(r.augment.flip && r.augment.random_crop && r.augment.padding == 4);
    assert_non_null(read_text(
        s, "input: [3, 32, 32]\nlayers: [relu]\ntransforms: [resize: [20, 30], random_resized_crop: 0.5]\n", &r));
    assert_true(t->resize[0] == 20 && t->resize[1] == 30 && t->crop[0] == 0 && !t->bgr);
    assert_true(!r.augment.flip && r.augment.random_resized_crop == 0.5);
    soma_close(s);
}

/* Keras' and PyTorch's names of options, and activations with options in both ways of writing them. */
static void other_names_are_read(void **state)
{
    static const char *const texts[] = {
        "input: [2, 8, 8]\nlayers:\n"
        "  - conv2d: {filters: 4, kernel: 3, stride: 2, pad: 1, activation: 'clip:min=-1,max=0.5'}\n"
        "  - batch_norm: {epsilon: 0.01}\n  - max_pool2d: {size: 2}\n  - flatten\n  - dense: {units: 3}\n",
        "input: [2, 8, 8]\nlayers:\n"
        "  - conv2d: {out_channels: 4, kernel_size: 3, strides: 2, padding: 1, activation: {clip: {min: -1, max: "
        "0.5}}}\n"
        "  - batch_norm: {eps: 0.01}\n  - max_pool2d: {pool_size: 2}\n  - flatten\n  - dense: {out_features: 3}\n"};
    (void)state;
    soma *s = open_context();
    soma_model *m[2];
    for (int i = 0; i < 2; i++)
        if (!(m[i] = read_text(s, texts[i], NULL)))
            fail_msg("%s", soma_error(s));
    same_nodes(m[0], m[1]);
    double limits[2];
    memcpy(limits, m[0]->graph->nodes[1].attrs, sizeof limits);
    assert_string_equal(m[0]->graph->nodes[1].layer, "conv1.clip");
    assert_true(limits[0] == -1 && limits[1] == 0.5);
    soma_close(s);
}

static void data_are_described(void **state)
{
    (void)state;
    soma *s = open_context();
    soma_recipe r;
    assert_non_null(
        read_text(s,
                  "input: [3]\nlayers: [relu]\ncallbacks: []\ndata: {path: some/where, format: idx, split: test, "
                  "labels: l, limit: 7, skip_broken: true}\n",
                  &r));
    assert_string_equal(r.data->path, "some/where");
    assert_string_equal(r.data->format, "idx");
    assert_string_equal(r.data->split, "test");
    assert_string_equal(r.data->labels, "l");
    assert_true(r.data->limit == 7 && r.data->skip_broken);
    assert_non_null(read_text(s, "input: [3]\nlayers: [relu]\ndata: fashion-mnist\n", &r));
    assert_string_equal(r.data->path, "fashion-mnist");
    assert_true(!r.data->split && r.data->limit == 0);
    assert_non_null(read_text(s, "input: [3]\nlayers: [relu]\n", &r));
    assert_null(r.data);
    soma_close(s);
}

static void nothing_more_than_needed_is_asked_for(void **state)
{
    (void)state;
    soma *s = open_context();
    soma_recipe recipe;
    soma_model *m = read_text(s, "# a line\ninput: [3]\nlayers: [dense: {units: 1}]\n", &recipe);
    assert_non_null(m);
    assert_string_equal(soma_model_name(m), "model");
    assert_null(recipe.optimizer.name);
    assert_true(recipe.loss[0] == 0 && recipe.batch_size == 0);
    assert_non_null(read_text(s, "input: [3]\nlayers:\n  - dense: {units: 1}\noptimizer: adam\n", NULL));
    assert_false(soma_failed(s));
    soma_close(s);
}

/* ---- wrong ---- */

static void wrong_descriptions_end_in_a_sentence(void **state)
{
    (void)state;
    soma *s = open_context();
    uint64_t before = soma_memory_use(s).now;
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        soma_recipe recipe = {.epochs = 77};
        if (read_text(s, wrong[i].text, &recipe))
            fail_msg("taken: %s", wrong[i].text);
        if (!strstr(soma_error(s), wrong[i].says) || !strstr(soma_error(s), "m.yaml:"))
            fail_msg("%snot \"%s\" but: %s", wrong[i].text, wrong[i].says, soma_error(s));
        assert_true(recipe.epochs == 0 && !recipe.optimizer.name);
        soma_clear(s);
        assert_int_equal(soma_memory_use(s).now, before);
    }
    assert_null(soma_model_from_yaml(s, "/no/such/file.yaml", NULL));
    assert_int_equal(soma_error_status(s), SOMA_IO);
    soma_clear(s);
    assert_null(soma_model_from_yaml(s, NULL, NULL));
    assert_int_equal(soma_error_status(s), SOMA_INVALID);
    assert_null(soma_model_from_yaml(NULL, path, NULL));
    soma_close(s);
}

/* A description may name an architecture, weights and groups instead of listing layers. */
static void a_model_can_be_named(void **state)
{
    (void)state;
    soma *s = open_context();
    soma_recipe recipe;
    soma_model *m = read_text(s,
                              "model: {name: alexnet, width: 0.125, classes: 5, input: [3, 64, 64]}\n"
                              "fit:\n"
                              "  groups:\n"
                              "    - {pattern: features, frozen: true}\n"
                              "    - {pattern: classifier.6, lr: 0.5, weight_decay: 0.25, trained: true}\n"
                              "    - {pattern: '*.bias', lr_scale: 2, no_weight_decay: true}\n"
                              "optimizer: {sgd: {lr: 0.1}}\n",
                              &recipe);
    if (!m)
        fail_msg("%s", soma_error(s));
    assert_int_equal(soma_value_type(soma_model_output(m, 0)).shape.dim[1], 5);
    assert_int_equal(soma_tensor_find(m, "features.0.weight").tensor.shape.dim[0], 8);
    assert_int_equal(recipe.n_groups, 3);
    assert_string_equal(recipe.groups[0].pattern, "features");
    assert_true(recipe.groups[0].frozen && !recipe.groups[1].frozen && recipe.groups[1].trained);
    assert_true(recipe.groups[1].lr == 0.5 && recipe.groups[1].weight_decay == 0.25);
    assert_true(recipe.groups[2].lr_scale == 2 && recipe.groups[2].no_weight_decay);
    assert_true(recipe.optimizer.lr == 0.1);

    char saved[400], text[600];
    snprintf(saved, sizeof saved, "%s.safetensors", path);
    assert_int_equal(soma_save(m, saved), SOMA_OK);
    snprintf(text, sizeof text, "model: {name: %s, classes: 2, new_head: true}\n", saved);
    soma_model *two = read_text(s, text, NULL);
    assert_non_null(two);
    assert_int_equal(soma_tensor_find(two, "classifier.6.weight").tensor.shape.dim[0], 2);
    snprintf(text, sizeof text,
             "model: {name: alexnet, width: 0.125, classes: 9, input: [3, 64, 64], weights: %s, new_head: true}\n",
             saved);
    soma_model *nine = read_text(s, text, NULL);
    if (!nine)
        fail_msg("%s", soma_error(s));
    assert_memory_equal(soma_tensor_find(nine, "features.3.weight").tensor.data,
                        soma_tensor_find(m, "features.3.weight").tensor.data, 64);
    static const struct {
        const char *text, *says;
    } mistakes[] = {{"model: alexnett", "m.yaml:1: the zoo has no \"alexnett\"; did you mean \"alexnet\"?"},
                    {"model: {name: mlp, clases: 3}", "did you mean \"classes\"?"},
                    {"model: {classes: 3}", "\"model\" needs a \"name\""},
                    {"model: mlp\nname: x", "are left out then"},
                    {"model: no/such.safetensors", "no/such.safetensors"},
                    {"model: {name: a.safetensors, width: 2}", "says its input and width itself"},
                    {"model: mlp\nfit: {groups: 3}", "takes a list of mappings"},
                    {"model: mlp\nfit: {groups: [{frozen: true}]}", "a group needs a \"pattern\""},
                    {"model: mlp\nfit: {groups: [{pattern: a, lr: -1}]}", "\"lr\" must be at least 0"}};
    for (size_t i = 0; i < sizeof mistakes / sizeof *mistakes; i++) {
        assert_null(read_text(s, mistakes[i].text, NULL));
        if (!strstr(soma_error(s), mistakes[i].says))
            fail_msg("\"%s\" does not say \"%s\"", soma_error(s), mistakes[i].says);
        soma_clear(s);
    }
    soma_close(s);
}

/* A hundred thousand brackets, and aliases of aliases, are read in no time or refused. */
static void bombs_do_not_go_off(void **state)
{
    (void)state;
    soma *s = open_context();
    size_t n = 100000;
    char *text = malloc(n + 1);
    assert_non_null(text);
    memset(text, '[', n);
    text[n] = 0;
    assert_null(read_text(s, text, NULL));
    assert_non_null(strstr(soma_error(s), "it is nested deeper than 64"));
    soma_clear(s);
    free(text);
    char laugh[4096] = "input: &a0 [1, 1]\nlayers:\n";
    for (int i = 1; i < 20; i++)
        sprintf(laugh + strlen(laugh), "  - &a%d [*a%d, *a%d, *a%d, *a%d]\n", i, i - 1, i - 1, i - 1, i - 1);
    assert_null(read_text(s, laugh, NULL));
    assert_int_equal(soma_error_status(s), SOMA_INVALID);
    soma_close(s);
}

/* Any allocation of soma's may fail. */
static void want_of_memory_is_an_error(void **state)
{
    (void)state;
    assert_true(faults_write(path, all, strlen(all)));
    for (uint64_t k = 1;; k++) {
        faults_memory memory = {0};
        soma *s = soma_open(&(soma_context_options){
            .struct_size = sizeof(soma_context_options), .threads = 1, .allocator = faults_allocator(&memory)});
        assert_non_null(s);
        memory.fail_at = memory.calls + k;
        soma_model *m = soma_model_from_yaml(s, path, NULL);
        assert_true((m != NULL) == !memory.failed);
        assert_int_equal(soma_error_status(s), memory.failed ? SOMA_MEMORY : SOMA_OK);
        soma_close(s);
        assert_int_equal(memory.blocks, 0);
        if (!memory.failed)
            break;
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_example_is_the_zoos_network),
        cmocka_unit_test(a_block_is_written_once),
        cmocka_unit_test(a_graph_is_described),
        cmocka_unit_test(all_keys_are_read),
        cmocka_unit_test(pictures_are_described),
        cmocka_unit_test(other_names_are_read),
        cmocka_unit_test(data_are_described),
        cmocka_unit_test(nothing_more_than_needed_is_asked_for),
        cmocka_unit_test(wrong_descriptions_end_in_a_sentence),
        cmocka_unit_test(a_model_can_be_named),
        cmocka_unit_test(bombs_do_not_go_off),
        cmocka_unit_test(want_of_memory_is_an_error),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
#endif
