/* SPDX-License-Identifier: Apache-2.0
 *
 * soma/catalogue.h: all that soma knows by name, sort by sort: `soma layers`, the reference pages and programs that
 * show or choose kinds read them here.
 */
#ifndef SOMA_CATALOGUE_H
#define SOMA_CATALOGUE_H

#include <soma/field.h>

#ifdef __cplusplus
extern "C" {
#endif

/** The lists of kinds, layers first and ops last; NULL past the end. A kind of op is what soma_op_find knows by the
 *  same name, its fields are the op's attributes. */
SOMA_API const soma_kinds *soma_kinds_at(int index);
/** The list of that name, of one or of many: "layer", "layers"; NULL: there is none. */
SOMA_API const soma_kinds *soma_kinds_find(const char *name);
/** What a field takes in words: "whole number", "2 numbers", "true or false", "one of its choices", "a layer". Give 96
 *  bytes. */
SOMA_API const char *soma_field_type_words(const soma_field *field, char text[96]);

#ifdef __cplusplus
}
#endif
#endif
