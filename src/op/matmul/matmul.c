/* SPDX-License-Identifier: Apache-2.0
 *
 * op/matmul/matmul.c: y = act(op(a) op(b) + bias), op(x) = x or x with its last two axes exchanged; numpy.matmul, ONNX
 * MatMul and Gemm. Leading dimensions are batches of matrices and broadcast as NumPy does.
 *
 *     y[t,i,j] = act(bias[j] + sum over q of op(a)[t,i,q] op(b)[t,q,j])
 *
 * A product over the samples (a^T b, both [N, ...]: a dense layer's weight gradient) has no batch: pieces of it add up.
 */
#include "op/matmul/matmul.h"
#include "cpu/isa.h"
#include "cpu/parallel.h"
#include "library/onednn/onednn.h"
#include "graph/graph.h"
#include "tensor/element.h"
#include "op/sample.h"
#include "op/tail/act_exact.h"
#include "base/fields.h"
#include <soma/ops.h>

#include <stddef.h>

#define AT(field) offsetof(soma_matmul_attrs, field)
static const soma_field fields[] = {
    {"transpose_a", SOMA_FIELD_BOOL, AT(transpose_a), 0, 0, 0, 1, NULL, "exchange the last two axes of a"},
    {"transpose_b", SOMA_FIELD_BOOL, AT(transpose_b), 0, 0, 0, 1, NULL, "exchange the last two axes of b"},
    SOMA_ACT_FIELD(soma_matmul_attrs, "applied to the result"),
    {NULL, 0, 0, 0, 0, 0, 0, NULL, NULL}};

/* The leading dimensions of the result, NumPy's broadcasting. */
static soma_status lead_of(soma_infer *i, soma_shape *y)
{
    const soma_shape *a = &i->in[0].shape, *b = &i->in[1].shape;
    char ta[96], tb[96];
    int rank = (a->rank > b->rank ? a->rank : b->rank) - 2;
    for (int j = 0; j < rank; j++) {
        int ja = j - (rank - (a->rank - 2)), jb = j - (rank - (b->rank - 2));
        int64_t da = ja >= 0 ? a->dim[ja] : 1, db = jb >= 0 ? b->dim[jb] : 1;
        if (da != db && da != 1 && db != 1)
            return soma_refuse(i->reason, "the leading dimensions of a %s and b %s do not broadcast",
                               soma_type_text(&i->in[0], ta), soma_type_text(&i->in[1], tb));
        y->dim[j] = da == 1 ? db : da;
        if (j > 0 && y->dim[j] < 1)
            return soma_refuse(i->reason, "only the first dimension of the result may depend on the batch");
    }
    y->rank = rank + 2;
    return SOMA_OK;
}

static soma_status infer(soma_infer *i)
{
    const soma_matmul_attrs *attrs = i->attrs;
    const soma_shape *a = &i->in[0].shape, *b = &i->in[1].shape;
    char ta[96], tb[96];
    if (!soma_is_float(i->in[0].dtype) || i->in[1].dtype != i->in[0].dtype)
        return soma_refuse(i->reason, "a and b must both be f32 or both f64, not %s and %s",
                           soma_dtype_name(i->in[0].dtype), soma_dtype_name(i->in[1].dtype));
    if (a->rank < 2 || b->rank < 2)
        return soma_refuse(i->reason, "a and b must have at least 2 dimensions, not %d and %d", a->rank, b->rank);
    int64_t rows = a->dim[a->rank - (attrs->transpose_a ? 1 : 2)], ka = a->dim[a->rank - (attrs->transpose_a ? 2 : 1)];
    int64_t columns = b->dim[b->rank - (attrs->transpose_b ? 2 : 1)],
            kb = b->dim[b->rank - (attrs->transpose_b ? 1 : 2)];
    if (ka != kb)
        return soma_refuse(i->reason, "the inner sizes of a %s%s and b %s%s differ", soma_type_text(&i->in[0], ta),
                           attrs->transpose_a ? " transposed" : "", soma_type_text(&i->in[1], tb),
                           attrs->transpose_b ? " transposed" : "");
    soma_shape y = SOMA_SCALAR;
    soma_status status = lead_of(i, &y);
    if (status != SOMA_OK)
        return status;
    if (columns < 1 || (rows < 1 && y.rank > 2))
        return soma_refuse(i->reason, "only the first dimension of the result may depend on the batch");
    y.dim[y.rank - 2] = rows;
    y.dim[y.rank - 1] = columns;
    if (i->n_in > 2 && i->in[2].shape.rank >= 0 &&
        (i->in[2].shape.rank != 1 || i->in[2].shape.dim[0] != columns || i->in[2].dtype != i->in[0].dtype))
        return soma_refuse(i->reason, "the bias must have a's type and one element for each of the %lld columns",
                           (long long)columns);
    i->out[0] = (soma_type){i->in[0].dtype, y};
    return SOMA_OK;
}

