/* SPDX-License-Identifier: Apache-2.0
 *
 * base/limits.h: what readers of files accept at most. Each has a boundary test.
 */
#ifndef SOMA_BASE_LIMITS_H
#define SOMA_BASE_LIMITS_H

#define SOMA_LIMIT_DIM ((int64_t)1 << 40)
#define SOMA_LIMIT_ELEMENTS ((int64_t)1 << 48)
#define SOMA_LIMIT_TENSORS 65536
#define SOMA_LIMIT_NAME 4096
#define SOMA_LIMIT_HEADER 100000000       /* a safetensors header, as in the reference reader */
#define SOMA_LIMIT_MODEL (1 << 22)        /* bytes of the model's description in a safetensors header */
#define SOMA_LIMIT_CHOICES (1 << 22)      /* bytes of a table of chosen kernels */
#define SOMA_LIMIT_CHOICE_LINES (1 << 14) /* its lines, each of which is compared with all before it */
#define SOMA_LIMIT_DEPTH 64               /* nesting of JSON and YAML */
#define SOMA_LIMIT_KEYS 256               /* of one object of JSON */
#define SOMA_LIMIT_NODES (1 << 20)
#define SOMA_LIMIT_IMAGE_SIDE 65535
#define SOMA_LIMIT_IMAGE_PIXELS ((int64_t)1 << 28)
#define SOMA_LIMIT_JPEG_SCANS 100
#define SOMA_LIMIT_YAML (1 << 20) /* bytes of a model description: libyaml takes up to 90 times that */
#define SOMA_LIMIT_MAP (1 << 24)  /* bytes of a map of names, which is read word by word */
#define SOMA_LIMIT_INFLATE_RATIO 1100

#endif
