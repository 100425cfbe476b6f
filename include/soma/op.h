/* SPDX-License-Identifier: Apache-2.0
 *
 * soma/op.h: the op contract. An op is a const struct whose name is its only identity: in files, errors and docs.
 * Built-in ops and a user's own op are the same thing; both reach a model through soma_apply (soma/model.h).
 */
#ifndef SOMA_OP_H
#define SOMA_OP_H

#include <soma/field.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct soma_graph soma_graph;
typedef struct soma_graph_node soma_graph_node; /* a node's inside, for the rewrites of built-in ops */
typedef struct soma_op soma_op;

/** A tensor in a graph, by value. id < 0: the failed value (graph set) or no value at all (graph NULL). */
typedef struct soma_value {
    soma_graph *graph;
    int32_t id;
} soma_value;

#define SOMA_MAX_ARGS 16384 /* inputs plus outputs of one node: update ops take one per parameter, slot and gradient */
#define SOMA_ATTRS_MAX 256  /* bytes of an attribute struct */

/* ---- shape inference ------------------------------------------------------------------------------------------ */

/** What infer sees. It sets out[0 .. n_out-1] or refuses with a sentence; the graph adds op, layer and place. */
typedef struct soma_infer {
    const void *attrs;
    int n_in, n_out;
    const soma_type *in; /* an absent optional input has rank -1 */
    soma_type *out;
    char *reason; /* filled by soma_refuse */
} soma_infer;

/** Writes the type as text, "f32[N,64,11,11]", into `text` and returns it. */
SOMA_API const char *soma_type_text(const soma_type *type, char text[96]);

/* ---- gradient: emits nodes ------------------------------------------------------------------------------------ */

/** What grad sees. For each i with want[i], set din[i] to a value built by the public builders (or leave it absent:
 *  no gradient flows). dout[i] is absent where nothing downstream depends on output i. */
typedef struct soma_gradient {
    const void *attrs;
    int n_in, n_out;
    const soma_value *in, *out, *dout;
    const bool *want;
    soma_value *din;
} soma_gradient;

/* ---- state that training carries along: emits assigning nodes -------------------------------------------------- */

/** What update sees of a node in a program that updates the model. It sets `update` to output 0 of the assigning node
 *  that it built with the public builders (batch_norm: the running statistics), or leaves it absent. */
typedef struct soma_state_update {
    const void *attrs;
    int n_in, n_out;
    const soma_value *in, *out;
    soma_value update;
} soma_state_update;

/* ---- the tail: y = gate(act(op(x) + bias + z)) ------------------------------------------------------------------- */

/** What may come behind an op and be done where its result is first written. The inputs among these parts follow the
 *  op's own, in this order: the bias, the gate's y, what is added. An attribute "activation" is what is applied, an
 *  attribute "gate" the activation by whose result y a gradient passes. */
typedef enum soma_tail_part {
    SOMA_TAIL_BIAS = 1, /* one number per channel; every kernel of such an op adds it itself */
    SOMA_TAIL_GATE = 2, /* the gradient of an activation, from its result y */
    SOMA_TAIL_ADD = 4,  /* an array of the result's type */
    SOMA_TAIL_ACT = 8
} soma_tail_part;

/* ---- kernels ---------------------------------------------------------------------------------------------------- */

/** Where an array's elements lie. Blocked layouts are used only where C is a multiple of the block, so there are never
 *  padded lanes. SOMA_PACKED: a library's own order, described by `detail`; only weights and their gradients. */
typedef enum soma_layout_kind { SOMA_PLAIN, SOMA_NHWC, SOMA_NCHW8C, SOMA_NCHW16C, SOMA_PACKED } soma_layout_kind;

/* Packed f32 weights of 1x1 convolutions [k,c,1,1] as square tiles of whole vectors. */
typedef struct soma_tiles {
    int side;       /* 8 or 16 channels; 0: the order is another one */
    bool c_inside;  /* in a tile a k's elements lie side by side, else a c's */
    bool c_outside; /* all tiles of a c follow each other, else all of a k */
} soma_tiles;

