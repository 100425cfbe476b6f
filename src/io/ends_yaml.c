/* SPDX-License-Identifier: Apache-2.0
 *
 * io/ends_yaml.c: inputs and outputs of a model that is described layer by layer. Compiled only with libyaml.
 */
#include "io/layers_yaml.h"

#include "base/text.h"
#include "graph/graph.h"

/* ---- inputs and outputs ---- */

static soma_status read_input(const soma_yaml_builder *b, soma_yaml_list *l, const char *name, const char *key,
                              const yaml_node_t *node)
{
    soma_shape shape = {.rank = 0};
    bool right = soma_yaml_count(node) > 0;
    for (int i = 0; i < soma_yaml_count(node) && right; i++) {
        const char *text = soma_yaml_text(soma_yaml_item(b->y, node, i));
        right = text && shape.rank < SOMA_MAX_RANK - 1 && soma_parse_i64(text, &shape.dim[shape.rank++]);
    }
    if (!right)
        return soma_fail(b->y->s, SOMA_INVALID, soma_yaml_place(b->y, node),
                         "\"%.100s\" takes the shape of one sample, such as [1, 28, 28]", key);
    soma_input_options o = {.struct_size = sizeof o, .at = soma_yaml_place(b->y, node), .shape = shape};
    soma_value x = soma_input_with(b->m, name, SOMA_F32, &o);
    l->results[l->n++] = (soma_yaml_result){.name = name, .value = x, .at = node, .input = true};
    return soma_ok(x) ? SOMA_OK : soma_error_status(b->y->s);
}

static soma_status read_inputs(const soma_yaml_builder *b, soma_yaml_list *l, const yaml_node_t *map)
{
    if (map->type != YAML_MAPPING_NODE || map->data.mapping.pairs.start == map->data.mapping.pairs.top)
        return soma_fail(b->y->s, SOMA_INVALID, soma_yaml_place(b->y, map),
                         "\"inputs\" takes a mapping of names and shapes, such as {image: [3, 32, 32], age: [1]}");
    soma_status status = SOMA_OK;
    for (yaml_node_pair_t *p = map->data.mapping.pairs.start; p < map->data.mapping.pairs.top && !status; p++) {
        const yaml_node_t *name = soma_yaml_node(b->y, p->key);
        const char *text = soma_yaml_text(name);
        if (!text)
            status = soma_yaml_nameless(b->y, name, "an input");
        else if (soma_yaml_find_result(l, text) >= 0)
            status = soma_fail(b->y->s, SOMA_INVALID, soma_yaml_place(b->y, name),
                               "the input \"%.100s\" stands here twice", text);
        else
            status = read_input(b, l, text, text, soma_yaml_node(b->y, p->value));
    }
    return status;
}

/* Without "outputs" the last layer's result is the output "y". */
static soma_status set_outputs(const soma_yaml_builder *b, soma_yaml_list *l, const yaml_node_t *names)
{
    soma_yaml_result *last = &l->results[l->current];
    if (!names) {
        last->read = true;
        soma_output_at(b->m, "y", last->value, soma_yaml_place(b->y, l->list));
    } else if (soma_yaml_count(names) == 0) {
        return soma_fail(b->y->s, SOMA_INVALID, soma_yaml_place(b->y, names),
                         "\"outputs\" takes a list of names of layers, such as [class, place]");
    }
    bool *listed = soma_arena_array(b->y->arena, (size_t)l->n, sizeof *listed);
    if (!listed)
        return SOMA_MEMORY;
    for (int i = 0; i < soma_yaml_count(names); i++) {
        int found;
        const yaml_node_t *node = soma_yaml_item(b->y, names, i);
        soma_status status = soma_yaml_look_up(b, l, node, &found);
        if (status)
            return status;
        soma_yaml_result *r = &l->results[found];
        if (listed[found])
            return soma_fail(b->y->s, SOMA_INVALID, soma_yaml_place(b->y, node),
                             "the output \"%.100s\" stands here twice", r->name);
        listed[found] = r->read = true;
        soma_output_at(b->m, r->name, r->value, soma_yaml_place(b->y, node));
    }
    return b->m->graph->failed ? soma_error_status(b->y->s) : soma_yaml_check_read(b, l);
}

static soma_status check_blocks(const soma_yaml_builder *b)
{
    for (int i = 0; i < b->n_blocks; i++)
        if (!b->blocks[i].used)
            return soma_fail(b->y->s, SOMA_INVALID, soma_yaml_place(b->y, b->blocks[i].at),
                             "no layer uses the block \"%.100s\"; leave it out", b->blocks[i].name);
    return SOMA_OK;
}

soma_status soma_yaml_build(soma_yaml *y, const soma_yaml_layers *found, soma_model *m)
{
    soma_yaml_builder b = {.y = y, .m = m};
    soma_yaml_list l = {.list = found->layers};
    const yaml_node_t *inputs = found->inputs;
    size_t n = inputs && inputs->type == YAML_MAPPING_NODE
                   ? (size_t)(inputs->data.mapping.pairs.top - inputs->data.mapping.pairs.start)
                   : 1;
    l.results = soma_arena_array(y->arena, n + (size_t)soma_yaml_count(l.list), sizeof *l.results);
    if (!l.results)
        return SOMA_MEMORY;
    soma_status status = soma_yaml_blocks(y, found->blocks, &b.blocks, &b.n_blocks);
    if (!status)
        status = inputs ? read_inputs(&b, &l, inputs) : read_input(&b, &l, "x", "input", found->input);
    l.current = l.n == 1 ? 0 : -1;
    if (!status)
        status = soma_yaml_build_list(&b, &l);
    if (!status)
        status = set_outputs(&b, &l, found->outputs);
    return status ? status : check_blocks(&b);
}
