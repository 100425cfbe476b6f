/* SPDX-License-Identifier: Apache-2.0
 *
 * soma/zoo.h: architectures by name.
 */
#ifndef SOMA_ZOO_H
#define SOMA_ZOO_H

#include <soma/io.h>

#ifdef __cplusplus
extern "C" {
#endif

/** How large an architecture is built. */
typedef struct soma_zoo_size {
    int64_t classes; /**< or outputs */
    /** multiplies the channels and units of every layer but the last; products are rounded to multiples of 8 (of 1
     *  where the original is none), at least 8, not below 90 %: MobileNetV2's rule */
    double width;
    bool no_dropout;
    int reading; /**< which of the entry's `reading->choices` */
    uint64_t reserved[2];
} soma_zoo_size;

/** Two networks of one architecture that share all names and shapes of tensors: a weights file fits both, and only one
 *  of them is the one that was trained. An option of the same name says which; soma_load_weights logs which one it
 *  filled. */
typedef struct soma_zoo_reading {
    const char *option;     /**< "shortcut", "stride", "pooling" or "dialect" */
    const char *choices[2]; /**< the default first */
    const char *docs[2];    /**< what each one is, and whose weights want it */
} soma_zoo_reading;

/** An architecture, and how it is usually trained. */
typedef struct soma_zoo_entry {
    const char *name, *doc;
    soma_value (*build)(soma_model *m, soma_value x, soma_zoo_size size);
    soma_shape input; /**< one sample */
    int64_t classes;  /**< or outputs */
    bool regression;  /**< mean squared error instead of softmax cross-entropy */
    int64_t batch_size, epochs;
    soma_optimizer (*optimizer)(void);
    const soma_rename *names; /**< from names of the authors' own release to ours, ends with from NULL; NULL: none */
    const soma_zoo_reading *reading; /**< NULL: tensors tell all */
    int64_t parameters;              /**< at the preset input and classes and width 1 */
} soma_zoo_entry;

SOMA_API const soma_zoo_entry *soma_zoo_at(int index); /**< NULL past the end */
/** By name, whatever its '-', '_' and capitals: torchvision's "mobilenet_v2" and "vgg16_bn" are known. NULL: there is
 *  none. */
SOMA_API const soma_zoo_entry *soma_zoo_find(const char *name);

typedef struct soma_zoo_options {
    size_t struct_size;
    soma_at at;
    const char *name;
    int64_t classes;  /**< 0: the entry's */
    soma_shape input; /**< of one sample; rank 0: the entry's */
    double width;     /**< 0: 1 */
    bool no_dropout;  /**< built without its dropouts: to compare with others, or to learn by heart */
    /* what tensors do not tell, each for the entries that have it as their `reading`; NULL: the first one named */
    const char *shortcut; /**< resnet20: new channels of shortcuts "centred" (both sides) or "behind" */
    const char *stride;   /**< resnet50, 101, 152: a bottleneck's stride in its "3x3" or its first "1x1" convolution */
    const char *pooling;  /**< squeezenet1_0: sides rounded by "ceil" or "floor" */
    const char *dialect;  /**< mobilenetv2: "torch" or "keras"; alexnet-paper: "paper" or "caffe" */
} soma_zoo_options;
/** A model of that architecture with input "x" and output "y":
 *  soma_zoo(s, "resnet50", .width = 0.25, .classes = 10, .input = SOMA_SHAPE(3, 64, 64)). Tensors are named as in
 *  torchvision where it has the architecture ("layer1.0.conv1.weight"). */
SOMA_API soma_model *soma_zoo_with(soma *s, const soma_zoo_options *o);
#define soma_zoo(s, ...) soma_zoo_with(s, SOMA_OPTIONS(soma_zoo_options, .name = __VA_ARGS__))

/** Builds a model from a YAML description (docs/model-files.md): of layers, or of an architecture of the zoo or a
 *  saved model with weights to begin with; NULL on failure. Unknown keys are errors that name the place and the
 *  nearest known key. recipe may be NULL. */
SOMA_API soma_model *soma_model_from_yaml(soma *s, const char *path, soma_recipe *recipe);

#ifdef __cplusplus
}
#endif
#endif
