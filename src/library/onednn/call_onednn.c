/* SPDX-License-Identifier: Apache-2.0
 *
 * library/onednn/call_onednn.c: a prepared primitive as a kernel's run. Memory objects are made at prepare without a
 * buffer; a run points them to its arrays. Runs of several threads may meet in one program: the first takes the
 * prepared objects, whoever finds them taken makes objects for that one call.
 */
#include "library/onednn/shim.h"

#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

typedef struct call {
    dnnl_stream_t stream;
    dnnl_primitive_t primitive;
    dnnl_engine_t engine; /* the program's */
    int n;                /* arguments, the scratchpad included */
    int position[SOMA_ONEDNN_BINDS + 1];
    void *handle[SOMA_ONEDNN_BINDS + 1]; /* what the memory objects point to now: setting it again costs */
    dnnl_exec_arg_t arg[SOMA_ONEDNN_BINDS + 1];
    atomic_flag busy;
    int from, to; /* soma_onednn_begin_with */
    size_t bytes; /* 0: nothing */
} call;

typedef struct call_state {
    call *c; /* the state proper is read-only; the memory objects are not */
} call_state;

static void engine_free(void *engine)
{
    dnnl_engine_destroy((dnnl_engine_t)engine);
}

soma_status soma_onednn_refuse(soma_prepare *p, const char *what, dnnl_status_t status)
{
    if (status == dnnl_out_of_memory)
        return SOMA_MEMORY;
    soma_refuse(p->reason, "oneDNN has no %s for this (its status is %d)", what, (int)status);
    return SOMA_UNSUPPORTED;
}

soma_status soma_onednn_engine(soma_prepare *p, dnnl_engine_t *engine)
{
    dnnl_status_t status = dnnl_engine_create(engine, dnnl_cpu, 0);
    if (status != dnnl_success)
        return soma_onednn_refuse(p, "CPU engine", status);
    return soma_prepare_cleanup(p, engine_free, *engine);
}

static void call_free(void *object)
{
    call *c = object;
    for (int i = 0; i < c->n; i++)
        if (c->arg[i].memory)
            dnnl_memory_destroy(c->arg[i].memory);
    if (c->primitive)
        dnnl_primitive_destroy(c->primitive);
    if (c->stream)
        dnnl_stream_destroy(c->stream);
}

static soma_status call_result(dnnl_status_t status, soma_run *run)
{
    if (status == dnnl_success)
        return SOMA_OK;
    if (status == dnnl_out_of_memory)
        return SOMA_MEMORY;
    soma_refuse(run->reason, "oneDNN failed with status %d while it ran", (int)status);
    return SOMA_UNSUPPORTED;
}

/* The prepared objects are in use by another thread: objects for this call only. */
static soma_status call_run_apart(const call *c, void *const *pointer, soma_run *run)
{
    dnnl_exec_arg_t arg[SOMA_ONEDNN_BINDS + 1];
    dnnl_status_t status = dnnl_success;
    int n = 0;
    for (; n < c->n && status == dnnl_success; n++) {
        soma_md_ref md = NULL;
        status = dnnl_memory_get_memory_desc(c->arg[n].memory, &md);
        arg[n] = (dnnl_exec_arg_t){c->arg[n].arg, NULL};
        if (status == dnnl_success)
            status = dnnl_memory_create(&arg[n].memory, md, c->engine, pointer[c->position[n]]);
    }
    if (status == dnnl_success)
        status = dnnl_primitive_execute(c->primitive, c->stream, c->n, arg);
    for (int i = 0; i < n; i++)
        if (arg[i].memory)
            dnnl_memory_destroy(arg[i].memory);
    return call_result(status, run);
}

