/* SPDX-License-Identifier: Apache-2.0
 *
 * nn/optimizer.c: optimizers by value, and the gradient and update ops that they stand for. Knows no data.
 */
#include "nn/nn.h"

#include "base/text.h"
#include "op/update/update.h"

#include <string.h>

soma_optimizer soma_sgd_with(const soma_sgd_options *o)
{
    static const soma_sgd_options none = {.struct_size = sizeof none};
    if (!o)
        o = &none;
    return (soma_optimizer){.name = "sgd",
                            .lr = o->lr != 0 ? o->lr : 0.01,
                            .momentum = o->momentum,
                            .decay = o->decay,
                            .weight_decay = o->weight_decay,
                            .peak_lr = o->peak_lr,
                            .nesterov = o->nesterov,
                            .at = o->at};
}

soma_optimizer soma_adam_with(const soma_adam_options *o)
{
    static const soma_adam_options none = {.struct_size = sizeof none};
    if (!o)
        o = &none;
    return (soma_optimizer){.name = "adam",
                            .lr = o->lr != 0 ? o->lr : 0.001,
                            .weight_decay = o->weight_decay,
                            .beta1 = o->beta1 != 0 ? o->beta1 : 0.9,
                            .beta2 = o->beta2 != 0 ? o->beta2 : 0.999,
                            .epsilon = o->epsilon != 0 ? o->epsilon : 1e-8,
                            .peak_lr = o->peak_lr,
                            .at = o->at};
}

/* ---- checks ---- */

static bool number_fits(soma_graph *graph, const soma_optimizer *opt, const char *what, double number, double below,
                        const char *range)
{
    if (number >= 0 && number < below)
        return true;
    char text[32];
    soma_value_fail(graph, opt->at, "%s: %s is %s; it must be %s", opt->name, what, soma_format_f64(number, text),
                    range);
    return false;
}

static bool optimizer_sound(soma_graph *graph, const soma_optimizer *opt, const soma_updates_options *o)
{
    const double huge = 1e30;
    bool adam = opt->name && strcmp(opt->name, "adam") == 0;
    if (!adam && !(opt->name && strcmp(opt->name, "sgd") == 0)) {
        soma_value_fail(graph, o->at, "there is no optimizer \"%s\"; use soma_sgd() or soma_adam()",
                        opt->name ? opt->name : "");
        return false;
    }
    if (!number_fits(graph, opt, "lr", opt->lr, huge, "a number > 0") ||
        !number_fits(graph, opt, "peak_lr", opt->peak_lr, huge, "a number > 0") ||
        !number_fits(graph, opt, "weight_decay", opt->weight_decay, huge, "at least 0") ||
        !number_fits(graph, opt, "decay", opt->decay, huge, "at least 0") ||
        !number_fits(graph, opt, "momentum", opt->momentum, 1, "at least 0 and below 1") ||
        !number_fits(graph, opt, "beta1", opt->beta1, 1, "at least 0 and below 1") ||
        !number_fits(graph, opt, "beta2", opt->beta2, 1, "at least 0 and below 1") ||
        !number_fits(graph, opt, "epsilon", opt->epsilon, huge, "a number > 0"))
        return false;
    if (opt->nesterov && opt->momentum == 0)
        soma_value_fail(graph, opt->at, "sgd: nesterov needs momentum; add .momentum = 0.9");
    else if (opt->peak_lr > 0 && opt->decay > 0)
        soma_value_fail(graph, opt->at, "%s: peak_lr (one-cycle) and decay are two schedules; give one of them",
                        opt->name);
    else if (opt->peak_lr > 0 && o->total_steps < 1)
        soma_value_fail(graph, o->at, "%s: a one-cycle rate needs .total_steps, the steps of the whole training",
                        opt->name);
    else
        return true;
    return false;
}

/* ---- which parameters ---- */

/* Marks every value that y is computed from. Creation order is topological, so one walk backwards does. */
static void mark_reached(const soma_graph *graph, int32_t y, bool *reached)
{
    reached[y] = true;
    for (int i = graph->n_nodes - 1; i >= 0; i--) {
        const soma_graph_node *node = &graph->nodes[i];
        bool used = false;
        for (int j = 0; j < node->n_out; j++)
            used = used || (node->out[j] >= 0 && reached[node->out[j]]);
        for (int j = 0; j < node->n_in && used; j++)
            if (node->in[j] >= 0)
                reached[node->in[j]] = true;
    }
}

/* Trainable parameters that the loss depends on, in creation order. Returns how many. */
static int find_parameters(soma_value loss, const bool *reached, soma_value *p)
{
    soma_graph *graph = loss.graph;
    int k = 0, n = graph->n_values;
    for (int t = 0; t < graph->model->n_tensors; t++) {
        const soma_model_tensor *tensor = &graph->model->tensors[t];
        if (tensor->frozen || tensor->slot)
            continue;
        for (int i = 0; i < n; i++)
            if (reached[i] && graph->values[i].kind == SOMA_VALUE_TENSOR && graph->values[i].tensor == t) {
                p[k++] = soma_value_in(graph, i);
                break;
            }
    }
    return k;
}

/* ---- nodes ---- */

typedef struct soma_updating {
    soma_graph *graph;
    const soma_optimizer *opt;
    soma_at at;
    bool adam;
    soma_value rate, step;
    soma_value *list; /* inputs, then outputs, of the update node */
    int k;            /* parameters */
    int n;            /* inputs so far */
} soma_updating;

