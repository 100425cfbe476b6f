/* SPDX-License-Identifier: Apache-2.0
 *
 * limit_torchvision.c: soma's networks with torchvision's weights against what PyTorch computes with them: outputs,
 * gradients of every parameter, five steps of sgd. bench/peers/export_torchvision.py wrote the files and says what they
 * hold.
 *
 * A gradient is read from one step of sgd: (before - after) / lr, with lr so large (a power of two) that rounding
 * `after` costs no more than rounding the gradient itself.
 * usage: soma-torchvision FOLDER MODEL...
 */
#include <soma/soma.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BATCH = 4, MOST = 64, CLASSES = 1000, STEPS = 5 };
#define GRADIENT_LR 65536.0
#define ZERO 1e-9 /* as in export_torchvision.py */

static const char *folder;
static int64_t side; /* of the model's pictures */

static void die(const soma *s, const char *what)
{
    fprintf(stderr, "soma-torchvision: %s: %s\n", what, soma_error(s));
    exit(1);
}

static char *path_of(const char *model, const char *what)
{
    static char path[1024];
    snprintf(path, sizeof path, "%s/%s.%s", folder, model, what);
    return path;
}

static void read_raw(const char *model, const char *what, void *data, size_t size)
{
    FILE *f = fopen(path_of(model, what), "rb");
    if (!f || fread(data, 1, size, f) != size) {
        fprintf(stderr, "soma-torchvision: %s cannot be read\n", path_of(model, what));
        exit(1);
    }
    fclose(f);
}

/* Square pictures; the file's size says how large. */
static void read_pictures(const char *model, float *x, size_t room)
{
    FILE *f = fopen(path_of(model, "x"), "rb");
    size_t n = f ? fread(x, 1, room, f) : 0;
    side = (int64_t)(sqrt((double)n / (sizeof *x * BATCH * 3)) + 0.5);
    if (n == 0 || n != (size_t)(side * side) * sizeof *x * BATCH * 3) {
        fprintf(stderr, "soma-torchvision: %s is no batch of pictures\n", path_of(model, "x"));
        exit(1);
    }
    fclose(f);
}

static soma *open_context(void)
{
    const char *threads = getenv("SOMA_BENCH_THREADS");
    return soma_open(
        &(soma_context_options){.struct_size = sizeof(soma_context_options), .threads = threads ? atoi(threads) : 2});
}

/* A model with the tensors of one of the files. */
static soma_model *load(soma *s, const char *name, const char *what, bool partial)
{
    soma_model *m = soma_zoo(s, name, .input = SOMA_SHAPE(3, side, side), .no_dropout = true);
    if (!m || soma_load_weights(m, path_of(name, what), .partial = partial) != SOMA_OK)
        die(s, name);
    return m;
}

/* Sum of squares of a - b; b NULL: of a. */
static double squares(const float *a, const float *b, int64_t n)
{
    double sum = 0;
    for (int64_t i = 0; i < n; i++) {
        double d = (double)a[i] - (b ? (double)b[i] : 0);
        sum += d * d;
    }
    return sum;
}

static double outputs(soma *s, soma_model *m, const char *name, float *x)
{
    static float y[BATCH * CLASSES], want[BATCH * CLASSES];
    soma_tensor tx = {SOMA_F32, SOMA_SHAPE(BATCH, 3, side, side), x}, ty = {SOMA_F32, SOMA_SHAPE(BATCH, CLASSES), y};
    if (soma_predict(m, &tx, &ty) != SOMA_OK)
        die(s, name);
    read_raw(name, "logits", want, sizeof want);
    double worst = 0, largest = 1;
    for (int i = 0; i < BATCH * CLASSES; i++) {
        double difference = fabs((double)y[i] - (double)want[i]);
        worst = difference <= worst ? worst : difference; /* fmax would lose a NaN */
        if (isnan(difference))
            return NAN;
        largest = fmax(largest, fabs((double)want[i]));
    }
    return worst / largest;
}

static void train(soma *s, soma_model *m, const char *name, float *x, int32_t *labels, soma_optimizer optimizer,
                  int64_t steps)
{
    soma_tensor tx = {SOMA_F32, SOMA_SHAPE(BATCH, 3, side, side), x}, ty = {SOMA_I32, SOMA_SHAPE(BATCH), labels};
    soma_dataset *d = soma_dataset_arrays(s, .x = tx, .y = ty, .n_classes = CLASSES);
    if (soma_fit(m, d, .optimizer = optimizer, .batch_size = BATCH, .epochs = steps, .no_shuffle = true) != SOMA_OK)
        die(s, name);
}

/* Does the training use Winograd convolutions, whose rounding errors are larger? */
static bool uses_winograd(soma *s, soma_model *m, float *x, int32_t *labels)
{
    soma_tensor tx = {SOMA_F32, SOMA_SHAPE(BATCH, 3, side, side), x}, ty = {SOMA_I32, SOMA_SHAPE(BATCH), labels};
    soma_trainer *t = soma_trainer_new(m, soma_dataset_arrays(s, .x = tx, .y = ty, .n_classes = CLASSES),
                                       .batch_size = BATCH);
    const soma_program *p = t ? soma_trainer_program(t) : NULL;
    bool found = false;
    for (int i = 0; p && i < soma_program_nodes(p); i++) {
        soma_plan_node node = soma_program_node(p, i);
        found = found || strstr(node.kernel, "wino") || strstr(node.note, "wino");
    }
    soma_trainer_free(t);
    return found;
}

static const float *data_of(soma_model *m, const char *name)
{
    return soma_tensor_find(m, name).tensor.data;
}

