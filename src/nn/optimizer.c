/* SPDX-License-Identifier: Apache-2.0
 *
 * nn/optimizer.c: optimizers by value, and the gradient and update ops that they stand for. Knows no data.
 */
#include "nn/nn.h"

#include "base/text.h"
#include "base/words.h"
#include "base/zero.h"
#include "op/update/update.h"

#include <math.h>
#include <string.h>

soma_optimizer soma_sgd_with(const soma_sgd_options *o)
{
    static const soma_sgd_options none = {.struct_size = sizeof none};
    if (!o)
        o = &none;
    return (soma_optimizer){.name = "sgd",
                            .lr = soma_said(o->lr, 0.01),
                            .momentum = soma_plain(o->momentum),
                            .decay = soma_plain(o->decay),
                            .weight_decay = soma_plain(o->weight_decay),
                            .peak_lr = soma_plain(o->peak_lr),
                            .nesterov = o->nesterov,
                            .at = o->at};
}

soma_optimizer soma_adam_with(const soma_adam_options *o)
{
    static const soma_adam_options none = {.struct_size = sizeof none};
    if (!o)
        o = &none;
    return (soma_optimizer){.name = "adam",
                            .lr = soma_said(o->lr, 0.001),
                            .weight_decay = soma_plain(o->weight_decay),
                            .beta1 = soma_said(o->beta1, 0.9),
                            .beta2 = soma_said(o->beta2, 0.999),
                            .epsilon = soma_said(o->epsilon, 1e-8),
                            .peak_lr = soma_plain(o->peak_lr),
                            .at = o->at};
}

/* ---- checks ---- */

static bool number_fits(soma_graph *graph, const soma_optimizer *opt, const char *what, double number, double below,
                        const char *range)
{
    if (number >= 0 && number < below)
        return true;
    char text[32], room[128];
    soma_value_fail(graph, opt->at, "%s: %s is %s; it must be %s", opt->name, what, soma_format_f64(number, text),
                    soma_words(graph->s, opt->at, range, room, sizeof room));
    return false;
}

static bool optimizer_sound(soma_graph *graph, const soma_optimizer *opt, const soma_updates_options *o)
{
    const double huge = 1e30;
    bool adam = opt->name && strcmp(opt->name, "adam") == 0;
    if (!adam && !(opt->name && strcmp(opt->name, "sgd") == 0)) {
        soma_value_fail(graph, o->at,
                        "there is no optimizer \"%s\"; use " SOMA_IN_C("soma_sgd() or soma_adam()")
                            SOMA_ELSEWHERE("sgd or adam"),
                        opt->name ? opt->name : "");
        return false;
    }
    if (!number_fits(graph, opt, "lr", opt->lr, huge,
                     "at least 0" SOMA_IN_C(" (for a rate of zero write SOMA_ZERO)")) ||
        !number_fits(graph, opt, "peak_lr", opt->peak_lr, huge, "a number > 0") ||
        !number_fits(graph, opt, "weight_decay", opt->weight_decay, huge, "at least 0") ||
        !number_fits(graph, opt, "decay", opt->decay, huge, "at least 0") ||
        !number_fits(graph, opt, "momentum", opt->momentum, 1, "at least 0 and below 1") ||
        !number_fits(graph, opt, "beta1", opt->beta1, 1,
                     "at least 0 and below 1" SOMA_IN_C(" (for zero write SOMA_ZERO)")) ||
        !number_fits(graph, opt, "beta2", opt->beta2, 1,
                     "at least 0 and below 1" SOMA_IN_C(" (for zero write SOMA_ZERO)")) ||
        !number_fits(graph, opt, "epsilon", opt->epsilon, huge, "at least 0" SOMA_IN_C(" (for zero write SOMA_ZERO)")))
        return false;
    if (opt->nesterov && opt->momentum == 0)
        soma_value_fail(graph, opt->at, "sgd: nesterov needs momentum; add " SOMA_FIELD_IS("momentum", "0.9"));
    else if (opt->peak_lr > 0 && opt->decay > 0)
        soma_value_fail(graph, opt->at, "%s: peak_lr (one-cycle) and decay are two schedules; give one of them",
                        opt->name);
    else if (opt->peak_lr > 0 && o->total_steps < 1)
        soma_value_fail(graph, o->at,
                        "%s: a one-cycle rate needs " SOMA_FIELD("total_steps") ", the steps of the whole training",
                        opt->name);
    else
        return true;
    return false;
}