/* a b with transposes, summed down to the shape of `like` where that was broadcast. */
static soma_value product(soma_value a, bool transpose_a, soma_value b, bool transpose_b, soma_value like)
{
    soma_value y = soma_matmul(a, b, .transpose_a = transpose_a, .transpose_b = transpose_b);
    soma_type from = soma_value_type(y), to = soma_value_type(like);
    return soma_ok(y) && !soma_same_shape(&from.shape, &to.shape) ? soma_sum_to_at(y, like, soma_nowhere()) : y;
}

/* y = A B: dA = dy B^T, dB = A^T dy, and the transposes of these where a or b came transposed. */
static void grad(soma_gradient *g)
{
    const soma_matmul_attrs *attrs = g->attrs;
    bool ta = attrs->transpose_a, tb = attrs->transpose_b;
    soma_value a = g->in[0], b = g->in[1], dy = soma_act_gradient((soma_act)attrs->activation, g->dout[0], g->out[0]);
    if (g->want[0])
        g->din[0] = ta ? product(b, tb, dy, true, a) : product(dy, false, b, !tb, a);
    if (g->want[1])
        g->din[1] = tb ? product(dy, true, a, ta, b) : product(a, !ta, dy, false, b);
    if (g->n_in > 2 && g->want[2]) {
        soma_type type = soma_value_type(dy);
        g->din[2] = soma_reduce_sum(dy, .axes = SOMA_AXIS(type.shape.rank - 1) - 1u);
    }
}

static double flops(const void *attrs, const soma_arg *in, int n_in, const soma_arg *out)
{
    const soma_matmul_attrs *at = attrs;
    (void)n_in;
    return 2.0 * (double)out[0].elements * (double)in[0].shape.dim[in[0].shape.rank - (at->transpose_a ? 2 : 1)];
}

/* ---- reference ---- */

typedef struct reference_state {
    soma_matmul_case c;
    soma_dtype dtype;
    int n_in;
} reference_state;

typedef struct reference_job {
    const reference_state *s;
    void *const *arg;
} reference_job;

#define DOT(T, name)                                                                                                   \
    static double name(const T *a, int64_t a_step, const T *b, int64_t b_step, int64_t k)                              \
    {                                                                                                                  \
        double sum = 0;                                                                                                \
        for (int64_t q = 0; q < k; q++)                                                                                \
            sum += (double)a[q * a_step] * (double)b[q * b_step];                                                      \
        return sum;                                                                                                    \
    }
DOT(float, dot_f32)
DOT(double, dot_f64)

/* Rows of the result, all matrices together. */
static void reference_part(void *context, int index, int count)
{
    const reference_job *job = context;
    const reference_state *s = job->s;
    const soma_matmul_case *c = &s->c;
    int64_t begin, end, a0, b0;
    soma_share(c->batches * c->m, 1, index, count, &begin, &end);
    for (int64_t row = begin; row < end; row++) {
        soma_matmul_offsets(c, row / c->m, &a0, &b0);
        a0 += row % c->m * c->a_row;
        for (int64_t j = 0; j < c->n; j++) {
            int64_t bj = b0 + j * c->b_col;
            double y = s->dtype == SOMA_F32 ? dot_f32((const float *)job->arg[0] + a0, c->a_col,
                                                      (const float *)job->arg[1] + bj, c->b_row, c->k)
                                            : dot_f64((const double *)job->arg[0] + a0, c->a_col,
                                                      (const double *)job->arg[1] + bj, c->b_row, c->k);
            if (c->bias)
                y += soma_get(job->arg[2], s->dtype, j);
            soma_set(job->arg[s->n_in], s->dtype, row * c->n + j, soma_act_exact(c->activation, y));
        }
    }
}

