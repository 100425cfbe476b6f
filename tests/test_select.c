/* SPDX-License-Identifier: Apache-2.0
 *
 * How a kernel is chosen: what can, what the fixed rule on shapes prefers, what is left when neither will; and layouts
 * that need no reorder. tests/test_tune.c is about the clock and the record.
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
#include <soma/soma.h>

/* ---- an op y = x whose kernels do as they are told ---- */

static soma_status copy(const void *state, void *const *arg, soma_run *run)
{
    (void)run;
    memcpy(arg[1], arg[0], *(const size_t *)state);
    return SOMA_OK;
}

static soma_status prepare(soma_prepare *p)
{
    size_t *bytes = soma_prepare_state(p, sizeof *bytes);
    if (!bytes)
        return SOMA_MEMORY;
    *bytes = (size_t)p->in[0].elements * sizeof(float);
    p->run = copy;
    p->state = bytes;
    return SOMA_OK;
}

static soma_status prepare_not(soma_prepare *p)
{
    soma_refuse(p->reason, "prepare will not");
    return SOMA_UNSUPPORTED;
}

static soma_status accept_not(soma_prepare *p)
{
    soma_refuse(p->reason, "accept will not");
    return SOMA_UNSUPPORTED;
}

static bool suits_wide(const soma_prepare *p)
{
    return p->in[0].shape.dim[1] >= 8;
}

static bool suits_not(const soma_prepare *p)
{
    (void)p;
    return false;
}

static soma_status infer(soma_infer *i)
{
    i->out[0] = i->in[0];
    return SOMA_OK;
}

static const soma_kernel cannot = {.name = "cannot", .accept = accept_not, .prepare = prepare};
static const soma_kernel fails = {.name = "fails", .prepare = prepare_not};
static const soma_kernel wide = {.name = "wide", .suits = suits_wide, .prepare = prepare};
static const soma_kernel never = {.name = "never", .suits = suits_not, .prepare = prepare};
static const soma_kernel last = {.name = "last", .exact = true, .prepare = prepare};

/* The plan's only node for a model of that op over x [N, width]. */
static void check(const soma_kernel *const *kernels, int64_t width, const char *chosen, const char *refused)
{
    soma *s = soma_open(NULL);
    soma_op op = {
        .name = "told", .doc = "y = x", .required_in = 1, .required_out = 1, .infer = infer, .kernels = kernels};
    soma_model *m = soma_model_new(s, "told");
    soma_value x = soma_input(m, "x", SOMA_F32, SOMA_SHAPE(width)), y = soma_none();
    soma_apply_options how = {.struct_size = sizeof how};
    assert_int_equal(soma_apply_with(&op, &x, 1, &y, 1, &how), SOMA_OK);
    soma_program *p = soma_compile(m, .values = &y, .n_values = 1);
    assert_string_equal(soma_error(s), "");
    assert_int_equal(soma_program_nodes(p), 1);
    assert_string_equal(soma_program_node(p, 0).kernel, chosen);
    assert_string_equal(soma_program_node(p, 0).refused, refused);
    assert_int_equal(soma_step(p), SOMA_OK);
    soma_close(s);
}

#define RULE "the rule on shapes prefers others here; --tune would time it"

static void the_rule_passes_over_what_does_not_suit(void **state)
{
    (void)state;
    const soma_kernel *const kernels[] = {&cannot, &wide, &last, NULL};
    check(kernels, 8, "wide", "cannot: accept will not");
    check(kernels, 7, "last", "cannot: accept will not; wide: " RULE);
}

static void a_kernel_that_does_not_suit_is_the_last_resort(void **state)
{
    (void)state;
    const soma_kernel *const kernels[] = {&never, &wide, &cannot, NULL};
    check(kernels, 4, "wide", "never: " RULE "; wide: " RULE "; cannot: accept will not");
    const soma_kernel *const failing[] = {&fails, &never, NULL};
    check(failing, 4, "never", "fails: prepare will not; never: " RULE);
}

#ifdef SOMA_HAVE_ONEDNN
/* ---- layouts: 24 channels are nhwc, their neighbours blocked, and depthwise convolutions stand between them ---- */

