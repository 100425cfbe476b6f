/* SPDX-License-Identifier: Apache-2.0
 *
 * bench/older/older.c: a program compiled with older headers, for bench/bars/declared-04. Every option struct is cut
 * behind every member (cuts.list, made of the headers by scripts/structs.awk), handed over as a block of memory that
 * ends where the cut struct ends, once with all members said and once with none. Each call runs, or is refused with a
 * sentence; the sanitizer sees to it that nothing behind the block is read.
 * usage: older FOLDER PICTURE
 */
#include <soma/soma.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- the cuts ---- */

#define CUT(T, n, last)
#include "cuts.list"
#undef CUT

typedef struct cut {
    const char *name, *last;
    size_t size, said; /* of the cut struct; of its members, without what a compiler puts behind the last one */
} cut;

static const cut cuts[] = {
#define CUT(T, n, last) {#T, #last, sizeof(struct T##_cut##n), offsetof(T, last) + sizeof((T *)NULL)->last},
#include "cuts_only.list"
#undef CUT
};

/* ---- what is called ---- */

static soma *s;
static soma_model *m;
static soma_value x, y, rows, w, f;
static soma_dataset *data;
static const char *picture;
static char idx[512], weights[512];
static float inputs[8 * 4], outputs[8 * 2], pixels[3 * 8 * 8];
static int32_t labels[8];
static int64_t confusion[4];
static soma_weights_report report;
static soma_progress progress;
static soma_evaluation evaluation = {.classes = 2, .confusion = confusion};
static soma_tensor xt = {SOMA_F32, {2, {8, 4}}, inputs}, yt = {SOMA_F32, {2, {8, 2}}, outputs};
static const char *const names[] = {"a", "b", NULL};
static const soma_rename rules[] = {{.from = "q", .to = "r"}};
static soma_value out[4];
static const soma_param_group groups[] = {{.pattern = "*", .lr_scale = 0.5}};

static void hear(void *user, soma_log_level level, const char *text)
{
    (void)user, (void)level, (void)text;
}
static bool go_on(void *user, const soma_progress *p)
{
    (void)user, (void)p;
    return true;
}
static bool stay(void *user)
{
    (void)user;
    return false;
}

/* CALL(struct, what is said, the call: true where it ran) */
#define CALL(T, said, call)                                                                                            \
    static void say_##T(void *to)                                                                                      \
    {                                                                                                                  \
        T options = {.struct_size = sizeof options, .at = SOMA_AT, SAID said};                                         \
        memcpy(to, &options, sizeof options);                                                                          \
    }                                                                                                                  \
    static bool call_##T(const T *o)                                                                                   \
    {                                                                                                                  \
        return call;                                                                                                   \
    }                                                                                                                  \
    static bool run_##T(const void *o)                                                                                 \
    {                                                                                                                  \
        return call_##T(o);                                                                                            \
    }
#define SAID(...) __VA_ARGS__

/* A struct that ends before its x names no model: the value is none, which its first reader refuses. */
static bool made(soma_value value)
{
    soma_output(m, "made", value);
    return soma_ok(value);
}
static bool opens(const soma_context_options *o)
{
    soma *other = soma_open(o);
    bool sound = !soma_failed(other), told = *soma_error(other);
    soma_close(other);
    if (!sound && !told)
        exit(3);
    return sound;
}
static bool loads(const soma_loader_options *o)
{
    soma_loader *l = soma_loader_new_with(data, o);
    bool ran = l && !soma_loader_fill(l, inputs, labels) && !soma_loader_wait(l);
    soma_loader_free(l);
    return ran;
}
static bool holds(soma_dataset *d)
{
    soma_dataset_free(d);
    return d != NULL;
}
static bool compiles(const soma_program_options *o)
{
    soma_program *p = soma_compile_with(m, o);
    soma_program_free(p);
    return p != NULL;
}
static bool builds(const soma_zoo_options *o)
{
    soma_model *zoo = soma_zoo_with(s, o);
    soma_model_free(zoo);
    return zoo != NULL;
}

#include "calls.h"

typedef struct call {
    const char *name;
    size_t size;
    void (*say)(void *to);
    bool (*run)(const void *options);
} call;
static const call calls[] = {
#define CALL(T, said, call) {#T, sizeof(T), say_##T, run_##T},
#include "calls.h"
};

/* ---- a model for each call ---- */

static void make_model(void)
{
    soma_model_free(m);
    soma_clear(s);
    m = soma_model_new(s, "older");
    x = soma_input(m, "x", SOMA_F32, SOMA_SHAPE(4));
    y = soma_dense(x, .units = 2);
    soma_output(m, "y", y);
    f = soma_input(m, "maps", SOMA_F32, SOMA_SHAPE(3, 8, 8));
    w = soma_parameter(m, "w", SOMA_SHAPE(2, 3, 3, 3));
    rows = soma_parameter(m, "rows", SOMA_SHAPE(4, 2));
}

/* One input only, for fit, evaluate and predict. */
static void make_plain_model(void)
{
    soma_model_free(m);
    soma_clear(s);
    m = soma_model_new(s, "older");
    x = soma_input(m, "x", SOMA_F32, SOMA_SHAPE(4));
    y = soma_dense(x, .units = 2, .name = "fc");
    soma_output(m, "y", y);
    w = f = rows = x;
}

