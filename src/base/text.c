/* SPDX-License-Identifier: Apache-2.0
 *
 * base/text.c: numbers to and from text whatever the program's locale is, nearest names, growing text.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include "base/text.h"

#include <locale.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#ifdef __APPLE__
#include <xlocale.h>
#endif

#include "base/size.h"

/* ---- reading numbers ---- */

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

bool soma_parse_i64(const char *text, int64_t *out)
{
    bool negative = *text == '-';
    const char *p = text + (*text == '-' || *text == '+');
    int64_t number = 0;
    if (!is_digit(*p))
        return false;
    for (; is_digit(*p); p++) { /* counted downwards: -2^63 has no positive counterpart */
        if (!soma_i64_mul(number, 10, &number) || !soma_i64_add(number, -(*p - '0'), &number))
            return false;
    }
    if (*p || (!negative && number == INT64_MIN))
        return false;
    *out = negative ? number : -number;
    return true;
}

/* [sign] digits [. digits] [e [sign] digits], at least one digit before the e. Keeps out what the C library would take
 * besides: spaces, hexadecimal, "inf", "nan". */
static bool is_decimal(const char *p)
{
    bool digits = false;
    p += *p == '-' || *p == '+';
    for (; is_digit(*p); p++)
        digits = true;
    if (*p == '.')
        for (p++; is_digit(*p); p++)
            digits = true;
    if (!digits)
        return false;
    if (*p == 'e' || *p == 'E') {
        p++;
        p += *p == '-' || *p == '+';
        if (!is_digit(*p))
            return false;
        while (is_digit(*p))
            p++;
    }
    return !*p;
}

/* Infinities, also by overflow, are refused with all that is not a number: files and options mean finite ones, and a
 * range check does not stop a NaN. */
bool soma_parse_f64(const char *text, double *out)
{
    if (!is_decimal(text))
        return false;
    locale_t c = newlocale(LC_ALL_MASK, "C",
                           (locale_t)0); /* a static object of the C library: cheap, nothing global moves */
    if (c == (locale_t)0)
        return false;
    double number = strtod_l(text, NULL, c);
    freelocale(c);
    if (!isfinite(number))
        return false;
    *out = number;
    return true;
}

/* ---- writing numbers ---- */

/* The digits of |number| rounded to `count`, and the exponent of the first one; whatever decimal point the locale
 * has is skipped. */
static int take_digits(double number, int count, char digits[20])
{
    char text[48];
    int n = 0;
    const char *p = text;
    snprintf(text, sizeof text, "%.*e", count - 1, fabs(number));
    for (; *p && *p != 'e'; p++)
        if (is_digit(*p) && n < 19)
            digits[n++] = *p;
    digits[n] = 0;
    int64_t exponent = 0;
    if (*p == 'e')
        soma_parse_i64(p + 1, &exponent);
    return (int)exponent;
}

/* The fewest digits that read back. 15 always survive the way to f64 and back, so fewer than that need no trying: their
 * zeros are cut off. Subnormal numbers hold less than 15, there each count is tried. */
static int shortest_digits(double number, char digits[20])
{
    int exponent = 0;
    for (int count = fabs(number) < 0x1p-1022 ? 1 : 15; count <= 17; count++) {
        char text[40];
        double back = 0;
        exponent = take_digits(number, count, digits);
        snprintf(text, sizeof text, "%c.%se%d", digits[0], digits + 1, exponent);
        if (soma_parse_f64(text, &back) && back == fabs(number))
            break;
    }
    size_t n = strlen(digits);
    while (n > 1 && digits[n - 1] == '0')
        digits[--n] = 0;
    return exponent;
}

const char *soma_format_f64(double number, char text[32])
{
    char digits[20], line[64];
    const char *sign = signbit(number) ? "-" : "";
    if (!isfinite(number)) {
        snprintf(text, 32, "%s", isnan(number) ? "nan" : signbit(number) ? "-inf" : "inf");
        return text;
    }
    int exponent = shortest_digits(number, digits);
    int n = (int)strlen(digits);
    if (exponent < -5 || exponent >= 17)
        snprintf(line, sizeof line, "%s%c%s%se%+03d", sign, digits[0], n > 1 ? "." : "", digits + 1, exponent);
    else if (exponent < 0)
        snprintf(line, sizeof line, "%s0.%.*s%s", sign, -exponent - 1, "0000", digits);
    else if (n <= exponent + 1)
        snprintf(line, sizeof line, "%s%s%.*s", sign, digits, exponent + 1 - n, "0000000000000000");
    else
        snprintf(line, sizeof line, "%s%.*s.%s", sign, exponent + 1, digits, digits + exponent + 1);
    memcpy(text, line, strlen(line) + 1); /* at most 26 bytes */
    return text;
}

/* ---- UTF-8 ---- */

size_t soma_utf8_length(const unsigned char *bytes, size_t n)
{
    if (n == 0)
        return 0;
    unsigned char first = bytes[0];
    if (first < 0x80)
        return 1;
    size_t length = first >= 0xc2 && first <= 0xdf   ? 2
                    : (first & 0xf0) == 0xe0         ? 3
                    : first >= 0xf0 && first <= 0xf4 ? 4
                                                     : 0;
    if (length == 0 || length > n)
        return 0;
    for (size_t i = 1; i < length; i++)
        if ((bytes[i] & 0xc0) != 0x80)
            return 0;
    bool overlong = (first == 0xe0 && bytes[1] < 0xa0) || (first == 0xf0 && bytes[1] < 0x90);
    bool surrogate = first == 0xed && bytes[1] > 0x9f, beyond = first == 0xf4 && bytes[1] > 0x8f;
    return overlong || surrogate || beyond ? 0 : length;
}

