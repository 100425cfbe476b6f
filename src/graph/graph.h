/* SPDX-License-Identifier: Apache-2.0
 *
 * graph/graph.h: the inside of graphs and models. Knows ops by their contract only: no "loss", "label" or "epoch".
 */
#ifndef SOMA_GRAPH_GRAPH_H
#define SOMA_GRAPH_GRAPH_H

#include "base/arena.h"
#include "base/context.h"
#include <soma/model.h>

typedef enum soma_value_kind {
    SOMA_VALUE_COMPUTED,
    SOMA_VALUE_INPUT,
    SOMA_VALUE_TENSOR, /* a named tensor of the model: parameter, buffer, slot, counter */
    SOMA_VALUE_CONSTANT
} soma_value_kind;

typedef struct soma_graph_value {
    soma_value_kind kind;
    soma_type type; /* batch symbolic */
    const char *name;
    int node, out;     /* COMPUTED: which output of which node */
    int tensor;        /* TENSOR: index into model->tensors */
    const void *bytes; /* CONSTANT: owned by the graph's arena; elements as in type (never batched) */
    soma_at at;
} soma_graph_value;

struct soma_graph_node {
    const soma_op *op;
    const void *attrs; /* resolved, owned by the arena */
    int n_in, n_out;
    int32_t *in, *out; /* value ids; -1: absent */
    const char *layer; /* stable name, unique among forward nodes */
    uint64_t site;     /* hash of layer: gradients keep their forward node's */
    soma_at at;
};

static inline int32_t soma_node_in(const soma_graph_node *node, int k)
{
    return k >= 0 && k < node->n_in ? node->in[k] : -1;
}

/* What the graph's own passes need of the ops above it, registered once (op/registry.c). */
typedef struct soma_graph_ops {
    const soma_op *reorder, *accumulate;
    soma_status (*tail)(soma_prepare *p); /* the pass behind a kernel that does p->behind */
    soma_value (*sum)(soma_value a, soma_value b, soma_at at);
    soma_value (*zeros)(soma_value like, soma_at at);
    soma_value (*one)(soma_value like, soma_at at);
} soma_graph_ops;
extern const soma_graph_ops soma_ops;

struct soma_graph {
    soma *s;
    soma_model *model;
    soma_arena arena;
    soma_graph_value *values;
    int n_values, value_capacity;
    soma_graph_node *nodes;
    int n_nodes, node_capacity;
    bool failed;
    const char *layer_override; /* gradient pass: layer name for the nodes it emits */
    uint64_t site_override;
};

/* A named tensor. Bytes lie in the model's blocks, allocated at first use. */
typedef struct soma_model_tensor {
    const char *name;
    soma_type type;           /* constant dimensions */
    soma_tensor_options init; /* texts copied */
    bool frozen;              /* not trained */
    bool buffer;              /* running statistics: part of the model, but no parameter */
    bool slot;                /* belongs to training (optimizer state, counters): not part of the model proper */
    void *data;               /* NULL until allocated */
    uint64_t site;
} soma_model_tensor;

typedef struct soma_model_io {
    const char *name;
    int32_t value;
} soma_model_io;

struct soma_model {
    soma_object object;
    soma *s;
    int references; /* the caller's, and one of each training and of each program that the caller compiled */
    const char *name;
    soma_graph *graph;
    soma_arena arena;
    soma_model_tensor *tensors;
    int n_tensors, tensor_capacity;
    soma_model_io *inputs, *outputs;
    int n_inputs, n_outputs, input_capacity, output_capacity;
    void **blocks; /* parameter and slot memory */
    int n_blocks, block_capacity;
    uint64_t block_bytes;
    uint64_t version; /* moves whenever tensors change: packed copies are made anew */
    bool reading;     /* tensors are about to be read from a file: not filled first */
    /* scopes and automatic names */
    char scope[512];
    size_t scope_at[32]; /* where each begins: a scope's own name may hold dots */
    int n_scopes;
    struct soma_name_counter *counters;
    int n_counters, counter_capacity;
    /* programs and the memory that they share (program.h): freed after the attachments, which may own programs */
    struct soma_workspace *workspace;
    void (*free_workspace)(soma_model *m);
    /* what higher floors keep with the model and free with it (train: cached programs; io: class names) */
    struct soma_attachment *attachments;
};

/* Something a higher floor keeps with a model under a key, which is compared by content. */
typedef struct soma_attachment {
    struct soma_attachment *next;
    const char *key;
    void *data;
    void (*destroy)(soma_model *m, void *data);
} soma_attachment;
void *soma_attached(const soma_model *m, const char *key);
soma_status soma_attach(soma_model *m, const char *key, void *data, void (*destroy)(soma_model *, void *));

/* One reference more, one less: the last one frees. On the context's thread only. */
void soma_model_hold(soma_model *m);
void soma_model_drop(soma_model *m);

