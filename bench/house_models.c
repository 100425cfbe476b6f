/* SPDX-License-Identifier: Apache-2.0
 *
 * house_models.c: the models of the bars, with the data of bench/peers: a line, a disc, Fashion-MNIST, noise.
 */
#include "house.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* forward_flops, conv: 2 K C kh kw H W of the output; dense: 2 in out.
 * fashion-cnn: 2*32*9*28*28 + 2*64*32*9*14*14 + 2*3136*128 + 2*128*10
 * mlp: 2*(784*512 + 512*512 + 512*10)
 * lenet5: 2*6*25*28*28 + 2*16*6*25*10*10 + 2*(400*120 + 120*84 + 84*10)
 * net: 2*6*75*28*28 + 2*16*150*10*10 + 2*(400*120 + 120*84 + 84*10)
 * resnet20 (1x32x32): 2*(144*1024 + 6*2304*1024 + (4608 + 5*9216)*256 + (18432 + 5*36864)*64 + 640)
 * keras-vgg: 2*(32*27*98*98 + 32*288*96*96 + 64*288*46*46 + 64*576*44*44 + 30976*256 + 256*10) */
static const house_model models[] = {
    {"neuron", 32, 32, DATA_LINE, true, 2},
    {"tiny", 10, 10, DATA_DISC, true, 36},
    {"mlp", 128, 4, DATA_FASHION, false, 1337344},
    {"lenet5", 64, 4, DATA_FASHION, false, 833040},
    {"net", 32, 4, DATA_NOISE, false, 1303440},
    {"keras-vgg", 32, 1, DATA_NOISE, false, 423071488},
    {"fashion-cnn", 128, 4, DATA_FASHION, false, 8482304},
    {"resnet20", 128, 4, DATA_FASHION, false, 80512256},
};

const house_model *house_model_at(int index)
{
    return index >= 0 && index < (int)(sizeof models / sizeof *models) ? &models[index] : NULL;
}

const house_model *house_model_find(const char *name)
{
    for (int i = 0; house_model_at(i); i++)
        if (!strcmp(models[i].name, name))
            return &models[i];
    return NULL;
}

bool house_failed(const house_case *c)
{
    if (!soma_failed(c->s))
        return false;
    fprintf(stderr, "soma-house: %s\n", c->s ? soma_error(c->s) : "no memory for a context");
    return true;
}

/* In [-1, 1): a fixed linear congruential sequence. */
static float draw(uint32_t *state)
{
    *state = *state * 1664525u + 1013904223u;
    return (float)(*state >> 8) * 0x1p-23f - 1;
}

/* 64 batches of a line with noise, or of points in a square: 1 inside a disc, -1 outside. */
static soma_dataset *points(house_case *c, int64_t inputs)
{
    int64_t n = 64 * c->kind->batch;
    uint32_t state = 1;
    c->x = malloc((size_t)(n * inputs) * sizeof *c->x);
    c->y = malloc((size_t)n * sizeof *c->y);
    if (!c->x || !c->y)
        return NULL;
    for (int64_t i = 0; i < n; i++) {
        float *x = c->x + i * inputs;
        for (int64_t k = 0; k < inputs; k++)
            x[k] = draw(&state);
        c->y[i] = inputs == 1 ? 3 * x[0] - 1 + draw(&state) / 4 : x[0] * x[0] + x[1] * x[1] < 0.5f ? 1.0f : -1.0f;
    }
    soma_tensor x = {SOMA_F32, SOMA_SHAPE(n, inputs), c->x}, y = {SOMA_F32, SOMA_SHAPE(n, 1), c->y};
    return soma_dataset_arrays(c->s, x, .y = y);
}

/* 8 batches of noise in the model's shape (of photos 2), with classes in turn. */
static soma_dataset *noise(house_case *c)
{
    soma_shape shape = soma_value_type(soma_model_input(c->m, 0)).shape;
    int64_t classes = soma_value_type(soma_model_output(c->m, 0)).shape.dim[1];
    int64_t n = (shape.rank == 4 && shape.dim[3] > 200 ? 2 : 8) * c->batch;
    shape.dim[0] = n;
    int64_t elements = soma_shape_elements(&shape);
    uint32_t state = 1;
    c->x = elements > 0 ? malloc((size_t)elements * sizeof *c->x) : NULL;
    c->labels = malloc((size_t)n * sizeof *c->labels);
    if (!c->x || !c->labels)
        return NULL;
    for (int64_t i = 0; i < elements; i++)
        c->x[i] = draw(&state);
    for (int64_t i = 0; i < n; i++)
        c->labels[i] = (int32_t)(i % classes);
    soma_tensor x = {SOMA_F32, shape, c->x}, labels = {SOMA_I32, SOMA_SHAPE(n), c->labels};
    return soma_dataset_arrays(c->s, x, .y = labels, .n_classes = (int)classes);
}