typedef struct soma_layout {
    soma_layout_kind kind;
    soma_tiles tiles;   /* SOMA_PACKED: how, where that is said */
    size_t bytes;       /* SOMA_PACKED: size of the array */
    const void *detail; /* SOMA_PACKED: the library's descriptor, owned by the program */
    uint64_t key;       /* SOMA_PACKED: equal keys mean equal layouts */
    /* elements from one sample to the next where the array lies inside a larger one (a part of a concat, a slice of
     * channels); 0: dense. Only arguments that a kernel's `strided` names ever have one */
    int64_t batch_stride;
} soma_layout;

/** One array as a kernel sees it at prepare: concrete shape (the piece's batch), type, layout. */
typedef struct soma_arg {
    soma_dtype dtype;
    soma_shape shape; /* logical, NCHW whatever the layout; rank -1: absent */
    soma_layout layout;
    int64_t elements;
    bool batched;  /* the first dimension is the batch */
    bool constant; /* the same bytes in every step of a program that does not update (a parameter, say) */
} soma_arg;

typedef struct soma_run soma_run;

/** Runs a prepared kernel. state: what prepare stored. arg: inputs, then outputs, then one scratch pointer (NULL if
 *  none was asked for); absent arguments are NULL. Never allocates, never writes its inputs (but for declared
 *  aliasing). */
typedef soma_status (*soma_run_fn)(const void *state, void *const *arg, soma_run *run);

typedef struct soma_prepare {
    const soma_op *op;
    const void *attrs;
    int n_in, n_out;
    soma_arg *in, *out; /* a kernel with .packs may set layout of weights to SOMA_PACKED here */
    int64_t batch;      /* samples that pass through one run of the kernel (a piece, or the whole batch) */
    int64_t full_batch; /* samples of the step: what means divide by */
    int threads;
    bool exact;
    uint64_t site; /* hash of the layer's stable name: the random draws' site */
    uint64_t seed;
    /* results */
    soma_run_fn run;
    const void *state; /* from soma_prepare_state */
    size_t scratch;    /* bytes, 64-byte aligned when run */
    bool parallel;     /* the run starts parallel regions (leave false for tiny work: it runs on the caller's thread) */
    bool apart;        /* output 0 must not lie over the input that the op's inplace_in names */
    /* parts of the tail that a pass behind the kernel does; prepare may leave it more or fewer */
    uint32_t behind;
    double flops;                   /* of one run; 0: the op's flops function decides */
    char *note;                     /* SOMA_REASON_MAX bytes: what was chosen, e.g. the library's implementation name */
    char *reason;                   /* filled by soma_refuse */
    struct soma_prepare_room *room; /* opaque: what the program keeps for its kernels */
} soma_prepare;

/** Zeroed memory that lives as long as the program; NULL when there is none (return SOMA_MEMORY then). */
SOMA_API void *soma_prepare_state(soma_prepare *p, size_t size);
/** Registers what must be called when the program is freed (a library's handle, say). */
SOMA_API soma_status soma_prepare_cleanup(soma_prepare *p, void (*destroy)(void *), void *object);

/** Handed to every run. */
struct soma_run {
    int threads; /* a kernel starts at most that many */
    uint64_t seed;
    uint64_t step;         /* counts from 0; the random draws' step */
    int64_t sample_offset; /* of this piece in the full batch */
    soma_random random;
    bool exact;
    char *reason; /* SOMA_REASON_MAX bytes, for soma_refuse */
};

#define SOMA_STRIDED_ALL UINT32_MAX

/** How a kernel sees layouts. */
typedef enum soma_layout_rule {
    SOMA_LAYOUT_PLAIN = 0, /* every argument plain */
    SOMA_LAYOUT_TOGETHER,  /* all rank-4 arguments share one layout that suits each, whatever their channels */
    SOMA_LAYOUT_FOLLOW,    /* all rank-4 arguments of output 0's shape share one layout, whichever; the others plain */
    SOMA_LAYOUT_CONVERT,   /* rank-4 arguments may each have any of plain, nhwc, nChw8c, nChw16c */
    SOMA_LAYOUT_ASK        /* request() says */
} soma_layout_rule;

/** Where a program of precision bf16 may store arrays in bf16: arrays of f32 with the batch in front and another
 *  dimension. */