bool soma_is_utf8(const char *text)
{
    const unsigned char *at = (const unsigned char *)text;
    for (size_t left = strlen(text), n; left; at += n, left -= n) {
        n = soma_utf8_length(at, left);
        if (!n)
            return false;
    }
    return true;
}

/* ---- nearest names ---- */

#define SOMA_NAME_MAX 64 /* longer names have no near ones */

/* Case and the kind of dash never count as a difference. */
static char fold(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c == '-' || c == ' ' ? '_' : c;
}

static int least(int a, int b)
{
    return a < b ? a : b;
}

/* Insertions, deletions, changes and swaps of neighbours that lead from a to b (Damerau 1964, Levenshtein 1966; no
 * letter is touched twice), from three rows of the table. */
static int distance(const char *a, int n, const char *b, int m)
{
    int rows[3][SOMA_NAME_MAX + 1];
    int *before = rows[0], *above = rows[1], *row = rows[2];
    for (int j = 0; j <= m; j++)
        row[j] = j;
    for (int i = 1; i <= n; i++) {
        int *spare = before;
        before = above;
        above = row;
        row = spare;
        row[0] = i;
        for (int j = 1; j <= m; j++) {
            char x = fold(a[i - 1]), y = fold(b[j - 1]);
            row[j] = least(least(above[j], row[j - 1]) + 1, above[j - 1] + (x != y));
            if (i > 1 && j > 1 && x == fold(b[j - 2]) && y == fold(a[i - 2]))
                row[j] = least(row[j], before[j - 2] + 1);
        }
    }
    return row[m];
}

const char *soma_nearest(const char *name, soma_name_fn names, const void *list)
{
    const char *best = NULL;
    int best_distance = 0;
    size_t n = name ? strlen(name) : 0;
    if (!n || n > SOMA_NAME_MAX)
        return NULL;
    for (int i = 0;; i++) {
        const char *candidate = names(list, i);
        if (!candidate)
            return best;
        size_t m = strlen(candidate);
        if (!m || m > SOMA_NAME_MAX)
            continue;
        int longer = (int)(n > m ? n : m);
        int d = distance(name, (int)n, candidate, (int)m);
        if (d > least((longer + 2) / 3, longer - 1)) /* a third of the letters, never all of them */
            continue;
        if (!best || d < best_distance) {
            best = candidate;
            best_distance = d;
        }
    }
}

static const char *name_in_array(const void *list, int index)
{
    return ((const char *const *)list)[index];
}

bool soma_one_of(const char *name, const char *const *names)
{
    while (*names && strcmp(name, *names) != 0)
        names++;
    return *names != NULL;
}

const char *soma_nearest_of(const char *name, const char *const *names)
{
    return soma_nearest(name, name_in_array, names);
}

/* After a mismatch only the last star can take more letters: linear in pattern times text. */
bool soma_glob(const char *pattern, const char *text)
{
    const char *star = NULL, *from = text;
    while (*text) {
        if (*pattern == '*') {
            star = pattern++;
            from = text;
        } else if (*pattern == '?' || *pattern == *text) {
            pattern++;
            text++;
        } else if (star) {
            pattern = star + 1;
            text = ++from;
        } else {
            return false;
        }
    }
    while (*pattern == '*')
        pattern++;
    return !*pattern;
}

/* ---- growing text ---- */

/* Room for `more` bytes and the end mark. */
static bool text_room(soma_text *t, size_t more)
{
    size_t need;
    if (t->failed)
        return false;
    if (!soma_size_add(t->size, more, &need) || !soma_size_add(need, 1, &need)) {
        soma_fail(t->s, SOMA_MEMORY, soma_nowhere(), "a text grew larger than this machine can address");
        t->failed = true;
        return false;
    }
    if (need <= t->capacity)
        return true;
    size_t capacity = t->capacity > SIZE_MAX / 2 ? need : t->capacity * 2;
    capacity = capacity < 64 ? 64 : capacity;
    capacity = capacity < need ? need : capacity;
    char *bytes = soma_alloc(t->s, capacity);
    if (!bytes) {
        t->failed = true;
        return false;
    }
    if (t->bytes)
        memcpy(bytes, t->bytes, t->size + 1);
    soma_release(t->s, t->bytes);
    t->bytes = bytes;
    t->capacity = capacity;
    return true;
}

void soma_text_add(soma_text *t, const char *text)
{
    size_t size = strlen(text);
    if (text_room(t, size)) {
        memcpy(t->bytes + t->size, text, size + 1);
        t->size += size;
    }
}

void soma_text_addf(soma_text *t, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    int n = vsnprintf(NULL, 0, format, args);
    va_end(args);
    if (n < 0 || !text_room(t, (size_t)n)) {
        t->failed = true;
        return;
    }
    va_start(args, format);
    vsnprintf(t->bytes + t->size, (size_t)n + 1, format, args);
    va_end(args);
    t->size += (size_t)n;
}

void soma_text_free(soma_text *t)
{
    soma_release(t->s, t->bytes);
    *t = (soma_text){.s = t->s};
}
