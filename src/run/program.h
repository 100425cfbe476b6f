/* SPDX-License-Identifier: Apache-2.0
 *
 * run/program.h: what running a plan needs: blocks, input slots, and a flat array of calls whose arguments are
 * pointers. A step is one loop over them. Plans are made elsewhere (plan.h) and only read here.
 */
#ifndef SOMA_RUN_PROGRAM_H
#define SOMA_RUN_PROGRAM_H

#include "compile/plan.h"

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

/* Two slots for the inputs of programs that are fed in turn: one may be written while a step reads the other. Whoever
 * reads ahead has a ring of its own, which no other program writes over. Zeroed, it is empty. */
typedef struct soma_input_ring {
    char *slots;
    size_t slot_size; /* bytes of one, for the largest of its programs */
} soma_input_ring;

/* Memory that the programs of a model share, each part sized for the largest. */
typedef struct soma_workspace {
    char *work, *gradient;
    size_t work_size, gradient_size;
    soma_input_ring ring; /* of the programs that have none of their own */
    uint64_t generation;  /* moves when a block, or a ring of the model's programs, is replaced by a larger one */
    soma_program *programs;
} soma_workspace;

struct soma_program {
    soma_plan *plan; /* finished */
    soma_model *model;
    soma_workspace *workspace;
    soma_input_ring *ring; /* the workspace's, or its owner's, who frees it after the program */
    soma_program *next;    /* in the workspace's list */
    soma_session *runs;    /* sessions */
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
/* soma_compile_with for a program that is fed from a ring of the caller's. */
soma_program *soma_compile_for(soma_model *m, const soma_program_options *o, soma_input_ring *ring);
void soma_input_ring_free(soma *s, soma_input_ring *ring);
/* The slot that the next step reads; the other one is then free to be written. */
void soma_program_set_slot(soma_program *p, int slot);
/* Where input x lies in a slot; NULL where the program has no such input. */
void *soma_program_input_at(soma_program *p, soma_value x, int slot);
/* Of random draws. */
void soma_program_set_seed(soma_program *p, uint64_t seed);
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
