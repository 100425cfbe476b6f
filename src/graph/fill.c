/* SPDX-License-Identifier: Apache-2.0
 *
 * graph/fill.c: initialisers. Numbers come from Philox by (seed, the tensor's name, position) and from base's
 * exact math, in f64, rounded once: the same bits on every machine and thread count. Knows no layers.
 *
 *   he_*       Kaiming He et al. 2015: variance 2 / fan_in; for relu
 *   glorot_*   Glorot and Bengio 2010: variance 2 / (fan_in + fan_out)
 *   lecun_*    LeCun et al. 1998: variance 1 / fan_in
 *
 * A uniform draw from -l to l has variance l^2 / 3. The normal ones are not truncated (PyTorch's are not, Keras'
 * are).
 */
#include "graph/fill.h"

#include "base/exact.h"
#include "base/random.h"
#include "tensor/element.h"

#include <string.h>

typedef enum soma_draw_kind { SOMA_DRAW_NONE, SOMA_DRAW_UNIFORM, SOMA_DRAW_NORMAL } soma_draw_kind;

/* none: every element is a; uniform: from a to b; normal: mean a, deviation b. */
typedef struct soma_fill {
    soma_draw_kind kind;
    double a, b;
} soma_fill;

typedef struct soma_fan {
    double in, out;
} soma_fan;

/* OIHW or [out, in]: what one output sums over, and what one input feeds. */
static soma_fan fan_of(const soma_model_tensor *t)
{
    const soma_shape *shape = &t->type.shape;
    soma_fan fan = {1, 1};
    if (shape->rank == 1)
        fan = (soma_fan){(double)shape->dim[0], (double)shape->dim[0]};
    if (shape->rank >= 2) {
        double field = 1;
        for (int i = 2; i < shape->rank; i++)
            field *= (double)shape->dim[i];
        fan = (soma_fan){(double)shape->dim[1] * field, (double)shape->dim[0] * field};
    }
    if (t->init.fan_in > 0)
        fan.in = (double)t->init.fan_in;
    if (t->init.fan_out > 0)
        fan.out = (double)t->init.fan_out;
    return fan;
}

static soma_fill uniform_of_variance(double variance)
{
    double limit = soma_exact_sqrt(3 * variance);
    return (soma_fill){SOMA_DRAW_UNIFORM, -limit, limit};
}

static soma_fill normal_of_variance(double variance)
{
    return (soma_fill){SOMA_DRAW_NORMAL, 0, soma_exact_sqrt(variance)};
}

static soma_fill fill_zeros(const soma_model_tensor *t)
{
    (void)t;
    return (soma_fill){SOMA_DRAW_NONE, 0, 0};
}

static soma_fill fill_ones(const soma_model_tensor *t)
{
    (void)t;
    return (soma_fill){SOMA_DRAW_NONE, 1, 0};
}

static soma_fill fill_constant(const soma_model_tensor *t)
{
    return (soma_fill){SOMA_DRAW_NONE, t->init.a, 0};
}

static soma_fill fill_uniform(const soma_model_tensor *t)
{
    bool unset = t->init.a == 0 && t->init.b == 0;
    return (soma_fill){SOMA_DRAW_UNIFORM, t->init.a, unset ? 1 : t->init.b};
}

static soma_fill fill_normal(const soma_model_tensor *t)
{
    bool unset = t->init.a == 0 && t->init.b == 0;
    return (soma_fill){SOMA_DRAW_NORMAL, t->init.a, unset ? 1 : t->init.b};
}

static soma_fill fill_he_uniform(const soma_model_tensor *t)
{
    return uniform_of_variance(2 / fan_of(t).in);
}

static soma_fill fill_he_normal(const soma_model_tensor *t)
{
    return normal_of_variance(2 / fan_of(t).in);
}

static soma_fill fill_glorot_uniform(const soma_model_tensor *t)
{
    soma_fan fan = fan_of(t);
    return uniform_of_variance(2 / (fan.in + fan.out));
}

