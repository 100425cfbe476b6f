/* SPDX-License-Identifier: Apache-2.0
 *
 * tensor/tensor.c: element types and shapes, and how they read in sentences. Knows no memory and no graph.
 */
#include <soma/op.h>
#include <soma/tensor.h>
#include <stdio.h>
#include <string.h>

#include "base/size.h"

static const struct {
    const char *name;
    size_t size;
} dtypes[] = {
    [SOMA_F32] = {"f32", 4}, [SOMA_F64] = {"f64", 8},   [SOMA_I32] = {"i32", 4},
    [SOMA_U8] = {"u8", 1},   [SOMA_BF16] = {"bf16", 2},
};

static bool known(soma_dtype dtype)
{
    return (unsigned)dtype < sizeof dtypes / sizeof dtypes[0];
}

size_t soma_dtype_size(soma_dtype dtype)
{
    return known(dtype) ? dtypes[dtype].size : 0;
}

const char *soma_dtype_name(soma_dtype dtype)
{
    return known(dtype) ? dtypes[dtype].name : "unknown";
}

int64_t soma_shape_elements(const soma_shape *shape)
{
    int64_t n = 1;
    if (!shape || shape->rank < 0 || shape->rank > SOMA_MAX_RANK)
        return 0;
    for (int i = 0; i < shape->rank; i++)
        if (shape->dim[i] <= 0 || !soma_i64_mul(n, shape->dim[i], &n))
            return 0;
    return n;
}

/* One dimension: "64", "N", or "3N" for -3. */
static int dimension_text(int64_t dim, char *text, size_t room)
{
    if (dim >= 0)
        return snprintf(text, room, "%lld", (long long)dim);
    if (dim == SOMA_N)
        return snprintf(text, room, "N");
    return snprintf(text, room, "%lluN", 0ULL - (unsigned long long)dim);
}

const char *soma_type_text(const soma_type *type, char text[96])
{
    const size_t room = 96, tail = sizeof ",...]"; /* tail: a shape too long to print ends like this */
    if (type->shape.rank < 0 || type->shape.rank > SOMA_MAX_RANK) {
        snprintf(text, room, "absent");
        return text;
    }
    size_t used = (size_t)snprintf(text, room, "%s[", soma_dtype_name(type->dtype));
    for (int i = 0; i < type->shape.rank; i++) {
        char dim[24];
        size_t n = (size_t)dimension_text(type->shape.dim[i], dim, sizeof dim);
        if (used + n + tail > room) {
            used += (size_t)snprintf(text + used, room - used, "%s...", i ? "," : "");
            break;
        }
        used += (size_t)snprintf(text + used, room - used, "%s%s", i ? "," : "", dim);
    }
    snprintf(text + used, room - used, "]");
    return text;
}
