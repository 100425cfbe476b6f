/* SPDX-License-Identifier: Apache-2.0
 *
 * io/json.c: strings of JSON as soma writes them.
 */
#include "io/json.h"

#include <string.h>

size_t soma_utf8_length(const unsigned char *bytes, size_t n)
{
    if (n == 0)
        return 0;
    unsigned char first = bytes[0];
    if (first < 0x80)
        return 1;
    size_t length = first >= 0xc2 && first <= 0xdf ? 2 : (first & 0xf0) == 0xe0 ? 3 : first >= 0xf0 && first <= 0xf4 ? 4 : 0;
    if (length == 0 || length > n)
        return 0;
    for (size_t i = 1; i < length; i++)
        if ((bytes[i] & 0xc0) != 0x80)
            return 0;
    bool overlong = (first == 0xe0 && bytes[1] < 0xa0) || (first == 0xf0 && bytes[1] < 0x90);
    bool surrogate = first == 0xed && bytes[1] > 0x9f, beyond = first == 0xf4 && bytes[1] > 0x8f;
    return overlong || surrogate || beyond ? 0 : length;
}

bool soma_json_text(soma_text *t, const char *text)
{
    const unsigned char *bytes = (const unsigned char *)text;
    size_t size = strlen(text), plain = 0;
    for (size_t i = 0, length; i < size; i += length) {
        length = soma_utf8_length(bytes + i, size - i);
        if (length == 0)
            return false;
    }
    soma_text_add(t, "\"");
    for (size_t i = 0; i < size; i++) {
        bool escaped = bytes[i] < 0x20 || bytes[i] == '"' || bytes[i] == '\\';
        if (!escaped)
            continue;
        soma_text_addf(t, "%.*s", (int)(i - plain), text + plain);
        soma_text_addf(t, bytes[i] < 0x20 ? "\\u%04x" : "\\%c", bytes[i]);
        plain = i + 1;
    }
    soma_text_add(t, text + plain);
    soma_text_add(t, "\"");
    return true;
}
