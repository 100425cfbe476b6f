/* SPDX-License-Identifier: Apache-2.0
 *
 * compile/plan.h: what compiling makes of a graph for one batch size: values, tasks in running order, kernels, and
 * where every array lies; and the passes that do it, in the order of compile.c. It is finished before a program runs,
 * which only reads it.
 */
#ifndef SOMA_COMPILE_PLAN_H
#define SOMA_COMPILE_PLAN_H

#include "graph/graph.h"
#include <soma/program.h>

/* What a value depends on, and so in which part of a step it is computed. */
typedef enum soma_class {
    SOMA_CLASS_CONSTANT, /* constants only: once, when the program is bound */
    SOMA_CLASS_STATE,    /* named tensors: each step that follows a change of them */
    SOMA_CLASS_STEP,     /* inputs without a batch, or the state that this program updates: each step, once */
    SOMA_CLASS_SAMPLE,   /* the batch: per piece */
    SOMA_CLASS_SUM,      /* a sum over the piece's samples: added up over the pieces */
    SOMA_CLASS_WHOLE     /* needs the sums: after the last piece */
} soma_class;

typedef enum soma_storage {
    SOMA_STORE_NONE,
    SOMA_STORE_INPUT,    /* the model's input ring */
    SOMA_STORE_TENSOR,   /* a named tensor of the model */
    SOMA_STORE_CONSTANT, /* bytes in the graph */
    SOMA_STORE_WORK,     /* the activation block, shared by all programs of the model */
    SOMA_STORE_GRADIENT, /* small arrays that assigning ops read, in order; shared by programs that update */
    SOMA_STORE_KEPT      /* constants and packed copies of tensors: this program's own, kept between steps */
} soma_storage;

typedef struct soma_plan_value {
    soma_arg arg; /* piece-bound */
    soma_class class;
    soma_storage storage;
    int32_t graph_value; /* -1: made by planning (reorders, sums) */
    int tensor;
    int alias;                /* shares the storage of this value; -1: its own */
    int inside;               /* 1 + the value that it is a part of (nest.c), inside_at bytes from its start; 0: none */
    size_t inside_at, within; /* within: bytes from the start of the root's storage */
    int sum;                  /* the value that adds up the pieces of this one; -1: none */
    bool wanted;              /* soma_read may ask for it: kept to the end, full batch */
    bool may_be_bf16;  /* an activation that a program of precision bf16 may store in bf16; arg.dtype says if it does */
    const void *bytes; /* CONSTANT */
    int64_t full_elements;
    size_t size; /* bytes of storage */
    size_t offset;
    int first, last; /* positions in running order where it must exist */
} soma_plan_value;

typedef struct soma_task {
    const soma_op *op;
    const void *attrs;
    const soma_kernel *kernel;
    int n_in, n_out;
    int32_t *in, *out; /* plan values; -1: absent */
    soma_layout *in_layout, *out_layout;
    soma_dtype *in_dtype, *out_dtype;
    bool bf16; /* reads bf16 */
    const char *layer, *note, *refused, *output;
    const char *chosen;               /* where the kernel comes from when the clock chose it; else NULL */
    const struct soma_choice *choice; /* then also this, for the model's record */
    uint64_t site;
    soma_class class;
    bool assigns;
    bool skip_first; /* not run on the first piece (adding up) */
    bool nested;     /* a slice that is a view of its input */
    bool apart;      /* output 0 may overwrite no input */
    bool recomputed; /* a clone of an earlier task, for the readers that come late */
    soma_run_fn run;
    const void *state;
    size_t scratch, scratch_offset;
    double flops, bytes; /* of one run */
} soma_task;
/* Is it run once for each piece of the batch? */
static inline bool soma_in_body(const soma_task *task)
{
    return !task->assigns && (task->class == SOMA_CLASS_SAMPLE || task->class == SOMA_CLASS_SUM);
}

/* One prepared call of the flat array that binding makes of the tasks. */
typedef struct soma_call {
    soma_run_fn run;
    const void *state;
    void *const *args;
    int64_t sample_offset;
    int task; /* of the plan, for errors and timing */
} soma_call;

typedef struct soma_cleanup {
    struct soma_cleanup *next;
    void (*destroy)(void *);
    void *object;
} soma_cleanup;

/* Where kernels put what they prepare: their states, and what must be called when these go. */
typedef struct soma_prepare_room {
    soma_arena arena;
    soma_cleanup *cleanups;
} soma_prepare_room;
void soma_prepare_room_open(soma_prepare_room *room, soma *s);
void soma_prepare_room_close(soma_prepare_room *room);

