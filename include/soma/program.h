/* SPDX-License-Identifier: Apache-2.0
 *
 * soma/program.h: programs (a graph compiled for one purpose), their plans, and running them.
 */
#ifndef SOMA_PROGRAM_H
#define SOMA_PROGRAM_H

#include <soma/model.h>

#ifdef __cplusplus
extern "C" {
#endif

/** A graph compiled for a purpose and a batch size: prepared kernels in a flat array. Belongs to whoever compiled it:
 *  freed by soma_program_free or with its context. */
typedef struct soma_program soma_program;

typedef struct soma_program_options {
    size_t struct_size;
    soma_at at;
    const char *name;         /**< for the plan; default "program" */
    int64_t batch;            /**< default 1 */
    const soma_value *values; /**< what to compute: read with soma_read */
    int n_values;
    const soma_value *updates; /**< outputs of assigning ops that must run */
    int n_updates;
    bool training; /**< layers behave as in training (dropout drops); always so with updates */
    /** the batch runs in pieces of that many samples (a divisor of it), gradients are the whole batch's; 0: the plan
     *  chooses; the batch itself: one piece */
    int64_t micro_batch;
    /** bytes of the whole plan; 0: no budget. A plan that needs more cuts the batch into smaller pieces where that
     *  is possible and micro_batch is 0, then computes values again instead of keeping them (Chen et al. 2016, arXiv
     *  1604.06174); SOMA_MEMORY with the least figure when neither is enough */
    uint64_t max_memory;
    /** times the kernels that could run a node, on its real shapes, and takes the fastest, unless the model's record
     *  says which; compiling takes seconds. Scratch of a kernel is bounded by 512 MB, or an eighth of max_memory.
     *  Not under exact. Otherwise a fixed rule on shapes chooses */
    bool tune;
    /** "f32" (default), or "bf16": activations stored and products computed in bf16, tensors, their gradients,
     *  statistics and losses in f32; needs avx512_bf16 and oneDNN, never exact */
    const char *precision;
} soma_program_options;

/** Compiles. All values must be of one graph; m owns the parameters, and lives on inside the program when it is freed
 *  first. Returns NULL on failure. */
SOMA_API soma_program *soma_compile_with(soma_model *m, const soma_program_options *o);
#define soma_compile(m, ...) soma_compile_with(m, SOMA_OPTIONS(soma_program_options, __VA_ARGS__))
/** Gives the program back; runs of it go on until they are freed. Not for the program of a training
 *  (soma_trainer_program, soma_plan_fn), which belongs to that. */
SOMA_API void soma_program_free(soma_program *p);

/** Where to write input `x`: plain, batch of the program; data NULL when x is not an input of the program. Each input
 *  has two slots: one is written, one is run on. At first they are the same one; after soma_flip the slot just written
 *  is run on and the other one is free to be written while the step runs. The slots are the model's: another program of
 *  it that is fed by its caller writes over them, and compiling one may move them (what they hold moves along), so ask
 *  again after that. Trainings and evaluations have slots of their own. */
SOMA_API soma_tensor soma_program_input(soma_program *p, soma_value x);
SOMA_API void soma_flip(soma_program *p);
/** Copies a batch into the input slot. */
SOMA_API soma_status soma_feed(soma_program *p, soma_value x, const soma_tensor *tensor);
/** Runs one step. On an error nothing was updated. */
SOMA_API soma_status soma_step(soma_program *p);
/** A view of a computed value after a step, plain, valid until the next step or compilation of any program of the
 *  model; data NULL when the program does not compute it. */
SOMA_API soma_tensor soma_read(soma_program *p, soma_value x);
/** The next step's number, the step of random draws; counts up by itself. */
SOMA_API uint64_t soma_program_step(const soma_program *p);
SOMA_API void soma_program_set_step(soma_program *p, uint64_t step);

/* ---- the plan ---- */

/** Bytes by kind, known before the first is allocated. inputs: two slots; a validation beside a training has a plan,
 *  and two slots, of its own. */
typedef struct soma_plan_memory {
    uint64_t parameters, state, gradients, activations, inputs, packed, tables, library, total;
    uint64_t reserved[4];
} soma_plan_memory;
SOMA_API soma_plan_memory soma_program_memory(const soma_program *p);

/** One node of the plan, in running order. Texts live as long as the program. */
typedef struct soma_plan_node {
    const char *op, *layer, *kernel, *note;
    const char *refused; /**< "cpu: reason; onednn: reason" of the kernels that came before; "" if none */
    /** "timed: onednn 1.25 ms, winograd 0.98 ms", "timed before: ..." (in this context, or in the cache file),
     *  "recorded: ..." (in the model's record); "" where the rule on shapes chose */
    const char *chosen;
    const char *phase;   /**< "prologue", "body", "epilogue" */
    const char *output;  /**< type and layout of output 0 */
    double flops, bytes; /**< of one step (all pieces) */
    double seconds;      /**< measured by soma_program_time; 0 before */
    bool recomputed;     /**< runs again what an earlier node has run, so that its result need not be kept */
    int n_in, n_out;     /**< arguments and results, those that are left out among them */
    uint64_t reserved[4];
} soma_plan_node;
/** An array that a node reads or writes, as much of it as one run of the node takes (a piece). */
typedef struct soma_plan_array {
    /** "node", "input" and "tensor" of the model, "constant"; "none": an argument that is left out */
    const char *source;
    const char *name; /**< of an input or a tensor; else "" */
    int node, output; /**< which output of which node it is; else -1 */
    soma_type type;
    const char *layout;
    uint64_t bytes;
    uint64_t reserved[2];
} soma_plan_array;
/** What max_memory costs: zeros where nothing is computed again. */
typedef struct soma_plan_recomputation {
    int nodes;
    double flops;   /**< of one step (all pieces), computed again */
    double share;   /**< of the FLOPs of the step without them */
    uint64_t saved; /**< bytes of activations */
    uint64_t reserved[2];
} soma_plan_recomputation;
SOMA_API soma_plan_recomputation soma_program_recomputed(const soma_program *p);
SOMA_API int soma_program_nodes(const soma_program *p);
SOMA_API soma_plan_node soma_program_node(const soma_program *p, int index);
/** Argument and result `index` of a node; source "none" past the last one. */
SOMA_API soma_plan_array soma_program_node_input(const soma_program *p, int node, int index);
SOMA_API soma_plan_array soma_program_node_output(const soma_program *p, int node, int index);
SOMA_API int64_t soma_program_micro_batch(const soma_program *p);
SOMA_API const char *soma_program_micro_batch_reason(const soma_program *p);
/** Timed choices are read from this file and added to it whenever a program was timed (written anew and atomically; the
 *  folder must exist). A missing file is an empty one; a damaged or foreign one is ignored with a warning through the
 *  log. */
SOMA_API soma_status soma_tune_cache_open(soma *s, const char *path);
/** soma_program_fingerprint of the model's last training (its full batches), also when that was before it was saved; 0:
 *  none, or exact. Kernels that were timed are saved with the model; loaded on the same machine, with the same
 *  threads and libraries, they are taken again for the same shapes, tuned or not, so that training goes on with the
 *  same bits. */
SOMA_API uint64_t soma_model_fingerprint(const soma_model *m);
/** Threads that a step of the program uses: the context's, or fewer where its shapes give them too little work. Never
 *  by how busy the machine is, so that bits do not depend on it. 0 for NULL. */
SOMA_API int soma_program_threads(const soma_program *p);
/** Hash of the kernels chosen: same machine, threads, batch and record give the same bits. */
SOMA_API uint64_t soma_program_fingerprint(const soma_program *p);
/** Runs `steps` steps with a clock around every node and stores the median seconds per node. Updates happen. */
SOMA_API soma_status soma_program_time(soma_program *p, int steps);

/* ---- predicting from several threads ---- */

/** A caller's own activations and inputs for a finished program that updates nothing: one run per thread. Made and
 *  freed on the context's thread when it is not under way; program and model may be freed before it, on that thread,
 *  too. While runs are under way the model's tensors must stay as they are. */
typedef struct soma_session soma_session;
SOMA_API soma_session *soma_session_new(soma_program *p);
SOMA_API void soma_session_free(soma_session *r);
SOMA_API soma_tensor soma_session_input(soma_session *r, soma_value x);
SOMA_API soma_status soma_session_step(soma_session *r);
SOMA_API soma_tensor soma_session_read(soma_session *r, soma_value x);
/** The run's own last error; the context is not touched, so that runs of several threads do not meet. */
SOMA_API const char *soma_session_error(const soma_session *r);

#ifdef __cplusplus
}
#endif
#endif
