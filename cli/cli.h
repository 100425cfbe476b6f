/* SPDX-License-Identifier: Apache-2.0
 *
 * cli/cli.h: what the commands of `soma` share: options, models and data by name, tables. Uses the public API only.
 */
#ifndef SOMA_CLI_H
#define SOMA_CLI_H

#include <soma/soma.h>
#include <stdio.h>

/* A place in this source says nothing to who typed a command. */
#undef SOMA_AT
#define SOMA_AT ((soma_at){NULL, 0})

#include "pace.h"

#define EXIT_RUN 1   /* something failed while running */
#define EXIT_USAGE 2 /* the command line is wrong */

typedef enum cli_type {
    CLI_TEXT,
    CLI_INT,
    CLI_BYTES, /* a whole number or one with a fraction and K, M or G behind it: powers of 1000 */
    CLI_FLOAT,
    CLI_FLAG,
    CLI_LIST,
    CLI_SHAPE,
    CLI_CHOICE /* one of the words of `arg`, which stands in the help as it is: "f32|bf16" */
} cli_type;

/* One option of a command: parsing, checking and --help come from this table. */
typedef struct cli_option {
    const char *name; /* "batch-size" */
    cli_type type;
    void *out;       /* const char *, int64_t, double, bool, cli_list or soma_shape ("3x64x64") */
    const char *arg; /* "N" in the help */
    const char *doc;
    double min, max; /* numbers; min > max: any */
} cli_option;

/* Values of an option that may be given several times. */
typedef struct cli_list {
    const char *texts[64];
    int n;
} cli_list;

typedef struct cli_command {
    const char *name, *arguments, *doc;
    int (*run)(int argc, char **argv);
} cli_command;

/* Options of every command that computes. */
typedef struct cli_common {
    int64_t threads, seed;
    bool exact, tune, quiet, json;
    const char *tune_cache, *data_path;
} cli_common;
#define CLI_COMMON(c)                                                                                                  \
    {"threads", CLI_INT, &(c).threads, "N", "threads to use (default: all of this process)", 1, 1024},                 \
        {"seed", CLI_INT, &(c).seed, "N", "seed of initial values, shuffling and dropout (default 0)", 0, 1e18},       \
        {"exact", CLI_FLAG, &(c).exact, NULL, "reference kernels: the same bits on every machine", 1, 0},              \
        {"tune", CLI_FLAG, &(c).tune, NULL, "time the kernels on the real shapes and take the fastest", 1, 0},         \
        {"tune-cache",                                                                                                 \
         CLI_TEXT,                                                                                                     \
         &(c).tune_cache,                                                                                              \
         "FILE",                                                                                                       \
         "where timed choices are kept (default: in the user's cache)",                                                \
         1,                                                                                                            \
         0},                                                                                                           \
        {"quiet", CLI_FLAG, &(c).quiet, NULL, "no progress on standard error", 1, 0},                                  \
    {                                                                                                                  \
        "json", CLI_FLAG, &(c).json, NULL, "the result as JSON on standard output", 1, 0                               \
    }

#define CLI_PRECISION(text)                                                                                            \
    {                                                                                                                  \
        "precision", CLI_CHOICE, text, "f32|bf16",                                                                     \
            "of activations and products (default f32); bf16 where the CPU multiplies it", 1, 0                        \
    }
#define CLI_LOSS(text)                                                                                                 \
    {                                                                                                                  \
        "loss", CLI_CHOICE, text, "softmax_cross_entropy|mean_squared_error|mse",                                      \
            "what is minimised (default: by the data's targets)", 1, 0                                                 \
    }
#define CLI_OPTIMIZER(text)                                                                                            \
    {                                                                                                                  \
        "optimizer", CLI_CHOICE, text, "sgd|adam", "who changes the parameters (default: the model's recipe)", 1, 0    \
    }
/* Options of commands that compute nothing. */
#define CLI_OUTPUT(c)                                                                                                  \
    {"quiet", CLI_FLAG, &(c).quiet, NULL, "no notes on standard error", 1, 0},                                         \
    {                                                                                                                  \
        "json", CLI_FLAG, &(c).json, NULL, "the result as JSON on standard output", 1, 0                               \
    }

/* Parses options and collects at most `most` positional arguments. Returns their number, or -1 after telling the
 * mistake, or -2 after --help. */
int cli_parse(const cli_command *command, const cli_option *options, int argc, char **argv, const char **positional,
              int least, int most);

soma *cli_open(const cli_common *common);

/* ---- errors ---- */

