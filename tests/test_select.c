/* SPDX-License-Identifier: Apache-2.0
 *
 * How a kernel is chosen: what can, what the fixed rule on shapes prefers, what is left when neither will.
 * tests/test_tune.c is about the clock and the record.
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

int main(void)
{
    const struct CMUnitTest all[] = {
        cmocka_unit_test(the_rule_passes_over_what_does_not_suit),
        cmocka_unit_test(a_kernel_that_does_not_suit_is_the_last_resort),
    };
    return cmocka_run_group_tests(all, NULL, NULL);
}