static soma_status reference_run(const void *state, void *const *arg, soma_run *run)
{
    reference_job job = {state, arg};
    soma_parallel(run->threads, reference_part, &job);
    return SOMA_OK;
}

static soma_status reference_prepare(soma_prepare *p)
{
    reference_state *s = soma_prepare_state(p, sizeof *s);
    if (!s)
        return SOMA_MEMORY;
    *s = (reference_state){soma_matmul_case_of(p), p->in[0].dtype, p->n_in};
    p->state = s;
    p->run = reference_run;
    p->parallel = true;
    return SOMA_OK;
}

/* ---- samples ---- */

#define S SOMA_DIMS
#define IN (const soma_shape[])
static const soma_sample samples[] = {
    {"dense", "transpose_b=true", IN{S(SOMA_N, 5), S(4, 5), S(4)}, NULL, 0, false},
    {"input gradient", NULL, IN{S(SOMA_N, 4), S(4, 5), S(5)}, "nn-", 0, false},
    {"weight gradient", "transpose_a=true", IN{S(SOMA_N, 4), S(SOMA_N, 5), S(5)}, "nn-", 0, false},
    {"both transposed", "transpose_a=true transpose_b=true", IN{S(7, 3), S(2, 7), S(2)}, NULL, 0, false},
    {"neuron", "transpose_b=true", IN{S(32, 1), S(1, 1), S(1)}, NULL, 0, false},
    {"neuron, weight", "transpose_a=true", IN{S(32, 1), S(32, 1), S(1)}, "nn-", 0, false},
    {"2 to 4, tanh", "transpose_b=true activation=tanh", IN{S(10, 2), S(4, 2), S(4)}, NULL, 0, false},
    {"4 to 2, sigmoid", "transpose_b=true activation=sigmoid", IN{S(10, 4), S(2, 4), S(2)}, NULL, 0, false},
    {"2 to 1, relu", "transpose_b=true activation=relu", IN{S(11, 2), S(1, 2), S(1)}, "ss-", 0, true},
    {"3 to 5 weight", "transpose_a=true", IN{S(13, 3), S(13, 5), S(5)}, "nn-", 0, false},
    {"1 row", "transpose_b=true", IN{S(1, 9), S(3, 9), S(3)}, NULL, 0, false},
    {"matrices", NULL, IN{S(SOMA_N, 2, 3), S(SOMA_N, 3, 4), S(4)}, NULL, 0, false},
    {"broadcast b", "transpose_a=true", IN{S(SOMA_N, 3, 2), S(3, 4), S(4)}, "nn-", 0, false},
    {"broadcast both", "transpose_b=true", IN{S(2, 1, 2, 3), S(3, 2, 3), S(2)}, NULL, 0, false},
    {"13 x 7 x 21, relu6", "transpose_b=true activation=relu6", IN{S(13, 21), S(7, 21), S(7)}, NULL, 0, false},
    {"17 x 19 x 23", "transpose_b=true activation=tanh", IN{S(17, 23), S(19, 23), S(19)}, NULL, 0, true},
    {"33 x 40 x 31", NULL, IN{S(33, 31), S(31, 40), S(40)}, "nn-", 0, true},
    {"21 x 35 x 64", "transpose_a=true", IN{S(64, 21), S(64, 35), S(35)}, "nn-", 0, true},
    {"128 x 10 x 128", "transpose_b=true", IN{S(128, 128), S(10, 128), S(10)}, NULL, 0, true},
    {"65 x 130 x 257", "transpose_b=true activation=relu", IN{S(65, 257), S(130, 257), S(130)}, NULL, 0, true},
    {"65 x 257 x 130", NULL, IN{S(65, 130), S(130, 257), S(257)}, "nn-", 0, true},
    {"130 x 257 x 65", "transpose_a=true", IN{S(65, 130), S(65, 257), S(257)}, "nn-", 0, true},
    {"matrices of 20", "transpose_b=true", IN{S(SOMA_N, 20, 40), S(SOMA_N, 33, 40), S(33)}, NULL, 0, true},
    {"1 row, a large matrix", "transpose_b=true activation=relu", IN{S(1, 1031), S(1027, 1031), S(1027)}, NULL, 0,
     true},
    {"7 rows, a large matrix", "transpose_b=true", IN{S(7, 1040), S(1027, 1040), S(1027)}, "nn-", 0, true},
    {"a large matrix, 3 rows", "activation=tanh", IN{S(3, 1030), S(1030, 1041), S(1041)}, NULL, 0, true},
    {"a large matrix, 8 rows", NULL, IN{S(8, 1027), S(1027, 1040), S(1040)}, "nn-", 0, true},
    {"a large result of 5", "transpose_a=true", IN{S(5, 1025), S(5, 1043), S(1043)}, "nn-", 0, true},
    {"a large result of 8", "transpose_a=true", IN{S(8, 1025), S(8, 1040), S(1040)}, "nn-", 0, true},
    {NULL, NULL, NULL, NULL, 0, false}};