/* ---- which parameters ---- */

/* Trainable parameters that the loss depends on, in creation order. Returns how many. */
static int find_parameters(soma_value loss, const bool *reached, const soma_param_rule *ways, soma_value *p)
{
    soma_graph *graph = loss.graph;
    int k = 0, n = graph->n_values;
    for (int t = 0; t < graph->model->n_tensors; t++) {
        const soma_model_tensor *tensor = &graph->model->tensors[t];
        if (tensor->frozen || tensor->slot || ways[t].frozen)
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
    const soma_param_rule *ways; /* per tensor of the model */
    const soma_value *p, *g;     /* parameters and their gradients */
    int n_p;
    soma_value rate, step;
    soma_value *updates; /* what was made: at most one per parameter, and the step */
    int n_updates;
    soma_rate *rates; /* those that can be set later; NULL: nobody will */
    int n_rates;
    /* the update node that is being made */
    soma_value *list;          /* its inputs, then its outputs */
    const soma_value **chosen; /* its parameters, as places in p */
    int k;                     /* of them */
    int n;                     /* inputs so far */
} soma_updating;

static void add_slots(soma_updating *u, const char *kind)
{
    for (int i = 0; i < u->k; i++) {
        char *name = soma_arena_format(&u->graph->arena, "optimizer/%s/%s", kind, soma_value_name(*u->chosen[i]));
        if (!name)
            u->graph->failed = true;
        u->list[u->n++] = name ? soma_graph_slot(u->graph, name, soma_value_type(*u->chosen[i]), 0, u->at)
                               : (soma_value){u->graph, -1};
    }
}

/* A number that may be set later. */
static soma_value settable(soma_updating *u, soma_value loss, double number, double factor)
{
    soma_value value = soma_scalar_at(loss, number, u->at);
    if (u->rates)
        u->rates[u->n_rates++] = (soma_rate){value, factor};
    return value;
}

/* The learning rate and, where something counts updates, the step. */
static void add_rate(soma_updating *u, soma_value loss, int64_t total_steps)
{
    const soma_optimizer *opt = u->opt;
    bool varies = opt->peak_lr > 0 || opt->decay > 0;
    if (u->adam || varies)
        u->step = soma_graph_slot(u->graph, "optimizer/step", (soma_type){SOMA_I32, SOMA_SCALAR}, 0, u->at);
    if (!varies) {
        u->rate = settable(u, loss, opt->lr, 1);
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
    soma_value in[2] = {u->step, u->rates ? settable(u, loss, -1, 1) : soma_none()};
    u->rate = soma_apply1(&soma_op_learning_rate, in, u->rates ? 2 : 1, &attrs, "optimizer.learning_rate", u->at);
}

/* The rate of the parameters that are trained this way: a number, or the schedule's times a number. */
static soma_value rate_of(soma_updating *u, const soma_param_rule *way, soma_value loss)
{
    const soma_optimizer *opt = u->opt;
    bool varies = opt->peak_lr > 0 || opt->decay > 0;
    double own = opt->peak_lr > 0 ? opt->peak_lr : opt->lr, scale = way->own ? way->lr / own : way->scale;
    if (!varies && way->own)
        return settable(u, loss, way->lr, own > 0 ? scale : (double)NAN);
    if (!varies)
        return scale != 1 ? settable(u, loss, opt->lr * scale, scale) : u->rate;
    return scale == 1 ? u->rate : soma_mul_at(u->rate, soma_scalar_at(u->rate, scale, u->at), u->at);
}

/* One update node: list gets [lr, (step,) p.., g.., slots..]. */
static void add_update(soma_updating *u, const soma_param_rule *way, soma_value loss)
{
    u->n = 0;
    u->list[u->n++] = rate_of(u, way, loss);
    if (u->adam)
        u->list[u->n++] = u->step;
    for (int i = 0; i < u->k; i++)
        u->list[u->n++] = *u->chosen[i];
    for (int i = 0; i < u->k; i++)
        u->list[u->n++] = u->g[u->chosen[i] - u->p];
    soma_sgd_attrs sgd = {u->opt->momentum, u->opt->nesterov, way->weight_decay};
    soma_adam_attrs adam = {u->opt->beta1, u->opt->beta2, u->opt->epsilon, way->weight_decay};
    int groups = 1;
    if (u->adam) {
        add_slots(u, "m");
        add_slots(u, "v");
        groups = 3;
    } else if (u->opt->momentum > 0) {
        add_slots(u, "momentum");
        groups = 2;
    }
    soma_value *out = u->list + u->n;
    if (u->adam)
        soma_graph_apply(u->graph, &soma_op_adam_update, u->list, u->n, out, groups * u->k, &adam, "optimizer", u->at);
    else
        soma_graph_apply(u->graph, &soma_op_sgd_update, u->list, u->n, out, groups * u->k, &sgd, "optimizer", u->at);
    u->updates[u->n_updates++] = out[0];
}

static const soma_param_rule *way_of(const soma_updating *u, soma_value p)
{
    return &u->ways[u->graph->values[p.id].tensor];
}

static bool same_way(const soma_param_rule *a, const soma_param_rule *b)
{
    return a->own == b->own && a->lr == b->lr && a->scale == b->scale && a->weight_decay == b->weight_decay;
}

/* Parameters that are trained alike share one node, as far as it has room for arguments. done: per parameter. */
static void add_all(soma_updating *u, soma_value loss, bool *done)
{
    const int most = (SOMA_MAX_ARGS - 2) / 7;
    for (int first = 0; first < u->n_p; first++) {
        if (done[first])
            continue;
        const soma_param_rule *way = way_of(u, u->p[first]);
        u->k = 0;
        for (int i = first; i < u->n_p && u->k < most; i++)
            if (!done[i] && same_way(way, way_of(u, u->p[i]))) {
                u->chosen[u->k++] = &u->p[i];
                done[i] = true;
            }
        add_update(u, way, loss);
    }
    if (u->step.graph) /* last, so that everything in this step reads the same number */
        u->updates[u->n_updates++] = soma_apply1(&soma_op_step_count, &u->step, 1, NULL, "optimizer.step", u->at);
}

soma_value soma_update_rate(soma_value update)
{
    if (!soma_ok(update) || update.graph->values[update.id].kind != SOMA_VALUE_COMPUTED)
        return soma_none();
    const soma_graph *graph = update.graph;
    int32_t rate = graph->nodes[graph->values[update.id].node].in[0];
    if (graph->values[rate].kind == SOMA_VALUE_COMPUTED) {
        const soma_graph_node *node = &graph->nodes[graph->values[rate].node];
        rate = strcmp(node->op->name, "mul") ? rate : node->in[0];
    }
    return soma_value_in(update.graph, rate);
}

/* What the work needs, in one piece of memory each. */
typedef struct soma_updates_room {
    bool *reached, *done;
    soma_param_rule *ways;
    soma_value *p, *g, *list, *updates;
    const soma_value **chosen;
} soma_updates_room;

static bool take_room(soma_updates_room *r, const soma_graph *graph)
{
    soma *s = graph->s;
    size_t n = (size_t)graph->model->n_tensors + 1;
    r->reached = soma_alloc_array(s, (size_t)graph->n_values, sizeof *r->reached);
    r->done = soma_alloc_array(s, n, sizeof *r->done);
    r->ways = soma_alloc_array(s, n, sizeof *r->ways);
    r->p = soma_alloc_array(s, n, sizeof *r->p);
    r->g = soma_alloc_array(s, n, sizeof *r->g);
    r->list = soma_alloc_array(s, 7 * n + 2, sizeof *r->list); /* lr, step, p, g, two slots in, three out */
    r->updates = soma_alloc_array(s, n + 1, sizeof *r->updates);
    r->chosen = soma_alloc_array(s, n, sizeof *r->chosen);
    return r->reached && r->done && r->ways && r->p && r->g && r->list && r->updates && r->chosen;
}

static void release_room(soma_updates_room *r, soma *s)
{
    void *const blocks[] = {r->reached, r->done, r->ways, r->p, r->g, r->list, r->updates, (void *)r->chosen};
    for (size_t i = 0; i < sizeof blocks / sizeof *blocks; i++)
        soma_release(s, blocks[i]);
}

static soma_status append(soma_updating *u, soma_value loss, const soma_updates_options *o, soma_updates_room *room)
{
    soma_graph *graph = u->graph;
    soma_status status = soma_groups_resolve(graph, u->opt, o, room->ways);
    if (status != SOMA_OK)
        return status;
    soma_groups_freeze_statistics(graph, room->ways);
    room->reached[loss.id] = true;
    soma_reach(graph, room->reached);
    u->n_p = find_parameters(loss, room->reached, room->ways, room->p);
    if (u->n_p == 0) {
        soma_value_fail(graph, o->at, "nothing to train: the loss depends on no trainable parameter of model \"%s\"",
                        graph->model->name);
        return SOMA_INVALID;
    }
    add_rate(u, loss, o->total_steps);
    status = soma_grad_at(loss, room->p, u->n_p, room->g, o->at);
    if (status == SOMA_OK)
        add_all(u, loss, room->done);
    for (int i = 0; i < u->n_updates; i++)
        status = status == SOMA_OK && !soma_ok(u->updates[i]) ? SOMA_INVALID : status;
    return status;
}

int soma_updates_of_rates(soma_value loss, soma_value *updates, int capacity, const soma_updates_options *o,
                          soma_rate *rates, int *n_rates)
{
    *n_rates = 0;
    if (!soma_ok(loss) || !o)
        return -1;
    soma_graph *graph = loss.graph;
    soma_optimizer preset = soma_sgd_with(NULL);
    soma_optimizer chosen = o->optimizer && o->optimizer->name ? *o->optimizer : preset;
    double *const numbers[] = {&chosen.lr,    &chosen.momentum, &chosen.decay,   &chosen.weight_decay,
                               &chosen.beta1, &chosen.beta2,    &chosen.epsilon, &chosen.peak_lr};
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        *numbers[i] = soma_plain(*numbers[i]);
    const soma_optimizer *opt = &chosen;
    if (!optimizer_sound(graph, opt, o))
        return -1;
    soma_updates_room room = {0};
    int n = -1;
    if (take_room(&room, graph)) {
        soma_updating u = {.graph = graph,
                           .opt = opt,
                           .at = o->at,
                           .adam = strcmp(opt->name, "adam") == 0,
                           .ways = room.ways,
                           .p = room.p,
                           .g = room.g,
                           .list = room.list,
                           .chosen = room.chosen,
                           .updates = room.updates,
                           .rates = rates};
        if (append(&u, loss, o, &room) == SOMA_OK)
            n = u.n_updates;
        *n_rates = u.n_rates;
    } else {
        graph->failed = true;
    }
    for (int i = 0; i < n && i < capacity; i++)
        updates[i] = room.updates[i];
    release_room(&room, graph->s);
    return n;
}

int soma_updates_with(soma_value loss, soma_value *updates, int capacity, const soma_updates_options *o)
{
    int n_rates;
    return soma_updates_of_rates(loss, updates, capacity, o, NULL, &n_rates);
}
