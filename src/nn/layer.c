/* SPDX-License-Identifier: Apache-2.0
 *
 * nn/layer.c: from the options that a caller gives to a layer that is built, whatever its kind. Knows no losses and no
 * training.
 */
#include "nn/layer.h"

#include "base/text.h"
#include "base/words.h"
#include "graph/fill.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

soma_value soma_layer_fail(soma_layer *layer, const char *format, ...)
{
    char sentence[SOMA_REASON_MAX];
    va_list args;
    va_start(args, format);
    vsnprintf(sentence, sizeof sentence, format, args);
    va_end(args);
    char marked[SOMA_REASON_MAX];
    const char *text = soma_words(layer->m->s, layer->at, sentence, marked, sizeof marked);
    if (layer->kind->automatic)
        return soma_value_fail(layer->m->graph, layer->at, "%s \"%s\": %s", layer->kind->kind.name, layer->name, text);
    return soma_value_fail(layer->m->graph, layer->at, "%s: %s", layer->kind->kind.name, text);
}

bool soma_layer_knows(soma_layer *layer, const char *activation, const char *init, const char *bias_init)
{
    const char *const inits[] = {init, bias_init};
    if (!soma_activation_known(layer->m->graph, layer->kind->kind.name, layer->name, activation, layer->at))
        return false;
    for (int i = 0; i < 2; i++)
        if (!soma_init_known(inits[i])) {
            const char *near = soma_nearest_of(inits[i], soma_init_names);
            soma_layer_fail(layer, "there is no initialiser \"%.100s\"%s%s%s", inits[i],
                            near ? "; did you mean \"" : "", near ? near : "", near ? "\"?" : "");
            return false;
        }
    return true;
}

/* soma_parameter_with puts the scope in front itself. */
soma_value soma_layer_tensor(const soma_layer *layer, const char *what, soma_tensor_options options)
{
    const char *name = soma_arena_format(&layer->m->arena, "%s.%s", layer->name + strlen(layer->m->scope), what);
    if (!name)
        return soma_none();
    options.struct_size = sizeof options;
    options.at = layer->at;
    options.dtype = layer->x.dtype;
    return soma_parameter_with(layer->m, name, &options);
}

soma_value soma_layer_parameter(soma_layer *layer, const char *what, const soma_tensor_options *o)
{
    return o ? soma_layer_tensor(layer, what, *o) : soma_none();
}

/* Options say zero by SOMA_ZERO. */
static double as_option(double number)
{
    return isnan(number) ? 0 : number == 0 ? (double)SOMA_ZERO : number;
}

soma_value soma_layer_weight(const soma_layer *layer, soma_shape shape, soma_initial init, const char *activation)
{
    const char *usual = soma_activation_rectifies(activation) ? "he_uniform" : "glorot_uniform";
    const char *name = init.name ? init.name : usual;
    return soma_layer_tensor(
        layer, "weight",
        (soma_tensor_options){.shape = shape, .init = name, .a = as_option(init.a), .b = as_option(init.b)});
}

soma_value soma_layer_bias(const soma_layer *layer, int64_t n, soma_initial init, int64_t fan_in)
{
    return soma_layer_tensor(layer, "bias",
                             (soma_tensor_options){.shape = SOMA_SHAPE(n),
                                                   .init = init.name,
                                                   .a = as_option(init.a),
                                                   .b = as_option(init.b),
                                                   .fan_in = fan_in,
                                                   .fan_out = n});
}

soma_value soma_layer_activation(const soma_layer *layer, const char *activation, soma_value y)
{
    const char *text = activation ? activation : "";
    const char *name = soma_arena_format(&layer->m->arena, "%s.%.*s", layer->name, (int)strcspn(text, ":"), text);
    return name ? soma_activation_named(y, activation, name, layer->at) : soma_none();
}

/* ---- options to layer ---- */

#define OPTIONS_MAX 1024

static const char *given_name(const soma_kind *kind, const void *options)
{
    const soma_field *name = soma_field_find(kind->fields, "name");
    return name ? *(const char *const *)(const void *)((const char *)options + name->offset) : NULL;
}

soma_value soma_layer_with(const soma_layer_kind *kind, const void *given)
{
    _Alignas(max_align_t) char options[OPTIONS_MAX];
    char reason[SOMA_REASON_MAX] = "";
    const soma_layer_head *head = given;
    if (!given || head->struct_size < sizeof *head || !soma_ok(head->x))
        return given && head->struct_size >= sizeof *head ? head->x : soma_none();
    soma_graph *graph = head->x.graph;
    soma_layer layer = {
        .m = graph->model, .kind = kind, .at = head->at, .name = kind->kind.name, .x = soma_value_type(head->x)};
    if (kind->kind.options_size > sizeof options)
        return soma_layer_fail(&layer, "its options take %zu bytes, at most %zu are possible", kind->kind.options_size,
                               sizeof options);
    soma_status status = soma_fields_resolve(kind->kind.fields, kind->kind.options_size, given, options, reason);
    if (kind->automatic)
        layer.name = soma_layer_name(layer.m, given_name(&kind->kind, options), kind->automatic);
    if (!layer.name) {
        graph->failed = true;
        return (soma_value){graph, -1};
    }
    if (status)
        return soma_layer_fail(&layer, "%s", reason);
    const soma_joined_head *joined = (const soma_joined_head *)(const void *)options;
    if (kind->joins && (!joined->more || joined->n_more < 1))
        return soma_layer_fail(
            &layer, "it joins several values; give the others in " SOMA_FIELD("more") " and " SOMA_FIELD("n_more"));
    if (kind->automatic && layer.x.dtype != SOMA_F32 && layer.x.dtype != SOMA_F64) /* the tensors' type */
        return soma_layer_fail(&layer, "x is %s, but it computes with f32 or f64", soma_dtype_name(layer.x.dtype));
    return kind->build(&layer, options);
}