/* Key of a text that says which network was built where tensors do not tell; soma_load_weights logs it. */
#define SOMA_ZOO_NOTE "zoo.reading"

/* A copy of the model's graph with the same value ids, to which losses and updates may be added without touching the
 * model. Freed by soma_graph_free. NULL: no memory. */
soma_graph *soma_graph_copy(const soma_graph *graph, soma *s);
void soma_graph_free(soma_graph *graph);
static inline soma_value soma_value_in(soma_graph *graph, int32_t id)
{
    soma_value x = {graph, id};
    return x;
}

/* An input that belongs to this graph only, not to the model (a loss's target). */
soma_value soma_graph_input(soma_graph *graph, const char *name, soma_type type, soma_at at);
/* The value of an existing tensor of the model in this graph. */
soma_value soma_graph_tensor(soma_graph *graph, int tensor);
/* State of training: made if no tensor of that name exists, filled with `fill`. */
soma_value soma_graph_slot(soma_graph *graph, const char *name, soma_type type, double fill, soma_at at);
/* Refills all slots with their first value. */
soma_status soma_model_reset_slots(soma_model *m);
/* The index of a named tensor, or -1. */
int soma_model_tensor_index(const soma_model *m, const char *name);
/* Does the pattern (soma_glob) match the name, or a part of it that ends before a dot: "layer1" and "layer1.*" both
 * match "layer1.0.conv1.weight", but "layer1" does not match "layer10.weight". */
bool soma_tensor_matches(const char *pattern, const char *name);
/* Marks the tensors (of m->n_tensors) that the last layer with tensors reads, seen from output 0; returns its node or
 * -1. */
int soma_model_head(const soma_model *m, bool *head);
/* Allocates and fills whatever has no memory yet. */
soma_status soma_model_materialize(soma_model *m);

/* Marks the graph failed and sets the context's error; returns the failed value. */
soma_value soma_value_fail(soma_graph *graph, soma_at at, const char *format, ...) SOMA_PRINTF(3, 4);
/* The same where the sentence was told already; graph NULL: no value. */
soma_value soma_graph_refuse(soma_graph *graph);
/* Begins the builders of ops: SOMA_TAKE, in the model of `graph`. False: *failed is what the builder returns. */
bool soma_graph_take(soma_graph *graph, const char *what, const soma_field *fields, size_t size, const void *given,
                     void *options, soma_value *failed);
/* The same for structs whose first member after the head is soma_value x, which has the graph. */
bool soma_graph_take_x(const char *what, const soma_field *fields, size_t size, const void *given, void *options,
                       soma_value *failed);
#define SOMA_TAKE_IN(graph, what, T, given, options, failed)                                                           \
    soma_graph_take(graph, what, T##_fields, sizeof(T), given, options, failed)
#define SOMA_TAKE_X(what, T, given, options, failed)                                                                   \
    soma_graph_take_x(what, T##_fields, sizeof(T), given, options, failed)
/* Lets every node that keep[0 .. *n) depend on emit its assigning nodes and appends those; keep has room for one per
 * node. */
soma_status soma_add_updates(soma_graph *graph, int32_t *keep, int *n);
/* Is one of the node's outputs marked? */
bool soma_node_reached(const soma_graph_node *node, const bool *reached);
/* Marks every value that the marked ones are computed from; reached: one for each value of the graph. */
void soma_reach(const soma_graph *graph, bool *reached);

/* One place where a node of any op is added (attrs may be NULL: defaults). */
soma_status soma_graph_apply(soma_graph *graph, const soma_op *op, const soma_value *in, int n_in, soma_value *out,
                             int n_out, const void *attrs, const char *layer, soma_at at);
/* Shorthand for builders: one output; graph taken from the first present input. */
soma_value soma_apply1(const soma_op *op, const soma_value *in, int n_in, const void *attrs, const char *layer,
                       soma_at at);
/* A name for a layer in the current scope: given, or automatic from kind ("conv" -> "conv1"); made in the arena. */
const char *soma_layer_name(soma_model *m, const char *given, const char *kind);

/* Attribute tables. Text form "stride=2,2 same=true activation=relu". */
soma_status soma_attrs_default(const soma_op *op, void *attrs);
/* The op's attribute "activation", which it applies to its result, or "gate", whose gradient it takes; NULL: it has
 * neither. */
const int *soma_activation_in(const soma_op *op, const void *attrs);
/* Checks ranges; reason gets a sentence. */
soma_status soma_attrs_check(const soma_op *op, const void *attrs, char *reason);
/* Sets one attribute from text; unknown names suggest the nearest. */
soma_status soma_attr_parse(const soma_op *op, void *attrs, const char *name, const char *text, char *reason);
/* Parses "a=1 b=2,3" over the defaults. */
soma_status soma_attrs_parse(const soma_op *op, void *attrs, const char *text, char *reason);
/* Writes one attribute as text ("2,2"). */
void soma_attr_text(const soma_field *field, const void *attrs, char *text, size_t capacity);

#endif