static void build_model(house_case *c, double width)
{
    if (strcmp(c->kind->name, "tiny")) {
        soma_shape input = {0};
        if (!strcmp(c->kind->name, "resnet20"))
            input = SOMA_SHAPE(1, 32, 32);
        c->m = soma_zoo(c->s, c->kind->name, .input = input, .width = width);
        c->optimizer = soma_zoo_find(c->kind->name)->optimizer();
        return;
    }
    c->m = soma_model_new(c->s, "tiny");
    soma_value x = soma_input(c->m, "x", SOMA_F32, SOMA_SHAPE(2));
    x = soma_dense(x, .units = 4, .activation = "tanh");
    x = soma_dense(x, .units = 2, .activation = "tanh");
    soma_output(c->m, "y", soma_dense(x, .units = 1));
    c->optimizer = soma_sgd(.lr = 0.03);
}

/* Convolutions and matrix products of one sample, as the models above count. */
static double counted_flops(const soma_model *m)
{
    double flops = 0;
    for (int i = 0; i < soma_model_nodes(m); i++) {
        soma_model_node node = soma_model_node_at(m, i);
        if (!strcmp(node.op, "conv2d") || !strcmp(node.op, "matmul"))
            flops += node.flops;
    }
    return flops;
}

/* A line of the table above, or the zoo's word for whatever else it has. */
static bool find_kind(house_case *c, const char *model)
{
    c->kind = house_model_find(model);
    const soma_zoo_entry *entry = c->kind ? NULL : soma_zoo_find(model);
    if (entry) {
        c->other = (house_model){entry->name, entry->batch_size, 1, DATA_NOISE, false, 0};
        c->kind = &c->other;
    }
    if (!c->kind)
        fprintf(stderr, "soma-house: there is no model \"%s\"; soma-house --help and soma --help list them\n", model);
    return c->kind;
}

bool house_open(house_case *c, const char *model, const options *o)
{
    memset(c, 0, sizeof *c);
    if (!find_kind(c, model))
        return false;
    soma_context_options context = {.struct_size = sizeof context,
                                    .seed = (uint64_t)o->seed,
                                    .threads = o->threads      ? (int)o->threads
                                               : c->kind->tiny ? 1
                                                               : 0,
                                    .exact = o->exact,
                                    .tune = o->tune};
    c->s = soma_open(&context);
    c->batch = o->batch ? o->batch : c->kind->batch;
    c->max_memory = (uint64_t)o->max_memory;
    c->precision = o->precision;
    build_model(c, o->width);
    if (c->kind->data == DATA_FASHION && !strcmp(c->kind->name, "resnet20")) /* 28x28 with a border */
        c->data = soma_dataset_open(c->s, o->data, .crop = {32, 32});
    else if (c->kind->data == DATA_FASHION)
        c->data = soma_dataset_open(c->s, o->data);
    else if (c->m)
        c->data = c->kind->data == DATA_NOISE ? noise(c) : points(c, c->kind->data == DATA_LINE ? 1 : 2);
    c->loss = c->kind->data == DATA_LINE || c->kind->data == DATA_DISC ? "mean_squared_error" : NULL;
    if (c->kind == &c->other && c->m)
        c->other.forward_flops = counted_flops(c->m);
    if (!house_failed(c) && c->m && c->data)
        return true;
    house_close(c);
    return false;
}

void house_close(house_case *c)
{
    soma_close(c->s);
    free(c->x);
    free(c->y);
    free(c->labels);
    memset(c, 0, sizeof *c);
}

soma_fit_options house_fit(const house_case *c)
{
    return (soma_fit_options){.struct_size = sizeof(soma_fit_options),
                              .at = SOMA_AT,
                              .data = c->data,
                              .loss = c->loss,
                              .optimizer = c->optimizer,
                              .batch_size = c->batch,
                              .max_memory = c->max_memory,
                              .precision = c->precision,
                              .epochs = 1000000};
}
