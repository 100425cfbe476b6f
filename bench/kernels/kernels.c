/* SPDX-License-Identifier: Apache-2.0
 *
 * soma-bench-kernels: every kernel of convolution, matmul and pooling on the shapes of the models, one by one, in
 * GFLOPS (or GB/s) beside the machine's FMA peak. Prepares kernels as a program would, but in a buffer of its own: what
 * a kernel can do when its arrays are in the cache.
 *
 *     soma-bench-kernels [threads [part of a case's name [nhwc or nChw16c: the layout of activations]]]
 */
#include "../machine/peak.h"
#include "cpu/parallel.h"
#include "base/random.h"
#include "compile/kernel.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ARGS 6
#define KERNELS 16 /* of one op and level, more than there are */

typedef struct bench_case {
    const char *name, *op, *attrs;
    int n_in, n_out;
    soma_shape shape[ARGS]; /* inputs; rank -1: absent */
    int index;              /* input of class indices, or -1 */
} bench_case;

#define S(...)                                                                                                         \
    {                                                                                                                  \
        (int)(sizeof((int64_t[]){__VA_ARGS__}) / sizeof(int64_t)),                                                     \
        {                                                                                                              \
            __VA_ARGS__                                                                                                \
        }                                                                                                              \
    }
#define CONV(name, n, c, h, w, k, kh, oh, ow, pad)                                                                     \
    {name " forward", "conv2d", "pad=" pad " activation=relu", 3, 1, {S(n, c, h, w), S(k, c, kh, kh), S(k)}, -1},      \
        {name " input",                                                                                                \
         "conv2d_input_grad",                                                                                          \
         "pad=" pad " size=" #h "," #w,                                                                                \
         2,                                                                                                            \
         1,                                                                                                            \
         {S(n, k, oh, ow), S(k, c, kh, kh)},                                                                           \
         -1},                                                                                                          \
    {                                                                                                                  \
        name " weights", "conv2d_weight_grad", "pad=" pad " size=" #kh "," #kh, 2, 2,                                  \
            {S(n, c, h, w), S(n, k, oh, ow)}, -1                                                                       \
    }
