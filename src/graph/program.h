/* SPDX-License-Identifier: Apache-2.0
 *
 * graph/program.h: what running a plan needs: blocks, input slots, and a flat array of calls whose arguments are
 * pointers. A step is one loop over them. Plans are made elsewhere (plan.h) and only read here.
 */
#ifndef SOMA_GRAPH_PROGRAM_H
#define SOMA_GRAPH_PROGRAM_H

#include "graph/plan.h"

/* Everything that belongs to one set of buffers: the program's own, or a session's. */
typedef struct soma_binding {
    char *work, *gradient, *kept;
    char *inputs[2];
    soma_call *calls[2]; /* per input slot */
    void **args[2];
    int n_calls;
    int refresh_begin, refresh_end; /* calls that depend on tensors only */
    uint64_t version;               /* of the model, when kept copies were made; 0: never */
    uint64_t generation;            /* of the workspace that the pointers point into */
    bool constants_done;
} soma_binding;

/* Memory that the programs of a model share, each part sized for the largest. */
typedef struct soma_workspace {
    char *work, *gradient, *inputs;
    size_t work_size, gradient_size, input_size; /* input_size: one slot */
    uint64_t generation;
    uint64_t runs; /* steps of all programs: whoever filled the input slots ahead sees that another used them */
    soma_program *programs;
} soma_workspace;

struct soma_program {
    soma_plan *plan; /* finished */
    soma_model *model;
    soma_workspace *workspace;
    soma_program *next;    /* in the workspace's list */
    soma_run_object *runs; /* sessions */
    int references;        /* whoever compiled it, and one of each session */
    bool holds;            /* a reference to the model */
    soma_binding own;
    int read_slot, write_slot;
    uint64_t step;
    uint64_t seed;   /* of random draws: the context's, unless training was given its own */
    double *seconds; /* per task, measured by soma_program_time; NULL before */
    char reason[SOMA_REASON_MAX];
};

/* soma_compile_with for what the model itself keeps: the program holds no reference to it. */
soma_program *soma_program_make(soma_model *m, const soma_program_options *o);
/* Frees it with its sessions, whoever refers to them, and leaves the model alone. */
void soma_program_destroy(soma_program *p);

/* Blocks, tables and pointers; only the first time anything is allocated. */
soma_status soma_bind(soma_program *p, soma_binding *b);
/* The tables; blocks belong to whoever made them. */
void soma_unbind(soma *s, soma_binding *b);
uint64_t soma_binding_bytes(const soma_plan *p);

/* Told of every call of a step: task -1 before the first, then each one when it is done. */
typedef struct soma_watch {
    void (*called)(struct soma_watch *w, int task);
} soma_watch;
/* soma_step; w may be NULL. */
soma_status soma_step_watched(soma_program *p, soma_watch *w);

#endif