typedef struct soma_plan {
    soma_model *model;
    soma *s;
    soma_graph *graph; /* the plan's own, simplified */
    soma_prepare_room room;
    const char *name;
    soma_at at;
    int64_t batch, piece;
    const char *piece_reason;
    const char *whole; /* why the batch cannot be cut, or NULL */
    int threads;
    bool training, updates, parallel, bf16;
    bool tune;           /* kernels are timed */
    uint64_t max_memory; /* 0: no budget */

    soma_plan_value *values;
    int n_values, value_capacity;
    soma_task *tasks;
    int n_tasks, task_capacity;
    int32_t *plan_of; /* graph value -> plan value */
    int32_t *read_of; /* graph value of the caller -> plan value to read, or -1 */
    int n_caller_values;
    int *input_values; /* plan values that are inputs */
    int n_inputs;

    size_t work_size, gradient_size, kept_size, input_size;
    size_t large_gradients; /* of work_size */
    size_t recompute_saved; /* bytes of work that recomputation saves */
    uint64_t library_bytes;
    uint64_t fingerprint; /* hash of the kernels chosen */
} soma_plan;

/* NULL: the context's error says why. m: the model of all values of o. */
soma_plan *soma_plan_make(soma_model *m, const soma_program_options *o);
void soma_plan_free(soma_plan *p);
/* What a program of the plan takes, but for the tables that binding makes. */
soma_plan_memory soma_plan_bytes(const soma_plan *p);
/* Time for memory where the plan is larger than the budget: first smaller pieces (*piece is set and the plan must be
 * made again), then recomputation. */
soma_status soma_fit_budget(soma_plan *p, const soma_program_options *o, int64_t *piece);

/* ---- passes ---- */

/* Removes what is not needed, merges what can be. keep: graph values that must survive, n of them; entries may be
 * redirected (keep[i] is where the value is found afterwards). */
soma_status soma_simplify(soma_graph *graph, int32_t *keep, int n, bool training);
/* Plan values, classes and the order of tasks; chooses the piece. */
soma_status soma_classify(soma_plan *p, const int32_t *wanted, int n_wanted, int64_t piece);
/* Sorts the tasks by phase; assigning tasks come last. */
soma_status soma_order(soma_plan *p);
/* Which tasks read and write bf16, in a program of that precision (compile/choose/precision.c). */
soma_status soma_precision(soma_plan *p);
extern const char *const soma_precisions[]; /* names, NULL-terminated */
/* "f32", "bf16" or NULL (f32); what: who asks, for the sentence. bf16 only where this machine and build can do it. */
soma_status soma_precision_parse(soma *s, const char *what, const char *name, soma_at at, bool *bf16);
/* Parts of a concat written in place, slices of channels read in place (nest.c). strides: with layouts chosen and
 * before kernels are prepared; parts: afterwards. */
void soma_nest_strides(soma_plan *p);
void soma_nest_parts(soma_plan *p);
/* May argument `at` of n_in inputs and the outputs have a batch_stride? */
static inline bool soma_takes_stride(const soma_kernel *kernel, int at, int n_in)
{
    return at < n_in ? kernel->strided >> (at < 31 ? at : 31) & 1 : kernel->strided != 0;
}
/* Where a slice begins in its input, in elements of one sample; -1: no slice of channels. */
int64_t soma_slice_begin(const soma_plan *p, const soma_task *task);
/* Kernels, layouts, prepare, reorders. */
soma_status soma_select(soma_plan *p);
/* Who shares whose storage, lifetimes and sizes; may be called again after tasks were added. */
void soma_lifetimes(soma_plan *p);
/* Bytes alive at each task (n_tasks of them); returns the most: the least that placing can need. */
size_t soma_alive(const soma_plan *p, size_t *alive);
/* Offsets and totals. */
soma_status soma_place(soma_plan *p);
/* Adds clones of tasks until the work block is at most `work` bytes; when that cannot be, it is as small as was
 * found. */
soma_status soma_recompute(soma_plan *p, size_t work);
/* Texts of the plan. */
soma_status soma_describe_outputs(soma_plan *p);

/* Adds a plan value / a task at the end. -1 / NULL: no memory. */
int32_t soma_plan_add_value(soma_plan *p, const soma_plan_value *value);
soma_task *soma_plan_add_task(soma_plan *p, const soma_task *task);
size_t soma_arg_bytes(const soma_arg *arg);
/* How often a task runs in a step of the program: once a piece, or once. */
double soma_task_runs(const soma_plan *p, const soma_task *task);
int32_t soma_plan_root(const soma_plan *p, int32_t value);
bool soma_op_assigns(const soma_task *task, int out, int *in);

#endif
