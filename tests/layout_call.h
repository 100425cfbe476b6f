/* SPDX-License-Identifier: Apache-2.0
 *
 * tests/layout_call.h: a kernel prepared and run on a sample of its op in any layout and type that it takes, and the
 * reference on the same numbers in f64.
 */
#ifndef SOMA_TESTS_LAYOUT_CALL_H
#define SOMA_TESTS_LAYOUT_CALL_H

#include "compile/kernel.h"

#define LAYOUT_ARGS 14
#define LAYOUT_BATCH 3 /* what SOMA_N is bound to */

/* Arrays of one sample: f64 truth, f32 copies. */
typedef struct layout_arrays {
    int n_in, n_out;
    bool half; /* inputs hold what bf16 can hold, kernels read them so */
    soma_type type[LAYOUT_ARGS];
    double *exact[LAYOUT_ARGS], *bound[LAYOUT_ARGS]; /* bound: the same with absolute values */
    void *plain[LAYOUT_ARGS];
} layout_arrays;

/* One prepared kernel. */
typedef struct layout_call {
    soma *s;
    soma_kernel_call kernel;
    soma_prepare *p; /* of `kernel` */
    soma_arg *arg;
    void *data[LAYOUT_ARGS + 1];
} layout_call;

/* Reads the sample: types of all arguments for f32, inputs filled. */
void layout_sample_open(const soma_op *op, const soma_sample *sample, void *attrs, layout_arrays *a, bool half);
/* What opening does once attributes are read: false where infer refuses them (`reason`). */
bool layout_sample_make(const soma_op *op, const soma_sample *sample, void *attrs, layout_arrays *a, bool half,
                        char reason[SOMA_REASON_MAX]);
void layout_sample_close(layout_arrays *a);
/* Of argument i; 0 where it is absent. */
int64_t layout_elements(const layout_arrays *a, int i);
/* In [-1, 1). */
double layout_uniform(void);
/* f64 on `value`, whose outputs are written. Integers and bytes are in a->plain and, as outputs, copied to `value`. */
void layout_reference(const soma_op *op, void *attrs, layout_arrays *a, double *value[LAYOUT_ARGS]);

void layout_call_open(layout_call *c, const soma_op *op, const void *attrs, int n_in, int n_out, const soma_type *type,
                      int threads);
/* As a program of precision bf16 types its arguments: activations are bf16, weights and their gradients f32. A product
 * may write f32 (`outputs` false). */
void layout_type_halves(layout_call *c, const layout_arrays *a, bool outputs);
/* With scratch full of NaN. */
soma_status layout_call_run(layout_call *c);
void layout_call_close(layout_call *c);

/* Plain f32 to the layout and type of `a`, packed ones too, or back. */
void layout_move(const soma_arg *a, void *plain, void *there, bool back);

/* The next combination of layouts after kinds[] (begin with zeros): all of those that a converting kernel takes, one
 * for all of one that follows. false: there is none. */
bool layout_next(const soma_kernel *kernel, const layout_arrays *a, soma_layout_kind kinds[LAYOUT_ARGS]);

#endif
