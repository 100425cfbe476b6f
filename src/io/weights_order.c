/* SPDX-License-Identifier: Apache-2.0
 *
 * io/weights_order.c: names and element orders of Keras' weights in terms of soma's, which are PyTorch's. Knows no
 * files.
 *
 *   Conv2D           kernel [h, w, in, out]        weight [out, in, h, w]
 *   DepthwiseConv2D  depthwise_kernel [h, w, c, m] weight [c m, 1, h, w]
 *   Dense            kernel [in, out]              weight [out, in]; behind a flatten `in` is H, W, C, not C, H, W
 *   BatchNorm        gamma, beta, moving_mean, moving_variance: weight, bias, running_mean, running_var
 */
#include "io/weights.h"

#include <string.h>

static const soma_rename endings[] = {
    {"kernel", "weight"}, {"depthwise_kernel", "weight"},  {"gamma", "weight"},
    {"beta", "bias"},     {"moving_mean", "running_mean"}, {"moving_variance", "running_var"}};

const char *soma_weights_keras_name(soma_arena *arena, const char *name)
{
    char *text = soma_arena_text(arena, name);
    if (!text)
        return NULL;
    size_t n = strlen(text);
    if (n > 2 && !strcmp(text + n - 2, ":0"))
        text[n - 2] = 0;
    for (char *c = text; *c; c++)
        if (*c == '/')
            *c = '.';
    char *dot = strrchr(text, '.');
    for (size_t i = 0; dot && i < sizeof endings / sizeof *endings; i++)
        if (!strcmp(dot + 1, endings[i].from)) {
            *dot = 0;
            return soma_arena_format(arena, "%s.%s", text, endings[i].to);
        }
    return text;
}

static const soma_graph_node *maker(const soma_graph *g, int32_t value)
{
    return value >= 0 && g->values[value].kind == SOMA_VALUE_COMPUTED ? &g->nodes[g->values[value].node] : NULL;
}

/* The node that multiplies by this tensor; NULL where none does. */
static const soma_graph_node *matmul_of(const soma_model *m, int tensor)
{
    const soma_graph *g = m->graph;
    for (int i = 0; i < g->n_nodes; i++) {
        const soma_graph_node *node = &g->nodes[i];
        if (!strcmp(node->op->name, "matmul") && node->in[1] >= 0 && g->values[node->in[1]].kind == SOMA_VALUE_TENSOR &&
            g->values[node->in[1]].tensor == tensor)
            return node;
    }
    return NULL;
}

/* The shape [N, C, H, W] that was flattened into the input of the layer with this tensor; rank 0 where none was.
 * Between them only ops may stand that keep places: dropout, activations. */
static soma_shape flattened(const soma_model *m, int tensor)
{
    const soma_graph *g = m->graph;
    const soma_graph_node *node = matmul_of(m, tensor);
    soma_shape none = {.rank = 0};
    int32_t x = node ? node->in[0] : -1;
    while ((node = maker(g, x))) {
        const soma_shape *in = &g->values[node->in[0]].type.shape, *out = &g->values[x].type.shape;
        if (!strcmp(node->op->name, "reshape"))
            return in->rank == 4 ? *in : none;
        if (in->rank != 2 || in->dim[1] != out->dim[1] || !strcmp(node->op->name, "matmul"))
            return none;
        x = node->in[0];
    }
    return none;
}

static void keras_order(const soma_model *m, soma_move *move)
{
    const soma_shape *own = &move->shape;
    int64_t out = own->dim[0];
    if (own->rank == 4) {
        int64_t in = own->dim[1], h = own->dim[2], w = own->dim[3];
        bool depthwise = strstr(move->from->name, "depthwise_kernel") && in == 1 && move->from->shape.rank == 4;
        move->want = depthwise ? (soma_shape){4, {h, w, move->from->shape.dim[2], 0}}
                               : (soma_shape){4, {h, w, in, out}};
        if (depthwise)
            move->want.dim[3] = move->want.dim[2] > 0 ? out / move->want.dim[2] : 0;
        const int64_t stride[4] = {1, out, w * in * out, in * out};
        memcpy(move->stride, stride, sizeof stride);
    } else if (own->rank == 2) {
        soma_shape x = flattened(m, move->to);
        move->want = (soma_shape){2, {own->dim[1], out}};
        if (x.rank == 4) {
            int64_t c = x.dim[1], h = x.dim[2], w = x.dim[3];
            const int64_t stride[4] = {1, out, w * c * out, c * out};
            move->shape = (soma_shape){4, {out, c, h, w}};
            memcpy(move->stride, stride, sizeof stride);
        } else {
            move->stride[0] = 1;
            move->stride[1] = out;
        }
    }
}

void soma_weights_order(const soma_model *m, soma_move *move, bool keras)
{
    move->shape = move->want = m->tensors[move->to].type.shape;
    int64_t step = 1;
    for (int i = move->shape.rank - 1; i >= 0; i--) {
        move->stride[i] = step;
        step *= move->shape.dim[i];
    }
    if (keras)
        keras_order(m, move);
}
