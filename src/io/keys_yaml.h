/* SPDX-License-Identifier: Apache-2.0
 *
 * io/keys_yaml.h: tables of the keys of a mapping in YAML. Knows no documents.
 */
#ifndef SOMA_IO_KEYS_YAML_H
#define SOMA_IO_KEYS_YAML_H

#include <soma/io.h>

#include <math.h>
#include <stddef.h>

typedef enum soma_key_type { KEY_INTS, KEY_FLOAT, KEY_FLOATS, KEY_BOOL, KEY_TEXT } soma_key_type;

/* One key of a mapping and where its value goes in an option struct. There, zero means the default: a number
 * (KEY_FLOAT, KEY_FLOATS) that a description says to be zero is SOMA_ZERO. */
typedef struct soma_yaml_key {
    const char *name;
    soma_key_type type;
    size_t offset;
    int count;   /* KEY_INTS, KEY_FLOATS: how many; one number given: for all; 0: a section, which has no place */
    double from; /* numbers: the least; -HUGE_VAL: any */
    bool beyond; /* numbers: must be greater than `from` */
    double to;   /* KEY_FLOAT: the most; 0: any */
    bool below;  /* KEY_FLOAT: must be less than `to` */
} soma_yaml_key;

/* clang-format off */
#define INT(T, f) {#f, KEY_INTS, offsetof(T, f), 1, 1, false, 0, false}
#define INTS(T, f, n, least) {#f, KEY_INTS, offsetof(T, f), n, least, false, 0, false}
#define NUMBER(T, f) {#f, KEY_FLOAT, offsetof(T, f), 1, -HUGE_VAL, false, 0, false}
#define AT_LEAST_0(T, f) {#f, KEY_FLOAT, offsetof(T, f), 1, 0, false, 0, false}
#define SHARE(T, f) {#f, KEY_FLOAT, offsetof(T, f), 1, 0, false, 1, true}
#define POSITIVE(T, f) {#f, KEY_FLOAT, offsetof(T, f), 1, 0, true, 0, false}
#define BOOL(T, f) {#f, KEY_BOOL, offsetof(T, f), 1, 0, false, 0, false}
#define TEXT(T, f) {#f, KEY_TEXT, offsetof(T, f), 1, 0, false, 0, false}
#define SECTION(n) {n, KEY_TEXT, 0, 0, 0, false, 0, false}
#define END {NULL, KEY_INTS, 0, 0, 0, false, 0, false}
/* clang-format on */

/* A layer of a description. */
typedef struct soma_yaml_layer {
    const char *name;
    const soma_yaml_key *keys;
    size_t size;
    soma_value (*build)(soma_value x, void *options);
} soma_yaml_layer;
extern const soma_yaml_layer soma_yaml_layers[]; /* ends with name NULL */

/* Layers without options get only the place. */
typedef struct soma_yaml_bare {
    size_t struct_size;
    soma_at at;
} soma_yaml_bare;

/* The section "pictures", into a soma_recipe. */
extern const soma_yaml_key soma_picture_keys[];

/* Into soma_sgd_options, soma_adam_options and soma_group. */
extern const soma_yaml_key soma_sgd_keys[], soma_adam_keys[], soma_group_keys[];

#endif