static soma_status call_run(const void *state, void *const *pointer, soma_run *run)
{
    call *c = ((const call_state *)state)->c;
    if (c->bytes && pointer[c->from] != pointer[c->to])
        memcpy(pointer[c->to], pointer[c->from], c->bytes);
    if (atomic_flag_test_and_set_explicit(&c->busy, memory_order_acquire))
        return call_run_apart(c, pointer, run);
    dnnl_status_t status = dnnl_success;
    for (int i = 0; i < c->n && status == dnnl_success; i++) {
        void *handle = pointer[c->position[i]];
        if (handle == c->handle[i])
            continue;
        status = dnnl_memory_set_data_handle(c->arg[i].memory, handle);
        c->handle[i] = status == dnnl_success ? handle : NULL;
    }
    if (status == dnnl_success)
        status = dnnl_primitive_execute(c->primitive, c->stream, c->n, c->arg);
    atomic_flag_clear_explicit(&c->busy, memory_order_release);
    return call_result(status, run);
}

static dnnl_status_t call_add(call *c, soma_md_ref md, int argument, int position)
{
    int i = c->n++;
    c->position[i] = position;
    c->arg[i] = (dnnl_exec_arg_t){argument, NULL};
    return dnnl_memory_create(&c->arg[i].memory, md, c->engine, DNNL_MEMORY_NONE);
}

static dnnl_status_t call_build(call *c, soma_prepare *p, const_dnnl_primitive_desc_t pd, const soma_onednn_bind *bind,
                                int n)
{
    dnnl_status_t status = dnnl_stream_create(&c->stream, c->engine, dnnl_stream_default_flags);
    if (status == dnnl_success)
        status = dnnl_primitive_create(&c->primitive, pd);
    for (int i = 0; i < n && status == dnnl_success; i++)
        status = call_add(c, dnnl_primitive_desc_query_md(pd, dnnl_query_exec_arg_md, bind[i].argument),
                          bind[i].argument, bind[i].position);
    soma_md_ref scratch = dnnl_primitive_desc_query_md(pd, dnnl_query_scratchpad_md, 0);
    p->scratch = scratch ? dnnl_memory_desc_get_size(scratch) : 0;
    if (status == dnnl_success && p->scratch > 0)
        status = call_add(c, scratch, DNNL_ARG_SCRATCHPAD, p->n_in + p->n_out);
    return status;
}

void soma_onednn_begin_with(soma_prepare *p, int from, int to, size_t bytes)
{
    call *c = ((const call_state *)p->state)->c;
    c->from = from;
    c->to = to;
    c->bytes = bytes;
}

static const char *implementation(const_dnnl_primitive_desc_t pd)
{
    const char *name = NULL;
    dnnl_primitive_desc_query(pd, dnnl_query_impl_info_str, 0, (void *)&name);
    return name ? name : "";
}

static bool begins(const char *name, const char *with)
{
    return strncmp(name, with, strlen(with)) == 0;
}

soma_status soma_onednn_refuse_reference(soma_prepare *p, const_dnnl_primitive_desc_t pd, dnnl_alg_kind_t activation)
{
    const char *name = implementation(pd);
    bool made = begins(name, "jit") || begins(name, "brg") || begins(name, "gemm:jit"); /* the activation, too */
    if (!begins(name, "ref") && (made || activation != dnnl_eltwise_logistic))
        return SOMA_OK;
    soma_refuse(p->reason, "oneDNN would run its reference code (%s)", name);
    return SOMA_UNSUPPORTED;
}

soma_status soma_onednn_commit(soma_prepare *p, dnnl_engine_t engine, const_dnnl_primitive_desc_t pd,
                               const soma_onednn_bind *bind, int n)
{
    const char *name = implementation(pd);
    call *c = soma_prepare_state(p, sizeof *c);
    call_state *state = soma_prepare_state(p, sizeof *state);
    if (!c || !state)
        return SOMA_MEMORY;
    c->engine = engine;
    atomic_flag_clear(&c->busy);
    dnnl_status_t status = call_build(c, p, pd, bind, n);
    if (status != dnnl_success) {
        call_free(c);
        return soma_onednn_refuse(p, "primitive", status);
    }
    soma_status kept = soma_prepare_cleanup(p, call_free, c);
    if (kept != SOMA_OK)
        return kept;
    state->c = c;
    p->run = call_run;
    p->state = state;
    p->parallel = true;
    snprintf(p->note, SOMA_REASON_MAX, "%s", name);
    return SOMA_OK;
}