SOMA_ISA_DECLARE(soma_matmul_cpu)
SOMA_ISA_DECLARE(soma_matmul_thin_cpu)
SOMA_ONEDNN_DECLARE(soma_matmul_onednn)
static const soma_kernel reference = {
    .name = "reference", .exact = true, .tail = SOMA_TAIL_ACT, .acts = UINT32_MAX, .prepare = reference_prepare};
static const soma_kernel *const kernels[] = {
    SOMA_ISA_LIST(soma_matmul_thin_cpu) SOMA_ISA_LIST(soma_matmul_cpu) SOMA_ONEDNN_LIST(soma_matmul_onednn) & reference,
    NULL};

const soma_op soma_op_matmul = {
    .name = "matmul",
    .doc = "y = act(op(a) op(b) + bias); op exchanges the last two axes where transposed; leading dimensions broadcast",
    .onnx = "MatMul",
    .required_in = 2,
    .optional_in = 1,
    .required_out = 1,
    .attrs_size = sizeof(soma_matmul_attrs),
    .fields = fields,
    .batch = SOMA_BATCH_SUM,
    .tail = SOMA_TAIL_BIAS | SOMA_TAIL_ACT,
    .error = SOMA_ERROR_SUM,
    .infer = infer,
    .grad = grad,
    .flops = flops,
    .kernels = kernels,
    .samples = samples,
    .n_in_samples = 3};

SOMA_TABLE(soma_matmul_options) = {
    SOMA_OTHER(soma_matmul_options, b, .doc = "the second factor"),
    SOMA_OTHER(soma_matmul_options, bias, .doc = "[columns], added to every row; absent: none"),
    SOMA_BOOL(soma_matmul_options, transpose_a, .doc = "the last two axes of a are exchanged"),
    SOMA_BOOL(soma_matmul_options, transpose_b, .doc = "those of b"), SOMA_FIELDS_END};

soma_value soma_matmul_with(soma_value a, const soma_matmul_options *given)
{
    soma_matmul_options o;
    soma_value failed;
    if (!SOMA_TAKE_IN(a.graph, "matmul", soma_matmul_options, given, &o, &failed))
        return failed;
    const soma_matmul_attrs attrs = {o.transpose_a, o.transpose_b, SOMA_ACT_NONE};
    const soma_value in[3] = {a, o.b, o.bias};
    return soma_apply1(&soma_op_matmul, in, o.bias.graph ? 3 : 2, &attrs, NULL, o.at);
}