static soma_value convolve(soma_value x, int64_t filters, int64_t side, int64_t stride, int64_t groups, const char *act)
{
    int64_t pad = side / 2;
    return soma_conv2d(x, .filters = filters, .kernel = {side, side}, .stride = {stride, stride},
                       .pad = {pad, pad, pad, pad}, .groups = groups, .activation = act);
}

/* MobileNetV2's inverted residual (Sandler et al. 2018). */
static soma_value block(soma_value x, int64_t inside, int64_t out, int64_t stride)
{
    int64_t in = soma_value_type(x).shape.dim[1];
    soma_value y = inside == in ? x : convolve(x, inside, 1, 1, 1, "relu6");
    y = convolve(convolve(y, inside, 3, stride, inside, "relu6"), out, 1, 1, 1, NULL);
    return stride == 1 && in == out ? soma_add(x, y) : y;
}

static void no_activation_is_reordered(void **state)
{
    (void)state;
    soma *s = soma_open(NULL);
    soma_model *m = soma_model_new(s, "blocks");
    soma_value x = soma_input(m, "x", SOMA_F32, SOMA_SHAPE(3, 48, 48));
    x = convolve(x, 32, 3, 2, 1, "relu6");
    x = block(block(x, 32, 16, 1), 96, 24, 2);
    x = block(block(x, 144, 24, 1), 144, 32, 2);
    x = soma_dense(soma_flatten(soma_global_average_pool2d(x)), .units = 10);
    soma_value loss = soma_reduce_mean(soma_square(x)), updates[64];
    soma_optimizer sgd = soma_sgd(.lr = 0.1);
    int n = soma_updates(loss, updates, 64, .optimizer = &sgd);
    soma_program *p = soma_compile(m, .batch = 5, .values = &loss, .n_values = 1, .updates = updates, .n_updates = n);
    assert_string_equal(soma_error(s), "");
    int depthwise = 0;
    for (int i = 0; i < soma_program_nodes(p); i++) {
        soma_plan_node node = soma_program_node(p, i);
        if (!strcmp(node.op, "reorder") && !strncmp(node.output, "f32[5,", 6))
            fail_msg("%s of %s makes %s", node.op, node.layer, node.output);
        assert_string_not_equal(node.op, "relu6");
        depthwise += strstr(node.kernel, "depthwise") != NULL;
    }
    assert_int_equal(depthwise, 4 * 3);
    soma_close(s);
}

/* Between a pool, which converts, and what is flat, dropout is plain. */
static void what_follows_is_plain_for_plain_readers(void **state)
{
    (void)state;
    soma *s = soma_open(NULL);
    soma_model *m = soma_model_new(s, "flat");
    soma_value x = soma_input(m, "x", SOMA_F32, SOMA_SHAPE(3, 48, 48));
    x = soma_max_pool2d(convolve(x, 32, 3, 2, 1, "relu"), .size = {2, 2});
    x = soma_dense(soma_flatten(soma_dropout(x, .rate = 0.5)), .units = 10);
    soma_value loss = soma_reduce_mean(soma_square(x)), updates[8];
    soma_optimizer sgd = soma_sgd(.lr = 0.1);
    int n = soma_updates(loss, updates, 8, .optimizer = &sgd);
    soma_program *p = soma_compile(m, .batch = 5, .values = &loss, .n_values = 1, .updates = updates, .n_updates = n);
    assert_string_equal(soma_error(s), "");
    for (int i = 0; i < soma_program_nodes(p); i++) {
        soma_plan_node node = soma_program_node(p, i);
        if (!strcmp(node.op, "reorder") && !strncmp(node.output, "f32[5,", 6))
            fail_msg("%s of %s makes %s", node.op, node.layer, node.output);
    }
    soma_close(s);
}
#endif

int main(void)
{
    const struct CMUnitTest all[] = {
        cmocka_unit_test(the_rule_passes_over_what_does_not_suit),
        cmocka_unit_test(a_kernel_that_does_not_suit_is_the_last_resort),
#ifdef SOMA_HAVE_ONEDNN
        cmocka_unit_test(no_activation_is_reordered),
        cmocka_unit_test(what_follows_is_plain_for_plain_readers),
#endif
    };
    return cmocka_run_group_tests(all, NULL, NULL);
}