static soma_fill fill_glorot_normal(const soma_model_tensor *t)
{
    soma_fan fan = fan_of(t);
    return normal_of_variance(2 / (fan.in + fan.out));
}

static soma_fill fill_lecun_uniform(const soma_model_tensor *t)
{
    return uniform_of_variance(1 / fan_of(t).in);
}

/* He et al. by what leaves instead of what enters: torch.nn.init.kaiming_normal_(mode="fan_out"). */
static soma_fill fill_he_normal_out(const soma_model_tensor *t)
{
    return normal_of_variance(2 / fan_of(t).out);
}

/* What torch.nn.Linear and Conv2d begin with: from -l to l, l = 1 / sqrt(fan_in). */
static soma_fill fill_pytorch_uniform(const soma_model_tensor *t)
{
    return uniform_of_variance(1 / (3 * fan_of(t).in));
}

#define SOMA_INIT_LIST(X)                                                                                              \
    X(zeros)                                                                                                           \
    X(ones)                                                                                                            \
    X(constant)                                                                                                        \
    X(uniform)                                                                                                         \
    X(normal)                                                                                                          \
    X(he_uniform) X(he_normal) X(glorot_uniform) X(glorot_normal) X(lecun_uniform) X(he_normal_out) X(pytorch_uniform)
#define SOMA_INIT_NAME(name) #name,
#define SOMA_INIT_FILL(name) fill_##name,

const char *const soma_init_names[] = {SOMA_INIT_LIST(SOMA_INIT_NAME) NULL};
static soma_fill (*const init_fills[])(const soma_model_tensor *) = {SOMA_INIT_LIST(SOMA_INIT_FILL)};

static int init_index(const char *name)
{
    if (!name)
        return 0;
    for (int i = 0; soma_init_names[i]; i++)
        if (strcmp(soma_init_names[i], name) == 0)
            return i;
    return -1;
}

bool soma_init_known(const char *name)
{
    return init_index(name) >= 0;
}

/* In (0, 1), symmetric about 1/2, never 0: fit for the logarithm below. */
static double unit(uint32_t bits)
{
    return ((double)bits + 0.5) * 0x1p-32;
}

/* Four numbers of draw block `index`. Normal: Box and Muller 1958, r = sqrt(-2 ln u), r cos(2 pi v), r sin(2 pi
 * v). */
static void draw_block(const soma_random *random, uint64_t seed, const soma_model_tensor *t, const soma_fill *fill,
                       uint64_t index, double out[4])
{
    uint32_t bits[4];
    soma_draw(random, seed, SOMA_STREAM_INIT, t->site, 0, index, bits);
    if (fill->kind == SOMA_DRAW_UNIFORM) {
        for (int i = 0; i < 4; i++)
            out[i] = fill->a + (fill->b - fill->a) * unit(bits[i]);
        return;
    }
    for (int i = 0; i < 4; i += 2) {
        double radius = soma_exact_sqrt(-2 * soma_exact_log(unit(bits[i])));
        double angle = 6.283185307179586 * unit(bits[i + 1]);
        out[i] = fill->a + fill->b * (radius * soma_exact_cos(angle));
        out[i + 1] = fill->a + fill->b * (radius * soma_exact_sin(angle));
    }
}

soma_status soma_fill_tensor(const soma_random *random, uint64_t seed, const soma_model_tensor *t, void *data)
{
    int index = init_index(t->init.init);
    if (index < 0)
        return SOMA_INVALID;
    soma_fill fill = init_fills[index](t);
    int64_t n = soma_shape_elements(&t->type.shape);
    if (fill.kind == SOMA_DRAW_NONE) {
        for (int64_t i = 0; i < n; i++)
            soma_set(data, t->type.dtype, i, fill.a);
        return SOMA_OK;
    }
    for (int64_t i = 0; i < n; i += 4) {
        double number[4];
        draw_block(random, seed, t, &fill, (uint64_t)(i / 4), number);
        for (int j = 0; j < 4 && i + j < n; j++)
            soma_set(data, t->type.dtype, i + j, number[j]);
    }
    return SOMA_OK;
}