#define SAME(name, n, c, k, h) CONV(name, n, c, h, h, k, 3, h, h, "1,1,1,1")
#define POINTWISE(name, n, c, k, h, s, oh)                                                                             \
    {name " forward", "conv2d", "activation=relu stride=" #s "," #s, 3, 1, {S(n, c, h, h), S(k, c, 1, 1), S(k)}, -1},  \
        {name " input",                                                                                                \
         "conv2d_input_grad",                                                                                          \
         "stride=" #s "," #s " size=" #h "," #h,                                                                       \
         2,                                                                                                            \
         1,                                                                                                            \
         {S(n, k, oh, oh), S(k, c, 1, 1)},                                                                             \
         -1},                                                                                                          \
    {                                                                                                                  \
        name " weights", "conv2d_weight_grad", "stride=" #s "," #s " size=1,1", 2, 1,                                  \
            {S(n, c, h, h), S(n, k, oh, oh)}, -1                                                                       \
    }
/* 3x3 windows with stride 2 */
#define STRIDED(name, n, c, k, h, oh)                                                                                  \
    {name " forward", "conv2d", "pad=1,1,1,1 stride=2,2", 2, 1, {S(n, c, h, h), S(k, c, 3, 3)}, -1},                   \
        {name " input",                                                                                                \
         "conv2d_input_grad",                                                                                          \
         "pad=1,1,1,1 stride=2,2 size=" #h "," #h,                                                                     \
         2,                                                                                                            \
         1,                                                                                                            \
         {S(n, k, oh, oh), S(k, c, 3, 3)},                                                                             \
         -1},                                                                                                          \
    {                                                                                                                  \
        name " weights", "conv2d_weight_grad", "pad=1,1,1,1 stride=2,2 size=3,3", 2, 1,                                \
            {S(n, c, h, h), S(n, k, oh, oh)}, -1                                                                       \
    }
#define DEPTHWISE(name, n, c, h, s, oh)                                                                                \
    {name " forward",                                                                                                  \
     "conv2d",                                                                                                         \
     "pad=1,1,1,1 activation=relu6 groups=" #c " stride=" #s "," #s,                                                   \
     3,                                                                                                                \
     1,                                                                                                                \
     {S(n, c, h, h), S(c, 1, 3, 3), S(c)},                                                                             \
     -1},                                                                                                              \
        {name " input",                                                                                                \
         "conv2d_input_grad",                                                                                          \
         "pad=1,1,1,1 groups=" #c " stride=" #s "," #s " size=" #h "," #h,                                             \
         2,                                                                                                            \
         1,                                                                                                            \
         {S(n, c, oh, oh), S(c, 1, 3, 3)},                                                                             \
         -1},                                                                                                          \
    {                                                                                                                  \
        name " weights", "conv2d_weight_grad", "pad=1,1,1,1 groups=" #c " stride=" #s "," #s " size=3,3", 2, 1,        \
            {S(n, c, h, h), S(n, c, oh, oh)}, -1                                                                       \
    }
#define DENSE(name, n, from, to)                                                                                       \
    {name " forward", "matmul", "transpose_b=true activation=relu", 3, 1, {S(n, from), S(to, from), S(to)}, -1},       \
        {name " input", "matmul", NULL, 2, 1, {S(n, to), S(to, from)}, -1},                                            \
    {                                                                                                                  \
        name " weights", "matmul", "transpose_a=true", 2, 1, {S(n, to), S(n, from)}, -1                                \
    }
#define POOL(name, n, c, h, w, oh, ow)                                                                                 \
    {name " forward", "max_pool2d", NULL, 1, 2, {S(n, c, h, w)}, -1},                                                  \
    {                                                                                                                  \
        name " gradient", "max_pool2d_grad", "gate=relu input_size=" #h "," #w, 3, 1,                                  \
            {S(n, c, oh, ow), S(n, c, oh, ow), S(n, c, oh, ow)}, 1                                                     \
    }

#define WINDOWS(name, attrs, n, c, h, w, oh, ow)                                                                       \
    {name " forward", "max_pool2d", attrs, 1, 2, {S(n, c, h, w)}, -1},                                                 \
    {                                                                                                                  \
        name " gradient", "max_pool2d_grad", attrs " input_size=" #h "," #w, 2, 1, {S(n, c, oh, ow), S(n, c, oh, ow)}, \
            1                                                                                                          \
    }

static const bench_case cases[] = {
    DEPTHWISE("dw 32x112 b16", 16, 32, 112, 1, 112),
    DEPTHWISE("dw 96x112/2 b16", 16, 96, 112, 2, 56),
    DEPTHWISE("dw 144x56 b16", 16, 144, 56, 1, 56),
    DEPTHWISE("dw 192x28/2 b16", 16, 192, 28, 2, 14),
    DEPTHWISE("dw 384x14 b16", 16, 384, 14, 1, 14),
    DEPTHWISE("dw 576x14/2 b16", 16, 576, 14, 2, 7),
    DEPTHWISE("dw 960x7 b16", 16, 960, 7, 1, 7),
    CONV("pw 16-96x112 b16", 16, 16, 112, 112, 96, 1, 112, 112, "0,0,0,0"),
    CONV("pw 96-24x56 b16", 16, 96, 56, 56, 24, 1, 56, 56, "0,0,0,0"),
    CONV("pw 24-144x56 b16", 16, 24, 56, 56, 144, 1, 56, 56, "0,0,0,0"),
    CONV("pw 144-24x56 b16", 16, 144, 56, 56, 24, 1, 56, 56, "0,0,0,0"),
    CONV("pw 144-32x28 b16", 16, 144, 28, 28, 32, 1, 28, 28, "0,0,0,0"),
    CONV("pw 32-192x28 b16", 16, 32, 28, 28, 192, 1, 28, 28, "0,0,0,0"),
    CONV("pw 64-384x14 b16", 16, 64, 14, 14, 384, 1, 14, 14, "0,0,0,0"),
    CONV("pw 384-64x14 b16", 16, 384, 14, 14, 64, 1, 14, 14, "0,0,0,0"),
    CONV("pw 160-960x7 b16", 16, 160, 7, 7, 960, 1, 7, 7, "0,0,0,0"),
    CONV("pw 960-160x7 b16", 16, 960, 7, 7, 160, 1, 7, 7, "0,0,0,0"),
    DEPTHWISE("dw 32x112 b1", 1, 32, 112, 1, 112),
    DEPTHWISE("dw 96x112/2 b1", 1, 96, 112, 2, 56),
    DEPTHWISE("dw 144x56 b1", 1, 144, 56, 1, 56),
    DEPTHWISE("dw 384x14 b1", 1, 384, 14, 1, 14),
    DEPTHWISE("dw 960x7 b1", 1, 960, 7, 1, 7),
    WINDOWS("pool 64x112 3x3/2 pad b16", "size=3,3 stride=2,2 pad=1,1,1,1", 16, 64, 112, 112, 56, 56),
    WINDOWS("pool 96x54 3x3/2 ceil b16", "size=3,3 stride=2,2 ceil_mode=true", 16, 96, 54, 54, 27, 27),
    WINDOWS("pool 64x112 2x2/2 b16", "size=2,2 stride=2,2", 16, 64, 112, 112, 56, 56),
    {"global 2048x7 b16 forward", "adaptive_average_pool2d", NULL, 1, 1, {S(16, 2048, 7, 7)}, -1},
    {"global 2048x7 b16 gradient", "adaptive_average_pool2d_grad", "input_size=7,7", 1, 1, {S(16, 2048, 1, 1)}, -1},
    {"global 512x14 b16 forward", "adaptive_average_pool2d", NULL, 1, 1, {S(16, 512, 14, 14)}, -1},
    {"average 128x56 b16 forward", "average_pool2d", "size=2,2 stride=2,2", 1, 1, {S(16, 128, 56, 56)}, -1},
    {"average 128x56 b16 gradient",
     "average_pool2d_grad",
     "size=2,2 stride=2,2 input_size=56,56",
     1,
     1,
     {S(16, 128, 28, 28)},
     -1},
    {"lrn 96x55 b16 forward", "local_response_norm", NULL, 1, 1, {S(16, 96, 55, 55)}, -1},
    {"lrn 96x55 b16 gradient", "local_response_norm_grad", NULL, 2, 1, {S(16, 96, 55, 55), S(16, 96, 55, 55)}, -1},
    {"dropout 64x56 b16", "dropout", NULL, 1, 1, {S(16, 64, 56, 56)}, -1},
    {"dropout maps 64x56 b16", "dropout", "maps=true", 1, 1, {S(16, 64, 56, 56)}, -1},
    CONV("fashion conv1 b128", 128, 1, 28, 28, 32, 3, 28, 28, "1,1,1,1"),
    CONV("fashion conv1 b16", 16, 1, 28, 28, 32, 3, 28, 28, "1,1,1,1"),
    CONV("fashion conv2 b128", 128, 32, 14, 14, 64, 3, 14, 14, "1,1,1,1"),
    CONV("fashion conv2 b16", 16, 32, 14, 14, 64, 3, 14, 14, "1,1,1,1"),
    DENSE("fashion dense1 b128", 128, 3136, 128),
    DENSE("fashion dense1 b16", 16, 3136, 128),
    DENSE("fashion dense2 b128", 128, 128, 10),
    DENSE("fashion dense2 b16", 16, 128, 10),
    POOL("fashion pool1 b128", 128, 32, 28, 28, 14, 14),
    POOL("fashion pool1 b16", 16, 32, 28, 28, 14, 14),
    POOL("fashion pool2 b16", 16, 64, 14, 14, 7, 7),
    CONV("Net conv1 b32", 32, 3, 32, 32, 6, 5, 28, 28, "0,0,0,0"),
    CONV("Net conv2 b32", 32, 6, 14, 14, 16, 5, 10, 10, "0,0,0,0"),
    POOL("Net pool1 b32", 32, 6, 28, 28, 14, 14),
    DENSE("Net dense1 b32", 32, 400, 120),
    DENSE("Net dense2 b32", 32, 120, 84),
    DENSE("Net dense3 b32", 32, 84, 10),
    CONV("lenet conv1 b128", 128, 1, 28, 28, 6, 5, 28, 28, "2,2,2,2"),
    CONV("lenet conv2 b128", 128, 6, 14, 14, 16, 5, 10, 10, "0,0,0,0"),
    CONV("vgg conv1 b32", 32, 3, 100, 100, 32, 3, 98, 98, "0,0,0,0"),
    CONV("vgg conv2 b32", 32, 32, 98, 98, 32, 3, 96, 96, "0,0,0,0"),
    POOL("vgg pool1 b32", 32, 32, 96, 96, 48, 48),
    CONV("vgg conv3 b32", 32, 32, 48, 48, 64, 3, 46, 46, "0,0,0,0"),
    CONV("vgg conv4 b32", 32, 64, 46, 46, 64, 3, 44, 44, "0,0,0,0"),
    DENSE("vgg dense1 b32", 32, 30976, 256),
    SAME("VGG-16 64-64 224 b8", 8, 64, 64, 224),
    SAME("VGG-16 64-128 112 b8", 8, 64, 128, 112),
    SAME("VGG-16 128-128 112 b8", 8, 128, 128, 112),
    SAME("VGG-16 128-256 56 b8", 8, 128, 256, 56),
    SAME("VGG-16 256-256 56 b8", 8, 256, 256, 56),
    SAME("VGG-16 256-512 28 b8", 8, 256, 512, 28),
    SAME("VGG-16 512-512 28 b8", 8, 512, 512, 28),
    SAME("VGG-16 512-512 14 b8", 8, 512, 512, 14),
    SAME("VGG-16 64-64 224 b1", 1, 64, 64, 224),
    SAME("VGG-16 64-128 112 b1", 1, 64, 128, 112),
    SAME("VGG-16 128-128 112 b1", 1, 128, 128, 112),
    SAME("VGG-16 128-256 56 b1", 1, 128, 256, 56),
    SAME("VGG-16 256-256 56 b1", 1, 256, 256, 56),
    SAME("VGG-16 256-512 28 b1", 1, 256, 512, 28),
    SAME("VGG-16 512-512 28 b1", 1, 512, 512, 28),
    SAME("VGG-16 512-512 14 b1", 1, 512, 512, 14),
    SAME("ResNet 64-64 56 b16", 16, 64, 64, 56),
    SAME("ResNet 128-128 28 b16", 16, 128, 128, 28),
    SAME("ResNet 256-256 14 b16", 16, 256, 256, 14),
    SAME("ResNet 512-512 7 b16", 16, 512, 512, 7),
    SAME("ResNet 64-64 56 b1", 1, 64, 64, 56),
    SAME("ResNet 128-128 28 b1", 1, 128, 128, 28),
    SAME("ResNet 256-256 14 b1", 1, 256, 256, 14),
    SAME("ResNet 512-512 7 b1", 1, 512, 512, 7),
    POINTWISE("point 64-64 56 b16", 16, 64, 64, 56, 1, 56),
    POINTWISE("point 64-256 56 b16", 16, 64, 256, 56, 1, 56),
    POINTWISE("point 256-64 56 b16", 16, 256, 64, 56, 1, 56),
    POINTWISE("point 512-128 28 b16", 16, 512, 128, 28, 1, 28),
    POINTWISE("point 128-512 28 b16", 16, 128, 512, 28, 1, 28),
    POINTWISE("point 1024-256 14 b16", 16, 1024, 256, 14, 1, 14),
    POINTWISE("point 256-1024 14 b16", 16, 256, 1024, 14, 1, 14),
    POINTWISE("point 2048-512 7 b16", 16, 2048, 512, 7, 1, 7),
    POINTWISE("point 512-2048 7 b16", 16, 512, 2048, 7, 1, 7),
    POINTWISE("point 256-512 56/2 b16", 16, 256, 512, 56, 2, 28),
    POINTWISE("point 512-1024 28/2 b16", 16, 512, 1024, 28, 2, 14),
    POINTWISE("point 1024-2048 14/2 b16", 16, 1024, 2048, 14, 2, 7),
    STRIDED("strided 128 56/2 b16", 16, 128, 128, 56, 28),
    STRIDED("strided 256 28/2 b16", 16, 256, 256, 28, 14),
    STRIDED("strided 512 14/2 b16", 16, 512, 512, 14, 7),
    STRIDED("strided 64-128 56/2 b16", 16, 64, 128, 56, 28),
    POINTWISE("point 64-64 56 b1", 1, 64, 64, 56, 1, 56),
    POINTWISE("point 64-256 56 b1", 1, 64, 256, 56, 1, 56),
    POINTWISE("point 256-64 56 b1", 1, 256, 64, 56, 1, 56),
    POINTWISE("point 512-128 28 b1", 1, 512, 128, 28, 1, 28),
    POINTWISE("point 128-512 28 b1", 1, 128, 512, 28, 1, 28),
    POINTWISE("point 1024-256 14 b1", 1, 1024, 256, 14, 1, 14),
    POINTWISE("point 256-1024 14 b1", 1, 256, 1024, 14, 1, 14),
    POINTWISE("point 2048-512 7 b1", 1, 2048, 512, 7, 1, 7),
    POINTWISE("point 512-2048 7 b1", 1, 512, 2048, 7, 1, 7),
    POINTWISE("point 256-512 56/2 b1", 1, 256, 512, 56, 2, 28),
    POINTWISE("point 512-1024 28/2 b1", 1, 512, 1024, 28, 2, 14),
    POINTWISE("point 1024-2048 14/2 b1", 1, 1024, 2048, 14, 2, 7),
    SAME("narrow 16-16 32 b128", 128, 16, 16, 32),
    SAME("narrow 32-32 16 b128", 128, 32, 32, 16),
    SAME("narrow 64-64 8 b128", 128, 64, 64, 8),
    SAME("narrow 16-64 56 b16", 16, 16, 64, 56),
    SAME("narrow 128-32 28 b16", 16, 128, 32, 28),
    SAME("narrow 128-32 7 b16", 16, 128, 32, 7),
    DENSE("mlp dense1 b128", 128, 784, 512),
    DENSE("mlp dense2 b128", 128, 512, 512),
    DENSE("mlp dense3 b128", 128, 512, 10),
    DENSE("small 256-128 b32", 32, 256, 128),
    DENSE("small 128-64 b32", 32, 128, 64),
    DENSE("neuron b32", 32, 1, 1),
    DENSE("2-4 b10", 10, 2, 4),
    DENSE("4-2 b10", 10, 4, 2),
    DENSE("2-1 b10", 10, 2, 1),
    DENSE("8-8 b10", 10, 8, 8),
};

typedef struct bench {
    soma *s;
    soma_kernel_call call;
    void *data[ARGS + 1];
    int64_t attrs[32];
    char reason[SOMA_REASON_MAX];
    const soma_kernel *kernel;
    soma_status status;
    int64_t repeat; /* runs in a sample */
    double best;    /* seconds of one run */
} bench;

static soma_status infer(bench *b, const bench_case *c, const soma_op *op, soma_type *type)
{
    soma_status status = soma_attrs_parse(op, b->attrs, c->attrs, b->reason);
    for (int i = 0; i < c->n_in; i++)
        type[i] = (soma_type){i == c->index ? SOMA_U8 : SOMA_F32, c->shape[i]};
    soma_infer i = {b->attrs, c->n_in, c->n_out, type, type + c->n_in, b->reason};
    return status == SOMA_OK ? op->infer(&i) : status;
}

static soma_layout_kind forced = SOMA_PLAIN; /* plain: nothing is forced */

/* Layouts as the kernel wishes; a kernel that takes any gets blocked ones where they fit, as beside convolutions, but
 * for small images (7 x 7 and less): a dense layer comes next, and y and dy are plain. */
static void choose_layouts(const soma_kernel *k, int n, const soma_type *type, soma_layout_kind *kinds)
{
    bool any = k->layouts == SOMA_LAYOUT_CONVERT || k->layouts == SOMA_LAYOUT_FOLLOW;
    for (int i = 0; i < n; i++) {
        const int64_t *dim = type[i].shape.dim;
        bool activation = type[i].shape.rank == 4 && dim[0] == type[0].shape.dim[0];
        kinds[i] = SOMA_PLAIN;
        if (activation && (forced || !any))
            kinds[i] = forced;
        else if (activation && (dim[2] > 7 || type[i].dtype != SOMA_F32))
            kinds[i] = dim[1] % 16 ? SOMA_NHWC : SOMA_NCHW16C;
    }
}

static soma_status prepare(bench *b, const bench_case *c, const soma_kernel *k, int threads)
{
    const soma_op *op = soma_op_find(c->op);
    soma_type type[ARGS];
    soma_layout_kind kinds[ARGS];
    int n = c->n_in + c->n_out;
    b->s = soma_open(NULL);
    soma_status status = infer(b, c, op, type);
    soma_status opened = soma_kernel_open(&b->call, b->s, op, b->attrs, c->n_in, c->n_out, type);
    if (status != SOMA_OK || opened != SOMA_OK)
        return status != SOMA_OK ? status : opened;
    b->call.view.args[1].constant = true; /* what multiplies, as in a program that predicts */
    b->call.view.prepare.threads = threads;
    choose_layouts(k, n, type, kinds);
    status = soma_kernel_prepare(&b->call, k, kinds);
    for (int i = 0; i < n && status == SOMA_OK; i++) {
        size_t bytes = soma_arg_bytes(&b->call.view.args[i]);
        b->data[i] = soma_alloc(b->s, bytes);
        for (size_t j = 0; j < bytes / 4 && type[i].dtype == SOMA_F32; j++)
            ((float *)b->data[i])[j] = (float)((j * 2654435761u >> 8 & 1023u)) / 512.0f - 1.0f;
        for (size_t j = 0; j < bytes && type[i].dtype == SOMA_U8; j++)
            ((uint8_t *)b->data[i])[j] = (uint8_t)(j & 3);
    }
    if (status == SOMA_OK && b->call.view.prepare.scratch)
        b->data[n] = soma_alloc(b->s, b->call.view.prepare.scratch);
    return status;
}

static void finish(bench *b)
{
    for (int i = 0; i <= ARGS; i++)
        soma_release(b->s, b->data[i]);
    soma_kernel_close(&b->call);
    soma_close(b->s);
}

/* One sample, of 100 us and more, after a run that brings back the arrays which other kernels drove out. */
static void sample(bench *b)
{
    soma_run run = {.threads = b->call.view.prepare.threads, .reason = b->reason};
    double time = 0;
    soma_kernel_run(&b->call, b->data, &run);
    for (;; b->repeat *= 2) {
        double from = soma_now(b->s);
        for (int64_t i = 0; i < b->repeat; i++)
            soma_kernel_run(&b->call, b->data, &run);
        time = soma_now(b->s) - from;
        if (time >= 100e-6)
            break;
    }
    if (b->best == 0 || time / (double)b->repeat < b->best)
        b->best = time / (double)b->repeat;
}

/* Level 4 is for bf16. */
static int f32_isa(void)
{
#ifdef SOMA_BF16_EMULATED
    return 2;
#endif
    return soma_cpu_isa() < 4 ? soma_cpu_isa() : 3;
}

static void print(bench *b, const bench_case *c, double peak)
{
    double bytes = 0, flops = 0;
    if (b->status != SOMA_OK) {
        printf("%-30s %-15s refused: %s\n", c->name, b->kernel->name, b->reason[0] ? b->reason : b->call.view.reason);
        return;
    }
    const soma_prepare *p = &b->call.view.prepare;
    for (int i = 0; i < c->n_in + c->n_out; i++)
        bytes += (double)soma_arg_bytes(&p->in[i]);
    if (p->op->flops)
        flops = p->op->flops(b->attrs, p->in, c->n_in, p->out);
    printf("%-30s %-15s %10.3f us %8.1f GFLOPS %5.1f %% %7.1f GB/s  %s\n", c->name, b->kernel->name, b->best * 1e6,
           flops / b->best / 1e9, flops / b->best / 1e7 / peak, bytes / b->best / 1e9, p->note);
}

/* The best of many short samples, so that other work on the machine disturbs least; kernels take turns, so that it
 * disturbs all of them alike. */
static void run_case(const bench_case *c, int threads, double peak)
{
    static bench b[KERNELS];
    const soma_op *op = soma_op_find(c->op);
    int n = 0, working = 0;
    for (int k = 0; op->kernels[k] && op->kernels[k + 1] && n < KERNELS; k++) {
        if (op->kernels[k]->isa > 0 && op->kernels[k]->isa != f32_isa())
            continue;
        if (!strncmp(op->kernels[k]->name, "cpu", 3) && !op->kernels[k]->isa)
            continue;
        b[n] = (bench){.kernel = op->kernels[k], .repeat = 1};
        b[n].status = prepare(&b[n], c, op->kernels[k], threads);
        working += b[n++].status == SOMA_OK;
    }
    double begin = n ? soma_now(b[0].s) : 0;
    for (int round = 0; working && (round < 12 || soma_now(b[0].s) - begin < 0.15 * working); round++)
        for (int i = 0; i < n; i++)
            if (b[i].status == SOMA_OK)
                sample(&b[i]);
    for (int i = 0; i < n; i++) {
        print(&b[i], c, peak);
        finish(&b[i]);
    }
    fflush(stdout);
}

int main(int n, char **arg)
{
    int threads = n > 1 ? atoi(arg[1]) : 2;
    if (threads < 1)
        threads = 1;
    if (n > 3)
        forced = !strcmp(arg[3], "nhwc") ? SOMA_NHWC : SOMA_NCHW16C; /* only where it fits */
    double peak = soma_bench_peak_gflops(threads, 0.2);
    printf("threads %d, FMA peak %.0f GFLOPS, memory %.1f GB/s\n", threads, peak,
           soma_bench_bandwidth_gbs(threads, 0.2));
    int before = soma_parallel_enter(threads);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        if (n < 3 || strstr(cases[i].name, arg[2]))
            run_case(&cases[i], threads, peak);
    soma_parallel_leave(before);
    printf("FMA peak afterwards %.0f GFLOPS\n", soma_bench_peak_gflops(threads, 0.2));
    return 0;
}