static bool is_slot(const soma_named_tensor *t)
{
    return !strncmp(t->name, "optimizer/", 10);
}

/* An element's share of the whole gradient's norm. */
static double share_of(soma_model *before, soma_model *expected)
{
    double sum = 0, n = 0;
    for (int i = 0; i < soma_tensor_count(before); i++) {
        soma_named_tensor b = soma_tensor_at(before, i);
        if (b.frozen || is_slot(&b))
            continue;
        int64_t elements = soma_shape_elements(&b.tensor.shape);
        sum += squares(data_of(expected, b.name), NULL, elements);
        n += (double)elements;
    }
    return sqrt(sum / n);
}

typedef struct gradient_errors {
    double most, most_zero; /* the worst of the tensors with a gradient, and of those whose true gradient is zero */
    int n, n_zero;          /* how many there are */
    char worst[128];        /* the name of the first */
} gradient_errors;

/* A tensor's error against its norm; where that is nothing but the rounding of f64 (the true gradient is zero), against
 * a thousandth of its share of the whole gradient's norm. */
static void add_error(gradient_errors *e, const char *name, double difference, double norm, double share)
{
    if (norm < ZERO * share) {
        e->n_zero++;
        e->most_zero = fmax(e->most_zero, difference / (1e-3 * share));
        return;
    }
    e->n++;
    if (difference / norm <= e->most)
        return;
    e->most = difference / norm;
    snprintf(e->worst, sizeof e->worst, "%s", name);
}

static gradient_errors compare_gradients(soma_model *before, soma_model *after, soma_model *expected)
{
    gradient_errors errors = {.most = -1};
    double share = share_of(before, expected);
    for (int i = 0; i < soma_tensor_count(before); i++) {
        soma_named_tensor b = soma_tensor_at(before, i);
        if (b.frozen || is_slot(&b))
            continue;
        const float *x = b.tensor.data, *a = data_of(after, b.name), *g = data_of(expected, b.name);
        int64_t n = soma_shape_elements(&b.tensor.shape);
        double difference = 0;
        for (int64_t k = 0; k < n; k++) {
            double d = ((double)x[k] - (double)a[k]) / GRADIENT_LR - (double)g[k];
            difference += d * d;
        }
        if (!isfinite(difference))
            difference = HUGE_VAL;
        add_error(&errors, b.name, sqrt(difference), sqrt(squares(g, NULL, n)), share * sqrt((double)n));
    }
    return errors;
}

/* All parameters, or all running statistics, against how far they moved. */
static double compare_steps(soma_model *before, soma_model *after, soma_model *expected, bool statistics)
{
    double difference = 0, moved = 0;
    for (int i = 0; i < soma_tensor_count(before); i++) {
        soma_named_tensor b = soma_tensor_at(before, i);
        if (is_slot(&b) || b.frozen != statistics)
            continue;
        const float *a = data_of(after, b.name), *e = data_of(expected, b.name);
        int64_t n = soma_shape_elements(&b.tensor.shape);
        difference += squares(a, e, n);
        moved += squares(e, b.tensor.data, n);
    }
    return moved > 0 ? sqrt(difference / moved) : 0;
}

static void compare(const char *name)
{
    static float x[BATCH * 3 * MOST * MOST];
    static int32_t labels[BATCH];
    double torch[5] = {NAN, NAN, NAN, NAN, NAN};
    read_pictures(name, x, sizeof x);
    read_raw(name, "y", labels, sizeof labels);
    FILE *f = fopen(path_of(name, "torch32"), "r");
    if (!f || fscanf(f, "%lf %lf %lf %lf %lf", &torch[0], &torch[1], &torch[2], &torch[3], &torch[4]) != 5)
        fprintf(stderr, "soma-torchvision: %s cannot be read\n", path_of(name, "torch32"));
    if (f)
        fclose(f);
    soma *s = open_context();
    soma_model *before = load(s, name, "weights.safetensors", false);
    printf("%s_outputs %.3g\n%s_outputs_torch %.3g\n", name, outputs(s, before, name, x), name, torch[0]);
    printf("%s_winograd %d\n", name, uses_winograd(s, before, x, labels));
    soma_model *after = load(s, name, "weights.safetensors", false),
               *expected = load(s, name, "grads.safetensors", true);
    train(s, after, name, x, labels, soma_sgd(.lr = GRADIENT_LR), 1);
    gradient_errors g = compare_gradients(before, after, expected);
    printf("%s_gradients %.3g worst of %d tensors, %s\n%s_gradients_torch %.3g\n", name, g.most, g.n, g.worst, name,
           torch[1]);
    printf("%s_zero_gradients %.3g worst of %d tensors\n%s_zero_gradients_torch %.3g\n", name, g.most_zero, g.n_zero,
           name, torch[2]);
    soma_model_free(after);
    soma_model_free(expected);
    after = load(s, name, "weights.safetensors", false);
    expected = load(s, name, "after.safetensors", false);
    train(s, after, name, x, labels, soma_sgd(.lr = 0.01, .momentum = 0.9), STEPS);
    printf("%s_steps %.3g\n%s_steps_torch %.3g\n", name, compare_steps(before, after, expected, false), name, torch[3]);
    printf("%s_statistics %.3g\n%s_statistics_torch %.3g\n", name, compare_steps(before, after, expected, true), name,
           torch[4]);
    soma_close(s);
}

int main(int argc, char **argv)
{
    if (argc < 3) {
        fprintf(stderr, "usage: soma-torchvision FOLDER MODEL...\n");
        return 2;
    }
    folder = argv[1];
    for (int i = 2; i < argc; i++)
        compare(argv[i]);
    return 0;
}
