/* SPDX-License-Identifier: Apache-2.0
 *
 * tests/op_samples.h: a sample of an op made into a model of one node: inputs with reproducible values, a program, a
 * step.
 */
#ifndef SOMA_TESTS_OP_SAMPLES_H
#define SOMA_TESTS_OP_SAMPLES_H

#include "graph/graph.h"
#include <soma/soma.h>

#define SAMPLE_ARGS 32
#define SAMPLE_BATCH 3 /* what SOMA_N is bound to */

/* One array of a sample in f64; rank -1: absent. */
typedef struct sample_array {
    soma_shape shape; /* constant */
    soma_dtype dtype; /* as the model has it */
    bool integer;     /* a class index: not differentiable */
    bool target;      /* one-hot rows: gradients do not flow there */
    int64_t n;
    double *at;
} sample_array;

typedef struct sample_case {
    const soma_op *op;
    const soma_sample *sample;
    union {
        char bytes[SOMA_ATTRS_MAX];
        max_align_t align;
    } attrs;
    soma_dtype dtype;
    int n_in, n_out;
    sample_array in[SAMPLE_ARGS], out[SAMPLE_ARGS];
    /* the model, when open */
    soma *s;
    soma_model *m;
    soma_value x[SAMPLE_ARGS], y[SAMPLE_ARGS];
    soma_program *p;
} sample_case;

/* Reads attributes and fills the inputs: f64 values that f32 holds exactly. The same numbers on every machine. */
void sample_begin(sample_case *c, const soma_op *op, const soma_sample *sample);
void sample_end(sample_case *c);
/* A hash of the inputs: fixtures say which inputs they were made from. */
uint64_t sample_hash(const sample_case *c);

/* Opens a context and builds the node; false: soma_error(c->s) says why. `op` may be a copy with fewer kernels. */
bool sample_open(sample_case *c, const soma_op *op, soma_dtype dtype, bool exact);
void sample_close(sample_case *c);
/* Compiles the node's outputs (or `values` instead), writes the inputs, runs a step: false where that failed. */
bool sample_compile(sample_case *c, const soma_value *values, int n);
bool sample_step(sample_case *c);
/* Writes one input. */
bool sample_feed(sample_case *c, int input);
/* Copies outputs into c->out. */
bool sample_read(sample_case *c);
/* open, compile, step, read, close. */
bool sample_run(sample_case *c, const soma_op *op, soma_dtype dtype, bool exact, char *error, size_t capacity);

/* Element i of a tensor as f64, and writing it. */
double sample_get(const soma_tensor *t, int64_t i);
void sample_set(const soma_tensor *t, int64_t i, double number);
/* In [0, 1), from the op's and sample's names and two counters. */
double sample_unit(const sample_case *c, uint32_t i, uint32_t j);

#endif