typedef enum soma_bf16_rule {
    SOMA_BF16_NONE = 0, /* nowhere */
    SOMA_BF16_FOLLOW,   /* all of them or none: the kernel takes bf16 only, and computes in f32 */
    /* multiplies bf16: inputs all or none, outputs then bf16 or f32; prepare may ask for another dtype of inputs
     * (weights in bf16) */
    SOMA_BF16_MULTIPLY
} soma_bf16_rule;

/** One implementation of one op. accept: cheap, on types and attributes, whether it can (refuse with a sentence);
 *  suits: whether the fixed rule on shapes prefers it where it can: without tuning a kernel that does not suit is
 *  passed over, unless nothing else is left; prepare: once, at compile, with layouts fixed (may still refuse: then the
 *  next kernel is asked). */
typedef struct soma_kernel {
    const char *name; /* "reference", "cpu", "onednn", ... */
    int isa;          /* instruction-set level it was compiled for: 0 any, 2 AVX2, 3 AVX-512 (see cpu/isa.h) */
    /* what its batched arrays are stored in: SOMA_F32, or SOMA_BF16 for programs of that precision */
    soma_dtype stores;
    bool exact; /* same bits everywhere: allowed under --exact */
    soma_bf16_rule bf16;
    soma_layout_rule layouts;
    /* bit k: input k may have a batch_stride (bit 31: all from the 32nd on); outputs only have one where planning
     * nests them (concat, slice) */
    uint32_t strided;
    uint32_t tail; /* parts of the op's tail (soma_tail_part) that the kernel does; a pass behind it does the others */
    uint32_t acts; /* bit k: for activation k of the op's attribute; with SOMA_TAIL_ACT or SOMA_TAIL_GATE */
    soma_status (*accept)(soma_prepare *p);
    bool (*suits)(const soma_prepare *p); /* NULL: always */
    void (*request)(soma_prepare *p);     /* SOMA_LAYOUT_ASK: sets in/out[i].layout of rank-4 activations */
    soma_status (*prepare)(soma_prepare *p);
    const void *reserved[4]; /* NULL */
} soma_kernel;

/* ---- samples: one declaration for oracle, parity, gradient and speed tests ------------------------------------ */

typedef struct soma_sample {
    const char *name;
    const char *attrs;    /* "stride=2,2 padding=1,1,1,1"; NULL: defaults */
    const soma_shape *in; /* n_in shapes, constant dimensions; the first dimension may be SOMA_N (bound to 3) */
    /* per input: 'n' normal, 'p' positive, 'u' in (0,1), 'k' class index below `classes`, 'd' distinct values (no
     * ties), 's' = well away from 0, 'g' from -3 to 9, 'o' one-hot rows, '-' absent; NULL: all 'n' */
    const char *fill;
    int classes;
    bool no_gradient; /* not differentiable at all (argmax-like, updates) */
} soma_sample;

/* ---- what an op says of itself to those who rewrite graphs ----------------------------------------------------- */

/** An activation's gradient, gate = g(dy, y), beside a gradient that can take it in by another way than
 *  SOMA_TAIL_GATE: it reads the gate's result as input 0 or, with `behind`, makes the gate's dy. take_gate sets inputs
 *  and outputs of the merged node. */
typedef struct soma_gate_merge {
    const soma_graph *graph;
    const soma_graph_node *gradient, *gate;
    bool behind;
    int act; /* becomes the attribute "gate" */
    int n_in, n_out;
    int32_t *in, *out; /* room for all of the op's; the gradient's own when called, -1: absent */
} soma_gate_merge;

/** A node that is y = act(a[c] x + b[c]), a and b made of values that stay while nothing is trained, and the op that
 *  makes of a product's weights w (filters in front) and bias b those of product and node together. */
typedef struct soma_affine {
    int32_t w, b; /* of the product; b may be -1 */
    const soma_op *op;
    int32_t in[8]; /* of that op, w and b among them */
    int n_in;
    int act;
    double attrs[SOMA_ATTRS_MAX / sizeof(double)];
} soma_affine;

/** Parts of an array along an axis: inputs follow each other in output 0 (joins), or output 0 begins at `begin` in
 *  input 0. */
typedef struct soma_parts {
    bool joins;
    int axis;
    int64_t begin;
} soma_parts;

/* ---- the op ------------------------------------------------------------------------------------------------------ */

