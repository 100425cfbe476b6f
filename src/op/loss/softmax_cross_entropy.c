/* SPDX-License-Identifier: Apache-2.0
 *
 * op/loss/softmax_cross_entropy.c: the usual loss of classification, from logits z [R, C], and its gradient.
 *     p = softmax(z)        loss = -1/R sum_r sum_c t_rc log p_rc
 *     dz = dloss / R (p sum_c t - t)
 * t is one-hot (i32 labels [R]) or any weights [R, C]. log p is computed as z - max - log sum exp(z - max).
 * R counts the rows of the full batch.
 */
#include "op/loss/loss.h"

#include "cpu/isa.h"
#include "cpu/parallel.h"
#include "base/exact.h"
#include "graph/graph.h"
#include "op/softmax/softmax.h"
#include <soma/ops.h>

static soma_status infer(soma_infer *i)
{
    if (soma_classes_check(i, &i->in[0], &i->in[1], "logits") != SOMA_OK)
        return SOMA_INVALID;
    i->out[0] = (soma_type){i->in[0].dtype, {.rank = 0}};
    if (i->n_out > 1)
        i->out[1] = i->in[0];
    return SOMA_OK;
}

/* dtarget = -dloss / R log softmax(z): spread() divides by R C, hence the factor C. */
static soma_value target_gradient(soma_value dloss, soma_value logits)
{
    double classes = (double)soma_value_type(logits).shape.dim[1];
    return soma_mul(soma_mul(soma_loss_spread(dloss, logits), soma_scalar(logits, -classes)), soma_log_softmax(logits));
}

static void gradient(soma_gradient *g)
{
    soma_value logits = g->in[0], target = g->in[1], dloss = g->dout[0];
    bool two = g->n_out > 1 &&
               soma_ok(g->dout[1]); /* somebody differentiated the gradient, which reads probabilities */
    if (g->want[0] && soma_ok(dloss)) {
        soma_value probabilities = g->n_out > 1 && soma_ok(g->out[1]) ? g->out[1] : soma_softmax(logits);
        g->din[0] = soma_apply1(&soma_op_softmax_cross_entropy_grad, (soma_value[]){dloss, probabilities, target}, 3,
                                NULL, NULL, soma_nowhere());
    }
    if (g->want[0] && two) {
        soma_value more = soma_apply1(&soma_op_softmax_grad, (soma_value[]){g->dout[1], g->out[1]}, 2, NULL, NULL,
                                      soma_nowhere());
        g->din[0] = soma_ok(dloss) ? soma_add(g->din[0], more) : more;
    }
    if (g->want[1] && soma_ok(dloss) && soma_is_float(soma_value_type(target).dtype))
        g->din[1] = target_gradient(dloss, logits);
}

/* One row in f64: its loss, and its probabilities where asked for. */
static double row_loss(const soma_classes *s, const void *logits, const void *target, void *probabilities, int64_t r)
{
    int64_t at = r * s->columns;
    double max = soma_get(logits, s->dtype, at), sum = 0, loss = 0;
    for (int64_t j = 1; j < s->columns; j++)
        max = soma_get(logits, s->dtype, at + j) > max ? soma_get(logits, s->dtype, at + j) : max;
    for (int64_t j = 0; j < s->columns; j++)
        sum += soma_exact_exp(soma_get(logits, s->dtype, at + j) - max);
    double log_sum = soma_exact_log(sum);
    if (s->sparse)
        loss = log_sum - (soma_get(logits, s->dtype, at + ((const int32_t *)target)[r]) - max);
    for (int64_t j = 0; !s->sparse && j < s->columns; j++) {
        double t = soma_get(target, s->dtype, at + j); /* 0 log 0 is 0: a class shut out by -inf may have weight 0 */
        loss += t == 0 ? 0 : t * (log_sum - (soma_get(logits, s->dtype, at + j) - max));
    }
    for (int64_t j = 0; probabilities && j < s->columns; j++)
        soma_set(probabilities, s->dtype, at + j, soma_exact_exp(soma_get(logits, s->dtype, at + j) - max) / sum);
    return loss;
}

static soma_status run_reference(const void *state, void *const *arg, soma_run *run)
{
    const soma_classes *s = state;
    if (s->sparse && soma_classes_labels(s, arg[1], run) != SOMA_OK)
        return SOMA_DATA;
    double loss = 0;
    for (int64_t r = 0; r < s->rows; r++)
        loss += row_loss(s, arg[0], arg[1], s->second ? arg[3] : NULL, r);
    soma_set(arg[2], s->dtype, 0, loss / s->full_rows);
    return SOMA_OK;
}

static soma_status prepare(soma_prepare *p)
{
    p->run = run_reference;
    return soma_classes_prepare(p, &p->in[0], &p->in[1]) ? SOMA_OK : SOMA_MEMORY;
}

static const soma_kernel reference = {.name = "reference", .exact = true, .prepare = prepare};
SOMA_ISA_DECLARE(soma_softmax_cross_entropy_cpu)

static const soma_sample samples[] = {
    {.name = "sparse", .in = (const soma_shape[]){{2, {SOMA_N, 10}}, {1, {SOMA_N}}}, .fill = "nk", .classes = 10},
    {.name = "one-hot", .in = (const soma_shape[]){{2, {SOMA_N, 10}}, {2, {SOMA_N, 10}}}, .fill = "no", .classes = 10},
    {.name = "weights", .in = (const soma_shape[]){{2, {5, 37}}, {2, {5, 37}}}, .fill = "nu"},
    {.name = "many rows", .in = (const soma_shape[]){{2, {131, 3}}, {1, {131}}}, .fill = "nk", .classes = 3},
    {.name = "one class",
     .in = (const soma_shape[]){{2, {SOMA_N, 1}}, {2, {SOMA_N, 1}}},
     .fill = "nu",
     .no_gradient = true},
    {0},
};

const soma_op soma_op_softmax_cross_entropy = {
    .name = "softmax_cross_entropy",
    .doc =
        "Mean over rows of -sum target log softmax(logits). target: labels i32 [rows] or weights [rows, classes]. The "
        "second output, the probabilities, is what the gradient reads.",
    .onnx = "SoftmaxCrossEntropyLoss",
    .required_in = 2,
    .required_out = 1,
    .optional_out = 1,
    .batch = SOMA_BATCH_SUM,
    .error = SOMA_ERROR_LOOSE,
    .infer = infer,
    .grad = gradient,
    .kernels = (const soma_kernel *const[]){SOMA_ISA_LIST(soma_softmax_cross_entropy_cpu) & reference, NULL},
    .samples = samples,
    .n_in_samples = 2,
};

soma_value soma_softmax_cross_entropy_at(soma_value logits, soma_value target, soma_at at)
{
    soma_value out[2] = {soma_none(), soma_none()};
    soma_graph *graph = logits.graph ? logits.graph : target.graph;
    soma_graph_apply(graph, &soma_op_softmax_cross_entropy, (soma_value[]){logits, target}, 2, out, 2, NULL, NULL, at);
    return out[0];
}