static int ran, refused, wrong, structs;

/* n bytes of the full struct at the end of a block of `size`. */
static void hand_over(const char *name, const char *last, const unsigned char *full, size_t size, size_t said,
                      bool (*run)(const void *))
{
    unsigned char *block = calloc(1, size);
    if (!block)
        exit(2);
    memcpy(block, full, said < size ? said : size);
    if (size >= sizeof size)
        memcpy(block, &size, sizeof size);
    bool ok = run(block);
    if (ok)
        ran++;
    else if (*soma_error(s) || !strcmp(name, "soma_context_options"))
        refused++;
    else {
        wrong++;
        printf("%s up to %s: neither ran nor said why\n", name, last);
    }
    free(block);
}

static void cut_struct(const char *name, size_t size, void (*say)(void *), bool (*run)(const void *))
{
    bool plain = strstr(name, "fit") || strstr(name, "evaluate") || strstr(name, "predict") || strstr(name, "weights");
    structs++;
    for (size_t i = 0; i < sizeof cuts / sizeof cuts[0]; i++) {
        if (strcmp(cuts[i].name, name))
            continue;
        for (int all = 0; all < 2; all++) {
            unsigned char *full = calloc(1, size);
            if (!full)
                exit(2);
            if (plain)
                make_plain_model();
            else
                make_model();
            say(full);
            hand_over(name, cuts[i].last, full, cuts[i].size, all || cuts[i].said < 40 ? cuts[i].said : 40, run);
            free(full);
        }
    }
}

/* ---- layers: whatever the list has ---- */

static const soma_layer_kind *layer;

static void say_layer(void *to)
{
    char *options = to;
    struct {
        size_t struct_size;
        soma_at at;
        soma_value x;
    } head = {layer->kind.options_size, SOMA_AT, layer->kind.options_size ? f : x};
    memcpy(options, &head, sizeof head);
    for (const soma_field *field = layer->kind.fields; field && field->name; field++)
        for (int i = 0; i < (field->count ? field->count : 1); i++) {
            int64_t two = 2;
            if (field->flags & SOMA_FIELD_REQUIRED && field->type <= SOMA_FIELD_INTS)
                memcpy(options + field->offset + (size_t)i * sizeof two, &two, sizeof two);
        }
}

static bool run_layer(const void *options)
{
    return made(soma_layer_with(layer, options));
}

/* Layers of several values are called soma_layer_NAME. */
static bool is_of(const soma_kind *kind, const char *name)
{
    char plain[96], joined[96];
    snprintf(plain, sizeof plain, "soma_%s_options", kind->name);
    snprintf(joined, sizeof joined, "soma_layer_%s_options", kind->name);
    return !strcmp(name, plain) || !strcmp(name, joined);
}

static bool is_called(const char *name)
{
    for (size_t i = 0; i < sizeof calls / sizeof calls[0]; i++)
        if (!strcmp(calls[i].name, name))
            return true;
    for (const soma_kind *const *row = soma_layers.rows; *row; row++) {
        if (is_of(*row, name))
            return true;
    }
    return false;
}

static void write_idx(const char *folder)
{
    unsigned char images[16 + 4 * 4] = {0, 0, 8, 3, 0, 0, 0, 4, 0, 0, 0, 2, 0, 0, 0, 2};
    snprintf(idx, sizeof idx, "%s/images-idx3-ubyte", folder);
    snprintf(weights, sizeof weights, "%s/older.safetensors", folder);
    FILE *file = fopen(idx, "wb");
    if (!file || fwrite(images, sizeof images, 1, file) != 1 || fclose(file))
        exit(2);
}

int main(int argc, char **argv)
{
    if (argc != 3)
        return 2;
    picture = argv[2];
    write_idx(argv[1]);
    s = soma_open(&(soma_context_options){.struct_size = sizeof(soma_context_options), .threads = 1, .log = hear});
    soma_tensor labels_tensor = {SOMA_I32, {1, {8}}, labels};
    labels[1] = 1;
    data = soma_dataset_arrays(s, .x = xt, .y = labels_tensor, .classes = names);
    make_plain_model();
    if (soma_save(m, weights) || !data) {
        printf("%s\n", soma_error(s));
        return 2;
    }
    for (size_t i = 0; i < sizeof calls / sizeof calls[0]; i++)
        cut_struct(calls[i].name, calls[i].size, calls[i].say, calls[i].run);
    for (size_t i = 0; i < sizeof cuts / sizeof cuts[0]; i++)
        for (const soma_kind *const *row = soma_layers.rows; *row && !strcmp(cuts[i].last, "struct_size"); row++)
            if (is_of(*row, cuts[i].name)) {
                layer = (const soma_layer_kind *)*row;
                cut_struct(cuts[i].name, (*row)->options_size, say_layer, run_layer);
            }
    for (size_t i = 0; i < sizeof cuts / sizeof cuts[0]; i++)
        if (!is_called(cuts[i].name) && !strcmp(cuts[i].last, "struct_size")) {
            printf("%s is called by nobody: give it a row in bench/older/calls.h\n", cuts[i].name);
            wrong++;
        }
    printf("%d structs, %d cuts, %d runs, %d refusals, %d wrong\n", structs, (int)(sizeof cuts / sizeof cuts[0]), ran,
           refused, wrong);
    soma_close(s);
    return wrong || !ran || !refused;
}
