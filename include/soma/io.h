/* SPDX-License-Identifier: Apache-2.0
 *
 * soma/io.h: model files (safetensors with the graph in the metadata), model descriptions (YAML).
 */
#ifndef SOMA_IO_H
#define SOMA_IO_H

#include <soma/data.h>
#include <soma/nn.h>

#ifdef __cplusplus
extern "C" {
#endif

/** A rule for names: wherever `from` stands in a name it becomes `to`; "^" in front of `from` means only at the
 *  beginning. {"^module.", ""}, {"fire2/", "features.3."}. */
typedef struct soma_rename {
    const char *from, *to;
    uint64_t reserved[2]; /**< zero */
} soma_rename;

/** Writes model and tensors, atomically: a temporary file beside it, fsync, rename, fsync of the folder. On a failure,
 *  and after a power cut or a kill, the old file is as it was. A symbolic link stays one: what it points to is
 *  replaced. The mode of the old file is kept, and its owner and group as far as the system permits; access control
 *  lists are not, and other hard links keep the old content. A new file has the mode that the umask leaves. What is no
 *  regular file is never replaced.
 *
 *  The temporary file is called PATH.tmp-<16 digits> (a long name is shortened) and is locked while its writer lives;
 *  those that a killed process left behind are removed by the next save to the same path. */
SOMA_API soma_status soma_save(soma_model *m, const char *path);
/** Would soma_save(m, path) succeed now, as far as can be known? Makes the temporary file, asks for its space and
 *  removes it: a folder that is missing or read-only, a name that is too long, a device, a full disk, quota or
 *  file-size limit are told with soma_save's sentences, before hours of training. A leftover of a killed process is
 *  removed as well. */
SOMA_API soma_status soma_can_save(soma_model *m, const char *path);
/** Reads a model that soma_save wrote; NULL on failure. Nothing in a file is ever executed. */
SOMA_API soma_model *soma_load(soma *s, const char *path);

/** What soma_load_weights found. Names are in alphabetical order and live until the model's next
 *  soma_load_weights, or until the model is freed. */
typedef struct soma_weights_report {
    int loaded;                 /**< tensors of the model that were (or would have been) written */
    int n_missing;              /**< tensors of the model without one in the file */
    int n_unused;               /**< tensors of the file that the model does not want */
    const char *const *missing; /**< names of the model */
    const char *const *unused;  /**< names as they stand in the file */
    uint64_t reserved[4];       /**< room for what comes: a caller's struct is as long as the library's */
} soma_weights_report;

typedef struct soma_load_weights_options {
    size_t struct_size;
    soma_at at;
    const char *path;
    /** "torch" (default): names and orders are soma's own (OIHW, [out, in]). "keras": kernel, gamma, beta,
     *  moving_mean, moving_variance; HWIO, [in, out], depthwise [h, w, c, m], and rows of the first dense layer
     *  after a flatten in NHWC order */
    const char *layout;
    const soma_rename *map; /**< rules for the file's names, applied one after the other before the layout's own */
    int n_map;
    const char *map_file; /**< a YAML mapping of such rules, OLD: NEW, applied after `map` */
    bool partial;         /**< missing and unused tensors are listed, but no error */
    bool new_head;        /**< the model's last layer with tensors stays as it is, whatever the file has for it */
    soma_weights_report *report; /**< may be NULL; filled also where names were missing or unused */
} soma_load_weights_options;
/** Reads tensors from a safetensors file (f32, f64, f16, bf16) into the model's tensors of the same name:
 *  soma_load_weights(m, "resnet18.safetensors", .new_head = true). Every name without a partner is told to the log and
 *  is an error unless .partial; "num_batches_tracked" of PyTorch is left out. A wrong shape or type is always an
 *  error. On an error the model is as it was. Where two networks of an architecture share all names and shapes
 *  (soma_zoo_reading), the log says which one was filled. Batch norm's epsilon is in no such file: it is the layer's
 *  (PyTorch 1e-5, Keras 1e-3). */
SOMA_API soma_status soma_load_weights_with(soma_model *m, const soma_load_weights_options *o);
#define soma_load_weights(m, ...)                                                                                      \
    soma_load_weights_with(m, SOMA_OPTIONS(soma_load_weights_options, .path = __VA_ARGS__))

/** A new model like m, whose last layer with tensors has `classes` outputs and fresh initial values; all other tensors
 *  and the input transform are copied. m stays as it is. NULL on failure: the layer must be a dense one or a
 *  convolution. */
SOMA_API soma_model *soma_replace_head_at(soma_model *m, int64_t classes, soma_at at);
#define soma_replace_head(m, classes) soma_replace_head_at(m, classes, SOMA_AT)

/** What a model knows of its data; saved with it. Texts and numbers are copied. Names are UTF-8; 65,536 of them at
 *  most, of 2 MB in all: what could not be saved is refused here. */
SOMA_API soma_status soma_model_set_classes(soma_model *m, const char *const *names, int n);
SOMA_API int soma_model_classes(const soma_model *m);
SOMA_API const char *soma_model_class(const soma_model *m, int index);
SOMA_API void soma_model_set_transform(soma_model *m, soma_transform transform);
SOMA_API soma_transform soma_model_transform(const soma_model *m);

/** How a model wants to be trained: what the sections of a description beside the model say. Zero or empty: not said;
 *  SOMA_ZERO in groups and transform: a zero that was said. What the transform leaves open is the model's. */
#define SOMA_RECIPE_GROUPS 32
typedef struct soma_recipe {
    soma_optimizer optimizer; /**< name NULL: not said */
    char loss[64];
    int64_t batch_size, epochs;
    double validation_split;
    char split_order[16];
    const soma_dataset_options *data; /**< path, format, split, labels, limit, skip_broken; NULL: not said */
    bool trained; /**< the model's numbers come from a file that the description names, and no layer began anew */
    soma_transform transform;
    soma_augment augment;
    soma_param_group groups[SOMA_RECIPE_GROUPS]; /**< patterns, and data, live as long as the model */
    int n_groups;
    char precision[8];
} soma_recipe;
#ifdef __cplusplus
}
#endif
#endif