/** How far a kernel's results may be from the exact ones: what tests allow. EXACT: not at all (numbers are moved,
 *  compared or counted). ROUNDING: a few roundings of each element, 4 eps |y|. SUM: elements are sums of K products of
 *  inputs, 4 sqrt(K) eps sum |a| |b|, which the op itself gives on absolute values. LOOSE: 4 sqrt(K) eps (|y| + the
 *  largest |y|). */
typedef enum soma_error_rule {
    SOMA_ERROR_EXACT = 0,
    SOMA_ERROR_ROUNDING,
    SOMA_ERROR_SUM,
    SOMA_ERROR_LOOSE
} soma_error_rule;

/** How a node behaves under pieces of the batch. */
typedef enum soma_batch_rule {
    SOMA_BATCH_EACH = 0, /* row i of the output depends on row i of the inputs only */
    SOMA_BATCH_SUM,      /* an output without the batch is a sum (or mean) over rows: pieces may be added */
    SOMA_BATCH_WHOLE     /* needs all rows at once */
} soma_batch_rule;

struct soma_op {
    const char *name;
    const char *doc;              /* formula and source, one paragraph */
    const char *onnx;             /* the ONNX op of the same meaning, or NULL */
    int required_in, optional_in; /* -1 for required_in: any number, at least one (concat, updates) */
    int required_out, optional_out;
    size_t attrs_size;
    const soma_field *fields; /* ends with name NULL; NULL: no attributes */
    soma_error_rule error;
    soma_batch_rule batch;
    soma_batch_rule (*batch_rule)(const void *attrs); /* where it depends on attributes; NULL: `batch` */
    uint32_t tail;                                    /* soma_tail_part: what can be done behind it */
    bool (*takes_tail)(const void *attrs);            /* where that depends on attributes; NULL: always */
    /** The part of a tail that the op itself is (relu: SOMA_TAIL_ACT), or 0; inputs of a gate: dy, y. */
    uint32_t as_tail;
    int act; /* then which activation: index of the attributes "activation" and "gate" */
    /** Elements of output 0 are elements of input 0, the largest of some: a clamp may come before or after. */
    bool selects;
    bool folds_affine;  /* a product (weights: input 1) that can do what an affine node behind it does */
    int inplace_in;     /* 1 + input that output 0 may overwrite (same type and layout, last use); 0: none */
    bool alias;         /* output 0 is input 0's bytes under another shape (reshape) */
    bool random;        /* draws random numbers: never merged with an equal node */
    bool training_only; /* in a program that only predicts, output 0 is input 0 (dropout) */
    /** Assigns: output i replaces state input assign(attrs, n_in, i); NULL: a pure function. */
    int (*assign)(const void *attrs, int n_in, int out);
    soma_status (*infer)(soma_infer *i);
    void (*grad)(soma_gradient *g);
    void (*refresh)(soma_state_update *u); /* NULL: no state beside parameters */
    /** Takes the form that the op has where nothing is trained, and returns how many of n_out outputs it then makes;
     *  the others are the inputs of the same position. NULL: it has one form. */
    int (*settle)(void *attrs, int n_out);
    bool (*take_gate)(soma_gate_merge *m);                       /* false: these do not go together */
    bool (*affine)(const soma_graph_node *node, soma_affine *a); /* false: the node is not */
    bool (*parts)(const void *attrs, soma_parts *parts);
    double (*flops)(const void *attrs, const soma_arg *in, int n_in, const soma_arg *out);
    const soma_kernel *const *kernels; /* best first, reference last, NULL-terminated */
    const soma_sample *samples;        /* ends with name NULL */
    int n_in_samples;                  /* inputs per sample */
    const void *reserved[8];           /* NULL: programs have ops of their own */
};

/** The position of an input of the op's tail, or -1. */
static inline int soma_tail_input(const soma_op *op, soma_tail_part part)
{
    int behind = 0;
    for (uint32_t k = part; k <= SOMA_TAIL_ADD; k <<= 1)
        behind += (op->tail & k) != 0;
    return op->tail & part && part <= SOMA_TAIL_ADD ? op->required_in + op->optional_in - behind : -1;
}

/** Built-in ops, in the order of ops.list; NULL past the end. */
SOMA_API const soma_op *soma_op_at(int index);
/** The built-in op of that name, or NULL. */
SOMA_API const soma_op *soma_op_find(const char *name);

#ifdef __cplusplus
}
#endif
#endif