/* Each tells a sentence on standard error and returns an exit code: cli_error EXIT_RUN, cli_usage EXIT_USAGE,
 * cli_failed EXIT_RUN with the context's error. With --json the first one told becomes the object "error" on standard
 * output, too: main prints it, unless a command has put it into its own answer by cli_json_error. The text has no
 * "soma: " before it and no line's end. */
int cli_error(soma_status status, const char *format, ...) SOMA_PRINTF(2, 3);
int cli_usage(const char *format, ...) SOMA_PRINTF(1, 2);
int cli_failed(const soma *s);
void cli_warning(const char *text);
void cli_note(const char *format, ...) SOMA_PRINTF(1, 2);
/* `before` and the object of an error that was told and not yet written; false where there is none, or no --json. */
bool cli_json_error(const char *before);
/* Errors are wanted as JSON as well. */
void cli_answer_json(bool json);

/* ---- models ---- */

typedef struct cli_model {
    soma_model *model;
    const soma_zoo_entry *zoo; /* NULL: not from the zoo */
    soma_recipe recipe;        /* from YAML */
    bool loaded;               /* from a model file */
    bool described;            /* by YAML: the recipe holds what it says */
    const char *name;          /* as it was asked for */
    bool trained;              /* its numbers come from a file, all but those of a new head */
} cli_model;
/* How an architecture is built, and the weights that it begins with. */
typedef struct cli_build {
    int64_t classes;
    double width;
    soma_shape input;
    const char *shortcut, *stride, *pooling, *dialect; /* which of two networks with the same tensors */
    const char *weights, *layout;
    cli_list map;
    bool partial, new_head;
} cli_build;
#define CLI_BUILD(b)                                                                                                   \
    {"classes", CLI_INT, &(b).classes, "N", "outputs of an architecture (default: its own, or the data's)", 1, 1e6},   \
        {"width", CLI_FLOAT, &(b).width, "X", "multiplies an architecture's channels (default 1)", 0.001, 64},         \
        {"input", CLI_SHAPE, &(b).input, "CxHxW", "shape of an architecture's input (default: its own)", 1, 0},        \
        {"shortcut", CLI_TEXT, &(b).shortcut, "NAME", "resnet20's new channels: centred (default) or behind", 1, 0},   \
        {"stride", CLI_TEXT, &(b).stride, "NAME", "of bottlenecks, in the 3x3 (default) or 1x1 convolution", 1, 0},    \
        {"pooling", CLI_TEXT, &(b).pooling, "NAME", "squeezenet1_0's sides, ceil (default) or floor", 1, 0},           \
        {"dialect",                                                                                                    \
         CLI_TEXT,                                                                                                     \
         &(b).dialect,                                                                                                 \
         "NAME",                                                                                                       \
         "mobilenetv2: torch (default) or keras; alexnet-paper: paper (default) or caffe",                             \
         1,                                                                                                            \
         0},                                                                                                           \
        {"weights", CLI_TEXT, &(b).weights, "FILE", "safetensors to begin with, of this or another program", 1, 0},    \
        {"layout", CLI_CHOICE, &(b).layout, "torch|keras", "whose orders they have (default torch)", 1, 0},            \
        {"map", CLI_LIST, &(b).map, "OLD=NEW", "what OLD in their names becomes, or FILE.yaml of such; repeatable",    \
         1,     0},                                                                                                    \
        {"partial", CLI_FLAG, &(b).partial, NULL, "names without a partner are only listed", 1, 0},                    \
    {                                                                                                                  \
        "new-head", CLI_FLAG, &(b).new_head, NULL, "the last layer begins anew, for --classes or the data's", 1, 0     \
    }
/* A zoo name, a .yaml description or a .safetensors file. False after an error, with the exit code. */
bool cli_find_model(soma *s, const char *name, const cli_build *build, cli_model *found, int *code);
/* May it answer? False after telling that it has learned nothing, unless that is what was asked for. */
bool cli_is_trained(const cli_model *found, const char *name, bool untrained, int *code);
#define CLI_UNTRAINED(flag)                                                                                            \
    {                                                                                                                  \
        "untrained", CLI_FLAG, &(flag), NULL, "let a model with random weights answer", 1, 0                           \
    }
soma_shape cli_sample_shape(const soma_model *m);
/* The option's, else the description's; NULL: f32. */
const char *cli_precision(const char *option, const soma_recipe *recipe);

/* ---- groups of parameters ---- */

typedef struct cli_groups {
    cli_list freeze, lr;
    soma_param_group list[160]; /* the description's, then the command line's */
    int n;
} cli_groups;
#define CLI_GROUPS(g)                                                                                                  \
    {"freeze", CLI_LIST, &(g).freeze, "PATTERN", "tensors that are not trained, such as \"features.*\"; repeatable",   \
     1,        0},                                                                                                     \
    {                                                                                                                  \
        "lr-group", CLI_LIST, &(g).lr, "PATTERN=LR", "learning rate of some tensors, or xF times the others'", 1, 0    \
    }
