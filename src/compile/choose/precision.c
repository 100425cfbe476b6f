/* SPDX-License-Identifier: Apache-2.0
 *
 * compile/choose/precision.c: which activations a program of precision bf16 stores in bf16. The graph knows nothing of
 * it: tensors of the model, gradients of parameters, statistics and losses stay f32, and so does whatever has no batch.
 * Knows ops by the rules of their kernels only (soma_bf16_rule).
 */
#include "cpu/parallel.h"
#include "base/text.h"
#include "compile/choose/select.h"

#include <string.h>

const char *const soma_precisions[] = {"f32", "bf16", NULL};

soma_status soma_precision_parse(soma *s, const char *what, const char *name, soma_at at, bool *bf16)
{
    *bf16 = name && !strcmp(name, "bf16");
    if (!*bf16 && name && strcmp(name, "f32") != 0) {
        const char *near = soma_nearest_of(name, soma_precisions);
        return soma_fail(s, SOMA_INVALID, at, "%sthere is no precision \"%s\"; %s%s%s", what, name,
                         near ? "did you mean \"" : "it is \"f32\" or \"bf16", near ? near : "", near ? "\"?" : "\"");
    }
    if (!*bf16)
        return SOMA_OK;
    if (s->exact)
        return soma_fail(
            s, SOMA_INVALID, at,
            "%sprecision bf16 cannot be exact: its sums differ from machine to machine; leave out one of the "
            "two",
            what);
    if (soma_cpu_isa() < 4)
        return soma_fail(s, SOMA_UNSUPPORTED, at,
                         "%sprecision bf16 needs a CPU that multiplies bf16 (avx512_bf16), and this one (%s) does not; "
                         "use f32",
                         what, soma_isa_name(soma_cpu_isa()));
#ifndef SOMA_HAVE_ONEDNN
    return soma_fail(s, SOMA_UNSUPPORTED, at,
                     "%sprecision bf16 needs oneDNN, which this build is without; build with it or use f32", what);
#else
    return SOMA_OK;
#endif
}

/* The rule of the kernels that take the task with all that may be bf16 in bf16; SOMA_BF16_NONE: none does. */
static soma_status rule_of(soma_plan *p, const soma_task *task, soma_bf16_rule *rule)
{
    soma_offer v;
    soma_status status = soma_offer_make(p, task, &p->room, &v);
    *rule = SOMA_BF16_NONE;
    v.bf16 = true;
    for (int j = 0; j < task->n_in + task->n_out && status == SOMA_OK; j++) {
        int32_t id = j < task->n_in ? task->in[j] : task->out[j - task->n_in];
        if (id >= 0 && p->values[id].may_be_bf16)
            v.args[j].dtype = SOMA_BF16;
    }
    for (int k = 0; task->op->kernels[k] && status == SOMA_OK; k++) {
        const soma_kernel *kernel = task->op->kernels[k];
        if (kernel->bf16 > *rule && !soma_offer_cannot(p, kernel, &v))
            *rule = kernel->bf16;
    }
    return status;
}

static bool may_be_half(const soma_plan_value *v)
{
    return v->arg.batched && v->arg.dtype == SOMA_F32 && v->arg.shape.rank >= 2;
}

/* Reads halves; any: at least one that is stored in bf16. */
static bool reads_bf16(const soma_plan *p, const soma_task *task, bool stored)
{
    for (int j = 0; j < task->n_in; j++)
        if (task->in[j] >= 0 && p->values[task->in[j]].may_be_bf16 &&
            (!stored || p->values[task->in[j]].arg.dtype == SOMA_BF16))
            return true;
    return false;
}

/* In running order: products begin, and what can follow in bf16 does. A product writes bf16 only for somebody who can
 * read it. */
static void spread(soma_plan *p, const soma_bf16_rule *rule, const bool *readable)
{
    for (int i = 0; i < p->n_tasks; i++) {
        soma_task *task = &p->tasks[i];
        task->bf16 = rule[i] != SOMA_BF16_NONE && reads_bf16(p, task, rule[i] == SOMA_BF16_FOLLOW);
        for (int j = 0; j < task->n_out && task->bf16; j++) {
            int32_t id = task->out[j];
            if (id >= 0 && p->values[id].may_be_bf16 &&
                (rule[i] == SOMA_BF16_FOLLOW || (readable[id] && !p->values[id].wanted)))
                p->values[id].arg.dtype = SOMA_BF16;
        }
    }
}

soma_status soma_precision(soma_plan *p)
{
    soma_bf16_rule *rule = soma_alloc_array(p->s, (size_t)p->n_tasks + 1, sizeof *rule);
    bool *readable = soma_alloc_array(p->s, (size_t)p->n_values + 1, sizeof *readable);
    soma_status status = rule && readable ? SOMA_OK : SOMA_MEMORY;
    for (int i = 0; i < p->n_values; i++)
        p->values[i].may_be_bf16 = may_be_half(&p->values[i]);
    for (int i = 0; i < p->n_tasks && status == SOMA_OK; i++) {
        soma_task *task = &p->tasks[i];
        status = rule_of(p, task, &rule[i]);
        for (int j = 0; j < task->n_in && rule[i] != SOMA_BF16_NONE; j++)
            if (task->in[j] >= 0)
                readable[task->in[j]] = true;
    }
    if (status == SOMA_OK)
        spread(p, rule, readable);
    soma_release(p->s, rule);
    soma_release(p->s, readable);
    return status;
}
