/* SPDX-License-Identifier: Apache-2.0
 *
 * io/json.h: text as JSON strings, and UTF-8. Knows no models.
 */
#ifndef SOMA_IO_JSON_H
#define SOMA_IO_JSON_H

#include "base/text.h"

/* Bytes of the UTF-8 character that begins at `bytes`, of which there are n; 0 where there is none (RFC 3629). */
size_t soma_utf8_length(const unsigned char *bytes, size_t n);
/* Adds `text` in quotes, escaped. False where it is not UTF-8: nothing is added then. */
bool soma_json_text(soma_text *t, const char *text);

#endif