/* False after telling what is wrong with the option; before anything is opened. */
bool cli_sound_groups(const cli_groups *g);
/* Fills list; false after telling what is wrong. */
bool cli_make_groups(cli_groups *g, const soma_recipe *recipe);

/* ---- data ---- */

/* A path, a data set's name ("fashion-mnist"), "line" or "random", opened as `how` says. NULL after an error, with the
 * exit code. */
soma_dataset *cli_find_data(soma *s, const char *name, const soma_dataset_options *how, const soma_model *m, int *code);
/* Data that are made up: "line" or "random". */
bool cli_is_made(const char *name);
/* A usage error, and false, for an option (its name; NULL: not given) that made-up data have no use for. */
bool cli_made_lacks(const char *data, const char *option);
/* Where it lies: a path as it is, or the path of a data set's name; NULL: nowhere, or made here. */
const char *cli_data_path(soma *s, const char *name, char path[4096]);
#define CLI_DATA_PATH(c)                                                                                               \
    {                                                                                                                  \
        "data-path", CLI_TEXT, &(c).data_path, "FOLDERS",                                                              \
            "where a data set's name is looked for first, a colon between them", 1, 0                                  \
    }
void cli_free_data(void);
bool cli_is_file(const char *name);

/* Samples of noise in a model's shape, with targets that fit its output and loss (NULL: its own). Owned by the caller,
 * and to be freed after the dataset, which may be NULL for want of memory. */
typedef struct cli_noise {
    float *x, *y;
    int32_t *labels;
} cli_noise;
soma_dataset *cli_make_noise(soma *s, const cli_model *found, const char *loss, int64_t samples, cli_noise *n);
void cli_free_noise(cli_noise *n);

/* ---- pictures ---- */

typedef struct cli_pictures {
    const char *resize, *crop, *mean, *deviation, *order;
    double scale;
    bool flip, invert;
    int64_t random_crop; /* its padding; -1: none */
    double random_resized_crop;
} cli_pictures;
#define CLI_PICTURES_NONE ((cli_pictures){.random_crop = -1})
#define CLI_TRANSFORM(p)                                                                                               \
    {"resize", CLI_TEXT, &(p).resize, "SIZE", "resize pictures: shorter side, or HEIGHTxWIDTH", 1, 0},                 \
        {"center-crop", CLI_TEXT, &(p).crop, "SIZE", "then their middle; a black border around smaller ones", 1, 0},   \
        {"scale", CLI_FLOAT, &(p).scale, "X", "factor of the values 0..255 (default 1/255)", 1e-300, 1e300},           \
        {"mean", CLI_TEXT, &(p).mean, "X,...", "to be subtracted, one or one a channel", 1, 0},                        \
        {"std", CLI_TEXT, &(p).deviation, "X,...", "to divide by", 1, 0},                                              \
        {"invert", CLI_FLAG, &(p).invert, NULL, "exchange light and dark (white on black, black on white)", 1, 0},     \
    {                                                                                                                  \
        "channel-order", CLI_CHOICE, &(p).order, "rgb|bgr", "of the pictures' colours (default rgb)", 1, 0             \
    }
#define CLI_AUGMENT(p)                                                                                                 \
    {"flip", CLI_FLAG, &(p).flip, NULL, "training: mirror every second picture", 1, 0},                                \
        {"random-crop", CLI_INT, &(p).random_crop, "PADDING", "training: crop anywhere, that much black around", 0,    \
         65535},                                                                                                       \
    {                                                                                                                  \
        "random-resized-crop", CLI_FLOAT, &(p).random_resized_crop, "SHARE",                                           \
            "training: a part of at least this share of the area", 1e-6, 1                                             \
    }
/* Puts what was said into t or a; false after a mistake was told. data: a name or a path, NULL: pictures; sample: the
 * model's. */
bool cli_transform(const cli_pictures *p, const char *data, const soma_shape *sample, soma_transform *t);
void cli_augmentation(const cli_pictures *p, soma_augment *a);
/* Tells that other programs' weights do not say how pictures become inputs, where nobody said it. */
void cli_note_inputs(const cli_common *common, const cli_build *b, const cli_model *found, const cli_pictures *p);
/* A note on standard error where pictures look like those that a model was trained with, light and dark exchanged.
 * what: "x.png is", "the pictures are". */