static void add_slots(soma_updating *u, const soma_value *p, const char *kind)
{
    for (int i = 0; i < u->k; i++) {
        char *name = soma_arena_format(&u->graph->arena, "optimizer/%s/%s", kind, soma_value_name(p[i]));
        if (!name)
            u->graph->failed = true;
        u->list[u->n++] = name ? soma_graph_slot(u->graph, name, soma_value_type(p[i]), 0, u->at)
                               : (soma_value){u->graph, -1};
    }
}

/* The learning rate and, where something counts updates, the step. */
static void add_rate(soma_updating *u, soma_value loss, int64_t total_steps)
{
    const soma_optimizer *opt = u->opt;
    bool varies = opt->peak_lr > 0 || opt->decay > 0;
    if (u->adam || varies)
        u->step = soma_graph_slot(u->graph, "optimizer/step", (soma_type){SOMA_I32, SOMA_SCALAR}, 0, u->at);
    if (!varies) {
        u->rate = soma_scalar_at(loss, opt->lr, u->at);
        return;
    }
    soma_learning_rate_attrs attrs;
    soma_attrs_default(&soma_op_learning_rate, &attrs);
    attrs.schedule = opt->peak_lr > 0 ? SOMA_SCHEDULE_ONE_CYCLE : SOMA_SCHEDULE_INVERSE_TIME;
    attrs.lr = opt->peak_lr > 0 ? opt->peak_lr : opt->lr;
    if (opt->peak_lr > 0)
        attrs.total_steps = total_steps;
    else
        attrs.decay = opt->decay;
    u->rate = soma_apply1(&soma_op_learning_rate, &u->step, 1, &attrs, "optimizer.learning_rate", u->at);
}

/* p holds the parameters; list gets [lr, (step,) p.., g.., slots..]. */
static soma_value add_update(soma_updating *u, soma_value loss, const soma_value *p)
{
    soma_value failed = {u->graph, -1};
    u->list[u->n++] = u->rate;
    if (u->adam)
        u->list[u->n++] = u->step;
    memcpy(u->list + u->n, p, (size_t)u->k * sizeof *p);
    u->n += u->k;
    if (soma_grad_at(loss, p, u->k, u->list + u->n, u->at) != SOMA_OK)
        return failed;
    u->n += u->k;
    soma_sgd_attrs sgd = {u->opt->momentum, u->opt->nesterov, u->opt->weight_decay};
    soma_adam_attrs adam = {u->opt->beta1, u->opt->beta2, u->opt->epsilon, u->opt->weight_decay};
    int groups = 1;
    if (u->adam) {
        add_slots(u, p, "m");
        add_slots(u, p, "v");
        groups = 3;
    } else if (u->opt->momentum > 0) {
        add_slots(u, p, "momentum");
        groups = 2;
    }
    soma_value *out = u->list + u->n;
    if (u->adam)
        soma_graph_apply(u->graph, &soma_op_adam_update, u->list, u->n, out, groups * u->k, &adam, "optimizer", u->at);
    else
        soma_graph_apply(u->graph, &soma_op_sgd_update, u->list, u->n, out, groups * u->k, &sgd, "optimizer", u->at);
    return out[0];
}

static int append(soma_updating *u, soma_value loss, const soma_updates_options *o, const soma_value *p,
                  soma_value *updates, int capacity)
{
    int n = 0;
    add_rate(u, loss, o->total_steps);
    soma_value made[2] = {add_update(u, loss, p)};
    n = 1;
    if (u->step.graph) /* last, so that everything in this step reads the same number */
        made[n++] = soma_apply1(&soma_op_step_count, &u->step, 1, NULL, "optimizer.step", u->at);
    for (int i = 0; i < n; i++) {
        if (!soma_ok(made[i]))
            return -1;
        if (i < capacity)
            updates[i] = made[i];
    }
    return n;
}

soma_value soma_update_rate(soma_value update)
{
    if (!soma_ok(update) || update.graph->values[update.id].kind != SOMA_VALUE_COMPUTED)
        return soma_none();
    const soma_graph_node *node = &update.graph->nodes[update.graph->values[update.id].node];
    return soma_value_in(update.graph, node->in[0]);
}

int soma_updates_with(soma_value loss, soma_value *updates, int capacity, const soma_updates_options *o)
{
    if (!soma_ok(loss) || !o)
        return -1;
    soma_graph *graph = loss.graph;
    soma_optimizer preset = soma_sgd_with(NULL);
    const soma_optimizer *opt = o->optimizer && o->optimizer->name ? o->optimizer : &preset;
    if (!optimizer_sound(graph, opt, o))
        return -1;
    /* room for lr, step, p, g, two slots in, three out */
    size_t n_tensors = (size_t)graph->model->n_tensors;
    bool *reached = soma_alloc_array(graph->s, (size_t)graph->n_values, sizeof *reached);
    soma_value *p = soma_alloc_array(graph->s, n_tensors + 1, sizeof *p);
    soma_value *list = soma_alloc_array(graph->s, 7 * n_tensors + 2, sizeof *list);
    int n = -1;
    if (reached && p && list) {
        mark_reached(graph, loss.id, reached);
        soma_updating u = {
            .graph = graph, .opt = opt, .at = o->at, .adam = strcmp(opt->name, "adam") == 0, .list = list};
        u.k = find_parameters(loss, reached, p);
        if (u.k > 0)
            n = append(&u, loss, o, p, updates, capacity);
        else
            soma_value_fail(graph, o->at,
                            "nothing to train: the loss depends on no trainable parameter of model \"%s\"",
                            graph->model->name);
    } else {
        graph->failed = true;
    }
    soma_release(graph->s, list);
    soma_release(graph->s, p);
    soma_release(graph->s, reached);
    return n;
}
