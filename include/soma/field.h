/* SPDX-License-Identifier: Apache-2.0
 *
 * soma/field.h: what a struct of options or attributes holds, as a table, and kinds: the layers, optimizers, losses
 * and so on that soma knows by name. Defaults, checks, keys of descriptions, options of commands, what files hold and
 * the reference pages all come from these tables.
 */
#ifndef SOMA_FIELD_H
#define SOMA_FIELD_H

#include <soma/tensor.h>

#ifdef __cplusplus
extern "C" {
#endif

/** Writes the sentence into reason (capacity SOMA_REASON_MAX, may be NULL) and returns SOMA_INVALID: how parts of a
 *  kind, such as an op's infer or a kernel's accept, say no. */
#define SOMA_REASON_MAX 512
SOMA_API soma_status soma_refuse(char *reason, const char *format, ...) SOMA_PRINTF(2, 3);

/* ---- fields ---- */

typedef enum soma_field_type {
    SOMA_FIELD_INT,    /* int64_t */
    SOMA_FIELD_FLOAT,  /* double */
    SOMA_FIELD_BOOL,   /* bool */
    SOMA_FIELD_ENUM,   /* int: index into choices; attributes of ops only */
    SOMA_FIELD_INTS,   /* int64_t[count] */
    SOMA_FIELD_SHAPE,  /* soma_shape; dimensions may be symbolic */
    SOMA_FIELD_FLOATS, /* double[count] */
    SOMA_FIELD_TEXT,   /* const char *; with choices one of them, else any text */
    SOMA_FIELD_KIND,   /* const char *: a kind of `kinds`, with options if it takes any: "normal:deviation=0.01" */
    SOMA_FIELD_SIZE,   /* uint64_t */
    SOMA_FIELD_OTHER   /* count bytes that C alone can give: a pointer, a function, a value, a struct */
} soma_field_type;

#define SOMA_FIELD_REQUIRED 1u  /* option structs: must be given */
#define SOMA_FIELD_ABOVE_MIN 2u /* min itself is not in the range */
#define SOMA_FIELD_BELOW_MAX 4u /* max itself is not in the range */

typedef struct soma_kinds soma_kinds;

/** One field. In an option struct zero (NULL, false) means the preset and #SOMA_ZERO zero; attributes of ops, and
 *  options once they are resolved, hold the number itself. */
typedef struct soma_field {
    const char *name;
    soma_field_type type;
    size_t offset;
    int count;                  /* INTS, FLOATS: how many; OTHER: bytes */
    double preset, min, max;    /* default and range; of each element; min >= max: any number (0 and 0: as not said) */
    const char *const *choices; /* ENUM, TEXT: NULL-terminated */
    const char *doc;
    uint32_t flags;
    const char *aliases;     /* other names that are read, separated by blanks; files always hold `name` */
    const char *preset_text; /* TEXT, KIND: the default; NULL: none */
    const char *example;     /* what a sentence shows where the field is missing: "{3, 3}" */
    const soma_kinds *kinds; /* KIND */
} soma_field;

/* ---- kinds ---- */

/** What all rows begin with. A row that a program hands over begins with its own size. */
typedef struct soma_kind {
    size_t struct_size;       /* of the whole row */
    const char *name;         /* in files, descriptions, commands and errors */
    const char *aliases;      /* other names that are read, separated by blanks (Keras', PyTorch's); NULL: none */
    const char *doc;          /* formula, shapes, source */
    size_t options_size;      /* of its option struct; 0: it takes no options */
    const soma_field *fields; /* of that struct, name NULL at the end; NULL: none */
} soma_kind;

/** All kinds of one sort. */
struct soma_kinds {
    const char *one, *many;       /* "optimizer", "optimizers" */
    const soma_kind *const *rows; /* NULL-terminated, in the order in which they are listed */
};

/** The kind of that name or alias; NULL: there is none. */
SOMA_API const soma_kind *soma_kind_find(const soma_kinds *kinds, const char *name);
/** The name of a kind that may have been meant by a misspelt one; NULL: none is near. */
SOMA_API const char *soma_kind_nearest(const soma_kinds *kinds, const char *name);
/** The field of that name or alias; NULL: there is none. */
SOMA_API const soma_field *soma_field_find(const soma_field *fields, const char *name);
/** Its range in words: "at least 0 and below 1"; "" where any number is right. Give 96 bytes. */
SOMA_API const char *soma_field_range(const soma_field *field, char text[96]);
/** Its default in words: "0.01", "3, 3", "false"; "" where there is none. Give 96 bytes. */
SOMA_API const char *soma_field_preset(const soma_field *field, char text[96]);

#ifdef __cplusplus
}
#endif
#endif