void cli_note_inverted(const soma_model *m, const char *what, double background);
void cli_note_inverted_data(const soma_model *m, const soma_dataset *d);
/* Data as a model wants them: its transform, its channels. */
void cli_use_model(const soma_model *m, soma_dataset_options *how);
/* The data with the model's classes, by their names; NULL: the context's error says what does not fit. */
soma_dataset *cli_same_classes(soma_model *m, soma_dataset *d);
/* Without a size of their own, a folder's pictures (DATA: a name or a path) get the sample's. */
void cli_size_pictures(soma *s, const char *data, const soma_shape *sample, soma_dataset_options *how);
/* IDX files of that part lie in the folder. */
bool cli_holds_idx(const char *folder, const char *part);
/* path/name is a folder. */
bool cli_is_folder(const char *path, const char *name);
/* One name a line, one for each output; false after an error. */
bool cli_read_labels(soma_model *m, const char *path);

/* ---- results ---- */

/* Before a training: false after telling that the path cannot be written. */
bool cli_can_save(soma_model *m, const char *path);
/* After it: an exit code. What cannot be written is kept as a new file of the working folder or of the system's folder
 * for temporary files, and the error says where. */
int cli_save(soma_model *m, const char *path);

/* ---- output ---- */

void cli_json_text(const char *text); /* quoted and escaped, to stdout */
/* Names of files and classes come from outside: what would move a terminal's cursor is shown as an escape. */
void cli_text(FILE *out, const char *text);
/* "1 class", "1,000 classes" */
const char *cli_many(int64_t n, const char *one, const char *more, char text[48]);
/* STEM.safetensors, or where that exists STEM-2.safetensors and so on: nothing is overwritten unasked. */
const char *cli_free_name(const char *stem, char path[1024]);
void cli_json_number(double number);                              /* null for NaN */
const char *cli_count(int64_t n, char text[32]);                  /* 1,234,567 */
const char *cli_shape_text(const soma_type *type, char text[96]); /* (N, 3, 32, 32) */
/* The one of a list that may have been meant; at: entry i, NULL behind the last. */
typedef const char *(*cli_name_fn)(const void *list, int i);
const char *cli_nearest(const char *name, cli_name_fn at, const void *list);

/* ---- progress ---- */

typedef struct cli_progress {
    cli_pace pace;      /* is the machine busy? */
    int threads;        /* of the program */
    int64_t paced_step; /* where its last interval ended, in steps and seconds of the epoch */
    double paced_seconds;
    double shown; /* seconds of the epoch when the line was last written */
    bool quiet, terminal, colour, utf8;
    int64_t epoch;   /* whose title was shown, counted from 1 */
    int width, used; /* of the line, in characters */
    bool open;       /* the cursor stands inside a line */
} cli_progress;
bool cli_show_progress(void *user, const soma_progress *p);
/* Where a training that was stopped or failed stands, if its epoch was begun. */
void cli_show_last(cli_progress *show, const soma_progress *p);
/* How often a training's steps are looked at, so that their best can be told from what they take on a busy machine. */
#define CLI_PACE_SECONDS 0.001
void cli_say_busy(const cli_pace *pace, int threads);
void cli_progress_begin(cli_progress *p, const cli_common *common);
/* Ends a line that was left open. */
void cli_progress_end(cli_progress *p);

/* ---- being stopped ---- */

/* From here on SIGINT, SIGTERM and SIGHUP end the command with 128 and their number. */
void cli_stop_watch(void);
/* From here on the first of them asks for an end after the step under way. silent: it says nothing about that. */
void cli_stop_begin(bool silent);
bool cli_stop(void *user);
/* "SIGINT"; NULL: nobody asked. */
const char *cli_stop_name(void);
/* How the command will end: 128 and the signal's number, else the code. */
int cli_stop_code(int code);

/* ---- what a training will do ---- */

typedef struct cli_training {
    soma *s;
    const cli_common *common;
    const cli_model *found;
    const soma_fit_options *fit;
    const char *data_name, *validation_name, *test_name, *weights, *output; /* NULL: none */
} cli_training;
/* On standard error, unless --quiet. */
void cli_tell_training(const cli_training *t);
void cli_tell_plan(const soma_program *p);
/* Which of `all` samples are held out for validation. */
void cli_tell_held(const soma_dataset *held, int64_t all, const char *order);

int cli_train(int argc, char **argv);
int cli_eval(int argc, char **argv);
int cli_predict(int argc, char **argv);
int cli_summary(int argc, char **argv);
int cli_plan(int argc, char **argv);
int cli_bench(int argc, char **argv);
/* `soma layers`, `soma ops`: one of the lists of soma/catalogue.h. */
int cli_kinds(const soma_kinds *list, int argc, char **argv);

#endif
