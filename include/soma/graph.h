/* SPDX-License-Identifier: Apache-2.0
 *
 * soma/graph.h: models as graphs of values, gradients, and programs (a graph compiled for one purpose).
 *
 * Builders never need a check: a failed call marks the model and returns the failed value, which every later builder
 * accepts and passes on. The first mistake is the one that soma_error tells, with the caller's file and line.
 */
#ifndef SOMA_GRAPH_H
#define SOMA_GRAPH_H

#include <soma/op.h>

#ifdef __cplusplus
extern "C" {
#endif

/** A graph of values plus its named tensors. Freed by soma_model_free or with its context. */
typedef struct soma_model soma_model;

/** An empty model; NULL: no memory. */
SOMA_API soma_model *soma_model_new(soma *s, const char *name);
/** Gives the model back, with its values, tensors and texts. Programs that were compiled from it and trainings that
 *  are under way go on and keep what they need of it, its tensors and values as well, until they are freed. */
SOMA_API void soma_model_free(soma_model *m);
SOMA_API soma *soma_model_context(const soma_model *m);
SOMA_API const char *soma_model_name(const soma_model *m);

/** Layers and values made between push and pop get the prefix "name." */
SOMA_API void soma_scope_push(soma_model *m, const char *name);
SOMA_API void soma_scope_pop(soma_model *m);

/* ---- values that are not computed ---- */

typedef struct soma_input_options {
    size_t struct_size;
    soma_at at;
    soma_shape shape; /**< without the batch: N is put in front */
    bool no_batch;    /**< the shape is the whole shape */
} soma_input_options;
/** An input: soma_input(m, "image", SOMA_F32, SOMA_SHAPE(3, 32, 32)). */
SOMA_API soma_value soma_input_with(soma_model *m, const char *name, soma_dtype dtype, const soma_input_options *o);
#define soma_input(m, name, dtype, ...)                                                                                \
    soma_input_with(m, name, dtype, SOMA_OPTIONS(soma_input_options, .shape = __VA_ARGS__))

typedef struct soma_tensor_options {
    size_t struct_size;
    soma_at at;
    soma_shape shape;
    soma_dtype dtype; /**< default f32 */
    /** "zeros" (default), "ones", "constant", "uniform", "normal", "he_uniform", "he_normal", "glorot_uniform",
     *  "glorot_normal", "lecun_uniform", "he_normal_out" (by fan_out), "pytorch_uniform" (1 / sqrt(fan_in) is the
     *  limit: PyTorch's default) */
    const char *init;
    /** constant: a; uniform: from a to b; normal: mean a, deviation b. Both 0: 0 to 1, or 0 and 1; SOMA_ZERO for
     *  both: 0. a without b, b < a or a deviation < 0, and either number for an initialiser that takes none are
     *  errors */
    double a, b;
    int64_t fan_in; /**< he, glorot, lecun; 0: from the shape (OIHW, or out x in) */
    int64_t fan_out;
    bool frozen; /**< not trained */
    bool buffer; /**< kept up to date by the model itself, as running statistics: no parameter; implies frozen */
} soma_tensor_options;
/** A named tensor of the model: a parameter, or a buffer. The name is made unique within the scope. */
SOMA_API soma_value soma_parameter_with(soma_model *m, const char *name, const soma_tensor_options *o);
#define soma_parameter(m, name, ...)                                                                                   \
    soma_parameter_with(m, name, SOMA_OPTIONS(soma_tensor_options, .shape = __VA_ARGS__))

/** A parameter or buffer that the model has already, as a value: "conv1.weight", as soma_tensor_find and soma summary
 *  name it. For weights that layers share and for penalties on weights; what is computed from it has gradients like
 *  anything else:
 *
 *      soma_value w = soma_parameter_value(m, "dense1.weight");
 *      soma_value penalty = soma_reduce_sum(soma_square(w));
 *
 *  Shape: the tensor's, without a batch. Fails, naming the nearest, where the model has no such tensor, and for state
 *  of an optimizer. */
SOMA_API soma_value soma_parameter_value_at(soma_model *m, const char *name, soma_at at);
#define soma_parameter_value(m, name) soma_parameter_value_at(m, name, SOMA_AT)

/** A constant; the bytes are copied. */
SOMA_API soma_value soma_constant_at(soma_model *m, const soma_tensor *tensor, soma_at at);
#define soma_constant(m, tensor) soma_constant_at(m, tensor, SOMA_AT)
/** A scalar constant of x's type, in x's graph. */
SOMA_API soma_value soma_scalar_at(soma_value x, double number, soma_at at);
#define soma_scalar(x, number) soma_scalar_at(x, number, SOMA_AT)

/* ---- ops ---- */

/** Names one call of an op; `attrs` points to the op's attribute struct (NULL: all defaults), n_out outputs are written
 *  (absent optional ones at the end may be left out). layer: a name for errors, plans and random draws; NULL:
 *  automatic. */
typedef struct soma_apply_options {
    size_t struct_size;
    soma_at at;
    const void *attrs;
    const char *layer;
} soma_apply_options;
SOMA_API soma_status soma_apply_with(const soma_op *op, const soma_value *in, int n_in, soma_value *out, int n_out,
                                     const soma_apply_options *o);

/** True for a value that exists and whose builder succeeded. */
SOMA_API bool soma_ok(soma_value x);
/** No value: for absent optional inputs. */
static inline soma_value soma_none(void)
{
    soma_value none = {NULL, -1};
    return none;
}
/** Type of a value; the batch is still symbolic. */
SOMA_API soma_type soma_value_type(soma_value x);
SOMA_API const char *soma_value_name(soma_value x);

/** Names an output of the model. */
SOMA_API void soma_output_at(soma_model *m, const char *name, soma_value x, soma_at at);
#define soma_output(m, name, x) soma_output_at(m, name, x, SOMA_AT)
SOMA_API soma_value soma_model_input(const soma_model *m, int index); /**< the failed value past the end */
SOMA_API soma_value soma_model_output(const soma_model *m, int index);
SOMA_API const char *soma_model_output_name(const soma_model *m, int index);

/** Gradients of the scalar y with respect to x[0..n-1] as values of the same graph, so they may be differentiated
 *  again. An op on the way that has no gradient is an error that names it. Where y does not depend on x[i], zeros. */
SOMA_API soma_status soma_grad_at(soma_value y, const soma_value *x, int n, soma_value *dx, soma_at at);
#define soma_grad(y, x, n, dx) soma_grad_at(y, x, n, dx, SOMA_AT)

/** One op of the model, in building order: for tables and drawings. Texts live as long as the model. */
typedef struct soma_model_node {
    const char *op, *layer;
    soma_type output;   /**< of output 0; the batch is symbolic */
    int64_t parameters; /**< elements of the tensors that it reads first (shared ones count once) */
    int64_t trainable;  /**< of them, not frozen */
    int64_t buffers;    /**< elements of the running statistics that it reads first; they count as no parameters */
    double flops;       /**< for one sample */
} soma_model_node;
SOMA_API int soma_model_nodes(const soma_model *m);
SOMA_API soma_model_node soma_model_node_at(const soma_model *m, int index);

/* ---- named tensors of a model ---- */

/** A tensor by position in creation order, a view into the parameter block; data NULL past the end. Plain layout. */
typedef struct soma_named_tensor {
    const char *name;
    soma_tensor tensor;
    bool frozen;
    bool buffer; /**< no parameter: running statistics */
} soma_named_tensor;
SOMA_API int soma_tensor_count(soma_model *m);
/** Fills the tensors on first use (initialisers), so the data is readable and writable; call soma_touch after
 *  writing. */
SOMA_API soma_named_tensor soma_tensor_at(soma_model *m, int index);
SOMA_API soma_named_tensor soma_tensor_find(soma_model *m, const char *name);
/** Says that tensors were written from outside: packed copies are made anew before the next step. */
SOMA_API void soma_touch(soma_model *m);
/** SOMA_DATA where a parameter that is not frozen, or a running statistic, holds NaN or infinity; the sentence names
 *  the first one. soma_fit ends with it; after an open loop it goes before soma_save. */
SOMA_API soma_status soma_check_finite(soma_model *m);
/** Draws the initial values (again), from the context's seed unless seeded otherwise. */
SOMA_API soma_status soma_initialize(soma_model *m, uint64_t seed);

/** A rule for names: wherever `from` stands in a name it becomes `to`; "^" in front of `from` means only at the
 *  beginning. {"^module.", ""}, {"fire2/", "features.3."}. */
typedef struct soma_rename {
    const char *from, *to;
} soma_rename;

/* ---- programs ---- */

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
 *  it that is fed writes over them, and compiling one may move them (what they hold moves along), so ask again after
 *  that. */
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

/** Bytes by kind, known before the first is allocated. */
typedef struct soma_plan_memory {
    uint64_t parameters, state, gradients, activations, inputs, packed, tables, library, total;
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
} soma_plan_array;
/** What max_memory costs: zeros where nothing is computed again. */
typedef struct soma_plan_recomputation {
    int nodes;
    double flops;   /**< of one step (all pieces), computed again */
    double share;   /**< of the FLOPs of the step without them */
    uint64_t saved; /**< bytes of activations */
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
/** soma_program_record of the model's last training (its full batches), also when that was before it was saved; 0:
 *  none, or exact. Kernels that were timed are saved with the model; loaded on the same machine, with the same
 *  threads and libraries, they are taken again for the same shapes, tuned or not, so that training goes on with the
 *  same bits. */
SOMA_API uint64_t soma_model_record(const soma_model *m);
/** Threads that a step of the program uses: the context's, or fewer where its shapes give them too little work. Never
 *  by how busy the machine is, so that bits do not depend on it. 0 for NULL. */
SOMA_API int soma_program_threads(const soma_program *p);
/** Hash of the kernels chosen: same machine, threads, batch and record give the same bits. */
SOMA_API uint64_t soma_program_record(const soma_program *p);
/** Runs `steps` steps with a clock around every node and stores the median seconds per node. Updates happen. */
SOMA_API soma_status soma_program_time(soma_program *p, int steps);

/* ---- predicting from several threads ---- */

/** A caller's own activations and inputs for a finished program that updates nothing: one run per thread. Made and
 *  freed on the context's thread when it is not under way; program and model may be freed before it, on that thread,
 *  too. While runs are under way the model's tensors must stay as they are. */
typedef struct soma_run_object soma_run_object;
SOMA_API soma_run_object *soma_run_new(soma_program *p);
SOMA_API void soma_run_free(soma_run_object *r);
SOMA_API soma_tensor soma_run_input(soma_run_object *r, soma_value x);
SOMA_API soma_status soma_run_step(soma_run_object *r);
SOMA_API soma_tensor soma_run_read(soma_run_object *r, soma_value x);
/** The run's own last error; the context is not touched, so that runs of several threads do not meet. */
SOMA_API const char *soma_run_error(const soma_run_object *r);

#ifdef __cplusplus
}
#endif
#endif
